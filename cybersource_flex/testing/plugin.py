"""The pytest plugin with the fixtures ``flex_emulator``, ``flex_client`` and ``flex_canaries``.

This module imports only pytest, because pytest loads it in every run, even if no test uses it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ..client import FlexClient
    from ..emulator import Emulator
    from .canaries import Canaries

_EMULATOR: pytest.StashKey[Emulator] = pytest.StashKey()
_CANARIES: pytest.StashKey[Canaries] = pytest.StashKey()


@pytest.fixture(scope="session")
def flex_emulator_options() -> dict[str, Any]:
    """Arguments of the emulator. Override this fixture to change them."""
    return {}


@pytest.fixture(scope="session")
def flex_emulator(pytestconfig: pytest.Config, flex_emulator_options: dict[str, Any]) -> Iterator[Emulator]:
    """A local emulator for the whole run. Its recorded requests and faults are reset before each test."""
    from ..emulator import Emulator

    with Emulator(**flex_emulator_options) as emulator:
        pytestconfig.stash[_EMULATOR] = emulator
        yield emulator
        del pytestconfig.stash[_EMULATOR]


@pytest.fixture
def flex_client(flex_emulator: Emulator) -> Iterator[FlexClient]:
    """A client with the credentials of the emulator's first merchant."""
    from ..auth import JwtSharedSecret
    from ..client import FlexClient

    with FlexClient(JwtSharedSecret(**flex_emulator.auth), environment=flex_emulator.url) as client:
        yield client


@pytest.fixture
def flex_canaries(request: pytest.FixtureRequest) -> Iterator[Canaries]:
    """Plants secrets and fails the test if one appears in logs, warnings, output or watched objects."""
    from .canaries import Canaries

    with Canaries() as canaries:
        request.node.stash[_CANARIES] = canaries
        yield canaries
        canaries.check()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Reset the emulator before each test that uses it."""
    emulator = item.config.stash.get(_EMULATOR, None)
    if emulator is not None and "flex_emulator" in getattr(item, "fixturenames", ()):
        emulator.reset_faults()
        emulator.clear()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """Record the streams that ``capsys`` and ``capfd`` install for the test itself."""
    canaries = item.stash.get(_CANARIES, None)
    if canaries is not None:
        canaries.capture_output()
