"""Run ``cybersource-flex`` in a subprocess, and its emulator until the end of a block."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from click.testing import CliRunner

from cybersource_flex.cli.commands import cli

COMMAND = [sys.executable, "-W", "error", "-m", "cybersource_flex"]


def make_environ(**more: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CYBERSOURCE_")}
    return {**inherited, "PYTHONUNBUFFERED": "1", **more}


def run(*arguments: str, prefix: Sequence[str] = (), **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line until it ends.

    Args:
        prefix: a command that runs the command line, such as that of a network namespace.
    """
    return subprocess.run(
        [*prefix, *COMMAND, *arguments],
        env=make_environ(**environment),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def check_credentials(environ: dict[str, str]) -> None:
    """Check that ``demo`` and ``doctor`` succeed with these variables. They run in this process, which is faster."""
    variables = {name: None for name in os.environ if name.startswith("CYBERSOURCE_")} | environ
    result = CliRunner().invoke(cli, ["demo", "--url", environ["CYBERSOURCE_ENVIRONMENT"]], env=variables)
    assert result.exit_code == 0, result.stderr
    assert "verified transient token, XXXXXXXXXXXX1111" in result.stdout
    result = CliRunner().invoke(cli, ["doctor", "--json"], env=variables)
    assert result.exit_code == 0, result.stdout
    assert json.loads(result.stdout)["problems"] == 0


class EmulatorOutput(NamedTuple):
    """The output of a running emulator.

    Attributes:
        lines: all lines.
        environ: the exported variables.
        comments: the comments with other credentials.
    """

    lines: list[str]
    environ: dict[str, str]
    comments: list[str]


@contextlib.contextmanager
def run_emulator(
    *arguments: str,
    prefix: Sequence[str] = (),
    end_signal: signal.Signals = signal.SIGINT,
    errors: str = "",
    **environment: str,
) -> Iterator[EmulatorOutput]:
    """Run the emulator in a subprocess. At the end of the block it gets the signal and has to exit with code 0.

    Args:
        prefix: as for `run`. The command must replace itself by the emulator.
        errors: regular expression for its standard error.
    """
    with subprocess.Popen(
        # The line of --access-token is the last one of the output.
        [*prefix, *COMMAND, "emulator", "--port", "0", "--access-token", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=make_environ(**environment),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            lines: list[str] = []
            while not lines or "CYBERSOURCE_ACCESS_TOKEN" not in lines[-1]:
                line = process.stdout.readline()
                assert line, f"the emulator ended before it was ready: {lines} {process.stderr.read()}"
                lines.append(line.strip())
            exports = [shlex.split(line)[1] for line in lines if line.startswith("export ")]
            environ = dict(export.split("=", 1) for export in exports)
            yield EmulatorOutput(lines, environ, [line for line in lines if line.startswith("#")])
        finally:
            process.send_signal(end_signal)
            _, printed = process.communicate(timeout=30)
    assert process.returncode == 0, printed
    assert re.fullmatch(errors, printed), printed
