"""Building requests from arguments, and parsing responses to data or exceptions."""

from __future__ import annotations

import json
import pickle
import warnings
from datetime import UTC, datetime
from typing import Any

import pytest

from cybersource_flex import errors
from cybersource_flex.models import CardFields, ServiceError
from cybersource_flex.transport import Configuration, Operation, Response, Tls
from cybersource_flex.transport.error_responses import is_error_body
from support.transports import StubSigner, make_operation

WITHOUT_AUTH = Configuration(host="https://apitest.cybersource.com")
WITH_AUTH = Configuration(host="https://apitest.cybersource.com", auth=StubSigner())


def operation(**changes: Any) -> Operation:
    """By default an operation without authentication and without a body."""
    return make_operation(
        **{
            "method": "GET",
            "path": "/things/{id}",
            "requires_auth": False,
            "accept": ("application/json",),
            "content_type": None,
            "responses": {"200": "Dict[str, object]", "default": "ServiceError"},
            **changes,
        }
    )


def make_response(status: int, body: bytes = b"", content_type: str = "application/json", **headers: str) -> Response:
    return Response(status, "Reason", {"Content-Type": content_type, **headers}, body)


def test_an_authenticated_operation_needs_a_signer() -> None:
    with pytest.raises(errors.ConfigurationError, match="call must be signed"):
        operation(requires_auth=True).build_request(WITHOUT_AUTH, path={})
    assert operation(requires_auth=True).build_request(WITH_AUTH, path={"id": "1"}).target == "/things/1"


@pytest.mark.parametrize(
    ("value", "target"),
    [
        ("3g", "/things/3g"),
        ("...", "/things/..."),
        ("-._~", "/things/-._~"),
        (7, "/things/7"),
        (1.5, "/things/1.5"),
        (True, "/things/true"),
        ("A" * 128, "/things/" + "A" * 128),
        (datetime(2026, 1, 2, tzinfo=UTC), "/things/2026-01-02T00%3A00%3A00Z"),
    ],
)
def test_path_parameters_are_encoded(value: Any, target: str) -> None:
    request = operation().build_request(WITHOUT_AUTH, path={"id": value})
    assert request.target == target
    assert request.url == f"https://apitest.cybersource.com{target}"


@pytest.mark.parametrize("value", ["", ".", "..", "a/b", "a b?c#d%e", "é", "A" * 129, "a\n", 1e22, ["a", "b/c"]])
def test_path_parameters_that_would_change_the_path_are_rejected(value: str) -> None:
    with pytest.raises(ValueError, match="path parameter 'id'"):
        operation().build_request(WITHOUT_AUTH, path={"id": value})


def test_query_parameters_and_headers() -> None:
    request = operation(path="/x").build_request(
        WITHOUT_AUTH,
        query=[("a", "1 2"), ("b", None), ("c", ["x", "y&z"]), ("d", datetime(2026, 1, 2, tzinfo=UTC))],
        headers={"X-One": 1, "X-None": None, "X-List": ["a", "b"]},
    )
    assert request.target == "/x?a=1%202&c=x&c=y%26z&d=2026-01-02T00%3A00%3A00Z"
    assert request.headers == {"Accept": "application/json", "X-One": "1", "X-List": "a,b"}
    with pytest.raises(ValueError, match="line break"):
        operation(path="/x").build_request(WITHOUT_AUTH, headers={"X": "a\r\nSignature: b"})
    with pytest.raises(ValueError, match="'a' must not be infinite or NaN"):
        operation(path="/x").build_request(WITHOUT_AUTH, query=[("a", float("nan"))])
    with pytest.raises(TypeError, match="cannot be of type dict"):
        operation(path="/x").build_request(WITHOUT_AUTH, query=[("a", {})])


def test_request_bodies() -> None:
    as_json = operation(path="/x", method="POST", content_type="application/json;charset=utf-8")
    assert as_json.build_request(WITHOUT_AUTH, body={"a": "Zoë"}).body == '{"a":"Zoë"}'.encode()
    assert as_json.build_request(WITHOUT_AUTH, body={}).body == b"{}"
    assert as_json.build_request(WITHOUT_AUTH, body=None).body is None
    assert "Content-Type" not in as_json.build_request(WITHOUT_AUTH, body=None).headers
    with pytest.raises(ValueError, match="JSON"):
        as_json.build_request(WITHOUT_AUTH, body={"a": float("nan")})
    as_text = operation(path="/x", method="POST", content_type="application/jwt")
    request = as_text.build_request(WITHOUT_AUTH, body="a.b.c")
    assert (request.body, request.headers["Content-Type"]) == (b"a.b.c", "application/jwt")
    with pytest.raises(TypeError, match="must be str or bytes"):
        as_text.build_request(WITHOUT_AUTH, body={})


