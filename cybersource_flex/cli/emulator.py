"""``cybersource-flex emulator``: run the emulator in the foreground, write its files and print its credentials."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import re
import secrets
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from .._credential_detection import mask_credentials
from ..emulator import SCENARIOS, Emulator, Merchant
from ..emulator.client_environment import (
    ENCRYPTED_OPERATION,
    claim_format_variables,
    credential_variables,
    random_password,
)
from ..emulator.server.addresses import is_loopback, is_wildcard
from .shared.console import Console
from .shared.errors import ConfigurationExit, LocalError
from .shared.progress import waiting

if TYPE_CHECKING:
    from ..emulator.server.http_server import ClientCertificates

__all__ = ["Options", "list_scenarios", "serve"]

_PASSWORD: Final = "CYBERSOURCE_P12_PASSWORD"
_PORTFOLIO_ID: Final = "CYBERSOURCE_PORTFOLIO_ID"

_DEFAULT_MERCHANT: Final = "emulated_merchant"
# Maximum length of the CN of a certificate (RFC 5280 appendix A.1).
_MAX_NAME_LENGTH: Final = 64


class Options(NamedTuple):
    """The options of the command."""

    host: str
    port: int
    allow_remote: bool
    public_url: str | None
    tls: bool | None
    ca_file: Path | None
    server_cert: Path | None
    server_key: Path | None
    client_certificates: ClientCertificates | None
    client_cert: Path | None
    client_key: Path | None
    merchant: tuple[str, ...]
    credentials_from_env: bool
    env_file: Path | None
    portfolio: str | None
    p12: Path | None
    p12_password: str | None
    p12_portfolio: bool
    response_mle_p12: Path | None
    request_mle_cert: Path | None
    access_token: bool
    signed_host: tuple[str, ...]
    loopback_origins: bool
    payment_credentials: bool
    credentials_key: Path | None
    scenario: str | None
    profile: Path | None
    log_requests: bool
    force: bool
    as_json: bool

    def __repr__(self) -> str:
        return f"<Options {self.host}:{self.port}>"

    @property
    def https(self) -> bool:
        """Whether the emulator serves https."""
        return (self.allow_remote or self.server_cert is not None) if self.tls is None else self.tls

    def files(self) -> list[Path]:
        """The paths of the files to write."""
        credentials = (self.ca_file, self.client_cert, self.client_key, self.p12)
        others = (self.response_mle_p12, self.request_mle_cert, self.credentials_key, self.env_file)
        return [path for path in (*credentials, *others) if path is not None]


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
        EmulatorError: the emulator cannot listen on the port; exit code 6.
    """
    _check(options)
    with contextlib.ExitStack() as starting:
        starting.enter_context(waiting("starting the emulator"))
        merchants, emulator = _make_emulator(options)

        def ready(emulator: Emulator) -> None:
            credentials = _write_credentials(emulator, merchants, options)
            starting.close()
            if options.as_json:
                _print_json(emulator, credentials, options)
            else:
                _print(emulator, credentials, options)

        with _log_to_stderr(logging.DEBUG if options.log_requests else logging.WARNING):
            emulator.serve(ready)


def _make_emulator(options: Options) -> tuple[list[Merchant], Emulator]:
    try:
        merchants = _merchants(options)
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
    except ImportError as cause:
        if cause.name != "trustme":
            raise
        raise ConfigurationExit(str(cause)) from cause
    except ValueError as cause:
        # An invalid argument, such as an unknown scenario.
        raise ConfigurationExit(str(cause)) from cause
    return merchants, emulator


def _print(emulator: Emulator, credentials: _Credentials, options: Options) -> None:
    """Print the variables as lines for a shell."""
    Console().title(f"Flex emulator at {emulator.url}, in memory, for tests only. Ctrl-C ends it.")
    # The console could change these lines, so they are printed without it.
    if options.env_file is not None:
        click.echo(f"   # the variables are in {options.env_file.absolute()}")
    else:
        if credentials.unset:
            click.echo(f"   unset {' '.join(credentials.unset)}")
        for name, value in credentials.variables.items():
            printed = f'"${_PASSWORD}"' if _is_inherited(name, value) else shlex.quote(value)
            click.echo(f"   export {name}={printed}")
    if emulator.unsupported:
        click.echo(f"   # not imitated from the report: {', '.join(emulator.unsupported)}")
    for note in credentials.notes:
        click.echo(f"   # {note}")
    for description, variables in credentials.others:
        exports = " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items())
        click.echo(f"   # or, {description}: export {exports}")


