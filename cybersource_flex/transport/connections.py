"""urllib3's connection pools, with connections that keep deadlines, skip interim responses and are reused with care."""

from __future__ import annotations

import http.client
import io
import math
import os
import queue
import re
import socket
import ssl
import sys
import time
from contextvars import ContextVar
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, Final

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ClosedPoolError,
    ConnectTimeoutError,
    HeaderParsingError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
)
from urllib3.util import wait_for_read
from urllib3.util.response import assert_header_parsing
from urllib3.util.ssltransport import SSLTransport

from .._lock import Lock
from .._threads import NotInTimeError, TooManyThreadsError
from .resolver import resolve
from .sender import LEAST
from .settings import Settings
from .tls import Tls
from .unreached import (
    NotConnected,
    descriptors_exhausted,
    ended,
    no_descriptor,
    no_thread,
    tls_failed,
    too_late,
    tunnel_refused,
    unreachable,
    unresolved,
    unsolicited,
)

if TYPE_CHECKING:
    from .message import Request

__all__ = ["MAX_INTERIM", "MAX_INTERIM_BYTES", "Connections", "socket_options"]

_NEVER: Final = urllib3.Retry(False, redirect=False)

# http.client says it in these words alone; the rest of the line is the proxy's and stays out of messages.
_TUNNEL: Final = re.compile(r"Tunnel connection failed: (\d{3})")

# Interim responses (1xx) that are skipped before one final response: how many, and how many bytes in all.
MAX_INTERIM: Final = 32
MAX_INTERIM_BYTES: Final = 64 * 1024

# OpenSSL writes at most one record at a time; the deadline is checked between them.
_TLS_RECORD: Final = 16 * 1024

_DIGITS: Final = re.compile(r"[0-9]{1,18}")
_HEX_DIGITS: Final = re.compile(rb"[0-9A-Fa-f]{1,16}")
_MAX_LINE: Final = 64 * 1024

# TCP keep-alive: probe an idle connection, so that a middlebox does not forget it and a dead peer is noticed.
_KEEP_ALIVE: Final = (
    ("TCP_KEEPIDLE", 10),
    ("TCP_KEEPALIVE", 10),  # macOS's name for it
    ("TCP_KEEPINTVL", 5),
    ("TCP_KEEPCNT", 3),
)


def socket_options() -> list[tuple[int, int, int]]:
    """Options of every connection: no delay for small writes, and TCP keep-alive."""
    options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    known = ((getattr(socket, name, None), seconds) for name, seconds in _KEEP_ALIVE)
    return options + [(socket.IPPROTO_TCP, option, value) for option, value in known if option is not None]


class _Exchange:
    """One request and its response on one connection, as the connection needs to know them.

    Attributes:
        target: the request target as it is sent.
        read_timeout: seconds to wait for the next bytes.
        connect_deadline: when the connection must be established, on the monotonic clock.
        deadline: when all must be over, on the monotonic clock; infinity for never.
        idle_timeout: seconds after which a connection that was not used is not used again.
        connection: the connection that carries it.
    """

    __slots__ = ("connect_deadline", "connection", "deadline", "idle_timeout", "read_timeout", "target")

    def __init__(
        self, target: str, read_timeout: float, connect_deadline: float, deadline: float, idle_timeout: float
    ) -> None:
        self.target = target
        self.read_timeout = read_timeout
        self.connect_deadline = connect_deadline
        self.deadline = deadline
        self.idle_timeout = idle_timeout
        self.connection: _Guarded | None = None


# urllib3 has no argument for any of this. A context variable is separate for each thread.
_exchange: Final[ContextVar[_Exchange]] = ContextVar("cybersource_flex_exchange")


