"""Interim responses, bytes that the client did not request, and responses at an unexpected time.

A call returns the response to its own request or raises an error, and the client works afterwards. The random tests are
in ``test_response_matching.py``.
"""

from __future__ import annotations

import asyncio
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cybersource_flex import ApiResponse, RetryPolicy, errors
from cybersource_flex.transport import AsyncTransport, Configuration
from support.certificates import CertificateAuthority
from support.plan_server import (
    MAX_SECONDS,
    Outcome,
    Server,
    async_call,
    call,
    configuration_for,
    find_error,
    request_of,
)
from support.response_plans import Action, Plan, Step, Verdict

OWN = b"HTTP/1.1 200 OK\r\nX-Tag: $OWN\r\nContent-Length: 2\r\n\r\n{}"
OTHER = b"HTTP/1.1 200 OK\r\nX-Tag: $OTHER\r\nContent-Length: 2\r\n\r\n{}"
EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\n\r\n"
TIMEOUT_408 = b"HTTP/1.1 408 Request Timeout\r\nX-Tag: $OTHER\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Client:
    """Makes calls with a transport, and defines the server's steps for each of them."""

    def __init__(self, server: Server, transport: Any, configuration: Configuration) -> None:
        self.server, self.transport, self.configuration = server, transport, configuration
        self._plans: dict[str, Plan] = {}
        server.plan = self._plans.__getitem__

    def plan(self, *steps: Step, late: tuple[Step, ...] = (), **others: Any) -> Plan:
        """Create the plan for the next request. In the steps, ``$OWN`` is its tag, and ``$OTHER`` is another tag."""
        number = len(self._plans)
        tag, other = f"T0N{number}E", f"T0N{9_000_000 + number}E"

        def with_tags(step: Step) -> Step:
            return (
                step.replace(b"$OWN", tag.encode()).replace(b"$OTHER", other.encode())
                if isinstance(step, bytes)
                else step
            )

        arguments = {"verdict": Verdict.RESPONSE, "status": 200, "body": b"{}", "method": "POST", **others}
        plan = Plan("single", tag, steps=list(map(with_tags, steps)), late=tuple(map(with_tags, late)), **arguments)
        self._plans[tag] = plan
        return plan

    def call(
        self, *steps: Step, timeout: float | None = None, retry: RetryPolicy | None = None, **others: Any
    ) -> Outcome:
        """Make a call for which the server runs these steps, and check that the outcome is the verdict."""
        plan = self.plan(*steps, **others)
        operation, request, _ = request_of(plan, self.configuration)
        outcomes: list[Outcome] = []

        def work() -> None:
            try:
                outcomes.append(operation.parse_response(self.transport.send(request, timeout=timeout, retry=retry)))
            except Exception as error:
                outcomes.append(error)

        # In a thread, so that a call that hangs fails only this test.
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        thread.join(2 * MAX_SECONDS)
        assert outcomes, "the call did not end by its deadline"
        (outcome,) = outcomes
        assert find_error(plan, outcome, plan.tag in self.server.received) is None
        if plan.verdict is not Verdict.EITHER:
            assert isinstance(outcome, errors.TransportError) == (plan.verdict is Verdict.ERROR), repr(outcome)
        return outcome

    def assert_works(self, connections: int | None) -> None:
        """Make calls that cannot be repeated, and check their responses and the total number of connections."""
        for number in range(4):
            body = b'{"number": %d}' % number
            head = b"HTTP/1.1 200 OK\r\nX-Tag: $OWN\r\nContent-Length: %d\r\n\r\n" % len(body)
            assert isinstance(self.call(head + body, body=body), ApiResponse)
        assert connections in (None, self.server.connections)


MakeTransport = Callable[[Configuration], Any]


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture
def client(server: Server, make_transport: MakeTransport) -> Iterator[Client]:
    configuration = configuration_for(server)
    with make_transport(configuration) as transport:
        yield Client(server, transport, configuration)