@pytest.mark.parametrize("body", ["a.b.c", ' "a.b.c" ', "a.b.c\n"])
def test_quotes_and_white_space_around_tokens_are_removed(body: str) -> None:
    tokens = operation(accept=("application/jwt",), responses={"201": "str"})
    result = tokens.parse_response(make_response(201, body.encode(), "application/jwt"))
    assert result.data == "a.b.c"
    assert result.raw_data == body.encode()


def test_quotes_around_other_text_are_kept() -> None:
    reports = operation(accept=("text/csv",), responses={"200": "str"})
    assert reports.parse_response(make_response(200, b'"id","name"', "text/csv")).data == '"id","name"'


def test_a_json_string_is_returned_as_str() -> None:
    assert operation(responses={"201": "str"}).parse_response(make_response(201, b'"a.b.c"')).data == "a.b.c"


def test_any_status_of_success_is_parsed() -> None:
    assert operation().parse_response(make_response(203, b'{"a":1}')).data == {"a": 1}


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b"\xff", b"[" * 100_000, b'"text"'])
def test_the_error_for_an_unreadable_success_says_that_the_call_was_accepted(body: bytes) -> None:
    with pytest.raises(errors.ResponseDecodingError, match="the call was accepted") as caught:
        operation().parse_response(make_response(200, body, **{"v-c-correlation-id": "abc"}))
    assert caught.value.status == 200
    assert caught.value.body == body
    assert caught.value.correlation_id == "abc"


SESSIONS = {
    "correlationId": "c1",
    "details": {"location": "fields.x", "message": "unknown"},
    "informationLink": None,
    "message": "Invalid",
    "reason": "INVALID_APIKEY",
}
STATUS = {
    "responseStatus": {
        "status": 400,
        "reason": "INVALID",
        "message": "Bad",
        "correlationId": "c2",
        "details": [{"location": "captureData.number", "message": "no"}, {"location": "captureData.type"}],
    },
    "_links": {"self": {"href": "x"}},
}
PAYMENTS = {
    "submitTimeUtc": "2026-11-22T12:00:00Z",
    "status": "INVALID_REQUEST",
    "reason": "INVALID_DATA",
    "message": "Declined",
    "details": [{"field": "tokenInformation.jti", "reason": "INVALID_DATA"}],
}
# As clients of `/microform/v2/sessions` read it.
LISTED: dict[str, Any] = {
    "errors": [
        {"code": "E1", "location": "$.targetOrigins[0]", "message": "Invalid origin", "reason": "VALIDATION"},
        {"code": "E2", "location": "$.a"},
    ]
}
Detail = errors.ErrorDetail
LISTED_DETAILS = (
    Detail("$.targetOrigins[0]", "Invalid origin", code="E1", reason="VALIDATION"),
    Detail("$.a", "", code="E2"),
)


