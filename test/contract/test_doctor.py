"""``cybersource-flex doctor`` as a person and as a program meet it."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from cybersource_flex.cli.commands import cli
from cybersource_flex.emulator import Emulator

PASSWORD = "c4n4ry-passw0rd"
KEYS = Path(__file__).resolve().parents[1] / "vectors" / "keys"


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("CYBERSOURCE_"):
            monkeypatch.delenv(name)


def doctor(*arguments: str, **environ: str) -> Result:
    return CliRunner().invoke(cli, ["doctor", *arguments], env=environ)


def examined(*arguments: str, **environ: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The report, and its findings by their check; a check that is there twice is the worse one."""
    result = doctor("--json", *arguments, **environ)
    assert result.exit_code in (0, 1), result.output
    report = json.loads(result.stdout)
    assert set(report) == {"ok", "problems", "warnings", "source", "scheme", "findings"}
    assert report["ok"] == (result.exit_code == 0) == (report["problems"] == 0)
    found: dict[str, Any] = {}
    for each in report["findings"]:
        assert set(each) == {"check", "level", "text", "hint", "facts"}
        assert each["level"] in ("ok", "warning", "problem")
        found.setdefault(each["check"], each)
    for secret in (PASSWORD, *(value for name, value in environ.items() if name.endswith(("SECRET_KEY", "TOKEN")))):
        assert secret not in result.output
    return report, found


def levels(findings: dict[str, Any]) -> dict[str, str]:
    return {name: each["level"] for name, each in findings.items()}


def test_all_is_well(emulator: Emulator) -> None:
    report, found = examined(**emulator.environ)
    assert report["ok"]
    assert report["warnings"] == 0
    assert report["scheme"] == "jwt_shared_secret"
    assert report["source"] == "the environment"
    assert set(levels(found).values()) == {"ok"}
    assert set(found) == {"scheme", "key_id", "secret", "host", "reachable", "clock", "signed_request"}
    assert found["scheme"]["facts"]["merchant_id"] == emulator.auth["merchant_id"]
    assert found["key_id"]["facts"] == {"shape": "uuid", "key_id": emulator.auth["key_id"]}
    assert found["secret"]["facts"] == {"bytes": 32}
    assert found["host"]["facts"]["host"] == emulator.url
    assert found["clock"]["facts"] == {"offset_seconds": 0}
    assert found["signed_request"]["facts"] == {"tried": True, "accepted": True, "status": 201}


def test_for_a_person(emulator: Emulator) -> None:
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("CYBERSOURCE_")},
        **emulator.environ,
        "CYBERSOURCE_AUTH": "http_signature",
    }
    command = [sys.executable, "-W", "error", "-m", "cybersource_flex.cli", "doctor"]
    options: Any = {"capture_output": True, "text": True, "encoding": "utf-8", "timeout": 120, "check": False}
    done = subprocess.run(command, env=environ, **options)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout, "no colour in a pipe"
    lines = done.stdout.splitlines()
    assert lines[0] == "Configuration from the environment"
    assert lines[-1] == "no problems, 1 warning"
    assert any(line.split()[:2] == ["warning", "scheme"] and "March 2027" in line for line in lines)
    assert any(line.split()[:2] == ["ok", "signed_request"] for line in lines)
    assert emulator.auth["secret_key"] not in done.stdout
    done = subprocess.run([*command, "--offline"], env={**environ, "FORCE_COLOR": "1", "TERM": "xterm"}, **options)
    assert "\x1b[33mwarning" in done.stdout


def test_a_wrong_secret(emulator: Emulator) -> None:
    report, found = examined(**{**emulator.environ, "CYBERSOURCE_SECRET_KEY": "A" * 43 + "="})
    assert report["problems"] == 1
    refused = found["signed_request"]
    assert refused["level"] == "problem"
    assert refused["facts"]["status"] == 401
    assert refused["facts"]["correlation_id"] in refused["text"]
    assert refused["hint"] == "the emulator says why: the signature of the token does not match: another secret"


