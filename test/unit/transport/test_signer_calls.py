"""How both transports call a signer: timeouts, exceptions, and the headers that it returns."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import urllib3

from cybersource_flex import errors
from cybersource_flex.auth import BearerToken
from cybersource_flex.transport import AsyncTransport, Configuration, Request, RetryPolicy
from support.servers import OK, HttpHandler, HttpServer, RawServer
from support.transports import MakeTransport, StubSigner, build_request, make_configuration


class BlockedSigner(StubSigner):
    """A signer that blocks until ``release`` is set."""

    may_block = True

    def __init__(self) -> None:
        super().__init__()
        self.release = threading.Event()
        self.calls = 0

    def sign(self, request: Request, now: float) -> dict[str, str]:
        self.calls += 1
        self.release.wait(20)
        return super().sign(request, now)


def test_a_signer_that_does_not_return_times_out(make_transport: MakeTransport) -> None:
    signer = BlockedSigner()
    with RawServer(default=OK) as server:
        configuration = make_configuration(server.url, auth=signer, retry=RetryPolicy(deadline=0.1))
        started = time.monotonic()
        with make_transport(configuration) as transport:
            with pytest.raises(errors.ConnectionTimeoutError, match="signer did not return") as caught:
                transport.send(build_request(configuration))
            assert time.monotonic() - started < 5
            assert (caught.value.outcome, signer.calls) == ("not_sent", 1)
            assert server.connections == []
            signer.release.set()
            assert transport.send(build_request(configuration)).status == 200


def test_the_number_of_blocked_signers_is_limited(
    make_transport: MakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cybersource_flex._runtime import threads
    from cybersource_flex._runtime.lock import ForkSafeSemaphore

    monkeypatch.setattr(threads, "MAX_RUNNING", 2)
    monkeypatch.setattr(threads, "_running", ForkSafeSemaphore(2))
    signer = BlockedSigner()
    configuration = make_configuration("http://127.0.0.1:9", auth=signer, retry=RetryPolicy(attempts=1, deadline=0.05))
    with make_transport(configuration) as transport:
        for _ in range(2):
            with pytest.raises(errors.ConnectionTimeoutError):
                transport.send(build_request(configuration))
        with pytest.raises(errors.ConnectionFailedError, match="2 earlier calls have not returned") as caught:
            transport.send(build_request(configuration))
        assert (caught.value.outcome, signer.calls) == ("not_sent", 2)
        signer.release.set()


def test_closing_the_transport_while_a_request_is_being_signed() -> None:
    signer = BlockedSigner()

    async def main(configuration: Configuration) -> None:
        transport = AsyncTransport(configuration)
        call = asyncio.create_task(transport.send(build_request(configuration)))
        while not signer.calls:
            await asyncio.sleep(0)
        await transport.close()
        signer.release.set()
        with pytest.raises(errors.ConnectionFailedError, match="client was closed") as caught:
            await call
        assert caught.value.outcome == "not_sent"

    with RawServer(default=OK) as server:
        asyncio.run(main(make_configuration(server.url, auth=signer)))
        assert server.connections == []


def test_a_request_is_signed_after_waiting_for_a_connection(make_transport: MakeTransport) -> None:
    respond_now = threading.Event()
    times: list[float] = []

    class Timed(StubSigner):
        def sign(self, request: Request, now: float) -> dict[str, str]:
            times.append(time.monotonic())
            return super().sign(request, now)

    def respond(connection: socket.socket) -> None:
        respond_now.wait(20)
        connection.sendall(OK)

    with (
        RawServer(default=respond) as server,
        make_transport(configuration := make_configuration(server.url, auth=Timed(), pool_size=1)) as transport,
    ):
        with ThreadPoolExecutor(2) as workers:
            calls = [workers.submit(transport.send, build_request(configuration)) for _ in range(2)]
            while not server.connections:
                pass
            released = time.monotonic()
            respond_now.set()
            assert [call.result().status for call in calls] == [200, 200]
        assert len(times) == 2
        assert times[1] > released


@pytest.mark.parametrize("error", [errors.ConfigurationError("bad"), TimeoutError("its own"), KeyError("x")])
def test_exceptions_of_a_signer_in_a_thread_are_raised(error: Exception, make_transport: MakeTransport) -> None:
    class Failing(StubSigner):
        may_block = True

        def sign(self, request: Request, now: float) -> dict[str, str]:
            raise error

    with (
        RawServer(default=OK) as server,
        make_transport(configuration := make_configuration(server.url, auth=Failing())) as transport,
    ):
        with pytest.raises(type(error)) as caught:
            transport.send(build_request(configuration))
        assert caught.value.args == error.args


def test_urllib3_errors_of_a_signer_are_raised(make_transport: MakeTransport) -> None:
    class Failing(StubSigner):
        def sign(self, request: Request, now: float) -> dict[str, str]:
            raise urllib3.exceptions.ProtocolError("the key service")

    with (
        make_transport(configuration := make_configuration("http://127.0.0.1:9", auth=Failing())) as transport,
        pytest.raises(urllib3.exceptions.ProtocolError, match="the key service"),
    ):
        transport.send(build_request(configuration))


def test_stop_iteration_in_a_token_function_is_raised_as_runtime_error(make_transport: MakeTransport) -> None:
    auth = BearerToken(lambda: next(iter(())))
    with RawServer(default=OK) as server:
        configuration = make_configuration(server.url, auth=auth, retry=RetryPolicy(attempts=1, deadline=None))
        with make_transport(configuration) as transport, pytest.raises(RuntimeError, match="StopIteration"):
            transport.send(build_request(configuration))
        assert server.connections == []


def test_calls_that_are_rejected_for_the_same_token_share_the_next_one(make_transport: MakeTransport) -> None:
    # The host accepts only the last token that was issued, as some authorization servers do.
    issued: list[str] = []
    arrived, replaced = threading.Barrier(4), threading.Event()

    def fetch() -> str:
        issued.append(f"token{len(issued) + 1}")
        return issued[-1]

    class Handler(HttpHandler):
        def do_POST(self) -> None:  # noqa: N802
            self.record()
            token = self.headers["Authorization"].removeprefix("Bearer ")
            if token != "token1":
                self.respond(200 if token == issued[-1] else 401)
                replaced.set()
                return
            # All calls are sent with the first token. All but one are rejected after another call used the second.
            if arrived.wait(20) > 0:
                replaced.wait(20)
            self.respond(401)

    with HttpServer(handler=Handler) as server:
        configuration = make_configuration(server.url, auth=BearerToken(fetch))
        with make_transport(configuration) as transport, ThreadPoolExecutor(4) as workers:
            calls = [workers.submit(transport.send, build_request(configuration)) for _ in range(4)]
            assert [call.result().status for call in calls] == [200] * 4
    assert issued == ["token1", "token2"]


# The returned headers.


@pytest.mark.parametrize(
    "value", ["Bearer C4N4RY\n", "C4N4RY\r\nX: y", "C4N4RY\x00", "C4N4RY\u2028", b"C4N4RY", None, 4]
)
def test_header_values_of_a_signer_that_cannot_be_sent_are_rejected(value: Any, make_transport: MakeTransport) -> None:
    class Odd(StubSigner):
        def sign(self, request: Request, now: float) -> dict[str, str]:
            return {"Authorization": value}

    with (
        RawServer(default=OK) as server,
        make_transport(configuration := make_configuration(server.url, auth=Odd())) as transport,
    ):
        with pytest.raises(errors.ConfigurationError, match=r"Authorization.*cannot be sent") as caught:
            transport.send(build_request(configuration))
        assert "C4N4RY" not in f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"
        assert server.connections == []


@pytest.mark.parametrize("name", ["", "X Y", "X\n", "X:", "\u00e4", None])
def test_invalid_header_names_of_a_signer_are_rejected(name: Any, make_transport: MakeTransport) -> None:
    class Odd(StubSigner):
        def sign(self, request: Request, now: float) -> dict[str, str]:
            return {name: "C4N4RY"}

    with make_transport(configuration := make_configuration("http://127.0.0.1:9", auth=Odd())) as transport:
        with pytest.raises(errors.ConfigurationError, match="header with an invalid name") as caught:
            transport.send(build_request(configuration))
        assert "C4N4RY" not in str(caught.value)
