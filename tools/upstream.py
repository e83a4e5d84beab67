"""Compare openapi.yaml with CyberSource's own specification, and print the structural differences as Markdown.

    python tools/upstream.py FILE

FILE is the merged specification of all CyberSource APIs, Swagger 2.0 in JSON. Operations are matched by path and
method. Paths, parameters, properties, types, limits, required members, statuses and media types are compared;
descriptions are not. Differences in openapi.accepted.yaml are shown with their reasons. No files are changed.

Exit code: 0 if every difference is accepted, 1 if one is not, 2 if the specifications could not be compared.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from comparison.upstream_compare import Comparison, Difference, OpenApi3, Swagger2, Unreadable, compare
from openapi import supported_openapi

ROOT: Final = Path(__file__).resolve().parent.parent

# The number of characters of a value that are shown. A pattern can be a page long.
_LONGEST: Final = 200
_KEYS: Final = ("operation", "place", "what", "ours", "upstream", "reason")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="upstream.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", type=Path, help="CyberSource's merged specification: Swagger 2.0, JSON")
    parser.add_argument("--ours", type=Path, default=ROOT / "openapi.yaml", help="our specification")
    parser.add_argument("--accepted", type=Path, default=ROOT / "openapi.accepted.yaml", help="accepted differences")
    options = parser.parse_args(arguments)
    # On Windows, standard output to a file is not UTF-8.
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    try:
        accepted = read_accepted(options.accepted)
        comparison = compare(read_ours(options.ours), read(options.file))
    except OSError as error:
        print(f"upstream: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    except Unreadable as error:
        print(f"upstream: {error}", file=sys.stderr)
        return 2
    print(report(comparison, accepted))
    return 1 if any(each not in accepted for each in comparison.differences) else 0


def read_ours(file: Path) -> OpenApi3:
    """Read our specification.

    Raises:
        OSError: the file cannot be read.
        Unreadable: it is not an object in YAML.
    """
    try:
        content = supported_openapi.load(file.read_text(encoding="utf-8"))
    except (ValueError, yaml.YAMLError) as error:
        raise Unreadable(f"{file}: not readable as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise Unreadable(f"{file}: not an OpenAPI document")
    return OpenApi3(content)


def read(file: Path) -> Swagger2:
    """Read CyberSource's specification.

    Raises:
        OSError: the file cannot be read.
        Unreadable: it is not Swagger 2.0 in JSON.
    """
    try:
        return Swagger2(_swagger(file.read_bytes()))
    except Unreadable as error:
        raise Unreadable(f"{file}: {error}") from None


def _swagger(data: bytes) -> dict[str, Any]:
    try:
        content: Any = json.loads(data)
    except json.JSONDecodeError as error:
        # The full message would quote the document.
        raise Unreadable(f"not JSON: {error.msg} in line {error.lineno}, column {error.colno}") from None
    except UnicodeDecodeError:
        raise Unreadable("not JSON: it is not encoded in UTF-8, UTF-16 or UTF-32") from None
    except RecursionError:
        raise Unreadable("not a specification: nested too deeply") from None
    if not isinstance(content, dict) or content.get("swagger") != "2.0":
        version = content.get("openapi") if isinstance(content, dict) else None
        reason = f"it is OpenAPI {version}" if isinstance(version, str) else "it has no `swagger: 2.0` at its top"
        raise Unreadable(f"not Swagger 2.0: {reason}")
    return content


def read_accepted(file: Path) -> dict[Difference, str]:
    """Read the accepted differences and the reason for each.

    An entry names one or more operations and one or more places, and accepts all combinations.

    Raises:
        Unreadable: the file is malformed, or an entry has no reason.
    """
    try:
        content = supported_openapi.load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise Unreadable(f"{file.name}: {error}") from None
    if not isinstance(content, list):
        raise Unreadable(f"{file.name}: is not a list of accepted differences")
    reasons: dict[Difference, str] = {}
    for number, entry in enumerate(content, 1):
        place = f"{file.name}: entry {number}"
        for difference in _differences(entry, place):
            if difference in reasons:
                raise Unreadable(f"{place}: {difference.operation}, {difference.place} is accepted twice")
            reasons[difference] = " ".join(entry["reason"].split())
    return reasons


def _differences(entry: Any, place: str) -> list[Difference]:
    if not isinstance(entry, dict):
        raise Unreadable(f"{place}: is not a mapping")
    if not isinstance(entry.get("reason"), str) or not entry["reason"].strip():
        raise Unreadable(f"{place}: has no reason")
    wrong = [*(key for key in _KEYS if key not in entry), *(str(key) for key in entry if key not in _KEYS)]
    if wrong:
        raise Unreadable(f"{place}: needs {', '.join(_KEYS)} and no others; wrong: {', '.join(wrong)}")
    what, ours, upstream = (str(entry[key]) for key in ("what", "ours", "upstream"))
    return [
        Difference(operation, where, what, ours, upstream)
        for operation in _strings(entry, "operation", place)
        for where in _strings(entry, "place", place)
    ]


def _strings(entry: Mapping[str, Any], key: str, place: str) -> list[str]:
    values = entry[key] if isinstance(entry[key], list) else [entry[key]]
    if not values or not all(isinstance(value, str) for value in values):
        raise Unreadable(f"{place}: {key} must be a string or a list of strings")
    return values


def report(comparison: Comparison, accepted: Mapping[Difference, str]) -> str:
    """The differences by operation, in Markdown."""
    differences = comparison.differences
    new = [each for each in differences if each not in accepted]
    obsolete = [each for each in accepted if each not in set(differences)]
    lines = [
        "# Our specification and upstream's",
        "",
        f"Operations: {len(comparison.names)}. Differences: {len(differences)}, **not accepted: {len(new)}**. "
        f"Accepted, but no longer present: {len(obsolete)}.",
    ]
    for label, (ours, upstream) in comparison.names.items():
        lines += ["", f"## {_cell(label)}", "", _named(ours, upstream), ""]
        rows = [each for each in differences if each.operation == label]
        lines += _table(rows, accepted) if rows else ["No differences."]
    if obsolete:
        lines += ["", "## Accepted, but no longer present", "", "| Operation | Place | What | Ours | Upstream |"]
        lines += ["|---|---|---|---|---|", *(f"| {' | '.join(map(_cell, each))} |" for each in obsolete)]
    return "\n".join(lines)


def _table(differences: Sequence[Difference], accepted: Mapping[Difference, str]) -> list[str]:
    lines = ["| | Place | What | Ours | Upstream |", "|---|---|---|---|---|"]
    reasons: dict[str, int] = {}
    # New differences come first.
    for each in sorted(differences, key=lambda each: each in accepted):
        note = "**new**"
        if each in accepted:
            note = f"accepted ({reasons.setdefault(accepted[each], len(reasons) + 1)})"
        lines.append(f"| {' | '.join([note, *map(_cell, each[1:])])} |")
    return [*lines, *([""] if reasons else []), *(f"{number}. {reason}" for reason, number in reasons.items())]


def _named(ours: str, upstream: str) -> str:
    if not upstream:
        return f"Ours `{_cell(ours)}`; upstream does not have it."
    if not ours:
        return f"Upstream `{_cell(upstream)}`; not in our specification."
    return f"`{_cell(ours)}`" + ("" if ours == upstream else f"; upstream `{_cell(upstream)}`")


def _cell(value: str) -> str:
    value = " ".join(value.split()).replace("|", "\\|")
    return value if len(value) <= _LONGEST else f"{value[:_LONGEST]}… ({len(value)} characters)"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
