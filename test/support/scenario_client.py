"""Requests to the emulator with a scenario in the header, and a client that reads responses from a socket."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

from cybersource_flex.emulator import Emulator
from support.emulator_client import (
    KEYS,
    NOW,
    SESSIONS,
    TIMEOUT,
    TOKENS,
    VALID_BODY,
    Response,
    card_data,
    encrypt_data,
    jwt_headers,
    open_socket,
    send,
)

SCENARIO_HEADER = "v-c-emulator-scenario"


def scenario_headers(scenario: str | None) -> dict[str, str]:
    return {} if scenario is None else {SCENARIO_HEADER: scenario}


def create_session(emulator: Emulator, scenario: str | None = None, now: float = NOW, **claims: Any) -> Response:
    """Request a capture context at the time ``now``, with a scenario and additional claims in the JWT."""
    headers = jwt_headers(emulator, "POST", SESSIONS, VALID_BODY, now=now, **claims)
    return send(emulator, "POST", SESSIONS, {**headers, **scenario_headers(scenario)}, VALID_BODY)


def reset_around(emulator: Emulator) -> Iterator[Emulator]:
    """Yield the emulator for a test. Reset it before and after, and check that it then responds normally."""
    emulator.reset_faults()
    emulator.clear()
    yield emulator
    emulator.reset_faults()
    emulator.clear()
    assert create_session(emulator).status == 201


def get_key(emulator: Emulator, kid: str, scenario: str | None = None) -> Response:
    return send(emulator, "GET", KEYS + kid, scenario_headers(scenario))


def tokenize(emulator: Emulator, context: str, scenario: str | None = None) -> Response:
    jwe = encrypt_data(context, card_data({"number": "4111111111111111"}))
    headers = {"Content-Type": "application/jwt", **scenario_headers(scenario)}
    return send(emulator, "POST", TOKENS, headers, jwe.encode())


def get_request(path: str, scenario: str) -> bytes:
    """The bytes of a GET request."""
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n{SCENARIO_HEADER}: {scenario}\r\n\r\n".encode()


def read_until_closed(connection: socket.socket) -> bytes:
    received = b""
    while data := connection.recv(65536):
        received += data
    return received


class ResponseReader:
    """An HTTP/1.1 connection that reads one response after the other, including interim responses.

    Attributes:
        buffer: received data that was not read yet.
    """

    def __init__(self, emulator: Emulator) -> None:
        self.socket = open_socket(emulator)
        self.buffer = b""

    def __enter__(self) -> ResponseReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def _receive(self) -> None:
        data = self.socket.recv(65536)
        assert data, "the connection was closed"
        self.buffer += data

    def head(self) -> tuple[int, dict[str, str]]:
        """Read the status and headers of the next response."""
        while b"\r\n\r\n" not in self.buffer:
            self._receive()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("ascii").split("\r\n")
        return int(status_line.split(" ")[1]), dict(line.split(": ", 1) for line in lines)

    def body(self, length: int) -> bytes:
        while len(self.buffer) < length:
            self._receive()
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        return body

    def response(self) -> tuple[int, bytes]:
        """Read the status of the next response, and a body with the length in its Content-Length."""
        status, headers = self.head()
        return status, self.body(int(headers["content-length"]))

    def receives_nothing(self, seconds: float = 0.05) -> bool:
        """Whether no data arrives for this long."""
        if self.buffer:
            return False
        self.socket.settimeout(seconds)
        try:
            # Empty if the connection was closed, which also counts as data.
            self.buffer = self.socket.recv(65536)
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(TIMEOUT)
        return False
