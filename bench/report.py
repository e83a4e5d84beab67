"""Format the results as Markdown and JSON."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path

import peers
from measure import Reading, Spread
from metrics import METRICS, SUBJECTS
from regression import Metric, met

__all__ = ["baseline", "data", "facts", "number", "page", "share", "tables", "target", "value_of"]

OURS = ("cybersource-flex", "urllib3", "cryptography", "aiohttp")


def tables(readings: Mapping[str, Reading]) -> str:
    """One table for each subject that was measured."""
    parts = []
    for subject, title in SUBJECTS.items():
        rows = [_row(metric, readings[metric.name]) for metric in METRICS if _is_of(metric, subject, readings)]
        if rows:
            head = "| what | ours | compared with | its | ratio | 10 % to 90 % | target | met |"
            parts.append("\n".join([f"## {title}", "", head, "|---|---|---|---|---|---|---|---|", *rows]))
    return "\n\n".join(parts) + "\n"


def page(readings: Mapping[str, Reading], facts: Mapping[str, str]) -> str:
    lines = [
        "# Latest results",
        "",
        "Written by `make bench`. Medians; a ratio is the median of the ratios of single rounds. How it is measured:",
        "[bench/README.md](../README.md).",
        "",
        "![Every ratio as a fraction of its target](latest.svg)",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in facts.items()),
        "",
        tables(readings),
    ]
    return "\n".join(lines)


def data(readings: Mapping[str, Reading], facts: Mapping[str, str]) -> str:
    metrics = []
    for metric in METRICS:
        if metric.name in readings:
            reading = readings[metric.name]
            rounded = {
                name: {part: _round(value) for part, value in dataclasses.asdict(getattr(reading, name)).items()}
                for name in ("value", "ours", "peer")
            }
            metrics.append({**dataclasses.asdict(metric), **rounded, "of": reading.unit})
    return json.dumps({"facts": facts, "metrics": metrics}, indent=1) + "\n"


def baseline(readings: Mapping[str, Reading]) -> str:
    ratios = {metric.name: _round(readings[metric.name].value.median) for metric in METRICS if metric.in_baseline}
    return json.dumps({"python": platform.python_version(), "ratios": ratios}, indent=1) + "\n"


def facts() -> dict[str, str]:
    """The environment of the measurement, without the name or paths of the machine."""
    official, stock = peers.distributions(peers.official()), peers.distributions(peers.stock())
    versions = [f"{name} {importlib.metadata.version(name)}" for name in OURS]
    return {
        "Processor": f"{_processor()}, {os.cpu_count()} cores",
        "System": f"{platform.system()} {platform.machine()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "Here": ", ".join(versions),
        "Official SDK": ", ".join(
            f"{name} {official[name][0]}" for name in ("cybersource-rest-client-python", "urllib3-future")
        ),
        "Stock output": f"openapi-generator {importlib.metadata.version('openapi-generator-cli')}, "
        + ", ".join(f"{name} {stock[name][0]}" for name in ("pydantic", "urllib3")),
    }


def share(metric: Metric, value: float) -> float:
    """The value as a fraction of the target. 1 just meets the target; less is better."""
    assert metric.target is not None
    return value / metric.target if metric.better == "lower" else metric.target / value


def number(value: float) -> str:
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def target(metric: Metric) -> str:
    if metric.target is None:
        return ""
    return f"{'at most' if metric.better == 'lower' else 'at least'} {_value(metric, metric.target)}"


def value_of(metric: Metric, spread: Spread) -> str:
    """The median, with one more digit if it would look equal to a target that it misses."""
    value = spread.median
    formatted = _value(metric, value)
    if met(metric, value) is False and metric.target is not None and formatted == _value(metric, metric.target):
        return f"{value:.3f}"
    return formatted


def _value(metric: Metric, value: float) -> str:
    if metric.unit != "ratio":
        return f"{number(value)} {metric.unit}"
    # Small ratios are easier to read as fractions.
    return f"1/{1 / value:.0f}" if 0 < value < 0.1 else f"{value:.2f}"


def _row(metric: Metric, reading: Reading) -> str:
    verdict = {None: "", True: "yes", False: "NO"}[met(metric, reading.value.median)]
    ours, peer = (f"{number(each.median)} {reading.unit}" for each in (reading.ours, reading.peer))
    spread = f"{_value(metric, reading.value.low)} to {_value(metric, reading.value.high)}"
    value = value_of(metric, reading.value)
    if not metric.peer:
        peer, spread = "", ""
    return f"| {metric.what} | {ours} | {metric.peer} | {peer} | {value} | {spread} | {target(metric)} | {verdict} |"


def _is_of(metric: Metric, subject: str, readings: Mapping[str, Reading]) -> bool:
    return metric.subject == subject and metric.name in readings


def _round(value: float) -> float:
    return float(f"{value:.4g}")


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
