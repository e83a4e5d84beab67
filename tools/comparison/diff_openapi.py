"""Changes between two specifications, rated by their effect on users of this client.

Redocly finds the changes, and the rules of CONTRIBUTING.md rate them. They differ from redocly's: in this client, enums
are open, limits are not checked, and names in the specification become names in Python. ``diff_requests.py`` rates the
hosts, signatures and headers of requests.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final, NamedTuple

import redocly
from comparison import diff_requests
from comparison.semver_impact import Finding, Impact
from openapi.document import EXTENSIONS, Document, load
from openapi.schema_usage import Directions, directions

SOURCE: Final = diff_requests.SOURCE

# Only shown to readers.
_WORDS: Final = {"description", "example", "summary", "title", "externalDocs"}
_WORDY_NODES: Final = {"Contact", "Example", "ExternalDocs", "Info", "License", "Tag"}
# What diff_requests rates.
_REQUEST_NODES: Final = {"SecurityRequirement", "SecurityRequirementList", "Server", "ServerList"}

# Limits that are stricter if the value is higher, lower, or another.
_HIGHER: Final = {"minItems", "minLength", "minProperties", "minimum"}
_LOWER: Final = {"maxItems", "maxLength", "maxProperties", "maximum"}
_OTHER: Final = {"exclusiveMaximum", "exclusiveMinimum", "multipleOf", "pattern", "uniqueItems"}

# Changes that redocly calls harmless: the effect of a new value of this member on users of this client.
_CLIENT_IMPACT: Final = {
    "deprecated": Impact.MINOR,
    "default": Impact.MINOR,
    "required": Impact.MINOR,
    # Decides whether a call is retried.
    "x-retry-safe": Impact.MINOR,
    # Decides whether a body that is not a JWE is rejected before it is sent.
    "x-encrypted-body": Impact.MAJOR,
    # The class of the method is a name in Python.
    "tags": Impact.MAJOR,
    "propertyName": Impact.MAJOR,
}

_NOUNS: Final = {
    "MediaType": "media type",
    "PathItem": "path",
    "RequestBody": "request body",
    "SecurityRequirement": "authentication scheme",
}
_LONGEST: Final = 60


class _Documents(NamedTuple):
    """Both specifications, and the directions of their schemas."""

    before: Document
    after: Document
    directions: Directions


def findings(before: Path, after: Path) -> list[Finding]:
    """The changes from one OpenAPI document to another, the highest impact first.

    Raises:
        redocly.RedoclyError: redocly cannot be run, or cannot read one of the documents.
    """
    old, new = (load(file.read_text(encoding="utf-8")) for file in (before, after))
    was, now = directions(old), directions(new)
    documents = _Documents(old, new, Directions(was.sent | now.sent, was.read | now.read))
    rated = [(_impact(change, documents), change) for change in redocly.diff(before, after)]
    changes = {Finding(impact, _place(change), _what(change), SOURCE) for impact, change in rated if impact}
    changes.update(diff_requests.findings(old, new))
    return sorted(changes, key=lambda finding: (-finding.impact, finding.place, finding.what))


def _impact(change: dict[str, Any], documents: _Documents) -> Impact:
    rated = Impact[change["impact"].upper()]
    kind, node, member = change["kind"], change["typeName"], change.get("property") or ""
    place = str(_side(change)["pointer"])
    if node in _REQUEST_NODES or _is_other_parameter(change, documents):
        return Impact.NONE
    if member.startswith("x-") and member not in EXTENSIONS:
        return Impact.NONE
    if node in _WORDY_NODES or member in _WORDS:
        return Impact.PATCH
    if node == "Schema" and "/discriminator/mapping/" in place:
        return Impact.MINOR if kind == "added" else Impact.MAJOR
    if node == "Schema" and kind == "modified":
        special = _schema_impact(change, member, place, documents)
        if special is not None:
            return special
    if node == "MediaType" and kind == "removed" and "/responses/" in place:
        return Impact.MINOR
    if change["verdicts"]:
        return rated
    named = node == "Schema" and _names_something(place)
    if named and (kind == "removed" or member == "key"):
        return Impact.MAJOR
    if named and kind == "added":
        return Impact.MINOR
    return max(rated, _CLIENT_IMPACT.get(member, Impact.NONE))


def _schema_impact(change: dict[str, Any], member: str, place: str, documents: _Documents) -> Impact | None:
    """The impact of another value of a member whose effect depends on the direction. None for other members."""
    before, after = (change.get(side, {}).get("value") for side in ("base", "revision"))
    is_sent, is_read = documents.directions.is_sent(place), documents.directions.is_read(place)
    if member == "enum":
        return Impact.MINOR
    if member in _HIGHER | _LOWER | _OTHER:
        return Impact.MAJOR if is_sent and _is_stricter(member, before, after) else Impact.MINOR
    if member == "nullable":
        if after is True:
            return Impact.MAJOR if is_read and _is_required(documents.after, place) else Impact.MINOR
        return Impact.MAJOR if is_sent else Impact.MINOR
    if member == "required" and not isinstance(before, bool) and not isinstance(after, bool):
        gained, lost = set(after or ()) - set(before or ()), set(before or ()) - set(after or ())
        return Impact.MAJOR if (gained and is_sent) or (lost and is_read) else Impact.MINOR
    return None


def _is_stricter(member: str, before: Any, after: Any) -> bool:
    if after is None or after is False:
        return False
    if before is None or member in _OTHER:
        return True
    return bool(after > before if member in _HIGHER else after < before)


def _is_required(document: Document, place: str) -> bool:
    """Whether the property at a JSON pointer is required."""
    parts = [part.replace("~1", "/").replace("~0", "~") for part in place.removeprefix("#/").split("/")]
    if parts[-1] == "nullable":
        parts.pop()
    if len(parts) < 2 or parts[-2] != "properties":
        return False
    node: Any = document
    for part in parts[:-2]:
        node = node[int(part)] if isinstance(node, list) else node[part]
    return parts[-1] in node.get("required", [])


def _is_other_parameter(change: dict[str, Any], documents: _Documents) -> bool:
    """Whether a media type only has other parameters than before, such as the charset."""
    if change["typeName"] != "MediaType":
        return False
    place = str(_side(change)["pointer"]).removesuffix("/schema")
    content, _, media_type = place.rpartition("/")
    types = []
    for document in (documents.before, documents.after):
        node: Any = document
        for part in content.removeprefix("#/").split("/"):
            node = node.get(part.replace("~1", "/").replace("~0", "~"), {}) if isinstance(node, dict) else {}
        types.append({diff_requests.essence(name) for name in node} if isinstance(node, dict) else set())
    name = diff_requests.essence(media_type.replace("~1", "/").replace("~0", "~"))
    return (name in types[0] and name in types[1] and change["kind"] != "modified") or (
        change.get("property") == "key" and bool(types[0] & types[1])
    )


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
