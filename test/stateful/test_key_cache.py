"""``KeyCache`` and ``AsyncKeyCache`` against a model of the rules in docs/trust.md, "Keys".

The host does not respond by itself: a rule chooses which fetch ends, and how. Until then its callers wait, so that
other callers can join the fetch, be cancelled, or reach their deadline. The clock is that of ``KeyCacheState``.
"""

from __future__ import annotations

import asyncio
import queue
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cybersource_flex import errors
from cybersource_flex._runtime.deadline import deadline_after, remaining
from cybersource_flex.jose import AsyncKeyCache, KeyCache, PublicKey
from cybersource_flex.jose.key_cache import KeyCacheState
from support.keys import LONG_TERM, MERCHANT, jwk
from support.state_machines import machine_settings

# The numbers in docs/trust.md.
COOLDOWN, MAX_UNKNOWN = 30.0, 8
# Seconds, after which a call that hangs fails the test.
TIMEOUT = 10.0
# Ids of keys that the host may have: few, so that callers meet. And ids that it never has: more than it may be asked
# for in a cooldown.
KIDS = ["k0", "k1", "k2"]
UNKNOWN_KIDS = [f"u{number}" for number in range(MAX_UNKNOWN + 2)]
kids = st.sampled_from(KIDS)
keys = st.sampled_from([LONG_TERM, MERCHANT])
# Seconds until the deadline of a caller.
deadlines = st.sampled_from([None, None, 0.0, 1000.0])


