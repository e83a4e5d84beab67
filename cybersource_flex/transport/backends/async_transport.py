"""``AsyncTransport`` sends requests with aiohttp. It requires the extra ``async``."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from types import TracebackType
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

from ... import errors
from ..._runtime.event_loop import running_loop, sleep, wait
from ..._runtime.event_loop import timeout as timeout_after
from ..._runtime.threads import TooManyThreadsError, start_in_thread
from ..._runtime.tracebacks import clear_locals_on_error
from ..base_transport import BaseTransport, CallState, connect_error
from ..configuration import Configuration
from ..messages import Request, Response
from ..retry import RetryPolicy
from ..tls import Tls
from .connect_errors import (
    ConnectFailure,
    client_closed,
    is_out_of_file_descriptors,
    load_timed_out,
    out_of_file_descriptors,
    pool_exhausted,
    signer_timed_out,
    thread_start_failed,
)

if TYPE_CHECKING:
    import ssl
    from typing import Self

    import aiohttp

__all__ = ["AsyncTransport"]


@clear_locals_on_error
class AsyncTransport(BaseTransport):
    """Sends requests to one host with aiohttp, for the tasks of one event loop at a time.

    Redirects are never followed, and only the retry policy repeats requests. The first request, or ``prepare``, loads
    aiohttp and the trusted CAs in a thread, because loading them would block the event loop for too long.

    Attributes:
        clock: gives the time to sign with, and measures the host's time.

    Raises:
        ConfigurationError: the proxy has an ``https`` URL. aiohttp would send the client certificate to such a proxy.
        MissingDependencyError: aiohttp is not installed.
    """

    def __init__(self, configuration: Configuration) -> None:
        super().__init__(configuration)
        if configuration.proxy is not None and configuration.proxy.url.startswith("https:"):
            raise errors.ConfigurationError(
                "an https:// proxy is not supported by the asynchronous client; use an http:// proxy"
            )
        _check_installed()
        self._connections = _Connections(configuration)

    async def __aenter__(self) -> Self:
        await self.prepare()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop of the open connections. None if no connections are open."""
        return None if self._connections.session is None else self._connections.loop

    async def prepare(self) -> None:
        """Load aiohttp, the code that verifies responses, and the trusted CAs, in a thread. Later calls do nothing.

        Raises:
            ConfigurationError: the running event loop is not an event loop of asyncio.
            OSError: no file descriptor is left.
        """
        await self._connections.prepare()

    async def close(self) -> None:
        """Close the connections. The transport can still be used, also in another event loop: it opens new connections.

        If this transport was derived from another one, nothing is closed.
        """
        if not self._is_derived:
            await self._connections.close()

    async def send(
        self, request: Request, *, timeout: float | None = None, retry: RetryPolicy | None = None
    ) -> Response:
        """Send a request and read the whole response of any status. Arguments are those of ``Transport.send``.

        Raises:
            ConfigurationError: called in another event loop while the previous one is still open.
            TransportError: no complete response arrived; the subclass says why.
        """
        call = CallState(request, self._configuration, self.clock, self._tracing, timeout, retry)
        try:
            while True:
                try:
                    response = await self._send_once(call)
                except errors.TransportError as error:
                    delay = call.delay_after_error(error)
                    if delay is None:
                        raise
                else:
                    delay = call.delay_after_response(response)
                    if delay is None:
                        return self._finish(call, response)
                if delay:
                    await sleep(delay)
                call.start_retry()
        except BaseException as error:
            call.finish(getattr(error, "status", None), error)
            raise

    async def _send_once(self, call: CallState) -> Response:
        connections = self._connections
        if not connections.ready:
            await self._prepare_in_time(call)
        session, slots = connections.open()
        if slots.locked():
            try:
                async with timeout_after(call.time_left()):
                    await slots.acquire()
            except TimeoutError:
                raise connect_error(call.request, pool_exhausted(self._configuration.pool_size)) from None
        else:
            # A slot is free, so this does not wait and needs no timer.
            await slots.acquire()
        try:
            if session is not connections.session:
                raise client_closed()
            # The request is signed after the wait for a free connection, so that the signature is not old.
            headers = await self._sign_in_thread(call) if self._signer_may_block else call.sign(self.clock.now())
            if session is not connections.session:
                raise client_closed()
            call.start_sending()
            return await self._exchange(session, call, headers)
        except ConnectFailure as failure:
            error = connect_error(call.sent_request, failure)
        finally:
            slots.release()
        raise error

    async def _prepare_in_time(self, call: CallState) -> None:
        running_loop()
        try:
            async with timeout_after(call.time_left()):
                await self.prepare()
        except TooManyThreadsError as cause:
            failure = thread_start_failed(cause)
        except TimeoutError:
            failure = load_timed_out()
        except OSError as cause:
            if not is_out_of_file_descriptors(cause):
                raise
            failure = out_of_file_descriptors()
        else:
            return
        raise connect_error(call.request, failure)

    async def _sign_in_thread(self, call: CallState) -> dict[str, str]:
        # A signer that waits for another system must not block the event loop.
        try:
            signing = asyncio.wrap_future(start_in_thread(partial(call.sign, self.clock.now())))
        except TooManyThreadsError as cause:
            raise thread_start_failed(cause) from cause
        await wait(signing, call.time_left())
        if not signing.done():
            signing.cancel()
            raise signer_timed_out()
        return signing.result()

    async def _exchange(self, session: aiohttp.ClientSession, call: CallState, headers: dict[str, str]) -> Response:
        from .aiohttp_exchange import exchange

        return self._build_response(call.sent_request, *await exchange(session, self._configuration, call, headers))


