"""Proxies on loopback: what they are told, what they are not told, and what it is called when they fail."""

from __future__ import annotations

import base64
import contextlib
import os
import select
import socket
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from urllib3.exceptions import InsecureRequestWarning

from cybersource_flex import ApiResponse, ConfigurationError, Tls, errors
from cybersource_flex.transport import Operation, Request, Settings, Transport
from cybersource_flex.transport.aio import AsyncTransport

trustme = pytest.importorskip("trustme", reason="NOT TESTED: proxies, because trustme is not installed")

PASSWORD = "hunter2"
CREDENTIALS = "Basic " + base64.b64encode(f"user:{PASSWORD}".encode()).decode()
# A name that stands for nothing (RFC 6761 section 6.4): who reaches it was led there by a proxy.
NAME = "flex.invalid"

OPERATION = Operation(
    name="call",
    method="POST",
    path="/flex/v2/sessions",
    signed=True,
    content_type="application/json;charset=utf-8",
    responses={"200": "Dict[str, object]"},
    models="cybersource_flex.models",
)


class Signing:
    def sign(self, request: Request, now: float) -> dict[str, str]:
        return {"Authorization": "Bearer secret"}


class Server(ThreadingHTTPServer):
    """A server that keeps the headers of what it received; over TLS with a context."""

    daemon_threads = True

    def __init__(self, handler: type[BaseHTTPRequestHandler], context: ssl.SSLContext | None = None) -> None:
        self.context = context
        self.received: list[tuple[str, dict[str, str]]] = []
        super().__init__(("127.0.0.1", 0), handler)
        self.url = f"{'http' if context is None else 'https'}://127.0.0.1:{self.server_port}"

    def get_request(self) -> tuple[Any, Any]:
        connection, address = super().get_request()
        if self.context is not None:
            connection = self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


