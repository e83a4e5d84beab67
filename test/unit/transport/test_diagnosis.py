"""The diagnosis of a 401: facts for which each cause comes first, and that reports contain no secret."""

from __future__ import annotations

import base64
import json
import pickle
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cybersource_flex.auth import BearerToken, HttpSignature, JwtClaimFormat, JwtExternalKey, JwtP12, JwtSharedSecret
from cybersource_flex.errors import AuthenticationError, AuthFailureCause, NotFoundError
from cybersource_flex.transport import Clock, Configuration, Response, Tls
from cybersource_flex.transport.diagnosis import LIKELY, Facts, collect_facts, diagnose
from cybersource_flex.transport.error_responses import api_exception
from support.keys import MERCHANT_ID, P12_PASSWORD
from support.paths import KEYS
from support.transports import StubSigner, make_operation

UUID = "08c94330-f618-42a3-b09d-e1e43be5efda"
SECRET = base64.b64encode(b"c4n4ry secret of thirty-two byte").decode()
GATEWAY = b'{"response":{"rmsg":"Authentication Failed"}}'

CAUSES = [
    "environment",
    "secret",
    "digest",
    "clock",
    "path",
    "host",
    "credentials",
    "key_id",
    "lifetime",
    "signed_headers",
    "key_expired",
    "scheme_retired",
]

# The facts of a first call that was rejected, without anything unusual.
PLAIN: Mapping[str, Any] = {
    "signed": True,
    "method": "POST",
    "has_body": True,
    "host": "test",
    "host_port": False,
    "intermediate_host": False,
    "custom_ca": False,
    "clock_offset": 0.4,
    "clock_correction": 0.0,
    "clock_correction_enabled": True,
    "rejections": 1,
    "accepted": 0,
    "accepted_same_operation": 0,
    "accepted_with_body": 0,
    "scheme": "jwt_shared_secret",
    "key_id_format": "uuid",
    "secret_bytes": 32,
    "portfolio": False,
    "portfolio_is_merchant": False,
    "algorithm": "HS256",
    "date": "2026-11-22",
    "body_format": "gateway",
    "has_correlation_id": True,
    "named_causes": [],
}
WORKED = {"accepted": 7, "accepted_same_operation": 7, "accepted_with_body": 7, "accepted_seconds_ago": 90.0}
P12 = {"scheme": "jwt_p12", "key_id_format": "22 digits", "algorithm": "RS256", "secret_bytes": None}
HTTP = {"scheme": "http_signature", "algorithm": None}
CUSTOM = {"scheme": "custom", "key_id_format": None, "secret_bytes": None, "algorithm": None}


def first_cause(**changes: Any) -> AuthFailureCause:
    return diagnose({**PLAIN, **changes})[0]


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("environment", {}),
        ("environment", P12),
        ("environment", {"host": "production_regional"}),
        ("environment", {"scheme": "bearer", "refreshable": True, "rejections": 2}),
        ("secret", {"secret_bytes": 24}),
        ("secret", {**HTTP, "secret_bytes": 44}),
        ("secret", {"scheme": "external_key", "secret_bytes": None, "host": "loopback", "accepted": None}),
        ("digest", {"accepted": 3, "accepted_seconds_ago": 1.0}),
        ("digest", {"accepted": 3, "custom_ca": True}),
        ("digest", {**CUSTOM, "named_causes": ["digest"]}),
        ("clock", {"clock_offset": 600.0}),
        ("clock", {"clock_offset": -600.0, "clock_correction_enabled": False}),
        ("clock", {"clock_offset": 90.0, **HTTP}),
        ("clock", {"clock_offset": 900.0, "clock_correction": 300.0, **WORKED}),
        ("clock", {"clock_offset": 600.0, **P12}),
        ("path", {"has_body": False, "method": "GET", "accepted": 3, "accepted_with_body": 3}),
        ("path", {"has_body": False, "accepted": 3, "accepted_with_body": 3, "custom_ca": True, "path_query": True}),
        ("host", {"intermediate_host": True}),
        ("host", {"host": "cybersource_other"}),
        ("host", {"body_format": "html", "has_correlation_id": False}),
        ("host", {"signed": False, "scheme": None}),
        ("credentials", {"portfolio": True, "portfolio_is_merchant": True}),
        ("credentials", {"portfolio": True, "host": "other"}),
        ("credentials", {"host": "loopback"}),
        ("key_id", {"key_id_format": "22 digits"}),
        ("key_id", {"key_id_format": "other"}),
        ("key_id", {**P12, "key_id_format": "other"}),
        ("key_id", {"scheme": "external_key", "key_id_format": "uuid", "algorithm": "RS256", "secret_bytes": None}),
        ("lifetime", {**CUSTOM, "named_causes": ["lifetime"]}),
        ("signed_headers", {**CUSTOM, "named_causes": ["signed_headers"]}),
        ("key_expired", WORKED),
        ("key_expired", {**P12, "certificate_days_left": -1}),
        ("key_expired", {"scheme": "bearer", "key_id_format": None, "secret_bytes": None}),
        ("scheme_retired", {**HTTP, "date": "2027-03-01"}),
        ("scheme_retired", {**HTTP, **WORKED, "date": "2027-04-02", "accepted_seconds_ago": 90_000.0}),
    ],
)
def test_the_first_cause_for_these_facts(name: str, changes: dict[str, Any]) -> None:
    assert first_cause(**changes).name == name


