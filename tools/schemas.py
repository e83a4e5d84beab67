"""Which schemas the templates know. See specification.py."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any, Final

Document = dict[str, Any]
Problem = str

# Told to the reader of the page; the service is who enforces them.
_RULES: Final = {
    *(
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "exclusiveMaximum",
        "minItems",
        "minLength",
        "minProperties",
    ),
    *("minimum", "exclusiveMinimum", "multipleOf", "pattern", "uniqueItems"),
}
_NOTES: Final = {"default", "deprecated", "description", "example"}
KEYWORDS: Final = {
    *("$ref", "additionalProperties", "allOf", "discriminator", "enum", "format", "items", "nullable", "oneOf"),
    *("properties", "readOnly", "required", "type", "writeOnly"),
    *_RULES,
    *_NOTES,
}

_FORMATS: Final = {
    "string": {"byte", "date", "date-time", "email", "hostname", "password", "uri", "url", "uuid"},
    "integer": {"int32", "int64"},
    "number": {"double", "float"},
}
# What generator-config.yaml gives another name in exactly these spellings.
_HIDING: Final = {
    *("additionalProperties", "additional_properties", "bool", "datetime", "dict", "int", "list", "str"),
}
_ENUMS: Final = {"string": (str,), "integer": (int,), "number": (float, int)}
_TYPES: Final = {"array", "boolean", "integer", "number", "object", "string"}


def walk(found: Any, place: str, known: Collection[str], needed: Collection[str] = ()) -> Iterator[Problem]:
    """The members of an object that are not known, and those that are needed and missing."""
    if not isinstance(found, dict):
        yield f"{place}: must be an object"
        return
    for member in ("description", "summary"):
        if re.search(r"\\|\"{3}|'{3}", str(found.get(member, ""))):
            yield f"{place}/{member}: a backslash or three quotation marks cannot stand in a docstring"
    for member in found:
        if member not in known:
            yield f"{place}/{member}: `{member}` is not supported here"
    for member in sorted(needed):
        if member not in found:
            yield f"{place}: needs `{member}`"


def resolve(document: Document, found: Any) -> Any:
    """What an object refers to, through any number of references and the one-reference form of ``allOf``."""
    for _ in range(20):
        if not isinstance(found, dict):
            return {}
        reference = found.get("$ref")
        if reference is None and len(found.get("allOf", [])) == 1:
            reference = found["allOf"][0].get("$ref")
        if reference is None:
            return found
        found = document
        for part in str(reference).removeprefix("#/").split("/"):
            found = found.get(part, {}) if isinstance(found, dict) else {}
    return {}


def snake(name: str) -> str:
    """Roughly the name that the generator makes of ``name``; for finding two that become one."""
    name = re.sub(r"([A-Z]+)([A-Z][a-z][a-z]+)", r"\1_\2", re.sub(r"[^A-Za-z0-9_]", "_", name))
    return re.sub(r"([a-z\d])([A-Z])", r"\1_\2", name).lower().strip("_")


def without_clash(name: str, place: str, seen: dict[str, str]) -> Iterator[Problem]:
    other = seen.setdefault(snake(name), name)
    if other != name:
        yield f"{place}: the name {name} and the name {other} become the same in Python"
    elif seen.get(f"={name}"):
        yield f"{place}: the name {name} is used twice"
    seen[f"={name}"] = name


def name(text: Any, place: str) -> Iterator[Problem]:
    """Names of properties and parameters: what can stand in a Python string and become an identifier."""
    if not isinstance(text, str):
        yield f"{place}: the name must be a text; quote what YAML reads as something else"
    elif not re.fullmatch(r"[A-Za-z0-9_$@.-]*[A-Za-z][A-Za-z0-9_$@.-]*", text):
        yield f"{place}: the name {text!r} is not supported; letters, digits, `_`, `-`, `.`, `$` and `@` are"
    elif text not in _HIDING and snake(text) in _HIDING:
        yield f"{place}: the name {text} is not supported: {snake(text)} has a meaning in every model"


def schema(
    document: Document, found: Any, place: str, *, named: bool = False, owned: bool = False, inner: bool = False
) -> Iterator[Problem]:
    """The problems of one schema and those inside it.

    Args:
        document: the whole document.
        found: the schema.
        place: where it stands.
        named: it stands in ``components/schemas``.
        owned: it is a property, so that it can be null, deprecated, read-only and write-only.
        inner: it is what a list or a map has in it, so that it can be null.
    """
    yield from walk(found, place, KEYWORDS)
    if not isinstance(found, dict):
        return
    if "$ref" in found:
        yield from _reference(document, found, place, named)
        return
    for member in ("oneOf", "discriminator"):
        if member in found:
            yield f"{place}/{member}: `{member}` is supported in #/components/schemas alone, and both together"
    if "allOf" in found:
        yield from _wrapped(document, found, place)
    elif "type" not in found:
        for member in sorted(set(found) - _NOTES - {"nullable"}):
            yield f"{place}/{member}: `{member}` without `type` is not supported"
    else:
        yield from _typed(document, found, place, named)
    if "nullable" in found and not (owned or inner):
        yield f"{place}/nullable: `nullable` is supported in properties, and what is in lists and maps, alone"
    for member in ("deprecated", "readOnly", "writeOnly"):
        if member in found and not owned:
            yield f"{place}/{member}: `{member}` is supported in properties alone"
    if found.get("readOnly") and found.get("writeOnly"):
        yield f"{place}: `readOnly` and `writeOnly` exclude each other"


def _reference(document: Document, found: Any, place: str, named: bool) -> Iterator[Problem]:
    if len(found) > 1:
        yield f"{place}: members beside `$ref` are ignored in OpenAPI 3.0; use `allOf` with the reference alone in it"
    if not re.fullmatch(r"#/components/schemas/\w+", str(found["$ref"])):
        yield f"{place}/$ref: only references to #/components/schemas are supported"
    elif found["$ref"].rpartition("/")[2] not in document.get("components", {}).get("schemas", {}):
        yield f"{place}/$ref: {found['$ref']} is not in the document"
    if named:
        yield f"{place}/$ref: a schema that is only another name is not supported"


def _wrapped(document: Document, found: Any, place: str) -> Iterator[Problem]:
    parts = found["allOf"]
    if not isinstance(parts, list) or len(parts) != 1 or not isinstance(parts[0], dict) or "$ref" not in parts[0]:
        yield f"{place}/allOf: here, `allOf` is supported with one reference in it; put more into #/components/schemas"
        return
    yield from _reference(document, parts[0], f"{place}/allOf/0", named=False)
    yield from walk(found, place, {"allOf", "nullable", "readOnly", "writeOnly", *_NOTES})


def _typed(document: Document, found: Any, place: str, named: bool) -> Iterator[Problem]:
    kind = found["type"]
    if not isinstance(kind, str) or kind not in _TYPES:
        yield f"{place}/type: the type {kind} is not supported"
        return
    if "format" in found and found["format"] not in _FORMATS.get(kind, ()):
        yield f"{place}/format: the format {found['format']} of {kind} is not supported"
    if "enum" in found:
        yield from _enum(found, place)
    for member, owner in (("items", "array"), ("properties", "object"), ("required", "object")):
        if member in found and kind != owner:
            yield f"{place}/{member}: `{member}` belongs to the type {owner}"
    if kind == "array":
        if "items" not in found:
            yield f"{place}: an array needs `items`"
        yield from schema(document, found.get("items", {}), f"{place}/items", inner=True)
    if kind == "object":
        yield from _object(document, found, place, named)


def _enum(found: Any, place: str) -> Iterator[Problem]:
    kinds = _ENUMS.get(found["type"])
    if kinds is None:
        yield f"{place}/enum: an enum of the type {found['type']} is not supported"
    elif not found["enum"] or any(type(value) not in kinds for value in found["enum"]):
        yield f"{place}/enum: every value must be of the type {found['type']}; quote what YAML reads as something else"
    if found.get("format"):
        yield f"{place}/format: a format beside `enum` is not supported"


def _object(document: Document, found: Any, place: str, named: bool) -> Iterator[Problem]:
    properties, more = found.get("properties"), found.get("additionalProperties", True)
    if more is False:
        yield f"{place}/additionalProperties: false is not supported: members that are not named are kept"
    elif isinstance(more, dict):
        if properties:
            yield f"{place}/additionalProperties: a schema beside `properties` is not supported"
        yield from schema(document, more, f"{place}/additionalProperties", inner=True)
    if not properties:
        if found.get("required"):
            yield f"{place}/required: needs `properties`"
        return
    if not named:
        yield f"{place}/properties: an object with properties needs a name; put it into #/components/schemas"
        return
    for member in found.get("required", []):
        if member not in properties:
            yield f"{place}/required: {member} is not among the properties"
    yield from members(document, properties, place, {})


def members(document: Document, properties: Any, place: str, seen: dict[str, str]) -> Iterator[Problem]:
    """The problems of the properties of one object.

    Args:
        document: the whole document.
        properties: the properties.
        place: where the object stands.
        seen: the names that it has already, for finding two that become one.
    """
    for member, inner in properties.items():
        here = f"{place}/properties/{member}"
        yield from name(member, here)
        yield from without_clash(str(member), here, seen)
        yield from schema(document, inner, here, owned=True)
