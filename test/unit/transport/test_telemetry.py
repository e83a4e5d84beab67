"""Logs of calls, and OpenTelemetry spans and metrics by its conventions, with the real OpenTelemetry SDK."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry import baggage, context, metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from cybersource_flex import RetryPolicy, errors
from cybersource_flex.errors import Attempt
from cybersource_flex.transport import (
    AsyncTransport,
    AttemptEvent,
    Configuration,
    EventHooks,
    Response,
    Transport,
    telemetry,
)
from support.transports import MakeTransport, make_operation

OPERATION = make_operation(
    name="get_thing",
    method="GET",
    path="/flex/v2/things/{thing}",
    requires_auth=False,
    responses={"200": "str"},
    retry_safe=True,
)
QUICK = RetryPolicy(attempts=3, initial_delay=0.0001, max_delay=0.0001)
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)


class Exported:
    """The OpenTelemetry SDK with exporters that keep spans and metrics in memory."""

    def __init__(self, **options: Any) -> None:
        self._spans, self._metrics = InMemorySpanExporter(), InMemoryMetricReader()
        self.tracers, self.meters = TracerProvider(**options), MeterProvider([self._metrics])
        self.tracers.add_span_processor(SimpleSpanProcessor(self._spans))

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._spans.get_finished_spans())

    @property
    def points(self) -> list[Any]:
        data = self._metrics.get_metrics_data()
        if data is None:
            return []
        (metric,) = (each for r in data.resource_metrics for scope in r.scope_metrics for each in scope.metrics)
        assert (metric.name, metric.unit) == ("http.client.request.duration", "s")
        return list(metric.data.data_points)


@pytest.fixture
def start_telemetry(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Exported]:
    def start_sdk(**options: Any) -> Exported:
        exported = Exported(**options)
        monkeypatch.setattr(trace, "get_tracer", exported.tracers.get_tracer)
        monkeypatch.setattr(metrics, "get_meter", exported.meters.get_meter)
        return exported

    return start_sdk


@pytest.fixture
def exported(start_telemetry: Callable[..., Exported]) -> Exported:
    return start_telemetry()


class FakeExchange:
    """Replaces the exchange of both transports: returns statuses or raises errors in turn, and records headers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.turns: list[int | BaseException] = []
        self.headers: list[dict[str, str]] = []
        self.spans: list[Any] = []
        self.suppressed: list[bool] = []

        def exchange(_: Any, call: Any, headers: dict[str, str]) -> Response:
            self.headers.append(headers)
            self.spans.append(trace.get_current_span())
            self.suppressed.append(bool(context.get_value(context._SUPPRESS_HTTP_INSTRUMENTATION_KEY)))
            turn = self.turns.pop(0)
            if isinstance(turn, BaseException):
                raise turn
            return Response(turn, "", {}, b"body")

        async def exchange_later(_: Any, session: Any, call: Any, headers: dict[str, str]) -> Response:
            await asyncio.sleep(0)
            return exchange(_, call, headers)

        monkeypatch.setattr(Transport, "_exchange", exchange)
        monkeypatch.setattr(AsyncTransport, "_exchange", exchange_later)


@pytest.fixture
def exchange(monkeypatch: pytest.MonkeyPatch) -> FakeExchange:
    return FakeExchange(monkeypatch)


def broken(outcome: errors.Outcome = "unknown") -> errors.ConnectionBrokenError:
    return errors.ConnectionBrokenError("not shown", method="GET", path=OPERATION.path, outcome=outcome)


Send = Callable[..., int]


@pytest.fixture
def send(make_transport: MakeTransport) -> Send:
    def send_once(url: str = "https://apitest.cybersource.com", **options: Any) -> int:
        configuration = Configuration(host=url, proxy_from_environment=False, **options)
        with make_transport(configuration) as transport:
            request = OPERATION.build_request(configuration, path={"thing": "value-in-the-path"})
            return transport.send(request, retry=QUICK).status

    return send_once


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


COMMON = {
    "http.request.method": "GET",
    "server.address": "apitest.cybersource.com",
    "server.port": 443,
    "url.template": "/flex/v2/things/{thing}",
}
TRACED = {**COMMON, "url.full": "https://apitest.cybersource.com/flex/v2/things/REDACTED"}


