"""The page that tools/spec_report.py writes: the verdict, then why, then everything that was found and measured."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import report_api
import report_types
import report_wire
from report_cost import Cost
from verdict import Finding, Impact, Version, lowest, spelled, worst

_MEANING: Final = {
    Impact.NONE: "nothing that users can see",
    Impact.PATCH: "words alone, or what no program notices",
    Impact.MINOR: "something new; programs that worked go on working",
    Impact.MAJOR: "programs that worked may have to be changed",
}
_MOST: Final = 12


def page(
    *, base: str, versions: tuple[Version, Version], findings: list[Finding], checked: int, costs: list[Cost]
) -> str:
    """The page, in Markdown.

    Args:
        base: what the working tree was compared with, as it was named.
        versions: of then and of now.
        findings: everything that was found, from all sources.
        checked: how many files of the previous tests were checked.
        costs: everything that was measured.
    """
    wire, python, tests = (
        [finding for finding in findings if finding.source == source]
        for source in (report_wire.SOURCE, report_api.SOURCE, report_types.SOURCE)
    )
    parts = [
        f"# What changes for users since `{base}`",
        _verdict(versions, findings),
        *_reasons(findings),
        "## On the wire",
        _table(wire, "Where", "`openapi.yaml` says the same."),
        "## In Python",
        _table(python, "Name", "No public name, parameter or type changed."),
        "## The previous tests against the new code",
        f"mypy checked the {checked} files of `{base}` that use what is generated, with the code of then and with that "
        f"of now. New errors: {len(tests)}.",
        *([_table(tests, "Line", "")] if tests else []),
        "## What it costs",
        _costs(costs),
    ]
    return "\n\n".join(parts) + "\n"


def _verdict(versions: tuple[Version, Version], findings: list[Finding]) -> str:
    was, now = versions
    impact = worst(findings)
    allowed = lowest(was, impact)
    fits = "is enough" if now >= allowed else "is **too low**"
    lines = [
        f"- Kind of change: **{impact.word}** ({_MEANING[impact]})",
        f"- Lowest version allowed: **{spelled(allowed)}** after {spelled(was)}; `_version.py` says {spelled(now)}, "
        f"which {fits}",
        "- Found: " + ", ".join(f"{_count(findings, each)} {each.word}" for each in list(Impact)[:0:-1]),
    ]
    if was[0] == 0 and impact is not Impact.NONE:
        lines.append(
            "- Before 1.0.0 a major change asks for a new second number, a minor one or a patch for a new third"
        )
    return "\n".join(lines)


def _count(findings: Iterable[Finding], impact: Impact) -> int:
    return sum(finding.impact is impact for finding in findings)


def _reasons(findings: list[Finding]) -> list[str]:
    """The findings that the verdict stands on; the previous tests, which only confirm, where nothing else is there."""
    impact = worst(findings)
    if impact is Impact.NONE:
        return []
    gravest = [finding for finding in findings if finding.impact is impact]
    first = [finding for finding in gravest if finding.source != report_types.SOURCE] or gravest
    lines = [f"- {_code(finding.place)} ({finding.source}): {finding.what.rstrip('.')}" for finding in first[:_MOST]]
    if len(gravest) > len(lines):
        lines.append(f"- and {len(gravest) - len(lines)} more below")
    return [f"## Why {impact.word}", "\n".join(lines)]


def _table(findings: list[Finding], place: str, nothing: str) -> str:
    if not findings:
        return nothing
    rows = [
        f"| {finding.impact.word} | {_code(finding.place)} | {_sentence(finding.what)} |".replace("\n", " ")
        for finding in findings
    ]
    return "\n".join([f"| Kind | {place} | What |", "| --- | --- | --- |", *rows])


def _code(place: str) -> str:
    return f"`{place}`"


def _sentence(what: str) -> str:
    return what.replace("|", "\\|").rstrip(".")


def _costs(costs: list[Cost]) -> str:
    rows = [
        f"| {cost.what}, {cost.unit} | {cost.before:.2f} | {cost.after:.2f} | {cost.after / cost.before - 1:+.1%} |"
        for cost in costs
    ]
    head = ["| | Before | Now | |", "| --- | ---: | ---: | ---: |"]
    note = "Times are medians, both trees in turn in one run. A few percent up or down mean nothing."
    return "\n".join([*head, *rows]) + f"\n\n{note}"
