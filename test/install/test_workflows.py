"""The workflows in .github/: only the job that uploads may publish, and every action is pinned by its commit."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from support.requirements import require_module

ROOT = Path(__file__).resolve().parents[2]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").iterdir())
FORMS = sorted(path for path in (GITHUB / "ISSUE_TEMPLATE").iterdir() if path.name != "config.yml")


def load(path: Path) -> dict[Any, Any]:
    yaml = require_module("yaml", package="PyYAML", not_tested="workflows")
    content = yaml.safe_load(path.read_text("utf-8"))
    assert isinstance(content, dict)
    return content


def jobs(path: Path) -> dict[str, dict[str, Any]]:
    content: dict[str, dict[str, Any]] = load(path)["jobs"]
    return content


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_commit_and_name_their_version(path: Path) -> None:
    used = re.findall(r"uses: (.+)", path.read_text("utf-8"))
    assert used
    for action in used:
        assert action.startswith("$/") or re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_jobs_have_only_the_rights_that_they_name(path: Path) -> None:
    assert load(path)["permissions"] == {}
    for name, job in jobs(path).items():
        expected = {"id-token": "write"} if name == "publish" else {"contents": "read"}
        assert job["permissions"] == expected, name


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_name_no_secret_and_leave_no_credentials(path: Path) -> None:
    assert "secrets" not in path.read_text("utf-8")
    for job in jobs(path).values():
        for step in job.get("steps", []):
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False


def test_pull_requests_run_the_same_script_as_elsewhere() -> None:
    workflow = load(GITHUB / "workflows" / "ci.yml")
    # YAML 1.1 reads the key `on` as a boolean.
    assert {"pull_request", "workflow_call"} <= workflow[True].keys()
    commands = [step.get("run") for step in workflow["jobs"]["test"]["steps"]]
    assert "bash .ci/run" in commands


def test_each_supported_python_is_tested_and_documented() -> None:
    classifiers = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', (ROOT / "setup.py").read_text("utf-8"))
    steps = jobs(GITHUB / "workflows" / "ci.yml")["test"]["steps"]
    (installed,) = (step["with"]["python-version"] for step in steps if "setup-python" in step.get("uses", ""))
    assert sorted(installed.split()) == classifiers
    tox = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["tox"]
    assert tox["env_base"]["install"]["factors"] == [f"py{version.replace('.', '')}" for version in classifiers]
    page = (ROOT / "docs" / "versions.md").read_text("utf-8")
    assert f"At present these are {classifiers[0]} to {classifiers[-1]}." in page


def test_a_release_is_tested_checked_and_only_then_uploaded() -> None:
    release = jobs(GITHUB / "workflows" / "release.yml")
    assert load(GITHUB / "workflows" / "release.yml")[True] == {"push": {"tags": ["v[0-9]+.[0-9]+.[0-9]+"]}}
    build = [step["run"] for step in release["build"]["steps"] if "run" in step]
    assert build == ['make release-check TAG="$GITHUB_REF_NAME"', "make dist", "make check-dist"]
    assert set(release["publish"]["needs"]) == set(release) - {"publish"}
    upload = release["publish"]["steps"]
    assert [step["uses"].partition("@")[0] for step in upload] == [
        "actions/download-artifact",
        "pypa/gh-action-pypi-publish",
    ]
    assert upload[-1]["with"]["attestations"] is True
    assert not {"password", "user"} & upload[-1]["with"].keys()


def test_commands_of_workflows_exist_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for path in WORKFLOWS:
        assert set(re.findall(r"run: make ([a-z-]+)", path.read_text("utf-8"))) <= targets


def test_zizmor_finds_no_problem() -> None:
    program = shutil.which("zizmor", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("NOT TESTED: workflows, with zizmor (pip install zizmor)")
    process = subprocess.run(
        [program, "--offline", "--no-progress", "--strict-collection", str(GITHUB)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr


def test_tools_have_the_same_version_in_every_list() -> None:
    pins: dict[str, set[str]] = {}
    for path in (ROOT / "tools").glob("requirements-*.txt"):
        for name, version in re.findall(r"^([\w-]+)(?:\[.*])?==(\S+)$", path.read_text("utf-8"), re.MULTILINE):
            pins.setdefault(name, set()).add(version)
    for name, version in re.findall(r'"([\w-]+)==([\d.]+)"', (ROOT / "pyproject.toml").read_text("utf-8")):
        pins.setdefault(name, set()).add(version)
    assert pins["zizmor"]
    assert pins["pytest"]
    assert not {name: versions for name, versions in pins.items() if len(versions) > 1}


def test_new_versions_of_dependencies_wait_for_a_week() -> None:
    updates = load(GITHUB / "dependabot.yml")["updates"]
    assert {each["package-ecosystem"] for each in updates} == {"github-actions", "pip", "npm"}
    for update in updates:
        assert update["cooldown"]["default-days"] >= 7
        for pattern in update.get("directories", [update.get("directory")]):
            assert pattern == "/" or list(ROOT.glob(pattern.removeprefix("/"))), pattern


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_issue_forms_are_valid(path: Path) -> None:
    form = load(path)
    assert form["name"]
    assert form["description"]
    ids = [field["id"] for field in form["body"] if field["type"] != "markdown"]
    assert len(set(ids)) == len(ids)
    for field in form["body"]:
        assert field["type"] in {"markdown", "input", "textarea", "checkboxes"}
        assert field["attributes"].get("label") or field["type"] == "markdown"
