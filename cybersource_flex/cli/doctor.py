"""``cybersource-flex doctor``: what is wrong with a configuration, and what soon will be."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from ..client import environment, merchant_config
from ..client.plan import Plan
from ..errors import ConfigurationError
from .console import Console
from .doctor_checks import Finding, examine

__all__ = ["run"]


def run(config: Path | None, *, as_json: bool, offline: bool, send_token: bool) -> bool:
    """Examine a configuration and show what was found.

    Args:
        config: a JSON file with the official SDK's dictionary; None for the environment.
        as_json: show JSON, once all is known, in place of lines as they come.
        offline: leave out what needs the host.
        send_token: let an access token go to the host.

    Returns:
        Whether there are no problems.
    """
    source = "the environment" if config is None else str(config)
    plan: Plan | None = None
    findings: Iterable[Finding]
    try:
        plan = environment.read(os.environ) if config is None else merchant_config.read(_load(config))
        findings = examine(plan, offline=offline, send_token=send_token)
    except ConfigurationError as cause:
        hint = "the settings are in docs/configuration.md"
        findings = [Finding("configuration", "problem", str(cause), hint)]
    if as_json:
        seen = list(findings)
        click.echo(json.dumps(_report(seen, source, plan), indent=2))
    else:
        seen = _shown(findings, source)
    return _count(seen, "problem") == 0


def _shown(findings: Iterable[Finding], source: str) -> list[Finding]:
    console = Console()
    console.title(f"Configuration from {source}")
    seen = []
    for finding in findings:
        seen.append(finding)
        console.finding(finding.level, finding.check, finding.text, finding.hint)
    problems, warnings = _count(seen, "problem"), _count(seen, "warning")
    console.title(f"{_amount(problems, 'problem')}, {_amount(warnings, 'warning')}")
    return seen


def _report(seen: list[Finding], source: str, plan: Plan | None) -> dict[str, Any]:
    problems = _count(seen, "problem")
    return {
        "ok": problems == 0,
        "problems": problems,
        "warnings": _count(seen, "warning"),
        "source": source,
        "scheme": None if plan is None else plan.scheme,
        "findings": [{**each._asdict(), "hint": each.hint or None, "facts": dict(each.facts)} for each in seen],
    }


def _count(seen: list[Finding], level: str) -> int:
    return sum(each.level == level for each in seen)


def _amount(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"


def _load(path: Path) -> Any:
    """The dictionary in a JSON file. Raises ``ConfigurationError``, which has nothing of the file's content in it."""
    wrong = None
    try:
        return json.loads(path.read_text("utf-8"), object_pairs_hook=_once)
    except OSError as cause:
        wrong = cause.strerror or type(cause).__name__
    except json.JSONDecodeError as cause:
        wrong = f"not JSON, in line {cause.lineno}"
    except ConfigurationError:
        raise
    except (ValueError, RecursionError):
        # Not UTF-8, a number with thousands of digits, or too many levels.
        wrong = "not JSON"
    raise ConfigurationError(f"{path}: {wrong}")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ConfigurationError(f"given twice: {', '.join(twice)}")
    return found
