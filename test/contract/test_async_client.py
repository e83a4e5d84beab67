"""What only asyncio has: tasks that are cancelled, event loops that come and go, and aiohttp's own way of repeating."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any

import pytest

from cybersource_flex import AsyncFlexClient, ConfigurationError, RetryPolicy, errors, fields
from cybersource_flex.auth import BearerToken, JwtExternalKey, JwtSharedSecret
from cybersource_flex.emulator import Emulator
from cybersource_flex.jose import PinnedKeys, PublicKey
from cybersource_flex.transport.aio import AsyncTransport

FIELDS = fields(card=["number"])
AUTH = JwtSharedSecret("merchant", "key", "A" * 43 + "=")
ONCE = RetryPolicy(attempts=1)
QUICK = RetryPolicy(base=0.001, cap=0.002)
JTI = "A" * 64

Responder = Callable[["Host", asyncio.StreamWriter], Awaitable[None]]


def ok(number: int) -> bytes:
    body = b'{"number":%d}' % number
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


async def close(host: Host, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def hold(host: Host, writer: asyncio.StreamWriter) -> None:
    await host.go.wait()
    writer.write(ok(host.responded))


async def half(host: Host, writer: asyncio.StreamWriter) -> None:
    writer.write(ok(host.responded)[:-4])
    await host.go.wait()
    writer.write(ok(host.responded)[-4:])


class Host:
    """Server in the event loop of the test. Responds to each request with its number, or as the next responder does.

    Attributes:
        accepted: how many connections were made.
        received: for each request the number of its connection, and its head.
    """

    def __init__(self, *responders: Responder | None) -> None:
        self._responders = list(responders)
        self._writers: list[asyncio.StreamWriter] = []
        self.accepted = self.responded = 0
        self.received: list[tuple[int, str]] = []
        self.go = asyncio.Event()

    async def __aenter__(self) -> Host:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.go.set()
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


def client(host: Host, **options: Any) -> AsyncFlexClient:
    return AsyncFlexClient(AUTH, environment=host.url, **{"retry": ONCE, **options})


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def in_time() -> None:
        # Nothing below takes a second. What hangs is to fail, and to say where.
        await asyncio.wait_for(main(), 20)

    asyncio.run(in_time())


# Cancelling.


@pytest.mark.parametrize("stage", ["connecting", "waiting", "reading"])
def test_a_cancelled_call_leaves_a_pool_that_works_and_nothing_half_read(
    stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        there = asyncio.Event()
        responders = {"connecting": [], "waiting": [hold], "reading": [half]}
        async with Host(*responders[stage]) as host, client(host, pool_size=1) as flex:

            async def connecting(*_: Any) -> None:
                there.set()
                await asyncio.Event().wait()

            read = AsyncTransport._read

            async def reading(*arguments: Any) -> bytes:
                there.set()
                return await read(*arguments)

            with monkeypatch.context() as patch:
                if stage == "connecting":
                    patch.setattr(loop, "sock_connect", connecting, raising=False)
                if stage == "reading":
                    patch.setattr(AsyncTransport, "_read", reading)
                task = asyncio.create_task(flex.payment_details(JTI))
                await (host.has_received(1) if stage == "waiting" else there.wait())
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            before = len(host.received)
            host.go.set()
            # The only place of the pool is free again, and the response belongs to the request.
            for number in range(before + 1, before + 4):
                assert await flex.payment_details(JTI) == {"number": number}
            connections = [connection for connection, _ in host.received]
            assert connections == {"connecting": [1, 1, 1], "waiting": [1, 2, 2, 2], "reading": [1, 2, 2, 2]}[stage]

    run(main)


def test_cancelling_a_wait_for_a_connection_does_not_affect_other_calls() -> None:
    async def main() -> None:
        async with Host(hold) as host, client(host, pool_size=1) as flex:
            first = asyncio.create_task(flex.payment_details(JTI))
            await host.has_received(1)
            others = [asyncio.create_task(flex.payment_details(JTI)) for _ in range(4)]
            await asyncio.sleep(0)
            for each in others[:2]:
                each.cancel()
            host.go.set()
            assert await first == {"number": 1}
            assert [(await each)["number"] for each in others[2:]] == [2, 3]
            assert all(each.cancelled() for each in others[:2])
            assert host.accepted == 1

    run(main)


def test_cancelling_all_of_many_leaves_nothing_behind() -> None:
    async def main() -> None:
        async with Host(*[hold] * 20) as host, client(host) as flex:
            tasks = [asyncio.create_task(flex.payment_details(JTI)) for _ in range(20)]
            await host.has_received(20)
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            assert {type(each) for each in ended} == {asyncio.CancelledError}
            host.go.set()
            assert (await flex.payment_details(JTI))["number"] == 21
            assert host.received[-1][0] == 21, "none of the cancelled ones' connections"
        assert asyncio.all_tasks() == {asyncio.current_task(), *_of(host)}

    run(main)


def _of(host: Host) -> set[asyncio.Task[Any]]:
    tasks = asyncio.all_tasks()
    return {task for task in tasks if "Host._serve" in repr(task) or "in_time" in repr(task)}


@pytest.mark.parametrize("responder", [hold, half])
def test_a_deadline_applies(responder: Responder) -> None:
    async def main() -> None:
        async with Host(*[responder] * 3) as host, client(host, read_timeout=30) as flex:
            started = time.monotonic()
            with pytest.raises(errors.ResponseTimeoutError) as caught:
                await flex.payment_details(JTI, retry=RetryPolicy(deadline=0.1))
            assert 0.09 < time.monotonic() - started < 5
            assert len(caught.value.attempts) == len(host.received) == 1

    run(main)


def test_a_timeout_of_the_caller_applies() -> None:
    async def main() -> None:
        async with Host(hold) as host, client(host, retry=QUICK) as flex:
            with pytest.raises((TimeoutError, asyncio.TimeoutError)):
                await asyncio.wait_for(flex.payment_details(JTI), 0.05)
            assert len(host.received) == 1
            assert (await flex.payment_details(JTI))["number"] == 2

    run(main)


# Connections and event loops.


def test_many_tasks_share_one_session() -> None:
    async def main() -> None:
        async with Host() as host, client(host) as flex:
            for _ in range(5):
                responses = await asyncio.gather(*(flex.payment_details(JTI) for _ in range(20)))
                assert len({response["number"] for response in responses}) == 20
            assert host.accepted <= 20
            assert len(host.received) == len(host.signatures) == 100

    run(main)


def test_a_bounded_pool_is_not_exceeded() -> None:
    async def main() -> None:
        async with Host() as host, client(host, pool_size=3) as flex:
            responses = await asyncio.gather(*(flex.payment_details(JTI) for _ in range(60)))
            assert len({response["number"] for response in responses}) == 60
            assert host.accepted <= 3

    run(main)


def test_a_client_belongs_to_one_event_loop_until_it_is_closed() -> None:
    with Emulator() as emulator:
        flex = AsyncFlexClient(JwtSharedSecret(**emulator.auth), environment=emulator.url)
        first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
        try:
            context = first.run_until_complete(flex.create_capture_context(FIELDS))
            emulator.clear()
            with pytest.raises(ConfigurationError, match="belongs to one event loop; close it before"):
                second.run_until_complete(flex.create_capture_context(FIELDS))
            assert emulator.requests == []
            # What needs no connection needs no event loop.
            assert second.run_until_complete(flex.verify_capture_context(context.jwt)) == context
            first.run_until_complete(flex.close())
            assert second.run_until_complete(flex.create_capture_context(FIELDS)).type == "api-0.1.0"
            second.run_until_complete(flex.close())
        finally:
            first.close()
            second.close()


def test_closing_during_calls_raises_a_typed_error_in_each() -> None:
    async def main() -> None:
        async with Host(*[hold] * 6) as host:
            flex = client(host, pool_size=6)
            tasks = [asyncio.create_task(flex.payment_details(JTI)) for _ in range(12)]
            await host.has_received(6)
            await flex.close()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            # Half of them were with the host, and half waited for a connection.
            assert {type(each) for each in ended} == {errors.ConnectionBrokenError, errors.ConnectionFailedError}
            outcomes = sorted(each.outcome for each in ended if isinstance(each, errors.TransportError))
            assert outcomes == ["not_sent"] * 6 + ["unknown"] * 6
            host.go.set()
            assert (await flex.payment_details(JTI))["number"] == 7
            await flex.close()
            await flex.close()

    run(main)


def test_a_call_that_may_be_repeated_survives_closing() -> None:
    async def main() -> None:
        async with Host(hold) as host:
            flex = client(host, retry=QUICK)
            task = asyncio.create_task(flex.payment_details(JTI))
            await host.has_received(1)
            await flex.close()
            assert await task == {"number": 2}
            await flex.close()

    run(main)


# Nothing is sent behind our back.


def test_nothing_is_sent_again_on_a_connection_that_was_closed_silently() -> None:
    async def main() -> None:
        async with Host(None, close) as host, client(host) as flex:
            await flex.payment_details(JTI)
            # A GET, which aiohttp would send again by itself, with the signature of the first time.
            with pytest.raises(errors.ConnectionBrokenError) as caught:
                await flex.payment_details(JTI)
            assert caught.value.outcome == "unknown"
            assert [connection for connection, _ in host.received] == [1, 1]
            assert host.accepted == 1

    run(main)


def test_each_attempt_reaches_the_host_once_with_a_new_signature() -> None:
    async def main() -> None:
        async with Host(None, close, close) as host, client(host, retry=QUICK) as flex:
            await flex.payment_details(JTI)
            assert await flex.payment_details(JTI) == {"number": 4}
            assert [connection for connection, _ in host.received] == [1, 1, 2, 3]
            assert len(host.signatures) == 4

    run(main)


def test_a_connection_closed_while_idle_is_not_used() -> None:
    async def main() -> None:
        async def once(host: Host, writer: asyncio.StreamWriter) -> None:
            writer.write(ok(host.responded))
            writer.close()

        async with Host(*[once] * 20) as host, client(host, retry=QUICK) as flex:
            for _ in range(10):
                await flex.payment_details(JTI)
            assert len(host.received) == len(host.signatures)
            # Each attempt that reached the host was the only one on its connection.
            assert len({connection for connection, _ in host.received}) == len(host.received)

    run(main)


# Nothing makes the loop wait, and nothing waits for ever.


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
    gate, asked = threading.Event(), threading.Event()
    where: list[int] = []

    def wait(result: Any) -> Any:
        where.append(threading.get_ident())
        asked.set()
        assert gate.wait(20)
        return result

    async def main() -> None:
        async with Host() as host:
            flex = AsyncFlexClient(make(wait), environment=host.url, retry=ONCE)
            async with flex, client(host) as other:
                task = asyncio.create_task(flex.payment_details(JTI))
                while not asked.is_set():
                    await asyncio.sleep(0)
                # The loop goes on: another client gets its response meanwhile.
                assert await other.payment_details(JTI) == {"number": 1}
                assert not task.done()
                gate.set()
                assert await task == {"number": 2}
            assert threading.get_ident() not in where
            assert expected in host.received[1][1] or expected == "jwt"

    run(main)


def test_a_signer_that_does_not_block_needs_no_thread() -> None:
    where: list[int] = []

    class Plain:
        def sign(self, request: Any, now: float) -> dict[str, str]:
            where.append(threading.get_ident())
            return {}

    async def main() -> None:
        async with Host() as host, AsyncFlexClient(Plain(), environment=host.url) as flex:
            await flex.payment_details(JTI)

    run(main)
    assert where == [threading.get_ident()]


def test_renewing_does_not_make_the_loop_wait_for_a_token_that_is_under_way() -> None:
    gate, asked = threading.Event(), threading.Event()
    tokens = iter(["first", "second", "third"])

    def fetch() -> str:
        token = next(tokens)
        if token == "second":
            asked.set()
            assert gate.wait(20)
        return token

    async def unauthorized(host: Host, writer: asyncio.StreamWriter) -> None:
        await host.go.wait()
        writer.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")

    async def main() -> None:
        auth = BearerToken(fetch)
        async with Host(unauthorized) as host, AsyncFlexClient(auth, environment=host.url, retry=ONCE) as flex:
            refused = asyncio.create_task(flex.payment_details(JTI))
            await host.has_received(1)
            auth.renew()
            waiting = asyncio.create_task(flex.payment_details(JTI))
            while not asked.is_set():
                await asyncio.sleep(0)
            host.go.set()
            turns = 0
            async with client(host) as other:
                # The 401 is read, and its token is forgotten, while the thread has not got the next one yet.
                while turns < 3:
                    await other.payment_details(JTI)
                    turns += 1
            assert not waiting.done()
            gate.set()
            assert {(await refused)["number"], (await waiting)["number"]} == {5, 6}

    run(main)


@pytest.mark.parametrize("late", [False, True])
def test_a_malformed_chunk_ends_the_call_at_once(late: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    reading = asyncio.Event()
    read = AsyncTransport._read

    async def record(*arguments: Any) -> bytes:
        reading.set()
        return await read(*arguments)

    monkeypatch.setattr(AsyncTransport, "_read", record)

    async def malformed(host: Host, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n")
        if late:
            await reading.wait()
            await asyncio.sleep(0)
        writer.write(b"no size\r\n")
        # And the connection stays open.
        await host.go.wait()

    async def main() -> None:
        async with Host(malformed) as host, client(host, read_timeout=60) as flex:
            started = time.monotonic()
            with pytest.raises(errors.ConnectionBrokenError):
                await flex.payment_details(JTI)
            assert time.monotonic() - started < 5
            host.go.set()
            assert await flex.payment_details(JTI) == {"number": 2}
            assert [connection for connection, _ in host.received] == [1, 2]

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
        async with AsyncFlexClient(auth, environment=emulator.url) as maker:
            jwt = (await maker.create_capture_context(FIELDS)).jwt
        emulator.clear()
        async with AsyncFlexClient(None, environment=emulator.url) as flex:
            contexts = await asyncio.gather(*(flex.verify_capture_context(jwt) for _ in range(64)))
            assert {each.jwt for each in contexts} == {jwt}
            assert fetches(emulator) == 1
        emulator.clear()
        emulator.scenario = "404-key"
        async with AsyncFlexClient(None, environment=emulator.url) as flex:
            calls = (flex.verify_capture_context(jwt) for _ in range(64))
            ended = await asyncio.gather(*calls, return_exceptions=True)
            assert {type(each) for each in ended} == {errors.UnknownKeyError}
            assert fetches(emulator) == 1

    run(main)


def test_a_cancelled_task_does_not_cancel_the_fetch_of_others(emulator: Emulator) -> None:
    async def main() -> None:
        auth = JwtSharedSecret(**emulator.auth)
        async with AsyncFlexClient(auth, environment=emulator.url) as maker:
            jwt = (await maker.create_capture_context(FIELDS)).jwt
        emulator.clear()
        emulator.scenario = "latency;seconds=0.05"
        async with AsyncFlexClient(None, environment=emulator.url) as flex:
            tasks = [asyncio.create_task(flex.verify_capture_context(jwt)) for _ in range(8)]
            await asyncio.sleep(0)
            tasks[0].cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            assert isinstance(ended[0], asyncio.CancelledError)
            assert all(each.jwt == jwt for each in ended[1:])  # type: ignore[union-attr]
            assert fetches(emulator) == 1

    run(main)


class Source:
    """A source of keys, as threads ask it."""

    def __init__(self, keys: PinnedKeys) -> None:
        self._keys = keys
        self.asked: list[str] = []

    def get(self, kid: str) -> PublicKey:
        self.asked.append(f"get {kid}")
        return self._keys.get(kid)

    def refresh(self, kid: str) -> PublicKey | None:
        self.asked.append(f"refresh {kid}")
        return self._keys.refresh(kid)


class AwaitableSource:
    """A source of keys, as tasks ask it."""

    def __init__(self, keys: PinnedKeys) -> None:
        self._source = Source(keys)
        self.asked = self._source.asked

    async def get(self, kid: str) -> PublicKey:
        await asyncio.sleep(0)
        return self._source.get(kid)

    async def refresh(self, kid: str) -> PublicKey | None:
        await asyncio.sleep(0)
        return self._source.refresh(kid)


@pytest.mark.parametrize("kind", [Source, AwaitableSource])
def test_a_key_source_may_be_sync_or_async(kind: Any, emulator: Emulator) -> None:
    async def main() -> None:
        auth = JwtSharedSecret(**emulator.auth)
        async with AsyncFlexClient(auth, environment=emulator.url) as maker:
            context = await maker.create_capture_context(FIELDS)
        from cybersource_flex.aio import ApiClient, FlexAPIApi
        from cybersource_flex.configuration import Configuration

        kid = kid_of(context.jwt)
        async with ApiClient(Configuration(host=emulator.url)) as api_client:
            jwk = (await FlexAPIApi(api_client).get_public_key(kid)).to_dict()
        source = kind(PinnedKeys([jwk]))
        emulator.clear()
        async with AsyncFlexClient(auth, environment=emulator.url, keys=source) as flex:
            assert await flex.verify_capture_context(context.jwt) == context
            assert source.asked == [f"get {kid}"]
            forged = context.jwt[:-8] + "AAAAAAAA"
            with pytest.raises(errors.InvalidSignatureError):
                await flex.verify_capture_context(forged)
            assert source.asked == [f"get {kid}", f"get {kid}", f"refresh {kid}"]
        assert emulator.requests == []

    run(main)


def kid_of(jwt: str) -> str:
    import base64
    import json

    return str(json.loads(base64.urlsafe_b64decode(jwt.partition(".")[0] + "=="))["kid"])


# What is shown, and what is left.


def test_the_exception_that_a_task_handles_is_left_alone(emulator: Emulator) -> None:
    def theirs() -> None:
        variable = "kept"
        raise KeyError(variable)

    async def main() -> None:
        async with AsyncFlexClient(None, environment=emulator.url) as flex:

            async def ours() -> None:
                try:
                    theirs()
                except KeyError:
                    await flex.verify_capture_context("none")

            with pytest.raises(errors.FlexError) as caught:
                await ours()
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
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", program, *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "8", "")


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
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, encoding="utf-8", timeout=60
    )
    assert (done.stdout.strip(), done.stderr) == (
        "sending on an event loop needs the extra async: pip install 'cybersource-flex[async]'",
        "",
    )
