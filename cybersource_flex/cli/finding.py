"""One thing that ``doctor`` looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

__all__ = ["Finding", "Level"]

Level = Literal["ok", "warning", "problem"]


class Finding(NamedTuple):
    """One thing that was looked at.

    Attributes:
        check: its name, which does not change between versions.
        level: how it is.
        text: what was found, for a person.
        hint: what to do about it, or empty.
        facts: the same for a program.
    """

    check: str
    level: Level
    text: str
    hint: str = ""
    facts: Mapping[str, Any] = {}
