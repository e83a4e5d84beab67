"""Run blocking functions in threads, so that the caller can stop waiting for them at a deadline."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from .lock import ForkSafeSemaphore

__all__ = ["MAX_RUNNING", "TooManyThreadsError", "WaitTimeoutError", "start_in_thread", "wait_for_result"]

_T = TypeVar("_T")

# Maximum number of running threads. A function that never returns keeps its thread, so more calls are rejected.
MAX_RUNNING: Final = 200

_running: Final = ForkSafeSemaphore(MAX_RUNNING)


class TooManyThreadsError(Exception):
    """No thread can be started, because the limit of this module or of the system is reached."""


class WaitTimeoutError(Exception):
    """A function in a thread did not return in time."""


def start_in_thread(function: Callable[[], _T]) -> Future[_T]:
    """Start a function in a daemon thread, with a copy of the caller's context variables.

    Python cannot stop a thread. If the caller stops waiting, the function continues, and its result is discarded.

    Args:
        function: the function to run.

    Raises:
        TooManyThreadsError: ``MAX_RUNNING`` functions have not returned yet, or the system allows no further thread.
    """
    slots = _running
    if not slots.acquire(0):
        raise TooManyThreadsError(f"{MAX_RUNNING} earlier calls have not returned yet")
    future: Future[_T] = Future()
    # This makes the future impossible to cancel, because the function cannot be stopped.
    future.set_running_or_notify_cancel()
    context = contextvars.copy_context()

    def run() -> None:
        try:
            result = context.run(function)
        except StopIteration as cause:
            # An awaited future cannot raise StopIteration (PEP 479).
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


def wait_for_result(future: Future[_T], timeout: float | None) -> _T:
    """Wait for a function, and return its result or raise its exception.

    Args:
        future: the future that ``start_in_thread`` returned.
        timeout: maximum number of seconds to wait. None for no limit.

    Raises:
        WaitTimeoutError: the function did not return in time.
    """
    try:
        return future.result(timeout)
    except TimeoutError:
        if future.done():
            # The function itself raised the TimeoutError.
            raise
        raise WaitTimeoutError from None


def _finish(slots: ForkSafeSemaphore, settle: Callable[[Any], None], value: Any) -> None:
    # The slot is released before the caller that waits for the result continues.
    slots.release()
    settle(value)
