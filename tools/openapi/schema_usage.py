"""Which schemas of a specification requests contain, and which ones responses contain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from openapi.document import METHODS, Document
from openapi.supported_schemas import resolve


class Directions(NamedTuple):
    """The named schemas that are sent, and those that are read, directly or inside others."""

    sent: frozenset[str]
    read: frozenset[str]

    def is_sent(self, place: str) -> bool:
        """Whether requests contain what is at a JSON pointer."""
        title = _title(place)
        return title in self.sent if title else "/responses/" not in place

    def is_read(self, place: str) -> bool:
        """Whether responses contain what is at a JSON pointer."""
        title = _title(place)
        return title in self.read if title else "/responses/" in place


def directions(document: Document) -> Directions:
    sent, read = [], []
    for item in document.get("paths", {}).values():
        for operation in (item[method] for method in METHODS if method in item):
            for parameter in (*item.get("parameters", []), *operation.get("parameters", [])):
                sent.append(resolve(document, parameter).get("schema"))
            sent += _schemas(document, operation.get("requestBody", {}))
            for response in operation.get("responses", {}).values():
                read += _schemas(document, response)
    return Directions(_reachable(document, sent), _reachable(document, read))


def _schemas(document: Document, body: Any) -> list[Any]:
    return [media.get("schema") for media in resolve(document, body).get("content", {}).values()]


def _reachable(document: Document, start: list[Any]) -> frozenset[str]:
    """The titles of all schemas that some schemas consist of."""
    titles: set[str] = set()
    waiting = list(start)
    while waiting:
        for title in _references(waiting.pop()):
            if title not in titles:
                titles.add(title)
                waiting.append(document.get("components", {}).get("schemas", {}).get(title))
    return frozenset(titles)


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield _title(node["$ref"])
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def _title(place: str) -> str:
    """The named schema that a JSON pointer leads into. Empty if it leads elsewhere."""
    parts = place.split("/")
    return parts[3] if parts[1:3] == ["components", "schemas"] and len(parts) > 3 else ""
