"""Long-term keys in memory: each fetched once, however many ask, and invented names cost next to nothing.

The ``kid`` of a token is written by whoever made the token. So a name that the host does not know is not asked for
again for a while, and only so many unknown names are asked for at all in that time. Names in tokens that came straight
from the host are exempt from both: a flood of forged tokens must not keep a rotated key out.
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
# Unknown names asked for within the cooldown. CyberSource has had a handful of keys in all its years.
MAX_MISSES: Final = 8
MAX_KEYS: Final = 64


class KeyCacheState:
    """What is known and what may be asked for: every decision of the cache, and no waiting. Not safe in threads by
    itself; whoever waits (in threads, in tasks) holds a lock around each call.

    Args:
        cooldown: seconds for which an unknown name is not asked for again.
        max_misses: how many unknown names may be asked for within that time.
        clock: seconds, monotonic.
    """

    def __init__(
        self, *, cooldown: float = COOLDOWN, max_misses: int = MAX_MISSES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._cooldown = cooldown
        self._max_misses = max_misses
        self._clock = clock
        self._keys: dict[str, PublicKey] = {}
        # Unknown names that were asked for, and until when they count; while the host is being asked, without end.
        self._asked: dict[str, float] = {}
        self._refreshed: dict[str, float] = {}

    def known(self, kid: str) -> PublicKey | None:
        """The key, if it is here."""
        return self._keys.get(kid)

    def check_allowed(self, kid: str, *, from_host: bool) -> None:
        """Whether the host may be asked for this name now. Where it may, ``store`` or ``missed`` is to follow.

        Raises:
            UnknownKeyError: not for a while.
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
        """Whether a key that is here may be fetched once more now: once in a cooldown for each name."""
        now = self._clock()
        last = self._refreshed.get(kid)
        if not from_host and last is not None and now - last < self._cooldown:
            return False
        self._refreshed[kid] = now
        return True

    def store(self, kid: str, jwk: Mapping[str, Any]) -> PublicKey:
        """Keep what the host answered.

        Raises:
            UnknownKeyError: it is another key's.
            UnsupportedAlgorithmError: it is not an RSA key of an acceptable size.
        """
        found = PublicKey(jwk, f"public key {kid!r}")
        if found.kid is not None and found.kid != kid:
            raise UnknownKeyError(f"the host answered with another key than {kid!r}")
        self._asked.pop(kid, None)
        self._keys.pop(kid, None)
        self._keys[kid] = found
        while len(self._keys) > MAX_KEYS:
            oldest = next(iter(self._keys))
            del self._keys[oldest]
            self._refreshed.pop(oldest, None)
        return found

    def missed(self, kid: str) -> None:
        """Remember that asking for this name came to nothing."""
        if kid in self._asked:
            self._asked[kid] = self._clock() + self._cooldown

    def withdraw(self, kid: str) -> None:
        """Forget that a name was asked for: the host was not asked, or its response was not waited for."""
        self._asked.pop(kid, None)

    def give_up(self) -> None:
        """Forget what is being asked for: nobody waits for it any more."""
        self._asked = {name: until for name, until in self._asked.items() if until != inf}


