"""The five steps of the Flex API as five verbs, each one verified before its result is given out."""

from typing import TYPE_CHECKING

from .bulk import Tokenized
from .capture_fields import fields
from .flex_client import FlexClient

if TYPE_CHECKING:
    from .async_flex_client import AsyncFlexClient

__all__ = ["AsyncFlexClient", "FlexClient", "Tokenized", "fields"]


def __getattr__(name: str) -> object:
    # It brings asyncio, which is dear to import.
    if name == "AsyncFlexClient":
        from .async_flex_client import AsyncFlexClient

        return AsyncFlexClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
