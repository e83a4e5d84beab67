"""Changes of the requests that each operation sends: hosts, signature, and the headers for media types."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from comparison.semver_impact import Finding, Impact
from openapi.document import METHODS, Document
from openapi.supported_schemas import resolve

SOURCE: Final = "wire"


def findings(before: Document, after: Document) -> Iterator[Finding]:
    """The changes from one document to another. Operations that only one of them has are left out."""
    yield from _environments(_hosts(before), _hosts(after))
    old, new = _operations(before), _operations(after)
    for place, (item, operation) in new.items():
        if place in old:
            old_item, old_operation = old[place]
            yield from _own_hosts(place, old_operation, old_item, operation, item)
            yield from _signature(place, _schemes(before, old_operation), _schemes(after, operation))
            yield from _media_types(place, "Accept", _accepted(before, old_operation), _accepted(after, operation))
            yield from _media_types(place, "Content-Type", _sent(before, old_operation), _sent(after, operation))


def _operations(document: Document) -> dict[str, tuple[Any, Any]]:
    return {
        f"{method.upper()} {path}": (item, item[method])
        for path, item in document.get("paths", {}).items()
        for method in METHODS
        if method in item
    }


def _hosts(owner: Any) -> dict[str, str]:
    """The hosts of a document, path or operation, by environment."""
    return {server.get("x-environment", ""): server.get("url", "") for server in owner.get("servers") or []}


def _environments(before: dict[str, str], after: dict[str, str]) -> Iterator[Finding]:
    old, new = (_listed(list(hosts.values())[:1]) for hosts in (before, after))
    if old != new:
        yield Finding(Impact.MAJOR, "default host", f"{_arrow(old, new)}: credentials go to another host", SOURCE)
    for name in dict.fromkeys([*before, *after]):
        place = f"environment {name}"
        if name not in after:
            yield Finding(Impact.MAJOR, place, "removed", SOURCE)
        elif name not in before:
            yield Finding(Impact.MINOR, place, f"added: {after[name]}", SOURCE)
        elif before[name] != after[name]:
            change = _arrow(before[name], after[name])
            yield Finding(Impact.MAJOR, place, f"{change}: credentials go to another host", SOURCE)


def _own_hosts(place: str, old_operation: Any, old_item: Any, operation: Any, item: Any) -> Iterator[Finding]:
    before = _hosts(old_operation) or _hosts(old_item)
    after = _hosts(operation) or _hosts(item)
    if before != after:
        change = _arrow(_listed(before.values()), _listed(after.values()))
        yield Finding(Impact.MAJOR, place, f"own hosts: {change}: credentials go to other hosts", SOURCE)


def _schemes(document: Document, operation: Any) -> list[str]:
    """The names of the authentication schemes of an operation. Empty if it is not signed."""
    choices = operation.get("security", document.get("security")) or []
    return [" and ".join(choice) for choice in choices]


def _signature(place: str, before: list[str], after: list[str]) -> Iterator[Finding]:
    if bool(before) != bool(after):
        what = "signed, which it was not" if after else "no longer signed: no credentials are sent"
        yield Finding(Impact.MAJOR, place, what, SOURCE)
        return
    for name in before:
        if name not in after:
            yield Finding(Impact.MINOR, place, f"authentication scheme `{name}` removed", SOURCE)
    for name in after:
        if name not in before:
            yield Finding(Impact.MINOR, place, f"authentication scheme `{name}` added", SOURCE)


def _accepted(document: Document, operation: Any) -> list[str]:
    responses = operation.get("responses", {}).items()
    successes = [resolve(document, response) for status, response in responses if str(status).startswith("2")]
    return list(dict.fromkeys(media_type for each in successes for media_type in each.get("content", {})))


def _sent(document: Document, operation: Any) -> list[str]:
    return list(resolve(document, operation.get("requestBody", {})).get("content", {}))


def _media_types(place: str, header: str, before: list[str], after: list[str]) -> Iterator[Finding]:
    """Another order, or other parameters such as the charset. Other media types are findings of redocly."""
    if before == after or sorted(map(essence, before)) != sorted(map(essence, after)):
        return
    impact = Impact.PATCH if sorted(before) == sorted(after) else Impact.MINOR
    yield Finding(impact, place, f"`{header}`: {_arrow(_listed(before), _listed(after))}", SOURCE)


def essence(media_type: str) -> str:
    """A media type without its parameters."""
    return media_type.partition(";")[0].strip()


def _listed(values: Any) -> str:
    return ", ".join(values)


def _arrow(before: str, after: str) -> str:
    return f"`{before or 'none'}` → `{after or 'none'}`"
