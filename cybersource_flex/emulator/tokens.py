"""`POST /flex/v2/tokens`: open the JWE, check it against its capture context, make the transient token."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

from . import cards, jose, submission, tampering
from .call import Call
from .exchange import Answer, jwt_answer
from .fields import BANK_PREFIX, CARD_PREFIX, SHOWN, nest
from .problems import Detail, Problem, Reason
from .state import LIFETIME, Context, Credential, Token, credentials_reference, token_jti

_NUMBER, _CODE, _TYPE = (CARD_PREFIX + leaf for leaf in ("number", "securityCode", "type"))
_CONFIRMATION = BANK_PREFIX + "account.numberConfirm"


def create_token(call: Call) -> Answer:
    """`POST /flex/v2/tokens`."""
    jwe = _jwe(call)
    kid = jwe.header["kid"]
    context = call.state.contexts.get(kid)
    if context is None:
        raise Problem(400, Reason.CONTEXT_NOT_FOUND, "Cannot find the specified key", [Detail("keyId", "Unknown key")])
    try:
        plaintext = jwe.open(context.key)
    except jose.DecryptionError:
        raise Problem(400, Reason.DECRYPTION, "The JWE cannot be decrypted") from None
    data = _data(plaintext, context)
    if call.state.now() >= context.expires_at or call.plays("expired-context"):
        raise Problem(400, Reason.CONTEXT_EXPIRED, "The capture context has expired")
    # What counts as a use is unpublished. Here it is a token made, so that a customer's typing errors are
    # free.
    uses = call.settings.context_uses
    if uses is not None and context.uses >= uses:
        raise Problem(400, Reason.CONTEXT_USED, "The capture context has been used too many times")
    values = submission.check(context, data, call.settings)
    context.uses += 1
    return jwt_answer(201, _issue(call, kid, context, values))


def _jwe(call: Call) -> jose.CompactJwe:
    kind = call.request.media_type
    try:
        if kind == "application/jwt":
            text = call.request.body.decode("ascii")
        elif kind == "application/json":
            # The iOS SDK's envelope.
            text = jose.parse_object(call.request.body).get("keyId", "")
        else:
            raise Problem(415, Reason.MEDIA_TYPE, "Content-Type must be application/jwt")
    except ValueError:
        raise Problem(400, Reason.JSON, "Cannot parse the POST body") from None
    if not isinstance(text, str):
        raise Problem(400, Reason.JSON, "Cannot parse the POST body")
    try:
        return jose.CompactJwe.parse(text)
    except jose.JweError as error:
        raise Problem(400, Reason.JWE, "Invalid JWE format", [Detail("keyId", str(error))]) from None


def _data(plaintext: bytes, context: Context) -> dict[str, Any]:
    """The member `data` of the plaintext, once the other members are found right."""
    try:
        content = jose.parse_object(plaintext)
    except ValueError:
        raise Problem(400, Reason.JSON, "The decrypted content is not a JSON object") from None
    given = content.get("context")
    digest = hashlib.sha256(given.encode("utf-8", "surrogatepass")).digest() if isinstance(given, str) else b""
    if not hmac.compare_digest(digest, context.sha256):
        raise Problem(400, Reason.CONTEXT_INVALID, "The context is not the one issued for this key")
    # The iOS SDK adds the last two.
    if set(content) - {"data", "context", "index", "iat", "jti"}:
        raise Problem(400, Reason.JSON, "The decrypted content has unknown members")
    index, data = content.get("index"), content.get("data")
    if isinstance(index, bool) or index != 0:
        raise Problem(400, Reason.JSON, "index must be 0")
    if not isinstance(data, dict):
        raise Problem(400, Reason.JSON, "data must be an object")
    return data


def _issue(call: Call, kid: str, context: Context, values: dict[str, str]) -> str:
    state = call.state
    issued_at = state.now()
    expires_at = issued_at + LIFETIME
    payload: dict[str, object] = {"iss": "Flex/00"}
    if call.settings.payment_credentials:
        reference = credentials_reference()
        payload["paymentCredentialsReference"] = {context.merchant.merchant_id: reference}
        # The security code may not be stored by anyone after authorisation, so it is not kept even here.
        kept: dict[str, object] = {path: value for path, value in values.items() if path != _CODE}
        credential = Credential(context.merchant, expires_at, nest(kept))
        state.remember(state.credentials, reference, credential)
    jti = token_jti(expires_at)
    payload |= {
        "exp": expires_at,
        "type": context.type,
        "iat": issued_at,
        "jti": jti,
        "content": nest(_content(context, values)),
    }
    state.remember(state.tokens, jti, Token(context.merchant, expires_at, nest(_details(values))))
    return tampering.sign(call, context.key, {"kid": kid, "alg": "RS256"}, payload)


def _content(context: Context, values: dict[str, str]) -> dict[str, object]:
    """The claim `content`: what may be shown as value, everything else as an empty object."""
    content: dict[str, object] = {}
    for path, value in values.items():
        if path == _NUMBER:
            content[path] = _number(context, value)
        elif path != _CONFIRMATION:
            content[path] = {"value": value} if path in SHOWN else {}
    if any(path.startswith(BANK_PREFIX) for path in content):
        content["paymentInformation.paymentType.name"] = {"value": "CHECK"}
    return content


def _number(context: Context, number: str) -> dict[str, object]:
    brands = cards.detect(number)
    shown: dict[str, object] = {"maskedValue": cards.mask(number)}
    if (prefix := cards.prefix(number, context.include_prefix, brands)) is not None:
        shown["bin"] = prefix
    if context.networks is not None:
        # Candidates are filtered by, and ordered as, the networks of the context.
        by_network = {brand.network: brand for brand in brands}
        brands = tuple(by_network[name] for name in context.networks if name in by_network)
    if brands:
        shown["detectedCardTypes"] = [brand.codes[0] for brand in brands]
    return shown


def _details(values: dict[str, str]) -> dict[str, object]:
    """What payment-details shows: the number masked, no security code, no bank account."""
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