def test_the_hint_of_a_host_that_does_not_say_why() -> None:
    with Emulator(include_rejection_header=False) as emulator:
        _, found = examined(**{**emulator.environ, "CYBERSOURCE_SECRET_KEY": "A" * 43 + "="})
    assert found["signed_request"]["hint"].startswith("usual causes: a key of the other environment")


@pytest.mark.parametrize(("ahead", "level"), [(-200, "problem"), (30, "warning"), (200, "problem"), (2, "ok")])
def test_the_clock(ahead: int, level: str) -> None:
    with Emulator(clock=lambda: time.time() + ahead) as emulator:
        _, found = examined(**emulator.environ)
    assert found["clock"]["level"] == level
    assert abs(found["clock"]["facts"]["offset_seconds"] + ahead) <= 1
    if level != "ok":
        assert ("behind" in found["clock"]["text"]) == (ahead > 0)
        hint = found["clock"]["hint"]
        assert hint.startswith("set it by NTP")
        assert ("refused as not yet valid" in hint) == (ahead > 0)
        assert ("expire so much earlier" in hint) == (ahead < 0)
    assert found["signed_request"]["level"] == "ok"
    left = int(found["signed_request"]["text"].removesuffix(" s").rpartition(" ")[2])
    assert left == pytest.approx(900 + min(ahead, 0), abs=3)


def test_a_clock_by_which_all_contexts_have_expired() -> None:
    with Emulator(clock=lambda: time.time() - 1200) as emulator:
        _, found = examined(**emulator.environ)
    refused = found["signed_request"]
    assert refused["level"] == "problem"
    assert re.search("by this machine's clock, which is (1199|1200|1201) s ahead of the host's", refused["text"])
    assert refused["hint"] == "is the clock right?"


def test_http_signature(emulator: Emulator) -> None:
    report, found = examined(**{**emulator.environ, "CYBERSOURCE_AUTH": "http_signature"})
    assert report["ok"]
    assert report["warnings"] == 1
    assert found["scheme"]["facts"]["ends"] == "2027-03"
    assert isinstance(found["scheme"]["facts"]["days"], int)
    assert "jwt_shared_secret" in found["scheme"]["hint"]


def test_key_id_and_secret_that_were_exchanged(emulator: Emulator) -> None:
    auth = emulator.auth
    exchanged = {"CYBERSOURCE_KEY_ID": auth["secret_key"], "CYBERSOURCE_SECRET_KEY": auth["key_id"].replace("-", "")}
    result = doctor("--offline", **{**emulator.environ, **exchanged})
    assert "CYBERSOURCE_KEY_ID is a shared secret" in result.stdout
    assert "exchanged?" in result.stdout
    assert auth["secret_key"] not in result.stdout
    _, found = examined("--offline", **{**emulator.environ, "CYBERSOURCE_KEY_ID": "key-1"})
    assert found["key_id"]["facts"] == {"shape": "other", "key_id": None}
    assert found["key_id"]["level"] == "warning"


def test_a_secret_of_another_length(emulator: Emulator) -> None:
    _, found = examined("--offline", **{**emulator.environ, "CYBERSOURCE_SECRET_KEY": "QUJD" * 8})
    assert levels(found)["secret"] == "warning"
    assert found["secret"]["facts"] == {"bytes": 24}


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
    _, found = examined(**p12(emulator, tmp_path, days=days))
    certificate = found["certificate"]
    assert certificate["level"] == level
    assert certificate["facts"]["days"] in (int(days) - 1, int(days))
    assert found["key_id"]["facts"]["shape"] == "22 digits"
    key_id, merchant = found["key_id"]["facts"]["key_id"], emulator.auth["merchant_id"]
    assert certificate["facts"]["subject"] == f"serialNumber={key_id},CN={merchant}"
    assert levels(found)["signed_request"] == "ok"


