"""Payment credentials: the card behind a transient token, in full, for whoever may hold it (PCI DSS scope).

(CyberSource Unified Checkout guide, "Payment Credentials".) A JWE to a key of the merchant's; inside it a JWS under a
long-term Flex key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from .._sealed import sealed
from ..errors import ConfigurationError, DecryptionError, InvalidClaimError
from .compact import DEFAULT_LIMITS, TokenLimits, parse_jwe, parse_jws
from .keys import KeySource, PublicKey, check_kid, with_key
from .verified import DEFAULT_LEEWAY, Verified, check_times, text_claim

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from ..transport import HostTime

__all__ = ["PaymentCredentials", "UnverifiedCredentials", "open_payment_credentials"]

ISSUER: Final = "https://flex.visa.com"
_ALG: Final = "RSA-OAEP-256"
_WHAT: Final = "payment credentials"


class PaymentCredentials(Verified):
    """Payment credentials that were decrypted and verified. **Holds a full card number or network token**: guard it as
    you would guard the card. Its repr shows none of it; it cannot be pickled.

    ``claims`` and ``jwt`` are the decrypted content.
    """

    __slots__ = ()

    #: For code that decides what may be stored or logged.
    contains_card_number: Final = True

    @property
    def subject(self) -> str | None:
        """Claim ``sub``: the merchant the credentials were made for."""
        found = self.claims.get("sub")
        return found if isinstance(found, str) else None

    def reveal(self) -> Mapping[str, Any]:
        """``paymentInformation``: ``card`` or ``tokenizedCard`` with ``number``, expiry and what else there is, in
        full.
        """
        found = self.claims.get("paymentInformation")
        return found if isinstance(found, Mapping) else {}

    def __repr__(self) -> str:
        return f"<PaymentCredentials expires_at={self.expires_at:%Y-%m-%dT%H:%M:%SZ}>"


@sealed
def open_payment_credentials(
    token: str,
    private_key: RSAPrivateKey,
    keys: KeySource,
    *,
    now: float | None = None,
    leeway: float = DEFAULT_LEEWAY,
    limits: TokenLimits = DEFAULT_LIMITS,
    host_time: HostTime | None = None,
    from_host: bool = False,
) -> PaymentCredentials:
    """Decrypt payment credentials and verify what is inside.

    Args:
        token: the JWE as the service gave it.
        private_key: the merchant's key, whose public half the service has.
        keys: where the long-term key comes from.
        now: seconds since the epoch; None for this machine's clock.
        leeway: seconds by which the clocks may differ.
        limits: how large the token may be.
        host_time: the host's clock compared with this machine's: ``client.clock.host_time()``. Credentials that have
            expired by either clock are refused.
        from_host: True for credentials in a response of the host: "not yet valid" is then judged by ``host_time`` too.

    Raises:
        MalformedTokenError: not a JWE, or what is inside not a JWS, in strict compact form.
        UnsupportedAlgorithmError: not ``RSA-OAEP-256`` with ``A256GCM``, or the JWS not ``RS256``.
        DecryptionError: the private key does not fit, or the token was changed.
        UnknownKeyError, InvalidSignatureError, InvalidClaimError, ExpiredTokenError, TokenNotYetValidError: the JWS
            inside is not what it has to be.
    """
    opened = UnverifiedCredentials(token, private_key, limits)
    return with_key(
        keys,
        opened.kid,
        lambda key: opened.verify(key, now=now, leeway=leeway, host_time=host_time, from_host=from_host),
    )


class UnverifiedCredentials:
    """Payment credentials that were decrypted and are believed in nothing but the name of their key. Arguments and
    errors are those of ``open_payment_credentials``.

    Attributes:
        kid: name of the long-term key.
    """

    __slots__ = ("_jws", "kid")

    def __init__(self, token: str, private_key: RSAPrivateKey, limits: TokenLimits = DEFAULT_LIMITS) -> None:
        inner = _decrypt(token, private_key, limits)
        if not inner.isascii():
            raise DecryptionError(f"what is inside the {_WHAT} is not a JWS")
        self._jws = parse_jws(inner.decode("ascii"), f"JWS inside the {_WHAT}", limits)
        self.kid = check_kid(self._jws.kid)

    def verify(
        self,
        key: PublicKey,
        *,
        now: float | None = None,
        leeway: float = DEFAULT_LEEWAY,
        host_time: HostTime | None = None,
        from_host: bool = False,
    ) -> PaymentCredentials:
        """The credentials, once everything has been checked."""
        key.verify(self._jws, f"JWS inside the {_WHAT}")
        claims = self._jws.claims
        if text_claim(claims, "iss", _WHAT) != ISSUER:
            raise InvalidClaimError(f"the {_WHAT} were not issued by {ISSUER}", claim="iss")
        check_times(claims, _WHAT, now=now, leeway=leeway, host_time=host_time, from_host=from_host)
        text_claim(claims, "jti", _WHAT)
        return PaymentCredentials._from(self._jws)


def _decrypt(token: str, private_key: RSAPrivateKey, limits: TokenLimits) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from .jwe import decrypt_jwe

    if not isinstance(private_key, RSAPrivateKey):
        raise ConfigurationError(f"private_key must be an RSAPrivateKey, not {type(private_key).__name__}")
    return decrypt_jwe(parse_jwe(token, _WHAT, limits), private_key, _ALG, _WHAT)
