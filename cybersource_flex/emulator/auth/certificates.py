"""X.509 certificates and P12 files: read registered certificates, issue new ones like the Business Center.

The key id of a certificate is the `serialNumber` attribute of its subject, 22 digits. The X.509 serial number of the
certificate is a different number: it is made of the ASCII codes of these digits.
"""

from __future__ import annotations

import datetime
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID
from cryptography.x509.verification import PolicyBuilder

from ...errors import ConfigurationError
from ..argument_types import check_list, check_number, check_str
from ..rsa_keys import RsaKeys

# `cryptography` looks up `datetime.datetime` once, at its first call with a time. If freezegun has replaced the class
# at that moment, no certificate can be issued in real time afterwards. So the first call is made here, at import.
PolicyBuilder().time(datetime.datetime(2026, 1, 1))

_MAX_DAYS = 10_000
# CN of the certificate that requests are encrypted to.
REQUEST_MLE_NAME = "CyberSource_SJC_US"

# Digits of the key id in the X.509 serial number. Real certificates use all 22. RFC 5280 allows 20 octets, and
# `cryptography` one bit less, so the emulator uses 19.
_SERIAL_DIGITS = 19

_SUBJECT_ATTRIBUTES = {"CN": "the merchant or portfolio id", "serialNumber": "the key id"}


@dataclass(frozen=True)
class Certificate:
    """The parts of a registered certificate that authentication needs.

    Attributes:
        key_id: the `serialNumber` attribute of the subject.
        not_before, not_after: seconds since the epoch.
        x509_serials: the X.509 serial number in the notations in which it may be mistaken for the key id.
    """

    common_name: str
    key_id: str
    public_key: rsa.RSAPublicKey = field(repr=False, hash=False)
    not_before: float
    not_after: float
    x509_serials: frozenset[str] = field(repr=False)

    @classmethod
    def parse(cls, data: bytes | str) -> Certificate:
        """Parse PEM or DER. ConfigurationError if it is neither, or if the subject has no CN or serialNumber."""
        return cls.of(load_certificate(data))

    @classmethod
    def of(cls, certificate: x509.Certificate) -> Certificate:
        key = certificate.public_key()
        if not isinstance(key, rsa.RSAPublicKey):
            raise ConfigurationError("the key of the certificate is not RSA")
        number = certificate.serial_number
        return cls(
            common_name=_attribute(certificate, NameOID.COMMON_NAME, "CN"),
            key_id=_attribute(certificate, NameOID.SERIAL_NUMBER, "serialNumber"),
            public_key=key,
            not_before=certificate.not_valid_before_utc.timestamp(),
            not_after=certificate.not_valid_after_utc.timestamp(),
            x509_serials=frozenset({str(number), f"{number:x}", f"{number:X}"}),
        )


def load_certificate(data: bytes | str) -> x509.Certificate:
    """A certificate from PEM (exactly one) or DER."""
    raw = data.encode("ascii", "replace") if isinstance(data, str) else bytes(data)
    try:
        if b"-----BEGIN" not in raw:
            return x509.load_der_x509_certificate(raw)
        certificates = x509.load_pem_x509_certificates(raw)
    except ValueError:
        raise ConfigurationError("the certificate is neither PEM nor DER") from None
    if len(certificates) != 1:
        raise ConfigurationError(f"the PEM has {len(certificates)} certificates: expected one")
    return certificates[0]


def load_public_key(data: bytes | str) -> rsa.RSAPublicKey:
    """An RSA public key from PEM or DER."""
    raw = data.encode("ascii", "replace") if isinstance(data, str) else bytes(data)
    try:
        pem = b"-----BEGIN" in raw
        key = serialization.load_pem_public_key(raw) if pem else serialization.load_der_public_key(raw)
    except ValueError:
        raise ConfigurationError("the public key is neither PEM nor DER") from None
    if not isinstance(key, rsa.RSAPublicKey):
        raise ConfigurationError("the public key is not RSA")
    return key


def _attribute(certificate: x509.Certificate, oid: x509.ObjectIdentifier, name: str) -> str:
    values = certificate.subject.get_attributes_for_oid(oid)
    if len(values) != 1 or not isinstance(values[0].value, str) or not values[0].value:
        raise ConfigurationError(
            f"the subject of the certificate must have exactly one {name}: it is {_SUBJECT_ATTRIBUTES[name]}"
        )
    return values[0].value


