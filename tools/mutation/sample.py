"""What is mutated, the tests that are run, and which mutants a run tests."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from mutation.mutants import Mutant, Result

GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "jose": ("cybersource_flex/jose",),
    "auth": ("cybersource_flex/auth",),
    "model": ("cybersource_flex/_model.py", "cybersource_flex/_converters.py"),
    "emulator": ("cybersource_flex/emulator/auth", "cybersource_flex/emulator/operations"),
    "transport": ("cybersource_flex/transport",),
    "client": ("cybersource_flex/client",),
    "specification": ("tools/openapi",),
    "verdict": ("tools/comparison",),
}
SUITES: Final = ("test/unit", "test/vectors", "test/integration", "test/generator")
# They run subprocesses or wait for most of their time, and other tests cover the same modules.
_IGNORED: Final = (
    *(f"test/generator/test_{name}.py" for name in ("generate", "self_check", "spec_changes")),
    *(f"test/integration/test_{name}.py" for name in ("any_argument", "probe", "testing_plugin", "text_files")),
    *("test/integration/test_cli", "test/integration/emulator/test_connection_scenarios.py"),
    *("test/unit/test_bench.py", "test/unit/test_dependencies.py", "test/unit/test_cards.py"),
)

# A group has at least so many mutants in a sample.
_LEAST = 120


def modules(root: Path, group: str) -> list[str]:
    """The paths of a group's modules."""
    found: list[Path] = []
    for name in GROUPS[group]:
        path = root / name
        found += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return [path.relative_to(root).as_posix() for path in found]


def test_files(root: Path) -> list[str]:
    """The test files that are run."""
    files = (
        path.relative_to(root).as_posix() for suite in SUITES for path in sorted((root / suite).rglob("test_*.py"))
    )
    return [file for file in files if not file.startswith(_IGNORED)]


def shares(sizes: Mapping[str, int], total: int) -> dict[str, int]:
    """How many mutants of each group a sample of ``total`` has: in proportion, but not less than the minimum."""
    wanted = {group: min(size, _LEAST) for group, size in sizes.items()}
    rest = max(0, total - sum(wanted.values()))
    spare = {group: sizes[group] - wanted[group] for group in sizes}
    available = sum(spare.values())
    for group in sizes:
        # Rounded up, so that there are at least `total`.
        wanted[group] += min(spare[group], -(-rest * spare[group] // available)) if available else 0
    return wanted


def sample(mutants: Mapping[str, list[Mutant]], total: int, seed: int) -> dict[str, list[Mutant]]:
    """A pseudo-random part of each group's mutants, or all of them if ``total`` is 0."""
    if not total:
        return {group: list(some) for group, some in mutants.items()}
    wanted = shares({group: len(some) for group, some in mutants.items()}, total)
    return {
        group: sorted(some, key=lambda mutant: mutant.rank(seed))[: wanted[group]] for group, some in mutants.items()
    }


def repeated(
    mutants: Mapping[str, list[Mutant]], previous: Mapping[Mutant, Result], identifiers: Collection[str] | None
) -> tuple[dict[str, list[Mutant]], dict[Mutant, Result]]:
    """The mutants of a run that tests some of the last run again, and the results of the others, which are kept.

    Args:
        mutants: all mutants of each group.
        previous: the results of the last run.
        identifiers: the mutants to test, also if they were not part of the last run. Without it, those that survived.

    Raises:
        ValueError: no mutant has one of the identifiers.
    """
    if identifiers is None:
        again = {mutant for mutant, result in previous.items() if result.outcome == "survived"}
    else:
        again = {mutant for some in mutants.values() for mutant in some if mutant.identifier in identifiers}
        if unknown := set(identifiers) - {mutant.identifier for mutant in again}:
            raise ValueError(f"no mutant has the id {', '.join(sorted(unknown))}; .mutation/report.md lists survivors")
    chosen = {
        group: [mutant for mutant in some if mutant in previous or mutant in again] for group, some in mutants.items()
    }
    return chosen, {mutant: result for mutant, result in previous.items() if mutant not in again}
