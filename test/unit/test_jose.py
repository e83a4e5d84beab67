"""Verification and encryption, with keys made here: what is accepted, and what each wrong thing is called."""

from __future__ import annotations

import base64
import copy
import json
import pickle
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cybersource_flex import errors
from cybersource_flex.jose import (
    CaptureContext,
    PublicKey,
    TransientToken,
    encrypt,
    verify_capture_context,
    verify_transient_token,
)
from cybersource_flex.jose.key_cache import KeyCache
from cybersource_flex.jose.keys import check_kid

NOW = 1_800_000_000
NUMBER = "4111111111111111"


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def jwk(key: rsa.RSAPrivateKey, kid: str) -> dict[str, str]:
    numbers = key.public_key().public_numbers()
    size = (numbers.n.bit_length() + 7) // 8
    return {"kty": "RSA", "use": "enc", "kid": kid, "n": b64(numbers.n.to_bytes(size, "big")), "e": "AQAB"}


def signed(key: rsa.RSAPrivateKey, header: Any, claims: Any) -> str:
    text = [part if isinstance(part, str) else json.dumps(part) for part in (header, claims)]
    signing_input = ".".join(b64(part.encode("utf-8")) for part in text)
    return f"{signing_input}.{b64(key.sign(signing_input.encode('ascii'), padding.PKCS1v15(), hashes.SHA256()))}"


@pytest.fixture(scope="module")
def long_term() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="module")
def one_time() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


class Keys:
    """A key source that knows one key and remembers what it was asked for."""

    def __init__(self, key: Mapping[str, Any]) -> None:
        self.key = key
        self.asked: list[str] = []

    def get(self, kid: str) -> PublicKey:
        self.asked.append(kid)
        if kid != self.key["kid"]:
            raise errors.UnknownKeyError("no such key")
        return PublicKey(self.key)

    def refresh(self, kid: str) -> PublicKey | None:
        return None


@pytest.fixture
def keys(long_term: rsa.RSAPrivateKey) -> Keys:
    return Keys(jwk(long_term, "zz"))


@pytest.fixture
def context_claims(one_time: rsa.RSAPrivateKey) -> dict[str, Any]:
    return {
        "flx": {
            "path": "/flex/v2/tokens",
            "data": "AAAA",
            "origin": "https://testflex.cybersource.com",
            "jwk": jwk(one_time, "08OneTimeKey"),
        },
        "ctx": [
            {
                "data": {
                    "requiredFields": [
                        "paymentInformation.card.number",
                        "paymentInformation.card.expirationMonth",
                    ],
                    "optionalFields": ["orderInformation.billTo.firstName"],
                },
                "type": "api-0.1.0",
            }
        ],
        "iss": "Flex API",
        "exp": NOW + 900,
        "iat": NOW,
        "jti": "abcdefghijklmnop",
    }


Make = Callable[..., CaptureContext]


@pytest.fixture
def make_context(long_term: rsa.RSAPrivateKey, keys: Keys, context_claims: dict[str, Any]) -> Make:
    def make(**changes: Any) -> CaptureContext:
        token = signed(long_term, {"kid": "zz", "alg": "RS256"}, {**context_claims, **changes})
        return verify_capture_context(token, keys, now=changes.get("iat", NOW) + 1)

    return make


def test_a_genuine_context_is_verified(make_context: Make) -> None:
    context = make_context()
    assert context.type == "api-0.1.0"
    assert context.required_fields == ("paymentInformation.card.number", "paymentInformation.card.expirationMonth")
    assert context.optional_fields == ("orderInformation.billTo.firstName",)
    assert context.target_origins == ()
    assert context.client_library is None
    assert context.issued_at.timestamp() == NOW
    assert context.expires_at.timestamp() == NOW + 900
    assert context.key.kid == "08OneTimeKey"
    assert context.claims["iss"] == "Flex API"


HEADER = {"kid": "zz", "alg": "RS256"}


