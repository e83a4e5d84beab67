"""tools/not_tested.py: the list of skipped tests at the end of ``make test``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.modules import load_module
from support.paths import ROOT

REASON = "NOT TESTED: pages in a browser (Debian: apt-get install chromium)"
PACKAGE = "NOT TESTED: the site (pip install -r tools/requirements-site.txt)"
OTHER = "NOT TESTED against a real host: there are no credentials"


@pytest.fixture(scope="module")
def not_tested() -> Any:
    return load_module(ROOT / "tools" / "not_tested.py")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with two environments, one of which ran."""
    (tmp_path / "pyproject.toml").write_text('[tool.tox]\nenv_list = ["py313", "py399"]\n', encoding="utf-8")
    (tmp_path / ".tox" / "py313").mkdir(parents=True)
    return tmp_path


def write(root: Path, reasons: dict[str, int]) -> None:
    (root / ".tox" / "py313" / "not-tested.json").write_text(json.dumps(reasons), encoding="utf-8")


def test_reasons_and_environments_are_listed(not_tested: Any, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(root, {REASON: 3, OTHER: 1})
    assert not_tested.main({}, root) == 0
    output = capsys.readouterr().out
    assert f"py313: 3 tests: {REASON}\n" in output
    assert f"py313: 1 test: {OTHER}\n" in output
    assert "py399: did not run" in output


@pytest.mark.parametrize(
    ("reason", "variables", "failed"),
    [
        (REASON, {"CI": "true"}, True),
        (PACKAGE, {"CI": "true"}, True),
        (OTHER, {"CI": "true"}, False),
        (REASON, {}, False),
        (REASON, {"CI": "true", "CYBERSOURCE_FLEX_NOT_INSTALLABLE": "fish chromium"}, False),
        (REASON, {"CI": "true", "CYBERSOURCE_FLEX_NOT_INSTALLABLE": "fish"}, True),
    ],
)
def test_ci_fails_if_something_that_can_be_installed_is_missing(
    not_tested: Any,
    root: Path,
    reason: str,
    variables: dict[str, str],
    failed: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(root, {reason: 1})
    assert not_tested.main(variables, root) == failed
    assert ("must install what its tests need" in capsys.readouterr().err) == failed


def test_the_reasons_of_skipped_tests_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hook in test/conftest.py and the reasons of test/support/requirements.py fit together."""
    (tmp_path / "test_it.py").write_text(
        "from support.requirements import require_program\n"
        "def test_it(): require_program('no-such-program', package='nothing', not_tested='a thing')\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("TOX_ENV_DIR", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(ROOT), str(ROOT / "test"))))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "conftest", "-p", "no:cacheprovider", "test_it.py"]
    subprocess.run(command, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    reasons = json.loads((tmp_path / "not-tested.json").read_text(encoding="utf-8"))
    assert reasons == {"NOT TESTED: a thing (Debian: apt-get install nothing)": 1}
