"""Terminal output: headings, rows, verdicts and JSON; masks secrets, and formats times and durations."""

from __future__ import annotations

import base64
import json
import os
import re
import sys
import textwrap
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import rich.console
from rich.highlighter import JSONHighlighter
from rich.text import Text

from ...cards import is_luhn_valid
from .terminal import is_terminal, use_color

__all__ = [
    "NARROW",
    "Console",
    "abbreviate",
    "decode_json_part",
    "format_duration",
    "format_relative",
    "format_utc",
    "make_rich_console",
    "mask_for_display",
]

# Longer strings are abbreviated.
_MAX_STRING_LENGTH: Final = 60
# Characters in a line of prose, in a label, and in a line of JSON.
_TEXT_WIDTH: Final = 79
_LABEL_WIDTH: Final = 14
_WIDE: Final = 96
#: Width of JSON that, indented by ``Console.json``, fits a terminal of 80 columns.
NARROW: Final = 76

# Lower-case JSON names of secrets, and what they contain.
_SECRET_NAMES: Final = {
    "securitycode": "code",
    "cryptogram": "code",
    "cvv": "code",
    "number": "number",
    "pan": "number",
}


class _RichConsole(rich.console.Console):
    def on_broken_pipe(self) -> None:
        # rich would exit with code 1. `Group.main` handles the exception.
        raise


def make_rich_console(*, stderr: bool = False) -> rich.console.Console:
    """Create a console that follows ``use_color`` and ``is_terminal``, instead of rich's own rules."""
    stream = sys.stderr if stderr else sys.stdout
    color = use_color(stream)
    # Without a colour system, rich writes no colours and no other styles. Windows has two, which rich detects.
    system: Any = None if not color else "auto" if os.name == "nt" else "standard"
    return _RichConsole(
        stderr=stderr,
        color_system=system,
        force_terminal=color or is_terminal(stream),
        no_color=False,
        highlight=False,
        soft_wrap=True,
    )


class Console:
    """Writes formatted output to standard output."""

    def __init__(self) -> None:
        self._console = make_rich_console()
        self._highlight_json = JSONHighlighter()

    def title(self, title: str) -> None:
        self._console.print(title, style="bold")

    def step(self, number: int, message: str, detail: str) -> None:
        self._console.print()
        self._console.print(f"[bold cyan]{number}. {message}[/] [dim]{detail}[/]")

    def line(self, message: str, style: str = "") -> None:
        self._console.print(f"   {message}", style=style, markup=False)

    def verified(self, message: str) -> None:
        self._console.print("   [bold green]verified[/]", end=" ")
        self._console.print(message, markup=False)

    def finding(self, level: str, check: str, message: str, hint: str) -> None:
        """Print a result of ``doctor``, with a hint below."""
        colour = {"ok": "green", "warning": "yellow", "problem": "bold red"}[level]
        self._console.print(f"   [{colour}]{level:<8}[/] [dim]{check:<18}[/] ", end="")
        self._console.print(message, markup=False)
        if hint:
            self._console.print(f"   {'':<27} {hint}", style="italic", markup=False)

    def assumption(self, verdict: str, name: str, observed: str) -> None:
        """Print a result of ``probe``."""
        colour = {"confirmed": "green", "contradicted": "bold red", "not testable": "dim"}[verdict]
        self._console.print(f"   [{colour}]{verdict:<12}[/] {name:<28} ", end="")
        self._console.print(observed, style="dim", markup=False)

    def verdict(self, good: bool, headline: str, message: str) -> None:
        """Print a coloured headline and a sentence, wrapped to 80 columns."""
        colour = "bold green" if good else "bold red"
        first, *rest = textwrap.wrap(
            f"{headline}: {message}", _TEXT_WIDTH, break_long_words=False, break_on_hyphens=False
        )
        self._console.print(Text.assemble((first[: len(headline)], colour), first[len(headline) :]))
        for line in rest:
            self._console.print(Text(line))

    def row(self, label: str, value: str, style: str = "") -> None:
        """Print a label and its value, wrapped to 80 columns."""
        width = _TEXT_WIDTH - 3 - _LABEL_WIDTH
        lines = textwrap.wrap(value, width, break_long_words=False, break_on_hyphens=False) or [""]
        for number, line in enumerate(lines):
            shown_label = f"   {label if number == 0 else '':<{_LABEL_WIDTH}}"
            self._console.print(Text.assemble((shown_label, "dim"), (line, style)))

    def rows(self, rows: Mapping[str, str]) -> None:
        for label, value in rows.items():
            self.row(label, value)

    def json(self, name: str, value: Any, width: int = _WIDE) -> None:
        """Print a JSON value below its name."""
        self._console.print(Text(f"   {name}", "yellow"))
        for line in _json_lines(value, width):
            self._console.print(self._highlight_json(Text(f"   {line}")))


