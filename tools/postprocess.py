"""What templates cannot do: format what they wrote. Each step depends on the text alone: the bytes do not vary."""

from __future__ import annotations

import importlib.util
import io
import json
import re
import subprocess
import sys
import textwrap
import tokenize
from pathlib import Path
from typing import Final

WIDTH: Final = 120

_RUFF: Final = (sys.executable, "-m", "ruff")
_STYLE: Final = ("--isolated", "--no-cache", "--quiet", "--line-length", str(WIDTH), "--target-version", "py310")
# Unused and unsorted imports, unsorted __all__ and __slots__: the templates import what any model could need. And
# unions: the templates write Union[...] of all they see, several times the same.
_TIDY: Final = ("--select", "F401,I001,PYI016,RUF022,RUF023,TC004,TC005,UP007", "--fix-only")

# Arguments of an Operation that the templates had nothing for.
_EMPTY: Final = re.compile(r"^    \w+=(\(\)|\{ *\}|),\n", re.MULTILINE)


def move_model_pages(out: Path) -> None:
    """The generator knows one folder for pages: those of the models go into one of their own."""
    classes = {
        found[1]
        for module in (out / "cybersource_flex" / "api").glob("*.py")
        if (found := re.search(r"^class (\w+)", module.read_text(encoding="utf-8"), re.MULTILINE))
    }
    models = out / "docs" / "models"
    models.mkdir()
    for page_file in sorted((out / "docs").glob("*.md")):
        if page_file.stem not in classes:
            page_file.rename(models / page_file.name)


def format_python(out: Path) -> None:
    for module in (out / "cybersource_flex").rglob("*.py"):
        text = module.read_text(encoding="utf-8")
        for own in re.findall(r"^class (\w+)\(Model\):", text, re.MULTILINE):
            # A model with `allOf` that has itself inside.
            text = text.replace(f"    from . import {own}\n", "")
        module.write_bytes(_EMPTY.sub("", text).encode("utf-8"))
    subprocess.run([*_RUFF, "check", *_TIDY, *_STYLE, str(out)], check=True)
    for module in out.rglob("*.py"):
        text = module.read_text(encoding="utf-8")
        module.write_bytes(_wrap_docstrings(text).encode("utf-8"))
    subprocess.run([*_RUFF, "format", *_STYLE, str(out)], check=True)


def _wrap_docstrings(text: str) -> str:
    """Break the lines of triple-quoted strings that are too long; entries of a list get a hanging indent."""
    lines = text.splitlines()
    inside: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.STRING and token.string.startswith('"""'):
            inside.update(range(token.start[0] - 1, token.end[0]))
    out = []
    for number, line in enumerate(lines):
        if number in inside:
            # The generator escapes quotation marks and turns the end of a line into blanks.
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
            # A docstring of several lines closes on a line of its own.
            out[-1] = out[-1][:-3].rstrip()
            out.append(first + '"""')
    return "\n".join(out) + "\n"


def page(content: bytes, *, of_model: bool) -> bytes:
    """A Markdown page as it is to be read: examples laid out, links that fit its folder, single empty lines."""
    text = content.decode("utf-8")
    text = re.sub(r"^```(json|python)\n(.*?)\n```$", _lay_out, text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"raises!(\w+)!", lambda found: f"`{_exception(found[1])}`", text)
    text = _without_repetitions(text)
    # The generator writes a pattern as JavaScript does.
    text = re.sub(r"matches `/(.*?)/`", r"matches `\1`", text)
    if of_model:
        text = text.replace("](models/", "](")
    text = re.sub(r"either!(.*?)!either", _either, text)
    text = re.sub(r" {2,}\|", " |", text)
    # Two blanks at the end of a line break it in Markdown; any other number is an accident.
    text = re.sub(r"(?<=\S)( |\t| {3,})$|^[ \t]+$", "", text, flags=re.MULTILINE)
    return (re.sub(r"\n{3,}", "\n\n", text).strip() + "\n").encode("utf-8")


def _without_repetitions(text: str) -> str:
    """What several operations have in common, and is marked so, stands on a page once."""
    seen: set[str] = set()

    def first(found: re.Match[str]) -> str:
        repeated = found[1] in seen
        seen.add(found[1])
        return "" if repeated else found[1]

    return re.sub(r"^once!(.*?)\n!once$", first, text, flags=re.MULTILINE | re.DOTALL)


def _exception(status: str) -> str:
    """Name of the class that the package raises for a status; ``4XX`` and the like are ranges."""
    path = Path(__file__).resolve().parent.parent / "cybersource_flex" / "errors.py"
    spec = importlib.util.spec_from_file_location("errors", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    errors = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(errors)
    number = 0 if status == "default" else int(status.upper().replace("XX", "99"))
    return str(errors.error_class(number).__name__)


def _either(found: re.Match[str]) -> str:
    """Alternatives, none of them twice: a template cannot know what it wrote before."""
    return " or ".join(dict.fromkeys(each for each in found[1].split("!or!") if each))


def _lay_out(block: re.Match[str]) -> str:
    if block[1] == "python":
        code = re.sub(r"json!(.*?)!json", lambda found: _python(found[1]), block[2], flags=re.DOTALL)
        done = subprocess.run(
            [*_RUFF, "format", *_STYLE, "--stdin-filename", "example.py", "-"],
            input=code.encode("utf-8"),
            capture_output=True,
            check=True,
        )
        return f"```python\n{done.stdout.decode('utf-8').strip()}\n```"
    try:
        return f"```json\n{json.dumps(json.loads(block[2]), indent=2, ensure_ascii=False)}\n```"
    except ValueError:
        return f"```text\n{block[2]}\n```"


def _python(example: str) -> str:
    """An example of the specification as a Python literal."""
    try:
        return repr(json.loads(example))
    except ValueError:
        return repr(example)
