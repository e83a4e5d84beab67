"""Read keys and certificates from files of the Business Center: PKCS #12 (RFC 7292) and PEM (RFC 7468).

Certificate chains are not validated, because older certificates are signed with SHA-1 by a 1024-bit authority.
Certificates are chosen by name, and must match the key and be valid now.
"""

from __future__ import annotations

import base64
import binascii
import os
import time
import warnings
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12
from cryptography.x509.oid import NameOID

from .._paths import read_file, without_bom
from .._runtime.lock import ForkSafeLock
from ..errors import ConfigurationError
from ..transport.tls import check_validity, common_name

__all__ = [
    "FileSource",
    "Pkcs12Contents",
    "check_key_size",
    "check_validity",
    "find_by_common_name",
    "find_certificate_for_key",
    "get_key_id",
    "is_pem",
    "newest",
    "read_p12",
    "read_pem_certificates",
    "read_private_key",
    "read_source",
    "require_certificate",
    "require_private_key",
]

#: A file: its path as a string or path object, or its content as bytes.
FileSource: TypeAlias = "str | os.PathLike[str] | bytes"

_MAX_BYTES: Final = 1024 * 1024
MIN_BITS: Final = 2048
_warnings_lock: Final = ForkSafeLock()


class Pkcs12Contents(NamedTuple):
    """The private key, if there is one, and the certificates of a PKCS #12 file."""

    key: RSAPrivateKey | None
    certificates: tuple[x509.Certificate, ...]


def read_source(source: FileSource, name: str) -> bytes:
    """Read a file.

    Args:
        source: path or content.
        name: name of the setting, for messages.

    Raises:
        ConfigurationError: the file cannot be read, is empty or too large.
    """
    if isinstance(source, bytes):
        data = source
    elif isinstance(source, (str, os.PathLike)):
        data = read_file(name, source, _MAX_BYTES + 1)
    else:
        raise ConfigurationError(f"{name} must be a path or the file's bytes, not {type(source).__name__}")
    if not data:
        raise ConfigurationError(f"{name} is empty")
    if len(data) > _MAX_BYTES:
        raise ConfigurationError(f"{name} is larger than {_MAX_BYTES} bytes; is it the right file?")
    return without_bom(data)


def is_pem(data: bytes) -> bool:
    """Whether the content is PEM, which has ``-----BEGIN`` lines."""
    return b"-----BEGIN " in data


def read_p12(data: bytes, password: str | bytes | None, name: str) -> Pkcs12Contents:
    """Read the key and the certificates of a PKCS #12 file.

    Raises:
        ConfigurationError: the data is not a PKCS #12 file, or the password is wrong.
    """
    secret = _password_bytes(password, name)
    if secret is not None and not _is_utf8(secret):
        # cryptography would raise a TypeError. Passwords of these files are Unicode (RFC 7292 appendix B.1).
        raise ConfigurationError(f"{name}: the password is wrong: the bytes are not UTF-8")
    if secret is not None and b"\0" in secret:
        # cryptography would panic: OpenSSL takes the password as a string that ends with a null character.
        raise ConfigurationError(f"{name}: the password is wrong: it contains a null character")
    try:
        # The warning filters are global. Without the lock, concurrent calls would restore each other's filters.
        with _warnings_lock, warnings.catch_warnings():
            # Since 2024, files of the Business Center encode a default value, which makes them BER instead of DER.
            # cryptography reads these files, but warns. The warning is hidden because the user cannot change the file.
            warnings.filterwarnings("ignore", message="PKCS#12 bundle could not be parsed as DER", category=UserWarning)
            bundle = load_pkcs12(data, secret)
    except ValueError as cause:
        if "password" in str(cause).lower():
            raise ConfigurationError(f"{name}: the password is wrong, or the file is damaged") from None
        raise ConfigurationError(f"{name} is not a PKCS #12 (.p12, .pfx) file{_other_format(data)}") from None
    except UnsupportedAlgorithm:
        raise ConfigurationError(
            f"{name} is encrypted with an algorithm that the installed cryptography does not support"
        ) from None
    first = () if bundle.cert is None else (bundle.cert.certificate,)
    certificates = (*first, *(extra.certificate for extra in bundle.additional_certs))
    if bundle.key is not None and not isinstance(bundle.key, RSAPrivateKey):
        raise ConfigurationError(f"{name}: the private key must be an RSA key")
    return Pkcs12Contents(bundle.key, certificates)


def _other_format(data: bytes) -> str:
    """Describe a file that is not PKCS #12, for the end of a message."""
    if is_pem(data):
        return ": it is a PEM file"
    try:
        content = base64.b64decode(b"".join(data.split()), validate=True)
    except binascii.Error:
        return ""
    # PKCS #12 is a DER sequence of more than 127 bytes, which begins with these bytes.
    is_der = len(content) > 127 and content[:1] == b"\x30" and content[1:2] >= b"\x80"
    return ": it is base64 of such a file; decode it, for example with base64 --decode" if is_der else ""


def read_pem_certificates(data: bytes, name: str) -> tuple[x509.Certificate, ...]:
    """Read the certificates of a PEM file.

    Raises:
        ConfigurationError: there is no certificate, or one cannot be parsed.
    """
    try:
        return tuple(x509.load_pem_x509_certificates(data))
    except ValueError:
        raise ConfigurationError(f"{name} contains no valid PEM certificate") from None


