"""createToken: the order of its checks, each reason of an error, what is sent to the host, and the token."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.encoding import base64url_decode
from support.microform_page import MicroformPage
from support.tokens import decode_jwt

TOKENS = "/flex/v2/tokens"
EXPIRY = {"expirationMonth": "12", "expirationYear": "2031"}


@pytest.fixture
def card(form: MicroformPage, make_context: Any) -> MicroformPage:
    """A page with both card fields, and a valid card in them."""
    form.open(make_context()).start()
    form.type_card()
    return form


@pytest.fixture(autouse=True)
def no_faults(emulator: Any) -> Any:
    """Without scenarios of another test."""
    emulator.clear()
    yield
    emulator.reset_faults()


# Success


def test_the_callback_gets_null_and_the_token_as_a_string(card: MicroformPage) -> None:
    result = card.page.evaluate("""() => new Promise((resolve) => {
        let returned = false;
        const value = microform.createToken({expirationMonth: "12", expirationYear: "2031"}, (...rest) =>
            resolve({returned, error: rest[0], type: typeof rest[1], count: rest.length}));
        returned = value === undefined;
    })""")
    assert result == {"returned": True, "error": None, "type": "string", "count": 2}


def test_the_token_contains_what_was_typed_and_passed(card: MicroformPage) -> None:
    claims = decode_jwt(card.token({**EXPIRY, "type": "001", "cardholderName": "Ada"}))[1]
    assert claims["type"] == "mf-2.1.0"
    assert claims["content"]["paymentInformation"]["card"] == {
        "number": {"maskedValue": "XXXXXXXXXXXX1111", "bin": "411111", "detectedCardTypes": ["001"]},
        "securityCode": {},
        "type": {"value": "001"},
        "expirationMonth": {"value": "12"},
        "expirationYear": {"value": "2031"},
    }


def test_options_are_optional_and_the_type_is_not_sent_unless_passed(card: MicroformPage) -> None:
    claims = decode_jwt(card.token({}))[1]
    assert set(claims["content"]["paymentInformation"]["card"]) == {"number", "securityCode"}


def test_a_number_may_be_loaded_without_a_security_code(form: MicroformPage, make_context: Any) -> None:
    form.open(make_context()).start(fields=["number"])
    form.type("number", "5555555555554444")
    claims = decode_jwt(form.token())[1]
    assert claims["content"]["paymentInformation"]["card"]["number"]["detectedCardTypes"] == ["002"]


def test_a_disabled_empty_security_code_is_left_out(form: MicroformPage, make_context: Any) -> None:
    form.open(make_context(["UATP"])).start(fields={"number": {}, "securityCode": {"disabled": True}})
    form.type("number", "135412345678911")
    (state,) = form.events("number", "change")[-1]
    assert state["card"][0]["securityCode"] is False
    assert "securityCode" not in decode_jwt(form.token())[1]["content"]["paymentInformation"]["card"]


def test_each_call_creates_another_token(card: MicroformPage, emulator: Any) -> None:
    tokens = card.page.evaluate(
        "async (options) => {"
        "  const results = await Promise.all([1, 2, 3].map(() => createToken(options)));"
        "  return results.map(({token}) => token);"
        "}",
        EXPIRY,
    )
    assert len(set(tokens)) == 3
    assert len([record for record in emulator.requests if record.target == TOKENS]) == 3


def test_the_request_to_the_host(card: MicroformPage, emulator: Any) -> None:
    card.token()
    (record,) = (record for record in emulator.requests if record.target == TOKENS)
    assert record.method == "POST"
    assert record.headers["content-type"] == "application/jwt; charset=utf-8"
    assert record.headers["origin"] == emulator.url
    assert "cookie" not in record.headers
    assert "authorization" not in record.headers
    header, *parts = record.body.decode("ascii").split(".")
    assert len(parts) == 4
    kid = decode_jwt(card.jwt)[1]["flx"]["jwk"]["kid"]
    assert json.loads(base64url_decode(header)) == {"kid": kid, "enc": "A256GCM", "alg": "RSA-OAEP"}


# eCheck


def test_a_bank_account(form: MicroformPage, make_context: Any, client: Any) -> None:
    context = make_context(types=["CHECK"])
    form.open(context).start("check", ["routingNumber", "accountNumber", "accountNumberConfirm"])
    form.type("routingNumber", "121042882")
    form.type("accountNumber", "4100")
    form.type("accountNumberConfirm", "4100")
    for field, value in (("routingNumber", "121042882"), ("accountNumber", "4100"), ("accountNumberConfirm", "4100")):
        assert form.state(field, value) == {"empty": False, "couldBeValid": True, "valid": True}
    token = client.verify_transient_token(form.token({"accountType": "C"}), context)
    assert token.claims["content"]["paymentInformation"] == {
        "bank": {"routingNumber": {}, "account": {"number": {}, "type": {}}},
        "paymentType": {"name": {"value": "CHECK"}},
    }


@pytest.mark.parametrize(
    ("field", "digits", "valid", "could_be_valid"),
    [
        ("routingNumber", "12104288", False, True),
        ("routingNumber", "121042883", False, False),
        ("accountNumber", "410", False, True),
        ("accountNumber", "12345678901234567", True, True),
        ("accountNumberConfirm", "41", False, True),
        ("accountNumberConfirm", "4101", False, False),
    ],
)
def test_validity_of_bank_fields(
    form: MicroformPage, make_context: Any, field: str, digits: str, valid: bool, could_be_valid: bool
) -> None:
    form.open(make_context(types=["CARD", "CHECK"]))
    form.start("check", ["routingNumber", "accountNumber", "accountNumberConfirm"])
    form.type("accountNumber", "4100")
    form.sync("accountNumber")
    form.input(field).fill(digits)
    assert form.state(field, digits) == {"empty": False, "couldBeValid": could_be_valid, "valid": valid}


def test_a_changed_account_number_invalidates_its_confirmation(form: MicroformPage, make_context: Any) -> None:
    form.open(make_context(types=["CHECK"])).start("check", ["accountNumber", "accountNumberConfirm"])
    form.type("accountNumberConfirm", "4100")
    form.type("accountNumber", "4100")
    form.sync("accountNumber")
    form.wait_for("accountNumberConfirm", "change", 6)
    assert form.state("accountNumberConfirm", "4100")["valid"]
    form.input("accountNumber").press("Backspace")
    form.sync("accountNumber")
    form.sync("accountNumberConfirm")
    assert not form.state("accountNumberConfirm", "4100")["valid"]
    assert "invalid" in form.classes("accountNumberConfirm")


def test_the_account_type_is_checked(form: MicroformPage, make_context: Any) -> None:
    form.open(make_context(types=["CHECK"])).start("check", ["routingNumber"])
    error = form.create_token({"accountType": "Q", "expirationMonth": "99"})["error"]
    assert error["reason"] == "CREATE_TOKEN_VALIDATION_PARAMS"
    assert [detail["location"] for detail in error["details"]] == ["accountType"]


# Errors of the library, in the order of its checks


def test_without_a_loaded_field(form: MicroformPage, make_context: Any) -> None:
    form.open(make_context()).start(fields=[])
    assert form.reason() == "CREATE_TOKEN_NO_FIELDS_LOADED"
    form.page.evaluate("() => { microform.createField('number'); }")
    assert form.reason() == "CREATE_TOKEN_NO_FIELDS_LOADED"


def test_before_a_field_is_ready(form: MicroformPage, make_context: Any) -> None:
    form.open(make_context())
    result = form.page.evaluate(
        """(jwt) => {
        start(jwt, "card", undefined, {number: {}}, "");
        return createToken({});
    }""",
        form.jwt,
    )
    assert result["error"]["reason"] == "CREATE_TOKEN_UNABLE_TO_START"


def test_without_data(form: MicroformPage, make_context: Any) -> None:
    form.open(make_context()).start(fields={"securityCode": {"disabled": True}})
    assert form.reason({"expirationMonth": "13"}) == "CREATE_TOKEN_NO_FIELDS"


def test_a_removed_container_ends_in_a_timeout(card: MicroformPage) -> None:
    card.page.evaluate("() => document.querySelector('#securityCode-container').remove()")
    error = card.create_token()["error"]
    assert error["reason"] == "CREATE_TOKEN_TIMEOUT"
    assert [detail["location"] for detail in error["details"]] == ["securityCode"]
    card.page.evaluate("() => document.querySelector('#number-container').remove()")
    assert card.reason() == "CREATE_TOKEN_TIMEOUT"


@pytest.mark.parametrize(
    ("options", "locations"),
    [
        ({"expirationMonth": "1"}, ["expirationMonth"]),
        ({"expirationMonth": "13", "expirationYear": "31"}, ["expirationMonth", "expirationYear"]),
        ({"type": "000", "expirationYear": "2009"}, ["expirationYear", "type"]),
        ({"type": "visa"}, ["type"]),
        ({"expirationYear": "2100"}, ["expirationYear"]),
    ],
)
def test_options_are_checked_before_fields(
    form: MicroformPage, make_context: Any, options: dict[str, str], locations: list[str]
) -> None:
    form.open(make_context()).start()
    error = form.create_token(options)["error"]
    assert error["reason"] == "CREATE_TOKEN_VALIDATION_PARAMS"
    assert [detail["location"] for detail in error["details"]] == locations


def test_fields_that_are_not_valid(form: MicroformPage, make_context: Any) -> None:
    form.open(make_context()).start()
    form.type("number", "4111")
    result = form.create_token()
    assert result["error"] == {
        "name": "MicroformError",
        "reason": "CREATE_TOKEN_VALIDATION_FIELDS",
        "message": "One or more fields have a validation error.",
        "details": [
            {"location": "number", "message": "Validation error"},
            {"location": "securityCode", "message": "Validation error"},
        ],
        "correlationId": None,
        "correlationID": None,
        "informationLink": None,
    }
    assert form.page.evaluate("() => lastError instanceof Error && lastError.message === {...lastError}.message")


def test_createtoken_needs_a_callback(card: MicroformPage) -> None:
    assert card.page.evaluate("() => { try { microform.createToken({}) } catch (e) { return e.name } }") == "TypeError"


# Errors of the service


SERVICE_ERRORS = [
    ("reset-before", "CREATE_TOKEN_XHR_ERROR"),
    ("reset-during", "CREATE_TOKEN_XHR_ERROR"),
    ("reset-after-request", "CREATE_TOKEN_XHR_ERROR"),
    ("truncated", "CREATE_TOKEN_XHR_ERROR"),
    ("redirect", "CREATE_TOKEN_XHR_ERROR"),
    ("html-502", "API_INTERNAL_ERROR"),
    ("empty-500", "API_INTERNAL_ERROR"),
    ("status-500", "API_INTERNAL_ERROR"),
    ("html-200", "MALFORMED_TOKENS_RESPONSE"),
    ("empty-200", "MALFORMED_TOKENS_RESPONSE"),
    ("malformed-jwt;kind=two-parts", "MALFORMED_TOKENS_RESPONSE"),
    ("early-response;status=400", "UNKNOWN_REASON"),
    ("status-503", "UNKNOWN_REASON"),
    ("expired-context", "CAPTURE_CONTEXT_EXPIRED"),
    ("token-error;reason=CREATE_TOKEN_VALIDATION_SERVERSIDE", "CREATE_TOKEN_VALIDATION_SERVERSIDE"),
    ("token-error;reason=CREATE_TOKEN_CAPTURE_CONTEXT_NOT_FOUND", "CREATE_TOKEN_CAPTURE_CONTEXT_NOT_FOUND"),
    ("token-error;reason=CREATE_TOKEN_CARD_TYPE_NOT_ALLOWED", "CREATE_TOKEN_CARD_TYPE_NOT_ALLOWED"),
    ("token-error;reason=CREATE_TOKEN_DECRYPTION", "CREATE_TOKEN_DECRYPTION"),
    ("token-error;reason=CREATE_TOKEN_NO_DATA_SUBMITTED", "CREATE_TOKEN_NO_DATA_SUBMITTED"),
    ("token-error;reason=CREATE_TOKEN_PLATFORM_ERROR", "CREATE_TOKEN_PLATFORM_ERROR"),
    ("token-error;reason=API_GATEWAY_ERROR", "API_GATEWAY_ERROR"),
    ("token-error;reason=API_JSON_PARSER_ERROR", "API_JSON_PARSER_ERROR"),
    ("token-error;reason=API_JWE_PARSING_ERROR", "API_JWE_PARSING_ERROR"),
    ("token-error;reason=CAPTURE_CONTEXT_INVALID", "CAPTURE_CONTEXT_INVALID"),
]


def test_what_pages_see_when_the_service_fails(card: MicroformPage, emulator: Any, console: Any) -> None:
    for scenario, reason in SERVICE_ERRORS:
        # Not for one request: Chromium repeats a request as long as it finds a used connection, and that is reset.
        emulator.scenario = scenario
        error = card.create_token()["error"]
        assert (error or {}).get("reason") == reason, scenario
        if reason == "CREATE_TOKEN_XHR_ERROR":
            assert "status" not in error
        else:
            assert (error["status"], error["correlationId"]) == (_last(emulator)), scenario
    # The browser reports failed requests itself.
    assert "Failed to load resource" in console.take_errors()
    emulator.reset_faults()
    # The fields stay, and the customer can try again.
    assert card.token()


def _last(emulator: Any) -> tuple[int, str]:
    record = emulator.requests[-1]
    return record.status, record.correlation_id


def test_details_of_the_service_name_the_fields(card: MicroformPage, emulator: Any, console: Any) -> None:
    emulator.queue_scenarios(["token-error"], path=TOKENS)
    assert card.create_token()["error"]["details"] == [{"location": "number", "message": "Rejected by scenario"}]
    card.page.evaluate("() => fields.securityCode.update({maxLength: 4})")
    card.type("securityCode", "1")
    error = card.create_token()["error"]
    assert error["reason"] == "CREATE_TOKEN_VALIDATION_SERVERSIDE"
    assert error["details"] == [{"location": "securityCode", "message": "Invalid security code format"}]
    console.take_errors()


def test_an_unknown_reason_is_in_the_details(card: MicroformPage, emulator: Any, console: Any) -> None:
    emulator.queue_scenarios(["status-429"], path=TOKENS)
    error = card.create_token()["error"]
    assert (error["reason"], error["status"]) == ("UNKNOWN_REASON", 429)
    assert error["details"] == [{"location": "reason", "message": "TOO_MANY_REQUESTS"}]
    console.take_errors()


def test_a_context_that_was_used_too_often(card: MicroformPage, console: Any) -> None:
    for _ in range(10):
        card.token({})
    assert card.reason({}) == "CREATE_TOKEN_CAPTURE_CONTEXT_USED_TOO_MANY_TIMES"
    console.take_errors()


def test_a_card_type_that_the_context_does_not_allow(card: MicroformPage, console: Any) -> None:
    # The page passes another type than the number's.
    assert card.reason({"type": "005"}) == "CREATE_TOKEN_VALIDATION_SERVERSIDE"
    console.take_errors()


def test_a_slow_service_is_a_timeout(form: MicroformPage, page: Any, make_context: Any, emulator: Any) -> None:
    page.clock.install()
    form.open(make_context()).start()
    form.type_card()
    emulator.queue_scenarios(["latency;seconds=3600"], path=TOKENS)
    with page.expect_request("**" + TOKENS):
        form.page.evaluate("() => { window.result = createToken({}).then(({error}) => error.reason); }")
    page.clock.fast_forward(29_000)
    assert form.page.evaluate("() => Promise.race([result, Promise.resolve('waiting')])") == "waiting"
    page.clock.fast_forward(2_000)
    assert form.page.evaluate("() => result") == "CREATE_TOKEN_TIMEOUT"


def test_a_context_that_expires_while_the_customer_types(
    form: MicroformPage, make_context: Any, emulator: Any, console: Any
) -> None:
    form.open(make_context()).start()
    form.type("number", "4111111111111111")
    emulator.shift_clock(901)
    form.type("securityCode", "837")
    assert form.reason() == "CAPTURE_CONTEXT_EXPIRED"
    console.take_errors()


# The capture context


INVALID_CONTEXTS = [
    "''",
    "undefined",
    "42",
    "'a.b.c'",
    "'a.b'",
    "jwt + '.x'",
    "' ' + jwt",
    "JSON.stringify(jwt)",
    "jwt.split('.')[0] + '.' + btoa('{}') + '.x'",
]


def test_contexts_that_are_not_valid(form: MicroformPage, make_context: Any) -> None:
    form.open(make_context())
    for context in INVALID_CONTEXTS:
        error = form.caught(f"const jwt = document.body.dataset.context; new Flex({context})")
        assert (error["reason"], error["name"], error["isError"]) == ("CAPTURE_CONTEXT_INVALID", "MicroformError", True)


def test_a_context_of_the_flex_api_is_not_valid(form: MicroformPage, make_context: Any, client: Any) -> None:
    from cybersource_flex import fields

    form.open(make_context())
    jwt = client.create_capture_context(fields(card=["number"])).jwt
    assert form.caught(f"new Flex('{jwt}')")["reason"] == "CAPTURE_CONTEXT_INVALID"


def test_an_expired_context(form: MicroformPage, page: Any, make_context: Any) -> None:
    form.open(make_context())
    page.clock.install()
    page.clock.fast_forward(901_000)
    assert form.caught("new Flex(document.body.dataset.context)")["reason"] == "CAPTURE_CONTEXT_EXPIRED"


def test_a_field_of_an_expired_context_does_not_start(form: MicroformPage, page: Any, make_context: Any) -> None:
    page.clock.install()
    form.open(make_context()).start(fields=[])
    page.clock.fast_forward(901_000)
    form.page.evaluate("""() => {
        const field = microform.createField("number");
        field.on("error", (error) => events.push({field: "number", name: "error", data: [{...error}]}));
        field.load("#number-container");
    }""")
    (error,) = form.wait_for("number", "error")
    assert error["reason"] == "CAPTURE_CONTEXT_EXPIRED"


def test_a_frame_of_an_unknown_field_type_reports_an_error(form: MicroformPage, make_context: Any) -> None:
    form.open(make_context()).start(fields=["number"])
    reason = form.page.evaluate("""() => new Promise((resolve) => {
        const frame = document.querySelector("iframe");
        const url = new URL(frame.src);
        const parameters = JSON.parse(decodeURIComponent(url.hash.slice(1)));
        url.hash = encodeURIComponent(JSON.stringify({...parameters, fieldType: "expiry"}));
        const other = frame.cloneNode();
        addEventListener("message", (event) => event.source === other.contentWindow && resolve(event.data.data.reason));
        other.src = url;
        document.body.append(other);
    })""")
    assert reason == "IFRAME_UNSUPPORTED_FIELD_TYPE"


def test_a_browser_that_cannot_encrypt(form: MicroformPage, page: Any, make_context: Any) -> None:
    page.add_init_script("crypto.subtle.encrypt = () => Promise.reject(new Error('no'))")
    form.open(make_context()).start()
    form.type_card()
    assert form.reason() == "BROWSER_ENCRYPTION_FAILED"
