"""Where and how to send: checked once, then unchangeable."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any, Final

from .._version import __version__
from ..errors import ConfigurationError

if TYPE_CHECKING:
    from .message import Signer

__all__ = ["Settings"]

USER_AGENT: Final = f"cybersource-flex/{__version__}"
MAX_RESPONSE_BYTES: Final = 4 * 1024 * 1024


class Settings:
    """Where and how to send. Unchangeable once made; safe to share.

    Args:
        host: base URL of the service, scheme and host and optional port: ``https://apitest.cybersource.com``. A bare
            host name stands for ``https``. ``http`` is for loopback hosts alone.
        auth: who signs the operations that must be signed; None allows the others only.
        connect_timeout: seconds to wait for a connection.
        read_timeout: seconds to wait for the next bytes of an answer.
        max_response_bytes: size in bytes from which on an answer is refused.

    Raises:
        ConfigurationError: a setting breaks its rule.
    """

    __slots__ = ("auth", "connect_timeout", "host", "max_response_bytes", "read_timeout", "signed_host")

    host: str
    auth: Signer | None
    connect_timeout: float
    read_timeout: float
    max_response_bytes: int
    signed_host: str

    def __init__(
        self,
        *,
        host: str,
        auth: Signer | None = None,
        connect_timeout: float = 5.0,
        read_timeout: float = 30.0,
        max_response_bytes: int = MAX_RESPONSE_BYTES,
    ) -> None:
        set_ = object.__setattr__
        base = check_host(host)
        set_(self, "host", base)
        set_(self, "signed_host", base.partition("://")[2])
        if auth is not None and not callable(getattr(auth, "sign", None)):
            raise ConfigurationError(
                f"auth must be a signer such as JwtSharedSecret(...), not an object of type {type(auth).__name__}"
            )
        set_(self, "auth", auth)
        set_(self, "connect_timeout", check_seconds("connect_timeout", connect_timeout))
        set_(self, "read_timeout", check_seconds("read_timeout", read_timeout))
        if not isinstance(max_response_bytes, int) or max_response_bytes < 1024:
            raise ConfigurationError("max_response_bytes must be a whole number of at least 1024")
        set_(self, "max_response_bytes", max_response_bytes)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} cannot be changed; make another one")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} cannot be changed; make another one")

    def __repr__(self) -> str:
        scheme = "none" if self.auth is None else type(self.auth).__name__
        return f"{type(self).__name__}(host={self.host!r}, auth=<{scheme}>)"


def check_seconds(name: str, value: float) -> float:
    """A timeout in seconds, checked. Raises ``ConfigurationError`` unless it is a positive, finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise ConfigurationError(f"{name} must be a positive number of seconds, not {value!r}")
    return float(value)


def check_host(host: str) -> str:
    """The base URL for ``host``: lower case, with a scheme, without a path and without the scheme's own port.

    Raises:
        ConfigurationError: not a host, or something more than one; ``http`` to a host that is not loopback.
    """
    from urllib.parse import urlsplit

    expected = "expected a host such as 'https://apitest.cybersource.com'"
    if not isinstance(host, str) or not host.strip():
        raise ConfigurationError(f"host is empty or not a text; {expected}")
    if any(ord(char) <= 32 or ord(char) == 127 or char == "\\" for char in host):
        raise ConfigurationError(f"host has white space, a backslash or a control character in it; {expected}")
    try:
        parts = urlsplit(host if "://" in host else f"https://{host}")
        name, port = parts.hostname, parts.port
    except ValueError:
        raise ConfigurationError(f"host is not a URL that can be read; {expected}") from None
    if parts.scheme not in ("http", "https"):
        raise ConfigurationError(f"host has the scheme {parts.scheme!r}; {expected}")
    if "@" in parts.netloc:
        # Not quoted in the message: what stands before the @ may be a password.
        raise ConfigurationError(f"host has a user name or password in it; {expected}")
    if not name:
        raise ConfigurationError(f"host has no name in it; {expected}")
    if parts.path.rstrip("/") or parts.query or parts.fragment:
        raise ConfigurationError(f"host {name!r} has a path, query or fragment after it; {expected}")
    if not name.isascii():
        raise ConfigurationError(f"host has characters outside ASCII in it; write its 'xn--' form; {expected}")
    if parts.scheme == "http" and not is_loopback(name):
        raise ConfigurationError(
            f"host {name!r} with http://: signed requests leave this machine by https:// only; "
            "http:// is accepted for loopback hosts (localhost, 127.0.0.1, [::1])"
        )
    shown = f"[{name}]" if ":" in name else name
    if port is not None and port != {"http": 80, "https": 443}[parts.scheme]:
        shown += f":{port}"
    return f"{parts.scheme}://{shown}"


def is_loopback(name: str) -> bool:
    """Whether ``name`` can only be this machine: ``localhost`` (RFC 6761 section 6.3) or a loopback address."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
