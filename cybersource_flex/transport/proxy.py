"""The HTTP proxy: parsed from a URL or from environment variables."""

from __future__ import annotations

import os
from base64 import b64encode
from typing import TYPE_CHECKING

from .._sealed import sealed
from ..errors import ConfigurationError
from .address import has_stray_characters, is_host_name, is_loopback, origin, split
from .frozen import Frozen

if TYPE_CHECKING:
    from urllib.parse import SplitResult

__all__ = ["Proxy"]

_EXPECTED = (
    "expected 'http://host:port' or 'https://host:port', with 'user:password@' before the host where it asks for one"
)


@sealed
class Proxy(Frozen):
    """An HTTP proxy and its credentials, which are sent to the proxy only.

    Args:
        url: ``http://`` or ``https://`` URL. User name and password in it are percent-encoded.
        name: name of the setting, for messages. No part of the URL is in any message: a password can be anywhere in
            one that is malformed.

    Attributes:
        url: the URL without credentials.

    Raises:
        ConfigurationError: the URL is not that of a supported proxy.
    """

    __slots__ = ("_authorization", "url")

    url: str
    _authorization: str | None

    def __init__(self, url: str, name: str = "proxy") -> None:
        if not isinstance(url, str) or not url.strip():
            raise ConfigurationError(f"{name} is empty or not a text; {_EXPECTED}")
        if not url.isascii() or has_stray_characters(url):
            raise ConfigurationError(
                f"{name} has white space, a backslash, a control character or one outside ASCII in it, "
                f"which must be percent-encoded; {_EXPECTED}"
            )
        parts = split(url)
        if parts is None:
            raise ConfigurationError(f"{name} is not a URL that can be read; {_EXPECTED}")
        if parts.scheme.startswith("socks"):
            raise ConfigurationError(f"{name} is a SOCKS proxy, which is not supported; {_EXPECTED}")
        if parts.scheme not in ("http", "https"):
            raise ConfigurationError(f"{name} does not begin with http:// or https://; {_EXPECTED}")
        if not parts.hostname:
            raise ConfigurationError(f"{name} has no host in it; {_EXPECTED}")
        if not is_host_name(parts.hostname):
            raise ConfigurationError(f"{name} has a host with an empty or too long label; {_EXPECTED}")
        if parts.path.rstrip("/") or parts.query or parts.fragment:
            raise ConfigurationError(
                f"{name} has a path, query or fragment after the host; '/', '?' and '#' in a password are "
                f"percent-encoded; {_EXPECTED}"
            )
        self._set(url=origin(parts), _authorization=_authorization(parts.username, parts.password, name))

    def __repr__(self) -> str:
        return f"Proxy({self.url!r}{'' if self._authorization is None else ', with credentials'})"

    def headers(self) -> dict[str, str]:
        """Headers that are sent to the proxy only."""
        return {} if self._authorization is None else {"Proxy-Authorization": self._authorization}


def _authorization(user: str | None, password: str | None, name: str) -> str | None:
    """The ``Proxy-Authorization`` header (RFC 7617, with UTF-8 as in section 2.1)."""
    if not user and not password:
        return None
    from urllib.parse import unquote_to_bytes

    pair = unquote_to_bytes(user or ""), unquote_to_bytes(password or "")
    if b":" in pair[0] or any(byte < 32 or byte == 127 for byte in b"".join(pair)):
        raise ConfigurationError(f"{name} has a colon in its user name, or a control character in its credentials")
    return "Basic " + b64encode(b":".join(pair)).decode("ascii")


def from_environment(base_url: str) -> Proxy | None:
    """Read the proxy for a host from ``HTTPS_PROXY`` or ``ALL_PROXY``, unless ``NO_PROXY`` lists the host.

    Both cases of the names are read; lower case takes precedence. ``HTTP_PROXY`` never applies: ``http`` is only
    allowed for loopback hosts, which never use a proxy of the environment.

    Raises:
        ConfigurationError: a variable is not the URL of a supported proxy.
    """
    parts = split(base_url)
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
            # The variables are often set without a scheme, which means http by convention.
            return Proxy(url if "://" in url else f"http://{url}", f"the environment variable {key.upper()}_PROXY")
    return None


def _is_exempt(host: SplitResult, listed: str) -> bool:
    """Whether ``NO_PROXY`` lists a host: by its name or a domain it is in, with or without the port, or by ``*``."""
    name = host.hostname or ""
    names = (name, f"{name}:{host.port or {'http': 80, 'https': 443}[host.scheme]}")
    for entry in listed.lower().split(","):
        entry = entry.strip()
        domain = entry.lstrip("*.")
        if entry == "*" or (domain and any(each == domain or each.endswith("." + domain) for each in names)):
            return True
    return False
