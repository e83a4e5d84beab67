"""TLS: which hosts are believed, and the certificate that is shown to them."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Final

from .._paths import check_path, described
from .._sealed import sealed
from ..errors import ConfigurationError
from .frozen import Frozen
from .validity import check_current

if TYPE_CHECKING:
    import ssl
    from datetime import datetime

    from cryptography import x509

__all__ = ["Tls"]

Path = str | os.PathLike[str]

# OpenSSL's buffer for passwords, less the null character at its end.
_MAX_PASSWORD: Final = 1023
# What OpenSSL says where certificate and key do not belong together; the last one where they differ in kind.
_MISMATCHES: Final = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
_LABEL: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----")


@sealed
class Tls(Frozen):
    """Which hosts are believed, and the certificate that is shown to them. TLS 1.2 at least.

    Files are read here, once; what is wrong with them is said here, and not when the first request is sent.

    Args:
        ca_file: path of a PEM file with the certificates to trust. It replaces the system's; to have both, give a file
            with both. None trusts the system's (OpenSSL's ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` count).
        client_certificate: path of a PEM file with the certificate to show a host that asks for one (mutual TLS), and
            those between it and its authority. The first one must be valid now. None shows none.
        client_key: path of a PEM file with the key of the certificate; None where it is in the same file.
        client_key_password: password of the key, where it is encrypted. It is used once and not kept.
        ssl_context: a context of your own, in place of all of the above. It must verify certificates and host names
            and refuse everything below TLS 1.2. Do not change it afterwards.
        insecure_skip_verification: True believes every host, also one that reads and changes what passes. For a test
            host on a network of your own. A warning is logged for each client, and production hosts are refused.

    The certificate is never shown to a proxy, unless the context is your own: that serves a proxy as it serves a host.

    Attributes:
        client_certificate_expires_at: when the client certificate ends; None without one, and for one that only OpenSSL
            can read.

    Raises:
        ConfigurationError: a file cannot be used, two arguments exclude each other, the client certificate has ended or
            not begun, or all certificates in ``ca_file`` have.
    """

    __slots__ = (
        "ca_file",
        "client_certificate",
        "client_certificate_expires_at",
        "client_key",
        "insecure_skip_verification",
        "ssl_context",
    )

    ca_file: Path | None
    client_certificate: Path | None
    client_certificate_expires_at: datetime | None
    client_key: Path | None
    insecure_skip_verification: bool
    ssl_context: ssl.SSLContext

    def __init__(
        self,
        *,
        ca_file: Path | None = None,
        client_certificate: Path | None = None,
        client_key: Path | None = None,
        client_key_password: str | bytes | None = None,
        ssl_context: ssl.SSLContext | None = None,
        insecure_skip_verification: bool = False,
    ) -> None:
        if not isinstance(insecure_skip_verification, bool):
            raise ConfigurationError("insecure_skip_verification must be True or False")
        if insecure_skip_verification and ca_file is not None:
            raise ConfigurationError("ca_file and insecure_skip_verification exclude each other: verify, or do not")
        if client_certificate is None and (client_key is not None or client_key_password is not None):
            raise ConfigurationError("client_key and client_key_password need a client_certificate")
        expires_at = None
        if ssl_context is None:
            ssl_context = _context(ca_file, insecure=insecure_skip_verification)
            if ca_file is not None:
                _check_authorities(ca_file)
            if client_certificate is not None:
                _show(ssl_context, client_certificate, client_key, client_key_password)
                expires_at = _end_of(client_certificate)
        elif ca_file is not None or client_certificate is not None:
            raise ConfigurationError("ssl_context excludes ca_file and client_certificate: load these into the context")
        else:
            _check(ssl_context, insecure=insecure_skip_verification)
        self._set(
            ca_file=ca_file,
            client_certificate=client_certificate,
            client_certificate_expires_at=expires_at,
            client_key=client_key,
            insecure_skip_verification=insecure_skip_verification,
            ssl_context=ssl_context,
        )

    def __repr__(self) -> str:
        names = ("ca_file", "client_certificate", "client_key", "insecure_skip_verification")
        given = [f"{name}={getattr(self, name)!r}" for name in names if getattr(self, name)]
        return f"Tls({', '.join(given)})"

    def for_proxy(self) -> ssl.SSLContext:
        """The context for an ``https`` proxy: it believes the same authorities and shows no certificate."""
        if self.client_certificate is None:
            return self.ssl_context
        return _context(self.ca_file, insecure=self.insecure_skip_verification)


def _context(ca_file: Path | None, *, insecure: bool) -> ssl.SSLContext:
    import ssl

    if insecure:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca_file is None:
        context = ssl.create_default_context()
    else:
        _require("ca_file", ca_file, "certificate", b"CERTIFICATE")
        try:
            context = ssl.create_default_context(cafile=ca_file)
        except ssl.SSLError as cause:
            raise ConfigurationError(
                f"{described('ca_file', ca_file)} has a certificate that cannot be read ({cause.reason})"
            ) from None
    if _is_below_1_2(context):
        context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _show(context: ssl.SSLContext, certificate: Path, key: Path | None, password: str | bytes | None) -> None:
    """Load the client certificate and its key. Never asks the terminal for a password, as OpenSSL would."""
    import ssl

    _check_password(password)
    _require("client_certificate", certificate, "certificate", b"CERTIFICATE")
    name, file = ("client_certificate", certificate) if key is None else ("client_key", key)
    _require(name, file, "private key", b"PRIVATE KEY")
    asked = False

    def answer() -> str | bytes:
        nonlocal asked
        asked = True
        return b"" if password is None else password

    reason = None
    try:
        context.load_cert_chain(certificate, key, answer)
    except ssl.SSLError as cause:
        reason = cause.reason or "no reason given"
    if reason is None:
        # A host may ask for the certificate after the handshake, when it knows the path (RFC 8446 section 4.6.2).
        context.post_handshake_auth = True
        return
    if reason in _MISMATCHES:
        raise ConfigurationError(f"{described(name, file)} has a key that is not that of the client certificate")
    if asked and password is None:
        raise ConfigurationError(f"{described(name, file)} has an encrypted key; give its client_key_password")
    if asked:
        raise ConfigurationError(f"client_key_password does not open the key in {described(name, file)}")
    raise ConfigurationError(f"{described('client_certificate', certificate)} or its key cannot be used ({reason})")


def _check_authorities(path: Path) -> None:
    """Raise where none of the certificates is valid now: no host could be verified with them."""
    found = certificates_in(path)
    if not found:
        return
    failed = None
    for each in found:
        try:
            check_current(each, f"{described('ca_file', path)}")
        except ConfigurationError as cause:
            failed = cause
        else:
            return
    if failed is not None:
        raise failed


def _end_of(path: Path) -> datetime | None:
    """When the certificate that is shown ends: the first in the file. Raises if it is not valid now."""
    found = certificates_in(path)
    return check_current(found[0], f"{described('client_certificate', path)}") if found else None


def certificates_in(path: Path) -> list[x509.Certificate]:
    """The certificates in a PEM file that OpenSSL has loaded. Empty where only OpenSSL can read them, which knows more
    forms (``TRUSTED CERTIFICATE``) and forgives more.
    """
    from cryptography import x509

    try:
        with open(path, "rb") as file:
            return x509.load_pem_x509_certificates(file.read())
    except (ValueError, OSError):
        # OpenSSL has read the file a moment ago, so it is there and is a certificate.
        return []


def _check(context: Any, *, insecure: bool) -> None:
    import ssl

    if not isinstance(context, ssl.SSLContext):
        raise ConfigurationError(f"ssl_context must be an ssl.SSLContext, not {type(context).__name__}")
    if context.protocol == ssl.PROTOCOL_TLS_SERVER:
        raise ConfigurationError("ssl_context is one for servers; make it with ssl.create_default_context()")
    if _is_below_1_2(context):
        raise ConfigurationError(
            "ssl_context accepts versions below TLS 1.2; set its minimum_version to ssl.TLSVersion.TLSv1_2"
        )
    verifies = context.verify_mode != ssl.CERT_NONE and context.check_hostname
    if not verifies and not insecure:
        raise ConfigurationError(
            "ssl_context does not verify the host (verify_mode is CERT_NONE, or check_hostname is off); make it with "
            "ssl.create_default_context()"
        )
    if verifies and insecure:
        raise ConfigurationError("ssl_context verifies the host and insecure_skip_verification says not to; give one")


def _is_below_1_2(context: ssl.SSLContext) -> bool:
    import ssl

    # The two names for "whatever OpenSSL has" are negative numbers.
    lowest = context.minimum_version
    return lowest != ssl.TLSVersion.MAXIMUM_SUPPORTED and lowest < ssl.TLSVersion.TLSv1_2


def _check_password(password: str | bytes | None) -> None:
    if password is None:
        return
    if not isinstance(password, (str, bytes)) or not password:
        raise ConfigurationError("client_key_password is empty, or neither text nor bytes")
    if len(password.encode("utf-8") if isinstance(password, str) else password) > _MAX_PASSWORD:
        raise ConfigurationError(f"client_key_password is longer than {_MAX_PASSWORD} bytes")


def _require(name: str, path: Path, what: str, label: bytes) -> None:
    """Raise unless the file at ``path`` is PEM and has a part whose label ends in ``label``."""
    if not isinstance(path, (str, os.PathLike)):
        raise ConfigurationError(f"{name} must be the path of a PEM file, not {type(path).__name__}")
    check_path(name, path)
    labels = _labels(path)
    if isinstance(labels, str):
        raise ConfigurationError(f"{described(name, path)} cannot be read: {labels}")
    if not any(found.endswith(label) for found in labels):
        raise ConfigurationError(f"{described(name, path)} has no {what} in PEM form (-----BEGIN ...-----) in it")


def _labels(path: Path) -> list[bytes] | str:
    """The labels in a PEM file, or why it cannot be read. Raises nothing: a traceback would hold the content."""
    try:
        with open(path, "rb") as file:
            return _LABEL.findall(file.read())
    except OSError as cause:
        return cause.strerror or type(cause).__name__
    except ValueError:
        return "it is not a path"
