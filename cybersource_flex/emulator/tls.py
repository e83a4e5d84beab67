"""https with certificates of a throw-away authority, and client certificates.

Keys are made at start by `trustme` and stay in memory, but for the moment in which Python's `ssl` reads them:
it reads from files only, and these are in the system's temporary folder and deleted at once.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import trustme

ClientCertificates = Literal["optional", "required"]
# The application is told about the connection in this member of the scope's extensions.
_EXTENSION = "cybersource_flex.client_certificate"


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
        raise ImportError("tls=True needs 'trustme': install this package with its extra 'emulator'") from error
    return trustme.CA()


def client_name(scope: Scope) -> str | None:
    """CN of the certificate that the client presented on this connection."""
    name = scope.get("extensions", {}).get(_EXTENSION)
    return name if isinstance(name, str) else None


class Protocol(H11Protocol):
    """uvicorn's HTTP/1.1, with three differences.

    It tells the application whose client certificate the connection has; uvicorn keeps that to itself. And when
    the server stops, an idle https connection ends at once: closing one in order would wait half a minute for
    a client that does not listen. And it closes what was lost.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        certificate = transport.get_extra_info("peercert") or {}
        names = [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
        if names:
            self.app = _Told(self.app, str(names[0]))

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if exc is not None:
            # uvicorn closes only without an error, and Python 3.10 then complains of a transport left open.
            self.transport.close()

    def shutdown(self) -> None:
        idle = self.cycle is None or self.cycle.response_complete
        super().shutdown()
        if idle and self.scheme == "https":
            self.transport.abort()


class _Told:
    """An application that is told of a client certificate."""

    def __init__(self, app: Any, name: str) -> None:
        self._app: ASGIApp = app
        self._name = name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        extensions = {**scope.get("extensions", {}), _EXTENSION: self._name}
        await self._app({**scope, "extensions": extensions}, receive, send)
