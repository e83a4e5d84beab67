"""JWT version 2: check a token signed with a shared secret or a certificate, in `Authorization: Bearer`.

Each request needs a new token. Where sources disagree, both variants are accepted: `request-method` in either case,
`digestAlgorithm` or `digest-algorithm`.
"""

from __future__ import annotations

import hmac
from typing import Any

from .. import jose
from ..server.messages import ReceivedRequest
from .auth_context import METHODS_WITH_DIGEST, AuthContext, AuthenticationError, Caller, equal, quoted, sha256_base64
from .certificates import Certificate
from .credentials import Merchant, ResponseMleKey, SigningKey

# Seconds from iat to exp; the real host rejects more.
MAXIMUM_LIFETIME = 120

_HMAC = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}


def authenticate_jwt(auth_context: AuthContext, request: ReceivedRequest, token: str) -> Caller:
    """Return the caller, or raise `AuthenticationError`."""
    header, claims, signed, signature = _parse(token)
    algorithm = _string(header, "alg", "header member")
    if algorithm not in _HMAC and algorithm not in jose.RSA_ALGORITHMS:
        raise AuthenticationError(f"alg {quoted(algorithm)} is not accepted here")
    if header.get("typ") != "JWT":
        raise AuthenticationError("header member typ must be JWT")
    if "crit" in header:
        raise AuthenticationError("header member crit is not accepted")
    key = auth_context.key(_string(header, "kid", "header member"))
    _verify(key, algorithm, signed, signature)
    if isinstance(key.secret_or_certificate, Certificate):
        auth_context.check_validity(key.secret_or_certificate)
    merchant = auth_context.merchant_for(key, _string(claims, "v-c-merchant-id"))
    if _string(claims, "iss") != key.owner:
        raise AuthenticationError(
            "iss must be the owner of the key: the portfolio with a meta key, otherwise the merchant"
        )
    if claims.get("v-c-jwt-version") != "2":
        raise AuthenticationError('v-c-jwt-version must be the string "2"')
    _check_request(auth_context, request, claims)
    _check_digest(request, claims)
    _check_times(auth_context, claims)
    response_key = _response_key(auth_context, key, merchant, claims)
    jti = _string(claims, "jti")
    # Last, so that a token rejected for another reason does not use up its jti. No token with this jti can pass
    # after its lifetime and twice the leeway, for any value of iat.
    ttl = MAXIMUM_LIFETIME + 2 * auth_context.jwt_leeway
    if not auth_context.used_token_ids.add(key.key_id, jti, now=auth_context.clock(), ttl=ttl):
        raise AuthenticationError("jti was used before")
    return Caller(merchant, "jwt", response_key)


