"""HTTP/1.1 responses for urllib3: read with a deadline, skip interim responses, and reject ambiguous lengths."""

from __future__ import annotations

import http.client
import io
import math
import re
import socket
import time
from contextvars import ContextVar
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from urllib3.exceptions import HeaderParsingError
from urllib3.util.response import assert_header_parsing

if TYPE_CHECKING:
    from ..messages import Request

from ..._runtime.monotonic import monotonic

__all__ = [
    "MAX_INTERIM",
    "MAX_INTERIM_BYTES",
    "Attempt",
    "DeadlineResponse",
    "ResponseOwner",
    "current_attempt",
    "reusable_seconds",
]

# Limits on the interim responses (1xx) that are skipped before a final response: their number, and their total bytes.
MAX_INTERIM: Final = 32
MAX_INTERIM_BYTES: Final = 64 * 1024

_DIGITS: Final = re.compile(r"[0-9]{1,18}")
_HEX_DIGITS: Final = re.compile(rb"[0-9A-Fa-f]{1,16}")
_MAX_LINE: Final = 64 * 1024

# The header Keep-Alive: timeout=5, max=100
_KEEP_ALIVE_TIMEOUT: Final = re.compile(r"(?:^|,)\s*timeout\s*=\s*\"?([0-9]{1,6})(?![0-9])", re.I)
# Seconds. A request that is sent shortly before the server closes the connection may arrive too late.
_KEEP_ALIVE_MARGIN: Final = 1.0


def reusable_seconds(keep_alive: str) -> float:
    """Return for how many seconds an idle connection can be reused, by the header ``Keep-Alive`` of its last response.

    Infinity if the server announced no timeout. Some servers, such as Node and Apache, close idle connections after 5
    seconds. If a request crosses with that, the client cannot know whether the server has processed the request.
    """
    match = _KEEP_ALIVE_TIMEOUT.search(keep_alive)
    return math.inf if match is None else int(match[1]) - _KEEP_ALIVE_MARGIN


class ResponseOwner(Protocol):
    """The connection that a response is read from.

    Attributes:
        connecting: whether the connection is being established.
        usable: whether the connection may serve another request.
        idle_since: when the last response was read, on the monotonic and the wall clock.
        reusable_seconds: for how long the connection can be idle, according to the server.
    """

    connecting: bool
    usable: bool
    idle_since: tuple[float, float]
    reusable_seconds: float


class Attempt:
    """One request and its response on one connection. Holds the values for which urllib3 has no parameters.

    Attributes:
        request: the request as it is sent.
        read_timeout: seconds to wait for the next bytes.
        connect_deadline: when the connection must be established, on the monotonic clock.
        deadline: when the response must be complete, on the monotonic clock; infinity for no deadline.
        idle_timeout: seconds after which an idle connection is not used again.
        connection: the connection in use.
    """

    __slots__ = ("connect_deadline", "connection", "deadline", "idle_timeout", "read_timeout", "request")

    def __init__(
        self, request: Request, read_timeout: float, connect_deadline: float, deadline: float, idle_timeout: float
    ) -> None:
        self.request = request
        self.read_timeout = read_timeout
        self.connect_deadline = connect_deadline
        self.deadline = deadline
        self.idle_timeout = idle_timeout
        self.connection: ResponseOwner | None = None


#: The attempt of the current thread.
current_attempt: Final[ContextVar[Attempt]] = ContextVar("cybersource_flex_attempt")


