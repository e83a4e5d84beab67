"""Send a response, normally or with a fault of the connection: delays, resets, truncation, invalid HTTP.

All waits are in this module. A wait ends when the connection ends, so it does not delay the stop of the server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from http import HTTPStatus

from starlette.types import Send

from ..server.connections import RawConnection
from .scenarios import MAXIMUM_SIZE, Scenario

_BLOCK = 1 << 16
_SECOND = b'{"emulatorText":"a second response that no request asked for"}'

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class ResponseWriter:
    """A complete response and the connection to send it on."""

    connection: RawConnection
    send: Send
    status: int
    headers: Headers
    body: bytes

    async def send_normally(self) -> None:
        """Send valid HTTP."""
        await self.start(self.headers)
        await self.send({"type": "http.response.body", "body": self.body})

    async def start(self, headers: Headers) -> None:
        await self.send({"type": "http.response.start", "status": self.status, "headers": headers})

    async def send_part(self, data: bytes) -> None:
        await self.send({"type": "http.response.body", "body": data, "more_body": True})

    async def finish(self) -> None:
        await self.send({"type": "http.response.body", "body": b""})

    def without(self, *names: bytes) -> Headers:
        """The headers except those with these names."""
        return [(name, value) for name, value in self.headers if name not in names]

    def head(self, headers: Headers) -> bytes:
        """Status line and headers as bytes, for responses that uvicorn would not send."""
        return _head(self.status, headers)


def _head(status: int, headers: Headers) -> bytes:
    phrases = {status.value: status.phrase for status in HTTPStatus}
    lines = [f"HTTP/1.1 {status} {phrases.get(status, '')}".encode("ascii")]
    lines += [name + b": " + value for name, value in headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _content_length(body: bytes) -> tuple[bytes, bytes]:
    return b"content-length", str(len(body)).encode("ascii")


async def send_response(writer: ResponseWriter, scenario: Scenario | None) -> None:
    """Send a response. If the scenario is a fault of the connection, send it with this fault."""
    fault = None if scenario is None else _FAULTS.get(scenario.name)
    if scenario is None or fault is None:
        await writer.send_normally()
        return
    writer.connection.has_fault = True
    await fault(writer, scenario)


async def _latency(writer: ResponseWriter, scenario: Scenario) -> None:
    if await writer.connection.pause(scenario.number("seconds")):
        await writer.send_normally()


async def _slow_drip(writer: ResponseWriter, scenario: Scenario) -> None:
    interval, connection = scenario.number("interval"), writer.connection
    if scenario.string("part") == "body":
        await writer.start(writer.headers)
        for byte in writer.body:
            if not await connection.pause(interval):
                return
            await writer.send_part(bytes([byte]))
        await writer.finish()
        return
    # The head is written without uvicorn, and uvicorn cannot continue on the connection afterwards. So the response
    # announces that the connection closes.
    for byte in writer.head([*writer.headers, (b"connection", b"close")]):
        if not await connection.pause(interval):
            return
        await connection.write(bytes([byte]))
    await connection.write(writer.body)
    await connection.close()


async def _reset_during(writer: ResponseWriter, scenario: Scenario) -> None:
    await _write_half(writer)
    await writer.connection.reset()


async def _reset_after_request(writer: ResponseWriter, scenario: Scenario) -> None:
    await writer.connection.reset()


async def _close_after(writer: ResponseWriter, scenario: Scenario) -> None:
    await writer.send_normally()
    await writer.connection.close()


async def _truncated(writer: ResponseWriter, scenario: Scenario) -> None:
    await _write_half(writer)
    await writer.connection.close()


async def _write_half(writer: ResponseWriter) -> None:
    """Send the head and half of the announced body."""
    body = writer.body or b"{}"
    headers = [*writer.without(b"content-length"), _content_length(body)]
    await writer.connection.write(writer.head(headers) + body[: len(body) // 2])


async def _wrong_length(writer: ResponseWriter, scenario: Scenario) -> None:
    body = writer.body
    declared = max(0, len(body) + scenario.count("difference"))
    headers = [*writer.without(b"content-length"), (b"content-length", str(declared).encode("ascii"))]
    if declared > len(body):
        await writer.connection.write(writer.head(headers) + body)
        await writer.connection.wait_until_lost()
        return
    await writer.start(headers)
    await writer.send_part(body[:declared])
    # The rest is written before uvicorn ends the response, because uvicorn may then close the connection.
    await writer.connection.write(body[declared:])
    await writer.finish()


async def _chunked_broken(writer: ResponseWriter, scenario: Scenario) -> None:
    headers = [*writer.without(b"content-length"), (b"transfer-encoding", b"chunked")]
    body, connection = writer.body or b"{}", writer.connection
    chunk = b"%x\r\n%s\r\n" % (len(body), body)
    await connection.write(writer.head(headers) + chunk)
    if scenario.string("kind") == "size":
        await connection.write(b"no size\r\n" + body + b"\r\n0\r\n\r\n")
    await connection.close()


async def _interim(writer: ResponseWriter, scenario: Scenario) -> None:
    statuses, connection = scenario.string("status").split(","), writer.connection
    # The lines are short, because only their total size matters.
    headers = [(b"x-interim-%d" % line, block) for line, block in enumerate(_blocks(scenario.count("size"), 1000))]
    heads = [_head(int(status), headers) for status in statuses]
    for number in range(scenario.count("count")):
        await connection.write(heads[number % len(heads)])
        # A write never yields while the client reads or after it disconnects, but other requests need the event loop.
        await asyncio.sleep(0)
        if connection.lost:
            return
    if not await connection.pause(scenario.number("seconds")):
        return
    if scenario.string("final") != "normal":
        headers = writer.without(b"content-length", b"content-type", b"digest")
        writer = replace(writer, status=scenario.count("final"), headers=headers, body=b"")
    await writer.send_normally()


async def _second_response(writer: ResponseWriter, scenario: Scenario) -> None:
    second = _head(200, [(b"content-type", b"application/json"), _content_length(_SECOND)]) + _SECOND
    connection, seconds = writer.connection, scenario.number("seconds")
    if seconds == 0:
        # Both are sent in one write. Otherwise the client could send its next request in between, and would take the
        # second response for the response to that request.
        with connection.one_write() as extra:
            await writer.send_normally()
            extra.append(second)
        return
    request = connection.last_request
    await writer.send_normally()
    if await connection.pause(seconds) and connection.last_request is request:
        await connection.write(second)


async def _early_response(writer: ResponseWriter, scenario: Scenario) -> None:
    close = [(b"connection", b"close")] if scenario.string("then") == "close" else []
    await replace(writer, headers=[*writer.headers, *close]).send_normally()


async def _body_not_allowed(writer: ResponseWriter, scenario: Scenario) -> None:
    status, body = scenario.count("status"), writer.body or b"{}"
    headers = [*writer.without(b"content-length"), _content_length(body)]
    if status < 200:
        await writer.connection.write(_head(status, headers) + body)
        await writer.send_normally()
        return
    with writer.connection.one_write() as extra:
        await replace(writer, status=status, headers=headers, body=b"").send_normally()
        extra.append(body)


async def _forget_idle(writer: ResponseWriter, scenario: Scenario) -> None:
    writer.connection.forget_when_idle(scenario.number("seconds"))
    await writer.send_normally()


async def _big_body(writer: ResponseWriter, scenario: Scenario) -> None:
    size = scenario.count("size")
    await writer.start([*writer.without(b"content-length"), (b"content-length", str(size).encode("ascii"))])
    await _stream(writer, size)


async def _endless_body(writer: ResponseWriter, scenario: Scenario) -> None:
    # Without Content-Length, uvicorn uses chunked encoding.
    await writer.start(writer.without(b"content-length"))
    await _stream(writer, min(scenario.count("size"), MAXIMUM_SIZE))


async def _stream(writer: ResponseWriter, size: int) -> None:
    for block in _blocks(size):
        await writer.send_part(block)
        # Sending never yields while the client reads or after it disconnects, but other requests need the event loop.
        await asyncio.sleep(0)
        if writer.connection.lost:
            return
    await writer.finish()


def _blocks(size: int, length: int = _BLOCK) -> Iterator[bytes]:
    block = b"x" * length
    for _ in range(size // length):
        yield block
    if size % length:
        yield block[: size % length]


async def _endless_headers(writer: ResponseWriter, scenario: Scenario) -> None:
    many, connection = scenario.string("kind") == "many", writer.connection
    await connection.write(writer.head(writer.headers)[:-2] + (b"" if many else b"x-endless: "))
    for number, block in enumerate(_blocks(scenario.count("size"))):
        if connection.lost:
            return
        # The lines have a moderate length, because the number of lines matters.
        lines = range(number * 64, number * 64 + 64)
        await connection.write(
            b"".join(b"x-endless-%d: %s\r\n" % (line, block[:1000]) for line in lines) if many else block
        )
        await asyncio.sleep(0)
    await connection.write((b"" if many else b"\r\n") + b"\r\n" + writer.body)
    await connection.close()


_FAULTS: dict[str, Callable[[ResponseWriter, Scenario], Awaitable[None]]] = {
    "latency": _latency,
    "slow-drip": _slow_drip,
    "reset-during": _reset_during,
    "reset-after-request": _reset_after_request,
    "close-after": _close_after,
    "truncated": _truncated,
    "wrong-length": _wrong_length,
    "chunked-broken": _chunked_broken,
    "interim": _interim,
    "second-response": _second_response,
    "early-response": _early_response,
    "body-not-allowed": _body_not_allowed,
    "forget-idle": _forget_idle,
    "big-body": _big_body,
    "endless-body": _endless_body,
    "endless-headers": _endless_headers,
}
