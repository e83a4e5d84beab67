"""tools/mutation: how mutants are created, named, sampled and matched with tests, and the list of equivalents."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from support.paths import ROOT

SOURCE = '''\
"""A module."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from a import b as c

__all__ = ["Card"]

T = TypeVar("T")
LIMIT: Final = 10


class Card:
    """A card."""

    @cached_property
    def valid(self) -> bool:
        return self.length < LIMIT

    def check(self, number: str, limit: int = 3) -> None:
        if len(number) > limit:
            raise ValueError("must be short", "number")
'''


@pytest.fixture
def create(tmp_path: Path) -> Any:
    """Creates the mutants of a source, as pairs of lines before and after."""
    pytest.importorskip("mutmut", reason="NOT TESTED: needs mutmut (pip install -r tools/requirements-mutate.txt)")
    from mutation.operators import create

    def run(source: str) -> list[Any]:
        (tmp_path / "module.py").write_text(source, "utf-8")
        return create(tmp_path, "module.py")

    return run


def changes(mutants: list[Any]) -> dict[tuple[str, str], str]:
    return {(mutant.removed, mutant.added): mutant.function for mutant in mutants}


def test_limits_comparisons_and_arguments_are_mutated_in_decorated_functions_and_outside_of_functions_too(
    create: Any,
) -> None:
    found = changes(create(SOURCE))

    for removed, added, function in (
        ("LIMIT: Final = 10", "LIMIT: Final = 11", ""),
        ("return self.length < LIMIT", "return self.length <= LIMIT", "Card.valid"),
        ("if len(number) > limit:", "if len(number) >= limit:", "Card.check"),
        (
            "def check(self, number: str, limit: int = 3) -> None:",
            "def check(self, number: str, limit: int = 4) -> None:",
            "Card.check",
        ),
        (
            'raise ValueError("must be short", "number")',
            'raise ValueError("must be short", "XXnumberXX")',
            "Card.check",
        ),
    ):
        assert found[removed, added] == function


@pytest.mark.parametrize("unchanged", ["A card", "__all__", "TypeVar", "import b", "XXmust be short", "bool:"])
def test_docstrings_wording_types_and_exports_are_not_mutated(create: Any, unchanged: str) -> None:
    assert not [added for _, added in changes(create(SOURCE)) if unchanged in added and "class" not in added]


def test_each_mutant_is_one_change_that_compiles(create: Any) -> None:
    for mutant in create(SOURCE):
        changed = mutant.apply(SOURCE)
        ast.parse(changed)
        assert changed != SOURCE
        assert len([1 for a, b in zip(SOURCE.split("\n"), changed.split("\n"), strict=True) if a != b]) == 1


def test_a_mutant_keeps_its_name_when_lines_move_or_other_functions_change(create: Any) -> None:
    moved = SOURCE.replace('"""A module."""', '"""A module.\n\nWith more words.\n"""').replace("= 10", "= 20")

    before, after = ({mutant.identifier: mutant.line for mutant in create(source)} for source in (SOURCE, moved))

    changed = [before[name] for name in before.keys() - after.keys()]
    assert set(changed) == {SOURCE[: SOURCE.index("LIMIT")].count("\n") + 1}


def test_equal_changes_in_one_function_are_numbered(create: Any) -> None:
    mutants = create("def f(a):\n    a(1)\n    a(1)\n")

    assert sorted((mutant.added, mutant.number) for mutant in mutants) == [
        ("a(2)", 1),
        ("a(2)", 2),
        ("a(None)", 1),
        ("a(None)", 2),
    ]


@pytest.mark.parametrize(
    ("part", "statement", "function"),
    [
        ("LIMIT: Final", [], []),
        ("def check", [], [25, 26]),
        ("if len(number)", [25], [25, 26]),
        ("raise ValueError", [26], [25, 26]),
        ("return self.length", [22], [22]),
    ],
)
def test_a_mutant_is_covered_by_tests_of_its_statement_or_calls_of_its_function(
    part: str, statement: list[int], function: list[int]
) -> None:
    from mutation.mutants import lines_to_cover

    line = SOURCE[: SOURCE.index(part)].count("\n") + 1

    assert lines_to_cover(SOURCE, line) == (set(statement), set(function))


def test_every_group_has_a_share_of_a_sample() -> None:
    from mutation.sample import shares

    wanted = shares({"small": 50, "middle": 1000, "large": 5000}, 1500)

    assert wanted["small"] == 50
    assert 120 < wanted["middle"] < wanted["large"]
    assert 1500 <= sum(wanted.values()) < 1503


@pytest.fixture
def last_run() -> tuple[dict[str, list[Any]], dict[Any, Any]]:
    """The mutants of a group, and the results of the first four."""
    from mutation.mutants import Mutant, Result

    mutants = [Mutant("a.py", "f", "1", "2", number, 0, 1, "2", number) for number in range(1, 7)]
    outcomes = ("killed", "survived", "timeout", "survived")
    return {"jose": mutants}, {mutant: Result(outcome) for mutant, outcome in zip(mutants, outcomes, strict=False)}


def test_only_survivors_of_the_last_run_are_tested_again(last_run: Any) -> None:
    from mutation.sample import repeated

    mutants, previous = last_run
    first, second, third, fourth, *_ = mutants["jose"]
    chosen, kept = repeated(mutants, previous, None)
    assert chosen == {"jose": [first, second, third, fourth]}
    assert kept == {first: previous[first], third: previous[third]}


def test_mutants_with_these_ids_are_tested_and_the_other_results_are_kept(last_run: Any) -> None:
    from mutation.sample import repeated

    mutants, previous = last_run
    first, second, third, fourth, fifth, _ = mutants["jose"]
    chosen, kept = repeated(mutants, previous, [first.identifier, fifth.identifier])
    assert chosen == {"jose": [first, second, third, fourth, fifth]}
    assert kept == {mutant: previous[mutant] for mutant in (second, third, fourth)}
    with pytest.raises(ValueError, match="no mutant has the id 0123456789;"):
        repeated(mutants, previous, [first.identifier, "0123456789"])


def test_modules_named_by_the_groups_exist() -> None:
    from mutation.sample import GROUPS, modules

    for group in GROUPS:
        assert modules(ROOT, group)
        assert all((ROOT / name).is_file() for name in modules(ROOT, group))


def test_the_page_for_contributors_lists_the_groups() -> None:
    from mutation.sample import GROUPS

    page = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    table = page.partition("| Group | Modules |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(\w+)`(?=[^|]*\|[^|]*\|$)", table, re.MULTILINE)) == set(GROUPS)


def test_a_file_that_cannot_be_run_is_reported(tmp_path: Path) -> None:
    pytest.importorskip("coverage", reason="NOT TESTED: needs coverage (pip install -r tools/requirements-mutate.txt)")
    pytest.importorskip("resource", reason="NOT TESTED: this system has no fork")
    from mutation.runner import record_coverage

    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "module.py").write_text("x = 1\n", "utf-8")
    (tree / "test_broken.py").write_text("import module\nimport no_such_module\n", "utf-8")
    assert record_coverage([tree], tmp_path, ["module.py"], ["test_broken.py"], keep=False) == ["test_broken.py"]


def test_a_mutant_that_never_ends_is_noticed_and_an_equivalent_one_does_not_count() -> None:
    from mutation.report import score

    assert score({"killed": 90, "timeout": 5, "survived": 5, "equivalent": 30}) == 95


def test_an_equivalent_needs_a_reason(tmp_path: Path) -> None:
    from mutation.report import read_equivalents

    entry = '[[equivalent]]\nfile = "a.py"\nfunction = "f"\nremoved = "1"\nadded = "2"\nreason = "{}"\n'
    path = tmp_path / "list.toml"
    path.write_text(entry.format("same value"), "utf-8")
    assert read_equivalents(path) == {("a.py", "f", "1", "2", 1): "same value"}

    path.write_text(entry.format(" "), "utf-8")
    with pytest.raises(ValueError, match=r"list\.toml: a\.py, f: .*reason"):
        read_equivalents(path)


def test_each_equivalent_of_our_list_is_about_lines_that_exist() -> None:
    from mutation.report import EQUIVALENTS, read_equivalents

    for file, _, removed, _, _ in read_equivalents(ROOT / EQUIVALENTS):
        lines = [line.strip() for line in (ROOT / file).read_text("utf-8").splitlines()]
        assert f"\n{removed}\n" in "\n".join(["", *lines, ""]), (file, removed)
