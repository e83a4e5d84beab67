"""Forged capture contexts and transient tokens: each row has a forgery and the error with which it is rejected.

The attacker knows every public key, has other private keys, and can take genuine contexts and tokens apart. A
row that is signed with a key of the service stands for a mistake of the service: claims are checked there too.

Deviations are the opposite: genuine tokens that differ from all published ones in a detail. They are accepted with a
warning, and rejected with ``strict``. No one but the service can make them, so each is also tested with another key.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from cybersource_flex import FlexClient, errors
from cybersource_flex.auth import JwtSharedSecret
from cybersource_flex.jose import (
    CaptureContext,
    ContextExpectations,
    PublicKey,
    TokenLimits,
    TransientToken,
    verify_capture_context,
    verify_transient_token,
)
from cybersource_flex.jose.capture_context import UnverifiedContext
from cybersource_flex.transport import HostTime
from support.encoding import base64url, base64url_decode
from support.keys import LONG_TERM, MERCHANT, ONE_TIME, RecordingKeySource, jwk, private_key
from support.tokens import CONTEXT_HEADER, TOKEN_HEADER, encode_part, sign_jwt

NOW = 1_800_000_000
# Part of every forged token. No error may contain it.
CANARY = "CANARY4111111111"
NUMBER = "paymentInformation.card.number"
BOMB = 50 * 1024 * 1024

Json = dict[str, Any]


ATTACKER = MERCHANT


def context_claims(**changes: Any) -> Json:
    flx = {"path": "/flex/v2/tokens", "data": CANARY, "origin": f"https://{CANARY}", "jwk": jwk(ONE_TIME, "one")}
    data = {"requiredFields": [NUMBER], "optionalFields": ["paymentInformation.card.type"]}
    claims = {"flx": flx, "ctx": [{"data": data, "type": "api-0.1.0"}], "iss": "Flex API", "exp": NOW + 900}
    return {**claims, "iat": NOW, "jti": CANARY, **changes}


def token_claims(**changes: Any) -> Json:
    content = {"paymentInformation": {"card": {"number": {"maskedValue": CANARY, "bin": "411111"}}}}
    claims = {"iss": "Flex/08", "exp": NOW + 900, "type": "api-0.1.0", "iat": NOW, "jti": CANARY * 4}
    return {**claims, "content": content, **changes}


def context(header: Any = CONTEXT_HEADER, **changes: Any) -> str:
    return sign_jwt(LONG_TERM, header, context_claims(**changes))


def token(header: Any = TOKEN_HEADER, **changes: Any) -> str:
    return sign_jwt(ONE_TIME, header, token_claims(**changes))


def without(claims: Json, *names: str) -> Json:
    return {name: value for name, value in claims.items() if name not in names}


def raw_context(changes: str) -> str:
    """A signed context whose JSON ends in ``changes``, which no encoder would write."""
    return sign_jwt(LONG_TERM, CONTEXT_HEADER, json.dumps(without(context_claims(), *("exp",)))[:-1] + f",{changes}}}")


def change_part(token: str, index: int, change: Callable[[str], str]) -> str:
    parts = token.split(".")
    parts[index] = change(parts[index])
    return ".".join(parts)


def hmac_jwt(alg: str, secret: bytes, header: Json, claims: Json) -> str:
    """A JWT with an HMAC instead of a signature."""
    digest = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}.get(alg, hashlib.sha256)
    message = f"{encode_part({**header, 'alg': alg})}.{encode_part(claims)}"
    return f"{message}.{base64url(hmac.new(secret, message.encode('ascii'), digest).digest())}"


def hmac_secrets(name: str, kid: str) -> dict[str, bytes]:
    """The public key in each form that a careless library might use as the secret of an HMAC."""
    public = private_key(name).public_key()
    encodings, formats = serialization.Encoding, serialization.PublicFormat
    pem = public.public_bytes(encodings.PEM, formats.SubjectPublicKeyInfo)
    return {
        "PEM": pem,
        "PEM without its last newline": pem.rstrip(),
        "PEM with CRLF": pem.replace(b"\n", b"\r\n"),
        "PKCS1 PEM": public.public_bytes(encodings.PEM, formats.PKCS1),
        "DER": public.public_bytes(encodings.DER, formats.SubjectPublicKeyInfo),
        "PKCS1 DER": public.public_bytes(encodings.DER, formats.PKCS1),
        "JWK": json.dumps(jwk(name, kid), separators=(",", ":")).encode(),
        "JWK with spaces": json.dumps(jwk(name, kid)).encode(),
        "modulus": public.public_numbers().n.to_bytes(256, "big"),
        "modulus in base64url": jwk(name, kid)["n"].encode(),
        "nothing": b"",
    }


class Row(NamedTuple):
    name: str
    forge: Callable[[], Any]
    error: type[errors.TokenError]


class Deviation(NamedTuple):
    """Claims of a genuine token, the claim that differs from published tokens, and the expected warning."""

    name: str
    claims: Json
    claim: str
    warning: str


Malformed = errors.MalformedTokenError
Form, Base64, NotJson = errors.CompactFormError, errors.Base64UrlError, errors.TokenJsonError
Twice, Nested, Large = errors.DuplicateMemberError, errors.NestingError, errors.TokenTooLargeError
Algorithm, NoKey, Signature = errors.UnsupportedAlgorithmError, errors.UnknownKeyError, errors.InvalidSignatureError
Expired, Early, Claim = errors.ExpiredTokenError, errors.TokenNotYetValidError, errors.InvalidClaimError


def form_rows(make: Callable[..., str], key_name: str, header: Json, claims: Callable[..., Json]) -> Iterator[Row]:
    """Rows for both kinds of token: the compact form, the algorithm, the header, and signatures by other keys."""
    kid = header["kid"]
    for form, secret in hmac_secrets(key_name, kid).items():
        yield Row(f"HS256, secret: {form}", lambda s=secret: hmac_jwt("HS256", s, header, claims()), Algorithm)
    pem = hmac_secrets(key_name, kid)["PEM"]
    for alg in ("HS384", "HS512", "hs256"):
        yield Row(f"{alg}, secret: PEM", lambda a=alg: hmac_jwt(a, pem, header, claims()), Algorithm)
    yield Row("HMAC called RS256", lambda: hmac_jwt("RS256", pem, header, claims()), Signature)
    for alg in (
        *(
            "none",
            "None",
            "NONE",
            "nOnE",
            "rs256",
            "Rs256",
            " RS256",
            "RS256 ",
            "RS256\n",
            "RS256\0",
            "\uff32\uff33\uff12\uff15\uff16",
        ),
        *("RS\u200b256", "RS256\u0301", "\u202e652SR", "RS384", "RS512", "PS256", "ES256", "EdDSA", "dir", ""),
        *(None, True, 256, ["RS256"], {"RS256": 1}),
    ):
        yield Row(f"alg {alg!a}", lambda a=alg: make({**header, "alg": a}), Algorithm)
    yield Row("no alg", lambda: make(without(header, "alg")), Algorithm)
    yield Row("alg none, no signature", lambda: change_part(make({**header, "alg": "none"}), 2, lambda _: ""), Form)
    yield Row("alg none, two parts", lambda: make({**header, "alg": "none"}).rpartition(".")[0], Form)
    yield Row("ALG", lambda: make({"kid": kid, "ALG": "RS256"}), Algorithm)
    yield Row("alg with a zero width space in its name", lambda: make({"kid": kid, "al\u200bg": "RS256"}), Algorithm)

    own = jwk(ATTACKER, kid)
    for member, value in {
        "jwk": own,
        "jku": "https://attacker.example/keys",
        "x5u": "https://attacker.example/cert",
        "x5c": ["MIIB"],
        "x5t": "AAAA",
        "x5t#S256": "AAAA",
        "crit": ["exp"],
        "b64": False,
    }.items():
        forged = {**header, member: value}
        yield Row(f"{member}, own key", lambda h=forged: sign_jwt(ATTACKER, h, claims()), Algorithm)
    yield Row("crit that is empty", lambda: make({**header, "crit": []}), Algorithm)
    yield Row("crit that is null", lambda: make({**header, "crit": None}), Algorithm)

    yield Row("own key, right kid", lambda: sign_jwt(ATTACKER, header, claims()), Signature)
    yield Row("other kid", lambda: make({**header, "kid": "other"}), NoKey)
    yield Row("kid in capitals", lambda: make({**header, "kid": kid.upper()}), NoKey)
    for wrong in ("", None, 3, True, [kid], {"kid": kid}):
        yield Row(f"kid {wrong!r}", lambda b=wrong: make({**header, "kid": b}), NotJson)
    yield Row("no kid", lambda: make(without(header, "kid")), NotJson)
    for wrong in (
        *("../", "..", ".", "../../etc/passwd", f"{kid}/../{kid}", "%2e%2e", "%2e%2e%2f", f"{kid}%00", f"{kid}\0"),
        *(f"{kid}\n", f" {kid}", f"{kid}?x=1", f"{kid}#x", f"{kid}\\", "https://attacker.example/k", "/etc/passwd"),
        *(
            "k" * 10_240,
            f"{kid}\u202e",
            f"{kid}\u0301",
            "\uff5a\uff5a",
            "\u043ene",
            "z\u200bz",
            f"{kid};x",
            f"{kid}@x",
            "${x}",
        ),
    ):
        yield Row(f"kid {wrong[:20]!a}", lambda b=wrong: make({**header, "kid": b}), NoKey)
    yield Row("kid with half of a surrogate pair", lambda: make('{"alg":"RS256","kid":"\\ud800"}'), NotJson)

    genuine = make()
    yield Row(
        "header and payload swapped", lambda: ".".join((genuine.split(".")[1], *genuine.split(".")[::2])), Algorithm
    )
    yield Row("payload and signature swapped", lambda: ".".join(genuine.split(".")[i] for i in (0, 2, 1)), NotJson)
    yield Row(
        "payload of another", lambda: change_part(genuine, 1, lambda _: make(jti="B" * 64).split(".")[1]), Signature
    )
    yield Row(
        "signature of another", lambda: change_part(genuine, 2, lambda _: make(jti="B" * 64).split(".")[2]), Signature
    )
    yield Row(
        "header written another way",
        lambda: change_part(genuine, 0, lambda _: encode_part({**header, "typ": "JWT"})),
        Signature,
    )
    for size in (1, 255, 256, 257, 512, 4096):
        yield Row(
            f"signature of {size} zeros",
            lambda s=size: change_part(genuine, 2, lambda _: base64url(bytes(s))),
            Signature,
        )
    yield Row("signature of ones", lambda: change_part(genuine, 2, lambda _: base64url(b"\xff" * 256)), Signature)
    yield Row("signature cut", lambda: change_part(genuine, 2, lambda s: s[:-2]), Signature)
    yield Row(
        "signature with a zero in front",
        lambda: change_part(genuine, 2, lambda s: base64url(b"\0" + base64url_decode(s))),
        Signature,
    )

    def other_signature(scheme: Any, digest: hashes.HashAlgorithm) -> str:
        message = genuine.rpartition(".")[0]
        return f"{message}.{base64url(private_key(key_name).sign(message.encode('ascii'), scheme, digest))}"

    pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    yield Row("PSS signature", lambda: other_signature(pss, hashes.SHA256()), Signature)
    yield Row("SHA-512 signature", lambda: other_signature(padding.PKCS1v15(), hashes.SHA512()), Signature)
    yield Row("SHA-1 signature", lambda: other_signature(padding.PKCS1v15(), hashes.SHA1()), Signature)  # noqa: S303

    # The compact form. A lenient parser would read each of these as the genuine token.
    yield Row("two parts", lambda: genuine.rpartition(".")[0], Form)
    yield Row("four parts", lambda: genuine + ".AAAA", Form)
    yield Row("a dot behind", lambda: genuine + ".", Form)
    yield Row("a JWE instead of a JWS", lambda: ".".join((genuine.split(".")[0], "AAAA", "AAAA", "AAAA", "AAAA")), Form)
    yield Row("nothing", lambda: "", Form)
    yield Row("spaces", lambda: " \n", Form)
    for index, part_name in enumerate(("header", "payload", "signature")):
        yield Row(f"empty {part_name}", lambda i=index: change_part(genuine, i, lambda _: ""), Form)
        for suffix, description in (
            ("=", "padding"),
            ("==", "padding twice"),
            ("\n", "newline"),
            ("\r\n", "CRLF"),
            ("\0", "NUL"),
        ):
            yield Row(
                f"{description} after the {part_name}",
                lambda i=index, s=suffix: change_part(genuine, i, lambda p: p + s) + "x" * (i == 2),
                Base64,
            )
        for character in ("\n", " ", "\t", "+", "/", "%", "é", "\uff21", "\u0430", "\ud800", ","):
            change = lambda p, c=character: p[:9] + c + p[10:]  # noqa: E731
            yield Row(
                f"{character!a} inside the {part_name}", lambda i=index, c=change: change_part(genuine, i, c), Base64
            )
        yield Row(f"one letter too many, {part_name}", lambda i=index: change_part(genuine, i, one_too_many), Base64)
        yield Row(
            f"bits left over, {part_name}",
            lambda i=index: change_part(with_unused_bits(make, i), i, change_unused_bits),
            Base64,
        )
    for space in (" ", "\n", "\r\n", "\t", "\u00a0", "\ufeff", "\u200b", "\0"):
        yield Row(f"{space!a} before it", lambda c=space: c + genuine, Base64)
        yield Row(f"{space!a} after it", lambda c=space: genuine + c, Base64)
    yield Row("fullwidth dots", lambda: genuine.replace(".", "\uff0e"), Form)
    yield Row("in quotation marks", lambda: f'"{genuine}"', Base64)
    yield Row("with Bearer", lambda: f"Bearer {genuine}", Base64)
    flat = dict(zip(("protected", "payload", "signature"), genuine.split("."), strict=True))
    yield Row("flattened JSON serialization", lambda: json.dumps(flat), Form)
    general = {"payload": flat["payload"], "signatures": [without(flat, "payload")]}
    yield Row("general JSON serialization", lambda: json.dumps(general), Form)
    yield Row("bytes", lambda: genuine.encode("ascii"), Malformed)
    yield Row("None", lambda: None, Malformed)
    yield Row("a list of parts", lambda: genuine.split("."), Malformed)

    # JSON. Each payload is signed by the right key. Two parsers must never read it differently.
    claims_json, header_json = json.dumps(claims()), json.dumps(header)

    def payload(data: Any) -> str:
        return sign_jwt(key_name, header, data)

    yield Row("alg twice", lambda: make(header_json[:-1] + ',"alg":"none"}'), Twice)
    yield Row("alg twice, the same", lambda: make(header_json[:-1] + ',"alg":"RS256"}'), Twice)
    yield Row("alg twice, one escaped", lambda: make('{"a\\u006cg":"none",' + header_json[1:]), Twice)
    yield Row("kid twice", lambda: make(header_json[:-1] + ',"kid":"x"}'), Twice)
    yield Row("exp twice", lambda: payload(claims_json[:-1] + ',"exp":9999999999}'), Twice)
    yield Row("exp twice, one escaped", lambda: payload(claims_json[:-1] + ',"\\u0065xp":9999999999}'), Twice)
    yield Row("a member twice, deep inside", lambda: payload(claims_json[:-1] + ',"a":[{"b":{"c":1,"c":1}}]}'), Twice)
    for wrong in ("[]", '"RS256"', "1", "null", "true", "[{}]"):
        yield Row(f"header {wrong}", lambda b=wrong: make(b), NotJson)
        yield Row(f"payload {wrong}", lambda b=wrong: payload(b), NotJson)
    yield Row("data after the header", lambda: make(header_json + "{}"), NotJson)
    yield Row("data after the payload", lambda: payload(claims_json + " x"), NotJson)
    yield Row("two payloads", lambda: payload(claims_json + claims_json), NotJson)
    yield Row("comma behind", lambda: payload(claims_json[:-1] + ",}"), NotJson)
    yield Row("comment", lambda: payload("/* */" + claims_json), NotJson)
    yield Row("single quotation marks", lambda: payload(claims_json.replace('"', "'")), NotJson)
    yield Row("no end", lambda: payload(claims_json[:-1]), NotJson)
    yield Row("NUL behind", lambda: payload(claims_json + "\0"), NotJson)
    yield Row("BOM", lambda: payload("\ufeff" + claims_json), NotJson)
    yield Row("BOM, header", lambda: make("\ufeff" + header_json), NotJson)
    yield Row("UTF-16", lambda: payload(claims_json.encode("utf-16")), NotJson)
    yield Row("UTF-16 without BOM", lambda: payload(claims_json.encode("utf-16-le")), NotJson)
    yield Row("UTF-32", lambda: payload(claims_json.encode("utf-32-be")), NotJson)
    raw = claims_json.encode("utf-8")[:-1]
    for bad_bytes in (b"\xff", b"\xc0\xae", b"\xe0\x80\xae", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"\xc3"):
        data = raw + b',"a":"' + bad_bytes + b'"}'
        yield Row(f"not UTF-8: {bad_bytes.hex()}", lambda d=data: payload(d), NotJson)
    for wrong in ("\\ud800", "\\udc00\\ud800", "\\uDFFF x", "\\ud83d\\ud83d\\ude00"):
        yield Row(f"surrogates {wrong}", lambda b=wrong: payload(claims_json[:-1] + f',"a":"{b}"}}'), NotJson)
    yield Row("surrogate in a name", lambda: payload(claims_json[:-1] + ',"\\ud800":1}'), NotJson)
    for wrong in (
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "-1e999",
        "9" * 33,
        "-" + "9" * 40,
        "9" * 5000,
        "1." + "0" * 99,
    ):
        yield Row(
            f"number {wrong[:9]} ({len(wrong)})", lambda b=wrong: payload(claims_json[:-1] + f',"a":{b}}}'), NotJson
        )
    for wrong in ("01", "+1", "0x10", "1_000", ".5", "1.", "٣", "1e", "--1"):
        yield Row(f"no number {wrong!a}", lambda b=wrong: payload(claims_json[:-1] + f',"a":{b}}}'), NotJson)

    # Size and depth. The long tokens are not signed: they must be rejected before signatures are checked.
    yield Row(
        "100,000 nested arrays",
        lambda: f"{encode_part(header)}.{encode_part('[' * 100_000 + ']' * 100_000)}.AAAA",
        Large,
    )
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        nested = opening * 2000 + "0" * (closing == "}") + closing * 2000
        yield Row(
            f"2,000 of {opening}, payload", lambda d=nested: f"{encode_part(header)}.{encode_part(d)}.AAAA", Nested
        )
        yield Row(
            f"2,000 of {opening}, header", lambda d=nested: f"{encode_part(d)}.{encode_part(claims_json)}.AAAA", Nested
        )
        yield Row(f"2,000 of {opening}, no end", lambda d=nested[:9000]: f"{encode_part(d)}.AAAA.AAAA", Nested)
    yield Row("33 levels", lambda: payload(claims_json[:-1] + ',"a":' + "[" * 32 + "]" * 32 + "}"), Nested)
    for description, wrong in {
        "escaped quotation marks": '"' + '\\"' * 20_000 + "[" * 40,
        "quotation marks": '"\\' * 20_000 + "[" * 40,
        "a name of backslashes": '{"' + "\\" * 40_001 + "[" * 40,
    }.items():
        yield Row(f"no end: {description}", lambda b=wrong: f"{encode_part(b)}.AAAA.AAAA", NotJson)
    yield Row("brackets in strings", lambda: f"{encode_part(json.dumps({'a': '[' * 40_000}))}.AAAA.AAAA", Algorithm)
    yield Row("20,000 members", lambda: f"{encode_part('{' + ','.join(['1:1'] * 12_000) + '}')}.AAAA.AAAA", NotJson)
    for description, bomb in (
        ("letters", "A"),
        ("dots", "."),
        ("spaces", " "),
        ("wide letters", "\uff21"),
        ("parts", "A."),
    ):
        yield Row(f"50 MB of {description}", lambda b=bomb: b * (BOMB // len(b)), Large)
    yield Row("50 MB payload", lambda: change_part(genuine, 1, lambda p: p * (BOMB // len(p))), Large)


def one_too_many(part: str) -> str:
    """The part with a length that base64url cannot have."""
    return part + "A" * ((1 - len(part)) % 4 or 4)


def with_unused_bits(make: Callable[..., str], index: int) -> str:
    """A genuine token whose part at ``index`` ends in unused bits."""
    for count in range(1, 4):
        token = make() if index == 2 else make(note="x" * count)
        if index == 0:
            token = make(json.dumps({"kid": "zz", "alg": "RS256", "typ": "x" * count}))
        if len(token.split(".")[index]) % 4:
            return token
    raise AssertionError("no such token")


def change_unused_bits(part: str) -> str:
    """The part with another last letter that decodes to the same bytes."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    changed = part[:-1] + letters[letters.index(part[-1]) + 1]
    assert base64url_decode(changed) == base64url_decode(part)
    return changed


