"""Checks of public keys, of sessions, and of the capture contexts that they return."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Final

from .._environments import ENVIRONMENTS
from ..auth.jwt import JwtSigner
from ..client.target_origins import MAX_ORIGINS
from ..errors import TokenError, UnknownKeyError
from ..jose.keys import PublicKey, check_kid
from ..jose.verified import USUAL_LIFETIME
from ..transport.messages import Response
from .claim_forms import other_claim_forms
from .run import Context, CredentialsRejected, DecodedToken, Run, has_status, is_success, is_unavailable, parse_object

__all__ = [
    "CARD_FIELDS",
    "MICROFORM",
    "check_flex_session",
    "check_microform_session",
    "check_microform_version",
    "check_public_key",
    "check_rejected_origins",
    "check_rejected_sessions",
    "check_ship_to",
    "check_trailing_slash",
    "check_unknown_key",
    "requested",
]

_SESSIONS: Final = "/microform/v2/sessions"
#: The card fields of the sessions: an empty object stands for a required field.
CARD_FIELDS: Final = {
    "number": {},
    "securityCode": {"required": False},
    "expirationMonth": {"required": True},
    "expirationYear": {"required": True},
}
#: The body of a Microform session.
MICROFORM: Final = {
    "clientVersion": "v2",
    "targetOrigins": ["https://shop.example.com"],
    "allowedCardNetworks": ["VISA"],
    "allowedPaymentTypes": ["CARD"],
}
_CARD: Final = "paymentInformation.card."
_REQUIRED: Final = {_CARD + name for name in ("number", "expirationMonth", "expirationYear")}
_INTEGRITY: Final = re.compile(r"sha256-[A-Za-z0-9+/]{43}=")
# Seconds by which the Date of a response may differ from the `iat` in its body.
_SAME_TIME: Final = 5
_LARGEST_TIME: Final = 1e12
_SESSION_ERROR: Final = {"correlationId", "details", "informationLink", "message", "reason"}

# What an accepted request confirms, by authentication scheme.
_JWT: Final = ("jwt-version", "jwt-issuer", "mle-request")
_ACCEPTED: Final = {
    "jwt_shared_secret": ("shared-secret-encoding", *_JWT),
    "jwt_p12": ("jwt-p12-key-id", *_JWT),
    "http_signature": (
        "shared-secret-encoding",
        "signature-headers",
        "signature-request-target",
        "signature-supported",
    ),
    "bearer": ("oauth-token",),
}


def requested(fields: Mapping[str, Any] = CARD_FIELDS) -> dict[str, Any]:
    """The body of a Flex session for these card fields."""
    return {"fields": {"paymentInformation": {"card": dict(fields)}}}


def check_unknown_key(run: Run) -> None:
    response = run.send(run.request("GET", "/flex/v2/public-keys/00", path="/flex/v2/public-keys/{kid}"))
    run.expect_status("key-unknown", response, 404)
    host = run.configuration.host
    if host in ENVIRONMENTS.values():
        run.results.add("hosts", "confirmed", "the host responds")
    else:
        run.results.add("hosts", "not testable", "this is not a host of CyberSource")
    if host.startswith("https://"):
        run.results.add("tls", "confirmed", "the connection was established")
    else:
        run.results.add("tls", "not testable", "the connection uses http")


def check_flex_session(run: Run) -> None:
    """Create the first capture context. Raises ``CredentialsRejected`` if all claim formats get a 401."""
    response = run.send_session(requested())
    if response.status == 401:
        response = _send_other_claim_forms(run)
    accepted = run.expect_status("session-media-types", response, 201)
    if not accepted and not is_success(response):
        return
    for assumption in ("session-fields-wrapper", *_ACCEPTED.get(run.scheme, ())):
        run.results.add(assumption, "confirmed", "accepted")
    for assumption in {name for names in _ACCEPTED.values() for name in names}:
        run.results.add(assumption, "not testable", "needs another authentication scheme")
    if run.scheme == "http_signature" and getattr(run.signer, "portfolio_id", None) is not None:
        run.results.add("signature-meta-key", "confirmed", "accepted")
    run.results.add("signature-meta-key", "not testable", "needs HTTP Signature with a meta key")
    read = run.read_token(response)
    if read is None:
        return
    run.context = Context(*read)
    _check_context(run, run.context.token)
    _check_date(run, response, run.context.token)


def _send_other_claim_forms(run: Run) -> Response:
    """Try each other claim form until one is accepted, and use it for the rest of the run."""
    if isinstance(run.signer, JwtSigner):
        for assumption, signer in other_claim_forms(run.signer):
            response = run.send(run.sign(run.session_request(requested()), signer=signer))
            if is_success(response):
                run.results.add(assumption, "contradicted", "status 401")
                run.signer = signer
                return response
    raise CredentialsRejected


def _check_context(run: Run, token: DecodedToken) -> None:
    results, header, claims = run.results, token.header, token.claims
    alg = header.get("alg")
    names = f"{len(header)} members, alg {run.describe(alg)}"
    results.expect("context-header", set(header) == {"kid", "alg"} and alg == "RS256", names)
    results.expect("context-issuer", claims.get("iss") == "Flex API", run.describe(claims.get("iss")))
    issued, expires = claims.get("iat"), claims.get("exp")
    is_whole = all(isinstance(value, int) and not isinstance(value, bool) for value in (issued, expires))
    is_number = all(isinstance(value, (int, float)) for value in (issued, expires))
    lifetime = f"{expires - issued:g} s" if is_number else "no times"  # type: ignore[operator]
    whole = "" if is_whole or not is_number else ", with fractions of a second"
    results.expect("context-lifetime", is_whole and expires - issued == USUAL_LIFETIME, lifetime + whole)  # type: ignore[operator]
    flx = claims.get("flx")
    flx = flx if isinstance(flx, dict) else {}
    ctx = claims.get("ctx")
    entries = len(ctx) if isinstance(ctx, list) else 0
    missing = {"flx", "ctx", "iss", "exp", "iat", "jti"} - set(claims)
    observed = f"{len(missing)} claims missing, {entries} entries in ctx"
    results.expect("context-claims", not missing and entries == 1, observed)
    path = flx.get("path")
    results.expect("context-tokens-path", path == "/flex/v2/tokens", run.describe(path))
    _check_one_time_key(run, flx.get("jwk"))
    context_type, data = _type_and_data(token)
    results.expect("context-type", context_type.startswith("api-"), run.describe(context_type))
    required, optional = _names(data.get("requiredFields")), _names(data.get("optionalFields"))
    expected = required | optional == _REQUIRED | {_CARD + "securityCode"}
    results.expect("context-requested-fields", expected, "as requested" if expected else "other fields")
    if expected:
        is_required = required == _REQUIRED
        observed = "the field is required" if is_required else "the field is not required"
        results.expect("session-leaf-required", is_required, observed)


def _names(value: Any) -> set[str]:
    return {name for name in value if isinstance(name, str)} if isinstance(value, list) else set()


def _check_one_time_key(run: Run, jwk: Any) -> None:
    try:
        key = PublicKey(jwk)
    except TokenError:
        run.results.add("context-one-time-key", "contradicted", "not a usable RSA key")
        return
    bits, length = key.modulus.bit_length(), len(key.kid or "")
    observed = f"{bits} bits, kid of {length} characters"
    run.results.expect("context-one-time-key", (bits, length) == (2048, 32), observed)


def _check_date(run: Run, response: Response, token: DecodedToken) -> None:
    """Compare the Date of the response with the time in its body. Both are the host's."""
    issued = token.claims.get("iat")
    try:
        date = parsedate_to_datetime(response.headers.get("Date", "")).replace(tzinfo=UTC).timestamp()
    except (ValueError, OverflowError):
        return
    if isinstance(issued, (int, float)) and abs(issued) < _LARGEST_TIME:
        difference = round(date - issued)
        observed = f"{abs(difference)} s between Date and iat"
        run.results.expect("date-header", abs(difference) <= _SAME_TIME, observed)