class Model:
    """What the pages promise.

    Attributes:
        known: the last valid key of each id.
        missed: when the host last had no key for an id that a token from outside named.
        refreshed: when the last refresh of a key began.
        fetching: the ids that are being fetched, and whether the limits apply to the fetch.
        refreshing: the ids whose keys are being refreshed.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.keys: dict[str, str] = {}
        self.missed: dict[str, float] = {}
        self.refreshed: dict[str, float] = {}
        self.fetching: dict[str, bool] = {}
        self.refreshing: set[str] = set()

    def in_cooldown(self, times: dict[str, float]) -> set[str]:
        return {kid for kid, time in times.items() if self.now < time + COOLDOWN}

    def ends_of_cooldowns(self) -> list[float]:
        times = (*self.missed.values(), *self.refreshed.values())
        return sorted({time + COOLDOWN for time in times if self.now < time + COOLDOWN})

    def may_fetch(self, kid: str) -> bool:
        unknown = self.in_cooldown(self.missed) | {kid for kid, limited in self.fetching.items() if limited}
        unknown -= self.keys.keys()
        return kid not in unknown and len(unknown) < MAX_UNKNOWN

    def end_fetch(self, kid: str, key: str | None) -> None:
        limited = self.fetching.pop(kid)
        if key is not None:
            self.keys[kid] = key
        elif limited:
            self.missed[kid] = self.now

    def end_refresh(self, kid: str, key: str | None) -> str | None:
        self.refreshing.remove(kid)
        if key is not None:
            self.keys[kid] = key
        return self.keys.get(kid)


def make_call_error() -> errors.CallError:
    return errors.ConnectionFailedError("no", method="GET", path="/", outcome="not_sent")


@dataclass
class Fetch:
    """A request to the host that has no response yet.

    Attributes:
        result: the response: a JWK or an exception.
        seconds_left: the time until the deadline of the request.
    """

    kid: str
    ended: Any
    result: Any = field(default_factory=make_call_error)
    thread: threading.Thread | None = None
    seconds_left: float | None = field(default_factory=remaining)


@dataclass
class Caller:
    """A call of ``get`` or ``refresh``.

    Attributes:
        is_leader: whether the call began the fetch that it waits for.
        began_to_wait: set when the call waits or returns. Used by threads only.
    """

    kid: str
    is_leader: bool
    running: Any
    began_to_wait: threading.Event = field(default_factory=threading.Event)


class Threads:
    """Calls a ``KeyCache`` in threads."""

    def __init__(self, clock: Callable[[], float]) -> None:
        # New fetches, and callers that returned.
        self._events: queue.SimpleQueue[Fetch | Caller] = queue.SimpleQueue()
        self._all_fetches: list[Fetch] = []
        self._cache = KeyCache(self._fetch, KeyCacheState(clock=clock))

    def _fetch(self, kid: str) -> dict[str, str]:
        fetch = Fetch(kid, threading.Event(), thread=threading.current_thread())
        self._all_fetches.append(fetch)
        self._events.put(fetch)
        assert fetch.ended.wait(TIMEOUT), "the test did not end the fetch"
        return result_of(fetch)

    def start(self, name: str, kid: str, unthrottled: bool, seconds: float | None, *, is_leader: bool) -> Caller:
        source = self._cache.unthrottled() if unthrottled else self._cache
        future: Future[PublicKey | None] = Future()
        caller = Caller(kid, is_leader, future)

        def notice_wait(frame: Any, event: str, _: object) -> None:
            if event == "call" and frame.f_code is threading.Event.wait.__code__:
                caller.began_to_wait.set()

        def run() -> None:
            # A profile function is called for each function call, so the test knows when the thread waits.
            sys.setprofile(notice_wait)
            try:
                with deadline_after(seconds):
                    future.set_result(getattr(source, name)(kid))
            except BaseException as error:
                future.set_exception(error)
            caller.began_to_wait.set()
            self._events.put(caller)

        threading.Thread(target=run, daemon=True).start()
        return caller

    def next_fetch(self, caller: Caller) -> Fetch:
        while True:
            event = self._events.get(timeout=TIMEOUT)
            if isinstance(event, Fetch):
                return event
            # At its deadline, a caller may return before another thread begins the fetch.
            if event is caller and not isinstance(caller.running.exception(), errors.ResponseTimeoutError):
                raise AssertionError(f"the key was not fetched: {caller.running}")

    def unexpected_fetches(self) -> int:
        events = [self._events.get() for _ in range(self._events.qsize())]
        return sum(isinstance(event, Fetch) for event in events)

    def assert_waits(self, caller: Caller) -> None:
        assert caller.began_to_wait.wait(TIMEOUT), "the call neither waits nor returns"
        assert not caller.running.done(), f"the caller returned instead of waiting: {caller.running}"

    def outcome(self, caller: Caller) -> Any:
        while not caller.running.done():
            assert not isinstance(self._events.get(timeout=TIMEOUT), Fetch), "a key was fetched"
        return caller.running.exception() or caller.running.result()

    def end(self, fetch: Fetch) -> None:
        fetch.ended.set()
        assert fetch.thread is not None
        fetch.thread.join(TIMEOUT)
        assert not fetch.thread.is_alive(), "the fetch does not return"

    def close(self) -> None:
        for fetch in self._all_fetches:
            fetch.ended.set()


class Tasks:
    """Calls an ``AsyncKeyCache`` in tasks. Tasks run only inside the methods."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._loop = asyncio.new_event_loop()
        self._fetches: list[Fetch] = []
        self._callers: list[Caller] = []
        self._cache = AsyncKeyCache(self._fetch, KeyCacheState(clock=clock))

    async def _fetch(self, kid: str) -> dict[str, str]:
        fetch = Fetch(kid, asyncio.Event())
        self._fetches.append(fetch)
        await fetch.ended.wait()
        return result_of(fetch)

    def start(self, name: str, kid: str, unthrottled: bool, seconds: float | None, *, is_leader: bool) -> Caller:
        source = self._cache.unthrottled() if unthrottled else self._cache

        async def run() -> PublicKey | None:
            with deadline_after(seconds):
                result: PublicKey | None = await getattr(source, name)(kid)
                return result

        caller = Caller(kid, is_leader, self._loop.create_task(run()))
        self._callers.append(caller)
        self._settle()
        return caller

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self._loop.run_until_complete(asyncio.wait_for(coroutine, TIMEOUT))

    def _settle(self) -> None:
        """Run the event loop until each task waits for the test, or has ended."""

        async def turn() -> None:
            for _ in range(20):
                await asyncio.sleep(0)

        self._run(turn())

    def next_fetch(self, caller: Caller) -> Fetch:
        assert self._fetches, "the key was not fetched"
        return self._fetches.pop(0)

    def unexpected_fetches(self) -> int:
        return len(self._fetches)

    def assert_waits(self, caller: Caller) -> None:
        assert not caller.running.done(), f"the caller returned instead of waiting: {caller.running}"

    def outcome(self, caller: Caller) -> Any:
        assert caller.running.done() or not self._fetches, "a key was fetched"
        self._run(asyncio.wait((caller.running,)))
        if caller.running.cancelled():
            return asyncio.CancelledError()
        return caller.running.exception() or caller.running.result()

    def end(self, fetch: Fetch) -> None:
        fetch.ended.set()
        self._settle()

    def cancel(self, caller: Caller) -> None:
        caller.running.cancel()

    def close_cache(self) -> None:
        self._run(self._cache.close())

    def close(self) -> None:
        async def end() -> None:
            await self._cache.close()
            await asyncio.gather(*(caller.running for caller in self._callers), return_exceptions=True)

        self._run(end())
        self._loop.close()


def result_of(fetch: Fetch) -> Any:
    if isinstance(fetch.result, BaseException):
        raise fetch.result
    return fetch.result


