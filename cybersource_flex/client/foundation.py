"""What every client stands on: its settings, and where they are read from."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic

from .._deadline import deadline_after
from .._sealed import sealed
from ..configuration import Configuration
from ..errors import ConfigurationError, NotFoundError, UnknownKeyError
from ..transport.frozen import Frozen
from ..transport.retry import RetryPolicy
from ..transport.settings import check_type
from .checks import base_url, check_encryption, check_signer
from .operations import check_operations
from .plan import Keys

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import Self

    from typing_extensions import Unpack

    from ..transport import Encryption, Events, Signer, Tls
    from .plan import Overrides

__all__ = ["Foundation"]


@sealed
class Foundation(Frozen, Generic[Keys]):
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
        check_signer(auth)
        check_encryption(mle)
        configuration = Configuration(
            host=base_url(environment),
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
        raise TypeError("Foundation does not send; use FlexClient or AsyncFlexClient")

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **overrides: Unpack[Overrides[Keys]]) -> Self:
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
        from .environment import read

        if environ is not None and not isinstance(environ, Mapping):
            raise ConfigurationError(f"environ must be a mapping of strings, not {type(environ).__name__}")
        return read(os.environ if environ is None else environ, frozenset(overrides)).make(cls, overrides)

    @classmethod
    def from_merchant_config(cls, config: Mapping[str, Any], **overrides: Unpack[Overrides[Keys]]) -> Self:
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
        from .merchant_config import read

        plan = read(config, frozenset(overrides))
        for note in plan.notes:
            warnings.warn(note, UserWarning, stacklevel=3)
        return plan.make(cls, overrides)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._configuration!r}>"

    def _one_deadline(self, retry: RetryPolicy | None) -> AbstractContextManager[None]:
        """Hold the requests of one call to one deadline: what is asked for, and the key that verifies it."""
        check_type("retry", retry, RetryPolicy)
        return deadline_after((self._configuration.retry if retry is None else retry).deadline)

    def _no_such_key(self, kid: str, cause: NotFoundError) -> UnknownKeyError:
        error = UnknownKeyError(f"{self._configuration.host} has no public key {kid!r}")
        error.__cause__ = cause
        return error
