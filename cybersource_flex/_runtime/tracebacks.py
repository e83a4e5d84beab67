"""Clear local variables from exception tracebacks, so that error reporters cannot capture secrets.

Error reporters record the local variables of every frame. The frames of this package hold secrets, tokens and card data
while a call runs. These variables are not needed any more when an exception has left the package.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from types import FrameType, FunctionType
from typing import Any, TypeVar

__all__ = ["clear_locals", "clear_locals_on_error"]

_T = TypeVar("_T", bound=Callable[..., Any])

# CO_COROUTINE. `inspect` defines the name, but importing it would slow down the import of this package.
_COROUTINE = 0x80
# CO_GENERATOR, CO_COROUTINE and CO_ASYNC_GENERATOR.
_SUSPENDABLE = 0x20 | 0x80 | 0x200

_PACKAGE = __name__.partition(".")[0]


def clear_locals_on_error(thing: _T) -> _T:
    """Decorate a function, or the public methods of a class, to clear local variables in tracebacks of exceptions.

    File names and line numbers stay in the traceback.
    """
    target: Any = thing
    if isinstance(target, type):
        for name, value in list(vars(target).items()):
            if name.startswith("_") and name != "__init__":
                continue
            if isinstance(value, FunctionType):
                setattr(target, name, _function(value))
            elif isinstance(value, (classmethod, staticmethod)):
                setattr(target, name, type(value)(_function(value.__func__)))
        return thing
    wrapped: _T = _function(thing)
    return wrapped


def _function(function: Any) -> Any:
    # The frames of the wrappers are part of the traceback, so the wrappers delete their arguments too.
    @wraps(function)
    def call(*args: Any, **keywords: Any) -> Any:
        outer = sys.exc_info()[1]
        try:
            return function(*args, **keywords)
        except BaseException as error:
            clear_locals(error, outer)
            del args, keywords, outer
            raise

    @wraps(function)
    async def awaited(*args: Any, **keywords: Any) -> Any:
        outer = sys.exc_info()[1]
        try:
            return await function(*args, **keywords)
        except BaseException as error:
            clear_locals(error, outer)
            del args, keywords, outer
            raise

    return awaited if function.__code__.co_flags & _COROUTINE else call


def clear_locals(error: BaseException, outer: BaseException | None) -> None:
    """Clear the local variables of all finished frames in the traceback of an exception, its causes and its contexts.

    Args:
        error: the exception.
        outer: the exception that the caller was already handling. This one is not changed. None if there is none.
    """
    visited: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        each = pending.pop()
        if each is None or each is outer or id(each) in visited:
            continue
        visited.add(id(each))
        trace = each.__traceback__
        while trace is not None:
            if _may_clear(trace.tb_frame):
                # The caller's frames are still running and cannot be cleared.
                with suppress(RuntimeError):
                    trace.tb_frame.clear()
            trace = trace.tb_next
        pending += (each.__cause__, each.__context__)


def _may_clear(frame: FrameType) -> bool:
    """Whether a frame can be cleared without harm.

    Before Python 3.13, clearing the frame of a suspended generator or coroutine closes the generator or coroutine. The
    generators of this package have ended when an exception has passed through them. Whether the caller's generators
    have ended is unknown.
    """
    if not frame.f_code.co_flags & _SUSPENDABLE:
        return True
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] == _PACKAGE
