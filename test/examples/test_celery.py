"""``celery_bulk`` with a worker and a Redis server that are started for the test."""

from __future__ import annotations

import re
import subprocess
import sys
import threading

import psutil
import pytest
import redis

from .conftest import FOLDER, TIMEOUT, Run, busy_worker, wait_until

PROGRAM = (sys.executable, FOLDER / "celery_bulk.py", "cards.ndjson", "tokens")
SMALL = ("--partition-bytes", "2200", "--concurrency", "4")


@pytest.fixture
def no_merchant(run: Run) -> None:
    del run.environ["CYBERSOURCE_MERCHANT_ID"]


def test_a_worker_with_two_processes(run: Run, broker: redis.Redis, worker: subprocess.Popen[bytes]) -> None:
    run.write_cards(60)
    commands: list[bytes] = []
    with broker.monitor() as monitor:
        thread = threading.Thread(target=record_commands, args=(monitor, commands))
        thread.start()
        output = run.finish(run.start(*PROGRAM, *SMALL))
        broker.echo("end of the recording")
        thread.join()
    assert output == "60 lines: 60 with a token, 0 failed; 0 possibly tokenized twice\n"
    assert len(run.tokens()) == run.count_tokens() == 60
    # The bodies of messages are base64. `search` also finds values in it.
    recorded = b"\n".join(commands)
    assert b"possibly_repeated" in recorded
    run.search(recorded, "what passed Redis")
    # A second run sends nothing.
    run.finish(run.start(*PROGRAM, *SMALL))
    assert run.count_tokens() == 60


def record_commands(monitor: redis.client.Monitor, commands: list[bytes]) -> None:
    for command in monitor.listen():
        commands.append(str(command["command"]).encode())
        if "end of the recording" in command["command"]:
            return


def test_a_worker_process_that_is_killed(run: Run, worker: subprocess.Popen[bytes]) -> None:
    run.write_cards(60)
    run.emulator.scenario = "latency;seconds=0.05"
    program = run.start(*PROGRAM, *SMALL)
    wait_until(lambda: busy_worker(psutil.Process(worker.pid).children())).kill()
    output = run.finish(program)
    rows = run.tokens()
    repeated = sum("possibly_repeated" in row for row in rows)
    assert 1 <= repeated <= 8
    assert output == f"60 lines: 60 with a token, 0 failed; {repeated} possibly tokenized twice\n"
    assert 60 <= run.count_tokens() <= 60 + repeated


def test_partitions_that_could_not_be_completed(run: Run, no_merchant: None, worker: subprocess.Popen[bytes]) -> None:
    run.write_cards(60)
    program = run.start(*PROGRAM, *SMALL)
    assert program.wait(TIMEOUT) == 1
    output = run.stderr(program)
    assert re.search(r"(?m)^partitions not completed: 3; ConfigurationError: .*CYBERSOURCE_MERCHANT_ID$", output)
    assert run.results() == []
