"""Draw the results as an SVG bar chart: each metric as a fraction of its target, for light and dark pages."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from measure import Reading
from metrics import METRICS, SUBJECTS
from regression import Metric, met
from report import share, target, value_of

__all__ = ["STYLE", "label_at", "svg"]

WIDTH, ROW, HEAD = 960, 24, 34
TOP, BOTTOM = 74, 20
# Where bars start, and where a bar that just meets the target ends.
LEFT, FULL = 430, 690
MOST = 1.3

# Page, bands, text, secondary text, target met, target missed, line at the target.
LIGHT = ("#ffffff", "#f3f5f7", "#1f2328", "#59636e", "#2f7d5b", "#b3452c", "#8c959f")
DARK = ("#0d1117", "#161b22", "#e6edf3", "#9198a1", "#4cb58a", "#e5785f", "#6e7681")


def _colours(page: str, band: str, ink: str, soft: str, good: str, bad: str, line: str) -> str:
    return (
        f".page {{ fill: {page} }} .band {{ fill: {band} }} text {{ fill: {ink} }} text.soft {{ fill: {soft} }} "
        f".good {{ fill: {good} }} .bad {{ fill: {bad} }} .target {{ stroke: {line} }} .spread {{ stroke: {ink} }}"
    )


STYLE = f"""
  text {{ font: 13px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif }}
  text.title {{ font-size: 16px; font-weight: 600 }} text.head {{ font-weight: 600 }}
  .target {{ stroke-dasharray: 4 3 }} .spread {{ stroke-width: 1.5 }}
  {_colours(*LIGHT)}
  @media (prefers-color-scheme: dark) {{ {_colours(*DARK)} }}
"""


def svg(readings: Mapping[str, Reading]) -> str:
    """The chart, with a bar for each measured metric that has a target."""
    out: list[str] = []
    y = TOP
    for subject, title in SUBJECTS.items():
        chosen = [m for m in METRICS if m.subject == subject and m.target is not None and m.name in readings]
        if not chosen:
            continue
        out.append(label_at(16, y + 22, title, "head"))
        y += HEAD
        for number, metric in enumerate(chosen):
            if number % 2 == 0:
                out.append(f'<rect class="band" x="8" y="{y}" width="{WIDTH - 16}" height="{ROW}" rx="3"/>')
            out += _bar(y, metric, readings[metric.name])
            y += ROW
    height = y + BOTTOM
    frame = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'role="img" aria-label="Each metric as a fraction of its target; shorter is better">',
        f"<style>{STYLE}</style>",
        f'<rect class="page" width="{WIDTH}" height="{height}" rx="6"/>',
        label_at(16, 30, "Every metric as a fraction of its target", "title"),
        label_at(16, 50, "Shorter is better; the thin line spans 80 % of the rounds", "soft"),
        label_at(FULL, TOP - 8, "target", "soft", "middle"),
    ]
    line = f'<line class="target" x1="{FULL}" x2="{FULL}" y1="{TOP}" y2="{height - 10}"/>'
    return "\n".join([*frame, *out, line, "</svg>", ""])


def _bar(y: int, metric: Metric, reading: Reading) -> list[str]:
    low, middle, high = sorted(_x(share(metric, getattr(reading.value, name))) for name in ("low", "median", "high"))
    middle = _x(share(metric, reading.value.median))
    verdict = "good" if met(metric, reading.value.median) else "bad"
    parts = [
        label_at(28, y + 16, metric.what),
        label_at(LEFT - 12, y + 16, metric.peer, "soft", "end"),
        f'<rect class="{verdict}" x="{LEFT}" y="{y + 6}" width="{middle - LEFT:.1f}" height="{ROW - 12}" rx="2"/>',
    ]
    if high - low > 1:
        parts.append(f'<line class="spread" x1="{low:.1f}" x2="{high:.1f}" y1="{y + ROW / 2}" y2="{y + ROW / 2}"/>')
    value = value_of(metric, reading.value)
    parts.append(label_at(WIDTH - 16, y + 16, f"{value}  ({target(metric)})", "", "end"))
    return parts


def _x(part: float) -> float:
    return LEFT + (FULL - LEFT) * min(max(part, 0.0), MOST)


def label_at(x: int, y: int, label: str, kind: str = "", anchor: str = "") -> str:
    anchor = f' text-anchor="{anchor}"' if anchor else ""
    named = f' class="{kind}"' if kind else ""
    return f'<text x="{x}" y="{y}"{named}{anchor}>{escape(label)}</text>'
