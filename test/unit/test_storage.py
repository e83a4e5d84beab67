"""A context as a text, and back: what is refused with a seal, and what without one."""

from __future__ import annotations

import base64
import json
import os
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from cybersource_flex import errors
from cybersource_flex.jose import (
    CaptureContext,
    PinnedKeys,
    TokenLimits,
    restore_capture_context,
    store_capture_context,
    verify_capture_context,
)
from cybersource_flex.jose.storage import TOKEN_LIFETIME

KEYS = Path(__file__).resolve().parents[1] / "vectors" / "keys"
NOW = 1_800_000_000
SEAL = b"sixteen or more bytes"
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def jwk(name: str, kid: str) -> dict[str, Any]:
    return {**json.loads((KEYS / f"{name}.jwk.json").read_text("utf-8")), "kid": kid}


@cache
def keys() -> PinnedKeys:
    return PinnedKeys([jwk("flex_longterm", "zz")])


@cache
def context(**changes: Any) -> CaptureContext:
    private = serialization.load_pem_private_key((KEYS / "flex_longterm.key.pem").read_bytes(), None)
    assert isinstance(private, rsa.RSAPrivateKey)
    data = {"requiredFields": ["paymentInformation.card.number"], "optionalFields": []}
    claims = {
        "flx": {
            "path": "/flex/v2/tokens",
            "data": b64(bytes(range(99))),
            "origin": "https://testflex.cybersource.com",
            "jwk": jwk("flex_onetime", "08OneTimeKeyOfThirtyTwoLetters00"),
        },
        "ctx": [{"data": data, "type": "api-0.1.0"}],
        "iss": "Flex API",
        "exp": NOW + 900,
        "iat": NOW,
        "jti": "abcdefghijklmnop",
        **changes,
    }
    text = ".".join(
        b64(json.dumps(part, separators=(",", ":")).encode()) for part in ({"kid": "zz", "alg": "RS256"}, claims)
    )
    token = f"{text}.{b64(private.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"
    return verify_capture_context(token, keys(), now=NOW)


def restore(text: str, key: str | bytes | None = None, **changes: Any) -> CaptureContext:
    return restore_capture_context(text, changes.pop("keys", keys()), key, **{"now": NOW, **changes})


NOBODY = PinnedKeys([])


@pytest.mark.parametrize(
    ("key", "bind"), [(None, ""), (SEAL, ""), (SEAL, "session-1"), (SEAL.decode(), "\u017f\u202e")]
)
def test_a_context_comes_back_as_it_was(key: str | bytes | None, bind: str) -> None:
    text = store_capture_context(context(), key, bind=bind)
    assert {*text} <= {*ALPHABET, "."}
    again = restore(text, key, bind=bind)
    assert again == context()
    assert (again.jwt, again.claims, again.key, again.data) == (
        context().jwt,
        context().claims,
        context().key,
        context().data,
    )


def test_its_size(capsys: pytest.CaptureFixture[str]) -> None:
    whole, open_, sealed = (
        len(t) for t in (context().jwt, store_capture_context(context()), store_capture_context(context(), SEAL))
    )
    with capsys.disabled():
        print(f"\nA context of {whole} characters is stored in {open_}, sealed in {sealed}")  # noqa: T201
    # A cookie holds 4096. The signature and two keys cannot be made smaller.
    assert sealed - open_ == 43
    assert sealed < 0.9 * whole < 4000


def test_a_seal_needs_no_long_term_key() -> None:
    assert restore(store_capture_context(context(), SEAL), SEAL, keys=NOBODY) == context()
    with pytest.raises(errors.UnknownKeyError):
        restore(store_capture_context(context()), keys=NOBODY)


def spoiled(text: str) -> list[str]:
    """The text with each of its characters changed, in the lowest bit and to others."""
    out = []
    for index, letter in enumerate(text):
        at = ALPHABET.find(letter)
        others = {ALPHABET[at ^ 1], ALPHABET[at ^ 32], "."} if at >= 0 else {"A", ""}
        out += [text[:index] + other + text[index + 1 :] for other in others]
    return out


def test_every_changed_character_breaks_the_seal() -> None:
    for text in spoiled(store_capture_context(context(), SEAL, bind="session-1")):
        with pytest.raises((errors.InvalidSignatureError, errors.MalformedTokenError)):
            restore(text, SEAL, bind="session-1")


def test_no_changed_character_makes_another_context() -> None:
    # Packed data has a few bits that mean nothing; changing those gives back the very same context.
    stored, harmless = store_capture_context(context()), 0
    for text in spoiled(stored):
        try:
            assert restore(text) == context()
            harmless += 1
        except errors.TokenError:
            pass
    assert harmless <= 4