@pytest.mark.parametrize(
    ("header", "changes", "expected", "text"),
    [
        ({"kid": "zz", "alg": "none"}, {}, errors.UnsupportedAlgorithmError, "RS256"),
        ({"kid": "zz", "alg": "HS256"}, {}, errors.UnsupportedAlgorithmError, "RS256"),
        ({"kid": "zz", "alg": "rs256"}, {}, errors.UnsupportedAlgorithmError, "RS256"),
        ({"kid": "zz", "alg": "RS512"}, {}, errors.UnsupportedAlgorithmError, "RS256"),
        ({"kid": "zz"}, {}, errors.UnsupportedAlgorithmError, "RS256"),
        ({**HEADER, "crit": ["x"]}, {}, errors.UnsupportedAlgorithmError, "crit"),
        ({**HEADER, "jwk": {}}, {}, errors.UnsupportedAlgorithmError, "jwk"),
        ({**HEADER, "jku": "https://x"}, {}, errors.UnsupportedAlgorithmError, "jku"),
        ({"alg": "RS256"}, {}, errors.TokenJsonError, "no kid"),
        ({"alg": "RS256", "kid": 3}, {}, errors.TokenJsonError, "no kid"),
        ({"alg": "RS256", "kid": "yy"}, {}, errors.UnknownKeyError, "no such key"),
        ({"alg": "RS256", "kid": "../zz"}, {}, errors.UnknownKeyError, "not a name"),
        ({"alg": "RS256", "kid": "z" * 65}, {}, errors.UnknownKeyError, "not a name"),
        ({"alg": "RS256", "kid": "zz\0"}, {}, errors.UnknownKeyError, "not a name"),
        ('{"alg":"RS256","kid":"zz","kid":"yy"}', {}, errors.DuplicateMemberError, "same member twice"),
        ("[]", {}, errors.TokenJsonError, "not a JSON object"),
        ("{", {}, errors.TokenJsonError, "not JSON at character 1"),
        (HEADER, "[" * 100_000 + "]" * 100_000, errors.TokenTooLargeError, "longer than"),
        (HEADER, "[" * 2000 + "]" * 2000, errors.NestingError, "nested deeper than 32 levels at character 32"),
        (HEADER, '{"exp": NaN}', errors.TokenJsonError, "NaN"),
        (HEADER, {"iss": "Flex"}, errors.InvalidClaimError, "issued by"),
        (HEADER, {"iss": None}, errors.InvalidClaimError, "issued by"),
        (HEADER, {"exp": NOW - 1}, errors.InvalidClaimError, "lifetime"),
        (HEADER, {"exp": NOW - 31, "iat": NOW - 931}, errors.ExpiredTokenError, "expired 31 s ago"),
        (HEADER, {"exp": NOW + 1000, "iat": NOW + 31}, errors.TokenNotYetValidError, "31 s in the future"),
        (HEADER, {"exp": str(NOW + 900)}, errors.InvalidClaimError, "claim exp"),
        (HEADER, {"exp": NOW + 900.5}, errors.InvalidClaimError, "claim exp"),
        (HEADER, {"exp": True}, errors.InvalidClaimError, "claim exp"),
        (HEADER, {"exp": 10**30}, errors.InvalidClaimError, "claim exp"),
        (HEADER, {"exp": 10**40}, errors.TokenJsonError, "more than 32 digits"),
        (HEADER, {"iat": None}, errors.InvalidClaimError, "claim iat"),
        (HEADER, {"iat": NOW - 10**8}, errors.InvalidClaimError, "lifetime"),
        (HEADER, {"jti": ""}, errors.InvalidClaimError, "claim jti"),
        (HEADER, {"ctx": []}, errors.InvalidClaimError, "ctx"),
        (HEADER, {"ctx": [{"type": 3}]}, errors.InvalidClaimError, "ctx"),
        (HEADER, {"flx": None}, errors.InvalidClaimError, "flx"),
        (HEADER, {"flx": {"path": "/x"}}, errors.InvalidClaimError, "flx.path"),
        (HEADER, {"flx": {"path": "/flex/v2/tokens"}}, errors.InvalidClaimError, "flx.jwk"),
    ],
)
def test_what_is_wrong_with_a_context_is_named(
    header: Any,
    changes: Any,
    expected: type[errors.TokenError],
    text: str,
    long_term: rsa.RSAPrivateKey,
    keys: Keys,
    context_claims: dict[str, Any],
) -> None:
    claims = changes if isinstance(changes, str) else {**context_claims, **changes}
    with pytest.raises(expected, match=text) as caught:
        verify_capture_context(signed(long_term, header, claims), keys, now=NOW)
    assert type(caught.value) is expected


