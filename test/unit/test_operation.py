"""From arguments to a request, from an answer to data or an exception: the part without I/O."""

from __future__ import annotations

import json
import pickle
import warnings
from datetime import UTC, datetime
from typing import Any

import pytest

from cybersource_flex import errors
from cybersource_flex.models import CardFields, ServiceError
from cybersource_flex.transport import Operation, Request, Response, Settings, Tls


class Signer:
    def sign(self, request: Request, now: float) -> dict[str, str]:
        return {}


OPEN = Settings(host="https://apitest.cybersource.com")
SIGNED = Settings(host="https://apitest.cybersource.com", auth=Signer())


def operation(**changes: Any) -> Operation:
    return Operation(
        **{
            "name": "call",
            "method": "GET",
            "path": "/things/{id}",
            "signed": False,
            "accept": ("application/json",),
            "responses": {"200": "Dict[str, object]", "default": "ServiceError"},
            "models": "cybersource_flex.models",
            **changes,
        }
    )


def answer(status: int, body: bytes = b"", content_type: str = "application/json", **headers: str) -> Response:
    return Response(status, "Reason", {"Content-Type": content_type, **headers}, body)


def test_a_signed_operation_without_a_signer_fails_before_anything_else() -> None:
    with pytest.raises(errors.ConfigurationError, match="call must be signed"):
        operation(signed=True).request(OPEN, path={})
    assert operation(signed=True).request(SIGNED, path={"id": "1"}).target == "/things/1"


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
def test_path_parameters(value: Any, target: str) -> None:
    request = operation().request(OPEN, path={"id": value})
    assert request.target == target
    assert request.url == f"https://apitest.cybersource.com{target}"


@pytest.mark.parametrize("value", ["", ".", "..", "a/b", "a b?c#d%e", "é", "A" * 129, "a\n", 1e22, ["a", "b/c"]])
def test_path_parameters_cannot_leave_their_place(value: str) -> None:
    with pytest.raises(ValueError, match="path parameter 'id'"):
        operation().request(OPEN, path={"id": value})


def test_query_and_headers() -> None:
    request = operation(path="/x").request(
        OPEN,
        query=[("a", "1 2"), ("b", None), ("c", ["x", "y&z"]), ("d", datetime(2026, 1, 2, tzinfo=UTC))],
        headers={"X-One": 1, "X-None": None, "X-List": ["a", "b"]},
    )
    assert request.target == "/x?a=1%202&c=x&c=y%26z&d=2026-01-02T00%3A00%3A00Z"
    assert request.headers == {"Accept": "application/json", "X-One": "1", "X-List": "a,b"}
    with pytest.raises(ValueError, match="line break"):
        operation(path="/x").request(OPEN, headers={"X": "a\r\nSignature: b"})
    with pytest.raises(ValueError, match="'a' must not be infinite or NaN"):
        operation(path="/x").request(OPEN, query=[("a", float("nan"))])
    with pytest.raises(TypeError, match="cannot be of type dict"):
        operation(path="/x").request(OPEN, query=[("a", {})])


def test_bodies() -> None:
    as_json = operation(path="/x", method="POST", content_type="application/json;charset=utf-8")
    assert as_json.request(OPEN, body={"a": "Zoë"}).body == '{"a":"Zoë"}'.encode()
    assert as_json.request(OPEN, body={}).body == b"{}"
    assert as_json.request(OPEN, body=None).body is None
    assert "Content-Type" not in as_json.request(OPEN, body=None).headers
    with pytest.raises(ValueError, match="JSON"):
        as_json.request(OPEN, body={"a": float("nan")})
    as_text = operation(path="/x", method="POST", content_type="application/jwt")
    request = as_text.request(OPEN, body="a.b.c")
    assert (request.body, request.headers["Content-Type"]) == (b"a.b.c", "application/jwt")
    with pytest.raises(TypeError, match="must be str or bytes"):
        as_text.request(OPEN, body={})


@pytest.mark.parametrize("text", ["a.b.c", ' "a.b.c" ', "a.b.c\n"])
def test_text_answers_lose_what_gateways_add(text: str) -> None:
    result = operation(responses={"201": "str"}).result(answer(201, text.encode(), "application/jwt"))
    assert result.data == "a.b.c"
    assert result.raw_data == text.encode()


def test_a_json_string_is_text_too() -> None:
    assert operation(responses={"201": "str"}).result(answer(201, b'"a.b.c"')).data == "a.b.c"


