"""Compare the operations of two specifications: ours, in OpenAPI 3.0, and the service's, in Swagger 2.0.

Both are read into one form. Names, types and numbers are compared; descriptions are not.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

NONE: Final = "none"
METHODS: Final = ("delete", "get", "head", "options", "patch", "post", "put")

# Members that restrict a value, besides `type`, `enum`, `properties` and `items`.
LIMITS: Final = (
    *("format", "pattern", "minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    *("multipleOf", "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties"),
)

Table = Mapping[str, Any]


class Unreadable(Exception):
    """The document is malformed. The message says what is wrong and where."""


class Content(NamedTuple):
    """A value that is sent: a parameter, a request body or a response body. It may have no schema."""

    schema: Any | None
    required: bool = False


class Operation(NamedTuple):
    """The parts of an operation that are compared.

    Attributes:
        name: the operationId, or empty.
        parameters: by place and name, such as ``path kid``.
        body: the request body.
        request_types: media types of the request.
        response_types: media types of successful responses. Swagger 2.0 has no others for errors.
        responses: by status.
    """

    name: str
    parameters: Mapping[str, Content]
    body: Content | None
    request_types: frozenset[str]
    response_types: frozenset[str]
    responses: Mapping[str, Content]


class Node:
    """A schema after following references and merging the members of `allOf`."""

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
        """The type, or a guess if the schema does not have one."""
        if self.type:
            return self.type
        if self.properties or self.values is not None:
            return "object"
        return "array" if self.items is not None else "any"


def table(value: Any, place: str) -> Table:
    """The value as a JSON object. Empty if the value is None."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Unreadable(f"{place} is not an object")
    return value


def entries(value: Any, place: str) -> list[Any]:
    """The value as a JSON array. Empty if the value is None."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise Unreadable(f"{place} is not an array")
    return value


def path_key(path: str) -> str:
    """The path without the names of its parameters."""
    return re.sub(r"\{[^}]*\}", "{}", path)


class Document(ABC):
    """A specification. Subclasses read the two formats."""

    def __init__(self, content: Table) -> None:
        self.content = content

    def base(self) -> str:
        """The prefix of every path."""
        return ""

    @abstractmethod
    def operation(self, path: str, method: str) -> Operation:
        """An operation, by a path and method from `items`."""

    def items(self) -> Iterator[tuple[str, str]]:
        """Path, including the prefix, and method of every operation."""
        for path, item in table(self.content.get("paths"), "#/paths").items():
            for method in METHODS:
                if method in table(item, f"the path {path}"):
                    yield self.base() + path, method

    def resolve(self, value: Any, place: str) -> Table:
        """Follow references, and return their target."""
        visited: set[str] = set()
        while isinstance(value, dict) and isinstance(value.get("$ref"), str):
            reference = value["$ref"]
            if reference in visited:
                raise Unreadable(f"{place}: the reference {reference} leads to itself")
            visited.add(reference)
            value = self._target(reference, place)
        return table(value, place)

    def _target(self, reference: str, place: str) -> Any:
        target: Any = self.content
        for part in reference[2:].split("/"):
            name = part.replace("~1", "/").replace("~0", "~")
            if not reference.startswith("#/") or not isinstance(target, dict) or name not in target:
                raise Unreadable(f"{place}: the reference {reference} leads to nothing in the document")
            target = target[name]
        return target

    def node(self, schema: Any, place: str) -> Node:
        """Merge a schema into one node."""
        node = Node()
        self._collect(schema, node, place, set())
        return node

    def _collect(self, schema: Any, node: Node, place: str, visited: set[int]) -> None:
        resolved = self.resolve(schema, place)
        if id(resolved) in visited:
            return
        visited.add(id(resolved))
        for member in entries(resolved.get("allOf"), place):
            self._collect(member, node, place, visited)
        kind = resolved.get("type")
        if kind is not None:
            node.type = "/".join(sorted(map(str, kind))) if isinstance(kind, list) else str(kind)
        node.limits.update({name: resolved[name] for name in LIMITS if name in resolved})
        if "enum" in resolved:
            # OpenAPI 3.0.3 requires null in the enum of a nullable schema.
            node.enum = [value for value in entries(resolved["enum"], place) if value is not None]
        # In a Swagger 2.0 parameter, which is also its schema, `required` is a boolean.
        if isinstance(resolved.get("required"), list):
            node.required.update(map(str, resolved["required"]))
        node.properties.update(table(resolved.get("properties"), place))
        node.items = resolved.get("items", node.items)
        if isinstance(resolved.get("additionalProperties"), dict):
            node.values = resolved["additionalProperties"] or None

    def _item(self, path: str, method: str) -> tuple[Table, list[Any]]:
        """The operation, and its parameters. Those of the path come first, so that its own override them."""
        item = table(self.content["paths"][path.removeprefix(self.base())], f"the path {path}")
        operation = table(item[method], f"{method} {path}")
        place = f"{method} {path}: parameters"
        return operation, [*entries(item.get("parameters"), place), *entries(operation.get("parameters"), place)]


class OpenApi3(Document):
    """This project's specification."""

    def operation(self, path: str, method: str) -> Operation:
        operation, parameter_list = self._item(path, method)
        place = f"{method} {path}"
        parameters = {}
        for each in parameter_list:
            parameter = self.resolve(each, place)
            parameters[_parameter_key(parameter)] = Content(parameter.get("schema"), bool(parameter.get("required")))
        body, request_types = None, frozenset[str]()
        if "requestBody" in operation:
            request = self.resolve(operation["requestBody"], place)
            content = table(request.get("content"), place)
            body = Content(_first_schema(content), bool(request.get("required")))
            request_types = _media_types(content)
        responses, response_types = {}, frozenset[str]()
        for status, each in table(operation.get("responses"), place).items():
            content = table(self.resolve(each, place).get("content"), place)
            responses[str(status)] = Content(_first_schema(content))
            if _is_success(str(status)):
                response_types |= _media_types(content)
        return Operation(
            str(operation.get("operationId", "")), parameters, body, request_types, response_types, responses
        )


