"""Published capture contexts and transient tokens: all parse, the verifiable ones verify, and no bit may flip."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from cybersource_flex import errors
from cybersource_flex.jose import PublicKey, verify_capture_context, verify_transient_token
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
