"""What all tests share: the vectors, the reference material beside the checkout, and frozen time."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partialmethod
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
VECTORS = ROOT / "test" / "vectors"

# The moment at which the vectors were made: 2026-11-22T12:00:00Z.
VECTOR_TIME = 1795348800
VECTOR_UUID = "3f2b8c1e-9d47-4a6b-8c15-2e7f90ab34cd"


def pytest_configure(config: pytest.Config) -> None:
    if find_spec("click") and version("click").startswith("8.1."):
        # Later versions always keep standard output and standard error apart.
        from click.testing import CliRunner

        CliRunner.__init__ = partialmethod(CliRunner.__init__, mix_stderr=False)  # type: ignore[assignment]


@pytest.fixture(scope="session")
def vector_time() -> int:
    return VECTOR_TIME


@pytest.fixture(scope="session")
def vectors() -> Callable[[str], Any]:
    """Loads a JSON file of test/vectors by its name."""
    return lambda name: json.loads((VECTORS / name).read_text("utf-8"))


@pytest.fixture(scope="session")
def reference() -> Path:
    """Published requests, tokens and keys. They are read where they lie and are no part of this project."""
    folder = Path(os.environ.get("CYBERSOURCE_FLEX_REFERENCE", ROOT.parent / "shared" / "reference"))
    if not folder.is_dir():
        pytest.skip(f"NOT TESTED against published samples: no folder {folder} (set CYBERSOURCE_FLEX_REFERENCE)")
    return folder


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> int:
    """Clock and token ids stand still as they did when the vectors were made."""
    import time
    import uuid

    monkeypatch.setattr(time, "time", lambda: float(VECTOR_TIME))
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(VECTOR_UUID))
    return VECTOR_TIME


class OnLoop:
    """Something awaitable on an event loop of its own, used as if it were not: what is shown of the one for threads is
    shown of the other by the same test. Made like an ``AsyncFlexClient``, or by ``of``.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self._start(lambda: _async_client()(*args, **options))

    @classmethod
    def from_env(cls, *args: Any, **options: Any) -> OnLoop:
        return cls.of(lambda: _async_client().from_env(*args, **options))

    @classmethod
    def from_merchant_config(cls, *args: Any, **options: Any) -> OnLoop:
        return cls.of(lambda: _async_client().from_merchant_config(*args, **options))

    @classmethod
    def of(cls, make: Callable[[], Any]) -> OnLoop:
        """What ``make`` makes; it is closed at the end."""
        self = cls.__new__(cls)
        self._start(make)
        return self

    def _start(self, make: Callable[[], Any]) -> None:
        import asyncio
        import threading

        self.made = make()
        self._loop = asyncio.new_event_loop()
        if self._loop.get_debug():
            # Then everything that is run is logged.
            self._loop.slow_callback_duration = 0.0
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def __enter__(self) -> OnLoop:
        return self

    def __exit__(self, *_: object) -> None:
        self.wait(self.made.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def wait(self, coroutine: Any) -> Any:
        """Have the loop run a coroutine, and wait for what comes of it."""
        import asyncio

        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def __getattr__(self, name: str) -> Any:
        return self.face(getattr(self.made, name))

    def face(self, found: Any) -> Any:
        """A method that waits, in place of one that is awaited."""
        import inspect

        if not callable(found):
            return found

        def call(*args: Any, **options: Any) -> Any:
            made = found(*args, **options)
            if inspect.isasyncgen(made):
                return self._each(made)
            return self.wait(made) if inspect.iscoroutine(made) else made

        return call

    def _each(self, made: Any) -> Any:
        async def following() -> Any:
            return await anext(made)

        try:
            while True:
                try:
                    yield self.wait(following())
                except StopAsyncIteration:
                    return
        finally:
            self.wait(made.aclose())


def _async_client() -> Any:
    from cybersource_flex import AsyncFlexClient

    return AsyncFlexClient


class _ApiOnLoop:
    """A generated class on the event loop of a client."""

    def __init__(self, client: OnLoop, api: Any) -> None:
        self._client, self._api = client, api

    def __getattr__(self, name: str) -> Any:
        return self._client.face(getattr(self._api, name))


@pytest.fixture(params=["threads", "event loop"])
def connect(request: pytest.FixtureRequest) -> Any:
    """``FlexClient``, and once more ``AsyncFlexClient`` behind the same face."""
    from cybersource_flex import FlexClient

    return FlexClient if request.param == "threads" else OnLoop


@pytest.fixture(params=["threads", "event loop"])
def carry(request: pytest.FixtureRequest) -> Any:
    """Makes a ``Transport`` of settings, and once more an ``AsyncTransport`` behind the same face."""
    from cybersource_flex.transport import Transport

    if request.param == "threads":
        return Transport
    from cybersource_flex.transport.aio import AsyncTransport

    return lambda settings: OnLoop.of(lambda: AsyncTransport(settings))


@pytest.fixture(params=["threads", "event loop"])
def connect_api(request: pytest.FixtureRequest) -> Any:
    """Makes an ``ApiClient`` of a configuration, and once more that of ``aio`` behind the same face."""
    from cybersource_flex import ApiClient, aio

    if request.param == "threads":
        return ApiClient
    return lambda configuration: OnLoop.of(lambda: aio.ApiClient(configuration))


@pytest.fixture
def api() -> Callable[[type, Any], Any]:
    """Makes a generated class over a client of ``connect`` or ``connect_api``: where that awaits, the awaitable one."""
    from cybersource_flex import aio

    def make(kind: type, client: Any) -> Any:
        if not isinstance(client, OnLoop):
            return kind(getattr(client, "api_client", client))
        return _ApiOnLoop(client, getattr(aio, kind.__name__)(getattr(client.made, "api_client", client.made)))

    return make
