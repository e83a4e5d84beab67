"""``TokenFactory``: genuine contexts and tokens without a server, and those that verification must reject."""

from __future__ import annotations

import time
from typing import Any

import pytest

from cybersource_flex import FlexClient, errors, fields
from cybersource_flex.auth import JwtSharedSecret
from cybersource_flex.cards import TEST_CARDS, Card
from cybersource_flex.emulator import Emulator
from cybersource_flex.jose import CaptureContext, TransientToken, open_payment_credentials, verify_transient_token
from cybersource_flex.testing import TokenFactory
from support.tokens import decode_jwt

FACTORY = TokenFactory()
NUMBER = "4111111111111111"


@pytest.fixture
def client() -> FlexClient:
    """A client that trusts the factory's keys, and whose host does not exist."""
    return FlexClient(None, environment="https://127.0.0.1:1", keys=FACTORY.keys)


def members(jwt: str) -> Any:
    """Names and types of the JSON members of a JWT, without the values."""

    def types(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: types(child) for name, child in value.items()}
        return type(value).__name__

    return [types(part) for part in decode_jwt(jwt)]


def test_the_jwts_are_like_those_of_a_host() -> None:
    data = {"card": {"number": NUMBER, "expirationMonth": "12", "expirationYear": "2035"}}
    requested = fields(card=["number", "expirationMonth", "expirationYear"])
    microform = {"target_origins": ["https://shop.example"], "allowed_card_networks": ["VISA"]}
    with Emulator() as emulator, FlexClient(JwtSharedSecret(**emulator.auth), environment=emulator.url) as client:
        for real, simulated in [
            (client.create_capture_context(requested), FACTORY.capture_context(requested)),
            (client.create_microform_context(**microform), FACTORY.microform_context(**microform)),
        ]:
            real_token, simulated_token = client.tokenize(real, data), FACTORY.transient_token(simulated, data)
            assert members(simulated.jwt) == members(real.jwt)
            assert members(simulated_token.jwt) == members(real_token.jwt)
            assert simulated_token.content == real_token.content
            assert (simulated.type, simulated.required_fields) == (real.type, real.required_fields)
            assert simulated.allowed_card_networks == real.allowed_card_networks


def test_a_client_verifies_and_restores_them_without_a_request(client: FlexClient) -> None:
    context = FACTORY.capture_context(fields(card=["number", "securityCode?"], bill_to=["country"]))
    assert client.verify_capture_context(context.jwt) == context
    assert client.restore_capture_context(client.store_capture_context(context)) == context
    token = FACTORY.transient_token(context)
    assert client.verify_transient_token(token.jwt, context) == token
    assert token.masked_number == "XXXXXXXXXXXX1111"
    assert token.card_types == ("001",)
    assert set(token.content["orderInformation"]["billTo"]) == {"country"}


def test_the_card_and_the_fields_are_arguments() -> None:
    token = FACTORY.transient_token(data=Card(TEST_CARDS["amex"], security_code="1234", expiration="01/30"))
    assert (token.bin, token.card_types) == ("378282", ("003",))
    assert token.content["paymentInformation"]["card"]["expirationYear"] == {"value": "2030"}
    token = FACTORY.transient_token(data={"card": {"number": NUMBER}, "billTo": {"country": "DE"}})
    assert token.content["orderInformation"]["billTo"] == {"country": {}}


@pytest.mark.parametrize(("include", "digits"), [(None, 6), (True, 8)])
def test_contexts_of_microform(include: bool | None, digits: int) -> None:
    context = FACTORY.microform_context(
        target_origins=["https://a.example", "http://localhost:3000"],
        allowed_card_networks=["VISA"],
        include_card_prefix=include,
    )
    assert context.is_microform
    assert context.target_origins == ("https://a.example", "http://localhost:3000")
    token = FACTORY.transient_token(context)
    assert token.bin == NUMBER[:digits]
    with pytest.raises(errors.InvalidDataError, match="card type") as caught:
        FACTORY.transient_token(context, Card(TEST_CARDS["mastercard"], expiration="12/31"))
    assert TEST_CARDS["mastercard"] not in str(caught.value)


def test_bank_accounts_and_other_types_of_context() -> None:
    context = FACTORY.microform_context(allowed_card_networks=(), allowed_payment_types=["CHECK"])
    assert FACTORY.transient_token(context).content["paymentInformation"]["paymentType"]["name"] == {"value": "CHECK"}
    context = FACTORY.capture_context(type="uc-0.9.0")
    assert (context.type, FACTORY.transient_token(context).type) == ("uc-0.9.0", "uc-0.9.0")
    assert FACTORY.microform_context(type="mf-2.0.0").type == "mf-2.0.0"