def read_private_key(data: bytes, password: str | bytes | None, name: str) -> RSAPrivateKey:
    """Read the private key of a PEM file. The key may be encrypted.

    Raises:
        ConfigurationError: there is no key, or the key is not an RSA key. Also raised if the password is missing or
            wrong, or if a password was given for a key that is not encrypted.
    """
    secret = _password_bytes(password, name)
    try:
        key = load_pem_private_key(data, secret)
    except TypeError as cause:
        # cryptography documents this error for a missing or unneeded password. Other TypeErrors are programming errors.
        if "password" not in str(cause).lower():
            raise
        problem = (
            "is encrypted and needs a password" if secret is None else "is not encrypted, but a password was given"
        )
        raise ConfigurationError(f"{name}: the key {problem}") from None
    except (ValueError, UnsupportedAlgorithm):
        problem = "contains no valid private key"
        if secret is not None:
            problem += ", or the password is wrong"
        raise ConfigurationError(f"{name} {problem}") from None
    if not isinstance(key, RSAPrivateKey):
        raise ConfigurationError(f"{name}: the private key must be an RSA key")
    return key


def _password_bytes(password: str | bytes | None, name: str) -> bytes | None:
    """Convert a password to bytes. Raises ``ConfigurationError`` for other types and for invalid Unicode."""
    if password is not None and not isinstance(password, (str, bytes)):
        raise ConfigurationError(f"{name}: the password must be str or bytes, not {type(password).__name__}")
    if not isinstance(password, str):
        return password
    try:
        return password.encode("utf-8")
    except UnicodeEncodeError:
        pass
    # Raised outside of the handler, because the exception contains the password.
    raise ConfigurationError(f"{name}: the password contains a lone surrogate: its source is not UTF-8")


def _is_utf8(secret: bytes) -> bool:
    try:
        secret.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def find_by_common_name(certificates: Sequence[x509.Certificate], subject: str, name: str) -> list[x509.Certificate]:
    """Find the certificates whose CN is ``subject``, regardless of case.

    Raises:
        ConfigurationError: no certificate has this CN. The message lists the CNs of all certificates.
    """
    matches = [certificate for certificate in certificates if common_name(certificate).lower() == subject.lower()]
    if not matches:
        names = ", ".join(repr(common_name(certificate)) for certificate in certificates) or "no certificate"
        raise ConfigurationError(f"{name} contains no certificate with CN {subject!r}; the file contains {names}")
    return matches


def require_private_key(contents: Pkcs12Contents, name: str) -> RSAPrivateKey:
    """Return the private key of a PKCS #12 file.

    Raises:
        ConfigurationError: the file has no private key, or the key has less than 2048 bits (RFC 7518 section 3.3).
    """
    key = contents.key
    if key is None:
        raise ConfigurationError(f"{name} contains no private key")
    return check_key_size(key, name)


def require_certificate(contents: Pkcs12Contents, subject: str, name: str) -> x509.Certificate:
    """Return the certificate in a PKCS #12 file that belongs to the file's key and has the CN ``subject``.

    Raises:
        ConfigurationError: the file has no such certificate.
    """
    key = require_private_key(contents, name)
    matches = _certificates_for_key(find_by_common_name(contents.certificates, subject, name), key)
    if not matches:
        raise ConfigurationError(
            f"{name}: the certificate with CN {subject!r} does not belong to the private key in the file"
        )
    return newest(matches)


def find_certificate_for_key(
    certificates: Sequence[x509.Certificate], key: RSAPrivateKey, key_id: str | None
) -> x509.Certificate | None:
    """Find the certificate that belongs to a key. Returns None if no certificate does.

    Args:
        certificates: the certificates in the file of the key.
        key: the private key.
        key_id: if several certificates belong to the key, the one with this key id is preferred. None: no preference.
    """
    matches = _certificates_for_key(certificates, key)
    preferred = [certificate for certificate in matches if key_id in _serial_numbers(certificate)]
    return newest(preferred or matches) if matches else None


def newest(certificates: Iterable[x509.Certificate]) -> x509.Certificate:
    """Choose the valid certificate that expires last. If no certificate is valid now, choose from all of them."""
    now = time.time()

    def rank(certificate: x509.Certificate) -> tuple[bool, float]:
        begins, ends = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
        return begins <= now < ends, ends

    return max(certificates, key=rank)


def _certificates_for_key(certificates: Iterable[x509.Certificate], key: RSAPrivateKey) -> list[x509.Certificate]:
    public_key = key.public_key()
    matches = []
    for certificate in certificates:
        try:
            if certificate.public_key() == public_key:
                matches.append(certificate)
        except (UnsupportedAlgorithm, ValueError):
            # A public key that cannot be parsed does not belong to this RSA key.
            continue
    return matches


def get_key_id(certificate: x509.Certificate, name: str) -> str:
    """Return the key id of a certificate: the serialNumber attribute (OID 2.5.4.5) of its subject.

    The X.509 serial number of the certificate is a different number, which the service rejects.

    Raises:
        ConfigurationError: the subject does not have exactly one such attribute.
    """
    key_ids = _serial_numbers(certificate)
    if len(key_ids) != 1 or not key_ids[0]:
        raise ConfigurationError(
            f"{name}: the subject of the certificate {common_name(certificate)!r} has no key id; expected exactly one "
            "serialNumber attribute"
        )
    return key_ids[0]


def _serial_numbers(certificate: x509.Certificate) -> list[str]:
    attributes = certificate.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)
    return [str(attribute.value).strip() for attribute in attributes]


def check_key_size(key: RSAPrivateKey, name: str) -> RSAPrivateKey:
    """Return the key. Raises ``ConfigurationError`` if it has less than 2048 bits (RFC 7518 section 3.3)."""
    if key.key_size < MIN_BITS:
        raise ConfigurationError(f"{name}: the RSA key has {key.key_size} bits; expected at least {MIN_BITS}")
    return key
