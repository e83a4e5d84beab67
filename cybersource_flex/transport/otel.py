"""OpenTelemetry spans and metrics for calls, following the HTTP semantic conventions.

Imported only if the application has imported OpenTelemetry. Records an internal span for each call, a client span for
each attempt, and the histogram ``http.client.request.duration``. Spans and metrics contain the path template, but no
path values, headers or bodies. For an exception, they contain only its class.
"""

from __future__ import annotations

import re
from time import perf_counter
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from opentelemetry import context, metrics, trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from .._version import __version__
from ..errors import CallError, outcome_of
from .telemetry import MAX_OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextvars import Token

    from opentelemetry.context import Context
    from opentelemetry.trace import Span


__all__ = ["OpenTelemetry"]

_NAME: Final = "cybersource_flex"
_SCHEMA: Final = "https://opentelemetry.io/schemas/1.29.0"
_ERROR: Final = Status(StatusCode.ERROR)

# Seconds, as the conventions recommend.
_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)

# RFC 9110 section 9, and PATCH. All other methods are recorded as one value, to limit the number of values.
_METHODS: Final = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})

# Context key that makes instrumentations of HTTP libraries skip a request. Without the key, the instrumentation of
# urllib3 would create a second span for each attempt and add headers to the request.
_SUPPRESS: Final[str | None] = getattr(context, "_SUPPRESS_HTTP_INSTRUMENTATION_KEY", None)


class _OperationAttributes:
    """Names and attributes that are the same for every call of an operation."""

    __slots__ = ("attempt_span_name", "call_span_name", "metric_attributes", "span_attributes")

    def __init__(self, name: str, method: str, path: str, base: str, address: str, port: int) -> None:
        method = method if method in _METHODS else "_OTHER"
        self.call_span_name = name
        self.attempt_span_name = f"{'HTTP' if method == '_OTHER' else method} {path}"
        self.metric_attributes: Mapping[str, str | int] = {
            "http.request.method": method,
            "server.address": address,
            "server.port": port,
            "url.template": path,
        }
        # The conventions require the URL, with sensitive parts replaced by this word.
        full = base + re.sub(r"\{[^{}]*\}", "REDACTED", path)
        self.span_attributes: Mapping[str, str | int] = {**self.metric_attributes, "url.full": full}


class OpenTelemetry:
    """Records the calls to one host, with the tracer and meter that the program has configured.

    Args:
        base: base URL of the signed host, even if connections go to an intermediate host or a proxy.
    """

    __slots__ = ("_address", "_base", "_duration", "_operations", "_port", "_tracer")

    def __init__(self, base: str) -> None:
        parts = urlsplit(base)
        self._base = base
        self._address = parts.hostname or ""
        self._port = parts.port or (80 if parts.scheme == "http" else 443)
        self._operations: dict[tuple[str, str, str], _OperationAttributes] = {}
        self._tracer = trace.get_tracer(_NAME, __version__, schema_url=_SCHEMA)
        self._duration = metrics.get_meter(_NAME, __version__, schema_url=_SCHEMA).create_histogram(
            "http.client.request.duration",
            unit="s",
            description="Duration of HTTP client requests.",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )

    def start_call(self, name: str, method: str, path: str) -> _Call:
        """Start the span of a call. Returns an object that records the attempts and the end of the call."""
        key = (name, method, path)
        attributes = self._operations.get(key)
        if attributes is None:
            attributes = _OperationAttributes(*key, self._base, self._address, self._port)
            # The limit is for paths that programs pass to `request`. The specification has a few operations only.
            if len(self._operations) < MAX_OPERATIONS:
                self._operations[key] = attributes
        span = self._tracer.start_span(attributes.call_span_name, kind=SpanKind.INTERNAL)
        return _Call(self, attributes, span if span.get_span_context().is_valid else None)


class _Call:
    """A running call. Not thread-safe; a call must end in the thread or task in which it began."""

    __slots__ = (
        *("_attempt_context", "_attempt_span", "_attempts", "_attributes", "_call_context", "_call_span", "_owner"),
        *("_started_at", "_status"),
    )

    def __init__(self, owner: OpenTelemetry, attributes: _OperationAttributes, span: Span | None) -> None:
        self._owner = owner
        self._attributes = attributes
        # None if tracing is not configured. Then there is no context to propagate either.
        self._call_span = span
        self._attempt_span: Span | None = None
        self._attempts = 0
        self._status: int | None = None
        self._started_at: float | None = None
        self._attempt_context: Token[Context] | None = None
        self._call_context = None if span is None else context.attach(trace.set_span_in_context(span))

    def attempt_started(self) -> None:
        """Record the start of an attempt."""
        if self._call_span is not None:
            attributes = self._attributes.span_attributes
            if self._attempts:
                attributes = {**attributes, "http.request.resend_count": self._attempts}
            self._attempt_span = self._owner._tracer.start_span(
                self._attributes.attempt_span_name, kind=SpanKind.CLIENT, attributes=attributes
            )
            current = trace.set_span_in_context(self._attempt_span)
            if _SUPPRESS is not None:
                current = context.set_value(_SUPPRESS, True, current)
            self._attempt_context = context.attach(current)
        self._attempts += 1
        self._status = None
        self._started_at = perf_counter()

    def attempt_ended(self, status: int | None = None, error: BaseException | None = None) -> None:
        """Record the end of an attempt, with the status of a complete response or with an error."""
        if self._started_at is None:
            return
        duration, self._started_at = perf_counter() - self._started_at, None
        self._status = status
        result: dict[str, str | int] = {}
        if status is not None:
            result["http.response.status_code"] = status
            if not 100 <= status < 400:
                result["error.type"] = str(status)
        elif error is not None:
            result["error.type"] = _error_type(error)
        # Recorded in the context of the attempt's span, so that exemplars refer to that span.
        self._owner._duration.record(duration, {**self._attributes.metric_attributes, **result})
        if self._attempt_context is not None:
            context.detach(self._attempt_context)
            self._attempt_context = None
        if self._attempt_span is not None:
            _finish_span(self._attempt_span, result)
            self._attempt_span = None

    def call_ended(self, error: BaseException | None = None) -> None:
        """Record the end of the call, with or without an error. Also ends an attempt that is still open."""
        self.attempt_ended(error=error)
        if self._call_context is not None:
            context.detach(self._call_context)
            self._call_context = None
        span, self._call_span = self._call_span, None
        if span is None:
            return
        result: dict[str, str | int] = {"cybersource_flex.attempts": self._attempts}
        if isinstance(error, CallError):
            result["cybersource_flex.outcome"] = error.outcome
        elif error is None and self._status is not None:
            result["cybersource_flex.outcome"] = outcome_of(self._status)
        if error is not None:
            result["error.type"] = _error_type(error)
        elif self._status is not None and not 200 <= self._status < 300:
            result["error.type"] = str(self._status)
        _finish_span(span, result)


def _error_type(error: BaseException) -> str:
    cls = type(error)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def _finish_span(span: Span, attributes: Mapping[str, str | int]) -> None:
    # The status has no description and no exception is recorded, because their messages are not checked for secrets.
    if span.is_recording():
        span.set_attributes(attributes)
        if "error.type" in attributes:
            span.set_status(_ERROR)
    span.end()