def time_rows(make: Callable[..., str], payload: Callable[[Json], str], claims: Callable[..., Json]) -> Iterator[Row]:
    for name in ("exp", "iat"):
        for wrong in (str(NOW), 10**30, -NOW, 0, True, None, [NOW], {}, "", 2**53, -0.5, 1e300, 2.0**53):
            yield Row(f"{name} {wrong!r}", lambda n=name, b=wrong: make(**{n: b}), Claim)
        yield Row(f"no {name}", lambda n=name: payload(without(claims(), n)), Claim)
    yield Row("exp of 40 digits", lambda: make(exp=10**40), NotJson)
    yield Row("exp NaN", lambda: make(exp=float("nan")), NotJson)
    yield Row("exp Infinity", lambda: make(exp=float("inf")), NotJson)
    yield Row("lifetime of two days", lambda: make(exp=NOW + 172_800), Claim)
    yield Row("lifetime of 30 years", lambda: make(exp=NOW + 946_080_000), Claim)
    yield Row("no lifetime", lambda: make(exp=NOW), Claim)
    yield Row("no lifetime, exp with a fraction", lambda: make(exp=float(NOW)), Claim)
    yield Row("exp before iat by a fraction", lambda: make(exp=NOW - 0.5), Claim)
    yield Row("exp before iat", lambda: make(exp=NOW - 1), Claim)
    yield Row("expired", lambda: make(iat=NOW - 931, exp=NOW - 31), Expired)
    yield Row("expired long ago", lambda: make(iat=1000, exp=1900), Expired)
    yield Row("from the future", lambda: make(iat=NOW + 31, exp=NOW + 931), Early)
    yield Row("from the far future", lambda: make(iat=NOW + 10**9, exp=NOW + 10**9 + 900), Early)


