"""Secrets, keys, tokens and card data, planted wherever they can come in, and looked for wherever they could come out:
logs of all libraries, exceptions with the variables of their frames, pickles, and what OpenTelemetry exports.
"""

from __future__ import annotations

import base64
import json
import secrets
import threading
import traceback
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from cybersource_flex import Configuration, Events, FlexAPIApi, FlexClient, RetryPolicy, Tls, errors, fields
from cybersource_flex.api_client import ApiClient
from cybersource_flex.auth import (
    BearerToken,
    HttpSignature,
    JwtExternalKey,
    JwtP12,
    JwtSharedSecret,
    MessageLevelEncryption,
)
from cybersource_flex.cards import Card
from cybersource_flex.emulator import Emulator
from cybersource_flex.jose import encrypt, store_capture_context, verify_transient_token
from cybersource_flex.testing import Canaries, CanaryFound

FIELDS = fields(card=["number", "securityCode", "expirationMonth", "expirationYear"])
ONCE = RetryPolicy(attempts=1)
# What the answer was stays reachable, on purpose and by these names alone.
ANSWER = ("body", "headers", "data")

# Each ends a call in another way. Those that wait end with the read timeout of the client.
SCENARIOS = [
    *("status-429;retry-after=1", "status-503;retry-after=1", "status-500", "html-502", "empty-500", "refuse"),
    *("refuse;shape=json", "redirect", "reset-before", "reset-during", "reset-after-request", "truncated"),
    *("wrong-length", "chunked-broken", "chunked-broken;kind=end", "gzip-bomb", "big-body", "latency;seconds=30"),
    *("endless-headers;size=1MiB", "endless-headers;kind=huge;size=1MiB", "html-200", "empty-200"),
    *("undecodable-body;encoding=deflate;status=401", "early-response", "interim;status=101"),
    *("interim;count=10000;seconds=0", "body-not-allowed;status=103"),
]
BROKEN_TOKENS = ["truncated", "two-parts", "bad-base64", "not-json", "none-alg", "wrong-key"]
SIGNERS = ["jwt_shared_secret", "http_signature", "jwt_p12", "bearer", "external", "mle"]

Connect = type[FlexClient]


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


@pytest.fixture(autouse=True)
def well_behaved(emulator: Emulator) -> Iterator[None]:
    yield
    emulator.reset_faults()
    emulator.clear()


