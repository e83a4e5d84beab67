"""The steps of an attempt: encryption, signing, refreshed credentials after a 401, and an intermediate host."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import pytest

from cybersource_flex import errors
from cybersource_flex.transport import Configuration, Operation, Request, Response
from support.servers import HttpServer
from support.transports import CountingSigner, MakeTransport, make_operation

OPERATION = make_operation(path="/flex/v2/sessions", content_type="application/json;charset=utf-8")
UNSIGNED = make_operation(
    path="/flex/v2/tokens", requires_auth=False, content_type="application/jwt", responses={"200": "object"}
)


Serve = Callable[..., HttpServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server that responds with these statuses, and then with 200."""
    with ExitStack() as servers:
        yield lambda *statuses: servers.enter_context(HttpServer(*statuses, body=b'{"encryptedResponse":"x"}'))


class Signer(CountingSigner):
    """A signer that supports message-level encryption."""

    supports_mle = True

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()

    def sign(self, request: Request, now: float) -> dict[str, str]:
        with self._lock:
            return {**super().sign(request, now), "X-Kid": str(request.response_mle_kid)}


class RefreshableSigner(Signer):
    """``refresh`` returns the given results, one after the other."""

    def __init__(self, *results: bool) -> None:
        super().__init__()
        self.results = list(results)

    def refresh(self, rejected: Mapping[str, str]) -> bool:
        return self.results.pop(0)


