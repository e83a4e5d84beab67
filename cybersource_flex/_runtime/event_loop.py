"""The running asyncio event loop, and ``sleep``, ``timeout`` and ``wait`` with timers that a test tool cannot stop.

The three functions use asyncio. If a test tool such as freezegun has replaced ``time.monotonic``, the timers of asyncio
may never expire, so a thread measures the time instead. This is a separate module because importing asyncio is slow.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import AbstractAsyncContextManager, suppress
from types import TracebackType
from typing import Any

from ..errors import ConfigurationError
from .monotonic import is_clock_patched

__all__ = ["running_loop", "sleep", "timeout", "wait"]


def running_loop() -> asyncio.AbstractEventLoop:
    """Return the running event loop.

    Raises:
        ConfigurationError: no event loop is running in this thread, or the event loop is not an asyncio event loop.
    """
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise ConfigurationError(
            "no asyncio event loop is running, which the asynchronous client requires; trio and other event loops are "
            "not supported"
        ) from None


def timeout(seconds: float | None) -> AbstractAsyncContextManager[Any]:
    """Like ``asyncio.timeout``: raise ``TimeoutError`` if the block takes longer. None sets no limit."""
    if seconds is None or not is_clock_patched():
        return asyncio.timeout(seconds)
    return _ThreadTimeout(seconds)


async def sleep(seconds: float) -> None:
    """Like ``asyncio.sleep``."""
    if not is_clock_patched():
        await asyncio.sleep(seconds)
        return
    with suppress(TimeoutError):
        async with timeout(seconds):
            await asyncio.get_running_loop().create_future()


async def wait(future: asyncio.Future[Any], seconds: float | None) -> None:
    """Wait at most this many seconds for a future or task. If it takes longer, nothing is raised or cancelled."""
    if seconds is None or not is_clock_patched():
        await asyncio.wait((future,), timeout=seconds)
        return
    with suppress(TimeoutError):
        async with timeout(seconds):
            await asyncio.wait((future,))


class _ThreadTimeout:
    """``asyncio.timeout`` with a thread as its timer."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timeout = asyncio.timeout(None)
        self._entered = False

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()
        self._loop = asyncio.get_running_loop()
        self._timer = threading.Timer(self._seconds, self._expire)
        self._timer.daemon = True
        self._entered = True
        self._timer.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entered = False
        self._timer.cancel()
        # Raises TimeoutError if the timer expired.
        await self._timeout.__aexit__(kind, error, trace)

    def _expire(self) -> None:
        # The event loop is closed if the program ended without waiting for the block.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._expire_in_loop)

    def _expire_in_loop(self) -> None:
        if self._entered:
            self._timeout.reschedule(float("-inf"))
