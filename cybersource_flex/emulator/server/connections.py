"""``EmulatorProtocol``: uvicorn's HTTP protocol with checks, time limits and access to the raw connection.

This is the only module that uses uvicorn's protocol class and asyncio's transports.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
import sys
import uuid
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import h11
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..log import LOGGER
from .error_responses import ApiError, ErrorFormat, Reason

# Seconds from the beginning of a request, or of a connection, to the end of the request's body.
REQUEST_TIMEOUT = 60.0
# Seconds until the connection of a rejected request is closed. A client that is still sending can read the response in
# this time. Closing a connection with unread data resets it, and the client may lose the response.
_REJECTION_TIMEOUT = 1.0

# Members of the ASGI scope's extensions that pass the connection to the application.
_CERTIFICATE = "cybersource_flex.client_certificate"
_CONNECTION = "cybersource_flex.connection"
# SO_LINGER on with 0 seconds: closing the socket sends RST.
_NO_LINGER = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)


_UVICORN_LOGGER = LOGGER.getChild("uvicorn")
_UVICORN_LOGGER.setLevel(logging.ERROR)


class RawConnection:
    """One client connection, for faults that HTTP does not allow. Its methods bypass uvicorn and h11.

    Attributes:
        has_fault: whether a scenario affects the connection. If so, it is aborted when the server stops.
    """

    def __init__(self, protocol: EmulatorProtocol) -> None:
        self._protocol = protocol
        self._lost = asyncio.Event()
        self.has_fault = False

    @property
    def lost(self) -> bool:
        """Whether the connection has ended."""
        return self._lost.is_set()

    def mark_lost(self) -> None:
        """Called by the protocol when the connection has ended."""
        self._lost.set()

    async def write(self, data: bytes) -> None:
        """Send raw bytes with flow control. Does nothing on a lost connection."""
        if not self.lost:
            self._protocol.transport.write(data)
            await self._protocol.flow.drain()

    @property
    def last_request(self) -> object:
        """An object that identifies the last request on this connection."""
        return self._protocol.cycle

    @contextlib.contextmanager
    def one_write(self) -> Iterator[list[bytes]]:
        """Collect the response that uvicorn writes inside this block and send it in one write at the end.

        Yields:
            A list to which the caller adds bytes to send after the response, in the same write.
        """
        cycle, extra = self._protocol.cycle, list[bytes]()
        transport, buffer = cycle.transport, _BufferedTransport(cycle.transport)
        cycle.transport = buffer
        try:
            yield extra
        finally:
            cycle.transport = transport
            buffer.release(extra)

    def forget_when_idle(self, seconds: float) -> None:
        """Ignore all data once the connection has been idle for this long, and never close it."""
        self._protocol.idle_limit = seconds

    async def pause(self, seconds: float) -> bool:
        """Wait; return False if the connection was lost meanwhile."""
        if seconds <= 0:
            await asyncio.sleep(0)
        else:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._lost.wait(), seconds)
        return not self.lost

    async def wait_until_lost(self) -> None:
        """Wait until the client or the stopping server ends the connection."""
        await self._lost.wait()

    async def close(self) -> None:
        """Send what is buffered, then close."""
        # Only one close: after a second one, asyncio's TLS transport can no longer be aborted.
        if not self._protocol.transport.is_closing():
            self._protocol.transport.close()
        await self._lost.wait()

    async def reset(self) -> None:
        """End the connection with RST: unsent data is discarded, and the client's next read fails."""
        transport = self._protocol.transport
        connection = transport.get_extra_info("socket")
        if connection is not None and not self.lost:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        transport.abort()
        # The application must not return before the connection is lost, because uvicorn would then send a 500.
        await self._lost.wait()


def client_certificate_name(scope: Scope) -> str | None:
    """CN of the TLS client certificate of this connection."""
    name = scope.get("extensions", {}).get(_CERTIFICATE)
    return name if isinstance(name, str) else None


def connection_of(scope: Scope) -> RawConnection:
    """The connection on which a request was received."""
    connection = scope["extensions"][_CONNECTION]
    if not isinstance(connection, RawConnection):
        raise RuntimeError("the application is not served by the emulator's own server")
    return connection