# The failures of a fetch: what the host's response becomes, and the exception of the callers that wait for it.
FAILURES: dict[str, tuple[Callable[[str], Any], type[Exception]]] = {
    "the host has no key": (lambda kid: errors.UnknownKeyError("no"), errors.UnknownKeyError),
    "no connection": (lambda kid: make_call_error(), errors.ConnectionFailedError),
    "another key than requested": (lambda kid: jwk(LONG_TERM, f"{kid}-other"), errors.UnknownKeyError),
    "an invalid key": (lambda kid: {**jwk(LONG_TERM, kid), "e": "AQ"}, errors.UnsupportedAlgorithmError),
    "a mistake in the fetch function": (lambda kid: RuntimeError("no"), RuntimeError),
}


class KeyCacheMachine(RuleBasedStateMachine):
    """Callers of both methods, with and without the limits, and a host whose responses the rules choose."""

    make_calls: Callable[[Callable[[], float]], Any]

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.calls = type(self).make_calls(lambda: self.model.now)
        # The fetches in progress, and the callers that wait for each.
        self.gets: dict[str, tuple[Fetch, list[Caller]]] = {}
        self.refreshes: dict[str, tuple[Fetch, list[Caller]]] = {}

    def teardown(self) -> None:
        self.calls.close()

    @invariant()
    def no_other_key_is_fetched(self) -> None:
        assert self.calls.unexpected_fetches() == 0

    @rule(seconds=st.sampled_from([0.5, 14.5, 29.5, 30.0]))
    def time_passes(self, seconds: float) -> None:
        self.model.now += seconds

    @precondition(lambda self: self.model.ends_of_cooldowns())
    @rule(data=st.data(), early=st.sampled_from([0.0, 0.0, 0.5]))
    def a_cooldown_ends(self, data: st.DataObject, early: float) -> None:
        end = data.draw(st.sampled_from(self.model.ends_of_cooldowns()))
        self.model.now = max(self.model.now, end - early)

    @rule(kid=kids, unthrottled=st.booleans(), seconds=deadlines)
    def get(self, kid: str, unthrottled: bool, seconds: float | None) -> None:
        model = self.model
        is_leader = kid not in model.keys and kid not in model.fetching
        is_allowed = not is_leader or unthrottled or model.may_fetch(kid)
        caller = self.calls.start("get", kid, unthrottled, seconds, is_leader=is_leader)
        if kid in model.keys:
            assert_key(self.calls.outcome(caller), model.keys[kid])
        elif not is_allowed:
            assert_error(self.calls.outcome(caller), errors.UnknownKeyError)
        else:
            if is_leader:
                model.fetching[kid] = not unthrottled
                self.gets[kid] = self.calls.next_fetch(caller), []
                assert self.gets[kid][0].seconds_left is None, "the deadline of one caller applies to all"
            self._wait_for(caller, self.gets[kid][1], seconds, errors.ResponseTimeoutError)

    @rule(
        unknown=st.lists(st.sampled_from(UNKNOWN_KIDS), min_size=1, max_size=MAX_UNKNOWN + 2),
        unthrottled=st.booleans(),
        failure=st.sampled_from(sorted(FAILURES)),
    )
    def get_unknown_keys(self, unknown: list[str], unthrottled: bool, failure: str) -> None:
        for kid in unknown:
            self.get(kid, unthrottled, None)
            if kid in self.gets:
                self._fail(kid, failure)

    @rule(kid=kids, unthrottled=st.booleans(), has_deadline=st.booleans())
    def refresh(self, kid: str, unthrottled: bool, has_deadline: bool) -> None:
        model = self.model
        is_leader = kid not in model.refreshing
        is_allowed = not is_leader or unthrottled or kid not in model.in_cooldown(model.refreshed)
        # Only a caller that waits for the refresh of another one has a deadline here. For a caller that fetches the key
        # itself, the request ends at the deadline.
        seconds = 0.0 if has_deadline and not is_leader else None
        caller = self.calls.start("refresh", kid, unthrottled, seconds, is_leader=is_leader)
        if not is_allowed:
            assert_key(self.calls.outcome(caller), model.keys.get(kid))
            return
        if is_leader:
            model.refreshed[kid] = model.now
            model.refreshing.add(kid)
            self.refreshes[kid] = self.calls.next_fetch(caller), []
        self._wait_for(caller, self.refreshes[kid][1], seconds, model.keys.get(kid))

    def _wait_for(self, caller: Caller, callers: list[Caller], seconds: float | None, at_deadline: Any) -> None:
        if seconds == 0.0:
            # The deadline has passed. The fetch continues, because other callers can wait for it.
            assert_outcome(self.calls.outcome(caller), at_deadline)
        else:
            self.calls.assert_waits(caller)
            callers.append(caller)

    @precondition(lambda self: self.gets)
    @rule(data=st.data(), key=keys)
    def the_host_returns_a_key(self, data: st.DataObject, key: str) -> None:
        kid = data.draw(st.sampled_from(sorted(self.gets)))
        self.model.end_fetch(kid, key)
        self._end(self.gets.pop(kid), jwk(key, kid), key)

    @precondition(lambda self: self.gets)
    @rule(data=st.data(), failure=st.sampled_from(sorted(FAILURES)))
    def a_fetch_fails(self, data: st.DataObject, failure: str) -> None:
        self._fail(data.draw(st.sampled_from(sorted(self.gets))), failure)

    def _fail(self, kid: str, failure: str) -> None:
        make_result, error_class = FAILURES[failure]
        self.model.end_fetch(kid, None)
        self._end(self.gets.pop(kid), make_result(kid), error_class)

    @precondition(lambda self: self.refreshes)
    @rule(data=st.data(), key=keys)
    def a_refresh_succeeds(self, data: st.DataObject, key: str) -> None:
        kid = data.draw(st.sampled_from(sorted(self.refreshes)))
        self._end(self.refreshes.pop(kid), jwk(key, kid), self.model.end_refresh(kid, key))

    @precondition(lambda self: self.refreshes)
    @rule(data=st.data(), failure=st.sampled_from(sorted(FAILURES)))
    def a_refresh_fails(self, data: st.DataObject, failure: str) -> None:
        kid = data.draw(st.sampled_from(sorted(self.refreshes)))
        make_result, error_class = FAILURES[failure]
        previous = self.model.end_refresh(kid, None)
        # The exception of a mistake is raised at least in the caller that made it.
        is_mistake = error_class is RuntimeError
        self._end(self.refreshes.pop(kid), make_result(kid), RuntimeError if is_mistake else previous, previous)

    def _end(
        self, in_progress: tuple[Fetch, list[Caller]], result: Any, expected: Any, for_followers: Any = ...
    ) -> None:
        fetch, callers = in_progress
        fetch.result = result
        self.calls.end(fetch)
        for caller in callers:
            outcome = self.calls.outcome(caller)
            if caller.is_leader or for_followers is ... or isinstance(outcome, RuntimeError):
                assert_outcome(outcome, expected)
            else:
                assert_outcome(outcome, for_followers)


