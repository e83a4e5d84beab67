"""Clients that are configured by environment variables or by the official SDK's dictionary."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cybersource_flex import ConfigurationError, FlexClient, fields
from cybersource_flex.auth import MessageLevelEncryption
from cybersource_flex.client.config.client_options import signed_operations
from cybersource_flex.emulator import Emulator, Merchant
from cybersource_flex.transport import Tls

PORTFOLIO = "emulated_portfolio"
PASSWORD = "c4n4ry-passw0rd"
META_KEY_MERCHANT = Merchant.generate("shop_two", portfolio_id=PORTFOLIO)


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator(merchants=[Merchant.generate("shop_one"), META_KEY_MERCHANT]) as running:
        yield running


@pytest.fixture
def folder(emulator: Emulator, tmp_path: Path) -> Path:
    (tmp_path / "shop.p12").write_bytes(emulator.make_p12(PASSWORD))
    (tmp_path / "portfolio.p12").write_bytes(emulator.make_p12(PASSWORD, "shop_two", portfolio=True))
    (tmp_path / "response.p12").write_bytes(emulator.make_response_mle_p12(PASSWORD))
    (tmp_path / "sjc.pem").write_bytes(emulator.request_mle_certificate_pem)
    return tmp_path


def environ(emulator: Emulator, scheme: str, folder: Path) -> dict[str, str]:
    """Environment variables for an authentication scheme."""
    if scheme in ("jwt_shared_secret", "http_signature"):
        return {**emulator.environ, "CYBERSOURCE_AUTH": scheme}
    common = {"CYBERSOURCE_AUTH": scheme, "CYBERSOURCE_ENVIRONMENT": emulator.url}
    if scheme == "bearer":
        return {**common, "CYBERSOURCE_ACCESS_TOKEN": emulator.issue_access_token()}
    return {
        **common,
        "CYBERSOURCE_MERCHANT_ID": "shop_one",
        "CYBERSOURCE_P12_PATH": str(folder / "shop.p12"),
        "CYBERSOURCE_P12_PASSWORD": PASSWORD,
    }


def dictionary(emulator: Emulator, scheme: str, folder: Path) -> dict[str, Any]:
    """The official SDK's dictionary for an authentication scheme."""
    config: dict[str, Any] = {"run_environment": emulator.url, "merchantid": "shop_one"}
    secret = {"merchant_keyid": emulator.auth["key_id"], "merchant_secretkey": emulator.auth["secret_key"]}
    if scheme == "http_signature":
        return {**config, **secret, "authentication_type": "HTTP_Signature"}
    if scheme == "jwt_shared_secret":
        return {**config, **secret, "authentication_type": "JWT", "jwt_key_type": "SHARED_SECRET"}
    if scheme == "bearer":
        del config["merchantid"]
        return {**config, "authentication_type": "OAuth", "access_token": emulator.issue_access_token()}
    files = {"keys_directory": str(folder), "key_file_name": "shop", "key_password": PASSWORD}
    return {**config, **files, "authentication_type": "JWT"}


def first_request(client: FlexClient, emulator: Emulator) -> Any:
    """Make calls that must succeed, and return the recorded first request."""
    emulator.clear()
    with client:
        context = client.create_capture_context(fields(card=["number"]))
        client.payment_details(client.tokenize(context, {"card": {"number": "4111111111111111"}}))
    return emulator.requests[0]


SCHEMES = ["jwt_shared_secret", "jwt_p12", "http_signature", "bearer"]


@pytest.mark.parametrize("source", ["environment", "dictionary"])
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.filterwarnings("ignore:CyberSource retires HTTP Signature")
def test_every_scheme(scheme: str, source: str, emulator: Emulator, folder: Path) -> None:
    if source == "environment":
        client = FlexClient.from_env(environ(emulator, scheme, folder))
    else:
        client = FlexClient.from_merchant_config(dictionary(emulator, scheme, folder))
    first = first_request(client, emulator)
    assert first.merchant_id == "shop_one"
    names = {"http_signature": "http-signature", "bearer": "access-token"}
    assert first.scheme == names.get(scheme, "jwt")


@pytest.mark.parametrize("kind", ["JWT", "HTTP_Signature", "P12"])
@pytest.mark.filterwarnings("ignore:CyberSource retires HTTP Signature")
def test_meta_keys(kind: str, emulator: Emulator, folder: Path) -> None:
    ids = {"CYBERSOURCE_MERCHANT_ID": "shop_two", "CYBERSOURCE_PORTFOLIO_ID": PORTFOLIO}
    config: dict[str, Any] = {
        "run_environment": emulator.url,
        "merchantid": "shop_two",
        "use_metakey": "True",
        "portfolio_id": PORTFOLIO,
        "authentication_type": "JWT" if kind == "P12" else kind,
    }
    if kind == "P12":
        variables = environ(emulator, "jwt_p12", folder)
        variables["CYBERSOURCE_P12_PATH"] = str(folder / "portfolio.p12")
        config |= {"keys_directory": str(folder), "key_file_name": "portfolio", "key_password": PASSWORD}
    else:
        variables = environ(emulator, "http_signature" if kind == "HTTP_Signature" else "jwt_shared_secret", folder)
        variables |= {
            "CYBERSOURCE_KEY_ID": str(META_KEY_MERCHANT.key_id),
            "CYBERSOURCE_SECRET_KEY": str(META_KEY_MERCHANT.secret_key),
        }
        config |= {"merchant_keyid": META_KEY_MERCHANT.key_id, "merchant_secretkey": META_KEY_MERCHANT.secret_key}
        if kind == "JWT":
            config["jwt_key_type"] = "shared_secret"
    for client in (FlexClient.from_env({**variables, **ids}), FlexClient.from_merchant_config(config)):
        assert first_request(client, emulator).merchant_id == "shop_two"


