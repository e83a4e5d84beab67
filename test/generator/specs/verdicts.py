"""Changes of a specification, each with the rule of CONTRIBUTING.md that rates it. ``test_spec_verdicts.py`` runs them.

Each change is made to its own operation and models, so that one comparison can rate all of them.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any, NamedTuple

# The rules of CONTRIBUTING.md, by the word that names them there.
RULES = {
    "name": "major",
    "argument": "major",
    "read": "major",
    "rejected": "major",
    "credentials": "major",
    "new": "minor",
    "looser": "minor",
    "hint": "minor",
    "sent": "minor",
    "words": "patch",
    "order": "patch",
    "nothing": "none",
}

STRING = {"type": "string", "description": "A string."}


class Parts:
    """The parts of the specification that one change may use: an operation with its models."""

    def __init__(self, document: Any, number: int) -> None:
        self.document, self.number = document, number
        self.path = f"/case{number}/{{id}}"
        self.item = document["paths"][self.path]
        self.operation = self.item["post"]
        self.parameters = {each["name"]: each for each in self.operation["parameters"]}
        schemas = document["components"]["schemas"]
        self.schemas = schemas
        self.request, self.response = schemas[f"Case{number}Request"], schemas[f"Case{number}Response"]
        self.sent, self.read = self.request["properties"], self.response["properties"]
        self.shared = schemas[f"Case{number}Shared"]["properties"]
        self.union = schemas[f"Case{number}Either"]

    @property
    def bodies(self) -> Any:
        return self.operation["requestBody"]["content"]

    @property
    def success(self) -> Any:
        return self.operation["responses"]["200"]


class Change(NamedTuple):
    """One change.

    Attributes:
        name: what changes.
        rule: the rule that rates it.
        make: makes the change.
        only_in_python: whether the impact is that on the Python API alone. The specification then has something new or
            looser, which is minor.
    """

    name: str
    rule: str
    make: Callable[[Parts], Any]
    only_in_python: bool = False


def base(changes: int) -> Any:
    """A specification with an operation and its models for each change."""
    document: Any = {
        "openapi": "3.0.3",
        "info": {"title": "Verdicts", "version": "1"},
        "servers": [
            {"url": "https://test.example", "description": "Test.", "x-environment": "test"},
            {"url": "https://live.example", "description": "Live.", "x-environment": "live"},
        ],
        "tags": [
            {"name": "Cases", "description": "Operations."},
            {"name": "Others", "description": "Other operations."},
        ],
        "paths": {"/others": {"get": _operation("other", "Others", [])}},
        "components": {
            "securitySchemes": {
                "jwt": {"type": "http", "scheme": "bearer"},
                "signature": {"type": "apiKey", "in": "header", "name": "Signature"},
            },
            "schemas": {
                "Problem": {"type": "object", "properties": {"reason": STRING}},
                "Card": {"type": "object", "required": ["kind"], "properties": {"kind": STRING, "number": STRING}},
                "Bank": {"type": "object", "required": ["kind"], "properties": {"kind": STRING, "account": STRING}},
                "Voucher": {"type": "object", "required": ["kind"], "properties": {"kind": STRING}},
            },
        },
    }
    for number in range(changes):
        _add(document, number)
    # Not a deep copy, which would keep what several places share.
    copied: Any = json.loads(json.dumps(document))
    return copied


def _operation(name: str, tag: str, parameters: list[Any]) -> Any:
    return {
        "operationId": name,
        "tags": [tag],
        "summary": "Do something",
        "security": [{"jwt": []}, {"signature": []}],
        "parameters": parameters,
        "responses": {
            "200": {"description": "Done.", "content": {"application/json": {"schema": {"type": "string"}}}},
            "default": {"description": "Failed.", "content": {"application/json": {"schema": _reference("Problem")}}},
        },
    }


def _reference(title: str) -> Any:
    return {"$ref": f"#/components/schemas/{title}"}


def _add(document: Any, number: int) -> None:
    name = f"Case{number}"
    parameters = [
        {"name": "id", "in": "path", "required": True, "schema": STRING, "example": "a"},
        {"name": "limit", "in": "query", "schema": {"type": "integer", "maximum": 9}},
        {"name": "trace", "in": "header", "schema": STRING},
        {"name": "tags", "in": "query", "schema": {"type": "array", "items": STRING}},
        {"name": "page", "in": "query", "required": True, "schema": {"type": "integer"}, "example": 1},
        {"name": "sortBy", "in": "query", "schema": STRING},
    ]
    operation = _operation(name.lower(), "Cases", parameters)
    operation["requestBody"] = {
        "required": True,
        "content": {"application/json;charset=utf-8": {"schema": _reference(f"{name}Request")}},
    }
    operation["responses"]["200"]["content"] = {
        "application/json": {"schema": _reference(f"{name}Response")},
        "application/jwt": {"schema": {"type": "string"}},
    }
    listing = _operation(f"case{number}List", "Cases", parameters[:1])
    document["paths"][f"/case{number}/{{id}}"] = {"post": operation, "delete": listing}
    document["components"]["schemas"] |= {
        f"{name}Request": {
            "type": "object",
            "description": "A request.",
            "required": ["name"],
            "properties": {
                "name": {"type": "string", "description": "Name.", "maxLength": 9, "minLength": 1, "pattern": "^a"},
                "size": {"type": "integer", "description": "Size.", "maximum": 9, "minimum": 1},
                "list": {"type": "array", "description": "List.", "maxItems": 9, "items": STRING},
                "kind": {"type": "string", "description": "Kind.", "enum": ["A", "B"]},
                "note": {"type": "string", "description": "Note.", "nullable": True},
                "flag": {"type": "boolean", "description": "Flag.", "default": True},
                "userId": {"type": "string", "description": "User.", "externalDocs": {"url": "https://docs.example/a"}},
                "shared": _reference(f"{name}Shared"),
            },
        },
        f"{name}Response": {
            "type": "object",
            "description": "A response.",
            "required": ["id", "maybe"],
            "properties": {
                "id": {"type": "string", "description": "Id.", "maxLength": 9},
                "maybe": {"type": "string", "description": "Null or not.", "nullable": True},
                "text": {"type": "string", "description": "Text."},
                "state": {"type": "string", "description": "State.", "enum": ["ON", "OFF"]},
                "count": {"type": "integer", "description": "Count."},
                "either": _reference(f"{name}Either"),
                "shared": _reference(f"{name}Shared"),
            },
        },
        f"{name}Shared": {
            "type": "object",
            "description": "In requests and responses.",
            "required": ["needed"],
            "properties": {"needed": STRING, "own": STRING},
        },
        f"case{number}_user": {"type": "object", "properties": {"own": STRING}},
        f"{name}Either": {
            "oneOf": [_reference("Card"), _reference("Bank")],
            "discriminator": {
                "propertyName": "kind",
                "mapping": {"card": "#/components/schemas/Card", "bank": "#/components/schemas/Bank"},
            },
        },
    }


def _rename(owner: Any, old: str, new: str) -> None:
    members = [(new if name == old else name, value) for name, value in owner.items()]
    owner.clear()
    owner.update(members)


def _set(owner: Callable[[Parts], Any], **members: Any) -> Callable[[Parts], Any]:
    return lambda parts: owner(parts).update(members)


def _drop(owner: Callable[[Parts], Any], *members: str) -> Callable[[Parts], Any]:
    return lambda parts: [owner(parts).pop(member) for member in members]


def _parameter(name: str, place: str = "query", **members: Any) -> Callable[[Parts], Any]:
    new = {"name": name, "in": place, "schema": STRING, "example": "a", **members}
    return lambda parts: parts.operation["parameters"].append(new)


def _own_servers(*hosts: str) -> list[Any]:
    names = ("test", "live")
    return [
        {"url": f"https://{host}", "description": "Its own.", "x-environment": name}
        for host, name in zip(hosts, names, strict=False)
    ]


def _sent(name: str) -> Callable[[Parts], Any]:
    return lambda parts: parts.sent[name]


def _read(name: str) -> Callable[[Parts], Any]:
    return lambda parts: parts.read[name]


def _move_to_header(parts: Parts) -> None:
    parts.parameters["limit"]["in"] = "header"


def _swap_media_types(parts: Parts) -> None:
    parts.success["content"] = dict(reversed(parts.success["content"].items()))


def _rename_operation(parts: Parts) -> None:
    parts.operation["operationId"] = f"case{parts.number}Renamed"


CHANGES = [
    # Fields of requests
    Change("optional field of a request added", "new", lambda parts: parts.sent.update(more=STRING)),
    Change(
        "required field of a request added",
        "argument",
        lambda parts: (parts.sent.update(more=STRING), parts.request["required"].append("more")),
    ),
    Change("field of a request removed", "name", lambda parts: parts.sent.pop("size")),
    Change("field of a request renamed", "name", lambda parts: _rename(parts.sent, "size", "extent")),
    Change("field of a request becomes required", "argument", lambda parts: parts.request["required"].append("size")),
    Change("field of a request becomes optional", "looser", lambda parts: parts.request.pop("required")),
    Change("field of a request becomes nullable", "looser", _set(_sent("size"), nullable=True)),
    Change("field of a request is no longer nullable", "argument", _drop(_sent("note"), "nullable")),
    Change("type of a request's field changed", "argument", lambda parts: parts.sent.update(size=STRING)),
    Change("field of a request deprecated", "hint", _set(_sent("size"), deprecated=True)),
    Change("default of a request's field changed", "hint", _set(_sent("flag"), default=False)),
    Change("default of a request's field removed", "hint", _drop(_sent("flag"), "default")),
    # A new name that needs no conversion takes the name in Python of an existing one
    Change("name of a field taken over", "name", lambda parts: parts.sent.update(user_id=STRING), only_in_python=True),
    Change("name of a parameter taken over", "name", _parameter("sort_by"), only_in_python=True),
    Change(
        "name of the body taken over",
        "name",
        lambda parts: _parameter(f"case{parts.number}_request")(parts),
        only_in_python=True,
    ),
    Change(
        "name of a model taken over",
        "name",
        lambda parts: parts.schemas.update(
            {f"Case{parts.number}User": {"type": "object", "properties": {"own": STRING}}}
        ),
        only_in_python=True,
    ),
    Change(
        "name of a method taken over",
        "name",
        lambda parts: parts.item.update(
            get=_operation(f"case{parts.number}_list", "Cases", parts.operation["parameters"][:1])
        ),
        only_in_python=True,
    ),
    # Limits of requests
    Change("maxLength of a request raised", "looser", _set(_sent("name"), maxLength=19)),
    Change("maxLength of a request removed", "looser", _drop(_sent("name"), "maxLength")),
    Change("maxLength of a request lowered", "rejected", _set(_sent("name"), maxLength=5)),
    Change("maximum of a request raised", "looser", _set(_sent("size"), maximum=19)),
    Change("maximum of a request lowered", "rejected", _set(_sent("size"), maximum=5)),
    Change("maximum of a request removed", "looser", _drop(_sent("size"), "maximum")),
    Change("minimum of a request raised", "rejected", _set(_sent("size"), minimum=2)),
    Change("minimum of a request lowered", "looser", _set(_sent("size"), minimum=0)),
    Change("minLength of a request removed", "looser", _drop(_sent("name"), "minLength")),
    Change("maxItems of a request raised", "looser", _set(_sent("list"), maxItems=19)),
    Change("maxItems of a request removed", "looser", _drop(_sent("list"), "maxItems")),
    Change("maxItems of a request lowered", "rejected", _set(_sent("list"), maxItems=5)),
    Change("minItems of a request added", "rejected", _set(_sent("list"), minItems=1)),
    Change("pattern of a request removed", "looser", _drop(_sent("name"), "pattern")),
    Change("pattern of a request changed", "rejected", _set(_sent("name"), pattern="^b")),
    Change(
        "limit of a parameter raised", "looser", lambda parts: parts.parameters["limit"]["schema"].update(maximum=99)
    ),
    Change(
        "limit of a parameter lowered", "rejected", lambda parts: parts.parameters["limit"]["schema"].update(maximum=5)
    ),
    # Fields of responses
    Change("field of a response added", "new", lambda parts: parts.read.update(more=STRING)),
    Change("field of a response removed", "name", lambda parts: parts.read.pop("text")),
    Change("field of a response renamed", "name", lambda parts: _rename(parts.read, "text", "words")),
    Change("optional field of a response becomes nullable", "looser", _set(_read("text"), nullable=True)),
    Change("required field of a response becomes nullable", "read", _set(_read("id"), nullable=True)),
    Change("required field of a response is no longer nullable", "looser", _drop(_read("maybe"), "nullable")),
    Change("field of a response becomes optional", "read", lambda parts: parts.response["required"].remove("id")),
    Change("field of a response becomes required", "looser", lambda parts: parts.response["required"].append("text")),
    Change("type of a response's field changed", "read", lambda parts: parts.read.update(count=STRING)),
    Change("maxLength of a response raised", "hint", _set(_read("id"), maxLength=19)),
    Change("maxLength of a response lowered", "hint", _set(_read("id"), maxLength=5)),
    Change(
        "field of both directions becomes optional",
        "read",
        lambda parts: parts.schemas[f"Case{parts.number}Shared"].pop("required"),
    ),
    Change(
        "field of both directions becomes nullable", "looser", lambda parts: parts.shared["own"].update(nullable=True)
    ),
    # Enums are open
    Change("enum value of a request added", "hint", lambda parts: parts.sent["kind"]["enum"].append("C")),
    Change("enum value of a request removed", "hint", lambda parts: parts.sent["kind"]["enum"].remove("B")),
    Change("enum value of a response added", "hint", lambda parts: parts.read["state"]["enum"].append("IDLE")),
    Change("enum value of a response removed", "hint", lambda parts: parts.read["state"]["enum"].remove("OFF")),
    # Unions
    Change(
        "discriminator value changed",
        "read",
        lambda parts: _rename(parts.union["discriminator"]["mapping"], "card", "creditCard"),
    ),
    Change(
        "discriminator value added",
        "new",
        lambda parts: parts.union["discriminator"]["mapping"].update(debit="#/components/schemas/Card"),
    ),
    Change(
        "model of a union added",
        "read",
        lambda parts: (
            parts.union["oneOf"].append(_reference("Voucher")),
            parts.union["discriminator"]["mapping"].update(voucher="#/components/schemas/Voucher"),
        ),
    ),
    # Parameters
    Change("optional query parameter added", "new", _parameter("more")),
    Change("optional header added", "new", _parameter("more", "header")),
    Change("required query parameter added", "argument", _parameter("more", required=True)),
    Change(
        "optional parameter removed",
        "name",
        lambda parts: parts.operation["parameters"].remove(parts.parameters["limit"]),
    ),
    Change("parameter becomes required", "argument", lambda parts: parts.parameters["limit"].update(required=True)),
    Change(
        "required query parameter becomes optional",
        "argument",
        lambda parts: parts.parameters["page"].update(required=False),
        only_in_python=True,
    ),
    Change("parameter moved from query to header", "rejected", _move_to_header),
    Change("style of a parameter changed", "rejected", lambda parts: parts.parameters["tags"].update(explode=False)),
    Change("type of a parameter changed", "argument", lambda parts: parts.parameters["limit"].update(schema=STRING)),
    Change("parameter deprecated", "hint", lambda parts: parts.parameters["limit"].update(deprecated=True)),
    # Operations
    Change("operation removed", "name", lambda parts: parts.item.clear()),
    Change(
        "operation added",
        "new",
        lambda parts: parts.item.update(
            get=_operation(f"case{parts.number}More", "Cases", parts.operation["parameters"][:1])
        ),
    ),
    Change("operation renamed", "name", _rename_operation),
    Change("operation moved to another tag", "name", lambda parts: parts.operation.update(tags=["Others"])),
    Change("operation deprecated", "hint", lambda parts: parts.operation.update(deprecated=True)),
    Change("calls may be retried", "sent", lambda parts: parts.operation.update({"x-retry-safe": True})),
    # Bodies
    Change("body becomes optional", "looser", lambda parts: parts.operation["requestBody"].pop("required")),
    Change(
        "charset of the request dropped",
        "sent",
        lambda parts: _rename(parts.bodies, "application/json;charset=utf-8", "application/json"),
    ),
    Change(
        "media type of the request replaced",
        "rejected",
        lambda parts: _rename(parts.bodies, "application/json;charset=utf-8", "application/more+json"),
    ),
    Change(
        "media type of the response added",
        "read",
        lambda parts: parts.success["content"].update({"application/more+json": {"schema": _reference("Card")}}),
        only_in_python=True,
    ),
    Change(
        "media type of the response removed", "looser", lambda parts: parts.success["content"].pop("application/jwt")
    ),
    Change("order of accepted media types swapped", "order", _swap_media_types),
    Change(
        "error status added",
        "new",
        lambda parts: parts.operation["responses"].update(
            {"429": copy.deepcopy(parts.operation["responses"]["default"])}
        ),
    ),
    # Credentials
    Change("way to sign removed", "sent", lambda parts: parts.operation["security"].pop()),
    Change(
        "way to sign added",
        "new",
        lambda parts: parts.operation.update(security=[{"jwt": []}, {"signature": []}, {"key": []}]),
    ),
    Change("operation no longer signed", "credentials", lambda parts: parts.operation.update(security=[])),
    Change(
        "operation gets its own hosts",
        "credentials",
        lambda parts: parts.operation.update(servers=_own_servers("a.example", "b.example")),
    ),
    Change(
        "path gets its own hosts",
        "credentials",
        lambda parts: parts.item.update(servers=_own_servers("a.example", "b.example")),
    ),
    # Words
    Change("description of a field changed", "words", _set(_sent("name"), description="Another.")),
    Change(
        "summary of an operation changed", "words", lambda parts: parts.operation.update(summary="Do another thing")
    ),
    Change(
        "link of a field changed",
        "words",
        lambda parts: parts.sent["userId"]["externalDocs"].update(url="https://docs.example/b"),
    ),
    Change("example of a parameter changed", "words", lambda parts: parts.parameters["id"].update(example="b")),
    Change("nothing changed", "nothing", lambda parts: None),
    Change("extension added", "nothing", lambda parts: parts.operation.update({"x-note": "n"})),
]


def changed(document: Any) -> Any:
    """The specification after all changes."""
    result = json.loads(json.dumps(document))
    result["components"]["securitySchemes"]["key"] = {"type": "apiKey", "in": "header", "name": "Key"}
    for number, change in enumerate(CHANGES):
        change.make(Parts(result, number))
    result["paths"] = {path: item for path, item in result["paths"].items() if item}
    return result
