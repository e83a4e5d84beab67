"""Async functions and objects are rejected where plain ones are called, and plain ones where async ones are awaited."""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any
from unittest.mock import AsyncMock, MagicMock, Mock

import pytest

from cybersource_flex import (
    ApiClient,
    AsyncFlexClient,
    Configuration,
    ConfigurationError,
    EventHooks,
    FlexAPIApi,
    FlexClient,
    MicroformIntegrationApi,
    UnknownKeyError,
    aio,
)
from cybersource_flex.auth import BearerToken, JwtExternalKey, JwtSharedSecret
from cybersource_flex.emulator import Emulator
from cybersource_flex.jose import AsyncKeyCache, KeyCache, PinnedKeys, PublicKey, verify_capture_context
from cybersource_flex.transport import AsyncTransport, AttemptEvent, Request, Transport
from support.transports import StubSigner, make_request

HOST = "https://flex.invalid"
CONFIGURATION = Configuration(host=HOST)
ClientClass = type[FlexClient]


async def async_fetch(kid: str) -> Mapping[str, Any]:
    return {}


def fetch(kid: str) -> Mapping[str, Any]:
    raise UnknownKeyError("none")


async def async_function(*_: object) -> Any:
    return b""


def sync_function(*_: object) -> Any:
    return b""


class AsyncCallable:
    async def __call__(self, *_: object) -> Any:
        return b""


class AsyncSigner:
    async def sign(self, request: Request, now: float) -> Mapping[str, str]:
        return {}


class AsyncRefreshSigner(StubSigner):
    async def refresh(self, rejected: Mapping[str, str]) -> bool:
        return True


class AsyncEncryption:
    operations = ()

    def encrypt_request(self, request: Request, now: float) -> Request:
        return request

    async def decrypt_response(self, request: Request, response: Any) -> Any:
        return response


class HalfAsyncKeySource:
    """A key source with a sync and an async method."""

    def get(self, kid: str) -> PublicKey:
        raise UnknownKeyError("none")

    async def refresh(self, kid: str) -> PublicKey | None:
        return None


def environ() -> dict[str, str]:
    return {
        "CYBERSOURCE_ENVIRONMENT": HOST,
        "CYBERSOURCE_MERCHANT_ID": "m",
        "CYBERSOURCE_KEY_ID": "k",
        "CYBERSOURCE_SECRET_KEY": "A" * 43 + "=",
    }


CONFIG = {
    "authentication_type": "JWT",
    "jwt_key_type": "SHARED_SECRET",
    "merchantid": "m",
    "merchant_keyid": "k",
    "merchant_secretkey": "A" * 43 + "=",
    "run_environment": "flex.invalid",
}

ASYNC_FUNCTIONS: list[Callable[..., Any]] = [
    async_function,
    AsyncCallable(),
    functools.partial(async_function, 1),
    AsyncCallable().__call__,
    AsyncMock(),
]


@pytest.mark.parametrize("keys", [AsyncKeyCache(async_fetch), HalfAsyncKeySource()])
@pytest.mark.parametrize(
    "make",
    [
        lambda keys: FlexClient(None, environment=HOST, keys=keys),
        lambda keys: FlexClient.from_env(environ(), keys=keys),
        lambda keys: FlexClient.from_merchant_config(CONFIG, keys=keys),
        lambda keys: PinnedKeys([], keys),
    ],
)
def test_the_sync_client_rejects_async_key_sources(make: Callable[[Any], Any], keys: Any) -> None:
    message = rf"must be a KeySource .* of type {type(keys).__name__}; its method (get|refresh) must not be async$"
    with pytest.raises(ConfigurationError, match=message):
        make(keys)


@pytest.mark.parametrize("keys", [AsyncKeyCache(async_fetch), KeyCache(fetch), PinnedKeys([]), HalfAsyncKeySource()])
@pytest.mark.parametrize(
    "make",
    [
        lambda keys: AsyncFlexClient(None, environment=HOST, keys=keys),
        lambda keys: AsyncFlexClient.from_env(environ(), keys=keys),
        lambda keys: AsyncFlexClient.from_merchant_config(CONFIG, keys=keys),
    ],
)
def test_the_async_client_accepts_sync_and_async_key_sources(make: Callable[[Any], Any], keys: Any) -> None:
    client = make(keys)
    assert isinstance(client, AsyncFlexClient)
    asyncio.run(client.close())