def test_a_kid_is_checked_before_anyone_is_asked_for_a_key(long_term: rsa.RSAPrivateKey, keys: Keys) -> None:
    for kid in ("../../etc", "a/b", "a?b", "", "..", ".", "é", "a b", "z" * 10_000):
        with pytest.raises(errors.TokenError):
            verify_capture_context(signed(long_term, {"kid": kid, "alg": "RS256"}, {}), keys, now=NOW)
    assert keys.asked == []


def test_claims_are_not_looked_at_before_the_signature(one_time: rsa.RSAPrivateKey, keys: Keys) -> None:
    with pytest.raises(errors.InvalidSignatureError):
        verify_capture_context(signed(one_time, HEADER, {"exp": 1}), keys, now=NOW)


@pytest.mark.parametrize("part", [0, 1, 2])
def test_no_bit_may_change(part: int, make_context: Make, keys: Keys) -> None:
    parts = make_context().jwt.split(".")
    accepted = []
    for index in range(0, len(parts[part]), 7):
        changed = list(parts)
        other = "A" if parts[part][index] != "A" else "B"
        changed[part] = parts[part][:index] + other + parts[part][index + 1 :]
        try:
            verify_capture_context(".".join(changed), keys, now=NOW)
        except errors.TokenError:
            continue
        accepted.append(index)
    assert accepted == []


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda t: t + "=", "position"),
        (lambda t: t.replace(".", "..", 1), "three parts"),
        (lambda t: t + ".", "three parts"),
        (lambda t: t + ".x.y", "three parts"),
        (lambda t: "." + t.partition(".")[2], "is empty"),
        (lambda t: t[:40] + "\n" + t[40:], "position 40|position"),
        (lambda t: t.replace("-", "+").replace("_", "/") + "+", "position"),
        (lambda t: t[:-1] + chr(ord(t[-1]) + 1) if t[-1] in "AQgw" else t + "A", "leave zero|length"),
        (lambda t: "", "three parts"),
        (lambda t: "x" * 70_000, "longer than"),
        (lambda t: t.encode(), "must be a text"),
    ],
)
def test_the_compact_form_is_strict(spoil: Callable[[str], Any], text: str, make_context: Make, keys: Keys) -> None:
    with pytest.raises(errors.MalformedTokenError, match=text):
        verify_capture_context(spoil(make_context().jwt), keys, now=NOW)


def test_a_weak_or_private_key_is_refused() -> None:
    small = rsa.generate_private_key(65537, 1024)  # noqa: S505
    with pytest.raises(errors.UnsupportedAlgorithmError, match="1024 bits"):
        PublicKey(jwk(small, "x"))
    for wrong in ({"kty": "oct", "k": "AAAA"}, {"kty": "RSA"}, {**jwk(small, "x"), "d": "AQAB"}, [], None):
        with pytest.raises(errors.UnsupportedAlgorithmError):
            PublicKey(wrong)  # type: ignore[arg-type]


def test_only_verification_makes_them(make_context: Make) -> None:
    context = make_context()
    for kind in (CaptureContext, TransientToken):
        with pytest.raises(TypeError, match="can only come out of verification"):
            kind()
        with pytest.raises(TypeError, match="cannot be subclassed"):
            type("Fake", (kind,), {})
    for change in ("jwt", "claims", "type", "key", "other"):
        with pytest.raises(AttributeError):
            setattr(context, change, "x")
        with pytest.raises(AttributeError):
            delattr(context, change)
    with pytest.raises(TypeError):
        context.claims["flx"]["path"] = "x"  # type: ignore[index]
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(context)
    assert copy.copy(context) is context
    assert copy.deepcopy(context) is context


@pytest.fixture
def fresh(make_context: Make) -> CaptureContext:
    now = int(time.time())
    return make_context(iat=now, exp=now + 900)


GOOD = {"paymentInformation": {"card": {"number": NUMBER, "expirationMonth": "12"}}}


