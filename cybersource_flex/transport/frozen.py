"""Objects that do not change once made, and that nothing writes to a disk or a queue."""

from __future__ import annotations

from typing import Any, NoReturn

__all__ = ["Frozen"]


class Frozen:
    """Unchangeable, without a ``__dict__``, and impossible to pickle or copy: what it holds are credentials."""

    __slots__ = ()

    def _set(self, **values: Any) -> None:
        """For ``__init__`` alone."""
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} cannot be changed; make another one")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} cannot be changed; make another one")

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} holds credentials and cannot be pickled or copied")
