"""Whether and when to retry. Pure decisions; nothing here sleeps.

CyberSource documents no rule. ``Retry-After`` is read as in RFC 9110 section 10.2.3.
"""

from __future__ import annotations

import random
from collections.abc import Collection
from email.utils import parsedate_to_datetime
from typing import Any, Final

from .._sealed import sealed
from ..errors import ConfigurationError
from .frozen import Frozen

__all__ = ["RetryPolicy", "retry_after"]

# The longest ``Retry-After`` accepted, in seconds; a longer one is shortened to it.
_MOST_RETRY_AFTER: Final = 86_400.0


@sealed
class RetryPolicy(Frozen):
    """Retry policy: number of attempts, waits between them and the deadline of the call. Immutable.

    Any call is retried after a failure to connect, because nothing was sent. After a broken connection, a timeout or
    one of ``statuses``, only operations that are safe to repeat are retried: reading, and requesting a capture context.
    Each attempt gets a new signature.

    Args:
        attempts: maximum number of attempts, including the first; 1 disables retries.
        base: seconds; the wait before attempt ``n + 1`` is random, up to ``base * 2 ** (n - 1)`` (full jitter).
        cap: seconds; the longest of these waits.
        statuses: HTTP statuses that are retried.
        deadline: seconds for the whole call, including waits; None for no limit. If a wait would end after it, the
            failure is raised at once.
        repeat_any: also retry operations that may take effect twice when repeated.

    Raises:
        ConfigurationError: a value is out of its range.
    """

    __slots__ = ("attempts", "base", "cap", "deadline", "repeat_any", "statuses")

    attempts: int
    base: float
    cap: float
    statuses: frozenset[int]
    deadline: float | None
    repeat_any: bool

    def __init__(
        self,
        *,
        attempts: int = 3,
        base: float = 0.25,
        cap: float = 8.0,
        statuses: Collection[int] = (429, 502, 503, 504),
        deadline: float | None = 60.0,
        repeat_any: bool = False,
    ) -> None:
        if isinstance(attempts, bool) or not isinstance(attempts, int) or not 1 <= attempts <= 20:
            raise ConfigurationError("attempts must be a whole number from 1 to 20")
        if not all(isinstance(status, int) and 400 <= status < 600 for status in statuses):
            raise ConfigurationError("statuses must be HTTP statuses from 400 to 599")
        self._set(
            attempts=attempts,
            base=_seconds("base", base),
            cap=_seconds("cap", cap),
            statuses=frozenset(statuses),
            deadline=None if deadline is None else _seconds("deadline", deadline),
            repeat_any=bool(repeat_any),
        )

    def replace(self, **changes: Any) -> RetryPolicy:
        """Return a copy of the policy with the named values changed."""
        return RetryPolicy(**{**{name: getattr(self, name) for name in self.__slots__}, **changes})

    def __repr__(self) -> str:
        return f"RetryPolicy({', '.join(f'{name}={getattr(self, name)!r}' for name in self.__slots__)})"

    def pause(self, attempt: int, asked: float | None) -> float:
        """Seconds to wait after an attempt that failed.

        Args:
            attempt: its number, from 1.
            asked: the host's ``Retry-After`` in seconds, or None; used if it is longer than the computed wait.
        """
        jitter = random.uniform(0, min(self.cap, self.base * 2 ** (attempt - 1)))  # noqa: S311 - no secret
        return jitter if asked is None else max(asked, jitter)


def _seconds(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise ConfigurationError(f"{name} must be a positive number of seconds")
    return float(value)


def retry_after(value: str | None, now: float) -> float | None:
    """Parse a ``Retry-After`` header in either of its forms into seconds. None if it is missing or invalid.

    Args:
        value: the header.
        now: the host's time in seconds since the epoch, for the form that is a date.
    """
    if value is None:
        return None
    stripped = value.strip()
    if stripped.isascii() and stripped.isdigit():
        return min(float(stripped[:12]), _MOST_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(stripped).timestamp()
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, moment - now), _MOST_RETRY_AFTER)