def test_a_diagnosis_contains_all_causes_in_a_stable_order() -> None:
    for facts in ({}, PLAIN, {**PLAIN, **WORKED}, {"signed": False}):
        causes = diagnose(facts)
        assert sorted(cause.name for cause in causes) == sorted(CAUSES)
        assert [cause.score for cause in causes] == sorted((cause.score for cause in causes), reverse=True)
        assert all(0 <= cause.score <= 99 and cause.title and cause.advice for cause in causes)
        assert causes == diagnose(dict(reversed(facts.items())))
    # Impossible causes are at the end, in the order of the list.
    ruled_out = [cause.name for cause in diagnose(PLAIN) if cause.score == 0]
    assert ruled_out == [name for name in CAUSES if name in ruled_out]


@pytest.mark.parametrize("scheme", ["jwt_shared_secret", "jwt_p12", "http_signature", "external_key", "bearer"])
def test_causes_that_the_signers_exclude_have_no_score(scheme: str) -> None:
    by_name = {cause.name: cause for cause in diagnose({**PLAIN, "scheme": scheme})}
    for name in ("lifetime", "signed_headers"):
        assert by_name[name].score == 0
        assert by_name[name].evidence_against
    assert by_name["digest"].score == 0
    assert (by_name["scheme_retired"].score > 0) == (scheme == "http_signature")


def test_an_attempt_with_a_corrected_clock_excludes_the_clock() -> None:
    causes = diagnose({**PLAIN, "clock_offset": 600.2, "clock_correction": 600.0, "rejections": 2})
    clock = next(cause for cause in causes if cause.name == "clock")
    assert clock.score == 0
    assert clock.evidence_against == (
        "the host's clock is 600 s ahead of this machine's, and the last attempt was signed with a corrected time, "
        "which differs from the host's time by 0 s, but that attempt was rejected too",
    )


@pytest.mark.parametrize(
    ("days", "evidence"),
    [
        (-3, "the certificate expired 3 days ago"),
        (-1, "the certificate expired 1 day ago"),
        (0, "the certificate is valid for 0 days more, but may have been deactivated"),
        (1, "the certificate is valid for 1 day more, but may have been deactivated"),
    ],
)
def test_the_evidence_names_the_days_of_a_certificate(days: int, evidence: str) -> None:
    causes = diagnose({**PLAIN, **P12, "certificate_days_left": days})
    expiry = next(cause for cause in causes if cause.name == "key_expired")
    assert evidence in (expiry.evidence_for if days < 0 else expiry.evidence_against)


@pytest.mark.parametrize(
    ("scheme", "name", "evidence"),
    [
        ("bearer", "clock", "an access token is not signed with this machine's time"),
        ("bearer", "lifetime", "no token is created with this authentication scheme"),
        ("http_signature", "lifetime", "no token is created with this authentication scheme"),
        ("jwt_p12", "lifetime", "this package creates tokens that are valid for 120 s"),
        ("bearer", "scheme_retired", "OAuth is not retired"),
    ],
)
def test_the_evidence_against_a_cause_fits_the_scheme(scheme: str, name: str, evidence: str) -> None:
    cause = next(cause for cause in diagnose({**PLAIN, "scheme": scheme}) if cause.name == name)
    assert cause.evidence_against == (evidence,)


