"""Machines whose clock differs from the host's: what is accepted, what is refused, and what the message says.

``time.time`` is this machine's clock and is moved; the emulator keeps the right time. With a clock that is 600 s behind
the first response is a 401, with one that is 40 s behind it is not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from cybersource_flex import (
    CaptureContext,
    ConfigurationError,
    ExpiredTokenError,
    FlexClient,
    NotFoundError,
    TokenNotYetValidError,
    fields,
)
from cybersource_flex.auth import JwtSharedSecret
from cybersource_flex.emulator import Emulator
from cybersource_flex.jose import encrypt, verify_capture_context, verify_transient_token
from cybersource_flex.transport import Clock, HostTime

NUMBER = {"card": {"number": "4111111111111111"}}
FIELDS = fields(card=["number"])
SEAL = b"sixteen or more bytes"
NOBODY = "A" * 64
Connect = type[FlexClient]
Turn = Callable[[float], None]


@pytest.fixture(scope="module")
def shared() -> Iterator[Emulator]:
    with Emulator(payment_credentials=True) as running:
        yield running


@pytest.fixture
def emulator(shared: Emulator) -> Iterator[Emulator]:
    shared.clear()
    yield shared
    shared.reset_faults()


@pytest.fixture
def turn(monkeypatch: pytest.MonkeyPatch) -> Turn:
    """Moves this machine's clock so many seconds away from the right time."""
    right = time.time

    def to(seconds: float) -> None:
        monkeypatch.setattr(time, "time", lambda: right() + seconds)

    return to


@pytest.fixture
def client(emulator: Emulator, connect: Connect) -> Iterator[FlexClient]:
    with connect(JwtSharedSecret(**emulator.auth), environment=emulator.url) as flex_client:
        yield flex_client


def about(seconds: int) -> str:
    """A pattern for a difference in a message: a date has whole seconds, so it is right to about one."""
    return f"({seconds - 1}|{seconds}|{seconds + 1})"


def statuses(emulator: Emulator) -> list[int | None]:
    return [request.status for request in emulator.requests if "public-keys" not in request.target]


@pytest.mark.parametrize(("behind", "corrected"), [(600, 1), (40, 0)])
def test_what_the_host_issues_is_accepted_by_a_clock_that_is_behind(
    behind: float, corrected: int, client: FlexClient, emulator: Emulator, turn: Turn
) -> None:
    turn(-behind)
    context = client.create_capture_context(FIELDS)
    assert statuses(emulator) == [401] * corrected + [201]
    assert (client.clock.offset != 0) == bool(corrected)
    assert client.clock.measured == pytest.approx(behind, abs=2)
    token = client.tokenize(context, NUMBER)
    assert token.claims["iat"] > time.time() + behind - 5
    microform = client.create_microform_context(
        target_origins=["https://shop.example.com"], allowed_card_networks=["VISA"]
    )
    assert microform.is_microform
    (reference,) = token.payment_credentials_references.values()
    key = load_pem_private_key(emulator.credentials_key_pem, None)
    assert isinstance(key, RSAPrivateKey)
    assert client.payment_credentials(reference, key).reveal()["card"]["number"] == NUMBER["card"]["number"]
    results = list(client.tokenize_many([NUMBER, NUMBER, (context, NUMBER)]))
    assert [result.error for result in results] == [None, None, None]
    assert statuses(emulator).count(401) == corrected


@pytest.mark.parametrize("behind", [0, 3, 29])
def test_without_leeway(behind: float, emulator: Emulator, connect: Connect, turn: Turn) -> None:
    turn(-behind)
    with connect(JwtSharedSecret(**emulator.auth), environment=emulator.url, leeway=0) as client:
        for _ in range(3):
            client.tokenize(client.create_capture_context(FIELDS), NUMBER)


@pytest.mark.parametrize("key", [None, SEAL])
def test_a_stored_context_is_restored(
    key: bytes | None, client: FlexClient, emulator: Emulator, connect: Connect, turn: Turn
) -> None:
    turn(-40)
    stored = client.store_capture_context(client.create_capture_context(FIELDS), key)
    assert client.restore_capture_context(stored, key).issued_at.timestamp() > time.time() + 30
    # Another process has no response of the host yet. It does not need one where the context was verified before it was
    # sealed; and where the signature is verified again, the key comes with the host's time.
    with connect(None, environment=emulator.url) as other:
        assert other.restore_capture_context(stored, key)


