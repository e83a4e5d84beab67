"""tools/openapi: names of inline objects, minimal documents, and which schemas are sent and read."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from cybersource_flex.transport.rest_operation import _RESERVED

STRING = {"type": "string"}


def inline(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties or {"a": STRING}}


def content(schema: Any, media_type: str = "application/json") -> dict[str, Any]:
    return {"content": {media_type: {"schema": schema}}}


def operation(**members: Any) -> dict[str, Any]:
    return {"paths": {"/a/{b}": {"post": {"operationId": "make-card", **members}}}}


@pytest.fixture(scope="module")
def name_inline_objects(supported_openapi: Any) -> Any:
    from openapi.inline_objects import name_inline_objects

    return lambda document: name_inline_objects(copy.deepcopy(document))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("card-data.v2", "CardDataV2"),
        ("card", "Card"),
        ("cardData", "CardData"),
        ("a_b c", "ABC"),
        ("2fa", "Model2fa"),
        ("", "Model"),
        ("--", "Model"),
        ("é", "Model"),
    ],
)
def test_the_name_of_a_class(supported_openapi: Any, name: str, expected: str) -> None:
    from openapi.inline_objects import camel

    assert camel(name) == expected


@pytest.mark.parametrize(
    ("document", "places"),
    [
        ({}, {}),
        ({"components": {}, "paths": {}}, {}),
        ({"components": {"schemas": {"A": inline()}}}, {}),
        (operation(requestBody=content(STRING), responses={"200": content({"type": "array", "items": STRING})}), {}),
        (
            operation(requestBody=content(inline())),
            {"MakeCardRequest": "#/paths/~1a~1{b}/post/requestBody/content/application~1json/schema"},
        ),
        (
            operation(
                responses={
                    "200": content(inline()),
                    "201": content(inline()),
                    "4XX": content(inline()),
                    "default": content(inline()),
                }
            ),
            {
                "MakeCardResponse": "#/paths/~1a~1{b}/post/responses/200/content/application~1json/schema",
                "MakeCardResponse201": "#/paths/~1a~1{b}/post/responses/201/content/application~1json/schema",
                "MakeCardResponse4XX": "#/paths/~1a~1{b}/post/responses/4XX/content/application~1json/schema",
                "MakeCardResponsedefault": "#/paths/~1a~1{b}/post/responses/default/content/application~1json/schema",
            },
        ),
        (
            # A failure before the first success does not take its name.
            operation(responses={"400": content(inline()), "200": content(inline())}),
            {
                "MakeCardResponse400": "#/paths/~1a~1{b}/post/responses/400/content/application~1json/schema",
                "MakeCardResponse": "#/paths/~1a~1{b}/post/responses/200/content/application~1json/schema",
            },
        ),
        (
            {
                "components": {
                    "requestBodies": {"new card": content(inline())},
                    "responses": {"old/card": content(inline())},
                }
            },
            {
                "NewCardRequest": "#/components/requestBodies/new card/content/application~1json/schema",
                "OldCardResponse": "#/components/responses/old~1card/content/application~1json/schema",
            },
        ),
        (
            {"components": {"schemas": {"Top": inline(first=inline(second=inline()), third=STRING)}}},
            {
                "TopFirst": "#/components/schemas/Top/properties/first",
                "TopFirstSecond": "#/components/schemas/Top/properties/first/properties/second",
            },
        ),
        (
            {"components": {"schemas": {"Top": inline(**{"2fa": inline()})}}},
            {"Top2fa": "#/components/schemas/Top/properties/2fa"},
        ),
        (
            {"components": {"schemas": {"Top": {"type": "array", "items": inline()}}}},
            {"TopItem": "#/components/schemas/Top/items"},
        ),
        (
            {"components": {"schemas": {"Top": {"type": "object", "additionalProperties": inline()}}}},
            {"TopValue": "#/components/schemas/Top/additionalProperties"},
        ),
        ({"components": {"schemas": {"Top": {"type": "object", "additionalProperties": True}}}}, {}),
        (
            {"components": {"schemas": {"Top": {"allOf": [inline(a=inline()), inline()]}}}},
            {"TopA": "#/components/schemas/Top/allOf/0/properties/a"},
        ),
        (
            {"components": {"schemas": {"Top": {"oneOf": [inline(), inline()]}}}},
            {
                "TopOption1": "#/components/schemas/Top/oneOf/0",
                "TopOption2": "#/components/schemas/Top/oneOf/1",
            },
        ),
        (
            # Names that are in use, in any case, get a number.
            {"components": {"schemas": {"Top": inline(a=inline()), "TOPA": STRING, "TopA2": STRING}}},
            {"TopA3": "#/components/schemas/Top/properties/a"},
        ),
    ],
)
def test_inline_objects_get_names_and_keep_their_places(
    name_inline_objects: Any, document: Any, places: dict[str, str]
) -> None:
    specification = name_inline_objects(document)
    assert specification.origins == {f"#/components/schemas/{title}": place for title, place in places.items()}
    schemas = specification.document.get("components", {}).get("schemas", {})
    for title in places:
        assert schemas[title]["type"] == "object"
        assert f'"$ref": "#/components/schemas/{title}"' in json.dumps(specification.document)


def test_problems_are_reported_at_the_place_in_the_document_as_it_was_written(name_inline_objects: Any) -> None:
    document = {"components": {"schemas": {"Top": inline(first=inline(second=inline()))}}}
    specification = name_inline_objects(document)
    assert (
        specification.original("#/components/schemas/TopFirstSecond/type: wrong")
        == "#/components/schemas/Top/properties/first/properties/second/type: wrong"
    )
    assert specification.original("#/components/schemas/Top: wrong") == "#/components/schemas/Top: wrong"


@pytest.mark.parametrize("member", ["deprecated", "nullable", "readOnly", "writeOnly"])
def test_what_belongs_to_the_property_stays_there(name_inline_objects: Any, member: str) -> None:
    document = {"components": {"schemas": {"Top": inline(a={**inline(), member: True, "description": "Words."})}}}
    schemas = name_inline_objects(document).document["components"]["schemas"]
    assert schemas["Top"]["properties"]["a"] == {
        "allOf": [{"$ref": "#/components/schemas/TopA"}],
        member: True,
        "description": "Words.",
    }
    assert schemas["TopA"] == {**inline(), "description": "Words."}


SERVERS = [{"url": "https://a.example", "description": "A.", "x-environment": "test"}]
MINIMAL = {"openapi": "3.0.3", "info": {"title": "a", "version": "1"}, "servers": SERVERS, "paths": {}}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"components": {}}, []),
        ({"components": {"schemas": {}}}, []),
        ({"components": {"securitySchemes": {}}}, []),
        ({"tags": []}, []),
        ({"servers": []}, ["#/servers: needs at least one server; the first is the default host"]),
        ({"servers": None}, ["#/servers: must be a list"]),
        (
            {"servers": [{**SERVERS[0], "x-environment": "Test"}]},
            ["#/servers/0/x-environment: must be a name in lower case that no other server has"],
        ),
        (
            {"servers": [{**SERVERS[0], "url": "http://a.example"}]},
            [
                "#/servers/0/url: a server URL with a path, a variable or another scheme than https is not supported",
            ],
        ),
        ({"tags": [{"name": "a"}]}, ["#/tags/0: needs `description`"]),
        (
            {"components": {"securitySchemes": {"a": {"type": "oauth2"}}}},
            ["#/components/securitySchemes/a: a scheme of ('oauth2', None) is not supported"],
        ),
        ({"paths": {"/a": {"trace": {}}}}, ["#/paths/~1a/trace: `trace` is not supported here"]),
    ],
)
def test_a_minimal_document_is_checked(supported_openapi: Any, changes: dict[str, Any], expected: list[str]) -> None:
    assert supported_openapi.problems(json.dumps({**MINIMAL, **changes})) == expected


def test_which_schemas_are_sent_and_which_are_read(supported_openapi: Any) -> None:
    from openapi.schema_usage import directions

    document = {
        "paths": {
            "/a": {
                "parameters": [{"schema": reference("OfPath")}],
                "get": {"responses": {"200": content(reference("Read")), "4XX": content(reference("Failed"))}},
                "post": {
                    "parameters": [{"schema": reference("OfCall")}],
                    "requestBody": content(reference("Sent")),
                    "responses": {"201": content({"type": "array", "items": reference("Created")})},
                },
            },
            "/empty": {"get": {}},
        },
        "components": {
            "schemas": {
                "Sent": inline(a=reference("Both")),
                "Read": inline(a=reference("Both"), b=reference("Read")),
                "Both": inline(a=reference("Deep")),
                "Unused": inline(),
            }
        },
    }
    usage = directions(document)
    assert usage.sent == {"OfPath", "OfCall", "Sent", "Both", "Deep"}
    assert usage.read == {"Read", "Failed", "Created", "Both", "Deep"}
    for place, sent, read in (
        ("#/components/schemas/Sent/properties/a", True, False),
        ("#/components/schemas/Read", False, True),
        ("#/components/schemas/Both/type", True, True),
        ("#/components/schemas/Unused", False, False),
        ("#/paths/~1a/post/responses/201/description", False, True),
        ("#/paths/~1a/post/requestBody/content", True, False),
    ):
        assert (usage.is_sent(place), usage.is_read(place)) == (sent, read), place
    assert directions({}).sent == directions({"paths": {}}).read == frozenset()


def with_parameter(**members: Any) -> dict[str, Any]:
    """A document with one operation that has this parameter."""
    get = {
        "operationId": "get",
        "summary": "Get.",
        "tags": ["A"],
        "security": [],
        "parameters": [{"name": "q", "in": "query", "description": "A.", "schema": STRING, **members}],
        "responses": {"200": {"description": "A."}, "default": {"description": "A.", **content(reference("Error"))}},
    }
    return {
        **MINIMAL,
        "tags": [{"name": "A", "description": "A."}],
        "paths": {"/a": {"get": get}},
        "components": {"schemas": {"Error": inline(message=STRING)}},
    }


def reference(title: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{title}"}


@pytest.mark.parametrize("name", ["Accept", *sorted(_RESERVED), "User-Agent"])
def test_headers_that_the_client_sets_are_no_parameters(supported_openapi: Any, name: str) -> None:
    assert supported_openapi.problems(json.dumps(with_parameter(**{"name": "X-Note", "in": "header"}))) == []
    assert supported_openapi.problems(json.dumps(with_parameter(**{"name": name, "in": "header"}))) == [
        f"#/paths/~1a/get/parameters/0: a header parameter of the name {name} is not supported"
    ]


@pytest.mark.parametrize("style", ["form", "spaceDelimited", "pipeDelimited"])
def test_the_styles_of_lists_in_the_query(supported_openapi: Any, style: str) -> None:
    document = with_parameter(style=style, explode=False, schema={"type": "array", "items": STRING})
    assert supported_openapi.problems(json.dumps(document)) == []


@pytest.mark.parametrize(
    "schema", [{"type": "object"}, {"type": "array", "items": {"type": "object"}}, {**STRING, "nullable": True}]
)
def test_objects_and_null_are_no_parameters(supported_openapi: Any, schema: Any) -> None:
    problems = supported_openapi.problems(json.dumps(with_parameter(schema=schema)))
    assert "#/paths/~1a/get/parameters/0/schema: a query parameter of this type is not supported" in problems


@pytest.mark.parametrize("member", ["deprecated", "nullable", "readOnly", "writeOnly", "description"])
def test_a_property_that_refers_to_a_schema_may_have_members_of_its_own(supported_openapi: Any, member: str) -> None:
    document = with_parameter()
    value: Any = "Words." if member == "description" else True
    document["components"]["schemas"]["Error"]["properties"]["inner"] = {"allOf": [reference("Inner")], member: value}
    document["components"]["schemas"]["Inner"] = inline()
    assert supported_openapi.problems(json.dumps(document)) == []


@pytest.mark.parametrize(
    ("schema", "place", "says"),
    [
        (
            {"allOf": [{"$ref": "#/components/schemas/None"}]},
            "/allOf/0/$ref",
            "#/components/schemas/None is not in the",
        ),
        ({"$ref": "#/components/schemas/None"}, "/$ref", "#/components/schemas/None is not in the document"),
        ({"type": "array"}, "", "an array needs `items`"),
    ],
)
def test_a_problem_of_a_schema_names_its_place(supported_openapi: Any, schema: Any, place: str, says: str) -> None:
    document = with_parameter()
    document["components"]["schemas"]["Error"]["properties"]["inner"] = schema
    (problem,) = supported_openapi.problems(json.dumps(document))
    assert problem.startswith(f"#/components/schemas/Error/properties/inner{place}: {says}")


def test_references_lead_through_an_all_of_with_one_part(supported_openapi: Any) -> None:
    from openapi.supported_schemas import resolve

    document = {"components": {"schemas": {"A": {"allOf": [reference("B")]}, "B": STRING, "C": reference("C")}}}
    assert resolve(document, reference("A")) == resolve(document, {"allOf": [reference("A")]}) == STRING
    assert resolve(document, {"allOf": [STRING, STRING]}) == {"allOf": [STRING, STRING]}
    for nowhere in (reference("C"), reference("None"), {"$ref": "#/a/b/c"}, None, "text"):
        assert resolve(document, nowhere) == {}
    assert resolve({}, reference("A")) == {}


@pytest.mark.parametrize(("media_type", "schema"), [("application/json", inline()), ("text/plain", STRING)])
def test_a_body_that_may_be_null_is_not_supported(supported_openapi: Any, media_type: str, schema: Any) -> None:
    document = with_parameter()
    body = {"required": True, **content({**schema, "nullable": True}, media_type)}
    document["paths"]["/a"]["put"] = {**document["paths"]["/a"]["get"], "operationId": "put", "requestBody": body}
    problems = supported_openapi.problems(json.dumps(document))
    assert [problem for problem in problems if problem.endswith("a body that may be null is not supported")], problems


@pytest.mark.parametrize(
    ("parts", "supported"),
    [
        ([reference("Cat"), reference("Dog")], True),
        ([reference("Cat"), reference("Cat")], False),
        ([reference("Cat"), {**reference("Dog"), "description": "Ignored."}], True),
        ([reference("Cat"), "text"], False),
        ([reference("Cat")], False),
    ],
)
def test_a_union_refers_to_different_models(supported_openapi: Any, parts: Any, supported: bool) -> None:
    document = with_parameter()
    kind = {**inline(kind=STRING), "required": ["kind"]}
    schemas = {"Cat": kind, "Dog": {"allOf": [reference("Cat"), inline(name=STRING)]}}
    schemas["Pet"] = {"oneOf": parts, "discriminator": {"propertyName": "kind"}}
    document["components"]["schemas"] |= schemas
    problems = supported_openapi.problems(json.dumps(document))
    assert (problems == []) is supported, problems


def test_three_places_of_a_rule_are_listed_and_more_are_counted(supported_openapi: Any) -> None:
    from openapi.problem_report import grouped

    places = [f"#/a/{number}: wrong" for number in range(5)]
    assert list(grouped(places[:1])) == ["#/a/0: wrong"]
    assert list(grouped(places[:3])) == ["3 places: wrong", "  #/a/0", "  #/a/1", "  #/a/2"]
    assert list(grouped(places[:4]))[-1] == "  and 1 more; `make spec-lint` lists all"
    assert list(grouped(places))[-1] == "  and 2 more; `make spec-lint` lists all"
