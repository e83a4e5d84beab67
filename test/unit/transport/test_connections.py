"""Connections of both transports: which are reused, and the errors when none can be made."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

import pytest
from urllib3.util import wait_for_read

from cybersource_flex import errors
from cybersource_flex.transport import Configuration, Transport
from cybersource_flex.transport.backends import resolver
from support.servers import OK, RawServer
from support.transports import MakeTransport, build_request, make_configuration


def test_a_connection_is_reused(make_transport: MakeTransport) -> None:
    with RawServer(default=OK) as server, make_transport(configuration := make_configuration(server.url)) as transport:
        for _ in range(3):
            assert transport.send(build_request(configuration)).status == 200
        assert server.connections == [0, 0, 0]


def test_a_connection_is_not_reused_after_the_idle_timeout(make_transport: MakeTransport) -> None:
    with (
        RawServer(default=OK) as server,
        make_transport(configuration := make_configuration(server.url, idle_timeout=0.002)) as transport,
    ):
        transport.send(build_request(configuration))
        since = time.monotonic()
        while time.monotonic() < since + 0.01:
            pass
        transport.send(build_request(configuration))
        assert server.connections == [0, 1]


def test_time_during_which_the_process_was_suspended_counts_as_idle(
    make_transport: MakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RawServer(default=OK) as server, make_transport(configuration := make_configuration(server.url)) as transport:
        transport.send(build_request(configuration))
        wall = time.time
        # The monotonic clock stops while a machine is suspended.
        monkeypatch.setattr(time, "time", lambda: wall() + 16)
        transport.send(build_request(configuration))
        assert server.connections == [0, 1]


def test_connections_have_tcp_keep_alive(make_transport: MakeTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    sockets: list[socket.socket] = []
    connect = socket.socket.connect

    def connecting(self: socket.socket, address: Any) -> None:
        sockets.append(self)
        connect(self, address)

    with RawServer(default=OK) as server, make_transport(configuration := make_configuration(server.url)) as transport:
        if isinstance(transport, Transport):
            monkeypatch.setattr(socket.socket, "connect", connecting)
            transport.send(build_request(configuration))
            sock: Any = sockets[0]
        else:
            transport.send(build_request(configuration))
            session = transport.wrapped._connections.session  # type: ignore[attr-defined]
            (((protocol, _),),) = session.connector._conns.values()
            sock = protocol.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


@pytest.mark.parametrize("extra", [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", b"HTTP", b"x" * 100_000])
def test_a_connection_with_bytes_after_the_response_is_closed(extra: bytes, make_transport: MakeTransport) -> None:
    with (
        RawServer(default=OK + extra) as server,
        make_transport(configuration := make_configuration(server.url)) as transport,
    ):
        for _ in range(3):
            try:
                assert transport.send(build_request(configuration)).body == b"{}"
            except errors.ConnectionBrokenError:
                # aiohttp rejects a response together with the bytes after it.
                assert not isinstance(transport, Transport)
        assert server.connections == [0, 1, 2]


def test_data_before_the_first_request_is_not_read_as_a_response(
    make_transport: MakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    accepted: list[socket.socket] = []

    def send_response_first(raw: Any, timeout: float) -> bool:
        # Called right before the first request on the connection, so that the response comes first.
        connection, _ = listener.accept()
        accepted.append(connection)
        connection.sendall(OK)
        return wait_for_read(raw, timeout=10)

    module = "urllib3_connections" if make_transport is Transport else "aiohttp_connections"
    monkeypatch.setattr(f"cybersource_flex.transport.backends.{module}.wait_for_read", send_response_first)
    configuration = make_configuration(f"http://127.0.0.1:{listener.getsockname()[1]}")
    with listener, make_transport(configuration) as transport:
        with pytest.raises(errors.ConnectionFailedError, match="sent data before the request") as caught:
            transport.send(build_request(configuration))
        assert caught.value.outcome == "not_sent"
    # Nothing was sent, and what the server sent was not read.
    with accepted[0] as connection, suppress(ConnectionResetError):
        assert connection.recv(100) == b""


def test_a_connection_with_decrypted_unread_data_is_not_reused() -> None:
    # No system call shows data that OpenSSL has already decrypted.
    from cybersource_flex.transport.backends.urllib3_connections import _pending

    class Holding(ssl.SSLSocket):
        def __init__(self) -> None:
            pass

        def pending(self) -> int:
            return 5

        def __del__(self) -> None:
            pass

    assert _pending(Holding.__new__(Holding)) is True
    with socket.socket() as plain:
        assert _pending(plain) is False


# Addresses and names.


def test_localhost_is_resolved(make_transport: MakeTransport) -> None:
    with (
        RawServer(default=OK) as server,
        make_transport(configuration := make_configuration(f"http://localhost:{server.port}")) as transport,
    ):
        assert transport.send(build_request(configuration)).status == 200


def test_an_address_of_an_unsupported_family_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    original_init = socket.socket.__init__

    def without_ipv6(self: socket.socket, *args: Any, **options: Any) -> None:
        if args and args[0] == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        original_init(self, *args, **options)

    with RawServer(default=OK) as server:
        addresses = [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", server.port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port)),
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
        monkeypatch.setattr(socket.socket, "__init__", without_ipv6)
        with Transport(configuration := make_configuration(f"http://localhost:{server.port}")) as transport:
            assert transport.send(build_request(configuration)).status == 200


@pytest.mark.parametrize("host", ["https://a..example", "https://.example", f"https://{'a' * 64}.example"])
def test_invalid_host_names_are_rejected_at_once(host: str) -> None:
    with pytest.raises(errors.ConfigurationError, match="label"):
        Configuration(host=host)
    with pytest.raises(errors.ConfigurationError, match="label"):
        Configuration(host="https://host.example", proxy=host.replace("https", "http"))


def test_a_lookup_that_was_left_behind_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer(default=OK) as server:
        lookup: Future[Any] = Future()
        lookup.set_exception(socket.gaierror(socket.EAI_AGAIN, "Temporary failure"))
        monkeypatch.setitem(resolver._lookups, (os.getpid(), "localhost", server.port), lookup)
        with Transport(configuration := make_configuration(f"http://localhost:{server.port}")) as transport:
            assert transport.send(build_request(configuration)).status == 200


# Errors when no file descriptor is left.


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE])
@pytest.mark.parametrize("host", ["http://127.0.0.1:{port}", "http://localhost:{port}"])
def test_connecting_without_a_file_descriptor_fails(
    code: int,
    host: str,
    make_transport: MakeTransport,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original_init = socket.socket.__init__
    no_descriptor_left = threading.Event()

    def exhausted(self: socket.socket, *args: Any, **options: Any) -> None:
        if no_descriptor_left.is_set() and options.get("fileno") is None and len(args) < 4:
            raise OSError(code, "Too many open files")
        original_init(self, *args, **options)

    monkeypatch.setattr(socket.socket, "__init__", exhausted)
    with (
        RawServer(default=OK) as server,
        make_transport(configuration := make_configuration(host.format(port=server.port))) as transport,
    ):
        no_descriptor_left.set()
        with pytest.raises(errors.ConnectionFailedError, match="no file descriptors left") as caught:
            transport.send(build_request(configuration))
        assert (caught.value.outcome, caught.value.safe_to_retry) == ("not_sent", True)
        no_descriptor_left.clear()
        assert transport.send(build_request(configuration)).status == 200


def test_a_dns_lookup_without_a_file_descriptor_fails(
    make_transport: MakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    def getaddrinfo(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    original_init = socket.socket.__init__

    def exhausted(self: socket.socket, *args: Any, **options: Any) -> None:
        if not args and not options:
            raise OSError(errno.EMFILE, "Too many open files")
        original_init(self, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(socket.socket, "__init__", exhausted)
    with (
        make_transport(configuration := make_configuration("https://host.example")) as transport,
        pytest.raises(errors.ConnectionFailedError, match="no file descriptors left"),
    ):
        transport.send(build_request(configuration))


def test_a_replaced_resolver_may_return_no_address(
    make_transport: MakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    # For example, a program leaves out the IPv6 addresses of a host that has no others.
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [])
    with (
        make_transport(configuration := make_configuration("https://host.example")) as transport,
        pytest.raises(errors.ConnectionFailedError, match="the name of the host cannot be resolved") as caught,
    ):
        transport.send(build_request(configuration))
    assert (caught.value.outcome, caught.value.safe_to_retry) == ("not_sent", True)


def test_only_objects_without_a_socket_are_taken_for_fakes() -> None:
    from cybersource_flex.transport.backends.urllib3_connections import _is_fake

    class Fake:
        def __init__(self, descriptor: int) -> None:
            self.descriptor = descriptor

        def fileno(self) -> int:
            return self.descriptor

    reader, writer = os.pipe()
    first, second = socket.socketpair()
    try:
        assert _is_fake(Fake(reader))
        # gevent's and eventlet's sockets are of other classes, and have a socket's descriptor.
        assert not _is_fake(Fake(first.fileno()))
        assert not _is_fake(first)
        assert not _is_fake(Fake(-1))
        with ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).wrap_socket(
            second, server_side=True, do_handshake_on_connect=False
        ) as tls:
            assert not _is_fake(tls)
    finally:
        for descriptor in (reader, writer):
            os.close(descriptor)
        first.close()
        second.close()
