"""Changes of names in Python although the name in the specification stays: a new name can take over an existing one.

Names that need no conversion are assigned first. A model with the field ``userId`` has the attribute ``user_id``. If
the specification adds the field ``user_id``, the attribute ``user_id`` is another field, and that of ``userId`` becomes
``user_id_``. To the comparison of the Python APIs this looks as if only ``user_id_`` were added.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from comparison.semver_impact import Finding, Impact
from generation.python_names import Names
from openapi.document import Document

SOURCE: Final = "Python"


def findings(before: tuple[Document, Names], after: tuple[Document, Names]) -> Iterator[Finding]:
    """The names in Python that differ between two specifications, for everything that both contain."""
    old, new = dict(_python_names(*before)), dict(_python_names(*after))
    for thing, (place, name) in old.items():
        if thing in new and new[thing][1] != name:
            yield Finding(Impact.MAJOR, place, f"`{name}` is now `{new[thing][1]}`", SOURCE)


def _python_names(document: Document, names: Names) -> Iterator[tuple[tuple[str, ...], tuple[str, str]]]:
    """The place and the name in Python of each thing, by what identifies it in the specification."""
    for title, name in names.classes.items():
        yield ("schema", title), (f"models.{name}", name)
        for field, attribute in names.fields[title].items():
            yield ("field", title, field), (f"models.{name}.{attribute}", attribute)
    for (path, verb), method in names.operations.items():
        operation = document["paths"][path][verb]
        tag = operation["tags"][0]
        owner = f"{names.tags[tag]}Api"
        yield ("operation", path, verb), (f"{owner}.{method}", method)
        yield ("tag", tag), (owner, owner)
        parameters = names.parameters[path, verb]
        for (location, parameter), argument in parameters.by_place.items():
            yield ("parameter", path, verb, location, parameter), (f"{owner}.{method}({argument})", argument)
        if "requestBody" in operation:
            yield ("body", path, verb, parameters.body_type), (f"{owner}.{method}({parameters.body})", parameters.body)
