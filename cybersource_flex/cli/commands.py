"""The commands and their options. What they do stands in a module each."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from .._version import __version__
from ..errors import FlexError

__all__ = ["cli"]


def _reported(command: Callable[..., None]) -> Callable[..., None]:
    """What this package raises on purpose is one line on standard error and exit code 1, not a traceback."""

    @functools.wraps(command)
    def run(*args: Any, **options: Any) -> None:
        try:
            command(*args, **options)
        except FlexError as cause:
            raise click.ClickException(f"{type(cause).__name__}: {cause}") from cause

    return run


def _needs_emulator() -> None:
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ModuleNotFoundError as cause:
        raise click.UsageError(
            f"the emulator needs {cause.name}: pip install 'cybersource-flex[cli,emulator]'"
        ) from cause


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """CyberSource Flex API: capture contexts, encryption and transient tokens."""


@cli.command()
@click.option(
    "--url", help="Run against this host instead of a local emulator, for example https://apitest.cybersource.com."
)
@_reported
def demo(url: str | None) -> None:
    """Go through the five steps and show each artefact decoded.

    Without --url a local emulator is started for it. With --url the credentials come from the environment:
    CYBERSOURCE_AUTH, CYBERSOURCE_MERCHANT_ID, CYBERSOURCE_KEY_ID, CYBERSOURCE_SECRET_KEY and the others that
    docs/configuration.md lists.
    """
    from .demo import run, run_against_emulator

    if url is None:
        _needs_emulator()
        run_against_emulator()
    else:
        run(url)


@cli.command()
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON file with the configuration dictionary of CyberSource's own SDK, in place of the environment.",
)
@click.option("--json", "as_json", is_flag=True, help="For programs; the keys do not change between versions.")
@click.option("--offline", is_flag=True, help="Leave out what needs the host.")
@click.option("--send-token", is_flag=True, help="With OAuth: try the access token, which goes to the host.")
@_reported
def doctor(config: Path | None, as_json: bool, offline: bool, send_token: bool) -> None:
    """Say what is wrong with the configuration, and what soon will be.

    Reads the same variables as FlexClient.from_env(), looks at keys, certificates and their ends, asks the host for its
    time, and has it judge one signed request: a capture context for one field. No secret is sent. The exit code is 0
    without problems, 1 with, 2 for wrong usage.
    """
    from .doctor import run

    if not run(config, as_json=as_json, offline=offline, send_token=send_token):
        sys.exit(1)


@cli.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Loopback address to listen on.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="Port; 0 for a free one.")
@_reported
def emulator(host: str, port: int) -> None:
    """Serve a local Flex host until interrupted, with a merchant and a key made up for it."""
    _needs_emulator()
    from .emulator import serve

    serve(host, port)
