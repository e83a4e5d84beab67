"""``cybersource-flex provenance``: what the generated files were made from, and whether they are still the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import click

from .console import Console

if TYPE_CHECKING:
    from importlib.abc import Traversable

__all__ = ["run"]

_PACKAGE: Final = "cybersource_flex"
_RECORD: Final = "provenance.json"

# Digits of a hash that are shown of each input; --json has all.
_SHOWN: Final = 16

State = Literal["same", "changed", "missing", "unknown"]


class Record(NamedTuple):
    """What the package says that it was made from.

    Attributes:
        sha256: of the record itself, to compare with another copy of it.
        inputs: SHA-256 of what was read, by its path in the project.
        tools: versions of what wrote the files.
        outputs: SHA-256 of each generated file of the package, by its path in the project.
        folders: folders that hold generated files and no others.
    """

    sha256: str
    inputs: Mapping[str, str]
    tools: Mapping[str, str]
    outputs: Mapping[str, str]
    folders: tuple[str, ...]


def run(*, as_json: bool) -> bool:
    """Say what the generated files were made from, and hash each of them.

    Args:
        as_json: show JSON in place of text.

    Returns:
        Whether each is what it was when it was generated, and no other file lies among them.

    Raises:
        click.ClickException: the package has no record that can be read.
    """
    package = resources.files(_PACKAGE)
    record = _read(package)
    states = _states(package, record)
    verified = set(states.values()) == {"same"}
    if as_json:
        click.echo(json.dumps({"verified": verified, "files": states, "record": record._asdict()}, indent=2))
    else:
        _show(record, states, verified)
    return verified


def _read(package: Traversable) -> Record:
    try:
        data = (package / _RECORD).read_bytes()
    except OSError:
        raise _broken("is not there") from None
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        raise _broken("is not JSON") from None
    if not isinstance(content, dict) or content.get("format") != 1:
        raise _broken("is of another format than 1")
    tables: dict[str, Any] = {name: content.get(name) for name in ("inputs", "tools", "outputs")}
    folders: Any = content.get("folders")
    if not (all(_is_table(table) for table in tables.values()) and isinstance(folders, list)):
        raise _broken("is incomplete")
    if not all(_is_path(path) for path in (*tables["outputs"], *folders)):
        raise _broken("names files outside of the package")
    return Record(hashlib.sha256(data).hexdigest(), **tables, folders=tuple(folders))


def _is_table(value: Any) -> bool:
    texts = (text for entry in value.items() for text in entry) if isinstance(value, dict) else ()
    # It is printed: nothing that moves the cursor of a terminal.
    return bool(value) and all(isinstance(text, str) and text.isprintable() for text in texts)


def _is_path(path: Any) -> bool:
    parts = path.split("/") if isinstance(path, str) and "\\" not in path else [""]
    return parts[0] == _PACKAGE and not {"", ".", ".."}.intersection(parts)


def _broken(why: str) -> click.ClickException:
    return click.ClickException(f"{_PACKAGE}/{_RECORD} {why}: install the package anew")


def _states(package: Traversable, record: Record) -> dict[str, State]:
    states: dict[str, State] = {}
    for path, expected in record.outputs.items():
        try:
            data = _at(package, path).read_bytes()
        except OSError:
            states[path] = "missing"
        else:
            states[path] = "same" if hashlib.sha256(data).hexdigest() == expected else "changed"
    for folder in record.folders:
        for path in _files(_at(package, folder), folder):
            states.setdefault(path, "unknown")
    return dict(sorted(states.items()))


def _at(package: Traversable, path: str) -> Traversable:
    for part in path.split("/")[1:]:
        package = package / part
    return package


def _files(folder: Traversable, path: str) -> Iterator[str]:
    for entry in folder.iterdir() if folder.is_dir() else ():
        # The interpreter writes its own files there.
        if entry.name == "__pycache__":
            continue
        inside = f"{path}/{entry.name}"
        if entry.is_dir():
            yield from _files(entry, inside)
        else:
            yield inside


def _show(record: Record, states: Mapping[str, State], verified: bool) -> None:
    console = Console()
    if verified:
        console.verdict(True, "verified", f"{len(states)} generated files are what the generator wrote")
    else:
        wrong = {path: state for path, state in states.items() if state != "same"}
        console.verdict(False, "not verified", f"files differ from what the generator wrote: {len(wrong)}")
        for path, state in wrong.items():
            console.row(state, path, "red")
    console.row("record", f"{_RECORD}, SHA-256 {record.sha256}")
    for name, version in record.tools.items():
        console.row("tool", f"{name} {version}")
    for name, digest in record.inputs.items():
        console.row("input", f"{digest[:_SHOWN]}  {name}")
