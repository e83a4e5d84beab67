"""``cybersource-flex doctor``: check a configuration and print or report the results."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import click

from .._paths import NOT_TEXT, decode_text
from ..client.config.client_options import ClientBuilder
from ..client.config.env_variables import builder_from_env
from ..client.config.merchant_config import builder_from_merchant_config
from ..errors import ConfigurationError
from .doctor_checks import Finding, run_checks
from .shared.console import Console
from .shared.exit_codes import ExitCode
from .shared.progress import wait_for_each

__all__ = ["load_config", "run"]

_WAITING: Final = "waiting for the host"


def run(config: Path | None, *, as_json: bool, offline: bool, send_token: bool) -> ExitCode:
    """Check a configuration and print the findings.

    Args:
        config: a JSON file with the official SDK's dictionary. None reads the environment variables.
        as_json: print JSON after all checks, instead of one line after each check.
        offline: skip the checks that send requests to the host.
        send_token: whether an access token may be sent to the host.

    Returns:
        The exit code: 0 without problems, otherwise 1.
    """
    source = "the environment" if config is None else str(config)
    builder: ClientBuilder | None = None
    findings: Iterable[Finding]
    try:
        builder = builder_from_env(os.environ) if config is None else builder_from_merchant_config(load_config(config))
        findings = run_checks(builder, offline=offline, send_token=send_token)
    except ConfigurationError as cause:
        hint = "the page 'Configuration' of the documentation lists all settings"
        findings = [Finding("configuration", "problem", str(cause), hint)]
    if as_json:
        results = list(wait_for_each(findings, _WAITING))
        click.echo(json.dumps(_report(results, source, builder), indent=2))
    else:
        results = _print(findings, source)
    return ExitCode.NEGATIVE if _count(results, "problem") else ExitCode.SUCCESS


def _print(findings: Iterable[Finding], source: str) -> list[Finding]:
    """Print each finding as soon as its check is done, and return all findings."""
    console = Console()
    console.title(f"Configuration from {source}")
    printed = []
    for finding in wait_for_each(findings, _WAITING):
        printed.append(finding)
        console.finding(finding.level, finding.check, finding.message, finding.hint)
    problems, warnings = _count(printed, "problem"), _count(printed, "warning")
    if not problems and any(finding.check == "signed_request" for finding in printed):
        console.line("cybersource-flex probe compares the host with what this package assumes", "italic")
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


def load_config(path: Path) -> Any:
    """Read the dictionary in a JSON file. Raises ``ConfigurationError``. The message contains no value of the file."""
    reason = None
    try:
        document = decode_text(path.read_bytes())
        if document is None:
            raise ConfigurationError(f"{path} {NOT_TEXT}")
        return json.loads(document, object_pairs_hook=_reject_duplicates)
    except OSError as cause:
        reason = cause.strerror or type(cause).__name__
    except json.JSONDecodeError as cause:
        reason = f"the file is not valid JSON: error in line {cause.lineno}"
    except ConfigurationError:
        raise
    except (ValueError, RecursionError):
        # The file contains a number with thousands of digits, or is nested too deeply.
        reason = "the file is not valid JSON"
    raise ConfigurationError(f"{path}: {reason}")


def _reject_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        duplicates = sorted({name for name in names if names.count(name) > 1})
        raise ConfigurationError(f"the file contains a name more than once: {', '.join(duplicates)}")
    return members
