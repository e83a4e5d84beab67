"""What every way of sending shares: the course of one call, without a wait in it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from .. import errors
from .._sealed import forget
from .attempts import Attempts
from .clock import Clock
from .content_coding import BodyTooLargeError, ContentCodingError, decode_body

# Loaded here and not when it is needed: then, the process may have no file descriptor left to read a module.
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

# Seconds: an attempt is not begun with less than this left of the deadline.
LEAST: Final = 0.001


class Course:
    """One call under way: its attempts, and who is told of them.

    Attributes:
        attempts: what decides about the next one.
        connect: seconds that the attempt under way may take to connect.
        read: seconds that it may wait for the next bytes of the answer.
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
        """When the call must be over, on the monotonic clock; None for never."""
        return self.attempts.deadline

    @property
    def sent(self) -> Request:
        """The request of the attempt under way, as it is sent."""
        return self.attempts.sent

    @property
    def left(self) -> float | None:
        """Seconds until the deadline, at least zero; None for no deadline."""
        deadline = self.attempts.deadline
        return None if deadline is None else max(0.0, deadline - time.monotonic())

    def prepare(self) -> None:
        """Begin an attempt: it may have to wait for a connection and for the signer."""
        self.attempts.prepare()

    def sign(self) -> dict[str, str]:
        """Encrypt and sign. Returns the headers to send."""
        return self.attempts.begin()

    def begin(self) -> None:
        """Begin to send what was signed."""
        deadline = self.attempts.deadline
        if deadline is not None:
            left = max(LEAST, deadline - time.monotonic())
            if left < self.connect:
                self.connect = left
            if left < self.read:
                self.read = left
        self._told.attempt_started()

    def answered(self, response: Response) -> float | None:
        """Take note of a complete answer. Returns the seconds to wait for another attempt, or None for none."""
        self._told.attempt_ended(response.status)
        return self.attempts.answered(response)

    def failed(self, error: errors.TransportError) -> float:
        """Take note of a failure. Returns the seconds to wait before another; raises the error if there is none."""
        self._told.attempt_ended(error=error)
        return self.attempts.failed(error)

    def ended(
        self, made: tuple[errors.Attempt, ...], status: int | None = None, error: BaseException | None = None
    ) -> None:
        """Tell that the call is over."""
        self._told.call_ended(error)
        events = self._settings.events
        if error is not None and not isinstance(error, errors.CallError):
            return
        if len(made) < 2 and not events.wants_responses:
            return
        outcome = errors.outcome_of(status or 0) if error is None else error.outcome
        raised = None if error is None else type(error).__name__
        if error is None and outcome != "accepted":
            # The answer is handed out, and becomes this where it is read.
            raised = errors.error_class(status or 0).__name__
        operation = self.request.operation
        seconds = time.monotonic() - self._started
        events.response(
            ResponseEvent(operation.name, operation.method, operation.path, made, seconds, status, outcome, raised)
        )


class Sender:
    """One host and the rules for it. Subclasses send, and wait.

    Attributes:
        clock: how far the host's clock is from ours.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._spans = Spans(settings.host)
        self._forwarded = settings.proxy is not None and settings.base_url.startswith("http:")
        # Whether signing may wait for something else, and is done in a thread that the deadline does not wait for.
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
        """The last answer, in the clear; with what is known about the call if it is a 401."""
        sent = course.sent
        facts = response.facts = self._known(sent, response)
        if self._settings.mle is not None and course.request.operation.signed:
            response = self._settings.mle.incoming(sent, response)
            response.facts = facts
        course.ended(response.attempts, response.status)
        return response

    def _lost(self, course: Course, error: BaseException, outer: BaseException | None) -> None:
        """What is to be done before an exception is let out."""
        # The frames that it came through had the credentials among their variables.
        forget(error, outer)
        course.ended(getattr(error, "attempts", ()), getattr(error, "status", None), error)

    def _known(self, sent: Request, response: Response) -> dict[str, Any] | None:
        """Count what is accepted; after a 401, tell what is known about the call."""
        if response.status == 401:
            return circumstances(sent, self._settings, self.clock, self._accepted, response)
        if sent.operation.signed and 200 <= response.status < 300:
            # Without a lock: a count that another thread overwrites is one that nobody will miss.
            key = sent.operation.name, sent.body is not None
            count, _ = self._accepted.get(key, (0, 0.0))
            self._accepted[key] = count + 1, time.monotonic()
        return None

    def _complete(
        self, request: Request, status: int, reason: str, headers: Mapping[str, str], body: bytes
    ) -> Response:
        """The response that was read, with its body decoded where it has a ``Content-Encoding``.

        The status says what became of the call, so a body that cannot be decoded does not make the call fail: it is
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
        text = f"the response body exceeds {self._settings.max_response_bytes} bytes"
        return failure(errors.ResponseTooLargeError, request, text, errors.outcome_of(status))


def failure(
    kind: type[errors.TransportError], request: Request, text: str, outcome: errors.Outcome = "unknown"
) -> errors.TransportError:
    """The exception for an attempt without a complete answer."""
    operation = request.operation
    return kind(
        f"{request.method} {operation.path}: {text}",
        method=request.method,
        path=operation.path,
        outcome=outcome,
        repeatable=operation.repeatable,
    )


def unsent(request: Request, cause: NotConnected) -> errors.TransportError:
    """The exception for an attempt that found no connection."""
    error = failure(cause.kind, request, cause.text, "not_sent")
    error.transient = cause.transient
    return error


def broken(request: Request, cause: BaseException) -> errors.TransportError:
    """The exception for an attempt whose connection failed on the way. Of the cause, only its class is told."""
    text = f"the connection broke before the answer was complete ({type(cause).__name__})"
    return failure(errors.ConnectionBrokenError, request, text)
