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
from cybersource_flex.auth import BearerToken, HttpSignature, JwtP12, JwtSharedSecret, MessageLevelEncryption
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
from cybersource_flex.transport import Settings, Tls

ROOT = Path(__file__).resolve().parents[2]
FILES = ROOT / "test" / "vectors" / "keys"
MERCHANT = "acme_flex_test_001"
PORTFOLIO = "acme_flex_portfolio"
KEY_ID = "5f1c2d3e-4a5b-4c7d-8e9f-0a1b2c3d4e5f"
SECRET = base64.b64encode(b"c4n4ry-of-32-bytes-in-the-secret").decode()
CANARY = "c4n4ry-passw0rd"
P12_PASSWORD = "Fake-P12-passw0rd"
KID = "1795262400777777777777"

SHARED = {"CYBERSOURCE_MERCHANT_ID": MERCHANT, "CYBERSOURCE_KEY_ID": KEY_ID, "CYBERSOURCE_SECRET_KEY": SECRET}
P12 = {
    "CYBERSOURCE_AUTH": "jwt_p12",
    "CYBERSOURCE_MERCHANT_ID": MERCHANT,
    "CYBERSOURCE_P12_PATH": str(FILES / "merchant.p12"),
    "CYBERSOURCE_P12_PASSWORD": P12_PASSWORD,
}
OFFICIAL: dict[str, Any] = {
    "authentication_type": "JWT",
    "jwt_key_type": "SHARED_SECRET",
    "merchantid": MERCHANT,
    "run_environment": "apitest.cybersource.com",
    "merchant_keyid": KEY_ID,
    "merchant_secretkey": SECRET,
}
OFFICIAL_P12: dict[str, Any] = {
    "authentication_type": "Jwt",
    "merchantid": MERCHANT,
    "run_environment": "apitest.cybersource.com",
    "keys_directory": str(FILES),
    "key_file_name": "merchant",
    "key_password": P12_PASSWORD,
}
RESPONSE = {
    "enableResponseMleGlobally": True,
    "responseMlePrivateKeyFilePath": str(FILES / "response_mle.p12"),
    "responseMlePrivateKeyFilePassword": P12_PASSWORD,
}
EVERYTHING = {
    **P12,
    "CYBERSOURCE_ENVIRONMENT": "production",
    "CYBERSOURCE_MLE_ENCRYPT_REQUESTS": "generate_capture_context, generate_flex_api_capture_context",
    "CYBERSOURCE_MLE_RESPONSE_KEY": str(FILES / "response_mle.key.encrypted.pem"),
    "CYBERSOURCE_MLE_RESPONSE_KEY_PASSWORD": "Fake-key-passw0rd",
    "CYBERSOURCE_MLE_RESPONSE_KID": KID,
    "CYBERSOURCE_MLE_UNENCRYPTED_RESPONSES": "get_payment_details",
    "CYBERSOURCE_CLIENT_CERTIFICATE": str(FILES / "merchant.crt.pem"),
    "CYBERSOURCE_CLIENT_KEY": str(FILES / "merchant.key.pem"),
    "CYBERSOURCE_CA_FILE": str(FILES / "fake_ca.crt.pem"),
    "CYBERSOURCE_PROXY": f"http://me:{CANARY}@proxy.example:8080",
    "CYBERSOURCE_INTERMEDIATE_HOST": "gateway.example",
    "CYBERSOURCE_CONNECT_TIMEOUT": "2.5",
    "CYBERSOURCE_READ_TIMEOUT": "12",
    "CYBERSOURCE_USER_AGENT_SUFFIX": "shop/1.2",
    "CYBERSOURCE_JWT_ALGORITHM": "PS256",
}


def settings(client: FlexClient) -> Settings:
    return client.api_client.configuration


def signer(client: FlexClient) -> Any:
    return settings(client).auth