class _Connections:
    """The aiohttp session of the current event loop, and the limit of its connections.

    A forked child starts without a session, because the connections and their event loop belong to the parent.
    """

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self.ready = False
        self.session: aiohttp.ClientSession | None = None
        self.slots = asyncio.Semaphore(configuration.pool_size)
        self.tls: ssl.SSLContext | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self._loop_end: AsyncGenerator[None, None] | None = None
        self._loading: Future[None] | None = None
        _all_connections.add(self)

    def leave_to_parent(self) -> None:
        """Give up the session in a forked child, without closing it or letting it be collected."""
        _parent_objects.append((self.session, self._loop_end))
        self.session = self.loop = self._loop_end = None
        # The thread that was loading does not exist in the child.
        self._loading = None

    async def prepare(self) -> None:
        """Load what the first request needs, in a thread that concurrent callers share."""
        if self.ready:
            return
        running_loop()
        if self._loading is None:
            self._loading = start_in_thread(self._load)
        try:
            await asyncio.wrap_future(self._loading)
        except BaseException:
            # The next call tries again, for example with more file descriptors.
            if self._loading is not None and self._loading.done():
                self._loading = None
            raise

    def _load(self) -> None:
        # These modules decrypt and verify responses. They are imported here, because importing them is slow.
        from cryptography.hazmat.primitives.asymmetric import padding, rsa  # noqa: F401
        from cryptography.hazmat.primitives.ciphers import aead  # noqa: F401

        from . import aiohttp_exchange  # noqa: F401

        if self._configuration.base_url.startswith("https:"):
            self.tls = (self._configuration.tls or Tls()).ssl_context
        self.ready = True

    def open(self) -> tuple[aiohttp.ClientSession, asyncio.Semaphore]:
        """Return the session of the running event loop, and the semaphore with one slot for each connection.

        Raises:
            ConfigurationError: the session belongs to another event loop, which is still open.
        """
        loop = running_loop()
        if self.session is not None and (self.loop is not loop or self.session.closed):
            if self.loop is not None and self.loop is not loop and not self.loop.is_closed():
                raise errors.ConfigurationError(
                    "the client is in use in another event loop, which is still open; create one client for each event "
                    "loop, or close the client before using it in a different event loop"
                )
            _abandon(self.session)
            self.session = None
        if self.session is None:
            from .aiohttp_exchange import open_session

            self.session = open_session(self._configuration, self.tls)
            self.slots = asyncio.Semaphore(self._configuration.pool_size)
            self.loop = loop
            # The generator is started now, so that the event loop knows it and closes it at the end.
            self._loop_end = _close_at_loop_end(self.session)
            _start(self._loop_end)
        return self.session, self.slots

    async def close(self) -> None:
        """Close the session."""
        session, self.session = self.session, None
        loop_end, self._loop_end = self._loop_end, None
        if session is None or loop_end is None:
            return
        if self.loop is not None and self.loop.is_closed():
            _abandon(session)
        else:
            await session.close()
            await loop_end.aclose()


_all_connections: Final[WeakSet[_Connections]] = WeakSet()
# In a forked child, the sessions of the parent. They must not be closed, not even by the garbage collector: the child
# shares the parent's selector, so closing would stop the parent from receiving responses, and TLS would send an alert.
_parent_objects: Final[list[object]] = []


def _leave_all_to_parent() -> None:
    for connections in list(_all_connections):
        connections.leave_to_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_all_to_parent)


def _check_installed() -> None:
    # aiohttp is looked up but not imported. Importing it would block an event loop, in which clients are often created.
    if (sys.modules.get("aiohttp") if "aiohttp" in sys.modules else find_spec("aiohttp")) is None:
        raise errors.MissingDependencyError(
            "asynchronous calls require the extra async: pip install 'cybersource-flex[async]'", name="aiohttp"
        )


async def _close_at_loop_end(session: aiohttp.ClientSession) -> AsyncGenerator[None, None]:
    """Close the session when the event loop shuts down its asynchronous generators, as ``asyncio.run`` does."""
    try:
        yield
    finally:
        if not session.closed:
            await session.close()


def _start(generator: AsyncGenerator[None, None]) -> None:
    """Run an asynchronous generator to its first ``yield``. The code before the ``yield`` must not wait."""
    with suppress(StopIteration):
        generator.__anext__().send(None)


def _abandon(session: aiohttp.ClientSession) -> None:
    """Close a session whose event loop is closed. aiohttp does not wait in this case, so no event loop is needed."""
    closing = session.close()
    with suppress(StopIteration):
        while True:
            closing.send(None)
