"""The base class of the generated models, and the few types that a specification can name.

A model is a class with slots. A field that was never given is *absent*: it reads as ``None`` and stays out of the JSON.
A nullable field that was given ``None`` is *null*: it reads as ``None`` too and is written as ``null``. Members that
the specification does not name are kept and written back, so what a newer service adds survives a round trip.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["UNSET", "Field", "Model", "Unset", "converter"]

_ModelT = TypeVar("_ModelT", bound="Model")


class Unset:
    """The type of ``UNSET``: a value that was not given, where ``None`` would mean JSON null."""

    __slots__ = ()
    _instance: ClassVar[Unset | None] = None

    def __new__(cls) -> Unset:
        if cls._instance is None:
            cls._instance = super().__new__(cls)
        return cls._instance

    def __repr__(self) -> str:
        return "UNSET"

    def __bool__(self) -> bool:
        return False

    def __reduce__(self) -> str:
        return "UNSET"


UNSET: Final = Unset()


class Field:
    """One property of a model: the name in JSON, the type as the specification has it, and its rules.

    Args:
        wire: name of the member in JSON.
        type: name of the type: ``str``, ``int``, ``float``, ``bool``, ``date``, ``datetime``, ``object`` (any JSON
            value), a model's class name, or ``List[...]`` and ``Dict[str, ...]`` of these.
        required: the constructor asks for it, and JSON without it is refused.
        nullable: JSON null is a value of its own.
        deprecated: the constructor warns of it.
    """

    __slots__ = ("_converter", "deprecated", "nullable", "required", "type", "wire")

    def __init__(
        self, wire: str, type: str, *, required: bool = False, nullable: bool = False, deprecated: bool = False
    ) -> None:
        self.wire = wire
        self.type = type
        self.required = required
        self.nullable = nullable
        self.deprecated = deprecated
        self._converter: Converter | None = None

    def converter(self, package: str) -> Converter:
        # Built on first use and not at import: most programs touch a handful of the models.
        found = self._converter
        if found is None:
            found = self._converter = converter(self.type, package)
        return found


class Model:
    """Base of the generated models. Not for use on its own."""

    __slots__ = ("__weakref__", "_extra")
    _fields: ClassVar[Mapping[str, Field]] = {}

    _extra: dict[str, Any]

    def _init(self, **values: Any) -> None:
        object.__setattr__(self, "_extra", {})
        for name, value in values.items():
            if value is not UNSET and (value is not None or self._fields[name].nullable):
                setattr(self, name, value)
                if self._fields[name].deprecated:
                    import warnings

                    warnings.warn(f"{type(self).__name__}.{name} is deprecated", DeprecationWarning, stacklevel=3)
            elif self._fields[name].required:
                raise TypeError(f"{type(self).__name__}.{name} is required and cannot be None")

    if not TYPE_CHECKING:  # a type checker is to know the declared fields and no others

        def __setattr__(self, name: str, value: Any) -> None:
            field = self._fields.get(name)
            if field is None:
                raise AttributeError(f"{type(self).__name__} has no field {name!r}")
            if value is None and not field.nullable:
                if field.required:
                    raise TypeError(f"{type(self).__name__}.{name} is required and cannot be None")
                if name in self:
                    object.__delattr__(self, name)
                return
            if value is not None:
                field.converter(_package(type(self))).check(value, f"{type(self).__name__}.{name}")
            object.__setattr__(self, name, value)

        def __getattr__(self, name: str) -> Any:
            # Reached only where the slot is empty: the field is absent.
            if name in type(self)._fields:
                return None
            raise AttributeError(f"{type(self).__name__} has no field {name!r}")

    def __contains__(self, name: object) -> bool:
        """Whether the field (by its Python name) was given a value, null included."""
        if not isinstance(name, str) or name not in self._fields:
            return False
        try:
            object.__getattribute__(self, name)
        except AttributeError:
            return False
        return True

    def _present(self) -> Iterator[tuple[str, Field, Any]]:
        for name, field in self._fields.items():
            if name in self:
                yield name, field, object.__getattribute__(self, name)

    @property
    def additional_properties(self) -> dict[str, Any]:
        """Members that the specification does not name, by their JSON names. May be added to."""
        return self._extra

    def to_dict(self) -> dict[str, Any]:
        """The model as JSON types, by JSON names: absent fields left out, unknown members at the end."""
        package = _package(type(self))
        out: dict[str, Any] = {}
        for _, field, value in self._present():
            out[field.wire] = None if value is None else field.converter(package).encode(value)
        for name, value in self._extra.items():
            out.setdefault(name, value)
        return out

    def to_json(self) -> str:
        """The model as JSON text, without white space, non-ASCII characters as they are.

        Raises:
            TypeError: an unknown member holds something that JSON cannot express.
            ValueError: a number is NaN or infinite.
        """
        return json.dumps(self.to_dict(), ensure_ascii=False, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """A model from JSON types, by JSON names.

        Raises:
            TypeError: a member has another type than the specification says; the path to it is named.
            ValueError: a required member is missing, or a date cannot be read.
        """
        return cls._decode(data, cls.__name__)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """A model from JSON text. Raises ``ValueError`` for text that is not JSON, else as ``from_dict``."""
        return cls.from_dict(json.loads(text))

    @classmethod
    def _decode(cls, data: Any, where: str) -> Self:
        if not isinstance(data, Mapping):
            raise TypeError(f"{where} must be an object, not {_kind(data)}")
        package = _package(cls)
        self = cls.__new__(cls)
        rest = dict(data)
        object.__setattr__(self, "_extra", rest)
        for name, field in cls._fields.items():
            value = rest.pop(field.wire, UNSET)
            if value is UNSET or (value is None and not field.nullable):
                if field.required:
                    raise ValueError(f"{where}.{field.wire} is required")
                continue
            if value is not None:
                value = field.converter(package).decode(value, f"{where}.{field.wire}")
            object.__setattr__(self, name, value)
        return self

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self) or not isinstance(other, Model):
            return NotImplemented
        return self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        parts = [f"{name}={value!r}" for name, _, value in self._present()]
        if self._extra:
            parts.append(f"additional_properties={self._extra!r}")
        return f"{type(self).__name__}({', '.join(parts)})"

    def __copy__(self) -> Self:
        return self.from_dict(self.to_dict())

    def __deepcopy__(self, memo: object) -> Self:
        return self.from_json(self.to_json())

    def __reduce__(self) -> tuple[Any, ...]:
        return _from_dict, (type(self), self.to_dict())


def _from_dict(cls: type[_ModelT], data: dict[str, Any]) -> _ModelT:
    return cls.from_dict(data)


def _package(cls: type[Model]) -> str:
    return cls.__module__.rpartition(".")[0]


class Converter:
    """Checks, encodes and decodes values of one type."""

    __slots__ = ("check", "decode", "encode")

    def __init__(
        self,
        check: Callable[[Any, str], None],
        encode: Callable[[Any], Any],
        decode: Callable[[Any, str], Any],
    ) -> None:
        self.check = check
        self.encode = encode
        self.decode = decode


def converter(type_name: str, package: str) -> Converter:
    """The converter for a type's name; models are looked up in ``package``.

    Raises:
        LookupError: no such type. The templates never emit one.
    """
    scalar = _SCALARS.get(type_name)
    if scalar is not None:
        return scalar
    if type_name.startswith("List[") and type_name.endswith("]"):
        return _list_of(converter(type_name[5:-1], package))
    if type_name.startswith("Dict[str, ") and type_name.endswith("]"):
        return _dict_of(converter(type_name[10:-1], package))
    return _model(type_name, package)


def _kind(value: Any) -> str:
    return "null" if value is None else type(value).__name__


def _same(value: Any) -> Any:
    return value


def _exactly(kind: type | tuple[type, ...], name: str, *, not_bool: bool = False) -> Converter:
    def check(value: Any, where: str) -> None:
        if not isinstance(value, kind) or (not_bool and isinstance(value, bool)):
            raise TypeError(f"{where} must be {name}, not {_kind(value)}")

    def decode(value: Any, where: str) -> Any:
        check(value, where)
        return value

    return Converter(check, _same, decode)


def _datetime() -> Converter:
    from datetime import datetime

    def check(value: Any, where: str) -> None:
        if not isinstance(value, datetime):
            raise TypeError(f"{where} must be datetime, not {_kind(value)}")

    def decode(value: Any, where: str) -> Any:
        from dateutil.parser import isoparse

        if not isinstance(value, str):
            raise TypeError(f"{where} must be a date-time text, not {_kind(value)}")
        try:
            return isoparse(value)
        except ValueError:
            raise ValueError(f"{where} is not a date-time as RFC 3339 section 5.6 writes it") from None

    return Converter(check, lambda value: value.isoformat().replace("+00:00", "Z"), decode)


def _date() -> Converter:
    from datetime import date, datetime

    def check(value: Any, where: str) -> None:
        if not isinstance(value, date) or isinstance(value, datetime):
            raise TypeError(f"{where} must be date, not {_kind(value)}")

    def decode(value: Any, where: str) -> Any:
        from dateutil.parser import isoparse

        if not isinstance(value, str):
            raise TypeError(f"{where} must be a date text, not {_kind(value)}")
        try:
            return isoparse(value).date()
        except ValueError:
            raise ValueError(f"{where} is not a full-date as RFC 3339 section 5.6 writes it") from None

    return Converter(check, lambda value: value.isoformat(), decode)


_SCALARS: dict[str, Converter] = {
    "str": _exactly(str, "str"),
    "bool": _exactly(bool, "bool"),
    "int": _exactly(int, "int", not_bool=True),
    "float": _exactly((int, float), "float", not_bool=True),
    "object": Converter(lambda value, where: None, _same, lambda value, where: value),
    "date": _date(),
    "datetime": _datetime(),
}


def _list_of(item: Converter) -> Converter:
    def check(value: Any, where: str) -> None:
        if not isinstance(value, (list, tuple)):
            raise TypeError(f"{where} must be list, not {_kind(value)}")
        for index, entry in enumerate(value):
            item.check(entry, f"{where}[{index}]")

    def decode(value: Any, where: str) -> Any:
        if not isinstance(value, list):
            raise TypeError(f"{where} must be an array, not {_kind(value)}")
        return [item.decode(entry, f"{where}[{index}]") for index, entry in enumerate(value)]

    return Converter(check, lambda value: [item.encode(entry) for entry in value], decode)


def _dict_of(item: Converter) -> Converter:
    def check(value: Any, where: str) -> None:
        if not isinstance(value, Mapping):
            raise TypeError(f"{where} must be dict, not {_kind(value)}")
        for key, entry in value.items():
            if not isinstance(key, str):
                raise TypeError(f"a key of {where} must be str, not {_kind(key)}")
            item.check(entry, f"{where}[{key!r}]")

    def decode(value: Any, where: str) -> Any:
        if not isinstance(value, dict):
            raise TypeError(f"{where} must be an object, not {_kind(value)}")
        return {key: item.decode(entry, f"{where}[{key!r}]") for key, entry in value.items()}

    return Converter(check, lambda value: {key: item.encode(entry) for key, entry in value.items()}, decode)


def _model(name: str, package: str) -> Converter:
    import importlib

    cls = getattr(importlib.import_module(package), name, None)
    if not (isinstance(cls, type) and issubclass(cls, Model)):
        raise LookupError(f"the specification names a type {name!r} that {package} does not have")

    def check(value: Any, where: str) -> None:
        if not isinstance(value, cls):
            raise TypeError(f"{where} must be {name}, not {_kind(value)}")

    return Converter(check, lambda value: value.to_dict(), cls._decode)