class Swagger2(Document):
    """CyberSource's specification."""

    def base(self) -> str:
        return str(self.content.get("basePath") or "").rstrip("/")

    def operation(self, path: str, method: str) -> Operation:
        operation, parameter_list = self._item(path, method)
        place = f"{method} {path}"
        parameters, body = {}, None
        for each in parameter_list:
            parameter = self.resolve(each, place)
            required = bool(parameter.get("required"))
            if parameter.get("in") == "body":
                body = Content(parameter.get("schema"), required)
            else:
                parameters[_parameter_key(parameter)] = Content(parameter, required)
        responses = {}
        for status, each in table(operation.get("responses"), place).items():
            if not status.startswith("x-"):
                responses[status] = Content(self.resolve(each, place).get("schema"))
        form = any(key.startswith("formData ") for key in parameters)
        request_types = self._media_types(operation, "consumes") if body or form else frozenset[str]()
        response_types = self._media_types(operation, "produces")
        return Operation(
            str(operation.get("operationId", "")), parameters, body, request_types, response_types, responses
        )

    def _media_types(self, operation: Table, name: str) -> frozenset[str]:
        return _media_types(entries(operation.get(name, self.content.get(name)), f"#/{name}"))


def _parameter_key(parameter: Table) -> str:
    where, name = str(parameter.get("in")), str(parameter.get("name"))
    return f"{where} {name.lower() if where == 'header' else name}"


def _first_schema(content: Table) -> Any | None:
    # If there are several media types, the specification has the same schema for all of them.
    return next((table(media, "a media type").get("schema") for media in content.values()), None)


def _media_types(names: Any) -> frozenset[str]:
    return frozenset(re.sub(r"\s*;\s*", ";", str(name).strip().lower()) for name in names)


def _is_success(status: str) -> bool:
    return status.startswith("2")


