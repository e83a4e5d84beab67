"""Standard output and standard error: print any character in any encoding, and discard what cannot be written."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Final, TextIO

__all__ = ["allow_any_character", "discard_output", "stderr_or_null"]

# Replacements of characters that an encoding lacks. Other characters are shown as code points.
_ASCII: Final = {
    "\u2013": "-",
    "\u2014": "-",
    "\u2018": "'",
    "\u2019": "'",
    "\u201c": '"',
    "\u201d": '"',
    "\u2026": "...",
}
_ERROR_HANDLER: Final = "cybersource_flex.cli"


def allow_any_character(*streams: TextIO | None) -> None:
    """Let text streams replace the characters that their encoding lacks, instead of raising an exception.

    Terminals and pipes may have ASCII or a Windows code page as encoding, and no encoding can encode lone
    surrogates.
    """
    codecs.register_error(_ERROR_HANDLER, _replace)
    for stream in streams:
        # A stream is None if it was closed, and tests replace streams with other objects.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ERROR_HANDLER)


@contextlib.contextmanager
def stderr_or_null() -> Iterator[None]:
    """Discard what is written to standard error while the block runs, if it was closed before the program started."""
    if sys.stderr is not None:
        yield
        return
    with open(os.devnull, "w") as null, contextlib.redirect_stderr(null):
        yield


def discard_output() -> None:
    """Discard what cannot be written to standard output or standard error.

    Otherwise Python tries to write it again when the process ends, and prints a traceback.
    """
    for stream, original in ((sys.stdout, sys.__stdout__), (sys.stderr, sys.__stderr__)):
        # Tests replace streams with other objects.
        if stream is None or original is None or stream is not original:
            continue
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, stream.fileno())
                os.close(null)


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    characters = error.object[error.start : error.end]
    return "".join(_ASCII.get(char, f"<U+{ord(char):04X}>") for char in characters), error.end