class KeyCache:
    """A ``KeySource`` over a host, safe in threads: one fetch under way for a name, whoever else asks waits for it.

    Args:
        fetch: brings the JWK for a name from the host, or raises ``UnknownKeyError`` where the host has none. Not an
            async function: that is for ``AsyncKeyCache``.
        shelf: what is known and allowed; made with its defaults where left out.

    Raises:
        ConfigurationError: ``fetch`` is not a function, or an async one.
    """

    def __init__(self, fetch: Callable[[str], Mapping[str, Any]], shelf: KeyCacheState | None = None) -> None:
        check_function("fetch", fetch, "a function from a kid to a JWK (AsyncKeyCache takes an async one)")
        self._fetch = fetch
        self._shelf = KeyCacheState() if shelf is None else shelf
        self._lock = Lock()
        self._process = os.getpid()
        self._flights: dict[str, _Flight] = {}
        self._refreshes: dict[str, threading.Event] = {}

    def get(self, kid: str) -> PublicKey:
        """The key of this name. See ``KeySource``; errors of fetching pass through to everyone who waited."""
        return self._get(kid, from_host=False)

    def unthrottled(self) -> KeySource:
        """The same keys, for tokens that came straight from the host: their names are no inventions and never wait."""
        return _FromHost(self)

    def _get(self, kid: str, *, from_host: bool) -> PublicKey:
        found = self._shelf.known(kid)
        if found is not None:
            return found
        with self._lock:
            self._notice_fork()
            found = self._shelf.known(kid)
            if found is not None:
                return found
            flight = self._flights.get(kid)
            leads = flight is None
            if flight is None:
                self._shelf.check_allowed(kid, from_host=from_host)
                flight = self._flights[kid] = _Flight()
        if leads and remaining() is None:
            self._fly(kid, flight)
        elif leads:
            # In a thread of its own: the deadline of this caller is not that of the others who wait for the key.
            try:
                start_in_thread(lambda: self._fly_for_all(kid, flight))
            except TooManyThreadsError as cause:
                with self._lock:
                    self._shelf.withdraw(kid)
                self._land(kid, flight, _no_thread(cause))
        return flight.result(kid)

    def refresh(self, kid: str) -> PublicKey | None:
        """The key anew, at most once in a cooldown. The last good one stays where the host cannot be reached."""
        return self._refresh(kid, from_host=False)

    def _refresh(self, kid: str, *, from_host: bool) -> PublicKey | None:
        with self._lock:
            self._notice_fork()
            landed = self._refreshes.get(kid)
            leads = landed is None
            if landed is None:
                if not self._shelf.check_refresh(kid, from_host=from_host):
                    # Someone else may have fetched it since the caller got theirs.
                    return self._shelf.known(kid)
                landed = self._refreshes[kid] = threading.Event()
        if not leads:
            landed.wait(remaining())
            return self._shelf.known(kid)
        try:
            jwk = check_result("fetch", self._fetch(kid))
            with self._lock:
                return self._shelf.store(kid, jwk)
        except (CallError, TokenError):
            return self._shelf.known(kid)
        finally:
            with self._lock:
                del self._refreshes[kid]
            landed.set()

    def _notice_fork(self) -> None:
        # The threads that were fetching when this process was forked are not in it: nobody would ever land.
        if self._process != os.getpid():
            self._process = os.getpid()
            self._flights = {}
            self._refreshes = {}
            self._shelf.give_up()

    def _fly(self, kid: str, flight: _Flight) -> None:
        try:
            jwk = check_result("fetch", self._fetch(kid))
            with self._lock:
                flight.key = self._shelf.store(kid, jwk)
        except BaseException as cause:
            with self._lock:
                self._shelf.missed(kid)
            self._land(kid, flight, cause)
            raise
        self._land(kid, flight, None)

    def _land(self, kid: str, flight: _Flight, error: BaseException | None) -> None:
        flight.error = error
        with self._lock:
            if self._flights.get(kid) is flight:
                del self._flights[kid]
        flight.landed.set()

    def _fly_for_all(self, kid: str, flight: _Flight) -> None:
        # The error is raised by everyone who waits.
        with suppress(BaseException), without_deadline():
            self._fly(kid, flight)


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


class _Flight:
    """One fetch under way, and what came of it."""

    __slots__ = ("error", "key", "landed")

    def __init__(self) -> None:
        self.landed = threading.Event()
        self.key: PublicKey | None = None
        self.error: BaseException | None = None

    def result(self, kid: str) -> PublicKey:
        if not self.landed.wait(remaining()):
            raise key_not_in_time(kid)
        if self.key is not None:
            return self.key
        if isinstance(self.error, FlexError):
            # An exception of its own for each caller: raising one in several threads mixes their tracebacks.
            raise clone(self.error)
        if isinstance(self.error, Exception):
            raise self.error
        # What ends a thread, such as KeyboardInterrupt, is for that thread alone.
        raise UnknownKeyError("the fetch of this key was given up by the thread that made it")


class PinnedKeys:
    """A ``KeySource`` of keys known in advance, for programs that cannot reach the host, or are not to trust it for
    keys.

    Args:
        jwks: the keys, each with its ``kid``, as ``GET /flex/v2/public-keys/{kid}`` gives them.
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
        found = self._keys.get(kid)
        if found is not None:
            return found
        if self._fallback is None:
            raise UnknownKeyError("none of the pinned keys has the kid of this token")
        return self._fallback.get(kid)

    def refresh(self, kid: str) -> PublicKey | None:
        """See ``KeySource``. A pinned key is never fetched anew."""
        if kid in self._keys or self._fallback is None:
            return None
        return self._fallback.refresh(kid)
