"""Validate, serialise and parse values of the types that a specification can use."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from math import isfinite
from typing import Any, Final, get_args

from .errors import InvalidArgumentError, InvalidArgumentTypeError

__all__ = [
    "Converter",
    "Discriminator",
    "FieldTypeError",
    "FieldValueError",
    "converter",
    "format_datetime",
    "load_types",
    "type_name_of",
]


class FieldTypeError(InvalidArgumentTypeError):
    """A value has a different type than in the specification.

    Args:
        where: name of the field.
        problem: the rule that the value breaks, for the message: "must be str, not int".
    """

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(f"{where} {problem}", argument=where)


class FieldValueError(InvalidArgumentError):
    """A value has the right type, but the specification does not allow it. Arguments as for ``FieldTypeError``."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(f"{where} {problem}", argument=where)


class Converter:
    """Checks, encodes and decodes values of one type.

    Args:
        check: function that raises ``FieldTypeError`` if a value has the wrong type. Its arguments are the value and
            the name of the value, for messages.
        encode: function that serialises a value to JSON types. Its second argument says whether the result is for a
            request. Requests omit read-only fields.
        decode: function that validates and parses a JSON value. Its arguments are the JSON value and its name, for
            messages.
        exact_type: the class whose direct instances all pass ``check``. None if there is no such class.
        is_json_native: whether values are already JSON types.
    """

    __slots__ = ("check", "decode", "encode", "exact_type", "is_json_native")

    def __init__(
        self,
        check: Callable[[Any, str], None],
        encode: Callable[[Any, bool], Any],
        decode: Callable[[Any, str], Any],
        *,
        exact_type: type | None = None,
        is_json_native: bool = False,
    ) -> None:
        self.check = check
        self.encode = encode
        self.decode = decode
        self.exact_type = exact_type
        self.is_json_native = is_json_native


@cache
def converter(type_name: str, package: str) -> Converter:
    """Return the converter for a type name.

    Args:
        type_name: ``str``, ``int``, ``float``, ``bool``, ``date``, ``datetime``, ``object`` (any JSON value), or the
            name of a model, enum or union in ``package``. ``List[...]``, ``Dict[str, ...]`` and ``Optional[...]``
            contain one of these types. ``Optional`` accepts JSON null.
        package: name of the package of the generated models, enums and unions.

    Raises:
        LookupError: there is no type of this name. Generated code only contains names of existing types.
    """
    scalar = _SCALARS.get(type_name)
    if scalar is not None:
        return scalar
    if type_name.startswith("List[") and type_name.endswith("]"):
        return _list_of(converter(type_name[5:-1], package))
    if type_name.startswith("Dict[str, ") and type_name.endswith("]"):
        return _dict_of(converter(type_name[10:-1], package))
    if type_name.startswith("Optional[") and type_name.endswith("]"):
        return _optional(converter(type_name[9:-1], package))
    return _named(type_name, package)


def type_name_of(value: Any) -> str:
    """Return the name of a value's type, for messages."""
    return "null" if value is None else type(value).__name__


def _identity(value: Any, for_request: bool) -> Any:
    return value


def _builtin(python_type: type | tuple[type, ...], name: str, *, not_bool: bool = False) -> Converter:
    def check(value: Any, where: str) -> None:
        if not isinstance(value, python_type) or (not_bool and isinstance(value, bool)):
            raise FieldTypeError(where, f"must be {name}, not {type_name_of(value)}")

    def decode(value: Any, where: str) -> Any:
        check(value, where)
        return value

    return Converter(
        check, _identity, decode, exact_type=python_type if isinstance(python_type, type) else None, is_json_native=True
    )


def format_datetime(value: Any, where: str) -> str:
    """Convert a ``datetime`` to a date-time of RFC 3339.

    Raises:
        FieldValueError: the value has no time zone, or an offset that RFC 3339 cannot express.
    """
    offset = value.utcoffset()
    if offset is None:
        raise FieldValueError(
            where,
            "has no time zone, which a date-time needs (RFC 3339 section 5.6); expected for example datetime.now(UTC)",
        )
    if offset.seconds % 60 or offset.microseconds:
        raise FieldValueError(where, "has a UTC offset that is not in whole minutes (RFC 3339 section 5.6)")
    return str(value.isoformat()).replace("+00:00", "Z")


def _float() -> Converter:
    is_number = _builtin((int, float), "float", not_bool=True).check

    def check(value: Any, where: str) -> None:
        is_number(value, where)
        if isinstance(value, float) and not isfinite(value):
            raise FieldValueError(where, "must be a finite number, because JSON cannot express NaN and infinity")

    def decode(value: Any, where: str) -> Any:
        check(value, where)
        return value

    return Converter(check, _identity, decode, is_json_native=True)


def _datetime() -> Converter:
    from datetime import datetime

    def check(value: Any, where: str) -> None:
        if not isinstance(value, datetime):
            raise FieldTypeError(where, f"must be datetime, not {type_name_of(value)}")
        format_datetime(value, where)

    def decode(value: Any, where: str) -> Any:
        from dateutil.parser import isoparse

        if not isinstance(value, str):
            raise FieldTypeError(where, f"must be a date-time string, not {type_name_of(value)}")
        try:
            parsed = isoparse(value)
        except ValueError:
            raise FieldValueError(where, "is not a valid date-time (RFC 3339 section 5.6)") from None
        format_datetime(parsed, where)
        return parsed

    return Converter(check, lambda value, for_request: format_datetime(value, "a date-time"), decode)


