"""Key caches and pinned keys: how often keys are fetched, and how the fetched keys are checked."""

from __future__ import annotations

import asyncio
import itertools
import json
import linecache
import re
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

from cybersource_flex import errors
from cybersource_flex._runtime.deadline import deadline_after
from cybersource_flex._runtime.threads import TooManyThreadsError, start_in_thread
from cybersource_flex.jose import (
    AsyncKeyCache,
    CaptureContext,
    KeyCache,
    KeySource,
    PinnedKeys,
    PublicKey,
    verify_capture_context,
)
from cybersource_flex.jose.capture_context import UnverifiedContext
from cybersource_flex.jose.key_cache import COOLDOWN, MAX_KEYS, MAX_MISSES, KeyCacheState
from support.encoding import base64url
from support.keys import LONG_TERM, MERCHANT, jwk
from support.paths import ROOT
from support.requirements import require_module, require_program
from support.tokens import CONTEXT_HEADER, capture_context_claims, sign_jwt, signing_input

NOW = 1_800_000_000
OTHER = MERCHANT


def make_context(kid: str = "zz", key: str = LONG_TERM) -> str:
    return sign_jwt(key, {**CONTEXT_HEADER, "kid": kid}, capture_context_claims(NOW))


def forge_context(kid: str) -> str:
    """A capture context with an invalid signature."""
    return f"{signing_input({**CONTEXT_HEADER, 'kid': kid}, capture_context_claims(NOW))}.{base64url(bytes(256))}"


