"""Telemetry of calls: log messages, callbacks and OpenTelemetry spans.

Events carry the operation, the attempts, the durations and the outcome. They never carry a body, a header, a token or a
value in a path.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from .._callables import check_function, check_result
from .._immutable import ImmutableValue
from ..errors import Attempt, Outcome, safe_correlation_id

__all__ = ["MAX_OPERATIONS", "AttemptEvent", "CallEvent", "CallSpan", "EventHooks", "Tracing"]

# Silent by default: the application configures logging, not the library.
logging.getLogger("cybersource_flex").addHandler(logging.NullHandler())
# Operations for which attributes and counts are kept. `client.request` can be called with any number of paths.
MAX_OPERATIONS: Final = 500

_log: Final = logging.getLogger("cybersource_flex.transport")


class AttemptEvent(NamedTuple):
    """An attempt that ended.

    Attributes:
        operation: name of the method that was called. For ``client.request``, HTTP method and path template.
        method: HTTP method.
        path: path template, without its values.
        attempt: the attempt, with its number, start time, duration, and status or error.
        correlation_id: ``v-c-correlation-id`` of the response. None if there is none.
    """

    operation: str
    method: str
    path: str
    attempt: Attempt
    correlation_id: str | None


class CallEvent(NamedTuple):
    """A call that ended.

    Attributes:
        operation: name of the method that was called. For ``client.request``, HTTP method and path template.
        method: HTTP method.
        path: path template, without its values.
        attempts: all attempts of the call.
        duration: duration of the call in seconds, including waits.
        status: HTTP status of the last response. None if there was no complete response.
        outcome: whether the host accepted or rejected the call, as in ``CallError.outcome``.
        error: class name of the exception that the call raises. None if the call succeeds.
    """

    operation: str
    method: str
    path: str
    attempts: tuple[Attempt, ...]
    duration: float
    status: int | None
    outcome: Outcome
    error: str | None


class EventHooks(ImmutableValue):
    """User callbacks for attempts and calls. They run in the calling thread and should be fast. Exceptions are logged
    and ignored. The callbacks are not awaited, so async functions are rejected.

    Args:
        on_attempt: function that is called with an ``AttemptEvent`` after each attempt.
        on_call_end: function that is called with a ``CallEvent`` at the end of each call.

    Raises:
        ConfigurationError: an argument is not a function, or is an async function.
    """

    __slots__ = ("on_attempt", "on_call_end")

    on_attempt: Callable[[AttemptEvent], object] | None
    on_call_end: Callable[[CallEvent], object] | None

    def __init__(
        self,
        *,
        on_attempt: Callable[[AttemptEvent], object] | None = None,
        on_call_end: Callable[[CallEvent], object] | None = None,
    ) -> None:
        for name, callback in (("on_attempt", on_attempt), ("on_call_end", on_call_end)):
            if callback is not None:
                check_function(name, callback, "a function that takes one event")
        self._set(on_attempt=on_attempt, on_call_end=on_call_end)

    def __repr__(self) -> str:
        return f"EventHooks(on_attempt={self.on_attempt is not None}, on_call_end={self.on_call_end is not None})"

    def notify_attempt(self, event: AttemptEvent) -> None:
        """Report an attempt to the log and the callback."""
        attempt = event.attempt
        if _log.isEnabledFor(logging.DEBUG):
            _log.debug(
                "%s %s attempt %d: %s in %.3f s (correlation id %s)",
                event.method,
                event.path,
                attempt.number,
                attempt.status if attempt.error is None else attempt.error,
                attempt.duration,
                _displayed_correlation_id(event.correlation_id),
            )
        if self.on_attempt is not None:
            try:
                check_result("on_attempt", self.on_attempt(event))
            except Exception:
                _log.exception("on_attempt failed")

    def notify_call_end(self, event: CallEvent) -> None:
        """Report the end of a call to the callback. A call with more than one attempt is also logged."""
        if len(event.attempts) > 1:
            _log.info(
                "%s %s: %s after %d attempts in %.3f s",
                event.method,
                event.path,
                event.status if event.error is None else event.error,
                len(event.attempts),
                event.duration,
            )
        if self.on_call_end is not None:
            try:
                check_result("on_call_end", self.on_call_end(event))
            except Exception:
                _log.exception("on_call_end failed")


class CallSpan(Protocol):
    """OpenTelemetry span of one call in progress, with a span for each attempt.

    The span is started and ended in the same thread or task.
    """

    def attempt_started(self) -> None:
        """An attempt is signed and about to be sent."""
        ...

    def attempt_ended(self, status: int | None = None, error: BaseException | None = None) -> None:
        """The attempt ended, with the status of a complete response or with an error."""
        ...

    def call_ended(self, error: BaseException | None = None) -> None:
        """The call ended, with or without an error. This also ends an attempt that is still open."""
        ...


class _Tracer(Protocol):
    def start_call(self, name: str, method: str, path: str) -> CallSpan: ...


class Tracing:
    """OpenTelemetry spans for both transports, active once the application has imported ``opentelemetry``.

    This package never imports OpenTelemetry itself. An application that exports spans has already imported it.

    Args:
        host: base URL of the signed host.
    """

    __slots__ = ("_host", "_tracer", "_unusable")

    def __init__(self, host: str) -> None:
        self._host = host
        self._tracer: _Tracer | None = None
        self._unusable = False

    def start_call(self, name: str, method: str, path: str) -> CallSpan | None:
        """Start the span of a call. Returns None if OpenTelemetry is not loaded or not usable.

        Args:
            name: name of the operation.
            method: HTTP method.
            path: path template, without its values.
        """
        if self._tracer is None:
            if self._unusable or "opentelemetry" not in sys.modules:
                return None
            self._tracer = _load_tracer(self._host)
            self._unusable = self._tracer is None
            if self._tracer is None:
                return None
        return self._tracer.start_call(name, method, path)


def _load_tracer(host: str) -> _Tracer | None:
    try:
        from .otel import OpenTelemetry
    except ImportError as cause:
        if (cause.name or "").startswith(__name__.partition(".")[0]):
            raise
        # The loaded package ``opentelemetry`` does not contain the API, or contains an older version than the extra
        # requires.
        return None
    return OpenTelemetry(host)


def _displayed_correlation_id(correlation_id: str | None) -> str | None:
    return None if correlation_id is None else safe_correlation_id(correlation_id) or "<invalid>"
