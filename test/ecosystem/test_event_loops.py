"""The asynchronous client in event loops other than asyncio's default one."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator

import pytest
import trio

from cybersource_flex import AsyncFlexClient, ConfigurationError, fields
from cybersource_flex.auth import JwtSharedSecret
from cybersource_flex.emulator import Emulator

FIELDS = fields(card=["number"])


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


@pytest.fixture
def client(emulator: Emulator) -> AsyncFlexClient:
    return AsyncFlexClient(JwtSharedSecret(**emulator.auth), environment=emulator.url)


def test_trio_is_rejected_by_every_method(client: AsyncFlexClient) -> None:
    jwt = asyncio.run(client.create_capture_context(FIELDS)).jwt

    async def iterate() -> None:
        async for _ in client.tokenize_many([{"card": {"number": "4111111111111111"}}]):
            pass

    async def enter() -> None:
        async with client:
            pass

    unknown = AsyncFlexClient(None, environment="http://127.0.0.1:9")
    calls = (
        lambda: client.create_capture_context(FIELDS),
        lambda: client.payment_details("a" * 16),
        lambda: unknown.verify_capture_context(jwt),
        iterate,
        enter,
    )
    for call in calls:
        with pytest.raises(ConfigurationError, match="trio and other event loops"):
            trio.run(call)


@pytest.mark.skipif(sys.platform == "win32", reason="NOT TESTED: uvloop does not run on Windows")
def test_one_client_in_several_runs_of_uvloop(client: AsyncFlexClient) -> None:
    import uvloop

    async def main() -> str:
        return (await client.create_capture_context(FIELDS)).type

    for run in (uvloop.run, asyncio.run, uvloop.run):
        assert run(main()) == "api-0.1.0"
