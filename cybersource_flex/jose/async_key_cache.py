"""In-memory cache of long-term public keys for asyncio. A separate module because importing asyncio is slow."""

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
        fetch: returns the JWK for a key id from the host, or raises ``UnknownKeyError`` if the host has none. An
            ``async def`` function, or a lambda that returns something to await.
        state: the cached keys and the rules for fetching; by default a new one.

    Raises:
        ConfigurationError: ``fetch`` is not a function, or a plain one, which is for ``KeyCache``.
    """

    def __init__(
        self, fetch: Callable[[str], Awaitable[Mapping[str, Any]]], state: KeyCacheState | None = None
    ) -> None:
        check_async_function("fetch", fetch, "an async function from a kid to a JWK (KeyCache takes a plain one)")
        self._fetch = fetch
        self._state = KeyCacheState() if state is None else state
        self._fetches: dict[str, asyncio.Task[PublicKey]] = {}
        self._refreshes: dict[str, asyncio.Task[PublicKey | None]] = {}

    async def get(self, kid: str) -> PublicKey:
        """Return the key with this id. Every caller that waited receives the errors of the fetch."""
        return await self._get(kid, from_host=False)

    def unthrottled(self) -> AsyncKeySource:
        """The same cache without limits on fetching. See ``KeyCache.unthrottled``."""
        return _FromHost(self)

    async def _get(self, kid: str, *, from_host: bool) -> PublicKey:
        key = self._state.get(kid)
        if key is not None:
            return key
        task = self._fetches.get(kid)
        if task is not None and task.get_loop() is not asyncio.get_running_loop():
            # The event loop in which it ran is closed.
            self._state.withdraw(kid)
            task = None
        if task is None:
            self._state.check_allowed(kid, from_host=from_host)
            with without_deadline():
                # The task gets a copy of this context. This deadline does not apply to the other callers that wait.
                task = self._fetches[kid] = asyncio.ensure_future(self._fetch_key(kid))
            task.add_done_callback(lambda done: self._remove_finished(self._fetches, kid, done))
        try:
            async with asyncio.timeout(remaining()):
                # Shielded: cancelling one caller does not cancel the fetch for the others.
                return await asyncio.shield(task)
        except TimeoutError:
            if task.done() and not task.cancelled():
                # The event loop was late: what the fetch returned or raised.
                return task.result()
            raise key_not_in_time(kid) from None
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if task.cancelled() and current is not None and not current.cancelling():
                raise key_not_in_time(kid) from None
            raise

    async def close(self) -> None:
        """Cancel fetches that are under way. Callers that wait for one get a ``ResponseTimeoutError``."""
        loop = asyncio.get_running_loop()
        tasks = [*self._fetches.values(), *self._refreshes.values()]
        tasks = [task for task in tasks if task.get_loop() is loop]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def refresh(self, kid: str) -> PublicKey | None:
        """Fetch the key again, at most once per cooldown. The cached key stays if the host cannot be reached."""
        return await self._refresh(kid, from_host=False)

    async def _refresh(self, kid: str, *, from_host: bool) -> PublicKey | None:
        task = self._refreshes.get(kid)
        if task is None or task.get_loop() is not asyncio.get_running_loop():
            if not self._state.check_refresh(kid, from_host=from_host):
                # Another caller may have fetched it since.
                return self._state.get(kid)
            with without_deadline():
                task = self._refreshes[kid] = asyncio.ensure_future(self._refetch_key(kid))
            task.add_done_callback(lambda done: self._remove_finished(self._refreshes, kid, done))
        await asyncio.wait((task,), timeout=remaining())
        return task.result() if task.done() and not task.cancelled() else self._state.get(kid)

    async def _fetch_key(self, kid: str) -> PublicKey:
        try:
            return self._state.store(kid, await check_awaitable("fetch", self._fetch(kid)))
        except asyncio.CancelledError:
            self._state.withdraw(kid)
            raise
        except BaseException:
            self._state.record_miss(kid)
            raise

    async def _refetch_key(self, kid: str) -> PublicKey | None:
        try:
            return self._state.store(kid, await check_awaitable("fetch", self._fetch(kid)))
        except (CallError, TokenError):
            return self._state.get(kid)

    @staticmethod
    def _remove_finished(tasks: dict[str, asyncio.Task[Any]], kid: str, task: asyncio.Task[Any]) -> None:
        if tasks.get(kid) is task:
            del tasks[kid]
        if not task.cancelled():
            # Retrieve the exception, so that asyncio does not report it as never retrieved.
            task.exception()


class _FromHost:
    """See ``AsyncKeyCache.unthrottled``."""

    __slots__ = ("_keys",)

    def __init__(self, keys: AsyncKeyCache) -> None:
        self._keys = keys

    async def get(self, kid: str) -> PublicKey:
        return await self._keys._get(kid, from_host=True)

    async def refresh(self, kid: str) -> PublicKey | None:
        return await self._keys._refresh(kid, from_host=True)
