"""Storing and restoring capture contexts, with and without a MAC."""

from __future__ import annotations

import json
import os
import zlib
from functools import cache
from typing import Any

import pytest

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
from cybersource_flex.transport import HostTime
from support.encoding import base64url
from support.keys import LONG_TERM, ONE_TIME, jwk
from support.tokens import CONTEXT_HEADER, capture_context_claims, sign_jwt

NOW = 1_800_000_000
MAC_KEY = b"sixteen or more bytes"
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@cache
def keys() -> PinnedKeys:
    return PinnedKeys([jwk(LONG_TERM, "zz")])


@cache
def context(**changes: Any) -> CaptureContext:
    data = {"requiredFields": ["paymentInformation.card.number"], "optionalFields": []}
    flx = {
        "path": "/flex/v2/tokens",
        "data": base64url(bytes(range(99))),
        "origin": "https://testflex.cybersource.com",
        "jwk": jwk(ONE_TIME, "08OneTimeKeyOfThirtyTwoLetters00"),
    }
    claims = capture_context_claims(NOW, flx=flx, ctx=[{"data": data, "type": "api-0.1.0"}], **changes)
    # Without spaces, as the service writes JSON: the tests measure the size.
    parts = (json.dumps(part, separators=(",", ":")) for part in (CONTEXT_HEADER, claims))
    return verify_capture_context(sign_jwt(LONG_TERM, *parts), keys(), now=NOW)


def restore(stored: str, key: str | bytes | None = None, **changes: Any) -> CaptureContext:
    return restore_capture_context(stored, changes.pop("keys", keys()), key, **{"now": NOW, **changes})


@pytest.mark.parametrize(
    ("key", "session_id"), [(None, ""), (MAC_KEY, ""), (MAC_KEY, "session-1"), (MAC_KEY.decode(), "\u017f\u202e")]
)
def test_a_restored_context_equals_the_stored_one(key: str | bytes | None, session_id: str) -> None:
    stored = store_capture_context(context(), key, session_id=session_id)
    assert {*stored} <= {*ALPHABET, "."}
    restored = restore(stored, key, session_id=session_id)
    assert restored == context()
    assert (restored.jwt, restored.claims, restored.key, restored.data) == (
        context().jwt,
        context().claims,
        context().key,
        context().data,
    )


def test_the_size_of_a_stored_context(capsys: pytest.CaptureFixture[str]) -> None:
    jwt_size, size, authenticated_size = (
        len(form)
        for form in (context().jwt, store_capture_context(context()), store_capture_context(context(), MAC_KEY))
    )
    with capsys.disabled():
        print(f"\nA context of {jwt_size} characters is stored in {size}, and with a MAC in {authenticated_size}")  # noqa: T201
    # A cookie may have 4096 bytes. The signature and the two keys cannot be compressed.
    assert authenticated_size - size == 43
    assert authenticated_size < 0.9 * jwt_size < 4000


def test_a_context_with_a_mac_is_restored_without_the_long_term_key() -> None:
    assert restore(store_capture_context(context(), MAC_KEY), MAC_KEY, keys=PinnedKeys([])) == context()
    with pytest.raises(errors.UnknownKeyError):
        restore(store_capture_context(context()), keys=PinnedKeys([]))


def test_a_context_with_a_mac_is_checked_at_the_time_that_the_caller_passes() -> None:
    stored = store_capture_context(context(), MAC_KEY)
    # The host's clock does not count: the caller asks about another time.
    for host_time in (None, HostTime(1000.0)):
        with pytest.raises(errors.TokenNotYetValidError):
            restore(stored, MAC_KEY, now=NOW - 500, host_time=host_time)


def changed_characters(stored: str) -> list[str]:
    """The stored form with each character changed, in its lowest bit and to others."""
    changed = []
    for index, character in enumerate(stored):
        position = ALPHABET.find(character)
        others = {ALPHABET[position ^ 1], ALPHABET[position ^ 32], "."} if position >= 0 else {"A", ""}
        changed += [stored[:index] + other + stored[index + 1 :] for other in others]
    return changed


def test_a_changed_character_invalidates_the_mac() -> None:
    for changed in changed_characters(store_capture_context(context(), MAC_KEY, session_id="session-1")):
        with pytest.raises((errors.InvalidSignatureError, errors.MalformedTokenError)):
            restore(changed, MAC_KEY, session_id="session-1")


def test_a_changed_character_never_gives_another_context() -> None:
    # Compressed data has a few unused bits. Changing those gives the same context.
    stored, harmless = store_capture_context(context()), 0
    for changed in changed_characters(stored):
        try:
            assert restore(changed) == context()
            harmless += 1
        except errors.TokenError:
            pass
    assert harmless <= 4


