"""``cybersource-flex probe``: verdicts against emulators, the plan, exit codes, and the report."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cybersource_flex.cards.test_cards import TEST_CARDS
from cybersource_flex.cli.commands import cli
from cybersource_flex.emulator import Emulator, Merchant
from cybersource_flex.emulator.faults import content_faults
from cybersource_flex.errors import ConfigurationError
from cybersource_flex.probe.ledger import load_ledger
from cybersource_flex.probe.plan import CHECKS
from cybersource_flex.probe.results import Results, describe_value
from cybersource_flex.probe.run import MAX_REQUESTS
from cybersource_flex.testing import Canaries
from support.reference_host import DIFFERENCES, ReferenceHost

LEDGER = load_ledger()
NOT_CHECKED = {entry.id for entry in LEDGER.assumptions if entry.not_checked is not None}
# What a local host with http cannot show.
LOCAL = {"hosts", "tls"}
MLE = {"mle-response-claim", "mle-response-body"}
SIGNATURE = {entry.id for entry in LEDGER.assumptions if entry.area == "Authentication with HTTP Signature"}
JWT = {entry.id for entry in LEDGER.assumptions if entry.area == "Authentication with JWT"}


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("CYBERSOURCE_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def shared() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


@pytest.fixture
def emulator(shared: Emulator) -> Iterator[Emulator]:
    shared.clear()
    yield shared
    shared.reset_faults()


def probe(*arguments: str, **environ: str) -> Result:
    return CliRunner().invoke(cli, ["probe", "--interval", "0", *arguments], env=environ)


def run_json(*arguments: str, exit_code: int = 0, **environ: str) -> tuple[dict[str, Any], dict[str, tuple[str, str]]]:
    """The report, and verdict and observed value of each assumption."""
    result = probe("--json", *arguments, **environ)
    assert result.exit_code == exit_code, result.output
    report = json.loads(result.stdout)
    return report, {entry["assumption"]: (entry["verdict"], entry["observed"]) for entry in report["results"]}


def with_verdict(results: dict[str, tuple[str, str]], verdict: str) -> set[str]:
    return {name for name, (each, _) in results.items() if each == verdict}


def contradictions(running: Emulator, **environ: str) -> dict[str, str]:
    """The contradicted assumptions of an emulator, with the observed values."""
    _, results = run_json(exit_code=1, **(running.environ | environ))
    return {name: results[name][1] for name in with_verdict(results, "contradicted")}


# The emulator with its defaults


def test_each_assumption_is_confirmed_or_says_why_not(emulator: Emulator) -> None:
    report, results = run_json(**emulator.environ)
    assert set(results) == {entry.id for entry in LEDGER.assumptions}
    assert with_verdict(results, "contradicted") == set()
    other_schemes = SIGNATURE | {"jwt-p12-key-id", "oauth-token"}
    assert with_verdict(results, "not testable") == NOT_CHECKED | LOCAL | MLE | other_schemes
    assert report["ok"]
    assert report["outcome"] == "complete"
    assert results["tokens-error-body"][1] == "captureData.securityCode"
    assert results["payment-details"][1] == "status 200, a masked number"
    assert report["requests"] == len(emulator.requests) <= MAX_REQUESTS
    assert report["contradicted"] == 0
    assert report["confirmed"] + report["not_testable"] == len(results)


def test_http_signature(emulator: Emulator) -> None:
    _, results = run_json(**{**emulator.environ, "CYBERSOURCE_AUTH": "http_signature"})
    assert with_verdict(results, "contradicted") == set()
    only_jwt = JWT - {"shared-secret-encoding", "signature-checked"} | {"mle-request"}
    assert with_verdict(results, "not testable") == NOT_CHECKED | LOCAL | MLE | only_jwt | {"signature-meta-key"}


def test_meta_key_with_http_signature() -> None:
    with Emulator(merchants=[Merchant.generate(portfolio_id="probe_portfolio")]) as running:
        _, results = run_json(**{**running.environ, "CYBERSOURCE_AUTH": "http_signature"})
    assert results["signature-meta-key"] == ("confirmed", "accepted")
    assert with_verdict(results, "contradicted") == set()


@pytest.fixture
def p12_environ(emulator: Emulator, tmp_path: Path) -> dict[str, str]:
    """Variables of a client with a P12 file that asks for encrypted responses."""
    password, p12, response_key = "probe-password", tmp_path / "merchant.p12", tmp_path / "response.p12"
    p12.write_bytes(emulator.make_p12(password))
    response_key.write_bytes(emulator.make_response_mle_p12(password))
    return {
        "CYBERSOURCE_ENVIRONMENT": emulator.url,
        "CYBERSOURCE_AUTH": "jwt_p12",
        "CYBERSOURCE_MERCHANT_ID": emulator.auth["merchant_id"],
        "CYBERSOURCE_P12_PATH": str(p12),
        "CYBERSOURCE_P12_PASSWORD": password,
        "CYBERSOURCE_MLE_RESPONSE_KEY": str(response_key),
        "CYBERSOURCE_MLE_RESPONSE_KEY_PASSWORD": password,
    }


def test_p12_file_and_encrypted_responses(p12_environ: dict[str, str]) -> None:
    _, results = run_json(**p12_environ)
    assert with_verdict(results, "contradicted") == set()
    assert {"jwt-p12-key-id", *MLE} <= with_verdict(results, "confirmed")
    assert results["mle-response-body"][1] == "decrypted, 1 member, RSA-OAEP-256, A256GCM"


def test_response_that_is_encrypted_to_another_key(emulator: Emulator, p12_environ: dict[str, str]) -> None:
    emulator.scenario = "mle-wrong-key"  # type: ignore[assignment]
    _, results = run_json(exit_code=1, **p12_environ)
    assert with_verdict(results, "contradicted") == {"mle-response-body"}
    assert results["mle-response-body"][1].startswith("not decrypted")


def test_host_with_another_claim_for_encrypted_responses(tmp_path: Path) -> None:
    with Emulator(claim_format={"response_mle_claim": "v-c-api-response-mle-kid"}) as running:
        key = tmp_path / "response.p12"
        key.write_bytes(running.make_response_mle_p12("probe-password"))
        environ = {
            **running.environ,
            "CYBERSOURCE_MLE_RESPONSE_KEY": str(key),
            "CYBERSOURCE_MLE_RESPONSE_KEY_PASSWORD": "probe-password",
        }
        del environ["CYBERSOURCE_JWT_CLAIM_FORMAT"]
        _, results = run_json(exit_code=1, **environ)
    assert with_verdict(results, "contradicted") == {"mle-response-claim"}
    assert results["mle-response-claim"][1] == "status 401"


def test_access_token_is_sent_only_on_request(emulator: Emulator) -> None:
    environ = {
        "CYBERSOURCE_ENVIRONMENT": emulator.url,
        "CYBERSOURCE_AUTH": "bearer",
        "CYBERSOURCE_ACCESS_TOKEN": emulator.issue_access_token(),
    }
    _, results = run_json(**environ)
    assert results["oauth-token"] == ("not testable", "needs --send-token, because an access token is a secret")
    assert all("authorization" not in request.headers for request in emulator.requests)
    _, results = run_json("--send-token", **environ)
    assert results["oauth-token"] == ("confirmed", "accepted")
    assert with_verdict(results, "contradicted") == set()


# Emulators that differ in one assumption

OPTIONS = [
    ({"claim_format": {"method_case": "upper"}}, "jwt-method-lower", "status 401"),
    ({"claim_format": {"method_case": "lower"}}, "jwt-method-upper", "status 401"),
    ({"claim_format": {"digest_algorithm_claim": "digestAlgorithm"}}, "jwt-digest-name-hyphen", "status 401"),
    ({"claim_format": {"digest_algorithm_claim": "digest-algorithm"}}, "jwt-digest-name", "status 401"),
    ({"claim_format": {"digest_algorithm": "SHA-256"}}, "jwt-digest-algorithm-lower", "status 401"),
    ({"claim_format": {"digest_algorithm": "sha-256"}}, "jwt-digest-algorithm-upper", "status 401"),
    ({"claim_format": {"resource_path": "path"}}, "jwt-path-query", "status 401"),
    ({"jwt_leeway": 5}, "jwt-clock-tolerance", "30 s ahead: status 401; 30 s behind: status 201"),
    ({"context_uses": 1}, "tokens-context-reuse", "status 400"),
    ({"check_luhn": False}, "tokens-luhn", "status 201"),
    ({"check_expiry": False}, "tokens-expiry", "status 201"),
    ({"extra_fields": ["paymentInformation.card.nickname"]}, "session-unknown-field", "status 201"),
    ({"loopback_origins": True}, "microform-loopback-origin", "status 201"),
    ({"microform_error_list": True}, "microform-error-body", "members: errors"),
]


@pytest.mark.parametrize(("options", "assumption", "observed"), OPTIONS, ids=[case[1] for case in OPTIONS])
def test_option_contradicts_one_assumption(options: dict[str, Any], assumption: str, observed: str) -> None:
    with Emulator(**options) as running:
        assert contradictions(running) == {assumption: observed}


CLAIM_FORMS = [case for case in OPTIONS if "claim_format" in case[0]]


@pytest.mark.parametrize(("options", "assumption", "observed"), CLAIM_FORMS, ids=[case[1] for case in CLAIM_FORMS])
def test_claim_form_that_the_client_is_not_configured_for(
    options: dict[str, Any], assumption: str, observed: str
) -> None:
    with Emulator(**options) as running:
        environ = running.environ
        environ.pop("CYBERSOURCE_JWT_CLAIM_FORMAT", None)
        report, results = run_json(exit_code=1, **environ)
    assert {name: results[name][1] for name in with_verdict(results, "contradicted")} == {assumption: observed}
    assert report["outcome"] == "complete"


@pytest.mark.parametrize(("options", "assumption", "observed"), OPTIONS, ids=[case[1] for case in OPTIONS])
def test_emulator_with_the_report_behaves_like_the_host(
    options: dict[str, Any], assumption: str, observed: str, tmp_path: Path
) -> None:
    path = tmp_path / "report.json"
    entry = {"assumption": assumption, "verdict": "contradicted", "observed": observed}
    path.write_text(json.dumps({"results": [entry]}), encoding="utf-8")
    with Emulator(profile=path) as running:
        if assumption == "session-unknown-field":
            assert running.unsupported == (assumption,)
            run_json(**running.environ)
        else:
            assert running.unsupported == ()
            assert contradictions(running) == {assumption: observed}


def test_report_of_a_run_is_a_profile(emulator: Emulator) -> None:
    report, _ = run_json(**emulator.environ)
    assert Emulator(profile=report).unsupported == ()
    emulator.scenario = "wrong-digest"  # type: ignore[assignment]
    report, _ = run_json(exit_code=1, **emulator.environ)
    assert Emulator(profile=report).unsupported == ("tokens-digest",)


def test_profile_keeps_the_claims_that_it_does_not_contradict() -> None:
    entry = {"assumption": "jwt-method-lower", "verdict": "contradicted", "observed": "status 401"}
    passed = {"method_case": "lower", "response_mle_claim": "v-c-response-mle-kid"}
    emulator = Emulator(profile={"results": [entry]}, claim_format=passed)
    assert emulator.claim_format == {"method_case": "upper", "response_mle_claim": "v-c-response-mle-kid"}


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"results": [1]}', '{"results": [{"assumption": "a"}]}'])
def test_profile_that_is_not_a_report(content: str, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigurationError, match="profile"):
        Emulator(profile=path)
    with pytest.raises(ConfigurationError, match="No such file"):
        Emulator(profile=tmp_path / "missing.json")
    with pytest.raises(ConfigurationError, match="not int"):
        Emulator(profile=5)  # type: ignore[arg-type]


def test_clock_tolerance_of_http_signature() -> None:
    with Emulator(clock_tolerance=5) as running:
        observed = contradictions(running, CYBERSOURCE_AUTH="http_signature")
    assert observed == {"signature-clock-tolerance": "30 s ahead: status 401; 30 s behind: status 401"}


SCENARIOS = [
    ("unusual-claims;claim=iss", "token-issuer", "Flex/100"),
    ("unusual-claims;claim=jti", "token-id", "36 characters, another form"),
    ("unusual-claims;claim=type", "token-type", "api-99.0.0"),
    ("unusual-claims;claim=content", "token-content", "0 card fields, no masked number"),
    ("unusual-claims;claim=times", "context-lifetime", "900 s, with fractions of a second"),
    ("unusual-claims;claim=path", "context-tokens-path", "/flex/v3/tokens"),
    ("malformed-jwt;kind=quoted", "jwt-response", "a JWT in quotation marks"),
    ("wrong-digest", "tokens-digest", "another hash"),
    ("404-key", "key-endpoint", "status 404"),
    ("used-token", "payment-details", "status 400"),
    ("wrong-date;kind=off", "date-header", "3600 s between Date and iat"),
]


@pytest.mark.parametrize(("scenario", "assumption", "observed"), SCENARIOS, ids=[case[1] for case in SCENARIOS])
def test_scenario_contradicts_one_assumption(emulator: Emulator, scenario: str, assumption: str, observed: str) -> None:
    emulator.scenario = scenario  # type: ignore[assignment]
    assert contradictions(emulator) == {assumption: observed}


def test_missing_date(emulator: Emulator) -> None:
    emulator.scenario = "wrong-date;kind=missing"  # type: ignore[assignment]
    observed = contradictions(emulator)
    # The preflight gets a response without a scenario.
    assert observed == {"date-header": f"missing in {len(emulator.requests) - 1} of {len(emulator.requests)} responses"}


PATHS = [
    ("malformed-jwt;kind=wrong-key", "/flex/v2/sessions", "context-signature"),
    ("malformed-jwt;kind=wrong-key", "/flex/v2/tokens", "token-key"),
    ("malformed-jwt;kind=two-parts", "/flex/v2/tokens", "jwt-response"),
    ("html-200", "/flex/v2/payment-details/*", None),
    ("redirect", "/flex/v2/public-keys/*", "no-redirects"),
]


@pytest.mark.parametrize(("scenario", "path", "assumption"), PATHS)
def test_fault_of_one_response(emulator: Emulator, scenario: str, path: str, assumption: str | None) -> None:
    emulator.queue_scenarios([scenario], path=path)
    if assumption is None:
        # The first request for details is of a token that does not exist. Only its authentication is checked.
        run_json(**emulator.environ)
    else:
        assert set(contradictions(emulator)) == {assumption}


@pytest.mark.parametrize("kid", [".", "..", "a/b", TEST_CARDS["visa"], "x" * 65])
def test_unsafe_kid_is_not_sent(emulator: Emulator, monkeypatch: pytest.MonkeyPatch, kid: str) -> None:
    sign = content_faults.sign

    def sign_with_kid(context: Any, key: Any, header: dict[str, Any], payload: dict[str, Any]) -> str:
        return sign(context, key, {**header, "kid": kid} if "flx" in payload else header, payload)

    monkeypatch.setattr(content_faults, "sign", sign_with_kid)
    assert contradictions(emulator) == {"key-id": f"{len(kid)} characters, another form"}
    assert not any(kid in request.path for request in emulator.requests if "public-keys" in request.path)


# A host without the emulator's code


def test_independent_host() -> None:
    with ReferenceHost() as host:
        _, results = run_json(exit_code=1, **host.environ)
    assert {name: results[name][1] for name in with_verdict(results, "contradicted")} == DIFFERENCES
    other_schemes = SIGNATURE | {"jwt-p12-key-id", "oauth-token"}
    assert with_verdict(results, "not testable") == NOT_CHECKED | LOCAL | MLE | other_schemes


# Hosts that cannot be checked


def test_rejected_credentials(emulator: Emulator) -> None:
    environ = {**emulator.environ, "CYBERSOURCE_SECRET_KEY": "A" * 43 + "="}
    report, results = run_json(exit_code=4, **environ)
    assert report["outcome"] == "credentials rejected"
    assert not report["ok"]
    assert results["tokens-jwe-body"] == ("not testable", "the host rejected the credentials")
    # The request for a session is repeated with three other claim formats.
    assert [request.status for request in emulator.requests] == [404, 401, 401, 401, 401]
    printed = probe(**environ).stdout
    assert "run cybersource-flex doctor" in printed
    assert "CYBERSOURCE_JWT_CLAIM_FORMAT" in printed


def test_rejected_http_signature_is_sent_once(emulator: Emulator) -> None:
    secret = {"CYBERSOURCE_AUTH": "http_signature", "CYBERSOURCE_SECRET_KEY": "A" * 43 + "="}
    report, _ = run_json(exit_code=4, **(emulator.environ | secret))
    assert report["outcome"] == "credentials rejected"
    assert [request.status for request in emulator.requests] == [404, 401]


def test_unreachable_host(emulator: Emulator) -> None:
    report, results = run_json("--host", "http://127.0.0.1:9", exit_code=3, **emulator.environ)
    assert report["outcome"] == "no response"
    assert report["requests"] == 0
    assert results["key-unknown"] == ("not testable", "no response: ConnectionFailedError")


def test_rate_limit_ends_the_run(emulator: Emulator) -> None:
    emulator.queue_scenarios(["ok", "ok", "status-429;retry-after=5"])
    report, results = run_json(exit_code=3, **emulator.environ)
    assert report["outcome"] == "rate limited"
    assert len(emulator.requests) == 3
    assert results["session-media-types"] == ("confirmed", "status 201")
    assert results["tokens-luhn"] == ("not testable", "the host limits the rate of requests")
    assert results["date-header"][0] == "confirmed"


def test_host_that_is_out_of_service(emulator: Emulator) -> None:
    emulator.scenario = "status-503"  # type: ignore[assignment]
    report, _ = run_json(exit_code=3, **emulator.environ)
    assert report["outcome"] == "incomplete"
    assert not report["ok"]
    assert "run the command again later" in probe(**emulator.environ).stdout


def test_host_that_stops_responding(emulator: Emulator) -> None:
    emulator.queue_scenarios(["ok", *["reset-before"] * 30])
    report, results = run_json(exit_code=3, **emulator.environ)
    assert report["outcome"] == "incomplete"
    assert not report["ok"]
    assert results["session-media-types"][1].startswith("no response: ")
    assert results["tokens-luhn"] == ("not testable", "the host stopped responding")
    assert results["error-401-body"] == ("not testable", "no response has the status 401")
    # A check of the responses sends nothing.
    assert results["no-redirects"] == ("confirmed", "0 redirects in 1 responses")
    assert len(emulator.requests) == 1 + 3


def test_host_without_a_key_in_the_context(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    sign = content_faults.sign

    def sign_without_key(context: Any, key: Any, header: dict[str, Any], payload: dict[str, Any]) -> str:
        flx = {name: value for name, value in payload.get("flx", {}).items() if name != "jwk"}
        return sign(context, key, header, {**payload, "flx": flx} if "flx" in payload else payload)

    monkeypatch.setattr(content_faults, "sign", sign_without_key)
    report, results = run_json(exit_code=1, **emulator.environ)
    assert report["outcome"] == "complete"
    assert results["tokens-luhn"] == ("not testable", "no usable capture context")
    assert results["token-issuer"] == ("not testable", "not reached")


def test_run_continues_after_one_lost_response(emulator: Emulator) -> None:
    emulator.queue_scenarios(["reset-before"], path="/flex/v2/tokens")
    report, results = run_json(exit_code=3, **emulator.environ)
    assert report["outcome"] == "incomplete"
    assert results["tokens-luhn"] == ("confirmed", "status 400")


def test_path_is_confirmed_if_the_query_cannot_be_tested(emulator: Emulator) -> None:
    run_json(**emulator.environ)
    number = next(number for number, request in enumerate(emulator.requests) if "?" in request.target)
    emulator.queue_scenarios([*["ok"] * number, "status-503"])
    _, results = run_json(**emulator.environ)
    assert results["jwt-path-query"] == ("not testable", "status 503")
    assert results["jwt-path"][0] == "confirmed"


def test_temporary_failure_decides_nothing(emulator: Emulator) -> None:
    emulator.queue_scenarios(["status-503"], path="/flex/v2/tokens")
    _, results = run_json(**emulator.environ)
    assert results["tokens-jwe-body"] == ("not testable", "status 503")
    assert results["token-issuer"][0] == "not testable"


# The plan


def test_dry_run_lists_the_requests_and_sends_none(emulator: Emulator) -> None:
    result = probe("--dry-run", "--json", **emulator.environ)
    planned = json.loads(result.stdout)["requests"]
    assert result.exit_code == 0
    assert emulator.requests == []
    run_json(**emulator.environ)
    sent = [f"{request.method} {request.path}" for request in emulator.requests]
    always = [entry["request"] for entry in planned if "after status 401" not in entry["request"]]
    assert len(always) == len(planned) - 3
    listed = [request.partition(":")[0] for request in always]
    assert len(sent) == len(listed)
    for actual, expected in zip(sent, listed, strict=True):
        prefix = expected.partition("{")[0].partition("000...")[0].partition("?")[0]
        assert actual.startswith(prefix), f"{actual} was listed as {expected}"
    listing = probe("--dry-run", **emulator.environ).stdout
    assert f"At most {len(planned)} requests" in listing


def test_plan_is_bounded_and_covers_the_ledger() -> None:
    assert sum(len(check.requests) for check in CHECKS) <= MAX_REQUESTS
    assert {name for check in CHECKS for name in check.assumptions} == {
        entry.id for entry in LEDGER.assumptions
    } - NOT_CHECKED
    steps = [check.step for check in CHECKS]
    assert steps == sorted(steps, key=steps.index), "the checks of a step are not together"


def test_requests_are_sent_one_at_a_time_with_an_interval(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("cybersource_flex.probe.run.sleep", waits.append)
    result = CliRunner().invoke(cli, ["probe", "--interval", "10", "--json"], env=emulator.environ)
    assert result.exit_code == 0, result.output
    assert len(waits) == len(emulator.requests) - 1
    assert all(5 < wait <= 10 for wait in waits)


# Hosts and options


def test_production_needs_an_option_and_gets_no_card(emulator: Emulator) -> None:
    environ = {**emulator.environ, "CYBERSOURCE_ENVIRONMENT": "production"}
    result = probe("--dry-run", **environ)
    assert result.exit_code == 2
    assert "--production" in result.stderr
    assert result.stdout == ""
    result = probe("--dry-run", "--json", "--production", "--interval", "1", **environ)
    listed = [entry["request"] for entry in json.loads(result.stdout)["requests"]]
    assert listed
    assert not any("/flex/v2/tokens" in request for request in listed)
    assert not any("{jti}" in request for request in listed)


def test_short_interval_is_for_local_hosts(emulator: Emulator) -> None:
    result = probe("--dry-run", "--environment", "test", **emulator.environ)
    assert result.exit_code == 2
    assert "--interval" in result.stderr


def test_missing_credentials() -> None:
    result = probe()
    assert result.exit_code == 2
    assert "CYBERSOURCE_" in result.stderr
    assert result.stdout == ""


def test_terminal_output(emulator: Emulator) -> None:
    emulator.scenario = "wrong-digest"  # type: ignore[assignment]
    result = probe(**emulator.environ)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert any(line.split()[:2] == ["contradicted", "tokens-digest"] for line in lines)
    assert "tokens-digest is contradicted: another hash" in lines
    assert "1 contradicted" in lines[-1]


# The report


def test_existing_report_is_kept(emulator: Emulator, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("x" * 100_000, encoding="utf-8")
    result = probe("--report", str(path), **emulator.environ)
    assert result.exit_code == 2
    assert "use --force" in result.stderr
    assert emulator.requests == []
    assert path.read_text("utf-8") == "x" * 100_000
    result = probe("--report", str(path), "--force", **emulator.environ)
    assert result.exit_code == 0
    assert json.loads(path.read_text("utf-8"))["ok"]


def test_report_that_cannot_be_created(emulator: Emulator, tmp_path: Path) -> None:
    result = probe("--report", str(tmp_path / "missing" / "report.json"), **emulator.environ)
    assert result.exit_code == 2
    assert "No such file" in result.stderr
    assert emulator.requests == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_results_are_printed_if_the_report_cannot_be_written(emulator: Emulator) -> None:
    result = probe("--report", "/dev/full", "--force", **emulator.environ)
    assert result.exit_code == 6
    assert "No space left" in result.stderr
    assert "0 contradicted" in result.stdout


def test_run_that_is_interrupted_leaves_no_report(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cybersource_flex.cli.probe.run_checks", interrupt)
    path = tmp_path / "report.json"
    assert probe("--report", str(path), **emulator.environ).exit_code == 130
    assert not path.exists()


@pytest.mark.parametrize("scenario", [None, "unusual-claims", "unknown-members", "wrong-digest"])
def test_report_holds_no_secret_id_token_or_card(emulator: Emulator, tmp_path: Path, scenario: str | None) -> None:
    emulator.scenario = scenario  # type: ignore[assignment]
    path = tmp_path / "report.json"
    with Canaries() as canaries:
        canaries.plant("key_id", emulator.auth["key_id"])
        canaries.plant("secret_key", emulator.auth["secret_key"])
        canaries.plant("merchant_id", emulator.auth["merchant_id"])
        canaries.plant("card number", TEST_CARDS["visa"])
        result = probe("--report", str(path), **emulator.environ)
        assert result.exit_code in (0, 1)
        canaries.search(path.read_bytes(), "the report")
    # Logs contain the ids of requests, so these are searched in the report only.
    ids = Canaries()
    for request in emulator.requests:
        ids.plant("correlation id", request.correlation_id)
        if "authorization" in request.headers:
            ids.plant("authorization", request.headers["authorization"].partition(" ")[2])
        if request.path.startswith("/flex/v2/payment-details/"):
            ids.plant("token id", request.path.rpartition("/")[2])
    ids.search(path.read_bytes(), "the report")
    ids.search(result.output, "the output")
    ids.check()
    assert json.loads(path.read_text("utf-8"))["requests"] == len(emulator.requests)


def test_report_of_a_host_that_returns_what_it_received(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign = content_faults.sign

    def sign_echo(context: Any, key: Any, header: dict[str, Any], payload: dict[str, Any]) -> str:
        authorization = context.request.headers.get("authorization", "Bearer ")
        echo = {"iss": emulator.auth["merchant_id"], "type": TEST_CARDS["visa"], "iat": emulator.auth["key_id"]}
        if "flx" in payload:
            echo["flx"] = {**payload["flx"], "path": authorization.partition(" ")[2][:30]}
        return sign(context, key, {**header, "kid": header["kid"]}, {**payload, **echo})

    monkeypatch.setattr(content_faults, "sign", sign_echo)
    path = tmp_path / "report.json"
    canaries = Canaries()
    canaries.plant("key id", emulator.auth["key_id"])
    canaries.plant("merchant id", emulator.auth["merchant_id"])
    canaries.plant("card number", TEST_CARDS["visa"])
    result = probe("--report", str(path), **emulator.environ)
    assert result.exit_code == 1, result.output
    for request in emulator.requests:
        if "authorization" in request.headers:
            canaries.plant("start of a token", request.headers["authorization"].partition(" ")[2][:30])
    canaries.search(path.read_bytes(), "the report")
    canaries.search(result.output, "the output")
    canaries.check()
    results = {entry["assumption"]: entry for entry in json.loads(path.read_bytes())["results"]}
    assert results["context-tokens-path"]["observed"] == "a string of 30 characters"
    assert results["context-lifetime"]["observed"] == "no times"


def test_short_access_token_that_is_returned_with_other_content(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = emulator.issue_access_token()
    sign = content_faults.sign

    def sign_echo(context: Any, key: Any, header: dict[str, Any], payload: dict[str, Any]) -> str:
        return sign(context, key, header, {**payload, "iss": f"for {token}"})

    monkeypatch.setattr(content_faults, "sign", sign_echo)
    environ = {
        "CYBERSOURCE_ENVIRONMENT": emulator.url,
        "CYBERSOURCE_AUTH": "bearer",
        "CYBERSOURCE_ACCESS_TOKEN": token,
    }
    monkeypatch.setattr("cybersource_flex.probe.results._MAX_LENGTH", 10_000)
    _, results = run_json("--send-token", exit_code=1, **environ)
    assert results["context-issuer"] == ("contradicted", f"a string of {len(token) + 4} characters")


@pytest.mark.parametrize(
    ("value", "description"),
    [
        ("Flex/00", "Flex/00"),
        (None, "null"),
        (True, "true"),
        (900, "900"),
        (4111111111111111, "a large number"),
        (0.4111111111111111, "0.411111"),
        (900.5, "900.5"),
        (999_999, "999999"),
        ("4111111111111111", "a string of 16 characters"),
        ("shop_4711", "a string of 9 characters"),
        ("for shop_4711", "a string of 13 characters"),
        ("for SHOP_4711", "a string of 13 characters"),
        ("x" * 41, "a string of 41 characters"),
        ("\x1b[31m", "a string of 5 characters"),
        ("part-of-a-token", "a string of 15 characters"),
        ("enc", "enc"),
        ("", "an empty string"),
        (["a"], "an array of 1"),
        ({"a": 1}, "an object of 1"),
    ],
)
def test_values_of_the_host_are_shown_only_if_they_are_harmless(value: object, description: str) -> None:
    assert describe_value(value, {"shop_4711", "a-long-token-with-part-of-a-token-and-enc"}) == description


def test_contradiction_outranks_other_findings() -> None:
    results = Results(["a"])
    results.add("a", "not testable", "first")
    results.add("a", "confirmed", "second")
    results.add("a", "contradicted", "third")
    results.add("a", "confirmed", "fourth")
    assert [(result.verdict, result.observed) for result in results] == [("contradicted", "third")]
    with pytest.raises(KeyError):
        results.add("b", "confirmed", "unknown")
