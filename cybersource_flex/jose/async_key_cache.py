"""Key sources for asyncio: ``AsyncKeySource``, ``AsyncKeyCache``, and verification with a source's key."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeVar

from .._callables import check_async_function, check_awaitable
from .._runtime.deadline import remaining, without_deadline
from .._runtime.event_loop import running_loop, timeout, wait
from ..errors import CallError, InvalidSignatureError, TokenError
from .key_cache import KeyCacheState, key_timeout_error
from .keys import PublicKey, check_key, check_kid

__all__ = ["AsyncKeyCache", "AsyncKeySource", "verify_with_async_key_source"]

_T = TypeVar("_T")


class AsyncKeySource(Protocol):
    """Interface for objects that provide long-term keys to asyncio code. See ``KeySource`` for the two methods."""

    async def get(self, kid: str) -> PublicKey:
        """See ``KeySource.get``."""
        ...

    async def refresh(self, kid: str) -> PublicKey | None:
        """See ``KeySource.refresh``."""
        ...


async def verify_with_async_key_source(keys: AsyncKeySource, kid: str, verify: Callable[[PublicKey], _T]) -> _T:
    """Verify a token with a key from an async key source. Arguments are those of ``verify_with_key_source``."""
    key = check_key("get of the AsyncKeySource", await keys.get(kid))
    try:
        return verify(key)
    except InvalidSignatureError:
        # The host may have published a new key under the same id.
        refreshed = await keys.refresh(kid)
        if refreshed is None or refreshed == key:
            raise
        refreshed = check_key("refresh of the AsyncKeySource", refreshed)
    return verify(refreshed)


class AsyncKeyCache:
    """``KeyCache`` for asyncio. Fetches keys with an async function.

    Args:
        fetch: async function that takes a key id and fetches the JWK with this id from the host. Raises
            ``UnknownKeyError`` if the host has no such key. A lambda that returns an awaitable is accepted too.
        state: the cached keys and the rules for fetching. None creates an empty cache.

    Raises:
        ConfigurationError: ``fetch`` is not an async function. Pass a synchronous function to ``KeyCache``.
    """

    def __init__(
        self, fetch: Callable[[str], Awaitable[Mapping[str, Any]]], state: KeyCacheState | None = None
    ) -> None:
        check_async_function("fetch", fetch, "an async function from a kid to a JWK (KeyCache takes a synchronous one)")
        self._fetch = fetch
        self._state = KeyCacheState() if state is None else state
        self._fetches: dict[str, asyncio.Task[PublicKey]] = {}
        self._refreshes: dict[str, asyncio.Task[PublicKey | None]] = {}

    async def get(self, kid: str) -> PublicKey:
        """Return the key with this id. If a fetch fails, all callers that wait for it get the error."""
        return await self._get(kid, unthrottled=False)

    def unthrottled(self) -> AsyncKeySource:
        """Return a view of this cache that has no limits on fetching. See ``KeyCache.unthrottled``."""
        return _Unthrottled(self)

    async def _get(self, kid: str, *, unthrottled: bool) -> PublicKey:
        key = self._state.get(kid) if isinstance(kid, str) else None
        if key is not None:
            return key
        check_kid(kid)
        loop = running_loop()
        task = self._fetches.get(kid)
        if task is not None and task.get_loop() is not loop:
            # The task belonged to an event loop that was closed, so it never ends.
            self._state.cancel_fetch(kid)
            task = None
        if task is None:
            self._state.start_fetch(kid, unthrottled=unthrottled)
            with without_deadline():
                # The new task copies the context variables. It must not inherit the deadline of this caller, because
                # other callers wait for the same task.
                task = self._fetches[kid] = asyncio.ensure_future(self._fetch_key(kid))
            task.add_done_callback(lambda done: self._remove_finished(self._fetches, kid, done))
        try:
            async with timeout(remaining()):
                # Shielded: cancelling one caller does not cancel the fetch for the others.
                return await asyncio.shield(task)
        except TimeoutError:
            if task.done() and not task.cancelled():
                # The fetch ended in time, but the event loop processed the timeout first.
                return task.result()
            raise key_timeout_error(kid) from None
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if task.cancelled() and current is not None and not current.cancelling():
                raise key_timeout_error(kid) from None
            raise

    async def close(self) -> None:
        """Cancel the fetches in progress. Callers that wait for a fetch receive a ``ResponseTimeoutError``."""
        loop = running_loop()
        tasks = [*self._fetches.values(), *self._refreshes.values()]
        tasks = [task for task in tasks if task.get_loop() is loop]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def refresh(self, kid: str) -> PublicKey | None:
        """Fetch the key again, at most once per cooldown. Returns the cached key if the fetch fails."""
        return await self._refresh(kid, unthrottled=False)

    async def _refresh(self, kid: str, *, unthrottled: bool) -> PublicKey | None:
        check_kid(kid)
        task = self._refreshes.get(kid)
        if task is None or task.get_loop() is not running_loop():
            if not self._state.start_refresh(kid, unthrottled=unthrottled):
                # Another caller may have refreshed the key since this caller read it.
                return self._state.get(kid)
            with without_deadline():
                task = self._refreshes[kid] = asyncio.ensure_future(self._refetch_key(kid))
            task.add_done_callback(lambda done: self._remove_finished(self._refreshes, kid, done))
        await wait(task, remaining())
        return task.result() if task.done() and not task.cancelled() else self._state.get(kid)

    async def _fetch_key(self, kid: str) -> PublicKey:
        try:
            return self._state.store(kid, await check_awaitable("fetch", self._fetch(kid)))
        except asyncio.CancelledError:
            self._state.cancel_fetch(kid)
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


class _Unthrottled:
    """See ``AsyncKeyCache.unthrottled``."""

    __slots__ = ("_keys",)

    def __init__(self, keys: AsyncKeyCache) -> None:
        self._keys = keys

    async def get(self, kid: str) -> PublicKey:
        return await self._keys._get(kid, unthrottled=True)

    async def refresh(self, kid: str) -> PublicKey | None:
        return await self._keys._refresh(kid, unthrottled=True)
