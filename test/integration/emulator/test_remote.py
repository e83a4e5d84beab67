"""An emulator for other machines, without a network: its arguments, URL, certificate and signatures."""

from __future__ import annotations

import http.client
import logging
import queue
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from cybersource_flex import FlexClient, errors, fields
from cybersource_flex.emulator import Emulator

CARD = {"card": {"number": "4111111111111111"}}
EXAMPLE = "https://flex.example:8443"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"host": "0.0.0.0"}, "host '0.0.0.0' is not loopback"),
        ({"host": "::"}, "host '::' is not loopback"),
        ({"host": "10.0.0.1"}, "host '10.0.0.1' is not loopback"),
        ({"host": "shop.example"}, "host 'shop.example' is not loopback"),
        ({"host": "0.0.0.0", "allow_remote": True}, "this needs public_url"),
        ({"host": "::", "allow_remote": True}, "this needs public_url"),
        *(({"host": short, "allow_remote": True}, "this needs public_url") for short in ("0", "0x0", "0.0", "::0")),
        ({"allow_remote": True, "public_url": "https://flex..example"}, "host, public_url or signed_hosts"),
        ({"public_url": EXAMPLE}, "public_url needs allow_remote=True"),
        ({"allow_remote": True, "public_url": "http://flex.example"}, "must begin with https://"),
        ({"allow_remote": True, "public_url": "ftp://flex.example"}, "scheme http or https"),
        ({"allow_remote": True, "public_url": "flex.example"}, "scheme http or https"),
        ({"allow_remote": True, "public_url": "https://flex_example"}, "ASCII letters, digits, hyphens and dots"),
        ({"allow_remote": True, "public_url": "https://fl\u00e9x.example"}, "a host of ASCII letters"),
        ({"allow_remote": True, "public_url": "https://flex.example/path"}, "only a scheme, a host and a port"),
        ({"allow_remote": True, "public_url": "https://flex.example?a=b"}, "only a scheme, a host and a port"),
        ({"allow_remote": True, "public_url": "https://flex.example:0"}, "only a scheme, a host and a port"),
        ({"allow_remote": True, "public_url": "https://flex.example:99999"}, "not a valid URL"),
        ({"allow_remote": True, "public_url": "https://0.0.0.0:8443"}, "which clients cannot use"),
        ({"allow_remote": True, "public_url": "https://[::]:8443"}, "which clients cannot use"),
        ({"allow_remote": True, "public_url": 5}, "public_url must be a string"),
        ({"allow_remote": True, "tls": False, "client_certificates": "required"}, "needs tls=True"),
    ],
)
def test_invalid_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.ConfigurationError) as caught:
        Emulator(**options)
    assert message in str(caught.value)


def test_a_password_in_the_public_url_is_not_in_the_message() -> None:
    with pytest.raises(errors.ConfigurationError) as caught:
        Emulator(allow_remote=True, public_url="https://user:c4n4ry@flex.example")
    assert "c4n4ry" not in str(caught.value)


@pytest.mark.parametrize(
    ("public_url", "url"),
    [
        (EXAMPLE, EXAMPLE),
        ("https://Flex.Example:8443/", EXAMPLE),
        ("https://flex:443", "https://flex"),
        ("https://192.0.2.7:9443", "https://192.0.2.7:9443"),
        ("https://[2001:DB8::7]:9443", "https://[2001:db8::7]:9443"),
    ],
)
def test_clients_get_the_public_url(public_url: str, url: str, client_class: Any) -> None:
    """Clients connect to the loopback address here. The next test is about the name in the certificate."""
    with Emulator(allow_remote=True, public_url=public_url, key_pool=1) as emulator:
        assert emulator.url == emulator.environ["CYBERSOURCE_ENVIRONMENT"] == url
        with client_class.from_env(emulator.environ, intermediate_host=address(emulator)) as client:
            context = client.create_capture_context(fields(card=["number"]))
            assert client.tokenize(context, CARD).masked_number == "XXXXXXXXXXXX1111"
            page = client.create_microform_context(
                target_origins=["https://shop.example.com"], allowed_card_networks=["VISA"]
            )
            assert page.client_library.startswith(f"{url}/microform/bundle/")
        assert {record.headers["host"] for record in emulator.requests} == {url.partition("://")[2]}