class Difference(NamedTuple):
    """One difference between the two specifications.

    Attributes:
        operation: method and path, as in our specification.
        place: the place in the operation, such as ``response 400 details[]``.
        what: the member that differs, such as ``maxLength``.
        ours: the value in our specification, or ``none``.
        upstream: the value in CyberSource's specification, or ``none``.
    """

    operation: str
    place: str
    what: str
    ours: str
    upstream: str


class Comparison(NamedTuple):
    """The result of a comparison: both names of each operation by method and path, and the differences."""

    names: dict[str, tuple[str, str]]
    differences: list[Difference]


def compare(ours: Document, upstream: Document) -> Comparison:
    """Compare each of our operations, and list related operations that only upstream has.

    Raises:
        Unreadable: a document is malformed, or upstream has none of our operations.
    """
    theirs = {(path_key(path), method): path for path, method in upstream.items()}
    names: dict[str, tuple[str, str]] = {}
    differences: list[Difference] = []
    compared = set()
    for path, method in ours.items():
        label = f"{method.upper()} {path}"
        operation = ours.operation(path, method)
        key = (path_key(path), method)
        compared.add(key)
        if key not in theirs:
            names[label] = (operation.name, "")
            differences.append(Difference(label, "operation", "operation", "present", NONE))
            continue
        other = upstream.operation(theirs[key], method)
        names[label] = (operation.name, other.name)
        differences += _Pair(label, ours, upstream).operations(operation, other)
    if not compared.intersection(theirs):
        raise Unreadable(f"it has none of our {len(compared)} operations; is it the merged specification?")
    families = {_family(path) for path, _ in compared}
    for (path, method), spelling in theirs.items():
        if (path, method) not in compared and _family(path) in families:
            label = f"{method.upper()} {spelling}"
            names[label] = ("", upstream.operation(spelling, method).name)
            differences.append(Difference(label, "operation", "operation", NONE, "present"))
    return Comparison(names, differences)


def _family(path: str) -> str:
    """The first segment of a path: the API that an operation belongs to. A path may lack the slash at its start."""
    return path.removeprefix("/").partition("/")[0]


