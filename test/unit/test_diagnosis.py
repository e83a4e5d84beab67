"""Why a 401: for each cause a situation in which it comes first, and nothing secret anywhere."""

from __future__ import annotations

import base64
import json
import pickle
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cybersource_flex.auth import BearerToken, HttpSignature, JwtClaimFormat, JwtExternalKey, JwtP12, JwtSharedSecret
from cybersource_flex.errors import AuthenticationError, NotFoundError
from cybersource_flex.transport import Clock, Operation, Request, Response, Settings, Tls
from cybersource_flex.transport.diagnosis import LIKELY, Cause, Facts, circumstances, diagnose
from cybersource_flex.transport.problems import problem

KEYS = Path(__file__).resolve().parents[1] / "vectors" / "keys"
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
    "signed_lines",
    "key_ended",
    "scheme_retired",
]

# A first call that was refused, and nothing about it is remarkable.
PLAIN: Mapping[str, Any] = {
    "signed": True,
    "method": "POST",
    "has_body": True,
    "host": "test",
    "host_port": False,
    "intermediate_host": False,
    "own_trust": False,
    "clock_measured": 0.4,
    "clock_correction": 0.0,
    "clock_correctable": True,
    "refusals": 1,
    "accepted": 0,
    "accepted_same": 0,
    "accepted_with_body": 0,
    "scheme": "jwt_shared_secret",
    "key_id_shape": "uuid",
    "secret_bytes": 32,
    "portfolio": False,
    "portfolio_is_merchant": False,
    "algorithm": "HS256",
    "date": "2026-11-22",
    "answer_shape": "gateway",
    "answer_correlated": True,
    "answer_names": [],
}
WORKED = {"accepted": 7, "accepted_same": 7, "accepted_with_body": 7, "accepted_seconds_ago": 90.0}
P12 = {"scheme": "jwt_p12", "key_id_shape": "22 digits", "algorithm": "RS256", "secret_bytes": None}
HTTP = {"scheme": "http_signature", "algorithm": None}
CUSTOM = {"scheme": "custom", "key_id_shape": None, "secret_bytes": None, "algorithm": None}


def first(**changes: Any) -> Cause:
    return diagnose({**PLAIN, **changes})[0]


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("environment", {}),
        ("environment", P12),
        ("environment", {"host": "production_regional"}),
        ("environment", {"scheme": "bearer", "renewable": True, "refusals": 2}),
        ("secret", {"secret_bytes": 24}),
        ("secret", {**HTTP, "secret_bytes": 44}),
        ("secret", {"scheme": "external_key", "secret_bytes": None, "host": "loopback", "accepted": None}),
        ("digest", {"accepted": 3, "accepted_seconds_ago": 1.0}),
        ("digest", {"accepted": 3, "own_trust": True}),
        ("digest", {**CUSTOM, "answer_names": ["digest"]}),
        ("clock", {"clock_measured": 600.0}),
        ("clock", {"clock_measured": -600.0, "clock_correctable": False}),
        ("clock", {"clock_measured": 90.0, **HTTP}),
        ("clock", {"clock_measured": 900.0, "clock_correction": 300.0, **WORKED}),
        ("clock", {"clock_measured": 600.0, **P12}),
        ("path", {"has_body": False, "method": "GET", "accepted": 3, "accepted_with_body": 3}),
        ("path", {"has_body": False, "accepted": 3, "accepted_with_body": 3, "own_trust": True, "path_query": True}),
        ("host", {"intermediate_host": True}),
        ("host", {"host": "cybersource_other"}),
        ("host", {"answer_shape": "html", "answer_correlated": False}),
        ("host", {"signed": False, "scheme": None}),
        ("credentials", {"portfolio": True, "portfolio_is_merchant": True}),
        ("credentials", {"portfolio": True, "host": "other"}),
        ("credentials", {"host": "loopback"}),
        ("key_id", {"key_id_shape": "22 digits"}),
        ("key_id", {"key_id_shape": "other"}),
        ("key_id", {**P12, "key_id_shape": "other"}),
        ("key_id", {"scheme": "external_key", "key_id_shape": "uuid", "algorithm": "RS256", "secret_bytes": None}),
        ("lifetime", {**CUSTOM, "answer_names": ["lifetime"]}),
        ("signed_lines", {**CUSTOM, "answer_names": ["signed_lines"]}),
        ("key_ended", WORKED),
        ("key_ended", {**P12, "certificate_days_left": -1}),
        ("key_ended", {"scheme": "bearer", "key_id_shape": None, "secret_bytes": None}),
        ("scheme_retired", {**HTTP, "date": "2027-03-01"}),
        ("scheme_retired", {**HTTP, **WORKED, "date": "2027-04-02", "accepted_seconds_ago": 90_000.0}),
    ],
)
def test_each_cause_comes_first_somewhere(name: str, changes: dict[str, Any]) -> None:
    assert first(**changes).name == name


