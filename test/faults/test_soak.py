"""Soak test: 20,000 calls in 32 threads, and 5,000 in 64 tasks, while one request in twenty gets a fault.

Every call ends, every attempt is counted, and neither memory nor connections accumulate.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import threading
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cybersource_flex import (
    ApiResponse,
    AsyncFlexClient,
    CallError,
    FlexAPIApi,
    FlexClient,
    NotFoundError,
    RetryPolicy,
    aio,
    fields,
)
from cybersource_flex.models import GenerateFlexAPICaptureContextRequest
from support.line_process import LineProcess

# The number of calls, how many of them are made before the measurement, and how many are made concurrently.
IN_THREADS = 20_000, 4_000, 32
IN_TASKS = 5_000, 2_000, 64
SESSION_EVERY = 20
MAX_GROWTH_BYTES = 5 * 1024 * 1024
POLICY = RetryPolicy(attempts=4, initial_delay=0.001, max_delay=0.01, deadline=30.0)

# The emulator runs in a separate process, so that its memory is not measured and it can use another core.
EMULATOR = """
import collections, json, sys
from cybersource_flex.emulator import Emulator
with Emulator(record_limit=200_000, record_bytes=1 << 30) as emulator:
    print(json.dumps(emulator.environ), flush=True)
    for line in sys.stdin:
        if line.strip() == "faults":
            emulator.clear()
            emulator.inject_random_faults(rate=0.05, seed=7)
            print("on", flush=True)
        elif line.strip() == "records":
            targets = collections.Counter(f"{each.method} {each.target}" for each in emulator.requests)
            faults = sum(each.scenario is not None for each in emulator.requests)
            print(json.dumps({"targets": targets, "faults": faults}), flush=True)
"""


class EmulatorProcess(LineProcess):
    """The emulator in a separate process."""

    def __init__(self) -> None:
        super().__init__(EMULATOR)
        self.environ: dict[str, str] = json.loads(self.first_line)


@pytest.fixture
def emulator() -> Iterator[EmulatorProcess]:
    process = EmulatorProcess()
    yield process
    process.close()


def jti(index: int) -> str:
    return f"{index:064d}"


class Calls:
    """The number of attempts and the result of each call, stored in little memory."""

    def __init__(self, calls: int) -> None:
        self._next = 0
        self._lock = threading.Lock()
        self.attempts = bytearray(calls)
        self.failed = bytearray(calls)
        self.unexpected_errors: list[str] = []
        self._request = GenerateFlexAPICaptureContextRequest(fields=fields(card=["number"]))

    def take(self, end: int) -> int | None:
        """The index of the next call, or None if all calls before ``end`` are taken."""
        with self._lock:
            if self._next >= end:
                return None
            self._next += 1
            return self._next - 1

    def start(self, api: Any, index: int) -> Any:
        """Make a call. With an API class of ``aio``, return an awaitable."""
        if index % SESSION_EVERY == 0:
            return api.generate_flex_api_capture_context_with_http_info(self._request)
        return api.get_payment_details_with_http_info(jti(index))

    def record_response(self, index: int, response: ApiResponse[Any]) -> None:
        self.attempts[index] = len(response.attempts)

    def record_error(self, index: int, error: BaseException) -> None:
        if isinstance(error, CallError):
            # The ids do not exist, so 404 is the expected response. Other errors are faults that outlasted the retries.
            self.failed[index] = not isinstance(error, NotFoundError)
            self.attempts[index] = len(error.attempts)
        else:
            self.unexpected_errors.append(f"{index}: {type(error).__name__}: {error}")


def run_in_threads(calls: Calls, client: FlexClient, end: int, concurrency: int) -> None:
    api = FlexAPIApi(client.api_client)

    def work() -> None:
        while (index := calls.take(end)) is not None:
            try:
                calls.record_response(index, calls.start(api, index))
            except BaseException as error:  # the test reports it
                calls.record_error(index, error)

    threads = [threading.Thread(target=work) for _ in range(concurrency)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


async def run_in_tasks(calls: Calls, client: AsyncFlexClient, end: int, concurrency: int) -> None:
    api = aio.AsyncFlexAPIApi(client.api_client)

    async def work() -> None:
        while (index := calls.take(end)) is not None:
            response: Awaitable[ApiResponse[Any]] = calls.start(api, index)
            try:
                calls.record_response(index, await response)
            except Exception as error:
                calls.record_error(index, error)

    await asyncio.gather(*(work() for _ in range(concurrency)))


def memory() -> int | None:
    """Resident memory of this process in bytes, on systems with /proc."""
    file = Path("/proc/self/statm")
    gc.collect()
    return int(file.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if file.is_file() else None


def descriptors() -> int | None:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else None


Usage = tuple[int | None, int | None]


def usage() -> Usage:
    return memory(), descriptors()


def test_soak_in_threads(emulator: EmulatorProcess, record_property: Any) -> None:
    total, warm_up, concurrency = IN_THREADS
    calls = Calls(total)
    with FlexClient.from_env(emulator.environ, retry=POLICY, pool_size=concurrency) as client:
        assert emulator.send("faults") == "on"
        run_in_threads(calls, client, warm_up, concurrency)
        before = usage()
        run_in_threads(calls, client, total, concurrency)
        after = usage()
    check(calls, emulator, before, after, concurrency, record_property)


def test_soak_in_tasks(emulator: EmulatorProcess, record_property: Any) -> None:
    total, warm_up, concurrency = IN_TASKS
    calls = Calls(total)

    async def run() -> tuple[Usage, Usage]:
        async with AsyncFlexClient.from_env(emulator.environ, retry=POLICY) as client:
            await run_in_tasks(calls, client, warm_up, concurrency)
            before = usage()
            await run_in_tasks(calls, client, total, concurrency)
            return before, usage()

    assert emulator.send("faults") == "on"
    before, after = asyncio.run(run())
    check(calls, emulator, before, after, concurrency, record_property)


def check(
    calls: Calls, emulator: EmulatorProcess, before: Usage, after: Usage, concurrency: int, record_property: Any
) -> None:
    total = len(calls.attempts)
    records = json.loads(emulator.send("records"))
    assert calls.unexpected_errors == []
    assert 0 not in calls.attempts, "every call ends with a result or a typed error"
    assert max(calls.attempts) <= POLICY.attempts
    for index in range(total):
        if index % SESSION_EVERY:
            target = f"GET /flex/v2/payment-details/{jti(index)}"
            assert records["targets"].get(target) == calls.attempts[index], "the emulator recorded the same attempts"
    sessions = sum(calls.attempts[index] for index in range(0, total, SESSION_EVERY))
    assert records["targets"]["POST /flex/v2/sessions"] == sessions
    assert records["faults"] > total * 0.03
    growth = None if before[0] is None or after[0] is None else after[0] - before[0]
    record_property("growth", growth)
    if growth is not None:
        assert growth < MAX_GROWTH_BYTES
    if before[1] is not None and after[1] is not None:
        assert after[1] <= before[1] + concurrency, "at most one more descriptor per concurrent call"
    failed, faults, attempts = sum(calls.failed), records["faults"], sum(calls.attempts)
    sys.stderr.write(
        f"soak: {total} calls, {attempts} attempts, {faults} faults, {failed} failed, growth {growth} bytes\n"
    )
