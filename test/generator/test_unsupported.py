"""Every OpenAPI feature that the templates do not support stops the generation, with its place in the specification."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

SESSIONS = ("paths", "/flex/v2/sessions", "post")
TOKENS = ("paths", "/flex/v2/tokens", "post")
KEY = ("paths", "/flex/v2/public-keys/{kid}", "get")
JSON = "application/json;charset=utf-8"
LINK = ("components", "schemas", "ErrorLink")
HREF = (*LINK, "properties", "href")
STRING = {"type": "string"}
REFERENCE = {"$ref": "#/components/schemas/CaptureField"}
SERVER = {"url": "https://a.example", "description": "A.", "x-environment": "test"}
QUERY = {"name": "q", "in": "query", "schema": STRING}
NEW = ("components", "schemas", "New")
EITHER = {
    "oneOf": [REFERENCE, {"$ref": "#/components/schemas/JsonWebKey"}],
    "discriminator": {"propertyName": "kty", "mapping": {"a": "#/components/schemas/CaptureField"}},
}


def inline(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def pointer(*parts: str) -> str:
    return "#/" + "/".join(part.replace("~", "~0").replace("/", "~1") for part in parts)


# where to put what, the place that has to be named (None: where it was put), and what is said there
CASES: list[tuple[tuple[str, ...], Any, str | None, str]] = [
    (("openapi",), "3.1.0", None, "3.1.0 is not supported"),
    (("webhooks",), {}, None, "`webhooks`"),
    (("servers",), [], None, "at least one server"),
    ((*SESSIONS, "callbacks"), {}, None, "`callbacks`"),
    ((*SESSIONS, "servers"), [{**SERVER, "x-environment": "moon"}], pointer(*SESSIONS, "servers", "0"), "moon"),
    ((*SESSIONS, "servers"), [SERVER, SERVER], pointer(*SESSIONS, "servers", "1"), "no other server"),
    (
        (*SESSIONS, "servers"),
        [{**SERVER, "url": "https://{a}.example"}],
        pointer(*SESSIONS, "servers", "0"),
        "variable",
    ),
    ((*SESSIONS, "operationId"), "generateCaptureContext", pointer("paths", "/microform/v2/sessions", "post"), "twice"),
    ((*SESSIONS, "tags"), ["Flex API", "Microform Integration"], None, "exactly one tag"),
    ((*SESSIONS, "tags"), ["Another"], None, "exactly one tag"),
    ((*SESSIONS, "security"), [{"jwt": [], "httpSignature": []}], pointer(*SESSIONS, "security", "0"), "exactly one"),
    ((*SESSIONS, "security"), [{}], pointer(*SESSIONS, "security", "0"), "exactly one"),
    ((*SESSIONS, "responses", "links"), {}, None, "a status must be"),
    (("paths", "/flex/v2/sessions", "trace"), {}, None, "`trace`"),
    (("paths", "/flex/v2/sessions", "head"), {}, None, "`head`"),
    (
        ("paths", "/flex/v2/sessions", "servers"),
        [{"url": "https://a.example"}],
        pointer("paths", "/flex/v2/sessions", "servers", "0"),
        "needs `x-environment`",
    ),
    (
        (*SESSIONS, "requestBody", "content", "application/json"),
        {"schema": STRING},
        pointer(*SESSIONS, "requestBody", "content", "application/json"),
        "twice",
    ),
    ((*SESSIONS, "requestBody", "content"), {}, None, "a media type"),
    (
        (*TOKENS, "requestBody", "content", "application/json"),
        {"schema": STRING},
        pointer(*TOKENS, "requestBody", "content"),
        "does not distinguish application/json from",
    ),
    (
        (*TOKENS, "requestBody", "content", "application/json"),
        {"schema": {}},
        pointer(*TOKENS, "requestBody", "content"),
        "does not distinguish application/json from",
    ),
    (
        (*SESSIONS, "requestBody", "content", "application/x+json"),
        {"schema": {"$ref": "#/components/schemas/GenerateFlexAPICaptureContextRequest"}},
        pointer(*SESSIONS, "requestBody", "content"),
        "does not distinguish application/x+json from",
    ),
    (
        (*SESSIONS, "requestBody", "content"),
        {"multipart/form-data": {"schema": REFERENCE}},
        None,
        "multipart/form-data",
    ),
    (
        (*SESSIONS, "requestBody", "content"),
        {"application/x-www-form-urlencoded": {"schema": REFERENCE}},
        None,
        "application/x-www-form-urlencoded",
    ),
    ((*SESSIONS, "requestBody", "content"), {"application/xml": {"schema": REFERENCE}}, None, "application/xml"),
    ((*SESSIONS, "requestBody", "content"), {"application/octet-stream": {"schema": STRING}}, None, "octet-stream"),
    ((*SESSIONS, "requestBody", "content", JSON, "encoding"), {}, None, "`encoding`"),
    (
        (*SESSIONS, "requestBody", "content", JSON, "schema"),
        {"type": "object", "properties": {"a": {"type": "file"}}},
        pointer(*SESSIONS, "requestBody", "content", JSON, "schema", "properties", "a", "type"),
        "the type file",
    ),
    ((*TOKENS, "requestBody", "content", "application/jwt", "schema"), REFERENCE, None, "must be a string"),
    ((*TOKENS, "requestBody", "content", "application/jwt", "schema", "format"), "binary", None, "format binary"),
    (
        (*TOKENS, "requestBody", "content", "application/jwt", "schema", "format"),
        "date",
        pointer(*TOKENS, "requestBody", "content", "application/jwt", "schema"),
        "without `enum` or a date",
    ),
    ((*TOKENS, "x-encrypted-body"), "yes", None, "must be true or false"),
    ((*TOKENS, "x-retry-safe"), 1, None, "must be true or false"),
    (
        (*TOKENS, "requestBody", "content"),
        {"text/plain": {"schema": STRING}},
        pointer(*TOKENS, "requestBody", "content"),
        "needs application/jwt or application/jose",
    ),
    ((*KEY, "x-encrypted-body"), True, None, "needs a `requestBody`"),
    ((*TOKENS, "responses", "201", "links"), {}, None, "`links`"),
    ((*TOKENS, "responses"), {"201": {"description": "A."}}, None, "errors need a schema"),
    ((*KEY, "parameters"), [], None, "contains ['kid']"),
    ((*KEY, "parameters", "0", "in"), "cookie", pointer(*KEY, "parameters", "0"), "cookie parameter"),
    ((*KEY, "parameters", "0", "style"), "matrix", None, "the style matrix"),
    ((*KEY, "parameters", "0", "style"), "label", None, "the style label"),
    ((*KEY, "parameters", "1"), {**QUERY, "style": "deepObject"}, pointer(*KEY, "parameters", "1"), "deepObject"),
    ((*KEY, "parameters", "1"), {**QUERY, "style": "pipeDelimited"}, pointer(*KEY, "parameters", "1"), "for arrays"),
    (
        (*KEY, "parameters", "1"),
        {**QUERY, "style": "spaceDelimited", "explode": True, "schema": {"type": "array", "items": STRING}},
        pointer(*KEY, "parameters", "1", "explode"),
        "has no meaning",
    ),
    ((*KEY, "parameters", "0", "allowReserved"), True, None, "`allowReserved`"),
    ((*KEY, "parameters", "0", "content"), {}, None, "`content`"),
    ((*KEY, "parameters", "0", "schema"), REFERENCE, None, "of this type"),
    ((*KEY, "parameters", "0", "schema"), {"type": "array", "items": {"type": "array", "items": STRING}}, None, "type"),
    (
        (*KEY, "parameters", "0", "schema"),
        {"type": "array", "items": {**STRING, "nullable": True}},
        None,
        "of this type",
    ),
    ((*KEY, "parameters", "1"), {"name": "Host", "in": "header", "schema": STRING}, None, "Host"),
    ((*KEY, "parameters", "1"), {"name": "kid", "in": "query", "schema": STRING}, None, "used twice"),
    ((*KEY, "parameters", "1"), {"name": "a b", "in": "header", "schema": STRING}, None, "a header parameter"),
    (("components", "links"), {}, None, "`links`"),
    (("components", "callbacks"), {}, None, "`callbacks`"),
    (("components", "examples"), {}, None, "`examples`"),
    (("components", "securitySchemes", "jwt"), {"type": "oauth2", "flows": {}}, None, "oauth2"),
    (("components", "schemas", "a b"), {"type": "object"}, None, "letters, digits"),
    (("components", "schemas", "Größe"), {"type": "object"}, None, "letters, digits"),
    (("components", "schemas", "_"), {"type": "object"}, None, "letters, digits"),
    ((*SESSIONS, "operationId"), "+", None, "letters or digits"),
    (("components", "schemas", "Other"), REFERENCE, pointer("components", "schemas", "Other", "$ref"), "another name"),
    ((*NEW, "enum"), [True], None, "an enum of the type boolean"),
    ((*NEW, "oneOf"), [REFERENCE], None, "without `discriminator`"),
    (NEW, {"oneOf": [REFERENCE, REFERENCE], "discriminator": {"propertyName": "a"}}, None, "each of them once"),
    (NEW, {"oneOf": [REFERENCE, STRING], "discriminator": {"propertyName": "a"}}, None, "must be references"),
    (NEW, EITHER, pointer(*NEW, "oneOf", "0"), "no property kty"),
    (NEW, EITHER, pointer(*NEW, "oneOf", "1"), "must be required"),
    (NEW, EITHER, pointer(*NEW, "discriminator", "mapping"), "every schema of `oneOf`"),
    (NEW, {"allOf": [REFERENCE]}, None, "at least two parts"),
    (NEW, {"allOf": [REFERENCE, {"required": ["required"]}]}, pointer(*NEW, "allOf", "1"), "needs `type`"),
    (NEW, {"allOf": [REFERENCE, {"type": "string"}]}, pointer(*NEW, "allOf", "1", "type"), "must be objects"),
    (
        NEW,
        {"allOf": [REFERENCE, {"$ref": "#/components/schemas/CardNetwork"}]},
        pointer(*NEW, "allOf", "1"),
        "an object",
    ),
    (NEW, {"allOf": [REFERENCE, {"$ref": "#/components/schemas/New"}]}, pointer(*NEW, "allOf", "1"), "the whole"),
    (NEW, {"allOf": [REFERENCE, {"allOf": [REFERENCE]}]}, pointer(*NEW, "allOf", "1", "allOf"), "`allOf`"),
    (
        NEW,
        {"allOf": [REFERENCE, inline(required=STRING)]},
        pointer(*NEW, "allOf", "1", "properties", "required"),
        "differs from #/components/schemas/CaptureField/properties/required",
    ),
    (
        NEW,
        {"allOf": [REFERENCE, {**inline(a=STRING), "required": ["b"]}]},
        pointer(*NEW, "allOf", "1", "required"),
        "not among",
    ),
    (
        NEW,
        {"allOf": [REFERENCE, {**inline(a=STRING), "additionalProperties": STRING}]},
        pointer(*NEW, "allOf", "1", "additionalProperties"),
        "a schema is not supported in a part",
    ),
    ((*LINK, "oneOf"), [REFERENCE], None, "`oneOf`"),
    ((*LINK, "anyOf"), [REFERENCE], None, "`anyOf`"),
    ((*LINK, "not"), REFERENCE, None, "`not`"),
    ((*LINK, "discriminator"), {"propertyName": "a"}, None, "`discriminator`"),
    ((*LINK, "nullable"), True, None, "in properties, and"),
    ((*LINK, "readOnly"), True, None, "in properties only"),
    ((*LINK, "additionalProperties"), STRING, None, "beside `properties`"),
    ((*LINK, "required"), ["nowhere"], None, "not among the properties"),
    (
        (*LINK, "properties", "a"),
        {**STRING, "enum": [None], "nullable": True},
        pointer(*LINK, "properties", "a", "enum"),
        "every value must be",
    ),
    ((*LINK, "properties", "h\tref"), STRING, None, "can be printed"),
    (
        (*LINK, "properties", "in"),
        {"type": "object", "properties": {"a": {"type": "object", "properties": {"b": {"oneOf": []}}}}},
        pointer(*LINK, "properties", "in", "properties", "a", "properties", "b", "oneOf"),
        "both together",
    ),
    ((*HREF, "oneOf"), [REFERENCE], None, "`oneOf`"),
    (HREF, {**STRING, "readOnly": True, "writeOnly": True}, None, "exclude each other"),
    (HREF, {"allOf": [STRING]}, None, "with one reference"),
    (HREF, {"allOf": [REFERENCE, STRING]}, pointer(*HREF, "allOf", "1", "type"), "must be objects"),
    ((*HREF, "discriminator"), {"propertyName": "a"}, None, "`discriminator`"),
    ((*HREF, "const"), "T", None, "`const`"),
    ((*HREF, "type"), ["string", "null"], None, "the type ['string', 'null']"),
    ((*HREF, "type"), "file", None, "the type file"),
    ((*HREF, "format"), "binary", None, "the format binary"),
    ((*HREF, "enum"), ["a", None], None, "null is a value of a `nullable` schema only"),
    ((*HREF, "enum"), ["a", True], None, "every value must be"),
    ((*HREF, "enum"), [True], None, "every value must be"),
    ((*HREF, "items"), STRING, None, "belongs to the type array"),
    (HREF, {"type": "array"}, None, "needs `items`"),
    (HREF, {"type": "array", "items": {"type": "string", "deprecated": True}}, None, "in properties only"),
    (HREF, {"type": "array", "items": {"type": "string", "readOnly": True}}, None, "in properties only"),
    (HREF, {"properties": {}}, None, "without `type`"),
    (HREF, {"$ref": "other.yaml#/A"}, None, "only references to"),
    (HREF, {"$ref": "#/components/schemas/Nowhere"}, None, "not in the document"),
    (HREF, {"$ref": "#/components/schemas/No.where-else"}, None, "No.where-else is not in the document"),
    ((*HREF, "default"), ["VISA"], None, "must be of the type string"),
]

# Where to put what does not change the generated code.
HARMLESS: list[tuple[tuple[str, ...], Any]] = [
    (("externalDocs",), {"url": "https://a.example"}),
    (("x-anything",), {}),
    (("info", "x-logo"), "a.png"),
    (("tags", "0", "externalDocs"), {}),
    (("servers", "0", "x-note"), 1),
    (("paths", "x-note"), 1),
    (("paths", "/flex/v2/sessions", "summary"), "Sessions"),
    (("paths", "/flex/v2/sessions", "x-note"), {"type": 1}),
    ((*SESSIONS, "x-codegen-request-body-name"), "other"),
    ((*SESSIONS, "externalDocs"), {}),
    ((*SESSIONS, "responses", "x-note"), []),
    ((*SESSIONS, "requestBody", "content", JSON, "x-note"), []),
    ((*KEY, "parameters", "0", "x-note"), []),
    (("components", "x-note"), []),
    ((*LINK, "title"), "T"),
    ((*LINK, "additionalProperties"), False),
    ((*HREF, "xml"), {"name": "h"}),
    ((*HREF, "x-note"), None),
    ((*HREF, "format"), "decimal"),
    ((*HREF, "format"), "iso-4217"),
    (
        ("components", "schemas", "CardFields", "properties", "number"),
        {"allOf": [REFERENCE], "description": "Card number.", "title": "Number"},
    ),
]


def put(document: Any, where: tuple[str, ...], what: Any) -> None:
    for part in where[:-1]:
        document = document[int(part)] if isinstance(document, list) else document[part]
    if isinstance(document, list):
        document[int(where[-1]) :] = [what]
    else:
        document[where[-1]] = what


@pytest.mark.parametrize(("where", "what", "place", "says"), CASES)
def test_the_feature_is_reported_with_its_place(
    supported_openapi: Any, document: Any, where: tuple[str, ...], what: Any, place: str | None, says: str
) -> None:
    changed = copy.deepcopy(document)
    changed["components"]["schemas"].setdefault("New", {"type": "boolean"})
    put(changed, where, what)
    problems = supported_openapi.problems(json.dumps(changed))
    expected = place or pointer(*where)
    assert [problem for problem in problems if problem.startswith(expected) and says in problem], problems


@pytest.mark.parametrize(("where", "what"), HARMLESS)
def test_what_says_nothing_about_requests_and_responses_is_ignored(
    supported_openapi: Any, document: Any, where: tuple[str, ...], what: Any
) -> None:
    changed = copy.deepcopy(document)
    put(changed, where, what)
    (before, _), (after, problems) = (supported_openapi.read(json.dumps(each)) for each in (document, changed))
    assert problems == []
    assert generated_from(after) == generated_from(before)


def generated_from(specification: Any) -> str:
    """What openapi-generator reads."""
    from generation.generator_input import generator_input
    from generation.python_names import python_names

    document = specification.document
    return str(generator_input(document, python_names(document)).specification)


def test_members_beside_a_reference_are_ignored(supported_openapi: Any, document: Any) -> None:
    def read(schema: Any) -> Any:
        changed = copy.deepcopy(document)
        put(changed, HREF, schema)
        return supported_openapi.read(json.dumps(changed))

    described, problems = read({**REFERENCE, "description": "Ignored.", "nullable": True})
    assert problems == []
    assert described == read(REFERENCE)[0]


def test_a_property_may_have_the_name_of_metadata(supported_openapi: Any, document: Any) -> None:
    changed = copy.deepcopy(document)
    for name in ("title", "xml", "externalDocs", "x-note"):
        put(changed, (*LINK, "properties", name), STRING)
    specification, problems = supported_openapi.read(json.dumps(changed))
    assert problems == []
    properties = specification.document["components"]["schemas"]["ErrorLink"]["properties"]
    assert {"title", "xml", "externalDocs", "x-note"} <= set(properties)


@pytest.mark.parametrize(
    ("version", "problem"),
    [
        ({"swagger": "2.0"}, "#/swagger: swagger 2.0 is not supported; convert the document to OpenAPI 3.0"),
        ({"openapi": "3.1.0"}, "#/openapi: openapi 3.1.0 is not supported; convert the document to OpenAPI 3.0"),
        ({"openapi": "2.0"}, "#/openapi: openapi 2.0 is not supported; convert the document to OpenAPI 3.0"),
    ],
)
def test_another_version_is_one_line(supported_openapi: Any, version: Any, problem: str) -> None:
    document = {**version, "paths": {"/a": {"get": {"parameters": [{"in": "body"}], "produces": ["a/b"]}}}}
    assert supported_openapi.problems(json.dumps(document)) == [problem]


def test_problems_are_grouped_by_rule_with_the_first_places(supported_openapi: Any, document: Any) -> None:
    from openapi.problem_report import grouped

    changed = copy.deepcopy(document)
    schemas = changed["components"]["schemas"]
    for number in range(5):
        schemas[f"A{number}"] = {"type": "object", "anyOf": []}
        schemas[f"B{number}"] = {"type": "object", "properties": {f"a\n{number}": STRING}}
    schemas["C"] = {"type": "file"}
    assert list(grouped(supported_openapi.problems(json.dumps(changed)))) == [
        "5 places: `anyOf` is not supported here",
        "  #/components/schemas/A0/anyOf",
        "  #/components/schemas/A1/anyOf",
        "  #/components/schemas/A2/anyOf",
        "  and 2 more; `make spec-lint` lists all",
        "5 places: the name ... is not supported: it must consist of characters that can be printed",
        *(
            f"  #/components/schemas/B{number}/properties/a\n{number}: the name 'a\\n{number}' is not supported: "
            "it must consist of characters that can be printed"
            for number in range(3)
        ),
        "  and 2 more; `make spec-lint` lists all",
        "#/components/schemas/C/type: the type file is not supported",
    ]


def test_our_specifications_use_supported_features_only(supported_openapi: Any) -> None:
    for file in (ROOT / "openapi.yaml", ROOT / "test" / "generator" / "specs" / "features.yaml"):
        assert supported_openapi.problems(file.read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("openapi: 3.0.3\nopenapi: 3.0.3\n", "the key 'openapi' twice"),
        ("a: [", "not readable as YAML"),
        ("- 1", "not an OpenAPI document"),
        ("openapi: 3.0.3\npaths: []\n", "#/paths: must be an object"),
    ],
)
def test_a_file_that_is_not_a_specification_is_rejected_in_one_line(
    supported_openapi: Any, source: str, says: str
) -> None:
    problems = supported_openapi.problems(source)
    assert len(problems) == 1
    assert says in problems[0]


def nodes(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every node in a document."""
    if path:
        yield path
    members = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for name, value in members:
        yield from nodes(value, (*path, name))


