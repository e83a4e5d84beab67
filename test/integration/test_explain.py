"""Diagnosis of a 401: ``AuthenticationError.diagnosis`` and ``report``, and ``cybersource-flex explain``."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cybersource_flex import FlexClient, errors, fields
from cybersource_flex.auth import BearerToken, HttpSignature, JwtP12, JwtSharedSecret
from cybersource_flex.cli.commands import cli
from cybersource_flex.emulator import Emulator, Merchant
from cybersource_flex.errors import AuthenticationError

WRONG_SECRET = base64.b64encode(b"another secret of 32 bytes......").decode()
OTHER_KEY = "00000000-0000-4000-8000-000000000000"


def call(client: FlexClient) -> None:
    client.create_capture_context(fields(card=["number"]))


def authentication_error(auth: Any, url: str, **settings: Any) -> AuthenticationError:
    with FlexClient(auth, environment=url, **settings) as client, pytest.raises(AuthenticationError) as caught:
        call(client)
    error = caught.value
    assert json.loads(json.dumps(error.report())) == error.report()
    assert len(str(error).splitlines()) == 1
    return error


def likeliest_cause(error: AuthenticationError) -> str:
    return error.diagnosis[0].name


def explain(*arguments: str, stdin: str | bytes | None = None) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli, ["explain", *arguments], input=stdin)
    return result.exit_code, result.stdout, result.stderr


def save_report(error: AuthenticationError, folder: Path) -> str:
    path = folder / "report.json"
    path.write_text(json.dumps(error.report()), "utf-8")
    return str(path)


@pytest.mark.parametrize("changes", [{"secret_key": WRONG_SECRET}, {"key_id": OTHER_KEY}, {"merchant_id": "another"}])
def test_wrong_credentials(changes: dict[str, str], emulator: Emulator) -> None:
    error = authentication_error(JwtSharedSecret(**{**emulator.auth, **changes}), emulator.url)
    assert likeliest_cause(error) == "credentials"
    assert [attempt.status for attempt in error.attempts] == [401]


def test_a_truncated_secret(emulator: Emulator) -> None:
    error = authentication_error(JwtSharedSecret(**{**emulator.auth, "secret_key": WRONG_SECRET[:32]}), emulator.url)
    assert likeliest_cause(error) == "secret"
    assert "24 bytes" in error.diagnosis[0].evidence_for[0]
    assert str(error).endswith("likely cause: the shared secret is not decoded, or incomplete")


@pytest.mark.parametrize("offset", [600, -600])
def test_a_wrong_clock(offset: int) -> None:
    with Emulator(clock=lambda: time.time() + offset) as emulator:
        error = authentication_error(JwtSharedSecret(**emulator.auth), emulator.url, correct_clock=False)
        assert likeliest_cause(error) == "clock"
        assert any("correct_clock is off" in evidence for evidence in error.diagnosis[0].evidence_for)
        assert len(error.attempts) == 1
        # After the correction of the clock, the cause is the secret.
        error = authentication_error(JwtSharedSecret(**{**emulator.auth, "secret_key": WRONG_SECRET}), emulator.url)
        assert likeliest_cause(error) == "credentials"
        assert len(error.attempts) == 2
        clock = next(cause for cause in error.diagnosis if cause.name == "clock")
        assert clock.score == 0
        assert "that attempt was rejected too" in clock.evidence_against[0]


def test_a_key_of_another_scheme(emulator: Emulator) -> None:
    error = authentication_error(JwtSharedSecret(**{**emulator.auth, "key_id": "1234567890123456789012"}), emulator.url)
    assert likeliest_cause(error) == "key_id"
    assert "1234567890123456789012" not in json.dumps(error.report()) + repr(error.diagnosis)


def test_a_meta_key_with_swapped_ids() -> None:
    merchant = Merchant("shop", OTHER_KEY, WRONG_SECRET, portfolio_id="group")
    with Emulator(merchants=[merchant]) as emulator:
        signer = JwtSharedSecret("shop", OTHER_KEY, WRONG_SECRET, portfolio_id="group")
        with FlexClient(signer, environment=emulator.url) as client:
            call(client)
        for ids in ({"portfolio_id": "shop"}, {}):
            assert (
                likeliest_cause(
                    authentication_error(JwtSharedSecret("shop", OTHER_KEY, WRONG_SECRET, **ids), emulator.url)
                )
                == "credentials"
            )
        error = authentication_error(
            JwtSharedSecret("group", OTHER_KEY, WRONG_SECRET, portfolio_id="shop"), emulator.url
        )
        assert likeliest_cause(error) == "credentials"
        assert "may be swapped" in error.diagnosis[0].evidence_for[0]


def test_a_p12_of_another_environment(emulator: Emulator) -> None:
    with Emulator(merchants=[Merchant(emulator.auth["merchant_id"], OTHER_KEY, WRONG_SECRET)]) as other:
        signer = JwtP12(other.auth["merchant_id"], other.make_p12("password"), "password")
        error = authentication_error(signer, emulator.url)
    assert likeliest_cause(error) == "environment"
    assert error.report()["facts"]["certificate_days_left"] > 0


def test_a_revoked_access_token(emulator: Emulator) -> None:
    token = emulator.issue_access_token()
    with FlexClient(BearerToken(token), environment=emulator.url) as client:
        call(client)
        emulator.revoke_access_token(token)
        with pytest.raises(AuthenticationError) as caught:
            call(client)
    assert likeliest_cause(caught.value) == "key_expired"
    assert caught.value.report()["facts"]["accepted_same_operation"] == 1
    assert token not in json.dumps(caught.value.report())


def test_a_key_that_worked_before() -> None:
    offset = [0.0]
    with (
        Emulator(clock=lambda: time.time() + offset[0]) as emulator,
        FlexClient(JwtSharedSecret(**emulator.auth), environment=emulator.url, correct_clock=False) as client,
    ):
        call(client)
        offset[0] = 200_000.0
        with pytest.raises(AuthenticationError) as caught:
            call(client)
    assert likeliest_cause(caught.value) == "clock"
    key_expired = next(cause for cause in caught.value.diagnosis if cause.name == "key_expired")
    assert key_expired.evidence_for[0].startswith("1 signed call of this operation was accepted before")


def test_http_signature(emulator: Emulator) -> None:
    with pytest.warns(DeprecationWarning, match="March 2027"):
        signer = HttpSignature(**{**emulator.auth, "secret_key": WRONG_SECRET})
    error = authentication_error(signer, emulator.url)
    assert error.report()["facts"]["scheme"] == "http_signature"
    assert {cause.name: cause.score for cause in error.diagnosis}["signed_headers"] == 0


def test_accepted_calls_are_counted_despite_other_failures(emulator: Emulator) -> None:
    with FlexClient(JwtSharedSecret(**emulator.auth), environment=emulator.url) as client:
        call(client)
        with pytest.raises(errors.NotFoundError):
            client.payment_details("00000000-0000-4000-8000-00000000ffff")
        call(client)
        emulator.queue_scenarios(["clock-skew;seconds=172800"])
        with pytest.raises(AuthenticationError) as caught:
            call(client)
    facts = caught.value.report()["facts"]
    assert (facts["accepted"], facts["accepted_same_operation"], facts["accepted_with_body"]) == (2, 2, 2)


# The command `explain`.


def test_a_saved_report_is_explained(emulator: Emulator, tmp_path: Path) -> None:
    error = authentication_error(JwtSharedSecret(**{**emulator.auth, "secret_key": WRONG_SECRET}), emulator.url)
    code, out, err = explain(save_report(error, tmp_path))
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "POST /flex/v2/sessions: 401"
    assert [line for line in lines if line[:1].isdigit()] == [
        f"{number}. {cause.title} ({likelihood})"
        for number, (cause, likelihood) in enumerate(zip(error.diagnosis, likelihoods(error), strict=True), 1)
    ]
    assert str(error.correlation_id) in out
    assert emulator.auth["merchant_id"] not in out
    assert emulator.auth["key_id"] not in out
    assert "127.0.0.1" not in out


def likelihoods(error: AuthenticationError) -> list[str]:
    return [
        "likely"
        if cause.score >= 70
        else "possible"
        if cause.score >= 30
        else "unlikely"
        if cause.score
        else "ruled out"
        for cause in error.diagnosis
    ]


def test_json_and_standard_input(emulator: Emulator) -> None:
    error = authentication_error(JwtSharedSecret(**{**emulator.auth, "secret_key": WRONG_SECRET}), emulator.url)
    code, out, _ = explain("-", "--json", stdin=json.dumps(error.report()))
    assert code == 0
    content = json.loads(out)
    assert content["report"] == error.report()
    assert [cause["name"] for cause in content["causes"]] == [cause.name for cause in error.diagnosis]
    assert set(content["causes"][0]) == {
        *("name", "title", "score", "likelihood", "evidence_for", "evidence_against", "advice"),
    }


VALID_REPORT: dict[str, Any] = {
    "report": "cybersource-flex 401",
    "version": 1,
    "method": "POST",
    "path": "/flex/v2/sessions",
    "status": 401,
    "correlation_id": None,
    "attempts": [],
    "facts": {"signed": True},
}


def test_a_minimal_report() -> None:
    assert explain("-", stdin=json.dumps(VALID_REPORT))[0] == 0
    assert explain("-", stdin=json.dumps({**VALID_REPORT, "of_a_newer_version": 1}))[0] == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "it is not JSON"),
        ("not c4n4ry JSON", "it is not JSON"),
        (b"\xff\xfe\x00", "it is not a text file in UTF-8"),
        ("[" * 100_000, "it is not JSON"),
        (" " * 300_000, "larger than 256 KiB"),
        ("[]", "not what AuthenticationError.report() returns"),
        ('{"report": "something else c4n4ry"}', "not what AuthenticationError.report() returns"),
        (json.dumps({**VALID_REPORT, "version": 2}), "its version is not 1"),
        (json.dumps({**VALID_REPORT, "status": 403}), "'status' is missing or invalid"),
        (json.dumps({**VALID_REPORT, "method": "c4n4ry\x1b[2J"}), "'method' is missing or invalid"),
        (json.dumps({**VALID_REPORT, "path": None}), "'path' is missing or invalid"),
        (json.dumps({**VALID_REPORT, "correlation_id": "c4n4ry\n"}), "'correlation_id' is missing or invalid"),
        (json.dumps({**VALID_REPORT, "attempts": [{"started_at": "c4n4ry"}]}), "'attempts' is missing or invalid"),
        (json.dumps({**VALID_REPORT, "attempts": [{"started_at": 1e300}]}), "'attempts' is missing or invalid"),
        (json.dumps({**VALID_REPORT, "facts": {}}), "'facts' is missing or invalid"),
        (json.dumps({**VALID_REPORT, "facts": {"scheme": "c4n4ry"}}), "the fact 'scheme' has an invalid value"),
    ],
)
def test_invalid_reports_are_rejected(content: str | bytes, message: str) -> None:
    code, out, err = explain("-", stdin=content)
    assert (code, out) == (2, "")
    assert message in err
    assert "c4n4ry" not in err


def test_a_missing_file(tmp_path: Path) -> None:
    assert explain(str(tmp_path / "none.json"))[0] == 2
    assert explain(str(tmp_path))[0] == 2
    assert explain()[0] == 2


def test_explain_in_a_subprocess(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(json.dumps(VALID_REPORT), "utf-8")
    command = [sys.executable, "-W", "error", "-m", "cybersource_flex", "explain"]
    result = subprocess.run([*command, str(tmp_path / "report.json")], capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, "")
    assert subprocess.run([*command, "-"], input=b"", capture_output=True, timeout=60).returncode == 2


# The documentation.


def test_the_documentation_names_every_error_and_every_cause() -> None:
    from cybersource_flex.transport.diagnosis import diagnose

    page = (Path(__file__).resolve().parents[2] / "docs" / "errors.md").read_text("utf-8")
    tree = str(errors.__doc__).partition("::")[2].partition("No message")[0].strip("\n")
    assert tree.rstrip() in page
    for cause in diagnose({}):
        assert f"`{cause.name}`" in page
        assert cause.title in page.lower()


def test_the_example_in_the_documentation(tmp_path: Path) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "errors.md").read_text("utf-8")
    expected = page.partition("$ cybersource-flex explain report.json\n")[2].partition("\n...\n```")[0]
    facts = {
        "signed": True,
        "method": "POST",
        "has_body": True,
        "host": "test",
        "accepted": 0,
        "rejections": 1,
        "scheme": "jwt_shared_secret",
        "key_id_format": "uuid",
        "secret_bytes": 32,
        "algorithm": "HS256",
        "clock_offset": -600.1,
        "clock_correction": 0.0,
        "clock_correction_enabled": False,
    }
    attempt = {"number": 1, "started_at": 1795316645.5, "duration": 0.2, "status": 401, "error": None}
    report = {**VALID_REPORT, "correlation_id": OTHER_KEY, "attempts": [attempt], "facts": facts}
    assert explain("-", stdin=json.dumps(report))[1].startswith(expected + "\n")
