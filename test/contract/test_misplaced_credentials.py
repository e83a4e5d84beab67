"""A token, key, secret or card number given where an id belongs, and the reverse: refused before anything is sent."""

from __future__ import annotations

import base64
import json
import os
import traceback
from collections.abc import Callable, Iterator
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

NUMBER = "4111111111111111"
PEM = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----"
CARD = {"paymentInformation": {"card": {"number": NUMBER, "securityCode": "123"}}}

Connect = type[FlexClient]
Api = Callable[[type, Any], Any]
Credentials = dict[str, str]


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


@pytest.fixture
def client(emulator: Emulator, connect: Connect) -> Iterator[FlexClient]:
    with connect(JwtSharedSecret(**emulator.auth), environment=emulator.url) as made:
        yield made


@pytest.fixture
def context(client: FlexClient) -> CaptureContext:
    return client.create_capture_context(fields(card=["number"]))


@pytest.fixture
def token(client: FlexClient, context: CaptureContext) -> TransientToken:
    return client.tokenize(context, {"card": {"number": NUMBER}})


@pytest.fixture
def credentials(emulator: Emulator, context: CaptureContext, token: TransientToken) -> Credentials:
    """What may not become part of a URL, by what a message calls it. Nothing before counts as sent."""
    jwe = encrypt(context, {"paymentInformation.card.number": NUMBER})
    found = {
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
    return found


def refused(call: Callable[[], object], secret: str, argument: str, what: str) -> None:
    """The call raises the error of the package, which says what was given and holds nothing of it."""
    with Canaries() as canaries:
        canaries.plant("credential", secret)
        with pytest.raises(InvalidArgumentError) as caught:
            call()
        canaries.watch(caught.value)
        canaries.search("".join(traceback.format_exception(caught.value)), "traceback")
    assert isinstance(caught.value, FlexError)
    assert isinstance(caught.value, ValueError)
    assert caught.value.argument == argument
    assert what.strip() in str(caught.value)


CALLS: list[tuple[str, str, Callable[[Any, str], object]]] = [
    ("FlexClient", "token", lambda client, value: client.payment_details(value)),
    ("FlexClient", "reference", lambda client, value: client.payment_credentials(value, None)),
    ("FlexAPIApi", "jti", lambda flex, value: flex.get_payment_details(value)),
    ("FlexAPIApi", "jti", lambda flex, value: flex.get_payment_details_with_http_info(value)),
    ("FlexAPIApi", "kid", lambda flex, value: flex.get_public_key(value)),
    ("FlexAPIApi", "paymentCredentialsReference", lambda flex, value: flex.get_payment_credentials(value)),
]


@pytest.mark.parametrize(("owner", "argument", "call"), CALLS)
def test_no_credential_gets_into_a_path(
    owner: str,
    argument: str,
    call: Callable[[Any, str], object],
    client: FlexClient,
    credentials: Credentials,
    emulator: Emulator,
    api: Api,
) -> None:
    target = client if owner == "FlexClient" else api(FlexAPIApi, client)
    for what, secret in credentials.items():
        refused(lambda secret=secret: call(target, secret), secret, argument, what)  # type: ignore[misc]
    assert emulator.requests == []


UNUSUAL: list[tuple[Any, str]] = [
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


@pytest.mark.parametrize(("owner", "argument", "call"), CALLS)
def test_no_data_in_another_form_gets_into_a_path(
    owner: str,
    argument: str,
    call: Callable[[Any, Any], object],
    client: FlexClient,
    emulator: Emulator,
    api: Api,
) -> None:
    emulator.clear()
    target = client if owner == "FlexClient" else api(FlexAPIApi, client)
    for value, secret in UNUSUAL:
        with pytest.raises(InvalidArgumentError) as caught:
            call(target, value)
        assert secret not in "".join(traceback.format_exception(caught.value))
        assert caught.value.argument in (argument, "jti", "paymentCredentialsReference")
    assert emulator.requests == []


def test_the_message_says_what_is_expected(client: FlexClient, token: TransientToken) -> None:
    with pytest.raises(InvalidArgumentError, match="expected the verified TransientToken, or its jti"):
        client.payment_details(token.jwt)
    with pytest.raises(InvalidArgumentError, match=r"expected a value of token\.payment_credentials_references"):
        client.payment_credentials(token.jwt, None)  # type: ignore[arg-type]


def test_ids_still_pass(client: FlexClient, token: TransientToken, api: Api) -> None:
    details = client.payment_details(token)
    assert client.payment_details(token.jti) == details
    assert api(FlexAPIApi, client).get_payment_details(token.jti) == details
    for unknown in ("A" * 64, "0123456789abcdef" * 4, "E-firqlLk7GiziQwXxAsq", "4111111111111112"):
        with pytest.raises(NotFoundError):
            client.payment_details(unknown)
        with pytest.raises(NotFoundError):
            client.payment_credentials(unknown, None)  # type: ignore[arg-type]


def future(**changes: Any) -> Operation:
    """An operation that the specification does not have yet."""
    given: dict[str, Any] = {
        "name": "call",
        "method": "GET",
        "path": "/tokens",
        "signed": False,
        "responses": {"200": "str"},
        "models": "cybersource_flex.models",
    }
    return Operation(**{**given, **changes})


def test_operations_of_a_later_specification(
    connect_api: Callable[[Configuration], ApiClient], credentials: Credentials, emulator: Emulator
) -> None:
    in_path = future(path="/up/v1/payment-details/{transientToken}")
    with connect_api(Configuration(host=emulator.url)) as client:
        for what, secret in credentials.items():
            for value in (secret, ["A", secret]):
                refused(
                    lambda value=value: client.call(in_path, path={"transientToken": value}),  # type: ignore[misc]
                    secret,
                    "transientToken",
                    what,
                )
        for what in ("a JWT", "a JWE", "a part of a JWT or JWE", "a card number", "a key or certificate in PEM"):
            secret = credentials[what]
            for value in (secret, [secret, "A"]):
                refused(
                    lambda value=value: client.call(future(), query=[("a", "b"), ("q", value)]),  # type: ignore[misc]
                    secret,
                    "q",
                    what,
                )
        refused(lambda: client.call(future(), query=[("q", int(NUMBER))]), NUMBER, "q", "a card number")
        refused(lambda: client.call(future(), headers={"X-Id": NUMBER}), NUMBER, "X-Id", "a card number")
        refused(lambda: client.call(future(), headers={"X-Id": ["a", NUMBER]}), NUMBER, "X-Id", "a card number")
    assert emulator.requests == []


def test_a_header_may_hold_a_token(credentials: Credentials) -> None:
    request = future().request(Configuration(), headers={"X-Token": credentials["a JWT"]})
    assert request.headers["X-Token"] == credentials["a JWT"]


@pytest.mark.parametrize("as_bytes", [False, True])
def test_only_a_jwe_is_exchanged_for_a_token(
    as_bytes: bool, client: FlexClient, credentials: Credentials, token: TransientToken, emulator: Emulator, api: Api
) -> None:
    flex = api(FlexAPIApi, client)
    jwe = credentials.pop("a JWE")
    given = {
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
    del given["a JSON object"]
    for what, secret in given.items():
        said = "five parts" if what.startswith(("a shared", "a secret", "five parts")) else what
        body: Any = secret.encode() if as_bytes else secret
        refused(lambda body=body: flex.create_transient_token(body), secret, "body", said)  # type: ignore[misc]
    assert emulator.requests == []
    exchanged = flex.create_transient_token(f"{jwe}\n".encode() if as_bytes else f"{jwe}\n")
    assert exchanged.count(".") == 2
    assert emulator.requests[-1].body == jwe.encode()


def test_bodies_of_this_media_type_are_tokens(connect_api: Callable[[Configuration], ApiClient]) -> None:
    for media_type in ("application/jwt", "application/jwt; charset=utf-8", "application/jose"):
        operation = future(method="POST", content_type=media_type)
        request = operation.request(Configuration(), body="a.b.c")
        assert request.body == b"a.b.c"
        assert operation.request(Configuration(), body=b"a..c.d.e").body == b"a..c.d.e"
        for body in ("{}", NUMBER, "a.b", "a.b.c.d", "a.b.c.d.e.f", "a.b.é", "", ".."):
            with pytest.raises(InvalidArgumentError, match="three or five parts"):
                operation.request(Configuration(), body=body)
    assert future(method="POST", content_type="text/plain").request(Configuration(), body="{}").body == b"{}"


def test_data_is_not_sent_as_the_fields_of_a_context(client: FlexClient, emulator: Emulator, api: Api) -> None:
    # Fields and data look alike, and a request for a context is not encrypted.
    emulator.clear()
    data: Any
    for data in ({"card": {"number": NUMBER}}, CARD, json.dumps(CARD), NUMBER, None):
        with pytest.raises(InvalidArgumentError, match="fields must be CaptureFields") as caught:
            client.create_capture_context(data)
        assert NUMBER not in str(caught.value)
    flex, microform = api(FlexAPIApi, client), api(MicroformIntegrationApi, client)
    for data in (CARD, {"fields": CARD}, json.dumps(CARD), NUMBER, [NUMBER], fields(card=["number"])):
        with pytest.raises(TypeError, match="must be GenerateFlexAPICaptureContextRequest") as mistaken:
            flex.generate_flex_api_capture_context(data)
        with pytest.raises(TypeError, match="must be GenerateCaptureContextRequest"):
            microform.generate_capture_context(data)
        assert NUMBER not in str(mistaken.value)
    with pytest.raises(ConfigurationError, match="card has no field of the name that was given") as wrong:
        fields(card=[NUMBER])
    assert NUMBER not in str(wrong.value)
    assert emulator.requests == []


@pytest.mark.parametrize("given", ["jti", "kid", "number", "json"])
def test_ids_and_data_are_no_tokens(
    given: str, client: FlexClient, context: CaptureContext, token: TransientToken, emulator: Emulator
) -> None:
    text = {"jti": token.jti, "kid": "3g", "number": NUMBER, "json": json.dumps(CARD)}[given]
    emulator.clear()
    calls = [
        lambda: client.verify_transient_token(text, context),
        lambda: client.verify_capture_context(text),
        lambda: client.restore_capture_context(text),
    ]
    for call in calls:
        with Canaries() as canaries:
            canaries.plant("value", text)
            with pytest.raises(TokenError) as caught:
                call()
            canaries.watch(caught.value)
    for wrong in (lambda: client.tokenize(text, CARD), lambda: client.verify_transient_token(token.jwt, text)):  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="context must be a CaptureContext"):
            wrong()
    with pytest.raises(FlexError, match="must be a mapping"):
        client.tokenize(context, text)  # type: ignore[arg-type]
    assert emulator.requests == []


@pytest.mark.parametrize("kid", [NUMBER, "eyJhbGciOiJub25lIn0.e30."])
def test_a_forged_token_puts_no_credential_into_a_url(kid: str, client: FlexClient, emulator: Emulator) -> None:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    forged = ".".join((part({"alg": "RS256", "kid": kid}), part({"iss": "Flex API"}), "AAAA"))
    emulator.clear()
    with pytest.raises(TokenError, match="kid of the token"):
        client.verify_capture_context(forged)
    assert emulator.requests == []


@pytest.mark.parametrize("name", ["merchant_id", "key_id", "portfolio_id"])
def test_ids_of_signers_are_no_credentials(name: str, credentials: Credentials, emulator: Emulator) -> None:
    # These ids are in a header of each request, in the clear, and in the repr of the signer.
    signers: list[tuple[Any, dict[str, Any]]] = [
        (JwtSharedSecret, emulator.auth),
        (JwtExternalKey, {"merchant_id": "shop", "key_id": "key", "sign": bytes}),
    ]
    given = {
        **{what: credentials[what] for what in ("a JWT", "a JWE", "a key or certificate in PEM")},
        "a shared secret (base64 of 32 bytes)": emulator.auth["secret_key"],
        "a secret or signature in base64": emulator.auth["secret_key"].rstrip("="),
        "a secret or signature in base64 ": emulator.auth["secret_key"][:40],
        "a secret in base64": emulator.auth["secret_key"][:32],
        "a secret or signature in base64  ": base64.b64encode(os.urandom(48)).decode(),
        "a secret or signature in base64   ": base64.b64encode(os.urandom(64)).decode(),
    }
    for what, value in given.items():
        for signer, arguments in signers:
            with Canaries() as canaries:
                secret = canaries.plant("credential", value)
                with pytest.raises(ConfigurationError, match=f"{name} is ") as caught:
                    signer(**{**arguments, name: secret})
                canaries.watch(caught.value)
            assert what.strip() in str(caught.value)
    with (
        pytest.warns(DeprecationWarning, match="HTTP Signature"),
        pytest.raises(ConfigurationError, match=f"{name} is a shared secret"),
    ):
        HttpSignature(**{**emulator.auth, name: emulator.auth["secret_key"]})


def test_a_key_id_is_no_card_number() -> None:
    for key_id in (NUMBER, f"{NUMBER}.0", "4111-1111-1111-1111"):
        with pytest.raises(ConfigurationError, match="key_id is a card number") as caught:
            JwtExternalKey(merchant_id="shop", key_id=key_id, sign=bytes)
        assert "1111" not in str(caught.value)


def test_merchant_ids_of_digits_pass() -> None:
    assert JwtExternalKey(merchant_id="135412345678911", key_id="1" * 22, sign=bytes).merchant_id == "135412345678911"
