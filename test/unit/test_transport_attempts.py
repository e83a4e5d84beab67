"""What happens around an attempt: encryption before signing, renewal after a 401, another host in between."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from cybersource_flex import errors
from cybersource_flex.transport import Operation, Request, Response, Settings, Transport

OPERATION = Operation(
    name="call",
    method="POST",
    path="/flex/v2/sessions",
    signed=True,
    content_type="application/json;charset=utf-8",
    responses={"200": "Dict[str, object]"},
    models="cybersource_flex.models",
)
UNSIGNED = Operation(
    name="open",
    method="POST",
    path="/flex/v2/tokens",
    signed=False,
    content_type="application/jwt",
    responses={"200": "object"},
    models="cybersource_flex.models",
)


class Host(ThreadingHTTPServer):
    """Answers with the statuses it is given, then with 200, and keeps what it received."""

    daemon_threads = True

    def __init__(self, *statuses: int) -> None:
        self._statuses = iter(statuses)
        self._lock = threading.Lock()
        self.received: list[tuple[dict[str, str], bytes]] = []
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"

    def next_status(self) -> int:
        with self._lock:
            return next(self._statuses, 200)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Host

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append(({name.lower(): value for name, value in self.headers.items()}, body))
        answer = b'{"encryptedResponse":"x"}'
        self.send_response(self.server.next_status())
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def host() -> Iterator[Callable[..., Host]]:
    hosts: list[Host] = []

    def start(*statuses: int) -> Host:
        hosts.append(Host(*statuses))
        threading.Thread(target=hosts[-1].serve_forever, args=(0.01,), daemon=True).start()
        return hosts[-1]

    yield start
    for each in hosts:
        each.shutdown()
        each.server_close()


class Signing:
    """Numbers its signatures, and signs the body it is shown."""

    supports_mle = True

    def __init__(self) -> None:
        self.signed: list[Request] = []
        self.times: list[float] = []
        self._lock = threading.Lock()

    def sign(self, request: Request, now: float) -> dict[str, str]:
        with self._lock:
            self.signed.append(request)
            self.times.append(now)
            number = len(self.signed)
        return {"Authorization": f"Bearer {number}", "X-Kid": str(request.response_mle_kid)}


class Renewing(Signing):
    """Renews as often as it is told it can."""

    def __init__(self, *answers: bool) -> None:
        super().__init__()
        self.answers = list(answers)

    def renew(self) -> bool:
        return self.answers.pop(0)


class Encrypting:
    """Wraps what goes out, and unwraps what comes in, in plain sight."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.seen: list[tuple[Request, Response]] = []

    def outgoing(self, request: Request, now: float) -> Request:
        self.times.append(now)
        body = json.dumps({"encryptedRequest": f"{len(self.times)}:{(request.body or b'').decode()}"}).encode()
        return request.replace(body=body, response_mle_kid="kid")

    def incoming(self, request: Request, response: Response) -> Response:
        self.seen.append((request, response))
        return Response(response.status, response.reason, response.headers, b'{"message":"opened"}')


Carry = Callable[[Settings], Transport]
Send = Callable[..., Response]


@pytest.fixture
def send(carry: Carry) -> Send:
    def made(settings: Settings, operation: Operation = OPERATION, body: Any = None) -> Response:
        if body is None:
            body = "{}" if operation is OPERATION else "a.b.c"
        with carry(settings) as transport:
            return transport.send(operation.request(settings, body=body))

    return made


def test_a_request_like_another() -> None:
    settings = Settings(host="http://127.0.0.1:9", auth=Signing())
    request = OPERATION.request(settings, body={"a": 1})
    other = request.replace(body=b"x", response_mle_kid="kid")
    assert (other.body, other.response_mle_kid) == (b"x", "kid")
    assert (request.body, request.response_mle_kid) == (b'{"a":1}', None)
    for name in set(Request.__slots__) - {"body", "response_mle_kid"}:
        assert getattr(other, name) is getattr(request, name)
    with pytest.raises(TypeError, match="boddy"):
        request.replace(boddy=b"")


def test_what_is_signed_is_what_was_encrypted(host: Callable[..., Host], send: Send) -> None:
    server, signer, mle = host(), Signing(), Encrypting()
    response = send(Settings(host=server.url, auth=signer, mle=mle), body={"a": 1})
    headers, body = server.received[0]
    assert json.loads(body) == {"encryptedRequest": '1:{"a":1}'}
    assert headers["content-type"] == "application/json;charset=utf-8"
    assert headers["x-kid"] == "kid"
    assert signer.signed[0].body == body
    assert signer.times == mle.times
    ((sent, raw),) = mle.seen
    assert sent is signer.signed[0]
    assert raw.body == b'{"encryptedResponse":"x"}'
    assert response.body == b'{"message":"opened"}'


