"""Arguments for the client of the other kind: an async function where a plain one is called, and the reverse."""

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
    Events,
    FlexAPIApi,
    FlexClient,
    MicroformIntegrationApi,
    UnknownKeyError,
    aio,
)
from cybersource_flex.auth import BearerToken, JwtExternalKey, JwtSharedSecret
from cybersource_flex.emulator import Emulator
from cybersource_flex.jose import AsyncKeyCache, KeyCache, PinnedKeys, PublicKey, verify_capture_context
from cybersource_flex.transport import AttemptEvent, Operation, Request, Transport
from cybersource_flex.transport.aio import AsyncTransport

HOST = "https://flex.invalid"
SETTINGS = Configuration(host=HOST)
Connect = type[FlexClient]


async def fetch_later(kid: str) -> Mapping[str, Any]:
    return {}


def fetch(kid: str) -> Mapping[str, Any]:
    raise UnknownKeyError("none")


async def later(*_: object) -> Any:
    return b""


def now(*_: object) -> Any:
    return b""


class CalledLater:
    async def __call__(self, *_: object) -> Any:
        return b""


class SignsLater:
    async def sign(self, request: Request, now: float) -> Mapping[str, str]:
        return {}


class RenewsLater:
    def sign(self, request: Request, now: float) -> Mapping[str, str]:
        return {}

    async def renew(self) -> bool:
        return True


class EncryptsLater:
    operations = ()

    def outgoing(self, request: Request, now: float) -> Request:
        return request

    async def incoming(self, request: Request, response: Any) -> Any:
        return response


class HalfAsync:
    """A key source with one method of the wrong kind."""

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
    later,
    CalledLater(),
    functools.partial(later, 1),
    CalledLater().__call__,
    AsyncMock(),
]


@pytest.mark.parametrize("keys", [AsyncKeyCache(fetch_later), HalfAsync()])
@pytest.mark.parametrize(
    "make",
    [
        lambda keys: FlexClient(None, environment=HOST, keys=keys),
        lambda keys: FlexClient.from_env(environ(), keys=keys),
        lambda keys: FlexClient.from_merchant_config(CONFIG, keys=keys),
        lambda keys: PinnedKeys([], keys),
    ],
)
def test_a_client_for_threads_refuses_keys_that_are_awaited(make: Callable[[Any], Any], keys: Any) -> None:
    message = (
        rf"must be a KeySource .* not an object of type {type(keys).__name__}, whose method (get|refresh) is async$"
    )
    with pytest.raises(ConfigurationError, match=message):
        make(keys)


@pytest.mark.parametrize("keys", [AsyncKeyCache(fetch_later), KeyCache(fetch), PinnedKeys([]), HalfAsync()])
@pytest.mark.parametrize(
    "make",
    [
        lambda keys: AsyncFlexClient(None, environment=HOST, keys=keys),
        lambda keys: AsyncFlexClient.from_env(environ(), keys=keys),
        lambda keys: AsyncFlexClient.from_merchant_config(CONFIG, keys=keys),
    ],
)
def test_a_client_for_tasks_takes_keys_of_either_kind(make: Callable[[Any], Any], keys: Any) -> None:
    client = make(keys)
    assert isinstance(client, AsyncFlexClient)
    asyncio.run(client.close())


def test_neither_client_takes_other_keys() -> None:
    for wrong in ([{}], object(), 7):
        with pytest.raises(ConfigurationError, match="keys must be a KeySource"):
            FlexClient(None, environment=HOST, keys=wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"or an AsyncKeySource .* not an object of type list"):
        AsyncFlexClient(None, environment=HOST, keys=[{}])  # type: ignore[arg-type]


@pytest.mark.parametrize("function", ASYNC_FUNCTIONS)
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda function: Events(on_attempt=function), "on_attempt"),
        (lambda function: Events(on_response=function), "on_response"),
        (lambda function: JwtExternalKey("m", "k", function), "sign"),
        (lambda function: BearerToken(function), "token"),
        (lambda function: KeyCache(function), "fetch"),
    ],
)
def test_a_function_that_is_called_must_not_be_async(
    make: Callable[[Any], Any], name: str, function: Callable[..., Any]
) -> None:
    with pytest.raises(
        ConfigurationError, match=rf"^{name} must be a.* not an async one: it is called and never awaited$"
    ):
        make(function)