@pytest.mark.parametrize(
    ("stored_with", "restored_with", "expected"),
    [
        ((MAC_KEY, ""), (MAC_KEY + b"x", ""), errors.InvalidSignatureError),
        ((MAC_KEY, ""), (MAC_KEY, "session-1"), errors.InvalidSignatureError),
        ((MAC_KEY, "session-1"), (MAC_KEY, ""), errors.InvalidSignatureError),
        ((MAC_KEY, "session-1"), (MAC_KEY, "session-2"), errors.InvalidSignatureError),
        ((MAC_KEY, "session-1"), (MAC_KEY, "session-1\0"), errors.InvalidSignatureError),
        ((None, ""), (MAC_KEY, ""), errors.InvalidSignatureError),
        ((MAC_KEY, ""), (None, ""), errors.InvalidSignatureError),
        ((None, ""), (None, "session-1"), errors.ConfigurationError),
        ((MAC_KEY, ""), (b"too short", ""), errors.ConfigurationError),
    ],
)
def test_another_key_or_session_is_rejected(
    stored_with: tuple[bytes | None, str], restored_with: tuple[bytes | None, str], expected: type[errors.FlexError]
) -> None:
    stored = store_capture_context(context(), stored_with[0], session_id=stored_with[1])
    with pytest.raises(expected):
        restore(stored, restored_with[0], session_id=restored_with[1])


@pytest.mark.parametrize(("key", "session_id"), [(b"too short", ""), ("too short", ""), (b"", ""), (None, "session-1")])
def test_storing_needs_a_long_enough_key_for_a_mac(key: str | bytes | None, session_id: str) -> None:
    with pytest.raises(errors.ConfigurationError):
        store_capture_context(context(), key, session_id=session_id)


def test_a_removed_mac_is_detected() -> None:
    stored = store_capture_context(context(), MAC_KEY)
    body = stored.rpartition(".")[0] + "."
    assert restore(body) == context()
    with pytest.raises(errors.InvalidSignatureError):
        restore(body, MAC_KEY)


@pytest.mark.parametrize("key", [None, MAC_KEY])
def test_a_truncated_context_is_rejected(key: bytes | None) -> None:
    stored = store_capture_context(context(), key)
    for end in (*range(40), *range(40, len(stored), 97), len(stored) - 1):
        with pytest.raises(errors.TokenError):
            restore(stored[:end], key)


def stored_form(header: bytes, payload: bytes, signature: bytes = b"x" * 256) -> str:
    body = (
        len(signature).to_bytes(2, "big") + signature + zlib.compress(len(header).to_bytes(2, "big") + header + payload)
    )
    return f"fc1.{base64url(body)}."


@pytest.mark.parametrize(
    "stored",
    [
        *("", "fc1.", "fc1..", "fc1", "fc2.AAAA.", "fc1.AAAA", "fc1.AAAA.AAAA.AAAA", "fc1.A.", "fc1.AB.", "fc1.AAAA=."),
        *("fc1.\u0661AAA.", "fc1.AA AA.", None, b"fc1.AAAA.", 3, "FC1.AAAA.", "x" * 10**6, context().jwt),
        stored_form(b"", b"{}"),
        stored_form(b"{}", b""),
        stored_form(b"{}", b"{}", b""),
        stored_form(b'{"alg":"none","kid":"zz"}', b"{}"),
        stored_form(b'{"alg":"RS256","kid":"../"}', b"{}"),
        stored_form(b'{"alg":"RS256","kid":"zz"}', b"{}"),
        stored_form(b'{"alg":"RS256","kid":"zz"}', b"\xff" * 100),
        # A decompression bomb: a few characters that decompress to 30 MB.
        stored_form(b'{"alg":"RS256","kid":"zz"}', bytes(30 * 1024 * 1024)),
        f"fc1.{base64url(bytes(2) + zlib.compress(b'x' * 100) + b'more')}.",
        f"fc1.{base64url(bytes(2) + zlib.compress(os.urandom(60_000))[:-4])}.",
    ],
)
def test_other_values_are_rejected(stored: Any) -> None:
    with pytest.raises(errors.TokenError):
        restore(stored)


def test_a_decompression_bomb_is_rejected_without_much_memory() -> None:
    import tracemalloc

    stored = stored_form(b'{"alg":"RS256","kid":"zz"}', bytes(30 * 1024 * 1024))
    assert len(stored) < 64 * 1024
    tracemalloc.start()
    try:
        with pytest.raises(errors.MalformedTokenError):
            restore(stored)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * 1024 * 1024


def test_the_limit_of_the_length_applies() -> None:
    with pytest.raises(errors.MalformedTokenError):
        restore(store_capture_context(context()), limits=TokenLimits(max_length=500))
    with pytest.raises(errors.MalformedTokenError):
        restore(store_capture_context(context()), limits=TokenLimits(max_length=len(context().jwt) - 1))


@pytest.mark.parametrize("key", [None, MAC_KEY])
def test_a_context_can_be_restored_while_its_tokens_can_be_valid(key: bytes | None) -> None:
    stored = store_capture_context(context(), key)
    last = NOW + 900 + TOKEN_LIFETIME
    assert restore(stored, key, now=last, leeway=30) == context()
    with pytest.raises(errors.ExpiredTokenError):
        restore(stored, key, now=last + 30, leeway=30)
    with pytest.raises(errors.TokenNotYetValidError):
        restore(stored, key, now=NOW - 31, leeway=30)
