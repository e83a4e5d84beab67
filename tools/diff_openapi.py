"""Changes between two specifications, rated by their effect on users of this client.

Redocly finds the changes, knows in which direction data is sent, and rates them for any client. The rating is corrected
here where this client differs: enums are open, and some names in the specification become names in Python.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

import redocly
from semver_impact import Finding, Impact

SOURCE: Final = "wire"

# Only shown to readers.
_WORDS: Final = {"description", "example", "summary", "title", "externalDocs"}
_WORDY_NODES: Final = {"Contact", "Example", "ExternalDocs", "Info", "License", "Tag"}

# Changes that redocly calls harmless: the effect of a new value of this member on users of this client.
_CLIENT_IMPACT: Final = {
    "deprecated": Impact.MINOR,
    "default": Impact.MINOR,
    "enum": Impact.MINOR,
    "required": Impact.MINOR,
    # Decides whether a call is retried.
    "x-repeatable": Impact.MINOR,
    # Decides whether a body that is not a JWE is rejected before it is sent.
    "x-encrypted-body": Impact.MAJOR,
    # The class of the method and the name of the environment are names in Python.
    "tags": Impact.MAJOR,
    "x-environment": Impact.MAJOR,
}

_NOUNS: Final = {
    "MediaType": "media type",
    "PathItem": "path",
    "RequestBody": "request body",
    "SecurityRequirement": "authentication scheme",
}
_LONGEST: Final = 60


def findings(before: Path, after: Path) -> list[Finding]:
    """The changes from one OpenAPI document to another, the highest impact first.

    Raises:
        redocly.RedoclyError: redocly cannot be run, or cannot read one of the documents.
    """
    changes = {_finding(change) for change in redocly.diff(before, after)}
    return sorted(changes, key=lambda finding: (-finding.impact, finding.place, finding.what))


def _finding(change: dict[str, Any]) -> Finding:
    return Finding(_impact(change), _place(change), _what(change), SOURCE)


def _impact(change: dict[str, Any]) -> Impact:
    rated = Impact[change["impact"].upper()]
    kind, node, member = change["kind"], change["typeName"], change.get("property")
    if node in _WORDY_NODES or member in _WORDS:
        return Impact.PATCH
    if change["verdicts"]:
        return rated
    named = node == "Schema" and _names_something(_side(change)["pointer"])
    if named and (kind == "removed" or member == "key"):
        return Impact.MAJOR
    if named and kind == "added":
        return Impact.MINOR
    return max(rated, _CLIENT_IMPACT.get(member or "", Impact.NONE))


def _names_something(pointer: str) -> bool:
    """Whether a schema is a model or a field, both of which have a name in Python."""
    return re.search(r"^#/components/schemas/[^/]+$|/properties/[^/]+$", pointer) is not None


def _side(change: dict[str, Any]) -> dict[str, Any]:
    """The new place of the changed object, or the old place if it was removed."""
    side: dict[str, Any] = change.get("revision") or change["base"]
    return side


def _place(change: dict[str, Any]) -> str:
    return _name(str((change.get("base") or change["revision"])["pointer"]), change.get("property"))


def _name(pointer: str, member: str | None = None) -> str:
    """A JSON pointer in a readable form: ``CardFields.number``, ``POST /flex/v2/tokens responses 201``."""
    parts = [part.replace("~1", "/").replace("~0", "~") for part in pointer.removeprefix("#/").split("/")]
    if member not in (None, "key") and parts[-1] == member and parts[-2] != "properties":
        parts.pop()
    if parts[0] == "paths" and len(parts) > 1:
        path, *rest = parts[1:]
        start = f"{rest[0].upper()} {path}" if rest and rest[0] != "parameters" else path
        return " ".join([start, *(rest if start == path else rest[1:])])
    if parts[0] != "components":
        return " ".join(parts)
    name = " ".join(parts[2:])
    return re.sub(r" properties (\S+)", r".\1", name) if parts[1] == "schemas" else f"{parts[1]} {name}"


def _what(change: dict[str, Any]) -> str:
    if change["verdicts"]:
        return " ".join(verdict["message"] for verdict in change["verdicts"])
    kind, member = change["kind"], change.get("property")
    before, after = (change.get(side, {}).get("value") for side in ("base", "revision"))
    if kind != "modified" or member is None:
        return f"{_noun(change)} {kind}{_operations(after if kind == 'added' else before)}"
    if member == "key":
        return f"renamed to {_name(change['revision']['pointer'])}"
    if member in _WORDS:
        return f"`{member}` in other words"
    if isinstance(before, list) and isinstance(after, list):
        added = [_short(value) for value in after if value not in before]
        removed = [_short(value) for value in before if value not in after]
        parts = [f"gained {', '.join(added)}"] * bool(added) + [f"lost {', '.join(removed)}"] * bool(removed)
        return f"`{member}` {' and '.join(parts) or 'in another order'}"
    return f"`{member}`: {_short(before)} → {_short(after)}"


def _noun(change: dict[str, Any]) -> str:
    node = str(change["typeName"])
    pointer = str(_side(change)["pointer"])
    if node == "Schema" and _names_something(pointer):
        return "field" if "/properties/" in pointer else "model"
    return _NOUNS.get(node, node.lower())


def _operations(value: Any) -> str:
    """The ids of the operations in a path or an operation, or the name of a parameter."""
    if not isinstance(value, dict):
        return ""
    inner = [value, *(part for part in value.values() if isinstance(part, dict))]
    names = [str(part["operationId"]) for part in inner if "operationId" in part]
    if "in" in value and "name" in value:
        names.append(f"{value['name']} in {value['in']}")
    return f": {', '.join(names)}" if names else ""


def _short(value: Any) -> str:
    if value is None:
        return "not set"
    shown_value = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"`{shown_value if len(shown_value) <= _LONGEST else shown_value[: _LONGEST - 1] + '…'}`"
