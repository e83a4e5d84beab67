"""Which named schemas the templates know. See specification.py.

``allOf`` becomes one model with all the properties, and ``oneOf`` a union of models.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import schemas
from schemas import Document, Problem, resolve, walk, without_clash

_PART = {"additionalProperties", "description", "example", "properties", "required", "type"}


def classes(document: Document) -> int:
    """How many of the named schemas become a module of their own."""
    named = document.get("components", {}).get("schemas", {}).values()
    return sum(1 for found in named if any(found.get(member) for member in ("allOf", "enum", "oneOf", "properties")))


def problems(document: Document) -> Iterator[Problem]:
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
            yield from schemas.schema(document, found, place, named=True)


def _composition(document: Document, found: Any, place: str) -> Iterator[Problem]:
    """The problems of a named schema with ``allOf``: what its parts say together must be one object."""
    yield from walk(found, place, {"allOf", *_PART})
    parts = found["allOf"]
    if not isinstance(parts, list) or len(parts) + ("properties" in found) < 2:
        yield f"{place}/allOf: needs at least two parts; with one it is only another name"
        return
    yield from _inline({name: value for name, value in found.items() if name != "allOf"}, place)
    for number, part in enumerate(parts):
        here = f"{place}/allOf/{number}"
        if isinstance(part, dict) and "$ref" in part:
            yield from schemas.schema(document, part, here)
            if not _flat(document, part, here, ()):
                yield f"{here}/$ref: a part must be an object with properties, and not contain the whole"
        else:
            # The generator passes over a part without its type.
            yield from walk(part, here, _PART, {"type"})
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
        yield from schemas.members(document, new, where, names)
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
        yield from schemas.schema(document, part, here)
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
