"""Helpers for the client fixtures: a retry policy without waits, and a function that closes an asynchronous client."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ..transport import RetryPolicy

if TYPE_CHECKING:
    from ..client import AsyncFlexClient

__all__ = ["ImmediateRetryPolicy", "close_async_client"]


class ImmediateRetryPolicy(RetryPolicy):
    """A retry policy with the same decisions as ``RetryPolicy``, but without waits between attempts."""

    __slots__ = ()

    def delay(self, attempt: int, retry_after: float | None) -> float:
        """Return zero, so that tests do not wait.

        A wait that is longer than the deadline is returned unchanged, so that the client raises the failure instead of
        retrying, as with ``RetryPolicy``.
        """
        wait = super().delay(attempt, retry_after)
        return wait if self.deadline is not None and wait >= self.deadline else 0.0


def close_async_client(client: AsyncFlexClient) -> None:
    """Close a client between tests, when its event loop is idle or already closed."""
    loop = client._transport.loop
    if loop is None or loop.is_running():
        # The client has no connections, or its loop runs in another thread and closes them when it ends.
        return
    if not loop.is_closed():
        loop.run_until_complete(client.close())
        return
    # The client's loop is closed, so a temporary one is used. `asyncio.run` would replace the current loop.
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(client.close())
    finally:
        loop.close()
