"""``cybersource-flex emulator``: clients can use the variables that it prints and the files that it writes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from cybersource_flex import FlexClient
from cybersource_flex.auth import BearerToken
from cybersource_flex.client import fields
from cybersource_flex.errors import AuthenticationError, ServerError, TransportError
from cybersource_flex.transport import RetryPolicy

COMMAND = [sys.executable, "-W", "error", "-m", "cybersource_flex.cli"]


def make_environ(**more: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CYBERSOURCE_")}
    return {**inherited, "PYTHONUNBUFFERED": "1", **more}


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        env=make_environ(**environment),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


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
def run_emulator(*arguments: str, **environment: str) -> Iterator[EmulatorOutput]:
    """Run the emulator in a subprocess. At the end of the block it is interrupted and has to exit with code 0."""
    with subprocess.Popen(
        # The line of --access-token is the last one of the output.
        [*COMMAND, "emulator", "--port", "0", "--access-token", *arguments],
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
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert errors == ""


def check(environ: dict[str, str]) -> None:
    """Check that ``demo`` and ``doctor`` succeed with these variables."""
    result = run("demo", "--url", environ["CYBERSOURCE_ENVIRONMENT"], **environ)
    assert result.returncode == 0, result.stderr
    assert "verified transient token, XXXXXXXXXXXX1111" in result.stdout
    result = run("doctor", "--json", **environ)
    assert result.returncode == 0, result.stdout
    assert json.loads(result.stdout)["problems"] == 0


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_without_options() -> None:
    with run_emulator() as output:
        assert set(output.environ) == {
            f"CYBERSOURCE_{name}" for name in ("AUTH", "ENVIRONMENT", "MERCHANT_ID", "KEY_ID", "SECRET_KEY")
        }
        check(output.environ)


def test_an_access_token() -> None:
    with run_emulator("--merchant", "shop_1") as output:
        words = shlex.split(output.comments[-1].partition("export ")[2])
        assert words[0] == "CYBERSOURCE_AUTH=bearer"
        token = words[1].removeprefix("CYBERSOURCE_ACCESS_TOKEN=")
        with FlexClient(BearerToken(token), environment=output.environ["CYBERSOURCE_ENVIRONMENT"]) as client:
            client.create_capture_context(fields(card=["number"]))


def test_tls(tmp_path: Path) -> None:
    with run_emulator("--tls", "--ca-file", str(tmp_path / "ca.pem")) as output:
        assert output.environ["CYBERSOURCE_ENVIRONMENT"].startswith("https://127.0.0.1:")
        assert output.environ["CYBERSOURCE_CA_FILE"] == str(tmp_path / "ca.pem")
        check(output.environ)
        del output.environ["CYBERSOURCE_CA_FILE"]
        result = run("demo", "--url", output.environ["CYBERSOURCE_ENVIRONMENT"], **output.environ)
        assert result.returncode == 1
        assert "certificate" in result.stderr


def test_mutual_tls(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("ca-file", "client-cert", "client-key")}
    options = [word for name, path in files.items() for word in (f"--{name}", str(path))]
    with run_emulator("--tls", "--client-certificates", "required", *options) as output:
        assert mode(files["client-key"]) == 0o600
        assert b"PRIVATE KEY" in files["client-key"].read_bytes()
        assert b"PRIVATE KEY" not in files["client-cert"].read_bytes()
        check(output.environ)
        for name in ("CERTIFICATE", "KEY"):
            del output.environ[f"CYBERSOURCE_CLIENT_{name}"]
        with (
            FlexClient.from_env(output.environ, retry=RetryPolicy(attempts=1)) as client,
            pytest.raises(TransportError),
        ):
            client.create_capture_context(fields(card=["number"]))


def test_a_p12(tmp_path: Path) -> None:
    path = tmp_path / "a shop's.p12"
    with run_emulator("--p12", str(path), "--p12-password", "pass :smile: '$HOME'", "--merchant", "shop_1") as output:
        assert mode(path) == 0o600
        assert output.environ == {
            "CYBERSOURCE_AUTH": "jwt_p12",
            "CYBERSOURCE_ENVIRONMENT": output.environ["CYBERSOURCE_ENVIRONMENT"],
            "CYBERSOURCE_MERCHANT_ID": "shop_1",
            "CYBERSOURCE_P12_PATH": str(path),
            "CYBERSOURCE_P12_PASSWORD": "pass :smile: '$HOME'",
        }
        check(output.environ)


def test_the_printed_lines_replace_variables_of_a_shell(tmp_path: Path) -> None:
    with run_emulator("--p12", str(tmp_path / "shop.p12")) as output:
        lines = [line for line in output.lines if line.startswith(("export ", "unset ", "#"))]
        command = f"{shlex.join(COMMAND)} doctor --json"
        before = {"CYBERSOURCE_KEY_ID": "old", "CYBERSOURCE_SECRET_KEY": "old", "CYBERSOURCE_PORTFOLIO_ID": "old"}
        result = subprocess.run(
            ["sh", "-e"],
            input="\n".join([*lines, command]),
            env=make_environ(**before),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr


def test_a_password_from_the_environment_is_not_printed(tmp_path: Path) -> None:
    password = {"CYBERSOURCE_P12_PASSWORD": "c4n4ry-passw0rd"}
    files = ["--p12", str(tmp_path / "shop.p12"), "--response-mle-p12", str(tmp_path / "mle.p12")]
    with run_emulator(*files, **password) as output:
        assert "c4n4ry" not in "".join(output.lines)
        names = ("CYBERSOURCE_P12_PASSWORD", "CYBERSOURCE_MLE_RESPONSE_KEY_PASSWORD")
        assert [output.environ[name] for name in names] == ["$CYBERSOURCE_P12_PASSWORD"] * 2
        check({**output.environ, **dict.fromkeys(names, "c4n4ry-passw0rd")})


@pytest.mark.parametrize("own", [True, False])
def test_a_portfolio_with_p12(own: bool, tmp_path: Path) -> None:
    files = ["--p12", str(tmp_path / "s.p12"), "--response-mle-p12", str(tmp_path / "r.p12")]
    options = ["--portfolio", "pf_1", *files, *([] if own else ["--p12-portfolio"])]
    with run_emulator(*options) as output:
        assert ("CYBERSOURCE_PORTFOLIO_ID" in output.environ) is not own
        check(output.environ)


def test_message_level_encryption(tmp_path: Path) -> None:
    options = ["--response-mle-p12", str(tmp_path / "r.p12"), "--request-mle-cert", str(tmp_path / "q.pem")]
    with run_emulator(*options) as output:
        assert mode(tmp_path / "r.p12") == 0o600
        check(output.environ)


@pytest.mark.parametrize("portfolio", [[], ["--portfolio", "pf_1"]])
def test_merchants(portfolio: list[str]) -> None:
    with run_emulator("--merchant", "shop_1", "--merchant", "shop_2", "--merchant", "shop_3", *portfolio) as output:
        assert output.environ["CYBERSOURCE_MERCHANT_ID"] == "shop_1"
        assert output.environ.get("CYBERSOURCE_PORTFOLIO_ID") == (portfolio[1] if portfolio else None)
        check(output.environ)
        secrets = {output.environ["CYBERSOURCE_SECRET_KEY"]}
        for name, comment in zip(("shop_2", "shop_3"), output.comments, strict=False):
            assert f"as {name}: " in comment
            words = shlex.split(comment.partition("export ")[2])
            environ = {**output.environ, **dict(word.split("=", 1) for word in words)}
            assert environ["CYBERSOURCE_MERCHANT_ID"] == name
            secrets.add(environ["CYBERSOURCE_SECRET_KEY"])
            with FlexClient.from_env(environ) as client:
                client.create_capture_context(fields(card=["number"]))
        assert len(secrets) == (1 if portfolio else 3)


def test_a_signed_host() -> None:
    for options, accepted in ((["--signed-host", "flex.example"], True), ([], False)):
        with run_emulator(*options) as output:
            address = output.environ["CYBERSOURCE_ENVIRONMENT"]
            environ = {**output.environ, "CYBERSOURCE_ENVIRONMENT": "https://flex.example"}
            with FlexClient.from_env(environ, intermediate_host=address) as client:
                if accepted:
                    client.create_capture_context(fields(card=["number"]))
                else:
                    with pytest.raises(AuthenticationError):
                        client.create_capture_context(fields(card=["number"]))


def test_payment_credentials(tmp_path: Path) -> None:
    path = tmp_path / "credentials.pem"
    with run_emulator("--payment-credentials", "--credentials-key", str(path)) as output:
        assert mode(path) == 0o600
        assert str(path) in output.comments[0]
        with FlexClient.from_env(output.environ) as client:
            context = client.create_capture_context(fields(card=["number"]))
            token = client.tokenize(context, {"card": {"number": "4111111111111111"}})
            (reference,) = token.payment_credentials_references.values()
            key = load_pem_private_key(path.read_bytes(), None)
            opened = client.payment_credentials(reference, key)  # type: ignore[arg-type]
            assert opened.reveal()["card"]["number"] == "4111111111111111"


def test_a_scenario() -> None:
    with run_emulator("--scenario", "status-503;retry-after=none") as output:
        policy = RetryPolicy(attempts=1)
        with FlexClient.from_env(output.environ, retry=policy) as client, pytest.raises(ServerError):
            client.create_capture_context(fields(card=["number"]))


def test_scenarios_are_listed() -> None:
    from cybersource_flex.emulator import SCENARIOS

    result = run("emulator", "--list-scenarios")
    assert result.returncode == 0
    titles = [line for line in result.stdout.splitlines() if not line.startswith(" ")]
    assert titles == [scenario.usage for scenario in SCENARIOS.values()]


def test_existing_files_are_not_overwritten_without_force(tmp_path: Path) -> None:
    path, other = tmp_path / "shop.p12", tmp_path / "mle.p12"
    path.write_bytes(b"precious")
    path.chmod(0o644)
    arguments = ("--p12", str(path), "--response-mle-p12", str(other))
    result = run("emulator", "--port", "0", *arguments)
    assert result.returncode == 2
    assert result.stderr == f"Error: {path} exists; use --force to overwrite it\n"
    assert path.read_bytes() == b"precious"
    assert not other.exists()
    with run_emulator(*arguments, "--force") as output:
        assert path.read_bytes() != b"precious"
        assert mode(path) == 0o600
        check(output.environ)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["mle.p12", "shop.p12"]


def test_a_link_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"precious")
    link = tmp_path / "shop.p12"
    link.symlink_to(tmp_path / "elsewhere")
    assert run("emulator", "--port", "0", "--p12", str(link)).returncode == 2
    with run_emulator("--p12", str(link), "--force") as output:
        assert not link.is_symlink()
        check(output.environ)
    assert (tmp_path / "elsewhere").read_bytes() == b"precious"
    dangling = tmp_path / "dangling.p12"
    dangling.symlink_to(tmp_path / "nowhere")
    assert run("emulator", "--port", "0", "--p12", str(dangling)).returncode == 2
    assert not (tmp_path / "nowhere").exists()


def test_no_files_are_left_if_the_port_is_in_use(tmp_path: Path) -> None:
    with run_emulator() as output:
        port = output.environ["CYBERSOURCE_ENVIRONMENT"].rpartition(":")[2]
        result = run("emulator", "--port", port, "--p12", str(tmp_path / "shop.p12"))
        check(output.environ)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder in which no file can be created: /proc")
def test_no_files_are_left_if_one_cannot_be_written(tmp_path: Path) -> None:
    arguments = ("--p12", str(tmp_path / "shop.p12"), "--request-mle-cert", "/proc/self/nothing.pem")
    result = run("emulator", "--port", "0", *arguments)
    assert result.returncode == 1
    assert result.stdout == ""
    assert re.fullmatch(r"Error: /proc/\w+/nothing\.pem cannot be written: .*\n", result.stderr)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--tls"], "--tls needs --ca-file"),
        (["--ca-file", "ca.pem"], "--ca-file needs --tls"),
        (["--client-certificates", "required"], "--client-certificates needs --tls"),
        (["--tls", "--ca-file", "a", "--client-certificates", "required"], "needs --client-cert"),
        (["--tls", "--ca-file", "a", "--client-cert", "c", "--client-key", "k"], "needs --client-certificates"),
        (
            ["--tls", "--ca-file", "a", "--client-certificates", "optional", "--client-cert", "c"],
            "--client-cert needs --client-key",
        ),
        (["--client-key", "k"], "--client-key needs --client-cert"),
        (["--p12-portfolio", "--portfolio", "p"], "--p12-portfolio needs --p12"),
        (["--p12-portfolio", "--p12", "p"], "--p12-portfolio needs --portfolio"),
        (["--p12", "p", "--p12-password", ""], "--p12-password is empty"),
        (["--credentials-key", "c"], "--credentials-key needs --payment-credentials"),
        (["--p12", "same", "--response-mle-p12", "./same"], "given for two files"),
        (["--p12", "nowhere/shop.p12"], "there is no such folder"),
        (["--merchant", "a", "--merchant", "a"], "given twice"),
        (["--merchant", ""], "merchant_id"),
        (["--portfolio", ""], "portfolio_id"),
        (["--scenario", "nothing"], "there is no scenario 'nothing'"),
        (["--host", "0.0.0.0"], "loopback"),
    ],
)
def test_wrong_usage(options: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    from cybersource_flex.cli.commands import cli

    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, ["emulator", "--port", "0", *options])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_without_trustme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    from cybersource_flex.cli.commands import cli

    monkeypatch.setitem(sys.modules, "trustme", None)
    result = CliRunner().invoke(cli, ["emulator", "--port", "0", "--tls", "--ca-file", str(tmp_path / "ca.pem")])
    assert result.exit_code == 2
    assert "trustme" in result.stderr
    assert len(result.stderr.splitlines()) == 1
