"""The emulator's operations: sessions, tokens, keys, payment details, and the validation of requests."""

from __future__ import annotations

import base64
import json
import re
import uuid
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from cybersource_flex.emulator import Emulator
from cybersource_flex.emulator.browser import microform
from support.emulator_client import (
    CARD,
    CARD_FIELDS,
    MICROFORM,
    NOW,
    OTHER_MERCHANT,
    SESSIONS,
    TOKENS,
    VALID_BODY,
    Clock,
    card_data,
    create_context,
    encrypt_data,
    error_status,
    get,
    jwt_headers,
    microform_request,
    one_time_key,
    post,
    requested_fields,
    send,
    sha256_base64,
    tokenize,
    verify_jwt,
)
from support.tokens import decode_jwt, decrypt_jwe, oaep


def test_all_five_operations(emulator: Emulator) -> None:
    request = requested_fields(*CARD_FIELDS, billTo=("firstName?", "lastName?"))
    response = post(emulator, SESSIONS, request)
    assert (response.status, response.header("content-type")) == (201, "application/jwt")
    jwt = response.content
    header, claims = decode_jwt(jwt)
    assert list(header) == ["kid", "alg"]
    assert header["alg"] == "RS256"
    assert len(header["kid"]) == 2
    assert list(claims) == ["flx", "ctx", "iss", "exp", "iat", "jti"]
    assert (claims["iss"], claims["iat"], claims["exp"]) == ("Flex API", int(NOW), int(NOW) + 900)
    assert len(claims["jti"]) == 16
    flx = claims["flx"]
    assert (flx["path"], flx["origin"]) == (TOKENS, emulator.url)
    assert len(base64.b64decode(flx["data"], validate=True)) == 83
    assert (flx["jwk"]["use"], flx["jwk"]["e"], len(flx["jwk"]["kid"])) == ("enc", "AQAB", 32)
    card, bill_to = "paymentInformation.card.", "orderInformation.billTo."
    optional = [card + name.rstrip("?") for name in CARD_FIELDS[1:]] + [
        bill_to + "firstName",
        bill_to + "lastName",
    ]
    assert claims["ctx"] == [
        {"data": {"requiredFields": [card + "number"], "optionalFields": optional}, "type": "api-0.1.0"}
    ]

    key = send(emulator, "GET", f"/flex/v2/public-keys/{header['kid']}", {"Accept": "application/json"})
    assert (key.status, list(key.json)) == (200, ["kty", "use", "kid", "n", "e"])
    assert key.json["kid"] == header["kid"]
    assert key.json["use"] == "enc"
    verify_jwt(jwt, key.json)

    created = tokenize(
        emulator, encrypt_data(jwt, card_data({**CARD, "type": "001"}, billTo={"firstName": "Zoë", "lastName": ""}))
    )
    assert (created.status, created.header("content-type")) == (201, "application/jwt"), created.content
    token_header, token = decode_jwt(created.content)
    assert token_header == {"kid": flx["jwk"]["kid"], "alg": "RS256"}
    verify_jwt(created.content, flx["jwk"])
    assert (token["iss"], token["type"]) == ("Flex/00", "api-0.1.0")
    assert token["exp"] - token["iat"] == 900
    assert re.fullmatch("[0-9A-Z]{64}", token["jti"])
    assert token["jti"][52:60] == f"{token['exp']:08X}"
    assert token["content"] == {
        "paymentInformation": {
            "card": {
                "number": {"maskedValue": "XXXXXXXXXXXX1111", "bin": "411111", "detectedCardTypes": ["001"]},
                "expirationMonth": {"value": "12"},
                "expirationYear": {"value": "2031"},
                "securityCode": {},
                "type": {"value": "001"},
            }
        },
        "orderInformation": {"billTo": {"firstName": {}}},
    }

    details = get(emulator, f"/flex/v2/payment-details/{token['jti']}")
    assert (details.status, details.header("content-type")) == (200, "application/json")
    assert details.json == {
        "paymentInformation": {
            "card": {
                "number": "XXXXXXXXXXXX1111",
                "expirationMonth": "12",
                "expirationYear": "2031",
                "type": "001",
            }
        },
        "orderInformation": {"billTo": {"firstName": "Zoë"}},
    }
    # Without payment credentials, neither responses nor stored data contain the number or the code.
    assert get(emulator, "/flex/v2/payment-credentials/E-firqlLk7GiziQwXxAsq").status == 404


def test_every_response_has_the_documented_headers(emulator: Emulator, clock: Clock) -> None:
    clock.now = NOW + 5
    correlation_ids = set()
    for response in (
        post(emulator, SESSIONS, requested_fields("number")),
        post(emulator, SESSIONS, {}),
        send(emulator, "POST", SESSIONS, {}, b"{}"),
        send(emulator, "GET", "/flex/v2/public-keys/nope", {}),
        send(emulator, "GET", "/elsewhere", {}),
        send(emulator, "PUT", TOKENS, {}, b""),
    ):
        assert response.header("date") == "Sun, 22 Nov 2026 12:00:05 GMT"
        assert response.header("server") is None
        correlation_ids.add(response.header("v-c-correlation-id"))
        if response.status not in (401, 405):
            assert response.header("digest") == f"SHA-256={sha256_base64(response.body)}"
    assert len(correlation_ids) == 6
    assert None not in correlation_ids
    assert [item.correlation_id for item in emulator.requests]
    assert correlation_ids == {item.correlation_id for item in emulator.requests}


