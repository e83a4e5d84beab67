"""Sends requests with urllib3, one attempt after the other."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Final

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)

from .. import errors
from .message import Request, Response
from .settings import USER_AGENT, Settings, check_seconds

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Transport"]

_CHUNK: Final = 64 * 1024


class Transport:
    """A pool of connections to one host, and the rules for using it. Safe in threads.

    Redirects are never followed and urllib3's own retries are off: both would send a signature to a place, or at a
    time, it was not made for.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._timeout = urllib3.Timeout(connect=settings.connect_timeout, read=settings.read_timeout)
        self._pool = urllib3.PoolManager(retries=False, timeout=self._timeout, maxsize=10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the idle connections. The transport can still be used: it opens new ones."""
        self._pool.clear()

    def send(self, request: Request, *, timeout: float | None = None) -> Response:
        """Send a request and read the answer to its end, whatever its status.

        Args:
            request: what to send.
            timeout: seconds for this call in place of the settings' read timeout; the connect timeout is shortened to
                it where it is longer.

        Raises:
            TransportError: no complete answer came; the subclass says what happened.
        """
        limits = self._timeout if timeout is None else self._shorter(check_seconds("timeout", timeout))
        return self._attempt(request, limits)

    def _shorter(self, seconds: float) -> urllib3.Timeout:
        return urllib3.Timeout(connect=min(self._settings.connect_timeout, seconds), read=seconds)

    def _attempt(self, request: Request, limits: urllib3.Timeout) -> Response:
        # Signed here, and not before, so that each attempt carries a time and a token id of its own.
        headers = {"User-Agent": USER_AGENT, **request.headers, "Host": request.host}
        if request.operation.signed and self._settings.auth is not None:
            headers.update(self._settings.auth.sign(request, time.time()))
        try:
            answer = self._pool.request(
                request.method,
                request.url,
                body=request.body,
                headers=headers,
                redirect=False,
                retries=False,
                timeout=limits,
                preload_content=False,
            )
            try:
                body = self._read(answer, request)
            except BaseException:
                # Half-read: the connection cannot serve another request.
                answer.close()
                raise
            answer.release_conn()
        except HTTPError as cause:
            raise _translated(cause, request) from cause
        return Response(answer.status, answer.reason or "", answer.headers, body)

    def _read(self, answer: urllib3.BaseHTTPResponse, request: Request) -> bytes:
        limit = self._settings.max_response_bytes
        body = bytearray()
        while chunk := answer.read(_CHUNK):
            body += chunk
            if len(body) > limit:
                raise errors.ResponseTooLargeError(
                    f"{request.method} {request.operation.path}: the answer is larger than {limit} bytes",
                    method=request.method,
                    path=request.operation.path,
                )
        return bytes(body)


def _translated(cause: HTTPError, request: Request) -> errors.TransportError:
    kind: type[errors.TransportError] = errors.ConnectionBrokenError
    text = "the connection broke before the answer was complete"
    if isinstance(cause, ConnectTimeoutError) and not isinstance(cause, NewConnectionError):
        kind, text = errors.ConnectionTimeoutError, "no connection in time"
    elif isinstance(cause, NameResolutionError):
        kind, text = errors.ConnectionFailedError, "the host name cannot be resolved"
    elif isinstance(cause, NewConnectionError):
        kind, text = errors.ConnectionFailedError, "the host cannot be reached"
    elif isinstance(cause, SSLError):
        kind, text = errors.ConnectionFailedError, "TLS failed"
    elif isinstance(cause, ReadTimeoutError):
        kind, text = errors.ResponseTimeoutError, "no answer in time"
    method, path = request.method, request.operation.path
    return kind(f"{method} {path}: {text}", method=method, path=path)
