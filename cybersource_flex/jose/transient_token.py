"""Verify transient tokens: JWTs that replace the card in payment requests. They are valid for 15 minutes.

Source: CyberSource Digital Accept guide, Flex API, "Transient Token".

The signature proves that a token is genuine. CyberSource creates it with the one-time key of the capture context, and
uses that key for nothing else. Therefore only a few claims are checked. The attribute ``warnings`` lists other
differences from published tokens.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from .._immutable import ReadOnlyDict
from .._runtime.tracebacks import clear_locals_on_error
from ..errors import InvalidArgumentTypeError, InvalidClaimError, UnknownKeyError
from .capture_context import CaptureContext
from .compact import DEFAULT_LIMITS, TokenLimits, check_limits, parse_jws
from .field_data import HIDDEN_NAME, displayable_name
from .verified import (
    DEFAULT_LEEWAY,
    Deviation,
    VerifiedToken,
    audience_deviations,
    check_options,
    check_times,
    reject_deviations,
    require_str_claim,
)

if TYPE_CHECKING:
    from ..transport import HostTime

__all__ = ["TransientToken", "verify_transient_token"]

_TOKEN_NAME: Final = "transient token"
_EMPTY: Final[Mapping[str, Any]] = ReadOnlyDict()
# The forms in published tokens. Other forms are accepted with a warning, because later versions may differ.
ISSUER_PATTERN: Final = re.compile(r"Flex/[0-9]{2}")
JTI_PATTERN: Final = re.compile(r"[0-9A-Z]{64}")
_TYPE: Final = re.compile(r"[a-z]{1,16}-[0-9]{1,4}(\.[0-9]{1,4}){0,3}")


class TransientToken(VerifiedToken):
    """A transient token that was verified with the one-time key of its capture context.

    To pay with the token, send ``jwt`` as ``tokenInformation.transientTokenJwt`` of the payment request, or ``jti`` as
    ``tokenInformation.jti``.

    Attributes:
        type: product and version of the token: ``api-0.1.0``. Its capture context is for the same product, but may have
            a different version.
    """

    __slots__ = ("type",)

    type: str

    @property
    def content(self) -> Mapping[str, Any]:
        """The captured data that may be shown, nested like the fields, with each value as ``{"value": "12"}``.

        Empty if the token contains no captured data.
        """
        content = self.claims.get("content")
        return content if isinstance(content, Mapping) else _EMPTY

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Details about the capture that Unified Checkout adds. Empty in tokens of other products."""
        metadata = self.claims.get("metadata")
        return metadata if isinstance(metadata, Mapping) else _EMPTY

    @property
    def masked_number(self) -> str | None:
        """The card number as ``XXXXXXXXXXXX1111``, or None if the token does not contain it."""
        # Tokens of Microform 0.11 have the number in the claim `data`.
        return _non_empty_str(self._number().get("maskedValue")) or self._legacy_field("number")

    @property
    def bin(self) -> str | None:
        """The first six or eight digits of the card number, or None if the token does not contain them."""
        return _non_empty_str(self._number().get("bin"))

    @property
    def card_types(self) -> tuple[str, ...]:
        """Three-digit codes of card types: the captured type, or if none was captured, the detected types."""
        captured = _non_empty_str(self._card("card", "type").get("value")) or _non_empty_str(
            self._card("tokenizedCard", "type").get("value")
        )
        captured = captured or self._legacy_field("type")
        if captured:
            return (captured,)
        detected = self._number().get("detectedCardTypes")
        return tuple(code for code in detected if isinstance(code, str)) if isinstance(detected, list) else ()

    @property
    def payment_credentials_references(self) -> Mapping[str, str]:
        """References to pass to ``payment_credentials``, by the id of the organisation that may use the reference.

        Empty in most tokens.
        """
        references = self.claims.get("paymentCredentialsReference")
        return references if isinstance(references, Mapping) else _EMPTY

    def _number(self) -> Mapping[str, Any]:
        return self._card("card", "number") or self._card("tokenizedCard", "number")

    def _card(self, group: str, name: str) -> Mapping[str, Any]:
        return _get_path(self.content, ("paymentInformation", group, name)) or {}

    def _legacy_field(self, name: str) -> str | None:
        data = self.claims.get("data")
        return _non_empty_str(data.get(name)) if isinstance(data, Mapping) else None

    def __repr__(self) -> str:
        return f"<TransientToken {self.type} expires_at={self.expires_at:%Y-%m-%dT%H:%M:%SZ}>"