def test_the_last_eight_long_term_keys_are_published() -> None:
    with Emulator(key_pool=1) as emulator:
        kids = [emulator.rotate_key() for _ in range(9)]
        statuses = [send(emulator, "GET", f"/flex/v2/public-keys/{kid}", {}).status for kid in kids]
        assert statuses == [404] + [200] * 8


def test_each_context_has_a_new_one_time_key(emulator: Emulator) -> None:
    first, second = create_context(emulator), create_context(emulator)
    assert one_time_key(first)["n"] != one_time_key(second)["n"]
    assert one_time_key(first)["kid"] != one_time_key(second)["kid"]


def test_payment_details_are_available_to_their_merchant_until_they_expire(emulator: Emulator, clock: Clock) -> None:
    jti = decode_jwt(tokenize(emulator, encrypt_data(create_context(emulator), card_data(CARD))).content)[1]["jti"]
    path = f"/flex/v2/payment-details/{jti}"
    assert get(emulator, path, OTHER_MERCHANT).status == 404
    assert get(emulator, "/flex/v2/payment-details/" + "0" * 64).status == 404
    assert send(emulator, "GET", path, {}).status == 401
    assert get(emulator, path).status == 200
    clock.now = NOW + 899
    in_time = jwt_headers(emulator, "GET", path, None, iat=int(clock.now), exp=int(clock.now) + 60)
    assert send(emulator, "GET", path, in_time).status == 200
    clock.now = NOW + 900
    late = jwt_headers(emulator, "GET", path, None, iat=int(clock.now), exp=int(clock.now) + 60)
    assert send(emulator, "GET", path, late).status == 404


def test_payment_credentials() -> None:
    with Emulator(payment_credentials=True, key_pool=1, clock=lambda: NOW) as emulator:
        claims = decode_jwt(tokenize(emulator, encrypt_data(create_context(emulator), card_data(CARD))).content)[1]
        (reference,) = claims["paymentCredentialsReference"].values()
        assert list(claims["paymentCredentialsReference"]) == [emulator.auth["merchant_id"]]
        assert re.fullmatch("[A-Za-z0-9_-]{21}", reference)
        response = get(emulator, f"/flex/v2/payment-credentials/{reference}")
        assert (response.status, response.header("content-type")) == (200, "application/jwt")
        key = serialization.load_pem_private_key(emulator.credentials_key_pem, None)
        assert isinstance(key, rsa.RSAPrivateKey)
        header, plaintext = decrypt_jwe(response.content, key)
        assert (header["alg"], header["enc"], header["cty"]) == ("RSA-OAEP-256", "A256GCM", "JWT")
        assert str(uuid.UUID(header["kid"])) == header["kid"]
        jwt_header, _ = decode_jwt(plaintext.decode())
        long_term = send(emulator, "GET", f"/flex/v2/public-keys/{jwt_header['kid']}", {}).json
        payload = verify_jwt(plaintext.decode(), long_term)
        assert jwt_header["cty"] == "json+pc"
        assert (payload["iss"], payload["sub"]) == ("https://flex.visa.com", emulator.auth["merchant_id"])
        expected = {name: value for name, value in CARD.items() if name != "securityCode"}
        assert payload["paymentInformation"] == {"card": expected}


def tree(**card: Any) -> dict[str, Any]:
    return {"fields": {"paymentInformation": {"card": card}}}


INVALID_SESSIONS: list[tuple[Any, str]] = [
    ({}, "fields"),
    ({"fields": {}}, "fields"),
    ({"fields": None}, "fields"),
    ({"fields": []}, "fields"),
    ({"fields": {"paymentInformation": {"card": {}}}}, "fields"),
    ({**requested_fields("number"), "targetOrigins": []}, "targetOrigins"),
    (tree(number=True), "fields.paymentInformation.card.number"),
    (tree(number={"required": "true"}), "fields.paymentInformation.card.number"),
    (tree(number={"required": None}), "fields.paymentInformation.card.number"),
    (tree(number={"needed": True}), "fields.paymentInformation.card.number"),
    (tree(cvv={}), "fields.paymentInformation.card.cvv"),
    ({"fields": {"paymentInformation": {"card": []}}}, "fields.paymentInformation.card"),
    ({"fields": {"number": {}}}, "fields.number"),
    ({"paymentInformation": {"card": {"number": {}, "x": {}}}}, "paymentInformation.card.x"),
]


@pytest.mark.parametrize(("body", "location"), INVALID_SESSIONS, ids=range(len(INVALID_SESSIONS)))
def test_invalid_session_requests(emulator: Emulator, body: Any, location: str) -> None:
    response = post(emulator, SESSIONS, body)
    assert response.status == 400
    assert set(response.json) == {"correlationId", "details", "informationLink", "message", "reason"}
    assert response.json["correlationId"] == response.header("v-c-correlation-id")
    assert location in [detail["location"] for detail in response.json["details"]]
    for part in (response.json, *response.json["details"]):
        assert isinstance(part["message"], str)
        assert len(part["message"]) > 5
    assert location in (emulator.requests[-1].rejection_reason or "")


INVALID_JSON = [
    b"",
    b"{",
    b"[]",
    b'"x"',
    b"\xff\xfe",
    b'{"fields":NaN}',
    b"[" * 200_000,
    b'{"a":' * 100_000,
    b"9" * 9_000,
]


