"""``cybersource-flex probe``: compare a host with the assumptions about the service, and write a report."""

from __future__ import annotations

import contextlib
import json
import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple, TextIO

import click

from ..client import FlexClient
from ..client.config.client_options import ClientBuilder
from ..client.config.env_variables import builder_from_env
from ..client.config.merchant_config import builder_from_merchant_config
from ..probe.ledger import Assumption, load_ledger
from ..probe.plan import CHECKS, Conditions, missing_condition, run_checks
from ..probe.report import make_report
from ..probe.results import Result, Results
from ..probe.run import MAX_REQUESTS, Run
from ..transport import Configuration, RetryPolicy
from ..transport.hosts import is_local, is_test_host
from .doctor import load_config
from .shared.clients import selected_host
from .shared.console import Console
from .shared.errors import ConfigurationExit, WriteError
from .shared.exit_codes import ExitCode
from .shared.progress import progress_bar

__all__ = ["Options", "run"]

# Seconds between two requests to a host that is not on this machine.
_SHORTEST_INTERVAL: Final = 0.2

_ADVICE: Final = {
    "incomplete": "a request got no response, or the host returned no capture context: run the command again later",
    "no response": "the host cannot be reached: run cybersource-flex doctor",
    "credentials rejected": (
        "the host rejected the credentials: run cybersource-flex doctor, and check CYBERSOURCE_JWT_CLAIM_FORMAT"
    ),
    "rate limited": "the host limits the rate of requests: try again later, with a longer --interval",
}
_EXIT_CODES: Final = {"complete": ExitCode.SUCCESS, "credentials rejected": ExitCode.REJECTED}


class Options(NamedTuple):
    """The options of the command."""

    config: Path | None
    environment: str | None
    host: str | None
    production: bool
    dry_run: bool
    report: Path | None
    force: bool
    interval: float
    send_token: bool
    as_json: bool


def run(options: Options) -> ExitCode:
    """Run the checks and print the results, or with ``dry_run`` list the requests.

    Returns:
        The exit code: 0 if no assumption is contradicted, 1 if one is, 4 if the host rejects the credentials, 3 if the
        checks could not be completed for another reason.

    Raises:
        click.ClickException: the options are invalid, or the report's file cannot be created.
        ConfigurationError: the configuration is invalid.
        WriteError: the report cannot be written to the file.
    """
    host = selected_host(options.environment, options.host)
    builder = _builder(options.config, host)
    with warnings.catch_warnings():
        # `doctor` reports deprecated schemes. A Python warning would only clutter the output.
        warnings.simplefilter("ignore", DeprecationWarning)
        signer = builder.signer()
    mle = builder.encryption()
    configuration = _configuration(builder, host)
    _check_host(configuration.host, options)
    may_sign = builder.scheme != "bearer" or options.send_token
    conditions = Conditions(
        scheme=str(builder.scheme),
        may_sign=may_sign,
        has_response_key=mle is not None and mle.response_kid is not None,
        is_test_host=is_test_host(configuration.host),
    )
    if options.dry_run:
        _list_requests(configuration.host, conditions, as_json=options.as_json)
        return ExitCode.SUCCESS
    with _report_file(options) as file:
        ledger = load_ledger()
        results = Results(entry.id for entry in ledger.assumptions)
        for entry in ledger.assumptions:
            if entry.not_checked is not None:
                results.add(entry.id, "not testable", entry.not_checked)
        used_signer = signer if may_sign else None
        probe = Run(configuration, used_signer, conditions.scheme, mle, results, interval=options.interval)
        try:
            with progress_bar("requests", len(_planned(conditions))) as update:
                outcome = run_checks(probe, conditions, lambda step: update(len(probe.responses), step))
        finally:
            probe.close()
        report = make_report(
            ledger,
            results,
            host=configuration.host,
            scheme=conditions.scheme,
            outcome=outcome,
            requests=len(probe.responses),
        )
        not_written = None if file is None else _write(file, report)
    # The results are printed even if the report cannot be written.
    if options.as_json:
        click.echo(json.dumps(report, indent=2))
    else:
        _print(report, results, ledger.assumptions)
    if not_written is not None:
        raise WriteError(f"{options.report}: {not_written}")
    if report["contradicted"]:
        return ExitCode.NEGATIVE
    return _EXIT_CODES.get(outcome, ExitCode.NO_RESPONSE)


