"""`POST /pts/v2/payments` with a transient token: a double for tests, not a simulator of processors.

It checks the token, and then authorises the payment, or declines it for the amounts in `DECLINED_AMOUNTS`, which are
the emulator's own. It implements nothing else of payments: other members of the request have no effect, nothing can be
captured, refunded or fetched afterwards, and a token can pay any number of times. The shapes of responses and errors
are those of the specification.
"""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from types import MappingProxyType
from typing import Any, NoReturn

from .. import jose
from ..faults import content_faults
from ..server.error_responses import ApiError, ErrorDetail, Reason, submit_time
from ..server.messages import Response, json_response
from ..server.request_context import RequestContext
from .store import IssuedToken

# Reason of the decline by `totalAmount`, in any currency. All other amounts are authorised.
DECLINED_AMOUNTS: Mapping[Decimal, str] = MappingProxyType(
    {
        Decimal(1001): "PROCESSOR_DECLINED",
        Decimal(1002): "INSUFFICIENT_FUND",
        Decimal(1003): "EXPIRED_CARD",
        Decimal(1004): "STOLEN_LOST_CARD",
    }
)
PATH = "/pts/v2/payments"

_MEDIA_TYPES = ("application/hal+json", "application/json")
_JTI, _JWT = "tokenInformation.jti", "tokenInformation.transientTokenJwt"
_NUMBER = "paymentInformation.card.number"
_AMOUNT, _CURRENCY = (f"orderInformation.amountDetails.{name}" for name in ("totalAmount", "currency"))
# The sandbox documents that it refuses negative amounts and 100000000000.
_VALID_AMOUNT = re.compile(r"[0-9]{1,11}(?:\.[0-9]{1,3})?")
_VALID_CURRENCY = re.compile(r"[A-Z]{3}")


def create_payment(context: RequestContext) -> Response:
    """Check the token and the amount, and authorise or decline the payment. Both are status 201."""
    request = context.request
    if not any(map(request.accepts, _MEDIA_TYPES)):
        raise ApiError(406, Reason.NOT_ACCEPTABLE, f"Only {' and '.join(_MEDIA_TYPES)} are available")
    if request.media_type != "application/json":
        raise ApiError(415, Reason.MEDIA_TYPE, "Content-Type must be application/json")
    try:
        body = jose.parse_object(context.body)
    except jose.DuplicateMemberError:
        raise ApiError(400, Reason.INVALID_DATA, "The body has a member twice") from None
    except ValueError:
        raise ApiError(400, Reason.INVALID_DATA, "The body is not a JSON object") from None
    token = _find_token(context, body)
    amount, currency = _amount(body, token)
    code = _member(body, "clientReferenceInformation.code")
    if code is not None and not isinstance(code, str):
        _invalid("clientReferenceInformation.code", "code must be a string")
    return _respond(context, token, amount, currency, code)


def _find_token(context: RequestContext, body: dict[str, Any]) -> IssuedToken:
    """The token that the request names, of the caller and not expired."""
    jwt, jti = _member(body, _JWT), _member(body, _JTI)
    if jwt is None and jti is None:
        message = "The emulator pays only with a transient token"
        raise ApiError(400, Reason.MISSING_FIELD, message, [ErrorDetail(_JWT, message)])
    if jwt is not None:
        token_id = _verify(context, jwt)
        if jti is not None and jti != token_id:
            _invalid(_JTI, "jti is not that of transientTokenJwt")
        jti = token_id
    token = context.store.tokens.get(jti) if isinstance(jti, str) else None
    if token is None:
        _invalid(_JTI, "The transient token is unknown")
    if context.store.now() >= token.expires_at:
        _invalid(_JTI, "The transient token has expired")
    if token.merchant.merchant_id != context.merchant.merchant_id:
        _invalid(_JTI, "The transient token belongs to another merchant")
    if context.active_scenario("used-token"):
        raise content_faults.used_token()
    if not isinstance(_member(token.details, _NUMBER), str):
        message = "The transient token contains no card number, and the emulator pays only with cards"
        raise ApiError(400, Reason.MISSING_FIELD, message, [ErrorDetail(_NUMBER, message)])
    return token


