"""What every client stands on: its settings, and where they are read from."""

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
    """What ``FlexClient`` and ``AsyncFlexClient`` share. See there. They differ in the kind of key source they take."""

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
        """Make what sends and what brings keys."""
        raise TypeError("BaseFlexClient does not send; use FlexClient or AsyncFlexClient")

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **overrides: Unpack[ClientOptions[Keys]]) -> Self:
        """A client from environment variables, all named ``CYBERSOURCE_...``; the table is in docs/configuration.md.

        ``CYBERSOURCE_AUTH`` says how requests are signed: ``jwt_shared_secret`` where it is not set, which needs
        ``CYBERSOURCE_MERCHANT_ID``, ``CYBERSOURCE_KEY_ID`` and ``CYBERSOURCE_SECRET_KEY``; or ``jwt_p12``,
        ``http_signature`` or ``bearer``. An empty variable counts as one that is not set.

        Args:
            environ: what to read in place of ``os.environ``.
            overrides: arguments of this class that win over what the variables say.

        Raises:
            ConfigurationError: a variable is missing, wrong, nearly but not quite the name of a known one, or belongs
                to another scheme than the chosen one. It names the variable, never the value of a secret.
        """
        from .config.env_variables import builder_from_env

        if environ is not None and not isinstance(environ, Mapping):
            raise ConfigurationError(f"environ must be a mapping of strings, not {type(environ).__name__}")
        return builder_from_env(os.environ if environ is None else environ, frozenset(overrides)).build(cls, overrides)

    @classmethod
    def from_merchant_config(cls, config: Mapping[str, Any], **overrides: Unpack[ClientOptions[Keys]]) -> Self:
        """A client from the configuration dictionary of CyberSource's own Python SDK (0.0.80).

        Every key of that dictionary is translated, or refused, or ignored with a ``UserWarning`` that says why; the
        table is in docs/configuration.md. As there, the environment's proxy variables are not looked at.

        Args:
            config: the dictionary.
            overrides: arguments of this class that win over what the dictionary says.

        Raises:
            ConfigurationError: a key is unknown, missing or wrong, or can be read in two ways. It names the key, never
                the value of a secret.
        """
        from .config.merchant_config import builder_from_merchant_config

        builder = builder_from_merchant_config(config, frozenset(overrides))
        for message in builder.warnings:
            warnings.warn(message, UserWarning, stacklevel=3)
        return builder.build(cls, overrides)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._configuration!r}>"

    def _shared_deadline(self, retry: RetryPolicy | None) -> AbstractContextManager[None]:
        """Hold the requests of one call to one deadline: what is asked for, and the key that verifies it."""
        check_type("retry", retry, RetryPolicy)
        return deadline_after((self._configuration.retry if retry is None else retry).deadline)

    def _unknown_key_error(self, kid: str, cause: NotFoundError) -> UnknownKeyError:
        error = UnknownKeyError(f"{self._configuration.host} has no public key {kid!r}")
        error.__cause__ = cause
        return error


def resolve_host(environment: str) -> str:
    """The host for the name of an environment, or for a host. Raises ``ConfigurationError`` for anything else."""
    if isinstance(environment, str) and environment in Configuration.ENVIRONMENTS:
        return Configuration.ENVIRONMENTS[environment]
    if isinstance(environment, str) and ("." in environment or "://" in environment):
        return environment
    names = ", ".join(repr(name) for name in Configuration.ENVIRONMENTS)
    raise ConfigurationError(f"environment must be one of {names}, or a host such as 'https://apitest.cybersource.com'")


def check_digest(answer: ApiResponse[str]) -> None:
    """Hold the header ``Digest`` (RFC 3230) against the body. A host that sends none is let be: the token is signed."""
    given = answer.headers.get("Digest")
    if given is None or not given.upper().startswith("SHA-256="):
        return
    try:
        expected = base64.b64decode(given[8:], validate=True)
    except (binascii.Error, ValueError):
        expected = b""
    if not hmac.compare_digest(hashlib.sha256(answer.raw_data).digest(), expected):
        raise ResponseDecodingError(
            method="POST",
            path="/flex/v2/tokens",
            status=answer.status_code,
            message="the call was accepted, but its answer was changed on the way: header Digest and body differ",
            correlation_id=answer.headers.get("v-c-correlation-id"),
            headers=answer.headers,
            body=answer.raw_data,
            attempts=answer.attempts,
        )


def host_time_of(clock: Clock, answer: ApiResponse[str]) -> HostTime | None:
    """The host's clock according to this response, not to one that another thread got at the same time."""
    date = answer.headers.get("Date")
    if date is None or not answer.attempts:
        return clock.host_time()
    last = answer.attempts[-1]
    return clock.host_time_of(date, sent=last.started, received=last.started + last.seconds)
