"""The clients, which call the Flex API and verify every response: ``FlexClient`` and ``AsyncFlexClient``.

``fields`` names the data that a capture context asks for.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .async_flex_client import AsyncFlexClient
    from .bulk import TokenizeFailure, TokenizeResult, TokenizeSuccess
    from .capture_fields import fields
    from .flex_client import FlexClient

__all__ = ["AsyncFlexClient", "FlexClient", "TokenizeFailure", "TokenizeResult", "TokenizeSuccess", "fields"]

_MODULES = {
    "AsyncFlexClient": "async_flex_client",
    "FlexClient": "flex_client",
    "TokenizeFailure": "bulk",
    "TokenizeResult": "bulk",
    "TokenizeSuccess": "bulk",
    "fields": "capture_fields",
}


if not TYPE_CHECKING:
    # Hidden from type checkers: if a module has __getattr__, they accept every name.
    def __getattr__(name: str) -> object:
        # Imported lazily: ``fields`` needs no client, and ``FlexClient`` needs no asyncio.
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
