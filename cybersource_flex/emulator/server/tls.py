"""TLS of the server: its certificate, client certificates, and the reasons of failed handshakes."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from ...errors import ConfigurationError, EmulatorError, MissingDependencyError
from ..log import LOGGER

if TYPE_CHECKING:
    import trustme

# What a failed TLS handshake means, by a part of OpenSSL's reason.
_HANDSHAKE_HINTS = {
    "ALERT_UNKNOWN_CA": "the client does not trust the CA of the emulator's certificate",
    "ALERT_BAD_CERTIFICATE": "the client rejects the certificate, for example because it uses a name that is not in it",
    "ALERT_CERTIFICATE_UNKNOWN": "the client rejects the certificate: it does not trust the CA, or uses another name",
    "HTTP_REQUEST": "the client sent http; expected https",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the client has no client certificate, which is required",
}

ClientCertificates = Literal["optional", "required"]


class ServerTls:
    """TLS of the server: a throwaway CA, the server's certificate, and client certificates.

    `trustme` generates the keys at start, and they are kept in memory. Python's `ssl` reads keys only from files, so
    they are written to temporary files, which are deleted at once.

    Args:
        names: host names and addresses of the server's certificate, if it is issued here.
        client_certificates: whether clients must ("required") or may ("optional") present a certificate of this CA.
            With None, the server does not ask for one. Also available as an attribute.
        server_certificate: private key and certificate (PEM) of the server. By default the CA issues one.

    Attributes:
        has_given_certificate: whether `server_certificate` was passed.
    """

    def __init__(
        self,
        names: Iterable[str],
        client_certificates: ClientCertificates | None,
        server_certificate: tuple[bytes, bytes] | None = None,
    ) -> None:
        self._ca = _new_ca()
        self.has_given_certificate = server_certificate is not None
        if server_certificate is not None:
            key, certificate = server_certificate
            self._private_key_and_certificate = key + b"\n" + certificate
            # Reports an invalid certificate now and not at the start.
            _load_certificate(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), self._private_key_and_certificate)
        else:
            try:
                issued = self._ca.issue_cert(*sorted(set(names)))
            except ValueError as error:
                raise ConfigurationError(
                    f"a name in host, public_url or signed_hosts is not valid in a certificate: {error}"
                ) from None
            self._private_key_and_certificate = issued.private_key_and_cert_chain_pem.bytes()
        self.client_certificates = client_certificates

    @property
    def ca_pem(self) -> bytes:
        if self.has_given_certificate:
            raise EmulatorError(
                "the emulator has no CA that clients must trust: it was created with server_certificate"
            )
        return self._ca.cert_pem.bytes()

    def client_certificate(self, name: str) -> tuple[bytes, bytes]:
        """Certificate and private key (PEM) for a client."""
        issued = self._ca.issue_cert(common_name=name)
        return issued.cert_chain_pems[0].bytes(), issued.private_key_pem.bytes()

    def context(self) -> ssl.SSLContext:
        """The server's SSL context: TLS 1.2 or newer."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.sslobject_class = _LoggedConnection
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        _load_certificate(context, self._private_key_and_certificate)
        if self.client_certificates is not None:
            required = self.client_certificates == "required"
            context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
            self._ca.configure_trust(context)
        return context


class _LoggedConnection(ssl.SSLObject):
    """A TLS connection that logs why its handshake failed. asyncio does not report these failures."""

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            reason = error.reason or "connection closed"
            hint = next((hint for part, hint in _HANDSHAKE_HINTS.items() if part in reason), reason)
            LOGGER.info("a client's TLS handshake failed: %s", hint)
            raise


def _load_certificate(context: ssl.SSLContext, pem: bytes) -> None:
    """Load a private key and a certificate chain. `ssl` reads them from files only."""
    from trustme import Blob

    try:
        with Blob(pem).tempfile() as path:
            # Without the last argument, OpenSSL would ask for the password of an encrypted key.
            context.load_cert_chain(path, password="")
    except (ssl.SSLError, ValueError):
        raise ConfigurationError(
            "server_certificate must be a private key without password, and its certificate, both in PEM"
        ) from None
    except OSError as error:
        # For example in a container with a read-only file system.
        raise EmulatorError(f"https needs a folder for a temporary file, such as /tmp: {error.strerror}") from error


def _new_ca() -> trustme.CA:
    try:
        import trustme
    except ModuleNotFoundError as error:
        if error.name != "trustme":
            raise
        message = "tls=True needs 'trustme': pip install 'cybersource-flex[emulator]'"
        raise MissingDependencyError(message, name=error.name) from None
    return trustme.CA()