def official(config: Mapping[str, Any], **overrides: Any) -> tuple[FlexClient, list[str]]:
    """The client, and the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        client = FlexClient.from_merchant_config(config, **overrides)
    user_warnings = [each for each in caught if each.category is UserWarning]
    assert all(each.filename == __file__ for each in user_warnings), "a warning points at the line that can be changed"
    return client, [str(each.message) for each in user_warnings]


def encryption(client: FlexClient) -> MessageLevelEncryption:
    mle = settings(client).mle
    assert isinstance(mle, MessageLevelEncryption)
    return mle


# The environment.


def test_shared_secret_variables() -> None:
    client = FlexClient.from_env(SHARED)
    assert isinstance(signer(client), JwtSharedSecret)
    assert (signer(client).merchant_id, signer(client).key_id) == (MERCHANT, KEY_ID)
    assert settings(client).host == "https://apitest.cybersource.com"


def test_os_environ_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name.variable, raising=False)
    for name, value in SHARED.items():
        monkeypatch.setenv(name, value)
    assert signer(FlexClient.from_env()).key_id == KEY_ID


def test_every_variable_sets_its_argument() -> None:
    client = FlexClient.from_env(EVERYTHING)
    client_settings = settings(client)
    assert isinstance(signer(client), JwtP12)
    assert signer(client).algorithm == "PS256"
    assert client_settings.host == "https://api.cybersource.com"
    assert client_settings.base_url == "https://gateway.example"
    assert client_settings.proxy is not None
    assert client_settings.proxy.url == "http://proxy.example:8080"
    assert client_settings.tls is not None
    assert client_settings.tls.client_certificate == EVERYTHING["CYBERSOURCE_CLIENT_CERTIFICATE"]
    assert (client_settings.connect_timeout, client_settings.read_timeout) == (2.5, 12.0)
    assert client_settings.user_agent.endswith(" shop/1.2")
    assert encryption(client).response_kid == KID
    assert encryption(client).operations == {
        "generate_capture_context",
        "generate_flex_api_capture_context",
        "get_payment_details",
    }


def test_the_request_certificate_defaults_to_the_p12() -> None:
    client = FlexClient.from_env({**P12, "CYBERSOURCE_MLE_ENCRYPT_REQUESTS": "generate_capture_context"})
    assert encryption(client).request_certificate_expires_at is not None


def test_a_response_p12_contains_the_key_id() -> None:
    variables = {"KEY": str(FILES / "response_mle.p12"), "KEY_PASSWORD": P12_PASSWORD}
    environ = {**SHARED, **{f"CYBERSOURCE_MLE_RESPONSE_{name}": value for name, value in variables.items()}}
    assert encryption(FlexClient.from_env(environ)).response_kid == KID
    assert encryption(FlexClient.from_env(environ)).response_certificate_expires_at is not None
    environ["CYBERSOURCE_MLE_RESPONSE_KID"] = "another"
    assert encryption(FlexClient.from_env(environ)).response_kid == "another"


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_secrets_in_files(tmp_path: Path, end: str) -> None:
    file = tmp_path / "secret"
    file.write_bytes((SECRET + end).encode())
    environ = {**SHARED, "CYBERSOURCE_SECRET_KEY": "", "CYBERSOURCE_SECRET_KEY_FILE": str(file)}
    assert isinstance(signer(FlexClient.from_env(environ)), JwtSharedSecret)
    file.write_bytes((P12_PASSWORD + end).encode())
    environ = {**P12, "CYBERSOURCE_P12_PASSWORD": "", "CYBERSOURCE_P12_PASSWORD_FILE": str(file)}
    assert isinstance(signer(FlexClient.from_env(environ)), JwtP12)


def test_a_token_in_a_file_is_read_again_when_it_is_renewed(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    client = FlexClient.from_env({"CYBERSOURCE_AUTH": "bearer", "CYBERSOURCE_ACCESS_TOKEN_FILE": str(file)})
    token = signer(client)
    assert isinstance(token, BearerToken)
    request: Any = None
    assert token.sign(request, 0) == {"Authorization": "Bearer first"}
    file.write_text("second\n")
    assert token.sign(request, 0) == {"Authorization": "Bearer first"}
    assert token.renew()
    assert token.sign(request, 0) == {"Authorization": "Bearer second"}


def test_overrides_win_and_replaced_variables_are_ignored() -> None:
    own = JwtSharedSecret("me", "key", SECRET)
    environ = {**P12, "CYBERSOURCE_P12_PASSWORD": "wrong", "CYBERSOURCE_READ_TIMEOUT": "soon"}
    client = FlexClient.from_env(environ, auth=own, read_timeout=7, environment="production")
    assert signer(client) is own
    assert settings(client).read_timeout == 7
    assert settings(client).host == "https://api.cybersource.com"
    with pytest.raises(ConfigurationError, match=r"^host 'x\.example' with http"):
        FlexClient.from_env({**SHARED, "CYBERSOURCE_ENVIRONMENT": "test"}, environment="http://x.example")
    with pytest.raises(TypeError):
        FlexClient.from_env(SHARED, colour="red")  # type: ignore[call-arg]


def test_variables_of_other_tools_are_ignored() -> None:
    foreign = ("FLEX_REFERENCE", "PROFILE_ID", "HOST", "ORG_ID", "LOG_LEVEL", "WEBHOOK_SECRET", "API_KEY")
    client = FlexClient.from_env({**SHARED, **{f"CYBERSOURCE_{name}": "x" for name in foreign}})
    assert signer(client).key_id == KEY_ID
    # Misspelled, but empty.
    FlexClient.from_env({**SHARED, "CYBERSOURCE_MERCHANTID": ""})


@pytest.mark.parametrize("variable", [each.variable for each in VARIABLES])
def test_a_misspelled_variable_is_an_error(variable: str) -> None:
    for misspelled in (variable + "S", variable[:-1], variable.lower()):
        if any(misspelled in (each.variable, f"{each.variable}_FILE") for each in VARIABLES):
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


# The dictionary.


def test_shared_secret() -> None:
    client, notes = official(OFFICIAL)
    assert notes == []
    assert isinstance(signer(client), JwtSharedSecret)
    assert (signer(client).merchant_id, signer(client).key_id) == (MERCHANT, KEY_ID)
    assert settings(client).host == "https://apitest.cybersource.com"


@pytest.mark.filterwarnings("ignore:CyberSource retires HTTP Signature")
def test_http_signature_with_a_meta_key() -> None:
    config = {**OFFICIAL, "authentication_type": "http_signature", "jwt_key_type": None}
    client, notes = official({**config, "use_metakey": "True", "portfolio_id": PORTFOLIO})
    assert notes == []
    assert isinstance(signer(client), HttpSignature)
    assert signer(client).portfolio_id == PORTFOLIO


def test_p12_and_its_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client, notes = official({**OFFICIAL_P12, "key_alias": MERCHANT.upper()})
    assert notes == []
    assert isinstance(signer(client), JwtP12)
    assert signer(client).key_id == "1795262400123456789012"
    # Folder, file name and password have defaults; the password is wrong for this one, so the file was found.
    (tmp_path / "resources").mkdir()
    (tmp_path / "resources" / f"{MERCHANT}.p12").write_bytes((FILES / "merchant.p12").read_bytes())
    monkeypatch.chdir(tmp_path)
    config = {key: OFFICIAL_P12[key] for key in ("authentication_type", "merchantid", "run_environment")}
    with pytest.raises(ConfigurationError, match="the password is wrong"):
        FlexClient.from_merchant_config(config)
    client, _ = official({**config, "key_password": P12_PASSWORD})
    assert signer(client).merchant_id == MERCHANT


def test_p12_with_a_meta_key() -> None:
    config = {**OFFICIAL_P12, "key_file_name": "portfolio", "use_metakey": 1, "portfolio_id": PORTFOLIO}
    client, notes = official(config)
    assert notes == []
    assert signer(client).key_id == "1795262400555555555555"
    assert (signer(client).merchant_id, signer(client).portfolio_id) == (MERCHANT, PORTFOLIO)


def test_oauth() -> None:
    config = {"authentication_type": "OAuth", "run_environment": "apitest.cybersource.com", "access_token": "abc"}
    client, notes = official({**config, "refresh_token": "x", "merchantid": MERCHANT})
    assert isinstance(signer(client), BearerToken)
    assert sorted(note.partition(":")[0] for note in notes) == [
        "ignored, since authentication_type is OAuth",
        "refresh_token is ignored",
    ]


def test_keys_of_another_scheme_are_ignored_with_a_warning() -> None:
    _, notes = official({**OFFICIAL, "key_password": "x", "keys_directory": "y", "portfolio_id": "z"})
    assert notes == [
        "ignored, since authentication_type is JWT with SHARED_SECRET: key_password, keys_directory",
        "ignored, since use_metakey is not on: portfolio_id",
    ]
    _, notes = official({**OFFICIAL_P12, "key_alias": "other"})
    assert notes == [f"key_alias is ignored: {CONFIG_KEYS['key_alias'].detail}"]


def test_hosts() -> None:
    for written in ("api.cybersource.com", "https://api.cybersource.com"):
        client, _ = official({**OFFICIAL, "run_environment": written, "IntermediateHost": "http://127.0.0.1:8080"})
        assert settings(client).host == "https://api.cybersource.com"
        assert settings(client).base_url == "http://127.0.0.1:8080"


def test_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://environment.example:1")
    client, _ = official(OFFICIAL)
    assert settings(client).proxy is None, "the dictionary says all of it"
    client, _ = official(OFFICIAL, proxy_from_environment=True)
    assert "environment.example" in repr(settings(client).proxy)
    proxy = {"use_proxy": "true", "proxy_address": "http://proxy.example", "proxy_port": "8080"}
    for port in ("8080", 8080):
        client, notes = official({**OFFICIAL, **proxy, "proxy_port": port})
        assert notes == []
        assert repr(settings(client).proxy) == "Proxy('http://proxy.example:8080')"
    client, _ = official({**OFFICIAL, **proxy, "proxy_username": "me@x:", "proxy_password": "p/w:@"}, proxy=None)
    assert settings(client).proxy is None
    with pytest.raises(ConfigurationError, match=r"^proxy_address has a colon in its user name"):
        official({**OFFICIAL, **proxy, "proxy_username": "me@x:", "proxy_password": "p/w:@"})
    client, _ = official({**OFFICIAL, **proxy, "proxy_username": "me@x", "proxy_password": "p/w:@"})
    client_proxy = settings(client).proxy
    assert client_proxy is not None
    assert base64.b64decode(client_proxy.headers()["Proxy-Authorization"].partition(" ")[2]) == b"me@x:p/w:@"
    _, notes = official({**OFFICIAL, **proxy, "use_proxy": False})
    assert notes == ["ignored, since use_proxy is not on: proxy_address, proxy_port"]


def test_tls() -> None:
    files = {"client_cert_dir": str(FILES), "ssl_client_cert": "merchant.crt.pem", "private_key": "merchant.key.pem"}
    client, notes = official({**OFFICIAL, **files, "enable_client_cert": True, "ssl_verify": True})
    assert notes == []
    tls = settings(client).tls
    assert tls is not None
    assert tls.client_certificate == str(FILES / "merchant.crt.pem")
    client, notes = official({**OFFICIAL, **files})
    assert settings(client).tls is None
    assert notes == [
        "ignored, since enable_client_cert is not on: client_cert_dir, ssl_client_cert, private_key",
    ]
    client, _ = official({**OFFICIAL, "ssl_verify": False}, tls=Tls())
    assert settings(client).tls is not None


def test_encrypted_responses() -> None:
    client, notes = official({**OFFICIAL, **RESPONSE})
    assert notes == []
    assert encryption(client).response_kid == KID
    assert encryption(client).operations == set()
    client, _ = official({**OFFICIAL, **RESPONSE, "responseMleKID": "another"})
    assert encryption(client).response_kid == "another"
    client, notes = official({**OFFICIAL, **RESPONSE, "enableResponseMleGlobally": False})
    assert settings(client).mle is None
    assert notes == [
        "ignored, since no encrypted responses are requested: responseMlePrivateKeyFilePath, "
        "responseMlePrivateKeyFilePassword"
    ]


def test_a_response_key_as_an_object() -> None:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    class Jwk:
        """As jwcrypto's: it writes itself as PEM."""

        def export_to_pem(self, private_key: bool, password: bytes | None) -> bytes:
            assert private_key
            assert password is None
            return pem

    pem = (FILES / "response_mle.key.pem").read_bytes()
    for key in (load_pem_private_key(pem, None), Jwk()):
        config = {**OFFICIAL, "enableResponseMleGlobally": True, "responseMlePrivateKey": key, "responseMleKID": KID}
        client, notes = official(config)
        assert notes == []
        assert encryption(client).response_kid == KID


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
    client, notes = official(config)
    mle = encryption(client)
    asks = plain != ALL
    assert (mle.response_kid is not None) == asks
    expected = (set(plain) if asks else set()) | ({"get_payment_details"} if encrypted else set())
    assert mle.operations == expected
    assert (mle.request_certificate_expires_at is not None) == encrypted
    assert [note for note in notes if "encrypted responses" not in note] == []


