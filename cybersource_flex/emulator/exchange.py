"""What came in, what goes out, and what is remembered of both."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Received:
    """One request as it stood on the wire.

    Attributes:
        method: verb, as sent.
        target: path and query exactly as sent, percent-encoding kept. An empty query (`/path?`) reads as no
            query, since the HTTP layer does not tell the two apart.
        raw_headers: all headers in their order, names in lower case.
        headers: the same by lower-case name; repeated ones joined with ", ".
        body: the bytes.
    """

    method: str
    target: str
    raw_headers: tuple[tuple[str, str], ...] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @classmethod
    def of(cls, method: str, target: str, raw_headers: tuple[tuple[str, str], ...], body: bytes) -> Received:
        """Build one from a list of headers in any case."""
        lowered = tuple((name.lower(), value) for name, value in raw_headers)
        headers: dict[str, str] = {}
        for name, value in lowered:
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return cls(method, target, lowered, headers, body)

    def count(self, name: str) -> int:
        """How many times a header (lower-case name) was sent."""
        return sum(1 for candidate, _ in self.raw_headers if candidate == name)

    @property
    def media_type(self) -> str:
        """The request's media type, lower case, without parameters; empty when none was sent."""
        return self.headers.get("content-type", "").split(";")[0].strip().lower()

    def accepts(self, media_type: str) -> bool:
        """Whether `Accept` admits a media type. No header, or an empty one, admits everything."""
        accept = self.headers.get("accept", "").strip()
        if not accept:
            return True
        wanted = {media_type, media_type.split("/")[0] + "/*", "*/*"}
        for item in accept.lower().split(","):
            name, *parameters = (part.strip() for part in item.split(";"))
            refused = any(p.replace(" ", "") in {"q=0", "q=0.0", "q=0.00", "q=0.000"} for p in parameters)
            if name in wanted and not refused:
                return True
        return False


@dataclass(frozen=True)
class Answer:
    """What the emulator says.

    Attributes:
        refusal: for a developer, why the request was refused; None for a success.
        flex: whether the Flex service itself answers, and not the gateway in front of it: then there is a
            `Digest`.
    """

    status: int
    media_type: str
    body: bytes = field(repr=False)
    headers: tuple[tuple[str, str], ...] = ()
    refusal: str | None = None
    flex: bool = True


def json_answer(status: int, value: object, *, refusal: str | None = None, flex: bool = True) -> Answer:
    """An answer with a JSON body."""
    body = json.dumps(value, separators=(",", ":")).encode("ascii")
    return Answer(status, "application/json", body, refusal=refusal, flex=flex)


def jwt_answer(status: int, token: str) -> Answer:
    """An answer whose body is a bare JWT or JWE."""
    return Answer(status, "application/jwt", token.encode("ascii"))


@dataclass(frozen=True)
class RecordedRequest(Received):
    """A request that the emulator received, with what became of it. The repr shows no header and no body.

    Attributes:
        status: HTTP status answered; None when the client went away before its request was complete, or the
            connection was reset before that. Where a scenario breaks the answer, what it would have been.
        correlation_id: `v-c-correlation-id` of the answer.
        refusal: why it was refused, for example "jti was used before"; None when it was not.
        received_at: seconds since the epoch on the emulator's clock.
        scheme: how the caller was authenticated: "http-signature", "jwt" or "access-token"; None for
            operations without credentials, and when it was not authenticated.
        merchant_id: the authenticated merchant.
        client_certificate: CN of the certificate that the client presented on the connection (TLS).
        opened: the body before its encryption, when it was an encrypted request; `body` is always what was sent.
        scenario: text of the scenario that was chosen for the request, whether or not it could show there.
        arrived: when the head of the request was here, on the clock of `time.monotonic`.
        processed: whether the operation was carried out with success, whatever became of its answer: a session or
            a token was made, though perhaps nobody was told.
    """

    status: int | None = None
    correlation_id: str = ""
    refusal: str | None = None
    received_at: float = 0.0
    scheme: str | None = None
    merchant_id: str | None = None
    client_certificate: str | None = None
    opened: bytes | None = field(default=None, repr=False)
    scenario: str | None = None
    arrived: float = 0.0
    processed: bool = False


class Records:
    """The last requests, safe to read from any thread."""

    def __init__(self, limit: int) -> None:
        self._lock = threading.Lock()
        self._items: deque[RecordedRequest] = deque(maxlen=limit)

    def add(self, item: RecordedRequest) -> None:
        with self._lock:
            self._items.append(item)

    def all(self) -> list[RecordedRequest]:
        with self._lock:
            return list(self._items)

    def clear(self) -> None:
        with self._lock:
            self._items.clear()
