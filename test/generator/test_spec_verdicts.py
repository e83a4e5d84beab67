"""The rating of changes of a specification, each by one of the rules in CONTRIBUTING.md."""

from __future__ import annotations

import json
import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from support.modules import load_module
from support.requirements import require_module

ROOT = Path(__file__).resolve().parents[2]
SPECS = Path(__file__).resolve().parent / "specs"
KINDS = ["none", "patch", "minor", "major"]


verdicts = load_module(SPECS / "verdicts.py")


def write(folder: Path, document: Any) -> Path:
    """A project with the package that is generated from a specification. Its hand-written part exports nothing."""
    import generate
    from generation.python_names import python_names
    from openapi.supported_openapi import read

    specification, problems = read(json.dumps(document))
    assert problems == []
    tools = generate.require_pins(ROOT)
    tree = generate.build(ROOT, tools, specification.document, python_names(specification.document))
    skipped = shutil.ignore_patterns("__pycache__", "aio", "api", "models", "emulator", "client", "cli", "testing")
    shutil.copytree(ROOT / "cybersource_flex", folder / "cybersource_flex", ignore=skipped)
    (folder / "cybersource_flex" / "__init__.py").write_text("__all__: list[str] = []\n", "utf-8")
    for path, content in tree.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    (folder / "openapi.yaml").write_text(json.dumps(document), "utf-8")
    return folder


