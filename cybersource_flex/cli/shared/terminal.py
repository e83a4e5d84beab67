"""Decide whether a stream gets colours, by the environment variables that other programs follow."""

from __future__ import annotations

import os
from typing import TextIO

__all__ = ["is_terminal", "use_color"]


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a stream is a terminal. A stream is None if it was closed before the program started."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        # The stream was closed meanwhile.
        return False


def use_color(stream: TextIO | None) -> bool:
    """Whether to write colours and other styles to a stream.

    ``NO_COLOR`` (no-color.org) wins over ``FORCE_COLOR`` (force-color.org), as in CPython; both count if they are not
    empty. Otherwise, colours are for terminals that are not dumb.
    """
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return is_terminal(stream) and os.environ.get("TERM") != "dumb"
