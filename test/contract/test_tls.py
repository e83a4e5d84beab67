"""TLS against servers on loopback: who is believed, who is not, and the certificate that a client shows."""

from __future__ import annotations

import contextlib
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

from cybersource_flex import ApiResponse, Configuration, Tls, errors
from cybersource_flex.transport import Operation, Settings, Transport

trustme = pytest.importorskip("trustme", reason="NOT TESTED: TLS, because trustme is not installed")

OPERATION = Operation(
    name="call",
    method="POST",
    path="/flex/v2/tokens",
    signed=False,
    content_type="application/jwt",
    responses={"200": "Dict[str, object]"},
    models="cybersource_flex.models",
)


class Server(ThreadingHTTPServer):
    """Serves https and keeps who came: the common name of each request's certificate, and the ``Host``."""

    daemon_threads = True

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context
        self.received: list[str | None] = []
        self.hosts: list[str] = []
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"https://localhost:{self.server_port}"

    def get_request(self) -> tuple[Any, Any]:
        connection, address = super().get_request()
        # The handshake waits for the thread of the connection.
        return self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def setup(self) -> None:
        connection: ssl.SSLSocket = self.request
        try:
            connection.do_handshake()
        except OSError:
            # What is unread at the end would turn the alert into a reset before the client sees it.
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass
            raise
        super().setup()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        subject = (self.connection.getpeercert() or {}).get("subject", ())
        self.server.received.append(next((value for ((key, value),) in subject if key == "commonName"), None))
        self.server.hosts.append(self.headers["Host"])
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Authority:
    """An authority, what it certifies, and its files in a folder."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self._folder = folder
        self.file = folder / "ca.pem"
        self._authority.cert_pem.write_to_path(self.file)

    def context(self, *names: str, clients: bool = False) -> ssl.SSLContext:
        """For a server with these names; with ``clients``, one that asks for a certificate of this authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(*(names or ("localhost", "127.0.0.1"))).configure_cert(context)
        if clients:
            context.verify_mode = ssl.CERT_REQUIRED
            self._authority.configure_trust(context)
        return context

    def client(self, name: str) -> Path:
        file = self._folder / f"{name}.pem"
        self._authority.issue_cert(common_name=name).private_key_and_cert_chain_pem.write_to_path(file)
        return file


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("theirs"))


Serve = Callable[[ssl.SSLContext], Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[Server] = []

    def start(context: ssl.SSLContext) -> Server:
        servers.append(Server(context))
        threading.Thread(target=servers[-1].serve_forever, args=(0.01,), daemon=True).start()
        return servers[-1]

    yield start
    for each in servers:
        each.shutdown()
        each.server_close()


Call = Callable[..., ApiResponse[Any]]
Refused = Callable[[Settings, str], None]


@pytest.fixture
def call(carry: Callable[[Settings], Transport]) -> Call:
    def made(settings: Settings, times: int = 1) -> ApiResponse[Any]:
        with carry(settings) as transport:
            for _ in range(times):
                result = OPERATION.result(transport.send(OPERATION.request(settings, body="a.b.c.d.e")))
        return result

    return made


@pytest.fixture
def refused(call: Call) -> Refused:
    def made(settings: Settings, reason: str) -> None:
        with pytest.raises(errors.ConnectionFailedError, match=reason):
            call(settings)

    return made


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_a_host_whose_authority_is_trusted(name: str, authority: Authority, serve: Serve, call: Call) -> None:
    server = serve(authority.context())
    host = f"https://{name}:{server.server_port}"
    assert call(Settings(host=host, tls=Tls(ca_file=authority.file)), times=2).data == {}
    own = ssl.create_default_context(cafile=authority.file)
    assert call(Settings(host=host, tls=Tls(ssl_context=own))).status_code == 200
    assert server.received == [None, None, None]


def test_an_authority_that_is_not_trusted(
    authority: Authority, stranger: Authority, serve: Serve, refused: Refused
) -> None:
    server = serve(authority.context())
    for tls in (None, Tls(), Tls(ca_file=stranger.file)):
        refused(
            Settings(host=server.url, tls=tls), "TLS with the host failed: its certificate is not accepted: .*issuer"
        )
    assert server.received == []


def test_a_certificate_for_another_name(authority: Authority, serve: Serve, refused: Refused) -> None:
    server = serve(authority.context("flex.example.com"))
    refused(Settings(host=server.url, tls=Tls(ca_file=authority.file)), "not accepted: Hostname mismatch")
    assert server.received == []


def test_verification_can_be_skipped_when_asked_for(
    authority: Authority, serve: Serve, caplog: pytest.LogCaptureFixture, call: Call
) -> None:
    server = serve(authority.context("flex.example.com"))
    blind = ssl.create_default_context(cafile=authority.file)
    blind.check_hostname = False
    for own in (None, blind):
        configuration = Configuration(host=server.url, tls=Tls(insecure_skip_verification=True, ssl_context=own))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InsecureRequestWarning)
            assert call(configuration).data == {}
    assert [record.levelname for record in caplog.records if "NOT verified" in record.getMessage()] == ["WARNING"] * 2


