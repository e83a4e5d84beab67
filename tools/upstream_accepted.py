"""The differences that are meant to be, each with its reason: openapi.accepted.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import specification
import yaml
from upstream_differences import Difference
from upstream_operations import Unreadable

_KEYS: Final = ("operation", "place", "what", "ours", "upstream", "reason")


def read(file: Path) -> dict[Difference, str]:
    """The reason of each accepted difference.

    An entry names one operation and one place or a list of either; it stands for all combinations.

    Raises:
        Unreadable: the file is malformed, or an entry has no reason.
    """
    try:
        content = specification.load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise Unreadable(f"{file.name}: {error}") from None
    if not isinstance(content, list):
        raise Unreadable(f"{file.name}: is not a list of accepted differences")
    reasons: dict[Difference, str] = {}
    for number, entry in enumerate(content, 1):
        place = f"{file.name}: entry {number}"
        for difference in _differences(entry, place):
            if difference in reasons:
                raise Unreadable(f"{place}: {difference.operation}, {difference.place} is accepted twice")
            reasons[difference] = " ".join(entry["reason"].split())
    return reasons


def _differences(entry: Any, place: str) -> list[Difference]:
    if not isinstance(entry, dict):
        raise Unreadable(f"{place}: is not a mapping")
    if not isinstance(entry.get("reason"), str) or not entry["reason"].strip():
        raise Unreadable(f"{place}: has no reason")
    wrong = [*(key for key in _KEYS if key not in entry), *(str(key) for key in entry if key not in _KEYS)]
    if wrong:
        raise Unreadable(f"{place}: needs {', '.join(_KEYS)} and no others; wrong: {', '.join(wrong)}")
    what, ours, upstream = (str(entry[key]) for key in ("what", "ours", "upstream"))
    return [
        Difference(operation, where, what, ours, upstream)
        for operation in _texts(entry, "operation", place)
        for where in _texts(entry, "place", place)
    ]


def _texts(entry: Mapping[str, Any], key: str, place: str) -> list[str]:
    found = entry[key] if isinstance(entry[key], list) else [entry[key]]
    if not found or not all(isinstance(text, str) for text in found):
        raise Unreadable(f"{place}: {key} must be a text or a list of texts")
    return found
