"""What is told of calls: logs, and OpenTelemetry by its conventions, against its real SDK."""

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
from cybersource_flex.transport import AttemptEvent, Events, Operation, Response, Settings, Transport, telemetry
from cybersource_flex.transport.aio import AsyncTransport

OPERATION = Operation(
    name="get_thing",
    method="GET",
    path="/flex/v2/things/{thing}",
    signed=False,
    responses={"200": "str"},
    models="cybersource_flex.models",
    repeatable=True,
)
QUICK = RetryPolicy(attempts=3, base=0.0001, cap=0.0001)
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)


class Exported:
    """The real SDK, exporting into memory."""

    def __init__(self, **options: Any) -> None:
        self._spans, self._numbers = InMemorySpanExporter(), InMemoryMetricReader()
        self.tracers, self.meters = TracerProvider(**options), MeterProvider([self._numbers])
        self.tracers.add_span_processor(SimpleSpanProcessor(self._spans))

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._spans.get_finished_spans())

    @property
    def points(self) -> list[Any]:
        found = self._numbers.get_metrics_data()
        if found is None:
            return []
        (metric,) = (each for r in found.resource_metrics for scope in r.scope_metrics for each in scope.metrics)
        assert (metric.name, metric.unit) == ("http.client.request.duration", "s")
        return list(metric.data.data_points)


@pytest.fixture
def listen(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Exported]:
    def start(**options: Any) -> Exported:
        exported = Exported(**options)
        monkeypatch.setattr(trace, "get_tracer", exported.tracers.get_tracer)
        monkeypatch.setattr(metrics, "get_meter", exported.meters.get_meter)
        return exported

    return start


@pytest.fixture
def exported(listen: Callable[..., Exported]) -> Exported:
    return listen()