@pytest.mark.parametrize("path", [SESSIONS, MICROFORM])
@pytest.mark.parametrize("body", INVALID_JSON, ids=range(len(INVALID_JSON)))
def test_invalid_json(emulator: Emulator, path: str, body: bytes) -> None:
    assert send(emulator, "POST", path, jwt_headers(emulator, "POST", path, body), body).status == 400


def test_media_types_and_verbs(emulator: Emulator) -> None:
    def sessions(path: str = SESSIONS, **headers: str) -> int:
        return send(
            emulator, "POST", path, {**jwt_headers(emulator, "POST", path, VALID_BODY), **headers}, VALID_BODY
        ).status

    assert sessions(Accept="text/html, application/json") == 406
    assert sessions(Accept="application/jwt;q=0") == 406
    assert sessions(Accept="text/html, application/jwt;q=0.5") == 201
    assert sessions(Accept="application/*") == 201
    assert sessions(Accept="*/*") == 201
    assert sessions(**{"Content-Type": "text/plain"}) == 415
    assert sessions(**{"Content-Type": "Application/JSON; charset=UTF-8"}) == 201
    assert sessions(SESSIONS + "/") == 404
    for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "BREW"):
        response = send(emulator, method, SESSIONS, {})
        assert (response.status, response.header("allow")) == (405, "POST")
    assert send(emulator, "POST", "/flex/v2/public-keys/ab", {}, b"").header("allow") == "GET"
    assert send(emulator, "GET", "/flex/v2/public-keys/", {}).status == 404
    assert send(emulator, "GET", "/flex/v2/public-keys/a%2Fb", {}).status == 404
    assert send(emulator, "GET", "/flex", {}).status == 404


def test_large_bodies(emulator: Emulator) -> None:
    body = b" " * (1 << 20) + b"{}"
    response = send(emulator, "POST", SESSIONS, jwt_headers(emulator, "POST", SESSIONS, body), body)
    assert response.status == 413
    assert emulator.requests[-1].body == b""
    assert post(emulator, SESSIONS, requested_fields("number")).status == 201


def test_additional_ship_to_fields_are_accepted(emulator: Emulator) -> None:
    context = create_context(emulator, requested_fields("number", shipTo=("email", "phoneNumber?")))
    assert decode_jwt(context)[1]["ctx"][0]["data"] == {
        "requiredFields": ["paymentInformation.card.number", "orderInformation.shipTo.email"],
        "optionalFields": ["orderInformation.shipTo.phoneNumber"],
    }


def test_extra_fields() -> None:
    with Emulator(extra_fields=["paymentInformation.card.newField"], key_pool=1, clock=lambda: NOW) as emulator:
        context = create_context(emulator, tree(number={}, newField={}))
        created = tokenize(emulator, encrypt_data(context, card_data({"number": CARD["number"], "newField": "x"})))
        assert decode_jwt(created.content)[1]["content"]["paymentInformation"]["card"]["newField"] == {}


WRONG_MICROFORM: list[tuple[dict[str, Any], str]] = [
    ({"clientVersion": None}, "clientVersion"),
    ({"clientVersion": "v1"}, "clientVersion"),
    ({"clientVersion": 2}, "clientVersion"),
    ({"unknown": 1}, "unknown"),
    ({"targetOrigins": None}, "targetOrigins"),
    ({"targetOrigins": "https://a.example"}, "targetOrigins"),
    ({"targetOrigins": []}, "targetOrigins"),
    ({"targetOrigins": [1]}, "targetOrigins"),
    *(
        ({"targetOrigins": [origin]}, "targetOrigins")
        for origin in (
            "http://shop.example.com",
            "http://127.0.0.1:3000",
            "https://*.example.com",
            "https://shop.example.com/",
            "https://shop.example.com/path",
            "https://shop.example.com?x",
            "https://user@shop.example.com",
            "https://shop.example.com:0",
            "https://shop.example.com:70000",
            "https://",
            "shop.example.com",
            "http://localhost.example.com",
            "https://shop.example.com\n",
        )
    ),
    ({"targetOrigins": [f"https://s{n}.example.com" for n in range(10)]}, "targetOrigins"),
    ({"allowedCardNetworks": None}, "allowedCardNetworks"),
    ({"allowedCardNetworks": []}, "allowedCardNetworks"),
    ({"allowedCardNetworks": ["KSCP"]}, "allowedCardNetworks"),
    ({"allowedCardNetworks": ["visa"]}, "allowedCardNetworks"),
    ({"allowedCardNetworks": [["VISA"]]}, "allowedCardNetworks"),
    ({"allowedPaymentTypes": []}, "allowedPaymentTypes"),
    ({"allowedPaymentTypes": ["CASH"]}, "allowedPaymentTypes"),
    ({"allowedCardNetworks": None, "allowedPaymentTypes": ["CARD", "CHECK"]}, "allowedCardNetworks"),
    ({"transientTokenResponseOptions": []}, "transientTokenResponseOptions"),
    ({"transientTokenResponseOptions": {"x": 1}}, "transientTokenResponseOptions"),
    (
        {"transientTokenResponseOptions": {"includeCardPrefix": "no"}},
        "transientTokenResponseOptions.includeCardPrefix",
    ),
]