def context_payload(claims: Any) -> str:
    return sign_jwt(LONG_TERM, CONTEXT_HEADER, claims)


def flx(**changes: Any) -> Json:
    return {**context_claims()["flx"], **changes}


def context_rows() -> Iterator[Row]:
    yield from form_rows(context, LONG_TERM, CONTEXT_HEADER, context_claims)
    yield from time_rows(context, context_payload, context_claims)
    yield Row("signed by the one-time key", lambda: sign_jwt(ONE_TIME, CONTEXT_HEADER, context_claims()), Signature)
    yield Row("signed by the one-time key, its kid", lambda: sign_jwt(ONE_TIME, TOKEN_HEADER, context_claims()), NoKey)
    yield Row("a transient token", token, NoKey)
    yield Row(
        "a transient token under the long-term key", lambda: sign_jwt(LONG_TERM, CONTEXT_HEADER, token_claims()), Claim
    )
    replayed = context_claims(flx=flx(jwk=jwk(ATTACKER, "one")))
    yield Row(
        "replayed with a foreign flx.jwk", lambda: change_part(context(), 1, lambda _: encode_part(replayed)), Signature
    )
    yield Row(
        "replayed with a later exp",
        lambda: change_part(context(), 1, lambda _: encode_part(context_claims(exp=NOW + 901))),
        Signature,
    )
    for wrong in (
        "flex api",
        "Flex API ",
        "Flex API\n",
        "Flex\u00a0API",
        "Fl\u0435x API",
        "\uff26lex API",
        "Flex/08",
        ["Flex API"],
        None,
        1,
        "",
    ):
        yield Row(f"iss {wrong!a}", lambda b=wrong: context(iss=b), Claim)
    yield Row("no iss", lambda: context_payload(without(context_claims(), "iss")), Claim)
    for wrong in (None, "", 3, [CANARY]):
        yield Row(f"jti {wrong!r}", lambda b=wrong: context(jti=b), Claim)
    for wrong in (
        None,
        {},
        [],
        "",
        [3],
        [[]],
        [{}],
        [{"type": 3}],
        [{"type": ""}],
        [{"type": ["api-0.1.0"]}],
        {"0": {}},
    ):
        yield Row(f"ctx {wrong!r}", lambda b=wrong: context(ctx=b), Claim)
    for wrong in (None, [], "", 3, {}, [{}]):
        yield Row(f"flx {wrong!r}", lambda b=wrong: context(flx=b), Claim)
    yield Row("flx twice", lambda: context_payload(json.dumps(context_claims())[:-1] + ',"flx":{}}'), Twice)
    yield Row(
        "n twice", lambda: context_payload(json.dumps(context_claims()).replace('"e":', '"n":"AQAB","e":')), Twice
    )
    for wrong in (None, [], "x", {}):
        yield Row(f"flx.jwk {wrong!r}", lambda b=wrong: context(flx=flx(jwk=b)), Claim)
    for wrong in (None, "", 3, ["one"]):
        yield Row(
            f"flx.jwk.kid {wrong!r}", lambda b=wrong: context(flx=flx(jwk={**jwk(ONE_TIME, "one"), "kid": b})), Claim
        )
    for name, wrong in WRONG_KEYS.items():
        if isinstance(wrong, Mapping) and name != "a million bits":  # too large for a token
            yield Row(f"flx.jwk: {name}", lambda b=wrong: context(flx=flx(jwk={"kid": "one", **b})), Claim)


