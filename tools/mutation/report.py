"""Write the score of each group of modules, and the mutants that no test noticed."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from mutation.mutants import Mutant, Result

EQUIVALENTS = "test/mutation/equivalent.toml"

Key = tuple[str, str, str, str, int]


def read_equivalents(path: Path) -> dict[Key, str]:
    """The mutants that change nothing that anyone can observe, with the reason of each.

    Raises:
        ValueError: an entry has no reason.
    """
    reasons: dict[Key, str] = {}
    if not path.exists():
        return reasons
    for entry in tomllib.loads(path.read_text("utf-8")).get("equivalent", ()):
        if not entry.get("reason", "").strip():
            raise ValueError(f"{path.name}: {entry['file']}, {entry['function']}: an entry needs a reason")
        for number in entry.get("numbers", [1]):
            key = (entry["file"], entry["function"], entry["removed"], entry["added"], number)
            reasons[key] = entry["reason"]
    return reasons


def outcomes(results: Mapping[Mutant, Result], equivalents: Mapping[Key, str]) -> Counter[str]:
    """How many mutants were killed, timed out or survived, and how many of those that survived are equivalent."""
    return Counter(
        "equivalent" if result.outcome == "survived" and mutant.key in equivalents else result.outcome
        for mutant, result in results.items()
    )


def score(counts: Mapping[str, int]) -> float:
    """The share of non-equivalent mutants that a test noticed, in percent. A run without an end is noticed too."""
    noticed = counts.get("killed", 0) + counts.get("timeout", 0)
    return 100 * noticed / max(1, noticed + counts.get("survived", 0))


def save(folder: Path, chosen: Mapping[str, list[Mutant]], results: Mapping[Mutant, Result]) -> None:
    """Write every result as JSON."""
    (folder / "results.json").write_text(
        json.dumps(
            [
                {
                    "group": group,
                    "id": mutant.identifier,
                    **{
                        name: getattr(mutant, name)
                        for name in ("file", "line", "function", "removed", "added", "number")
                    },
                    **dataclasses.asdict(results[mutant]),
                }
                for group, some in chosen.items()
                for mutant in some
                if mutant in results
            ],
            indent=1,
        ),
        "utf-8",
    )


def read(folder: Path, chosen: Mapping[str, list[Mutant]]) -> dict[Mutant, Result]:
    """The results that ``save`` wrote, of mutants that still exist."""
    path = folder / "results.json"
    entries = {entry["id"]: entry for entry in json.loads(path.read_text("utf-8"))} if path.exists() else {}
    names = [field.name for field in dataclasses.fields(Result)]
    return {
        mutant: Result(**{name: entries[mutant.identifier][name] for name in names})
        for some in chosen.values()
        for mutant in some
        if mutant.identifier in entries
    }


def write(
    folder: Path,
    chosen: Mapping[str, list[Mutant]],
    mutants: Mapping[str, list[Mutant]],
    results: Mapping[Mutant, Result],
    equivalents: Mapping[Key, str],
    heading: str,
) -> str:
    """Write the report and return its table."""
    save(folder, chosen, results)
    lines = [
        "| Group | Mutants | Tested | Killed | Timeout | Survived | Equivalent | Score |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    total: Counter[str] = Counter()
    for group, some in chosen.items():
        counts = outcomes({mutant: results[mutant] for mutant in some if mutant in results}, equivalents)
        counts["mutants"], counts["tested"] = len(mutants[group]), len(some)
        lines.append(_row(group, counts))
        total += counts
    lines.append(_row("all", total))
    survivors = [
        f"### {mutant.file}:{mutant.line} `{mutant.function}` ({mutant.identifier})\n\n"
        f"```diff\n{_diff(mutant)}\n```\n\n"
        f"{result.why or f'{result.ran} tests passed'}\n"
        for mutant, result in sorted(results.items(), key=lambda item: (item[0].file, item[0].line))
        if result.outcome == "survived" and mutant.key not in equivalents
    ]
    known = {mutant.key for some in mutants.values() for mutant in some}
    files = {mutant.file for some in mutants.values() for mutant in some}
    stale = [key for key in equivalents if key not in known and key[0] in files]
    noticed = [m for m, result in results.items() if result.outcome != "survived" and m.key in equivalents]
    page = [f"# Mutation testing\n\n{heading}\n", *lines, "\n## Survivors\n", *(survivors or ["None.\n"])]
    if stale:
        page += ["## Entries of the list of equivalents that match no mutant\n", *(f"- {key}" for key in stale), ""]
    if noticed:
        page += ["## Mutants in that list that a test noticed\n"]
        page += [f"- {m.file}:{m.line} {results[m].outcome} by {results[m].by}\n  {_diff(m)!r}" for m in noticed]
    (folder / "report.md").write_text("\n".join(page), "utf-8")
    return "\n".join(lines)


def _row(name: str, counts: Mapping[str, int]) -> str:
    columns = ("mutants", "tested", "killed", "timeout", "survived", "equivalent")
    return f"| {name} | " + " | ".join(str(counts[column]) for column in columns) + f" | {score(counts):.1f} % |"


def _diff(mutant: Mutant) -> str:
    return "\n".join(
        f"{sign} {line}" for sign, text in (("-", mutant.removed), ("+", mutant.added)) for line in text.split("\n")
    )
