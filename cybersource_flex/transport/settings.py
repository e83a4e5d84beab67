"""Validated, immutable settings of a transport."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final

from .._callables import check_methods
from .._sealed import sealed
from .._version import __version__
from ..errors import ConfigurationError
from .address import check_host, is_production
from .frozen import Frozen
from .proxy import Proxy, from_environment
from .retry import RetryPolicy
from .telemetry import Events
from .tls import Tls

if TYPE_CHECKING:
    from .message import Encryption, Signer

__all__ = ["Settings"]

USER_AGENT: Final = f"cybersource-flex/{__version__}"
MAX_RESPONSE_BYTES: Final = 4 * 1024 * 1024

_MAX_SUFFIX: Final = 200
# Words of printable ASCII with one space between them: RFC 9110 section 10.1.5 and nothing that could end the header.
_SUFFIX: Final = re.compile(r"[!-~]+(?: [!-~]+)*")


@sealed
class Settings(Frozen):
    """Settings of a transport: host, credentials, TLS, proxy, timeouts and retries. Immutable and safe to share between
    threads. Holds credentials, so it cannot be pickled.

    Args:
        host: base URL of the service, scheme and host and optional port: ``https://apitest.cybersource.com``. A bare
            host name stands for ``https``. ``http`` is allowed for loopback hosts only.
        auth: signer of the operations that must be signed; None allows only the others.
        mle: message-level encryption of the bodies of signed operations; None disables it. Needs a signer whose tokens
            support it.
        tls: TLS settings (trusted CAs, client certificate). None uses the system trust store.
        proxy: URL of the proxy, ``http://`` or ``https://``, with percent-encoded credentials if it requires them.
            An ``https`` host is reached through a tunnel (``CONNECT``), so the proxy cannot read the traffic.
        proxy_from_environment: whether, without ``proxy``, the environment's ``HTTPS_PROXY``, ``ALL_PROXY`` and
            ``NO_PROXY`` are read, once. Loopback hosts never use a proxy of the environment.
        intermediate_host: host to connect to instead of ``host``, by the same rules. ``host`` is still signed and sent
            in the ``Host`` header; the certificate must be that of the intermediate host.
        connect_timeout: seconds to wait for a connection.
        read_timeout: seconds to wait for the next bytes of a response.
        max_response_bytes: maximum size of a response body in bytes.
        user_agent_suffix: string to append to the ``User-Agent`` header, for example ``shop/1.2``.
        retry: retry policy; None for ``RetryPolicy()``.
        events: callbacks for attempts and calls.
        correct_clock: whether to sign with the host's time after a 401 if the clocks differ significantly.
        pool_size: maximum number of open connections. If all are in use, a call waits until its deadline.
        idle_timeout: seconds after which an idle connection is closed instead of reused. Proxies, NAT gateways and load
            balancers drop idle connections silently; a request sent on such a connection is lost.

    Attributes:
        base_url: URL to connect to: the intermediate host, else the host.
        signed_host: the host that is signed and sent in the ``Host`` header.
        user_agent: the whole ``User-Agent`` header.

    Raises:
        ConfigurationError: a setting breaks its rule.
    """

    __slots__ = (
        "auth",
        "base_url",
        "connect_timeout",
        "correct_clock",
        "events",
        "host",
        "idle_timeout",
        "intermediate_host",
        "max_response_bytes",
        "mle",
        "pool_size",
        "proxy",
        "read_timeout",
        "retry",
        "signed_host",
        "tls",
        "user_agent",
    )

    #: Base URLs of the environments in the specification, by name.
    ENVIRONMENTS: ClassVar[Mapping[str, str]] = MappingProxyType({})

    host: str
    auth: Signer | None
    mle: Encryption | None
    tls: Tls | None
    proxy: Proxy | None
    intermediate_host: str | None
    connect_timeout: float
    read_timeout: float
    max_response_bytes: int
    base_url: str
    signed_host: str
    user_agent: str
    retry: RetryPolicy
    events: Events
    correct_clock: bool
    pool_size: int
    idle_timeout: float

    def __init__(
        self,
        *,
        host: str,
        auth: Signer | None = None,
        mle: Encryption | None = None,
        tls: Tls | None = None,
        proxy: str | None = None,
        proxy_from_environment: bool = True,
        intermediate_host: str | None = None,
        connect_timeout: float = 5.0,
        read_timeout: float = 30.0,
        max_response_bytes: int = MAX_RESPONSE_BYTES,
        user_agent_suffix: str | None = None,
        retry: RetryPolicy | None = None,
        events: Events | None = None,
        correct_clock: bool = True,
        pool_size: int = 100,
        idle_timeout: float = 15.0,
    ) -> None:
        base = check_host(host)
        intermediate = None if intermediate_host is None else check_host(intermediate_host, "intermediate_host")
        base_url = intermediate or base
        self._set(
            host=base,
            signed_host=base.partition("://")[2],
            intermediate_host=intermediate,
            base_url=base_url,
            auth=_check_auth(auth),
            mle=_check_mle(mle, auth),
            tls=_check_tls(tls, base),
            proxy=_check_proxy(proxy, proxy_from_environment, base_url),
            connect_timeout=check_seconds("connect_timeout", connect_timeout),
            read_timeout=check_seconds("read_timeout", read_timeout),
            max_response_bytes=_check_size(max_response_bytes),
            retry=check_type("retry", retry, RetryPolicy) or RetryPolicy(),
            events=check_type("events", events, Events) or Events(),
            correct_clock=check_type("correct_clock", correct_clock, bool),
            pool_size=_check_pool_size(pool_size),
            idle_timeout=check_seconds("idle_timeout", idle_timeout),
            user_agent=USER_AGENT if user_agent_suffix is None else f"{USER_AGENT} {_check_suffix(user_agent_suffix)}",
        )
        if tls is not None and tls.insecure_skip_verification:
            _warn(base_url)

    def __repr__(self) -> str:
        scheme = "none" if self.auth is None else type(self.auth).__name__
        shown = [f"host={self.host!r}", f"auth=<{scheme}>"]
        if self.mle is not None:
            shown.append(f"mle=<{type(self.mle).__name__}>")
        if self.intermediate_host is not None:
            shown.append(f"intermediate_host={self.intermediate_host!r}")
        shown += [
            f"{name}={value!r}" for name, value in (("proxy", self.proxy), ("tls", self.tls)) if value is not None
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


def check_seconds(name: str, value: float) -> float:
    """Validate a timeout in seconds. Raises ``ConfigurationError`` unless it is a positive, finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        # The message leaves out the value: a misplaced argument may be card data.
        raise ConfigurationError(f"{name} must be a positive number of seconds")
    return float(value)