def test_all_causes_are_always_there_in_a_stable_order() -> None:
    for facts in ({}, PLAIN, {**PLAIN, **WORKED}, {"signed": False}):
        found = diagnose(facts)
        assert sorted(cause.name for cause in found) == sorted(CAUSES)
        assert [cause.score for cause in found] == sorted((cause.score for cause in found), reverse=True)
        assert all(0 <= cause.score <= 99 and cause.title and cause.advice for cause in found)
        assert found == diagnose(dict(reversed(facts.items())))
    # What cannot be stands at the end, in the order to check in.
    ruled_out = [cause.name for cause in diagnose(PLAIN) if cause.score == 0]
    assert ruled_out == [name for name in CAUSES if name in ruled_out]


@pytest.mark.parametrize("scheme", ["jwt_shared_secret", "jwt_p12", "http_signature", "external_key", "bearer"])
def test_what_this_package_makes_impossible_says_so(scheme: str) -> None:
    by_name = {cause.name: cause for cause in diagnose({**PLAIN, "scheme": scheme})}
    for name in ("lifetime", "signed_lines"):
        assert by_name[name].score == 0
        assert by_name[name].speaks_against
    assert by_name["digest"].score == 0
    assert (by_name["scheme_retired"].score > 0) == (scheme == "http_signature")


def test_a_corrected_attempt_speaks_against_the_clock() -> None:
    causes = diagnose({**PLAIN, "clock_measured": 600.2, "clock_correction": 600.0, "refusals": 2})
    clock = next(cause for cause in causes if cause.name == "clock")
    assert clock.score == 0
    assert clock.speaks_against == (
        "the host's clock is 600 s ahead of this machine's, and the last attempt was signed with 0 s left of that; "
        "it was refused none the less",
    )


def test_a_scheme_that_worked_a_minute_ago_is_not_retired() -> None:
    assert first(**HTTP, **WORKED, date="2027-03-02").name == "key_ended"


def test_facts_that_are_wrong_are_named_and_not_quoted() -> None:
    for name, value in (
        ("scheme", "c4n4ry"),
        ("host", 1),
        ("accepted", True),
        ("secret_bytes", 4111111111111111),
        ("secret_bytes", 1.5),
        ("clock_measured", float("nan")),
        ("clock_measured", float("inf")),
        ("date", "c4n4ry"),
        ("signed", "yes"),
        ("answer_names", ["c4n4ry"]),
        ("answer_names", "digest"),
    ):
        with pytest.raises(ValueError, match=f"the fact '{name}' has a value that it cannot have") as caught:
            diagnose({name: value})
        assert "c4n4ry" not in str(caught.value)
    assert diagnose({"of_a_newer_version": "anything"}) == diagnose({})


def test_facts_survive_json() -> None:
    facts = Facts.read({**PLAIN, "answer_names": ["clock", "path"]})
    assert Facts.read(json.loads(json.dumps(facts.to_dict()))) == facts


# What signers say of themselves.


def signers() -> list[Any]:
    with pytest.warns(DeprecationWarning, match="March 2027"):
        old = HttpSignature("c4n4ry_merchant", UUID, SECRET, portfolio_id="c4n4ry_merchant")
    return [
        JwtSharedSecret("c4n4ry_merchant", UUID, SECRET, claim_format=JwtClaimFormat("lower", "digest-algorithm")),
        JwtSharedSecret("c4n4ry_merchant", "c4n4ry_key", SECRET[:32], portfolio_id="c4n4ry_portfolio"),
        JwtExternalKey("c4n4ry_merchant", "1234567890123456789012", lambda data: data, algorithm="PS512"),
        BearerToken("c4n4ry"),
        BearerToken(lambda: "c4n4ry"),
        old,
    ]


