"""What differs in structure between our specification and the service's own. Names, types and numbers; no prose."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from upstream_operations import LIMITS, Content, Document, Node, Operation, Unreadable, path_key

NONE: Final = "none"


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
