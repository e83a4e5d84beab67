"""Immutable objects: base classes of settings and of clients, and read-only dictionaries and lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, TypeVar

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Immutable", "ImmutableValue", "ReadOnlyDict", "ReadOnlyList", "read_only_copy"]

K = TypeVar("K")
V = TypeVar("V")


class Immutable:
    """Base class of immutable objects without a ``__dict__``. Pickling and copying raise a ``TypeError``."""

    __slots__ = ()

    #: Why an object cannot be pickled or copied, for the message.
    _not_copied_because = "it holds credentials"

    def _set(self, **values: Any) -> None:
        """Set attributes. Only for ``__init__``."""
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} cannot be changed; create a new one")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} cannot be changed; create a new one")

    def __reduce__(self) -> str | tuple[Any, ...]:
        self._refuse_copy(self._not_copied_because)

    def _refuse_copy(self, reason: str) -> NoReturn:
        raise TypeError(f"{type(self).__name__} cannot be pickled or copied: {reason}")


class ImmutableValue(Immutable):
    """Base class of immutable objects that can be copied and pickled. Objects with equal attributes are equal.

    A copy is the object itself. An object that holds a secret cannot be copied or pickled: the method ``_arguments``
    of such an object raises.
    """

    __slots__ = ()

    def _arguments(self) -> dict[str, Any]:
        """Return the keyword arguments that create an equal object."""
        return {name: getattr(self, name) for name in _slots(type(self))}

    def _compared(self) -> tuple[Any, ...]:
        """Return the values that ``==`` compares."""
        return tuple(getattr(self, name) for name in _slots(type(self)))

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self) or not isinstance(other, ImmutableValue):
            return NotImplemented
        return self._compared() == other._compared()

    def __hash__(self) -> int:
        return hash(self._compared())

    def __copy__(self) -> Self:
        self._arguments()
        return self

    def __deepcopy__(self, memo: object) -> Self:
        self._arguments()
        return self

    def __reduce__(self) -> str | tuple[Any, ...]:
        return _create, (type(self), self._arguments())


def _slots(cls: type) -> tuple[str, ...]:
    return tuple(name for base in cls.__mro__ for name in getattr(base, "__slots__", ()))


def _create(cls: type[ImmutableValue], arguments: dict[str, Any]) -> ImmutableValue:
    return cls(**arguments)


# `MappingProxyType` and `tuple` are read-only too. But `json.dumps` accepts only subclasses of `dict`, and a tuple is
# not equal to the list from which it was made.
_CONTAINERS: Final = (dict, list)
# The original methods of dict and list. The classes below replace them, and need the originals to fill new objects.
_new_dict, _fill_dict, _set_entry = dict.__new__, dict.update, dict.__setitem__
_new_list, _fill_list = list.__new__, list.extend


def _refuse(self: object, *_: object, **__: object) -> NoReturn:
    raise TypeError("this object is read-only; call copy() for a copy that can be changed")


# The type is Any, so that the function can replace methods of any signature.
_refused: Any = _refuse


class _ReadOnly:
    """Base class of ``ReadOnlyDict`` and ``ReadOnlyList``. A copy of an object is the object itself."""

    __slots__ = ()

    def __init__(self, *_: object) -> None:
        # `dict.__init__` and `list.__init__` would change the content, which `__new__` has set.
        pass

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self


class ReadOnlyDict(_ReadOnly, dict[K, V], Generic[K, V]):
    """A dictionary that cannot be changed. ``copy()`` and ``|`` return ordinary dictionaries."""

    __slots__ = ()

    def __new__(cls, items: Mapping[K, V] | Iterable[tuple[K, V]] = ()) -> Self:
        self = _new_dict(cls)
        _fill_dict(self, items)
        return self

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refused

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self),)


class ReadOnlyList(_ReadOnly, list[V], Generic[V]):
    """A list that cannot be changed. ``copy()`` and slices return ordinary lists."""

    __slots__ = ()

    def __new__(cls, items: Iterable[V] = ()) -> Self:
        self = _new_list(cls)
        _fill_list(self, items)
        return self

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refused
    append = clear = extend = insert = pop = remove = reverse = sort = _refused

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (list(self),)


def read_only_copy(value: Any) -> Any:
    """Return a read-only copy of a JSON value. Nested objects and arrays are copied too."""
    value_type = type(value)
    if value_type is dict:
        copy: Any = _new_dict(ReadOnlyDict)
        _fill_dict(copy, value)
        for key, entry in value.items():
            # Most values are strings or numbers, which need no copy.
            if type(entry) in _CONTAINERS:
                _set_entry(copy, key, read_only_copy(entry))
        return copy
    if value_type is list:
        copy = _new_list(ReadOnlyList)
        _fill_list(copy, [read_only_copy(entry) if type(entry) in _CONTAINERS else entry for entry in value])
        return copy
    return value
