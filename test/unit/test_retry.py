"""When to try again and how long to wait: the policy, the host's wishes, and the clock to sign with."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from cybersource_flex import errors
from cybersource_flex.transport import Clock, Operation, Request, Response, RetryPolicy, Settings
from cybersource_flex.transport.attempts import Attempts
from cybersource_flex.transport.retry import retry_after

NOW = 1_800_000_000.0
DATE = "Fri, 15 Jan 2027 08:00:00 GMT"  # NOW


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"attempts": 0}, "attempts must be"),
        ({"attempts": 21}, "attempts must be"),
        ({"attempts": True}, "attempts must be"),
        ({"attempts": 2.0}, "attempts must be"),
        ({"base": 0}, "base must be a positive number"),
        ({"base": "1"}, "base must be a positive number"),
        ({"cap": float("inf")}, "cap must be a positive number"),
        ({"deadline": -1}, "deadline must be a positive number"),
        ({"statuses": [200]}, "statuses must be"),
        ({"statuses": ["429"]}, "statuses must be"),
    ],
)
def test_what_a_policy_cannot_be(arguments: dict[str, Any], rule: str) -> None:
    with pytest.raises(errors.ConfigurationError, match=rule):
        RetryPolicy(**arguments)


def test_a_policy_is_changed_by_making_another() -> None:
    policy = RetryPolicy(attempts=5)
    other = policy.replace(deadline=None, statuses=[503])
    assert (other.attempts, other.deadline, other.statuses) == (5, None, {503})
    assert policy.statuses == {429, 502, 503, 504}
    with pytest.raises(AttributeError):
        policy.attempts = 1
    assert repr(policy).startswith("RetryPolicy(attempts=5, ")


def test_waits_are_random_and_grow_to_the_cap() -> None:
    policy = RetryPolicy(base=1.0, cap=4.0)
    for attempt, most in ((1, 1.0), (2, 2.0), (3, 4.0), (9, 4.0)):
        found = [policy.pause(attempt, None) for _ in range(400)]
        assert min(found) >= 0
        assert max(found) <= most
        assert max(found) > most * 0.9
        assert min(found) < most * 0.1
    assert policy.pause(1, 30.0) == 30.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        (" 7 ", 7.0),
        ("999999999999999999999", 86_400.0),
        ("Fri, 15 Jan 2027 08:00:09 GMT", 9.0),
        ("Friday, 15-Jan-27 08:00:09 GMT", 9.0),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0.0),
        ("-3", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("٣", None),
        (None, None),
    ],
)
def test_retry_after_in_both_forms(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, NOW) == seconds


class Renewable:
    """A signer that counts, and can renew itself as often as it is told."""

    def __init__(self, renewals: int = 0) -> None:
        self.times: list[float] = []
        self.renewals = renewals

    def sign(self, request: Request, now: float) -> dict[str, str]:
        self.times.append(now)
        return {"Authorization": f"Bearer {len(self.times)}"}

    def renew(self) -> bool:
        self.renewals -= 1
        return self.renewals >= 0


Start = Callable[..., Attempts]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def start(clock: Clock) -> Start:
    def make(policy: RetryPolicy | None = None, *, repeatable: bool = True, auth: Any = None) -> Attempts:
        settings = Settings(host="https://apitest.cybersource.com", auth=auth or Renewable())
        operation = Operation(
            name="call", method="GET", path="/x", signed=True, responses={}, models="", repeatable=repeatable
        )
        return Attempts(operation.request(settings), settings, clock, policy or RetryPolicy())

    return make


def answer(status: int, **headers: str) -> Response:
    return Response(status, "", {name.replace("_", "-"): value for name, value in headers.items()}, b"")


def failure(outcome: errors.Outcome, transient: bool = True) -> errors.TransportError:
    error = errors.TransportError("no", method="GET", path="/x", outcome=outcome)
    error.transient = transient
    return error


def test_only_what_is_harmless_is_repeated(start: Start) -> None:
    for outcome, repeatable, again in (
        ("not_sent", False, True),
        ("not_sent", True, True),
        ("unknown", False, False),
        ("unknown", True, True),
        ("accepted", True, False),
        ("rejected", True, False),
    ):
        call = start(repeatable=repeatable)
        call.begin()
        error = failure(outcome)  # type: ignore[arg-type]
        if again:
            assert call.failed(error) >= 0
        else:
            with pytest.raises(errors.TransportError) as caught:
                call.failed(error)
            assert caught.value is error
        assert len(error.attempts) == 1


def test_a_caller_can_widen_and_narrow(start: Start) -> None:
    wide = start(RetryPolicy(repeat_any=True), repeatable=False)
    wide.begin()
    assert wide.failed(failure("unknown")) >= 0
    narrow = start(RetryPolicy(attempts=1))
    narrow.begin()
    with pytest.raises(errors.TransportError):
        narrow.failed(failure("not_sent"))


def test_what_will_be_the_same_again_is_not_repeated(start: Start) -> None:
    call = start()
    call.begin()
    with pytest.raises(errors.TransportError):
        call.failed(failure("not_sent", transient=False))


@pytest.mark.parametrize(
    ("status", "again"), [(429, True), (502, True), (503, True), (504, True), (500, False), (404, False)]
)
def test_statuses(status: int, again: bool, start: Start) -> None:
    call = start()
    call.begin()
    assert (call.answered(answer(status)) is not None) == again
    other = start(repeatable=False)
    other.begin()
    assert other.answered(answer(status)) is None


def test_attempts_end(start: Start) -> None:
    call = start(RetryPolicy(attempts=3))
    for _ in range(2):
        call.begin()
        assert call.answered(answer(503)) is not None
    call.begin()
    last = answer(503)
    assert call.answered(last) is None
    assert [made.number for made in last.attempts] == [1, 2, 3]
    assert [made.status for made in last.attempts] == [503, 503, 503]


def test_each_attempt_is_signed_anew(start: Start) -> None:
    call = start()
    first = call.begin()
    call.answered(answer(503))
    assert call.begin()["Authorization"] != first["Authorization"]


def test_a_wait_that_would_outlast_the_deadline_is_not_begun(start: Start) -> None:
    call = start(RetryPolicy(deadline=5.0))
    call.begin()
    assert call.answered(answer(503, Retry_After="6")) is None
    patient = start(RetryPolicy(deadline=None))
    patient.begin()
    assert patient.answered(answer(503, Retry_After="6")) == 6.0
    assert patient.answered(answer(503, Retry_After="6")) == 6.0


def test_retry_after_as_a_date_is_read_with_the_hosts_clock(start: Start, clock: Clock) -> None:
    call = start(RetryPolicy(deadline=None))
    call.begin()
    assert call.answered(answer(503, Date=DATE, Retry_After="Fri, 15 Jan 2027 08:00:30 GMT")) == pytest.approx(
        30, abs=2
    )


def test_credentials_are_renewed_once(start: Start) -> None:
    for renewals, expected in ((0, None), (1, 0.0), (9, 0.0)):
        call = start(auth=Renewable(renewals))
        call.begin()
        assert call.answered(answer(401)) == expected
        if expected is not None:
            call.begin()
            assert call.answered(answer(401)) is None


def date(offset: float) -> str:
    from email.utils import formatdate

    return formatdate(time.time() + offset, usegmt=True)


@pytest.mark.parametrize("offset", [600.0, -600.0])
def test_a_clock_that_is_off_is_corrected_once_and_for_all(offset: float, start: Start, clock: Clock) -> None:
    auth = Renewable()
    call = start(auth=auth)
    call.begin()
    assert call.answered(answer(401, Date=date(offset))) == 0.0
    call.begin()
    assert auth.times[1] - auth.times[0] == pytest.approx(offset, abs=3)
    assert clock.offset == pytest.approx(offset, abs=3)
    # A wrong secret, not a wrong clock: no loop.
    assert call.answered(answer(401, Date=date(offset))) is None
    later = start(auth=auth)
    later.begin()
    assert auth.times[2] - time.time() == pytest.approx(offset, abs=3)
    assert later.answered(answer(401, Date=date(offset))) is None


def test_a_clock_that_is_right_is_left_alone(start: Start, clock: Clock) -> None:
    call = start()
    call.begin()
    assert call.answered(answer(401, Date=date(5))) is None
    assert clock.offset == 0.0
    assert clock.measured == pytest.approx(5, abs=2)


def test_a_success_only_measures(start: Start, clock: Clock) -> None:
    call = start()
    call.begin()
    assert call.answered(answer(200, Date=date(900))) is None
    assert clock.measured == pytest.approx(900, abs=2)
    assert clock.offset == 0.0


@pytest.mark.parametrize(
    "value", [None, "", "yesterday", "Fri, 99 Jan 2027 08:00:00 GMT", "Fri, 15 Jan 99999 08:00:00 GMT"]
)
def test_a_date_that_is_none_says_nothing(value: str | None) -> None:
    clock = Clock()
    clock.learn(value, sent=NOW, received=NOW)
    assert clock.measured is None
    assert clock.adopt() is False


def test_the_correction_is_bounded_and_can_be_switched_off() -> None:
    off = Clock(correct=False)
    off.learn(DATE, sent=NOW - 600, received=NOW - 600)
    assert off.measured == pytest.approx(600, abs=1)
    assert off.adopt() is False
    assert off.offset == 0.0
    absurd = Clock()
    absurd.learn(DATE, sent=NOW - 100_000, received=NOW - 100_000)
    assert absurd.adopt() is False