def test_message_level_encryption(emulator: Emulator, folder: Path) -> None:
    operation = "generate_flex_api_capture_context"
    variables = {
        **environ(emulator, "jwt_shared_secret", folder),
        "CYBERSOURCE_MLE_ENCRYPT_REQUESTS": operation,
        "CYBERSOURCE_MLE_REQUEST_CERTIFICATE": str(folder / "sjc.pem"),
        "CYBERSOURCE_MLE_RESPONSE_KEY": str(folder / "response.p12"),
        "CYBERSOURCE_MLE_RESPONSE_KEY_PASSWORD": PASSWORD,
    }
    config = {
        **dictionary(emulator, "jwt_p12", folder),
        "mapToControlMLEonAPI": {operation: "true::true"},
        "responseMlePrivateKeyFilePath": str(folder / "response.p12"),
        "responseMlePrivateKeyFilePassword": PASSWORD,
    }
    for client, operations in (
        (FlexClient.from_env(variables), {operation}),
        # The dictionary names one operation; all others are configured as not encrypted.
        (FlexClient.from_merchant_config(config), signed_operations()),
    ):
        mle = client.api_client.configuration.mle
        assert isinstance(mle, MessageLevelEncryption)
        assert mle.operations == operations
        first = first_request(client, emulator)
        assert b"encryptedRequest" in first.body
        assert b'"fields"' in (first.decrypted_body or b"")


@pytest.mark.parametrize("kid", [{}, {"CYBERSOURCE_MLE_RESPONSE_KID": "7"}])
def test_a_response_key_with_an_expired_certificate(
    kid: dict[str, str], emulator: Emulator, folder: Path, client_class: type[FlexClient]
) -> None:
    (folder / "response.p12").write_bytes(emulator.make_response_mle_p12(PASSWORD, days=-1))
    variables = {
        **environ(emulator, "jwt_shared_secret", folder),
        "CYBERSOURCE_MLE_RESPONSE_KEY": str(folder / "response.p12"),
        "CYBERSOURCE_MLE_RESPONSE_KEY_PASSWORD": PASSWORD,
        **kid,
    }
    message = r"^CYBERSOURCE_MLE_RESPONSE_KEY: the certificate 'shop_one' expired on"
    with pytest.raises(ConfigurationError, match=message), client_class.from_env(variables):
        pass


def test_mutual_tls(tmp_path: Path) -> None:
    with Emulator(tls=True, client_certificates="required") as emulator:
        emulator.write_ca(tmp_path / "ca.pem")
        certificate, key = emulator.issue_client_certificate("shop one")
        (tmp_path / "client.crt").write_bytes(certificate)
        (tmp_path / "client.key").write_bytes(key)
        variables = {
            **emulator.environ,
            "CYBERSOURCE_CA_FILE": str(tmp_path / "ca.pem"),
            "CYBERSOURCE_CLIENT_CERTIFICATE": str(tmp_path / "client.crt"),
            "CYBERSOURCE_CLIENT_KEY": str(tmp_path / "client.key"),
        }
        assert first_request(FlexClient.from_env(variables), emulator).client_certificate == "shop one"
        config = {
            **dictionary(emulator, "jwt_shared_secret", tmp_path),
            "merchantid": emulator.auth["merchant_id"],
        }
        tls = Tls(
            ca_file=tmp_path / "ca.pem",
            client_certificate=tmp_path / "client.crt",
            client_key=tmp_path / "client.key",
        )
        client = FlexClient.from_merchant_config(config, tls=tls)
        assert first_request(client, emulator).client_certificate == "shop one"


def test_an_intermediate_host(emulator: Emulator, folder: Path) -> None:
    config = dictionary(emulator, "jwt_shared_secret", folder)
    config |= {"run_environment": "apitest.cybersource.com", "IntermediateHost": emulator.url}
    assert first_request(FlexClient.from_merchant_config(config), emulator).headers["host"] == "apitest.cybersource.com"
    variables = environ(emulator, "jwt_shared_secret", folder)
    variables |= {"CYBERSOURCE_ENVIRONMENT": "test", "CYBERSOURCE_INTERMEDIATE_HOST": emulator.url}
    assert first_request(FlexClient.from_env(variables), emulator).headers["host"] == "apitest.cybersource.com"
