"""Responses with status 200 from something else than the service: login pages, firewalls, and gateways' errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from cybersource_flex import FlexClient, ResponseDecodingError, fields
from cybersource_flex.auth import JwtSharedSecret
from cybersource_flex.emulator import Emulator
from cybersource_flex.transport import RetryPolicy
from support.keys import private_key
from support.servers import RawServer

CORRELATION_ID = "08b69ffe-f79b-4e09-991f-b030058e21f4"
HTML = b"<!DOCTYPE html>\n<html><head><title>Welcome</title></head><body>Log in</body></html>"
CARD = {"number": "4111111111111111", "expirationMonth": "12", "expirationYear": str(datetime.now(UTC).year + 3)}
CARD_FIELDS = fields(card=["number", "expirationMonth", "expirationYear"])

# Body, media type, and what the message says about it.
BODIES: list[tuple[bytes, str, str]] = [
    (HTML, "text/html; charset=utf-8", "HTML (text/html); a proxy"),
    (b"\xef\xbb\xbf\r\n<html>", "application/jwt", "HTML (application/jwt); a proxy"),
    (b'<?xml version="1.0"?><error/>', "application/xml", "XML (application/xml); a proxy"),
    (b"", "", "empty (without a Content-Type); a proxy"),
    (b" \n", "application/json", "empty (application/json); a proxy"),
    (b"Request blocked. Support ID: 17", "text/plain", "plain text or binary data (text/plain); a proxy"),
    (b"\xff\xfe\x00", "application/octet-stream", "plain text or binary data (application/octet-stream); a proxy"),
    (b'{"response":{"rmsg":"Authentication Failed"}}', "application/json", "JSON (application/json): Authentication"),
    (b'{"response":{"rmsg":"Authentication Failed"}}', "application/jwt", "JSON (application/jwt): Authentication"),
    (
        b'{"errors":[{"code":"E1","location":"$.fields","message":"Wrong","reason":"R"}]}',
        "application/json",
        "JSON (application/json): Wrong; $.fields: Wrong (code E1)",
    ),
    (b'{"responseStatus":{"reason":"R","message":"Wrong"}}', "application/json", "JSON (application/json): Wrong"),
    (b'{"reason":"R","message":"Wrong","details":[]}', "application/json", "JSON (application/json): Wrong"),
]


def create_context(client: FlexClient, emulator: Emulator) -> Any:
    return client.create_capture_context(CARD_FIELDS)


def create_microform_context(client: FlexClient, emulator: Emulator) -> Any:
    return client.create_microform_context(
        target_origins=["https://shop.example.com"], allowed_card_networks=["VISA"], allowed_payment_types=["CARD"]
    )


def tokenize(client: FlexClient, emulator: Emulator) -> Any:
    with FlexClient(JwtSharedSecret(**emulator.auth), environment=emulator.url) as other:
        context = other.create_capture_context(CARD_FIELDS)
    return client.tokenize(context, {"card": CARD})


def verify(client: FlexClient, emulator: Emulator) -> Any:
    """Fetches a public key."""
    with FlexClient(JwtSharedSecret(**emulator.auth), environment=emulator.url) as other:
        context = other.create_capture_context(CARD_FIELDS)
    return client.verify_capture_context(context.jwt)


def payment_details(client: FlexClient, emulator: Emulator) -> Any:
    return client.payment_details("A" * 64)


def payment_credentials(client: FlexClient, emulator: Emulator) -> Any:
    return client.payment_credentials("E-firqlLk7GiziQwXxAsq", private_key("response_mle"))


CALLS = [create_context, create_microform_context, tokenize, verify, payment_details, payment_credentials]


def make_response(body: bytes, media_type: str, status: int = 200) -> bytes:
    head = f"HTTP/1.1 {status} OK\r\nv-c-correlation-id: {CORRELATION_ID}\r\nContent-Length: {len(body)}\r\n"
    return (head + (f"Content-Type: {media_type}\r\n" if media_type else "") + "\r\n").encode() + body


@pytest.mark.parametrize(("body", "media_type", "described"), BODIES)
@pytest.mark.parametrize("call", CALLS)
def test_a_success_in_the_wrong_format_is_an_error_of_an_accepted_call(
    call: Callable[..., Any],
    body: bytes,
    media_type: str,
    described: str,
    emulator: Emulator,
    client_class: type[FlexClient],
) -> None:
    with (
        RawServer(default=make_response(body, media_type)) as server,
        client_class(JwtSharedSecret(**emulator.auth), environment=server.url, proxy_from_environment=False) as client,
        pytest.raises(ResponseDecodingError) as caught,
    ):
        call(client, emulator)
    error = caught.value
    assert (error.status, error.outcome, error.correlation_id) == (200, "accepted", CORRELATION_ID)
    assert error.headers.get("Content-Type") == (media_type or None)
    assert error.body == body
    assert len(error.attempts) == 1
    assert "the call was accepted, but the response is not " in str(error)
    assert described in str(error)
    assert "4111111111111111" not in str(error)


@pytest.mark.parametrize("status", [201, 202, 204])
def test_other_statuses_of_success_without_a_body(status: int, emulator: Emulator, client_class: Any) -> None:
    length = "" if status == 204 else "Content-Length: 0\r\n"
    with (
        RawServer(default=f"HTTP/1.1 {status} X\r\n{length}\r\n".encode()) as server,
        client_class(JwtSharedSecret(**emulator.auth), environment=server.url, proxy_from_environment=False) as client,
        pytest.raises(ResponseDecodingError, match="is not a token: it is empty") as caught,
    ):
        client.create_capture_context(CARD_FIELDS)
    assert caught.value.status == status


@pytest.mark.parametrize(
    "content",
    [
        {"status": "ok", "login": "https://portal.example.com"},
        {"encryptedResponse": "a.b.c.d.e"},
        {"keys": []},
    ],
)
def test_json_that_is_not_a_key(content: dict[str, Any], emulator: Emulator, client_class: Any) -> None:
    body = json.dumps(content).encode()
    with (
        RawServer(default=make_response(body, "application/json")) as server,
        client_class(JwtSharedSecret(**emulator.auth), environment=server.url, proxy_from_environment=False) as client,
        pytest.raises(ResponseDecodingError, match="is not a JsonWebKey: it is JSON"),
    ):
        verify(client, emulator)


def test_payment_details_may_have_any_members(emulator: Emulator, client_class: Any) -> None:
    for content in (
        {},
        {"paymentInformation": {"card": {"number": "XXXX"}}, "message": "new"},
        {"response": {"paymentInformation": {}}},
        {"errors": [], "orderInformation": {}},
        {"reason": None, "message": "new"},
    ):
        with (
            RawServer(default=make_response(json.dumps(content).encode(), "text/html")) as server,
            client_class(
                JwtSharedSecret(**emulator.auth), environment=server.url, proxy_from_environment=False
            ) as client,
        ):
            assert client.payment_details("A" * 64, retry=RetryPolicy(attempts=1)) == content
