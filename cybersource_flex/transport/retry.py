"""When to try again, and when: decisions alone, no waiting (CyberSource gives no rule; RFC 9110 section 10.2.3)."""

from __future__ import annotations

import random
from collections.abc import Collection
from email.utils import parsedate_to_datetime
from typing import Any, Final

from .._sealed import sealed
from ..errors import ConfigurationError
from .frozen import Frozen

__all__ = ["RetryPolicy", "retry_after"]

# Longest time in seconds that a host may ask for; more is no answer to a page that waits.
_MOST_RETRY_AFTER: Final = 86_400.0


@sealed
class RetryPolicy(Frozen):
    """How often to try, how long to wait in between, and how long all of it may take. Unchangeable.

    A call is tried again after a failure to connect, for any operation, since nothing was sent; and after a broken
    connection, a timeout or one of ``statuses``, for operations that do no harm when repeated: reading, and asking for
    a capture context. Each attempt is signed anew.

    Args:
        attempts: attempts in all, the first included; 1 to try once.
        base: seconds; before attempt ``n + 1`` a random time of up to ``base * 2 ** (n - 1)`` is waited (full jitter).
        cap: seconds; the longest of these waits.
        statuses: HTTP statuses after which to try again.
        deadline: seconds for the call in all, waits included; None for no limit. A wait that would end after it is not
            begun: the failure is raised at once.
        repeat_any: try again also those operations whose repetition may do something twice.

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
        """The policy with some of its values changed, by the names of the arguments."""
        return RetryPolicy(**{**{name: getattr(self, name) for name in self.__slots__}, **changes})

    def __repr__(self) -> str:
        return f"RetryPolicy({', '.join(f'{name}={getattr(self, name)!r}' for name in self.__slots__)})"

    def pause(self, attempt: int, asked: float | None) -> float:
        """Seconds to wait after an attempt that failed.

        Args:
            attempt: its number, from 1.
            asked: what the host asked for in ``Retry-After``, in seconds; it is waited for if it is the longer one.
        """
        jitter = random.uniform(0, min(self.cap, self.base * 2 ** (attempt - 1)))  # noqa: S311 - no secret
        return jitter if asked is None else max(asked, jitter)


def _seconds(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise ConfigurationError(f"{name} must be a positive number of seconds")
    return float(value)


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds that a ``Retry-After`` header asks for, in either of its forms; None where it says nothing that is one.

    Args:
        value: the header.
        now: the host's time in seconds since the epoch, for the form that is a date.
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:12]), _MOST_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, moment - now), _MOST_RETRY_AFTER)
