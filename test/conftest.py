"""What all tests share: the vectors, the reference material beside the checkout, and frozen time."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
VECTORS = ROOT / "test" / "vectors"

# The moment at which the vectors were made: 2026-11-22T12:00:00Z.
VECTOR_TIME = 1795348800
VECTOR_UUID = "3f2b8c1e-9d47-4a6b-8c15-2e7f90ab34cd"


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
    """An ``AsyncFlexClient`` on an event loop of its own, used as if it were a ``FlexClient``: what is shown of the one
    is shown of the other by the same test.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self._made = self._make(lambda kind: kind(*args, **options))

    @classmethod
    def from_env(cls, *args: Any, **options: Any) -> OnLoop:
        self = cls.__new__(cls)
        self._made = self._make(lambda kind: kind.from_env(*args, **options))
        return self

    def _make(self, make: Callable[[Any], Any]) -> Any:
        import asyncio
        import threading

        from cybersource_flex import AsyncFlexClient

        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        made = make(AsyncFlexClient)
        self._thread.start()
        return made

    def __enter__(self) -> OnLoop:
        return self

    def __exit__(self, *_: object) -> None:
        self._wait(self._made.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait(self, coroutine: Any) -> Any:
        import asyncio

        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def __getattr__(self, name: str) -> Any:
        import inspect

        found = getattr(self._made, name)
        if not callable(found):
            return found

        def call(*args: Any, **options: Any) -> Any:
            made = found(*args, **options)
            if inspect.isasyncgen(made):
                return self._each(made)
            return self._wait(made) if inspect.iscoroutine(made) else made

        return call

    def _each(self, made: Any) -> Any:
        async def following() -> Any:
            return await anext(made)

        try:
            while True:
                try:
                    yield self._wait(following())
                except StopAsyncIteration:
                    return
        finally:
            self._wait(made.aclose())


@pytest.fixture(params=["threads", "event loop"])
def connect(request: pytest.FixtureRequest) -> Any:
    """``FlexClient``, and once more ``AsyncFlexClient`` behind the same face."""
    from cybersource_flex import FlexClient

    return FlexClient if request.param == "threads" else OnLoop