class Host:
    """Stands in for urllib3 and aiohttp: gives out answers and failures in turn, and keeps what it was sent."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.turns: list[int | BaseException] = []
        self.headers: list[dict[str, str]] = []
        self.spans: list[Any] = []
        self.suppressed: list[bool] = []

        def exchange(_: Any, course: Any, headers: dict[str, str]) -> Response:
            self.headers.append(headers)
            self.spans.append(trace.get_current_span())
            self.suppressed.append(bool(context.get_value(context._SUPPRESS_HTTP_INSTRUMENTATION_KEY)))
            turn = self.turns.pop(0)
            if isinstance(turn, BaseException):
                raise turn
            return Response(turn, "", {}, b"body")

        async def exchange_later(_: Any, session: Any, course: Any, headers: dict[str, str]) -> Response:
            await asyncio.sleep(0)
            return exchange(_, course, headers)

        monkeypatch.setattr(Transport, "_exchange", exchange)
        monkeypatch.setattr(AsyncTransport, "_exchange", exchange_later)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(monkeypatch)


def broken(outcome: errors.Outcome = "unknown") -> errors.ConnectionBrokenError:
    return errors.ConnectionBrokenError("told to nobody", method="GET", path=OPERATION.path, outcome=outcome)


Carry = Callable[[Settings], Transport]
Send = Callable[..., int]


@pytest.fixture
def send(carry: Carry) -> Send:
    def made(url: str = "https://apitest.cybersource.com", **options: Any) -> int:
        settings = Settings(host=url, proxy_from_environment=False, **options)
        with carry(settings) as transport:
            request = OPERATION.request(settings, path={"thing": "value-in-the-path"})
            return transport.send(request, retry=QUICK).status

    return made


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


COMMON = {
    "http.request.method": "GET",
    "server.address": "apitest.cybersource.com",
    "server.port": 443,
    "url.template": "/flex/v2/things/{thing}",
}
TRACED = {**COMMON, "url.full": "https://apitest.cybersource.com/flex/v2/things/REDACTED"}


def test_a_call_of_one_attempt(exported: Exported, host: Host, send: Send) -> None:
    host.turns = [200]
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


def test_a_span_for_each_attempt_with_its_number(exported: Exported, host: Host, send: Send) -> None:
    host.turns = [503, broken(), 200]
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
def test_a_refusal(exported: Exported, host: Host, status: int, send: Send) -> None:
    host.turns = [status]
    assert send() == status
    attempt, call = exported.spans
    assert attributes(attempt) == {**TRACED, "http.response.status_code": status, "error.type": str(status)}
    assert attributes(call)["error.type"] == str(status)
    assert {each.status.status_code for each in (attempt, call)} == {StatusCode.ERROR}


def test_a_redirect_is_an_error_of_the_call_and_not_of_the_attempt(exported: Exported, host: Host, send: Send) -> None:
    host.turns = [302]
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
def test_of_an_exception_its_class_alone(
    exported: Exported, host: Host, error: BaseException, name: str, send: Send
) -> None:
    host.turns = [error] * 3
    with pytest.raises(type(error)):
        send()
    for span in exported.spans:
        assert attributes(span)["error.type"] == name
        assert span.status.status_code is StatusCode.ERROR
        assert span.status.description is None
        assert not span.events
    assert "secret" not in "".join(span.to_json() for span in exported.spans)
    assert trace.get_current_span() is trace.INVALID_SPAN


# In a task, KeyboardInterrupt ends the event loop with it.
def test_an_interrupted_call_is_told_of(exported: Exported, host: Host) -> None:
    host.turns = [KeyboardInterrupt("secret")]
    settings = Settings(host="https://apitest.cybersource.com", proxy_from_environment=False)
    with pytest.raises(KeyboardInterrupt), Transport(settings) as transport:
        transport.send(OPERATION.request(settings, path={"thing": "x"}))
    assert [attributes(span)["error.type"] for span in exported.spans] == ["KeyboardInterrupt"] * 2
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_a_signer_that_fails_leaves_no_attempt(exported: Exported, carry: Carry) -> None:
    class Failing:
        def sign(self, request: object, now: float) -> dict[str, str]:
            raise RuntimeError("secret")

    operation = Operation(
        name="signed", method="POST", path="/x", signed=True, responses={}, models="cybersource_flex.models"
    )
    settings = Settings(host="https://apitest.cybersource.com", auth=Failing(), proxy_from_environment=False)
    with pytest.raises(RuntimeError), carry(settings) as transport:
        transport.send(operation.request(settings))
    (call,) = exported.spans
    assert attributes(call) == {"cybersource_flex.attempts": 0, "error.type": "RuntimeError"}
    assert not exported.points


def test_the_spans_belong_to_the_callers_and_are_current(exported: Exported, host: Host, send: Send) -> None:
    host.turns = [200]
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
    assert host.spans[0].get_span_context().span_id == attempt.context.span_id
    # Instrumentation of urllib3 would tell of it again, and add headers.
    assert host.suppressed == [True]
    assert not context.get_value(context._SUPPRESS_HTTP_INSTRUMENTATION_KEY)


def test_no_header_is_added(exported: Exported, host: Host, send: Send) -> None:
    host.turns = [200]
    send()
    assert set(host.headers[0]) == {"User-Agent", "Host"}


def test_spans_of_concurrent_tasks_do_not_mix(
    exported: Exported, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each attempt is a child of its own call, that of its own task; a retry, a failure and a cancellation included."""
    settings = Settings(host="https://apitest.cybersource.com", proxy_from_environment=False)
    tracer = exported.tracers.get_tracer("shop")
    seen: dict[str, list[int]] = {}
    stuck = asyncio.Event()

    async def exchange(_: Any, session: Any, course: Any, headers: dict[str, str]) -> Any:
        name = course.request.target.rpartition("/")[2]
        before = trace.get_current_span()
        seen.setdefault(name, []).append(before.get_span_context().span_id)
        for _turn in range(3):
            await asyncio.sleep(0)
            assert trace.get_current_span() is before
        kind = int(name) % 4
        if kind == 0 and len(seen[name]) == 1:
            return Response(503, "", {}, b"")
        if kind == 1:
            raise broken("unknown")
        if kind == 2:
            await stuck.wait()
        return Response(200, "", {}, b"")

    monkeypatch.setattr(AsyncTransport, "_exchange", exchange)

    async def one(transport: AsyncTransport, index: int) -> object:
        with tracer.start_as_current_span(f"task {index}") as outer:
            try:
                return await transport.send(OPERATION.request(settings, path={"thing": index}), retry=QUICK)
            finally:
                assert trace.get_current_span() is outer

    async def run() -> list[object]:
        async with AsyncTransport(settings) as transport:
            tasks = [asyncio.create_task(one(transport, index)) for index in range(40)]
            while len(seen) < 40 or sum(not task.done() for task in tasks) > 10:
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            return await asyncio.gather(*tasks, return_exceptions=True)

    ended = asyncio.run(run())
    assert [type(each).__name__ for each in ended] == [
        "Response",
        "ConnectionBrokenError",
        "CancelledError",
        "Response",
    ] * 10
    by_id = {span.context.span_id: span for span in exported.spans if span.context}
    assert len(by_id) == len(exported.spans)
    for name, attempts in seen.items():
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
def test_the_server_is_the_one_that_is_signed(
    exported: Exported, host: Host, url: str, address: str, port: int, send: Send
) -> None:
    host.turns = [200]
    send(url, intermediate_host="https://between.example")
    found = attributes(exported.spans[0])
    assert (found["server.address"], found["server.port"]) == (address, port)
    assert found["url.full"].startswith(url)


