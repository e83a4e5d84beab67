"""The reference of the hand-written Python API as Markdown pages, from its signatures and docstrings.

griffe reads the source files and does not import them, so the package need not be installed.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import griffe

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "cybersource_flex"
# Page of each subpackage, with its title. `api`, `aio` and `models` are generated, and have pages in `docs/`.
PAGES = {
    "client": "Clients",
    "jose": "Tokens and keys",
    "auth": "Signers and encryption",
    "cards": "Card data",
    "transport": "Settings, requests and responses",
    "errors": "Exceptions",
    "emulator": "Emulator",
    "testing": "Helpers for tests",
}
FOLDER = "reference"
_LINE_LENGTH = 88
_KINDS = griffe.DocstringSectionKind
_TITLES = {
    _KINDS.parameters: "Parameters",
    _KINDS.other_parameters: "Parameters",
    _KINDS.attributes: "Attributes",
    _KINDS.raises: "Raises",
    _KINDS.returns: "Returns",
    _KINDS.yields: "Yields",
}
# Base classes that say nothing to a caller.
_INTERNAL_BASES = ("_", "Base", "Immutable", "Credential", "KeySigner", "JwtSigner", "Protocol", "Generic")


def pages() -> dict[str, str]:
    """Path of each page and its Markdown."""
    logging.getLogger("griffe").setLevel(logging.ERROR)
    package = griffe.load(PACKAGE, search_paths=[str(ROOT)], docstring_parser="google", resolve_aliases=True)
    assert isinstance(package, griffe.Module)
    modules = {name: package.modules[name] for name in PAGES}
    reference = Reference(modules)
    result = {f"{FOLDER}/index.md": index_page(package, modules)}
    for name, title in PAGES.items():
        parts = [f"# {title}", f"Module `{PACKAGE}.{name}`.", reference.prose(first_text(modules[name]))]
        for each, target in exported(modules[name]):
            parts += reference.describe(each, target, 2)
        result[f"{FOLDER}/{name}.md"] = "\n\n".join(filter(None, parts)) + "\n"
    return result


def index_page(package: griffe.Module, modules: dict[str, griffe.Module]) -> str:
    rows = []
    for name, title in PAGES.items():
        names = (f"[`{each}`]({name}.md#{anchor(each)})" for each, _ in exported(modules[name]))
        rows.append(f"| [{title}]({name}.md) | {', '.join(names)} |")
    errors = modules["errors"].exports or ()
    top = ", ".join(f"`{name}`" for name in package.exports or () if name not in errors)
    return f"""# Python API

The classes and functions of the package, from the docstrings of the source. `help(FlexClient)` shows them too. The
operations of the service are generated and have their own pages: [FlexAPIApi](../FlexAPIApi.md),
[MicroformIntegrationApi](../MicroformIntegrationApi.md) and the [models](../models.md).

| Page | Names |
|---|---|
{chr(10).join(rows)}

