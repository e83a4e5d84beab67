"""The commands and their options. What they do stands in a module each."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import click

from .._version import __version__
from ..errors import FlexError

__all__ = ["cli"]

_F = TypeVar("_F", bound=Callable[..., Any])


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


def _credentials(command: _F) -> _F:
    """The options that say who signs. The secret comes from the environment alone: arguments can be read by others."""
    for option in (
        click.option("--merchant-id", envvar="CYBERSOURCE_MERCHANT_ID", help="Merchant id."),
        click.option("--key-id", envvar="CYBERSOURCE_KEY_ID", help="Id of the REST shared-secret key."),
        click.option(
            "--auth",
            envvar="CYBERSOURCE_AUTH",
            type=click.Choice(["jwt_shared_secret", "http_signature"]),
            default="jwt_shared_secret",
            show_default=True,
            help="How requests are signed.",
        ),
    ):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """CyberSource Flex API: capture contexts, encryption and transient tokens."""


@cli.command()
@click.option(
    "--url", help="Run against this host instead of a local emulator, for example https://apitest.cybersource.com."
)
@_credentials
@_reported
def demo(url: str | None, merchant_id: str | None, key_id: str | None, auth: str) -> None:
    """Go through the five steps and show each artefact decoded.

    Without --url a local emulator is started for it. With --url the shared secret is read from CYBERSOURCE_SECRET_KEY.
    """
    from .demo import run, run_against_emulator
    from .signer import signer

    if url is None:
        _needs_emulator()
        run_against_emulator()
    else:
        run(url, signer(auth, merchant_id, key_id))


@cli.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Loopback address to listen on.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="Port; 0 for a free one.")
@_reported
def emulator(host: str, port: int) -> None:
    """Serve a local Flex host until interrupted, with a merchant and a key made up for it."""
    _needs_emulator()
    from .emulator import serve

    serve(host, port)
