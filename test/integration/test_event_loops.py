"""The asynchronous client in several event loops, without one, and without blocking one."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys

import pytest

from cybersource_flex import AsyncFlexClient, ConfigurationError, FlexError, MissingDependencyError, fields
from cybersource_flex.auth import JwtSharedSecret
from cybersource_flex.emulator import Emulator

FIELDS = fields(card=["number"])


@pytest.fixture
def client(emulator: Emulator) -> AsyncFlexClient:
    return AsyncFlexClient(JwtSharedSecret(**emulator.auth), environment=emulator.url)


async def create_and_tokenize(client: AsyncFlexClient) -> str:
    context = await client.create_capture_context(FIELDS)
    await client.verify_capture_context(context.jwt)
    return (await client.tokenize(context, {"card": {"number": "4111111111111111"}})).masked_number or ""


def test_one_client_in_several_runs(client: AsyncFlexClient) -> None:
    # The client is never closed. Warnings about open connections would be errors here.
    for _ in range(3):
        assert asyncio.run(create_and_tokenize(client)).endswith("1111")
        gc.collect()


def test_connections_are_closed_when_a_run_ends(client: AsyncFlexClient) -> None:
    async def connection() -> object:
        await client.create_capture_context(FIELDS)
        return client._transport._connections.session

    assert asyncio.run(connection()).closed  # type: ignore[attr-defined]


def test_a_run_that_was_cancelled_leaves_a_usable_client(client: AsyncFlexClient, emulator: Emulator) -> None:
    async def cancelled() -> None:
        await client.create_capture_context(FIELDS)
        emulator.queue_scenarios(["latency;seconds=3600"])
        async with asyncio.timeout(0.2):
            await client.create_capture_context(FIELDS)

    with pytest.raises(TimeoutError):
        asyncio.run(cancelled())
    emulator.reset_faults()
    assert asyncio.run(create_and_tokenize(client)).endswith("1111")


def test_a_loop_that_was_closed_without_shutting_down_generators(client: AsyncFlexClient) -> None:
    first = asyncio.new_event_loop()
    first.run_until_complete(client.create_capture_context(FIELDS))
    # The event loop warns about its transport, even if another library made it.
    first.close()

    def use_in_another_loop() -> str:
        masked_number = asyncio.run(create_and_tokenize(client))
        gc.collect()
        return masked_number

    with pytest.warns(ResourceWarning, match="unclosed"):
        assert use_in_another_loop().endswith("1111")


def test_closing_after_the_loop_was_closed(client: AsyncFlexClient) -> None:
    asyncio.run(create_and_tokenize(client))
    asyncio.run(client.close())
    assert asyncio.run(create_and_tokenize(client)).endswith("1111")


def test_a_fetch_of_a_key_that_ended_with_its_loop(client: AsyncFlexClient, emulator: Emulator) -> None:
    async def interrupted() -> None:
        emulator.queue_scenarios(["latency;seconds=3600"], path="/flex/v2/public-keys/*")
        async with asyncio.timeout(0.2):
            await client.create_capture_context(FIELDS)

    with pytest.raises(TimeoutError):
        asyncio.run(interrupted())
    emulator.reset_faults()
    assert asyncio.run(create_and_tokenize(client)).endswith("1111")


def test_methods_outside_of_an_event_loop(client: AsyncFlexClient) -> None:
    for call in (client.create_capture_context(FIELDS), anext(client.tokenize_many([{"card": {"number": "4111"}}]))):
        with pytest.raises(ConfigurationError, match="no asyncio event loop is running"):
            call.__await__().send(None)


# Importing aiohttp and reading the trusted CAs take too long for an event loop.

PROGRAM = """
import asyncio, sys, threading
from cybersource_flex import AsyncFlexClient, errors
from cybersource_flex.aio import AsyncFlexAPIApi

loaded_in = {}
sys.addaudithook(lambda event, arguments: event == "import" and loaded_in.setdefault(
    arguments[0].partition(".")[0], threading.current_thread().name))

async def main():
    client = AsyncFlexClient(None, environment="https://127.0.0.1:9")
    assert "aiohttp" not in sys.modules
    if sys.argv[1] == "with":
        await client.__aenter__()
    else:
        try:
            await AsyncFlexAPIApi(client.api_client).get_public_key("x")
        except errors.ConnectionFailedError:
            pass
    assert client._transport._connections.tls is not None
    print(loaded_in["aiohttp"], loaded_in["cryptography"])
    await client.close()

asyncio.run(main())
"""


@pytest.mark.parametrize("way", ["with", "call"])
def test_aiohttp_and_the_trusted_cas_are_loaded_in_a_thread(way: str) -> None:
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, way], capture_output=True, text=True, timeout=60, check=False
    )
    assert (process.stdout.strip(), process.stderr) == ("cybersource-flex-wait cybersource-flex-wait", "")


def test_many_first_calls_load_once(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    from cybersource_flex.transport.backends.async_transport import _Connections

    loads: list[_Connections] = []
    load = _Connections._load
    monkeypatch.setattr(_Connections, "_load", lambda self: loads.append(self) or load(self))

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            flex = AsyncFlexClient(JwtSharedSecret(**emulator.auth), environment=emulator.url)
            for _ in range(20):
                group.create_task(flex.create_capture_context(FIELDS))
        await flex.close()

    asyncio.run(main())
    assert len(loads) == 1


def test_a_failed_load_is_tried_again(client: AsyncFlexClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from cybersource_flex.errors import ConnectionFailedError
    from cybersource_flex.transport.backends.async_transport import _Connections

    def fail(self: _Connections) -> None:
        raise OSError(24, "Too many open files")

    async def main() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(_Connections, "_load", fail)
            with pytest.raises(ConnectionFailedError, match="file descriptor") as caught:
                await client.create_capture_context(FIELDS)
            assert caught.value.outcome == "not_sent"
        assert (await client.create_capture_context(FIELDS)).type == "api-0.1.0"
        await client.close()

    asyncio.run(main())


# Extras that are not installed.


@pytest.mark.parametrize(
    ("missing", "statement", "extra"),
    [
        ("aiohttp", "cybersource_flex.AsyncFlexClient(None)", "async"),
        ("aiohttp", "AsyncApiClient().clock", "async"),
        ("uvicorn", "from cybersource_flex.emulator import Emulator", "emulator"),
        ("starlette", "import cybersource_flex.emulator", "emulator"),
        ("trustme", "from cybersource_flex.emulator import Emulator; Emulator(tls=True)", "emulator"),
    ],
)
def test_a_missing_extra(missing: str, statement: str, extra: str) -> None:
    program = f"""
import sys
sys.modules[{missing!r}] = None
import cybersource_flex
from cybersource_flex.aio import AsyncApiClient
try:
    {statement}
except ImportError as error:
    assert isinstance(error, (cybersource_flex.MissingDependencyError)), error
    assert isinstance(error, cybersource_flex.FlexError)
    print(error.name, "|", error)
"""
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert process.stderr == ""
    assert process.stdout.startswith(f"{missing} | ")
    assert process.stdout.strip().endswith(f"pip install 'cybersource-flex[{extra}]'")
    assert issubclass(MissingDependencyError, FlexError)


def test_the_package_is_the_command_line() -> None:
    process = subprocess.run(
        [sys.executable, "-W", "error", "-m", "cybersource_flex", "--help"], capture_output=True, text=True, timeout=60
    )
    assert (process.returncode, process.stderr) == (0, "")
    assert "tokenize" in process.stdout
