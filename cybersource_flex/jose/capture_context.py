"""The capture context: a JWT that names the fields to capture and carries a one-time key to encrypt them to.

(CyberSource Digital Accept guide, Flex API, "Capture Context".)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .._sealed import sealed
from ..errors import ConfigurationError, InvalidClaimError, UnsupportedAlgorithmError
from .compact import DEFAULT_LIMITS, Jws, TokenLimits, parse_jws
from .keys import KeySource, PublicKey, check_kid, with_key
from .verified import DEFAULT_LEEWAY, Verified, check_times, read_only, text_claim

if TYPE_CHECKING:
    from ..transport import HostTime

__all__ = ["CaptureContext", "ContextExpectations", "UnverifiedContext", "verify_capture_context"]

ISSUER: Final = "Flex API"
TOKENS_PATH: Final = "/flex/v2/tokens"
_WHAT: Final = "capture context"


class ContextExpectations(NamedTuple):
    """What a capture context must say, compared as sets; None for what does not matter.

    Attributes:
        required_fields: dotted paths of the fields that must be given.
        optional_fields: dotted paths of the fields that may be given.
        target_origins: origins of the pages that may load Microform.
        allowed_card_networks: card networks that Microform takes.
        allowed_payment_types: payment types that Microform takes.
    """

    required_fields: Collection[str] | None = None
    optional_fields: Collection[str] | None = None
    target_origins: Collection[str] | None = None
    allowed_card_networks: Collection[str] | None = None
    allowed_payment_types: Collection[str] | None = None


class CaptureContext(Verified):
    """A capture context that was verified: issued by the configured host, unchanged, and not expired at that time.

    Attributes:
        key: the one-time public key to encrypt to; it also verifies the transient token.
        type: kind of context: ``api-0.1.0`` for the Flex API, ``mf-2.1.0`` for Microform, ``gda-`` or ``uc-`` and a
            version for Unified Checkout; others are kept as they are.
        data: what the context says about the capture, read-only. The properties read the parts of it that are known.
    """

    __slots__ = ("data", "key", "type")

    key: PublicKey
    type: str
    data: Mapping[str, Any]

    @property
    def is_microform(self) -> bool:
        """Whether the context is for the browser library Microform."""
        return self.type.startswith("mf-")

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
    def allowed_card_networks(self) -> tuple[str, ...]:
        """Card networks that Microform takes, from its version 2. Empty where the context names none."""
        return _texts(self.data.get("allowedCardNetworks"))

    @property
    def allowed_payment_types(self) -> tuple[str, ...]:
        """Payment types that Microform takes, from its version 2. Empty where the context names none."""
        return _texts(self.data.get("allowedPaymentTypes"))

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


class UnverifiedContext:
    """A capture context that was read and is believed in nothing but the name of its key.

    Args:
        token: the JWT as the service gave it.
        limits: how large it may be.

    Attributes:
        kid: name of the long-term key, safe to put into a URL.

    Raises:
        MalformedTokenError, UnsupportedAlgorithmError, UnknownKeyError: see ``verify_capture_context``.
    """

    __slots__ = ("_jws", "kid")

    def __init__(self, token: str, limits: TokenLimits = DEFAULT_LIMITS) -> None:
        self._jws: Jws = parse_jws(token, _WHAT, limits)
        self.kid = check_kid(self._jws.kid)

    def verify(
        self,
        key: PublicKey,
        *,
        now: float | None = None,
        leeway: float = DEFAULT_LEEWAY,
        grace: float = 0.0,
        expected: ContextExpectations | None = None,
        host_time: HostTime | None = None,
        from_host: bool = False,
    ) -> CaptureContext:
        """The context, once its signature has been checked with this key, and the rest of it too.

        Args:
            key: the long-term key named ``kid``.
            now: seconds since the epoch; None for this machine's clock.
            leeway: seconds by which the clocks may differ.
            grace: seconds for which an expired context is still good enough, to verify tokens that were made in time.
            expected: what the context must say about the capture.
            host_time: the host's clock compared with this machine's, where it is known.
            from_host: whether the context came straight from the host.
        """
        check_expected(expected)
        key.verify(self._jws, _WHAT)
        return self._checked(
            expected, now=now, leeway=leeway, grace=grace, host_time=host_time, from_host=from_host, begun=False
        )

    def accept(
        self, *, now: float | None, leeway: float, grace: float, host_time: HostTime | None = None
    ) -> CaptureContext:
        """The context, once everything but its signature has been checked. For what this package sealed itself, after
        it had verified it; nothing else may call this.
        """
        # It was valid when it was sealed, so it has begun by now, whatever the clock of this machine says.
        begun = now is None
        return self._checked(
            None, now=now, leeway=leeway, grace=grace, host_time=host_time, from_host=False, begun=begun
        )

    def _checked(self, expected: ContextExpectations | None, **times: Any) -> CaptureContext:
        claims = read_only(self._jws.claims)
        if claims.get("iss") != ISSUER:
            raise InvalidClaimError(f"the {_WHAT} was not issued by {ISSUER!r}", claim="iss")
        check_times(claims, _WHAT, **times)
        text_claim(claims, "jti", _WHAT)
        kind, data = _context(claims.get("ctx"))
        context = CaptureContext._from(self._jws, claims, key=_one_time_key(claims.get("flx")), type=kind, data=data)
        if expected is not None:
            _compare(context, expected)
        return context


@sealed
def verify_capture_context(
    token: str,
    keys: KeySource,
    *,
    now: float | None = None,
    leeway: float = DEFAULT_LEEWAY,
    expected: ContextExpectations | None = None,
    limits: TokenLimits = DEFAULT_LIMITS,
    host_time: HostTime | None = None,
    from_host: bool = False,
) -> CaptureContext:
    """Verify a capture context: RS256 signature under a long-term key, issuer, times, and a usable one-time key.

    Args:
        token: the JWT as the service gave it.
        keys: where the long-term key comes from. Bound to a host that the caller chose, never one the token names.
        now: seconds since the epoch; None for this machine's clock.
        leeway: seconds by which the clocks may differ.
        expected: what the context must say about the capture.
        limits: how large the token may be.
        host_time: the host's clock compared with this machine's: ``client.clock.host_time()``. A context that has
            expired by either clock is refused.
        from_host: True for a context in a response of the host, never for one from elsewhere: "not yet valid" is then
            judged by ``host_time`` too.

    Raises:
        MalformedTokenError: not a JWS in strict compact form.
        UnsupportedAlgorithmError: another algorithm than RS256, or a key that is too weak.
        UnknownKeyError: no key goes by its ``kid``.
        InvalidSignatureError: not signed with that key, or changed since.
        ExpiredTokenError, TokenNotYetValidError: its time is not now.
        InvalidClaimError: another claim is not what it has to be.
    """
    check_expected(expected)
    unverified = UnverifiedContext(token, limits)
    return with_key(
        keys,
        unverified.kid,
        lambda key: unverified.verify(
            key, now=now, leeway=leeway, expected=expected, host_time=host_time, from_host=from_host
        ),
    )


def _one_time_key(flx: Any) -> PublicKey:
    if type(flx) is not MappingProxyType:
        raise InvalidClaimError(f"the claim flx of the {_WHAT} is missing or not an object", claim="flx")
    if flx.get("path") != TOKENS_PATH:
        raise InvalidClaimError(f"the claim flx.path of the {_WHAT} is not {TOKENS_PATH}", claim="flx.path")
    jwk = flx.get("jwk")
    if type(jwk) is not MappingProxyType:
        raise InvalidClaimError(f"the claim flx.jwk of the {_WHAT} is missing or not an object", claim="flx.jwk")
    if not isinstance(jwk.get("kid"), str) or not jwk["kid"]:
        raise InvalidClaimError(f"the claim flx.jwk of the {_WHAT} has no kid", claim="flx.jwk.kid")
    try:
        return PublicKey(jwk, f"one-time key in the {_WHAT}")
    except UnsupportedAlgorithmError as cause:
        raise InvalidClaimError(str(cause), claim="flx.jwk") from None


def _context(ctx: Any) -> tuple[str, Mapping[str, Any]]:
    first = ctx[0] if isinstance(ctx, tuple) and ctx else None
    if type(first) is not MappingProxyType or not isinstance(first.get("type"), str) or not first["type"]:
        raise InvalidClaimError(f"the claim ctx of the {_WHAT} does not say its type", claim="ctx")
    data = first.get("data")
    return first["type"], data if type(data) is MappingProxyType else MappingProxyType({})


def check_expected(expected: object) -> None:
    """Raise ``ConfigurationError`` unless the argument ``expected`` can be compared. Called before a key is fetched."""
    if expected is None:
        return
    if not isinstance(expected, ContextExpectations):
        raise ConfigurationError(f"expected must be a ContextExpectations, not {type(expected).__name__}")
    for name, wanted in expected._asdict().items():
        if wanted is not None and (isinstance(wanted, (str, bytes)) or not isinstance(wanted, Collection)):
            raise ConfigurationError(f"{name} of expected must be a collection of strings, not {type(wanted).__name__}")
        if wanted is not None and not all(isinstance(each, str) for each in wanted):
            raise ConfigurationError(f"{name} of expected must have strings only")


def _compare(context: CaptureContext, expected: ContextExpectations) -> None:
    for name, wanted in expected._asdict().items():
        if wanted is None:
            continue
        if set(getattr(context, name)) != set(wanted):
            raise InvalidClaimError(f"the {_WHAT} says something else about {name} than was expected", claim="ctx")


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(entry for entry in value if isinstance(entry, str)) if isinstance(value, tuple) else ()


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
