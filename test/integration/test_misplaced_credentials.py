"""Tokens, keys, secrets and card numbers are not accepted as ids, nor ids as tokens. Nothing is sent."""

from __future__ import annotations

import base64
import json
import os
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from cybersource_flex import (
    ApiClient,
    CaptureContext,
    Configuration,
    ConfigurationError,
    FlexAPIApi,
    FlexClient,
    FlexError,
    InvalidArgumentError,
    InvalidArgumentTypeError,
    MicroformIntegrationApi,
    NotFoundError,
    TokenError,
    TransientToken,
    fields,
)
from cybersource_flex.auth import HttpSignature, JwtExternalKey, JwtSharedSecret
from cybersource_flex.emulator import Emulator
from cybersource_flex.jose import encrypt
from cybersource_flex.testing import Canaries
from cybersource_flex.transport import Operation
from support.tokens import signing_input
from support.transports import make_operation

NUMBER = "4111111111111111"
PEM = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----"
CARD = {"paymentInformation": {"card": {"number": NUMBER, "securityCode": "123"}}}

Api = Callable[[type, Any], Any]
Credentials = dict[str, str]


@pytest.fixture
def context(client: FlexClient) -> CaptureContext:
    return client.create_capture_context(fields(card=["number"]))


@pytest.fixture
def token(client: FlexClient, context: CaptureContext) -> TransientToken:
    return client.tokenize(context, {"card": {"number": NUMBER}})


@pytest.fixture
def credentials(emulator: Emulator, context: CaptureContext, token: TransientToken) -> Credentials:
    """Values that must not be in a URL, by their name in error messages. Clears the recorded requests."""
    jwe = encrypt(context, {"paymentInformation.card.number": NUMBER})
    values = {
        "a JWT": token.jwt,
        "a JWT ": f"Bearer {context.jwt}\n",
        "a JWE": jwe,
        "a part of a JWT or JWE": token.jwt.split(".")[1],
        "a card number": NUMBER,
        "a card number ": "4111 1111 1111 1111",
        "a key or certificate in PEM": PEM,
        "a shared secret (base64 of 32 bytes)": emulator.auth["secret_key"],
        "a JSON object": json.dumps({"card": {"securityCode": "123"}}),
        "a secret or signature in base64": emulator.auth["secret_key"].rstrip("="),
        "a secret or signature in base64 ": token.jwt.split(".")[2][:100],
    }
    emulator.clear()
    return values


def assert_rejected(call: Callable[[], object], secret: str, argument: str, description: str) -> None:
    """The call raises an error that describes the value and does not contain it."""
    with Canaries() as canaries:
        canaries.plant("credential", secret)
        with pytest.raises(InvalidArgumentError) as caught:
            call()
        canaries.watch(caught.value)
        canaries.search("".join(traceback.format_exception(caught.value)), "traceback")
    assert isinstance(caught.value, FlexError)
    assert isinstance(caught.value, ValueError)
    assert caught.value.argument == argument
    assert description.strip() in str(caught.value)


CALLS: list[tuple[str, str, Callable[[Any, str], object]]] = [
    ("FlexClient", "token", lambda client, value: client.payment_details(value)),
    ("FlexClient", "reference", lambda client, value: client.payment_credentials(value, None)),
    ("FlexAPIApi", "jti", lambda flex, value: flex.get_payment_details(value)),
    ("FlexAPIApi", "jti", lambda flex, value: flex.get_payment_details_with_http_info(value)),
    ("FlexAPIApi", "kid", lambda flex, value: flex.get_public_key(value)),
    ("FlexAPIApi", "paymentCredentialsReference", lambda flex, value: flex.get_payment_credentials(value)),
]


@pytest.mark.parametrize(("target_name", "argument", "call"), CALLS)
def test_credentials_in_paths(
    target_name: str,
    argument: str,
    call: Callable[[Any, str], object],
    client: FlexClient,
    credentials: Credentials,
    emulator: Emulator,
    api: Api,
) -> None:
    target = client if target_name == "FlexClient" else api(FlexAPIApi, client)
    for description, secret in credentials.items():
        assert_rejected(lambda secret=secret: call(target, secret), secret, argument, description)  # type: ignore[misc]
    assert emulator.requests == []


