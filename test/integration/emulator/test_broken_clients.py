"""Clients that break off, send malformed HTTP or nothing: the emulator stays quiet, responds if it can, and stops."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import ssl
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from cybersource_flex.emulator import Emulator
from cybersource_flex.emulator.server import connections

HEAD = b"POST /flex/v2/tokens HTTP/1.1\r\nHost: localhost\r\n"
HALF_BODY = HEAD + b"Content-Length: 100\r\n\r\nabc"
UPGRADE = b"GET /flex HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n"
SCENARIO = b"GET /flex HTTP/1.1\r\nHost: localhost\r\nv-c-emulator-scenario: %s\r\n\r\n"

# What each sends, and what it does then.
BROKEN = {
    "nothing": (b"", "stay"),
    "half a request line": (b"POST /flex/v2/tok", "stay"),
    "half a head": (HEAD, "stay"),
    "half a body": (HALF_BODY, "stay"),
    "half a body, then a reset": (HALF_BODY, "reset"),
    "half a body, then the end": (HALF_BODY, "close"),
    "half a body, then only the end of sending": (HALF_BODY, "shutdown"),
    "a body that is announced only": (HEAD + b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n", "reset"),
    "a request, then a reset": (HEAD + b"Content-Length: 3\r\n\r\nabc", "reset"),
    "many requests, then a reset": (b"GET /flex HTTP/1.1\r\nHost: localhost\r\n\r\n" * 200, "reset"),
    "a request for a large response that is not read": (SCENARIO % b"big-body;size=64MiB", "stay"),
    "a request, and a reset during the response": (SCENARIO % b"big-body;size=64MiB", "reset"),
    "binary data": (b"\x16\x03\x01\x02\x00\x01\xff" + bytes(100), "stay"),
    "an invalid chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", "stay"),
    "an invalid chunk after the response": (
        HEAD + b"v-c-emulator-scenario: early-response\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nzz\r\n",
        "stay",
    ),
    "garbage after a request": (b"GET /flex HTTP/1.1\r\nHost: localhost\r\n\r\n\x00\r\n\r\n", "stay"),
    "a websocket": (UPGRADE % b"websocket", "stay"),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "stay"),
}


def connect(emulator: Emulator, *, tls: bool | None = None) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", int(emulator.url.rpartition(":")[2])))
    connection.settimeout(20)
    if emulator.url.startswith("https:") if tls is None else tls:
        context = ssl.create_default_context(cadata=emulator.ca_pem.decode("ascii"))
        return context.wrap_socket(connection, server_hostname="127.0.0.1")
    return connection


def send(connection: socket.socket, data: bytes, then: str) -> None:
    connection.sendall(data)
    if then == "reset":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if then == "shutdown":
        connection.shutdown(socket.SHUT_WR)
    elif then != "stay":
        connection.close()


def read_response(connection: socket.socket) -> tuple[int, dict[str, str], Any]:
    """Status, headers and JSON body of a response after which the connection ends."""
    data = b""
    while block := connection.recv(65536):
        data += block
    head, _, body = data.partition(b"\r\n\r\n")
    line, *lines = head.decode("ascii").split("\r\n")
    headers = dict(each.lower().split(": ", 1) for each in lines)
    return int(line.split()[1]), headers, json.loads(body)


def read_status(connection: socket.socket) -> int:
    """The status of a response, which is read to the end of its body."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    response.read()
    return response.status


