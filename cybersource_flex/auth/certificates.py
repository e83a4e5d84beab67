"""Keys and certificates from files as the Business Center hands them out: PKCS #12 (RFC 7292) and PEM (RFC 7468).

Nothing here validates a certificate's chain: the old ones in use are signed with SHA-1 by a 1024-bit authority. They
are chosen by name, checked against the key, and checked for their time.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12
from cryptography.x509.oid import NameOID

from .._lock import Lock
from .._paths import read_file
from ..errors import ConfigurationError
from ..transport.validity import check_current, common_name, newest

__all__ = [
    "Container",
    "Source",
    "check_current",
    "check_strength",
    "is_pem",
    "key_id_of",
    "key_of",
    "named",
    "newest",
    "of_key",
    "of_private_key",
    "read",
    "read_p12",
    "read_pem_certificates",
    "read_private_key",
]

#: A file: its path as text or path object, or its content as bytes.
Source: TypeAlias = "str | os.PathLike[str] | bytes"

_MAX_BYTES: Final = 1024 * 1024
MIN_BITS: Final = 2048
_catching: Final = Lock()


class Container(NamedTuple):
    """What was in a file: a private key, or none, and certificates."""

    key: RSAPrivateKey | None
    certificates: tuple[x509.Certificate, ...]


def read(source: Source, name: str) -> bytes:
    """The content of a file.

    Args:
        source: path or content.
        name: name of the setting, for messages.

    Raises:
        ConfigurationError: there is no such file, it cannot be read, or it is empty or far too large.
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
    return data


def is_pem(data: bytes) -> bool:
    """Whether the content is PEM: text with ``-----BEGIN`` lines."""
    return b"-----BEGIN " in data


def read_p12(data: bytes, password: str | bytes | None, name: str) -> Container:
    """The key and the certificates in a PKCS #12 container.

    Raises:
        ConfigurationError: not such a container, or the password is wrong.
    """
    secret = _secret(password, name)
    if secret is not None and not _is_utf8(secret):
        # cryptography would fail with a TypeError. The passwords of these files are Unicode (RFC 7292 appendix B.1).
        raise ConfigurationError(f"{name}: the password is wrong: it is not UTF-8")
    try:
        # The lock: these filters are the whole process's, and two loads at once would restore each other's.
        with _catching, warnings.catch_warnings():
            # Files from the Business Center since 2024 write out a default value, which makes them BER and not DER.
            # cryptography reads them and warns; nobody who has such a file can do anything about it.
            warnings.filterwarnings("ignore", message="PKCS#12 bundle could not be parsed as DER", category=UserWarning)
            found = load_pkcs12(data, secret)
    except ValueError as cause:
        if "password" in str(cause).lower():
            raise ConfigurationError(f"{name}: the password is wrong, or the file is damaged") from None
        raise ConfigurationError(f"{name} is not a PKCS #12 (.p12, .pfx) file") from None
    except UnsupportedAlgorithm:
        raise ConfigurationError(f"{name} is encrypted in a way that the installed cryptography cannot read") from None
    first = () if found.cert is None else (found.cert.certificate,)
    certificates = (*first, *(extra.certificate for extra in found.additional_certs))
    if found.key is not None and not isinstance(found.key, RSAPrivateKey):
        raise ConfigurationError(f"{name}: the key in it is not an RSA key")
    return Container(found.key, certificates)


def read_pem_certificates(data: bytes, name: str) -> tuple[x509.Certificate, ...]:
    """The certificates in a PEM file.

    Raises:
        ConfigurationError: there is none, or one cannot be read.
    """
    try:
        return tuple(x509.load_pem_x509_certificates(data))
    except ValueError:
        raise ConfigurationError(f"{name} has no PEM certificate in it that can be read") from None