OTHER_FORMS: list[tuple[Any, str]] = [
    (float(NUMBER), NUMBER),
    (str(CARD), NUMBER),
    (json.dumps([CARD]), NUMBER),
    (f"{NUMBER}|12|2031|123", NUMBER),
    (f"%B{NUMBER}^DOE/J^2512?", NUMBER),
    ("4111_1111_1111_1111", "4111_1111_1111_1111"),
    (("4111", "1111", "1111", "1111"), "1111"),
    ([int(NUMBER)], NUMBER),
    ("securityCode=739&expirationMonth=12", "739"),
    ("Bearer c2VjcmV0LWtleQ", "c2VjcmV0LWtleQ"),
]


@pytest.mark.parametrize(("target_name", "argument", "call"), CALLS)
def test_card_data_of_any_form_in_paths(
    target_name: str,
    argument: str,
    call: Callable[[Any, Any], object],
    client: FlexClient,
    emulator: Emulator,
    api: Api,
) -> None:
    emulator.clear()
    target = client if target_name == "FlexClient" else api(FlexAPIApi, client)
    for value, secret in OTHER_FORMS:
        with pytest.raises(InvalidArgumentError) as caught:
            call(target, value)
        assert secret not in "".join(traceback.format_exception(caught.value))
        assert caught.value.argument in (argument, "jti", "paymentCredentialsReference")
    assert emulator.requests == []


def test_the_message_names_the_expected_value(client: FlexClient, token: TransientToken) -> None:
    with pytest.raises(InvalidArgumentError, match="expected the verified TransientToken, or its jti"):
        client.payment_details(token.jwt)
    with pytest.raises(InvalidArgumentError, match=r"expected a value of token\.payment_credentials_references"):
        client.payment_credentials(token.jwt, None)  # type: ignore[arg-type]


def test_ids_are_sent(client: FlexClient, token: TransientToken, api: Api) -> None:
    details = client.payment_details(token)
    assert client.payment_details(token.jti) == details
    assert api(FlexAPIApi, client).get_payment_details(token.jti) == details
    for unknown in ("A" * 64, "0123456789abcdef" * 4, "E-firqlLk7GiziQwXxAsq", "4111111111111112"):
        with pytest.raises(NotFoundError):
            client.payment_details(unknown)
        with pytest.raises(NotFoundError):
            client.payment_credentials(unknown, None)  # type: ignore[arg-type]


def new_operation(**changes: Any) -> Operation:
    """An operation that is not in the specification."""
    arguments: dict[str, Any] = {"method": "GET", "path": "/tokens", "requires_auth": False, "content_type": None}
    return make_operation(**{**arguments, "responses": {"200": "str"}, **changes})


def test_operations_that_are_not_in_the_specification(
    make_api_client: Callable[[Configuration], ApiClient], credentials: Credentials, emulator: Emulator
) -> None:
    with_path_parameter = new_operation(path="/up/v1/payment-details/{transientToken}")
    with make_api_client(Configuration(host=emulator.url)) as client:
        for description, secret in credentials.items():
            for value in (secret, ["A", secret]):
                assert_rejected(
                    lambda value=value: client.call(with_path_parameter, path={"transientToken": value}),  # type: ignore[misc]
                    secret,
                    "transientToken",
                    description,
                )
        for description in ("a JWT", "a JWE", "a part of a JWT or JWE", "a card number", "a key or certificate in PEM"):
            secret = credentials[description]
            for value in (secret, [secret, "A"]):
                assert_rejected(
                    lambda value=value: client.call(new_operation(), query=[("a", "b"), ("q", value)]),  # type: ignore[misc]
                    secret,
                    "q",
                    description,
                )
        assert_rejected(lambda: client.call(new_operation(), query=[("q", int(NUMBER))]), NUMBER, "q", "a card number")
        assert_rejected(lambda: client.call(new_operation(), headers={"X-Id": NUMBER}), NUMBER, "X-Id", "a card number")
        assert_rejected(
            lambda: client.call(new_operation(), headers={"X-Id": ["a", NUMBER]}), NUMBER, "X-Id", "a card number"
        )
    assert emulator.requests == []


