"""The emulator in the foreground: what it is told to be, the files it hands out, and how to reach it."""

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

# An operation whose requests can be encrypted: the one with a body.
_ENCRYPTED: Final = "generate_flex_api_capture_context"

_PASSWORD: Final = "CYBERSOURCE_P12_PASSWORD"
# What clients with a P12 file must not have; the last one, unless it is the portfolio's.
_SHARED_SECRET: Final = ("CYBERSOURCE_KEY_ID", "CYBERSOURCE_SECRET_KEY", "CYBERSOURCE_PORTFOLIO_ID")

_DEFAULT_MERCHANT: Final = "emulated_merchant"
# Characters of the CN of a certificate (RFC 5280 appendix A.1).
_LONGEST_NAME: Final = 64


class Options(NamedTuple):
    """What was asked for on the command line. The parameters of the command, by their names there."""

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
        """The files that will be written."""
        named = (self.ca_file, self.client_cert, self.client_key, self.p12)
        others = (self.response_mle_p12, self.request_mle_cert, self.credentials_key)
        return [path for path in (*named, *others) if path is not None]


def list_scenarios() -> None:
    """Say what can go wrong on demand."""
    console = Console()
    for kind in SCENARIOS.values():
        console.title(kind.usage)
        console.row("", kind.description)
        for name, parameter in kind.parameters.items():
            console.row(name, parameter.form)


def serve(options: Options) -> None:
    """Serve until interrupted, after writing the files that were asked for and saying how to reach it.

    Raises:
        click.ClickException: exit code 2 for options that do not go together, 1 where it cannot serve or write.
    """
    _check(options)

    def ready(emulator: Emulator) -> None:
        variables, notes = _write_credentials(emulator, merchants, options)
        console = Console()
        console.title(f"Flex emulator at {emulator.url}, in memory, for tests only. Ctrl-C ends it.")
        # Not by way of the console: these are lines for a shell, to the letter.
        if options.p12 is not None:
            unwanted = (name for name in _SHARED_SECRET if name not in variables)
            click.echo(f"   unset {' '.join(unwanted)}")
        for name, value in variables.items():
            # What is in the environment already may be used elsewhere, too.
            known = name.endswith("PASSWORD") and value == os.environ.get(_PASSWORD)
            shown = f'"${_PASSWORD}"' if known else shlex.quote(value)
            click.echo(f"   export {name}={shown}")
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
        # A wrong argument, such as a scenario that does not exist. The emulator does not raise FlexError.
        raise ConfigurationExit(str(cause)) from cause
    try:
        emulator.serve(ready)
    except AddressError as cause:
        raise click.ClickException(str(cause)) from cause


def _check(options: Options) -> None:
    """Raise for options that do not go together, before anything is made."""
    needs: tuple[tuple[str, Any, str, Any], ...] = (
        # Without the file nobody could believe the host.
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
    for name, given, needed, found in needs:
        if given and not found:
            raise ConfigurationExit(f"{name} needs {needed}")
    if not is_loopback(options.host):
        raise ConfigurationExit("--host must be a loopback address: the emulator is a test tool")
    if options.p12_password == "":
        raise ConfigurationExit("--p12-password is empty")
    names = [*(("--merchant", name) for name in options.merchant), ("--portfolio", options.portfolio or "")]
    for option, value in (*names, ("--p12-password", options.p12_password or "")):
        if not value.isprintable():
            raise ConfigurationExit(f"{option} has a character that is not printable")
    for option, value in names:
        if len(value) > _LONGEST_NAME:
            raise ConfigurationExit(f"{option} has {len(value)} characters; certificates take {_LONGEST_NAME}")
    files = [path.absolute() for path in options.files()]
    for path in files:
        if files.count(path) > 1:
            raise ConfigurationExit(f"{path} is to be two files at once")
        if path.is_dir() or not path.parent.is_dir():
            raise ConfigurationExit(
                f"{path} cannot be written: {'a folder' if path.is_dir() else 'there is no such folder'}"
            )
        if not options.force and os.path.lexists(path):
            raise ConfigurationExit(f"{path} exists; --force writes over it")


def _merchants(options: Options) -> list[Merchant]:
    names = options.merchant or (_DEFAULT_MERCHANT,)
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"--merchant {name} is given twice")
    if options.portfolio is None:
        return [Merchant.generate(name) for name in names]
    # One meta key, for all of them.
    first = Merchant.generate(names[0], options.portfolio)
    return [dataclasses.replace(first, merchant_id=name) for name in names]


def _write_credentials(
    emulator: Emulator, merchants: list[Merchant], options: Options
) -> tuple[dict[str, str], list[str]]:
    """Write the files, and say what variables make a client go with them.

    Returns:
        Variables for the first merchant, and what else there is to say.
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
            # Clients look for the certificate of whoever signs.
            portfolio = "CYBERSOURCE_PORTFOLIO_ID" in variables
            content = emulator.make_response_mle_p12(password, portfolio=portfolio)
            variables["CYBERSOURCE_MLE_RESPONSE_KEY"] = files.write(options.response_mle_p12, content)
            variables["CYBERSOURCE_MLE_RESPONSE_KEY_PASSWORD"] = password
        if options.request_mle_cert is not None:
            pem = emulator.request_mle_certificate_pem
            variables["CYBERSOURCE_MLE_ENCRYPT_REQUESTS"] = _ENCRYPTED
            variables["CYBERSOURCE_MLE_REQUEST_CERTIFICATE"] = files.write(options.request_mle_cert, pem, 0o644)
        if options.credentials_key is not None:
            path = files.write(options.credentials_key, emulator.credentials_key_pem)
            notes.append(f"what payment-credentials returns opens with {path}")
    notes += _others(emulator, merchants, options)
    return variables, notes


def _others(emulator: Emulator, merchants: list[Merchant], options: Options) -> Iterator[str]:
    """Other credentials than those that are exported, in words and lines to copy."""
    for merchant in merchants[0 if options.p12 is not None else 1 :]:
        names = {"AUTH": "jwt_shared_secret"} if options.p12 is not None else {}
        values: dict[str, str | None] = {
            **names,
            "MERCHANT_ID": merchant.merchant_id,
            "PORTFOLIO_ID": merchant.portfolio_id,
            "KEY_ID": merchant.key_id,
            "SECRET_KEY": merchant.secret_key,
        }
        yield f"or, with a shared secret, as {merchant.merchant_id}: {_line(values)}"
    if options.access_token:
        values = {"AUTH": "bearer", "ACCESS_TOKEN": emulator.issue_access_token()}
        yield f"or, with OAuth, as {merchants[0].merchant_id}, and without the other credentials: {_line(values)}"


def _line(values: dict[str, str | None]) -> str:
    pairs = (f"CYBERSOURCE_{name}={shlex.quote(value)}" for name, value in values.items() if value is not None)
    return f"export {' '.join(pairs)}"


class _Files:
    """Files that are written all or not at all: where one cannot be, those before it are taken away again."""

    def __init__(self, force: bool) -> None:
        self._force = force
        self._written: list[Path] = []

    def __enter__(self) -> _Files:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None:
            for path in self._written:
                path.unlink(missing_ok=True)

    def write(self, path: Path, content: bytes, mode: int = 0o600) -> str:
        """Write one, and return its absolute path. It is never readable for more than ``mode`` says."""
        path = path.absolute()
        # Beside the file to be replaced: that one may have other rights, or be a link to somewhere else.
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
