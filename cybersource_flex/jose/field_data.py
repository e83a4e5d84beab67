"""Data to capture, by the names of its fields: nested, dotted or both mixed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from ..errors import InvalidDataError

__all__ = ["UNNAMED", "flatten", "listed", "nested", "shown"]

# Levels of a field's name. The deepest has three.
_MAX_DEPTH: Final = 16
# Names of fields, with too few digits for a value to look like one.
_NAME: Final = re.compile(r"[A-Za-z_]{1,40}[0-9]{0,2}(\.[A-Za-z_]{1,40}[0-9]{0,2})*")
# Fields that a message lists. A context may ask for 35.
_MOST_LISTED: Final = 8

UNNAMED: Final = "a field with an unusual name (not shown)"


def flatten(data: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """The texts in a tree by their dotted paths, empty ones left out.

    Raises:
        InvalidDataError: a leaf is not a text, a name is not one, or a field is given twice.
    """
    if not isinstance(data, (dict, Mapping)):
        raise InvalidDataError(f"the data must be a mapping, not {type(data).__name__}")
    if prefix.count(".") > _MAX_DEPTH:
        raise InvalidDataError("the data is nested deeper than any field")
    out: dict[str, str] = {}
    for name, value in data.items():
        if not isinstance(name, str) or not name:
            raise InvalidDataError("a field's name must be a text", field=shown(prefix.rstrip(".")))
        path = f"{prefix}{name}"
        name_shown = shown(path)
        if isinstance(value, str):
            if not (value.isascii() or _is_unicode(value)):
                raise InvalidDataError(f"{name_shown or UNNAMED} has half of a surrogate pair in it", field=name_shown)
            found = {path: value} if value else {}
        elif isinstance(value, (dict, Mapping)):
            found = flatten(value, f"{path}.")
        elif value is None:
            found = {}
        else:
            raise InvalidDataError(
                f"{name_shown or UNNAMED} must be a text, not {type(value).__name__} (leading zeros count)",
                field=name_shown,
            )
        if twice := found.keys() & out.keys():
            name_shown = shown(min(twice))
            raise InvalidDataError(f"{name_shown or UNNAMED} is given twice", field=name_shown)
        out.update(found)
    return out


def _is_unicode(text: str) -> bool:
    # Before the text is part of anything: the error of encoding holds all that was to be encoded.
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def nested(values: Mapping[str, str]) -> dict[str, Any]:
    """Strings by dotted path as a tree."""
    tree: dict[str, Any] = {}
    for path, value in values.items():
        *groups, leaf = path.split(".")
        node = tree
        for group in groups:
            node = node.setdefault(group, {})
        node[leaf] = value
    return tree


def shown(path: str) -> str | None:
    """The name of a field, for a message. None if it could be a value: data may be built wrongly."""
    return path if _NAME.fullmatch(path) else None


def listed(paths: Iterable[str]) -> str:
    """Names of fields for a message, the first of them if there are many."""
    first = sorted(paths)
    if not first:
        return "none"
    return ", ".join(first[:_MOST_LISTED]) + (", ..." if len(first) > _MOST_LISTED else "")
