"""Check whether functions and objects of the caller are async.

A caller may pass an async function where a plain one is expected, or the reverse. If possible, this mistake is
reported when the function is passed, and otherwise when the function has returned.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from types import FunctionType, MethodType
from typing import Any, Final, TypeVar

from .errors import ConfigurationError

__all__ = ["check_async_function", "check_awaitable", "check_function", "check_methods", "check_result", "is_async"]

_T = TypeVar("_T")

# CO_COROUTINE, CO_ITERABLE_COROUTINE and CO_ASYNC_GENERATOR. `inspect` defines the names, but importing it is slow.
_ASYNC: Final = 0x80 | 0x100 | 0x200


def is_async(function: object) -> bool:
    """Whether a function is async: an ``async def`` function or method, or an object with an async ``__call__``.

    Async generator functions and partials of async functions count too.
    """
    return _has_flag(function) or _has_flag(getattr(type(function), "__call__", None))  # noqa: B004


def _has_flag(function: Any) -> bool:
    while isinstance(function, partial):
        function = function.func
    flags = getattr(getattr(function, "__code__", None), "co_flags", 0)
    return isinstance(flags, int) and bool(flags & _ASYNC)


def _is_plain(function: Any) -> bool:
    """Whether a function is a plain ``def`` function, which is assumed not to return an awaitable.

    A lambda, a builtin or a callable object may return an awaitable, so these are not plain. For a wrapper, the wrapped
    function is checked.
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
        expected: what the argument must be, for messages: "a function that takes and returns bytes".

    Raises:
        ConfigurationError: the argument is not callable, or is async.
    """
    if not callable(function):
        raise ConfigurationError(f"{name} must be {expected}, not an object of type {type(function).__name__}")
    if is_async(function):
        raise ConfigurationError(f"{name} is an async function, but its result is not awaited; expected {expected}")


def check_async_function(name: str, function: object, expected: str) -> None:
    """Check that an argument is an async function, or a function that may return an awaitable.

    Raises:
        ConfigurationError: the argument is not callable, or is a plain ``def`` function.
    """
    if not callable(function):
        raise ConfigurationError(f"{name} must be {expected}, not an object of type {type(function).__name__}")
    if _is_plain(function):
        raise ConfigurationError(f"{name} is not an async function, but its result is awaited; expected {expected}")


def check_methods(name: str, value: object, methods: Iterable[str], expected: str, *, awaited: bool = False) -> None:
    """Check that an object has the given methods, and that they are async if ``awaited`` is True, otherwise not async.

    Args:
        name: name of the argument, for messages.
        value: the argument.
        methods: names of the methods that the object must have.
        expected: what the argument must be, for messages: "a KeySource such as PinnedKeys([...])".
        awaited: True if the methods must be async. False if the methods must not be async.

    Raises:
        ConfigurationError: a method is missing, or does not match ``awaited``.
    """
    for method_name in methods:
        method = getattr(value, method_name, None)
        message = f"{name} must be {expected}, not an object of type {type(value).__name__}"
        if not callable(method):
            raise ConfigurationError(message)
        if not awaited and is_async(method):
            raise ConfigurationError(f"{message}; its method {method_name} must not be async")
        if awaited and _is_plain(method):
            raise ConfigurationError(f"{message}; its method {method_name} must be async")


def check_result(name: str, value: _T) -> _T:
    """Check that a function of the caller did not return an awaitable, and return its result.

    Raises:
        ConfigurationError: the result is awaitable. A coroutine is closed first, so that Python does not warn about it.
    """
    if hasattr(value, "__await__"):
        close = getattr(value, "close", None)
        if callable(close):
            close()
        type_name = type(value).__name__
        raise ConfigurationError(f"{name} returned an awaitable object of type {type_name}, but must not be async")
    return value


def check_awaitable(name: str, value: _T) -> _T:
    """Check that a function of the caller returned an awaitable, and return it. Raises ``ConfigurationError``."""
    if not hasattr(value, "__await__"):
        type_name = type(value).__name__
        raise ConfigurationError(
            f"{name} returned an object of type {type_name}, which is not awaitable; expected an async function"
        )
    return value