def opened(token: str, key: rsa.RSAPrivateKey) -> Any:
    """The plaintext of a JWE."""
    parts = [base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in token.split(".")]
    oaep = padding.OAEP(mgf=padding.MGF1(hashes.SHA1()), algorithm=hashes.SHA1(), label=None)  # noqa: S303
    content_key = key.decrypt(parts[1], oaep)
    aad = token.partition(".")[0].encode("ascii")
    return json.loads(AESGCM(content_key).decrypt(parts[2], parts[3] + parts[4], aad))


def test_what_is_encrypted_is_what_the_service_expects(fresh: CaptureContext, one_time: rsa.RSAPrivateKey) -> None:
    token = encrypt(fresh, {**GOOD, "orderInformation.billTo.firstName": "Zoë"})
    header, wrapped, iv, ciphertext, tag = (
        base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in token.split(".")
    )
    assert json.loads(header) == {"alg": "RSA-OAEP", "enc": "A256GCM", "kid": "08OneTimeKey"}
    oaep = padding.OAEP(mgf=padding.MGF1(hashes.SHA1()), algorithm=hashes.SHA1(), label=None)  # noqa: S303
    content_key = one_time.decrypt(wrapped, oaep)
    assert (len(content_key), len(iv), len(tag)) == (32, 12, 16)
    plaintext = AESGCM(content_key).decrypt(iv, ciphertext + tag, token.partition(".")[0].encode("ascii"))
    assert json.loads(plaintext) == {
        "data": {**GOOD, "orderInformation": {"billTo": {"firstName": "Zoë"}}},
        "context": fresh.jwt,
        "index": 0,
    }


def test_microform_contexts_take_bare_names(make_context: Make, one_time: rsa.RSAPrivateKey) -> None:
    now = int(time.time())
    context = make_context(ctx=[{"type": "mf-2.1.0", "data": {}}], iat=now, exp=now + 900)
    token = encrypt(context, {"paymentInformation.card.number": NUMBER})
    assert opened(token, one_time)["data"] == {"number": NUMBER}


BANK = {"routingNumber": "121042882", "account": {"number": "4100123"}}


@pytest.mark.parametrize(
    ("said", "taken", "shown"),
    [
        ({}, ("card",), "CARD"),
        ({"allowedPaymentTypes": None}, ("card",), "CARD"),
        ({"allowedPaymentTypes": ["CARD"]}, ("card",), "CARD"),
        ({"allowedPaymentTypes": ["CHECK"]}, ("bank",), "CHECK"),
        ({"allowedPaymentTypes": ["CHECK", "CARD"]}, ("card", "bank"), "CHECK or CARD"),
        ({"allowedPaymentTypes": ["GOOGLEPAY", "CARD"]}, ("card",), "GOOGLEPAY or CARD"),
        ({"allowedPaymentTypes": ["GOOGLEPAY"]}, (), "GOOGLEPAY"),
        ({"allowedPaymentTypes": []}, (), "no payment type that is known here"),
        ({"allowedPaymentTypes": "CARD"}, (), "no payment type that is known here"),
        ({"allowedPaymentTypes": {"CARD": True}}, (), "no payment type that is known here"),
        ({"allowedPaymentTypes": [["CARD"]]}, (), "no payment type that is known here"),
        ({"allowedPaymentTypes": ["card"]}, (), "no payment type that is known here"),
        ({"allowedPaymentTypes": [NUMBER, "CHECK"]}, ("bank",), "takes CHECK"),
    ],
)
@pytest.mark.parametrize("kind", ["mf-0.11.0", "mf-1.0.0", "mf-2.1.0"])
def test_the_payment_types_decide_what_is_encrypted(
    kind: str, said: Any, taken: tuple[str, ...], shown: str, make_context: Make
) -> None:
    now = int(time.time())
    context = make_context(ctx=[{"type": kind, "data": said}], iat=now, exp=now + 900)
    for name, data in (("card", {"number": NUMBER}), ("bank", BANK)):
        if name in taken:
            assert encrypt(context, {"paymentInformation": {name: data}}).count(".") == 4
        else:
            with pytest.raises(errors.InvalidDataError, match=f"takes {shown.removeprefix('takes ')}") as caught:
                encrypt(context, {"paymentInformation": {name: data}})
            assert NUMBER not in str(caught.value)
    if not taken:
        with pytest.raises(errors.InvalidDataError, match="has no field"):
            encrypt(context, {})


