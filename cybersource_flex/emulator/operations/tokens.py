"""The token operations: create transient tokens; return public keys, payment details, payment credentials."""

from __future__ import annotations

import hashlib
import hmac
import uuid
from collections.abc import Mapping
from typing import Any, TypeVar

from .. import jose
from ..faults import content_faults
from ..server.error_responses import ApiError, ErrorDetail, Reason
from ..server.messages import Response, json_response, jwt_response
from ..server.request_context import RequestContext
from . import cards
from .store import LIFETIME, IssuedContext, IssuedToken, StoredCredentials, credentials_reference, token_jti
from .validation import BANK_PREFIX, CARD_PREFIX, VISIBLE, location, nest, validate_captured_data

_NUMBER, _CODE, _TYPE = (CARD_PREFIX + leaf for leaf in ("number", "securityCode", "type"))
_CONFIRMATION = BANK_PREFIX + "account.numberConfirm"


def create_token(context: RequestContext) -> Response:
    """`POST /flex/v2/tokens`: decrypt the JWE, check the card data against its context, issue a token."""
    if (scenario := context.active_scenario("token-error")) is not None:
        detail = ErrorDetail(location(_NUMBER), "Rejected by scenario")
        raise ApiError(400, scenario.string("reason"), "Rejected by scenario", [detail])
    jwe = _parse_jwe(context)
    kid = jwe.header["kid"]
    capture_context = context.store.contexts.get(kid)
    if capture_context is None:
        raise ApiError(
            400, Reason.CONTEXT_NOT_FOUND, "Cannot find the specified key", [ErrorDetail("keyId", "Unknown key")]
        )
    try:
        plaintext = jwe.decrypt(capture_context.key)
    except jose.DecryptionError:
        raise ApiError(400, Reason.DECRYPTION, "The JWE cannot be decrypted") from None
    data = _captured_data(plaintext, capture_context)
    if context.store.now() >= capture_context.expires_at or context.active_scenario("expired-context"):
        raise ApiError(400, Reason.CONTEXT_EXPIRED, "The capture context has expired")
    # What counts as a use is unpublished. Here it is an issued token, so that rejected card data does not count.
    settings = context.settings
    uses = settings.context_uses
    if uses is not None and capture_context.uses >= uses:
        message = "The capture context has been used too many times"
        details = [ErrorDetail("keyId", message, Reason.QUOTA)] if context.settings.quota_details else []
        raise ApiError(400, Reason.CONTEXT_USED, message, details)
    now = settings.clock() if settings.check_expiry else None
    values = validate_captured_data(capture_context, data, check_luhn=settings.check_luhn, now=now)
    capture_context.uses += 1
    return jwt_response(201, _issue(context, kid, capture_context, values))


def _parse_jwe(context: RequestContext) -> jose.CompactJwe:
    media_type = context.request.media_type
    try:
        if media_type == "application/jwt":
            jwe = context.body.decode("ascii")
        elif media_type == "application/json":
            # The iOS SDK sends the JWE in a JSON object.
            jwe = jose.parse_object(context.body).get("keyId", "")
        else:
            raise ApiError(415, Reason.MEDIA_TYPE, "Content-Type must be application/jwt")
    except jose.DuplicateMemberError:
        raise ApiError(400, Reason.JSON, "The POST body has a member twice") from None
    except ValueError:
        raise ApiError(400, Reason.JSON, "Cannot parse the POST body") from None
    if not isinstance(jwe, str):
        raise ApiError(400, Reason.JSON, "Cannot parse the POST body")
    try:
        return jose.CompactJwe.parse(jwe)
    except jose.JweError as error:
        raise ApiError(400, Reason.JWE, "Invalid JWE format", [ErrorDetail("keyId", str(error))]) from None


