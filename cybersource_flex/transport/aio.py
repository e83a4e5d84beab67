"""Sends requests with aiohttp, in the tasks of one event loop. Needs the extra ``async``."""

from __future__ import annotations

import asyncio
import io
import socket
import ssl
import sys
import time
from contextvars import ContextVar
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from urllib3 import HTTPHeaderDict
from urllib3.util import wait_for_read

try:
    import aiohttp
    from aiohttp import hdrs
    from aiohttp.abc import AbstractResolver
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.http_exceptions import HttpProcessingError
    from yarl import URL
except ModuleNotFoundError as cause:
    text = "sending on an event loop needs the extra async: pip install 'cybersource-flex[async]'"
    raise ModuleNotFoundError(text, name=cause.name) from None

from .. import errors
from .._threads import TooManyThreadsError, start_in_thread
from .connections import MAX_INTERIM, MAX_INTERIM_BYTES, socket_options
from .message import Request, Response
from .resolver import Address, start_lookup
from .retry import RetryPolicy
from .sender import LEAST, Course, Sender, broken, failure, unsent
from .settings import Settings
from .tls import Tls
from .unreached import (
    NotConnected,
    all_in_use,
    certificate_refused,
    closed_meanwhile,
    descriptors_exhausted,
    ended,
    no_descriptor,
    no_thread,
    proxy_credentials,
    refuses_certificate,
    signer_too_late,
    tls_failed,
    too_late,
    tunnel_refused,
    unreachable,
    unresolved,
    unsolicited,
)

if TYPE_CHECKING:
    from typing import Self

    from aiohttp.client import ClientTimeout
    from aiohttp.client_reqrep import ClientRequest
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

__all__ = ["AsyncTransport"]

# Every header is ours: none is guessed from the content or named after the library.
_OURS: Final = (hdrs.ACCEPT, hdrs.CONTENT_TYPE, hdrs.USER_AGENT)
# Bytes. From here on aiohttp warns of bytes that are written at once.
_LARGE: Final = 1 << 20
# Seconds. Above it, aiohttp rounds timeouts up to whole seconds; a deadline is not rounded.
_NEVER_ROUND: Final = 1e9


