"""The HTTP proxy, parsed from a URL or from environment variables."""

from __future__ import annotations

import ipaddress
import os
import re
from base64 import b64encode
from typing import TYPE_CHECKING, Any, Final

from .._immutable import ImmutableValue
from .._runtime.tracebacks import clear_locals_on_error
from ..errors import ConfigurationError
from .hosts import has_unsafe_characters, is_host_name, is_loopback, origin, parse_url

if TYPE_CHECKING:
    from urllib.parse import SplitResult

__all__ = ["Proxy"]

_EXPECTED = (
    "expected 'http://host:port' or 'https://host:port', with 'user:password@' before the host if the proxy "
    "requires credentials"
)

# Separators of the entries of NO_PROXY. White space is accepted too, as in curl.
_SEPARATORS: Final = re.compile(r"[\s,]+")
# An address or network: `10.0.0.0/8`, `10.0.0.1:8443`, `fd00::/8`, `[fd00::5]:8443`, `[fd00::]/8`.
_ADDRESS_ENTRY: Final = re.compile(
    r"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<address>[0-9.]+|[0-9a-f:.]*:[0-9a-f:.]*:[0-9a-f:.]*))"
    r"(?P<prefix>/[0-9]{1,3})?(?::(?P<port>[0-9]+))?"
)


@clear_locals_on_error
class Proxy(ImmutableValue):
    """An HTTP proxy and its credentials, which are sent to the proxy only.

    Args:
        url: ``http://`` or ``https://`` URL, with user name and password percent-encoded. Messages never quote the URL,
            because a malformed URL can contain the password in any part.
        name: name of the setting, for messages.

    Attributes:
        url: the URL without credentials.

    Raises:
        ConfigurationError: the URL is malformed, or the type of proxy is not supported.
    """

    __slots__ = ("_authorization", "url")

    url: str
    _authorization: str | None

    def __init__(self, url: str, name: str = "proxy") -> None:
        if not isinstance(url, str) or not url.strip():
            raise ConfigurationError(f"{name} is empty or not a string; {_EXPECTED}")
        if not url.isascii() or has_unsafe_characters(url):
            raise ConfigurationError(
                f"{name} contains white space, a backslash, a control character or a character outside ASCII; such "
                f"characters must be percent-encoded; {_EXPECTED}"
            )
        parts = parse_url(url)
        if parts is None:
            raise ConfigurationError(f"{name} is not a valid URL; {_EXPECTED}")
        if parts.scheme.startswith("socks"):
            raise ConfigurationError(f"{name} is a SOCKS proxy, which is not supported; {_EXPECTED}")
        if parts.scheme not in ("http", "https"):
            raise ConfigurationError(f"{name} does not begin with http:// or https://; {_EXPECTED}")
        if not parts.hostname:
            raise ConfigurationError(f"{name} has no host; {_EXPECTED}")
        if not is_host_name(parts.hostname):
            raise ConfigurationError(
                f"{name} has a host that is too long, or has an empty or too long label; {_EXPECTED}"
            )
        if parts.path.rstrip("/") or parts.query or parts.fragment:
            raise ConfigurationError(
                f"{name} has a path, query or fragment after the host; '/', '?' and '#' in a password must be "
                f"percent-encoded; {_EXPECTED}"
            )
        self._set(url=origin(parts), _authorization=_authorization(parts.username, parts.password, name))

    def __repr__(self) -> str:
        return f"Proxy({self.url!r}{'' if self._authorization is None else ', with credentials'})"

    def _arguments(self) -> dict[str, Any]:
        if self._authorization is not None:
            self._refuse_copy("it holds the user name and password of the proxy")
        return {"url": self.url}

    def headers(self) -> dict[str, str]:
        """Return the headers that are sent to the proxy only."""
        return {} if self._authorization is None else {"Proxy-Authorization": self._authorization}


def _authorization(user: str | None, password: str | None, name: str) -> str | None:
    """Return the value of ``Proxy-Authorization`` (RFC 7617, with UTF-8), or None if there are no credentials."""
    if not user and not password:
        return None
    from urllib.parse import unquote_to_bytes

    credentials = unquote_to_bytes(user or ""), unquote_to_bytes(password or "")
    if b":" in credentials[0] or any(byte < 32 or byte == 127 for byte in b"".join(credentials)):
        raise ConfigurationError(f"{name} has a colon in its user name, or a control character in its credentials")
    return "Basic " + b64encode(b":".join(credentials)).decode("ascii")


def proxy_from_env(base_url: str) -> Proxy | None:
    """Read the proxy for a host from ``HTTPS_PROXY`` or ``ALL_PROXY``, unless ``NO_PROXY`` lists the host.

    The names may be in upper or lower case; lower case takes precedence. ``HTTP_PROXY`` is not read: ``http`` is only
    allowed for loopback hosts, which do not use these variables.

    Raises:
        ConfigurationError: a variable does not contain the URL of a supported proxy.
    """
    parts = parse_url(base_url)
    if parts is None or is_loopback(parts.hostname or ""):
        return None
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    from urllib.request import getproxies_environment

    proxies = getproxies_environment()
    if _is_exempt(parts, proxies.get("no", "")):
        return None
    for key in (parts.scheme, "all"):
        url = proxies.get(key)
        if url:
            # By convention, a value without a scheme means http.
            return Proxy(url if "://" in url else f"http://{url}", f"the environment variable {key.upper()}_PROXY")
    return None


def _is_exempt(host: SplitResult, no_proxy: str) -> bool:
    """Whether ``NO_PROXY`` lists a host. Like curl, this skips entries that cannot be parsed.

    An entry is ``*``, a host name or parent domain, an IP address, or a network such as ``10.0.0.0/8``. Names and
    addresses may have a port. Addresses may be in brackets. Host names are not resolved, so networks only match
    addresses.
    """
    name = (host.hostname or "").rstrip(".")
    port = host.port or {"http": 80, "https": 443}[host.scheme]
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        address = None
    for entry in _SEPARATORS.split(no_proxy.lower()):
        if entry == "*":
            return True
        if address is not None:
            if _contains(entry, address, port):
                return True
            continue
        domain, _, entry_port = entry.partition(":")
        domain = domain.lstrip("*.").rstrip(".")
        if domain and entry_port in ("", str(port)) and (name == domain or name.endswith("." + domain)):
            return True
    return False


def _contains(entry: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> bool:
    """Whether an entry of ``NO_PROXY`` is the same address as ``address``, or a network that contains ``address``."""
    match = _ADDRESS_ENTRY.fullmatch(entry)
    if match is None or match["port"] not in (None, str(port)):
        return False
    try:
        # Bits after the prefix are ignored.
        network = ipaddress.ip_network((match["v6"] or match["address"]) + (match["prefix"] or ""), strict=False)
    except ValueError:
        return False
    return address in network
