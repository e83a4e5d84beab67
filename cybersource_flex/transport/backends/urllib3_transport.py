"""``Transport`` sends requests with urllib3."""

from __future__ import annotations

import time
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Final

import urllib3
from urllib3.exceptions import HTTPError, ReadTimeoutError, SSLError

from ... import errors
from ..._runtime.lock import ForkSafeSemaphore
from ..._runtime.threads import TooManyThreadsError, WaitTimeoutError, start_in_thread, wait_for_result
from ..._runtime.tracebacks import clear_locals_on_error
from ..base_transport import (
    BaseTransport,
    CallState,
    body_too_large_error,
    connect_error,
    connection_broken_error,
    transport_error,
)
from ..configuration import Configuration
from ..messages import Request, Response
from ..retry import RetryPolicy
from .connect_errors import (
    ConnectFailure,
    client_certificate_rejected,
    is_client_certificate_alert,
    pool_exhausted,
    proxy_auth_required,
    signer_timed_out,
    thread_start_failed,
)
from .urllib3_pools import ConnectionPools

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Transport"]

_CHUNK: Final = 64 * 1024


@clear_locals_on_error
class Transport(BaseTransport):
    """Sends requests to one host with urllib3. Thread-safe; forked processes get separate connections.

    Redirects are never followed, and only the retry policy repeats requests.

    Attributes:
        clock: gives the time to sign with, and measures the host's time.
    """

    def __init__(self, configuration: Configuration) -> None:
        super().__init__(configuration)
        self._pools = ConnectionPools(configuration)
        self._slots = ForkSafeSemaphore(configuration.pool_size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the idle connections. The transport can still be used: it opens new connections.

        If this transport was derived from another one, nothing is closed.
        """
        if not self._is_derived:
            self._pools.close()

    def send(self, request: Request, *, timeout: float | None = None, retry: RetryPolicy | None = None) -> Response:
        """Send a request, with retries, and read the whole response of any status.

        Args:
            request: the request.
            timeout: read timeout of each attempt in seconds. A longer connect timeout is shortened to this value. None
                uses the configured timeouts.
            retry: retry policy of this call. None uses the configured policy.

        Raises:
            TransportError: no complete response arrived; the subclass says why.
        """
        call = CallState(request, self._configuration, self.clock, self._tracing, timeout, retry)
        try:
            while True:
                try:
                    response = self._send_once(call)
                except errors.TransportError as error:
                    delay = call.delay_after_error(error)
                    if delay is None:
                        raise
                else:
                    delay = call.delay_after_response(response)
                    if delay is None:
                        return self._finish(call, response)
                if delay:
                    time.sleep(delay)
                call.start_retry()
        except BaseException as error:
            call.finish(getattr(error, "status", None), error)
            raise

    def _send_once(self, call: CallState) -> Response:
        if not self._slots.acquire(call.time_left()):
            raise connect_error(call.request, pool_exhausted(self._configuration.pool_size))
        try:
            # The request is signed after the wait for a free connection, so that the signature is not old.
            headers = self._sign_in_thread(call) if self._signer_may_block else call.sign(self.clock.now())
            call.start_sending()
            return self._exchange(call, headers)
        except ConnectFailure as failure:
            raise connect_error(call.sent_request, failure) from failure
        finally:
            self._slots.release()

    def _sign_in_thread(self, call: CallState) -> dict[str, str]:
        try:
            return wait_for_result(start_in_thread(partial(call.sign, self.clock.now())), call.time_left())
        except WaitTimeoutError as cause:
            raise signer_timed_out() from cause
        except TooManyThreadsError as cause:
            raise thread_start_failed(cause) from cause

    def _exchange(self, call: CallState, headers: dict[str, str]) -> Response:
        request = call.sent_request
        try:
            response = self._pools.request(
                request, headers, connect=call.connect_timeout, read=call.read_timeout, deadline=call.deadline
            )
            try:
                body = self._read_body(response, request)
            except BaseException:
                # The response was not read to its end, so the connection cannot serve another request.
                response.close()
                raise
            response.release_conn()
        except HTTPError as cause:
            error = _map_exception(cause, request)
        else:
            if self._uses_forward_proxy and response.status == 407:
                raise proxy_auth_required()
            return self._build_response(request, response.status, response.reason or "", response.headers, body)
        # Raised outside `except` so that `__context__` stays empty: the original may quote a malformed response.
        raise error

    def _read_body(self, response: urllib3.BaseHTTPResponse, request: Request) -> bytes:
        limit = self._configuration.max_response_bytes
        chunk = response.read(_CHUNK)
        if response.length_remaining == 0 and len(chunk) <= limit:
            return chunk
        body = bytearray()
        while chunk:
            body += chunk
            if len(body) > limit:
                raise body_too_large_error(request, response.status, limit)
            chunk = response.read(_CHUNK)
        return bytes(body)


def _map_exception(cause: HTTPError, request: Request) -> errors.TransportError:
    inner = next((each for each in cause.args if isinstance(each, BaseException)), cause)
    if isinstance(cause, ReadTimeoutError) or isinstance(inner, TimeoutError):
        return transport_error(errors.ResponseTimeoutError, request, "no response in time")
    if isinstance(cause, SSLError) and any(is_client_certificate_alert(each) for each in cause.args):
        return connect_error(request, client_certificate_rejected())
    return connection_broken_error(request, inner)
