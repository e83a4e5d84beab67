"""Locks and limits for threads that work in a forked child too.

A fork copies locks as they are, and the one thread of the child is never the one that holds them: an ordinary lock that
another thread held at that moment stays locked in the child for ever. All of these are made of primitives written in C,
so that an exception raised by a signal handler cannot leave one taken.
"""

from __future__ import annotations

import os
import queue
import threading
from typing import Any
from weakref import WeakSet

__all__ = ["Lock", "Slots"]

_locks: WeakSet[Any] = WeakSet()


def Lock() -> threading.Lock:  # noqa: N802 - used like threading.Lock, which is a function too
    """Make a ``threading.Lock`` that is free in a forked child."""
    lock = threading.Lock()
    _locks.add(lock)
    return lock


def _free_all() -> None:
    for lock in list(_locks):
        # What the standard library does with its own locks.
        lock._at_fork_reinit()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free_all)


class Slots:
    """A number of places, each held by one call at a time. A forked child begins with all of them free.

    Args:
        size: how many.
    """

    __slots__ = ("_free", "_process", "_size")

    def __init__(self, size: int) -> None:
        self._size = size
        self._process = os.getpid()
        self._free = self._full()

    def _full(self) -> queue.SimpleQueue[None]:
        free: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(self._size):
            free.put(None)
        return free

    def acquire(self, timeout: float | None) -> bool:
        """Wait for a place. Returns whether there was one in time.

        Args:
            timeout: seconds to wait at most, 0 for not at all; None for no limit.
        """
        if self._process != os.getpid():
            self._free, self._process = self._full(), os.getpid()
        try:
            self._free.get(timeout != 0, timeout)
        except queue.Empty:
            return False
        return True

    def release(self) -> None:
        """Give a place back. A place that was taken before a fork is not one of the child's."""
        if self._process == os.getpid():
            self._free.put(None)
