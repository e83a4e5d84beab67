"""Check the origins of pages that load Microform, by the rules that CyberSource documents for ``targetOrigins``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from .._warnings import warn
from ..errors import InvalidArgumentError
from ..transport.hosts import has_unsafe_characters, is_host_name, is_loopback, origin, parse_url

__all__ = ["check_target_origins"]

MAX_ORIGINS: Final = 9
_ORIGIN: Final = re.compile(r"https?://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]+)?", re.I)


def check_target_origins(origins: Sequence[str]) -> None:
    """Check the value of ``target_origins``.

    With ``http``, CyberSource documents only the host ``localhost``. Other loopback hosts, such as ``127.0.0.1``, cause
    a warning, because developers report that they do not work.

    Raises:
        InvalidArgumentError: the list is empty or too long, or an entry is not an origin that Microform accepts. If the
            intended origin is clear, the message suggests it.
    """
    if not origins:
        raise InvalidArgumentError(
            "target_origins is empty; expected the origin of each page that loads Microform, such as "
            "'https://shop.example.com'",
            argument="target_origins",
        )
    if len(origins) > MAX_ORIGINS:
        raise InvalidArgumentError(
            f"target_origins has {len(origins)} entries; at most {MAX_ORIGINS} are allowed", argument="target_origins"
        )
    for index, entry in enumerate(origins):
        _check(f"target_origins[{index}]", entry)


def _check(name: str, entry: str) -> None:
    # An entry may contain a password or session id, so messages show only its scheme, host and port.
    value = entry.strip()
    url = value if "://" in value else f"https://{value.removeprefix('//')}"
    parts = None if not value or has_unsafe_characters(url) else parse_url(url)
    if parts is None or not is_host_name(parts.hostname or "") or parts.port == 0:
        raise _error(name, "is not a valid URL")
    host, has_scheme = parts.hostname or "", "://" in value
    if parts.scheme not in ("http", "https"):
        raise _error(name, f"has the scheme {parts.scheme!r}; only https is allowed, and http for localhost")
    if "@" in parts.netloc:
        raise _error(name, "contains a user name or password")
    if "*" in host:
        raise _error(name, "contains a wildcard, which is not allowed: list each host")
    if not host.isascii():
        raise _error(name, "contains characters outside ASCII; use the 'xn--' form of its host")
    if not has_scheme and is_loopback(host):
        parts = parts._replace(scheme="http")
    insecure = parts.scheme == "http" and not is_loopback(host)
    meant = origin(parts._replace(scheme="https") if insecure else parts)
    if not has_scheme:
        # Suggest an origin only if the entry looks like a host: it has a dot or port, or is a loopback host.
        is_host = "." in host or parts.port is not None or is_loopback(host)
        raise _error(name, "has no scheme", meant if is_host else None)
    if parts.path or parts.query or parts.fragment:
        problem = "ends with a slash" if url.endswith("/") and parts.path == "/" else "has a path, query or fragment"
        raise _error(name, problem, meant)
    if insecure:
        raise _error(name, "uses http, which is only allowed for localhost", meant)
    if not _ORIGIN.fullmatch(entry):
        raise _error(name, "is not an origin", meant if _ORIGIN.fullmatch(meant) else None)
    if parts.scheme == "http" and host != "localhost":
        localhost = "http://localhost" if parts.port is None else f"http://localhost:{parts.port}"
        warn(
            f"{name} is {meant!r}: with http, CyberSource documents only the host localhost, and developers report "
            f"that other hosts do not work; open the page as {localhost!r}"
        )


def _error(name: str, problem: str, meant: str | None = None) -> InvalidArgumentError:
    hint = (
        "expected scheme, host and optional port, such as 'https://shop.example.com'"
        if meant is None
        else f"did you mean {meant!r}?"
    )
    return InvalidArgumentError(f"{name} {problem}; {hint}", argument="target_origins")
