"""Clients built from environment variables and from the official SDK's configuration dictionary."""

from __future__ import annotations

import base64
import copy
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cybersource_flex import FlexClient
from cybersource_flex.auth import (
    BearerToken,
    HttpSignature,
    JwtClaimFormat,
    JwtP12,
    JwtSharedSecret,
    MessageLevelEncryption,
)
from cybersource_flex.client.config.client_options import SCHEMES, ClientBuilder, signed_operations
from cybersource_flex.client.config.env_variables import PREFIX, REQUIRED, VARIABLES, builder_from_env
from cybersource_flex.client.config.merchant_config import builder_from_merchant_config
from cybersource_flex.client.config.merchant_config_keys import (
    CONFIG_KEYS,
    IGNORED,
    OPERATION_NAMES,
    REFUSED,
    TRANSLATED,
)
from cybersource_flex.errors import ConfigurationError
from cybersource_flex.transport import Configuration, Tls
from support.keys import MERCHANT_ID, MERCHANT_KEY_ID, P12_PASSWORD, PEM_PASSWORD, PORTFOLIO_ID, RESPONSE_MLE_KEY_ID
from support.paths import KEYS, ROOT

KEY_ID = "5f1c2d3e-4a5b-4c7d-8e9f-0a1b2c3d4e5f"
SECRET = base64.b64encode(b"c4n4ry-of-32-bytes-in-the-secret").decode()
CANARY = "c4n4ry-passw0rd"
SHARED = {"CYBERSOURCE_MERCHANT_ID": MERCHANT_ID, "CYBERSOURCE_KEY_ID": KEY_ID, "CYBERSOURCE_SECRET_KEY": SECRET}
P12 = {
    "CYBERSOURCE_AUTH": "jwt_p12",
    "CYBERSOURCE_MERCHANT_ID": MERCHANT_ID,
    "CYBERSOURCE_P12_PATH": str(KEYS / "merchant.p12"),
    "CYBERSOURCE_P12_PASSWORD": P12_PASSWORD,
}
OFFICIAL: dict[str, Any] = {
    "authentication_type": "JWT",
    "jwt_key_type": "SHARED_SECRET",
    "merchantid": MERCHANT_ID,
    "run_environment": "apitest.cybersource.com",
    "merchant_keyid": KEY_ID,
    "merchant_secretkey": SECRET,
}
OFFICIAL_P12: dict[str, Any] = {
    "authentication_type": "Jwt",
    "merchantid": MERCHANT_ID,
    "run_environment": "apitest.cybersource.com",
    "keys_directory": str(KEYS),
    "key_file_name": "merchant",
    "key_password": P12_PASSWORD,
}
RESPONSE = {
    "enableResponseMleGlobally": True,
    "responseMlePrivateKeyFilePath": str(KEYS / "response_mle.p12"),
    "responseMlePrivateKeyFilePassword": P12_PASSWORD,
}
EVERYTHING = {
    **P12,
    "CYBERSOURCE_ENVIRONMENT": "production",
    "CYBERSOURCE_MLE_ENCRYPT_REQUESTS": "generate_capture_context, generate_flex_api_capture_context",
    "CYBERSOURCE_MLE_RESPONSE_KEY": str(KEYS / "response_mle.key.encrypted.pem"),
    "CYBERSOURCE_MLE_RESPONSE_KEY_PASSWORD": PEM_PASSWORD,
    "CYBERSOURCE_MLE_RESPONSE_KID": RESPONSE_MLE_KEY_ID,
    "CYBERSOURCE_MLE_UNENCRYPTED_RESPONSES": "get_payment_details",
    "CYBERSOURCE_CLIENT_CERTIFICATE": str(KEYS / "merchant.crt.pem"),
    "CYBERSOURCE_CLIENT_KEY": str(KEYS / "merchant.key.pem"),
    "CYBERSOURCE_CA_FILE": str(KEYS / "fake_ca.crt.pem"),
    "CYBERSOURCE_PROXY": f"http://me:{CANARY}@proxy.example:8080",
    "CYBERSOURCE_INTERMEDIATE_HOST": "gateway.example",
    "CYBERSOURCE_CONNECT_TIMEOUT": "2.5",
    "CYBERSOURCE_READ_TIMEOUT": "12",
    "CYBERSOURCE_USER_AGENT_SUFFIX": "shop/1.2",
    "CYBERSOURCE_JWT_ALGORITHM": "PS256",
    "CYBERSOURCE_JWT_CLAIM_FORMAT": "response_mle_claim=v-c-api-response-mle-kid, method_case = lower",
}