def test_a_span_that_is_not_sampled_costs_no_attributes(
    listen: Callable[..., Exported], host: Host, send: Send
) -> None:
    exported = listen(sampler=ALWAYS_OFF)
    host.turns = [503, 200]
    send()
    assert not exported.spans
    assert sum(each.count for each in exported.points) == 2


def test_without_an_sdk_nothing_happens(host: Host, monkeypatch: pytest.MonkeyPatch, send: Send) -> None:
    # Whether or not another test of this process has set one up.
    monkeypatch.setattr(trace, "get_tracer", trace.NoOpTracerProvider().get_tracer)
    monkeypatch.setattr(metrics, "get_meter", metrics.NoOpMeterProvider().get_meter)
    host.turns = [503, 200]
    assert send() == 200
    assert host.spans == [trace.INVALID_SPAN] * 2
    assert host.suppressed == [False] * 2


def test_without_the_package_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "opentelemetry"]:
        monkeypatch.delitem(sys.modules, name)
    call = telemetry.Spans("https://apitest.cybersource.com").call_started(OPERATION)
    call.attempt_started()
    call.attempt_ended(200)
    call.call_ended()
    assert call is telemetry._UNTOLD


def test_a_package_that_only_shares_the_name_is_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "cybersource_flex.transport.otel", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", None)
    assert telemetry.Spans("https://apitest.cybersource.com").call_started(OPERATION) is telemetry._UNTOLD


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
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG, logger="cybersource_flex"):
        yield caplog


def test_levels(log: pytest.LogCaptureFixture, host: Host, send: Send) -> None:
    host.turns = [200, 503, 200]
    send()
    assert [each.levelname for each in log.records if each.name.startswith("cybersource_flex")] == ["DEBUG"]
    log.clear()
    send()
    told = [(each.levelname, each.getMessage()) for each in log.records if each.name.startswith("cybersource_flex")]
    assert [level for level, _ in told] == ["DEBUG", "DEBUG", "INFO"]
    assert told[-1][1].startswith("GET /flex/v2/things/{thing}: 200 after 2 attempts in ")
    assert "value-in-the-path" not in str(told)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("3f2b8c1e-9d47-4a6b-8c15-2e7f90ab34cd", "3f2b8c1e-9d47-4a6b-8c15-2e7f90ab34cd"),
        (None, "None"),
        ("a" * 41, "<not one>"),
        ("eyJhbGciOiJub25lIn0.e30.", "<not one>"),
        ("1\nINFO forged", "<not one>"),
    ],
)
def test_a_correlation_id_in_the_log_is_one(log: pytest.LogCaptureFixture, given: str | None, shown: str) -> None:
    Events().attempt(AttemptEvent("get_thing", "GET", "/x", Attempt(1, 0.0, 0.1, 200, None), given))
    assert log.messages == [f"GET /x attempt 1: 200 in 0.100 s (correlation id {shown})"]


def test_the_logger_is_silent_by_itself() -> None:
    (handler,) = logging.getLogger("cybersource_flex").handlers
    assert isinstance(handler, logging.NullHandler)
