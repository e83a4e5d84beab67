"""Encrypting and decrypting JWEs: against the emulator's implementation, and against every kind of tampering."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from cybersource_flex import errors, fields
from cybersource_flex.auth import JwtSharedSecret, MessageLevelEncryption
from cybersource_flex.emulator import Emulator, Merchant
from cybersource_flex.emulator import jose as emulated
from cybersource_flex.jose import PinnedKeys, TokenLimits, jwe, open_payment_credentials
from cybersource_flex.jose.compact import parse_jwe
from cybersource_flex.transport import Response
from support.encoding import base64url, base64url_decode
from support.keys import PORTFOLIO, RESPONSE_MLE, RESPONSE_MLE_KEY_ID, private_key
from support.tokens import encode_part, encrypt_jwe, oaep
from support.transports import make_request

SECRET = b"4111111111111111"
HEADER = {"alg": "RSA-OAEP-256", "enc": "A256GCM", "kid": RESPONSE_MLE_KEY_ID}
ALGORITHMS = ["RSA-OAEP", "RSA-OAEP-256"]


MERCHANT, OTHER = private_key(RESPONSE_MLE), private_key(PORTFOLIO)
MLE = MessageLevelEncryption(response_key=MERCHANT, response_kid=RESPONSE_MLE_KEY_ID)


def make_jwe(
    plaintext: bytes = SECRET, *, key: rsa.RSAPrivateKey = MERCHANT, header: Any = HEADER, **options: Any
) -> str:
    """A JWE that is not created by the code under test. ``options`` are those of ``encrypt_jwe``."""
    return encrypt_jwe(key, plaintext, header, **options)


# What this package decrypts. Each takes a token and returns the plaintext or raises an error of the package.


def decrypt_directly(token: str) -> bytes:
    return jwe.decrypt_jwe(parse_jwe(token, "token"), MERCHANT, "RSA-OAEP-256", "token")


def decrypt_as_response(token: str) -> bytes:
    body = json.dumps({"encryptedResponse": token}).encode()
    return MLE.decrypt_response(make_request(), Response(200, "OK", {}, body)).body


def decrypt_as_payment_credentials(token: str) -> bytes:
    open_payment_credentials(token, MERCHANT, PinnedKeys([]))
    raise AssertionError("no signature of these tests is genuine")


Decrypt = Callable[[str], bytes]
DECRYPTERS: list[Any] = [
    pytest.param(decrypt_directly, errors.DecryptionError, id="decrypt_jwe"),
    pytest.param(decrypt_as_response, errors.ResponseDecodingError, id="encrypted response"),
    pytest.param(decrypt_as_payment_credentials, errors.DecryptionError, id="payment credentials"),
]


def decryption_error(decrypt: Decrypt, token: str) -> errors.FlexError:
    """Return the error of decryption. Fails if it shows anything of the plaintext."""
    with pytest.raises((errors.TokenError, errors.ResponseDecodingError)) as caught:
        decrypt(token)
    error: BaseException | None = caught.value
    while error is not None:
        assert SECRET.decode() not in f"{error!r} {error} {vars(error)!r}"
        error = error.__cause__ or error.__context__
    return caught.value


@pytest.mark.parametrize("alg", ALGORITHMS)
@settings(deadline=None, max_examples=50)
@given(plaintext=st.binary(max_size=5000), kid=st.text(max_size=40))
def test_the_emulator_and_the_package_decrypt_what_the_other_encrypts(alg: str, plaintext: bytes, kid: str) -> None:
    token = jwe.encrypt_jwe(MERCHANT.public_key(), alg, {"kid": kid}, plaintext)
    assert jwe.decrypt_jwe(parse_jwe(token, "token"), MERCHANT, alg, "token") == plaintext
    if plaintext:
        theirs = emulated.CompactJwe.parse(token, [alg])
        assert theirs.header == {"alg": alg, "enc": "A256GCM", "kid": kid}
        assert theirs.decrypt(MERCHANT) == plaintext
    token = emulated.encrypt(MERCHANT.public_key(), {**HEADER, "kid": kid}, plaintext)
    assert decrypt_directly(token) == decrypt_as_response(token) == plaintext


def test_every_token_has_its_own_key_and_iv() -> None:
    parts = [jwe.encrypt_jwe(MERCHANT.public_key(), "RSA-OAEP", {}, SECRET).split(".") for _ in range(50)]
    for index in (1, 2, 3, 4):
        assert len({each[index] for each in parts}) == 50
    assert {tuple(len(base64url_decode(part)) for part in each[1:]) for each in parts} == {(256, 12, len(SECRET), 16)}


@pytest.mark.parametrize(("decrypt", "expected"), DECRYPTERS)
def test_every_changed_bit_is_rejected(decrypt: Decrypt, expected: type[Exception]) -> None:
    parts = make_jwe().split(".")
    messages = set()
    for index in (1, 2, 3, 4):
        data = base64url_decode(parts[index])
        # The encrypted key is long: one bit of each byte.
        for position in range(len(data)):
            for bit in (position % 8,) if index == 1 else range(8):
                changed = bytearray(data)
                changed[position] ^= 1 << bit
                error = decryption_error(decrypt, ".".join((*parts[:index], base64url(changed), *parts[index + 1 :])))
                assert type(error) is expected
                messages.add(str(error))
    assert len(messages) == 1


@pytest.mark.parametrize(("decrypt", "expected"), DECRYPTERS)
def test_every_changed_character_is_rejected(decrypt: Decrypt, expected: type[Exception]) -> None:
    token = make_jwe()
    for position, character in enumerate(token):
        other = "A" if character != "A" else "B"
        for changed in (
            token[:position] + other + token[position + 1 :],
            token[:position] + token[position + 1 :],
            token[:position] + "=" + token[position:],
            token[:position],
        ):
            decryption_error(decrypt, changed)


def test_every_changed_byte_of_the_header_is_rejected() -> None:
    head, rest = make_jwe(header={**HEADER, "note": "x" * 20}).split(".", 1)
    data = base64url_decode(head)
    for position in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[position] ^= 1 << bit
            decryption_error(decrypt_directly, f"{base64url(changed)}.{rest}")


def modulus_bytes(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_numbers().n.to_bytes(256, "big")


# Everything that fails after the header is accepted. An attacker who can send tokens must not learn the reason.
FAILURES: dict[str, Callable[[], str]] = {
    "another recipient": lambda: make_jwe(key=OTHER),
    "SHA-1 in OAEP": lambda: make_jwe(wrap=oaep(hashes.SHA1())),  # noqa: S303
    "PKCS #1 v1.5": lambda: make_jwe(wrap=padding.PKCS1v15()),
    "random encrypted key": lambda: make_jwe(encrypted_key=bytes(255) + b"\2"),
    "zero": lambda: make_jwe(encrypted_key=bytes(256)),
    "the modulus": lambda: make_jwe(encrypted_key=modulus_bytes(MERCHANT)),
    "above the modulus": lambda: make_jwe(encrypted_key=b"\xff" * 256),
    "encrypted key too short": lambda: make_jwe(encrypted_key=bytes(255)),
    "encrypted key of one byte": lambda: make_jwe(encrypted_key=b"x"),
    "encrypted key with a zero before it": lambda: make_jwe(
        encrypted_key=b"\0" + MERCHANT.public_key().encrypt(bytes(range(32)), oaep(hashes.SHA256()))
    ),
    "content key of 128 bits": lambda: make_jwe(content_key=bytes(16)),
    "content key of 192 bits": lambda: make_jwe(content_key=bytes(24)),
    "empty content key": lambda: make_jwe(encrypted_key=MERCHANT.public_key().encrypt(b"", oaep(hashes.SHA256()))),
    "content key too long": lambda: make_jwe(
        encrypted_key=MERCHANT.public_key().encrypt(bytes(33), oaep(hashes.SHA256()))
    ),
    "other header": lambda: make_jwe(header={**HEADER, "a": 1}).replace(
        encode_part({**HEADER, "a": 1}), encode_part({**HEADER, "a": 2})
    ),
    **{f"IV of {size} bytes": lambda size=size: make_jwe(iv=bytes(size)) for size in (8, 11, 13, 16, 64)},  # type: ignore[misc]
    **{f"tag of {size} bytes": lambda size=size: make_jwe(tag_length=size) for size in (1, 4, 8, 12, 13, 14, 15)},  # type: ignore[misc]
    "tag with a byte more": lambda: (
        make_jwe()[: -len(base64url(bytes(16)))] + base64url(base64url_decode(make_jwe().rsplit(".", 1)[1]) + b"x")
    ),
    "ciphertext and tag divided elsewhere": lambda: move_bytes(1),
    "ciphertext in the tag": lambda: move_bytes(-1),
}


def move_bytes(count: int) -> str:
    """The same bytes, with ``count`` bytes moved from the ciphertext to the tag, or back if it is negative."""
    head, key, iv, *ends = make_jwe().split(".")
    both = b"".join(map(base64url_decode, ends))
    return ".".join((head, key, iv, base64url(both[: -16 - count]), base64url(both[-16 - count :])))


@pytest.mark.parametrize("forge", FAILURES.values(), ids=FAILURES.keys())
@pytest.mark.parametrize(("decrypt", "expected"), DECRYPTERS)
def test_all_failures_look_the_same(decrypt: Decrypt, expected: type[Exception], forge: Callable[[], str]) -> None:
    error, plain = decryption_error(decrypt, forge()), decryption_error(decrypt, make_jwe(key=OTHER))
    assert type(error) is type(plain) is expected
    assert str(error) == str(plain)
    assert "cannot be decrypted: " in str(error)
    assert error.__cause__ is error.__context__ is None or error.__suppress_context__


@pytest.mark.parametrize(
    "name", ["another recipient", "PKCS #1 v1.5", "zero", "above the modulus", "empty content key"]
)
def test_a_wrong_encrypted_key_takes_the_same_steps_as_a_wrong_tag(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[bytes] = []

    def recording(key: bytes) -> AESGCM:
        used.append(bytes(key))
        return AESGCM(key)

    monkeypatch.setattr(jwe, "AESGCM", recording)
    for _ in range(2):
        decryption_error(decrypt_directly, FAILURES[name]())
    # RFC 7516 section 11.5: decryption goes on with a random key.
    assert [len(key) for key in used] == [32, 32]
    assert len({*used, bytes(range(32))}) == 3


@pytest.mark.parametrize(
    "change",
    [
        *({"alg": alg} for alg in ("RSA-OAEP", "RSA1_5", "dir", "A256KW", "none", "rsa-oaep-256", None, ["x"], {}, 1)),
        *({"enc": enc} for enc in ("A128GCM", "A192GCM", "A256CBC-HS512", "a256gcm", None, [], 256)),
        *({member: "DEF"} for member in ("zip", "crit", "b64", "jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256")),
        {"zip": None},
        {"crit": []},
    ],
)
@pytest.mark.parametrize(("decrypt", "expected"), DECRYPTERS)
def test_no_other_algorithm_or_extension_is_accepted(
    decrypt: Decrypt, expected: type[Exception], change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    token = make_jwe(header={**HEADER, **change})
    monkeypatch.setattr(jwe, "_OAEP", {}), monkeypatch.setattr(jwe, "AESGCM", None)
    error = decryption_error(decrypt, token)
    assert isinstance(error, (errors.UnsupportedAlgorithmError, errors.ResponseDecodingError))
    assert "modified" not in str(error)


@pytest.mark.parametrize("missing", ["alg", "enc"])
@pytest.mark.parametrize(("decrypt", "expected"), DECRYPTERS)
def test_a_header_without_an_algorithm_is_rejected(decrypt: Decrypt, expected: type[Exception], missing: str) -> None:
    decryption_error(decrypt, make_jwe(header={name: value for name, value in HEADER.items() if name != missing}))


def test_the_algorithm_of_the_header_must_be_the_expected_one() -> None:
    token = make_jwe(header={**HEADER, "alg": "RSA-OAEP"}, wrap=oaep(hashes.SHA1()))  # noqa: S303
    assert jwe.decrypt_jwe(parse_jwe(token, "token"), MERCHANT, "RSA-OAEP", "token") == SECRET
    with pytest.raises(errors.UnsupportedAlgorithmError, match="expected RSA-OAEP-256 and A256GCM"):
        decrypt_directly(token)


@pytest.mark.parametrize(
    ("forge", "expected"),
    [
        (lambda: make_jwe(b"x" * 60_000), errors.TokenTooLargeError),
        (lambda: make_jwe(header={**HEADER, "deep": json.loads("[" * 40 + "]" * 40)}), errors.NestingError),
        (lambda: make_jwe(header={**HEADER, "n": 10**40}), errors.TokenJsonError),
        (lambda: make_jwe().replace(".", "..", 1), errors.CompactFormError),
        (lambda: make_jwe() + ".", errors.CompactFormError),
        (lambda: make_jwe().rpartition(".")[0], errors.CompactFormError),
        (lambda: make_jwe().rpartition(".")[0] + ".", errors.CompactFormError),
        (lambda: encode_part('{"alg":"RSA-OAEP-256","alg":"RSA-OAEP-256","enc":"A256GCM"}') + ".AA.AA.AA.AA", None),
        (lambda: encode_part([]) + ".AA.AA.AA.AA", errors.TokenJsonError),
    ],
)
def test_malformed_tokens_are_rejected_before_decryption(
    forge: Callable[[], str], expected: type[errors.TokenError] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = forge()
    monkeypatch.setattr(jwe, "_OAEP", {}), monkeypatch.setattr(jwe, "AESGCM", None)
    with pytest.raises(expected or errors.DuplicateMemberError):
        decrypt_directly(token)


def test_limits_can_be_set_by_the_caller() -> None:
    token = make_jwe(b"x" * 60_000)
    assert parse_jwe(token, "token", TokenLimits(max_length=len(token)))
    with pytest.raises(errors.TokenTooLargeError):
        parse_jwe(token, "token", TokenLimits(max_length=len(token) - 1))
    # The transport limits responses.
    assert decrypt_as_response(token) == b"x" * 60_000


def test_an_empty_plaintext_is_encrypted_and_decrypted() -> None:
    token = jwe.encrypt_jwe(MERCHANT.public_key(), "RSA-OAEP-256", {}, b"")
    assert token.split(".")[3] == ""
    assert decrypt_directly(token) == decrypt_as_response(token) == b""
    decryption_error(decrypt_directly, token[:-1] + ("A" if token[-1] != "A" else "Q"))


def test_keys_of_other_sizes() -> None:
    for bits in (2056, 3072):
        key = rsa.generate_private_key(65537, bits)
        token = jwe.encrypt_jwe(key.public_key(), "RSA-OAEP-256", {}, SECRET)
        assert jwe.decrypt_jwe(parse_jwe(token, "token"), key, "RSA-OAEP-256", "token") == SECRET


# Errors in this package's own code, or an interface of `cryptography` that is no longer what this code expects.


def broken_cipher(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    class Broken:
        def __init__(self, key: bytes) -> None:
            pass

        def decrypt(self, *_: object) -> bytes:
            raise error

    monkeypatch.setattr(jwe, "AESGCM", Broken)


def broken_padding(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    # cryptography itself raises the TypeError.
    monkeypatch.setattr(jwe, "_OAEP", dict.fromkeys(ALGORITHMS, object()))


def broken_header(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def associated_data(self: object) -> bytes:
        raise error

    monkeypatch.setattr("cybersource_flex.jose.compact.Jwe.associated_data", property(associated_data))


Break = Callable[[pytest.MonkeyPatch, Exception], None]
BREAKS = [
    pytest.param(broken_cipher, TypeError("decrypt() takes 3 arguments"), id="cipher: TypeError"),
    pytest.param(broken_cipher, ValueError("a parameter is wrong"), id="cipher: ValueError"),
    pytest.param(broken_cipher, AttributeError("no such name"), id="cipher: AttributeError"),
    pytest.param(broken_padding, TypeError("Padding must be"), id="padding: TypeError"),
    pytest.param(broken_header, KeyError("kid"), id="header: KeyError"),
]


@pytest.mark.parametrize(("break_it", "error"), BREAKS)
@pytest.mark.parametrize(("decrypt", "expected"), DECRYPTERS)
def test_a_programming_error_is_not_reported_as_a_failed_decryption(
    decrypt: Decrypt, expected: type[Exception], break_it: Break, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = make_jwe()
    break_it(monkeypatch, error)
    with pytest.raises(type(error), match=re.escape(str(error))) as caught:
        decrypt(token)
    assert not isinstance(caught.value, errors.FlexError)


@pytest.mark.parametrize(("break_it", "error"), BREAKS)
def test_a_programming_error_reaches_the_caller_of_a_client(
    break_it: Break, error: Exception, client_class: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    merchant = Merchant.generate("jwe_merchant")
    with Emulator(merchants=[merchant]) as emulator:
        mle = MessageLevelEncryption(
            response_key=emulator.make_response_mle_p12("a password"),
            response_key_password="a password",
            merchant_id=merchant.merchant_id,
        )
        with client_class(JwtSharedSecret(**emulator.auth), environment=emulator.url, mle=mle) as client:
            assert client.create_capture_context(fields(card=["number"]))
            break_it(monkeypatch, error)
            with pytest.raises(type(error)) as caught:
                client.create_capture_context(fields(card=["number"]))
            assert not isinstance(caught.value, errors.FlexError)
