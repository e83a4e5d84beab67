"""The base class of the generated models.

A model is a class with slots. A field that was never set is *absent*: it reads as ``None`` and is left out of the
JSON. A nullable field that was set to ``None`` is *null*: it reads as ``None`` too and is written as ``null``. Members
that the specification does not define are kept and written back, so additions of a newer service survive a round trip.

A *read-only* field (``readOnly``) is only set by the service: it is not an argument of the constructor, setting it
raises, and request bodies leave it out, so that an object can be fetched, changed and sent back. ``to_dict`` and
``to_json`` include it, because copies and pickles need it. A *write-only* field (``writeOnly``) is only sent to the
service: a response may lack it, and the ``repr`` does not show it.
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
    """The type of ``UNSET``, the default of arguments for which ``None`` would mean JSON null."""

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
    """One property of a model: its JSON name, its type in the specification, and its rules.

    Args:
        wire: name of the member in JSON.
        type: name of the type, as ``_converters.converter`` takes it.
        required: the constructor requires it, and ``from_dict`` rejects JSON without it. ``from_dict`` does not require
            read-only or write-only fields, because it parses both requests and responses.
        nullable: JSON null is a valid value.
        deprecated: setting it issues a warning.
        read_only: it is parsed, but never sent.
        write_only: it is sent, but not shown in the ``repr``.
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
        # Built on first use, not at import: most programs use only a few of the models.
        cached = self._converter
        if cached is None:
            cached = self._converter = converter(self.type, package)
        return cached


class Model:
    """Base class of the generated models. Not for direct use."""

    __slots__ = ("__weakref__", "_extra")
    _fields: ClassVar[Mapping[str, Field]] = {}

    _extra: dict[str, Any]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        constructor = vars(cls).get("__init__")
        if constructor is not None:
            # A value of the wrong type may be card data, and would stay in the local variables of a traceback.
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
        """Validate a value that is not null, and set the field to it."""
        converter = field._converter or field.converter(_package(type(self)))
        # Fast path that most values take; `check` accepts the other valid types and raises for the rest.
        if type(value) is not converter.kind:
            converter.check(value, f"{type(self).__name__}.{name}")
        object.__setattr__(self, name, value)
        if field.deprecated:
            warn_deprecated(f"{type(self).__name__}.{name} is deprecated")

    if not TYPE_CHECKING:  # type checkers must see only the declared fields

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
            # Called only if the slot is empty: the field is absent.
            if name in type(self)._fields:
                return None
            raise AttributeError(f"{type(self).__name__} has no field {name!r}")

    def __contains__(self, name: object) -> bool:
        """Whether the field (by its Python name) has a value, including null."""
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
        """Members that the specification does not define, by JSON name. The dictionary can be changed."""
        return self._extra

    def to_dict(self) -> dict[str, Any]:
        """Serialise the model to JSON types, by JSON name: without absent fields, with unknown members at the end."""
        return self._encode(False)

    def _encode(self, sent: bool) -> dict[str, Any]:
        # Inlines `_present` for speed: every request runs this.
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
        """Serialise the model to a JSON string, without white space; non-ASCII characters are not escaped.

        Raises:
            TypeError: an unknown member holds something that JSON cannot express.
            ValueError: a number is NaN or infinite.
        """
        return _TO_JSON.encode(self.to_dict())

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Parse a model from JSON types, by JSON name.

        Raises:
            TypeError: a member has a different type than in the specification; the message names its path.
            ValueError: a required member is missing, or a date cannot be parsed.
        """
        return cls._decode(data, cls.__name__)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Parse a model from a JSON string. Raises ``ValueError`` for invalid JSON, otherwise as ``from_dict``."""
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
