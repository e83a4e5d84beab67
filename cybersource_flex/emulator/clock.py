"""The host's clock: the one it was given, and by how much it is off."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

# Seconds by which the clock is off for the request being answered; every request sets it anew.
_SKEW: ContextVar[float] = ContextVar("skew", default=0.0)


class HostClock:
    """Seconds since the epoch, as the host believes.

    Args:
        base: the right time.

    Attributes:
        shift: seconds by which the host is off, for all requests.
    """

    def __init__(self, base: Callable[[], float]) -> None:
        self._base = base
        self.shift = 0.0

    def __call__(self) -> float:
        return self._base() + self.shift + _SKEW.get()

    def steady(self) -> float:
        """The right time, for what must not depend on how far off the host is."""
        return self._base()


def skew(seconds: float) -> None:
    """Let the clock be off for the rest of the request that is being answered in this task."""
    _SKEW.set(seconds)
