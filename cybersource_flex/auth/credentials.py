"""Checks of what a merchant copies from the Business Center. Messages name setting and rule, never the value."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, NoReturn

from .._credentials import is_encoded_secret, not_an_id
from ..errors import ConfigurationError

__all__ = ["Credential", "SharedSecret", "check_identifier", "ids", "shown"]

# Both end up in headers between quotation marks and in lines that are signed: nothing that could end either.
_IDENTIFIER = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,255}")

# Key ids: those of shared secrets, and those of certificates.
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.I)
_DIGITS = re.compile(r"[0-9]{22}")

# Business Center secrets decode to 32 bytes; RFC 2104 section 3 discourages less than the hash's length, and a
# truncated paste is the usual reason for less. Half of it is a lower bound that no real secret fails.
_MIN_SECRET_BYTES = 16
# Of a secret with so many bytes, in base64 without what fills the last group.
_SHORTEST_SECRET = 22


def check_identifier(name: str, value: str) -> str:
    """A merchant id or key id, checked.

    Args:
        name: name of the setting, for the message.
        value: what was given; white space around it is removed.

    Raises:
        ConfigurationError: empty, too long, with characters that a header or signed line cannot carry, or a token, key
            or secret: ids are sent in the clear, logged and shown.
    """
    if not isinstance(value, str):
        raise ConfigurationError(f"{name} must be a text, not {type(value).__name__}")
    stripped = value.strip()
    if not stripped:
        raise ConfigurationError(f"{name} is empty; expected the value that the Business Center shows")
    # Merchant ids may be as many digits as a card number.
    what = not_an_id(stripped, card_numbers=name not in ("merchant_id", "portfolio_id"))
    if what is None and is_encoded_secret(stripped, at_least=_SHORTEST_SECRET):
        what = "a secret in base64"
    if what is not None:
        raise ConfigurationError(
            f"{name} is {what}; expected the id that the Business Center shows; were two values exchanged?"
        )
    if not _IDENTIFIER.fullmatch(stripped):
        raise ConfigurationError(
            f"{name} has white space, quotation marks or other characters in it that an id cannot have, "
            "or is longer than 255 characters"
        )
    return stripped


class Credential:
    """Something that holds a key: each attribute is set once, and nothing of it can be pickled or copied out."""

    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> None:
        if hasattr(self, name):
            raise AttributeError(f"a {type(self).__name__} cannot be changed; make another one")
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a {type(self).__name__} cannot be changed; make another one")

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} holds a secret and cannot be pickled")


class SharedSecret(Credential):
    """The decoded key of an HMAC. Its repr shows nothing of it.

    Args:
        secret: the base64 text that the Business Center shows (standard alphabet, RFC 4648 section 4).

    Raises:
        ConfigurationError: not base64, or too short to be a secret.
    """

    __slots__ = ("key",)

    def __init__(self, secret: str) -> None:
        if not isinstance(secret, str):
            raise ConfigurationError(f"secret_key must be a base64 text, not {type(secret).__name__}")
        text = "".join(secret.split())
        if not text:
            raise ConfigurationError("secret_key is empty; expected the base64 text that the Business Center shows")
        try:
            key = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            # `from None`: the cause's traceback would hold the text.
            raise ConfigurationError(
                "secret_key is not base64 (letters, digits, '+', '/', and '=' at the end); expected the text that the "
                "Business Center shows, unchanged"
            ) from None
        if len(key) < _MIN_SECRET_BYTES:
            raise ConfigurationError(
                f"secret_key is too short: {len(key)} bytes once decoded, expected 32; was a part lost in copying?"
            )
        self.key = key

    def __repr__(self) -> str:
        return "SharedSecret(...)"

    def __len__(self) -> int:
        return len(self.key)


def ids(signer: Any) -> dict[str, str | int | bool | None]:
    """What is safe to tell of a signer's ids: their shape, and which there are."""
    shapes = (("uuid", _UUID), ("22 digits", _DIGITS))
    return {
        "key_id_shape": next((name for name, pattern in shapes if pattern.fullmatch(signer.key_id)), "other"),
        "portfolio": signer.portfolio_id is not None,
        "portfolio_is_merchant": signer.portfolio_id == signer.merchant_id,
    }


def shown(signer: Any) -> str:
    """The ``repr`` of a signer with a key id: who signs, and nothing that signs."""
    portfolio = "" if signer.portfolio_id is None else f", portfolio_id={signer.portfolio_id!r}"
    return f"{type(signer).__name__}(merchant_id={signer.merchant_id!r}, key_id={signer.key_id!r}{portfolio})"