def address(emulator: Emulator) -> str:
    return f"https://127.0.0.1:{emulator._server.port}"


@pytest.mark.parametrize("name", ["flex.example", "localhost", "127.0.0.1", "::1", "other.example"])
def test_the_certificate_is_valid_for_the_names_of_clients(name: str) -> None:
    signed = ["other.example:8443"]
    with Emulator(allow_remote=True, public_url=EXAMPLE, signed_hosts=signed, key_pool=1) as emulator:
        assert connect(emulator, name, emulator.ca_pem)
        with pytest.raises(ssl.SSLCertVerificationError, match=r"not valid for 'third\.example'"):
            connect(emulator, "third.example", emulator.ca_pem)


def connect(emulator: Emulator, name: str, ca_pem: bytes | None) -> str | None:
    """Connect with TLS under this name. With None, the emulator's CA is not trusted."""
    context = ssl.create_default_context(cadata=None if ca_pem is None else ca_pem.decode("ascii"))
    with (
        socket.create_connection(("127.0.0.1", emulator._server.port), timeout=20) as connection,
        context.wrap_socket(connection, server_hostname=name) as secured,
    ):
        return secured.version()


@pytest.mark.parametrize("client_certificates", [None, "required"])
def test_a_given_certificate(client_certificates: Any, tmp_path: Path) -> None:
    """Clients trust its CA already. The emulator's own CA is for client certificates only."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "company.pem")
    issued = authority.issue_cert("flex.example", "127.0.0.1")
    certificate = (issued.private_key_pem.bytes(), issued.cert_chain_pems[0].bytes())
    options = {"server_certificate": certificate, "client_certificates": client_certificates}
    with Emulator(allow_remote=True, public_url=EXAMPLE, key_pool=1, **options) as emulator:
        assert "CYBERSOURCE_CA_FILE" not in emulator.environ
        with pytest.raises(errors.EmulatorError, match="created with server_certificate"):
            _ = emulator.ca_pem
        environ = {**emulator.environ, "CYBERSOURCE_CA_FILE": str(tmp_path / "company.pem")}
        with FlexClient.from_env(environ, intermediate_host=address(emulator)) as client:
            assert client.create_capture_context(fields(card=["number"]))
    with emulator, FlexClient.from_env(environ, intermediate_host=address(emulator)) as client:
        # The same certificate after a restart.
        assert client.create_capture_context(fields(card=["number"]))


def test_an_invalid_certificate_is_reported_without_its_content() -> None:
    issued, other = (trustme.CA().issue_cert("flex.example") for _ in range(2))
    key, certificate = issued.private_key_pem.bytes(), issued.cert_chain_pems[0].bytes()
    secret = load_pem_private_key(key, None)
    encrypted = secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password"))
    for pair in (
        (certificate, key[:50]),
        (b"", b""),
        (other.private_key_pem.bytes(), certificate),
        (encrypted, certificate),
        (key, b""),
    ):
        with pytest.raises(errors.ConfigurationError, match="a private key without password") as caught:
            Emulator(server_certificate=pair)
        assert caught.value.__cause__ is None
        assert "PRIVATE KEY" not in str(caught.value)
    with pytest.raises(errors.ConfigurationError, match="cannot be used with tls=False"):
        Emulator(server_certificate=(key, certificate), tls=False)
    with pytest.raises(errors.ConfigurationError, match="must be a private key and a certificate"):
        Emulator(server_certificate=(key, certificate, certificate))  # type: ignore[arg-type]


def test_https_without_a_folder_for_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container with a read-only file system."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    with pytest.raises(errors.EmulatorError, match="https needs a folder for a temporary file, such as /tmp: No such"):
        Emulator(tls=True, key_pool=1).start()


@pytest.mark.parametrize("host", ["flex..example", "a" * 64 + ".example"])
def test_a_host_that_is_not_a_name_is_reported(host: str) -> None:
    with pytest.raises(errors.AddressError, match=r"the emulator cannot use host '.+': it is not a valid host name"):
        Emulator(host=host, allow_remote=True, tls=False, key_pool=1).start()


def test_https_is_the_default_for_other_machines_and_with_a_given_certificate() -> None:
    issued = trustme.CA().issue_cert("localhost")
    given = issued.private_key_pem.bytes(), issued.cert_chain_pems[0].bytes()
    assert repr(Emulator(server_certificate=given, key_pool=1)).startswith("<Emulator https://")
    assert repr(Emulator(allow_remote=True, key_pool=1)).startswith("<Emulator https://")
    assert repr(Emulator(allow_remote=True, tls=False, key_pool=1)).startswith("<Emulator http://")
    assert repr(Emulator(key_pool=1)).startswith("<Emulator http://")


def test_a_proxy_in_front_of_the_emulator_may_serve_https(caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.WARNING),
        Emulator(allow_remote=True, tls=False, public_url="https://tunnel.example", key_pool=1) as emulator,
        FlexClient.from_env(emulator.environ, intermediate_host=f"http://127.0.0.1:{emulator._server.port}") as client,
    ):
        assert client.create_capture_context(fields(card=["number"]))
        assert emulator.requests[0].headers["host"] == "tunnel.example"
    # Only this machine can read what the proxy sends to a loopback address.
    assert not caplog.messages


def test_clients_of_this_package_reject_http_to_other_machines() -> None:
    with (
        Emulator(allow_remote=True, tls=False, public_url="http://flex.example:8080", key_pool=1) as emulator,
        pytest.raises(errors.ConfigurationError, match=r"'flex\.example' must use https://"),
    ):
        FlexClient.from_env(emulator.environ)


def test_the_health_check_is_available_under_any_name() -> None:
    """Health checks of containers call an address, not the public host."""
    with Emulator(allow_remote=True, tls=False, public_url="https://flex.example", key_pool=1) as emulator:
        connection = http.client.HTTPConnection("127.0.0.1", emulator._server.port, timeout=20)
        for host in ("10.1.2.3:8443", "flex.example", "localhost"):
            connection.request("GET", "/healthz", headers={"Host": host})
            response = connection.getresponse()
            assert (response.status, response.read()) == (200, b'{"status":"ok"}')
        connection.close()


def test_a_signature_for_another_name_is_rejected_with_the_reason() -> None:
    with Emulator(allow_remote=True, public_url=EXAMPLE, key_pool=1) as emulator:
        environ = {**emulator.environ, "CYBERSOURCE_ENVIRONMENT": "https://attacker.example"}
        with (
            FlexClient.from_env(environ, intermediate_host=address(emulator)) as client,
            pytest.raises(errors.AuthenticationError),
        ):
            client.create_capture_context(fields(card=["number"]))
        reason = emulator.requests[-1].rejection_reason
        assert reason is not None
        assert "'attacker.example' is neither this host nor a host of the real service" in reason


@pytest.mark.parametrize(
    ("trusts_ca", "name", "message"),
    [
        (False, "localhost", "the client does not trust the CA of the emulator's certificate"),
        (
            True,
            "third.example",
            "the client rejects the certificate, for example because it uses a name that is not in it",
        ),
    ],
)
def test_the_log_says_why_a_client_rejects_the_certificate(
    trusts_ca: bool, name: str, message: str, log_lines: queue.Queue[str]
) -> None:
    with Emulator(allow_remote=True, key_pool=1) as emulator:
        with pytest.raises(ssl.SSLCertVerificationError):
            connect(emulator, name, emulator.ca_pem if trusts_ca else None)
        assert log_lines.get(timeout=20) == f"a client's TLS handshake failed: {message}"


def test_the_log_says_that_a_client_sent_http_or_no_certificate(log_lines: queue.Queue[str]) -> None:
    with Emulator(allow_remote=True, client_certificates="required", key_pool=1) as emulator:
        with socket.create_connection(("127.0.0.1", emulator._server.port), timeout=20) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert log_lines.get(timeout=20) == "a client's TLS handshake failed: the client sent http; expected https"
        connect(emulator, "localhost", emulator.ca_pem)
        assert "the client has no client certificate, which is required" in log_lines.get(timeout=20)


def test_connections_without_a_handshake_are_not_logged(log_lines: queue.Queue[str]) -> None:
    """Load balancers open and close connections to see whether a port is open."""
    with Emulator(allow_remote=True, key_pool=1) as emulator:
        for _ in range(3):
            socket.create_connection(("127.0.0.1", emulator._server.port), timeout=20).close()
        assert connect(emulator, "localhost", emulator.ca_pem)
    assert log_lines.empty()
