"""The emulator's scenarios: their names, selection and random faults, and the content of their responses."""

from __future__ import annotations

import json
import pickle
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path

import pytest
import urllib3
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from cybersource_flex import ConfigurationError
from cybersource_flex.emulator import SCENARIOS, Emulator, Merchant, Scenario
from support.emulator_client import (
    DETAILS,
    KEYS,
    NOW,
    SESSIONS,
    TIMEOUT,
    TOKENS,
    VALID_BODY,
    jwt_headers,
    send,
    sha256_base64,
    verify_jwt,
)
from support.encoding import base64url_decode
from support.scenario_client import SCENARIO_HEADER, create_session, get_key, reset_around, scenario_headers, tokenize
from support.tokens import decode_jwt, decrypt_jwe

MLE_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
MLE_PEM = MLE_KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture(scope="module")
def shared_emulator() -> Iterator[Emulator]:
    """The emulator of a merchant with a key for encrypted responses."""
    merchant = Merchant.generate()
    with_response_key = Merchant(
        merchant.merchant_id, merchant.key_id, merchant.secret_key, response_mle_certificates=[("mle", MLE_PEM)]
    )
    with Emulator(merchants=[with_response_key], clock=lambda: NOW) as running:
        yield running


@pytest.fixture
def emulator(shared_emulator: Emulator) -> Iterator[Emulator]:
    yield from reset_around(shared_emulator)


def test_strings_and_scenarios_convert_to_each_other() -> None:
    for string, scenario in (
        ("latency", Scenario("latency")),
        ("latency;seconds=0.5", Scenario("latency", seconds=0.5)),
        ("rotated-key;same-kid=true", Scenario("rotated-key", same_kid=True)),
        ("redirect;status=308;location=http://127.0.0.1:1/x?a=b", None),
    ):
        parsed = Scenario.parse(string)
        assert str(parsed) == string
        assert scenario is None or (parsed == scenario and hash(parsed) == hash(scenario))
        assert pickle.loads(pickle.dumps(parsed)) == parsed  # noqa: S301
        assert repr(parsed) == f"Scenario.parse({string!r})"
    assert Scenario.parse(" gzip-bomb ; size = 2MiB ").value("size") == 2 << 20
    assert Scenario.parse("latency").value("seconds") == 1
    assert str(Scenario.parse("endless-headers;size=1;kind=huge")) == "endless-headers;kind=huge;size=1"


@pytest.mark.parametrize(
    ("string", "message"),
    [
        ("nonsense", "no scenario 'nonsense'; known are latency, slow-drip"),
        ("", "no scenario ''"),
        ("latency;pace=1", "no parameter 'pace'; known: seconds"),
        ("latency;name=1", "no parameter 'name'"),
        ("latency;self=1", "no parameter 'self'"),
        ("empty-500;x=1", "known: none"),
        ("latency;seconds", "name=value"),
        ("latency;seconds=1;seconds=2", "each name once"),
        ("latency;seconds=-1", "must be seconds from 0"),
        ("latency;seconds=nan", "must be seconds from 0"),
        ("latency;seconds=1e9", "must be seconds from 0"),
        ("slow-drip;part=tail", "must be body or head, not 'tail'"),
        ("status-503;retry-after=soon", "must be none, seconds"),
        ("gzip-bomb;size=2GiB", "bytes up to 1GiB"),
        ("redirect;status=200", "must be 307 or 301"),
        ("redirect;location=a\r\nb", "address"),
        ("rotated-key;same-kid=yes", "true or false"),
        ("wrong-length;difference=0", "must not be 0"),
        ("interim;status=200", "statuses from 100 to 199, separated by commas"),
        ("interim;status=100,", "statuses from 100 to 199, separated by commas"),
        ("interim;count=0", "a whole number from 1 to 100000"),
        ("interim;final=200", "must be normal or 204 or 304"),
        ("early-response;status=200", "must be 400 or 413 or 503"),
        ("body-not-allowed;status=200", "must be 204 or 304 or 102 or 103"),
        ("undecodable-body;encoding=identity", "must be gzip or deflate or br or zstd"),
        ("forget-idle;seconds=-1", "must be seconds from 0"),
    ],
)
def test_invalid_scenarios_are_rejected(string: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Scenario.parse(string)
    with pytest.raises(ValueError, match=re.escape(message)):
        Emulator(scenario=string)


def test_every_scenario_is_described_and_documented() -> None:
    page = (Path(__file__).parents[3] / "docs" / "emulator.md").read_text("utf-8")
    for name, kind in SCENARIOS.items():
        assert (kind.name, str(Scenario.parse(kind.usage)).split(";")[0]) == (name, name)
        assert f"| `{kind.usage}` | {kind.description} |" in page
    assert len(re.findall(r"^\| `[a-z0-9-]+[;`]", page, re.M)) >= len(SCENARIOS)


def test_the_examples_on_the_page() -> None:
    page = (Path(__file__).parents[3] / "docs" / "emulator.md").read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.S)
    assert len(blocks) == 4
    # The first block needs the client, which these tests do not use.
    for block in blocks[1:]:
        exec(compile(block, "emulator.md", "exec"), {})  # noqa: S102


