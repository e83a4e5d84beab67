"""Checks of transient tokens. They send public test cards, and are run against test hosts only."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ..cards.test_cards import TEST_CARDS
from ..errors import TokenError
from ..jose.keys import PublicKey
from ..jose.transient_token import ISSUER_PATTERN, JTI_PATTERN
from ..jose.verified import USUAL_LIFETIME
from ..transport.messages import Response
from .run import Context, DecodedToken, Run, is_success, is_unavailable, parse_object, with_headers
from .session_checks import MICROFORM, requested

__all__ = [
    "check_card_rules",
    "check_cors",
    "check_dotted_data",
    "check_error_body",
    "check_field_rules",
    "check_json_body",
    "check_microform_token",
    "check_payment_details",
    "check_reuse",
    "check_token",
]

_PATH: Final = "/flex/v2/tokens"
_NUMBER: Final = TEST_CARDS["visa"]
_CODE: Final = "838"
# Published as a number with a wrong check digit.
_WRONG_CHECK_DIGIT: Final = "4111111111111112"
_MASKED: Final = re.compile(r"[X*]{6,13}1111")
# The id becomes a part of a path.
_SAFE_JTI: Final = re.compile(r"[A-Za-z0-9-]{1,128}")


def _card(**changes: str) -> dict[str, str]:
    year = str(time.gmtime().tm_year + 3)
    card = {"number": _NUMBER, "securityCode": _CODE, "expirationMonth": "12", "expirationYear": year, **changes}
    return {name: value for name, value in card.items() if value}


def _nested(card: Mapping[str, str]) -> dict[str, Any]:
    return {"paymentInformation": {"card": dict(card)}}


def _encrypt(context: Context, data: Mapping[str, Any]) -> str | None:
    """Encrypt data to the key of a context. None if the context has no usable key."""
    key = _one_time_key(context.token)
    if key is None:
        return None
    return key.encrypt(json.dumps({"data": data, "context": context.jwt, "index": 0}).encode("ascii"))


def _one_time_key(context: DecodedToken) -> PublicKey | None:
    flx = context.claims.get("flx")
    try:
        return PublicKey(flx["jwk"]) if isinstance(flx, dict) and "jwk" in flx else None
    except TokenError:
        return None


def _post(run: Run, context: Context, data: Mapping[str, Any], *, as_json: bool = False) -> Response | None:
    jwe = _encrypt(context, data)
    if jwe is None:
        return None
    run.private.add(jwe)
    body = json.dumps({"keyId": jwe}) if as_json else jwe
    media_type = "application/json; charset=utf-8" if as_json else "application/jwt"
    request = run.request("POST", _PATH, body.encode("ascii"), accept="*/*")
    return run.send(with_headers(request, {"Content-Type": media_type}))


def _post_with_new_context(run: Run, data: Mapping[str, Any], *, as_json: bool = False) -> Response | None:
    """Send data with a new context, because rejected data may count as a use of the context."""
    context = run.new_context(requested())
    return None if context is None else _post(run, context, data, as_json=as_json)


def _expect_status(run: Run, assumption: str, response: Response | None, status: int) -> bool:
    """Expect this status. Without a response, no context was issued, or it has no usable key."""
    if response is None:
        run.results.add(assumption, "not testable", "no usable capture context")
        return False
    return run.expect_status(assumption, response, status)


def check_token(run: Run) -> None:
    """Create the first transient token, with the first context."""
    if run.context is None:
        return
    response = _post(run, run.context, _nested(_card()))
    if response is None:
        return
    if response.status == 401:
        run.results.add("tokens-unauthenticated", "contradicted", "status 401 without credentials")
        return
    if not is_success(response):
        # The body and its type are the first thing that the host checks.
        run.expect_status("tokens-jwe-body", response, 201)
        return
    for assumption in ("tokens-unauthenticated", "tokens-jwe-body", "tokens-encryption", "tokens-data-nested"):
        run.results.add(assumption, "confirmed", "accepted")
    run.expect_status("tokens-status", response, 201)
    digest = response.headers.get("Digest")
    expected = "SHA-256=" + base64.b64encode(hashlib.sha256(response.body).digest()).decode("ascii")
    observed = "no Digest" if digest is None else "the correct hash" if digest == expected else "another hash"
    run.results.expect("tokens-digest", digest == expected, observed)
    read = run.read_token(response)
    if read is not None:
        run.token = read[1]
        _check_content(run, run.context.token, run.token)


def _check_content(run: Run, context: DecodedToken, token: DecodedToken) -> None:
    results, claims = run.results, token.claims
    key = _one_time_key(context)
    if key is None:
        return
    try:
        key.verify(token.parts, "transient token")
        observed = "verified" if token.header.get("kid") == key.kid else "verified, but with another kid"
    except TokenError:
        observed = "the signature does not match the one-time key"
    results.expect("token-key", observed == "verified", observed)
    issuer, jti = claims.get("iss"), claims.get("jti")
    is_issuer = isinstance(issuer, str) and ISSUER_PATTERN.fullmatch(issuer) is not None
    results.expect("token-issuer", is_issuer, run.describe(issuer))
    ctx = context.claims.get("ctx")
    context_type = ctx[0].get("type") if isinstance(ctx, list) and ctx and isinstance(ctx[0], dict) else None
    token_type = claims.get("type")
    results.expect("token-type", token_type == context_type, run.describe(token_type))
    issued, expires = claims.get("iat"), claims.get("exp")
    is_number = isinstance(issued, (int, float)) and isinstance(expires, (int, float))
    lifetime = expires - issued if is_number else None  # type: ignore[operator]
    observed = "no times" if lifetime is None else f"{lifetime:g} s"
    results.expect("token-lifetime", lifetime == USUAL_LIFETIME, observed)
    is_id = isinstance(jti, str) and JTI_PATTERN.fullmatch(jti) is not None
    observed = f"{len(jti)} characters" if isinstance(jti, str) else "no jti"
    results.expect("token-id", is_id, observed if is_id or observed == "no jti" else f"{observed}, another form")
    card = claims
    for name in ("content", "paymentInformation", "card"):
        child = card.get(name)
        card = child if isinstance(child, dict) else {}
    number = card.get("number")
    masked = number.get("maskedValue") if isinstance(number, dict) else None
    is_masked = isinstance(masked, str) and _MASKED.fullmatch(masked) is not None
    has_values = card.get("expirationMonth") == {"value": "12"} and card.get("securityCode") == {}
    observed = f"{len(card)} card fields, {'a' if is_masked else 'no'} masked number"
    results.expect("token-content", is_masked and has_values, observed)
    strings = list(_strings(claims))
    is_hidden = not any(value == _CODE or _NUMBER in value for value in strings)
    observed = "neither number nor code" if is_hidden else "the number or the code"
    results.expect("token-hides-code", is_hidden, observed)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for child in value.values():
            yield from _strings(child)
    elif isinstance(value, list):
        for child in value:
            yield from _strings(child)


def check_reuse(run: Run) -> None:
    if run.token is not None and run.context is not None:
        response = _post(run, run.context, _nested(_card()))
        _expect_status(run, "tokens-context-reuse", response, 201)


def check_dotted_data(run: Run) -> None:
    data = {f"paymentInformation.card.{name}": value for name, value in _card().items()}
    _expect_status(run, "tokens-data-dotted", _post_with_new_context(run, data), 201)


def check_json_body(run: Run) -> None:
    response = _post_with_new_context(run, _nested(_card()), as_json=True)
    _expect_status(run, "tokens-json-body", response, 201)


def check_microform_token(run: Run) -> None:
    context = run.new_context(MICROFORM, "/microform/v2/sessions")
    response = None if context is None else _post(run, context, _card())
    _expect_status(run, "tokens-data-microform", response, 201)


def check_error_body(run: Run) -> None:
    """Send a security code with two digits. Its error was observed at the real host."""
    response = _post_with_new_context(run, _nested(_card(securityCode="12")))
    if response is None or response.status != 400:
        _expect_status(run, "tokens-error-body", response, 400)
        return
    status = parse_object(response).get("responseStatus")
    details = status.get("details") if isinstance(status, dict) else None
    entries = details if isinstance(details, list) else []
    locations = [entry.get("location") for entry in entries if isinstance(entry, dict)]
    observed = ", ".join(map(run.describe, locations[:3])) or "no details"
    run.results.expect("tokens-error-body", "captureData.securityCode" in locations, observed)


def check_field_rules(run: Run) -> None:
    data = {**_nested(_card()), "orderInformation": {"billTo": {"locality": "Foster City"}}}
    _expect_status(run, "tokens-unlisted-field", _post_with_new_context(run, data), 400)
    response = _post_with_new_context(run, _nested(_card(expirationYear="")))
    _expect_status(run, "tokens-missing-field", response, 400)


def check_card_rules(run: Run) -> None:
    response = _post_with_new_context(run, _nested(_card(number=_WRONG_CHECK_DIGIT)))
    _expect_status(run, "tokens-luhn", response, 400)
    last_year = str(time.gmtime().tm_year - 1)
    response = _post_with_new_context(run, _nested(_card(expirationYear=last_year)))
    _expect_status(run, "tokens-expiry", response, 400)


def check_cors(run: Run) -> None:
    """Send the preflight that a browser sends before a page's request."""
    headers = {
        "Origin": "https://shop.example.com",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    response = run.send(with_headers(run.request("OPTIONS", _PATH, accept="*/*"), headers))
    if is_unavailable(response):
        run.results.add("tokens-cors", "not testable", f"status {response.status}")
        return
    allowed = response.headers.get("Access-Control-Allow-Origin")
    observed = f"status {response.status}, {'no allowed origin' if allowed is None else 'an allowed origin'}"
    run.results.expect("tokens-cors", is_success(response) and allowed in ("*", headers["Origin"]), observed)


def check_payment_details(run: Run) -> None:
    jti = None if run.token is None else run.token.claims.get("jti")
    if not isinstance(jti, str) or not _SAFE_JTI.fullmatch(jti):
        return
    target = f"/flex/v2/payment-details/{jti}"
    response = run.send(run.sign(run.request("GET", target, path="/flex/v2/payment-details/{jti}")))
    if response.status != 200:
        run.expect_status("payment-details", response, 200)
        return
    body = parse_object(response)
    for name in ("paymentInformation", "card"):
        child = body.get(name)
        body = child if isinstance(child, dict) else {}
    number = body.get("number")
    is_masked = isinstance(number, str) and _MASKED.fullmatch(number) is not None
    run.results.expect("payment-details", is_masked, f"status 200, {'a' if is_masked else 'no'} masked number")