@pytest.fixture(autouse=True)
def exported(monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """OpenTelemetry's real SDK listens to every call. Returns what it would export."""
    spans, numbers = InMemorySpanExporter(), InMemoryMetricReader()
    tracers, meters = TracerProvider(), MeterProvider([numbers])
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    monkeypatch.setattr(trace, "get_tracer", tracers.get_tracer)
    monkeypatch.setattr(metrics, "get_meter", meters.get_meter)

    def export() -> str:
        found = numbers.get_metrics_data()
        return "".join(span.to_json() for span in spans.get_finished_spans()) + (found.to_json() if found else "")

    return export


@pytest.fixture(autouse=True)
def talkative(monkeypatch: pytest.MonkeyPatch) -> None:
    """Event loops log whatever they run, with its arguments and results."""
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")


@pytest.fixture
def canaries(exported: Callable[[], str]) -> Iterator[Canaries]:
    with Canaries() as canaries:
        yield canaries
        canaries.search(exported(), "what OpenTelemetry exports")


def fails(canaries: Canaries, call: Callable[[], object], kind: type[BaseException] = errors.FlexError) -> Any:
    """The exception of a call, searched: as it is seen, as Python's own rendering shows it, and as a pickle."""
    try:
        call()
    except kind as error:
        canaries.watch(error, allow=ANSWER)
        canaries.search("".join(traceback.format_exception(error)), "the traceback")
        return error
    pytest.fail("nothing was raised")


def card_number(canaries: Canaries) -> str:
    digits = "4" + "".join(secrets.choice("0123456789") for _ in range(14))
    doubled = [int(digit) * (2 if index % 2 == 0 else 1) for index, digit in enumerate(digits)]
    check = -sum(number // 10 + number % 10 for number in doubled) % 10
    return canaries.plant("card number", f"{digits}{check}")


def data(canaries: Canaries) -> dict[str, dict[str, str]]:
    """Card data as a plain dictionary, which shows all of it to whoever looks."""
    return {
        "card": {
            "number": card_number(canaries),
            "securityCode": canaries.plant("security code", "7" + str(secrets.randbelow(90) + 10)),
            "expirationMonth": "12",
            "expirationYear": "2031",
        }
    }


def signing(canaries: Canaries, emulator: Emulator, scheme: str) -> dict[str, Any]:
    """Arguments of a client that signs in this way, its secrets planted."""
    own = emulator.auth
    secret = canaries.plant("shared secret", own["secret_key"])
    canaries.plant("shared secret, decoded", base64.b64decode(secret))
    if scheme == "jwt_shared_secret":
        return {"auth": JwtSharedSecret(**own)}
    if scheme == "http_signature":
        with pytest.warns(DeprecationWarning, match="retires HTTP Signature"):
            return {"auth": HttpSignature(**own)}
    if scheme == "bearer":
        return {"auth": BearerToken(canaries.plant("access token", emulator.issue_access_token()))}
    if scheme == "external":
        import hmac

        key = base64.b64decode(secret)
        sign = lambda message: hmac.digest(key, message, "sha256")  # noqa: E731
        return {"auth": JwtExternalKey(own["merchant_id"], own["key_id"], sign, algorithm="HS256")}
    password = canaries.secret("password of the P12 file", 12)
    p12 = canaries.plant("P12 file", emulator.make_p12(password))
    auth = JwtP12(own["merchant_id"], p12, password)
    if scheme == "jwt_p12":
        return {"auth": auth}
    response = canaries.plant("P12 file of the response key", emulator.make_response_mle_p12(password))
    mle = MessageLevelEncryption(
        request_certificate=emulator.request_mle_certificate_pem,
        encrypt_requests=["generate_flex_api_capture_context"],
        response_key=response,
        response_key_password=password,
        merchant_id=own["merchant_id"],
    )
    return {"auth": auth, "mle": mle}


def plant_what_was_sent(canaries: Canaries, emulator: Emulator) -> None:
    for request in emulator.requests:
        for name, value in request.headers.items():
            if name.lower() in ("authorization", "signature"):
                canaries.plant(f"header {name}", value)


def client_of(
    connect: Connect, canaries: Canaries, emulator: Emulator, scheme: str = "jwt_shared_secret", **options: Any
) -> FlexClient:
    return connect(**signing(canaries, emulator, scheme), environment=emulator.url, **options)


@pytest.mark.parametrize("scheme", SIGNERS)
def test_nothing_is_seen_of_what_succeeds(
    canaries: Canaries, emulator: Emulator, scheme: str, connect: Connect
) -> None:
    told: list[object] = []
    with client_of(
        connect, canaries, emulator, scheme, events=Events(on_attempt=told.append, on_response=told.append)
    ) as client:
        plain = data(canaries)
        context = client.create_capture_context(FIELDS)
        canaries.plant("capture context", context.jwt)
        tokens = [client.tokenize(context, plain)]
        with Card(plain["card"]["number"], expiration="12/31", security_code=plain["card"]["securityCode"]) as card:
            tokens.append(client.tokenize(context, card))
            canaries.watch(card)
        for token in tokens:
            canaries.plant("transient token", token.jwt)
            canaries.plant("id of the transient token", token.jti)
            client.payment_details(token)
            canaries.watch(token)
            canaries.watch(client.verify_transient_token(token.jwt, context))
        settings = client.api_client.configuration
        itself = getattr(client, "made", client)
        for thing in (itself, client.api_client, settings, settings.auth, settings.mle, context, context.key, *told):
            canaries.watch(thing)
        canaries.watch(client.api_client._transport)
    plant_what_was_sent(canaries, emulator)
    assert len(told) >= 8


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("scheme", ["jwt_shared_secret", "mle"])
def test_nothing_is_seen_of_a_call_that_fails(
    canaries: Canaries, emulator: Emulator, scenario: str, scheme: str, connect: Connect
) -> None:
    with client_of(connect, canaries, emulator, scheme, read_timeout=0.3, retry=ONCE) as client:
        plain = data(canaries)
        context = client.create_capture_context(FIELDS)
        canaries.plant("capture context", context.jwt)
        token = client.tokenize(context, plain)
        canaries.plant("transient token", token.jwt)
        canaries.plant("id of the transient token", token.jti)
        # Again with what the host says to an unsigned call too.
        for call in (
            lambda: client.create_capture_context(FIELDS),
            lambda: client.tokenize(context, plain),
            lambda: client.payment_details(token.jti),
        ):
            emulator.queue_scenarios([scenario])
            fails(canaries, call)
    plant_what_was_sent(canaries, emulator)


@pytest.mark.parametrize("kind", BROKEN_TOKENS)
def test_nothing_is_seen_of_a_token_that_is_none(
    canaries: Canaries, emulator: Emulator, kind: str, connect: Connect
) -> None:
    with client_of(connect, canaries, emulator) as client:
        plain = data(canaries)
        context = client.create_capture_context(FIELDS)
        for call in (lambda: client.create_capture_context(FIELDS), lambda: client.tokenize(context, plain)):
            emulator.queue_scenarios([f"malformed-jwt;kind={kind}"])
            fails(canaries, call, errors.TokenError)


@pytest.mark.parametrize(
    "change",
    [
        lambda jwt: jwt[:-40],
        lambda jwt: jwt + ".more",
        lambda jwt: jwt.replace(".", "!", 1),
        lambda jwt: jwt.partition(".")[0] + "." + base64.b64encode(b"{]").decode().rstrip("=") + ".AAAA",
        lambda jwt: jwt[:-300] + jwt[-300:].swapcase(),
        lambda jwt: jwt * 20,
    ],
)
def test_nothing_is_seen_of_tokens_to_verify(
    canaries: Canaries, emulator: Emulator, change: Callable[[str], str], connect: Connect
) -> None:
    with client_of(connect, canaries, emulator) as client:
        context = client.create_capture_context(FIELDS)
        token = client.tokenize(context, data(canaries))
        canaries.plant("capture context", context.jwt)
        canaries.plant("transient token", token.jwt)
        fails(canaries, lambda: client.verify_capture_context(change(context.jwt)))
        fails(canaries, lambda: client.verify_transient_token(change(token.jwt), context))
        fails(canaries, lambda: verify_transient_token(token.jwt, context, now=4e9))
        stored = canaries.plant("stored context", store_capture_context(context))
        fails(canaries, lambda: client.restore_capture_context(stored[:-9]))


def test_nothing_is_seen_of_data_that_is_refused(canaries: Canaries, emulator: Emulator, connect: Connect) -> None:
    with client_of(connect, canaries, emulator) as client:
        context = client.create_capture_context(FIELDS)
        plain = data(canaries)
        number = plain["card"]["number"]
        for wrong in (
            {"card": {**plain["card"], "pin": "1234"}},
            {"card": {"number": number}},
            {"card": {**plain["card"], "expirationMonth": 12}},
            {"card": {**plain["card"], "number": number + "\ud800"}},
            {number: number},
        ):
            given: Any = wrong
            if number not in given:
                fails(canaries, lambda given=given: client.tokenize(context, given))
                fails(canaries, lambda given=given: encrypt(context, given))
        fails(canaries, lambda: Card(number[:-1] + str((int(number[-1]) + 1) % 10), expiration="12/31"))
        fails(canaries, lambda: Card(number, expiration="13/31"))
        fails(canaries, lambda: Card(number, expiration="12/31", security_code="12345"))


def test_nothing_is_seen_of_a_wrong_configuration(
    canaries: Canaries, emulator: Emulator, tmp_path: Path, connect: Connect
) -> None:
    secret = canaries.secret("shared secret")
    own = {"merchant_id": "merchant", "key_id": "f1b2c3d4-0000-4000-8000-000000000000"}
    password = canaries.secret("password", 15)
    p12 = canaries.plant("P12 file", emulator.make_p12(password))
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = canaries.plant(
        "PEM file",
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"another"),
        ),
    )
    file = tmp_path / "key.pem"
    file.write_bytes(emulator.request_mle_certificate_pem + pem)
    merchant = emulator.auth["merchant_id"]
    environ = {"CYBERSOURCE_MERCHANT_ID": "merchant", "CYBERSOURCE_KEY_ID": own["key_id"]}
    config = {"authentication_type": "http_signature", "merchantid": "merchant", "run_environment": "apitest"}
    bent = canaries.plant("bent secret", secret[:30] + "!" + secret[31:])
    short = canaries.plant("short secret", secret[:16])
    for call in (
        lambda: JwtSharedSecret(**own, secret_key=bent),
        lambda: JwtSharedSecret(**own, secret_key=short),
        lambda: JwtSharedSecret("", own["key_id"], secret),
        lambda: JwtSharedSecret(secret + " " + secret, own["key_id"], secret),
        lambda: HttpSignature(**own, secret_key=bent),
        lambda: JwtP12(merchant, p12, password + "x"),
        lambda: JwtP12(merchant, p12[:-20], password),
        lambda: JwtP12("somebody-else", p12, password),
        lambda: BearerToken(f"{secret} {password}"),
        lambda: MessageLevelEncryption(response_key=pem, response_key_password=password, response_kid="kid"),
        lambda: MessageLevelEncryption(response_key=p12, response_key_password=password),
        lambda: MessageLevelEncryption(request_certificate=pem),
        lambda: Tls(client_certificate=file, client_key_password=password),
        lambda: Tls(client_certificate=pem.decode()),
        lambda: Configuration(proxy=f"http://user:{password}/@proxy.example.com"),
        lambda: Configuration(proxy=f"ftp://user:{password}@proxy.example.com"),
        lambda: connect(None, proxy=f"user:{password}@proxy.example.com"),
        lambda: connect.from_env({**environ, "CYBERSOURCE_SECRET_KEY": bent}),
        lambda: connect.from_env({**environ, "CYBERSOURCE_SECRETKEY": secret}),
        lambda: connect.from_env({**environ, "CYBERSOURCE_SECRET_KEY": secret, "CYBERSOURCE_P12_PASSWORD": password}),
        lambda: connect.from_merchant_config({**config, "merchant_secretkey": bent, "merchant_keyid": own["key_id"]}),
        lambda: connect.from_merchant_config({**config, "merchant_secretkey": secret, "key_pas": password}),
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("warnings.warn", lambda *args, **options: None)
            fails(canaries, call, errors.ConfigurationError)


def test_nothing_is_seen_where_the_signer_fails(canaries: Canaries, emulator: Emulator, connect: Connect) -> None:
    secret = canaries.secret("secret of a callback")

    def sign(message: bytes) -> bytes:
        key = base64.b64decode(secret)
        raise RuntimeError(f"no module for a key of {len(key)} bytes")

    own = emulator.auth
    auth = JwtExternalKey(own["merchant_id"], own["key_id"], sign, algorithm="HS256")
    with connect(auth, environment=emulator.url) as client:
        fails(canaries, lambda: client.create_capture_context(FIELDS), RuntimeError)
    token = canaries.secret("malformed token") + " "
    with connect(BearerToken(lambda: token + token), environment=emulator.url) as client:
        fails(canaries, lambda: client.create_capture_context(FIELDS))


def test_nothing_is_seen_where_an_event_fails(canaries: Canaries, emulator: Emulator, connect: Connect) -> None:
    def failing(event: object) -> None:
        raise RuntimeError("no")

    events = Events(on_attempt=failing, on_response=failing)
    with client_of(connect, canaries, emulator, events=events) as client:
        context = client.create_capture_context(FIELDS)
        token = client.tokenize(context, data(canaries))
        client.payment_details(canaries.plant("id of the transient token", token.jti))
    plant_what_was_sent(canaries, emulator)


class Host(ThreadingHTTPServer):
    """Answers everything with the same bytes, also as a proxy."""

    daemon_threads = True

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.received: list[str] = []
        super().__init__(("127.0.0.1", 0), _Handler)
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        self.address = f"127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Host

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.received.append(f"{self.requestline}\n{self.headers}")
        self.wfile.write(self.server.answer)
        self.close_connection = True

    do_GET = do_POST = do_CONNECT = _answer  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def host() -> Iterator[Callable[[bytes], Host]]:
    hosts: list[Host] = []

    def start(answer: bytes) -> Host:
        hosts.append(Host(answer))
        return hosts[-1]

    yield start
    for each in hosts:
        each.shutdown()
        each.server_close()


def answer(status: str, body: bytes, *headers: bytes) -> bytes:
    lines = [f"HTTP/1.1 {status}".encode(), *headers, b"Connection: close", b"Content-Length: %d" % len(body)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@pytest.mark.parametrize("shape", ["plain", "gateway", "list", "details"])
def test_nothing_is_seen_of_data_that_the_host_repeats(
    canaries: Canaries, emulator: Emulator, host: Callable[[bytes], Host], shape: str, connect: Connect
) -> None:
    with client_of(connect, canaries, emulator) as client:
        plain = data(canaries)
        context = client.create_capture_context(FIELDS)
        token = client.tokenize(context, plain)
    number = plain["card"]["number"]
    canaries.plant("transient token", token.jwt)
    canaries.plant("id of the transient token", token.jti)
    grouped = " ".join(number[at : at + 4] for at in range(0, 16, 4))
    text = f"card {number} ({grouped}) of token {token.jwt} with id {token.jti} is refused"
    body = {
        "plain": {"reason": text, "message": text, "correlationId": token.jti},
        "gateway": {"response": {"rmsg": text}},
        "list": {"responseStatus": {"errors": [{"type": text, "message": text}]}},
        "details": {"reason": "NO", "details": [{"field": token.jti, "reason": text}]},
    }[shape]
    given = json.dumps(body).encode()
    header = b"v-c-correlation-id: " + token.jti.encode()
    echo = host(answer("400 Bad " + number, given, header))
    with client_of(connect, canaries, emulator) as client:
        auth = client.api_client.configuration.auth
    with connect(auth, environment=f"http://{echo.address}", retry=ONCE) as other:
        for call in (lambda: other.tokenize(context, plain), lambda: other.payment_details(token.jti)):
            error = fails(canaries, call, errors.BadRequestError)
            assert token.jti.encode() in error.body


def test_no_path_is_logged_also_where_headers_are_malformed_or_a_proxy_forwards(
    canaries: Canaries, host: Callable[[bytes], Host], connect: Connect
) -> None:
    token_id = canaries.plant("id of the transient token", secrets.token_hex(32))
    ok = host(answer("200 OK", b"{}", b"Content-Type: application/json"))
    bent = host(answer("200 OK", b"{}", b"Content-Type: application/json", b"no colon in this one"))
    auth = JwtSharedSecret("merchant", "key", canaries.secret("shared secret"))
    password = canaries.secret("password of the proxy", 12).replace("/", "_").replace("+", "-")
    canaries.plant("password of the proxy, as sent", password)
    pair = canaries.plant("credentials of the proxy", base64.b64encode(f"user:{password}".encode()).decode())
    for server in (ok, bent):
        for proxy in (None, f"http://user:{password}@{server.address}"):
            with connect(
                auth, environment=f"http://{server.address}", proxy=proxy, proxy_from_environment=False, retry=ONCE
            ) as client:
                if server is bent:
                    fails(canaries, lambda: client.payment_details(token_id), errors.ConnectionBrokenError)
                else:
                    client.payment_details(token_id)
            assert f"/flex/v2/payment-details/{token_id} " in server.received[-1]
            assert (pair in server.received[-1]) is (proxy is not None)


def test_nothing_is_seen_of_credentials_that_a_proxy_refuses(
    canaries: Canaries, host: Callable[[bytes], Host], connect: Connect
) -> None:
    token_id = canaries.plant("id of the transient token", secrets.token_hex(32))
    password = canaries.plant("password of the proxy", secrets.token_hex(16))
    canaries.plant("credentials of the proxy", base64.b64encode(f"user:{password}".encode()).decode())
    auth = JwtSharedSecret("merchant", "key", canaries.secret("shared secret"))
    for status in ("407 Proxy Authentication Required", "502 Bad Gateway"):
        proxy = f"http://user:{password}@{host(answer(status, b'no')).address}"
        for environment in ("https://api.example.com", "http://127.0.0.1:9"):
            with connect(auth, environment=environment, proxy=proxy, retry=ONCE) as client:
                fails(canaries, lambda: client.payment_details(token_id))


def test_nothing_is_seen_where_no_connection_is_made(canaries: Canaries, emulator: Emulator, connect: Connect) -> None:
    token_id = canaries.plant("id of the transient token", secrets.token_hex(32))
    arguments = signing(canaries, emulator, "mle")
    with Emulator(tls=True) as strange:
        for environment in (strange.url, emulator.url.replace("http:", "https:"), "http://127.0.0.1:9"):
            with connect(**arguments, environment=environment, retry=ONCE) as client:
                error = fails(canaries, lambda: client.payment_details(token_id), errors.ConnectionFailedError)
                assert error.outcome == "not_sent"


def test_nothing_is_seen_of_answers_that_cannot_be_decrypted(
    canaries: Canaries, emulator: Emulator, connect: Connect
) -> None:
    with client_of(connect, canaries, emulator, "mle", retry=ONCE) as client:
        emulator.queue_scenarios(["mle-wrong-key"])
        fails(canaries, lambda: client.create_capture_context(FIELDS), errors.ResponseDecodingError)
    plant_what_was_sent(canaries, emulator)


def test_nothing_is_seen_below_the_client(
    canaries: Canaries, emulator: Emulator, connect_api: Callable[[Configuration], ApiClient], api: Callable[..., Any]
) -> None:
    token_id = canaries.plant("id of the transient token", secrets.token_hex(32))
    jwe = canaries.plant("JWE", "eyJ." + ".".join(secrets.token_urlsafe(64) for _ in range(4)))
    configuration = Configuration(host=emulator.url, **signing(canaries, emulator, "jwt_shared_secret"), retry=ONCE)
    with connect_api(configuration) as client:
        flex = api(FlexAPIApi, client)
        fails(canaries, lambda: flex.get_payment_details(token_id))
        fails(canaries, lambda: flex.create_transient_token(jwe))
        fails(canaries, lambda: flex.get_payment_details("."), ValueError)
        fails(canaries, lambda: flex.get_payment_details(token_id, timeout=-1))


def test_the_exception_that_a_caller_handles_is_left_alone(emulator: Emulator, connect: Connect) -> None:
    def theirs() -> None:
        variable = "kept"
        raise KeyError(variable)

    def ours() -> None:
        try:
            theirs()
        except KeyError:
            client.verify_capture_context("none")

    with connect(None, environment=emulator.url) as client, pytest.raises(errors.FlexError) as caught:
        ours()
    outer = caught.value.__context__
    assert isinstance(outer, KeyError)
    assert traceback.TracebackException.from_exception(outer, capture_locals=True).stack[-1].locals == {
        "variable": "'kept'"
    }


def test_the_search_finds_what_is_there(emulator: Emulator, connect: Connect) -> None:
    """Were it blind, all of the above would mean nothing."""
    canaries = Canaries()
    with client_of(connect, canaries, emulator) as client:
        context = client.create_capture_context(FIELDS)
    canaries.plant("capture context", context.jwt)
    number = card_number(canaries)
    canaries.watch(errors.InvalidDataError(f"no card {number}"))
    canaries.watch({"context": context.jwt})
    with pytest.raises(CanaryFound) as caught:
        canaries.check()
    found = str(caught.value)
    assert "card number: str() of" in found
    assert "capture context: repr() of a watched dict" in found
    assert number not in found