def test_an_expired_p12(emulator: Emulator, tmp_path: Path) -> None:
    _, found = examined(**p12(emulator, tmp_path, days=-3))
    assert "expired on" in found["credentials"]["text"]
    assert levels(found)["credentials"] == "problem"


def test_a_wrong_password_does_not_end_the_examination(emulator: Emulator, tmp_path: Path) -> None:
    report, found = examined(**{**p12(emulator, tmp_path), "CYBERSOURCE_P12_PASSWORD": PASSWORD + "x"})
    assert report["problems"] == 1
    assert found["credentials"]["text"] == "CYBERSOURCE_P12_PATH: the password is wrong, or the file is damaged"
    assert levels(found)["reachable"] == levels(found)["clock"] == "ok"
    assert "signed_request" not in found


def test_message_level_encryption(emulator: Emulator, tmp_path: Path) -> None:
    file = tmp_path / "response.p12"
    file.write_bytes(emulator.make_response_mle_p12(PASSWORD, days=10))
    environ = {
        **p12(emulator, tmp_path),
        "CYBERSOURCE_MLE_ENCRYPT_REQUESTS": "generate_flex_api_capture_context",
        "CYBERSOURCE_MLE_RESPONSE_KEY": str(file),
        "CYBERSOURCE_MLE_RESPONSE_KEY_PASSWORD": PASSWORD,
    }
    report, found = examined(**environ)
    assert report["ok"]
    assert levels(found)["mle_request"] == "ok"
    assert levels(found)["mle_response"] == "warning"
    assert found["mle_response"]["facts"]["days"] in (9, 10)
    assert len(found["mle_response"]["facts"]["kid"]) == 22
    _, found = examined(**{**environ, "CYBERSOURCE_MLE_RESPONSE_KEY_PASSWORD": "x"})
    assert levels(found)["mle"] == "problem"
    assert levels(found)["certificate"] == levels(found)["reachable"] == "ok"
    environ |= {"CYBERSOURCE_MLE_RESPONSE_KEY": str(KEYS / "response_mle.key.pem"), "CYBERSOURCE_MLE_RESPONSE_KID": "1"}
    del environ["CYBERSOURCE_MLE_RESPONSE_KEY_PASSWORD"]
    _, found = examined("--offline", **environ)
    assert "the Business Center alone" in found["mle_response"]["text"]


def test_tls(tmp_path: Path) -> None:
    with Emulator(tls=True, client_certificates="required") as emulator:
        _, found = examined(**emulator.environ)
        assert levels(found)["reachable"] == "problem"
        assert "CYBERSOURCE_CA_FILE" in found["reachable"]["hint"]
        emulator.write_ca(tmp_path / "ca.pem")
        certificate, key = emulator.issue_client_certificate("shop one")
        (tmp_path / "client.pem").write_bytes(key + certificate)
        environ = {**emulator.environ, "CYBERSOURCE_CA_FILE": str(tmp_path / "ca.pem")}
        environ["CYBERSOURCE_CLIENT_CERTIFICATE"] = str(tmp_path / "client.pem")
        report, found = examined(**environ)
        assert report["ok"]
        assert "CN=shop one" in found["client_certificate"]["facts"]["subject"]
    _, found = examined(**{**environ, "CYBERSOURCE_CA_FILE": str(tmp_path / "none.pem")})
    assert levels(found)["tls"] == "problem"
    assert levels(found)["key_id"] == "ok"


