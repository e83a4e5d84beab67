"""A lock that a forked process finds free.

A fork copies locks as they are, and the one thread of the child is never the one that holds them: an ordinary lock that
another thread held at that moment stays locked in the child for ever.
"""

from __future__ import annotations

import os
import threading

__all__ = ["Lock", "Slots"]


class Lock:
    """One lock for each process. For use with ``with``."""

    __slots__ = ("_locks",)

    def __init__(self) -> None:
        self._locks = {os.getpid(): threading.Lock()}

    def __enter__(self) -> None:
        process = os.getpid()
        # `setdefault` gives all threads of the child the same one.
        found = self._locks.get(process) or self._locks.setdefault(process, threading.Lock())
        found.acquire()

    def __exit__(self, *_: object) -> None:
        self._locks[os.getpid()].release()


class Slots:
    """A number of places, each held by one call at a time. A forked child begins with all of them free.

    Args:
        size: how many.
    """

    __slots__ = ("_semaphores", "_size")

    def __init__(self, size: int) -> None:
        self._size = size
        self._semaphores = {os.getpid(): threading.Semaphore(size)}

    def acquire(self, timeout: float | None) -> bool:
        """Wait for a place. Returns whether there was one in time.

        Args:
            timeout: seconds to wait at most; None for no limit.
        """
        process = os.getpid()
        found = self._semaphores.get(process)
        if found is None:
            found = self._semaphores.setdefault(process, threading.Semaphore(self._size))
        return found.acquire(timeout=timeout)

    def release(self) -> None:
        """Give a place back. A place that was taken before a fork is not one of the child's."""
        found = self._semaphores.get(os.getpid())
        if found is not None:
            found.release()
