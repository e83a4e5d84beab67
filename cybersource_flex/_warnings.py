"""Warnings that point to the caller's line outside this package."""

from __future__ import annotations

import sys
import warnings

__all__ = ["warn", "warn_deprecated"]


def warn_deprecated(message: str) -> None:
    """Issue a ``DeprecationWarning`` for the first frame up the stack that is outside this package."""
    warn(message, DeprecationWarning)


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Issue a warning for the first frame up the stack that is outside this package."""
    package = __name__.partition(".")[0]
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