@pytest.mark.parametrize("data", [{"CHECK": BANK}, {"paymentInformation": {"bank": BANK}}])
def test_bank_accounts_have_one_shape_on_the_wire(data: Any, make_context: Make, one_time: rsa.RSAPrivateKey) -> None:
    now = int(time.time())
    said = {"allowedPaymentTypes": ["CARD", "CHECK"]}
    context = make_context(ctx=[{"type": "mf-2.1.0", "data": said}], iat=now, exp=now + 900)
    assert opened(encrypt(context, data), one_time)["data"] == {"CHECK": BANK}


@pytest.mark.parametrize("kind", ["gda-0.7.0", "uc-1.0.0"])
def test_contexts_of_unified_checkout_take_nothing(kind: str, make_context: Make) -> None:
    now = int(time.time())
    said = {"allowedPaymentTypes": ["PANENTRY", "CARD"]}
    context = make_context(ctx=[{"type": kind, "data": said}], iat=now, exp=now + 900)
    with pytest.raises(errors.InvalidDataError, match="it asks for none"):
        encrypt(context, {"paymentInformation": {"card": {"number": NUMBER}}})


@pytest.mark.parametrize(
    "data",
    [
        {NUMBER: "number"},
        {"card": {NUMBER: "x"}},
        {"paymentInformation": {"card": {NUMBER: 1}}},
        {f"a.{NUMBER}": "x", "a": {NUMBER: "x"}},
        {NUMBER: "\ud800"},
        {NUMBER: {1: "x"}},
    ],
)
def test_a_value_given_as_a_name_is_not_shown(data: Any, fresh: CaptureContext) -> None:
    with pytest.raises(errors.InvalidDataError) as caught:
        encrypt(fresh, data)
    assert NUMBER not in f"{caught.value!r} {caught.value.field}"


@pytest.mark.parametrize(
    ("data", "field", "rule"),
    [
        ({"paymentInformation": {"card": {"number": NUMBER}}}, "expirationMonth", "required"),
        ({"paymentInformation": {"card": {"number": NUMBER, "expirationMonth": ""}}}, "expirationMonth", "required"),
        ({**GOOD, "paymentInformation.card.securityCode": NUMBER}, "securityCode", "not a field"),
        ({**GOOD, "note": NUMBER}, "note", "not a field"),
        ({"paymentInformation": {"card": {"number": int(NUMBER)}}}, "number", "must be a text"),
        ({**GOOD, "paymentInformation.card.number": NUMBER}, "number", "given twice"),
        ({}, "expirationMonth", "required"),
        ({1: NUMBER}, None, "must be a text"),
        (NUMBER, None, "must be a mapping"),
    ],
)
def test_data_is_held_against_the_context(data: Any, field: str | None, rule: str, fresh: CaptureContext) -> None:
    with pytest.raises(errors.InvalidDataError, match=rule) as caught:
        encrypt(fresh, data)
    assert (caught.value.field or "").endswith(field or "")
    assert NUMBER not in str(caught.value)
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301
    assert (str(again), again.field) == (str(caught.value), caught.value.field)


def test_nothing_is_encrypted_to_an_expired_context(make_context: Make) -> None:
    with pytest.raises(errors.ExpiredTokenError):
        encrypt(make_context(iat=1_700_000_000, exp=1_700_000_900), GOOD)


@pytest.fixture
def token_claims() -> dict[str, Any]:
    return {
        "iss": "Flex/08",
        "exp": NOW + 900,
        "type": "api-0.1.0",
        "iat": NOW,
        "jti": "1D" + "A" * 62,
        "content": {
            "paymentInformation": {
                "card": {
                    "number": {"maskedValue": "XXXXXXXXXXXX1111", "bin": "411111"},
                    "expirationMonth": {"value": "12"},
                }
            }
        },
    }


