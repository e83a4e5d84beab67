"""How much a change means to users, as one part of a semantic version, and which versions may carry it."""

from __future__ import annotations

import enum
import re
from pathlib import Path
from typing import Final, NamedTuple

VERSION_FILE: Final = "cybersource_flex/_version.py"

Version = tuple[int, int, int]


class VersionError(Exception):
    """A tree has no version that can be read."""


class Impact(enum.IntEnum):
    """What a change does to a program that worked before, the least first."""

    NONE = 0
    PATCH = 1
    MINOR = 2
    MAJOR = 3

    @property
    def word(self) -> str:
        return self.name.lower()


class Finding(NamedTuple):
    """One change.

    Attributes:
        impact: what it does to users.
        place: the model, field, method or operation, by its name.
        what: what happened to it.
        source: who found it: the wire, the Python API or the previous tests.
    """

    impact: Impact
    place: str
    what: str
    source: str


def worst(findings: list[Finding]) -> Impact:
    return max((finding.impact for finding in findings), default=Impact.NONE)


def lowest(before: Version, impact: Impact) -> Version:
    """The lowest version that may follow ``before`` with such a change.

    Before 1.0.0 the second number is the one that says what breaks, as caret ranges read it: there a major change asks
    for a new second number, and anything smaller for a new third.
    """
    major, minor, patch = before
    if impact is Impact.NONE:
        return before
    if major == 0:
        return (0, minor + 1, 0) if impact is Impact.MAJOR else (0, minor, patch + 1)
    if impact is Impact.MAJOR:
        return (major + 1, 0, 0)
    return (major, minor + 1, 0) if impact is Impact.MINOR else (major, minor, patch + 1)


def version(root: Path) -> Version:
    """The version of a tree.

    Raises:
        VersionError: it is not of the form ``1.2.3``.
    """
    text = (root / VERSION_FILE).read_text(encoding="utf-8")
    found = re.search(r'^__version__: Final = "(\d+)\.(\d+)\.(\d+)"$', text, re.MULTILINE)
    if found is None:
        raise VersionError(f"{VERSION_FILE} has no __version__ of the form 1.2.3")
    return int(found[1]), int(found[2]), int(found[3])


def spelled(number: Version) -> str:
    return ".".join(map(str, number))


def has_section(changelog: str, number: Version) -> bool:
    """Whether a changelog has a section, with something in it, whose heading begins with this version."""
    heading = rf"^## +\[?{re.escape(spelled(number))}\]?(?![\w.+-]).*\n"
    found = re.search(heading + r"((?:(?!^## ).*\n?)*)", changelog, re.MULTILINE)
    return found is not None and bool(found[1].strip())
