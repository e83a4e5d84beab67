"""The server: listening socket, TLS, and uvicorn in a thread or in the foreground."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal

import uvicorn
from starlette.types import ASGIApp

from .connections import EmulatorProtocol

if TYPE_CHECKING:
    import trustme

# Seconds.
_START_TIMEOUT = 10.0
_STOP_TIMEOUT = 10.0

# Returns the application to serve on this port.
MakeApp = Callable[[int], ASGIApp]
ClientCertificates = Literal["optional", "required"]


class AddressError(RuntimeError):
    """The emulator cannot listen on this host and port."""


def is_loopback(host: str) -> bool:
    """Whether a host name or address is loopback."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def server_url(scheme: str, host: str, port: int) -> str:
    """The URL for clients, without a trailing slash."""
    # Clients cannot connect to 0.0.0.0 and ::, which mean "all addresses", on every system.
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"{scheme}://{_bracketed(reachable)}:{port}"


def local_host_names(host: str, port: int) -> set[str]:
    """The values of `Host` that a local client may send: each name with and without the port."""
    names = {_bracketed(host), "127.0.0.1", "localhost", "[::1]"}
    return names | {f"{name}:{port}" for name in names}


def certificate_names(host: str, signed_hosts: Iterable[str]) -> set[str]:
    """The names and addresses for the server's TLS certificate, without ports."""
    names = {"127.0.0.1", "localhost", "::1", host}
    for signed in signed_hosts:
        # The port follows the last colon, unless that colon is part of an IPv6 address.
        match = re.fullmatch(r"\[(.+)\](?::[0-9]+)?|([^:]+)(?::[0-9]+)?", signed)
        names.add(signed if match is None else (match[1] or match[2]).lower())
    return names


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _listen(host: str, port: int) -> socket.socket:
    """Create the listening socket. Done here instead of by uvicorn, so that a used port is reported at once."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise AddressError(f"the emulator cannot use host {host!r}: {error.strerror}") from error
    try:
        if os.name == "posix":
            # Allows reuse of a port with lingering connections. On Windows it would share a port in use.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise AddressError(f"the emulator cannot listen on {host}:{port}: {error.strerror}") from error
    return listener


class ServerTls:
    """TLS of the server: a throwaway CA, the server's certificate, and client certificates.

    Keys are generated at start by `trustme` and kept in memory. Python's `ssl` reads keys from files only, so they are
    written to the system's temporary directory for that moment and deleted at once.

    Args:
        names: host names and addresses of the server's certificate.
        client_certificates: whether clients must ("required") or may ("optional") present a certificate of this CA;
            None requests none.
    """

    def __init__(self, names: Iterable[str], client_certificates: ClientCertificates | None) -> None:
        self._ca = _new_ca()
        try:
            self._certificate = self._ca.issue_cert(*sorted(set(names)))
        except ValueError as error:
            raise ValueError(f"a signed host is not valid in a certificate: {error}") from None
        self._client_certificates = client_certificates

    @property
    def ca_pem(self) -> bytes:
        return self._ca.cert_pem.bytes()

    def client_certificate(self, name: str) -> tuple[bytes, bytes]:
        """Certificate and private key (PEM) for a client."""
        issued = self._ca.issue_cert(common_name=name)
        return issued.cert_chain_pems[0].bytes(), issued.private_key_pem.bytes()

    def context(self) -> ssl.SSLContext:
        """The server's SSL context: TLS 1.2 or newer."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._certificate.configure_cert(context)
        if self._client_certificates is not None:
            required = self._client_certificates == "required"
            context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
            self._ca.configure_trust(context)
        return context


def _new_ca() -> trustme.CA:
    try:
        import trustme
    except ModuleNotFoundError as error:
        if error.name != "trustme":
            raise
        message = "tls=True needs 'trustme': install this package with its extra 'emulator'"
        raise ImportError(message, name=error.name) from error
    return trustme.CA()


class _UvicornServer(uvicorn.Server):
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        # uvicorn leaves the sockets of unfinished requests to the garbage collector, which would issue warnings.
        for connection in list(self.server_state.connections):
            if isinstance(connection, EmulatorProtocol):
                connection.transport.abort()
        await asyncio.sleep(0)


class HttpServer:
    """Starts and stops uvicorn. It can be started again and then listens on the same port.

    Attributes:
        port: 0 until the first start, if any free port may be used.
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
        """Serve from a thread. Returns when requests can be sent; RuntimeError when the port is in use."""
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
        """Serve in this thread until interrupted or stopped; `on_ready` is called once connections are accepted."""
        server, listener = self._prepare(make_app)
        self._server = server
        try:
            on_ready()
            server.run(sockets=[listener])
        except KeyboardInterrupt:
            # uvicorn shuts down on Ctrl-C and raises the signal again afterwards.
            pass
        finally:
            self._server = None
            listener.close()

    def _run(self, server: uvicorn.Server, listener: socket.socket) -> None:
        try:
            server.run(sockets=[listener])
        except BaseException as error:
            # Raised by start(), in the caller's thread.
            self._failure = error
        finally:
            listener.close()

    def _prepare(self, make_app: MakeApp) -> tuple[uvicorn.Server, socket.socket]:
        if self._server is not None:
            raise RuntimeError("the emulator is already running")
        listener = _listen(self._host, self.port)
        try:
            # The port stays the same from now on, also after a stop.
            self.port = listener.getsockname()[1]
            config = self._config(make_app(self.port))
        except BaseException:
            listener.close()
            raise
        return _UvicornServer(config), listener

    def _config(self, app: ASGIApp) -> uvicorn.Config:
        config = uvicorn.Config(
            app,
            loop="asyncio",
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
            timeout_graceful_shutdown=1,
        )
        config.load()
        if self._tls is not None:
            # After load(), which would replace it.
            config.ssl = self._tls.context()
        return config
