"""Twenty thousand calls in 32 threads, and five thousand in 64 tasks, while one in twenty requests goes wrong:
none lost, none done too often, and nothing piles up.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
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

# Calls, how many of them are made before anything is measured, and how many are under way at once.
IN_THREADS = 20_000, 4_000, 32
IN_TASKS = 5_000, 2_000, 64
SESSION_EVERY = 20
MOST_GROWTH_BYTES = 5 * 1024 * 1024
POLICY = RetryPolicy(attempts=4, base=0.001, cap=0.01, deadline=30.0)

# In a process of its own: its memory is not to be taken for the client's, and it has a core to itself.
HOST = """
import collections, json, sys
from cybersource_flex.emulator import Emulator
with Emulator(record_limit=200_000) as emulator:
    print(json.dumps(emulator.environ), flush=True)
    for line in sys.stdin:
        if line.strip() == "faults":
            emulator.clear()
            emulator.inject_random_faults(rate=0.05, seed=7)
            print("on", flush=True)
        elif line.strip() == "records":
            found = collections.Counter(f"{each.method} {each.target}" for each in emulator.requests)
            hurt = sum(each.scenario is not None for each in emulator.requests)
            print(json.dumps({"targets": found, "hurt": hurt}), flush=True)
"""


class Host:
    """The emulator in another process, told what to do line by line."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", HOST], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
        self.environ: dict[str, str] = json.loads(self._line())

    def ask(self, what: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        return self._line()

    def close(self) -> None:
        self._process.communicate(timeout=60)

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the emulator ended"
        return line


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    yield made
    made.close()


def jti(index: int) -> str:
    return f"{index:064d}"


class Soak:
    """The calls, and what became of each, in as little memory as that takes."""

    def __init__(self, calls: int) -> None:
        self._next = 0
        self._lock = threading.Lock()
        self.attempts = bytearray(calls)
        self.failed = bytearray(calls)
        self.surprises: list[str] = []
        self._request = GenerateFlexAPICaptureContextRequest(fields=fields(card=["number"]))

    def take(self, until: int) -> int | None:
        """The next call to make; None where they are up."""
        with self._lock:
            if self._next >= until:
                return None
            self._next += 1
            return self._next - 1

    def ask(self, api: Any, index: int) -> Any:
        """Begin a call: of a class for threads, or for tasks."""
        if index % SESSION_EVERY == 0:
            return api.generate_flex_api_capture_context_with_http_info(self._request)
        return api.get_payment_details_with_http_info(jti(index))

    def arrived(self, index: int, answer: ApiResponse[Any]) -> None:
        self.attempts[index] = len(answer.attempts)

    def failed_with(self, index: int, error: BaseException) -> None:
        if isinstance(error, CallError):
            # 404 is what the made-up id is to give; anything else is a fault that outlasted the policy.
            self.failed[index] = not isinstance(error, NotFoundError)
            self.attempts[index] = len(error.attempts)
        else:
            self.surprises.append(f"{index}: {type(error).__name__}: {error}")


def run_in_threads(soak: Soak, client: FlexClient, until: int, width: int) -> None:
    api = FlexAPIApi(client.api_client)

    def work() -> None:
        while (index := soak.take(until)) is not None:
            try:
                soak.arrived(index, soak.ask(api, index))
            except BaseException as error:  # a failure of the test, and reported
                soak.failed_with(index, error)

    threads = [threading.Thread(target=work) for _ in range(width)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


async def run_in_tasks(soak: Soak, client: AsyncFlexClient, until: int, width: int) -> None:
    api = aio.FlexAPIApi(client.api_client)

    async def work() -> None:
        while (index := soak.take(until)) is not None:
            answer: Awaitable[ApiResponse[Any]] = soak.ask(api, index)
            try:
                soak.arrived(index, await answer)
            except Exception as error:
                soak.failed_with(index, error)

    await asyncio.gather(*(work() for _ in range(width)))


def memory() -> int | None:
    """Resident bytes of this process, where that can be read."""
    file = Path("/proc/self/statm")
    gc.collect()
    return int(file.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if file.is_file() else None


def descriptors() -> int | None:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else None


Usage = tuple[int | None, int | None]


def usage() -> Usage:
    return memory(), descriptors()


def test_soak_in_threads(host: Host, record_property: Any) -> None:
    calls, warm_up, width = IN_THREADS
    soak = Soak(calls)
    with FlexClient.from_env(host.environ, retry=POLICY, pool_size=width) as client:
        assert host.ask("faults").strip() == "on"
        run_in_threads(soak, client, warm_up, width)
        before = usage()
        run_in_threads(soak, client, calls, width)
        after = usage()
    check(soak, host, before, after, width, record_property)


def test_soak_in_tasks(host: Host, record_property: Any) -> None:
    calls, warm_up, width = IN_TASKS
    soak = Soak(calls)

    async def run() -> tuple[Usage, Usage]:
        async with AsyncFlexClient.from_env(host.environ, retry=POLICY) as client:
            await run_in_tasks(soak, client, warm_up, width)
            before = usage()
            await run_in_tasks(soak, client, calls, width)
            return before, usage()

    assert host.ask("faults").strip() == "on"
    before, after = asyncio.run(run())
    check(soak, host, before, after, width, record_property)


def check(soak: Soak, host: Host, before: Usage, after: Usage, width: int, record_property: Any) -> None:
    calls = len(soak.attempts)
    found = json.loads(host.ask("records"))
    assert soak.surprises == []
    assert 0 not in soak.attempts, "every call ended, with a result or with a typed error"
    assert max(soak.attempts) <= POLICY.attempts
    for index in range(calls):
        if index % SESSION_EVERY:
            target = f"GET /flex/v2/payment-details/{jti(index)}"
            assert found["targets"].get(target) == soak.attempts[index], "the host's record agrees with the client's"
    sessions = sum(soak.attempts[index] for index in range(0, calls, SESSION_EVERY))
    assert found["targets"]["POST /flex/v2/sessions"] == sessions
    assert found["hurt"] > calls * 0.03
    growth = None if before[0] is None or after[0] is None else after[0] - before[0]
    record_property("growth", growth)
    if growth is not None:
        assert growth < MOST_GROWTH_BYTES
    if before[1] is not None and after[1] is not None:
        assert after[1] <= before[1] + width, "no more than are under way at once"
    failed, hurt, total = sum(soak.failed), found["hurt"], sum(soak.attempts)
    sys.stderr.write(f"soak: {calls} calls, {total} attempts, {hurt} faults, {failed} failed, growth {growth} bytes\n")
