"""The addresses of the emulator: its URL for clients, and the host names in signatures and in the certificate."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from ...errors import ConfigurationError

_DEFAULT_PORTS = {"http": 80, "https": 443}


def is_loopback(host: str) -> bool:
    """Whether a host name or address is loopback."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_wildcard(host: str) -> bool:
    """Whether an address stands for all addresses of the machine: 0.0.0.0 and ::. Clients cannot use these."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        pass
    try:
        # Operating systems accept short forms, such as 0 and 0x0.
        return not any(socket.inet_aton(host))
    except (OSError, ValueError):
        return False


def server_url(scheme: str, host: str, port: int) -> str:
    """The URL of the address that the emulator listens on, without a trailing slash."""
    return f"{scheme}://{bracketed(host)}:{port}"


def check_public_url(url: str, *, tls: bool) -> str:
    """Validate the URL that clients use, and return it without a default port or a trailing slash.

    Args:
        tls: whether the emulator serves https. If not, the URL may have either scheme: a proxy may serve https.
    """
    expected = "expected a URL such as 'https://flex.example:8443'"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ConfigurationError(f"public_url is not a valid URL; {expected}") from None
    if parts.scheme not in _DEFAULT_PORTS or not re.fullmatch(r"[A-Za-z0-9.-]+|[0-9a-f:.]+", host):
        raise ConfigurationError(
            "public_url must have the scheme http or https, and a host of ASCII letters, digits, hyphens and dots; "
            f"{expected}"
        )
    if "@" in parts.netloc or parts.path.rstrip("/") or parts.query or parts.fragment or port == 0:
        raise ConfigurationError(f"public_url must have only a scheme, a host and a port; {expected}")
    if is_wildcard(host):
        raise ConfigurationError(f"public_url has the host {host!r}, which clients cannot use; {expected}")
    if tls and parts.scheme == "http":
        raise ConfigurationError("public_url must begin with https://, because the emulator serves https")
    default = port is None or port == _DEFAULT_PORTS[parts.scheme]
    return f"{parts.scheme}://{bracketed(host)}" + ("" if default else f":{port}")


def local_host_names(host: str, port: int) -> set[str]:
    """The values of `Host` that a local client may send: each name with and without the port."""
    names = {bracketed(host), "127.0.0.1", "localhost", "[::1]"}
    return names | {f"{name}:{port}" for name in names}


def public_host_names(url: str, port: int) -> set[str]:
    """The values of `Host` that a client of this URL may send: with its port, with the port listened on, without."""
    parts = urlsplit(url)
    name = bracketed(parts.hostname or "")
    return {name, f"{name}:{parts.port or _DEFAULT_PORTS[parts.scheme]}", f"{name}:{port}"}


def certificate_names(host: str, signed_hosts: Iterable[str], public_url: str | None = None) -> set[str]:
    """The names and addresses for the server's TLS certificate, without ports."""
    names = {"127.0.0.1", "localhost", "::1"} if is_wildcard(host) else {"127.0.0.1", "localhost", "::1", host}
    for signed in signed_hosts:
        # The port follows the last colon, unless that colon is part of an IPv6 address.
        match = re.fullmatch(r"\[(.+)\](?::[0-9]+)?|([^:]+)(?::[0-9]+)?", signed)
        names.add(signed if match is None else (match[1] or match[2]).lower())
    return names | ({urlsplit(public_url).hostname or ""} if public_url is not None else set())


def bracketed(host: str) -> str:
    """A host for a URL: IPv6 addresses are in brackets."""
    return f"[{host}]" if ":" in host else host
