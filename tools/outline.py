"""The outline of an OpenAPI document: where objects, lists and strings must be. See supported_openapi.py.

It is checked first, so that the other checks can rely on it, and an error in them is not taken for one of the document.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from supported_schemas import Problem

_ANY, _TEXT, _OBJECT, _SCHEMA_OR_BOOLEAN = "any", "text", "object", "schema or boolean"

# The members of each kind of object. A list stands for a list, a set for an object with names of the author's choice.
_SERVERS: Final[dict[str, Any]] = {"servers": [_OBJECT]}
_KINDS: Final[dict[str, dict[str, Any]]] = {
    _OBJECT: {},
    "document": {
        **_SERVERS,
        "tags": [_OBJECT],
        "security": [_OBJECT],
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
        **dict.fromkeys(("delete", "get", "patch", "post", "put"), "operation"),
        **_SERVERS,
        "parameters": ["parameter"],
    },
    "operation": {
        **_SERVERS,
        "parameters": ["parameter"],
        "requestBody": "body",
        "responses": {"response"},
        "security": [_OBJECT],
        "tags": [_TEXT],
    },
    "parameter": {"$ref": _TEXT, "in": _TEXT, "name": _TEXT, "schema": "schema", "style": _TEXT},
    "header": {"$ref": _TEXT, "schema": "schema"},
    "body": {"$ref": _TEXT, "content": {"media"}},
    "response": {"$ref": _TEXT, "content": {"media"}, "headers": {"header"}},
    "media": {"examples": {_OBJECT}, "schema": "schema"},
    "schema": {
        "$ref": _TEXT,
        "additionalProperties": _SCHEMA_OR_BOOLEAN,
        "allOf": ["schema"],
        "discriminator": "discriminator",
        "enum": [_ANY],
        "format": _TEXT,
        "items": "schema",
        "oneOf": ["schema"],
        "properties": {"schema"},
        "required": [_TEXT],
    },
    "discriminator": {"mapping": {_TEXT}, "propertyName": _TEXT},
}
# Names that other checks judge: a status that YAML reads as a number, a property that it reads as true.
_ANY_NAME: Final = ("responses", "properties")


def problems(document: Any) -> Iterator[Problem]:
    """Each place in the document that is not what it must be there."""
    yield from _check(document, "document", "#", "")


def _check(found: Any, kind: Any, place: str, member: str) -> Iterator[Problem]:
    if isinstance(kind, list):
        if not isinstance(found, list):
            yield f"{place}: must be a list"
            return
        for number, entry in enumerate(found):
            yield from _check(entry, kind[0], f"{place}/{number}", "")
    elif kind == _TEXT:
        if not isinstance(found, str):
            yield f"{place}: must be a text; quote what YAML reads as something else"
    elif kind != _ANY and not (kind == _SCHEMA_OR_BOOLEAN and isinstance(found, bool)):
        if not isinstance(found, dict):
            yield f"{place}: must be an object"
            return
        for name, entry in found.items():
            here = f"{place}/{str(name).replace('~', '~0').replace('/', '~1')}"
            if not isinstance(name, str) and not (isinstance(kind, set) and member in _ANY_NAME):
                yield f"{here}: the name must be a text; quote what YAML reads as something else"
            (inner,) = kind if isinstance(kind, set) else (_KINDS[kind].get(name, _ANY),)
            yield from _check(entry, inner, here, str(name))


_KINDS[_SCHEMA_OR_BOOLEAN] = _KINDS["schema"]