def _date() -> Converter:
    from datetime import date, datetime

    def check(value: Any, where: str) -> None:
        if not isinstance(value, date) or isinstance(value, datetime):
            raise FieldTypeError(where, f"must be date, not {type_name_of(value)}")

    def decode(value: Any, where: str) -> Any:
        from dateutil.parser import isoparse

        if not isinstance(value, str):
            raise FieldTypeError(where, f"must be a date string, not {type_name_of(value)}")
        try:
            return isoparse(value).date()
        except ValueError:
            raise FieldValueError(where, "is not a valid full-date (RFC 3339 section 5.6)") from None

    return Converter(check, lambda value, for_request: value.isoformat(), decode)


_SCALARS: dict[str, Converter] = {
    "str": _builtin(str, "str"),
    "bool": _builtin(bool, "bool"),
    "int": _builtin(int, "int", not_bool=True),
    "float": _float(),
    "object": Converter(lambda value, where: None, _identity, lambda value, where: value, is_json_native=True),
    "date": _date(),
    "datetime": _datetime(),
}


def _list_of(item: Converter) -> Converter:
    def check(value: Any, where: str) -> None:
        if not isinstance(value, (list, tuple)):
            raise FieldTypeError(where, f"must be list, not {type_name_of(value)}")
        for index, entry in enumerate(value):
            item.check(entry, f"{where}[{index}]")

    def decode(value: Any, where: str) -> Any:
        if not isinstance(value, list):
            raise FieldTypeError(where, f"must be an array, not {type_name_of(value)}")
        return [item.decode(entry, f"{where}[{index}]") for index, entry in enumerate(value)]

    return Converter(check, lambda value, for_request: [item.encode(entry, for_request) for entry in value], decode)


def _dict_of(item: Converter) -> Converter:
    def check(value: Any, where: str) -> None:
        if not isinstance(value, Mapping):
            raise FieldTypeError(where, f"must be dict, not {type_name_of(value)}")
        for key, entry in value.items():
            if not isinstance(key, str):
                raise FieldTypeError(f"a key of {where}", f"must be str, not {type_name_of(key)}")
            item.check(entry, f"{where}[{key!r}]")

    def decode(value: Any, where: str) -> Any:
        if not isinstance(value, dict):
            raise FieldTypeError(where, f"must be an object, not {type_name_of(value)}")
        return {key: item.decode(entry, f"{where}[{key!r}]") for key, entry in value.items()}

    return Converter(
        check, lambda value, for_request: {key: item.encode(entry, for_request) for key, entry in value.items()}, decode
    )


def _optional(item: Converter) -> Converter:
    return Converter(
        lambda value, where: None if value is None else item.check(value, where),
        lambda value, for_request: None if value is None else item.encode(value, for_request),
        lambda value, where: None if value is None else item.decode(value, where),
    )


class Discriminator:
    """How the models of a union are distinguished (OpenAPI 3.0.3, Discriminator Object).

    Args:
        json_name: name of the JSON member that identifies the model.
        models: the models, by the value of that member.
    """

    __slots__ = ("json_name", "models")

    def __init__(self, json_name: str, models: Mapping[str, type]) -> None:
        self.json_name = json_name
        self.models = models


def load_types(type_name: str, package: str, loaded: set[str] | None = None) -> None:
    """Import the models that a type consists of.

    Args:
        type_name: name of the type, in the notation of ``converter``.
        package: name of the package of the generated models.
        loaded: names that are already loaded. None if there are none.
    """
    loaded = {"List", "Dict", "Optional"} if loaded is None else loaded
    for name in re.findall(r"\w+", type_name):
        if name not in _SCALARS and name not in loaded:
            loaded.add(name)
            for field in getattr(converter(name, package).exact_type, "_fields", {}).values():
                load_types(field.type, package, loaded)


def _named(name: str, package: str) -> Converter:
    import importlib

    home = importlib.import_module(package)
    target = getattr(home, name, None)
    if isinstance(target, type) and hasattr(target, "_fields"):
        return _model(target)
    # Anything else is an alias: of an enum (its values and their type), or of a union (its models).
    last = getattr((get_args(target) or (target,))[-1], "__name__", "")
    if last in _SCALARS:
        return _SCALARS[last]
    if name in getattr(home, "_MODULES", ()):
        return _union(importlib.import_module(f"{package}.{home._MODULES[name]}").DISCRIMINATOR)
    raise LookupError(f"the specification names a type {name!r} that {package} does not have")


def _model(cls: Any) -> Converter:
    def check(value: Any, where: str) -> None:
        if not isinstance(value, cls):
            raise FieldTypeError(where, f"must be {cls.__name__}, not {type_name_of(value)}")

    def decode(value: Any, where: str) -> Any:
        return cls._decode(value, where)

    return Converter(check, cls._encode, decode, exact_type=cls)


def _union(discriminator: Discriminator) -> Converter:
    classes: Final[tuple[Any, ...]] = tuple(discriminator.models.values())

    def check(value: Any, where: str) -> None:
        if not isinstance(value, classes):
            raise FieldTypeError(
                where, f"must be {' or '.join(model.__name__ for model in classes)}, not {type_name_of(value)}"
            )

    def decode(value: Any, where: str) -> Any:
        if not isinstance(value, Mapping):
            raise FieldTypeError(where, f"must be an object, not {type_name_of(value)}")
        tag = value.get(discriminator.json_name)
        model: Any = discriminator.models.get(tag) if isinstance(tag, str) else None
        if model is None:
            raise FieldValueError(
                f"{where}.{discriminator.json_name}", f"must be {' or '.join(map(repr, discriminator.models))}"
            )
        return model._decode(value, where)

    return Converter(check, lambda value, for_request: value._encode(for_request), decode)
