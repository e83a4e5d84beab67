"""Warnings that point to the line of the program, however deep in the package they come from."""

from __future__ import annotations

import sys
import warnings

__all__ = ["warn_deprecated"]


def warn_deprecated(message: str) -> None:
    """Give a ``DeprecationWarning`` for the first line up the stack that is not this package's own."""
    package = __name__.partition(".")[0]
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, DeprecationWarning, stacklevel=level)
