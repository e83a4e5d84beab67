"""The click commands of ``cybersource-flex`` and their options. Each command is implemented in a separate module."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from .._version import __version__
from .completion import SHELLS, complete_scenario, complete_token, script
from .shared.errors import PROGRAM, ConfigurationExit
from .shared.exit_codes import ExitCode
from .shared.group import Group
from .shared.terminal import use_color

__all__ = ["cli"]


def _require_emulator() -> None:
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ModuleNotFoundError as cause:
        raise ConfigurationExit(
            f"the emulator needs {cause.name}: pip install 'cybersource-flex[cli,emulator]'"
        ) from cause


_output_file = click.Path(dir_okay=False, path_type=Path)
_input_file = click.Path(exists=True, dir_okay=False, path_type=Path)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON with stable keys.")
_config_option = click.option(
    "--config",
    type=_input_file,
    help="JSON file with a configuration dictionary of CyberSource's official SDK, to use instead of the variables.",
)
_environment_option = click.option(
    "--environment", help="Environment of the host, such as test or production. Overrides the variables."
)
_host_option = click.option("--host", help="URL of the host, such as https://apitest.cybersource.com.")
_port_option = click.option(
    "--port",
    default=8080,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port to listen on; 0 for a free one.",
)
_token_argument = click.argument("token", required=False, shell_complete=complete_token)
_token_file_option = click.option("--file", type=_input_file, help="File that contains the token.")
_scenario_option = click.option(
    "--scenario",
    metavar="NAME;PARAMETER=VALUE",
    help="Fault to inject into every request.",
    shell_complete=complete_scenario,
)


@click.group(
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    invoke_without_command=True,
    subcommand_metavar="COMMAND [ARGS]...",
)
@click.version_option(__version__, message=f"{PROGRAM} %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> ExitCode | None:
    """CyberSource Flex API: capture contexts, encryption and transient tokens."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True, color=use_color(sys.stderr))
        return ExitCode.USAGE
    return None


@cli.command()
@click.option("--url", help="URL of a host to use instead of a local emulator: https://apitest.cybersource.com.")
def demo(url: str | None) -> None:
    """Create a token, pay with it, and show each message.

    Without --url, the command starts a local emulator. With --url, it reads the credentials from the variables of
    FlexClient.from_env(): CYBERSOURCE_AUTH, CYBERSOURCE_MERCHANT_ID, CYBERSOURCE_KEY_ID, CYBERSOURCE_SECRET_KEY and
    others.
    """
    from .demo import run, run_against_emulator

    if url is None:
        _require_emulator()
        run_against_emulator()
    else:
        run(url)


@cli.command()
@_config_option
@_json_option
@click.option("--offline", is_flag=True, help="Skip the checks that send requests to the host.")
@click.option("--send-token", is_flag=True, help="With OAuth, send the access token to the host to check it.")
def doctor(config: Path | None, as_json: bool, offline: bool, send_token: bool) -> ExitCode:
    """Check the configuration for problems.

    The command reads the same variables as FlexClient.from_env(). It checks keys, certificates and expiry dates,
    compares the local clock with the host's, and sends one signed request, which creates a capture context. It sends
    no secret, except with --send-token. The exit code is 1 if there are problems.
    """
    from .doctor import run

    return run(config, as_json=as_json, offline=offline, send_token=send_token)


@cli.command()
@_config_option
@_environment_option
@_host_option
@click.option("--production", is_flag=True, help="Allow hosts other than test hosts. No card data is sent to them.")
@click.option("--dry-run", is_flag=True, help="List the requests and send nothing.")
@click.option("--report", type=_output_file, help="Write a report without secrets, tokens and ids to this file.")
@click.option("--force", is_flag=True, help="Overwrite an existing report.")
@click.option(
    "--interval",
    default=0.5,
    show_default=True,
    # With longer intervals, capture contexts would expire before their check.
    type=click.FloatRange(0, 10),
    help="Seconds between two requests.",
)
@click.option("--send-token", is_flag=True, help="With OAuth, send the access token to the host.")
@_json_option
def probe(**options: Any) -> ExitCode:
    """Compare a host with the assumptions about the service.

    The command reads the same variables as FlexClient.from_env(), and uses the test host by default. It sends at most
    60 requests, one at a time, with public test cards only, and makes no payments. Run doctor first. The exit code is
    1 if an assumption is contradicted, 4 if the host rejects the credentials, and 3 if the checks could not be
    completed for another reason: the host cannot be reached, limits the rate of requests, leaves a request without a
    response, or returns no capture context.
    """
    from .probe import Options, run

    return run(Options(**options))


