"""Run the benchmarks, print a table, and on request write the results or compare them with the baseline.

    python bench/run.py                    everything
    python bench/run.py call startup       two subjects
    python bench/run.py --check            fail if a ratio is worse than bench/baseline.json by more than 20 %
    python bench/run.py --write            write bench/results/: latest.md, .svg and .json, and merchants.svg
    python bench/run.py --accept           write the measured ratios to bench/baseline.json

The environments of the other SDKs are created under .bench/.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import bulk_processes
import calls
import concurrency
import event_loop
import footprint
import merchants
import merchants_plot
import plot
import primitives
import report
from measure import Reading
from metrics import METRICS, SUBJECTS
from regression import SLACK, better_of, check, limit

HERE = Path(__file__).resolve().parent
BASELINE, RESULTS = HERE / "baseline.json", HERE / "results"

MEASURE: dict[str, Callable[[], dict[str, Reading]]] = {
    "call": calls.measure_calls,
    "round_trip": calls.measure_round_trip,
    "parallel": concurrency.measure_threads,
    "asynchronous": concurrency.measure_tasks,
    "event_loop": event_loop.measure_blocks,
    "merchants": merchants.measure_merchants,
    "distributed": bulk_processes.measure_distributed,
    "startup": footprint.measure_startup,
    "memory": footprint.measure_memory,
    "size": footprint.measure_size,
    "signing": primitives.measure_signing,
    "verification": primitives.measure_verification,
}


def measure(subject: str) -> dict[str, Reading]:
    started = time.monotonic()
    readings: dict[str, Reading] = MEASURE[subject]()
    print(f"{subject}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    expected = {metric.name for metric in METRICS if metric.subject == subject}
    if set(readings) != expected:
        raise RuntimeError(f"{subject} measured {sorted(readings)}, but metrics.py lists {sorted(expected)}")
    return readings


def compare_with_baseline(readings: dict[str, Reading]) -> int:
    """Compare the readings with the baseline. A reading that is measured again is replaced if the new one is better."""
    by_name = {metric.name: metric for metric in METRICS}
    baseline = json.loads(BASELINE.read_text("utf-8"))["ratios"]

    def again(subject: str) -> dict[str, float]:
        print(f"{subject} is worse than the baseline; measuring again", file=sys.stderr)
        repeated = measure(subject)
        for name, reading in repeated.items():
            old, new = readings[name].value.median, reading.value.median
            if better_of(by_name[name], old, new) == new:
                readings[name] = reading
        return {name: reading.value.median for name, reading in repeated.items()}

    values = {name: reading.value.median for name, reading in readings.items()}
    failed = check(METRICS, values, baseline, again)
    for name, value in failed.items():
        metric = by_name[name]
        print(
            f"{name}: {metric.what} is {value:.3g} of {metric.peer}, was {baseline[name]:.3g}; "
            f"the limit is {limit(metric, baseline[name]):.3g}",
            file=sys.stderr,
        )
    compared = sum(1 for metric in METRICS if metric.name in values and metric.name in baseline)
    print(f"{compared - len(failed)} of {compared} ratios are at most {SLACK:.0%} worse than the baseline")
    return int(bool(failed))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="run.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("subjects", nargs="*", metavar="subject", help=f"{', '.join(SUBJECTS)}; all without one")
    parser.add_argument("--check", action="store_true", help="fail where a ratio is worse than the baseline")
    parser.add_argument("--write", action="store_true", help="write bench/results/")
    parser.add_argument("--accept", action="store_true", help="write bench/baseline.json")
    options = parser.parse_args(arguments)
    unknown = set(options.subjects) - set(SUBJECTS)
    if unknown:
        parser.error(f"unknown subject {', '.join(sorted(unknown))}; the subjects are {', '.join(SUBJECTS)}")
    subjects = options.subjects or list(SUBJECTS)
    if set(subjects) != set(SUBJECTS) and (options.write or options.accept):
        parser.error("--write and --accept need all subjects")
    readings: dict[str, Reading] = {}
    for subject in subjects:
        readings |= measure(subject)
    failed = compare_with_baseline(readings) if options.check else 0
    print(report.tables(readings))
    if options.write:
        facts = report.facts()
        RESULTS.mkdir(exist_ok=True)
        _write(RESULTS / "latest.md", report.page(readings, facts))
        _write(RESULTS / "latest.json", report.data(readings, facts))
        _write(RESULTS / "latest.svg", plot.svg(readings))
        _write(RESULTS / "merchants.svg", merchants_plot.svg(merchants.measure_curves()))
    if options.accept:
        _write(BASELINE, report.baseline(readings))
    return failed


def _write(path: Path, content: str) -> None:
    path.write_text(content, encoding="utf-8", newline="\n")
    print(f"wrote {path.relative_to(HERE.parent).as_posix()}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
