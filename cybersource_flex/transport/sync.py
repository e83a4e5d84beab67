"""Sends requests with urllib3, one attempt after the other."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Final

import urllib3
from urllib3.exceptions import HTTPError, ReadTimeoutError, SSLError

from .. import errors
from .connections import PROXY_AUTHENTICATION, NotConnected, pool_manager, refuses_certificate
from .message import Request, Response
from .settings import Settings, check_seconds

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
        self._pool = pool_manager(settings, self._timeout)
        self._forwarded = settings.proxy is not None and settings.base_url.startswith("http:")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the idle connections. The transport can still be used: it opens new ones."""
        self._pool.clear()

    def send(self, request: Request, *, timeout: float | None = None) -> Response:
        """Send a request and read the answer to its end, whatever its status.

        After a 401, a signer that can renew its credentials does so, and the request is signed and sent once more.

        Args:
            request: what to send.
            timeout: seconds for each attempt in place of the settings' read timeout; the connect timeout is shortened
                to it where it is longer.

        Raises:
            TransportError: no complete answer came; the subclass says what happened.
        """
        limits = self._timeout if timeout is None else self._shorter(check_seconds("timeout", timeout))
        sent, response = self._attempt(request, limits)
        if response.status == 401 and request.operation.signed and self._renew():
            sent, response = self._attempt(request, limits)
        if self._settings.mle is not None and request.operation.signed:
            return self._settings.mle.incoming(sent, response)
        return response

    def _shorter(self, seconds: float) -> urllib3.Timeout:
        return urllib3.Timeout(connect=min(self._settings.connect_timeout, seconds), read=seconds)

    def _renew(self) -> bool:
        renew = getattr(self._settings.auth, "renew", None)
        return callable(renew) and bool(renew())

    def _attempt(self, request: Request, limits: urllib3.Timeout) -> tuple[Request, Response]:
        """One attempt: the request as it was sent, and its answer as it came."""
        # Encrypted and then signed here, and not before, so that each attempt carries a time and a token id of its own.
        auth, mle = self._settings.auth, self._settings.mle
        credentials = {}
        if request.operation.signed and auth is not None:
            now = time.time()
            if mle is not None:
                request = mle.outgoing(request, now)
            credentials = dict(auth.sign(request, now))
        headers = {"User-Agent": self._settings.user_agent, **request.headers, "Host": request.host, **credentials}
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
        if self._forwarded and answer.status == 407:
            raise _failure(errors.ConnectionFailedError, request, PROXY_AUTHENTICATION)
        return request, Response(answer.status, answer.reason or "", answer.headers, body)

    def _read(self, answer: urllib3.BaseHTTPResponse, request: Request) -> bytes:
        limit = self._settings.max_response_bytes
        body = bytearray()
        while chunk := answer.read(_CHUNK):
            body += chunk
            if len(body) > limit:
                raise _failure(errors.ResponseTooLargeError, request, f"the answer is larger than {limit} bytes")
        return bytes(body)


def _translated(cause: HTTPError, request: Request) -> errors.TransportError:
    if isinstance(cause, NotConnected):
        return _failure(cause.kind, request, cause.text)
    if isinstance(cause, ReadTimeoutError):
        return _failure(errors.ResponseTimeoutError, request, "no answer in time")
    if isinstance(cause, SSLError) and any(refuses_certificate(each) for each in cause.args):
        text = "the host wants a client certificate, or does not accept the one it got"
        return _failure(errors.ConnectionFailedError, request, text)
    return _failure(errors.ConnectionBrokenError, request, "the connection broke before the answer was complete")


def _failure(kind: type[errors.TransportError], request: Request, text: str) -> errors.TransportError:
    method, path = request.method, request.operation.path
    return kind(f"{method} {path}: {text}", method=method, path=path)