def test_a_client_certificate_is_shown(authority: Authority, serve: Serve, call: Call) -> None:
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = authority.context(clients=True)
        context.maximum_version = version
        server = serve(context)
        tls = Tls(ca_file=authority.file, client_certificate=authority.client("merchant"))
        assert call(Settings(host=server.url, tls=tls), times=2).data == {}
        assert server.received == ["merchant", "merchant"]
        own = ssl.create_default_context(cafile=authority.file)
        own.load_cert_chain(authority.client("other"))
        assert call(Settings(host=server.url, tls=Tls(ssl_context=own))).data == {}
        assert server.received[2:] == ["other"]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_certificate_that_is_missing_or_not_accepted(
    version: ssl.TLSVersion, authority: Authority, stranger: Authority, serve: Serve, refused: Refused
) -> None:
    context = authority.context(clients=True)
    context.maximum_version = version
    server = serve(context)
    refused(
        Settings(host=server.url, tls=Tls(ca_file=authority.file, client_certificate=stranger.client("stranger"))),
        "wants a client certificate, or does not accept the one it got",
    )
    missing = Settings(host=server.url, tls=Tls(ca_file=authority.file))
    # TLS 1.2 has no alert of its own for this.
    refused(missing, "wants a client" if version == ssl.TLSVersion.TLSv1_3 else "TLS with the host failed")
    assert server.received == []


def test_versions_below_1_2_are_not_spoken(authority: Authority, serve: Serve, refused: Refused) -> None:
    context = authority.context()
    theirs = ssl.create_default_context(cafile=authority.file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for each in (context, theirs):
            each.set_ciphers("ALL:@SECLEVEL=0")
            each.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    server = serve(context)
    try:
        with socket.create_connection(("127.0.0.1", server.server_port)) as raw:
            theirs.wrap_socket(raw, server_hostname="localhost").close()
    except OSError as cause:
        pytest.skip(f"NOT TESTED against a server of TLS 1.1: the OpenSSL of this machine cannot serve it ({cause})")
    refused(Settings(host=server.url, tls=Tls(ca_file=authority.file)), "TLS with the host failed")
    assert server.received == []


def test_a_host_that_does_not_speak_tls(refused: Refused) -> None:
    with socket.create_server(("127.0.0.1", 0)) as plain:

        def answer() -> None:
            connection, _ = plain.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                while connection.recv(65536):
                    pass

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        refused(Settings(host=f"https://127.0.0.1:{plain.getsockname()[1]}"), "does not speak TLS; is it http")
        thread.join(20)


def test_a_handshake_that_does_not_end(call: Call) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"https://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(errors.ConnectionTimeoutError, match="no connection in time"):
            call(Settings(host=host, connect_timeout=0.1))


def test_the_certificate_is_that_of_the_intermediate_host(
    authority: Authority, serve: Serve, call: Call, refused: Refused
) -> None:
    tls = Tls(ca_file=authority.file)
    for name, ends_well in (("localhost", True), ("apitest.cybersource.com", False)):
        server = serve(authority.context(name))
        settings = Settings(host="https://apitest.cybersource.com", intermediate_host=server.url, tls=tls)
        if ends_well:
            assert call(settings).data == {}
            assert server.hosts == ["apitest.cybersource.com"]
        else:
            refused(settings, "Hostname mismatch")
            assert server.hosts == []