def test_other_successes_are_read_alike() -> None:
    assert operation().result(answer(203, b'{"a":1}')).data == {"a": 1}


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b"\xff", b"[" * 100_000, b'"text"'])
def test_an_unreadable_success_says_that_it_was_one(body: bytes) -> None:
    with pytest.raises(errors.ResponseDecodingError, match="the call was accepted") as caught:
        operation().result(answer(200, body, **{"v-c-correlation-id": "abc"}))
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
Detail = errors.ErrorDetail


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
        (PAYMENTS, "INVALID_DATA", "Declined", (Detail("tokenInformation.jti", "INVALID_DATA"),), None),
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
            (Detail("notFound", "Profile not found"),),
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
def test_every_shape_of_error_is_read(
    body: Any, reason: str, message: str | None, details: Any, correlation: str | None
) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(errors.ApiException) as caught:
        operation().result(answer(502, raw))
    found = caught.value
    assert (found.reason, found.message, found.details, found.correlation_id) == (reason, message, details, correlation)
    assert found.body == raw


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
def test_classes_by_status(status: int, expected: type[errors.ApiException]) -> None:
    with pytest.raises(errors.ApiException) as caught:
        operation().result(answer(status, **{"v-c-correlation-id": "id-1"}))
    assert type(caught.value) is expected
    assert str(status) in str(caught.value)
    assert "id-1" in str(caught.value)


def test_the_body_is_within_reach_and_never_shown() -> None:
    with pytest.raises(errors.ApiException) as caught:
        operation().result(answer(400, b'{"echo":"4111111111111111"}'))
    error = caught.value
    assert "4111111111111111" not in f"{error} {error!r}"
    assert b"4111111111111111" in error.body
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (type(again), str(again), again.status, again.path) == (type(error), str(error), 400, "/things/{id}")
    assert b"4111111111111111" not in pickle.dumps(error)


def test_a_host_cannot_forge_log_lines() -> None:
    body = json.dumps({"message": "a\nb\x1b[31m", "reason": "x" * 5000}).encode()
    with pytest.raises(errors.ApiException) as caught:
        operation().result(answer(500, body, **{"v-c-correlation-id": "a\r\nb"}))
    text = str(caught.value)
    assert text.isprintable()
    assert len(text) < 1000


def test_the_declared_error_model_is_given() -> None:
    with pytest.raises(errors.ApiException) as caught:
        operation().result(answer(400, json.dumps(SESSIONS).encode()))
    assert caught.value.data.reason == "INVALID_APIKEY"


@pytest.mark.parametrize(
    "correlation_id",
    [
        "08b69ffe-f79b-4e09-991f-b030058e21f4",
        "c83e82a1-2345-4678-9012-c51369846de0",
        "41111111-1111-4111-8111-411111111111",
    ],
)
def test_a_correlation_id_stays_whole(correlation_id: str) -> None:
    for response in (
        answer(500, **{"v-c-correlation-id": correlation_id}),
        answer(500, json.dumps({"correlationId": correlation_id, "message": f"see {correlation_id}."}).encode()),
    ):
        with pytest.raises(errors.ApiException) as caught:
            operation().result(response)
        assert caught.value.correlation_id == correlation_id
        assert correlation_id in str(caught.value)


@pytest.mark.parametrize(
    "secret",
    ["4111111111111111", "4111-1111-1111-1111", "4111 1111 1111 1111", "14111111-1111-4111-8111-4111111111111"],
)
def test_a_card_number_that_the_host_repeats_is_removed(secret: str) -> None:
    for response in (
        answer(400, json.dumps({"message": f"number {secret} is wrong"}).encode()),
        answer(400, **{"v-c-correlation-id": secret}),
    ):
        with pytest.raises(errors.ApiException) as caught:
            operation().result(response)
        assert secret not in f"{caught.value} {caught.value!r}"
        assert "1111-1111" not in str(caught.value)


@pytest.mark.parametrize(
    ("style", "target"),
    [("form", "/x?a=1,b%2Cc"), ("spaceDelimited", "/x?a=1%20b%2Cc"), ("pipeDelimited", "/x?a=1%7Cb%2Cc")],
)
def test_lists_in_a_query_are_joined_as_their_style_says(style: str, target: str) -> None:
    joined = operation(path="/x", styles={"a": style})
    assert joined.request(OPEN, query=[("a", [1, "b,c"])]).target == target
    assert joined.request(OPEN, query=[("a", [])]).target == "/x"


def test_lists_in_a_path_have_commas_between() -> None:
    assert operation().request(OPEN, path={"id": ["a-b", 2]}).target == "/things/a-b,2"
    for value in ([], [""], ["."], ["a,b", 2]):
        with pytest.raises(ValueError, match="path parameter 'id'"):
            operation().request(OPEN, path={"id": value})


