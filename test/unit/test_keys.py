"""Where long-term keys come from: how often the host is asked, by whom, and what becomes of its answers."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from cybersource_flex import errors
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

ROOT = Path(__file__).resolve().parents[2]
NOW = 1_800_000_000
LONG, ONE, OTHER = "flex_longterm", "flex_onetime", "merchant"


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


@cache
def private(name: str) -> rsa.RSAPrivateKey:
    path = ROOT / "test" / "vectors" / "keys" / f"{name}.key.pem"
    loaded = serialization.load_pem_private_key(path.read_bytes(), None)
    assert isinstance(loaded, rsa.RSAPrivateKey)
    return loaded


def jwk(name: str, kid: str) -> dict[str, str]:
    numbers = private(name).public_key().public_numbers()
    return {"kty": "RSA", "use": "enc", "kid": kid, "n": b64(numbers.n.to_bytes(256, "big")), "e": "AQAB"}


def signing_input(kid: str) -> str:
    flx = {"path": "/flex/v2/tokens", "jwk": jwk(ONE, "one")}
    claims = {"flx": flx, "ctx": [{"type": "api-0.1.0"}], "iss": "Flex API", "exp": NOW + 900, "iat": NOW, "jti": "j"}
    return f"{b64(json.dumps({'kid': kid, 'alg': 'RS256'}).encode())}.{b64(json.dumps(claims).encode())}"


def context(kid: str = "zz", key: str = LONG) -> str:
    text = signing_input(kid)
    return f"{text}.{b64(private(key).sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def forged(kid: str) -> str:
    return f"{signing_input(kid)}.{b64(bytes(256))}"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Host:
    """Counts what it is asked for, and answers when it is told to."""

    def __init__(self, **keys: dict[str, str]) -> None:
        self.keys = keys
        self.asked: list[str] = []
        self.down: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()

    def fetch(self, kid: str) -> dict[str, str]:
        self.asked.append(kid)
        assert self.gate.wait(30)
        if self.down is not None:
            raise self.down
        if kid not in self.keys:
            raise errors.UnknownKeyError("the host has no such key")
        return self.keys[kid]

    async def fetch_later(self, kid: str) -> dict[str, str]:
        self.asked.append(kid)
        while not self.gate.is_set():
            await asyncio.sleep(0)
        if self.down is not None:
            raise self.down
        if kid not in self.keys:
            raise errors.UnknownKeyError("the host has no such key")
        return self.keys[kid]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def host() -> Host:
    return Host(zz=jwk(LONG, "zz"))


@pytest.fixture
def keys(host: Host, clock: Clock) -> KeyCache:
    return KeyCache(host.fetch, KeyCacheState(clock=clock))


def verify(token: str, keys: KeySource) -> CaptureContext:
    return verify_capture_context(token, keys, now=NOW)


async def verify_later(token: str, keys: AsyncKeyCache) -> CaptureContext:
    """What an asynchronous client does."""
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


def test_ten_thousand_invented_kids_cost_a_handful_of_fetches(host: Host, keys: KeyCache) -> None:
    for number in range(10_000):
        with pytest.raises(errors.UnknownKeyError):
            verify(forged(f"invented-{number}"), keys)
    assert len(host.asked) == MAX_MISSES


def test_so_they_do_at_the_same_time(host: Host, keys: KeyCache) -> None:
    # Not one after another: each is under way while the next comes.
    host.gate.clear()
    refused = threading.Semaphore(0)

    def attack(number: int) -> None:
        with pytest.raises(errors.UnknownKeyError):
            verify(forged(f"invented-{number}"), keys)
        refused.release()

    with ThreadPoolExecutor(64) as pool:
        attacks = [pool.submit(attack, number) for number in range(640)]
        for _ in range(640 - MAX_MISSES):
            assert refused.acquire(timeout=30)
        host.gate.set()
        for done in attacks:
            done.result()
    assert len(host.asked) == MAX_MISSES


def test_so_they_do_in_tasks(host: Host, clock: Clock) -> None:
    async def main() -> list[Any]:
        keys = AsyncKeyCache(host.fetch_later, KeyCacheState(clock=clock))
        return await asyncio.gather(
            *(verify_later(forged(f"invented-{n}"), keys) for n in range(10_000)), return_exceptions=True
        )

    assert all(type(outcome) is errors.UnknownKeyError for outcome in asyncio.run(main()))
    assert len(host.asked) == MAX_MISSES


def test_sixty_four_threads_share_one_fetch(host: Host, keys: KeyCache) -> None:
    token, together = context(), threading.Barrier(64)

    def user(_: int) -> CaptureContext:
        together.wait(30)
        return verify(token, keys)

    host.gate.clear()
    with ThreadPoolExecutor(64) as pool:
        users = [pool.submit(user, number) for number in range(64)]
        host.gate.set()
        assert len({done.result() for done in users}) == 1
    assert host.asked == ["zz"]


def test_a_thousand_tasks_share_one_fetch(host: Host, clock: Clock) -> None:
    token = context()

    async def main() -> list[CaptureContext]:
        keys = AsyncKeyCache(host.fetch_later, KeyCacheState(clock=clock))
        return await asyncio.gather(*(verify_later(token, keys) for _ in range(1000)))

    assert len(asyncio.run(main())) == 1000
    assert host.asked == ["zz"]


def test_a_cancelled_task_takes_nobodys_key_away(host: Host) -> None:
    host.gate.clear()

    async def main() -> CaptureContext:
        keys = AsyncKeyCache(host.fetch_later)
        first = asyncio.ensure_future(verify_later(context(), keys))
        second = asyncio.ensure_future(verify_later(context(), keys))
        while not host.asked:
            await asyncio.sleep(0)
        first.cancel()
        host.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await first
        return await second

    assert asyncio.run(main()).key.kid == "one"
    assert host.asked == ["zz"]


def test_everyone_who_waited_gets_the_error(host: Host, keys: KeyCache) -> None:
    host.gate.clear()
    host.down = connection_failed()
    with ThreadPoolExecutor(16) as pool:
        users = [pool.submit(verify, context(), keys) for _ in range(16)]
        host.gate.set()
        outcomes = [type(done.exception()) for done in users]
    # Who came after the fetch had failed is told to wait.
    assert {*outcomes} <= {errors.ConnectionFailedError, errors.UnknownKeyError}
    assert errors.ConnectionFailedError in outcomes
    assert host.asked == ["zz"]


def test_an_unknown_kid_is_asked_for_again_after_the_cooldown(host: Host, keys: KeyCache, clock: Clock) -> None:
    for _ in range(3):
        with pytest.raises(errors.UnknownKeyError):
            verify(context("new"), keys)
    assert host.asked == ["new"]
    host.keys["new"] = jwk(LONG, "new")
    clock.now = COOLDOWN - 0.1
    with pytest.raises(errors.UnknownKeyError, match="less than 30 s ago"):
        verify(context("new"), keys)
    clock.now = COOLDOWN
    assert verify(context("new"), keys)
    assert host.asked == ["new", "new"]


def test_a_flood_keeps_no_new_key_out_for_longer_than_the_cooldown(host: Host, keys: KeyCache, clock: Clock) -> None:
    for number in range(100):
        with pytest.raises(errors.UnknownKeyError):
            verify(forged(f"invented-{number}"), keys)
    with pytest.raises(errors.UnknownKeyError, match="too many unknown kids"):
        verify(context(), keys)
    clock.now = COOLDOWN
    assert verify(context(), keys)


def test_a_token_straight_from_the_host_never_waits(host: Host, keys: KeyCache) -> None:
    for number in range(100):
        with pytest.raises(errors.UnknownKeyError):
            verify(forged(f"invented-{number}"), keys)
    assert verify(context(), keys.unthrottled())
    host.keys["new"] = jwk(OTHER, "new")
    assert verify(context("new", OTHER), keys.unthrottled())
    # What came in that way is there for everyone.
    assert verify(context(), keys)
    assert len(host.asked) == MAX_MISSES + 2


def test_a_known_key_costs_a_flood_nothing(host: Host, keys: KeyCache) -> None:
    assert verify(context(), keys)
    for number in range(1000):
        with pytest.raises(errors.UnknownKeyError):
            verify(forged(f"invented-{number}"), keys)
        assert verify(context(), keys)
    assert host.asked.count("zz") == 1


def test_forged_signatures_cost_one_refetch_in_a_cooldown(host: Host, keys: KeyCache, clock: Clock) -> None:
    for window in range(3):
        clock.now = window * COOLDOWN
        for _ in range(1000):
            with pytest.raises(errors.InvalidSignatureError):
                verify(forged("zz"), keys)
    assert len(host.asked) == 1 + 3


def test_another_key_under_the_old_kid_is_fetched_once(host: Host, keys: KeyCache) -> None:
    assert verify(context(), keys)
    host.keys["zz"] = jwk(OTHER, "zz")
    fresh = context(key=OTHER)
    assert verify(fresh, keys)
    assert verify(fresh, keys)
    assert host.asked == ["zz", "zz"]
    with pytest.raises(errors.InvalidSignatureError):
        verify(context(), keys)


def test_everyone_gets_the_new_key_while_it_is_fetched(host: Host, keys: KeyCache) -> None:
    assert verify(context(), keys)
    host.keys["zz"] = jwk(OTHER, "zz")
    host.gate.clear()
    fresh, together = context(key=OTHER), threading.Barrier(33)

    def user(_: int) -> CaptureContext:
        together.wait(30)
        return verify(fresh, keys)

    with ThreadPoolExecutor(32) as pool:
        users = [pool.submit(user, number) for number in range(32)]
        together.wait(30)
        host.gate.set()
        assert all(done.result() for done in users)
    assert host.asked == ["zz", "zz"]


def test_every_task_gets_the_new_key_while_it_is_fetched(host: Host) -> None:
    async def main() -> None:
        keys = AsyncKeyCache(host.fetch_later)
        await verify_later(context(), keys)
        host.keys["zz"] = jwk(OTHER, "zz")
        await asyncio.gather(*(verify_later(context(key=OTHER), keys) for _ in range(100)))

    asyncio.run(main())
    assert host.asked == ["zz", "zz"]


def test_a_flood_of_forged_signatures_keeps_no_new_key_from_the_hosts_own_tokens(host: Host, keys: KeyCache) -> None:
    assert verify(context(), keys)
    with pytest.raises(errors.InvalidSignatureError):
        verify(forged("zz"), keys)
    host.keys["zz"] = jwk(OTHER, "zz")
    with pytest.raises(errors.InvalidSignatureError):
        verify(context(key=OTHER), keys)
    assert verify(context(key=OTHER), keys.unthrottled())
    assert verify(context(key=OTHER), keys)


def test_the_last_good_key_outlives_the_host(host: Host, keys: KeyCache, clock: Clock) -> None:
    assert verify(context(), keys)
    for answer in (connection_failed(), errors.UnknownKeyError("gone")):
        clock.now += COOLDOWN
        host.down = answer
        with pytest.raises(errors.InvalidSignatureError):
            verify(forged("zz"), keys)
        assert verify(context(), keys)
    clock.now += COOLDOWN
    host.down, host.keys["zz"] = None, {**jwk(LONG, "zz"), "e": "AQ"}
    with pytest.raises(errors.InvalidSignatureError):
        verify(forged("zz"), keys)
    assert verify(context(), keys)
    assert len(host.asked) == 4


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"kid": "yy"}, errors.UnknownKeyError),
        ({"kty": "EC"}, errors.UnsupportedAlgorithmError),
        ({"e": "AQ"}, errors.UnsupportedAlgorithmError),
        ({"d": "AQAB"}, errors.UnsupportedAlgorithmError),
    ],
)
def test_what_the_host_answers_is_checked_and_not_asked_for_again(
    answer: dict[str, str], expected: type[errors.TokenError], host: Host, keys: KeyCache
) -> None:
    host.keys["zz"] |= answer
    with pytest.raises(expected):
        verify(context(), keys)
    with pytest.raises(errors.UnknownKeyError, match="less than 30 s ago"):
        verify(context(), keys)
    assert host.asked == ["zz"]


def test_a_fetch_that_breaks_is_not_tried_for_each_token(host: Host, keys: KeyCache) -> None:
    host.down = RuntimeError("a mistake in the fetch")
    with pytest.raises(RuntimeError):
        verify(context(), keys)
    for _ in range(100):
        with pytest.raises(errors.UnknownKeyError):
            verify(context(), keys)
    assert host.asked == ["zz"]


def test_a_cache_does_not_grow_without_end(clock: Clock) -> None:
    asked: list[str] = []

    def fetch(kid: str) -> dict[str, str]:
        asked.append(kid)
        return jwk(LONG, kid)

    keys = KeyCache(fetch, KeyCacheState(clock=clock))
    source = keys.unthrottled()
    for number in range(MAX_KEYS + 1):
        source.get(f"k{number}")
    source.get(f"k{MAX_KEYS}")
    assert len(asked) == MAX_KEYS + 1
    source.get("k0")
    assert asked[-1] == "k0"


def test_pinned_keys_ask_nobody(host: Host, keys: KeyCache) -> None:
    pinned = PinnedKeys([jwk(LONG, "zz"), jwk(OTHER, "yy")])
    assert verify(context(), pinned)
    assert verify(context("yy", OTHER), pinned)
    with pytest.raises(errors.InvalidSignatureError):
        verify(context(key=OTHER), pinned)
    with pytest.raises(errors.UnknownKeyError):
        verify(context("new"), pinned)
    # With a source behind them, it is asked for the others alone.
    both = PinnedKeys([jwk(OTHER, "yy")], keys)
    assert verify(context("yy", OTHER), both)
    with pytest.raises(errors.InvalidSignatureError):
        verify(context("yy"), both)
    assert host.asked == []
    assert verify(context(), both)
    assert host.asked == ["zz"]


@pytest.mark.parametrize(
    "jwks",
    [
        [{"kty": "RSA"}],
        [{**jwk(LONG, "zz"), "kid": None}],
        [{**jwk(LONG, "zz"), "kid": "../zz"}],
        [{**jwk(LONG, "zz"), "d": "AQAB"}],
        [jwk(LONG, "zz"), jwk(OTHER, "zz")],
    ],
)
def test_a_pin_that_cannot_be_used_is_refused_at_once(jwks: list[dict[str, Any]]) -> None:
    with pytest.raises(errors.ConfigurationError):
        PinnedKeys(jwks)


# The key source that the pages show.


def documented_source() -> type[Any]:
    """The class in docs/trust.md that shares keys through Redis, as it stands there."""
    pytest.importorskip("redis", reason="NOT TESTED with Redis: no package redis")
    text = (ROOT / "docs" / "trust.md").read_text("utf-8")
    blocks = [block for block in re.findall(r"```python\n(.*?)```", text, re.S) if "class RedisKeys" in block]
    assert len(blocks) == 1
    names: dict[str, Any] = {"__name__": "documented"}
    exec(compile(blocks[0], "trust.md", "exec"), names)  # noqa: S102
    return names["RedisKeys"]  # type: ignore[no-any-return]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Callable[[], Any]]:
    """Connections to a server of the test's own, on a socket that nothing else knows."""
    library = pytest.importorskip("redis", reason="NOT TESTED with Redis: no package redis")
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("NOT TESTED with Redis: no redis-server on PATH")
    socket = tmp_path / "r.sock"
    command = [program, "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        try:
            assert server.stdout is not None
            for line in server.stdout:
                if "ready to accept" in line.lower():
                    break
            made: list[Any] = []

            def connect() -> Any:
                once = library.retry.Retry(library.backoff.NoBackoff(), 0)
                made.append(library.Redis(unix_socket_path=str(socket), retry=once))
                return made[-1]

            yield connect
            for connection in made:
                connection.close()
        finally:
            server.terminate()


def test_a_fleet_shares_keys_through_redis(host: Host, redis: Callable[[], Any]) -> None:
    shared = documented_source()
    first, second = (shared(redis(), KeyCache(host.fetch)) for _ in range(2))
    assert verify(context(), first)
    assert verify(context(), second)
    assert host.asked == ["zz"], "the second machine had to ask the host"
    host.keys["zz"] = jwk(OTHER, "zz")
    assert verify(context(key=OTHER), second)
    third = shared(redis(), KeyCache(host.fetch))
    assert verify(context(key=OTHER), third)
    assert host.asked == ["zz", "zz"]
    for number in range(100):
        with pytest.raises(errors.UnknownKeyError):
            verify(forged(f"invented-{number}"), third)
    assert len(host.asked) == 2 + MAX_MISSES


def test_a_store_that_was_tampered_with_weakens_no_check(host: Host, redis: Callable[[], Any]) -> None:
    connection = redis()
    keys = documented_source()(connection, KeyCache(host.fetch))
    for bad in (
        "{",
        "[]",
        json.dumps({**jwk(LONG, "zz"), "e": "AQ"}),
        json.dumps(jwk(OTHER, "yy")),
        "\ud83d".encode("utf-8", "surrogatepass"),
    ):
        connection.set("flex-key:zz", bad)
        assert verify(context(), keys)


def test_keys_outlive_redis(host: Host, redis: Callable[[], Any]) -> None:
    connection = redis()
    keys = documented_source()(connection, KeyCache(host.fetch))
    assert verify(context(), keys)
    connection.shutdown(nosave=True)
    assert verify(context(), keys)


def test_the_documented_source_is_a_key_source() -> None:
    class Nowhere:
        def get(self, name: str) -> None: ...

        def set(self, name: str, value: str, ex: int) -> None: ...

    keys: KeySource = documented_source()(Nowhere(), PinnedKeys([jwk(LONG, "zz")]))
    assert isinstance(keys.get("zz"), PublicKey)