def test_a_document_of_any_shape_is_checked_without_an_exception(
    supported_openapi: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import spec_lint

    features = supported_openapi.load((ROOT / "test" / "generator" / "specs" / "features.yaml").read_text("utf-8"))
    strange = [None, [], {}, "x", 1, True, [1], {"a": 1}, [[]], {1: 2}, [{}], {"$ref": "#/x"}, "", [None]]
    chance = random.Random(11)
    for path in nodes(features):
        changed = copy.deepcopy(features)
        *groups, last = path
        owner = changed
        for group in groups:
            owner = owner[group]
        if isinstance(owner, dict) and chance.random() < 0.3:
            owner[chance.choice((None, 1, True, "", "x"))] = owner.pop(last)
        else:
            owner[last] = chance.choice(strange)
        # Reading YAML would take a minute.
        monkeypatch.setattr(supported_openapi, "load", lambda _, changed=changed: changed)
        assert len(spec_lint.project_findings("")) >= len(supported_openapi.problems("")), path


@pytest.mark.parametrize("error", [TypeError("a bug"), KeyError("a bug"), AttributeError("a bug")], ids=repr)
def test_a_programming_error_is_not_reported_as_a_problem_of_the_document(
    supported_openapi: Any, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    import spec_lint

    def broken(*_: Any) -> Any:
        raise error

    source = (ROOT / "openapi.yaml").read_text("utf-8")
    monkeypatch.setattr(spec_lint, "_operations", broken)
    with pytest.raises(type(error)):
        spec_lint.project_findings(source)
    monkeypatch.setattr(supported_openapi, "_document", broken)
    with pytest.raises(type(error)):
        supported_openapi.problems(source)
