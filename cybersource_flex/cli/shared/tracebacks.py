"""Format tracebacks for ``--debug`` without values of the user, such as secrets and card data."""

from __future__ import annotations

import traceback
from typing import Final

import click

from ..._credential_detection import mask_credentials
from ...errors import FlexError

__all__ = ["format_traceback", "is_safe_message"]

# Messages of these classes contain names from the code, or values that are meant to be shown. A message of another
# class, such as ValueError or KeyError, can contain any value.
_SAFE: Final = (
    FlexError,
    click.ClickException,
    OSError,
    AttributeError,
    ImportError,
    NameError,
    NotImplementedError,
    RecursionError,
    TypeError,
)


def is_safe_message(error: BaseException) -> bool:
    """Whether the message of an exception can be shown."""
    message = str(error)
    return message != "" and isinstance(error, _SAFE) and mask_credentials(message) == message


def format_traceback(error: BaseException) -> str:
    """Format an exception and its causes as Python does, but leave out messages that may contain data."""
    return "".join(_format(error, set()))


def _format(error: BaseException, visited: set[int]) -> list[str]:
    visited.add(id(error))
    lines: list[str] = []
    earlier = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if earlier is not None and id(earlier) not in visited:
        link = "was the cause of" if error.__cause__ is not None else "was being handled during"
        lines += [*_format(earlier, visited), f"\nThe exception above {link} this one:\n\n"]
    if isinstance(error, BaseExceptionGroup):
        for number, member in enumerate(error.exceptions, 1):
            if id(member) not in visited:
                lines += [f"\nException {number} in the group below:\n\n", *_format(member, visited)]
    lines.append("Traceback (most recent call last):\n")
    lines += traceback.format_tb(error.__traceback__)
    module = type(error).__module__
    name = type(error).__qualname__ if module == "builtins" else f"{module}.{type(error).__qualname__}"
    if is_safe_message(error):
        lines.append(f"{name}: {error}\n")
    else:
        lines.append(f"{name}: (the message is left out, because it may contain data)\n" if str(error) else f"{name}\n")
    return lines
