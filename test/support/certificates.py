"""Throwaway certificates: self-signed ones, PKCS #12 files, and a CA for servers and clients on loopback."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from cryptography.x509.oid import NameOID


def self_signed_certificate(
    key: Any,
    common_name: str,
    *,
    serial_number: str | None = None,
    begins: timedelta = timedelta(days=-1),
    ends: timedelta = timedelta(days=400),
) -> x509.Certificate:
    """A certificate for ``key``, valid from ``begins`` to ``ends``, both relative to now.

    ``serial_number`` is the attribute of the subject that contains a key id of CyberSource.
    """
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if serial_number is not None:
        attributes.append(x509.NameAttribute(NameOID.SERIAL_NUMBER, serial_number))
    subject = x509.Name(attributes)
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
        .sign(key, hashes.SHA256())
    )


def key_pem(key: Any, password: str | None = None) -> bytes:
    """A private key as PKCS #8 in PEM."""
    encryption = NoEncryption() if password is None else BestAvailableEncryption(password.encode())
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))


def certificate_pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def pkcs12_file(
    key: Any,
    certificate: x509.Certificate | None,
    *others: x509.Certificate,
    password: str,
    name: bytes | None = b"name",
) -> bytes:
    encryption = BestAvailableEncryption(password.encode())
    return pkcs12.serialize_key_and_certificates(name, key, certificate, list(others), encryption)


class CertificateAuthority:
    """A CA whose files are written to a folder. Needs trustme.

    Attributes:
        file: the CA's own certificate.
    """

    def __init__(self, folder: Path) -> None:
        import trustme

        self._authority = trustme.CA()
        self._folder = folder
        self.file = folder / "ca.pem"
        self._authority.cert_pem.write_to_path(self.file)

    def server_context(self, *names: str, require_client_certificate: bool = False) -> ssl.SSLContext:
        """The TLS context of a server with these names, by default of one on loopback."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(*(names or ("localhost", "127.0.0.1"))).configure_cert(context)
        if require_client_certificate:
            context.verify_mode = ssl.CERT_REQUIRED
            self._authority.configure_trust(context)
        return context

    def client_certificate(self, common_name: str) -> Path:
        """A file with a client certificate and its key."""
        file = self._folder / f"{common_name}.pem"
        self._authority.issue_cert(common_name=common_name).private_key_and_cert_chain_pem.write_to_path(file)
        return file


class IncompleteCertificateAuthority:
    """A CA whose certificates lack what RFC 5280 requires, as many company CAs do.

    Args:
        folder: where files are written.
        lacks: ``authority key identifier``, ``key usage`` or ``critical basic constraints``.

    Attributes:
        file: the CA's own certificate.
    """

    def __init__(self, folder: Path, lacks: str) -> None:
        self._folder, self._lacks = folder, lacks
        self._key = rsa.generate_private_key(65537, 2048)
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Company CA")])
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        builder = self._builder(self._name, self._key.public_key())
        builder = builder.add_extension(constraints, critical=lacks != "critical basic constraints")
        if lacks != "key usage":
            usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
            builder = builder.add_extension(usage, critical=True)
        self.file = folder / f"{lacks}.pem"
        self.file.write_bytes(certificate_pem(builder.sign(self._key, hashes.SHA256())))

    def _builder(self, subject: x509.Name, public_key: rsa.RSAPublicKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder(self._name, subject, public_key, x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        )
        if self._lacks != "authority key identifier":
            identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
            builder = builder.add_extension(identifier, critical=False)
        return builder

    def server_context(self) -> ssl.SSLContext:
        """The TLS context of a server on localhost."""
        key = rsa.generate_private_key(65537, 2048)
        certificate = (
            self._builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "host")]), key.public_key())
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        path = self._folder / "server.pem"
        path.write_bytes(key_pem(key) + certificate_pem(certificate))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context
