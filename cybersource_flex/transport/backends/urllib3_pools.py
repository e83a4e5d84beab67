"""Connection pools for urllib3: one for each host, without urllib3's retries and redirects."""

from __future__ import annotations

import logging
import math
import os
import queue
from typing import TYPE_CHECKING, Any, Final

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ClosedPoolError

from ..._runtime.lock import ForkSafeLock
from ..._runtime.monotonic import monotonic
from ..configuration import Configuration
from ..tls import Tls
from .urllib3_connections import Connection, ReusableConnection, TlsConnection, socket_options
from .urllib3_responses import Attempt, current_attempt

if TYPE_CHECKING:
    from ..messages import Request

__all__ = ["ConnectionPools"]

_NO_RETRIES: Final = urllib3.Retry(False, redirect=False)


class _Stack(queue.LifoQueue[Any]):
    """The idle connections of a pool. The connection that was used last is taken first.

    This class replaces urllib3's ``queue.LifoQueue``. The locks of that queue can stay locked after an exception in a
    signal handler or after a fork. A list needs no lock, and no call has to wait for a connection, because the
    transport limits the number of calls.

    It is a subclass of ``Queue``, because vcrpy closes unusable connections only if they come from a ``Queue``.
    """

    def __init__(self, maxsize: int) -> None:
        # The base class is not initialised: none of its methods is used, and none of its locks.
        self._maxsize = maxsize
        self.connections: list[ReusableConnection | None] = []

    def get(self, block: bool = True, timeout: float | None = None) -> ReusableConnection | None:
        try:
            return self.connections.pop()
        except IndexError:
            raise queue.Empty from None

    def put(self, item: ReusableConnection | None, block: bool = True, timeout: float | None = None) -> None:
        if len(self.connections) >= self._maxsize:
            raise queue.Full
        self.connections.append(item)

    def qsize(self) -> int:
        return len(self.connections)


class _Pool(urllib3.HTTPConnectionPool):
    QueueCls = _Stack  # type: ignore[assignment]

    @property
    def ConnectionCls(self) -> Any:  # type: ignore[override]  # noqa: N802 - the name in urllib3
        # Tools that record or fake HTTP replace urllib3's class while they are active.
        current = urllib3.HTTPConnectionPool.ConnectionCls
        return Connection if current is HTTPConnection else current


class _TlsPool(urllib3.HTTPSConnectionPool):
    QueueCls = _Stack  # type: ignore[assignment]

    @property
    def ConnectionCls(self) -> Any:  # type: ignore[override]  # noqa: N802 - the name in urllib3
        current = urllib3.HTTPSConnectionPool.ConnectionCls
        return TlsConnection if current is HTTPSConnection else current


class _PathFilter(logging.Filter):
    """Replaces paths in urllib3's log messages by the path template, because a path can contain the id of a token."""

    def filter(self, record: logging.LogRecord) -> bool:
        attempt = current_attempt.get(None)
        if attempt is not None and isinstance(record.args, tuple):
            target, template = attempt.request.target, attempt.request.operation.path
            record.args = tuple(
                each.replace(target, template) if isinstance(each, str) else each for each in record.args
            )
        return True


logging.getLogger("urllib3.connectionpool").addFilter(_PathFilter())


class ConnectionPools:
    """Connection pools, one for each host. Thread-safe; forked processes get separate pools.

    Redirects and urllib3's own retries are off. Both would repeat the signature, which is not valid for a different
    host or at a later time.

    Args:
        configuration: connection settings.
    """

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._uses_forward_proxy = configuration.proxy is not None and configuration.base_url.startswith("http:")
        self._lock = ForkSafeLock()
        self._process = os.getpid()
        self._manager = _pool_manager(configuration)
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
        """Send a request and read the status and headers of its response.

        Args:
            request: the request.
            headers: the headers to send, with the credentials.
            connect: seconds to establish a new connection: name resolution, TCP, proxy and TLS.
            read: seconds to wait for the next bytes of the response.
            deadline: when the response must be complete, on the monotonic clock. None for no deadline.

        Raises:
            ConnectFailure: no connection was established, so nothing was sent.
            HTTPError: the exchange failed.
        """
        base = request.url[: -len(request.target)]
        limit = math.inf if deadline is None else deadline
        idle = self._configuration.idle_timeout
        token = current_attempt.set(Attempt(request, read, min(limit, monotonic() + connect), limit, idle))
        try:
            while True:
                pool = self._pool(base)
                if monotonic() >= self._next_sweep:
                    self._close_idle(pool)
                try:
                    return pool.urlopen(
                        request.method,
                        request.url if self._uses_forward_proxy else request.target,
                        body=request.body,
                        headers=headers,
                        redirect=False,
                        retries=_NO_RETRIES,
                        assert_same_host=False,
                        timeout=urllib3.Timeout(connect=connect, read=read),
                        preload_content=False,
                        decode_content=False,
                    )
                except ClosedPoolError:
                    # Another thread has just closed the pool. Nothing was sent, so the loop tries a new pool.
                    self._drop(pool)
        finally:
            current_attempt.reset(token)

    def _close_idle(self, pool: urllib3.HTTPConnectionPool) -> None:
        """Close connections that have been idle for too long, to free their file descriptors."""
        self._next_sweep = monotonic() + self._configuration.idle_timeout
        stack: Any = pool.pool
        if stack is None:
            return
        idle = []
        while True:
            # All connections are taken out, so that no other thread can use a connection while it is checked.
            try:
                idle.append(stack.get())
            except queue.Empty:
                break
        for connection in reversed(idle):
            if connection is not None and connection.sock is not None and not connection.is_connected:
                connection.close()
            stack.put(connection)

    def _drop(self, closed: urllib3.HTTPConnectionPool) -> None:
        with self._lock:
            if closed in self._pools.values():
                self._pools = {}
                self._manager.clear()

    def _pool(self, base: str) -> urllib3.HTTPConnectionPool:
        # A forked process gets new pools. Processes that share a connection would receive each other's responses.
        if self._process == os.getpid():
            existing = self._pools.get(base)
            if existing is not None:
                return existing
        with self._lock:
            if self._process != os.getpid():
                self._manager = _pool_manager(self._configuration)
                self._pools = {}
                self._process = os.getpid()
            pool = self._pools[base] = self._manager.connection_from_url(base)
            return pool


def _pool_manager(configuration: Configuration) -> urllib3.PoolManager:
    # TLS contexts are created once, here, and only if they are needed.
    tunnels = configuration.base_url.startswith("https:")
    proxy = configuration.proxy
    options: dict[str, Any] = {
        "retries": _NO_RETRIES,
        # The transport allows at most this many calls at once.
        "maxsize": configuration.pool_size,
        "socket_options": socket_options(),
    }
    if tunnels or (proxy is not None and proxy.url.startswith("https:")):
        tls = configuration.tls or Tls()
        # None leaves the check of the host name to the TLS context. False also turns off urllib3's own check.
        assert_hostname = False if tls.insecure_skip_verification else None
        options["assert_hostname"] = assert_hostname
        options["ssl_context"] = tls.ssl_context if tunnels else tls.for_proxy()
        if proxy is not None and proxy.url.startswith("https:"):
            options["proxy_ssl_context"] = tls.for_proxy() if tunnels else options["ssl_context"]
            options["proxy_assert_hostname"] = assert_hostname
    manager: urllib3.PoolManager
    if proxy is None:
        manager = urllib3.PoolManager(**options)
    else:
        manager = urllib3.ProxyManager(proxy.url, proxy_headers=proxy.headers(), **options)
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
    return manager
