"""``cybersource-flex emulator``: clients can use the variables that it prints and the files that it writes."""

from __future__ import annotations

import base64
import contextlib
import http.client
import io
import json
import logging
import os
import re
import shlex
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from cybersource_flex import FlexClient
from cybersource_flex.auth import BearerToken
from cybersource_flex.client import fields
from cybersource_flex.errors import ApiException, AuthenticationError, ServerError, TransportError
from cybersource_flex.transport import RetryPolicy
from support.emulator_command import COMMAND, check_credentials, make_environ, run, run_emulator


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_without_options() -> None:
    with run_emulator() as output:
        assert set(output.environ) == {
            f"CYBERSOURCE_{name}" for name in ("AUTH", "ENVIRONMENT", "MERCHANT_ID", "KEY_ID", "SECRET_KEY")
        }
        check_credentials(output.environ)


@pytest.mark.skipif(os.name != "posix", reason="Windows has no SIGTERM that a process can handle")
def test_sigterm_ends_it_like_ctrl_c() -> None:
    with run_emulator(end_signal=signal.SIGTERM) as output:
        assert run("demo", "--url", output.environ["CYBERSOURCE_ENVIRONMENT"], **output.environ).returncode == 0


def test_requests_are_logged_on_standard_error_without_secrets() -> None:
    line = r"[-0-9]{10} [0-9:,]+ (INFO|DEBUG) "
    uuid = r"[-0-9a-f]{36}"
    lines = [
        rf"{line}POST /flex/v2/sessions 401 {uuid}",
        rf"{line}{uuid} rejected: the signature of the token does not match: it was made with another secret",
    ]
    with run_emulator("--log-requests", errors="\n".join([*lines, ""])) as output:
        environ = {**output.environ, "CYBERSOURCE_SECRET_KEY": base64.b64encode(b"x" * 32).decode()}
        with FlexClient.from_env(environ) as client, pytest.raises(AuthenticationError):
            client.create_capture_context(fields(card=["number"]))


def test_the_log_follows_a_replaced_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    """While the emulator starts, rich replaces standard error on a terminal."""
    from cybersource_flex.cli.emulator import _log_to_stderr

    logger, replacement = logging.getLogger("cybersource_flex.emulator"), io.StringIO()
    with contextlib.redirect_stderr(replacement), contextlib.ExitStack() as stack:
        stack.enter_context(_log_to_stderr(logging.WARNING))
        logger.warning("during the start")
        log = stack.pop_all()
    with log:
        logger.warning("after the start")
    logger.warning("after the end")
    assert re.fullmatch(r".* WARNING during the start\n", replacement.getvalue())
    assert re.fullmatch(r".* WARNING after the start\n", capsys.readouterr().err)


def test_credentials_at_wrong_places_are_not_logged() -> None:
    number, groups, jwt = "4111111111111111", "4111-1111-1111-1111", "eyJhbGciOiJSUzI1NiJ9.e30.c2ln"
    errors = rf"(?s:(?!.*({number}|{groups}|{jwt})).*\[digits\].*)"
    with run_emulator("--log-requests", errors=errors) as output:
        url = output.environ["CYBERSOURCE_ENVIRONMENT"]
        with FlexClient.from_env(output.environ) as client:
            for body in ({"fields": {number: {}}}, {number: {}}):
                with pytest.raises(ApiException) as caught:
                    client.request("POST", "/flex/v2/sessions", json=body, headers={"Accept": "application/jwt"})
                assert caught.value.status == 400
        for path, headers in (
            *((f"/flex/v2/public-keys/{each}", {}) for each in (number, groups, jwt)),
            ("/", {"v-c-emulator-scenario": number}),
            ("/", {"v-c-emulator-scenario": groups}),
        ):
            connection = http.client.HTTPConnection(url.partition("://")[2], timeout=20)
            connection.request("GET", path, headers=headers)
            assert connection.getresponse().status in (400, 404)
            connection.close()


