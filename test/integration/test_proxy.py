"""Calls through proxies on loopback: tunnels, forwarding, credentials, certificates, and errors."""

from __future__ import annotations

import base64
import contextlib
import os
import select
import socket
import ssl
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from urllib3.exceptions import InsecureRequestWarning

from cybersource_flex import ApiResponse, ConfigurationError, Tls, errors
from cybersource_flex.transport import AsyncTransport, Configuration, Transport
from support.certificates import CertificateAuthority
from support.requirements import require_module
from support.servers import HttpHandler, HttpServer
from support.transports import StubSigner, make_operation

require_module("trustme", package="trustme", not_tested="proxies")

PASSWORD = "hunter2"
CREDENTIALS = "Basic " + base64.b64encode(f"user:{PASSWORD}".encode()).decode()
# This name does not exist (RFC 6761 section 6.4), so only the proxy can connect to the server.
NAME = "flex.invalid"

OPERATION = make_operation(path="/flex/v2/sessions", content_type="application/json;charset=utf-8")
SIGNER = StubSigner({"Authorization": "Bearer secret"})


class Proxy(HttpServer):
    """A proxy that connects every tunnel to one server, and responds itself to forwarded requests.

    Args:
        target: the port that tunnels connect to.
        credentials: the expected ``Proxy-Authorization``, or None if it is not checked.
        tunnels: the reaction to CONNECT: ``"connect"``, ``"close"``, or a status to respond with.
        context: the TLS context of an https proxy.
    """

    def __init__(
        self,
        target: int = 0,
        credentials: str | None = None,
        tunnels: str | int = "connect",
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.target, self.credentials, self.tunnels = target, credentials, tunnels
        super().__init__(context=context, handler=ProxyHandler)

    def url_with(self, user: str, password: str) -> str:
        return self.url.replace("://", f"://{user}:{password}@")


class ProxyHandler(HttpHandler):
    server: Proxy

    def do_CONNECT(self) -> None:  # noqa: N802
        self.record()
        self.close_connection = True
        if self.server.tunnels == "close":
            return
        if self.server.tunnels != "connect":
            self.respond(int(self.server.tunnels))
        elif self.rejects_credentials():
            self.respond(407, ("Proxy-Authenticate", "Basic"))
        else:
            with socket.create_connection(("127.0.0.1", self.server.target)) as target:
                self.send_response(200)
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.relay(target)

    def do_POST(self) -> None:  # noqa: N802
        self.record()
        self.respond(407 if self.rejects_credentials() else 200)

    def rejects_credentials(self) -> bool:
        return self.server.credentials not in (None, self.headers["Proxy-Authorization"])

    def relay(self, target: socket.socket) -> None:
        """Copy bytes in both directions until one side closes its connection."""
        while True:
            pending = isinstance(self.connection, ssl.SSLSocket) and self.connection.pending()
            ready = [self.connection] if pending else select.select([self.connection, target], [], [])[0]
            for source, sink in ((self.connection, target), (target, self.connection)):
                if source in ready:
                    data = source.recv(65536)
                    if not data:
                        return
                    sink.sendall(data)


@pytest.fixture(autouse=True)
def no_proxy_or_name_resolution(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove proxies from the environment, and fail at once for names that do not exist."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    getaddrinfo = socket.getaddrinfo

    def resolve(host: Any, *arguments: Any, **options: Any) -> Any:
        if str(host).endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return getaddrinfo(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


Start = Callable[[HttpServer], Any]


@pytest.fixture
def start() -> Iterator[Start]:
    """Closes the servers that it is called with at the end of the test."""
    with contextlib.ExitStack() as servers:
        yield servers.enter_context


@pytest.fixture
def tls(authority: CertificateAuthority) -> Tls:
    return Tls(ca_file=authority.file)


@pytest.fixture
def host(authority: CertificateAuthority, start: Start) -> Any:
    return start(HttpServer(context=authority.server_context(NAME)))


MakeTransport = Callable[[Configuration], Transport]
Call = Callable[..., ApiResponse[Any]]
AssertFails = Callable[..., None]


@pytest.fixture
def call(make_transport: MakeTransport) -> Call:
    """Makes calls with a configuration and returns the last response."""

    def call(times: int = 1, **options: Any) -> ApiResponse[Any]:
        configuration = Configuration(**{"host": f"https://{NAME}", "auth": SIGNER, **options})
        with make_transport(configuration) as transport:
            for _ in range(times):
                response = OPERATION.parse_response(transport.send(OPERATION.build_request(configuration, body={})))
        return response

    return call


@pytest.fixture
def assert_fails(call: Call) -> AssertFails:
    """Makes a call that cannot connect, and checks that the message matches and contains no credentials."""

    def assert_fails(
        message: str, exception_class: type[errors.TransportError] = errors.ConnectionFailedError, **options: Any
    ) -> None:
        with pytest.raises(exception_class, match=message) as caught:
            call(**options)
        error: BaseException | None = caught.value
        while error is not None:
            description = f"{error} {error!r}"
            assert PASSWORD not in description
            assert CREDENTIALS not in description
            assert CREDENTIALS.partition(" ")[2] not in description
            error = error.__cause__ or error.__context__

    return assert_fails


# AsyncTransport does not support https proxies; see `test_async_transports_reject_https_proxies`.
ONLY_SYNC = pytest.mark.parametrize("make_transport", ["sync"], indirect=True)
EACH_PROXY = pytest.mark.parametrize(
    ("make_transport", "secure"), [("sync", False), ("sync", True), ("async", False)], indirect=["make_transport"]
)


def proxy_for(
    secure: bool,
    authority: CertificateAuthority,
    target: int = 0,
    credentials: str | None = None,
    name: str = "127.0.0.1",
) -> Proxy:
    return Proxy(target, credentials, context=authority.server_context(name) if secure else None)


@EACH_PROXY
def test_a_tunnel(
    secure: bool, host: HttpServer, tls: Tls, authority: CertificateAuthority, start: Start, call: Call
) -> None:
    proxy = start(proxy_for(secure, authority, host.server_port, CREDENTIALS))
    assert proxy.url.startswith("https:") is secure
    assert call(times=2, proxy=proxy.url_with("user", PASSWORD), tls=tls).data == {}
    (connect,) = proxy.received
    assert connect.line.startswith(f"CONNECT {NAME}:443 ")
    assert connect.headers["proxy-authorization"] == CREDENTIALS
    assert "authorization" not in connect.headers
    assert len(host.received) == 2, "both requests use one tunnel"
    for request in host.received:
        assert request.line == "POST /flex/v2/sessions HTTP/1.1"
        assert request.headers["host"] == NAME
        assert request.headers["authorization"] == "Bearer secret"
        assert "proxy-authorization" not in request.headers


def test_no_credentials_are_sent_if_the_proxy_url_has_none(
    host: HttpServer, tls: Tls, start: Start, call: Call
) -> None:
    proxy = start(Proxy(host.server_port))
    assert call(proxy=proxy.url, tls=tls).status_code == 200
    assert "proxy-authorization" not in proxy.received[0].headers


@ONLY_SYNC
def test_the_client_certificate_is_sent_to_the_host_but_not_to_the_proxy(
    authority: CertificateAuthority, start: Start, call: Call
) -> None:
    host = start(HttpServer(context=authority.server_context(NAME, require_client_certificate=True)))
    proxy_context = authority.server_context("127.0.0.1", require_client_certificate=True)
    proxy_context.verify_mode = ssl.CERT_OPTIONAL
    proxy = start(Proxy(host.server_port, context=proxy_context))
    tls = Tls(ca_file=authority.file, client_certificate=authority.client_certificate("merchant"))
    assert call(proxy=proxy.url, tls=tls).data == {}
    assert [request.client_name for request in host.received] == ["merchant"]
    assert [request.client_name for request in proxy.received] == [None]


@EACH_PROXY
def test_http_is_forwarded(
    secure: bool, tls: Tls, authority: CertificateAuthority, start: Start, call: Call, assert_fails: AssertFails
) -> None:
    host = start(HttpServer())
    proxy = start(proxy_for(secure, authority, credentials=CREDENTIALS))
    for count in (1, 2):
        assert call(host=host.url, proxy=proxy.url_with("user", PASSWORD), tls=tls).data == {}
        request = proxy.received[-1]
        assert request.line == f"POST {host.url}/flex/v2/sessions HTTP/1.1"
        assert request.headers["host"] == host.url.partition("://")[2]
        assert request.headers["proxy-authorization"] == CREDENTIALS
        assert len(proxy.received) == count
    assert_fails("the proxy requires credentials", host=host.url, proxy=proxy.url_with("user", "wrong"), tls=tls)
    assert host.received == []


def test_missing_or_wrong_credentials(host: HttpServer, tls: Tls, start: Start, assert_fails: AssertFails) -> None:
    proxy = start(Proxy(host.server_port, CREDENTIALS))
    message = r"the proxy requires credentials, or rejected those that were sent \(407\)"
    assert_fails(message, proxy=proxy.url, tls=tls)
    assert_fails(message, proxy=proxy.url_with("other", PASSWORD), tls=tls)
    assert host.received == []


def test_tracebacks_contain_no_credentials(host: HttpServer, tls: Tls, start: Start, call: Call) -> None:
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


def test_a_proxy_that_does_not_connect_to_the_host(
    host: HttpServer, tls: Tls, start: Start, assert_fails: AssertFails
) -> None:
    for tunnels, message, attempts in (
        (403, r"the proxy refuses to connect to the host \(403\)", 1),
        (502, r"the proxy refuses to connect to the host \(502\)", 1),
        # This is retried, because nothing was sent.
        ("close", "the proxy closed the connection before it was established", 3),
    ):
        proxy = start(Proxy(host.server_port, tunnels=tunnels))
        assert_fails(message, proxy=proxy.url_with("user", PASSWORD), tls=tls)
        assert len(proxy.received) == attempts
    assert host.received == []


@EACH_PROXY
def test_an_unreachable_proxy(secure: bool, tls: Tls, assert_fails: AssertFails) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    proxy = f"{'https' if secure else 'http'}://user:{PASSWORD}@127.0.0.1:{port}"
    for host in (f"https://{NAME}", "http://127.0.0.1:9"):
        assert_fails("the proxy cannot be reached", host=host, proxy=proxy, tls=tls)
    assert_fails("the name of the proxy cannot be resolved", proxy=f"http://user:{PASSWORD}@proxy.invalid", tls=tls)


def test_a_proxy_that_does_not_respond(tls: Tls, assert_fails: AssertFails) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        proxy = f"http://user:{PASSWORD}@127.0.0.1:{server.getsockname()[1]}"
        assert_fails(
            "no connection through the proxy before the connect timeout",
            errors.ConnectionTimeoutError,
            proxy=proxy,
            tls=tls,
            connect_timeout=0.1,
        )


@ONLY_SYNC
def test_an_invalid_certificate_of_the_proxy(
    host: HttpServer, tls: Tls, authority: CertificateAuthority, start: Start, assert_fails: AssertFails
) -> None:
    proxy_with_other_name = start(proxy_for(True, authority, host.server_port, name="proxy.example.com"))
    assert_fails(
        "TLS with the proxy failed: the certificate is not accepted",
        proxy=proxy_with_other_name.url,
        tls=tls,
    )
    assert_fails("TLS with the proxy failed", host="http://127.0.0.1:9", proxy=proxy_with_other_name.url, tls=tls)
    http_proxy = start(Proxy(host.server_port))
    assert_fails(
        "TLS with the proxy failed: the proxy does not speak TLS",
        proxy=http_proxy.url.replace("http:", "https:"),
        tls=tls,
    )
    assert host.received == []


@EACH_PROXY
def test_an_invalid_certificate_of_the_host_behind_a_proxy(
    secure: bool, host: HttpServer, tls: Tls, authority: CertificateAuthority, start: Start, assert_fails: AssertFails
) -> None:
    proxy = start(proxy_for(secure, authority, host.server_port))
    assert_fails(
        "TLS with the host failed: the certificate is not", host="https://other.invalid", proxy=proxy.url, tls=tls
    )
    assert host.received == []


@EACH_PROXY
def test_disabled_verification_applies_to_proxies(
    secure: bool, host: HttpServer, authority: CertificateAuthority, start: Start, call: Call
) -> None:
    proxy = start(proxy_for(secure, authority, host.server_port, name="proxy.example.com"))
    unchecked = ssl.create_default_context(cafile=authority.file)
    unchecked.check_hostname = False
    for context in (None, unchecked):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InsecureRequestWarning)
            tls = Tls(insecure_skip_verification=True, ssl_context=context)
            assert call(host="https://other.invalid", proxy=proxy.url, tls=tls).data == {}


def test_async_transports_reject_https_proxies(tls: Tls, authority: CertificateAuthority, start: Start) -> None:
    proxy = start(proxy_for(True, authority))
    configuration = Configuration(host=f"https://{NAME}", proxy=proxy.url, tls=tls)
    with pytest.raises(ConfigurationError, match="https:// proxy is not supported by the asynchronous client"):
        AsyncTransport(configuration)
    assert proxy.received == []


def test_proxies_from_the_environment(
    host: HttpServer, tls: Tls, start: Start, monkeypatch: pytest.MonkeyPatch, call: Call, assert_fails: AssertFails
) -> None:
    proxy = start(Proxy(host.server_port, CREDENTIALS))
    monkeypatch.setenv("HTTPS_PROXY", proxy.url_with("user", PASSWORD))
    assert call(tls=tls).data == {}
    assert len(proxy.received) == 1
    monkeypatch.setenv("NO_PROXY", NAME)
    assert_fails("the name of the host cannot be resolved", tls=tls)
    monkeypatch.delenv("NO_PROXY")
    assert_fails("the name of the host cannot be resolved", tls=tls, proxy_from_environment=False)
    assert len(proxy.received) == 1
    monkeypatch.setenv("HTTPS_PROXY", f"socks5://user:{PASSWORD}@127.0.0.1")
    with pytest.raises(ConfigurationError, match="HTTPS_PROXY is a SOCKS proxy") as caught:
        call(tls=tls)
    assert PASSWORD not in str(caught.value)


def test_loopback_hosts_are_called_without_a_proxy(start: Start, monkeypatch: pytest.MonkeyPatch, call: Call) -> None:
    host, proxy = start(HttpServer()), start(Proxy())
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url)
    assert call(host=host.url).data == {}
    assert call(intermediate_host=host.url).data == {}
    assert [request.headers["host"] for request in host.received] == [host.url.partition("://")[2], NAME]
    assert proxy.received == []
