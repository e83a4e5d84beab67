"""Runs asynchronous clients and transports on an event loop in a thread, so that one test covers both kinds."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from typing import Any


class BlockingAsyncClient:
    """An ``AsyncFlexClient``, or another asynchronous object, with methods that block instead of being awaited.

    Each one has its own event loop. Without ``wrap`` it takes the arguments of ``AsyncFlexClient``.

    Attributes:
        wrapped: the asynchronous object.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self._start(lambda: _async_client()(*args, **options))

    @classmethod
    def from_env(cls, *args: Any, **options: Any) -> BlockingAsyncClient:
        return cls.wrap(lambda: _async_client().from_env(*args, **options))

    @classmethod
    def from_merchant_config(cls, *args: Any, **options: Any) -> BlockingAsyncClient:
        return cls.wrap(lambda: _async_client().from_merchant_config(*args, **options))

    @classmethod
    def wrap(cls, make: Callable[[], Any]) -> BlockingAsyncClient:
        """Wrap the object that ``make`` returns. It is closed at the end of ``with``."""
        self = cls.__new__(cls)
        self._start(make)
        return self

    def _start(self, make: Callable[[], Any]) -> None:
        self.wrapped = make()
        self._loop = asyncio.new_event_loop()
        if self._loop.get_debug():
            # Log every callback.
            self._loop.slow_callback_duration = 0.0
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def __enter__(self) -> BlockingAsyncClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.wait(self.wrapped.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def wait(self, coroutine: Any) -> Any:
        """Run a coroutine on the event loop and return its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def __getattr__(self, name: str) -> Any:
        return self.blocking(getattr(self.wrapped, name))

    def blocking(self, attribute: Any) -> Any:
        """A function that waits for what ``attribute`` returns. Attributes that cannot be called are returned."""
        if not callable(attribute):
            return attribute

        def call(*args: Any, **options: Any) -> Any:
            result = attribute(*args, **options)
            if inspect.isasyncgen(result):
                return self._iterate(result)
            if isinstance(result, type(self.wrapped)):
                # A derived client, in the same event loop.
                return _DerivedClient(self, result)
            return self.wait(result) if inspect.iscoroutine(result) else result

        return call

    def _iterate(self, generator: Any) -> Any:
        async def next_item() -> Any:
            return await anext(generator)

        try:
            while True:
                try:
                    yield self.wait(next_item())
                except StopAsyncIteration:
                    return
        finally:
            self.wait(generator.aclose())


class _DerivedClient:
    """A client from ``for_merchant`` or ``with_options``, on the event loop of the client that it is derived from."""

    def __init__(self, parent: BlockingAsyncClient, wrapped: Any) -> None:
        self._parent, self.wrapped = parent, wrapped

    def __getattr__(self, name: str) -> Any:
        return self._parent.blocking(getattr(self.wrapped, name))


class BlockingAsyncApi:
    """A generated asynchronous API class on the event loop of a client."""

    def __init__(self, client: BlockingAsyncClient, api: Any) -> None:
        self._client, self._api = client, api

    def __getattr__(self, name: str) -> Any:
        return self._client.blocking(getattr(self._api, name))


def _async_client() -> Any:
    from cybersource_flex import AsyncFlexClient

    return AsyncFlexClient
