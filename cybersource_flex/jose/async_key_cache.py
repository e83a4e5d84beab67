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
            flight.add_done_callback(lambda done: self._landed(kid, done))
        # Shielded: whoever is cancelled takes nobody else's key away.
        return await asyncio.shield(flight)

    async def refresh(self, kid: str) -> PublicKey | None:
        """The key anew, at most once in a cooldown. The last good one stays where the host cannot be reached."""
        if not self._shelf.check_refresh(kid):
            return None
        try:
            return self._shelf.store(kid, await self._fetch(kid))
        except FlexError:
            return None

    async def _fly(self, kid: str) -> PublicKey:
        try:
            return self._shelf.store(kid, await self._fetch(kid))
        except FlexError:
            self._shelf.missed(kid)
            raise

    def _landed(self, kid: str, flight: asyncio.Task[PublicKey]) -> None:
        self._flights.pop(kid, None)
        if not flight.cancelled():
            # Read, so that an error nobody waited for any more is not reported as lost.
            flight.exception()
