"""State and bookkeeping of one call, shared by the urllib3 and aiohttp transports. No I/O."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from .. import errors
from .._sealed import forget
from .attempts import Attempts
from .clock import Clock
from .content_coding import BodyTooLargeError, ContentCodingError, decode_body

# Imported at start-up, not on first use: by then the process may have no file descriptor left to read a module.
from .diagnosis import circumstances
from .message import Response
from .retry import RetryPolicy
from .settings import Settings, check_seconds, check_type
from .telemetry import Call, ResponseEvent, Spans

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .diagnosis import Accepted
    from .message import Request
    from .unreached import NotConnected

__all__ = ["LEAST", "Course", "Sender", "broken", "failure", "unsent"]

# Seconds. No attempt starts with less than this remaining before the deadline.
LEAST: Final = 0.001


class Course:
    """One call in progress: its attempts, its timeouts and its telemetry.

    Attributes:
        attempts: the attempts so far; decides whether there is another.
        connect: connect timeout of the current attempt, in seconds.
        read: read timeout of the current attempt, in seconds: the longest wait for more bytes of the response.
    """

    __slots__ = ("_settings", "_started", "_timeout", "_told", "attempts", "connect", "read", "request")

    def __init__(self, request: Request, attempts: Attempts, settings: Settings, timeout: float | None, told: Call):
        self.request = request
        self.attempts = attempts
        self._settings = settings
        self._timeout = timeout
        self._told = told
        self._started = time.monotonic()
        self.connect, self.read = settings.connect_timeout, settings.read_timeout
        if timeout is not None:
            self.connect, self.read = min(self.connect, timeout), timeout

    @property
    def deadline(self) -> float | None:
        """When the call must end, on the monotonic clock; None for no deadline."""
        return self.attempts.deadline

    @property
    def sent(self) -> Request:
        """The request of the current attempt, as it is sent."""
        return self.attempts.sent

    @property
    def left(self) -> float | None:
        """Seconds until the deadline, at least zero; None for no deadline."""
        deadline = self.attempts.deadline
        return None if deadline is None else max(0.0, deadline - time.monotonic())

    def prepare(self) -> None:
        """Start an attempt. It may have to wait for a connection and for the signer."""
        self.attempts.prepare()

    def sign(self) -> dict[str, str]:
        """Encrypt and sign. Returns the headers to send."""
        return self.attempts.begin()

    def begin(self) -> None:
        """Shorten the timeouts to fit the deadline and report that the signed attempt is about to be sent."""
        deadline = self.attempts.deadline
        if deadline is not None:
            remaining = max(LEAST, deadline - time.monotonic())
            if remaining < self.connect:
                self.connect = remaining
            if remaining < self.read:
                self.read = remaining
        self._told.attempt_started()

    def answered(self, response: Response) -> float | None:
        """Record a complete response. Returns the seconds to wait before the next attempt, or None if there is none."""
        self._told.attempt_ended(response.status)
        return self.attempts.answered(response)

    def failed(self, error: errors.TransportError) -> float:
        """Record a failed attempt. Returns the seconds to wait before the next; raises the error if there is none."""
        self._told.attempt_ended(error=error)
        return self.attempts.failed(error)

    def ended(
        self, made: tuple[errors.Attempt, ...], status: int | None = None, error: BaseException | None = None
    ) -> None:
        """Report the end of the call to the telemetry."""
        self._told.call_ended(error)
        events = self._settings.events
        if error is not None and not isinstance(error, errors.CallError):
            return
        if len(made) < 2 and not events.wants_responses:
            return
        outcome = errors.outcome_of(status or 0) if error is None else error.outcome
        raised = None if error is None else type(error).__name__
        if error is None and outcome != "accepted":
            # The response is returned, and the caller raises this exception when it parses it.
            raised = errors.error_class(status or 0).__name__
        operation = self.request.operation
        seconds = time.monotonic() - self._started
        events.response(
            ResponseEvent(operation.name, operation.method, operation.path, made, seconds, status, outcome, raised)
        )


class Sender:
    """Base class of the transports: one host and its settings. Subclasses do the I/O and the waiting.

    Attributes:
        clock: the measured offset of the host's clock from this machine's.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._spans = Spans(settings.host)
        self._forwarded = settings.proxy is not None and settings.base_url.startswith("http:")
        # Whether signing may block, for example on a device. It then runs in a thread, so the deadline still holds.
        self._blocking = getattr(settings.auth, "blocks", False) is True
        self.clock = Clock(correct=settings.correct_clock)
        self._accepted: Accepted = {}

    def _course(self, request: Request, timeout: float | None, retry: RetryPolicy | None) -> Course:
        if timeout is not None:
            check_seconds("timeout", timeout)
        check_type("retry", retry, RetryPolicy)
        settings = self._settings
        attempts = Attempts(request, settings, self.clock, settings.retry if retry is None else retry)
        return Course(request, attempts, settings, timeout, self._spans.call_started(request.operation))

    def _arrived(self, course: Course, response: Response) -> Response:
        """Decrypt the final response and report the end of the call. A 401 gets the facts for its diagnosis."""
        sent = course.sent
        facts = response.facts = self._known(sent, response)
        if self._settings.mle is not None and course.request.operation.signed:
            response = self._settings.mle.incoming(sent, response)
            response.facts = facts
        course.ended(response.attempts, response.status)
        return response

    def _lost(self, course: Course, error: BaseException, outer: BaseException | None) -> None:
        """Clear tracebacks and report the failed call before the exception propagates."""
        # The frames in its traceback had the credentials among their local variables.
        forget(error, outer)
        course.ended(getattr(error, "attempts", ()), getattr(error, "status", None), error)

    def _known(self, sent: Request, response: Response) -> dict[str, Any] | None:
        """Count accepted calls. After a 401, return the facts about the call, else None."""
        if response.status == 401:
            return circumstances(sent, self._settings, self.clock, self._accepted, response)
        if sent.operation.signed and 200 <= response.status < 300:
            # No lock: a count that another thread overwrites does not matter to the diagnosis.
            key = sent.operation.name, sent.body is not None
            count, _ = self._accepted.get(key, (0, 0.0))
            self._accepted[key] = count + 1, time.monotonic()
        return None

    def _complete(
        self, request: Request, status: int, reason: str, headers: Mapping[str, str], body: bytes
    ) -> Response:
        """Build the response, with its body decoded if it has a ``Content-Encoding``.

        The status decides the outcome of the call, so a body that cannot be decoded does not make the call fail: it is
        kept as received.
        """
        response = Response(status, reason, headers, body)
        codings = headers.get("Content-Encoding")
        if codings is not None:
            try:
                response.body = decode_body(body, codings, self._settings.max_response_bytes)
            except BodyTooLargeError:
                raise self._too_large(request, status) from None
            except ContentCodingError as cause:
                response.undecoded = cause.codings
        return response

    def _too_large(self, request: Request, status: int) -> errors.TransportError:
        reason = f"the response body exceeds {self._settings.max_response_bytes} bytes"
        return failure(errors.ResponseTooLargeError, request, reason, errors.outcome_of(status))


def failure(
    kind: type[errors.TransportError], request: Request, text: str, outcome: errors.Outcome = "unknown"
) -> errors.TransportError:
    """Create the exception for an attempt without a complete response."""
    operation = request.operation
    return kind(
        f"{request.method} {operation.path}: {text}",
        method=request.method,
        path=operation.path,
        outcome=outcome,
        repeatable=operation.repeatable,
    )


def unsent(request: Request, cause: NotConnected) -> errors.TransportError:
    """Create the exception for an attempt that failed before a connection was established."""
    error = failure(cause.kind, request, cause.text, "not_sent")
    error.transient = cause.transient
    return error


def broken(request: Request, cause: BaseException) -> errors.TransportError:
    """Create the exception for a connection lost during the exchange. Only the class of the cause is reported."""
    reason = f"the connection broke before the response was complete ({type(cause).__name__})"
    return failure(errors.ConnectionBrokenError, request, reason)
