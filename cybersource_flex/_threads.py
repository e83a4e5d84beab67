"""Run blocking functions in threads, so that the caller can stop waiting for them at a deadline."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from ._lock import Slots

__all__ = ["MAX_RUNNING", "NotInTimeError", "TooManyThreadsError", "result_in_time", "start_in_thread"]

_T = TypeVar("_T")

# A function that never returns keeps its thread. Calls are refused above this number, so that threads cannot pile up.
MAX_RUNNING: Final = 200

_running: Final = Slots(MAX_RUNNING)


class TooManyThreadsError(Exception):
    """No thread can be started: the limit is reached, here or in the operating system."""


class NotInTimeError(Exception):
    """The function did not return in time."""


def start_in_thread(function: Callable[[], _T]) -> Future[_T]:
    """Start a function in a daemon thread, with a copy of the caller's context variables.

    Python cannot stop a thread: when the caller stops waiting, the function runs on, and its result is discarded.

    Args:
        function: what to run.

    Raises:
        TooManyThreadsError: ``MAX_RUNNING`` functions have not returned yet, or the system allows no further thread.
    """
    slots = _running
    if not slots.acquire(0):
        raise TooManyThreadsError(f"{MAX_RUNNING} earlier calls have not returned yet")
    future: Future[_T] = Future()
    # From here on it cannot be cancelled: the function runs to its end.
    future.set_running_or_notify_cancel()
    context = contextvars.copy_context()

    def run() -> None:
        try:
            result = context.run(function)
        except StopIteration as cause:
            # A future that is awaited cannot carry it (PEP 479).
            error = RuntimeError("the function raised StopIteration")
            error.__cause__ = cause
            _finish(slots, future.set_exception, error)
        except BaseException as error:
            _finish(slots, future.set_exception, error)
        else:
            _finish(slots, future.set_result, result)

    try:
        threading.Thread(target=run, name="cybersource-flex-wait", daemon=True).start()
    except RuntimeError as cause:
        slots.release()
        raise TooManyThreadsError("the system allows no further thread") from cause
    return future


def result_in_time(future: Future[_T], timeout: float | None) -> _T:
    """What the function returned or raised.

    Args:
        future: from ``start_in_thread``.
        timeout: seconds to wait at most; None for no limit.

    Raises:
        NotInTimeError: the function did not return in time.
    """
    try:
        return future.result(timeout)
    except TimeoutError:
        if future.done():
            # The function itself raised it.
            raise
        raise NotInTimeError from None


def _finish(slots: Slots, settle: Callable[[Any], None], value: Any) -> None:
    # The place is free before anyone who waits for the result goes on.
    slots.release()
    settle(value)
