"""What is measured, what is wanted, and what is worse than it was. No measuring here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["SLACK", "Metric", "better_of", "check", "limit", "met", "worse"]

# How much worse than the baseline a ratio may be: what the noise of a shared machine leaves of a median.
SLACK = 0.20
ATTEMPTS = 4


@dataclass(frozen=True)
class Metric:
    """One number.

    Attributes:
        name: the subject that measures it, a dot, and a name.
        what: what of ours is measured.
        peer: what it is held against.
        target: what it must reach, or None for a number that only informs.
        better: which way is better.
        unit: "ratio", or what an absolute number is counted in.
        of_the_machine: whether it says more about the machine than about us.
        grain: a change that is too small to mean anything, in the number's own unit.
    """

    name: str
    what: str
    peer: str
    target: float | None = None
    better: Literal["lower", "higher"] = "lower"
    unit: str = "ratio"
    of_the_machine: bool = False
    grain: float = 0.0

    @property
    def subject(self) -> str:
        return self.name.partition(".")[0]

    @property
    def kept(self) -> bool:
        """Whether the baseline has it: ratios alone mean the same on another machine."""
        return self.unit == "ratio" and self.target is not None and not self.of_the_machine


def met(metric: Metric, value: float) -> bool | None:
    """Whether the target is reached; None without one."""
    if metric.target is None:
        return None
    return value <= metric.target if metric.better == "lower" else value >= metric.target


def limit(metric: Metric, baseline: float) -> float:
    """The worst value that is still no worse than the baseline."""
    if metric.better == "lower":
        return max(baseline * (1 + SLACK), baseline + metric.grain)
    return min(baseline / (1 + SLACK), baseline - metric.grain)


def worse(metric: Metric, value: float, baseline: float) -> bool:
    most = limit(metric, baseline)
    return value > most if metric.better == "lower" else value < most


def better_of(metric: Metric, one: float, other: float) -> float:
    return min(one, other) if metric.better == "lower" else max(one, other)


def check(
    metrics: Iterable[Metric],
    values: Mapping[str, float],
    baseline: Mapping[str, float],
    again: Callable[[str], Mapping[str, float]],
    attempts: int = ATTEMPTS,
) -> dict[str, float]:
    """Those that are worse than the baseline however often they are measured, by name, each with its best value.

    Noise makes a ratio worse as often as better, but a change of the code makes it worse every time.

    Args:
        metrics: what may be judged; what has no baseline or was not measured is passed over.
        values: what was measured.
        baseline: what is known from before.
        again: measures a subject once more.
        attempts: how often in all.
    """
    best = dict(values)
    judged = [metric for metric in metrics if metric.kept and metric.name in best and metric.name in baseline]
    for attempt in range(attempts):
        failing = [metric for metric in judged if worse(metric, best[metric.name], baseline[metric.name])]
        if not failing or attempt == attempts - 1:
            break
        for subject in dict.fromkeys(metric.subject for metric in failing):
            found = again(subject)
            for metric in failing:
                if metric.subject == subject:
                    best[metric.name] = better_of(metric, best[metric.name], found[metric.name])
    return {metric.name: best[metric.name] for metric in failing} if judged else {}
