"""Signers and their settings: what is signed, what is refused, and that no secret is ever shown."""

from __future__ import annotations

import base64
import copy
import hashlib
import hmac
import json
import pickle
import traceback

import pytest

from cybersource_flex.auth import HttpSignature, JwtSharedSecret
from cybersource_flex.errors import ConfigurationError
from cybersource_flex.transport import Operation, Request

MERCHANT = "acme_flex_test_001"
KEY_ID = "5f1c2d3e-4a5b-4c7d-8e9f-0a1b2c3d4e5f"
SECRET = "19PAsNkIkN3B3XqCZmUh8nl0VVxPJLNFi1AORapEuWs="
NOW = 1795348800.75


def request(method: str = "POST", target: str = "/flex/v2/sessions", body: bytes | None = b"{}") -> Request:
    operation = Operation(name="call", method=method, path=target, signed=True, responses={}, models="")
    host = "apitest.cybersource.com"
    return Request(
        operation, method=method, url=f"https://{host}{target}", host=host, target=target, headers={}, body=body
    )


def decode(part: str) -> dict[str, object]:
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def token_of(headers: dict[str, str]) -> tuple[dict[str, object], dict[str, object]]:
    assert set(headers) == {"Authorization"}
    scheme, _, token = headers["Authorization"].partition(" ")
    assert scheme == "Bearer"
    header, claims, signature = token.split(".")
    mac = hmac.digest(base64.b64decode(SECRET), f"{header}.{claims}".encode(), "sha256")
    assert base64.urlsafe_b64encode(mac).rstrip(b"=").decode() == signature
    return decode(header), decode(claims)


def test_jwt_covers_body_method_host_and_path() -> None:
    body = '{"a":"Zoë"}'.encode()
    header, claims = token_of(JwtSharedSecret(MERCHANT, KEY_ID, SECRET).sign(request(body=body), NOW))
    assert header == {"alg": "HS256", "kid": KEY_ID, "typ": "JWT"}
    jti = claims.pop("jti")
    assert isinstance(jti, str)
    assert len(jti) == 36
    assert claims == {
        "digest": base64.b64encode(hashlib.sha256(body).digest()).decode(),
        "digestAlgorithm": "SHA-256",
        "iat": 1795348800,
        "exp": 1795348920,
        "iss": MERCHANT,
        "request-host": "apitest.cybersource.com",
        "request-method": "POST",
        "request-resource-path": "/flex/v2/sessions",
        "v-c-jwt-version": "2",
        "v-c-merchant-id": MERCHANT,
    }


def test_jwt_of_a_request_without_a_body_has_no_digest() -> None:
    _, claims = token_of(JwtSharedSecret(MERCHANT, KEY_ID, SECRET).sign(request("GET", "/x?y=1", None), NOW))
    assert "digest" not in claims
    assert "digestAlgorithm" not in claims
    assert claims["request-resource-path"] == "/x?y=1"


def test_every_attempt_has_a_token_id_of_its_own() -> None:
    signer = JwtSharedSecret(MERCHANT, KEY_ID, SECRET)
    ids = {token_of(signer.sign(request(), NOW))[1]["jti"] for _ in range(50)}
    assert len(ids) == 50


def test_http_signature_warns_of_its_end() -> None:
    with pytest.warns(DeprecationWarning, match="March 2027") as caught:
        HttpSignature(MERCHANT, KEY_ID, SECRET)
    assert caught[0].filename == __file__


@pytest.mark.filterwarnings("ignore:CyberSource retires HTTP Signature")
def test_http_signature_of_a_request_without_a_body_has_no_digest() -> None:
    headers = HttpSignature(MERCHANT, KEY_ID, SECRET).sign(request("GET", "/x?y=1", None), NOW)
    assert set(headers) == {"v-c-merchant-id", "Date", "Signature"}
    assert headers["Date"] == "Sun, 22 Nov 2026 12:00:00 GMT"
    assert 'headers="host date request-target v-c-merchant-id"' in headers["Signature"]


CANARY = "c4n4ryNotBase64!!"


@pytest.mark.parametrize(
    ("merchant_id", "key_id", "secret", "expected"),
    [
        (MERCHANT, KEY_ID, CANARY, "secret_key is not base64"),
        (MERCHANT, KEY_ID, "", "secret_key is empty"),
        (MERCHANT, KEY_ID, "  \n", "secret_key is empty"),
        (MERCHANT, KEY_ID, "Y2FuYXJ5", "secret_key is too short: 6 bytes"),
        (MERCHANT, KEY_ID, SECRET.rstrip("="), "secret_key is not base64"),
        (MERCHANT, KEY_ID, None, "secret_key must be a base64 text, not NoneType"),
        (MERCHANT, KEY_ID, SECRET.encode(), "secret_key must be a base64 text, not bytes"),
        (MERCHANT, "", SECRET, "key_id is empty"),
        (MERCHANT, "a\nb", SECRET, "key_id has white space"),
        (MERCHANT, 'a"b', SECRET, "key_id has white space, quotation marks"),
        (MERCHANT, None, SECRET, "key_id must be a text"),
        ("", KEY_ID, SECRET, "merchant_id is empty"),
        ("acme\r\nx: y", KEY_ID, SECRET, "merchant_id has white space"),
        ("m" * 256, KEY_ID, SECRET, "merchant_id .* longer than 255"),
    ],
)
@pytest.mark.parametrize("scheme", [JwtSharedSecret, HttpSignature])
@pytest.mark.filterwarnings("ignore:CyberSource retires HTTP Signature")
def test_wrong_credentials_are_refused(
    scheme: type[JwtSharedSecret | HttpSignature], merchant_id: str, key_id: str, secret: str, expected: str
) -> None:
    with pytest.raises(ConfigurationError, match=expected) as caught:
        scheme(merchant_id, key_id, secret)
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    for hidden in (CANARY, "Y2FuYXJ5", SECRET.rstrip("=")):
        if secret == hidden:
            assert hidden not in shown


def test_white_space_around_what_was_pasted_does_no_harm() -> None:
    signer = JwtSharedSecret(f" {MERCHANT}\n", f"{KEY_ID} ", f" {SECRET}\r\n")
    _, claims = token_of(signer.sign(request(), NOW))
    assert claims["iss"] == MERCHANT


@pytest.mark.filterwarnings("ignore:CyberSource retires HTTP Signature")
@pytest.mark.parametrize("scheme", [JwtSharedSecret, HttpSignature])
def test_no_secret_is_shown_copied_out_or_pickled(scheme: type[JwtSharedSecret | HttpSignature]) -> None:
    signer = scheme(MERCHANT, KEY_ID, SECRET)
    assert SECRET not in repr(signer)
    assert SECRET not in repr(signer._secret)
    assert str(base64.b64decode(SECRET)) not in repr(signer._secret)
    assert not hasattr(signer, "__dict__")
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(signer, protocol)
    with pytest.raises(TypeError):
        copy.deepcopy(signer)
