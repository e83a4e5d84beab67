"""A network of two machines on one host: two network namespaces of Linux, joined by a cable (veth)."""

from __future__ import annotations

import contextlib
import secrets
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import pytest

from support.requirements import require_program

# Reserved for documentation (RFC 5737, RFC 3849), so no other network is hidden.
SERVER, CLIENT = "192.0.2.1", "192.0.2.2"
SERVER_IPV6, CLIENT_IPV6 = "2001:db8::1", "2001:db8::2"
SERVER_NAME = "flex.example"


class Network(NamedTuple):
    """The machines: prefixes of commands that run there."""

    server: list[str]
    client: list[str]


@contextlib.contextmanager
def two_machines(
    folder: Path, not_tested: str, names: Mapping[str, str] = MappingProxyType({SERVER_NAME: SERVER})
) -> Iterator[Network]:
    """Create two network namespaces, and delete them at the end. Skips the test if they cannot be created.

    Args:
        folder: a folder for a hosts file.
        not_tested: what is not tested if the test is skipped.
        names: addresses by host name, for both machines.
    """
    require_program("ip", package="iproute2", not_tested=not_tested)
    hosts = folder / "hosts"
    lines = ["127.0.0.1 localhost\n", "::1 localhost\n", *(f"{names[name]} {name}\n" for name in names)]
    hosts.write_text("".join(lines), encoding="ascii")
    server, client = (f"flex-{secrets.token_hex(4)}" for _ in range(2))
    setup = [f"netns add {server}", f"netns add {client}"]
    setup.append(f"link add veth0 netns {server} type veth peer name veth0 netns {client}")
    for name, address, ipv6 in ((server, SERVER, SERVER_IPV6), (client, CLIENT, CLIENT_IPV6)):
        setup.append(f"-netns {name} address add {address}/24 dev veth0")
        # Without duplicate address detection, the address can be used at once.
        setup.append(f"-netns {name} address add {ipv6}/64 dev veth0 nodad")
        setup += [f"-netns {name} link set {device} up" for device in ("lo", "veth0")]
    created = []
    try:
        for command in setup:
            result = _ip(command)
            if result.returncode != 0:
                pytest.skip(
                    f"NOT TESTED: {not_tested}, because the network namespaces cannot be set up. That needs root and "
                    f"Linux with veth and IPv6. `ip {command}`: {result.stderr.strip()}"
                )
            if command.startswith("netns add"):
                created.append(command.rpartition(" ")[2])
        yield Network(_run_in(server, hosts), _run_in(client, hosts))
    finally:
        for name in created:
            assert _ip(f"netns delete {name}").returncode == 0


def _run_in(name: str, hosts: Path) -> list[str]:
    # `ip netns exec` has its own mounts, so the file is /etc/hosts for this command only.
    script = 'mount --bind "$1" /etc/hosts && shift && exec "$@"'
    return ["ip", "netns", "exec", name, "sh", "-c", script, "sh", str(hosts)]


def _ip(arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ip", *arguments.split()], capture_output=True, encoding="utf-8", check=False)
