"""Verify capture contexts: JWTs with the fields to capture and a one-time public key that encrypts the captured data.

Source: CyberSource Digital Accept guide, Flex API, "Capture Context".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .._immutable import ReadOnlyDict, read_only_copy
from .._runtime.tracebacks import clear_locals_on_error
from ..errors import ConfigurationError, InvalidClaimError, UnsupportedAlgorithmError
from .compact import DEFAULT_LIMITS, SignedJwt, TokenLimits, check_limits, parse_jws
from .keys import KeySource, PublicKey, check_key_source, check_kid, verify_with_key_source
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

__all__ = ["CaptureContext", "ContextExpectations", "UnverifiedContext", "verify_capture_context"]

ISSUER: Final = "Flex API"
TOKENS_PATH: Final = "/flex/v2/tokens"
_TOKEN_NAME: Final = "capture context"


class ContextExpectations(NamedTuple):
    """Values that a capture context must have. Each attribute is compared as a set; None accepts any value.

    Attributes:
        required_fields: dotted paths of the required fields.
        optional_fields: dotted paths of the optional fields.
        target_origins: origins of the pages that may load Microform.
        allowed_card_networks: card networks that Microform accepts.
        allowed_payment_types: payment types that Microform accepts.
    """

    required_fields: Collection[str] | None = None
    optional_fields: Collection[str] | None = None
    target_origins: Collection[str] | None = None
    allowed_card_networks: Collection[str] | None = None
    allowed_payment_types: Collection[str] | None = None


class CaptureContext(VerifiedToken):
    """A verified capture context: issued by the configured host, unmodified, and not expired when it was verified.

    Attributes:
        key: the one-time public key. It encrypts the captured data and verifies the transient token.
        type: product and version of the context: ``api-0.1.0`` for the Flex API, ``mf-2.1.0`` for Microform, ``gda-``
            or ``uc-`` and a version for Unified Checkout. Other types are accepted too.
        data: the claim ``ctx[0].data``, which describes what to capture. Read-only. The properties of this class return
            its known members.
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
        """Dotted paths of the required fields: ``paymentInformation.card.number``. Empty for Microform."""
        return _strings(self.data.get("requiredFields"))

    @property
    def optional_fields(self) -> tuple[str, ...]:
        """Dotted paths of the optional fields. Empty for Microform."""
        return _strings(self.data.get("optionalFields"))

    @property
    def target_origins(self) -> tuple[str, ...]:
        """Origins of the pages that may load Microform. Empty for the Flex API."""
        return _strings(self.data.get("targetOrigins"))

    @property
    def allowed_card_networks(self) -> tuple[str, ...]:
        """Card networks that Microform accepts (version 2 and later). Empty if the context lists none."""
        return _strings(self.data.get("allowedCardNetworks"))

    @property
    def allowed_payment_types(self) -> tuple[str, ...]:
        """Payment types that Microform accepts (version 2 and later). Empty if the context lists none."""
        return _strings(self.data.get("allowedPaymentTypes"))

    @property
    def client_library(self) -> str | None:
        """URL of the Microform script, for the page's ``<script src>``."""
        return _non_empty_str(self.data.get("clientLibrary"))

    @property
    def client_library_integrity(self) -> str | None:
        """Subresource integrity of the Microform script, for the page's ``<script integrity>``."""
        return _non_empty_str(self.data.get("clientLibraryIntegrity"))

    def script_tag(self, *, nonce: str | None = None) -> str:
        """Return the ``<script>`` tag that loads Microform, with ``integrity`` and ``crossorigin``, as escaped HTML.

        Templates of Django and Jinja insert it unchanged. Create it for each page from the context of that page.

        Args:
            nonce: the nonce of the page's Content-Security-Policy. None if the policy lists ``csp_sources`` instead.

        Raises:
            InvalidClaimError: the context names no script (it is for the Flex API), or no hash of the script.
            InvalidArgumentError: ``nonce`` is not a nonce.
        """
        from .microform_page import script_tag

        return script_tag(self.data, nonce)

    def csp_sources(self) -> dict[str, list[str]]:
        """Return the sources that the page's Content-Security-Policy must allow for Microform, by directive.

        For example ``{"script-src": ["https://flex.cybersource.com"], "frame-src": [...], "child-src": [...]}``.

        Raises:
            InvalidClaimError: the context has no script, because it is for the Flex API.
        """
        from .microform_page import csp_sources

        return csp_sources(self.data)

    def __repr__(self) -> str:
        return f"<CaptureContext {self.type} jti={self.jti!r} expires_at={self.expires_at:%Y-%m-%dT%H:%M:%SZ}>"


