"""``RetryPolicy``: attempts, waits, retried statuses and deadline of a call. Also parses ``Retry-After``.

CyberSource does not document how to retry. ``Retry-After`` is read as in RFC 9110 section 10.2.3.
"""

from __future__ import annotations

import random
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Final

from .._immutable import ImmutableValue
from .._runtime.tracebacks import clear_locals_on_error
from ..errors import ConfigurationError
from .clock import parse_http_date

if TYPE_CHECKING:
    from typing import Self

__all__ = ["RetryPolicy", "check_seconds", "parse_retry_after"]

# Seconds. A longer ``Retry-After`` is shortened to this.
_MAX_RETRY_AFTER: Final = 86_400.0
# A year. Locks and sockets do not accept much longer times.
_MAX_SECONDS: Final = 31_536_000


@clear_locals_on_error
class RetryPolicy(ImmutableValue):
    """Retry policy: number of attempts, waits between them and the deadline of the call. Immutable.

    Any call is retried if no connection was established, because nothing was sent. After a broken connection, a timeout
    or one of ``statuses``, only operations that are safe to repeat are retried: reads, and requests for a capture
    context. Each attempt has a new signature.

    Args:
        attempts: maximum number of attempts, including the first; 1 disables retries. The retries after a 401, with new
            credentials or the corrected time, do not count.
        initial_delay: upper limit of the wait before the second attempt, in seconds. The limit doubles with each
            further attempt. The wait itself is random, from 0 to the limit (full jitter).
        max_delay: highest value of this limit, in seconds.
        statuses: HTTP statuses that are retried.
        deadline: seconds for the whole call, including waits. None for no limit. If a wait would end after the
            deadline, the failure is raised at once.
        retry_unsafe: also retry operations that may take effect twice when repeated.

    Raises:
        ConfigurationError: a value is out of range.
    """

    __slots__ = ("attempts", "deadline", "initial_delay", "max_delay", "retry_unsafe", "statuses")

    attempts: int
    initial_delay: float
    max_delay: float
    statuses: frozenset[int]
    deadline: float | None
    retry_unsafe: bool

    def __init__(
        self,
        *,
        attempts: int = 3,
        initial_delay: float = 0.25,
        max_delay: float = 8.0,
        statuses: Collection[int] = (429, 502, 503, 504),
        deadline: float | None = 60.0,
        retry_unsafe: bool = False,
    ) -> None:
        if isinstance(attempts, bool) or not isinstance(attempts, int) or not 1 <= attempts <= 20:
            raise ConfigurationError("attempts must be a whole number from 1 to 20")
        if not isinstance(statuses, Collection) or not all(
            isinstance(status, int) and 400 <= status < 600 for status in statuses
        ):
            raise ConfigurationError("statuses must be a collection of HTTP statuses from 400 to 599")
        self._set(
            attempts=attempts,
            initial_delay=check_seconds("initial_delay", initial_delay),
            max_delay=check_seconds("max_delay", max_delay),
            statuses=frozenset(statuses),
            deadline=None if deadline is None else check_seconds("deadline", deadline),
            retry_unsafe=bool(retry_unsafe),
        )

    def replace(self, **changes: Any) -> Self:
        """Return a copy of the policy with the named values changed."""
        return type(self)(**{**self._arguments(), **changes})

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in RetryPolicy.__slots__)
        return f"{type(self).__name__}({values})"

    def delay(self, attempt: int, retry_after: float | None) -> float:
        """Compute the seconds to wait after a failed attempt.

        Args:
            attempt: number of the attempt, from 1.
            retry_after: the host's ``Retry-After`` in seconds. It is used if it is longer than the random wait. None if
                the host sent no ``Retry-After``.
        """
        jitter = random.uniform(0, min(self.max_delay, self.initial_delay * 2 ** (attempt - 1)))  # noqa: S311 - no secret
        return jitter if retry_after is None else max(retry_after, jitter)


def check_seconds(name: str, value: float) -> float:
    """Check that a time in seconds is positive and at most a year. If not, ``ConfigurationError`` is raised."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= _MAX_SECONDS:
        # The message leaves out the value: a misplaced argument may be card data.
        raise ConfigurationError(f"{name} must be a positive number of seconds, at most {_MAX_SECONDS}")
    return float(value)


def parse_retry_after(value: str | None, now: float) -> float | None:
    """Convert a ``Retry-After`` header, which is a number or a date, to seconds. None if it is missing or invalid.

    Args:
        value: value of the header.
        now: the host's time in seconds since the epoch. It is subtracted if the header is a date.
    """
    if value is None:
        return None
    stripped = value.strip()
    if stripped.isascii() and stripped.isdigit():
        return min(float(stripped[:12]), _MAX_RETRY_AFTER)
    date = parse_http_date(stripped)
    return None if date is None else min(max(0.0, date - now), _MAX_RETRY_AFTER)
