"""``FlexClient``, ``AsyncFlexClient`` and ``fields``: the calls of the Flex API, with every response verified."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .async_flex_client import AsyncFlexClient
    from .bulk import TokenizeResult
    from .capture_fields import fields
    from .flex_client import FlexClient

__all__ = ["AsyncFlexClient", "FlexClient", "TokenizeResult", "fields"]

_MODULES = {
    "AsyncFlexClient": "async_flex_client",
    "FlexClient": "flex_client",
    "TokenizeResult": "bulk",
    "fields": "capture_fields",
}


def __getattr__(name: str) -> object:
    # Imported lazily: ``fields`` needs no client, and ``FlexClient`` needs no asyncio.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
