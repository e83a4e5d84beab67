"""Payment credentials: opened with the merchant's key, verified inside, and never shown."""

from __future__ import annotations

import base64
import copy
import json
import pickle
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

from cybersource_flex import errors
from cybersource_flex.jose import (
    KeyCache,
    PaymentCredentials,
    PinnedKeys,
    TokenLimits,
    open_payment_credentials,
)

KEYS = Path(__file__).resolve().parents[1] / "vectors" / "keys"
NOW = 1_800_000_000
NUMBER = "4111111111111111"
HEADER = {"aud": "psp", "sub": "ps_hpa", "kid": "k", "cty": "JWT", "enc": "A256GCM", "exp": NOW, "alg": "RSA-OAEP-256"}
CONTENT_KEY, IV = bytes(range(32)), bytes(12)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


@cache
def private(name: str) -> rsa.RSAPrivateKey:
    loaded = serialization.load_pem_private_key((KEYS / f"{name}.key.pem").read_bytes(), None)
    assert isinstance(loaded, rsa.RSAPrivateKey)
    return loaded


def jwk(name: str, kid: str) -> dict[str, Any]:
    numbers = private(name).public_key().public_numbers()
    return {"kty": "RSA", "use": "enc", "kid": kid, "n": b64(numbers.n.to_bytes(256, "big")), "e": "AQAB"}


LONG, MERCHANT, OTHER = "flex_longterm", "response_mle", "portfolio"


def claims(**changes: Any) -> dict[str, Any]:
    card = {"number": NUMBER, "expirationMonth": "12", "expirationYear": "2031", "type": "001"}
    found = {"iss": "https://flex.visa.com", "sub": "ps_hpa", "aud": "https://bank.example", "exp": NOW + 1500}
    return {**found, "iat": NOW, "jti": "ae798686", "paymentInformation": {"card": card}, **changes}


def signed(header: Any = None, name: str = LONG, **changes: Any) -> str:
    header = {"kid": "zz", "cty": "json+pc", "alg": "RS256"} if header is None else header
    text = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims(**changes)).encode())}"
    return f"{text}.{b64(private(name).sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def oaep(digest: hashes.HashAlgorithm) -> padding.OAEP:
    return padding.OAEP(padding.MGF1(digest), digest, None)


def sealed(
    inner: str | bytes | None = None,
    header: dict[str, Any] = HEADER,
    name: str = MERCHANT,
    wrap: Any = None,
    key: bytes = CONTENT_KEY,
    iv: bytes = IV,
    **changes: Any,
) -> str:
    inner = signed(**changes) if inner is None else inner
    protected = b64(json.dumps(header).encode())
    wrapped = private(name).public_key().encrypt(key, wrap or oaep(hashes.SHA256()))
    plain = inner.encode("utf-8") if isinstance(inner, str) else inner
    body = AESGCM(key).encrypt(iv, plain, protected.encode())
    return ".".join((protected, *map(b64, (wrapped, iv, body[:-16], body[-16:]))))


def opened(token: str, **changes: Any) -> PaymentCredentials:
    keys = changes.pop("keys", PinnedKeys([jwk(LONG, "zz")]))
    return open_payment_credentials(token, private(changes.pop("name", MERCHANT)), keys, **{"now": NOW, **changes})


def test_the_card_comes_out_and_is_not_shown() -> None:
    found = opened(sealed())
    assert found.reveal()["card"]["number"] == NUMBER
    assert found.subject == "ps_hpa"
    assert found.contains_card_number is True
    assert found.expires_at.timestamp() == NOW + 1500
    for shown in (repr(found), str(found), f"{found}"):
        assert NUMBER not in shown
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(found)
    assert copy.deepcopy(found) is found
    with pytest.raises(TypeError, match="can only come out of verification"):
        PaymentCredentials()
    with pytest.raises(TypeError):
        found.reveal()["card"]["number"] = "x"  # type: ignore[index]
    for name in ("jwt", "claims", "subject"):
        with pytest.raises(AttributeError):
            setattr(found, name, "x")


def test_a_network_token_comes_out_too() -> None:
    found = opened(sealed(paymentInformation={"tokenizedCard": {"number": NUMBER, "cryptogram": "AAAA"}}))
    assert found.reveal()["tokenizedCard"]["cryptogram"] == "AAAA"
    assert opened(sealed(paymentInformation=None)).reveal() == {}
    assert opened(sealed(sub=3)).subject is None


def part(token: str, index: int, change: Any) -> str:
    parts = token.split(".")
    parts[index] = b64(change(base64.urlsafe_b64decode(parts[index] + "==")))
    return ".".join(parts)


def flip(data: bytes) -> bytes:
    return bytes((data[0] ^ 1, *data[1:]))


Malformed, Algorithm, Closed = errors.MalformedTokenError, errors.UnsupportedAlgorithmError, errors.DecryptionError
Claim, Signature, NoKey = errors.InvalidClaimError, errors.InvalidSignatureError, errors.UnknownKeyError


