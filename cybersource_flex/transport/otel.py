"""OpenTelemetry spans and metrics of calls, by the HTTP semantic conventions.

Imported only after the application has imported OpenTelemetry. Records an internal span for the call, a client span for
each attempt, and the histogram ``http.client.request.duration``. They carry the path template, never its values, no
header, no body, and only the class of an exception.
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

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextvars import Token

    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from .operation import Operation

__all__ = ["OpenTelemetry"]

_NAME: Final = "cybersource_flex"
_SCHEMA: Final = "https://opentelemetry.io/schemas/1.29.0"
_ERROR: Final = Status(StatusCode.ERROR)

# Seconds, as the convention advises.
_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)

# RFC 9110 section 9, and PATCH: every other method is called the same, so that nobody can make up values without end.
_METHODS: Final = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})

# Says to instrumentations of HTTP libraries that the request is told of already. Without it, urllib3's would make a
# second span for each attempt and add its headers to the request.
_SUPPRESS: Final[str | None] = getattr(context, "_SUPPRESS_HTTP_INSTRUMENTATION_KEY", None)


class _Facts:
    """What is the same in every call of an operation."""

    __slots__ = ("measured", "name", "span", "traced")

    def __init__(self, operation: Operation, base: str, address: str, port: int) -> None:
        method = operation.method if operation.method in _METHODS else "_OTHER"
        self.name = operation.name
        self.span = f"{'HTTP' if method == '_OTHER' else method} {operation.path}"
        self.measured: Mapping[str, str | int] = {
            "http.request.method": method,
            "server.address": address,
            "server.port": port,
            "url.template": operation.path,
        }
        # The convention wants an URL; what is secret in it is to be replaced by this word.
        full = base + re.sub(r"\{[^{}]*\}", "REDACTED", operation.path)
        self.traced: Mapping[str, str | int] = {**self.measured, "url.full": full}


class OpenTelemetry:
    """Tells of the calls to one host. Tracer and meter are those of the program, whenever it sets them up.

    Args:
        base: base URL of the host that is signed, whichever one connections lead to.
    """

    __slots__ = ("_address", "_base", "_duration", "_facts", "_port", "_tracer")

    def __init__(self, base: str) -> None:
        parts = urlsplit(base)
        self._base = base
        self._address = parts.hostname or ""
        self._port = parts.port or (80 if parts.scheme == "http" else 443)
        self._facts: dict[tuple[str, str, str], _Facts] = {}
        self._tracer = trace.get_tracer(_NAME, __version__, schema_url=_SCHEMA)
        self._duration = metrics.get_meter(_NAME, __version__, schema_url=_SCHEMA).create_histogram(
            "http.client.request.duration",
            unit="s",
            description="Duration of HTTP client requests.",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )

    def call_started(self, operation: Operation) -> _Call:
        """Report the start of a call. Returns the object that receives the call's other events."""
        key = (operation.name, operation.method, operation.path)
        facts = self._facts.get(key)
        if facts is None:
            # As many as the specification has operations.
            facts = self._facts[key] = _Facts(operation, self._base, self._address, self._port)
        span = self._tracer.start_span(facts.name, kind=SpanKind.INTERNAL)
        return _Call(self, facts, span if span.get_span_context().is_valid else None)


class _Call:
    """A call under way. Used by one thread, or task, after the other; begun and ended in the same one."""

    __slots__ = ("_attempt", "_begun", "_facts", "_made", "_owner", "_span", "_status", "_token", "_within")

    def __init__(self, owner: OpenTelemetry, facts: _Facts, span: Span | None) -> None:
        self._owner = owner
        self._facts = facts
        # None if no tracing is set up: then there is no context to propagate either.
        self._span = span
        self._attempt: Span | None = None
        self._made = 0
        self._status: int | None = None
        self._begun: float | None = None
        self._token: Token[Context] | None = None
        self._within = None if span is None else context.attach(trace.set_span_in_context(span))

    def attempt_started(self) -> None:
        """An attempt is about to be sent."""
        facts = self._facts
        if self._span is not None:
            attributes = facts.traced if self._made == 0 else {**facts.traced, "http.request.resend_count": self._made}
            self._attempt = self._owner._tracer.start_span(facts.span, kind=SpanKind.CLIENT, attributes=attributes)
            current = trace.set_span_in_context(self._attempt)
            if _SUPPRESS is not None:
                current = context.set_value(_SUPPRESS, True, current)
            self._token = context.attach(current)
        self._made += 1
        self._status = None
        self._begun = perf_counter()

    def attempt_ended(self, status: int | None = None, error: BaseException | None = None) -> None:
        """The attempt ended, with the status of a complete response or with an error."""
        if self._begun is None:
            return
        seconds, self._begun = perf_counter() - self._begun, None
        self._status = status
        found: dict[str, str | int] = {}
        if status is not None:
            found["http.response.status_code"] = status
            if not 100 <= status < 400:
                found["error.type"] = str(status)
        elif error is not None:
            found["error.type"] = _name(error)
        # In the context of the attempt's span, so that an exemplar leads to it.
        self._owner._duration.record(seconds, {**self._facts.measured, **found})
        if self._token is not None:
            context.detach(self._token)
            self._token = None
        if self._attempt is not None:
            _end(self._attempt, found)
            self._attempt = None

    def call_ended(self, error: BaseException | None = None) -> None:
        """The call ended, with or without an error. This also ends an attempt that is still open."""
        self.attempt_ended(error=error)
        if self._within is not None:
            context.detach(self._within)
            self._within = None
        span, self._span = self._span, None
        if span is None:
            return
        found: dict[str, str | int] = {"cybersource_flex.attempts": self._made}
        if isinstance(error, CallError):
            found["cybersource_flex.outcome"] = error.outcome
        elif error is None and self._status is not None:
            found["cybersource_flex.outcome"] = outcome_of(self._status)
        if error is not None:
            found["error.type"] = _name(error)
        elif self._status is not None and not 200 <= self._status < 300:
            found["error.type"] = str(self._status)
        _end(span, found)


def _name(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _end(span: Span, found: Mapping[str, str | int]) -> None:
    # No description and no recorded exception: both would carry texts.
    if span.is_recording():
        span.set_attributes(found)
        if "error.type" in found:
            span.set_status(_ERROR)
    span.end()
