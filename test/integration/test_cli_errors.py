"""Errors of the command line, in processes: exit codes, one line with a hint, ``--json``, ``--debug`` and streams."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from cybersource_flex.cards import TEST_CARDS
from cybersource_flex.cli.commands import cli
from cybersource_flex.cli.shared.exit_codes import MEANINGS, ExitCode
from cybersource_flex.emulator import Emulator
from cybersource_flex.testing import Canaries
from support.paths import ROOT
from support.servers import RawServer

COMMAND = [sys.executable, "-W", "error", "-m", "cybersource_flex"]
NO_HOST = ("capture-context", "--host", "http://127.0.0.1:9")
posix_only = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals, pipes and devices")


def start(*command: str, **options: Any) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("CYBERSOURCE_", "_CYBER"))}
    environment |= options.pop("environment", {})
    return subprocess.Popen(
        list(command),
        env=environment,
        **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
        encoding="utf-8",
    )


def run(*arguments: str, prefix: list[str] = COMMAND, **options: Any) -> tuple[int, str, str]:
    """Run a command and return its exit code, standard output and standard error."""
    with start(*prefix, *arguments, **options) as process:
        out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def run_patched(patch: str, *arguments: str, **options: Any) -> tuple[int, str, str]:
    """Run a command after a line of Python that replaces a part of it."""
    return run(
        *arguments, prefix=[sys.executable, "-c", f"{patch}\nfrom cybersource_flex.cli import main; main()"], **options
    )


def raising(error: str) -> str:
    """A patch with which `inspect` fails."""
    return f"import cybersource_flex.cli.tokens.inspect as i; i.read_token = lambda *_: exec('raise {error}')"


def assert_one_line(err: str) -> None:
    assert re.fullmatch(r"Error: [^\n]+\n(Hint: [^\n]+\n)?", err), err


def full_disk() -> int:
    with open("/dev/full", "w") as device:
        return run("completion", "bash", stdout=device)[0]


def closed_pipe() -> int:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        code, _, err = run("completion", "bash", stdout=writer)
    finally:
        os.close(writer)
    assert err == ""
    return code


def interrupted() -> int:
    received = threading.Event()
    with RawServer(default=lambda _: (received.set(), server.release.wait(30))) as server:
        environ = {
            "CYBERSOURCE_ENVIRONMENT": server.url,
            "CYBERSOURCE_MERCHANT_ID": "shop",
            "CYBERSOURCE_KEY_ID": "key",
            "CYBERSOURCE_SECRET_KEY": "A" * 43 + "=",
        }
        with start(*COMMAND, "capture-context", environment=environ) as process:
            assert received.wait(30)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
    assert (out, err) == ("", "")
    # A process that a signal ends has no exit code. Shells add 128 to the number of the signal.
    return 128 - process.returncode


def terminated(emulator: Emulator, folder: Path) -> int:
    (folder / "cards").write_text('{"card": {"number": "4111111111111111"}}\n' * 20, "utf-8")
    patch = "import os, signal; once = [signal.SIGTERM]; os.fsync = lambda _: once and signal.raise_signal(once.pop())"
    paths = ("--input", str(folder / "cards"), "--output", str(folder / "tokens"))
    code, _, err = run_patched(patch, "tokenize", *paths, "--concurrency", "1", environment=emulator.environ)
    assert "interrupted; run the same command again to resume" in err
    return code


def wrong_secret(emulator: Emulator) -> dict[str, str]:
    return {**emulator.environ, "CYBERSOURCE_SECRET_KEY": "A" * 43 + "="}


def invalid_response() -> int:
    with Emulator(scenario="malformed-jwt") as other:
        return run("capture-context", environment=other.environ)[0]


INVOCATIONS: dict[ExitCode, Callable[[Emulator, Path], int]] = {
    ExitCode.SUCCESS: lambda emulator, folder: run("completion", "bash")[0],
    ExitCode.NEGATIVE: lambda emulator, folder: run("inspect", "a.b.c")[0],
    ExitCode.USAGE: lambda emulator, folder: run("inspect", "--no-such-option")[0],
    ExitCode.NO_RESPONSE: lambda emulator, folder: run(*NO_HOST, environment=emulator.environ)[0],
    ExitCode.REJECTED: lambda emulator, folder: run("capture-context", environment=wrong_secret(emulator))[0],
    ExitCode.INVALID_RESPONSE: lambda emulator, folder: invalid_response(),
    ExitCode.LOCAL: lambda emulator, folder: full_disk(),
    ExitCode.BUG: lambda emulator, folder: run_patched(raising("RuntimeError"), "inspect", "x")[0],
    ExitCode.INTERRUPTED: lambda emulator, folder: interrupted(),
    ExitCode.PIPE_CLOSED: lambda emulator, folder: closed_pipe(),
    ExitCode.TERMINATED: terminated,
}


@posix_only
@pytest.mark.parametrize("code", list(ExitCode))
def test_each_exit_code(code: ExitCode, emulator: Emulator, tmp_path: Path) -> None:
    assert INVOCATIONS[code](emulator, tmp_path) == code


def test_help_and_page_list_the_exit_codes() -> None:
    assert set(MEANINGS) == set(ExitCode)
    page = (ROOT / "docs/cli.md").read_text("utf-8").partition("## Exit codes")[2].partition("##")[0]
    assert re.findall(r"^\| (\d+) \| (.+) \|$", page, re.M) == [
        (str(int(c)), meaning) for c, meaning in MEANINGS.items()
    ]
    listed = " ".join(run("--help", environment={"COLUMNS": "80"})[1].partition("Exit codes:")[2].split())
    assert listed == " ".join(f"{int(code)} {meaning}" for code, meaning in MEANINGS.items())


WRONG: list[tuple[list[str], int]] = [
    (["docter"], 2),
    (["verify", "--hots", "x"], 2),
    (["completion"], 2),
    (["completion", "tcsh"], 2),
    (["explain", "missing.json"], 2),
    (["explain", "-"], 2),
    (["emulator", "--port", "x"], 2),
    (["emulator", "--scenario", "nothing"], 2),
    (["emulator", "--tls"], 2),
    (["studio", "--scenario", "nothing", "--no-browser"], 2),
    (["tokenize", "--input", "/dev/null"], 2),
    (["tokenize", "--input", "/dev/null", "--output", "/dev/null"], 2),
    (["capture-context"], 2),
    (["capture-context", "--card", "nubmer"], 2),
    (["demo", "--url", "http://127.0.0.1:9"], 2),
    (["probe", "--environment", "nowhere"], 2),
    (["verify", "--jwk", "/dev/null", "a.b.c"], 2),
    (["inspect", "a", "b"], 2),
]


@posix_only
@pytest.mark.parametrize(
    ("arguments", "expected"), WRONG, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_one_line_and_a_hint(arguments: list[str], expected: int) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (expected, "")
    assert_one_line(err)


@pytest.mark.parametrize(
    "arguments",
    [
        ["demo", "--url", ""],
        ["probe", "--dry-run", "--host", ""],
        ["probe", "--dry-run", "--environment", ""],
        ["capture-context", "--host", ""],
        ["tokenize", "--input", "cards", "--output", "tokens", "--host", ""],
        ["verify", "a.b.c", "--host", ""],
    ],
    ids=" ".join,
)
def test_an_empty_host_is_rejected(
    arguments: list[str], emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For example from an unset variable of a shell. The host of the environment variables is not used instead."""
    monkeypatch.chdir(tmp_path)
    Path("cards").touch()
    result = CliRunner().invoke(cli, arguments, env=emulator.environ)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "environment must be one of" in result.stderr


