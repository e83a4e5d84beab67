"""``POST /pts/v2/payments`` of the emulator: payments with transient tokens, and their errors."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from cybersource_flex.emulator import Emulator
from support.emulator_client import (
    CARD,
    CARD_FIELDS,
    MICROFORM,
    NOW,
    OTHER_MERCHANT,
    Clock,
    Response,
    card_data,
    create_context,
    encrypt_data,
    jwt_headers,
    microform_request,
    requested_fields,
    send,
    tokenize,
)
from support.tokens import decode_jwt

PAYMENTS = "/pts/v2/payments"
AMOUNT = {"amountDetails": {"totalAmount": "21.00", "currency": "USD"}}


def create_token(emulator: Emulator, **order: Any) -> str:
    context = create_context(emulator)
    return tokenize(emulator, encrypt_data(context, card_data(CARD, **order))).content


def pay(emulator: Emulator, content: Any, **changes: Any) -> Response:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    headers = jwt_headers(emulator, "POST", PAYMENTS, body, **changes)
    return send(emulator, "POST", PAYMENTS, headers, body)


def payment(jwt: str, **members: Any) -> dict[str, Any]:
    return {"tokenInformation": {"transientTokenJwt": jwt}, "orderInformation": AMOUNT, **members}


def check_error(response: Response, field: str, reason: str = "INVALID_DATA") -> str:
    """Check an error in the format of payments. Returns its message."""
    content = response.json
    assert response.status == 400, response
    assert list(content) == ["submitTimeUtc", "status", "reason", "message", "details"]
    assert (content["status"], content["reason"]) == ("INVALID_REQUEST", reason)
    assert content["details"] == [{"field": field, "reason": reason}]
    return str(content["message"])


def test_an_authorised_payment(emulator: Emulator) -> None:
    response = pay(emulator, payment(create_token(emulator), clientReferenceInformation={"code": "order-1"}))
    assert response.status == 201, response
    assert response.header("content-type") == "application/hal+json;charset=utf-8"
    content = response.json
    assert re.fullmatch("7[0-9]{21}", content["id"])
    assert content["status"] == "AUTHORIZED"
    assert "errorInformation" not in content
    assert content["submitTimeUtc"] == "2026-11-22T12:00:00Z"
    assert content["clientReferenceInformation"] == {"code": "order-1"}
    assert content["orderInformation"] == {"amountDetails": {"authorizedAmount": "21.00", "currency": "USD"}}
    assert content["paymentInformation"] == {"card": {"type": "001"}}
    assert content["_links"]["self"] == {"method": "GET", "href": f"{PAYMENTS}/{content['id']}"}
    assert content["_links"]["capture"] == {"method": "POST", "href": f"{PAYMENTS}/{content['id']}/captures"}
    assert "no processor" in content["processorInformation"]["responseDetails"]
    assert content["processorInformation"]["approvalCode"] == "888888"
    assert emulator.requests[-1].succeeded


@pytest.mark.parametrize(
    ("amount", "reason"),
    [
        ("1001.00", "PROCESSOR_DECLINED"),
        ("1001", "PROCESSOR_DECLINED"),
        ("1002.00", "INSUFFICIENT_FUND"),
        ("1003.0", "EXPIRED_CARD"),
        ("1004.00", "STOLEN_LOST_CARD"),
    ],
)
def test_declined_amounts(emulator: Emulator, amount: str, reason: str) -> None:
    order = {"amountDetails": {"totalAmount": amount, "currency": "EUR"}}
    response = pay(emulator, payment(create_token(emulator), orderInformation=order))
    assert (response.status, response.json["status"]) == (201, "DECLINED")
    assert response.json["errorInformation"]["reason"] == reason
    assert list(response.json["_links"]) == ["self"]
    assert "approvalCode" not in response.json["processorInformation"]


def test_a_token_can_be_named_by_its_jti(emulator: Emulator) -> None:
    jwt = create_token(emulator)
    jti = decode_jwt(jwt)[1]["jti"]
    for token in ({"jti": jti}, {"jti": jti, "transientTokenJwt": jwt}):
        assert pay(emulator, {"tokenInformation": token, "orderInformation": AMOUNT}).status == 201
    other = decode_jwt(create_token(emulator))[1]["jti"]
    token = {"jti": other, "transientTokenJwt": jwt}
    check_error(pay(emulator, {"tokenInformation": token, "orderInformation": AMOUNT}), "tokenInformation.jti")


def test_the_captured_amount_is_used_unless_the_request_has_one(emulator: Emulator) -> None:
    fields = requested_fields(*CARD_FIELDS, amountDetails=("totalAmount", "currency"))
    data = card_data(CARD, amountDetails={"totalAmount": "5.00", "currency": "GBP"})
    jwt = tokenize(emulator, encrypt_data(create_context(emulator, fields), data)).content
    minimal = {"tokenInformation": {"transientTokenJwt": jwt}}
    captured = pay(emulator, minimal).json["orderInformation"]["amountDetails"]
    assert captured == {"authorizedAmount": "5.00", "currency": "GBP"}
    overridden = pay(emulator, {**minimal, "orderInformation": {"amountDetails": {"totalAmount": "6.00"}}})
    assert overridden.json["orderInformation"]["amountDetails"] == {"authorizedAmount": "6.00", "currency": "GBP"}


def test_a_token_of_microform(emulator: Emulator) -> None:
    context = create_context(emulator, microform_request(), MICROFORM)
    jwt = tokenize(emulator, encrypt_data(context, CARD)).content
    assert pay(emulator, payment(jwt)).json["status"] == "AUTHORIZED"


def test_an_unknown_token(emulator: Emulator) -> None:
    unknown = {"tokenInformation": {"jti": "0" * 64}, "orderInformation": AMOUNT}
    assert "unknown" in check_error(pay(emulator, unknown), "tokenInformation.jti")


def test_an_expired_token(emulator: Emulator, clock: Clock) -> None:
    jwt = create_token(emulator)
    clock.now = NOW + 899
    assert pay(emulator, payment(jwt), now=clock.now).status == 201
    clock.now = NOW + 900
    assert "expired" in check_error(pay(emulator, payment(jwt), now=clock.now), "tokenInformation.jti")
    assert emulator.requests[-1].rejection_reason is not None
    assert "expired" in emulator.requests[-1].rejection_reason


def test_a_token_of_another_merchant(emulator: Emulator) -> None:
    response = pay(emulator, payment(create_token(emulator)), merchant=OTHER_MERCHANT)
    assert "another merchant" in check_error(response, "tokenInformation.jti")


def test_a_modified_token(emulator: Emulator) -> None:
    jwt = create_token(emulator)
    header, payload, _ = jwt.split(".")
    foreign = create_token(emulator).rpartition(".")[2]
    for modified in (f"{header}.{payload}.{foreign}", f"{header}.{payload}.AAAA"):
        message = check_error(pay(emulator, payment(modified)), "tokenInformation.transientTokenJwt")
        assert "signature" in message
    context = create_context(emulator)
    assert "unknown" in check_error(pay(emulator, payment(context)), "tokenInformation.transientTokenJwt")


@pytest.mark.parametrize("jwt", ["", "a.b.c", "a", f'"{"x" * 20}"', 7, True, [], {}, "\u00e9"])
def test_a_value_that_is_not_a_jwt(emulator: Emulator, jwt: Any) -> None:
    message = check_error(pay(emulator, payment(jwt)), "tokenInformation.transientTokenJwt")
    assert message == "transientTokenJwt is not a JWT"


def test_the_scenario_of_a_used_token(emulator: Emulator) -> None:
    jwt = create_token(emulator)
    emulator.queue_scenarios(["used-token"], path=PAYMENTS)
    assert "used" in check_error(pay(emulator, payment(jwt)), "tokenInformation.jti")
    assert pay(emulator, payment(jwt)).status == 201


@pytest.mark.parametrize(
    ("content", "field", "reason"),
    [
        ({}, "tokenInformation.transientTokenJwt", "MISSING_FIELD"),
        ({"tokenInformation": {}}, "tokenInformation.transientTokenJwt", "MISSING_FIELD"),
        ({"tokenInformation": "x"}, "tokenInformation", "INVALID_DATA"),
        ({"tokenInformation": {"jti": 7}}, "tokenInformation.jti", "INVALID_DATA"),
    ],
)
def test_a_payment_without_a_token(emulator: Emulator, content: Any, field: str, reason: str) -> None:
    check_error(pay(emulator, content), field, reason)


@pytest.mark.parametrize(
    ("order", "field", "reason"),
    [
        ({}, "orderInformation.amountDetails.totalAmount", "MISSING_FIELD"),
        ({"amountDetails": {"totalAmount": "1"}}, "orderInformation.amountDetails.currency", "MISSING_FIELD"),
        ({"amountDetails": "1"}, "orderInformation.amountDetails", "INVALID_DATA"),
        ("1", "orderInformation", "INVALID_DATA"),
        *(
            (
                {"amountDetails": {"totalAmount": amount, "currency": "USD"}},
                "orderInformation.amountDetails.totalAmount",
                "INVALID_DATA",
            )
            for amount in ("-1", "100000000000", "", "1,00", "1e3", " 1", "\u0661", 21, 21.0, True)
        ),
        *(
            (
                {"amountDetails": {"totalAmount": "1", "currency": currency}},
                "orderInformation.amountDetails.currency",
                "INVALID_DATA",
            )
            for currency in ("usd", "US", "", 840)
        ),
    ],
)
def test_wrong_amounts(emulator: Emulator, order: Any, field: str, reason: str) -> None:
    check_error(pay(emulator, payment(create_token(emulator), orderInformation=order)), field, reason)


def test_a_token_without_a_card_number(emulator: Emulator) -> None:
    context = create_context(emulator, requested_fields("securityCode"))
    jwt = tokenize(emulator, encrypt_data(context, card_data({"securityCode": "123"}))).content
    check_error(pay(emulator, payment(jwt)), "paymentInformation.card.number", "MISSING_FIELD")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"a": NaN}', b'{"a":1,"a":2}', b"\xff", b"[" * 5000])
def test_a_malformed_body(emulator: Emulator, body: bytes) -> None:
    response = pay(emulator, body)
    assert response.status == 400
    assert (response.json["status"], response.json["reason"]) == ("INVALID_REQUEST", "INVALID_DATA")
    assert response.json["details"] == []


def test_payments_are_signed(emulator: Emulator) -> None:
    body = b"{}"
    response = send(emulator, "POST", PAYMENTS, {"Content-Type": "application/json"}, body)
    assert (response.status, response.json) == (401, {"response": {"rmsg": "Authentication Failed"}})


def test_other_methods_media_types_and_paths(emulator: Emulator) -> None:
    body = json.dumps(payment(create_token(emulator))).encode()
    signed = jwt_headers(emulator, "POST", PAYMENTS, body)
    response = send(emulator, "POST", PAYMENTS, {**signed, "Content-Type": "text/plain"}, body)
    assert (response.status, response.json["status"]) == (415, "INVALID_REQUEST")
    signed = jwt_headers(emulator, "POST", PAYMENTS, body)
    assert send(emulator, "POST", PAYMENTS, {**signed, "Accept": "text/csv"}, body).status == 406
    assert send(emulator, "GET", PAYMENTS, jwt_headers(emulator, "GET", PAYMENTS, None)).status == 405
    details = f"{PAYMENTS}/7000000000000000000000"
    assert send(emulator, "GET", details, jwt_headers(emulator, "GET", details, None)).status == 404


def test_errors_of_the_service(emulator: Emulator) -> None:
    emulator.queue_scenarios(["status-500", "unknown-members"], path=PAYMENTS)
    jwt = create_token(emulator)
    response = pay(emulator, payment(jwt))
    assert (response.status, response.json["status"], response.json["reason"]) == (500, "SERVER_ERROR", "SYSTEM_ERROR")
    response = pay(emulator, payment(jwt))
    assert response.json["status"] == "AUTHORIZED"
    assert response.json["emulatorText"] == "unknown"


def test_the_response_contains_no_card_data(emulator: Emulator) -> None:
    jwt = create_token(emulator)
    response = pay(emulator, payment(jwt))
    for secret in (CARD["number"], jwt, decode_jwt(jwt)[1]["jti"]):
        assert secret not in response.content
    assert jwt not in repr(emulator.requests[-1])