@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_errors_are_decrypted_too(status: int, host: Callable[..., Host], send: Send) -> None:
    server, mle = host(status), Encrypting()
    response = send(Settings(host=server.url, auth=Signing(), mle=mle))
    assert response.status == status
    with pytest.raises(errors.ApiException, match="opened"):
        OPERATION.result(response)
    assert len(mle.seen) == 1


def test_operations_without_a_signature_are_not_encrypted(host: Callable[..., Host], send: Send) -> None:
    server, mle = host(), Encrypting()
    response = send(Settings(host=server.url, auth=Signing(), mle=mle), UNSIGNED, body="a.b.c.d.e")
    assert server.received[0][1] == b"a.b.c.d.e"
    assert response.body == b'{"encryptedResponse":"x"}'
    assert mle.times == []
    assert mle.seen == []


def test_what_cannot_be_encrypted_is_not_sent(host: Callable[..., Host], send: Send) -> None:
    class Failing(Encrypting):
        def outgoing(self, request: Request, now: float) -> Request:
            raise errors.FlexError("no")

    server, signer = host(), Signing()
    with pytest.raises(errors.FlexError, match=r"^no$"):
        send(Settings(host=server.url, auth=signer, mle=Failing()))
    assert server.received == []
    assert signer.signed == []


def test_credentials_are_renewed_once_after_a_401(host: Callable[..., Host], send: Send) -> None:
    server, signer, mle = host(401), Renewing(True, True), Encrypting()
    response = send(Settings(host=server.url, auth=signer, mle=mle))
    assert response.status == 200
    assert [headers["authorization"] for headers, _ in server.received] == ["Bearer 1", "Bearer 2"]
    assert [json.loads(body)["encryptedRequest"][0] for _, body in server.received] == ["1", "2"], "encrypted anew"
    assert signer.answers == [True]
    assert len(mle.seen) == 1, "only the answer that is given out is opened"
    assert mle.seen[0][0] is signer.signed[1]


def test_a_second_401_stays_one(host: Callable[..., Host], send: Send) -> None:
    server, signer = host(401, 401, 401), Renewing(True, True)
    assert send(Settings(host=server.url, auth=signer)).status == 401
    assert len(server.received) == 2
    assert signer.answers == [True]


@pytest.mark.parametrize("make", [lambda: Renewing(False), Signing])
def test_a_401_without_anything_new(make: Callable[[], Signing], host: Callable[..., Host], send: Send) -> None:
    server = host(401)
    assert send(Settings(host=server.url, auth=make())).status == 401
    assert len(server.received) == 1


@pytest.mark.parametrize(("status", "operation"), [(403, OPERATION), (500, OPERATION), (401, UNSIGNED)])
def test_nothing_else_renews(status: int, operation: Operation, host: Callable[..., Host], send: Send) -> None:
    server = host(status)
    assert send(Settings(host=server.url, auth=Renewing()), operation).status == status
    assert len(server.received) == 1


def test_a_host_in_between(host: Callable[..., Host], send: Send) -> None:
    between, real, signer = host(), host(), Signing()
    settings = Settings(host="https://apitest.cybersource.com", intermediate_host=between.url, auth=signer)
    send(settings)
    assert between.received[0][0]["host"] == "apitest.cybersource.com"
    assert signer.signed[0].host == "apitest.cybersource.com"
    assert signer.signed[0].target == "/flex/v2/sessions"
    send(Settings(host=real.url, intermediate_host=between.url, auth=signer), UNSIGNED)
    assert between.received[1][0]["host"] == f"127.0.0.1:{real.server_port}"
    assert real.received == [], "the host itself is not connected to"


def test_the_user_agent(host: Callable[..., Host], send: Send) -> None:
    server = host()
    settings = Settings(host=server.url, user_agent_suffix="shop/1.2 (Linux)")
    send(settings, UNSIGNED)
    assert server.received[0][0]["user-agent"] == settings.user_agent
    assert settings.user_agent.endswith(" shop/1.2 (Linux)")


def test_many_calls_share_a_transport(host: Callable[..., Host], carry: Carry) -> None:
    server, signer = host(*[401, 200] * 10), Renewing(*[True] * 40)
    settings = Settings(host=server.url, auth=signer, mle=Encrypting())
    statuses: list[int] = []
    with carry(settings) as transport:

        def work() -> None:
            for _ in range(5):
                statuses.append(transport.send(OPERATION.request(settings, body="{}")).status)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert len(statuses) == 40
    assert len(server.received) == 40 + (40 - len(signer.answers))
    assert len({headers["authorization"] for headers, _ in server.received}) == len(server.received)
