"""A lock that a forked process finds free.

A fork copies locks as they are, and the one thread of the child is never the one that holds them: an ordinary lock that
another thread held at that moment stays locked in the child for ever.
"""

from __future__ import annotations

import os
import threading

__all__ = ["Lock"]


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
