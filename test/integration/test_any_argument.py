"""Public functions accept any argument of any type: they return, or raise a ``FlexError``."""

from __future__ import annotations

import asyncio
import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

from cybersource_flex import (
    AddressError,
    ApiClient,
    AsyncFlexClient,
    CaptureContext,
    Configuration,
    ConfigurationError,
    EmulatorError,
    EventHooks,
    FlexAPIApi,
    FlexClient,
    FlexError,
    InvalidArgumentError,
    InvalidArgumentTypeError,
    MicroformIntegrationApi,
    RetryPolicy,
    ServerError,
    Tls,
    TransientToken,
    fields,
    models,
)
from cybersource_flex.aio import AsyncApiClient
from cybersource_flex.auth import (
    BearerToken,
    HttpSignature,
    JwtClaimFormat,
    JwtExternalKey,
    JwtP12,
    JwtSharedSecret,
    MessageLevelEncryption,
)
from cybersource_flex.cards import Card, card_types, is_luhn_valid, normalize_expiry
from cybersource_flex.client.config.env_variables import VARIABLES
from cybersource_flex.client.config.merchant_config_keys import CONFIG_KEYS
from cybersource_flex.emulator import Emulator, Merchant
from cybersource_flex.testing import Canaries, TokenFactory
from cybersource_flex.transport import Transport
from support.merchant_config import merchant_config

CARD = {"card": {"number": "4111111111111111"}}
ANY: list[Any] = [
    *(None, True, 0, -1, 10**40, 10**5000, 1.5, float("nan"), 1e300, object(), Ellipsis, type),
    *("", "x", "..", "a/b", "\0", "\ud800", "\u0661", "a" * 100_000, b"", b"x", b"\xff"),
    *([], [None], ["\ud800"], [b"x"], ("x",), set(), {}, {"a": None}, {None: 1}, {"a": float("nan")}),
]


class Setup(NamedTuple):
    emulator: Emulator
    client: FlexClient
    context: CaptureContext
    token: TransientToken
    key: RSAPrivateKey


@pytest.fixture(scope="module")
def setup() -> Iterator[Setup]:
    with Emulator() as emulator, FlexClient(JwtSharedSecret(**emulator.auth), environment=emulator.url) as client:
        context = client.create_capture_context(fields(card=["number"]))
        yield Setup(emulator, client, context, client.tokenize(context, CARD), generate_private_key(65537, 2048))


