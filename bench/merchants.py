"""Many merchants in one process: a client for each, and 10,000 merchants that call through one pool of connections."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import peers
import psutil
from measure import Reading, ratio, stub_server
from raw_urllib3 import KEY_ID, SECRET

__all__ = ["CURVES", "measure_curves", "measure_merchants"]

HERE = Path(__file__).resolve().parent
MERCHANTS, THREADS, ROUNDS = 10_000, 32, 2
# Clients whose construction is measured, and the number of processes that measure it.
CREATED, PROCESSES = 1_000, 5

# Names of the curves of the plot, and numbers of merchants.
CURVES = {"derived": "for_merchant", "independent": "FlexClient", "official": "the official SDK"}
STEPS = (1, 10, 100, 1_000, 10_000)
# Seconds. A process that takes longer ends its curve.
CURVE_TIMEOUT = 120


def create_clients(kind: str, count: int, url: str = "") -> dict[str, float]:
    """Run create_clients.py in the environment of the SDK."""
    python = peers.official() if kind == "official" else peers.ours()
    command = [python, "-W", "ignore", HERE / "create_clients.py", kind, str(count), url]
    process = subprocess.run(command, check=True, capture_output=True, timeout=CURVE_TIMEOUT)
    reading: dict[str, float] = json.loads(process.stdout)
    return reading


def measure_merchants() -> dict[str, Reading]:
    readings = {}
    for kind in ("derived", "independent"):
        values = [create_clients(kind, CREATED) for _ in range(PROCESSES)]
        readings[f"merchants.{kind}_cpu"] = Reading.absolute([each["cpu"] / CREATED * 1e6 for each in values], "us")
        readings[f"merchants.{kind}_memory"] = Reading.absolute([each["memory"] / CREATED for each in values], "KB")
    with stub_server("flex") as url:
        process = subprocess.run([sys.executable, __file__, url], check=True, stdout=subprocess.PIPE)
    result: dict[str, Any] = json.loads(process.stdout)
    if result["connections"] > THREADS:
        raise RuntimeError(f"{result['connections']} connections were open; the pool allows {THREADS}")
    readings["merchants.rate"] = ratio(result["rates"], "many", "one", "calls/s")
    readings["merchants.resident"] = Reading.absolute([result["memory"]], "MB")
    return readings


def measure_curves() -> dict[str, list[dict[str, float]]]:
    """Memory and time of clients with one call each, by the number of merchants."""
    curves: dict[str, list[dict[str, float]]] = {}
    with stub_server("flex") as url:
        for kind in CURVES:
            curves[kind] = []
            for count in STEPS:
                try:
                    reading = create_clients(kind, count, url)
                except (subprocess.TimeoutExpired, subprocess.CalledProcessError):
                    break
                curves[kind].append({"merchants": count, **reading})
    return curves


def call_for_merchants(url: str) -> dict[str, Any]:
    """10,000 calls for one merchant, and one call for each of 10,000, in turns. Run in a separate process."""
    from cybersource_flex import FlexClient, fields
    from cybersource_flex.auth import JwtSharedSecret

    capture_fields = fields(card=["number"])
    clients: list[FlexClient] = []
    connections = 0
    process, port = psutil.Process(), int(url.rpartition(":")[2])
    with (
        FlexClient(JwtSharedSecret("m0", KEY_ID, SECRET), environment=url, pool_size=THREADS) as parent,
        ThreadPoolExecutor(THREADS) as pool,
    ):

        def one(_: int) -> None:
            parent.create_capture_context(capture_fields)

        def many(number: int) -> None:
            client = parent.for_merchant(auth=JwtSharedSecret(f"m{number}", KEY_ID, SECRET))
            clients.append(client)
            client.create_capture_context(capture_fields)

        def rate(call: Any) -> float:
            nonlocal connections
            clients.clear()
            numbers = iter(range(MERCHANTS))
            lock = threading.Lock()

            def worker(_: int) -> None:
                while True:
                    with lock:
                        number = next(numbers, None)
                    if number is None:
                        return
                    call(number)

            started = time.perf_counter()
            list(pool.map(worker, range(THREADS)))
            result = MERCHANTS / (time.perf_counter() - started)
            open_now = [each for each in process.net_connections() if each.raddr and each.raddr.port == port]
            connections = max(connections, len(open_now))
            return result

        rates: dict[str, list[float]] = {"one": [], "many": []}
        one(0)
        for number in range(ROUNDS):
            for name, call in (("one", one), ("many", many))[:: -1 if number % 2 == 0 and number < ROUNDS - 1 else 1]:
                rates[name].append(rate(call))
        # The clients of the last round are alive.
        memory = process.memory_info().rss / 1e6
    return {"rates": rates, "connections": connections, "memory": memory}


if __name__ == "__main__":
    print(json.dumps(call_for_merchants(sys.argv[1])))
