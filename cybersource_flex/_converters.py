"""Validate, serialise and parse values of the types that a specification can use."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, get_args

__all__ = ["Converter", "Discriminator", "FieldTypeError", "FieldValueError", "converter", "kind_of", "load_types"]


class FieldTypeError(TypeError):
    """A value has a different type than in the specification. Separate from ``TypeError`` for programming errors."""


class FieldValueError(ValueError):
    """A value has the right type, but the specification does not allow it."""


class Converter:
    """Checks, encodes and decodes values of one type.

    Args:
        check: raises ``FieldTypeError`` for a value of another type; takes the value and its name, for messages.
        encode: serialises to JSON types; takes the value and whether it is for a request, which omits read-only fields.
        decode: validates and parses JSON types; takes the value and its name, for messages.
        kind: the class whose direct instances all pass the check, or None.
        plain: whether values are already JSON types.
    """

    __slots__ = ("check", "decode", "encode", "kind", "plain")

    def __init__(
        self,
        check: Callable[[Any, str], None],
        encode: Callable[[Any, bool], Any],
        decode: Callable[[Any, str], Any],
        *,
        kind: type | None = None,
        plain: bool = False,
    ) -> None:
        self.check = check
        self.encode = encode
        self.decode = decode
        self.kind = kind
        self.plain = plain


def converter(type_name: str, package: str) -> Converter:
    """Return the converter for a type name.

    Args:
        type_name: ``str``, ``int``, ``float``, ``bool``, ``date``, ``datetime``, ``object`` (any JSON value), the name
            of something in ``package``, or ``List[...]``, ``Dict[str, ...]`` and ``Optional[...]`` (JSON null is a
            value) of these.
        package: name of the package of the generated models, enums and unions.

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
    if type_name.startswith("Optional[") and type_name.endswith("]"):
        return _optional(converter(type_name[9:-1], package))
    return _named(type_name, package)


def kind_of(value: Any) -> str:
    """The name of a value's type, for messages."""
    return "null" if value is None else type(value).__name__


def _same(value: Any, sent: bool) -> Any:
    return value


def _exactly(kind: type | tuple[type, ...], name: str, *, not_bool: bool = False) -> Converter:
    def check(value: Any, where: str) -> None:
        if not isinstance(value, kind) or (not_bool and isinstance(value, bool)):
            raise FieldTypeError(f"{where} must be {name}, not {kind_of(value)}")

    def decode(value: Any, where: str) -> Any:
        check(value, where)
        return value

    return Converter(check, _same, decode, kind=kind if isinstance(kind, type) else None, plain=True)


def _datetime() -> Converter:
    from datetime import datetime

    def check(value: Any, where: str) -> None:
        if not isinstance(value, datetime):
            raise FieldTypeError(f"{where} must be datetime, not {kind_of(value)}")

    def decode(value: Any, where: str) -> Any:
        from dateutil.parser import isoparse

        if not isinstance(value, str):
            raise FieldTypeError(f"{where} must be a date-time text, not {kind_of(value)}")
        try:
            return isoparse(value)
        except ValueError:
            raise FieldValueError(f"{where} is not a date-time as RFC 3339 section 5.6 writes it") from None

    return Converter(check, lambda value, sent: value.isoformat().replace("+00:00", "Z"), decode)


def _date() -> Converter:
    from datetime import date, datetime

    def check(value: Any, where: str) -> None:
        if not isinstance(value, date) or isinstance(value, datetime):
            raise FieldTypeError(f"{where} must be date, not {kind_of(value)}")

    def decode(value: Any, where: str) -> Any:
        from dateutil.parser import isoparse

        if not isinstance(value, str):
            raise FieldTypeError(f"{where} must be a date text, not {kind_of(value)}")
        try:
            return isoparse(value).date()
        except ValueError:
            raise FieldValueError(f"{where} is not a full-date as RFC 3339 section 5.6 writes it") from None

    return Converter(check, lambda value, sent: value.isoformat(), decode)


_SCALARS: dict[str, Converter] = {
    "str": _exactly(str, "str"),
    "bool": _exactly(bool, "bool"),
    "int": _exactly(int, "int", not_bool=True),
    "float": _exactly((int, float), "float", not_bool=True),
    "object": Converter(lambda value, where: None, _same, lambda value, where: value, plain=True),
    "date": _date(),
    "datetime": _datetime(),
}


