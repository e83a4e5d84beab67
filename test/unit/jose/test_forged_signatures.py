"""Forgeries of signatures and of the kind of a token: what an attacker could try who knows a lenient implementation.

``test_forged_tokens`` has the forgeries of the compact form, the JSON, the header and the claims. Here the attacker
forges RSA signatures for a public exponent of 3, changes genuine signatures, signs other data, or passes a genuine
token of one kind as one of another.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from cybersource_flex import errors
from cybersource_flex.jose import (
    CaptureContext,
    PinnedKeys,
    PublicKey,
    TransientToken,
    open_payment_credentials,
    restore_capture_context,
    store_capture_context,
    verify_capture_context,
    verify_transient_token,
)
from support.encoding import base64url, base64url_decode
from support.keys import LONG_TERM, MERCHANT, ONE_TIME, PORTFOLIO, jwk, private_key
from support.tokens import (
    CONTEXT_HEADER,
    TOKEN_HEADER,
    capture_context_claims,
    encrypt_jwe,
    sign_jwt,
    signing_input,
    transient_token_claims,
)

NOW = 1_800_000_000
ATTACKER = PORTFOLIO
MAC_KEY = b"sixteen or more bytes"
# DER of DigestInfo up to the hash (RFC 8017 section 9.2, note 1), with and without the NULL parameter.
SHA256_PREFIX = bytes.fromhex("3031300d060960864801650304020105000420")
SHA256_PREFIX_WITHOUT_NULL = bytes.fromhex("302f300b06096086480165030402010420")
SHA1_PREFIX = bytes.fromhex("3021300906052b0e03021a05000414")

Signature, NoKey, Claim = errors.InvalidSignatureError, errors.UnknownKeyError, errors.InvalidClaimError
Json = dict[str, Any]


@cache
def keys() -> PinnedKeys:
    return PinnedKeys([jwk(LONG_TERM, "zz")])


@cache
def exponent_three() -> rsa.RSAPrivateKey:
    """A one-time key with the exponent 3, for which lenient verification can be forged without the private key."""
    return rsa.generate_private_key(3, 2048)


@cache
def context(exponent: int = 65537, **changes: Any) -> CaptureContext:
    public = jwk(ONE_TIME, "one")
    if exponent == 3:
        public = {**jwk(exponent_three(), "one"), "e": "Aw"}
    claims = {**capture_context_claims(NOW), "flx": {"path": "/flex/v2/tokens", "jwk": public}, **changes}
    return verify_capture_context(sign_jwt(LONG_TERM, CONTEXT_HEADER, claims), keys(), now=NOW)


def verify_token(token: str, exponent: int = 65537) -> TransientToken:
    return verify_transient_token(token, context(exponent), now=NOW)


def message() -> str:
    return signing_input(TOKEN_HEADER, transient_token_claims(NOW))


def genuine(key: Any = ONE_TIME) -> tuple[str, int]:
    """The signed part of a genuine token, and its signature as a number."""
    token = sign_jwt(key, TOKEN_HEADER, transient_token_claims(NOW))
    data, _, signature = token.rpartition(".")
    return data, int.from_bytes(base64url_decode(signature), "big")


def with_signature(signature: int | bytes, data: str | None = None, size: int = 256) -> str:
    encoded = signature if isinstance(signature, bytes) else signature.to_bytes(size, "big")
    return f"{data or message()}.{base64url(encoded)}"


def digest(data: str | None = None) -> bytes:
    return hashlib.sha256((data or message()).encode("ascii")).digest()


def encoded_message(digest_info: bytes, *, block_type: int = 1, filler: bytes = b"\xff", first: int = 0) -> bytes:
    """The padded block of RSASSA-PKCS1-v1_5 (RFC 8017 section 9.2), of 256 bytes."""
    return bytes([first, block_type]) + filler * (253 - len(digest_info)) + b"\0" + digest_info


def sign_block(block: bytes, key: Any = ONE_TIME) -> int:
    """The RSA signature of any block, made with the private key."""
    numbers = private_key(key).private_numbers()
    return pow(int.from_bytes(block, "big") % numbers.public_numbers.n, numbers.d, numbers.public_numbers.n)


def cube_root(number: int) -> int:
    """The largest integer whose cube is not larger."""
    low, high = 0, 1 << (number.bit_length() // 3 + 2)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**3 <= number else (low, middle - 1)
    return low


def forge_by_cube_root(start: bytes) -> int:
    """A number whose cube begins with these bytes: a signature for an exponent of 3 if the rest is ignored."""
    block = start + b"\xff" * (256 - len(start))
    root = cube_root(int.from_bytes(block, "big"))
    assert (root**3).to_bytes(256, "big").startswith(start)
    return root


def cube_root_forgeries() -> Iterator[tuple[str, Callable[[], int]]]:
    info, bare = SHA256_PREFIX + digest(), SHA256_PREFIX_WITHOUT_NULL + digest()
    for length in (0, 1, 8, 20):
        start = b"\0\1" + b"\xff" * length + b"\0"
        yield (
            f"cube root, {length} bytes of padding, the rest behind the hash",
            lambda s=start: forge_by_cube_root(s + info),
        )
    yield "cube root, no NULL parameter", lambda: forge_by_cube_root(b"\0\1" + b"\xff" * 8 + b"\0" + bare)
    yield "cube root, only the hash", lambda: forge_by_cube_root(b"\0\1" + b"\xff" * 8 + b"\0" + digest())
    # The length of the parameters covers the rest, so that it is part of a valid structure (BERserk).
    tail = b"\0\1\xff\xff\xff\xff\xff\xff\xff\xff\0"
    berserk = bytes.fromhex("3081a9") + bytes.fromhex("30818506096086480165030402010482007a")
    yield "cube root, garbage inside the parameters", lambda: forge_by_cube_root(tail + berserk)
    yield "cube of one", lambda: 1
    yield "cube of zero", lambda: 0


@pytest.mark.parametrize(
    ("name", "forge"), [*cube_root_forgeries()], ids=lambda value: value if isinstance(value, str) else ""
)
def test_signatures_cannot_be_forged_for_an_exponent_of_three(name: str, forge: Callable[[], int]) -> None:
    assert verify_token(sign_jwt(exponent_three(), TOKEN_HEADER, transient_token_claims(NOW)), 3).type == "api-0.1.0"
    with pytest.raises(Signature):
        verify_token(with_signature(forge()), 3)


def changed_signatures() -> Iterator[tuple[str, Callable[[], str]]]:
    modulus = private_key(ONE_TIME).public_key().public_numbers().n

    def of(change: Callable[[int], int], size: int = 256) -> str:
        data, signature = genuine()
        return with_signature(change(signature), data, size)

    # The same number modulo n: a lenient implementation accepts the same token in several forms.
    yield "plus the modulus", lambda: of(lambda s: s + modulus, 257)
    yield "plus ten times the modulus", lambda: of(lambda s: s + 10 * modulus, 258)
    yield "negated", lambda: of(lambda s: modulus - s)
    yield "doubled", lambda: of(lambda s: s * 2 % modulus)
    yield "squared", lambda: of(lambda s: s * s % modulus)
    yield "inverted", lambda: of(lambda s: pow(s, -1, modulus))
    yield "the modulus", lambda: of(lambda s: modulus)
    yield "the modulus minus one", lambda: of(lambda s: modulus - 1)
    yield "one", lambda: of(lambda s: 1)
    yield "byte order reversed", lambda: of(lambda s: int.from_bytes(s.to_bytes(256, "little"), "big"))
    yield "the hash itself", lambda: with_signature(digest())
    yield "the DigestInfo itself", lambda: with_signature(SHA256_PREFIX + digest())
    yield "the padded block itself", lambda: with_signature(encoded_message(SHA256_PREFIX + digest()))
    yield "in hexadecimal", lambda: with_signature(f"{genuine()[1]:0512x}".encode())
    yield "in base64, encoded again", lambda: with_signature(base64.b64encode(genuine()[1].to_bytes(256, "big")))
    yield "as a DER octet string", lambda: with_signature(b"\x04\x82\1\0" + genuine()[1].to_bytes(256, "big"))
    yield "as a DER bit string", lambda: with_signature(b"\x03\x82\1\1\0" + genuine()[1].to_bytes(256, "big"))
    yield "twice", lambda: with_signature(genuine()[1].to_bytes(256, "big") * 2)
    yield "without its leading zero", lambda: without_leading_zero()
    for name, block in {
        "block type 0": encoded_message(SHA256_PREFIX + digest(), block_type=0, filler=b"\0"),
        "block type 2": encoded_message(SHA256_PREFIX + digest(), block_type=2, filler=b"\xaa"),
        "first byte 1": encoded_message(SHA256_PREFIX + digest(), first=1, block_type=255),
        "other padding": encoded_message(SHA256_PREFIX + digest(), filler=b"\xfe"),
        "no DigestInfo": encoded_message(digest()),
        "no NULL parameter": encoded_message(SHA256_PREFIX_WITHOUT_NULL + digest()),
        "SHA-1": encoded_message(SHA1_PREFIX + hashlib.sha1(message().encode()).digest()),
        "called SHA-256, but SHA-1": encoded_message(
            SHA256_PREFIX + hashlib.sha1(message().encode()).digest() + bytes(12)
        ),
        "hash cut off": encoded_message(SHA256_PREFIX + digest()[:16]),
        "data behind the hash": encoded_message(SHA256_PREFIX + digest() + b"\0"),
        "hash of nothing": encoded_message(SHA256_PREFIX + hashlib.sha256().digest()),
        "hash of the hash": encoded_message(SHA256_PREFIX + hashlib.sha256(digest()).digest()),
        "all zeros": bytes(256),
    }.items():
        yield f"signed block: {name}", lambda b=block: with_signature(sign_block(b))


def without_leading_zero() -> str:
    """A genuine token whose signature begins with a zero byte, which is left out."""
    for number in range(10_000):
        token = sign_jwt(ONE_TIME, TOKEN_HEADER, transient_token_claims(NOW, note=number))
        data, _, signature = token.rpartition(".")
        if base64url_decode(signature)[0] == 0:
            assert verify_token(token)
            return with_signature(base64url_decode(signature)[1:], data)
    raise AssertionError("no signature begins with a zero byte")


@pytest.mark.parametrize(
    ("name", "forge"), [*changed_signatures()], ids=lambda value: value if isinstance(value, str) else ""
)
def test_changed_signatures_are_rejected(name: str, forge: Callable[[], str]) -> None:
    data, signature = genuine()
    assert verify_token(with_signature(signature, data))
    with pytest.raises(Signature):
        verify_token(forge())


def other_signing_inputs() -> Iterator[tuple[str, str]]:
    header, payload = message().split(".")
    yield "the payload alone", payload
    yield "the header alone", header
    yield "without the dot", header + payload
    yield "another dot behind", f"{header}.{payload}."
    yield "payload first", f"{payload}.{header}"
    yield "decoded", (base64url_decode(header) + b"." + base64url_decode(payload)).decode()
    yield "decoded payload", f"{header}.{base64url_decode(payload).decode()}"
    yield "padded", f"{header}{'=' * (-len(header) % 4)}.{payload}{'=' * (-len(payload) % 4)}"
    yield "in capitals", message().upper()
    yield "with a line end", message() + "\n"
    yield "with white space before it", " " + message()
    yield "in UTF-16", message().encode("utf-16-le").decode("latin-1")
    yield "as bytes of Python", repr(message().encode())


@pytest.mark.parametrize(("name", "signed"), [*other_signing_inputs()], ids=lambda value: str(value)[:25])
def test_signatures_of_other_data_are_rejected(name: str, signed: str) -> None:
    block = encoded_message(SHA256_PREFIX + hashlib.sha256(signed.encode("latin-1")).digest())
    with pytest.raises(Signature):
        verify_token(with_signature(sign_block(block)))


# Genuine tokens of other kinds, signed with the long-term key.
OTHER_KINDS: dict[str, Json] = {
    "payment credentials": {
        "iss": "https://flex.visa.com",
        "sub": "merchant",
        "paymentInformation": {"card": {"number": "4111111111111111"}},
    },
    "complete response": {
        "iss": "Flex API",
        "id": "7290",
        "status": "AUTHORIZED",
        "outcome": "AUTHORIZED",
        "details": {},
    },
    "complete response with a context": {"iss": "Flex API", "status": "AUTHORIZED", "ctx": [{"type": "api-0.1.0"}]},
    "a context without a key": {"iss": "Flex API", "ctx": [{"type": "api-0.1.0"}], "flx": {"path": "/flex/v2/tokens"}},
    "a context of another issuer": {**capture_context_claims(NOW), "iss": "https://flex.visa.com"},
    "a context inside another member": {"iss": "Flex API", "data": capture_context_claims(NOW)},
    "a transient token": transient_token_claims(NOW),
    "a transient token called Flex API": {**transient_token_claims(NOW), "iss": "Flex API"},
}


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_genuine_tokens_of_another_kind_are_no_contexts(kind: str) -> None:
    claims = {"iat": NOW, "exp": NOW + 900, "jti": "A" * 16, **OTHER_KINDS[kind]}
    other = sign_jwt(LONG_TERM, CONTEXT_HEADER, claims)
    with pytest.raises(Claim):
        verify_capture_context(other, keys(), now=NOW)
    # Not even with the kid of the one-time key.
    with pytest.raises(NoKey):
        verify_token(other)
    with pytest.raises(Signature):
        verify_token(sign_jwt(LONG_TERM, TOKEN_HEADER, claims))


def test_genuine_tokens_of_another_kind_are_no_payment_credentials() -> None:
    header = {"alg": "RSA-OAEP-256", "enc": "A256GCM"}
    context_jwt = sign_jwt(LONG_TERM, CONTEXT_HEADER, capture_context_claims(NOW))
    token = sign_jwt(ONE_TIME, TOKEN_HEADER, transient_token_claims(NOW))
    for inner, error in ((context_jwt, Claim), (token, NoKey)):
        # Anyone can encrypt with the merchant's public key.
        encrypted = encrypt_jwe(private_key(MERCHANT), inner.encode(), header)
        with pytest.raises(error):
            open_payment_credentials(encrypted, private_key(MERCHANT), keys(), now=NOW)


def other_context(kid: str, key: str = ATTACKER, **changes: Any) -> CaptureContext:
    """A genuine context with another one-time key: of another customer, or another shop."""
    claims = {**capture_context_claims(NOW, **changes), "flx": {"path": "/flex/v2/tokens", "jwk": jwk(key, kid)}}
    return verify_capture_context(sign_jwt(LONG_TERM, CONTEXT_HEADER, claims), keys(), now=NOW)


def test_a_genuine_token_of_another_context_is_rejected() -> None:
    theirs = other_context("theirs")
    token = sign_jwt(ATTACKER, {**TOKEN_HEADER, "kid": "theirs"}, transient_token_claims(NOW))
    assert verify_transient_token(token, theirs, now=NOW)
    with pytest.raises(NoKey):
        verify_token(token)
    renamed = sign_jwt(ATTACKER, TOKEN_HEADER, transient_token_claims(NOW))
    with pytest.raises(Signature):
        verify_token(renamed)
    # A context with the same kid, but another key.
    with pytest.raises(Signature):
        verify_transient_token(
            sign_jwt(ONE_TIME, TOKEN_HEADER, transient_token_claims(NOW)), other_context("one"), now=NOW
        )


@pytest.mark.parametrize(
    ("context_type", "token_type"),
    [("mf-2.1.0", "api-0.1.0"), ("api-0.1.0", "mf-2.1.0"), ("gda-0.7.0", "mf-2.0.0"), ("mf-2.1.0", "uc-1.0.0")],
)
def test_the_browser_cannot_choose_the_product_of_a_token(context_type: str, token_type: str) -> None:
    """It says which entry of ``ctx`` it used. A context could have entries with other rules."""
    entries = [{"type": context_type, "data": {}}, {"type": token_type, "data": {}}]
    mixed = other_context("one", ONE_TIME, ctx=entries)
    assert mixed.warnings == ("ctx has more than one entry; only the first one is read",)
    genuine_token = sign_jwt(ONE_TIME, TOKEN_HEADER, transient_token_claims(NOW, type=token_type))
    with pytest.raises(Claim, match="does not match the type of its capture context"):
        verify_transient_token(genuine_token, mixed, now=NOW)


def payloads_in_disguise() -> Iterator[tuple[str, Json, bytes]]:
    """Payloads that a library with extensions would unpack. Signed by the right key."""
    claims = json.dumps(transient_token_claims(NOW)).encode()
    inner = sign_jwt(ATTACKER, TOKEN_HEADER, transient_token_claims(NOW)).encode()
    yield "a JWS inside (cty)", {**TOKEN_HEADER, "cty": "JWT"}, inner
    yield "compressed (zip)", {**TOKEN_HEADER, "zip": "DEF"}, zlib.compress(claims)[2:-4]
    yield "encoded twice", TOKEN_HEADER, base64.b64encode(claims)
    yield "a JSON string", TOKEN_HEADER, json.dumps(claims.decode()).encode()
    yield "an array", TOKEN_HEADER, b"[" + claims + b"]"
    yield "two documents", TOKEN_HEADER, claims + b"\n" + claims
    yield "claims inside another member", TOKEN_HEADER, b'{"claims":' + claims + b"}"
    yield "names with spaces", TOKEN_HEADER, claims.replace(b'"exp"', b'"exp "')
    yield "names in capitals", TOKEN_HEADER, claims.upper().replace(b"FLEX/08", b"Flex/08")
    yield "CBOR", TOKEN_HEADER, b"\xa1\x63exp\x1a\x7f\xff\xff\xff"


@pytest.mark.parametrize(
    ("name", "header", "payload"), [*payloads_in_disguise()], ids=lambda value: value if isinstance(value, str) else ""
)
def test_payloads_are_not_unpacked(name: str, header: Json, payload: bytes) -> None:
    with pytest.raises((errors.MalformedTokenError, Claim)):
        verify_token(sign_jwt(ONE_TIME, header, payload))


@pytest.mark.parametrize(
    "changes",
    [
        {"nbf": NOW + 10**6},
        {"exp": NOW - 30},
        {"exp": NOW - 30.5, "iat": NOW - 900.25},
        {"iat": NOW + 30.5},
        {"exp": NOW + 86_400.5},
        {"exp": 10**9 * 9},
        {"iat": -0.0},
        {"exp": NOW + 900, "iat": NOW + 900},
        {"exp": {"$numberLong": str(NOW + 900)}},
        {"exp": "Infinity"},
        {"exp": [NOW + 900]},
        {"Exp": NOW + 900, "exp": None},
    ],
    ids=str,
)
def test_times_that_look_right_are_rejected(changes: Json) -> None:
    """Signed by the right key, with values at the edges."""
    with pytest.raises(errors.TokenError):
        verify_token(sign_jwt(ONE_TIME, TOKEN_HEADER, transient_token_claims(NOW, **changes)))


def weak_keys() -> Iterator[tuple[str, Json]]:
    numbers = private_key(ONE_TIME).private_numbers()
    genuine_key = jwk(ONE_TIME, "one")

    def encoded(number: int) -> str:
        return base64url(number.to_bytes((number.bit_length() + 7) // 8, "big"))

    yield "a power of two plus one", {**genuine_key, "n": encoded(2**2048)}
    yield "one of its primes", {**genuine_key, "n": encoded(numbers.p)}
    yield "an even exponent", {**genuine_key, "e": encoded(65536)}
    yield "an exponent as large as the modulus", {**genuine_key, "e": encoded(numbers.public_numbers.n - 2)}
    yield "its private exponent as the public one", {**genuine_key, "e": encoded(numbers.d)}
    yield "a modulus with a sign byte of ones", {**genuine_key, "n": "_" * 20_000}
    yield "other primes (oth)", {**genuine_key, "d": "AQAB", "oth": []}
    yield "a key operation of secrets", {"kty": "oct", "k": genuine_key["n"], "kid": "one"}


@pytest.mark.parametrize(("name", "public"), [*weak_keys()], ids=lambda value: value if isinstance(value, str) else "")
def test_a_context_with_a_weak_key_is_rejected(name: str, public: Json) -> None:
    claims = {**capture_context_claims(NOW), "flx": {"path": "/flex/v2/tokens", "jwk": public}}
    with pytest.raises(Claim):
        verify_capture_context(sign_jwt(LONG_TERM, CONTEXT_HEADER, claims), keys(), now=NOW)
    with pytest.raises(errors.UnsupportedAlgorithmError):
        PublicKey(public)


def stored_forgeries() -> Iterator[tuple[str, str, str]]:
    """A name, a stored context, and the session for which it is restored."""
    stored = store_capture_context(context(), MAC_KEY, session_id="session")
    prefix, body, mac = stored.split(".")
    data = base64url_decode(body)

    def with_mac(changed: bytes, mac: bytes) -> str:
        return f"{prefix}.{base64url(changed)}.{base64url(mac)}"

    yield "no MAC", f"{prefix}.{body}.", "session"
    yield "MAC of 31 bytes", with_mac(data, base64url_decode(mac)[:31]), "session"
    yield "MAC of 16 bytes", with_mac(data, base64url_decode(mac)[:16]), "session"
    yield "MAC of one byte", with_mac(data, base64url_decode(mac)[:1]), "session"
    yield "MAC of zeros", with_mac(data, bytes(32)), "session"
    yield "MAC with a byte behind it", with_mac(data, base64url_decode(mac) + b"\0"), "session"
    yield "a hash instead of a MAC", with_mac(data, hashlib.sha256(data).digest()), "session"
    yield "MAC with an empty key", with_mac(data, hmac.digest(b"", b"fc1." + data, "sha256")), "session"
    yield "MAC without the session", with_mac(data, hmac.digest(MAC_KEY, b"fc1." + data, "sha256")), ""
    # The end of the session id moved to the body, or the reverse.
    yield "a shorter session id", with_mac(b"n" + data, base64url_decode(mac)), "sessio"
    yield "a longer session id", with_mac(data[1:], base64url_decode(mac)), "session" + chr(data[0] & 127)
    yield "session id in capitals", stored, "SESSION"
    yield "session id with a null character", stored, "session\0"
    yield "MAC of another context", f"{prefix}.{body}.{other_stored().split('.')[2]}", "session"
    yield "another prefix", stored.replace("fc1.", "fc2."), "session"
    yield "the JWT itself", context().jwt, "session"


def other_stored() -> str:
    return store_capture_context(other_context("theirs"), MAC_KEY, session_id="session")


@pytest.mark.parametrize(
    ("name", "stored", "session_id"),
    [*stored_forgeries()],
    ids=lambda value: value[:25] if isinstance(value, str) else "",
)
def test_forged_stored_contexts_are_rejected(name: str, stored: str, session_id: str) -> None:
    with pytest.raises((Signature, errors.MalformedTokenError)):
        restore_capture_context(stored, keys(), MAC_KEY, session_id=session_id, now=NOW)
