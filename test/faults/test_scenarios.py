"""Every way in which the host can misbehave, through the client.

What became of the call, how often it was tried, with what signatures, how long it took, and that the same client works
right after.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from cybersource_flex import CallError, CaptureContext, FlexClient, FlexError, RetryPolicy, errors, fields
from cybersource_flex.auth import JwtSharedSecret, MessageLevelEncryption
from cybersource_flex.emulator import SCENARIOS, Emulator, Merchant

FIELDS = fields(card=["number"])
CARD = {"card": {"number": "4111111111111111"}}
QUICK = RetryPolicy(base=0.001, cap=0.002, deadline=10.0)


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


@pytest.fixture
def client(emulator: Emulator, connect: type[FlexClient]) -> Iterator[FlexClient]:
    emulator.reset_faults()
    auth = JwtSharedSecret(**emulator.auth)
    with connect(auth, environment=emulator.url, retry=QUICK, read_timeout=0.5) as made:
        made.create_capture_context(FIELDS)  # the long-term key is known from here on
        emulator.clear()
        yield made
    emulator.reset_faults()


Call = Callable[[FlexClient, CaptureContext], Any]


def sessions(client: FlexClient, context: CaptureContext) -> Any:
    return client.create_capture_context(FIELDS)


def tokens(client: FlexClient, context: CaptureContext) -> Any:
    return client.tokenize(context, CARD)


def details(client: FlexClient, context: CaptureContext) -> Any:
    return client.payment_details("A" * 64)


def works(client: FlexClient, emulator: Emulator) -> None:
    """The same client, right after, and with nothing left over from before on its connections."""
    emulator.reset_faults()
    context = client.create_capture_context(FIELDS)
    token = client.tokenize(context, CARD)
    assert client.payment_details(token)["paymentInformation"]["card"]["number"] == "XXXXXXXXXXXX1111"


def signatures(emulator: Emulator) -> list[str]:
    return [request.headers["authorization"] for request in emulator.requests if "authorization" in request.headers]


# One fault, then an answer: what is harmless is tried again and succeeds.

ONCE = [
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


@pytest.mark.parametrize("fault", ONCE)
def test_one_fault_is_survived(fault: str, client: FlexClient, emulator: Emulator) -> None:
    emulator.queue_scenarios([fault], path="/flex/v2/sessions")
    started = time.monotonic()
    assert sessions(
        client, client.create_microform_context(target_origins=["https://a.example"], allowed_card_networks=["VISA"])
    )
    assert time.monotonic() - started < QUICK.deadline  # type: ignore[operator]
    targets = [request.target for request in emulator.requests]
    assert targets.count("/flex/v2/sessions") == 2
    found = signatures(emulator)
    assert len(set(found)) == len(found) == 3, "each attempt has a token id of its own"
    works(client, emulator)


# Faults that do not end: the error, what became of the call, and the attempts.

Row = tuple[str, Call, type[FlexError], "errors.Outcome | None", int]
ROWS: list[Row] = [
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
    ("html-200", sessions, errors.MalformedTokenError, None, 1),
    ("html-200", details, errors.ResponseDecodingError, "accepted", 1),
    ("empty-200", sessions, errors.MalformedTokenError, None, 1),
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


@pytest.mark.parametrize(("fault", "call", "expected", "outcome", "attempts"), ROWS)
def test_a_fault_that_stays_is_told(
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
    assert time.monotonic() - started < QUICK.deadline  # type: ignore[operator]
    error = caught.value
    if outcome is not None:
        assert isinstance(error, CallError)
        assert error.outcome == outcome
        assert len(error.attempts) == attempts
        assert [made.number for made in error.attempts] == list(range(1, attempts + 1))
        harmless = call is not tokens or outcome == "rejected"
        assert error.safe_to_retry == harmless
    asked = [request for request in emulator.requests if "public-keys" not in request.target]
    assert len(asked) == attempts
    assert len(set(signatures(emulator))) == len(signatures(emulator)), "each attempt is signed anew"
    works(client, emulator)


def test_an_answer_longer_than_it_says_is_never_believed(client: FlexClient, emulator: Emulator) -> None:
    # What is left over either is not looked at, and what is read is no token; or it is seen in time, and the connection
    # is given up for it. Which of the two is a matter of how the bytes arrive.
    emulator.queue_scenarios(["wrong-length;difference=-10"] * 5, path="/flex/v2/sessions")
    with pytest.raises((errors.TokenError, errors.ConnectionBrokenError)):
        client.create_capture_context(FIELDS)
    works(client, emulator)


@pytest.mark.parametrize("part", ["body", "head"])
@pytest.mark.parametrize("call", [sessions, tokens, details])
def test_a_drip_ends_at_the_deadline(part: str, call: Call, client: FlexClient, emulator: Emulator) -> None:
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
    taken = time.monotonic() - started
    assert 0.35 < taken < 1.5, "each byte comes in time, all of them do not"
    assert caught.value.outcome == "unknown"
    works(client, emulator)


@pytest.mark.parametrize(
    "fault",
    [
        "unknown-members",
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
def test_what_a_client_must_put_up_with(fault: str, client: FlexClient, emulator: Emulator) -> None:
    emulator.scenario = fault
    context = client.create_capture_context(FIELDS)
    token = client.tokenize(context, CARD)
    assert token.masked_number == "XXXXXXXXXXXX1111"
    works(client, emulator)


@pytest.mark.parametrize("status", [204, 304])
def test_a_body_where_none_may_be_is_never_used(status: int, client: FlexClient, emulator: Emulator) -> None:
    # The bytes of the body are there before the client can know what the next response begins with: it takes the
    # response and gives up the connection, or gives up both.
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
    works(client, emulator)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
@pytest.mark.parametrize("status", ["normal", "400", "401", "403", "404", "500", "503"])
def test_a_body_that_cannot_be_decoded_is_kept_as_it_came(
    encoding: str, status: str, client: FlexClient, emulator: Emulator
) -> None:
    plain = f"undecodable-body;encoding={encoding};status={status}"
    emulator.queue_scenarios([plain] * 3, path="/flex/v2/payment-details/*")
    with pytest.raises(errors.ApiException) as caught:
        details(client, client.create_capture_context(FIELDS))
    error = caught.value
    # Without a decoder: JSON, as the emulator wrote it.
    assert json.loads(error.body)
    assert error.status == (404 if status == "normal" else int(status))
    assert error.correlation_id == emulator.requests[-1].correlation_id
    if status == "401":
        assert error.diagnosis  # type: ignore[attr-defined]
    works(client, emulator)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_a_success_that_cannot_be_decoded_is_kept_as_it_came(
    encoding: str, client: FlexClient, emulator: Emulator
) -> None:
    token = client.tokenize(client.create_capture_context(FIELDS), CARD)
    emulator.queue_scenarios([f"undecodable-body;encoding={encoding}"], path="/flex/v2/payment-details/*")
    with pytest.raises(errors.ResponseDecodingError) as caught:
        client.payment_details(token)
    assert (caught.value.status, caught.value.outcome) == (200, "accepted")
    assert json.loads(caught.value.body)["paymentInformation"]["card"]["number"] == "XXXXXXXXXXXX1111"
    assert "1111" not in str(caught.value)
    assert encoding in str(caught.value) or "encod" in str(caught.value), "the message says why"
    works(client, emulator)


def test_a_connection_that_was_closed_silently_is_replaced(client: FlexClient, emulator: Emulator) -> None:
    # The client may send before it learns that the connection is gone. Then what the host did is unknown, so only what
    # can be repeated is tried again: a session here, never a token.
    emulator.scenario = "close-after"
    for _ in range(10):
        assert client.create_capture_context(FIELDS).type == "api-0.1.0"
    works(client, emulator)


def test_quotation_marks_around_a_token_are_taken_off(client: FlexClient, emulator: Emulator) -> None:
    emulator.queue_scenarios(["malformed-jwt;kind=quoted"], path="/flex/v2/sessions")
    assert client.create_capture_context(FIELDS).type == "api-0.1.0"
    works(client, emulator)


def test_a_key_rotated_under_the_same_name_is_fetched_anew(client: FlexClient, emulator: Emulator) -> None:
    emulator.rotate_key(same_kid=True)
    emulator.clear()
    assert client.create_capture_context(FIELDS)
    assert sum("public-keys" in request.target for request in emulator.requests) == 1


def test_a_key_that_the_host_does_not_know(emulator: Emulator, connect: type[FlexClient]) -> None:
    emulator.reset_faults()
    with connect(JwtSharedSecret(**emulator.auth), environment=emulator.url, retry=QUICK) as client:
        emulator.scenario = "404-key"
        with pytest.raises(errors.UnknownKeyError):
            client.create_capture_context(FIELDS)
        works(client, emulator)


@pytest.mark.parametrize("seconds", [600, -600])
def test_a_clock_that_is_off_costs_one_attempt(seconds: int, client: FlexClient, emulator: Emulator) -> None:
    emulator.shift_clock(seconds)
    with pytest.raises(errors.NotFoundError) as caught:
        details(client, client.verify_capture_context(_context(client, emulator).jwt))
    assert [made.status for made in caught.value.attempts] == [401, 404]
    with pytest.raises(errors.NotFoundError) as caught:
        details(client, None)  # type: ignore[arg-type]
    assert [made.status for made in caught.value.attempts] == [404]
    emulator.shift_clock(0)


def _context(client: FlexClient, emulator: Emulator) -> CaptureContext:
    emulator.shift_clock(0)
    made = client.create_capture_context(FIELDS)
    emulator.shift_clock(600)
    return made


def test_a_wrong_secret_does_not_loop(emulator: Emulator, connect: type[FlexClient]) -> None:
    emulator.reset_faults()
    for seconds, expected in ((0, 1), (600, 2)):
        emulator.shift_clock(seconds)
        emulator.clear()
        auth = JwtSharedSecret(emulator.auth["merchant_id"], emulator.auth["key_id"], "A" * 43 + "=")
        with (
            connect(auth, environment=emulator.url, retry=QUICK) as client,
            pytest.raises(errors.AuthenticationError) as caught,
        ):
            client.payment_details("A" * 64)
        assert len(caught.value.attempts) == len(emulator.requests) == expected
    emulator.shift_clock(0)


def test_an_answer_encrypted_to_another_key(connect: type[FlexClient]) -> None:
    merchant = Merchant.generate("mle_merchant")
    with Emulator(merchants=[merchant]) as emulator:
        container = emulator.make_response_mle_p12("a password")
        mle = MessageLevelEncryption(
            response_key=container, response_key_password="a password", merchant_id=merchant.merchant_id
        )
        auth = JwtSharedSecret(**emulator.auth)
        with connect(auth, environment=emulator.url, mle=mle, retry=QUICK) as client:
            context = client.create_capture_context(FIELDS)
            token = client.tokenize(context, CARD)
            emulator.queue_scenarios(["mle-wrong-key"], path="/flex/v2/payment-details/*")
            with pytest.raises(
                errors.ResponseDecodingError, match="the call was accepted, but its answer cannot be"
            ) as caught:
                client.payment_details(token)
            assert caught.value.outcome == "accepted"
            assert client.payment_details(token)["paymentInformation"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("call", [sessions, tokens, details])
def test_a_redirect_to_another_host_leads_nowhere(
    status: int, call: Call, client: FlexClient, emulator: Emulator
) -> None:
    import socket

    context = client.create_capture_context(FIELDS)
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.setblocking(False)
        emulator.scenario = f"redirect;status={status};location=http://127.0.0.1:{other.getsockname()[1]}/x"
        with pytest.raises(errors.RedirectError) as caught:
            call(client, context)
        assert caught.value.status == status
        assert caught.value.outcome == "rejected"
        with pytest.raises(BlockingIOError):
            other.accept()  # nobody knocked, so not one byte came
    works(client, emulator)


def test_every_scenario_has_a_test() -> None:
    from pathlib import Path

    text = Path(__file__).read_text("utf-8")
    named = {name for name in SCENARIOS if f'"{name}' in text or f"{name};" in text}
    # Skewed clocks are tested with the whole host's clock, idle connections in test_idle_connections.py.
    assert set(SCENARIOS) - named <= {"clock-skew", "forget-idle"}


def test_interrupting_a_call_leaves_the_pool_usable(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    from cybersource_flex.transport import sync

    def interrupted(self: Any, answer: Any, request: Any) -> bytes:
        answer.read(1)
        raise KeyboardInterrupt

    emulator.reset_faults()
    with FlexClient(JwtSharedSecret(**emulator.auth), environment=emulator.url, retry=QUICK) as client:
        for _ in range(12):  # more often than there are connections in the pool
            with monkeypatch.context() as patched:
                patched.setattr(sync.Transport, "_read", interrupted)
                with pytest.raises(KeyboardInterrupt):
                    client.create_capture_context(FIELDS)
            works(client, emulator)


def test_hooks_are_told_what_is_safe(emulator: Emulator, connect: type[FlexClient]) -> None:
    from cybersource_flex import Events

    emulator.reset_faults()
    attempts: list[Any] = []
    calls: list[Any] = []
    events = Events(on_attempt=attempts.append, on_response=calls.append)
    with connect(JwtSharedSecret(**emulator.auth), environment=emulator.url, retry=QUICK, events=events) as client:
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
    told = repr(attempts) + repr(calls)
    assert "A" * 64 not in told
    assert context.jwt not in told
    assert datetime.fromtimestamp(attempts[0].attempt.started, UTC).year >= 2026
