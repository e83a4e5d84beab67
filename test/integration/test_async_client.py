"""``AsyncFlexClient``: cancelled tasks, event loops, connections, blocking signers, and key fetches."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any

import aiohttp
import pytest

from cybersource_flex import AsyncFlexClient, ConfigurationError, RetryPolicy, errors, fields
from cybersource_flex.auth import BearerToken, JwtExternalKey, JwtSharedSecret
from cybersource_flex.emulator import Emulator
from cybersource_flex.jose import PinnedKeys, PublicKey
from cybersource_flex.transport.backends import aiohttp_connections, aiohttp_exchange
from support.servers import RawServer
from support.tokens import decode_part

FIELDS = fields(card=["number"])
AUTH = JwtSharedSecret("merchant", "key", "A" * 43 + "=")
ONCE = RetryPolicy(attempts=1)
FAST_RETRY = RetryPolicy(initial_delay=0.001, max_delay=0.002)
JTI = "A" * 64

Responder = Callable[["Server", asyncio.StreamWriter], Awaitable[None]]


def ok(number: int) -> bytes:
    body = b'{"number":%d}' % number
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


async def close(server: Server, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def respond_when_released(server: Server, writer: asyncio.StreamWriter) -> None:
    await server.release.wait()
    writer.write(ok(server.responded))


async def pause_in_the_body(server: Server, writer: asyncio.StreamWriter) -> None:
    writer.write(ok(server.responded)[:-4])
    await server.release.wait()
    writer.write(ok(server.responded)[-4:])


class Server:
    """A server in the event loop of the test.

    Args:
        responders: the functions that respond to the first requests. None, and all later requests, get a response with
            the number of the request.

    Attributes:
        accepted: the number of accepted connections.
        received: for each request the number of its connection, and its head.
        release: an event for responders that wait until the test allows them to go on.
    """

    def __init__(self, *responders: Responder | None) -> None:
        self._responders = list(responders)
        self._writers: list[asyncio.StreamWriter] = []
        self.accepted = self.responded = 0
        self.received: list[tuple[int, str]] = []
        self.release = asyncio.Event()

    async def __aenter__(self) -> Server:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.release.set()
        self._server.close()
        for writer in self._writers:
            writer.close()
        await self._server.wait_closed()

    async def has_received(self, number: int) -> None:
        while len(self.received) < number:
            await asyncio.sleep(0)

    @property
    def signatures(self) -> set[str]:
        lines = (line for _, head in self.received for line in head.split("\r\n"))
        return {line for line in lines if line.lower().startswith("authorization:")}

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        connection = self.accepted
        self._writers.append(writer)
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                self.received.append((connection, head.decode("ascii")))
                self.responded += 1
                responder = self._responders.pop(0) if self._responders else None
                if responder is None:
                    writer.write(ok(self.responded))
                else:
                    await responder(self, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def make_client(server: Server, **options: Any) -> AsyncFlexClient:
    return AsyncFlexClient(AUTH, environment=server.url, **{"retry": ONCE, **options})


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def with_time_limit() -> None:
        # Each test takes less than a second. The limit ends a test that hangs.
        await asyncio.wait_for(main(), 20)

    asyncio.run(with_time_limit())


# Cancelled tasks.


@pytest.mark.parametrize("stage", ["connecting", "waiting", "reading"])
def test_the_pool_works_after_a_cancelled_call(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        reached = asyncio.Event()
        responders = {"connecting": [], "waiting": [respond_when_released], "reading": [pause_in_the_body]}
        async with Server(*responders[stage]) as server, make_client(server, pool_size=1) as flex:

            async def connecting(*_: Any) -> None:
                reached.set()
                await asyncio.Event().wait()

            read = aiohttp_exchange.read_body

            async def reading(*arguments: Any) -> bytes:
                reached.set()
                return await read(*arguments)

            with monkeypatch.context() as patch:
                if stage == "connecting":
                    patch.setattr(loop, "sock_connect", connecting, raising=False)
                if stage == "reading":
                    patch.setattr(aiohttp_exchange, "read_body", reading)
                task = asyncio.create_task(flex.payment_details(JTI))
                await (server.has_received(1) if stage == "waiting" else reached.wait())
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            before = len(server.received)
            server.release.set()
            # The only connection of the pool is free again, and each response belongs to its request.
            for number in range(before + 1, before + 4):
                assert await flex.payment_details(JTI) == {"number": number}
            connections = [connection for connection, _ in server.received]
            assert connections == {"connecting": [1, 1, 1], "waiting": [1, 2, 2, 2], "reading": [1, 2, 2, 2]}[stage]

    run(main)


def test_cancelling_a_wait_for_a_connection_does_not_affect_other_calls() -> None:
    async def main() -> None:
        async with Server(respond_when_released) as server, make_client(server, pool_size=1) as flex:
            first = asyncio.create_task(flex.payment_details(JTI))
            await server.has_received(1)
            others = [asyncio.create_task(flex.payment_details(JTI)) for _ in range(4)]
            await asyncio.sleep(0)
            for each in others[:2]:
                each.cancel()
            server.release.set()
            assert await first == {"number": 1}
            assert [(await each)["number"] for each in others[2:]] == [2, 3]
            assert all(each.cancelled() for each in others[:2])
            assert server.accepted == 1

    run(main)


def test_cancelling_many_calls_leaves_no_tasks() -> None:
    async def main() -> None:
        async with Server(*[respond_when_released] * 20) as server, make_client(server) as flex:
            tasks = [asyncio.create_task(flex.payment_details(JTI)) for _ in range(20)]
            await server.has_received(20)
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert {type(each) for each in results} == {asyncio.CancelledError}
            server.release.set()
            assert (await flex.payment_details(JTI))["number"] == 21
            assert server.received[-1][0] == 21, "a new connection, not that of a cancelled call"
        assert asyncio.all_tasks() == {asyncio.current_task(), *server_and_test_tasks()}

    run(main)


def server_and_test_tasks() -> set[asyncio.Task[Any]]:
    tasks = asyncio.all_tasks()
    return {task for task in tasks if "Server._serve" in repr(task) or "with_time_limit" in repr(task)}


@pytest.mark.parametrize("responder", [respond_when_released, pause_in_the_body])
def test_a_deadline_applies(responder: Responder) -> None:
    async def main() -> None:
        async with Server(*[responder] * 3) as server, make_client(server, read_timeout=30) as flex:
            started = time.monotonic()
            with pytest.raises(errors.ResponseTimeoutError) as caught:
                await flex.payment_details(JTI, retry=RetryPolicy(deadline=0.1))
            assert 0.09 < time.monotonic() - started < 5
            assert len(caught.value.attempts) == len(server.received) == 1

    run(main)


def test_a_timeout_of_the_caller_applies() -> None:
    async def main() -> None:
        async with Server(respond_when_released) as server, make_client(server, retry=FAST_RETRY) as flex:
            with pytest.raises((TimeoutError, asyncio.TimeoutError)):
                await asyncio.wait_for(flex.payment_details(JTI), 0.05)
            assert len(server.received) == 1
            assert (await flex.payment_details(JTI))["number"] == 2

    run(main)


# Connections and event loops.


def test_many_tasks_share_a_client() -> None:
    async def main() -> None:
        async with Server() as server, make_client(server) as flex:
            for _ in range(5):
                responses = await asyncio.gather(*(flex.payment_details(JTI) for _ in range(20)))
                assert len({response["number"] for response in responses}) == 20
            assert server.accepted <= 20
            assert len(server.received) == len(server.signatures) == 100

    run(main)


def test_a_bounded_pool_is_not_exceeded() -> None:
    async def main() -> None:
        async with Server() as server, make_client(server, pool_size=3) as flex:
            responses = await asyncio.gather(*(flex.payment_details(JTI) for _ in range(60)))
            assert len({response["number"] for response in responses}) == 60
            assert server.accepted <= 3

    run(main)


def test_a_client_belongs_to_one_event_loop_until_it_is_closed() -> None:
    with Emulator() as emulator:
        flex = AsyncFlexClient(JwtSharedSecret(**emulator.auth), environment=emulator.url)
        first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
        try:
            context = first.run_until_complete(flex.create_capture_context(FIELDS))
            emulator.clear()
            with pytest.raises(ConfigurationError, match="is in use in another event loop, which is still open"):
                second.run_until_complete(flex.create_capture_context(FIELDS))
            assert emulator.requests == []
            # Calls that need no connection work in any event loop.
            assert second.run_until_complete(flex.verify_capture_context(context.jwt)) == context
            first.run_until_complete(flex.close())
            assert second.run_until_complete(flex.create_capture_context(FIELDS)).type == "api-0.1.0"
            second.run_until_complete(flex.close())
        finally:
            first.close()
            second.close()


def test_closing_during_calls_raises_a_typed_error_in_each() -> None:
    async def main() -> None:
        async with Server(*[respond_when_released] * 6) as server:
            flex = make_client(server, pool_size=6)
            tasks = [asyncio.create_task(flex.payment_details(JTI)) for _ in range(12)]
            await server.has_received(6)
            await flex.close()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            # Half of the requests had been sent, and half waited for a connection.
            assert {type(each) for each in results} == {errors.ConnectionBrokenError, errors.ConnectionFailedError}
            outcomes = sorted(each.outcome for each in results if isinstance(each, errors.TransportError))
            assert outcomes == ["not_sent"] * 6 + ["unknown"] * 6
            server.release.set()
            assert (await flex.payment_details(JTI))["number"] == 7
            await flex.close()
            await flex.close()

    run(main)


def test_safe_calls_are_retried_after_closing() -> None:
    async def main() -> None:
        async with Server(respond_when_released) as server:
            flex = make_client(server, retry=FAST_RETRY)
            task = asyncio.create_task(flex.payment_details(JTI))
            await server.has_received(1)
            await flex.close()
            assert await task == {"number": 2}
            await flex.close()

    run(main)


# Requests that aiohttp could repeat.


def test_requests_on_a_closed_connection_are_not_repeated_by_aiohttp() -> None:
    async def main() -> None:
        async with Server(None, close) as server, make_client(server) as flex:
            await flex.payment_details(JTI)
            # aiohttp alone would repeat this GET, with the same signature.
            with pytest.raises(errors.ConnectionBrokenError) as caught:
                await flex.payment_details(JTI)
            assert caught.value.outcome == "unknown"
            assert [connection for connection, _ in server.received] == [1, 1]
            assert server.accepted == 1

    run(main)


def test_each_attempt_reaches_the_host_once_with_a_new_signature() -> None:
    async def main() -> None:
        async with Server(None, close, close) as server, make_client(server, retry=FAST_RETRY) as flex:
            await flex.payment_details(JTI)
            assert await flex.payment_details(JTI) == {"number": 4}
            assert [connection for connection, _ in server.received] == [1, 1, 2, 3]
            assert len(server.signatures) == 4

    run(main)


def test_a_connection_closed_while_idle_is_not_used() -> None:
    async def main() -> None:
        async def respond_and_close(server: Server, writer: asyncio.StreamWriter) -> None:
            writer.write(ok(server.responded))
            writer.close()

        async with Server(*[respond_and_close] * 20) as server, make_client(server, retry=FAST_RETRY) as flex:
            for _ in range(10):
                await flex.payment_details(JTI)
            assert len(server.received) == len(server.signatures)
            # Each connection was used for one attempt.
            assert len({connection for connection, _ in server.received}) == len(server.received)

    run(main)


# Blocking signers, and responses that could make a call hang.


def external(sign: Callable[[bytes], bytes]) -> JwtExternalKey:
    return JwtExternalKey("merchant", "key", sign, algorithm="HS256")


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda wait: external(lambda message: wait(bytes(32))), "jwt"),
        (lambda wait: BearerToken(lambda: wait("opaque")), "opaque"),
    ],
    ids=["external key", "bearer"],
)
def test_a_blocking_signer_runs_in_a_thread(make: Any, expected: str) -> None:
    release, called = threading.Event(), threading.Event()
    thread_ids: list[int] = []

    def wait(result: Any) -> Any:
        thread_ids.append(threading.get_ident())
        called.set()
        assert release.wait(20)
        return result

    async def main() -> None:
        async with Server() as server:
            flex = AsyncFlexClient(make(wait), environment=server.url, retry=ONCE)
            async with flex, make_client(server) as other:
                task = asyncio.create_task(flex.payment_details(JTI))
                while not called.is_set():
                    await asyncio.sleep(0)
                # The event loop is not blocked: another client gets its response.
                assert await other.payment_details(JTI) == {"number": 1}
                assert not task.done()
                release.set()
                assert await task == {"number": 2}
            assert threading.get_ident() not in thread_ids
            assert expected in server.received[1][1] or expected == "jwt"

    run(main)


def test_a_signer_that_does_not_block_needs_no_thread() -> None:
    thread_ids: list[int] = []

    class NonBlockingSigner:
        def sign(self, request: Any, now: float) -> dict[str, str]:
            thread_ids.append(threading.get_ident())
            return {}

    async def main() -> None:
        async with Server() as server, AsyncFlexClient(NonBlockingSigner(), environment=server.url) as flex:
            await flex.payment_details(JTI)

    run(main)
    assert thread_ids == [threading.get_ident()]


def test_the_event_loop_is_not_blocked_while_a_token_is_renewed() -> None:
    release, called = threading.Event(), threading.Event()
    tokens = iter(["first", "second", "third"])

    def fetch() -> str:
        token = next(tokens)
        if token == "second":
            called.set()
            assert release.wait(20)
        return token

    async def unauthorized(server: Server, writer: asyncio.StreamWriter) -> None:
        await server.release.wait()
        writer.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")

    async def main() -> None:
        auth = BearerToken(fetch)
        async with Server(unauthorized) as server, AsyncFlexClient(auth, environment=server.url, retry=ONCE) as flex:
            rejected = asyncio.create_task(flex.payment_details(JTI))
            await server.has_received(1)
            auth.refresh({"Authorization": "Bearer first"})
            waiting = asyncio.create_task(flex.payment_details(JTI))
            while not called.is_set():
                await asyncio.sleep(0)
            server.release.set()
            calls = 0
            async with make_client(server) as other:
                # The 401 is read and its token discarded while the thread is still fetching the next token.
                while calls < 3:
                    await other.payment_details(JTI)
                    calls += 1
            assert not waiting.done()
            release.set()
            assert {(await rejected)["number"], (await waiting)["number"]} == {5, 6}

    run(main)


@pytest.mark.parametrize("late", [False, True])
def test_a_malformed_chunk_ends_the_call_at_once(late: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    reading = asyncio.Event()
    read = aiohttp_exchange.read_body

    async def record(*arguments: Any) -> bytes:
        reading.set()
        return await read(*arguments)

    monkeypatch.setattr(aiohttp_exchange, "read_body", record)

    async def malformed(server: Server, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n")
        if late:
            await reading.wait()
            await asyncio.sleep(0)
        writer.write(b"no size\r\n")
        # The connection stays open.
        await server.release.wait()

    async def main() -> None:
        async with Server(malformed) as server, make_client(server, read_timeout=60) as flex:
            started = time.monotonic()
            with pytest.raises(errors.ConnectionBrokenError):
                await flex.payment_details(JTI)
            assert time.monotonic() - started < 5
            server.release.set()
            assert await flex.payment_details(JTI) == {"number": 2}
            assert [connection for connection, _ in server.received] == [1, 2]

    run(main)


def test_a_connection_does_not_keep_the_bodies_that_it_has_received(monkeypatch: pytest.MonkeyPatch) -> None:
    read = aiohttp_exchange.read_body
    reading = asyncio.Event()

    async def record(response: Any, limit: int) -> bytes:
        reading.set()
        return await read(response, limit)

    monkeypatch.setattr(aiohttp_exchange, "read_body", record)

    async def body_after_head(server: Server, writer: asyncio.StreamWriter) -> None:
        reading.clear()
        writer.write(ok(server.responded)[:-4])
        await reading.wait()
        writer.write(ok(server.responded)[-4:])

    async def main() -> None:
        async with Server(*[body_after_head] * 5) as server, make_client(server) as flex:
            for number in range(1, 7):
                assert await flex.payment_details(JTI) == {"number": number}
            assert server.accepted == 1
            gc.collect()
            # The last one is in use by the connection.
            assert sum(type(thing) is aiohttp.StreamReader for thing in gc.get_objects()) <= 1

    run(main)


# Keys.


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


def fetches(emulator: Emulator) -> int:
    return sum("public-keys" in request.target for request in emulator.requests)


def test_many_tasks_with_an_unknown_kid_share_one_fetch(emulator: Emulator) -> None:
    async def main() -> None:
        auth = JwtSharedSecret(**emulator.auth)
        async with AsyncFlexClient(auth, environment=emulator.url) as issuing_client:
            jwt = (await issuing_client.create_capture_context(FIELDS)).jwt
        emulator.clear()
        async with AsyncFlexClient(None, environment=emulator.url) as flex:
            contexts = await asyncio.gather(*(flex.verify_capture_context(jwt) for _ in range(64)))
            assert {each.jwt for each in contexts} == {jwt}
            assert fetches(emulator) == 1
        emulator.clear()
        emulator.scenario = "404-key"
        async with AsyncFlexClient(None, environment=emulator.url) as flex:
            calls = (flex.verify_capture_context(jwt) for _ in range(64))
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert {type(each) for each in results} == {errors.UnknownKeyError}
            assert fetches(emulator) == 1

    run(main)


def test_a_cancelled_task_does_not_cancel_the_fetch_of_others(emulator: Emulator) -> None:
    async def main() -> None:
        auth = JwtSharedSecret(**emulator.auth)
        async with AsyncFlexClient(auth, environment=emulator.url) as issuing_client:
            jwt = (await issuing_client.create_capture_context(FIELDS)).jwt
        emulator.clear()
        emulator.scenario = "latency;seconds=0.05"
        async with AsyncFlexClient(None, environment=emulator.url) as flex:
            tasks = [asyncio.create_task(flex.verify_capture_context(jwt)) for _ in range(8)]
            await asyncio.sleep(0)
            tasks[0].cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert isinstance(results[0], asyncio.CancelledError)
            assert all(each.jwt == jwt for each in results[1:])  # type: ignore[union-attr]
            assert fetches(emulator) == 1

    run(main)


class KeySource:
    """A blocking key source. ``calls`` contains the calls of its methods."""

    def __init__(self, keys: PinnedKeys) -> None:
        self._keys = keys
        self.calls: list[str] = []

    def get(self, kid: str) -> PublicKey:
        self.calls.append(f"get {kid}")
        return self._keys.get(kid)

    def refresh(self, kid: str) -> PublicKey | None:
        self.calls.append(f"refresh {kid}")
        return self._keys.refresh(kid)


class AsyncKeySource:
    """An asynchronous key source."""

    def __init__(self, keys: PinnedKeys) -> None:
        self._source = KeySource(keys)
        self.calls = self._source.calls

    async def get(self, kid: str) -> PublicKey:
        await asyncio.sleep(0)
        return self._source.get(kid)

    async def refresh(self, kid: str) -> PublicKey | None:
        await asyncio.sleep(0)
        return self._source.refresh(kid)


@pytest.mark.parametrize("source_class", [KeySource, AsyncKeySource])
def test_a_key_source_may_be_sync_or_async(source_class: Any, emulator: Emulator) -> None:
    async def main() -> None:
        auth = JwtSharedSecret(**emulator.auth)
        async with AsyncFlexClient(auth, environment=emulator.url) as issuing_client:
            context = await issuing_client.create_capture_context(FIELDS)
        from cybersource_flex import Configuration
        from cybersource_flex.aio import AsyncApiClient, AsyncFlexAPIApi

        kid = str(decode_part(context.jwt.partition(".")[0])["kid"])
        async with AsyncApiClient(Configuration(host=emulator.url)) as api_client:
            jwk = (await AsyncFlexAPIApi(api_client).get_public_key(kid)).to_dict()
        source = source_class(PinnedKeys([jwk]))
        emulator.clear()
        async with AsyncFlexClient(auth, environment=emulator.url, keys=source) as flex:
            assert await flex.verify_capture_context(context.jwt) == context
            assert source.calls == [f"get {kid}"]
            forged = context.jwt[:-8] + "AAAAAAAA"
            with pytest.raises(errors.InvalidSignatureError):
                await flex.verify_capture_context(forged)
            assert source.calls == [f"get {kid}", f"get {kid}", f"refresh {kid}"]
        assert emulator.requests == []

    run(main)


# Tracebacks, warnings and messages.


def test_exceptions_that_a_task_handles_keep_their_local_variables(emulator: Emulator) -> None:
    def raise_error() -> None:
        variable = "kept"
        raise KeyError(variable)

    async def main() -> None:
        async with AsyncFlexClient(None, environment=emulator.url) as flex:

            async def verify_while_handling_an_error() -> None:
                try:
                    raise_error()
                except KeyError:
                    await flex.verify_capture_context("none")

            with pytest.raises(errors.FlexError) as caught:
                await verify_while_handling_an_error()
            outer = caught.value.__context__
            assert isinstance(outer, KeyError)
            report = traceback.TracebackException.from_exception(outer, capture_locals=True)
            assert report.stack[-1].locals == {"variable": "'kept'"}

    run(main)


def test_a_closed_client_causes_no_resource_warnings(emulator: Emulator) -> None:
    program = """
