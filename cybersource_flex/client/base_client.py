"""``BaseFlexClient``: settings and constructors that both clients share, and checks of their responses."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic

from .._deadline import deadline_after
from .._sealed import sealed
from ..configuration import Configuration
from ..errors import ConfigurationError, NotFoundError, ResponseDecodingError, UnknownKeyError
from ..transport.frozen import Frozen
from ..transport.retry import RetryPolicy
from ..transport.settings import check_type
from .config.client_options import Keys, check_operations

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import Self

    from typing_extensions import Unpack

    from ..transport import ApiResponse, Clock, Encryption, Events, HostTime, Signer, Tls
    from .config.client_options import ClientOptions

__all__ = ["BaseFlexClient", "check_digest", "host_time_of"]


@sealed
class BaseFlexClient(Frozen, Generic[Keys]):
    """Base class of ``FlexClient`` and ``AsyncFlexClient``, which differ in the type of their key source."""

    __slots__ = ("__weakref__", "_configuration", "_leeway")

    _configuration: Configuration
    _leeway: float

    def __init__(
        self,
        auth: Signer | None,
        *,
        environment: str = "test",
        mle: Encryption | None = None,
        tls: Tls | None = None,
        proxy: str | None = None,
        proxy_from_environment: bool = True,
        intermediate_host: str | None = None,
        user_agent_suffix: str | None = None,
        connect_timeout: float = 5.0,
        read_timeout: float = 30.0,
        leeway: float = 30.0,
        retry: RetryPolicy | None = None,
        events: Events | None = None,
        correct_clock: bool = True,
        pool_size: int = 100,
        idle_timeout: float = 15.0,
        keys: Keys | None = None,
    ) -> None:
        if isinstance(leeway, bool) or not isinstance(leeway, (int, float)) or not 0 <= leeway <= 600:
            raise ConfigurationError("leeway must be a number of seconds from 0 to 600")
        configuration = Configuration(
            host=resolve_host(environment),
            auth=auth,
            mle=mle,
            tls=tls,
            proxy=proxy,
            proxy_from_environment=proxy_from_environment,
            intermediate_host=intermediate_host,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            user_agent_suffix=user_agent_suffix,
            retry=retry,
            events=events,
            correct_clock=correct_clock,
            pool_size=pool_size,
            idle_timeout=idle_timeout,
        )
        check_operations(getattr(mle, "operations", ()), "mle")
        self._set(_configuration=configuration, _leeway=float(leeway))
        self._connect(configuration, keys)

    def _connect(self, configuration: Configuration, keys: Any) -> None:
        """Create the API clients and the key cache."""
        raise TypeError("BaseFlexClient cannot send requests; use FlexClient or AsyncFlexClient")

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **overrides: Unpack[ClientOptions[Keys]]) -> Self:
        """Create a client from environment variables named ``CYBERSOURCE_...``; the table is in docs/configuration.md.

        ``CYBERSOURCE_AUTH`` selects the authentication scheme: ``jwt_shared_secret``, ``jwt_p12``, ``http_signature``
        or ``bearer``. The default is ``jwt_shared_secret``, which needs ``CYBERSOURCE_MERCHANT_ID``,
        ``CYBERSOURCE_KEY_ID`` and ``CYBERSOURCE_SECRET_KEY``. An empty variable counts as not set.

        Args:
            environ: the mapping to read instead of ``os.environ``.
            overrides: arguments of this class that override the variables.

        Raises:
            ConfigurationError: a variable is missing, wrong, misspelled, or belongs to another scheme than the selected
                one. The message names the variable, never the value of a secret.
        """
        from .config.env_variables import builder_from_env

        if environ is not None and not isinstance(environ, Mapping):
            raise ConfigurationError(f"environ must be a mapping of strings, not {type(environ).__name__}")
        return builder_from_env(os.environ if environ is None else environ, frozenset(overrides)).build(cls, overrides)

    @classmethod
    def from_merchant_config(cls, config: Mapping[str, Any], **overrides: Unpack[ClientOptions[Keys]]) -> Self:
        """Create a client from the configuration dictionary of CyberSource's official Python SDK (0.0.80).

        Every key of that dictionary is translated, refused, or ignored with a ``UserWarning`` that says why; the
        table is in docs/configuration.md. Like the official SDK, it does not read proxy environment variables.

        Args:
            config: the dictionary.
            overrides: arguments of this class that override the dictionary.

        Raises:
            ConfigurationError: a key is unknown, missing, wrong or ambiguous. The message names the key, never the
                value of a secret.
        """
        from .config.merchant_config import builder_from_merchant_config

        builder = builder_from_merchant_config(config, frozenset(overrides))
        for message in builder.warnings:
            warnings.warn(message, UserWarning, stacklevel=3)
        return builder.build(cls, overrides)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._configuration!r}>"

    def _shared_deadline(self, retry: RetryPolicy | None) -> AbstractContextManager[None]:
        """Apply one deadline to all requests of one call: the operation, and the fetch of the key that verifies it."""
        check_type("retry", retry, RetryPolicy)
        return deadline_after((self._configuration.retry if retry is None else retry).deadline)

    def _unknown_key_error(self, kid: str, cause: NotFoundError) -> UnknownKeyError:
        error = UnknownKeyError(f"{self._configuration.host} has no public key {kid!r}")
        error.__cause__ = cause
        return error


def resolve_host(environment: str) -> str:
    """Resolve the name of an environment, or a host, to a host. Raises ``ConfigurationError`` for anything else."""
    if isinstance(environment, str) and environment in Configuration.ENVIRONMENTS:
        return Configuration.ENVIRONMENTS[environment]
    if isinstance(environment, str) and ("." in environment or "://" in environment):
        return environment
    names = ", ".join(repr(name) for name in Configuration.ENVIRONMENTS)
    raise ConfigurationError(f"environment must be one of {names}, or a host such as 'https://apitest.cybersource.com'")


def check_digest(response: ApiResponse[str]) -> None:
    """Compare the header ``Digest`` (RFC 3230) with the body. The header is optional, because the token is signed."""
    digest = response.headers.get("Digest")
    if digest is None or not digest.upper().startswith("SHA-256="):
        return
    try:
        expected = base64.b64decode(digest[8:], validate=True)
    except (binascii.Error, ValueError):
        expected = b""
    if not hmac.compare_digest(hashlib.sha256(response.raw_data).digest(), expected):
        raise ResponseDecodingError(
            method="POST",
            path="/flex/v2/tokens",
            status=response.status_code,
            message="the call was accepted, but its response was modified in transit: header Digest and body differ",
            correlation_id=response.headers.get("v-c-correlation-id"),
            headers=response.headers,
            body=response.raw_data,
            attempts=response.attempts,
        )


def host_time_of(clock: Clock, response: ApiResponse[str]) -> HostTime | None:
    """The host's time according to this response, rather than to a concurrent response of another thread."""
    date = response.headers.get("Date")
    if date is None or not response.attempts:
        return clock.host_time()
    last = response.attempts[-1]
    return clock.host_time_of(date, sent=last.started, received=last.started + last.seconds)
