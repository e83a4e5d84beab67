"""Compare openapi.yaml with CyberSource's own specification, and write what differs in structure, as Markdown.

    python tools/upstream.py FILE

FILE is the merged specification of all of CyberSource's APIs, Swagger 2.0 in JSON. Operations are found by path and
method. Compared are paths, parameters, properties, types, limits, what is required, statuses and media types; no prose.
Differences that openapi.accepted.yaml lists are shown with their reasons. Nothing but the report is written.

Exit code 0 where every difference is accepted, 1 where one is not, 2 where nothing could be compared.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import specification
import upstream_accepted
from upstream_differences import Comparison, Difference, compare
from upstream_operations import OpenApi3, Swagger2, Unreadable

ROOT: Final = Path(__file__).resolve().parent.parent

# Characters of a value that are shown: a pattern can be a page long.
_LONGEST: Final = 200


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="upstream.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", type=Path, help="CyberSource's merged specification: Swagger 2.0, JSON")
    parser.add_argument("--ours", type=Path, default=ROOT / "openapi.yaml", help="our specification")
    parser.add_argument("--accepted", type=Path, default=ROOT / "openapi.accepted.yaml", help="accepted differences")
    options = parser.parse_args(arguments)
    # Standard output of Windows is not UTF-8 where it is a file.
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    try:
        accepted = upstream_accepted.read(options.accepted)
        ours = OpenApi3(specification.load(options.ours.read_text(encoding="utf-8")))
        comparison = compare(ours, read(options.file))
    except OSError as error:
        print(f"upstream: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    except Unreadable as error:
        print(f"upstream: {error}", file=sys.stderr)
        return 2
    print(report(comparison, accepted))
    return 1 if any(each not in accepted for each in comparison.differences) else 0


def read(file: Path) -> Swagger2:
    """The other document.

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
        # Its whole text would not say more; the document itself is not quoted.
        raise Unreadable(f"not JSON: {error.msg} in line {error.lineno}, column {error.colno}") from None
    except UnicodeDecodeError:
        raise Unreadable("not JSON: not text in UTF-8, UTF-16 or UTF-32") from None
    except RecursionError:
        raise Unreadable("not a specification: nested too deeply") from None
    if not isinstance(content, dict) or content.get("swagger") != "2.0":
        version = content.get("openapi") if isinstance(content, dict) else None
        said = f"it is OpenAPI {version}" if isinstance(version, str) else "it has no `swagger: 2.0` at its top"
        raise Unreadable(f"not Swagger 2.0: {said}")
    return content


def report(comparison: Comparison, accepted: Mapping[Difference, str]) -> str:
    """The differences, operation by operation, in Markdown."""
    found = comparison.differences
    new = [each for each in found if each not in accepted]
    stale = [each for each in accepted if each not in set(found)]
    lines = [
        "# Our specification and upstream's",
        "",
        f"Operations: {len(comparison.names)}. Differences: {len(found)}, **not accepted: {len(new)}**. "
        f"Accepted, and no longer so: {len(stale)}.",
    ]
    for label, (ours, upstream) in comparison.names.items():
        lines += ["", f"## {_cell(label)}", "", _named(ours, upstream), ""]
        mine = [each for each in found if each.operation == label]
        lines += _table(mine, accepted) if mine else ["No differences."]
    if stale:
        lines += ["", "## Accepted, and no longer so", "", "| Operation | Place | What | Ours | Upstream |"]
        lines += ["|---|---|---|---|---|", *(f"| {' | '.join(map(_cell, each))} |" for each in stale)]
    return "\n".join(lines)


def _table(differences: Sequence[Difference], accepted: Mapping[Difference, str]) -> list[str]:
    lines = ["| | Place | What | Ours | Upstream |", "|---|---|---|---|---|"]
    reasons: dict[str, int] = {}
    # What is new comes first.
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


def _cell(text: str) -> str:
    text = " ".join(text.split()).replace("|", "\\|")
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text)} characters)"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
