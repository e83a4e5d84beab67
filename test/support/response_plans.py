"""Random plans of valid and invalid HTTP responses, to test that a call returns the response to its own request.

Each request has a tag in its path. A plan says what the server sends for that request. The response contains the tag,
and all other bytes contain the tags of other requests. A plan depends only on the tag.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

TAG = re.compile(r"T\d+N\d+E")


class Verdict(Enum):
    """The expected result of a call."""

    RESPONSE = "the response of the plan"
    ERROR = "a TransportError"
    EITHER = "a response to this request, or a TransportError"


class Action(Enum):
    """Steps of a plan other than sending bytes and waiting."""

    CLOSE = "close the connection"
    RESET = "reset the connection"
    SILENCE = "send nothing until the client closes the connection"


# Bytes to send, seconds to wait, or an action.
Step = bytes | float | Action


@dataclass
class Plan:
    """What the server does with one request.

    Attributes:
        name: the kind of plan.
        tag: the tag of the request.
        verdict: the expected result of the call.
        steps: what the server does. Each byte string is sent in one segment.
        status: the expected status, or None if there is more than one.
        body: the expected body, or None if there is more than one.
        early: whether the server responds before it reads the body of the request.
        late: steps between two rounds, if the connection is still open then.
        size: length of the request's body.
        method: the method of the request. By default every second request is a POST, and so is each with ``early``.
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
        """Whether the server leaves the connection open without a complete response, so that the call times out."""
        return Action.SILENCE in self.steps

    def __str__(self) -> str:
        def describe(step: Step) -> str:
            if isinstance(step, bytes):
                return repr(step) if len(step) < 700 else f"{step[:600]!r}...{step[-80:]!r} ({len(step)} bytes)"
            return f"wait {step:.4f} s" if isinstance(step, float) else step.value

        lines = [f"{self.tag}: {self.name}: {self.method}, {self.verdict.value}{', early' if self.early else ''}"]
        lines += [f"    {describe(step)}" for step in self.steps]
        lines += [f"    late: {describe(step)}" for step in self.late]
        return "\n".join(lines)


STATUSES = (200, 200, 200, 201, 400, 401, 403, 404, 409, 429, 500, 502, 503)
REASONS = {200: "OK", 201: "Created", 400: "Bad Request", 404: "Not Found", 503: "Service Unavailable"}
MANY = "X-Many: 1\r\n" * 400
INTERIM = {100: "Continue", 102: "Processing", 103: "Early Hints"}


def other_tag(rng: random.Random, tag: str) -> str:
    """The tag of another request. No plan has it, so it differs from the tag of this request."""
    return f"{tag.partition('N')[0]}N{rng.randrange(9_000_000, 9_999_999)}E"


def content(tag: str, rng: random.Random) -> bytes:
    fill = "x" * rng.choice((0, 0, 0, 10, 200, 3000, 9000))
    return json.dumps({"tag": tag, "fill": fill}).encode()


