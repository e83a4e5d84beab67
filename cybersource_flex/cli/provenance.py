"""``cybersource-flex provenance``: show the inputs of the generated files and verify that the files are unchanged."""

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

# Number of digits printed of the hash of an input; --json prints all.
_HASH_DIGITS: Final = 16

State = Literal["same", "changed", "missing", "unknown"]


class Record(NamedTuple):
    """The record of generation in the package.

    Attributes:
        sha256: SHA-256 of the record itself, to compare it with another copy.
        inputs: SHA-256 of each input of the generator, by its path in the project.
        tools: versions of the tools that generated the files.
        outputs: SHA-256 of each generated file of the package, by its path in the project.
        folders: folders that contain only generated files.
    """

    sha256: str
    inputs: Mapping[str, str]
    tools: Mapping[str, str]
    outputs: Mapping[str, str]
    folders: tuple[str, ...]


def run(*, as_json: bool) -> bool:
    """Print the inputs of the generated files, and verify the files by their hashes.

    Args:
        as_json: print JSON instead of text.

    Returns:
        Whether all files are unchanged and their folders contain no other files.

    Raises:
        click.ClickException: the package has no valid record.
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
        raise _invalid_record("is missing") from None
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        raise _invalid_record("is not JSON") from None
    if not isinstance(content, dict) or content.get("format") != 1:
        raise _invalid_record("has another format than 1")
    tables: dict[str, Any] = {name: content.get(name) for name in ("inputs", "tools", "outputs")}
    folders: Any = content.get("folders")
    if not (all(_is_table(table) for table in tables.values()) and isinstance(folders, list)):
        raise _invalid_record("is incomplete")
    if not all(_is_path(path) for path in (*tables["outputs"], *folders)):
        raise _invalid_record("names files outside of the package")
    return Record(hashlib.sha256(data).hexdigest(), **tables, folders=tuple(folders))


def _is_table(value: Any) -> bool:
    strings = (string for entry in value.items() for string in entry) if isinstance(value, dict) else ()
    # The values are printed, so they must not contain control characters.
    return bool(value) and all(isinstance(string, str) and string.isprintable() for string in strings)


def _is_path(path: Any) -> bool:
    parts = path.split("/") if isinstance(path, str) and "\\" not in path else [""]
    return parts[0] == _PACKAGE and not {"", ".", ".."}.intersection(parts)


def _invalid_record(reason: str) -> click.ClickException:
    return click.ClickException(f"{_PACKAGE}/{_RECORD} {reason}; reinstall the package")


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
        # The interpreter writes files there.
        if entry.name == "__pycache__":
            continue
        entry_path = f"{path}/{entry.name}"
        if entry.is_dir():
            yield from _files(entry, entry_path)
        else:
            yield entry_path


def _show(record: Record, states: Mapping[str, State], verified: bool) -> None:
    console = Console()
    if verified:
        console.verdict(True, "verified", f"{len(states)} generated files are unchanged")
    else:
        differences = {path: state for path, state in states.items() if state != "same"}
        console.verdict(False, "not verified", f"files differ from what the generator wrote: {len(differences)}")
        for path, state in differences.items():
            console.row(state, path, "red")
    console.row("record", f"{_RECORD}, SHA-256 {record.sha256}")
    for name, version in record.tools.items():
        console.row("tool", f"{name} {version}")
    for name, digest in record.inputs.items():
        console.row("input", f"{digest[:_HASH_DIGITS]}  {name}")
