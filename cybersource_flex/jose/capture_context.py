"""The capture context: a JWT that names the fields to capture and carries a one-time key to encrypt them to.

(CyberSource Digital Accept guide, Flex API, "Capture Context".)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..errors import InvalidClaimError, UnsupportedAlgorithmError
from .compact import parse_jws
from .keys import KeySource, PublicKey, check_kid
from .verified import DEFAULT_LEEWAY, Verified, check_times, read_only, text_claim

__all__ = ["CaptureContext", "verify_capture_context"]

ISSUER: Final = "Flex API"
TOKENS_PATH: Final = "/flex/v2/tokens"
_WHAT: Final = "capture context"


class CaptureContext(Verified):
    """A capture context that was verified: issued by the configured host, unchanged, and not expired at that time.

    Attributes:
        key: the one-time public key to encrypt to; it also verifies the transient token.
        type: kind of context: ``api-0.1.0`` for the Flex API, ``mf-2.1.0`` for Microform.
        data: what the context says about the capture, read-only.
    """

    __slots__ = ("data", "key", "type")

    key: PublicKey
    type: str
    data: Mapping[str, Any]

    @property
    def required_fields(self) -> tuple[str, ...]:
        """Dotted paths of the fields that must be given: ``paymentInformation.card.number``. Empty for Microform."""
        return _texts(self.data.get("requiredFields"))

    @property
    def optional_fields(self) -> tuple[str, ...]:
        """Dotted paths of the fields that may be given. Empty for Microform."""
        return _texts(self.data.get("optionalFields"))

    @property
    def target_origins(self) -> tuple[str, ...]:
        """Origins of the pages that may load Microform. Empty for the Flex API."""
        return _texts(self.data.get("targetOrigins"))

    @property
    def client_library(self) -> str | None:
        """URL of the Microform script, for the page's ``<script src>``."""
        return _text(self.data.get("clientLibrary"))

    @property
    def client_library_integrity(self) -> str | None:
        """Subresource integrity of the Microform script, for the page's ``<script integrity>``."""
        return _text(self.data.get("clientLibraryIntegrity"))

    def __repr__(self) -> str:
        return f"<CaptureContext {self.type} jti={self.jti!r} expires_at={self.expires_at:%Y-%m-%dT%H:%M:%SZ}>"


def verify_capture_context(
    token: str, keys: KeySource, *, now: float | None = None, leeway: float = DEFAULT_LEEWAY
) -> CaptureContext:
    """Verify a capture context: RS256 signature under a long-term key, issuer, times, and a usable one-time key.

    Args:
        token: the JWT as the service gave it.
        keys: where the long-term key comes from. Bound to a host that the caller chose, never one the token names.
        now: seconds since the epoch; None for this machine's clock.
        leeway: seconds by which the clocks may differ.

    Raises:
        MalformedTokenError: not a JWS in strict compact form.
        UnsupportedAlgorithmError: another algorithm than RS256, or a key that is too weak.
        UnknownKeyError: no key goes by its ``kid``.
        InvalidSignatureError: not signed with that key, or changed since.
        ExpiredTokenError, TokenNotYetValidError: its time is not now.
        InvalidClaimError: another claim is not what it has to be.
    """
    jws = parse_jws(token, _WHAT)
    keys.get(check_kid(jws.kid)).verify(jws, _WHAT)
    claims = jws.claims
    if claims.get("iss") != ISSUER:
        raise InvalidClaimError(f"the {_WHAT} was not issued by {ISSUER!r}", claim="iss")
    check_times(claims, _WHAT, now=now, leeway=leeway)
    text_claim(claims, "jti", _WHAT)
    kind, data = _context(claims.get("ctx"))
    return CaptureContext._from(jws, key=_one_time_key(claims.get("flx")), type=kind, data=read_only(data))


def _one_time_key(flx: Any) -> PublicKey:
    if not isinstance(flx, Mapping):
        raise InvalidClaimError(f"the claim flx of the {_WHAT} is missing or not an object", claim="flx")
    if flx.get("path") != TOKENS_PATH:
        raise InvalidClaimError(f"the claim flx.path of the {_WHAT} is not {TOKENS_PATH}", claim="flx.path")
    jwk = flx.get("jwk")
    if not isinstance(jwk, Mapping):
        raise InvalidClaimError(f"the claim flx.jwk of the {_WHAT} is missing or not an object", claim="flx.jwk")
    if not isinstance(jwk.get("kid"), str) or not jwk["kid"]:
        raise InvalidClaimError(f"the claim flx.jwk of the {_WHAT} has no kid", claim="flx.jwk.kid")
    try:
        return PublicKey(jwk, f"one-time key in the {_WHAT}")
    except UnsupportedAlgorithmError as cause:
        raise InvalidClaimError(str(cause), claim="flx.jwk") from None


def _context(ctx: Any) -> tuple[str, Mapping[str, Any]]:
    first = ctx[0] if isinstance(ctx, list) and ctx else None
    if not isinstance(first, Mapping) or not isinstance(first.get("type"), str):
        raise InvalidClaimError(f"the claim ctx of the {_WHAT} does not say its type", claim="ctx")
    data = first.get("data")
    return first["type"], data if isinstance(data, Mapping) else {}


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(entry for entry in value if isinstance(entry, str)) if isinstance(value, tuple) else ()


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
