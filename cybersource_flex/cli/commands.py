"""The click commands of ``cybersource-flex`` and their options. Each command is implemented in a separate module."""

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


def _report_flex_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Print a ``FlexError`` as one line on standard error and exit with code 1, instead of showing a traceback."""

    @functools.wraps(command)
    def run(*args: Any, **options: Any) -> None:
        try:
            command(*args, **options)
        except FlexError as cause:
            raise click.ClickException(f"{type(cause).__name__}: {cause}") from cause

    return run


def _require_emulator() -> None:
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ModuleNotFoundError as cause:
        raise click.UsageError(
            f"the emulator needs {cause.name}: pip install 'cybersource-flex[cli,emulator]'"
        ) from cause


_output_file = click.Path(dir_okay=False, path_type=Path)
_input_file = click.Path(exists=True, dir_okay=False, path_type=Path)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON. Its keys do not change.")
_environment_option = click.option(
    "--environment", help="Environment of the host, such as test or production. Overrides the variables."
)
_host_option = click.option("--host", help="URL of the host, such as https://apitest.cybersource.com.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """CyberSource Flex API: capture contexts, encryption and transient tokens."""


@cli.command()
@click.option("--url", help="URL of a host to use instead of a local emulator: https://apitest.cybersource.com.")
@_report_flex_errors
def demo(url: str | None) -> None:
    """Run the five steps of tokenization and show each message.

    Without --url, the command starts a local emulator. With --url, it reads the credentials from the environment
    variables CYBERSOURCE_AUTH, CYBERSOURCE_MERCHANT_ID, CYBERSOURCE_KEY_ID, CYBERSOURCE_SECRET_KEY and the others
    listed in docs/configuration.md.
    """
    from .demo import run, run_against_emulator

    if url is None:
        _require_emulator()
        run_against_emulator()
    else:
        run(url)


@cli.command()
@click.option(
    "--config",
    type=_input_file,
    help="JSON file with a configuration dictionary of CyberSource's official SDK. Replaces the environment.",
)
@_json_option
@click.option("--offline", is_flag=True, help="Skip the checks that send requests to the host.")
@click.option("--send-token", is_flag=True, help="With OAuth, send the access token to the host to check it.")
@_report_flex_errors
def doctor(config: Path | None, as_json: bool, offline: bool, send_token: bool) -> None:
    """Check the configuration for problems.

    The command reads the same variables as FlexClient.from_env(). It checks keys and certificates and when they
    expire, compares the clock with the host's, and sends one signed request: a capture context for one field. It
    sends no secret. The exit code is 0 without problems, 1 with problems and 2 for wrong usage.
    """
    from .doctor import run

    if not run(config, as_json=as_json, offline=offline, send_token=send_token):
        sys.exit(1)


@cli.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Loopback address to listen on.")
@click.option(
    "--port",
    default=8080,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port to listen on; 0 for a free one.",
)
@click.option("--merchant", multiple=True, metavar="ID", help="Id of a merchant. Can be repeated.")
@click.option("--portfolio", metavar="ID", help="Id of a portfolio whose meta key the merchants share.")
@click.option("--p12", type=_output_file, help="Write the first merchant's P12 file to this path and use it.")
@click.option("--p12-portfolio", is_flag=True, help="Issue the P12 file to the portfolio: a meta key.")
@click.option(
    "--p12-password",
    envvar="CYBERSOURCE_P12_PASSWORD",
    help="Password of the P12 files. Default: $CYBERSOURCE_P12_PASSWORD, or a generated one.",
)
@click.option("--response-mle-p12", type=_output_file, help="Write the key for encrypted responses to this P12 file.")
@click.option("--request-mle-cert", type=_output_file, help="Write the certificate for encrypted requests, in PEM.")
@click.option("--access-token", is_flag=True, help="Issue an OAuth access token and print it.")
@click.option("--tls", is_flag=True, help="Serve https with a certificate of a generated CA.")
@click.option("--ca-file", type=_output_file, help="Write the certificate of the generated CA, in PEM.")
@click.option(
    "--client-certificates",
    type=click.Choice(["optional", "required"]),
    help="Accept or require client certificates (mutual TLS).",
)
@click.option("--client-cert", type=_output_file, help="Write a client certificate, in PEM.")
@click.option("--client-key", type=_output_file, help="Write the private key of the client certificate, in PEM.")
@click.option(
    "--signed-host", multiple=True, metavar="NAME", help="Additional host name that clients may sign. Can be repeated."
)
@click.option("--payment-credentials", is_flag=True, help="Serve payment credentials. Keeps card numbers in memory.")
@click.option("--credentials-key", type=_output_file, help="Write the private key that decrypts them, in PEM.")
@click.option("--scenario", metavar="NAME;PARAMETER=VALUE", help="Fault to inject into every request.")
@click.option("--list-scenarios", is_flag=True, help="List the scenarios and exit.")
@click.option("--force", is_flag=True, help="Overwrite existing files.")
@_report_flex_errors
def emulator(list_scenarios: bool, **options: Any) -> None:
    """Serve a local Flex host until interrupted.

    Merchants and keys are generated. The command prints the environment variables for FlexClient.from_env(), demo
    --url and doctor. It writes all files before it serves; files with secrets are readable only by their owner. The
    exit code is 1 if it cannot serve or write a file, and 2 for wrong usage.
    """
    _require_emulator()
    from . import emulator as command

    if list_scenarios:
        command.list_scenarios()
    else:
        command.serve(command.Options(**options))


@cli.command()
@click.argument("token", required=False)
@click.option("--file", type=_input_file, help="File that contains the token.")
@click.option("--full", is_flag=True, help="Do not abbreviate long strings.")
@_json_option
@_report_flex_errors
def inspect(token: str | None, file: Path | None, full: bool, as_json: bool) -> None:
    """Show the contents of a token without verifying it.

    TOKEN is any JWT or JWE of Flex, or the path of a file that contains one. Use - or no argument for standard
    input. The command sends nothing and masks card numbers. The exit code is 0 for a well-formed token, 1 for a
    malformed one and 2 for wrong usage.
    """
    from .inspect import run

    if not run(token, file, as_json=as_json, full=full):
        sys.exit(1)


@cli.command()
@click.argument("token", required=False)
@click.option("--file", type=_input_file, help="File that contains the token.")
@click.option("--context", help="Capture context of a transient token, or the path of a file that contains it.")
@click.option(
    "--context-expired-ok/--no-context-expired-ok",
    default=True,
    show_default=True,
    help="Accept a context that expired less than 15 minutes ago, the lifetime of its tokens.",
)
@click.option("--environment", help="Environment to fetch the key from, such as test. Overrides the variables.")
@click.option("--host", help="URL of the host to fetch the key from, such as https://apitest.cybersource.com.")
@click.option(
    "--jwk",
    multiple=True,
    type=_input_file,
    help="Read the key from this file (JWK, JWKS or PEM) instead of a host. Can be repeated.",
)
@click.option("--at", metavar="TIME", help="Verify as of this time: seconds since 1970, or 2026-11-22T12:00:00Z.")
@click.option(
    "--leeway",
    default=30.0,
    show_default=True,
    type=click.FloatRange(0, 600),
    envvar="CYBERSOURCE_LEEWAY",
    help="Allowed clock difference in seconds. $CYBERSOURCE_LEEWAY sets the default.",
)
@_json_option
@_report_flex_errors
def verify(**options: Any) -> None:
    """Verify a capture context or transient token.

    TOKEN is the JWT, or the path of a file that contains it. Use - or no argument for standard input. Without
    --jwk, the key is fetched from the host of the FlexClient.from_env() variables, which needs no credentials. The
    exit code is 0 if the token is verified, 1 if not, 2 for wrong usage or configuration and 3 if the key could not
    be fetched.
    """
    from .verify import Options, run

    sys.exit(run(Options(**options)))


@cli.command("capture-context")
@click.option("--card", multiple=True, metavar="FIELD", help="Field of the card. A ? at the end makes it optional.")
@click.option("--amount-details", multiple=True, metavar="FIELD", help="Field of the amount: totalAmount, currency.")
@click.option("--bill-to", multiple=True, metavar="FIELD", help="Field of the billing address.")
@click.option("--ship-to", multiple=True, metavar="FIELD", help="Field of the shipping address.")
@click.option("--target-origin", multiple=True, metavar="URL", help="Origin of pages that embed Microform.")
@click.option("--network", multiple=True, metavar="NAME", help="Card network that Microform accepts, such as VISA.")
@click.option("--payment-type", multiple=True, metavar="NAME", help="Payment type that Microform accepts: CARD, CHECK.")
@_environment_option
@_host_option
@_json_option
@_report_flex_errors
def capture_context(**options: Any) -> None:
    """Create and verify a capture context and print its JWT.

    Options with FIELD, URL or NAME can be repeated. Without any, the context is for a card: number,
    expirationMonth, expirationYear, securityCode? and type?. Credentials are read from the FlexClient.from_env()
    variables. The exit code is 1 if the context could not be created, and 2 for wrong usage or configuration.
    """
    from .capture_context import Options, run

    run(Options(**options))


@cli.command()
@click.option("--input", required=True, type=_input_file, help="File with one card per line, as JSON.")
@click.option("--output", required=True, type=_output_file, help="File to append one result per card to.")
@click.option(
    "--concurrency", default=8, show_default=True, type=click.IntRange(1, 64), help="Number of parallel requests."
)
@click.option("--retry-failed", is_flag=True, help="Retry lines that failed in an earlier run.")
@_environment_option
@_host_option
@click.option("--production-cards", is_flag=True, help="Allow a host that is not a test host, and so real cards.")
@_report_flex_errors
def tokenize(**options: Any) -> None:
    """Create a transient token for each card in a file.

    For tests and migrations. Each input line is a JSON object: {"id": "order-1", "card": {"number":
    "4111111111111111", ...}}. Lines that already have a result in the output are skipped, so the same command
    resumes an interrupted run. Credentials are read from the FlexClient.from_env() variables. The exit code is 0 if
    every line has a token, 1 if not, and 2 for wrong usage or configuration.
    """
    from .tokenize_files import Options, run

    sys.exit(run(Options(**options)))


@cli.command()
@click.argument("report", type=click.File("rb"))
@_json_option
@_report_flex_errors
def explain(report: BinaryIO, as_json: bool) -> None:
    """Explain a 401 response from a saved REPORT.

    REPORT is a JSON file with the result of AuthenticationError.report(). Use - for standard input. The command
    lists all known causes, the likeliest first, with the evidence for (+) and against (-) each. It sends nothing.
    The exit code is 2 if the file is not such a report.
    """
    from .explain import run

    run(report, as_json=as_json)


@cli.command()
@_json_option
@_report_flex_errors
def provenance(as_json: bool) -> None:
    """Verify the generated files of this package.

    The command shows what the files were generated from, hashes each of them and compares it with the record in the
    package. It sends nothing. The exit code is 0 if all files are unchanged and there are no other files in their
    folders, and 1 otherwise.
    """
    from .provenance import run

    if not run(as_json=as_json):
        sys.exit(1)