class AsyncTransport(Sender):
    """Connections to one host, and the rules for using them. For the tasks of one event loop.

    The rules are those of ``Transport``: redirects are never followed, and nothing is sent again but by the policy.

    Attributes:
        clock: how far the host's clock is from ours.

    Raises:
        ConfigurationError: the settings name an ``https`` proxy, which aiohttp would show the client certificate.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        if settings.proxy is not None and settings.proxy.url.startswith("https:"):
            raise errors.ConfigurationError("an https:// proxy is not supported on an event loop; name an http:// one")
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._slots = asyncio.Semaphore(settings.pool_size)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections. The transport can still be used, in another event loop too: it opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def send(
        self, request: Request, *, timeout: float | None = None, retry: RetryPolicy | None = None
    ) -> Response:
        """Send a request and read the whole response, of any status.

        Args:
            request: what to send.
            timeout: read timeout of each attempt in seconds, instead of the settings'; a longer connect timeout is
                shortened to it.
            retry: retry policy, instead of the settings'.

        Raises:
            ConfigurationError: called in a different event loop without closing the transport first.
            TransportError: no complete response arrived; the subclass says what happened.
        """
        outer = sys.exc_info()[1]
        course = self._course(request, timeout, retry)
        try:
            while True:
                try:
                    response = await self._attempt(course)
                except errors.TransportError as error:
                    pause = course.failed(error)
                else:
                    again = course.answered(response)
                    if again is None:
                        return self._arrived(course, response)
                    pause = again
                if pause:
                    await asyncio.sleep(pause)
        except BaseException as error:
            self._lost(course, error, outer)
            raise

    async def _attempt(self, course: Course) -> Response:
        course.prepare()
        session, slots = self._open()
        if slots.locked():
            try:
                async with asyncio.timeout(course.left):
                    await slots.acquire()
            except TimeoutError:
                raise unsent(course.request, all_in_use(self._settings.pool_size)) from None
        else:
            # There is a free one, so nothing is waited for and no timer is needed.
            await slots.acquire()
        try:
            if session is not self._session:
                raise closed_meanwhile()
            # Signed here, and not before: waiting for a connection would make the signature old.
            headers = await self._sign_in_time(course) if self._blocking else course.sign()
            if session is not self._session:
                raise closed_meanwhile()
            course.begin()
            return await self._exchange(session, course, headers)
        except NotConnected as cause:
            found = unsent(course.sent, cause)
        finally:
            slots.release()
        raise found

    async def _sign_in_time(self, course: Course) -> dict[str, str]:
        # A signer that waits for something else must not make the whole event loop wait.
        try:
            signing = asyncio.wrap_future(start_in_thread(course.sign))
        except TooManyThreadsError as cause:
            raise no_thread(cause) from cause
        done, _ = await asyncio.wait((signing,), timeout=course.left)
        if not done:
            signing.cancel()
            raise signer_too_late()
        return signing.result()

    async def _exchange(self, session: aiohttp.ClientSession, course: Course, headers: dict[str, str]) -> Response:
        state = _State(course.sent)
        token = _state.set(state)
        try:
            return await self._request(session, course, headers)
        except (aiohttp.ClientError, TimeoutError, OSError) as cause:
            found = self._translated(cause, state)
        finally:
            _state.reset(token)
            if state.protocol is not None:
                state.protocol.busy = False
        # Raised outside `except` so that `__context__` stays empty: aiohttp's errors hold the request and credentials.
        raise found

    async def _request(self, session: aiohttp.ClientSession, course: Course, headers: dict[str, str]) -> Response:
        request = course.sent
        settings = self._settings
        proxy = settings.proxy
        credentials = {} if proxy is None else proxy.headers()
        if self._forwarded:
            # aiohttp sends them to a proxy that it asks for a tunnel, and to no other.
            headers = {**headers, **credentials}
        left = course.left
        # aiohttp writes bytes at once, and anything else in pieces.
        large = request.body is not None and len(request.body) > _LARGE
        response = await session.request(
            request.method,
            URL(request.url, encoded=True),
            data=io.BytesIO(request.body or b"") if large else request.body,
            headers={"Accept-Encoding": "identity", **headers},
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(
                total=None if left is None else max(LEAST, left),
                connect=course.connect,
                sock_read=course.read,
                ceil_threshold=_NEVER_ROUND,
            ),
            proxy=None if proxy is None else proxy.url,
            proxy_headers=credentials,
        )
        try:
            if response.status < 200:
                raise aiohttp.ClientPayloadError("the server switched protocols without being asked to")
            if response.headers.get("Transfer-Encoding", "chunked").strip().lower() != "chunked":
                raise aiohttp.ClientPayloadError("the length of the response is ambiguous")
            content = await self._read(response, request)
        except BaseException:
            # Half-read: the connection cannot serve another request.
            response.close()
            raise
        response.release()
        if self._forwarded and response.status == 407:
            raise proxy_credentials()
        found = HTTPHeaderDict()
        for name, value in response.headers.items():
            found.add(name, value)
        return self._complete(request, response.status, response.reason or "", found, content)

    async def _read(self, response: aiohttp.ClientResponse, request: Request) -> bytes:
        limit = self._settings.max_response_bytes
        content = response.content
        if not content.is_eof():
            _watch(response)
        body = bytearray(await content.readany())
        while len(body) <= limit and not content.at_eof():
            body += await content.readany()
        if len(body) > limit:
            raise self._too_large(request, response.status)
        return bytes(body)

    def _open(self) -> tuple[aiohttp.ClientSession, asyncio.Semaphore]:
        loop = asyncio.get_running_loop()
        session = self._session
        if session is None:
            settings = self._settings
            tls = (settings.tls or Tls()).ssl_context if settings.base_url.startswith("https:") else True
            session = self._session = aiohttp.ClientSession(
                connector=_Connector(settings.idle_timeout, ssl=tls),
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=_OURS,
                auto_decompress=False,
            )
            self._slots = asyncio.Semaphore(settings.pool_size)
            self._loop = loop
        elif self._loop is not loop:
            raise errors.ConfigurationError(
                "a client belongs to one event loop; close it before it is used in another, or make one for each"
            )
        return session, self._slots

    def _translated(self, cause: BaseException, state: _State) -> errors.TransportError:
        request = state.request
        if state.protocol is None:
            return unsent(request, _not_connected(cause, through_proxy=self._settings.proxy is not None))
        if isinstance(cause, TimeoutError):
            return failure(errors.ResponseTimeoutError, request, "no response in time")
        if any(refuses_certificate(each) for each in _chain(cause)):
            return unsent(request, certificate_refused())
        return broken(request, cause)


class _State:
    """What is known about the attempt of this task.

    Attributes:
        request: the request as it is sent.
        protocol: the connection that carries it, once it is established.
    """

    __slots__ = ("protocol", "request")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.protocol: _Protocol | None = None


_state: Final[ContextVar[_State]] = ContextVar("cybersource_flex_attempt")


class _Protocol(ResponseHandler):
    """The incoming side of a connection: bounds interim responses, and knows since when it is idle."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.used = self.busy = False
        self._interim = self._interim_bytes = 0
        self._idle_since = time.time()

    def feed_data(self, data: Any, size: int = 0) -> None:
        message = data[0]
        if self.exception() is not None:
            return
        if message.code >= 200:
            self._interim = self._interim_bytes = 0
            self._idle_since = time.time()
        elif message.code != 101:
            # aiohttp skips any number of them.
            self._interim += 1
            self._interim_bytes += sum(len(name) + len(value) for name, value in message.raw_headers)
            if self._interim > MAX_INTERIM or self._interim_bytes > MAX_INTERIM_BYTES:
                self.set_exception(aiohttp.ClientPayloadError("no final response after the interim responses"))
                return
        if message.code < 100 or message.code == 101:
            # No final response, and none will follow on this connection.
            self.force_close()
        super().feed_data(data, size)

    def data_received(self, data: bytes) -> None:
        if self.used and not self.busy:
            # Data without a request.
            self.force_close()
        super().data_received(data)
        if self._interim:
            # aiohttp stops the timer with any response that has no body.
            self.start_timeout()

    def close(self) -> None:
        # An ordinary close keeps the connection until the server has read everything, which may be never.
        transport = self.transport
        if transport is not None and not transport.is_closing() and transport.get_write_buffer_size():
            self.abort()
        else:
            super().close()

    def is_clean(self, idle_timeout: float) -> bool:
        """Whether the connection can carry a request: nothing is left on it of anything else."""
        # Data that has arrived and was not read yet. Over TLS it may be a session ticket, which does no harm where the
        # connection is new.
        transport = self.transport
        # aiohttp looks at the monotonic clock, which stands still while a machine is suspended.
        idle = self.used and time.time() - self._idle_since > idle_timeout
        if transport is None or idle or self.should_close or self._has_partial_message():
            return False
        if not self.used and transport.get_extra_info("ssl_object") is not None:
            return True
        raw = transport.get_extra_info("socket")
        return raw is None or not wait_for_read(raw, timeout=0.0)

    def _has_partial_message(self) -> bool:
        """Whether the parser has the beginning of another message, after the response to the last request."""
        parser: Any = self._parser
        if not self.used or parser is None:
            return False
        try:
            # The next request gets a new parser.
            return parser.feed_eof() is not None
        except (aiohttp.ClientError, HttpProcessingError):
            return True


