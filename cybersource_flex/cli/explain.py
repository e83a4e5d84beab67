"""``cybersource-flex explain``: list the likely causes of a 401 response from a saved report. Sends no request."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from .._paths import NOT_TEXT, decode_text
from ..errors import AuthFailureCause
from ..transport.diagnosis import LIKELY, InvalidFactError, diagnose
from .shared.console import Console

__all__ = ["run"]

# A report is about 1 KiB long.
_MAX_KIB: Final = 256
# The lowest score of a possible cause.
_POSSIBLE: Final = 30


def run(path: Path, *, as_json: bool) -> None:
    """Print the possible causes of a 401, the likeliest first.

    Args:
        path: a file with the report of ``AuthenticationError.report()`` as JSON. ``-`` is standard input.
        as_json: print JSON.

    Raises:
        click.BadParameter: the file is not such a report.
    """
    report = _parse(_read(path))
    try:
        causes = diagnose(report["facts"])
    except InvalidFactError as cause:
        raise _invalid_report(str(cause)) from None
    if as_json:
        click.echo(json.dumps({"causes": [_as_json(cause) for cause in causes], "report": report}, indent=2))
    else:
        _show(report, causes)


def _show(report: Mapping[str, Any], causes: tuple[AuthFailureCause, ...]) -> None:
    console = Console()
    attempts = report["attempts"]
    console.title(f"{report['method']} {report['path']}: 401")
    if attempts:
        last = datetime.fromtimestamp(attempts[-1]["started_at"], UTC)
        console.line(f"{len(attempts)} attempt{'s' * (len(attempts) > 1)}, the last at {last:%Y-%m-%d %H:%M:%S} UTC")
    if report["correlation_id"] is not None:
        console.line(f"v-c-correlation-id {report['correlation_id']}: CyberSource's support asks for it")
    for number, cause in enumerate(causes, 1):
        style = "" if cause.score else "dim"
        console.title(f"{number}. {cause.title} ({_likelihood(cause.score)})")
        for evidence in cause.evidence_for:
            console.line(f"+ {evidence}", style)
        for evidence in cause.evidence_against:
            console.line(f"- {evidence}", style)
        if cause.score:
            console.line(cause.advice, "italic")


def _likelihood(score: int) -> str:
    if score >= LIKELY:
        return "likely"
    if score >= _POSSIBLE:
        return "possible"
    return "unlikely" if score else "ruled out"


def _as_json(cause: AuthFailureCause) -> dict[str, Any]:
    return {**cause._asdict(), "likelihood": _likelihood(cause.score)}


def _read(path: Path) -> bytes:
    if str(path) == "-":
        # sys.stdin is None if it was closed.
        if sys.stdin is None:
            raise click.BadParameter("standard input is closed", param_hint="'REPORT'")
        return sys.stdin.buffer.read(_MAX_KIB * 1024 + 1)
    try:
        with path.open("rb") as file:
            return file.read(_MAX_KIB * 1024 + 1)
    except OSError as cause:
        raise click.BadParameter(f"{path}: {cause.strerror or type(cause).__name__}", param_hint="'REPORT'") from None


def _parse(content: bytes) -> dict[str, Any]:
    if len(content) > _MAX_KIB * 1024:
        raise _invalid_report(f"it is larger than {_MAX_KIB} KiB")
    document = decode_text(content)
    if document is None:
        raise _invalid_report(f"it {NOT_TEXT}")
    try:
        report = json.loads(document)
    except (ValueError, RecursionError):
        # The cause is dropped, because its message would quote the file.
        raise _invalid_report("it is not JSON") from None
    if not isinstance(report, dict) or report.get("report") != "cybersource-flex 401":
        raise _invalid_report("it is not what AuthenticationError.report() returns")
    if report.get("version") != 1:
        raise _invalid_report(
            "its version is not 1; to explain it, use the version of cybersource-flex that created this report"
        )
    invalid = next((name for name, is_valid in _MEMBERS.items() if not is_valid(report.get(name))), None)
    if invalid is not None:
        raise _invalid_report(f"its member {invalid!r} is missing or invalid")
    return report


def _is_line(value: Any) -> bool:
    # The value is printed, so it must not contain control characters.
    return isinstance(value, str) and value.isprintable() and len(value) <= 300


def _is_attempt(value: Any) -> bool:
    started = value.get("started_at") if isinstance(value, dict) else None
    # Not every platform supports dates after the year 2100.
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