@cache
def _ca_key() -> rsa.RSAPrivateKey:
    """The CA's key. One per process is enough, because no client checks the chain."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def ca_certificate(now: float) -> x509.Certificate:
    """The certificate of the CA that signs the others. Clients do not check the chain."""
    key = _ca_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CyberSourceCertAuth")])
    return _sign(subject, key.public_key(), 1, now, days=3650)


def issue_certificate(common_name: str, key: rsa.RSAPublicKey, now: float, days: float) -> x509.Certificate:
    """Issue a certificate like the Business Center: with a CN and a new serialNumber, without extensions.

    Args:
        days: days for which it is valid, from now. With a negative number, it expired that many days ago.
    """
    if not 1 <= len(common_name) <= 64:
        raise ConfigurationError(f"{common_name!r} cannot be the CN of a certificate: expected 1 to 64 characters")
    digits = f"{int(now):010d}"[-10:] + "".join(secrets.choice("0123456789") for _ in range(12))
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
            x509.NameAttribute(NameOID.SERIAL_NUMBER, digits),
        ]
    )
    number = int.from_bytes(digits[:_SERIAL_DIGITS].encode("ascii"), "big")
    return _sign(subject, key, number, now, days)


def _sign(subject: x509.Name, key: rsa.RSAPublicKey, number: int, now: float, days: float) -> x509.Certificate:
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CyberSourceCertAuth")])
    issued_at = datetime.datetime.fromtimestamp(int(now), datetime.UTC)
    not_after = issued_at + datetime.timedelta(days=days)
    # The validity begins a day earlier than necessary, because clocks differ.
    not_before = min(issued_at, not_after) - datetime.timedelta(days=1)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(number).not_valid_before(not_before).not_valid_after(not_after)
    return builder.sign(_ca_key(), hashes.SHA256())


class CertificateIssuer:
    """Issues P12 files and the certificate for encrypted requests, like the Business Center. In memory only.

    RSA keys take 50 to 100 ms each, so they are generated when first used.

    Args:
        clock: returns seconds since the epoch; certificates are valid from that time on.
        request_mle: private key and certificate (PEM) for encrypted requests instead of generated ones.
    """

    def __init__(self, clock: Callable[[], float], request_mle: tuple[bytes, bytes] | None = None) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._rsa_keys = RsaKeys()
        if request_mle is not None and len(check_list("request_mle", request_mle, bytes)) != 2:
            raise ConfigurationError("request_mle must be a private key and a certificate")
        self._request_mle = None if request_mle is None else _load_pair(*request_mle)

    def request_mle(self) -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
        """The key that decrypts encrypted requests, and the certificate to which clients encrypt them."""
        with self._lock:
            if self._request_mle is None:
                key = self._rsa_keys.new()
                certificate = issue_certificate(REQUEST_MLE_NAME, key.public_key(), self._clock(), days=1095)
                self._request_mle = key, certificate
            return self._request_mle

    def make_p12(self, name: str, password: str, days: float) -> tuple[Certificate, bytes]:
        """Generate a key and its certificate. Returns the certificate, and a P12 file like the one merchants download.

        The file also contains the certificate for encrypted requests and the CA's certificate.
        """
        check_str("password", password)
        if not password:
            raise ConfigurationError("a P12 file needs a password")
        check_number("days", days)
        if not -_MAX_DAYS <= days <= _MAX_DAYS:
            raise ConfigurationError(f"days must be from -{_MAX_DAYS} to {_MAX_DAYS}")
        now, key = self._clock(), self._rsa_keys.new()
        x509_certificate = issue_certificate(name, key.public_key(), now, days)
        certificate = Certificate.of(x509_certificate)
        content = pkcs12.serialize_key_and_certificates(
            f"serialNumber={certificate.key_id},CN={name}".encode(),
            key,
            x509_certificate,
            [self.request_mle()[1], ca_certificate(now)],
            serialization.BestAvailableEncryption(password.encode("utf-8")),
        )
        return certificate, content


def _load_pair(key_pem: bytes, certificate_pem: bytes) -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
    try:
        key = serialization.load_pem_private_key(key_pem, None)
    except (ValueError, UnsupportedAlgorithm, TypeError) as cause:
        if isinstance(cause, TypeError) and "password" not in str(cause).lower():
            raise
        # "from None": nothing of the key may appear in a traceback.
        raise ConfigurationError(
            "the key for encrypted requests is not a private key in PEM without password"
        ) from None
    certificate = load_certificate(certificate_pem)
    Certificate.of(certificate)
    if not isinstance(key, rsa.RSAPrivateKey) or key.public_key() != certificate.public_key():
        raise ConfigurationError("key and certificate for encrypted requests do not belong together")
    return key, certificate