def _type_and_data(token: DecodedToken) -> tuple[str, dict[str, Any]]:
    ctx = token.claims.get("ctx")
    first = ctx[0] if isinstance(ctx, list) and ctx and isinstance(ctx[0], dict) else {}
    data = first.get("data")
    return str(first.get("type", "")), data if isinstance(data, dict) else {}


def _is_safe_kid(kid: Any) -> bool:
    """Whether a kid may be sent as a part of a path."""
    try:
        check_kid(kid)
    except UnknownKeyError:
        return False
    return True


def check_public_key(run: Run) -> None:
    """Fetch the key of the first context and verify the context with it."""
    if run.context is None:
        return
    token = run.context.token
    kid = token.header.get("kid")
    is_safe = _is_safe_kid(kid)
    observed = f"{len(kid)} characters" if isinstance(kid, str) else "no kid"
    if not run.results.expect("key-id", is_safe, observed if is_safe or kid is None else f"{observed}, another form"):
        return
    response = run.send(run.request("GET", f"/flex/v2/public-keys/{kid}", path="/flex/v2/public-keys/{kid}"))
    if response.status == 401:
        run.results.add("key-endpoint", "contradicted", "status 401 without credentials")
        return
    if not run.expect_status("key-endpoint", response, 200):
        return
    jwk = parse_object(response)
    try:
        key = PublicKey(jwk)
    except TokenError:
        run.results.add("key-endpoint", "contradicted", "the response is not a JWK")
        return
    run.results.expect("key-use", jwk.get("use") == "enc", run.describe(jwk.get("use")))
    if token.header.get("alg") != "RS256":
        run.results.add("context-signature", "not testable", "the context is not signed with RS256")
        return
    try:
        key.verify(token.parts, "capture context")
    except TokenError:
        run.results.add("context-signature", "contradicted", "the signature does not match the key")
    else:
        run.results.add("context-signature", "confirmed", "verified")