@cli.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@_port_option
@click.option(
    "--allow-remote", is_flag=True, help="Allow an address that other machines reach. Serves https, without studio."
)
@click.option(
    "--public-url", metavar="URL", help="URL that clients use, such as https://flex:8443. Needs --allow-remote."
)
@click.option("--merchant", multiple=True, metavar="ID", help="Id of a merchant. Can be repeated.")
@click.option(
    "--credentials-from-env",
    is_flag=True,
    help="Use the merchant and shared secret of the CYBERSOURCE_... variables instead of generated ones. No studio.",
)
@click.option("--portfolio", metavar="ID", help="Id of a portfolio whose meta key the merchants share.")
@click.option("--env-file", type=_output_file, help="Write the variables to this file instead of printing them.")
@click.option("--p12", type=_output_file, help="Write the first merchant's P12 file to this path and use it.")
@click.option("--p12-portfolio", is_flag=True, help="Issue the P12 file to the portfolio (a meta key).")
@click.option(
    "--p12-password",
    envvar="CYBERSOURCE_P12_PASSWORD",
    help="Password of the P12 files. Default: $CYBERSOURCE_P12_PASSWORD, or a generated one.",
)
@click.option("--response-mle-p12", type=_output_file, help="Write the key for encrypted responses to this P12 file.")
@click.option("--request-mle-cert", type=_output_file, help="Write the certificate for encrypted requests, in PEM.")
@click.option("--access-token", is_flag=True, help="Issue an OAuth access token and print it.")
@click.option(
    "--tls/--no-tls",
    default=None,
    help="Serve https with a certificate of a generated CA. Default: with --allow-remote or --server-cert.",
)
@click.option("--ca-file", type=_output_file, help="Write the certificate of the generated CA, in PEM.")
@click.option("--server-cert", type=_input_file, help="Certificate for https, in PEM, instead of a generated one.")
@click.option("--server-key", type=_input_file, help="Private key of the certificate for https, in PEM.")
@click.option(
    "--client-certificates",
    type=click.Choice(["optional", "required"]),
    help="Accept or require client certificates (mutual TLS).",
)
@click.option("--client-cert", type=_output_file, help="Write a client certificate, in PEM.")
@click.option("--client-key", type=_output_file, help="Write the private key of the client certificate, in PEM.")
@click.option(
    "--signed-host",
    multiple=True,
    metavar="NAME",
    help="Additional host name that clients may sign, also in the certificate. Can be repeated.",
)
@click.option(
    "--loopback-origins", is_flag=True, help="Accept target origins with http and any loopback host, such as 127.0.0.1."
)
@click.option("--payment-credentials", is_flag=True, help="Serve payment credentials. Keeps card numbers in memory.")
@click.option("--credentials-key", type=_output_file, help="Write the key that decrypts payment credentials, in PEM.")
@_scenario_option
@click.option("--profile", type=_input_file, help="Report of probe; the emulator behaves like the host of the report.")
@click.option("--list-scenarios", is_flag=True, help="List the scenarios and exit.")
@click.option(
    "--log-requests",
    is_flag=True,
    help="Write one line for each request to standard error, and the reason of a rejection.",
)
@click.option("--force", is_flag=True, help="Overwrite existing files.")
@_json_option
def emulator(list_scenarios: bool, **options: Any) -> None:
    """Serve a Flex host until interrupted.

    Merchants and keys are generated at start. The command prints the environment variables for FlexClient.from_env(),
    demo --url and doctor. It writes all files before it serves; files with secrets are readable only by their owner.
    Ctrl-C and SIGTERM end it with the exit code 0.
    """
    _require_emulator()
    from . import emulator as command
    from .emulator_options import Options

    if list_scenarios:
        command.list_scenarios(as_json=options["as_json"])
    else:
        command.serve(Options(**options))