def test_spans_and_metrics_of_a_call_with_one_attempt(exported: Exported, exchange: FakeExchange, send: Send) -> None:
    exchange.turns = [200]
    send()
    attempt, call = exported.spans
    assert (attempt.name, attempt.kind) == ("GET /flex/v2/things/{thing}", SpanKind.CLIENT)
    assert attributes(attempt) == {**TRACED, "http.response.status_code": 200}
    assert attempt.status.status_code is StatusCode.UNSET
    assert (call.name, call.kind) == ("get_thing", SpanKind.INTERNAL)
    assert attributes(call) == {"cybersource_flex.attempts": 1, "cybersource_flex.outcome": "accepted"}
    assert call.status.status_code is StatusCode.UNSET
    assert attempt.parent is not None
    assert call.context is not None
    assert attempt.parent.span_id == call.context.span_id
    assert call.parent is None
    assert attempt.instrumentation_scope is not None
    assert attempt.instrumentation_scope.name == "cybersource_flex"
    assert attempt.instrumentation_scope.schema_url.startswith("https://opentelemetry.io/schemas/")
    (point,) = exported.points
    assert dict(point.attributes) == {**COMMON, "http.response.status_code": 200}
    assert (point.count, point.explicit_bounds) == (1, BUCKETS)


def test_each_attempt_has_a_span_with_its_number(exported: Exported, exchange: FakeExchange, send: Send) -> None:
    exchange.turns = [503, broken(), 200]
    send()
    *attempts, call = exported.spans
    assert [attributes(each).get("http.request.resend_count") for each in attempts] == [None, 1, 2]
    assert [attributes(each).get("http.response.status_code") for each in attempts] == [503, None, 200]
    kinds = ["503", "cybersource_flex.errors.ConnectionBrokenError", None]
    assert [attributes(each).get("error.type") for each in attempts] == kinds
    assert [each.status.status_code for each in attempts] == [StatusCode.ERROR, StatusCode.ERROR, StatusCode.UNSET]
    assert len({each.parent.span_id for each in attempts if each.parent}) == 1
    assert attributes(call) == {"cybersource_flex.attempts": 3, "cybersource_flex.outcome": "accepted"}
    assert {dict(each.attributes).get("error.type"): each.count for each in exported.points} == dict.fromkeys(kinds, 1)


@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_spans_of_an_error_response(exported: Exported, exchange: FakeExchange, status: int, send: Send) -> None:
    exchange.turns = [status]
    assert send() == status
    attempt, call = exported.spans
    assert attributes(attempt) == {**TRACED, "http.response.status_code": status, "error.type": str(status)}
    assert attributes(call)["error.type"] == str(status)
    assert {each.status.status_code for each in (attempt, call)} == {StatusCode.ERROR}


def test_a_redirect_is_an_error_of_the_call_and_not_of_the_attempt(
    exported: Exported, exchange: FakeExchange, send: Send
) -> None:
    exchange.turns = [302]
    send()
    attempt, call = exported.spans
    assert (attempt.status.status_code, call.status.status_code) == (StatusCode.UNSET, StatusCode.ERROR)


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (broken("not_sent"), "cybersource_flex.errors.ConnectionBrokenError"),
        (json.JSONDecodeError("secret", "secret", 0), "json.decoder.JSONDecodeError"),
    ],
)
def test_spans_of_an_exception_only_contain_its_class(
    exported: Exported, exchange: FakeExchange, error: BaseException, name: str, send: Send
) -> None:
    exchange.turns = [error] * 3
    with pytest.raises(type(error)):
        send()
    for span in exported.spans:
        assert attributes(span)["error.type"] == name
        assert span.status.status_code is StatusCode.ERROR
        assert span.status.description is None
        assert not span.events
    assert "secret" not in "".join(span.to_json() for span in exported.spans)
    assert trace.get_current_span() is trace.INVALID_SPAN


# Not with AsyncTransport: a KeyboardInterrupt in a task also ends the event loop.
def test_spans_of_an_interrupted_call_are_ended(exported: Exported, exchange: FakeExchange) -> None:
    exchange.turns = [KeyboardInterrupt("secret")]
    configuration = Configuration(host="https://apitest.cybersource.com", proxy_from_environment=False)
    with pytest.raises(KeyboardInterrupt), Transport(configuration) as transport:
        transport.send(OPERATION.build_request(configuration, path={"thing": "x"}))
    assert [attributes(span)["error.type"] for span in exported.spans] == ["KeyboardInterrupt"] * 2
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_a_failing_signer_creates_no_span_of_an_attempt(exported: Exported, make_transport: MakeTransport) -> None:
    class Failing:
        def sign(self, request: object, now: float) -> dict[str, str]:
            raise RuntimeError("secret")

    operation = make_operation()
    configuration = Configuration(host="https://apitest.cybersource.com", auth=Failing(), proxy_from_environment=False)
    with pytest.raises(RuntimeError), make_transport(configuration) as transport:
        transport.send(operation.build_request(configuration))
    (call,) = exported.spans
    assert attributes(call) == {"cybersource_flex.attempts": 0, "error.type": "RuntimeError"}
    assert not exported.points