def test_both_clients_reject_other_types_of_keys() -> None:
    for wrong in ([{}], object(), 7):
        with pytest.raises(ConfigurationError, match="keys must be a KeySource"):
            FlexClient(None, environment=HOST, keys=wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"or an AsyncKeySource .* not an object of type list"):
        AsyncFlexClient(None, environment=HOST, keys=[{}])  # type: ignore[arg-type]


@pytest.mark.parametrize("function", ASYNC_FUNCTIONS)
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda function: EventHooks(on_attempt=function), "on_attempt"),
        (lambda function: EventHooks(on_call_end=function), "on_call_end"),
        (lambda function: JwtExternalKey("m", "k", function), "sign"),
        (lambda function: BearerToken(function), "token"),
        (lambda function: KeyCache(function), "fetch"),
    ],
)
def test_async_callbacks_are_rejected(make: Callable[[Any], Any], name: str, function: Callable[..., Any]) -> None:
    with pytest.raises(
        ConfigurationError, match=rf"^{name} is an async function, but its result is not awaited; expected a.*$"
    ):
        make(function)


@pytest.mark.parametrize("function", ASYNC_FUNCTIONS)
def test_an_async_progress_function_is_rejected(function: Callable[..., Any], client_class: ClientClass) -> None:
    with (
        client_class(None, environment=HOST) as client,
        pytest.raises(ConfigurationError, match=r"^progress is an async function, .* expected a funct"),
    ):
        client.tokenize_many([], progress=function)


@pytest.mark.parametrize("signer", [AsyncSigner(), AsyncRefreshSigner()])
def test_async_signers_are_rejected(signer: Any, client_class: ClientClass) -> None:
    message = r"auth must be a signer .* its method (sign|refresh) must not be async"
    with pytest.raises(ConfigurationError, match=message), client_class(signer, environment=HOST):
        pass
    with pytest.raises(ConfigurationError, match=message):
        Configuration(host=HOST, auth=signer)


def test_async_encryption_is_rejected(client_class: ClientClass) -> None:
    auth = JwtSharedSecret("m", "k", "A" * 43 + "=")
    message = r"mle must be .* its method decrypt_response must not be async"
    with pytest.raises(ConfigurationError, match=message), client_class(auth, environment=HOST, mle=AsyncEncryption()):  # type: ignore[arg-type]
        pass


class Fetcher:
    def fetch(self, kid: str) -> Mapping[str, Any]:
        return {}

    async def async_fetch(self, kid: str) -> Mapping[str, Any]:
        return {}


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any) -> Any:
        return function(*args)

    return call