@pytest.mark.parametrize("behind", [600, 40])
def test_a_token_from_another_source_is_checked_against_the_local_clock(
    behind: int, client: FlexClient, emulator: Emulator, turn: Turn
) -> None:
    turn(-behind)
    context = client.create_capture_context(FIELDS)
    token = client.tokenize(context, NUMBER)
    message = rf"in the future; this machine's clock is {about(behind)} s behind the host's; set it by NTP$"
    with pytest.raises(TokenNotYetValidError, match=message):
        client.verify_transient_token(token.jwt, context)
    with pytest.raises(TokenNotYetValidError, match=message):
        client.verify_capture_context(context.jwt)


def test_a_token_from_the_future(client: FlexClient, emulator: Emulator) -> None:
    emulator.shift_clock(600)
    context = client.create_capture_context(FIELDS)
    token = client.tokenize(context, NUMBER)
    emulator.shift_clock(0)
    with pytest.raises(NotFoundError):
        client.payment_details(NOBODY)
    message = "issued 9 min in the future; this machine's clock agrees with the host's$"
    with pytest.raises(TokenNotYetValidError, match=message):
        client.verify_transient_token(token.jwt, context)
    with pytest.raises(TokenNotYetValidError, match=message):
        client.verify_capture_context(context.jwt)
    with pytest.raises(TokenNotYetValidError, match=message):
        client.restore_capture_context(client.store_capture_context(context))


def test_the_host_time_may_come_with_the_key(emulator: Emulator, connect: Connect, turn: Turn) -> None:
    with connect(JwtSharedSecret(**emulator.auth), environment=emulator.url) as client:
        jwt = client.create_capture_context(FIELDS).jwt
    turn(-40)
    with (
        connect(None, environment=emulator.url) as client,
        pytest.raises(TokenNotYetValidError, match=f"this machine's clock is {about(40)} s behind the host's"),
    ):
        client.verify_capture_context(jwt)


def test_a_token_that_has_expired_at_the_host(client: FlexClient, emulator: Emulator, turn: Turn) -> None:
    turn(-600)
    emulator.queue_scenarios(["ok", "expired-context;expires-in=-60"], path="/flex/v2/sessions")
    with pytest.raises(
        ExpiredTokenError, match=f"expired 6. s ago by the host's clock; .* {about(600)} s behind it; set"
    ):
        client.create_capture_context(FIELDS)
    context = client.create_capture_context(FIELDS)
    stored = client.store_capture_context(context, SEAL)
    jwt = client.tokenize(context, NUMBER).jwt
    # The same as if this machine's clock stood still for so long: by its time, all are valid for ten minutes more.
    emulator.shift_clock(940)
    with pytest.raises(NotFoundError):
        client.payment_details(NOBODY)
    assert context.expires_in().total_seconds() > 600
    emulator.clear()
    by_host = (
        f"by the host's clock; this machine's clock is {about(1540)} s behind it; set it by NTP, or, if it is right"
    )
    with pytest.raises(ExpiredTokenError, match=f"{by_host}.*; ask for a new one$"):
        client.tokenize(context, NUMBER)
    assert emulator.requests == [], "nothing was sent"
    for verify in (
        lambda: client.verify_transient_token(jwt, context),
        lambda: client.verify_capture_context(context.jwt),
    ):
        with pytest.raises(ExpiredTokenError, match=by_host):
            verify()
    assert client.restore_capture_context(stored, SEAL) == context, "tokens made in its last second are still valid"
    emulator.shift_clock(940 + 900)
    with pytest.raises(NotFoundError):
        client.payment_details(NOBODY)
    with pytest.raises(ExpiredTokenError, match="by the host's clock"):
        client.restore_capture_context(stored, SEAL)


