"""Tokens on machines whose clock differs from the host's: which are valid, and the messages of errors.

``time.time`` is patched, and the emulator has the original function as its clock. A clock that is 600 s behind causes a
401 first, and a clock that is 40 s behind does not.
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
    FlexAPIApi,
    FlexClient,
    NotFoundError,
    TokenNotYetValidError,
    fields,
)
from cybersource_flex.auth import JwtSharedSecret, MessageLevelEncryption
from cybersource_flex.emulator import Emulator
from cybersource_flex.jose import PinnedKeys, encrypt, verify_capture_context, verify_transient_token
from cybersource_flex.models import GenerateFlexAPICaptureContextRequest
from cybersource_flex.transport import Clock, EventHooks, HostTime
from support.tokens import decode_jwt

CARD = {"card": {"number": "4111111111111111"}}
FIELDS = fields(card=["number"])
STORAGE_KEY = b"sixteen or more bytes"
UNKNOWN_ID = "A" * 64
SetClock = Callable[[float], None]


@pytest.fixture(scope="module")
def shared() -> Iterator[Emulator]:
    with Emulator(payment_credentials=True, clock=time.time) as running:
        yield running


@pytest.fixture
def emulator(shared: Emulator) -> Iterator[Emulator]:
    shared.clear()
    yield shared
    shared.reset_faults()


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """Sets the clock of this machine to the correct time plus a number of seconds."""
    correct_time = time.time

    def set_clock(offset: float) -> None:
        monkeypatch.setattr(time, "time", lambda: correct_time() + offset)

    return set_clock


@pytest.fixture
def client(emulator: Emulator, client_class: type[FlexClient]) -> Iterator[FlexClient]:
    with client_class(JwtSharedSecret(**emulator.auth), environment=emulator.url) as flex_client:
        yield flex_client


def about(seconds: int) -> str:
    """A pattern for a difference in a message. It is exact to about one second, because dates have whole seconds."""
    return f"({seconds - 1}|{seconds}|{seconds + 1})"


def statuses(emulator: Emulator) -> list[int | None]:
    return [request.status for request in emulator.requests if "public-keys" not in request.target]


@pytest.mark.parametrize(("behind", "corrected"), [(600, 1), (40, 0)])
def test_tokens_in_responses_are_valid_if_the_clock_is_behind(
    behind: float, corrected: int, client: FlexClient, emulator: Emulator, set_clock: SetClock
) -> None:
    set_clock(-behind)
    context = client.create_capture_context(FIELDS)
    assert statuses(emulator) == [401] * corrected + [201]
    assert (client.clock.offset != 0) == bool(corrected)
    assert client.clock.measured_offset == pytest.approx(behind, abs=2)
    token = client.tokenize(context, CARD)
    assert token.claims["iat"] > time.time() + behind - 5
    microform = client.create_microform_context(
        target_origins=["https://shop.example.com"], allowed_card_networks=["VISA"]
    )
    assert microform.is_microform
    (reference,) = token.payment_credentials_references.values()
    key = load_pem_private_key(emulator.credentials_key_pem, None)
    assert isinstance(key, RSAPrivateKey)
    assert client.payment_credentials(reference, key).reveal()["card"]["number"] == CARD["card"]["number"]
    results = list(client.tokenize_many([CARD, CARD, (context, CARD)]))
    assert [result.error for result in results] == [None, None, None]
    assert statuses(emulator).count(401) == corrected


def test_a_response_has_the_hosts_time(emulator: Emulator, set_clock: SetClock) -> None:
    set_clock(-40)
    mle = MessageLevelEncryption(
        response_key=emulator.make_response_mle_p12("Fake-p12-passw0rd"),
        response_key_password="Fake-p12-passw0rd",
        merchant_id=emulator.auth["merchant_id"],
    )
    for encryption in (None, mle):
        with FlexClient(JwtSharedSecret(**emulator.auth), environment=emulator.url, mle=encryption) as client:
            response = FlexAPIApi(client.api_client).generate_flex_api_capture_context_with_http_info(
                GenerateFlexAPICaptureContextRequest(fields=FIELDS)
            )
            assert response.host_time == client.clock.host_time()
            assert response.host_time is not None
            assert response.host_time.offset == pytest.approx(40, abs=2)
            kid = decode_jwt(response.data)[0]["kid"]
            keys = PinnedKeys([FlexAPIApi(client.api_client).get_public_key(kid).to_dict()])
        # The context is in the future by this machine's clock alone.
        with pytest.raises(TokenNotYetValidError):
            verify_capture_context(response.data, keys, leeway=5)
        context = verify_capture_context(
            response.data, keys, leeway=5, host_time=response.host_time, received_from_host=True
        )
        assert context.jwt == response.data


@pytest.mark.parametrize("behind", [0, 3, 29])
def test_without_leeway(behind: float, emulator: Emulator, client_class: type[FlexClient], set_clock: SetClock) -> None:
    set_clock(-behind)
    with client_class(JwtSharedSecret(**emulator.auth), environment=emulator.url, leeway=0) as client:
        for _ in range(3):
            client.tokenize(client.create_capture_context(FIELDS), CARD)


@pytest.mark.parametrize("key", [None, STORAGE_KEY])
def test_a_stored_context_is_restored(
    key: bytes | None, client: FlexClient, emulator: Emulator, client_class: type[FlexClient], set_clock: SetClock
) -> None:
    set_clock(-40)
    stored = client.store_capture_context(client.create_capture_context(FIELDS), key)
    assert client.restore_capture_context(stored, key).issued_at.timestamp() > time.time() + 30
    # Another client has not received the host's time. It does not need the time for a context that was stored with a
    # MAC. For a context whose signature is verified again, the response with the key contains the time.
    with client_class(None, environment=emulator.url) as other:
        assert other.restore_capture_context(stored, key)


@pytest.mark.parametrize("behind", [600, 40])
def test_a_token_from_another_source_is_checked_against_the_local_clock(
    behind: int, client: FlexClient, emulator: Emulator, set_clock: SetClock
) -> None:
    set_clock(-behind)
    context = client.create_capture_context(FIELDS)
    token = client.tokenize(context, CARD)
    message = rf"in the future; this machine's clock is {about(behind)} s behind the host's; set it by NTP$"
    with pytest.raises(TokenNotYetValidError, match=message):
        client.verify_transient_token(token.jwt, context)
    with pytest.raises(TokenNotYetValidError, match=message):
        client.verify_capture_context(context.jwt)


def test_tokens_that_are_not_yet_valid(client: FlexClient, emulator: Emulator) -> None:
    emulator.shift_clock(600)
    context = client.create_capture_context(FIELDS)
    token = client.tokenize(context, CARD)
    emulator.shift_clock(0)
    with pytest.raises(NotFoundError):
        client.payment_details(UNKNOWN_ID)
    message = "issued 9 min in the future; this machine's clock agrees with the host's$"
    with pytest.raises(TokenNotYetValidError, match=message):
        client.verify_transient_token(token.jwt, context)
    with pytest.raises(TokenNotYetValidError, match=message):
        client.verify_capture_context(context.jwt)
    with pytest.raises(TokenNotYetValidError, match=message):
        client.restore_capture_context(client.store_capture_context(context))


def test_the_host_time_is_read_from_the_response_with_the_key(
    emulator: Emulator, client_class: type[FlexClient], set_clock: SetClock
) -> None:
    with client_class(JwtSharedSecret(**emulator.auth), environment=emulator.url) as client:
        jwt = client.create_capture_context(FIELDS).jwt
    set_clock(-40)
    with (
        client_class(None, environment=emulator.url) as client,
        pytest.raises(TokenNotYetValidError, match=f"this machine's clock is {about(40)} s behind the host's"),
    ):
        client.verify_capture_context(jwt)


def test_tokens_that_have_expired_by_the_hosts_clock(
    client: FlexClient, emulator: Emulator, set_clock: SetClock
) -> None:
    set_clock(-600)
    emulator.queue_scenarios(["ok", "expired-context;expires-in=-60"], path="/flex/v2/sessions")
    with pytest.raises(
        ExpiredTokenError, match=f"expired 6. s ago by the host's clock; .* {about(600)} s behind the host's; set"
    ):
        client.create_capture_context(FIELDS)
    context = client.create_capture_context(FIELDS)
    stored = client.store_capture_context(context, STORAGE_KEY)
    jwt = client.tokenize(context, CARD).jwt
    # This has the same effect as if this machine's clock had stopped. By its time, all are valid for ten more minutes.
    emulator.shift_clock(940)
    with pytest.raises(NotFoundError):
        client.payment_details(UNKNOWN_ID)
    assert context.expires_in().total_seconds() > 600
    emulator.clear()
    clocks = f"this machine's clock is {about(1540)} s behind the host's; set it by NTP, or use correct_clock=False"
    by_host = f"by the host's clock; {clocks}"
    with pytest.raises(ExpiredTokenError, match=f"{by_host}.*; request a new one$"):
        client.tokenize(context, CARD)
    assert emulator.requests == [], "nothing was sent"
    for verify in (
        lambda: client.verify_transient_token(jwt, context),
        lambda: client.verify_capture_context(context.jwt),
    ):
        with pytest.raises(ExpiredTokenError, match=by_host):
            verify()
    assert client.restore_capture_context(stored, STORAGE_KEY) == context, (
        "tokens that were created in its last second are still valid"
    )
    emulator.shift_clock(940 + 900)
    with pytest.raises(NotFoundError):
        client.payment_details(UNKNOWN_ID)
    with pytest.raises(ExpiredTokenError, match="by the host's clock"):
        client.restore_capture_context(stored, STORAGE_KEY)


def test_contexts_expire_early_if_the_clock_is_ahead(
    client: FlexClient, emulator: Emulator, set_clock: SetClock
) -> None:
    set_clock(600)
    context = client.create_capture_context(FIELDS)
    assert client.tokenize(context, CARD)
    assert context.expires_in().total_seconds() == pytest.approx(300, abs=5)
    set_clock(1200)
    message = f"expired 5 min ago by this machine's clock, which is {about(1200)} s ahead of the host's; set it by NTP"
    with pytest.raises(ExpiredTokenError, match=f"the capture context {message}$"):
        client.create_capture_context(FIELDS)
    with pytest.raises(ExpiredTokenError, match=f"the capture context {message}; request a new one$"):
        client.tokenize(context, CARD)


def test_the_clock_is_changed_between_calls(client: FlexClient, emulator: Emulator, set_clock: SetClock) -> None:
    set_clock(-600)
    context = client.create_capture_context(FIELDS)
    token = client.tokenize(context, CARD)
    set_clock(400)
    # With the offset that was measured before, the token would have expired by the host's clock.
    assert client.clock.host_time() is None
    assert client.verify_transient_token(token.jwt, context) == token
    fresh = client.create_capture_context(FIELDS)
    measured = client.clock.host_time()
    assert measured is not None
    assert measured.offset == pytest.approx(-400, abs=2)
    set_clock(-40)
    assert client.tokenize(fresh, CARD)
    assert client.restore_capture_context(client.store_capture_context(fresh)) == fresh


def test_the_host_time_is_not_used_without_correct_clock(client_class: type[FlexClient], set_clock: SetClock) -> None:
    with (
        Emulator(jwt_leeway=2000, clock=time.time) as emulator,
        client_class(JwtSharedSecret(**emulator.auth), environment=emulator.url, correct_clock=False) as client,
    ):
        set_clock(-40)
        with pytest.raises(
            TokenNotYetValidError,
            match=rf"is {about(40)} s \(not used, because correct_clock is off\) behind the host's; set it by NTP",
        ):
            client.create_capture_context(FIELDS)
        set_clock(1000)
        with pytest.raises(
            ExpiredTokenError, match=rf"clock, which is {about(1000)} s \(not used, .*\) ahead of the host's"
        ):
            client.create_capture_context(FIELDS)
        set_clock(0)
        emulator.scenario = "wrong-date;seconds=3600"
        assert client.tokenize(client.create_capture_context(FIELDS), CARD)


@pytest.mark.parametrize("behind", [100_000, -100_000])
def test_differences_of_more_than_a_day_are_ignored(
    behind: float, client_class: type[FlexClient], set_clock: SetClock
) -> None:
    with (
        Emulator(jwt_leeway=1e6, clock=time.time) as emulator,
        client_class(JwtSharedSecret(**emulator.auth), environment=emulator.url) as client,
    ):
        set_clock(-behind)
        expected = TokenNotYetValidError if behind > 0 else ExpiredTokenError
        with pytest.raises(
            expected, match=rf"{about(100_000)} s \(more than a day, so the Date header is assumed to be wrong\)"
        ):
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
    token = client.tokenize(context, CARD)
    assert client.verify_transient_token(token.jwt, context) == token
    assert client.restore_capture_context(client.store_capture_context(context)) == context


def test_a_wrong_date_that_is_ahead_is_reported(client: FlexClient, emulator: Emulator) -> None:
    emulator.scenario = "wrong-date;seconds=3600"
    with pytest.raises(
        ExpiredTokenError, match=f"{about(3600)} s behind the host's; .* use correct_clock=False if it is right"
    ):
        client.create_capture_context(FIELDS)


@pytest.mark.parametrize("fault", ["wrong-date;kind=missing", "wrong-date;kind=garbage"])
def test_a_response_without_a_date_uses_the_previous_one(
    fault: str, client: FlexClient, emulator: Emulator, set_clock: SetClock
) -> None:
    set_clock(-40)
    emulator.scenario = fault
    with pytest.raises(TokenNotYetValidError, match="check that this machine's clock is right"):
        client.create_capture_context(FIELDS)
    emulator.scenario = None
    client.create_capture_context(FIELDS)
    emulator.scenario = fault
    assert client.tokenize(client.create_capture_context(FIELDS), CARD)


def test_a_wrong_date_in_the_past_does_not_make_tokens_valid(
    client: FlexClient, emulator: Emulator, set_clock: SetClock
) -> None:
    set_clock(-40)
    emulator.scenario = "wrong-date;seconds=-3600"
    with pytest.raises(
        TokenNotYetValidError, match=f"(3[5-9]|40) s in the future; .* clock is {about(3560)} s ahead of the host's"
    ):
        client.create_capture_context(FIELDS)


# Functions without a client.


@pytest.fixture(scope="module")
def issued() -> tuple[CaptureContext, str, Any]:
    with (
        Emulator(clock=time.time) as running,
        FlexClient(JwtSharedSecret(**running.auth), environment=running.url) as client,
    ):
        context = client.create_capture_context(FIELDS)
        return context, client.tokenize(context, CARD).jwt, client._keys


def test_the_host_time_as_an_argument(issued: tuple[CaptureContext, str, Any]) -> None:
    context, token, keys = issued
    issued_at, expires_at = (context.claims[name] for name in ("iat", "exp"))
    behind = HostTime(600.0)
    early = issued_at - 600
    assert verify_capture_context(context.jwt, keys, now=early, host_time=behind, received_from_host=True) == context
    assert verify_transient_token(token, context, now=early, host_time=behind, received_from_host=True).jwt == token
    for host_time in (behind, None):
        with pytest.raises(TokenNotYetValidError):
            verify_capture_context(
                context.jwt, keys, now=early, host_time=host_time, received_from_host=host_time is None
            )
    with pytest.raises(TokenNotYetValidError):
        verify_capture_context(context.jwt, keys, now=early - 31, host_time=behind, received_from_host=True)
    # The later of the two clocks decides.
    for now, host_time in ((expires_at - 570, behind), (expires_at + 30, HostTime(-600.0)), (expires_at + 30, None)):
        with pytest.raises(ExpiredTokenError):
            verify_capture_context(context.jwt, keys, now=now, host_time=host_time, received_from_host=True)
        assert verify_capture_context(context.jwt, keys, now=now - 1, host_time=host_time)
    with pytest.raises(ExpiredTokenError, match="by the host's clock"):
        encrypt(context, CARD, host_time=HostTime(1000.0))


@pytest.mark.parametrize("offset", [float("inf"), float("nan"), 86_401.0, -86_401.0])
def test_invalid_host_times_are_rejected(offset: float, issued: tuple[CaptureContext, str, Any]) -> None:
    context, _, keys = issued
    with pytest.raises(ConfigurationError, match="host_time"):
        verify_capture_context(context.jwt, keys, host_time=HostTime(offset), received_from_host=True)
    with pytest.raises(ConfigurationError, match="host_time"):
        verify_capture_context(context.jwt, keys, host_time=HostTime(0.0, max_error=offset), received_from_host=True)


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
def test_dates_are_parsed_independently_of_the_local_time_zone(
    date: str, seconds: int, frozen_time: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        host_time = Clock().observe_date(date, sent=frozen_time, received=frozen_time + 1)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert host_time is not None
    assert host_time.offset == seconds
    assert host_time.max_error == 1.0


@pytest.mark.parametrize(
    "date", ["", "x", "0", "Sun, 99 Nov 2026 12:00:00 GMT", "Sun, 22 Nov 99999 12:00:00 GMT", None]
)
def test_invalid_dates_are_ignored(date: str | None) -> None:
    clock = Clock()
    assert clock.observe_date(date, sent=0, received=0) is None
    assert clock.host_time() is None
    assert clock.measured_offset is None


def test_a_slow_callback_does_not_change_the_measured_difference(
    emulator: Emulator, client_class: type[FlexClient], set_clock: SetClock
) -> None:
    # The callback seems to take 100 s.
    hooks = EventHooks(on_attempt=lambda _: set_clock(100))
    with client_class(JwtSharedSecret(**emulator.auth), environment=emulator.url, event_hooks=hooks) as client:
        with pytest.raises(NotFoundError):
            client.payment_details(UNKNOWN_ID)
        assert client.clock.measured_offset == pytest.approx(0, abs=5)
