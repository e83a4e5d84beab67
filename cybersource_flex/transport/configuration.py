"""``Configuration``: the validated, immutable settings of a client. New settings are added here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypedDict

from .._callables import check_methods
from .._environments import DEFAULT_HOST, ENVIRONMENTS
from .._immutable import ImmutableValue
from .._runtime.tracebacks import clear_locals_on_error
from .._version import __version__
from ..errors import ConfigurationError
from .hosts import check_host, is_production
from .proxy import Proxy, proxy_from_env
from .retry import RetryPolicy, check_seconds
from .telemetry import EventHooks
from .tls import Tls

if TYPE_CHECKING:
    from typing import Self, Unpack

    from .messages import MessageEncryptor, Signer

__all__ = ["CallOptions", "Configuration", "ConnectionOptions"]

USER_AGENT: Final = f"cybersource-flex/{__version__}"
MAX_RESPONSE_BYTES: Final = 4 * 1024 * 1024

_MAX_SUFFIX: Final = 200
# Words of printable ASCII with one space between them (RFC 9110 section 10.1.5). A line break would end the header.
_SUFFIX: Final = re.compile(r"[!-~]+(?: [!-~]+)*")


class CallOptions(TypedDict, total=False):
    """Settings that can differ between clients that share connections."""

    connect_timeout: float
    read_timeout: float
    max_response_bytes: int
    user_agent_suffix: str | None
    retry: RetryPolicy | None
    event_hooks: EventHooks | None


class ConnectionOptions(CallOptions, total=False):
    """Keyword arguments of ``Configuration`` except ``host`` and ``auth``. The clients accept the same arguments."""

    mle: MessageEncryptor | None
    tls: Tls | None
    proxy: str | None
    proxy_from_environment: bool
    intermediate_host: str | None
    correct_clock: bool
    pool_size: int
    idle_timeout: float


@clear_locals_on_error
class Configuration(ImmutableValue):
    """Settings of a client: host, credentials, TLS, proxy, timeouts, retries and connection pool.

    Immutable and thread-safe. It cannot be pickled or copied if it holds credentials: ``auth``, ``mle``, a
    client certificate, or a password for the proxy.

    Args:
        host: base URL of the service: scheme, host and optional port. ``https`` is assumed if there is no scheme;
            ``http`` is accepted for loopback hosts only. Any host is accepted, not only those in ``ENVIRONMENTS``.
        auth: signer for the operations that need credentials, such as ``JwtSharedSecret(...)``. With None, only the
            operations without credentials can be called.
        mle: message-level encryption (MLE) of the bodies of signed operations, ``MessageLevelEncryption(...)``. The
            signer must be a JWT signer. None turns encryption off.
        tls: TLS settings (trusted CAs, client certificate), ``Tls(...)``. None trusts the CAs of the system.
        proxy: URL of the proxy, ``http://`` or ``https://``. Credentials in the URL must be percent-encoded. An
            ``https`` host is reached through a ``CONNECT`` tunnel, whose content the proxy cannot read.
        proxy_from_environment: whether to read ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY`` if ``proxy`` is None.
            The variables are read once, by the constructor. Loopback hosts never use a proxy from the environment.
        intermediate_host: host to connect to instead of ``host``, in the same form. The signature and the ``Host``
            header still name ``host``. The TLS certificate must be valid for the intermediate host.
        connect_timeout: seconds to wait for a connection.
        read_timeout: seconds to wait for the next bytes of a response.
        max_response_bytes: size in bytes above which a response body is rejected.
        user_agent_suffix: suffix of the ``User-Agent`` header, for example ``shop/1.2``.
        retry: how often to retry, and the total time limit of a call. None means ``RetryPolicy()``. Each method also
            accepts a policy for one call.
        event_hooks: functions that are called after attempts and calls: ``EventHooks(on_attempt=..., ...)``.
        correct_clock: whether to use the host's clock besides the local one. After a 401 that is explained by a wrong
            local clock, requests are signed with the host's time. The validity of tokens is checked with both clocks.
            See ``docs/errors.md``.
        pool_size: maximum number of open connections. A call waits for a free connection until its deadline.
        idle_timeout: seconds after which an idle connection is closed instead of reused. Proxies, NAT gateways and load
            balancers drop idle connections silently, and a request sent on such a connection is lost.

    Attributes:
        base_url: URL to connect to. If an intermediate host is set, this is its URL; otherwise the URL of the host.
        signed_host: the host that is signed and sent in the ``Host`` header.
        user_agent: the whole ``User-Agent`` header.

    Raises:
        ConfigurationError: a setting is invalid.
    """

    __slots__ = (
        "auth",
        "base_url",
        "connect_timeout",
        "correct_clock",
        "event_hooks",
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

    #: Base URL of each environment of the service, by name. The first is the default.
    ENVIRONMENTS: ClassVar[Mapping[str, str]] = ENVIRONMENTS

    host: str
    auth: Signer | None
    mle: MessageEncryptor | None
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
    event_hooks: EventHooks
    correct_clock: bool
    pool_size: int
    idle_timeout: float

    def __init__(
        self,
        *,
        host: str = DEFAULT_HOST,
        auth: Signer | None = None,
        mle: MessageEncryptor | None = None,
        tls: Tls | None = None,
        proxy: str | None = None,
        proxy_from_environment: bool = True,
        intermediate_host: str | None = None,
        connect_timeout: float = 5.0,
        read_timeout: float = 30.0,
        max_response_bytes: int = MAX_RESPONSE_BYTES,
        user_agent_suffix: str | None = None,
        retry: RetryPolicy | None = None,
        event_hooks: EventHooks | None = None,
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
            event_hooks=check_type("event_hooks", event_hooks, EventHooks) or EventHooks(),
            correct_clock=check_type("correct_clock", correct_clock, bool),
            pool_size=_check_pool_size(pool_size),
            idle_timeout=check_seconds("idle_timeout", idle_timeout),
            user_agent=USER_AGENT if user_agent_suffix is None else f"{USER_AGENT} {_check_suffix(user_agent_suffix)}",
        )
        if tls is not None and tls.insecure_skip_verification:
            _warn_unverified(base_url)

    def with_credentials(self, auth: Signer | None, mle: MessageEncryptor | None) -> Self:
        """Return a copy of the configuration with the credentials of another merchant.

        Raises:
            ConfigurationError: ``auth`` or ``mle`` is invalid.
        """
        return self._copy(auth=_check_auth(auth), mle=_check_mle(mle, auth))

    def with_options(self, **options: Unpack[CallOptions]) -> Self:
        """Return a copy of the configuration with different timeouts, retries, event hooks or ``User-Agent``.

        Raises:
            ConfigurationError: an option is invalid.
        """
        checked = Configuration(host=self.host, proxy_from_environment=False, **options)
        names = ("user_agent" if name == "user_agent_suffix" else name for name in options)
        return self._copy(**{name: getattr(checked, name) for name in names})

    def _copy(self, **changes: Any) -> Self:
        copy = object.__new__(type(self))
        copy._set(**{**{name: getattr(self, name) for name in Configuration.__slots__}, **changes})
        return copy

    def _arguments(self) -> dict[str, Any]:
        if self.auth is not None or self.mle is not None:
            self._refuse_copy("it holds the credentials of auth or mle")
        derived = ("base_url", "signed_host", "user_agent")
        arguments = {name: value for name, value in super()._arguments().items() if name not in derived}
        proxy = None if self.proxy is None else self.proxy._arguments()["url"]
        if self.tls is not None:
            self.tls._arguments()
        suffix = self.user_agent.removeprefix(USER_AGENT).strip() or None
        return {**arguments, "proxy": proxy, "proxy_from_environment": False, "user_agent_suffix": suffix}

    def __repr__(self) -> str:
        scheme = "none" if self.auth is None else type(self.auth).__name__
        parts = [f"host={self.host!r}", f"auth=<{scheme}>"]
        if self.mle is not None:
            parts.append(f"mle=<{type(self.mle).__name__}>")
        if self.intermediate_host is not None:
            parts.append(f"intermediate_host={self.intermediate_host!r}")
        parts += [
            f"{name}={value!r}" for name, value in (("proxy", self.proxy), ("tls", self.tls)) if value is not None
        ]
        return f"{type(self).__name__}({', '.join(parts)})"


def check_type(name: str, value: Any, expected: type) -> Any:
    """Check that an argument has this type or is None. If not, ``ConfigurationError`` is raised."""
    if value is not None and not isinstance(value, expected):
        raise ConfigurationError(f"{name} must be of type {expected.__name__}, not {type(value).__name__}")
    return value


def _check_pool_size(size: int) -> int:
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= 10_000:
        raise ConfigurationError("pool_size must be a whole number from 1 to 10000")
    return size


def _check_auth(auth: Signer | None) -> Signer | None:
    if auth is not None:
        # A signer that waits for another system has the attribute `may_block`. Such a signer is called in a thread.
        methods = [name for name in ("sign", "refresh", "diagnostic_facts") if name == "sign" or hasattr(auth, name)]
        check_methods("auth", auth, methods, "a signer such as JwtSharedSecret(...)")
    return auth


def _check_mle(mle: MessageEncryptor | None, auth: Signer | None) -> MessageEncryptor | None:
    if mle is None:
        return None
    check_methods("mle", mle, ("encrypt_request", "decrypt_response"), "MessageLevelEncryption(...)")
    if auth is None:
        raise ConfigurationError(
            "mle was given without auth; expected a JWT signer as auth, such as JwtSharedSecret or JwtP12"
        )
    if getattr(auth, "supports_mle", False) is not True:
        raise ConfigurationError(
            f"mle cannot be used with {type(auth).__name__}; expected a JWT signer as auth, such as JwtSharedSecret or "
            "JwtP12"
        )
    return mle


def _check_tls(tls: Tls | None, host: str) -> Tls | None:
    if tls is None:
        return None
    if not isinstance(tls, Tls):
        raise ConfigurationError(
            f"tls must be Tls(...), not an object of type {type(tls).__name__}; pass your own SSL "
            "context as Tls(ssl_context=...)"
        )
    name = host.partition("://")[2].partition(":")[0]
    if tls.insecure_skip_verification and is_production(name):
        raise ConfigurationError(
            f"insecure_skip_verification is not allowed for the production host {name!r}; if a proxy replaces "
            "certificates, pass the CA of the proxy as ca_file"
        )
    return tls


def _check_proxy(proxy: str | None, environment: bool, base_url: str) -> Proxy | None:
    if not isinstance(environment, bool):
        raise ConfigurationError("proxy_from_environment must be True or False")
    if proxy is not None:
        return Proxy(proxy)
    return proxy_from_env(base_url) if environment else None


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


def _warn_unverified(base_url: str) -> None:
    import logging

    logging.getLogger("cybersource_flex.transport").warning(
        "TLS certificates are NOT verified for %s (insecure_skip_verification): anyone on the network path can read "
        "and change all data, card numbers included",
        base_url,
    )
