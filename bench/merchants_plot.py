"""Draw memory and time by the number of merchants as SVG, for light and dark pages. Both axes are logarithmic."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from merchants import CURVES, STEPS
from plot import STYLE, label_at

__all__ = ["svg"]

Point = Mapping[str, float]

WIDTH, HEIGHT = 960, 380
PANEL, TOP, BOTTOM = 380, 70, 320
# Left edge, title, key of a reading, factor to the unit, unit, lowest and highest power of ten.
PANELS = (
    (80, "Resident memory", "memory", 1e-3, "MB", -2, 3),
    (545, "CPU time, with one call for each", "cpu", 1.0, "s", -3, 2),
)
COLOURS = {"derived": "good", "independent": "spread-fill", "official": "bad"}


def svg(curves: Mapping[str, Sequence[Point]]) -> str:
    """The chart, with a line for each kind of client."""
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'role="img" aria-label="Memory and time by the number of merchants">',
        f"<style>{STYLE} .curve {{ fill: none; stroke-width: 2 }} .curve.good {{ stroke: #2f7d5b }} "
        ".curve.bad { stroke: #b3452c } .curve.spread-fill, .spread-fill { stroke: #4a7fc1; fill: none } "
        ".dot.spread-fill { fill: #4a7fc1 } .grid { stroke: #8c959f; stroke-opacity: 0.3 }</style>",
        f'<rect class="page" width="{WIDTH}" height="{HEIGHT}" rx="6"/>',
        label_at(16, 30, "A client for each merchant in one process", "title"),
        label_at(16, 50, "By the number of merchants, without the first client; lower is better", "soft"),
    ]
    for panel in PANELS:
        out += _panel(panel, curves)
    return "\n".join([*out, "</svg>", ""])


def _panel(panel: tuple[int, str, str, float, str, int, int], curves: Mapping[str, Sequence[Point]]) -> list[str]:
    left_edge, title, key, factor, unit, lowest, highest = panel
    powers = math.log10(STEPS[-1])

    def x(merchants: float) -> float:
        return left_edge + PANEL * math.log10(merchants) / powers

    def y(value: float) -> float:
        part = (math.log10(max(value, 10.0**lowest)) - lowest) / (highest - lowest)
        return BOTTOM - (BOTTOM - TOP - 30) * part

    out = [label_at(left_edge, TOP, title, "head")]
    for power in range(lowest, highest + 1):
        height = y(10.0**power)
        out.append(
            f'<line class="grid" x1="{left_edge}" x2="{left_edge + PANEL}" y1="{height:.1f}" y2="{height:.1f}"/>'
        )
        out.append(label_at(left_edge - 8, int(height) + 4, f"{10.0**power:g} {unit}", "soft", "end"))
    out += [label_at(int(x(step)), BOTTOM + 20, f"{step:,}", "soft", "middle") for step in STEPS]
    for kind, label in CURVES.items():
        points = [(x(each["merchants"]), y(each[key] * factor)) for each in curves.get(kind, ())]
        if not points:
            continue
        line = " ".join(f"{across:.1f},{up:.1f}" for across, up in points)
        out.append(f'<polyline class="curve {COLOURS[kind]}" points="{line}"/>')
        out += [f'<circle class="dot {COLOURS[kind]}" cx="{a:.1f}" cy="{b:.1f}" r="3"/>' for a, b in points]
        x_mark, y_mark = left_edge + 10, TOP + 26 + 18 * list(CURVES).index(kind)
        out.append(f'<rect class="dot {COLOURS[kind]}" x="{x_mark}" y="{y_mark}" width="10" height="10"/>')
        out.append(label_at(x_mark + 16, y_mark + 10, label))
    return out
