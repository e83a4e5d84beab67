"""Finish the generated Python modules: what templates cannot do.

Remove empty arguments of ``Operation(...)`` and unused imports, simplify unions, break long lines of docstrings, and
format. The result depends only on the modules, so that every run writes the same bytes.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import textwrap
import tokenize
from pathlib import Path
from typing import Final

WIDTH: Final = 120

_RUFF: Final = (sys.executable, "-m", "ruff")
_STYLE: Final = ("--isolated", "--no-cache", "--quiet", "--line-length", str(WIDTH), "--target-version", "py311")
# Unused and unsorted imports, unsorted __all__ and __slots__: the templates import everything that a module could need.
# Unions: the templates write Union[...] with repetitions.
_TIDY: Final = ("--select", "F401,I001,PYI016,RUF022,RUF023,TC004,TC005,UP007", "--fix-only")

# Arguments of an Operation for which the specification has nothing.
_EMPTY: Final = re.compile(r"^    \w+=(\(\)|\{ *\}|),\n", re.MULTILINE)


def format_python(out: Path) -> None:
    for module in (out / "cybersource_flex").rglob("*.py"):
        source = module.read_text(encoding="utf-8")
        for name in re.findall(r"^class (\w+)\(Model\):", source, re.MULTILINE):
            # A model whose `allOf` refers to itself.
            source = source.replace(f"    from . import {name}\n", "")
        module.write_bytes(_EMPTY.sub("", source).encode("utf-8"))
    subprocess.run([*_RUFF, "check", *_TIDY, *_STYLE, str(out)], check=True)
    for module in out.rglob("*.py"):
        source = module.read_text(encoding="utf-8")
        module.write_bytes(_wrap_docstrings(source).encode("utf-8"))
    subprocess.run([*_RUFF, "format", *_STYLE, str(out)], check=True)


def _wrap_docstrings(source: str) -> str:
    """Break long lines of triple-quoted strings. Entries of a list get a hanging indent."""
    lines = source.splitlines()
    inside: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.STRING and token.string.startswith('"""'):
            inside.update(range(token.start[0] - 1, token.end[0]))
    out = []
    for number, line in enumerate(lines):
        if number in inside:
            # The generator escapes quotation marks and replaces line breaks by blanks.
            line = re.sub(r"(?<=\S) {2,}", " ", line.replace('\\"', '"'))
        if number not in inside or len(line) <= WIDTH:
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
        if line.endswith('"""'):
            # The closing quotes of a multi-line docstring are on a separate line.
            out[-1] = out[-1][:-3].rstrip()
            out.append(first + '"""')
    return "\n".join(out) + "\n"
