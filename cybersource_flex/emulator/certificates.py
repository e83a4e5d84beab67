"""X.509, as far as credentials need it: whose a certificate is, its id, and making such certificates.

The id of a certificate is the `serialNumber` attribute of its subject, 22 digits. The serial number of the
certificate itself is another number, made of the ASCII digits of the first one.
"""

from __future__ import annotations

import datetime
import secrets
from dataclasses import dataclass, field
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

# RFC 5280 allows 20 octets, and `cryptography` one bit less: real files take all 22 digits, here it is 19.
_SERIAL_DIGITS = 19


@dataclass(frozen=True)
class Certificate:
    """What the emulator knows of a certificate.

    Attributes:
        key_id: the `serialNumber` attribute of the subject.
        not_before, not_after: seconds since the epoch.
        x509_serials: the certificate's own serial number, as someone might take it for the id.
    """

    common_name: str
    key_id: str
    public_key: rsa.RSAPublicKey = field(repr=False, hash=False)
    not_before: float
    not_after: float
    x509_serials: frozenset[str] = field(repr=False)

    @classmethod
    def read(cls, data: bytes | str) -> Certificate:
        """From PEM or DER; ValueError when it is none, or lacks what an id needs."""
        return cls.of(load(data))

    @classmethod
    def of(cls, certificate: x509.Certificate) -> Certificate:
        key = certificate.public_key()
        if not isinstance(key, rsa.RSAPublicKey):
            raise ValueError("the key of the certificate is not RSA")
        number = certificate.serial_number
        return cls(
            common_name=_attribute(certificate, NameOID.COMMON_NAME, "CN"),
            key_id=_attribute(certificate, NameOID.SERIAL_NUMBER, "serialNumber"),
            public_key=key,
            not_before=certificate.not_valid_before_utc.timestamp(),
            not_after=certificate.not_valid_after_utc.timestamp(),
            x509_serials=frozenset({str(number), f"{number:x}", f"{number:X}"}),
        )


def load(data: bytes | str) -> x509.Certificate:
    """A certificate from PEM (exactly one) or DER."""
    raw = data.encode("ascii", "replace") if isinstance(data, str) else bytes(data)
    try:
        if b"-----BEGIN" not in raw:
            return x509.load_der_x509_certificate(raw)
        found = x509.load_pem_x509_certificates(raw)
    except ValueError:
        raise ValueError("the certificate is neither PEM nor DER") from None
    if len(found) != 1:
        raise ValueError(f"the PEM has {len(found)} certificates: give one at a time")
    return found[0]


def load_public_key(data: bytes | str) -> rsa.RSAPublicKey:
    """An RSA public key from PEM or DER."""
    raw = data.encode("ascii", "replace") if isinstance(data, str) else bytes(data)
    try:
        pem = b"-----BEGIN" in raw
        key = serialization.load_pem_public_key(raw) if pem else serialization.load_der_public_key(raw)
    except ValueError:
        raise ValueError("the public key is neither PEM nor DER") from None
    if not isinstance(key, rsa.RSAPublicKey):
        raise ValueError("the public key is not RSA")
    return key


def _attribute(certificate: x509.Certificate, oid: x509.ObjectIdentifier, what: str) -> str:
    found = certificate.subject.get_attributes_for_oid(oid)
    if len(found) != 1 or not isinstance(found[0].value, str) or not found[0].value:
        raise ValueError(f"the subject of the certificate must have one {what}, which is {_MEANING[what]}")
    return found[0].value


_MEANING = {"CN": "the merchant or portfolio id", "serialNumber": "the key id"}


def new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def _authority_key() -> rsa.RSAPrivateKey:
    """One for the process: nobody checks the chain, so nothing hangs on its being another each time."""
    return new_key()


def authority(now: float) -> x509.Certificate:
    """The certificate of the authority that signs the others. Clients do not check the chain."""
    key = _authority_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CyberSourceCertAuth")])
    return _sign(subject, key.public_key(), 1, now, days=3650)


def issue(common_name: str, key: rsa.RSAPublicKey, now: float, days: float) -> x509.Certificate:
    """A certificate as the Business Center makes it: CN and a new serialNumber, no extension.

    Args:
        days: how long it is valid from now on; below zero, it expired that long ago.
    """
    if not 1 <= len(common_name) <= 64:
        raise ValueError(f"{common_name!r} cannot be the CN of a certificate: 1 to 64 characters")
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
    moment = datetime.datetime.fromtimestamp(int(now), datetime.timezone.utc)
    until = moment + datetime.timedelta(days=days)
    # A day earlier than now, or than its end: clocks differ.
    since = min(moment, until) - datetime.timedelta(days=1)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(number).not_valid_before(since).not_valid_after(until)
    return builder.sign(_authority_key(), hashes.SHA256())
