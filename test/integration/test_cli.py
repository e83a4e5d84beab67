"""The command line in a subprocess: output, errors and exit codes of ``demo``, ``emulator`` and the options."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from cybersource_flex.cli.commands import cli
from cybersource_flex.emulator import Emulator

COMMAND = [sys.executable, "-W", "error", "-m", "cybersource_flex"]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CYBERSOURCE_")}
    return subprocess.run(
        [*COMMAND, *arguments],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def test_demo() -> None:
    result = run("demo")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert "\x1b" not in result.stdout, "no colour in a pipe"
    assert re.findall(r"^(\d)\. ", result.stdout, re.MULTILINE) == list("1234567")
    assert re.findall(r'"status": "(\w+)"', result.stdout) == ["AUTHORIZED", "DECLINED"]
    assert "verified transient token, XXXXXXXXXXXX1111" in result.stdout
    assert '"transientTokenJwt"' in result.stdout
    assert "4111111111111111" not in result.stdout


ENCODINGS = ["ascii", "cp437", "cp1252", "latin-1", "cp932"]


@cache
def run_in(encoding: str, *arguments: str | bytes, **environment: str) -> subprocess.CompletedProcess[bytes]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CYBERSOURCE_")}
    return subprocess.run(
        [*COMMAND, *arguments],
        env={**inherited, "PYTHONIOENCODING": encoding, **environment},
        capture_output=True,
        timeout=120,
        check=False,
    )


def token_with_claims(claims: dict[str, object]) -> str:
    parts = (json.dumps({"kid": "zu", "alg": "RS256"}), json.dumps(claims, ensure_ascii=False), "signature")
    return ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_output_in_any_encoding(encoding: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    token = token_with_claims({"iss": "Caf\u00e9 \u2013 \u65e5\u672c \U0001f4b3", "x": "long" * 30})
    # The same name each time, so that the output can be compared.
    config = tmp_path_factory.getbasetemp() / "config.json"
    config.write_text("{}")
    commands: list[tuple[str | bytes, ...]] = [
        ("demo",),
        ("inspect", token),
        ("doctor", "--config", str(config)),
        ("-h",),
    ]
    for command in commands:
        expected, result = run_in("utf-8", *command), run_in(encoding, *command)
        assert (result.returncode, result.stderr) == (expected.returncode, expected.stderr)
        assert b"Traceback" not in result.stderr
        output, utf8_output = result.stdout.decode(encoding), expected.stdout.decode()
        if command[0] != "demo":
            # The same characters where the encoding has them; the others as ASCII or code points.
            assert output == "".join(
                char if can_encode(char, encoding) else SHOWN.get(char, f"<U+{ord(char):04X}>") for char in utf8_output
            )
        assert len(output.splitlines()) == len(utf8_output.splitlines())


SHOWN = {"\u2026": "...", "\u2013": "-"}


def can_encode(char: str, encoding: str) -> bool:
    try:
        char.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


@pytest.mark.skipif(sys.platform == "win32", reason="arguments are not bytes on Windows")
@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_arguments_that_are_not_utf_8(encoding: str) -> None:
    for command in (
        ("inspect", b"ey\xff.\xe9.x"),
        ("inspect", "--file", b"no\xff"),
        ("verify", b"\xff.jwt"),
    ):
        result = run_in(encoding, *command)
        assert result.returncode in (1, 2)
        assert b"Traceback" not in result.stderr
        (result.stdout + result.stderr).decode("utf-8" if encoding == "utf-8" else "latin-1")


@pytest.mark.parametrize("columns", ["80", "60", "40"])
def test_help_has_whole_summaries(columns: str) -> None:
    page = " ".join(run("--help", COLUMNS=columns).stdout.split())
    assert (
        "..."
        not in page.removeprefix("Usage: python -m cybersource_flex [OPTIONS] COMMAND [ARGS]...").partition(
            "Commands:"
        )[2]
    )
    for name, command in cli.commands.items():
        summary = (command.help or "").splitlines()[0]
        assert f" {name} {summary} " in f"{page} "
        assert summary.endswith(".")
        assert len(summary) <= 60, "it fits on one line of 80 columns"


def test_demo_in_colour() -> None:
    assert "\x1b[" in run("demo", FORCE_COLOR="1", TERM="xterm").stdout


@pytest.mark.parametrize("auth", ["jwt_shared_secret", "http_signature"])
def test_demo_against_a_host(auth: str, emulator: Emulator) -> None:
    environ = {**emulator.environ, "CYBERSOURCE_AUTH": auth}
    result = run("demo", "--url", emulator.url, **environ)
    assert result.returncode == 0, result.stderr
    assert "verified transient token" in result.stdout
    assert "/pts/v2/payments (not sent)" in result.stdout
    assert "/pts/v2/payments" not in [request.path for request in emulator.requests]
    assert emulator.environ["CYBERSOURCE_SECRET_KEY"] not in result.stdout + result.stderr


def test_demo_with_a_p12(emulator: Emulator, tmp_path: Path) -> None:
    (tmp_path / "shop.p12").write_bytes(emulator.make_p12("c4n4ry-passw0rd"))
    environ = {
        "CYBERSOURCE_AUTH": "jwt_p12",
        "CYBERSOURCE_MERCHANT_ID": emulator.auth["merchant_id"],
        "CYBERSOURCE_P12_PATH": str(tmp_path / "shop.p12"),
        "CYBERSOURCE_P12_PASSWORD": "c4n4ry-passw0rd",
    }
    result = run("demo", "--url", emulator.url, **environ)
    assert result.returncode == 0, result.stderr
    assert "verified transient token" in result.stdout
    assert "c4n4ry" not in result.stdout + result.stderr


@pytest.mark.parametrize("missing", ["CYBERSOURCE_MERCHANT_ID", "CYBERSOURCE_KEY_ID", "CYBERSOURCE_SECRET_KEY"])
def test_the_error_names_missing_credentials(missing: str, emulator: Emulator) -> None:
    environ = {name: value for name, value in emulator.environ.items() if name != missing}
    result = run("demo", "--url", emulator.url, **environ)
    assert result.returncode == 2
    assert missing in result.stderr
    assert "Traceback" not in result.stderr


def test_a_401_is_reported_in_one_line_with_a_hint(emulator: Emulator) -> None:
    environ = {**emulator.environ, "CYBERSOURCE_SECRET_KEY": "A" * 43 + "="}
    result = run("demo", "--url", emulator.url, **environ)
    assert result.returncode == 4
    assert re.fullmatch(r"Error: AuthenticationError: POST /flex/v2/sessions: 401.*\nHint: .*doctor.*\n", result.stderr)


def test_wrong_usage() -> None:
    assert run("demo", "--no-such-option").returncode == 2
    assert run("no-such-command").returncode == 2
    assert run("emulator", "--port", "70000").returncode == 2


def test_version_and_help() -> None:
    from cybersource_flex import __version__

    assert __version__ in run("--version").stdout
    for command in ([], ["demo"], ["doctor"], ["emulator"]):
        assert "Usage: python -m cybersource_flex" in run(*command, "--help").stdout


def test_the_emulator_serves_until_it_is_interrupted() -> None:
    with subprocess.Popen(
        [*COMMAND, "emulator", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None
        try:
            environ = {}
            while len(environ) < 5:
                line = process.stdout.readline()
                assert line, "the emulator ended before it was ready"
                match = re.match(r"\s*export (\w+)=(\S+)", line)
                if match:
                    environ[match[1]] = match[2]
            result = run("demo", "--url", environ["CYBERSOURCE_ENVIRONMENT"], **environ)
            assert result.returncode == 0, result.stderr
        finally:
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert err == ""
    assert json.dumps(out)


def test_a_port_in_use_is_reported(emulator: Emulator) -> None:
    port = emulator.url.rpartition(":")[2]
    result = run("emulator", "--port", port)
    assert result.returncode == 6
    assert port in result.stderr
    assert "Traceback" not in result.stderr
