"""A monotonic clock that test tools cannot stop.

freezegun replaces ``time.monotonic`` in every loaded module. If it also stopped this package's deadlines, a test could
wait forever.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.util import module_from_spec
from types import BuiltinFunctionType, ModuleType
from typing import Final

__all__ = ["is_clock_patched", "monotonic"]


def _new_time_module() -> ModuleType:
    """Return a second instance of the ``time`` module, whose functions no tool has replaced."""
    spec = time.__spec__
    if spec is None or spec.loader is None:
        return time
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


#: The original ``time.monotonic``, which returns seconds.
monotonic: Final[Callable[[], float]] = _new_time_module().monotonic


def is_clock_patched() -> bool:
    """Whether a tool has replaced ``time.monotonic``. If so, timers of event loops may never expire."""
    return not isinstance(time.monotonic, BuiltinFunctionType)
