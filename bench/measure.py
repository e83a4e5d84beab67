"""How the benchmarks measure: contenders take turns in one run, and the median of many short rounds is what counts.

Absolute numbers of a shared machine mean little; the ratio of two contenders in one run means more.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping

__all__ = ["Result", "compare"]

ROUNDS = 60
# Long enough for the clock, short enough for a noisy neighbour to spoil few.
ROUND_SECONDS = 0.01


class Result:
    """CPU time of one contender, in microseconds a call."""

    def __init__(self, samples: list[float]) -> None:
        ordered = sorted(samples)
        self.median = statistics.median(ordered)
        self.low, self.high = ordered[len(ordered) // 10], ordered[len(ordered) * 9 // 10]


def compare(contenders: Mapping[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, Result]:
    """Measure all contenders in turns.

    Args:
        contenders: what to call, by name.
        rounds: how often each has its turn.
    """
    counts = {name: _calls_a_round(call) for name, call in contenders.items()}
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for name, call in contenders.items():
                count = counts[name]
                started = time.process_time_ns()
                for _ in range(count):
                    call()
                samples[name].append((time.process_time_ns() - started) / count / 1000)
    finally:
        gc.enable()
    return {name: Result(found) for name, found in samples.items()}


def _calls_a_round(call: Callable[[], object]) -> int:
    call()
    started = time.perf_counter()
    for _ in range(10):
        call()
    return max(1, int(ROUND_SECONDS / max((time.perf_counter() - started) / 10, 1e-7)))
