"""HTTP Signature: an HMAC over some headers and the request line, in a header of its own.

The order of the signed lines is fixed, the request line is named `request-target` without parentheses (they
were dropped in March 2024), and the merchant line carries the owner of the key, which with a meta key is not
the header.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b64encode
from email.utils import formatdate, parsedate_to_datetime

from .authority import WITH_DIGEST, Authority, Caller, Refused, quoted, same, sha256_base64
from .certificates import Certificate
from .directory import Key
from .exchange import Received
from .merchants import Merchant

_PARAMETER = re.compile(r'\s*([A-Za-z]+)="([^"]*)"\s*(?:,|$)')
_PARAMETERS = {"keyid", "algorithm", "headers", "signature"}


def check(authority: Authority, request: Received) -> Caller:
    """The caller, or `Refused`."""
    parameters = _parse(request.headers["signature"])
    if parameters["algorithm"] != "HmacSHA256":
        raise Refused("algorithm of the signature must be HmacSHA256")
    names = _expected_names(request.method)
    if "(" in parameters["headers"]:
        raise Refused("(request-target) is signed with parentheses: they were dropped in 2024")
    if parameters["headers"] != " ".join(names):
        raise Refused(f"headers= must list {' '.join(names)!r} in this order, not {quoted(parameters['headers'])}")
    for header in ("host", "date", "v-c-merchant-id"):
        if not request.headers.get(header):
            raise Refused(f"header {header} is missing")
    key = authority.key(parameters["keyid"])
    secret = key.material
    if isinstance(secret, Certificate):
        raise Refused("keyid names a certificate: an HTTP Signature is made with a shared secret")
    merchant = authority.user(key, request.headers["v-c-merchant-id"])
    lines = {
        "host": request.headers["host"],
        "date": request.headers["date"],
        "request-target": f"{request.method.lower()} {request.target}",
        "v-c-merchant-id": key.owner,
    }
    if "digest" in names:
        lines["digest"] = _checked_digest(request)
    expected = _sign(secret, lines, names)
    if not same(expected, parameters["signature"]):
        raise Refused(_why(authority, key, secret, merchant, lines, names, parameters["signature"]))
    # Only after the signature: from here on the sender is known, the rest is about what was signed.
    authority.check_host(lines["host"], "the signed host")
    _check_date(authority, lines["date"])
    return Caller(merchant, "http-signature")


def _expected_names(method: str) -> tuple[str, ...]:
    if method in WITH_DIGEST:
        return ("host", "date", "request-target", "digest", "v-c-merchant-id")
    return ("host", "date", "request-target", "v-c-merchant-id")


def _parse(value: str) -> dict[str, str]:
    found: dict[str, str] = {}
    position = 0
    while position < len(value):
        match = _PARAMETER.match(value, position)
        if match is None or match[1] in found:
            raise Refused('the Signature header is not a list of different name="value" pairs')
        found[match[1]] = match[2]
        position = match.end()
    if set(found) != _PARAMETERS:
        raise Refused("the Signature header must have keyid, algorithm, headers and signature, and nothing else")
    return found


def _checked_digest(request: Received) -> str:
    digest = request.headers.get("digest", "")
    if not digest:
        raise Refused("header digest is missing")
    if not digest.startswith("SHA-256="):
        raise Refused("header digest must begin with SHA-256=")
    if not same(digest, "SHA-256=" + sha256_base64(request.body)):
        raise Refused("header digest is not that of the body received")
    return digest


def _sign(secret: bytes, lines: dict[str, str], names: tuple[str, ...]) -> str:
    text = "\n".join(f"{name}: {lines[name]}" for name in names)
    # Header values are Latin-1 on the wire; the HTTP layer decoded them so.
    return b64encode(hmac.new(secret, text.encode("latin-1", "replace"), hashlib.sha256).digest()).decode("ascii")


def _why(
    authority: Authority,
    key: Key,
    secret: bytes,
    merchant: Merchant,
    lines: dict[str, str],
    names: tuple[str, ...],
    given: str,
) -> str:
    """Name the usual slips behind a signature that does not fit."""
    if same(_sign(key.text.encode("utf-8"), lines, names), given):
        return "the signature was made with the secret as text: it must be base64-decoded first"
    for host in authority.hosts:
        if same(_sign(secret, {**lines, "host": host}, names), given):
            return f"the signed host is {host}, the Host header says {quoted(lines['host'])}"
    swapped = {**lines, "v-c-merchant-id": merchant.merchant_id}
    if key.owner != merchant.merchant_id and same(_sign(secret, swapped, names), given):
        return "with a meta key the signed v-c-merchant-id line must carry the portfolio id"
    return "the signature does not fit: another secret, or other lines than those received"


def _check_date(authority: Authority, value: str) -> None:
    try:
        moment = parsedate_to_datetime(value).timestamp()
        canonical = formatdate(moment, usegmt=True)
    except (ValueError, OverflowError):
        raise Refused("header date is not an HTTP date") from None
    if canonical != value:
        raise Refused("header date must have the form 'Sun, 22 Nov 2026 12:00:00 GMT'")
    off = moment - authority.clock()
    if abs(off) > authority.clock_tolerance:
        raise Refused(f"header date is {abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} this host's clock")