def test_headers_may_contain_tokens(credentials: Credentials) -> None:
    request = new_operation().build_request(Configuration(), headers={"X-Token": credentials["a JWT"]})
    assert request.headers["X-Token"] == credentials["a JWT"]


@pytest.mark.parametrize("as_bytes", [False, True])
def test_only_a_jwe_is_tokenized(
    as_bytes: bool, client: FlexClient, credentials: Credentials, token: TransientToken, emulator: Emulator, api: Api
) -> None:
    flex = api(FlexAPIApi, client)
    jwe = credentials.pop("a JWE")
    invalid = {
        **credentials,
        "JSON that is not encrypted": json.dumps(CARD),
        "JSON that is not encrypted ": f" \n{json.dumps([CARD])}",
        "five parts": token.jti,
        "five parts ": "3g",
        "five parts  ": jwe.rpartition(".")[0] + ".",
        "five parts   ": f"{jwe}.{jwe}",
        "five parts    ": jwe.replace(".", ".."),
        "a JWE with other text around it": f'{{"keyId":"{jwe}"}}'[1:],
    }
    del invalid["a JSON object"]
    for description, secret in invalid.items():
        message = "five parts" if description.startswith(("a shared", "a secret", "five parts")) else description
        body: Any = secret.encode() if as_bytes else secret
        assert_rejected(lambda body=body: flex.create_transient_token(body), secret, "body", message)  # type: ignore[misc]
    assert emulator.requests == []
    created = flex.create_transient_token(f"{jwe}\n".encode() if as_bytes else f"{jwe}\n")
    assert created.count(".") == 2
    assert emulator.requests[-1].body == jwe.encode()


def test_bodies_of_jwt_media_types_must_be_tokens(make_api_client: Callable[[Configuration], ApiClient]) -> None:
    for media_type in ("application/jwt", "application/jwt; charset=utf-8", "application/jose"):
        operation = new_operation(method="POST", content_type=media_type)
        request = operation.build_request(Configuration(), body="a.b.c")
        assert request.body == b"a.b.c"
        assert operation.build_request(Configuration(), body=b"a..c.d.e").body == b"a..c.d.e"
        for body in ("{}", NUMBER, "a.b", "a.b.c.d", "a.b.c.d.e.f", "a.b.é", "", ".."):
            with pytest.raises(InvalidArgumentError, match="three or five parts"):
                operation.build_request(Configuration(), body=body)
    assert (
        new_operation(method="POST", content_type="text/plain").build_request(Configuration(), body="{}").body == b"{}"
    )


def test_card_data_instead_of_fields(client: FlexClient, emulator: Emulator, api: Api) -> None:
    # Fields and card data have the same structure, and the request for a context is not encrypted.
    emulator.clear()
    data: Any
    for data in ({"card": {"number": NUMBER}}, CARD, json.dumps(CARD), NUMBER, None):
        with pytest.raises(InvalidArgumentError, match="fields must be CaptureFields") as caught:
            client.create_capture_context(data)
        assert NUMBER not in str(caught.value)
    flex, microform = api(FlexAPIApi, client), api(MicroformIntegrationApi, client)
    for data in (CARD, {"fields": CARD}, json.dumps(CARD), NUMBER, [NUMBER], fields(card=["number"])):
        with pytest.raises(TypeError, match="must be GenerateFlexAPICaptureContextRequest") as type_error:
            flex.generate_flex_api_capture_context(data)
        with pytest.raises(TypeError, match="must be GenerateCaptureContextRequest"):
            microform.generate_capture_context(data)
        assert NUMBER not in str(type_error.value)
    with pytest.raises(ConfigurationError, match="card has no field of the name that was given") as name_error:
        fields(card=[NUMBER])
    assert NUMBER not in str(name_error.value)
    assert emulator.requests == []