@pytest.mark.parametrize(("changes", "location"), WRONG_MICROFORM, ids=range(len(WRONG_MICROFORM)))
def test_invalid_microform_requests(emulator: Emulator, changes: dict[str, Any], location: str) -> None:
    response = post(emulator, MICROFORM, microform_request(**changes))
    assert response.status == 400
    status = response.json["responseStatus"]
    assert set(status) == {"status", "reason", "message", "correlationId", "details"}
    assert (status["status"], status["reason"]) == (400, "UNIFIEDPAYMENTS_VALIDATION_FIELDS")
    assert status["correlationId"] == response.header("v-c-correlation-id")
    assert [detail["location"] for detail in status["details"]] == [location]
    assert response.json["_links"]["self"] == {"href": emulator.url + MICROFORM, "method": "POST"}


@pytest.mark.parametrize(
    ("changes", "messages"),
    [
        (
            {"targetOrigins": ["https://shop.example.com", "http://127.0.0.1:3000", "https://a.example/"]},
            ['"http://127.0.0.1:3000"', '"https://a.example/"'],
        ),
        ({"allowedCardNetworks": ["VISA", "visa", "XX"]}, ['"visa"', '"XX"']),
        ({"allowedPaymentTypes": ["CARD", "CASH"]}, ['"CASH"']),
        ({"allowedCardNetworks": ["x" * 500]}, ['"xxx']),
        ({"allowedCardNetworks": ["\x1b[2J"]}, ['"\\u001b[2J"']),
    ],
)
def test_errors_of_microform_sessions_name_the_rejected_value(
    emulator: Emulator, changes: dict[str, Any], messages: list[str]
) -> None:
    details = post(emulator, MICROFORM, microform_request(**changes)).json["responseStatus"]["details"]
    assert len(details) == len(messages)
    for detail, message in zip(details, messages, strict=True):
        assert message in detail["message"]
        assert len(detail["message"]) < 400


@pytest.mark.parametrize(
    ("path", "body", "name"),
    [
        (SESSIONS, b'{"fields": {}, "fields": {"paymentInformation": {"card": {"number": {}}}}}', "fields"),
        (SESSIONS, b'{"fields": {"paymentInformation": {"card": {"number": {}, "number": {}}}}}', "number"),
        (MICROFORM, b'{"clientVersion": "v2", "targetOrigins": [], "clientVersion": "v2"}', "clientVersion"),
    ],
)
def test_a_body_with_a_member_twice_is_rejected(emulator: Emulator, path: str, body: bytes, name: str) -> None:
    headers = {**jwt_headers(emulator, "POST", path, body), "Accept": "application/jwt"}
    response = send(emulator, "POST", path, headers, body)
    assert response.status == 400
    error = response.json if path == SESSIONS else error_status(response)
    assert error["message"] == "The request body has a member twice"
    assert [detail["location"] for detail in error["details"]] == [name]


@pytest.mark.parametrize("twice", ["index", "data"])
def test_captured_data_with_a_member_twice_is_rejected(emulator: Emulator, twice: str) -> None:
    context = create_context(emulator)
    data = json.dumps(card_data(CARD))
    members = f'"context": {json.dumps(context)}, "index": 0, "data": {data}'
    plaintext = f"{{{members}, {json.dumps(twice)}: {data if twice == 'data' else 0}}}"
    response = tokenize(emulator, encrypt_data(context, {}, plaintext=plaintext.encode()))
    assert response.status == 400
    assert error_status(response)["message"] == "The decrypted content has a member twice"
    response = tokenize(emulator, encrypt_data(context, {}, plaintext=f"{{{members}}}".encode()))
    assert response.status == 201


@pytest.mark.parametrize("types", [["CASH"], ["CARD", "CASH"], [], "CARD", [1]])
def test_a_wrong_payment_type_gets_the_reported_message(emulator: Emulator, types: Any) -> None:
    status = error_status(post(emulator, MICROFORM, microform_request(allowedPaymentTypes=types)))
    assert status["reason"] == "UNIFIEDPAYMENTS_VALIDATION_FIELDS"
    assert status["message"] == "Possible allowed payment types: [CARD, CHECK]"
    both = microform_request(allowedPaymentTypes=types, targetOrigins=[])
    assert error_status(post(emulator, MICROFORM, both))["message"] == "One or more validation errors occurred"


@pytest.mark.parametrize(
    ("changes", "locations"),
    [
        ({"targetOrigins": [], "allowedPaymentTypes": ["CASH"]}, ["$.targetOrigins", "$.allowedPaymentTypes"]),
        (
            {"transientTokenResponseOptions": {"includeCardPrefix": 1}},
            ["$.transientTokenResponseOptions.includeCardPrefix"],
        ),
        ({"unknown": 1}, ["$.unknown"]),
    ],
)
def test_the_list_of_errors_of_microform_sessions_by_option(changes: dict[str, Any], locations: list[str]) -> None:
    with Emulator(microform_error_list=True, key_pool=1, clock=lambda: NOW) as emulator:
        response = post(emulator, MICROFORM, microform_request(**changes))
        assert response.status == 400
        assert set(response.json) == {"errors"}
        assert [error["location"] for error in response.json["errors"]] == locations
        for error in response.json["errors"]:
            assert set(error) == {"code", "location", "message", "reason"}
            assert error["reason"] == "UNIFIEDPAYMENTS_VALIDATION_FIELDS"
        assert post(emulator, SESSIONS, {}).json["reason"] == "UNIFIEDPAYMENTS_VALIDATION_FIELDS"
        body = b"no JSON"
        headers = {**jwt_headers(emulator, "POST", MICROFORM, body), "Accept": "application/jwt"}
        (error,) = send(emulator, "POST", MICROFORM, headers, body).json["errors"]
        assert (error["location"], error["reason"]) == ("$", "UNIFIEDPAYMENTS_VALIDATION_PARAMS")