VARIANT = JwtClaimFormat(response_mle_claim="v-c-api-response-mle-kid", method_case="lower")


def configuration_of(client: FlexClient) -> Configuration:
    return client.api_client.configuration


def signer_of(client: FlexClient) -> Any:
    return configuration_of(client).auth


def client_and_warnings(config: Mapping[str, Any], **overrides: Any) -> tuple[FlexClient, list[str]]:
    """The client and the messages of the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        client = FlexClient.from_merchant_config(config, **overrides)
    user_warnings = [each for each in caught if each.category is UserWarning]
    assert all(each.filename == __file__ for each in user_warnings), "a warning points at the line that can be changed"
    return client, [str(each.message) for each in user_warnings]


def encryption_of(client: FlexClient) -> MessageLevelEncryption:
    mle = configuration_of(client).mle
    assert isinstance(mle, MessageLevelEncryption)
    return mle


# Environment variables.


def test_shared_secret_variables() -> None:
    client = FlexClient.from_env(SHARED)
    assert isinstance(signer_of(client), JwtSharedSecret)
    assert (signer_of(client).merchant_id, signer_of(client).key_id) == (MERCHANT_ID, KEY_ID)
    assert configuration_of(client).host == "https://apitest.cybersource.com"


def test_os_environ_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name.full_name, raising=False)
    for name, value in SHARED.items():
        monkeypatch.setenv(name, value)
    assert signer_of(FlexClient.from_env()).key_id == KEY_ID


def test_every_variable_sets_its_argument() -> None:
    client = FlexClient.from_env(EVERYTHING)
    client_settings = configuration_of(client)
    assert isinstance(signer_of(client), JwtP12)
    assert signer_of(client).algorithm == "PS256"
    assert signer_of(client).claim_format == VARIANT
    assert client_settings.host == "https://api.cybersource.com"
    assert client_settings.base_url == "https://gateway.example"
    assert client_settings.proxy is not None
    assert client_settings.proxy.url == "http://proxy.example:8080"
    assert client_settings.tls is not None
    assert client_settings.tls.client_certificate == EVERYTHING["CYBERSOURCE_CLIENT_CERTIFICATE"]
    assert (client_settings.connect_timeout, client_settings.read_timeout) == (2.5, 12.0)
    assert client_settings.user_agent.endswith(" shop/1.2")
    assert encryption_of(client).response_kid == RESPONSE_MLE_KEY_ID
    assert encryption_of(client).operations == {
        "generate_capture_context",
        "generate_flex_api_capture_context",
        "get_payment_details",
    }


def test_the_request_certificate_defaults_to_the_p12() -> None:
    client = FlexClient.from_env({**P12, "CYBERSOURCE_MLE_ENCRYPT_REQUESTS": "generate_capture_context"})
    assert encryption_of(client).request_certificate_expires_at is not None


def test_a_response_p12_contains_the_key_id() -> None:
    variables = {"KEY": str(KEYS / "response_mle.p12"), "KEY_PASSWORD": P12_PASSWORD}
    environ = {**SHARED, **{f"CYBERSOURCE_MLE_RESPONSE_{name}": value for name, value in variables.items()}}
    assert encryption_of(FlexClient.from_env(environ)).response_kid == RESPONSE_MLE_KEY_ID
    assert encryption_of(FlexClient.from_env(environ)).response_certificate_expires_at is not None
    environ["CYBERSOURCE_MLE_RESPONSE_KID"] = "another"
    assert encryption_of(FlexClient.from_env(environ)).response_kid == "another"


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_secrets_in_files(tmp_path: Path, end: str) -> None:
    file = tmp_path / "secret"
    file.write_bytes((SECRET + end).encode())
    environ = {**SHARED, "CYBERSOURCE_SECRET_KEY": "", "CYBERSOURCE_SECRET_KEY_FILE": str(file)}
    assert isinstance(signer_of(FlexClient.from_env(environ)), JwtSharedSecret)
    file.write_bytes((P12_PASSWORD + end).encode())
    environ = {**P12, "CYBERSOURCE_P12_PASSWORD": "", "CYBERSOURCE_P12_PASSWORD_FILE": str(file)}
    assert isinstance(signer_of(FlexClient.from_env(environ)), JwtP12)


def test_a_token_in_a_file_is_read_again_when_it_is_renewed(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    client = FlexClient.from_env({"CYBERSOURCE_AUTH": "bearer", "CYBERSOURCE_ACCESS_TOKEN_FILE": str(file)})
    token = signer_of(client)
    assert isinstance(token, BearerToken)
    request: Any = None
    assert token.sign(request, 0) == {"Authorization": "Bearer first"}
    file.write_text("second\n")
    assert token.sign(request, 0) == {"Authorization": "Bearer first"}
    assert token.refresh({"Authorization": "Bearer first"})
    assert token.sign(request, 0) == {"Authorization": "Bearer second"}


def test_overrides_win_and_replaced_variables_are_ignored() -> None:
    own = JwtSharedSecret("me", "key", SECRET)
    environ = {**P12, "CYBERSOURCE_P12_PASSWORD": "wrong", "CYBERSOURCE_READ_TIMEOUT": "soon"}
    client = FlexClient.from_env(environ, auth=own, read_timeout=7, environment="production")
    assert signer_of(client) is own
    assert configuration_of(client).read_timeout == 7
    assert configuration_of(client).host == "https://api.cybersource.com"
    with pytest.raises(ConfigurationError, match=r"^host 'x\.example' must use https"):
        FlexClient.from_env({**SHARED, "CYBERSOURCE_ENVIRONMENT": "test"}, environment="http://x.example")
    with pytest.raises(TypeError):
        FlexClient.from_env(SHARED, colour="red")  # type: ignore[call-arg]


def test_the_shared_secret_of_a_source() -> None:
    expected = {"merchant_id": MERCHANT_ID, "key_id": KEY_ID, "secret_key": SECRET}
    assert builder_from_env(SHARED).shared_secret() == expected
    with_portfolio = {**SHARED, "CYBERSOURCE_PORTFOLIO_ID": PORTFOLIO_ID}
    assert builder_from_env(with_portfolio).shared_secret() == {**expected, "portfolio_id": PORTFOLIO_ID}
    assert builder_from_env(P12).shared_secret() is None
    assert builder_from_env({"CYBERSOURCE_AUTH": "bearer", "CYBERSOURCE_ACCESS_TOKEN": "a"}).shared_secret() is None
    with pytest.raises(ConfigurationError, match="CYBERSOURCE_SECRET_KEY is not base64"):
        builder_from_env({**SHARED, "CYBERSOURCE_SECRET_KEY": "*"}).shared_secret()


@pytest.mark.filterwarnings("ignore:CyberSource retires HTTP Signature")
def test_the_shared_secret_of_http_signature() -> None:
    secret = builder_from_env({**SHARED, "CYBERSOURCE_AUTH": "http_signature"}).shared_secret()
    assert secret == {"merchant_id": MERCHANT_ID, "key_id": KEY_ID, "secret_key": SECRET}


PATHS = {
    **{
        name: EVERYTHING[f"CYBERSOURCE_{name}"]
        for name in ("P12_PATH", "MLE_RESPONSE_KEY", "CA_FILE", "CLIENT_CERTIFICATE", "CLIENT_KEY")
    },
    "MLE_REQUEST_CERTIFICATE": str(KEYS / "sjc.crt.pem"),
}


@pytest.mark.parametrize("name", PATHS)
def test_a_path_may_end_with_a_carriage_return_but_not_with_a_line_feed(name: str) -> None:
    variable = f"CYBERSOURCE_{name}"
    FlexClient.from_env({**EVERYTHING, variable: f"{PATHS[name]}\r"})
    with pytest.raises(ConfigurationError, match=f"^{variable} must be the path of a file, not its content$"):
        FlexClient.from_env({**EVERYTHING, variable: f"{PATHS[name]}\n"})


def test_variables_of_other_tools_are_ignored() -> None:
    foreign = ("FLEX_REFERENCE", "PROFILE_ID", "HOST", "ORG_ID", "LOG_LEVEL", "WEBHOOK_SECRET", "API_KEY")
    client = FlexClient.from_env({**SHARED, **{f"CYBERSOURCE_{name}": "x" for name in foreign}})
    assert signer_of(client).key_id == KEY_ID
    # Misspelled, but ignored because it is empty.
    FlexClient.from_env({**SHARED, "CYBERSOURCE_MERCHANTID": ""})


@pytest.mark.parametrize("variable", [each.full_name for each in VARIABLES])
def test_a_misspelled_variable_is_an_error(variable: str) -> None:
    for misspelled in (variable + "S", variable[:-1], variable.lower()):
        if any(misspelled in (each.full_name, f"{each.full_name}_FILE") for each in VARIABLES):
            continue
        if len(variable) < len(PREFIX) + 5 and misspelled != variable.lower():
            # Too short to distinguish a misspelling from another word.
            continue
        with pytest.raises(ConfigurationError, match=f"^there is no variable {misspelled}; did you mean CYBERSOURCE_"):
            FlexClient.from_env({**SHARED, misspelled: "x"})


def test_the_tables_agree() -> None:
    assert set(REQUIRED) == set(SCHEMES)
    by_name = {each.name: each for each in VARIABLES}
    assert len(by_name) == len(VARIABLES)
    for scheme, names in REQUIRED.items():
        assert all(scheme in by_name[name].schemes for name in names)
    assert all(each.needs is None or each.needs in by_name for each in VARIABLES)
    assert not {f"{each.name}_FILE" for each in VARIABLES if each.secret} & set(by_name)


# The official SDK's dictionary.


def test_shared_secret() -> None:
    client, notes = client_and_warnings(OFFICIAL)
    assert notes == []
    assert isinstance(signer_of(client), JwtSharedSecret)
    assert (signer_of(client).merchant_id, signer_of(client).key_id) == (MERCHANT_ID, KEY_ID)
    assert configuration_of(client).host == "https://apitest.cybersource.com"


@pytest.mark.filterwarnings("ignore:CyberSource retires HTTP Signature")
def test_http_signature_with_a_meta_key() -> None:
    config = {**OFFICIAL, "authentication_type": "http_signature", "jwt_key_type": None}
    client, notes = client_and_warnings({**config, "use_metakey": "True", "portfolio_id": PORTFOLIO_ID})
    assert notes == []
    assert isinstance(signer_of(client), HttpSignature)
    assert signer_of(client).portfolio_id == PORTFOLIO_ID


def test_p12_and_its_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client, notes = client_and_warnings({**OFFICIAL_P12, "key_alias": MERCHANT_ID.upper()})
    assert notes == []
    assert isinstance(signer_of(client), JwtP12)
    assert signer_of(client).key_id == MERCHANT_KEY_ID
    # Folder, file name and password have defaults; the password is wrong for this one, so the file was found.
    (tmp_path / "resources").mkdir()
    (tmp_path / "resources" / f"{MERCHANT_ID}.p12").write_bytes((KEYS / "merchant.p12").read_bytes())
    monkeypatch.chdir(tmp_path)
    config = {key: OFFICIAL_P12[key] for key in ("authentication_type", "merchantid", "run_environment")}
    with pytest.raises(ConfigurationError, match="the password is wrong"):
        FlexClient.from_merchant_config(config)
    client, _ = client_and_warnings({**config, "key_password": P12_PASSWORD})
    assert signer_of(client).merchant_id == MERCHANT_ID


def test_p12_with_a_meta_key() -> None:
    config = {**OFFICIAL_P12, "key_file_name": "portfolio", "use_metakey": 1, "portfolio_id": PORTFOLIO_ID}
    client, notes = client_and_warnings(config)
    assert notes == []
    assert signer_of(client).key_id == "1795262400555555555555"
    assert (signer_of(client).merchant_id, signer_of(client).portfolio_id) == (MERCHANT_ID, PORTFOLIO_ID)


def test_oauth() -> None:
    config = {"authentication_type": "OAuth", "run_environment": "apitest.cybersource.com", "access_token": "abc"}
    client, notes = client_and_warnings({**config, "refresh_token": "x", "merchantid": MERCHANT_ID})
    assert isinstance(signer_of(client), BearerToken)
    assert sorted(note.partition(":")[0] for note in notes) == [
        "ignored, since authentication_type is OAuth",
        "refresh_token is ignored",
    ]


def test_keys_of_another_scheme_are_ignored_with_a_warning() -> None:
    _, notes = client_and_warnings({**OFFICIAL, "key_password": "x", "keys_directory": "y", "portfolio_id": "z"})
    assert notes == [
        "ignored, since authentication_type is JWT with SHARED_SECRET: key_password, keys_directory",
        "ignored, since use_metakey is not on: portfolio_id",
    ]
    _, notes = client_and_warnings({**OFFICIAL_P12, "key_alias": "other"})
    assert notes == [f"key_alias is ignored: {CONFIG_KEYS['key_alias'].detail}"]


def test_hosts() -> None:
    for written in ("api.cybersource.com", "https://api.cybersource.com"):
        client, _ = client_and_warnings(
            {**OFFICIAL, "run_environment": written, "IntermediateHost": "http://127.0.0.1:8080"}
        )
        assert configuration_of(client).host == "https://api.cybersource.com"
        assert configuration_of(client).base_url == "http://127.0.0.1:8080"


def test_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://environment.example:1")
    client, _ = client_and_warnings(OFFICIAL)
    assert configuration_of(client).proxy is None, "the dictionary says all of it"
    client, _ = client_and_warnings(OFFICIAL, proxy_from_environment=True)
    assert "environment.example" in repr(configuration_of(client).proxy)
    proxy = {"use_proxy": "true", "proxy_address": "http://proxy.example", "proxy_port": "8080"}
    for port in ("8080", 8080):
        client, notes = client_and_warnings({**OFFICIAL, **proxy, "proxy_port": port})
        assert notes == []
        assert repr(configuration_of(client).proxy) == "Proxy('http://proxy.example:8080')"
    client, _ = client_and_warnings(
        {**OFFICIAL, **proxy, "proxy_username": "me@x:", "proxy_password": "p/w:@"}, proxy=None
    )
    assert configuration_of(client).proxy is None
    with pytest.raises(ConfigurationError, match=r"^proxy_address has a colon in its user name"):
        client_and_warnings({**OFFICIAL, **proxy, "proxy_username": "me@x:", "proxy_password": "p/w:@"})
    client, _ = client_and_warnings({**OFFICIAL, **proxy, "proxy_username": "me@x", "proxy_password": "p/w:@"})
    client_proxy = configuration_of(client).proxy
    assert client_proxy is not None
    assert base64.b64decode(client_proxy.headers()["Proxy-Authorization"].partition(" ")[2]) == b"me@x:p/w:@"
    _, notes = client_and_warnings({**OFFICIAL, **proxy, "use_proxy": False})
    assert notes == ["ignored, since use_proxy is not on: proxy_address, proxy_port"]


def test_tls() -> None:
    files = {"client_cert_dir": str(KEYS), "ssl_client_cert": "merchant.crt.pem", "private_key": "merchant.key.pem"}
    client, notes = client_and_warnings({**OFFICIAL, **files, "enable_client_cert": True, "ssl_verify": True})
    assert notes == []
    tls = configuration_of(client).tls
    assert tls is not None
    assert tls.client_certificate == str(KEYS / "merchant.crt.pem")
    client, notes = client_and_warnings({**OFFICIAL, **files})
    assert configuration_of(client).tls is None
    assert notes == [
        "ignored, since enable_client_cert is not on: client_cert_dir, ssl_client_cert, private_key",
    ]
    encrypted = {**files, "ssl_client_cert": "response_mle.crt.pem", "private_key": "response_mle.key.encrypted.pem"}
    config = {**OFFICIAL, **encrypted, "enable_client_cert": True}
    client, _ = client_and_warnings({**config, "ssl_key_password": PEM_PASSWORD})
    assert configuration_of(client).tls is not None
    with pytest.raises(ConfigurationError, match=r"^ssl_key_password is wrong for the key in client_key '"):
        client_and_warnings({**config, "ssl_key_password": CANARY})
    client, _ = client_and_warnings({**OFFICIAL, "ssl_verify": False}, tls=Tls())
    assert configuration_of(client).tls is not None


def test_a_signer_replaces_the_credentials_of_the_dictionary() -> None:
    own = JwtSharedSecret("me", "key", SECRET)
    for config in (OFFICIAL, {**OFFICIAL, "merchant_secretkey": "*"}, {"run_environment": "api.cybersource.com"}):
        client, notes = client_and_warnings(config, auth=own)
        assert signer_of(client) is own
        assert configuration_of(client).host == f"https://{config['run_environment']}"
        assert notes == []


def test_encrypted_responses() -> None:
    client, notes = client_and_warnings({**OFFICIAL, **RESPONSE})
    assert notes == []
    assert encryption_of(client).response_kid == RESPONSE_MLE_KEY_ID
    assert encryption_of(client).operations == set()
    client, _ = client_and_warnings({**OFFICIAL, **RESPONSE, "responseMleKID": "another"})
    assert encryption_of(client).response_kid == "another"
    client, notes = client_and_warnings({**OFFICIAL, **RESPONSE, "enableResponseMleGlobally": False})
    assert configuration_of(client).mle is None
    assert notes == [
        "ignored, since no encrypted responses are requested: responseMlePrivateKeyFilePath, "
        "responseMlePrivateKeyFilePassword"
    ]


def test_a_response_key_as_an_object() -> None:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    class Jwk:
        """Like the key class of jwcrypto, which exports itself as PEM."""

        def export_to_pem(self, private_key: bool, password: bytes | None) -> bytes:
            assert private_key
            assert password is None
            return pem

    pem = (KEYS / "response_mle.key.pem").read_bytes()
    for key in (load_pem_private_key(pem, None), Jwk()):
        config = {
            **OFFICIAL,
            "enableResponseMleGlobally": True,
            "responseMlePrivateKey": key,
            "responseMleKID": RESPONSE_MLE_KEY_ID,
        }
        client, notes = client_and_warnings(config)
        assert notes == []
        assert encryption_of(client).response_kid == RESPONSE_MLE_KEY_ID


ALL = signed_operations()


@pytest.mark.parametrize(
    ("everywhere", "value", "encrypted", "plain"),
    [
        (False, True, True, ALL),
        (True, True, True, set()),
        (True, False, False, set()),
        (True, "TRUE", True, set()),
        (True, "true::false", True, {"get_payment_details"}),
        (True, "::false", False, {"get_payment_details"}),
        (False, "::true", False, ALL - {"get_payment_details"}),
        (False, "false::true", False, ALL - {"get_payment_details"}),
        (True, "true::", True, set()),
        (False, "true::true", True, ALL - {"get_payment_details"}),
        (True, "::", False, set()),
    ],
)
def test_encryption_of_one_operation(everywhere: bool, value: object, encrypted: bool, plain: set[str]) -> None:
    config = {
        **OFFICIAL_P12,
        **RESPONSE,
        "enableResponseMleGlobally": everywhere,
        "mapToControlMLEonAPI": {"get_transaction_for_transient_token_jti": value},
    }
    client, notes = client_and_warnings(config)
    mle = encryption_of(client)
    asks = plain != ALL
    assert (mle.response_kid is not None) == asks
    expected = (set(plain) if asks else set()) | ({"get_payment_details"} if encrypted else set())
    assert mle.operations == expected
    assert (mle.request_certificate_expires_at is not None) == encrypted
    assert [note for note in notes if "encrypted responses" not in note] == []


def test_encryption_of_operations_of_other_apis() -> None:
    control = {"create_payment": True, "get_transaction_for_transient_token": False, "generate_capture_context": False}
    client, notes = client_and_warnings({**OFFICIAL, "mapToControlMLEonAPI": control})
    assert configuration_of(client).mle is None
    assert notes == [
        "ignored in mapToControlMLEonAPI, since these operations belong to other APIs: create_payment, "
        "get_transaction_for_transient_token; to encrypt them in calls of request, pass mle with "
        "encrypt_requests=['POST /a/path']"
    ]


def test_encryption_of_several_operations() -> None:
    control = {
        "generate_capture_context": True,
        "get_transaction_for_transient_token_jti": True,
        "create_payment": True,
    }
    client, notes = client_and_warnings({**OFFICIAL_P12, "mapToControlMLEonAPI": control})
    assert encryption_of(client).operations == {"generate_capture_context", "get_payment_details"}
    assert [note.partition(";")[0] for note in notes] == [
        "ignored in mapToControlMLEonAPI, since these operations belong to other APIs: create_payment"
    ]


def test_source_of_the_request_certificate() -> None:
    control = {"mapToControlMLEonAPI": {"generate_capture_context": "true"}}
    pem = {"mleForRequestPublicCertPath": str(KEYS / "sjc.crt.pem")}
    client, _ = client_and_warnings({**OFFICIAL, **control, **pem, "mleKeyAlias": "cybersource_sjc_us"})
    assert encryption_of(client).operations == {"generate_capture_context"}
    client, _ = client_and_warnings({**OFFICIAL_P12, **control})
    assert encryption_of(client).request_certificate_expires_at is not None
    _, notes = client_and_warnings({**OFFICIAL, **pem})
    assert notes == [
        "ignored, since mapToControlMLEonAPI names no request to encrypt: mleForRequestPublicCertPath",
    ]


@pytest.mark.parametrize("key", [key for key, treatment in CONFIG_KEYS.items() if treatment.action == IGNORED])
def test_ignored_keys_cause_a_warning(key: str) -> None:
    value: object = MERCHANT_ID if key == "merchant_id" else True
    if key == "key_alias":
        _, notes = client_and_warnings({**OFFICIAL, key: "other"})
    else:
        _, notes = client_and_warnings({**OFFICIAL, key: value})
        # No encrypted responses are requested if this is False or not set.
        assert client_and_warnings({**OFFICIAL, key: None})[1] == []
        assert client_and_warnings({**OFFICIAL, key: ""})[1] == []
    assert notes == [f"{key} is ignored: {CONFIG_KEYS[key].detail}"]


def test_a_logging_object_is_ignored() -> None:
    class LogConfiguration:
        def __repr__(self) -> str:
            raise AssertionError("looked at")

    assert len(client_and_warnings({**OFFICIAL, "log_config": LogConfiguration()})[1]) == 1


def test_every_key_of_the_reference_is_handled(reference: Path) -> None:
    reference_page = (reference / "official-config.md").read_text("utf-8")
    tables, _, rest = reference_page.partition("## Keys that old samples carry")
    cells = re.findall(r"^\| (`[^|]*) \|", tables, re.M)
    old = rest.partition("\n## ")[0]
    named = [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]
    named += re.findall(r"`(\w+)`", old)
    assert len(named) > 60
    assert set(named) - set(CONFIG_KEYS) == set()
    assert set(CONFIG_KEYS) - set(named) == {"claim_format"}, "the only key that the official SDK does not have"


@pytest.mark.parametrize("value", [VARIANT, VARIANT._asdict(), {"method_case": "lower", **VARIANT._asdict()}])
@pytest.mark.parametrize("config", [OFFICIAL, OFFICIAL_P12], ids=["shared secret", "P12"])
def test_the_claim_format_in_the_dictionary(config: Mapping[str, Any], value: Any) -> None:
    client, messages = client_and_warnings({**config, "claim_format": value})
    assert signer_of(client).claim_format == VARIANT
    assert messages == []


def test_the_claim_format_is_ignored_without_jwt() -> None:
    config = {**OFFICIAL, "authentication_type": "http_signature", "jwt_key_type": None, "claim_format": VARIANT}
    _, messages = client_and_warnings(config)
    assert messages == ["ignored, since authentication_type is http_signature: claim_format"]


def test_operation_names_of_the_dictionary_exist() -> None:
    assert {ours for ours in OPERATION_NAMES.values() if ours} == signed_operations()


# The documentation.


def rows(heading: str) -> list[list[str]]:
    """The cells of the table that begins with this heading in docs/configuration.md."""
    page = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    table = page[page.index(f"| {heading} |") :].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table]


def test_the_page_has_every_variable() -> None:
    variables = [cell[0] for cell in rows("Variable")]
    assert variables == [f"`{each.full_name}`" + (" (secret)" if each.secret else "") for each in VARIABLES]
    for (_, meaning, goes_with), each in zip(rows("Variable"), VARIABLES, strict=True):
        assert meaning == each.description
        expected = "all" if set(each.schemes) == set(SCHEMES) else ", ".join(f"`{name}`" for name in each.schemes)
        assert goes_with == expected + (f"; needs `{PREFIX}{each.needs}`" if each.needs else "")


def test_the_page_has_every_key() -> None:
    assert rows("Key") == [[f"`{key}`", treatment.action, treatment.detail] for key, treatment in CONFIG_KEYS.items()]
    assert {treatment.action for treatment in CONFIG_KEYS.values()} == {TRANSLATED, REFUSED, IGNORED}


# Secrets are never shown.


def displayed(thing: Any) -> str:
    """Everything that a log or a debugger could show of an object."""
    names = [name for name in dir(type(thing)) if not name.startswith("_")]
    values = [getattr(thing, name, None) for name in names]
    return repr([thing, str(thing), getattr(thing, "__dict__", {}), *values])


def test_no_secret_is_shown_copied_or_pickled() -> None:
    client = FlexClient.from_env(EVERYTHING)
    builders = [builder_from_env(EVERYTHING), builder_from_merchant_config({**OFFICIAL_P12, **RESPONSE})]
    things = [
        client,
        configuration_of(client),
        configuration_of(client).mle,
        configuration_of(client).proxy,
        signer_of(client),
        *builders,
    ]
    for thing in things:
        for secret in (CANARY, P12_PASSWORD, PEM_PASSWORD):
            assert secret not in displayed(thing)
        with pytest.raises(TypeError):
            pickle.dumps(thing)
        with pytest.raises(TypeError):
            copy.deepcopy(thing)
    assert isinstance(builders[0], ClientBuilder)
    assert SECRET not in repr(FlexClient.from_env(SHARED))


def test_a_client_is_immutable() -> None:
    client = FlexClient.from_env(SHARED)
    for name in ("_leeway", "environment", "_api_client"):
        with pytest.raises(AttributeError, match="cannot be changed"):
            setattr(client, name, 1)
    with pytest.raises(AttributeError, match="cannot be changed"):
        del client._leeway
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(client)


SDK_CONSTANTS = [
    ("CyberSource.Environment.SANDBOX", "test"),
    ("CyberSource.Environment.PRODUCTION", "production"),
    ("CyberSource.IN.Environment.SANDBOX", "test"),
    ("CyberSource.IN.Environment.PRODUCTION", "production-india"),
    ("cybersource.environment.sandbox", "test"),
    ("cybersource.environment.production", "production"),
    ("CYBERSOURCE.ENVIRONMENT.SANDBOX", "test"),
    ("CYBERSOURCE.IN.ENVIRONMENT.SANDBOX", "test"),
    ("CYBERSOURCE.IN.ENVIRONMENT.PRODUCTION", "production-india"),
    (" cybersource.environment.sandbox ", "test"),
    ("Environment.SANDBOX", "test"),
]
NEAR_MISSES = [
    ("sandbox", "test"),
    ("Sandbox", "test"),
    ("TEST", "test"),
    ("tset", "test"),
    ("apitest", "test"),
    ("prod", "production"),
    ("PRODUCTION", "production"),
    ("live", "production"),
    ("producton", "production"),
    ("production_india", "production-india"),
    ("test saudi arabia", "test-saudi-arabia"),
]


@pytest.mark.parametrize(("name", "meant"), SDK_CONSTANTS + NEAR_MISSES)
def test_an_error_names_the_environment_that_another_name_means(name: str, meant: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^environment must be .*; did you mean '{meant}'\?$"):
        FlexClient(None, environment=name)
    with pytest.raises(ConfigurationError, match=rf"^CYBERSOURCE_ENVIRONMENT must be .*; did you mean '{meant}'\?$"):
        FlexClient.from_env({**SHARED, "CYBERSOURCE_ENVIRONMENT": name})
    with pytest.raises(ConfigurationError, match=r"^run_environment .*; did you mean ") as caught:
        FlexClient.from_merchant_config({**OFFICIAL, "run_environment": name})
    host = Configuration.ENVIRONMENTS[meant].removeprefix("https://")
    assert str(caught.value).endswith((f"'{host}'?", f"'{meant}'?"))


@pytest.mark.parametrize(("name", "meant"), [*SDK_CONSTANTS[:-2], ("sandbox", "test"), ("prod", "production")])
def test_the_name_of_an_environment_is_not_taken_as_a_host(name: str, meant: str) -> None:
    expected = f"a name for the environment '{meant}', not a host; expected '{Configuration.ENVIRONMENTS[meant]}'"
    for configuration_of in ({"host": name}, {"intermediate_host": name}):
        with pytest.raises(ConfigurationError, match=re.escape(expected)):
            Configuration(**configuration_of)
    with pytest.raises(ConfigurationError, match=r"^IntermediateHost is a name for the environment"):
        FlexClient.from_merchant_config({**OFFICIAL, "IntermediateHost": name})
    if "." in name:
        with pytest.raises(ConfigurationError, match=re.escape(expected)):
            FlexClient(None, environment=f"https://{name}")


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("localhost:9443", "https://localhost:9443"),
        ("localhost", "https://localhost"),
        ("127.0.0.1:9443", "https://127.0.0.1:9443"),
        ("[::1]:9443", "https://[::1]:9443"),
        ("flex-emulator:9443", "https://flex-emulator:9443"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("https://sandbox", "https://sandbox"),
        ("environment.example.com", "https://environment.example.com"),
        ("sandbox.example.com", "https://sandbox.example.com"),
    ],
)
def test_a_host_may_have_no_scheme_and_no_dot(name: str, host: str) -> None:
    clients = (
        FlexClient(None, environment=name),
        FlexClient.from_env({**SHARED, "CYBERSOURCE_ENVIRONMENT": name}),
        FlexClient.from_merchant_config({**OFFICIAL, "run_environment": name}),
    )
    assert [client.api_client.configuration.host for client in clients] == [host] * 3