def assert_outcome(outcome: Any, expected: Any) -> None:
    if isinstance(expected, type):
        assert_error(outcome, expected)
    else:
        assert_key(outcome, expected)


def assert_key(outcome: Any, name: str | None) -> None:
    if name is None:
        assert outcome is None, f"{outcome!r} instead of None"
    else:
        assert isinstance(outcome, PublicKey), f"{outcome!r} instead of a key"
        assert outcome.to_jwk()["n"] == jwk(name, "")["n"], "another key than the last valid one"


def assert_error(outcome: Any, error_class: type[BaseException]) -> None:
    assert type(outcome) is error_class, f"{outcome!r} instead of {error_class.__name__}"


class SyncKeyCacheMachine(KeyCacheMachine):
    make_calls = Threads


class AsyncKeyCacheMachine(KeyCacheMachine):
    make_calls = Tasks

    @precondition(lambda self: any(self._waiting()))
    @rule(data=st.data())
    def a_caller_is_cancelled(self, data: st.DataObject) -> None:
        callers = data.draw(st.sampled_from([callers for callers in self._waiting() if callers]))
        caller = callers.pop(data.draw(st.integers(0, len(callers) - 1)))
        self.calls.cancel(caller)
        assert_error(self.calls.outcome(caller), asyncio.CancelledError)

    @precondition(lambda self: self.gets or self.refreshes)
    @rule()
    def the_cache_is_closed(self) -> None:
        self.calls.close_cache()
        for _, callers in self.gets.values():
            for caller in callers:
                assert_error(self.calls.outcome(caller), errors.ResponseTimeoutError)
        for kid, (_, callers) in self.refreshes.items():
            for caller in callers:
                assert_key(self.calls.outcome(caller), self.model.keys.get(kid))
        # The host did not say that it has no key, so the next caller may ask at once.
        self.gets, self.model.fetching = {}, {}
        self.refreshes, self.model.refreshing = {}, set()

    def _waiting(self) -> Iterator[list[Caller]]:
        return (callers for _, callers in (*self.gets.values(), *self.refreshes.values()))


TestSyncKeyCache = SyncKeyCacheMachine.TestCase
TestAsyncKeyCache = AsyncKeyCacheMachine.TestCase
TestSyncKeyCache.settings = machine_settings(35, 40)
TestAsyncKeyCache.settings = machine_settings(45, 40)
