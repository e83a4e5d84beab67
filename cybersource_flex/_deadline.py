"""The time by which the current call must be over, for calls that are made of several requests."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

__all__ = ["current_deadline", "deadline_after", "earliest", "remaining", "without_deadline"]

_deadline: Final[ContextVar[float | None]] = ContextVar("cybersource_flex_deadline", default=None)


def current_deadline() -> float | None:
    """The deadline of the current thread or task on the monotonic clock, or None."""
    return _deadline.get()


def remaining() -> float | None:
    """Seconds until the deadline of the current thread or task, at least zero; None without a deadline."""
    deadline = _deadline.get()
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def earliest(*deadlines: float | None) -> float | None:
    """The earliest of several deadlines. None stands for no deadline."""
    return min((each for each in deadlines if each is not None), default=None)


@contextmanager
def deadline_after(seconds: float | None) -> Iterator[None]:
    """Hold every request made inside the block to one common deadline.

    Args:
        seconds: from now; None adds no deadline. A deadline that is set already and ends earlier stays.
    """
    later = None if seconds is None else time.monotonic() + seconds
    token = _deadline.set(earliest(_deadline.get(), later))
    try:
        yield
    finally:
        _deadline.reset(token)


@contextmanager
def without_deadline() -> Iterator[None]:
    """Lift the deadline inside the block: for work that others wait for too."""
    token = _deadline.set(None)
    try:
        yield
    finally:
        _deadline.reset(token)
