"""Open payment credentials: the full card number of a transient token, for systems in the scope of PCI DSS.

Source: CyberSource Unified Checkout guide, "Payment Credentials".

Payment credentials are a JWE that is encrypted with the merchant's public key. The JWE contains a JWS that is signed
with a long-term key of CyberSource.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from .._runtime.tracebacks import clear_locals_on_error
from ..errors import ConfigurationError, DecryptionError, InvalidClaimError
from .compact import DEFAULT_LIMITS, TokenLimits, check_limits, parse_jwe, parse_jws
from .keys import KeySource, PublicKey, check_key_source, check_kid, verify_with_key_source
from .verified import (
    DEFAULT_LEEWAY,
    VerifiedToken,
    check_options,
    check_times,
    reject_deviations,
    require_str_claim,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from ..transport import HostTime

__all__ = ["PaymentCredentials", "UnverifiedCredentials", "open_payment_credentials"]

ISSUER: Final = "https://flex.visa.com"
_ALG: Final = "RSA-OAEP-256"
_TOKEN_NAME: Final = "payment credentials"


class PaymentCredentials(VerifiedToken):
    """Payment credentials that were decrypted and verified. They contain a **full card number or network token**.

    ``claims`` and ``jwt`` are the decrypted content. The card number must not be logged or stored by accident.
    Therefore the ``repr`` shows no claims, the object cannot be pickled, and ``json`` and ``pickle`` raise an error for
    ``claims``.
    """

    __slots__ = ()

    #: Always True. Code that stores or logs objects can test for this attribute.
    contains_card_number: Final = True

    @property
    def subject(self) -> str | None:
        """Claim ``sub``: the merchant that the credentials were created for. None if there is no such claim."""
        subject = self.claims.get("sub")
        return subject if isinstance(subject, str) else None

    def reveal(self) -> Mapping[str, Any]:
        """Return the claim ``paymentInformation``: ``card`` or ``tokenizedCard``, with full number and expiry date."""
        payment_information = self.claims.get("paymentInformation")
        return payment_information if isinstance(payment_information, Mapping) else {}

    def __repr__(self) -> str:
        return f"<PaymentCredentials expires_at={self.expires_at:%Y-%m-%dT%H:%M:%SZ}>"


@clear_locals_on_error
def open_payment_credentials(
    token: str,
    private_key: RSAPrivateKey,
    keys: KeySource,
    *,
    now: float | None = None,
    leeway: float = DEFAULT_LEEWAY,
    strict: bool = False,
    limits: TokenLimits = DEFAULT_LIMITS,
    host_time: HostTime | None = None,
    received_from_host: bool = False,
) -> PaymentCredentials:
    """Decrypt payment credentials and verify the JWS inside.

    Args:
        token: the JWE that the service returned.
        private_key: the merchant's private key. It belongs to the public key that encrypted the JWE.
        keys: source of the long-term keys.
        now: seconds since the epoch; None for this machine's clock.
        leeway: seconds by which the clocks may differ.
        strict: whether to raise ``InvalidClaimError`` for credentials that have ``warnings``.
        limits: maximum size of the token.
        host_time: the difference between the host's clock and this machine's: ``client.clock.host_time()``. None if
            unknown. Credentials that have expired by either clock are rejected.
        received_from_host: pass True if your program received the credentials directly from the host. The credentials
            are then rejected as "not yet valid" only if both clocks say so.

    Raises:
        MalformedTokenError: ``token`` is not a JWE in strict compact form, or its content is not a JWS in that form.
        UnsupportedAlgorithmError: the JWE does not use ``RSA-OAEP-256`` and ``A256GCM``, or the JWS does not use
            ``RS256``.
        DecryptionError: the JWE was encrypted to a different key, or modified.
        UnknownKeyError, InvalidSignatureError, InvalidClaimError, ExpiredTokenError, TokenNotYetValidError: the JWS
            inside is invalid.
        ConfigurationError: an argument besides ``token`` is wrong.
    """
    check_options(now=now, leeway=leeway, host_time=host_time, strict=strict)
    check_limits(limits)
    check_key_source("keys", keys)
    unverified = UnverifiedCredentials(token, private_key, limits)
    return verify_with_key_source(
        keys,
        unverified.kid,
        lambda key: unverified.verify(
            key, now=now, leeway=leeway, strict=strict, host_time=host_time, received_from_host=received_from_host
        ),
    )


class UnverifiedCredentials:
    """Decrypted but unverified payment credentials. Call ``verify`` with the key whose id is ``kid``.

    Arguments and errors are those of ``open_payment_credentials``.

    Attributes:
        kid: id of the long-term key that signed the JWS inside.
    """

    __slots__ = ("_jwt", "kid")

    def __init__(self, token: str, private_key: RSAPrivateKey, limits: TokenLimits = DEFAULT_LIMITS) -> None:
        content = _decrypt(token, private_key, limits)
        if not content.isascii():
            raise DecryptionError(f"the decrypted content of the {_TOKEN_NAME} is not a JWS")
        self._jwt = parse_jws(content.decode("ascii"), f"JWS inside the {_TOKEN_NAME}", limits)
        self.kid = check_kid(self._jwt.kid)

    def verify(
        self,
        key: PublicKey,
        *,
        now: float | None = None,
        leeway: float = DEFAULT_LEEWAY,
        strict: bool = False,
        host_time: HostTime | None = None,
        received_from_host: bool = False,
    ) -> PaymentCredentials:
        """Verify the signature and the claims, and return the credentials."""
        key.verify(self._jwt, f"JWS inside the {_TOKEN_NAME}")
        claims = self._jwt.claims
        if require_str_claim(claims, "iss", _TOKEN_NAME) != ISSUER:
            raise InvalidClaimError(f"the {_TOKEN_NAME} have a wrong issuer (iss); expected {ISSUER}", claim="iss")
        deviations = check_times(
            claims,
            _TOKEN_NAME,
            now=now,
            leeway=leeway,
            usual_lifetime=None,
            host_time=host_time,
            received_from_host=received_from_host,
        )
        require_str_claim(claims, "jti", _TOKEN_NAME)
        if strict:
            reject_deviations(deviations, _TOKEN_NAME)
        return PaymentCredentials._create(self._jwt, _freeze(claims), deviations)


def _freeze(value: Any) -> Any:
    """Return a read-only copy of parsed JSON that ``json`` and ``pickle`` reject.

    Otherwise a session, cache or log could store the card number by accident.
    """
    if isinstance(value, dict):
        return MappingProxyType({key: _freeze(entry) for key, entry in value.items()})
    return tuple(map(_freeze, value)) if isinstance(value, list) else value


def _decrypt(token: str, private_key: RSAPrivateKey, limits: TokenLimits) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from .jwe import decrypt_jwe

    if not isinstance(private_key, RSAPrivateKey):
        raise ConfigurationError(f"private_key must be an RSAPrivateKey, not {type(private_key).__name__}")
    return decrypt_jwe(parse_jwe(token, _TOKEN_NAME, limits), private_key, _ALG, _TOKEN_NAME)
