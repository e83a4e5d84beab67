"""Where the emulator listens: loopback, its names, the socket."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from collections.abc import Iterable


class AddressError(RuntimeError):
    """The emulator cannot listen on this host and port."""


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def url(scheme: str, host: str, port: int) -> str:
    # 0.0.0.0 and :: mean "all addresses": nothing one can connect to everywhere.
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"{scheme}://{_bracketed(reachable)}:{port}"


def own_names(host: str, port: int) -> set[str]:
    """The names under which a client may know this host, each with and without the port."""
    names = {_bracketed(host), "127.0.0.1", "localhost", "[::1]"}
    return names | {f"{name}:{port}" for name in names}


def certified_names(host: str, signed_hosts: Iterable[str]) -> set[str]:
    """The names and addresses for this host's TLS certificate, none with a port."""
    names = {"127.0.0.1", "localhost", "::1", host}
    for signed in signed_hosts:
        # The port is what follows the last colon, unless that colon is part of an IPv6 address.
        match = re.fullmatch(r"\[(.+)\](?::[0-9]+)?|([^:]+)(?::[0-9]+)?", signed)
        names.add(signed if match is None else (match[1] or match[2]).lower())
    return names


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Bound here, not by the server: a taken port shows at once, as an error."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise AddressError(f"the emulator cannot use host {host!r}: {error.strerror}") from error
    try:
        if os.name == "posix":
            # Only to take a port again whose old connections linger; on Windows it would share a port in use.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise AddressError(f"the emulator cannot listen on {host}:{port}: {error.strerror}") from error
    return listener
