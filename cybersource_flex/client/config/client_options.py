"""``ClientBuilder``: build a client from the arguments that were read from a configuration source."""

from __future__ import annotations

import base64
import difflib
import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from ... import api
from ..._immutable import Immutable
from ...errors import ConfigurationError
from ...transport import Operation, Tls
from ...transport.rest_operation import is_rest_operation

if TYPE_CHECKING:
    from ...auth import MessageLevelEncryption
    from ...jose import KeySource
    from ...transport import Signer
    from ...transport.configuration import ConnectionOptions

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


if TYPE_CHECKING:
    # Needed by type checkers only.
    class ClientOptions(ConnectionOptions, Generic[Keys], total=False):
        """Keyword arguments of a client, all optional. ``Keys`` is the type of key source that the client accepts."""

        auth: Signer | None
        environment: str
        leeway: float
        keys: Keys | None

    class FlexClientOptions(ClientOptions[KeySource], total=False):
        """Keyword arguments of ``FlexClient``."""


class ClientBuilder(Immutable):
    """Builds a client, or single arguments of it, from a configuration source.

    Each method reads the files that its argument needs, and raises ``ConfigurationError`` if that fails.

    Args:
        scheme: one of ``SCHEMES``. None if the caller passes a signer.
        credentials: arguments of the signer class.
        mle: arguments of ``MessageLevelEncryption``; empty for none.
        tls: arguments of ``Tls``; empty for none.
        options: other arguments of the client.
        setting_names: for each argument, the name of the variable or key that it was read from, for error messages.
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
        """Build the signer, or return None if the caller passes one. Errors name the variable or key that is wrong."""
        if self.scheme is None:
            return None
        from ... import auth

        signer: Signer = self._construct(getattr(auth, SCHEMES[self.scheme]), self._credentials)
        return signer

    def shared_secret(self) -> dict[str, str] | None:
        """Return the checked arguments of a signer with a shared secret. None if another scheme is configured."""
        if self.scheme not in ("jwt_shared_secret", "http_signature"):
            return None
        self.signer()
        names = ("merchant_id", "key_id", "secret_key", "portfolio_id")
        return {name: self._credentials[name] for name in names if name in self._credentials}

    def secret_bytes(self) -> int | None:
        """Return the length of the decoded shared secret, None without a secret. The secret must be valid base64."""
        if "secret_key" not in self._credentials:
            return None
        return len(base64.b64decode(self._credentials["secret_key"]))

    def encryption(self) -> MessageLevelEncryption | None:
        """Build the message-level encryption. Return None if it is not configured."""
        if not self._mle:
            return None
        from ...auth import MessageLevelEncryption

        return self._construct(MessageLevelEncryption, self._mle)

    def tls(self) -> Tls | None:
        """Build the TLS settings. Return None if none are configured."""
        return self._construct(Tls, self._tls) if self._tls else None

    def build(self, factory: Callable[..., _T], overrides: Mapping[str, Any]) -> _T:
        """Build the client by calling ``factory``. Arguments in ``overrides`` replace those of the source."""
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
        # Raised outside the `except` block, so that the traceback does not also show the original error.
        for argument, name in self._setting_names.items():
            if argument not in not_renamed and re.match(rf"{argument}\b", message):
                message = name + message[len(argument) :]
                break
        raise ConfigurationError(message)


@cache
def _operations() -> dict[str, bool]:
    """Return the method names of all operations of the generated API classes, and whether each operation is signed."""
    modules = {getattr(api, name).__module__ for name in api.__all__}
    values = (value for module in modules for value in vars(sys.modules[module]).values())
    return {value.name: value.requires_auth for value in values if isinstance(value, Operation)}


def signed_operations() -> frozenset[str]:
    """Return the method names of signed operations. Only these can use message-level encryption."""
    return frozenset(name for name, signed in _operations().items() if signed)


def check_operations(names: Iterable[str], setting: str) -> None:
    """Check that each name is the method name of a signed operation, or a call of ``request``: ``POST /a/path``.

    Args:
        names: names of operations.
        setting: name of the setting, for the error message.

    Raises:
        ConfigurationError: an operation does not exist, or is not signed and therefore cannot be encrypted.
    """
    signed = signed_operations()
    for name in sorted(set(names) - signed):
        if is_rest_operation(name):
            continue
        if name in _operations():
            raise ConfigurationError(
                f"{setting} names the operation {name!r}, which cannot be encrypted, because it is not signed"
            )
        close = difflib.get_close_matches(name, signed, 1)
        names_of_methods = ", ".join(sorted(signed))
        hint = f"did you mean {close[0]!r}?" if close else f"expected 'POST /a/path', or one of {names_of_methods}"
        raise ConfigurationError(f"{setting} names the operation {name!r}, which does not exist; {hint}")
