"""Connections for aiohttp. They limit interim responses, resolve names in threads, and are reused only if safe."""

from __future__ import annotations

import asyncio
import math
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError
from urllib3.util import wait_for_read

from ..._runtime.monotonic import monotonic
from ..._runtime.threads import TooManyThreadsError
from .connect_errors import unsolicited_data
from .resolver import Address, start_lookup
from .urllib3_connections import socket_options
from .urllib3_responses import MAX_INTERIM, MAX_INTERIM_BYTES, reusable_seconds

if TYPE_CHECKING:
    from aiohttp.client import ClientTimeout
    from aiohttp.client_reqrep import ClientRequest
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

__all__ = ["Attempt", "Connector", "Protocol", "current_attempt", "fail_body_when_closed"]


class Attempt:
    """One request and its response.

    Attributes:
        protocol: the connection in use. None until a connection is established.
    """

    __slots__ = ("protocol",)

    def __init__(self) -> None:
        self.protocol: Protocol | None = None


#: The attempt of the current task.
current_attempt: Final[ContextVar[Attempt]] = ContextVar("cybersource_flex_async_attempt")


class Protocol(ResponseHandler):
    """The receiving side of a connection. Limits interim responses, and records when the connection became idle.

    Attributes:
        used: whether the connection has carried a request.
        busy: whether the connection carries a request now.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.used = self.busy = False
        self._interim = self._interim_bytes = 0
        self._idle_since = monotonic(), time.time()
        self._reusable_seconds = math.inf

    def feed_data(self, data: Any, size: int = 0) -> None:
        message = data[0]
        if self.exception() is not None:
            return
        if message.code >= 200:
            self._interim = self._interim_bytes = 0
            self._idle_since = monotonic(), time.time()
            keep_alive = message.headers.get("Keep-Alive")
            self._reusable_seconds = math.inf if keep_alive is None else reusable_seconds(keep_alive)
        elif message.code != 101:
            # aiohttp itself skips any number of interim responses.
            self._interim += 1
            self._interim_bytes += sum(len(name) + len(value) for name, value in message.raw_headers)
            if self._interim > MAX_INTERIM or self._interim_bytes > MAX_INTERIM_BYTES:
                self.set_exception(aiohttp.ClientPayloadError("no final response after the interim responses"))
                return
        if message.code < 100 or message.code == 101:
            # This is not a final response, and no final response will follow on this connection.
            self.force_close()
        super().feed_data(data, size)

    def data_received(self, data: bytes) -> None:
        if self.used and not self.busy:
            # The server sent data without a request.
            self.force_close()
        super().data_received(data)
        if self._interim:
            # aiohttp stops the timer after any response without a body, even an interim one.
            self.start_timeout()

    def connection_lost(self, exc: BaseException | None) -> None:
        closed = self.closed
        super().connection_lost(exc)
        # No task waits for the end of an idle connection. Without this, asyncio would log its reset as an error.
        if closed is not None and closed.done() and not closed.cancelled():
            closed.exception()

    def close(self) -> None:
        # An ordinary close waits until the server has read everything, which may never happen.
        transport = self.transport
        if transport is not None and not transport.is_closing() and transport.get_write_buffer_size():
            self.abort()
        else:
            super().close()

    def is_clean(self, idle_timeout: float) -> bool:
        """Whether the connection can carry a request: open, not idle for too long, and without unread bytes."""
        transport = self.transport
        limit = min(idle_timeout, self._reusable_seconds)
        # The wall clock is checked too, because the monotonic clock stops while the machine is suspended.
        idle = max(monotonic() - self._idle_since[0], time.time() - self._idle_since[1])
        expired = self.used and idle > limit
        if transport is None or expired or self.should_close or self._has_partial_message():
            return False
        if not self.used and transport.get_extra_info("ssl_object") is not None:
            # Unread bytes on a new TLS connection may be a session ticket, which is harmless.
            return True
        raw = transport.get_extra_info("socket")
        return raw is None or not wait_for_read(raw, timeout=0.0)

    def _has_partial_message(self) -> bool:
        """Whether the parser holds the beginning of another message after the last response."""
        parser: Any = self._parser
        if not self.used or parser is None:
            return False
        try:
            # The parser is not needed any more, because the next request gets a new one.
            return parser.feed_eof() is not None
        except (aiohttp.ClientError, HttpProcessingError):
            return True


class _Resolver(AbstractResolver):
    """Resolves names in threads. Neither the event loop nor the exit of the program waits for these threads.

    The default executor of an event loop has few threads, and closing the loop waits for them.
    """

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> Any:
        try:
            lookup = start_lookup(host, port)
        except TooManyThreadsError as cause:
            # aiohttp expects an OSError.
            raise OSError("no thread could be started to resolve the name") from cause
        addresses = await asyncio.wrap_future(lookup)
        numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        return [
            {
                "hostname": host,
                "host": _numeric_host(each),
                "port": port,
                "family": each[0],
                "proto": each[2],
                "flags": numeric,
            }
            for each in addresses
            if family in (socket.AF_UNSPEC, each[0])
        ]

    async def close(self) -> None:
        """Do nothing. The resolver has no resources to close."""


def _numeric_host(address: Address) -> str:
    sockaddr = address[4]
    if address[0] == socket.AF_INET6 and len(sockaddr) > 3 and sockaddr[3]:
        # A link-local address is only valid together with the name of the interface, which getnameinfo adds.
        return socket.getnameinfo(sockaddr, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0]
    return str(sockaddr[0])


class Connector(aiohttp.TCPConnector):
    """Opens connections, records whether one was established, and allows one connection for each attempt.

    Args:
        idle_timeout: seconds after which an idle connection is closed.
        ssl: TLS context, or True for the default.
    """

    def __init__(self, idle_timeout: float, *, ssl: Any) -> None:
        # The connector has no limit, because the transport limits the number of connections.
        super().__init__(limit=0, ssl=ssl, keepalive_timeout=idle_timeout, resolver=_Resolver())
        self._idle_timeout = idle_timeout
        self._factory = partial(Protocol, loop=self._loop)  # type: ignore[assignment]

    async def connect(self, req: ClientRequest, traces: list[Trace], timeout: ClientTimeout) -> Connection:
        attempt = current_attempt.get()
        if attempt.protocol is not None:
            # aiohttp is retrying a request that it considers idempotent, with the signature of the first attempt.
            raise aiohttp.ServerDisconnectedError
        while True:
            connection = await super().connect(req, traces, timeout)
            protocol: Any = connection.protocol
            if protocol.is_clean(self._idle_timeout):
                break
            connection.close()
            if not protocol.used:
                raise unsolicited_data("host")
        if not protocol.used:
            protocol.used = True
            _set_socket_options(connection)
        protocol.busy = True
        attempt.protocol = protocol
        return connection


def _set_socket_options(connection: Connection) -> None:
    raw = None if connection.transport is None else connection.transport.get_extra_info("socket")
    if raw is not None:
        for option in socket_options():
            raw.setsockopt(*option)


@contextmanager
def fail_body_when_closed(response: aiohttp.ClientResponse) -> Iterator[None]:
    """Make reading a response body in the block fail if the connection is closed before the body is complete.

    After a malformed chunk, aiohttp closes the connection but leaves the reader waiting until the total timeout.
    """
    content = response.content

    def on_close(closed: asyncio.Future[None]) -> None:
        if not closed.cancelled():
            closed.exception()
        if not content.is_eof() and content.exception() is None:
            content.set_exception(aiohttp.ClientPayloadError("the connection is closed"))

    protocol = None if response.connection is None else response.connection.protocol
    closed = None if protocol is None else protocol.closed
    if closed is None:
        yield
        return
    closed.add_done_callback(on_close)
    try:
        yield
    finally:
        # The future lives as long as the connection, and would keep every body.
        closed.remove_done_callback(on_close)
