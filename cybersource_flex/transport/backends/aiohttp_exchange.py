"""One request and its response with aiohttp. Imported on first use, in a thread, because importing aiohttp is slow."""

from __future__ import annotations

import io
import ssl
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from aiohttp import hdrs
from urllib3 import HTTPHeaderDict
from yarl import URL

from ... import errors
from ..._runtime.event_loop import timeout
from ..._runtime.monotonic import is_clock_patched
from ..._runtime.threads import TooManyThreadsError
from ..base_transport import (
    MIN_TIMEOUT,
    CallState,
    body_too_large_error,
    connect_error,
    connection_broken_error,
    transport_error,
)
from .aiohttp_connections import Attempt, Connector, current_attempt, fail_body_when_closed
from .connect_errors import (
    ConnectFailure,
    client_certificate_rejected,
    closed_by_peer,
    connect_timed_out,
    dns_failed,
    is_client_certificate_alert,
    is_out_of_file_descriptors,
    out_of_file_descriptors,
    peer_unreachable,
    proxy_auth_required,
    proxy_tunnel_refused,
    thread_start_failed,
    tls_handshake_failed,
)

if TYPE_CHECKING:
    from ..configuration import Configuration
    from ..messages import Request

__all__ = ["RawResponse", "exchange", "open_session", "read_body"]

# Status, reason, headers and body of a response.
RawResponse = tuple[int, str, HTTPHeaderDict, bytes]

# aiohttp adds these headers to a request without them.
_AUTO_HEADERS: Final = (hdrs.ACCEPT, hdrs.CONTENT_TYPE, hdrs.USER_AGENT)
# Size in bytes. aiohttp warns about larger bodies that are passed as bytes.
_LARGE: Final = 1 << 20
# Bytes. The limit of http.client for each header line. aiohttp's own limit, 8190 bytes, rejects responses that the sync
# transport accepts, for example with a long Content-Security-Policy that a gateway added.
_MAX_LINE: Final = 64 * 1024
# Seconds. aiohttp rounds timeouts above this threshold up to whole seconds, and a deadline must not be rounded.
_CEIL_THRESHOLD: Final = 1e9


def open_session(configuration: Configuration, tls: ssl.SSLContext | None) -> aiohttp.ClientSession:
    """Create a session for the running event loop.

    Args:
        configuration: connection settings.
        tls: TLS context for an ``https`` host. None for an ``http`` host.
    """
    return aiohttp.ClientSession(
        connector=Connector(configuration.idle_timeout, ssl=True if tls is None else tls),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        max_line_size=_MAX_LINE,
        max_field_size=_MAX_LINE,
    )


_fixed_url: Final = lru_cache(maxsize=64)(partial(URL, encoded=True))


async def exchange(
    session: aiohttp.ClientSession, configuration: Configuration, call: CallState, headers: dict[str, str]
) -> RawResponse:
    """Send the signed request of a call and read the whole response.

    Raises:
        ConnectFailure: the proxy requires credentials, or rejected those that were sent.
        TransportError: there is no complete response.
    """
    request = call.sent_request
    attempt = Attempt()
    token = current_attempt.set(attempt)
    try:
        if not is_clock_patched():
            return await _request(session, configuration, call, request, headers)
        # The timeouts of aiohttp depend on the clock of the event loop. One limit for the attempt is enough for a test.
        # The deadline has already shortened it.
        async with timeout(call.read_timeout):
            return await _request(session, configuration, call, request, headers)
    except (aiohttp.ClientError, TimeoutError, OSError) as cause:
        error = _map_exception(cause, request, attempt, through_proxy=configuration.proxy is not None)
    finally:
        current_attempt.reset(token)
        if attempt.protocol is not None:
            attempt.protocol.busy = False
    # Raised outside `except` so that `__context__` stays empty: aiohttp's errors hold the request and credentials.
    raise error