def test_spans_are_children_of_the_callers_span(exported: Exported, exchange: FakeExchange, send: Send) -> None:
    exchange.turns = [200]
    with exported.tracers.get_tracer("shop").start_as_current_span("checkout") as outer:
        token = context.attach(baggage.set_baggage("customer", "secret"))
        send()
        context.detach(token)
        assert trace.get_current_span() is outer
    attempt, call, checkout = exported.spans
    assert call.parent is not None
    assert checkout.context is not None
    assert attempt.context is not None
    assert call.parent.span_id == checkout.context.span_id
    assert exchange.spans[0].get_span_context().span_id == attempt.context.span_id
    # OpenTelemetry's instrumentation of urllib3 would record the request again and add headers.
    assert exchange.suppressed == [True]
    assert not context.get_value(context._SUPPRESS_HTTP_INSTRUMENTATION_KEY)


def test_no_header_is_added(exported: Exported, exchange: FakeExchange, send: Send) -> None:
    exchange.turns = [200]
    send()
    assert set(exchange.headers[0]) == {"User-Agent", "Host"}


def test_spans_of_concurrent_tasks_do_not_mix(
    exported: Exported, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each attempt is a child of its call, and each call of its task, also with retries, failures and cancellations."""
    configuration = Configuration(host="https://apitest.cybersource.com", proxy_from_environment=False)
    tracer = exported.tracers.get_tracer("shop")
    attempts_by_task: dict[str, list[int]] = {}
    never_set = asyncio.Event()

    async def exchange(_: Any, session: Any, call: Any, headers: dict[str, str]) -> Any:
        name = call.request.target.rpartition("/")[2]
        span = trace.get_current_span()
        attempts_by_task.setdefault(name, []).append(span.get_span_context().span_id)
        for _turn in range(3):
            await asyncio.sleep(0)
            assert trace.get_current_span() is span
        case = int(name) % 4
        if case == 0 and len(attempts_by_task[name]) == 1:
            return Response(503, "", {}, b"")
        if case == 1:
            raise broken("unknown")
        if case == 2:
            await never_set.wait()
        return Response(200, "", {}, b"")

    monkeypatch.setattr(AsyncTransport, "_exchange", exchange)

    async def one(transport: AsyncTransport, index: int) -> object:
        with tracer.start_as_current_span(f"task {index}") as outer:
            try:
                return await transport.send(OPERATION.build_request(configuration, path={"thing": index}), retry=QUICK)
            finally:
                assert trace.get_current_span() is outer

    async def run() -> list[object]:
        async with AsyncTransport(configuration) as transport:
            tasks = [asyncio.create_task(one(transport, index)) for index in range(40)]
            while len(attempts_by_task) < 40 or sum(not task.done() for task in tasks) > 10:
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            return await asyncio.gather(*tasks, return_exceptions=True)

    results = asyncio.run(run())
    assert [type(each).__name__ for each in results] == [
        "Response",
        "ConnectionBrokenError",
        "CancelledError",
        "Response",
    ] * 10
    by_id = {span.context.span_id: span for span in exported.spans if span.context}
    assert len(by_id) == len(exported.spans)
    for name, attempts in attempts_by_task.items():
        assert len(attempts) == (2, 3, 1, 1)[int(name) % 4]
        calls = {by_id[each].parent.span_id for each in attempts}  # type: ignore[union-attr]
        (call,) = (by_id[each] for each in calls)
        assert call.parent is not None
        assert by_id[call.parent.span_id].name == f"task {name}"
        if int(name) % 4 == 2:
            assert attributes(call)["error.type"] == "asyncio.exceptions.CancelledError"
    assert "detach" not in caplog.text


@pytest.mark.parametrize(
    ("url", "address", "port"),
    [
        ("http://127.0.0.1:8080", "127.0.0.1", 8080),
        ("http://[::1]", "::1", 80),
        ("https://a.example:1", "a.example", 1),
    ],
)
def test_the_server_attributes_are_those_of_the_signed_host(
    exported: Exported, exchange: FakeExchange, url: str, address: str, port: int, send: Send
) -> None:
    exchange.turns = [200]
    send(url, intermediate_host="https://between.example")
    span_attributes = attributes(exported.spans[0])
    assert (span_attributes["server.address"], span_attributes["server.port"]) == (address, port)
    assert span_attributes["url.full"].startswith(url)


def test_unsampled_spans_are_not_exported_but_counted(
    start_telemetry: Callable[..., Exported], exchange: FakeExchange, send: Send
) -> None:
    exported = start_telemetry(sampler=ALWAYS_OFF)
    exchange.turns = [503, 200]
    send()
    assert not exported.spans
    assert sum(each.count for each in exported.points) == 2


def test_no_spans_are_created_without_an_sdk(
    exchange: FakeExchange, monkeypatch: pytest.MonkeyPatch, send: Send
) -> None:
    # Another test of this process may have configured an SDK.
    monkeypatch.setattr(trace, "get_tracer", trace.NoOpTracerProvider().get_tracer)
    monkeypatch.setattr(metrics, "get_meter", metrics.NoOpMeterProvider().get_meter)
    exchange.turns = [503, 200]
    assert send() == 200
    assert exchange.spans == [trace.INVALID_SPAN] * 2
    assert exchange.suppressed == [False] * 2


def start_span() -> object:
    tracing = telemetry.Tracing("https://apitest.cybersource.com")
    return tracing.start_call(OPERATION.name, OPERATION.method, OPERATION.path)


def test_no_spans_are_created_without_opentelemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "opentelemetry"]:
        monkeypatch.delitem(sys.modules, name)
    assert start_span() is None


def test_another_package_named_opentelemetry_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "cybersource_flex.transport.otel", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", None)
    assert start_span() is None


def test_using_a_client_does_not_load_opentelemetry() -> None:
    code = """
import sys
from cybersource_flex import FlexAPIApi, FlexClient, RetryPolicy, errors
with FlexClient(None, environment="http://127.0.0.1:9", retry=RetryPolicy(attempts=1)) as client:
    try:
        FlexAPIApi(client.api_client).get_public_key("x")
    except errors.ConnectionFailedError:
        print([name for name in sys.modules if name.startswith("opentelemetry")])
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert process.stdout.strip() == "[]"


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG, logger="cybersource_flex"):
        yield caplog


