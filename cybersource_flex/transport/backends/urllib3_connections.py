"""Connections for urllib3 that enforce the deadline of the call, and are reused only if this is safe."""

from __future__ import annotations

import _socket
import math
import os
import re
import socket
import ssl
import stat
import sys
import time
from http.client import HTTPException
from typing import Any, Final

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
)
from urllib3.util import wait_for_read
from urllib3.util.ssltransport import SSLTransport

from ..._runtime.monotonic import monotonic
from ..._runtime.threads import TooManyThreadsError, WaitTimeoutError
from ..base_transport import MIN_TIMEOUT
from .connect_errors import (
    ConnectFailure,
    closed_by_peer,
    connect_timed_out,
    dns_failed,
    is_out_of_file_descriptors,
    out_of_file_descriptors,
    peer_unreachable,
    proxy_tunnel_refused,
    thread_start_failed,
    tls_handshake_failed,
    unsolicited_data,
)
from .resolver import resolve
from .urllib3_responses import Attempt, DeadlineResponse, current_attempt

__all__ = ["Connection", "ReusableConnection", "TlsConnection", "socket_options"]

# The message of http.client. The rest of the message comes from the proxy and is left out of error messages.
_TUNNEL: Final = re.compile(r"Tunnel connection failed: (\d{3})")

# OpenSSL writes at most one TLS record at a time. The deadline is checked between the records.
_TLS_RECORD: Final = 16 * 1024

# TCP keep-alive sends probes on an idle connection, so that gateways do not drop it and a dead peer is noticed.
_KEEP_ALIVE: Final = (
    ("TCP_KEEPIDLE", 10),
    ("TCP_KEEPALIVE", 10),  # macOS's name for it
    ("TCP_KEEPINTVL", 5),
    ("TCP_KEEPCNT", 3),
)


def socket_options() -> list[tuple[int, int, int]]:
    """Return the socket options of every connection: no delay for small writes, and TCP keep-alive."""
    options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    available = ((getattr(socket, name, None), seconds) for name, seconds in _KEEP_ALIVE)
    return options + [(socket.IPPROTO_TCP, option, value) for option, value in available if option is not None]


class ReusableConnection(HTTPConnection):
    """A connection that is only reused if it cannot have any unread bytes of an earlier response.

    The connection enforces the deadline of the call when it is opened, written and read. If it cannot be established,
    ``ConnectFailure`` is raised with the reason.

    Attributes:
        connecting: whether the connection is being established.
        usable: whether the connection may serve another request.
        attempt: the attempt that uses the connection, or used it last.
        idle_since: when the last response was read, on the monotonic and the wall clock. Infinity before.
        reusable_seconds: for how long the connection can be idle, according to the server.
    """

    response_class = DeadlineResponse
    connecting = False
    usable = True
    attempt: Attempt | None = None
    idle_since = (math.inf, math.inf)
    reusable_seconds = math.inf

    @property
    def is_connected(self) -> bool:
        # urllib3 checks this property of a connection from the pool, and reconnects if the value is false.
        if self.sock is None or not self.usable:
            return False
        # Both clocks are checked. The monotonic clock stops while a machine is suspended, and the wall clock can be set
        # back.
        limit = min(current_attempt.get().idle_timeout, self.reusable_seconds)
        if monotonic() - self.idle_since[0] > limit or time.time() - self.idle_since[1] > limit:
            return False
        # Bytes that arrived without a request are the second half of a response splitting attack, or the end of the
        # connection.
        return not _pending(self.sock) and super().is_connected

    def connect(self) -> None:
        self.connecting = True
        self.attempt = current_attempt.get()
        self.attempt.connection = self
        try:
            super().connect()
            _refuse_early_data(self.sock)
        except (OSError, HTTPException, HTTPError, TooManyThreadsError) as cause:
            # The traceback is removed, because a local variable in it contains the proxy's credentials.
            raise _connect_failure(self, cause) from cause.with_traceback(None)
        finally:
            self.connecting = False
        self.usable = True
        self.idle_since = (math.inf, math.inf)

    def _new_conn(self) -> socket.socket:
        # urllib3 would wait for name resolution without a limit, and use the whole connect timeout for each address.
        deadline = current_attempt.get().connect_deadline
        try:
            addresses = resolve(self._dns_host, self.port or self.default_port, deadline)
        except socket.gaierror as cause:
            raise NameResolutionError(self.host, self, cause) from cause
        except WaitTimeoutError:
            raise TimeoutError("the host name was not resolved in time") from None
        failure: OSError | None = None
        for index, (family, socket_type, protocol, _, address) in enumerate(addresses):
            share = (deadline - monotonic()) / (len(addresses) - index)
            if share <= 0:
                raise TimeoutError("no connection in time")
            sock: socket.socket | None = None
            try:
                # This call is inside `try`, because it fails if the system does not support the address family.
                sock = socket.socket(family, socket_type, protocol)
                for option in self.socket_options or ():
                    sock.setsockopt(*option)
                sock.settimeout(share)
                if self.source_address:
                    sock.bind(self.source_address)
                sock.connect(address)
            except OSError as cause:
                if sock is not None:
                    sock.close()
                failure = cause
            else:
                # The remaining time is for TLS.
                sock.settimeout(max(MIN_TIMEOUT, deadline - monotonic()))
                sys.audit("http.client.connect", self, self.host, self.port)
                return sock
        if isinstance(failure, TimeoutError):
            raise failure
        raise NewConnectionError(self, "no address accepts a connection") from failure

    def _tunnel(self) -> None:
        super()._tunnel()
        # The socket still has the timeout of the last read. The remaining time is for TLS with the host.
        self.sock.settimeout(max(MIN_TIMEOUT, current_attempt.get().connect_deadline - monotonic()))

    def putrequest(self, method: str, url: str, *args: Any, **options: Any) -> None:
        attempt = self.attempt = current_attempt.get()
        attempt.connection = self
        if self.sock is None:
            self.connect()
        # The signed target is sent instead of ``url``, which urllib3 may have changed. A forwarding proxy gets the full
        # URL.
        scheme, separator, rest = url.partition("://")
        target = attempt.request.target
        super().putrequest(
            method, f"{scheme}://{rest.partition('/')[0]}{target}" if separator else target, *args, **options
        )

    def send(self, data: Any) -> None:
        attempt = current_attempt.get()
        deadline = attempt.connect_deadline if self.connecting else attempt.deadline
        size = _TLS_RECORD if isinstance(self.sock, ssl.SSLSocket) else len(data)
        try:
            for start in range(0, len(data), size or 1):
                remaining = deadline - monotonic()
                if remaining <= 0:
                    raise TimeoutError("the request was not sent in time")
                self.sock.settimeout(min(remaining, attempt.read_timeout))
                super().send(data if size == len(data) else data[start : start + size])
        except OSError:
            # urllib3 still reads an early response. The connection is not reused, because the request is incomplete.
            self.usable = False
            raise


