"""The transient token: what a merchant pays with in place of the card, for 15 minutes.

(CyberSource Digital Accept guide, Flex API, "Transient Token".)
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from .._sealed import sealed
from ..errors import InvalidClaimError, UnknownKeyError
from .capture_context import CaptureContext
from .compact import DEFAULT_LIMITS, TokenLimits, parse_jws
from .verified import DEFAULT_LEEWAY, Verified, check_times, text_claim

if TYPE_CHECKING:
    from ..transport import HostTime

__all__ = ["TransientToken", "verify_transient_token"]

_WHAT: Final = "transient token"
# What an object in the claims is, before and after they were made unchangeable. Asking for a Mapping is dear.
_OBJECT: Final = (dict, MappingProxyType)
_ISSUER: Final = re.compile(r"Flex/[0-9]{2}")
# Published ids have 64 characters; the length is not documented, the alphabet of what goes into a URL is a safe one.
_JTI: Final = re.compile(r"[0-9A-Za-z_-]{16,128}")


class TransientToken(Verified):
    """A transient token that was verified with the key of the capture context it was made for.

    ``jwt`` goes into ``tokenInformation.transientTokenJwt`` of a payment, or ``jti`` into ``tokenInformation.jti``.

    Attributes:
        type: kind of the capture context it was made for.
    """

    __slots__ = ("type",)

    type: str

    @property
    def content(self) -> Mapping[str, Any]:
        """What was captured, as far as it may be shown: a tree as in the request, leaves like ``{"value": "12"}``.
        Empty
        in tokens that do not say it.
        """
        content = self.claims.get("content")
        return content if isinstance(content, Mapping) else {}

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What Unified Checkout tells about the capture. Empty in other tokens."""
        metadata = self.claims.get("metadata")
        return metadata if isinstance(metadata, Mapping) else {}

    @property
    def masked_number(self) -> str | None:
        """The card number as ``XXXXXXXXXXXX1111``, where the token says it."""
        # Microform 0.11 said it in another place.
        return _text(self._number().get("maskedValue")) or self._old("number")

    @property
    def bin(self) -> str | None:
        """The first six or eight digits of the card number, where the token says them."""
        return _text(self._number().get("bin"))

    @property
    def card_types(self) -> tuple[str, ...]:
        """Three-digit codes of the card's types: the one that was given or chosen, else those that were detected."""
        given = _text(self._card("card", "type").get("value")) or _text(
            self._card("tokenizedCard", "type").get("value")
        )
        given = given or self._old("type")
        if given:
            return (given,)
        detected = self._number().get("detectedCardTypes")
        return tuple(code for code in detected if isinstance(code, str)) if isinstance(detected, tuple) else ()

    @property
    def payment_credentials_references(self) -> Mapping[str, str]:
        """References for ``payment_credentials``, by the organisation that may use them. Empty in most tokens."""
        found = self.claims.get("paymentCredentialsReference")
        return found if isinstance(found, Mapping) else {}

    def _number(self) -> Mapping[str, Any]:
        return self._card("card", "number") or self._card("tokenizedCard", "number")

    def _card(self, kind: str, name: str) -> Mapping[str, Any]:
        return _leaf(self.content, ("paymentInformation", kind, name)) or {}

    def _old(self, name: str) -> str | None:
        old = self.claims.get("data")
        return _text(old.get(name)) if isinstance(old, Mapping) else None

    def __repr__(self) -> str:
        return f"<TransientToken {self.type} expires_at={self.expires_at:%Y-%m-%dT%H:%M:%SZ}>"


@sealed
def verify_transient_token(
    token: str,
    context: CaptureContext,
    *,
    now: float | None = None,
    leeway: float = DEFAULT_LEEWAY,
    limits: TokenLimits = DEFAULT_LIMITS,
    host_time: HostTime | None = None,
    from_host: bool = False,
) -> TransientToken:
    """Verify a transient token with the one-time key of the capture context it was made for.

    The proof is worth as much as the context: it must be one that this server asked for and kept, never one that came
    from the browser together with the token.

    Args:
        token: the JWT as the service or the browser gave it.
        context: the verified capture context.
        now: seconds since the epoch; None for this machine's clock.
        leeway: seconds by which the clocks may differ.
        limits: how large the token may be.
        host_time: the host's clock compared with this machine's: ``client.clock.host_time()``. A token that has expired
            by either clock is refused.
        from_host: True for a token in a response of the host, never for one from the browser: "not yet valid" is then
            judged by ``host_time`` too.

    Raises:
        MalformedTokenError: not a JWS in strict compact form.
        UnsupportedAlgorithmError: another algorithm than RS256.
        UnknownKeyError: made for another capture context.
        InvalidSignatureError: not signed with that key, or changed since.
        ExpiredTokenError, TokenNotYetValidError: its time is not now.
        InvalidClaimError: another claim is not what it has to be.
    """
    if not isinstance(context, CaptureContext):
        raise TypeError(f"context must be a CaptureContext, which verification makes, not {type(context).__name__}")
    jws = parse_jws(token, _WHAT, limits)
    if jws.kid != context.key.kid:
        raise UnknownKeyError(f"the {_WHAT} was not made for this capture context: its kid names another key")
    context.key.verify(jws, _WHAT)
    claims = jws.claims
    if not _ISSUER.fullmatch(text_claim(claims, "iss", _WHAT)):
        raise InvalidClaimError(f"the {_WHAT} was not issued by Flex", claim="iss")
    kind = text_claim(claims, "type", _WHAT)
    if kind != context.type:
        raise InvalidClaimError(f"the {_WHAT} is of another type than its capture context", claim="type")
    check_times(claims, _WHAT, now=now, leeway=leeway, host_time=host_time, from_host=from_host)
    if not _JTI.fullmatch(text_claim(claims, "jti", _WHAT)):
        raise InvalidClaimError(f"the claim jti of the {_WHAT} is not an id", claim="jti")
    _check_content(claims.get("content"), context)
    return TransientToken._from(jws, type=kind)


def _check_content(content: Any, context: CaptureContext) -> None:
    """A token that says what was captured must have what the context required. Not every token says it."""
    if content is None:
        return
    if not isinstance(content, Mapping):
        raise InvalidClaimError(f"the claim content of the {_WHAT} is not an object", claim="content")
    for path in context.required_fields:
        if _leaf(content, path.split(".")) is None:
            raise InvalidClaimError(f"the {_WHAT} lacks {path}, which its capture context requires", claim="content")


def _leaf(tree: Any, path: Sequence[str]) -> Mapping[str, Any] | None:
    for name in path:
        tree = tree.get(name) if isinstance(tree, _OBJECT) else None
    return tree if isinstance(tree, _OBJECT) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