The exceptions and these names can also be imported from `cybersource_flex` itself: {top}.
"""


def exported(module: griffe.Module) -> Iterator[tuple[str, griffe.Object]]:
    """The names in `__all__` of a module with their objects: classes first, and async ones after the others."""
    names = [str(name) for name in module.exports or ()]
    objects = [(name, resolve(module.members[name])) for name in names]
    yield from sorted(objects, key=lambda item: (not item[1].is_class, item[0].startswith("Async")))


def resolve(member: griffe.Object | griffe.Alias) -> griffe.Object:
    target = member.final_target if isinstance(member, griffe.Alias) else member
    assert isinstance(target, griffe.Object)
    return target


def public_members(each: griffe.Class) -> dict[str, griffe.Object]:
    """Documented methods and properties of a class, also inherited ones, in the order of their definition."""
    members = {name: resolve(member) for name, member in [*each.members.items(), *each.inherited_members.items()]}
    return {
        name: member
        for name, member in members.items()
        if not name.startswith("_")
        and member.docstring
        and (isinstance(member, griffe.Function) or "property" in member.labels)
    }


class Reference:
    """Writes the descriptions, with links between them."""

    def __init__(self, modules: dict[str, griffe.Module]) -> None:
        self._objects: dict[str, griffe.Object] = {}
        self._pages: dict[str, str] = {}
        for page, module in modules.items():
            for name, each in exported(module):
                self._add(page, name, each)
                for member_name, member in public_members(each).items() if isinstance(each, griffe.Class) else ():
                    self._add(page, f"{name}.{member_name}", member)

    def _add(self, page: str, name: str, each: griffe.Object) -> None:
        self._objects.setdefault(name, each)
        self._pages.setdefault(name, page)

    def describe(self, name: str, each: griffe.Object, level: int) -> Iterator[str]:
        """Heading, signature, docstring and members of a class, function, property or constant."""
        yield f"{'#' * level} {name}"
        short = name.rpartition(".")[2]
        if isinstance(each, griffe.Function):
            yield code(signature(short, each))
        elif isinstance(each, griffe.Class):
            yield code(class_signature(name, each))
            bases = [str(base).partition("[")[0] for base in each.bases]
            if public_bases := [base for base in bases if not base.startswith(_INTERNAL_BASES)]:
                yield self.prose("Base classes: " + ", ".join(f"``{base}``" for base in public_bases))
        elif isinstance(each, griffe.Attribute):
            yield code(f"{short}: {each.annotation}" if each.annotation else short)
        yield from self._docstring(each)
        if isinstance(each, griffe.Class):
            for member_name, member in public_members(each).items():
                yield from self.describe(f"{name}.{member_name}", member, level + 1)

    def _docstring(self, each: griffe.Object) -> Iterator[str]:
        own = sections(each)
        kinds = {section.kind for section in own}
        # "See ``FlexClient.tokenize``" of an async method: show the arguments and errors here too.
        for name in re.findall(
            r"(?:See|those of|as for) `+(\w+\.\w+)`+", each.docstring.value if each.docstring else ""
        ):
            if name in self._objects and self._objects[name] is not each:
                own += [
                    part for part in sections(self._objects[name]) if part.kind in _TITLES and part.kind not in kinds
                ]
        for section in own:
            if section.kind is _KINDS.text:
                yield self.prose(str(section.value))
            elif section.kind in _TITLES:
                yield f"**{_TITLES[section.kind]}**"
                yield "\n".join(self._items(section.value))
            elif section.kind is _KINDS.admonition:
                yield f"**{section.title}:** {self.prose(section.value.description)}"

    def _items(self, values: Iterable[Any]) -> Iterator[str]:
        """A list entry for each parameter, attribute, exception or result."""
        for value in values:
            annotation = str(value.annotation or "").replace("'", '"')
            name = getattr(value, "name", "")
            if isinstance(value, griffe.DocstringRaise):
                head = self.prose(", ".join(f"``{part.strip()}``" for part in annotation.strip("()").split(",")))
            elif name and annotation:
                head = f"`{name}` (`{annotation}`)"
            else:
                head = f"`{name or annotation}`"
            yield f"- {head}: {' '.join(self.prose(value.description).split())}"

    def prose(self, docstring: str) -> str:
        """A docstring's reStructuredText as Markdown, with links to the names that it mentions."""
        docstring = re.sub(r"(^|\n)::\n", r"\1", docstring.strip())
        docstring = re.sub(r"(?<=\w)::\n", ":\n", docstring)
        # A list of attributes under a title that is not a standard one.
        docstring = re.sub(r"(?m)^(\S.*:)\n((?: {4}\w+: .*\n?(?: {5,}.*\n?)*)+)", _listed, docstring)
        return "\n".join(
            line.replace("``", "`") if line.startswith("    ") else re.sub(r"``(.+?)``", self._code, line)
            for line in _joined(docstring)
        )

    def _code(self, match: re.Match[str]) -> str:
        name = match[1]
        if name not in self._pages:
            return f"`{name}`"
        return f"[`{name}`]({self._pages[name]}.md#{anchor(name)})"


def _listed(match: re.Match[str]) -> str:
    entries = re.findall(r"(?m)^ {4}(\w+): (.*(?:\n {5,}.*)*)", match[2])
    return f"{match[1]}\n\n" + "".join(
        f"- ``{name}``: {' '.join(description.split())}\n" for name, description in entries
    )


def _joined(docstring: str) -> list[str]:
    """The lines of a docstring. Code in backticks that goes on in the next line is put on one line."""
    lines: list[str] = []
    for line in docstring.split("\n"):
        if lines and lines[-1].count("``") % 2 and not lines[-1].startswith("    "):
            lines[-1] += f" {line.strip()}"
        else:
            lines.append(line)
    return lines


def class_signature(name: str, each: griffe.Class) -> str:
    initializer = each.all_members.get("__init__")
    if initializer is None or not any(section.kind is _KINDS.parameters for section in sections(each)):
        return f"class {name}"
    return signature(f"class {name}", resolve(initializer), result=False)


def signature(name: str, each: griffe.Object, result: bool = True) -> str:
    """The call of a function with its parameters, on several lines if it is long."""
    kinds = griffe.ParameterKind
    parameters: list[str] = []
    last = None
    for parameter in each.parameters:
        if parameter.name in ("self", "cls"):
            continue
        if parameter.kind is kinds.keyword_only and last not in (kinds.keyword_only, kinds.var_positional):
            parameters.append("*")
        last = parameter.kind
        stars = {kinds.var_positional: "*", kinds.var_keyword: "**"}.get(parameter.kind, "")
        annotation = f": {parameter.annotation}" if parameter.annotation else ""
        default = f" = {parameter.default}" if parameter.default is not None and not stars else ""
        parameters.append(f"{stars}{parameter.name}{annotation}{default}")
    start = f"async {name}" if "async" in each.labels else name
    end = f" -> {each.returns}" if result and each.returns else ""
    line = f"{start}({', '.join(parameters)}){end}"
    if len(line) > _LINE_LENGTH:
        line = "\n".join([f"{start}(", *(f"    {parameter}," for parameter in parameters), f"){end}"])
    return line.replace("'", '"')


def code(source: str) -> str:
    return f"```python\n{source}\n```"


def sections(each: griffe.Object) -> list[griffe.DocstringSection]:
    return list(each.docstring.parse("google")) if each.docstring else []


def first_text(each: griffe.Object) -> str:
    return next((str(part.value) for part in sections(each) if part.kind is _KINDS.text), "")


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
