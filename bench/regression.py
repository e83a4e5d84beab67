"""Metrics, their targets, and the comparison with the baseline. Nothing is measured here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["SLACK", "Metric", "better_of", "check", "limit", "met", "worse"]

# How much worse than the baseline a ratio may be. Medians on a shared machine vary by less.
SLACK = 0.20
ATTEMPTS = 4


@dataclass(frozen=True)
class Metric:
    """One number that a benchmark measures.

    Attributes:
        name: the subject, a dot, and a name.
        what: the part of this SDK that is measured.
        peer: what it is compared with.
        target: the value to reach, or None for a number that is for information only.
        better: whether lower or higher values are better.
        unit: "ratio", or the unit of an absolute number.
        machine_dependent: whether the number says more about the machine than about this SDK.
        noise: a change that is too small to matter, in the unit of the number.
    """

    name: str
    what: str
    peer: str
    target: float | None = None
    better: Literal["lower", "higher"] = "lower"
    unit: str = "ratio"
    machine_dependent: bool = False
    noise: float = 0.0

    @property
    def subject(self) -> str:
        return self.name.partition(".")[0]

    @property
    def in_baseline(self) -> bool:
        """Whether the metric is in the baseline. Only ratios are comparable between machines."""
        return self.unit == "ratio" and self.target is not None and not self.machine_dependent


def met(metric: Metric, value: float) -> bool | None:
    """Whether the target is met; None if there is no target."""
    if metric.target is None:
        return None
    return value <= metric.target if metric.better == "lower" else value >= metric.target


def limit(metric: Metric, baseline: float) -> float:
    """The worst value that still passes."""
    if metric.better == "lower":
        return max(baseline * (1 + SLACK), baseline + metric.noise)
    return min(baseline / (1 + SLACK), baseline - metric.noise)


def worse(metric: Metric, value: float, baseline: float) -> bool:
    most = limit(metric, baseline)
    return value > most if metric.better == "lower" else value < most


def better_of(metric: Metric, one: float, other: float) -> float:
    return min(one, other) if metric.better == "lower" else max(one, other)


def check(
    metrics: Iterable[Metric],
    values: Mapping[str, float],
    baseline: Mapping[str, float],
    measure_again: Callable[[str], Mapping[str, float]],
    attempts: int = ATTEMPTS,
) -> dict[str, float]:
    """The metrics that are worse than the baseline in every measurement, by name, with the best value of each.

    Noise makes a ratio sometimes worse and sometimes better; a change of the code makes it worse every time.

    Args:
        metrics: the metrics to compare. Those without a baseline or value are skipped.
        values: the measured values.
        baseline: the earlier values.
        measure_again: measures a subject again.
        attempts: the maximum number of measurements.
    """
    best = dict(values)
    compared = [metric for metric in metrics if metric.in_baseline and metric.name in best and metric.name in baseline]
    for attempt in range(attempts):
        failing = [metric for metric in compared if worse(metric, best[metric.name], baseline[metric.name])]
        if not failing or attempt == attempts - 1:
            break
        for subject in dict.fromkeys(metric.subject for metric in failing):
            repeated = measure_again(subject)
            for metric in failing:
                if metric.subject == subject:
                    best[metric.name] = better_of(metric, best[metric.name], repeated[metric.name])
    return {metric.name: best[metric.name] for metric in failing} if compared else {}
