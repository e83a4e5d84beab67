"""Both transports against servers on loopback: the request that is sent, and the error of each failure."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from cybersource_flex import errors
from cybersource_flex.transport import Configuration, Operation, Request, RetryPolicy, Transport
from support.servers import OK, LastResponse, RawServer
from support.transports import ONE_ATTEMPT, CountingSigner, MakeTransport, make_operation


class Signer(CountingSigner):
    """Also signs the body."""

    def sign(self, request: Request, now: float) -> dict[str, str]:
        return {**super().sign(request, now), "X-Body": str(request.body)}


Serve = Callable[..., RawServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server with these responses."""
    with ExitStack() as servers:
        yield lambda *responses: servers.enter_context(RawServer(*responses))


Call = Callable[..., Any]


@pytest.fixture
def call(make_transport: MakeTransport) -> Call:
    def send(configuration: Configuration, *, timeout: float | None = None, **changes: Any) -> Any:
        operation = make_operation(
            **{
                "path": "/flex/v2/sessions",
                "accept": ("application/json",),
                "content_type": "application/json;charset=utf-8",
                **changes,
            }
        )
        with make_transport(configuration) as transport:
            return operation.parse_response(
                transport.send(operation.build_request(configuration, body={"a": "Zoë"}), timeout=timeout)
            )

    return send


def test_the_sent_request_is_the_signed_request(serve: Serve, call: Call) -> None:
    server = serve(OK)
    signer = Signer()
    assert call(Configuration(host=server.url, auth=signer)).data == {}
    head, _, body = server.received[0].partition(b"\r\n\r\n")
    lines = head.decode("ascii").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    assert lines[0] == "POST /flex/v2/sessions HTTP/1.1"
    assert body == '{"a":"Zoë"}'.encode()
    assert headers["host"] == f"127.0.0.1:{server.port}"
    assert headers["content-type"] == "application/json;charset=utf-8"
    assert headers["accept"] == "application/json"
    assert headers["user-agent"].startswith("cybersource-flex/")
    assert headers["authorization"] == "Bearer 1"
    assert headers["x-body"] == str(body)
    assert len(lines) - 1 == len(headers), "no header is sent twice"


def test_operations_without_authentication_are_not_signed(serve: Serve, call: Call) -> None:
    server = serve(OK)
    signer = Signer()
    call(Configuration(host=server.url, auth=signer), requires_auth=False)
    assert b"authorization" not in server.received[0].lower()
    assert signer.times == []


def test_redirects_are_not_followed(serve: Serve, call: Call) -> None:
    other = serve(OK)
    for status in (301, 302, 303, 307, 308):
        redirect = f"HTTP/1.1 {status} Moved\r\nLocation: {other.url}/x\r\nContent-Length: 0\r\n\r\n"
        server = serve(redirect.encode())
        with pytest.raises(errors.RedirectError) as caught:
            call(Configuration(host=server.url, auth=Signer()))
        assert caught.value.status == status
        assert len(server.received) == 1
    assert other.received == []


def test_a_refused_connection(call: Call) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(errors.ConnectionFailedError, match="cannot be reached") as caught:
        call(Configuration(host=f"http://127.0.0.1:{port}", auth=Signer()))
    assert (caught.value.method, caught.value.path) == ("POST", "/flex/v2/sessions")


def test_an_unknown_host_name(call: Call) -> None:
    # A reserved top-level domain (RFC 6761 section 6.4): resolvers do not forward queries for it.
    with pytest.raises(errors.ConnectionFailedError):
        call(Configuration(host="https://flex.invalid", auth=Signer(), connect_timeout=5, proxy_from_environment=False))


def test_a_missing_response_times_out(serve: Serve, call: Call) -> None:
    server = serve(threading.Event())
    with pytest.raises(errors.ResponseTimeoutError, match="no response in time"):
        call(Configuration(host=server.url, auth=Signer(), read_timeout=0.05))
    assert len(server.received) == 1, "a POST is not retried"


def test_the_timeout_of_a_call_replaces_the_configured_one(serve: Serve, call: Call) -> None:
    with pytest.raises(errors.ResponseTimeoutError):
        call(Configuration(host=serve(threading.Event()).url, auth=Signer()), timeout=0.05)
    with pytest.raises(errors.ConfigurationError, match="timeout must be a positive number"):
        call(Configuration(host=serve(OK).url, auth=Signer()), timeout=0)


@pytest.mark.parametrize(
    "response",
    [
        None,
        LastResponse(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}"),
        LastResponse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}"),
        b"nonsense\r\n\r\n",
    ],
)
def test_a_truncated_response_raises_connection_broken(response: bytes | None, serve: Serve, call: Call) -> None:
    server = serve(response, OK)
    with pytest.raises(errors.ConnectionBrokenError):
        call(Configuration(host=server.url, auth=Signer()))
    assert len(server.received) == 1