class DeadlineResponse(http.client.HTTPResponse):
    """A response that is read until the deadline of the current attempt.

    A limited number of interim responses is skipped. A response whose length is ambiguous raises an exception.
    """

    def __init__(self, sock: Any, *args: Any, **options: Any) -> None:
        self._attempt = current_attempt.get()
        super().__init__(_ResponseSocket(sock, self._attempt), *args, **options)  # type: ignore[arg-type]

    def _read_status(self) -> tuple[str, int, str]:
        # http.client skips only the status 100, and treats any other 1xx status as the final response.
        count = size = 0
        while True:
            status: tuple[str, int, str] = super()._read_status()  # type: ignore[misc]
            if not 100 <= status[1] < 200:
                return status
            if status[1] == 101:
                raise HTTPException("the server switched protocols without being asked to")
            count += 1
            line = b""
            while line not in (b"\r\n", b"\n"):
                line = self.fp.readline(MAX_INTERIM_BYTES)
                size += len(line)
                if not line or count > MAX_INTERIM or size > MAX_INTERIM_BYTES:
                    raise HTTPException("no final response after the interim responses")

    def begin(self) -> None:
        super().begin()
        try:
            assert_header_parsing(self.headers)
        except HeaderParsingError:
            # urllib3 only logs malformed headers, and continues with the headers before them.
            raise HTTPException("malformed headers") from None
        # RFC 9112 section 6.3: if a response has two lengths, readers can disagree about where it ends and the next
        # response begins.
        codings = [coding.strip().lower() for coding in self.headers.get_all("Transfer-Encoding", [])]
        lengths = {each.strip() for value in self.headers.get_all("Content-Length", []) for each in value.split(",")}
        if codings not in ([], ["chunked"]) or len(lengths) > 1 or not all(map(_DIGITS.fullmatch, lengths)):
            raise HTTPException("the length of the response is ambiguous")
        connection = self._attempt.connection
        if connection is not None:
            keep_alive = self.headers.get("Keep-Alive")
            connection.reusable_seconds = math.inf if keep_alive is None else reusable_seconds(keep_alive)
            if codings and lengths:
                connection.usable = False
        if self.status in (204, 304):
            # These statuses never have a body (RFC 9110), even if the headers announce one. http.client would wait for
            # a chunk.
            self.chunked, self.length = False, 0
        elif codings and not self.chunked:
            # http.client does not recognise "chunked" with white space around it.
            self.chunked, self.chunk_left, self.length = True, None, None
            self.will_close = self._check_close()  # type: ignore[attr-defined]
        elif lengths and not codings and self.length is None and self._method != "HEAD":  # type: ignore[attr-defined]
            # The header repeats the same length, which http.client does not accept.
            self.length = int(lengths.pop())
            self.will_close = self._check_close()  # type: ignore[attr-defined]

    def _read_next_chunk_size(self) -> int:
        # http.client accepts all that int() accepts, such as signs and underscores. RFC 9112 section 7.1 allows only
        # hexadecimal digits.
        line = self.fp.readline(_MAX_LINE)
        size, _, _ = line.partition(b";")
        digits = size.rstrip(b" \t\r\n")
        # Without its end, the rest of a long line would be read as content.
        if not _HEX_DIGITS.fullmatch(digits) or not line.endswith(b"\n"):
            self._close_conn()  # type: ignore[attr-defined]
            raise ValueError("malformed chunk size")
        return int(digits, 16)


class _DeadlineReader(io.RawIOBase):
    """Reads from a socket until a deadline. The timeout of a socket starts again with each byte received.

    Attributes:
        connection: the connection to update at the end of the response. None if there is none.
        finished: whether the response has been read. No more bytes are received then.
    """

    def __init__(
        self, sock: socket.socket, timeout: float, deadline: float, connection: ResponseOwner | None = None
    ) -> None:
        self._raw = sock.makefile("rb", 0)
        self._sock = sock
        self._timeout = timeout
        self._deadline = deadline
        self.connection = connection
        self.finished = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self.finished:
            return None
        remaining = self._deadline - monotonic()
        if remaining <= 0:
            raise TimeoutError("the deadline of the call has passed")
        self._sock.settimeout(min(remaining, self._timeout))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _ResponseReader(io.BufferedReader):
    """Reads the bytes of one response. If more bytes follow, closing the reader makes the connection unusable."""

    raw: _DeadlineReader  # pyright: ignore[reportIncompatibleVariableOverride]

    def readline(self, size: int | None = -1, /) -> bytes:
        # http.client reads headers, chunk sizes and trailers as lines. It would accept a line that ends because the
        # connection ends.
        line = super().readline(size)
        if not line.endswith(b"\n") and len(line) != size:
            raise http.client.RemoteDisconnected("the connection ended in the middle of a response")
        return line

    def close(self) -> None:
        connection, self.raw.connection = self.raw.connection, None
        if connection is not None and not self.closed:
            # From here on, peek() only returns bytes that are already in the buffer.
            self.raw.finished = True
            if self.peek(1):
                connection.usable = False
            connection.idle_since = monotonic(), time.time()
        super().close()


class _ResponseSocket(NamedTuple):
    """The part of a socket that ``http.client.HTTPResponse`` uses."""

    sock: socket.socket
    attempt: Attempt

    def makefile(self, mode: str) -> io.BufferedReader:
        attempt, connection = self.attempt, self.attempt.connection
        if connection is None or connection.connecting:
            # This is the response of a proxy to CONNECT.
            return _ResponseReader(_DeadlineReader(self.sock, math.inf, attempt.connect_deadline))
        return _ResponseReader(_DeadlineReader(self.sock, attempt.read_timeout, attempt.deadline, connection))
