"""TLS connections through a proxy, with and without TLS to the proxy."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from cybersource_flex import errors
from cybersource_flex.transport import RetryPolicy, Tls, Transport
from support.certificates import CertificateAuthority
from support.servers import OK
from support.transports import build_request, make_configuration


class TunnelProxy:
    """A proxy, with or without TLS, that responds to CONNECT and then runs ``host`` on the connection."""

    def __init__(
        self, host: Callable[[socket.socket], object], context: ssl.SSLContext | None = None, seconds: float = 0.0
    ) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._host, self._context, self._seconds = host, context, seconds
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with suppress(OSError):
            connection, _ = self._listener.accept()
            # A second connection is refused at once.
            self._listener.close()
            connection.settimeout(20)
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            with connection:
                connection.recv(65536)
                threading.Event().wait(self._seconds)
                connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                self._host(connection)

    def __enter__(self) -> TunnelProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self._thread.join(20)


def test_the_connect_timeout_covers_proxy_and_host_together() -> None:
    def stalled_handshake(connection: socket.socket) -> None:
        # Until the client closes the connection.
        while connection.recv(65536):
            pass

    with TunnelProxy(stalled_handshake, seconds=0.8) as proxy:
        configuration = make_configuration(
            "https://host.example", proxy=f"http://127.0.0.1:{proxy.port}", connect_timeout=1.0
        )
        started = time.monotonic()
        with Transport(configuration) as transport, pytest.raises(errors.ConnectionTimeoutError):
            transport.send(build_request(configuration))
        assert time.monotonic() - started < 1.7, "one timeout, not one for each connection"


@pytest.fixture(scope="module")
def proxy_tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Tls]:
    """The TLS context of the proxy and the host, and the settings that trust it."""
    authority = CertificateAuthority(tmp_path_factory.mktemp("authority"))
    return authority.server_context("127.0.0.1", "host.example"), Tls(ca_file=authority.file)


class InnerTls:
    """The host's TLS connection inside the one to the proxy."""

    def __init__(self, outer: socket.socket, context: ssl.SSLContext) -> None:
        self._outer = outer
        self._incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self.outgoing, server_side=True)
        self._step(self._tls.do_handshake)
        self.flush()

    def read(self) -> bytes:
        return bytes(self._step(lambda: self._tls.read(65536)))

    def write(self, data: bytes) -> None:
        """Encrypt into ``outgoing`` as a separate record."""
        self._tls.write(data)

    def flush(self) -> None:
        self._outer.sendall(self.outgoing.read())

    def _step(self, step: Callable[[], Any]) -> Any:
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                self.flush()
                data = self._outer.recv(65536)
                if not data:
                    raise ConnectionResetError from None
                self._incoming.write(data)


def test_tls_through_a_tls_proxy_returns_no_second_response(proxy_tls: tuple[ssl.SSLContext, Tls]) -> None:
    context, tls = proxy_tls

    def host(outer: socket.socket) -> None:
        inner = InnerTls(outer, context)
        inner.read()
        inner.write(OK)
        # A second record, sent together with the first.
        inner.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]")
        inner.flush()
        # The client closes this connection.
        inner.read()

    with TunnelProxy(host, context) as proxy:
        configuration = make_configuration(
            "https://host.example", proxy=f"https://127.0.0.1:{proxy.port}", tls=tls, connect_timeout=5.0
        )
        with Transport(configuration) as transport:
            assert transport.send(build_request(configuration)).body == b"{}"
            with pytest.raises(errors.TransportError) as caught:
                transport.send(build_request(configuration))
            assert caught.value.outcome == "not_sent", "the proxy takes one connection"


@pytest.mark.parametrize("stage", ["handshake", "response", "body"])
def test_tls_through_a_tls_proxy_ends_in_time(stage: str, proxy_tls: tuple[ssl.SSLContext, Tls]) -> None:
    context, tls = proxy_tls

    def drip(outer: socket.socket, data: bytes) -> None:
        for index in range(len(data)):
            outer.sendall(data[index : index + 1])
            threading.Event().wait(0.02)

    def host(outer: socket.socket) -> None:
        if stage == "handshake":
            # The header of a record, and then content that never ends.
            drip(outer, b"\x16\x03\x03\x40\x00" + bytes(1000))
            return
        inner = InnerTls(outer, context)
        inner.read()
        if stage == "body":
            inner.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            inner.flush()
        inner.write(OK + b" " * 1000)
        drip(outer, inner.outgoing.read())

    with TunnelProxy(host, context) as proxy:
        configuration = make_configuration(
            "https://host.example",
            proxy=f"https://127.0.0.1:{proxy.port}",
            tls=tls,
            connect_timeout=0.5,
            retry=RetryPolicy(attempts=1, deadline=0.5),
        )
        started = time.monotonic()
        with Transport(configuration) as transport, pytest.raises(errors.TransportError):
            transport.send(build_request(configuration))
        assert time.monotonic() - started < 3