@pytest.mark.parametrize(
    ("body", "reason", "message", "details", "correlation"),
    [
        (SESSIONS, "INVALID_APIKEY", "Invalid", (Detail("fields.x", "unknown"),), "c1"),
        (
            {**SESSIONS, "details": [SESSIONS["details"]]},
            "INVALID_APIKEY",
            "Invalid",
            (Detail("fields.x", "unknown"),),
            "c1",
        ),
        ({**SESSIONS, "details": None}, "INVALID_APIKEY", "Invalid", (), "c1"),
        (
            STATUS,
            "INVALID",
            "Bad",
            (Detail("captureData.number", "no"), Detail("captureData.type", "")),
            "c2",
        ),
        (
            PAYMENTS,
            "INVALID_DATA",
            "Declined",
            (Detail("tokenInformation.jti", "INVALID_DATA", reason="INVALID_DATA"),),
            None,
        ),
        ({"response": {"rmsg": "Authentication Failed"}}, "Reason", "Authentication Failed", (), None),
        (
            {"response": {"rmsg": '{"error":"UNAUTHORIZED_USER","message":"no"}'}},
            "UNAUTHORIZED_USER",
            "no",
            (),
            None,
        ),
        (
            {"errors": [{"type": "notFound", "message": "Profile not found"}]},
            "notFound",
            "Profile not found",
            (Detail("", "Profile not found", reason="notFound"),),
            None,
        ),
        (LISTED, "VALIDATION", "Invalid origin", LISTED_DETAILS, None),
        (LISTED["errors"], "VALIDATION", "Invalid origin", LISTED_DETAILS, None),
        ({"errors": LISTED["errors"][0]}, "VALIDATION", "Invalid origin", LISTED_DETAILS[:1], None),
        (LISTED["errors"][0], "VALIDATION", "Invalid origin", LISTED_DETAILS[:1], None),
        ({**LISTED, "reason": "R", "message": "M", "correlationId": "c3"}, "R", "M", LISTED_DETAILS, "c3"),
        (
            {"responseStatus": {"status": 400, "errors": LISTED["errors"]}, "correlationId": "c4"},
            "VALIDATION",
            "Invalid origin",
            LISTED_DETAILS,
            "c4",
        ),
        (
            {**SESSIONS, "details": [{"location": "$.x", "reason": "RESOURCE_QUOTA_EXCEEDED", "code": 17}]},
            "INVALID_APIKEY",
            "Invalid",
            (Detail("$.x", "RESOURCE_QUOTA_EXCEEDED", code="17", reason="RESOURCE_QUOTA_EXCEEDED"),),
            "c1",
        ),
        (
            {"errors": [{"type": "invalidFields", "message": "No", "details": [{"name": "a"}, {"name": "b"}, 3]}]},
            "invalidFields",
            "No",
            (Detail("a", "No", reason="invalidFields"), Detail("b", "No", reason="invalidFields")),
            None,
        ),
        (
            # The message of an inner entry, else that of the outer one; then the reasons in the same order.
            {
                "errors": [
                    {"message": "outer", "details": [{"name": "a", "message": "inner", "reason": "r"}, {"name": "b"}]},
                    {"reason": "O", "details": [{"name": "c", "reason": "I", "code": "C"}, {"name": "d"}]},
                ]
            },
            "r",
            "inner",
            (
                Detail("a", "inner", reason="r"),
                Detail("b", "outer"),
                Detail("c", "I", code="C", reason="I"),
                Detail("d", "O", reason="O"),
            ),
            None,
        ),
        (
            {"id": "1", "errorInformation": {"reason": "R", "message": "M", "details": PAYMENTS["details"]}},
            "R",
            "M",
            (Detail("tokenInformation.jti", "INVALID_DATA", reason="INVALID_DATA"),),
            None,
        ),
        ({"error": {"code": 502, "message": "M"}}, "Reason", "M", (Detail("", "M", code="502"),), None),
        (
            {"response": {"rmsg": json.dumps(LISTED)}},
            "VALIDATION",
            "Invalid origin",
            LISTED_DETAILS,
            None,
        ),
        ({}, "Reason", None, (), None),
        ([], "Reason", None, (), None),
        ("text", "Reason", None, (), None),
        (None, "Reason", None, (), None),
        ({"response": None, "responseStatus": 3, "errors": {}, "details": 5, "message": [1]}, "Reason", None, (), None),
        (b"", "Reason", None, (), None),
        (b"<html><h1>502</h1></html>", "Reason", None, (), None),
        (b"\xff\xfe", "Reason", None, (), None),
        (b"[" * 200_000, "Reason", None, (), None),
    ],
)
def test_error_bodies_of_all_formats_are_parsed(
    body: Any, reason: str, message: str | None, details: Any, correlation: str | None
) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(errors.ApiException) as caught:
        operation().parse_response(make_response(502, raw))
    error = caught.value
    assert (error.reason, error.message, error.details, error.correlation_id) == (reason, message, details, correlation)
    assert error.body == raw


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            LISTED,
            "502 VALIDATION: Invalid origin; $.targetOrigins[0] (code E1); $.a (code E2)",
        ),
        (PAYMENTS, "502 INVALID_DATA: Declined; tokenInformation.jti"),
        (
            {**SESSIONS, "details": [{"field": "a", "message": "no", "reason": "R", "code": 7}]},
            "502 INVALID_APIKEY: Invalid; a: no (code 7, R) (v-c-correlation-id c1)",
        ),
        ({"code": 502, "message": "M"}, "502 Reason: M"),
    ],
)
def test_the_message_of_an_exception_says_everything_once(body: Any, expected: str) -> None:
    with pytest.raises(errors.ApiException) as caught:
        operation().parse_response(make_response(502, json.dumps(body).encode()))
    assert str(caught.value).endswith(expected)