def test_encryption_of_operations_of_other_apis() -> None:
    control = {"create_payment": True, "get_transaction_for_transient_token": False, "generate_capture_context": False}
    client, notes = official({**OFFICIAL, "mapToControlMLEonAPI": control})
    assert settings(client).mle is None
    assert notes == [
        "ignored in mapToControlMLEonAPI, since these operations belong to other APIs: create_payment, "
        "get_transaction_for_transient_token"
    ]


def test_source_of_the_request_certificate() -> None:
    control = {"mapToControlMLEonAPI": {"generate_capture_context": "true"}}
    pem = {"mleForRequestPublicCertPath": str(FILES / "sjc.crt.pem")}
    client, _ = official({**OFFICIAL, **control, **pem, "mleKeyAlias": "cybersource_sjc_us"})
    assert encryption(client).operations == {"generate_capture_context"}
    client, _ = official({**OFFICIAL_P12, **control})
    assert encryption(client).request_certificate_expires_at is not None
    _, notes = official({**OFFICIAL, **pem})
    assert notes == [
        "ignored, since mapToControlMLEonAPI names no request to encrypt: mleForRequestPublicCertPath",
    ]


@pytest.mark.parametrize("key", [key for key, treatment in CONFIG_KEYS.items() if treatment.action == IGNORED])
def test_ignored_keys_cause_a_warning(key: str) -> None:
    value: object = MERCHANT if key == "merchant_id" else True
    if key == "key_alias":
        _, notes = official({**OFFICIAL, key: "other"})
    else:
        _, notes = official({**OFFICIAL, key: value})
        # Switched off, and not set: no encrypted responses are requested.
        assert official({**OFFICIAL, key: None})[1] == []
        assert official({**OFFICIAL, key: ""})[1] == []
    assert notes == [f"{key} is ignored: {CONFIG_KEYS[key].detail}"]


