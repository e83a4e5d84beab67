"""The clocks of this machine and of the host, against a model of the rules in docs/errors.md, "The clock".

Both clocks are set by rules. A server on loopback sends a ``Date`` by its clock, or another one, and rejects a request
if the script says so. Times are whole seconds. Responses take none.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cybersource_flex.transport import AsyncTransport, Configuration, Transport
from support.blocking_client import BlockingAsyncClient
from support.fake_time import FakeTime
from support.servers import HttpHandler, HttpServer
from support.state_machines import machine_settings, sync_and_async_tests
from support.transports import CountingSigner, make_operation

NOW = 1_800_000_000
# Seconds. The numbers in docs/errors.md, and how exact a measured difference is.
SMALLEST, LARGEST, PRECISION = 30, 86_400, 1
# Seconds. Smaller changes of the clock are not noticed.
CLOCK_SET = 5
# Differences in seconds near the limits, and their negatives. No sum of them is closer to a limit than the precision.
differences = st.builds(
    lambda seconds, sign: seconds * sign,
    st.sampled_from([0, 4, 28, 32, 60, 600, 3600, LARGEST - 62, LARGEST + 62, 10 * LARGEST]),
    st.sampled_from([1, -1]),
)


@dataclass
class Model:
    """
    Attributes:
        local, host: the two clocks.
        measured: the difference of the clocks according to the last valid ``Date``. None before that.
        changed: seconds by which this machine's clock was changed since then.
        correction: seconds that are added to signatures.
    """

    correct: bool
    local: int = NOW
    host: int = NOW
    measured: int | None = None
    changed: int = 0
    correction: float = 0

    def receive(self, date: int | None) -> None:
        if date is not None:
            self.measured, self.changed = date - self.local, 0

    def is_current(self) -> bool:
        """Whether there is a difference that was measured after this machine's clock was set."""
        return self.measured is not None and abs(self.changed) <= CLOCK_SET

    def usable(self) -> int | None:
        """The difference of the clocks, if it is used."""
        if self.measured is None or not self.is_current() or not self.correct or abs(self.measured) > LARGEST:
            return None
        return self.measured


@dataclass(frozen=True)
class Step:
    """A response.

    Attributes:
        status: the status.
        date: by how many seconds the ``Date`` differs from the host's clock, or a string instead of a date, or None.
    """

    status: int
    date: int | str | None = 0


steps = st.builds(
    Step, st.sampled_from([200, 401, 401]), st.one_of(st.just(0), differences, st.sampled_from([None, "soon"]))
)


class Handler(HttpHandler):
    server: DateServer
    # Head and body are sent at once. Otherwise, the body would wait for the client's acknowledgement.
    disable_nagle_algorithm = True

    def do_POST(self) -> None:  # noqa: N802
        self.record()
        step = self.server.next_step()
        self.respond(step.status)

    def date_time_string(self, timestamp: float | None = None) -> str:
        return self.server.date

    def send_header(self, keyword: str, value: str) -> None:
        if keyword != "Date" or value:
            super().send_header(keyword, value)


class DateServer(HttpServer):
    """Sends responses with chosen dates. ``date`` is that of the last one; empty if it had none."""

    def __init__(self, model: Model) -> None:
        super().__init__(handler=Handler)
        self.steps: list[Step] = []
        self.date = ""
        self._model = model

    def next_step(self) -> Step:
        step = self.steps.pop(0) if self.steps else Step(200)
        if isinstance(step.date, int):
            self.date = formatdate(self._model.host + step.date, usegmt=True)
        else:
            self.date = step.date or ""
        return step


class ClockMachine(RuleBasedStateMachine):
    """A transport whose calls correct the clock, or do not."""

    is_async: bool

    @initialize(correct=st.sampled_from([True, True, True, False]))
    def start(self, correct: bool) -> None:
        self.model = Model(correct)
        self.time = FakeTime(wall=NOW)
        self.server = DateServer(self.model)
        self.signer = CountingSigner()
        self.warnings: list[logging.LogRecord] = []
        self.handler = logging.Handler(logging.WARNING)
        self.handler.emit = self.warnings.append  # type: ignore[method-assign]
        logging.getLogger("cybersource_flex.transport").addHandler(self.handler)
        self.configuration = Configuration(
            host=self.server.url, auth=self.signer, correct_clock=correct, proxy_from_environment=False
        )
        if type(self).is_async:
            self.transport: Any = BlockingAsyncClient.wrap(lambda: AsyncTransport(self.configuration))
        else:
            self.transport = Transport(self.configuration)

    def teardown(self) -> None:
        if hasattr(self, "transport"):
            logging.getLogger("cybersource_flex.transport").removeHandler(self.handler)
            self.transport.__exit__(None, None, None)
            self.server.close()
            self.time.close()

    @invariant()
    def the_clock_has_the_measured_difference(self) -> None:
        clock, model = self.transport.clock, self.model
        if model.measured is None:
            assert clock.measured_offset is None
        else:
            assert abs(clock.measured_offset - model.measured) <= PRECISION
        host_time = clock.host_time()
        if not model.is_current():
            assert host_time is None
        else:
            assert abs(host_time.offset - model.measured) <= max(PRECISION, host_time.max_error)
            assert bool(host_time.ignored_reason) == (model.usable() is None)
        assert abs(clock.offset - model.correction) <= PRECISION

    @rule(seconds=st.sampled_from([1, 60, 7200]))
    def time_passes(self, seconds: int) -> None:
        self.time.advance(seconds)
        self.model.local += seconds
        self.model.host += seconds

    @rule(difference=differences)
    def this_machines_clock_is_set(self, difference: int) -> None:
        """The clock is changed, for example by NTP."""
        change = self.model.host - difference - self.model.local
        self.model.local += change
        self.time.wall = self.model.local
        self.model.changed += change

    @rule(difference=differences)
    def the_hosts_clock_is_set(self, difference: int) -> None:
        self.model.host = self.model.local + difference

    @rule(difference=differences, date=steps)
    def a_call_is_rejected(self, difference: int, date: Step) -> None:
        self.the_hosts_clock_is_set(difference)
        self.call([Step(401), date])

    @rule(change=differences, dates=st.lists(st.sampled_from([0, None]), min_size=2, max_size=2))
    def a_call_is_rejected_after_the_clock_was_set(self, change: int, dates: list[int | None]) -> None:
        self.call([Step(200, dates[0])])
        self.this_machines_clock_is_set(change)
        self.call([Step(401, dates[1])])

    @rule(script=st.lists(steps, max_size=3))
    def call(self, script: list[Step]) -> None:
        model = self.model
        self.server.steps = [*script]
        self.signer.times.clear()
        self.warnings.clear()
        request = make_operation().build_request(self.configuration, body={})
        response = self.transport.send(request)
        times, corrections = [], 0
        for step in [*script, Step(200)]:
            times.append(model.local + model.correction)
            model.receive(model.host + step.date if isinstance(step.date, int) else None)
            difference = model.usable()
            if step.status != 401 or corrections or difference is None:
                break
            if abs(difference - model.correction) < SMALLEST:
                # The signature had the host's time, so the clock is not the cause.
                break
            model.correction = difference
            corrections += 1
        assert response.status == step.status
        assert len(self.signer.times) == len(times)
        assert all(abs(time - expected) <= PRECISION for time, expected in zip(self.signer.times, times, strict=True))
        assert len(self.warnings) == corrections


TestSyncClock, TestAsyncClock = sync_and_async_tests(ClockMachine, machine_settings(40, 15))