@pytest.mark.parametrize("function", ASYNC_FUNCTIONS)
def test_progress_must_not_be_async(function: Callable[..., Any], connect: Connect) -> None:
    with (
        connect(None, environment=HOST) as client,
        pytest.raises(ConfigurationError, match=r"^progress must be a funct"),
    ):
        client.tokenize_many([], progress=function)


@pytest.mark.parametrize("signer", [SignsLater(), RenewsLater()])
def test_a_signer_must_not_be_async(signer: Any, connect: Connect) -> None:
    message = r"auth must be a signer .* whose method (sign|renew) is async"
    with pytest.raises(ConfigurationError, match=message), connect(signer, environment=HOST):
        pass
    with pytest.raises(ConfigurationError, match=message):
        Configuration(host=HOST, auth=signer)


def test_encryption_must_not_be_async(connect: Connect) -> None:
    auth = JwtSharedSecret("m", "k", "A" * 43 + "=")
    message = r"mle must be .* whose method incoming is async"
    with pytest.raises(ConfigurationError, match=message), connect(auth, environment=HOST, mle=EncryptsLater()):  # type: ignore[arg-type]
        pass


class Fetcher:
    def fetch(self, kid: str) -> Mapping[str, Any]:
        return {}

    async def fetch_later(self, kid: str) -> Mapping[str, Any]:
        return {}


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any) -> Any:
        return function(*args)

    return call


