"""The name in Python of everything that has a name in the specification.

Each name is converted to the form that Python expects: ``CamelCase`` for classes, ``snake_case`` for the rest. A name
gets a suffix if it has another meaning where it would be used, or if another thing has it already. The suffix is
``Model`` for models and ``_`` for the rest. Names that need no conversion come first: ``id`` stays ``id`` beside
``_id``. The names in JSON, paths, queries and headers do not change.
"""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from openapi.document import METHODS, Document
from openapi.inline_objects import camel
from openapi.supported_schemas import flat, is_class, resolve

# Names in the annotations and in the code of every generated class. `date` and `float` also name types.
_TYPES: Final = {"bool", "date", "datetime", "dict", "float", "int", "list", "str"}
# Words that are keywords in other spellings: `None` becomes `none`.
_KEYWORDS: Final = {word.lower() for word in keyword.kwlist}

# A field must not hide a type in the annotations of its class, nor a member that all models have.
_MODEL_MEMBERS: Final = {"additional_properties", "from_dict", "from_json", "to_dict", "to_json"}
FIELDS: Final = _KEYWORDS | _TYPES | _MODEL_MEMBERS | {"self"}

# Every method already has parameters with these names.
PARAMETERS: Final = FIELDS | {"retry", "timeout"}

# A method must not hide a type in the annotations of its class, nor a member that all API classes have. The constants
# of the operations are in the same module, in capitals.
METHOD_NAMES: Final = _KEYWORDS | _TYPES | {"api_client", "property", "self", "type_checking"}

# A class must not hide what the generated modules import, nor have the name of a type of Python or OpenAPI.
CLASSES: Final = {
    *("Any", "ApiClient", "ApiResponse", "AsyncApiClient", "Boolean", "ClassVar", "DISCRIMINATOR", "Dict"),
    *("Discriminator", "Field", "Final", "Integer", "Iterable", "List", "Literal", "Mapping", "Model", "Number"),
    *("Object", "Operation", "Optional", "RetryPolicy", "Self", "Set", "String", "TYPE_CHECKING", "Tuple"),
    *("TypeAlias", "UNSET", "Union", "Unset"),
    *(name for name in dir(builtins) if name[0].isupper()),
}

_NO_SEPARATORS: Final = re.compile(r"[^A-Za-z0-9_]")


class Parameters(NamedTuple):
    """The names of a method's parameters.

    Attributes:
        by_place: the name, by ``in`` and ``name`` in the specification.
        body: the name of the parameter for the body.
        body_type: the class of the body or of its items; ``body`` if it is not a class.
    """

    by_place: dict[tuple[str, str], str]
    body: str
    body_type: str


class Names(NamedTuple):
    """The names in Python.

    Attributes:
        classes: the class of each schema that becomes one.
        fields: the attributes of each schema, and of those that ``allOf`` connects with it, by their name in JSON.
        tags: the stem of the API class of each tag: ``FlexAPI`` for ``FlexAPIApi``.
        operations: the method of each operation, by path and HTTP method.
        parameters: the parameters of each operation, likewise.
    """

    classes: dict[str, str]
    fields: dict[str, dict[str, str]]
    tags: dict[str, str]
    operations: dict[tuple[str, str], str]
    parameters: dict[tuple[str, str], Parameters]


def snake(name: str) -> str:
    """A name in lower case with underscores: ``bankAccount-ID`` becomes ``bank_account_id``."""
    name = _NO_SEPARATORS.sub("", re.sub(r"[-.\[(| /]", "_", name))
    if re.fullmatch(r"[A-Z_]*", name):
        return name.lower().strip("_")
    name = re.sub(r"([A-Z]+)([A-Z][a-z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z\d])([A-Z])", r"\1_\2", name).lower().lstrip("_")


def module_of(class_name: str) -> str:
    """The module of a class, without its package."""
    return snake(class_name)


def python_names(document: Document, reserved_classes: Iterable[str] = ()) -> Names:
    """Assign all names.

    Args:
        document: the specification, in which every object has a name.
        reserved_classes: names of classes that no model may have, in addition to those in the generated modules.
    """
    tags = _tag_stems(document)
    api_classes = {f"{prefix}{stem}Api" for stem in tags.values() for prefix in ("", "Async")}
    classes = _class_names(document, {*CLASSES, *reserved_classes, *api_classes})
    operations, parameters = _operation_names(document, tags, classes)
    return Names(classes, _field_names(document), tags, operations, parameters)


def exported_classes(package: Path) -> set[str]:
    """The classes that the package and its hand-written parts export: what ``__all__`` of the package lists."""
    source = (package / "__init__.py").read_text(encoding="utf-8")
    listed = re.search(r"^__all__ = \[(.*?)\]", source, re.MULTILINE | re.DOTALL)
    return set(re.findall(r'"([A-Z]\w*)"', listed[1])) if listed else set()


def assign(names: Iterable[str], reserved: Collection[str], first: Collection[str] = ()) -> dict[str, str]:
    """Give each name a different one in snake case.

    Args:
        names: the names in the specification.
        reserved: names that must not be assigned.
        first: names that are assigned before all others, because they must not depend on these.
    """
    result: dict[str, str] = {}
    used: set[str] = set()
    ordered = list(dict.fromkeys(names))
    for name in sorted(ordered, key=lambda each: (each not in first, snake(each) != each or each in reserved)):
        new = snake(name) or "value"
        new = f"var_{new}" if new[0].isdigit() else new
        while new in reserved or new in used:
            new += "_"
        used.add(new)
        result[name] = new
    return {name: result[name] for name in ordered}


