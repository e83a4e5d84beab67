"""For the tests of programs that use this package: fixtures for pytest, and a search for secrets where none may be.

pytest loads ``cybersource_flex.testing.plugin`` by itself; see docs/testing.md. ``Canaries`` works without pytest too.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .canaries import Canaries, CanaryFound

__all__ = ["Canaries", "CanaryFound"]


def __getattr__(name: str) -> object:
    # pytest imports this package in every run of everybody who has it installed.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import canaries

    return getattr(canaries, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
