"""No secret, key, token or card data leaks. Each test uses canary values and searches all output for them.

The output is: logs of all libraries, exceptions with the local variables of their frames, pickles, and the data that
OpenTelemetry exports.
"""

from __future__ import annotations

import base64
import json
import secrets
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
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

from cybersource_flex import Configuration, EventHooks, FlexAPIApi, FlexClient, RetryPolicy, Tls, errors, fields
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
from support.servers import LastResponse, RawServer

FIELDS = fields(card=["number", "securityCode", "expirationMonth", "expirationYear"])
ONCE = RetryPolicy(attempts=1)
# Exceptions contain the response in these attributes, which are not searched.
RESPONSE_ATTRIBUTES = ("body", "headers", "data")

# Each makes a call fail in a different way. Those with a delay end with the client's read timeout.
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

ClientClass = type[FlexClient]


@pytest.fixture(autouse=True)
def reset_emulator(emulator: Emulator) -> Iterator[None]:
    yield
    emulator.reset_faults()
    emulator.clear()


@pytest.fixture(autouse=True)
def export_telemetry(monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """Enable OpenTelemetry's SDK. Returns a function that returns everything it would export."""
    spans, metric_reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers, meters = TracerProvider(), MeterProvider([metric_reader])
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    monkeypatch.setattr(trace, "get_tracer", tracers.get_tracer)
    monkeypatch.setattr(metrics, "get_meter", meters.get_meter)

    def export() -> str:
        data = metric_reader.get_metrics_data()
        return "".join(span.to_json() for span in spans.get_finished_spans()) + (data.to_json() if data else "")

    return export


@pytest.fixture(autouse=True)
def asyncio_debug(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make event loops log the callbacks they run, with arguments and results."""
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")


@pytest.fixture
def canaries(export_telemetry: Callable[[], str]) -> Iterator[Canaries]:
    with Canaries() as canaries:
        yield canaries
        canaries.search(export_telemetry(), "the data that OpenTelemetry exports")


def assert_fails(
    canaries: Canaries, call: Callable[[], object], exception_class: type[BaseException] = errors.FlexError
) -> Any:
    """Make a call that fails, search the exception and its traceback, and return the exception."""
    try:
        call()
    except exception_class as error:
        canaries.watch(error, allow=RESPONSE_ATTRIBUTES)
        canaries.search("".join(traceback.format_exception(error)), "the traceback")
        return error
    pytest.fail("nothing was raised")


def card_number(canaries: Canaries) -> str:
    digits = "4" + "".join(secrets.choice("0123456789") for _ in range(14))
    doubled = [int(digit) * (2 if index % 2 == 0 else 1) for index, digit in enumerate(digits)]
    check = -sum(number // 10 + number % 10 for number in doubled) % 10
    return canaries.plant("card number", f"{digits}{check}")


def make_card_data(canaries: Canaries) -> dict[str, dict[str, str]]:
    """Card data as a plain dictionary, whose `repr` contains all of it."""
    return {
        "card": {
            "number": card_number(canaries),
            "securityCode": canaries.plant("security code", "7" + str(secrets.randbelow(90) + 10)),
            "expirationMonth": "12",
            "expirationYear": "2031",
        }
    }


def make_payment(token: Any) -> dict[str, Any]:
    return {
        "tokenInformation": {"transientTokenJwt": token.jwt, "jti": token.jti},
        "orderInformation": {"amountDetails": {"totalAmount": "21.00", "currency": "USD"}},
    }


def signing_arguments(canaries: Canaries, emulator: Emulator, scheme: str) -> dict[str, Any]:
    """Arguments of a client for an authentication scheme. Their secrets are planted as canaries."""
    credentials = emulator.auth
    secret = canaries.plant("shared secret", credentials["secret_key"])
    canaries.plant("shared secret, decoded", base64.b64decode(secret))
    if scheme == "jwt_shared_secret":
        return {"auth": JwtSharedSecret(**credentials)}
    if scheme == "http_signature":
        with pytest.warns(DeprecationWarning, match="retires HTTP Signature"):
            return {"auth": HttpSignature(**credentials)}
    if scheme == "bearer":
        return {"auth": BearerToken(canaries.plant("access token", emulator.issue_access_token()))}
    if scheme == "external":
        import hmac

        key = base64.b64decode(secret)
        sign = lambda message: hmac.digest(key, message, "sha256")  # noqa: E731
        return {"auth": JwtExternalKey(credentials["merchant_id"], credentials["key_id"], sign, algorithm="HS256")}
    password = canaries.secret("password of the P12 file", 12)
    p12 = canaries.plant("P12 file", emulator.make_p12(password))
    auth = JwtP12(credentials["merchant_id"], p12, password)
    if scheme == "jwt_p12":
        return {"auth": auth}
    response = canaries.plant("P12 file of the response key", emulator.make_response_mle_p12(password))
    mle = MessageLevelEncryption(
        request_certificate=emulator.request_mle_certificate_pem,
        encrypt_requests=["generate_flex_api_capture_context", "POST /pts/v2/payments"],
        response_key=response,
        response_key_password=password,
        merchant_id=credentials["merchant_id"],
    )
    return {"auth": auth, "mle": mle}


def plant_sent_credentials(canaries: Canaries, emulator: Emulator) -> None:
    for request in emulator.requests:
        for name, value in request.headers.items():
            if name.lower() in ("authorization", "signature"):
                canaries.plant(f"header {name}", value)


def make_client(
    client_class: ClientClass, canaries: Canaries, emulator: Emulator, scheme: str = "jwt_shared_secret", **options: Any
) -> FlexClient:
    return client_class(**signing_arguments(canaries, emulator, scheme), environment=emulator.url, **options)


@pytest.mark.parametrize("scheme", SIGNERS)
def test_successful_calls(canaries: Canaries, emulator: Emulator, scheme: str, client_class: ClientClass) -> None:
    events: list[object] = []
    hooks = EventHooks(on_attempt=events.append, on_call_end=events.append)
    with make_client(client_class, canaries, emulator, scheme, event_hooks=hooks) as client:
        card_data = make_card_data(canaries)
        context = client.create_capture_context(FIELDS)
        canaries.plant("capture context", context.jwt)
        tokens = [client.tokenize(context, card_data)]
        with Card(
            card_data["card"]["number"], expiration="12/31", security_code=card_data["card"]["securityCode"]
        ) as card:
            tokens.append(client.tokenize(context, card))
            canaries.watch(card)
        for token in tokens:
            canaries.plant("transient token", token.jwt)
            canaries.plant("id of the transient token", token.jti)
            client.payment_details(token)
            canaries.watch(client.request("POST", "/pts/v2/payments", json=make_payment(token)))
            canaries.watch(client.request("GET", f"/flex/v2/payment-details/{token.jti}"))
            canaries.watch(token)
            canaries.watch(client.verify_transient_token(token.jwt, context))
        settings = client.api_client.configuration
        client_object = getattr(client, "wrapped", client)
        parts = (client_object, client.api_client, settings, settings.auth, settings.mle, context, context.key)
        for part in (*parts, *events):
            canaries.watch(part)
        canaries.watch(client.api_client._transport)
    plant_sent_credentials(canaries, emulator)
    assert len(events) >= 8


def test_rejected_arguments_of_a_request(canaries: Canaries, emulator: Emulator, client_class: ClientClass) -> None:
    with make_client(client_class, canaries, emulator) as client:
        token = client.tokenize(client.create_capture_context(FIELDS), make_card_data(canaries))
        jwt, number = canaries.plant("transient token", token.jwt), card_number(canaries)
        secret = canaries.secret("header", 24)
        # A secret that has the form of a header's name.
        name = canaries.plant("name of a header", "q7Zk" * 8)
        base64_secret = canaries.plant("base64 secret", "q7Zk" * 10)
        for arguments in (
            {"path": f"/up/v1/payment-details/{jwt}"},
            {"path": f"/tms/v2/cards/{number}"},
            {"path": f"https://attacker.example/{number}"},
            {"path": f"/x?number={number}"},
            {"params": {"number": number}},
            {"params": {jwt: "x"}},
            {"headers": {"Authorization": secret}},
            {"headers": {"x": f"{secret}\r\n"}},
            {"headers": {secret: "\n"}},
            {"headers": {name: "\n"}},
            {"headers": {name: "a", name.lower(): "b"}},
            {"headers": {name: number}},
            {"headers": {"Accept": number}},
            {"params": {base64_secret: "x"}},
            {"params": {base64_secret: number}},
            {"json": {"number": number}},
            {"retry_safe": number},
            {"method": number},
        ):
            call: dict[str, Any] = {"method": "GET", "path": "/pts/v2/payments", **arguments}
            assert_fails(canaries, lambda call=call: client.request(**call))  # type: ignore[misc]
        assert len(emulator.requests) == 3
    plant_sent_credentials(canaries, emulator)


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("scheme", ["jwt_shared_secret", "mle"])
def test_failed_calls(
    canaries: Canaries, emulator: Emulator, scenario: str, scheme: str, client_class: ClientClass
) -> None:
    with make_client(client_class, canaries, emulator, scheme, read_timeout=0.6, retry=ONCE) as client:
        card_data = make_card_data(canaries)
        context = client.create_capture_context(FIELDS)
        canaries.plant("capture context", context.jwt)
        token = client.tokenize(context, card_data)
        canaries.plant("transient token", token.jwt)
        canaries.plant("id of the transient token", token.jti)
        for call in (
            lambda: client.create_capture_context(FIELDS),
            lambda: client.tokenize(context, card_data),
            lambda: client.payment_details(token.jti),
            # An empty response is a success of other operations.
            *(
                lambda: client.request("POST", "/pts/v2/payments", json=make_payment(token)),
                lambda: client.request("GET", f"/flex/v2/payment-details/{token.jti}"),
            )[: 0 if scenario == "empty-200" else 2],
        ):
            emulator.queue_scenarios([scenario])
            assert_fails(canaries, call)
    plant_sent_credentials(canaries, emulator)


@pytest.mark.parametrize("kind", BROKEN_TOKENS)
def test_malformed_tokens_in_responses(
    canaries: Canaries, emulator: Emulator, kind: str, client_class: ClientClass
) -> None:
    with make_client(client_class, canaries, emulator) as client:
        card_data = make_card_data(canaries)
        context = client.create_capture_context(FIELDS)
        for call in (lambda: client.create_capture_context(FIELDS), lambda: client.tokenize(context, card_data)):
            emulator.queue_scenarios([f"malformed-jwt;kind={kind}"])
            assert_fails(canaries, call, errors.TokenError)


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
def test_invalid_tokens_and_stored_contexts(
    canaries: Canaries, emulator: Emulator, change: Callable[[str], str], client_class: ClientClass
) -> None:
    with make_client(client_class, canaries, emulator) as client:
        context = client.create_capture_context(FIELDS)
        token = client.tokenize(context, make_card_data(canaries))
        canaries.plant("capture context", context.jwt)
        canaries.plant("transient token", token.jwt)
        assert_fails(canaries, lambda: client.verify_capture_context(change(context.jwt)))
        assert_fails(canaries, lambda: client.verify_transient_token(change(token.jwt), context))
        assert_fails(canaries, lambda: verify_transient_token(token.jwt, context, now=4e9))
        stored = canaries.plant("stored context", store_capture_context(context))
        assert_fails(canaries, lambda: client.restore_capture_context(stored[:-9]))


def test_invalid_card_data(canaries: Canaries, emulator: Emulator, client_class: ClientClass) -> None:
    with make_client(client_class, canaries, emulator) as client:
        context = client.create_capture_context(FIELDS)
        card_data = make_card_data(canaries)
        number = card_data["card"]["number"]
        for invalid in (
            {"card": {**card_data["card"], "pin": "1234"}},
            {"card": {"number": number}},
            {"card": {**card_data["card"], "expirationMonth": 12}},
            {"card": {**card_data["card"], "number": number + "\ud800"}},
            {number: number},
        ):
            if number not in invalid:
                assert_fails(canaries, lambda invalid=invalid: client.tokenize(context, invalid))
                assert_fails(canaries, lambda invalid=invalid: encrypt(context, invalid))
        assert_fails(canaries, lambda: Card(number[:-1] + str((int(number[-1]) + 1) % 10), expiration="12/31"))
        assert_fails(canaries, lambda: Card(number, expiration="13/31"))
        assert_fails(canaries, lambda: Card(number, expiration="12/31", security_code="12345"))


def test_invalid_configuration(
    canaries: Canaries, emulator: Emulator, tmp_path: Path, client_class: ClientClass
) -> None:
    secret = canaries.secret("shared secret")
    ids = {"merchant_id": "merchant", "key_id": "f1b2c3d4-0000-4000-8000-000000000000"}
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
    environ = {"CYBERSOURCE_MERCHANT_ID": "merchant", "CYBERSOURCE_KEY_ID": ids["key_id"]}
    config = {"authentication_type": "http_signature", "merchantid": "merchant", "run_environment": "apitest"}
    invalid = canaries.plant("invalid secret", secret[:30] + "!" + secret[31:])
    short = canaries.plant("short secret", secret[:16])
    for call in (
        lambda: JwtSharedSecret(**ids, secret_key=invalid),
        lambda: JwtSharedSecret(**ids, secret_key=short),
        lambda: JwtSharedSecret("", ids["key_id"], secret),
        lambda: JwtSharedSecret(secret + " " + secret, ids["key_id"], secret),
        lambda: HttpSignature(**ids, secret_key=invalid),
        lambda: JwtP12(merchant, p12, password + "x"),
        lambda: JwtP12(merchant, p12[:-20], password),
        lambda: JwtP12("another_merchant", p12, password),
        lambda: BearerToken(f"{secret} {password}"),
        lambda: MessageLevelEncryption(response_key=pem, response_key_password=password, response_kid="kid"),
        lambda: MessageLevelEncryption(response_key=p12, response_key_password=password),
        lambda: MessageLevelEncryption(request_certificate=pem),
        lambda: Tls(client_certificate=file, client_key_password=password),
        lambda: Tls(client_certificate=pem.decode()),
        lambda: Configuration(proxy=f"http://user:{password}/@proxy.example.com"),
        lambda: Configuration(proxy=f"ftp://user:{password}@proxy.example.com"),
        lambda: client_class(None, proxy=f"user:{password}@proxy.example.com"),
        lambda: client_class.from_env({**environ, "CYBERSOURCE_SECRET_KEY": invalid}),
        lambda: client_class.from_env({**environ, "CYBERSOURCE_SECRETKEY": secret}),
        lambda: client_class.from_env(
            {**environ, "CYBERSOURCE_SECRET_KEY": secret, "CYBERSOURCE_P12_PASSWORD": password}
        ),
        lambda: client_class.from_merchant_config(
            {**config, "merchant_secretkey": invalid, "merchant_keyid": ids["key_id"]}
        ),
        lambda: client_class.from_merchant_config({**config, "merchant_secretkey": secret, "key_pas": password}),
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("warnings.warn", lambda *args, **options: None)
            assert_fails(canaries, call, errors.ConfigurationError)


def test_failing_signers(canaries: Canaries, emulator: Emulator, client_class: ClientClass) -> None:
    secret = canaries.secret("secret of a callback")

    def sign(message: bytes) -> bytes:
        key = base64.b64decode(secret)
        raise RuntimeError(f"no module for a key of {len(key)} bytes")

    credentials = emulator.auth
    auth = JwtExternalKey(credentials["merchant_id"], credentials["key_id"], sign, algorithm="HS256")
    with client_class(auth, environment=emulator.url) as client:
        assert_fails(canaries, lambda: client.create_capture_context(FIELDS), RuntimeError)
    token = canaries.secret("malformed token") + " "
    with client_class(BearerToken(lambda: token + token), environment=emulator.url) as client:
        assert_fails(canaries, lambda: client.create_capture_context(FIELDS))


def test_failing_event_hooks(canaries: Canaries, emulator: Emulator, client_class: ClientClass) -> None:
    def fail(event: object) -> None:
        raise RuntimeError("no")

    hooks = EventHooks(on_attempt=fail, on_call_end=fail)
    with make_client(client_class, canaries, emulator, event_hooks=hooks) as client:
        context = client.create_capture_context(FIELDS)
        token = client.tokenize(context, make_card_data(canaries))
        client.payment_details(canaries.plant("id of the transient token", token.jti))
    plant_sent_credentials(canaries, emulator)


@pytest.fixture
def start_server() -> Iterator[Callable[[bytes], RawServer]]:
    """Starts a server that sends the same response to every request, and closes the connection after it."""
    with ExitStack() as servers:
        yield lambda response: servers.enter_context(RawServer(default=LastResponse(response)))


def response(status: str, body: bytes, *headers: bytes) -> bytes:
    lines = [f"HTTP/1.1 {status}".encode(), *headers, b"Connection: close", b"Content-Length: %d" % len(body)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@pytest.mark.parametrize("shape", ["flat", "gateway", "list", "details"])
def test_error_responses_that_contain_request_data(
    canaries: Canaries,
    emulator: Emulator,
    start_server: Callable[[bytes], RawServer],
    shape: str,
    client_class: ClientClass,
) -> None:
    with make_client(client_class, canaries, emulator) as client:
        card_data = make_card_data(canaries)
        context = client.create_capture_context(FIELDS)
        token = client.tokenize(context, card_data)
    number = card_data["card"]["number"]
    canaries.plant("transient token", token.jwt)
    canaries.plant("id of the transient token", token.jti)
    grouped = " ".join(number[at : at + 4] for at in range(0, 16, 4))
    message = f"card {number} ({grouped}) of token {token.jwt} with id {token.jti} is refused"
    body = {
        "flat": {"reason": message, "message": message, "correlationId": token.jti},
        "gateway": {"response": {"rmsg": message}},
        "list": {"responseStatus": {"errors": [{"type": message, "message": message}]}},
        "details": {"reason": "NO", "details": [{"field": token.jti, "reason": message}]},
    }[shape]
    encoded = json.dumps(body).encode()
    header = b"v-c-correlation-id: " + token.jti.encode()
    server = start_server(response("400 Bad " + number, encoded, header))
    with make_client(client_class, canaries, emulator) as client:
        auth = client.api_client.configuration.auth
    with client_class(auth, environment=server.url, retry=ONCE) as other:
        for call in (lambda: other.tokenize(context, card_data), lambda: other.payment_details(token.jti)):
            error = assert_fails(canaries, call, errors.BadRequestError)
            assert token.jti.encode() in error.body


def test_logs_contain_no_paths_of_forwarded_requests_or_malformed_responses(
    canaries: Canaries, start_server: Callable[[bytes], RawServer], client_class: ClientClass
) -> None:
    token_id = canaries.plant("id of the transient token", secrets.token_hex(32))
    ok = start_server(response("200 OK", b"{}", b"Content-Type: application/json"))
    malformed = start_server(response("200 OK", b"{}", b"Content-Type: application/json", b"header without a colon"))
    auth = JwtSharedSecret("merchant", "key", canaries.secret("shared secret"))
    password = canaries.secret("password of the proxy", 12).replace("/", "_").replace("+", "-")
    canaries.plant("password of the proxy, as sent", password)
    pair = canaries.plant("credentials of the proxy", base64.b64encode(f"user:{password}".encode()).decode())
    for server in (ok, malformed):
        for proxy in (None, f"http://user:{password}@127.0.0.1:{server.port}"):
            with client_class(
                auth, environment=server.url, proxy=proxy, proxy_from_environment=False, retry=ONCE
            ) as client:
                if server is malformed:
                    assert_fails(canaries, lambda: client.payment_details(token_id), errors.ConnectionBrokenError)
                else:
                    client.payment_details(token_id)
            sent = server.received[-1].decode()
            assert f"/flex/v2/payment-details/{token_id} " in sent
            assert (pair in sent) is (proxy is not None)


def test_proxies_that_reject_the_credentials(
    canaries: Canaries, start_server: Callable[[bytes], RawServer], client_class: ClientClass
) -> None:
    token_id = canaries.plant("id of the transient token", secrets.token_hex(32))
    password = canaries.plant("password of the proxy", secrets.token_hex(16))
    canaries.plant("credentials of the proxy", base64.b64encode(f"user:{password}".encode()).decode())
    auth = JwtSharedSecret("merchant", "key", canaries.secret("shared secret"))
    for status in ("407 Proxy Authentication Required", "502 Bad Gateway"):
        proxy = f"http://user:{password}@127.0.0.1:{start_server(response(status, b'no')).port}"
        for environment in ("https://api.example.com", "http://127.0.0.1:9"):
            with client_class(auth, environment=environment, proxy=proxy, retry=ONCE) as client:
                assert_fails(canaries, lambda: client.payment_details(token_id))


def test_failed_connections(canaries: Canaries, emulator: Emulator, client_class: ClientClass) -> None:
    token_id = canaries.plant("id of the transient token", secrets.token_hex(32))
    arguments = signing_arguments(canaries, emulator, "mle")
    with Emulator(tls=True) as untrusted:
        for environment in (untrusted.url, emulator.url.replace("http:", "https:"), "http://127.0.0.1:9"):
            with client_class(**arguments, environment=environment, retry=ONCE) as client:
                error = assert_fails(canaries, lambda: client.payment_details(token_id), errors.ConnectionFailedError)
                assert error.outcome == "not_sent"


def test_responses_that_cannot_be_decrypted(canaries: Canaries, emulator: Emulator, client_class: ClientClass) -> None:
    with make_client(client_class, canaries, emulator, "mle", retry=ONCE) as client:
        emulator.queue_scenarios(["mle-wrong-key"])
        assert_fails(canaries, lambda: client.create_capture_context(FIELDS), errors.ResponseDecodingError)
    plant_sent_credentials(canaries, emulator)


def test_calls_of_the_api_classes(
    canaries: Canaries,
    emulator: Emulator,
    make_api_client: Callable[[Configuration], ApiClient],
    api: Callable[..., Any],
) -> None:
    token_id = canaries.plant("id of the transient token", secrets.token_hex(32))
    jwe = canaries.plant("JWE", "eyJ." + ".".join(secrets.token_urlsafe(64) for _ in range(4)))
    configuration = Configuration(
        host=emulator.url, **signing_arguments(canaries, emulator, "jwt_shared_secret"), retry=ONCE
    )
    with make_api_client(configuration) as client:
        flex = api(FlexAPIApi, client)
        assert_fails(canaries, lambda: flex.get_payment_details(token_id))
        assert_fails(canaries, lambda: flex.create_transient_token(jwe))
        assert_fails(canaries, lambda: flex.get_payment_details("."), ValueError)
        assert_fails(canaries, lambda: flex.get_payment_details(token_id, timeout=-1))


def test_exceptions_of_the_caller_keep_their_local_variables(emulator: Emulator, client_class: ClientClass) -> None:
    def raise_error() -> None:
        variable = "kept"
        raise KeyError(variable)

    def verify_while_handling_an_error() -> None:
        try:
            raise_error()
        except KeyError:
            client.verify_capture_context("none")

    with client_class(None, environment=emulator.url) as client, pytest.raises(errors.FlexError) as caught:
        verify_while_handling_an_error()
    outer = caught.value.__context__
    assert isinstance(outer, KeyError)
    assert traceback.TracebackException.from_exception(outer, capture_locals=True).stack[-1].locals == {
        "variable": "'kept'"
    }


def test_the_search_finds_canaries(emulator: Emulator, client_class: ClientClass) -> None:
    """Without this, the other tests could pass because the search finds nothing."""
    canaries = Canaries()
    with make_client(client_class, canaries, emulator) as client:
        context = client.create_capture_context(FIELDS)
    canaries.plant("capture context", context.jwt)
    number = card_number(canaries)
    canaries.watch(errors.InvalidDataError(f"no card {number}"))
    canaries.watch({"context": context.jwt})
    with pytest.raises(CanaryFound) as caught:
        canaries.check()
    message = str(caught.value)
    assert "card number: str() of" in message
    assert "capture context: repr() of a watched dict" in message
    assert number not in message
