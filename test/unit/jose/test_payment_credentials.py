"""Payment credentials: decrypted with the merchant's key, verified, and never shown."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

from cybersource_flex import errors
from cybersource_flex.jose import (
    KeyCache,
    PaymentCredentials,
    PinnedKeys,
    TokenLimits,
    open_payment_credentials,
)
from support.encoding import base64url, base64url_decode
from support.keys import LONG_TERM, PORTFOLIO, RESPONSE_MLE, jwk, private_key
from support.tokens import encrypt_jwe, oaep, sign_jwt

NOW = 1_800_000_000
NUMBER = "4111111111111111"
HEADER = {"aud": "psp", "sub": "ps_hpa", "kid": "k", "cty": "JWT", "enc": "A256GCM", "exp": NOW, "alg": "RSA-OAEP-256"}


MERCHANT, OTHER = RESPONSE_MLE, PORTFOLIO


def claims(**changes: Any) -> dict[str, Any]:
    card = {"number": NUMBER, "expirationMonth": "12", "expirationYear": "2031", "type": "001"}
    required = {"iss": "https://flex.visa.com", "sub": "ps_hpa", "aud": "https://bank.example", "exp": NOW + 1500}
    return {**required, "iat": NOW, "jti": "ae798686", "paymentInformation": {"card": card}, **changes}


def sign(header: Any = None, name: str = LONG_TERM, **changes: Any) -> str:
    """The signed credentials inside."""
    return sign_jwt(
        name, {"kid": "zz", "cty": "json+pc", "alg": "RS256"} if header is None else header, claims(**changes)
    )


def encrypt(
    inner: str | bytes | None = None,
    header: dict[str, Any] = HEADER,
    name: str = MERCHANT,
    options: dict[str, Any] | None = None,
    **changes: Any,
) -> str:
    """Encrypted payment credentials. ``changes`` are claims, and ``options`` are those of ``encrypt_jwe``."""
    inner = sign(**changes) if inner is None else inner
    plaintext = inner.encode("utf-8") if isinstance(inner, str) else inner
    return encrypt_jwe(private_key(name), plaintext, header, **(options or {}))


def open_credentials(token: str, **changes: Any) -> PaymentCredentials:
    keys = changes.pop("keys", PinnedKeys([jwk(LONG_TERM, "zz")]))
    return open_payment_credentials(token, private_key(changes.pop("name", MERCHANT)), keys, **{"now": NOW, **changes})


def test_the_card_is_revealed_on_request_only() -> None:
    credentials = open_credentials(encrypt())
    assert credentials.reveal()["card"]["number"] == NUMBER
    assert credentials.subject == "ps_hpa"
    assert credentials.contains_card_number is True
    assert credentials.expires_at.timestamp() == NOW + 1500
    for output in (repr(credentials), str(credentials), f"{credentials}"):
        assert NUMBER not in output
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(credentials)
    assert copy.deepcopy(credentials) is credentials
    with pytest.raises(TypeError, match="cannot be created directly"):
        PaymentCredentials()
    with pytest.raises(TypeError):
        credentials.reveal()["card"]["number"] = "x"  # type: ignore[index]
    for content in (credentials.claims, credentials.reveal(), credentials.reveal()["card"]):
        for serialise in (json.dumps, pickle.dumps, copy.deepcopy):
            with pytest.raises(TypeError, match="mappingproxy"):
                serialise(content)
    for name in ("jwt", "claims", "subject"):
        with pytest.raises(AttributeError):
            setattr(credentials, name, "x")


def test_network_tokens_are_revealed() -> None:
    credentials = open_credentials(
        encrypt(paymentInformation={"tokenizedCard": {"number": NUMBER, "cryptogram": "AAAA"}})
    )
    assert credentials.reveal()["tokenizedCard"]["cryptogram"] == "AAAA"
    assert open_credentials(encrypt(paymentInformation=None)).reveal() == {}
    assert open_credentials(encrypt(sub=3)).subject is None


def test_arrays_in_the_credentials_are_revealed_and_not_serialised_by_accident() -> None:
    content = open_credentials(encrypt(paymentInformation={"cards": [{"number": NUMBER}, [1, "a"]]})).reveal()
    assert content["cards"][0]["number"] == NUMBER
    assert content["cards"][1] == (1, "a")
    with pytest.raises(TypeError):
        content["cards"][0] = {}
    with pytest.raises(TypeError, match="mappingproxy"):
        json.dumps(content["cards"])


def change_part(token: str, index: int, change: Any) -> str:
    parts = token.split(".")
    parts[index] = base64url(change(base64url_decode(parts[index])))
    return ".".join(parts)


def flip_bit(data: bytes) -> bytes:
    return bytes((data[0] ^ 1, *data[1:]))


Malformed, Algorithm, NotDecrypted = (
    errors.MalformedTokenError,
    errors.UnsupportedAlgorithmError,
    errors.DecryptionError,
)
Claim, Signature, NoKey = errors.InvalidClaimError, errors.InvalidSignatureError, errors.UnknownKeyError


@pytest.mark.parametrize(
    ("forge", "expected"),
    [
        # The JWE.
        (lambda: encrypt(name=OTHER), NotDecrypted),
        *((lambda i=index: change_part(encrypt(), i, flip_bit), NotDecrypted) for index in (1, 2, 3, 4)),
        *((lambda i=index: change_part(encrypt(), i, lambda d: d[:-1]), NotDecrypted) for index in (1, 2, 3, 4)),
        *((lambda i=index: change_part(encrypt(), i, lambda d: d + b"x"), NotDecrypted) for index in (1, 2, 3, 4)),
        (lambda: change_part(encrypt(), 4, lambda d: d[:4]), NotDecrypted),
        (lambda: change_part(encrypt(), 0, lambda d: d.replace(b"psp", b"psq")), NotDecrypted),
        (lambda: change_part(encrypt(), 2, lambda d: bytes(16)), NotDecrypted),
        (lambda: encrypt(options={"iv": bytes(16)}), NotDecrypted),
        (lambda: encrypt(options={"content_key": bytes(16)}), NotDecrypted),
        (lambda: encrypt(options={"content_key": bytes(24)}), NotDecrypted),
        (lambda: encrypt(options={"wrap": oaep(hashes.SHA1())}), NotDecrypted),  # noqa: S303
        (lambda: encrypt(options={"wrap": padding.PKCS1v15()}), NotDecrypted),
        (lambda: change_part(encrypt(), 1, lambda d: aes_key_wrap(bytes(32), bytes(range(32)))), NotDecrypted),
        (lambda: encrypt(options={"wrap": oaep(hashes.SHA1())}, header={**HEADER, "alg": "RSA-OAEP"}), Algorithm),  # noqa: S303
        (lambda: encrypt(options={"wrap": padding.PKCS1v15()}, header={**HEADER, "alg": "RSA1_5"}), Algorithm),
        *(
            (lambda a=alg: encrypt(header={**HEADER, "alg": a}), Algorithm)
            for alg in ("dir", "A256KW", "none", None, ["x"])
        ),
        *(
            (lambda e=enc: encrypt(header={**HEADER, "enc": e}), Algorithm)
            for enc in ("A128GCM", "A256CBC-HS512", None, 1)
        ),
        *(
            (lambda m=member: encrypt(header={**HEADER, m: "x"}), Algorithm)
            for member in ("zip", "crit", "jwk", "jku", "x5c")
        ),
        (lambda: encrypt(header={}), Algorithm),
        (lambda: sign(), errors.CompactFormError),
        (lambda: encrypt() + ".AAAA", errors.CompactFormError),
        (lambda: encrypt() + "=", errors.Base64UrlError),
        (lambda: encrypt().replace(".", "..", 1), errors.CompactFormError),
        (lambda: "A" * 70_000, errors.TokenTooLargeError),
        (lambda: None, Malformed),
        # The JWT inside.
        (lambda: encrypt(inner=json.dumps(claims())), errors.CompactFormError),
        (lambda: encrypt(inner=""), errors.CompactFormError),
        (lambda: encrypt(inner=NUMBER + "é"), NotDecrypted),
        (lambda: encrypt(inner=b"\xff" + NUMBER.encode()), NotDecrypted),
        (lambda: encrypt(inner=encrypt()), errors.CompactFormError),
        (lambda: encrypt(inner=sign({"kid": "zz", "alg": "none"})), Algorithm),
        (lambda: encrypt(inner=sign({"kid": "zz", "alg": "HS256"})), Algorithm),
        (lambda: encrypt(inner=sign({"kid": "zz"})), Algorithm),
        (lambda: encrypt(inner=sign({"kid": "yy", "alg": "RS256"})), NoKey),
        (lambda: encrypt(inner=sign({"kid": "../zz", "alg": "RS256"})), NoKey),
        (lambda: encrypt(inner=sign(name=MERCHANT)), Signature),
        (lambda: encrypt(inner=change_part(sign(), 1, lambda d: d.replace(b"2031", b"2032"))), Signature),
        (lambda: encrypt(iss="Flex API"), Claim),
        (lambda: encrypt(iss=None), Claim),
        (lambda: encrypt(jti=""), Claim),
        (lambda: encrypt(exp=str(NOW)), Claim),
        (lambda: encrypt(exp=NOW + 10**6), Claim),
        (lambda: encrypt(iat=NOW - 2000, exp=NOW - 31), errors.ExpiredTokenError),
        (lambda: encrypt(iat=NOW + 31), errors.TokenNotYetValidError),
    ],
)
def test_forged_credentials_are_rejected(forge: Any, expected: type[errors.TokenError]) -> None:
    with pytest.raises(expected) as caught:
        open_credentials(forge())
    assert type(caught.value) is expected
    error: BaseException | None = caught.value
    while error is not None:
        assert NUMBER not in f"{error!r} {getattr(error, 'object', '')!r} {getattr(error, 'doc', '')!r} {vars(error)!r}"
        error = error.__cause__ or error.__context__


def test_a_key_of_another_type_is_rejected() -> None:
    for wrong in (None, "key", private_key(MERCHANT).public_key()):
        with pytest.raises(errors.ConfigurationError, match="RSAPrivateKey"):
            open_payment_credentials(encrypt(), wrong, PinnedKeys([]))  # type: ignore[arg-type]


def test_limits_apply_to_the_jwt_inside() -> None:
    with pytest.raises(errors.NestingError):
        open_credentials(encrypt(note=[[[[[[1]]]]]]), limits=TokenLimits(max_depth=5))


def test_a_replaced_key_with_the_same_kid_is_fetched_once() -> None:
    jwks = [jwk(OTHER, "zz"), jwk(LONG_TERM, "zz")]
    keys = KeyCache(lambda kid: jwks.pop(0))
    assert open_credentials(encrypt(), keys=keys)
    assert open_credentials(encrypt(), keys=keys)
    assert jwks == []
    with pytest.raises(errors.InvalidSignatureError):
        open_credentials(encrypt(inner=sign(name=OTHER)), keys=KeyCache(lambda kid: jwk(LONG_TERM, "zz")))
