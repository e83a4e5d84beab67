"""tools/spec_report.py: the rating of each change, the version that it requires, and the page."""

from __future__ import annotations

import copy
import subprocess
from pathlib import Path
from typing import Any

import pytest

from support.requirements import require_module

Rated = dict[tuple[str, str], str]

MODELS = """
from typing import Literal, TypeAlias
from support.requirements import require_module

__all__ = ["Network", "Card", "pay"]

Network: TypeAlias = Literal["VISA"] | str


class Card:
    number: str | None
    month: str

    def __init__(self, *, number: str | None = None, month: str = "01") -> None: ...

    def to_dict(self) -> dict[str, object]: ...


def pay(card: Card, amount: int, times: int = 1) -> str: ...
"""


@pytest.fixture(scope="session")
def semver_impact(supported_openapi: Any) -> Any:
    from comparison import semver_impact

    return semver_impact


@pytest.fixture(scope="session")
def report(supported_openapi: Any) -> Any:
    """tools/spec_report.py, if its requirements are installed."""
    for module in ("griffe", "mypy"):
        require_module(module, package="-r tools/requirements-report.txt", not_tested="reports")
    import spec_report

    return spec_report


@pytest.mark.parametrize(
    ("before", "impact", "lowest"),
    [
        ((1, 2, 3), "NONE", (1, 2, 3)),
        ((1, 2, 3), "PATCH", (1, 2, 4)),
        ((1, 2, 3), "MINOR", (1, 3, 0)),
        ((1, 2, 3), "MAJOR", (2, 0, 0)),
        ((0, 2, 3), "PATCH", (0, 2, 4)),
        ((0, 2, 3), "MINOR", (0, 2, 4)),
        ((0, 2, 3), "MAJOR", (0, 3, 0)),
    ],
)
def test_the_lowest_version(semver_impact: Any, before: Any, impact: str, lowest: Any) -> None:
    assert semver_impact.lowest(before, semver_impact.Impact[impact]) == lowest


@pytest.mark.parametrize(
    ("changelog", "there"),
    [
        ("# Changelog\n\n## 0.2.0\n\n- A field.\n\n## 0.1.0\n\n- All.\n", True),
        ("## 0.2.0 (2026-11-30)\n- A field.\n", True),
        ("## [0.2.0] - 2026-11-30\n\n- A field.\n", True),
        ("## Unreleased\n\n- A field of 0.2.0.\n", False),
        ("## 0.2.0\n\n## 0.1.0\n\n- All.\n", False),
        ("## 0.2.0.1\n\n- A field.\n", False),
        ("## 10.2.0\n\n- A field.\n", False),
        ("", False),
    ],
)
def test_the_changelog_has_a_section_that_is_not_empty(semver_impact: Any, changelog: str, there: bool) -> None:
    assert semver_impact.has_section(changelog, (0, 2, 0)) is there


def rate_wire(document: Any, folder: Path, *changes: Any) -> Rated:
    import yaml

    from comparison import diff_openapi

    changed = copy.deepcopy(document)
    for change in changes:
        change(changed)
    files = folder / "before.yaml", folder / "after.yaml"
    for file, content in zip(files, (document, changed), strict=True):
        file.write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")
    return {(finding.place, finding.what): finding.impact.word for finding in diff_openapi.findings(*files)}


def test_no_change_is_no_finding(redocly: Any, document: Any, tmp_path: Path) -> None:
    assert rate_wire(document, tmp_path) == {}


