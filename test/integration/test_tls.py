"""TLS with servers on loopback: trusted CAs, host names, versions, and client certificates."""

from __future__ import annotations

import contextlib
import socket
import ssl
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from urllib3.exceptions import InsecureRequestWarning

from cybersource_flex import ApiResponse, Configuration, Tls, errors
from cybersource_flex.transport import Transport
from support.certificates import CertificateAuthority, IncompleteCertificateAuthority
from support.requirements import require_module
from support.servers import HttpServer
from support.transports import make_operation

require_module("trustme", package="trustme", not_tested="TLS")

OPERATION = make_operation(path="/flex/v2/tokens", requires_auth=False, content_type="application/jwt")


@pytest.fixture(scope="module")
def other_authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    return CertificateAuthority(tmp_path_factory.mktemp("other-authority"))


Serve = Callable[[ssl.SSLContext], HttpServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts an https server with a TLS context."""
    with contextlib.ExitStack() as servers:
        yield lambda context: servers.enter_context(HttpServer(context=context))


def localhost_url(server: HttpServer) -> str:
    return f"https://localhost:{server.server_port}"


def client_names(server: HttpServer) -> list[str | None]:
    """The common names in the client certificates of all requests."""
    return [request.client_name for request in server.received]


Call = Callable[..., ApiResponse[Any]]
AssertFails = Callable[[Configuration, str], None]


@pytest.fixture
def call(make_transport: Callable[[Configuration], Transport]) -> Call:
    """Makes calls with a configuration and returns the last response."""

    def call(configuration: Configuration, times: int = 1) -> ApiResponse[Any]:
        with make_transport(configuration) as transport:
            for _ in range(times):
                request = OPERATION.build_request(configuration, body="a.b.c.d.e")
                response = OPERATION.parse_response(transport.send(request))
        return response

    return call


@pytest.fixture
def assert_fails(call: Call) -> AssertFails:
    """Makes a call that cannot connect, and checks the message."""

    def assert_fails(configuration: Configuration, message: str) -> None:
        with pytest.raises(errors.ConnectionFailedError, match=message):
            call(configuration)

    return assert_fails


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_a_trusted_ca(name: str, authority: CertificateAuthority, serve: Serve, call: Call) -> None:
    server = serve(authority.server_context())
    host = f"https://{name}:{server.server_port}"
    assert call(Configuration(host=host, tls=Tls(ca_file=authority.file)), times=2).data == {}
    context = ssl.create_default_context(cafile=authority.file)
    assert call(Configuration(host=host, tls=Tls(ssl_context=context))).status_code == 200
    assert client_names(server) == [None, None, None]


def test_an_untrusted_ca(
    authority: CertificateAuthority, other_authority: CertificateAuthority, serve: Serve, assert_fails: AssertFails
) -> None:
    server = serve(authority.server_context())
    for tls in (None, Tls(), Tls(ca_file=other_authority.file)):
        assert_fails(
            Configuration(host=localhost_url(server), tls=tls),
            "TLS with the host failed: the certificate is not accepted: .*issuer",
        )
    assert server.received == []


@pytest.mark.parametrize("lacks", ["authority key identifier", "key usage", "critical basic constraints"])
def test_certificates_that_python_3_13_rejects(
    lacks: str, tmp_path: Path, serve: Serve, call: Call, assert_fails: AssertFails
) -> None:
    authority = IncompleteCertificateAuthority(tmp_path, lacks)
    server = serve(authority.server_context())
    host = localhost_url(server)
    strict, lenient = (ssl.create_default_context(cafile=authority.file) for _ in range(2))
    strict.verify_flags |= ssl.VERIFY_X509_STRICT
    lenient.verify_flags &= ~ssl.VERIFY_X509_STRICT
    message = r"the certificate is not accepted: .*; RFC 5280 requires this.*VERIFY_X509_STRICT.*verify_flags lack"
    assert_fails(Configuration(host=host, tls=Tls(ssl_context=strict)), message)
    assert call(Configuration(host=host, tls=Tls(ssl_context=lenient))).status_code == 200
    default = Configuration(host=host, tls=Tls(ca_file=authority.file))
    if sys.version_info >= (3, 13):
        assert_fails(default, message)
    else:
        assert call(default).status_code == 200
    # The context without the flag still verifies the rest.
    with pytest.raises(errors.ConnectionFailedError, match="not accepted: IP address mismatch"):
        call(Configuration(host=host.replace("localhost", "127.0.0.1"), tls=Tls(ssl_context=lenient)))


def test_a_certificate_for_another_name(
    authority: CertificateAuthority, serve: Serve, assert_fails: AssertFails
) -> None:
    server = serve(authority.server_context("flex.example.com"))
    assert_fails(
        Configuration(host=localhost_url(server), tls=Tls(ca_file=authority.file)), "not accepted: Hostname mismatch"
    )
    assert server.received == []


def test_verification_can_be_disabled(
    authority: CertificateAuthority, serve: Serve, caplog: pytest.LogCaptureFixture, call: Call
) -> None:
    server = serve(authority.server_context("flex.example.com"))
    unchecked = ssl.create_default_context(cafile=authority.file)
    unchecked.check_hostname = False
    for context in (None, unchecked):
        configuration = Configuration(
            host=localhost_url(server), tls=Tls(insecure_skip_verification=True, ssl_context=context)
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InsecureRequestWarning)
            assert call(configuration).data == {}
    assert [record.levelname for record in caplog.records if "NOT verified" in record.getMessage()] == ["WARNING"] * 2


def test_a_client_certificate_is_sent(authority: CertificateAuthority, serve: Serve, call: Call) -> None:
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = authority.server_context(require_client_certificate=True)
        context.maximum_version = version
        server = serve(context)
        tls = Tls(ca_file=authority.file, client_certificate=authority.client_certificate("merchant"))
        assert call(Configuration(host=localhost_url(server), tls=tls), times=2).data == {}
        assert client_names(server) == ["merchant", "merchant"]
        client_context = ssl.create_default_context(cafile=authority.file)
        client_context.load_cert_chain(authority.client_certificate("other"))
        assert call(Configuration(host=localhost_url(server), tls=Tls(ssl_context=client_context))).data == {}
        assert client_names(server)[2:] == ["other"]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_missing_or_rejected_client_certificate(
    version: ssl.TLSVersion,
    authority: CertificateAuthority,
    other_authority: CertificateAuthority,
    serve: Serve,
    assert_fails: AssertFails,
) -> None:
    context = authority.server_context(require_client_certificate=True)
    context.maximum_version = version
    server = serve(context)
    assert_fails(
        Configuration(
            host=localhost_url(server),
            tls=Tls(ca_file=authority.file, client_certificate=other_authority.client_certificate("stranger")),
        ),
        "requires a client certificate, or rejected the one that was sent",
    )
    missing = Configuration(host=localhost_url(server), tls=Tls(ca_file=authority.file))
    # TLS 1.2 has no specific alert for this.
    assert_fails(missing, "requires a client" if version == ssl.TLSVersion.TLSv1_3 else "TLS with the host failed")
    assert server.received == []


def test_versions_below_1_2_are_rejected(
    authority: CertificateAuthority, serve: Serve, assert_fails: AssertFails
) -> None:
    context = authority.server_context()
    client_context = ssl.create_default_context(cafile=authority.file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for each in (context, client_context):
            each.set_ciphers("ALL:@SECLEVEL=0")
            each.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    server = serve(context)
    try:
        with socket.create_connection(("127.0.0.1", server.server_port)) as connection:
            client_context.wrap_socket(connection, server_hostname="localhost").close()
    except OSError as cause:
        pytest.skip(f"NOT TESTED against a server of TLS 1.1: the OpenSSL of this machine cannot serve it ({cause})")
    assert_fails(Configuration(host=localhost_url(server), tls=Tls(ca_file=authority.file)), "TLS with the host failed")
    assert server.received == []


def test_a_host_that_does_not_speak_tls(assert_fails: AssertFails) -> None:
    with socket.create_server(("127.0.0.1", 0)) as http_server:

        def respond() -> None:
            connection, _ = http_server.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                while connection.recv(65536):
                    pass

        thread = threading.Thread(target=respond, daemon=True)
        thread.start()
        assert_fails(
            Configuration(host=f"https://127.0.0.1:{http_server.getsockname()[1]}"),
            "the host does not speak TLS; is its URL http",
        )
        thread.join(20)


def test_a_handshake_without_a_response(call: Call) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        host = f"https://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(errors.ConnectionTimeoutError, match="no connection before the connect timeout"):
            call(Configuration(host=host, connect_timeout=0.1))


def test_the_certificate_must_name_the_intermediate_host(
    authority: CertificateAuthority, serve: Serve, call: Call, assert_fails: AssertFails
) -> None:
    tls = Tls(ca_file=authority.file)
    for name, succeeds in (("localhost", True), ("apitest.cybersource.com", False)):
        server = serve(authority.server_context(name))
        configuration = Configuration(
            host="https://apitest.cybersource.com", intermediate_host=localhost_url(server), tls=tls
        )
        if succeeds:
            assert call(configuration).data == {}
            assert [request.headers["host"] for request in server.received] == ["apitest.cybersource.com"]
        else:
            assert_fails(configuration, "Hostname mismatch")
            assert server.received == []
