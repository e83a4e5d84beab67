"""The server: listening socket, and uvicorn in a thread or in the foreground."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator

import uvicorn
from starlette.types import ASGIApp

from ..._runtime.monotonic import monotonic
from ...errors import AddressError, EmulatorError
from .addresses import is_wildcard
from .connections import EmulatorProtocol
from .tls import ServerTls

# Seconds.
_START_TIMEOUT = 10.0
_STOP_TIMEOUT = 10.0
# Time to finish the requests that are in progress when the server stops.
_GRACE = 1.0

# A function that returns the application to serve on a port.
MakeApp = Callable[[int], ASGIApp]


def _listen(host: str, port: int) -> socket.socket:
    """Create the listening socket. Done before uvicorn starts, so that a port in use is reported at once."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise AddressError(f"the emulator cannot use host {host!r}: {error.strerror}") from error
    except UnicodeError:
        # Python encodes host names before it looks them up. The original error says nothing about the host.
        raise AddressError(f"the emulator cannot use host {host!r}: it is not a valid host name") from None
    try:
        if family == socket.AF_INET6 and is_wildcard(host):
            # Serves IPv4 too. By default that depends on the operating system.
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        if os.name == "posix":
            # Allows reuse of a port with lingering connections. On Windows the option would share a port in use.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise AddressError(f"the emulator cannot listen on {host}:{port}: {error.strerror}") from error
    return listener


class _EventLoop(asyncio.ProactorEventLoop if sys.platform == "win32" else asyncio.SelectorEventLoop):  # type: ignore[misc]
    """An event loop whose timers expire even if a test stops `time.monotonic`, for example with freezegun."""

    def time(self) -> float:
        return monotonic()


class _UvicornServer(uvicorn.Server):
    """uvicorn's server, but it starts and stops at once instead of at the next check of `should_exit`.

    Args:
        config: uvicorn's configuration.
        on_ready: called in the event loop once connections are accepted. From then on, signals end the server in order:
            earlier ones interrupt asyncio while it creates the loop. If it raises, the server stops, and `run` raises.
    """

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], object] | None) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self._failure: BaseException | None = None
        # Set once requests can be sent, or when the server ends before that.
        self.ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop_requested = asyncio.Event()

    def request_stop(self) -> None:
        """Make `run` return soon. May be called from any thread."""
        self.should_exit = True
        with contextlib.suppress(RuntimeError):
            # RuntimeError: the loop was closed meanwhile.
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._stop_requested.set)

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            with asyncio.Runner(loop_factory=_EventLoop) as runner:
                runner.run(self.serve(sockets=sockets))
        finally:
            self.ready.set()
        if self._failure is not None:
            raise self._failure

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.ready.set()
        if self._on_ready is not None:
            try:
                self._on_ready()
            except BaseException as error:
                # uvicorn calls `shutdown` only if this method returns.
                self._failure = error
                return
        # Signal handlers only set `should_exit`, so it is checked repeatedly.
        while not self.should_exit:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop_requested.wait(), 0.1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # asyncio fails to set up connections that it accepted just before the server is closed, and never closes them.
        for listener in sockets or ():
            with contextlib.suppress(NotImplementedError):
                # Windows has no readers: its event loop sets up a connection when it accepts it.
                asyncio.get_running_loop().remove_reader(listener)
        await _run_callbacks()
        for server in self.servers:
            server.close()
        for listener in sockets or ():
            listener.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        deadline = monotonic() + _GRACE
        while (self.server_state.connections or self.server_state.tasks) and monotonic() < deadline:
            await asyncio.sleep(0.002)
        # The rest are unfinished requests, and TLS handshakes that clients began and did not finish.
        current = asyncio.current_task()
        for task in asyncio.all_tasks():
            if task is not current:
                task.cancel()
        await _run_callbacks()
        for connection in list(self.server_state.connections):
            if isinstance(connection, EmulatorProtocol):
                connection.transport.abort()
        await _run_callbacks()


