"""Write the specification for openapi-generator, with a placeholder for each description and each name.

The generator and the templates know neither Python's string syntax nor this project's rules for names. A placeholder is
a valid name for them in every place. The placeholders in the generated modules are replaced by the names of
``python_names.py``, by the names in JSON, and by the descriptions, escaped for a docstring or comment.

Members that the templates do not use are left out: limits, examples, headers of responses, and formats of strings.
"""

from __future__ import annotations

import datetime
import json
import re
from typing import Any, Final, NamedTuple

from generation.python_names import Names, module_of
from openapi.document import METHODS, Document
from openapi.supported_schemas import enum_values, resolve

_TEXT: Final = re.compile(r"GeneratedText([0-9]{6})X")
_NAME: Final = re.compile(
    r"(?i:generated_?(name|model|operation|tag)([0-9]{6})_?x)(?![0-9a-z])",
)
# White space that ends a line for Python or for `str.splitlines`, and control characters.
_BLANKS: Final = re.compile("[ \x00-\x1f\x7f-\x9f\u2028\u2029]+")
# Members of schemas that are copied as they are.
_COPIED: Final = ("deprecated", "nullable", "readOnly", "type", "writeOnly")


class GeneratorInput(NamedTuple):
    """A specification for the generator, and what its placeholders stand for.

    Attributes:
        specification: the specification in JSON.
        descriptions: the descriptions, by the number of the placeholder.
        names: the name of each name's placeholder, in each form in which the generator writes it.
    """

    specification: str
    descriptions: list[str]
    names: dict[str, str]

    def restore_names(self, source: str) -> str:
        """Replace the placeholders of names in a module, in its path, or in a message of the generator."""
        return _NAME.sub(lambda match: self.names.get(match[0], match[0]), source)

    def placeholder_in(self, source: str) -> str | None:
        """A placeholder of a name that is still in a module."""
        unknown = _NAME.search(source)
        return unknown and unknown[0]

    def restore_descriptions(self, line: str, *, docstring: bool) -> str:
        """Replace the placeholders of descriptions in a line of a module.

        Args:
            line: the line.
            docstring: whether the line is in a docstring. Otherwise it is a comment.
        """
        return _TEXT.sub(lambda match: _one_line(self.descriptions[int(match[1])], docstring=docstring), line)


def generator_input(document: Document, names: Names) -> GeneratorInput:
    """Translate a specification for the generator.

    Null is removed from enums: for the generator, as for the models, ``nullable`` alone decides whether null is valid.
    """
    translation = _Translation(document, names)
    return GeneratorInput(
        json.dumps(translation.document(), default=_json_of_date), list(translation.descriptions), translation.written
    )


def _json_of_date(value: Any) -> str:
    if isinstance(value, datetime.date):
        return value.isoformat()
    return str(value)