@pytest.mark.parametrize("function", [fetch, Fetcher().fetch, functools.partial(fetch), wrapped(fetch)])
def test_an_async_key_cache_rejects_a_sync_function(function: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^fetch is not an async function, .*; expected an async function"):
        AsyncKeyCache(function)
    KeyCache(function)


@pytest.mark.parametrize(
    "function",
    [
        async_fetch,
        Fetcher().async_fetch,
        functools.partial(async_fetch),
        wrapped(async_fetch),
        lambda kid: async_fetch(kid),
        AsyncCallable(),
        AsyncMock(),
        Mock(),
    ],
)
def test_an_async_key_cache_accepts_functions_that_may_return_an_awaitable(function: Any) -> None:
    AsyncKeyCache(function)


def test_sync_and_async_clients_reject_the_transport_of_the_other() -> None:
    async def make() -> tuple[AsyncTransport, Transport]:
        return AsyncTransport(CONFIGURATION), Transport(CONFIGURATION)

    async_transport, sync_transport = asyncio.run(make())
    with pytest.raises(
        ConfigurationError,
        match=r"^transport must be a Transport, not .* AsyncTransport; its method send must not be async$",
    ):
        ApiClient(CONFIGURATION, transport=async_transport)  # type: ignore[arg-type]
    with pytest.raises(
        ConfigurationError,
        match=r"^transport must be an AsyncTransport, not .* Transport; its method send must be async$",
    ):
        aio.AsyncApiClient(CONFIGURATION, transport=sync_transport)  # type: ignore[arg-type]
    for client_type in (ApiClient, aio.AsyncApiClient):
        with pytest.raises(ConfigurationError, match=r"transport must be an? .*Transport, not an object of type str"):
            client_type(CONFIGURATION, transport="x")  # type: ignore[arg-type]
    assert ApiClient(CONFIGURATION, transport=sync_transport).clock is sync_transport.clock
    assert aio.AsyncApiClient(CONFIGURATION, transport=async_transport).clock is async_transport.clock


@pytest.mark.parametrize("name", ["FlexAPIApi", "MicroformIntegrationApi"])
def test_sync_and_async_apis_reject_the_client_of_the_other(name: str) -> None:
    sync_api, async_api = (
        {"FlexAPIApi": FlexAPIApi, "MicroformIntegrationApi": MicroformIntegrationApi}[name],
        getattr(aio, f"Async{name}"),
    )
    with pytest.raises(
        ConfigurationError, match=r"^api_client must be an ApiClient, .* its method call must not be async$"
    ):
        sync_api(aio.AsyncApiClient(CONFIGURATION))
    with pytest.raises(
        ConfigurationError,
        match=r"^api_client must be an AsyncApiClient, .*; its method call must be async$",
    ):
        async_api(ApiClient(CONFIGURATION))
    with FlexClient(None, environment=HOST) as client:
        with pytest.raises(
            ConfigurationError, match=r"such as FlexClient\.api_client, not an object of type FlexClient"
        ):
            sync_api(client)
        assert sync_api(client.api_client).api_client is client.api_client


def test_the_sync_client_rejects_async_items() -> None:
    async def items() -> AsyncIterator[Any]:
        yield {}

    with FlexClient(None, environment=HOST) as client:
        with pytest.raises(
            ConfigurationError, match=r"items must be an iterable; .* to AsyncFlexClient\.tokenize_many"
        ):
            client.tokenize_many(items())  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="items must be an iterable, not an object of type int"):
            client.tokenize_many(7)  # type: ignore[arg-type]

    async def main() -> None:
        async with AsyncFlexClient(None, environment=HOST) as client:
            with pytest.raises(ConfigurationError, match="items must be an iterable, asynchronous or not"):
                client.tokenize_many(7)  # type: ignore[arg-type]
            await client.tokenize_many(items()).aclose()

    asyncio.run(main())


@pytest.mark.parametrize("items", ["4111111111111111", b"x", {"card": {"number": "4111111111111111"}}])
def test_one_card_or_string_is_not_an_iterable_of_items(items: Any) -> None:
    kind = {str: "str", bytes: "bytes", dict: "one item"}[type(items)]
    with FlexClient(None, environment=HOST) as client:
        with pytest.raises(ConfigurationError, match=f"items must be an iterable of items .*, not {kind}") as info:
            client.tokenize_many(items)
        assert "4111" not in str(info.value)

    async def main() -> None:
        async with AsyncFlexClient(None, environment=HOST) as client:
            with pytest.raises(ConfigurationError, match=f"not {kind}"):
                client.tokenize_many(items)

    asyncio.run(main())


# Whether a lambda returns a coroutine is only known when it is called. The error closes the coroutine, because Python
# would warn about one that was never awaited, and warnings are errors in these tests.


@pytest.fixture(scope="module")
def jwt() -> str:
    with (
        Emulator(key_pool=1) as running,
        FlexClient(JwtSharedSecret(**running.auth), environment=running.url) as client,
    ):
        from cybersource_flex import fields

        return client.create_capture_context(fields(card=["number"])).jwt