@pytest.mark.parametrize("function", [fetch, Fetcher().fetch, functools.partial(fetch), wrapped(fetch)])
def test_a_cache_for_tasks_refuses_a_plain_function(function: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^fetch must be an async function .* not a plain one"):
        AsyncKeyCache(function)
    KeyCache(function)


@pytest.mark.parametrize(
    "function",
    [
        fetch_later,
        Fetcher().fetch_later,
        functools.partial(fetch_later),
        wrapped(fetch_later),
        lambda kid: fetch_later(kid),
        CalledLater(),
        AsyncMock(),
        Mock(),
    ],
)
def test_a_cache_for_tasks_takes_what_may_return_an_awaitable(function: Any) -> None:
    AsyncKeyCache(function)


def test_a_transport_must_be_of_the_kind_of_its_client() -> None:
    async def make() -> tuple[AsyncTransport, Transport]:
        return AsyncTransport(SETTINGS), Transport(SETTINGS)

    later, plain = asyncio.run(make())
    with pytest.raises(
        ConfigurationError, match=r"^transport must be a Transport, not .* AsyncTransport, whose method send is async$"
    ):
        ApiClient(SETTINGS, transport=later)  # type: ignore[arg-type]
    with pytest.raises(
        ConfigurationError,
        match=r"^transport must be an AsyncTransport, not .* Transport, whose method send is not async$",
    ):
        aio.ApiClient(SETTINGS, transport=plain)  # type: ignore[arg-type]
    for kind in (ApiClient, aio.ApiClient):
        with pytest.raises(ConfigurationError, match=r"transport must be an? .*Transport, not an object of type str"):
            kind(SETTINGS, transport="x")  # type: ignore[arg-type]
    assert ApiClient(SETTINGS, transport=plain).clock is plain.clock
    assert aio.ApiClient(SETTINGS, transport=later).clock is later.clock


@pytest.mark.parametrize("name", ["FlexAPIApi", "MicroformIntegrationApi"])
def test_an_api_client_must_be_of_the_kind_of_its_api(name: str) -> None:
    plain, later = (
        {"FlexAPIApi": FlexAPIApi, "MicroformIntegrationApi": MicroformIntegrationApi}[name],
        getattr(aio, name),
    )
    with pytest.raises(ConfigurationError, match=r"^api_client must be an ApiClient, .* whose method call is async$"):
        plain(aio.ApiClient(SETTINGS))
    with pytest.raises(
        ConfigurationError,
        match=r"^api_client must be an ApiClient of the package aio, .* whose method call is not async$",
    ):
        later(ApiClient(SETTINGS))
    with FlexClient(None, environment=HOST) as client:
        with pytest.raises(
            ConfigurationError, match=r"such as FlexClient\.api_client, not an object of type FlexClient"
        ):
            plain(client)
        assert plain(client.api_client).api_client is client.api_client


def test_items_that_are_awaited_are_for_tasks() -> None:
    async def items() -> AsyncIterator[Any]:
        yield {}

    with FlexClient(None, environment=HOST) as client:
        with pytest.raises(
            ConfigurationError, match=r"items must be an iterable; .* for AsyncFlexClient\.tokenize_many"
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


# A lambda does not show what it returns. The first call says it then, and closes the coroutine: Python would warn of
# a coroutine that was never awaited, and warnings are errors here.


@pytest.fixture(scope="module")
def jwt() -> str:
    with (
        Emulator(key_pool=1) as running,
        FlexClient(JwtSharedSecret(**running.auth), environment=running.url) as client,
    ):
        from cybersource_flex import fields

        return client.create_capture_context(fields(card=["number"])).jwt


def test_what_a_function_returns_must_not_be_awaitable(jwt: str) -> None:
    message = "returned an object of type coroutine, which has to be awaited"
    operation = Operation(name="call", method="GET", path="/x", signed=True, responses={}, models="")
    signed = Request(operation, method="GET", url=HOST, host="flex.invalid", target="/x", headers={}, body=None)
    with pytest.raises(ConfigurationError, match=f"sign {message}"):
        JwtExternalKey("m", "k", lambda data: later(data)).sign(signed, time.time())
    with pytest.raises(ConfigurationError, match=f"token {message}"):
        BearerToken(lambda: later()).sign(signed, time.time())
    with pytest.raises(ConfigurationError, match=f"fetch {message}"):
        verify_capture_context(jwt, KeyCache(lambda kid: later(kid)))

    class Keys:
        get = staticmethod(lambda kid: later(kid))
        refresh = staticmethod(lambda kid: later(kid))

    with FlexClient(None, environment=HOST, keys=Keys()) as client:
        for verify in (client.verify_capture_context, lambda jwt: verify_capture_context(jwt, AsyncKeyCache(later))):
            with pytest.raises(ConfigurationError, match=f"get of the KeySource {message}"):
                verify(jwt)


def test_what_a_function_returns_must_be_awaitable(jwt: str) -> None:
    async def main() -> None:
        async with AsyncFlexClient(None, environment=HOST, keys=AsyncKeyCache(lambda kid: {})) as client:  # type: ignore[arg-type,return-value]
            with pytest.raises(
                ConfigurationError, match="fetch returned an object of type dict, which cannot be awaited"
            ):
                await client.verify_capture_context(jwt)

    asyncio.run(main())


@pytest.mark.parametrize("result", [None, {"kty": "RSA"}, "text"])
def test_a_source_must_return_keys(result: Any, jwt: str, connect: Connect) -> None:
    class Keys:
        def get(self, kid: str) -> Any:
            return result

        refresh = get

    with (
        connect(None, environment=HOST, keys=Keys()) as client,
        pytest.raises(
            ConfigurationError, match=f"must return a PublicKey, not an object of type {type(result).__name__}"
        ),
    ):
        client.verify_capture_context(jwt)


def test_progress_that_returns_something_to_await(connect: Connect) -> None:
    with (
        connect(None, environment=HOST) as client,
        pytest.raises(ConfigurationError, match="progress returned an object of type coroutine"),
    ):
        # Items that are none fail without a call.
        list(client.tokenize_many([7], progress=lambda done, failed: later()))  # type: ignore[list-item]


def test_an_event_that_returns_something_to_await_is_logged(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    events = Events(on_attempt=lambda event: later(event), on_response=lambda event: later(event))
    with (
        Emulator(key_pool=1) as emulator,
        connect(JwtSharedSecret(**emulator.auth), environment=emulator.url, events=events) as client,
        caplog.at_level(logging.ERROR, "cybersource_flex.transport"),
    ):
        assert client.create_microform_context(target_origins=["https://a.example"], allowed_card_networks=["VISA"])
    for name in ("on_attempt", "on_response"):
        (record,) = {str(each.exc_info[1]) for each in caplog.records if each.exc_info and name in each.getMessage()}
        assert record.startswith(f"{name} returned an object of type coroutine, which has to be awaited")


@pytest.mark.parametrize("make", [Mock, MagicMock])
def test_mocks_are_functions(make: Any, connect: Connect) -> None:
    events: list[AttemptEvent] = []
    mock = make(side_effect=lambda event: events.append(event) or make())
    with (
        Emulator(key_pool=1) as emulator,
        connect(JwtSharedSecret(**emulator.auth), environment=emulator.url, events=Events(on_attempt=mock)) as client,
    ):
        client.create_microform_context(target_origins=["https://a.example"], allowed_card_networks=["VISA"])
    assert len(events) == 2
