"""Retries: the policy, ``Retry-After``, refreshed credentials and the corrected clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from cybersource_flex import errors
from cybersource_flex.transport import Clock, Configuration, Response, RetryPolicy
from cybersource_flex.transport.base_transport import CallState
from cybersource_flex.transport.retry import parse_retry_after
from cybersource_flex.transport.telemetry import Tracing
from support.transports import CountingSigner, make_operation

NOW = 1_800_000_000.0
DATE = "Fri, 15 Jan 2027 08:00:00 GMT"  # NOW


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"attempts": 0}, "attempts must be"),
        ({"attempts": 21}, "attempts must be"),
        ({"attempts": True}, "attempts must be"),
        ({"attempts": 2.0}, "attempts must be"),
        ({"initial_delay": 0}, "initial_delay must be a positive number"),
        ({"initial_delay": "1"}, "initial_delay must be a positive number"),
        ({"max_delay": float("inf")}, "max_delay must be a positive number"),
        ({"deadline": -1}, "deadline must be a positive number"),
        ({"statuses": [200]}, "statuses must be"),
        ({"statuses": ["429"]}, "statuses must be"),
    ],
)
def test_invalid_policies_are_rejected(arguments: dict[str, Any], rule: str) -> None:
    with pytest.raises(errors.ConfigurationError, match=rule):
        RetryPolicy(**arguments)


def test_replace_returns_a_changed_copy_of_the_policy() -> None:
    policy = RetryPolicy(attempts=5)
    changed = policy.replace(deadline=None, statuses=[503])
    assert (changed.attempts, changed.deadline, changed.statuses) == (5, None, {503})
    assert policy.statuses == {429, 502, 503, 504}
    with pytest.raises(AttributeError):
        policy.attempts = 1
    assert repr(policy).startswith("RetryPolicy(attempts=5, ")


def test_delays_are_random_and_grow_up_to_the_maximum() -> None:
    policy = RetryPolicy(initial_delay=1.0, max_delay=4.0)
    for attempt, longest in ((1, 1.0), (2, 2.0), (3, 4.0), (9, 4.0)):
        delays = [policy.delay(attempt, None) for _ in range(400)]
        assert min(delays) >= 0
        assert max(delays) <= longest
        assert max(delays) > longest * 0.9
        assert min(delays) < longest * 0.1
    assert policy.delay(1, 30.0) == 30.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        (" 7 ", 7.0),
        ("999999999999999999999", 86_400.0),
        ("Fri, 15 Jan 2027 08:00:09 GMT", 9.0),
        ("Friday, 15-Jan-27 08:00:09 GMT", 9.0),
        ("Fri Jan 15 08:00:09 2027", 9.0),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0.0),
        ("-3", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("٣", None),
        (None, None),
    ],
)
def test_retry_after_as_seconds_and_as_a_date(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, NOW) == seconds


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="NOT TESTED: this system cannot change its zone")
@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
@pytest.mark.parametrize("value", ["Fri Jan 15 08:00:09 2027", "Fri, 15 Jan 2027 08:00:09 -0000", DATE[:-6] + "09 GMT"])
def test_retry_after_does_not_depend_on_the_local_time_zone(
    value: str, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert parse_retry_after(value, NOW) == 9.0
    finally:
        monkeypatch.undo()
        time.tzset()


class RefreshableSigner(CountingSigner):
    """A signer whose credentials can be refreshed ``refreshes`` times."""

    def __init__(self, refreshes: int = 0) -> None:
        super().__init__()
        self.refreshes = refreshes

    def refresh(self, rejected: Mapping[str, str]) -> bool:
        self.refreshes -= 1
        return self.refreshes >= 0


def begin_attempt(call: CallState) -> dict[str, str]:
    if call.attempts:
        call.start_retry()
    headers = call.sign(call._clock.now())
    call.start_sending()
    return headers


StartCall = Callable[..., CallState]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def start_call(clock: Clock) -> StartCall:
    def make(policy: RetryPolicy | None = None, *, retry_safe: bool = True, auth: Any = None) -> CallState:
        configuration = Configuration(host="https://apitest.cybersource.com", auth=auth or RefreshableSigner())
        operation = make_operation(method="GET", retry_safe=retry_safe)
        tracing = Tracing(configuration.host)
        return CallState(operation.build_request(configuration), configuration, clock, tracing, retry=policy)

    return make


def make_response(status: int, **headers: str) -> Response:
    return Response(status, "", {name.replace("_", "-"): value for name, value in headers.items()}, b"")


def make_error(outcome: errors.Outcome, transient: bool = True) -> errors.TransportError:
    error = errors.TransportError("no", method="GET", path="/x", outcome=outcome)
    error.transient = transient
    return error


def test_errors_are_retried_if_that_is_safe(start_call: StartCall) -> None:
    for outcome, retry_safe, again in (
        ("not_sent", False, True),
        ("not_sent", True, True),
        ("unknown", False, False),
        ("unknown", True, True),
        ("accepted", True, False),
        ("rejected", True, False),
    ):
        call = start_call(retry_safe=retry_safe)
        begin_attempt(call)
        error = make_error(outcome)  # type: ignore[arg-type]
        assert (call.delay_after_error(error) is not None) == again
        assert len(error.attempts) == 1


def test_the_policy_can_allow_and_forbid_retries(start_call: StartCall) -> None:
    wide = start_call(RetryPolicy(retry_unsafe=True), retry_safe=False)
    begin_attempt(wide)
    assert wide.delay_after_error(make_error("unknown")) is not None
    narrow = start_call(RetryPolicy(attempts=1))
    begin_attempt(narrow)
    assert narrow.delay_after_error(make_error("not_sent")) is None


def test_permanent_errors_are_not_retried(start_call: StartCall) -> None:
    call = start_call()
    begin_attempt(call)
    assert call.delay_after_error(make_error("not_sent", transient=False)) is None


@pytest.mark.parametrize(
    ("status", "again"), [(429, True), (502, True), (503, True), (504, True), (500, False), (404, False)]
)
def test_some_statuses_are_retried(status: int, again: bool, start_call: StartCall) -> None:
    call = start_call()
    begin_attempt(call)
    assert (call.delay_after_response(make_response(status)) is not None) == again
    other = start_call(retry_safe=False)
    begin_attempt(other)
    assert other.delay_after_response(make_response(status)) is None


def test_the_number_of_attempts_is_limited(start_call: StartCall) -> None:
    call = start_call(RetryPolicy(attempts=3))
    for _ in range(2):
        begin_attempt(call)
        assert call.delay_after_response(make_response(503)) is not None
    begin_attempt(call)
    last = make_response(503)
    assert call.delay_after_response(last) is None
    assert [attempt.number for attempt in last.attempts] == [1, 2, 3]
    assert [attempt.status for attempt in last.attempts] == [503, 503, 503]


def test_each_attempt_is_signed_again(start_call: StartCall) -> None:
    call = start_call()
    first = begin_attempt(call)
    call.delay_after_response(make_response(503))
    assert begin_attempt(call)["Authorization"] != first["Authorization"]


def test_a_delay_that_exceeds_the_deadline_ends_the_call(start_call: StartCall) -> None:
    call = start_call(RetryPolicy(deadline=5.0))
    begin_attempt(call)
    assert call.delay_after_response(make_response(503, Retry_After="6")) is None
    patient = start_call(RetryPolicy(deadline=None))
    begin_attempt(patient)
    assert patient.delay_after_response(make_response(503, Retry_After="6")) == 6.0
    assert patient.delay_after_response(make_response(503, Retry_After="6")) == 6.0


def test_retry_after_as_a_date_is_relative_to_the_hosts_clock(start_call: StartCall, clock: Clock) -> None:
    call = start_call(RetryPolicy(deadline=None))
    begin_attempt(call)
    assert call.delay_after_response(
        make_response(503, Date=DATE, Retry_After="Fri, 15 Jan 2027 08:00:30 GMT")
    ) == pytest.approx(30, abs=2)


def test_credentials_are_refreshed_once(start_call: StartCall) -> None:
    for refreshes, expected in ((0, None), (1, 0.0), (9, 0.0)):
        call = start_call(auth=RefreshableSigner(refreshes))
        begin_attempt(call)
        assert call.delay_after_response(make_response(401)) == expected
        if expected is not None:
            begin_attempt(call)
            assert call.delay_after_response(make_response(401)) is None


def date(offset: float) -> str:
    from email.utils import formatdate

    return formatdate(time.time() + offset, usegmt=True)


def test_retries_after_a_401_do_not_count_as_attempts(start_call: StartCall) -> None:
    call = start_call(RetryPolicy(attempts=2), auth=RefreshableSigner(1))
    begin_attempt(call)
    assert call.delay_after_response(make_response(503)) is not None
    for headers in ({}, {"Date": date(600)}):
        # First with new credentials, then with the corrected time.
        begin_attempt(call)
        assert call.delay_after_response(make_response(401, **headers)) == 0.0
    begin_attempt(call)
    last = make_response(503)
    assert call.delay_after_response(last) is None
    assert [attempt.status for attempt in last.attempts] == [503, 401, 401, 503]
    other = start_call(RetryPolicy(attempts=2), auth=RefreshableSigner(1))
    begin_attempt(other)
    assert other.delay_after_response(make_response(401)) == 0.0
    begin_attempt(other)
    assert other.delay_after_response(make_response(503)) is not None


@pytest.mark.parametrize("offset", [600.0, -600.0])
def test_a_wrong_clock_is_corrected_once(offset: float, start_call: StartCall, clock: Clock) -> None:
    auth = RefreshableSigner()
    call = start_call(auth=auth)
    begin_attempt(call)
    assert call.delay_after_response(make_response(401, Date=date(offset))) == 0.0
    begin_attempt(call)
    assert auth.times[1] - auth.times[0] == pytest.approx(offset, abs=3)
    assert clock.offset == pytest.approx(offset, abs=3)
    # With a correct clock, another 401 has another cause and is not retried.
    assert call.delay_after_response(make_response(401, Date=date(offset))) is None
    later = start_call(auth=auth)
    begin_attempt(later)
    assert auth.times[2] - time.time() == pytest.approx(offset, abs=3)
    assert later.delay_after_response(make_response(401, Date=date(offset))) is None


def test_a_difference_from_before_the_clock_was_set_is_not_used(
    start_call: StartCall, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = start_call()
    begin_attempt(call)
    assert call.delay_after_response(make_response(200, Date=date(600))) is None
    correct_time = time.time
    monkeypatch.setattr(time, "time", lambda: correct_time() + 600)
    later = start_call(RetryPolicy(deadline=None))
    begin_attempt(later)
    assert later.delay_after_response(make_response(401)) is None
    assert clock.offset == 0.0
    begin_attempt(later)
    assert later.delay_after_response(make_response(503, Retry_After=date(30))) == pytest.approx(30, abs=2)


def test_a_correct_clock_is_not_changed(start_call: StartCall, clock: Clock) -> None:
    call = start_call()
    begin_attempt(call)
    assert call.delay_after_response(make_response(401, Date=date(5))) is None
    assert clock.offset == 0.0
    assert clock.measured_offset == pytest.approx(5, abs=2)


def test_a_success_measures_the_offset_but_does_not_apply_it(start_call: StartCall, clock: Clock) -> None:
    call = start_call()
    begin_attempt(call)
    assert call.delay_after_response(make_response(200, Date=date(900))) is None
    assert clock.measured_offset == pytest.approx(900, abs=2)
    assert clock.offset == 0.0


@pytest.mark.parametrize("change", [-3600.0, -6.0, 6.0, 3600.0])
def test_a_date_is_not_used_if_the_clock_was_set_during_the_attempt(
    change: float, start_call: StartCall, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = start_call()
    begin_attempt(call)
    correct_time = time.time
    monkeypatch.setattr(time, "time", lambda: correct_time() + change)
    response = make_response(401, Date=date(900))
    assert call.delay_after_response(response) is None
    assert (response.host_time, clock.host_time(), clock.measured_offset, clock.offset) == (None, None, None, 0.0)
    # The next attempt takes place with one clock.
    call = start_call()
    begin_attempt(call)
    assert call.delay_after_response(make_response(401, Date=date(900))) == 0.0


@pytest.mark.parametrize(
    "value", [None, "", "yesterday", "Fri, 99 Jan 2027 08:00:00 GMT", "Fri, 15 Jan 99999 08:00:00 GMT"]
)
def test_invalid_dates_are_ignored(value: str | None) -> None:
    clock = Clock()
    clock.observe_date(value, sent=NOW, received=NOW)
    assert clock.measured_offset is None
    assert clock.apply_offset() is False


def test_the_correction_is_limited_and_can_be_disabled() -> None:
    disabled = Clock(correct=False)
    disabled.observe_date(DATE, sent=NOW - 600, received=NOW - 600)
    assert disabled.measured_offset == pytest.approx(600, abs=1)
    assert disabled.apply_offset() is False
    assert disabled.offset == 0.0
    implausible = Clock()
    implausible.observe_date(DATE, sent=NOW - 100_000, received=NOW - 100_000)
    assert implausible.apply_offset() is False
