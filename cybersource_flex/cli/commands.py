"""The commands and their options. What they do stands in a module each."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

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


_file = click.Path(dir_okay=False, path_type=Path)
_existing = click.Path(exists=True, dir_okay=False, path_type=Path)


@cli.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Loopback address to listen on.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="Port; 0 for a free one.")
@click.option("--merchant", multiple=True, metavar="ID", help="A merchant that may call; can be given again.")
@click.option("--portfolio", metavar="ID", help="The merchants share a meta key that this portfolio created.")
@click.option("--p12", type=_file, help="Write the first merchant's P12 file there, and have clients use that.")
@click.option("--p12-portfolio", is_flag=True, help="Make it the portfolio's P12: a meta key.")
@click.option(
    "--p12-password",
    envvar="CYBERSOURCE_P12_PASSWORD",
    help="Of the P12 files; else $CYBERSOURCE_P12_PASSWORD, or one that is made up.",
)
@click.option("--response-mle-p12", type=_file, help="Write a key for encrypted answers there, a P12 file.")
@click.option("--request-mle-cert", type=_file, help="Write the certificate for encrypted requests there, PEM.")
@click.option("--access-token", is_flag=True, help="Issue an OAuth access token and print it.")
@click.option("--tls", is_flag=True, help="Serve https, with a certificate of an authority made up for it.")
@click.option("--ca-file", type=_file, help="Write that authority's certificate there, PEM, for clients to trust.")
@click.option(
    "--client-certificates",
    type=click.Choice(["optional", "required"]),
    help="Whether clients may or must show a certificate (mutual TLS).",
)
@click.option("--client-cert", type=_file, help="Write a client's certificate there, PEM.")
@click.option("--client-key", type=_file, help="Write its private key there, PEM.")
@click.option("--signed-host", multiple=True, metavar="NAME", help="Another host that may be signed; can be repeated.")
@click.option("--payment-credentials", is_flag=True, help="Serve payment credentials: keeps card numbers in memory.")
@click.option("--credentials-key", type=_file, help="Write the private key that opens them there, PEM.")
@click.option("--scenario", metavar="NAME;PARAMETER=VALUE", help="What goes wrong with each request.")
@click.option("--list-scenarios", is_flag=True, help="Say what can go wrong, and end.")
@click.option("--force", is_flag=True, help="Write over files that exist.")
@_reported
def emulator(list_scenarios: bool, **options: Any) -> None:
    """Serve a local Flex host until interrupted, with merchants and keys made up for it.

    Prints the variables that FlexClient.from_env(), demo --url and doctor need. Files are written before it serves, all
    that are secret for their owner alone. The exit code is 1 where it cannot serve or write, 2 for wrong usage.
    """
    _needs_emulator()
    from . import emulator as command

    if list_scenarios:
        command.list_scenarios()
    else:
        command.serve(command.Options(**options))


@cli.command()
@click.argument("token", required=False)
@click.option("--file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="File with the token.")
@click.option("--full", is_flag=True, help="Show long texts whole.")
@click.option("--json", "as_json", is_flag=True, help="For programs; the keys do not change between versions.")
@_reported
def inspect(token: str | None, file: Path | None, full: bool, as_json: bool) -> None:
    """Show what a token says, without believing it.

    TOKEN is any JWT or JWE of Flex, or the path of a file with it; - or none reads standard input. Nothing is verified
    and nothing is sent. Card numbers are masked. The exit code is 0 for a well-formed token, 1 for another, 2 for wrong
    usage.
    """
    from .inspect import run

    if not run(token, file, as_json=as_json, full=full):
        sys.exit(1)


@cli.command()
@click.argument("token", required=False)
@click.option("--file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="File with the token.")
@click.option("--context", help="For a transient token: its capture context, or the path of a file with it.")
@click.option(
    "--context-expired-ok/--no-context-expired-ok",
    default=True,
    show_default=True,
    help="Take a context that expired within the 15 minutes that its tokens live for.",
)
@click.option("--environment", help="Fetch the key there: test, production, ... In place of the environment variables.")
@click.option("--host", help="The same, by address: https://apitest.cybersource.com.")
@click.option(
    "--jwk",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Take the key from this file and ask no host: JWK, JWKS or PEM. Can be repeated.",
)
@click.option("--at", metavar="TIME", help="Verify as of then: seconds since 1970, or 2026-11-22T12:00:00Z.")
@click.option(
    "--leeway",
    default=30.0,
    show_default=True,
    type=click.FloatRange(0, 600),
    envvar="CYBERSOURCE_LEEWAY",
    help="Seconds that clocks may differ; else $CYBERSOURCE_LEEWAY.",
)
@click.option("--json", "as_json", is_flag=True, help="For programs; the keys do not change between versions.")
@_reported
def verify(**options: Any) -> None:
    """Say whether a capture context or transient token is genuine and valid.

    TOKEN is the JWT, or the path of a file with it; - or none reads standard input. Without --jwk the key comes from
    the host that the variables of FlexClient.from_env() name; no credentials are needed. The exit code is 0 for
    verified, 1 for not verified, 2 for wrong usage or configuration, 3 where the key could not be fetched.
    """
    from .verify import Options, run

    sys.exit(run(Options(**options)))


_environment = click.option("--environment", help="test, production, ... in place of what the variables say.")
_host = click.option("--host", help="The same, by address: https://apitest.cybersource.com.")


@cli.command("capture-context")
@click.option("--card", multiple=True, metavar="FIELD", help="Field of the card; one with ? at its end is optional.")
@click.option(
    "--amount-details", multiple=True, metavar="FIELD", help="The same, of the amount: totalAmount, currency."
)
@click.option("--bill-to", multiple=True, metavar="FIELD", help="The same, of the billing address.")
@click.option("--ship-to", multiple=True, metavar="FIELD", help="The same, of the shipping address.")
@click.option("--target-origin", multiple=True, metavar="URL", help="For Microform, on pages of this origin.")
@click.option("--network", multiple=True, metavar="NAME", help="Card network that Microform takes: VISA.")
@click.option("--payment-type", multiple=True, metavar="NAME", help="Payment type that Microform takes: CARD, CHECK.")
@_environment
@_host
@click.option("--json", "as_json", is_flag=True, help="For programs; the keys do not change between versions.")
@_reported
def capture_context(**options: Any) -> None:
    """Ask for a capture context, verify it, and print its JWT.

    Options with FIELD, URL or NAME can be given again. Without any it is for a card: number, expirationMonth,
    expirationYear, securityCode? and type?. Credentials come from the variables of FlexClient.from_env(). The exit code
    is 1 where there is no context, 2 for wrong usage or configuration.
    """
    from .capture_context import Options, run

    run(Options(**options))


@cli.command()
@click.option("--input", required=True, type=_existing, help="File with a card a line, as JSON.")
@click.option("--output", required=True, type=_file, help="File that a line for each is added to.")
@click.option("--concurrency", default=8, show_default=True, type=click.IntRange(1, 64), help="Cards at a time.")
@click.option("--retry-failed", is_flag=True, help="Try lines again that failed before.")
@_environment
@_host
@click.option("--production-cards", is_flag=True, help="Allow a host that is not for tests, and so real cards.")
@_reported
def tokenize(**options: Any) -> None:
    """Make a transient token of each card in a file, for tests and migrations.

    A line of the input is a JSON object: {"id": "order-1", "card": {"number": "4111111111111111", ...}}. Lines that are
    in the output already are not done again, so after an interruption the same command goes on. Credentials come from
    the variables of FlexClient.from_env(). The exit code is 0 if every line has its token, 1 if not, 2 for wrong usage
    or configuration.
    """
    from .tokenize_files import Options, run

    sys.exit(run(Options(**options)))


@cli.command()
@click.argument("report", type=click.File("rb"))
@click.option("--json", "as_json", is_flag=True, help="For programs; the names of the causes do not change.")
@_reported
def explain(report: BinaryIO, as_json: bool) -> None:
    """Say why a request was answered with 401, from a saved REPORT.

    REPORT is a file with what AuthenticationError.report() returned, as JSON; - reads standard input. All causes that
    are known are listed, the likeliest first, with what speaks for (+) and against (-) each. Nothing is sent. The exit
    code is 2 for a file that is no such report.
    """
    from .explain import run

    run(report, as_json=as_json)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="For programs; the keys do not change between versions.")
@_reported
def provenance(as_json: bool) -> None:
    """Say what the generated files of this package were made from, and whether they are still the same.

    Hashes each of them and compares it with the record that the package brings. Nothing is sent. The exit code is 0
    where all are the same and no other file lies among them, else 1.
    """
    from .provenance import run

    if not run(as_json=as_json):
        sys.exit(1)
