"""Give a name to each object schema that is written where it is used, so that it becomes a model.

The schema moves to ``components/schemas``, and a reference takes its place. The name says where it was: the schema or
operation that contains it, then the members on the way: ``CardExpiry``, ``AddPetRequest``, ``ListPetsResponseItem``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from openapi.document import METHODS, Document, pointer_part

# Members that stay where the schema is used.
_OWNED: Final = ("deprecated", "nullable", "readOnly", "writeOnly")


class Specification(NamedTuple):
    """A document in which every object has a name.

    Attributes:
        document: the document.
        origins: where each schema was that this module has named: its JSON pointer, by the new one.
    """

    document: Document
    origins: dict[str, str]

    def original(self, problem: str) -> str:
        """A problem with the place that it has in the document as it was written."""
        while (match := re.match(r"#/components/schemas/[^/:]+", problem)) and match[0] in self.origins:
            problem = self.origins[match[0]] + problem[match.end() :]
        return problem


def name_inline_objects(document: Document) -> Specification:
    """Move all inline objects of a document to ``components/schemas``. The document is modified."""
    naming = _Naming(document)
    schemas = document.get("components", {}).get("schemas", {})
    for title in list(schemas):
        naming.inside(schemas[title], title, f"#/components/schemas/{pointer_part(title)}")
    parts = document.get("components", {})
    for group, suffix in (("requestBodies", "Request"), ("responses", "Response")):
        for title, part in parts.get(group, {}).items():
            naming.content(part, camel(title) + suffix, f"#/components/{group}/{pointer_part(title)}")
    for path, item in document.get("paths", {}).items():
        for method in METHODS:
            if method in item:
                naming.operation(item[method], f"#/paths/{pointer_part(path)}/{method}")
    return Specification(document, naming.origins)


def camel(name: str) -> str:
    """A name as the name of a class: ``card-data.v2`` becomes ``CardDataV2``."""
    joined = "".join(part[:1].upper() + part[1:] for part in re.split(r"[^A-Za-z0-9]+", name))
    return f"Model{joined}" if not joined or joined[0].isdigit() else joined


class _Naming:
    def __init__(self, document: Document) -> None:
        self.document = document
        self.origins: dict[str, str] = {}
        self.used = {camel(title).lower() for title in document.get("components", {}).get("schemas", {})}

    def operation(self, operation: Any, place: str) -> None:
        name = camel(str(operation.get("operationId")))
        self.content(operation.get("requestBody", {}), f"{name}Request", f"{place}/requestBody")
        first = True
        for status, response in operation.get("responses", {}).items():
            success = str(status).startswith("2")
            suffix = "Response" if success and first else f"{camel(f'Response{status}')}"
            first = first and not success
            self.content(response, f"{name}{suffix}", f"{place}/responses/{status}")

    def content(self, node: Any, name: str, place: str) -> None:
        for media_type, media in node.get("content", {}).items():
            self.member(media, "schema", name, f"{place}/content/{pointer_part(media_type)}/schema")

    def inside(self, schema: Any, name: str, place: str) -> None:
        """Name the objects inside a schema, but not the schema itself."""
        for key, label, inner_name in self._places(schema, name):
            owner = schema
            for part in key[:-1]:
                owner = owner[part]
            inner_place = "/".join([place, *map(pointer_part, key)])
            if label == "part":
                self.inside(owner[key[-1]], name, inner_place)
            else:
                self.member(owner, key[-1], inner_name, inner_place)

    def _places(self, schema: Any, name: str) -> Iterator[tuple[tuple[Any, ...], str, str]]:
        if not isinstance(schema, dict):
            return
        for member in schema.get("properties", {}):
            yield ("properties", member), "member", name + camel(str(member)).removeprefix("Model")
        for member, suffix in (("items", "Item"), ("additionalProperties", "Value")):
            if isinstance(schema.get(member), dict):
                yield (member,), "member", name + suffix
        for number in range(len(schema.get("allOf", []))):
            yield ("allOf", number), "part", name
        for number in range(len(schema.get("oneOf", []))):
            yield ("oneOf", number), "member", f"{name}Option{number + 1}"

    def member(self, owner: Any, key: Any, name: str, place: str) -> None:
        """Name a schema that is a member of ``owner``, if it needs a name, and those inside it."""
        schema = owner.get(key) if isinstance(owner, dict) else owner[key]
        if not isinstance(schema, dict):
            return
        if not _needs_a_name(schema):
            self.inside(schema, name, place)
            return
        title = name = camel(name)
        number = 1
        while title.lower() in self.used:
            number += 1
            title = f"{name}{number}"
        self.used.add(title.lower())
        reference = {"$ref": f"#/components/schemas/{title}"}
        notes = {member: schema.pop(member) for member in _OWNED if member in schema}
        if "description" in schema:
            notes["description"] = schema["description"]
        owner[key] = {"allOf": [reference], **notes} if notes else reference
        self.document.setdefault("components", {}).setdefault("schemas", {})[title] = schema
        self.origins[reference["$ref"]] = place
        self.inside(schema, title, place)


def _needs_a_name(schema: Any) -> bool:
    if "oneOf" in schema:
        return "discriminator" in schema
    if "allOf" in schema:
        return len(schema["allOf"]) + ("properties" in schema) > 1
    return schema.get("type") == "object" and bool(schema.get("properties"))
