"""Verifying capture contexts and transient tokens, and encrypting card data: what is accepted, and each error."""

from __future__ import annotations

import copy
import json
import pickle
import time
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa

from cybersource_flex import errors
from cybersource_flex._credential_detection import describe_non_path_id
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
from support.encoding import base64url, base64url_decode
from support.keys import RecordingKeySource, jwk
from support.tokens import CONTEXT_HEADER, decrypt_jwe, oaep, sign_jwt

NOW = 1_800_000_000
NUMBER = "4111111111111111"


@pytest.fixture(scope="module")
def long_term() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="module")
def one_time() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture
def keys(long_term: rsa.RSAPrivateKey) -> RecordingKeySource:
    return RecordingKeySource(jwk(long_term, "zz"))


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


MakeContext = Callable[..., CaptureContext]


@pytest.fixture
def make_context(long_term: rsa.RSAPrivateKey, keys: RecordingKeySource, context_claims: dict[str, Any]) -> MakeContext:
    def make(**changes: Any) -> CaptureContext:
        token = sign_jwt(long_term, {"kid": "zz", "alg": "RS256"}, {**context_claims, **changes})
        return verify_capture_context(token, keys, now=changes.get("iat", NOW) + 1)

    return make


def test_a_genuine_capture_context_is_verified(make_context: MakeContext) -> None:
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


@pytest.mark.parametrize(
    ("header", "changes", "expected", "message"),
    [
        ({"kid": "zz", "alg": "none"}, {}, errors.UnsupportedAlgorithmError, "RS256"),
        ({"kid": "zz", "alg": "HS256"}, {}, errors.UnsupportedAlgorithmError, "RS256"),
        ({"kid": "zz", "alg": "rs256"}, {}, errors.UnsupportedAlgorithmError, "RS256"),
        ({"kid": "zz", "alg": "RS512"}, {}, errors.UnsupportedAlgorithmError, "RS256"),
        ({"kid": "zz"}, {}, errors.UnsupportedAlgorithmError, "RS256"),
        ({**CONTEXT_HEADER, "crit": ["x"]}, {}, errors.UnsupportedAlgorithmError, "crit"),
        ({**CONTEXT_HEADER, "jwk": {}}, {}, errors.UnsupportedAlgorithmError, "jwk"),
        ({**CONTEXT_HEADER, "jku": "https://x"}, {}, errors.UnsupportedAlgorithmError, "jku"),
        ({"alg": "RS256"}, {}, errors.TokenJsonError, "no kid"),
        ({"alg": "RS256", "kid": 3}, {}, errors.TokenJsonError, "no kid"),
        ({"alg": "RS256", "kid": "yy"}, {}, errors.UnknownKeyError, "no such key"),
        ({"alg": "RS256", "kid": "../zz"}, {}, errors.UnknownKeyError, "not a valid key id"),
        ({"alg": "RS256", "kid": "z" * 65}, {}, errors.UnknownKeyError, "not a valid key id"),
        ({"alg": "RS256", "kid": "zz\0"}, {}, errors.UnknownKeyError, "not a valid key id"),
        ('{"alg":"RS256","kid":"zz","kid":"yy"}', {}, errors.DuplicateMemberError, "same member twice"),
        ("[]", {}, errors.TokenJsonError, "not a JSON object"),
        ("{", {}, errors.TokenJsonError, "not JSON at character 1"),
        (CONTEXT_HEADER, "[" * 100_000 + "]" * 100_000, errors.TokenTooLargeError, "longer than"),
        (CONTEXT_HEADER, "[" * 2000 + "]" * 2000, errors.NestingError, "nested deeper than 32 levels at character 32"),
        (CONTEXT_HEADER, '{"exp": NaN}', errors.TokenJsonError, "NaN"),
        (CONTEXT_HEADER, {"iss": "Flex"}, errors.InvalidClaimError, "wrong issuer"),
        (CONTEXT_HEADER, {"iss": None}, errors.InvalidClaimError, "wrong issuer"),
        (CONTEXT_HEADER, {"exp": NOW - 1}, errors.InvalidClaimError, "lifetime"),
        (CONTEXT_HEADER, {"exp": NOW - 31, "iat": NOW - 931}, errors.ExpiredTokenError, "expired 31 s ago"),
        (CONTEXT_HEADER, {"exp": NOW + 1000, "iat": NOW + 31}, errors.TokenNotYetValidError, "31 s in the future"),
        (CONTEXT_HEADER, {"exp": str(NOW + 900)}, errors.InvalidClaimError, "claim exp"),
        (CONTEXT_HEADER, {"nbf": NOW + 31}, errors.TokenNotYetValidError, r"becomes valid \(nbf\) 31 s in the future"),
        (CONTEXT_HEADER, {"nbf": str(NOW)}, errors.InvalidClaimError, "claim nbf"),
        (CONTEXT_HEADER, {"nbf": None}, errors.InvalidClaimError, "claim nbf"),
        (CONTEXT_HEADER, {"exp": True}, errors.InvalidClaimError, "claim exp"),
        (CONTEXT_HEADER, {"exp": 10**30}, errors.InvalidClaimError, "claim exp"),
        (CONTEXT_HEADER, {"exp": 10**40}, errors.TokenJsonError, "more than 32 digits"),
        (CONTEXT_HEADER, {"iat": None}, errors.InvalidClaimError, "claim iat"),
        (CONTEXT_HEADER, {"iat": NOW - 10**8}, errors.InvalidClaimError, "lifetime"),
        (CONTEXT_HEADER, {"jti": ""}, errors.InvalidClaimError, "claim jti"),
        (CONTEXT_HEADER, {"ctx": []}, errors.InvalidClaimError, "ctx"),
        (CONTEXT_HEADER, {"ctx": [{"type": 3}]}, errors.InvalidClaimError, "ctx"),
        (CONTEXT_HEADER, {"flx": None}, errors.InvalidClaimError, "flx"),
        (CONTEXT_HEADER, {"flx": {"path": "/x"}}, errors.InvalidClaimError, "flx.jwk"),
        (CONTEXT_HEADER, {"flx": {"path": "/flex/v2/tokens"}}, errors.InvalidClaimError, "flx.jwk"),
    ],
)
def test_errors_of_capture_contexts(
    header: Any,
    changes: Any,
    expected: type[errors.TokenError],
    message: str,
    long_term: rsa.RSAPrivateKey,
    keys: RecordingKeySource,
    context_claims: dict[str, Any],
) -> None:
    claims = changes if isinstance(changes, str) else {**context_claims, **changes}
    with pytest.raises(expected, match=message) as caught:
        verify_capture_context(sign_jwt(long_term, header, claims), keys, now=NOW)
    assert type(caught.value) is expected