@posix_only
@pytest.mark.parametrize("arguments", [words for words, _ in WRONG], ids=" ".join)
def test_errors_as_json(arguments: list[str]) -> None:
    # Commands without the option, and an unknown option, are errors that are reported as JSON too.
    code, out, err = run(*arguments[:1], "--json", *arguments[1:])
    assert out == ""
    report = json.loads(err)
    assert err.count("\n") == 1
    assert set(report) == {"error", "message", "hint", "exit_code", "call"}
    assert report["exit_code"] == code == 2
    assert report["call"] is None


def test_a_failed_call_as_json(emulator: Emulator) -> None:
    _, out, err = run("capture-context", "--json", environment=wrong_secret(emulator))
    report = json.loads(err)
    assert out == ""
    assert (report["error"], report["exit_code"]) == ("AuthenticationError", 4)
    assert report["message"].startswith("POST /flex/v2/sessions: 401")
    assert report["call"].pop("correlation_id")
    assert report["call"] == {
        "method": "POST",
        "path": "/flex/v2/sessions",
        "outcome": "rejected",
        "safe_to_retry": True,
        "status": 401,
    }


def test_warnings_as_lines() -> None:
    with Emulator(loopback_origins=True) as emulator:
        arguments = ["capture-context", "--target-origin", "http://127.0.0.1:3000", "--network", "VISA"]
        code, _, err = run(*arguments, environment=emulator.environ)
        assert code == 0
        assert re.fullmatch(r"Warning: target_origins[^\n]+\n", err)
        code, out, err = run(*arguments, "--json", environment=emulator.environ)
    assert code == 0
    assert json.loads(out)["type"].startswith("mf-")
    warning = json.loads(err)
    assert warning["warning"] == "UserWarning"
    assert warning["message"].startswith("target_origins")


