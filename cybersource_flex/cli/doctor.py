"""``cybersource-flex doctor``: check a configuration and print or report the results."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from ..client.config.client_options import ClientBuilder
from ..client.config.env_variables import builder_from_env
from ..client.config.merchant_config import builder_from_merchant_config
from ..errors import ConfigurationError
from .console import Console
from .doctor_checks import Finding, run_checks

__all__ = ["run"]


def run(config: Path | None, *, as_json: bool, offline: bool, send_token: bool) -> bool:
    """Check a configuration and print the findings.

    Args:
        config: a JSON file with the official SDK's dictionary; None for the environment.
        as_json: print JSON after all checks, instead of one line after each check.
        offline: skip the checks that send requests to the host.
        send_token: whether an access token may be sent to the host.

    Returns:
        Whether there are no problems.
    """
    source = "the environment" if config is None else str(config)
    builder: ClientBuilder | None = None
    findings: Iterable[Finding]
    try:
        builder = builder_from_env(os.environ) if config is None else builder_from_merchant_config(_load(config))
        findings = run_checks(builder, offline=offline, send_token=send_token)
    except ConfigurationError as cause:
        hint = "the settings are in docs/configuration.md"
        findings = [Finding("configuration", "problem", str(cause), hint)]
    if as_json:
        results = list(findings)
        click.echo(json.dumps(_report(results, source, builder), indent=2))
    else:
        results = _print(findings, source)
    return _count(results, "problem") == 0


def _print(findings: Iterable[Finding], source: str) -> list[Finding]:
    """Print each finding when its check is done, and return all."""
    console = Console()
    console.title(f"Configuration from {source}")
    printed = []
    for finding in findings:
        printed.append(finding)
        console.finding(finding.level, finding.check, finding.message, finding.hint)
    problems, warnings = _count(printed, "problem"), _count(printed, "warning")
    console.title(f"{_plural(problems, 'problem')}, {_plural(warnings, 'warning')}")
    return printed


def _report(findings: list[Finding], source: str, builder: ClientBuilder | None) -> dict[str, Any]:
    problems = _count(findings, "problem")
    return {
        "ok": problems == 0,
        "problems": problems,
        "warnings": _count(findings, "warning"),
        "source": source,
        "scheme": None if builder is None else builder.scheme,
        "findings": [
            {**finding._asdict(), "hint": finding.hint or None, "facts": dict(finding.facts)} for finding in findings
        ],
    }


def _count(findings: list[Finding], level: str) -> int:
    return sum(finding.level == level for finding in findings)


def _plural(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


def _load(path: Path) -> Any:
    """Read the dictionary in a JSON file. Raises ``ConfigurationError`` without content of the file."""
    reason = None
    try:
        return json.loads(path.read_text("utf-8"), object_pairs_hook=_reject_duplicates)
    except OSError as cause:
        reason = cause.strerror or type(cause).__name__
    except json.JSONDecodeError as cause:
        reason = f"not JSON, in line {cause.lineno}"
    except ConfigurationError:
        raise
    except (ValueError, RecursionError):
        # Not UTF-8, a number with thousands of digits, or too many levels.
        reason = "not JSON"
    raise ConfigurationError(f"{path}: {reason}")


def _reject_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        duplicates = sorted({name for name in names if names.count(name) > 1})
        raise ConfigurationError(f"given twice: {', '.join(duplicates)}")
    return members
