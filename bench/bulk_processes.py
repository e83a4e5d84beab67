"""Cards per second of bulk tokenization: Dask with two worker processes, and one process with the same concurrency.

Both read the same file of 2,000 cards and write a result for each, from a server that responds after 50 ms; each card
needs two calls. Dask runs ``examples/bulk_distributed`` with 2 x 16 threads. One process has 32 threads, or 32 tasks of
asyncio. Starting the processes is not measured. The server counts the calls: none may be missing, and none repeated.

Run as a program, this module is the server (`server`) or the one process (`threads` or `tasks`).
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

from measure import Reading, ratio, take_turns
from raw_urllib3 import KEY_ID, MERCHANT, SECRET

__all__ = ["measure_distributed"]

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "bulk_distributed"
CARDS, SECONDS, CONCURRENCY, WORKERS = 2_000, 0.05, 32, 2
# Two for each worker. All have the same size, so that no worker waits for the other.
PARTITIONS = 4
ROUNDS = 4


def measure_distributed() -> dict[str, Reading]:
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        cards = write_cards(folder / "cards.ndjson")
        server = stack.enter_context(helper("server"))
        port = server()["port"]
        variables = client_variables(f"http://127.0.0.1:{port}")
        stack.enter_context(mock.patch.dict(os.environ, variables))
        contenders: dict[str, Callable[[], float]] = {"dask": stack.enter_context(dask(folder, cards))}
        for kind in ("threads", "tasks"):
            one_process = stack.enter_context(helper(kind, str(cards)))
            contenders[kind] = one_process

        def counted(run: Callable[[], float]) -> float:
            rate = run()
            calls = server()
            if calls != {"port": port, "contexts": CARDS, "tokens": CARDS}:
                raise RuntimeError(f"the server got {calls} for {CARDS} cards")
            return rate

        runs = {name: lambda run=run: counted(run) for name, run in contenders.items()}
        take_turns(runs, 1)
        turns = take_turns(runs, ROUNDS)
    return {f"distributed.{kind}": ratio(turns, "dask", kind, "cards/s") for kind in ("threads", "tasks")}


def write_cards(path: Path) -> Path:
    from token_factory import DATA

    # Ids of the same length, so that partitions of the same size have the same number of lines.
    path.write_text("".join(json.dumps({"id": f"{number:06}", **DATA}) + "\n" for number in range(CARDS)), "utf-8")
    return path


def client_variables(url: str) -> dict[str, str]:
    values = {"ENVIRONMENT": url, "MERCHANT_ID": MERCHANT, "KEY_ID": KEY_ID, "SECRET_KEY": SECRET}
    return {f"CYBERSOURCE_{name}": value for name, value in {"AUTH": "jwt_shared_secret", **values}.items()}


@contextmanager
def dask(folder: Path, cards: Path) -> Iterator[Callable[[], float]]:
    """Start a local cluster. Yields a function that tokenizes all cards and returns cards per second."""
    sys.path.insert(0, str(EXAMPLE))
    from distributed import Client, LocalCluster

    import dask_bulk
    import partitions

    size = -(-cards.stat().st_size // PARTITIONS)
    with (
        LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):

        def run() -> float:
            output = Path(tempfile.mkdtemp(dir=folder))
            started = time.perf_counter()
            parts = partitions.plan(cards, output, partition_bytes=size, concurrency=CONCURRENCY // WORKERS)
            outcomes = list(dask_bulk.run(client, parts))
            rate = CARDS / (time.perf_counter() - started)
            tokens = sum(outcome["tokens"] for outcome in outcomes if isinstance(outcome, dict))
            rows = [json.loads(line) for path in output.glob("*.ndjson") for line in path.read_text().splitlines()]
            if tokens != CARDS or len({row["id"] for row in rows}) != len(rows) or len(rows) != CARDS:
                raise RuntimeError(f"{tokens} tokens and {len(rows)} results for {CARDS} cards")
            return rate

        yield run


@contextmanager
def helper(*arguments: str) -> Iterator[Callable[[], Any]]:
    """Run this module as a program. Yields a function that sends it an empty line and returns the value it prints."""
    command = [sys.executable, "-X", "utf8", __file__, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8") as process:

        def ask() -> Any:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield ask
        process.communicate()


# What follows runs in separate processes.


def one_process(kind: str, cards: Path) -> None:
    """For each line of input, tokenize all cards in this process and print cards per second."""
    from cybersource_flex import AsyncFlexClient, FlexClient

    def items() -> Iterator[Any]:
        with cards.open(encoding="utf-8") as file:
            for line in file:
                data = json.loads(line)
                del data["id"]
                yield data

    def row(result: Any) -> str:
        if result.error is not None:
            raise result.error
        return json.dumps({"index": result.index, "token": result.token.jwt, "jti": result.token.jti}) + "\n"

    def threads() -> None:
        for result in client.tokenize_many(items(), concurrency=CONCURRENCY, ordered=False):
            output.write(row(result))

    async def tasks() -> None:
        async with AsyncFlexClient.from_env() as client:
            async for result in client.tokenize_many(items(), concurrency=CONCURRENCY, ordered=False):
                output.write(row(result))

    with FlexClient.from_env() if kind == "threads" else nullcontext() as client:
        for _ in sys.stdin:
            with tempfile.TemporaryFile("w", buffering=1) as output:
                started = time.perf_counter()
                if kind == "threads":
                    threads()
                else:
                    asyncio.run(tasks())
                report(CARDS / (time.perf_counter() - started))


async def serve() -> None:
    """For each line of input, print the port, and the number of calls since the line before."""
    from stub_server import Connection, flex

    loop, respond, calls = asyncio.get_running_loop(), flex(), {"contexts": 0, "tokens": 0}

    def counting(line: bytes, head: bytes, body: bytes) -> bytes:
        if line.startswith(b"POST"):
            calls["contexts" if b"/flex/v2/sessions" in line else "tokens"] += 1
        return respond(line, head, body)

    server = await loop.create_server(lambda: Connection(counting, SECONDS), "127.0.0.1", 0, backlog=256)
    port = server.sockets[0].getsockname()[1]
    while await loop.run_in_executor(None, sys.stdin.readline):
        report({"port": port, **calls})
        calls.update(contexts=0, tokens=0)


def report(value: object) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "server":
        asyncio.run(serve())
    else:
        one_process(sys.argv[1], Path(sys.argv[2]))
