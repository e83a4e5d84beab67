"""Sends requests with urllib3, one attempt after the other."""

from __future__ import annotations

import os
import sys
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

import urllib3
from urllib3.exceptions import HTTPError, ReadTimeoutError, SSLError

from .. import errors
from .._sealed import forget
from .attempts import Attempts
from .clock import Clock
from .connections import PROXY_AUTHENTICATION, NotConnected, bounded, pool_manager, refuses_certificate
from .message import Request, Response
from .retry import RetryPolicy
from .settings import Settings, check_seconds
from .telemetry import Call, ResponseEvent, Spans

if TYPE_CHECKING:
    from typing_extensions import Self

    from .diagnosis import Accepted

__all__ = ["Transport"]

_CHUNK: Final = 64 * 1024
# Seconds: an attempt is not begun with less than this left of the deadline.
_LEAST: Final = 0.001


class Transport:
    """A pool of connections to one host, and the rules for using it. Safe in threads; forked processes get their own.

    Redirects are never followed and urllib3's own retries are off: both would send a signature to a place, or at a
    time, it was not made for.

    Attributes:
        clock: how far the host's clock is from ours.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._timeout = urllib3.Timeout(connect=settings.connect_timeout, read=settings.read_timeout)
        self._forwarded = settings.proxy is not None and settings.base_url.startswith("http:")
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._pool = pool_manager(settings, self._timeout)
        self._spans = Spans(settings.host)
        self.clock = Clock(correct=settings.correct_clock)
        self._accepted: Accepted = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the idle connections. The transport can still be used: it opens new ones."""
        self._pool.clear()

    def send(self, request: Request, *, timeout: float | None = None, retry: RetryPolicy | None = None) -> Response:
        """Send a request and read the answer to its end, whatever its status.

        Args:
            request: what to send.
            timeout: seconds for each attempt in place of the settings' read timeout; the connect timeout is shortened
                to it where it is longer.
            retry: how often to try, and for how long in all, in place of the settings' policy.

        Raises:
            TransportError: no complete answer came; the subclass says what happened.
        """
        if timeout is not None:
            check_seconds("timeout", timeout)
        started = time.monotonic()
        outer = sys.exc_info()[1]
        call = Attempts(request, self._settings, self.clock, self._settings.retry if retry is None else retry)
        told = self._spans.call_started(request.operation)
        try:
            response = self._until_answered(call, timeout, told)
            facts = response.facts = self._known(call.sent, response)
            if self._settings.mle is not None and request.operation.signed:
                response = self._settings.mle.incoming(call.sent, response)
                response.facts = facts
        except BaseException as error:
            # The frames that it came through had the credentials among their variables.
            forget(error, outer)
            told.call_ended(error)
            if isinstance(error, errors.CallError):
                self._ended(request, started, error.attempts, getattr(error, "status", None), error)
            raise
        told.call_ended()
        self._ended(request, started, response.attempts, response.status, None)
        return response

    def _until_answered(self, call: Attempts, timeout: float | None, told: Call) -> Response:
        while True:
            headers = call.begin()
            told.attempt_started()
            try:
                response = self._attempt(call.sent, headers, self._limits(call.deadline, timeout), call.deadline)
            except errors.TransportError as error:
                told.attempt_ended(error=error)
                pause = call.failed(error)
            else:
                told.attempt_ended(response.status)
                again = call.answered(response)
                if again is None:
                    return response
                pause = again
            if pause:
                time.sleep(pause)

    def _known(self, sent: Request, response: Response) -> dict[str, Any] | None:
        """Count what is accepted; after a 401, tell what is known about the call."""
        if response.status == 401:
            from .diagnosis import circumstances

            return circumstances(sent, self._settings, self.clock, self._accepted, response)
        if sent.operation.signed and 200 <= response.status < 300:
            # Without a lock: a count that another thread overwrites is one that nobody will miss.
            key = sent.operation.name, sent.body is not None
            count, _ = self._accepted.get(key, (0, 0.0))
            self._accepted[key] = count + 1, time.monotonic()
        return None

    def _limits(self, deadline: float | None, timeout: float | None) -> urllib3.Timeout:
        if deadline is None and timeout is None:
            return self._timeout
        connect, read = self._settings.connect_timeout, self._settings.read_timeout if timeout is None else timeout
        if timeout is not None:
            connect = min(connect, timeout)
        if deadline is not None:
            left = max(_LEAST, deadline - time.monotonic())
            if left >= connect and left >= read and timeout is None:
                return self._timeout
            connect, read = min(connect, left), min(read, left)
        return urllib3.Timeout(connect=connect, read=read)

    def _attempt(
        self, request: Request, headers: dict[str, str], limits: urllib3.Timeout, deadline: float | None
    ) -> Response:
        try:
            return self._exchange(request, headers, limits, deadline)
        except HTTPError as cause:
            failure = _translated(cause, request)
            if failure.outcome == "not_sent":
                raise failure from cause
        # Outside of the handler, so that the cause does not go along: it may quote an answer that cannot be read.
        raise failure

    def _exchange(
        self, request: Request, headers: dict[str, str], limits: urllib3.Timeout, deadline: float | None
    ) -> Response:
        # What urllib3 writes into its log is the template: a path can hold the id of a token.
        with bounded(request.target, deadline):
            answer = self._connections().request(
                request.method,
                self._settings.base_url + request.operation.path,
                body=request.body,
                headers=headers,
                redirect=False,
                retries=False,
                timeout=limits,
                preload_content=False,
            )
        try:
            body = self._read(answer, request, deadline)
        except BaseException:
            # Half-read: the connection cannot serve another request.
            answer.close()
            raise
        answer.release_conn()
        if self._forwarded and answer.status == 407:
            raise _failure(errors.ConnectionFailedError, request, PROXY_AUTHENTICATION, "not_sent", transient=False)
        return Response(answer.status, answer.reason or "", answer.headers, body)

    def _connections(self) -> urllib3.PoolManager:
        # A connection that two processes share gives each the other's answers.
        if self._process != os.getpid():
            with self._lock:
                if self._process != os.getpid():
                    self._pool = pool_manager(self._settings, self._timeout)
                    self._process = os.getpid()
        return self._pool

    def _read(self, answer: urllib3.BaseHTTPResponse, request: Request, deadline: float | None) -> bytes:
        limit = self._settings.max_response_bytes
        body = bytearray()
        while chunk := answer.read(_CHUNK):
            body += chunk
            if len(body) > limit:
                raise _failure(
                    errors.ResponseTooLargeError,
                    request,
                    f"the answer is larger than {limit} bytes",
                    errors.outcome_of(answer.status),
                )
        return bytes(body)

    def _ended(
        self,
        request: Request,
        started: float,
        attempts: tuple[errors.Attempt, ...],
        status: int | None,
        error: errors.CallError | None,
    ) -> None:
        operation = request.operation
        outcome = error.outcome if error is not None else errors.outcome_of(status or 0)
        raised = None if error is None else type(error).__name__
        if error is None and outcome != "accepted":
            # The answer is handed out, and becomes this where it is read.
            raised = errors.error_class(status or 0).__name__
        self._settings.events.response(
            ResponseEvent(
                operation.name,
                operation.method,
                operation.path,
                attempts,
                time.monotonic() - started,
                status,
                outcome,
                raised,
            )
        )


def _translated(cause: HTTPError, request: Request) -> errors.TransportError:
    if isinstance(cause, NotConnected):
        return _failure(cause.kind, request, cause.text, "not_sent", transient=cause.transient)
    if isinstance(cause, ReadTimeoutError):
        return _failure(errors.ResponseTimeoutError, request, "no answer in time", "unknown")
    if isinstance(cause, SSLError) and any(refuses_certificate(each) for each in cause.args):
        text = "the host wants a client certificate, or does not accept the one it got"
        return _failure(errors.ConnectionFailedError, request, text, "not_sent", transient=False)
    inner = next((each for each in cause.args if isinstance(each, BaseException)), cause)
    text = f"the connection broke before the answer was complete ({type(inner).__name__})"
    return _failure(errors.ConnectionBrokenError, request, text, "unknown")


def _failure(
    kind: type[errors.TransportError], request: Request, text: str, outcome: errors.Outcome, *, transient: bool = True
) -> errors.TransportError:
    operation = request.operation
    error = kind(
        f"{request.method} {operation.path}: {text}",
        method=request.method,
        path=operation.path,
        outcome=outcome,
        repeatable=operation.repeatable,
    )
    error.transient = transient
    return error
