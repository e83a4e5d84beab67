"""The options of ``cybersource-flex emulator``, and which of them can be combined."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..emulator.arguments import serves_https
from ..emulator.server.addresses import is_loopback, is_wildcard
from .shared.errors import ConfigurationExit

if TYPE_CHECKING:
    from ..emulator.server.tls import ClientCertificates

__all__ = ["Options", "check_options"]

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
        return serves_https(
            self.tls, allow_remote=self.allow_remote, has_server_certificate=self.server_cert is not None
        )

    def files(self) -> list[Path]:
        """The paths of the files to write."""
        credentials = (self.ca_file, self.client_cert, self.client_key, self.p12)
        others = (self.response_mle_p12, self.request_mle_cert, self.credentials_key, self.env_file)
        return [path for path in (*credentials, *others) if path is not None]


def check_options(options: Options) -> None:
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
    for name in options.merchant:
        if options.merchant.count(name) > 1:
            raise ConfigurationExit(f"--merchant {name} is given twice")
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
