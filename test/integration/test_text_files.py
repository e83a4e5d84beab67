"""Text files and variables with byte order marks, UTF-16, Windows line ends, or quotation marks around values."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from cybersource_flex import ConfigurationError, FlexClient
from cybersource_flex.auth import JwtP12, JwtSharedSecret, MessageLevelEncryption
from cybersource_flex.auth.certificates import read_source
from cybersource_flex.cli.commands import cli
from cybersource_flex.emulator import Emulator
from cybersource_flex.transport import Tls
from support.merchant_config import merchant_config
from support.tokens import decode_jwt

Encode = Callable[[str], bytes]
# What Windows editors and PowerShell write.
ENCODINGS: dict[str, Encode] = {
    "UTF-8": lambda content: content.encode(),
    "UTF-8 with BOM": lambda content: content.encode("utf-8-sig"),
    "UTF-16": lambda content: b"\xff\xfe" + content.encode("utf-16-le"),
    "UTF-16, big-endian": lambda content: b"\xfe\xff" + content.encode("utf-16-be"),
    "Windows line ends": lambda content: (content + "\n").replace("\n", "\r\n").encode(),
    "two line ends": lambda content: content.encode() + b"\n\n",
}


@pytest.fixture(params=ENCODINGS)
def encode(request: pytest.FixtureRequest) -> Encode:
    return ENCODINGS[request.param]


def test_secrets_in_files(encode: Encode, emulator: Emulator, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(encode(emulator.auth["secret_key"]))
    environ = {**emulator.environ, "CYBERSOURCE_SECRET_KEY_FILE": str(path)}
    del environ["CYBERSOURCE_SECRET_KEY"]
    with FlexClient.from_env(environ) as client:
        assert client.create_microform_context(target_origins=["https://a.example"], allowed_card_networks=["VISA"])


def test_passwords_in_files(encode: Encode, emulator: Emulator, tmp_path: Path) -> None:
    (tmp_path / "password").write_bytes(encode("'p\u00e4ssword'"))
    (tmp_path / "shop.p12").write_bytes(emulator.make_p12("'p\u00e4ssword'"))
    environ = {
        "CYBERSOURCE_AUTH": "jwt_p12",
        "CYBERSOURCE_MERCHANT_ID": emulator.auth["merchant_id"],
        "CYBERSOURCE_P12_PATH": str(tmp_path / "shop.p12"),
        "CYBERSOURCE_P12_PASSWORD_FILE": str(tmp_path / "password"),
    }
    FlexClient.from_env(environ).close()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf\r\n", "is empty"),
        ("secret".encode("utf-16-le"), "is not a text file in UTF-8, or in UTF-16 with a byte order mark"),
        (b"\xffsecret", "is not a text file in UTF-8"),
        (b"secret\nsecret\n", "has more than one line"),
        (b"s" * 100_000, "is larger than 65536 bytes"),
    ],
)
def test_errors_of_files_with_secrets(content: bytes, problem: str, emulator: Emulator, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    environ = {**emulator.environ, "CYBERSOURCE_SECRET_KEY_FILE": str(path)}
    del environ["CYBERSOURCE_SECRET_KEY"]
    with pytest.raises(ConfigurationError) as caught:
        FlexClient.from_env(environ)
    assert str(caught.value).startswith(f"CYBERSOURCE_SECRET_KEY_FILE: the file '{path}' {problem}")


def test_the_configuration_file_of_doctor(encode: Encode, emulator: Emulator, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(encode(json.dumps(merchant_config(emulator), indent=2)))
    result = CliRunner().invoke(cli, ["doctor", "--config", str(path), "--offline"])
    assert result.exit_code == 0, result.output


def test_doctor_says_that_a_file_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes("{}".encode("utf-16-le"))
    result = CliRunner().invoke(cli, ["doctor", "--config", str(path), "--json"])
    assert result.exit_code == 1
    assert "is not a text file in UTF-8, or in UTF-16 with a byte order mark" in result.stdout


def test_keys_and_tokens_on_the_command_line(encode: Encode, emulator: Emulator, tmp_path: Path) -> None:
    with FlexClient(JwtSharedSecret(**emulator.auth), environment=emulator.url) as client:
        context = client.create_microform_context(target_origins=["https://a.example"], allowed_card_networks=["VISA"])
        jwk = client._fetch_key(decode_jwt(context.jwt)[0]["kid"])
    (tmp_path / "key.json").write_bytes(encode(json.dumps(jwk)))
    (tmp_path / "token.jwt").write_bytes(encode(context.jwt))
    result = CliRunner().invoke(cli, ["verify", str(tmp_path / "token.jwt"), "--jwk", str(tmp_path / "key.json")])
    assert result.exit_code == 0, result.output


def test_pem_files(encode: Encode, emulator: Emulator, tmp_path: Path) -> None:
    path = tmp_path / "certificate.pem"
    path.write_bytes(encode(emulator.request_mle_certificate_pem.decode()))
    MessageLevelEncryption(encrypt_requests=["generate_flex_api_capture_context"], request_certificate=path)
    assert read_source(path.read_bytes(), "x").lstrip().startswith(b"-----BEGIN")


@pytest.mark.parametrize("name", ["UTF-8 with BOM", "UTF-16"])
def test_pem_files_that_openssl_would_not_read(name: str, tmp_path: Path) -> None:
    with Emulator(tls=True) as emulator:
        (tmp_path / "ca.pem").write_bytes(ENCODINGS[name](emulator.ca_pem.decode()))
    with pytest.raises(
        ConfigurationError, match=r"^ca_file '.*ca\.pem' begins with a byte order mark \(BOM\); save it in"
    ):
        Tls(ca_file=tmp_path / "ca.pem")


def test_the_input_of_tokenize_in_utf_16(emulator: Emulator, tmp_path: Path) -> None:
    path = tmp_path / "cards.ndjson"
    path.write_bytes(ENCODINGS["UTF-16"]('{"card": {"number": "4111111111111111"}}\n'))
    result = CliRunner().invoke(
        cli, ["tokenize", "--input", str(path), "--output", str(tmp_path / "out")], env=emulator.environ
    )
    assert (result.exit_code, result.stderr) == (2, f"Error: {path} is in UTF-16; save it in UTF-8\n")


@pytest.mark.parametrize("name", ["AUTH", "ENVIRONMENT", "MERCHANT_ID", "KEY_ID", "SECRET_KEY", "READ_TIMEOUT"])
@pytest.mark.parametrize("quote", ['"', "'"])
def test_quotation_marks_around_a_variable(name: str, quote: str, emulator: Emulator) -> None:
    full_name = f"CYBERSOURCE_{name}"
    environ = {"CYBERSOURCE_READ_TIMEOUT": "5", **emulator.environ}
    environ[full_name] = f"{quote}{environ[full_name]}{quote}"
    with pytest.raises(
        ConfigurationError, match=rf"^{full_name} is in quotation marks, .* docker --env-file"
    ) as caught:
        FlexClient.from_env(environ)
    assert emulator.auth["secret_key"] not in str(caught.value)


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
def test_line_ends_of_variables(end: str, emulator: Emulator, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(emulator.auth["secret_key"])
    environ = {"CYBERSOURCE_READ_TIMEOUT": "5", "CYBERSOURCE_MLE_ENCRYPT_REQUESTS": "", **emulator.environ}
    with FlexClient.from_env({name: f"{value}{end}" if value else "" for name, value in environ.items()}) as client:
        assert client.create_microform_context(target_origins=["https://a.example"], allowed_card_networks=["VISA"])
    if end == "\r":
        del environ["CYBERSOURCE_SECRET_KEY"]
        FlexClient.from_env({**environ, "CYBERSOURCE_SECRET_KEY_FILE": f"{tmp_path / 'secret'}{end}"}).close()


def test_a_byte_order_mark_before_a_variable(emulator: Emulator) -> None:
    environ = {**emulator.environ, "\ufeffCYBERSOURCE_LEEWAY": "5"}
    with pytest.raises(ConfigurationError, match=r"its name begins with a byte order mark \(BOM\)"):
        FlexClient.from_env(environ)
    with pytest.raises(ConfigurationError, match=r"^CYBERSOURCE_MERCHANT_ID begins with a byte order mark \(BOM\)"):
        FlexClient.from_env({**emulator.environ, "CYBERSOURCE_MERCHANT_ID": "\ufeffshop"})


@pytest.mark.parametrize("name", ["merchant_id", "key_id", "secret_key"])
@pytest.mark.parametrize(("before", "after", "problem"), [("'", "'", "in quotation marks"), ("\ufeff", "", "(BOM)")])
def test_arguments_and_the_dictionary(name: str, before: str, after: str, problem: str, emulator: Emulator) -> None:
    auth: dict[str, str] = {**emulator.auth}  # type: ignore[dict-item]
    auth[name] = f"{before}{auth[name]}{after}"
    with pytest.raises(ConfigurationError) as caught:
        JwtSharedSecret(**auth)
    assert str(caught.value).startswith(name)
    assert problem in str(caught.value)
    key = {"merchant_id": "merchantid", "key_id": "merchant_keyid", "secret_key": "merchant_secretkey"}[name]
    with pytest.raises(ConfigurationError) as caught:
        FlexClient.from_merchant_config({**merchant_config(emulator), key: auth[name]})
    assert str(caught.value).startswith(key)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    "wrap",
    [lambda content: content, lambda content: b"\n".join(content[i : i + 76] for i in range(0, len(content), 76))],
)
def test_a_p12_file_as_base64_text(wrap: Callable[[bytes], bytes], emulator: Emulator) -> None:
    content = wrap(base64.b64encode(emulator.make_p12("password")))
    with pytest.raises(
        ConfigurationError, match="it is base64 of such a file; decode it, for example with base64 --decode"
    ):
        JwtP12(emulator.auth["merchant_id"], content, "password")
    for other in (b"not a file", b"MIIC", base64.b64encode(b"text")):
        with pytest.raises(ConfigurationError, match=r"is not a PKCS #12 \(\.p12, \.pfx\) file$"):
            JwtP12(emulator.auth["merchant_id"], other, "password")
