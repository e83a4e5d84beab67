"""Published capture contexts and transient tokens: all are parsed, and verified if the key is published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cybersource_flex import errors
from cybersource_flex.jose import (
    CaptureContext,
    PinnedKeys,
    PublicKey,
    TransientToken,
    verify_capture_context,
    verify_transient_token,
)
from cybersource_flex.jose.compact import parse_jws
from support.encoding import base64url, base64url_decode
from support.keys import LONG_TERM, ONE_TIME, jwk
from support.tokens import sign_jwt

CONTEXTS = {
    # The name, and whether the long-term key is published.
    "flex-api-sn": False,
    "flex-api-ios-sdk-readme-j4": False,
    "microform-0.11-3g": True,
    "microform-0.11-localhost-3g": True,
    "microform-2.1-echeck-j4": False,
    "unified-checkout-0.11-zu": True,
}
TOKENS = (
    "flex-api-flex00",
    "microform-0.11-flex08",
    "sample-microform-0.11-flex07",
    "unified-checkout-gda-0.10-flex00",
)


class PublishedKeys:
    """A source of the published long-term keys."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, kid: str) -> PublicKey:
        file = self._folder / f"{kid}.jwk.json"
        if not file.is_file():
            raise errors.UnknownKeyError(f"the key {kid!r} is not published")
        return PublicKey(json.loads(file.read_text("utf-8")))

    def refresh(self, kid: str) -> PublicKey | None:
        return None


def read(reference: Path, kind: str, name: str) -> tuple[str, dict[str, Any]]:
    folder = reference / "samples" / kind
    decoded = json.loads((folder / f"{name}.json").read_text("utf-8"))
    return (folder / f"{name}.jwt").read_text("ascii").strip(), decoded


def with_flipped_bit(token: str) -> list[str]:
    """The token with one bit changed, in the payload and in the signature."""
    header, payload, signature = token.strip().split(".")
    return [f"{header}.{flip_bit(payload)}.{signature}", f"{header}.{payload}.{flip_bit(signature)}"]


def flip_bit(part: str) -> str:
    data = bytearray(base64url_decode(part))
    data[len(data) // 2] ^= 1
    return base64url(bytes(data))


def test_all_published_samples_are_tested(reference: Path) -> None:
    assert {file.stem for file in (reference / "samples" / "capture-contexts").glob("*.jwt")} == set(CONTEXTS)
    assert {file.stem for file in (reference / "samples" / "transient-tokens").glob("*.jwt")} == set(TOKENS)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("capture-contexts", name) for name in CONTEXTS] + [("transient-tokens", name) for name in TOKENS],
)
def test_published_tokens_are_parsed(kind: str, name: str, reference: Path) -> None:
    token, decoded = read(reference, kind, name)
    jws = parse_jws(token, "token")
    assert jws.header == decoded["header"]
    assert jws.claims == decoded["payload"]


@pytest.mark.parametrize("name", [name for name, published in CONTEXTS.items() if published])
def test_contexts_are_valid_at_their_time(name: str, reference: Path) -> None:
    token, decoded = read(reference, "capture-contexts", name)
    keys = PublishedKeys(reference / "samples" / "public-keys")
    context = verify_capture_context(token, keys, now=decoded["payload"]["iat"] + 60)
    assert context.type == decoded["payload"]["ctx"][0]["type"]
    with pytest.raises(errors.ExpiredTokenError):
        verify_capture_context(token, keys)
    for changed in with_flipped_bit(token):
        with pytest.raises((errors.InvalidSignatureError, errors.MalformedTokenError)):
            verify_capture_context(changed, keys, now=decoded["payload"]["iat"] + 60)


@pytest.mark.parametrize("name", [name for name, published in CONTEXTS.items() if not published])
def test_contexts_of_unpublished_keys_are_rejected(name: str, reference: Path) -> None:
    token, decoded = read(reference, "capture-contexts", name)
    with pytest.raises(errors.UnknownKeyError):
        verify_capture_context(
            token, PublishedKeys(reference / "samples" / "public-keys"), now=decoded["payload"]["iat"] + 60
        )


