"""``cybersource-flex emulator``: run the emulator in the foreground, write its files and print its credentials."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from ..emulator import SCENARIOS, Emulator, Merchant
from ..emulator.server.http_server import AddressError, is_loopback
from .console import Console
from .errors import ConfigurationExit

if TYPE_CHECKING:
    from ..emulator.server.http_server import ClientCertificates

__all__ = ["Options", "list_scenarios", "serve"]

# The operation whose requests are encrypted. It is the only one with a body that can be.
_ENCRYPTED_OPERATION: Final = "generate_flex_api_capture_context"

_PASSWORD: Final = "CYBERSOURCE_P12_PASSWORD"
# Variables that clients with a P12 file must not set. If it is the portfolio's P12 file, the last one is needed.
_SHARED_SECRET: Final = ("CYBERSOURCE_KEY_ID", "CYBERSOURCE_SECRET_KEY", "CYBERSOURCE_PORTFOLIO_ID")

_DEFAULT_MERCHANT: Final = "emulated_merchant"
# Maximum length of the CN of a certificate (RFC 5280 appendix A.1).
_MAX_NAME_LENGTH: Final = 64


class Options(NamedTuple):
    """The options of the command."""

    host: str
    port: int
    tls: bool
    ca_file: Path | None
    client_certificates: ClientCertificates | None
    client_cert: Path | None
    client_key: Path | None
    merchant: tuple[str, ...]
    portfolio: str | None
    p12: Path | None
    p12_password: str | None
    p12_portfolio: bool
    response_mle_p12: Path | None
    request_mle_cert: Path | None
    access_token: bool
    signed_host: tuple[str, ...]
    payment_credentials: bool
    credentials_key: Path | None
    scenario: str | None
    force: bool

    def __repr__(self) -> str:
        return f"<Options {self.host}:{self.port}>"

    def files(self) -> list[Path]:
        """The paths of the files to write."""
        credentials = (self.ca_file, self.client_cert, self.client_key, self.p12)
        others = (self.response_mle_p12, self.request_mle_cert, self.credentials_key)
        return [path for path in (*credentials, *others) if path is not None]


def list_scenarios() -> None:
    """Print the scenarios and their parameters."""
    console = Console()
    for scenario in SCENARIOS.values():
        console.title(scenario.usage)
        console.row("", scenario.description)
        for name, parameter in scenario.parameters.items():
            console.row(name, parameter.form)


def serve(options: Options) -> None:
    """Write the requested files, print the environment variables, and serve until interrupted.

    Raises:
        click.ClickException: invalid options (exit code 2), or the emulator cannot serve or write a file (exit code 1).
    """
    _check(options)

    def ready(emulator: Emulator) -> None:
        variables, notes = _write_credentials(emulator, merchants, options)
        console = Console()
        console.title(f"Flex emulator at {emulator.url}, in memory, for tests only. Ctrl-C ends it.")
        # Printed without the console, which could change lines that are meant for a shell.
        if options.p12 is not None:
            unset = (name for name in _SHARED_SECRET if name not in variables)
            click.echo(f"   unset {' '.join(unset)}")
        for name, value in variables.items():
            # A password from the environment is not printed, because it may be used elsewhere.
            from_environment = name.endswith("PASSWORD") and value == os.environ.get(_PASSWORD)
            printed = f'"${_PASSWORD}"' if from_environment else shlex.quote(value)
            click.echo(f"   export {name}={printed}")
        for note in notes:
            click.echo(f"   # {note}")

    try:
        merchants = _merchants(options)
        emulator = Emulator(
            host=options.host,
            port=options.port,
            merchants=merchants,
            tls=options.tls,
            client_certificates=options.client_certificates,
            signed_hosts=options.signed_host,
            payment_credentials=options.payment_credentials,
            scenario=options.scenario,
        )
    except ImportError as cause:
        if cause.name != "trustme":
            raise
        raise ConfigurationExit(str(cause)) from cause
    except ValueError as cause:
        # An invalid argument, such as an unknown scenario. The emulator does not raise FlexError.
        raise ConfigurationExit(str(cause)) from cause
    try:
        emulator.serve(ready)
    except AddressError as cause:
        raise click.ClickException(str(cause)) from cause


def _check(options: Options) -> None:
    """Reject invalid combinations of options before anything is created."""
    requirements: tuple[tuple[str, Any, str, Any], ...] = (
        # Without the file no client could trust the host.
        ("--tls", options.tls, "--ca-file", options.ca_file),
        ("--ca-file", options.ca_file, "--tls", options.tls),
        ("--client-certificates", options.client_certificates, "--tls", options.tls),
        ("--client-certificates", options.client_certificates, "--client-cert", options.client_cert),
        ("--client-cert", options.client_cert, "--client-certificates", options.client_certificates),
        ("--client-cert", options.client_cert, "--client-key", options.client_key),
        ("--client-key", options.client_key, "--client-cert", options.client_cert),
        ("--p12-portfolio", options.p12_portfolio, "--p12", options.p12),
        ("--p12-portfolio", options.p12_portfolio, "--portfolio", options.portfolio),
        ("--credentials-key", options.credentials_key, "--payment-credentials", options.payment_credentials),
    )
    for name, value, required_name, required_value in requirements:
        if value and not required_value:
            raise ConfigurationExit(f"{name} needs {required_name}")
    if not is_loopback(options.host):
        raise ConfigurationExit("--host must be a loopback address: the emulator is a test tool")
    if options.p12_password == "":
        raise ConfigurationExit("--p12-password is empty; give a password or leave it out")
    names = [*(("--merchant", name) for name in options.merchant), ("--portfolio", options.portfolio or "")]
    for option, value in (*names, ("--p12-password", options.p12_password or "")):
        if not value.isprintable():
            raise ConfigurationExit(f"{option} has a character that is not printable")
    for option, value in names:
        if len(value) > _MAX_NAME_LENGTH:
            raise ConfigurationExit(f"{option} has {len(value)} characters; certificates allow {_MAX_NAME_LENGTH}")
    files = [path.absolute() for path in options.files()]
    for path in files:
        if files.count(path) > 1:
            raise ConfigurationExit(f"{path} is given for two files; give each file a different path")
        if path.is_dir() or not path.parent.is_dir():
            raise ConfigurationExit(
                f"{path} cannot be written: {'a folder' if path.is_dir() else 'there is no such folder'}"
            )
        if not options.force and os.path.lexists(path):
            raise ConfigurationExit(f"{path} exists; use --force to overwrite it")


def _merchants(options: Options) -> list[Merchant]:
    names = options.merchant or (_DEFAULT_MERCHANT,)
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"--merchant {name} is given twice")
    if options.portfolio is None:
        return [Merchant.generate(name) for name in names]
    # All merchants share one meta key.
    first = Merchant.generate(names[0], options.portfolio)
    return [dataclasses.replace(first, merchant_id=name) for name in names]


def _write_credentials(
    emulator: Emulator, merchants: list[Merchant], options: Options
) -> tuple[dict[str, str], list[str]]:
    """Write the requested files.

    Returns:
        The environment variables of a client of the first merchant, and notes about other credentials.
    """
    variables, notes = dict(emulator.environ), []
    password = options.p12_password or secrets.token_urlsafe(12)
    with _Files(options.force) as files:
        if options.ca_file is not None:
            variables["CYBERSOURCE_CA_FILE"] = files.write(options.ca_file, emulator.ca_pem, 0o644)
        if options.client_cert is not None and options.client_key is not None:
            certificate, key = emulator.issue_client_certificate(merchants[0].merchant_id)
            variables["CYBERSOURCE_CLIENT_CERTIFICATE"] = files.write(options.client_cert, certificate, 0o644)
            variables["CYBERSOURCE_CLIENT_KEY"] = files.write(options.client_key, key)
        if options.p12 is not None:
            content = emulator.make_p12(password, portfolio=options.p12_portfolio)
            for name in _SHARED_SECRET[: None if not options.p12_portfolio else 2]:
                variables.pop(name, None)
            variables["CYBERSOURCE_AUTH"] = "jwt_p12"
            variables["CYBERSOURCE_P12_PATH"] = files.write(options.p12, content)
            variables[_PASSWORD] = password
        if options.response_mle_p12 is not None:
            # Clients look for the certificate of the merchant or portfolio that signs.
            portfolio = "CYBERSOURCE_PORTFOLIO_ID" in variables
            content = emulator.make_response_mle_p12(password, portfolio=portfolio)
            variables["CYBERSOURCE_MLE_RESPONSE_KEY"] = files.write(options.response_mle_p12, content)
            variables["CYBERSOURCE_MLE_RESPONSE_KEY_PASSWORD"] = password
        if options.request_mle_cert is not None:
            pem = emulator.request_mle_certificate_pem
            variables["CYBERSOURCE_MLE_ENCRYPT_REQUESTS"] = _ENCRYPTED_OPERATION
            variables["CYBERSOURCE_MLE_REQUEST_CERTIFICATE"] = files.write(options.request_mle_cert, pem, 0o644)
        if options.credentials_key is not None:
            path = files.write(options.credentials_key, emulator.credentials_key_pem)
            notes.append(f"decrypt the result of payment-credentials with {path}")
    notes += _other_credentials(emulator, merchants, options)
    return variables, notes


def _other_credentials(emulator: Emulator, merchants: list[Merchant], options: Options) -> Iterator[str]:
    """Yield notes with other credentials than the exported ones, as lines to copy."""
    for merchant in merchants[0 if options.p12 is not None else 1 :]:
        names = {"AUTH": "jwt_shared_secret"} if options.p12 is not None else {}
        values: dict[str, str | None] = {
            **names,
            "MERCHANT_ID": merchant.merchant_id,
            "PORTFOLIO_ID": merchant.portfolio_id,
            "KEY_ID": merchant.key_id,
            "SECRET_KEY": merchant.secret_key,
        }
        yield f"or, with a shared secret, as {merchant.merchant_id}: {_export_line(values)}"
    if options.access_token:
        values = {"AUTH": "bearer", "ACCESS_TOKEN": emulator.issue_access_token()}
        exports = _export_line(values)
        yield f"or, with OAuth, as {merchants[0].merchant_id}, and without the other credentials: {exports}"


def _export_line(values: dict[str, str | None]) -> str:
    pairs = (f"CYBERSOURCE_{name}={shlex.quote(value)}" for name, value in values.items() if value is not None)
    return f"export {' '.join(pairs)}"


class _Files:
    """Writes all files or none: if one cannot be written, those written before are deleted."""

    def __init__(self, force: bool) -> None:
        self._force = force
        self._written: list[Path] = []

    def __enter__(self) -> _Files:
        return self

    def __exit__(self, error_type: type[BaseException] | None, *_: object) -> None:
        if error_type is not None:
            for path in self._written:
                path.unlink(missing_ok=True)

    def write(self, path: Path, content: bytes, mode: int = 0o600) -> str:
        """Write a file and return its absolute path. Its permissions never exceed ``mode``."""
        path = path.absolute()
        # A temporary file that replaces the old one, which may have other permissions or be a link.
        target = path.with_name(f".{path.name}.{secrets.token_hex(4)}") if self._force else path
        try:
            handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(content)
                if target != path:
                    target.replace(path)
            except BaseException:
                with contextlib.suppress(OSError):
                    target.unlink()
                raise
        except OSError as cause:
            raise click.ClickException(f"{path} cannot be written: {cause.strerror or type(cause).__name__}") from None
        self._written.append(path)
        return str(path)
