"""Error messages do not show a key, certificate or password that was passed instead of the path of a file."""

from __future__ import annotations

import base64
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from cybersource_flex import ConfigurationError, FlexClient
from cybersource_flex.auth import JwtP12, MessageLevelEncryption
from cybersource_flex.testing import Canaries
from cybersource_flex.transport import Tls
from support.certificates import key_pem

PEM = key_pem(rsa.generate_private_key(65537, 2048)).decode("ascii")
BODY = "".join(PEM.splitlines()[1:-1])
P12_ENV = {"CYBERSOURCE_AUTH": "jwt_p12", "CYBERSOURCE_MERCHANT_ID": "m", "CYBERSOURCE_P12_PASSWORD": "merchant.p12"}
OFFICIAL = {
    "authentication_type": "JWT",
    "merchantid": "m",
    "run_environment": "apitest.cybersource.com",
    "key_password": "pw",
}

VALUES = {
    "PEM": PEM,
    "PEM in one line": PEM.replace("\n", ""),
    "PEM with escaped line ends": PEM.replace("\n", "\\n"),
    "PEM without its first line": PEM.partition("\n")[2],
    "base64": BODY,
    "the first part of base64": BODY[:200],
    "base64url": BODY[:800].replace("+", "-").replace("/", "_"),
    "a shared secret": base64.b64encode(os.urandom(32)).decode(),
    "a password": "hunter2-pass",
    "a password with a slash": "hunter2/Passw0rd",
    "a password that begins with a slash": "/hunter2-pass",
    "a password with a null character": "hunter2\0pass",
}

CALLS: dict[str, tuple[str, Callable[[str], object]]] = {
    "p12": ("p12", lambda value: JwtP12("m", value, "/etc/merchant.p12")),
    "response_key": ("response_key", lambda value: MessageLevelEncryption(response_key=value, response_kid="k")),
    "request_certificate": (
        "request_certificate",
        lambda value: MessageLevelEncryption(request_certificate=value),
    ),
    "ca_file": ("ca_file", lambda value: Tls(ca_file=value)),
    "client_certificate": ("client_certificate", lambda value: Tls(client_certificate=value)),
    "P12_PATH": ("CYBERSOURCE_P12_PATH", lambda value: FlexClient.from_env({**P12_ENV, "CYBERSOURCE_P12_PATH": value})),
    "SECRET_KEY_FILE": (
        "CYBERSOURCE_SECRET_KEY_FILE",
        lambda value: FlexClient.from_env(
            {
                "CYBERSOURCE_MERCHANT_ID": "m",
                "CYBERSOURCE_KEY_ID": "k",
                "CYBERSOURCE_SECRET_KEY_FILE": value,
            }
        ),
    ),
    "CA_FILE": (
        "CYBERSOURCE_CA_FILE",
        lambda value: FlexClient.from_env(
            {
                "CYBERSOURCE_MERCHANT_ID": "m",
                "CYBERSOURCE_KEY_ID": "k",
                "CYBERSOURCE_SECRET_KEY": base64.b64encode(bytes(32)).decode(),
                "CYBERSOURCE_CA_FILE": value,
            }
        ),
    ),
}


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("call", CALLS)
def test_other_values_than_paths_are_not_shown(call: str, kind: str) -> None:
    name, use = CALLS[call]
    with Canaries() as canaries:
        secret = canaries.plant("value", VALUES[kind])
        with pytest.raises(ConfigurationError, match=f"^{name}\\b") as caught:
            use(secret)
        canaries.watch(caught.value)
    output = "".join(traceback.format_exception(caught.value))
    for piece in (VALUES[kind], BODY[:20], BODY[100:120], "hunter2"):
        assert piece not in output


@pytest.mark.parametrize("kind", ["PEM", "base64", "the first part of base64"])
def test_a_key_instead_of_the_name_of_a_p12_file_is_rejected(kind: str) -> None:
    with pytest.raises(ConfigurationError, match="key_file_name must be the path of a file, not its content") as caught:
        FlexClient.from_merchant_config({**OFFICIAL, "key_file_name": VALUES[kind]})
    assert BODY[:20] not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/no/such/file.p12", "'/no/such/file.p12'"),
        ("merchant.PFX", "'merchant.PFX'"),
        ("{folder}/key", "'{folder}/key'"),
        ("{folder}", "'{folder}'"),
        (Path("no-such-file"), "'no-such-file'"),
    ],
)
def test_paths_are_shown(path: Any, expected: str, tmp_path: Path) -> None:
    if isinstance(path, str):
        path = path.format(folder=tmp_path)
    with pytest.raises(ConfigurationError) as caught:
        JwtP12("m", path, "pw")
    assert f"p12: cannot read {expected.format(folder=tmp_path)}: " in str(caught.value)
    with pytest.raises(ConfigurationError) as caught:
        Tls(ca_file=path)
    assert str(caught.value).startswith(f"ca_file {expected.format(folder=tmp_path)} cannot be read: ")


def test_long_paths_are_shown(tmp_path: Path) -> None:
    folder = tmp_path / "Customers" / "Production2026" / "cybersource" / "keys" / "merchant" / "store1"
    folder.mkdir(parents=True)
    with pytest.raises(ConfigurationError, match=r"cannot read '.*/store1/flexkey'"):
        JwtP12("m", str(folder / "flexkey"), "pw")
    (folder / "flexkey").write_bytes(b"nonsense")
    with pytest.raises(ConfigurationError, match="p12 is not a PKCS #12"):
        JwtP12("m", str(folder / "flexkey"), "pw")
