"""Hosts: what may be one, which of them are this machine, and which are CyberSource's production."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from urllib.parse import SplitResult

__all__ = ["check_host", "is_host_name", "is_loopback", "is_production", "split"]


def split(url: str) -> SplitResult | None:
    """The parts of a URL, or None for what is none.

    ``urllib.parse`` quotes the text in its exceptions, a password included; none of them gets out of here.
    """
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        _ = parts.hostname, parts.port
    except ValueError:
        return None
    return parts


def check_host(host: str, name: str = "host") -> str:
    """The base URL for ``host``: lower case, with a scheme, without a path and without the scheme's own port.

    Args:
        host: what was given.
        name: name of the setting, for messages.

    Raises:
        ConfigurationError: not a host, or something more than one; ``http`` to a host that is not loopback.
    """
    expected = "expected a host such as 'https://apitest.cybersource.com'"
    if not isinstance(host, str) or not host.strip():
        raise ConfigurationError(f"{name} is empty or not a text; {expected}")
    if has_stray_characters(host):
        raise ConfigurationError(f"{name} has white space, a backslash or a control character in it; {expected}")
    parts = split(host if "://" in host else f"https://{host}")
    if parts is None:
        raise ConfigurationError(f"{name} is not a URL that can be read; {expected}")
    if parts.scheme not in ("http", "https"):
        raise ConfigurationError(f"{name} has the scheme {parts.scheme!r}; {expected}")
    if "@" in parts.netloc:
        # Not quoted in the message: what stands before the @ may be a password.
        raise ConfigurationError(f"{name} has a user name or password in it; {expected}")
    if not parts.hostname:
        raise ConfigurationError(f"{name} has no name in it; {expected}")
    if not is_host_name(parts.hostname):
        raise ConfigurationError(f"{name} has an empty label, or one of more than 63 characters; {expected}")
    if parts.path.rstrip("/") or parts.query or parts.fragment:
        raise ConfigurationError(f"{name} has a path, query or fragment after it; {expected}")
    if not parts.hostname.isascii():
        raise ConfigurationError(f"{name} has characters outside ASCII in it; write its 'xn--' form; {expected}")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ConfigurationError(
            f"{name} {parts.hostname!r} with http://: signed requests leave this machine by https:// only; "
            "http:// is accepted for loopback hosts (localhost, 127.0.0.1, [::1])"
        )
    return origin(parts)


def origin(parts: SplitResult) -> str:
    """Scheme, host and port, in one form: lower case, brackets around IPv6, no port that the scheme has anyway."""
    host = parts.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    if parts.port is not None and parts.port != {"http": 80, "https": 443}[parts.scheme]:
        shown += f":{parts.port}"
    return f"{parts.scheme}://{shown}"


def has_stray_characters(text: str) -> bool:
    """Whether white space, a backslash or a control character is in it. Readers of URLs disagree about these."""
    return any(ord(char) <= 32 or ord(char) == 127 or char == "\\" for char in text)


def is_host_name(name: str) -> bool:
    """Whether the labels of a host name have lengths that can be resolved (RFC 1035 section 2.3.4)."""
    labels = name.removesuffix(".").split(".")
    return len(name) <= 253 and all(0 < len(label) <= 63 for label in labels)


def is_loopback(name: str) -> bool:
    """Whether ``name`` can only be this machine: ``localhost`` (RFC 6761 section 6.3) or a loopback address."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def is_production(name: str) -> bool:
    """Whether ``name`` is a production host of CyberSource: one whose first label does not say ``test``."""
    return name.rstrip(".").endswith(".cybersource.com") and "test" not in name.partition(".")[0]