@pytest.mark.parametrize(
    "name",
    [
        "$.paymentConfigurations.clickToPay.autoCheckEnrollment",
        "transientTokenResponseOptions.includeCardPrefix.address1",
        "$.captureMandate.transientTokenResponseOptions.includeCardPrefix[0].value",
        "CREATE_TOKEN_CAPTURE_CONTEXT_USED_TOO_MANY_TIMES",
    ],
)
def test_long_names_are_not_taken_for_tokens(name: str) -> None:
    body = json.dumps({"reason": name, "details": [{"location": name, "message": f"see {name}"}]}).encode()
    with pytest.raises(errors.BadRequestError) as caught:
        operation().parse_response(make_response(400, body))
    assert (caught.value.reason, caught.value.details) == (name, (Detail(name, f"see {name}"),))


@pytest.mark.parametrize("member", ["location", "field", "name", "code", "reason", "type", "message"])
@pytest.mark.parametrize(
    "secret",
    [
        "eyJraWQiOiJ6dSIsImFsZyI6IlJTMjU2In0.eyJhIjoxfQ.c2lnbmF0dXJlLXRoYXQtaXMtbG9uZy1lbm91Z2gtZm9yLWEtdG9rZW4",
        "1D2Z8QFPM4Y6KX3ABCDEFGHJKLMNPQRSTUVWXYZ0123456789ABCDEF012345678",
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ_ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        "19PAsNkIkN3B3XqCZmUh8nl0VVxPJLNFi1AORapEuWs=",
        "4111 1111 1111 1111",
    ],
)
def test_secrets_are_removed_from_every_member_of_a_detail(member: str, secret: str) -> None:
    entry = {"message": "m", member: f"$.x {secret}"}
    with pytest.raises(errors.BadRequestError) as caught:
        operation().parse_response(make_response(400, json.dumps({"errors": [entry]}).encode()))
    report = f"{caught.value!r} {caught.value.details!r} {caught.value.reason}"
    assert "<removed>" in report
    assert secret[4:20] not in report


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (302, errors.RedirectError),
        (400, errors.BadRequestError),
        (401, errors.AuthenticationError),
        (403, errors.PermissionDeniedError),
        (404, errors.NotFoundError),
        (409, errors.ApiException),
        (429, errors.RateLimitError),
        (500, errors.ServerError),
        (504, errors.ServerError),
    ],
)
def test_the_exception_class_depends_on_the_status(status: int, expected: type[errors.ApiException]) -> None:
    with pytest.raises(errors.ApiException) as caught:
        operation().parse_response(make_response(status, **{"v-c-correlation-id": "id-1"}))
    assert type(caught.value) is expected
    assert str(status) in str(caught.value)
    assert "id-1" in str(caught.value)


def test_exceptions_contain_the_body_but_do_not_show_it() -> None:
    with pytest.raises(errors.ApiException) as caught:
        operation().parse_response(make_response(400, b'{"echo":"4111111111111111"}'))
    error = caught.value
    assert "4111111111111111" not in f"{error} {error!r}"
    assert b"4111111111111111" in error.body
    unpickled = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (type(unpickled), str(unpickled), unpickled.status, unpickled.path) == (
        type(error),
        str(error),
        400,
        "/things/{id}",
    )
    assert b"4111111111111111" not in pickle.dumps(error)


def test_control_characters_are_removed_from_error_messages() -> None:
    body = json.dumps({"message": "a\nb\x1b[31m", "reason": "x" * 5000}).encode()
    with pytest.raises(errors.ApiException) as caught:
        operation().parse_response(make_response(500, body, **{"v-c-correlation-id": "a\r\nb"}))
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 1000