def test_changes_on_the_wire_are_rated_for_users_of_this_client(redocly: Any, document: Any, tmp_path: Path) -> None:
    def change(document: Any) -> None:
        schemas, paths = document["components"]["schemas"], document["paths"]
        request = schemas["CardFields"]["properties"]
        request["secCode"] = request.pop("securityCode")
        del schemas["ShipToFields"]["properties"]["company"]
        schemas["CaptureField"]["properties"]["required"]["default"] = True
        schemas["JsonWebKey"]["description"] = "Another description."
        schemas["JsonWebKey"]["properties"]["kty"]["example"] = "RSA"
        paths["/flex/v2/tokens"]["post"]["deprecated"] = True
        paths["/flex/v2/tokens"]["post"]["x-retry-safe"] = True
        paths["/flex/v2/public-keys/{kid}"]["get"]["tags"] = ["Microform Integration"]
        schemas["GenerateCaptureContextRequest"]["properties"]["targetOrigins"]["maxItems"] = 5
        document["servers"][1]["x-environment"] = "live"

    assert rate_wire(document, tmp_path, change) == {
        ("CardFields.securityCode", "renamed to CardFields.secCode"): "major",
        ("ShipToFields.company", "field removed"): "major",
        ("CaptureField.required", "`default`: not set → `true`"): "minor",
        ("JsonWebKey", "`description` in other words"): "patch",
        ("JsonWebKey.kty", "`example` in other words"): "patch",
        ("POST /flex/v2/tokens", "`deprecated`: not set → `true`"): "minor",
        ("POST /flex/v2/tokens", "`x-retry-safe`: not set → `true`"): "minor",
        (
            "GET /flex/v2/public-keys/{kid}",
            "`tags` gained `Microform Integration` and lost `Flex API`",
        ): "major",
        (
            "GenerateCaptureContextRequest.targetOrigins",
            "`maxItems` of `targetOrigins` changed from '9' to '5'.",
        ): "major",
        ("environment production", "removed"): "major",
        ("environment live", "added: https://api.cybersource.com"): "minor",
    }


def test_new_operations_and_parameters_are_named(redocly: Any, document: Any, tmp_path: Path) -> None:
    path = "/flex/v2/public-keys/{kid}"
    trace = {"name": "trace", "in": "header", "schema": {"type": "string"}}
    start = copy.deepcopy(document)
    start["paths"][path]["parameters"] = [trace]

    def change(document: Any) -> None:
        item = document["paths"][path]
        item["parameters"][0]["description"] = "Another description."
        item["delete"] = {**copy.deepcopy(item["get"]), "operationId": "deletePublicKey"}
        item["get"]["parameters"].append({**trace, "name": "use", "in": "query"})

    assert rate_wire(start, tmp_path, change) == {
        (f"DELETE {path}", "operation added: deletePublicKey"): "minor",
        (f"GET {path} parameters 1", "parameter added: use in query"): "minor",
        (f"{path} parameters 0", "`description` in other words"): "patch",
    }


def test_an_enum_may_grow_and_shrink_because_any_other_value_is_accepted(
    redocly: Any, document: Any, tmp_path: Path
) -> None:
    start = copy.deepcopy(document)
    start["components"]["schemas"]["JsonWebKey"]["properties"]["kty"]["enum"] = ["RSA"]

    def change(document: Any) -> None:
        document["components"]["schemas"]["JsonWebKey"]["properties"]["kty"]["enum"].append("EC")
        document["components"]["schemas"]["CardNetwork"]["enum"].remove("KCP")

    assert rate_wire(start, tmp_path, change) == {
        ("JsonWebKey.kty", "Enum of `kty` gained values: 'EC'."): "minor",
        ("CardNetwork", "Enum of `CardNetwork` lost values: 'KCP'."): "minor",
    }


def tree(folder: Path, models: str = MODELS, version: str = "0.1.0") -> Path:
    """A small project with the structure of this one."""
    package = folder / "cybersource_flex"
    (package / "models").mkdir(parents=True)
    (folder / "test" / "typing").mkdir(parents=True)
    files = {
        "cybersource_flex/__init__.py": "__all__: list[str] = []\n",
        "cybersource_flex/_version.py": f'from typing import Final\n\n__version__: Final = "{version}"\n',
        "cybersource_flex/models/__init__.py": models,
        "cybersource_flex/py.typed": "",
        "setup.py": "from setuptools import setup\n\nsetup(name='small', packages=['cybersource_flex'])\n",
        "test/typing/usage.py": (
            "from cybersource_flex.models import Card, pay\n\n"
            "pay(Card(month='02'), 1).upper()\n"
            "pay('already wrong', 1)\n"
        ),
        "test/test_other.py": "import cybersource_flex.errors\n\n1 + ''\n",
        "CHANGELOG.md": f"# Changelog\n\n## {version}\n\n- Something.\n",
        "openapi.yaml": (
            "openapi: 3.0.3\ninfo: {title: Small, version: 1.0.0}\npaths: {}\ncomponents:\n  schemas:\n"
            "    Card: {type: object, properties: {month: {type: string}}}\n"
        ),
        ".gitignore": "ignored\nbuild/\n",
    }
    for name, content in files.items():
        (folder / name).write_text(content, "utf-8")
    return folder


