"""Checks of the types of arguments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import ConfigurationError

#: Ten years in seconds.
LONGEST = 315_360_000


def check_number(name: str, value: object, *, whole: bool = False) -> None:
    """Raise unless a value is a finite number of sensible size. With `whole`, it must be an integer."""
    types = int if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, types) or not -(1 << 62) < value < 1 << 62:
        raise ConfigurationError(f"{name} must be a {'whole ' if whole else ''}number")


def check_seconds(name: str, value: object) -> None:
    """Raise unless a value is a number of seconds between minus ten years and ten years."""
    check_number(name, value)
    if not -LONGEST <= value <= LONGEST:  # type: ignore[operator]
        raise ConfigurationError(f"{name} must be a number of seconds, at most {LONGEST}")


def check_list(name: str, value: object, *types: type) -> tuple[Any, ...]:
    """Return the entries of a list. Raise unless each entry is of one of the types."""
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise ConfigurationError(f"{name} must be a list, not a single {type(value).__name__}")
    entries = tuple(value)
    if not all(isinstance(entry, types) for entry in entries):
        raise ConfigurationError(f"{name} must contain only {' or '.join(each.__name__ for each in types)}")
    return entries


def check_str(name: str, value: object) -> None:
    """Raise unless a value is a string that UTF-8 can encode."""
    if not isinstance(value, str) or any("\ud800" <= char <= "\udfff" for char in value):
        raise ConfigurationError(f"{name} must be a string")
