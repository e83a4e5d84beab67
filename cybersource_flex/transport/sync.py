"""Sends requests with urllib3, one attempt after the other."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Final

import urllib3
from urllib3.exceptions import HTTPError, ReadTimeoutError, SSLError

from .. import errors
from .._lock import Slots
from .._threads import NotInTimeError, TooManyThreadsError, result_in_time, start_in_thread
from .connections import Connections
from .message import Request, Response
from .retry import RetryPolicy
from .sender import Course, Sender, broken, failure, unsent
from .settings import Settings
from .unreached import (
    NotConnected,
    all_in_use,
    certificate_refused,
    no_thread,
    proxy_credentials,
    refuses_certificate,
    signer_too_late,
)

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Transport"]

_CHUNK: Final = 64 * 1024


class Transport(Sender):
    """Connections to one host, and the rules for using them. Safe in threads; forked processes get their own.

    Attributes:
        clock: how far the host's clock is from ours.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._connections = Connections(settings)
        self._slots = Slots(settings.pool_size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the idle connections. The transport can still be used: it opens new ones."""
        self._connections.close()

    def send(self, request: Request, *, timeout: float | None = None, retry: RetryPolicy | None = None) -> Response:
        """Send a request and read the whole response, of any status.

        Args:
            request: what to send.
            timeout: read timeout of each attempt in seconds, instead of the settings'; a longer connect timeout is
                shortened to it.
            retry: retry policy, instead of the settings'.

        Raises:
            TransportError: no complete response arrived; the subclass says what happened.
        """
        outer = sys.exc_info()[1]
        course = self._course(request, timeout, retry)
        try:
            while True:
                try:
                    response = self._attempt(course)
                except errors.TransportError as error:
                    pause = course.failed(error)
                else:
                    again = course.answered(response)
                    if again is None:
                        return self._arrived(course, response)
                    pause = again
                if pause:
                    time.sleep(pause)
        except BaseException as error:
            self._lost(course, error, outer)
            raise

    def _attempt(self, course: Course) -> Response:
        course.prepare()
        if not self._slots.acquire(course.left):
            raise unsent(course.request, all_in_use(self._settings.pool_size))
        try:
            # Signed here, and not before: waiting for a connection would make the signature old.
            headers = self._sign_in_time(course) if self._blocking else course.sign()
            course.begin()
            return self._exchange(course, headers)
        except NotConnected as cause:
            raise unsent(course.sent, cause) from cause
        finally:
            self._slots.release()

    def _sign_in_time(self, course: Course) -> dict[str, str]:
        try:
            return result_in_time(start_in_thread(course.sign), course.left)
        except NotInTimeError as cause:
            raise signer_too_late() from cause
        except TooManyThreadsError as cause:
            raise no_thread(cause) from cause

    def _exchange(self, course: Course, headers: dict[str, str]) -> Response:
        try:
            return self._request(course, headers)
        except HTTPError as cause:
            error = _translated(cause, course.sent)
        # Raised outside `except` so that `__context__` stays empty: the original may quote a malformed response.
        raise error

    def _request(self, course: Course, headers: dict[str, str]) -> Response:
        request = course.sent
        response = self._connections.request(
            request, headers, connect=course.connect, read=course.read, deadline=course.deadline
        )
        try:
            body = self._read(response, request)
        except BaseException:
            # Half-read: the connection cannot serve another request.
            response.close()
            raise
        response.release_conn()
        if self._forwarded and response.status == 407:
            raise proxy_credentials()
        return self._complete(request, response.status, response.reason or "", response.headers, body)

    def _read(self, response: urllib3.BaseHTTPResponse, request: Request) -> bytes:
        limit = self._settings.max_response_bytes
        chunk = response.read(_CHUNK)
        if response.length_remaining == 0 and len(chunk) <= limit:
            return chunk
        body = bytearray()
        while chunk:
            body += chunk
            if len(body) > limit:
                raise self._too_large(request, response.status)
            chunk = response.read(_CHUNK)
        return bytes(body)


def _translated(cause: HTTPError, request: Request) -> errors.TransportError:
    inner = next((each for each in cause.args if isinstance(each, BaseException)), cause)
    if isinstance(cause, ReadTimeoutError) or isinstance(inner, TimeoutError):
        return failure(errors.ResponseTimeoutError, request, "no response in time")
    if isinstance(cause, SSLError) and any(refuses_certificate(each) for each in cause.args):
        return unsent(request, certificate_refused())
    return broken(request, inner)
