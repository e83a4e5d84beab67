"""Calls with any script of failures, against a model of the rules in docs/errors.md, "Retries".

Each step of a script is what one attempt gets from a server on loopback. Time is measured in hundreds of seconds: it
passes only in steps and pauses, and the random parts of all pauses together are shorter than the 50 seconds by which a
deadline differs from such a number.
"""

from __future__ import annotations

import itertools
import math
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from cybersource_flex import errors
from cybersource_flex._runtime.deadline import deadline_after
from cybersource_flex.transport import AsyncTransport, Configuration, Response, RetryPolicy, Transport
from support.blocking_client import BlockingAsyncClient
from support.fake_time import FakeTime
from support.servers import HttpHandler, HttpServer
from support.state_machines import machine_settings, sync_and_async_tests
from support.transports import CountingSigner, make_operation

UNRESOLVED, BROKEN = "no connection", "the connection breaks"
RETRIED_STATUSES = (429, 502, 503, 504)
INITIAL_DELAY, MAX_DELAY = 1.0, 4.0


@dataclass(frozen=True)
class Step:
    """What an attempt gets: a status, or a failure of the connection.

    Attributes:
        seconds: duration of the attempt.
        retry_after: value of the header ``Retry-After``.
    """

    result: int | str
    seconds: int = 0
    retry_after: int | None = None


SUCCESS = Step(200)
# Results that may be retried are more frequent than the others, which end a call.
results = st.one_of(
    st.sampled_from([UNRESOLVED, BROKEN, 401]),
    st.sampled_from([UNRESOLVED, 401, *RETRIED_STATUSES]),
    st.sampled_from([*RETRIED_STATUSES, 200, 400, 500]),
)
mostly = st.sampled_from([True, True, False])
steps = st.builds(
    Step,
    result=results,
    seconds=st.sampled_from([0, 0, 0, 100]),
    retry_after=st.sampled_from([None, None, 0, 100, 200]),
)


@dataclass(frozen=True)
class Call:
    """The arguments of a call.

    Attributes:
        outer_deadline: the seconds that are left to a longer operation, of which the call is a part.
        signed: whether the operation has credentials.
        new_credentials: whether the signer gets other credentials after a 401.
    """

    policy: RetryPolicy
    outer_deadline: float | None
    retry_safe: bool
    signed: bool
    new_credentials: bool


@dataclass
class Expected:
    """The pauses between the attempts as (minimum, maximum), and how the last attempt ended."""

    pauses: list[tuple[float, float]]
    last: Step
    is_late: bool


def expect(script: list[Step], call: Call) -> Expected:
    """The rules in docs/errors.md."""
    policy, pauses, spent, counted, may_refresh = call.policy, [], 0.0, 0, call.signed and call.new_credentials
    deadline = min(policy.deadline or math.inf, call.outer_deadline or math.inf)
    for number, step in enumerate([*script, SUCCESS], 1):
        spent += step.seconds
        shortest = longest = 0.0
        if step.result == 401 and may_refresh:
            may_refresh = False  # once, and this attempt is not one of `policy.attempts`
        else:
            counted += 1
            may_repeat = call.retry_safe or policy.retry_unsafe
            is_retried = step.result == UNRESOLVED or (may_repeat and step.result in (BROKEN, *policy.statuses))
            if not is_retried or counted == policy.attempts:
                break
            shortest = (step.retry_after or 0.0) if isinstance(step.result, int) else 0.0
            longest = max(shortest, min(MAX_DELAY, INITIAL_DELAY * 2 ** (number - 1)))
        if spent + shortest >= deadline:
            break
        pauses.append((shortest, longest))
        spent += shortest
    return Expected(pauses, step, spent >= deadline)


class Signer(CountingSigner):
    def __init__(self, new_credentials: bool) -> None:
        super().__init__()
        self._new_credentials = new_credentials

    def refresh(self, rejected: Mapping[str, str]) -> bool:
        return self._new_credentials


class Handler(HttpHandler):
    """Runs the next step of the script."""

    server: ScriptServer
    # Head and body are sent at once. Otherwise, the body would wait for the client's acknowledgement.
    disable_nagle_algorithm = True

    def do_POST(self) -> None:  # noqa: N802
        self.record()
        step = self.server.next_step()
        self.close_connection = True
        if isinstance(step.result, int):
            retry_after = [] if step.retry_after is None else [("Retry-After", str(step.retry_after))]
            self.respond(step.result, ("Connection", "close"), *retry_after)


class ScriptServer(HttpServer):
    """Serves scripts. Its name ``localhost`` cannot be resolved for attempts that get no connection."""

    def __init__(self, time: FakeTime) -> None:
        super().__init__(handler=Handler)
        self.script: list[Step] = []
        self.steps: list[Step] = []
        self.url = f"http://localhost:{self.server_port}"
        self._time = time
        self._patch = pytest.MonkeyPatch()
        self._patch.setattr(socket, "getaddrinfo", self._resolve)
        # aiohttp keeps addresses for ten seconds of this clock. Now each attempt looks the name up.
        minutes = itertools.count(0, 60)
        self._patch.setattr("aiohttp.connector.monotonic", lambda: next(minutes))

    def close(self) -> None:
        super().close()
        self._patch.undo()

    def next_step(self) -> Step:
        step = self.script.pop(0) if self.script else SUCCESS
        self.steps.append(step)
        self._time.advance(step.seconds)
        return step

    def _resolve(self, host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        assert (host, port) == ("localhost", self.server_port)
        if self.script and self.script[0].result == UNRESOLVED:
            self.next_step()
            raise socket.gaierror(socket.EAI_AGAIN, "the name server does not respond")
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port))]


