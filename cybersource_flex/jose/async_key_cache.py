"""The cache of long-term keys for programs on an event loop. Apart, because importing asyncio is dear."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeVar

from .._callables import check_async_function, check_awaitable
from .._deadline import remaining, without_deadline
from ..errors import CallError, InvalidSignatureError, TokenError
from .key_cache import KeyCacheState, key_not_in_time
from .keys import PublicKey, check_key

__all__ = ["AsyncKeyCache", "AsyncKeySource", "with_key"]

_T = TypeVar("_T")


class AsyncKeySource(Protocol):
    """``KeySource`` for the tasks of one event loop: the same two methods, awaitable."""

    async def get(self, kid: str) -> PublicKey:
        """See ``KeySource.get``."""
        ...

    async def refresh(self, kid: str) -> PublicKey | None:
        """See ``KeySource.refresh``."""
        ...


async def with_key(keys: AsyncKeySource, kid: str, verify: Callable[[PublicKey], _T]) -> _T:
    """Verify with a key from a source, which is asked for it anew where the signature does not fit.

    Args:
        keys: the source.
        kid: name of the key.
        verify: verifies with a key, or raises ``InvalidSignatureError``.
    """
    key = check_key("get of the AsyncKeySource", await keys.get(kid))
    try:
        return verify(key)
    except InvalidSignatureError:
        # The host may have another key under the old name by now.
        fresh = await keys.refresh(kid)
        if fresh is None or fresh == key:
            raise
        fresh = check_key("refresh of the AsyncKeySource", fresh)
    return verify(fresh)


class AsyncKeyCache:
    """``KeyCache`` over an awaitable fetch, for the tasks of one event loop.

    Args:
        fetch: brings the JWK for a name from the host, or raises ``UnknownKeyError`` where the host has none. An
            ``async def`` function, or a lambda that returns something to await.
        shelf: what is known and allowed; made with its defaults where left out.

    Raises:
        ConfigurationError: ``fetch`` is not a function, or a plain one, which is for ``KeyCache``.
    """

    def __init__(
        self, fetch: Callable[[str], Awaitable[Mapping[str, Any]]], shelf: KeyCacheState | None = None
    ) -> None:
        check_async_function("fetch", fetch, "an async function from a kid to a JWK (KeyCache takes a plain one)")
        self._fetch = fetch
        self._shelf = KeyCacheState() if shelf is None else shelf
        self._flights: dict[str, asyncio.Task[PublicKey]] = {}
        self._refreshes: dict[str, asyncio.Task[PublicKey | None]] = {}

    async def get(self, kid: str) -> PublicKey:
        """The key of this name. Errors of fetching pass through to everyone who waited."""
        return await self._get(kid, from_host=False)

    def unthrottled(self) -> AsyncKeySource:
        """The same keys, for tokens that came straight from the host: their names are no inventions and never wait."""
        return _FromHost(self)

    async def _get(self, kid: str, *, from_host: bool) -> PublicKey:
        found = self._shelf.known(kid)
        if found is not None:
            return found
        flight = self._flights.get(kid)
        if flight is not None and flight.get_loop() is not asyncio.get_running_loop():
            # The event loop in which it ran was closed.
            self._shelf.withdraw(kid)
            flight = None
        if flight is None:
            self._shelf.check_allowed(kid, from_host=from_host)
            with without_deadline():
                # The task gets a copy of this context. The deadline of this caller is not that of the others who wait.
                flight = self._flights[kid] = asyncio.ensure_future(self._fly(kid))
            flight.add_done_callback(lambda done: self._landed(self._flights, kid, done))
        try:
            async with asyncio.timeout(remaining()):
                # Shielded: whoever is cancelled takes nobody else's key away.
                return await asyncio.shield(flight)
        except TimeoutError:
            if flight.done() and not flight.cancelled():
                # The event loop was late: what the fetch returned or raised.
                return flight.result()
            raise key_not_in_time(kid) from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if flight.cancelled() and task is not None and not task.cancelling():
                raise key_not_in_time(kid) from None
            raise

    async def close(self) -> None:
        """Cancel fetches that are under way. Callers that wait for one get a ``ResponseTimeoutError``."""
        loop = asyncio.get_running_loop()
        flights = [*self._flights.values(), *self._refreshes.values()]
        flights = [flight for flight in flights if flight.get_loop() is loop]
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    async def refresh(self, kid: str) -> PublicKey | None:
        """The key anew, at most once in a cooldown. The last good one stays where the host cannot be reached."""
        return await self._refresh(kid, from_host=False)

    async def _refresh(self, kid: str, *, from_host: bool) -> PublicKey | None:
        flight = self._refreshes.get(kid)
        if flight is None or flight.get_loop() is not asyncio.get_running_loop():
            if not self._shelf.check_refresh(kid, from_host=from_host):
                # Someone else may have fetched it since the caller got theirs.
                return self._shelf.known(kid)
            with without_deadline():
                flight = self._refreshes[kid] = asyncio.ensure_future(self._fly_again(kid))
            flight.add_done_callback(lambda done: self._landed(self._refreshes, kid, done))
        await asyncio.wait((flight,), timeout=remaining())
        return flight.result() if flight.done() and not flight.cancelled() else self._shelf.known(kid)

    async def _fly(self, kid: str) -> PublicKey:
        try:
            return self._shelf.store(kid, await check_awaitable("fetch", self._fetch(kid)))
        except asyncio.CancelledError:
            self._shelf.withdraw(kid)
            raise
        except BaseException:
            self._shelf.missed(kid)
            raise

    async def _fly_again(self, kid: str) -> PublicKey | None:
        try:
            return self._shelf.store(kid, await check_awaitable("fetch", self._fetch(kid)))
        except (CallError, TokenError):
            return self._shelf.known(kid)

    @staticmethod
    def _landed(flights: dict[str, asyncio.Task[Any]], kid: str, flight: asyncio.Task[Any]) -> None:
        if flights.get(kid) is flight:
            del flights[kid]
        if not flight.cancelled():
            # Read, so that an error nobody waited for any more is not reported as lost.
            flight.exception()


class _FromHost:
    """See ``AsyncKeyCache.unthrottled``."""

    __slots__ = ("_keys",)

    def __init__(self, keys: AsyncKeyCache) -> None:
        self._keys = keys

    async def get(self, kid: str) -> PublicKey:
        return await self._keys._get(kid, from_host=True)

    async def refresh(self, kid: str) -> PublicKey | None:
        return await self._keys._refresh(kid, from_host=True)