def test_log_levels(log: pytest.LogCaptureFixture, exchange: FakeExchange, send: Send) -> None:
    exchange.turns = [200, 503, 200]
    send()
    assert [each.levelname for each in log.records if each.name.startswith("cybersource_flex")] == ["DEBUG"]
    log.clear()
    send()
    messages = [(each.levelname, each.getMessage()) for each in log.records if each.name.startswith("cybersource_flex")]
    assert [level for level, _ in messages] == ["DEBUG", "DEBUG", "INFO"]
    assert messages[-1][1].startswith("GET /flex/v2/things/{thing}: 200 after 2 attempts in ")
    assert "value-in-the-path" not in str(messages)


@pytest.mark.parametrize(
    ("correlation_id", "logged"),
    [
        ("3f2b8c1e-9d47-4a6b-8c15-2e7f90ab34cd", "3f2b8c1e-9d47-4a6b-8c15-2e7f90ab34cd"),
        (None, "None"),
        ("a" * 41, "<invalid>"),
        ("eyJhbGciOiJub25lIn0.e30.", "<invalid>"),
        ("1\nINFO forged", "<invalid>"),
        ("41111111-1111-4111-8111-411111111111", "41111111-1111-4111-8111-411111111111"),
        ("4622943127013705", "<invalid>"),
        ("ref-4622-9431-2701-3705", "<invalid>"),
    ],
)
def test_invalid_correlation_ids_are_not_logged(
    log: pytest.LogCaptureFixture, correlation_id: str | None, logged: str
) -> None:
    EventHooks().notify_attempt(AttemptEvent("get_thing", "GET", "/x", Attempt(1, 0.0, 0.1, 200, None), correlation_id))
    assert log.messages == [f"GET /x attempt 1: 200 in 0.100 s (correlation id {logged})"]


def test_the_logger_prints_nothing_by_default() -> None:
    (handler,) = logging.getLogger("cybersource_flex").handlers
    assert isinstance(handler, logging.NullHandler)


def test_many_paths_use_limited_memory() -> None:
    """The attributes of operations are kept for a limited number of paths, which programs pass to ``request``."""
    from cybersource_flex.transport.otel import OpenTelemetry
    from cybersource_flex.transport.telemetry import MAX_OPERATIONS

    telemetry = OpenTelemetry("https://flex.example")
    for number in range(MAX_OPERATIONS + 50):
        telemetry.start_call(f"GET /a{number}", "GET", f"/a{number}").call_ended()
    assert len(telemetry._operations) == MAX_OPERATIONS


@pytest.mark.parametrize(
    "method", ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE", "BREW"]
)
def test_methods_that_are_not_standard_are_recorded_as_one(method: str) -> None:
    from cybersource_flex.transport.otel import _OperationAttributes

    attributes = _OperationAttributes("call", method, "/a/{id}", "https://a.example", "a.example", 443)
    recorded = "_OTHER" if method == "BREW" else method
    assert attributes.metric_attributes["http.request.method"] == recorded
    assert attributes.metric_attributes["url.template"] == "/a/{id}"
    assert attributes.attempt_span_name == f"{'HTTP' if method == 'BREW' else method} /a/{{id}}"
