"""The ledger of assumptions: its references to code, its observations, and the pages that are generated from it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from datetime import date
from functools import cache
from pathlib import Path

import pytest

import cybersource_flex
from cybersource_flex.probe.ledger import CERTAINTIES, Assumption, Observation, load_ledger

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = Path(cybersource_flex.__file__).parent
LEDGER = load_ledger()


@cache
def defined_names(file: str) -> frozenset[str]:
    """The classes, functions and variables of a module, and the methods and attributes of its classes as Class.name."""
    names = set()

    def collect(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                names.add(prefix + node.name)
            elif isinstance(node, ast.ClassDef):
                names.add(prefix + node.name)
                collect(node.body, f"{prefix}{node.name}.")
            elif isinstance(node, (ast.Assign, ast.AnnAssign)):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names.update(prefix + target.id for target in targets if isinstance(target, ast.Name))

    collect(ast.parse((PACKAGE / file).read_text(encoding="utf-8")).body, "")
    return frozenset(names)


@pytest.mark.parametrize("assumption", LEDGER.assumptions, ids=lambda assumption: assumption.id)
def test_code_of_each_assumption_exists(assumption: Assumption) -> None:
    assert assumption.code, "an assumption on which no code depends is not needed"
    for reference in assumption.code:
        file, _, name = reference.partition(":")
        assert (PACKAGE / file).is_file(), f"{assumption.id}: there is no file {file}"
        assert name in defined_names(file), f"{assumption.id}: {file} does not define {name}"


@pytest.mark.parametrize("assumption", LEDGER.assumptions, ids=lambda assumption: assumption.id)
def test_each_assumption_is_complete(assumption: Assumption) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", assumption.id)
    assert assumption.certainty in CERTAINTIES
    assert assumption.source
    assert assumption.statement.endswith(".")
    assert assumption.if_wrong.endswith(".")
    assert len(set(assumption.code)) == len(assumption.code)


@pytest.mark.parametrize("observation", LEDGER.observations, ids=lambda observation: observation.id)
def test_each_observation_concerns_known_assumptions(observation: Observation) -> None:
    assert observation.assumptions
    assert set(observation.assumptions) <= {assumption.id for assumption in LEDGER.assumptions}
    assert observation.certainty in CERTAINTIES
    assert all((observation.request, observation.response, observation.published_in))
    assert observation.date is None or date.fromisoformat(observation.date)


def test_ids_are_unique_and_areas_contiguous() -> None:
    ids = [entry.id for entry in LEDGER.assumptions]
    assert len(set(ids)) == len(ids)
    assert len({entry.id for entry in LEDGER.observations}) == len(LEDGER.observations)
    areas = [entry.area for entry in LEDGER.assumptions]
    changes = [area for before, area in zip(["", *areas], areas, strict=False) if area != before]
    assert len(changes) == len(set(changes))


def test_missing_name_is_noticed() -> None:
    assert "JwtSigner._claims" in defined_names("auth/jwt.py")
    assert "JwtSigner._renamed" not in defined_names("auth/jwt.py")


def probe_pages(*options: str) -> subprocess.CompletedProcess[str]:
    tool = ROOT / "tools" / "probe_pages.py"
    return subprocess.run([sys.executable, str(tool), *options], capture_output=True, text=True, check=False)


def test_the_generated_pages_are_up_to_date() -> None:
    result = probe_pages("--check")
    assert result.returncode == 0, result.stderr


def test_an_unknown_option_does_not_write_the_pages() -> None:
    result = probe_pages("--chek-only")
    assert result.returncode == 2
    assert "unrecognized arguments: --chek-only" in result.stderr
