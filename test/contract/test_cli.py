"""The command line in a subprocess: output, errors and exit codes of ``demo``, ``emulator`` and the options."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cybersource_flex.emulator import Emulator

COMMAND = [sys.executable, "-W", "error", "-m", "cybersource_flex.cli"]


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


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


def test_demo() -> None:
    result = run("demo")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert "\x1b" not in result.stdout, "no colour in a pipe"
    assert [line[:2] for line in result.stdout.splitlines() if re.match(r"\d\. ", line)] == [
        "1.",
        "2.",
        "3.",
        "4.",
        "5.",
    ]
    assert "verified transient token, XXXXXXXXXXXX1111" in result.stdout
    assert '"transientTokenJwt"' in result.stdout
    assert "4111111111111111" not in result.stdout


def test_demo_in_colour() -> None:
    assert "\x1b[" in run("demo", FORCE_COLOR="1", TERM="xterm").stdout


@pytest.mark.parametrize("auth", ["jwt_shared_secret", "http_signature"])
def test_demo_against_a_host(auth: str, emulator: Emulator) -> None:
    environ = {**emulator.environ, "CYBERSOURCE_AUTH": auth}
    result = run("demo", "--url", emulator.url, **environ)
    assert result.returncode == 0, result.stderr
    assert "verified transient token" in result.stdout
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
    assert result.returncode == 1
    assert missing in result.stderr
    assert "Traceback" not in result.stderr


def test_a_401_is_reported_in_one_line(emulator: Emulator) -> None:
    environ = {**emulator.environ, "CYBERSOURCE_SECRET_KEY": "A" * 43 + "="}
    result = run("demo", "--url", emulator.url, **environ)
    assert result.returncode == 1
    assert result.stderr.startswith("Error: AuthenticationError: POST /flex/v2/sessions: 401")
    assert len(result.stderr.splitlines()) == 1


def test_wrong_usage() -> None:
    assert run("demo", "--no-such-option").returncode == 2
    assert run("no-such-command").returncode == 2
    assert run("emulator", "--port", "70000").returncode == 2


def test_version_and_help() -> None:
    from cybersource_flex import __version__

    assert __version__ in run("--version").stdout
    for command in ([], ["demo"], ["doctor"], ["emulator"]):
        assert "Usage: cybersource-flex" in run(*command, "--help").stdout


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
    assert result.returncode == 1
    assert port in result.stderr
    assert "Traceback" not in result.stderr
