"""Environment variables for a client of the emulator, and the files that they name: CA, client certificate, keys."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path

from .auth.credentials import Merchant
from .server.tls import ServerTls

# The operation whose requests are encrypted. No other operation has a body that can be encrypted.
ENCRYPTED_OPERATION = "generate_flex_api_capture_context"


def credential_variables(merchant: Merchant) -> dict[str, str] | None:
    """The variables of the merchant's shared secret, or if it has none, of its access token. None without both."""
    if merchant.key_id is not None and merchant.secret_key is not None:
        return {
            "CYBERSOURCE_AUTH": "jwt_shared_secret",
            **_merchant_variables(merchant),
            "CYBERSOURCE_KEY_ID": merchant.key_id,
            "CYBERSOURCE_SECRET_KEY": merchant.secret_key,
        }
    for token in merchant.access_tokens:
        return {"CYBERSOURCE_AUTH": "bearer", "CYBERSOURCE_ACCESS_TOKEN": token}
    return None


def claim_format_variables(claim_format: Mapping[str, str]) -> dict[str, str]:
    """The variable with which clients send the accepted variants of claims. Empty if all variants are accepted."""
    if not claim_format:
        return {}
    return {"CYBERSOURCE_JWT_CLAIM_FORMAT": ",".join(f"{name}={variant}" for name, variant in claim_format.items())}


def p12_variables(merchant: Merchant, make_p12: Callable[[str], bytes]) -> dict[str, str | bytes]:
    """The variables of a new P12 file for signing. `make_p12` creates it with a password."""
    password = random_password()
    return {
        "CYBERSOURCE_AUTH": "jwt_p12",
        **_merchant_variables(merchant),
        "CYBERSOURCE_P12_PATH": make_p12(password),
        "CYBERSOURCE_P12_PASSWORD": password,
    }


def tls_variables(tls: ServerTls, merchant: Merchant) -> dict[str, str | bytes]:
    """The variables of the CA and, if the emulator asks for client certificates, of a new one for the merchant."""
    variables: dict[str, str | bytes] = {} if tls.has_given_certificate else {"CYBERSOURCE_CA_FILE": tls.ca_pem}
    if tls.client_certificates is not None:
        certificate, key = tls.client_certificate(merchant.merchant_id)
        variables |= {"CYBERSOURCE_CLIENT_CERTIFICATE": certificate, "CYBERSOURCE_CLIENT_KEY": key}
    return variables


def request_mle_variables(certificate: bytes) -> dict[str, str | bytes]:
    """The variables for encrypted requests. `certificate` is that of the emulator's key."""
    return {
        "CYBERSOURCE_MLE_ENCRYPT_REQUESTS": ENCRYPTED_OPERATION,
        "CYBERSOURCE_MLE_REQUEST_CERTIFICATE": certificate,
    }


def response_mle_variables(make_p12: Callable[[str], bytes]) -> dict[str, str | bytes]:
    """The variables of a new P12 file for encrypted responses. `make_p12` creates it with a password."""
    password = random_password()
    return {
        "CYBERSOURCE_MLE_RESPONSE_KEY": make_p12(password),
        "CYBERSOURCE_MLE_RESPONSE_KEY_PASSWORD": password,
    }


def _merchant_variables(merchant: Merchant) -> dict[str, str]:
    """The variables of the merchant's id and, if it has a portfolio, the portfolio's id."""
    variables = {"CYBERSOURCE_MERCHANT_ID": merchant.merchant_id}
    if merchant.portfolio_id is not None:
        variables["CYBERSOURCE_PORTFOLIO_ID"] = merchant.portfolio_id
    return variables


class ClientFiles:
    """A folder for the files of clients. Only this user can read it. It is deleted with this object or at exit.

    The files stay when the emulator stops, because clients may read them later and the emulator can be started again.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._folder: Path | None = None
        self._groups: dict[str, dict[str, str]] = {}

    def variables(self, group: str, create: Callable[[], Mapping[str, bytes | str]]) -> dict[str, str]:
        """The variables of a group. The first call writes the group's files; later calls return the same variables.

        Args:
            group: name of the group.
            create: returns the value of each variable. If the value is bytes, they are written to a file, and the
                variable is the path of the file.
        """
        with self._lock:
            if group not in self._groups:
                self._groups[group] = {
                    name: self._write(name, value) if isinstance(value, bytes) else value
                    for name, value in create().items()
                }
            return self._groups[group]

    def _write(self, name: str, content: bytes) -> str:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="cybersource-flex-emulator-"))
            weakref.finalize(self, _delete, self._folder, os.getpid())
        path = self._folder / name.removeprefix("CYBERSOURCE_").lower()
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        return str(path)


def _delete(folder: Path, process: int) -> None:
    # A forked process has a copy of the object, but the files belong to the parent.
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)


def random_password() -> str:
    """A password for a P12 file."""
    return secrets.token_urlsafe(12)
