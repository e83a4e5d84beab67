"""``cybersource-flex emulator``: run the emulator in the foreground, write its files and print its credentials."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import shlex
import sys
from collections.abc import Iterator
from typing import TextIO

import click

from .._credential_detection import mask_credentials
from ..emulator import SCENARIOS, Emulator, Merchant
from ..emulator.log import LOGGER
from ..errors import ConfigurationError, MissingDependencyError
from .emulator_credentials import PASSWORD_VARIABLE, Credentials, make_merchants, write_credentials
from .emulator_options import Options, check_options
from .shared.console import Console
from .shared.errors import ConfigurationExit
from .shared.progress import waiting

__all__ = ["list_scenarios", "serve"]


def list_scenarios(*, as_json: bool) -> None:
    """Print the scenarios and their parameters."""
    if as_json:
        scenarios = {
            name: {
                "usage": scenario.usage,
                "description": scenario.description,
                "parameters": {
                    parameter_name: {"default": parameter.default, "form": parameter.form}
                    for parameter_name, parameter in scenario.parameters.items()
                },
            }
            for name, scenario in SCENARIOS.items()
        }
        click.echo(json.dumps({"scenarios": scenarios}, indent=2))
        return
    console = Console()
    for scenario in SCENARIOS.values():
        console.title(scenario.usage)
        console.row("", scenario.description)
        for name, parameter in scenario.parameters.items():
            console.row(name, parameter.form)


def serve(options: Options) -> None:
    """Write the requested files, print the environment variables, and serve until interrupted.

    Raises:
        click.ClickException: invalid options (exit code 2), or the emulator cannot write a file (exit code 6).
        EmulatorError: the emulator cannot start; exit code 6. ``AddressError`` if it cannot listen on the port.
    """
    check_options(options)
    with contextlib.ExitStack() as starting:
        starting.enter_context(waiting("starting the emulator"))
        merchants, emulator = _make_emulator(options)

        def ready(emulator: Emulator) -> None:
            credentials = write_credentials(emulator, merchants, options)
            starting.close()
            if options.as_json:
                _print_json(emulator, credentials, options)
            else:
                _print(emulator, credentials, options)

        with _log_to_stderr(logging.DEBUG if options.log_requests else logging.WARNING):
            emulator.serve(ready)


def _make_emulator(options: Options) -> tuple[list[Merchant], Emulator]:
    try:
        merchants = make_merchants(options)
        emulator = Emulator(
            host=options.host,
            port=options.port,
            allow_remote=options.allow_remote,
            public_url=options.public_url,
            merchants=merchants,
            tls=options.https,
            server_certificate=_server_certificate(options),
            client_certificates=options.client_certificates,
            signed_hosts=options.signed_host,
            loopback_origins=options.loopback_origins,
            payment_credentials=options.payment_credentials,
            # The studio would show the secret to every program on this machine.
            studio=not options.credentials_from_env,
            scenario=options.scenario,
            profile=options.profile,
        )
    except (ConfigurationError, MissingDependencyError) as cause:
        # For example an unknown scenario, or `trustme` is not installed.
        raise ConfigurationExit(str(cause)) from cause
    return merchants, emulator


def _print(emulator: Emulator, credentials: Credentials, options: Options) -> None:
    """Print the variables as lines for a shell."""
    Console().title(f"Flex emulator at {emulator.url} (in memory, for tests only). Ctrl-C ends it.")
    # The console could change these lines, so they are printed without it.
    if options.env_file is not None:
        click.echo(f"   # the variables are in {options.env_file.absolute()}")
    else:
        if credentials.unset:
            click.echo(f"   unset {' '.join(credentials.unset)}")
        for name, value in credentials.variables.items():
            printed = f'"${PASSWORD_VARIABLE}"' if _is_inherited(name, value) else shlex.quote(value)
            click.echo(f"   export {name}={printed}")
    if emulator.unsupported:
        click.echo(f"   # not imitated from the report: {', '.join(emulator.unsupported)}")
    for note in credentials.notes:
        click.echo(f"   # {note}")
    for description, variables in credentials.others:
        exports = " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items())
        click.echo(f"   # or, {description}: export {exports}")


def _print_json(emulator: Emulator, credentials: Credentials, options: Options) -> None:
    """Print one line of JSON, so that a program can read it while the emulator serves."""
    variables = credentials.variables if options.env_file is None else {}
    report = {
        "url": emulator.url,
        "variables": {name: value for name, value in variables.items() if not _is_inherited(name, value)},
        "inherited": {name: PASSWORD_VARIABLE for name, value in variables.items() if _is_inherited(name, value)},
        "unset": credentials.unset,
        "env_file": None if options.env_file is None else str(options.env_file.absolute()),
        "other_credentials": [
            {"description": description, "variables": others} for description, others in credentials.others
        ],
        "notes": credentials.notes,
        "not_imitated": list(emulator.unsupported),
    }
    click.echo(json.dumps(report))


def _is_inherited(name: str, value: str) -> bool:
    """Whether a value is a password from the environment, which is not printed, because it may be used elsewhere."""
    return name.endswith("PASSWORD") and value == os.environ.get(PASSWORD_VARIABLE)


def _server_certificate(options: Options) -> tuple[bytes, bytes] | None:
    if options.server_cert is None or options.server_key is None:
        return None
    try:
        return options.server_key.read_bytes(), options.server_cert.read_bytes()
    except OSError as cause:
        raise ConfigurationExit(f"{cause.filename} cannot be read: {cause.strerror}") from None


class _LogFormatter(logging.Formatter):
    """Formats a line of the log. Masks credentials, and numbers as long as card numbers: a path may contain them."""

    def format(self, record: logging.LogRecord) -> str:
        return mask_credentials(re.sub(r"(?<![\w-])[0-9]{12,19}(?![\w-])", "[digits]", super().format(record)))


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Writes each record to what is standard error at that time, because progress on a terminal replaces it."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


@contextlib.contextmanager
def _log_to_stderr(level: int) -> Iterator[None]:
    """Write the emulator's log to standard error in this block. At the level DEBUG it has each request, no secrets."""
    handler = _StderrHandler()
    handler.setFormatter(_LogFormatter("%(asctime)s %(levelname)s %(message)s"))
    LOGGER.addHandler(handler)
    LOGGER.setLevel(level)
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(logging.NOTSET)