def check_trailing_slash(run: Run) -> None:
    kid = None if run.context is None else run.context.token.header.get("kid")
    if not _is_safe_kid(kid):
        return
    response = run.send(run.request("GET", f"/flex/v2/public-keys/{kid}/", path="/flex/v2/public-keys/{kid}/"))
    if is_unavailable(response):
        run.results.add("trailing-slash", "not testable", f"status {response.status}")
    else:
        run.results.expect("trailing-slash", not is_success(response), f"status {response.status}")


def check_ship_to(run: Run) -> None:
    fields = {"shipTo": {"email": {"required": False}, "phoneNumber": {"required": False}}}
    body = {"fields": {**requested()["fields"], "orderInformation": fields}}
    run.expect_status("session-shipto-contact", run.send_session(body), 201)


def check_microform_session(run: Run) -> None:
    response = run.send_session(MICROFORM, _SESSIONS)
    if not run.expect_status("microform-version", response, 201):
        return
    read = run.read_token(response)
    if read is None:
        return
    run.microform_context = Context(*read)
    context_type, data = _type_and_data(run.microform_context.token)
    run.results.expect("context-type", context_type.startswith("mf-"), run.describe(context_type))
    library, integrity = data.get("clientLibrary"), data.get("clientLibraryIntegrity")
    # A local host may use http.
    origins = ("https://", run.configuration.host + "/")
    is_url = isinstance(library, str) and library.startswith(origins)
    is_hash = isinstance(integrity, str) and _INTEGRITY.fullmatch(integrity) is not None
    observed = f"{'a' if is_url else 'no'} URL, {'a' if is_hash else 'no'} hash"
    run.results.expect("microform-library", is_url and is_hash, observed)


def check_microform_version(run: Run) -> None:
    response = run.send_session({**MICROFORM, "clientVersion": "v2.0"}, _SESSIONS)
    run.expect_status("microform-version-long", response, 201)


def check_rejected_sessions(run: Run) -> None:
    response = run.send_session(requested({**CARD_FIELDS, "nickname": {}}))
    if run.expect_status("session-unknown-field", response, 400):
        body = parse_object(response)
        has_reason = isinstance(body.get("message"), str) and isinstance(body.get("reason"), str)
        is_known = has_reason and set(body) <= _SESSION_ERROR
        observed = f"{len(body)} members, {'with' if has_reason else 'without'} message and reason"
        run.results.expect("session-error-body", is_known, observed)
    response = run.send_session({**MICROFORM, "allowedPaymentTypes": ["CARD", "PROBE"]}, _SESSIONS)
    run.expect_status("microform-payment-types", response, 400)
    _check_microform_error(run, response)


def check_rejected_origins(run: Run) -> None:
    findings = []
    for origin, what in (("http://shop.example.com", "http"), ("https://*.example.com", "a wildcard")):
        response = run.send_session({**MICROFORM, "targetOrigins": [origin]}, _SESSIONS)
        findings.append((has_status(response, 400), f"{what}: status {response.status}"))
    run.conclude("microform-origins", findings)
    response = run.send_session({**MICROFORM, "targetOrigins": ["http://127.0.0.1:3000"]}, _SESSIONS)
    run.expect_status("microform-loopback-origin", response, 400)
    findings = []
    for count, status in ((MAX_ORIGINS, 201), (MAX_ORIGINS + 1, 400)):
        origins = [f"https://shop{number}.example.com" for number in range(count)]
        response = run.send_session({**MICROFORM, "targetOrigins": origins}, _SESSIONS)
        findings.append((has_status(response, status), f"{count} origins: status {response.status}"))
    run.conclude("microform-origin-count", findings)


def _check_microform_error(run: Run, response: Response) -> None:
    if response.status != 400:
        return
    body = parse_object(response)
    status = body.get("responseStatus")
    names = {"status", "reason", "message"}
    is_documented = isinstance(status, dict) and names <= set(status)
    observed = ", ".join(run.describe(name) for name in sorted(body)[:5]) or "no JSON object"
    run.results.expect("microform-error-body", is_documented, f"members: {observed}")
