"""Twenty thousand calls through 32 threads while one in twenty requests goes wrong: none lost, none done too often, and
nothing piles up.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cybersource_flex import CallError, FlexClient, NotFoundError, RetryPolicy, fields

CALLS, THREADS = 20_000, 32
WARM_UP = 4_000
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
            emulator.faults(rate=0.05, seed=7)
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

    def __init__(self, client: FlexClient) -> None:
        self._client = client
        self._next = iter(range(CALLS))
        self._lock = threading.Lock()
        self.attempts = bytearray(CALLS)
        self.failed = bytearray(CALLS)
        self.surprises: list[str] = []
        self.fields = fields(card=["number"])

    def run(self, until: int) -> None:
        threads = [threading.Thread(target=self._work, args=(until,)) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _work(self, until: int) -> None:
        while True:
            with self._lock:
                index = next(self._next, CALLS)
                if index >= until:
                    # Given back: the next run begins with it.
                    self._next = iter(range(index, CALLS))
                    return
            try:
                self.attempts[index] = self._call(index)
            except CallError as error:
                # 404 is what the made-up id is to give; anything else is a fault that outlasted the policy.
                self.failed[index] = not isinstance(error, NotFoundError)
                self.attempts[index] = len(error.attempts)
            except BaseException as error:  # a failure of the test, and reported
                self.surprises.append(f"{index}: {type(error).__name__}: {error}")

    def _call(self, index: int) -> int:
        from cybersource_flex.api import FlexAPIApi
        from cybersource_flex.models import GenerateFlexAPICaptureContextRequest

        api = FlexAPIApi(self._client.api_client)
        if index % SESSION_EVERY == 0:
            request = GenerateFlexAPICaptureContextRequest(fields=self.fields)
            return len(api.generate_flex_api_capture_context_with_http_info(request).attempts)
        return len(api.get_payment_details_with_http_info(jti(index)).attempts)


def memory() -> int | None:
    """Resident bytes of this process, where that can be read."""
    file = Path("/proc/self/statm")
    gc.collect()
    return int(file.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if file.is_file() else None


def descriptors() -> int | None:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else None


def test_soak(host: Host, record_property: Any) -> None:
    with FlexClient.from_env(host.environ, retry=POLICY, pool_size=THREADS) as client:
        assert host.ask("faults").strip() == "on"
        soak = Soak(client)
        soak.run(WARM_UP)
        before = memory(), descriptors()
        soak.run(CALLS)
        after = memory(), descriptors()
    found = json.loads(host.ask("records"))
    assert soak.surprises == []
    assert 0 not in soak.attempts, "every call ended, with a result or with a typed error"
    assert max(soak.attempts) <= POLICY.attempts
    for index in range(CALLS):
        if index % SESSION_EVERY:
            target = f"GET /flex/v2/payment-details/{jti(index)}"
            assert found["targets"].get(target) == soak.attempts[index], "the host's record agrees with the client's"
    sessions = sum(soak.attempts[index] for index in range(0, CALLS, SESSION_EVERY))
    assert found["targets"]["POST /flex/v2/sessions"] == sessions
    assert found["hurt"] > CALLS * 0.03
    growth = None if before[0] is None or after[0] is None else after[0] - before[0]
    record_property("growth", growth)
    if growth is not None:
        assert growth < MOST_GROWTH_BYTES
    if before[1] is not None and after[1] is not None:
        assert after[1] <= before[1] + THREADS, "no more than the pool keeps"
    failed, hurt, total = sum(soak.failed), found["hurt"], sum(soak.attempts)
    sys.stderr.write(f"soak: {CALLS} calls, {total} attempts, {hurt} faults, {failed} failed, growth {growth} bytes\n")