def _captured_data(plaintext: bytes, capture_context: IssuedContext) -> dict[str, Any]:
    """Check all members of the plaintext and return `data`."""
    try:
        content = jose.parse_object(plaintext)
    except jose.DuplicateMemberError:
        raise ApiError(400, Reason.JSON, "The decrypted content has a member twice") from None
    except ValueError:
        raise ApiError(400, Reason.JSON, "The decrypted content is not a JSON object") from None
    token = content.get("context")
    digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest() if isinstance(token, str) else b""
    if not hmac.compare_digest(digest, capture_context.sha256):
        raise ApiError(400, Reason.CONTEXT_INVALID, "The context is not the one issued for this key")
    # The iOS SDK adds iat and jti.
    if set(content) - {"data", "context", "index", "iat", "jti"}:
        raise ApiError(400, Reason.JSON, "The decrypted content has unknown members")
    index, data = content.get("index"), content.get("data")
    if isinstance(index, bool) or index != 0:
        raise ApiError(400, Reason.JSON, "index must be 0")
    if not isinstance(data, dict):
        raise ApiError(400, Reason.JSON, "data must be an object")
    return data


def _issue(context: RequestContext, kid: str, capture_context: IssuedContext, values: dict[str, str]) -> str:
    store = context.store
    issued_at = store.now()
    expires_at = issued_at + LIFETIME
    reference = None
    if context.settings.payment_credentials:
        reference = credentials_reference()
        credential = StoredCredentials(capture_context.merchant, expires_at, credentials_content(values))
        store.put(store.credentials, reference, credential)
    jti = content_faults.unusual_jti(context) or token_jti(expires_at)
    claims = token_claims(
        capture_context, values, jti=jti, issued_at=issued_at, expires_at=expires_at, reference=reference
    )
    store.put(store.tokens, jti, IssuedToken(capture_context.merchant, expires_at, nest(_details(values))))
    return content_faults.sign(context, capture_context.key, {"kid": kid, "alg": "RS256"}, claims)


def token_claims(
    capture_context: IssuedContext,
    values: dict[str, str],
    *,
    jti: str,
    issued_at: int,
    expires_at: int,
    reference: str | None = None,
) -> dict[str, object]:
    """The claims of a transient token. Their order is that of the published samples.

    Args:
        capture_context: the context that the token is for.
        values: the validated values by dotted path.
        jti: id of the token.
        issued_at: seconds since the epoch.
        expires_at: seconds since the epoch.
        reference: payment-credentials reference of the context's merchant, if there is one.
    """
    claims: dict[str, object] = {"iss": "Flex/00"}
    if reference is not None:
        claims["paymentCredentialsReference"] = {capture_context.merchant.merchant_id: reference}
    return claims | {
        "exp": expires_at,
        "type": capture_context.type,
        "iat": issued_at,
        "jti": jti,
        "content": nest(_content(capture_context, values)),
    }


def _content(capture_context: IssuedContext, values: dict[str, str]) -> dict[str, object]:
    """The claim `content`: visible fields with their value, all others as an empty object."""
    content: dict[str, object] = {}
    for path, value in values.items():
        if path == _NUMBER:
            content[path] = _number(capture_context, value)
        elif path != _CONFIRMATION:
            content[path] = {"value": value} if path in VISIBLE else {}
    if any(path.startswith(BANK_PREFIX) for path in content):
        content["paymentInformation.paymentType.name"] = {"value": "CHECK"}
    return content


def _number(capture_context: IssuedContext, number: str) -> dict[str, object]:
    brands = cards.detect(number)
    claim: dict[str, object] = {"maskedValue": cards.mask(number)}
    if (prefix := cards.prefix(number, capture_context.include_prefix, brands)) is not None:
        claim["bin"] = prefix
    if capture_context.networks is not None:
        # Only networks of the context, in the context's order.
        by_network = {brand.network: brand for brand in brands}
        brands = tuple(by_network[name] for name in capture_context.networks if name in by_network)
    if brands:
        claim["detectedCardTypes"] = [brand.codes[0] for brand in brands]
    return claim


