"""Locks and semaphores that are reset in a forked child process.

A fork copies locks in their current state, and only the forking thread continues in the child. A lock that another
thread held at that time would stay locked forever. The locks use primitives written in C, so that an exception from a
signal handler cannot leave them locked.
"""

from __future__ import annotations

import os
import queue
import threading
from typing import Any
from weakref import WeakSet

__all__ = ["ForkSafeLock", "ForkSafeSemaphore"]

_locks: WeakSet[Any] = WeakSet()


def ForkSafeLock() -> threading.Lock:  # noqa: N802 - used like threading.Lock, which is a function too
    """Create a ``threading.Lock`` that is unlocked in a forked child."""
    lock = threading.Lock()
    _locks.add(lock)
    return lock


def _reset_all() -> None:
    for lock in list(_locks):
        # The standard library resets its own locks in the same way.
        lock._at_fork_reinit()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_all)


class ForkSafeSemaphore:
    """A semaphore with a limited number of slots for concurrent calls. In a forked child, all slots are free.

    Args:
        size: number of slots.
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
        """Wait for a free slot. Returns whether a slot was acquired in time.

        Args:
            timeout: maximum number of seconds to wait. 0 does not wait. None waits without limit.
        """
        if self._process != os.getpid():
            self._free, self._process = self._full(), os.getpid()
        try:
            self._free.get(timeout != 0, timeout)
        except queue.Empty:
            return False
        return True

    def release(self) -> None:
        """Release a slot. Slots that were acquired before a fork are ignored in the child."""
        if self._process == os.getpid():
            self._free.put(None)
