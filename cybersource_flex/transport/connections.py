"""urllib3's connections, set up from the settings; they say themselves when they could not be made."""

from __future__ import annotations

import http.client
import io
import os
import re
import socket
import ssl
import time
from contextvars import ContextVar
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, Final

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ClosedPoolError,
    ConnectTimeoutError,
    EmptyPoolError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
)

from .._lock import Lock
from .settings import Settings
from .tls import Tls
from .unreached import NotConnected, all_in_use, ended, tls_failed, too_late, tunnel_refused, unreachable, unresolved

if TYPE_CHECKING:
    from .message import Request

__all__ = ["Connections"]

_NEVER: Final = urllib3.Retry(False, redirect=False)

# http.client says it in these words alone; the rest of the line is the proxy's and stays out of messages.
_TUNNEL: Final = re.compile(r"Tunnel connection failed: (\d{3})")

# What holds for the attempt under way: its target as it is sent, and when it must be over (on the monotonic clock).
_bounds: Final[ContextVar[tuple[str, float | None] | None]] = ContextVar("cybersource_flex_bounds", default=None)


class _BoundedReader(io.RawIOBase):
    """Reads from a socket until the deadline. A socket's own timeout begins anew with each byte."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, deadline: float) -> None:
        self._raw = raw
        self._sock = sock
        self._deadline = deadline
        self._timeout = sock.gettimeout()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline of the call has passed")
        if self._timeout is None or left < self._timeout:
            # Not put back: urllib3 sets it anew with each request and each answer.
            self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _BoundedSocket:
    """All that an answer wants of a socket: the file to read from."""

    __slots__ = ("_deadline", "_sock")

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline

    def makefile(self, mode: str) -> io.BufferedReader:
        raw = self._sock.makefile("rb", buffering=0)
        return io.BufferedReader(_BoundedReader(raw, self._sock, self._deadline))


class _Answer(http.client.HTTPResponse):
    """An answer whose reading ends at the deadline, however slowly and steadily it comes."""

    def __init__(self, sock: Any, *args: Any, **options: Any) -> None:
        found = _bounds.get()
        if found is not None and found[1] is not None:
            sock = _BoundedSocket(sock, found[1])
        super().__init__(sock, *args, **options)


def _real(url: str) -> str:
    """The target to send in place of the one that urllib3 was given."""
    found = _bounds.get()
    if found is None:
        return url
    # Through a forwarding proxy the whole URL is sent.
    scheme, separator, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}{found[0]}" if separator else found[0]


class _Connection(HTTPConnection):
    response_class = _Answer

    def putrequest(self, method: str, url: str, *args: Any, **options: Any) -> None:
        # Here and not in `request`, which keeps the URL for what urllib3 logs of an answer with malformed headers.
        super().putrequest(method, _real(url), *args, **options)

    def connect(self) -> None:
        try:
            super().connect()
        except (OSError, HTTPException, HTTPError) as cause:
            raise _not_connected(self, cause) from cause


class _TlsConnection(HTTPSConnection):
    response_class = _Answer

    def putrequest(self, method: str, url: str, *args: Any, **options: Any) -> None:
        # Here and not in `request`, which keeps the URL for what urllib3 logs of an answer with malformed headers.
        super().putrequest(method, _real(url), *args, **options)

    def connect(self) -> None:
        try:
            super().connect()
        except (OSError, HTTPException, HTTPError) as cause:
            # Without its traceback: the frame that opens a tunnel has the proxy's credentials among its variables.
            raise _not_connected(self, cause) from cause.with_traceback(None)


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection  # pyright: ignore[reportAssignmentType]


class _TlsPool(urllib3.HTTPSConnectionPool):
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

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            self._pools = {}
            self._manager.clear()

    def request(
        self, request: Request, headers: dict[str, str], *, connect: float, read: float, deadline: float | None
    ) -> urllib3.BaseHTTPResponse:
        """Send a request, and read the head of its answer.

        Args:
            request: what to send.
            headers: its headers, with the credentials.
            connect: seconds to wait for a connection, also for one that is in use.
            read: seconds to wait for the next bytes of the answer.
            deadline: when all must be over, on the monotonic clock.

        Raises:
            NotConnected: nothing was sent.
            HTTPError: something else went wrong.
        """
        base = request.url[: -len(request.target)]
        # What urllib3 writes into its log is the template: a path can hold the id of a token.
        path = request.operation.path
        token = _bounds.set((request.target, deadline))
        try:
            while True:
                pool = self._pool(base)
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
                        pool_timeout=connect,  # type: ignore[arg-type] # a float is as good
                        preload_content=False,
                    )
                except ClosedPoolError:
                    # Closed by another thread since it was looked up: nothing was sent, and the next one is new.
                    self._drop(pool)
                except EmptyPoolError as cause:
                    raise all_in_use(self._settings.pool_size) from cause
        finally:
            _bounds.reset(token)

    def _drop(self, closed: urllib3.HTTPConnectionPool) -> None:
        with self._lock:
            if closed in self._pools.values():
                self._pools = {}
                self._manager.clear()

    def _pool(self, base: str) -> urllib3.HTTPConnectionPool:
        # A connection that two processes share gives each the other's answers.
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
        "maxsize": settings.pool_size,
        "block": settings.pool_block,
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
    if isinstance(cause, NameResolutionError):
        return unresolved(who)
    if isinstance(cause, NewConnectionError):
        return unreachable(who)
    if isinstance(cause, (ConnectTimeoutError, TimeoutError)):
        return too_late(through_proxy=through)
    if isinstance(cause, ssl.SSLError):
        return tls_failed(who, cause)
    status = _TUNNEL.search(str(cause)) if at_proxy else None
    return ended(who) if status is None else tunnel_refused(int(status[1]))