def test_what_signers_tell() -> None:
    plain, meta, external, token, renewing, old = (each.facts() for each in signers())
    assert plain == {
        "scheme": "jwt_shared_secret",
        "key_id_shape": "uuid",
        "portfolio": False,
        "portfolio_is_merchant": False,
        "algorithm": "HS256",
        "spelling_method": "lower",
        "spelling_digest": "digest-algorithm",
        "secret_bytes": 32,
    }
    assert (meta["key_id_shape"], meta["portfolio"], meta["secret_bytes"]) == ("other", True, 24)
    assert (external["scheme"], external["key_id_shape"], external["algorithm"]) == (
        "external_key",
        "22 digits",
        "PS512",
    )
    assert (token, renewing) == ({"scheme": "bearer", "renewable": False}, {"scheme": "bearer", "renewable": True})
    assert (old["scheme"], old["portfolio_is_merchant"]) == ("http_signature", True)
    for facts in (plain, meta, external, token, renewing, old):
        Facts.read(facts)
        assert "c4n4ry" not in json.dumps(facts)


def test_what_a_p12_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    signer = JwtP12("acme_flex_test_001", KEYS / "merchant.p12", "Fake-P12-passw0rd")
    facts = signer.facts()
    Facts.read(facts)
    assert (facts["scheme"], facts["key_id_shape"]) == ("jwt_p12", "22 digits")
    assert isinstance(facts["certificate_days_left"], int)
    for ahead, days in ((timedelta(hours=-1), 0), (timedelta(hours=1), -1), (timedelta(days=-9, hours=-1), 9)):
        moment = (signer.expires_at + ahead).timestamp()
        monkeypatch.setattr(time, "time", lambda moment=moment: moment)
        assert signer.facts()["certificate_days_left"] == days


# From an answer to an exception.

DETAILS = Operation(
    name="get_payment_details",
    method="GET",
    path="/flex/v2/payment-details/{jti}",
    signed=True,
    responses={"200": "object"},
    models="cybersource_flex.models",
)


def refused(
    auth: Any,
    body: bytes = GATEWAY,
    headers: Mapping[str, str] | None = None,
    jti: Any = "c4n4ry_4111",
    **settings: Any,
) -> AuthenticationError:
    configured = Settings(**{"host": "https://apitest.cybersource.com", "auth": auth, **settings})
    request = DETAILS.request(configured, path={"jti": jti})
    response = Response(401, "Unauthorized", {"v-c-correlation-id": "ab-12"} if headers is None else headers, body)
    response.facts = circumstances(request, configured, Clock(), {}, response)
    error = problem(DETAILS, response)
    assert isinstance(error, AuthenticationError)
    return error


def test_nothing_secret_in_report_or_diagnosis() -> None:
    for signer in signers():
        for body in (
            GATEWAY,
            b"<html>c4n4ry",
            b'{"reason":"c4n4ry","message":"date of merchant c4n4ry is wrong"}',
            b"",
        ):
            error = refused(signer, body, {"v-c-correlation-id": "c4n4ry.token"})
            for text in (json.dumps(error.report()), repr(error.diagnosis)):
                assert "c4n4ry" not in text
                assert "4111" not in text
                assert UUID not in text
                assert SECRET[:8] not in text


def test_the_report_survives_json_and_the_error_a_pickle() -> None:
    error = refused(signers()[0], b'{"reason":"X","message":"the date is off, and the digest"}')
    report = error.report()
    assert json.loads(json.dumps(report)) == report
    assert diagnose(json.loads(json.dumps(report))["facts"]) == error.diagnosis
    assert report["facts"]["answer_names"] == ["digest", "clock"]
    assert (report["method"], report["path"], report["status"]) == ("GET", "/flex/v2/payment-details/{jti}", 401)
    assert report["correlation_id"] == "ab-12"
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert again.diagnosis == error.diagnosis
    assert again.report() == report
    assert str(again) == str(error)


def test_str_names_a_cause_only_where_it_is_likely() -> None:
    plain, meta = refused(signers()[0]), refused(signers()[1])
    assert plain.diagnosis[0].score < LIKELY
    assert "likely cause" not in str(plain)
    assert str(meta).endswith("; likely cause: the secret is not decoded, or not the whole secret")
    assert "\n" not in str(meta)


