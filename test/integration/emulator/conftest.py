"""Fixtures for the tests of the emulator: one emulator for each file, with a clock that tests can set, and its log."""

from __future__ import annotations

import logging
import queue
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


@pytest.fixture
def log_lines() -> Iterator[queue.Queue[str]]:
    """The lines of the emulator's log, as they are written by its thread. Requests are logged before the response."""
    lines: queue.Queue[str] = queue.Queue()

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.put(record.getMessage())

    logger, handler = logging.getLogger("cybersource_flex.emulator"), Handler()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lines
    logger.removeHandler(handler)
    logger.setLevel(level)
