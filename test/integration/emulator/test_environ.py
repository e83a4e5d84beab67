"""``Emulator.auth``, ``Emulator.environ`` and the fixtures: enough for a client, for every merchant and option."""

from __future__ import annotations

import gc
import os
import stat
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from cybersource_flex.auth import HttpSignature, JwtSharedSecret
from cybersource_flex.client import FlexClient, fields
from cybersource_flex.emulator import Emulator, Merchant
from support.certificates import certificate_pem, key_pem, self_signed_certificate
from support.tokens import decode_jwt

REQUEST = fields(card=["number", "expirationMonth", "expirationYear"])
CARD = {"card": {"number": "4111111111111111", "expirationMonth": "12", "expirationYear": "2031"}}
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def certificate(name: str) -> bytes:
    return certificate_pem(self_signed_certificate(KEY, name, serial_number="1700000000000000000001"))


MERCHANTS: dict[str, list[Merchant] | None] = {
    "the default": None,
    "a shared secret": [Merchant.generate("m1")],
    "a meta key": [Merchant.generate("m1", portfolio_id="p1")],
    "several merchants": [Merchant.generate("m1", portfolio_id="p1"), Merchant.generate("m2")],
    "a certificate": [Merchant("m1", certificates=[certificate("m1")])],
    "a portfolio's certificate": [Merchant("m1", portfolio_id="p1", certificates=[certificate("p1")])],
    "no credential": [Merchant("m1")],
    "an access token": [Merchant("m1", access_tokens=["a-token"])],
    "encrypted responses": [replace(Merchant.generate("m1"), response_mle_certificates=[certificate("m1")])],
    "encrypted responses of a portfolio": [
        replace(Merchant.generate("m1", "p1"), response_mle_certificates=[certificate("p1")])
    ],
    "encrypted responses and a certificate": [
        Merchant(
            "m1", portfolio_id="p1", certificates=[certificate("p1")], response_mle_certificates=[certificate("p1")]
        )
    ],
    "a token and encrypted responses": [
        Merchant("m1", access_tokens=["a-token"], response_mle_certificates=[certificate("m1")])
    ],
}
OPTIONS: dict[str, dict[str, Any]] = {
    "none": {},
    "https": {"tls": True},
    "an optional client certificate": {"tls": True, "client_certificates": "optional"},
    "a required client certificate": {"tls": True, "client_certificates": "required"},
    "encrypted requests": {
        "request_mle": (key_pem(KEY), certificate("CyberSource_SJC_US")),
    },
    "IPv6": {"host": "::1", "tls": True},
    "a signed host": {"tls": True, "signed_hosts": ["flex.example:8443"]},
    "payment credentials": {"payment_credentials": True},
}


@pytest.mark.parametrize("options", ["none", "a required client certificate", "encrypted requests"])
@pytest.mark.parametrize("merchants", MERCHANTS)
def test_environ_is_enough_for_a_client_of_every_merchant(merchants: str, options: str) -> None:
    check(merchants, options, FlexClient)


@pytest.mark.parametrize("options", OPTIONS)
def test_environ_is_enough_for_a_client_with_every_option(options: str, client_class: Any) -> None:
    check("a meta key", options, client_class)


def check(merchants: str, options: str, client_class: Any) -> None:
    """Check that a client can make a payment with only the variables, and that it uses the selected options."""
    emulator_merchants = MERCHANTS[merchants]
    with Emulator(merchants=emulator_merchants, key_pool=1, **OPTIONS[options]) as emulator:
        with client_class.from_env(emulator.environ) as client:
            token = client.tokenize(client.create_capture_context(REQUEST), CARD)
            assert client.payment_details(token)
        session, *_, details = emulator.requests
        assert [record.rejection_reason for record in emulator.requests] == [None] * 4
        assert session.merchant_id == (emulator_merchants[0].merchant_id if emulator_merchants else "emulated_merchant")
        assert (session.client_certificate is not None) == ("client certificate" in options)
        is_jwt = session.scheme == "jwt"
        assert (session.decrypted_body is not None) == (is_jwt and options == "encrypted requests")
        assert is_jwt == ("token" not in merchants)
        jwt = details.headers["authorization"].removeprefix("Bearer ")
        requests_encryption = is_jwt and "v-c-response-mle-kid" in decode_jwt(jwt)[1]
        assert requests_encryption == (is_jwt and "encrypted responses" in merchants)


@pytest.mark.parametrize("signer", [JwtSharedSecret, HttpSignature])
@pytest.mark.parametrize(
    "merchants", [name for name in MERCHANTS if (MERCHANTS[name] or [Merchant.generate()])[0].key_id]
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_auth_is_enough_for_a_signer(merchants: str, signer: Any) -> None:
    with (
        Emulator(merchants=MERCHANTS[merchants], key_pool=1) as emulator,
        FlexClient(signer(**emulator.auth), environment=emulator.url) as client,
    ):
        assert client.create_capture_context(REQUEST)
        # The environment variables have the same values.
        values = {f"CYBERSOURCE_{name.upper()}": value for name, value in emulator.auth.items()}
        assert values.items() <= emulator.environ.items()


def test_a_merchant_without_shared_secret_has_no_auth() -> None:
    with pytest.raises(RuntimeError, match="has no shared secret: see environ"):
        _ = Emulator(merchants=[Merchant("m1")], key_pool=1).auth


def test_environ_stays_the_same_after_a_restart() -> None:
    emulator = Emulator(merchants=[Merchant("m1")], tls=True, client_certificates="required", key_pool=1)
    with emulator:
        first_environ = emulator.environ
    with emulator, FlexClient.from_env(first_environ) as client:
        assert emulator.environ == first_environ
        assert client.create_capture_context(REQUEST)


def test_files_of_environ_are_private_and_deleted_with_the_emulator() -> None:
    emulator = Emulator(merchants=[Merchant("m1")], tls=True, client_certificates="required", key_pool=1)
    with emulator:
        files = [Path(value) for value in emulator.environ.values() if os.path.isabs(value)]
    assert len(files) == 4
    for file in files:
        assert file.is_file()
        if os.name == "posix":
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    del emulator
    deadline = time.monotonic() + 10
    while files[0].parent.exists() and time.monotonic() < deadline:
        gc.collect()
    assert not files[0].parent.exists()


def test_no_file_is_written_when_none_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Emulator(merchants=[Merchant.generate("m1", "p1")], key_pool=1) as emulator:
        assert emulator.environ
    assert list(tmp_path.iterdir()) == []