def test_other_machines_get_https_and_the_public_url(tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    options = ["--allow-remote", "--public-url", "https://flex.example:8443", "--ca-file", str(ca_file)]
    with run_emulator(*options) as output:
        assert output.environ["CYBERSOURCE_ENVIRONMENT"] == "https://flex.example:8443"
        assert output.environ["CYBERSOURCE_CA_FILE"] == str(ca_file)
        assert mode(ca_file) & 0o444
    assert re.findall("-----BEGIN (.+)-----", ca_file.read_text("ascii")) == ["CERTIFICATE"]


def test_a_given_server_certificate(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    files = {name: tmp_path / f"{name}.pem" for name in ("ca", "cert", "key")}
    authority.cert_pem.write_to_path(files["ca"])
    issued.cert_chain_pems[0].write_to_path(files["cert"])
    issued.private_key_pem.write_to_path(files["key"])
    options = ["--server-cert", str(files["cert"]), "--server-key", str(files["key"])]
    with run_emulator(*options) as output:
        assert output.environ["CYBERSOURCE_ENVIRONMENT"].startswith("https://")
        assert "CYBERSOURCE_CA_FILE" not in output.environ
        check_credentials({**output.environ, "CYBERSOURCE_CA_FILE": str(files["ca"])})
    for wrong, message in (
        (options[:2], "--server-cert needs --server-key"),
        (options[2:], "--server-key needs --server-cert"),
        ([*options, "--no-tls"], "--server-cert needs --tls"),
        ([*options, "--ca-file", str(tmp_path / "new.pem")], "--ca-file cannot be used with --server-cert"),
        (["--server-cert", str(files["cert"]), "--server-key", str(files["cert"])], "must be a private key"),
    ):
        result = run("emulator", "--port", "0", *wrong)
        assert (result.returncode, result.stdout) == (2, "")
        assert message in result.stderr
        assert len(result.stderr.splitlines()) == 1


def read_env_file(path: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in path.read_text("ascii").splitlines())


def test_a_file_with_the_variables(tmp_path: Path) -> None:
    path = tmp_path / "flex.env"
    options = ["--p12", str(tmp_path / "shop.p12"), "--env-file", str(path)]
    with run_emulator(*options, CYBERSOURCE_P12_PASSWORD="c4n4ry-passw0rd") as output:
        assert output.environ == {}
        assert mode(path) == 0o600
        assert "c4n4ry" not in "".join(output.lines)
        assert f"# the variables are in {path}" in output.lines
        check_credentials(read_env_file(path))
        # Shells read the file too.
        script = f"set -a && . {shlex.quote(str(path))} && {shlex.join(COMMAND)} doctor --json"
        result = subprocess.run(["sh", "-ec", script], env=make_environ(), capture_output=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("name", ["a shop.p12", "$HOME.p12", "shop's.p12", 'shop".p12', "shöp.p12", "a#b.p12"])
def test_a_file_with_variables_has_no_value_that_programs_read_differently(name: str, tmp_path: Path) -> None:
    result = run("emulator", "--port", "0", "--p12", str(tmp_path / name), "--env-file", str(tmp_path / "flex.env"))
    assert result.returncode == 2
    assert "the value of CYBERSOURCE_P12_PATH has a character" in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("in_file", [False, True])
def test_given_credentials(in_file: bool, tmp_path: Path) -> None:
    secret = base64.b64encode(b"c4n4ry secret of thirty-two byte").decode()
    credentials = {"CYBERSOURCE_MERCHANT_ID": "shop_1", "CYBERSOURCE_KEY_ID": "5f6b8c1e-9d47-4a6b-8c15-2e7f90ab34cd"}
    if in_file:
        (tmp_path / "secret").write_text(secret + "\n", encoding="ascii")
        credentials["CYBERSOURCE_SECRET_KEY_FILE"] = str(tmp_path / "secret")
    else:
        credentials["CYBERSOURCE_SECRET_KEY"] = secret
    options = ["--credentials-from-env", "--env-file", str(tmp_path / "flex.env"), "--p12", str(tmp_path / "shop.p12")]
    with run_emulator(*options[: 3 if in_file else 1], **credentials) as output:
        environ = read_env_file(tmp_path / "flex.env") if in_file else output.environ
        assert environ == {
            "CYBERSOURCE_AUTH": "jwt_shared_secret",
            "CYBERSOURCE_ENVIRONMENT": environ["CYBERSOURCE_ENVIRONMENT"],
            **{name: credentials[name] for name in ("CYBERSOURCE_MERCHANT_ID", "CYBERSOURCE_KEY_ID")},
        }
        check_credentials({**environ, **credentials})
        connection = http.client.HTTPConnection(environ["CYBERSOURCE_ENVIRONMENT"].partition("://")[2], timeout=20)
        connection.request("GET", "/studio/state", headers={"Sec-Fetch-Site": "same-origin"})
        assert connection.getresponse().status == 404, "the studio would show the secret"
        connection.close()
        assert secret not in "".join(output.lines)
    with run_emulator("--credentials-from-env", *options[3:], **credentials) as output:
        check_credentials(output.environ)
        assert secret not in "".join(output.lines)


@pytest.mark.parametrize(
    ("credentials", "message"),
    [
        (
            {},
            "requires variables that are not set: CYBERSOURCE_MERCHANT_ID, CYBERSOURCE_KEY_ID, CYBERSOURCE_SECRET_KEY",
        ),
        ({"MERCHANT_ID": "m", "KEY_ID": "k", "SECRET_KEY": "c4n4ry!"}, "CYBERSOURCE_SECRET_KEY is not base64"),
        ({"AUTH": "bearer", "ACCESS_TOKEN": "c4n4ry"}, "--credentials-from-env needs a shared secret"),
    ],
)
def test_invalid_given_credentials(credentials: dict[str, str], message: str) -> None:
    variables = {f"CYBERSOURCE_{name}": value for name, value in credentials.items()}
    result = run("emulator", "--port", "0", "--credentials-from-env", **variables)
    assert (result.returncode, result.stdout) == (2, "")
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert "c4n4ry" not in result.stderr


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
        check_credentials(output.environ)
        del output.environ["CYBERSOURCE_CA_FILE"]
        result = run("demo", "--url", output.environ["CYBERSOURCE_ENVIRONMENT"], **output.environ)
        assert result.returncode == 3
        assert "certificate" in result.stderr


def test_mutual_tls(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("ca-file", "client-cert", "client-key")}
    options = [word for name, path in files.items() for word in (f"--{name}", str(path))]
    with run_emulator("--tls", "--client-certificates", "required", *options) as output:
        assert mode(files["client-key"]) == 0o600
        assert b"PRIVATE KEY" in files["client-key"].read_bytes()
        assert b"PRIVATE KEY" not in files["client-cert"].read_bytes()
        check_credentials(output.environ)
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
        check_credentials(output.environ)


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
        check_credentials({**output.environ, **dict.fromkeys(names, "c4n4ry-passw0rd")})


@pytest.mark.parametrize("own", [True, False])
def test_a_portfolio_with_p12(own: bool, tmp_path: Path) -> None:
    files = ["--p12", str(tmp_path / "s.p12"), "--response-mle-p12", str(tmp_path / "r.p12")]
    options = ["--portfolio", "pf_1", *files, *([] if own else ["--p12-portfolio"])]
    with run_emulator(*options) as output:
        assert ("CYBERSOURCE_PORTFOLIO_ID" in output.environ) is not own
        (unset,) = [line for line in output.lines if line.startswith("unset ")]
        assert ("CYBERSOURCE_PORTFOLIO_ID" in unset) is own
        check_credentials(output.environ)


def test_message_level_encryption(tmp_path: Path) -> None:
    options = ["--response-mle-p12", str(tmp_path / "r.p12"), "--request-mle-cert", str(tmp_path / "q.pem")]
    with run_emulator(*options) as output:
        assert mode(tmp_path / "r.p12") == 0o600
        check_credentials(output.environ)


@pytest.mark.parametrize("portfolio", [[], ["--portfolio", "pf_1"]])
def test_merchants(portfolio: list[str]) -> None:
    with run_emulator("--merchant", "shop_1", "--merchant", "shop_2", "--merchant", "shop_3", *portfolio) as output:
        assert output.environ["CYBERSOURCE_MERCHANT_ID"] == "shop_1"
        assert output.environ.get("CYBERSOURCE_PORTFOLIO_ID") == (portfolio[1] if portfolio else None)
        check_credentials(output.environ)
        secrets = {output.environ["CYBERSOURCE_SECRET_KEY"]}
        for name, comment in zip(("shop_2", "shop_3"), output.comments, strict=False):
            assert f"as {name}: " in comment
            words = shlex.split(comment.partition("export ")[2])
            variables = dict(word.split("=", 1) for word in words)
            assert set(variables) == set(output.environ) - {"CYBERSOURCE_ENVIRONMENT"}, "complete credentials"
            environ = {**output.environ, **variables}
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


def test_scenarios_as_json() -> None:
    from cybersource_flex.emulator import SCENARIOS

    listed = json.loads(run("emulator", "--list-scenarios", "--json").stdout)["scenarios"]
    assert list(listed) == list(SCENARIOS)
    assert listed["latency"]["parameters"]["seconds"]["default"] == "1"


def test_the_variables_as_json(tmp_path: Path) -> None:
    arguments = ["--json", "--merchant", "a", "--merchant", "b"]
    files = ["--p12", str(tmp_path / "a.p12"), "--response-mle-p12", str(tmp_path / "mle.p12")]
    with run_emulator(*arguments, *files, CYBERSOURCE_P12_PASSWORD="c4n4ry-passw0rd") as output:
        (line,) = output.lines
        assert "c4n4ry" not in line
        report = json.loads(line)
        assert report["url"] == report["variables"]["CYBERSOURCE_ENVIRONMENT"]
        names = ("CYBERSOURCE_P12_PASSWORD", "CYBERSOURCE_MLE_RESPONSE_KEY_PASSWORD")
        assert report["inherited"] == dict.fromkeys(names, "CYBERSOURCE_P12_PASSWORD")
        assert report["unset"] == ["CYBERSOURCE_KEY_ID", "CYBERSOURCE_SECRET_KEY", "CYBERSOURCE_PORTFOLIO_ID"]
        check_credentials({**report["variables"], **dict.fromkeys(names, "c4n4ry-passw0rd")})
        others = [entry["variables"] for entry in report["other_credentials"]]
        assert [entry.get("CYBERSOURCE_MERCHANT_ID") for entry in others] == ["a", "b", None]
        check_credentials({"CYBERSOURCE_ENVIRONMENT": report["url"], **others[1]})
        assert (report["env_file"], report["notes"], report["not_imitated"]) == (None, [], [])


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
        check_credentials(output.environ)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["mle.p12", "shop.p12"]


def test_a_link_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"precious")
    link = tmp_path / "shop.p12"
    link.symlink_to(tmp_path / "elsewhere")
    assert run("emulator", "--port", "0", "--p12", str(link)).returncode == 2
    with run_emulator("--p12", str(link), "--force") as output:
        assert not link.is_symlink()
        check_credentials(output.environ)
    assert (tmp_path / "elsewhere").read_bytes() == b"precious"
    dangling = tmp_path / "dangling.p12"
    dangling.symlink_to(tmp_path / "nowhere")
    assert run("emulator", "--port", "0", "--p12", str(dangling)).returncode == 2
    assert not (tmp_path / "nowhere").exists()


def test_no_files_are_left_if_the_port_is_in_use(tmp_path: Path) -> None:
    with run_emulator() as output:
        port = output.environ["CYBERSOURCE_ENVIRONMENT"].rpartition(":")[2]
        result = run("emulator", "--port", port, "--p12", str(tmp_path / "shop.p12"))
        check_credentials(output.environ)
    assert result.returncode == 6
    assert re.fullmatch(r"Error: .*\nHint: .*--port.*\n", result.stderr)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder in which no file can be created: /proc")
def test_no_files_are_left_if_one_cannot_be_written(tmp_path: Path) -> None:
    arguments = ("--p12", str(tmp_path / "shop.p12"), "--request-mle-cert", "/proc/self/nothing.pem")
    result = run("emulator", "--port", "0", *arguments)
    assert result.returncode == 6
    assert result.stdout == ""
    assert re.fullmatch(r"Error: /proc/\w+/nothing\.pem cannot be written: .*\n", result.stderr)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
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
        (["--p12", "nowhere/shop.p12"], "its folder does not exist"),
        (["--merchant", "a", "--merchant", "a"], "given twice"),
        (["--merchant", ""], "merchant_id"),
        (["--portfolio", ""], "portfolio_id"),
        (["--scenario", "nothing"], "there is no scenario 'nothing'"),
        (["--host", "0.0.0.0"], "--host 0.0.0.0 needs --allow-remote"),
        (["--host", "10.0.0.1"], "--host 10.0.0.1 needs --allow-remote"),
        (["--host", "0.0.0.0", "--allow-remote"], "--host 0.0.0.0 needs --public-url"),
        (["--host", "::", "--allow-remote", "--ca-file", "a"], "--host :: needs --public-url"),
        (["--public-url", "https://flex"], "--public-url needs --allow-remote"),
        (["--credentials-from-env", "--merchant", "m"], "cannot be used with --merchant or --portfolio"),
        (["--credentials-from-env", "--portfolio", "p"], "cannot be used with --merchant or --portfolio"),
        (["--allow-remote"], "https (--tls) needs --ca-file"),
        (["--allow-remote", "--no-tls", "--ca-file", "a"], "--ca-file needs --tls"),
        (["--allow-remote", "--ca-file", "a", "--public-url", "http://flex"], "must begin with https://"),
    ],
)
def test_wrong_usage(options: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    from cybersource_flex.cli.commands import cli

    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, ["emulator", "--port", "0", *options])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert message in result.stderr
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


