"""The options of ``cybersource-flex emulator``: what it prints and writes is all that a client needs."""

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


def clean(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CYBERSOURCE_")}
    return {**kept, "PYTHONUNBUFFERED": "1", **more}


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        env=clean(**environment),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


class Served(NamedTuple):
    """What it printed.

    Attributes:
        lines: all of it.
        environ: what the exports say.
        comments: the rest that is for copying.
    """

    lines: list[str]
    environ: dict[str, str]
    comments: list[str]


@contextlib.contextmanager
def served(*arguments: str, **environment: str) -> Iterator[Served]:
    """The emulator as a process, until it is interrupted; which it has to take well, once it was called."""
    with subprocess.Popen(
        # What it prints ends with what --access-token prints.
        [*COMMAND, "emulator", "--port", "0", "--access-token", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=clean(**environment),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            lines: list[str] = []
            while not lines or "CYBERSOURCE_ACCESS_TOKEN" not in lines[-1]:
                line = process.stdout.readline()
                assert line, f"it ended before it was ready: {lines} {process.stderr.read()}"
                lines.append(line.strip())
            exports = [shlex.split(line)[1] for line in lines if line.startswith("export ")]
            environ = dict(export.split("=", 1) for export in exports)
            yield Served(lines, environ, [line for line in lines if line.startswith("#")])
        finally:
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert errors == ""


def check(environ: dict[str, str]) -> None:
    """The demo and the doctor go with these variables."""
    done = run("demo", "--url", environ["CYBERSOURCE_ENVIRONMENT"], **environ)
    assert done.returncode == 0, done.stderr
    assert "verified transient token, XXXXXXXXXXXX1111" in done.stdout
    done = run("doctor", "--json", **environ)
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)["problems"] == 0


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_without_options() -> None:
    with served() as found:
        assert set(found.environ) == {
            f"CYBERSOURCE_{name}" for name in ("AUTH", "ENVIRONMENT", "MERCHANT_ID", "KEY_ID", "SECRET_KEY")
        }
        check(found.environ)


def test_an_access_token() -> None:
    with served("--merchant", "shop_1") as found:
        words = shlex.split(found.comments[-1].partition("export ")[2])
        assert words[0] == "CYBERSOURCE_AUTH=bearer"
        token = words[1].removeprefix("CYBERSOURCE_ACCESS_TOKEN=")
        with FlexClient(BearerToken(token), environment=found.environ["CYBERSOURCE_ENVIRONMENT"]) as client:
            client.create_capture_context(fields(card=["number"]))


def test_tls(tmp_path: Path) -> None:
    with served("--tls", "--ca-file", str(tmp_path / "ca.pem")) as found:
        assert found.environ["CYBERSOURCE_ENVIRONMENT"].startswith("https://127.0.0.1:")
        assert found.environ["CYBERSOURCE_CA_FILE"] == str(tmp_path / "ca.pem")
        check(found.environ)
        del found.environ["CYBERSOURCE_CA_FILE"]
        done = run("demo", "--url", found.environ["CYBERSOURCE_ENVIRONMENT"], **found.environ)
        assert done.returncode == 1
        assert "certificate" in done.stderr


def test_mutual_tls(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("ca-file", "client-cert", "client-key")}
    options = [word for name, path in files.items() for word in (f"--{name}", str(path))]
    with served("--tls", "--client-certificates", "required", *options) as found:
        assert mode(files["client-key"]) == 0o600
        assert b"PRIVATE KEY" in files["client-key"].read_bytes()
        assert b"PRIVATE KEY" not in files["client-cert"].read_bytes()
        check(found.environ)
        for name in ("CERTIFICATE", "KEY"):
            del found.environ[f"CYBERSOURCE_CLIENT_{name}"]
        with FlexClient.from_env(found.environ, retry=RetryPolicy(attempts=1)) as client, pytest.raises(TransportError):
            client.create_capture_context(fields(card=["number"]))


def test_a_p12(tmp_path: Path) -> None:
    path = tmp_path / "a shop's.p12"
    with served("--p12", str(path), "--p12-password", "pass :smile: '$HOME'", "--merchant", "shop_1") as found:
        assert mode(path) == 0o600
        assert found.environ == {
            "CYBERSOURCE_AUTH": "jwt_p12",
            "CYBERSOURCE_ENVIRONMENT": found.environ["CYBERSOURCE_ENVIRONMENT"],
            "CYBERSOURCE_MERCHANT_ID": "shop_1",
            "CYBERSOURCE_P12_PATH": str(path),
            "CYBERSOURCE_P12_PASSWORD": "pass :smile: '$HOME'",
        }
        check(found.environ)


def test_the_lines_go_into_a_shell_that_had_others(tmp_path: Path) -> None:
    with served("--p12", str(tmp_path / "shop.p12")) as found:
        lines = [line for line in found.lines if line.startswith(("export ", "unset ", "#"))]
        command = f"{shlex.join(COMMAND)} doctor --json"
        before = {"CYBERSOURCE_KEY_ID": "old", "CYBERSOURCE_SECRET_KEY": "old", "CYBERSOURCE_PORTFOLIO_ID": "old"}
        done = subprocess.run(
            ["sh", "-e"],
            input="\n".join([*lines, command]),
            env=clean(**before),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_password_from_the_environment_is_not_printed(tmp_path: Path) -> None:
    password = {"CYBERSOURCE_P12_PASSWORD": "c4n4ry-passw0rd"}
    files = ["--p12", str(tmp_path / "shop.p12"), "--response-mle-p12", str(tmp_path / "mle.p12")]
    with served(*files, **password) as found:
        assert "c4n4ry" not in "".join(found.lines)
        names = ("CYBERSOURCE_P12_PASSWORD", "CYBERSOURCE_MLE_RESPONSE_KEY_PASSWORD")
        assert [found.environ[name] for name in names] == ["$CYBERSOURCE_P12_PASSWORD"] * 2
        check({**found.environ, **dict.fromkeys(names, "c4n4ry-passw0rd")})


@pytest.mark.parametrize("own", [True, False])
def test_a_portfolio_with_p12(own: bool, tmp_path: Path) -> None:
    files = ["--p12", str(tmp_path / "s.p12"), "--response-mle-p12", str(tmp_path / "r.p12")]
    options = ["--portfolio", "pf_1", *files, *([] if own else ["--p12-portfolio"])]
    with served(*options) as found:
        assert ("CYBERSOURCE_PORTFOLIO_ID" in found.environ) is not own
        check(found.environ)


def test_message_level_encryption(tmp_path: Path) -> None:
    options = ["--response-mle-p12", str(tmp_path / "r.p12"), "--request-mle-cert", str(tmp_path / "q.pem")]
    with served(*options) as found:
        assert mode(tmp_path / "r.p12") == 0o600
        check(found.environ)


@pytest.mark.parametrize("portfolio", [[], ["--portfolio", "pf_1"]])
def test_merchants(portfolio: list[str]) -> None:
    with served("--merchant", "shop_1", "--merchant", "shop_2", "--merchant", "shop_3", *portfolio) as found:
        assert found.environ["CYBERSOURCE_MERCHANT_ID"] == "shop_1"
        assert found.environ.get("CYBERSOURCE_PORTFOLIO_ID") == (portfolio[1] if portfolio else None)
        check(found.environ)
        secrets = {found.environ["CYBERSOURCE_SECRET_KEY"]}
        for name, comment in zip(("shop_2", "shop_3"), found.comments, strict=False):
            assert f"as {name}: " in comment
            words = shlex.split(comment.partition("export ")[2])
            environ = {**found.environ, **dict(word.split("=", 1) for word in words)}
            assert environ["CYBERSOURCE_MERCHANT_ID"] == name
            secrets.add(environ["CYBERSOURCE_SECRET_KEY"])
            with FlexClient.from_env(environ) as client:
                client.create_capture_context(fields(card=["number"]))
        assert len(secrets) == (1 if portfolio else 3)


def test_a_signed_host() -> None:
    for options, accepted in ((["--signed-host", "flex.example"], True), ([], False)):
        with served(*options) as found:
            address = found.environ["CYBERSOURCE_ENVIRONMENT"]
            environ = {**found.environ, "CYBERSOURCE_ENVIRONMENT": "https://flex.example"}
            with FlexClient.from_env(environ, intermediate_host=address) as client:
                if accepted:
                    client.create_capture_context(fields(card=["number"]))
                else:
                    with pytest.raises(AuthenticationError):
                        client.create_capture_context(fields(card=["number"]))


def test_payment_credentials(tmp_path: Path) -> None:
    path = tmp_path / "credentials.pem"
    with served("--payment-credentials", "--credentials-key", str(path)) as found:
        assert mode(path) == 0o600
        assert str(path) in found.comments[0]
        with FlexClient.from_env(found.environ) as client:
            context = client.create_capture_context(fields(card=["number"]))
            token = client.tokenize(context, {"card": {"number": "4111111111111111"}})
            (reference,) = token.payment_credentials_references.values()
            key = load_pem_private_key(path.read_bytes(), None)
            opened = client.payment_credentials(reference, key)  # type: ignore[arg-type]
            assert opened.reveal()["card"]["number"] == "4111111111111111"


def test_a_scenario() -> None:
    with served("--scenario", "status-503;retry-after=none") as found:
        policy = RetryPolicy(attempts=1)
        with FlexClient.from_env(found.environ, retry=policy) as client, pytest.raises(ServerError):
            client.create_capture_context(fields(card=["number"]))


def test_scenarios_are_listed() -> None:
    from cybersource_flex.emulator import SCENARIOS

    done = run("emulator", "--list-scenarios")
    assert done.returncode == 0
    titles = [line for line in done.stdout.splitlines() if not line.startswith(" ")]
    assert titles == [kind.usage for kind in SCENARIOS.values()]


def test_files_that_exist_stay(tmp_path: Path) -> None:
    path, other = tmp_path / "shop.p12", tmp_path / "mle.p12"
    path.write_bytes(b"precious")
    path.chmod(0o644)
    arguments = ("--p12", str(path), "--response-mle-p12", str(other))
    done = run("emulator", "--port", "0", *arguments)
    assert done.returncode == 2
    assert done.stderr == f"Error: {path} exists; use --force to overwrite it\n"
    assert path.read_bytes() == b"precious"
    assert not other.exists()
    with served(*arguments, "--force") as found:
        assert path.read_bytes() != b"precious"
        assert mode(path) == 0o600
        check(found.environ)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["mle.p12", "shop.p12"]


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"precious")
    link = tmp_path / "shop.p12"
    link.symlink_to(tmp_path / "elsewhere")
    assert run("emulator", "--port", "0", "--p12", str(link)).returncode == 2
    with served("--p12", str(link), "--force") as found:
        assert not link.is_symlink()
        check(found.environ)
    assert (tmp_path / "elsewhere").read_bytes() == b"precious"
    dangling = tmp_path / "dangling.p12"
    dangling.symlink_to(tmp_path / "nowhere")
    assert run("emulator", "--port", "0", "--p12", str(dangling)).returncode == 2
    assert not (tmp_path / "nowhere").exists()


def test_a_taken_port_leaves_no_files(tmp_path: Path) -> None:
    with served() as found:
        port = found.environ["CYBERSOURCE_ENVIRONMENT"].rpartition(":")[2]
        done = run("emulator", "--port", port, "--p12", str(tmp_path / "shop.p12"))
        check(found.environ)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder that nobody can write to: /proc")
def test_where_one_file_cannot_be_written_none_is_left(tmp_path: Path) -> None:
    arguments = ("--p12", str(tmp_path / "shop.p12"), "--request-mle-cert", "/proc/self/nothing.pem")
    done = run("emulator", "--port", "0", *arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    assert re.fullmatch(r"Error: /proc/\w+/nothing\.pem cannot be written: .*\n", done.stderr)
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
    done = CliRunner().invoke(cli, ["emulator", "--port", "0", *options])
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.startswith("Error: ")
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_without_trustme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    from cybersource_flex.cli.commands import cli

    monkeypatch.setitem(sys.modules, "trustme", None)
    done = CliRunner().invoke(cli, ["emulator", "--port", "0", "--tls", "--ca-file", str(tmp_path / "ca.pem")])
    assert done.exit_code == 2
    assert "trustme" in done.stderr
    assert len(done.stderr.splitlines()) == 1