def test_payment_credentials() -> None:
    factory = TokenFactory(merchant_id="shop", payment_credentials=True)
    assert list(factory.transient_token().payment_credentials_references) == ["shop"]
    assert not FACTORY.transient_token().payment_credentials_references
    credentials = factory.payment_credentials(Card(TEST_CARDS["amex"], security_code="1234", expiration="01/30"))
    assert credentials.subject == "shop"
    card = credentials.reveal()["card"]
    assert (card["number"], card["expirationYear"]) == (TEST_CARDS["amex"], "2030")
    assert "securityCode" not in card
    assert factory.payment_credentials().reveal()["card"]["number"] == NUMBER
    with pytest.raises(errors.MalformedTokenError):
        open_payment_credentials(credentials.jwt, factory.credentials_key, factory.keys)


def test_times_are_arguments_and_follow_a_replaced_clock(client: FlexClient, monkeypatch: pytest.MonkeyPatch) -> None:
    context = FACTORY.capture_context(age=100, lifetime=300)
    assert abs(time.time() - 100 - context.issued_at.timestamp()) < 5
    assert (context.expires_at - context.issued_at).total_seconds() == 300
    monkeypatch.setattr(time, "time", lambda: 2_000_000_000.0)
    token = FACTORY.transient_token()
    assert token.issued_at.timestamp() == 2_000_000_000
    assert token.expires_in().total_seconds() == 900


def test_contexts_that_are_rejected(client: FlexClient) -> None:
    expired, future = FACTORY.capture_context(age=1000), FACTORY.capture_context(age=-1000)
    assert isinstance(expired, CaptureContext)
    assert expired.expires_in().total_seconds() < 0
    genuine = FACTORY.capture_context()
    for jwt, error in [
        (expired.jwt, errors.ExpiredTokenError),
        (future.jwt, errors.TokenNotYetValidError),
        (FACTORY.tampered(genuine), errors.InvalidSignatureError),
        (FACTORY.foreign(genuine), errors.InvalidSignatureError),
        (FACTORY.tampered(FACTORY.microform_context()), errors.InvalidSignatureError),
        (FACTORY.transient_token().jwt, errors.UnknownKeyError),
    ]:
        with pytest.raises(error):
            client.verify_capture_context(jwt)


def test_tokens_that_are_rejected(client: FlexClient) -> None:
    context, other = FACTORY.capture_context(), FACTORY.capture_context()
    genuine = FACTORY.transient_token(context)
    assert isinstance(FACTORY.transient_token(context, age=3600), TransientToken)
    for jwt, error in [
        (FACTORY.transient_token(context, age=3600).jwt, errors.ExpiredTokenError),
        (FACTORY.transient_token(context, age=-3600).jwt, errors.TokenNotYetValidError),
        (FACTORY.transient_token(other).jwt, errors.UnknownKeyError),
        (FACTORY.transient_token().jwt, errors.UnknownKeyError),
        (TokenFactory().transient_token().jwt, errors.UnknownKeyError),
        (FACTORY.tampered(genuine), errors.InvalidSignatureError),
        (FACTORY.foreign(genuine), errors.InvalidSignatureError),
        (context.jwt, errors.UnknownKeyError),
    ]:
        with pytest.raises(error):
            client.verify_transient_token(jwt, context)
    assert verify_transient_token(genuine.jwt, context) == genuine


def test_two_contexts_have_different_keys() -> None:
    first, second = FACTORY.capture_context(), FACTORY.capture_context()
    assert first.key.modulus != second.key.modulus
    assert len({FACTORY.capture_context().jti for _ in range(5)}) == 5


def test_arguments_that_are_not_possible() -> None:
    with pytest.raises(errors.InvalidArgumentError, match="CaptureFields"):
        FACTORY.capture_context({"card": ["number"]})  # type: ignore[arg-type]
    with pytest.raises(errors.FlexError, match=r"targetOrigins|target_origins"):
        FACTORY.microform_context(target_origins=["ftp://shop.example"])
    with pytest.raises(errors.ConfigurationError, match="lifetime"):
        FACTORY.capture_context(lifetime=0)
    with pytest.raises(errors.ConfigurationError, match="age"):
        FACTORY.transient_token(age=float("nan"))
    with pytest.raises(errors.ConfigurationError, match="from this TokenFactory"):
        TokenFactory().transient_token(FACTORY.capture_context())
    with pytest.raises(errors.ConfigurationError, match="CaptureContext, not str"):
        FACTORY.transient_token("context")  # type: ignore[arg-type]
    for data in ({"card": {"number": "4111111111111112"}}, {"number": NUMBER}, {"CHECK": {"routingNumber": "1"}}):
        with pytest.raises(errors.InvalidDataError) as caught:
            FACTORY.transient_token(FACTORY.capture_context(fields(card=["number"])), data)
        assert "411111" not in str(caught.value)


def test_one_takes_about_a_millisecond() -> None:
    def fastest(make: Any) -> float:
        times = []
        for _ in range(20):
            start = time.perf_counter()
            make()
            times.append(time.perf_counter() - start)
        return min(times)

    context = FACTORY.capture_context()
    # An RSA signature takes 0.7 to 1.5 ms; generating a key would take 50.
    assert fastest(FACTORY.capture_context) < 0.01
    assert fastest(lambda: FACTORY.transient_token(context)) < 0.01