def test_a_scheme_is_retired_from_its_date_on() -> None:
    def retired(date: str) -> Any:
        return next(cause for cause in diagnose({**PLAIN, **HTTP, "date": date}) if cause.name == "scheme_retired")

    before, after = retired("2027-02-28"), retired("2027-04-01")
    assert before.score < after.score
    assert after.evidence_for == ("CyberSource retires HTTP Signature in March 2027, and that date has passed",)


def test_a_scheme_that_recently_worked_is_not_retired() -> None:
    assert first_cause(**HTTP, **WORKED, date="2027-03-02").name == "key_expired"


def test_errors_of_invalid_facts_do_not_contain_the_value() -> None:
    for name, value in (
        ("scheme", "c4n4ry"),
        ("host", 1),
        ("accepted", True),
        ("secret_bytes", 4111111111111111),
        ("secret_bytes", 1.5),
        ("clock_offset", float("nan")),
        ("clock_offset", float("inf")),
        ("date", "c4n4ry"),
        ("signed", "yes"),
        ("named_causes", ["c4n4ry"]),
        ("named_causes", "digest"),
    ):
        with pytest.raises(ValueError, match=f"the fact '{name}' has an invalid value") as caught:
            diagnose({name: value})
        assert "c4n4ry" not in str(caught.value)
    assert diagnose({"of_a_newer_version": "anything"}) == diagnose({})


def test_facts_can_be_serialized() -> None:
    facts = Facts.parse({**PLAIN, "named_causes": ["clock", "path"]})
    assert Facts.parse(json.loads(json.dumps(facts.to_dict()))) == facts


# The facts of signers.


def signers() -> list[Any]:
    with pytest.warns(DeprecationWarning, match="March 2027"):
        http_signature = HttpSignature("c4n4ry_merchant", UUID, SECRET, portfolio_id="c4n4ry_merchant")
    return [
        JwtSharedSecret("c4n4ry_merchant", UUID, SECRET, claim_format=JwtClaimFormat("lower", "digest-algorithm")),
        JwtSharedSecret("c4n4ry_merchant", "c4n4ry_key", SECRET[:32], portfolio_id="c4n4ry_portfolio"),
        JwtExternalKey("c4n4ry_merchant", "1234567890123456789012", lambda data: data, algorithm="PS512"),
        BearerToken("c4n4ry"),
        BearerToken(lambda: "c4n4ry"),
        http_signature,
    ]


def test_facts_of_signers() -> None:
    shared_secret, meta_key, external, bearer, refreshable_bearer, http_signature = (
        each.diagnostic_facts() for each in signers()
    )
    assert shared_secret == {
        "scheme": "jwt_shared_secret",
        "key_id_format": "uuid",
        "portfolio": False,
        "portfolio_is_merchant": False,
        "algorithm": "HS256",
        "claim_format_method": "lower",
        "claim_format_digest": "digest-algorithm",
        "claim_format_digest_value": "SHA-256",
        "claim_format_response_mle": "v-c-response-mle-kid",
        "claim_format_path": "path-and-query",
        "secret_bytes": 32,
    }
    assert (meta_key["key_id_format"], meta_key["portfolio"], meta_key["secret_bytes"]) == ("other", True, 24)
    assert (external["scheme"], external["key_id_format"], external["algorithm"]) == (
        "external_key",
        "22 digits",
        "PS512",
    )
    assert (bearer, refreshable_bearer) == (
        {"scheme": "bearer", "refreshable": False},
        {"scheme": "bearer", "refreshable": True},
    )
    assert (http_signature["scheme"], http_signature["portfolio_is_merchant"]) == ("http_signature", True)
    for facts in (shared_secret, meta_key, external, bearer, refreshable_bearer, http_signature):
        Facts.parse(facts)
        assert "c4n4ry" not in json.dumps(facts)


def test_facts_of_a_p12_file(monkeypatch: pytest.MonkeyPatch) -> None:
    signer = JwtP12(MERCHANT_ID, KEYS / "merchant.p12", P12_PASSWORD)
    facts = signer.diagnostic_facts()
    Facts.parse(facts)
    assert (facts["scheme"], facts["key_id_format"]) == ("jwt_p12", "22 digits")
    assert isinstance(facts["certificate_days_left"], int)
    for ahead, days in ((timedelta(hours=-1), 0), (timedelta(hours=1), -1), (timedelta(days=-9, hours=-1), 9)):
        timestamp = (signer.expires_at + ahead).timestamp()
        monkeypatch.setattr(time, "time", lambda timestamp=timestamp: timestamp)
        assert signer.diagnostic_facts()["certificate_days_left"] == days