def edited(*edits: tuple[str, str]) -> str:
    content = MODELS
    for old, new in edits:
        assert old in content
        content = content.replace(old, new)
    return content


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (("month: str\n", "month: str\n    year: str | None\n"), {("models.Card.year", "added"): "minor"}),
        (
            ("number: str | None\n", "number: int | None\n"),
            {("models.Card.number", "type: `str | None` → `int | None`"): "major"},
        ),
        (("number: str | None\n", "number: str\n"), {("models.Card.number", "type: `str | None` → `str`"): "minor"}),
        (("month: str =", "month: str | int ="), {("models.Card(month)", "type: `str` → `str | int`"): "minor"}),
        (("amount: int,", "amount: str,"), {("models.pay(amount)", "type: `int` → `str`"): "major"}),
        (
            ("times: int = 1) -> str", "times: int = 1) -> str | None"),
            {("models.pay()", "type: `str` → `str | None`"): "major"},
        ),
        (("times: int = 1", "times: int"), {("models.pay(times)", "Parameter is now required"): "major"}),
        (("times: int = 1", "times: int = 2"), {("models.pay(times)", "Parameter default was changed"): "minor"}),
        (
            ("times: int = 1", "times: int = 1, note: str = ''"),
            {("models.pay(note)", "optional parameter added"): "minor"},
        ),
        (
            ("times: int = 1", "note: str, times: int = 1"),
            {
                ("models.pay(note)", "Parameter was added as required"): "major",
                ("models.pay(times)", "Positional parameter was moved"): "major",
            },
        ),
        (('Literal["VISA"]', 'Literal["VISA", "ELO"]'), {("models.Network", "known values: gained 'ELO'"): "minor"}),
        (('"pay"]', "]"), {("models.pay", "removed"): "major"}),
        (("def to_dict", "def _to_dict"), {("models.Card.to_dict", "removed"): "major"}),
        (("class Card:", "class Card:\n    '''Now with words.'''\n\n    _hidden = 1\n"), {}),
        # Names that only a module's `__getattr__` creates cannot be found, and special names are not compared.
        (('"pay"]', '"pay", "created_later", "__note__"]\n\n__note__ = "n"'), {}),
    ],
)
def test_changes_of_the_python_api_are_rated(
    report: Any, tmp_path: Path, edit: tuple[str, str], expected: Rated
) -> None:
    from comparison import diff_python

    before, after = tree(tmp_path / "before"), tree(tmp_path / "after", edited(edit))
    assert {
        (finding.place, finding.what): finding.impact.word for finding in diff_python.findings(before, after)
    } == expected


def test_modules_that_no_package_exports_are_not_public(report: Any, tmp_path: Path) -> None:
    from comparison import diff_python

    before, after = tree(tmp_path / "before"), tree(tmp_path / "after")
    for folder, parameters in ((before, "a, b"), (after, "a")):
        (folder / "cybersource_flex" / "helpers.py").write_text(f"def help({parameters}): ...\n", "utf-8")
    assert diff_python.findings(before, after) == []


BASE_CLASS = ("class Card:\n    number: str | None\n", "class _Base:\n    number: str | None\n\n\nclass Card(_Base):\n")


def test_a_member_that_moves_to_a_base_class_is_not_removed(report: Any, tmp_path: Path) -> None:
    from comparison import diff_python

    method = ("    def to_dict(self) -> dict[str, object]: ...\n", "")
    base = (BASE_CLASS[0], BASE_CLASS[1].replace("None\n\n", f"None\n\n{method[0]}\n"))
    before, after = tree(tmp_path / "before"), tree(tmp_path / "after", edited(method, base))
    assert diff_python.findings(before, after) == []
    assert diff_python.findings(after, before) == []


def test_a_member_that_a_base_class_loses_is_removed_from_its_subclass(report: Any, tmp_path: Path) -> None:
    from comparison import diff_python

    before, after = tree(tmp_path / "before", edited(BASE_CLASS)), tree(tmp_path / "after")
    (after / "cybersource_flex" / "models" / "__init__.py").write_text(
        edited(BASE_CLASS, ("    number: str | None\n", "    pass\n")), "utf-8"
    )
    findings = diff_python.findings(before, after)
    assert [(finding.place, finding.what) for finding in findings] == [("models.Card.number", "removed")]