def _verify(context: RequestContext, jwt: object) -> str:
    """The `jti` of a transient token whose signature is that of its capture context."""
    try:
        if not isinstance(jwt, str) or not jwt.isascii():
            raise ValueError("not a string of ASCII characters")
        signed, _, signature = jwt.rpartition(".")
        header, payload = signed.split(".")
        head, claims = jose.parse_object(jose.decode(header)), jose.parse_object(jose.decode(payload))
        signature_bytes = jose.decode(signature)
    except ValueError:
        _invalid(_JWT, "transientTokenJwt is not a JWT")
    kid, jti = head.get("kid"), claims.get("jti")
    capture_context = context.store.contexts.get(kid) if isinstance(kid, str) else None
    if capture_context is None:
        _invalid(_JWT, "The transient token is unknown")
    key = capture_context.key.public_key()
    if head.get("alg") != "RS256" or not jose.verifies(key, "RS256", signed.encode("ascii"), signature_bytes):
        _invalid(_JWT, "The signature of the transient token does not match")
    return jti if isinstance(jti, str) else ""


def _amount(body: dict[str, Any], token: IssuedToken) -> tuple[str, str]:
    """Amount and currency of the request, or else those that were captured in the token."""
    values = []
    for field, form, expected in (
        (_AMOUNT, _VALID_AMOUNT, 'totalAmount must be a string such as "21.00", at most 99999999999'),
        (_CURRENCY, _VALID_CURRENCY, "currency must be three capital letters"),
    ):
        value = _member(body, field)
        if value is None:
            value = _member(token.details, field)
        if value is None:
            message = f"{field.rpartition('.')[2]} is missing"
            raise ApiError(400, Reason.MISSING_FIELD, message, [ErrorDetail(field, message)])
        if not isinstance(value, str) or not form.fullmatch(value):
            _invalid(field, expected)
        values.append(value)
    amount, currency = values
    return amount, currency


def _respond(context: RequestContext, token: IssuedToken, amount: str, currency: str, code: str | None) -> Response:
    payment_id = "7" + "".join(secrets.choice(string.digits) for _ in range(21))
    links = {"self": {"method": "GET", "href": f"{PATH}/{payment_id}"}}
    reference = {} if code is None else {"clientReferenceInformation": {"code": code}}
    result: dict[str, object] = {
        "id": payment_id,
        "submitTimeUtc": submit_time(context.store.now()),
        **reference,
    }
    reason = DECLINED_AMOUNTS.get(Decimal(amount))
    processor = {"responseDetails": "emulator: no processor was asked"}
    if reason is not None:
        result |= {
            "status": "DECLINED",
            "errorInformation": {"reason": reason, "message": f"The emulator declines the amount {amount}"},
            "processorInformation": processor,
        }
    else:
        for name, path in (("authReversal", "reversals"), ("capture", "captures")):
            links[name] = {"method": "POST", "href": f"{PATH}/{payment_id}/{path}"}
        card_type = _member(token.details, "paymentInformation.card.type")
        card = {} if card_type is None else {"paymentInformation": {"card": {"type": card_type}}}
        result |= {
            "status": "AUTHORIZED",
            "reconciliationId": payment_id[-16:],
            "orderInformation": {"amountDetails": {"authorizedAmount": amount, "currency": currency}},
            **card,
            "processorInformation": {"approvalCode": "888888", **processor},
        }
    response = json_response(201, {"_links": links, **result})
    return replace(response, media_type=f"{_MEDIA_TYPES[0]};charset=utf-8")


def _member(tree: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path; None if it is absent. ApiError if a member on the way is not an object."""
    value: Any = tree
    names = path.split(".")
    for position, name in enumerate(names):
        if value is None:
            return None
        if not isinstance(value, dict):
            field = ".".join(names[:position])
            _invalid(field, f"{field} must be an object")
        value = value.get(name)
    return value


def _invalid(field: str, message: str) -> NoReturn:
    raise ApiError(400, Reason.INVALID_DATA, message, [ErrorDetail(field, message)])
