"""Errors raised before a connection is established, with messages shared by both transports.

A failure before that point has sent nothing of the request. urllib3 and aiohttp do not distinguish it from later
failures, so the code that connects raises ``NotConnected``.
"""

from __future__ import annotations

import errno
import re
import socket
import ssl
from typing import Final

from .. import errors

__all__ = [
    "NotConnected",
    "all_in_use",
    "certificate_refused",
    "closed_meanwhile",
    "descriptors_exhausted",
    "ended",
    "no_descriptor",
    "no_thread",
    "proxy_credentials",
    "refuses_certificate",
    "signer_too_late",
    "tls_failed",
    "too_late",
    "tunnel_refused",
    "unreachable",
    "unresolved",
    "unsolicited",
]

# Alerts (RFC 8446 section 6.2) about the certificate of the side that receives them.
_CERTIFICATE_ALERT: Final = re.compile(r"ALERT_(?:.*CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED)")


class NotConnected(Exception):
    """No connection was established; nothing of the request was sent.

    Attributes:
        kind: the exception class to raise.
        text: the reason, for the message.
        transient: whether a retry may succeed.
    """

    def __init__(self, kind: type[errors.TransportError], text: str, *, transient: bool = True) -> None:
        super().__init__(text)
        self.kind = kind
        self.text = text
        self.transient = transient


def unresolved(who: str) -> NotConnected:
    """The name of the host or the proxy cannot be resolved."""
    return NotConnected(errors.ConnectionFailedError, f"the name of the {who} cannot be resolved")


def unreachable(who: str) -> NotConnected:
    """The host or proxy cannot be reached."""
    return NotConnected(errors.ConnectionFailedError, f"the {who} cannot be reached")


def too_late(*, through_proxy: bool) -> NotConnected:
    """The connect timeout expired."""
    through = ", through the proxy" if through_proxy else ""
    return NotConnected(errors.ConnectionTimeoutError, f"no connection in time{through}")


def all_in_use(size: int) -> NotConnected:
    """All connections that the client may have were in use until the deadline."""
    text = f"no connection became free before the deadline: all {size} (pool_size) are in use"
    return NotConnected(errors.ConnectionTimeoutError, text)


def signer_too_late() -> NotConnected:
    """The function or device that signs, or that provides the access token, did not return before the deadline."""
    text = "the signer did not return before the deadline, so the request was not sent"
    return NotConnected(errors.ConnectionTimeoutError, text)


def closed_meanwhile() -> NotConnected:
    """The client was closed while the call waited for a connection."""
    return NotConnected(errors.ConnectionFailedError, "the client was closed while the call waited for a connection")


def no_thread(cause: Exception) -> NotConnected:
    """No thread could be started to wait for the connection."""
    return NotConnected(errors.ConnectionFailedError, f"no thread could be started to wait in: {cause}")


def no_descriptor() -> NotConnected:
    """The process, or the machine, has no file descriptor left."""
    text = (
        "the process has no file descriptor left (EMFILE) for a connection; raise its limit (ulimit -n), close what it "
        "holds open, or lower pool_size"
    )
    return NotConnected(errors.ConnectionFailedError, text)


def descriptors_exhausted(error: BaseException | None) -> bool:
    """Whether an error comes from a lack of file descriptors."""
    lookup_failed = False
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            return True
        lookup_failed = lookup_failed or isinstance(error, socket.gaierror)
        error = error.__cause__
    if lookup_failed:
        # The resolver needs descriptors for its files and sockets, and reports their lack as an unknown name.
        try:
            socket.socket().close()
        except OSError as cause:
            return cause.errno in (errno.EMFILE, errno.ENFILE)
    return False


def unsolicited(who: str) -> NotConnected:
    """A response arrived before a request was sent."""
    return NotConnected(errors.ConnectionFailedError, f"the {who} sent data before it was asked for anything")


def ended(who: str) -> NotConnected:
    """The other side closed the connection while it was being established."""
    return NotConnected(errors.ConnectionFailedError, f"the {who} ended the connection while it was being made")


def tls_failed(who: str, cause: ssl.SSLError) -> NotConnected:
    """The TLS handshake failed. A retry would fail too."""
    text = f"TLS with the {who} failed: {_tls_reason(cause)}"
    return NotConnected(errors.ConnectionFailedError, text, transient=False)


def tunnel_refused(status: int) -> NotConnected:
    """The proxy responded to ``CONNECT`` with this status (RFC 9110 section 9.3.6)."""
    if status == 407:
        return proxy_credentials()
    text = f"the proxy refuses to connect to the host ({status})"
    return NotConnected(errors.ConnectionFailedError, text, transient=False)


def proxy_credentials() -> NotConnected:
    """The proxy responded with 407 (RFC 9110 section 15.5.8)."""
    text = "the proxy asks for credentials, or does not accept those it got (407)"
    return NotConnected(errors.ConnectionFailedError, text, transient=False)


def refuses_certificate(error: BaseException) -> bool:
    """Whether a TLS error means that the server rejected the client certificate, or requires one.

    In TLS 1.3 the alert arrives after the handshake is complete on this side, instead of the response. The server has
    not completed its handshake then, so it cannot have read anything that was sent.
    """
    return isinstance(error, ssl.SSLError) and bool(_CERTIFICATE_ALERT.search(error.reason or ""))


def certificate_refused() -> NotConnected:
    """The host rejected the client certificate, or requires one, instead of responding."""
    text = "the host wants a client certificate, or does not accept the one it got"
    return NotConnected(errors.ConnectionFailedError, text, transient=False)


def _tls_reason(cause: ssl.SSLError) -> str:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {cause.verify_message}"
    if refuses_certificate(cause):
        return "it wants a client certificate, or does not accept the one it got"
    if cause.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"):
        return "it does not speak TLS; is it http and not https?"
    return cause.reason or "no reason given"
