"""JWT version 2: check the token in `Authorization: Bearer`, signed with a shared secret or a certificate.

Each request needs a new token. Published sources disagree on some claims. All variants of such a claim are accepted,
unless `claim_format` of the emulator selects one.
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

# The variants of claims on which the published sources disagree.
CLAIM_VARIANTS: dict[str, tuple[str, ...]] = {
    "method_case": ("upper", "lower"),
    "digest_algorithm_claim": ("digestAlgorithm", "digest-algorithm"),
    "digest_algorithm": ("SHA-256", "sha-256"),
    "response_mle_claim": ("v-c-response-mle-kid", "v-c-api-response-mle-kid"),
    "resource_path": ("path-and-query", "path"),
}

_HMAC = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}


def authenticate_jwt(auth_context: AuthContext, request: ReceivedRequest, token: str) -> Caller:
    """Return the caller, or raise `AuthenticationError`."""
    header, claims, signed, signature = _parse(token)
    if "x5c" in header and "v-c-jwt-version" not in claims:
        raise AuthenticationError(
            "the token has the certificate in x5c, as in the retired JWT scheme that SDKs used until 2025: "
            "expected version 2, with kid in the header and the claims iss, jti, exp and v-c-jwt-version"
        )
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
            "iss must be the owner of the key: if it is a meta key, the portfolio; otherwise the merchant"
        )
    if claims.get("v-c-jwt-version") != "2":
        raise AuthenticationError('v-c-jwt-version must be the string "2"')
    _check_request(auth_context, request, claims)
    _check_digest(auth_context, request, claims)
    _check_times(auth_context, claims)
    response_key = _response_key(auth_context, key, merchant, claims)
    jti = _string(claims, "jti")
    # Checked last, so that a token rejected for another reason does not use up its jti. The jti is kept for the maximum
    # lifetime and twice the leeway. After that, the same token is rejected as expired, independently of its iat.
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
    """Raise for a wrong signature.

    The kind of algorithm is taken from the registered key, never from the token.
    """
    secret = key.secret_or_certificate
    if isinstance(secret, Certificate):
        if algorithm not in jose.RSA_ALGORITHMS:
            raise AuthenticationError(f"alg {algorithm} does not match the key: kid names a certificate")
        if not jose.verifies(secret.public_key, algorithm, signed, signature):
            raise AuthenticationError(
                "the signature of the token does not match: it was not made with the private key of that certificate"
            )
        return
    if algorithm not in _HMAC:
        raise AuthenticationError(f"alg {algorithm} does not match the key: kid names a shared secret")
    digest = _HMAC[algorithm]
    if equal(hmac.new(secret, signed, digest).digest(), signature):
        return
    if equal(hmac.new(key.encoded_secret.encode("utf-8"), signed, digest).digest(), signature):
        raise AuthenticationError("the token was signed with the undecoded secret: it must be base64-decoded first")
    raise AuthenticationError("the signature of the token does not match: it was made with another secret")


def _response_key(
    auth_context: AuthContext, key: SigningKey, merchant: Merchant, claims: dict[str, Any]
) -> ResponseMleKey | None:
    """The key for encrypting the response, if the token asks for an encrypted response."""
    name = _claim_name(auth_context, claims, "response_mle_claim")
    if name is None:
        return None
    key_id = _string(claims, name)
    response_key = auth_context.credentials.response_key(merchant.merchant_id, key_id)
    if response_key is None:
        raise AuthenticationError(
            f"{name} {quoted(key_id)} names no response key of merchant {quoted(merchant.merchant_id)}"
        )
    if response_key.owner is not None and response_key.owner != key.owner:
        raise AuthenticationError(
            f"{name} must name a certificate of {quoted(key.owner)}, the owner of the signing key"
        )
    return response_key


def _string(members: dict[str, Any], name: str, kind: str = "claim") -> str:
    if name not in members:
        raise AuthenticationError(f"{kind} {name} is missing")
    value = members[name]
    if not isinstance(value, str) or not value:
        raise AuthenticationError(f"{kind} {name} must be a non-empty string")
    return value


def _number(claims: dict[str, Any], name: str) -> int:
    if name not in claims:
        raise AuthenticationError(f"claim {name} is missing")
    value = claims[name]
    # A Boolean is an int in Python, and JSON allows integers of any length.
    if isinstance(value, bool) or not isinstance(value, int) or not abs(value) < 1e12:
        raise AuthenticationError(f"claim {name} must be a whole number of seconds")
    return value


def _check_request(auth_context: AuthContext, request: ReceivedRequest, claims: dict[str, Any]) -> None:
    method = _string(claims, "request-method")
    cases = {"upper": request.method, "lower": request.method.lower()}
    if method not in cases.values():
        raise AuthenticationError(f"request-method {quoted(method)} is not the method of the request")
    _check_variant(auth_context, "method_case", [name for name, cased in cases.items() if cased == method])
    auth_context.check_host(_string(claims, "request-host"), "request-host")
    path = _string(claims, "request-resource-path")
    paths = {"path-and-query": request.target, "path": request.target.partition("?")[0]}
    if path not in paths.values():
        raise AuthenticationError(f"request-resource-path {quoted(path)} is not the received {quoted(request.target)}")
    _check_variant(auth_context, "resource_path", [name for name, received in paths.items() if received == path])


def _claim_name(auth_context: AuthContext, claims: dict[str, Any], setting: str) -> str | None:
    """The name under which the token has a disputed claim; None if it has none."""
    names = [name for name in CLAIM_VARIANTS[setting] if name in claims]
    if len(names) > 1:
        raise AuthenticationError(
            f"claims {' and '.join(names)} are two names of the same claim: send only one of them"
        )
    if names:
        _check_variant(auth_context, setting, names)
    return names[0] if names else None


def _check_variant(auth_context: AuthContext, setting: str, sent: list[str]) -> None:
    """Raise if none of the variants that were sent is the accepted one."""
    accepted = auth_context.claim_format.get(setting)
    if accepted is not None and accepted not in sent:
        raise AuthenticationError(f"{setting} is {sent[0]}, but this emulator accepts only {accepted}")


def _check_digest(auth_context: AuthContext, request: ReceivedRequest, claims: dict[str, Any]) -> None:
    if request.method not in METHODS_WITH_DIGEST:
        if not claims.keys().isdisjoint(("digest", *CLAIM_VARIANTS["digest_algorithm_claim"])):
            raise AuthenticationError(
                f"{request.method} has no body, so there must be no digest and no digestAlgorithm"
            )
        return
    digest = _string(claims, "digest")
    name = _claim_name(auth_context, claims, "digest_algorithm_claim")
    if name is None:
        raise AuthenticationError("claim digestAlgorithm is missing")
    # The guide's table has lower case. The guide's example and all published code have upper case.
    if claims[name] not in CLAIM_VARIANTS["digest_algorithm"]:
        raise AuthenticationError(f"{name} must be SHA-256")
    _check_variant(auth_context, "digest_algorithm", [claims[name]])
    if digest.startswith("SHA-256="):
        raise AuthenticationError("the claim digest must not begin with SHA-256=")
    if not equal(digest, sha256_base64(request.body)):
        raise AuthenticationError("the claim digest does not match the received body")


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