def test_a_client_version_that_is_not_documented_is_accepted_with_a_remark(emulator: Emulator) -> None:
    for version, remarks in (("v2", ()), ("v2.0", ('clientVersion is "v2.0"; the documentation has "v2"',))):
        assert post(emulator, MICROFORM, microform_request(clientVersion=version)).status == 201
        assert emulator.requests[-1].remarks == remarks


def test_loopback_origins_are_accepted_by_option() -> None:
    origins = ["http://127.0.0.1:3000", "http://[::1]:3000", "http://shop.localhost:3000", "http://localhost"]
    with Emulator(loopback_origins=True, key_pool=1, clock=lambda: NOW) as emulator:
        claims = decode_jwt(create_context(emulator, microform_request(targetOrigins=origins), MICROFORM))[1]
        assert claims["ctx"][0]["data"]["targetOrigins"] == origins
        for origin in (
            "http://shop.example.com",
            "http://127.0.0.1.example.com",
            "http://127.0.0.1/",
            "http://10.0.0.1",
        ):
            assert post(emulator, MICROFORM, microform_request(targetOrigins=[origin])).status == 400


def test_microform_context(emulator: Emulator) -> None:
    origins = ["https://shop.example.com:8443", "http://localhost:3000", "http://localhost"]
    claims = decode_jwt(create_context(emulator, microform_request(targetOrigins=origins), MICROFORM))[1]
    assert claims["ctx"] == [
        {
            "data": {
                "clientLibraryIntegrity": microform.client_library_integrity(),
                "clientLibrary": emulator.url + "/microform/bundle/v2.5.1/flex-microform.min.js",
                "targetOrigins": origins,
                "mfOrigin": emulator.url,
                "allowedCardNetworks": ["VISA", "MASTERCARD", "AMEX"],
                "allowedPaymentTypes": ["CARD"],
            },
            "type": "mf-2.1.0",
        }
    ]
    check = decode_jwt(
        create_context(emulator, microform_request(allowedCardNetworks=None, allowedPaymentTypes=["CHECK"]), MICROFORM)
    )[1]
    assert "allowedCardNetworks" not in check["ctx"][0]["data"]


def test_published_requests_are_accepted(emulator: Emulator, reference: Path) -> None:
    files = sorted((reference / "samples" / "requests").glob("*-sessions-*.json"))
    assert len(files) >= 9
    for file in files:
        path = MICROFORM if file.name.startswith("microform") else SESSIONS
        body = file.read_bytes()
        response = send(emulator, "POST", path, jwt_headers(emulator, "POST", path, body), body)
        assert response.status == 201, (file.name, response.content)


def test_the_published_plaintext_is_accepted(emulator: Emulator, reference: Path) -> None:
    samples = reference / "samples" / "requests"
    context = create_context(
        emulator, json.loads((samples / "flex-sessions-maximum.guide-without-fields-wrapper.json").read_text())
    )
    plaintext = json.loads((samples / "tokens-jwe-plaintext.guide.json").read_text())
    header = json.loads((samples / "tokens-jwe-protected-header.guide.json").read_text())
    assert set(header) == {"alg", "enc", "kid"}
    created = tokenize(emulator, encrypt_data(context, plaintext["data"]))
    assert created.status == 201, created.content
    card = decode_jwt(created.content)[1]["content"]["paymentInformation"]["card"]
    assert set(card) == {"number", "expirationMonth", "expirationYear"}


@pytest.mark.parametrize(
    "data",
    [
        card_data(CARD),
        {f"paymentInformation.card.{name}": value for name, value in CARD.items()},
        {"paymentInformation": {"card.number": CARD["number"]}},
    ],
    ids=["nested", "dotted", "mixed"],
)
def test_forms_of_captured_data(emulator: Emulator, data: dict[str, Any]) -> None:
    assert tokenize(emulator, encrypt_data(create_context(emulator), data)).status == 201


def test_envelopes(emulator: Emulator) -> None:
    context = create_context(emulator)
    jwe = encrypt_data(context, card_data(CARD), iat=1, jti="a" * 32)
    assert tokenize(emulator, jwe, "application/jwt; charset=UTF-8").status == 201
    assert tokenize(emulator, json.dumps({"keyId": jwe}), "application/json; charset=utf-8").status == 201
    assert tokenize(emulator, json.dumps({"keyId": 5}), "application/json").status == 400
    assert tokenize(emulator, "[]", "application/json").status == 400
    assert tokenize(emulator, jwe, "text/plain").status == 415
    assert send(emulator, "POST", TOKENS, {}, jwe.encode()).status == 415
    assert send(emulator, "POST", TOKENS, {"Content-Type": "application/jwt"}, b"\xff\xff").status == 400