TOKEN_HEADER = {"kid": "08OneTimeKey", "alg": "RS256"}


def test_a_genuine_token_is_verified(
    make_context: Make, one_time: rsa.RSAPrivateKey, token_claims: dict[str, Any]
) -> None:
    jwt = signed(one_time, TOKEN_HEADER, token_claims)
    token = verify_transient_token(jwt, make_context(), now=NOW)
    assert token.jwt == jwt
    assert token.jti == token_claims["jti"]
    assert token.masked_number == "XXXXXXXXXXXX1111"
    assert token.bin == "411111"
    assert token.content["paymentInformation"]["card"]["expirationMonth"] == {"value": "12"}
    assert token.jti not in repr(token)


@pytest.mark.parametrize(
    ("header", "changes", "expected", "text"),
    [
        ({"kid": "zz", "alg": "RS256"}, {}, errors.UnknownKeyError, "not made for this"),
        ({"kid": "08OneTimeKey", "alg": "HS256"}, {}, errors.UnsupportedAlgorithmError, "RS256"),
        (TOKEN_HEADER, {"iss": "Flex API"}, errors.InvalidClaimError, "issued by"),
        (TOKEN_HEADER, {"iss": "Flex/08\n"}, errors.InvalidClaimError, "issued by"),
        (TOKEN_HEADER, {"type": "mf-2.0.0"}, errors.InvalidClaimError, "another type"),
        (TOKEN_HEADER, {"type": None}, errors.InvalidClaimError, "claim type"),
        (TOKEN_HEADER, {"jti": "a/b"}, errors.InvalidClaimError, "claim jti"),
        (TOKEN_HEADER, {"iat": NOW - 1000, "exp": NOW - 100}, errors.ExpiredTokenError, "100 s ago"),
    ],
)
def test_what_is_wrong_with_a_token_is_named(
    header: Any,
    changes: dict[str, Any],
    expected: type[errors.TokenError],
    text: str,
    make_context: Make,
    one_time: rsa.RSAPrivateKey,
    token_claims: dict[str, Any],
) -> None:
    with pytest.raises(expected, match=text):
        verify_transient_token(signed(one_time, header, {**token_claims, **changes}), make_context(), now=NOW)


def test_the_long_term_key_signs_no_tokens(
    make_context: Make, long_term: rsa.RSAPrivateKey, token_claims: dict[str, Any]
) -> None:
    with pytest.raises(errors.InvalidSignatureError):
        verify_transient_token(signed(long_term, TOKEN_HEADER, token_claims), make_context(), now=NOW)


def test_a_context_that_is_not_verified_verifies_nothing(make_context: Make) -> None:
    with pytest.raises(TypeError, match="CaptureContext"):
        verify_transient_token("a.b.c", make_context().jwt)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="CaptureContext"):
        encrypt(make_context().jwt, GOOD)  # type: ignore[arg-type]


def test_a_key_is_fetched_once(long_term: rsa.RSAPrivateKey) -> None:
    asked: list[str] = []

    def fetch(kid: str) -> dict[str, str]:
        asked.append(kid)
        return jwk(long_term, kid)

    keys = KeyCache(fetch)
    assert keys.get("zz") is keys.get("zz")
    assert asked == ["zz"]


def test_a_key_under_another_name_is_refused(long_term: rsa.RSAPrivateKey) -> None:
    with pytest.raises(errors.UnknownKeyError, match="another key"):
        KeyCache(lambda kid: jwk(long_term, "other")).get("zz")


@pytest.mark.parametrize(
    "kid",
    [NUMBER, "4111-1111-1111-1111", "eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJSUzI1NiJ9.eyJhIjoxfQ.c2lnbmF0dXJl"],
)
def test_a_credential_is_no_kid(kid: str) -> None:
    # A forged token can name its key so, and the name would go into a URL.
    with pytest.raises(errors.UnknownKeyError, match="not a name") as caught:
        check_kid(kid)
    assert kid not in str(caught.value)


def test_known_kids_pass() -> None:
    for kid in ("3g", "zu", "j4", "00SvIaGIfyaw897rDeG9eFdODKaCKc1q", "a.b-c_d"):
        assert check_kid(kid) == kid