def _parse(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    parts = token.split(".")
    if len(parts) != 3 or not all(parts):
        raise AuthenticationError("the bearer token is neither a known access token nor a JWT of three parts")
    try:
        header, claims = (jose.parse_object(jose.decode(part)) for part in parts[:2])
        signature = jose.decode(parts[2])
    except ValueError as error:
        raise AuthenticationError(f"the bearer token cannot be parsed: {error}") from None
    return header, claims, f"{parts[0]}.{parts[1]}".encode("ascii"), signature


def _verify(key: SigningKey, algorithm: str, signed: bytes, signature: bytes) -> None:
    """Raise for a wrong signature. The registered key determines the kind of algorithm, never the token."""
    secret = key.secret_or_certificate
    if isinstance(secret, Certificate):
        if algorithm not in jose.RSA_ALGORITHMS:
            raise AuthenticationError(f"alg {algorithm} does not match the key: kid names a certificate")
        if not jose.verifies(secret.public_key, algorithm, signed, signature):
            raise AuthenticationError(
                "the signature of the token does not match: not the private key of that certificate"
            )
        return
    if algorithm not in _HMAC:
        raise AuthenticationError(f"alg {algorithm} does not match the key: kid names a shared secret")
    digest = _HMAC[algorithm]
    if equal(hmac.new(secret, signed, digest).digest(), signature):
        return
    if equal(hmac.new(key.encoded_secret.encode("utf-8"), signed, digest).digest(), signature):
        raise AuthenticationError("the token was signed with the undecoded secret: it must be base64-decoded first")
    raise AuthenticationError("the signature of the token does not match: another secret")


def _response_key(
    auth_context: AuthContext, key: SigningKey, merchant: Merchant, claims: dict[str, Any]
) -> ResponseMleKey | None:
    """The key to which the token asks the response to be encrypted, if any."""
    name = "v-c-response-mle-kid"
    if name not in claims:
        return None
    key_id = _string(claims, name)
    response_key = auth_context.credentials.response_key(merchant.merchant_id, key_id)
    if response_key is None:
        raise AuthenticationError(
            f"{name} {quoted(key_id)} names no response key of merchant {quoted(merchant.merchant_id)}"
        )
    if response_key.owner is not None and response_key.owner != key.owner:
        raise AuthenticationError(f"{name} must name a certificate of {quoted(key.owner)}, who owns the signing key")
    return response_key


def _string(members: dict[str, Any], name: str, kind: str = "claim") -> str:
    if name not in members:
        raise AuthenticationError(f"{kind} {name} is missing")
    value = members[name]
    if not isinstance(value, str) or not value:
        raise AuthenticationError(f"{kind} {name} must be a string and not empty")
    return value


def _number(claims: dict[str, Any], name: str) -> float:
    if name not in claims:
        raise AuthenticationError(f"claim {name} is missing")
    value = claims[name]
    # A Boolean is an int in Python, 1e999 parses to infinity, and JSON allows integers of any length.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e12:
        raise AuthenticationError(f"claim {name} must be a number of seconds")
    return value


def _check_request(auth_context: AuthContext, request: ReceivedRequest, claims: dict[str, Any]) -> None:
    method = _string(claims, "request-method")
    if method not in (request.method, request.method.lower()):
        raise AuthenticationError(f"request-method {quoted(method)} is not that of the request")
    auth_context.check_host(_string(claims, "request-host"), "request-host")
    path = _string(claims, "request-resource-path")
    if path != request.target:
        raise AuthenticationError(f"request-resource-path {quoted(path)} is not {quoted(request.target)}, as received")


def _check_digest(request: ReceivedRequest, claims: dict[str, Any]) -> None:
    names = [name for name in ("digestAlgorithm", "digest-algorithm") if name in claims]
    if request.method not in METHODS_WITH_DIGEST:
        if names or "digest" in claims:
            raise AuthenticationError(
                f"{request.method} has no body, so there must be no digest and no digestAlgorithm"
            )
        return
    digest = _string(claims, "digest")
    if not names:
        raise AuthenticationError("claim digestAlgorithm is missing")
    # The guide's table says lower case, its example and all published code say SHA-256.
    if any(claims[name] not in ("SHA-256", "sha-256") for name in names):
        raise AuthenticationError(f"{names[0]} must be SHA-256")
    if digest.startswith("SHA-256="):
        raise AuthenticationError("the claim digest must not begin with SHA-256=")
    if not equal(digest, sha256_base64(request.body)):
        raise AuthenticationError("the claim digest is not that of the body received")


def _check_times(auth_context: AuthContext, claims: dict[str, Any]) -> None:
    issued, expires, now = _number(claims, "iat"), _number(claims, "exp"), auth_context.clock()
    if expires <= issued:
        raise AuthenticationError("exp is not after iat")
    if expires - issued > MAXIMUM_LIFETIME:
        raise AuthenticationError(
            f"exp is {expires - issued:.0f} s after iat: at most {MAXIMUM_LIFETIME} s are allowed"
        )
    if issued > now + auth_context.jwt_leeway:
        raise AuthenticationError(f"iat is {issued - now:.0f} s ahead of this host's clock")
    if expires <= now - auth_context.jwt_leeway:
        raise AuthenticationError(f"the token expired {now - expires:.0f} s ago")
