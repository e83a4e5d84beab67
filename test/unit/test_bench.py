"""The benchmarks' comparison with targets and the baseline. Nothing is measured here."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

import pytest

from support.modules import load_module
from support.paths import ROOT

BENCH = ROOT / "bench"


@pytest.fixture(scope="module")
def regression() -> ModuleType:
    return load_module(BENCH / "regression.py")


@pytest.mark.parametrize(
    ("better", "value", "target", "expected"),
    [
        ("lower", 1.25, 1.25, True),
        ("lower", 1.26, 1.25, False),
        ("higher", 0.95, 0.95, True),
        ("higher", 0.94, 0.95, False),
        ("lower", 9.0, None, None),
    ],
)
def test_a_target_is_met(
    regression: ModuleType, better: str, value: float, target: float | None, expected: bool | None
) -> None:
    assert regression.met(regression.Metric("a.b", "", "", target, better), value) is expected


@pytest.mark.parametrize(
    ("better", "baseline", "value", "expected"),
    [
        ("lower", 1.0, 1.19, False),
        ("lower", 1.0, 1.21, True),
        ("lower", 1.0, 0.2, False),
        ("higher", 1.2, 1.01, False),
        ("higher", 1.2, 0.99, True),
        ("higher", 1.2, 3.0, False),
    ],
)
def test_worse_by_more_than_a_fifth(
    regression: ModuleType, better: str, baseline: float, value: float, expected: bool
) -> None:
    assert regression.worse(regression.Metric("a.b", "", "", 1.0, better), value, baseline) is expected


def test_a_change_below_the_noise_is_not_worse(regression: ModuleType) -> None:
    metric = regression.Metric("a.b", "", "", 0.25, noise=0.05)
    assert not regression.worse(metric, 0.049, 0.005)
    assert not regression.worse(metric, 0.01, -0.01)
    assert regression.worse(metric, 0.056, 0.005)
    assert regression.worse(metric, 1.21, 1.0)


class Measurements:
    """Measures again: returns the given values in order, and records the subjects."""

    def __init__(self, *values: Mapping[str, float]) -> None:
        self.values = list(values)
        self.subjects: list[str] = []

    def __call__(self, subject: str) -> Mapping[str, float]:
        self.subjects.append(subject)
        return self.values.pop(0)


def test_a_passing_metric_is_not_measured_again(regression: ModuleType) -> None:
    metrics = [regression.Metric("call.a", "", "", 1.0)]
    again = Measurements()
    assert regression.check(metrics, {"call.a": 1.1}, {"call.a": 1.0}, again) == {}
    assert again.subjects == []


def test_noise_disappears_and_a_change_remains(regression: ModuleType) -> None:
    metrics = [regression.Metric(f"call.{name}", "", "", 1.0) for name in "ab"]
    metrics.append(regression.Metric("other.c", "", "", 1.0, "higher"))
    baseline = {"call.a": 1.0, "call.b": 1.0, "other.c": 1.0}
    again = Measurements(
        {"call.a": 1.1, "call.b": 1.6}, {"other.c": 0.7}, {"call.a": 9.0, "call.b": 1.4}, {"other.c": 0.75}
    )
    values = {"call.a": 1.3, "call.b": 1.5, "other.c": 0.5}
    assert regression.check(metrics, values, baseline, again, attempts=3) == {"call.b": 1.4, "other.c": 0.75}
    assert again.subjects == ["call", "other", "call", "other"]


def test_only_ratios_with_a_target_and_a_baseline_are_compared(regression: ModuleType) -> None:
    metrics = [
        regression.Metric("a.informs", "", "", None),
        regression.Metric("a.absolute", "", "", 1.0, unit="KB"),
        regression.Metric("a.ideal", "", "", 1.0, machine_dependent=True),
        regression.Metric("a.new", "", "", 1.0),
        regression.Metric("b.unmeasured", "", "", 1.0),
    ]
    values = {"a.informs": 9.0, "a.absolute": 9.0, "a.ideal": 9.0, "a.new": 9.0}
    baseline = {"a.informs": 1.0, "a.absolute": 1.0, "a.ideal": 1.0, "b.unmeasured": 1.0}
    assert regression.check(metrics, values, baseline, Measurements()) == {}