@pytest.fixture(scope="module")
def findings_by_number(
    redocly: Any, supported_openapi: Any, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[int, list[tuple[str, str, str]]]:
    """The findings about each change, as (impact, place, what). All changes are compared at once."""
    require_module("griffe", package="-r tools/requirements-report.txt", not_tested="reports")
    import spec_report

    folder = tmp_path_factory.mktemp("verdicts")
    document = verdicts.base(len(verdicts.CHANGES))
    before = write(folder / "before", document)
    after = write(folder / "after", verdicts.changed(document))
    return by_number(spec_report.findings(before, after))


def by_number(findings: list[Any]) -> Mapping[int, list[tuple[str, str, str]]]:
    """Findings as (impact, place, what), by the number of the change."""
    result = defaultdict(list)
    for finding in findings:
        numbers = re.findall(r"case(\d+)", finding.place.lower())
        if numbers:
            result[int(numbers[0])].append((finding.impact.word, finding.place, finding.what))
    return result


def worst(findings: list[tuple[str, str, str]]) -> str:
    return max((impact for impact, _, _ in findings), key=KINDS.index, default="none")


@pytest.mark.parametrize(
    "number", range(len(verdicts.CHANGES)), ids=lambda number: verdicts.CHANGES[number].name.replace(" ", "-")
)
def test_the_change_is_rated_by_its_rule(
    findings_by_number: Mapping[int, list[tuple[str, str, str]]], number: int
) -> None:
    findings = findings_by_number.get(number, [])
    assert worst(findings) == verdicts.RULES[verdicts.CHANGES[number].rule], findings


@pytest.fixture(scope="module")
def found_in_the_specification(
    redocly: Any, supported_openapi: Any, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[int, list[tuple[str, str, str]]]:
    """The findings of the comparison of the specifications alone."""
    document = verdicts.base(len(verdicts.CHANGES))
    return by_number(compared(tmp_path_factory.mktemp("specifications"), document, verdicts.changed(document)))


def compared(folder: Path, before: Any, after: Any) -> list[Any]:
    from comparison import diff_openapi

    files = folder / "before.json", folder / "after.json"
    for file, document in zip(files, (before, after), strict=True):
        file.write_text(json.dumps(document), "utf-8")
    return diff_openapi.findings(*files)


@pytest.mark.parametrize(
    "number", range(len(verdicts.CHANGES)), ids=lambda number: verdicts.CHANGES[number].name.replace(" ", "-")
)
def test_the_change_is_rated_without_the_python_api(
    found_in_the_specification: Mapping[int, list[tuple[str, str, str]]], number: int
) -> None:
    change, findings = verdicts.CHANGES[number], found_in_the_specification.get(number, [])
    expected = "minor" if change.only_in_python else verdicts.RULES[change.rule]
    assert worst(findings) == expected, findings


def test_names_that_are_escaped_in_json_pointers_or_are_members_of_schemas(redocly: Any, tmp_path: Path) -> None:
    names = ("a/b", "a~b", "nullable")
    documents = []
    for nullable in (False, True):
        document = verdicts.base(1)
        parts = verdicts.Parts(document, 0)
        parts.read.update({name: {**verdicts.STRING, "nullable": nullable} for name in names})
        parts.response["required"] += names
        documents.append(document)
    rated = {finding.place: finding.impact.word for finding in compared(tmp_path, *documents)}
    assert rated == {f"Case0Response.{name}": "major" for name in names}


def server(environment: str, host: str) -> Any:
    return {"url": f"https://{host}", "description": "A host.", "x-environment": environment}


TEST, LIVE = server("test", "test.example"), server("live", "live.example")
HOSTS: list[tuple[str, list[Any], str]] = [
    ("nothing changed", [TEST, LIVE], "nothing"),
    ("environment added", [TEST, LIVE, server("new", "new.example")], "new"),
    ("default host moved", [server("test", "other.example"), LIVE], "credentials"),
    ("another environment is the default", [LIVE, TEST], "credentials"),
    ("host of an environment moved", [TEST, server("live", "other.example")], "credentials"),
    ("environment removed", [TEST], "name"),
    ("environment renamed", [TEST, server("production", "live.example")], "name"),
]


@pytest.mark.parametrize(("servers", "rule"), [case[1:] for case in HOSTS], ids=[case[0] for case in HOSTS])
def test_a_change_of_the_hosts_is_rated_by_its_rule(supported_openapi: Any, servers: list[Any], rule: str) -> None:
    from comparison import diff_requests, semver_impact

    document = verdicts.base(1)
    findings = list(diff_requests.findings(document, {**document, "servers": servers}))
    assert semver_impact.worst(findings).word == verdicts.RULES[rule]


def own_hosts(document: Any) -> None:
    document["paths"]["/others"]["get"]["servers"] = [server("test", "own.example")]


def hosts_of_the_path(document: Any) -> None:
    document["paths"]["/others"]["servers"] = [server("test", "own.example")]


def other_hosts(document: Any) -> None:
    document["paths"]["/others"]["get"]["servers"] = [server("test", "moved.example")]


def unsigned(document: Any) -> None:
    document["paths"]["/others"]["get"]["security"] = []


def signed_by_default(document: Any) -> None:
    document["security"] = document["paths"]["/others"]["get"].pop("security")


PAIRS: list[tuple[str, list[Callable[[Any], None]], list[Callable[[Any], None]], str]] = [
    ("own hosts removed", [own_hosts], [], "credentials"),
    ("own hosts moved", [own_hosts], [other_hosts], "credentials"),
    ("own hosts moved to the path", [own_hosts], [hosts_of_the_path], "nothing"),
    ("operation becomes signed", [unsigned], [], "credentials"),
    ("signature moved to the document", [], [signed_by_default], "nothing"),
]


@pytest.mark.parametrize(("before", "after", "rule"), [case[1:] for case in PAIRS], ids=[case[0] for case in PAIRS])
def test_a_change_of_where_credentials_go_is_rated_by_its_rule(
    supported_openapi: Any, before: Any, after: Any, rule: str
) -> None:
    from comparison import diff_requests, semver_impact

    documents = []
    for changes in (before, after):
        document = verdicts.base(0)
        for change in changes:
            change(document)
        documents.append(document)
    findings = list(diff_requests.findings(*documents))
    assert semver_impact.worst(findings).word == verdicts.RULES[rule], findings


def only_hosts(*servers: Any) -> Callable[[Any], None]:
    return lambda document: document.update(servers=list(servers))


def accepts(*media_types: str) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        document["paths"]["/others"]["get"]["responses"]["200"]["content"] = {name: {} for name in media_types}

    return change


def sends(*media_types: str) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        document["paths"]["/others"]["get"]["requestBody"] = {"content": {name: {} for name in media_types}}

    return change


def signed_by(*schemes: str) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        document["paths"]["/others"]["get"]["security"] = [{name: []} for name in schemes]

    return change


HAL, JSON = "application/hal+json", "application/json"
UTF_8 = f"{JSON}; charset=utf-8"
TEXTS: list[tuple[Callable[[Any], None], Callable[[Any], None], list[tuple[str, str, str]]]] = [
    (
        only_hosts(),
        only_hosts(TEST),
        [
            ("major", "default host", "`none` → `https://test.example`: credentials go to another host"),
            ("minor", "environment test", "added: https://test.example"),
        ],
    ),
    (
        only_hosts(TEST, LIVE),
        only_hosts(LIVE),
        [
            (
                "major",
                "default host",
                "`https://test.example` → `https://live.example`: credentials go to another host",
            ),
            ("major", "environment test", "removed"),
        ],
    ),
    (
        only_hosts(TEST, LIVE),
        only_hosts(TEST, server("live", "new.example")),
        [
            (
                "major",
                "environment live",
                "`https://live.example` → `https://new.example`: credentials go to another host",
            )
        ],
    ),
    (signed_by("a"), signed_by("a", "b"), [("minor", "GET /others", "authentication scheme `b` added")]),
    (signed_by("a", "b"), signed_by("b"), [("minor", "GET /others", "authentication scheme `a` removed")]),
    (signed_by("a", "b"), signed_by("b", "a"), []),
    (
        accepts(JSON, HAL),
        accepts(HAL, JSON),
        [("patch", "GET /others", f"`Accept`: `{JSON}, {HAL}` → `{HAL}, {JSON}`")],
    ),
    (
        accepts(JSON, HAL),
        accepts(UTF_8, HAL),
        [("minor", "GET /others", f"`Accept`: `{JSON}, {HAL}` → `{UTF_8}, {HAL}`")],
    ),
    (sends(UTF_8), sends(JSON), [("minor", "GET /others", f"`Content-Type`: `{UTF_8}` → `{JSON}`")]),
    (sends(UTF_8), sends(f"{UTF_8}; v=1"), [("minor", "GET /others", f"`Content-Type`: `{UTF_8}` → `{UTF_8}; v=1`")]),
    # Another media type is not another parameter of the same one; redocly reports it.
    (sends(JSON), sends(HAL), []),
    (sends(JSON), sends(JSON, HAL), []),
]


@pytest.mark.parametrize(("before", "after", "expected"), TEXTS)
def test_a_change_of_requests_names_its_place_and_both_values(
    supported_openapi: Any, before: Any, after: Any, expected: list[tuple[str, str, str]]
) -> None:
    from comparison import diff_requests

    documents = [verdicts.base(0), verdicts.base(0)]
    before(documents[0])
    after(documents[1])
    findings = list(diff_requests.findings(*documents))
    assert [(finding.impact.word, finding.place, finding.what) for finding in findings] == expected
    assert {finding.source for finding in findings} <= {"wire"}


def test_a_specification_without_operations_and_hosts_is_compared(supported_openapi: Any) -> None:
    from comparison import diff_requests

    empty: Any = {"openapi": "3.0.3", "info": {"title": "Empty", "version": "1"}}
    assert list(diff_requests.findings(empty, empty)) == []


def test_the_table_has_every_rule_and_the_rules_are_those_of_the_guide() -> None:
    used = {change.rule for change in verdicts.CHANGES}
    assert used == set(verdicts.RULES)
    assert len(verdicts.CHANGES) >= 60
    assert len({change.name for change in verdicts.CHANGES}) == len(verdicts.CHANGES)
    guide = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    rows = re.findall(r"^\| (\w+) \| `(\w+)` \|", guide, re.MULTILINE)
    assert {rule: impact for impact, rule in rows} == {
        rule: impact for rule, impact in verdicts.RULES.items() if rule != "nothing"
    }
