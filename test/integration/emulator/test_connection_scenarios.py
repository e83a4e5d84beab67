"""The emulator's scenarios that affect connections, timing and the framing of responses, over http and https."""

from __future__ import annotations

import http.client
import json
import os
import queue
import socket
import ssl
import time
import zlib
from collections.abc import Iterator

import pytest

from cybersource_flex.emulator import Emulator
from support.emulator_client import (
    KEYS,
    NOW,
    SESSIONS,
    TIMEOUT,
    VALID_BODY,
    http_connection,
    jwt_headers,
    open_socket,
    send,
)
from support.scenario_client import (
    SCENARIO_HEADER,
    ResponseReader,
    create_session,
    get_key,
    get_request,
    read_until_closed,
    reset_around,
    scenario_headers,
)


@pytest.fixture(scope="module")
def shared_http_emulator() -> Iterator[Emulator]:
    with Emulator(clock=lambda: NOW) as running:
        yield running


@pytest.fixture(scope="module")
def shared_https_emulator() -> Iterator[Emulator]:
    with Emulator(clock=lambda: NOW, tls=True, key_pool=1) as running:
        yield running


@pytest.fixture
def http_emulator(shared_http_emulator: Emulator) -> Iterator[Emulator]:
    yield from reset_around(shared_http_emulator)