class _DeadlineReader(io.RawIOBase):
    """Reads from a socket until a deadline. The timeout of a socket starts again with each byte received."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, timeout: float, deadline: float) -> None:
        self._raw = raw
        self._sock = sock
        self._timeout = timeout
        self._deadline = deadline
        self.finished = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self.finished:
            return None
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline of the call has passed")
        self._sock.settimeout(min(left, self._timeout))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _ResponseReader(io.BufferedReader):
    """The bytes of one response. When it is closed, bytes of anything else make the connection unusable."""

    def __init__(self, reader: _DeadlineReader, connection: _Guarded | None) -> None:
        super().__init__(reader)
        self._reader = reader
        self._connection = connection

    def readline(self, size: int | None = -1, /) -> bytes:
        # http.client reads lines in headers, chunk sizes and trailers, and takes the end of the connection for theirs.
        line = super().readline(size)
        if not line.endswith(b"\n") and len(line) != size:
            raise http.client.RemoteDisconnected("the connection ended in the middle of a response")
        return line

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and not self.closed:
            # From here on, peek() returns what is in the buffer and does not read from the socket.
            self._reader.finished = True
            connection.response_read(clean=not self.peek(1))
        super().close()


class _ResponseSocket:
    """The part of a socket that ``http.client.HTTPResponse`` uses."""

    __slots__ = ("_exchange", "_sock")

    def __init__(self, sock: socket.socket, exchange: _Exchange) -> None:
        self._sock = sock
        self._exchange = exchange

    def makefile(self, mode: str) -> io.BufferedReader:
        exchange = self._exchange
        connection = exchange.connection
        raw = self._sock.makefile("rb", buffering=0)
        if connection is None or connection.connecting:
            # The response of a proxy to CONNECT.
            return _ResponseReader(_DeadlineReader(raw, self._sock, math.inf, exchange.connect_deadline), None)
        return _ResponseReader(_DeadlineReader(raw, self._sock, exchange.read_timeout, exchange.deadline), connection)


class _Response(http.client.HTTPResponse):
    """A response that is read until a deadline, after any interim responses, and with one unambiguous length."""

    def __init__(self, sock: Any, *args: Any, **options: Any) -> None:
        self._exchange = _exchange.get()
        super().__init__(_ResponseSocket(sock, self._exchange), *args, **options)  # type: ignore[arg-type]

    def _read_status(self) -> tuple[str, int, str]:
        # http.client skips 100 alone and takes any other 1xx for the final response.
        count = size = 0
        while True:
            status: tuple[str, int, str] = super()._read_status()  # type: ignore[misc]
            if not 100 <= status[1] < 200:
                return status
            if status[1] == 101:
                raise HTTPException("the server switched protocols without being asked to")
            count += 1
            line = b""
            while line not in (b"\r\n", b"\n"):
                line = self.fp.readline(MAX_INTERIM_BYTES)
                size += len(line)
                if not line or count > MAX_INTERIM or size > MAX_INTERIM_BYTES:
                    raise HTTPException("no final response after the interim responses")

    def begin(self) -> None:
        super().begin()
        try:
            assert_header_parsing(self.headers)
        except HeaderParsingError:
            # urllib3 logs them and goes on with the headers before the malformed one.
            raise HTTPException("malformed headers") from None
        # RFC 9112 section 6.3: with two lengths, two readers see different ends. The next response would begin at one
        # of them.
        codings = [coding.strip().lower() for coding in self.headers.get_all("Transfer-Encoding", [])]
        lengths = {each.strip() for value in self.headers.get_all("Content-Length", []) for each in value.split(",")}
        if codings not in ([], ["chunked"]) or len(lengths) > 1 or not all(map(_DIGITS.fullmatch, lengths)):
            raise HTTPException("the length of the response is ambiguous")
        if codings and lengths and self._exchange.connection is not None:
            self._exchange.connection.usable = False
        if self.status in (204, 304):
            # These never have a body (RFC 9110), even if the headers claim one. http.client would wait for a chunk.
            self.chunked, self.length = False, 0
        elif codings and not self.chunked:
            # http.client does not recognise it with white space around it.
            self.chunked, self.chunk_left, self.length = True, None, None
            self.will_close = self._check_close()  # type: ignore[attr-defined]
        elif lengths and not codings and self.length is None and self._method != "HEAD":  # type: ignore[attr-defined]
            # The same length more than once.
            self.length = int(lengths.pop())
            self.will_close = self._check_close()  # type: ignore[attr-defined]

    def _read_next_chunk_size(self) -> int:
        # http.client takes what int() takes: signs, prefixes and underscores (RFC 9112 section 7.1 has digits alone).
        size, _, _ = self.fp.readline(_MAX_LINE).partition(b";")
        digits = size.rstrip(b" \t\r\n")
        if not _HEX_DIGITS.fullmatch(digits):
            self._close_conn()  # type: ignore[attr-defined]
            raise ValueError("malformed chunk size")
        return int(digits, 16)


class _Guarded(HTTPConnection):
    """A connection that serves another request only where it is certain that no byte of an earlier one is left on it.

    It keeps the deadline of the call while it connects, sends and reads, and reports why it could not be established.

    Attributes:
        connecting: whether it is being established.
        usable: whether it may serve another request.
        exchange: the request and response that it carries, or carried last.
    """

    response_class = _Response
    connecting = False
    usable = True
    exchange: _Exchange | None = None
    _idle_since = (math.inf, math.inf)

    def response_read(self, *, clean: bool) -> None:
        """Note that a response was read, and whether nothing followed it."""
        if not clean:
            self.usable = False
        self._idle_since = time.monotonic(), time.time()

    @property
    def is_connected(self) -> bool:
        # urllib3 checks this for a connection from the pool, and reconnects if it is false.
        if self.sock is None or not self.usable:
            return False
        # Both clocks: the monotonic one stands still while a machine is suspended, the other one can be set back.
        limit = _exchange.get().idle_timeout
        if time.monotonic() - self._idle_since[0] > limit or time.time() - self._idle_since[1] > limit:
            return False
        # Bytes that nobody asked for: the second half of a response splitting attack, or the end of the connection.
        return not _pending(self.sock) and super().is_connected

    def connect(self) -> None:
        self.connecting = True
        self.exchange = _exchange.get()
        self.exchange.connection = self
        try:
            super().connect()
            _refuse_early_data(self.sock)
        except (OSError, HTTPException, HTTPError, TooManyThreadsError) as cause:
            # Without its traceback: the frame that opens a tunnel has the proxy's credentials among its variables.
            raise _not_connected(self, cause) from cause.with_traceback(None)
        finally:
            self.connecting = False
        self.usable = True
        self._idle_since = (math.inf, math.inf)

    def _new_conn(self) -> socket.socket:
        # urllib3 waits for name resolution without a limit, and for each address as long as for all of them.
        deadline = _exchange.get().connect_deadline
        try:
            addresses = resolve(self._dns_host, self.port or self.default_port, deadline)
        except socket.gaierror as cause:
            raise NameResolutionError(self.host, self, cause) from cause
        except NotInTimeError:
            raise TimeoutError("the host name was not resolved in time") from None
        failure: OSError | None = None
        for number, (family, kind, protocol, _, address) in enumerate(addresses):
            share = (deadline - time.monotonic()) / (len(addresses) - number)
            if share <= 0:
                raise TimeoutError("no connection in time")
            sock: socket.socket | None = None
            try:
                # Fails too, where the system does not know the family of the address.
                sock = socket.socket(family, kind, protocol)
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
                # What is left is for TLS.
                sock.settimeout(max(LEAST, deadline - time.monotonic()))
                sys.audit("http.client.connect", self, self.host, self.port)
                return sock
        if isinstance(failure, TimeoutError):
            raise failure
        raise NewConnectionError(self, "no address accepts a connection") from failure

    def _tunnel(self) -> None:
        super()._tunnel()
        # The socket has the timeout of the last read. What is left is for TLS with the host.
        self.sock.settimeout(max(LEAST, _exchange.get().connect_deadline - time.monotonic()))

    def putrequest(self, method: str, url: str, *args: Any, **options: Any) -> None:
        exchange = self.exchange = _exchange.get()
        exchange.connection = self
        if self.sock is None:
            self.connect()
        # The target is replaced here and not in `request`, which keeps the URL for what urllib3 logs of a response
        # with malformed headers. Through a forwarding proxy the whole URL is sent.
        scheme, separator, rest = url.partition("://")
        target = f"{scheme}://{rest.partition('/')[0]}{exchange.target}" if separator else exchange.target
        super().putrequest(method, target, *args, **options)

    def send(self, data: Any) -> None:
        exchange = _exchange.get()
        deadline = exchange.connect_deadline if self.connecting else exchange.deadline
        size = _TLS_RECORD if isinstance(self.sock, ssl.SSLSocket) else len(data)
        try:
            for start in range(0, len(data), size or 1):
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError("the request was not sent in time")
                self.sock.settimeout(min(left, exchange.read_timeout))
                super().send(data if size == len(data) else data[start : start + size])
        except OSError:
            # urllib3 reads a response that came before the request was complete. Then the connection has to go.
            self.usable = False
            raise


class _Connection(_Guarded):
    pass


class _TlsConnection(_Guarded, HTTPSConnection):
    def _connect_tls_proxy(self, hostname: str, sock: socket.socket) -> Any:
        return _DeadlineSocket(super()._connect_tls_proxy(hostname, sock), self)


class _DeadlineSocket:
    """The TLS connection to a proxy that carries another TLS connection.

    urllib3 reads and writes it in loops, and gives each step the whole timeout.
    """

    def __init__(self, sock: ssl.SSLSocket, connection: _Guarded) -> None:
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
        # The context variable is reset before the body is read.
        exchange = self._connection.exchange
        if exchange is not None and self._sock.gettimeout() != 0.0:
            deadline = exchange.connect_deadline if self._connection.connecting else exchange.deadline
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("the deadline of the call has passed")
            self._sock.settimeout(min(left, exchange.read_timeout))
        return self._sock


def _pending(sock: Any) -> bool:
    """Whether bytes are waiting in a TLS connection, which no system call shows."""
    if isinstance(sock, SSLTransport):
        # TLS inside TLS: what the outer connection has decrypted, and what the inner one has.
        outer: Any = sock.socket
        return sock.incoming.pending > 0 or sock.sslobj.pending() > 0 or outer.pending() > 0
    return isinstance(sock, ssl.SSLSocket) and sock.pending() > 0


def _refuse_early_data(sock: socket.socket) -> None:
    """Raise where the server has sent a response before any request: it cannot be the response to ours."""
    if not (_pending(sock) or wait_for_read(sock, timeout=0.0)):
        return
    timeout = sock.gettimeout()
    sock.settimeout(0.0)
    try:
        # Over TLS this takes in session tickets, which come unasked and are no data.
        early = sock.recv(1)
    except (BlockingIOError, ssl.SSLWantReadError):
        return
    finally:
        sock.settimeout(timeout)
    raise _EarlyDataError if early else ConnectionResetError


class _EarlyDataError(OSError):
    pass


class _Stack:
    """The connections of a pool, the last one used on top.

    urllib3 has a ``queue.LifoQueue`` here. That has locks that an exception of a signal handler can leave taken, and
    that a fork copies. A list needs none, and no call waits for it: the transport bounds the number of calls.
    """

    def __init__(self, maxsize: int) -> None:
        self._maxsize = maxsize
        self.connections: list[_Guarded | None] = []

    def get(self, block: bool = True, timeout: float | None = None) -> _Guarded | None:
        try:
            return self.connections.pop()
        except IndexError:
            raise queue.Empty from None

    def put(self, item: _Guarded | None, block: bool = True) -> None:
        if len(self.connections) >= self._maxsize:
            raise queue.Full
        self.connections.append(item)

    def qsize(self) -> int:
        return len(self.connections)


class _Pool(urllib3.HTTPConnectionPool):
    QueueCls = _Stack  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    ConnectionCls = _Connection  # pyright: ignore[reportAssignmentType]


class _TlsPool(urllib3.HTTPSConnectionPool):
    QueueCls = _Stack  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    ConnectionCls = _TlsConnection  # pyright: ignore[reportAssignmentType]


class Connections:
    """The pools of connections, one for each host. Safe in threads; forked processes get their own.

    Redirects are never followed and urllib3's own retries are off: both would send a signature to a place, or at a
    time, it was not made for.

    Args:
        settings: how to connect.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._forwarded = settings.proxy is not None and settings.base_url.startswith("http:")
        self._lock = Lock()
        self._process = os.getpid()
        self._manager = _pool_manager(settings)
        self._pools: dict[str, urllib3.HTTPConnectionPool] = {}
        self._next_sweep = 0.0

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            self._pools = {}
            self._manager.clear()

    def request(
        self, request: Request, headers: dict[str, str], *, connect: float, read: float, deadline: float | None
    ) -> urllib3.BaseHTTPResponse:
        """Send a request and read the head of its response.

        Args:
            request: what to send.
            headers: its headers, with the credentials.
            connect: seconds in which a new connection must be established: name, TCP, proxy and TLS.
            read: seconds to wait for the next bytes of the response.
            deadline: when all must be over, on the monotonic clock.

        Raises:
            NotConnected: nothing was sent.
            HTTPError: something else went wrong.
        """
        base = request.url[: -len(request.target)]
        # What urllib3 writes into its log is the template: a path can hold the id of a token.
        path = request.operation.path
        limit = math.inf if deadline is None else deadline
        idle = self._settings.idle_timeout
        token = _exchange.set(_Exchange(request.target, read, min(limit, time.monotonic() + connect), limit, idle))
        try:
            while True:
                pool = self._pool(base)
                self._close_idle(pool)
                try:
                    return pool.urlopen(
                        request.method,
                        base + path if self._forwarded else path,
                        body=request.body,
                        headers=headers,
                        redirect=False,
                        retries=_NEVER,
                        assert_same_host=False,
                        timeout=urllib3.Timeout(connect=connect, read=read),
                        preload_content=False,
                        decode_content=False,
                    )
                except ClosedPoolError:
                    # Closed by another thread since it was looked up: nothing was sent, and the next one is new.
                    self._drop(pool)
        finally:
            _exchange.reset(token)

    def _close_idle(self, pool: urllib3.HTTPConnectionPool) -> None:
        """Close connections that have been idle for too long, so that they do not occupy descriptors."""
        now = time.monotonic()
        if now < self._next_sweep or pool.pool is None:
            return
        self._next_sweep = now + self._settings.idle_timeout
        stack: Any = pool.pool
        taken = []
        while True:
            # Taken out one by one, so that no other thread can use a connection while it is checked.
            try:
                taken.append(stack.get())
            except queue.Empty:
                break
        for connection in reversed(taken):
            if connection is not None and connection.sock is not None and not connection.is_connected:
                connection.close()
            stack.put(connection)

    def _drop(self, closed: urllib3.HTTPConnectionPool) -> None:
        with self._lock:
            if closed in self._pools.values():
                self._pools = {}
                self._manager.clear()

    def _pool(self, base: str) -> urllib3.HTTPConnectionPool:
        # Processes that share a connection would receive each other's responses.
        if self._process == os.getpid():
            found = self._pools.get(base)
            if found is not None:
                return found
        with self._lock:
            if self._process != os.getpid():
                self._manager = _pool_manager(self._settings)
                self._pools = {}
                self._process = os.getpid()
            found = self._pools[base] = self._manager.connection_from_url(base)
            return found


