"""Programming errors are raised as they are: no `except` takes them for bad input, a failed call or a wrong token.

Each test breaks one thing that this package's code calls, in the way that a mistake in it or a changed library would.
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
from cybersource_flex.emulator import Emulator, Merchant
from cybersource_flex.jose import AsyncKeyCache, KeyCache, PublicKey, primitives
from cybersource_flex.jose.compact import split_jws
from cybersource_flex.transport import Operation, RetryPolicy, telemetry
from cybersource_flex.transport.clock import Clock
from cybersource_flex.transport.retry import retry_after

KEYS = Path(__file__).resolve().parents[1] / "vectors" / "keys"
P12_PASSWORD = "Fake-P12-passw0rd"
FIELDS = fields(card=["number"])
CARD = {"paymentInformation.card.number": "4111111111111111"}
ONCE = RetryPolicy(attempts=1)
BUGS = [TypeError("a bug"), ValueError("a bug"), KeyError("a bug"), AttributeError("a bug")]

Connect = Any


def raising(error: BaseException) -> Callable[..., Any]:
    def call(*_: Any, **__: Any) -> Any:
        raise error

    return call


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator(merchants=[Merchant.generate("shop")]) as running:
        yield running


@pytest.fixture
def client(emulator: Emulator, connect: Connect) -> Iterator[FlexClient]:
    with connect(JwtSharedSecret(**emulator.auth), environment=emulator.url, retry=ONCE) as made:
        yield made


# Models and responses.


@pytest.mark.parametrize("bug", BUGS, ids=repr)
@pytest.mark.parametrize("known", [True, False], ids=["success", "error body"])
def test_decoding_a_response(
    known: bool, bug: Exception, client: FlexClient, api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = client.create_capture_context(FIELDS)
    header = json.loads(base64.urlsafe_b64decode(context.jwt.split(".")[0] + "=="))
    monkeypatch.setattr(Model, "_decode", classmethod(raising(bug)))
    with pytest.raises(type(bug), match="a bug") as caught:
        api(FlexAPIApi, client).get_public_key(header["kid"] if known else "unknown")
    assert caught.value is bug


def test_choosing_the_media_type_of_a_body(monkeypatch: pytest.MonkeyPatch) -> None:
    operation = Operation(
        name="call",
        method="POST",
        path="/x",
        signed=False,
        responses={},
        models="cybersource_flex.models",
        bodies={"application/jwt": "str", "application/json": "JsonWebKey"},
    )
    with pytest.raises(TypeError, match="the body of call must be str"):
        operation._content_type(5)
    broken = SimpleNamespace(check=raising(TypeError("a bug")))
    monkeypatch.setattr("cybersource_flex.transport.operation.converter", lambda *_: broken)
    with pytest.raises(TypeError, match="a bug"):
        operation._content_type("text")


@pytest.mark.parametrize("text", ["Sun, 22 Nov 2026 12:00:00 GMT", "nonsense"])
def test_reading_a_date(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(correct=True).learn(text, sent=0.0, received=0.0)
    retry_after(text, 0.0)
    for module in ("clock", "retry"):
        monkeypatch.setattr(f"cybersource_flex.transport.{module}.parsedate_to_datetime", raising(TypeError("a bug")))
    with pytest.raises(TypeError, match="a bug"):
        Clock(correct=True).learn(text, sent=0.0, received=0.0)
    with pytest.raises(TypeError, match="a bug"):
        retry_after(text, 0.0)


# Tokens and keys.


def test_verifying_a_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    key = PublicKey(json.loads((KEYS / "flex_longterm.jwk.json").read_text("utf-8")))
    header = base64.urlsafe_b64encode(b'{"alg":"RS256"}').decode().rstrip("=")
    jws = split_jws(f"{header}.e30.AAAA", "token")
    with pytest.raises(errors.InvalidSignatureError):
        key.verify(jws, "token")
    # cryptography itself raises this one.
    monkeypatch.setattr(primitives, "_RS256", (object(), SHA256()))
    with pytest.raises(TypeError):
        key.verify(jws, "token")
    key._made = SimpleNamespace(verify=raising(ValueError("a bug")))  # type: ignore[assignment]
    with pytest.raises(ValueError, match="a bug"):
        key.verify(jws, "token")


JWK = json.loads((KEYS / "flex_longterm.jwk.json").read_text("utf-8"))
FORGIVEN = [errors.UnknownKeyError("no"), errors.UnsupportedAlgorithmError("no")]


@pytest.mark.parametrize("error", [*FORGIVEN, *BUGS, errors.ConfigurationError("another event loop")], ids=repr)
@pytest.mark.parametrize("later", [False, True], ids=["threads", "event loop"])
def test_fetching_a_key_anew(later: bool, error: Exception) -> None:
    answers: list[Any] = [{**JWK, "kid": "zz"}, error]

    def fetch(kid: str) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def fetch_later(kid: str) -> Any:
        return fetch(kid)

    async def refreshed() -> tuple[Any, Any]:
        keys = AsyncKeyCache(fetch_later)
        return await keys.get("zz"), await keys.refresh("zz")

    def call() -> tuple[Any, Any]:
        if later:
            return asyncio.run(refreshed())
        keys = KeyCache(fetch)
        return keys.get("zz"), keys.refresh("zz")

    if error in FORGIVEN:
        first, second = call()
        assert first == second
        return
    with pytest.raises(type(error)) as caught:
        call()
    assert caught.value is error


@pytest.mark.parametrize("ending", [TypeError("a bug"), KeyboardInterrupt()], ids=repr)
def test_everyone_who_waits_for_a_key_gets_the_programming_error(
    ending: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = threading.Semaphore(0)

    class Event(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waiting.release()
            return super().wait(timeout)

    def fetch(kid: str) -> Any:
        # All others wait for this thread.
        assert all(waiting.acquire(timeout=20) for _ in range(3))
        raise ending

    monkeypatch.setattr("cybersource_flex.jose.key_cache.threading", SimpleNamespace(Event=Event))
    keys = KeyCache(fetch)
    with ThreadPoolExecutor(4) as pool:
        raised = [each.exception() for each in [pool.submit(keys.get, "zz") for _ in range(4)]]
    assert raised.count(ending) == (4 if isinstance(ending, Exception) else 1)
    # What ends a thread is not for the others.
    others = [each for each in raised if each is not ending]
    assert all(isinstance(each, errors.UnknownKeyError) and "given up" in str(each) for each in others)


@pytest.mark.parametrize("bug", BUGS, ids=repr)
def test_a_key_source_of_the_caller(bug: Exception, emulator: Emulator) -> None:
    keys = SimpleNamespace(get=raising(bug), refresh=raising(bug))
    with FlexClient(JwtSharedSecret(**emulator.auth), environment=emulator.url, keys=keys) as client:
        with pytest.raises(type(bug)) as caught:
            client.create_capture_context(FIELDS)
        assert caught.value is bug


# Credentials.


@pytest.mark.parametrize("password", [5, object(), ["x"], bytearray(b"x")])
def test_a_password_of_another_type_is_named_as_such(password: Any) -> None:
    for make in (
        lambda: JwtP12("acme_flex_test_001", KEYS / "merchant.p12", password),
        lambda: MessageLevelEncryption(
            response_key=KEYS / "response_mle.key.pem", response_kid="1", response_key_password=password
        ),
    ):
        with pytest.raises(errors.ConfigurationError, match="the password must be str or bytes, not "):
            make()


def test_a_password_that_is_not_unicode_is_wrong() -> None:
    with pytest.raises(errors.ConfigurationError, match="the password is wrong: it is not UTF-8"):
        JwtP12("acme_flex_test_001", KEYS / "merchant.p12", b"\xff\xfe")


@pytest.mark.parametrize("bug", [TypeError("takes 2 positional arguments but 3 were given"), KeyError("a bug")])
def test_reading_a_key_file(bug: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cybersource_flex.auth.certificates.load_pkcs12", raising(bug))
    monkeypatch.setattr("cybersource_flex.auth.certificates.load_pem_private_key", raising(bug))
    with pytest.raises(type(bug)):
        JwtP12("acme_flex_test_001", KEYS / "merchant.p12", P12_PASSWORD)
    with pytest.raises(type(bug)):
        MessageLevelEncryption(response_key=KEYS / "response_mle.key.pem", response_kid="1")


class JwcryptoError(Exception):
    """As ``jwcrypto.common.JWException``."""


@pytest.mark.parametrize(
    ("error", "refused"),
    [(JwcryptoError("public"), True), (ValueError("x"), True), (TypeError("x"), False), (AttributeError("x"), False)],
)
def test_a_key_object_of_another_package(error: Exception, refused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
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
    with pytest.raises(errors.ConfigurationError if refused else type(error)) as caught:
        FlexClient.from_merchant_config(config)
    assert ("must be an RSAPrivateKey" in str(caught.value)) == refused


# What the caller's functions raise.


@pytest.mark.parametrize("bug", [*BUGS, OSError("no such file")], ids=repr)
def test_a_signer_of_the_caller(bug: Exception, emulator: Emulator, connect: Connect) -> None:
    signer = SimpleNamespace(sign=raising(bug))
    with connect(signer, environment=emulator.url, retry=ONCE) as client:
        with pytest.raises(type(bug)) as caught:
            client.create_capture_context(FIELDS)
        assert caught.value is bug


def test_facts_of_a_signer_are_contained_and_logged(
    emulator: Emulator, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    class Signer:
        def sign(self, request: Any, now: float) -> dict[str, str]:
            return {"Authorization": "Bearer wrong"}

        def facts(self) -> dict[str, Any]:
            raise RuntimeError("c4n4ry")

    with (
        connect(Signer(), environment=emulator.url, retry=ONCE) as client,
        caplog.at_level(logging.WARNING, logger="cybersource_flex"),
        pytest.raises(errors.AuthenticationError) as caught,
    ):
        client.create_capture_context(FIELDS)
    assert caught.value.report()["facts"]["scheme"] == "custom"
    assert "facts() of Signer failed with RuntimeError" in caplog.messages
    assert "c4n4ry" not in caplog.text


def test_opentelemetry_that_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    operation = Operation(name="call", method="GET", path="/x", signed=False, responses={}, models="")
    monkeypatch.setitem(sys.modules, "opentelemetry", SimpleNamespace())  # type: ignore[arg-type]
    # A module of this package is missing, which is no reason to go on without spans.
    monkeypatch.setitem(sys.modules, "cybersource_flex.transport.otel", None)  # type: ignore[arg-type]
    with pytest.raises(ModuleNotFoundError):
        telemetry.Spans("https://apitest.cybersource.com").call_started(operation)


# The emulator: 500 for what is its own fault, never a 400 that blames the request.


@pytest.mark.parametrize("bug", BUGS, ids=repr)
@pytest.mark.parametrize("broken", ["jose.AESGCM", "operations.validation.flatten"])
def test_the_emulator_blames_itself(
    broken: str, bug: Exception, client: FlexClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = client.create_capture_context(FIELDS)
    monkeypatch.setattr(f"cybersource_flex.emulator.{broken}", raising(bug))
    with pytest.raises(errors.ServerError) as caught:
        client.tokenize(context, CARD)
    assert caught.value.status == 500


def test_the_emulator_blames_itself_for_an_encrypted_request(
    emulator: Emulator, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    mle = MessageLevelEncryption(
        request_certificate=emulator.request_mle_certificate_pem,
        encrypt_requests=["generate_flex_api_capture_context"],
    )
    with connect(JwtSharedSecret(**emulator.auth), environment=emulator.url, mle=mle, retry=ONCE) as client:
        assert client.create_capture_context(FIELDS)
        monkeypatch.setattr(
            "cybersource_flex.emulator.auth.message_encryption.Certificate.of", raising(ValueError("a bug"))
        )
        with pytest.raises(errors.ServerError):
            client.create_capture_context(FIELDS)


def test_the_emulator_does_not_blame_the_scenario(client: FlexClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "cybersource_flex.emulator.faults.scenario_selector.ScenarioSelector.select", raising(ValueError("a bug"))
    )
    with pytest.raises(errors.ServerError):
        client.create_capture_context(FIELDS)


@pytest.mark.parametrize("bug", [TypeError("a bug"), TypeError("takes no keyword arguments")])
def test_a_certificate_for_encrypted_requests(bug: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.mark.parametrize("bug", [*BUGS, RuntimeError("a bug"), ImportError("a bug")], ids=repr)
def test_serving_the_emulator(bug: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cybersource_flex.cli.emulator._write_credentials", raising(bug))
    done = run("emulator", "--port", "0", "--p12", str(tmp_path / "shop.p12"))
    assert done.exception is bug


def test_loading_the_emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    bug = ModuleNotFoundError("No module named 'cybersource_flex.x'", name="cybersource_flex.x")
    monkeypatch.setattr("cybersource_flex.cli.emulator.Emulator", raising(bug))
    assert run("emulator", "--port", "0").exception is bug


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--merchant", "m" * 65], "--merchant has 65 characters; certificates allow 64"),
        (["--portfolio", "p" * 65, "--p12-portfolio", "--p12", "shop.p12"], "--portfolio has 65 characters"),
        (["--merchant", "\udcff"], "--merchant has a character that is not printable"),
        (["--p12", "shop.p12", "--p12-password", "\udcff"], "--p12-password has a character that is not printable"),
    ],
)
def test_names_that_no_certificate_takes(
    options: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("emulator", "--port", "0", *options)
    assert (done.exit_code, done.stdout) == (2, "")
    assert words in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("bug", BUGS, ids=repr)
def test_reading_a_token(bug: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token.jwt").write_text("a.b.c", "utf-8")
    monkeypatch.setattr("cybersource_flex.cli.token_input._decode_text", raising(bug))
    assert run("inspect", str(tmp_path / "token.jwt")).exception is bug


def test_a_token_inside_deep_json() -> None:
    text = '{"a":' * 5000 + '"x"' + "}" * 5000
    done = CliRunner().invoke(cli, ["inspect"], input=text)
    assert done.exception is None or isinstance(done.exception, SystemExit)


def test_a_number_with_thousands_of_digits_in_a_configuration(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"a": ' + "1" * 5000 + "}", "utf-8")
    done = run("doctor", "--offline", "--json", "--config", str(tmp_path / "config.json"))
    assert done.exit_code == 1
    (finding,) = json.loads(done.stdout)["findings"]
    assert finding["message"].endswith("config.json: not JSON")


def test_a_public_key_of_an_unknown_algorithm(tmp_path: Path) -> None:
    key = bytes.fromhex("300a300506032a0304030100")
    pem = f"-----BEGIN PUBLIC KEY-----\n{base64.b64encode(key).decode()}\n-----END PUBLIC KEY-----\n"
    (tmp_path / "key.pem").write_text(pem, "ascii")
    done = run("verify", "--jwk", str(tmp_path / "key.pem"), "e30.e30.AAAA")
    assert done.exit_code == 2
    assert "contains no RSA public key" in done.stderr


def test_explaining_a_report(emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    auth = JwtSharedSecret("shop", key_id="unknown", secret_key=base64.b64encode(bytes(32)).decode())
    with (
        FlexClient(auth, environment=emulator.url, retry=ONCE) as client,
        pytest.raises(errors.AuthenticationError) as caught,
    ):
        client.create_capture_context(FIELDS)
    (tmp_path / "report.json").write_text(json.dumps(caught.value.report()), "utf-8")
    assert run("explain", str(tmp_path / "report.json")).exit_code == 0
    bug = ValueError("a bug")
    monkeypatch.setattr("cybersource_flex.cli.explain.diagnose", raising(bug))
    assert run("explain", str(tmp_path / "report.json")).exception is bug


# The pytest plugin.


def test_a_record_that_cannot_be_searched_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from cybersource_flex.testing import Canaries

    monkeypatch.setattr("cybersource_flex.testing.canaries.render_log_record", raising(TypeError("a bug")))
    with Canaries():
        logging.getLogger("shop").warning("hello")
    assert "TypeError: a bug" in capsys.readouterr().err
