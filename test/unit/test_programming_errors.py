"""Programming errors are raised unchanged: no ``except`` reports them as invalid input, a failed call or a bad token.

Each test replaces a function that this package calls by one that fails, as a bug or a changed library would.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.hashes import SHA256

from cybersource_flex import FlexAPIApi, FlexClient, errors, fields
from cybersource_flex._model import Model
from cybersource_flex.auth import JwtP12, JwtSharedSecret, MessageLevelEncryption
from cybersource_flex.cli.commands import cli
from cybersource_flex.cli.shared.exit_codes import ExitCode
from cybersource_flex.emulator import Emulator, Merchant
from cybersource_flex.jose import AsyncKeyCache, KeyCache, PublicKey, rsa
from cybersource_flex.jose.compact import split_jws
from cybersource_flex.transport import telemetry
from cybersource_flex.transport.clock import Clock
from cybersource_flex.transport.retry import parse_retry_after
from support.keys import LONG_TERM, MERCHANT_ID, P12_PASSWORD, jwk
from support.paths import KEYS
from support.tokens import decode_jwt, encode_part
from support.transports import ONE_ATTEMPT, StubSigner, make_operation

FIELDS = fields(card=["number"])
CARD = {"paymentInformation.card.number": "4111111111111111"}
BUGS = [TypeError("a bug"), ValueError("a bug"), KeyError("a bug"), AttributeError("a bug")]

ClientClass = Any


def raising(error: BaseException) -> Callable[..., Any]:
    def call(*_: Any, **__: Any) -> Any:
        raise error

    return call


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator(merchants=[Merchant.generate("shop")]) as running:
        yield running


@pytest.fixture
def client(emulator: Emulator, client_class: ClientClass) -> Iterator[FlexClient]:
    with client_class(JwtSharedSecret(**emulator.auth), environment=emulator.url, retry=ONE_ATTEMPT) as new_client:
        yield new_client


# Models and responses.


@pytest.mark.parametrize("bug", BUGS, ids=repr)
@pytest.mark.parametrize("success", [True, False], ids=["success", "error body"])
def test_errors_while_decoding_a_response(
    success: bool, bug: Exception, client: FlexClient, api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = client.create_capture_context(FIELDS)
    header, _ = decode_jwt(context.jwt)
    monkeypatch.setattr(Model, "_decode", classmethod(raising(bug)))
    with pytest.raises(type(bug), match="a bug") as caught:
        api(FlexAPIApi, client).get_public_key(header["kid"] if success else "unknown")
    assert caught.value is bug


def test_errors_while_choosing_the_media_type_of_a_body(monkeypatch: pytest.MonkeyPatch) -> None:
    operation = make_operation(body_types={"application/jwt": "str", "application/json": "JsonWebKey"})
    with pytest.raises(TypeError, match="the body of call must be str"):
        operation._content_type(5)
    broken = SimpleNamespace(check=raising(TypeError("a bug")))
    monkeypatch.setattr("cybersource_flex.transport.operation.converter", lambda *_: broken)
    with pytest.raises(TypeError, match="a bug"):
        operation._content_type("text")


@pytest.mark.parametrize("date", ["Sun, 22 Nov 2026 12:00:00 GMT", "nonsense"])
def test_errors_while_parsing_a_date(date: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(correct=True).observe_date(date, sent=0.0, received=0.0)
    parse_retry_after(date, 0.0)
    monkeypatch.setattr("cybersource_flex.transport.clock.parsedate_to_datetime", raising(TypeError("a bug")))
    with pytest.raises(TypeError, match="a bug"):
        Clock(correct=True).observe_date(date, sent=0.0, received=0.0)
    with pytest.raises(TypeError, match="a bug"):
        parse_retry_after(date, 0.0)


# Tokens and keys.


def test_errors_while_verifying_a_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    key = PublicKey(jwk(LONG_TERM, "zz"))
    jws = split_jws(f"{encode_part({'alg': 'RS256'})}.e30.AAAA", "token")
    with pytest.raises(errors.InvalidSignatureError):
        key.verify(jws, "token")
    # cryptography itself raises this one.
    monkeypatch.setattr(rsa, "_RS256", (object(), SHA256()))
    with pytest.raises(TypeError):
        key.verify(jws, "token")
    key._cached_key = SimpleNamespace(verify=raising(ValueError("a bug")))  # type: ignore[assignment]
    with pytest.raises(ValueError, match="a bug"):
        key.verify(jws, "token")


IGNORED = [errors.UnknownKeyError("no"), errors.UnsupportedAlgorithmError("no")]


@pytest.mark.parametrize("error", [*IGNORED, *BUGS, errors.ConfigurationError("another event loop")], ids=repr)
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_errors_while_refreshing_a_key(is_async: bool, error: Exception) -> None:
    results: list[Any] = [jwk(LONG_TERM, "zz"), error]

    def fetch(kid: str) -> Any:
        result = results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    async def fetch_later(kid: str) -> Any:
        return fetch(kid)

    async def refreshed() -> tuple[Any, Any]:
        keys = AsyncKeyCache(fetch_later)
        return await keys.get("zz"), await keys.refresh("zz")

    def call() -> tuple[Any, Any]:
        if is_async:
            return asyncio.run(refreshed())
        keys = KeyCache(fetch)
        return keys.get("zz"), keys.refresh("zz")

    if error in IGNORED:
        first, second = call()
        assert first == second
        return
    with pytest.raises(type(error)) as caught:
        call()
    assert caught.value is error


@pytest.mark.parametrize("error", [TypeError("a bug"), KeyboardInterrupt()], ids=repr)
def test_all_threads_that_wait_for_a_key_get_the_error(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = threading.Semaphore(0)

    class Event(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waiting.release()
            return super().wait(timeout)

    def fetch(kid: str) -> Any:
        # All others wait for this thread.
        assert all(waiting.acquire(timeout=20) for _ in range(3))
        raise error

    monkeypatch.setattr("cybersource_flex.jose.key_cache.threading", SimpleNamespace(Event=Event))
    keys = KeyCache(fetch)
    with ThreadPoolExecutor(4) as pool:
        raised = [each.exception() for each in [pool.submit(keys.get, "zz") for _ in range(4)]]
    assert raised.count(error) == (4 if isinstance(error, Exception) else 1)
    # An exception that ends a thread is not raised in the others.
    others = [each for each in raised if each is not error]
    assert all(isinstance(each, errors.UnknownKeyError) and "was interrupted" in str(each) for each in others)


@pytest.mark.parametrize("bug", BUGS, ids=repr)
def test_errors_of_a_key_source(bug: Exception, emulator: Emulator) -> None:
    keys = SimpleNamespace(get=raising(bug), refresh=raising(bug))
    with FlexClient(JwtSharedSecret(**emulator.auth), environment=emulator.url, keys=keys) as client:
        with pytest.raises(type(bug)) as caught:
            client.create_capture_context(FIELDS)
        assert caught.value is bug


# Credentials.


@pytest.mark.parametrize("password", [5, object(), ["x"], bytearray(b"x")])
def test_a_password_of_another_type_is_rejected(password: Any) -> None:
    for make in (
        lambda: JwtP12(MERCHANT_ID, KEYS / "merchant.p12", password),
        lambda: MessageLevelEncryption(
            response_key=KEYS / "response_mle.key.pem", response_kid="1", response_key_password=password
        ),
    ):
        with pytest.raises(errors.ConfigurationError, match="the password must be str or bytes, not "):
            make()


def test_a_password_that_is_not_utf8_is_rejected() -> None:
    with pytest.raises(errors.ConfigurationError, match="the password is wrong: the bytes are not UTF-8"):
        JwtP12(MERCHANT_ID, KEYS / "merchant.p12", b"\xff\xfe")


@pytest.mark.parametrize("bug", [TypeError("takes 2 positional arguments but 3 were given"), KeyError("a bug")])
def test_errors_while_reading_a_key_file(bug: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cybersource_flex.auth.certificates.load_pkcs12", raising(bug))
    monkeypatch.setattr("cybersource_flex.auth.certificates.load_pem_private_key", raising(bug))
    with pytest.raises(type(bug)):
        JwtP12(MERCHANT_ID, KEYS / "merchant.p12", P12_PASSWORD)
    with pytest.raises(type(bug)):
        MessageLevelEncryption(response_key=KEYS / "response_mle.key.pem", response_kid="1")


class JwcryptoError(Exception):
    """As ``jwcrypto.common.JWException``."""


@pytest.mark.parametrize(
    ("error", "is_rejected"),
    [(JwcryptoError("public"), True), (ValueError("x"), True), (TypeError("x"), False), (AttributeError("x"), False)],
)
def test_errors_of_a_key_object_of_another_package(
    error: Exception, is_rejected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jwcrypto.common", SimpleNamespace(JWException=JwcryptoError))  # type: ignore[arg-type]
    config = {
        "authentication_type": "jwt",
        "jwt_key_type": "SHARED_SECRET",
        "merchantid": "shop",
        "merchant_keyid": "k",
        "merchant_secretkey": base64.b64encode(bytes(32)).decode(),
        "run_environment": "apitest.cybersource.com",
        "enableResponseMleGlobally": True,
        "responseMlePrivateKey": SimpleNamespace(export_to_pem=raising(error)),
        "responseMleKID": "1",
    }
    with pytest.raises(errors.ConfigurationError if is_rejected else type(error)) as caught:
        FlexClient.from_merchant_config(config)
    assert ("must be an RSAPrivateKey" in str(caught.value)) == is_rejected


# Exceptions of the caller's functions.


@pytest.mark.parametrize("bug", [*BUGS, OSError("no such file")], ids=repr)
def test_errors_of_a_signer(bug: Exception, emulator: Emulator, client_class: ClientClass) -> None:
    signer = SimpleNamespace(sign=raising(bug))
    with client_class(signer, environment=emulator.url, retry=ONE_ATTEMPT) as client:
        with pytest.raises(type(bug)) as caught:
            client.create_capture_context(FIELDS)
        assert caught.value is bug


def test_exceptions_of_diagnostic_facts_are_logged(
    emulator: Emulator, client_class: ClientClass, caplog: pytest.LogCaptureFixture
) -> None:
    class Signer(StubSigner):
        def diagnostic_facts(self) -> dict[str, Any]:
            raise RuntimeError("c4n4ry")

    with (
        client_class(Signer({"Authorization": "Bearer wrong"}), environment=emulator.url, retry=ONE_ATTEMPT) as client,
        caplog.at_level(logging.WARNING, logger="cybersource_flex"),
        pytest.raises(errors.AuthenticationError) as caught,
    ):
        client.create_capture_context(FIELDS)
    assert caught.value.report()["facts"]["scheme"] == "custom"
    assert "diagnostic_facts() of Signer failed with RuntimeError" in caplog.messages
    assert "c4n4ry" not in caplog.text


def test_a_missing_module_for_opentelemetry_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", SimpleNamespace())  # type: ignore[arg-type]
    # A missing module of this package is an error, other than a missing OpenTelemetry.
    monkeypatch.setitem(sys.modules, "cybersource_flex.transport.otel", None)  # type: ignore[arg-type]
    with pytest.raises(ModuleNotFoundError):
        telemetry.Tracing("https://apitest.cybersource.com").start_call("call", "GET", "/x")


# The emulator responds to its own errors with 500, never with a 400 that blames the request.


@pytest.mark.parametrize("bug", BUGS, ids=repr)
@pytest.mark.parametrize("broken", ["jose.AESGCM", "operations.validation.flatten"])
def test_an_error_of_the_emulator_is_a_500(
    broken: str, bug: Exception, client: FlexClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = client.create_capture_context(FIELDS)
    monkeypatch.setattr(f"cybersource_flex.emulator.{broken}", raising(bug))
    with pytest.raises(errors.ServerError) as caught:
        client.tokenize(context, CARD)
    assert caught.value.status == 500


def test_an_error_while_decrypting_a_request_is_a_500(
    emulator: Emulator, client_class: ClientClass, monkeypatch: pytest.MonkeyPatch
) -> None:
    mle = MessageLevelEncryption(
        request_certificate=emulator.request_mle_certificate_pem,
        encrypt_requests=["generate_flex_api_capture_context"],
    )
    with client_class(JwtSharedSecret(**emulator.auth), environment=emulator.url, mle=mle, retry=ONE_ATTEMPT) as client:
        assert client.create_capture_context(FIELDS)
        monkeypatch.setattr(
            "cybersource_flex.emulator.auth.message_encryption.Certificate.of", raising(ValueError("a bug"))
        )
        with pytest.raises(errors.ServerError):
            client.create_capture_context(FIELDS)


def test_an_error_while_selecting_a_scenario_is_a_500(client: FlexClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "cybersource_flex.emulator.faults.scenario_selector.ScenarioSelector.select", raising(ValueError("a bug"))
    )
    with pytest.raises(errors.ServerError):
        client.create_capture_context(FIELDS)


@pytest.mark.parametrize("bug", [TypeError("a bug"), TypeError("takes no keyword arguments")])
def test_errors_while_reading_the_certificate_for_encrypted_requests(
    bug: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = (KEYS / "sjc.key.pem").read_bytes(), (KEYS / "sjc.crt.pem").read_bytes()
    assert Emulator(request_mle=pair)
    with pytest.raises(ValueError, match="not a private key in PEM without password"):
        Emulator(request_mle=((KEYS / "response_mle.key.encrypted.pem").read_bytes(), pair[1]))
    monkeypatch.setattr("cybersource_flex.emulator.auth.certificates.serialization.load_pem_private_key", raising(bug))
    with pytest.raises(TypeError) as caught:
        Emulator(request_mle=pair)
    assert caught.value is bug


# The command line.


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


def assert_reported_as_bug(result: Result, bug: Exception) -> None:
    assert result.exit_code == ExitCode.BUG
    assert isinstance(result.exception, SystemExit)
    assert result.exception.__cause__ is bug


@pytest.mark.parametrize("bug", [*BUGS, RuntimeError("a bug"), ImportError("a bug")], ids=repr)
def test_errors_while_starting_the_emulator(bug: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cybersource_flex.cli.emulator.write_credentials", raising(bug))
    assert_reported_as_bug(run("emulator", "--port", "0", "--p12", str(tmp_path / "shop.p12")), bug)


@pytest.mark.parametrize("command", ["emulator", "studio"])
@pytest.mark.parametrize(
    "bug", [*BUGS, ModuleNotFoundError("No module named 'cybersource_flex.x'", name="cybersource_flex.x")], ids=repr
)
def test_errors_while_creating_the_emulator(command: str, bug: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"cybersource_flex.cli.{command}.Emulator", raising(bug))
    assert_reported_as_bug(run(command, "--port", "0"), bug)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--merchant", "m" * 65], "--merchant has 65 characters; expected at most 64"),
        (["--portfolio", "p" * 65, "--p12-portfolio", "--p12", "shop.p12"], "--portfolio has 65 characters"),
        (["--merchant", "\udcff"], "--merchant has a character that is not printable"),
        (["--p12", "shop.p12", "--p12-password", "\udcff"], "--p12-password has a character that is not printable"),
    ],
)
def test_names_that_a_certificate_cannot_contain_are_rejected(
    options: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("emulator", "--port", "0", *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("bug", BUGS, ids=repr)
def test_errors_while_reading_a_token(bug: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token.jwt").write_text("a.b.c", "utf-8")
    monkeypatch.setattr("cybersource_flex.cli.tokens.token_input._decode_text", raising(bug))
    assert_reported_as_bug(run("inspect", str(tmp_path / "token.jwt")), bug)


def test_a_token_in_deeply_nested_json_is_rejected() -> None:
    content = '{"a":' * 5000 + '"x"' + "}" * 5000
    result = CliRunner().invoke(cli, ["inspect"], input=content)
    assert result.exception is None or isinstance(result.exception, SystemExit)


def test_a_number_with_thousands_of_digits_in_a_configuration_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"a": ' + "1" * 5000 + "}", "utf-8")
    result = run("doctor", "--offline", "--json", "--config", str(tmp_path / "config.json"))
    assert result.exit_code == 1
    (finding,) = json.loads(result.stdout)["findings"]
    assert finding["message"].endswith("config.json: the file is not valid JSON")


def test_a_public_key_of_an_unknown_algorithm_is_rejected(tmp_path: Path) -> None:
    key = bytes.fromhex("300a300506032a0304030100")
    pem = f"-----BEGIN PUBLIC KEY-----\n{base64.b64encode(key).decode()}\n-----END PUBLIC KEY-----\n"
    (tmp_path / "key.pem").write_text(pem, "ascii")
    result = run("verify", "--jwk", str(tmp_path / "key.pem"), "e30.e30.AAAA")
    assert result.exit_code == 2
    assert "contains no RSA public key" in result.stderr


def test_errors_while_explaining_a_report(emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    auth = JwtSharedSecret("shop", key_id="unknown", secret_key=base64.b64encode(bytes(32)).decode())
    with (
        FlexClient(auth, environment=emulator.url, retry=ONE_ATTEMPT) as client,
        pytest.raises(errors.AuthenticationError) as caught,
    ):
        client.create_capture_context(FIELDS)
    (tmp_path / "report.json").write_text(json.dumps(caught.value.report()), "utf-8")
    assert run("explain", str(tmp_path / "report.json")).exit_code == 0
    bug = ValueError("a bug")
    monkeypatch.setattr("cybersource_flex.cli.explain.diagnose", raising(bug))
    assert_reported_as_bug(run("explain", str(tmp_path / "report.json")), bug)


# The pytest plugin.


def test_a_record_that_cannot_be_searched_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from cybersource_flex.testing import Canaries

    monkeypatch.setattr("cybersource_flex.testing.canaries.render_log_record", raising(TypeError("a bug")))
    with Canaries():
        logging.getLogger("shop").warning("hello")
    assert "TypeError: a bug" in capsys.readouterr().err
