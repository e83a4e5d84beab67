"""Operations of an OpenAPI 3.0 and of a Swagger 2.0 document, read into one form in which they can be compared."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

METHODS: Final = ("delete", "get", "head", "options", "patch", "post", "put")

#: Whatever bounds a value, beside its type, its `enum`, its `properties` and its `items`.
LIMITS: Final = (
    *("format", "pattern", "minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    *("multipleOf", "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties"),
)

Table = Mapping[str, Any]


class Unreadable(Exception):
    """The document is not what it should be. The message says what is wrong where."""


class Content(NamedTuple):
    """A value that is sent: a parameter, a body, an answer. Without a schema nothing is said of what it holds."""

    schema: Any | None
    required: bool = False


class Operation(NamedTuple):
    """What is compared of an operation.

    Attributes:
        name: its operationId, or empty.
        parameters: by place and name, such as ``path kid``.
        body: of the request.
        takes: media types of the request.
        gives: media types of its successes; Swagger 2.0 cannot say others for the errors.
        responses: by status.
    """

    name: str
    parameters: Mapping[str, Content]
    body: Content | None
    takes: frozenset[str]
    gives: frozenset[str]
    responses: Mapping[str, Content]


class Node:
    """A schema with its references followed and the members of its `allOf` put together."""

    def __init__(self) -> None:
        self.type = ""
        self.limits: dict[str, Any] = {}
        self.enum: list[Any] | None = None
        self.required: set[str] = set()
        self.properties: dict[str, Any] = {}
        self.items: Any | None = None
        self.values: Any | None = None

    @property
    def kind(self) -> str:
        """The type, also where it is to be guessed."""
        if self.type:
            return self.type
        if self.properties or self.values is not None:
            return "object"
        return "array" if self.items is not None else "any"


def table(value: Any, place: str) -> Table:
    """The value as a JSON object; empty where there is none."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Unreadable(f"{place} is not an object")
    return value