# From a response to an exception.

DETAILS = make_operation(name="get_payment_details", method="GET", path="/flex/v2/payment-details/{jti}")


def rejected_call(
    auth: Any,
    body: bytes = GATEWAY,
    headers: Mapping[str, str] | None = None,
    jti: Any = "c4n4ry_4111",
    **settings: Any,
) -> AuthenticationError:
    configuration = Configuration(**{"host": "https://apitest.cybersource.com", "auth": auth, **settings})
    request = DETAILS.build_request(configuration, path={"jti": jti})
    response = Response(401, "Unauthorized", {"v-c-correlation-id": "ab-12"} if headers is None else headers, body)
    response.facts = collect_facts(request, configuration, Clock(), {}, response)
    error = api_exception(DETAILS, response)
    assert isinstance(error, AuthenticationError)
    return error


def test_reports_and_diagnoses_contain_no_secrets() -> None:
    for signer in signers():
        for body in (
            GATEWAY,
            b"<html>c4n4ry",
            b'{"reason":"c4n4ry","message":"date of merchant c4n4ry is wrong"}',
            b"",
        ):
            error = rejected_call(signer, body, {"v-c-correlation-id": "c4n4ry.token"})
            for output in (json.dumps(error.report()), repr(error.diagnosis)):
                assert "c4n4ry" not in output
                assert "4111" not in output
                assert UUID not in output
                assert SECRET[:8] not in output


def test_reports_can_be_serialized_and_errors_pickled() -> None:
    error = rejected_call(signers()[0], b'{"reason":"X","message":"the date is off, and the digest"}')
    report = error.report()
    assert json.loads(json.dumps(report)) == report
    assert diagnose(json.loads(json.dumps(report))["facts"]) == error.diagnosis
    assert report["facts"]["named_causes"] == ["digest", "clock"]
    assert (report["method"], report["path"], report["status"]) == ("GET", "/flex/v2/payment-details/{jti}", 401)
    assert report["correlation_id"] == "ab-12"
    unpickled = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert unpickled.diagnosis == error.diagnosis
    assert unpickled.report() == report
    assert str(unpickled) == str(error)


def test_the_message_only_names_a_likely_cause() -> None:
    unlikely, likely = rejected_call(signers()[0]), rejected_call(signers()[1])
    assert unlikely.diagnosis[0].score < LIKELY
    assert "likely cause" not in str(unlikely)
    assert str(likely).endswith("; likely cause: the shared secret is not decoded, or incomplete")
    assert "\n" not in str(likely)


def test_without_facts_there_is_no_diagnosis() -> None:
    error = api_exception(DETAILS, Response(401, "", {}, GATEWAY))
    assert isinstance(error, AuthenticationError)
    assert error.diagnosis == ()
    assert error.report()["facts"] == {}
    assert diagnose({})
    assert type(api_exception(DETAILS, Response(404, "", {}, GATEWAY))) is NotFoundError


@pytest.mark.parametrize(
    ("host", "kind"),
    [
        ("https://apitest.cybersource.com", "test"),
        ("https://api.cybersource.com", "production"),
        ("https://api.in.cybersource.com", "production_regional"),
        ("https://apitest.sa.cybersource.com", "test_regional"),
        ("https://flex.cybersource.com", "cybersource_other"),
        ("https://api-ma.cybersource.com", "cybersource_other"),
        ("https://api.cybersource.com.example.com", "other"),
        ("https://c4n4ry.example.com:8443", "other"),
        ("http://127.0.0.1:8080", "loopback"),
        ("http://[::1]:8080", "loopback"),
        ("https://[2001:db8::1]", "other"),
        ("https://localhost", "loopback"),
    ],
)
def test_facts_of_hosts(host: str, kind: str) -> None:
    facts = rejected_call(signers()[0], host=host).report()["facts"]
    assert facts["host"] == kind
    assert facts["host_port"] is (host.count(":") in (2, 4) and host[-1].isdigit())


