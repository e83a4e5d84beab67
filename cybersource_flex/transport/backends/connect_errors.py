"""``ConnectFailure``, raised if nothing was sent, and functions that create it for both transports.

If no connection was established, nothing of the request was sent and a retry is safe. urllib3 and aiohttp do not
distinguish these failures from later ones, so the code that connects raises ``ConnectFailure``.
"""

from __future__ import annotations

import errno
import re
import socket
import ssl
from typing import Final

from ... import errors

__all__ = [
    "ConnectFailure",
    "client_certificate_rejected",
    "client_closed",
    "closed_by_peer",
    "connect_timed_out",
    "dns_failed",
    "is_client_certificate_alert",
    "is_out_of_file_descriptors",
    "load_timed_out",
    "out_of_file_descriptors",
    "peer_unreachable",
    "pool_exhausted",
    "proxy_auth_required",
    "proxy_tunnel_refused",
    "signer_timed_out",
    "thread_start_failed",
    "tls_handshake_failed",
    "unsolicited_data",
]

# TLS alerts (RFC 8446 section 6.2) about the certificate of the side that receives the alert.
_CERTIFICATE_ALERT: Final = re.compile(r"ALERT_(?:.*CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED)")
# OpenSSL's errors for certificates that lack what RFC 5280 requires, from X509_V_ERR_PATHLEN_INVALID_FOR_NON_CA to
# X509_V_ERR_EXTENSIONS_REQUIRE_VERSION_3. They occur only with VERIFY_X509_STRICT.
_STRICT_CODES: Final = range(80, 94)


class ConnectFailure(Exception):
    """No connection was established, so nothing of the request was sent.

    Attributes:
        error_class: class of the exception to raise for the caller.
        reason: what failed, for the message of that exception.
        transient: whether a retry may succeed.
    """

    def __init__(self, error_class: type[errors.TransportError], reason: str, *, transient: bool = True) -> None:
        super().__init__(reason)
        self.error_class = error_class
        self.reason = reason
        self.transient = transient


def dns_failed(peer: str) -> ConnectFailure:
    """The name of the host or proxy cannot be resolved."""
    return ConnectFailure(errors.ConnectionFailedError, f"the name of the {peer} cannot be resolved")


def peer_unreachable(peer: str) -> ConnectFailure:
    """The host or proxy cannot be reached."""
    return ConnectFailure(errors.ConnectionFailedError, f"the {peer} cannot be reached")


def connect_timed_out(*, through_proxy: bool) -> ConnectFailure:
    """The connect timeout expired."""
    through = " through the proxy" if through_proxy else ""
    reason = f"no connection{through} before the connect timeout or the deadline"
    return ConnectFailure(errors.ConnectionTimeoutError, reason)


def pool_exhausted(size: int) -> ConnectFailure:
    """All connections of the pool were in use until the deadline."""
    reason = f"no connection became free before the deadline: all {size} (pool_size) are in use"
    return ConnectFailure(errors.ConnectionTimeoutError, reason)


def signer_timed_out() -> ConnectFailure:
    """The signer, or the function that returns the access token, did not return before the deadline."""
    reason = "the signer did not return before the deadline, so the request was not sent"
    return ConnectFailure(errors.ConnectionTimeoutError, reason)


def load_timed_out() -> ConnectFailure:
    """aiohttp and the trusted CAs were not loaded before the deadline."""
    reason = "aiohttp and the trusted CAs were not loaded before the deadline, so the request was not sent"
    return ConnectFailure(errors.ConnectionTimeoutError, reason)


def client_closed() -> ConnectFailure:
    """The client was closed while the call waited for a connection."""
    return ConnectFailure(errors.ConnectionFailedError, "the client was closed while the call waited for a connection")


def thread_start_failed(cause: Exception) -> ConnectFailure:
    """No thread could be started for name resolution or the signer."""
    return ConnectFailure(errors.ConnectionFailedError, f"no thread could be started: {cause}")


def out_of_file_descriptors() -> ConnectFailure:
    """The process or the machine has no file descriptors left."""
    reason = (
        "the process has no file descriptors left for a connection (EMFILE); raise the limit (ulimit -n), close unused "
        "files and sockets, or lower pool_size"
    )
    return ConnectFailure(errors.ConnectionFailedError, reason)


def is_out_of_file_descriptors(error: BaseException | None) -> bool:
    """Whether an error was caused by a lack of file descriptors."""
    lookup_failed = False
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            return True
        lookup_failed = lookup_failed or isinstance(error, socket.gaierror)
        error = error.__cause__
    if lookup_failed:
        # Without free file descriptors, the resolver reports an unknown name. Opening a socket shows the real cause.
        try:
            socket.socket().close()
        except OSError as cause:
            return cause.errno in (errno.EMFILE, errno.ENFILE)
    return False


def unsolicited_data(peer: str) -> ConnectFailure:
    """A response arrived before a request was sent."""
    return ConnectFailure(errors.ConnectionFailedError, f"the {peer} sent data before the request")


def closed_by_peer(peer: str) -> ConnectFailure:
    """The host or proxy closed the connection while it was being established."""
    return ConnectFailure(errors.ConnectionFailedError, f"the {peer} closed the connection before it was established")


def tls_handshake_failed(peer: str, cause: ssl.SSLError) -> ConnectFailure:
    """The TLS handshake failed. A retry would fail too."""
    reason = f"TLS with the {peer} failed: {_tls_reason(peer, cause)}"
    return ConnectFailure(errors.ConnectionFailedError, reason, transient=False)


def proxy_tunnel_refused(status: int) -> ConnectFailure:
    """The proxy rejected ``CONNECT`` with the given HTTP status (RFC 9110 section 9.3.6)."""
    if status == 407:
        return proxy_auth_required()
    reason = f"the proxy refuses to connect to the host ({status})"
    return ConnectFailure(errors.ConnectionFailedError, reason, transient=False)


def proxy_auth_required() -> ConnectFailure:
    """The proxy responded with 407 (RFC 9110 section 15.5.8)."""
    reason = "the proxy requires credentials, or rejected those that were sent (407)"
    return ConnectFailure(errors.ConnectionFailedError, reason, transient=False)


def is_client_certificate_alert(error: BaseException) -> bool:
    """Whether a TLS error means that the server rejected the client certificate, or requires one.

    In TLS 1.3, the client completes its handshake first, so the alert arrives instead of a response. The server has not
    completed the handshake at that point, so the server has read nothing of the request.
    """
    return isinstance(error, ssl.SSLError) and bool(_CERTIFICATE_ALERT.search(error.reason or ""))


def client_certificate_rejected() -> ConnectFailure:
    """The host rejected the client certificate, or requires one, instead of responding."""
    reason = "the host requires a client certificate, or rejected the one that was sent"
    return ConnectFailure(errors.ConnectionFailedError, reason, transient=False)


def _tls_reason(peer: str, cause: ssl.SSLError) -> str:
    if isinstance(cause, ssl.SSLCertVerificationError):
        reason = f"the certificate is not accepted: {cause.verify_message}"
        if cause.verify_code in _STRICT_CODES:
            reason += (
                "; RFC 5280 requires this, and Python 3.13 and newer check it (VERIFY_X509_STRICT). Renew the "
                "certificates of the CA, or pass Tls(ssl_context=...), with a context whose verify_flags lack this flag"
            )
        return reason
    if is_client_certificate_alert(cause):
        return f"the {peer} requires a client certificate, or rejected the one that was sent"
    if cause.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"):
        return f"the {peer} does not speak TLS; is its URL http:// and not https://?"
    return cause.reason or "no reason given"
