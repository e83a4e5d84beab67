"""What a client is made from, read from wherever it stood, and the making of it, part by part."""

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
#: The kind of key source that a client takes.
Keys = TypeVar("Keys")

#: Names of the schemes, and the class of the signer for each.
SCHEMES: Final = {
    "jwt_shared_secret": "JwtSharedSecret",
    "jwt_p12": "JwtP12",
    "http_signature": "HttpSignature",
    "bearer": "BearerToken",
}


class _Options(TypedDict, total=False):
    """Arguments of every client by name, each of them optional."""

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
    # For type checkers alone: Python 3.10 has no generic TypedDict.
    class ClientOptions(_Options, Generic[Keys], total=False):
        """Arguments of a client by name. ``Keys`` is the kind of key source that it takes."""

        keys: Keys | None

    class FlexClientOptions(ClientOptions[KeySource], total=False):
        """Arguments of ``FlexClient`` by name, for a variable of this type."""


class ClientBuilder(Frozen):
    """What a client is made from. Making a part reads its files, so one can fail and the others not.

    Args:
        scheme: one of ``SCHEMES``, or None where the signer comes from elsewhere.
        credentials: arguments of the signer.
        mle: arguments of ``MessageLevelEncryption``, empty for none.
        tls: arguments of ``Tls``, empty for none.
        options: further arguments of the client.
        setting_names: what an argument is called in the place that it was read from.
        warnings: what was ignored there, and why, one sentence each.
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
        """The signer. Raises ``ConfigurationError``, as the other parts do, in the words of the place read from."""
        if self.scheme is None:
            return None
        from ... import auth

        signer: Signer = self._construct(getattr(auth, SCHEMES[self.scheme]), self._credentials)
        return signer

    def secret_bytes(self) -> int | None:
        """How long the shared secret is once decoded, in bytes; None where there is none. For a secret that is good."""
        if "secret_key" not in self._credentials:
            return None
        return len(base64.b64decode(self._credentials["secret_key"]))

    def encryption(self) -> MessageLevelEncryption | None:
        """Message-level encryption, or None."""
        if not self._mle:
            return None
        from ...auth import MessageLevelEncryption

        return self._construct(MessageLevelEncryption, self._mle)

    def tls(self) -> Tls | None:
        """The settings of TLS, or None for the usual ones."""
        return self._construct(Tls, self._tls) if self._tls else None

    def build(self, factory: Callable[..., _T], overrides: Mapping[str, Any]) -> _T:
        """The client: ``kind`` called with everything, ``overrides`` winning. What they replace is not made."""
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
        # Outside of the handler: the exception that it had is in the other words, and of no more use.
        for argument, name in self._setting_names.items():
            if argument not in not_renamed and re.match(rf"{argument}\b", message):
                message = name + message[len(argument) :]
                break
        raise ConfigurationError(message)


@cache
def _operations() -> dict[str, bool]:
    """Whether it is signed, for each operation of the generated API classes by the name of its method."""
    modules = {getattr(api, name).__module__ for name in api.__all__}
    found = (value for module in modules for value in vars(sys.modules[module]).values())
    return {each.name: each.signed for each in found if isinstance(each, Operation)}


def signed_operations() -> frozenset[str]:
    """Names of the methods of the generated API classes whose requests are signed."""
    return frozenset(name for name, signed in _operations().items() if signed)


def check_operations(names: Iterable[str], setting: str) -> None:
    """Raise unless each is the name of a signed operation.

    Args:
        setting_names: names of operations.
        setting: where they were given, for the message.

    Raises:
        ConfigurationError: one does not exist, or is not signed and therefore never encrypted.
    """
    known = signed_operations()
    for name in sorted(set(names) - known):
        if name in _operations():
            raise ConfigurationError(
                f"{setting} names the operation {name!r}, which is not signed: only signed ones can be encrypted"
            )
        close = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(sorted(known))}"
        raise ConfigurationError(f"{setting} names the operation {name!r}, which does not exist; {hint}")
