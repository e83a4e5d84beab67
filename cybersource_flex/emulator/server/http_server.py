"""The server: listening socket, TLS, and uvicorn in a thread or in the foreground."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Literal

import uvicorn
from starlette.types import ASGIApp

from ..._runtime.monotonic import monotonic
from ...errors import AddressError, ConfigurationError, EmulatorError
from ..log import LOGGER
from .addresses import is_wildcard
from .connections import EmulatorProtocol

if TYPE_CHECKING:
    import trustme

# Seconds.
_START_TIMEOUT = 10.0
_STOP_TIMEOUT = 10.0
# Time to finish the requests that are in progress when the server stops.
_GRACE = 1.0

# What a failed TLS handshake means, by a part of OpenSSL's reason.
_HANDSHAKE_HINTS = {
    "ALERT_UNKNOWN_CA": "the client does not trust the CA of the emulator's certificate",
    "ALERT_BAD_CERTIFICATE": "the client rejects the certificate, for example because it uses a name that is not in it",
    "ALERT_CERTIFICATE_UNKNOWN": "the client rejects the certificate: it does not trust the CA, or uses another name",
    "HTTP_REQUEST": "the client sent http; expected https",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the client has no client certificate, which is required",
}

# A function that returns the application to serve on a port.
MakeApp = Callable[[int], ASGIApp]
ClientCertificates = Literal["optional", "required"]


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


class ServerTls:
    """TLS of the server: a throwaway CA, the server's certificate, and client certificates.

    `trustme` generates the keys at start, and they are kept in memory. Python's `ssl` reads keys only from files, so
    they are written to temporary files, which are deleted at once.

    Args:
        names: host names and addresses of the server's certificate, if it is issued here.
        client_certificates: whether clients must ("required") or may ("optional") present a certificate of this CA.
            With None, the server does not ask for one. Also available as an attribute.
        server_certificate: private key and certificate (PEM) of the server. By default the CA issues one.

    Attributes:
        has_given_certificate: whether `server_certificate` was passed.
    """

    def __init__(
        self,
        names: Iterable[str],
        client_certificates: ClientCertificates | None,
        server_certificate: tuple[bytes, bytes] | None = None,
    ) -> None:
        self._ca = _new_ca()
        self.has_given_certificate = server_certificate is not None
        if server_certificate is not None:
            key, certificate = server_certificate
            self._private_key_and_certificate = key + b"\n" + certificate
            # Reports an invalid certificate now and not at the start.
            _load_certificate(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), self._private_key_and_certificate)
        else:
            try:
                issued = self._ca.issue_cert(*sorted(set(names)))
            except ValueError as error:
                raise ConfigurationError(
                    f"a name in host, public_url or signed_hosts is not valid in a certificate: {error}"
                ) from None
            self._private_key_and_certificate = issued.private_key_and_cert_chain_pem.bytes()
        self.client_certificates = client_certificates

    @property
    def ca_pem(self) -> bytes:
        if self.has_given_certificate:
            raise EmulatorError(
                "the emulator has no CA that clients must trust: it was created with server_certificate"
            )
        return self._ca.cert_pem.bytes()

    def client_certificate(self, name: str) -> tuple[bytes, bytes]:
        """Certificate and private key (PEM) for a client."""
        issued = self._ca.issue_cert(common_name=name)
        return issued.cert_chain_pems[0].bytes(), issued.private_key_pem.bytes()

    def context(self) -> ssl.SSLContext:
        """The server's SSL context: TLS 1.2 or newer."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.sslobject_class = _LoggedConnection
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        _load_certificate(context, self._private_key_and_certificate)
        if self.client_certificates is not None:
            required = self.client_certificates == "required"
            context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
            self._ca.configure_trust(context)
        return context


class _LoggedConnection(ssl.SSLObject):
    """A TLS connection that logs why its handshake failed. asyncio does not report these failures."""

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            reason = error.reason or "connection closed"
            hint = next((hint for part, hint in _HANDSHAKE_HINTS.items() if part in reason), reason)
            LOGGER.info("a client's TLS handshake failed: %s", hint)
            raise


def _load_certificate(context: ssl.SSLContext, pem: bytes) -> None:
    """Load a private key and a certificate chain. `ssl` reads them from files only."""
    from trustme import Blob

    try:
        with Blob(pem).tempfile() as path:
            # Without the last argument, OpenSSL would ask for the password of an encrypted key.
            context.load_cert_chain(path, password="")
    except (ssl.SSLError, ValueError):
        raise ConfigurationError(
            "server_certificate must be a private key without password, and its certificate, both in PEM"
        ) from None
    except OSError as error:
        # For example in a container with a read-only file system.
        raise EmulatorError(f"https needs a folder for a temporary file, such as /tmp: {error.strerror}") from error


def _new_ca() -> trustme.CA:
    try:
        import trustme
    except ModuleNotFoundError as error:
        if error.name != "trustme":
            raise
        from ...errors import MissingDependencyError

        message = "tls=True needs 'trustme': pip install 'cybersource-flex[emulator]'"
        raise MissingDependencyError(message, name=error.name) from None
    return trustme.CA()


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