def test_a_kid_is_checked_before_the_key_is_requested(long_term: rsa.RSAPrivateKey, keys: RecordingKeySource) -> None:
    for kid in ("../../etc", "a/b", "a?b", "", "..", ".", "é", "a b", "z" * 10_000):
        with pytest.raises(errors.TokenError):
            verify_capture_context(sign_jwt(long_term, {"kid": kid, "alg": "RS256"}, {}), keys, now=NOW)
    assert keys.requested == []


def test_the_signature_is_checked_before_the_claims(one_time: rsa.RSAPrivateKey, keys: RecordingKeySource) -> None:
    with pytest.raises(errors.InvalidSignatureError):
        verify_capture_context(sign_jwt(one_time, CONTEXT_HEADER, {"exp": 1}), keys, now=NOW)


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_changed_character_is_rejected(part: int, make_context: MakeContext, keys: RecordingKeySource) -> None:
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
    ("change", "message"),
    [
        (lambda t: t + "=", "position"),
        (lambda t: t.replace(".", "..", 1), "three parts"),
        (lambda t: t + ".", "three parts"),
        (lambda t: t + ".x.y", "three parts"),
        (lambda t: "." + t.partition(".")[2], "is empty"),
        (lambda t: t[:40] + "\n" + t[40:], "position 40|position"),
        (lambda t: t.replace("-", "+").replace("_", "/") + "+", "position"),
        (lambda t: t[:-1] + chr(ord(t[-1]) + 1) if t[-1] in "AQgw" else t + "A", "must be zero|length"),
        (lambda t: "", "three parts"),
        (lambda t: "x" * 70_000, "longer than"),
        (lambda t: t.encode(), "must be a string"),
    ],
)
def test_the_compact_form_is_strict(
    change: Callable[[str], Any], message: str, make_context: MakeContext, keys: RecordingKeySource
) -> None:
    with pytest.raises(errors.MalformedTokenError, match=message):
        verify_capture_context(change(make_context().jwt), keys, now=NOW)