class AttemptsMachine(RuleBasedStateMachine):
    """One transport, whose calls follow each other."""

    is_async: bool

    def __init__(self) -> None:
        super().__init__()
        self.time = FakeTime()
        self.server = ScriptServer(self.time)
        # No timeout is shorter than an attempt.
        configuration = Configuration(
            host=self.server.url, proxy_from_environment=False, connect_timeout=1000, read_timeout=1000
        )
        if type(self).is_async:
            self.transport: Any = BlockingAsyncClient.wrap(lambda: AsyncTransport(configuration))
        else:
            self.transport = Transport(configuration)
        self.configuration = configuration

    def teardown(self) -> None:
        self.transport.__exit__(None, None, None)
        self.server.close()
        self.time.close()

    @rule(
        script=st.lists(steps, max_size=7),
        attempts=st.integers(1, 5),
        deadline=st.sampled_from([None, 50, 150, 250, 450]),
        outer_deadline=st.sampled_from([None, None, 150, 350]),
        retry_unsafe=st.booleans(),
        retry_safe=mostly,
        signed=mostly,
        new_credentials=mostly,
    )
    def call(
        self,
        script: list[Step],
        attempts: int,
        deadline: float | None,
        outer_deadline: float | None,
        retry_unsafe: bool,
        retry_safe: bool,
        signed: bool,
        new_credentials: bool,
    ) -> None:
        policy = RetryPolicy(
            attempts=attempts,
            deadline=deadline,
            retry_unsafe=retry_unsafe,
            statuses=RETRIED_STATUSES,
            initial_delay=INITIAL_DELAY,
            max_delay=MAX_DELAY,
        )
        call = Call(policy, outer_deadline, retry_safe, signed, new_credentials)
        expected = expect(script, call)
        self.server.script, self.server.steps, self.server.received = [*script], [], []
        self.time.pauses.clear()
        outcome = self._send(call)
        self._check_attempts(outcome, call, expected, script)
        self._check_outcome(outcome, call, expected)

    def _send(self, call: Call) -> Response | errors.TransportError:
        configuration = self.configuration.with_credentials(Signer(call.new_credentials), None)
        operation = make_operation(retry_safe=call.retry_safe, requires_auth=call.signed)
        try:
            with deadline_after(call.outer_deadline):
                response: Response = self.transport.derive(configuration).send(
                    operation.build_request(configuration, body={}), retry=call.policy
                )
        except errors.TransportError as error:
            return error
        return response

    def _check_attempts(self, outcome: Any, call: Call, expected: Expected, script: list[Step]) -> None:
        count = len(expected.pauses) + 1
        assert self.server.steps == [*script, SUCCESS][:count]
        pauses = iter(self.time.pauses)
        for shortest, longest in expected.pauses:
            # Without a pause, the transport does not have to call the function that waits.
            pause = next(pauses) if longest else 0.0
            assert shortest <= pause <= longest
        assert list(pauses) == []
        assert [attempt.number for attempt in outcome.attempts] == list(range(1, count + 1))
        for attempt, step in zip(outcome.attempts[:-1], self.server.steps, strict=False):
            assert attempt.status == (step.result if isinstance(step.result, int) else None)
            assert (attempt.error is None) == isinstance(step.result, int)
            assert attempt.duration == step.seconds
        signatures = [request.headers.get("authorization") for request in self.server.received]
        if call.signed:
            assert len(set(signatures)) == len(signatures), "an attempt has the signature of another one"
        else:
            assert set(signatures) <= {None}

    def _check_outcome(self, outcome: Any, call: Call, expected: Expected) -> None:
        result = expected.last.result
        timeouts = (errors.ResponseTimeoutError, errors.ConnectionTimeoutError)
        if expected.is_late and isinstance(outcome, timeouts):
            # The deadline passed during the attempt.
            return
        if isinstance(result, int):
            assert isinstance(outcome, Response), f"{outcome!r} instead of status {result}"
            assert outcome.status == result
            return
        error_class, what = {
            UNRESOLVED: (errors.ConnectionFailedError, "not_sent"),
            BROKEN: (errors.ConnectionBrokenError, "unknown"),
        }[result]
        assert type(outcome) is error_class, f"{outcome!r} instead of {error_class.__name__}"
        assert outcome.outcome == what
        assert outcome.safe_to_retry == (result == UNRESOLVED or call.retry_safe)


TestSyncAttempts, TestAsyncAttempts = sync_and_async_tests(AttemptsMachine, machine_settings(25, 10))
