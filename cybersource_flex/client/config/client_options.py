"""Client options: the arguments of a client as read from a configuration source, and the builder that applies them."""

from __future__ import annotations

import base64
import difflib
import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Generic, TypedDict, TypeVar

from ... import api
from ...errors import ConfigurationError
from ...transport import Operation, Tls
from ...transport.frozen import Frozen

if TYPE_CHECKING:
    from ...auth import MessageLevelEncryption
    from ...jose import KeySource
    from ...transport import Encryption, Events, RetryPolicy, Signer

__all__ = ["SCHEMES", "ClientBuilder", "Keys", "check_operations", "signed_operations"]

_T = TypeVar("_T")
#: Type of the key source that a client accepts.
Keys = TypeVar("Keys")

#: Authentication schemes by name, with the signer class of each.
SCHEMES: Final = {
    "jwt_shared_secret": "JwtSharedSecret",
    "jwt_p12": "JwtP12",
    "http_signature": "HttpSignature",
    "bearer": "BearerToken",
}


class _Options(TypedDict, total=False):
    """Keyword arguments common to both clients. All of them are optional."""

    auth: Signer | None
    environment: str
    mle: Encryption | None
    tls: Tls | None
    proxy: str | None
    proxy_from_environment: bool
    intermediate_host: str | None
    user_agent_suffix: str | None
    connect_timeout: float
    read_timeout: float
    leeway: float
    retry: RetryPolicy | None
    events: Events | None
    correct_clock: bool
    pool_size: int
    idle_timeout: float


if TYPE_CHECKING:
    # Needed by type checkers only.
    class ClientOptions(_Options, Generic[Keys], total=False):
        """Keyword arguments of a client. ``Keys`` is the type of key source that it accepts."""

        keys: Keys | None

    class FlexClientOptions(ClientOptions[KeySource], total=False):
        """Keyword arguments of ``FlexClient``."""


class ClientBuilder(Frozen):
    """Builds a client, or its parts, from a configuration source.

    Building a part reads its files, so one part can fail while the others succeed.

    Args:
        scheme: one of ``SCHEMES``, or None if the caller passes the signer.
        credentials: arguments of the signer.
        mle: arguments of ``MessageLevelEncryption``; empty for none.
        tls: arguments of ``Tls``; empty for none.
        options: other arguments of the client.
        setting_names: name of each argument in the configuration source, for error messages.
        warnings: one sentence for each setting that is ignored, with the reason.
    """

    __slots__ = ("_credentials", "_mle", "_options", "_setting_names", "_tls", "scheme", "warnings")

    scheme: str | None
    _options: Mapping[str, Any]
    warnings: tuple[str, ...]
    _credentials: Mapping[str, Any]
    _mle: Mapping[str, Any]
    _tls: Mapping[str, Any]
    _setting_names: Mapping[str, str]

    def __init__(
        self,
        *,
        scheme: str | None,
        credentials: Mapping[str, Any],
        mle: Mapping[str, Any],
        tls: Mapping[str, Any],
        options: Mapping[str, Any],
        setting_names: Mapping[str, str],
        warnings: tuple[str, ...] = (),
    ) -> None:
        self._set(scheme=scheme, warnings=warnings, _setting_names=setting_names)
        self._set(_credentials=credentials, _mle=mle, _tls=tls, _options=options)

    def __repr__(self) -> str:
        return f"<ClientBuilder {self.scheme}>"

    def signer(self) -> Signer | None:
        """Build the signer. Raises ``ConfigurationError`` with the name of the setting in its source."""
        if self.scheme is None:
            return None
        from ... import auth

        signer: Signer = self._construct(getattr(auth, SCHEMES[self.scheme]), self._credentials)
        return signer

    def secret_bytes(self) -> int | None:
        """Length of the decoded shared secret in bytes, None without one. The secret must be valid base64."""
        if "secret_key" not in self._credentials:
            return None
        return len(base64.b64decode(self._credentials["secret_key"]))

    def encryption(self) -> MessageLevelEncryption | None:
        """Build the message-level encryption, None if it is not configured."""
        if not self._mle:
            return None
        from ...auth import MessageLevelEncryption

        return self._construct(MessageLevelEncryption, self._mle)

    def tls(self) -> Tls | None:
        """Build the TLS settings, None for the defaults."""
        return self._construct(Tls, self._tls) if self._tls else None

    def build(self, factory: Callable[..., _T], overrides: Mapping[str, Any]) -> _T:
        """Build the client by calling ``factory``. ``overrides`` win; the parts that they replace are not built."""
        arguments = {**self._options, **overrides}
        parts: dict[str, Callable[[], object]] = {"auth": self.signer, "mle": self.encryption, "tls": self.tls}
        for name, part in parts.items():
            if name not in overrides:
                arguments[name] = part()
        not_renamed = {"host"} if "environment" in overrides else set()
        return self._construct(factory, arguments, not_renamed.union(overrides))

    def _construct(
        self, factory: Callable[..., _T], arguments: Mapping[str, Any], not_renamed: Collection[str] = ()
    ) -> _T:
        try:
            return factory(**arguments)
        except ConfigurationError as cause:
            message = str(cause)
        # Raised outside the handler, so that the original error, with the argument's name, is not shown as its context.
        for argument, name in self._setting_names.items():
            if argument not in not_renamed and re.match(rf"{argument}\b", message):
                message = name + message[len(argument) :]
                break
        raise ConfigurationError(message)


@cache
def _operations() -> dict[str, bool]:
    """Operations of the generated API classes by method name, and whether each is signed."""
    modules = {getattr(api, name).__module__ for name in api.__all__}
    values = (value for module in modules for value in vars(sys.modules[module]).values())
    return {each.name: each.signed for each in values if isinstance(each, Operation)}


def signed_operations() -> frozenset[str]:
    """Method names of the operations whose requests are signed. Only these can use message-level encryption."""
    return frozenset(name for name, signed in _operations().items() if signed)


def check_operations(names: Iterable[str], setting: str) -> None:
    """Check that each name is that of a signed operation.

    Args:
        setting_names: names of operations.
        setting: name of the setting, for the error message.

    Raises:
        ConfigurationError: an operation does not exist, or is not signed and therefore cannot be encrypted.
    """
    signed = signed_operations()
    for name in sorted(set(names) - signed):
        if name in _operations():
            raise ConfigurationError(
                f"{setting} names the operation {name!r}, which is not signed: only signed ones can be encrypted"
            )
        close = difflib.get_close_matches(name, signed, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(sorted(signed))}"
        raise ConfigurationError(f"{setting} names the operation {name!r}, which does not exist; {hint}")