@contextlib.contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """Let SIGTERM raise KeyboardInterrupt, as Ctrl-C does, unless the program has its own handler.

    The first process of a container ignores SIGTERM unless it has a handler. In any other process, the default action
    would end the process before files are deleted.
    """
    # Handlers can only be set in the main thread.
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


async def _run_callbacks() -> None:
    """Let the event loop run what is scheduled, and what that schedules in turn.

    A connection that was accepted becomes known in the third iteration after that. A transport that was closed closes
    its socket in the next iteration, and with TLS in the one after it.
    """
    for _ in range(5):
        await asyncio.sleep(0)


class HttpServer:
    """Starts and stops uvicorn. It can be started again and then listens on the same port.

    Attributes:
        port: 0 until the first start, if any free port may be used.
    """

    def __init__(self, host: str, port: int, tls: ServerTls | None) -> None:
        self.port = port
        self._host, self._tls = host, tls
        self._server: _UvicornServer | None = None
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    @property
    def running(self) -> bool:
        return self._server is not None

    def start(self, make_app: MakeApp) -> None:
        """Start the server in a thread and return when it accepts requests. AddressError if the port is in use."""
        server, listener = self._prepare(make_app)
        self._failure = None
        thread = threading.Thread(target=self._run, args=(server, listener), name="flex-emulator", daemon=True)
        self._server, self._thread = server, thread
        thread.start()
        if not server.ready.wait(_START_TIMEOUT) or not server.started:
            self.stop()
            raise EmulatorError("the emulator did not start") from self._failure

    def stop(self) -> None:
        """Stop the server and wait for its thread to end. Does nothing if it is not running."""
        server, thread = self._server, self._thread
        self._server = self._thread = None
        if server is None:
            return
        server.request_stop()
        if thread is None or thread is threading.current_thread():
            return
        thread.join(_STOP_TIMEOUT / 2)
        if thread.is_alive():
            server.force_exit = True
            thread.join(_STOP_TIMEOUT / 2)
        if thread.is_alive():
            raise EmulatorError(f"the emulator's thread did not end within {_STOP_TIMEOUT:.0f} s")

    def serve(self, make_app: MakeApp, on_ready: Callable[[], object]) -> None:
        """Serve in this thread until interrupted or stopped. Calls `on_ready` once connections are accepted."""
        with contextlib.suppress(KeyboardInterrupt), _sigterm_interrupts():
            # uvicorn shuts down on Ctrl-C and SIGTERM, and raises the signal again afterwards.
            server, listener = self._prepare(make_app, on_ready)
            self._server = server
            try:
                server.run(sockets=[listener])
            finally:
                self._server = None
                listener.close()

    def _run(self, server: _UvicornServer, listener: socket.socket) -> None:
        try:
            server.run(sockets=[listener])
        except BaseException as error:
            # Raised by start(), in the caller's thread.
            self._failure = error
        finally:
            listener.close()

    def _prepare(
        self, make_app: MakeApp, on_ready: Callable[[], object] | None = None
    ) -> tuple[_UvicornServer, socket.socket]:
        if self._server is not None:
            raise EmulatorError("the emulator is already running")
        listener = _listen(self._host, self.port)
        try:
            # The port stays the same from now on, also after a stop.
            self.port = listener.getsockname()[1]
            config = self._config(make_app(self.port))
        except BaseException:
            listener.close()
            raise
        return _UvicornServer(config, on_ready), listener

    def _config(self, app: ASGIApp) -> uvicorn.Config:
        config = uvicorn.Config(
            app,
            http=EmulatorProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            # The application sets Date from the emulator's clock.
            date_header=False,
            timeout_keep_alive=75,
        )
        config.load()
        if self._tls is not None:
            # After load(), which would replace it.
            config.ssl = self._tls.context()
        return config
