"""What a person sees: headings and JSON, in colour on a terminal and plain in a pipe."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.highlighter import JSONHighlighter
from rich.text import Text

__all__ = ["Screen", "decoded", "json_lines", "shortened"]

# Characters of a text, and of a line of JSON, that are shown whole.
_LONGEST = 60
_LINE = 96


class Screen:
    """Standard output, one artefact after the other."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._colours = JSONHighlighter()

    def title(self, text: str) -> None:
        self._console.print(text, style="bold")

    def step(self, number: int, text: str, detail: str) -> None:
        self._console.print()
        self._console.print(f"[bold cyan]{number}. {text}[/] [dim]{detail}[/]")

    def say(self, text: str, style: str = "") -> None:
        self._console.print(f"   {text}", style=style, markup=False)

    def verified(self, text: str) -> None:
        self._console.print("   [bold green]verified[/]", end=" ")
        self._console.print(text, markup=False)

    def finding(self, level: str, check: str, text: str, hint: str) -> None:
        colour = {"ok": "green", "warning": "yellow", "problem": "bold red"}[level]
        self._console.print(f"   [{colour}]{level:<8}[/] [dim]{check:<18}[/] ", end="")
        self._console.print(text, markup=False)
        if hint:
            self._console.print(f"   {'':<27} {hint}", style="italic", markup=False)

    def artefact(self, name: str, value: Any) -> None:
        self._console.print(f"   [yellow]{name}[/]")
        for line in json_lines(value):
            self._console.print(self._colours(Text(f"   {line}")))


def shortened(value: Any) -> Any:
    """JSON types with long texts cut in the middle: keys and ciphertexts tell a reader nothing."""
    if isinstance(value, Mapping):
        return {key: shortened(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [shortened(entry) for entry in value]
    if isinstance(value, str) and len(value) > _LONGEST:
        return f"{value[:24]}…{value[-8:]} ({len(value)} characters)"
    return value


def decoded(part: str) -> Any:
    """The JSON in one part of a compact JWS or JWE, for showing; nothing is verified by this."""
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def json_lines(value: Any, indent: int = 0, lead: str = "") -> list[str]:
    """JSON in lines: what fits on one stays on one, so that a tree of small leaves is not a page long."""
    flat = json.dumps(value, ensure_ascii=False)
    blanks = " " * indent
    if len(blanks) + len(lead) + len(flat) <= _LINE or not value or not isinstance(value, (dict, list)):
        return [f"{blanks}{lead}{flat}"]
    opening, closing = ("{", "}") if isinstance(value, dict) else ("[", "]")
    entries = value.items() if isinstance(value, dict) else ((None, entry) for entry in value)
    lines = [f"{blanks}{lead}{opening}"]
    for name, entry in entries:
        lines += json_lines(entry, indent + 2, "" if name is None else f"{json.dumps(name)}: ")
        lines[-1] += ","
    lines[-1] = lines[-1][:-1]
    return [*lines, f"{blanks}{closing}"]