class Connection(ReusableConnection):
    """A connection without TLS."""


class TlsConnection(ReusableConnection, HTTPSConnection):
    """A connection with TLS."""

    def _connect_tls_proxy(self, hostname: str, sock: socket.socket) -> Any:
        return _DeadlineSocket(super()._connect_tls_proxy(hostname, sock), self)


class _DeadlineSocket:
    """A TLS socket with a deadline, connected to a proxy. It carries the TLS connection to the host.

    urllib3 reads and writes the socket in loops, and would allow each step the whole timeout.
    """

    def __init__(self, sock: ssl.SSLSocket, connection: ReusableConnection) -> None:
        self._sock = sock
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def recv(self, *args: Any) -> bytes:
        return self._in_time().recv(*args)

    def recv_into(self, *args: Any) -> int:
        return self._in_time().recv_into(*args)

    def send(self, *args: Any) -> int:
        return self._in_time().send(*args)

    def sendall(self, *args: Any) -> None:
        self._in_time().sendall(*args)

    def _in_time(self) -> ssl.SSLSocket:
        # The attempt is read from the connection, because the context variable is reset before the body is read.
        attempt = self._connection.attempt
        if attempt is not None and self._sock.gettimeout() != 0.0:
            deadline = attempt.connect_deadline if self._connection.connecting else attempt.deadline
            remaining = deadline - monotonic()
            if remaining <= 0:
                raise TimeoutError("the deadline of the call has passed")
            self._sock.settimeout(min(remaining, attempt.read_timeout))
        return self._sock


def _pending(sock: Any) -> bool:
    """Whether decrypted bytes are waiting in a TLS connection. No system call reports these bytes."""
    if isinstance(sock, SSLTransport):
        # With TLS inside TLS, both the outer and the inner connection can have decrypted bytes.
        outer: Any = sock.socket
        return sock.incoming.pending > 0 or sock.sslobj.pending() > 0 or outer.pending() > 0
    return isinstance(sock, ssl.SSLSocket) and sock.pending() > 0


def _refuse_early_data(sock: socket.socket) -> None:
    """Raise if the server has sent data before the request, because such data cannot be the response."""
    if _is_fake(sock) or not (_pending(sock) or wait_for_read(sock, timeout=0.0)):
        return
    timeout = sock.gettimeout()
    sock.settimeout(0.0)
    try:
        # Over TLS, this processes session tickets, which servers send without a request and which are not data.
        early = sock.recv(1)
    except (BlockingIOError, ssl.SSLWantReadError):
        return
    finally:
        sock.settimeout(timeout)
    raise _EarlyDataError if early else ConnectionResetError


def _is_fake(sock: Any) -> bool:
    """Whether a test tool has replaced the socket by an object without a connection, such as mocket's.

    The file descriptor of such an object belongs to a pipe or a file. Its readiness says nothing about a server.
    Sockets of the standard library and of gevent are real. If the descriptor cannot be examined, the socket counts as
    real too.
    """
    if isinstance(sock, (_socket.socket, SSLTransport, _DeadlineSocket)):
        return False
    try:
        return not stat.S_ISSOCK(os.fstat(sock.fileno()).st_mode)
    except OSError:
        return False


class _EarlyDataError(OSError):
    pass


def _connect_failure(connection: HTTPConnection, cause: Exception) -> ConnectFailure:
    # With a proxy, every failure is reported as the proxy's, except TLS errors after the tunnel is established.
    through_proxy = connection.proxy is not None
    at_proxy = through_proxy and not (isinstance(cause, ssl.SSLError) and connection.has_connected_to_proxy)
    who = "proxy" if at_proxy else "host"
    if isinstance(cause, TooManyThreadsError):
        return thread_start_failed(cause)
    if is_out_of_file_descriptors(cause):
        return out_of_file_descriptors()
    if isinstance(cause, NameResolutionError):
        return dns_failed(who)
    if isinstance(cause, NewConnectionError):
        return peer_unreachable(who)
    if isinstance(cause, (ConnectTimeoutError, TimeoutError)):
        return connect_timed_out(through_proxy=through_proxy)
    if isinstance(cause, ssl.SSLError):
        return tls_handshake_failed(who, cause)
    if isinstance(cause, _EarlyDataError):
        return unsolicited_data(who)
    status = _TUNNEL.search(str(cause)) if at_proxy else None
    return closed_by_peer(who) if status is None else proxy_tunnel_refused(int(status[1]))
