"""TLS settings: trusted CAs and the client certificate."""

from __future__ import annotations

import hashlib
import os
import re
import time
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

from .._immutable import ImmutableValue
from .._paths import check_path, describe_path, without_bom
from .._runtime.lock import ForkSafeLock
from .._runtime.tracebacks import clear_locals_on_error
from ..errors import ConfigurationError

if TYPE_CHECKING:
    import ssl
    from datetime import datetime

    from cryptography import x509

__all__ = ["Tls", "certificates_in", "check_validity", "common_name"]

Path = str | os.PathLike[str]

# The size of OpenSSL's password buffer in bytes, without the terminating null character.
_MAX_PASSWORD: Final = 1023
# OpenSSL's reasons if certificate and key do not belong together. The last one means that their key types differ.
_MISMATCHES: Final = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
_LABEL: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----")


@clear_locals_on_error
class Tls(ImmutableValue):
    """TLS settings: trusted CAs and the client certificate. Requires TLS 1.2 or later.

    Files are read once, by the constructor. If a file is invalid, the constructor raises an exception.

    Args:
        ca_file: path of a PEM file with the certificates to trust. It replaces the system's trust store; to trust
            both, combine them in one file. None uses the system's trust store (``SSL_CERT_FILE`` and ``SSL_CERT_DIR``
            apply).
        client_certificate: path of a PEM file with the client certificate (mutual TLS), followed by its intermediate
            certificates. The first one must be valid now. None sends no certificate.
        client_key: path of a PEM file with the key of the client certificate. None if the key is in the file of the
            certificate.
        client_key_password: password of the key. None if the key is not encrypted. The password is not kept.
        ssl_context: a custom context, to pass instead of the arguments above. The context must verify certificates and
            host names and reject everything below TLS 1.2. Do not change it afterwards.
        insecure_skip_verification: True trusts every host, so attackers on the network can read and change the traffic.
            Only for test hosts on a private network. Each client logs a warning, and production hosts are rejected.

    Clients that trust the same CAs and have no client certificate share one TLS context, to save time and memory.
    Therefore do not change the attribute ``ssl_context``.

    The client certificate is not sent to a proxy. Exception: a custom ``ssl_context`` is used for both host and proxy.

    Attributes:
        client_certificate_expires_at: when the client certificate expires. None if there is no client certificate, or
            if only OpenSSL can read it.

    Raises:
        ConfigurationError: a file cannot be used, or two arguments exclude each other. Also raised if the client
            certificate is not valid now, or if no certificate in ``ca_file`` is valid now.
    """

    __slots__ = (
        "_custom_context",
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
    _custom_context: bool

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
            raise ConfigurationError("ca_file and insecure_skip_verification cannot be combined; pass only one")
        if client_certificate is None and (client_key is not None or client_key_password is not None):
            raise ConfigurationError("client_key and client_key_password need a client_certificate")
        expires_at = None
        custom_context = ssl_context is not None
        if ssl_context is None:
            ssl_context = _create_context(
                ca_file, insecure=insecure_skip_verification, shared=client_certificate is None
            )
            if ca_file is not None:
                _check_ca_certificates(ca_file)
            if client_certificate is not None:
                _load_client_certificate(ssl_context, client_certificate, client_key, client_key_password)
                expires_at = _client_certificate_expiry(client_certificate)
        elif ca_file is not None or client_certificate is not None:
            raise ConfigurationError(
                "ssl_context cannot be combined with ca_file or client_certificate; load these into the context"
            )
        else:
            _check_custom_context(ssl_context, insecure=insecure_skip_verification)
        self._set(
            ca_file=ca_file,
            client_certificate=client_certificate,
            client_certificate_expires_at=expires_at,
            client_key=client_key,
            insecure_skip_verification=insecure_skip_verification,
            ssl_context=ssl_context,
            _custom_context=custom_context,
        )

    def _arguments(self) -> dict[str, Any]:
        if self._custom_context:
            self._refuse_copy("its ssl_context cannot be")
        if self.client_certificate is not None:
            self._refuse_copy("it holds the key of the client certificate")
        return {"ca_file": self.ca_file, "insecure_skip_verification": self.insecure_skip_verification}

    def _compared(self) -> tuple[Any, ...]:
        files = self.ca_file, self.client_certificate, self.client_key, self.client_certificate_expires_at
        return (*files, self.insecure_skip_verification, self.ssl_context if self._custom_context else None)

    def __repr__(self) -> str:
        names = ("ca_file", "client_certificate", "client_key", "insecure_skip_verification")
        arguments = [f"{name}={getattr(self, name)!r}" for name in names if getattr(self, name)]
        return f"Tls({', '.join(arguments)})"

    def for_proxy(self) -> ssl.SSLContext:
        """Return the context for an ``https`` proxy: it trusts the same CAs and sends no client certificate."""
        if self.client_certificate is None:
            return self.ssl_context
        return _create_context(self.ca_file, insecure=self.insecure_skip_verification, shared=True)


def _create_context(ca_file: Path | None, *, insecure: bool, shared: bool) -> ssl.SSLContext:
    """Create a TLS context, or return an existing one that trusts the same CAs.

    Args:
        ca_file: path of a PEM file with the trusted CAs. None trusts the CAs of the system.
        insecure: whether to trust every host.
        shared: whether other clients may use the context too. False for a context that gets a client certificate.
    """
    if ca_file is not None:
        _check_pem("ca_file", ca_file, "certificate", b"CERTIFICATE")
    if not shared:
        return _new_context(ca_file, insecure=insecure)
    key = "insecure" if insecure else _system_trust() if ca_file is None else _digest(ca_file)
    with _lock:
        context = _shared_contexts.get(key)
        if context is None or _was_changed(context, insecure=insecure):
            context = _shared_contexts[key] = _new_context(ca_file, insecure=insecure)
        return context


# Reading the CAs of a system takes 15 to 30 ms, and a context has 0.7 MB. Unused contexts are freed.
_shared_contexts: Final[WeakValueDictionary[object, ssl.SSLContext]] = WeakValueDictionary()
_lock: Final = ForkSafeLock()


def _new_context(ca_file: Path | None, *, insecure: bool) -> ssl.SSLContext:
    import ssl

    if insecure:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca_file is None:
        context = ssl.create_default_context()
    else:
        try:
            context = ssl.create_default_context(cafile=ca_file)
        except ssl.SSLError as cause:
            raise ConfigurationError(
                f"{describe_path('ca_file', ca_file)} contains a certificate that cannot be read ({cause.reason})"
            ) from None
    if _is_below_1_2(context):
        context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _system_trust() -> tuple[object, ...]:
    """Return a key that changes when the system's trust store changes: the paths and states of its file and folder."""
    import ssl

    paths = ssl.get_default_verify_paths()
    return tuple((path, _file_state(path)) for path in (paths.cafile, paths.capath))


def _file_state(path: str | None) -> tuple[int, ...]:
    try:
        state = os.stat(path or "")
    except OSError:
        return ()
    return state.st_mtime_ns, state.st_size, state.st_ino


def _digest(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).digest()
    except OSError as cause:
        raise ConfigurationError(
            f"{describe_path('ca_file', path)} cannot be read: {cause.strerror or type(cause).__name__}"
        ) from None


def _was_changed(context: ssl.SSLContext, *, insecure: bool) -> bool:
    """Whether the program has changed how a shared context verifies hosts, so that no other client may use it."""
    import ssl

    verifies = context.verify_mode == ssl.CERT_REQUIRED and context.check_hostname
    return verifies is insecure or _is_below_1_2(context)


def _load_client_certificate(
    context: ssl.SSLContext, certificate: Path, key: Path | None, password: str | bytes | None
) -> None:
    """Load the client certificate and its key. Keeps OpenSSL from prompting for a password."""
    import ssl

    _check_password(password)
    _check_pem("client_certificate", certificate, "certificate", b"CERTIFICATE")
    name, file = ("client_certificate", certificate) if key is None else ("client_key", key)
    _check_pem(name, file, "private key", b"PRIVATE KEY")
    password_requested = False

    def get_password() -> str | bytes:
        nonlocal password_requested
        password_requested = True
        return b"" if password is None else password

    reason = None
    try:
        context.load_cert_chain(certificate, key, get_password)
    except ssl.SSLError as cause:
        reason = cause.reason or "no reason given"
    if reason is None:
        # A host may request the certificate after the handshake, when it knows the path (RFC 8446 section 4.6.2).
        context.post_handshake_auth = True
        return
    if reason in _MISMATCHES:
        raise ConfigurationError(
            f"{describe_path(name, file)} has a key that does not belong to the client certificate"
        )
    if password_requested and password is None:
        raise ConfigurationError(f"{describe_path(name, file)} contains an encrypted key; set client_key_password")
    if password_requested:
        raise ConfigurationError(f"client_key_password is wrong for the key in {describe_path(name, file)}")
    raise ConfigurationError(f"{describe_path('client_certificate', certificate)} or its key cannot be used ({reason})")


def _check_ca_certificates(path: Path) -> None:
    """Raise if none of the trusted certificates is valid now, because no host could be verified then."""
    certificates = certificates_in(path)
    if not certificates:
        return
    error = None
    for certificate in certificates:
        try:
            check_validity(certificate, describe_path("ca_file", path))
        except ConfigurationError as cause:
            error = cause
        else:
            return
    if error is not None:
        raise error


def _client_certificate_expiry(path: Path) -> datetime | None:
    """Return the expiry time of the client certificate (the first in the file). Raises if it is not valid now."""
    certificates = certificates_in(path)
    return check_validity(certificates[0], describe_path("client_certificate", path)) if certificates else None


def certificates_in(path: Path) -> list[x509.Certificate]:
    """Parse the certificates of a PEM file that OpenSSL has loaded.

    The list is empty if only OpenSSL can parse the certificates. OpenSSL supports more labels
    (``TRUSTED CERTIFICATE``) and is less strict.
    """
    from cryptography import x509

    try:
        with open(path, "rb") as file:
            return x509.load_pem_x509_certificates(file.read())
    except (ValueError, OSError):
        # OpenSSL has just loaded the file, so this is not an error of the user.
        return []


def check_validity(certificate: x509.Certificate, name: str) -> datetime:
    """Check that a certificate is valid now, and return its expiry time.

    Args:
        certificate: the certificate.
        name: name of the setting that contains the certificate, for messages.

    Raises:
        ConfigurationError: the certificate has expired or is not yet valid.
    """
    now = time.time()
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now >= ends.timestamp():
        raise ConfigurationError(f"{name}: the certificate {common_name(certificate)!r} expired on {ends:%Y-%m-%d}")
    if now < begins.timestamp():
        raise ConfigurationError(
            f"{name}: the certificate {common_name(certificate)!r} is not valid before {begins:%Y-%m-%d}"
        )
    return ends


def common_name(certificate: x509.Certificate) -> str:
    """Return the common name (CN) of a certificate's subject. Empty if the subject has none."""
    from cryptography.x509.oid import NameOID

    attributes = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(attributes[0].value) if attributes else ""


def _check_custom_context(context: Any, *, insecure: bool) -> None:
    import ssl

    if not isinstance(context, ssl.SSLContext):
        raise ConfigurationError(f"ssl_context must be an ssl.SSLContext, not {type(context).__name__}")
    if context.protocol == ssl.PROTOCOL_TLS_SERVER:
        raise ConfigurationError("ssl_context is a context for servers; create it with ssl.create_default_context()")
    if _is_below_1_2(context):
        raise ConfigurationError(
            "ssl_context accepts versions below TLS 1.2; set its minimum_version to ssl.TLSVersion.TLSv1_2"
        )
    verifies = context.verify_mode != ssl.CERT_NONE and context.check_hostname
    if not verifies and not insecure:
        raise ConfigurationError(
            "ssl_context does not verify the host (verify_mode is CERT_NONE, or check_hostname is off); create it "
            "with ssl.create_default_context()"
        )
    if verifies and insecure:
        raise ConfigurationError("ssl_context verifies the host, but insecure_skip_verification is True; set only one")


def _is_below_1_2(context: ssl.SSLContext) -> bool:
    import ssl

    # MINIMUM_SUPPORTED and MAXIMUM_SUPPORTED are negative numbers.
    lowest = context.minimum_version
    return lowest != ssl.TLSVersion.MAXIMUM_SUPPORTED and lowest < ssl.TLSVersion.TLSv1_2


def _check_password(password: str | bytes | None) -> None:
    if password is None:
        return
    if not isinstance(password, (str, bytes)) or not password:
        raise ConfigurationError("client_key_password must be a non-empty string or bytes")
    encoded = password.encode("utf-8", "replace") if isinstance(password, str) else password
    if isinstance(password, str) and encoded.decode("utf-8") != password:
        raise ConfigurationError("client_key_password contains a lone surrogate: its source is not UTF-8")
    if len(encoded) > _MAX_PASSWORD:
        raise ConfigurationError(f"client_key_password is longer than {_MAX_PASSWORD} bytes")


def _check_pem(name: str, path: Path, content: str, label: bytes) -> None:
    """Check that a file is PEM and contains a part whose label ends in ``label``. If not, raise."""
    if not isinstance(path, (str, os.PathLike)):
        raise ConfigurationError(f"{name} must be the path of a PEM file, not {type(path).__name__}")
    check_path(name, path)
    labels = _read_labels(path)
    if isinstance(labels, str):
        raise ConfigurationError(f"{describe_path(name, path)} {labels}")
    if not any(each.endswith(label) for each in labels):
        raise ConfigurationError(f"{describe_path(name, path)} contains no {content} in PEM form (-----BEGIN ...-----)")


def _read_labels(path: Path) -> list[bytes] | str:
    """Return the labels in a PEM file, or the reason why the file cannot be read.

    This function does not raise, because the traceback would contain the content of the file.
    """
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as cause:
        return f"cannot be read: {cause.strerror or type(cause).__name__}"
    except ValueError:
        return "cannot be read: it is not a path"
    if without_bom(data) != data:
        # OpenSSL would skip the first part of the file without an error.
        return "begins with a byte order mark (BOM); save it in UTF-8 without BOM"
    return _LABEL.findall(data)
