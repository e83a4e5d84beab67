"""Exceptions without the values that they came by.

Tools that report exceptions show the variables of frames. Those of ours hold secrets, tokens and card data, because
they must while they are at work; and nobody needs them afterwards.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from types import FrameType, FunctionType
from typing import Any, TypeVar

__all__ = ["forget", "sealed"]

_T = TypeVar("_T", bound=Callable[..., Any])

# CO_COROUTINE. The module that tells by name is one that importing this package should not cost.
_COROUTINE = 0x80
# CO_GENERATOR, CO_COROUTINE and CO_ASYNC_GENERATOR.
_SUSPENDABLE = 0x20 | 0x80 | 0x200

_PACKAGE = __name__.partition(".")[0]


def sealed(thing: _T) -> _T:
    """Have exceptions leave a function, or the public methods of a class, without the variables of the frames inside.

    The lines that an exception came through stay in its traceback.
    """
    given: Any = thing
    if isinstance(given, type):
        for name, value in list(vars(given).items()):
            if name.startswith("_") and name != "__init__":
                continue
            if isinstance(value, FunctionType):
                setattr(given, name, _function(value))
            elif isinstance(value, (classmethod, staticmethod)):
                setattr(given, name, type(value)(_function(value.__func__)))
        return thing
    made: _T = _function(thing)
    return made


def _function(function: Any) -> Any:
    # The arguments go from the frames below as well, which are part of the traceback.
    @wraps(function)
    def call(*args: Any, **keywords: Any) -> Any:
        outer = sys.exc_info()[1]
        try:
            return function(*args, **keywords)
        except BaseException as error:
            forget(error, outer)
            del args, keywords, outer
            raise

    @wraps(function)
    async def awaited(*args: Any, **keywords: Any) -> Any:
        outer = sys.exc_info()[1]
        try:
            return await function(*args, **keywords)
        except BaseException as error:
            forget(error, outer)
            del args, keywords, outer
            raise

    return awaited if function.__code__.co_flags & _COROUTINE else call


def forget(error: BaseException, outer: BaseException | None) -> None:
    """Empty the variables of all frames that an exception came through and that have ended, and of those before it.

    Args:
        error: the exception.
        outer: the one that the caller was handling already, if any: that one is not ours to touch.
    """
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        each = left.pop()
        if each is None or each is outer or id(each) in seen:
            continue
        seen.add(id(each))
        trace = each.__traceback__
        while trace is not None:
            if _may_clear(trace.tb_frame):
                # Frames that are still running, the caller's, cannot be cleared.
                with suppress(RuntimeError):
                    trace.tb_frame.clear()
            trace = trace.tb_next
        left += (each.__cause__, each.__context__)


def _may_clear(frame: FrameType) -> bool:
    """Whether a frame can be cleared without harm.

    Before Python 3.13, clearing the frame of a suspended generator or coroutine closes it. Those of this package have
    ended when an exception has come through them; of the caller's it cannot be known.
    """
    if not frame.f_code.co_flags & _SUSPENDABLE:
        return True
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] == _PACKAGE
