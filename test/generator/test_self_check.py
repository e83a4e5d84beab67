"""tools/generation/self_check.py: faults of generated code, and hand-written modules that import what is gone."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest


@pytest.fixture(scope="module")
def copy(generated: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("self-check") / "project"
    shutil.copytree(generated("names"), folder)
    return folder


@pytest.fixture
def edit(copy: Path) -> Iterator[Callable[[str, str, str], None]]:
    """Changes a module of the package. The change is undone after the test."""
    before: dict[Path, bytes] = {}

    def change(path: str, old: str, new: str) -> None:
        file = copy / "cybersource_flex" / path
        content = before.setdefault(file, file.read_bytes())
        assert old.encode() in content
        file.write_bytes(content.replace(old.encode(), new.encode(), 1))

    yield change
    for file, content in before.items():
        file.write_bytes(content)


@pytest.mark.parametrize(
    ("path", "old", "new", "problem"),
    [
        ("models/names.py", "class Names(", "class Names2(", "cannot be imported"),
        ("models/__init__.py", '    "Lower",\n', "", "models: "),
        ("models/names.py", 'Field("_id"', 'Field("id2"', "fields of Names: "),
        ("api/void_api.py", "def post_void(", "def post_nothing(", "operations of VoidApi: "),
        ("aio/void_api.py", "async def get_void(", "async def post_void(", "operations of AsyncVoidApi: "),
        (
            "aio/__init__.py",
            '    "AsyncVoidApi",\n',
            "",
            "asynchronous API classes: 3 in the specification, 2 generated",
        ),
        ("models/names.py", "date_: date | None", "date_: Date | None", "models/names.py:"),
    ],
)
def test_a_fault_of_generated_code_is_reported(
    copy: Path, self_check: Any, edit: Any, path: str, old: str, new: str, problem: str
) -> None:
    edit(path, old, new)
    problems = self_check(copy).problems
    assert any(problem in line for line in problems), problems


@pytest.fixture
def passed(copy: Path, self_check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The generated code has passed the check. A check that runs again reports "checked"."""
    from generation import self_check as module

    assert self_check(copy).problems == []
    monkeypatch.setattr(module, "_import_problems", lambda *_: ["checked"])
    assert self_check(copy).problems == []


@pytest.mark.usefixtures("passed")
def test_a_passed_check_is_remembered_until_a_file_changes(copy: Path, self_check: Any, edit: Any) -> None:
    edit("models/names.py", '"""The model', '"""Another model')
    assert self_check(copy).problems == ["checked"]


@pytest.mark.usefixtures("passed")
def test_a_passed_check_is_remembered_until_a_module_moves_to_another_folder(copy: Path, self_check: Any) -> None:
    package = copy / "cybersource_flex"
    (package / "api" / "void_api.py").rename(package / "void_api.py")
    try:
        assert "checked" in self_check(copy).problems
    finally:
        (package / "void_api.py").rename(package / "api" / "void_api.py")


@pytest.mark.usefixtures("passed")
def test_a_passed_check_is_remembered_until_a_distribution_has_another_version(
    copy: Path, self_check: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Mypy(NamedTuple):
        name: str = "mypy"
        version: str = "99.0"

    monkeypatch.setattr("importlib.metadata.distributions", lambda: [Mypy()])
    assert self_check(copy).problems == ["checked"]


def test_what_is_not_installed_is_a_note(
    copy: Path, self_check: Any, edit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit("models/names.py", '"""The model', '"""Some model')
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = self_check(copy)
    assert result.problems == []
    assert [note.partition(":")[0] for note in result.notes] == [
        "NOT CHECKED that the modules can be imported",
        "NOT CHECKED with mypy",
    ]


def test_hand_written_modules_that_import_what_is_gone_are_listed(copy: Path, self_check: Any) -> None:
    (copy / "test").mkdir()
    (copy / "test" / "test_client.py").write_text(
        "import re\nfrom cybersource_flex.models import Lower, CardFields\n", "utf-8"
    )
    problems = self_check(copy, hand_written=True).problems
    names = "CaptureField, CaptureFields, CardFields"
    assert any(line.startswith("cybersource_flex/client/capture_fields.py:") and names in line for line in problems)
    api = "cybersource_flex.api.flex_api_api"
    flex_client = f"cybersource_flex/client/flex_client.py:11: imports FlexAPIApi, which {api} no longer contains"
    assert flex_client in problems
    assert "test/test_client.py:2: imports CardFields, which cybersource_flex.models no longer contains" in problems


def test_generate_fails_if_the_hand_written_modules_do_not_fit(project: Path, run: Any) -> None:
    specification = project / "openapi.yaml"
    specification.write_text(specification.read_text("utf-8").replace("Microform Integration", "Microform"), "utf-8")
    result = run("generate", self_check=True)
    assert result.returncode == 1
    assert "cybersource_flex/client/flex_client.py:" in result.stderr
    assert "imports MicroformIntegrationApi, which cybersource_flex.api" in result.stderr
    assert (project / "cybersource_flex" / "api" / "microform_api.py").is_file()
    assert "do not work" in result.stdout
