"""Convert captured data between nested objects and dotted field names. Format field names for messages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from ..errors import InvalidDataError

__all__ = ["HIDDEN_NAME", "displayable_name", "flatten", "join_names", "unflatten"]

# Maximum number of levels in a dotted field name. Published field names have at most three.
_MAX_DEPTH: Final = 16
# Field names that a message may show. A card number or date does not match, because it has more digits.
_NAME: Final = re.compile(r"[A-Za-z_]{1,40}[0-9]{0,2}(\.[A-Za-z_]{1,40}[0-9]{0,2})*")
# Maximum number of fields that a message lists. A context may have 35.
_MAX_LISTED: Final = 8

HIDDEN_NAME: Final = "a field with an unusual name (not shown)"


def flatten(data: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Convert nested captured data to a flat mapping from dotted field names to strings.

    Empty strings and None are left out.

    Raises:
        InvalidDataError: a value or a name is not a string, or a field occurs twice.
    """
    if not isinstance(data, (dict, Mapping)):
        raise InvalidDataError(f"the data must be a mapping, not {type(data).__name__}")
    if prefix.count(".") > _MAX_DEPTH:
        raise InvalidDataError(f"the data is nested deeper than any field; expected at most {_MAX_DEPTH} levels")
    out: dict[str, str] = {}
    for name, value in data.items():
        if not isinstance(name, str) or not name:
            raise InvalidDataError(
                "the name of a field must be a string that is not empty", field=displayable_name(prefix.rstrip("."))
            )
        path = f"{prefix}{name}"
        name_shown = displayable_name(path)
        if isinstance(value, str):
            if not (value.isascii() or _is_encodable(value)):
                raise InvalidDataError(f"{name_shown or HIDDEN_NAME} contains a lone surrogate", field=name_shown)
            flat = {path: value} if value else {}
        elif isinstance(value, (dict, Mapping)):
            flat = flatten(value, f"{path}.")
        elif value is None:
            flat = {}
        else:
            raise InvalidDataError(
                f"{name_shown or HIDDEN_NAME} must be a string, not {type(value).__name__}; numbers lose leading zeros",
                field=name_shown,
            )
        if repeated := flat.keys() & out.keys():
            name_shown = displayable_name(min(repeated))
            raise InvalidDataError(f"{name_shown or HIDDEN_NAME} occurs twice", field=name_shown)
        out.update(flat)
    return out


def _is_encodable(value: str) -> bool:
    # Checked for each value before the data is encoded, because a UnicodeEncodeError contains the whole string.
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def unflatten(values: Mapping[str, str]) -> dict[str, Any]:
    """Convert a flat mapping from dotted field names to nested objects. The reverse of ``flatten``."""
    tree: dict[str, Any] = {}
    for path, value in values.items():
        *groups, leaf = path.split(".")
        node = tree
        for group in groups:
            node = node.setdefault(group, {})
        node[leaf] = value
    return tree


def displayable_name(path: str) -> str | None:
    """Return a field name if a message may show it. None if the name could be a captured value, such as a number."""
    return path if _NAME.fullmatch(path) else None


def join_names(paths: Iterable[str]) -> str:
    """Join field names for a message. Long lists are shortened."""
    names = sorted(paths)
    if not names:
        return "none"
    return ", ".join(names[:_MAX_LISTED]) + (", ..." if len(names) > _MAX_LISTED else "")