def test_functions_that_return_an_awaitable_are_reported(jwt: str) -> None:
    message = "returned an awaitable object of type coroutine"
    request = make_request(None, method="GET")
    with pytest.raises(ConfigurationError, match=f"sign {message}"):
        JwtExternalKey("m", "k", lambda data: async_function(data)).sign(request, time.time())
    with pytest.raises(ConfigurationError, match=f"token {message}"):
        BearerToken(lambda: async_function()).sign(request, time.time())
    with pytest.raises(ConfigurationError, match=f"fetch {message}"):
        verify_capture_context(jwt, KeyCache(lambda kid: async_function(kid)))

    class Keys:
        get = staticmethod(lambda kid: async_function(kid))
        refresh = staticmethod(lambda kid: async_function(kid))

    with FlexClient(None, environment=HOST, keys=Keys()) as client:
        for verify in (
            client.verify_capture_context,
            lambda jwt: verify_capture_context(jwt, Keys()),
        ):
            with pytest.raises(ConfigurationError, match=f"get of the KeySource {message}"):
                verify(jwt)
    with pytest.raises(ConfigurationError, match=r"keys must be a KeySource .* its method get must not be async"):
        verify_capture_context(jwt, AsyncKeyCache(async_function))  # type: ignore[arg-type]


def test_async_functions_that_return_no_awaitable_are_reported(jwt: str) -> None:
    async def main() -> None:
        async with AsyncFlexClient(None, environment=HOST, keys=AsyncKeyCache(lambda kid: {})) as client:  # type: ignore[arg-type,return-value]
            with pytest.raises(
                ConfigurationError, match="fetch returned an object of type dict, which is not awaitable"
            ):
                await client.verify_capture_context(jwt)

    asyncio.run(main())


@pytest.mark.parametrize("result", [None, {"kty": "RSA"}, "text"])
def test_key_sources_that_return_other_objects_are_reported(result: Any, jwt: str, client_class: ClientClass) -> None:
    class Keys:
        def get(self, kid: str) -> Any:
            return result

        refresh = get

    with (
        client_class(None, environment=HOST, keys=Keys()) as client,
        pytest.raises(
            ConfigurationError, match=f"must return a PublicKey, not an object of type {type(result).__name__}"
        ),
    ):
        client.verify_capture_context(jwt)


def test_a_progress_function_that_returns_an_awaitable_is_reported(client_class: ClientClass) -> None:
    with (
        client_class(None, environment=HOST) as client,
        pytest.raises(ConfigurationError, match="progress returned an awaitable object of type coroutine"),
    ):
        # Invalid items fail without a call.
        list(client.tokenize_many([7], progress=lambda done, failed: async_function()))  # type: ignore[list-item]


def test_an_event_hook_that_returns_an_awaitable_is_logged(
    client_class: ClientClass, caplog: pytest.LogCaptureFixture
) -> None:
    events = EventHooks(on_attempt=lambda event: async_function(event), on_call_end=lambda event: async_function(event))
    with (
        Emulator(key_pool=1) as emulator,
        client_class(JwtSharedSecret(**emulator.auth), environment=emulator.url, event_hooks=events) as client,
        caplog.at_level(logging.ERROR, "cybersource_flex.transport"),
    ):
        assert client.create_microform_context(target_origins=["https://a.example"], allowed_card_networks=["VISA"])
    for name in ("on_attempt", "on_call_end"):
        (record,) = {str(each.exc_info[1]) for each in caplog.records if each.exc_info and name in each.getMessage()}
        assert record.startswith(f"{name} returned an awaitable object of type coroutine")


@pytest.mark.parametrize("make", [Mock, MagicMock])
def test_mocks_are_accepted_as_functions(make: Any, client_class: ClientClass) -> None:
    events: list[AttemptEvent] = []
    mock = make(side_effect=lambda event: events.append(event) or make())
    with (
        Emulator(key_pool=1) as emulator,
        client_class(
            JwtSharedSecret(**emulator.auth), environment=emulator.url, event_hooks=EventHooks(on_attempt=mock)
        ) as client,
    ):
        client.create_microform_context(target_origins=["https://a.example"], allowed_card_networks=["VISA"])
    assert len(events) == 2
