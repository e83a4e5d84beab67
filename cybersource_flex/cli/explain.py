"""``cybersource-flex explain``: why a request was answered with 401, from a report that was saved. Asks nobody."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any, BinaryIO, Final

import click

from ..transport.diagnosis import LIKELY, Cause, InvalidFactError, diagnose
from .console import Console

__all__ = ["run"]

# A report has about one of them.
_MOST_KIB: Final = 256
_POSSIBLE: Final = 30


def run(file: BinaryIO, *, as_json: bool) -> None:
    """Show what the causes of a 401 can be, the likeliest first.

    Args:
        file: JSON, as ``AuthenticationError.report()`` has it.
        as_json: show JSON in place of text.

    Raises:
        click.BadParameter: it is no such report.
    """
    report = _read(file)
    try:
        causes = diagnose(report["facts"])
    except InvalidFactError as wrong:
        raise _bad(str(wrong)) from None
    if as_json:
        click.echo(json.dumps({"causes": [_as_json(cause) for cause in causes], "report": report}, indent=2))
    else:
        _show(report, causes)


def _show(report: Mapping[str, Any], causes: tuple[Cause, ...]) -> None:
    console = Console()
    attempts = report["attempts"]
    console.title(f"{report['method']} {report['path']}: 401")
    if attempts:
        when = datetime.fromtimestamp(attempts[-1]["started"], timezone.utc)
        console.line(f"{len(attempts)} attempt{'s' * (len(attempts) > 1)}, the last at {when:%Y-%m-%d %H:%M:%S} UTC")
    if report["correlation_id"] is not None:
        console.line(f"v-c-correlation-id {report['correlation_id']}: CyberSource's support asks for it")
    for number, cause in enumerate(causes, 1):
        word = _word(cause.score)
        console.title(f"{number}. {cause.title} ({word})")
        for text in cause.speaks_for:
            console.line(f"+ {text}", "" if cause.score else "dim")
        for text in cause.speaks_against:
            console.line(f"- {text}", "" if cause.score else "dim")
        if cause.score:
            console.line(cause.advice, "italic")


def _word(score: int) -> str:
    if score >= LIKELY:
        return "likely"
    if score >= _POSSIBLE:
        return "possible"
    return "unlikely" if score else "ruled out"


def _as_json(cause: Cause) -> dict[str, Any]:
    return {**cause._asdict(), "likelihood": _word(cause.score)}


def _read(file: BinaryIO) -> dict[str, Any]:
    data = file.read(_MOST_KIB * 1024 + 1)
    if len(data) > _MOST_KIB * 1024:
        raise _bad(f"it is larger than {_MOST_KIB} KiB")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        # Its text would quote the file.
        raise _bad("it is not JSON") from None
    if not isinstance(found, dict) or found.get("report") != "cybersource-flex 401":
        raise _bad("it is not what AuthenticationError.report() returns")
    if found.get("version") != 1:
        raise _bad("it is of another version of reports than 1; use the cybersource-flex that it comes from")
    wrong = next((name for name, right in _RIGHT.items() if not right(found.get(name))), None)
    if wrong is not None:
        raise _bad(f"its member {wrong!r} is missing or wrong")
    return found


def _is_line(value: Any) -> bool:
    # It is printed: nothing that moves the cursor of a terminal.
    return isinstance(value, str) and value.isprintable() and len(value) <= 300


def _is_attempt(value: Any) -> bool:
    started = value.get("started") if isinstance(value, dict) else None
    # The year 2100: what lies beyond has no date everywhere.
    return isinstance(started, (int, float)) and not isinstance(started, bool) and 0 <= started < 4_102_444_800


_RIGHT: Final[Mapping[str, Callable[[Any], bool]]] = {
    "method": _is_line,
    "path": _is_line,
    "status": lambda value: isinstance(value, int) and value == 401,
    "correlation_id": lambda value: value is None or _is_line(value),
    "attempts": lambda value: isinstance(value, list) and all(_is_attempt(each) for each in value),
    "facts": lambda value: isinstance(value, dict) and bool(value),
}


def _bad(why: str) -> click.BadParameter:
    return click.BadParameter(f"this is no report of a 401: {why}", param_hint="'REPORT'")