def test_queued_scenarios_apply_in_order(emulator: Emulator) -> None:
    emulator.queue_scenarios(["status-503;retry-after=7", None, Scenario("html-502"), "ok", "empty-500"])
    statuses = [create_session(emulator).status for _ in range(6)]
    assert statuses == [503, 201, 502, 201, 500, 201]
    assert [record.scenario for record in emulator.requests] == [
        "status-503;retry-after=7",
        None,
        "html-502",
        None,
        "empty-500",
        None,
    ]
    assert [record.succeeded for record in emulator.requests] == [False, True, False, True, False, True]
    assert [record.status for record in emulator.requests] == statuses
    times = [record.received_monotonic for record in emulator.requests]
    assert times == sorted(times)
    assert times[-1] <= time.monotonic()


def test_a_queue_for_a_path_precedes_the_common_queue(emulator: Emulator) -> None:
    kid = emulator.rotate_key()
    emulator.queue_scenarios(["status-500"] * 2)
    emulator.queue_scenarios(["html-502"], path=KEYS + "*")
    emulator.queue_scenarios(["empty-500"], path=KEYS + kid)
    assert [create_session(emulator).status, get_key(emulator, kid).status, get_key(emulator, kid).status] == [
        500,
        500,
        502,
    ]
    assert [record.scenario for record in emulator.requests] == ["status-500", "empty-500", "html-502"]
    assert [get_key(emulator, kid).status, get_key(emulator, kid).status] == [500, 200]
    # A new queue for a path replaces the old one, and an empty queue removes it.
    emulator.queue_scenarios(["status-500"], path=SESSIONS)
    emulator.queue_scenarios(["html-502"], path=SESSIONS)
    assert [create_session(emulator).status, create_session(emulator).status] == [502, 201]
    emulator.queue_scenarios(["status-500"], path=SESSIONS)
    emulator.queue_scenarios([], path=SESSIONS)
    assert create_session(emulator).status == 201


def test_the_header_precedes_the_queue_and_the_default_is_last(emulator: Emulator) -> None:
    emulator.scenario = Scenario("html-502")
    emulator.queue_scenarios(["status-500"])
    assert [
        create_session(emulator, "empty-200").status,
        create_session(emulator).status,
        create_session(emulator).status,
    ] == [200, 500, 502]
    assert create_session(emulator, "ok").status == 201
    emulator.queue_scenarios(["ok"])
    assert create_session(emulator).status == 201
    assert emulator.scenario == Scenario("html-502")
    emulator.reset_faults()
    assert emulator.scenario is None
    assert create_session(emulator).status == 201
    for invalid in ("nonsense", "latency;seconds=x"):
        rejected = create_session(emulator, invalid)
        assert rejected.status == 400
        assert rejected.json["reason"] == "EMULATOR_SCENARIO"
        assert emulator.requests[-1].rejection_reason.startswith(SCENARIO_HEADER)


