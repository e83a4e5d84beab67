"""An emulator and its clients on two machines, in network namespaces: https, names, what is rejected and not served."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.emulator_command import COMMAND, make_environ, run, run_emulator
from support.network import SERVER, SERVER_IPV6, SERVER_NAME, Network, two_machines

PUBLIC = f"https://{SERVER_NAME}:8443"
# The beginning of a line of the log. The log has no line about a request.
HANDSHAKE = ".* INFO a client's TLS handshake failed: the client "
# What a shop does: create a context, tokenize, and verify with what it stored. Everything else is in the variables.
SHOP = """
import asyncio
from cybersource_flex import AsyncFlexClient, FlexClient, fields

CARD = {"card": {"number": "4111111111111111"}}

with FlexClient.from_env() as client:
    context = client.create_capture_context(fields(card=["number"]))
    jwt = client.tokenize(context, CARD).jwt
    stored = client.restore_capture_context(client.store_capture_context(context))
    print(client.verify_transient_token(jwt, stored).masked_number)

async def main():
    async with AsyncFlexClient.from_env() as client:
        context = await client.create_capture_context(fields(card=["number"]))
        print((await client.tokenize(context, CARD)).masked_number)

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with two_machines(tmp_path_factory.mktemp("network"), "an emulator and its clients on two machines") as network:
        yield network


