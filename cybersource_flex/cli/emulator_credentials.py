"""The credentials that ``cybersource-flex emulator`` issues: merchants, variables for clients, and files."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from ..emulator import Merchant
from ..emulator.client_environment import (
    ENCRYPTED_OPERATION,
    claim_format_variables,
    credential_variables,
    random_password,
)
from .shared.errors import ConfigurationExit, WriteError

if TYPE_CHECKING:
    from ..emulator import Emulator
    from .emulator_options import Options

__all__ = ["PASSWORD_VARIABLE", "Credentials", "make_merchants", "write_credentials"]

#: The variable with the password of the P12 file.
PASSWORD_VARIABLE: Final = "CYBERSOURCE_P12_PASSWORD"
_PORTFOLIO_ID: Final = "CYBERSOURCE_PORTFOLIO_ID"
_DEFAULT_MERCHANT: Final = "emulated_merchant"


def make_merchants(options: Options) -> list[Merchant]:
    """Create the merchants that may call the emulator, or read the only one from the environment.

    Raises:
        ConfigurationError: the variables in the environment are invalid.
        ConfigurationExit: the variables in the environment are not those of a shared secret.
    """
    if options.credentials_from_env:
        from ..client.config.env_variables import builder_from_env

        shared_secret = builder_from_env(os.environ).shared_secret()
        if shared_secret is None:
            raise ConfigurationExit("--credentials-from-env needs a shared secret: CYBERSOURCE_AUTH=jwt_shared_secret")
        return [Merchant(**shared_secret)]
    names = options.merchant or (_DEFAULT_MERCHANT,)
    if options.portfolio is None:
        return [Merchant.generate(name) for name in names]
    # All merchants share one meta key.
    first = Merchant.generate(names[0], options.portfolio)
    return [dataclasses.replace(first, merchant_id=name) for name in names]


class Credentials(NamedTuple):
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
        return f"<Credentials with {len(self.variables)} variables>"


def write_credentials(emulator: Emulator, merchants: list[Merchant], options: Options) -> Credentials:
    """Write the requested files, and return what clients need.

    Raises:
        WriteError: a file cannot be written. The others are deleted.
        ConfigurationExit: a variable cannot be in the file of ``--env-file``.
    """
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
            variables[PASSWORD_VARIABLE] = password
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
    return Credentials(variables, unset, list(_other_credentials(emulator, merchants, options)), notes)


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
            raise WriteError(f"{path} cannot be written: {cause.strerror or type(cause).__name__}") from None
        self._written.append(path)
        return str(path)