def token_payload(claims: Any) -> str:
    return sign_jwt(ONE_TIME, TOKEN_HEADER, claims)


def card(**leaves: Any) -> Json:
    return {"paymentInformation": {"card": leaves}}


def token_rows() -> Iterator[Row]:
    yield from form_rows(token, ONE_TIME, TOKEN_HEADER, token_claims)
    yield from time_rows(token, token_payload, token_claims)
    yield Row("signed by the long-term key", lambda: sign_jwt(LONG_TERM, TOKEN_HEADER, token_claims()), Signature)
    yield Row(
        "signed by the long-term key, its kid", lambda: sign_jwt(LONG_TERM, CONTEXT_HEADER, token_claims()), NoKey
    )
    yield Row("the capture context itself", context, NoKey)
    yield Row(
        "a capture context under the one-time key", lambda: sign_jwt(ONE_TIME, TOKEN_HEADER, context_claims()), Claim
    )
    yield Row(
        "of another merchant's context",
        lambda: sign_jwt(ATTACKER, {**CONTEXT_HEADER, "kid": "theirs"}, token_claims()),
        NoKey,
    )
    for wrong in (
        *("mf-2.1.0", "mf-0.1.0", "API-0.1.0", "", None, ["api-0.1.0"], 1),
        *("gda-0.10.0", "uc-1.0.0", " api-0.1.0", "api0.1.0", "ap\u0456-0.1.0", "-0.1.0", {"api-0.1.0": 1}, True),
    ):
        yield Row(f"type {wrong!r}", lambda b=wrong: token(type=b), Claim)
    yield Row("no type", lambda: token_payload(without(token_claims(), "type")), Claim)
    for wrong in ("", None, 1, [CANARY], {CANARY: 1}, False):
        yield Row(f"jti {wrong!r}", lambda b=wrong: token(jti=b), Claim)
    yield Row("no jti", lambda: token_payload(without(token_claims(), "jti")), Claim)


