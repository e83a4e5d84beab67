"""The base class of the generated models.

A model is a class with slots. A field that was never set is *absent*: its value is ``None``, and the JSON does not
contain the field. A nullable field that was set to ``None`` is *null*: its value is ``None`` too, and the JSON contains
``null``. JSON members that the specification does not define are kept and written back, so that additions of a newer
service are not lost.

A *read-only* field (``readOnly``) is only set by the service. It is not an argument of the constructor, and setting the
attribute raises. Request bodies do not contain read-only fields, so that an object can be fetched, changed and sent
back. ``to_dict`` and ``to_json`` include read-only fields, because copies and pickles need them. A *write-only* field
(``writeOnly``) is only sent to the service. A response need not contain it, and the ``repr`` does not show its value.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from ._converters import FieldTypeError, FieldValueError, converter, type_name_of
from ._runtime.tracebacks import clear_locals_on_error
from ._warnings import warn_deprecated
from .errors import InvalidArgumentError

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
    """One field of a model: its JSON name, its type in the specification, and its rules.

    Args:
        json_name: name of the member in JSON.
        type: name of the type, in the notation of ``_converters.converter``.
        required: whether the constructor requires the field, and ``from_dict`` rejects JSON without it. ``from_dict``
            does not require read-only or write-only fields, because it parses both requests and responses.
        nullable: whether JSON null is a valid value.
        deprecated: whether setting the field issues a warning.
        read_only: whether the field is parsed, but never sent.
        write_only: whether the field is sent, but not shown in the ``repr``.
    """

    __slots__ = (
        *("_converter", "deprecated", "json_name", "nullable", "read_only"),
        *("required", "required_in_json", "type", "write_only"),
    )

    def __init__(
        self,
        json_name: str,
        type: str,
        *,
        required: bool = False,
        nullable: bool = False,
        deprecated: bool = False,
        read_only: bool = False,
        write_only: bool = False,
    ) -> None:
        self.json_name = json_name
        self.type = type
        self.required = required
        self.nullable = nullable
        self.deprecated = deprecated
        self.read_only = read_only
        self.write_only = write_only
        self.required_in_json = required and not read_only and not write_only
        self._converter: Converter | None = None

    def converter(self, package: str) -> Converter:
        # The converter is created on first use, because most programs use only a few of the models.
        cached = self._converter
        if cached is None:
            cached = self._converter = converter(self.type, package)
        return cached


class _PydanticSerializer:
    """Attribute that gives pydantic the serializer of a model. Needed for pydantic fields of type ``Any``."""

    __slots__ = ()

    def __get__(self, model: object, owner: Any) -> Any:
        try:
            from ._pydantic import serializer_of

            return serializer_of(owner)
        except ImportError:
            raise AttributeError("__pydantic_serializer__") from None


class Model:
    """Base class of the generated models. Not for direct use."""

    __slots__ = ("__weakref__", "_extra")
    _fields: ClassVar[Mapping[str, Field]] = {}

    _extra: dict[str, Any]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        constructor = vars(cls).get("__init__")
        if constructor is not None:
            # A value of the wrong type may be card data, which would stay in the local variables of the traceback.
            cls.__init__ = clear_locals_on_error(constructor)  # type: ignore[method-assign]

    def _init(self, **values: Any) -> None:
        object.__setattr__(self, "_extra", {})
        fields = self._fields
        for name, value in values.items():
            if value is None or value is UNSET:
                if value is None and fields[name].nullable:
                    setattr(self, name, None)
                elif fields[name].required:
                    raise FieldTypeError(f"{type(self).__name__}.{name}", "is required and cannot be None")
            else:
                self._set_checked(name, fields[name], value)

    @classmethod
    def _create(cls, values: Mapping[str, Any]) -> Self:
        """Create a model from values by the Python names of its fields. The values are not checked."""
        self = cls.__new__(cls)
        set_slot = object.__setattr__
        set_slot(self, "_extra", {})
        for name, value in values.items():
            set_slot(self, name, value)
        return self

    def _set_checked(self, name: str, field: Field, value: Any) -> None:
        """Validate a value that is not null, and set the field to it."""
        converter = field._converter or field.converter(_package(type(self)))
        # Most values have exactly this type and need no check. `check` accepts the other valid types.
        if type(value) is not converter.exact_type:
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
                raise AttributeError(f"{type(self).__name__}.{name} is read-only: only the service sets it")
            if value is None and not field.nullable:
                if field.required:
                    raise FieldTypeError(f"{type(self).__name__}.{name}", "is required and cannot be None")
                if name in self:
                    object.__delattr__(self, name)
                return
            if value is not None:
                self._set_checked(name, field, value)
                return
            object.__setattr__(self, name, None)
            if field.deprecated:
                warn_deprecated(f"{type(self).__name__}.{name} is deprecated")

        def __getattr__(self, name: str) -> Any:
            # Python calls this method only if the slot is empty, which means that the field is absent.
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

    def _present_fields(self) -> Iterator[tuple[str, Field, Any]]:
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
        """Serialise the model to a dictionary by JSON name. Absent fields are left out. Unknown members come last."""
        return self._encode(False)

    def _encode(self, for_request: bool) -> dict[str, Any]:
        # `_present_fields` is inlined for speed, because every request calls this method.
        out: dict[str, Any] = {}
        read = object.__getattribute__
        for name, field in self._fields.items():
            try:
                value = read(self, name)
            except AttributeError:
                continue
            if not (for_request and field.read_only):
                converter = field._converter or field.converter(_package(type(self)))
                out[field.json_name] = (
                    value if value is None or converter.is_json_native else converter.encode(value, for_request)
                )
        for name, value in self._extra.items():
            out.setdefault(name, value)
        return out

    def to_json(self) -> str:
        """Serialise the model to a JSON string without white space. Characters outside ASCII are not escaped.

        Raises:
            InvalidArgumentError: an unknown member contains something that JSON cannot express, such as NaN.
        """
        data = self.to_dict()
        try:
            return _TO_JSON.encode(data)
        except (TypeError, ValueError, RecursionError):
            pass
        # Raised outside of the handler, because the exceptions above may quote the value.
        raise InvalidArgumentError(
            f"the additional_properties of {type(self).__name__} hold something that JSON cannot express",
            argument="additional_properties",
        )

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Parse a model from a dictionary of JSON types, whose keys are the JSON names.

        Raises:
            InvalidArgumentTypeError: a member has a different type than in the specification. The message contains the
                path of the member.
            InvalidArgumentError: a required member is missing, or a date cannot be parsed.
        """
        return cls._decode(data, cls.__name__)

    @classmethod
    def from_json(cls, json_data: str | bytes) -> Self:
        """Parse a model from a JSON string.

        Raises:
            InvalidArgumentError: the string is not valid JSON. Other errors are those of ``from_dict``.
        """
        if not isinstance(json_data, (str, bytes, bytearray)):
            raise FieldTypeError("json_data", f"must be str or bytes, not {type_name_of(json_data)}")
        data: Any = None
        problem = None
        try:
            data = json.loads(json_data)
        except json.JSONDecodeError as cause:
            problem = f"is not valid JSON: {cause}"
        except (ValueError, RecursionError):
            problem = "is not valid JSON: not in UTF-8, UTF-16 or UTF-32, nested too deeply, or with too long a number"
        if problem is not None:
            # Raised outside of the handler, because the exceptions above contain the string.
            raise FieldValueError("json_data", problem)
        return cls.from_dict(data)

    @classmethod
    def _decode(cls, data: Any, where: str) -> Self:
        if not isinstance(data, Mapping):
            raise FieldTypeError(where, f"must be an object, not {type_name_of(data)}")
        package = _package(cls)
        self = cls.__new__(cls)
        rest = dict(data)
        object.__setattr__(self, "_extra", rest)
        for name, field in cls._fields.items():
            value = rest.pop(field.json_name, UNSET)
            if value is UNSET or (value is None and not field.nullable):
                if field.required_in_json:
                    raise FieldValueError(f"{where}.{field.json_name}", "is required")
                continue
            if value is not None:
                value = field.converter(package).decode(value, f"{where}.{field.json_name}")
            object.__setattr__(self, name, value)
        return self

    __pydantic_serializer__ = _PydanticSerializer()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Let pydantic 2 and FastAPI validate and serialise the model. Only pydantic calls this method."""
        from ._pydantic import core_schema_of

        return core_schema_of(cls)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        """Describe the model in JSON Schema, for pydantic 2 and FastAPI."""
        from ._pydantic import json_schema_of

        return json_schema_of(cls)

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        """Iterate over the members of ``to_dict()``, so that ``dict(model)`` works, as with pydantic's models."""
        return iter(self.to_dict().items())

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self) or not isinstance(other, Model):
            return NotImplemented
        return self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        parts = [
            f"{name}={'...' if field.write_only else repr(value)}" for name, field, value in self._present_fields()
        ]
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
