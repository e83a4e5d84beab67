"""Answers on their way out: in order, or as a scenario wants them.

Waiting happens here, and only here. It ends when the connection does, so that neither a client that gave up nor a
stopping server is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from http import HTTPStatus

from starlette.types import Send

from .parameters import ENDLESS
from .protocol import Wire
from .scenarios import Scenario

_BLOCK = 1 << 16
_SECOND = b'{"emulatorText":"a second response that no request asked for"}'

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Delivery:
    """One answer, ready to go."""

    wire: Wire
    send: Send
    status: int
    headers: Headers
    body: bytes

    async def in_order(self) -> None:
        """As HTTP wants it."""
        await self.start(self.headers)
        await self.send({"type": "http.response.body", "body": self.body})

    async def start(self, headers: Headers) -> None:
        await self.send({"type": "http.response.start", "status": self.status, "headers": headers})

    async def more(self, data: bytes) -> None:
        await self.send({"type": "http.response.body", "body": data, "more_body": True})

    async def finish(self) -> None:
        await self.send({"type": "http.response.body", "body": b""})

    def without(self, *names: bytes) -> Headers:
        """The headers but for some."""
        return [(name, value) for name, value in self.headers if name not in names]

    def head(self, headers: Headers) -> bytes:
        """Status line and headers as bytes, for what uvicorn would not send."""
        return _head(self.status, headers)


def _head(status: int, headers: Headers) -> bytes:
    known = {status.value: status.phrase for status in HTTPStatus}
    lines = [f"HTTP/1.1 {status} {known.get(status, '')}".encode("ascii")]
    lines += [name + b": " + value for name, value in headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _length(body: bytes) -> tuple[bytes, bytes]:
    return b"content-length", str(len(body)).encode("ascii")


async def deliver(delivery: Delivery, scenario: Scenario | None) -> None:
    """Send an answer."""
    play = None if scenario is None else _PLAYS.get(scenario.name)
    if scenario is None or play is None:
        await delivery.in_order()
        return
    delivery.wire.touched = True
    await play(delivery, scenario)


async def _latency(delivery: Delivery, scenario: Scenario) -> None:
    if await delivery.wire.pause(scenario.number("seconds")):
        await delivery.in_order()


async def _slow_drip(delivery: Delivery, scenario: Scenario) -> None:
    interval, wire = scenario.number("interval"), delivery.wire
    if scenario.text("part") == "body":
        await delivery.start(delivery.headers)
        for byte in delivery.body:
            if not await wire.pause(interval):
                return
            await delivery.more(bytes([byte]))
        await delivery.finish()
        return
    # Past uvicorn, which does not know what was sent: so this is the connection's last answer, and says so.
    for byte in delivery.head([*delivery.headers, (b"connection", b"close")]):
        if not await wire.pause(interval):
            return
        await wire.write(bytes([byte]))
    await wire.write(delivery.body)
    await wire.close()


async def _reset_during(delivery: Delivery, scenario: Scenario) -> None:
    await _half(delivery)
    await delivery.wire.reset()


async def _reset_after_request(delivery: Delivery, scenario: Scenario) -> None:
    await delivery.wire.reset()


async def _close_after(delivery: Delivery, scenario: Scenario) -> None:
    await delivery.in_order()
    await delivery.wire.close()


async def _truncated(delivery: Delivery, scenario: Scenario) -> None:
    await _half(delivery)
    await delivery.wire.close()


async def _half(delivery: Delivery) -> None:
    """The head, and half of what it announces."""
    body = delivery.body or b"{}"
    headers = [*delivery.without(b"content-length"), _length(body)]
    await delivery.wire.write(delivery.head(headers) + body[: len(body) // 2])


async def _wrong_length(delivery: Delivery, scenario: Scenario) -> None:
    body = delivery.body
    declared = max(0, len(body) + scenario.count("difference"))
    headers = [*delivery.without(b"content-length"), (b"content-length", str(declared).encode("ascii"))]
    if declared > len(body):
        await delivery.wire.write(delivery.head(headers) + body)
        await delivery.wire.forsake()
        return
    await delivery.start(headers)
    await delivery.more(body[:declared])
    # Before the end, so that it is on the wire also where the client wants the connection closed.
    await delivery.wire.write(body[declared:])
    await delivery.finish()


async def _chunked_broken(delivery: Delivery, scenario: Scenario) -> None:
    headers = [*delivery.without(b"content-length"), (b"transfer-encoding", b"chunked")]
    body, wire = delivery.body or b"{}", delivery.wire
    chunk = b"%x\r\n%s\r\n" % (len(body), body)
    await wire.write(delivery.head(headers) + chunk)
    if scenario.text("kind") == "size":
        await wire.write(b"no size\r\n" + body + b"\r\n0\r\n\r\n")
    await wire.close()


async def _interim(delivery: Delivery, scenario: Scenario) -> None:
    statuses, wire = scenario.text("status").split(","), delivery.wire
    # Short lines: it is the sum of the bytes that matters.
    headers = [(b"x-interim-%d" % line, block) for line, block in enumerate(_blocks(scenario.count("size"), 1000))]
    heads = [_head(int(status), headers) for status in statuses]
    for number in range(scenario.count("count")):
        await wire.write(heads[number % len(heads)])
        if wire.lost:
            return
    if not await wire.pause(scenario.number("seconds")):
        return
    if scenario.text("final") != "normal":
        headers = delivery.without(b"content-length", b"content-type", b"digest")
        delivery = replace(delivery, status=scenario.count("final"), headers=headers, body=b"")
    await delivery.in_order()


async def _second_response(delivery: Delivery, scenario: Scenario) -> None:
    second = _head(200, [(b"content-type", b"application/json"), _length(_SECOND)]) + _SECOND
    wire, seconds = delivery.wire, scenario.number("seconds")
    if seconds == 0:
        # In one write, so that no client can send its next request in between: it could not tell the two apart.
        with wire.one_write() as more:
            await delivery.in_order()
            more.append(second)
        return
    request = wire.last_request
    await delivery.in_order()
    if await wire.pause(seconds) and wire.last_request is request:
        await wire.write(second)


async def _early_response(delivery: Delivery, scenario: Scenario) -> None:
    close = [(b"connection", b"close")] if scenario.text("then") == "close" else []
    await replace(delivery, headers=[*delivery.headers, *close]).in_order()


async def _body_not_allowed(delivery: Delivery, scenario: Scenario) -> None:
    status, body = scenario.count("status"), delivery.body or b"{}"
    headers = [*delivery.without(b"content-length"), _length(body)]
    if status < 200:
        await delivery.wire.write(_head(status, headers) + body)
        await delivery.in_order()
        return
    with delivery.wire.one_write() as more:
        await replace(delivery, status=status, headers=headers, body=b"").in_order()
        more.append(body)


async def _forget_idle(delivery: Delivery, scenario: Scenario) -> None:
    delivery.wire.forget_when_idle(scenario.number("seconds"))
    await delivery.in_order()


async def _big_body(delivery: Delivery, scenario: Scenario) -> None:
    size = scenario.count("size")
    await delivery.start([*delivery.without(b"content-length"), (b"content-length", str(size).encode("ascii"))])
    await _stream(delivery, size)


async def _endless_body(delivery: Delivery, scenario: Scenario) -> None:
    # Without a length, uvicorn sends it in chunks.
    await delivery.start(delivery.without(b"content-length"))
    await _stream(delivery, min(scenario.count("size"), ENDLESS))


async def _stream(delivery: Delivery, size: int) -> None:
    for block in _blocks(size):
        await delivery.more(block)
        # Sending waits for nothing while the client reads, or is gone: others want to be answered too.
        await asyncio.sleep(0)
        if delivery.wire.lost:
            return
    await delivery.finish()


def _blocks(size: int, length: int = _BLOCK) -> Iterator[bytes]:
    block = b"x" * length
    for _ in range(size // length):
        yield block
    if size % length:
        yield block[: size % length]


async def _endless_headers(delivery: Delivery, scenario: Scenario) -> None:
    many, wire = scenario.text("kind") == "many", delivery.wire
    await wire.write(delivery.head(delivery.headers)[:-2] + (b"" if many else b"x-endless: "))
    for number, block in enumerate(_blocks(scenario.count("size"))):
        if wire.lost:
            return
        # Each line is as long as it is easy to take: it is their number that matters.
        lines = range(number * 64, number * 64 + 64)
        await wire.write(b"".join(b"x-endless-%d: %s\r\n" % (line, block[:1000]) for line in lines) if many else block)
        await asyncio.sleep(0)
    await wire.write((b"" if many else b"\r\n") + b"\r\n" + delivery.body)
    await wire.close()


_PLAYS: dict[str, Callable[[Delivery, Scenario], Awaitable[None]]] = {
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
