"""Read an OpenAPI document: parse it, check its outline, and leave out what has no effect on a client.

The outline is where objects, lists and strings must be. Everything that reads the document relies on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import yaml

Document = dict[str, Any]
Problem = str

METHODS: Final = ("delete", "get", "patch", "post", "put")

# Extensions of this project. All others are left out.
EXTENSIONS: Final = ("x-encrypted-body", "x-environment", "x-retry-safe")
# Members for readers or for other formats than JSON, in any object whose members have fixed names.
_METADATA: Final = ("externalDocs", "title", "xml")

_ANY, _STRING, _OBJECT, _SCHEMA_OR_BOOLEAN = "any", "string", "object", "schema or boolean"

# The members of each kind of object. A list means a list, and a set means an object whose member names are free.
_SERVERS: Final[dict[str, Any]] = {"servers": [_OBJECT]}
_KINDS: Final[dict[str, dict[str, Any]]] = {
    _OBJECT: {},
    "document": {
        **_SERVERS,
        "tags": [_OBJECT],
        "security": ["requirement"],
        "components": "components",
        "paths": {"path"},
    },
    "components": {
        "headers": {"header"},
        "parameters": {"parameter"},
        "requestBodies": {"body"},
        "responses": {"response"},
        "schemas": {"schema"},
        "securitySchemes": {_OBJECT},
    },
    "path": {
        **dict.fromkeys(METHODS, "operation"),
        **_SERVERS,
        "parameters": ["parameter"],
    },
    "operation": {
        **_SERVERS,
        "parameters": ["parameter"],
        "requestBody": "body",
        "responses": {"response"},
        "security": ["requirement"],
        "tags": [_STRING],
    },
    "parameter": {"$ref": _STRING, "in": _STRING, "name": _STRING, "schema": "schema", "style": _STRING},
    "header": {"$ref": _STRING, "schema": "schema"},
    "body": {"$ref": _STRING, "content": {"media"}},
    "response": {"$ref": _STRING, "content": {"media"}, "headers": {"header"}},
    "media": {"examples": {_OBJECT}, "schema": "schema"},
    "requirement": {},
    "schema": {
        "$ref": _STRING,
        "additionalProperties": _SCHEMA_OR_BOOLEAN,
        "allOf": ["schema"],
        "discriminator": "discriminator",
        "enum": [_ANY],
        "format": _STRING,
        "items": "schema",
        "oneOf": ["schema"],
        "properties": {"schema"},
        "required": [_STRING],
    },
    "discriminator": {"mapping": {_STRING}, "propertyName": _STRING},
}
# Members whose names are checked elsewhere: YAML may read a status as a number and a property as true.
_ANY_NAME: Final = ("responses", "properties")
_KINDS[_SCHEMA_OR_BOOLEAN] = _KINDS["schema"]


def load(source: str) -> Any:
    """Parse an OpenAPI document."""
    return yaml.load(source, Loader=_Loader)  # noqa: S506


# The C parser is ten times as fast. PyYAML has it if libyaml was there when it was built.
FAST_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(FAST_LOADER):  # type: ignore[misc]
    """A YAML loader that rejects duplicate keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        # Before those that `<<` merges are added.
        keys = [key for key, _ in node.value]
        content: dict[Any, Any] = super().construct_mapping(node, deep)
        names = [self.construct_object(key, deep=True) for key in keys if key.tag != "tag:yaml.org,2002:merge"]
        if len(set(names)) < len(names):
            twice = next(name for number, name in enumerate(names) if name in names[:number])
            raise yaml.constructor.ConstructorError(None, None, f"the key {twice!r} twice", node.start_mark)
        return content


def pointer_part(name: Any) -> str:
    """A name as a part of a JSON pointer."""
    return str(name).replace("~", "~0").replace("/", "~1")


def outline_problems(document: Any) -> Iterator[Problem]:
    """Report places that are not the object, list or string that OpenAPI requires."""
    yield from _check_outline(document, "document", "#", "")


def _check_outline(node: Any, kind: Any, place: str, member: str) -> Iterator[Problem]:
    if isinstance(kind, list):
        if not isinstance(node, list):
            yield f"{place}: must be a list"
            return
        for number, entry in enumerate(node):
            yield from _check_outline(entry, kind[0], f"{place}/{number}", "")
    elif kind == _STRING:
        if not isinstance(node, str):
            yield f"{place}: must be a string; quote what YAML reads as something else"
    elif kind != _ANY and not (kind == _SCHEMA_OR_BOOLEAN and isinstance(node, bool)):
        if not isinstance(node, dict):
            yield f"{place}: must be an object"
            return
        for name, entry in node.items():
            here = f"{place}/{pointer_part(name)}"
            if not isinstance(name, str) and not (isinstance(kind, set) and member in _ANY_NAME):
                yield f"{here}: the name must be a string; quote what YAML reads as something else"
            if _is_metadata(name, kind, member):
                continue
            (inner,) = kind if isinstance(kind, set) else (_KINDS[kind].get(name, _ANY),)
            yield from _check_outline(entry, inner, here, str(name))


def without_metadata(document: Any) -> Any:
    """A copy of a document without metadata: extensions, titles, external documentation, and siblings of ``$ref``.

    OpenAPI 3.0 says that members beside ``$ref`` are ignored. The outline must have been checked.
    """
    return _without_metadata(document, "document", "")


def _without_metadata(node: Any, kind: Any, member: str) -> Any:
    if isinstance(kind, list):
        return [_without_metadata(entry, kind[0], "") for entry in node]
    if kind in (_ANY, _STRING) or not isinstance(node, dict):
        return node
    if not isinstance(kind, set) and "$ref" in _KINDS[kind] and "$ref" in node:
        return {"$ref": node["$ref"]}
    if isinstance(kind, set):
        (inner,) = kind
        return {
            name: _without_metadata(entry, inner, str(name))
            for name, entry in node.items()
            if not _is_metadata(name, kind, member)
        }
    return {
        name: _without_metadata(entry, _KINDS[kind].get(name, _ANY), str(name))
        for name, entry in node.items()
        if not _is_metadata(name, kind, member)
    }


def _is_metadata(name: Any, kind: Any, member: str) -> bool:
    """Whether a member says nothing about requests and responses.

    Args:
        name: the name of the member.
        kind: the kind of the object that contains it.
        member: the name of that object.
    """
    if isinstance(kind, set):
        # The only objects with free names that can also have extensions.
        return member in ("paths", "responses") and str(name).startswith("x-")
    if kind == "requirement" or name in _KINDS[kind]:
        return False
    if kind == "path" and name in ("description", "summary"):
        return True
    return name in _METADATA or (str(name).startswith("x-") and name not in EXTENSIONS)