class FakeEncryption:
    """Message-level encryption with readable output, which records the times and the responses."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.decrypted: list[tuple[Request, Response]] = []

    def encrypt_request(self, request: Request, now: float) -> Request:
        self.times.append(now)
        body = json.dumps({"encryptedRequest": f"{len(self.times)}:{(request.body or b'').decode()}"}).encode()
        return request.replace(body=body, response_mle_kid="kid")

    def decrypt_response(self, request: Request, response: Response) -> Response:
        self.decrypted.append((request, response))
        return Response(response.status, response.reason, response.headers, b'{"message":"opened"}')


Send = Callable[..., Response]


@pytest.fixture
def send(make_transport: MakeTransport) -> Send:
    def send_once(configuration: Configuration, operation: Operation = OPERATION, body: Any = None) -> Response:
        if body is None:
            body = "{}" if operation is OPERATION else "a.b.c"
        with make_transport(configuration) as transport:
            return transport.send(operation.build_request(configuration, body=body))

    return send_once


def test_replace_returns_a_changed_copy_of_a_request() -> None:
    configuration = Configuration(host="http://127.0.0.1:9", auth=Signer())
    request = OPERATION.build_request(configuration, body={"a": 1})
    copy = request.replace(body=b"x", response_mle_kid="kid")
    assert (copy.body, copy.response_mle_kid) == (b"x", "kid")
    assert (request.body, request.response_mle_kid) == (b'{"a":1}', None)
    for name in set(Request.__slots__) - {"body", "response_mle_kid"}:
        assert getattr(copy, name) is getattr(request, name)
    with pytest.raises(TypeError, match="boddy"):
        request.replace(boddy=b"")


def test_the_encrypted_body_is_signed(serve: Serve, send: Send) -> None:
    server, signer, mle = serve(), Signer(), FakeEncryption()
    response = send(Configuration(host=server.url, auth=signer, mle=mle), body={"a": 1})
    _, headers, body, _ = server.received[0]
    assert json.loads(body) == {"encryptedRequest": '1:{"a":1}'}
    assert headers["content-type"] == "application/json;charset=utf-8"
    assert headers["x-kid"] == "kid"
    assert signer.signed[0].body == body
    assert signer.times == mle.times
    ((sent, raw),) = mle.decrypted
    assert sent is signer.signed[0]
    assert raw.body == b'{"encryptedResponse":"x"}'
    assert response.body == b'{"message":"opened"}'


@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_error_responses_are_decrypted(status: int, serve: Serve, send: Send) -> None:
    server, mle = serve(status), FakeEncryption()
    response = send(Configuration(host=server.url, auth=Signer(), mle=mle))
    assert response.status == status
    with pytest.raises(errors.ApiException, match="opened"):
        OPERATION.parse_response(response)
    assert len(mle.decrypted) == 1


def test_operations_without_authentication_are_not_encrypted(serve: Serve, send: Send) -> None:
    server, mle = serve(), FakeEncryption()
    response = send(Configuration(host=server.url, auth=Signer(), mle=mle), UNSIGNED, body="a.b.c.d.e")
    assert server.received[0].body == b"a.b.c.d.e"
    assert response.body == b'{"encryptedResponse":"x"}'
    assert mle.times == []
    assert mle.decrypted == []


def test_a_request_that_cannot_be_encrypted_is_not_sent(serve: Serve, send: Send) -> None:
    class Failing(FakeEncryption):
        def encrypt_request(self, request: Request, now: float) -> Request:
            raise errors.FlexError("no")

    server, signer = serve(), Signer()
    with pytest.raises(errors.FlexError, match=r"^no$"):
        send(Configuration(host=server.url, auth=signer, mle=Failing()))
    assert server.received == []
    assert signer.signed == []


def test_credentials_are_refreshed_once_after_a_401(serve: Serve, send: Send) -> None:
    server, signer, mle = serve(401), RefreshableSigner(True, True), FakeEncryption()
    response = send(Configuration(host=server.url, auth=signer, mle=mle))
    assert response.status == 200
    assert [request.headers["authorization"] for request in server.received] == ["Bearer 1", "Bearer 2"]
    assert [json.loads(request.body)["encryptedRequest"][0] for request in server.received] == ["1", "2"]
    assert signer.results == [True]
    assert len(mle.decrypted) == 1, "only the response that is returned is decrypted"
    assert mle.decrypted[0][0] is signer.signed[1]


def test_credentials_are_not_refreshed_after_a_second_401(serve: Serve, send: Send) -> None:
    server, signer = serve(401, 401, 401), RefreshableSigner(True, True)
    assert send(Configuration(host=server.url, auth=signer)).status == 401
    assert len(server.received) == 2
    assert signer.results == [True]


@pytest.mark.parametrize("make", [lambda: RefreshableSigner(False), Signer])
def test_a_401_is_not_retried_without_new_credentials(make: Callable[[], Signer], serve: Serve, send: Send) -> None:
    server = serve(401)
    assert send(Configuration(host=server.url, auth=make())).status == 401
    assert len(server.received) == 1


@pytest.mark.parametrize(("status", "operation"), [(403, OPERATION), (500, OPERATION), (401, UNSIGNED)])
def test_credentials_are_not_refreshed_in_other_cases(
    status: int, operation: Operation, serve: Serve, send: Send
) -> None:
    server = serve(status)
    assert send(Configuration(host=server.url, auth=RefreshableSigner()), operation).status == status
    assert len(server.received) == 1


def test_requests_are_sent_to_the_intermediate_host(serve: Serve, send: Send) -> None:
    intermediate, host, signer = serve(), serve(), Signer()
    configuration = Configuration(
        host="https://apitest.cybersource.com", intermediate_host=intermediate.url, auth=signer
    )
    send(configuration)
    assert intermediate.received[0].headers["host"] == "apitest.cybersource.com"
    assert signer.signed[0].host == "apitest.cybersource.com"
    assert signer.signed[0].target == "/flex/v2/sessions"
    send(Configuration(host=host.url, intermediate_host=intermediate.url, auth=signer), UNSIGNED)
    assert intermediate.received[1].headers["host"] == f"127.0.0.1:{host.server_port}"
    assert host.received == [], "the host itself is not connected to"


def test_the_user_agent_ends_with_the_suffix(serve: Serve, send: Send) -> None:
    server = serve()
    configuration = Configuration(host=server.url, user_agent_suffix="shop/1.2 (Linux)")
    send(configuration, UNSIGNED)
    assert server.received[0].headers["user-agent"] == configuration.user_agent
    assert configuration.user_agent.endswith(" shop/1.2 (Linux)")


def test_threads_share_a_transport(serve: Serve, make_transport: MakeTransport) -> None:
    server, signer = serve(*[401, 200] * 10), RefreshableSigner(*[True] * 40)
    configuration = Configuration(host=server.url, auth=signer, mle=FakeEncryption())
    statuses: list[int] = []
    with make_transport(configuration) as transport:

        def work() -> None:
            for _ in range(5):
                statuses.append(transport.send(OPERATION.build_request(configuration, body="{}")).status)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert len(statuses) == 40
    assert len(server.received) == 40 + (40 - len(signer.results))
    assert len({request.headers["authorization"] for request in server.received}) == len(server.received)