@pytest.mark.parametrize(
    ("days", "check", "level", "text"),
    [
        (365, "mle_response", "ok", "in 36"),
        (10, "mle_response", "warning", "ends on"),
        (-3, "mle", "problem", "CYBERSOURCE_MLE_RESPONSE_KEY: the certificate '.*' expired on"),
    ],
)
@pytest.mark.parametrize("source", ["the environment", "a dictionary"])
def test_the_certificate_of_a_response_key_whose_id_was_given(
    source: str, days: int, check: str, level: str, text: str, emulator: Emulator, tmp_path: Path
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
        _, found = examined("--offline", **environ)
    else:
        config = {
            "authentication_type": "JWT",
            "jwt_key_type": "SHARED_SECRET",
            "merchantid": emulator.auth["merchant_id"],
            "run_environment": emulator.url,
            "merchant_keyid": emulator.auth["key_id"],
            "merchant_secretkey": emulator.auth["secret_key"],
            "enableResponseMleGlobally": True,
            "responseMleKID": "7",
            "responseMlePrivateKeyFilePath": str(file),
            "responseMlePrivateKeyFilePassword": PASSWORD,
        }
        (tmp_path / "config.json").write_text(json.dumps(config))
        _, found = examined("--offline", "--config", str(tmp_path / "config.json"))
        text = text.replace("CYBERSOURCE_MLE_RESPONSE_KEY", "responseMlePrivateKeyFilePath")
    assert found[check]["level"] == level
    assert re.search(text, found[check]["text"])
    if check == "mle_response":
        assert found[check]["facts"]["kid"] == "7"
        assert found[check]["facts"]["days"] in (days - 1, days)


def issued(folder: Path, name: str, days: int) -> Path:
    """A certificate by itself with its key, that ends in so many days."""
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
def test_the_end_of_a_client_certificate(days: int, check: str, level: str, emulator: Emulator, tmp_path: Path) -> None:
    environ = {**emulator.environ, "CYBERSOURCE_CLIENT_CERTIFICATE": str(issued(tmp_path, "shop", days))}
    _, found = examined("--offline", **environ)
    assert found[check]["level"] == level
    if level == "problem":
        assert re.search(r"^CYBERSOURCE_CLIENT_CERTIFICATE .*: the certificate 'shop' expired on", found[check]["text"])


@pytest.mark.parametrize(("days", "level"), [(365, "ok"), (10, "warning"), (-3, "warning")])
def test_the_end_of_what_stands_between(days: int, level: str, emulator: Emulator, tmp_path: Path) -> None:
    shop, between = issued(tmp_path, "shop", 365), issued(tmp_path, "between", days)
    begins = b"-----BEGIN CERTIFICATE-----"
    shop.write_bytes(shop.read_bytes() + begins + between.read_bytes().partition(begins)[2])
    _, found = examined("--offline", **emulator.environ, CYBERSOURCE_CLIENT_CERTIFICATE=str(shop))
    assert levels(found)["client_certificate"] == "ok"
    chain = found["client_certificate_chain"]
    assert chain["level"] == level
    assert chain["facts"]["subject"] == "CN=between"


@pytest.mark.parametrize(
    ("days", "level", "text"),
    [
        ([365], "ok", "^1 certificate, 0 of which ended or end within 30 days$"),
        ([365, 10], "warning", "^2 certificates; subject CN=ca1; ends on"),
        ([-3, 365], "warning", "^2 certificates; subject CN=ca0; ended on"),
        ([-3], "problem", "^CYBERSOURCE_CA_FILE .*: the certificate 'ca0' expired on"),
        ([-3, *[365] * 10], "ok", "^11 certificates, 1 of which ended or end"),
    ],
)
def test_the_ends_of_authorities(days: list[int], level: str, text: str, emulator: Emulator, tmp_path: Path) -> None:
    made = [issued(tmp_path, f"ca{number}", each) for number, each in enumerate(days)]
    file = tmp_path / "ca.pem"
    file.write_bytes(b"".join(each.read_bytes() for each in made))
    _, found = examined("--offline", **emulator.environ, CYBERSOURCE_CA_FILE=str(file))
    finding = found["tls" if level == "problem" else "ca_file"]
    assert finding["level"] == level
    assert re.search(text, finding["text"])


def test_a_host_that_is_not_there(emulator: Emulator) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        _, found = examined(**{**emulator.environ, "CYBERSOURCE_ENVIRONMENT": url})
    assert levels(found)["reachable"] == "problem"
    assert found["reachable"]["facts"] == {"error": "ConnectionFailedError"}
    assert "signed_request" not in found


def test_offline_asks_nobody(emulator: Emulator) -> None:
    emulator.clear()
    report, found = examined("--offline", **emulator.environ)
    assert report["ok"]
    assert set(found) == {"scheme", "key_id", "secret", "host"}
    assert emulator.requests == []


def test_a_token_is_not_sent_unasked(emulator: Emulator) -> None:
    environ = {
        "CYBERSOURCE_AUTH": "bearer",
        "CYBERSOURCE_ENVIRONMENT": emulator.url,
        "CYBERSOURCE_ACCESS_TOKEN": emulator.issue_access_token(),
    }
    emulator.clear()
    _, found = examined(**environ)
    assert found["signed_request"]["facts"] == {"tried": False}
    assert all("authorization" not in each.headers for each in emulator.requests)
    report, found = examined("--send-token", **environ)
    assert report["ok"]
    assert found["signed_request"]["facts"]["accepted"] is True


def test_no_secret_leaves(emulator: Emulator) -> None:
    emulator.clear()
    for scheme in ("jwt_shared_secret", "http_signature"):
        examined(**{**emulator.environ, "CYBERSOURCE_AUTH": scheme})
    sent = "".join(f"{each.target}{each.raw_headers}{each.body!r}" for each in emulator.requests)
    assert len(emulator.requests) >= 4
    assert emulator.auth["secret_key"] not in sent


def test_variables_that_cannot_be_read(emulator: Emulator) -> None:
    report, found = examined(**{**emulator.environ, "CYBERSOURCE_KEY_ID": ""})
    assert (report["problems"], report["scheme"]) == (1, None)
    assert "CYBERSOURCE_KEY_ID" in found["configuration"]["text"]
    report, found = examined(**{**emulator.environ, "CYBERSOURCE_LEEWAY": "900"})
    assert found["client"]["text"] == "CYBERSOURCE_LEEWAY must be a number of seconds from 0 to 600"


def test_a_dictionary(emulator: Emulator, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    config = {
        "authentication_type": "JWT",
        "jwt_key_type": "SHARED_SECRET",
        "merchantid": emulator.auth["merchant_id"],
        "run_environment": emulator.url,
        "merchant_keyid": emulator.auth["key_id"],
        "merchant_secretkey": emulator.auth["secret_key"],
        "maxPoolSize": 10,
    }
    file.write_text(json.dumps(config))
    report, found = examined("--config", str(file), CYBERSOURCE_AUTH="nonsense")
    assert report["ok"]
    assert report["source"] == str(file)
    assert found["configuration"]["level"] == "warning"
    assert found["configuration"]["text"].startswith("maxPoolSize is ignored")
    assert levels(found)["signed_request"] == "ok"
    file.write_text(json.dumps({**config, "merchantID": "x"}))
    _, found = examined("--config", str(file))
    assert "did you mean 'merchantid'?" in found["configuration"]["text"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"merchantid": "c4n4ry",\n "x": c4n4ry}', "not JSON, in line 2"),
        (b'{"merchantid": "c4n4ry", "merchantid": "y"}', "given twice: merchantid"),
        (b'["c4n4ry"]', "must be a dictionary, not list"),
        (b"\xff\xfec4n4ry", "not JSON"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_a_file_that_is_no_dictionary(content: bytes, expected: str, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_bytes(content)
    result = doctor("--json", "--config", str(file))
    assert result.exit_code == 1
    (finding,) = json.loads(result.stdout)["findings"]
    assert expected in finding["text"]
    assert "c4n4ry" not in result.output


def test_wrong_usage(tmp_path: Path) -> None:
    assert doctor("--config", str(tmp_path / "none.json")).exit_code == 2
    assert doctor("--config", str(tmp_path)).exit_code == 2
    assert doctor("--no-such-option").exit_code == 2
    assert doctor("extra").exit_code == 2
