"""The cache of long-term keys for programs on an event loop. Apart, because importing asyncio is dear."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ..errors import FlexError
from .key_cache import KeyShelf
from .keys import PublicKey

__all__ = ["AsyncCachedKeys"]


class AsyncCachedKeys:
    """``CachedKeys`` over an awaitable fetch, for the tasks of one event loop.

    Args:
        fetch: brings the JWK for a name from the host, or raises ``UnknownKeyError`` where the host has none.
        shelf: what is known and allowed; made with its defaults where left out.
    """

    def __init__(self, fetch: Callable[[str], Awaitable[Mapping[str, Any]]], shelf: KeyShelf | None = None) -> None:
        self._fetch = fetch
        self._shelf = KeyShelf() if shelf is None else shelf
        self._flights: dict[str, asyncio.Task[PublicKey]] = {}
        self._refreshes: dict[str, asyncio.Task[PublicKey | None]] = {}

    async def get(self, kid: str, *, from_host: bool = False) -> PublicKey:
        """The key of this name. Errors of fetching pass through to everyone who waited.

        Args:
            kid: the name.
            from_host: the token that names it came straight from the host, so the name is no invention.
        """
        found = self._shelf.known(kid)
        if found is not None:
            return found
        flight = self._flights.get(kid)
        if flight is None:
            self._shelf.check_allowed(kid, from_host=from_host)
            flight = self._flights[kid] = asyncio.ensure_future(self._fly(kid))
            flight.add_done_callback(lambda done: self._landed(self._flights, kid, done))
        # Shielded: whoever is cancelled takes nobody else's key away.
        return await asyncio.shield(flight)

    async def refresh(self, kid: str, *, from_host: bool = False) -> PublicKey | None:
        """The key anew, at most once in a cooldown. The last good one stays where the host cannot be reached.

        Args:
            kid: the name.
            from_host: the token that names it came straight from the host: it does not wait for a cooldown.
        """
        flight = self._refreshes.get(kid)
        if flight is None:
            if not self._shelf.check_refresh(kid, from_host=from_host):
                # Someone else may have fetched it since the caller got theirs.
                return self._shelf.known(kid)
            flight = self._refreshes[kid] = asyncio.ensure_future(self._fly_again(kid))
            flight.add_done_callback(lambda done: self._landed(self._refreshes, kid, done))
        return await asyncio.shield(flight)

    async def _fly(self, kid: str) -> PublicKey:
        try:
            return self._shelf.store(kid, await self._fetch(kid))
        except BaseException:
            self._shelf.missed(kid)
            raise

    async def _fly_again(self, kid: str) -> PublicKey | None:
        try:
            return self._shelf.store(kid, await self._fetch(kid))
        except FlexError:
            return self._shelf.known(kid)

    @staticmethod
    def _landed(flights: dict[str, asyncio.Task[Any]], kid: str, flight: asyncio.Task[Any]) -> None:
        flights.pop(kid, None)
        if not flight.cancelled():
            # Read, so that an error nobody waited for any more is not reported as lost.
            flight.exception()