@pytest.mark.parametrize("option", [[], ["--json"]])
def test_warnings_without_credentials_and_control_characters(option: list[str]) -> None:
    number = TEST_CARDS["visa"]
    warn = f"__import__('warnings').warn('no {number}\\n\\x1b[31m')"
    patch = f"import cybersource_flex.cli.tokens.inspect as i; i.read_token = lambda *_: {warn} or exit(1)"
    _, _, err = run_patched(patch, "inspect", "x", *option)
    assert err.count("\n") == 1
    assert "no [masked] <U+001B>[31m" in err


# --debug


@pytest.mark.parametrize("arguments", [("--debug", "inspect", "x"), ("inspect", "x", "--debug")])
def test_debug_shows_the_traceback_of_a_bug(arguments: tuple[str, ...]) -> None:
    code, out, err = run_patched(raising("AttributeError(42)"), *arguments)
    assert (code, out) == (70, "")
    traceback, _, message = err.partition("\nError: ")
    assert traceback.startswith("Traceback (most recent call last):\n")
    assert 'cybersource_flex/cli/tokens/inspect.py", line' in traceback.replace(os.sep, "/")
    assert "AttributeError: 42" in traceback
    assert "bug in cybersource-flex: AttributeError: 42 (in cybersource_flex/cli/tokens/inspect.py, line" in message


@pytest.mark.parametrize(("value", "has_traceback"), [("1", True), ("true", True), ("0", False), ("", False)])
def test_the_environment_variable(value: str, has_traceback: bool) -> None:
    _, _, err = run("explain", "missing.json", environment={"CYBERSOURCE_FLEX_DEBUG": value})
    assert ("Traceback" in err) is has_traceback


def test_debug_shows_the_causes_of_an_error(emulator: Emulator) -> None:
    code, _, err = run(*NO_HOST, "--debug", environment=emulator.environ)
    assert code == 3
    assert "ConnectionFailedError: " in err.partition("\nError: ")[0]
    _, _, err = run(*NO_HOST, "--debug", "--json", environment=emulator.environ)
    report = json.loads(err)
    assert (
        report["traceback"].startswith("Traceback (most recent call last):\n")
        or "was the cause of" in report["traceback"]
    )


@pytest.mark.parametrize("debug", [[], ["--debug"], ["--debug", "--json"]], ids=["plain", "debug", "debug and json"])
def test_no_secret_or_card_data_is_shown(debug: list[str], emulator: Emulator, tmp_path: Path) -> None:
    canaries = Canaries()
    number = canaries.plant("card number", TEST_CARDS["visa"])
    secret = canaries.secret()
    environ = {**emulator.environ, "CYBERSOURCE_SECRET_KEY": secret}
    (tmp_path / "cards").write_text(json.dumps({"id": "x", "card": {"number": number}}), "utf-8")
    (tmp_path / "config.json").write_text(f'{{"merchant_keysecret": "{secret}",', "utf-8")
    paths = ("--input", str(tmp_path / "cards"), "--output", str(tmp_path / "tokens"))
    outputs = [
        run("capture-context", *debug, environment=environ),
        run("demo", "--url", "http://127.0.0.1:9", *debug, environment=environ),
        run("probe", "--interval", "0", *debug, environment=environ),
        run("doctor", "--config", str(tmp_path / "config.json"), *debug),
        run("explain", str(tmp_path / "config.json"), *debug),
        run("verify", "--jwk", str(tmp_path / "config.json"), "a.b.c", *debug),
        run("inspect", f"a.{number}.c", *debug),
        run("tokenize", *paths, *debug, environment=environ),
    ]
    for error in ("ValueError", "KeyError", "TypeError", "RuntimeError", "LookupError"):
        for value in (number, secret):
            outputs.append(run_patched(raising(f'{error}("no {value}")'), "inspect", "x", *debug))
            assert outputs[-1][0] == 70
    # A cause with data, of an error without.
    patch = (
        "import cybersource_flex.cli.tokens.inspect as i\n"
        "def fail(*_):\n"
        f"    try: int('{number}{secret}')\n"
        "    except ValueError as cause: raise RuntimeError from cause\n"
        "i.read_token = fail\n"
        "from cybersource_flex.cli import main"
    )
    outputs.append(run_patched(patch, "inspect", "x", *debug))
    for code, out, err in outputs:
        canaries.search(out + err, f"the output of a command with exit code {code}")
        assert debug or "Traceback" not in err


