"""JWT version 2, with a shared secret or a certificate: a fresh token per request, in `Authorization: Bearer`.

Where sources disagree both spellings pass: `request-method` in either case, `digestAlgorithm` or
`digest-algorithm`.
"""

from __future__ import annotations

import hmac
from typing import Any

from . import jose
from .authority import WITH_DIGEST, Authority, Caller, Refused, quoted, same, sha256_base64
from .certificates import Certificate
from .directory import Key
from .exchange import Received
from .merchants import Merchant, ResponseMleKey

# Seconds from iat to exp; the real host refuses more.
MAXIMUM_LIFE = 120

_HMAC = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}


def check(authority: Authority, request: Received, token: str) -> Caller:
    """The caller, or `Refused`."""
    header, claims, signed, signature = _parse(token)
    algorithm = _text(header, "alg", "header member")
    if algorithm not in _HMAC and algorithm not in jose.RSA_ALGORITHMS:
        raise Refused(f"alg {quoted(algorithm)} is not accepted here")
    if header.get("typ") != "JWT":
        raise Refused("header member typ must be JWT")
    if "crit" in header:
        raise Refused("header member crit is not accepted")
    key = authority.key(_text(header, "kid", "header member"))
    _verify(key, algorithm, signed, signature)
    if isinstance(key.material, Certificate):
        authority.check_validity(key.material)
    merchant = authority.user(key, _text(claims, "v-c-merchant-id"))
    if _text(claims, "iss") != key.owner:
        raise Refused("iss must be the owner of the key: the portfolio with a meta key, otherwise the merchant")
    if claims.get("v-c-jwt-version") != "2":
        raise Refused('v-c-jwt-version must be the string "2"')
    _check_request(authority, request, claims)
    _check_digest(request, claims)
    _check_times(authority, claims)
    response_key = _response_key(authority, key, merchant, claims)
    jti = _text(claims, "jti")
    # Last, so that a token refused for another cause is not also burnt. No token with this jti can pass after
    # its life and twice the leeway, whatever its iat was.
    keep = MAXIMUM_LIFE + 2 * authority.jwt_leeway
    if not authority.used_ids.add(key.key_id, jti, now=authority.clock(), forget_after=keep):
        raise Refused("jti was used before")
    return Caller(merchant, "jwt", response_key)


def _parse(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    parts = token.split(".")
    if len(parts) != 3 or not all(parts):
        raise Refused("the bearer token is neither a known access token nor a JWT of three parts")
    try:
        header, claims = (jose.parse_object(jose.decode(part)) for part in parts[:2])
        signature = jose.decode(parts[2])
    except ValueError as error:
        raise Refused(f"the bearer token cannot be read: {error}") from None
    return header, claims, f"{parts[0]}.{parts[1]}".encode("ascii"), signature


def _verify(key: Key, algorithm: str, signed: bytes, signature: bytes) -> None:
    """Refuse a signature that does not fit. What kind of key it is says the emulator, never the token."""
    if isinstance(key.material, Certificate):
        if algorithm not in jose.RSA_ALGORITHMS:
            raise Refused(f"alg {algorithm} does not fit the key: kid names a certificate")
        if not jose.verifies(key.material.public_key, algorithm, signed, signature):
            raise Refused("the signature of the token does not fit: not the private key of that certificate")
        return
    if algorithm not in _HMAC:
        raise Refused(f"alg {algorithm} does not fit the key: kid names a shared secret")
    digest = _HMAC[algorithm]
    if same(hmac.new(key.material, signed, digest).digest(), signature):
        return
    if same(hmac.new(key.text.encode("utf-8"), signed, digest).digest(), signature):
        raise Refused("the token was signed with the secret as text: it must be base64-decoded first")
    raise Refused("the signature of the token does not fit: another secret")


def _response_key(authority: Authority, key: Key, merchant: Merchant, claims: dict[str, Any]) -> ResponseMleKey | None:
    """The key that answers shall be encrypted to, when the token asks for that."""
    name = "v-c-response-mle-kid"
    if name not in claims:
        return None
    key_id = _text(claims, name)
    found = authority.directory.response_key(merchant.merchant_id, key_id)
    if found is None:
        raise Refused(f"{name} {quoted(key_id)} names no response key of merchant {quoted(merchant.merchant_id)}")
    if found.owner is not None and found.owner != key.owner:
        raise Refused(f"{name} must name a certificate of {quoted(key.owner)}, who owns the signing key")
    return found


def _text(members: dict[str, Any], name: str, what: str = "claim") -> str:
    if name not in members:
        raise Refused(f"{what} {name} is missing")
    value = members[name]
    if not isinstance(value, str) or not value:
        raise Refused(f"{what} {name} must be text and not empty")
    return value


def _number(claims: dict[str, Any], name: str) -> float:
    if name not in claims:
        raise Refused(f"claim {name} is missing")
    value = claims[name]
    # A Boolean is an int in Python, 1e999 parses to infinity, and an int of any length is JSON.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e12:
        raise Refused(f"claim {name} must be a number of seconds")
    return value


def _check_request(authority: Authority, request: Received, claims: dict[str, Any]) -> None:
    method = _text(claims, "request-method")
    if method not in (request.method, request.method.lower()):
        raise Refused(f"request-method {quoted(method)} is not that of the request")
    authority.check_host(_text(claims, "request-host"), "request-host")
    path = _text(claims, "request-resource-path")
    if path != request.target:
        raise Refused(f"request-resource-path {quoted(path)} is not {quoted(request.target)}, as received")


def _check_digest(request: Received, claims: dict[str, Any]) -> None:
    names = [name for name in ("digestAlgorithm", "digest-algorithm") if name in claims]
    if request.method not in WITH_DIGEST:
        if names or "digest" in claims:
            raise Refused(f"{request.method} has no body, so there must be no digest and no digestAlgorithm")
        return
    digest = _text(claims, "digest")
    if not names:
        raise Refused("claim digestAlgorithm is missing")
    # The guide's table says lower case, its example and all code say SHA-256.
    if any(claims[name] not in ("SHA-256", "sha-256") for name in names):
        raise Refused(f"{names[0]} must be SHA-256")
    if digest.startswith("SHA-256="):
        raise Refused("the claim digest has no SHA-256= in front")
    if not same(digest, sha256_base64(request.body)):
        raise Refused("the claim digest is not that of the body received")


def _check_times(authority: Authority, claims: dict[str, Any]) -> None:
    issued, expires, now = _number(claims, "iat"), _number(claims, "exp"), authority.clock()
    if expires <= issued:
        raise Refused("exp is not after iat")
    if expires - issued > MAXIMUM_LIFE:
        raise Refused(f"exp is {expires - issued:.0f} s after iat: at most {MAXIMUM_LIFE} s are allowed")
    if issued > now + authority.jwt_leeway:
        raise Refused(f"iat is {issued - now:.0f} s ahead of this host's clock")
    if expires <= now - authority.jwt_leeway:
        raise Refused(f"the token expired {now - expires:.0f} s ago")
