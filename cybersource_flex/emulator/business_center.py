"""What CyberSource's Business Center hands out: P12 files, and the certificate that requests are encrypted to."""

from __future__ import annotations

import threading
from collections.abc import Callable

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12

from . import certificates
from .certificates import Certificate

# CN of the certificate that requests are encrypted to.
REQUEST_MLE_NAME = "CyberSource_SJC_US"


class BusinessCenter:
    """Makes keys and certificates, in memory. RSA keys cost 50 to 100 ms each, so they are made when first used.

    Args:
        clock: seconds since the epoch; certificates are valid from now on.
        request_mle: private key and certificate (PEM) for encrypted requests instead of new ones.
    """

    def __init__(self, clock: Callable[[], float], request_mle: tuple[bytes, bytes] | None = None) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._request_mle = None if request_mle is None else _pair(*request_mle)

    def request_mle(self) -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
        """The pair behind encrypted requests: clients have the certificate, the emulator the key."""
        with self._lock:
            if self._request_mle is None:
                key = certificates.new_key()
                certificate = certificates.issue(REQUEST_MLE_NAME, key.public_key(), self._clock(), days=1095)
                self._request_mle = key, certificate
            return self._request_mle

    def p12(self, name: str, password: str, days: float) -> tuple[Certificate, bytes]:
        """A new key with its certificate, and both in a P12 file as merchants download it.

        The file also has the certificate for encrypted requests and that of the authority.
        """
        if not password:
            raise ValueError("a P12 file needs a password")
        now, key = self._clock(), certificates.new_key()
        certificate = certificates.issue(name, key.public_key(), now, days)
        known = Certificate.of(certificate)
        content = pkcs12.serialize_key_and_certificates(
            f"serialNumber={known.key_id},CN={name}".encode(),
            key,
            certificate,
            [self.request_mle()[1], certificates.authority(now)],
            serialization.BestAvailableEncryption(password.encode("utf-8")),
        )
        return known, content


def _pair(key_pem: bytes, certificate_pem: bytes) -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
    try:
        key = serialization.load_pem_private_key(key_pem, None)
    except (ValueError, UnsupportedAlgorithm, TypeError) as cause:
        if isinstance(cause, TypeError) and "password" not in str(cause).lower():
            raise
        # "from None": nothing of the key may show.
        raise ValueError("the key for encrypted requests is not a private key in PEM without password") from None
    certificate = certificates.load(certificate_pem)
    Certificate.of(certificate)
    if not isinstance(key, rsa.RSAPrivateKey) or key.public_key() != certificate.public_key():
        raise ValueError("key and certificate for encrypted requests do not belong together")
    return key, certificate