@pytest.mark.parametrize("debug", [[], ["--debug"], ["--debug", "--json"]], ids=["plain", "debug", "debug and json"])
@pytest.mark.parametrize(
    "arguments",
    [
        ["inspect", "x", "{}"],
        ["{}"],
        ["--{}"],
        ["inspect", "--{}"],
        ["explain", "{}"],
        ["inspect", "--file", "folder/{}"],
        ["verify", "--jwk", "{}", "a.b.c"],
        ["emulator", "--scenario", "{}"],
        ["emulator", "--merchant", "{}", "--merchant", "{}"],
        ["emulator", "--p12", "missing/{}"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize(
    "credential",
    [TEST_CARDS["visa"], "eyJhbGciOiJSUzI1NiJ9.e30.c2ln", "A1b2" * 10 + "C3d="],
    ids=["card", "token", "secret"],
)
def test_no_credential_in_an_argument_is_shown(credential: str, arguments: list[str], debug: list[str]) -> None:
    result = CliRunner().invoke(cli, [*(each.format(*[credential] * 2) for each in arguments), *debug])
    assert result.exit_code == 2
    assert "[masked]" in result.stdout + result.stderr
    assert credential not in result.stdout + result.stderr


# Streams


@posix_only
@pytest.mark.parametrize("arguments", [["--help"], ["completion", "bash"], ["demo"], ["emulator", "--list-scenarios"]])
def test_a_full_disk(arguments: list[str]) -> None:
    with open("/dev/full", "w") as device:
        code, _, err = run(*arguments, stdout=device)
        assert code == 6
        assert err == "Error: the output cannot be written: No space left on device\n"
        # An error that cannot be printed keeps its exit code.
        assert run("docter", stderr=device)[0] == 2


@posix_only
@pytest.mark.parametrize("arguments", [["--help"], ["completion", "bash"], ["demo"], ["emulator", "--list-scenarios"]])
def test_a_reader_that_ended(arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        code, _, err = run(*arguments, stdout=writer)
        assert (code, err) == (141, "")
        assert run(*arguments, "--nonsense", stderr=writer)[0] == 2
    finally:
        os.close(writer)


def close(descriptor: int) -> Callable[[], None]:
    return lambda: os.close(descriptor)


@posix_only
def test_closed_streams() -> None:
    code, _, err = run("completion", "bash", stdout=None, preexec_fn=close(1))
    assert (code, err) == (6, "Error: the output cannot be written: standard output is closed\n")
    for command in ("inspect", "verify"):
        code, out, err = run(command, stdin=None, preexec_fn=close(0))
        assert (code, out) == (2, "")
        assert "no token given" in err
    code, _, err = run("explain", "-", stdin=None, preexec_fn=close(0))
    assert code == 2
    assert "standard input is closed" in err
    assert run("completion", "bash", stderr=None, preexec_fn=close(2))[0] == 0
    assert run("docter", stderr=None, preexec_fn=close(2))[0] == 2


def test_the_command_without_arguments_shows_the_help() -> None:
    code, out, err = run()
    assert (code, out) == (2, "")
    assert err.startswith("Usage: python -m cybersource_flex [OPTIONS] COMMAND [ARGS]...\n")


def test_the_hints_call_the_program_as_the_user_does() -> None:
    assert "Hint: 'python -m cybersource_flex doctor' checks the configuration" in run("capture-context")[2]
    assert "'python -m cybersource_flex demo --help'" in run("demo", "--url")[2], "an error of the parser"
    result = run_patched("", "capture-context")
    assert "Hint: 'cybersource-flex doctor' checks the configuration" in result[2]


def test_the_script_is_called_by_its_name() -> None:
    prefix = [sys.executable, "-c", "from cybersource_flex.cli import main; main()"]
    assert run("--help", prefix=prefix)[1].startswith("Usage: cybersource-flex [OPTIONS]")
    assert "'cybersource-flex inspect --help'" in run("inspect", "--no", prefix=prefix)[2]
    assert "'python -m cybersource_flex inspect --help'" in run("inspect", "--no")[2]


@posix_only
@pytest.mark.parametrize("missing", ["click", "rich"])
@pytest.mark.parametrize("arguments", [["inspect", "x"], ["doctor", "--json"], ["--help"]], ids=" ".join)
def test_a_package_of_the_extra_is_not_installed(missing: str, arguments: list[str], tmp_path: Path) -> None:
    for installed in Path(click.__file__).parents[1].iterdir():
        if installed.name != missing:
            (tmp_path / installed.name).symlink_to(installed)
    # With -S, Python does not use the folder of the installed packages.
    prefix = [sys.executable, "-S", "-m", "cybersource_flex"]
    code, out, err = run(*arguments, prefix=prefix, environment={"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"})
    assert (code, out) == (2, "")
    assert err == f"Error: cybersource-flex needs {missing}: pip install 'cybersource-flex[cli]'\n"


def test_control_characters_are_shown_as_code_points() -> None:
    _, _, err = run("no\x1b[31mcommand\x07\nsecond line")
    assert "\x1b" not in err
    assert_one_line(err)
    assert "<U+001B>[31mcommand" in err or r"\x1b[31mcommand" in err
