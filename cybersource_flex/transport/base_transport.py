"""Base of the sync and async transports: the state of one call, its retries and its errors. No I/O, no waiting."""

from __future__ import annotations

import logging
import re
import time
from typing import TYPE_CHECKING, Any, Final

from .. import errors
from .._runtime.deadline import current_deadline
from .._runtime.monotonic import monotonic
from .clock import CLOCK_SET, Clock
from .configuration import Configuration, check_type

# Imported at start-up. Later, the process may have no file descriptor left to read the module.
from .diagnosis import collect_facts
from .encoding import HEADER_VALUE, BodyTooLargeError, ContentCodingError, decode_body
from .messages import Response
from .retry import RetryPolicy, check_seconds, parse_retry_after
from .telemetry import MAX_OPERATIONS, AttemptEvent, CallEvent, Tracing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from .backends.connect_errors import ConnectFailure
    from .diagnosis import SuccessCounts
    from .messages import Request

__all__ = [
    "MIN_TIMEOUT",
    "BaseTransport",
    "CallState",
    "body_too_large_error",
    "connect_error",
    "connection_broken_error",
    "transport_error",
]

_log: Final = logging.getLogger("cybersource_flex.transport")

# Seconds. No attempt starts with less than this remaining before the deadline.
MIN_TIMEOUT: Final = 0.001