class _Translation:
    def __init__(self, document: Document, names: Names) -> None:
        self.source, self.names = document, names
        self.descriptions: dict[str, int] = {}
        self.written: dict[str, str] = {}
        self.numbers: dict[tuple[str, str], int] = {}
        schemas = document.get("components", {}).get("schemas", {})
        # The generator sorts models, operations and tags by their names.
        classes = names.classes
        titles = sorted(schemas, key=lambda title: classes.get(title, ""))
        self.titles = {title: self._model(number, title) for number, title in enumerate(titles)}
        self.tags = {stem: self._tag(number, stem) for number, stem in enumerate(sorted(set(names.tags.values())))}
        ordered = sorted(names.operations.items(), key=lambda entry: entry[1])
        self.operations = {key: self._operation_id(number, name) for number, (key, name) in enumerate(ordered)}

    def _model(self, number: int, title: str) -> str:
        placeholder = f"GeneratedModel{number:06}X"
        if title in self.names.classes:
            name = self.names.classes[title]
            self.written |= {placeholder: name, f"generated_model{number:06}_x": module_of(name)}
        return placeholder

    def _tag(self, number: int, stem: str) -> str:
        placeholder = f"GeneratedTag{number:06}X"
        self.written |= {placeholder: stem, f"generated_tag{number:06}_x": module_of(stem)}
        return placeholder

    def _operation_id(self, number: int, name: str) -> str:
        lower = f"generated_operation{number:06}_x"
        self.written |= {lower: name, lower.upper(): name.upper()}
        return f"GeneratedOperation{number:06}X"

    def _name(self, wire: str, python: str) -> str:
        """The placeholder of a property or parameter."""
        number = self.numbers.setdefault((wire, python), len(self.numbers))
        placeholder = f"GeneratedName{number:06}X"
        literal = wire.replace("\\", "\\\\").replace('"', '\\"')
        self.written |= {placeholder: literal, f"generated_name{number:06}_x": python}
        return placeholder

    def _described(self, node: Any, *members: str) -> dict[str, Any]:
        """The descriptions of an object, as placeholders."""
        result = {}
        for member in members or ("description",):
            description = node.get(member)
            if isinstance(description, str) and description.strip():
                number = self.descriptions.setdefault(description, len(self.descriptions))
                result[member] = f"GeneratedText{number:06}X"
        return result

    def document(self) -> dict[str, Any]:
        source = self.source
        parts = source.get("components", {})
        tags = {}
        for tag in source.get("tags", []):
            stem = self.names.tags.get(tag["name"])
            if stem is not None:
                tags.setdefault(stem, {"name": self.tags[stem], **self._described(tag)})
        return {
            "openapi": "3.0.3",
            "info": {"title": "Specification", "version": "1"},
            "servers": self._servers(source),
            "tags": list(tags.values()),
            "paths": dict(self._path(path, item) for path, item in source.get("paths", {}).items()),
            "components": {
                "schemas": {
                    self.titles[title]: self._named_schema(schema, self.names.fields[title])
                    for title, schema in parts.get("schemas", {}).items()
                },
                "securitySchemes": parts.get("securitySchemes", {}),
            },
            **({"security": source["security"]} if "security" in source else {}),
        }

    def _servers(self, owner: Any) -> list[dict[str, Any]]:
        return [{**server, **self._described(server)} for server in owner.get("servers") or []]

    def _path(self, path: str, item: Any) -> tuple[str, dict[str, Any]]:
        """A path, and its operations. The same parameter can have another name in each of them, the path only one."""
        in_path: dict[str, str] = {}
        operations: dict[str, Any] = {}
        for method in METHODS:
            if method in item:
                operations[method] = self._operation(path, method, item, item[method], in_path)
        for wire, placeholder in in_path.items():
            path = path.replace(f"{{{wire}}}", f"{{{placeholder}}}")
        servers = {"servers": self._servers(item)} if item.get("servers") else {}
        return path, {**servers, **operations}

    def _operation(self, path: str, method: str, item: Any, source: Any, in_path: dict[str, str]) -> dict[str, Any]:
        names = self.names.parameters[path, method]
        result: dict[str, Any] = {
            "operationId": self.operations[path, method],
            "tags": [self.tags[self.names.tags[source["tags"][0]]]],
            **self._described(source, "summary", "description"),
            **{member: source[member] for member in source if member.startswith("x-")},
            "responses": {status: self._body(response) for status, response in source["responses"].items()},
            "parameters": [
                self._parameter(resolve(self.source, parameter), names.by_place, in_path)
                for parameter in (*item.get("parameters", []), *source.get("parameters", []))
            ],
        }
        for member in ("deprecated", "security"):
            if member in source:
                result[member] = source[member]
        if source.get("servers"):
            result["servers"] = self._servers(source)
        if "requestBody" in source:
            result["requestBody"] = self._body(source["requestBody"])
            result["x-codegen-request-body-name"] = self._name(names.body_type, names.body)
        return result

    def _parameter(self, source: Any, by_place: dict[tuple[str, str], str], in_path: dict[str, str]) -> dict[str, Any]:
        wire = source["name"]
        placeholder = self._name(wire, by_place[source["in"], wire])
        if source["in"] == "path":
            placeholder = in_path.setdefault(wire, placeholder)
        result = {"name": placeholder, **self._described(source)}
        for member in ("in", "required", "deprecated", "style", "explode"):
            if member in source:
                result[member] = source[member]
        result["schema"] = self._schema(source["schema"], {})
        return result

    def _body(self, reference: Any) -> dict[str, Any]:
        source = resolve(self.source, reference)
        result = self._described(source)
        if "description" in source:
            result.setdefault("description", source["description"])
        if "required" in source:
            result["required"] = source["required"]
        if "content" in source:
            result["content"] = {
                media_type: {"schema": self._schema(media["schema"], {})}
                for media_type, media in source["content"].items()
            }
        return result

    def _named_schema(self, source: Any, fields: dict[str, str]) -> dict[str, Any]:
        # The generator would write an example of every body, with all models inside it. With models that refer to each
        # other that takes more memory and time than there is. No template uses the examples.
        example = {"example": {}} if "properties" in source or "allOf" in source else {}
        return {**self._schema(source, fields), **example}

    def _schema(self, source: Any, fields: dict[str, str]) -> dict[str, Any]:
        """A schema with its placeholders.

        Args:
            source: the schema.
            fields: the names of its properties in Python.
        """
        if "$ref" in source:
            return {"$ref": self._reference(source["$ref"])}
        result: dict[str, Any] = {member: source[member] for member in _COPIED if member in source}
        result |= self._described(source)
        if source.get("format") in ("date", "date-time"):
            result["format"] = source["format"]
        if "enum" in source:
            result["enum"] = enum_values(source)
        if "items" in source:
            result["items"] = self._schema(source["items"], {})
        if "properties" in source:
            result["properties"] = {
                self._name(name, fields[name]): self._schema(inner, {}) for name, inner in source["properties"].items()
            }
        if source.get("required"):
            result["required"] = [self._name(name, fields[name]) for name in source["required"] if name in fields]
        additional = source.get("additionalProperties")
        if isinstance(additional, dict):
            result["additionalProperties"] = self._schema(additional, {})
        elif additional is True:
            result["additionalProperties"] = True
        for member in ("allOf", "oneOf"):
            if member in source:
                result[member] = [self._schema(part, fields) for part in source[member]]
        if "discriminator" in source:
            result["discriminator"] = self._discriminator(source)
        return result

    def _discriminator(self, source: Any) -> dict[str, Any]:
        member = source["discriminator"]["propertyName"]
        titles = [part["$ref"].rpartition("/")[2] for part in source["oneOf"]]
        references = {title: f"#/components/schemas/{title}" for title in titles}
        mapping = source["discriminator"].get("mapping") or references
        python = self.names.fields[titles[0]][member]
        return {
            "propertyName": self._name(member, python),
            "mapping": {value: self._reference(reference) for value, reference in mapping.items()},
        }

    def _reference(self, reference: str) -> str:
        return f"#/components/schemas/{self.titles[reference.rpartition('/')[2]]}"


def _one_line(description: str, *, docstring: bool) -> str:
    line = _BLANKS.sub(" ", description).strip()
    if not docstring:
        return line
    line = line.replace("\\", "\\\\")
    # Three quotation marks would end the docstring.
    return re.sub('"{3,}', lambda match: '\\"' * len(match[0]), line)
