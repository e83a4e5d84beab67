"""Signers with a shared secret: signed content, errors of invalid credentials, and that no secret is shown."""

from __future__ import annotations

import base64
import copy
import hashlib
import hmac
import pickle
import traceback

import pytest

from cybersource_flex.auth import BearerToken, HttpSignature, JwtClaimFormat, JwtExternalKey, JwtSharedSecret
from cybersource_flex.auth.jwt import JwtSigner
from cybersource_flex.errors import ConfigurationError
from support.encoding import base64url, base64url_decode
from support.keys import MERCHANT_ID
from support.tokens import decode_jwt
from support.transports import make_request

KEY_ID = "5f1c2d3e-4a5b-4c7d-8e9f-0a1b2c3d4e5f"
SECRET = "19PAsNkIkN3B3XqCZmUh8nl0VVxPJLNFi1AORapEuWs="
NOW = 1795348800.75


def token_of(headers: dict[str, str]) -> tuple[dict[str, object], dict[str, object]]:
    assert set(headers) == {"Authorization"}
    scheme, _, token = headers["Authorization"].partition(" ")
    assert scheme == "Bearer"
    header, claims, signature = token.split(".")
    mac = hmac.digest(base64.b64decode(SECRET), f"{header}.{claims}".encode(), "sha256")
    assert base64url(mac) == signature
    return decode_jwt(token)


def test_a_jwt_contains_digest_method_host_and_path() -> None:
    body = '{"a":"Zoë"}'.encode()
    header, claims = token_of(
        JwtSharedSecret(MERCHANT_ID, KEY_ID, SECRET).sign(make_request(body, target="/flex/v2/sessions"), NOW)
    )
    assert header == {"alg": "HS256", "kid": KEY_ID, "typ": "JWT"}
    jti = claims.pop("jti")
    assert isinstance(jti, str)
    assert len(jti) == 36
    assert claims == {
        "digest": base64.b64encode(hashlib.sha256(body).digest()).decode(),
        "digestAlgorithm": "SHA-256",
        "iat": 1795348800,
        "exp": 1795348920,
        "iss": MERCHANT_ID,
        "request-host": "apitest.cybersource.com",
        "request-method": "POST",
        "request-resource-path": "/flex/v2/sessions",
        "v-c-jwt-version": "2",
        "v-c-merchant-id": MERCHANT_ID,
    }


def test_a_jwt_for_a_request_without_a_body_has_no_digest() -> None:
    _, claims = token_of(
        JwtSharedSecret(MERCHANT_ID, KEY_ID, SECRET).sign(make_request(None, method="GET", target="/x?y=1"), NOW)
    )
    assert "digest" not in claims
    assert "digestAlgorithm" not in claims
    assert claims["request-resource-path"] == "/x?y=1"


def test_every_token_has_a_different_id() -> None:
    signer = JwtSharedSecret(MERCHANT_ID, KEY_ID, SECRET)
    ids = {token_of(signer.sign(make_request(), NOW))[1]["jti"] for _ in range(50)}
    assert len(ids) == 50


def test_http_signature_is_deprecated() -> None:
    with pytest.warns(DeprecationWarning, match="March 2027") as caught:
        HttpSignature(MERCHANT_ID, KEY_ID, SECRET)
    assert caught[0].filename == __file__


@pytest.mark.filterwarnings("ignore:CyberSource retires HTTP Signature")
def test_http_signature_of_a_request_without_a_body_has_no_digest() -> None:
    headers = HttpSignature(MERCHANT_ID, KEY_ID, SECRET).sign(make_request(None, method="GET", target="/x?y=1"), NOW)
    assert set(headers) == {"v-c-merchant-id", "Date", "Signature"}
    assert headers["Date"] == "Sun, 22 Nov 2026 12:00:00 GMT"
    assert 'headers="host date request-target v-c-merchant-id"' in headers["Signature"]


CANARY = "c4n4ryNotBase64!!"


@pytest.mark.parametrize(
    ("merchant_id", "key_id", "secret", "expected"),
    [
        (MERCHANT_ID, KEY_ID, CANARY, "secret_key is not base64"),
        # A decoder that skips other characters would accept this, and sign with the key.
        (MERCHANT_ID, KEY_ID, f"{SECRET[:10]}!{SECRET[10:]}", "secret_key is not base64"),
        (MERCHANT_ID, KEY_ID, "", "secret_key is empty"),
        (MERCHANT_ID, KEY_ID, "  \n", "secret_key is empty"),
        (MERCHANT_ID, KEY_ID, "Y2FuYXJ5", "secret_key is too short: 6 bytes"),
        (MERCHANT_ID, KEY_ID, SECRET.rstrip("="), "secret_key is not base64"),
        (MERCHANT_ID, KEY_ID, None, "secret_key must be a base64 string, not NoneType"),
        (MERCHANT_ID, KEY_ID, SECRET.encode(), "secret_key must be a base64 string, not bytes"),
        (MERCHANT_ID, "", SECRET, "key_id is empty"),
        (MERCHANT_ID, "a\nb", SECRET, "key_id contains white space"),
        (MERCHANT_ID, 'a"b', SECRET, "key_id contains white space, quotation marks"),
        (MERCHANT_ID, None, SECRET, "key_id must be a string"),
        ("", KEY_ID, SECRET, "merchant_id is empty"),
        ("acme\r\nx: y", KEY_ID, SECRET, "merchant_id contains white space"),
        ("m" * 256, KEY_ID, SECRET, "merchant_id .* longer than 255"),
    ],
)
@pytest.mark.parametrize("scheme", [JwtSharedSecret, HttpSignature])
@pytest.mark.filterwarnings("ignore:CyberSource retires HTTP Signature")
def test_errors_of_invalid_credentials(
    scheme: type[JwtSharedSecret | HttpSignature], merchant_id: str, key_id: str, secret: str, expected: str
) -> None:
    with pytest.raises(ConfigurationError, match=expected) as caught:
        scheme(merchant_id, key_id, secret)
    output = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    for part in (CANARY, "Y2FuYXJ5", SECRET.rstrip("=")):
        if secret == part:
            assert part not in output