_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class CallState:
    """One call in progress: its attempts, timeouts and telemetry. Decides whether and when to retry.

    The first attempt starts when the object is created, and ``start_retry`` starts another one. For each attempt, a
    transport calls in this order: ``sign``, ``start_sending``, and then ``delay_after_response`` or
    ``delay_after_error``.

    Args:
        request: the request before encryption and signing. Both are done separately for each attempt.
        configuration: the signer, the encryption, the timeouts and the event hooks.
        clock: the clock that gives the time to sign with.
        tracing: starts the OpenTelemetry span of the call.
        timeout: read timeout of each attempt in seconds. None uses the configured timeout.
        retry: the retry policy. None uses the configured policy.

    Attributes:
        request: the request before encryption and signing.
        sent_request: the request as the current attempt sends it, encrypted if encryption is configured.
        attempts: the attempts that have ended.
        deadline: when the call must end, on the monotonic clock. None if there is no deadline.
        connect_timeout: connect timeout of the current attempt, in seconds.
        read_timeout: read timeout of the current attempt, in seconds. It limits each wait for more bytes of the
            response.

    Raises:
        ConfigurationError: ``timeout`` or ``retry`` is invalid.
    """

    __slots__ = (
        *("_clock", "_clock_corrected", "_configuration", "_credentials_refreshed", "_policy", "_span", "_started"),
        *("_attempt_started", "_attempt_started_at", "_credentials", "_retries_after_401"),
        *("attempts", "connect_timeout", "deadline", "read_timeout", "request", "sent_request"),
    )

    def __init__(
        self,
        request: Request,
        configuration: Configuration,
        clock: Clock,
        tracing: Tracing,
        timeout: float | None = None,
        retry: RetryPolicy | None = None,
    ) -> None:
        self.connect_timeout, self.read_timeout = configuration.connect_timeout, configuration.read_timeout
        if timeout is not None:
            check_seconds("timeout", timeout)
            self.connect_timeout, self.read_timeout = min(self.connect_timeout, timeout), timeout
        if retry is not None and not isinstance(retry, RetryPolicy):
            check_type("retry", retry, RetryPolicy)
        self.request = self.sent_request = request
        self.attempts: tuple[errors.Attempt, ...] = ()
        self._configuration = configuration
        self._clock = clock
        self._policy = policy = configuration.retry if retry is None else retry
        self._credentials_refreshed = self._clock_corrected = False
        self._retries_after_401 = 0
        self._credentials: dict[str, str] = {}
        self._attempt_started_at = time.time()
        self._started = self._attempt_started = monotonic()
        deadline = current_deadline.get()
        if policy.deadline is not None and (deadline is None or self._started + policy.deadline < deadline):
            deadline = self._started + policy.deadline
        self.deadline = deadline
        operation = request.operation
        self._span = tracing.start_call(operation.name, operation.method, operation.path)

    def time_left(self) -> float | None:
        """Return the seconds until the deadline, at least zero. None if there is no deadline."""
        return None if self.deadline is None else max(0.0, self.deadline - monotonic())

    def start_retry(self) -> None:
        """Start another attempt, which may still have to wait for a connection and for the signer."""
        self.sent_request = self.request
        self._attempt_started_at = time.time()
        self._attempt_started = monotonic()

    def sign(self, now: float) -> dict[str, str]:
        """Encrypt and sign the request. Returns the headers to send with ``sent_request``.

        Args:
            now: the time to sign with. The caller reads it before a thread is started, because freezegun may not freeze
                the time in that thread.
        """
        request, configuration = self.request, self._configuration
        credentials: dict[str, str] = {}
        if request.operation.requires_auth and configuration.auth is not None:
            # Each attempt is signed separately, because the host rejects an old time or a repeated token id.
            if configuration.mle is not None:
                request = configuration.mle.encrypt_request(request, now)
            credentials = self._credentials = _check_headers(configuration.auth.sign(request, now))
        self.sent_request = request
        return {"User-Agent": configuration.user_agent, **request.headers, "Host": request.host, **credentials}

    def start_sending(self) -> None:
        """Start measuring the duration of the attempt, and limit its timeouts to the time until the deadline."""
        self._attempt_started_at = time.time()
        self._attempt_started = monotonic()
        if self.deadline is not None:
            remaining = max(MIN_TIMEOUT, self.deadline - self._attempt_started)
            if remaining < self.connect_timeout:
                self.connect_timeout = remaining
            if remaining < self.read_timeout:
                self.read_timeout = remaining
        if self._span is not None:
            self._span.attempt_started()

    def delay_after_response(self, response: Response) -> float | None:
        """Record a complete response and decide whether to retry.

        Returns:
            Seconds to wait before the next attempt; None if this is the final response.
        """
        status, headers, sent, received = response.status, response.headers, self._attempt_started_at, time.time()
        duration = monotonic() - self._attempt_started
        self._record_attempt(status, None, headers)
        response.attempts = self.attempts
        response.elapsed = monotonic() - self._started
        # If the clock was set in between, the date cannot be compared with it. The times are not read now, because the
        # callback for the attempt may have taken long.
        date = None if abs(received - sent - duration) > CLOCK_SET else headers.get("Date")
        response.host_time = self._clock.observe_date(date, sent=sent, received=received)
        if status == 401 and self.request.operation.requires_auth:
            return self._delay_after_401()
        if status not in self._policy.statuses or not self._may_repeat():
            return None
        offset = 0.0 if response.host_time is None else response.host_time.offset
        return self._next_delay(parse_retry_after(headers.get("Retry-After"), time.time() + offset))

    def delay_after_error(self, error: errors.TransportError) -> float | None:
        """Record an attempt without a complete response and decide whether to retry.

        Returns:
            Seconds to wait before the next attempt; None if the error must be raised.
        """
        self._record_attempt(None, error, None)
        error.attempts = self.attempts
        if error.transient and (error.outcome == "not_sent" or (error.outcome == "unknown" and self._may_repeat())):
            return self._next_delay(None)
        return None

    def finish(self, status: int | None, error: BaseException | None) -> None:
        """Report the end of the call to telemetry, with the status of the final response or with the error."""
        if self._span is not None:
            self._span.call_ended(error)
        if error is not None and not isinstance(error, errors.CallError):
            return
        hooks = self._configuration.event_hooks
        attempts = self.attempts if error is None else error.attempts
        if len(attempts) < 2 and hooks.on_call_end is None:
            return
        if error is not None:
            outcome, error_class = error.outcome, type(error)
        else:
            outcome = errors.outcome_of(status or 0)
            # The transport returns error responses. Parsing the response raises this exception later.
            error_class = errors.error_class(status or 0)
        error_name = None if outcome == "accepted" and error is None else error_class.__name__
        operation = self.request.operation
        duration = monotonic() - self._started
        hooks.notify_call_end(
            CallEvent(operation.name, operation.method, operation.path, attempts, duration, status, outcome, error_name)
        )

    def _may_repeat(self) -> bool:
        return self.request.operation.retry_safe or self._policy.retry_unsafe

    def _delay_after_401(self) -> float | None:
        """Allow one retry with refreshed credentials and one with the host's time. Any other 401 is not retried."""
        refresh = getattr(self._configuration.auth, "refresh", None)
        if not self._credentials_refreshed and callable(refresh):
            self._credentials_refreshed = True
            if refresh(self._credentials):
                self._retries_after_401 += 1
                return self._unless_past_deadline(0.0)
        if not self._clock_corrected and self._clock.apply_offset():
            self._clock_corrected = True
            _log.warning(
                "the host rejected a request; the host's clock differs from this machine's by %.0f s; signing with the "
                "host's time",
                self._clock.offset,
            )
            self._retries_after_401 += 1
            return self._unless_past_deadline(0.0)
        return None

    def _next_delay(self, requested: float | None) -> float | None:
        # New credentials or the corrected time do not use up an attempt of the policy.
        if len(self.attempts) - self._retries_after_401 >= self._policy.attempts:
            return None
        return self._unless_past_deadline(self._policy.delay(len(self.attempts), requested))

    def _unless_past_deadline(self, delay: float) -> float | None:
        if self.deadline is not None and monotonic() + delay >= self.deadline:
            return None
        return delay

    def _record_attempt(
        self, status: int | None, error: errors.TransportError | None, headers: Mapping[str, str] | None
    ) -> None:
        if self._span is not None:
            self._span.attempt_ended(status, error)
        duration = monotonic() - self._attempt_started
        error_name = None if error is None else type(error).__name__
        attempt = errors.Attempt(len(self.attempts) + 1, self._attempt_started_at, duration, status, error_name)
        self.attempts = (*self.attempts, attempt)
        hooks = self._configuration.event_hooks
        if hooks.on_attempt is not None or _log.isEnabledFor(logging.DEBUG):
            operation = self.request.operation
            correlation_id = None if headers is None else headers.get("v-c-correlation-id")
            hooks.notify_attempt(
                AttemptEvent(operation.name, operation.method, operation.path, attempt, correlation_id)
            )