def test_the_hint_about_the_port_is_only_for_errors_about_the_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from click.testing import CliRunner

    from cybersource_flex.cli.commands import cli

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    result = CliRunner().invoke(cli, ["emulator", "--port", "0", "--tls", "--ca-file", str(tmp_path / "ca.pem")])
    assert result.exit_code == 6
    assert result.stderr.startswith("Error: EmulatorError: https needs a folder for a temporary file")
    assert len(result.stderr.splitlines()) == 1
    arguments = ["emulator", "--port", "0", "--host", "flex..example", "--allow-remote", "--no-tls"]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 6
    error, hint = result.stderr.splitlines()
    assert error.startswith("Error: AddressError: the emulator cannot use host 'flex..example'")
    assert hint == "Hint: --host and --port select the address; port 0 takes a free one"


def test_profile(tmp_path: Path) -> None:
    results = [
        {"assumption": name, "verdict": "contradicted", "observed": "status 401"}
        for name in ("jwt-method-upper", "key-use")
    ]
    report = tmp_path / "report.json"
    report.write_text(json.dumps({"results": results}), encoding="utf-8")
    with run_emulator("--profile", str(report)) as output:
        assert output.environ["CYBERSOURCE_JWT_CLAIM_FORMAT"] == "method_case=lower"
        assert "# not imitated from the report: key-use" in [line.strip() for line in output.lines]
        with FlexClient.from_env(output.environ) as client:
            assert client.create_capture_context(fields(card=["number"])).required_fields
    report.write_text("{}", encoding="utf-8")
    result = run("emulator", "--profile", str(report))
    assert result.returncode == 2
    assert "profile must be a report of cybersource-flex probe" in result.stderr
