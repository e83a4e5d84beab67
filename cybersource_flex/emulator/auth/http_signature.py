"""HTTP Signature: check the HMAC in the `Signature` header, which covers the request line and selected headers.

The order of the signed lines is fixed. The request line is named `request-target`, without the parentheses that were
used until March 2024. The signed merchant line contains the owner of the key. If the key is a meta key, the owner is
not the merchant in the header `v-c-merchant-id`.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b64encode
from email.utils import formatdate, parsedate_to_datetime

from ..server.messages import ReceivedRequest
from .auth_context import METHODS_WITH_DIGEST, AuthContext, AuthenticationError, Caller, equal, quoted, sha256_base64
from .certificates import Certificate
from .credentials import Merchant, SigningKey

_PARAMETER = re.compile(r'\s*([A-Za-z]+)="([^"]*)"\s*(?:,|$)')
_PARAMETERS = {"keyid", "algorithm", "headers", "signature"}


def authenticate_http_signature(auth_context: AuthContext, request: ReceivedRequest) -> Caller:
    """Return the caller, or raise `AuthenticationError`."""
    parameters = _parse(request.headers["signature"])
    if parameters["algorithm"] != "HmacSHA256":
        raise AuthenticationError("algorithm of the signature must be HmacSHA256")
    names = _signed_names(request.method)
    if "(" in parameters["headers"]:
        raise AuthenticationError(
            "(request-target) is signed with parentheses: expected request-target without them, as since March 2024"
        )
    if parameters["headers"] != " ".join(names):
        raise AuthenticationError(
            f"headers= must list {' '.join(names)!r} in this order, not {quoted(parameters['headers'])}"
        )
    for header in ("host", "date", "v-c-merchant-id"):
        if not request.headers.get(header):
            raise AuthenticationError(f"header {header} is missing")
    key = auth_context.key(parameters["keyid"])
    secret = key.secret_or_certificate
    if isinstance(secret, Certificate):
        raise AuthenticationError("keyid names a certificate: an HTTP Signature needs a shared secret")
    merchant = auth_context.merchant_for(key, request.headers["v-c-merchant-id"])
    lines = {
        "host": request.headers["host"],
        "date": request.headers["date"],
        "request-target": f"{request.method.lower()} {request.target}",
        "v-c-merchant-id": key.owner,
    }
    if "digest" in names:
        lines["digest"] = _checked_digest(request)
    if not equal(_sign(secret, lines, names), parameters["signature"]):
        raise AuthenticationError(
            _explain_mismatch(auth_context, key, secret, merchant, lines, names, parameters["signature"])
        )
    # Checked after the signature, because only then is the sender authenticated.
    auth_context.check_host(lines["host"], "the signed host")
    _check_date(auth_context, lines["date"])
    return Caller(merchant, "http-signature")


def _signed_names(method: str) -> tuple[str, ...]:
    if method in METHODS_WITH_DIGEST:
        return ("host", "date", "request-target", "digest", "v-c-merchant-id")
    return ("host", "date", "request-target", "v-c-merchant-id")


def _parse(header: str) -> dict[str, str]:
    parameters: dict[str, str] = {}
    position = 0
    while position < len(header):
        match = _PARAMETER.match(header, position)
        if match is None or match[1] in parameters:
            raise AuthenticationError('the Signature header is not a list of different name="value" pairs')
        parameters[match[1]] = match[2]
        position = match.end()
    if set(parameters) != _PARAMETERS:
        raise AuthenticationError(
            "the Signature header must have keyid, algorithm, headers and signature, and nothing else"
        )
    return parameters


def _checked_digest(request: ReceivedRequest) -> str:
    digest = request.headers.get("digest", "")
    if not digest:
        raise AuthenticationError("header digest is missing")
    if not digest.startswith("SHA-256="):
        raise AuthenticationError("header digest must begin with SHA-256=")
    if not equal(digest, "SHA-256=" + sha256_base64(request.body)):
        raise AuthenticationError("header digest does not match the received body")
    return digest


def _sign(secret: bytes, lines: dict[str, str], names: tuple[str, ...]) -> str:
    signed = "\n".join(f"{name}: {lines[name]}" for name in names)
    # The HTTP layer decodes header values as Latin-1.
    return b64encode(hmac.new(secret, signed.encode("latin-1", "replace"), hashlib.sha256).digest()).decode("ascii")


def _explain_mismatch(
    auth_context: AuthContext,
    key: SigningKey,
    secret: bytes,
    merchant: Merchant,
    lines: dict[str, str],
    names: tuple[str, ...],
    signature: str,
) -> str:
    """The reason why the signature is wrong. Tries the common mistakes."""
    if equal(_sign(key.encoded_secret.encode("utf-8"), lines, names), signature):
        return "the signature was made with the undecoded secret: it must be base64-decoded first"
    for host in auth_context.hosts:
        if equal(_sign(secret, {**lines, "host": host}, names), signature):
            return f"the signed host is {host}, but the Host header says {quoted(lines['host'])}"
    swapped = {**lines, "v-c-merchant-id": merchant.merchant_id}
    if key.owner != merchant.merchant_id and equal(_sign(secret, swapped, names), signature):
        return "with a meta key the signed v-c-merchant-id line must contain the portfolio id"
    return "the signature does not match: it was made with another secret, or over other lines than those received"


def _check_date(auth_context: AuthContext, date: str) -> None:
    try:
        timestamp = parsedate_to_datetime(date).timestamp()
        canonical = formatdate(timestamp, usegmt=True)
    except (ValueError, OverflowError):
        raise AuthenticationError("header date is not an HTTP date") from None
    if canonical != date:
        raise AuthenticationError("header date must have the form 'Sun, 22 Nov 2026 12:00:00 GMT'")
    offset = timestamp - auth_context.clock()
    if abs(offset) > auth_context.clock_tolerance:
        direction = "ahead of" if offset > 0 else "behind"
        raise AuthenticationError(f"header date is {abs(offset):.0f} s {direction} this host's clock")