class BaseTransport:
    """Base class of ``Transport`` and ``AsyncTransport``, which do the I/O and the waiting.

    Attributes:
        clock: gives the time to sign with, and measures the host's time.
    """

    def __init__(self, configuration: Configuration) -> None:
        if not isinstance(configuration, Configuration):
            raise errors.ConfigurationError(
                f"configuration must be a Configuration, not {type(configuration).__name__}"
            )
        self._configuration = configuration
        self._is_derived = False
        self._tracing = Tracing(configuration.host)
        self._uses_forward_proxy = configuration.proxy is not None and configuration.base_url.startswith("http:")
        # A signer that may block, for example on a device, runs in a thread, so that the call ends at its deadline.
        self._signer_may_block = getattr(configuration.auth, "may_block", False) is True
        self.clock = Clock(correct=configuration.correct_clock)
        self._success_counts: SuccessCounts = {}

    def derive(self, configuration: Configuration) -> Self:
        """Create a transport with different credentials or options. It shares this transport's connections and clock.

        Both transports together open at most ``pool_size`` connections. Closing the new transport closes no
        connections.

        Args:
            configuration: a copy of this transport's configuration, from ``with_credentials`` or ``with_options``.
        """
        transport = object.__new__(type(self))
        transport.__dict__.update(self.__dict__)
        transport._configuration = configuration
        transport._signer_may_block = getattr(configuration.auth, "may_block", False) is True
        transport._success_counts = {}
        transport._is_derived = True
        return transport

    def _finish(self, call: CallState, response: Response) -> Response:
        """Decrypt the final response and report the end of the call. For a 401, collect the facts for its diagnosis."""
        sent, status = call.sent_request, response.status
        facts: dict[str, Any] | None = None
        if status == 401:
            facts = collect_facts(sent, self._configuration, self.clock, self._success_counts, response)
        elif sent.operation.requires_auth and 200 <= status < 300:
            # No lock is needed, because the diagnosis does not need exact counts.
            key = sent.operation.name, sent.body is not None
            count, _ = self._success_counts.get(key, (0, 0.0))
            if count or len(self._success_counts) < MAX_OPERATIONS:
                self._success_counts[key] = count + 1, monotonic()
        if self._configuration.mle is not None and sent.operation.requires_auth:
            elapsed, host_time = response.elapsed, response.host_time
            response = self._configuration.mle.decrypt_response(sent, response)
            response.attempts, response.elapsed, response.host_time = call.attempts, elapsed, host_time
        response.facts = facts
        call.finish(status, None)
        return response

    def _build_response(
        self, request: Request, status: int, reason: str, headers: Mapping[str, str], body: bytes
    ) -> Response:
        """Build the response, and decode the body if there is a ``Content-Encoding``.

        A body that cannot be decoded is kept as received. It raises no error here, because the status decides the
        outcome of the call.
        """
        response = Response(status, reason, headers, body)
        codings = headers.get("Content-Encoding")
        if codings is not None:
            try:
                response.body = decode_body(body, codings, self._configuration.max_response_bytes)
            except BodyTooLargeError:
                raise body_too_large_error(request, status, self._configuration.max_response_bytes) from None
            except ContentCodingError as cause:
                response.undecoded = cause.codings
        return response