def _list_of(item: Converter) -> Converter:
    def check(value: Any, where: str) -> None:
        if not isinstance(value, (list, tuple)):
            raise FieldTypeError(f"{where} must be list, not {kind_of(value)}")
        for index, entry in enumerate(value):
            item.check(entry, f"{where}[{index}]")

    def decode(value: Any, where: str) -> Any:
        if not isinstance(value, list):
            raise FieldTypeError(f"{where} must be an array, not {kind_of(value)}")
        return [item.decode(entry, f"{where}[{index}]") for index, entry in enumerate(value)]

    return Converter(check, lambda value, sent: [item.encode(entry, sent) for entry in value], decode)


def _dict_of(item: Converter) -> Converter:
    def check(value: Any, where: str) -> None:
        if not isinstance(value, Mapping):
            raise FieldTypeError(f"{where} must be dict, not {kind_of(value)}")
        for key, entry in value.items():
            if not isinstance(key, str):
                raise FieldTypeError(f"a key of {where} must be str, not {kind_of(key)}")
            item.check(entry, f"{where}[{key!r}]")

    def decode(value: Any, where: str) -> Any:
        if not isinstance(value, dict):
            raise FieldTypeError(f"{where} must be an object, not {kind_of(value)}")
        return {key: item.decode(entry, f"{where}[{key!r}]") for key, entry in value.items()}

    return Converter(check, lambda value, sent: {key: item.encode(entry, sent) for key, entry in value.items()}, decode)


def _optional(item: Converter) -> Converter:
    return Converter(
        lambda value, where: None if value is None else item.check(value, where),
        lambda value, sent: None if value is None else item.encode(value, sent),
        lambda value, where: None if value is None else item.decode(value, where),
    )


class Discriminator:
    """How the models of a union are distinguished (OpenAPI 3.0.3, Discriminator Object).

    Args:
        wire: name of the JSON member that identifies the model.
        models: the models by the values of that member.
    """

    __slots__ = ("models", "wire")

    def __init__(self, wire: str, models: Mapping[str, type]) -> None:
        self.wire = wire
        self.models = models


def load_types(type_name: str, package: str, seen: set[str] | None = None) -> None:
    """Import the models that a type consists of.

    Args:
        type_name: as ``converter`` takes it.
        package: name of the package of the generated models.
        seen: names that are already loaded.
    """
    seen = {"List", "Dict", "Optional"} if seen is None else seen
    for name in re.findall(r"\w+", type_name):
        if name not in _SCALARS and name not in seen:
            seen.add(name)
            for field in getattr(converter(name, package).kind, "_fields", {}).values():
                load_types(field.type, package, seen)


def _named(name: str, package: str) -> Converter:
    import importlib

    home = importlib.import_module(package)
    target = getattr(home, name, None)
    if isinstance(target, type) and hasattr(target, "_fields"):
        return _model(target)
    # Anything else is an alias: of an enum's values and type, or of a union's models.
    last = getattr((get_args(target) or (target,))[-1], "__name__", "")
    if last in _SCALARS:
        return _SCALARS[last]
    if name in getattr(home, "_MODULES", ()):
        return _union(importlib.import_module(f"{package}.{home._MODULES[name]}").DISCRIMINATOR)
    raise LookupError(f"the specification names a type {name!r} that {package} does not have")


def _model(cls: Any) -> Converter:
    def check(value: Any, where: str) -> None:
        if not isinstance(value, cls):
            raise FieldTypeError(f"{where} must be {cls.__name__}, not {kind_of(value)}")

    return Converter(check, cls._encode, cls._decode, kind=cls)


def _union(by: Discriminator) -> Converter:
    classes: Final[tuple[Any, ...]] = tuple(by.models.values())

    def check(value: Any, where: str) -> None:
        if not isinstance(value, classes):
            raise FieldTypeError(
                f"{where} must be {' or '.join(each.__name__ for each in classes)}, not {kind_of(value)}"
            )

    def decode(value: Any, where: str) -> Any:
        if not isinstance(value, Mapping):
            raise FieldTypeError(f"{where} must be an object, not {kind_of(value)}")
        tag = value.get(by.wire)
        model: Any = by.models.get(tag) if isinstance(tag, str) else None
        if model is None:
            raise FieldValueError(f"{where}.{by.wire} must be {' or '.join(map(repr, by.models))}")
        return model._decode(value, where)

    return Converter(check, lambda value, sent: value._encode(sent), decode)