def test_a_logging_object_is_ignored() -> None:
    class LogConfiguration:
        def __repr__(self) -> str:
            raise AssertionError("looked at")

    assert len(official({**OFFICIAL, "log_config": LogConfiguration()})[1]) == 1


def test_every_key_of_the_reference_is_handled(reference: Path) -> None:
    reference_page = (reference / "official-config.md").read_text("utf-8")
    tables, _, rest = reference_page.partition("## Keys that old samples carry")
    cells = re.findall(r"^\| (`[^|]*) \|", tables, re.M)
    old = rest.partition("\n## ")[0]
    named = [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]
    named += re.findall(r"`(\w+)`", old)
    assert len(named) > 60
    assert set(named) - set(CONFIG_KEYS) == set()
    assert set(CONFIG_KEYS) - set(named) == set(), "every key comes from the reference"


def test_operation_names_of_the_dictionary_exist() -> None:
    assert {ours for ours in OPERATION_NAMES.values() if ours} == signed_operations()


# The pages.


def rows(heading: str) -> list[list[str]]:
    """The cells of the table that begins with this heading in docs/configuration.md."""
    page = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    table = page[page.index(f"| {heading} |") :].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table]


def test_the_page_has_every_variable() -> None:
    variables = [cell[0] for cell in rows("Variable")]
    assert variables == [f"`{each.variable}`" + (" (secret)" if each.secret else "") for each in VARIABLES]
    for (_, meaning, goes_with), each in zip(rows("Variable"), VARIABLES, strict=True):
        assert meaning == each.description
        expected = "all" if set(each.schemes) == set(SCHEMES) else ", ".join(f"`{name}`" for name in each.schemes)
        assert goes_with == expected + (f"; needs `{PREFIX}{each.needs}`" if each.needs else "")


def test_the_page_has_every_key() -> None:
    assert rows("Key") == [[f"`{key}`", treatment.action, treatment.detail] for key, treatment in CONFIG_KEYS.items()]
    assert {treatment.action for treatment in CONFIG_KEYS.values()} == {TRANSLATED, REFUSED, IGNORED}


# Secrets are never shown.


def displayed(thing: Any) -> str:
    """What a log line or a dump of an object would have."""
    names = [name for name in dir(type(thing)) if not name.startswith("_")]
    values = [getattr(thing, name, None) for name in names]
    return repr([thing, str(thing), getattr(thing, "__dict__", {}), *values])


def test_no_secret_is_shown_copied_or_pickled() -> None:
    client = FlexClient.from_env(EVERYTHING)
    builders = [builder_from_env(EVERYTHING), builder_from_merchant_config({**OFFICIAL_P12, **RESPONSE})]
    things = [client, settings(client), settings(client).mle, settings(client).proxy, signer(client), *builders]
    for thing in things:
        for secret in (CANARY, P12_PASSWORD, "Fake-key-passw0rd"):
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
