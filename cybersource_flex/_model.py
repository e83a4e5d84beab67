"""The base class of the generated models.

A model is a class with slots. A field that was never given is *absent*: it reads as ``None`` and stays out of the JSON.
A nullable field that was given ``None`` is *null*: it reads as ``None`` too and is written as ``null``. Members that
the specification does not name are kept and written back, so what a newer service adds survives a round trip.

A *read-only* field (``readOnly``) comes from the service alone: no argument of the constructor, refused when set, and
left out of the bodies of requests, so that an object can be fetched, changed and sent back. ``to_dict`` and ``to_json``
have it, because copies and pickles do. A *write-only* field (``writeOnly``) goes to the service alone: an answer may
lack it, and the ``repr`` does not show it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from ._converters import FieldTypeError, FieldValueError, converter, kind_of
from ._deprecated import warn_deprecated
from ._sealed import sealed

if TYPE_CHECKING:
    from typing import Self

    from ._converters import Converter

__all__ = ["UNSET", "Field", "Model", "Unset"]

_ModelT = TypeVar("_ModelT", bound="Model")

_TO_JSON: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


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
        type: name of the type, as ``_converters.converter`` takes it.
        required: the constructor asks for it, and JSON without it is refused. Of what goes one way alone, ``from_dict``
            asks for nothing: it reads requests and answers alike.
        nullable: JSON null is a value of its own.
        deprecated: giving it a value warns.
        read_only: it is decoded, and never sent.
        write_only: it is sent, and not shown.
    """

    __slots__ = (
        *("_converter", "deprecated", "expected", "nullable"),
        *("read_only", "required", "type", "wire", "write_only"),
    )

    def __init__(
        self,
        wire: str,
        type: str,
        *,
        required: bool = False,
        nullable: bool = False,
        deprecated: bool = False,
        read_only: bool = False,
        write_only: bool = False,
    ) -> None:
        self.wire = wire
        self.type = type
        self.required = required
        self.nullable = nullable
        self.deprecated = deprecated
        self.read_only = read_only
        self.write_only = write_only
        self.expected = required and not read_only and not write_only
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

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        constructor = vars(cls).get("__init__")
        if constructor is not None:
            # A value of the wrong type may be card data, and would stay in the variables of a traceback.
            cls.__init__ = sealed(constructor)  # type: ignore[method-assign]

    def _init(self, **values: Any) -> None:
        object.__setattr__(self, "_extra", {})
        fields = self._fields
        for name, value in values.items():
            if value is None or value is UNSET:
                if value is None and fields[name].nullable:
                    setattr(self, name, None)
                elif fields[name].required:
                    raise TypeError(f"{type(self).__name__}.{name} is required and cannot be None")
            else:
                self._give(name, fields[name], value)

    def _give(self, name: str, field: Field, value: Any) -> None:
        """Set a field to a value that is not null, once it has been checked."""
        converter = field._converter or field.converter(_package(type(self)))
        # The one test that most values pass; the check knows the others, and what to say.
        if type(value) is not converter.kind:
            converter.check(value, f"{type(self).__name__}.{name}")
        object.__setattr__(self, name, value)
        if field.deprecated:
            warn_deprecated(f"{type(self).__name__}.{name} is deprecated")

    if not TYPE_CHECKING:  # a type checker is to know the declared fields and no others

        def __setattr__(self, name: str, value: Any) -> None:
            field = self._fields.get(name)
            if field is None:
                raise AttributeError(f"{type(self).__name__} has no field {name!r}")
            if field.read_only:
                raise AttributeError(f"{type(self).__name__}.{name} is read-only: it comes from the service alone")
            if value is None and not field.nullable:
                if field.required:
                    raise TypeError(f"{type(self).__name__}.{name} is required and cannot be None")
                if name in self:
                    object.__delattr__(self, name)
                return
            if value is not None:
                self._give(name, field, value)
                return
            object.__setattr__(self, name, None)
            if field.deprecated:
                warn_deprecated(f"{type(self).__name__}.{name} is deprecated")

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
        read = object.__getattribute__
        for name, field in self._fields.items():
            try:
                value = read(self, name)
            except AttributeError:
                continue
            yield name, field, value

    @property
    def additional_properties(self) -> dict[str, Any]:
        """Members that the specification does not name, by their JSON names. May be added to."""
        return self._extra

    def to_dict(self) -> dict[str, Any]:
        """The model as JSON types, by JSON names: absent fields left out, unknown members at the end."""
        return self._encode(False)

    def _encode(self, sent: bool) -> dict[str, Any]:
        # `_present` written out, because every request comes by here.
        out: dict[str, Any] = {}
        read = object.__getattribute__
        for name, field in self._fields.items():
            try:
                value = read(self, name)
            except AttributeError:
                continue
            if not (sent and field.read_only):
                converter = field._converter or field.converter(_package(type(self)))
                out[field.wire] = value if value is None or converter.plain else converter.encode(value, sent)
        for name, value in self._extra.items():
            out.setdefault(name, value)
        return out

    def to_json(self) -> str:
        """The model as JSON text, without white space, non-ASCII characters as they are.

        Raises:
            TypeError: an unknown member holds something that JSON cannot express.
            ValueError: a number is NaN or infinite.
        """
        return _TO_JSON.encode(self.to_dict())

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
            raise FieldTypeError(f"{where} must be an object, not {kind_of(data)}")
        package = _package(cls)
        self = cls.__new__(cls)
        rest = dict(data)
        object.__setattr__(self, "_extra", rest)
        for name, field in cls._fields.items():
            value = rest.pop(field.wire, UNSET)
            if value is UNSET or (value is None and not field.nullable):
                if field.expected:
                    raise FieldValueError(f"{where}.{field.wire} is required")
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
        parts = [f"{name}={'...' if field.write_only else repr(value)}" for name, field, value in self._present()]
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
