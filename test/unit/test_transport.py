"""What goes over the wire, and what each way of failing is called, against servers on loopback."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from cybersource_flex import errors
from cybersource_flex.transport import Operation, Request, RetryPolicy, Settings, Transport

ONCE = RetryPolicy(attempts=1)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Cut(bytes):
    """An answer after which the connection is closed."""


class Host:
    """A server that gives each connection's requests the next of its answers, and keeps what it received.

    An answer is bytes, or None for closing the connection, or an event that is waited for before closing it.
    """

    def __init__(self, *answers: bytes | threading.Event | None) -> None:
        self.received: list[bytes] = []
        self._answers = list(answers)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._socket.close()
        # A blocked accept() on Linux is not woken by close(): one last connection does it where it still can be made.
        for answer in self._answers:
            if isinstance(answer, threading.Event):
                answer.set()

    def _serve(self) -> None:
        while self._answers:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                while self._answers:
                    request = self._read(connection)
                    if not request:
                        break
                    self.received.append(request)
                    answer = self._answers.pop(0)
                    if isinstance(answer, threading.Event):
                        answer.wait(20)
                    if not isinstance(answer, bytes):
                        break
                    connection.sendall(answer)
                    if isinstance(answer, Cut):
                        break

    @staticmethod
    def _read(connection: socket.socket) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data:
            chunk = connection.recv(65536)
            if not chunk:
                return data
            data += chunk
        head, _, body = data.partition(b"\r\n\r\n")
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        while len(body) < length:
            body += connection.recv(65536)
        return head + b"\r\n\r\n" + body


@pytest.fixture
def host() -> Iterator[Callable[..., Host]]:
    hosts: list[Host] = []

    def start(*answers: Any) -> Host:
        hosts.append(Host(*answers))
        return hosts[-1]

    yield start
    for each in hosts:
        each.close()


class Counting:
    """A signer that numbers its signatures."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def sign(self, request: Request, now: float) -> dict[str, str]:
        self.times.append(now)
        return {"Authorization": f"Bearer {len(self.times)}", "X-Body": str(request.body)}


Carry = Callable[[Settings], Transport]
Call = Callable[..., Any]


@pytest.fixture
def call(carry: Carry) -> Call:
    def made(settings: Settings, *, timeout: float | None = None, **changes: Any) -> Any:
        operation = Operation(
            **{
                "name": "call",
                "method": "POST",
                "path": "/flex/v2/sessions",
                "signed": True,
                "accept": ("application/json",),
                "content_type": "application/json;charset=utf-8",
                "responses": {"200": "Dict[str, object]"},
                "models": "cybersource_flex.models",
                **changes,
            }
        )
        with carry(settings) as transport:
            return operation.result(transport.send(operation.request(settings, body={"a": "Zoë"}), timeout=timeout))

    return made


def test_what_is_sent_is_what_was_signed(host: Callable[..., Host], call: Call) -> None:
    server = host(OK)
    signer = Counting()
    assert call(Settings(host=server.url, auth=signer)).data == {}
    head, _, body = server.received[0].partition(b"\r\n\r\n")
    lines = head.decode("ascii").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    assert lines[0] == "POST /flex/v2/sessions HTTP/1.1"
    assert body == '{"a":"Zoë"}'.encode()
    assert headers["host"] == f"127.0.0.1:{server.port}"
    assert headers["content-type"] == "application/json;charset=utf-8"
    assert headers["accept"] == "application/json"
    assert headers["user-agent"].startswith("cybersource-flex/")
    assert headers["authorization"] == "Bearer 1"
    assert headers["x-body"] == str(body)
    assert len(lines) - 1 == len(headers), "no header is sent twice"


def test_operations_that_need_no_signature_get_none(host: Callable[..., Host], call: Call) -> None:
    server = host(OK)
    signer = Counting()
    call(Settings(host=server.url, auth=signer), signed=False)
    assert b"authorization" not in server.received[0].lower()
    assert signer.times == []


def test_a_redirect_leads_nowhere(host: Callable[..., Host], call: Call) -> None:
    other = host(OK)
    for status in (301, 302, 303, 307, 308):
        answer = f"HTTP/1.1 {status} Moved\r\nLocation: {other.url}/x\r\nContent-Length: 0\r\n\r\n"
        server = host(answer.encode())
        with pytest.raises(errors.RedirectError) as caught:
            call(Settings(host=server.url, auth=Counting()))
        assert caught.value.status == status
        assert len(server.received) == 1
    assert other.received == []


def test_nobody_listens(call: Call) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(errors.ConnectionFailedError, match="cannot be reached") as caught:
        call(Settings(host=f"http://127.0.0.1:{port}", auth=Counting()))
    assert (caught.value.method, caught.value.path) == ("POST", "/flex/v2/sessions")


def test_a_name_that_does_not_exist(call: Call) -> None:
    # The top-level domain is reserved for this (RFC 6761 section 6.4); no query for it leaves a resolver.
    with pytest.raises(errors.ConnectionFailedError):
        call(Settings(host="https://flex.invalid", auth=Counting(), connect_timeout=5, proxy_from_environment=False))


def test_an_answer_that_does_not_come(host: Callable[..., Host], call: Call) -> None:
    server = host(threading.Event())
    with pytest.raises(errors.ResponseTimeoutError, match="no response in time"):
        call(Settings(host=server.url, auth=Counting(), read_timeout=0.05))
    assert len(server.received) == 1, "nobody tried again on their own"


