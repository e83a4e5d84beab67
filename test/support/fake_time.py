"""Clocks and pauses of the package that a test controls."""

from __future__ import annotations

import sys
import time
from types import ModuleType

import pytest

from cybersource_flex._runtime import event_loop
from cybersource_flex._runtime.monotonic import monotonic


class FakeTime:
    """Replaces the clocks of this machine, and makes the pauses between attempts take no time.

    Time passes only in ``advance`` and in pauses. The emulator keeps its clocks. Timeouts of sockets are real: the time
    until a deadline must be long enough for them.

    Args:
        wall: this machine's time in seconds since the epoch. None keeps ``time.time``.

    Attributes:
        monotonic, wall: the current times.
        pauses: the pauses of all calls, in seconds.
    """

    def __init__(self, wall: float | None = None) -> None:
        self.monotonic = 1_000_000.0
        self.wall = wall
        self.pauses: list[float] = []
        self._patch = pytest.MonkeyPatch()
        modules = [
            module
            for name, module in list(sys.modules.items())
            if name.startswith("cybersource_flex.") and not name.startswith("cybersource_flex.emulator")
        ]
        _replace(self._patch, modules, monotonic, lambda: self.monotonic)
        _replace(self._patch, modules, event_loop.sleep, self._async_pause)
        self._patch.setattr(time, "sleep", self._pause)
        if wall is not None:
            self._patch.setattr(time, "time", lambda: self.wall)

    def advance(self, seconds: float) -> None:
        self.monotonic += seconds
        if self.wall is not None:
            self.wall += seconds

    def close(self) -> None:
        """Restore the clocks."""
        self._patch.undo()

    def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.advance(seconds)

    async def _async_pause(self, seconds: float) -> None:
        self._pause(seconds)


def _replace(patch: pytest.MonkeyPatch, modules: list[ModuleType], original: object, replacement: object) -> None:
    """Replace a function in all modules that have imported it."""
    for module in modules:
        for name, value in list(vars(module).items()):
            if value is original:
                patch.setattr(module, name, replacement)
