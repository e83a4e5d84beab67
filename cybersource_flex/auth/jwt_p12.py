"""JWT authentication with a certificate: the key is in a P12 file from the Business Center."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from .._sealed import sealed
from . import certificates
from .certificates import Source
from .claim_format import JwtClaimFormat
from .credentials import check_identifier
from .jwt import RSA_ALGORITHMS, JwtSigner

if TYPE_CHECKING:
    from cryptography import x509

__all__ = ["JwtP12"]

_NAME = "p12"


@sealed
class JwtP12(JwtSigner):
    """Signs requests with a JWT under the private key of a P12 file. The file is read once, here.

    Args:
        merchant_id: the merchant in whose name requests are made.
        p12: the file: its path, or its bytes.
        password: password of the file. Files made before March 2024 have the merchant id as their password.
        portfolio_id: with a meta key, the portfolio that created it; the file is the portfolio's then.
        algorithm: ``RS256``, ``RS384``, ``RS512``, ``PS256``, ``PS384`` or ``PS512``.
        claim_format: names and case of the claims on which CyberSource's sources disagree.

    Attributes:
        key_id: the serialNumber attribute in the subject of the certificate whose CN is the merchant (or portfolio) id.
        certificate: that certificate.
        expires_at: when it ends.

    Raises:
        ConfigurationError: the file cannot be read, the password is wrong, it has no certificate for the merchant (or
            portfolio) or one that does not fit the key, the certificate has no key id, or its time is not now.
    """

    __slots__ = ("_hash", "_key", "_padding", "certificate", "expires_at")

    _scheme: ClassVar[str] = "jwt_p12"

    certificate: x509.Certificate
    expires_at: datetime

    def __init__(
        self,
        merchant_id: str,
        p12: Source,
        password: str | bytes | None,
        *,
        portfolio_id: str | None = None,
        algorithm: str = "RS256",
        claim_format: JwtClaimFormat = JwtClaimFormat(),  # noqa: B008 - a tuple: nobody can change it
    ) -> None:
        owner = check_identifier("merchant_id", merchant_id)
        if portfolio_id is not None:
            owner = check_identifier("portfolio_id", portfolio_id)
        container = certificates.read_p12(certificates.read(p12, _NAME), password, _NAME)
        certificate = certificates.of_key(container, owner, _NAME)
        super().__init__(
            merchant_id,
            certificates.key_id_of(certificate, _NAME),
            portfolio_id=portfolio_id,
            algorithm=algorithm,
            algorithms=RSA_ALGORITHMS,
            claim_format=claim_format,
        )
        self.certificate = certificate
        self.expires_at = certificates.check_current(certificate, _NAME)
        self._key = certificates.key_of(container, _NAME)
        self._padding, self._hash = _primitives(algorithm)

    def facts(self) -> dict[str, str | int | bool | None]:
        """What is safe to tell of the credentials. See ``cybersource_flex.transport.Signer``."""
        return {**super().facts(), "certificate_days_left": int((self.expires_at.timestamp() - time.time()) // 86400)}

    def _signature(self, data: bytes) -> bytes:
        return self._key.sign(data, self._padding, self._hash)


def _primitives(algorithm: str) -> tuple[Any, Any]:
    """Padding and hash of an algorithm (RFC 7518 sections 3.3 and 3.5)."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    chosen: hashes.HashAlgorithm = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}[
        algorithm[2:]
    ]
    if algorithm.startswith("RS"):
        return padding.PKCS1v15(), chosen
    return padding.PSS(padding.MGF1(chosen), chosen.digest_size), chosen
