"""uvicorn's HTTP/1.1 with the few differences that an emulator needs, and the way past it to the connection.

This is the only module that knows uvicorn's protocol and asyncio's transport.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

# The application is told about the connection in these members of the scope's extensions.
_CERTIFICATE = "cybersource_flex.client_certificate"
_WIRE = "cybersource_flex.wire"
# An immediate end: on, and no seconds to linger.
_NO_LINGER = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)


class Wire:
    """One connection, for what HTTP does not allow. What is done here passes by uvicorn and h11.

    Attributes:
        touched: whether it was used; such a connection ends at once when the server stops.
    """

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol
        self._lost = asyncio.Event()
        self.touched = False

    @property
    def lost(self) -> bool:
        """Whether the connection is no more."""
        return self._lost.is_set()

    def end(self) -> None:
        """Called by the protocol when the connection is no more."""
        self._lost.set()

    async def write(self, data: bytes) -> None:
        """Send bytes as they are, as soon as the client takes them. Nothing happens on a lost connection."""
        if not self.lost:
            self._protocol.transport.write(data)
            await self._protocol.flow.drain()

    @property
    def last_request(self) -> object:
        """A value that is another one for each request on this connection."""
        return self._protocol.cycle

    @contextlib.contextmanager
    def one_write(self) -> Iterator[list[bytes]]:
        """Send the response that uvicorn writes inside this block at the end of the block, in one write.

        Yields:
            Bytes to send after the response, in the same write.
        """
        cycle, more = self._protocol.cycle, list[bytes]()
        real, held = cycle.transport, _HeldTransport(cycle.transport)
        cycle.transport = held
        try:
            yield more
        finally:
            cycle.transport = real
            held.release(more)

    def forget_when_idle(self, seconds: float) -> None:
        """Ignore all that comes once the connection was idle for this long, and never close it."""
        self._protocol.idle_limit = seconds

    async def pause(self, seconds: float) -> bool:
        """Wait; False when the connection was lost meanwhile."""
        if seconds <= 0:
            await asyncio.sleep(0)
        else:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._lost.wait(), seconds)
        return not self.lost

    async def forsake(self) -> None:
        """Do nothing until the client, or the end of the server, ends the connection."""
        await self._lost.wait()

    async def close(self) -> None:
        """Send what is left and close."""
        # Closed twice, asyncio's transport for TLS can no longer be aborted.
        if not self._protocol.transport.is_closing():
            self._protocol.transport.close()
        await self._lost.wait()

    async def reset(self) -> None:
        """End the connection with RST: what was not sent yet is lost, and the client's next read fails."""
        transport = self._protocol.transport
        connection = transport.get_extra_info("socket")
        if connection is not None and not self.lost:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        transport.abort()
        # Returning earlier, uvicorn would still send a 500 in the name of an application without an answer.
        await self._lost.wait()


def client_name(scope: Scope) -> str | None:
    """CN of the certificate that the client presented on this connection."""
    name = scope.get("extensions", {}).get(_CERTIFICATE)
    return name if isinstance(name, str) else None


def wire_of(scope: Scope) -> Wire:
    """The connection on which a request came."""
    wire = scope["extensions"][_WIRE]
    if not isinstance(wire, Wire):
        raise RuntimeError("the application is not served by the emulator's own server")
    return wire


class _HeldTransport(asyncio.Transport):
    """Keeps what is written until it is released. A close is carried out at the release."""

    def __init__(self, real: asyncio.Transport) -> None:
        super().__init__()
        self._real = real
        self._held: list[bytes] = []
        self._close = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._held.append(bytes(data))

    def close(self) -> None:
        self._close = True

    def is_closing(self) -> bool:
        return self._close or self._real.is_closing()

    def release(self, more: list[bytes]) -> None:
        if not self._real.is_closing():
            self._real.write(b"".join((*self._held, *more)))
        if self._close:
            self._real.close()


class Protocol(H11Protocol):
    """uvicorn's HTTP/1.1, with five differences.

    It tells the application whose client certificate the connection has; uvicorn keeps that to itself. It gives
    the application the connection. When the server stops, an idle https connection ends at once: closing one in
    order would wait half a minute for a client that does not listen; so does one on which a scenario plays. It
    closes what was lost. And with an idle limit it ignores all that comes after that much time without a request.

    Attributes:
        idle_limit: seconds, or None for no limit.
    """

    idle_limit: float | None = None
    _idle_since: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.wire = Wire(self)
        extensions: dict[str, object] = {_WIRE: self.wire}
        certificate = transport.get_extra_info("peercert") or {}
        names = [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
        if names:
            extensions[_CERTIFICATE] = str(names[0])
        self.app = _Told(self.app, extensions)

    def data_received(self, data: bytes) -> None:
        if self.idle_limit is not None and self._idle_since is not None:
            if self.loop.time() - self._idle_since >= self.idle_limit:
                return
            self._idle_since = None
        super().data_received(data)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        # Not idle if the next request was there already.
        self._idle_since = self.loop.time() if self.cycle.response_complete else None
        if self.idle_limit is not None:
            # uvicorn would close the connection after its own time.
            self._unset_keepalive_if_required()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.wire.end()
        if exc is not None:
            # uvicorn closes only without an error, and Python 3.10 then complains of a transport left open.
            self.transport.close()

    def shutdown(self) -> None:
        idle = self.cycle is None or self.cycle.response_complete
        if self.wire.touched or (idle and self.scheme == "https"):
            # Instead of closing, not after it: see Wire.close.
            self.transport.abort()
        else:
            super().shutdown()


class _Told:
    """An application that is told of the connection."""

    def __init__(self, app: Any, extensions: dict[str, object]) -> None:
        self._app: ASGIApp = app
        self._extensions = extensions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        extensions = {**scope.get("extensions", {}), **self._extensions}
        await self._app({**scope, "extensions": extensions}, receive, send)
