"""Test helpers for users of this package: pytest fixtures, and ``Canaries``, which detects leaked secrets.

pytest loads ``cybersource_flex.testing.plugin`` automatically; see docs/testing.md. ``Canaries`` also works without
pytest.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .canaries import Canaries, CanaryFound

__all__ = ["Canaries", "CanaryFound"]


def __getattr__(name: str) -> object:
    # pytest imports this package in every run once it is installed, so the import has to be fast.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import canaries

    return getattr(canaries, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