def time_deviations(claims: Callable[..., Json]) -> Iterator[Deviation]:
    for name, value in (("iat", float(NOW)), ("iat", NOW + 0.5), ("exp", NOW + 0.5), ("exp", NOW + 900.0)):
        yield Deviation(f"{name} {value!r}", claims(**{name: value}), name, "not written as a whole number")
    yield Deviation("lifetime of an hour", claims(exp=NOW + 3600), "exp", "valid for more than 15 minutes")
    yield Deviation("lifetime of a day", claims(exp=NOW + 86_400), "exp", "valid for more than 15 minutes")
    yield Deviation("aud", claims(aud=CANARY), "aud", "aud is present")


def context_deviations() -> Iterator[Deviation]:
    yield from time_deviations(context_claims)
    for path in (
        *("/flex/v2/tokens/", "/flex/v1/tokens", "//attacker.example/flex/v2/tokens", "", None, "/FLEX/v2/tokens"),
        ["/flex/v2/tokens"],
    ):
        yield Deviation(f"flx.path {path!r}", context_claims(flx=flx(path=path)), "flx.path", "flx.path is not")
    yield Deviation("no flx.path", context_claims(flx=without(flx(), "path")), "flx.path", "flx.path is not")
    entry = context_claims()["ctx"][0]
    yield Deviation("ctx with two entries", context_claims(ctx=[entry, entry]), "ctx", "more than one entry")
    for data in (None, [], CANARY, 3):
        changed = context_claims(ctx=[{"type": "api-0.1.0", "data": data}])
        yield Deviation(f"data {data!r}", changed, "ctx", "data is missing or not an object")
    for name in ("requiredFields", "optionalFields", "targetOrigins", "allowedCardNetworks", "allowedPaymentTypes"):
        for value in (CANARY, {CANARY: 1}, [CANARY, 3], False):
            changed = context_claims(ctx=[{"type": "api-0.1.0", "data": {name: value}}])
            yield Deviation(f"{name} {value!r}", changed, "ctx", f"{name} is not an array of strings")


