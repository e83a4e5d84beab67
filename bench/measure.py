"""Measure contenders in turns, in short rounds of one run, and use medians.

Absolute numbers of a shared machine mean little. A ratio is computed within each round, from two turns that follow each
other closely, so that a temporarily slow machine slows both. The result is the median of these ratios.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

__all__ = [
    "Contender",
    "Local",
    "Reading",
    "Remote",
    "Spread",
    "Turns",
    "compare",
    "ratio",
    "stub_server",
    "take_turns",
]

HERE = Path(__file__).resolve().parent
ROUNDS = 60
# Long enough for the clock, and short enough that other processes disturb only a few rounds.
ROUND_SECONDS = 0.01
EXIT_TIMEOUT = 120

Turns = dict[str, list[float]]


@dataclass(frozen=True)
class Spread:
    """The median of many rounds, with the 10th and 90th percentile."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        ordered = sorted(values)
        return cls(statistics.median(ordered), ordered[len(ordered) // 10], ordered[len(ordered) * 9 // 10])


@dataclass(frozen=True)
class Reading:
    """The measurement of one metric.

    Attributes:
        value: compared with the target; usually the ratio of our value to the peer's.
        ours: our value, in ``unit``.
        peer: the value of the peer, in ``unit``.
        unit: the unit of these two.
    """

    value: Spread
    ours: Spread
    peer: Spread
    unit: str

    @classmethod
    def absolute(cls, values: Sequence[float], unit: str) -> Reading:
        """A measurement without a peer."""
        spread = Spread.of(values)
        return cls(spread, spread, Spread(0.0, 0.0, 0.0), unit)


class Contender(Protocol):
    """One side of a comparison: it runs the measured call."""

    def turn(self, count: int) -> float:
        """Run the call once, then ``count`` times. Return the CPU time of the latter in microseconds per call."""


class Local:
    """A contender in this process."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call

    def turn(self, count: int) -> float:
        call = self._call
        # Not timed: this call fills the CPU caches again after the other contenders.
        call()
        started = time.process_time_ns()
        for _ in range(count):
            call()
        return (time.process_time_ns() - started) / count / 1000


class Remote:
    """A contender in a separate process with its own interpreter; see worker.py."""

    def __init__(self, python: Path, factory: str, *arguments: str) -> None:
        # Output and warnings of a peer are only needed if it fails.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            [python, "-X", "utf8", HERE / "worker.py", factory, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            encoding="utf-8",
            # PYTHONPATH must not reach the environment of a peer.
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        )
        self._read_line()

    def turn(self, count: int) -> float:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        return float(self._read_line())

    def _read_line(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait(EXIT_TIMEOUT)
            self._errors.seek(0)
            raise RuntimeError(f"a contender failed: {self._errors.read()[-2000:].decode('utf-8', 'replace')}")
        return json.loads(line)

    def close(self) -> None:
        # The process exits at the end of its input.
        self.process.communicate(timeout=EXIT_TIMEOUT)
        self._errors.close()

    def __enter__(self) -> Remote:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def compare(contenders: Mapping[str, Contender], rounds: int = ROUNDS) -> Turns:
    """CPU time of all contenders in microseconds per call, one value per round.

    Args:
        contenders: the contenders by name.
        rounds: the number of turns of each.
    """
    counts = {name: _calls_a_round(contender) for name, contender in contenders.items()}
    gc.collect()
    gc.disable()
    try:
        return take_turns({name: lambda n=name: contenders[n].turn(counts[n]) for name in contenders}, rounds)  # type: ignore[misc]
    finally:
        gc.enable()


def take_turns(contenders: Mapping[str, Callable[[], float]], rounds: int) -> Turns:
    """The value of each contender in each round. The order rotates from round to round."""
    turns: Turns = {name: [] for name in contenders}
    names = list(contenders)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            turns[name].append(contenders[name]())
    return turns


def ratio(turns: Turns, ours: str, peer: str, unit: str = "us", *, net_of: str | None = None) -> Reading:
    """The ratio of our value to the peer's by round. With `net_of`, that contender's median is subtracted first."""
    less = 0.0 if net_of is None else statistics.median(turns[net_of])
    our_values, peer_values = ([value - less for value in turns[name]] for name in (ours, peer))
    if net_of is None:
        parts = [one / other for one, other in zip(our_values, peer_values, strict=True)]
    else:
        # After the subtraction a single round may be close to 0, so all are divided by the median instead.
        middle = statistics.median(peer_values)
        parts = [one / middle for one in our_values]
    return Reading(Spread.of(parts), Spread.of(our_values), Spread.of(peer_values), unit)


def _calls_a_round(contender: Contender) -> int:
    contender.turn(1)
    return max(1, min(2000, int(ROUND_SECONDS * 1e6 / max(contender.turn(3), 0.5))))


@contextmanager
def stub_server(*arguments: str) -> Iterator[str]:
    """Run the stub server in a separate process, and yield its URL; see stub_server.py."""
    command = [sys.executable, "-X", "utf8", str(HERE / "stub_server.py"), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.terminate()
