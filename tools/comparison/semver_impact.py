"""The impact of a change on users as a part of a semantic version, and the versions that are allowed for it."""

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
    """The effect of a change on existing programs, in ascending order."""

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
        impact: the effect on users.
        place: the model, field, method or operation, by its name.
        what: the change.
        source: where it was detected: on the wire, in the Python API or by the previous tests.
    """

    impact: Impact
    place: str
    what: str
    source: str


def worst(findings: list[Finding]) -> Impact:
    return max((finding.impact for finding in findings), default=Impact.NONE)


def lowest(before: Version, impact: Impact) -> Version:
    """The lowest version that is allowed after ``before`` for a change of this impact.

    Before 1.0.0 the second number marks breaking changes, as in caret ranges: a major change needs a new second number,
    and any smaller change a new third number.
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
    """The version of the package in a source tree.

    Raises:
        VersionError: the version does not have the form ``1.2.3``.
    """
    source = (root / VERSION_FILE).read_text(encoding="utf-8")
    match = re.search(r'^__version__: Final = "(\d+)\.(\d+)\.(\d+)"$', source, re.MULTILINE)
    if match is None:
        raise VersionError(f"{VERSION_FILE} has no __version__ of the form 1.2.3")
    return int(match[1]), int(match[2]), int(match[3])


def format_version(number: Version) -> str:
    return ".".join(map(str, number))


def has_section(changelog: str, number: Version) -> bool:
    """Whether a changelog has a section for this version that is not empty."""
    heading = rf"^## +\[?{re.escape(format_version(number))}\]?(?![\w.+-]).*\n"
    match = re.search(heading + r"((?:(?!^## ).*\n?)*)", changelog, re.MULTILINE)
    return match is not None and bool(match[1].strip())