def check_type(name: str, value: Any, kind: type) -> Any:
    """Validate that an argument has this type or is None. Raises ``ConfigurationError`` otherwise."""
    if value is not None and not isinstance(value, kind):
        raise ConfigurationError(f"{name} must be of type {kind.__name__}, not {type(value).__name__}")
    return value


def _check_pool_size(size: int) -> int:
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= 10_000:
        raise ConfigurationError("pool_size must be a whole number from 1 to 10000")
    return size


def _check_auth(auth: Signer | None) -> Signer | None:
    if auth is not None:
        # A signer that waits for another system sets its attribute `blocks`; it is then called in a thread.
        methods = [name for name in ("sign", "renew", "facts") if name == "sign" or hasattr(auth, name)]
        check_methods("auth", auth, methods, "a signer such as JwtSharedSecret(...)")
    return auth


def _check_mle(mle: Encryption | None, auth: Signer | None) -> Encryption | None:
    if mle is None:
        return None
    check_methods("mle", mle, ("outgoing", "incoming"), "MessageLevelEncryption(...)")
    if auth is None:
        raise ConfigurationError(
            "mle needs auth: it asks for encryption in a signed token; use JwtSharedSecret or JwtP12"
        )
    if getattr(auth, "supports_mle", False) is not True:
        raise ConfigurationError(
            f"mle does not go with {type(auth).__name__}: HTTP Signature and others cannot carry message-level "
            "encryption; use JwtSharedSecret or JwtP12"
        )
    return mle


def _check_tls(tls: Tls | None, host: str) -> Tls | None:
    if tls is None:
        return None
    if not isinstance(tls, Tls):
        raise ConfigurationError(
            f"tls must be Tls(...), not an object of type {type(tls).__name__}; a context of your own is "
            "Tls(ssl_context=...)"
        )
    name = host.partition("://")[2].partition(":")[0]
    if tls.insecure_skip_verification and is_production(name):
        raise ConfigurationError(
            f"insecure_skip_verification is not for the production host {name!r}: every system trusts its certificate; "
            "where something on the way replaces certificates, give its authority as ca_file"
        )
    return tls


def _check_proxy(proxy: str | None, environment: bool, base_url: str) -> Proxy | None:
    if not isinstance(environment, bool):
        raise ConfigurationError("proxy_from_environment must be True or False")
    if proxy is not None:
        return Proxy(proxy)
    return from_environment(base_url) if environment else None


def _check_size(size: Any) -> int:
    if not isinstance(size, int) or size < 1024:
        raise ConfigurationError("max_response_bytes must be a whole number of at least 1024")
    return size


def _check_suffix(suffix: str) -> str:
    if not isinstance(suffix, str) or not _SUFFIX.fullmatch(suffix) or len(suffix) > _MAX_SUFFIX:
        raise ConfigurationError(
            f"user_agent_suffix must be words of printable ASCII with one space between them, at most {_MAX_SUFFIX} "
            "characters, for example 'shop/1.2'"
        )
    return suffix


def _warn(base_url: str) -> None:
    import logging

    logging.getLogger("cybersource_flex.transport").warning(
        "TLS certificates are NOT verified for %s (insecure_skip_verification): whoever is on the way can read and "
        "change everything, card data included",
        base_url,
    )