def test_a_token_has_at_most_65536_characters_and_32_levels(keys: RecordingKeySource) -> None:
    for length, expected in ((65_536, errors.CompactFormError), (65_537, errors.TokenTooLargeError)):
        with pytest.raises(errors.MalformedTokenError) as caught:
            verify_capture_context("x" * length, keys, now=NOW)
        assert type(caught.value) is expected
    for depth, nested in ((32, False), (33, True)):
        header = {**CONTEXT_HEADER, "x": "LEVELS"}
        # The header itself is one level.
        serialized = json.dumps(header).replace('"LEVELS"', "[" * (depth - 1) + "]" * (depth - 1))
        with pytest.raises(errors.TokenError) as caught:
            verify_capture_context(f"{base64url(serialized.encode())}.e30.AAAA", keys, now=NOW)
        assert (type(caught.value) is errors.NestingError) == nested


def test_a_part_with_an_impossible_length_is_reported_with_its_end(keys: RecordingKeySource) -> None:
    with pytest.raises(errors.Base64UrlError, match="header of the capture context has a length that is imp") as caught:
        verify_capture_context("AAAAA.e30.AAAA", keys, now=NOW)
    assert caught.value.position == 5


def test_a_wrong_time_is_reported_with_claim_and_token(make_context: MakeContext) -> None:
    rule = "^the claim exp of the capture context is not a number of seconds since the epoch$"
    with pytest.raises(errors.InvalidClaimError, match=rule) as caught:
        make_context(exp="soon")
    assert caught.value.claim == "exp"


def test_weak_and_private_keys_are_rejected() -> None:
    small = rsa.generate_private_key(65537, 1024)  # noqa: S505
    with pytest.raises(errors.UnsupportedAlgorithmError, match="1024 bits"):
        PublicKey(jwk(small, "x"))
    for wrong in ({"kty": "oct", "k": "AAAA"}, {"kty": "RSA"}, {**jwk(small, "x"), "d": "AQAB"}, [], None):
        with pytest.raises(errors.UnsupportedAlgorithmError):
            PublicKey(wrong)  # type: ignore[arg-type]


def test_contexts_and_tokens_are_immutable_and_only_created_by_verification(make_context: MakeContext) -> None:
    context = make_context()
    for kind in (CaptureContext, TransientToken):
        with pytest.raises(TypeError, match="cannot be created directly"):
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
def fresh(make_context: MakeContext) -> CaptureContext:
    now = int(time.time())
    return make_context(iat=now, exp=now + 900)


RSA_OAEP = oaep(hashes.SHA1())  # noqa: S303
GOOD = {"paymentInformation": {"card": {"number": NUMBER, "expirationMonth": "12"}}}


def decrypted_data(token: str, key: rsa.RSAPrivateKey) -> Any:
    _, plaintext = decrypt_jwe(token, key, RSA_OAEP)
    return json.loads(plaintext)["data"]


def test_the_plaintext_contains_data_context_and_index(fresh: CaptureContext, one_time: rsa.RSAPrivateKey) -> None:
    token = encrypt(fresh, {**GOOD, "orderInformation.billTo.firstName": "Zoë"})
    header, plaintext = decrypt_jwe(token, one_time, RSA_OAEP)
    assert header == {"alg": "RSA-OAEP", "enc": "A256GCM", "kid": "08OneTimeKey"}
    _, encrypted_key, iv, _, tag = map(base64url_decode, token.split("."))
    assert (len(one_time.decrypt(encrypted_key, RSA_OAEP)), len(iv), len(tag)) == (32, 12, 16)
    assert json.loads(plaintext) == {
        "data": {**GOOD, "orderInformation": {"billTo": {"firstName": "Zoë"}}},
        "context": fresh.jwt,
        "index": 0,
    }


def test_data_for_microform_contexts_has_short_names(make_context: MakeContext, one_time: rsa.RSAPrivateKey) -> None:
    now = int(time.time())
    context = make_context(ctx=[{"type": "mf-2.1.0", "data": {}}], iat=now, exp=now + 900)
    token = encrypt(context, {"paymentInformation.card.number": NUMBER})
    assert decrypted_data(token, one_time) == {"number": NUMBER}


BANK = {"routingNumber": "121042882", "account": {"number": "4100123"}}


