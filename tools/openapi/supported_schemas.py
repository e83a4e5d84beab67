"""Which schemas the templates support. ``supported_openapi.py`` checks the rest of the document.

A schema in ``components/schemas`` with ``allOf`` becomes one model with all the properties, and one with ``oneOf`` a
union of models. Everything that is not listed here is reported as unsupported, with its JSON pointer.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Collection, Iterator
from typing import Any, Final

from openapi.document import Document, Problem, pointer_part

# Shown on the pages of docs/. The service enforces them, not the client.
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

# Formats of strings that need another type in Python. All others are left to the caller and the service.
_OTHER_TYPES: Final = {"binary"}
_ENUMS: Final = {"string": (str,), "integer": (int,), "number": (float, int)}
# Members of a schema that can be combined with others by `allOf`.
_COMBINABLE: Final = {"additionalProperties", "description", "example", "properties", "required", "type"}
_TYPES: Final = {"array", "boolean", "integer", "number", "object", "string"}


def check_members(
    node: Any, place: str, supported: Collection[str], required: Collection[str] = ()
) -> Iterator[Problem]:
    """Report members of an object that are not supported, and required members that are missing."""
    if not isinstance(node, dict):
        yield f"{place}: must be an object"
        return
    for member in node:
        if member not in supported:
            yield f"{place}/{member}: `{member}` is not supported here"
    for member in sorted(required):
        if member not in node:
            yield f"{place}: needs `{member}`"


def resolve(document: Document, node: Any) -> Any:
    """Follow references, including an ``allOf`` that contains only a reference, and return their target."""
    for _ in range(20):
        if not isinstance(node, dict):
            return {}
        reference = node.get("$ref")
        if reference is None and len(node.get("allOf", [])) == 1:
            reference = node["allOf"][0].get("$ref")
        if reference is None:
            return node
        node = document
        for part in str(reference).removeprefix("#/").split("/"):
            node = node.get(part, {}) if isinstance(node, dict) else {}
    return {}


def enum_values(schema: Any) -> list[Any]:
    """The values of an enum except null, which OpenAPI 3.0.3 requires there if the schema is nullable."""
    return [value for value in schema["enum"] if value is not None]


def check_unique(name: str, place: str, names: set[str]) -> Iterator[Problem]:
    """Report a name that is used twice."""
    if name in names:
        yield f"{place}: the name {name} is used twice"
    names.add(name)


def check_name(name: Any, place: str) -> Iterator[Problem]:
    """Check the name of a property or parameter: it must be a string that can be printed."""
    if not isinstance(name, str):
        yield f"{place}: the name must be a string; quote what YAML reads as something else"
    elif not name.isprintable() or not name.strip():
        yield f"{place}: the name {name!r} is not supported: it must consist of characters that can be printed"


def check_schema(
    document: Document, schema: Any, place: str, *, named: bool = False, owned: bool = False, inner: bool = False
) -> Iterator[Problem]:
    """Check one schema and the schemas inside it.

    Args:
        document: the whole document.
        schema: the schema.
        place: its JSON pointer.
        named: whether it is in ``components/schemas``.
        owned: whether it is a property, which can be null, deprecated, read-only and write-only.
        inner: whether it describes the entries of a list or map, which can be null.
    """
    yield from check_members(schema, place, KEYWORDS)
    if not isinstance(schema, dict):
        return
    if "$ref" in schema:
        yield from _reference(document, schema, place, named)
        return
    for member in ("oneOf", "discriminator"):
        if member in schema:
            yield f"{place}/{member}: `{member}` is supported in #/components/schemas only, and both together"
    if "allOf" in schema:
        yield from _wrapped(document, schema, place)
    elif "type" not in schema:
        for member in sorted(KEYWORDS.intersection(schema) - _NOTES - {"discriminator", "nullable", "oneOf"}):
            yield f"{place}/{member}: `{member}` without `type` is not supported"
    else:
        yield from _typed(document, schema, place, named)
    if "nullable" in schema and not (owned or inner):
        yield f"{place}/nullable: `nullable` is supported in properties, and in the entries of lists and maps, only"
    for member in ("deprecated", "readOnly", "writeOnly"):
        if member in schema and not owned:
            yield f"{place}/{member}: `{member}` is supported in properties only"
    if schema.get("readOnly") and schema.get("writeOnly"):
        yield f"{place}: `readOnly` and `writeOnly` exclude each other"


def _reference(document: Document, schema: Any, place: str, named: bool) -> Iterator[Problem]:
    if not re.fullmatch(r"#/components/schemas/[\w.-]+", str(schema["$ref"])):
        yield f"{place}/$ref: only references to #/components/schemas are supported"
    elif schema["$ref"].rpartition("/")[2] not in document.get("components", {}).get("schemas", {}):
        yield f"{place}/$ref: {schema['$ref']} is not in the document"
    if named:
        yield f"{place}/$ref: a schema that is only another name is not supported"


def _wrapped(document: Document, schema: Any, place: str) -> Iterator[Problem]:
    parts = schema["allOf"]
    if not isinstance(parts, list) or len(parts) != 1 or not isinstance(parts[0], dict) or "$ref" not in parts[0]:
        yield f"{place}/allOf: here, `allOf` is supported with one reference in it; put more into #/components/schemas"
        return
    yield from _reference(document, parts[0], f"{place}/allOf/0", named=False)
    yield from check_members(schema, place, {"allOf", "nullable", "readOnly", "writeOnly", *_NOTES})


def _typed(document: Document, schema: Any, place: str, named: bool) -> Iterator[Problem]:
    kind = schema["type"]
    if not isinstance(kind, str) or kind not in _TYPES:
        yield f"{place}/type: the type {kind} is not supported"
        return
    if kind == "string" and schema.get("format") in _OTHER_TYPES:
        yield f"{place}/format: the format {schema['format']} of {kind} is not supported"
    default = schema.get("default")
    if default is not None and not _is_of_type(default, kind):
        yield f"{place}/default: must be of the type {kind}; quote what YAML reads as something else"
    if "enum" in schema:
        yield from _enum(schema, place)
    for member, owner in (("items", "array"), ("properties", "object"), ("required", "object")):
        if member in schema and kind != owner:
            yield f"{place}/{member}: `{member}` belongs to the type {owner}"
    if kind == "array":
        if "items" not in schema:
            yield f"{place}: an array needs `items`"
        yield from check_schema(document, schema.get("items", {}), f"{place}/items", inner=True)
    if kind == "object":
        yield from _object(document, schema, place, named)


def _is_of_type(value: Any, kind: str) -> bool:
    """Whether a value in the document has a type of JSON. YAML reads unquoted dates as dates."""
    expected: dict[str, tuple[type, ...]] = {
        "array": (list,),
        "boolean": (bool,),
        "integer": (int,),
        "number": (int, float),
        "object": (dict,),
        "string": (str, datetime.date),
    }
    return isinstance(value, expected[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _enum(schema: Any, place: str) -> Iterator[Problem]:
    kinds = _ENUMS.get(schema["type"])
    if kinds is None:
        yield f"{place}/enum: an enum of the type {schema['type']} is not supported"
    elif None in schema["enum"] and schema.get("nullable") is not True:
        yield f"{place}/enum: null is a value of a `nullable` schema only"
    elif not (values := enum_values(schema)) or any(type(value) not in kinds for value in values):
        yield f"{place}/enum: every value must be of the type {schema['type']}; quote what YAML reads as something else"
    if schema.get("format") in ("date", "date-time"):
        yield f"{place}/format: the format {schema['format']} beside `enum` is not supported"


def _object(document: Document, schema: Any, place: str, named: bool) -> Iterator[Problem]:
    properties, additional = schema.get("properties"), schema.get("additionalProperties", True)
    if isinstance(additional, dict):
        if properties:
            yield f"{place}/additionalProperties: a schema beside `properties` is not supported"
        yield from check_schema(document, additional, f"{place}/additionalProperties", inner=True)
    if not properties:
        if schema.get("required"):
            yield f"{place}/required: needs `properties`"
        return
    if not named:
        yield f"{place}/properties: an object with properties needs a name; put it into #/components/schemas"
        return
    for member in schema.get("required", []):
        if member not in properties:
            yield f"{place}/required: {member} is not among the properties"
    yield from _properties(document, properties, place)


def _properties(document: Document, properties: Any, place: str) -> Iterator[Problem]:
    for member, inner in properties.items():
        here = f"{place}/properties/{pointer_part(member)}"
        yield from check_name(member, here)
        yield from check_schema(document, inner, here, owned=True)


def is_class(schema: Any) -> bool:
    """Whether a named schema becomes a class. The others are written where they are used: lists, dicts and scalars."""
    return any(schema.get(member) for member in ("allOf", "enum", "oneOf", "properties"))


def combined_properties(document: Document, schema: Any) -> dict[str, Any]:
    """The properties of an object, including those of all parts of its ``allOf``."""
    parts = flat(document, schema, "", ())
    return {name: value for _, part in parts for name, value in part.get("properties", {}).items()}


def check_named_schemas(document: Document) -> Iterator[Problem]:
    """Check the schemas in ``components/schemas``."""
    for title, schema in document.get("components", {}).get("schemas", {}).items():
        place = f"#/components/schemas/{pointer_part(title)}"
        if not re.fullmatch(r"[\w.-]*[A-Za-z0-9][\w.-]*", title, re.ASCII):
            yield f"{place}: the name of a schema must be letters, digits, `_`, `-` and `.`"
        if isinstance(schema, dict) and "oneOf" in schema:
            yield from _union(document, schema, place)
        elif isinstance(schema, dict) and "allOf" in schema:
            yield from _composition(document, schema, place)
        else:
            yield from check_schema(document, schema, place, named=True)


def _composition(document: Document, schema: Any, place: str) -> Iterator[Problem]:
    """Check a named schema with ``allOf``: its parts must form one object."""
    yield from check_members(schema, place, {"allOf", *_COMBINABLE})
    parts = schema["allOf"]
    if not isinstance(parts, list) or len(parts) + ("properties" in schema) < 2:
        yield f"{place}/allOf: needs at least two parts; with one it is only another name"
        return
    yield from _inline({name: value for name, value in schema.items() if name != "allOf"}, place)
    for number, part in enumerate(parts):
        here = f"{place}/allOf/{number}"
        if isinstance(part, dict) and "$ref" in part:
            yield from check_schema(document, part, here)
            if not flat(document, part, here, ()):
                yield f"{here}/$ref: a part must be an object with properties, and not contain the whole"
        else:
            # The generator ignores a part without a type.
            yield from check_members(part, here, _COMBINABLE, {"type"})
            if isinstance(part, dict):
                yield from _inline(part, here)
    properties: dict[str, tuple[str, Any]] = {}
    required: list[tuple[str, str]] = []
    for part_place, part in flat(document, schema, place, ()):
        new = {}
        for name, inner in part.get("properties", {}).items():
            if name not in properties:
                properties[name] = part_place, inner
                new[name] = inner
            elif properties[name][1] != inner:
                yield f"{part_place}/properties/{name}: differs from {properties[name][0]}/properties/{name}"
        yield from _properties(document, new, part_place)
        required += [(part_place, name) for name in part.get("required", [])]
    for part_place, name in required:
        if name not in properties:
            yield f"{part_place}/required: {name} is not among the properties"


def _inline(part: Any, place: str) -> Iterator[Problem]:
    if part.get("type", "object") != "object":
        yield f"{place}/type: the parts of `allOf` must be objects"
    if not isinstance(part.get("additionalProperties", True), bool):
        yield f"{place}/additionalProperties: a schema is not supported in a part of `allOf`"


def flat(document: Document, schema: Any, place: str, visited: tuple[str, ...]) -> list[tuple[str, Any]]:
    """The objects that form a schema, with their places. Empty if it contains itself or is not an object."""
    while isinstance(schema, dict) and "$ref" in schema:
        place = str(schema["$ref"])
        if place in visited:
            return []
        visited = (*visited, place)
        schema = _named(document, place)
    if not isinstance(schema, dict):
        return []
    inner = [
        flat(document, part, f"{place}/allOf/{number}", visited) for number, part in enumerate(schema.get("allOf", []))
    ]
    if not all(inner) or not any(schema.get(member) for member in ("allOf", "properties", "required")):
        return []
    return [*(each for part in inner for each in part), (place, schema)]


def _named(document: Document, reference: str) -> Any:
    return document.get("components", {}).get("schemas", {}).get(reference.rpartition("/")[2])


def _union(document: Document, schema: Any, place: str) -> Iterator[Problem]:
    """Check a named schema with ``oneOf``: a member of the JSON must identify the model."""
    yield from check_members(schema, place, {"oneOf", "discriminator", "description"})
    discriminator = schema.get("discriminator")
    if not isinstance(discriminator, dict):
        yield f"{place}/oneOf: `oneOf` without `discriminator` is not supported: nothing says which model it is"
        return
    yield from check_members(discriminator, f"{place}/discriminator", {"propertyName", "mapping"}, {"propertyName"})
    parts = schema["oneOf"]
    references = [part.get("$ref") for part in parts if isinstance(part, dict) and len(part) == 1]
    if len(references) != len(parts) or len(set(references)) < 2 or None in references:
        yield f"{place}/oneOf: must be references to at least two schemas, each of them once"
        return
    for number, part in enumerate(parts):
        here = f"{place}/oneOf/{number}"
        yield from check_schema(document, part, here)
        objects = [each for _, each in flat(document, part, here, ())]
        name = discriminator.get("propertyName")
        declarations = [each["properties"][name] for each in objects if name in each.get("properties", {})]
        if not declarations or resolve(document, declarations[0]).get("type") != "string":
            yield f"{here}: has no property {name}, of the type string, that says which model it is"
        elif not any(name in each.get("required", []) for each in objects):
            yield f"{here}: its property {name} must be required: it says which model it is"
    mapping = discriminator.get("mapping")
    if mapping is not None and sorted(set(mapping.values())) != sorted(references):
        yield f"{place}/discriminator/mapping: must name every schema of `oneOf` by its reference, and no other"