@clear_locals_on_error
def verify_transient_token(
    token: str,
    context: CaptureContext,
    *,
    now: float | None = None,
    leeway: float = DEFAULT_LEEWAY,
    strict: bool = False,
    limits: TokenLimits = DEFAULT_LIMITS,
    host_time: HostTime | None = None,
    received_from_host: bool = False,
) -> TransientToken:
    """Verify a transient token with the one-time key of its capture context.

    The context must be one that this server requested and stored. A context that the browser sent together with the
    token proves nothing.

    Args:
        token: the JWT from the service or the browser.
        context: the verified capture context.
        now: seconds since the epoch; None for this machine's clock.
        leeway: seconds by which the clocks may differ.
        strict: whether to raise ``InvalidClaimError`` for a token that has ``warnings``.
        limits: maximum size of the token.
        host_time: the difference between the host's clock and this machine's: ``client.clock.host_time()``. None if
            unknown. A token that has expired by either clock is rejected.
        received_from_host: pass True if your program received the token directly from the host, False if it came from
            the browser. If True, the token is rejected as "not yet valid" only if both clocks say so.

    Raises:
        MalformedTokenError: ``token`` is not a JWS in strict compact form.
        UnsupportedAlgorithmError: the algorithm is not RS256.
        UnknownKeyError: the token was created with a different capture context.
        InvalidSignatureError: the token was signed with a different key, or modified.
        ExpiredTokenError, TokenNotYetValidError: the token has expired, or was issued in the future.
        InvalidClaimError: another claim is invalid.
        ConfigurationError, InvalidArgumentTypeError: an argument besides ``token`` is wrong.
    """
    check_options(now=now, leeway=leeway, host_time=host_time, strict=strict)
    check_limits(limits)
    if not isinstance(context, CaptureContext):
        raise InvalidArgumentTypeError(
            f"context must be a verified CaptureContext, not {type(context).__name__}", argument="context"
        )
    jwt = parse_jws(token, _TOKEN_NAME, limits)
    if jwt.kid != context.key.kid:
        raise UnknownKeyError(
            f"the {_TOKEN_NAME} was created for another capture context; pass the context that the page used"
        )
    context.key.verify(jwt, _TOKEN_NAME)
    claims = jwt.claims
    token_type = require_str_claim(claims, "type", _TOKEN_NAME)
    # The products differ in how they capture fields, so a token must be of the product that the context is for.
    if _product(token_type) != _product(context.type):
        raise InvalidClaimError(
            f"the type of the {_TOKEN_NAME} does not match the type of its capture context", claim="type"
        )
    deviations = check_times(
        claims, _TOKEN_NAME, now=now, leeway=leeway, host_time=host_time, received_from_host=received_from_host
    )
    # Required, because servers use the jti to detect a token that was used before (RFC 7519 section 4.1.7).
    jti = require_str_claim(claims, "jti", _TOKEN_NAME)
    deviations += audience_deviations(claims)
    issuer = claims.get("iss")
    if not isinstance(issuer, str) or not ISSUER_PATTERN.fullmatch(issuer):
        deviations.append(Deviation("iss", "iss is not Flex/ and two digits"))
    if not JTI_PATTERN.fullmatch(jti):
        deviations.append(Deviation("jti", "jti does not have 64 characters of 0-9 and A-Z"))
    deviations += _type_deviations(token_type, context)
    deviations += _content_deviations(claims.get("content"), context)
    if strict:
        reject_deviations(deviations, _TOKEN_NAME)
    return TransientToken._create(jwt, deviations=deviations, type=token_type)


def _product(token_type: str) -> str:
    """Return the product in the type of a context or token: ``api`` for ``api-0.1.0``."""
    name = token_type.partition("-")[0]
    # Both names mean Unified Checkout: tokens for contexts of the type gda have the type uc.
    return "gda" if name == "uc" else name


def _type_deviations(token_type: str, context: CaptureContext) -> list[Deviation]:
    if not _TYPE.fullmatch(token_type):
        return [Deviation("type", "type is not a name and a version")]
    if token_type != context.type:
        return [Deviation("type", "type has another version than the type of the capture context")]
    return []


def _content_deviations(content: Any, context: CaptureContext) -> list[Deviation]:
    """Return a deviation for each required field of the context that is missing in the claim ``content``."""
    if content is None:
        return []
    if not isinstance(content, Mapping):
        return [Deviation("content", "content is not an object")]
    missing = [path for path in context.required_fields if _get_path(content, path.split(".")) is None]
    return [
        Deviation("content", f"content lacks {displayable_name(path) or HIDDEN_NAME}, which the context requires")
        for path in missing[:_MAX_MISSING]
    ]


# Maximum number of missing fields that are reported.
_MAX_MISSING: Final = 8


def _get_path(tree: Any, path: Sequence[str]) -> Mapping[str, Any] | None:
    for name in path:
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree if isinstance(tree, dict) else None


def _non_empty_str(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