def test_a_token_is_valid_with_the_key_of_its_context(reference: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The long-term key of this context is not published, so the signature of the context is not verified. The signature
    # of the token is verified with the one-time key in the context.
    context_jwt, decoded = read(reference, "capture-contexts", "flex-api-sn")
    token, token_decoded = read(reference, "transient-tokens", "flex-api-flex00")

    class AcceptAnySignature:
        def get(self, kid: str) -> Any:
            assert kid == "sn"
            return self

        def verify(self, jws: object, what: str) -> None:
            pass

        def refresh(self, kid: str) -> None:
            return None

    context = verify_capture_context(context_jwt, AcceptAnySignature(), now=decoded["payload"]["iat"] + 60)
    now = token_decoded["payload"]["iat"] + 60
    verified = verify_transient_token(token, context, now=now)
    assert verified.jti == token_decoded["payload"]["jti"]
    with pytest.raises(errors.ExpiredTokenError):
        verify_transient_token(token, context)
    for changed in with_flipped_bit(token):
        with pytest.raises((errors.InvalidSignatureError, errors.MalformedTokenError)):
            verify_transient_token(changed, context, now=now)
    for other in TOKENS[1:]:
        token_of_other_context, _ = read(reference, "transient-tokens", other)
        with pytest.raises(errors.UnknownKeyError):
            verify_transient_token(token_of_other_context, context, now=now)


# Most of the keys are not published. To test the attributes of all published samples, their claims are signed with keys
# of the test vectors, and then verified.
def context_of(decoded: dict[str, Any]) -> CaptureContext:
    header, claims = decoded["header"], decoded["payload"]
    keys = PinnedKeys([jwk(LONG_TERM, header["kid"])])
    return verify_capture_context(sign_jwt(LONG_TERM, header, claims), keys, now=claims["iat"] + 60)


def token_of(payload: dict[str, Any], kid: str = "test") -> TransientToken:
    flx = {"path": "/flex/v2/tokens", "jwk": jwk(ONE_TIME, kid)}
    times = {"iat": payload["iat"], "exp": payload["exp"]}
    claims = {"flx": flx, "ctx": [{"type": payload["type"]}], "iss": "Flex API", "jti": "test", **times}
    context = context_of({"header": {"kid": "test", "alg": "RS256"}, "payload": claims})
    return verify_transient_token(
        sign_jwt(ONE_TIME, {"kid": kid, "alg": "RS256"}, payload), context, now=payload["iat"] + 60
    )


@pytest.mark.parametrize("name", CONTEXTS)
def test_attributes_of_contexts(name: str, reference: Path) -> None:
    _, decoded = read(reference, "capture-contexts", name)
    context = context_of(decoded)
    data = decoded["payload"]["ctx"][0]["data"]
    assert context.type == decoded["payload"]["ctx"][0]["type"]
    assert context.required_fields == tuple(data.get("requiredFields", ()))
    assert context.optional_fields == tuple(data.get("optionalFields", ()))
    assert context.target_origins == tuple(data.get("targetOrigins", ()))
    assert context.allowed_card_networks == tuple(data.get("allowedCardNetworks", ()))
    assert context.client_library == data.get("clientLibrary")
    assert context.client_library_integrity == data.get("clientLibraryIntegrity")
    assert context.is_microform is name.startswith("microform")
    assert context.key.kid == decoded["payload"]["flx"]["jwk"]["kid"]
    assert context.expires_at.timestamp() - context.issued_at.timestamp() == 900
    if context.type.startswith("mf-2"):
        assert context.allowed_payment_types == tuple(data["allowedPaymentTypes"]) == ("CHECK",)


TOKEN_ATTRIBUTES = {
    # The name, then the masked number, the bin, and the card types.
    "flex-api-flex00": (None, None, ()),
    "microform-0.11-flex08": ("411111XXXXXX1111", None, ("001",)),
    "sample-microform-0.11-flex07": ("411111XXXXXX1111", None, ("001",)),
    "unified-checkout-gda-0.10-flex00": ("XXXXXXXXXXXX9908", "518600", ("002",)),
    "decoded-only/microform-2.0-payload": ("XXXXXXXXXXXX1111", "411111", ("001",)),
    "decoded-only/unified-checkout-1.0-network-token": ("XXXXXXXXXXXX3278", "432312", ("001",)),
    "decoded-only/unified-checkout-1.0-pan": ("XXXXXXXXXXXX1111", "411111", ("001",)),
}


def test_the_attributes_of_all_published_tokens_are_tested(reference: Path) -> None:
    folder = reference / "samples" / "transient-tokens"
    assert {file.relative_to(folder).with_suffix("").as_posix() for file in folder.rglob("*.json")} == set(
        TOKEN_ATTRIBUTES
    )


@pytest.mark.parametrize("name", TOKEN_ATTRIBUTES)
def test_attributes_of_tokens(name: str, reference: Path) -> None:
    decoded = json.loads((reference / "samples" / "transient-tokens" / f"{name}.json").read_text("utf-8"))
    payload = decoded.get("payload", decoded)
    token = token_of(payload)
    assert (token.masked_number, token.bin, token.card_types) == TOKEN_ATTRIBUTES[name]
    assert token.jti == payload["jti"]
    assert token.type == payload["type"]
    assert json.loads(json.dumps(token.metadata, default=dict)) == payload.get("metadata", {})
    assert dict(token.payment_credentials_references) == payload.get("paymentCredentialsReference", {})
    assert json.loads(json.dumps(token.content, default=dict)) == payload.get("content", {})