async def _request(
    session: aiohttp.ClientSession,
    configuration: Configuration,
    call: CallState,
    request: Request,
    headers: dict[str, str],
) -> RawResponse:
    proxy = configuration.proxy
    proxy_headers = {} if proxy is None else proxy.headers()
    uses_forward_proxy = proxy is not None and configuration.base_url.startswith("http:")
    if uses_forward_proxy:
        # aiohttp sends `proxy_headers` only with CONNECT.
        headers = {**headers, **proxy_headers}
    time_left = call.time_left()
    # A large body is passed as a file, because aiohttp writes files in pieces, and bytes all at once.
    large = request.body is not None and len(request.body) > _LARGE
    response = await session.request(
        request.method,
        # A path without parameters is the same for every call of the operation.
        _fixed_url(request.url) if request.target == request.operation.path else URL(request.url, encoded=True),
        data=io.BytesIO(request.body or b"") if large else request.body,
        headers={"Accept-Encoding": "identity", **headers},
        skip_auto_headers=[name for name in _AUTO_HEADERS if name not in headers] or None,
        allow_redirects=False,
        timeout=aiohttp.ClientTimeout(
            total=None if time_left is None else max(MIN_TIMEOUT, time_left),
            connect=call.connect_timeout,
            sock_read=call.read_timeout,
            ceil_threshold=_CEIL_THRESHOLD,
        ),
        proxy=None if proxy is None else proxy.url,
        proxy_headers=proxy_headers,
    )
    try:
        if response.status < 200:
            raise aiohttp.ClientPayloadError("the server switched protocols without being asked to")
        if response.headers.get("Transfer-Encoding", "chunked").strip().lower() != "chunked":
            raise aiohttp.ClientPayloadError("the length of the response is ambiguous")
        body = await read_body(response, configuration.max_response_bytes)
        if len(body) > configuration.max_response_bytes:
            raise body_too_large_error(request, response.status, configuration.max_response_bytes)
    except BaseException:
        # The response was not read to its end, so the connection cannot serve another request.
        response.close()
        raise
    response.release()
    if uses_forward_proxy and response.status == 407:
        raise proxy_auth_required()
    # The headers are converted to the type of urllib3, so that callers see no type of aiohttp.
    response_headers = HTTPHeaderDict()
    for name, value in response.headers.items():
        response_headers.add(name, value)
    return response.status, response.reason or "", response_headers, body


async def read_body(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """Read a body. Stops as soon as more than ``limit`` bytes have been read."""
    if response.content.is_eof():
        return await _read(response.content, limit)
    with fail_body_when_closed(response):
        return await _read(response.content, limit)


async def _read(content: aiohttp.StreamReader, limit: int) -> bytes:
    # `read`, because not every tool that fakes responses has `readany`.
    body = bytearray(await content.read(limit + 1))
    while len(body) <= limit and not content.at_eof():
        body += await content.read(limit + 1)
    return bytes(body)


def _map_exception(
    cause: BaseException, request: Request, attempt: Attempt, *, through_proxy: bool
) -> errors.TransportError:
    if attempt.protocol is None:
        return connect_error(request, _connect_failure(cause, through_proxy=through_proxy))
    if isinstance(cause, TimeoutError):
        return transport_error(errors.ResponseTimeoutError, request, "no response in time")
    if any(is_client_certificate_alert(each) for each in _causes_of(cause)):
        return connect_error(request, client_certificate_rejected())
    return connection_broken_error(request, cause)


def _connect_failure(cause: BaseException, *, through_proxy: bool) -> ConnectFailure:
    who = "proxy" if through_proxy else "host"
    causes = _causes_of(cause)
    for each in causes:
        if isinstance(each, TooManyThreadsError):
            return thread_start_failed(each)
    if any(map(is_out_of_file_descriptors, causes)):
        return out_of_file_descriptors()
    if isinstance(cause, TimeoutError):
        return connect_timed_out(through_proxy=through_proxy)
    if isinstance(cause, aiohttp.ClientHttpProxyError):
        return proxy_tunnel_refused(cause.status)
    for each in causes:
        # aiohttp's TLS errors are of this class too, but without OpenSSL's reason.
        if isinstance(each, ssl.SSLError) and not isinstance(each, aiohttp.ClientError):
            # The connection to the proxy never uses TLS, so the handshake that failed is the one with the host.
            return tls_handshake_failed("host", each)
    if isinstance(cause, aiohttp.ClientConnectorDNSError):
        return dns_failed(who)
    if isinstance(cause, aiohttp.ClientConnectorError):
        return peer_unreachable(who)
    return closed_by_peer(who)


def _causes_of(error: BaseException) -> list[BaseException]:
    """Return an error and its causes, from all attributes in which aiohttp stores causes."""
    causes: list[BaseException] = []
    pending: list[Any] = [error]
    while pending:
        each = pending.pop()
        if isinstance(each, BaseException) and each not in causes:
            causes.append(each)
            pending += (each.__cause__, each.__context__, getattr(each, "os_error", None))
            pending += (getattr(each, "certificate_error", None), *each.args)
    return causes