class _Resolver(AbstractResolver):
    """Resolves names in threads that neither the event loop nor the end of the program waits for.

    The default executor of an event loop has few threads, and closing the loop waits for them.
    """

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> Any:
        try:
            lookup = start_lookup(host, port)
        except TooManyThreadsError as cause:
            # aiohttp expects an OSError.
            raise OSError("no thread to resolve a name in") from cause
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
        """There is nothing to close."""


def _numeric_host(address: Address) -> str:
    sockaddr = address[4]
    if address[0] == socket.AF_INET6 and len(sockaddr) > 3 and sockaddr[3]:
        # A link-local address is of use only with its interface.
        return socket.getnameinfo(sockaddr, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0]
    return str(sockaddr[0])


class _Connector(aiohttp.TCPConnector):
    """Opens connections, reports when one is established, and gives each attempt one and no second.

    Args:
        idle_timeout: seconds after which a connection that was not used is closed.
        ssl: context for TLS, or True.
    """

    def __init__(self, idle_timeout: float, *, ssl: Any) -> None:
        # The transport bounds the number of connections.
        super().__init__(limit=0, ssl=ssl, keepalive_timeout=idle_timeout, resolver=_Resolver())
        self._idle_timeout = idle_timeout
        self._factory = partial(_Protocol, loop=self._loop)  # type: ignore[assignment]

    async def connect(self, req: ClientRequest, traces: list[Trace], timeout: ClientTimeout) -> Connection:
        state = _state.get()
        if state.protocol is not None:
            # aiohttp sends what it calls idempotent again by itself, with the signature of the first time.
            raise aiohttp.ServerDisconnectedError
        while True:
            connection = await super().connect(req, traces, timeout)
            protocol: Any = connection.protocol
            if protocol.is_clean(self._idle_timeout):
                break
            connection.close()
            if not protocol.used:
                raise unsolicited("host")
        if not protocol.used:
            protocol.used = True
            keep_alive(connection)
        protocol.busy = True
        state.protocol = protocol
        return connection


