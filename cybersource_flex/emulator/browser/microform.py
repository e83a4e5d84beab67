"""Microform for browsers: the script that a page loads, and the page, scripts and style sheet of a field's frame.

The script is written for this emulator from public descriptions of CyberSource's. It has the same interface, and
`docs/microform.md` lists which behaviour is inferred.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from urllib.parse import parse_qs

from ..operations import cards
from ..server.error_responses import ApiError, ErrorDetail, Reason
from ..server.messages import Response
from ..server.request_context import RequestContext
from . import static_files

VERSION = "v2.5.1"
BUNDLE_PATH = "/microform/bundle/{version}"
SCRIPT_NAME = "flex-microform.min.js"
FRAME_NAME = "iframe.html"

_SCRIPT = "microform/flex-microform.js"
_FRAME = "microform/iframe.html"
FRAME_FILES = ("field.js", "formats.js", "styles.js", "tokenization.js", "field.css", static_files.JOSE_SCRIPT)
# Pages name the full version, "v2" or "v2.0". All get the same files.
_VERSIONS = re.compile(r"v2(?:\.[0-9]{1,3}){0,2}")
_NO_PAGE = ("content-security-policy", "default-src 'none'; frame-ancestors 'none'")


def client_library(origin: str) -> str:
    """The address of the script, for the claim `clientLibrary`."""
    return origin + BUNDLE_PATH.format(version=VERSION) + "/" + SCRIPT_NAME


def client_library_integrity() -> str:
    """The hash of the script, for the claim `clientLibraryIntegrity`."""
    return static_files.integrity(_SCRIPT)


def script(context: RequestContext) -> Response:
    """`GET /microform/bundle/{version}/flex-microform.min.js`: the script for pages of any origin."""
    _check_version(context)
    response = static_files.file_response(_SCRIPT)
    if context.active_scenario("changed-script"):
        response = replace(response, body=response.body + b"// changed by the scenario changed-script\n")
    return response


def frame_file(name: str) -> Callable[[RequestContext], Response]:
    """`GET /microform/bundle/{version}/{name}`: the handler for a script or the style sheet of the frames."""

    def handler(context: RequestContext) -> Response:
        _check_version(context)
        return static_files.file_of("microform", name)

    return handler


def frame_page(context: RequestContext) -> Response:
    """`GET /microform/bundle/{version}/iframe.html?keyId=...`: the page in a field's frame.

    Only the target origins of the capture context may show it. `keyId` is the `kid` of the context's one-time key; the
    context itself is in the fragment, which browsers do not send.
    """
    _check_version(context)
    key_ids = parse_qs(context.request.target.partition("?")[2]).get("keyId", [""])
    issued = context.store.contexts.get(key_ids[0])
    if issued is None or not issued.microform:
        detail = ErrorDetail("keyId", "Must be flx.jwk.kid of a capture context for Microform")
        raise ApiError(404, Reason.NOT_FOUND, "There is no such capture context", [detail], headers=(_NO_PAGE,))
    ancestors = " ".join(issued.target_origins)
    if context.active_scenario("origin-not-allowed"):
        ancestors = "'none'"
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        f"base-uri 'none'; form-action 'none'; frame-ancestors {ancestors}"
    )
    response = static_files.file_response(
        _FRAME,
        ("content-security-policy", policy),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-embedder-policy", "require-corp"),
    )
    # The real frames have the keys that sign capture contexts built in.
    settings = json.dumps({"keys": context.store.long_term_jwks(), "brands": _brands()}, separators=(",", ":"))
    body = response.body.replace(b"{{settings}}", settings.replace("<", "\\u003c").encode("ascii"))
    return replace(response, body=body)


def _check_version(context: RequestContext) -> None:
    if not _VERSIONS.fullmatch(context.path_argument):
        raise ApiError(404, Reason.NOT_FOUND, "There is no such version of Microform", headers=(_NO_PAGE,))


# Name in events, name to show, spaces after these digits, and name of the security code, None
# for cards without a code. Of the last eleven networks only some of these are published.
_FOUR = (4, 8, 12)
_DISPLAY: dict[str, tuple[str, str, tuple[int, ...], str | None]] = {
    "VISA": ("visa", "Visa", _FOUR, "CVV"),
    "MASTERCARD": ("mastercard", "Mastercard", _FOUR, "CVC"),
    "AMEX": ("amex", "American Express", (4, 10), "CID"),
    "DISCOVER": ("discover", "Discover", _FOUR, "CID"),
    "DINERSCLUB": ("dinersclub", "Diners Club", (4, 10), "CVV"),
    "JCB": ("jcb", "JCB", _FOUR, "CVV"),
    "MAESTRO": ("maestro", "Maestro", _FOUR, "CVC"),
    "CUP": ("cup", "China UnionPay", _FOUR, "CVN2"),
    "UATP": ("uatp", "UATP", _FOUR, None),
    "CARTESBANCAIRES": ("cartesbancaires", "Cartes Bancaires", _FOUR, "CVV"),
    "CARNET": ("carnet", "Carnet", _FOUR, "CVV"),
    "EFTPOS": ("eftpos", "eftpos", _FOUR, "CVV"),
    "ELO": ("elo", "Elo", _FOUR, "CVV"),
    "JAYWAN": ("jaywan", "Jaywan", _FOUR, "CVV"),
    "JCREW": ("jcrew", "J.Crew", _FOUR, "CVV"),
    "KCP": ("kcp", "KCP", _FOUR, None),
    "MADA": ("mada", "mada", _FOUR, "CVV"),
    "MEEZA": ("meeza", "Meeza", _FOUR, "CVV"),
    "PAYPAK": ("paypak", "PayPak", _FOUR, "CVV"),
}


@cache
def _brands() -> list[dict[str, object]]:
    """The card networks for the frames: the description in `change` events, and the number ranges to detect them."""
    brands: list[dict[str, object]] = []
    for brand in cards.BRANDS:
        name, branded_name, spaces, code = _DISPLAY[brand.network]
        code_length = 4 if brand.network == "AMEX" else 3
        ends = (*spaces, max(brand.lengths))
        description = {
            "name": name,
            "brandedName": branded_name,
            "cybsCardType": brand.codes[0],
            "spaces": spaces,
            "blocks": [end - start for start, end in zip((0, *spaces), ends, strict=True)],
            "lengths": list(brand.lengths),
            "securityCode": {"name": code, "length": code_length} if code else False,
            "luhn": True,
        }
        brands.append({"network": brand.network, "ranges": brand.prefixes, "description": description})
    return brands