class Clock:
    """A clock that is set by the test."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class FakeHost:
    """Returns keys and records the requested key ids. Requests wait until ``gate`` is set, and fail with ``error``."""

    def __init__(self, **keys: dict[str, str]) -> None:
        self.keys = keys
        self.requested: list[str] = []
        self.error: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()

    def fetch(self, kid: str) -> dict[str, str]:
        self.requested.append(kid)
        assert self.gate.wait(30)
        if self.error is not None:
            raise self.error
        if kid not in self.keys:
            raise errors.UnknownKeyError("the host has no such key")
        return self.keys[kid]

    async def fetch_later(self, kid: str) -> dict[str, str]:
        self.requested.append(kid)
        while not self.gate.is_set():
            await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        if kid not in self.keys:
            raise errors.UnknownKeyError("the host has no such key")
        return self.keys[kid]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def host() -> FakeHost:
    return FakeHost(zz=jwk(LONG_TERM, "zz"))


@pytest.fixture
def keys(host: FakeHost, clock: Clock) -> KeyCache:
    return KeyCache(host.fetch, KeyCacheState(clock=clock))


def verify(token: str, keys: KeySource) -> CaptureContext:
    return verify_capture_context(token, keys, now=NOW)


async def verify_later(token: str, keys: AsyncKeyCache) -> CaptureContext:
    """Verify a capture context as an asynchronous client does."""
    unverified = UnverifiedContext(token)
    key = await keys.get(unverified.kid)
    try:
        return unverified.verify(key, now=NOW)
    except errors.InvalidSignatureError:
        fresh = await keys.refresh(unverified.kid)
        if fresh is None or fresh == key:
            raise
    return unverified.verify(fresh, now=NOW)


def connection_failed() -> errors.FlexError:
    return errors.ConnectionFailedError(
        "no connection", method="GET", path="/flex/v2/public-keys/{kid}", outcome="not_sent"
    )


def test_fetches_of_unknown_kids_are_limited(host: FakeHost, keys: KeyCache) -> None:
    for number in range(10_000):
        with pytest.raises(errors.UnknownKeyError):
            verify(forge_context(f"invented-{number}"), keys)
    assert len(host.requested) == MAX_MISSES


def test_concurrent_fetches_of_unknown_kids_are_limited(host: FakeHost, keys: KeyCache) -> None:
    # All attacks are in progress at once, because the host does not respond yet.
    host.gate.clear()
    rejected = threading.Semaphore(0)

    def attack(number: int) -> None:
        with pytest.raises(errors.UnknownKeyError):
            verify(forge_context(f"invented-{number}"), keys)
        rejected.release()

    with ThreadPoolExecutor(64) as pool:
        attacks = [pool.submit(attack, number) for number in range(640)]
        for _ in range(640 - MAX_MISSES):
            assert rejected.acquire(timeout=30)
        host.gate.set()
        for future in attacks:
            future.result()
    assert len(host.requested) == MAX_MISSES


def test_fetches_of_unknown_kids_in_tasks_are_limited(host: FakeHost, clock: Clock) -> None:
    async def main() -> list[Any]:
        keys = AsyncKeyCache(host.fetch_later, KeyCacheState(clock=clock))
        return await asyncio.gather(
            *(verify_later(forge_context(f"invented-{n}"), keys) for n in range(10_000)), return_exceptions=True
        )

    assert all(type(outcome) is errors.UnknownKeyError for outcome in asyncio.run(main()))
    assert len(host.requested) == MAX_MISSES


def test_sixty_four_threads_share_one_fetch(host: FakeHost, keys: KeyCache) -> None:
    token, together = make_context(), threading.Barrier(64)

    def user(_: int) -> CaptureContext:
        together.wait(30)
        return verify(token, keys)

    host.gate.clear()
    with ThreadPoolExecutor(64) as pool:
        users = [pool.submit(user, number) for number in range(64)]
        host.gate.set()
        assert len({future.result() for future in users}) == 1
    assert host.requested == ["zz"]


def test_a_thousand_tasks_share_one_fetch(host: FakeHost, clock: Clock) -> None:
    token = make_context()

    async def main() -> list[CaptureContext]:
        keys = AsyncKeyCache(host.fetch_later, KeyCacheState(clock=clock))
        return await asyncio.gather(*(verify_later(token, keys) for _ in range(1000)))

    assert len(asyncio.run(main())) == 1000
    assert host.requested == ["zz"]


def test_a_cancelled_task_does_not_cancel_the_shared_fetch(host: FakeHost) -> None:
    host.gate.clear()

    async def main() -> CaptureContext:
        keys = AsyncKeyCache(host.fetch_later)
        first = asyncio.ensure_future(verify_later(make_context(), keys))
        second = asyncio.ensure_future(verify_later(make_context(), keys))
        while not host.requested:
            await asyncio.sleep(0)
        first.cancel()
        host.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await first
        return await second

    assert asyncio.run(main()).key.kid == "one"
    assert host.requested == ["zz"]


def test_closing_the_async_cache_ends_the_fetches_that_others_wait_for(host: FakeHost, clock: Clock) -> None:
    host.gate.clear()

    async def main() -> None:
        keys = AsyncKeyCache(host.fetch_later, KeyCacheState(clock=clock))
        waiting = asyncio.ensure_future(keys.get("zz"))
        while not host.requested:
            await asyncio.sleep(0)
        await keys.close()
        with pytest.raises(
            errors.ResponseTimeoutError, match="the public key 'zz' was not fetched before the deadline"
        ):
            await waiting
        # What was cancelled does not count as a failed fetch.
        host.gate.set()
        key = await keys.get("zz")
        host.gate.clear()
        refreshing = asyncio.ensure_future(keys.refresh("zz"))
        while len(host.requested) < 3:
            await asyncio.sleep(0)
        await keys.close()
        assert await refreshing == key

    asyncio.run(main())


def test_a_key_is_refreshed_again_after_each_cooldown(host: FakeHost, keys: KeyCache, clock: Clock) -> None:
    async def main() -> None:
        async_keys = AsyncKeyCache(host.fetch_later, KeyCacheState(clock=clock))
        await async_keys.get("zz")
        for _ in range(3):
            clock.now += 10_000
            assert await async_keys.refresh("zz") is not None

    asyncio.run(main())
    assert host.requested == ["zz"] * 4
    keys.get("zz")
    for _ in range(3):
        clock.now += 10_000
        assert keys.refresh("zz") is not None
    assert host.requested == ["zz"] * 8


def test_all_waiting_threads_get_the_error(host: FakeHost, keys: KeyCache) -> None:
    host.gate.clear()
    host.error = connection_failed()
    with ThreadPoolExecutor(16) as pool:
        users = [pool.submit(verify, make_context(), keys) for _ in range(16)]
        host.gate.set()
        outcomes = [type(future.exception()) for future in users]
    # Threads that asked after the failed fetch have to wait for the cooldown.
    assert {*outcomes} <= {errors.ConnectionFailedError, errors.UnknownKeyError}
    assert errors.ConnectionFailedError in outcomes
    assert host.requested == ["zz"]


def test_an_unknown_kid_is_fetched_again_after_the_cooldown(host: FakeHost, keys: KeyCache, clock: Clock) -> None:
    for _ in range(3):
        with pytest.raises(errors.UnknownKeyError):
            verify(make_context("new"), keys)
    assert host.requested == ["new"]
    host.keys["new"] = jwk(LONG_TERM, "new")
    clock.now = COOLDOWN - 0.1
    with pytest.raises(errors.UnknownKeyError, match="less than 30 s ago"):
        verify(make_context("new"), keys)
    clock.now = COOLDOWN
    assert verify(make_context("new"), keys)
    assert host.requested == ["new", "new"]


def test_many_unknown_kids_delay_a_new_key_by_the_cooldown_at_most(
    host: FakeHost, keys: KeyCache, clock: Clock
) -> None:
    for number in range(100):
        with pytest.raises(errors.UnknownKeyError):
            verify(forge_context(f"invented-{number}"), keys)
    with pytest.raises(errors.UnknownKeyError, match="too many unknown kids"):
        verify(make_context(), keys)
    clock.now = COOLDOWN
    assert verify(make_context(), keys)


def test_keys_for_responses_of_the_host_are_not_throttled(host: FakeHost, keys: KeyCache) -> None:
    for number in range(100):
        with pytest.raises(errors.UnknownKeyError):
            verify(forge_context(f"invented-{number}"), keys)
    assert verify(make_context(), keys.unthrottled())
    host.keys["new"] = jwk(OTHER, "new")
    assert verify(make_context("new", OTHER), keys.unthrottled())
    # The keys that were fetched in this way are in the cache.
    assert verify(make_context(), keys)
    assert len(host.requested) == MAX_MISSES + 2


def test_an_unthrottled_miss_does_not_extend_the_cooldown(host: FakeHost, keys: KeyCache, clock: Clock) -> None:
    with pytest.raises(errors.UnknownKeyError):
        keys.get("new")
    for clock.now in (COOLDOWN - 1, COOLDOWN):
        with pytest.raises(errors.UnknownKeyError):
            keys.unthrottled().get("new")
    host.keys["new"] = jwk(LONG_TERM, "new")
    assert keys.get("new").kid == "new"


def test_an_unthrottled_fetch_that_is_cancelled_does_not_end_the_cooldown(host: FakeHost, clock: Clock) -> None:
    async def main() -> None:
        keys = AsyncKeyCache(host.fetch_later, KeyCacheState(clock=clock))
        with pytest.raises(errors.UnknownKeyError):
            await keys.get("new")
        host.gate.clear()
        waiting = asyncio.ensure_future(keys.unthrottled().get("new"))
        while len(host.requested) < 2:
            await asyncio.sleep(0)
        await keys.close()
        with pytest.raises(errors.ResponseTimeoutError):
            await waiting
        with pytest.raises(errors.UnknownKeyError, match="less than 30 s ago"):
            await keys.get("new")

    asyncio.run(main())
    assert host.requested == ["new", "new"]


def test_many_unknown_kids_do_not_evict_a_known_key(host: FakeHost, keys: KeyCache) -> None:
    assert verify(make_context(), keys)
    for number in range(1000):
        with pytest.raises(errors.UnknownKeyError):
            verify(forge_context(f"invented-{number}"), keys)
        assert verify(make_context(), keys)
    assert host.requested.count("zz") == 1


def test_forged_signatures_cause_one_refetch_per_cooldown(host: FakeHost, keys: KeyCache, clock: Clock) -> None:
    for window in range(3):
        clock.now = window * COOLDOWN
        for _ in range(1000):
            with pytest.raises(errors.InvalidSignatureError):
                verify(forge_context("zz"), keys)
    assert len(host.requested) == 1 + 3


def test_a_replaced_key_with_the_same_kid_is_fetched_once(host: FakeHost, keys: KeyCache) -> None:
    assert verify(make_context(), keys)
    host.keys["zz"] = jwk(OTHER, "zz")
    fresh = make_context(key=OTHER)
    assert verify(fresh, keys)
    assert verify(fresh, keys)
    assert host.requested == ["zz", "zz"]
    with pytest.raises(errors.InvalidSignatureError):
        verify(make_context(), keys)


def test_concurrent_threads_share_the_refetch_of_a_replaced_key(host: FakeHost, keys: KeyCache) -> None:
    assert verify(make_context(), keys)
    host.keys["zz"] = jwk(OTHER, "zz")
    host.gate.clear()
    fresh, together = make_context(key=OTHER), threading.Barrier(33)

    def user(_: int) -> CaptureContext:
        together.wait(30)
        return verify(fresh, keys)

    with ThreadPoolExecutor(32) as pool:
        users = [pool.submit(user, number) for number in range(32)]
        together.wait(30)
        host.gate.set()
        assert all(future.result() for future in users)
    assert host.requested == ["zz", "zz"]


def test_concurrent_tasks_share_the_refetch_of_a_replaced_key(host: FakeHost) -> None:
    async def main() -> None:
        keys = AsyncKeyCache(host.fetch_later)
        await verify_later(make_context(), keys)
        host.keys["zz"] = jwk(OTHER, "zz")
        await asyncio.gather(*(verify_later(make_context(key=OTHER), keys) for _ in range(100)))

    asyncio.run(main())
    assert host.requested == ["zz", "zz"]


def test_forged_signatures_do_not_delay_a_replaced_key_for_responses_of_the_host(
    host: FakeHost, keys: KeyCache
) -> None:
    assert verify(make_context(), keys)
    with pytest.raises(errors.InvalidSignatureError):
        verify(forge_context("zz"), keys)
    host.keys["zz"] = jwk(OTHER, "zz")
    with pytest.raises(errors.InvalidSignatureError):
        verify(make_context(key=OTHER), keys)
    assert verify(make_context(key=OTHER), keys.unthrottled())
    assert verify(make_context(key=OTHER), keys)


def test_the_last_valid_key_is_kept_if_the_host_fails(host: FakeHost, keys: KeyCache, clock: Clock) -> None:
    assert verify(make_context(), keys)
    for error in (connection_failed(), errors.UnknownKeyError("gone")):
        clock.now += COOLDOWN
        host.error = error
        with pytest.raises(errors.InvalidSignatureError):
            verify(forge_context("zz"), keys)
        assert verify(make_context(), keys)
    clock.now += COOLDOWN
    host.error, host.keys["zz"] = None, {**jwk(LONG_TERM, "zz"), "e": "AQ"}
    with pytest.raises(errors.InvalidSignatureError):
        verify(forge_context("zz"), keys)
    assert verify(make_context(), keys)
    assert len(host.requested) == 4


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"kid": "yy"}, errors.UnknownKeyError),
        ({"kty": "EC"}, errors.UnsupportedAlgorithmError),
        ({"e": "AQ"}, errors.UnsupportedAlgorithmError),
        ({"d": "AQAB"}, errors.UnsupportedAlgorithmError),
    ],
)
def test_an_invalid_key_is_rejected_and_not_fetched_again(
    changes: dict[str, str], expected: type[errors.TokenError], host: FakeHost, keys: KeyCache
) -> None:
    host.keys["zz"] |= changes
    with pytest.raises(expected):
        verify(make_context(), keys)
    with pytest.raises(errors.UnknownKeyError, match="less than 30 s ago"):
        verify(make_context(), keys)
    assert host.requested == ["zz"]


def test_a_failing_fetch_function_is_not_called_for_each_token(host: FakeHost, keys: KeyCache) -> None:
    host.error = RuntimeError("a mistake in the fetch")
    with pytest.raises(RuntimeError):
        verify(make_context(), keys)
    for _ in range(100):
        with pytest.raises(errors.UnknownKeyError):
            verify(make_context(), keys)
    assert host.requested == ["zz"]


def test_the_number_of_cached_keys_is_limited(clock: Clock) -> None:
    requested: list[str] = []

    def fetch(kid: str) -> dict[str, str]:
        requested.append(kid)
        return jwk(LONG_TERM, kid)

    keys = KeyCache(fetch, KeyCacheState(clock=clock))
    source = keys.unthrottled()
    for number in range(MAX_KEYS + 1):
        source.get(f"k{number}")
    source.get(f"k{MAX_KEYS}")
    assert len(requested) == MAX_KEYS + 1
    source.get("k0")
    assert requested[-1] == "k0"


def test_pinned_keys_only_fetch_other_keys_from_the_fallback(host: FakeHost, keys: KeyCache) -> None:
    pinned = PinnedKeys([jwk(LONG_TERM, "zz"), jwk(OTHER, "yy")])
    assert verify(make_context(), pinned)
    assert verify(make_context("yy", OTHER), pinned)
    with pytest.raises(errors.InvalidSignatureError):
        verify(make_context(key=OTHER), pinned)
    with pytest.raises(errors.UnknownKeyError):
        verify(make_context("new"), pinned)
    # With a fallback, only the other keys are requested from it.
    both = PinnedKeys([jwk(OTHER, "yy")], keys)
    assert verify(make_context("yy", OTHER), both)
    with pytest.raises(errors.InvalidSignatureError):
        verify(make_context("yy"), both)
    assert host.requested == []
    assert verify(make_context(), both)
    assert host.requested == ["zz"]


@pytest.mark.parametrize(
    "jwks",
    [
        [{"kty": "RSA"}],
        [{**jwk(LONG_TERM, "zz"), "kid": None}],
        [{**jwk(LONG_TERM, "zz"), "kid": "../zz"}],
        [{**jwk(LONG_TERM, "zz"), "d": "AQAB"}],
        [jwk(LONG_TERM, "zz"), jwk(OTHER, "zz")],
    ],
)
def test_invalid_pinned_keys_are_rejected(jwks: list[dict[str, Any]]) -> None:
    with pytest.raises(errors.ConfigurationError):
        PinnedKeys(jwks)


def test_a_rejected_pinned_key_is_not_in_the_variables_of_the_traceback() -> None:
    secret = "c4n4ry-of-a-private-exponent"
    with pytest.raises(errors.ConfigurationError) as caught:
        PinnedKeys([{**jwk(LONG_TERM, "zz"), "d": secret}])
    trace = caught.value.__traceback__
    # The first frame is this test.
    frames = [] if trace is None else [frame for frame, _ in traceback.walk_tb(trace.tb_next)]
    assert frames
    assert all(secret not in repr(frame.f_locals) for frame in frames)


# The key source in docs/trust.md.


def documented_source() -> type[Any]:
    """The class in docs/trust.md that shares keys through Redis."""
    require_module("redis", package="redis", not_tested="keys in Redis")
    page = (ROOT / "docs" / "trust.md").read_text("utf-8")
    blocks = [block for block in re.findall(r"```python\n(.*?)```", page, re.S) if "class RedisKeys" in block]
    assert len(blocks) == 1
    names: dict[str, Any] = {"__name__": "documented"}
    exec(compile(blocks[0], "trust.md", "exec"), names)  # noqa: S102
    return names["RedisKeys"]  # type: ignore[no-any-return]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Callable[[], Any]]:
    """A function that connects to a Redis server that was started for the test."""
    library = require_module("redis", package="redis", not_tested="keys in Redis")
    program = require_program("redis-server", package="redis-server", not_tested="keys in Redis")
    socket = tmp_path / "r.sock"
    command = [program, "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        try:
            assert server.stdout is not None
            for line in server.stdout:
                if "ready to accept" in line.lower():
                    break
            connections: list[Any] = []

            def connect() -> Any:
                once = library.retry.Retry(library.backoff.NoBackoff(), 0)
                connections.append(library.Redis(unix_socket_path=str(socket), retry=once))
                return connections[-1]

            yield connect
            for connection in connections:
                connection.close()
        finally:
            server.terminate()


def test_processes_share_keys_through_redis(host: FakeHost, redis: Callable[[], Any]) -> None:
    shared = documented_source()
    first, second = (shared(redis(), KeyCache(host.fetch)) for _ in range(2))
    assert verify(make_context(), first)
    assert verify(make_context(), second)
    assert host.requested == ["zz"], "the second machine had to ask the host"
    host.keys["zz"] = jwk(OTHER, "zz")
    assert verify(make_context(key=OTHER), second)
    third = shared(redis(), KeyCache(host.fetch))
    assert verify(make_context(key=OTHER), third)
    assert host.requested == ["zz", "zz"]
    for number in range(100):
        with pytest.raises(errors.UnknownKeyError):
            verify(forge_context(f"invented-{number}"), third)
    assert len(host.requested) == 2 + MAX_MISSES


def test_invalid_keys_in_redis_are_ignored(host: FakeHost, redis: Callable[[], Any]) -> None:
    connection = redis()
    keys = documented_source()(connection, KeyCache(host.fetch))
    for invalid in (
        "{",
        "[]",
        json.dumps({**jwk(LONG_TERM, "zz"), "e": "AQ"}),
        json.dumps(jwk(OTHER, "yy")),
        "\ud83d".encode("utf-8", "surrogatepass"),
    ):
        connection.set("flex-key:zz", invalid)
        assert verify(make_context(), keys)


def test_keys_are_available_without_redis(host: FakeHost, redis: Callable[[], Any]) -> None:
    connection = redis()
    keys = documented_source()(connection, KeyCache(host.fetch))
    assert verify(make_context(), keys)
    connection.shutdown(nosave=True)
    assert verify(make_context(), keys)


def test_the_documented_source_is_a_key_source() -> None:
    class Nowhere:
        def get(self, name: str) -> None: ...

        def set(self, name: str, value: str, ex: int) -> None: ...

    keys: KeySource = documented_source()(Nowhere(), PinnedKeys([jwk(LONG_TERM, "zz")]))
    assert isinstance(keys.get("zz"), PublicKey)


UNSAFE_KIDS = [
    *("4111111111111111", "4111-1111-1111-1111", "a/b", "..", "k" * 65, "a\nb", "é", ""),
    *("eyJhbGciOiJub25lIn0.e30.", "AbC1dEf2GhI3jKl4MnO5pQr6StU7vWx8YzA9bCd0"),
]


@pytest.mark.parametrize("source", ["cache", "pinned", "async cache"])
def test_messages_name_a_kid_only_if_it_is_a_safe_id(source: str, host: FakeHost) -> None:
    """An operator needs the kid of a new key. Any other string in its place could be a card number or a secret."""
    lookups: dict[str, Callable[[str], Any]] = {
        "cache": KeyCache(host.fetch).get,
        "pinned": PinnedKeys([jwk(LONG_TERM, "zz")]).get,
        "async cache": lambda kid: asyncio.run(AsyncKeyCache(host.fetch_later).get(kid)),
    }
    for kid in UNSAFE_KIDS:
        for lookup in (lookups[source], lambda kid: verify_capture_context(forge_context(kid), PinnedKeys([]))):
            with pytest.raises(errors.TokenError) as caught:
                lookup(kid)
            assert not kid or kid not in f"{caught.value!r}"
    assert host.requested == []
    if source == "pinned":
        with pytest.raises(errors.UnknownKeyError, match="none of the pinned keys has the kid '3g'"):
            lookups[source]("3g")


def test_messages_about_a_missing_key_name_its_kid(host: FakeHost, keys: KeyCache) -> None:
    with pytest.raises(errors.UnknownKeyError):
        keys.get("3g")
    with pytest.raises(errors.UnknownKeyError, match="the host had no key '3g' less than 30 s ago"):
        keys.get("3g")
    with pytest.raises(
        errors.UnknownKeyError, match="the host returned another key than requested; expected the kid '3g'"
    ):
        KeyCache(lambda kid: jwk(LONG_TERM, "zz")).get("3g")


def test_a_caller_does_not_wait_longer_than_its_deadline(host: FakeHost, keys: KeyCache) -> None:
    host.gate.clear()
    with deadline_after(0.05), pytest.raises(errors.ResponseTimeoutError, match="the public key 'zz' was not fetched"):
        keys.get("zz")
    # The fetch goes on for other callers.
    host.gate.set()
    assert keys.get("zz").kid == "zz"
    assert host.requested == ["zz"]


def test_the_reason_is_given_if_no_thread_can_be_started(
    host: FakeHost, keys: KeyCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(action: object) -> None:
        raise TooManyThreadsError("no more threads")

    monkeypatch.setattr("cybersource_flex.jose.key_cache.start_in_thread", refuse)
    with deadline_after(5), pytest.raises(errors.ConnectionFailedError, match="no more threads") as caught:
        keys.get("zz")
    assert caught.value.outcome == "not_sent"
    monkeypatch.undo()
    assert keys.get("zz").kid == "zz"


# Exceptions of signal handlers, such as KeyboardInterrupt.


_UNPROTECTED = ("with ", "if is_leader and done is not None", "done.set()")


class Interrupted(BaseException):
    pass


def interrupt(call: Callable[[], object], functions: set[CodeType], number: int) -> bool:
    """Call a function, and raise ``Interrupted`` before the given line that it executes in one of ``functions``.

    Lines that enter or leave a ``with`` do not count, because Python does not run signal handlers there. The lines of a
    refresh that report its end do not count either: they cannot be protected. Returns whether there was such a line.
    """
    lines = itertools.count()
    previous = sys.gettrace()

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        if frame.f_code not in functions:
            return None
        source = linecache.getline(frame.f_code.co_filename, frame.f_lineno).lstrip()
        if event == "line" and not source.startswith(_UNPROTECTED) and next(lines) == number:
            raise Interrupted
        return trace

    sys.settrace(trace)
    try:
        call()
    except Interrupted:
        return True
    finally:
        sys.settrace(previous)
    return False


@pytest.mark.parametrize("with_deadline", [False, True])
def test_an_interrupted_fetch_does_not_block_the_next_one(with_deadline: bool, host: FakeHost) -> None:
    functions = {each.__code__ for each in (KeyCache._get, KeyCache._start_fetch, KeyCacheState.start_fetch)}
    functions |= {start_in_thread.__code__}
    number = 0
    while True:
        keys = KeyCache(host.fetch)

        def get(keys: KeyCache = keys) -> object:
            with deadline_after(5.0 if with_deadline else None):
                return keys.get("zz")

        if not interrupt(get, functions, number):
            break
        with deadline_after(5.0):
            assert keys.get("zz").kid == "zz", number
        number += 1
    assert number > 10


def test_an_interrupted_refresh_does_not_block_the_next_one(host: FakeHost) -> None:
    number = 0
    while True:
        keys = KeyCache(host.fetch)
        keys.get("zz")
        if not interrupt(lambda keys=keys: keys.refresh("zz"), {KeyCache._refresh.__code__}, number):  # type: ignore[misc]
            break
        requested = len(host.requested)
        with deadline_after(5.0):
            assert keys.unthrottled().refresh("zz") is not None
        assert len(host.requested) == requested + 1, number
        number += 1
    assert number > 10