@pytest.mark.parametrize("kind", ["jti", "kid", "number", "json"])
def test_ids_and_card_data_instead_of_tokens(
    kind: str, client: FlexClient, context: CaptureContext, token: TransientToken, emulator: Emulator
) -> None:
    value = {"jti": token.jti, "kid": "3g", "number": NUMBER, "json": json.dumps(CARD)}[kind]
    emulator.clear()
    calls = [
        lambda: client.verify_transient_token(value, context),
        lambda: client.verify_capture_context(value),
        lambda: client.restore_capture_context(value),
    ]
    for call in calls:
        with Canaries() as canaries:
            canaries.plant("value", value)
            with pytest.raises(TokenError) as caught:
                call()
            canaries.watch(caught.value)
    for call in (lambda: client.tokenize(value, CARD), lambda: client.verify_transient_token(token.jwt, value)):  # type: ignore[arg-type]
        with pytest.raises(InvalidArgumentTypeError, match="context must be a verified CaptureContext"):
            call()
    with pytest.raises(FlexError, match="must be a mapping"):
        client.tokenize(context, value)  # type: ignore[arg-type]
    assert emulator.requests == []


@pytest.mark.parametrize("kid", [NUMBER, "eyJhbGciOiJub25lIn0.e30."])
def test_credentials_in_the_kid_of_a_forged_token(kid: str, client: FlexClient, emulator: Emulator) -> None:
    forged = signing_input({"alg": "RS256", "kid": kid}, {"iss": "Flex API"}) + ".AAAA"
    emulator.clear()
    with pytest.raises(TokenError, match="kid of the token"):
        client.verify_capture_context(forged)
    assert emulator.requests == []


@pytest.mark.parametrize("name", ["merchant_id", "key_id", "portfolio_id"])
def test_credentials_instead_of_the_ids_of_signers(name: str, credentials: Credentials, emulator: Emulator) -> None:
    # These ids are sent unencrypted with each request, and are in the repr of the signer.
    signers: list[tuple[Any, dict[str, Any]]] = [
        (JwtSharedSecret, emulator.auth),
        (JwtExternalKey, {"merchant_id": "shop", "key_id": "key", "sign": bytes}),
    ]
    invalid = {
        **{name: credentials[name] for name in ("a JWT", "a JWE", "a key or certificate in PEM")},
        "a shared secret (base64 of 32 bytes)": emulator.auth["secret_key"],
        "a secret or signature in base64": emulator.auth["secret_key"].rstrip("="),
        "a secret or signature in base64 ": emulator.auth["secret_key"][:40],
        "a secret in base64": emulator.auth["secret_key"][:32],
        "a secret or signature in base64  ": base64.b64encode(os.urandom(48)).decode(),
        "a secret or signature in base64   ": base64.b64encode(os.urandom(64)).decode(),
    }
    for description, value in invalid.items():
        for signer, arguments in signers:
            with Canaries() as canaries:
                secret = canaries.plant("credential", value)
                with pytest.raises(ConfigurationError, match=f"{name} is ") as caught:
                    signer(**{**arguments, name: secret})
                canaries.watch(caught.value)
            assert description.strip() in str(caught.value)
    with (
        pytest.warns(DeprecationWarning, match="HTTP Signature"),
        pytest.raises(ConfigurationError, match=f"{name} is a shared secret"),
    ):
        HttpSignature(**{**emulator.auth, name: emulator.auth["secret_key"]})


def test_card_numbers_as_key_ids() -> None:
    for key_id in (NUMBER, f"{NUMBER}.0", "4111-1111-1111-1111"):
        with pytest.raises(ConfigurationError, match="key_id is a card number") as caught:
            JwtExternalKey(merchant_id="shop", key_id=key_id, sign=bytes)
        assert "1111" not in str(caught.value)


def test_merchant_ids_may_consist_of_digits() -> None:
    assert JwtExternalKey(merchant_id="135412345678911", key_id="1" * 22, sign=bytes).merchant_id == "135412345678911"