class Host(BaseHTTPRequestHandler):
    """The service behind the proxy."""

    protocol_version = "HTTP/1.1"
    server: Server

    def keep(self) -> None:
        self.server.received.append((self.requestline, {name.lower(): value for name, value in self.headers.items()}))

    def answer(self, status: int, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (*headers, ("Content-Length", "2")):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"{}")

    def do_POST(self) -> None:
        self.keep()
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(200)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Proxy(Server):
    """Leads every tunnel to one server, whatever name it is asked for, and answers what is forwarded itself.

    Args:
        target: port that tunnels lead to.
        credentials: the ``Proxy-Authorization`` it wants, or None.
        tunnels: what it does when asked for a tunnel: ``"lead"``, ``"close"``, or a status to answer with.
        context: for https.
    """

    def __init__(
        self,
        target: int = 0,
        credentials: str | None = None,
        tunnels: str | int = "lead",
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.target, self.credentials, self.tunnels = target, credentials, tunnels
        super().__init__(Between, context)

    def url_with(self, user: str, password: str) -> str:
        return self.url.replace("://", f"://{user}:{password}@")


class Between(Host):
    server: Proxy

    def do_CONNECT(self) -> None:
        self.keep()
        self.close_connection = True
        if self.server.tunnels == "close":
            return
        if self.server.tunnels != "lead":
            self.answer(int(self.server.tunnels))
        elif self.refuses():
            self.answer(407, ("Proxy-Authenticate", "Basic"))
        else:
            with socket.create_connection(("127.0.0.1", self.server.target)) as other:
                self.send_response(200)
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.lead(other)

    def do_POST(self) -> None:
        self.keep()
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(407 if self.refuses() else 200)

    def refuses(self) -> bool:
        return self.server.credentials not in (None, self.headers["Proxy-Authorization"])

    def lead(self, other: socket.socket) -> None:
        while True:
            pending = isinstance(self.connection, ssl.SSLSocket) and self.connection.pending()
            ready = [self.connection] if pending else select.select([self.connection, other], [], [])[0]
            for source, sink in ((self.connection, other), (other, self.connection)):
                if source in ready:
                    data = source.recv(65536)
                    if not data:
                        return
                    sink.sendall(data)


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy of the machine's own, and no resolver that takes its time over names that do not exist."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    lookup = socket.getaddrinfo

    def answer(host: Any, *arguments: Any, **options: Any) -> Any:
        if str(host).endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return lookup(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", answer)


Start = Callable[[Server], Any]


@pytest.fixture
def start() -> Iterator[Start]:
    servers: list[Server] = []

    def started(server: Server) -> Server:
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return server

    yield started
    for each in servers:
        each.shutdown()
        each.server_close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made = trustme.CA()
    made.cert_pem.write_to_path(tmp_path_factory.getbasetemp() / "proxy-ca.pem")
    return made


@pytest.fixture
def tls(authority: Any, tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return Tls(ca_file=tmp_path_factory.getbasetemp() / "proxy-ca.pem")


def context(authority: Any, *names: str) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(made)
    return made


@pytest.fixture
def host(authority: Any, start: Start) -> Any:
    return start(Server(Host, context(authority, NAME)))


Carry = Callable[[Settings], Transport]
Call = Callable[..., ApiResponse[Any]]
Fails = Callable[..., None]


@pytest.fixture
def call(carry: Carry) -> Call:
    def made(times: int = 1, **given: Any) -> ApiResponse[Any]:
        settings = Settings(**{"host": f"https://{NAME}", "auth": Signing(), **given})
        with carry(settings) as transport:
            for _ in range(times):
                result = OPERATION.result(transport.send(OPERATION.request(settings, body={})))
        return result

    return made


@pytest.fixture
def fails(call: Call) -> Fails:
    def made(rule: str, kind: type[errors.TransportError] = errors.ConnectionFailedError, **given: Any) -> None:
        with pytest.raises(kind, match=rule) as caught:
            call(**given)
        error: BaseException | None = caught.value
        while error is not None:
            text = f"{error} {error!r}"
            assert PASSWORD not in text
            assert CREDENTIALS not in text
            assert CREDENTIALS.partition(" ")[2] not in text
            error = error.__cause__ or error.__context__

    return made


# An https proxy is for threads alone; that it is refused on an event loop has a test of its own.
THREADS_ALONE = pytest.mark.parametrize("carry", ["threads"], indirect=True)
EACH_PROXY = pytest.mark.parametrize(
    ("carry", "secure"), [("threads", False), ("threads", True), ("event loop", False)], indirect=["carry"]
)


def proxy_for(
    secure: bool, authority: Any, target: int = 0, credentials: str | None = None, name: str = "127.0.0.1"
) -> Proxy:
    return Proxy(target, credentials, context=context(authority, name) if secure else None)


@EACH_PROXY
def test_a_tunnel(secure: bool, host: Server, tls: Tls, authority: Any, start: Start, call: Call) -> None:
    proxy = start(proxy_for(secure, authority, host.server_port, CREDENTIALS))
    assert proxy.url.startswith("https:") is secure
    assert call(times=2, proxy=proxy.url_with("user", PASSWORD), tls=tls).data == {}
    ((line, told),) = proxy.received
    assert line.startswith(f"CONNECT {NAME}:443 ")
    assert told["proxy-authorization"] == CREDENTIALS
    assert "authorization" not in told
    assert len(host.received) == 2, "through one tunnel"
    for line, headers in host.received:
        assert line == "POST /flex/v2/sessions HTTP/1.1"
        assert headers["host"] == NAME
        assert headers["authorization"] == "Bearer secret"
        assert "proxy-authorization" not in headers


def test_a_proxy_that_asks_for_nothing_is_told_nothing(host: Server, tls: Tls, start: Start, call: Call) -> None:
    proxy = start(Proxy(host.server_port))
    assert call(proxy=proxy.url, tls=tls).status_code == 200
    assert "proxy-authorization" not in proxy.received[0][1]


@THREADS_ALONE
def test_a_client_certificate_is_for_the_host_and_not_for_the_proxy(
    authority: Any, start: Start, tmp_path: Path, call: Call
) -> None:
    seen: list[Any] = []

    class Curious(Between):
        def do_CONNECT(self) -> None:
            seen.append(self.connection.getpeercert())  # type: ignore[attr-defined]
            super().do_CONNECT()

    wants, asks = context(authority, NAME), context(authority, "127.0.0.1")
    for each, mode in ((wants, ssl.CERT_REQUIRED), (asks, ssl.CERT_OPTIONAL)):
        each.verify_mode = mode
        authority.configure_trust(each)
    host = start(Server(Host, wants))
    proxy = Proxy(host.server_port, context=asks)
    proxy.RequestHandlerClass = Curious
    start(proxy)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert(common_name="merchant").private_key_and_cert_chain_pem.write_to_path(tmp_path / "client.pem")
    tls = Tls(ca_file=tmp_path / "ca.pem", client_certificate=tmp_path / "client.pem")
    assert call(proxy=proxy.url, tls=tls).data == {}
    assert seen in ([None], [{}])


@EACH_PROXY
def test_http_is_forwarded(secure: bool, tls: Tls, authority: Any, start: Start, call: Call, fails: Fails) -> None:
    host = start(Server(Host))
    proxy = start(proxy_for(secure, authority, credentials=CREDENTIALS))
    for tries in (1, 2):
        assert call(host=host.url, proxy=proxy.url_with("user", PASSWORD), tls=tls).data == {}
        line, told = proxy.received[-1]
        assert line == f"POST {host.url}/flex/v2/sessions HTTP/1.1"
        assert told["host"] == host.url.partition("://")[2]
        assert told["proxy-authorization"] == CREDENTIALS
        assert len(proxy.received) == tries
    fails("the proxy asks for credentials", host=host.url, proxy=proxy.url_with("user", "wrong"), tls=tls)
    assert host.received == []


def test_credentials_that_are_missing_or_wrong(host: Server, tls: Tls, start: Start, fails: Fails) -> None:
    proxy = start(Proxy(host.server_port, CREDENTIALS))
    rule = r"the proxy asks for credentials, or does not accept those it got \(407\)"
    fails(rule, proxy=proxy.url, tls=tls)
    fails(rule, proxy=proxy.url_with("other", PASSWORD), tls=tls)
    assert host.received == []


def test_no_variable_of_a_frame_holds_the_credentials(host: Server, tls: Tls, start: Start, call: Call) -> None:
    proxy = start(Proxy(host.server_port, "Basic other"))
    with pytest.raises(errors.ConnectionFailedError) as caught:
        call(proxy=proxy.url_with("user", PASSWORD), tls=tls)
    error: BaseException | None = caught.value
    while error is not None:
        frame = error.__traceback__
        while frame is not None:
            if frame.tb_frame.f_code.co_filename != __file__:
                assert CREDENTIALS not in repr(frame.tb_frame.f_locals), frame.tb_frame
            frame = frame.tb_next
        error = error.__cause__ or error.__context__


def test_a_proxy_that_does_not_lead_there(host: Server, tls: Tls, start: Start, fails: Fails) -> None:
    for tunnels, rule, attempts in (
        (403, r"the proxy refuses to connect to the host \(403\)", 1),
        (502, r"the proxy refuses to connect to the host \(502\)", 1),
        # May be over in a moment, and nothing was sent.
        ("close", "the proxy ended the connection while it was being made", 3),
    ):
        proxy = start(Proxy(host.server_port, tunnels=tunnels))
        fails(rule, proxy=proxy.url_with("user", PASSWORD), tls=tls)
        assert len(proxy.received) == attempts
    assert host.received == []


@EACH_PROXY
def test_a_proxy_that_is_not_there(secure: bool, tls: Tls, fails: Fails) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    proxy = f"{'https' if secure else 'http'}://user:{PASSWORD}@127.0.0.1:{port}"
    for host in (f"https://{NAME}", "http://127.0.0.1:9"):
        fails("the proxy cannot be reached", host=host, proxy=proxy, tls=tls)
    fails("the name of the proxy cannot be resolved", proxy=f"http://user:{PASSWORD}@proxy.invalid", tls=tls)


def test_a_proxy_that_says_nothing(tls: Tls, fails: Fails) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        proxy = f"http://user:{PASSWORD}@127.0.0.1:{silent.getsockname()[1]}"
        fails("in time, through the proxy", errors.ConnectionTimeoutError, proxy=proxy, tls=tls, connect_timeout=0.1)


@THREADS_ALONE
def test_a_proxy_whose_certificate_is_at_fault(
    host: Server, tls: Tls, authority: Any, start: Start, fails: Fails
) -> None:
    named_otherwise = start(proxy_for(True, authority, host.server_port, name="proxy.example.com"))
    fails("TLS with the proxy failed: its certificate is not accepted", proxy=named_otherwise.url, tls=tls)
    fails("TLS with the proxy failed", host="http://127.0.0.1:9", proxy=named_otherwise.url, tls=tls)
    plain = start(Proxy(host.server_port))
    fails("TLS with the proxy failed: it does not speak TLS", proxy=plain.url.replace("http:", "https:"), tls=tls)
    assert host.received == []


@EACH_PROXY
def test_a_host_behind_a_proxy_whose_certificate_is_at_fault(
    secure: bool, host: Server, tls: Tls, authority: Any, start: Start, fails: Fails
) -> None:
    proxy = start(proxy_for(secure, authority, host.server_port))
    fails("TLS with the host failed: its certificate is not", host="https://other.invalid", proxy=proxy.url, tls=tls)
    assert host.received == []


@EACH_PROXY
def test_skipping_verification_is_for_proxies_too(
    secure: bool, host: Server, authority: Any, start: Start, call: Call
) -> None:
    proxy = start(proxy_for(secure, authority, host.server_port, name="proxy.example.com"))
    blind = ssl.create_default_context()
    authority.configure_trust(blind)
    blind.check_hostname = False
    for own in (None, blind):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InsecureRequestWarning)
            tls = Tls(insecure_skip_verification=True, ssl_context=own)
            assert call(host="https://other.invalid", proxy=proxy.url, tls=tls).data == {}


def test_an_https_proxy_is_refused_on_an_event_loop_before_anything_is_sent(
    tls: Tls, authority: Any, start: Start
) -> None:
    proxy = start(proxy_for(True, authority))
    settings = Settings(host=f"https://{NAME}", proxy=proxy.url, tls=tls)
    with pytest.raises(ConfigurationError, match="https:// proxy is not supported on an event loop"):
        AsyncTransport(settings)
    assert proxy.received == []


def test_the_environment(
    host: Server, tls: Tls, start: Start, monkeypatch: pytest.MonkeyPatch, call: Call, fails: Fails
) -> None:
    proxy = start(Proxy(host.server_port, CREDENTIALS))
    monkeypatch.setenv("HTTPS_PROXY", proxy.url_with("user", PASSWORD))
    assert call(tls=tls).data == {}
    assert len(proxy.received) == 1
    monkeypatch.setenv("NO_PROXY", NAME)
    fails("the name of the host cannot be resolved", tls=tls)
    monkeypatch.delenv("NO_PROXY")
    fails("the name of the host cannot be resolved", tls=tls, proxy_from_environment=False)
    assert len(proxy.received) == 1
    monkeypatch.setenv("HTTPS_PROXY", f"socks5://user:{PASSWORD}@127.0.0.1")
    with pytest.raises(ConfigurationError, match="HTTPS_PROXY is a SOCKS proxy") as caught:
        call(tls=tls)
    assert PASSWORD not in str(caught.value)


def test_loopback_is_exempt(start: Start, monkeypatch: pytest.MonkeyPatch, call: Call) -> None:
    host, proxy = start(Server(Host)), start(Proxy())
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url)
    assert call(host=host.url).data == {}
    assert call(intermediate_host=host.url).data == {}
    assert [headers["host"] for _, headers in host.received] == [host.url.partition("://")[2], NAME]
    assert proxy.received == []