def abbreviate(value: Any) -> Any:
    """Copy a JSON value and cut long strings, such as keys and ciphertexts, in the middle."""
    if isinstance(value, Mapping):
        return {key: abbreviate(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [abbreviate(entry) for entry in value]
    if isinstance(value, str) and len(value) > _MAX_STRING_LENGTH:
        return f"{value[:24]}…{value[-8:]} ({len(value)} characters)"
    return value


def decode_json_part(part: str) -> Any:
    """Decode the JSON in one part of a compact JWS or JWE, for display. Verifies nothing."""
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def _json_lines(value: Any, width: int, indent: int = 0, lead: str = "") -> list[str]:
    """Format JSON as lines. A value that fits on one line is not split, so that small nested values stay compact."""
    flat = json.dumps(value, ensure_ascii=False)
    blanks = " " * indent
    if len(blanks) + len(lead) + len(flat) <= width or not value or not isinstance(value, (dict, list)):
        return [f"{blanks}{lead}{flat}"]
    opening, closing = ("{", "}") if isinstance(value, dict) else ("[", "]")
    entries = value.items() if isinstance(value, dict) else ((None, entry) for entry in value)
    lines = [f"{blanks}{lead}{opening}"]
    for name, entry in entries:
        lines += _json_lines(entry, width, indent + 2, "" if name is None else f"{json.dumps(name)}: ")
        lines[-1] += ","
    lines[-1] = lines[-1][:-1]
    return [*lines, f"{blanks}{closing}"]


def mask_for_display(value: Any, secret: str = "") -> Any:
    """Copy an untrusted JSON value so that it can be displayed.

    Card numbers and security codes are masked. Characters that control a terminal or change the writing direction are
    replaced by their code points.

    Args:
        value: the JSON value.
        secret: the kind of secret that the name of the JSON member stands for: ``number`` for a card number, ``code``
            for a security code, empty for other values.
    """
    if isinstance(value, Mapping):
        return {
            mask_for_display(name): mask_for_display(entry, _SECRET_NAMES.get(name.lower(), secret))
            for name, entry in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [mask_for_display(entry, secret) for entry in value]
    if isinstance(value, str):
        masked = _mask(value, secret)
        return masked or "".join(char if char.isprintable() else f"<U+{ord(char):04X}>" for char in value)
    if isinstance(value, int) and not isinstance(value, bool):
        return _mask(str(value), secret) or value
    return value


def _mask(string: str, secret: str) -> str | None:
    """Mask a card number or security code. Returns None if the string is neither."""
    digits = re.sub(r"[ -]", "", string)
    if secret == "code" and string:
        return "XXX"
    if re.fullmatch(r"[0-9]{12,19}", digits) and (secret == "number" or is_luhn_valid(digits)):
        head = digits[:6] if len(digits) > 15 else ""
        return f"{head}{'X' * (len(digits) - len(head) - 4)}{digits[-4:]}"
    return None


def format_utc(seconds: float) -> str:
    """Format a timestamp as date and time in UTC."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def format_duration(seconds: float) -> str:
    """Format a duration in days, hours, minutes or seconds: ``15 min``."""
    total = int(abs(seconds))
    for least, size, unit in ((172_800, 86_400, "days"), (7200, 3600, "h"), (120, 60, "min")):
        if total >= least:
            return f"{total // size} {unit}"
    return f"{total} s"


def format_relative(seconds: float, now: float) -> str:
    """Format a timestamp relative to ``now``: ``in 5 min`` or ``2 h ago``."""
    return f"in {format_duration(seconds - now)}" if seconds > now else f"{format_duration(now - seconds)} ago"
