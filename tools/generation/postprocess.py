"""Finish the generated Python modules: what templates cannot do.

Insert the names and descriptions of the specification, remove empty arguments of ``Operation(...)`` and unused imports,
simplify unions, break long lines of docstrings, and format. The result depends only on the modules, names and
descriptions, so that every run writes the same bytes.
"""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from generation.generator_input import GeneratorInput

WIDTH: Final = 120

_RUFF: Final = (sys.executable, "-m", "ruff")
_STYLE: Final = ("--isolated", "--no-cache", "--quiet", "--line-length", str(WIDTH), "--target-version", "py311")
# Unused and unsorted imports, unsorted __all__ and __slots__: the templates import everything that a module could need.
# Unions: the templates write Union[...] with repetitions.
_TIDY: Final = ("--select", "F401,I001,PYI016,RUF022,RUF023,TC004,TC005,UP007", "--fix-only")

_QUOTES: Final = '"""'

# Arguments of an Operation for which the specification has nothing.
_EMPTY: Final = re.compile(r"^    \w+=(\(\)|\{ *\}|),\n", re.MULTILINE)


def format_python(out: Path, content: GeneratorInput) -> None:
    for module in sorted((out / "cybersource_flex").rglob("*.py")):
        source = content.restore_names(module.read_text(encoding="utf-8"))
        if unknown := content.placeholder_in(source):
            raise ValueError(f"{module.name}: the generator wrote {unknown}, for which there is no name")
        for name in re.findall(r"^class (\w+)\(Model\):", source, re.MULTILINE):
            # A model whose `allOf` refers to itself.
            source = source.replace(f"    from . import {name}\n", "")
        module.unlink()
        module.with_name(content.restore_names(module.name)).write_bytes(_EMPTY.sub("", source).encode("utf-8"))
    subprocess.run([*_RUFF, "check", *_TIDY, *_STYLE, str(out)], check=True)
    for module in out.rglob("*.py"):
        source = module.read_text(encoding="utf-8")
        module.write_bytes(_wrap_docstrings(source, content).encode("utf-8"))
    format_files(out)


def format_files(folder: Path) -> None:
    """Format all modules in a folder, in one process."""
    subprocess.run([*_RUFF, "format", *_STYLE, str(folder)], check=True)


def _wrap_docstrings(source: str, content: GeneratorInput) -> str:
    """Insert the descriptions and break long lines of triple-quoted strings. Entries of lists get a hanging indent."""
    out = []
    is_open = False
    for line in source.splitlines():
        # The templates begin docstrings at the start of a line, and end them at the end of one.
        code = line.strip()
        starts = not is_open and code.startswith(_QUOTES)
        is_docstring = starts or is_open
        if is_docstring:
            is_open = not code.endswith(_QUOTES) or (starts and code == _QUOTES)
            # The generator escapes quotation marks.
            line = re.sub(r"(?<=\S) {2,}", " ", line.replace('\\"', '"'))
        line = content.restore_descriptions(line, docstring=is_docstring)
        if not is_docstring or len(line) <= WIDTH:
            out.append(line)
            continue
        indent = re.match(r" *", line)
        first = indent[0] if indent else ""
        entry = re.match(r"(\w+: |- )", line[len(first) :])
        hang = first + ("  " if entry and entry[0] == "- " else "    " if entry else "")
        out += textwrap.wrap(
            line.strip(),
            WIDTH,
            initial_indent=first,
            subsequent_indent=hang,
            break_long_words=False,
            break_on_hyphens=False,
        )
        if line.endswith(_QUOTES):
            # The closing quotes of a multi-line docstring are on a separate line.
            out[-1] = out[-1][:-3].rstrip()
            out.append(first + '"""')
    return "\n".join(out) + "\n"