def _pool_manager(settings: Settings) -> urllib3.PoolManager:
    # Contexts for TLS are made here, once, and only if needed.
    tunnels = settings.base_url.startswith("https:")
    proxy = settings.proxy
    options: dict[str, Any] = {
        "retries": _NEVER,
        # The transport allows no more calls at once than this.
        "maxsize": settings.pool_size,
        "socket_options": socket_options(),
    }
    if tunnels or (proxy is not None and proxy.url.startswith("https:")):
        tls = settings.tls or Tls()
        # None leaves it to the context. False says it to urllib3 too, which else looks at the name by itself.
        name = False if tls.insecure_skip_verification else None
        options["assert_hostname"] = name
        options["ssl_context"] = tls.ssl_context if tunnels else tls.for_proxy()
        if proxy is not None and proxy.url.startswith("https:"):
            options["proxy_ssl_context"] = tls.for_proxy() if tunnels else options["ssl_context"]
            options["proxy_assert_hostname"] = name
    made: urllib3.PoolManager
    if proxy is None:
        made = urllib3.PoolManager(**options)
    else:
        made = urllib3.ProxyManager(proxy.url, proxy_headers=proxy.headers(), **options)
    made.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
    return made


def _not_connected(connection: HTTPConnection, cause: Exception) -> NotConnected:
    # Once the tunnel stands, TLS is with the host; all else that fails with a proxy in between is put down to it.
    through = connection.proxy is not None
    at_proxy = through and not (isinstance(cause, ssl.SSLError) and connection.has_connected_to_proxy)
    who = "proxy" if at_proxy else "host"
    if isinstance(cause, TooManyThreadsError):
        return no_thread(cause)
    if descriptors_exhausted(cause):
        return no_descriptor()
    if isinstance(cause, NameResolutionError):
        return unresolved(who)
    if isinstance(cause, NewConnectionError):
        return unreachable(who)
    if isinstance(cause, (ConnectTimeoutError, TimeoutError)):
        return too_late(through_proxy=through)
    if isinstance(cause, ssl.SSLError):
        return tls_failed(who, cause)
    if isinstance(cause, _EarlyDataError):
        return unsolicited(who)
    status = _TUNNEL.search(str(cause)) if at_proxy else None
    return ended(who) if status is None else tunnel_refused(int(status[1]))