class UnverifiedContext:
    """A parsed but unverified capture context. Call ``verify`` with the key whose id is ``kid``.

    Args:
        token: the JWT that the service returned.
        limits: maximum size of the token.

    Attributes:
        kid: id of the long-term key, safe to put into a URL.

    Raises:
        MalformedTokenError, UnsupportedAlgorithmError, UnknownKeyError: see ``verify_capture_context``.
    """

    __slots__ = ("_jwt", "kid")

    def __init__(self, token: str, limits: TokenLimits = DEFAULT_LIMITS) -> None:
        self._jwt: SignedJwt = parse_jws(token, _TOKEN_NAME, limits)
        self.kid = check_kid(self._jwt.kid)

    def verify(
        self,
        key: PublicKey,
        *,
        now: float | None = None,
        leeway: float = DEFAULT_LEEWAY,
        grace: float = 0.0,
        expected: ContextExpectations | None = None,
        strict: bool = False,
        host_time: HostTime | None = None,
        received_from_host: bool = False,
    ) -> CaptureContext:
        """Verify the signature and the claims, and return the context.

        Args:
            key: the long-term key whose id is ``kid``.
            now: seconds since the epoch; None for this machine's clock.
            leeway: seconds by which the clocks may differ.
            grace: seconds for which an expired context is still accepted, to verify tokens that were created before.
            expected: values that the context must have. None accepts all values.
            strict: whether to reject a context that has ``warnings``.
            host_time: the difference between the host's clock and this machine's. None if unknown.
            received_from_host: whether the context was in a response of the host.
        """
        check_expected(expected)
        key.verify(self._jwt, _TOKEN_NAME)
        return self._create_context(
            expected,
            strict,
            now=now,
            leeway=leeway,
            grace=grace,
            host_time=host_time,
            received_from_host=received_from_host,
            verified_before=False,
        )

    def verify_claims(
        self, *, now: float | None, leeway: float, grace: float, host_time: HostTime | None = None
    ) -> CaptureContext:
        """Verify everything except the signature, and return the context.

        Only for a context that this package verified before and stored with a MAC.
        """
        # The context was valid when it was stored. If it is "not yet valid" now, this machine's clock is wrong. If the
        # caller passed `now`, that time is checked.
        return self._create_context(
            None,
            False,
            now=now,
            leeway=leeway,
            grace=grace,
            host_time=host_time,
            received_from_host=False,
            verified_before=now is None,
        )

    def _create_context(self, expected: ContextExpectations | None, strict: bool, **times: Any) -> CaptureContext:
        claims = read_only_copy(self._jwt.claims)
        # Checked, because the long-term keys also sign other kinds of tokens (RFC 8725 sections 3.8 and 3.12).
        if claims.get("iss") != ISSUER:
            raise InvalidClaimError(f"the {_TOKEN_NAME} has a wrong issuer (iss); expected {ISSUER!r}", claim="iss")
        deviations = [*check_times(claims, _TOKEN_NAME, **times), *audience_deviations(claims)]
        require_str_claim(claims, "jti", _TOKEN_NAME)
        context_type, data = _parse_ctx(claims.get("ctx"), deviations)
        key = _one_time_key(claims.get("flx"), deviations)
        if strict:
            reject_deviations(deviations, _TOKEN_NAME)
        context = CaptureContext._create(self._jwt, claims, deviations, key=key, type=context_type, data=data)
        if expected is not None:
            _check_expectations(context, expected)
        return context


@clear_locals_on_error
def verify_capture_context(
    token: str,
    keys: KeySource,
    *,
    now: float | None = None,
    leeway: float = DEFAULT_LEEWAY,
    expected: ContextExpectations | None = None,
    strict: bool = False,
    limits: TokenLimits = DEFAULT_LIMITS,
    host_time: HostTime | None = None,
    received_from_host: bool = False,
) -> CaptureContext:
    """Verify a capture context: its RS256 signature with a long-term key, its issuer, times and one-time key.

    Args:
        token: the JWT that the service returned.
        keys: source of the long-term keys. Choose the host of the keys yourself; never use a host named in the token.
        now: seconds since the epoch; None for this machine's clock.
        leeway: seconds by which the clocks may differ.
        expected: values that the context must have. None accepts all values.
        strict: whether to raise ``InvalidClaimError`` for a context that has ``warnings``.
        limits: maximum size of the token.
        host_time: the difference between the host's clock and this machine's: ``client.clock.host_time()``. None if
            unknown. A context that has expired by either clock is rejected.
        received_from_host: pass True if your program received the context directly from the host. The context is then
            rejected as "not yet valid" only if both clocks say so.

    Raises:
        MalformedTokenError: ``token`` is not a JWS in strict compact form.
        UnsupportedAlgorithmError: the algorithm is not RS256, or the long-term key is not acceptable.
        UnknownKeyError: ``keys`` has no key with the ``kid`` of the context.
        InvalidSignatureError: the context was signed with a different key, or modified.
        ExpiredTokenError, TokenNotYetValidError: the context has expired, or was issued in the future.
        InvalidClaimError: another claim is invalid.
        ConfigurationError: an argument besides ``token`` is wrong.
    """
    check_expected(expected)
    check_options(now=now, leeway=leeway, host_time=host_time, strict=strict)
    check_limits(limits)
    check_key_source("keys", keys)
    unverified = UnverifiedContext(token, limits)
    return verify_with_key_source(
        keys,
        unverified.kid,
        lambda key: unverified.verify(
            key,
            now=now,
            leeway=leeway,
            expected=expected,
            strict=strict,
            host_time=host_time,
            received_from_host=received_from_host,
        ),
    )