def test_a_clock_that_is_ahead_expires_contexts_early(client: FlexClient, emulator: Emulator, turn: Turn) -> None:
    turn(600)
    context = client.create_capture_context(FIELDS)
    assert client.tokenize(context, NUMBER)
    assert context.expires_in().total_seconds() == pytest.approx(300, abs=5)
    turn(1200)
    message = f"expired 5 min ago by this machine's clock, which is {about(1200)} s ahead of the host's; set it by NTP"
    with pytest.raises(ExpiredTokenError, match=f"the capture context {message}$"):
        client.create_capture_context(FIELDS)
    with pytest.raises(ExpiredTokenError, match=f"the capture context {message}; ask for a new one$"):
        client.tokenize(context, NUMBER)


def test_a_clock_that_is_set_meanwhile(client: FlexClient, emulator: Emulator, turn: Turn) -> None:
    turn(-600)
    context = client.create_capture_context(FIELDS)
    token = client.tokenize(context, NUMBER)
    turn(400)
    # By the difference as it was measured, the token would have expired at the host.
    assert client.clock.host_time() is None
    assert client.verify_transient_token(token.jwt, context) == token
    fresh = client.create_capture_context(FIELDS)
    measured = client.clock.host_time()
    assert measured is not None
    assert measured.ahead == pytest.approx(-400, abs=2)
    turn(-40)
    assert client.tokenize(fresh, NUMBER)
    assert client.restore_capture_context(client.store_capture_context(fresh)) == fresh


def test_correct_clock_off_ignores_the_host_time(connect: Connect, turn: Turn) -> None:
    with (
        Emulator(jwt_leeway=2000) as emulator,
        connect(JwtSharedSecret(**emulator.auth), environment=emulator.url, correct_clock=False) as client,
    ):
        turn(-40)
        with pytest.raises(
            TokenNotYetValidError,
            match=rf"is {about(40)} s \(not used, because correct_clock is off\) behind the host's; set it by NTP",
        ):
            client.create_capture_context(FIELDS)
        turn(1000)
        with pytest.raises(
            ExpiredTokenError, match=rf"clock, which is {about(1000)} s \(not used, .*\) ahead of the host's"
        ):
            client.create_capture_context(FIELDS)
        turn(0)
        emulator.scenario = "wrong-date;seconds=3600"
        assert client.tokenize(client.create_capture_context(FIELDS), NUMBER)


@pytest.mark.parametrize("behind", [100_000, -100_000])
def test_more_than_a_day_is_not_used(behind: float, connect: Connect, turn: Turn) -> None:
    with (
        Emulator(jwt_leeway=1e6) as emulator,
        connect(JwtSharedSecret(**emulator.auth), environment=emulator.url) as client,
    ):
        turn(-behind)
        expected = TokenNotYetValidError if behind > 0 else ExpiredTokenError
        with pytest.raises(expected, match=rf"{about(100_000)} s \(more than a day, which is taken for a wrong Date\)"):
            client.create_capture_context(FIELDS)


@pytest.mark.parametrize(
    "fault",
    [
        "wrong-date;kind=missing",
        "wrong-date;kind=garbage",
        "wrong-date;seconds=90000",
        "wrong-date;seconds=-90000",
        "wrong-date;seconds=-3600",
        "wrong-date;seconds=-900000000",
    ],
)
def test_a_wrong_date_does_not_affect_a_correct_clock(fault: str, client: FlexClient, emulator: Emulator) -> None:
    emulator.scenario = fault
    context = client.create_capture_context(FIELDS)
    token = client.tokenize(context, NUMBER)
    assert client.verify_transient_token(token.jwt, context) == token
    assert client.restore_capture_context(client.store_capture_context(context)) == context


def test_a_wrong_date_that_is_ahead_is_refused_and_named(client: FlexClient, emulator: Emulator) -> None:
    emulator.scenario = "wrong-date;seconds=3600"
    with pytest.raises(
        ExpiredTokenError, match=f"{about(3600)} s behind it; .* if it is right, use correct_clock=False"
    ):
        client.create_capture_context(FIELDS)


@pytest.mark.parametrize("fault", ["wrong-date;kind=missing", "wrong-date;kind=garbage"])
def test_a_response_without_a_date_uses_the_previous_one(
    fault: str, client: FlexClient, emulator: Emulator, turn: Turn
) -> None:
    turn(-40)
    emulator.scenario = fault
    with pytest.raises(TokenNotYetValidError, match="is the clock right"):
        client.create_capture_context(FIELDS)
    emulator.scenario = None
    client.create_capture_context(FIELDS)
    emulator.scenario = fault
    assert client.tokenize(client.create_capture_context(FIELDS), NUMBER)


