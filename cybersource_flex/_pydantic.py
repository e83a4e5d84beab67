"""Support for generated models in pydantic 2 and FastAPI. Only pydantic calls this module, so pydantic is installed."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any, TypeAlias, get_args

from .errors import InvalidArgumentError, InvalidArgumentTypeError

__all__ = ["core_schema_of", "json_schema_of", "serializer_of"]

# A generated model. `_model` imports this module, so its types are not imported here.
ModelClass: TypeAlias = Any

_JSON_TYPES: dict[str, dict[str, Any]] = {
    "str": {"type": "string"},
    "bool": {"type": "boolean"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "object": {},
    "date": {"type": "string", "format": "date"},
    "datetime": {"type": "string", "format": "date-time"},
}


def core_schema_of(cls: ModelClass) -> Any:
    """Return pydantic's schema of a model. It accepts the model or JSON types, and serialises to JSON types."""
    # Imported by name, because pydantic need not be installed where this package is type-checked.
    core_schema: Any = import_module("pydantic_core.core_schema")

    def validate(value: Any) -> Any:
        if isinstance(value, cls):
            return value
        try:
            return cls.from_dict(value)
        except (InvalidArgumentError, InvalidArgumentTypeError) as cause:
            problem = str(cause)
        # A `ValueError`, because pydantic reports it as an error of the field. A `TypeError` would propagate.
        raise ValueError(problem)

    return core_schema.no_info_plain_validator_function(
        validate,
        ref=f"{cls.__module__}.{cls.__qualname__}",
        serialization=core_schema.plain_serializer_function_ser_schema(cls.to_dict),
    )


@cache
def serializer_of(cls: ModelClass) -> Any:
    """Return pydantic's serializer of a model."""
    return import_module("pydantic_core").SchemaSerializer(core_schema_of(cls))


def json_schema_of(cls: ModelClass, parents: tuple[ModelClass, ...] = ()) -> dict[str, Any]:
    """Return the JSON schema of a model. Nested models are included. A model inside itself has no properties."""
    schema: dict[str, Any] = {"type": "object", "title": cls.__name__}
    if cls in parents:
        return schema
    description = (cls.__doc__ or "").partition("\n\n")[0].strip()
    if description:
        schema["description"] = " ".join(description.split())
    package = cls.__module__.rpartition(".")[0]
    fields = cls._fields.values()
    schema["properties"] = {field.json_name: _property(field, package, (*parents, cls)) for field in fields}
    required = [field.json_name for field in fields if field.required_in_json]
    return {**schema, "required": required} if required else schema


def _property(field: Any, package: str, parents: tuple[ModelClass, ...]) -> dict[str, Any]:
    schema = _type(field.type, package, parents)
    if field.nullable:
        schema = _or_null(schema)
    marks = {"deprecated": field.deprecated, "readOnly": field.read_only, "writeOnly": field.write_only}
    return {**schema, **{name: True for name, is_set in marks.items() if is_set}}


def _type(name: str, package: str, parents: tuple[ModelClass, ...]) -> dict[str, Any]:
    """Return the JSON schema of a type in the notation of ``_converters.converter``."""
    for prefix in ("Optional[", "List[", "Dict[str, "):
        if name.startswith(prefix):
            item = _type(name[len(prefix) : -1], package, parents)
            if prefix == "List[":
                return {"type": "array", "items": item}
            if prefix == "Dict[str, ":
                return {"type": "object", "additionalProperties": item}
            return _or_null(item)
    if name in _JSON_TYPES:
        return dict(_JSON_TYPES[name])
    return _named(name, package, parents)


def _named(name: str, package: str, parents: tuple[ModelClass, ...]) -> dict[str, Any]:
    """Return the JSON schema of a model, union or enumeration. An enumeration also accepts unlisted values."""
    home = import_module(package)
    target = getattr(home, name)
    if hasattr(target, "_fields"):
        return json_schema_of(target, parents)
    literals, last = get_args(target)[:-1], (get_args(target) or (target,))[-1]
    scalar = _JSON_TYPES.get(getattr(last, "__name__", ""))
    if scalar is not None:
        values = [value for literal in literals for value in get_args(literal)]
        return {**scalar, "examples": values} if values else dict(scalar)
    models = import_module(f"{package}.{home._MODULES[name]}").DISCRIMINATOR.models.values()
    return {"anyOf": [json_schema_of(model, parents) for model in dict.fromkeys(models)]}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    if not schema or {"type": "null"} in schema.get("anyOf", ()):
        return schema
    return {"anyOf": [schema, {"type": "null"}]}
