"""Received requests, responses, and the log of recorded requests."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.types import Receive, Scope

# Maximum bytes of a request body. The real limit is unpublished; all documented requests are far smaller.
BODY_LIMIT = 1 << 20
# A body over the limit is still read up to here, so that the client gets a 413 instead of a broken connection.
_READ_LIMIT = 16 * BODY_LIMIT
# Approximate memory, in bytes, of the Python objects of a recorded request and of each of its headers.
_RECORD_OVERHEAD = 1500
_HEADER_OVERHEAD = 200


@dataclass(frozen=True)
class ReceivedRequest:
    """One request as received.

    Attributes:
        method: HTTP method, as sent.
        target: path and query exactly as sent, percent-encoding kept. An empty query (`/path?`) is lost,
            because the HTTP layer does not distinguish it from no query.
        raw_headers: all headers in their order, names in lower case.
        headers: the values by lower-case name. The values of a repeated header are joined with ", ".
        body: the body, as received.
    """

    method: str
    target: str
    raw_headers: tuple[tuple[str, str], ...] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @classmethod
    def of(cls, method: str, target: str, raw_headers: tuple[tuple[str, str], ...], body: bytes) -> ReceivedRequest:
        """Create a request from a list of headers. Their names can be in any case."""
        lowered = tuple((name.lower(), value) for name, value in raw_headers)
        headers: dict[str, str] = {}
        for name, value in lowered:
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return cls(method, target, lowered, headers, body)

    def count(self, name: str) -> int:
        """The number of times that a header (lower-case name) was sent."""
        return sum(1 for candidate, _ in self.raw_headers if candidate == name)

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def media_type(self) -> str:
        """The request's media type, lower case, without parameters; empty when none was sent."""
        return self.headers.get("content-type", "").split(";")[0].strip().lower()

    def accepts(self, media_type: str) -> bool:
        """Whether the `Accept` header allows a media type. A missing or empty header allows every type."""
        accept = self.headers.get("accept", "").strip()
        if not accept:
            return True
        ranges = {media_type, media_type.split("/")[0] + "/*", "*/*"}
        for item in accept.lower().split(","):
            name, *parameters = (part.strip() for part in item.split(";"))
            excluded = any(p.replace(" ", "") in {"q=0", "q=0.0", "q=0.00", "q=0.000"} for p in parameters)
            if name in ranges and not excluded:
                return True
        return False


def read_head(scope: Scope) -> ReceivedRequest:
    """The request of an ASGI scope, without its body."""
    raw_path: bytes = scope["raw_path"]
    query: bytes = scope["query_string"]
    target = (raw_path + b"?" + query if query else raw_path).decode("latin-1")
    raw_headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
    return ReceivedRequest.of(scope["method"], target, raw_headers, b"")


async def read_body(receive: Receive) -> tuple[bytes, bool, bool]:
    """Read the request body.

    Returns:
        The body, whether it is complete, and whether it exceeds `BODY_LIMIT` (then the body is empty).
    """
    chunks: list[bytes] = []
    size, more, complete = 0, True, True
    while more and size <= _READ_LIMIT:
        message = await receive()
        if message["type"] == "http.disconnect":
            complete = False
            break
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size <= BODY_LIMIT:
            chunks.append(chunk)
        else:
            chunks.clear()
        more = message.get("more_body", False)
    return b"".join(chunks), complete, size > BODY_LIMIT


@dataclass(frozen=True)
class Response:
    """One response of the emulator.

    Attributes:
        rejection_reason: why the request was rejected, for the developer; None for a success.
        from_flex: whether the response is from the Flex service itself, not from the gateway in front of it. Only
            responses of the service have a `Digest` header.
    """

    status: int
    media_type: str
    body: bytes = field(repr=False)
    headers: tuple[tuple[str, str], ...] = ()
    rejection_reason: str | None = None
    from_flex: bool = True


def json_response(
    status: int, value: object, *, rejection_reason: str | None = None, from_flex: bool = True
) -> Response:
    """A response with a JSON body."""
    body = json.dumps(value, separators=(",", ":")).encode("ascii")
    return Response(status, "application/json", body, rejection_reason=rejection_reason, from_flex=from_flex)


def jwt_response(status: int, token: str) -> Response:
    """A response whose body is a bare JWT or JWE."""
    return Response(status, "application/jwt", token.encode("ascii"))


@dataclass(frozen=True)
class RecordedRequest(ReceivedRequest):
    """A request that the emulator received, and how it was handled. The repr shows no header and no body.

    Attributes:
        status: HTTP status of the response; None if the connection was closed or reset before the request was
            complete. If a scenario breaks the response, this is the status that it would have had.
        correlation_id: `v-c-correlation-id` of the response.
        rejection_reason: why the request was rejected, for example "jti was used before"; None if it was accepted.
        received_at: seconds since the epoch on the emulator's clock.
        scheme: how the caller was authenticated: "http-signature", "jwt" or "access-token"; None for operations
            without credentials and for unauthenticated requests.
        merchant_id: the authenticated merchant.
        client_certificate: CN of the TLS client certificate of the connection.
        decrypted_body: plaintext of an encrypted request body; `body` always has the bytes that were sent.
        scenario: the scenario that was selected for the request, as a string, even if it had no effect.
        received_monotonic: when the head of the request was received, on the clock of `time.monotonic`.
        succeeded: whether the operation was carried out successfully, even if the client never got the response.
        remarks: undocumented parts of a request that was accepted anyway.
        observations: names of the observations of the real host that the response imitates; docs/assumptions.md lists
            them. Empty if the response follows the documentation or is inferred.
    """

    status: int | None = None
    correlation_id: str = ""
    rejection_reason: str | None = None
    received_at: float = 0.0
    scheme: str | None = None
    merchant_id: str | None = None
    client_certificate: str | None = None
    decrypted_body: bytes | None = field(default=None, repr=False)
    scenario: str | None = None
    received_monotonic: float = 0.0
    succeeded: bool = False
    remarks: tuple[str, ...] = ()
    observations: tuple[str, ...] = ()


class RequestLog:
    """The last recorded requests. Thread-safe.

    Args:
        limit: number of requests to keep.
        byte_limit: bytes of memory that the kept requests may use, approximately.
    """

    def __init__(self, limit: int, byte_limit: int) -> None:
        self._lock = threading.Lock()
        self._limit, self._byte_limit = limit, byte_limit
        self._records: deque[tuple[RecordedRequest, int]] = deque()
        self._bytes = 0

    def add(self, record: RecordedRequest) -> None:
        size = _memory(record)
        with self._lock:
            self._records.append((record, size))
            self._bytes += size
            while self._records and (len(self._records) > self._limit or self._bytes > self._byte_limit):
                self._bytes -= self._records.popleft()[1]

    def all(self) -> list[RecordedRequest]:
        with self._lock:
            return [record for record, _ in self._records]

    def clear(self) -> None:
        with self._lock:
            self._records.clear()
            self._bytes = 0


def _memory(record: RecordedRequest) -> int:
    """The memory that a record uses, approximately."""
    headers = sum(len(name) + len(value) + _HEADER_OVERHEAD for name, value in record.raw_headers)
    return len(record.body) + len(record.decrypted_body or b"") + len(record.target) + headers + _RECORD_OVERHEAD
