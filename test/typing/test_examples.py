"""Every Python example on every page has no type errors, for mypy, basedpyright and ty. ``test/docs`` runs them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.pages import PAGES, Block, python_blocks
from support.type_checkers import TYPE_CHECKERS, Report

# What the pages use and do not create. Functions of a shop are `Any`, because the pages say nothing about them.
ASSUMED = """
from typing import Any

from cybersource_flex import CaptureContext, FlexClient
from cybersource_flex.auth import JwtSharedSecret
from cybersource_flex.cards import Card
from cybersource_flex.models import CaptureFields

again_later: Any
alert: Any
auth: JwtSharedSecret
body: str
card: Card
client: FlexClient
context: CaptureContext
jti: str
jwt: str
jwt_from_the_browser: str
jwt_from_the_page: str
kid: str
look_into: Any
payment_credentials_reference: str
requested_fields: CaptureFields
session: dict[str, str]
session_id: str
storage_key: bytes
"""
GENERATED = ("docs/FlexAPIApi.md", "docs/MicroformIntegrationApi.md")


def programs() -> dict[str, list[Block]]:
    """The blocks of each page as one program; on generated pages each example with the first block, as they say."""
    blocks_of_program: dict[str, list[Block]] = {}
    for page in PAGES:
        blocks = python_blocks(page)
        name = re.sub(r"\W", "_", page.removesuffix(".md"))
        if page in GENERATED:
            first, *examples = blocks
            blocks_of_program |= {f"{name}_{number}": [first, example] for number, example in enumerate(examples)}
        elif blocks:
            blocks_of_program[name] = blocks
    return blocks_of_program


def source(blocks: list[Block]) -> tuple[str, dict[int, str]]:
    """The program, with what its page assumes, and the place on the page of each of its lines."""
    lines, places = ["from __future__ import annotations"], {}
    used = {name for block in blocks for name in re.findall(r"\w+", block.code)}
    for name in re.findall(r"^(\w+):", ASSUMED, re.MULTILINE):
        if name in used and not creates(blocks, name):
            lines.append(f"from assumed import {name}")
    for block in blocks:
        for number, line in enumerate(block.code.splitlines()):
            lines.append(line)
            places[len(lines)] = f"{block.page}:{block.line + number}"
    return "\n".join([*lines, ""]), places


def creates(blocks: list[Block], name: str) -> bool:
    """Whether a page creates a name that other pages assume, in its first block, or on a generated page in any."""
    code = "\n".join(block.code for block in (blocks if blocks[0].page in GENERATED else blocks[:1]))
    return re.search(rf"^ *{name} = |as {name}\b", code, re.MULTILINE) is not None


def write(folder: Path, name: str, code: str) -> None:
    (folder / f"{name}.py").write_text(code, encoding="utf-8")
    (folder / "assumed.pyi").write_text(ASSUMED, encoding="utf-8")


def test_there_are_examples_of_every_part() -> None:
    blocks = [block for each in programs().values() for block in each]
    assert len(blocks) >= sum(len(python_blocks(page)) for page in PAGES)
    assert {"README", "docs_bulk", "docs_testing", "docs_models_CardFields", "docs_FlexAPIApi_0"} <= set(programs())


@pytest.mark.parametrize("checker", TYPE_CHECKERS)
def test_examples_have_no_type_errors(checker: str, tmp_path: Path) -> None:
    places = {}
    for name, blocks in programs().items():
        code, places[name] = source(blocks)
        write(tmp_path, name, code)
    reports = [describe(report, places) for report in TYPE_CHECKERS[checker](tmp_path)]
    assert not reports, "\n".join(reports)


@pytest.mark.parametrize("checker", TYPE_CHECKERS)
def test_errors_in_examples_are_found(checker: str, tmp_path: Path) -> None:
    """Mistakes that a page could have: each of them in a copy of an example."""
    mistakes = {
        "docs_bulk": ("result.token.masked_number", "result.token.masked_numbr"),
        "docs_errors": ("error.safe_to_retry", "error.retryable"),
        "docs_async": ("await client.tokenize(context", "client.tokenize(context"),
        "docs_configuration": ('environment="test"', "environment=1"),
    }
    for name, (right, wrong) in mistakes.items():
        code, _ = source(programs()[name])
        assert right in code
        write(tmp_path, name, code.replace(right, wrong, 1))
    assert {report.file.removesuffix(".py") for report in TYPE_CHECKERS[checker](tmp_path)} == set(mistakes)


def describe(report: Report, places: dict[str, dict[int, str]]) -> str:
    name = report.file.removesuffix(".py")
    return f"{places.get(name, {}).get(report.line, f'{name}, line {report.line}')}: {report.message}"
