"""``cybersource-flex explain``: list the likely causes of a 401 response from a saved report. Sends no request."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, BinaryIO, Final

import click

from ..transport.diagnosis import LIKELY, Cause, InvalidFactError, diagnose
from .console import Console

__all__ = ["run"]

# A report is about 1 KiB long.
_MAX_KIB: Final = 256
# The score from which a cause is possible.
_POSSIBLE: Final = 30


def run(file: BinaryIO, *, as_json: bool) -> None:
    """Print the possible causes of a 401, the likeliest first.

    Args:
        file: the report of ``AuthenticationError.report()`` as JSON.
        as_json: print JSON instead of text.

    Raises:
        click.BadParameter: the file is not such a report.
    """
    report = _read(file)
    try:
        causes = diagnose(report["facts"])
    except InvalidFactError as cause:
        raise _invalid_report(str(cause)) from None
    if as_json:
        click.echo(json.dumps({"causes": [_as_json(cause) for cause in causes], "report": report}, indent=2))
    else:
        _show(report, causes)


def _show(report: Mapping[str, Any], causes: tuple[Cause, ...]) -> None:
    console = Console()
    attempts = report["attempts"]
    console.title(f"{report['method']} {report['path']}: 401")
    if attempts:
        last = datetime.fromtimestamp(attempts[-1]["started"], UTC)
        console.line(f"{len(attempts)} attempt{'s' * (len(attempts) > 1)}, the last at {last:%Y-%m-%d %H:%M:%S} UTC")
    if report["correlation_id"] is not None:
        console.line(f"v-c-correlation-id {report['correlation_id']}: CyberSource's support asks for it")
    for number, cause in enumerate(causes, 1):
        style = "" if cause.score else "dim"
        console.title(f"{number}. {cause.title} ({_likelihood(cause.score)})")
        for evidence in cause.speaks_for:
            console.line(f"+ {evidence}", style)
        for evidence in cause.speaks_against:
            console.line(f"- {evidence}", style)
        if cause.score:
            console.line(cause.advice, "italic")


def _likelihood(score: int) -> str:
    if score >= LIKELY:
        return "likely"
    if score >= _POSSIBLE:
        return "possible"
    return "unlikely" if score else "ruled out"


def _as_json(cause: Cause) -> dict[str, Any]:
    return {**cause._asdict(), "likelihood": _likelihood(cause.score)}


def _read(file: BinaryIO) -> dict[str, Any]:
    content = file.read(_MAX_KIB * 1024 + 1)
    if len(content) > _MAX_KIB * 1024:
        raise _invalid_report(f"it is larger than {_MAX_KIB} KiB")
    try:
        report = json.loads(content)
    except (ValueError, RecursionError):
        # Raised without the cause, whose message would quote the file.
        raise _invalid_report("it is not JSON") from None
    if not isinstance(report, dict) or report.get("report") != "cybersource-flex 401":
        raise _invalid_report("it is not what AuthenticationError.report() returns")
    if report.get("version") != 1:
        raise _invalid_report("it has another version than 1; use the version of cybersource-flex that created it")
    invalid = next((name for name, is_valid in _MEMBERS.items() if not is_valid(report.get(name))), None)
    if invalid is not None:
        raise _invalid_report(f"its member {invalid!r} is missing or invalid")
    return report


def _is_line(value: Any) -> bool:
    # The value is printed, so it must not contain control characters.
    return isinstance(value, str) and value.isprintable() and len(value) <= 300


def _is_attempt(value: Any) -> bool:
    started = value.get("started") if isinstance(value, dict) else None
    # Up to the year 2100: not every platform has dates beyond it.
    return isinstance(started, (int, float)) and not isinstance(started, bool) and 0 <= started < 4_102_444_800


_MEMBERS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "method": _is_line,
    "path": _is_line,
    "status": lambda value: isinstance(value, int) and value == 401,
    "correlation_id": lambda value: value is None or _is_line(value),
    "attempts": lambda value: isinstance(value, list) and all(_is_attempt(attempt) for attempt in value),
    "facts": lambda value: isinstance(value, dict) and bool(value),
}


def _invalid_report(reason: str) -> click.BadParameter:
    return click.BadParameter(f"this is not a report of a 401: {reason}", param_hint="'REPORT'")
