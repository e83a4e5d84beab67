"""A call returns the response to its own request or raises: never another's response, whatever bytes a server sends.

Each request has a tag in its path. The server puts that tag into every response that it makes for the request, and the
tags of other requests into everything else that it sends. What the server does with a request is a plan, which depends
on the tag alone: so the seed in the name of a failing test is all that is needed to run the same plans again, and
``PLAN=<tag>`` in the environment prints one of them.

What a client cannot see, and what is therefore not in these plans: a response that a server sends without having been
asked, at a moment when the client has already sent its next request on that connection. HTTP/1.1 has nothing that says
to which request a response belongs. So whatever arrives too late to be with the response before it arrives here between
two rounds, when no call is under way.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import select
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from cybersource_flex import ApiResponse, RetryPolicy, Tls, errors
from cybersource_flex.transport import Operation, Settings, Transport
from cybersource_flex.transport.aio import AsyncTransport

# Behaviours of the server in all, for each transport, and for each test.
TOTAL, EACH = 10_000, 500
# Calls that are under way at once, and how many each makes before the server sends what comes late.
WORKERS, IN_A_ROUND = 16, 3
TAG = re.compile(r"T\d+N\d+E")
# Seconds. The first is for plans in which the server says nothing; the second only ends a hang.
SHORT, PATIENCE = 0.1, 5.0
# Linux: how many bytes of a socket have not been sent yet.
_SIOCOUTQNSD = 0x894B
_NO_LINGER = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)


# --- plans ----------------------------------------------------------------------------------------------


class Verdict(Enum):
    """What a call must come to when the server has carried out its plan."""

    RESPONSE = "the response of the plan"
    ERROR = "a TransportError"
    EITHER = "a response to this request, or a TransportError"


class Do(Enum):
    """Steps of a plan that are not bytes to send and not seconds to wait."""

    CLOSE = "close the connection"
    RESET = "reset the connection"
    SILENCE = "say nothing until the client ends the connection"


Step = bytes | float | Do


@dataclass
class Plan:
    """What the server does with one request.

    Attributes:
        steps: each of the byte strings is sent in one segment.
        verdict: what the call must come to.
        status: of the response, where that is known.
        body: of the response, where that is known.
        early: whether the steps are taken before the body of the request is read.
        late: what is sent between two rounds, if the connection is still open then.
        size: bytes of the request's body.
        method: POST for every other request, and for those with ``early``.
    """

    name: str
    tag: str
    verdict: Verdict
    steps: list[Step] = field(default_factory=list)
    status: int | None = None
    body: bytes | None = None
    early: bool = False
    late: tuple[Step, ...] = ()
    size: int = 20
    method: str = ""

    def __post_init__(self) -> None:
        if not self.method:
            odd = int(self.tag.rpartition("N")[2][:-1]) % 2
            self.method = "POST" if odd or self.early else "GET"

    @property
    def waits(self) -> bool:
        """Whether the client gets nothing more and has to give up by itself."""
        return Do.SILENCE in self.steps

    def __str__(self) -> str:
        def shown(step: Step) -> str:
            if isinstance(step, bytes):
                return repr(step) if len(step) < 700 else f"{step[:600]!r}...{step[-80:]!r} ({len(step)} bytes)"
            return f"wait {step:.4f} s" if isinstance(step, float) else step.value

        lines = [f"{self.tag}: {self.name}: {self.method}, {self.verdict.value}{', early' if self.early else ''}"]
        lines += [f"    {shown(step)}" for step in self.steps]
        lines += [f"    late: {shown(step)}" for step in self.late]
        return "\n".join(lines)


STATUSES = (200, 200, 200, 201, 400, 401, 403, 404, 409, 429, 500, 502, 503)
REASONS = {200: "OK", 201: "Created", 400: "Bad Request", 404: "Not Found", 503: "Service Unavailable"}
MANY = "X-Many: 1\r\n" * 400
INTERIM = {100: "Continue", 102: "Processing", 103: "Early Hints"}


def foreign(rnd: random.Random, tag: str) -> str:
    """The tag of another request: one that is in no plan, so that it cannot be this one."""
    return f"{tag.partition('N')[0]}N{rnd.randrange(9_000_000, 9_999_999)}E"


def content(tag: str, rnd: random.Random) -> bytes:
    fill = "x" * rnd.choice((0, 0, 0, 10, 200, 3000, 9000))
    return json.dumps({"tag": tag, "fill": fill}).encode()


def head(tag: str, rnd: random.Random, status: int, fields: list[tuple[str, str]], version: str = "1.1") -> bytes:
    """A response head in one of the forms that every client must read."""
    fields = [("X-Tag", tag), ("Content-Type", "application/json"), *fields]
    if rnd.random() < 0.2:
        fields.append(("X-Fill", "y" * rnd.choice((1, 100, 3000))))
    if rnd.random() < 0.5:
        rnd.shuffle(fields)
    case = rnd.choice((str, str.lower, str.upper))
    colon = rnd.choice((": ", ": ", ":", ":   "))
    reason = rnd.choice((REASONS.get(status, "Something"), REASONS.get(status, "Something"), "", "a b"))
    lines = [f"HTTP/{version} {status} {reason}", *(f"{case(name)}{colon}{value}" for name, value in fields)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def chunks(body: bytes, rnd: random.Random, trailer: str | None = None) -> bytes:
    """A body in the chunked coding."""
    out, left = b"", body
    while left:
        size = rnd.randint(1, len(left))
        extension = rnd.choice(("", "", ";a=b"))
        number = rnd.choice(("%x", "%X", "0%x")) % size
        out += f"{number}{extension}\r\n".encode() + left[:size] + b"\r\n"
        left = left[size:]
    return out + b"0\r\n" + (b"" if trailer is None else f"X-Tag: {trailer}\r\n".encode()) + b"\r\n"


def framed(
    tag: str, rnd: random.Random, *, status: int | None = None, close: bool = False
) -> tuple[bytes, bytes, int, bytes]:
    """A well-formed response: its head, its body as it is sent, its status, its content."""
    status = rnd.choice(STATUSES) if status is None else status
    body = content(tag, rnd)
    fields = [("Connection", "close")] if close else []
    if rnd.random() < 0.3:
        trailer = foreign(rnd, tag) if rnd.random() < 0.3 else None
        return (
            head(tag, rnd, status, [*fields, ("Transfer-Encoding", "chunked")]),
            chunks(body, rnd, trailer),
            status,
            body,
        )
    return head(tag, rnd, status, [*fields, ("Content-Length", str(len(body)))]), body, status, body


def whole(tag: str, rnd: random.Random) -> bytes:
    """A well-formed response in one piece."""
    first, body, _, _ = framed(tag, rnd)
    return first + body


def interim(tag: str, rnd: random.Random) -> bytes:
    """An interim response, with the tag of another request."""
    status = rnd.choice((100, 102, 103, 103, 104, 199))
    lines = [f"HTTP/1.1 {status} {INTERIM.get(status, '')}"]
    if rnd.random() < 0.7:
        lines += [f"X-Tag: {foreign(rnd, tag)}", "Link: </a.css>; rel=preload"][: rnd.randint(1, 2)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def cut(data: bytes, rnd: random.Random, until: int) -> list[Step]:
    """The data in several segments, none of which ends at or after ``until``: what follows arrives in one."""
    steps: list[Step] = []
    count = rnd.choice((0, 0, 1, 2, 5)) if until > 1 else 0
    begin = 0
    for end in sorted(rnd.sample(range(1, until), min(count, until - 1))):
        steps.append(data[begin:end])
        if rnd.random() < 0.3:
            steps.append(rnd.choice((0.0, 0.001, 0.004)))
        begin = end
    return [*steps, data[begin:]]


def before(tag: str, rnd: random.Random) -> list[Step]:
    """What may come before a final response: nothing, mostly."""
    steps: list[Step] = []
    for _ in range(rnd.choice((0, 0, 0, 1, 1, 2, 4))):
        data = interim(tag, rnd)
        steps += cut(data, rnd, len(data))
        if rnd.random() < 0.5:
            steps.append(rnd.choice((0.001, 0.005, 0.01)))
    return steps


def surplus(tag: str, rnd: random.Random) -> bytes:
    """Bytes that nobody asked for, and that look like the beginning of a response."""
    data = b"".join(whole(foreign(rnd, tag), rnd) for _ in range(rnd.choice((1, 1, 1, 2))))
    if rnd.random() < 0.2:
        data = interim(tag, rnd) + data
    # A part of it too: the rest may never come, or be what the next response begins with.
    return data[: rnd.randint(1, len(data))] if rnd.random() < 0.4 else data


def garbage(tag: str, rnd: random.Random) -> bytes:
    """Bytes that nobody asked for, and that are no response."""
    other = foreign(rnd, tag)
    return rnd.choice(
        (
            b"\r\n",
            b"\r\n\r\n",
            b"0\r\n\r\n",
            b"\0" * 5,
            f'{{"tag": "{other}"}}'.encode(),
            b"HTTP/9 \r\n\r\n",
            b"x" * 20_000,
        )
    )


def later(tag: str, rnd: random.Random) -> tuple[Step, ...]:
    """What arrives on an idle connection."""
    kind = rnd.randrange(7)
    if kind == 0:
        return (Do.CLOSE,)
    if kind == 1:
        return (Do.RESET,)
    if kind == 2:
        # What real servers send before they close an idle connection.
        timeout = head(foreign(rnd, tag), rnd, 408, [("Content-Length", "0"), ("Connection", "close")])
        return (timeout, Do.CLOSE)
    if kind == 3:
        return (garbage(tag, rnd),)
    if kind == 4:
        return (interim(tag, rnd),)
    return (surplus(tag, rnd),)


def good(tag: str, rnd: random.Random) -> Plan:
    """A correct server, which may send interim responses, and may end the connection in one of the allowed ways."""
    ending = rnd.choice(("keep",) * 8 + ("close", "say so", "no length", "1.0", "1.0 keep"))
    plan = Plan("good", tag, Verdict.RESPONSE, before(tag, rnd))
    if ending in ("no length", "1.0"):
        # The end of the connection is the end of the body. Nothing can follow.
        plan.status, plan.body = rnd.choice(STATUSES), content(tag, rnd)
        fields = [("Connection", "close")] if ending == "no length" else []
        first, body = head(tag, rnd, plan.status, fields, "1.0" if ending == "1.0" else "1.1"), plan.body
    elif ending == "1.0 keep":
        plan.status, plan.body = rnd.choice(STATUSES), content(tag, rnd)
        fields = [("Content-Length", str(len(plan.body))), ("Connection", "keep-alive")]
        first, body = head(tag, rnd, plan.status, fields, "1.0"), plan.body
    else:
        first, body, plan.status, plan.body = framed(tag, rnd, close=ending == "say so")
    data = first + body
    plan.steps += cut(data, rnd, len(data))
    if "keep" in ending:
        plan.late = later(tag, rnd) if rnd.random() < 0.3 else ()
    else:
        plan.steps.append(Do.CLOSE)
    return plan


def followed(tag: str, rnd: random.Random) -> Plan:
    """Response splitting: after the response comes more, which looks like the response to the next request."""
    first, body, status, text = framed(tag, rnd, close=rnd.random() < 0.1)
    data = first + body
    plan = Plan("followed by a response", tag, Verdict.RESPONSE, before(tag, rnd), status, text)
    plan.steps += cut(data + surplus(tag, rnd), rnd, len(data))
    plan.late = later(tag, rnd) if rnd.random() < 0.3 else ()
    return plan


def followed_by_garbage(tag: str, rnd: random.Random) -> Plan:
    """After the response comes what is no response."""
    first, body, _, _ = framed(tag, rnd)
    data = first + body
    steps = cut(data + garbage(tag, rnd), rnd, len(data))
    return Plan("followed by garbage", tag, Verdict.EITHER, before(tag, rnd) + steps)


def without_body(tag: str, rnd: random.Random) -> Plan:
    """204 or 304, which end with the head whatever it says, with and without something after it."""
    status = rnd.choice((204, 304))
    fields = [[], [("Content-Length", "30")], [("Transfer-Encoding", "chunked")]][rnd.choice((0, 0, 1, 2))]
    first = head(tag, rnd, status, fields)
    after = rnd.choice((b"", b"", content(tag, rnd), chunks(content(tag, rnd), rnd), surplus(tag, rnd)))
    plan = Plan("without a body", tag, Verdict.EITHER, before(tag, rnd), status, b"")
    if not after:
        plan.verdict = Verdict.RESPONSE
    plan.steps += cut(first + after, rnd, len(first))
    plan.late = later(tag, rnd) if rnd.random() < 0.3 else ()
    return plan


def too_short(tag: str, rnd: random.Random) -> Plan:
    """Content-Length is smaller than the body: the rest of it stands where the next response should begin."""
    body = content(tag, rnd)
    rest = rnd.choice((b"", surplus(tag, rnd)))
    length = rnd.randint(0, len(body) - 1)
    first = head(tag, rnd, rnd.choice(STATUSES), [("Content-Length", str(length))])
    steps = cut(first + body + rest, rnd, len(first))
    return Plan("too short a length", tag, Verdict.EITHER, before(tag, rnd) + steps)


def truncated(tag: str, rnd: random.Random) -> Plan:
    """The body ends before its announced end."""
    first, body, _, _ = framed(tag, rnd)
    data = (
        (first + body)[: -rnd.randint(1, len(body))] if rnd.random() < 0.7 else first[: rnd.randint(1, len(first) - 1)]
    )
    plan = Plan("truncated", tag, Verdict.ERROR, before(tag, rnd))
    plan.steps += [*cut(data, rnd, len(data)), rnd.choice((Do.CLOSE,) * 8 + (Do.RESET,) * 8 + (Do.SILENCE,))]
    return plan


def broken_chunks(tag: str, rnd: random.Random) -> Plan:
    """A chunked body that is none."""
    first = head(tag, rnd, rnd.choice(STATUSES), [("Transfer-Encoding", "chunked")])
    body = content(tag, rnd)
    size = f"{len(body):x}".encode()
    other = whole(foreign(rnd, tag), rnd)
    data, verdict = rnd.choice(
        (
            (size + b"\r\n" + body + b"\r\nno size\r\n" + other, Verdict.ERROR),
            (size + b"\r\n" + body + b"\r\n-5\r\n" + other, Verdict.ERROR),
            (b"ffffffffffffffffffff\r\n" + body, Verdict.ERROR),
            (b"\r\n" + body + b"\r\n0\r\n\r\n" + other, Verdict.ERROR),
            # What some readers forgive: no line break after a chunk, a size with a sign or with spaces, bare LF.
            (size + b"\r\n" + body + b"0\r\n\r\n" + other, Verdict.EITHER),
            (b"+" + size + b"\r\n" + body + b"\r\n0\r\n\r\n" + other, Verdict.EITHER),
            (b"0x" + size + b"\r\n" + body + b"\r\n0\r\n\r\n" + other, Verdict.EITHER),
            (b" " + size + b" \r\n" + body + b"\r\n0\r\n\r\n" + other, Verdict.EITHER),
            (size + b"\n" + body + b"\n0\n\n" + other, Verdict.EITHER),
            # Trailers without an end, and one that is none.
            (size + b"\r\n" + body + b"\r\n0\r\n" + b"X-More: yes\r\n" * 50, Verdict.EITHER),
            (size + b"\r\n" + body + b"\r\n0\r\nno trailer\r\n\r\n" + other, Verdict.EITHER),
        )
    )
    steps = [*cut(first + data, rnd, len(first)), Do.CLOSE]
    return Plan("broken chunks", tag, verdict, before(tag, rnd) + steps)


def conflicting(tag: str, rnd: random.Random) -> Plan:
    """Headers that contradict each other about where the body ends. Everything in it is this request's own."""
    body = content(tag, rnd)
    encoded = chunks(body, rnd)
    length, longer = str(len(body)), str(len(body) + rnd.randint(1, 5))
    fields, sent = rnd.choice(
        (
            ([("Content-Length", length), ("Transfer-Encoding", "chunked")], encoded),
            ([("Content-Length", "3"), ("Transfer-Encoding", "chunked")], encoded),
            ([("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "chunked")], encoded),
            ([("Transfer-Encoding", "gzip, chunked")], encoded),
            ([("Transfer-Encoding", "chunked, identity")], encoded),
            ([("Transfer-Encoding", "xchunked"), ("Content-Length", length)], body),
            ([("Transfer-Encoding", "identity"), ("Content-Length", length)], body),
            ([("Content-Length", length), ("Content-Length", length)], body),
            ([("Content-Length", "3"), ("Content-Length", length)], body),
            ([("Content-Length", length), ("Content-Length", "3")], body),
            ([("Content-Length", longer), ("Content-Length", length)], body),
            ([("Content-Length", f"{length}, {length}")], body),
            ([("Content-Length", f"3, {length}")], body),
            ([("Content-Length", f"+{length}")], body),
            ([("Content-Length", f"-{length}")], body),
            ([("Content-Length", f"{length}x")], body),
            ([("Content-Length", f"0x{len(body):x}")], body),
            ([("Content-Length", f"{len(body):_}")], body),
            ([("Content-Length", "9" * 30)], body),
            ([("Content-Length", "")], body),
        )
    )
    first = head(tag, rnd, rnd.choice(STATUSES), fields)
    # Some readers go on until the end of the connection: so it ends, and nothing of another's comes before that.
    return Plan("conflicting lengths", tag, Verdict.EITHER, [*cut(first + sent, rnd, len(first)), Do.CLOSE])


def odd_head(tag: str, rnd: random.Random) -> Plan:
    """A head that is not quite, or not at all, as it should be."""
    body = content(tag, rnd)
    length = f"Content-Length: {len(body)}\r\nX-Tag: {tag}\r\n"
    first = rnd.choice(
        (
            f"\r\nHTTP/1.1 200 OK\r\n{length}\r\n",
            f"HTTP/1.1 200\r\n{length}\r\n",
            f"HTTP/1.1  200  OK\r\n{length}\r\n",
            f"HTTP/1.1\t200\tOK\r\n{length}\r\n",
            f"http/1.1 200 OK\r\n{length}\r\n",
            f"HTTP/1.10 200 OK\r\n{length}\r\n",
            f"HTTP/2 200 OK\r\n{length}\r\n",
            f"HTTP/0.9 200 OK\r\n{length}\r\n",
            f"ICY 200 OK\r\n{length}\r\n",
            f"HTTP/1.1 20 OK\r\n{length}\r\n",
            f"HTTP/1.1 2000 OK\r\n{length}\r\n",
            f"HTTP/1.1 099 Low\r\n{length}\r\n",
            f"HTTP/1.1 000 Zero\r\n{length}\r\n",
            f"HTTP/1.1 -20 Negative\r\n{length}\r\n",
            f"HTTP/1.1 600 High\r\n{length}\r\n",
            f"HTTP/1.1 999 Highest\r\n{length}\r\n",
            f"HTTP/1.1 2x0 OK\r\n{length}\r\n",
            f"HTTP/1.1 ²00 OK\r\n{length}\r\n",
            f"HTTP/1.1 200 OK\n{length}\n".replace("\r\n", "\n"),
            f"HTTP/1.1 200 OK\r\n{length}\n",
            f"HTTP/1.1 200 OK\r\n{length}X-Folded: a\r\n  b\r\n\r\n",
            f"HTTP/1.1 200 OK\r\n X-Folded: a\r\n{length}\r\n",
            f"HTTP/1.1 200 OK\r\n{length}no colon\r\n\r\n",
            f"HTTP/1.1 200 OK\r\n{length}X-Space : a\r\n\r\n",
            f"HTTP/1.1 200 OK\r\n{length}: no name\r\n\r\n",
            f"HTTP/1.1 200 OK\r\n{length}X-Nul: a\0b\r\n\r\n",
            f"HTTP/1.1 200 OK\r\n{length}X-Cr: a\rb\r\n\r\n",
            f"HTTP/1.1 200 OK\r\n{length}X-Latin: \xe9\r\n\r\n",
            f"HTTP/1.1 200 OK\r\n{length}{MANY}\r\n",
            f"HTTP/1.1 200 OK\r\n{length}X-Long: {'z' * 70_000}\r\n\r\n",
            f"HTTP/1.1 200 {'long ' * 14_000}\r\n{length}\r\n",
        )
    ).encode("utf-8")
    # Some readers take such a head for the beginning of a body that ends with the connection.
    return Plan("odd head", tag, Verdict.EITHER, [*cut(first + body, rnd, len(first)), Do.CLOSE])


def switching(tag: str, rnd: random.Random) -> Plan:
    """101, though the client did not ask for another protocol, and then what may be of any protocol."""
    fields = rnd.choice(
        (b"", b"Upgrade: h2c\r\nConnection: upgrade\r\n", b"Upgrade: websocket\r\nConnection: Upgrade\r\n")
    )
    data = b"HTTP/1.1 101 Switching Protocols\r\nX-Tag: " + foreign(rnd, tag).encode() + b"\r\n" + fields + b"\r\n"
    after = rnd.choice((b"", whole(tag, rnd), whole(foreign(rnd, tag), rnd)))
    ending = rnd.choice((Do.CLOSE, Do.CLOSE, Do.RESET, None, None, None))
    plan = Plan("101", tag, Verdict.ERROR, [*before(tag, rnd), *cut(data + after, rnd, len(data))])
    if ending is not None:
        plan.steps.append(ending)
    plan.late = later(tag, rnd) if rnd.random() < 0.3 else ()
    return plan


def interim_alone(tag: str, rnd: random.Random) -> Plan:
    """Interim responses, and never a final one."""
    steps: list[Step] = []
    for _ in range(rnd.choice((1, 1, 2, 5))):
        steps += [interim(tag, rnd), rnd.choice((0.0, 0.001, 0.01))]
    ending = rnd.choice((Do.CLOSE,) * 8 + (Do.RESET,) * 8 + (Do.SILENCE,) * 3)
    return Plan("interim responses alone", tag, Verdict.ERROR, [*steps, ending])


def many_interim(tag: str, rnd: random.Random) -> Plan:
    """So many interim responses, or such large ones, that a client may give up."""
    kind = rnd.randrange(3)
    if kind == 0:
        data = b"".join(interim(tag, rnd) for _ in range(rnd.choice((20, 200, 2000))))
    else:
        lines = "".join(f"X-{number}: {'y' * 900}\r\n" for number in range(90 if kind == 1 else 40))
        data = f"HTTP/1.1 103 Early Hints\r\n{lines}\r\n".encode() * rnd.choice((1, 5))
    steps: list[Step] = [data[begin : begin + 30_000] for begin in range(0, len(data), 30_000)]
    return Plan("many interim responses", tag, Verdict.EITHER, [*steps, whole(tag, rnd)])


def interim_with_body(tag: str, rnd: random.Random) -> Plan:
    """An interim response that says that it has a body, with the body and without it; then the final response."""
    length = rnd.choice(("Content-Length: 5", "Transfer-Encoding: chunked"))
    body = rnd.choice((b"", b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n"))
    first = f"HTTP/1.1 {rnd.choice((100, 102, 103))} Interim\r\n{length}\r\n\r\n".encode() + body
    # With or without a body, the client can only read the next bytes as a head, or give up.
    return Plan("interim response with a body", tag, Verdict.EITHER, [first, rnd.choice((0.0, 0.005)), whole(tag, rnd)])


def nothing(tag: str, rnd: random.Random) -> Plan:
    """No response at all."""
    ending = rnd.choice((Do.CLOSE,) * 8 + (Do.RESET,) * 8 + (Do.SILENCE,) * 2)
    return Plan("nothing", tag, Verdict.ERROR, [rnd.choice((0.0, 0.002)), ending])


def early(tag: str, rnd: random.Random) -> Plan:
    """A correct response, before the body of the request was read; the connection can be used again after that."""
    plan = good(tag, rnd)
    while Do.CLOSE in plan.steps:
        plan = good(tag, rnd)
    plan.name, plan.early, plan.method = "early", True, "POST"
    # The large ones do not fit into the buffers of the system.
    plan.size = rnd.choice((20, 20, 3000, 100_000, 100_000) + (1_000_000,) * (rnd.random() < 0.1))
    return plan


def early_end(tag: str, rnd: random.Random) -> Plan:
    """A response, and the end of the connection, before the body of the request was read."""
    data = whole(tag, rnd)
    size = rnd.choice((20, 3000, 100_000) + (1_000_000,) * (rnd.random() < 0.1))
    steps: list[Step] = [*cut(data, rnd, len(data)), rnd.choice((Do.CLOSE, Do.RESET))]
    return Plan("early end", tag, Verdict.EITHER, steps, early=True, size=size)


def reset_after(tag: str, rnd: random.Random) -> Plan:
    """A response, and then a reset: the response may be lost with it."""
    data = whole(tag, rnd)
    return Plan("reset after the response", tag, Verdict.EITHER, [*cut(data, rnd, len(data)), Do.RESET])


KINDS: dict[Callable[[str, random.Random], Plan], int] = {
    good: 70,
    followed: 14,
    followed_by_garbage: 5,
    without_body: 5,
    too_short: 4,
    truncated: 4,
    broken_chunks: 4,
    conflicting: 5,
    odd_head: 5,
    switching: 2,
    interim_alone: 2,
    many_interim: 1,
    interim_with_body: 1,
    nothing: 3,
    early: 4,
    early_end: 2,
    reset_after: 2,
}


def plan_of(tag: str) -> Plan:
    """The plan for a request. It depends on the tag and on nothing else."""
    rnd = random.Random(tag)
    (kind,) = rnd.choices(list(KINDS), list(KINDS.values()))
    return kind(tag, rnd)


# --- the server -----------------------------------------------------------------------------------------


class Connection:
    """One connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.late: tuple[Step, ...] = ()

    async def take(self, step: Step) -> None:
        """Carry out a step."""
        if isinstance(step, bytes):
            self.writer.write(step)
            await self.writer.drain()
        elif isinstance(step, float):
            await asyncio.sleep(step)
        elif step is Do.CLOSE:
            self.writer.close()
        elif step is Do.RESET:
            with suppress(OSError):
                self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            self.writer.transport.abort()
        else:
            while await self.reader.read(65536):
                pass

    async def send_late(self) -> None:
        late, self.late = self.late, ()
        for step in late:
            await self.take(step)
            if isinstance(step, bytes):
                await self.delivered()
        # asyncio closes sockets in its next round.
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def delivered(self) -> None:
        """Wait until what was written has reached the client's side of the loopback interface.

        It may be held back for some 40 ms: the many small segments from before count against the congestion window
        until the client's system acknowledges them.
        """
        if not sys.platform.startswith("linux"):
            await asyncio.sleep(0.1)
            return
        import fcntl

        number = self.writer.get_extra_info("socket").fileno()
        while number >= 0 and struct.unpack("i", fcntl.ioctl(number, _SIOCOUTQNSD, b"\0" * 4)) != (0,):
            await asyncio.sleep(0.001)


class Server:
    """A server that carries out plans, in a thread.

    Attributes:
        url: where it is.
        connections: how many there have been.
        received: tags of the requests whose head has arrived.
        plan: gives the plan for a tag.
        greeting: what is sent on each new connection, before anything is read.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.connections = 0
        self.received: set[str] = set()
        self.plan: Callable[[str], Plan] = plan_of
        self.greeting = b""
        self._open: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._context = context
        self._loop = asyncio.new_event_loop()
        # Small, so that a large request waits for being read.
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=200)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
        scheme = "http" if context is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server: asyncio.Server = self._run(
            asyncio.start_server(self._serve, sock=self._socket, ssl=context, limit=1 << 16)
        ).result(PATIENCE)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._end()).result(PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    def send_late(self) -> Future[None]:
        """Send what is to come late. When the result is there, it has been sent."""
        return self._run(self._send_late())

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    async def _end(self) -> None:
        self._server.close()
        for connection in list(self._open):
            connection.writer.transport.abort()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _send_late(self) -> None:
        for connection in list(self._open):
            with suppress(OSError):
                await connection.send_late()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open.add(connection)
        self.connections += 1
        try:
            # The client may go away at any point.
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await connection.take(self.greeting)
                while await self._answer(connection):
                    pass
        finally:
            self._tasks.discard(task)
            self._open.discard(connection)
            writer.transport.abort()

    async def _answer(self, connection: Connection) -> bool:
        """Answer one request. False when the connection is at its end."""
        head = (await connection.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        found = TAG.search(head.partition("\r\n")[0])
        assert found is not None, head
        plan = self.plan(found[0])
        length = re.search(r"\r\ncontent-length: *(\d+)", head, re.I)
        size = 0 if length is None else int(length[1])
        self.received.add(plan.tag)
        if not plan.early:
            await connection.reader.readexactly(size)
        # Before the response: when the client has that, this is known.
        connection.late = plan.late
        for step in plan.steps:
            await connection.take(step)
            if isinstance(step, Do):
                return False
        if plan.early:
            await connection.reader.readexactly(size)
        return True


# --- calls ----------------------------------------------------------------------------------------------


def operation(plan: Plan) -> Operation:
    return Operation(
        name="call",
        method=plan.method,
        path="/call/{tag}",
        signed=False,
        accept=("application/json",),
        content_type="application/octet-stream" if plan.method == "POST" else None,
        responses={"200": "Dict[str, object]", "201": "Dict[str, object]", "204": None},
        models="cybersource_flex.models",
        repeatable=plan.method == "GET",
    )


Outcome = ApiResponse[Any] | BaseException


def request_of(plan: Plan, settings: Settings) -> tuple[Operation, Any, float | None]:
    made = operation(plan)
    body = b"b" * plan.size if plan.method == "POST" else None
    return made, made.request(settings, path={"tag": plan.tag}, body=body), SHORT if plan.waits else None


def call(transport: Transport, settings: Settings, plan: Plan) -> Outcome:
    made, request, timeout = request_of(plan, settings)
    try:
        return made.result(transport.send(request, timeout=timeout))
    except Exception as error:
        return error


async def acall(transport: AsyncTransport, settings: Settings, plan: Plan) -> Outcome:
    made, request, timeout = request_of(plan, settings)
    try:
        # The limit of the test is longer than that of the call: it is never reached.
        return made.result(await asyncio.wait_for(transport.send(request, timeout=timeout), 2 * PATIENCE))
    except Exception as error:
        return error


def complaint(plan: Plan, outcome: Outcome, received: bool, strict: bool = True) -> str | None:
    """What is wrong with the outcome of a call; None if nothing is.

    Args:
        strict: whether bytes after a response must leave it as it is. aiohttp parses a piece of data as a whole, and
            refuses the response together with what follows it.
    """
    if isinstance(outcome, errors.TransportError):
        if received and outcome.outcome != "unknown":
            return f"the request was received, and the outcome is {outcome.outcome}"
        if outcome.safe_to_retry and outcome.outcome != "not_sent" and plan.method == "POST":
            return "safe to retry, though it may have been done and is not repeatable"
        if received and plan.verdict is Verdict.RESPONSE and (strict or not plan.name.startswith("followed")):
            return f"no response: {outcome}"
        return None
    if isinstance(outcome, ApiResponse):
        status, body, headers = outcome.status_code, outcome.raw_data, outcome.headers
    elif isinstance(outcome, errors.ApiException):
        status, body, headers = outcome.status, outcome.body, outcome.headers
    else:
        return f"{type(outcome).__name__}: {outcome}"
    seen = set(TAG.findall(f"{dict(headers)} {body.decode('latin-1')}"))
    if seen - {plan.tag} or headers.get("X-Tag") != plan.tag:
        return f"a response to another request: {status} with {sorted(seen)}"
    if status < 200:
        return f"status {status} reported as a response"
    if plan.verdict is Verdict.ERROR:
        return f"a response where there is none: {status} {body[:100]!r}"
    if plan.verdict is Verdict.RESPONSE and (status, body) != (plan.status, plan.body):
        return f"another response than the server made: {status} {body[:100]!r}"
    return None


def check(plans: list[Plan], outcomes: list[Outcome], received: set[str], seed: int, strict: bool = True) -> int:
    """Fail with what is wrong with the outcomes of a round. Returns how many requests the server did not receive."""
    found = [
        f"{wrong}\n{plan}\n"
        for plan, outcome in zip(plans, outcomes, strict=True)
        if (wrong := complaint(plan, outcome, plan.tag in received, strict)) is not None
    ]
    if found:
        pytest.fail(f"seed {seed}, {len(found)} of {len(plans)} calls:\n\n" + "\n".join(found[:3]), pytrace=False)
    return sum(plan.tag not in received for plan in plans)


def check_end(plans: list[Plan], outcomes: list[Outcome], server: Server, before: int, lost: int, seed: int) -> None:
    """The client still works, and it did not give up more than it had to."""
    check(plans, outcomes, server.received, seed)
    assert [type(each) for each in outcomes] == [ApiResponse] * len(plans)
    assert server.connections <= before + 1, "one fresh connection is enough"
    # Lost without a fault of the client: requests on a connection that the server closed after a response, just when
    # the client had looked. Only a small part of the plans does that.
    assert lost < EACH * 0.15, "requests were sent on connections that had ended long before"


def rounds(seed: int, total: int) -> Iterator[list[Plan]]:
    tags = [f"T{seed}N{number}E" for number in range(total)]
    size = WORKERS * IN_A_ROUND
    for begin in range(0, total, size):
        yield [plan_of(tag) for tag in tags[begin : begin + size]]


def settings_for(server: Server, authority: Path | None = None) -> Settings:
    tls = None if authority is None else Tls(ca_file=authority)
    return Settings(
        host=server.url,
        tls=tls,
        retry=RetryPolicy(attempts=1, deadline=PATIENCE),
        read_timeout=PATIENCE,
        pool_size=WORKERS,
    )


def fine(tag: str) -> Plan:
    """A well-behaved server."""
    body = json.dumps({"tag": tag}).encode()
    first = f"HTTP/1.1 200 OK\r\nX-Tag: {tag}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    return Plan("fine", tag, Verdict.RESPONSE, [first + body], 200, body)


def in_threads(server: Server, settings: Settings, seed: int, total: int) -> None:
    with Transport(settings) as transport, ThreadPoolExecutor(WORKERS) as workers:

        def work(plans: list[Plan]) -> list[Outcome]:
            return [call(transport, settings, plan) for plan in plans]

        lost = 0
        for plans in rounds(seed, total):
            parts = [plans[begin::WORKERS] for begin in range(WORKERS)]
            outcomes = [each for part in workers.map(work, parts) for each in part]
            lost += check([each for part in parts for each in part], outcomes, server.received, seed)
            server.send_late().result(PATIENCE)
        server.plan, before = fine, server.connections
        plans = [fine(f"T{seed}N{number}E") for number in range(total, total + 10)]
        check_end(plans, work(plans), server, before, lost, seed)


async def in_tasks(server: Server, settings: Settings, seed: int, total: int) -> None:
    async with AsyncTransport(settings) as transport:

        async def work(plans: list[Plan]) -> list[Outcome]:
            return [await acall(transport, settings, plan) for plan in plans]

        lost = 0
        for number, plans in enumerate(rounds(seed, total)):
            parts = [plans[begin::WORKERS] for begin in range(WORKERS)]
            outcomes = [each for part in await asyncio.gather(*map(work, parts)) for each in part]
            lost += check([each for part in parts for each in part], outcomes, server.received, seed, strict=False)
            late = server.send_late()
            if number % 2:
                # The loop sees what arrives as it arrives.
                await asyncio.wrap_future(late)
            else:
                # The program does something else meanwhile. The loop has seen nothing when the next call begins.
                late.result(PATIENCE)
        server.plan, before = fine, server.connections
        plans = [fine(f"T{seed}N{number}E") for number in range(total, total + 10)]
        check_end(plans, await work(plans), server, before, lost, seed)


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS context, and the file with the authority that its certificate is from."""
    import trustme

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    file = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(file)
    return context, file


@pytest.mark.parametrize("seed", range(TOTAL // EACH))
def test_threads_get_their_own_responses(seed: int) -> None:
    with Server() as server:
        in_threads(server, settings_for(server), seed, EACH)


@pytest.mark.parametrize("seed", range(TOTAL // EACH))
def test_tasks_get_their_own_responses(seed: int) -> None:
    with Server() as server:
        asyncio.run(in_tasks(server, settings_for(server), seed, EACH))


@pytest.mark.parametrize("seed", range(1000, 1003))
def test_threads_get_their_own_responses_through_tls(seed: int, certified: tuple[ssl.SSLContext, Path]) -> None:
    with Server(certified[0]) as server:
        in_threads(server, settings_for(server, certified[1]), seed, EACH)


@pytest.mark.parametrize("seed", range(1000, 1003))
def test_tasks_get_their_own_responses_through_tls(seed: int, certified: tuple[ssl.SSLContext, Path]) -> None:
    with Server(certified[0]) as server:
        asyncio.run(in_tasks(server, settings_for(server, certified[1]), seed, EACH))


def test_all_kinds_of_plans_are_made_and_are_the_same_each_time() -> None:
    plans = [plan for seed in range(TOTAL // EACH) for part in rounds(seed, EACH) for plan in part]
    assert len(plans) == TOTAL
    names = {plan.name for plan in plans}
    assert len(names) == len(KINDS)
    for verdict in Verdict:
        assert sum(plan.verdict is verdict for plan in plans) > TOTAL // 20
    # Plans that wait for a timeout are few.
    assert 10 < sum(plan.waits for plan in plans) < TOTAL // 50
    shown = os.environ.get("PLAN")
    assert [str(plan) for plan in plans[:50]] == [str(plan_of(plan.tag)) for plan in plans[:50]]
    if shown:
        pytest.fail(str(plan_of(shown)), pytrace=False)


# --- single cases ---------------------------------------------------------------------------------------

OWN = b"HTTP/1.1 200 OK\r\nX-Tag: $OWN\r\nContent-Length: 2\r\n\r\n{}"
OTHER = b"HTTP/1.1 200 OK\r\nX-Tag: $OTHER\r\nContent-Length: 2\r\n\r\n{}"
EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\n\r\n"
TIMEOUT_408 = b"HTTP/1.1 408 Request Timeout\r\nX-Tag: $OTHER\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Client:
    """Calls through a transport, each with steps of its own for the server."""

    def __init__(self, server: Server, transport: Any, settings: Settings) -> None:
        self.server, self.transport, self.settings = server, transport, settings
        self._plans: dict[str, Plan] = {}
        server.plan = self._plans.__getitem__

    def plan(self, *steps: Step, late: tuple[Step, ...] = (), **others: Any) -> Plan:
        """The next plan. In its steps, ``$OWN`` is the tag of the request and ``$OTHER`` that of another one."""
        number = len(self._plans)
        tag, other = f"T0N{number}E", f"T0N{9_000_000 + number}E"

        def filled(step: Step) -> Step:
            return (
                step.replace(b"$OWN", tag.encode()).replace(b"$OTHER", other.encode())
                if isinstance(step, bytes)
                else step
            )

        arguments = {"verdict": Verdict.RESPONSE, "status": 200, "body": b"{}", "method": "POST", **others}
        made = Plan("single", tag, steps=list(map(filled, steps)), late=tuple(map(filled, late)), **arguments)
        self._plans[tag] = made
        return made

    def call(
        self, *steps: Step, timeout: float | None = None, retry: RetryPolicy | None = None, **others: Any
    ) -> Outcome:
        """Make a call for which the server takes these steps. It must come to what the verdict says."""
        plan = self.plan(*steps, **others)
        made, request, _ = request_of(plan, self.settings)
        outcomes: list[Outcome] = []

        def work() -> None:
            try:
                outcomes.append(made.result(self.transport.send(request, timeout=timeout, retry=retry)))
            except Exception as error:
                outcomes.append(error)

        # In a thread, so that a call that never ends fails its own test and holds up no other.
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        thread.join(2 * PATIENCE)
        assert outcomes, "the call did not end by its deadline"
        (outcome,) = outcomes
        assert complaint(plan, outcome, plan.tag in self.server.received) is None
        if plan.verdict is not Verdict.EITHER:
            assert isinstance(outcome, errors.TransportError) == (plan.verdict is Verdict.ERROR), repr(outcome)
        return outcome

    def still_works(self, connections: int | None) -> None:
        """Some more calls, none of which can be repeated, get their own responses; so many connections were needed."""
        for number in range(4):
            body = b'{"number": %d}' % number
            head = b"HTTP/1.1 200 OK\r\nX-Tag: $OWN\r\nContent-Length: %d\r\n\r\n" % len(body)
            assert isinstance(self.call(head + body, body=body), ApiResponse)
        assert connections in (None, self.server.connections)


Carry = Callable[[Settings], Any]


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        yield made


@pytest.fixture
def client(server: Server, carry: Carry) -> Iterator[Client]:
    settings = settings_for(server)
    with carry(settings) as transport:
        yield Client(server, transport, settings)


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
def test_interim_responses_are_read_past(
    first: list[Step], final: bytes, status: int, body: bytes, client: Client
) -> None:
    client.call(*first, final, status=status, body=body)
    client.still_works(connections=1)
    # All in one segment.
    client.call(b"".join(step for step in first if isinstance(step, bytes)) + final, status=status, body=body)
    client.still_works(connections=1)


@pytest.mark.parametrize("before", [b"", EARLY_HINTS])
@pytest.mark.parametrize("upgrade", [b"", b"Upgrade: h2c\r\nConnection: upgrade\r\n", b"Content-Length: 2\r\n"])
@pytest.mark.parametrize("after", [(), (OWN,), (OTHER,), (0.05, OWN), (Do.CLOSE,), (b"PRI * HTTP/2.0\r\n\r\n",)])
def test_a_protocol_that_nobody_asked_for_ends_the_connection(
    before: bytes, upgrade: bytes, after: tuple[Step, ...], client: Client
) -> None:
    head = before + b"HTTP/1.1 101 Switching Protocols\r\n" + upgrade + b"\r\n"
    steps = [head + after[0], *after[1:]] if after and isinstance(after[0], bytes) else [head, *after]
    outcome = client.call(*steps, verdict=Verdict.ERROR)
    assert isinstance(outcome, errors.ConnectionBrokenError)
    assert (outcome.outcome, outcome.safe_to_retry) == ("unknown", False)
    client.still_works(connections=2)


@pytest.mark.parametrize("status", ["000", "001", "099"])
def test_a_status_that_is_none_is_no_response(status: str, client: Client) -> None:
    head = f"HTTP/1.1 {status} Low\r\nX-Tag: $OWN\r\nContent-Length: 2\r\n\r\n{{}}".encode()
    outcome = client.call(head, verdict=Verdict.ERROR)
    assert (outcome.outcome, outcome.safe_to_retry) == ("unknown", False)  # type: ignore[union-attr]
    client.still_works(connections=2)


@pytest.mark.parametrize("ending", [Do.CLOSE, Do.RESET])
@pytest.mark.parametrize(
    "first", [EARLY_HINTS, b"HTTP/1.1 100 Continue\r\n\r\n", EARLY_HINTS * 3, EARLY_HINTS + OWN[:20]]
)
def test_interim_responses_without_a_final_one(first: bytes, ending: Do, client: Client) -> None:
    outcome = client.call(first, ending, verdict=Verdict.ERROR)
    assert isinstance(outcome, errors.ConnectionBrokenError)
    client.still_works(connections=2)


@pytest.mark.parametrize(
    "first", [EARLY_HINTS, b"HTTP/1.1 100 Continue\r\n\r\n", EARLY_HINTS * 3, EARLY_HINTS + OWN[:20]]
)
def test_the_read_timeout_holds_after_an_interim_response(first: bytes, client: Client) -> None:
    began = time.monotonic()
    outcome = client.call(first, Do.SILENCE, verdict=Verdict.ERROR, timeout=0.2)
    assert isinstance(outcome, errors.ResponseTimeoutError)
    assert 0.15 < time.monotonic() - began < PATIENCE / 2, "not only the deadline"
    client.still_works(connections=2)


def test_interim_responses_do_not_hold_up_the_deadline(client: Client) -> None:
    began = time.monotonic()
    steps: list[Step] = [EARLY_HINTS, 0.02] * 250
    outcome = client.call(*steps, OWN, verdict=Verdict.ERROR, retry=RetryPolicy(attempts=1, deadline=0.4))
    assert isinstance(outcome, errors.TransportError)
    assert time.monotonic() - began < 2
    client.still_works(connections=2)


@pytest.mark.parametrize("data", [EARLY_HINTS * 100_000, b"HTTP/1.1 103 A\r\n" + b"X-A: b\r\n" * 400_000 + b"\r\n"])
def test_interim_responses_are_bounded(data: bytes, client: Client) -> None:
    client.call(*(data[begin : begin + 60_000] for begin in range(0, len(data), 60_000)), OWN, verdict=Verdict.ERROR)
    client.still_works(connections=2)


@pytest.mark.parametrize(
    "surplus", [OTHER, OTHER * 3, OTHER[:1], OTHER[:30], OTHER[:-1], EARLY_HINTS, EARLY_HINTS + OTHER, OTHER + b"x"]
)
@pytest.mark.parametrize("ending", [(), (Do.CLOSE,)])
def test_what_follows_a_response_is_never_used(surplus: bytes, ending: tuple[Step, ...], client: Client) -> None:
    verdict = Verdict.EITHER if surplus.endswith(b"x") else Verdict.RESPONSE
    client.call(OWN + surplus, *ending, verdict=verdict)
    client.still_works(connections=2)


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
    # A line break alone is not the beginning of anything, and may be passed over.
    client.still_works(connections=None if surplus == b"\r\n" else 2)


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
    (TIMEOUT_408, Do.CLOSE),
    (Do.CLOSE,),
    (Do.RESET,),
    (OTHER, Do.CLOSE),
]


@pytest.mark.parametrize("late", LATE)
def test_what_arrives_on_an_idle_connection_is_never_used(late: tuple[Step, ...], client: Client) -> None:
    client.call(OWN, late=late)
    client.server.send_late().result(PATIENCE)
    client.still_works(connections=2)


@pytest.mark.parametrize("late", LATE)
def test_what_arrived_while_the_loop_was_busy_is_never_used(late: tuple[Step, ...], server: Server) -> None:
    # The system has it, the loop has not looked: it would be the first that is read after the next request is sent.
    settings = settings_for(server)

    async def run() -> list[Outcome]:
        async with AsyncTransport(settings) as transport:
            fake = Client(server, transport, settings)
            outcomes = [await acall(transport, settings, fake.plan(OWN, late=late))]
            server.send_late().result(PATIENCE)
            return [*outcomes, *[await acall(transport, settings, fake.plan(OWN)) for _ in range(3)]]

    outcomes = asyncio.run(run())
    assert [type(each) for each in outcomes] == [ApiResponse] * 4
    assert [each.headers["X-Tag"] for each in outcomes] == [f"T0N{number}E" for number in range(4)]  # type: ignore[union-attr]
    assert server.connections == 2


def test_every_idle_connection_is_looked_at(server: Server, carry: Carry) -> None:
    settings, width = settings_for(server), 8
    with carry(settings) as transport, ThreadPoolExecutor(width) as workers:
        client = Client(server, transport, settings)

        def at_once(late: tuple[Step, ...]) -> None:
            # Each response waits, so that each call has a connection to itself.
            plans = [client.plan(0.1, OWN, late=late) for _ in range(width)]
            outcomes = list(workers.map(lambda plan: call(transport, settings, plan), plans))
            assert [complaint(*each, True) for each in zip(plans, outcomes, strict=True)] == [None] * width

        at_once((OTHER,))
        server.send_late().result(PATIENCE)
        at_once((Do.CLOSE,))
        server.send_late().result(PATIENCE)
        at_once(())
        assert server.connections == 3 * width


@pytest.mark.skipif(sys.platform == "win32", reason="NOT TESTED: the event loop there connects in another way")
@pytest.mark.parametrize("greeting", [OTHER, OTHER[:30], EARLY_HINTS + OTHER, TIMEOUT_408])
def test_a_response_before_the_request_is_never_used(
    greeting: bytes, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Both ways to connect, made to return when the server's first bytes have arrived, as they may have in life.
    connect = socket.socket.connect
    loop_connect = asyncio.selector_events.BaseSelectorEventLoop.sock_connect

    def late(self: socket.socket, address: Any) -> None:
        connect(self, address)
        if self.getpeername()[1] == int(client.server.url.rpartition(":")[2]):
            select.select([self], [], [], PATIENCE)

    async def loop_late(self: Any, sock: socket.socket, address: Any) -> None:
        await loop_connect(self, sock, address)
        while not select.select([sock], [], [], 0)[0]:
            await asyncio.sleep(0.001)

    monkeypatch.setattr(socket.socket, "connect", late)
    monkeypatch.setattr(asyncio.selector_events.BaseSelectorEventLoop, "sock_connect", loop_late)
    client.server.greeting = greeting.replace(b"$OTHER", b"T0N9000000E")
    outcome = client.call(OWN, verdict=Verdict.ERROR)
    assert isinstance(outcome, errors.TransportError)
    monkeypatch.undo()
    client.server.greeting = b""
    client.still_works(connections=client.server.connections + 1)


def test_a_response_after_the_timeout_is_never_used(client: Client) -> None:
    plan = client.plan(0.15, OWN)
    _, request, _ = request_of(plan, client.settings)
    with pytest.raises(errors.ResponseTimeoutError) as caught:
        client.transport.send(request, timeout=0.05)
    assert (caught.value.outcome, caught.value.safe_to_retry) == ("unknown", False)
    client.still_works(connections=2)


def test_a_response_to_a_cancelled_task_is_never_used(server: Server) -> None:
    settings = settings_for(server)

    async def run() -> Outcome:
        async with AsyncTransport(settings) as transport:
            fake = Client(server, transport, settings)
            first = fake.plan(0.05, OWN)
            task = asyncio.ensure_future(acall(transport, settings, first))
            while first.tag not in server.received:
                await asyncio.sleep(0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return await acall(transport, settings, fake.plan(0.1, OWN))

    outcome = asyncio.run(run())
    assert isinstance(outcome, ApiResponse)
    assert outcome.headers["X-Tag"] == "T0N1E"
    assert server.connections == 2


@pytest.mark.parametrize("size", [20, 1_000_000])
@pytest.mark.parametrize("status", [400, 503])
def test_a_response_before_the_body_was_read(size: int, status: int, client: Client) -> None:
    own = OWN.replace(b"200", str(status).encode())
    outcome = client.call(own, status=status, early=True, size=size)
    assert isinstance(outcome, errors.ApiException)
    assert (outcome.status, outcome.outcome) == (status, "rejected")
    client.still_works(connections=client.server.connections)
    # The server reads no more of it.
    own = own.replace(b"Content-Length", b"Connection: close\r\nContent-Length")
    for step in (Do.CLOSE, Do.RESET):
        client.call(own, step, status=status, early=True, size=size, verdict=Verdict.EITHER)
        client.still_works(connections=client.server.connections + 1)


@pytest.mark.parametrize("pieces", [(OWN + OTHER,), (OWN, OTHER), (OWN + OTHER * 400,)])
def test_surplus_bytes_inside_tls(
    pieces: tuple[bytes, ...], certified: tuple[ssl.SSLContext, Path], carry: Carry
) -> None:
    # In one record, in two, and more than a record holds: what OpenSSL has decrypted and not given out yet, the system
    # no longer has.
    with Server(certified[0]) as server:
        settings = settings_for(server, certified[1])
        with carry(settings) as transport:
            client = Client(server, transport, settings)
            client.call(pieces[0], late=pieces[1:])
            server.send_late().result(PATIENCE)
            client.still_works(connections=2)


def test_connections_are_used_again(client: Client) -> None:
    """All of the above would hold for a client that opens a connection for each call."""
    for _ in range(20):
        client.call(OWN)
        client.call(b"HTTP/1.1 200 OK\r\nX-Tag: $OWN\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
    assert client.server.connections == 1


def test_connections_are_used_again_through_tls(certified: tuple[ssl.SSLContext, Path], carry: Carry) -> None:
    # TLS 1.3 sends session tickets after the handshake: they are no response, and no reason for another connection.
    with Server(certified[0]) as server:
        settings = settings_for(server, certified[1])
        with carry(settings) as transport:
            client = Client(server, transport, settings)
            for _ in range(20):
                client.call(OWN)
            assert server.connections == 1