def read_private_key(data: bytes, password: str | bytes | None, name: str) -> RSAPrivateKey:
    """The private key in a PEM file, encrypted or not.

    Raises:
        ConfigurationError: there is none, the password is missing, wrong or not needed, or it is not an RSA key.
    """
    secret = _secret(password, name)
    try:
        key = load_pem_private_key(data, secret)
    except TypeError as cause:
        # Documented for a password that is missing or not needed. No other one is expected.
        if "password" not in str(cause).lower():
            raise
        wrong = "is encrypted and needs a password" if secret is None else "is not encrypted, but a password was given"
        raise ConfigurationError(f"{name}: the key {wrong}") from None
    except (ValueError, UnsupportedAlgorithm):
        wrong = "there is no private key in it that can be read"
        if secret is not None:
            wrong += ", or the password is wrong"
        raise ConfigurationError(f"{name}: {wrong}") from None
    if not isinstance(key, RSAPrivateKey):
        raise ConfigurationError(f"{name}: the key in it is not an RSA key")
    return key


def _secret(password: str | bytes | None, name: str) -> bytes | None:
    """The password as bytes. Raises ``ConfigurationError`` for another type."""
    if password is not None and not isinstance(password, (str, bytes)):
        raise ConfigurationError(f"{name}: the password must be str or bytes, not {type(password).__name__}")
    return password.encode("utf-8") if isinstance(password, str) else password


def _is_utf8(secret: bytes) -> bool:
    try:
        secret.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def named(certificates: Sequence[x509.Certificate], subject: str, name: str) -> list[x509.Certificate]:
    """The certificates whose CN is ``subject``, in any case of letters.

    Raises:
        ConfigurationError: there is none; the names that there are are listed.
    """
    found = [each for each in certificates if common_name(each).lower() == subject.lower()]
    if not found:
        names = ", ".join(repr(common_name(each)) for each in certificates) or "none at all"
        raise ConfigurationError(f"{name}: no certificate with CN {subject!r} in it; there is {names}")
    return found


def key_of(container: Container, name: str) -> RSAPrivateKey:
    """The private key of a container.

    Raises:
        ConfigurationError: there is none, or one of less than 2048 bits (RFC 7518 section 3.3).
    """
    key = container.key
    if key is None:
        raise ConfigurationError(f"{name} has no private key in it")
    return check_strength(key, name)


def of_key(container: Container, subject: str, name: str) -> x509.Certificate:
    """The certificate that belongs to the container's key and has the CN ``subject``.

    Raises:
        ConfigurationError: there is none.
    """
    key = key_of(container, name)
    found = _belonging(named(container.certificates, subject, name), key)
    if not found:
        raise ConfigurationError(f"{name}: the certificate {subject!r} in it does not belong to the key in it")
    return newest(found)


def of_private_key(
    certificates: Sequence[x509.Certificate], key: RSAPrivateKey, key_id: str | None
) -> x509.Certificate | None:
    """The certificate that belongs to a key, whatever its name; None where there is none.

    Args:
        certificates: those in the file of the key.
        key: the private key.
        key_id: of several certificates that belong to the key, the one with this key id is meant.
    """
    found = _belonging(certificates, key)
    return newest([each for each in found if key_id in _serial_numbers(each)] or found) if found else None


def _belonging(certificates: Iterable[x509.Certificate], key: RSAPrivateKey) -> list[x509.Certificate]:
    public = key.public_key()
    found = []
    for each in certificates:
        try:
            if each.public_key() == public:
                found.append(each)
        except (UnsupportedAlgorithm, ValueError):
            # A key that cannot be read is not this RSA key.
            continue
    return found


def key_id_of(certificate: x509.Certificate, name: str) -> str:
    """The key id of a certificate: the serialNumber attribute (OID 2.5.4.5) of its subject.

    The certificate's own X.509 serial number is another number and would be refused by the service.

    Raises:
        ConfigurationError: the subject has none.
    """
    found = _serial_numbers(certificate)
    if len(found) != 1 or not found[0]:
        raise ConfigurationError(
            f"{name}: the subject of the certificate {common_name(certificate)!r} has no serialNumber attribute, "
            "which is the key id"
        )
    return found[0]


def _serial_numbers(certificate: x509.Certificate) -> list[str]:
    found = certificate.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)
    return [str(each.value).strip() for each in found]


def check_strength(key: RSAPrivateKey, name: str) -> RSAPrivateKey:
    """The key, if it is long enough. Raises ``ConfigurationError`` otherwise (RFC 7518 section 3.3)."""
    if key.key_size < MIN_BITS:
        raise ConfigurationError(f"{name}: the RSA key has {key.key_size} bits; at least {MIN_BITS} are needed")
    return key