class _BufferedTransport(asyncio.Transport):
    """Buffers writes until they are released. A close is carried out at the release."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self._transport = transport
        self._buffer: list[bytes] = []
        self._close = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._buffer.append(bytes(data))

    def close(self) -> None:
        self._close = True

    def is_closing(self) -> bool:
        return self._close or self._transport.is_closing()

    def release(self, extra: list[bytes]) -> None:
        if not self._transport.is_closing():
            self._transport.write(b"".join((*self._buffer, *extra)))
        if self._close:
            self._transport.close()


class EmulatorProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 protocol with these differences.

    - It passes the CN of the client certificate to the application.
    - It passes the connection to the application.
    - When the server stops, it aborts idle https connections, connections with a fault, and connections with an
      incomplete request. An orderly close would wait half a minute for a client that does not read.
    - It closes the transport of a lost connection.
    - If `idle_limit` is set, it ignores all data once the connection has been idle for longer.
    - It responds to malformed HTTP with an error body of the real host, and logs one line at INFO. It then reads until
      the client closes the connection, but only for a limited time.
    - It ignores the header `Upgrade`, so a request with it is handled like any other.
    - It closes a connection whose request is not complete after `REQUEST_TIMEOUT`.

    Attributes:
        idle_limit: seconds, or None for no limit.
    """

    idle_limit: float | None = None
    _idle_since: float | None = None
    _request_timer: asyncio.TimerHandle | None = None
    # The time when the first byte of the incomplete request was received, or the connection was made.
    _request_started: float | None = None
    _rejected = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_request()
        self.raw_connection = RawConnection(self)
        extensions: dict[str, object] = {_CONNECTION: self.raw_connection}
        certificate = transport.get_extra_info("peercert") or {}
        names = [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
        if names:
            extensions[_CERTIFICATE] = str(names[0])
        self.app = _AppWithExtensions(self.app, extensions)
        # Rejected requests are logged here. uvicorn would log them a second time, as warnings.
        self.logger = _UVICORN_LOGGER

    def data_received(self, data: bytes) -> None:
        if self._rejected:
            return
        if self.idle_limit is not None and self._idle_since is not None:
            if self.loop.time() - self._idle_since >= self.idle_limit:
                return
            self._idle_since = None
        if self._request_started is None:
            self._start_request()
        super().data_received(data)
        if self.conn.their_state in (h11.DONE, h11.MUST_CLOSE, h11.CLOSED):
            # The timer keeps running and also serves the next request.
            self._request_started = None

    def send_400_response(self, msg: str) -> None:
        error = sys.exception()
        status = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else 400
        self._reject(status, "The request is not valid HTTP")

    def _get_upgrade(self) -> bytes | None:
        return None

    def _start_request(self) -> None:
        self._request_started = self.loop.time()
        if self._request_timer is None:
            self._request_timer = self.loop.call_later(REQUEST_TIMEOUT, self._check_request_time)

    def _check_request_time(self) -> None:
        self._request_timer = None
        if self._request_started is None or self.transport.is_closing():
            return
        remaining = self._request_started + REQUEST_TIMEOUT - self.loop.time()
        if remaining > 0:
            self._request_timer = self.loop.call_later(remaining, self._check_request_time)
        elif self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]:
            self.transport.abort()
        else:
            self._reject(408, "The request was not complete in time")

    def _reject(self, status: int, message: str) -> None:
        """Respond with an error, if no response has begun, and close the connection."""
        # The message of h11 is not logged, because it may quote the request.
        LOGGER.info("%s: %s", status, message)
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.abort()
            return
        correlation_id = str(uuid.uuid4())
        response = ApiError(status, Reason.MALFORMED, message).response(
            ErrorFormat.RESPONSE_STATUS, correlation_id=correlation_id
        )
        headers = [
            ("content-type", response.media_type),
            ("content-length", str(len(response.body))),
            ("connection", "close"),
            ("v-c-correlation-id", correlation_id),
        ]
        for event in (
            h11.Response(status_code=status, headers=headers, reason=HTTPStatus(status).phrase),
            h11.Data(data=response.body),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self._rejected = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
        # Closes the connection even if the client neither reads nor closes.
        self.loop.call_later(_REJECTION_TIMEOUT, self.transport.close)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        # The connection is not idle if the next request has already arrived.
        self._idle_since = self.loop.time() if self.cycle.response_complete else None
        if self.idle_limit is not None:
            # uvicorn would close the connection after its own timeout.
            self._unset_keepalive_if_required()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.raw_connection.mark_lost()
        if self._request_timer is not None:
            self._request_timer.cancel()
        if exc is not None:
            # After an error uvicorn does not close the transport.
            self.transport.close()

    def shutdown(self) -> None:
        idle = self.cycle is None or self.cycle.response_complete
        incomplete = self.cycle is not None and self.cycle.more_body and not idle
        if self.raw_connection.has_fault or self._rejected or incomplete or (idle and self.scheme == "https"):
            # Aborted without closing it first, for the reason in RawConnection.close.
            self.transport.abort()
        elif not self.transport.is_closing():
            super().shutdown()


class _AppWithExtensions:
    """An ASGI application that gets additional members in the scope's extensions."""

    def __init__(self, app: Any, extensions: dict[str, object]) -> None:
        self._app: ASGIApp = app
        self._extensions = extensions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        extensions = {**scope.get("extensions", {}), **self._extensions}
        await self._app({**scope, "extensions": extensions}, receive, send)
