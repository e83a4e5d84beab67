"""Check functions and objects that a caller gives: whether what they return has to be awaited.

An async function passes for a function, and an awaitable client for a client, until the first call. It is checked where
the argument is given, as far as that can be seen, and once more when a function has returned.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from types import FunctionType, MethodType
from typing import Any, Final, TypeVar

from .errors import ConfigurationError

__all__ = ["check_async_function", "check_awaitable", "check_function", "check_methods", "check_result", "is_async"]

_T = TypeVar("_T")

# CO_COROUTINE, CO_ITERABLE_COROUTINE and CO_ASYNC_GENERATOR. `inspect`, which has them by name, is slow to import.
_ASYNC: Final = 0x80 | 0x100 | 0x200


def is_async(function: object) -> bool:
    """Whether the result of a function has to be awaited, or iterated with ``async for``: an ``async def`` function or
    method, a partial of one, or an object with an async ``__call__``.
    """
    return _has_flag(function) or _has_flag(getattr(type(function), "__call__", None))  # noqa: B004


def _has_flag(function: Any) -> bool:
    while isinstance(function, partial):
        function = function.func
    flags = getattr(getattr(function, "__code__", None), "co_flags", 0)
    return isinstance(flags, int) and bool(flags & _ASYNC)


def _is_plain(function: Any) -> bool:
    """Whether a function is certainly none whose result has to be awaited.

    A lambda, a builtin and an object may return an awaitable; a plain ``def`` may as well, but is not taken for it. A
    wrapper counts as what it wraps.
    """
    while isinstance(function, (partial, MethodType)) or hasattr(function, "__wrapped__"):
        if is_async(function):
            return False
        if isinstance(function, partial):
            function = function.func
        else:
            function = function.__func__ if isinstance(function, MethodType) else function.__wrapped__
    return isinstance(function, FunctionType) and function.__name__ != "<lambda>" and not is_async(function)


def check_function(name: str, function: object, expected: str) -> None:
    """Check that an argument is a function that is not async.

    Args:
        name: name of the argument, for messages.
        function: the argument.
        expected: what it must be, for messages: "a function from bytes to bytes".

    Raises:
        ConfigurationError: it cannot be called, or its result has to be awaited.
    """
    if not callable(function):
        raise ConfigurationError(f"{name} must be {expected}, not an object of type {type(function).__name__}")
    if is_async(function):
        raise ConfigurationError(f"{name} must be {expected}, not an async one: it is called and never awaited")


def check_async_function(name: str, function: object, expected: str) -> None:
    """Check that an argument is an async function, or one that may return an awaitable.

    Raises:
        ConfigurationError: it cannot be called, or it is a plain ``def`` function.
    """
    if not callable(function):
        raise ConfigurationError(f"{name} must be {expected}, not an object of type {type(function).__name__}")
    if _is_plain(function):
        raise ConfigurationError(f"{name} must be {expected}, not a plain one: what it returns is awaited")


def check_methods(name: str, value: object, methods: Iterable[str], expected: str, *, awaited: bool = False) -> None:
    """Check that an object has these methods, and that they are async or are not.

    Args:
        name: name of the argument, for messages.
        value: the argument.
        methods: names of its methods.
        expected: what it must be, for messages: "a KeySource such as PinnedKeys([...])".
        awaited: whether the results of the methods are awaited.

    Raises:
        ConfigurationError: a method is missing, or is of the other kind.
    """
    for each in methods:
        method = getattr(value, each, None)
        wrong = f"{name} must be {expected}, not an object of type {type(value).__name__}"
        if not callable(method):
            raise ConfigurationError(wrong)
        if not awaited and is_async(method):
            raise ConfigurationError(f"{wrong}, whose method {each} is async")
        if awaited and _is_plain(method):
            raise ConfigurationError(f"{wrong}, whose method {each} is not async")


def check_result(name: str, value: _T) -> _T:
    """Return what a function of the caller's returned, if it does not have to be awaited.

    Raises:
        ConfigurationError: it does. A coroutine is closed first, so that Python does not warn that nobody awaited it.
    """
    if hasattr(value, "__await__"):
        close = getattr(value, "close", None)
        if callable(close):
            close()
        kind = type(value).__name__
        raise ConfigurationError(f"{name} returned an object of type {kind}, which has to be awaited; it must not")
    return value


def check_awaitable(name: str, value: _T) -> _T:
    """Return what a function of the caller's returned, if it can be awaited. Raises ``ConfigurationError`` if not."""
    if not hasattr(value, "__await__"):
        kind = type(value).__name__
        raise ConfigurationError(f"{name} returned an object of type {kind}, which cannot be awaited; it must be async")
    return value