def test_without_facts_there_is_no_diagnosis() -> None:
    error = problem(DETAILS, Response(401, "", {}, GATEWAY))
    assert isinstance(error, AuthenticationError)
    assert error.diagnosis == ()
    assert error.report()["facts"] == {}
    assert diagnose({})
    assert type(problem(DETAILS, Response(404, "", {}, GATEWAY))) is NotFoundError


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
def test_kinds_of_hosts(host: str, kind: str) -> None:
    facts = refused(signers()[0], host=host).report()["facts"]
    assert facts["host"] == kind
    assert facts["host_port"] is (host.count(":") in (2, 4) and host[-1].isdigit())


def test_what_lies_in_between() -> None:
    signer = signers()[0]
    facts = refused(signer, intermediate_host="https://gate.example.com", proxy="http://p.example.com").report()[
        "facts"
    ]
    assert (facts["intermediate_host"], facts["proxy"], facts["own_trust"]) == (True, "tunnel", False)
    facts = refused(signer, host="http://localhost", proxy="http://p.example.com").report()["facts"]
    assert facts["proxy"] == "forward"
    facts = refused(signer, tls=Tls(insecure_skip_verification=True)).report()["facts"]
    assert facts["own_trust"] is True
    assert (facts["path_parameters"], facts["path_encoded"], facts["path_query"]) == (True, False, False)
    # Of what a path parameter accepts, only a date with a time is percent-encoded.
    facts = refused(signer, jti=datetime(2026, 1, 2, tzinfo=UTC)).report()["facts"]
    assert (facts["path_parameters"], facts["path_encoded"], facts["path_query"]) == (True, True, False)


class Foreign:
    """A signer of somebody's own."""

    def __init__(self, facts: Any) -> None:
        self._facts = facts

    def sign(self, request: Request, now: float) -> dict[str, str]:
        return {}

    def facts(self) -> Any:
        if isinstance(self._facts, Exception):
            raise self._facts
        return self._facts


@pytest.mark.parametrize(
    "told",
    [
        None,
        "c4n4ry",
        RuntimeError("c4n4ry"),
        {"scheme": "c4n4ry", "algorithm": ["c4n4ry"], "secret": "c4n4ry", "secret_bytes": 10**15, "host": "test"},
    ],
)
def test_what_a_foreign_signer_tells_is_sifted(told: Any) -> None:
    report = refused(Foreign(told), host="https://shop.example.com").report()
    assert "c4n4ry" not in json.dumps(report)
    assert report["facts"]["scheme"] == "custom"
    assert report["facts"]["host"] == "other"
    assert "secret_bytes" not in report["facts"]
    assert refused(Foreign({"scheme": "jwt_p12"})).report()["facts"]["scheme"] == "jwt_p12"


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
def test_shapes_of_answers(body: bytes, shape: str) -> None:
    facts = refused(signers()[0], body).report()["facts"]
    assert facts["answer_shape"] == shape
    assert facts["answer_names"] == []


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Authentication Failed", []),
        ("Missing required header: v-c-merchant-id", ["host", "credentials"]),
        ("Digest does not match", ["digest"]),
        ("Date header is too old", ["clock"]),
        ("key expired", ["key_ended"]),
        ("Invalid keyid", ["key_id"]),
        ("HTTP Signature is no longer supported", ["scheme_retired"]),
        ("update your candidate", []),
    ],
)
def test_what_an_answer_names(text: str, names: list[str]) -> None:
    body = json.dumps({"response": {"rmsg": text}}).encode()
    assert refused(signers()[0], body).report()["facts"]["answer_names"] == names


@pytest.mark.parametrize("date", ["Fri, 31 Dec 9999 23:59:59 GMT", "Thu, 01 Jan 1970 00:00:00 GMT"])
def test_a_host_with_an_absurd_clock(date: str) -> None:
    clock = Clock()
    now = time.time()
    clock.learn(date, sent=now, received=now)
    settings = Settings(host="https://apitest.cybersource.com", auth=signers()[0])
    request = DETAILS.request(settings, path={"jti": "x"})
    response = Response(401, "", {}, GATEWAY)
    facts = circumstances(request, settings, clock, {}, response)
    assert facts["date"] == time.strftime("%Y-%m-%d", time.gmtime(now))
    assert diagnose(facts)
