"""``KeyCache``, an in-memory cache of long-term public keys, and ``PinnedKeys``, a fixed set of keys.

An attacker can send forged tokens with any ``kid``. Two limits protect the host from the resulting requests: an unknown
``kid`` is not requested again during the cooldown, and at most ``MAX_MISSES`` unknown kids are requested per cooldown.
Tokens that came directly from the host are exempt from both limits, so that a flood of forged tokens cannot delay the
fetch of a new key.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from math import inf
from typing import Any, Final

from .._callables import check_function, check_result
from .._runtime.deadline import remaining, without_deadline
from .._runtime.lock import ForkSafeLock
from .._runtime.monotonic import monotonic
from .._runtime.threads import TooManyThreadsError, start_in_thread
from .._runtime.tracebacks import clear_locals_on_error
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
from .keys import KeySource, PublicKey, check_key_source, check_kid

__all__ = ["KeyCache", "KeyCacheState", "PinnedKeys"]

COOLDOWN: Final = 30.0
# Maximum number of unknown key ids that are requested per cooldown. CyberSource has published only a few keys so far.
MAX_MISSES: Final = 8
MAX_KEYS: Final = 64


class KeyCacheState:
    """The cached keys, and the rules that decide whether a key may be fetched. No I/O.

    Not thread-safe: the caller holds a lock around each call.

    Args:
        cooldown: seconds for which an unknown key id is not requested again.
        max_misses: how many unknown key ids may be requested per cooldown.
        clock: function that returns the time of a monotonic clock in seconds.
    """

    def __init__(
        self, *, cooldown: float = COOLDOWN, max_misses: int = MAX_MISSES, clock: Callable[[], float] = monotonic
    ) -> None:
        self._cooldown = cooldown
        self._max_misses = max_misses
        self._clock = clock
        self._keys: dict[str, PublicKey] = {}
        # The time until which an unknown key id is not requested again. Infinite while the key is being fetched.
        self._blocked_until: dict[str, float] = {}
        self._refreshed: dict[str, float] = {}

    def get(self, kid: str) -> PublicKey | None:
        """The cached key, or None."""
        return self._keys.get(kid)

    def start_fetch(self, kid: str, *, unthrottled: bool) -> None:
        """Record the start of a fetch. When the fetch ends, call ``store``, ``record_miss`` or ``cancel_fetch``.

        Raises:
            UnknownKeyError: this key id may not be requested until the cooldown has passed.
        """
        if unthrottled:
            return
        now = self._clock()
        self._blocked_until = {name: until for name, until in self._blocked_until.items() if until > now}
        if kid in self._blocked_until:
            raise UnknownKeyError(
                f"the host had no key {kid!r} less than {self._cooldown:g} s ago; the key was not fetched again"
            )
        if len(self._blocked_until) >= self._max_misses:
            raise UnknownKeyError(
                f"the key {kid!r} was not fetched: too many unknown kids in {self._cooldown:g} s; try again later"
            )
        self._blocked_until[kid] = inf

    def start_refresh(self, kid: str, *, unthrottled: bool) -> bool:
        """Record the start of a refresh, and return True. Return False if the key was refreshed during the cooldown."""
        now = self._clock()
        last = self._refreshed.get(kid)
        if not unthrottled and last is not None and now - last < self._cooldown:
            return False
        self._refreshed[kid] = now
        return True

    def store(self, kid: str, jwk: Mapping[str, Any]) -> PublicKey:
        """Store the key that the host returned.

        Raises:
            UnknownKeyError: the JWK has a different ``kid``.
            UnsupportedAlgorithmError: the JWK is not an acceptable key. See ``PublicKey``.
        """
        key = PublicKey(jwk, f"public key {kid!r}")
        if key.kid is not None and key.kid != kid:
            raise UnknownKeyError(f"the host returned another key than requested; expected the kid {kid!r}")
        self._blocked_until.pop(kid, None)
        self._keys.pop(kid, None)
        self._keys[kid] = key
        while len(self._keys) > MAX_KEYS:
            oldest = next(iter(self._keys))
            del self._keys[oldest]
            self._refreshed.pop(oldest, None)
        return key

    def record_miss(self, kid: str) -> None:
        """Record that the host has no key for this key id. Misses of unthrottled fetches do not count."""
        if self._blocked_until.get(kid) == inf:
            self._blocked_until[kid] = self._clock() + self._cooldown

    def cancel_fetch(self, kid: str) -> None:
        """Discard the record of a fetch that was not sent, or for whose response no caller waits."""
        # If the fetch was unthrottled, there can be an earlier miss, which still counts.
        if self._blocked_until.get(kid) == inf:
            del self._blocked_until[kid]

    def clear_in_flight(self) -> None:
        """Discard the records of all fetches in progress, because the threads that ran them no longer exist."""
        self._blocked_until = {name: until for name, until in self._blocked_until.items() if until != inf}


class KeyCache:
    """A thread-safe ``KeySource`` that caches the host's keys. Callers that need the same key share one fetch.

    Args:
        fetch: function that takes a key id and fetches the JWK with this id from the host. Raises ``UnknownKeyError``
            if the host has no such key. Pass an async function to ``AsyncKeyCache`` instead.
        state: the cached keys and the rules for fetching. None creates an empty cache.

    Raises:
        ConfigurationError: ``fetch`` is not a function, or is an async function.
    """

    def __init__(self, fetch: Callable[[str], Mapping[str, Any]], state: KeyCacheState | None = None) -> None:
        check_function("fetch", fetch, "a function from a kid to a JWK (AsyncKeyCache takes an async one)")
        self._fetch = fetch
        self._state = KeyCacheState() if state is None else state
        self._lock = ForkSafeLock()
        self._process = os.getpid()
        self._fetches: dict[str, _InFlight] = {}
        self._refreshes: dict[str, threading.Event] = {}

    def get(self, kid: str) -> PublicKey:
        """Return the key with this id. If a fetch fails, all callers that wait for it get the error."""
        return self._get(kid, unthrottled=False)

    def unthrottled(self) -> KeySource:
        """Return a view of this cache that has no limits on fetching, for tokens that came directly from the host.

        An attacker cannot choose the key ids of these tokens.
        """
        return _Unthrottled(self)

    def _get(self, kid: str, *, unthrottled: bool) -> PublicKey:
        # The ids of cached keys were checked before, so only other ids are checked here.
        key = self._state.get(kid) if isinstance(kid, str) else None
        if key is not None:
            return key
        check_kid(kid)
        is_leader = False
        in_flight: _InFlight | None = None
        try:
            with self._lock:
                self._notice_fork()
                key = self._state.get(kid)
                if key is not None:
                    return key
                in_flight = self._fetches.get(kid)
                is_leader = in_flight is None
                if in_flight is None:
                    self._state.start_fetch(kid, unthrottled=unthrottled)
                    in_flight = self._fetches[kid] = _InFlight()
            if is_leader and remaining() is None:
                self._fetch_key(kid, in_flight)
            elif is_leader:
                self._start_fetch(kid, in_flight)
        except BaseException as cause:
            # An exception of a signal handler can be raised anywhere. Without this, the next callers would wait for a
            # fetch that never ends.
            if is_leader:
                self._abandon_fetch(kid, in_flight, cause)
            raise
        return in_flight.result(kid)

    def _start_fetch(self, kid: str, in_flight: _InFlight) -> None:
        # The fetch runs in a separate thread, because other callers wait for the same key, and the deadline of this
        # caller does not apply to them.
        try:
            start_in_thread(lambda: self._fetch_for_waiters(kid, in_flight))
        except TooManyThreadsError as cause:
            with self._lock:
                self._state.cancel_fetch(kid)
            self._finish(kid, in_flight, _no_thread(cause))

    def _abandon_fetch(self, kid: str, in_flight: _InFlight | None, error: BaseException) -> None:
        if in_flight is not None and in_flight.done.is_set():
            return
        with self._lock:
            self._state.cancel_fetch(kid)
        if in_flight is not None:
            self._finish(kid, in_flight, error)

    def refresh(self, kid: str) -> PublicKey | None:
        """Fetch the key again, at most once per cooldown. Returns the cached key if the fetch fails."""
        return self._refresh(kid, unthrottled=False)

    def _refresh(self, kid: str, *, unthrottled: bool) -> PublicKey | None:
        check_kid(kid)
        done: threading.Event | None = None
        is_leader = False
        try:
            with self._lock:
                self._notice_fork()
                done = self._refreshes.get(kid)
                if done is None or done.is_set():
                    if not self._state.start_refresh(kid, unthrottled=unthrottled):
                        # Another caller may have refreshed the key since this caller read it.
                        return self._state.get(kid)
                    is_leader = True
                    done = self._refreshes[kid] = threading.Event()
            if not is_leader:
                done.wait(remaining())
                return self._state.get(kid)
            jwk = check_result("fetch", self._fetch(kid))
            with self._lock:
                return self._state.store(kid, jwk)
        except (CallError, TokenError):
            return self._state.get(kid)
        finally:
            if is_leader and done is not None:
                # First of all, because an exception of a signal handler could prevent the rest.
                done.set()
                with self._lock:
                    if self._refreshes.get(kid) is done:
                        del self._refreshes[kid]

    def _notice_fork(self) -> None:
        # After a fork, the threads of the parent process do not exist in the child: their fetches would never end.
        if self._process != os.getpid():
            self._process = os.getpid()
            self._fetches = {}
            self._refreshes = {}
            self._state.clear_in_flight()

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
        # The error is not lost: `result` raises it in every caller that waits.
        with suppress(BaseException), without_deadline():
            self._fetch_key(kid, in_flight)


class _Unthrottled:
    """See ``KeyCache.unthrottled``."""

    __slots__ = ("_keys",)

    def __init__(self, keys: KeyCache) -> None:
        self._keys = keys

    def get(self, kid: str) -> PublicKey:
        return self._keys._get(kid, unthrottled=True)

    def refresh(self, kid: str) -> PublicKey | None:
        return self._keys._refresh(kid, unthrottled=True)


def key_timeout_error(kid: str) -> ResponseTimeoutError:
    """Return the exception for a key that was not fetched before the deadline of the caller."""
    return ResponseTimeoutError(
        f"the public key {kid!r} was not fetched before the deadline of the call",
        method="GET",
        path="/flex/v2/public-keys/{kid}",
        outcome="unknown",
        retry_safe=True,
    )


def _no_thread(cause: TooManyThreadsError) -> ConnectionFailedError:
    return ConnectionFailedError(
        f"no thread could be started to fetch a public key: {cause}",
        method="GET",
        path="/flex/v2/public-keys/{kid}",
        outcome="not_sent",
        retry_safe=True,
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
            raise key_timeout_error(kid)
        if self.key is not None:
            return self.key
        if isinstance(self.error, FlexError):
            # A separate exception for each caller: raising one in several threads mixes their tracebacks.
            raise clone(self.error)
        if isinstance(self.error, Exception):
            raise self.error
        # An exception that ends a thread, such as KeyboardInterrupt, is raised only in the thread that fetched the key.
        raise UnknownKeyError(f"the public key {kid!r} was not fetched: the thread that fetched it was interrupted")


@clear_locals_on_error
class PinnedKeys:
    """A ``KeySource`` with a fixed set of keys, for programs that cannot reach the host or must not trust it for keys.

    Args:
        jwks: the keys as JWKs with a ``kid``, as ``GET /flex/v2/public-keys/{kid}`` returns them.
        fallback: where to look up key ids that are not pinned. None rejects tokens with such ids.

    Raises:
        ConfigurationError: a key is not acceptable or has no ``kid``, two keys have the same ``kid``, or ``fallback``
            is not a ``KeySource``.
    """

    def __init__(self, jwks: Iterable[Mapping[str, Any]], fallback: KeySource | None = None) -> None:
        self._keys: dict[str, PublicKey] = {}
        if fallback is not None:
            check_key_source("fallback", fallback)
        self._fallback = fallback
        if isinstance(jwks, (str, bytes, Mapping)) or not isinstance(jwks, Iterable):
            raise ConfigurationError(f"jwks must be a list of JWKs, not an object of type {type(jwks).__name__}")
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
        key = self._keys.get(kid) if isinstance(kid, str) else None
        if key is not None:
            return key
        check_kid(kid)
        if self._fallback is None:
            raise UnknownKeyError(f"none of the pinned keys has the kid {kid!r}")
        return self._fallback.get(kid)

    def refresh(self, kid: str) -> PublicKey | None:
        """See ``KeySource``. A pinned key is never fetched again."""
        if check_kid(kid) in self._keys or self._fallback is None:
            return None
        return self._fallback.refresh(kid)