def _builder(config: Path | None, host: str | None) -> ClientBuilder:
    overridden = frozenset[str]() if host is None else frozenset({"environment"})
    if config is None:
        return builder_from_env(os.environ, overridden)
    return builder_from_merchant_config(load_config(config), overridden)


def _configuration(builder: ClientBuilder, host: str | None) -> Configuration:
    """The host and the connection settings, without credentials. Each request is sent once."""
    overrides: dict[str, Any] = {"auth": None, "mle": None, "retry": RetryPolicy(attempts=1)}
    if host is not None:
        overrides["environment"] = host
    client = builder.build(FlexClient, overrides)
    client.close()
    return client.api_client.configuration


def _check_host(host: str, options: Options) -> None:
    if not is_test_host(host) and not options.production:
        raise click.UsageError(
            f"{host} is not a test host. Use --production to send requests without card data to this host, or "
            "--environment test"
        )
    if options.interval < _SHORTEST_INTERVAL and not is_local(host):
        raise click.UsageError(f"--interval must be at least {_SHORTEST_INTERVAL} for hosts on other machines")


def _list_requests(host: str, conditions: Conditions, *, as_json: bool) -> None:
    """Print the requests that a run sends at most, in order. Sends nothing."""
    planned = _planned(conditions)
    if as_json:
        click.echo(json.dumps({"host": host, "limit": MAX_REQUESTS, "requests": planned}, indent=2))
        return
    console = Console()
    console.title(f"At most {len(planned)} requests to {host}; nothing was sent")
    step = ""
    for number, entry in enumerate(planned, 1):
        if entry["step"] != step:
            step = entry["step"]
            console.title(step.capitalize())
        console.line(f"{number:>2}  {entry['request']}")


def _planned(conditions: Conditions) -> list[dict[str, str]]:
    """The requests that a run sends at most, in order."""
    return [
        {"step": check.step, "request": request}
        for check in CHECKS
        if missing_condition(check, conditions) is None
        for request in check.requests
    ]


def _print(report: dict[str, Any], results: Iterable[Result], assumptions: Iterable[Assumption]) -> None:
    console = Console()
    console.title(f"{report['host']}, {report['scheme']}, {report['requests']} requests")
    by_id = {result.assumption: result for result in results}
    area = ""
    for entry in assumptions:
        if entry.area != area:
            area = entry.area
            console.title(area)
        result = by_id[entry.id]
        console.assumption(result.verdict, entry.id, result.observed)
    for entry in assumptions:
        result = by_id[entry.id]
        if result.verdict == "contradicted":
            console.title(f"{entry.id} is contradicted: {result.observed}")
            console.row("assumed", entry.statement)
            console.row("effect", entry.if_wrong)
    if report["outcome"] != "complete":
        console.title(_ADVICE[report["outcome"]])
    console.title(
        f"{report['confirmed']} confirmed, {report['contradicted']} contradicted, {report['not_testable']} not testable"
    )


@contextlib.contextmanager
def _report_file(options: Options) -> Iterator[TextIO | None]:
    """Open the report's file before the first request, because a run with a wrong path would lose its results.

    If the run fails, a new file is removed and an old one is unchanged.
    """
    path = options.report
    if path is None:
        yield None
        return
    try:
        file = path.open("a" if options.force else "x", encoding="utf-8")
    except FileExistsError:
        raise ConfigurationExit(f"{path} exists; use --force to overwrite it") from None
    except OSError as cause:
        raise ConfigurationExit(f"{path}: {cause.strerror or type(cause).__name__}") from None
    try:
        yield file
    except BaseException:
        file.close()
        if not options.force:
            path.unlink(missing_ok=True)
        raise
    # After a failed write, closing fails for the same reason.
    with contextlib.suppress(OSError):
        file.close()


def _write(file: TextIO, report: dict[str, Any]) -> str | None:
    """Replace the content of the report's file. Returns why that is not possible, or None."""
    try:
        if Path(file.name).is_file():
            file.truncate(0)
        file.write(json.dumps(report, indent=2) + "\n")
        file.flush()
    except OSError as cause:
        return cause.strerror or type(cause).__name__
    return None