def transport_error(
    error_class: type[errors.TransportError], request: Request, reason: str, outcome: errors.Outcome = "unknown"
) -> errors.TransportError:
    """Create the exception for an attempt without a complete response."""
    operation = request.operation
    return error_class(
        f"{request.method} {operation.path}: {reason}",
        method=request.method,
        path=operation.path,
        outcome=outcome,
        retry_safe=operation.retry_safe,
    )


def body_too_large_error(request: Request, status: int, limit: int) -> errors.TransportError:
    """Create the exception for a response body of more than ``limit`` bytes."""
    reason = f"the response body exceeds {limit} bytes"
    return transport_error(errors.ResponseTooLargeError, request, reason, errors.outcome_of(status))


def connect_error(request: Request, failure: ConnectFailure) -> errors.TransportError:
    """Create the exception for an attempt that failed before a connection was established."""
    error = transport_error(failure.error_class, request, failure.reason, "not_sent")
    error.transient = failure.transient
    return error


def connection_broken_error(request: Request, cause: BaseException) -> errors.TransportError:
    """Create the exception for a connection lost during the exchange. Its message names only the class of the cause."""
    reason = f"the connection broke before the response was complete ({type(cause).__name__})"
    if request.response_mle_kid is not None:
        # This failure has been reported for operations that do not support encrypted responses.
        reason += (
            "; an encrypted response was requested, which the service may not support for this operation: if this "
            f"happens every time, add {request.operation.name!r} to unencrypted_responses of MessageLevelEncryption"
        )
    return transport_error(errors.ConnectionBrokenError, request, reason)


def _check_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Check the headers that a signer returned. No message contains the value of a header, which is a credential.

    Raises:
        ConfigurationError: a header cannot be sent.
    """
    checked = dict(headers)
    for name, value in checked.items():
        if not (isinstance(name, str) and _HEADER_NAME.fullmatch(name)):
            raise errors.ConfigurationError(
                "the signer returned a header with an invalid name; expected letters, digits and !#$%&'*+-.^_`|~"
            )
        if not (isinstance(value, str) and HEADER_VALUE.fullmatch(value)):
            raise errors.ConfigurationError(
                f"the signer returned a value for the header {name!r} that cannot be sent; expected a string of "
                "Latin-1 characters without line breaks or control characters"
            )
    return checked