INVALID_JWE: list[tuple[str, dict[str, Any], str]] = [
    ("alg", {"header": {"alg": "RSA-OAEP-256"}, "oaep": oaep()}, "API_JWE_PARSING_ERROR"),
    ("enc", {"header": {"enc": "A128GCM"}}, "API_JWE_PARSING_ERROR"),
    ("zip", {"header": {"zip": "DEF"}}, "API_JWE_PARSING_ERROR"),
    ("crit", {"header": {"crit": ["x"]}}, "API_JWE_PARSING_ERROR"),
    ("no kid", {"header": {"kid": None}}, "API_JWE_PARSING_ERROR"),
    ("long iv", {"iv": b"1" * 16}, "API_JWE_PARSING_ERROR"),
    ("other kid", {"header": {"kid": "0" * 32}}, "CREATE_TOKEN_CAPTURE_CONTEXT_NOT_FOUND"),
    ("OAEP with SHA-256", {"oaep": oaep()}, "CREATE_TOKEN_DECRYPTION"),
    ("short key", {"key_size": 16}, "CREATE_TOKEN_DECRYPTION"),
    ("no associated data", {"aad": b""}, "CREATE_TOKEN_DECRYPTION"),
    ("no JSON", {"plaintext": b"hello"}, "API_JSON_PARSER_ERROR"),
    ("no object", {"plaintext": b"[]"}, "API_JSON_PARSER_ERROR"),
    ("no context", {"context": None}, "CAPTURE_CONTEXT_INVALID"),
    ("index", {"index": 1}, "API_JSON_PARSER_ERROR"),
    ("index Boolean", {"index": False}, "API_JSON_PARSER_ERROR"),
    ("no index", {"index": None}, "API_JSON_PARSER_ERROR"),
    ("unknown member", {"more": 1}, "API_JSON_PARSER_ERROR"),
    ("data in a list", {"plaintext": b'{"data": []}'}, "CAPTURE_CONTEXT_INVALID"),
]


@pytest.mark.parametrize(("changes", "reason"), [c[1:] for c in INVALID_JWE], ids=[c[0] for c in INVALID_JWE])
def test_invalid_jwe(emulator: Emulator, changes: dict[str, Any], reason: str) -> None:
    response = tokenize(emulator, encrypt_data(create_context(emulator), card_data(CARD), **changes))
    assert (response.status, error_status(response)["reason"]) == (400, reason)


@pytest.mark.parametrize("data", [[], [{}], "number", 3])
def test_captured_data_must_be_an_object(emulator: Emulator, data: Any) -> None:
    response = tokenize(emulator, encrypt_data(create_context(emulator), data))
    status = error_status(response)
    assert (response.status, status["reason"]) == (400, "API_JSON_PARSER_ERROR")


def test_damaged_jwe(emulator: Emulator) -> None:
    jwe = encrypt_data(create_context(emulator), card_data(CARD))
    parts = jwe.split(".")
    for malformed in (
        "",
        "abc",
        ".".join(parts[:4]),
        jwe + ".",
        jwe + "=",
        ".".join((parts[0], "", *parts[2:])),
        ".".join((*parts[:4], parts[4][:-4])),
    ):
        assert error_status(tokenize(emulator, malformed))["reason"] == "API_JWE_PARSING_ERROR"
    for position in (1, 3, 4):
        changed = list(parts)
        changed[position] = ("B" if changed[position][0] == "A" else "A") + changed[position][1:]
        assert error_status(tokenize(emulator, ".".join(changed)))["reason"] == "CREATE_TOKEN_DECRYPTION"


def test_the_encrypted_context_must_match_the_key(emulator: Emulator, clock: Clock) -> None:
    first, second = create_context(emulator), create_context(emulator)
    for other in (second, first + " ", first[:-1], ""):
        assert (
            error_status(tokenize(emulator, encrypt_data(first, card_data(CARD), context=other)))["reason"]
            == "CAPTURE_CONTEXT_INVALID"
        )
    jwe = encrypt_data(first, card_data(CARD))
    clock.now = NOW + 899
    assert tokenize(emulator, jwe).status == 201
    clock.now = NOW + 900
    assert error_status(tokenize(emulator, jwe))["reason"] == "CAPTURE_CONTEXT_EXPIRED"
    # An expired context is deleted when another one is created.
    clock.now = NOW + 1900
    body = json.dumps(requested_fields("number")).encode()
    headers = jwt_headers(emulator, "POST", SESSIONS, body, iat=int(clock.now), exp=int(clock.now) + 9)
    assert send(emulator, "POST", SESSIONS, headers, body).status == 201
    assert error_status(tokenize(emulator, jwe))["reason"] == "CREATE_TOKEN_CAPTURE_CONTEXT_NOT_FOUND"


def test_uses_of_a_context_are_counted() -> None:
    with Emulator(context_uses=2, key_pool=1, clock=lambda: NOW) as emulator:
        context = create_context(emulator)
        assert (
            tokenize(emulator, encrypt_data(context, card_data({**CARD, "number": "4111111111111112"}))).status == 400
        )
        assert [tokenize(emulator, encrypt_data(context, card_data(CARD))).status for _ in range(3)] == [201, 201, 400]
        response = tokenize(emulator, encrypt_data(context, card_data(CARD)))
        assert error_status(response)["reason"] == "CREATE_TOKEN_CAPTURE_CONTEXT_USED_TOO_MANY_TIMES"