def _details(values: dict[str, str]) -> dict[str, object]:
    """The response of payment-details: the number masked, no security code, no bank account."""
    details: dict[str, object] = {}
    for path, value in values.items():
        if path == _NUMBER:
            details[path] = cards.mask(value)
            brands = cards.detect(value)
            if len(brands) == 1 and _TYPE not in values:
                details[_TYPE] = brands[0].codes[0]
        elif path != _CODE and not path.startswith(BANK_PREFIX):
            details[path] = value
    return details


_Record = TypeVar("_Record", IssuedToken, StoredCredentials)


def public_key(context: RequestContext) -> Response:
    """`GET /flex/v2/public-keys/{kid}`: a long-term key. The body of its errors is unpublished."""
    jwk = context.store.long_term_jwk(context.path_argument)
    if jwk is None or context.active_scenario("404-key"):
        raise ApiError(404, Reason.NOT_FOUND, "There is no such key")
    return json_response(200, jwk)


def payment_details(context: RequestContext) -> Response:
    """`GET /flex/v2/payment-details/{jti}`: the captured data, masked."""
    token = _find(context.store.tokens, context, "There is no such transient token")
    if context.active_scenario("used-token"):
        raise content_faults.used_token()
    return json_response(200, token.details)


def payment_credentials(context: RequestContext) -> Response:
    """`GET /flex/v2/payment-credentials/{reference}`: the unmasked data, encrypted to the merchant."""
    store, key = context.store, context.store.credentials_key
    if key is None:
        raise ApiError(404, Reason.NOT_FOUND, "Payment credentials are disabled")
    credential = _find(store.credentials, context, "There is no such reference")
    # The guide shows only kid and cty, but a JWS needs alg.
    inner_header: dict[str, object] = {"kid": store.long_term.kid, "cty": "json+pc", "alg": "RS256"}
    inner = content_faults.sign(
        context, store.long_term.key, inner_header, credentials_claims(credential, issued_at=store.now())
    )
    header = credentials_header(credential, store.credentials_kid)
    return jwt_response(200, jose.encrypt(key.public_key(), header, inner.encode("ascii")))


def credentials_content(values: dict[str, str]) -> dict[str, object]:
    """The captured data in payment credentials, without the security code.

    PCI DSS forbids storing the security code after authorisation, so the emulator does not store it either.
    """
    stored: dict[str, object] = {path: value for path, value in values.items() if path != _CODE}
    return nest(stored)


def credentials_claims(credential: StoredCredentials, *, issued_at: int) -> dict[str, object]:
    """The claims of payment credentials."""
    return {
        "iss": "https://flex.visa.com",
        "sub": credential.merchant.merchant_id,
        "aud": credential.merchant.merchant_id,
        "exp": credential.expires_at,
        "iat": issued_at,
        "jti": str(uuid.uuid4()),
        **credential.content,
    }


def credentials_header(credential: StoredCredentials, kid: str) -> dict[str, object]:
    """The header of the JWE around payment credentials. `kid` is the id of the merchant's key."""
    return {
        "aud": "psp",
        "sub": credential.merchant.merchant_id,
        "kid": kid,
        "cty": "JWT",
        "enc": "A256GCM",
        "exp": credential.expires_at,
        "alg": "RSA-OAEP-256",
        "jti": str(uuid.uuid4()),
    }


def _find(records: Mapping[str, _Record], context: RequestContext, message: str) -> _Record:
    """The record that the path names. 404 if it is unknown, expired or another merchant's."""
    record = records.get(context.path_argument)
    if record is None or context.store.now() >= record.expires_at:
        raise ApiError(404, Reason.NOT_FOUND, message)
    if record.merchant.merchant_id != context.merchant.merchant_id:
        raise ApiError(404, Reason.NOT_FOUND, message)
    return record