def test_models_in_one_direction_are_rated_by_what_programs_do_with_them(report: Any, tmp_path: Path) -> None:
    from comparison import diff_python

    before = tree(tmp_path / "before")
    looser = tree(tmp_path / "looser", edited(("    month: str\n", "    month: str | None\n")))
    stricter = tree(tmp_path / "stricter", edited(('month: str = "01"', "month: str")))

    def rate(after: Path, **usage: Any) -> set[str]:
        findings = diff_python.findings(before, after, diff_python.Usage(**usage))
        return {finding.impact.word for finding in findings}

    card = frozenset({"Card"})
    assert (rate(looser), rate(looser, written=card), rate(looser, read=card)) == ({"major"}, {"minor"}, {"major"})
    assert (rate(stricter), rate(stricter, written=card), rate(stricter, read=card)) == (
        {"major"},
        {"major"},
        {"minor"},
    )


def test_the_same_error_code_in_the_same_place_is_the_same_error(report: Any) -> None:
    from comparison.diff_python import new_errors

    earlier = [("a.py:1", "arg-type", 'expected "str"'), ("a.py:2", "attr-defined", "no number")]
    current = [
        ("a.py:1", "arg-type", 'expected "str | None"'),
        ("a.py:1", "call-arg", "too many"),
        ("a.py:2", "attr-defined", "no number"),
        ("a.py:2", "attr-defined", "no month"),
    ]
    assert new_errors(earlier, current) == [("a.py:1", "too many"), ("a.py:2", "no number")]


def test_the_previous_tests_report_new_type_errors_only(report: Any, tmp_path: Path) -> None:
    from comparison import diff_python

    models = edited(("month: str =", "month: int ="), ("-> str: ...", "-> int: ..."))
    findings, checked = diff_python.previous_test_findings(tree(tmp_path / "before"), tree(tmp_path / "after", models))
    assert checked == 1
    assert [(finding.place, finding.what.partition(" has ")[0]) for finding in findings] == [
        ("test/typing/usage.py:3", '"int"'),
        ("test/typing/usage.py:3", 'Argument "month" to "Card"'),
    ]