@pytest.mark.parametrize(
    ("context_data", "accepted", "listed"),
    [
        ({}, ("card",), "CARD"),
        ({"allowedPaymentTypes": None}, ("card",), "CARD"),
        ({"allowedPaymentTypes": ["CARD"]}, ("card",), "CARD"),
        ({"allowedPaymentTypes": ["CHECK"]}, ("bank",), "CHECK"),
        ({"allowedPaymentTypes": ["CHECK", "CARD"]}, ("card", "bank"), "CHECK or CARD"),
        ({"allowedPaymentTypes": ["GOOGLEPAY", "CARD"]}, ("card",), "GOOGLEPAY or CARD"),
        ({"allowedPaymentTypes": ["GOOGLEPAY"]}, (), "GOOGLEPAY"),
        ({"allowedPaymentTypes": []}, (), "no known payment type"),
        ({"allowedPaymentTypes": "CARD"}, (), "no known payment type"),
        ({"allowedPaymentTypes": {"CARD": True}}, (), "no known payment type"),
        ({"allowedPaymentTypes": [["CARD"]]}, (), "no known payment type"),
        ({"allowedPaymentTypes": ["card"]}, (), "no known payment type"),
        ({"allowedPaymentTypes": [NUMBER, "CHECK"]}, ("bank",), "allows CHECK"),
    ],
)
@pytest.mark.parametrize("kind", ["mf-0.11.0", "mf-1.0.0", "mf-2.1.0"])
def test_data_must_match_an_allowed_payment_type(
    kind: str, context_data: Any, accepted: tuple[str, ...], listed: str, make_context: MakeContext
) -> None:
    now = int(time.time())
    context = make_context(ctx=[{"type": kind, "data": context_data}], iat=now, exp=now + 900)
    for name, data in (("card", {"number": NUMBER}), ("bank", BANK)):
        if name in accepted:
            assert encrypt(context, {"paymentInformation": {name: data}}).count(".") == 4
        else:
            with pytest.raises(errors.InvalidDataError, match=f"allows {listed.removeprefix('allows ')}") as caught:
                encrypt(context, {"paymentInformation": {name: data}})
            assert NUMBER not in str(caught.value)
    if not accepted:
        with pytest.raises(errors.InvalidDataError, match="has no field"):
            encrypt(context, {})


@pytest.mark.parametrize("data", [{"CHECK": BANK}, {"paymentInformation": {"bank": BANK}}])
def test_bank_accounts_are_sent_as_check(data: Any, make_context: MakeContext, one_time: rsa.RSAPrivateKey) -> None:
    now = int(time.time())
    context_data = {"allowedPaymentTypes": ["CARD", "CHECK"]}
    context = make_context(ctx=[{"type": "mf-2.1.0", "data": context_data}], iat=now, exp=now + 900)
    assert decrypted_data(encrypt(context, data), one_time) == {"CHECK": BANK}


@pytest.mark.parametrize("kind", ["gda-0.7.0", "uc-1.0.0"])
def test_unified_checkout_contexts_accept_no_data(kind: str, make_context: MakeContext) -> None:
    now = int(time.time())
    context_data = {"allowedPaymentTypes": ["PANENTRY", "CARD"]}
    context = make_context(ctx=[{"type": kind, "data": context_data}], iat=now, exp=now + 900)
    with pytest.raises(errors.InvalidDataError, match="which lists none"):
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
def test_errors_do_not_show_a_value_in_the_place_of_a_name(data: Any, fresh: CaptureContext) -> None:
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
        ({"paymentInformation": {"card": {"number": int(NUMBER)}}}, "number", "must be a string"),
        ({**GOOD, "paymentInformation.card.number": NUMBER}, "number", "occurs twice"),
        ({"paymentInformation": {"card": {"number": "\ud800"}}}, "number", "contains a lone surrogate"),
        ({}, "expirationMonth", "required"),
        ({1: NUMBER}, None, "must be a string"),
        (NUMBER, None, "must be a mapping"),
    ],
)
def test_data_must_match_the_fields_of_the_context(
    data: Any, field: str | None, rule: str, fresh: CaptureContext
) -> None:
    with pytest.raises(errors.InvalidDataError, match=rule) as caught:
        encrypt(fresh, data)
    last_part = None if caught.value.field is None else caught.value.field.rpartition(".")[2]
    assert last_part == field
    assert NUMBER not in str(caught.value)
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301
    assert (str(again), again.field) == (str(caught.value), caught.value.field)


