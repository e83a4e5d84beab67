"""What a call waits for ends at its timeout: DNS lookups, connections, handshakes and sending."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cybersource_flex import errors
from cybersource_flex.transport import AsyncTransport, Configuration, RetryPolicy, Transport
from cybersource_flex.transport.backends import resolver
from support.servers import OK, RawServer
from support.transports import MakeTransport, build_request, make_configuration


@pytest.fixture
def stalled_dns(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """DNS lookups return after the test. The value is the list of names that were looked up."""
    release = threading.Event()
    hosts: list[str] = []

    def getaddrinfo(host: str, *_: Any, **__: Any) -> Any:
        hosts.append(host)
        release.wait(20)
        raise socket.gaierror(socket.EAI_NONAME, "over")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield hosts
    release.set()
    # The next test must not join a lookup of this one.
    for lookup in list(resolver._lookups.values()):
        lookup.exception(timeout=20)


@pytest.mark.parametrize("limit", ["connect_timeout", "deadline"])
def test_a_dns_lookup_ends_at_the_timeout(limit: str, stalled_dns: list[str], make_transport: MakeTransport) -> None:
    options: dict[str, Any] = {"connect_timeout": 0.05}
    if limit == "deadline":
        options = {"retry": RetryPolicy(deadline=0.1)}
    started = time.monotonic()
    with make_transport(configuration := make_configuration("https://host.example", **options)) as transport:
        with pytest.raises(errors.ConnectionTimeoutError) as caught:
            transport.send(build_request(configuration))
        assert time.monotonic() - started < 5
        assert (caught.value.outcome, caught.value.safe_to_retry) == ("not_sent", True)


def test_a_stalled_dns_lookup_uses_one_thread_per_name(stalled_dns: list[str]) -> None:
    configuration = make_configuration("https://host.example", connect_timeout=0.05)
    with Transport(configuration) as transport, ThreadPoolExecutor(20) as workers:

        def fail() -> str:
            with pytest.raises(errors.ConnectionTimeoutError) as caught:
                transport.send(build_request(configuration))
            return caught.value.outcome

        assert {each.result() for each in [workers.submit(fail) for _ in range(60)]} == {"not_sent"}
        assert stalled_dns == ["host.example"]


def test_a_program_does_not_wait_for_a_stalled_dns_lookup_at_exit(stalled_dns: list[str]) -> None:
    async def main(configuration: Configuration) -> None:
        async with AsyncTransport(configuration) as transport:
            with pytest.raises(errors.ConnectionTimeoutError):
                await transport.send(build_request(configuration))

    started = time.monotonic()
    asyncio.run(main(make_configuration("https://host.example", connect_timeout=0.05)))
    assert time.monotonic() - started < 5
    assert stalled_dns == ["host.example"]


def test_several_addresses_share_the_connect_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    # A listener whose queue is full does not complete a handshake.
    full_listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    fillers = []
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(full_listener.getsockname())
        fillers.append(filler)
    dead_addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", full_listener.getsockname())] * 3
    with RawServer(default=OK) as server:
        live_address = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [*dead_addresses, live_address])
        with Transport(
            configuration := make_configuration(f"http://localhost:{server.port}", connect_timeout=0.4)
        ) as transport:
            started = time.monotonic()
            assert transport.send(build_request(configuration)).status == 200
            assert time.monotonic() - started < 5
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: dead_addresses)
        with Transport(configuration) as transport, pytest.raises(errors.ConnectionTimeoutError):
            transport.send(build_request(configuration))
    for each in (full_listener, *fillers):
        each.close()


def test_sending_a_request_that_the_server_does_not_read_times_out(make_transport: MakeTransport) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    configuration = make_configuration(f"http://127.0.0.1:{listener.getsockname()[1]}", retry=RetryPolicy(deadline=0.2))
    started = time.monotonic()
    with listener, make_transport(configuration) as transport:
        with pytest.raises(errors.ResponseTimeoutError) as caught:
            transport.send(build_request(configuration, {"x": "y" * 20_000_000}))
        assert time.monotonic() - started < 10
        assert caught.value.outcome == "unknown"


def test_a_tls_handshake_that_does_not_start_times_out(make_transport: MakeTransport) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        configuration = make_configuration(f"https://127.0.0.1:{listener.getsockname()[1]}", connect_timeout=0.1)
        started = time.monotonic()
        with make_transport(configuration) as transport, pytest.raises(errors.ConnectionTimeoutError):
            transport.send(build_request(configuration))
        assert time.monotonic() - started < 5


def test_a_proxy_that_responds_byte_by_byte_times_out(make_transport: MakeTransport) -> None:
    done = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        connection, _ = listener.accept()
        connection.recv(65536)
        try:
            connection.sendall(b"HTTP/1.1 200 Connection established\r\nX: ")
            while not done.wait(0.02):
                connection.sendall(b"x")
        except OSError:
            pass
        connection.close()

    thread = threading.Thread(target=drip)
    thread.start()
    configuration = make_configuration(
        "https://host.example", proxy=f"http://127.0.0.1:{listener.getsockname()[1]}", connect_timeout=0.15
    )
    started = time.monotonic()
    with listener, make_transport(configuration) as transport, pytest.raises(errors.ConnectionTimeoutError) as caught:
        transport.send(build_request(configuration))
    done.set()
    thread.join()
    assert time.monotonic() - started < 5
    assert caught.value.outcome == "not_sent"
