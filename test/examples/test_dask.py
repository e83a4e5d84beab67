"""``dask_bulk``: a local cluster, workers that are killed, and what goes through a scheduler on another machine."""

from __future__ import annotations

import os
import re
import signal
import socket
import socketserver
import subprocess
import sys
import threading
from contextlib import suppress

import psutil

from support.tokens import decode_jwt

from .conftest import FOLDER, TIMEOUT, Run, busy_worker, wait_until

PROGRAM = (sys.executable, FOLDER / "dask_bulk.py", "cards.ndjson", "tokens")
# About 110 bytes for each line: 20 lines in each partition.
SMALL = ("--partition-bytes", "2200", "--concurrency", "4")


def workers_of(program: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The worker processes of a local cluster. Python starts another process with them, to clean up."""
    children = psutil.Process(program.pid).children(recursive=True)
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def test_two_worker_processes(run: Run) -> None:
    run.write_cards(60)
    assert run.finish(run.start(*PROGRAM, *SMALL)) == (
        "60 lines: 60 with a token, 0 failed; 0 possibly tokenized twice\n"
    )
    assert run.count_tokens() == 60
    for row, number in zip(run.tokens(), run.numbers, strict=True):
        _, claims = decode_jwt(row["token"])
        assert claims["content"]["paymentInformation"]["card"]["number"]["maskedValue"][-4:] == number[-4:]
    # A second run sends nothing.
    run.finish(run.start(*PROGRAM, *SMALL))
    assert run.count_tokens() == 60


def test_a_worker_that_is_killed(run: Run) -> None:
    run.write_cards(60)
    run.emulator.scenario = "latency;seconds=0.05"
    program = run.start(*PROGRAM, *SMALL)
    wait_until(lambda: busy_worker(workers_of(program))).kill()
    output = run.finish(program)
    rows = run.tokens()
    # The lines in progress in the killed process. All others were tokenized once.
    repeated = [row for row in rows if "possibly_repeated" in row]
    assert 1 <= len(repeated) <= 8
    assert [row["attempt"] for row in rows if row not in repeated] == [1] * (60 - len(repeated))
    assert 60 <= run.count_tokens() <= 60 + len(repeated)
    assert output == f"60 lines: 60 with a token, 0 failed; {len(repeated)} possibly tokenized twice\n"


def test_a_run_that_is_killed_is_resumed(run: Run) -> None:
    run.write_cards(60)
    run.emulator.scenario = "latency;seconds=0.05"
    program = run.start(*PROGRAM, *SMALL)
    wait_until(lambda: run.count_results() >= 30)
    processes = [psutil.Process(program.pid), *workers_of(program)]
    os.killpg(program.pid, signal.SIGKILL)
    program.wait()
    psutil.wait_procs(processes, timeout=TIMEOUT)
    finished, sent_before = run.count_results(), run.count_requests()
    run.emulator.scenario = None
    output = run.finish(run.start(*PROGRAM, *SMALL))
    rows = run.tokens()
    repeated = sum("possibly_repeated" in row for row in rows)
    assert 1 <= repeated <= 16
    assert output == f"60 lines: 60 with a token, 0 failed; {repeated} possibly tokenized twice\n"
    assert run.count_requests() - sent_before == 2 * (60 - finished)
    assert 60 <= run.count_tokens() <= 60 + repeated


def test_the_program_reports_partitions_that_could_not_be_completed(run: Run) -> None:
    run.write_cards(60)
    del run.environ["CYBERSOURCE_MERCHANT_ID"]
    program = run.start(*PROGRAM, *SMALL)
    assert program.wait(TIMEOUT) == 1
    output = run.stderr(program)
    assert re.search(r"(?m)^partitions not completed: 3; ConfigurationError: .*CYBERSOURCE_MERCHANT_ID$", output)
    assert "run the same command again to resume\n" in output
    assert run.results() == []


class RecordingProxy(socketserver.ThreadingTCPServer):
    """Forwards connections to a port on loopback, and records what passes in both directions."""

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), Forwarder)
        self.target = ("127.0.0.1", port)
        self.recorded = bytearray()
        threading.Thread(target=self.serve_forever).start()

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        # Waits for the threads of all connections.
        self.server_close()


class Forwarder(socketserver.BaseRequestHandler):
    server: RecordingProxy

    def handle(self) -> None:
        with socket.create_connection(self.server.target) as target:
            back = threading.Thread(target=self.forward, args=(target, self.request))
            back.start()
            self.forward(self.request, target)
            back.join()

    def forward(self, source: socket.socket, destination: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                self.server.recorded += data
                destination.sendall(data)
        with suppress(OSError):
            destination.shutdown(socket.SHUT_WR)


def test_no_card_token_or_secret_passes_the_scheduler(run: Run) -> None:
    """Programs on several machines, as the README shows them. Client and workers reach the scheduler by the proxy."""
    run.write_cards(60)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    proxy = run.stack.enter_context(RecordingProxy(port))
    address = f"tcp://127.0.0.1:{proxy.server_address[1]}"
    dask = (sys.executable, "-m", "dask")
    scheduler = run.start(*dask, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
    wait_until(lambda: "Scheduler at:" in run.stderr(scheduler))
    # Not in the folder of the example: the program sends its module to the workers.
    run.start(*dask, "worker", address, "--nworkers", "2", "--nthreads", "1", "--no-dashboard")
    output = run.finish(run.start(*PROGRAM, *SMALL, "--scheduler", address))
    assert output == "60 lines: 60 with a token, 0 failed; 0 possibly tokenized twice\n"
    assert len(run.tokens()) == run.count_tokens() == 60
    # The recording is complete and readable.
    assert b"register-worker" in proxy.recorded
    assert b"cards.ndjson" in proxy.recorded
    assert b"possibly_repeated" in proxy.recorded
    run.search(bytes(proxy.recorded), "what passed the scheduler")