def shop(network: Network, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return execute([*network.client, sys.executable, "-c", SHOP], environ)


def execute(command: list[str], environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env=make_environ(**(environ or {})), capture_output=True, encoding="utf-8", timeout=60, check=False
    )


def remote(ca_file: Path, *options: str, host: str = "0.0.0.0") -> list[str]:
    return ["--host", host, "--port", "8443", "--allow-remote", "--ca-file", str(ca_file), *options]


@pytest.mark.parametrize(
    ("host", "public_url", "url"),
    [
        ("0.0.0.0", PUBLIC, PUBLIC),
        ("::", PUBLIC, PUBLIC),
        ("::", f"https://[{SERVER_IPV6}]:8443", f"https://[{SERVER_IPV6}]:8443"),
        (SERVER, None, f"https://{SERVER}:8443"),
        (SERVER_IPV6, None, f"https://[{SERVER_IPV6}]:8443"),
    ],
)
def test_a_shop_on_another_machine(
    network: Network, tmp_path: Path, host: str, public_url: str | None, url: str
) -> None:
    options = [] if public_url is None else ["--public-url", public_url]
    with run_emulator(*remote(tmp_path / "ca.pem", *options, host=host), prefix=network.server) as output:
        assert output.environ["CYBERSOURCE_ENVIRONMENT"] == url
        result = shop(network, output.environ)
        assert (result.returncode, result.stdout.split()) == (0, ["XXXXXXXXXXXX1111"] * 2), result.stderr
        checked = run("doctor", "--json", prefix=network.client, **output.environ)
        assert checked.returncode == 0, checked.stdout
        assert json.loads(checked.stdout)["problems"] == 0


def test_a_client_without_the_ca_sends_nothing(network: Network, tmp_path: Path) -> None:
    options = remote(tmp_path / "ca.pem", "--public-url", PUBLIC, "--log-requests")
    with run_emulator(*options, prefix=network.server, errors=f"({HANDSHAKE}does not trust the CA.*\n)+") as output:
        del output.environ["CYBERSOURCE_CA_FILE"]
        result = shop(network, output.environ)
        assert result.returncode == 1
        assert "certificate" in result.stderr.splitlines()[-1]


def test_a_client_rejects_a_name_that_is_not_in_the_certificate(network: Network, tmp_path: Path) -> None:
    options = remote(tmp_path / "ca.pem", "--public-url", PUBLIC, "--log-requests")
    with run_emulator(*options, prefix=network.server, errors=f"({HANDSHAKE}rejects the certificate.*\n)+") as output:
        result = shop(network, {**output.environ, "CYBERSOURCE_ENVIRONMENT": f"https://{SERVER}:8443"})
        assert result.returncode == 1
        assert "certificate" in result.stderr.splitlines()[-1]


def test_other_machines_cannot_reach_an_emulator_without_the_option(network: Network) -> None:
    refused = run("emulator", "--host", "0.0.0.0", "--port", "8443", prefix=network.server)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "--host 0.0.0.0 needs --allow-remote" in refused.stderr
    with run_emulator("--port", "8443", prefix=network.server):
        assert get(network.server, "http://127.0.0.1:8443/healthz") == "200"
        for address in (SERVER, f"[{SERVER_IPV6}]"):
            assert get(network.client, f"http://{address}:8443/healthz") == "ConnectionRefusedError"


def get(machine: list[str], url: str, **headers: str) -> str:
    """The status of a GET request from a machine, or the class of the error. The certificate is not checked."""
    code = f"""
import http.client, ssl, urllib.parse
parts = urllib.parse.urlsplit({url!r})
context = ssl._create_unverified_context()
https = parts.scheme == "https"
make = http.client.HTTPSConnection if https else http.client.HTTPConnection
connection = make(parts.hostname, parts.port, timeout=20, **({{"context": context}} if https else {{}}))
try:
    connection.request("GET", parts.path, headers={headers!r})
    response = connection.getresponse()
    print(response.status)
except OSError as error:
    print(type(error).__name__)
"""
    result = execute([*machine, sys.executable, "-c", code])
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.mark.parametrize("path", ["/", "/studio/state", "/studio/requests", "/studio/studio.js"])
def test_the_studio_is_not_served_to_other_machines(network: Network, tmp_path: Path, path: str) -> None:
    """Not even under a name of the machine itself, as after DNS rebinding or with a forged Host."""
    with run_emulator(*remote(tmp_path / "ca.pem", "--public-url", PUBLIC), prefix=network.server):
        for host in ("localhost:8443", f"{SERVER_NAME}:8443"):
            headers = {"Host": host, "Sec-Fetch-Site": "same-origin", "Origin": f"https://{host}"}
            assert get(network.client, f"https://{SERVER}:8443{path}", **headers) == "404"
        assert get(network.client, f"https://{SERVER}:8443/healthz", Host="anything.example") == "200"


def test_http_is_served_on_request_with_a_warning(network: Network) -> None:
    options = ["--host", SERVER, "--port", "8080", "--allow-remote", "--no-tls"]
    warning = ".* WARNING the emulator serves http, so keys, tokens and card data cross the network unencrypted\n"
    with run_emulator(*options, prefix=network.server, errors=warning) as output:
        assert output.environ["CYBERSOURCE_ENVIRONMENT"] == f"http://{SERVER}:8080"
        assert get(network.client, f"http://{SERVER}:8080/healthz") == "200"
        # Clients of this package do not send over it.
        result = shop(network, output.environ)
        assert result.returncode == 1
        assert "must use https://" in result.stderr.splitlines()[-1]


def test_the_first_process_of_a_container_ends_on_sigterm(network: Network, tmp_path: Path) -> None:
    """The kernel ignores SIGTERM for the first process of a container, unless the process handles it."""
    unshare = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    command = [*network.server, *unshare, *COMMAND, "emulator", *remote(tmp_path / "ca.pem"), "--public-url", PUBLIC]
    with subprocess.Popen(command, env=make_environ(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert b"Flex emulator at" in process.stdout.readline()
            (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text("ascii").split()
            assert re.search(r"^NSpid:\s+\d+\s+1$", Path(f"/proc/{child}/status").read_text("utf-8"), re.MULTILINE)
            os.kill(int(child), signal.SIGTERM)
            _, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, errors) == (0, b"")


def test_the_address_of_a_container_is_free_after_the_end(network: Network, tmp_path: Path) -> None:
    """Health checks keep connections that linger. A container that is started again uses the same port."""
    for number in range(2):
        options = remote(tmp_path / f"{number}.pem", "--public-url", PUBLIC)
        with run_emulator(*options, prefix=network.server, end_signal=signal.SIGTERM):
            assert get(network.client, f"{PUBLIC}/healthz") == "200"