def test_exceptions_contain_the_error_model() -> None:
    with pytest.raises(errors.ApiException) as caught:
        operation().parse_response(make_response(400, json.dumps(SESSIONS).encode()))
    assert caught.value.data.reason == "INVALID_APIKEY"


@pytest.mark.parametrize(
    "correlation_id",
    [
        "08b69ffe-f79b-4e09-991f-b030058e21f4",
        "c83e82a1-2345-4678-9012-c51369846de0",
        "41111111-1111-4111-8111-411111111111",
    ],
)
def test_correlation_ids_are_not_masked(correlation_id: str) -> None:
    for response in (
        make_response(500, **{"v-c-correlation-id": correlation_id}),
        make_response(500, json.dumps({"correlationId": correlation_id, "message": f"see {correlation_id}."}).encode()),
    ):
        with pytest.raises(errors.ApiException) as caught:
            operation().parse_response(response)
        assert caught.value.correlation_id == correlation_id
        assert correlation_id in str(caught.value)


@pytest.mark.parametrize(
    "secret",
    ["4111111111111111", "4111-1111-1111-1111", "4111 1111 1111 1111", "14111111-1111-4111-8111-4111111111111"],
)
def test_card_numbers_are_removed_from_error_messages(secret: str) -> None:
    for response in (
        make_response(400, json.dumps({"message": f"number {secret} is wrong"}).encode()),
        make_response(400, **{"v-c-correlation-id": secret}),
    ):
        with pytest.raises(errors.ApiException) as caught:
            operation().parse_response(response)
        assert secret not in f"{caught.value} {caught.value!r}"
        assert "1111-1111" not in str(caught.value)


@pytest.mark.parametrize(
    ("style", "target"),
    [("form", "/x?a=1,b%2Cc"), ("spaceDelimited", "/x?a=1%20b%2Cc"), ("pipeDelimited", "/x?a=1%7Cb%2Cc")],
)
def test_lists_in_a_query_are_joined_by_style(style: str, target: str) -> None:
    joined = operation(path="/x", query_styles={"a": style})
    assert joined.build_request(WITHOUT_AUTH, query=[("a", [1, "b,c"])]).target == target
    assert joined.build_request(WITHOUT_AUTH, query=[("a", [])]).target == "/x"


def test_lists_in_a_path_are_joined_by_commas() -> None:
    assert operation().build_request(WITHOUT_AUTH, path={"id": ["a-b", 2]}).target == "/things/a-b,2"
    for value in ([], [""], ["."], ["a,b", 2]):
        with pytest.raises(ValueError, match="path parameter 'id'"):
            operation().build_request(WITHOUT_AUTH, path={"id": value})


def test_the_media_type_depends_on_the_type_of_the_body() -> None:
    several = operation(
        path="/x",
        method="POST",
        body_types={"application/json": "CardFields", "text/plain": "str", "a/l+json": "List[int]"},
    )
    for body, media_type, content in (
        (CardFields(), "application/json", b"{}"),
        ("x", "text/plain", b"x"),
        ([1], "a/l+json", b"[1]"),
    ):
        request = several.build_request(WITHOUT_AUTH, body=body)
        assert (request.headers["Content-Type"], request.body) == (media_type, content)
    assert several.build_request(WITHOUT_AUTH, body=None).body is None
    for wrong in ({}, 1, ["a"], b"x", ServiceError()):
        with pytest.raises(TypeError, match=r"must be CardFields \(application/json\) or str \(text/plain\) or"):
            several.build_request(WITHOUT_AUTH, body=wrong)


def test_models_and_dates_are_serialized_at_any_depth() -> None:
    as_json = operation(path="/x", method="POST", content_type="application/json")
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    request = as_json.build_request(WITHOUT_AUTH, body={"a": [[CardFields()]], "b": {"c": moment}})
    assert request.body == b'{"a":[[{}]],"b":{"c":"2026-01-02T00:00:00Z"}}'
    with pytest.raises(TypeError, match="a request body cannot contain an object of type set"):
        as_json.build_request(WITHOUT_AUTH, body=[{1}])