def _one_time_key(flx: Any, deviations: list[Deviation]) -> PublicKey:
    if not isinstance(flx, dict):
        raise InvalidClaimError(f"the claim flx of the {_TOKEN_NAME} is missing or not an object", claim="flx")
    if flx.get("path") != TOKENS_PATH:
        # Not an error: requests are always sent to TOKENS_PATH of the configured host. The path in the context is
        # unused.
        deviations.append(Deviation("flx.path", f"flx.path is not {TOKENS_PATH}"))
    jwk = flx.get("jwk")
    if not isinstance(jwk, dict):
        raise InvalidClaimError(f"the claim flx.jwk of the {_TOKEN_NAME} is missing or not an object", claim="flx.jwk")
    if not isinstance(jwk.get("kid"), str) or not jwk["kid"]:
        raise InvalidClaimError(f"the claim flx.jwk of the {_TOKEN_NAME} has no kid", claim="flx.jwk.kid")
    try:
        return PublicKey(jwk, f"one-time key in the {_TOKEN_NAME}")
    except UnsupportedAlgorithmError as cause:
        raise InvalidClaimError(str(cause), claim="flx.jwk") from None


def _parse_ctx(ctx: Any, deviations: list[Deviation]) -> tuple[str, Mapping[str, Any]]:
    first = ctx[0] if isinstance(ctx, list) and ctx else None
    if not isinstance(first, dict) or not isinstance(first.get("type"), str) or not first["type"]:
        raise InvalidClaimError(f"the claim ctx of the {_TOKEN_NAME} has no type", claim="ctx")
    if len(ctx) > 1:
        deviations.append(Deviation("ctx", "ctx has more than one entry; only the first one is read"))
    data = first.get("data")
    if not isinstance(data, dict):
        deviations.append(Deviation("ctx", "ctx[0].data is missing or not an object"))
        return first["type"], ReadOnlyDict()
    for name in _LISTS:
        value = data.get(name)
        if value is not None and not (isinstance(value, list) and all(isinstance(entry, str) for entry in value)):
            deviations.append(
                Deviation("ctx", f"ctx[0].data.{name} is not an array of strings; other values are ignored")
            )
    return first["type"], data


# Members of `data` that are arrays of strings in published contexts.
_LISTS: Final = ("requiredFields", "optionalFields", "targetOrigins", "allowedCardNetworks", "allowedPaymentTypes")


def check_expected(expected: object) -> None:
    """Check the type of the argument ``expected``. Called before a key is fetched. Raises ``ConfigurationError``."""
    if expected is None:
        return
    if not isinstance(expected, ContextExpectations):
        raise ConfigurationError(f"expected must be a ContextExpectations, not {type(expected).__name__}")
    for name, values in expected._asdict().items():
        if values is not None and (isinstance(values, (str, bytes)) or not isinstance(values, Collection)):
            raise ConfigurationError(f"{name} of expected must be a collection of strings, not {type(values).__name__}")
        if values is not None and not all(isinstance(value, str) for value in values):
            raise ConfigurationError(f"{name} of expected must contain only strings")


def _check_expectations(context: CaptureContext, expected: ContextExpectations) -> None:
    for name, values in expected._asdict().items():
        if values is None:
            continue
        if set(getattr(context, name)) != set(values):
            raise InvalidClaimError(f"the {name} of the {_TOKEN_NAME} differ from expected.{name}", claim="ctx")


def _strings(value: Any) -> tuple[str, ...]:
    return tuple(entry for entry in value if isinstance(entry, str)) if isinstance(value, list) else ()


def _non_empty_str(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
