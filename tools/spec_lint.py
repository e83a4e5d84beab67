"""Report every problem of openapi.yaml, one line each, with its place and rule.

    python tools/spec_lint.py [file]

Three sources: redocly's rules (redocly.yaml); what the templates support (tools/openapi/supported_openapi.py); and two
rules of this project: every operation has an error with a schema, and examples of its request and of its successful
response.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

import yaml

import redocly
from openapi import supported_openapi
from openapi.document import FAST_LOADER
from openapi.supported_schemas import Document, resolve

ROOT: Final = Path(__file__).resolve().parent.parent


class Finding(NamedTuple):
    """One problem, at a JSON pointer into the document."""

    place: str
    rule: str
    message: str


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="spec_lint.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", nargs="?", type=Path, default=ROOT / "openapi.yaml")
    file = parser.parse_args(arguments).file
    source = file.read_text(encoding="utf-8")
    findings = project_findings(source)
    missing = redocly.unavailable()
    if missing is None and readable(source):
        findings += [
            Finding(problem["location"][0].get("pointer", "#/"), problem["ruleId"], problem["message"])
            for problem in redocly.lint(file)
        ]
    for number, finding in sorted((line(source, finding.place), finding) for finding in findings):
        message = " ".join(finding.message.split())
        print(f"{file.name}:{number}: {finding.place}: {message} [{finding.rule}]")
    if missing is not None:
        print(f"NOT TESTED with the rules of redocly: {missing}", file=sys.stderr)
    print(f"spec-lint: {len(findings) or 'nothing'} found")
    # In CI a skipped check is a failure, because no one reads what was skipped.
    return 1 if findings or (missing is not None and os.environ.get("CI")) else 0


def readable(source: str) -> bool:
    """Whether the file contains a document. If it does not, the first finding says why."""
    try:
        return isinstance(supported_openapi.load(source), dict)
    except (yaml.YAMLError, ValueError):
        return False


def project_findings(source: str) -> list[Finding]:
    """Features that the templates do not support, and violations of this project's rules."""
    findings = []
    for problem in supported_openapi.problems(source):
        place, _, message = problem.partition(": ")
        findings.append(
            Finding(place, "supported", message) if place.startswith("#") else Finding("#/", "supported", problem)
        )
    if not readable(source):
        return findings
    document = supported_openapi.load(source)
    if any(supported_openapi.outline_problems(document)):
        # The findings contain these already, and the operations cannot be read.
        return findings
    return [*findings, *_operations(document)]


def _operations(document: Document) -> Iterator[Finding]:
    paths = document.get("paths")
    for path, item in (paths if isinstance(paths, dict) else {}).items():
        for method in supported_openapi.METHODS:
            operation = item.get(method) if isinstance(item, dict) else None
            if isinstance(operation, dict):
                place = f"#/paths/{path.replace('~', '~0').replace('/', '~1')}/{method}"
                yield from _operation(document, operation, place)


def _operation(document: Document, operation: Document, place: str) -> Iterator[Finding]:
    if "requestBody" in operation:
        yield from _examples(resolve(document, operation["requestBody"]), f"{place}/requestBody")
    errors = []
    for status, response in (operation.get("responses") or {}).items():
        response = resolve(document, response)
        if str(status).startswith("2"):
            yield from _examples(response, f"{place}/responses/{status}")
        elif str(status).startswith(("4", "5", "default")):
            errors += [media.get("schema") for media in (response.get("content") or {}).values()]
    if not any(errors):
        yield Finding(f"{place}/responses", "error-schema", "no error response has a schema")


def _examples(body: Document, place: str) -> Iterator[Finding]:
    for media_type, media in (body.get("content") or {}).items():
        if "example" not in media and not media.get("examples"):
            here = f"{place}/content/{media_type.replace('~', '~0').replace('/', '~1')}"
            yield Finding(here, "example", "the body has no example")


@lru_cache(maxsize=1)
def _composed(source: str) -> yaml.Node | None:
    """The nodes of a document, which know their lines. Many findings ask for those of one document."""
    return yaml.compose(source, Loader=FAST_LOADER)


def line(source: str, place: str) -> int:
    """The line of a JSON pointer, or of its nearest ancestor that the file contains."""
    try:
        node = _composed(source)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        return mark.line + 1 if mark else 1
    number = 1
    for part in place.removeprefix("#").strip("/").split("/"):
        part = part.replace("~1", "/").replace("~0", "~")
        if isinstance(node, yaml.MappingNode):
            keys = [(key, value) for key, value in node.value if key.value == part]
        elif isinstance(node, yaml.SequenceNode) and part.isdecimal() and int(part) < len(node.value):
            keys = [(node.value[int(part)],) * 2]
        else:
            break
        if not keys:
            break
        key, node = keys[0]
        number = key.start_mark.line + 1
    return number


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except redocly.RedoclyError as error:
        sys.exit(f"spec-lint: {error}")
