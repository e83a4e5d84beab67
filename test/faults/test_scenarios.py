"""The client with every fault scenario of the emulator.

The tests check the result, the attempts, their signatures and the duration, and that the client works afterwards.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cybersource_flex import CallError, CaptureContext, EventHooks, FlexClient, FlexError, RetryPolicy, errors, fields
from cybersource_flex.auth import JwtSharedSecret, MessageLevelEncryption
from cybersource_flex.emulator import SCENARIOS, Emulator, Merchant
from cybersource_flex.transport import Transport

FIELDS = fields(card=["number"])
CARD = {"card": {"number": "4111111111111111"}}
FAST_RETRY = RetryPolicy(initial_delay=0.001, max_delay=0.002, deadline=10.0)


@pytest.fixture
def client(emulator: Emulator, client_class: type[FlexClient]) -> Iterator[FlexClient]:
    emulator.reset_faults()
    auth = JwtSharedSecret(**emulator.auth)
    with client_class(auth, environment=emulator.url, retry=FAST_RETRY, read_timeout=0.5) as client:
        client.create_capture_context(FIELDS)  # fetches the long-term key
        emulator.clear()
        yield client
    emulator.reset_faults()


Call = Callable[[FlexClient, CaptureContext], Any]


def sessions(client: FlexClient, context: CaptureContext) -> Any:
    return client.create_capture_context(FIELDS)


def tokens(client: FlexClient, context: CaptureContext) -> Any:
    return client.tokenize(context, CARD)


def details(client: FlexClient, context: CaptureContext) -> Any:
    return client.payment_details("A" * 64)


def assert_works(client: FlexClient, emulator: Emulator) -> None:
    """Calls of the same client succeed, so that no bytes of earlier responses are read."""
    emulator.reset_faults()
    context = client.create_capture_context(FIELDS)
    token = client.tokenize(context, CARD)
    assert client.payment_details(token)["paymentInformation"]["card"]["number"] == "XXXXXXXXXXXX1111"


def signatures(emulator: Emulator) -> list[str]:
    return [request.headers["authorization"] for request in emulator.requests if "authorization" in request.headers]


# Faults of one response, after which calls that are safe to repeat are retried.

SINGLE_FAULTS = [
    "reset-before",
    "reset-during",
    "reset-after-request",
    "truncated",
    "chunked-broken;kind=size",
    "chunked-broken;kind=end",
    "status-429;retry-after=0",
    "status-429;retry-after=date",
    "status-503;retry-after=none",
    "status-503;retry-after=garbage",
    "status-503;retry-after=negative",
    "status-503;retry-after=date-30",
    "html-502",
    "endless-headers;kind=many;size=1MiB",
    "endless-headers;kind=huge;size=1MiB",
    "interim;status=101",
    "body-not-allowed;status=103",
    "early-response;status=503",
    "early-response;status=503;then=close",
    "undecodable-body;status=503",
]


@pytest.mark.parametrize("fault", SINGLE_FAULTS)
def test_safe_calls_are_retried_after_one_fault(fault: str, client: FlexClient, emulator: Emulator) -> None:
    emulator.queue_scenarios([fault], path="/flex/v2/sessions")
    started = time.monotonic()
    assert sessions(
        client, client.create_microform_context(target_origins=["https://a.example"], allowed_card_networks=["VISA"])
    )
    assert time.monotonic() - started < FAST_RETRY.deadline  # type: ignore[operator]
    targets = [request.target for request in emulator.requests]
    assert targets.count("/flex/v2/sessions") == 2
    sent = signatures(emulator)
    assert len(set(sent)) == len(sent) == 3, "each attempt has its own token id"
    assert_works(client, emulator)


# Faults of every response: the scenario, the call, and the expected exception, outcome and number of attempts.

PERSISTENT_FAULTS: list[tuple[str, Call, type[FlexError], errors.Outcome | None, int]] = [
    ("latency;seconds=20", sessions, errors.ResponseTimeoutError, "unknown", 3),
    ("latency;seconds=20", tokens, errors.ResponseTimeoutError, "unknown", 1),
    ("reset-before", sessions, errors.ConnectionBrokenError, "unknown", 3),
    ("reset-before", tokens, errors.ConnectionBrokenError, "unknown", 1),
    ("reset-during", sessions, errors.ConnectionBrokenError, "unknown", 3),
    ("reset-during", tokens, errors.ConnectionBrokenError, "unknown", 1),
    ("reset-after-request", sessions, errors.ConnectionBrokenError, "unknown", 3),
    ("reset-after-request", tokens, errors.ConnectionBrokenError, "unknown", 1),
    ("truncated", sessions, errors.ConnectionBrokenError, "unknown", 3),
    ("truncated", tokens, errors.ConnectionBrokenError, "unknown", 1),
    ("wrong-length;difference=10", sessions, errors.ResponseTimeoutError, "unknown", 3),
    ("chunked-broken;kind=size", sessions, errors.ConnectionBrokenError, "unknown", 3),
    ("chunked-broken;kind=end", tokens, errors.ConnectionBrokenError, "unknown", 1),
    ("status-429", sessions, errors.RateLimitError, "rejected", 3),
    ("status-429", tokens, errors.RateLimitError, "rejected", 1),
    ("status-503", sessions, errors.ServerError, "rejected", 3),
    ("status-503;retry-after=huge", sessions, errors.ServerError, "rejected", 1),
    ("status-503;retry-after=60", details, errors.ServerError, "rejected", 1),
    ("status-500", sessions, errors.ServerError, "unknown", 1),
    ("html-502", sessions, errors.ServerError, "unknown", 3),
    ("html-502", tokens, errors.ServerError, "unknown", 1),
    ("empty-500", sessions, errors.ServerError, "unknown", 1),
    ("refuse", sessions, errors.AuthenticationError, "rejected", 1),
    ("refuse;shape=json", details, errors.AuthenticationError, "rejected", 1),
    ("used-token", details, errors.ApiException, "rejected", 1),
    ("gzip-bomb;size=64MiB", sessions, errors.ResponseTooLargeError, "accepted", 1),
    ("big-body;size=16MiB", sessions, errors.ResponseTooLargeError, "accepted", 1),
    ("endless-body;size=64MiB", tokens, errors.ResponseTooLargeError, "accepted", 1),
    ("endless-headers;kind=many;size=1MiB", sessions, errors.ConnectionBrokenError, "unknown", 3),
    ("endless-headers;kind=huge;size=1MiB", tokens, errors.ConnectionBrokenError, "unknown", 1),
    ("interim;status=101", tokens, errors.TransportError, "unknown", 1),
    ("interim;status=199,101;count=2;seconds=0", tokens, errors.TransportError, "unknown", 1),
    ("interim;count=10000;seconds=0", tokens, errors.TransportError, "unknown", 1),
    ("interim;count=2000;size=1KiB", tokens, errors.TransportError, "unknown", 1),
    ("interim;size=16MiB;seconds=0", tokens, errors.TransportError, "unknown", 1),
    ("interim;seconds=20", tokens, errors.ResponseTimeoutError, "unknown", 1),
    ("interim;seconds=20", sessions, errors.ResponseTimeoutError, "unknown", 3),
    ("interim;final=204", details, errors.ResponseDecodingError, "accepted", 1),
    ("interim;final=304", tokens, errors.RedirectError, "rejected", 1),
    ("body-not-allowed;status=102", tokens, errors.TransportError, "unknown", 1),
    ("body-not-allowed;status=103", sessions, errors.TransportError, "unknown", 3),
    ("early-response;status=400", tokens, errors.BadRequestError, "rejected", 1),
    ("early-response;status=400;then=close", tokens, errors.BadRequestError, "rejected", 1),
    ("early-response;status=413", sessions, errors.ApiException, "rejected", 1),
    ("early-response;status=503", tokens, errors.ServerError, "rejected", 1),
    ("early-response;status=503", sessions, errors.ServerError, "rejected", 3),
    *(
        (f"undecodable-body;encoding={encoding};status={status}", call, expected, outcome, attempts)
        for encoding in ("gzip", "deflate", "br", "zstd")
        for status, call, expected, outcome, attempts in (
            ("normal", tokens, errors.ResponseDecodingError, "accepted", 1),
            ("normal", details, errors.NotFoundError, "rejected", 1),
            ("normal", sessions, errors.ResponseDecodingError, "accepted", 1),
            ("400", tokens, errors.BadRequestError, "rejected", 1),
            ("401", sessions, errors.AuthenticationError, "rejected", 1),
            ("403", sessions, errors.PermissionDeniedError, "rejected", 1),
            ("404", details, errors.NotFoundError, "rejected", 1),
            ("500", sessions, errors.ServerError, "unknown", 1),
            ("503", tokens, errors.ServerError, "rejected", 1),
        )
    ),
    ("html-200", sessions, errors.ResponseDecodingError, "accepted", 1),
    ("html-200", tokens, errors.ResponseDecodingError, "accepted", 1),
    ("html-200", details, errors.ResponseDecodingError, "accepted", 1),
    ("empty-200", sessions, errors.ResponseDecodingError, "accepted", 1),
    ("empty-200", tokens, errors.ResponseDecodingError, "accepted", 1),
    ("empty-200", details, errors.ResponseDecodingError, "accepted", 1),
    ("wrong-digest", tokens, errors.ResponseDecodingError, "accepted", 1),
    ("expired-context", sessions, errors.ExpiredTokenError, None, 1),
    ("wrong-date;seconds=3600", sessions, errors.ExpiredTokenError, None, 1),
    ("malformed-jwt;kind=truncated", sessions, errors.TokenError, None, 1),
    ("malformed-jwt;kind=two-parts", sessions, errors.CompactFormError, None, 1),
    ("malformed-jwt;kind=bad-base64", tokens, errors.MalformedTokenError, None, 1),
    ("malformed-jwt;kind=not-json", sessions, errors.TokenJsonError, None, 1),
    ("malformed-jwt;kind=none-alg", sessions, errors.CompactFormError, None, 1),
    ("malformed-jwt;kind=wrong-key", sessions, errors.InvalidSignatureError, None, 1),
    ("malformed-jwt;kind=wrong-key", tokens, errors.InvalidSignatureError, None, 1),
]


@pytest.mark.parametrize(("fault", "call", "expected", "outcome", "attempts"), PERSISTENT_FAULTS)
def test_persistent_faults_raise_the_documented_exception(
    fault: str,
    call: Call,
    expected: type[FlexError],
    outcome: errors.Outcome | None,
    attempts: int,
    client: FlexClient,
    emulator: Emulator,
) -> None:
    context = client.create_capture_context(FIELDS)
    emulator.clear()
    path = {"sessions": "/flex/v2/sessions", "tokens": "/flex/v2/tokens", "details": "/flex/v2/payment-details/*"}
    emulator.queue_scenarios([fault] * 5, path=path[call.__name__])
    started = time.monotonic()
    with pytest.raises(expected) as caught:
        call(client, context)
    assert time.monotonic() - started < FAST_RETRY.deadline  # type: ignore[operator]
    error = caught.value
    if outcome is not None:
        assert isinstance(error, CallError)
        assert error.outcome == outcome
        assert len(error.attempts) == attempts
        assert [attempt.number for attempt in error.attempts] == list(range(1, attempts + 1))
        assert error.safe_to_retry == (call is not tokens or outcome == "rejected")
    requests = [request for request in emulator.requests if "public-keys" not in request.target]
    assert len(requests) == attempts
    assert len(set(signatures(emulator))) == len(signatures(emulator)), "each attempt has a new signature"
    assert_works(client, emulator)


def test_responses_longer_than_their_content_length_are_rejected(client: FlexClient, emulator: Emulator) -> None:
    # Depending on when the surplus bytes arrive, either the truncated token is rejected, or the client notices the
    # surplus bytes and closes the connection.
    emulator.queue_scenarios(["wrong-length;difference=-10"] * 5, path="/flex/v2/sessions")
    with pytest.raises((errors.TokenError, errors.ConnectionBrokenError)):
        client.create_capture_context(FIELDS)
    assert_works(client, emulator)


@pytest.mark.parametrize("part", ["body", "head"])
@pytest.mark.parametrize("call", [sessions, tokens, details])
def test_slow_responses_end_at_the_deadline(part: str, call: Call, client: FlexClient, emulator: Emulator) -> None:
    context = client.create_capture_context(FIELDS)
    emulator.scenario = f"slow-drip;interval=0.05;part={part}"
    policy = RetryPolicy(deadline=0.4)
    calls = {
        sessions: lambda: client.create_capture_context(FIELDS, retry=policy),
        tokens: lambda: client.tokenize(context, CARD, retry=policy),
        details: lambda: client.payment_details("A" * 64, retry=policy),
    }
    started = time.monotonic()
    with pytest.raises(errors.ResponseTimeoutError) as caught:
        calls[call]()
    duration = time.monotonic() - started
    assert 0.35 < duration < 1.5, "each byte arrives within the read timeout, but not all within the deadline"
    assert caught.value.outcome == "unknown"
    assert_works(client, emulator)


@pytest.mark.parametrize(
    "fault",
    [
        "unknown-members",
        "unusual-claims;claim=iss",
        "unusual-claims;claim=times",
        "wrong-content-type",
        "rotated-key",
        "slow-drip;interval=0",
        "interim;seconds=0",
        "interim;seconds=0.2",
        "interim;status=102;seconds=0.01",
        "interim;status=100,102,103;count=5;seconds=0.01;size=500",
        "second-response",
    ],
)
def test_unusual_but_valid_responses_are_accepted(fault: str, client: FlexClient, emulator: Emulator) -> None:
    emulator.scenario = fault
    context = client.create_capture_context(FIELDS)
    token = client.tokenize(context, CARD)
    assert token.masked_number == "XXXXXXXXXXXX1111"
    assert_works(client, emulator)


@pytest.mark.parametrize("status", [204, 304])
def test_bodies_of_responses_without_a_body_are_never_used(status: int, client: FlexClient, emulator: Emulator) -> None:
    # The client either accepts the response and closes the connection, or rejects the response too. It must not read
    # the body as the beginning of the next response.
    context = client.create_capture_context(FIELDS)
    emulator.queue_scenarios([f"body-not-allowed;status={status}"] * 2, path="/flex/v2/tokens")
    for _ in range(2):
        with pytest.raises((errors.ApiException, errors.ConnectionBrokenError)) as caught:
            client.tokenize(context, CARD)
        if isinstance(caught.value, errors.ApiException):
            assert (caught.value.status, caught.value.body) == (status, b"")
            assert caught.value.outcome == ("accepted" if status == 204 else "rejected")
        else:
            assert (caught.value.outcome, caught.value.safe_to_retry) == ("unknown", False)
    assert_works(client, emulator)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
@pytest.mark.parametrize("status", ["normal", "400", "401", "403", "404", "500", "503"])
def test_undecodable_error_bodies_are_kept_as_received(
    encoding: str, status: str, client: FlexClient, emulator: Emulator
) -> None:
    scenario = f"undecodable-body;encoding={encoding};status={status}"
    emulator.queue_scenarios([scenario] * 3, path="/flex/v2/payment-details/*")
    with pytest.raises(errors.ApiException) as caught:
        details(client, client.create_capture_context(FIELDS))
    error = caught.value
    # The body is the JSON that the emulator sent.
    assert json.loads(error.body)
    assert error.status == (404 if status == "normal" else int(status))
    assert error.correlation_id == emulator.requests[-1].correlation_id
    if status == "401":
        assert error.diagnosis  # type: ignore[attr-defined]
    assert_works(client, emulator)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_undecodable_successful_bodies_are_kept_as_received(
    encoding: str, client: FlexClient, emulator: Emulator
) -> None:
    token = client.tokenize(client.create_capture_context(FIELDS), CARD)
    emulator.queue_scenarios([f"undecodable-body;encoding={encoding}"], path="/flex/v2/payment-details/*")
    with pytest.raises(errors.ResponseDecodingError) as caught:
        client.payment_details(token)
    assert (caught.value.status, caught.value.outcome) == (200, "accepted")
    assert json.loads(caught.value.body)["paymentInformation"]["card"]["number"] == "XXXXXXXXXXXX1111"
    assert "1111" not in str(caught.value)
    assert encoding in str(caught.value) or "encod" in str(caught.value)
    assert_works(client, emulator)


def test_connections_that_the_host_closed_are_replaced(client: FlexClient, emulator: Emulator) -> None:
    # The client may send a request before it notices that the connection is closed. The outcome is then unknown, so
    # only calls that are safe to repeat are retried, such as this one.
    emulator.scenario = "close-after"
    for _ in range(10):
        assert client.create_capture_context(FIELDS).type == "api-0.1.0"
    assert_works(client, emulator)


def test_quotation_marks_around_a_token_are_removed(client: FlexClient, emulator: Emulator) -> None:
    emulator.queue_scenarios(["malformed-jwt;kind=quoted"], path="/flex/v2/sessions")
    assert client.create_capture_context(FIELDS).type == "api-0.1.0"
    assert_works(client, emulator)


def test_a_key_that_is_replaced_under_the_same_id_is_fetched_again(client: FlexClient, emulator: Emulator) -> None:
    emulator.rotate_key(same_kid=True)
    emulator.clear()
    assert client.create_capture_context(FIELDS)
    assert sum("public-keys" in request.target for request in emulator.requests) == 1


def test_an_unknown_key_id(emulator: Emulator, client_class: type[FlexClient]) -> None:
    emulator.reset_faults()
    with client_class(JwtSharedSecret(**emulator.auth), environment=emulator.url, retry=FAST_RETRY) as client:
        emulator.scenario = "404-key"
        with pytest.raises(errors.UnknownKeyError):
            client.create_capture_context(FIELDS)
        assert_works(client, emulator)


@pytest.mark.parametrize("seconds", [600, -600])
def test_a_wrong_clock_costs_one_attempt(seconds: int, client: FlexClient, emulator: Emulator) -> None:
    emulator.shift_clock(seconds)
    with pytest.raises(errors.NotFoundError) as caught:
        details(client, client.verify_capture_context(_context(client, emulator).jwt))
    assert [attempt.status for attempt in caught.value.attempts] == [401, 404]
    with pytest.raises(errors.NotFoundError) as caught:
        details(client, None)  # type: ignore[arg-type]
    assert [attempt.status for attempt in caught.value.attempts] == [404]
    emulator.shift_clock(0)


def _context(client: FlexClient, emulator: Emulator) -> CaptureContext:
    emulator.shift_clock(0)
    context = client.create_capture_context(FIELDS)
    emulator.shift_clock(600)
    return context


def test_a_wrong_secret_is_not_retried_repeatedly(emulator: Emulator, client_class: type[FlexClient]) -> None:
    emulator.reset_faults()
    for seconds, attempts in ((0, 1), (600, 2)):
        emulator.shift_clock(seconds)
        emulator.clear()
        auth = JwtSharedSecret(emulator.auth["merchant_id"], emulator.auth["key_id"], "A" * 43 + "=")
        with (
            client_class(auth, environment=emulator.url, retry=FAST_RETRY) as client,
            pytest.raises(errors.AuthenticationError) as caught,
        ):
            client.payment_details("A" * 64)
        assert len(caught.value.attempts) == len(emulator.requests) == attempts
    emulator.shift_clock(0)


def test_a_response_encrypted_to_another_key(client_class: type[FlexClient]) -> None:
    merchant = Merchant.generate("mle_merchant")
    with Emulator(merchants=[merchant]) as emulator:
        p12 = emulator.make_response_mle_p12("a password")
        mle = MessageLevelEncryption(
            response_key=p12, response_key_password="a password", merchant_id=merchant.merchant_id
        )
        auth = JwtSharedSecret(**emulator.auth)
        with client_class(auth, environment=emulator.url, mle=mle, retry=FAST_RETRY) as client:
            context = client.create_capture_context(FIELDS)
            token = client.tokenize(context, CARD)
            emulator.queue_scenarios(["mle-wrong-key"], path="/flex/v2/payment-details/*")
            with pytest.raises(
                errors.ResponseDecodingError, match="the call was accepted, but the response cannot be"
            ) as caught:
                client.payment_details(token)
            assert caught.value.outcome == "accepted"
            assert client.payment_details(token)["paymentInformation"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("call", [sessions, tokens, details])
def test_redirects_to_another_host_are_not_followed(
    status: int, call: Call, client: FlexClient, emulator: Emulator
) -> None:
    context = client.create_capture_context(FIELDS)
    with socket.create_server(("127.0.0.1", 0)) as target:
        target.setblocking(False)
        emulator.scenario = f"redirect;status={status};location=http://127.0.0.1:{target.getsockname()[1]}/x"
        with pytest.raises(errors.RedirectError) as caught:
            call(client, context)
        assert caught.value.status == status
        assert caught.value.outcome == "rejected"
        with pytest.raises(BlockingIOError):
            target.accept()  # no connection was made, so nothing was sent
    assert_works(client, emulator)


def test_every_scenario_has_a_test() -> None:
    source = Path(__file__).read_text("utf-8")
    tested = {name for name in SCENARIOS if f'"{name}' in source or f"{name};" in source}
    # `clock-skew` is replaced by `shift_clock` here, and `forget-idle` is tested in test_idle_connections.py. Scenarios
    # for browsers are tested in test/browser.
    browsers = {"changed-script", "origin-not-allowed", "token-error"}
    assert set(SCENARIOS) - tested <= {"clock-skew", "forget-idle"} | browsers


def test_the_connection_pool_is_usable_after_interrupted_calls(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(self: Any, response: Any, request: Any) -> bytes:
        response.read(1)
        raise KeyboardInterrupt

    emulator.reset_faults()
    with FlexClient(JwtSharedSecret(**emulator.auth), environment=emulator.url, retry=FAST_RETRY) as client:
        for _ in range(12):  # more than the connections of the pool
            with monkeypatch.context() as patched:
                patched.setattr(Transport, "_read_body", interrupt)
                with pytest.raises(KeyboardInterrupt):
                    client.create_capture_context(FIELDS)
            assert_works(client, emulator)


def test_event_hooks_receive_no_tokens_or_ids(emulator: Emulator, client_class: type[FlexClient]) -> None:
    emulator.reset_faults()
    attempts: list[Any] = []
    calls: list[Any] = []
    hooks = EventHooks(on_attempt=attempts.append, on_call_end=calls.append)
    auth = JwtSharedSecret(**emulator.auth)
    with client_class(auth, environment=emulator.url, retry=FAST_RETRY, event_hooks=hooks) as client:
        emulator.queue_scenarios(["status-503"], path="/flex/v2/sessions")
        context = client.create_capture_context(FIELDS)
        with pytest.raises(errors.NotFoundError):
            client.payment_details("A" * 64)
    assert [(each.operation, each.attempt.status) for each in attempts] == [
        ("generate_flex_api_capture_context", 503),
        ("generate_flex_api_capture_context", 201),
        ("get_public_key", 200),
        ("get_payment_details", 404),
    ]
    assert [(len(each.attempts), each.outcome, each.error) for each in calls] == [
        (2, "accepted", None),
        (1, "accepted", None),
        (1, "rejected", "NotFoundError"),
    ]
    events = repr(attempts) + repr(calls)
    assert "A" * 64 not in events
    assert context.jwt not in events
    assert datetime.fromtimestamp(attempts[0].attempt.started_at, UTC).year >= 2026