@pytest.fixture
def repository(report: Any, tmp_path: Path) -> Path:
    """The small project in git with the tag v0.1.0, and one more required field in the working tree."""
    folder = tree(tmp_path / "repository")
    git(folder, ["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "All"], ["tag", "v0.1.0"])
    change(folder / "cybersource_flex" / "models" / "__init__.py", 'month: str = "01"', "month: str")
    change(folder / "openapi.yaml", "properties: {month", "properties: {year: {type: string}, month")
    return folder


def git(folder: Path, *commands: list[str]) -> None:
    settings = ["-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"]
    for arguments in commands:
        subprocess.run(["git", *settings, "-c", "tag.gpgsign=false", *arguments], cwd=folder, check=True)


def change(file: Path, old: str, new: str) -> None:
    content = file.read_text("utf-8")
    assert old in content
    file.write_text(content.replace(old, new), "utf-8")


def test_the_trees_are_the_commit_and_the_working_tree(report: Any, repository: Path, tmp_path: Path) -> None:
    (repository / "ignored").write_text("", "utf-8")
    (repository / "new.txt").write_text("", "utf-8")
    (repository / "setup.py").unlink()
    before, after = tmp_path / "before", tmp_path / "after"
    report.export_commit(repository, "v0.1.0", before)
    report.export_working_tree(repository, after)
    assert "year" not in (before / "openapi.yaml").read_text("utf-8")
    assert "year" in (after / "openapi.yaml").read_text("utf-8")
    assert (before / "setup.py").is_file()
    assert sorted(path.name for path in after.iterdir() if path.is_file()) == [
        ".gitignore",
        "CHANGELOG.md",
        "new.txt",
        "openapi.yaml",
    ]


@pytest.mark.parametrize(("verb", "names_tag"), [("report", False), ("check", True)])
def test_a_missing_base_is_reported(
    report: Any, repository: Path, verb: str, names_tag: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        report.main([verb], repository)
    error = capsys.readouterr().err
    assert "name the commit to compare with (BASE=v0.1.0)" in error
    assert ("the new tag (TAG=v0.2.0)" in error) is names_tag


@pytest.mark.parametrize("base", ["", "no-such-tag", "--help"])
def test_a_base_that_is_not_a_commit_is_rejected(
    report: Any, repository: Path, base: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report.main(["report", f"--base={base}"], repository) == 1
    assert "BASE=" in capsys.readouterr().err
    assert not (repository / "build").exists()


def test_the_page_starts_with_the_verdict_and_its_reasons(
    redocly: Any, report: Any, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report.main(["report", "--base=v0.1.0"], repository) == 0
    output = capsys.readouterr().out
    assert output.startswith("spec-report: major; the page is ")
    content = (repository / "build" / "spec-report.md").read_text("utf-8")
    sections = [line for line in content.splitlines() if line.startswith("#")]
    assert sections == [
        "# What changes for users since `v0.1.0`",
        "## Why major",
        "## On the wire",
        "## In Python",
        "## The previous tests against the new code",
    ]
    assert "- Lowest version allowed: **0.2.0** after 0.1.0; `_version.py` says 0.1.0, which is **too low**" in content
    assert "- `models.Card(month)` (Python): Parameter is now required\n" in content
    assert "| minor | `Card.year` | field added |" in content
    assert "New errors: 0." in content


def test_a_release_needs_a_high_enough_version_and_a_section(
    redocly: Any, report: Any, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check = ["check", "--base=v0.1.0"]
    assert report.main(check, repository) == 1
    assert "_version.py says 0.1.0, the lowest version allowed is 0.2.0" in capsys.readouterr().err
    change(repository / "cybersource_flex" / "_version.py", "0.1.0", "0.2.0")
    assert report.main(check, repository) == 1
    assert capsys.readouterr().err.startswith("release-check: CHANGELOG.md has no section 0.2.0")
    change(repository / "CHANGELOG.md", "## 0.1.0", "## 0.2.0\n\n- `month` is required.\n\n## 0.1.0")
    assert report.main(check, repository) == 0
    assert capsys.readouterr().out == "release-check: 0.2.0 may follow v0.1.0\n"


def test_a_tag_is_compared_with_the_tag_before_it(
    redocly: Any, report: Any, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report.main(["check", "--tag=v0.2.0"], repository) == 1
    assert "the tag is v0.2.0, but cybersource_flex/_version.py says 0.1.0" in capsys.readouterr().err
    change(repository / "cybersource_flex" / "_version.py", "0.1.0", "0.2.0")
    assert report.main(["check", "--tag=v0.2.0"], repository) == 1
    assert "CHANGELOG.md has no section 0.2.0" in capsys.readouterr().err
    change(repository / "CHANGELOG.md", "## 0.1.0", "## 0.2.0\n\n- `month` is required.\n\n## 0.1.0")
    assert report.main(["check", "--tag=v0.2.0"], repository) == 1
    assert "there is no tag v0.2.0" in capsys.readouterr().err
    git(repository, ["commit", "--quiet", "--all", "-m", "Require month"], ["tag", "v0.2.0"])
    assert report.main(["check", "--tag=v0.2.0"], repository) == 0
    assert capsys.readouterr().out == "release-check: 0.2.0 may follow v0.1.0\n"
    # Without it, a release would be compared with nothing.
    git(repository, ["checkout", "--quiet", "--orphan", "other"], ["commit", "--quiet", "-m", "Other"])
    git(repository, ["tag", "--force", "v0.2.0"])
    assert report.main(["check", "--tag=v0.2.0"], repository) == 1
    assert "no earlier release is an ancestor of v0.2.0" in capsys.readouterr().err


def test_the_first_release_is_compared_with_nothing(
    report: Any, repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report.main(["check", "--tag=v0.1.0"], repository) == 0
    assert capsys.readouterr().out == "release-check: v0.1.0 is the first release\n"
    git(repository, ["commit", "--quiet", "--all", "--allow-empty", "-m", "Next"], ["tag", "--force", "v0.1.0"])
    git(tmp_path, ["clone", "--quiet", "--depth=1", repository.as_uri(), "shallow"])
    assert report.main(["check", "--tag=v0.1.0"], tmp_path / "shallow") == 1
    assert "the clone is shallow" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["check"], ["report"], ["report", "--tag=v0.1.0"]])
def test_a_report_needs_a_base(report: Any, repository: Path, arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        report.main(arguments, repository)


def test_a_release_without_visible_changes_is_a_patch(report: Any, semver_impact: Any, tmp_path: Path) -> None:
    before = tree(tmp_path / "before")
    same, higher = tree(tmp_path / "same"), tree(tmp_path / "higher", version="0.1.1")
    assert len(report.release_problems(before, same, semver_impact.Impact.NONE)) == 1
    assert report.release_problems(before, higher, semver_impact.Impact.NONE) == []