def test_a_response_that_exceeds_the_limit_is_rejected(serve: Serve, call: Call) -> None:
    body = b"[" + b"1," * 100_000 + b"1]"
    response = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    with pytest.raises(errors.ResponseTooLargeError, match="exceeds 2048 bytes"):
        call(Configuration(host=serve(response).url, auth=Signer(), max_response_bytes=2048))


def test_the_transport_works_after_a_failed_call(serve: Serve, make_transport: MakeTransport) -> None:
    server = serve(None, OK, OK)
    configuration = Configuration(host=server.url, auth=Signer())
    operation = Operation(
        name="call",
        method="GET",
        path="/x",
        requires_auth=True,
        responses={"200": "object"},
        models="cybersource_flex.models",
    )
    with make_transport(configuration) as transport:
        with pytest.raises(errors.ConnectionBrokenError):
            transport.send(operation.build_request(configuration))
        for _ in range(2):
            assert transport.send(operation.build_request(configuration)).status == 200
    assert [b"Bearer %d" % n in head for n, head in enumerate(server.received, 1)] == [True, True, True]


def test_a_forked_process_has_separate_connections(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    # The transport recognises a forked child by its process id.
    server = serve(OK, OK, OK)
    configuration = Configuration(host=server.url, auth=Signer())
    operation = Operation(name="call", method="GET", path="/x", requires_auth=True, responses={}, models="")
    with Transport(configuration) as transport:
        transport.send(operation.build_request(configuration))
        pool = transport._pools._pool
        parent_pool = pool(server.url)
        assert pool(server.url) is parent_pool
        monkeypatch.setattr(os, "getpid", lambda: -1)
        child_pool = pool(server.url)
        assert child_pool is not parent_pool
        assert pool(server.url) is child_pool


def test_waiting_for_a_connection_in_use_times_out(serve: Serve, make_transport: MakeTransport) -> None:
    respond = threading.Event()
    server = serve(respond)
    configuration = Configuration(host=server.url, auth=Signer(), pool_size=1, connect_timeout=0.05, retry=ONE_ATTEMPT)
    short_deadline = RetryPolicy(attempts=1, deadline=0.1)
    operation = Operation(name="call", method="GET", path="/x", requires_auth=True, responses={}, models="")
    failures: list[BaseException] = []

    def first() -> None:
        with pytest.raises(errors.ConnectionBrokenError) as caught:
            transport.send(operation.build_request(configuration))
        failures.append(caught.value)

    with make_transport(configuration) as transport:
        thread = threading.Thread(target=first)
        thread.start()
        while not server.received:
            pass
        with pytest.raises(errors.ConnectionTimeoutError, match=r"all 1 \(pool_size\) are in use") as caught:
            transport.send(operation.build_request(configuration), retry=short_deadline)
        respond.set()
        thread.join()
    assert caught.value.outcome == "not_sent"
    assert len(failures) == len(server.received) == 1


def test_a_call_during_close_gets_a_new_connection(serve: Serve) -> None:
    server = serve(OK)
    configuration = Configuration(host=server.url, auth=Signer())
    operation = Operation(name="call", method="GET", path="/x", requires_auth=True, responses={}, models="")
    with Transport(configuration) as transport:
        # Another thread could close the pool after this one has looked it up.
        transport._pools._pool(server.url).close()
        assert transport.send(operation.build_request(configuration)).status == 200


def test_logs_contain_no_path_parameters(
    serve: Serve, caplog: pytest.LogCaptureFixture, make_transport: MakeTransport
) -> None:
    server = serve(OK)
    configuration = Configuration(host=server.url, auth=Signer())
    operation = Operation(name="call", method="GET", path="/flex/{jti}", requires_auth=True, responses={}, models="")
    with caplog.at_level(logging.DEBUG), make_transport(configuration) as transport:
        transport.send(operation.build_request(configuration, path={"jti": "C4N4RY"}))
    assert server.received[0].startswith(b"GET /flex/C4N4RY HTTP/1.1")
    assert any(record.name.startswith(("urllib3", "asyncio")) for record in caplog.records)
    assert "C4N4RY" not in caplog.text


def test_an_operation_with_a_separate_server_is_signed_and_sent_for_it(serve: Serve, call: Call) -> None:
    configured, own = serve(OK), serve(OK)

    class Hosts(Configuration):
        ENVIRONMENTS = {"here": configured.url}  # noqa: RUF012

    assert call(Hosts(host=configured.url, auth=Signer()), servers={"here": own.url}).data == {}
    assert f"\r\nHost: 127.0.0.1:{own.port}\r\n".encode() in own.received[0]
    assert configured.received == []