def _class_names(document: Document, reserved: Collection[str]) -> dict[str, str]:
    schemas = document.get("components", {}).get("schemas", {})
    titles = [title for title, schema in schemas.items() if is_class(schema)]
    result: dict[str, str] = {}
    modules: set[str] = set()
    for title in sorted(titles, key=lambda each: camel(each) != each or each in reserved):
        name = stem = camel(title)
        number = 1
        # Two classes need different modules, on file systems that ignore case, too.
        while name in reserved or module_of(name) in modules:
            name = f"{stem}Model{number if number > 1 else ''}"
            number += 1
        modules.add(module_of(name))
        result[title] = name
    return {title: result[title] for title in titles}


def _field_names(document: Document) -> dict[str, dict[str, str]]:
    """Schemas that ``allOf`` connects share one set of names, because they share fields."""
    schemas = document.get("components", {}).get("schemas", {})
    group = {title: title for title in schemas}

    def root(title: str) -> str:
        while group[title] != title:
            title = group[title]
        return title

    for title, schema in schemas.items():
        for place, _ in flat(document, schema, f"#/components/schemas/{title}", ()):
            other = place.removeprefix("#/components/schemas/").partition("/")[0]
            if other in group:
                group[root(other)] = root(title)
    wire_names: dict[str, list[str]] = {}
    for title, schema in schemas.items():
        wire_names.setdefault(root(title), []).extend(_own_properties(schema))
    discriminators = {
        schema["discriminator"]["propertyName"] for schema in schemas.values() if "discriminator" in schema
    }
    assigned = {title: assign(names, FIELDS, discriminators) for title, names in wire_names.items()}
    return {title: assigned[root(title)] for title in schemas}


def _own_properties(schema: Any) -> list[str]:
    parts = [schema, *schema.get("allOf", [])]
    return list(dict.fromkeys(name for part in parts for name in part.get("properties", {})))


def _tag_stems(document: Document) -> dict[str, str]:
    """Tags that would share a module share a class: ``Flex API`` and ``flex api``."""
    stems: dict[str, str] = {}
    tags = dict.fromkeys(tag for _, _, operation in operations_of(document) for tag in operation["tags"][:1])
    return {tag: stems.setdefault(module_of(camel(tag)), camel(tag)) for tag in tags}


def operations_of(document: Document) -> Iterator[tuple[str, str, Any]]:
    """Path, HTTP method and content of every operation."""
    for path, item in document.get("paths", {}).items():
        for method in METHODS:
            if method in item:
                yield path, method, item[method]


def _operation_names(
    document: Document, tags: dict[str, str], classes: dict[str, str]
) -> tuple[dict[tuple[str, str], str], dict[tuple[str, str], Parameters]]:
    names: dict[tuple[str, str], str] = {}
    parameters: dict[tuple[str, str], Parameters] = {}
    # A constant must not hide a model that its module imports.
    constants = {name.lower() for name in classes.values() if name.isupper()}
    used: dict[str, set[str]] = {}
    reserved = METHOD_NAMES | constants

    def changes(entry: tuple[str, str, Any]) -> bool:
        name = entry[2]["operationId"]
        return name in reserved or snake(name) != name

    for path, method, operation in sorted(operations_of(document), key=changes):
        inside = used.setdefault(tags[operation["tags"][0]].lower(), set())
        name = snake(operation["operationId"]) or "call"
        name = f"call_{name}" if name[0].isdigit() else name
        while name in reserved or {name, f"{name}_with_http_info"} & inside:
            name += "_"
        inside |= {name, f"{name}_with_http_info"}
        names[path, method] = name
    for path, method, operation in operations_of(document):
        parameters[path, method] = _parameter_names(document, document["paths"][path], operation, classes)
    return names, parameters


def _parameter_names(document: Document, item: Any, operation: Any, classes: dict[str, str]) -> Parameters:
    declared = [
        resolve(document, parameter) for parameter in (*item.get("parameters", []), *operation.get("parameters", []))
    ]
    # The path is shared by several methods: its parameters must have the same names in all of them.
    in_path = {each["name"] for each in declared if each["in"] == "path"}
    assigned = assign((each["name"] for each in declared), PARAMETERS, in_path)
    body_type = _body_type(document, operation, classes)
    body = snake(body_type)
    while body in assigned.values() or body in PARAMETERS:
        body += "_"
    return Parameters({(each["in"], each["name"]): assigned[each["name"]] for each in declared}, body, body_type)


def _body_type(document: Document, operation: Any, classes: dict[str, str]) -> str:
    content = resolve(document, operation.get("requestBody", {})).get("content", {})
    schema = next(iter(content.values()), {}).get("schema", {})
    for _ in range(20):
        title = str(schema.get("$ref", "")).rpartition("/")[2]
        if title in classes:
            return classes[title]
        schema = resolve(document, schema)
        if schema.get("type") != "array":
            break
        schema = schema["items"]
    return "body"
