"""Base classes of signers and secrets, and checks of ids and secrets from the Business Center."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Any, NoReturn

from .._credential_detection import describe_non_id, is_encoded_secret
from .._paths import describe_wrapping
from ..errors import ConfigurationError

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Credential", "KeySigner", "SharedSecret", "check_identifier", "id_facts", "signer_repr"]

# Ids are inserted into quoted strings in headers, and into lines that are signed. A quotation mark, a backslash or a
# line break in an id would change the header or the signed lines.
_IDENTIFIER = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,255}")

# Key ids: those of shared secrets, and those of certificates.
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.I)
_DIGITS = re.compile(r"[0-9]{22}")

# Secrets of the Business Center have 32 bytes, the length of a SHA-256 hash. RFC 2104 section 3 discourages shorter
# ones. The limit is half of that: it is only meant to detect secrets that were not copied completely.
_MIN_SECRET_BYTES = 16
# Length of a secret of 16 bytes in base64, without padding.
_SHORTEST_SECRET = 22


def check_identifier(name: str, value: str) -> str:
    """Check a merchant id or key id, and return the id without surrounding white space.

    Args:
        name: name of the setting, for messages.
        value: the id.

    Raises:
        ConfigurationError: the value is empty, is too long, contains characters that are not allowed in headers, or is
            a token, key or secret. Ids are sent in headers and logged, so secrets are rejected.
    """
    if not isinstance(value, str):
        raise ConfigurationError(f"{name} must be a string, not {type(value).__name__}")
    stripped = value.strip()
    if not stripped:
        raise ConfigurationError(f"{name} is empty; expected the value that the Business Center shows")
    wrapping = describe_wrapping(stripped)
    if wrapping is not None:
        raise ConfigurationError(f"{name} {wrapping}")
    # A merchant id may consist of as many digits as a card number.
    credential = describe_non_id(stripped, card_numbers=name not in ("merchant_id", "portfolio_id"))
    if credential is None and is_encoded_secret(stripped, min_length=_SHORTEST_SECRET):
        credential = "a secret in base64"
    if credential is not None:
        raise ConfigurationError(
            f"{name} is {credential}; expected the id that the Business Center shows. Were two settings swapped?"
        )
    if not _IDENTIFIER.fullmatch(stripped):
        raise ConfigurationError(
            f"{name} contains white space, quotation marks or other characters that are not allowed in an id, "
            "or is longer than 255 characters"
        )
    return stripped


class Credential:
    """Base class of objects that hold a key. Attributes can be set only once. Pickling and copying raise an error."""

    __slots__ = ()

    #: What the object holds, for the message that says why it cannot be pickled or copied.
    _content = "a secret"

    def __setattr__(self, name: str, value: object) -> None:
        if hasattr(self, name):
            raise AttributeError(f"a {type(self).__name__} cannot be changed; create a new one")
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a {type(self).__name__} cannot be changed; create a new one")

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} cannot be pickled or copied: it holds {self._content}")


class SharedSecret(Credential):
    """A decoded HMAC key, which the ``repr`` does not show.

    Args:
        secret: the base64 string that the Business Center shows (standard alphabet, RFC 4648 section 4).

    Raises:
        ConfigurationError: the secret is not base64, or is too short.
    """

    __slots__ = ("key",)

    def __init__(self, secret: str) -> None:
        if not isinstance(secret, str):
            raise ConfigurationError(f"secret_key must be a base64 string, not {type(secret).__name__}")
        encoded = "".join(secret.split())
        wrapping = describe_wrapping(encoded)
        if wrapping is not None:
            raise ConfigurationError(f"secret_key {wrapping}")
        if not encoded:
            raise ConfigurationError("secret_key is empty; expected the base64 string that the Business Center shows")
        try:
            key = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            # `from None`, because the traceback of the cause would contain the secret.
            raise ConfigurationError(
                "secret_key is not base64 (letters, digits, '+', '/', and '=' at the end); expected the string that "
                "the Business Center shows, unchanged"
            ) from None
        if len(key) < _MIN_SECRET_BYTES:
            raise ConfigurationError(
                f"secret_key is too short: {len(key)} bytes after decoding, expected 32. Was it copied completely?"
            )
        self.key = key

    def __repr__(self) -> str:
        return "SharedSecret(...)"

    def __len__(self) -> int:
        return len(self.key)


class KeySigner(Credential):
    """Base class of the signers with a key id. The key belongs to a merchant, or to a portfolio (a meta key)."""

    __slots__ = ("key_id", "merchant_id", "portfolio_id")

    merchant_id: str
    key_id: str
    portfolio_id: str | None

    def for_merchant(self, merchant_id: str) -> Self:
        """Return a signer with the same meta key for another merchant of the portfolio.

        Args:
            merchant_id: the merchant that sends the requests.

        Raises:
            ConfigurationError: the key is not a meta key, or the id is malformed.
        """
        if self.portfolio_id is None:
            raise ConfigurationError(
                f"the key of this {type(self).__name__} belongs to one merchant and cannot sign for another one; "
                "expected a meta key (portfolio_id=...), or the credentials of the other merchant as auth=..."
            )
        return self._copy_with(merchant_id=check_identifier("merchant_id", merchant_id))

    def _copy_with(self, **changes: Any) -> Self:
        """Copy the signer and set these attributes of the copy. Their values are not checked."""
        signer = object.__new__(type(self))
        names = [name for base in type(self).__mro__ for name in getattr(base, "__slots__", ())]
        for name in [*names, *getattr(self, "__dict__", ())]:
            if hasattr(self, name):
                object.__setattr__(signer, name, getattr(self, name))
        for name, value in changes.items():
            object.__setattr__(signer, name, value)
        return signer


def id_facts(signer: Any) -> dict[str, str | int | bool | None]:
    """Non-secret facts for diagnostics: the format of a signer's ids, and which ids are set."""
    formats = (("uuid", _UUID), ("22 digits", _DIGITS))
    return {
        "key_id_format": next((name for name, pattern in formats if pattern.fullmatch(signer.key_id)), "other"),
        "portfolio": signer.portfolio_id is not None,
        "portfolio_is_merchant": signer.portfolio_id == signer.merchant_id,
    }


def signer_repr(signer: Any) -> str:
    """The ``repr`` of a signer with a key id, without the key."""
    portfolio = "" if signer.portfolio_id is None else f", portfolio_id={signer.portfolio_id!r}"
    return f"{type(signer).__name__}(merchant_id={signer.merchant_id!r}, key_id={signer.key_id!r}{portfolio})"