import asyncio, gc, sys
from cybersource_flex import AsyncFlexClient, fields
from cybersource_flex.auth import JwtSharedSecret

async def main(url, merchant_id, key_id, secret_key):
    # The development mode also reports slow callbacks, which this test ignores.
    asyncio.get_running_loop().slow_callback_duration = 60
    async with AsyncFlexClient(JwtSharedSecret(merchant_id, key_id, secret_key), environment=url) as client:
        contexts = await asyncio.gather(*(client.create_capture_context(fields(card=["number"])) for _ in range(8)))
        task = asyncio.create_task(client.create_capture_context(fields(card=["number"])))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    print(len(contexts))

asyncio.run(main(*sys.argv[1:]))
gc.collect()
"""
    auth = emulator.auth
    arguments = (emulator.url, auth["merchant_id"], auth["key_id"], auth["secret_key"])
    process = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", program, *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
    )
    assert (process.returncode, process.stdout.strip(), process.stderr) == (0, "8", "")


def test_without_aiohttp_the_error_names_the_extra() -> None:
    program = """
import sys
sys.modules["aiohttp"] = None
import cybersource_flex
cybersource_flex.FlexClient(None).close()
try:
    cybersource_flex.AsyncFlexClient(None)
except ImportError as error:
    print(error)
"""
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, encoding="utf-8", timeout=60
    )
    assert (process.stdout.strip(), process.stderr) == (
        "asynchronous calls require the extra async: pip install 'cybersource-flex[async]'",
        "",
    )


# Closed connections.


@pytest.mark.parametrize("cause", [ConnectionResetError(104, "Connection reset by peer"), None])
def test_the_reset_of_an_idle_connection_is_not_reported_as_an_error(cause: ConnectionResetError | None) -> None:
    # Firewalls and load balancers reset idle connections.
    problems: list[dict[str, Any]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, problem: problems.append(problem))
        protocol = aiohttp_connections.Protocol(loop)
        transport, _ = await loop.create_connection(lambda: protocol, "127.0.0.1", server.port)
        # Reading a body that arrives in several pieces creates this future.
        closed = protocol.closed
        assert closed is not None
        protocol.connection_lost(cause)
        assert closed.done()
        transport.abort()

    with RawServer() as server:
        run(main)
    gc.collect()
    assert problems == []