def test_encryption_for_an_expired_context_is_rejected(make_context: MakeContext) -> None:
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
    make_context: MakeContext, one_time: rsa.RSAPrivateKey, token_claims: dict[str, Any]
) -> None:
    jwt = sign_jwt(one_time, TOKEN_HEADER, token_claims)
    token = verify_transient_token(jwt, make_context(), now=NOW)
    assert token.jwt == jwt
    assert token.jti == token_claims["jti"]
    assert token.masked_number == "XXXXXXXXXXXX1111"
    assert token.bin == "411111"
    assert token.content["paymentInformation"]["card"]["expirationMonth"] == {"value": "12"}
    assert token.jti not in repr(token)


@pytest.mark.parametrize(
    ("header", "changes", "expected", "message"),
    [
        ({"kid": "zz", "alg": "RS256"}, {}, errors.UnknownKeyError, "created for another"),
        ({"kid": "08OneTimeKey", "alg": "HS256"}, {}, errors.UnsupportedAlgorithmError, "RS256"),
        (TOKEN_HEADER, {"nbf": NOW + 31}, errors.TokenNotYetValidError, "nbf"),
        (TOKEN_HEADER, {"type": "mf-2.0.0"}, errors.InvalidClaimError, "does not match the type"),
        (TOKEN_HEADER, {"type": None}, errors.InvalidClaimError, "claim type"),
        (TOKEN_HEADER, {"jti": ""}, errors.InvalidClaimError, "claim jti"),
        (TOKEN_HEADER, {"iat": NOW - 1000, "exp": NOW - 100}, errors.ExpiredTokenError, "100 s ago"),
    ],
)
def test_errors_of_transient_tokens(
    header: Any,
    changes: dict[str, Any],
    expected: type[errors.TokenError],
    message: str,
    make_context: MakeContext,
    one_time: rsa.RSAPrivateKey,
    token_claims: dict[str, Any],
) -> None:
    with pytest.raises(expected, match=message):
        verify_transient_token(sign_jwt(one_time, header, {**token_claims, **changes}), make_context(), now=NOW)


def test_a_token_that_is_signed_by_the_long_term_key_is_rejected(
    make_context: MakeContext, long_term: rsa.RSAPrivateKey, token_claims: dict[str, Any]
) -> None:
    with pytest.raises(errors.InvalidSignatureError):
        verify_transient_token(sign_jwt(long_term, TOKEN_HEADER, token_claims), make_context(), now=NOW)


def test_an_unverified_context_is_rejected(make_context: MakeContext) -> None:
    with pytest.raises(errors.InvalidArgumentTypeError, match="CaptureContext"):
        verify_transient_token("a.b.c", make_context().jwt)  # type: ignore[arg-type]
    with pytest.raises(errors.InvalidArgumentTypeError, match="CaptureContext"):
        encrypt(make_context().jwt, GOOD)  # type: ignore[arg-type]


def test_a_key_is_fetched_once(long_term: rsa.RSAPrivateKey) -> None:
    requested: list[str] = []

    def fetch(kid: str) -> dict[str, str]:
        requested.append(kid)
        return jwk(long_term, kid)

    keys = KeyCache(fetch)
    assert keys.get("zz") is keys.get("zz")
    assert requested == ["zz"]


def test_a_key_with_another_kid_is_rejected(long_term: rsa.RSAPrivateKey) -> None:
    with pytest.raises(errors.UnknownKeyError, match="another key"):
        KeyCache(lambda kid: jwk(long_term, "other")).get("zz")


@pytest.mark.parametrize(
    "kid",
    [NUMBER, "4111-1111-1111-1111", "eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJSUzI1NiJ9.eyJhIjoxfQ.c2lnbmF0dXJl"],
)
def test_credentials_are_rejected_as_kids(kid: str) -> None:
    # A forged token could have such a kid, and the kid is part of a URL.
    with pytest.raises(errors.UnknownKeyError, match="not a valid key id") as caught:
        check_kid(kid)
    assert kid not in str(caught.value)


def test_kids_of_the_service_are_accepted() -> None:
    for kid in ("3g", "zu", "j4", "00SvIaGIfyaw897rDeG9eFdODKaCKc1q", "a.b-c_d"):
        assert check_kid(kid) == kid


def test_a_kid_may_be_the_hash_of_a_key() -> None:
    # RFC 7638 section 3.1 has this example. It looks like a secret of 32 bytes.
    thumbprint = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    assert check_kid(thumbprint) == thumbprint
    assert describe_non_path_id(check_kid(thumbprint)) is None
    assert describe_non_path_id(thumbprint) == "a secret or signature in base64"
