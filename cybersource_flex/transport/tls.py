"""TLS settings: trusted CAs and the client certificate."""

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

# OpenSSL's password buffer, less the terminating null character.
_MAX_PASSWORD: Final = 1023
# OpenSSL's reasons if certificate and key do not belong together; the last one if their key types differ.
_MISMATCHES: Final = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
_LABEL: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----")


@sealed
class Tls(Frozen):
    """TLS settings: trusted CAs and the client certificate. Requires TLS 1.2 or later.

    Files are read once, when the object is created. Errors in them are raised then, not with the first request.

    Args:
        ca_file: path of a PEM file with the certificates to trust. It replaces the system's trust store; to trust
            both, combine them in one file. None uses the system's (``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` apply).
        client_certificate: path of a PEM file with the client certificate (mutual TLS), followed by its intermediate
            certificates. The first one must be valid now. None sends no certificate.
        client_key: path of a PEM file with the key of the certificate; None if it is in the same file.
        client_key_password: password of the key, if it is encrypted. It is used once and not kept.
        ssl_context: a custom context, instead of all of the above. It must verify certificates and host names
            and reject everything below TLS 1.2. Do not change it afterwards.
        insecure_skip_verification: True trusts every host, so attackers on the network can read and change the traffic.
            For a test host on a private network. Each client logs a warning, and production hosts are rejected.

    The client certificate is never sent to a proxy, except with ``ssl_context``: it serves both then.

    Attributes:
        client_certificate_expires_at: when the client certificate expires; None without one, or if only OpenSSL can
            read it.

    Raises:
        ConfigurationError: a file cannot be used, two arguments exclude each other, the client certificate has expired
            or is not yet valid, or this holds for all certificates in ``ca_file``.
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
        shown = [f"{name}={getattr(self, name)!r}" for name in names if getattr(self, name)]
        return f"Tls({', '.join(shown)})"

    def for_proxy(self) -> ssl.SSLContext:
        """The context for an ``https`` proxy: it trusts the same CAs and sends no client certificate."""
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

    def give_password() -> str | bytes:
        nonlocal asked
        asked = True
        return b"" if password is None else password

    reason = None
    try:
        context.load_cert_chain(certificate, key, give_password)
    except ssl.SSLError as cause:
        reason = cause.reason or "no reason given"
    if reason is None:
        # A host may request the certificate after the handshake, when it knows the path (RFC 8446 section 4.6.2).
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
    """Raise if none of the certificates is valid now: no host could be verified with them."""
    certificates = certificates_in(path)
    if not certificates:
        return
    failed = None
    for each in certificates:
        try:
            check_current(each, f"{described('ca_file', path)}")
        except ConfigurationError as cause:
            failed = cause
        else:
            return
    if failed is not None:
        raise failed


def _end_of(path: Path) -> datetime | None:
    """The expiry time of the client certificate, the first in the file. Raises if it is not valid now."""
    certificates = certificates_in(path)
    return check_current(certificates[0], f"{described('client_certificate', path)}") if certificates else None


def certificates_in(path: Path) -> list[x509.Certificate]:
    """Parse the certificates of a PEM file that OpenSSL has loaded.

    The list is empty if only OpenSSL can parse them: it supports more labels (``TRUSTED CERTIFICATE``) and is less
    strict.
    """
    from cryptography import x509

    try:
        with open(path, "rb") as file:
            return x509.load_pem_x509_certificates(file.read())
    except (ValueError, OSError):
        # OpenSSL has just read the file, so it exists and holds a certificate.
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

    # The two names for OpenSSL's own limits are negative numbers.
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
    if not any(each.endswith(label) for each in labels):
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
