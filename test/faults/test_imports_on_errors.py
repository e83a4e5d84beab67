"""Errors are raised without importing modules, which would fail if the process has no free file descriptor."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from cybersource_flex.emulator import Emulator

FAULTS = [
    *("refuse", "status-429", "status-503", "status-500", "html-502", "empty-500", "redirect", "undecodable-body"),
    *("reset-during", "truncated", "latency;seconds=20", "html-200", "empty-200", "malformed-jwt", "expired-context"),
    *("malformed-jwt;kind=wrong-key", "big-body;size=16MiB", "endless-headers;kind=many;size=1MiB"),
    "interim;count=100",
]

PROGRAM = """
import asyncio, inspect, json, sys
from cybersource_flex import AsyncFlexClient, FlexClient, RetryPolicy, fields
from cybersource_flex.auth import JwtSharedSecret

kind, url, auth, count = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), int(sys.argv[4])
requested_fields, card = fields(card=["number"]), {"card": {"number": "4111111111111111"}}
options = {"read_timeout": 0.3, "retry": RetryPolicy(attempts=1)}

async def main():
    async def wait(value):
        return await value if inspect.isawaitable(value) else value

    client_class = AsyncFlexClient if kind == "event loop" else FlexClient
    client = client_class(JwtSharedSecret(**auth), environment=url, **options)
    context = await wait(client.create_capture_context(requested_fields))
    await wait(client.tokenize(context, card))
    for _ in range(count):
        modules_before = set(sys.modules)
        try:
            await wait(client.create_capture_context(requested_fields))
            print("no error")
        except Exception as error:
            print(type(error).__name__, *sorted(set(sys.modules) - modules_before))
    await wait(client.close())

asyncio.run(main())
"""


@pytest.mark.parametrize("kind", ["threads", "event loop"])
def test_errors_import_no_modules(kind: str) -> None:
    with Emulator() as emulator:
        emulator.queue_scenarios(["ok", *FAULTS], path="/flex/v2/sessions")
        arguments = [kind, emulator.url, json.dumps(emulator.auth), str(len(FAULTS))]
        process = subprocess.run(
            [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, timeout=60
        )
    assert process.returncode == 0, process.stderr
    lines = process.stdout.splitlines()
    assert len(lines) == len(FAULTS)
    # A line with names of modules does not end with the name of the exception.
    assert {line for line in lines if not line.endswith(("Error", "Exception"))} == set()