@pytest.mark.parametrize(
    "first",
    [
        [EARLY_HINTS, 0.2],
        [b"HTTP/1.1 102 Processing\r\nX-Tag: $OTHER\r\n\r\n", 0.02],
        [b"HTTP/1.1 100 Continue\r\n\r\n", 0.02],
        [b"HTTP/1.1 100 Continue\r\n\r\n", 0.02, EARLY_HINTS, 0.02],
        [b"HTTP/1.1 199 \r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n", 0.02],
        [EARLY_HINTS, 0.01, b"HTTP/1.1 102 Processing\r\n\r\n", 0.01, EARLY_HINTS, 0.01, EARLY_HINTS, 0.01],
        [EARLY_HINTS * 3],
        [EARLY_HINTS[:15], 0.01, EARLY_HINTS[15:-1], 0.01, EARLY_HINTS[-1:], 0.01],
        [b"HTTP/1.1 103 Early Hints\r\nLink: " + b"x" * 4000 + b"\r\nX-Tag: $OTHER\r\n\r\n", 0.02],
    ],
)
@pytest.mark.parametrize(
    ("final", "status", "body"),
    [
        (OWN, 200, b"{}"),
        (b"HTTP/1.1 204 No Content\r\nX-Tag: $OWN\r\n\r\n", 204, b""),
        (b"HTTP/1.1 304 Not Modified\r\nX-Tag: $OWN\r\n\r\n", 304, b""),
        (b"HTTP/1.1 500 Failed\r\nX-Tag: $OWN\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 500, b"{}"),
    ],
)
def test_interim_responses_are_skipped(
    first: list[Step], final: bytes, status: int, body: bytes, client: Client
) -> None:
    client.call(*first, final, status=status, body=body)
    client.assert_works(connections=1)
    # The same in one segment.
    client.call(b"".join(step for step in first if isinstance(step, bytes)) + final, status=status, body=body)
    client.assert_works(connections=1)


@pytest.mark.parametrize("before", [b"", EARLY_HINTS])
@pytest.mark.parametrize("upgrade", [b"", b"Upgrade: h2c\r\nConnection: upgrade\r\n", b"Content-Length: 2\r\n"])
@pytest.mark.parametrize("after", [(), (OWN,), (OTHER,), (0.05, OWN), (Action.CLOSE,), (b"PRI * HTTP/2.0\r\n\r\n",)])
def test_an_unsolicited_protocol_switch_ends_the_connection(
    before: bytes, upgrade: bytes, after: tuple[Step, ...], client: Client
) -> None:
    head = before + b"HTTP/1.1 101 Switching Protocols\r\n" + upgrade + b"\r\n"
    steps = [head + after[0], *after[1:]] if after and isinstance(after[0], bytes) else [head, *after]
    outcome = client.call(*steps, verdict=Verdict.ERROR)
    assert isinstance(outcome, errors.ConnectionBrokenError)
    assert (outcome.outcome, outcome.safe_to_retry) == ("unknown", False)
    client.assert_works(connections=2)


@pytest.mark.parametrize("status", ["000", "001", "099"])
def test_statuses_below_100_are_rejected(status: str, client: Client) -> None:
    head = f"HTTP/1.1 {status} Low\r\nX-Tag: $OWN\r\nContent-Length: 2\r\n\r\n{{}}".encode()
    outcome = client.call(head, verdict=Verdict.ERROR)
    assert (outcome.outcome, outcome.safe_to_retry) == ("unknown", False)  # type: ignore[union-attr]
    client.assert_works(connections=2)


@pytest.mark.parametrize("ending", [Action.CLOSE, Action.RESET])
@pytest.mark.parametrize(
    "first", [EARLY_HINTS, b"HTTP/1.1 100 Continue\r\n\r\n", EARLY_HINTS * 3, EARLY_HINTS + OWN[:20]]
)
def test_interim_responses_without_a_final_response(first: bytes, ending: Action, client: Client) -> None:
    outcome = client.call(first, ending, verdict=Verdict.ERROR)
    assert isinstance(outcome, errors.ConnectionBrokenError)
    client.assert_works(connections=2)


@pytest.mark.parametrize(
    "first", [EARLY_HINTS, b"HTTP/1.1 100 Continue\r\n\r\n", EARLY_HINTS * 3, EARLY_HINTS + OWN[:20]]
)
def test_the_read_timeout_applies_after_an_interim_response(first: bytes, client: Client) -> None:
    began = time.monotonic()
    outcome = client.call(first, Action.SILENCE, verdict=Verdict.ERROR, timeout=0.2)
    assert isinstance(outcome, errors.ResponseTimeoutError)
    assert 0.15 < time.monotonic() - began < MAX_SECONDS / 2, "the read timeout ends the call before the deadline"
    client.assert_works(connections=2)


def test_interim_responses_do_not_extend_the_deadline(client: Client) -> None:
    began = time.monotonic()
    steps: list[Step] = [EARLY_HINTS, 0.02] * 250
    outcome = client.call(*steps, OWN, verdict=Verdict.ERROR, retry=RetryPolicy(attempts=1, deadline=0.4))
    assert isinstance(outcome, errors.TransportError)
    assert time.monotonic() - began < 2
    client.assert_works(connections=2)


@pytest.mark.parametrize("data", [EARLY_HINTS * 100_000, b"HTTP/1.1 103 A\r\n" + b"X-A: b\r\n" * 400_000 + b"\r\n"])
def test_too_many_or_too_large_interim_responses_are_rejected(data: bytes, client: Client) -> None:
    client.call(*(data[begin : begin + 60_000] for begin in range(0, len(data), 60_000)), OWN, verdict=Verdict.ERROR)
    client.assert_works(connections=2)


@pytest.mark.parametrize(
    "surplus", [OTHER, OTHER * 3, OTHER[:1], OTHER[:30], OTHER[:-1], EARLY_HINTS, EARLY_HINTS + OTHER, OTHER + b"x"]
)
@pytest.mark.parametrize("ending", [(), (Action.CLOSE,)])
def test_bytes_after_a_response_are_never_used(surplus: bytes, ending: tuple[Step, ...], client: Client) -> None:
    verdict = Verdict.EITHER if surplus.endswith(b"x") else Verdict.RESPONSE
    client.call(OWN + surplus, *ending, verdict=verdict)
    client.assert_works(connections=2)


@pytest.mark.parametrize("surplus", [OTHER, OTHER * 3, b"x", b"\r\n", b"0\r\n\r\n", b'{"card": 1}', OTHER[20:]])
@pytest.mark.parametrize(
    "first",
    [
        OWN,
        b"HTTP/1.1 204 No Content\r\nX-Tag: $OWN\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nX-Tag: $OWN\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nX-Tag: $OWN\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-Tag: $OWN\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-Tag: $OWN\r\nContent-Length: 1\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nX-Tag: $OWN\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_surplus_bytes_end_the_connection(first: bytes, surplus: bytes, client: Client) -> None:
    client.call(first + surplus, verdict=Verdict.EITHER)
    # A client may ignore a single line break.
    client.assert_works(connections=None if surplus == b"\r\n" else 2)


LATE: list[tuple[Step, ...]] = [
    (OTHER,),
    (OTHER * 2,),
    (OTHER[:1],),
    (OTHER[:30],),
    (OTHER[:-1],),
    (OTHER[:40], OTHER[40:]),
    (EARLY_HINTS,),
    (b"HTTP/1.1 100 Continue\r\n\r\n",),
    (b"\r\n",),
    (b"garbage",),
    (TIMEOUT_408,),
    (TIMEOUT_408, Action.CLOSE),
    (Action.CLOSE,),
    (Action.RESET,),
    (OTHER, Action.CLOSE),
]


@pytest.mark.parametrize("late", LATE)
def test_bytes_on_an_idle_connection_are_never_used(late: tuple[Step, ...], client: Client) -> None:
    client.call(OWN, late=late)
    client.server.send_late().result(MAX_SECONDS)
    client.assert_works(connections=2)


@pytest.mark.parametrize("late", LATE)
def test_bytes_that_arrive_while_the_event_loop_is_blocked_are_never_used(
    late: tuple[Step, ...], server: Server
) -> None:
    # The bytes are in the socket buffer when the next request is sent, but the event loop has not read them.
    configuration = configuration_for(server)

    async def run() -> list[Outcome]:
        async with AsyncTransport(configuration) as transport:
            client = Client(server, transport, configuration)
            outcomes = [await async_call(transport, configuration, client.plan(OWN, late=late))]
            server.send_late().result(MAX_SECONDS)
            return [*outcomes, *[await async_call(transport, configuration, client.plan(OWN)) for _ in range(3)]]

    outcomes = asyncio.run(run())
    assert [type(each) for each in outcomes] == [ApiResponse] * 4
    assert [each.headers["X-Tag"] for each in outcomes] == [f"T0N{number}E" for number in range(4)]  # type: ignore[union-attr]
    assert server.connections == 2


def test_every_idle_connection_is_checked(server: Server, make_transport: MakeTransport) -> None:
    configuration, width = configuration_for(server), 8
    with make_transport(configuration) as transport, ThreadPoolExecutor(width) as workers:
        client = Client(server, transport, configuration)

        def at_once(late: tuple[Step, ...]) -> None:
            # The delayed responses make each call open its own connection.
            plans = [client.plan(0.1, OWN, late=late) for _ in range(width)]
            outcomes = list(workers.map(lambda plan: call(transport, configuration, plan), plans))
            assert [find_error(*each, True) for each in zip(plans, outcomes, strict=True)] == [None] * width

        at_once((OTHER,))
        server.send_late().result(MAX_SECONDS)
        at_once((Action.CLOSE,))
        server.send_late().result(MAX_SECONDS)
        at_once(())
        assert server.connections == 3 * width


@pytest.mark.skipif(sys.platform == "win32", reason="NOT TESTED: the event loop there connects in another way")
@pytest.mark.parametrize("greeting", [OTHER, OTHER[:30], EARLY_HINTS + OTHER, TIMEOUT_408])
def test_bytes_before_the_request_are_never_used(
    greeting: bytes, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Both functions that connect return after the server's first bytes arrived. Without the patches this is a race.
    connect = socket.socket.connect
    loop_connect = asyncio.selector_events.BaseSelectorEventLoop.sock_connect

    def connect_and_wait(self: socket.socket, address: Any) -> None:
        connect(self, address)
        if self.getpeername()[1] == int(client.server.url.rpartition(":")[2]):
            select.select([self], [], [], MAX_SECONDS)

    async def loop_connect_and_wait(self: Any, sock: socket.socket, address: Any) -> None:
        await loop_connect(self, sock, address)
        while not select.select([sock], [], [], 0)[0]:
            await asyncio.sleep(0.001)

    monkeypatch.setattr(socket.socket, "connect", connect_and_wait)
    monkeypatch.setattr(asyncio.selector_events.BaseSelectorEventLoop, "sock_connect", loop_connect_and_wait)
    client.server.greeting = greeting.replace(b"$OTHER", b"T0N9000000E")
    outcome = client.call(OWN, verdict=Verdict.ERROR)
    assert isinstance(outcome, errors.TransportError)
    monkeypatch.undo()
    client.server.greeting = b""
    client.assert_works(connections=client.server.connections + 1)


def test_a_response_after_the_timeout_is_never_used(client: Client) -> None:
    plan = client.plan(0.15, OWN)
    _, request, _ = request_of(plan, client.configuration)
    with pytest.raises(errors.ResponseTimeoutError) as caught:
        client.transport.send(request, timeout=0.05)
    assert (caught.value.outcome, caught.value.safe_to_retry) == ("unknown", False)
    client.assert_works(connections=2)


def test_a_response_to_a_cancelled_task_is_never_used(server: Server) -> None:
    configuration = configuration_for(server)

    async def run() -> Outcome:
        async with AsyncTransport(configuration) as transport:
            client = Client(server, transport, configuration)
            first = client.plan(0.05, OWN)
            task = asyncio.ensure_future(async_call(transport, configuration, first))
            while first.tag not in server.received:
                await asyncio.sleep(0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return await async_call(transport, configuration, client.plan(0.1, OWN))

    outcome = asyncio.run(run())
    assert isinstance(outcome, ApiResponse)
    assert outcome.headers["X-Tag"] == "T0N1E"
    assert server.connections == 2


@pytest.mark.parametrize("size", [20, 1_000_000])
@pytest.mark.parametrize("status", [400, 503])
def test_a_response_before_the_request_body_was_read(size: int, status: int, client: Client) -> None:
    own = OWN.replace(b"200", str(status).encode())
    outcome = client.call(own, status=status, early=True, size=size)
    assert isinstance(outcome, errors.ApiException)
    assert (outcome.status, outcome.outcome) == (status, "rejected")
    client.assert_works(connections=client.server.connections)
    # The server closes the connection without reading the body.
    own = own.replace(b"Content-Length", b"Connection: close\r\nContent-Length")
    for step in (Action.CLOSE, Action.RESET):
        client.call(own, step, status=status, early=True, size=size, verdict=Verdict.EITHER)
        client.assert_works(connections=client.server.connections + 1)


@pytest.mark.parametrize("pieces", [(OWN + OTHER,), (OWN, OTHER), (OWN + OTHER * 400,)])
def test_surplus_bytes_with_tls(
    pieces: tuple[bytes, ...], authority: CertificateAuthority, make_transport: MakeTransport
) -> None:
    # In one TLS record, in two, and in more than one. Bytes that OpenSSL has decrypted are no longer in the socket
    # buffer, so a check of the socket alone does not notice them.
    with Server(authority.server_context()) as server:
        configuration = configuration_for(server, authority.file)
        with make_transport(configuration) as transport:
            client = Client(server, transport, configuration)
            client.call(pieces[0], late=pieces[1:])
            server.send_late().result(MAX_SECONDS)
            client.assert_works(connections=2)


@pytest.mark.parametrize("size", [9_000, 60_000])
def test_long_headers_are_accepted(size: int, client: Client) -> None:
    # Gateways add such headers, for example a Content-Security-Policy.
    head = b"HTTP/1.1 201 Created\r\nX-Tag: $OWN\r\nX-Long: " + b"x" * size + b"\r\n"
    outcome = client.call(head + b"Content-Length: 2\r\n\r\n{}", status=201)
    assert isinstance(outcome, ApiResponse)
    assert outcome.headers["X-Long"] == "x" * size
    outcome = client.call(head + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", status=201)
    assert isinstance(outcome, ApiResponse)
    client.assert_works(connections=1)


def test_headers_that_are_too_long_are_rejected(client: Client) -> None:
    head = b"HTTP/1.1 200 OK\r\nX-Tag: $OWN\r\nX-Long: " + b"x" * 70_000 + b"\r\nContent-Length: 2\r\n\r\n{}"
    outcome = client.call(head, verdict=Verdict.ERROR)
    assert isinstance(outcome, errors.ConnectionBrokenError)
    client.assert_works(connections=2)


def test_connections_are_reused(client: Client) -> None:
    """Without this, a client that opens a connection for each call would pass all tests above."""
    for _ in range(20):
        client.call(OWN)
        client.call(b"HTTP/1.1 200 OK\r\nX-Tag: $OWN\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
    assert client.server.connections == 1


def test_connections_are_reused_with_tls(authority: CertificateAuthority, make_transport: MakeTransport) -> None:
    # TLS 1.3 sends session tickets after the handshake. They are not surplus bytes of HTTP.
    with Server(authority.server_context()) as server:
        configuration = configuration_for(server, authority.file)
        with make_transport(configuration) as transport:
            client = Client(server, transport, configuration)
            for _ in range(20):
                client.call(OWN)
            assert server.connections == 1