@cli.command()
@_port_option
@_scenario_option
@click.option("--no-browser", is_flag=True, help="Print the address and open no browser.")
@_json_option
def studio(port: int, scenario: str | None, no_browser: bool, as_json: bool) -> None:
    """Open a page that shows each step of the Flex API.

    The command starts a local emulator and opens its page in the browser. The page has a checkout with Microform. It
    lists the requests that the emulator receives from any program, and switches scenarios on and off. Ctrl-C ends it
    with the exit code 0.
    """
    _require_emulator()
    from .studio import serve

    serve(port, scenario, open_browser=not no_browser, as_json=as_json)


@cli.command()
@_token_argument
@_token_file_option
@click.option("--full", is_flag=True, help="Do not abbreviate long strings.")
@_json_option
def inspect(token: str | None, file: Path | None, full: bool, as_json: bool) -> ExitCode:
    """Show the contents of a token without verifying it.

    TOKEN is any JWT or JWE of Flex, or the path of a file that contains one. Use - or no argument for standard
    input. The command sends nothing and masks card numbers. The exit code is 1 if the token is malformed.
    """
    from .tokens.inspect import run

    return run(token, file, as_json=as_json, full=full)


@cli.command()
@_token_argument
@_token_file_option
@click.option(
    "--context",
    help="Capture context of a transient token, or the path of a file that contains it.",
    shell_complete=complete_token,
)
@click.option(
    "--context-expired-ok/--no-context-expired-ok",
    default=True,
    show_default=True,
    help="Accept a context that expired less than 15 minutes ago: its tokens may still be valid.",
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
def verify(**options: Any) -> ExitCode:
    """Verify a capture context or transient token.

    TOKEN is the JWT, or the path of a file that contains it. Use - or no argument for standard input. Without --jwk,
    the command fetches the key from the host that the variables of FlexClient.from_env() select. The command needs no
    credentials. The exit code is 1 if the token is not verified. If the key could not be fetched, the exit code says
    why: 3, 4 or 5.
    """
    from .tokens.verify import Options, run

    return run(Options(**options))


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
def capture_context(**options: Any) -> None:
    """Create and verify a capture context and print its JWT.

    Options with FIELD, URL or NAME can be repeated. Without these options, the context is for a card: number,
    expirationMonth, expirationYear, and optionally securityCode and type. Credentials are read from the
    FlexClient.from_env() variables.
    """
    from .tokens.capture_context import Options, run

    run(Options(**options))


@cli.command()
@click.option("--input", required=True, type=_input_file, help="File with one card per line, as JSON.")
@click.option("--output", required=True, type=_output_file, help="File to which one result per card is appended.")
@click.option(
    "--concurrency", default=8, show_default=True, type=click.IntRange(1, 64), help="Number of parallel requests."
)
@click.option("--retry-failed", is_flag=True, help="Retry lines that failed in an earlier run.")
@_environment_option
@_host_option
@click.option("--production-cards", is_flag=True, help="Allow hosts other than test hosts, and therefore real cards.")
@_json_option
def tokenize(**options: Any) -> ExitCode:
    """Create a transient token for each card in a file.

    For tests and migrations. Each input line is a JSON object: {"id": "order-1", "card": {"number":
    "4111111111111111", ...}}. Lines that already have a result in the output are skipped, so the same command
    resumes an interrupted run. Credentials are read from the FlexClient.from_env() variables. The exit code is 1 if a
    line has no token.
    """
    from .tokens.tokenize_files import Options, run

    return run(Options(**options))


@cli.command()
@click.argument("report", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@_json_option
def explain(report: Path, as_json: bool) -> None:
    """Explain a 401 response from a saved REPORT.

    REPORT is a JSON file with the result of AuthenticationError.report(). Use - for standard input. The command
    lists all known causes, the likeliest first, with the evidence for (+) and against (-) each. It sends nothing.
    """
    from .explain import run

    run(report, as_json=as_json)


@cli.command()
@click.argument("shell", metavar="SHELL", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print a script that completes commands and options in SHELL.

    For bash 4.4 or newer, add eval "$(cybersource-flex completion bash)" to ~/.bashrc. For zsh, add eval
    "$(cybersource-flex completion zsh)" to ~/.zshrc, after compinit. For fish, write the script to
    ~/.config/fish/completions/cybersource-flex.fish.
    """
    click.echo(script(shell, cli))