def check(name: str, call: Callable[[], object]) -> None:
    """Call a function. Fails for exceptions that are not a ``FlexError``, panics of extensions included."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = call()
            if inspect.isgenerator(result):
                list(result)
    except FlexError:
        return
    except BaseException as error:
        pytest.fail(f"{name}: {type(error).__name__}: {str(error)[:200]}")


def check_arguments(function: Callable[..., Any], valid: Mapping[str, Any], *, skip: tuple[str, ...] = ()) -> None:
    """Call a function with each value of ``ANY`` for each of its parameters, the others being valid."""
    for name, parameter in inspect.signature(function).parameters.items():
        if name in skip or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        for value in ANY:
            arguments = {**valid, name: value}
            positional = [
                arguments.pop(each.name)
                for each in inspect.signature(function).parameters.values()
                if each.kind is each.POSITIONAL_ONLY and each.name in arguments
            ]
            literal = "10**5000" if isinstance(value, int) and value > 10**50 else repr(value)[:40]
            check(f"{function}({name}={literal})", lambda p=positional, a=arguments: function(*p, **a))  # type: ignore[misc]


def valid_arguments(setup: Setup) -> dict[str, dict[str, Any]]:
    return {
        "create_capture_context": {"fields": fields(card=["number"])},
        "create_microform_context": {"target_origins": ["https://a.example"], "allowed_card_networks": ["VISA"]},
        "verify_capture_context": {"jwt": setup.context.jwt},
        "tokenize": {"context": setup.context, "data": CARD},
        "tokenize_many": {"items": [CARD]},
        "verify_transient_token": {"jwt": setup.token.jwt, "context": setup.context},
        "payment_details": {"token": setup.token.jti},
        "payment_credentials": {"reference": "E-firqlLk7GiziQwXxAsq", "private_key": setup.key},
        "store_capture_context": {"context": setup.context, "key": "a key of the shop"},
        "restore_capture_context": {"stored": setup.client.store_capture_context(setup.context)},
        "verify_posted_token": {"posted": setup.token.jwt, "stored": setup.client.store_capture_context(setup.context)},
        "request": {"method": "POST", "path": "/pts/v2/payments", "json": payment(setup.token)},
    }


def payment(token: TransientToken) -> dict[str, Any]:
    return {
        "tokenInformation": {"transientTokenJwt": token.jwt},
        "orderInformation": {"amountDetails": {"totalAmount": "21.00", "currency": "USD"}},
    }


# Constructors and `close` are not called here. The others are found, so that new methods are tested too.
METHODS = sorted(
    name
    for name in dir(FlexClient)
    if not name.startswith("_")
    and callable(getattr(FlexClient, name))
    and name not in ("close", "from_env", "from_merchant_config")
)


@pytest.mark.parametrize("method", METHODS)
def test_methods_of_the_client(method: str, setup: Setup) -> None:
    # `progress` is a function of the caller, whose exceptions propagate.
    check_arguments(getattr(setup.client, method), valid_arguments(setup).get(method, {}), skip=("progress",))


@pytest.mark.parametrize("method", METHODS)
def test_methods_of_the_async_client(method: str, setup: Setup) -> None:
    async def call_all() -> None:
        auth = JwtSharedSecret(**setup.emulator.auth)
        async with AsyncFlexClient(auth, environment=setup.emulator.url) as client:
            function = getattr(client, method)
            for name in inspect.signature(function).parameters:
                for value in ANY if name != "progress" else []:
                    arguments = {**valid_arguments(setup).get(method, {}), name: value}
                    try:
                        result = function(**arguments)
                        if hasattr(result, "__aiter__"):
                            async for _ in result:
                                pass
                        elif inspect.isawaitable(result):
                            await result
                    except FlexError:
                        pass
                    except Exception as error:
                        pytest.fail(f"{method}({name}={type(value)}): {type(error).__name__}: {str(error)[:200]}")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        asyncio.run(call_all())


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_parts_of_a_request(method: str, setup: Setup) -> None:
    request = setup.client.request
    for value in ANY:
        for body in ({"a": value}, {"a": {"b": [value]}}, [value]):
            check(f"json={type(value)}", lambda b=body: request(method, "/pts/v2/payments", json=b))  # type: ignore[misc]
        for name in ("a", value) if not isinstance(value, (list, set, dict)) else ("a",):
            for each in (value, [value], "x"):
                check("params", lambda n=name, e=each: request("GET", "/pts/v2/payments", params={n: e}))  # type: ignore[misc]
                check("headers", lambda n=name, e=each: request("GET", "/pts/v2/payments", headers={n: e}))  # type: ignore[misc]
        if isinstance(value, str):
            for path in (f"/{value}", f"/pts/{value}", f"/pts/{value}/v2", f"{value}/pts"):
                check("path", lambda p=path: request(method, p, json=None if method in ("GET", "DELETE") else {}))  # type: ignore[misc]


def test_payments_of_the_emulator_with_any_value(setup: Setup) -> None:
    """The emulator responds to a body with any value anywhere, and never with an internal error."""
    groups = ("tokenInformation", "orderInformation", "clientReferenceInformation")
    for value in ANY:
        bodies = [payment(setup.token) | {group: value} for group in groups]
        bodies += [payment(setup.token) | {"tokenInformation": {name: value}} for name in ("jti", "transientTokenJwt")]
        bodies += [payment(setup.token) | {"clientReferenceInformation": {"code": value}}]
        for amount in (value, {"totalAmount": value, "currency": "USD"}, {"totalAmount": "1", "currency": value}):
            bodies.append(payment(setup.token) | {"orderInformation": {"amountDetails": amount}})
        for body in bodies:
            try:
                setup.client.request("POST", "/pts/v2/payments", json=body)
            except ServerError as error:
                pytest.fail(f"{type(value)}: {error}")
            except FlexError:
                pass


def test_arguments_of_a_microform_context(setup: Setup) -> None:
    context = setup.client.create_microform_context(
        target_origins=["https://shop.example.com"], allowed_card_networks=["VISA"]
    )
    check_arguments(context.script_tag, {})
    check("csp_sources", context.csp_sources)
    check("script_tag", setup.context.script_tag)
    check("csp_sources", setup.context.csp_sources)


@pytest.mark.parametrize("api", [FlexAPIApi, MicroformIntegrationApi])
def test_methods_of_the_generated_apis(api: Any, setup: Setup) -> None:
    check_arguments(api, {})
    instance = api(setup.client.api_client)
    for method in (name for name in dir(api) if not name.startswith("_") and name != "api_client"):
        function = getattr(instance, method)
        valid = {
            name: "zu" if parameter.annotation == "str" else models.GenerateCaptureContextRequest()
            for name, parameter in inspect.signature(function).parameters.items()
            if parameter.default is parameter.empty
        }
        check_arguments(function, valid)


@pytest.mark.parametrize("client_type", [FlexClient, AsyncFlexClient])
def test_arguments_of_the_clients(client_type: Any, setup: Setup) -> None:
    check_arguments(client_type, {"auth": JwtSharedSecret(**setup.emulator.auth), "environment": setup.emulator.url})
    check_arguments(client_type.from_env, {"environ": setup.emulator.environ})
    check_arguments(client_type.from_merchant_config, {})
    for value in ANY:
        check("unknown", lambda value=value: client_type(None, hots=value))  # type: ignore[misc]
        for option in inspect.signature(client_type).parameters:
            check(f"with_options({option})", lambda o=option, v=value: setup.client.with_options(**{o: v}))  # type: ignore[misc]


def test_environment_variables(setup: Setup) -> None:
    for variable in VARIABLES:
        for name in (variable.full_name, *([f"{variable.full_name}_FILE"] if variable.secret else [])):
            for value in ANY:
                environ = {**setup.emulator.environ, name: value}
                if name.endswith("_FILE"):
                    environ.pop(variable.full_name, None)
                check(f"from_env({name})", lambda environ=environ: FlexClient.from_env(environ))  # type: ignore[misc]


def test_the_dictionary_of_the_official_sdk(setup: Setup) -> None:
    config = merchant_config(setup.emulator)
    switched_on = {
        "use_metakey": True,
        "portfolio_id": "p",
        "use_proxy": True,
        "proxy_address": "http://127.0.0.1",
        "proxy_username": "u",
        "proxy_password": "p",
        "enable_client_cert": True,
        "client_cert_dir": "/nowhere",
        "ssl_client_cert": "x",
        "private_key": "y",
        "enableResponseMleGlobally": True,
        "responseMlePrivateKeyFilePath": "/nowhere/x.pem",
    }
    for key in CONFIG_KEYS:
        for value in ANY:
            for others in ({}, switched_on, {"jwt_key_type": "P12"}, {"authentication_type": "OAUTH"}):
                merged = {**config, **others, key: value}
                check(f"{key}", lambda merged=merged: FlexClient.from_merchant_config(merged))  # type: ignore[misc]


def client_certificate(folder: Path) -> dict[str, Any]:
    """Arguments of ``Tls`` with a client certificate and its encrypted key."""
    with Emulator(tls=True, client_certificates="optional") as emulator:
        certificate, pem = emulator.issue_client_certificate("client")
    encryption = serialization.BestAvailableEncryption(b"password")
    private_key = serialization.load_pem_private_key(pem, None)
    pem = private_key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    (folder / "cert.pem").write_bytes(certificate)
    (folder / "key.pem").write_bytes(pem)
    return {
        "client_certificate": folder / "cert.pem",
        "client_key": folder / "key.pem",
        "client_key_password": "password",
    }


def test_arguments_of_constructors(setup: Setup, tmp_path: Path) -> None:
    auth = setup.emulator.auth
    p12 = setup.emulator.make_p12("password")
    check_arguments(JwtSharedSecret, auth)
    check_arguments(HttpSignature, auth)
    check_arguments(JwtP12, {"merchant_id": auth["merchant_id"], "p12": p12, "password": "password"})
    check_arguments(BearerToken, {"token": "x"})
    check_arguments(JwtExternalKey, {"merchant_id": "m", "key_id": "k", "sign": lambda data: b""})
    check_arguments(JwtClaimFormat, {})
    check_arguments(MessageLevelEncryption, {"response_key": setup.key, "response_kid": "x"})
    check_arguments(
        MessageLevelEncryption,
        {"response_key": setup.emulator.make_response_mle_p12("p"), "response_key_password": "p", "merchant_id": "m"},
    )
    for function in (Configuration, RetryPolicy, Tls, EventHooks, ApiClient, AsyncApiClient):
        check_arguments(function, {})
    check_arguments(Tls, client_certificate(tmp_path))
    check_arguments(Transport, {})


def test_arguments_of_fields_and_cards() -> None:
    check_arguments(fields, {"card": ["number"]})
    check_arguments(Card, {"number": CARD["card"]["number"]})
    check_arguments(Card(CARD["card"]["number"]).to_data, {})
    check_arguments(card_types, {"number": CARD["card"]["number"]})
    check_arguments(is_luhn_valid, {})
    check_arguments(normalize_expiry, {"expiration": "1/31"})
    for value in ANY:
        check("plant", lambda value=value: Canaries().plant("a value", value) if isinstance(value, str) else None)  # type: ignore[misc]


def test_arguments_of_the_token_factory() -> None:
    check_arguments(TokenFactory, {})
    factory = TokenFactory()
    for name in (
        "capture_context",
        "microform_context",
        "transient_token",
        "payment_credentials",
        "tampered",
        "foreign",
    ):
        check_arguments(getattr(factory, name), {})


def test_arguments_of_models() -> None:
    for name in models.__all__:
        model = getattr(models, name)
        if not (isinstance(model, type) and hasattr(model, "from_dict")):
            continue
        check_arguments(model, {})
        for function in (model.from_dict, model.from_json):
            check_arguments(function, {})
        for value in ANY:
            check(f"{name}.to_json", lambda m=model, v=value: m.from_dict({"unknownMember": v}).to_json())  # type: ignore[misc]


def test_names_and_values_of_captured_data(setup: Setup) -> None:
    for value in ANY:
        for data in ({"card": {"number": value}}, {"card": value}, {"orderInformation": {"billTo": value}}):
            check(f"tokenize({data.keys()})", lambda data=data: setup.client.tokenize(setup.context, data))  # type: ignore[misc]
        if isinstance(value, (list, set, dict)):
            continue
        for data in ({value: "x"}, {"card": {value: "x"}}):
            check("tokenize", lambda data=data: setup.client.tokenize(setup.context, data))  # type: ignore[misc]


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.payment_details(None),
        lambda client: client.payment_details(b"x"),
        lambda client: FlexAPIApi(client.api_client).create_transient_token(7),
        lambda client: models.CardFields(number=7),
        lambda client: models.CardFields.from_dict([]),
        lambda client: client.tokenize("context", CARD),
        lambda client: FlexClient(None, hots="x"),
        lambda client: client.with_options(hots="x"),
        lambda client: card_types("4111111111111111", networks="VISA"),
    ],
)
def test_a_wrong_type_is_a_type_error_too(call: Callable[[FlexClient], object], setup: Setup) -> None:
    with pytest.raises(InvalidArgumentTypeError) as caught:
        call(setup.client)
    assert isinstance(caught.value, TypeError)
    assert caught.value.argument


@pytest.mark.parametrize("value", ["", ".", "..", "a/b", "\ud800", "x" * 129, 10**5000], ids=range(7))
def test_impossible_path_values(value: Any, setup: Setup) -> None:
    setup.emulator.clear()
    for call in (
        lambda: setup.client.payment_details(value),
        lambda: setup.client.payment_credentials(value, setup.key),
        lambda: FlexAPIApi(setup.client.api_client).get_public_key(value),
    ):
        with pytest.raises(InvalidArgumentError) as caught:
            call()
        assert caught.value.argument
    assert setup.emulator.requests == []


@pytest.mark.parametrize("timeout", [1e300, 10**5000, float("inf"), float("nan"), 0, -1, True], ids=range(7))
def test_times_that_sockets_and_locks_do_not_accept(timeout: Any, setup: Setup) -> None:
    with pytest.raises(FlexError, match=r"^timeout must be a positive number of seconds, at most 31536000$"):
        setup.client.payment_details(setup.token, timeout=timeout)
    year = RetryPolicy(deadline=31_536_000, initial_delay=31_536_000, max_delay=31_536_000)
    assert setup.client.payment_details(setup.token, timeout=31_536_000, retry=year)


def stopped_emulator(**options: Any) -> Emulator:
    return Emulator(key_pool=1, **options)


def test_arguments_of_the_emulator(setup: Setup) -> None:
    # The functions of the caller are not called here. The emulator is the one without a server.
    check_arguments(Emulator, {}, skip=("clock",))
    check_arguments(Merchant, {"merchant_id": "shop"})
    check_arguments(Merchant.generate, {})
    emulator = stopped_emulator()
    check_arguments(emulator.make_p12, {"password": "x"}, skip=("merchant", "portfolio"))
    check_arguments(emulator.issue_access_token, {})
    check_arguments(emulator.revoke_access_token, {})
    check_arguments(emulator.write_ca, {})
    check_arguments(emulator.queue_scenarios, {"entries": ["ok"]})
    check_arguments(emulator.inject_random_faults, {"rate": 0.5})
    check_arguments(emulator.shift_clock, {})


@pytest.mark.parametrize(
    ("call", "error_class"),
    [
        (lambda: stopped_emulator(port=70_000), ConfigurationError),
        (lambda: stopped_emulator(host="0.0.0.0"), ConfigurationError),
        (lambda: stopped_emulator(scenario="nonsense"), ConfigurationError),
        (lambda: stopped_emulator(merchants=[]), ConfigurationError),
        (lambda: Merchant("shop", key_id="x", secret_key="not base64"), ConfigurationError),
        (lambda: stopped_emulator().make_p12(""), ConfigurationError),
        (lambda: stopped_emulator().make_p12("password", "unknown"), ConfigurationError),
        (lambda: stopped_emulator().inject_random_faults(2), ConfigurationError),
        (lambda: stopped_emulator().url, EmulatorError),
        (lambda: stopped_emulator().ca_pem, EmulatorError),
        (lambda: stopped_emulator().rotate_key(), EmulatorError),
        (lambda: stopped_emulator(merchants=[Merchant("shop")]).auth, EmulatorError),
    ],
)
def test_exceptions_of_the_emulator(call: Callable[[], object], error_class: type[FlexError]) -> None:
    with pytest.raises(error_class):
        call()


def test_the_port_of_the_emulator_is_in_use(setup: Setup) -> None:
    port = int(setup.emulator.url.rpartition(":")[2])
    with pytest.raises(AddressError, match="cannot listen"):
        stopped_emulator(port=port).start()
    with pytest.raises(EmulatorError, match="already running"):
        setup.emulator.start()