@pytest.fixture(params=["http", "https"])
def emulator(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    yield from reset_around(request.getfixturevalue(f"shared_{request.param}_emulator"))


@pytest.mark.parametrize("name", ["reset-before", "reset-after-request"])
def test_a_reset_without_a_response(emulator: Emulator, name: str) -> None:
    emulator.queue_scenarios([name])
    # The client gets a broken pipe, or the same error of TLS, if it is still sending.
    with pytest.raises((ConnectionError, ssl.SSLEOFError)):
        create_session(emulator)
    record = emulator.requests[-1]
    assert (record.scenario, record.method, record.target) == (name, "POST", SESSIONS)
    assert "authorization" in record.headers
    is_executed = name == "reset-after-request"
    assert (record.status, record.succeeded, record.body) == (
        (201, True, VALID_BODY) if is_executed else (None, False, b"")
    )


def test_a_reset_does_not_wait_for_the_body(emulator: Emulator) -> None:
    with open_socket(emulator) as client:
        client.sendall(
            b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n"
            + SCENARIO_HEADER.encode()
            + b": reset-before\r\n\r\n"
        )
        read_until_reset(client)


def read_until_reset(client: socket.socket) -> bytes:
    """Read until RST. Reads from a plain socket, because Python's TLS sockets do not report the RST."""
    received: list[bytes] = []
    with socket.socket(fileno=os.dup(client.fileno())) as reader:
        reader.settimeout(TIMEOUT)

        def read() -> None:
            while data := reader.recv(65536):
                received.append(data)

        with pytest.raises(ConnectionResetError):
            read()
    return b"".join(received)


def test_a_reset_during_the_response(emulator: Emulator) -> None:
    kid = emulator.rotate_key()
    length = len(get_key(emulator, kid).body)
    with open_socket(emulator) as client:
        client.sendall(get_request(KEYS + kid, "reset-during"))
        received = read_until_reset(client)
    assert len(received) > length // 2
    if emulator.url.startswith("http:"):
        head, _, body = received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK")
        assert f"content-length: {length}".encode() in head
        assert len(body) == length // 2
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        get_key(emulator, kid, "reset-during")


def test_a_connection_closed_after_the_response(emulator: Emulator) -> None:
    kid = emulator.rotate_key()
    with open_socket(emulator) as client:
        client.sendall(get_request(KEYS + kid, "close-after"))
        received = read_until_closed(client)
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"connection:" not in head.lower()
    assert json.loads(body)["kid"] == kid


def test_a_truncated_response(emulator: Emulator) -> None:
    emulator.queue_scenarios(["truncated"])
    with pytest.raises(http.client.IncompleteRead) as caught:
        create_session(emulator)
    assert abs(len(caught.value.partial) - (caught.value.expected or 0)) <= 1


def test_a_content_length_that_is_too_large(emulator: Emulator) -> None:
    kid = emulator.rotate_key()
    normal = get_key(emulator, kid)
    with open_socket(emulator) as client:
        client.sendall(get_request(KEYS + kid, "wrong-length;difference=5"))
        received = b""
        while not received.endswith(b"}"):
            received += client.recv(65536)
        assert f"content-length: {len(normal.body) + 5}\r\n".encode() in received
        # The connection stays open and silent.
        client.settimeout(0.05)
        with pytest.raises(TimeoutError):
            client.recv(1)


def test_a_content_length_that_is_too_small(emulator: Emulator) -> None:
    kid = emulator.rotate_key()
    normal = get_key(emulator, kid)
    with open_socket(emulator) as client:
        client.sendall(get_request(KEYS + kid, "wrong-length;difference=-5"))
        received = b""
        while not received.endswith(normal.body):
            received += client.recv(65536)
        assert f"content-length: {len(normal.body) - 5}\r\n".encode() in received
        # The surplus bytes were sent before the next response.
        client.sendall(get_request(KEYS + kid, "ok"))
        assert client.recv(65536).startswith(b"HTTP/1.1 200 OK")
    assert get_key(emulator, kid, "wrong-length;difference=-5").body == normal.body[:-5]
    assert get_key(emulator, kid, "wrong-length;difference=-1000000").body == b""


@pytest.mark.parametrize("kind", ["size", "end"])
def test_broken_chunks(emulator: Emulator, kind: str) -> None:
    kid = emulator.rotate_key()
    with pytest.raises(http.client.IncompleteRead):
        get_key(emulator, kid, f"chunked-broken;kind={kind}")


def test_latency(http_emulator: Emulator, log_lines: queue.Queue[str]) -> None:
    started = time.monotonic()
    assert create_session(http_emulator, "latency;seconds=0.03").status == 201
    assert time.monotonic() - started >= 0.03
    log_lines.get(timeout=TIMEOUT)
    # The request is executed at once, even if the client disconnects.
    client = http_connection(http_emulator)
    headers = jwt_headers(http_emulator, "POST", SESSIONS, VALID_BODY)
    client.request("POST", SESSIONS, VALID_BODY, {**headers, SCENARIO_HEADER: "latency;seconds=3600"})
    log_lines.get(timeout=TIMEOUT)
    client.close()
    assert (http_emulator.requests[-1].status, http_emulator.requests[-1].succeeded) == (201, True)


@pytest.mark.parametrize("part", ["head", "body"])
def test_slow_drip(emulator: Emulator, part: str) -> None:
    kid = emulator.rotate_key()
    normal = get_key(emulator, kid)
    with open_socket(emulator) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.sendall(get_request(KEYS + kid, f"slow-drip;part={part};interval=0.0001"))
        pieces: list[bytes] = []
        while not b"".join(pieces).endswith(normal.body):
            pieces.append(client.recv(65536))
    # One half of the response arrives in small pieces.
    assert len(pieces) > 20
    assert get_key(emulator, kid, f"slow-drip;part={part};interval=0").json == normal.json


@pytest.mark.parametrize("kind", ["many", "huge"])
def test_endless_headers(emulator: Emulator, kind: str) -> None:
    kid = emulator.rotate_key()
    with pytest.raises(http.client.HTTPException, match="100 headers" if kind == "many" else "65536"):
        get_key(emulator, kid, f"endless-headers;kind={kind}")
    with open_socket(emulator) as client:
        client.sendall(get_request(KEYS + kid, f"endless-headers;kind={kind};size=200000"))
        head, _, body = read_until_closed(client).partition(b"\r\n\r\n")
    assert len(head) > 200_000
    assert head.count(b"\r\n") > 190 if kind == "many" else head.count(b"\r\n") < 10
    assert json.loads(body)["kid"] == kid


def test_endless_bodies(emulator: Emulator) -> None:
    kid = emulator.rotate_key()
    assert get_key(emulator, kid, "big-body;size=300001").body == b"x" * 300_001
    response = get_key(emulator, kid, "endless-body;size=100001")
    assert (response.body, response.headers["transfer-encoding"]) == (b"x" * 100_001, "chunked")
    # The client closes the connection before the end.
    for scenario in ("endless-body", "big-body;size=1GiB"):
        client = http_connection(emulator)
        client.request("GET", KEYS + kid, headers=scenario_headers(scenario))
        assert len(client.getresponse().read(1_000_000)) == 1_000_000
        client.close()


def test_gzip_bomb(http_emulator: Emulator) -> None:
    kid = http_emulator.rotate_key()
    response = get_key(http_emulator, kid, "gzip-bomb;size=64MiB")
    assert response.headers["content-encoding"] == "gzip"
    assert len(response.body) < 200_000
    assert len(zlib.decompress(response.body, 31)) == 64 << 20
    odd_size = get_key(http_emulator, kid, "gzip-bomb;size=1048579")
    assert zlib.decompress(odd_size.body, 31) == b" " * 1_048_579


def test_interim_responses_precede_the_final_response(emulator: Emulator) -> None:
    kid = emulator.rotate_key()
    normal = get_key(emulator, kid).body
    with ResponseReader(emulator) as reader:
        reader.socket.sendall(get_request(KEYS + kid, "interim;status=100,103;count=3;seconds=0.05;size=2500"))
        for status in (100, 103, 100):
            received_status, headers = reader.head()
            assert received_status == status
            assert sum(len(value) for value in headers.values()) == 2500
            assert max(len(value) for value in headers.values()) == 1000
        assert reader.receives_nothing(0.01), "the final response is sent later"
        assert reader.response() == (200, normal)
        # The connection stays usable.
        reader.socket.sendall(get_request(KEYS + kid, "interim;seconds=0"))
        assert (reader.head()[0], reader.response()) == (103, (200, normal))
        reader.socket.sendall(get_request(KEYS + kid, "ok"))
        assert reader.response() == (200, normal)
        assert reader.receives_nothing()


@pytest.mark.parametrize("final", [204, 304])
def test_interim_responses_before_a_response_without_a_body(emulator: Emulator, final: int) -> None:
    kid = emulator.rotate_key()
    with ResponseReader(emulator) as reader:
        reader.socket.sendall(get_request(KEYS + kid, f"interim;status=102;seconds=0;final={final}"))
        assert reader.head()[0] == 102
        status, headers = reader.head()
        assert status == final
        assert not {"content-length", "transfer-encoding", "content-type"} & set(headers)
        reader.socket.sendall(get_request(KEYS + kid, "ok"))
        assert reader.response()[0] == 200


@pytest.mark.parametrize("size", ["0", "1MiB"])
def test_endless_interim_responses_stop_when_the_client_disconnects(
    size: str, http_emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    kid = http_emulator.rotate_key()
    with ResponseReader(http_emulator) as reader:
        reader.socket.sendall(get_request(KEYS + kid, f"interim;count=100000;size={size}"))
        assert reader.head()[0] == 103
    assert get_key(http_emulator, kid).status == 200
    # asyncio logs a warning for each write after the connection was lost.
    assert "socket.send() raised exception" not in caplog.text


def test_a_second_response_in_the_same_segment(emulator: Emulator) -> None:
    kid = emulator.rotate_key()
    normal = get_key(emulator, kid).body
    with ResponseReader(emulator) as reader:
        reader.socket.sendall(get_request(KEYS + kid, "second-response"))
        status, body = reader.response()
        assert (status, body) == (200, normal)
        # Received together with the first response.
        assert reader.buffer.startswith(b"HTTP/1.1 200 OK\r\n")
        status, body = reader.response()
        assert (status, json.loads(body)) == (200, {"emulatorText": "a second response that no request asked for"})
        reader.socket.sendall(get_request(KEYS + kid, "ok"))
        assert reader.response() == (200, normal)
    # With `Connection: close`, the connection is closed after both responses.
    request = get_request(KEYS + kid, "second-response").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    with open_socket(emulator) as client:
        client.sendall(request)
        assert read_until_closed(client).count(b"HTTP/1.1 200 OK") == 2


def test_a_delayed_second_response_is_not_sent_after_another_request(emulator: Emulator) -> None:
    kid = emulator.rotate_key()
    normal = get_key(emulator, kid).body
    with ResponseReader(emulator) as reader:
        reader.socket.sendall(get_request(KEYS + kid, "second-response;seconds=0.05"))
        assert reader.response() == (200, normal)
        assert reader.receives_nothing(0.01)
        assert json.loads(reader.response()[1]).keys() == {"emulatorText"}
        reader.socket.sendall(get_request(KEYS + kid, "second-response;seconds=0.05"))
        assert reader.response() == (200, normal)
        reader.socket.sendall(get_request(KEYS + kid, "ok"))
        assert reader.response() == (200, normal)
        assert reader.receives_nothing(0.1)


@pytest.mark.parametrize("status", [400, 413, 503])
def test_an_early_response(emulator: Emulator, status: int) -> None:
    head = f"POST {SESSIONS} HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n"
    head += f"{SCENARIO_HEADER}: early-response;status={status}"
    with ResponseReader(emulator) as reader:
        reader.socket.sendall(f"{head}\r\n\r\n".encode())
        received_status, body = reader.response()
        assert (received_status, json.loads(body)["reason"]) == (
            status,
            {400: "INVALID_DATA", 413: "REQUEST_TOO_LARGE", 503: "SERVICE_UNAVAILABLE"}[status],
        )
        # The emulator reads the rest of the request, and then the next request.
        reader.socket.sendall(b"x" * 300_000 + get_request(KEYS + emulator.rotate_key(), "ok"))
        assert reader.response()[0] == 200
    with open_socket(emulator) as client:
        client.sendall(f"{head};then=close\r\n\r\n".encode())
        received = read_until_closed(client)
        assert f"HTTP/1.1 {status} ".encode() in received
        assert b"\r\nconnection: close\r\n" in received
    record = emulator.requests[0]
    assert (record.status, record.succeeded, record.body) == (status, False, b"")


@pytest.mark.parametrize("status", [204, 304])
def test_a_body_that_the_status_does_not_allow(emulator: Emulator, status: int) -> None:
    kid = emulator.rotate_key()
    normal = get_key(emulator, kid).body
    with ResponseReader(emulator) as reader:
        reader.socket.sendall(get_request(KEYS + kid, f"body-not-allowed;status={status}"))
        received_status, headers = reader.head()
        assert (received_status, headers["content-length"]) == (status, str(len(normal)))
        assert reader.buffer == normal, "head and body arrive together"
        reader.body(len(normal))
        reader.socket.sendall(get_request(KEYS + kid, "ok"))
        assert reader.response() == (200, normal)


@pytest.mark.parametrize("status", [102, 103])
def test_an_interim_response_with_a_body(emulator: Emulator, status: int) -> None:
    kid = emulator.rotate_key()
    normal = get_key(emulator, kid).body
    with ResponseReader(emulator) as reader:
        reader.socket.sendall(get_request(KEYS + kid, f"body-not-allowed;status={status}"))
        assert reader.response() == (status, normal)
        assert reader.response() == (200, normal)


def test_a_connection_that_is_ignored_when_idle(emulator: Emulator) -> None:
    kid = emulator.rotate_key()
    with ResponseReader(emulator) as reader:
        reader.socket.sendall(get_request(KEYS + kid, "forget-idle;seconds=3600"))
        assert reader.response()[0] == 200
        reader.socket.sendall(get_request(KEYS + kid, "forget-idle;seconds=0.1"))
        assert reader.response()[0] == 200
        assert reader.receives_nothing(0.15)
        for _ in range(2):
            # There is no response, and the connection is neither closed nor reset.
            reader.socket.sendall(get_request(KEYS + kid, "ok"))
            assert reader.receives_nothing(0.05)
    assert get_key(emulator, kid).status == 200
    assert [record.scenario for record in emulator.requests] == [
        "forget-idle;seconds=3600",
        "forget-idle;seconds=0.1",
        None,
    ]


def test_idle_time_starts_at_the_last_response(http_emulator: Emulator) -> None:
    kid = http_emulator.rotate_key()
    with ResponseReader(http_emulator) as reader:
        reader.socket.sendall(get_request(KEYS + kid, "forget-idle;seconds=1"))
        assert reader.response()[0] == 200
        started = time.monotonic()
        while time.monotonic() - started < 1.2:
            # The connection is never idle for a second.
            reader.socket.sendall(get_request(KEYS + kid, "latency;seconds=0.2"))
            assert reader.response()[0] == 200


@pytest.mark.parametrize("tls", [False, True])
def test_stop_does_not_wait_for_any_scenario(tls: bool, log_lines: queue.Queue[str]) -> None:
    scenarios = [
        "latency;seconds=3600",
        "slow-drip;interval=3600",
        "slow-drip;interval=3600;part=head",
        "wrong-length;difference=9",
        "big-body;size=1GiB",
        "endless-body",
        "endless-headers;size=1GiB",
        "endless-headers;size=1GiB;kind=huge",
        "truncated",
        "close-after",
        "interim;seconds=3600",
        "interim;count=100000;size=1MiB",
        "second-response;seconds=3600",
        "forget-idle;seconds=0",
    ]
    emulator = Emulator(key_pool=1, tls=tls).start()
    connections: list[socket.socket] = []
    try:
        path = KEYS + emulator.rotate_key()
        for scenario in scenarios:
            connections.append(open_socket(emulator))
            connections[-1].sendall(get_request(path, scenario))
            log_lines.get(timeout=TIMEOUT)
        started = time.monotonic()
        emulator.stop()
        assert time.monotonic() - started < 2
        emulator.start()
        assert send(emulator, "GET", path, {}).status == 200
    finally:
        emulator.stop()
        for connection in connections:
            connection.close()
