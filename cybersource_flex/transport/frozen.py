"""Base class of immutable objects that hold credentials and cannot be pickled or copied."""

from __future__ import annotations

from typing import Any, NoReturn

__all__ = ["Frozen"]


class Frozen:
    """Base class of immutable objects without a ``__dict__``. They hold credentials, so pickling and copying raise."""

    __slots__ = ()

    def _set(self, **values: Any) -> None:
        """Set attributes. Only for ``__init__``."""
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} cannot be changed; make another one")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} cannot be changed; make another one")

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} holds credentials and cannot be pickled or copied")
