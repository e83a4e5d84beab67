"""Validate host URLs, and recognise loopback hosts, production hosts, and names of environments in other SDKs."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final

from .._environments import ENVIRONMENTS
from ..errors import ConfigurationError

if TYPE_CHECKING:
    from urllib.parse import SplitResult

__all__ = [
    "check_host",
    "environment_alias",
    "has_unsafe_characters",
    "is_host_name",
    "is_local",
    "is_loopback",
    "is_production",
    "is_test_host",
    "origin",
    "parse_url",
]

# Other names of environments, in lower case.
_ALIASES: Final = {
    "apitest": "test",
    "sandbox": "test",
    "testing": "test",
    "api": "production",
    "live": "production",
    "prod": "production",
    "india": "production-india",
}
# Constants of the official SDKs, such as CyberSource.IN.Environment.SANDBOX, in any case.
_SDK_CONSTANT: Final = re.compile(r"(?:cybersource\.)?(in\.)?environment\.(?:[a-z]+\.)*(sandbox|production)", re.I)


def environment_alias(name: str) -> str | None:
    """Return the name of the environment for an alias. None if the alias is unknown.

    Aliases are constants of CyberSource's SDKs such as ``CyberSource.Environment.SANDBOX``, common names such as
    ``sandbox`` and ``prod``, and names of environments in a different case or with underscores.
    """
    constant = _SDK_CONSTANT.fullmatch(name.strip())
    if constant is not None:
        if constant[2].lower() == "sandbox":
            return "test"
        return "production-india" if constant[1] else "production"
    normalized = name.strip().lower().replace("_", "-").replace(" ", "-")
    return normalized if normalized in ENVIRONMENTS else _ALIASES.get(normalized)


def parse_url(url: str) -> SplitResult | None:
    """Parse a URL. Returns None if it is invalid.

    The exceptions of ``urllib.parse`` quote the URL, which may contain a password, so they are not raised.
    """
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        _ = parts.hostname, parts.port
    except ValueError:
        return None
    return parts


def check_host(host: str, name: str = "host") -> str:
    """Validate a host and return its base URL: scheme, host and port, in lower case. The default port is left out.

    Args:
        host: a host name or URL. Without a scheme, ``https`` is assumed.
        name: name of the setting, for messages.

    Raises:
        ConfigurationError: the value is not a host, or is the name of an environment. A URL must not contain a path,
            query, fragment, user name or password. The scheme ``http`` is accepted for loopback hosts only.
    """
    expected = "expected a host such as 'https://apitest.cybersource.com'"
    if not isinstance(host, str) or not host.strip():
        raise ConfigurationError(f"{name} is empty or not a string; {expected}")
    if has_unsafe_characters(host):
        raise ConfigurationError(f"{name} contains white space, a backslash or a control character; {expected}")
    environment = environment_alias(host.rpartition("://")[2] if "." in host else host)
    if environment is not None:
        raise ConfigurationError(
            f"{name} is a name for the environment {environment!r}, not a host; expected {ENVIRONMENTS[environment]!r}"
        )
    parts = parse_url(host if "://" in host else f"https://{host}")
    if parts is None:
        raise ConfigurationError(f"{name} is not a valid URL; {expected}")
    if parts.scheme not in ("http", "https"):
        raise ConfigurationError(f"{name} has the scheme {parts.scheme!r}; {expected}")
    if "@" in parts.netloc:
        # The message does not quote the URL, because the part before the @ may be a password.
        raise ConfigurationError(f"{name} contains a user name or password; {expected}")
    if not parts.hostname:
        raise ConfigurationError(f"{name} has no host name; {expected}")
    if not is_host_name(parts.hostname):
        raise ConfigurationError(f"{name} is too long, or has an empty or too long label; {expected}")
    if parts.path.rstrip("/") or parts.query or parts.fragment:
        raise ConfigurationError(f"{name} has a path, query or fragment; {expected}")
    if not parts.hostname.isascii():
        raise ConfigurationError(f"{name} contains characters outside ASCII; use the 'xn--' form; {expected}")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ConfigurationError(
            f"{name} {parts.hostname!r} must use https://; "
            "http:// is accepted only for loopback hosts (localhost, 127.0.0.1, [::1])"
        )
    return origin(parts)


def origin(parts: SplitResult) -> str:
    """Return scheme, host and port in canonical form: IPv6 addresses in brackets, and no default port."""
    host = parts.hostname or ""
    netloc = f"[{host}]" if ":" in host else host
    if parts.port is not None and parts.port != {"http": 80, "https": 443}[parts.scheme]:
        netloc += f":{parts.port}"
    return f"{parts.scheme}://{netloc}"


def has_unsafe_characters(url: str) -> bool:
    """Whether a URL contains white space, a backslash or a control character. URL parsers disagree about these."""
    return any(ord(char) <= 32 or ord(char) == 127 or char == "\\" for char in url)


def is_host_name(name: str) -> bool:
    """Whether a host name and its labels have valid lengths (RFC 1035 section 2.3.4)."""
    labels = name.removesuffix(".").split(".")
    return len(name) <= 253 and all(0 < len(label) <= 63 for label in labels)


def is_loopback(name: str) -> bool:
    """Whether a host is this machine: ``localhost`` (RFC 6761 section 6.3) or a loopback address."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def is_production(name: str) -> bool:
    """Whether a host is a production host of CyberSource: its first label does not contain ``test``."""
    return name.rstrip(".").endswith(".cybersource.com") and "test" not in name.partition(".")[0]


def is_local(url: str) -> bool:
    """Whether a base URL is one of this machine."""
    parts = parse_url(url)
    return parts is not None and is_loopback(parts.hostname or "")


def is_test_host(url: str) -> bool:
    """Whether a base URL is that of a test environment of CyberSource, or one of this machine."""
    test_hosts = {host for name, host in ENVIRONMENTS.items() if name.partition("-")[0] == "test"}
    return url in test_hosts or is_local(url)