@pytest.mark.parametrize(
    ("stored", "restored", "expected"),
    [
        ((SEAL, ""), (SEAL + b"x", ""), errors.InvalidSignatureError),
        ((SEAL, ""), (SEAL, "session-1"), errors.InvalidSignatureError),
        ((SEAL, "session-1"), (SEAL, ""), errors.InvalidSignatureError),
        ((SEAL, "session-1"), (SEAL, "session-2"), errors.InvalidSignatureError),
        ((SEAL, "session-1"), (SEAL, "session-1\0"), errors.InvalidSignatureError),
        ((None, ""), (SEAL, ""), errors.InvalidSignatureError),
        ((SEAL, ""), (None, ""), errors.ConfigurationError),
        ((None, ""), (None, "session-1"), errors.ConfigurationError),
        ((SEAL, ""), (b"too short", ""), errors.ConfigurationError),
    ],
)
def test_another_key_or_session_is_refused(
    stored: tuple[bytes | None, str], restored: tuple[bytes | None, str], expected: type[errors.FlexError]
) -> None:
    text = store_capture_context(context(), stored[0], bind=stored[1])
    with pytest.raises(expected):
        restore(text, restored[0], bind=restored[1])


@pytest.mark.parametrize(("key", "bind"), [(b"too short", ""), ("too short", ""), (b"", ""), (None, "session-1")])
def test_what_cannot_be_sealed_is_not_stored(key: str | bytes | None, bind: str) -> None:
    with pytest.raises(errors.ConfigurationError):
        store_capture_context(context(), key, bind=bind)


def test_a_seal_cannot_be_taken_off() -> None:
    sealed = store_capture_context(context(), SEAL)
    body = sealed.rpartition(".")[0] + "."
    assert restore(body) == context()
    with pytest.raises(errors.InvalidSignatureError):
        restore(body, SEAL)


@pytest.mark.parametrize("key", [None, SEAL])
def test_a_cut_text_is_refused(key: bytes | None) -> None:
    text = store_capture_context(context(), key)
    for end in (*range(40), *range(40, len(text), 97), len(text) - 1):
        with pytest.raises((errors.TokenError, errors.ConfigurationError)):
            restore(text[:end], key)


def packed(header: bytes, payload: bytes, signature: bytes = b"x" * 256) -> str:
    body = (
        len(signature).to_bytes(2, "big") + signature + zlib.compress(len(header).to_bytes(2, "big") + header + payload)
    )
    return f"fc1.{b64(body)}."


@pytest.mark.parametrize(
    "text",
    [
        *("", "fc1.", "fc1..", "fc1", "fc2.AAAA.", "fc1.AAAA", "fc1.AAAA.AAAA.AAAA", "fc1.A.", "fc1.AB.", "fc1.AAAA=."),
        *("fc1.\u0661AAA.", "fc1.AA AA.", None, b"fc1.AAAA.", 3, "FC1.AAAA.", "x" * 10**6, context().jwt),
        packed(b"", b"{}"),
        packed(b"{}", b""),
        packed(b"{}", b"{}", b""),
        packed(b'{"alg":"none","kid":"zz"}', b"{}"),
        packed(b'{"alg":"RS256","kid":"../"}', b"{}"),
        packed(b'{"alg":"RS256","kid":"zz"}', b"{}"),
        packed(b'{"alg":"RS256","kid":"zz"}', b"\xff" * 100),
        # A bomb: a few letters that unpack to 100 MB.
        packed(b'{"alg":"RS256","kid":"zz"}', bytes(30 * 1024 * 1024)),
        f"fc1.{b64(bytes(2) + zlib.compress(b'x' * 100) + b'more')}.",
        f"fc1.{b64(bytes(2) + zlib.compress(os.urandom(60_000))[:-4])}.",
    ],
)
def test_what_is_no_stored_context_is_refused(text: Any) -> None:
    with pytest.raises((errors.TokenError, errors.ConfigurationError)) as caught:
        restore(text)
    assert isinstance(caught.value, errors.TokenError) or "." in str(text)


def test_a_bomb_costs_no_memory() -> None:
    import tracemalloc

    text = packed(b'{"alg":"RS256","kid":"zz"}', bytes(30 * 1024 * 1024))
    assert len(text) < 64 * 1024
    tracemalloc.start()
    try:
        with pytest.raises(errors.MalformedTokenError):
            restore(text)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * 1024 * 1024


def test_the_limit_counts() -> None:
    with pytest.raises(errors.MalformedTokenError):
        restore(store_capture_context(context()), limits=TokenLimits(max_length=500))
    with pytest.raises(errors.MalformedTokenError):
        restore(store_capture_context(context()), limits=TokenLimits(max_length=len(context().jwt) - 1))


@pytest.mark.parametrize("key", [None, SEAL])
def test_it_lives_as_long_as_a_token_of_its_can(key: bytes | None) -> None:
    text = store_capture_context(context(), key)
    last = NOW + 900 + TOKEN_LIFETIME
    assert restore(text, key, now=last, leeway=30) == context()
    with pytest.raises(errors.ExpiredTokenError):
        restore(text, key, now=last + 30, leeway=30)
    with pytest.raises(errors.TokenNotYetValidError):
        restore(text, key, now=NOW - 31, leeway=30)