@pytest.mark.parametrize(
    ("media_type", "body", "data"),
    [
        ("application/json", b'{"a":1}', {"a": 1}),
        ("Application/JSON; charset=utf-8", b'{"a":1}', {"a": 1}),
        ("application/problem+json", b'{"a":1}', {"a": 1}),
        ("text/plain", b"x", "x"),
        ("text/html", b"x", "x"),
        ("", b'{"a":1}', {"a": 1}),
    ],
)
def test_responses_are_parsed_by_media_type(media_type: str, body: bytes, data: Any) -> None:
    several = operation(responses={"200": {"application/json": "Dict[str, object]", "text/plain": "str"}})
    assert several.parse_response(make_response(200, body, media_type)).data == data


def test_responses_are_parsed_by_status() -> None:
    several = operation(responses={"204": None, "200": "Dict[str, int]", "2XX": "List[str]", "default": "ServiceError"})
    assert several.parse_response(make_response(204)).data is None
    assert several.parse_response(make_response(200, b'{"a":1}')).data == {"a": 1}
    assert several.parse_response(make_response(299, b'["a"]')).data == ["a"]
    fewer = operation(responses={"204": None, "201": "Dict[str, int]"})
    assert fewer.parse_response(make_response(200, b'{"a":1}')).data == {"a": 1}


class ExampleConfiguration(Configuration):
    ENVIRONMENTS = {"test": "https://test.example", "production": "https://example"}  # noqa: RUF012


OTHER_SERVERS = {"test": "https://keys.test.example"}


def test_an_operation_uses_its_server_for_the_environment() -> None:
    own = operation(path="/x", servers=OTHER_SERVERS)
    request = own.build_request(ExampleConfiguration(host="test.example"))
    assert (request.url, request.host) == ("https://keys.test.example/x", "keys.test.example")
    with pytest.raises(errors.ConfigurationError, match="not available in the environment 'production', only in test"):
        own.build_request(ExampleConfiguration(host="https://example"))


@pytest.mark.parametrize("host", ["https://gateway.example:8443", "http://127.0.0.1:1", "https://test.example:444"])
def test_a_host_outside_the_environments_is_used_for_all_operations(host: str) -> None:
    request = operation(path="/x", servers=OTHER_SERVERS).build_request(ExampleConfiguration(host=host))
    assert request.url == f"{host}/x"
    assert request.host == host.partition("://")[2]


def test_requests_are_sent_to_the_intermediate_host() -> None:
    configuration = ExampleConfiguration(host="https://test.example", intermediate_host="https://mine.example")
    request = operation(path="/x", servers=OTHER_SERVERS).build_request(configuration)
    assert (request.url, request.host) == ("https://mine.example/x", "keys.test.example")


def test_skipping_verification_only_applies_to_the_configured_host() -> None:
    configuration = ExampleConfiguration(host="https://test.example", tls=Tls(insecure_skip_verification=True))
    with pytest.raises(errors.ConfigurationError, match="only for the configured host"):
        operation(path="/x", servers=OTHER_SERVERS).build_request(configuration)
    assert operation(path="/x").build_request(configuration).host == "test.example"


def test_deprecated_operations_and_parameters_warn_when_used() -> None:
    old = operation(path="/x", deprecated_parameters=("a", "X-A"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        old.build_request(WITHOUT_AUTH, query=[("a", None)], headers={"X-B": 1})
    with pytest.warns(DeprecationWarning, match="'a' is deprecated") as caught:
        old.build_request(WITHOUT_AUTH, query=[("a", 0)])
    assert caught[0].filename == __file__
    with pytest.warns(DeprecationWarning, match="call is deprecated"):
        operation(path="/x", deprecated=True).build_request(WITHOUT_AUTH)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"reason": "R", "message": "M"}, True),
        ({"reason": "R"}, False),
        ({"message": "M"}, False),
        ({"reason": 1, "message": "M"}, False),
        ({"response": {"rmsg": "M"}}, True),
        ({"response": {"rmsg": "M"}, "id": "1"}, False),
        ({"responseStatus": {}}, True),
        ({"errorInformation": {}}, True),
        ({"errors": [{}]}, True),
        ({"errors": [{}], "correlationId": "c", "status": "s"}, True),
        ({"errors": [{}], "id": "1"}, False),
        ({"errors": []}, False),
        ([{}], False),
        ("text", False),
    ],
)
def test_error_bodies_are_recognised_for_any_status(body: Any, expected: bool) -> None:
    assert is_error_body(body) is expected