def keep_alive(connection: Connection) -> None:
    """Turn on TCP keep-alive, as for urllib3's connections."""
    raw = None if connection.transport is None else connection.transport.get_extra_info("socket")
    if raw is not None:
        for option in socket_options():
            raw.setsockopt(*option)


def _watch(response: aiohttp.ClientResponse) -> None:
    """Report a closed connection to the reader of a body.

    After a malformed chunk, aiohttp closes the connection but leaves the reader waiting, with only the total timeout.
    """
    content = response.content

    def ended(closed: asyncio.Future[None]) -> None:
        if not closed.cancelled():
            closed.exception()
        if not content.is_eof() and content.exception() is None:
            content.set_exception(aiohttp.ClientPayloadError("the connection is closed"))

    protocol = None if response.connection is None else response.connection.protocol
    closed = None if protocol is None else protocol.closed
    if closed is not None:
        closed.add_done_callback(ended)


def _not_connected(cause: BaseException, *, through_proxy: bool) -> NotConnected:
    who = "proxy" if through_proxy else "host"
    chain = _chain(cause)
    for each in chain:
        if isinstance(each, TooManyThreadsError):
            return no_thread(each)
    if any(map(descriptors_exhausted, chain)):
        return no_descriptor()
    if isinstance(cause, TimeoutError):
        return too_late(through_proxy=through_proxy)
    if isinstance(cause, aiohttp.ClientHttpProxyError):
        return tunnel_refused(cause.status)
    for each in chain:
        # aiohttp's own are of this class too, without what OpenSSL said.
        if isinstance(each, ssl.SSLError) and not isinstance(each, aiohttp.ClientError):
            # The proxy is spoken to in the clear.
            return tls_failed("host", each)
    if isinstance(cause, aiohttp.ClientConnectorDNSError):
        return unresolved(who)
    if isinstance(cause, aiohttp.ClientConnectorError):
        return unreachable(who)
    return ended(who)


def _chain(error: BaseException) -> list[BaseException]:
    """An error and its causes, from every attribute in which aiohttp keeps one."""
    chain: list[BaseException] = []
    pending: list[Any] = [error]
    while pending:
        each = pending.pop()
        if isinstance(each, BaseException) and each not in chain:
            chain.append(each)
            pending += (each.__cause__, each.__context__, getattr(each, "os_error", None))
            pending += (getattr(each, "certificate_error", None), *each.args)
    return chain
