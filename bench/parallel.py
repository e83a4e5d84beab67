"""Calls a second of 32 threads that share one client, with a host that takes 50 ms to answer.

The ideal is 32 / 0.05 s = 640. Raw urllib3 takes turns with us and shows what the host and the machine leave of that.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import by_hand
import ours
from measure import Reading, Spread, ratio, stub, take_turns

THREADS, SECONDS = 32, 0.05
IDEAL = THREADS / SECONDS
# Seconds until the first calls, which begin all at once, are over; and seconds in which calls are counted.
RAMP, WINDOW = 0.2, 1.0
ROUNDS = 8


def rate(pool: ThreadPoolExecutor, call: Callable[[], object]) -> float:
    done, over = [0] * THREADS, threading.Event()

    def lane(number: int) -> None:
        while not over.is_set():
            call()
            done[number] += 1

    lanes = [pool.submit(lane, number) for number in range(THREADS)]
    time.sleep(RAMP)
    before, started = sum(done), time.perf_counter()
    time.sleep(WINDOW)
    found = (sum(done) - before) / (time.perf_counter() - started)
    over.set()
    for each in lanes:
        each.result()
    return found


def measure() -> dict[str, Reading]:
    with stub(str(SECONDS)) as url, ThreadPoolExecutor(THREADS) as pool:
        calls = {
            "urllib3": by_hand.call("JWT HS256", url, THREADS),
            "ours": ours.call("JWT HS256", url, THREADS),
        }
        contenders = {name: lambda c=call: rate(pool, c) for name, call in calls.items()}
        turns = take_turns(contenders, ROUNDS)
    part = Spread.of([value / IDEAL for value in turns["ours"]])
    ideal = Reading(part, Spread.of(turns["ours"]), Spread(IDEAL, IDEAL, IDEAL), "calls/s")
    return {"parallel.ideal": ideal, "parallel.urllib3": ratio(turns, "ours", "urllib3", "calls/s")}


if __name__ == "__main__":
    import run

    sys.exit(run.main(["parallel"]))
