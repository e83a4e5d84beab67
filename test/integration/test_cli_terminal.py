"""The command line in a real terminal: colours, progress and Ctrl-C, and what pipes get instead."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cybersource_flex.cli.commands import cli
from cybersource_flex.emulator import Emulator
from support.servers import RawServer

if sys.platform == "win32":
    pytest.skip("NOT TESTED: needs a pseudo-terminal", allow_module_level=True)

from support.terminal import Terminal

COMMAND = [sys.executable, "-W", "error", "-m", "cybersource_flex"]
# Commands that print something without a host.
PRINTING = [
    ["--help"],
    *([name, "--help"] for name in sorted(cli.commands)),
    ["inspect", "a.b.c"],
    ["verify", "--host", "http://127.0.0.1:9", "a.b.c"],
    ["doctor", "--offline"],
    ["emulator", "--list-scenarios"],
    ["probe", "--dry-run", "--interval", "1"],
    ["no-such-command"],
    [],
]


def environment(**variables: str) -> dict[str, str]:
    """The variables of this process, without those that the commands look at."""
    ours = ("CYBERSOURCE_", "_CYBERSOURCE", "NO_COLOR", "FORCE_COLOR", "TERM", "CI", "TTY_", "PYTHON_COLORS")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | variables


def terminal_output(*arguments: str, **variables: str) -> str:
    """What a terminal shows of a command."""
    with Terminal([*COMMAND, *arguments], environment(**variables)) as terminal:
        terminal.finish()
        return terminal.output


def piped(*arguments: str, **variables: str) -> str:
    """What pipes get of a command, on standard output and standard error."""
    process = subprocess.run([*COMMAND, *arguments], env=environment(**variables), capture_output=True, timeout=60)
    return (process.stdout + process.stderr).decode()


@pytest.mark.parametrize("arguments", PRINTING, ids=" ".join)
def test_colours(arguments: list[str], emulator: Emulator) -> None:
    environ = emulator.environ
    coloured = terminal_output(*arguments, **environ)
    assert "\x1b[" in coloured
    # The styles are the only difference.
    plain = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    assert "\x1b" not in plain
    for variables in ({"NO_COLOR": "1"}, {"NO_COLOR": "1", "FORCE_COLOR": "1"}, {"TERM": "dumb"}):
        assert terminal_output(*arguments, **environ, **variables) == plain, variables
    assert "\x1b" not in piped(*arguments, **environ)
    assert "\x1b[" in piped(*arguments, **environ, FORCE_COLOR="1")
    assert "\x1b" not in piped(*arguments, **environ, FORCE_COLOR="1", NO_COLOR="1")


def test_empty_variables_count_as_not_set() -> None:
    assert "\x1b[" in terminal_output("inspect", "a.b.c", NO_COLOR="")
    assert "\x1b" not in piped("inspect", "a.b.c", FORCE_COLOR="")
    # Jupyter, GitHub and Python's own variable make no difference.
    assert "\x1b" not in piped("inspect", "a.b.c", TTY_COMPATIBLE="1", PYTHON_COLORS="1")


@pytest.mark.parametrize("command", ["inspect", "doctor"])
def test_json_has_no_colours(command: str, emulator: Emulator) -> None:
    arguments = ["a.b.c"] if command == "inspect" else ["--offline"]
    assert "\x1b" not in terminal_output(command, "--json", *arguments, **emulator.environ, FORCE_COLOR="1")


@contextmanager
def slow_host(response: bytes = b"") -> Iterator[RawServer]:
    """A host that responds when ``release`` is set."""

    def respond(connection: socket.socket) -> None:
        server.release.wait(60)
        connection.sendall(response)

    with RawServer(default=respond) as server:
        yield server


def credentials(server: RawServer) -> dict[str, str]:
    return {
        "CYBERSOURCE_ENVIRONMENT": server.url,
        "CYBERSOURCE_MERCHANT_ID": "shop",
        "CYBERSOURCE_KEY_ID": "key",
        "CYBERSOURCE_SECRET_KEY": "A" * 43 + "=",
    }


NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}"
CONTEXT = "eyJraWQiOiJhYSIsImFsZyI6IlJTMjU2In0.eyJpc3MiOiJGbGV4IEFQSSJ9.AAAA"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["capture-context"], "waiting for http"),
        (["capture-context", "--json"], "waiting for http"),
        (["verify", CONTEXT], "waiting for http"),
        (["doctor"], "waiting for the host"),
        (["doctor", "--json"], "waiting for the host"),
        (["demo", "--url", "URL"], "waiting for http"),
        (["probe", "--interval", "0"], "requests"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_progress_is_shown_while_a_command_waits(arguments: list[str], message: str, tmp_path: Path) -> None:
    with slow_host(NOT_FOUND) as server, (tmp_path / "out").open("wb") as file:
        arguments = [server.url if word == "URL" else word for word in arguments]
        environ = environment(**credentials(server))
        with Terminal([*COMMAND, *arguments], environ, stdout=file) as terminal:
            terminal.wait_for(message)
            server.release.set()
            terminal.finish()
        out = (tmp_path / "out").read_text("utf-8")
        # The cursor is visible again, and the line with the message is erased.
        assert terminal.output.rfind("\x1b[?25h") > terminal.output.rfind("\x1b[?25l")
        assert "\x1b[2K" in terminal.output[terminal.output.rfind(message) :]
        # Standard output has the result only.
        assert "\x1b" not in out
        assert "waiting" not in out


# Progress without its delay, so that it is shown if it is shown at all.
AT_ONCE = [
    sys.executable,
    "-c",
    """
