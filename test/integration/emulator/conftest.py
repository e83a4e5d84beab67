"""Fixtures for the tests of the emulator: one emulator for each file, with a clock that tests can set."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cybersource_flex.emulator import Emulator, Merchant
from support.emulator_client import NOW, OTHER_MERCHANT, Clock


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def shared_emulator(clock: Clock) -> Iterator[Emulator]:
    """One emulator for all tests of the file, because starting one for each test is slow."""
    with Emulator(merchants=[Merchant.generate(), OTHER_MERCHANT], clock=clock) as running:
        yield running


@pytest.fixture
def emulator(shared_emulator: Emulator, clock: Clock) -> Iterator[Emulator]:
    clock.now = NOW
    shared_emulator.clear()
    yield shared_emulator
    clock.now = NOW