def test_invalid_queues_change_nothing(emulator: Emulator) -> None:
    emulator.queue_scenarios(["html-502"])
    calls: list[Callable[[], object]] = [
        lambda: emulator.queue_scenarios(["status-500", "nonsense"]),
        lambda: emulator.queue_scenarios("status-500"),
        lambda: emulator.queue_scenarios(["status-500"], path="flex"),
        lambda: emulator.queue_scenarios(["status-500"], path="/a?b"),
        lambda: emulator.inject_random_faults(1.5),
        lambda: emulator.inject_random_faults(0.5, scenarios="status-500"),
        lambda: emulator.inject_random_faults(0.5, scenarios=[]),
        lambda: setattr(emulator, "scenario", "nonsense"),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r".+"):
            call()
    assert [create_session(emulator).status, create_session(emulator).status] == [502, 201]


def test_the_default_scenario() -> None:
    with Emulator(scenario="status-503;retry-after=2", key_pool=1, clock=lambda: NOW) as emulator:
        assert [create_session(emulator).status, get_key(emulator, "zz").status] == [503, 503]
        assert create_session(emulator, "ok").status == 201


def test_random_faults_depend_on_the_seed_and_the_number_of_requests(emulator: Emulator) -> None:
    kid = emulator.rotate_key()

    def run_requests(seed: int) -> list[str | None]:
        emulator.clear()
        emulator.inject_random_faults(0.25, seed, ["status-500", "html-502", "status-429"])
        for _ in range(120):
            get_key(emulator, kid)
        return [record.scenario for record in emulator.requests]

    first = run_requests(1)
    assert run_requests(1) == first
    assert run_requests(2) != first
    assert 15 < 120 - first.count(None) < 45
    emulator.clear()
    emulator.inject_random_faults(0.25, 1, ["status-500", "html-502", "status-429"])
    threads = [threading.Thread(target=lambda: [get_key(emulator, kid) for _ in range(15)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert Counter(record.scenario for record in emulator.requests) == Counter(first)
    emulator.inject_random_faults(1, 1, ["status-500"], path=SESSIONS)
    assert [get_key(emulator, kid).status, create_session(emulator).status] == [200, 500]
    emulator.inject_random_faults(0)
    assert create_session(emulator).status == 201


def test_many_requests_with_the_default_random_faults(emulator: Emulator) -> None:
    emulator.inject_random_faults(0.5, 3)
    pool = urllib3.PoolManager(retries=False)
    outcomes: Counter[str] = Counter()
    for _ in range(120):
        headers = jwt_headers(emulator, "POST", SESSIONS, VALID_BODY)
        try:
            response = pool.request("POST", emulator.url + SESSIONS, body=VALID_BODY, headers=headers, timeout=TIMEOUT)
            outcomes[str(response.status)] += 1
        except urllib3.exceptions.HTTPError as error:
            outcomes[type(error).__name__] += 1
    pool.clear()
    applied = Counter((record.scenario or "").partition(";")[0] for record in emulator.requests)
    assert len(emulator.requests) == sum(outcomes.values()) == 120
    assert len(applied) == 9
    assert outcomes["201"] == applied[""]
    assert outcomes["ProtocolError"] == sum(
        applied[name] for name in ("reset-before", "reset-during", "reset-after-request", "truncated")
    )
    # Each executed request has created a session, even if the client got no response.
    assert (
        sum(record.succeeded for record in emulator.requests)
        == outcomes["201"] + outcomes["ProtocolError"] - applied["reset-before"]
    )
    assert len({record.headers["authorization"] for record in emulator.requests}) == 120


@pytest.mark.parametrize(
    ("form", "value"),
    [
        ("none", None),
        ("7", "7"),
        ("-3", "-3"),
        ("0.5", "0.5"),
        ("date", formatdate(NOW, usegmt=True)),
        ("date+30", formatdate(NOW + 30, usegmt=True)),
        ("date-30", formatdate(NOW - 30, usegmt=True)),
        ("garbage", "as soon as possible"),
        ("negative", "-1"),
        ("huge", str(10**20)),
    ],
)
def test_retry_after(emulator: Emulator, form: str, value: str | None) -> None:
    for status in (429, 503):
        response = create_session(emulator, f"status-{status};retry-after={form}")
        assert (response.status, response.headers.get("retry-after")) == (status, value)
        assert response.json["message"]
        assert "digest" not in response.headers
    assert not any(record.succeeded for record in emulator.requests)


def test_error_statuses_without_a_parsable_body(emulator: Emulator) -> None:
    assert create_session(emulator, "status-500").json["reason"] == "API_INTERNAL_ERROR"
    page = create_session(emulator, "html-502")
    assert (page.status, page.headers["content-type"]) == (502, "text/html; charset=utf-8")
    assert page.content.startswith("<!DOCTYPE html>")
    empty = create_session(emulator, "empty-500")
    assert (empty.status, empty.body, empty.headers.get("content-type")) == (500, b"", None)


def test_a_wrong_signature_is_a_401_under_any_scenario(emulator: Emulator) -> None:
    # This detects clients that reuse the signature of the first attempt for a retry.
    headers = jwt_headers(emulator, "POST", SESSIONS, VALID_BODY)
    emulator.queue_scenarios(["status-503", "status-503"])
    assert [send(emulator, "POST", SESSIONS, headers, VALID_BODY).status for _ in range(2)] == [503, 401]
    assert emulator.requests[-1].rejection_reason == "jti was used before"


def test_redirect(emulator: Emulator) -> None:
    for status in (301, 302, 303, 307, 308):
        response = create_session(emulator, f"redirect;status={status};location=http://127.0.0.1:1/there?a=b")
        assert (response.status, response.headers["location"]) == (status, "http://127.0.0.1:1/there?a=b")
    assert create_session(emulator, "redirect").status == 307


def test_refuse(emulator: Emulator) -> None:
    plain = create_session(emulator, "refuse")
    assert (plain.status, plain.json) == (401, {"response": {"rmsg": "Authentication Failed"}})
    nested = create_session(emulator, "refuse;shape=json;reason=the key was deactivated")
    assert json.loads(nested.json["response"]["rmsg"])["error"] == "UNAUTHORIZED_USER"
    assert (
        emulator.requests[-1].rejection_reason == nested.headers["v-c-emulator-rejection"] == "the key was deactivated"
    )
    assert create_session(emulator, "refuse;shape=empty").body == b""


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_a_body_that_cannot_be_decoded(emulator: Emulator, encoding: str) -> None:
    response = create_session(emulator, f"undecodable-body;encoding={encoding}")
    assert (response.status, response.headers["content-encoding"], response.content.count(".")) == (201, encoding, 2)
    assert emulator.requests[-1].succeeded
    for status in (400, 401, 403, 404, 500, 503):
        response = create_session(emulator, f"undecodable-body;encoding={encoding};status={status}")
        assert (response.status, response.headers["content-encoding"]) == (status, encoding)
        # The body is the same as without the scenario, and is not encoded.
        assert ("response" if status == 401 else "reason") in response.json
        assert not emulator.requests[-1].succeeded


def test_wrong_bodies_and_headers(emulator: Emulator) -> None:
    normal = create_session(emulator)
    assert normal.headers["digest"] == "SHA-256=" + sha256_base64(normal.body)
    wrong = create_session(emulator, "wrong-digest")
    assert wrong.headers["digest"].startswith("SHA-256=")
    assert wrong.headers["digest"] != "SHA-256=" + sha256_base64(wrong.body)
    page = create_session(emulator, "html-200")
    assert (page.status, page.content[:15], page.headers["content-type"]) == (
        200,
        "<!DOCTYPE html>",
        "text/html; charset=utf-8",
    )
    empty = create_session(emulator, "empty-200")
    assert (empty.status, empty.body) == (200, b"")
    assert [record.succeeded for record in emulator.requests] == [True] * 4
    other = create_session(emulator, "wrong-content-type;type=application/xml")
    assert other.headers["content-type"] == "application/xml"
    assert other.content.count(".") == 2


@pytest.mark.parametrize("offset", [600, -600])
def test_a_wrong_clock(emulator: Emulator, offset: int) -> None:
    skewed = create_session(emulator, f"clock-skew;seconds={offset}")
    assert (skewed.status, skewed.headers["date"]) == (401, formatdate(NOW + offset, usegmt=True))
    assert ("expired" if offset > 0 else "ahead") in (emulator.requests[-1].rejection_reason or "")
    assert create_session(emulator).headers["date"] == formatdate(NOW, usegmt=True)
    corrected = create_session(emulator, f"clock-skew;seconds={offset}", now=NOW + offset)
    assert corrected.status == 201
    assert decode_jwt(corrected.content)[1]["iat"] == NOW + offset
    emulator.shift_clock(offset)
    assert (create_session(emulator).status, create_session(emulator, now=NOW + offset).status) == (401, 201)
    emulator.shift_clock(0)
    assert create_session(emulator).status == 201


def test_clock_skew_of_a_request_does_not_expire_stored_contexts(emulator: Emulator) -> None:
    context = create_session(emulator).content
    for offset in (100_000, -100_000):
        skewed = create_session(emulator, f"clock-skew;seconds={offset}", now=NOW + offset).content
        emulator.shift_clock(offset)
        assert tokenize(emulator, skewed).status == 201
        emulator.shift_clock(0)
    assert tokenize(emulator, context).status == 201


def test_a_wrong_date(emulator: Emulator) -> None:
    for scenario, date in (
        ("wrong-date", formatdate(NOW + 3600, usegmt=True)),
        ("wrong-date;seconds=-86400", formatdate(NOW - 86400, usegmt=True)),
        ("wrong-date;kind=garbage", "yesterday"),
        ("wrong-date;kind=missing", None),
    ):
        response = create_session(emulator, scenario)
        assert (response.status, response.headers.get("date")) == (201, date)
        assert decode_jwt(response.content)[1]["iat"] == int(NOW), "the emulator's clock is correct"
    assert create_session(emulator).headers["date"] == formatdate(NOW, usegmt=True)
    with pytest.raises(ValueError, match="whole seconds from"):
        Scenario("wrong-date", seconds=10**12)


def test_a_rotated_key(emulator: Emulator) -> None:
    before = create_session(emulator).content
    kid = decode_jwt(before)[0]["kid"]
    after = create_session(emulator, "rotated-key").content
    new_kid = decode_jwt(after)[0]["kid"]
    assert new_kid != kid
    verify_jwt(before, get_key(emulator, kid).json)
    verify_jwt(after, get_key(emulator, new_kid).json)
    replaced = create_session(emulator, "rotated-key;same-kid=true").content
    assert decode_jwt(replaced)[0]["kid"] == new_kid
    jwk = get_key(emulator, new_kid).json
    verify_jwt(replaced, jwk)
    with pytest.raises(InvalidSignature):
        verify_jwt(after, jwk)
    assert emulator.rotate_key(same_kid=True) == new_kid
    assert emulator.rotate_key() != new_kid
    assert get_key(emulator, new_kid, "404-key").status == 404
    # Only the most recent keys are published. A later key may have the same kid, because a kid has only two characters.
    old_jwk = get_key(emulator, new_kid).json
    for _ in range(8):
        last = emulator.rotate_key()
    response = get_key(emulator, new_kid)
    assert response.status == 404 or response.json["n"] != old_jwk["n"]
    assert get_key(emulator, last).status == 200
    # A key that replaces another one under the same kid does not remove a third one.
    kids = [last, *(emulator.rotate_key() for _ in range(7))]
    emulator.rotate_key(same_kid=True)
    assert [get_key(emulator, kid).status for kid in kids] == [200] * 8
    with pytest.raises(RuntimeError, match="before it is started"):
        Emulator().rotate_key()


def test_unknown_members(emulator: Emulator) -> None:
    response = create_session(emulator, "unknown-members")
    header, claims = decode_jwt(response.content)
    jwk = get_key(emulator, header["kid"], "unknown-members").json
    assert jwk["use"] == "emulated"
    verify_jwt(response.content, jwk)
    for part in (header, claims, claims["flx"], claims["flx"]["jwk"], claims["ctx"][0], claims["ctx"][0]["data"], jwk):
        assert "emulatorExtra" in part
    assert claims["ctx"][1]["type"] == "emulated-9.9.9"
    token = tokenize(emulator, response.content, "unknown-members")
    assert token.status == 201
    content = verify_jwt(token.content, claims["flx"]["jwk"])["content"]
    assert content["paymentInformation"]["card"]["number"]["detectedCardTypes"] == ["001", "999"]
    path = DETAILS + decode_jwt(token.content)[1]["jti"]
    headers = {**jwt_headers(emulator, "GET", path, None)}
    details = send(emulator, "GET", path, {**headers, **scenario_headers("unknown-members")}).json
    assert details["paymentInformation"]["card"]["type"] == "999"
    assert details["emulatorText"] == "unknown"
    error = send(emulator, "POST", TOKENS, scenario_headers("unknown-members"), b"").json
    assert error["responseStatus"]["reason"] == "EMULATOR_UNKNOWN_REASON"


def test_malformed_jwts(emulator: Emulator) -> None:
    normal = create_session(emulator).content
    jwk = get_key(emulator, decode_jwt(normal)[0]["kid"]).json
    verify_jwt(normal, jwk)

    def malformed(kind: str) -> str:
        context = create_session(emulator)
        token = tokenize(emulator, context.content, f"malformed-jwt;kind={kind}")
        response = create_session(emulator, f"malformed-jwt;kind={kind}")
        assert (response.status, token.status) == (201, 201)
        assert response.content.count(".") == token.content.count(".")
        return response.content

    with pytest.raises(InvalidSignature):
        verify_jwt(malformed("truncated"), jwk)
    with pytest.raises(InvalidSignature):
        verify_jwt(malformed("wrong-key"), jwk)
    assert malformed("two-parts").count(".") == 1
    assert re.fullmatch(r"[\w-]+\.[\w-]+\*[\w-]+\.[\w-]+", malformed("bad-base64"))
    assert base64url_decode(malformed("not-json").split(".")[1]) == b"{not JSON"
    quoted = malformed("quoted")
    assert quoted.startswith('"')
    verify_jwt(json.loads(quoted), jwk)
    none = malformed("none-alg")
    assert (decode_jwt(none)[0]["alg"], none[-1]) == ("none", ".")


def test_expired_contexts(emulator: Emulator) -> None:
    late = create_session(emulator, "expired-context").content
    assert (decode_jwt(late)[1]["iat"], decode_jwt(late)[1]["exp"]) == (NOW - 960, NOW - 60)
    assert tokenize(emulator, late).json["responseStatus"]["reason"] == "CAPTURE_CONTEXT_EXPIRED"
    now = create_session(emulator, "expired-context;expires-in=0").content
    assert decode_jwt(now)[1]["exp"] == NOW
    soon = create_session(emulator, "expired-context;expires-in=1").content
    assert tokenize(emulator, soon).status == 201
    normal = create_session(emulator).content
    assert tokenize(emulator, normal, "expired-context").json["responseStatus"]["reason"] == "CAPTURE_CONTEXT_EXPIRED"
    assert tokenize(emulator, normal).status == 201


def test_used_tokens(emulator: Emulator) -> None:
    path = DETAILS + decode_jwt(tokenize(emulator, create_session(emulator).content).content)[1]["jti"]
    used = send(emulator, "GET", path, {**jwt_headers(emulator, "GET", path, None), SCENARIO_HEADER: "used-token"})
    assert (used.status, used.json["responseStatus"]["reason"]) == (400, "INVALID_DATA")
    assert used.json["responseStatus"]["details"][0]["location"] == "tokenInformation.jti"
    assert send(emulator, "GET", path, {**jwt_headers(emulator, "GET", path, None)}).status == 200


def test_responses_encrypted_to_another_key(emulator: Emulator) -> None:
    def decrypt_session(scenario: str | None) -> bytes:
        response = create_session(emulator, scenario, v_c_response_mle_kid="mle")
        header, plaintext = decrypt_jwe(response.json["encryptedResponse"], MLE_KEY)
        assert header["kid"] == "mle"
        return plaintext

    assert decrypt_session(None).count(b".") == 2
    with pytest.raises((ValueError, InvalidTag)):
        decrypt_session("mle-wrong-key")
    # Responses of the gateway are not encrypted.
    assert create_session(emulator, "status-503", v_c_response_mle_kid="mle").json["message"] == "Service unavailable"


@pytest.mark.parametrize("seconds", [-1_000_000_000, 1_000_000_000])
def test_the_largest_clock_skew_still_has_a_date(emulator: Emulator, seconds: int) -> None:
    emulator.scenario = f"clock-skew;seconds={seconds}"
    response = send(emulator, "GET", "/flex", {})
    assert parsedate_to_datetime(response.headers["date"]).timestamp() == NOW + seconds
    with pytest.raises(ConfigurationError, match="from -1000000000 to 1000000000"):
        emulator.scenario = f"clock-skew;seconds={seconds * 2}"