@pytest.mark.parametrize("option", [True, False])
def test_a_context_used_too_often_names_the_quota_by_option(option: bool) -> None:
    with Emulator(context_uses=1, quota_details=option, key_pool=1, clock=lambda: NOW) as emulator:
        context = create_context(emulator)
        assert tokenize(emulator, encrypt_data(context, card_data(CARD))).status == 201
        status = error_status(tokenize(emulator, encrypt_data(context, card_data(CARD))))
        assert status["reason"] == "CREATE_TOKEN_CAPTURE_CONTEXT_USED_TOO_MANY_TIMES"
        assert [detail["reason"] for detail in status["details"]] == ["RESOURCE_QUOTA_EXCEEDED"] * option


INVALID_CARDS: list[tuple[dict[str, Any], str, str]] = [
    ({"number": None}, "captureData.number", "missing"),
    ({"number": ""}, "captureData.number", "missing"),
    ({"number": 4111111111111111}, "captureData.number", "string"),
    ({"number": ["4111111111111111"]}, "captureData.number", "string"),
    ({"number": "4111 1111 1111 1111"}, "captureData.number", "format"),
    ({"number": "41111111111"}, "captureData.number", "format"),
    ({"number": "4" * 20}, "captureData.number", "format"),
    ({"number": "٤١١١١١١١١١١١١١١١"}, "captureData.number", "format"),
    ({"number": "4111111111111112"}, "captureData.number", "Invalid card number"),
    ({"expirationMonth": "13"}, "captureData.expirationMonth", "format"),
    ({"expirationMonth": "00"}, "captureData.expirationMonth", "format"),
    ({"expirationMonth": "1"}, "captureData.expirationMonth", "format"),
    ({"expirationYear": "31"}, "captureData.expirationYear", "format"),
    ({"expirationYear": "2025"}, "captureData.expirationYear", "expired"),
    ({"expirationYear": "2026", "expirationMonth": "10"}, "captureData.expirationMonth", "expired"),
    ({"securityCode": "12"}, "captureData.securityCode", "Invalid security code format"),
    ({"securityCode": "1234"}, "captureData.securityCode", "Invalid security code format"),
    ({"securityCode": "12a"}, "captureData.securityCode", "Invalid security code format"),
    ({"number": "378282246310005"}, "captureData.securityCode", "Invalid security code format"),
    ({"type": "visa"}, "captureData.type", "Unknown"),
    ({"type": "022"}, "captureData.type", "Unknown"),
    ({"type": "002"}, "captureData.type", "does not match"),
    ({"cardholder": "x"}, "captureData.cardholder", "does not list"),
    ({"number": {"value": "4111111111111111"}}, "captureData.number.value", "does not list"),
]


@pytest.mark.parametrize(("changes", "location", "message"), INVALID_CARDS, ids=range(len(INVALID_CARDS)))
def test_invalid_cards(emulator: Emulator, changes: dict[str, Any], location: str, message: str) -> None:
    card = {name: value for name, value in {**CARD, **changes}.items() if value is not None}
    response = tokenize(emulator, encrypt_data(create_context(emulator), card_data(card)))
    status = error_status(response)
    assert (response.status, status["reason"]) == (400, "CREATE_TOKEN_VALIDATION_SERVERSIDE")
    (detail,) = [detail for detail in status["details"] if detail["location"] == location]
    assert message in detail["message"]
    assert CARD["number"] not in response.content + repr(emulator.requests[-1]) + (
        emulator.requests[-1].rejection_reason or ""
    )


def test_the_response_lists_every_error(emulator: Emulator) -> None:
    response = tokenize(
        emulator,
        encrypt_data(
            create_context(emulator, requested_fields("number", "securityCode", billTo=("email",))),
            card_data({"x": "1"}),
        ),
    )
    locations = {detail["location"] for detail in error_status(response)["details"]}
    expected = {"number", "securityCode", "x", "orderInformation.billTo.email"}
    assert locations == {f"captureData.{name}" for name in expected}


def test_empty_data(emulator: Emulator) -> None:
    for data in ({}, card_data({}), card_data({"number": ""})):
        assert (
            error_status(tokenize(emulator, encrypt_data(create_context(emulator), data)))["reason"]
            == "CREATE_TOKEN_NO_DATA_SUBMITTED"
        )


GOOD_CARDS: list[dict[str, str]] = [
    {"number": "378282246310005", "securityCode": "1234", "type": "003"},
    {"number": "5555555555554444", "securityCode": "123", "type": "002"},
    {"number": "2222420000001113"},
    {"number": "6011111111111117", "type": "004"},
    {"number": "3566111111111113", "type": "007"},
    {"number": "50339619890917", "type": "042"},
    {"number": "586824160825533338"},
    {"number": "5641821111166669", "type": "024"},
    {"number": "135412345678911", "type": "040"},
    {"number": "4360000001000005", "type": "036"},
    {"number": "4464040000000007", "type": "060"},
    {"number": "4111111111111111", "expirationMonth": "11", "expirationYear": "2026"},
]


@pytest.mark.parametrize("card", GOOD_CARDS, ids=lambda card: card["number"])
def test_valid_cards(emulator: Emulator, card: dict[str, str]) -> None:
    response = tokenize(emulator, encrypt_data(create_context(emulator), card_data(card)))
    assert response.status == 201, response.content


def test_luhn_and_expiry_checks_can_be_disabled() -> None:
    with Emulator(check_luhn=False, check_expiry=False, key_pool=1, clock=lambda: NOW) as emulator:
        card = {**CARD, "number": "4111111111111112", "expirationYear": "1998"}
        assert tokenize(emulator, encrypt_data(create_context(emulator), card_data(card))).status == 201


