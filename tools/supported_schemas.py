"""Which schemas the templates support. ``supported_openapi.py`` checks the rest of the document.

A schema in ``components/schemas`` with ``allOf`` becomes one model with all the properties, and one with ``oneOf`` a
union of models. Everything that is not listed here is reported as unsupported, with its JSON pointer.
"""

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
# Members of a schema that can be combined with others by `allOf`.
_COMBINABLE: Final = {"additionalProperties", "description", "example", "properties", "required", "type"}
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


def classes(document: Document) -> int:
    """How many of the named schemas become a module of their own."""
    named = document.get("components", {}).get("schemas", {}).values()
    return sum(1 for found in named if any(found.get(member) for member in ("allOf", "enum", "oneOf", "properties")))


def combined_properties(document: Document, schema: Any) -> dict[str, Any]:
    """The properties of an object, including those of all parts of its ``allOf``."""
    parts = _flat(document, schema, "", ())
    return {name: value for _, part in parts for name, value in part.get("properties", {}).items()}


def named_schemas(document: Document) -> Iterator[Problem]:
    """The problems of the named schemas."""
    seen: dict[str, str] = {}
    for title, found in document.get("components", {}).get("schemas", {}).items():
        place = f"#/components/schemas/{title}"
        if title in ("Dict", "List", "Set"):
            yield f"{place}: the name {title} is not supported: the generator takes it for its own type"
        if not re.fullmatch(r"[A-Z][A-Za-z0-9]*", title):
            yield f"{place}: the name of a schema must be letters and digits, the first a capital"
        yield from without_clash(title, place, seen)
        if isinstance(found, dict) and "oneOf" in found:
            yield from _union(document, found, place)
        elif isinstance(found, dict) and "allOf" in found:
            yield from _composition(document, found, place)
        else:
            yield from schema(document, found, place, named=True)


def _composition(document: Document, found: Any, place: str) -> Iterator[Problem]:
    """The problems of a named schema with ``allOf``: what its parts say together must be one object."""
    yield from walk(found, place, {"allOf", *_COMBINABLE})
    parts = found["allOf"]
    if not isinstance(parts, list) or len(parts) + ("properties" in found) < 2:
        yield f"{place}/allOf: needs at least two parts; with one it is only another name"
        return
    yield from _inline({name: value for name, value in found.items() if name != "allOf"}, place)
    for number, part in enumerate(parts):
        here = f"{place}/allOf/{number}"
        if isinstance(part, dict) and "$ref" in part:
            yield from schema(document, part, here)
            if not _flat(document, part, here, ()):
                yield f"{here}/$ref: a part must be an object with properties, and not contain the whole"
        else:
            # The generator passes over a part without its type.
            yield from walk(part, here, _COMBINABLE, {"type"})
            if isinstance(part, dict):
                yield from _inline(part, here)
    properties: dict[str, tuple[str, Any]] = {}
    names: dict[str, str] = {}
    required: list[tuple[str, str]] = []
    for where, part in _flat(document, found, place, ()):
        new = {}
        for name, inner in part.get("properties", {}).items():
            if name not in properties:
                properties[name] = where, inner
                new[name] = inner
            elif properties[name][1] != inner:
                yield f"{where}/properties/{name}: says something else than {properties[name][0]}/properties/{name}"
        yield from members(document, new, where, names)
        required += [(where, name) for name in part.get("required", [])]
    for where, name in required:
        if name not in properties:
            yield f"{where}/required: {name} is not among the properties"


def _inline(part: Any, place: str) -> Iterator[Problem]:
    if part.get("type", "object") != "object":
        yield f"{place}/type: the parts of `allOf` must be objects"
    if part.get("additionalProperties", True) is not True:
        yield f"{place}/additionalProperties: only true is supported in a part of `allOf`"


def _flat(document: Document, found: Any, place: str, through: tuple[str, ...]) -> list[tuple[str, Any]]:
    """The objects that a schema consists of, with their places; none where it contains itself or is no object."""
    while isinstance(found, dict) and "$ref" in found:
        place = str(found["$ref"])
        if place in through:
            return []
        through = (*through, place)
        found = _named(document, place)
    if not isinstance(found, dict):
        return []
    inner = [
        _flat(document, part, f"{place}/allOf/{number}", through) for number, part in enumerate(found.get("allOf", []))
    ]
    if not all(inner) or not any(found.get(member) for member in ("allOf", "properties", "required")):
        return []
    return [*(each for part in inner for each in part), (place, found)]


def _named(document: Document, reference: str) -> Any:
    return document.get("components", {}).get("schemas", {}).get(reference.rpartition("/")[2])


def _union(document: Document, found: Any, place: str) -> Iterator[Problem]:
    """The problems of a named schema with ``oneOf``: a member of the JSON must say which of the models it is."""
    yield from walk(found, place, {"oneOf", "discriminator", "description"})
    by = found.get("discriminator")
    if not isinstance(by, dict):
        yield f"{place}/oneOf: `oneOf` without `discriminator` is not supported: nothing says which model it is"
        return
    yield from walk(by, f"{place}/discriminator", {"propertyName", "mapping"}, {"propertyName"})
    parts = found["oneOf"]
    references = [part.get("$ref") for part in parts if isinstance(part, dict) and len(part) == 1]
    if len(references) != len(parts) or len(set(references)) < 2 or None in references:
        yield f"{place}/oneOf: must be references to at least two schemas, none of them twice"
        return
    for number, part in enumerate(parts):
        here = f"{place}/oneOf/{number}"
        yield from schema(document, part, here)
        objects = [each for _, each in _flat(document, part, here, ())]
        name = by.get("propertyName")
        said = [each["properties"][name] for each in objects if name in each.get("properties", {})]
        if not said or resolve(document, said[0]).get("type") != "string":
            yield f"{here}: has no property {name}, of the type string, that says which model it is"
        elif not any(name in each.get("required", []) for each in objects):
            yield f"{here}: its property {name} must be required: it says which model it is"
    mapping = by.get("mapping")
    if mapping is not None and sorted(set(mapping.values())) != sorted(references):
        yield f"{place}/discriminator/mapping: must name every schema of `oneOf` by its reference, and no other"
