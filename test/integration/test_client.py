"""``FlexClient`` and the generated API classes: all operations of a payment, errors, signatures, and settings."""

from __future__ import annotations

import base64
import json
import pickle
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from cybersource_flex import (
    ApiClient,
    AuthenticationError,
    BadRequestError,
    CaptureContext,
    Configuration,
    ConfigurationError,
    DecryptionError,
    FlexAPIApi,
    FlexClient,
    InvalidClaimError,
    InvalidDataError,
    InvalidSignatureError,
    MicroformIntegrationApi,
    NotFoundError,
    UnknownKeyError,
    fields,
)
from cybersource_flex.auth import HttpSignature, JwtSharedSecret
from cybersource_flex.cards import Card
from cybersource_flex.emulator import Emulator
from cybersource_flex.jose import ContextExpectations, PinnedKeys
from cybersource_flex.models import GenerateCaptureContextRequest, GenerateFlexAPICaptureContextRequest
from cybersource_flex.transport import Signer
from support.tokens import decode_part

NUMBER = "4111111111111111"
YEAR = str(datetime.now(UTC).year + 3)
CARD = {"number": NUMBER, "expirationMonth": "12", "expirationYear": YEAR}

Api = Callable[[type, Any], Any]

CARD_FIELDS = fields(card=["number", "expirationMonth", "expirationYear", "securityCode?"])


@pytest.fixture(params=["jwt", "http_signature"])
def auth(request: pytest.FixtureRequest, emulator: Emulator) -> Signer:
    if request.param == "jwt":
        return JwtSharedSecret(**emulator.auth)
    with pytest.warns(DeprecationWarning, match="March 2027"):
        return HttpSignature(**emulator.auth)


@pytest.fixture
def client(emulator: Emulator, auth: Signer, client_class: type[FlexClient]) -> Iterator[FlexClient]:
    with client_class(auth, environment=emulator.url) as flex_client:
        yield flex_client


def test_the_five_operations_of_a_payment(client: FlexClient) -> None:
    context = client.create_capture_context(CARD_FIELDS)
    assert context.type == "api-0.1.0"
    assert set(context.required_fields) == {
        "paymentInformation.card.number",
        "paymentInformation.card.expirationMonth",
        "paymentInformation.card.expirationYear",
    }
    assert context.optional_fields == ("paymentInformation.card.securityCode",)
    token = client.tokenize(context, {"card": {**CARD, "securityCode": "123"}})
    assert token.masked_number == "XXXXXXXXXXXX1111"
    assert token.bin == "411111"
    assert 0 < token.expires_in().total_seconds() <= 900
    assert client.verify_transient_token(token.jwt, context) == token
    assert client.verify_capture_context(context.jwt) == context
    details = client.payment_details(token)
    assert details["paymentInformation"]["card"]["number"] == "XXXXXXXXXXXX1111"
    assert client.payment_details(token.jti) == details
    assert NUMBER not in json.dumps(details)


@pytest.mark.parametrize(
    "data",
    [
        {"card": CARD},
        {"card": {"number": NUMBER, "expiration_month": "12", "expiration_year": YEAR}},
        {"paymentInformation": {"card": CARD}},
        {f"paymentInformation.card.{name}": value for name, value in CARD.items()},
        {"card": {**CARD, "securityCode": ""}},
    ],
)
def test_formats_of_data(data: dict[str, Any], client: FlexClient) -> None:
    token = client.tokenize(client.create_capture_context(CARD_FIELDS), data)
    assert token.masked_number == "XXXXXXXXXXXX1111"


def test_a_microform_context(client: FlexClient) -> None:
    context = client.create_microform_context(
        target_origins=["https://shop.example.com"],
        allowed_card_networks=["VISA", "MASTERCARD"],
        include_card_prefix=False,
    )
    assert context.type.startswith("mf-")
    assert context.target_origins == ("https://shop.example.com",)
    assert context.client_library is not None
    token = client.tokenize(context, {"card": {**CARD, "type": "001"}})
    assert token.type == context.type
    assert token.bin is None


