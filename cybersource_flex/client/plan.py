"""What a client is made from, read from wherever it stood, and the making of it, part by part."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Final, Generic, TypedDict, TypeVar

from ..errors import ConfigurationError
from ..transport import Tls
from ..transport.frozen import Frozen

if TYPE_CHECKING:
    from ..auth import MessageLevelEncryption
    from ..jose import KeySource
    from ..transport import Encryption, Events, RetryPolicy, Signer

__all__ = ["SCHEMES", "Keys", "Options", "Plan"]

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


class Options(TypedDict, total=False):
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
    class Overrides(Options, Generic[Keys], total=False):
        """Arguments of a client by name. ``Keys`` is the kind of key source that it takes."""

        keys: Keys | None

    class FlexOverrides(Overrides[KeySource], total=False):
        """Arguments of ``FlexClient`` by name, for a variable of this type."""


class Plan(Frozen):
    """What a client is made from. Making a part reads its files, so one can fail and the others not.

    Args:
        scheme: one of ``SCHEMES``, or None where the signer comes from elsewhere.
        credentials: arguments of the signer.
        mle: arguments of ``MessageLevelEncryption``, empty for none.
        tls: arguments of ``Tls``, empty for none.
        options: further arguments of the client.
        names: what an argument is called in the place that it was read from.
        notes: what was ignored there, and why, one sentence each.
    """

    __slots__ = ("_credentials", "_mle", "_names", "_options", "_tls", "notes", "scheme")

    scheme: str | None
    _options: Mapping[str, Any]
    notes: tuple[str, ...]
    _credentials: Mapping[str, Any]
    _mle: Mapping[str, Any]
    _tls: Mapping[str, Any]
    _names: Mapping[str, str]

    def __init__(
        self,
        *,
        scheme: str | None,
        credentials: Mapping[str, Any],
        mle: Mapping[str, Any],
        tls: Mapping[str, Any],
        options: Mapping[str, Any],
        names: Mapping[str, str],
        notes: tuple[str, ...] = (),
    ) -> None:
        self._set(scheme=scheme, notes=notes, _names=names)
        self._set(_credentials=credentials, _mle=mle, _tls=tls, _options=options)

    def __repr__(self) -> str:
        return f"<Plan {self.scheme}>"

    def signer(self) -> Signer | None:
        """The signer. Raises ``ConfigurationError``, as the other parts do, in the words of the place read from."""
        if self.scheme is None:
            return None
        from .. import auth

        signer: Signer = self._made(getattr(auth, SCHEMES[self.scheme]), self._credentials)
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
        from ..auth import MessageLevelEncryption

        return self._made(MessageLevelEncryption, self._mle)

    def tls(self) -> Tls | None:
        """The settings of TLS, or None for the usual ones."""
        return self._made(Tls, self._tls) if self._tls else None

    def make(self, kind: Callable[..., _T], overrides: Mapping[str, Any]) -> _T:
        """The client: ``kind`` called with everything, ``overrides`` winning. What they replace is not made."""
        arguments = {**self._options, **overrides}
        parts: dict[str, Callable[[], object]] = {"auth": self.signer, "mle": self.encryption, "tls": self.tls}
        for name, part in parts.items():
            if name not in overrides:
                arguments[name] = part()
        foreign = {"host"} if "environment" in overrides else set()
        return self._made(kind, arguments, foreign.union(overrides))

    def _made(self, kind: Callable[..., _T], arguments: Mapping[str, Any], foreign: Collection[str] = ()) -> _T:
        try:
            return kind(**arguments)
        except ConfigurationError as cause:
            text = str(cause)
        # Outside of the handler: the exception that it had is in the other words, and of no more use.
        for argument, name in self._names.items():
            if argument not in foreign and re.match(rf"{argument}\b", text):
                text = name + text[len(argument) :]
                break
        raise ConfigurationError(text)
