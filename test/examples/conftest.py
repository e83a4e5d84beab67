"""Fixtures for tests of the examples: files of cards, an emulator, and the example's programs as processes."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest
from redis import ConnectionError as RedisConnectionError
from redis import Redis

from cybersource_flex.cards import is_luhn_valid
from cybersource_flex.emulator import Emulator
from cybersource_flex.testing import Canaries
from support.paths import ROOT
from support.requirements import require_program

FOLDER = ROOT / "examples" / "bulk_distributed"
TIMEOUT = 60

T = TypeVar("T")

sys.path.insert(0, str(FOLDER))


def card_numbers() -> Iterator[str]:
    """Yield valid Visa numbers that all differ."""
    for index in itertools.count():
        number = f"411111{index:09}"
        yield next(number + digit for digit in "0123456789" if is_luhn_valid(number + digit))


def wait_until(condition: Callable[[], T]) -> T:
    """Wait until the function returns a value that is true, and return it."""
    deadline = time.monotonic() + TIMEOUT
    while not (value := condition()):
        assert time.monotonic() < deadline, "the condition was not met in time"
        threading.Event().wait(0.005)
    return value


def busy_worker(processes: list[psutil.Process]) -> psutil.Process | None:
    """A process that has done a part of a partition, and has lines of it in progress. None if there is none."""
    for process in processes:
        paths = [Path(file.path) for file in process.open_files()]
        if any(path.match("part-*.ndjson") and 1 <= path.read_bytes().count(b"\n") <= 12 for path in paths):
            return process
    return None


class Run:
    """A file of cards, the folder of results, and the emulator that the programs call.

    Attributes:
        emulator: the emulator.
        folder: the working folder of the programs.
        numbers: the card numbers of the input, in order.
        environ: the environment variables of the programs.
        canaries: searches for secrets and card numbers.
        token_canaries: searches for tokens.
        stack: closed at the end of the test, after the programs have ended.
    """

    def __init__(self, emulator: Emulator, folder: Path, stack: ExitStack) -> None:
        self.emulator = emulator
        self.folder = folder
        self.numbers: list[str] = []
        self.canaries, self.token_canaries = Canaries(), Canaries()
        self.canaries.plant("secret key", emulator.auth["secret_key"])
        own = {name: value for name, value in os.environ.items() if not name.startswith(("CYBERSOURCE_", "DASK_"))}
        self.environ = {**own, **emulator.environ, "PYTHONUNBUFFERED": "1"}
        self.stack = stack
        self._output: dict[int, list[Path]] = {}

    def write_cards(self, count: int) -> None:
        self.numbers = list(itertools.islice(card_numbers(), count))
        for index, number in enumerate(self.numbers):
            self.canaries.plant(f"card number {index}", number)
        card = {"expirationMonth": "12", "expirationYear": "2099"}
        rows = (
            {"id": f"order-{index}", "card": {"number": number, **card}} for index, number in enumerate(self.numbers)
        )
        (self.folder / "cards.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")

    def start(self, *command: str | Path) -> subprocess.Popen[bytes]:
        """Start a program in a new process group. Its output is checked for leaks at the end of the test."""
        files = [self.folder / f"{name}-{len(self._output)}" for name in ("stdout", "stderr")]
        stdout, stderr = (self.stack.enter_context(file.open("wb")) for file in files)
        process = subprocess.Popen(
            command, cwd=self.folder, env=self.environ, stdout=stdout, stderr=stderr, start_new_session=True
        )
        self._output[process.pid] = files
        self.stack.callback(self._stop, process)
        return process

    @staticmethod
    def _stop(process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(TIMEOUT)

    def stdout(self, process: subprocess.Popen[bytes]) -> str:
        """What a program wrote to standard output so far."""
        return self._output[process.pid][0].read_text("utf-8")

    def stderr(self, process: subprocess.Popen[bytes]) -> str:
        """What a program wrote to standard error so far: log records, and errors."""
        return self._output[process.pid][1].read_text("utf-8")

    def finish(self, process: subprocess.Popen[bytes]) -> str:
        """Wait for a program that must succeed, and return its standard output."""
        assert process.wait(TIMEOUT) == 0, self.stderr(process)
        return self.stdout(process)

    def results(self) -> list[dict[str, Any]]:
        """All results, in the order of the input."""
        rows = [
            json.loads(line)
            for path in (self.folder / "tokens").glob("part-*.ndjson")
            for line in path.read_text("utf-8").splitlines()
        ]
        return sorted(rows, key=lambda row: int(row["offset"]))

    def tokens(self) -> list[dict[str, Any]]:
        """The results. There must be exactly one token for each line."""
        rows = self.results()
        assert [row["id"] for row in rows] == [f"order-{index}" for index in range(len(self.numbers))]
        assert all("token" in row for row in rows)
        return rows

    def count_results(self) -> int:
        return sum(path.read_bytes().count(b"\n") for path in (self.folder / "tokens").glob("part-*.ndjson"))

    def count_tokens(self) -> int:
        """How many tokens the emulator issued."""
        return sum(record.target == "/flex/v2/tokens" and record.succeeded for record in self.emulator.requests)

    def count_requests(self) -> int:
        """How many requests for contexts and tokens the emulator got."""
        return sum(record.method == "POST" for record in self.emulator.requests)

    def search(self, content: bytes, where: str) -> None:
        """Search for card numbers, secrets and tokens at the end of the test."""
        self.canaries.search(content, where)
        self.token_canaries.search(content, where)

    def check_output(self) -> None:
        """Search the output of all programs, and the results. Only the latter may contain tokens."""
        for file in itertools.chain.from_iterable(self._output.values()):
            self.search(file.read_bytes(), file.name)
        for path in (self.folder / "tokens").glob("*"):
            self.canaries.search(path.read_bytes(), path.name)
        for row in self.results():
            if "token" in row:
                self.token_canaries.plant(f"token of {row['id']}", row["jti"])
        self.canaries.check()
        self.token_canaries.check()


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with Emulator() as emulator, ExitStack() as stack:
        run = Run(emulator, tmp_path, stack)
        yield run
        run.check_output()


@pytest.fixture
def broker(run: Run) -> Iterator[Redis]:
    """A Redis server on loopback. Its URL is in the environment of the programs."""
    server = require_program("redis-server", package="redis-server", not_tested="the example with Celery")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    run.environ["REDIS_URL"] = f"redis://127.0.0.1:{port}/0"
    run.start(server, "--bind", "127.0.0.1", "--port", str(port), "--save", "")
    with Redis(port=port) as connection:
        wait_until(lambda: is_ready(connection))
        yield connection


def is_ready(connection: Redis) -> bool:
    try:
        return bool(connection.ping())
    except RedisConnectionError:
        return False


@pytest.fixture
def worker(run: Run, broker: Redis) -> subprocess.Popen[bytes]:
    """A Celery worker with two processes."""
    command = ("--workdir", FOLDER, "-A", "celery_bulk", "worker", "--concurrency", "2", "--loglevel", "DEBUG")
    worker = run.start(sys.executable, "-m", "celery", *command)
    wait_until(lambda: " ready." in run.stderr(worker) or worker.poll() is not None)
    return worker
