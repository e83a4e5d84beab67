"""The three operations that only read: public keys, payment details, payment credentials."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TypeVar

from . import jose, tampering
from .call import Call
from .exchange import Answer, json_answer, jwt_answer
from .problems import Problem, Reason
from .state import Credential, Token

_Kept = TypeVar("_Kept", Token, Credential)


def public_key(call: Call) -> Answer:
    """`GET /flex/v2/public-keys/{kid}`: long-term keys only. The body of its errors is unpublished."""
    jwk = call.state.long_term_jwk(call.argument)
    if jwk is None or call.plays("404-key"):
        raise Problem(404, Reason.NOT_FOUND, "There is no such key")
    return json_answer(200, jwk)


def payment_details(call: Call) -> Answer:
    """`GET /flex/v2/payment-details/{jti}`: what was captured, masked."""
    token = _own(call.state.tokens, call, "There is no such transient token")
    if call.plays("used-token"):
        raise tampering.used_token()
    return json_answer(200, token.details)


def payment_credentials(call: Call) -> Answer:
    """`GET /flex/v2/payment-credentials/{reference}`: unmasked, encrypted to the merchant's key."""
    state, key = call.state, call.state.credentials_key
    if key is None:
        raise Problem(404, Reason.NOT_FOUND, "Payment credentials are switched off")
    credential = _own(state.credentials, call, "There is no such reference")
    issued_at, merchant_id = state.now(), credential.merchant.merchant_id
    claims: dict[str, object] = {
        "iss": "https://flex.visa.com",
        "sub": merchant_id,
        "aud": merchant_id,
        "exp": credential.expires_at,
        "iat": issued_at,
        "jti": str(uuid.uuid4()),
        **credential.content,
    }
    # The guide prints kid and cty only; alg is what makes it a JWS.
    inner_header: dict[str, object] = {"kid": state.long_term.kid, "cty": "json+pc", "alg": "RS256"}
    inner = tampering.sign(call, state.long_term.key, inner_header, claims)
    header: dict[str, object] = {
        "aud": "psp",
        "sub": merchant_id,
        "kid": state.credentials_kid,
        "cty": "JWT",
        "enc": "A256GCM",
        "exp": credential.expires_at,
        "alg": "RSA-OAEP-256",
        "jti": str(uuid.uuid4()),
    }
    return jwt_answer(200, jose.seal(key.public_key(), header, inner.encode("ascii")))


def _own(kept: Mapping[str, _Kept], call: Call, message: str) -> _Kept:
    """What is kept under the argument, if alive and the caller's; everything else looks alike: 404."""
    found = kept.get(call.argument)
    if found is None or call.state.now() >= found.expires_at:
        raise Problem(404, Reason.NOT_FOUND, message)
    if found.merchant.merchant_id != call.merchant.merchant_id:
        raise Problem(404, Reason.NOT_FOUND, message)
    return found
