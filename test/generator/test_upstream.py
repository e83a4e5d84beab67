"""tools/upstream.py with Swagger 2.0 documents that are derived from our specification."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools" / "upstream.py"

SESSIONS = ("paths", "/flex/v2/sessions", "post")
MICROFORM = ("paths", "/microform/v2/sessions", "post")
KEY = ("paths", "/flex/v2/public-keys/{kid}", "get")
REQUEST = ("definitions", "GenerateCaptureContextRequest", "properties")
STRING = {"type": "string"}

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def swagger(ours: Any) -> Any:
    """Our specification as a Swagger 2.0 document."""
    source = json.dumps(ours["components"]).replace("#/components/schemas/", "#/definitions/")
    components = json.loads(source)
    paths = {}
    for path, item in json.loads(json.dumps(ours["paths"]).replace("#/components/schemas/", "#/definitions/")).items():
        paths[path] = {method: _operation(operation, components) for method, operation in item.items()}
    return {
        "swagger": "2.0",
        "info": {"title": "All", "version": "1"},
        "basePath": "/",
        "consumes": ["application/json; charset=utf-8"],
        "produces": ["application/hal+json"],
        "paths": paths,
        "definitions": components["schemas"],
    }


def _operation(operation: Any, components: Any) -> Any:
    parameters = [
        {**{key: each[key] for key in ("name", "in", "required")}, **each["schema"]}
        for each in operation.get("parameters", [])
    ]
    description = {"operationId": f"another{operation['operationId']}", "parameters": parameters, "responses": {}}
    if "requestBody" in operation:
        ((media_type, media),) = operation["requestBody"]["content"].items()
        parameters.append({"name": "any", "in": "body", "required": True, "schema": media["schema"]})
        if not media_type.startswith("application/json"):
            description["consumes"] = [media_type]
    for status, response in operation["responses"].items():
        if "$ref" in response:
            response = components["responses"][response["$ref"].rpartition("/")[2]]
        description["responses"][status] = {"schema": next(iter(response["content"].values()))["schema"]}
        if status.startswith("2"):
            description["produces"] = list(response["content"])
    return description


@pytest.fixture
def upstream(document: Any) -> Any:
    """A Swagger 2.0 document without differences, for a test to change."""
    return swagger(document)


@pytest.fixture
def differences(supported_openapi: Any, document: Any) -> Callable[..., list[Any]]:
    """Compares our specification, or another, with a Swagger 2.0 document."""
    from comparison.upstream_compare import OpenApi3, Swagger2, compare

    return lambda other, ours=document: compare(OpenApi3(ours), Swagger2(other)).differences


@pytest.fixture
def run(supported_openapi: Any, tmp_path: Path) -> Run:
    """Runs the tool with a Swagger 2.0 document and a list of accepted differences."""

    def execute(content: Any, accepted: Any = ()) -> subprocess.CompletedProcess[str]:
        file, list_file = tmp_path / "upstream.json", tmp_path / "accepted.yaml"
        file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        list_file.write_text(accepted if isinstance(accepted, str) else json.dumps(list(accepted)), "utf-8")
        return subprocess.run(
            [sys.executable, str(TOOL), str(file), "--accepted", str(list_file)],
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )

    return execute


def put(document: Any, where: tuple[Any, ...], what: Any) -> None:
    for part in where[:-1]:
        document = document[part]
    if what is None:
        del document[where[-1]]
    else:
        document[where[-1]] = what


def test_the_same_specification_in_the_other_format_has_no_differences(upstream: Any, run: Run) -> None:
    before = (ROOT / "openapi.yaml").read_bytes()
    process = run(upstream)
    assert process.returncode == 0, process.stdout + process.stderr
    assert "Operations: 6. Differences: 0, **not accepted: 0**. Accepted, but no longer present: 0.\n" in process.stdout
    assert process.stdout.count("No differences.") == 6
    assert "`getPublicKey`; upstream `anothergetPublicKey`" in process.stdout
    assert (ROOT / "openapi.yaml").read_bytes() == before


# the place and value to change upstream (None: removed), and the one difference: operation, place, what, ours, upstream
PUBLIC_KEY, FLEX, MICRO = "GET /flex/v2/public-keys/{kid}", "POST /flex/v2/sessions", "POST /microform/v2/sessions"
CASES: list[tuple[tuple[Any, ...], Any, tuple[str, ...]]] = [
    (KEY[:2], None, (PUBLIC_KEY, "operation", "operation", "present", "none")),
    (KEY, None, (PUBLIC_KEY, "operation", "operation", "present", "none")),
    *(
        (
            ("paths", "/flex/v3/a"),
            {method: {}},
            (f"{method.upper()} /flex/v3/a", *("operation",) * 2, "none", "present"),
        )
        for method in ("delete", "get", "head", "options", "patch", "post", "put")
    ),
    ((*SESSIONS[:2], "get"), {}, ("GET /flex/v2/sessions", "operation", "operation", "none", "present")),
    ((*KEY, "parameters", 0, "required"), False, (PUBLIC_KEY, "parameter path kid", "required", "yes", "no")),
    (
        (*KEY, "parameters", 0, "pattern"),
        "^a",
        (PUBLIC_KEY, "parameter path kid", "pattern", "^[A-Za-z0-9._-]+$", "^a"),
    ),
    (
        (*KEY, "parameters", 0, "pattern"),
        None,
        (PUBLIC_KEY, "parameter path kid", "pattern", "^[A-Za-z0-9._-]+$", "none"),
    ),
    ((*KEY, "parameters", 0, "type"), "integer", (PUBLIC_KEY, "parameter path kid", "type", "string", "integer")),
    ((*KEY, "parameters", 0, "maxLength"), 4, (PUBLIC_KEY, "parameter path kid", "maxLength", "none", "4")),
    (
        (*KEY[:2], "parameters"),
        [{"name": "V-Id", "in": "header", "type": "string"}],
        (PUBLIC_KEY, "parameter header v-id", "parameter", "none", "string"),
    ),
    ((*KEY, "responses", "404"), {}, (PUBLIC_KEY, "response 404", "status", "none", "present")),
    ((*KEY, "responses", "200"), {}, (PUBLIC_KEY, "response 200", "body", "object", "no schema")),
    ((*KEY, "responses", "200"), None, (PUBLIC_KEY, "response 200", "status", "present", "none")),
    ((*KEY, "produces"), ["text/plain"], (PUBLIC_KEY, "response", "media types", "application/json", "text/plain")),
    ((*KEY, "produces"), None, (PUBLIC_KEY, "response", "media types", "application/json", "application/hal+json")),
    (
        (*SESSIONS, "consumes"),
        ["application/xml", "application/json"],
        (FLEX, "request", "media types", "application/json;charset=utf-8", "application/json, application/xml"),
    ),
    ((*SESSIONS, "parameters", 0, "required"), None, (FLEX, "request", "required", "yes", "no")),
    ((*SESSIONS, "parameters", 0, "schema"), None, (FLEX, "request", "body", "object", "no schema")),
    (
        ("definitions", "CardFields", "properties", "number"),
        None,
        (FLEX, "request fields.paymentInformation.card.number", "property", "object", "none"),
    ),
    (
        ("definitions", "CardFields", "properties", "cvv"),
        STRING,
        (FLEX, "request fields.paymentInformation.card.cvv", "property", "none", "string"),
    ),
    (
        ("definitions", "CardFields", "required"),
        ["type", "number"],
        (FLEX, "request fields.paymentInformation.card", "required", "none", "number, type"),
    ),
    ((*REQUEST, "clientVersion", "type"), "number", (MICRO, "request clientVersion", "type", "string", "number")),
    ((*REQUEST, "clientVersion", "minLength"), 2, (MICRO, "request clientVersion", "minLength", "none", "2")),
    ((*REQUEST, "clientVersion", "format"), "date", (MICRO, "request clientVersion", "format", "none", "date")),
    ((*REQUEST, "clientVersion", "enum"), ["v2", None], (MICRO, "request clientVersion", "enum", "none", "v2")),
    ((*REQUEST, "clientVersion", "enum"), ["v2"], (MICRO, "request clientVersion", "enum", "none", "v2")),
    ((*REQUEST, "targetOrigins", "maxItems"), 8, (MICRO, "request targetOrigins", "maxItems", "9", "8")),
    ((*REQUEST, "targetOrigins", "maxItems"), None, (MICRO, "request targetOrigins", "maxItems", "9", "none")),
    (
        (*REQUEST, "targetOrigins", "items"),
        {"type": "integer"},
        (MICRO, "request targetOrigins[]", "type", "string", "integer"),
    ),
    ((*REQUEST, "targetOrigins", "items"), None, (MICRO, "request targetOrigins[]", "items", "string", "none")),
    (
        ("definitions", "PaymentType", "enum"),
        ["CHECK", "IOU", "CARD"],
        (MICRO, "request allowedPaymentTypes[]", "enum", "none", "IOU"),
    ),
    (
        ("definitions", "PaymentType", "enum"),
        ["CHECK"],
        (MICRO, "request allowedPaymentTypes[]", "enum", "CARD", "none"),
    ),
    (
        ("definitions", "PaymentType", "enum"),
        None,
        (MICRO, "request allowedPaymentTypes[]", "enum", "CARD, CHECK", "none"),
    ),
    # A schema without a type has the one that its other members belong to.
    *(
        ((*REQUEST, "clientVersion"), schema, (MICRO, "request clientVersion", "type", "string", kind))
        for schema, kind in (
            ({"properties": {"a": STRING}}, "object"),
            ({"additionalProperties": STRING}, "object"),
            ({"items": STRING}, "array"),
            ({"maxLength": 4}, "any"),
        )
    ),
    (
        ("definitions", "TransientTokenResponseOptions", "additionalProperties"),
        {"type": "number"},
        (MICRO, "request transientTokenResponseOptions{}", "additionalProperties", "none", "number"),
    ),
]


@pytest.mark.parametrize(("where", "what", "expected"), CASES)
def test_each_kind_of_difference_is_reported_once(
    upstream: Any, differences: Any, where: tuple[Any, ...], what: Any, expected: tuple[str, ...]
) -> None:
    put(upstream, where, what)
    assert differences(upstream) == [expected]


def test_other_apis_names_and_base_paths_are_not_differences(upstream: Any, differences: Any) -> None:
    upstream["paths"]["/pts/v2/payments"] = {"post": {"responses": {"201": {"schema": STRING}}}}
    upstream["basePath"] = "/flex/v2"
    upstream["paths"] = {
        path.removeprefix("/flex/v2"): item for path, item in upstream["paths"].items() if path.startswith("/flex/v2")
    }
    reported = differences(upstream)
    assert [each[:3] for each in reported] == [(MICRO, "operation", "operation")]


def test_a_path_parameter_may_have_another_name(upstream: Any, differences: Any) -> None:
    item = upstream["paths"].pop(KEY[1])
    item["get"]["parameters"][0]["name"] = "id"
    upstream["paths"]["/flex/v2/public-keys/{id}"] = item
    assert differences(upstream) == [
        (PUBLIC_KEY, "parameter path kid", "parameter", "string", "none"),
        (PUBLIC_KEY, "parameter path id", "parameter", "none", "string"),
    ]


def test_the_names_of_each_operation_are_listed(supported_openapi: Any, document: Any, upstream: Any) -> None:
    from comparison.upstream_compare import OpenApi3, Swagger2, compare

    ours = copy.deepcopy(document)
    del ours["paths"][MICROFORM[1]]["post"]["operationId"]
    put(upstream, (*KEY, "operationId"), None)
    upstream["paths"]["/flex/v3/a"] = {"put": {"operationId": "putA"}}
    names = compare(OpenApi3(ours), Swagger2(upstream)).names
    assert names[PUBLIC_KEY] == ("getPublicKey", "")
    assert names[MICRO] == ("", "anothergenerateCaptureContext")
    assert names["PUT /flex/v3/a"] == ("", "putA")


def in_bodies(ours: Any, upstream: Any) -> tuple[Any, Any]:
    """Two specifications of one operation, with these schemas of the request body."""
    body = {"required": True, "content": {"application/json": {"schema": ours}}}
    parameter = {"in": "body", "name": "b", "required": True, "schema": upstream}
    return (
        {"paths": {"/a/b": {"post": {"requestBody": body, "responses": {}}}}},
        {
            "consumes": ["application/json"],
            "paths": {"/a/b": {"post": {"parameters": [parameter], "responses": {}}}},
        },
    )


def test_the_values_of_maps_are_compared(differences: Any) -> None:
    def table(kind: str) -> Any:
        return {"properties": {"table": {"type": "object", "additionalProperties": {"type": kind}}}}

    ours, other = in_bodies(table("string"), table("number"))
    assert differences(other, ours) == [("POST /a/b", "request table{}", "type", "string", "number")]


def test_a_malformed_part_of_our_specification_is_reported_with_its_place(differences: Any) -> None:
    from comparison.upstream_compare import Unreadable

    ours, other = in_bodies({"properties": {"a": {"$ref": "#/no"}}}, {"properties": {"a": STRING}})
    with pytest.raises(Unreadable) as caught:
        differences(other, ours)
    assert str(caught.value) == "POST /a/b: request a: the reference #/no leads to nothing in the document"


def test_references_are_followed(upstream: Any, differences: Any) -> None:
    parameter = upstream["paths"][KEY[1]]["get"]["parameters"].pop()
    upstream["paths"][KEY[1]]["parameters"] = [{"$ref": "#/parameters/a~1b"}]
    upstream["parameters"] = {"a/b": parameter}
    upstream["responses"] = {"Key": upstream["paths"][KEY[1]]["get"]["responses"]["200"]}
    upstream["paths"][KEY[1]]["get"]["responses"]["200"] = {"$ref": "#/responses/Key"}
    # The members of an `allOf` and its siblings are one schema, which needs no type.
    card = upstream["definitions"]["CardFields"]
    first = {"properties": {"number": card["properties"].pop("number")}, "required": ["number"]}
    upstream["definitions"]["First"] = first
    card["allOf"] = [{"$ref": "#/definitions/First"}, {"required": ["type"]}]
    del card["type"]
    origins = upstream["definitions"]["GenerateCaptureContextRequest"]["properties"]["targetOrigins"]
    origins["allOf"] = [{name: origins.pop(name) for name in ("type", "items")}]
    place = "request fields.paymentInformation.card"
    assert differences(upstream) == [(FLEX, place, "required", "none", "number, type")]


def test_a_status_that_we_do_not_list_is_compared_with_our_default(upstream: Any, differences: Any) -> None:
    responses = upstream["paths"][KEY[1]]["get"]["responses"]
    responses["404"] = {"schema": {"properties": {"reason": {"type": "integer"}}}}
    reported = {each.place: each[2:] for each in differences(upstream)}
    assert reported.pop("response 404") == ("status", "none", "present")
    assert reported.pop("response 404 reason") == ("type", "string", "integer")
    assert reported.pop("response 404 message") == ("property", "string", "none")
    assert set(reported) == {f"response 404 {name}" for name in ("correlationId", "details", "informationLink")}


def tree(reference: str, **value: Any) -> dict[str, Any]:
    members = {"type": "array", "items": {"$ref": reference}}
    return {"type": "object", "properties": {"value": {"type": "string", **value}, "members": members}}


def test_recursive_schemas_are_compared(differences: Any) -> None:
    body = {"required": True, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Tree"}}}}
    ours = {
        "paths": {"/a/b": {"post": {"operationId": "a", "requestBody": body, "responses": {}}}},
        "components": {"schemas": {"Tree": tree("#/components/schemas/Tree")}},
    }
    parameter = {"in": "body", "name": "b", "required": True, "schema": {"$ref": "#/definitions/Root"}}
    other = {
        "consumes": ["application/json"],
        "paths": {"/a/b": {"post": {"parameters": [parameter], "responses": {}}}},
        "definitions": {
            # One schema refers to itself after two steps, and another has itself in its `allOf`.
            "Root": tree("#/definitions/Below"),
            "Below": {"allOf": [{"$ref": "#/definitions/Below"}, tree("#/definitions/Root", maxLength=3)]},
        },
    }
    assert differences(other, ours) == [("POST /a/b", "request members[].value", "maxLength", "none", "3")]


DIFFERENT = (*REQUEST, "clientVersion", "maxLength")
ENTRY = {
    "operation": MICRO,
    "place": "request clientVersion",
    "what": "maxLength",
    "ours": "none",
    "upstream": 7,
    "reason": "Seven\n  is   enough.",
}


def test_an_accepted_difference_is_shown_with_its_reason(upstream: Any, run: Run) -> None:
    put(upstream, DIFFERENT, 7)
    process = run(upstream)
    assert process.returncode == 1
    assert "Differences: 1, **not accepted: 1**. Accepted, but no longer present: 0." in process.stdout
    assert "| **new** | request clientVersion | maxLength | none | 7 |" in process.stdout
    process = run(upstream, [ENTRY])
    assert process.returncode == 0
    assert "Differences: 1, **not accepted: 0**. Accepted, but no longer present: 0." in process.stdout
    assert "| accepted (1) | request clientVersion | maxLength | none | 7 |" in process.stdout
    assert "1. Seven is enough." in process.stdout


def test_another_value_is_not_accepted_and_the_entry_is_obsolete(upstream: Any, run: Run) -> None:
    put(upstream, DIFFERENT, 8)
    process = run(upstream, [ENTRY])
    assert process.returncode == 1
    assert "| **new** | request clientVersion | maxLength | none | 8 |" in process.stdout
    assert (
        f"| {MICRO} | request clientVersion | maxLength | none | 7 |"
        in process.stdout.partition("no longer present")[2]
    )


def test_each_place_of_an_entry_can_be_obsolete(upstream: Any, run: Run) -> None:
    put(upstream, DIFFERENT, 7)
    process = run(upstream, [{**ENTRY, "operation": [MICRO, FLEX], "place": [ENTRY["place"], "request other"]}])
    assert process.returncode == 0
    assert "Differences: 1, **not accepted: 0**. Accepted, but no longer present: 3." in process.stdout


@pytest.mark.parametrize(
    ("accepted", "says"),
    [
        ("a: [", "accepted.yaml: while parsing"),
        ("a: 1", "is not a list"),
        ([1], "entry 1: is not a mapping"),
        ([ENTRY, {**ENTRY, "reason": " "}], "entry 2: has no reason"),
        ([{**ENTRY, "reason": None}], "entry 1: has no reason"),
        ([{key: ENTRY[key] for key in ENTRY if key != "upstream"}], "wrong: upstream"),
        ([{**ENTRY, "because": "a"}], "wrong: because"),
        ([{**ENTRY, "place": []}], "place must be a string or a list of strings"),
        ([{**ENTRY, "operation": [1]}], "operation must be a string or a list of strings"),
        ([ENTRY, ENTRY], f"entry 2: {MICRO}, request clientVersion is accepted twice"),
    ],
)
def test_a_malformed_list_of_accepted_differences_is_rejected(
    upstream: Any, run: Run, accepted: Any, says: str
) -> None:
    process = run(upstream, accepted)
    assert process.returncode == 2
    assert says in process.stderr
    assert process.stdout == ""


def test_our_list_is_valid_and_names_existing_operations(supported_openapi: Any, document: Any, upstream: Any) -> None:
    from upstream import read_accepted

    accepted = read_accepted(ROOT / "openapi.accepted.yaml")
    paths = {f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item}
    assert {each.operation for each in accepted} <= paths
    assert all(len(reason.split()) > 4 for reason in accepted.values())
    process = subprocess.run(
        [sys.executable, str(TOOL), "-"], capture_output=True, text=True, encoding="utf-8", check=False
    )
    assert process.returncode == 2, "the list that ships is the one that is used, and it is in order"
    assert "openapi.accepted.yaml" not in process.stderr


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not JSON: Expecting value in line 1, column 1"),
        (b'{"swagger": "2.0",\n "4111111111111111"}', "not JSON: Expecting ':' delimiter in line 2"),
        (b"swagger: '2.0'\n", "not JSON"),
        (b"\xff\xfe\xff", "not JSON"),
        (b"[" * 200_000, "nested too deeply"),
        (b"[]", "not Swagger 2.0: it has no `swagger: 2.0` at its top"),
        (b'{"swagger": 2.0, "paths": {}}', "not Swagger 2.0"),
        (b'{"openapi": "3.0.1", "paths": {}}', "not Swagger 2.0: it is OpenAPI 3.0.1"),
        (b'{"swagger": "2.0"}', "it has none of our 6 operations"),
        (b'{"swagger": "2.0", "paths": {"/pts/v2/payments": {"post": {}}}}', "it has none of our 6 operations"),
        (b'{"swagger": "2.0", "paths": []}', "#/paths is not an object"),
        (b'{"swagger": "2.0", "paths": {"/a": 1}}', "the path /a is not an object"),
    ],
)
def test_another_kind_of_file_is_rejected_in_one_line(run: Run, content: bytes, says: str) -> None:
    process = run(content)
    assert process.returncode == 2
    assert process.stdout == ""
    assert says in process.stderr
    assert "upstream.json: " in process.stderr or "none of our" in process.stderr or "is not an" in process.stderr
    assert "4111111111111111" not in process.stderr
    assert len(process.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("where", "what", "says"),
    [
        ((*SESSIONS, "parameters", 0, "schema"), {"$ref": "#/definitions/No"}, "#/definitions/No leads to nothing"),
        ((*SESSIONS, "parameters", 0, "schema"), {"$ref": "other.json"}, "other.json leads to nothing"),
        (("definitions", "CardFields"), {"$ref": "#/definitions/CardFields"}, "CardFields leads to itself"),
        (
            ("definitions", "CardFields", "properties"),
            [],
            "POST /flex/v2/sessions: request fields.paymentInformation.card",
        ),
        ((*SESSIONS, "parameters"), {}, "post /flex/v2/sessions: parameters is not an array"),
        ((*SESSIONS, "responses"), [], "post /flex/v2/sessions is not an object"),
    ],
)
def test_a_malformed_part_is_reported(
    upstream: Any, differences: Any, where: tuple[Any, ...], what: Any, says: str
) -> None:
    from comparison.upstream_compare import Unreadable

    put(upstream, where, what)
    with pytest.raises(Unreadable) as caught:
        differences(upstream)
    assert says in str(caught.value)


@pytest.mark.parametrize("path", ["", "flex", "pts/v2/payments", "/"])
def test_paths_of_another_form_and_of_other_apis_are_no_differences(differences: Any, upstream: Any, path: str) -> None:
    put(upstream, ("basePath",), "")
    put(upstream, ("paths", path), {"get": {}})
    expected = [(f"GET {path}", "operation", "operation", "none", "present")] if path == "flex" else []
    assert differences(upstream) == expected


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"paths: [", "ours.yaml: not readable as YAML: while parsing"),
        (b"a: 1\na: 2", "ours.yaml: not readable as YAML: the key 'a' twice"),
        (b"\xff", "ours.yaml: not readable as YAML: 'utf-8' codec can't decode"),
        (b"- a", "ours.yaml: not an OpenAPI document"),
    ],
)
def test_a_specification_of_ours_that_cannot_be_read_is_reported_in_one_line(
    supported_openapi: Any, tmp_path: Path, content: bytes, says: str
) -> None:
    ours = tmp_path / "ours.yaml"
    ours.write_bytes(content)
    process = subprocess.run(
        [sys.executable, str(TOOL), str(tmp_path / "no.json"), "--ours", str(ours)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    # Not 1, which means that the specifications differ.
    assert process.returncode == 2
    assert says in process.stderr
    assert len(process.stderr.splitlines()) == 1


def test_a_missing_file_is_reported(supported_openapi: Any, tmp_path: Path) -> None:
    process = subprocess.run(
        [sys.executable, str(TOOL), str(tmp_path / "no.json")],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert process.returncode == 2
    assert "no.json: No such file" in process.stderr


def test_descriptions_are_not_copied(upstream: Any, run: Run) -> None:
    prose = dict.fromkeys(("description", "summary", "title", "x-note", "example", "default"), "PROSE")
    described = [upstream, *upstream["definitions"].values()]
    for schema in upstream["definitions"].values():
        described += [schema, *schema.get("properties", {}).values()]
    for item in upstream["paths"].values():
        for operation in item.values():
            described += [operation, *operation["parameters"], *operation["responses"].values()]
    for each in described:
        each.update(prose)
    put(upstream, (*REQUEST, "clientVersion", "pattern"), "a|b\n" + "c" * 500)
    process = run(upstream)
    assert process.returncode == 1, process.stderr
    assert "PROSE" not in process.stdout + process.stderr
    (line,) = [line for line in process.stdout.splitlines() if "pattern" in line]
    assert line.startswith("| **new** | request clientVersion | pattern | none | a\\|b ccc")
    assert line.endswith("… (505 characters) |")


def unrelated(upstream: Any, size: int) -> Iterator[str]:
    """The document with enough other APIs to reach this size in bytes."""
    leaf = {"type": "string", "maxLength": 60, "description": "About a property that belongs to something else. " * 3}
    level: Any = leaf
    for width in (6, 5, 4):
        level = {"type": "object", "properties": {f"member{number}": level for number in range(width)}}
    operation = {
        "tags": ["other"],
        "parameters": [{"in": "body", "name": "b", "required": True, "schema": level}],
        "responses": {"201": {"schema": {"$ref": "#/definitions/Other"}}, "400": {"schema": level}},
    }
    source = json.dumps(upstream)
    yield source[: source.index('"paths": {') + len('"paths": {')]
    block = json.dumps(operation, indent=1)
    for number in range(size // len(block) + 1):
        yield f'"/pts/v2/others{number}": {{"post": {block}}}, '
    yield source[source.index('"paths": {') + len('"paths": {') :]


MEASURED = """
import os, resource, runpy, sys
sys.argv = sys.argv[1:]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


def test_twenty_megabytes_take_less_than_ten_seconds_and_half_a_gigabyte(
    upstream: Any, supported_openapi: Any, tmp_path: Path
) -> None:
    pytest.importorskip("resource", reason="NOT TESTED: memory for a large specification")
    changed = copy.deepcopy(upstream)
    put(changed, DIFFERENT, 7)
    file = tmp_path / "large.json"
    with file.open("w", encoding="utf-8") as opened:
        opened.writelines(unrelated(changed, 20_000_000))
    assert 20_000_000 < file.stat().st_size < 21_000_000
    (tmp_path / "accepted.yaml").write_text("[]", "utf-8")
    started = time.monotonic()
    process = subprocess.run(
        [sys.executable, "-c", MEASURED, str(TOOL), str(file), "--accepted", str(tmp_path / "accepted.yaml")],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    seconds = time.monotonic() - started
    file.unlink()
    assert process.returncode == 1, process.stderr
    assert "Operations: 6. Differences: 1, **not accepted: 1**" in process.stdout
    peak = int(process.stderr.rpartition("peak ")[2]) * (1 if sys.platform == "darwin" else 1024)
    assert seconds < 10
    assert peak < 500_000_000