def test_the_type_of_the_body_decides_the_media_type() -> None:
    several = operation(
        path="/x",
        method="POST",
        bodies={"application/json": "CardFields", "text/plain": "str", "a/l+json": "List[int]"},
    )
    for body, media_type, content in (
        (CardFields(), "application/json", b"{}"),
        ("x", "text/plain", b"x"),
        ([1], "a/l+json", b"[1]"),
    ):
        request = several.request(OPEN, body=body)
        assert (request.headers["Content-Type"], request.body) == (media_type, content)
    assert several.request(OPEN, body=None).body is None
    for wrong in ({}, 1, ["a"], b"x", ServiceError()):
        with pytest.raises(TypeError, match=r"must be CardFields \(application/json\) or str \(text/plain\) or"):
            several.request(OPEN, body=wrong)


def test_models_and_dates_may_stand_anywhere_in_json() -> None:
    as_json = operation(path="/x", method="POST", content_type="application/json")
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    request = as_json.request(OPEN, body={"a": [[CardFields()]], "b": {"c": moment}})
    assert request.body == b'{"a":[[{}]],"b":{"c":"2026-01-02T00:00:00Z"}}'
    with pytest.raises(TypeError, match="type set cannot stand in a body"):
        as_json.request(OPEN, body=[{1}])


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
def test_the_media_type_of_the_answer_decides_how_it_is_read(media_type: str, body: bytes, data: Any) -> None:
    several = operation(responses={"200": {"application/json": "Dict[str, object]", "text/plain": "str"}})
    assert several.result(answer(200, body, media_type)).data == data


def test_the_status_decides_how_an_answer_is_read() -> None:
    several = operation(responses={"204": None, "200": "Dict[str, int]", "2XX": "List[str]", "default": "ServiceError"})
    assert several.result(answer(204)).data is None
    assert several.result(answer(200, b'{"a":1}')).data == {"a": 1}
    assert several.result(answer(299, b'["a"]')).data == ["a"]
    fewer = operation(responses={"204": None, "201": "Dict[str, int]"})
    assert fewer.result(answer(200, b'{"a":1}')).data == {"a": 1}


class Hosts(Settings):
    ENVIRONMENTS = {"test": "https://test.example", "production": "https://example"}  # noqa: RUF012


ELSEWHERE = {"test": "https://keys.test.example"}


def test_an_operation_goes_to_the_server_of_its_environment() -> None:
    own = operation(path="/x", servers=ELSEWHERE)
    request = own.request(Hosts(host="test.example"))
    assert (request.url, request.host) == ("https://keys.test.example/x", "keys.test.example")
    with pytest.raises(errors.ConfigurationError, match="not served in the environment 'production'; it is in test"):
        own.request(Hosts(host="https://example"))


@pytest.mark.parametrize("host", ["https://gateway.example:8443", "http://127.0.0.1:1", "https://test.example:444"])
def test_a_host_that_was_chosen_by_url_gets_every_operation(host: str) -> None:
    request = operation(path="/x", servers=ELSEWHERE).request(Hosts(host=host))
    assert request.url == f"{host}/x"
    assert request.host == host.partition("://")[2]


def test_connections_go_to_the_intermediate_host_whichever_host_is_signed() -> None:
    settings = Hosts(host="https://test.example", intermediate_host="https://mine.example")
    request = operation(path="/x", servers=ELSEWHERE).request(settings)
    assert (request.url, request.host) == ("https://mine.example/x", "keys.test.example")


def test_skipping_verification_does_not_reach_hosts_that_were_not_configured() -> None:
    settings = Hosts(host="https://test.example", tls=Tls(insecure_skip_verification=True))
    with pytest.raises(errors.ConfigurationError, match="for the configured host alone"):
        operation(path="/x", servers=ELSEWHERE).request(settings)
    assert operation(path="/x").request(settings).host == "test.example"


def test_what_is_deprecated_warns_where_it_is_used_and_only_then() -> None:
    old = operation(path="/x", deprecated_parameters=("a", "X-A"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        old.request(OPEN, query=[("a", None)], headers={"X-B": 1})
    with pytest.warns(DeprecationWarning, match="'a' is deprecated") as found:
        old.request(OPEN, query=[("a", 0)])
    assert found[0].filename == __file__
    with pytest.warns(DeprecationWarning, match="call is deprecated"):
        operation(path="/x", deprecated=True).request(OPEN)
