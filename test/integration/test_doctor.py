"""``cybersource-flex doctor``: findings, exit codes, JSON and terminal output."""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trustme
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from cybersource_flex import Configuration
from cybersource_flex.cli.commands import cli
from cybersource_flex.cli.doctor_checks import _unreachable_hint
from cybersource_flex.cli.shared.errors import _RULES
from cybersource_flex.emulator import Emulator
from cybersource_flex.transport import Tls
from support.merchant_config import merchant_config

PASSWORD = "c4n4ry-passw0rd"
KEYS = Path(__file__).resolve().parents[1] / "vectors" / "keys"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("CYBERSOURCE_"):
            monkeypatch.delenv(name)


def doctor(*arguments: str, **environ: str) -> Result:
    return CliRunner().invoke(cli, ["doctor", *arguments], env=environ)


def run_json(*arguments: str, **environ: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The JSON report, and its findings by check name; of several findings of one check, the first."""
    result = doctor("--json", *arguments, **environ)
    assert result.exit_code in (0, 1), result.output
    report = json.loads(result.stdout)
    assert set(report) == {"ok", "problems", "warnings", "source", "scheme", "findings"}
    assert report["ok"] == (result.exit_code == 0) == (report["problems"] == 0)
    findings: dict[str, Any] = {}
    for finding in report["findings"]:
        assert set(finding) == {"check", "level", "message", "hint", "facts"}
        assert finding["level"] in ("ok", "warning", "problem")
        findings.setdefault(finding["check"], finding)
    for secret in (PASSWORD, *(value for name, value in environ.items() if name.endswith(("SECRET_KEY", "TOKEN")))):
        assert secret not in result.output
    return report, findings


def levels(findings: dict[str, Any]) -> dict[str, str]:
    return {name: finding["level"] for name, finding in findings.items()}


def test_a_correct_configuration(emulator: Emulator) -> None:
    report, findings = run_json(**emulator.environ)
    assert report["ok"]
    assert report["warnings"] == 0
    assert report["scheme"] == "jwt_shared_secret"
    assert report["source"] == "the environment"
    assert set(levels(findings).values()) == {"ok"}
    assert set(findings) == {"scheme", "key_id", "secret", "host", "reachable", "clock", "signed_request"}
    assert findings["scheme"]["facts"]["merchant_id"] == emulator.auth["merchant_id"]
    assert findings["key_id"]["facts"] == {"shape": "uuid", "key_id": emulator.auth["key_id"]}
    assert findings["secret"]["facts"] == {"bytes": 32}
    assert findings["host"]["facts"]["host"] == emulator.url
    assert findings["clock"]["facts"] == {"offset_seconds": 0}
    assert findings["signed_request"]["facts"] == {"tried": True, "accepted": True, "status": 201}


def test_terminal_output(emulator: Emulator) -> None:
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("CYBERSOURCE_")},
        **emulator.environ,
        "CYBERSOURCE_AUTH": "http_signature",
    }
    command = [sys.executable, "-W", "error", "-m", "cybersource_flex", "doctor"]
    options: Any = {"capture_output": True, "text": True, "encoding": "utf-8", "timeout": 120, "check": False}
    process = subprocess.run(command, env=environ, **options)
    assert (process.returncode, process.stderr) == (0, "")
    assert "\x1b" not in process.stdout, "no colour in a pipe"
    lines = process.stdout.splitlines()
    assert lines[0] == "Configuration from the environment"
    assert lines[-1] == "no problems, 1 warning"
    assert any(line.split()[:2] == ["warning", "scheme"] and "March 2027" in line for line in lines)
    assert any(line.split()[:2] == ["ok", "signed_request"] for line in lines)
    assert emulator.auth["secret_key"] not in process.stdout
    process = subprocess.run([*command, "--offline"], env={**environ, "FORCE_COLOR": "1", "TERM": "xterm"}, **options)
    assert "\x1b[33mwarning" in process.stdout


def test_a_wrong_secret(emulator: Emulator) -> None:
    report, findings = run_json(**{**emulator.environ, "CYBERSOURCE_SECRET_KEY": "A" * 43 + "="})
    assert report["problems"] == 1
    rejected = findings["signed_request"]
    assert rejected["level"] == "problem"
    assert rejected["facts"]["status"] == 401
    assert rejected["facts"]["correlation_id"] in rejected["message"]
    reason = "the signature of the token does not match: it was made with another secret"
    assert rejected["hint"] == f"the emulator's reason: {reason}"


def test_the_hint_for_a_401_without_a_reason() -> None:
    with Emulator(include_rejection_header=False) as emulator:
        _, findings = run_json(**{**emulator.environ, "CYBERSOURCE_SECRET_KEY": "A" * 43 + "="})
    assert findings["signed_request"]["hint"].startswith("usual causes: a key of the other environment")


@pytest.mark.parametrize(("ahead", "level"), [(-200, "problem"), (30, "warning"), (200, "problem"), (2, "ok")])
def test_the_clock(ahead: int, level: str) -> None:
    with Emulator(clock=lambda: time.time() + ahead) as emulator:
        _, findings = run_json(**emulator.environ)
    assert findings["clock"]["level"] == level
    assert abs(findings["clock"]["facts"]["offset_seconds"] + ahead) <= 1
    if level != "ok":
        assert ("behind" in findings["clock"]["message"]) == (ahead > 0)
        hint = findings["clock"]["hint"]
        assert hint.startswith("synchronize the clock by NTP")
        assert ("rejected as not yet valid" in hint) == (ahead > 0)
        assert ("expire too early" in hint) == (ahead < 0)
    assert findings["signed_request"]["level"] == "ok"
    remaining = int(findings["signed_request"]["message"].removesuffix(" s").rpartition(" ")[2])
    assert remaining == pytest.approx(900 + min(ahead, 0), abs=3)


def test_a_clock_so_far_ahead_that_contexts_have_expired() -> None:
    with Emulator(clock=lambda: time.time() - 1200) as emulator:
        _, findings = run_json(**emulator.environ)
    rejected = findings["signed_request"]
    assert rejected["level"] == "problem"
    assert re.search("by this machine's clock, which is (1199|1200|1201) s ahead of the host's", rejected["message"])
    assert rejected["hint"] == "is the clock correct?"


def test_http_signature(emulator: Emulator) -> None:
    report, findings = run_json(**{**emulator.environ, "CYBERSOURCE_AUTH": "http_signature"})
    assert report["ok"]
    assert report["warnings"] == 1
    assert findings["scheme"]["facts"]["ends"] == "2027-03"
    assert isinstance(findings["scheme"]["facts"]["days"], int)
    assert "jwt_shared_secret" in findings["scheme"]["hint"]


def test_swapped_key_id_and_secret(emulator: Emulator) -> None:
    auth = emulator.auth
    swapped = {"CYBERSOURCE_KEY_ID": auth["secret_key"], "CYBERSOURCE_SECRET_KEY": auth["key_id"].replace("-", "")}
    result = doctor("--offline", **{**emulator.environ, **swapped})
    assert "CYBERSOURCE_KEY_ID is a shared secret" in result.stdout
    assert "swapped?" in result.stdout
    assert auth["secret_key"] not in result.stdout
    _, findings = run_json("--offline", **{**emulator.environ, "CYBERSOURCE_KEY_ID": "key-1"})
    assert findings["key_id"]["facts"] == {"shape": "other", "key_id": None}
    assert findings["key_id"]["level"] == "warning"


def test_a_secret_of_another_length(emulator: Emulator) -> None:
    _, findings = run_json("--offline", **{**emulator.environ, "CYBERSOURCE_SECRET_KEY": "QUJD" * 8})
    assert levels(findings)["secret"] == "warning"
    assert findings["secret"]["facts"] == {"bytes": 24}


def p12(emulator: Emulator, folder: Path, **options: Any) -> dict[str, str]:
    (folder / "shop.p12").write_bytes(emulator.make_p12(PASSWORD, **options))
    return {
        "CYBERSOURCE_AUTH": "jwt_p12",
        "CYBERSOURCE_ENVIRONMENT": emulator.url,
        "CYBERSOURCE_MERCHANT_ID": emulator.auth["merchant_id"],
        "CYBERSOURCE_P12_PATH": str(folder / "shop.p12"),
        "CYBERSOURCE_P12_PASSWORD": PASSWORD,
    }


@pytest.mark.parametrize(("days", "level"), [(365, "ok"), (29, "warning"), (0.5, "warning")])
def test_a_p12(days: float, level: str, emulator: Emulator, tmp_path: Path) -> None:
    _, findings = run_json(**p12(emulator, tmp_path, days=days))
    certificate = findings["certificate"]
    assert certificate["level"] == level
    assert certificate["facts"]["days"] in (int(days) - 1, int(days))
    assert findings["key_id"]["facts"]["shape"] == "22 digits"
    key_id, merchant = findings["key_id"]["facts"]["key_id"], emulator.auth["merchant_id"]
    assert certificate["facts"]["subject"] == f"serialNumber={key_id},CN={merchant}"
    assert levels(findings)["signed_request"] == "ok"


def test_an_expired_p12(emulator: Emulator, tmp_path: Path) -> None:
    _, findings = run_json(**p12(emulator, tmp_path, days=-3))
    assert "expired on" in findings["credentials"]["message"]
    assert levels(findings)["credentials"] == "problem"


def test_a_wrong_password_does_not_stop_the_checks(emulator: Emulator, tmp_path: Path) -> None:
    report, findings = run_json(**{**p12(emulator, tmp_path), "CYBERSOURCE_P12_PASSWORD": PASSWORD + "x"})
    assert report["problems"] == 1
    assert findings["credentials"]["message"] == "CYBERSOURCE_P12_PATH: the password is wrong, or the file is damaged"
    assert levels(findings)["reachable"] == levels(findings)["clock"] == "ok"
    assert "signed_request" not in findings


def test_message_level_encryption(emulator: Emulator, tmp_path: Path) -> None:
    file = tmp_path / "response.p12"
    file.write_bytes(emulator.make_response_mle_p12(PASSWORD, days=10))
    environ = {
        **p12(emulator, tmp_path),
        "CYBERSOURCE_MLE_ENCRYPT_REQUESTS": "generate_flex_api_capture_context",
        "CYBERSOURCE_MLE_RESPONSE_KEY": str(file),
        "CYBERSOURCE_MLE_RESPONSE_KEY_PASSWORD": PASSWORD,
    }
    report, findings = run_json(**environ)
    assert report["ok"]
    assert levels(findings)["mle_request"] == "ok"
    assert levels(findings)["mle_response"] == "warning"
    assert findings["mle_response"]["facts"]["days"] in (9, 10)
    assert len(findings["mle_response"]["facts"]["kid"]) == 22
    _, findings = run_json(**{**environ, "CYBERSOURCE_MLE_RESPONSE_KEY_PASSWORD": "x"})
    assert levels(findings)["mle"] == "problem"
    assert levels(findings)["certificate"] == levels(findings)["reachable"] == "ok"
    environ |= {"CYBERSOURCE_MLE_RESPONSE_KEY": str(KEYS / "response_mle.key.pem"), "CYBERSOURCE_MLE_RESPONSE_KID": "1"}
    del environ["CYBERSOURCE_MLE_RESPONSE_KEY_PASSWORD"]
    _, findings = run_json("--offline", **environ)
    assert "the Business Center shows" in findings["mle_response"]["message"]


def test_tls(tmp_path: Path) -> None:
    with Emulator(tls=True, client_certificates="required") as emulator:
        without_ca = {name: value for name, value in emulator.environ.items() if name != "CYBERSOURCE_CA_FILE"}
        _, findings = run_json(**without_ca)
        assert levels(findings)["reachable"] == "problem"
        assert "CYBERSOURCE_CA_FILE" in findings["reachable"]["hint"]
        with Emulator(tls=True) as other:
            other.write_ca(tmp_path / "other.pem")
        _, findings = run_json(**{**without_ca, "CYBERSOURCE_CA_FILE": str(tmp_path / "other.pem")})
        assert findings["reachable"]["hint"] == (
            "does the file of CYBERSOURCE_CA_FILE contain the CA that issued this certificate?"
        )
        emulator.write_ca(tmp_path / "ca.pem")
        certificate, key = emulator.issue_client_certificate("shop one")
        (tmp_path / "client.pem").write_bytes(key + certificate)
        environ = {**emulator.environ, "CYBERSOURCE_CA_FILE": str(tmp_path / "ca.pem")}
        environ["CYBERSOURCE_CLIENT_CERTIFICATE"] = str(tmp_path / "client.pem")
        del environ["CYBERSOURCE_CLIENT_KEY"]
        report, findings = run_json(**environ)
        assert report["ok"]
        assert "CN=shop one" in findings["client_certificate"]["facts"]["subject"]
    _, findings = run_json(**{**environ, "CYBERSOURCE_CA_FILE": str(tmp_path / "none.pem")})
    assert levels(findings)["tls"] == "problem"
    assert levels(findings)["key_id"] == "ok"


@pytest.mark.parametrize("proxy", [None, "http://127.0.0.1:1"])
def test_the_hint_for_an_unreachable_host_names_no_setting_that_is_set(proxy: str | None, emulator: Emulator) -> None:
    environ = {**emulator.environ, "CYBERSOURCE_ENVIRONMENT": "http://localhost:1"}
    if proxy is not None:
        environ["CYBERSOURCE_PROXY"] = proxy
    _, findings = run_json(**environ)
    assert levels(findings)["reachable"] == "problem"
    assert ("CYBERSOURCE_PROXY" in findings["reachable"]["hint"]) == (proxy is None)


def test_the_hint_for_certificates_that_python_3_13_rejects() -> None:
    strict = "the certificate is not accepted: Missing Authority Key Identifier; ... (VERIFY_X509_STRICT)"
    hint = _unreachable_hint(strict, Configuration())
    (code,) = re.findall(r"context = .*", hint)
    names: dict[str, Any] = {"ssl": ssl, "Tls": Tls, "FlexClient": SimpleNamespace(from_env=lambda tls: tls)}
    exec(code.replace("cafile=...", "cafile=None").replace("FlexClient", "tls = FlexClient"), names)  # noqa: S102
    assert not names["tls"].ssl_context.verify_flags & ssl.VERIFY_X509_STRICT
    assert names["tls"].ssl_context.verify_mode is ssl.CERT_REQUIRED


def test_messages_name_no_file_of_the_repository() -> None:
    """An installation from a wheel has no folder docs/."""
    messages = [rule[2] for rule in _RULES]
    messages += [CliRunner().invoke(cli, [name, "--help"]).stdout for name in cli.commands]
    _, findings = run_json(CYBERSOURCE_AUTH="unknown")
    messages.append(findings["configuration"]["hint"])
    messages.append(_unreachable_hint("VERIFY_X509_STRICT", Configuration()))
    assert "'Configuration' of the documentation" in findings["configuration"]["hint"]
    assert [message for message in messages if "docs/" in message] == []


@pytest.mark.parametrize("ca", ["of the emulator", "of another", "none"])
def test_the_hint_for_the_certificate_of_an_emulator(ca: str, tmp_path: Path) -> None:
    """The client uses a name that is not in the certificate: a loopback address."""
    authority = trustme.CA()
    issued = authority.issue_cert("flex.example")
    certificate = (issued.private_key_pem.bytes(), issued.cert_chain_pems[0].bytes())
    with Emulator(server_certificate=certificate, key_pool=1) as emulator:
        environ = emulator.environ
        if ca != "none":
            trusted = authority if ca == "of the emulator" else trustme.CA()
            trusted.cert_pem.write_to_path(tmp_path / "ca.pem")
            environ["CYBERSOURCE_CA_FILE"] = str(tmp_path / "ca.pem")
        _, findings = run_json(**environ)
    assert findings["reachable"]["level"] == "problem"
    assert {
        "of the emulator": "--public-url and --signed-host",
        "of another": "contain the CA that issued this certificate?",
        "none": "is the host an emulator",
    }[ca] in findings["reachable"]["hint"]


@pytest.mark.parametrize(
    ("days", "check", "level", "message"),
    [
        (365, "mle_response", "ok", "in 36"),
        (10, "mle_response", "warning", "expires on"),
        (-3, "mle", "problem", "CYBERSOURCE_MLE_RESPONSE_KEY: the certificate '.*' expired on"),
    ],
)
@pytest.mark.parametrize("source", ["the environment", "a dictionary"])
def test_the_certificate_of_a_response_key_with_an_explicit_id(
    source: str, days: int, check: str, level: str, message: str, emulator: Emulator, tmp_path: Path
) -> None:
    file = tmp_path / "response.p12"
    file.write_bytes(emulator.make_response_mle_p12(PASSWORD, days=days))
    if source == "the environment":
        environ = {
            **emulator.environ,
            "CYBERSOURCE_MLE_RESPONSE_KEY": str(file),
            "CYBERSOURCE_MLE_RESPONSE_KEY_PASSWORD": PASSWORD,
            "CYBERSOURCE_MLE_RESPONSE_KID": "7",
        }
        _, findings = run_json("--offline", **environ)
    else:
        config = {
            **merchant_config(emulator),
            "enableResponseMleGlobally": True,
            "responseMleKID": "7",
            "responseMlePrivateKeyFilePath": str(file),
            "responseMlePrivateKeyFilePassword": PASSWORD,
        }
        (tmp_path / "config.json").write_text(json.dumps(config))
        _, findings = run_json("--offline", "--config", str(tmp_path / "config.json"))
        message = message.replace("CYBERSOURCE_MLE_RESPONSE_KEY", "responseMlePrivateKeyFilePath")
    assert findings[check]["level"] == level
    assert re.search(message, findings[check]["message"])
    if check == "mle_response":
        assert findings[check]["facts"]["kid"] == "7"
        assert findings[check]["facts"]["days"] in (days - 1, days)


def make_certificate(folder: Path, name: str, days: int) -> Path:
    """A file with a self-signed certificate that expires in ``days`` days, and its key."""
    key = rsa.generate_private_key(65537, 2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    ends = datetime.now(UTC) + timedelta(days=days)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(ends - timedelta(days=1000))
        .not_valid_after(ends)
        .sign(key, hashes.SHA256())
    )
    file = folder / f"{name}.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(private + certificate.public_bytes(Encoding.PEM))
    return file


@pytest.mark.parametrize(
    ("days", "check", "level"),
    [(365, "client_certificate", "ok"), (10, "client_certificate", "warning"), (-3, "tls", "problem")],
)
def test_the_expiry_of_a_client_certificate(
    days: int, check: str, level: str, emulator: Emulator, tmp_path: Path
) -> None:
    environ = {**emulator.environ, "CYBERSOURCE_CLIENT_CERTIFICATE": str(make_certificate(tmp_path, "shop", days))}
    _, findings = run_json("--offline", **environ)
    assert findings[check]["level"] == level
    if level == "problem":
        assert re.search(
            r"^CYBERSOURCE_CLIENT_CERTIFICATE .*: the certificate 'shop' expired on", findings[check]["message"]
        )


@pytest.mark.parametrize(("days", "level"), [(365, "ok"), (10, "warning"), (-3, "warning")])
def test_the_expiry_of_an_intermediate_certificate(days: int, level: str, emulator: Emulator, tmp_path: Path) -> None:
    shop, intermediate = make_certificate(tmp_path, "shop", 365), make_certificate(tmp_path, "intermediate", days)
    header = b"-----BEGIN CERTIFICATE-----"
    shop.write_bytes(shop.read_bytes() + header + intermediate.read_bytes().partition(header)[2])
    _, findings = run_json("--offline", **emulator.environ, CYBERSOURCE_CLIENT_CERTIFICATE=str(shop))
    assert levels(findings)["client_certificate"] == "ok"
    chain = findings["client_certificate_chain"]
    assert chain["level"] == level
    assert chain["facts"]["subject"] == "CN=intermediate"


@pytest.mark.parametrize(
    ("days", "level", "message"),
    [
        ([365], "ok", "^1 certificate, 0 expired or expiring within 30 days$"),
        ([365, 10], "warning", "^2 certificates; subject CN=ca1; expires on"),
        ([-3, 365], "warning", "^2 certificates; subject CN=ca0; expired on"),
        ([-3], "problem", "^CYBERSOURCE_CA_FILE .*: the certificate 'ca0' expired on"),
        ([-3, *[365] * 10], "ok", "^11 certificates, 1 expired or expiring"),
    ],
)
def test_the_expiry_of_ca_certificates(
    days: list[int], level: str, message: str, emulator: Emulator, tmp_path: Path
) -> None:
    certificates = [make_certificate(tmp_path, f"ca{number}", each) for number, each in enumerate(days)]
    file = tmp_path / "ca.pem"
    file.write_bytes(b"".join(certificate.read_bytes() for certificate in certificates))
    _, findings = run_json("--offline", **emulator.environ, CYBERSOURCE_CA_FILE=str(file))
    finding = findings["tls" if level == "problem" else "ca_file"]
    assert finding["level"] == level
    assert re.search(message, finding["message"])


def test_an_unreachable_host(emulator: Emulator) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        _, findings = run_json(**{**emulator.environ, "CYBERSOURCE_ENVIRONMENT": url})
    assert levels(findings)["reachable"] == "problem"
    assert findings["reachable"]["facts"] == {"error": "ConnectionFailedError"}
    assert "signed_request" not in findings


def test_offline_sends_no_request(emulator: Emulator) -> None:
    emulator.clear()
    report, findings = run_json("--offline", **emulator.environ)
    assert report["ok"]
    assert set(findings) == {"scheme", "key_id", "secret", "host"}
    assert emulator.requests == []


def test_an_access_token_is_not_sent_by_default(emulator: Emulator) -> None:
    environ = {
        "CYBERSOURCE_AUTH": "bearer",
        "CYBERSOURCE_ENVIRONMENT": emulator.url,
        "CYBERSOURCE_ACCESS_TOKEN": emulator.issue_access_token(),
    }
    emulator.clear()
    _, findings = run_json(**environ)
    assert findings["signed_request"]["facts"] == {"tried": False}
    assert all("authorization" not in request.headers for request in emulator.requests)
    report, findings = run_json("--send-token", **environ)
    assert report["ok"]
    assert findings["signed_request"]["facts"]["accepted"] is True


def test_no_secret_is_sent(emulator: Emulator) -> None:
    emulator.clear()
    for scheme in ("jwt_shared_secret", "http_signature"):
        run_json(**{**emulator.environ, "CYBERSOURCE_AUTH": scheme})
    sent = "".join(f"{request.target}{request.raw_headers}{request.body!r}" for request in emulator.requests)
    assert len(emulator.requests) >= 4
    assert emulator.auth["secret_key"] not in sent


def test_invalid_variables(emulator: Emulator) -> None:
    report, findings = run_json(**{**emulator.environ, "CYBERSOURCE_KEY_ID": ""})
    assert (report["problems"], report["scheme"]) == (1, None)
    assert "CYBERSOURCE_KEY_ID" in findings["configuration"]["message"]
    report, findings = run_json(**{**emulator.environ, "CYBERSOURCE_LEEWAY": "900"})
    assert findings["client"]["message"] == "CYBERSOURCE_LEEWAY must be a number of seconds from 0 to 600"


def test_a_configuration_dictionary(emulator: Emulator, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    config = {
        **merchant_config(emulator),
        "maxPoolSize": 10,
    }
    file.write_text(json.dumps(config))
    report, findings = run_json("--config", str(file), CYBERSOURCE_AUTH="nonsense")
    assert report["ok"]
    assert report["source"] == str(file)
    assert findings["configuration"]["level"] == "warning"
    assert findings["configuration"]["message"].startswith("maxPoolSize is ignored")
    assert levels(findings)["signed_request"] == "ok"
    file.write_text(json.dumps({**config, "merchantID": "x"}))
    _, findings = run_json("--config", str(file))
    assert "did you mean 'merchantid'?" in findings["configuration"]["message"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"merchantid": "c4n4ry",\n "x": c4n4ry}', "the file is not valid JSON: error in line 2"),
        (b'{"merchantid": "c4n4ry", "merchantid": "y"}', "the file contains a name more than once: merchantid"),
        (b'["c4n4ry"]', "must be a dictionary, not list"),
        (b"\xff\xfec4n4ry", "the file is not valid JSON"),
        (b"[" * 100_000, "the file is not valid JSON"),
    ],
)
def test_a_file_without_a_valid_dictionary(content: bytes, expected: str, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_bytes(content)
    result = doctor("--json", "--config", str(file))
    assert result.exit_code == 1
    (finding,) = json.loads(result.stdout)["findings"]
    assert expected in finding["message"]
    assert "c4n4ry" not in result.output


def test_wrong_usage(tmp_path: Path) -> None:
    assert doctor("--config", str(tmp_path / "none.json")).exit_code == 2
    assert doctor("--config", str(tmp_path)).exit_code == 2
    assert doctor("--no-such-option").exit_code == 2
    assert doctor("extra").exit_code == 2


@pytest.mark.parametrize("scenario", ["reset-before", "reset-after-request"])
def test_a_connection_that_breaks_when_an_encrypted_response_is_requested(
    scenario: str, emulator: Emulator, tmp_path: Path
) -> None:
    file = tmp_path / "response.p12"
    file.write_bytes(emulator.make_response_mle_p12(PASSWORD))
    encrypted = {
        **p12(emulator, tmp_path),
        "CYBERSOURCE_MLE_RESPONSE_KEY": str(file),
        "CYBERSOURCE_MLE_RESPONSE_KEY_PASSWORD": PASSWORD,
    }
    for environ, hinted in ((encrypted, True), (emulator.environ, False)):
        emulator.queue_scenarios([scenario] * 3, path="/flex/v2/sessions")
        report, findings = run_json(**environ)
        assert not report["ok"]
        assert ("unencrypted_responses" in findings["signed_request"]["message"]) == hinted
        assert ("CYBERSOURCE_MLE_UNENCRYPTED_RESPONSES" in (findings["signed_request"]["hint"] or "")) == hinted


@pytest.mark.parametrize("scenario", ["html-200", "empty-200"])
def test_a_login_page_instead_of_the_host(scenario: str) -> None:
    with Emulator(scenario=scenario) as portal:
        report, findings = run_json(**portal.environ)
    assert not report["ok"]
    assert levels(findings)["reachable"] == "problem"
    assert findings["reachable"]["facts"] == {"status": 200, "error": "ResponseDecodingError"}
    assert "login page" in findings["reachable"]["hint"]
    assert "signed_request" not in findings


def test_a_gateway_that_responds_to_signed_requests_itself(emulator: Emulator) -> None:
    emulator.queue_scenarios(["html-200"], path="/flex/v2/sessions")
    report, findings = run_json(**emulator.environ)
    assert not report["ok"]
    assert levels(findings)["reachable"] == "ok"
    assert findings["signed_request"]["level"] == "problem"
    assert findings["signed_request"]["facts"]["accepted"] is True
    assert findings["signed_request"]["facts"]["status"] == 200
    assert "login page" in findings["signed_request"]["hint"]