@pytest.fixture(params=["http", "https"])
def emulator(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    with Emulator(key_pool=1, tls=request.param == "https") as running:
        yield running


def test_broken_clients_cause_no_warning_and_do_not_delay_the_stop(
    emulator: Emulator, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    clients = []
    for data, then in BROKEN.values():
        clients.append(connect(emulator))
        send(clients[-1], data, then)
    if emulator.url.startswith("https:"):
        # Handshakes that do not end: nothing, plain HTTP, half a message, and another version of TLS.
        for data in (b"", HALF_BODY, b"\x16\x03\x01\x02\x00\x01", b"\x16\x03\x00\x00\x05\x01\x00\x00\x01\x00"):
            clients.append(connect(emulator, tls=False))
            send(clients[-1], data, "stay")
    # It serves others meanwhile.
    with connect(emulator) as other:
        other.sendall(b"GET /flex HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert read_response(other)[0] == 404
    started = time.monotonic()
    emulator.stop()
    assert time.monotonic() - started < 5
    for client in clients:
        client.close()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert capfd.readouterr().err == ""


def test_ctrl_c_during_a_half_sent_body_is_quiet() -> None:
    code = """
import logging, os, signal, socket, sys, threading
from cybersource_flex.emulator import Emulator

def ready(emulator):
    connection = socket.create_connection(("127.0.0.1", int(emulator.url.rpartition(":")[2])))
    headers = b"Host: localhost\\r\\nContent-Length: 100\\r\\nExpect: 100-continue\\r\\n\\r\\n"
    connection.sendall(b"POST /flex/v2/tokens HTTP/1.1\\r\\n" + headers)
    other = socket.create_connection(connection.getpeername())
    other.sendall(b"GET /flex HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
    def interrupt():
        # The emulator sends 100 when it waits for the body. The order of two connections would not show that.
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"abc")
        assert other.recv(100)
        os.kill(os.getpid(), signal.SIGINT)
    threading.Thread(target=interrupt).start()
    kept.append((connection, other))

kept = []
emulator = Emulator(key_pool=1)
emulator.serve(ready)
print([record.status for record in emulator.requests])
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert process.stderr == ""
    assert process.stdout == "[404, None]\n"
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\xff\r\n\r\n", 400),
        (b"GET /flex\r\n\r\n", 400),
        (b"GET /flex HTTP/1.1\r\n\r\n", 400),
        (b"GET /\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400),
        (HEAD + b"Content-Length: x\r\n\r\n", 400),
        (HEAD + b"Secret header: 4111111111111111\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        # h11's limit is 64 KiB. The client is still sending when it is rejected.
        (HEAD + b"X: " + b"a" * 65_536, 431),
        (HEAD + b"X: " + b"a" * 4_000_000, 431),
        (HEAD + b"Transfer-Encoding: gzip\r\n\r\n", 501),
    ],
)
def test_malformed_http_gets_a_documented_error_body(
    emulator: Emulator, data: bytes, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with connect(emulator) as client:
        client.sendall(data)
        sent, headers, body = read_response(client)
    assert sent == status
    assert headers["content-type"] == "application/json"
    details = body["responseStatus"]
    assert (details["status"], details["message"]) == (status, "The request is not valid HTTP")
    assert details["correlationId"] == headers["v-c-correlation-id"]
    lines = [record for record in caplog.records if record.name.startswith("cybersource_flex.emulator")]
    lines = [record for record in lines if record.getMessage().startswith(str(status))]
    assert [record.levelname for record in lines] == ["INFO"]
    assert "4111" not in caplog.text + json.dumps(body)


@pytest.mark.parametrize("protocol", [b"websocket", b"h2c"])
def test_a_request_to_upgrade_is_an_ordinary_request(
    emulator: Emulator, protocol: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with connect(emulator) as client:
        client.sendall((UPGRADE % protocol).replace(b"Upgrade\r\n", b"Upgrade, close\r\n", 1))
        status, _, body = read_response(client)
    assert (status, body["responseStatus"]["reason"]) == (404, "NOT_FOUND")
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize(("data", "status"), [(b"", None), (b"GET /fl", 408), (HEAD, 408), (HALF_BODY, 408)])
def test_an_incomplete_request_ends_in_time(
    emulator: Emulator, data: bytes, status: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "REQUEST_TIMEOUT", 0.2)
    with connect(emulator) as client:
        client.sendall(data)
        if status is None:
            with suppress(ConnectionError):
                assert client.recv(1) == b""
            return
        sent, headers, body = read_response(client)
    assert (sent, headers["connection"]) == (status, "close")
    assert body["responseStatus"]["message"] == "The request was not complete in time"


def test_the_next_request_of_a_connection_has_a_new_time_limit(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "REQUEST_TIMEOUT", 0.3)
    with connect(emulator) as client:
        # A response that takes longer than the limit.
        client.sendall(SCENARIO % b"latency;seconds=0.5")
        assert read_status(client) == 404
        client.sendall(b"GET /flex HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert read_status(client) == 404
        started = time.monotonic()
        client.sendall(HALF_BODY)
        assert read_status(client) == 408
        assert time.monotonic() - started > 0.2