import threading
class Timer(threading.Timer):
    def start(self): self.function()
    def join(self): pass
import cybersource_flex.cli.shared.progress as progress
progress.threading.Timer = Timer
from cybersource_flex.cli import main
main()
""",
]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [({}, True), ({"NO_COLOR": "1"}, True), ({"CI": "true"}, False), ({"TERM": "dumb"}, False)],
)
def test_progress_in_a_terminal(variables: dict[str, str], expected: bool, emulator: Emulator) -> None:
    environ = environment(**emulator.environ, **variables)
    with Terminal([*AT_ONCE, "verify", "--host", emulator.url, CONTEXT], environ) as terminal:
        assert terminal.finish() == 1
    assert ("waiting for http" in terminal.output) is expected
    assert ("\x1b[?25l" in terminal.output) is expected
    if "NO_COLOR" in variables:
        # The sequences move the cursor and erase lines, and nothing else.
        assert not re.search(r"\x1b\[[0-9;]*m", terminal.output)


def test_progress_in_ascii(emulator: Emulator) -> None:
    environ = environment(**emulator.environ, PYTHONIOENCODING="ascii")
    with Terminal([*AT_ONCE, "verify", "--host", emulator.url, CONTEXT], environ) as terminal:
        assert terminal.finish() == 1
    assert re.search(r"[-\\|/][^<]* waiting for http", terminal.output)
    assert "<U+" not in terminal.output


def test_no_progress_in_a_pipe(emulator: Emulator) -> None:
    environ = environment(**emulator.environ, FORCE_COLOR="1")
    command = [*AT_ONCE, "verify", "--host", emulator.url, CONTEXT]
    process = subprocess.run(command, env=environ, capture_output=True, timeout=60)
    assert process.stderr == b""
    assert b"waiting" not in process.stdout


def test_fast_work_shows_nothing(emulator: Emulator) -> None:
    assert "\x1b[?25l" not in terminal_output("verify", "a.b.c", "--host", "http://127.0.0.1:9")


def test_the_bar_of_tokenize(emulator: Emulator, tmp_path: Path) -> None:
    (tmp_path / "cards").write_text('{"card": {"number": "4111111111111111"}}\n' * 2, "utf-8")
    arguments = ["tokenize", "--input", str(tmp_path / "cards"), "--output", str(tmp_path / "tokens")]
    output = terminal_output(*arguments, **emulator.environ)
    assert "2/2" in output
    assert "0 failed" in output
    assert output.endswith("2 lines: 2 with a token, 0 failed\r\n")
    (tmp_path / "tokens").unlink()
    assert piped(*arguments, **emulator.environ) == "2 lines: 2 with a token, 0 failed\n"
    (tmp_path / "tokens").unlink()
    assert json.loads(piped(*arguments, "--json", **emulator.environ))["succeeded"] == 2


def test_ctrl_c_while_a_command_waits() -> None:
    with (
        slow_host() as server,
        Terminal([*COMMAND, "capture-context"], environment(**credentials(server))) as terminal,
    ):
        terminal.wait_for("waiting for http")
        terminal.press("\x03")
        assert terminal.finish() == -signal.SIGINT
    assert "Traceback" not in terminal.output
    assert terminal.output.rfind("\x1b[?25h") > terminal.output.rfind("\x1b[?25l"), "the cursor is visible again"


def test_ctrl_c_ends_a_loop_of_a_shell() -> None:
    loop = 'for n in 1 2 3; do "$@"; done; echo not reached'
    with (
        slow_host() as server,
        Terminal(
            ["bash", "-c", loop, "bash", *COMMAND, "capture-context"], environment(**credentials(server))
        ) as terminal,
    ):
        terminal.wait_for("waiting for http")
        terminal.press("\x03")
        assert terminal.finish() != 0
    assert "not reached" not in terminal.output


def test_ctrl_c_ends_the_emulator() -> None:
    command = [sys.executable, "-W", "error", "-m", "cybersource_flex", "emulator", "--port", "0"]
    with Terminal(command, environment()) as terminal:
        # The whole last line.
        terminal.wait_for(r"export CYBERSOURCE_SECRET_KEY=\S+\r\n")
        terminal.press("\x03")
        assert terminal.finish() == 0
    assert "Traceback" not in terminal.output
