"""The clients in the frameworks and servers of shops: FastAPI, gevent, uvloop."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import httpx
import pytest
import uvloop
from fastapi import Depends, FastAPI, Request

from cybersource_flex import AsyncFlexClient, FlexClient, fields
from cybersource_flex.emulator import Emulator

FIELDS = fields(card=["number", "expirationMonth", "expirationYear"])
DATA = {"card": {"number": "4111111111111111", "expirationMonth": "12", "expirationYear": "2035"}}


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


def test_clients_as_dependencies_of_fastapi(emulator: Emulator) -> None:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncFlexClient.from_env(emulator.environ) as client:
            app.state.flex = client
            yield

    app = FastAPI(lifespan=lifespan)

    async def shared(request: Request) -> AsyncFlexClient:
        client: AsyncFlexClient = request.app.state.flex
        return client

    async def per_request() -> AsyncIterator[AsyncFlexClient]:
        async with AsyncFlexClient.from_env(emulator.environ) as client:
            yield client

    def blocking() -> Iterator[FlexClient]:
        with FlexClient.from_env(emulator.environ) as client:
            yield client

    async def pay(client: AsyncFlexClient) -> dict[str, Any]:
        token = await client.tokenize(await client.create_capture_context(FIELDS), DATA)
        return {"number": token.masked_number}

    # Assigned, not annotated: FastAPI evaluates annotations outside of this function.
    async def pay_shared(client: Any = Depends(shared)) -> dict[str, Any]:  # noqa: B008
        return await pay(client)

    async def pay_per_request(client: Any = Depends(per_request)) -> dict[str, Any]:  # noqa: B008
        return await pay(client)

    def pay_blocking(client: Any = Depends(blocking)) -> dict[str, Any]:  # noqa: B008
        token = client.tokenize(client.create_capture_context(FIELDS), DATA)
        return {"number": token.masked_number}

    for name, endpoint in [("shared", pay_shared), ("request", pay_per_request), ("blocking", pay_blocking)]:
        app.post(f"/{name}")(endpoint)

    async def visit() -> None:
        transport = httpx.ASGITransport(app)
        async with lifespan(app), httpx.AsyncClient(transport=transport, base_url="http://app.example") as browser:
            for name in ("shared", "request", "blocking", "shared"):
                response = await browser.post(f"/{name}")
                assert (response.status_code, response.json()) == (200, {"number": "XXXXXXXXXXXX1111"})

    for _ in range(2):
        asyncio.run(visit())


def test_uvloop(emulator: Emulator) -> None:
    async def main() -> list[str | None]:
        async with AsyncFlexClient.from_env(emulator.environ) as client:
            context = await client.create_capture_context(FIELDS)
            tokens = await asyncio.gather(*(client.tokenize(context, DATA) for _ in range(5)))
            assert isinstance(asyncio.get_running_loop(), uvloop.Loop)
            return [token.masked_number for token in tokens]

    assert uvloop.run(main()) == ["XXXXXXXXXXXX1111"] * 5


GEVENT = """
from gevent import monkey
monkey.patch_all()

import json
import sys
import time

import gevent.pool
from cybersource_flex import FlexClient, RetryPolicy, errors, fields

FIELDS = fields(card=["number", "expirationMonth", "expirationYear"])
DATA = {"card": {"number": "4111111111111111", "expirationMonth": "12", "expirationYear": "2035"}}
facts = json.load(sys.stdin)
client = FlexClient.from_env(facts["environ"])

def pay(_):
    return client.tokenize(client.create_capture_context(FIELDS), DATA).masked_number

# Greenlets that wait let the others run.
start = time.monotonic()
numbers = gevent.pool.Pool(20).map(pay, range(20))
elapsed = time.monotonic() - start
client.close()

# Deadlines, and responses without a request, are noticed.
try:
    FlexClient.from_env(facts["environ"]).create_capture_context(FIELDS, retry=RetryPolicy(attempts=1, deadline=0.2))
    late = None
except errors.CallError as error:
    late = type(error).__name__
from cybersource_flex.transport.backends import urllib3_connections
wait_for_read = urllib3_connections.wait_for_read
urllib3_connections.wait_for_read = lambda sock, timeout: wait_for_read(sock, timeout=10)
try:
    FlexClient(None, environment=facts["early"], retry=RetryPolicy(attempts=1)).verify_capture_context(facts["jwt"])
    early = None
except errors.CallError as error:
    early = str(error)
print(json.dumps({"numbers": numbers, "elapsed": elapsed, "late": late, "early": early}))
"""


@contextmanager
def server_that_responds_first() -> Iterator[str]:
    """The URL of a server that sends a response when a connection is established."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def respond() -> None:
            connection, _ = listener.accept()
            # Closed without reading, the client resets the connection.
            with connection, suppress(ConnectionResetError):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
                connection.recv(1)

        thread = threading.Thread(target=respond)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


def test_gevent(emulator: Emulator) -> None:
    with FlexClient.from_env(emulator.environ) as client:
        jwt = client.create_capture_context(FIELDS).jwt
    emulator.scenario = "latency;seconds=0.5"
    try:
        with server_that_responds_first() as early:
            facts = {"environ": emulator.environ, "early": early, "jwt": jwt}
            process = subprocess.run(
                [sys.executable, "-c", GEVENT], input=json.dumps(facts), capture_output=True, text=True, timeout=120
            )
    finally:
        emulator.reset_faults()
    assert process.returncode == 0, process.stderr
    report = json.loads(process.stdout)
    assert report["numbers"] == ["XXXXXXXXXXXX1111"] * 20
    # One after the other, they would take 20 s for the sessions alone.
    assert report["elapsed"] < 10
    assert report["late"] == "ResponseTimeoutError"
    assert "sent data before the request" in report["early"]