@pytest.mark.parametrize(
    "data",
    [CARD, {"CARD": CARD}, card_data(CARD)],
    ids=["bare names", "below CARD", "nested"],
)
def test_microform_data(emulator: Emulator, data: dict[str, Any]) -> None:
    context = create_context(emulator, microform_request(), MICROFORM)
    response = tokenize(emulator, encrypt_data(context, data))
    assert response.status == 201, response.content
    claims = verify_jwt(response.content, one_time_key(context))
    assert claims["type"] == "mf-2.1.0"
    assert claims["content"]["paymentInformation"]["card"]["number"] == {
        "maskedValue": "XXXXXXXXXXXX1111",
        "bin": "411111",
        "detectedCardTypes": ["001"],
    }


def test_microform_networks(emulator: Emulator) -> None:
    def reason(card: dict[str, str], *networks: str) -> str | None:
        response = tokenize(
            emulator,
            encrypt_data(
                create_context(emulator, microform_request(allowedCardNetworks=list(networks)), MICROFORM), card
            ),
        )
        return None if response.status == 201 else str(error_status(response)["reason"])

    mastercard = {"number": "5555555555554444"}
    assert reason(mastercard, "VISA", "AMEX") == "CREATE_TOKEN_CARD_TYPE_NOT_ALLOWED"
    assert reason(mastercard, "VISA", "MASTERCARD") is None
    # mada publishes no ranges: a card belongs to it if its type code says so.
    visa = {"number": "4111111111111111"}
    assert reason(visa, "MADA") == "CREATE_TOKEN_CARD_TYPE_NOT_ALLOWED"
    assert reason({**visa, "type": "060"}, "MADA") is None
    both = encrypt_data(
        create_context(emulator, microform_request(allowedCardNetworks=["CARTESBANCAIRES", "VISA"]), MICROFORM),
        {"number": "4360000001000005"},
    )
    claims = decode_jwt(tokenize(emulator, both).content)[1]
    assert claims["content"]["paymentInformation"]["card"]["number"]["detectedCardTypes"] == ["036", "001"]


@pytest.mark.parametrize(
    ("include", "number", "expected"),
    [
        (None, "4111111111111111", "411111"),
        (True, "4111111111111111", "41111111"),
        (True, "378282246310005", "378282"),
        (False, "4111111111111111", None),
    ],
)
def test_card_prefix(emulator: Emulator, include: bool | None, number: str, expected: str | None) -> None:
    options = None if include is None else {"includeCardPrefix": include}
    context = create_context(emulator, microform_request(transientTokenResponseOptions=options), MICROFORM)
    claims = decode_jwt(tokenize(emulator, encrypt_data(context, {"number": number})).content)[1]
    assert claims["content"]["paymentInformation"]["card"]["number"].get("bin") == expected


def test_echeck(emulator: Emulator) -> None:
    context = create_context(
        emulator, microform_request(allowedCardNetworks=None, allowedPaymentTypes=["CHECK"]), MICROFORM
    )
    account = {"number": "4100123", "numberConfirm": "4100123", "type": "C"}
    good = {"CHECK": {"routingNumber": "121042882", "account": account}}
    assert decode_jwt(tokenize(emulator, encrypt_data(context, good)).content)[1]["content"]["paymentInformation"] == {
        "bank": {"routingNumber": {}, "account": {"number": {}, "type": {}}},
        "paymentType": {"name": {"value": "CHECK"}},
    }
    wrong = {"CHECK": {"routingNumber": "1", "account": {**account, "numberConfirm": "4100124", "type": "?"}}}
    assert len(error_status(tokenize(emulator, encrypt_data(context, wrong)))["details"]) == 3
    assert tokenize(emulator, encrypt_data(context, CARD)).status == 400


BANK = {"routingNumber": "121042882", "account": {"number": "4100123"}}


@pytest.mark.parametrize(
    ("types", "data", "message"),
    [
        (["CHECK"], {"number": "4111111111111111"}, "does not allow the payment type CARD"),
        (["CHECK"], {"CARD": {"number": "4111111111111111"}}, "does not allow the payment type CARD"),
        (["CARD"], {"CHECK": BANK}, "does not allow the payment type CHECK"),
        (None, {"paymentInformation": {"bank": BANK}}, "does not allow the payment type CHECK"),
        (["CARD", "CHECK"], {"CARD": {"number": "4111111111111111"}, "CHECK": BANK}, "of two payment types"),
        (["CARD", "CHECK"], {"CARD": {"number": "4111111111111111"}}, None),
        (["CARD", "CHECK"], {"CHECK": BANK}, None),
        (["CHECK"], {"paymentInformation": {"bank": BANK}}, None),
        (["CHECK"], {"CHECK.routingNumber": "121042882", "CHECK.account.number": "4100123"}, None),
        (
            ["CHECK"],
            {"paymentInformation.bank.routingNumber": "121042882", "paymentInformation.bank.account.number": "4100123"},
            None,
        ),
    ],
)
def test_payment_types(emulator: Emulator, types: list[str] | None, data: Any, message: str | None) -> None:
    networks = None if types == ["CHECK"] else ["VISA"]
    context = create_context(
        emulator, microform_request(allowedCardNetworks=networks, allowedPaymentTypes=types), MICROFORM
    )
    response = tokenize(emulator, encrypt_data(context, data))
    if message is None:
        assert response.status == 201
    else:
        assert response.status == 400
        assert message in error_status(response)["details"][0]["message"]
