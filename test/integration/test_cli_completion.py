"""``cybersource-flex completion``: the scripts, and what they suggest."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from cybersource_flex.cli.commands import cli
from cybersource_flex.emulator import SCENARIOS
from support.requirements import require_program

VARIABLE = "_CYBERSOURCE_FLEX_COMPLETE"
PROGRAM = "from cybersource_flex.cli import main; main()"


def suggestions(*arguments: str, incomplete: str = "") -> list[str]:
    completion = ShellComplete(cli, {}, "cybersource-flex", VARIABLE)
    return [item.value for item in completion.get_completions(list(arguments), incomplete)]


def ask(shell: str, **environment: str) -> str:
    """Run the program as the script of a shell does."""
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        env={**os.environ, VARIABLE: f"{shell}_complete", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.stderr == ""
    return process.stdout


def test_commands() -> None:
    assert set(suggestions()) == set(cli.commands)
    assert {"completion", "demo", "doctor", "emulator", "verify"} <= set(suggestions())
    assert suggestions(incomplete="do") == ["doctor"]


@pytest.mark.parametrize("command", sorted(cli.commands))
def test_options_of_each_command(command: str) -> None:
    options = {name for parameter in cli.commands[command].params for name in parameter.opts if name[0] == "-"}
    assert options <= set(suggestions(command, incomplete="--"))


def test_values_of_options() -> None:
    assert suggestions("completion") == ["bash", "zsh", "fish"]
    assert suggestions("emulator", "--client-certificates") == ["optional", "required"]
    assert suggestions("emulator", "--scenario") == list(SCENARIOS)
    assert suggestions("studio", "--scenario", incomplete="latenc") == ["latency"]


def test_no_scenarios_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    # Import the package again, as if starlette were not installed.
    for name in [name for name in sys.modules if name.startswith(("cybersource_flex.emulator", "starlette"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "starlette", None)
    assert suggestions("emulator", "--scenario") == []


@pytest.mark.parametrize(
    "arguments",
    [("inspect",), ("verify",), ("verify", "--context"), ("inspect", "--file"), ("doctor", "--config"), ("explain",)],
)
def test_files_are_suggested_for_tokens_and_paths(arguments: tuple[str, ...]) -> None:
    completion = ShellComplete(cli, {}, "cybersource-flex", VARIABLE)
    assert [item.type for item in completion.get_completions(list(arguments), "tok")] == ["file"]


def test_the_program_answers_each_shell() -> None:
    typed = {"COMP_WORDS": "cybersource-flex do", "COMP_CWORD": "1"}
    assert ask("bash", **typed) == "plain,doctor\n"
    assert ask("zsh", **typed).splitlines()[:2] == ["plain", "doctor"]
    assert "doctor" in ask("fish", COMP_WORDS="cybersource-flex do", COMP_CWORD="do")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell(shell: str) -> None:
    result = CliRunner().invoke(cli, ["completion", shell])
    assert result.exit_code == 0
    assert f"{VARIABLE}={shell}_complete" in result.output
    # The script must refer to the program by the name under which it is installed.
    assert "cybersource-flex" in result.output
    assert not re.search(r"%\(\w+\)s", result.output)


def test_an_unknown_shell_is_wrong_usage() -> None:
    assert CliRunner().invoke(cli, ["completion", "tcsh"]).exit_code == 2


def test_no_shell_is_needed_to_print_its_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert CliRunner().invoke(cli, ["completion", "bash"]).exit_code == 0


# Commands with the effect of Tab after "cybersource-flex doc". zsh suggests only in an interactive shell, so there
# the test asks which function would do it.
@pytest.mark.parametrize(
    ("shell", "command"),
    [
        (
            "bash",
            'source "$1"; COMP_WORDS=(cybersource-flex doc); COMP_CWORD=1; '
            '_cybersource_flex_completion cybersource-flex; echo "${COMPREPLY[@]}"',
        ),
        ("zsh", 'autoload -U compinit; compinit -u; source "$1"; print -r -- $_comps[cybersource-flex]'),
        ("fish", 'source "$argv[1]"; complete --do-complete "cybersource-flex doc"'),
    ],
    ids=["bash", "zsh", "fish"],
)
def test_the_script_works_in_the_shell(shell: str, command: str, tmp_path: Path) -> None:
    program = require_program(shell, package=shell, not_tested=f"completion in {shell}")
    script = CliRunner().invoke(cli, ["completion", shell]).output
    (tmp_path / "script").write_text(script, encoding="utf-8")
    (tmp_path / "cybersource-flex").write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{PROGRAM}"\n', encoding="utf-8")
    (tmp_path / "cybersource-flex").chmod(0o755)
    process = subprocess.run(
        # bash and zsh take the first argument as the name of the shell.
        [program, "-c", command, *([] if shell == "fish" else [shell]), str(tmp_path / "script")],
        env={**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    expected = "_cybersource_flex_completion" if shell == "zsh" else "doctor"
    assert expected in process.stdout.split(), process.stdout + process.stderr


def test_completion_does_not_import_rich() -> None:
    """Each Tab runs the program, and rich takes a third of its start."""
    code = "import sys; from cybersource_flex.cli.commands import cli; print('rich' in sys.modules)"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert process.stdout == "False\n"