def head(tag: str, rng: random.Random, status: int, fields: list[tuple[str, str]], version: str = "1.1") -> bytes:
    """A response head in one of the forms that every client must accept."""
    fields = [("X-Tag", tag), ("Content-Type", "application/json"), *fields]
    if rng.random() < 0.2:
        fields.append(("X-Fill", "y" * rng.choice((1, 100, 3000))))
    if rng.random() < 0.5:
        rng.shuffle(fields)
    case = rng.choice((str, str.lower, str.upper))
    colon = rng.choice((": ", ": ", ":", ":   "))
    reason = rng.choice((REASONS.get(status, "Something"), REASONS.get(status, "Something"), "", "a b"))
    lines = [f"HTTP/{version} {status} {reason}", *(f"{case(name)}{colon}{value}" for name, value in fields)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def chunks(body: bytes, rng: random.Random, trailer: str | None = None) -> bytes:
    """A body with chunked transfer coding."""
    encoded, rest = b"", body
    while rest:
        size = rng.randint(1, len(rest))
        extension = rng.choice(("", "", ";a=b"))
        number = rng.choice(("%x", "%X", "0%x")) % size
        encoded += f"{number}{extension}\r\n".encode() + rest[:size] + b"\r\n"
        rest = rest[size:]
    return encoded + b"0\r\n" + (b"" if trailer is None else f"X-Tag: {trailer}\r\n".encode()) + b"\r\n"


def response_parts(
    tag: str, rng: random.Random, *, status: int | None = None, close: bool = False
) -> tuple[bytes, bytes, int, bytes]:
    """A well-formed response: its head, its encoded body, its status, its body."""
    status = rng.choice(STATUSES) if status is None else status
    body = content(tag, rng)
    fields = [("Connection", "close")] if close else []
    if rng.random() < 0.3:
        trailer = other_tag(rng, tag) if rng.random() < 0.3 else None
        return (
            head(tag, rng, status, [*fields, ("Transfer-Encoding", "chunked")]),
            chunks(body, rng, trailer),
            status,
            body,
        )
    return head(tag, rng, status, [*fields, ("Content-Length", str(len(body)))]), body, status, body


def response(tag: str, rng: random.Random) -> bytes:
    """A well-formed response."""
    head_bytes, body, _, _ = response_parts(tag, rng)
    return head_bytes + body


def interim(tag: str, rng: random.Random) -> bytes:
    """An interim response, with the tag of another request."""
    status = rng.choice((100, 102, 103, 103, 104, 199))
    lines = [f"HTTP/1.1 {status} {INTERIM.get(status, '')}"]
    if rng.random() < 0.7:
        lines += [f"X-Tag: {other_tag(rng, tag)}", "Link: </a.css>; rel=preload"][: rng.randint(1, 2)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def segments(data: bytes, rng: random.Random, until: int) -> list[Step]:
    """Split the data into segments before ``until``. The data from there on is in one segment."""
    steps: list[Step] = []
    count = rng.choice((0, 0, 1, 2, 5)) if until > 1 else 0
    begin = 0
    for end in sorted(rng.sample(range(1, until), min(count, until - 1))):
        steps.append(data[begin:end])
        if rng.random() < 0.3:
            steps.append(rng.choice((0.0, 0.001, 0.004)))
        begin = end
    return [*steps, data[begin:]]


def interim_steps(tag: str, rng: random.Random) -> list[Step]:
    """Interim responses before the final response. There are none in most cases."""
    steps: list[Step] = []
    for _ in range(rng.choice((0, 0, 0, 1, 1, 2, 4))):
        data = interim(tag, rng)
        steps += segments(data, rng, len(data))
        if rng.random() < 0.5:
            steps.append(rng.choice((0.001, 0.005, 0.01)))
    return steps


def surplus(tag: str, rng: random.Random) -> bytes:
    """Unsolicited bytes that look like the beginning of a response."""
    data = b"".join(response(other_tag(rng, tag), rng) for _ in range(rng.choice((1, 1, 1, 2))))
    if rng.random() < 0.2:
        data = interim(tag, rng) + data
    # Sometimes incomplete. The rest never arrives.
    return data[: rng.randint(1, len(data))] if rng.random() < 0.4 else data


def garbage(tag: str, rng: random.Random) -> bytes:
    """Unsolicited bytes that are not a response."""
    other = other_tag(rng, tag)
    return rng.choice(
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


def late_steps(tag: str, rng: random.Random) -> tuple[Step, ...]:
    """Steps on an idle connection."""
    kind = rng.randrange(7)
    if kind == 0:
        return (Action.CLOSE,)
    if kind == 1:
        return (Action.RESET,)
    if kind == 2:
        # Some servers send this before they close an idle connection.
        timeout = head(other_tag(rng, tag), rng, 408, [("Content-Length", "0"), ("Connection", "close")])
        return (timeout, Action.CLOSE)
    if kind == 3:
        return (garbage(tag, rng),)
    if kind == 4:
        return (interim(tag, rng),)
    return (surplus(tag, rng),)


def valid_response(tag: str, rng: random.Random) -> Plan:
    """A valid response, with or without interim responses. Afterwards the server may close the connection."""
    ending = rng.choice(("keep",) * 8 + ("close", "close header", "no length", "1.0", "1.0 keep"))
    plan = Plan("valid response", tag, Verdict.RESPONSE, interim_steps(tag, rng))
    if ending in ("no length", "1.0"):
        # The end of the connection is the end of the body, so no bytes can follow.
        plan.status, plan.body = rng.choice(STATUSES), content(tag, rng)
        fields = [("Connection", "close")] if ending == "no length" else []
        head_bytes, body = head(tag, rng, plan.status, fields, "1.0" if ending == "1.0" else "1.1"), plan.body
    elif ending == "1.0 keep":
        plan.status, plan.body = rng.choice(STATUSES), content(tag, rng)
        fields = [("Content-Length", str(len(plan.body))), ("Connection", "keep-alive")]
        head_bytes, body = head(tag, rng, plan.status, fields, "1.0"), plan.body
    else:
        head_bytes, body, plan.status, plan.body = response_parts(tag, rng, close=ending == "close header")
    data = head_bytes + body
    plan.steps += segments(data, rng, len(data))
    if "keep" in ending:
        plan.late = late_steps(tag, rng) if rng.random() < 0.3 else ()
    else:
        plan.steps.append(Action.CLOSE)
    return plan


def followed_by_response(tag: str, rng: random.Random) -> Plan:
    """Response splitting: the response is followed by bytes that look like the response to the next request."""
    head_bytes, body, status, expected_body = response_parts(tag, rng, close=rng.random() < 0.1)
    data = head_bytes + body
    plan = Plan("followed by a response", tag, Verdict.RESPONSE, interim_steps(tag, rng), status, expected_body)
    plan.steps += segments(data + surplus(tag, rng), rng, len(data))
    plan.late = late_steps(tag, rng) if rng.random() < 0.3 else ()
    return plan


def followed_by_garbage(tag: str, rng: random.Random) -> Plan:
    """The response is followed by bytes that are not a response."""
    head_bytes, body, _, _ = response_parts(tag, rng)
    data = head_bytes + body
    steps = segments(data + garbage(tag, rng), rng, len(data))
    return Plan("followed by garbage", tag, Verdict.EITHER, interim_steps(tag, rng) + steps)


def without_body(tag: str, rng: random.Random) -> Plan:
    """Status 204 or 304, which end with the head even if it announces a body, with or without bytes after it."""
    status = rng.choice((204, 304))
    fields = [[], [("Content-Length", "30")], [("Transfer-Encoding", "chunked")]][rng.choice((0, 0, 1, 2))]
    head_bytes = head(tag, rng, status, fields)
    after = rng.choice((b"", b"", content(tag, rng), chunks(content(tag, rng), rng), surplus(tag, rng)))
    plan = Plan("without a body", tag, Verdict.EITHER, interim_steps(tag, rng), status, b"")
    if not after:
        plan.verdict = Verdict.RESPONSE
    plan.steps += segments(head_bytes + after, rng, len(head_bytes))
    plan.late = late_steps(tag, rng) if rng.random() < 0.3 else ()
    return plan


def short_content_length(tag: str, rng: random.Random) -> Plan:
    """Content-Length is smaller than the body, so the rest of the body is where the next response should begin."""
    body = content(tag, rng)
    rest = rng.choice((b"", surplus(tag, rng)))
    length = rng.randint(0, len(body) - 1)
    head_bytes = head(tag, rng, rng.choice(STATUSES), [("Content-Length", str(length))])
    steps = segments(head_bytes + body + rest, rng, len(head_bytes))
    return Plan("short Content-Length", tag, Verdict.EITHER, interim_steps(tag, rng) + steps)


def truncated(tag: str, rng: random.Random) -> Plan:
    """The head or the body is incomplete."""
    head_bytes, body, _, _ = response_parts(tag, rng)
    data = (
        (head_bytes + body)[: -rng.randint(1, len(body))]
        if rng.random() < 0.7
        else head_bytes[: rng.randint(1, len(head_bytes) - 1)]
    )
    plan = Plan("truncated", tag, Verdict.ERROR, interim_steps(tag, rng))
    plan.steps += [
        *segments(data, rng, len(data)),
        rng.choice((Action.CLOSE,) * 8 + (Action.RESET,) * 8 + (Action.SILENCE,)),
    ]
    return plan


def broken_chunks(tag: str, rng: random.Random) -> Plan:
    """A malformed chunked body."""
    head_bytes = head(tag, rng, rng.choice(STATUSES), [("Transfer-Encoding", "chunked")])
    body = content(tag, rng)
    size = f"{len(body):x}".encode()
    other = response(other_tag(rng, tag), rng)
    data, verdict = rng.choice(
        (
            (size + b"\r\n" + body + b"\r\nno size\r\n" + other, Verdict.ERROR),
            (size + b"\r\n" + body + b"\r\n-5\r\n" + other, Verdict.ERROR),
            (b"ffffffffffffffffffff\r\n" + body, Verdict.ERROR),
            (b"\r\n" + body + b"\r\n0\r\n\r\n" + other, Verdict.ERROR),
            # Some parsers accept a missing line break after a chunk, a size with a sign or with spaces, and bare LF.
            (size + b"\r\n" + body + b"0\r\n\r\n" + other, Verdict.EITHER),
            (b"+" + size + b"\r\n" + body + b"\r\n0\r\n\r\n" + other, Verdict.EITHER),
            (b"0x" + size + b"\r\n" + body + b"\r\n0\r\n\r\n" + other, Verdict.EITHER),
            (b" " + size + b" \r\n" + body + b"\r\n0\r\n\r\n" + other, Verdict.EITHER),
            (size + b"\n" + body + b"\n0\n\n" + other, Verdict.EITHER),
            # Trailers without an end, and a malformed trailer.
            (size + b"\r\n" + body + b"\r\n0\r\n" + b"X-More: yes\r\n" * 50, Verdict.EITHER),
            (size + b"\r\n" + body + b"\r\n0\r\nno trailer\r\n\r\n" + other, Verdict.EITHER),
        )
    )
    steps = [*segments(head_bytes + data, rng, len(head_bytes)), Action.CLOSE]
    return Plan("broken chunks", tag, verdict, interim_steps(tag, rng) + steps)


def conflicting_lengths(tag: str, rng: random.Random) -> Plan:
    """Headers that contradict each other about where the body ends. No bytes belong to another request."""
    body = content(tag, rng)
    encoded = chunks(body, rng)
    length, longer = str(len(body)), str(len(body) + rng.randint(1, 5))
    fields, sent = rng.choice(
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
    head_bytes = head(tag, rng, rng.choice(STATUSES), fields)
    # Some parsers read until the end of the connection, so the server closes it, and sends no other response before.
    return Plan(
        "conflicting lengths", tag, Verdict.EITHER, [*segments(head_bytes + sent, rng, len(head_bytes)), Action.CLOSE]
    )


def malformed_head(tag: str, rng: random.Random) -> Plan:
    """A malformed or unusual head."""
    body = content(tag, rng)
    length = f"Content-Length: {len(body)}\r\nX-Tag: {tag}\r\n"
    head_bytes = rng.choice(
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
    # Some parsers treat such a head as the beginning of a body that ends with the connection.
    return Plan(
        "malformed head", tag, Verdict.EITHER, [*segments(head_bytes + body, rng, len(head_bytes)), Action.CLOSE]
    )


def switching_protocols(tag: str, rng: random.Random) -> Plan:
    """Status 101, although the client did not request another protocol, with or without bytes after it."""
    fields = rng.choice(
        (b"", b"Upgrade: h2c\r\nConnection: upgrade\r\n", b"Upgrade: websocket\r\nConnection: Upgrade\r\n")
    )
    data = b"HTTP/1.1 101 Switching Protocols\r\nX-Tag: " + other_tag(rng, tag).encode() + b"\r\n" + fields + b"\r\n"
    after = rng.choice((b"", response(tag, rng), response(other_tag(rng, tag), rng)))
    ending = rng.choice((Action.CLOSE, Action.CLOSE, Action.RESET, None, None, None))
    plan = Plan("101", tag, Verdict.ERROR, [*interim_steps(tag, rng), *segments(data + after, rng, len(data))])
    if ending is not None:
        plan.steps.append(ending)
    plan.late = late_steps(tag, rng) if rng.random() < 0.3 else ()
    return plan


def only_interim(tag: str, rng: random.Random) -> Plan:
    """Interim responses without a final response."""
    steps: list[Step] = []
    for _ in range(rng.choice((1, 1, 2, 5))):
        steps += [interim(tag, rng), rng.choice((0.0, 0.001, 0.01))]
    ending = rng.choice((Action.CLOSE,) * 8 + (Action.RESET,) * 8 + (Action.SILENCE,) * 3)
    return Plan("only interim responses", tag, Verdict.ERROR, [*steps, ending])


def many_interim(tag: str, rng: random.Random) -> Plan:
    """So many or such large interim responses that a client may reject them."""
    kind = rng.randrange(3)
    if kind == 0:
        data = b"".join(interim(tag, rng) for _ in range(rng.choice((20, 200, 2000))))
    else:
        lines = "".join(f"X-{number}: {'y' * 900}\r\n" for number in range(90 if kind == 1 else 40))
        data = f"HTTP/1.1 103 Early Hints\r\n{lines}\r\n".encode() * rng.choice((1, 5))
    steps: list[Step] = [data[begin : begin + 30_000] for begin in range(0, len(data), 30_000)]
    return Plan("many interim responses", tag, Verdict.EITHER, [*steps, response(tag, rng)])


def interim_with_body(tag: str, rng: random.Random) -> Plan:
    """An interim response that announces a body, with or without that body, then the final response."""
    length = rng.choice(("Content-Length: 5", "Transfer-Encoding: chunked"))
    body = rng.choice((b"", b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n"))
    head_bytes = f"HTTP/1.1 {rng.choice((100, 102, 103))} Interim\r\n{length}\r\n\r\n".encode() + body
    # In both cases the client can only parse the next bytes as a head, or raise an error.
    return Plan(
        "interim response with a body", tag, Verdict.EITHER, [head_bytes, rng.choice((0.0, 0.005)), response(tag, rng)]
    )


def no_response(tag: str, rng: random.Random) -> Plan:
    """No response."""
    ending = rng.choice((Action.CLOSE,) * 8 + (Action.RESET,) * 8 + (Action.SILENCE,) * 2)
    return Plan("no response", tag, Verdict.ERROR, [rng.choice((0.0, 0.002)), ending])


def early_response(tag: str, rng: random.Random) -> Plan:
    """A valid response before the server read the body of the request. The connection can be reused afterwards."""
    plan = valid_response(tag, rng)
    while Action.CLOSE in plan.steps:
        plan = valid_response(tag, rng)
    plan.name, plan.early, plan.method = "early", True, "POST"
    # Large bodies do not fit into the socket buffers.
    plan.size = rng.choice((20, 20, 3000, 100_000, 100_000) + (1_000_000,) * (rng.random() < 0.1))
    return plan


def early_close(tag: str, rng: random.Random) -> Plan:
    """A response and the end of the connection, before the server read the body of the request."""
    data = response(tag, rng)
    size = rng.choice((20, 3000, 100_000) + (1_000_000,) * (rng.random() < 0.1))
    steps: list[Step] = [*segments(data, rng, len(data)), rng.choice((Action.CLOSE, Action.RESET))]
    return Plan("early close", tag, Verdict.EITHER, steps, early=True, size=size)


def reset_after_response(tag: str, rng: random.Random) -> Plan:
    """A response and then a reset, which may discard the response."""
    data = response(tag, rng)
    return Plan("reset after the response", tag, Verdict.EITHER, [*segments(data, rng, len(data)), Action.RESET])


KINDS: dict[Callable[[str, random.Random], Plan], int] = {
    valid_response: 70,
    followed_by_response: 14,
    followed_by_garbage: 5,
    without_body: 5,
    short_content_length: 4,
    truncated: 4,
    broken_chunks: 4,
    conflicting_lengths: 5,
    malformed_head: 5,
    switching_protocols: 2,
    only_interim: 2,
    many_interim: 1,
    interim_with_body: 1,
    no_response: 3,
    early_response: 4,
    early_close: 2,
    reset_after_response: 2,
}


def plan_of(tag: str) -> Plan:
    """The plan for a request. It depends only on the tag."""
    rng = random.Random(tag)
    (kind,) = rng.choices(list(KINDS), list(KINDS.values()))
    return kind(tag, rng)
