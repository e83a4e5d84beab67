"""uvicorn in a thread, or in the foreground, on a socket bound here."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from . import address
from .protocol import Protocol
from .tls import ServerTls

# Seconds.
_START_TIMEOUT = 10.0
_STOP_TIMEOUT = 10.0

# Given the port, the application to serve there.
MakeApp = Callable[[int], ASGIApp]


class _Server(uvicorn.Server):
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        # Clients in the middle of a request when the time was up: uvicorn leaves their sockets to the garbage
        # collector, which would complain.
        for connection in list(self.server_state.connections):
            if isinstance(connection, Protocol):
                connection.transport.abort()
        await asyncio.sleep(0)


class Runner:
    """Starts and stops the server. It can be started again, and then has the same port.

    Attributes:
        port: 0 until the first start if any free one will do.
    """

    def __init__(self, host: str, port: int, tls: ServerTls | None) -> None:
        self.port = port
        self._host, self._tls = host, tls
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    @property
    def running(self) -> bool:
        return self._server is not None

    def start(self, make_app: MakeApp) -> None:
        """Serve from a thread. Returns when requests are answered; RuntimeError when the port is taken."""
        server, listener = self._prepare(make_app)
        self._failure = None
        thread = threading.Thread(target=self._run, args=(server, listener), name="flex-emulator", daemon=True)
        self._server, self._thread = server, thread
        thread.start()
        deadline = time.monotonic() + _START_TIMEOUT
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError("the emulator did not start") from self._failure
            time.sleep(0.002)

    def stop(self) -> None:
        """Stop serving and wait for the thread to end. Does nothing when it is not running."""
        server, thread = self._server, self._thread
        self._server = self._thread = None
        if server is None:
            return
        server.should_exit = True
        if thread is None or thread is threading.current_thread():
            return
        thread.join(_STOP_TIMEOUT / 2)
        if thread.is_alive():
            server.force_exit = True
            thread.join(_STOP_TIMEOUT / 2)
        if thread.is_alive():
            raise RuntimeError(f"the emulator's thread did not end within {_STOP_TIMEOUT:.0f} s")

    def serve(self, make_app: MakeApp, on_ready: Callable[[], object]) -> None:
        """Serve in this thread until interrupted or stopped; `on_ready` is called once connections are taken."""
        server, listener = self._prepare(make_app)
        self._server = server
        try:
            on_ready()
            server.run(sockets=[listener])
        except KeyboardInterrupt:
            # uvicorn ends in order on Ctrl-C and raises the signal again afterwards.
            pass
        finally:
            self._server = None
            listener.close()

    def _run(self, server: uvicorn.Server, listener: socket.socket) -> None:
        try:
            server.run(sockets=[listener])
        except BaseException as error:
            # Told by start(), in the thread of the caller.
            self._failure = error
        finally:
            listener.close()

    def _prepare(self, make_app: MakeApp) -> tuple[uvicorn.Server, socket.socket]:
        if self._server is not None:
            raise RuntimeError("the emulator is running already")
        listener = address.bind(self._host, self.port)
        try:
            # From here on it has this port, also after a stop.
            self.port = listener.getsockname()[1]
            config = self._config(make_app(self.port))
        except BaseException:
            listener.close()
            raise
        return _Server(config), listener

    def _config(self, app: ASGIApp) -> uvicorn.Config:
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http=Protocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            # The answer's Date is that of the emulator's own clock.
            date_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=1,
        )
        config.load()
        if self._tls is not None:
            # After load(), which sets it from files.
            config.ssl = self._tls.context()
        return config
