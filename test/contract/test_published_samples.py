"""Published capture contexts and transient tokens: all parse, the verifiable ones verify, and no bit may flip."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

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

CONTEXTS = {
    # name: whether its long-term key is published
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


class Published:
    """The long-term keys that were published, as the host would give them."""

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
    return (folder / f"{name}.jwt").read_text("ascii"), decoded


def flipped(token: str) -> list[str]:
    """The token with one bit changed, in the payload and in the signature."""
    header, payload, signature = token.strip().split(".")
    out = []
    for part, rebuild in (
        (payload, lambda text: f"{header}.{text}.{signature}"),
        (signature, lambda text: f"{header}.{payload}.{text}"),
    ):
        data = bytearray(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        data[len(data) // 2] ^= 1
        out.append(rebuild(base64.urlsafe_b64encode(bytes(data)).rstrip(b"=").decode("ascii")))
    return out


def test_nothing_published_is_left_out(reference: Path) -> None:
    assert {file.stem for file in (reference / "samples" / "capture-contexts").glob("*.jwt")} == set(CONTEXTS)
    assert {file.stem for file in (reference / "samples" / "transient-tokens").glob("*.jwt")} == set(TOKENS)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("capture-contexts", name) for name in CONTEXTS] + [("transient-tokens", name) for name in TOKENS],
)
def test_it_parses(kind: str, name: str, reference: Path) -> None:
    token, decoded = read(reference, kind, name)
    jws = parse_jws(token, "token")
    assert jws.header == decoded["header"]
    assert jws.claims == decoded["payload"]


@pytest.mark.parametrize("name", [name for name, published in CONTEXTS.items() if published])
def test_a_context_verifies_at_its_time(name: str, reference: Path) -> None:
    token, decoded = read(reference, "capture-contexts", name)
    keys = Published(reference / "samples" / "public-keys")
    context = verify_capture_context(token, keys, now=decoded["payload"]["iat"] + 60)
    assert context.type == decoded["payload"]["ctx"][0]["type"]
    with pytest.raises(errors.ExpiredTokenError):
        verify_capture_context(token, keys)
    for changed in flipped(token):
        with pytest.raises((errors.InvalidSignatureError, errors.MalformedTokenError)):
            verify_capture_context(changed, keys, now=decoded["payload"]["iat"] + 60)


@pytest.mark.parametrize("name", [name for name, published in CONTEXTS.items() if not published])
def test_a_context_of_an_unpublished_key_does_not(name: str, reference: Path) -> None:
    token, decoded = read(reference, "capture-contexts", name)
    with pytest.raises(errors.UnknownKeyError):
        verify_capture_context(
            token, Published(reference / "samples" / "public-keys"), now=decoded["payload"]["iat"] + 60
        )


def test_the_published_token_verifies_with_the_key_of_its_context(
    reference: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The long-term key of this context is not published: its signature cannot be checked, so that one step is left out
    # to get at the one-time key. The token's own signature is checked in full.
    context_jwt, decoded = read(reference, "capture-contexts", "flex-api-sn")
    token, token_decoded = read(reference, "transient-tokens", "flex-api-flex00")

    class Unpublished:
        def get(self, kid: str) -> Any:
            assert kid == "sn"
            return self

        def verify(self, jws: object, what: str) -> None:
            pass

        def refresh(self, kid: str) -> None:
            return None

    context = verify_capture_context(context_jwt, Unpublished(), now=decoded["payload"]["iat"] + 60)
    now = token_decoded["payload"]["iat"] + 60
    verified = verify_transient_token(token, context, now=now)
    assert verified.jti == token_decoded["payload"]["jti"]
    with pytest.raises(errors.ExpiredTokenError):
        verify_transient_token(token, context)
    for changed in flipped(token):
        with pytest.raises((errors.InvalidSignatureError, errors.MalformedTokenError)):
            verify_transient_token(changed, context, now=now)
    for other in TOKENS[1:]:
        foreign, _ = read(reference, "transient-tokens", other)
        with pytest.raises(errors.UnknownKeyError):
            verify_transient_token(foreign, context, now=now)


# The views. Most of the keys are not published, so what was published is signed anew with keys of the tests, and then
# verified in full: nothing is left out but whose signature it is.

KEYS = Path(__file__).resolve().parents[1] / "vectors" / "keys"


def signed(key: str, header: dict[str, Any], claims: dict[str, Any]) -> str:
    private = serialization.load_pem_private_key((KEYS / f"{key}.key.pem").read_bytes(), None)
    assert isinstance(private, rsa.RSAPrivateKey)
    text = ".".join(encode(json.dumps(part).encode("utf-8")) for part in (header, claims))
    return f"{text}.{encode(private.sign(text.encode('ascii'), padding.PKCS1v15(), hashes.SHA256()))}"


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def own_key(name: str, kid: str) -> dict[str, Any]:
    return {**json.loads((KEYS / f"{name}.jwk.json").read_text("utf-8")), "kid": kid}


def context_of(decoded: dict[str, Any]) -> CaptureContext:
    header, claims = decoded["header"], decoded["payload"]
    keys = PinnedKeys([own_key("flex_longterm", header["kid"])])
    return verify_capture_context(signed("flex_longterm", header, claims), keys, now=claims["iat"] + 60)


def token_of(payload: dict[str, Any], kid: str = "test") -> TransientToken:
    flx = {"path": "/flex/v2/tokens", "jwk": own_key("flex_onetime", kid)}
    times = {"iat": payload["iat"], "exp": payload["exp"]}
    claims = {"flx": flx, "ctx": [{"type": payload["type"]}], "iss": "Flex API", "jti": "test", **times}
    context = context_of({"header": {"kid": "test", "alg": "RS256"}, "payload": claims})
    return verify_transient_token(
        signed("flex_onetime", {"kid": kid, "alg": "RS256"}, payload), context, now=payload["iat"] + 60
    )


@pytest.mark.parametrize("name", CONTEXTS)
def test_the_views_of_a_context(name: str, reference: Path) -> None:
    _, decoded = read(reference, "capture-contexts", name)
    context = context_of(decoded)
    said = decoded["payload"]["ctx"][0]["data"]
    assert context.type == decoded["payload"]["ctx"][0]["type"]
    assert context.required_fields == tuple(said.get("requiredFields", ()))
    assert context.optional_fields == tuple(said.get("optionalFields", ()))
    assert context.target_origins == tuple(said.get("targetOrigins", ()))
    assert context.allowed_card_networks == tuple(said.get("allowedCardNetworks", ()))
    assert context.client_library == said.get("clientLibrary")
    assert context.client_library_integrity == said.get("clientLibraryIntegrity")
    assert context.is_microform is name.startswith("microform")
    assert context.key.kid == decoded["payload"]["flx"]["jwk"]["kid"]
    assert context.expires_at.timestamp() - context.issued_at.timestamp() == 900
    if context.type.startswith("mf-2"):
        assert context.allowed_payment_types == tuple(said["allowedPaymentTypes"]) == ("CHECK",)


VIEWS = {
    # name: masked number, bin, card types
    "flex-api-flex00": (None, None, ()),
    "microform-0.11-flex08": ("411111XXXXXX1111", None, ("001",)),
    "sample-microform-0.11-flex07": ("411111XXXXXX1111", None, ("001",)),
    "unified-checkout-gda-0.10-flex00": ("XXXXXXXXXXXX9908", "518600", ("002",)),
    "decoded-only/microform-2.0-payload": ("XXXXXXXXXXXX1111", "411111", ("001",)),
    "decoded-only/unified-checkout-1.0-network-token": ("XXXXXXXXXXXX3278", "432312", ("001",)),
    "decoded-only/unified-checkout-1.0-pan": ("XXXXXXXXXXXX1111", "411111", ("001",)),
}


def test_no_view_is_left_out(reference: Path) -> None:
    folder = reference / "samples" / "transient-tokens"
    assert {file.relative_to(folder).with_suffix("").as_posix() for file in folder.rglob("*.json")} == set(VIEWS)


@pytest.mark.parametrize("name", VIEWS)
def test_the_views_of_a_token(name: str, reference: Path) -> None:
    decoded = json.loads((reference / "samples" / "transient-tokens" / f"{name}.json").read_text("utf-8"))
    payload = decoded.get("payload", decoded)
    token = token_of(payload)
    assert (token.masked_number, token.bin, token.card_types) == VIEWS[name]
    assert token.jti == payload["jti"]
    assert token.type == payload["type"]
    assert json.loads(json.dumps(token.metadata, default=dict)) == payload.get("metadata", {})
    assert dict(token.payment_credentials_references) == payload.get("paymentCredentialsReference", {})
    assert json.loads(json.dumps(token.content, default=dict)) == payload.get("content", {})