def test_a_timeout_for_one_call(host: Callable[..., Host], call: Call) -> None:
    with pytest.raises(errors.ResponseTimeoutError):
        call(Settings(host=host(threading.Event()).url, auth=Counting()), timeout=0.05)
    with pytest.raises(errors.ConfigurationError, match="timeout must be a positive number"):
        call(Settings(host=host(OK).url, auth=Counting()), timeout=0)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        Cut(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}"),
        Cut(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}"),
        b"nonsense\r\n\r\n",
    ],
)
def test_an_answer_that_breaks_off(answer: bytes | None, host: Callable[..., Host], call: Call) -> None:
    server = host(answer, OK)
    with pytest.raises(errors.ConnectionBrokenError):
        call(Settings(host=server.url, auth=Counting()))
    assert len(server.received) == 1


def test_an_answer_without_end_is_cut(host: Callable[..., Host], call: Call) -> None:
    body = b"[" + b"1," * 100_000 + b"1]"
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    with pytest.raises(errors.ResponseTooLargeError, match="exceeds 2048 bytes"):
        call(Settings(host=host(answer).url, auth=Counting(), max_response_bytes=2048))


def test_the_client_goes_on_after_a_failure(host: Callable[..., Host], carry: Carry) -> None:
    server = host(None, OK, OK)
    settings = Settings(host=server.url, auth=Counting())
    operation = Operation(
        name="call",
        method="GET",
        path="/x",
        signed=True,
        responses={"200": "object"},
        models="cybersource_flex.models",
    )
    with carry(settings) as transport:
        with pytest.raises(errors.ConnectionBrokenError):
            transport.send(operation.request(settings))
        for _ in range(2):
            assert transport.send(operation.request(settings)).status == 200
    assert [b"Bearer %d" % n in head for n, head in enumerate(server.received, 1)] == [True, True, True]


def test_a_forked_process_gets_connections_of_its_own(
    host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The kernel gives a child another process id; nothing else about a fork matters here.
    server = host(OK, OK, OK)
    settings = Settings(host=server.url, auth=Counting())
    operation = Operation(name="call", method="GET", path="/x", signed=True, responses={}, models="")
    with Transport(settings) as transport:
        transport.send(operation.request(settings))
        pool = transport._connections._pool
        parents = pool(server.url)
        assert pool(server.url) is parents
        monkeypatch.setattr(os, "getpid", lambda: -1)
        childs = pool(server.url)
        assert childs is not parents
        assert pool(server.url) is childs


def test_a_call_that_waits_for_a_connection_in_use_ends_in_time_and_is_not_sent(
    host: Callable[..., Host], carry: Carry
) -> None:
    stuck = threading.Event()
    server = host(stuck)
    settings = Settings(host=server.url, auth=Counting(), pool_size=1, connect_timeout=0.05, retry=ONCE)
    short = RetryPolicy(attempts=1, deadline=0.1)
    operation = Operation(name="call", method="GET", path="/x", signed=True, responses={}, models="")
    ended: list[BaseException] = []

    def first() -> None:
        with pytest.raises(errors.ConnectionBrokenError) as caught:
            transport.send(operation.request(settings))
        ended.append(caught.value)

    with carry(settings) as transport:
        thread = threading.Thread(target=first)
        thread.start()
        while not server.received:
            pass
        with pytest.raises(errors.ConnectionTimeoutError, match=r"all 1 \(pool_size\) are in use") as caught:
            transport.send(operation.request(settings), retry=short)
        stuck.set()
        thread.join()
    assert caught.value.outcome == "not_sent"
    assert len(ended) == len(server.received) == 1


def test_a_call_during_close_gets_a_new_connection(host: Callable[..., Host]) -> None:
    server = host(OK)
    settings = Settings(host=server.url, auth=Counting())
    operation = Operation(name="call", method="GET", path="/x", signed=True, responses={}, models="")
    with Transport(settings) as transport:
        # As when another thread closes after this one has looked the pool up.
        transport._connections._pool(server.url).close()
        assert transport.send(operation.request(settings)).status == 200


def test_what_is_logged_has_no_value_of_a_path(
    host: Callable[..., Host], caplog: pytest.LogCaptureFixture, carry: Carry
) -> None:
    server = host(OK)
    settings = Settings(host=server.url, auth=Counting())
    operation = Operation(name="call", method="GET", path="/flex/{jti}", signed=True, responses={}, models="")
    with caplog.at_level(logging.DEBUG), carry(settings) as transport:
        transport.send(operation.request(settings, path={"jti": "C4N4RY"}))
    assert server.received[0].startswith(b"GET /flex/C4N4RY HTTP/1.1")
    assert any(record.name.startswith(("urllib3", "asyncio")) for record in caplog.records)
    assert "C4N4RY" not in caplog.text


def test_an_operation_with_a_server_of_its_own_is_signed_for_it_and_sent_there(
    host: Callable[..., Host], call: Call
) -> None:
    configured, own = host(OK), host(OK)

    class Hosts(Settings):
        ENVIRONMENTS = {"here": configured.url}  # noqa: RUF012

    assert call(Hosts(host=configured.url, auth=Counting()), servers={"here": own.url}).data == {}
    assert f"\r\nHost: 127.0.0.1:{own.port}\r\n".encode() in own.received[0]
    assert configured.received == []
