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


class Difference(NamedTuple):
    """One thing that the two say differently.

    Attributes:
        operation: method and path, as we write them.
        place: where in the operation, such as ``response 400 details[]``.
        what: what differs there, such as ``maxLength``.
        ours: what our specification says; ``none`` where it says nothing.
        upstream: what the other says.
    """

    operation: str
    place: str
    what: str
    ours: str
    upstream: str


class Comparison(NamedTuple):
    """All that was compared: the operations by method and path, with the name that upstream has for each of ours."""

    names: dict[str, tuple[str, str]]
    differences: list[Difference]


def compare(ours: Document, upstream: Document) -> Comparison:
    """Compare each of our operations, and name others beside them.

    Raises:
        Unreadable: one of the two is malformed, or upstream has none of our operations.
    """
    theirs = {(path_key(path), method): path for path, method in upstream.items()}
    names: dict[str, tuple[str, str]] = {}
    differences: list[Difference] = []
    known = set()
    for path, method in ours.items():
        label = f"{method.upper()} {path}"
        operation = ours.operation(path, method)
        key = (path_key(path), method)
        known.add(key)
        if key not in theirs:
            names[label] = (operation.name, "")
            differences.append(Difference(label, "operation", "operation", "given", NONE))
            continue
        other = upstream.operation(theirs[key], method)
        names[label] = (operation.name, other.name)
        differences += _Pair(label, ours, upstream).operations(operation, other)
    if not known.intersection(theirs):
        raise Unreadable(f"it has none of our {len(known)} operations; is it the merged specification?")
    families = {path.split("/")[1] for path, _ in known}
    for (path, method), spelling in theirs.items():
        if (path, method) not in known and path.split("/")[1] in families:
            label = f"{method.upper()} {spelling}"
            names[label] = ("", upstream.operation(spelling, method).name)
            differences.append(Difference(label, "operation", "operation", NONE, "given"))
    return Comparison(names, differences)


class _Pair:
    """One operation in both documents."""

    def __init__(self, label: str, ours: Document, upstream: Document) -> None:
        self.label, self.ours, self.upstream = label, ours, upstream
        # Schemas under comparison: one that contains itself is compared once.
        self.open: set[tuple[int, int]] = set()

    def differs(self, place: str, what: str, ours: str, upstream: str) -> Iterator[Difference]:
        if ours != upstream:
            yield Difference(self.label, place, what, ours, upstream)

    def operations(self, ours: Operation, upstream: Operation) -> Iterator[Difference]:
        for key in _union(ours.parameters, upstream.parameters):
            yield from self.contents(f"parameter {key}", ours.parameters.get(key), upstream.parameters.get(key))
        yield from self.contents("request", ours.body, upstream.body)
        yield from self.differs("request", "media types", _names(ours.takes), _names(upstream.takes))
        yield from self.responses(ours, upstream)
        if ours.gives or any(upstream.responses[each].schema for each in upstream.responses if each.startswith("2")):
            yield from self.differs("response", "media types", _names(ours.gives), _names(upstream.gives))

    def responses(self, ours: Operation, upstream: Operation) -> Iterator[Difference]:
        for status in _union(ours.responses, upstream.responses):
            place = f"response {status}"
            left, right = ours.responses.get(status), upstream.responses.get(status)
            yield from self.differs(place, "status", _given(left), _given(right))
            if left is None:
                # We have one schema for what we do not name.
                left = ours.responses.get(f"{status[:1]}XX", ours.responses.get("default"))
            elif right is not None and (left.schema is None) != (right.schema is None):
                yield from self.presence(place, "body", left, right)
            if left is not None and right is not None and left.schema is not None and right.schema is not None:
                yield from self.schemas(place, left.schema, right.schema, "")

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
        """What only one of them describes."""
        left, right = (_kind(self.ours, ours, place), _kind(self.upstream, upstream, place))
        yield from self.differs(place, what, left, right)

    def schemas(self, root: str, ours: Any, upstream: Any, path: str) -> Iterator[Difference]:
        place = f"{root} {path}".rstrip()
        where = f"{self.label}: {place}"
        left, right = self.ours.resolve(ours, where), self.upstream.resolve(upstream, where)
        pair = (id(left), id(right))
        if pair in self.open:
            return
        self.open.add(pair)
        yield from self.nodes(root, self.ours.node(left, where), self.upstream.node(right, where), path)
        self.open.remove(pair)

    def nodes(self, root: str, ours: Node, upstream: Node, path: str) -> Iterator[Difference]:
        place = f"{root} {path}".rstrip()
        if ours.kind != upstream.kind:
            # What is inside of two types cannot be compared.
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
                left, right = (_content(node.properties.get(name)) for node in (ours, upstream))
                yield from self.presence(f"{root} {inner}", "property", left, right)
        yield from self._members(root, "items", ours.items, upstream.items, f"{path}[]")
        yield from self._members(root, "additionalProperties", ours.values, upstream.values, f"{path}{{}}")

    def _members(self, root: str, what: str, ours: Any | None, upstream: Any | None, path: str) -> Iterator[Difference]:
        if ours is not None and upstream is not None:
            yield from self.schemas(root, ours, upstream, path)
        else:
            yield from self.presence(f"{root} {path}", what, _content(ours), _content(upstream))

    def _enums(self, place: str, ours: list[Any] | None, upstream: list[Any] | None) -> Iterator[Difference]:
        left, right = (None if each is None else {_text(value) for value in each} for each in (ours, upstream))
        if left is None or right is None:
            yield from self.differs(place, "enum", NONE if left is None else _names(left), _names(right or ()))
        else:
            yield from self.differs(place, "enum", _names(left - right), _names(right - left))


def _content(schema: Any | None) -> Content | None:
    return None if schema is None else Content(schema)


def _kind(document: Document, content: Content | None, place: str) -> str:
    if content is None:
        return NONE
    return "no schema" if content.schema is None else document.node(content.schema, place).kind


def _union(*tables: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(key for table in tables for key in table))


def _given(content: Content | None) -> str:
    return NONE if content is None else "given"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _value(limits: dict[str, Any], name: str) -> str:
    return _text(limits[name]) if name in limits else NONE


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, str) else json.dumps(value)


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or NONE