def token_deviations() -> Iterator[Deviation]:
    yield from time_deviations(token_claims)
    for token_type in ("api-0.1.1", "api-0.2.0", "api-1.0.0", "api-12.3.4.5"):
        yield Deviation(f"type {token_type}", token_claims(type=token_type), "type", "type has another version")
    for token_type in ("api-0.1.0 ", "api-", "api", "api-next", "api-0.1.0-beta", "api-\u0661"):
        yield Deviation(f"type {token_type!a}", token_claims(type=token_type), "type", "not a name and a version")
    yield Deviation("type api-0.1.00", token_claims(type="api-0.1.00"), "type", "type has another version")
    for wrong in (
        *(
            "Flex/8",
            "Flex/008",
            "Flex/٠٨",
            "Flex/08/",
            "Flex/08\n",
            " Flex/08",
            "flex/08",
            "Flex API",
            "Flex/",
            "Flex/0x",
        ),
        *("https://Flex/08", "\uff26lex/08", None, "", 8, ["Flex/08"], f"Flex/{CANARY}", "Flex API v2"),
    ):
        yield Deviation(f"iss {wrong!a}", token_claims(iss=wrong), "iss", "iss is not Flex/ and two digits")
    yield Deviation("no iss", without(token_claims(), "iss"), "iss", "iss is not Flex/ and two digits")
    for wrong in (
        *(
            "a/b" + "A" * 20,
            ".." + "A" * 20,
            "%2e%2e%2f" + "A" * 20,
            "A" * 15,
            "A" * 129,
            "A" * 20 + "\n",
            "A" * 20 + "\0",
        ),
        *("A" * 20 + "?x", "٣" * 20, "\uff21" * 20, "A" * 20 + " ", "A" * 63, "A" * 65, "a" * 64, CANARY),
        "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
    ):
        yield Deviation(
            f"jti {str(wrong)[-22:]!a}, {len(wrong)}", token_claims(jti=wrong), "jti", "jti does not have 64"
        )
    for name, wrong in {
        "nothing": {},
        "a string": CANARY,
        "a list": [card(number={})],
        "false": False,
        "another field": card(type={"value": "001"}),
        "number is null": card(number=None),
        "number is a string": card(number=CANARY),
        "number is a list": card(number=[]),
        "the dotted name": {NUMBER: {"value": CANARY}},
        "a group that is a string": {"paymentInformation": CANARY},
    }.items():
        is_object = isinstance(wrong, dict)
        warning = f"content lacks {NUMBER}" if is_object else "content is not an object"
        yield Deviation(f"content: {name}", token_claims(content=wrong), "content", warning)


@cache
def small() -> Json:
    numbers = rsa.generate_private_key(65537, 1024).public_key().public_numbers()  # noqa: S505
    return {"kty": "RSA", "n": base64url(numbers.n.to_bytes(128, "big")), "e": "AQAB"}


def rsa_key(**changes: Any) -> Json:
    return {**without(jwk(ONE_TIME, "one"), "kid", "use"), **changes}


def wrong_keys() -> Iterator[tuple[str, Any]]:
    good = int.from_bytes(base64url_decode(jwk(ONE_TIME, "one")["n"]), "big")
    yield "1024 bits", small()
    yield "1024 bits behind zeros", {**small(), "n": base64url(bytes(128) + base64url_decode(small()["n"]))}
    yield "2047 bits", rsa_key(n=base64url((good >> 1 | 1).to_bytes(256, "big")))
    yield "16,384 bits", rsa_key(n=base64url(b"\xff" * 2048))
    yield "a million bits", rsa_key(n="_" * 160_000)
    yield "modulus 0", rsa_key(n=base64url(bytes(256)))
    yield "modulus even", rsa_key(n=base64url((good - 1).to_bytes(256, "big")))
    yield "modulus 2^2047", rsa_key(n=base64url((1 << 2047).to_bytes(256, "big")))
    for exponent in (0, 1, 2, 4, 65536, 2**32 + 1, 2**64 + 1):
        yield f"e {exponent}", rsa_key(e=base64url(exponent.to_bytes(9, "big")))
    for name, wrong in {
        "": "empty",
        "AQ==": "padded",
        "A+/A": "other alphabet",
        "A\nAA": "newline",
        "A": "one letter",
    }.items():
        yield f"n {wrong}", rsa_key(n=name)
        yield f"e {wrong}", rsa_key(e=name)
    for bad_type in (None, 65537, ["AQAB"], True):
        yield f"n {bad_type!r}", rsa_key(n=bad_type)
        yield f"e {bad_type!r}", rsa_key(e=bad_type)
    yield "no n", without(rsa_key(), "n")
    yield "no e", without(rsa_key(), "e")
    for member in ("d", "p", "q", "dp", "dq", "qi"):
        yield f"private: {member}", rsa_key(**{member: "AQAB"})
    for alg in ("RS512", "PS256", "PS512", "HS256", "none", "RSA1_5", "RSA-OAEP-256", None, 1):
        yield f"for {alg}", rsa_key(alg=alg)
    yield "EC", {"kty": "EC", "crv": "P-256", "x": "A" * 43, "y": "A" * 43}
    yield "EC with an RSA key beside", rsa_key(kty="EC")
    yield "oct", {"kty": "oct", "k": jwk(ONE_TIME, "one")["n"]}
    yield "OKP", {"kty": "OKP", "crv": "Ed25519", "x": "A" * 43}
    yield "kty rsa", rsa_key(kty="rsa")
    yield "kty in a list", rsa_key(kty=["RSA"])
    yield "no kty", without(rsa_key(), "kty")
    for not_a_key in (None, [], "RSA", 3):
        yield f"{not_a_key!r}", not_a_key


WRONG_KEYS = dict(wrong_keys())


def key_source() -> RecordingKeySource:
    """A source of the long-term key."""
    return RecordingKeySource(jwk(LONG_TERM, "zz"))


@cache
def genuine_context() -> CaptureContext:
    return verify_capture_context(context(), key_source(), now=NOW)


def everything_shown(error: BaseException) -> Iterator[str]:
    """Everything that a log, a pickle or an error tracker could show of an exception and its causes."""
    current: BaseException | None = error
    while current is not None:
        yield str(current)
        yield repr(current)
        yield repr(current.args)
        yield repr(getattr(current, "__dict__", {}))
        for name in ("doc", "object", "__notes__"):
            yield repr(getattr(current, name, ""))
        current = current.__cause__ or current.__context__