def test_a_date_of_the_past_makes_nothing_valid(client: FlexClient, emulator: Emulator, turn: Turn) -> None:
    turn(-40)
    emulator.scenario = "wrong-date;seconds=-3600"
    with pytest.raises(
        TokenNotYetValidError, match=f"(39|40) s in the future; .* clock is {about(3560)} s ahead of the host's"
    ):
        client.create_capture_context(FIELDS)


# The functions by themselves.


@pytest.fixture(scope="module")
def issued() -> tuple[CaptureContext, str, Any]:
    with Emulator() as running, FlexClient(JwtSharedSecret(**running.auth), environment=running.url) as client:
        context = client.create_capture_context(FIELDS)
        return context, client.tokenize(context, NUMBER).jwt, client._keys


def test_the_functions_take_the_host_time(issued: tuple[CaptureContext, str, Any]) -> None:
    context, token, keys = issued
    begins, ends = (context.claims[name] for name in ("iat", "exp"))
    behind = HostTime(600.0)
    early = begins - 600
    assert verify_capture_context(context.jwt, keys, now=early, host_time=behind, from_host=True) == context
    assert verify_transient_token(token, context, now=early, host_time=behind, from_host=True).jwt == token
    for time_ in (behind, None):
        with pytest.raises(TokenNotYetValidError):
            verify_capture_context(context.jwt, keys, now=early, host_time=time_, from_host=time_ is None)
    with pytest.raises(TokenNotYetValidError):
        verify_capture_context(context.jwt, keys, now=early - 31, host_time=behind, from_host=True)
    # By the later of the two clocks, whichever that is.
    for now, host_time in ((ends - 570, behind), (ends + 30, HostTime(-600.0)), (ends + 30, None)):
        with pytest.raises(ExpiredTokenError):
            verify_capture_context(context.jwt, keys, now=now, host_time=host_time, from_host=True)
        assert verify_capture_context(context.jwt, keys, now=now - 1, host_time=host_time)
    with pytest.raises(ExpiredTokenError, match="by the host's clock"):
        encrypt(context, NUMBER, host_time=HostTime(1000.0))


@pytest.mark.parametrize("ahead", [float("inf"), float("nan"), 86_401.0, -86_401.0])
def test_a_host_time_that_would_accept_everything(ahead: float, issued: tuple[CaptureContext, str, Any]) -> None:
    context, _, keys = issued
    with pytest.raises(ConfigurationError, match="host_time"):
        verify_capture_context(context.jwt, keys, host_time=HostTime(ahead), from_host=True)
    with pytest.raises(ConfigurationError, match="host_time"):
        verify_capture_context(context.jwt, keys, host_time=HostTime(0.0, error=ahead), from_host=True)


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="NOT TESTED: this system cannot change its zone")
@pytest.mark.parametrize(
    ("date", "seconds"),
    [
        ("Sun, 22 Nov 2026 12:00:00 GMT", 0),
        ("Sun, 22 Nov 2026 12:00:00 -0000", 0),
        ("Sun, 22 Nov 2026 14:00:00 +0100", 3600),
        ("Sunday, 22-Nov-26 12:10:00 GMT", 600),
    ],
)
def test_a_date_is_read_without_the_local_zone(
    date: str, seconds: int, frozen: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        read = Clock().host_time_of(date, sent=frozen, received=frozen + 1)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert read is not None
    assert read.ahead == seconds
    assert read.error == 1.0


@pytest.mark.parametrize(
    "date", ["", "x", "0", "Sun, 99 Nov 2026 12:00:00 GMT", "Sun, 22 Nov 99999 12:00:00 GMT", None]
)
def test_an_invalid_date_is_ignored(date: str | None) -> None:
    clock = Clock()
    clock.learn(date, sent=0, received=0)
    assert clock.host_time() is None
    assert clock.measured is None
    assert clock.host_time_of(date, sent=0, received=0) is None
