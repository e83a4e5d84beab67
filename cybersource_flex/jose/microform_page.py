"""What a page needs to load Microform: the ``<script>`` tag, and the sources for its Content-Security-Policy.

Source: CyberSource Digital Accept guide, Microform Integration v2, "Client-Side Setup".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from ..errors import InvalidArgumentError, InvalidArgumentTypeError, InvalidClaimError

__all__ = ["csp_sources", "script_tag"]

# Origins that a page may load a script from: https, or http on this machine (an emulator). The characters exclude those
# that separate sources and directives in a Content-Security-Policy.
_ORIGIN: Final = (
    r"https://(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:]{2,39}\])(?::[0-9]{1,5})?"
    r"|http://(?:(?:[A-Za-z0-9-]+\.)*localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])(?::[0-9]{1,5})?"
)
_ORIGIN_ONLY: Final = re.compile(_ORIGIN)
_URL: Final = re.compile(rf"({_ORIGIN})/[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*")
# Subresource Integrity, section 3.1: one or more hashes in base64.
_INTEGRITY: Final = re.compile(
    r"sha(?:256|384|512)-[A-Za-z0-9+/]{43,88}={0,2}(?: sha(?:256|384|512)-[A-Za-z0-9+/]{43,88}={0,2})*"
)
# Content Security Policy Level 3, section 2.3.1.
_NONCE: Final = re.compile(r"[A-Za-z0-9+/_-]{8,256}={0,2}")


class _Html(str):
    """A string of HTML. Django, Jinja and MarkupSafe insert it into a page without escaping it again."""

    __slots__ = ()

    def __html__(self) -> str:
        return str(self)


def script_tag(data: Mapping[str, Any], nonce: str | None) -> str:
    """Return the ``<script>`` tag for the claim ``ctx[0].data``. See ``CaptureContext.script_tag``."""
    from html import escape

    url, _ = _script(data)
    integrity = data.get("clientLibraryIntegrity")
    if not isinstance(integrity, str) or not integrity:
        raise InvalidClaimError(
            "the capture context has no clientLibraryIntegrity, without which a browser cannot check the script",
            claim="ctx",
        )
    if not _INTEGRITY.fullmatch(integrity):
        raise InvalidClaimError("clientLibraryIntegrity of the capture context is not a hash in base64", claim="ctx")
    attributes = {"src": url, "integrity": integrity, "crossorigin": "anonymous"}
    if nonce is not None:
        if not isinstance(nonce, str):
            raise InvalidArgumentTypeError(f"nonce must be a string, not {type(nonce).__name__}", argument="nonce")
        if not _NONCE.fullmatch(nonce):
            raise InvalidArgumentError(
                "nonce must be base64 of at least 8 characters, as in the page's Content-Security-Policy",
                argument="nonce",
            )
        attributes["nonce"] = nonce
    written = "".join(f' {name}="{escape(value)}"' for name, value in attributes.items())
    return _Html(f"<script{written}></script>")


def csp_sources(data: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the sources for the claim ``ctx[0].data``. See ``CaptureContext.csp_sources``."""
    _, script_origin = _script(data)
    frame_origin = data.get("mfOrigin")
    origins = [script_origin]
    if frame_origin is not None:
        if not isinstance(frame_origin, str) or not _ORIGIN_ONLY.fullmatch(frame_origin):
            raise InvalidClaimError("mfOrigin of the capture context is not an origin", claim="ctx")
        if frame_origin.lower() not in origins:
            origins.append(frame_origin.lower())
    return {"script-src": [script_origin], "frame-src": list(origins), "child-src": list(origins)}


def _script(data: Mapping[str, Any]) -> tuple[str, str]:
    """Return URL and origin of the Microform script."""
    url = data.get("clientLibrary")
    if not isinstance(url, str) or not url:
        raise InvalidClaimError(
            "the capture context has no clientLibrary; expected a context from create_microform_context", claim="ctx"
        )
    match = _URL.fullmatch(url)
    if match is None:
        raise InvalidClaimError("clientLibrary of the capture context is not an https URL", claim="ctx")
    return url, match[1].lower()