@pytest.mark.parametrize(
    ("forge", "expected"),
    [
        # The envelope.
        (lambda: sealed(name=OTHER), Closed),
        *((lambda i=index: part(sealed(), i, flip), Closed) for index in (1, 2, 3, 4)),
        *((lambda i=index: part(sealed(), i, lambda d: d[:-1]), Closed) for index in (1, 2, 3, 4)),
        *((lambda i=index: part(sealed(), i, lambda d: d + b"x"), Closed) for index in (1, 2, 3, 4)),
        (lambda: part(sealed(), 4, lambda d: d[:4]), Closed),
        (lambda: part(sealed(), 0, lambda d: d.replace(b"psp", b"psq")), Closed),
        (lambda: part(sealed(), 2, lambda d: bytes(16)), Closed),
        (lambda: sealed(iv=bytes(16)), Closed),
        (lambda: sealed(key=bytes(16)), Closed),
        (lambda: sealed(key=bytes(24)), Closed),
        (lambda: sealed(wrap=oaep(hashes.SHA1())), Closed),  # noqa: S303
        (lambda: sealed(wrap=padding.PKCS1v15()), Closed),
        (lambda: part(sealed(), 1, lambda d: aes_key_wrap(bytes(32), CONTENT_KEY)), Closed),
        (lambda: sealed(wrap=oaep(hashes.SHA1()), header={**HEADER, "alg": "RSA-OAEP"}), Algorithm),  # noqa: S303
        (lambda: sealed(wrap=padding.PKCS1v15(), header={**HEADER, "alg": "RSA1_5"}), Algorithm),
        *(
            (lambda a=alg: sealed(header={**HEADER, "alg": a}), Algorithm)
            for alg in ("dir", "A256KW", "none", None, ["x"])
        ),
        *(
            (lambda e=enc: sealed(header={**HEADER, "enc": e}), Algorithm)
            for enc in ("A128GCM", "A256CBC-HS512", None, 1)
        ),
        *(
            (lambda m=member: sealed(header={**HEADER, m: "x"}), Algorithm)
            for member in ("zip", "crit", "jwk", "jku", "x5c")
        ),
        (lambda: sealed(header={}), Algorithm),
        (lambda: signed(), errors.CompactFormError),
        (lambda: sealed() + ".AAAA", errors.CompactFormError),
        (lambda: sealed() + "=", errors.Base64UrlError),
        (lambda: sealed().replace(".", "..", 1), errors.CompactFormError),
        (lambda: "A" * 70_000, errors.TokenTooLargeError),
        (lambda: None, Malformed),
        # What is inside.
        (lambda: sealed(inner=json.dumps(claims())), errors.CompactFormError),
        (lambda: sealed(inner=""), errors.CompactFormError),
        (lambda: sealed(inner=NUMBER + "é"), Closed),
        (lambda: sealed(inner=b"\xff" + NUMBER.encode()), Closed),
        (lambda: sealed(inner=sealed()), errors.CompactFormError),
        (lambda: sealed(inner=signed({"kid": "zz", "alg": "none"})), Algorithm),
        (lambda: sealed(inner=signed({"kid": "zz", "alg": "HS256"})), Algorithm),
        (lambda: sealed(inner=signed({"kid": "zz"})), Algorithm),
        (lambda: sealed(inner=signed({"kid": "yy", "alg": "RS256"})), NoKey),
        (lambda: sealed(inner=signed({"kid": "../zz", "alg": "RS256"})), NoKey),
        (lambda: sealed(inner=signed(name=MERCHANT)), Signature),
        (lambda: sealed(inner=part(signed(), 1, lambda d: d.replace(b"2031", b"2032"))), Signature),
        (lambda: sealed(iss="Flex API"), Claim),
        (lambda: sealed(iss=None), Claim),
        (lambda: sealed(jti=""), Claim),
        (lambda: sealed(exp=str(NOW)), Claim),
        (lambda: sealed(exp=NOW + 10**6), Claim),
        (lambda: sealed(iat=NOW - 2000, exp=NOW - 31), errors.ExpiredTokenError),
        (lambda: sealed(iat=NOW + 31), errors.TokenNotYetValidError),
    ],
)
def test_each_thing_that_is_wrong_is_refused(forge: Any, expected: type[errors.TokenError]) -> None:
    with pytest.raises(expected) as caught:
        opened(forge())
    assert type(caught.value) is expected
    error: BaseException | None = caught.value
    while error is not None:
        assert NUMBER not in f"{error!r} {getattr(error, 'object', '')!r} {getattr(error, 'doc', '')!r} {vars(error)!r}"
        error = error.__cause__ or error.__context__


def test_a_key_of_another_kind_is_refused() -> None:
    for wrong in (None, "key", private(MERCHANT).public_key()):
        with pytest.raises(errors.ConfigurationError, match="RSAPrivateKey"):
            open_payment_credentials(sealed(), wrong, PinnedKeys([]))  # type: ignore[arg-type]


def test_limits_hold_inside_too() -> None:
    with pytest.raises(errors.NestingError):
        opened(sealed(note=[[[[[[1]]]]]]), limits=TokenLimits(max_depth=5))


def test_another_long_term_key_under_the_old_kid_is_fetched_once() -> None:
    answers = [jwk(OTHER, "zz"), jwk(LONG, "zz")]
    keys = KeyCache(lambda kid: answers.pop(0))
    assert opened(sealed(), keys=keys)
    assert opened(sealed(), keys=keys)
    assert answers == []
    with pytest.raises(errors.InvalidSignatureError):
        opened(sealed(inner=signed(name=OTHER)), keys=KeyCache(lambda kid: jwk(LONG, "zz")))
