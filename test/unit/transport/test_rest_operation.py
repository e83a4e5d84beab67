"""``RestOperation``: the checks of method, path, query, headers and body of ``client.request``, and its responses."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
import urllib3
import yarl
from hypothesis import given
from hypothesis import strategies as st

from cybersource_flex import errors
from cybersource_flex.models import CardFields
from cybersource_flex.transport import Configuration, Response
from cybersource_flex.transport.rest_operation import RestOperation, check_headers, check_query, is_rest_operation
from support.transports import StubSigner

CONFIGURATION = Configuration(host="https://apitest.cybersource.com", auth=StubSigner())
JTI = "1E3YKPGXAMRTRBZ5LNBDXSD0MB1GWKTSJWKXVY1PN0K0ZQ9YP1AB6A0F3B5C9D2E"
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJqdGkiOiIxIn0.c2lnbmF0dXJl"
SECRET = "19PAsNkIkN3B3XqCZmUh8nl0VVxPJLNFi1AORapEuWs="


def build(method: str, path: str, **arguments: Any) -> Any:
    return RestOperation(method, path).build_request(CONFIGURATION, **arguments)


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/pts/v2/payments", "/pts/v2/payments"),
        ("/pts/v2/payments/6595545423896900104953/captures", "/pts/v2/payments/{id}/captures"),
        ("/tms/v2/customers/AB695DA801DD1BB6/payment-instruments/9", "/tms/v2/customers/{id}/payment-instruments/{id}"),
        ("/reporting/v3/report-subscriptions/Daily_report+1", "/reporting/v3/report-subscriptions/{id}"),
        (f"/flex/v2/payment-details/{JTI}", "/flex/v2/payment-details/{id}"),
        ("/flex/v2/payment-credentials/E-firqlLk7GiziQwXxAsq", "/flex/v2/payment-credentials/{id}"),
    ],
)
def test_the_path_is_sent_unchanged_and_telemetry_sees_no_id(path: str, template: str) -> None:
    request = build("get", path)
    assert (request.method, request.target) == ("GET", path)
    assert request.url == f"https://apitest.cybersource.com{path}"
    assert request.operation.path == template
    assert request.operation.name == f"GET {template}"
    assert path in (template, request.target)
    assert repr(request.operation) == f"<Operation GET {template}: GET {template}>"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("https://attacker.example/pts/v2/payments", "path is a URL"),
        ("http://localhost/pts", "path is a URL"),
        ("//attacker.example/pts", "path is a URL"),
        ("///pts", "path is a URL"),
        ("/\\attacker.example", "characters other than"),
        ("\\\\attacker.example", "does not begin with '/'"),
        ("pts/v2/payments", "does not begin with '/'"),
        ("@attacker.example/", "does not begin with '/'"),
        ("", "does not begin with '/'"),
        (" /pts", "does not begin with '/'"),
        ("/", "an empty segment"),
        ("/pts//v2", "an empty segment"),
        ("/pts/v2/payments/", "an empty segment, or ends with '/'"),
        ("/pts/../admin", "a segment '.' or '..'"),
        ("/pts/./v2", "a segment '.' or '..'"),
        ("/..", "a segment '.' or '..'"),
        ("/pts/%2e%2e/admin", "percent-encoding"),
        ("/pts/v2%2Fpayments", "percent-encoding"),
        ("/pts/v2/payments?id=1", "expected the query as params"),
        ("/pts/v2/payments#top", "a fragment"),
        ("/pts/v2/pay ments", "characters other than"),
        ("/pts/v2/payments\r\nHost: attacker.example", "characters other than"),
        ("/pts/v2/pay\tments", "characters other than"),
        ("/pts/v2/payments\0", "characters other than"),
        ("/pts/v2/payments\n", "characters other than"),
        ("/pts/v2/payments;x=1", "characters other than"),
        ("/pts/v2/\u0661", "characters other than"),
        ("/pts/v2/\ud800", "characters other than"),
        ("/pts/v2/" + "a" * 129, "more than 128 characters"),
        ("/a" * 1000, "more than 1024 characters"),
    ],
)
def test_only_plain_relative_paths_are_accepted(path: str, message: str) -> None:
    with pytest.raises(errors.InvalidArgumentError, match=r"^path ") as caught:
        RestOperation("GET", path)
    assert message in str(caught.value)
    assert caught.value.argument == "path"
    assert "attacker" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "credential"),
    [
        (f"/up/v1/payment-details/{JWT}", "a JWT"),
        ("/tms/v2/cards/4111111111111111", "a card number"),
        ("/tms/4111/1111/1111/1111", "a card number"),
        ("/tms/v2/cards/4111-1111-1111-1111", "a card number"),
        (f"/x/{SECRET.rstrip('=').replace('/', '_')}", "a secret or signature in base64"),
        ("/x/eyJhbGciOiJSUzI1NiIsImtpZCI6IjNnIn0", "a part of a JWT or JWE"),
    ],
)
def test_credentials_in_the_path_are_rejected(path: str, credential: str) -> None:
    with pytest.raises(errors.InvalidArgumentError, match=f"^path contains {credential}") as caught:
        RestOperation("GET", path)
    assert path.rpartition("/")[2] not in str(caught.value)


@given(st.text(max_size=40) | st.from_regex(r"/[a-zA-Z0-9./%+~_\-]{0,30}", fullmatch=True))
def test_an_accepted_path_is_the_same_for_every_parser(path: str) -> None:
    """The signed path, the path of the URL, and the path that each HTTP library sends are equal, on the same host."""
    try:
        request = build("GET", path)
    except errors.InvalidArgumentError:
        return
    assert request.target == path
    parsed = urllib3.util.parse_url(request.url)
    assert (parsed.host, parsed.path, parsed.query, parsed.fragment) == ("apitest.cybersource.com", path, None, None)
    split = urlsplit(request.url)
    assert (split.netloc, split.path, split.query, split.fragment) == ("apitest.cybersource.com", path, "", "")
    yarl_url = yarl.URL(request.url)
    assert (yarl_url.host, yarl_url.raw_path, yarl_url.raw_query_string) == ("apitest.cybersource.com", path, "")


@pytest.mark.parametrize(
    "method", ["HEAD", "OPTIONS", "TRACE", "CONNECT", "", "GET /", "G\u0130T", "post\n", "po\u017ft"]
)
def test_other_methods_are_rejected(method: str) -> None:
    with pytest.raises(errors.InvalidArgumentError, match=r"^method must be one of GET, POST, PUT, PATCH, DELETE$"):
        RestOperation(method, "/pts/v2/payments")


def test_the_body_is_json() -> None:
    request = build("PATCH", "/tms/v2/customers/1", body={"a": [1, "\u00e9"], "card": CardFields(number=None)})
    assert request.body == '{"a":[1,"\u00e9"],"card":{}}'.encode()
    assert request.headers == {
        "Accept": "application/json, application/hal+json",
        "Content-Type": "application/json;charset=utf-8",
    }
    request = build("DELETE", "/tms/v2/customers/1")
    assert request.body is None
    assert "Content-Type" not in request.headers


@pytest.mark.parametrize(
    ("method", "body", "message"),
    [
        ("GET", {}, "json was passed, but a GET request has no body"),
        ("DELETE", [], "json was passed, but a DELETE request has no body"),
        ("POST", None, "json is missing"),
        ("PUT", None, "json is missing"),
        ("POST", '{"a": 1}', "json must be a dictionary, a list or a model, not str"),
        ("POST", b"{}", "json must be a dictionary, a list or a model, not bytes"),
        ("POST", 7, "json must be a dictionary, a list or a model, not int"),
    ],
)
def test_wrong_bodies(method: str, body: Any, message: str) -> None:
    with pytest.raises(errors.InvalidArgumentError) as caught:
        RestOperation(method, "/pts/v2/payments").check_body(body)
    assert str(caught.value).startswith(message)
    assert caught.value.argument == "json"


def test_a_query_is_encoded() -> None:
    query = check_query({"q": "a b", "list": [1, True], "none": None, "time": "2026-01-02T00:00:00Z"})
    target = "/reporting/v3/reports?q=a%20b&list=1&list=true&time=2026-01-02T00%3A00%3A00Z"
    assert build("GET", "/reporting/v3/reports", query=query).target == target
    assert check_query(None) == []


@pytest.mark.parametrize("name", ["", "a b", "a&b", "a=b", "\ud800", "x" * 129, JWT, 1, None])
def test_wrong_names_in_a_query(name: Any) -> None:
    with pytest.raises(errors.InvalidArgumentError) as caught:
        check_query({name: "value"})
    assert caught.value.argument == "params"
    assert JWT not in str(caught.value)


def test_credentials_in_a_query_are_rejected() -> None:
    with pytest.raises(errors.InvalidArgumentError, match="'token' was given a JWT"):
        build("GET", "/x", query=check_query({"token": JWT}))


def test_headers_are_added() -> None:
    headers = check_headers({"v-c-idempotency-id": "order-1", "V-C-Solution-Id": "ABC"})
    sent = build("POST", "/pts/v2/payments", headers=headers, body={}).headers
    assert sent["v-c-idempotency-id"] == "order-1"
    assert sent["v-c-solution-id"] == "ABC"


@pytest.mark.parametrize(
    "name",
    [
        *("Accept-Encoding", "Authorization", "Connection", "Content-Encoding", "Content-Length", "Content-Type"),
        *("Date", "Digest", "Expect", "Host", "Keep-Alive", "Proxy-Authorization", "Proxy-Connection", "Signature"),
        *("TE", "Trailer", "Transfer-Encoding", "Upgrade", "User-Agent", "V-C-Merchant-ID", "authorization"),
    ],
)
def test_headers_of_the_client_cannot_be_replaced(name: str) -> None:
    with pytest.raises(errors.InvalidArgumentError, match=f"^headers contains '{name}', which the client sets itself"):
        check_headers({name: "x"})


@pytest.mark.parametrize(
    "headers",
    [
        {"": "x"},
        {"a b": "x"},
        {"a:": "x"},
        {"a": "x\r\nHost: b"},
        {"a": "\x01"},
        {"a": "\u0100"},
        {"a": 1},
        {1: "a"},
        {"a": "x", "A": "y"},
        [("a", "x")],
        "a: x",
    ],
)
def test_wrong_headers(headers: Any) -> None:
    with pytest.raises(errors.InvalidArgumentError) as caught:
        check_headers(headers)
    assert caught.value.argument == "headers"


def parse(body: bytes, content_type: str = "application/json", status: int = 200, accept: str | None = None) -> Any:
    response = Response(status, "OK", {"Content-Type": content_type, "v-c-correlation-id": "abc-1"}, body)
    return RestOperation("GET", "/things", accept=accept).parse_response(response)


@pytest.mark.parametrize(
    ("body", "content_type", "data"),
    [
        (b'{"status":"DECLINED","errorInformation":{"reason":"A","message":"b"}}', "application/hal+json", "DECLINED"),
        (b'{"status":"x"}', "text/plain", "x"),
        (b'{"status":"x"}', "", "x"),
    ],
)
def test_responses_are_parsed_as_json(body: bytes, content_type: str, data: str) -> None:
    result = parse(body, content_type)
    assert result.data["status"] == data
    assert type(result.data) is dict
    assert result.response == errors.ResponseInfo(200, "abc-1", (), 0.0)
    assert repr(result) == f"<ApiResponse 200 with {len(body)}-byte body>"


def test_an_empty_response_has_no_data() -> None:
    assert parse(b"", status=204).data is None


@pytest.mark.parametrize("body", [b"<html></html>", b"{", b"\xff", b"[" * 100_000])
def test_a_successful_response_that_is_not_json(body: bytes) -> None:
    with pytest.raises(
        errors.ResponseDecodingError, match="the call was accepted, but the response is not JSON"
    ) as caught:
        parse(body, "text/html")
    assert caught.value.outcome == "accepted"


def test_other_media_types_are_returned_as_bytes_if_they_were_asked_for() -> None:
    assert parse(b"a,b\n", "text/csv", accept="text/csv").data == b"a,b\n"
    assert parse(b'{"a":1}', "application/json", accept="text/csv").data == {"a": 1}
    assert parse(b'{"a":1}', "application/hal+json", accept="application/hal+json;charset=utf-8").data == {"a": 1}
    with pytest.raises(errors.ResponseDecodingError):
        parse(b"a,b\n", "text/csv", accept="application/hal+json;charset=utf-8")


def test_errors_have_the_format_of_payments() -> None:
    body = b'{"status":"INVALID_REQUEST","reason":"INVALID_DATA","message":"m","details":[{"field":"f","reason":"r"}]}'
    with pytest.raises(errors.BadRequestError) as caught:
        parse(body, status=400)
    error = caught.value
    assert (error.reason, error.details[0].location, error.details[0].reason) == ("INVALID_DATA", "f", "r")
    assert not error.safe_to_retry or error.outcome == "rejected"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("POST /pts/v2/payments", True),
        ("POST /pts/v2/payments/{id}/captures", True),
        ("post /pts/v2/payments", False),
        ("POST pts/v2/payments", False),
        ("POST /pts/v2/payments/123", False),
        ("POST /", False),
        ("POST", False),
        ("", False),
    ],
)
def test_names_for_message_level_encryption(name: str, expected: bool) -> None:
    assert is_rest_operation(name) is expected
