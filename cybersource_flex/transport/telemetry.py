"""Telemetry of calls: log messages, callbacks and OpenTelemetry spans.

Events carry the operation, the attempts, the durations and the outcome. They never carry a body, a header, a token or a
value in a path.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from .._callables import check_function, check_result
from ..errors import Attempt, Outcome
from .frozen import Frozen

if TYPE_CHECKING:
    from .operation import Operation

__all__ = ["AttemptEvent", "Events", "ResponseEvent", "Spans"]

# Silent by default: the application configures logging, not the library.
logging.getLogger("cybersource_flex").addHandler(logging.NullHandler())
_log: Final = logging.getLogger("cybersource_flex.transport")

# A host can send any value as a correlation id, even a token or a card number.
_CORRELATION_ID: Final = re.compile(r"[0-9A-Za-z-]{1,40}")


class AttemptEvent(NamedTuple):
    """An attempt that ended.

    Attributes:
        operation: name of the method that was called.
        method: HTTP method.
        path: path template, without its values.
        attempt: number, time, duration, and status or error.
        correlation_id: ``v-c-correlation-id`` of the response, or None.
    """

    operation: str
    method: str
    path: str
    attempt: Attempt
    correlation_id: str | None


class ResponseEvent(NamedTuple):
    """A call that ended.

    Attributes:
        operation: name of the method that was called.
        method: HTTP method.
        path: path template, without its values.
        attempts: all its attempts.
        seconds: duration, including waits.
        status: HTTP status of the last response, or None.
        outcome: what became of it.
        error: class name of the exception raised, or None.
    """

    operation: str
    method: str
    path: str
    attempts: tuple[Attempt, ...]
    seconds: float
    status: int | None
    outcome: Outcome
    error: str | None


class Events(Frozen):
    """User callbacks for attempts and calls. They run in the calling thread and should be fast. Exceptions are logged
    and ignored. The callbacks are not awaited, so async functions are rejected.

    Args:
        on_attempt: called after each attempt.
        on_response: called once at the end of each call.

    Raises:
        ConfigurationError: an argument is not a function, or is an async function.
    """

    __slots__ = ("_on_attempt", "_on_response")

    _on_attempt: Callable[[AttemptEvent], object] | None
    _on_response: Callable[[ResponseEvent], object] | None

    def __init__(
        self,
        *,
        on_attempt: Callable[[AttemptEvent], object] | None = None,
        on_response: Callable[[ResponseEvent], object] | None = None,
    ) -> None:
        for name, callback in (("on_attempt", on_attempt), ("on_response", on_response)):
            if callback is not None:
                check_function(name, callback, "a function of one event")
        self._set(_on_attempt=on_attempt, _on_response=on_response)

    def __repr__(self) -> str:
        return f"Events(on_attempt={self._on_attempt is not None}, on_response={self._on_response is not None})"

    @property
    def wants_attempts(self) -> bool:
        """Whether attempts are reported at all. If not, callers skip building the events."""
        return self._on_attempt is not None or _log.isEnabledFor(logging.DEBUG)

    @property
    def wants_responses(self) -> bool:
        """Whether calls with a single attempt are reported. Calls with more attempts are always logged."""
        return self._on_response is not None

    def attempt(self, event: AttemptEvent) -> None:
        """Report an attempt to the log and the callback."""
        attempt = event.attempt
        if _log.isEnabledFor(logging.DEBUG):
            _log.debug(
                "%s %s attempt %d: %s in %.3f s (correlation id %s)",
                event.method,
                event.path,
                attempt.number,
                attempt.status if attempt.error is None else attempt.error,
                attempt.seconds,
                _shown(event.correlation_id),
            )
        if self._on_attempt is not None:
            try:
                check_result("on_attempt", self._on_attempt(event))
            except Exception:
                _log.exception("on_attempt failed")

    def response(self, event: ResponseEvent) -> None:
        """Report the end of a call to the callback. A call with more than one attempt is also logged."""
        if len(event.attempts) > 1:
            _log.info(
                "%s %s: %s after %d attempts in %.3f s",
                event.method,
                event.path,
                event.status if event.error is None else event.error,
                len(event.attempts),
                event.seconds,
            )
        if self._on_response is not None:
            try:
                check_result("on_response", self._on_response(event))
            except Exception:
                _log.exception("on_response failed")


class Call(Protocol):
    """Telemetry of one call in progress. ``call_started`` and ``call_ended`` run in the same thread or task."""

    def attempt_started(self) -> None:
        """An attempt is signed and about to be sent."""
        ...

    def attempt_ended(self, status: int | None = None, error: BaseException | None = None) -> None:
        """The attempt ended, with the status of a complete response or with an error."""
        ...

    def call_ended(self, error: BaseException | None = None) -> None:
        """The call ended, with or without an error. This also ends an attempt that is still open."""
        ...


class _Calls(Protocol):
    def call_started(self, operation: Operation) -> Call: ...


class _Untold:
    """No-op tracer, used without OpenTelemetry; also serves as its own no-op call."""

    __slots__ = ()

    def call_started(self, operation: Operation) -> Call:
        return self

    def attempt_started(self) -> None:
        pass

    def attempt_ended(self, status: int | None = None, error: BaseException | None = None) -> None:
        pass

    def call_ended(self, error: BaseException | None = None) -> None:
        pass


_UNTOLD: Final = _Untold()


class Spans:
    """OpenTelemetry spans for both transports, active once the application has imported ``opentelemetry``.

    This package never imports OpenTelemetry by itself: an application that exports spans has set up an SDK, and has
    therefore imported it.

    Args:
        host: base URL of the signed host.
    """

    __slots__ = ("_calls", "_host")

    def __init__(self, host: str) -> None:
        self._host = host
        self._calls: _Calls | None = None

    def call_started(self, operation: Operation) -> Call:
        """Report the start of a call. Returns the object that receives the call's other events."""
        if self._calls is None:
            if "opentelemetry" not in sys.modules:
                return _UNTOLD
            self._calls = _opentelemetry(self._host)
        return self._calls.call_started(operation)


def _opentelemetry(host: str) -> _Calls:
    try:
        from .otel import OpenTelemetry
    except ImportError as cause:
        if (cause.name or "").startswith(__name__.partition(".")[0]):
            raise
        # Another package of the same name lacks the API, or the API is older than the extra allows.
        return _UNTOLD
    return OpenTelemetry(host)


def _shown(correlation_id: str | None) -> str | None:
    if correlation_id is None or _CORRELATION_ID.fullmatch(correlation_id):
        return correlation_id
    return "<not one>"
