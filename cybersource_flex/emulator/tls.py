"""https with certificates of a throw-away authority, and client certificates.

Keys are made at start by `trustme` and stay in memory, but for the moment in which Python's `ssl` reads them:
it reads from files only, and these are in the system's temporary folder and deleted at once.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import trustme

ClientCertificates = Literal["optional", "required"]


class ServerTls:
    """The authority, the certificate of this host, and those of its clients.

    Args:
        names: host names and addresses that the certificate is for.
        client_certificates: whether clients must ("required") or may ("optional") present a certificate of
            this authority; None asks for none.
    """

    def __init__(self, names: Iterable[str], client_certificates: ClientCertificates | None) -> None:
        self._authority = _new_authority()
        try:
            self._certificate = self._authority.issue_cert(*sorted(set(names)))
        except ValueError as error:
            raise ValueError(f"a signed host cannot stand in a certificate: {error}") from None
        self._client_certificates = client_certificates

    @property
    def ca_pem(self) -> bytes:
        return self._authority.cert_pem.bytes()

    def client_certificate(self, name: str) -> tuple[bytes, bytes]:
        """Certificate and private key (PEM) for a client."""
        issued = self._authority.issue_cert(common_name=name)
        return issued.cert_chain_pems[0].bytes(), issued.private_key_pem.bytes()

    def context(self) -> ssl.SSLContext:
        """For the server: TLS 1.2 at least."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._certificate.configure_cert(context)
        if self._client_certificates is not None:
            required = self._client_certificates == "required"
            context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
            self._authority.configure_trust(context)
        return context


def _new_authority() -> trustme.CA:
    try:
        import trustme
    except ModuleNotFoundError as error:
        if error.name != "trustme":
            raise
        text = "tls=True needs 'trustme': install this package with its extra 'emulator'"
        raise ImportError(text, name=error.name) from error
    return trustme.CA()
