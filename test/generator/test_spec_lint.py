"""tools/spec_lint.py: its findings, their places, and its behaviour without Node.js."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOKENS = "#/paths/~1flex~1v2~1tokens/post"

Change = Callable[[Any], object]
Lint = Callable[..., "tuple[int, str, str]"]


@pytest.fixture
def spec_lint(supported_openapi: Any) -> Any:
    import spec_lint

    return spec_lint


@pytest.fixture
def lint(spec_lint: Any, document: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Lint:
    """Runs the tool on a changed copy of openapi.yaml. Returns exit code, standard output and standard error."""
    import yaml

    def run(change: Change) -> tuple[int, str, str]:
        changed = copy.deepcopy(document)
        change(changed)
        file = tmp_path / "openapi.yaml"
        file.write_text(yaml.safe_dump(changed, sort_keys=False, allow_unicode=True), "utf-8")
        code = spec_lint.main([str(file)])
        return (code, *capsys.readouterr())

    return run


def post(document: Any) -> Any:
    return document["paths"]["/flex/v2/tokens"]["post"]


def without_example(body: Any) -> None:
    for media in body["content"].values():
        del media["examples"]


def without_error_schema(document: Any) -> None:
    post(document)["responses"] = {
        status: response for status, response in post(document)["responses"].items() if status.startswith("2")
    }


OWN: list[tuple[Change, str, str]] = [
    (lambda document: post(document).pop("operationId"), TOKENS, "supported"),
    (without_error_schema, f"{TOKENS}/responses", "error-schema"),
    (
        lambda document: without_example(post(document)["requestBody"]),
        f"{TOKENS}/requestBody/content/application~1jwt",
        "example",
    ),
    (
        lambda document: without_example(post(document)["responses"]["201"]),
        f"{TOKENS}/responses/201/content/application~1json",
        "example",
    ),
    (lambda document: post(document).update(callbacks={}), f"{TOKENS}/callbacks", "supported"),
]


@pytest.mark.parametrize(("change", "place", "rule"), OWN)
def test_our_rules_are_reported_with_place_and_rule(
    spec_lint: Any, document: Any, change: Change, place: str, rule: str
) -> None:
    import yaml

    changed = copy.deepcopy(document)
    change(changed)
    findings = spec_lint.project_findings(yaml.safe_dump(changed, sort_keys=False))
    assert (place, rule) in [(finding.place, finding.rule) for finding in findings]


def test_our_specification_has_no_findings(redocly: Any, lint: Lint) -> None:
    assert lint(lambda document: None) == (0, "spec-lint: nothing found\n", "")


def test_a_finding_of_redocly_is_reported_with_its_line(redocly: Any, lint: Lint, tmp_path: Path) -> None:
    def change(document: Any) -> None:
        document["components"]["responses"]["Unauthorized"]["content"]["application/json"]["examples"]["refused"][
            "value"
        ] = {"response": {"rmsg": 7}}

    code, output, _ = lint(change)
    assert code == 1
    (finding,) = [line for line in output.splitlines() if line.endswith("[no-invalid-media-type-examples]")]
    number = int(finding.split(":")[1])
    assert "rmsg: 7" in (tmp_path / "openapi.yaml").read_text("utf-8").splitlines()[number - 1]


def test_redocly_also_reports_an_operation_without_an_id(redocly: Any, lint: Lint) -> None:
    code, output, _ = lint(lambda document: post(document).pop("operationId"))
    assert code == 1
    assert "[operation-operationId]" in output


def test_a_file_that_is_not_a_document_is_one_finding(
    spec_lint: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    file = tmp_path / "broken.yaml"
    file.write_text("openapi: 3.0.3\npaths: [\n", "utf-8")
    assert spec_lint.main([str(file)]) == 1
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith("broken.yaml:3: #/: not readable as YAML")
    assert last == "spec-lint: 1 found"


@pytest.mark.parametrize(("ci", "code"), [("", 0), ("true", 1)])
def test_without_redocly_it_prints_a_note_and_fails_in_ci(
    spec_lint: Any, lint: Lint, monkeypatch: pytest.MonkeyPatch, ci: str, code: int
) -> None:
    monkeypatch.setattr("redocly.unavailable", lambda: "needs Node.js")
    monkeypatch.setenv("CI", ci)
    exit_code, _, errors = lint(lambda document: None)
    assert exit_code == code
    assert errors == "NOT TESTED with the rules of redocly: needs Node.js\n"


def test_a_missing_member_has_the_line_of_its_parent(spec_lint: Any) -> None:
    source = "a:\n  b/c:\n    - d: 1\n    - e: 2\n"
    lines = {
        place: spec_lint.line(source, place) for place in ("#/", "#/a", "#/a/b~1c/1/e", "#/a/b~1c/1/none", "#/x/y")
    }
    assert lines == {"#/": 1, "#/a": 1, "#/a/b~1c/1/e": 4, "#/a/b~1c/1/none": 4, "#/x/y": 1}
