"""One client, shared by threads and forked processes."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from cybersource_flex import AsyncFlexClient, FlexClient, fields
from cybersource_flex.auth import BearerToken, JwtSharedSecret
from cybersource_flex.emulator import Emulator
from cybersource_flex.jose import KeyCache
from cybersource_flex.transport.backends.async_transport import _Connections
from support.servers import OK, RawServer

THREADS = 32
ROUNDS = 12
# The workers request different fields and use different card numbers, so that a response to another worker is noticed.
OPTIONAL_FIELDS = ("expirationMonth", "expirationYear", "securityCode", "type")
CARD_NUMBERS = ("4111111111111111", "5555555555554444", "378282246310005", "4622943127013705")

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="NOT TESTED: this system has no fork")


@pytest.fixture
def client(emulator: Emulator) -> Iterator[FlexClient]:
    emulator.clear()
    with FlexClient(JwtSharedSecret(**emulator.auth), environment=emulator.url, pool_size=THREADS) as client:
        yield client


def round_trip(client: FlexClient, worker: int) -> None:
    """Create a context and a token with the worker's data, and check that the responses contain that data."""
    name = OPTIONAL_FIELDS[worker % len(OPTIONAL_FIELDS)]
    number = CARD_NUMBERS[worker // len(OPTIONAL_FIELDS) % len(CARD_NUMBERS)]
    context = client.create_capture_context(fields(card=["number", f"{name}?"]))
    assert context.optional_fields == (f"paymentInformation.card.{name}",)
    token = client.tokenize(context, {"card": {"number": number}})
    masked_number = "X" * (len(number) - 4) + number[-4:]
    assert token.masked_number == masked_number
    assert client.payment_details(token)["paymentInformation"]["card"]["number"] == masked_number


def test_threads_that_share_a_client_get_the_responses_to_their_requests(
    client: FlexClient, emulator: Emulator
) -> None:
    barrier = threading.Barrier(THREADS)

    def work(worker: int) -> int:
        barrier.wait(10)
        for _ in range(ROUNDS):
            round_trip(client, worker)
        return worker

    with ThreadPoolExecutor(THREADS) as pool:
        assert sorted(pool.map(work, range(THREADS))) == list(range(THREADS))
    targets = [request.target for request in emulator.requests]
    assert sum("public-keys" in target for target in targets) == 1
    assert len(targets) == 3 * THREADS * ROUNDS + 1


def test_closing_the_client_does_not_fail_calls_in_other_threads(client: FlexClient) -> None:
    done = threading.Event()

    def close() -> None:
        while not done.is_set():
            client.close()

    closing = threading.Thread(target=close)
    closing.start()
    try:
        with ThreadPoolExecutor(8) as pool:
            for each in [pool.submit(round_trip, client, worker) for worker in range(48)]:
                each.result()
    finally:
        done.set()
        closing.join()


def in_child(work: Callable[[], None]) -> int:
    """Fork, run ``work`` in the child, and return the child's process id. It exits with 0 if ``work`` succeeds."""
    with warnings.catch_warnings():
        # Python 3.12 and newer warn about forks of processes with threads, which these tests need.
        warnings.simplefilter("ignore", DeprecationWarning)
        process = os.fork()
    if process:
        return process
    exit_code = 1
    try:
        # Ends the child in a deadlock, with an exit code other than 0.
        signal.alarm(30)
        work()
        exit_code = 0
    finally:
        os._exit(exit_code)


def assert_succeeded(processes: list[int]) -> None:
    statuses = [os.waitpid(process, 0)[1] for process in processes]
    assert [os.waitstatus_to_exitcode(status) for status in statuses] == [0] * len(processes)


@needs_fork
def test_forked_processes_share_the_client_but_not_its_connections(client: FlexClient, emulator: Emulator) -> None:
    for worker in range(4):
        round_trip(client, worker)  # leaves idle connections, which the children inherit

    def work(first: int) -> None:
        for worker in range(first, first + 24):
            round_trip(client, worker)

    processes = [in_child(lambda first=first: work(first)) for first in (1, 2, 3)]  # type: ignore[misc]
    work(0)
    assert_succeeded(processes)
    # The parent does not read responses that were sent to a child.
    work(0)
    targets = [request.target for request in emulator.requests]
    assert targets.count("/flex/v2/sessions") == targets.count("/flex/v2/tokens") == 4 + 24 * 5


@needs_fork
def test_a_fork_during_calls_leaves_no_lock_held(client: FlexClient) -> None:
    done = threading.Event()

    def close_and_call() -> None:
        while not done.is_set():
            client.close()
            round_trip(client, 5)

    threads = [threading.Thread(target=close_and_call) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        assert_succeeded([in_child(lambda: round_trip(client, 6)) for _ in range(12)])
    finally:
        done.set()
        for thread in threads:
            thread.join()


@needs_fork
def test_a_fork_while_a_key_is_fetched() -> None:
    fetch_started, may_finish = threading.Event(), threading.Event()
    parent = os.getpid()
    jwk = {"kty": "RSA", "kid": "3g", "e": "AQAB", "n": "u" * 341 + "w"}

    def fetch(kid: str) -> dict[str, str]:
        if os.getpid() == parent:
            fetch_started.set()
            may_finish.wait(20)
        return jwk

    keys = KeyCache(fetch)
    thread = threading.Thread(target=keys.get, args=("3g",))
    thread.start()
    fetch_started.wait(10)
    try:
        # The fetching thread does not exist in the child, so the child fetches the key itself.
        assert_succeeded([in_child(lambda: assert_key(keys))])
    finally:
        may_finish.set()
        thread.join()
    assert_key(keys)


def assert_key(keys: KeyCache) -> None:
    assert keys.get("3g").kid == "3g"


@needs_fork
def test_a_fork_while_an_access_token_is_fetched() -> None:
    fetch_started, may_finish = threading.Event(), threading.Event()
    parent = os.getpid()

    def fetch() -> str:
        if os.getpid() == parent:
            fetch_started.set()
            may_finish.wait(20)
        return "token"

    token = BearerToken(fetch)

    def sign() -> None:
        assert token.sign(None, 0.0) == {"Authorization": "Bearer token"}  # type: ignore[arg-type]

    thread = threading.Thread(target=sign)
    thread.start()
    fetch_started.wait(10)
    try:
        assert_succeeded([in_child(sign)])
    finally:
        may_finish.set()
        thread.join()


def make_async_client(server: RawServer) -> AsyncFlexClient:
    signer = JwtSharedSecret("merchant", "08c94330-f618-42a3-b09d-e1e43be5efda", base64.b64encode(bytes(32)).decode())
    return AsyncFlexClient(signer, environment=server.url)


async def get(client: AsyncFlexClient) -> object:
    return (await client.request("GET", "/v2/data")).data


@needs_fork
@pytest.mark.parametrize("calls", [0, 2])
def test_a_forked_event_loop_leaves_its_connections_to_the_parent(calls: int) -> None:
    # The child shares the parent's selector. The parent's response arrives after the child has used and closed the
    # client.
    def respond_after_release(connection: socket.socket) -> None:
        server.release.wait(20)
        connection.sendall(OK)

    async def use_and_close(client: AsyncFlexClient) -> None:
        async with client:
            assert [await get(client) for _ in range(calls)] == [{}] * calls

    async def main() -> None:
        client = make_async_client(server)
        assert await get(client) == {}
        pending = asyncio.create_task(get(client))
        while len(server.received) < 2:
            await asyncio.sleep(0.001)
        child = in_child(lambda: asyncio.run(use_and_close(client)))
        await asyncio.to_thread(assert_succeeded, [child])
        server.release.set()
        async with asyncio.timeout(10):
            assert await pending == {}
        assert await get(client) == {}
        await client.close()

    with RawServer(OK, respond_after_release, default=OK) as server:
        asyncio.run(main())
        # The parent's connection is never used by the child.
        assert server.connections == [0, 0, *[1] * calls, 0]


@needs_fork
def test_a_fork_while_the_async_client_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    load_started, may_finish = threading.Event(), threading.Event()
    parent, load = os.getpid(), _Connections._load

    def slow_load(connections: _Connections) -> None:
        if os.getpid() == parent:
            load_started.set()
            may_finish.wait(20)
        load(connections)

    monkeypatch.setattr(_Connections, "_load", slow_load)
    with RawServer(default=OK) as server:
        client = make_async_client(server)

        async def main() -> None:
            assert await get(client) == {}
            await client.close()

        runner, loading = asyncio.Runner(), threading.Event()
        loop = runner.get_loop()
        thread = threading.Thread(target=lambda: runner.run(main()))
        thread.start()
        assert load_started.wait(10)
        # The step of the event loop that started to load has ended when this callback runs.
        loop.call_soon_threadsafe(loading.set)
        assert loading.wait(10)
        assert client._transport._connections._loading is not None
        try:
            # The loading thread does not exist in the child, so the child loads itself.
            assert_succeeded([in_child(lambda: asyncio.run(main()))])
        finally:
            may_finish.set()
            thread.join()
            runner.close()
    assert len(server.received) == 2
