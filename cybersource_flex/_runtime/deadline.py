"""The deadline of the current call, for calls that send several requests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from .monotonic import monotonic

__all__ = ["current_deadline", "deadline_after", "remaining", "without_deadline"]

#: The deadline of the current thread or task, on the monotonic clock. None if there is no deadline.
current_deadline: Final[ContextVar[float | None]] = ContextVar("cybersource_flex_deadline", default=None)


def remaining() -> float | None:
    """Return the seconds until the deadline of the current thread or task, at least zero. None without a deadline."""
    deadline = current_deadline.get()
    return None if deadline is None else max(0.0, deadline - monotonic())


@contextmanager
def deadline_after(seconds: float | None) -> Iterator[None]:
    """Set one deadline for all requests inside the block.

    Args:
        seconds: seconds from now. None sets no deadline. If an earlier deadline is already set, that one still applies.
    """
    deadline = current_deadline.get()
    if seconds is not None and (deadline is None or monotonic() + seconds < deadline):
        deadline = monotonic() + seconds
    token = current_deadline.set(deadline)
    try:
        yield
    finally:
        current_deadline.reset(token)


@contextmanager
def without_deadline() -> Iterator[None]:
    """Suspend the deadline inside the block. Used for work whose result other callers are waiting for too."""
    token = current_deadline.set(None)
    try:
        yield
    finally:
        current_deadline.reset(token)
