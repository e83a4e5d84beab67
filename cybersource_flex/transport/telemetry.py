"""What may be told about a call: which operation, how often, how long, how it ended. Never a body, a header, a token, a
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

# Silent unless the program says otherwise; the library decides nothing about anybody's logs.
logging.getLogger("cybersource_flex").addHandler(logging.NullHandler())
_log: Final = logging.getLogger("cybersource_flex.transport")

# A host can send anything under the name of a correlation id, also a token or the number of a card.
_CORRELATION_ID: Final = re.compile(r"[0-9A-Za-z-]{1,40}")


class AttemptEvent(NamedTuple):
    """An attempt that ended.

    Attributes:
        operation: name of the method that was called.
        method: HTTP method.
        path: path template, without the values in it.
        attempt: number, time, duration, and status or error.
        correlation_id: ``v-c-correlation-id`` of the answer, or None.
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
        path: path template, without the values in it.
        attempts: all its attempts.
        seconds: how long it took, waits included.
        status: HTTP status of the last answer, or None.
        outcome: what became of it.
        error: name of the class of exception that is raised, or None.
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
    """Functions that are told. They are called in the thread of the call and should be quick; what they raise is logged
    and does not disturb the call. They are not awaited, so async functions are refused.

    Args:
        on_attempt: told after each attempt.
        on_response: told once a call, at its end.

    Raises:
        ConfigurationError: an argument is not a function, or an async one.
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
        for name, given in (("on_attempt", on_attempt), ("on_response", on_response)):
            if given is not None:
                check_function(name, given, "a function of one event")
        self._set(_on_attempt=on_attempt, _on_response=on_response)

    def __repr__(self) -> str:
        return f"Events(on_attempt={self._on_attempt is not None}, on_response={self._on_response is not None})"

    @property
    def wants_attempts(self) -> bool:
        """Whether anybody is told of attempts; where not, nothing need be made to tell."""
        return self._on_attempt is not None or _log.isEnabledFor(logging.DEBUG)

    @property
    def wants_responses(self) -> bool:
        """Whether anybody is told of calls that took one attempt; of those with more, the log always is."""
        return self._on_response is not None

    def attempt(self, event: AttemptEvent) -> None:
        """Tell of an attempt, in the log too."""
        made = event.attempt
        if _log.isEnabledFor(logging.DEBUG):
            _log.debug(
                "%s %s attempt %d: %s in %.3f s (correlation id %s)",
                event.method,
                event.path,
                made.number,
                made.status if made.error is None else made.error,
                made.seconds,
                _shown(event.correlation_id),
            )
        if self._on_attempt is not None:
            try:
                check_result("on_attempt", self._on_attempt(event))
            except Exception:
                _log.exception("on_attempt failed")

    def response(self, event: ResponseEvent) -> None:
        """Tell of the end of a call, in the log too where it took more than one attempt."""
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
    """A call under way. What begins with ``call_started`` ends with ``call_ended``, in the same thread or task."""

    def attempt_started(self) -> None:
        """An attempt is about to be sent: it is signed, and nothing else is left to do."""
        ...

    def attempt_ended(self, status: int | None = None, error: BaseException | None = None) -> None:
        """It ended, with the status of a complete answer or with an error in place of it."""
        ...

    def call_ended(self, error: BaseException | None = None) -> None:
        """The call ended, with this error or with none; and so did an attempt that was not ended."""
        ...


class _Calls(Protocol):
    def call_started(self, operation: Operation) -> Call: ...


class _Untold:
    """Where nobody listens: calls, and each of them."""

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
    """OpenTelemetry, for every way of sending: told of calls once the program has loaded it, and never loaded for it.

    Who wants spans has set up an SDK somewhere, and nobody can do that without loading OpenTelemetry.

    Args:
        host: base URL of the host that is signed.
    """

    __slots__ = ("_calls", "_host")

    def __init__(self, host: str) -> None:
        self._host = host
        self._calls: _Calls | None = None

    def call_started(self, operation: Operation) -> Call:
        """Tell that a call begins, and return what is to be told of the rest of it."""
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
        # Another package has the same name and no API, or the API is older than the extra allows.
        return _UNTOLD
    return OpenTelemetry(host)


def _shown(correlation_id: str | None) -> str | None:
    if correlation_id is None or _CORRELATION_ID.fullmatch(correlation_id):
        return correlation_id
    return "<not one>"