def test_errors_of_the_host(client: FlexClient) -> None:
    with pytest.raises(BadRequestError) as caught:
        client.create_microform_context(target_origins=["https://shop.example.com"], allowed_card_networks=["UNKNOWN"])
    assert caught.value.details
    assert caught.value.correlation_id
    context = client.create_capture_context(CARD_FIELDS)
    with pytest.raises(BadRequestError) as caught:
        client.tokenize(context, {"card": {**CARD, "number": "4111111111111112"}})
    assert [detail.location for detail in caught.value.details] == ["captureData.number"]
    assert "4111111111111112" not in f"{caught.value} {caught.value!r}"
    with pytest.raises(NotFoundError):
        client.payment_details("A" * 64)


def test_invalid_data_is_not_sent(client: FlexClient, emulator: Emulator) -> None:
    context = client.create_capture_context(CARD_FIELDS)
    emulator.clear()
    for data, field in (
        ({"card": {**CARD, "number": ""}}, "paymentInformation.card.number"),
        ({"card": {**CARD, "type": "001"}}, "paymentInformation.card.type"),
        ({"card": CARD, "billTo": {"firstName": "Zoë"}}, "orderInformation.billTo.firstName"),
        ({"card": NUMBER}, "paymentInformation.card"),
        ({"card": {**CARD, "expiration_month": "11"}}, "paymentInformation.card.expirationMonth"),
    ):
        with pytest.raises(InvalidDataError) as caught:
            client.tokenize(context, data)
        assert caught.value.field == field
        assert NUMBER not in str(caught.value)
    assert emulator.requests == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "was called without a field"),
        ({"card": ["numbr"]}, "did you mean 'number'"),
        ({"card": ["x"]}, "it has number"),
        ({"card": ["number", "number?"]}, "twice"),
        ({"card": ["expirationMonth", "expiration_month"]}, "twice"),
        ({"card": "number"}, "list of names"),
        ({"card": [1]}, "type int"),
    ],
)
def test_invalid_fields(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        fields(**arguments)


def test_fields_of_every_group() -> None:
    selected = fields(card=["number"], amount_details=["totalAmount"], bill_to=["first_name?"], ship_to=["country"])
    assert selected.to_dict() == {
        "paymentInformation": {"card": {"number": {"required": True}}},
        "orderInformation": {
            "amountDetails": {"totalAmount": {"required": True}},
            "billTo": {"firstName": {"required": False}},
            "shipTo": {"country": {"required": True}},
        },
    }


def test_without_auth_nothing_is_sent(emulator: Emulator, client_class: type[FlexClient]) -> None:
    emulator.clear()
    with client_class(None, environment=emulator.url) as client:
        with pytest.raises(ConfigurationError, match="must be signed"):
            client.create_capture_context(CARD_FIELDS)
        with pytest.raises(ConfigurationError, match="must be signed"):
            client.payment_details("A" * 64)
    assert emulator.requests == []


def test_tokenize_needs_no_auth(client: FlexClient, emulator: Emulator, client_class: type[FlexClient]) -> None:
    context = client.create_capture_context(CARD_FIELDS)
    with client_class(None, environment=emulator.url) as client_without_auth:
        verified = client_without_auth.verify_capture_context(context.jwt)
        assert client_without_auth.tokenize(verified, {"card": CARD}).masked_number


def test_contexts_of_another_host_are_rejected(client: FlexClient, client_class: type[FlexClient]) -> None:
    with Emulator() as other, client_class(JwtSharedSecret(**other.auth), environment=other.url) as other_client:
        context = other_client.create_capture_context(CARD_FIELDS)
        with pytest.raises((UnknownKeyError, Exception)) as caught:
            client.verify_capture_context(context.jwt)
        assert type(caught.value).__name__ in ("UnknownKeyError", "InvalidSignatureError")
        first = client.create_capture_context(CARD_FIELDS)
        second = client.create_capture_context(CARD_FIELDS)
        token = client.tokenize(first, {"card": CARD})
        with pytest.raises(UnknownKeyError, match="created for another capture context"):
            client.verify_transient_token(token.jwt, second)


def test_long_term_keys_are_fetched_once(emulator: Emulator, client_class: type[FlexClient]) -> None:
    emulator.clear()
    with client_class(JwtSharedSecret(**emulator.auth), environment=emulator.url) as client:
        for _ in range(3):
            client.create_capture_context(CARD_FIELDS)
    targets = [request.target for request in emulator.requests]
    assert sum(target.startswith("/flex/v2/public-keys/") for target in targets) == 1


# Requests that the emulator rejects, and the errors that the client raises.


def rejection_reason(client: FlexClient, emulator: Emulator) -> str:
    """Make a call that gets a 401, check the exception, and return the reason that the emulator recorded."""
    with pytest.raises(AuthenticationError) as caught:
        client.create_capture_context(CARD_FIELDS)
    error = caught.value
    assert error.status == 401
    assert error.correlation_id
    assert "401" in str(error)
    assert error.correlation_id in str(error)
    return emulator.requests[-1].rejection_reason or ""


def signers(emulator: Emulator, **changes: str) -> Iterator[Signer]:
    credentials = {**emulator.auth, **changes}
    yield JwtSharedSecret(**credentials)
    with pytest.warns(DeprecationWarning, match="March 2027"):
        yield HttpSignature(**credentials)


def test_a_wrong_secret(emulator: Emulator, client_class: type[FlexClient]) -> None:
    secret = base64.b64encode(b"another secret of 32 bytes......").decode()
    for signer in signers(emulator, secret_key=secret):
        with client_class(signer, environment=emulator.url) as client:
            assert rejection_reason(client, emulator)


class ChangingSigner:
    """A signer whose signature is for another request than the one that is sent."""

    def __init__(self, signer: Signer, **changes: Any) -> None:
        self._signer = signer
        self._changes = changes
        self._time_offset = self._changes.pop("time_offset", 0)

    def sign(self, request: Any, now: float) -> Any:
        original = {name: getattr(request, name) for name in self._changes}
        for name, value in self._changes.items():
            setattr(request, name, value)
        try:
            return self._signer.sign(request, now + self._time_offset)
        finally:
            for name, value in original.items():
                setattr(request, name, value)


@pytest.mark.parametrize(
    "changes",
    [
        {"body": b'{"fields":{}}'},
        {"host": "api.example.com"},
        {"target": "/flex/v2/sessions/"},
        {"method": "PUT"},
        {"time_offset": -3600},
        {"time_offset": 3600},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_signature_of_another_request(
    changes: dict[str, Any], emulator: Emulator, client_class: type[FlexClient]
) -> None:
    for signer in signers(emulator):
        with client_class(ChangingSigner(signer, **changes), environment=emulator.url) as client:
            assert rejection_reason(client, emulator)


def test_a_used_token_id(emulator: Emulator, monkeypatch: pytest.MonkeyPatch, client_class: type[FlexClient]) -> None:
    import uuid

    fixed = uuid.uuid4()
    monkeypatch.setattr(uuid, "uuid4", lambda: fixed)
    with client_class(JwtSharedSecret(**emulator.auth), environment=emulator.url) as client:
        assert isinstance(client.create_capture_context(CARD_FIELDS), CaptureContext)
        assert "jti" in rejection_reason(client, emulator)


# Published requests.


@pytest.mark.parametrize(
    "name",
    [
        "flex-sessions-full.spec",
        "flex-sessions-simple.spec",
        "flex-sessions-maximum.guide-without-fields-wrapper",
        "flex-sessions-minimum.guide-without-fields-wrapper",
        "microform-sessions-all-networks.spec",
        "microform-sessions-card.spec",
        "microform-sessions-echeck.spec",
        "microform-sessions-nested-iframes-echeck.guide",
        "microform-sessions-no-card-prefix.spec",
    ],
)
def test_published_requests_are_accepted(
    name: str, client: FlexClient, emulator: Emulator, reference: Any, api: Api
) -> None:
    published = json.loads((reference / "samples" / "requests" / f"{name}.json").read_text("utf-8"))
    if name.startswith("flex"):
        flex_request = GenerateFlexAPICaptureContextRequest.from_dict(published)
        response = api(FlexAPIApi, client).generate_flex_api_capture_context_with_http_info(flex_request)
    else:
        microform_request = GenerateCaptureContextRequest.from_dict(published)
        response = api(MicroformIntegrationApi, client).generate_capture_context_with_http_info(microform_request)
    assert response.status_code == 201
    assert json.loads(emulator.requests[-1].body) == published
    assert client.verify_capture_context(response.data).jwt == response.data


def test_the_published_plaintext_is_tokenized(client: FlexClient, reference: Any) -> None:
    file = reference / "samples" / "requests" / "tokens-jwe-plaintext.guide.json"
    data = json.loads(file.read_text("utf-8"))["data"]
    context = client.create_capture_context(
        fields(
            card=["number", "expirationMonth", "expirationYear", "type?", "securityCode?"],
            amount_details=["totalAmount", "currency"],
            bill_to=list(data["orderInformation"]["billTo"]),
        )
    )
    assert client.tokenize(context, data).masked_number == "XXXXXXXXXXXX1111"


def test_payment_credentials_are_encrypted(client_class: type[FlexClient], api: Api) -> None:
    with Emulator(payment_credentials=True) as emulator:
        auth = JwtSharedSecret(**emulator.auth)
        with client_class(auth, environment=emulator.url) as client:
            token = client.tokenize(client.create_capture_context(CARD_FIELDS), {"card": CARD})
            (reference,) = token.claims["paymentCredentialsReference"].values()
            response = api(FlexAPIApi, client).get_payment_credentials(reference)
            assert response.count(".") == 4


def test_the_generated_classes_without_a_flex_client(
    emulator: Emulator, make_api_client: Callable[..., ApiClient], api: Api
) -> None:
    with make_api_client(Configuration(host=emulator.url, auth=JwtSharedSecret(**emulator.auth))) as api_client:
        flex = api(FlexAPIApi, api_client)
        jwt = flex.generate_flex_api_capture_context(GenerateFlexAPICaptureContextRequest(fields=CARD_FIELDS))
        kid = decode_part(jwt.partition(".")[0])["kid"]
        key = flex.get_public_key_with_http_info(kid)
        assert (key.status_code, key.data.kid, key.data.kty) == (200, kid, "RSA")
        with pytest.raises(NotFoundError):
            flex.get_public_key("none")


def test_an_expired_context_is_rejected_before_sending(client_class: type[FlexClient]) -> None:
    now = time.time() - 2000
    with (
        Emulator(clock=lambda: now, clock_tolerance=5000, jwt_leeway=5000) as emulator,
        client_class(JwtSharedSecret(**emulator.auth), environment=emulator.url) as client,
    ):
        from cybersource_flex import ExpiredTokenError

        with pytest.raises(ExpiredTokenError, match="18 min ago"):
            client.create_capture_context(CARD_FIELDS)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ("prod", "must be one of 'test', 'production'"),
        ("https://apitest.cybersource.com/x", "has a path"),
        ("", "must be one of"),
        (None, "must be one of"),
        ("http://apitest.cybersource.com", "must use https://"),
    ],
)
def test_invalid_environments(
    environment: Any, message: str, emulator: Emulator, client_class: type[FlexClient]
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        client_class(JwtSharedSecret(**emulator.auth), environment=environment)


@pytest.mark.parametrize("leeway", [0, 0.5, 600])
def test_the_limits_of_leeway(leeway: float, client_class: type[FlexClient]) -> None:
    with client_class(None, leeway=leeway):
        pass


@pytest.mark.parametrize("leeway", [-1, 601, "30", True, float("nan")])
def test_invalid_leeway(leeway: Any, client_class: type[FlexClient]) -> None:
    with pytest.raises(ConfigurationError, match="leeway"):
        client_class(None, leeway=leeway)


def test_environments_by_name(client_class: type[FlexClient]) -> None:
    for name, host in Configuration.ENVIRONMENTS.items():
        with client_class(None, environment=name) as client:
            assert client.api_client.configuration.host == host


# Cards, stored contexts, keys and payment credentials.


def test_a_card_is_converted_to_its_fields(client: FlexClient) -> None:
    context = client.create_capture_context(CARD_FIELDS)
    with Card("4111 1111 1111 1111", expiration=f"12/{YEAR}", security_code="123") as card:
        assert client.tokenize(context, card).masked_number == "XXXXXXXXXXXX1111"
    microform = client.create_microform_context(
        target_origins=["https://shop.example.com"], allowed_card_networks=["VISA"]
    )
    with_name = client.create_capture_context(fields(card=["number"], bill_to=["firstName"]))
    with Card("4111111111111111", expiration=f"12/{YEAR}") as card:
        assert client.tokenize(microform, card).card_types == ("001",)
        assert client.tokenize(with_name, {"card": card, "billTo": {"firstName": "Zoë"}}).masked_number
    with pytest.raises(InvalidDataError, match="wiped"):
        client.tokenize(context, card)


def test_a_context_is_stored_and_restored(client: FlexClient) -> None:
    context = client.create_capture_context(CARD_FIELDS)
    token = client.tokenize(context, {"card": CARD})
    key = "a key for stored contexts"
    for stored, arguments in (
        (client.store_capture_context(context), {}),
        (client.store_capture_context(context, key, session_id="session 7"), {"key": key, "session_id": "session 7"}),
    ):
        assert len(stored) < len(context.jwt)
        restored = client.restore_capture_context(stored, **arguments)  # type: ignore[arg-type]
        assert restored == context
        assert client.verify_transient_token(token.jwt, restored) == token
    with pytest.raises(InvalidSignatureError):
        client.restore_capture_context(stored, key, session_id="session 8")


def test_expected_content_of_a_context(client: FlexClient) -> None:
    context = client.create_microform_context(
        target_origins=["https://shop.example.com"], allowed_card_networks=["VISA", "AMEX"]
    )
    expected = ContextExpectations(target_origins=["https://shop.example.com"], allowed_card_networks=["AMEX", "VISA"])
    assert client.verify_capture_context(context.jwt, expected=expected) == context
    with pytest.raises(InvalidClaimError, match="target_origins"):
        client.verify_capture_context(
            context.jwt, expected=ContextExpectations(target_origins=["https://evil.example.com"])
        )


def test_pinned_keys_need_no_connection(
    emulator: Emulator, client: FlexClient, client_class: type[FlexClient], api: Api
) -> None:
    context = client.create_capture_context(CARD_FIELDS)
    kid = decode_part(context.jwt.partition(".")[0])["kid"]
    jwk = api(FlexAPIApi, client).get_public_key(kid).to_dict()
    emulator.clear()
    with client_class(None, environment="https://flex.invalid", keys=PinnedKeys([jwk])) as offline:
        assert offline.verify_capture_context(context.jwt) == context
    assert emulator.requests == []
    with pytest.raises(ConfigurationError, match="keys must be a KeySource"):
        client_class(None, keys=[jwk])  # type: ignore[arg-type]


def test_payment_credentials_are_decrypted_but_not_in_the_repr(client_class: type[FlexClient]) -> None:
    with (
        Emulator(payment_credentials=True) as emulator,
        client_class(JwtSharedSecret(**emulator.auth), environment=emulator.url) as client,
    ):
        token = client.tokenize(client.create_capture_context(CARD_FIELDS), {"card": CARD})
        (reference,) = token.payment_credentials_references.values()
        key = load_pem_private_key(emulator.credentials_key_pem, None)
        assert isinstance(key, RSAPrivateKey)
        credentials = client.payment_credentials(reference, key)
        assert credentials.reveal()["card"]["number"] == NUMBER
        assert NUMBER not in f"{credentials} {credentials!r}"
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(credentials)
        with pytest.raises(DecryptionError):
            client.payment_credentials(reference, generate_private_key(65537, 2048))


@pytest.mark.parametrize("offset", [600.0, -600.0])
def test_a_wrong_clock_is_corrected(offset: float, client_class: type[FlexClient]) -> None:
    with (
        Emulator(clock=lambda: time.time() + offset) as emulator,
        client_class(JwtSharedSecret(**emulator.auth), environment=emulator.url) as client,
    ):
        for statuses in ([401, 404], [404]):
            with pytest.raises(NotFoundError) as caught:
                client.payment_details("A" * 64)
            assert [attempt.status for attempt in caught.value.attempts] == statuses
        assert client.clock.offset == pytest.approx(offset, abs=3)