def assert_rejected(check: Callable[[], object], forged: Any, expected: type[errors.TokenError]) -> None:
    started = time.thread_time()
    with pytest.raises(errors.TokenError) as caught:
        check()
    took = time.thread_time() - started
    assert type(caught.value) is expected
    # The limit is 50 ms per KB. What is rejected before the signature check takes much less.
    assert took < 0.5, f"took {took:.3f} s"
    output = "\n".join(everything_shown(caught.value))
    assert CANARY not in output
    assert len(output) < 4000
    if isinstance(forged, str):
        for piece in forged[:100_000].split("."):
            assert len(piece) < 40 or piece[:40] not in output


CONTEXT_ROWS = list(context_rows())
TOKEN_ROWS = list(token_rows())
CONTEXT_DEVIATIONS = list(context_deviations())
TOKEN_DEVIATIONS = list(token_deviations())


def names(rows: list[Any]) -> list[str]:
    return [row.name for row in rows]


def test_there_are_more_than_80_rows_of_each_kind() -> None:
    assert len({*names(CONTEXT_ROWS)}) == len(CONTEXT_ROWS) > 80
    assert len({*names(TOKEN_ROWS)}) == len(TOKEN_ROWS) > 80
    assert len({*names(CONTEXT_DEVIATIONS)}) == len(CONTEXT_DEVIATIONS)
    assert len({*names(TOKEN_DEVIATIONS)}) == len(TOKEN_DEVIATIONS)


def test_genuine_tokens_are_accepted() -> None:
    assert genuine_context().required_fields == (NUMBER,)
    assert genuine_context().warnings == ()
    genuine = verify_transient_token(token(), genuine_context(), now=NOW, strict=True)
    assert (genuine.masked_number, genuine.warnings) == (CANARY, ())
    assert verify_capture_context(context(), key_source(), now=NOW, strict=True) == genuine_context()


def verify_context(jwt: str, *, strict: bool = False) -> CaptureContext:
    return verify_capture_context(jwt, key_source(), now=NOW, strict=strict)


def verify_token(jwt: str, *, strict: bool = False) -> TransientToken:
    return verify_transient_token(jwt, genuine_context(), now=NOW, strict=strict)


@pytest.mark.parametrize(
    ("verify", "key_name", "header", "row"),
    [
        *(pytest.param(verify_context, LONG_TERM, CONTEXT_HEADER, row, id=row.name) for row in CONTEXT_DEVIATIONS),
        *(pytest.param(verify_token, ONE_TIME, TOKEN_HEADER, row, id=row.name) for row in TOKEN_DEVIATIONS),
    ],
)
def test_genuine_tokens_that_differ_in_a_detail_have_a_warning(
    verify: Callable[..., Any], key_name: str, header: Json, row: Deviation
) -> None:
    genuine = sign_jwt(key_name, header, row.claims)
    verified = verify(genuine)
    assert len(verified.warnings) == 1
    assert row.warning in verified.warnings[0]
    assert CANARY not in verified.warnings[0]
    assert len(verified.warnings[0]) < 120
    assert_rejected(lambda: verify(genuine, strict=True), genuine, Claim)
    with pytest.raises(errors.InvalidClaimError) as caught:
        verify(genuine, strict=True)
    assert caught.value.claim == row.claim
    # The same content from anyone else.
    for forged, error in (
        (sign_jwt(ATTACKER, header, row.claims), Signature),
        (sign_jwt(ATTACKER, {**header, "kid": "other"}, row.claims), NoKey),
        (hmac_jwt("HS256", hmac_secrets(key_name, header["kid"])["PEM"], header, row.claims), Algorithm),
        (change_part(genuine, 2, lambda _: sign_jwt(key_name, header, {}).split(".")[2]), Signature),
    ):
        assert_rejected(lambda forged=forged: verify(forged), forged, error)  # type: ignore[misc]


def test_several_warnings() -> None:
    jwt = token(iss="Flex API", jti=CANARY, type="api-9.0.0", content=[], aud=CANARY)
    assert [warning.split()[0] for warning in verify_token(jwt).warnings] == ["aud", "iss", "jti", "type", "content"]


def test_warnings_list_at_most_eight_missing_fields_and_no_values() -> None:
    fields = [NUMBER, "4111111111111111", "x" * 200, *(f"a.b{letter}" for letter in "cdefghijkl")]
    data = {"requiredFields": fields, "optionalFields": []}
    other = verify_context(context(ctx=[{"type": "api-0.1.0", "data": data}]))
    warnings = verify_transient_token(token(content={}), other, now=NOW).warnings
    assert len(warnings) == 8
    assert all("4111111111111111" not in warning and len(warning) < 120 for warning in warnings)


@pytest.mark.parametrize("token_type", ["gda-0.7.0", "gda-0.10.0", "uc-1.0.0"])
def test_unified_checkout_has_two_names(token_type: str) -> None:
    unified = verify_context(context(ctx=[{"type": "gda-0.7.0", "data": {}}]))
    assert verify_transient_token(token(type=token_type), unified, now=NOW).type == token_type


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        (
            {"content": {"paymentInformation": {"card": {"number": {"maskedValue": "XX11", "bin": "411111"}}}}},
            ("XX11", "411111", ()),
        ),
        (
            {"content": {"paymentInformation": {"tokenizedCard": {"number": {"maskedValue": "XX22", "bin": "4"}}}}},
            ("XX22", "4", ()),
        ),
        (
            {"content": {"paymentInformation": {"card": {"number": {"detectedCardTypes": ["001", "042", 7]}}}}},
            (None, None, ("001", "042")),
        ),
        (
            {
                "content": {
                    "paymentInformation": {"card": {"type": {"value": "003"}, "number": {"detectedCardTypes": ["001"]}}}
                }
            },
            (None, None, ("003",)),
        ),
        ({"content": {"paymentInformation": {"tokenizedCard": {"type": {"value": "002"}}}}}, (None, None, ("002",))),
        ({"content": None, "data": {"number": "XX33", "type": "004"}}, ("XX33", None, ("004",))),
        ({"content": None, "data": {"number": "", "type": 4}}, (None, None, ())),
        ({"content": None, "data": "XX33"}, (None, None, ())),
        ({"content": None}, (None, None, ())),
    ],
)
def test_what_a_token_says_about_the_card(claims: Json, expected: tuple[Any, ...]) -> None:
    # Tokens of Microform 0.11 have the number and the type in the claim `data`.
    microform = verify_context(context(ctx=[{"type": "api-0.1.0", "data": {}}]))
    verified = verify_transient_token(token(**claims), microform, now=NOW)
    assert (verified.masked_number, verified.bin, verified.card_types) == expected


