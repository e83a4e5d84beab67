"""When a connection is used again, and how long a call waits for what it needs: a connection, a name, a signature."""

from __future__ import annotations

import asyncio
import errno
import gzip
import json
import os
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
import trustme
import urllib3
from urllib3.util import wait_for_read

from cybersource_flex import errors
from cybersource_flex.auth import BearerToken
from cybersource_flex.transport import Operation, Request, RetryPolicy, Settings, Tls, Transport, resolver
from cybersource_flex.transport.aio import AsyncTransport

ONCE = RetryPolicy(attempts=1)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
CALL = Operation(
    name="call",
    method="POST",
    path="/x",
    signed=True,
    content_type="application/json",
    responses={"200": "Dict[str, object]"},
    models="cybersource_flex.models",
)
Carry = Callable[[Settings], Transport]


class Signer:
    def sign(self, request: Request, now: float) -> dict[str, str]:
        return {"Authorization": "Bearer x"}


class Server:
    """Counts connections, and answers each request with what ``respond`` makes of it."""

    def __init__(self, respond: Callable[[socket.socket], object] | bytes = OK) -> None:
        self.connections: list[int] = []
        self.release = threading.Event()
        self._respond = respond
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.release.set()
        # Closing a socket does not wake the thread that waits for a connection; a connection does.
        self._closing = True
        with socket.socket() as last:
            last.connect(("127.0.0.1", self.port))
        self._socket.close()

    _closing = False

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            if self._closing:
                connection.close()
                return
            threading.Thread(target=self._serve, args=(connection, len(set(self.connections))), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        with connection:
            while request := self._read(connection):
                self.connections.append(number)
                if isinstance(self._respond, bytes):
                    connection.sendall(self._respond)
                else:
                    self._respond(connection)
                del request

    @staticmethod
    def _read(connection: socket.socket) -> bytes:
        data = b""
        try:
            while b"\r\n\r\n" not in data or not data.endswith(b"{}"):
                chunk = connection.recv(65536)
                if not chunk:
                    return b""
                data += chunk
        except OSError:
            return b""
        return data


@pytest.fixture
def settings() -> Callable[..., Settings]:
    def made(host: str, **options: Any) -> Settings:
        return Settings(host=host, **{"auth": Signer(), "retry": ONCE, "proxy_from_environment": False, **options})

    return made


def request(of: Settings, body: Any = None) -> Request:
    return CALL.request(of, body={} if body is None else body)


# Which connections are used again.


def test_a_connection_is_used_again(carry: Carry, settings: Callable[..., Settings]) -> None:
    with Server() as server, carry(made := settings(server.url)) as transport:
        for _ in range(3):
            assert transport.send(request(made)).status == 200
        assert server.connections == [0, 0, 0]


def test_a_connection_that_was_idle_for_too_long_is_not_used_again(
    carry: Carry, settings: Callable[..., Settings]
) -> None:
    with Server() as server, carry(made := settings(server.url, idle_timeout=0.002)) as transport:
        transport.send(request(made))
        since = time.monotonic()
        while time.monotonic() < since + 0.01:
            pass
        transport.send(request(made))
        assert server.connections == [0, 1]


def test_time_during_which_the_process_was_frozen_counts_as_idle(
    carry: Carry, settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server() as server, carry(made := settings(server.url)) as transport:
        transport.send(request(made))
        wall = time.time
        # The monotonic clock stands still while a machine is suspended.
        monkeypatch.setattr(time, "time", lambda: wall() + 16)
        transport.send(request(made))
        assert server.connections == [0, 1]


def test_connections_have_tcp_keep_alive(
    carry: Carry, settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[socket.socket] = []
    connect = socket.socket.connect

    def connecting(self: socket.socket, address: Any) -> None:
        kept.append(self)
        connect(self, address)

    with Server() as server, carry(made := settings(server.url)) as transport:
        if isinstance(transport, Transport):
            monkeypatch.setattr(socket.socket, "connect", connecting)
            transport.send(request(made))
            sock: Any = kept[0]
        else:
            transport.send(request(made))
            session = transport.made._session  # type: ignore[attr-defined]
            (((protocol, _),),) = session.connector._conns.values()
            sock = protocol.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


@pytest.mark.parametrize("extra", [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", b"HTTP", b"x" * 100_000])
def test_bytes_after_a_response_end_its_connection(
    extra: bytes, carry: Carry, settings: Callable[..., Settings]
) -> None:
    with Server(OK + extra) as server, carry(made := settings(server.url)) as transport:
        for _ in range(3):
            try:
                assert transport.send(request(made)).body == b"{}"
            except errors.ConnectionBrokenError:
                # aiohttp refuses a response together with the bytes after it.
                assert not isinstance(transport, Transport)
        assert server.connections == [0, 1, 2]


def test_data_before_the_first_request_is_no_response(
    carry: Carry, settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    accepted: list[socket.socket] = []

    def greeted(raw: Any, timeout: float) -> bool:
        # Called right before the first request on the connection. The response is there first.
        connection, _ = listener.accept()
        accepted.append(connection)
        connection.sendall(OK)
        return wait_for_read(raw, timeout=10)

    module = "connections" if carry is Transport else "aio"
    monkeypatch.setattr(f"cybersource_flex.transport.{module}.wait_for_read", greeted)
    made = settings(f"http://127.0.0.1:{listener.getsockname()[1]}")
    with listener, carry(made) as transport:
        with pytest.raises(errors.ConnectionFailedError, match="sent data before it was asked") as caught:
            transport.send(request(made))
        assert caught.value.outcome == "not_sent"
    # Nothing was sent, and what the server sent was not read.
    with accepted[0] as connection, suppress(ConnectionResetError):
        assert connection.recv(100) == b""


# Responses with a Content-Encoding.


PLAIN = b'{"reason":"X","message":"no"}'
DEFLATED = zlib.compress(PLAIN)
RAW = zlib.compressobj(wbits=-zlib.MAX_WBITS)
RAW_DEFLATED = RAW.compress(PLAIN) + RAW.flush()
GZIPPED = gzip.compress(PLAIN)


def answer(status: int, body: bytes, coding: str) -> bytes:
    head = f"HTTP/1.1 {status} X\r\nContent-Encoding: {coding}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", GZIPPED),
        ("X-GZIP", GZIPPED),
        ("gzip", gzip.compress(PLAIN[:9]) + gzip.compress(PLAIN[9:])),
        ("deflate", DEFLATED),
        ("deflate", RAW_DEFLATED),
        ("deflate, gzip", gzip.compress(DEFLATED)),
        ("identity", PLAIN),
        ("", PLAIN),
    ],
)
def test_a_response_with_a_known_coding_is_decoded(
    coding: str, body: bytes, carry: Carry, settings: Callable[..., Settings]
) -> None:
    with Server(answer(200, body, coding)) as server, carry(made := settings(server.url)) as transport:
        assert CALL.result(transport.send(request(made))).data == json.loads(PLAIN)


UNDECODABLE = [
    ("gzip", PLAIN),
    ("gzip", GZIPPED[:-6]),
    ("gzip", GZIPPED[:10] + b"\xff" * 20),
    ("deflate", PLAIN),
    ("br", PLAIN),
    ("zstd", PLAIN),
    ("gzip, gzip, gzip", GZIPPED),
    ("gzip\u00e9\u2028"[:5], GZIPPED),
]


@pytest.mark.parametrize(
    ("status", "kind", "outcome"),
    [
        (201, errors.ResponseDecodingError, "accepted"),
        (302, errors.RedirectError, "rejected"),
        (400, errors.BadRequestError, "rejected"),
        (401, errors.AuthenticationError, "rejected"),
        (404, errors.NotFoundError, "rejected"),
        (500, errors.ServerError, "unknown"),
        (503, errors.ServerError, "rejected"),
    ],
)
@pytest.mark.parametrize(("coding", "body"), UNDECODABLE)
def test_the_status_counts_where_a_body_cannot_be_decoded(
    coding: str,
    body: bytes,
    status: int,
    kind: type[errors.ApiException],
    outcome: str,
    carry: Carry,
    settings: Callable[..., Settings],
) -> None:
    response = answer(status, body, "X").replace(b"Encoding: X", b"Encoding: " + coding.encode("latin-1"))
    with Server(response) as server, carry(made := settings(server.url)) as transport:
        for _ in range(2):
            with pytest.raises(kind) as caught:
                CALL.result(transport.send(request(made)))
            assert (caught.value.status, caught.value.outcome, caught.value.body) == (status, outcome, body)
        assert server.connections == [0, 0], "the response was read to its end"


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_body_that_grows_beyond_the_limit_is_not_unpacked(
    coding: str, carry: Carry, settings: Callable[..., Settings]
) -> None:
    large = b"[" + b" " * 5_000_000 + b"]"
    body = gzip.compress(large) if coding == "gzip" else zlib.compress(large)
    with Server(answer(200, body, coding)) as server, carry(made := settings(server.url)) as transport:
        with pytest.raises(errors.ResponseTooLargeError) as caught:
            transport.send(request(made))
        assert caught.value.outcome == "accepted"


# Waiting ends at the deadline.


@pytest.fixture
def stalled(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Names are not resolved until the test is over."""
    over = threading.Event()
    asked: list[str] = []

    def getaddrinfo(host: str, *_: Any, **__: Any) -> Any:
        asked.append(host)
        over.wait(20)
        raise socket.gaierror(socket.EAI_NONAME, "over")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield asked
    over.set()


@pytest.mark.parametrize("limit", ["connect_timeout", "deadline"])
def test_a_name_that_is_not_resolved_in_time(
    limit: str, stalled: list[str], carry: Carry, settings: Callable[..., Settings]
) -> None:
    options: dict[str, Any] = {"connect_timeout": 0.05}
    if limit == "deadline":
        options = {"retry": RetryPolicy(deadline=0.1)}
    started = time.monotonic()
    with carry(made := settings("https://host.example", **options)) as transport:
        with pytest.raises(errors.ConnectionTimeoutError) as caught:
            transport.send(request(made))
        assert time.monotonic() - started < 5
        assert (caught.value.outcome, caught.value.safe_to_retry) == ("not_sent", True)


def test_a_resolver_that_stalls_holds_one_thread_for_a_name(
    stalled: list[str], settings: Callable[..., Settings]
) -> None:
    made = settings("https://host.example", connect_timeout=0.05)
    with Transport(made) as transport, ThreadPoolExecutor(20) as workers:

        def fail() -> str:
            with pytest.raises(errors.ConnectionTimeoutError) as caught:
                transport.send(request(made))
            return caught.value.outcome

        assert {each.result() for each in [workers.submit(fail) for _ in range(60)]} == {"not_sent"}
        assert stalled == ["host.example"]


def test_several_addresses_share_the_time_to_connect(
    monkeypatch: pytest.MonkeyPatch, settings: Callable[..., Settings]
) -> None:
    # A listener whose queue is full does not complete a handshake.
    full = socket.create_server(("127.0.0.1", 0), backlog=0)
    fillers = []
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(full.getsockname())
        fillers.append(filler)
    dead = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", full.getsockname())] * 3
    with Server() as server:
        alive = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [*dead, alive])
        with Transport(made := settings(f"http://localhost:{server.port}", connect_timeout=0.4)) as transport:
            started = time.monotonic()
            assert transport.send(request(made)).status == 200
            assert time.monotonic() - started < 5
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: dead)
        with Transport(made) as transport, pytest.raises(errors.ConnectionTimeoutError):
            transport.send(request(made))
    for each in (full, *fillers):
        each.close()


def test_a_server_that_does_not_read_a_large_request(carry: Carry, settings: Callable[..., Settings]) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made = settings(f"http://127.0.0.1:{listener.getsockname()[1]}", retry=RetryPolicy(deadline=0.2))
    started = time.monotonic()
    with listener, carry(made) as transport:
        with pytest.raises(errors.ResponseTimeoutError) as caught:
            transport.send(request(made, {"x": "y" * 20_000_000}))
        assert time.monotonic() - started < 10
        assert caught.value.outcome == "unknown"


def test_a_server_that_does_not_begin_tls(carry: Carry, settings: Callable[..., Settings]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = settings(f"https://127.0.0.1:{listener.getsockname()[1]}", connect_timeout=0.1)
        started = time.monotonic()
        with carry(made) as transport, pytest.raises(errors.ConnectionTimeoutError):
            transport.send(request(made))
        assert time.monotonic() - started < 5


def test_a_proxy_that_answers_byte_by_byte(carry: Carry, settings: Callable[..., Settings]) -> None:
    over = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        connection, _ = listener.accept()
        connection.recv(65536)
        try:
            connection.sendall(b"HTTP/1.1 200 Connection established\r\nX: ")
            while not over.wait(0.02):
                connection.sendall(b"x")
        except OSError:
            pass
        connection.close()

    thread = threading.Thread(target=drip)
    thread.start()
    made = settings("https://host.example", proxy=f"http://127.0.0.1:{listener.getsockname()[1]}", connect_timeout=0.15)
    started = time.monotonic()
    with listener, carry(made) as transport, pytest.raises(errors.ConnectionTimeoutError) as caught:
        transport.send(request(made))
    over.set()
    thread.join()
    assert time.monotonic() - started < 5
    assert caught.value.outcome == "not_sent"


class Stalled(Signer):
    """A signer that waits for a device."""

    blocks = True

    def __init__(self) -> None:
        self.over = threading.Event()
        self.asked = 0

    def sign(self, request: Request, now: float) -> dict[str, str]:
        self.asked += 1
        self.over.wait(20)
        return super().sign(request, now)


def test_a_signer_that_does_not_return(carry: Carry, settings: Callable[..., Settings]) -> None:
    signer = Stalled()
    with Server() as server:
        made = settings(server.url, auth=signer, retry=RetryPolicy(deadline=0.1))
        started = time.monotonic()
        with carry(made) as transport:
            with pytest.raises(errors.ConnectionTimeoutError, match="signer did not return") as caught:
                transport.send(request(made))
            assert time.monotonic() - started < 5
            assert (caught.value.outcome, signer.asked) == ("not_sent", 1)
            assert server.connections == []
            signer.over.set()
            assert transport.send(request(made)).status == 200


@pytest.mark.parametrize("error", [errors.ConfigurationError("bad"), TimeoutError("its own"), KeyError("x")])
def test_what_a_signer_in_a_thread_raises_is_raised(
    error: Exception, carry: Carry, settings: Callable[..., Settings]
) -> None:
    class Failing(Signer):
        blocks = True

        def sign(self, request: Request, now: float) -> dict[str, str]:
            raise error

    with Server() as server, carry(made := settings(server.url, auth=Failing())) as transport:
        with pytest.raises(type(error)) as caught:
            transport.send(request(made))
        assert caught.value.args == error.args


def test_signers_that_never_return_do_not_pile_up(
    carry: Carry, settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    from cybersource_flex import _threads
    from cybersource_flex._lock import Slots

    monkeypatch.setattr(_threads, "MAX_RUNNING", 2)
    monkeypatch.setattr(_threads, "_running", Slots(2))
    signer = Stalled()
    made = settings("http://127.0.0.1:9", auth=signer, retry=RetryPolicy(attempts=1, deadline=0.05))
    with carry(made) as transport:
        for _ in range(2):
            with pytest.raises(errors.ConnectionTimeoutError):
                transport.send(request(made))
        with pytest.raises(errors.ConnectionFailedError, match="2 earlier calls have not returned") as caught:
            transport.send(request(made))
        assert (caught.value.outcome, signer.asked) == ("not_sent", 2)
        signer.over.set()


def test_a_signature_is_made_after_the_wait_for_a_connection(carry: Carry, settings: Callable[..., Settings]) -> None:
    go = threading.Event()
    times: list[float] = []

    class Timed(Signer):
        def sign(self, request: Request, now: float) -> dict[str, str]:
            times.append(time.monotonic())
            return super().sign(request, now)

    def respond(connection: socket.socket) -> None:
        go.wait(20)
        connection.sendall(OK)

    with Server(respond) as server, carry(made := settings(server.url, auth=Timed(), pool_size=1)) as transport:
        with ThreadPoolExecutor(2) as workers:
            calls = [workers.submit(transport.send, request(made)) for _ in range(2)]
            while not server.connections:
                pass
            released = time.monotonic()
            go.set()
            assert [call.result().status for call in calls] == [200, 200]
        assert len(times) == 2
        assert times[1] > released


# No file descriptor left.


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE])
@pytest.mark.parametrize("host", ["http://127.0.0.1:{port}", "http://localhost:{port}"])
def test_without_a_file_descriptor(
    code: int, host: str, carry: Carry, settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    make = socket.socket.__init__
    empty = threading.Event()

    def exhausted(self: socket.socket, *args: Any, **options: Any) -> None:
        if empty.is_set() and options.get("fileno") is None and len(args) < 4:
            raise OSError(code, "Too many open files")
        make(self, *args, **options)

    monkeypatch.setattr(socket.socket, "__init__", exhausted)
    with Server() as server, carry(made := settings(host.format(port=server.port))) as transport:
        empty.set()
        with pytest.raises(errors.ConnectionFailedError, match="no file descriptor left") as caught:
            transport.send(request(made))
        assert (caught.value.outcome, caught.value.safe_to_retry) == ("not_sent", True)
        empty.clear()
        assert transport.send(request(made)).status == 200


def test_a_name_lookup_that_fails_for_want_of_a_descriptor(
    carry: Carry, settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    def getaddrinfo(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    make = socket.socket.__init__

    def exhausted(self: socket.socket, *args: Any, **options: Any) -> None:
        if not args and not options:
            raise OSError(errno.EMFILE, "Too many open files")
        make(self, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(socket.socket, "__init__", exhausted)
    with (
        carry(made := settings("https://host.example")) as transport,
        pytest.raises(errors.ConnectionFailedError, match="no file descriptor left"),
    ):
        transport.send(request(made))


# Interim responses.


@pytest.mark.parametrize(
    "interim",
    [
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\n\r\n" * 3,
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 \r\nX: y\r\n\r\n",
        b"HTTP/1.1 199 ?\r\n\r\n" * 30,
    ],
)
def test_interim_responses_are_skipped(interim: bytes, carry: Carry, settings: Callable[..., Settings]) -> None:
    with Server(interim + OK) as server, carry(made := settings(server.url)) as transport:
        for _ in range(3):
            assert transport.send(request(made)).status == 200
        assert server.connections == [0, 0, 0]


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 103 Early Hints\r\n\r\n" * 50 + OK,
        b"HTTP/1.1 103 Early Hints\r\nX: " + b"x" * 7000 + b"\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n" + OK,
        b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\nhello" + OK,
    ],
)
def test_a_status_below_200_is_never_the_result(
    response: bytes, carry: Carry, settings: Callable[..., Settings]
) -> None:
    repeated = response * 20 if b"x" * 7000 in response else response
    with Server(repeated) as server, carry(made := settings(server.url)) as transport:
        with pytest.raises(errors.ConnectionBrokenError) as caught:
            transport.send(request(made))
        assert (caught.value.outcome, caught.value.safe_to_retry) == ("unknown", False)
        assert server.connections == [0]


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 2\r\nContent-Length: 3\r\n",
        b"Content-Length: 2, 3\r\n",
        b"Content-Length: +2\r\n",
        b"Content-Length: 0x2\r\n",
        b"Content-Length: -2\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"no colon\r\nContent-Length: 2\r\n",
    ],
)
def test_a_response_of_ambiguous_length_is_refused(
    head: bytes, carry: Carry, settings: Callable[..., Settings]
) -> None:
    closing = threading.Event()

    def respond(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n{}")
        connection.shutdown(socket.SHUT_WR)
        closing.set()

    with Server(respond) as server, carry(made := settings(server.url)) as transport:
        with pytest.raises(errors.ConnectionBrokenError) as caught:
            transport.send(request(made))
        assert caught.value.outcome == "unknown"


def test_tls_data_that_is_waiting_ends_a_connection() -> None:
    # What OpenSSL has decrypted already is seen by no system call.
    from cybersource_flex.transport.connections import _pending

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


def test_a_token_function_that_raises_stop_iteration(carry: Carry, settings: Callable[..., Settings]) -> None:
    auth = BearerToken(lambda: next(iter(())))
    with Server() as server:
        made = settings(server.url, auth=auth, retry=RetryPolicy(attempts=1, deadline=None))
        with carry(made) as transport, pytest.raises(RuntimeError, match="StopIteration"):
            transport.send(request(made))
        assert server.connections == []


def test_closing_while_a_signer_is_at_work(settings: Callable[..., Settings]) -> None:
    signer = Stalled()

    async def main(made: Settings) -> None:
        transport = AsyncTransport(made)
        call = asyncio.create_task(transport.send(request(made)))
        while not signer.asked:
            await asyncio.sleep(0)
        await transport.close()
        signer.over.set()
        with pytest.raises(errors.ConnectionFailedError, match="client was closed") as caught:
            await call
        assert caught.value.outcome == "not_sent"

    with Server() as server:
        asyncio.run(main(settings(server.url, auth=signer)))
        assert server.connections == []


def test_a_program_does_not_wait_for_a_stalled_resolver_at_its_end(
    stalled: list[str], settings: Callable[..., Settings]
) -> None:
    async def main(made: Settings) -> None:
        async with AsyncTransport(made) as transport:
            with pytest.raises(errors.ConnectionTimeoutError):
                await transport.send(request(made))

    started = time.monotonic()
    asyncio.run(main(settings("https://host.example", connect_timeout=0.05)))
    assert time.monotonic() - started < 5
    assert stalled == ["host.example"]


def test_a_name_is_resolved_for_a_call(carry: Carry, settings: Callable[..., Settings]) -> None:
    with Server() as server, carry(made := settings(f"http://localhost:{server.port}")) as transport:
        assert transport.send(request(made)).status == 200


# What a signer returns is checked before it is sent.


@pytest.mark.parametrize(
    "value", ["Bearer C4N4RY\n", "C4N4RY\r\nX: y", "C4N4RY\x00", "C4N4RY\u2028", b"C4N4RY", None, 4]
)
def test_a_signer_that_returns_what_cannot_be_sent(value: Any, carry: Carry, settings: Callable[..., Settings]) -> None:
    class Odd(Signer):
        def sign(self, request: Request, now: float) -> dict[str, str]:
            return {"Authorization": value}

    with Server() as server, carry(made := settings(server.url, auth=Odd())) as transport:
        with pytest.raises(errors.ConfigurationError, match=r"Authorization.*cannot be sent") as caught:
            transport.send(request(made))
        assert "C4N4RY" not in f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"
        assert server.connections == []


@pytest.mark.parametrize("name", ["", "X Y", "X\n", "X:", "\u00e4", None])
def test_a_signer_that_returns_a_name_that_is_none(name: Any, carry: Carry, settings: Callable[..., Settings]) -> None:
    class Odd(Signer):
        def sign(self, request: Request, now: float) -> dict[str, str]:
            return {name: "C4N4RY"}

    with carry(made := settings("http://127.0.0.1:9", auth=Odd())) as transport:
        with pytest.raises(errors.ConfigurationError, match="not a token") as caught:
            transport.send(request(made))
        assert "C4N4RY" not in str(caught.value)


def test_an_error_of_urllib3_in_a_signer_is_the_signers(carry: Carry, settings: Callable[..., Settings]) -> None:
    class Failing(Signer):
        def sign(self, request: Request, now: float) -> dict[str, str]:
            raise urllib3.exceptions.ProtocolError("the key service")

    with (
        carry(made := settings("http://127.0.0.1:9", auth=Failing())) as transport,
        pytest.raises(urllib3.exceptions.ProtocolError, match="the key service"),
    ):
        transport.send(request(made))


# Framing.


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"Transfer-Encoding: chunked \r\n", b"2\r\n{}\r\n0\r\n\r\n"),
        (b"Transfer-Encoding:\r\n chunked\r\n", b"2\r\n{}\r\n0\r\n\r\n"),
        (b"Transfer-Encoding: Chunked\r\n", b"2\r\n{}\r\n0\r\n\r\n"),
        (b"Content-Length: 2, 2\r\n", b"{}"),
        (b"Content-Length: 2\r\nContent-Length: 2\r\n", b"{}"),
    ],
)
def test_unusual_framing_is_read_or_refused_at_once(
    head: bytes, body: bytes, carry: Carry, settings: Callable[..., Settings]
) -> None:
    response = b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + body
    with Server(response) as server, carry(made := settings(server.url)) as transport:
        for _ in range(2):
            started = time.monotonic()
            try:
                assert transport.send(request(made)).body == b"{}"
            except errors.ConnectionBrokenError:
                # aiohttp refuses some of them.
                assert not isinstance(transport, Transport)
            assert time.monotonic() - started < 5


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
@pytest.mark.parametrize("head", [b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n", b""])
def test_a_response_that_has_no_body_is_complete_after_its_head(
    status: bytes, head: bytes, carry: Carry, settings: Callable[..., Settings]
) -> None:
    response = b"HTTP/1.1 " + status + b"\r\n" + head + b"\r\n"
    with Server(response) as server, carry(made := settings(server.url)) as transport:
        started = time.monotonic()
        for _ in range(2):
            received = transport.send(request(made))
            assert (received.status, received.body) == (int(status[:3]), b"")
        assert time.monotonic() - started < 5


def test_many_empty_gzip_members_are_not_unpacked(carry: Carry, settings: Callable[..., Settings]) -> None:
    body = gzip.compress(b"") * 20_000
    with Server(answer(400, body, "gzip")) as server, carry(made := settings(server.url)) as transport:
        with pytest.raises(errors.BadRequestError) as caught:
            CALL.result(transport.send(request(made)))
        assert caught.value.body == body


# Addresses that cannot be used.


def test_an_address_of_a_family_that_the_system_does_not_know_is_passed_over(
    settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    make = socket.socket.__init__

    def without_ipv6(self: socket.socket, *args: Any, **options: Any) -> None:
        if args and args[0] == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        make(self, *args, **options)

    with Server() as server:
        addresses = [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", server.port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port)),
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
        monkeypatch.setattr(socket.socket, "__init__", without_ipv6)
        with Transport(made := settings(f"http://localhost:{server.port}")) as transport:
            assert transport.send(request(made)).status == 200


@pytest.mark.parametrize("host", ["https://a..example", "https://.example", f"https://{'a' * 64}.example"])
def test_a_host_name_that_cannot_be_resolved_is_refused_at_once(host: str) -> None:
    with pytest.raises(errors.ConfigurationError, match="label"):
        Settings(host=host)
    with pytest.raises(errors.ConfigurationError, match="label"):
        Settings(host="https://host.example", proxy=host.replace("https", "http"))


def test_a_lookup_that_was_left_behind_is_not_used_again(
    settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server() as server:
        left: Future[Any] = Future()
        left.set_exception(socket.gaierror(socket.EAI_AGAIN, "Temporary failure"))
        monkeypatch.setitem(resolver._lookups, (os.getpid(), "localhost", server.port), left)
        with Transport(made := settings(f"http://localhost:{server.port}")) as transport:
            assert transport.send(request(made)).status == 200


# Connections through a proxy.


class Tunnels:
    """A proxy in the clear or over TLS: responds to CONNECT, then runs ``host`` on the connection."""

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
            connection.settimeout(20)
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            with connection:
                connection.recv(65536)
                threading.Event().wait(self._seconds)
                connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                self._host(connection)

    def __enter__(self) -> Tunnels:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self._thread.join(20)


def test_the_time_to_connect_covers_the_proxy_and_the_host_together(
    settings: Callable[..., Settings],
) -> None:
    def stalled_handshake(connection: socket.socket) -> None:
        # Until the client goes away.
        while connection.recv(65536):
            pass

    with Tunnels(stalled_handshake, seconds=0.8) as proxy:
        made = settings("https://host.example", proxy=f"http://127.0.0.1:{proxy.port}", connect_timeout=1.0)
        started = time.monotonic()
        with Transport(made) as transport, pytest.raises(errors.ConnectionTimeoutError):
            transport.send(request(made))
        assert time.monotonic() - started < 1.7, "not the time to connect for each of the two"


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Tls]:
    """A server's TLS context for any of the test's hosts, and the settings that trust it."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "host.example").configure_cert(context)
    file = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(file)
    return context, Tls(ca_file=file)


class Inner:
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
        """Encrypt into ``outgoing``, as a record of its own."""
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


def test_tls_through_a_tls_proxy_returns_no_second_response(
    certified: tuple[ssl.SSLContext, Tls], settings: Callable[..., Settings]
) -> None:
    context, tls = certified

    def host(outer: socket.socket) -> None:
        inner = Inner(outer, context)
        inner.read()
        inner.write(OK)
        # A record of its own, in the same piece.
        inner.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]")
        inner.flush()
        # The client gives this connection up.
        inner.read()

    with Tunnels(host, context) as proxy:
        made = settings("https://host.example", proxy=f"https://127.0.0.1:{proxy.port}", tls=tls, connect_timeout=5.0)
        with Transport(made) as transport:
            assert transport.send(request(made)).body == b"{}"
            with pytest.raises(errors.TransportError) as caught:
                transport.send(request(made))
            assert caught.value.outcome == "not_sent", "the proxy takes one connection"


@pytest.mark.parametrize("stage", ["handshake", "response", "body"])
def test_tls_through_a_tls_proxy_ends_in_time(
    stage: str, certified: tuple[ssl.SSLContext, Tls], settings: Callable[..., Settings]
) -> None:
    context, tls = certified

    def drip(outer: socket.socket, data: bytes) -> None:
        for index in range(len(data)):
            outer.sendall(data[index : index + 1])
            threading.Event().wait(0.02)

    def host(outer: socket.socket) -> None:
        if stage == "handshake":
            # The header of a record, and then its content without an end.
            drip(outer, b"\x16\x03\x03\x40\x00" + bytes(1000))
            return
        inner = Inner(outer, context)
        inner.read()
        if stage == "body":
            inner.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            inner.flush()
        inner.write(OK + b" " * 1000)
        drip(outer, inner.outgoing.read())

    with Tunnels(host, context) as proxy:
        made = settings(
            "https://host.example",
            proxy=f"https://127.0.0.1:{proxy.port}",
            tls=tls,
            connect_timeout=0.5,
            retry=RetryPolicy(attempts=1, deadline=0.5),
        )
        started = time.monotonic()
        with Transport(made) as transport, pytest.raises(errors.TransportError):
            transport.send(request(made))
        assert time.monotonic() - started < 3
