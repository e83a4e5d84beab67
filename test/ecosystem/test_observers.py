"""What other tools show of the clients' requests, and the ways to scrub it that docs/telemetry.md describes.

The tools change http.client or the whole process, so each test runs in a new one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from support.page_blocks import tool_block

# Makes one payment with both clients, and reports what the host received.
PAYMENT = """
import asyncio, json
from cybersource_flex import AsyncFlexClient, FlexClient, fields
from cybersource_flex.cards import Card
from cybersource_flex.emulator import Emulator

FIELDS = fields(card=["number", "expirationMonth", "expirationYear"])
emulator = Emulator().start()

def pay():
    with FlexClient.from_env(emulator.environ) as client:
        token = client.tokenize(client.create_capture_context(FIELDS), Card("4111111111111111", expiration="12/31"))
        client.payment_details(token)
    return [token.jti]

async def pay_async():
    async with AsyncFlexClient.from_env(emulator.environ) as client:
        context = await client.create_capture_context(FIELDS)
        token = await client.tokenize(context, Card("4111111111111111", expiration="12/31"))
        await client.payment_details(token)
    return [token.jti]

def report(**facts):
    emulator.stop()
    headers = {name.lower() for request in emulator.requests for name in dict(request.headers)}
    print("REPORT" + json.dumps({"headers": sorted(headers), **facts}, default=str))
"""


def run(code: str, *options: str) -> tuple[dict[str, Any], str]:
    """The facts that the code reports, and its output before."""
    command = [sys.executable, *options, "-c", PAYMENT + code]
    process = subprocess.run(command, capture_output=True, text=True, timeout=120)
    output, separator, report = process.stdout.partition("REPORT")
    assert separator, process.stdout + process.stderr
    return json.loads(report), output


def test_the_log_of_urllib3_has_the_template() -> None:
    facts, output = run(
        """
import logging, sys
logging.basicConfig(level=logging.DEBUG, stream=sys.stdout)
report(ids=pay())
"""
    )
    lines = [line for line in output.splitlines() if line.startswith("DEBUG:urllib3")]
    assert any("/flex/v2/payment-details/{jti}" in line for line in lines)
    assert not [line for line in lines if facts["ids"][0] in line]


def test_the_debug_level_of_http_client_shows_whole_requests() -> None:
    facts, output = run(
        """
import http.client
http.client.HTTPConnection.debuglevel = 1
report(ids=pay())
"""
    )
    has_request_line = f"GET /flex/v2/payment-details/{facts['ids'][0]} HTTP/1.1" in output
    assert (has_request_line, "Authorization: Bearer " in output) == (True, True)
    assert "4111111111111111" not in output


SENTRY = """
import sentry_sdk
from sentry_sdk.transport import Transport

class Collector(Transport):
    envelopes = []
    def capture_envelope(self, envelope):
        self.envelopes += [item.payload.json for item in envelope.items if item.payload.json]

def observe(**options):
    sentry_sdk.init(dsn="https://key@sentry.example/1", transport=Collector, traces_sample_rate=1.0, **options)
    with sentry_sdk.start_transaction(name="checkout"):
        ids = pay() + asyncio.run(pay_async())
        sentry_sdk.capture_message("paid")
    sentry_sdk.flush()
    report(ids=ids, events=Collector.envelopes)
"""


def test_sentry_sees_the_path_and_sends_trace_headers() -> None:
    facts, _ = run(f"{SENTRY}\nobserve()\n")
    events = json.dumps(facts["events"])
    assert len(facts["events"]) == 2
    for identifier in facts["ids"]:
        assert f"/flex/v2/payment-details/{identifier}" in events
    assert "sentry-trace" in facts["headers"]
    assert "4111111111111111" not in events


def test_the_documented_settings_of_sentry_leave_out_ids_and_trace_headers() -> None:
    block = tool_block("telemetry.md", "sentry_sdk")
    settings = block.replace("sentry_sdk.init(", "observe(")
    assert settings != block
    facts, _ = run(f"{SENTRY}\n{settings}")
    events = json.dumps(facts["events"])
    assert "/flex/v2/payment-details/{id}" in events
    assert not [identifier for identifier in facts["ids"] if identifier in events]
    assert not {"sentry-trace", "baggage", "traceparent"} & set(facts["headers"])


OPENTELEMETRY = """
from opentelemetry import trace
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

exporter = InMemorySpanExporter()
trace.set_tracer_provider(TracerProvider())
trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(exporter))
URLLib3Instrumentor().instrument()
AioHttpClientInstrumentor().instrument()
ids = pay() + asyncio.run(pay_async())
spans = exporter.get_finished_spans()
scopes = sorted({span.instrumentation_scope.name for span in spans})
report(ids=ids, spans=[span.to_json() for span in spans], scopes=scopes)
"""


@pytest.mark.filterwarnings("ignore")
def test_the_instrumentations_of_opentelemetry_add_no_span_and_see_no_id() -> None:
    facts, _ = run(OPENTELEMETRY)
    assert facts["scopes"] == ["cybersource_flex"]
    assert len(facts["spans"]) == 16
    assert not [identifier for identifier in facts["ids"] if identifier in json.dumps(facts["spans"])]
    assert not {"traceparent", "baggage"} & set(facts["headers"])