def test_a_jti_that_is_no_id_is_in_no_url() -> None:
    auth = JwtSharedSecret("merchant", "key", "A" * 43 + "=")
    with FlexClient(auth, environment="http://127.0.0.1:9") as client:
        for jti in ("../" + "A" * 20, "a/b", "A" * 129, f"{CANARY}?x", "\n", "4111111111111111"):
            verified = verify_token(token(jti=jti))
            assert verified.jti == jti
            with pytest.raises(errors.FlexError) as caught:
                client.payment_details(verified)
            assert isinstance(caught.value, errors.InvalidArgumentError)
            assert jti not in str(caught.value)


@pytest.mark.parametrize("row", CONTEXT_ROWS, ids=names(CONTEXT_ROWS))
def test_forged_contexts_are_rejected(row: Row) -> None:
    forged, keys = row.forge(), key_source()
    assert_rejected(lambda: verify_capture_context(forged, keys, now=NOW), forged, row.error)
    assert set(keys.requested) <= {"zz", "other", "ZZ", "one"}


@pytest.mark.parametrize("row", TOKEN_ROWS, ids=names(TOKEN_ROWS))
def test_forged_tokens_are_rejected(row: Row) -> None:
    forged = row.forge()
    assert_rejected(lambda: verify_transient_token(forged, genuine_context(), now=NOW), forged, row.error)


@pytest.mark.parametrize("name", WRONG_KEYS)
def test_invalid_keys_are_rejected(name: str) -> None:
    with pytest.raises(errors.UnsupportedAlgorithmError):
        PublicKey(WRONG_KEYS[name])


def test_leading_zeros_of_a_modulus_are_ignored() -> None:
    padded = PublicKey({**jwk(ONE_TIME, "one"), "n": base64url(b"\0" + base64url_decode(jwk(ONE_TIME, "one")["n"]))})
    assert padded == genuine_context().key
    assert padded.to_jwk() == genuine_context().key.to_jwk()


@pytest.mark.parametrize(
    ("expected", "changes"),
    [
        (ContextExpectations(required_fields=[NUMBER, "paymentInformation.card.securityCode"]), {}),
        (ContextExpectations(required_fields=[]), {}),
        (ContextExpectations(optional_fields=[]), {}),
        (ContextExpectations(target_origins=["https://shop.example.com"]), {}),
        (
            ContextExpectations(target_origins=["https://shop.example.com"]),
            {"targetOrigins": ["https://attacker.example"]},
        ),
        (
            ContextExpectations(target_origins=["https://shop.example.com"]),
            {"targetOrigins": ["https://shop.example.com", "https://attacker.example"]},
        ),
        (
            ContextExpectations(target_origins=["https://shop.example.com"]),
            {"targetOrigins": "https://shop.example.com"},
        ),
        (
            ContextExpectations(target_origins=["https://shop.example.com"]),
            {"targetOrigins": ["https://SHOP.example.com"]},
        ),
        (ContextExpectations(allowed_card_networks=["VISA"]), {"allowedCardNetworks": ["VISA", "AMEX"]}),
        (ContextExpectations(allowed_payment_types=["CARD"]), {"allowedPaymentTypes": ["CHECK"]}),
    ],
)
def test_another_merchants_genuine_context_does_not_match_the_expectations(
    expected: ContextExpectations, changes: Json
) -> None:
    data = {**context_claims()["ctx"][0]["data"], **changes}
    theirs = context(ctx=[{"type": "mf-2.1.0" if changes else "api-0.1.0", "data": data}])
    assert verify_capture_context(theirs, key_source(), now=NOW)
    assert_rejected(lambda: verify_capture_context(theirs, key_source(), now=NOW, expected=expected), theirs, Claim)


def test_a_token_of_another_context_with_the_same_kid_is_rejected() -> None:
    theirs = verify_capture_context(context(flx=flx(jwk=jwk(ATTACKER, "one"))), key_source(), now=NOW)
    assert_rejected(lambda: verify_transient_token(token(), theirs, now=NOW), token(), Signature)


def test_raised_limits_of_the_length_still_limit_the_depth() -> None:
    bomb = f"{encode_part(CONTEXT_HEADER)}.{encode_part('[' * 100_000 + ']' * 100_000)}.AAAA"
    limits = TokenLimits(max_length=1024 * 1024)
    assert_rejected(lambda: verify_capture_context(bomb, key_source(), now=NOW, limits=limits), bomb, Nested)
    limits = TokenLimits(max_length=1024 * 1024, max_depth=10**6)
    with pytest.raises(errors.TokenError):
        verify_capture_context(bomb, key_source(), now=NOW, limits=limits)


@pytest.mark.parametrize(
    "wrong", [{"leeway": float("nan")}, {"leeway": float("inf")}, {"leeway": -1}, {"now": float("nan")}]
)
def test_no_argument_disables_the_checks_of_the_times(wrong: dict[str, float]) -> None:
    old = context(iat=NOW - 10_000, exp=NOW - 9_000)
    with pytest.raises(errors.ConfigurationError):
        verify_capture_context(old, key_source(), **{"now": NOW, **wrong})  # type: ignore[arg-type]


def test_the_hosts_time_is_checked_when_a_context_is_verified_with_a_key() -> None:
    unverified, key = UnverifiedContext(context()), key_source().get(CONTEXT_HEADER["kid"])
    assert unverified.verify(key, now=NOW, host_time=HostTime(3.0)).claims["exp"] == NOW + 900
    for wrong in ("now", 3.0, HostTime(float("nan")), HostTime(10.0**9)):
        with pytest.raises(errors.ConfigurationError, match=r"^host_time must be"):
            unverified.verify(key, now=NOW, host_time=wrong)  # type: ignore[arg-type]


def test_unknown_header_members_are_accepted() -> None:
    assert verify_capture_context(context({**CONTEXT_HEADER, "typ": "JWT", "note": [1]}), key_source(), now=NOW)
