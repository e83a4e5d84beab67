"""Sends requests with aiohttp, in the tasks of one event loop. Needs the extra ``async``."""

from __future__ import annotations

import asyncio
import ssl
import sys
import time
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from urllib3 import HTTPHeaderDict

try:
    import aiohttp
    from aiohttp import hdrs
    from yarl import URL
except ModuleNotFoundError as cause:
    text = "sending on an event loop needs the extra async: pip install 'cybersource-flex[async]'"
    raise ModuleNotFoundError(text, name=cause.name) from None

from .. import errors
from .message import Request, Response
from .retry import RetryPolicy
from .sender import LEAST, Course, Sender, broken, failure, unsent
from .settings import Settings
from .tls import Tls
from .unreached import (
    NotConnected,
    certificate_refused,
    ended,
    proxy_credentials,
    refuses_certificate,
    tls_failed,
    too_late,
    tunnel_refused,
    unreachable,
    unresolved,
)

if TYPE_CHECKING:
    from aiohttp.client import ClientTimeout
    from aiohttp.client_reqrep import ClientRequest
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace
    from typing_extensions import Self

__all__ = ["AsyncTransport"]

# Every header is ours: none is guessed from the content or named after the library.
_OURS: Final = (hdrs.ACCEPT, hdrs.CONTENT_TYPE, hdrs.USER_AGENT)
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
        self._blocking = getattr(settings.auth, "blocks", False) is True

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
        """Send a request and read the answer to its end, whatever its status.

        Args:
            request: what to send.
            timeout: seconds for each attempt in place of the settings' read timeout; the connect timeout is shortened
                to it where it is longer.
            retry: how often to try, and for how long in all, in place of the settings' policy.

        Raises:
            ConfigurationError: called in another event loop than before, without closing in between.
            TransportError: no complete answer came; the subclass says what happened.
        """
        outer = sys.exc_info()[1]
        course = self._course(request, timeout, retry)
        try:
            while True:
                # A signer that waits for somebody else must not make the whole loop wait.
                headers = await asyncio.to_thread(course.sign) if self._blocking else course.sign()
                course.begin()
                try:
                    response = await self._attempt(course, headers)
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

    async def _attempt(self, course: Course, headers: dict[str, str]) -> Response:
        session = self._open()
        state = _State(course.sent)
        token = _state.set(state)
        try:
            return await self._exchange(session, course, headers)
        except NotConnected as cause:
            found = unsent(course.sent, cause)
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError, ValueError) as cause:
            found = self._translated(cause, state)
        finally:
            _state.reset(token)
        # Outside of the handlers, so that no cause goes along: those of aiohttp hold the request with its credentials.
        raise found

    async def _exchange(self, session: aiohttp.ClientSession, course: Course, headers: dict[str, str]) -> Response:
        request = course.sent
        settings = self._settings
        proxy = settings.proxy
        credentials = {} if proxy is None else proxy.headers()
        if self._forwarded:
            # aiohttp tells them to a proxy that it asks for a tunnel, and to no other.
            headers = {**headers, **credentials}
        deadline = course.deadline
        left = None if deadline is None else max(LEAST, deadline - time.monotonic())
        answer = await session.request(
            request.method,
            URL(request.url, encoded=True),
            data=request.body,
            headers={"Accept-Encoding": "identity", **headers},
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(
                total=left, connect=course.connect, sock_read=course.read, ceil_threshold=_NEVER_ROUND
            ),
            proxy=None if proxy is None else proxy.url,
            proxy_headers=credentials,
        )
        try:
            body = await self._read(answer, request)
        except BaseException:
            # Half-read: the connection cannot serve another request.
            answer.close()
            raise
        answer.release()
        if self._forwarded and answer.status == 407:
            raise proxy_credentials()
        found = HTTPHeaderDict()
        for name, value in answer.headers.items():
            found.add(name, value)
        return Response(answer.status, answer.reason or "", found, body)

    async def _read(self, answer: aiohttp.ClientResponse, request: Request) -> bytes:
        limit = self._settings.max_response_bytes
        content = answer.content
        if not content.is_eof():
            _watch(answer)
        body = bytearray(await content.readany())
        while len(body) <= limit and not content.at_eof():
            body += await content.readany()
        if len(body) > limit:
            raise self._too_large(request, answer.status)
        return bytes(body)

    def _open(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        session = self._session
        if session is None:
            settings = self._settings
            tls = (settings.tls or Tls()).ssl_context if settings.base_url.startswith("https:") else True
            session = self._session = aiohttp.ClientSession(
                connector=_Connector(limit=settings.pool_size if settings.pool_block else 0, ssl=tls),
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=_OURS,
            )
            self._loop = loop
        elif self._loop is not loop:
            raise errors.ConfigurationError(
                "a client belongs to one event loop; close it before it is used in another, or make one for each"
            )
        return session

    def _translated(self, cause: BaseException, state: _State) -> errors.TransportError:
        request = state.request
        if not state.connected:
            return unsent(request, _not_connected(cause, through_proxy=self._settings.proxy is not None))
        if isinstance(cause, asyncio.TimeoutError):
            return failure(errors.ResponseTimeoutError, request, "no answer in time")
        if any(refuses_certificate(each) for each in _chain(cause)):
            return unsent(request, certificate_refused())
        return broken(request, cause)


class _State:
    """What is known about the attempt of this task."""

    __slots__ = ("connected", "request")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.connected = False


_state: Final[ContextVar[_State]] = ContextVar("cybersource_flex_attempt")


class _Connector(aiohttp.TCPConnector):
    """Says when a connection stands, and gives each attempt one and no second."""

    async def connect(self, req: ClientRequest, traces: list[Trace], timeout: ClientTimeout) -> Connection:
        state = _state.get()
        if state.connected:
            # aiohttp sends what it calls idempotent again by itself, with the signature of the first time.
            raise aiohttp.ServerDisconnectedError
        try:
            made = await super().connect(req, traces, timeout)
        except asyncio.CancelledError:
            # Closing cancels what waits for a connection: the task itself, before Python 3.11, cannot tell who did.
            task: Any = asyncio.current_task()
            if self.closed and sys.version_info >= (3, 11) and not task.cancelling():
                raise aiohttp.ClientConnectionError("closed") from None
            raise
        state.connected = True
        return made


def _watch(answer: aiohttp.ClientResponse) -> None:
    """Have the reader of a body know when its connection is gone.

    aiohttp closes the connection over a malformed chunk and leaves whoever reads waiting, with no timer but the total.
    """
    content = answer.content

    def ended(closed: asyncio.Future[None]) -> None:
        if not closed.cancelled():
            closed.exception()
        if not content.is_eof() and content.exception() is None:
            content.set_exception(aiohttp.ClientPayloadError("the connection is closed"))

    protocol = None if answer.connection is None else answer.connection.protocol
    closed = None if protocol is None else protocol.closed
    if closed is not None:
        closed.add_done_callback(ended)


def _not_connected(cause: BaseException, *, through_proxy: bool) -> NotConnected:
    who = "proxy" if through_proxy else "host"
    if isinstance(cause, asyncio.TimeoutError):
        return too_late(through_proxy=through_proxy)
    if isinstance(cause, aiohttp.ClientHttpProxyError):
        return tunnel_refused(cause.status)
    for each in _chain(cause):
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
    """An error and those that it came from, wherever aiohttp keeps them."""
    found: list[BaseException] = []
    left: list[Any] = [error]
    while left:
        each = left.pop()
        if isinstance(each, BaseException) and each not in found:
            found.append(each)
            left += (each.__cause__, each.__context__, getattr(each, "os_error", None))
            left += (getattr(each, "certificate_error", None), *each.args)
    return found
