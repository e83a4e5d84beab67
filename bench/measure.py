"""How the benchmarks measure: contenders take turns in short rounds of one run, and medians are what counts.

Absolute numbers of a shared machine mean little. A ratio is taken within each round, of two turns that follow each
other closely, so that a machine that is slow for a while is slow for both; the median of these ratios is the result.
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
# Long enough for the clock, short enough for a noisy neighbour to spoil few.
ROUND_SECONDS = 0.01
PATIENCE = 120

Turns = dict[str, list[float]]


@dataclass(frozen=True)
class Spread:
    """The median of many rounds, and what a tenth of them was below and above."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        ordered = sorted(values)
        return cls(statistics.median(ordered), ordered[len(ordered) // 10], ordered[len(ordered) * 9 // 10])


@dataclass(frozen=True)
class Reading:
    """What was measured for one metric.

    Attributes:
        value: what is held against the target, mostly the ratio of ours to the peer's.
        ours: ours, in ``unit``.
        peer: the peer's, in ``unit``.
        unit: of these two.
    """

    value: Spread
    ours: Spread
    peer: Spread
    unit: str


class Contender(Protocol):
    """Does something once, and then so many times."""

    def turn(self, count: int) -> float:
        """CPU time of the calls after the first, in microseconds a call."""


class Local:
    """A contender in this process."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call

    def turn(self, count: int) -> float:
        call = self._call
        # Not timed: it finds the caches full of what the others used.
        call()
        started = time.process_time_ns()
        for _ in range(count):
            call()
        return (time.process_time_ns() - started) / count / 1000


class Remote:
    """A contender in a process of its own, with an interpreter of its own; see worker.py."""

    def __init__(self, python: Path, factory: str, *arguments: str) -> None:
        # What a peer prints or warns of matters only if it fails.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            [python, "-X", "utf8", HERE / "worker.py", factory, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            encoding="utf-8",
            # A folder of the machine's own must not reach a peer's environment.
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        )
        self._answer()

    def turn(self, count: int) -> float:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        return float(self._answer())

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait(PATIENCE)
            self._errors.seek(0)
            raise RuntimeError(f"a contender failed: {self._errors.read()[-2000:].decode('utf-8', 'replace')}")
        return json.loads(line)

    def close(self) -> None:
        # The end of its input is the end of it.
        self.process.communicate(timeout=PATIENCE)
        self._errors.close()

    def __enter__(self) -> Remote:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def compare(contenders: Mapping[str, Contender], rounds: int = ROUNDS) -> Turns:
    """CPU time of all contenders, in microseconds a call, one value a round.

    Args:
        contenders: what to call, by name.
        rounds: how often each has its turn.
    """
    counts = {name: _calls_a_round(contender) for name, contender in contenders.items()}
    gc.collect()
    gc.disable()
    try:
        return take_turns({name: lambda n=name: contenders[n].turn(counts[n]) for name in contenders}, rounds)  # type: ignore[misc]
    finally:
        gc.enable()


def take_turns(contenders: Mapping[str, Callable[[], float]], rounds: int) -> Turns:
    """The value of each contender in each round. Who begins changes from round to round."""
    turns: Turns = {name: [] for name in contenders}
    names = list(contenders)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            turns[name].append(contenders[name]())
    return turns


def ratio(turns: Turns, ours: str, peer: str, unit: str = "us", *, net_of: str | None = None) -> Reading:
    """Ours in parts of the peer's, round by round; with `net_of`, both without the median of that contender."""
    less = 0.0 if net_of is None else statistics.median(turns[net_of])
    mine, theirs = ([value - less for value in turns[name]] for name in (ours, peer))
    if net_of is None:
        parts = [one / other for one, other in zip(mine, theirs, strict=True)]
    else:
        # What is left after a subtraction may be next to nothing in a round, so that no round is divided by another.
        middle = statistics.median(theirs)
        parts = [one / middle for one in mine]
    return Reading(Spread.of(parts), Spread.of(mine), Spread.of(theirs), unit)


def _calls_a_round(contender: Contender) -> int:
    contender.turn(1)
    return max(1, min(2000, int(ROUND_SECONDS * 1e6 / max(contender.turn(3), 0.5))))


@contextmanager
def stub_server(*arguments: str) -> Iterator[str]:
    """A stub host in a process of its own, by its URL; see stub_server.py."""
    command = [sys.executable, "-X", "utf8", str(HERE / "stub_server.py"), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.terminate()
