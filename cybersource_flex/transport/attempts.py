"""The attempts of one call: when to sign, when to retry, when to give up.

Decisions only: nothing here sends or waits, so both transports share it.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from .._deadline import current_deadline, earliest
from ..errors import Attempt, ConfigurationError, TransportError
from .retry import RetryPolicy, retry_after
from .telemetry import AttemptEvent

if TYPE_CHECKING:
    from .clock import Clock
    from .message import Request, Response
    from .settings import Settings

__all__ = ["Attempts"]

_log: Final = logging.getLogger("cybersource_flex.transport")

_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


class Attempts:
    """The attempts of one call in progress.

    Args:
        request: the request; encrypted and signed separately for each attempt.
        settings: the signer, the encryption and the event callbacks.
        clock: the time to sign with.
        policy: the retry policy.
    """

    __slots__ = (
        "_clock",
        "_corrected",
        "_deadline",
        "_made",
        "_policy",
        "_renewed",
        "_request",
        "_sent_at",
        "_settings",
        "_started",
        "sent",
    )

    def __init__(self, request: Request, settings: Settings, clock: Clock, policy: RetryPolicy) -> None:
        self._request = request
        self._settings = settings
        self._clock = clock
        self._policy = policy
        own = None if policy.deadline is None else time.monotonic() + policy.deadline
        self._deadline = earliest(own, current_deadline())
        self._made: list[Attempt] = []
        self._renewed = self._corrected = False
        self._started = self._sent_at = 0.0
        #: The request as it was last sent: encrypted, if that is on.
        self.sent = request

    @property
    def deadline(self) -> float | None:
        """When the call must end, on the monotonic clock; None for no deadline."""
        return self._deadline

    def prepare(self) -> None:
        """Start an attempt, before it is signed."""
        self.sent = self._request
        self._sent_at = time.time()
        self._started = time.monotonic()

    def begin(self) -> dict[str, str]:
        """Encrypt and sign, and return the headers to send ``self.sent`` with."""
        request, settings = self._request, self._settings
        credentials: dict[str, str] = {}
        if request.operation.signed and settings.auth is not None:
            # Signed here, not earlier, so that each attempt has its own time and token id.
            now = self._clock.now()
            if settings.mle is not None:
                request = settings.mle.outgoing(request, now)
            credentials = _checked(settings.auth.sign(request, now))
        self.sent = request
        self._sent_at = time.time()
        self._started = time.monotonic()
        return {"User-Agent": settings.user_agent, **request.headers, "Host": request.host, **credentials}

    def answered(self, response: Response) -> float | None:
        """Record a complete response.

        Returns:
            Seconds to wait before the next attempt; None if this is the response to return.
        """
        self._note(status=response.status, headers=response.headers)
        date = response.headers.get("Date")
        self._clock.learn(date, sent=self._sent_at, received=time.time())
        response.attempts = tuple(self._made)
        if response.status == 401 and self._request.operation.signed:
            return self._again_after_401()
        if response.status not in self._policy.statuses or not self._repeatable():
            return None
        asked = retry_after(response.headers.get("Retry-After"), time.time() + (self._clock.measured or 0.0))
        return self._pause(asked)

    def failed(self, error: TransportError) -> float:
        """Record an attempt without a complete response.

        Returns:
            Seconds to wait before the next attempt.

        Raises:
            TransportError: the error, if there is no next attempt.
        """
        self._note(error=type(error).__name__)
        error.attempts = tuple(self._made)
        pause = None
        if error.transient and (error.outcome == "not_sent" or (error.outcome == "unknown" and self._repeatable())):
            pause = self._pause(None)
        if pause is None:
            raise error
        return pause

    def _repeatable(self) -> bool:
        return self._request.operation.repeatable or self._policy.repeat_any

    def _again_after_401(self) -> float | None:
        """Allow one retry with renewed credentials, and one with the corrected time. A wrong secret gets neither."""
        renew = getattr(self._settings.auth, "renew", None)
        if not self._renewed and callable(renew):
            self._renewed = True
            if renew():
                return self._within_deadline(0.0)
        if not self._corrected and self._clock.adopt():
            self._corrected = True
            _log.warning(
                "the host refused a request and its clock differs from this machine's by %.0f s; signing with its time",
                self._clock.offset,
            )
            return self._within_deadline(0.0)
        return None

    def _pause(self, asked: float | None) -> float | None:
        number = len(self._made)
        if number >= self._policy.attempts:
            return None
        return self._within_deadline(self._policy.pause(number, asked))

    def _within_deadline(self, pause: float) -> float | None:
        if self._deadline is not None and time.monotonic() + pause >= self._deadline:
            return None
        return pause

    def _note(
        self, *, status: int | None = None, error: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        made = Attempt(len(self._made) + 1, self._sent_at, time.monotonic() - self._started, status, error)
        self._made.append(made)
        events = self._settings.events
        if events.wants_attempts:
            operation = self._request.operation
            correlation_id = None if headers is None else headers.get("v-c-correlation-id")
            events.attempt(AttemptEvent(operation.name, operation.method, operation.path, made, correlation_id))


def _checked(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of a signer, which can be user code. No message contains a value: it is a credential.

    Raises:
        ConfigurationError: a header cannot be sent.
    """
    checked = dict(headers)
    for name, value in checked.items():
        if not (isinstance(name, str) and _HEADER_NAME.fullmatch(name)):
            raise ConfigurationError("the signer returned a header whose name is not a token (RFC 9110 section 5.6.2)")
        if not (isinstance(value, str) and _HEADER_VALUE.fullmatch(value)):
            raise ConfigurationError(
                f"the signer returned a value for the header {name!r} that cannot be sent; expected a string of "
                "Latin-1 characters without line breaks and control characters"
            )
    return checked