def test_facts_of_intermediate_host_proxy_and_path() -> None:
    signer = signers()[0]
    facts = rejected_call(signer, intermediate_host="https://gate.example.com", proxy="http://p.example.com").report()[
        "facts"
    ]
    assert (facts["intermediate_host"], facts["proxy"], facts["custom_ca"]) == (True, "tunnel", False)
    facts = rejected_call(signer, host="http://localhost", proxy="http://p.example.com").report()["facts"]
    assert facts["proxy"] == "forward"
    facts = rejected_call(signer, tls=Tls(insecure_skip_verification=True)).report()["facts"]
    assert facts["custom_ca"] is True
    assert (facts["path_parameters"], facts["path_encoded"], facts["path_query"]) == (True, False, False)
    # Of all values that a path parameter accepts, only a date with a time is percent-encoded.
    facts = rejected_call(signer, jti=datetime(2026, 1, 2, tzinfo=UTC)).report()["facts"]
    assert (facts["path_parameters"], facts["path_encoded"], facts["path_query"]) == (True, True, False)


class CustomSigner(StubSigner):
    """A signer that is not part of the package."""

    def __init__(self, facts: Any) -> None:
        super().__init__()
        self._facts = facts

    def diagnostic_facts(self) -> Any:
        if isinstance(self._facts, Exception):
            raise self._facts
        return self._facts


@pytest.mark.parametrize(
    "signer_facts",
    [
        None,
        "c4n4ry",
        RuntimeError("c4n4ry"),
        {"scheme": "c4n4ry", "algorithm": ["c4n4ry"], "secret": "c4n4ry", "secret_bytes": 10**15, "host": "test"},
    ],
)
def test_facts_of_custom_signers_are_filtered(signer_facts: Any) -> None:
    report = rejected_call(CustomSigner(signer_facts), host="https://shop.example.com").report()
    assert "c4n4ry" not in json.dumps(report)
    assert report["facts"]["scheme"] == "custom"
    assert report["facts"]["host"] == "other"
    assert "secret_bytes" not in report["facts"]
    assert rejected_call(CustomSigner({"scheme": "jwt_p12"})).report()["facts"]["scheme"] == "jwt_p12"


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        (GATEWAY, "gateway"),
        (b'{"response":{"rmsg":"{\\"error\\":\\"UNAUTHORIZED_USER\\"}"}}', "gateway"),
        (b'{"reason":"INVALID_APIKEY","message":"no"}', "service"),
        (b"[]", "other_json"),
        (b"{}", "other_json"),
        (b' <!doctype html><p class="x">', "html"),
        (b"Unauthorized", "text"),
        (b"\xff\xfe", "text"),
        (b"", "empty"),
        (b'{"encryptedResponse":"x"}', "encrypted"),
    ],
)
def test_facts_of_response_bodies(body: bytes, shape: str) -> None:
    facts = rejected_call(signers()[0], body).report()["facts"]
    assert facts["body_format"] == shape
    assert facts["named_causes"] == []


@pytest.mark.parametrize(
    ("message", "names"),
    [
        ("Authentication Failed", []),
        ("Missing required header: v-c-merchant-id", ["host", "credentials"]),
        ("Digest does not match", ["digest"]),
        ("Date header is too old", ["clock"]),
        ("key expired", ["key_expired"]),
        ("Invalid keyid", ["key_id"]),
        ("HTTP Signature is no longer supported", ["scheme_retired"]),
        ("update your candidate", []),
    ],
)
def test_causes_that_a_response_names(message: str, names: list[str]) -> None:
    body = json.dumps({"response": {"rmsg": message}}).encode()
    assert rejected_call(signers()[0], body).report()["facts"]["named_causes"] == names


@pytest.mark.parametrize("date", ["Fri, 31 Dec 9999 23:59:59 GMT", "Thu, 01 Jan 1970 00:00:00 GMT"])
def test_implausible_dates_of_the_host_are_ignored(date: str) -> None:
    clock = Clock()
    now = time.time()
    clock.observe_date(date, sent=now, received=now)
    configuration = Configuration(host="https://apitest.cybersource.com", auth=signers()[0])
    request = DETAILS.build_request(configuration, path={"jti": "x"})
    response = Response(401, "", {}, GATEWAY)
    facts = collect_facts(request, configuration, clock, {}, response)
    assert facts["date"] == time.strftime("%Y-%m-%d", time.gmtime(now))
    assert diagnose(facts)
