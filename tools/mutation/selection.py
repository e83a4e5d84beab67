"""Select the tests that cover a mutant, those that say most about it first."""

from __future__ import annotations

import pickle
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mutation.mutants import lines_to_cover

# A test that takes longer is not used.
_SLOWEST = 20.0
# If fewer tests cover a statement, others of its module are run after them.
_FEW = 30


@dataclass(frozen=True)
class Selection:
    """Tests of one mutant, in their order, and the files to collect."""

    tests: tuple[str, ...]
    seconds: float
    complete: bool
    files: tuple[str, ...]


class CoverageMap:
    """The lines that each test runs."""

    def __init__(self, root: Path, data: Path) -> None:
        with open(data, "rb") as file:
            recorded = pickle.load(file)  # noqa: S301 - written by this tool
        self.root = root
        self.durations: dict[str, float] = recorded["durations"]
        self.failed: dict[str, str] = recorded["failed"]
        self._usable = {
            test for test, seconds in self.durations.items() if test not in self.failed and seconds <= _SLOWEST
        }
        users = {name: set(tests) & self._usable for name, tests in recorded["users"].items()}
        self._fixtures: dict[str, set[str]] = defaultdict(set)
        for name, tests in users.items():
            for test in tests:
                self._fixtures[test].add(name)
        self._lines: dict[str, dict[int, set[str]]] = {}
        self._total: dict[str, int] = defaultdict(int)
        for file_name, lines in recorded["lines"].items():
            # What a shared fixture runs is covered by all tests that use it.
            self._lines[file_name] = {
                line: (set(names) & self._usable).union(*(users.get(name, ()) for name in names))
                for line, names in lines.items()
            }
            for tests in self._lines[file_name].values():
                for test in tests:
                    self._total[test] += 1

    def covering(self, file: str, line: int) -> list[str]:
        """All tests that cover a mutant at a line, those that run the least besides its function first."""
        statement, function = _lines_to_cover(self.root / file, line)
        lines = self._lines.get(file, {})
        tests = self._union(lines, statement) or self._union(lines, function)
        if not statement and not function:
            tests = self._union(lines, lines)
        chosen = self._ranked(tests, lines, function)
        if len(chosen) < _FEW:
            # The statement may run when the module is imported, or once for all tests. Others of the module follow.
            chosen += self._ranked(self._union(lines, lines) - tests, lines, ())
        return chosen

    def _ranked(self, tests: set[str], lines: dict[int, set[str]], numbers: Collection[int]) -> list[str]:
        """Sort tests by the share of what they run that is in these lines, or if there are none, in the module."""
        weight: dict[str, int] = defaultdict(int)
        for number in numbers or lines:
            for test in lines.get(number, ()):
                weight[test] += 1
        return _interleaved(sorted(tests, key=lambda test: (-weight[test] / (self._total[test] + 50), test)))

    def select(
        self, file: str, line: int, *, count: int, files: int, seconds: float, fixture_seconds: float
    ) -> Selection:
        """The first tests of ``covering``, within limits of their number, their files and their time."""
        chosen: list[str] = []
        used: set[str] = set()
        fixtures: set[str] = set()
        total = preparation = 0.0
        candidates = self.covering(file, line)
        for test in candidates:
            name = test.partition("::")[0]
            needed = self._fixtures[test] - fixtures
            duration = self.durations[test]
            shared = sum(self.durations[each] for each in needed)
            if len(used | {name}) > files or total + duration > seconds or preparation + shared > fixture_seconds:
                continue
            chosen.append(test)
            fixtures |= needed
            used.add(name)
            total += duration
            preparation += shared
            if len(chosen) == count:
                break
        return Selection(tuple(chosen), total + preparation, len(chosen) == len(candidates), tuple(sorted(used)))

    @staticmethod
    def _union(lines: dict[int, set[str]], numbers: Iterable[int]) -> set[str]:
        return set().union(*(lines.get(number, set()) for number in numbers))


def _interleaved(tests: list[str]) -> list[str]:
    """One case of each parametrised test, then the second one of each, and so on."""
    groups: dict[str, list[str]] = defaultdict(list)
    for test in tests:
        groups[test.partition("[")[0]].append(test)
    ordered = list(groups.values())
    longest = max(map(len, ordered), default=0)
    return [group[index] for index in range(longest) for group in ordered if index < len(group)]


@cache
def _lines_to_cover(path: Path, line: int) -> tuple[set[int], set[int]]:
    return lines_to_cover(path.read_text("utf-8"), line)