@pytest.mark.filterwarnings("ignore:CyberSource retires HTTP Signature")
@pytest.mark.parametrize("scheme", [JwtSharedSecret, HttpSignature])
def test_a_secret_has_at_least_sixteen_bytes(scheme: type[JwtSharedSecret | HttpSignature]) -> None:
    scheme(MERCHANT_ID, KEY_ID, base64.b64encode(bytes(16)).decode())
    with pytest.raises(ConfigurationError, match=r"^secret_key is too short: 15 bytes after decoding, expected 32"):
        scheme(MERCHANT_ID, KEY_ID, base64.b64encode(bytes(15)).decode())


def test_a_jwt_is_compact_json() -> None:
    token = JwtSharedSecret(MERCHANT_ID, KEY_ID, SECRET).sign(make_request(), NOW)["Authorization"].split()[1]
    for part in token.split(".")[:2]:
        assert b" " not in base64url_decode(part)


@pytest.mark.filterwarnings("ignore:CyberSource retires HTTP Signature")
@pytest.mark.parametrize("scheme", [JwtSharedSecret, HttpSignature])
def test_a_signer_cannot_be_changed(scheme: type[JwtSharedSecret | HttpSignature]) -> None:
    signer = scheme(MERCHANT_ID, KEY_ID, SECRET)
    message = f"^a {scheme.__name__} cannot be changed; create a new one$"
    with pytest.raises(AttributeError, match=message):
        signer.merchant_id = "other"
    with pytest.raises(AttributeError, match=message):
        del signer.merchant_id
    assert signer.merchant_id == MERCHANT_ID


def test_a_signer_for_another_merchant_keeps_the_attributes_of_a_subclass() -> None:
    class Named(JwtSharedSecret):
        def __init__(self, label: str) -> None:
            super().__init__(MERCHANT_ID, KEY_ID, SECRET, portfolio_id="portfolio")
            self.label = label

    other = Named("shop").for_merchant("other")
    assert (other.label, other.merchant_id, other.portfolio_id) == ("shop", "other", "portfolio")
    assert token_of(other.sign(make_request(), NOW))[1]["v-c-merchant-id"] == "other"


@pytest.mark.parametrize(
    ("key_id", "expected"),
    [(KEY_ID, "uuid"), (KEY_ID.upper(), "uuid"), ("7" * 22, "22 digits"), ("7" * 21, "other"), ("key", "other")],
)
def test_diagnostics_know_the_format_of_a_key_id(key_id: str, expected: str) -> None:
    assert JwtSharedSecret(MERCHANT_ID, key_id, SECRET).diagnostic_facts()["key_id_format"] == expected


@pytest.mark.filterwarnings("ignore:CyberSource retires HTTP Signature")
def test_each_signer_says_what_clients_must_know() -> None:
    class Custom(JwtSigner):
        def _signature(self, data: bytes) -> bytes:
            return b""

    custom = Custom(
        MERCHANT_ID, KEY_ID, algorithm="X", algorithms=("X",), portfolio_id=None, claim_format=JwtClaimFormat()
    )
    for signer, scheme, supports_mle, may_block in (
        (JwtSharedSecret(MERCHANT_ID, KEY_ID, SECRET), "jwt_shared_secret", True, False),
        (JwtExternalKey(MERCHANT_ID, KEY_ID, lambda data: b""), "external_key", True, True),
        (HttpSignature(MERCHANT_ID, KEY_ID, SECRET), "http_signature", False, False),
        (BearerToken("abc"), "bearer", False, False),
        (BearerToken(lambda: "abc"), "bearer", False, True),
        (custom, "custom", True, False),
    ):
        assert signer.diagnostic_facts()["scheme"] == scheme
        assert signer.supports_mle is supports_mle
        assert getattr(signer, "may_block", False) is may_block


def test_white_space_around_credentials_is_removed() -> None:
    signer = JwtSharedSecret(f" {MERCHANT_ID}\n", f"{KEY_ID} ", f" {SECRET}\r\n")
    _, claims = token_of(signer.sign(make_request(), NOW))
    assert claims["iss"] == MERCHANT_ID


@pytest.mark.filterwarnings("ignore:CyberSource retires HTTP Signature")
@pytest.mark.parametrize("scheme", [JwtSharedSecret, HttpSignature])
def test_secrets_are_neither_shown_nor_copied_nor_pickled(scheme: type[JwtSharedSecret | HttpSignature]) -> None:
    signer = scheme(MERCHANT_ID, KEY_ID, SECRET)
    assert SECRET not in repr(signer)
    assert SECRET not in repr(signer._secret)
    assert str(base64.b64decode(SECRET)) not in repr(signer._secret)
    assert not hasattr(signer, "__dict__")
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(signer, protocol)
    with pytest.raises(TypeError):
        copy.deepcopy(signer)
