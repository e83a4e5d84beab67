"""JWT authentication with the certificate and key of a P12 file from the Business Center."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from .._runtime.tracebacks import clear_locals_on_error
from . import certificates
from .certificates import FileSource
from .claim_format import JwtClaimFormat
from .credentials import check_identifier
from .jwt import RSA_ALGORITHMS, JwtSigner

if TYPE_CHECKING:
    from cryptography import x509

__all__ = ["JwtP12"]

_NAME = "p12"


@clear_locals_on_error
class JwtP12(JwtSigner):
    """Signs requests with a JWT and the private key of a P12 file. The file is read once, by the constructor.

    Args:
        merchant_id: id of the merchant that sends the requests.
        p12: path of the file, or its content as bytes.
        password: password of the file. Files made before March 2024 have the merchant id as their password. None if the
            file is not encrypted.
        portfolio_id: id of the portfolio, if the file belongs to a portfolio (meta key). None if it belongs to the
            merchant.
        algorithm: ``RS256``, ``RS384``, ``RS512``, ``PS256``, ``PS384`` or ``PS512``.
        claim_format: names and values of the claims on which CyberSource's documents and SDKs disagree.

    Attributes:
        key_id: id of the key: the serialNumber attribute in the subject of ``certificate``.
        certificate: the certificate in the file whose CN is the merchant id (with a meta key, the portfolio id).
        expires_at: when the certificate expires.

    Raises:
        ConfigurationError: the file cannot be read, or the password is wrong. Also raised if no certificate of the
            merchant (or portfolio) belongs to the key, or if that certificate has no key id or is not valid now.
    """

    __slots__ = ("_hash", "_key", "_padding", "certificate", "expires_at")

    _scheme: ClassVar[str] = "jwt_p12"

    certificate: x509.Certificate
    expires_at: datetime

    def __init__(
        self,
        merchant_id: str,
        p12: FileSource,
        password: str | bytes | None,
        *,
        portfolio_id: str | None = None,
        algorithm: str = "RS256",
        claim_format: JwtClaimFormat = JwtClaimFormat(),  # noqa: B008 - a tuple, which cannot be modified
    ) -> None:
        owner = check_identifier("merchant_id", merchant_id)
        if portfolio_id is not None:
            owner = check_identifier("portfolio_id", portfolio_id)
        contents = certificates.read_p12(certificates.read_source(p12, _NAME), password, _NAME)
        certificate = certificates.require_certificate(contents, owner, _NAME)
        super().__init__(
            merchant_id,
            certificates.get_key_id(certificate, _NAME),
            portfolio_id=portfolio_id,
            algorithm=algorithm,
            algorithms=RSA_ALGORITHMS,
            claim_format=claim_format,
        )
        self.certificate = certificate
        self.expires_at = certificates.check_validity(certificate, _NAME)
        self._key = certificates.require_private_key(contents, _NAME)
        self._padding, self._hash = _primitives(algorithm)

    def diagnostic_facts(self) -> dict[str, str | int | bool | None]:
        """Non-secret facts about the credentials. See ``cybersource_flex.transport.Signer``."""
        return {
            **super().diagnostic_facts(),
            "certificate_days_left": int((self.expires_at.timestamp() - time.time()) // 86400),
        }

    def _signature(self, data: bytes) -> bytes:
        return self._key.sign(data, self._padding, self._hash)


def _primitives(algorithm: str) -> tuple[Any, Any]:
    """Return padding and hash of an algorithm (RFC 7518 sections 3.3 and 3.5)."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    hash_algorithm: hashes.HashAlgorithm = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}[
        algorithm[2:]
    ]
    if algorithm.startswith("RS"):
        return padding.PKCS1v15(), hash_algorithm
    return padding.PSS(padding.MGF1(hash_algorithm), hash_algorithm.digest_size), hash_algorithm