def _print_json(emulator: Emulator, credentials: _Credentials, options: Options) -> None:
    """Print one line of JSON, so that a program can read it while the emulator serves."""
    variables = credentials.variables if options.env_file is None else {}
    report = {
        "url": emulator.url,
        "variables": {name: value for name, value in variables.items() if not _is_inherited(name, value)},
        "inherited": {name: _PASSWORD for name, value in variables.items() if _is_inherited(name, value)},
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
    return name.endswith("PASSWORD") and value == os.environ.get(_PASSWORD)


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


@contextlib.contextmanager
def _log_to_stderr(level: int) -> Iterator[None]:
    """Write the emulator's log to standard error in this block. At the level DEBUG it has each request, no secrets."""
    handler = logging.StreamHandler()
    handler.setFormatter(_LogFormatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("cybersource_flex.emulator")
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)


def _check(options: Options) -> None:
    """Reject invalid combinations of options before anything is created."""
    if not options.allow_remote and not is_loopback(options.host):
        raise ConfigurationExit(
            f"--host {options.host} needs --allow-remote: other machines could reach the emulator; without it, --host "
            "must be a loopback address"
        )
    requirements: tuple[tuple[str, Any, str, Any], ...] = (
        ("--public-url", options.public_url, "--allow-remote", options.allow_remote),
        (
            f"--host {options.host}",
            is_wildcard(options.host),
            "--public-url, the URL that clients use",
            options.public_url,
        ),
        # Without the CA file, no client could trust the host.
        (
            "https (--tls)" if options.tls is None else "--tls",
            options.https,
            "--ca-file",
            options.ca_file or options.server_cert,
        ),
        ("--server-cert", options.server_cert, "--server-key", options.server_key),
        ("--server-key", options.server_key, "--server-cert", options.server_cert),
        ("--server-cert", options.server_cert, "--tls", options.https),
        ("--ca-file", options.ca_file, "--tls", options.https),
        ("--client-certificates", options.client_certificates, "--tls", options.https),
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
    if options.server_cert and options.ca_file:
        raise ConfigurationExit("--ca-file cannot be used with --server-cert, because no CA is generated for clients")
    if options.credentials_from_env and (options.merchant or options.portfolio is not None):
        raise ConfigurationExit("--credentials-from-env cannot be used with --merchant or --portfolio")
    if options.p12_password == "":
        raise ConfigurationExit("--p12-password is empty; give a password or leave out the option")
    names = [*(("--merchant", name) for name in options.merchant), ("--portfolio", options.portfolio or "")]
    for option, value in (*names, ("--p12-password", options.p12_password or "")):
        if not value.isprintable():
            raise ConfigurationExit(f"{option} has a character that is not printable")
    for option, value in names:
        if len(value) > _MAX_NAME_LENGTH:
            raise ConfigurationExit(f"{option} has {len(value)} characters; expected at most {_MAX_NAME_LENGTH}")
    files = [path.absolute() for path in options.files()]
    for path in files:
        if files.count(path) > 1:
            raise ConfigurationExit(f"{path} is given for two files; give each file a different path")
        if path.is_dir() or not path.parent.is_dir():
            raise ConfigurationExit(
                f"{path} cannot be written: {'it is a folder' if path.is_dir() else 'its folder does not exist'}"
            )
        if not options.force and os.path.lexists(path):
            raise ConfigurationExit(f"{path} exists; use --force to overwrite it")


def _merchants(options: Options) -> list[Merchant]:
    if options.credentials_from_env:
        from ..client.config.env_variables import builder_from_env

        shared_secret = builder_from_env(os.environ).shared_secret()
        if shared_secret is None:
            raise ConfigurationExit("--credentials-from-env needs a shared secret: CYBERSOURCE_AUTH=jwt_shared_secret")
        return [Merchant(**shared_secret)]
    names = options.merchant or (_DEFAULT_MERCHANT,)
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"--merchant {name} is given twice")
    if options.portfolio is None:
        return [Merchant.generate(name) for name in names]
    # All merchants share one meta key.
    first = Merchant.generate(names[0], options.portfolio)
    return [dataclasses.replace(first, merchant_id=name) for name in names]


class _Credentials(NamedTuple):
    """What clients need.

    Attributes:
        variables: the environment variables of a client of the first merchant.
        unset: variables that such a client must not set.
        others: other credentials that the emulator accepts: a description, and the variables.
        notes: what else clients can use.
    """

    variables: dict[str, str]
    unset: list[str]
    others: list[tuple[str, dict[str, str]]]
    notes: list[str]

    def __repr__(self) -> str:
        return f"<_Credentials with {len(self.variables)} variables>"


def _write_credentials(emulator: Emulator, merchants: list[Merchant], options: Options) -> _Credentials:
    """Write the requested files, and return what clients need."""
    # emulator.environ is not used, because the files that it names are temporary.
    variables = {"CYBERSOURCE_ENVIRONMENT": emulator.url, **(credential_variables(merchants[0]) or {})}
    if options.credentials_from_env:
        # Clients get the secret in the same way as the emulator.
        del variables["CYBERSOURCE_SECRET_KEY"]
    notes: list[str] = []
    password = options.p12_password or random_password()
    unset = _unset_variables(options)
    with _Files(options.force) as files:
        if options.ca_file is not None:
            variables["CYBERSOURCE_CA_FILE"] = files.write(options.ca_file, emulator.ca_pem, 0o644)
        if options.client_cert is not None and options.client_key is not None:
            certificate, key = emulator.issue_client_certificate(merchants[0].merchant_id)
            variables["CYBERSOURCE_CLIENT_CERTIFICATE"] = files.write(options.client_cert, certificate, 0o644)
            variables["CYBERSOURCE_CLIENT_KEY"] = files.write(options.client_key, key)
        if options.p12 is not None:
            content = emulator.make_p12(password, portfolio=options.p12_portfolio)
            variables = {name: value for name, value in variables.items() if name not in unset}
            variables["CYBERSOURCE_AUTH"] = "jwt_p12"
            variables["CYBERSOURCE_P12_PATH"] = files.write(options.p12, content)
            variables[_PASSWORD] = password
        if options.response_mle_p12 is not None:
            # Clients look for the certificate of the merchant or portfolio that signs.
            content = emulator.make_response_mle_p12(password, portfolio=_PORTFOLIO_ID in variables)
            variables["CYBERSOURCE_MLE_RESPONSE_KEY"] = files.write(options.response_mle_p12, content)
            variables["CYBERSOURCE_MLE_RESPONSE_KEY_PASSWORD"] = password
        if options.request_mle_cert is not None:
            pem = emulator.request_mle_certificate_pem
            variables["CYBERSOURCE_MLE_ENCRYPT_REQUESTS"] = ENCRYPTED_OPERATION
            variables["CYBERSOURCE_MLE_REQUEST_CERTIFICATE"] = files.write(options.request_mle_cert, pem, 0o644)
        if options.credentials_key is not None:
            path = files.write(options.credentials_key, emulator.credentials_key_pem)
            notes.append(f"decrypt the result of payment-credentials with {path}")
        variables |= claim_format_variables(emulator.claim_format)
        if options.env_file is not None:
            files.write(options.env_file, _env_file(variables))
    return _Credentials(variables, unset, list(_other_credentials(emulator, merchants, options)), notes)


def _unset_variables(options: Options) -> list[str]:
    """The variables that clients must not set, because they belong to another credential than the one to use."""
    if options.p12 is None:
        return []
    shared_secret = ["CYBERSOURCE_KEY_ID", "CYBERSOURCE_SECRET_KEY"]
    # Without this variable, a P12 file is that of a merchant.
    return shared_secret if options.p12_portfolio else [*shared_secret, _PORTFOLIO_ID]


def _env_file(variables: dict[str, str]) -> bytes:
    """The content of a file with variables. Programs that read such files disagree about quotation marks."""
    allowed = r"[\w./:=+@%,\[\]-]*" if os.name == "posix" else r"[\w./:=+@%,\[\]\\ -]*"
    for name, value in variables.items():
        if not re.fullmatch(allowed, value, re.ASCII):
            raise ConfigurationExit(
                f"--env-file: the value of {name} has a character that shells and Docker read differently; expected "
                "letters, digits and ./:=+@%,[]_-"
            )
    return "".join(f"{name}={value}\n" for name, value in variables.items()).encode("ascii")


def _other_credentials(
    emulator: Emulator, merchants: list[Merchant], options: Options
) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield a description and the variables of each of the credentials that are not the first merchant's."""
    # A secret from the environment is not printed.
    generated = () if options.credentials_from_env else merchants if options.p12 is not None else merchants[1:]
    for merchant in generated:
        yield f"with a shared secret, as {merchant.merchant_id}", credential_variables(merchant) or {}
    if options.access_token:
        description = f"with OAuth, as {merchants[0].merchant_id}, and without the other credentials"
        yield description, {"CYBERSOURCE_AUTH": "bearer", "CYBERSOURCE_ACCESS_TOKEN": emulator.issue_access_token()}


class _Files:
    """Writes all files or none. If a file cannot be written, the files written before are deleted."""

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
        # With --force, a temporary file is written and then replaces the old file. Writing to the old file would keep
        # its permissions, and would follow a link.
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
            raise LocalError(f"{path} cannot be written: {cause.strerror or type(cause).__name__}") from None
        self._written.append(path)
        return str(path)