class _Pair:
    """One operation in both documents."""

    def __init__(self, label: str, ours: Document, upstream: Document) -> None:
        self.label, self.ours, self.upstream = label, ours, upstream
        # Pairs that are being compared: a recursive schema is compared once.
        self.open: set[tuple[int, int]] = set()

    def differs(self, place: str, what: str, ours: str, upstream: str) -> Iterator[Difference]:
        if ours != upstream:
            yield Difference(self.label, place, what, ours, upstream)

    def operations(self, ours: Operation, upstream: Operation) -> Iterator[Difference]:
        for key in _union(ours.parameters, upstream.parameters):
            yield from self.contents(f"parameter {key}", ours.parameters.get(key), upstream.parameters.get(key))
        yield from self.contents("request", ours.body, upstream.body)
        yield from self.differs("request", "media types", _names(ours.request_types), _names(upstream.request_types))
        yield from self.responses(ours, upstream)
        if ours.response_types or any(
            upstream.responses[each].schema for each in upstream.responses if each.startswith("2")
        ):
            yield from self.differs(
                "response", "media types", _names(ours.response_types), _names(upstream.response_types)
            )

    def responses(self, ours: Operation, upstream: Operation) -> Iterator[Difference]:
        for status in _union(ours.responses, upstream.responses):
            place = f"response {status}"
            our_value, their_value = ours.responses.get(status), upstream.responses.get(status)
            yield from self.differs(place, "status", _presence(our_value), _presence(their_value))
            if our_value is None:
                # Our specification has one schema for all other statuses.
                our_value = ours.responses.get(f"{status[:1]}XX", ours.responses.get("default"))
            elif their_value is not None and (our_value.schema is None) != (their_value.schema is None):
                yield from self.presence(place, "body", our_value, their_value)
            if (
                our_value is not None
                and their_value is not None
                and our_value.schema is not None
                and their_value.schema is not None
            ):
                yield from self.schemas(place, our_value.schema, their_value.schema, "")

    def contents(self, place: str, ours: Content | None, upstream: Content | None) -> Iterator[Difference]:
        if ours is None or upstream is None:
            yield from self.presence(place, place.partition(" ")[0], ours, upstream)
            return
        yield from self.differs(place, "required", _yes(ours.required), _yes(upstream.required))
        if ours.schema is not None and upstream.schema is not None:
            yield from self.schemas(place, ours.schema, upstream.schema, "")
        else:
            yield from self.presence(place, "body", ours, upstream)

    def presence(self, place: str, what: str, ours: Content | None, upstream: Content | None) -> Iterator[Difference]:
        """A difference if only one of the two describes the value."""
        our_value, their_value = (_kind(self.ours, ours, place), _kind(self.upstream, upstream, place))
        yield from self.differs(place, what, our_value, their_value)

    def schemas(self, root: str, ours: Any, upstream: Any, path: str) -> Iterator[Difference]:
        place = f"{root} {path}".rstrip()
        where = f"{self.label}: {place}"
        our_value, their_value = self.ours.resolve(ours, where), self.upstream.resolve(upstream, where)
        pair = (id(our_value), id(their_value))
        if pair in self.open:
            return
        self.open.add(pair)
        yield from self.nodes(root, self.ours.node(our_value, where), self.upstream.node(their_value, where), path)
        self.open.remove(pair)

    def nodes(self, root: str, ours: Node, upstream: Node, path: str) -> Iterator[Difference]:
        place = f"{root} {path}".rstrip()
        if ours.kind != upstream.kind:
            # The contents of different types cannot be compared.
            yield from self.differs(place, "type", ours.kind, upstream.kind)
            return
        for limit in LIMITS:
            yield from self.differs(place, limit, _value(ours.limits, limit), _value(upstream.limits, limit))
        yield from self._enums(place, ours.enum, upstream.enum)
        yield from self.differs(place, "required", _names(ours.required), _names(upstream.required))
        for name in _union(ours.properties, upstream.properties):
            inner = f"{path}.{name}" if path else name
            if name in ours.properties and name in upstream.properties:
                yield from self.schemas(root, ours.properties[name], upstream.properties[name], inner)
            else:
                our_value, their_value = (_content(node.properties.get(name)) for node in (ours, upstream))
                yield from self.presence(f"{root} {inner}", "property", our_value, their_value)
        yield from self._members(root, "items", ours.items, upstream.items, f"{path}[]")
        yield from self._members(root, "additionalProperties", ours.values, upstream.values, f"{path}{{}}")

    def _members(self, root: str, what: str, ours: Any | None, upstream: Any | None, path: str) -> Iterator[Difference]:
        if ours is not None and upstream is not None:
            yield from self.schemas(root, ours, upstream, path)
        else:
            yield from self.presence(f"{root} {path}", what, _content(ours), _content(upstream))

    def _enums(self, place: str, ours: list[Any] | None, upstream: list[Any] | None) -> Iterator[Difference]:
        our_value, their_value = (
            None if each is None else {_format(value) for value in each} for each in (ours, upstream)
        )
        if our_value is None or their_value is None:
            yield from self.differs(
                place, "enum", NONE if our_value is None else _names(our_value), _names(their_value or ())
            )
        else:
            yield from self.differs(place, "enum", _names(our_value - their_value), _names(their_value - our_value))


def _content(schema: Any | None) -> Content | None:
    return None if schema is None else Content(schema)


def _kind(document: Document, content: Content | None, place: str) -> str:
    if content is None:
        return NONE
    return "no schema" if content.schema is None else document.node(content.schema, place).kind


def _union(*tables: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(key for table in tables for key in table))


def _presence(content: Content | None) -> str:
    return NONE if content is None else "present"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _value(limits: dict[str, Any], name: str) -> str:
    return _format(limits[name]) if name in limits else NONE


def _format(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, str) else json.dumps(value)


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or NONE