def entries(value: Any, place: str) -> list[Any]:
    """The value as a JSON array; empty where there is none."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise Unreadable(f"{place} is not an array")
    return value


def path_key(path: str) -> str:
    """The path, whatever its parameters are called."""
    return re.sub(r"\{[^}]*\}", "{}", path)


class Document(ABC):
    """What both formats have in common."""

    def __init__(self, content: Table) -> None:
        self.content = content

    def base(self) -> str:
        """What stands in front of every path."""
        return ""

    @abstractmethod
    def operation(self, path: str, method: str) -> Operation:
        """One of the operations that `items` names."""

    def items(self) -> Iterator[tuple[str, str]]:
        """Path and method of every operation; the path with what stands in front of it."""
        for path, item in table(self.content.get("paths"), "#/paths").items():
            for method in METHODS:
                if method in table(item, f"the path {path}"):
                    yield self.base() + path, method

    def resolve(self, value: Any, place: str) -> Table:
        """What is meant, where the value is a reference."""
        seen: set[str] = set()
        while isinstance(value, dict) and isinstance(value.get("$ref"), str):
            reference = value["$ref"]
            if reference in seen:
                raise Unreadable(f"{place}: the reference {reference} leads to itself")
            seen.add(reference)
            value = self._target(reference, place)
        return table(value, place)

    def _target(self, reference: str, place: str) -> Any:
        found: Any = self.content
        for part in reference[2:].split("/"):
            name = part.replace("~1", "/").replace("~0", "~")
            if not reference.startswith("#/") or not isinstance(found, dict) or name not in found:
                raise Unreadable(f"{place}: the reference {reference} leads to nothing in the document")
            found = found[name]
        return found

    def node(self, schema: Any, place: str) -> Node:
        """The schema, put together."""
        node = Node()
        self._collect(schema, node, place, set())
        return node

    def _collect(self, schema: Any, node: Node, place: str, seen: set[int]) -> None:
        found = self.resolve(schema, place)
        if id(found) in seen:
            return
        seen.add(id(found))
        for member in entries(found.get("allOf"), place):
            self._collect(member, node, place, seen)
        kind = found.get("type")
        if kind is not None:
            node.type = "/".join(sorted(map(str, kind))) if isinstance(kind, list) else str(kind)
        node.limits.update({name: found[name] for name in LIMITS if name in found})
        if "enum" in found:
            node.enum = entries(found["enum"], place)
        # That of a parameter of Swagger 2.0, which is its own schema, is true or false.
        if isinstance(found.get("required"), list):
            node.required.update(map(str, found["required"]))
        node.properties.update(table(found.get("properties"), place))
        node.items = found.get("items", node.items)
        if isinstance(found.get("additionalProperties"), dict):
            node.values = found["additionalProperties"] or None

    def _item(self, path: str, method: str) -> tuple[Table, list[Any]]:
        """The operation, and the parameters of its path and its own, which come last and so count."""
        item = table(self.content["paths"][path.removeprefix(self.base())], f"the path {path}")
        operation = table(item[method], f"{method} {path}")
        place = f"{method} {path}: parameters"
        return operation, [*entries(item.get("parameters"), place), *entries(operation.get("parameters"), place)]


class OpenApi3(Document):
    """Our own specification."""

    def operation(self, path: str, method: str) -> Operation:
        found, given = self._item(path, method)
        place = f"{method} {path}"
        parameters = {}
        for each in given:
            parameter = self.resolve(each, place)
            parameters[_parameter_key(parameter)] = Content(parameter.get("schema"), bool(parameter.get("required")))
        body, takes = None, frozenset[str]()
        if "requestBody" in found:
            request = self.resolve(found["requestBody"], place)
            content = table(request.get("content"), place)
            body = Content(_first_schema(content), bool(request.get("required")))
            takes = _media_types(content)
        responses, gives = {}, frozenset[str]()
        for status, each in table(found.get("responses"), place).items():
            content = table(self.resolve(each, place).get("content"), place)
            responses[str(status)] = Content(_first_schema(content))
            if _is_success(str(status)):
                gives |= _media_types(content)
        return Operation(str(found.get("operationId", "")), parameters, body, takes, gives, responses)


class Swagger2(Document):
    """The service's description of itself."""

    def base(self) -> str:
        return str(self.content.get("basePath") or "").rstrip("/")

    def operation(self, path: str, method: str) -> Operation:
        found, given = self._item(path, method)
        place = f"{method} {path}"
        parameters, body = {}, None
        for each in given:
            parameter = self.resolve(each, place)
            required = bool(parameter.get("required"))
            if parameter.get("in") == "body":
                body = Content(parameter.get("schema"), required)
            else:
                parameters[_parameter_key(parameter)] = Content(parameter, required)
        responses = {}
        for status, each in table(found.get("responses"), place).items():
            if not status.startswith("x-"):
                responses[status] = Content(self.resolve(each, place).get("schema"))
        form = any(key.startswith("formData ") for key in parameters)
        takes = self._media_types(found, "consumes") if body or form else frozenset[str]()
        gives = self._media_types(found, "produces")
        return Operation(str(found.get("operationId", "")), parameters, body, takes, gives, responses)

    def _media_types(self, operation: Table, name: str) -> frozenset[str]:
        return _media_types(entries(operation.get(name, self.content.get(name)), f"#/{name}"))


def _parameter_key(parameter: Table) -> str:
    where, name = str(parameter.get("in")), str(parameter.get("name"))
    return f"{where} {name.lower() if where == 'header' else name}"


def _first_schema(content: Table) -> Any | None:
    # Where there are several media types, the specification gives all of them the same schema.
    return next((table(media, "a media type").get("schema") for media in content.values()), None)


def _media_types(names: Any) -> frozenset[str]:
    return frozenset(re.sub(r"\s*;\s*", ";", str(name).strip().lower()) for name in names)


def _is_success(status: str) -> bool:
    return status.startswith("2")
