"""The shell commands on the pages: their programs, options, extras, variables and make targets exist."""

from __future__ import annotations

import re
import shlex
from importlib.metadata import metadata

import click
import pytest

from cybersource_flex.cli.commands import cli
from support.paths import ROOT

PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/*.md", "examples/*/*.md", "bench/*.md", "templates/*.md", "test/**/*.md")
    for path in ROOT.glob(pattern)
)


def commands(page: str) -> list[str]:
    """The lines of the shell blocks of a page, and those with a prompt elsewhere. Continued lines are joined."""
    content = (ROOT / page).read_text("utf-8")
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```$", content, re.MULTILINE | re.DOTALL)
    prompts = re.findall(r"^ *\$ (?:.*\\\n)*.*\n", content, re.MULTILINE)
    lines = "".join([*blocks, *prompts]).replace("\\\n", " ").splitlines()
    return [line.strip().removeprefix("$ ") for line in lines]


def words(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:
        # Output, with an apostrophe.
        return []


LINES = [(page, line) for page in PAGES for line in commands(page)]


@pytest.mark.parametrize(
    ("page", "line"), [(page, line) for page, line in LINES if re.match(r"cybersource-flex\s", line)]
)
def test_commands_and_options_exist(page: str, line: str) -> None:
    arguments = words(line)[1:]
    if arguments == ["--help"]:
        return
    command = cli.get_command(click.Context(cli), arguments[0])
    assert command is not None, f"{page}: {line}"
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    used = {word.partition("=")[0] for word in arguments[1:] if word.startswith("--")}
    assert used <= options, f"{page}: {line}"


def test_there_are_commands() -> None:
    programs = [words(line)[0] for _, line in LINES if words(line)]
    assert programs.count("cybersource-flex") >= 20
    assert programs.count("make") >= 2
    assert programs.count("pip") >= 3


def test_the_extras_exist() -> None:
    extras = set(metadata("cybersource-flex").get_all("Provides-Extra") or ())
    assert {"cli", "emulator"} <= extras
    for page in PAGES:
        for names in re.findall(r"(?:cybersource-flex|whl|['\"]\.)\[([a-z,]+)\]", (ROOT / page).read_text("utf-8")):
            assert set(names.split(",")) <= extras, f"{page}: {names}"


def test_the_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for page, line in LINES:
        if words(line)[:1] == ["make"]:
            assert words(line)[1] in targets, f"{page}: {line}"
    for page in PAGES:
        assert set(re.findall(r"`make ([a-z-]+)", (ROOT / page).read_text("utf-8"))) <= targets, page


def test_the_variables_exist() -> None:
    table = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    variables = set(re.findall(r"^\| `(CYBERSOURCE_\w+)`", table, re.MULTILINE))
    assert len(variables) > 25
    for page, line in LINES:
        for name in re.findall(r"\b(CYBERSOURCE_(?!FLEX_)\w+)=", line):
            assert {name, name.removesuffix("_FILE")} & variables, f"{page}: {line}"
