"""In-memory cache of long-term public keys. Concurrent requests for a key share one fetch.

The sender of a token chooses its ``kid``, and it may be forged. Two limits protect the host: an unknown ``kid`` is not
requested again during the cooldown, and only ``MAX_MISSES`` unknown ones are requested within it. Tokens that came
directly from the host are exempt from both limits: a flood of forged tokens must not keep a rotated key out.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from math import inf
from typing import Any, Final

from .._callables import check_function, check_result
from .._deadline import remaining, without_deadline
from .._lock import Lock
from .._threads import TooManyThreadsError, start_in_thread
from ..errors import (
    CallError,
    ConfigurationError,
    ConnectionFailedError,
    FlexError,
    ResponseTimeoutError,
    TokenError,
    UnknownKeyError,
    UnsupportedAlgorithmError,
    clone,
)
from .keys import KeySource, PublicKey, check_kid, check_source

__all__ = ["KeyCache", "KeyCacheState", "PinnedKeys"]

COOLDOWN: Final = 30.0
# Unknown key ids that are requested within the cooldown. CyberSource has published only a handful of keys so far.
MAX_MISSES: Final = 8
MAX_KEYS: Final = 64


class KeyCacheState:
    """The cached keys, and the rules for which keys may be fetched. No I/O.

    Not thread-safe: the caller holds a lock around each call.

    Args:
        cooldown: seconds for which an unknown key id is not requested again.
        max_misses: how many unknown key ids may be requested within that time.
        clock: seconds, monotonic.
    """

    def __init__(
        self, *, cooldown: float = COOLDOWN, max_misses: int = MAX_MISSES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._cooldown = cooldown
        self._max_misses = max_misses
        self._clock = clock
        self._keys: dict[str, PublicKey] = {}
        # Unknown key ids that were requested, each with the time at which it expires: infinite during the request.
        self._asked: dict[str, float] = {}
        self._refreshed: dict[str, float] = {}

    def get(self, kid: str) -> PublicKey | None:
        """The cached key, or None."""
        return self._keys.get(kid)

    def check_allowed(self, kid: str, *, from_host: bool) -> None:
        """Check that this key id may be requested now. The caller then calls ``store`` or ``record_miss``.

        Raises:
            UnknownKeyError: it may not be requested before the cooldown has passed.
        """
        if from_host:
            return
        now = self._clock()
        self._asked = {name: until for name, until in self._asked.items() if until > now}
        if kid in self._asked:
            raise UnknownKeyError(f"the host gave no key for this kid less than {self._cooldown:g} s ago")
        if len(self._asked) >= self._max_misses:
            raise UnknownKeyError(
                f"too many unknown kids in the last {self._cooldown:g} s; no other is asked for until that has passed"
            )
        self._asked[kid] = inf

    def check_refresh(self, kid: str, *, from_host: bool) -> bool:
        """Whether a cached key may be fetched again now: once per cooldown for each key id."""
        now = self._clock()
        last = self._refreshed.get(kid)
        if not from_host and last is not None and now - last < self._cooldown:
            return False
        self._refreshed[kid] = now
        return True

    def store(self, kid: str, jwk: Mapping[str, Any]) -> PublicKey:
        """Store the key that the host returned.

        Raises:
            UnknownKeyError: the JWK has another ``kid``.
            UnsupportedAlgorithmError: it is not an RSA key of an acceptable size.
        """
        key = PublicKey(jwk, f"public key {kid!r}")
        if key.kid is not None and key.kid != kid:
            raise UnknownKeyError(f"the host answered with another key than {kid!r}")
        self._asked.pop(kid, None)
        self._keys.pop(kid, None)
        self._keys[kid] = key
        while len(self._keys) > MAX_KEYS:
            oldest = next(iter(self._keys))
            del self._keys[oldest]
            self._refreshed.pop(oldest, None)
        return key

    def record_miss(self, kid: str) -> None:
        """Record that the host has no key for this key id."""
        if kid in self._asked:
            self._asked[kid] = self._clock() + self._cooldown

    def withdraw(self, kid: str) -> None:
        """Discard the record of a request: the host was not asked, or its response was not awaited."""
        self._asked.pop(kid, None)

    def give_up(self) -> None:
        """Discard the records of requests in progress, whose callers no longer exist."""
        self._asked = {name: until for name, until in self._asked.items() if until != inf}


class KeyCache:
    """A thread-safe ``KeySource`` that caches the host's keys. Concurrent callers wait for one fetch for each key id.

    Args:
        fetch: returns the JWK for a key id from the host, or raises ``UnknownKeyError`` if the host has none. Not an
            async function: ``AsyncKeyCache`` takes those.
        state: the cached keys and the rules for fetching; by default a new one.

    Raises:
        ConfigurationError: ``fetch`` is not a function, or an async one.
    """

    def __init__(self, fetch: Callable[[str], Mapping[str, Any]], state: KeyCacheState | None = None) -> None:
        check_function("fetch", fetch, "a function from a kid to a JWK (AsyncKeyCache takes an async one)")
        self._fetch = fetch
        self._state = KeyCacheState() if state is None else state
        self._lock = Lock()
        self._process = os.getpid()
        self._fetches: dict[str, _InFlight] = {}
        self._refreshes: dict[str, threading.Event] = {}

    def get(self, kid: str) -> PublicKey:
        """Return the key with this id. See ``KeySource``. Every caller that waited receives the errors of the fetch."""
        return self._get(kid, from_host=False)

    def unthrottled(self) -> KeySource:
        """The same cache without limits on fetching, for tokens that came directly from the host.

        An attacker cannot choose the key ids of such tokens.
        """
        return _FromHost(self)

    def _get(self, kid: str, *, from_host: bool) -> PublicKey:
        key = self._state.get(kid)
        if key is not None:
            return key
        with self._lock:
            self._notice_fork()
            key = self._state.get(kid)
            if key is not None:
                return key
            in_flight = self._fetches.get(kid)
            is_leader = in_flight is None
            if in_flight is None:
                self._state.check_allowed(kid, from_host=from_host)
                in_flight = self._fetches[kid] = _InFlight()
        if is_leader and remaining() is None:
            self._fetch_key(kid, in_flight)
        elif is_leader:
            # In a separate thread: this deadline does not apply to the other callers that wait for the key.
            try:
                start_in_thread(lambda: self._fetch_for_waiters(kid, in_flight))
            except TooManyThreadsError as cause:
                with self._lock:
                    self._state.withdraw(kid)
                self._finish(kid, in_flight, _no_thread(cause))
        return in_flight.result(kid)

    def refresh(self, kid: str) -> PublicKey | None:
        """Fetch the key again, at most once per cooldown. The cached key stays if the host cannot be reached."""
        return self._refresh(kid, from_host=False)

    def _refresh(self, kid: str, *, from_host: bool) -> PublicKey | None:
        with self._lock:
            self._notice_fork()
            done = self._refreshes.get(kid)
            is_leader = done is None
            if done is None:
                if not self._state.check_refresh(kid, from_host=from_host):
                    # Another caller may have fetched it since.
                    return self._state.get(kid)
                done = self._refreshes[kid] = threading.Event()
        if not is_leader:
            done.wait(remaining())
            return self._state.get(kid)
        try:
            jwk = check_result("fetch", self._fetch(kid))
            with self._lock:
                return self._state.store(kid, jwk)
        except (CallError, TokenError):
            return self._state.get(kid)
        finally:
            with self._lock:
                del self._refreshes[kid]
            done.set()

    def _notice_fork(self) -> None:
        # The threads that were fetching when this process was forked do not exist in it: their fetches would never end.
        if self._process != os.getpid():
            self._process = os.getpid()
            self._fetches = {}
            self._refreshes = {}
            self._state.give_up()

    def _fetch_key(self, kid: str, in_flight: _InFlight) -> None:
        try:
            jwk = check_result("fetch", self._fetch(kid))
            with self._lock:
                in_flight.key = self._state.store(kid, jwk)
        except BaseException as cause:
            with self._lock:
                self._state.record_miss(kid)
            self._finish(kid, in_flight, cause)
            raise
        self._finish(kid, in_flight, None)

    def _finish(self, kid: str, in_flight: _InFlight, error: BaseException | None) -> None:
        in_flight.error = error
        with self._lock:
            if self._fetches.get(kid) is in_flight:
                del self._fetches[kid]
        in_flight.done.set()

    def _fetch_for_waiters(self, kid: str, in_flight: _InFlight) -> None:
        # Every waiting caller raises the error.
        with suppress(BaseException), without_deadline():
            self._fetch_key(kid, in_flight)


class _FromHost:
    """See ``KeyCache.unthrottled``."""

    __slots__ = ("_keys",)

    def __init__(self, keys: KeyCache) -> None:
        self._keys = keys

    def get(self, kid: str) -> PublicKey:
        return self._keys._get(kid, from_host=True)

    def refresh(self, kid: str) -> PublicKey | None:
        return self._keys._refresh(kid, from_host=True)


def key_not_in_time(kid: str) -> ResponseTimeoutError:
    """The exception for a key that was not fetched before the deadline of a caller."""
    return ResponseTimeoutError(
        f"the public key {kid!r} was not fetched before the deadline of the call",
        method="GET",
        path="/flex/v2/public-keys/{kid}",
        outcome="unknown",
        repeatable=True,
    )


def _no_thread(cause: TooManyThreadsError) -> ConnectionFailedError:
    return ConnectionFailedError(
        f"no thread could be started to fetch a public key in: {cause}",
        method="GET",
        path="/flex/v2/public-keys/{kid}",
        outcome="not_sent",
        repeatable=True,
    )


class _InFlight:
    """A fetch in progress and its result, which all waiting callers share."""

    __slots__ = ("done", "error", "key")

    def __init__(self) -> None:
        self.done = threading.Event()
        self.key: PublicKey | None = None
        self.error: BaseException | None = None

    def result(self, kid: str) -> PublicKey:
        if not self.done.wait(remaining()):
            raise key_not_in_time(kid)
        if self.key is not None:
            return self.key
        if isinstance(self.error, FlexError):
            # A separate exception for each caller: raising one in several threads mixes their tracebacks.
            raise clone(self.error)
        if isinstance(self.error, Exception):
            raise self.error
        # An exception that ends a thread, such as KeyboardInterrupt, is raised in that thread only.
        raise UnknownKeyError("the fetch of this key was given up by the thread that made it")


class PinnedKeys:
    """A ``KeySource`` with a fixed set of keys, for programs that cannot reach the host or must not trust it for keys.

    Args:
        jwks: the keys, each with its ``kid``, as ``GET /flex/v2/public-keys/{kid}`` returns them.
        fallback: the ``KeySource`` for key ids that are not pinned; None rejects them.

    Raises:
        ConfigurationError: a key is not acceptable, has no ``kid``, or two have the same; or ``fallback`` is not a
            ``KeySource``.
    """

    def __init__(self, jwks: Iterable[Mapping[str, Any]], fallback: KeySource | None = None) -> None:
        self._keys: dict[str, PublicKey] = {}
        if fallback is not None:
            check_source("fallback", fallback)
        self._fallback = fallback
        for jwk in jwks:
            try:
                key = PublicKey(jwk, "pinned key")
                kid = check_kid(key.kid or "")
            except (UnsupportedAlgorithmError, UnknownKeyError) as cause:
                raise ConfigurationError(f"a pinned key cannot be used: {cause}") from None
            if kid in self._keys:
                raise ConfigurationError(f"two pinned keys have the kid {kid!r}")
            self._keys[kid] = key

    def get(self, kid: str) -> PublicKey:
        """See ``KeySource``."""
        key = self._keys.get(kid)
        if key is not None:
            return key
        if self._fallback is None:
            raise UnknownKeyError("none of the pinned keys has the kid of this token")
        return self._fallback.get(kid)

    def refresh(self, kid: str) -> PublicKey | None:
        """See ``KeySource``. A pinned key is never fetched again."""
        if kid in self._keys or self._fallback is None:
            return None
        return self._fallback.refresh(kid)
