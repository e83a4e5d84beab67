"""Small checks of what goes into a call and of what comes out."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import TYPE_CHECKING, TypeVar

from .._credentials import not_an_id
from ..configuration import Configuration
from ..errors import ConfigurationError, InvalidArgumentError, ResponseDecodingError
from ..jose import TransientToken

if TYPE_CHECKING:
    from ..transport import ApiResponse

__all__ = ["base_url", "check_digest", "check_keys", "reference_of", "token_id"]


def base_url(environment: str) -> str:
    """The host for the name of an environment, or for a host. Raises ``ConfigurationError`` for anything else."""
    if isinstance(environment, str) and environment in Configuration.ENVIRONMENTS:
        return Configuration.ENVIRONMENTS[environment]
    if isinstance(environment, str) and ("." in environment or "://" in environment):
        return environment
    names = ", ".join(repr(name) for name in Configuration.ENVIRONMENTS)
    raise ConfigurationError(f"environment must be one of {names}, or a host such as 'https://apitest.cybersource.com'")


_K = TypeVar("_K")


def check_keys(keys: _K) -> _K:
    """A source of keys. Raises ``ConfigurationError`` for something without its methods."""
    if not all(callable(getattr(keys, name, None)) for name in ("get", "refresh")):
        raise ConfigurationError(
            f"keys must be a KeySource such as PinnedKeys([...]), not an object of type {type(keys).__name__}"
        )
    return keys


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


def token_id(token: TransientToken | str) -> str:
    """The ``jti`` of a transient token, or of what was given as one.

    The ``jti`` of a JWT that was not verified is not taken: its content is not trusted.

    Raises:
        InvalidArgumentError: a JWT or another credential was given instead of its id.
    """
    if isinstance(token, TransientToken):
        return token.jti
    return _check_id("token", token, "the verified TransientToken, or its jti")


def reference_of(reference: str) -> str:
    """A payment credentials reference.

    Raises:
        InvalidArgumentError: a token or another credential was given instead.
    """
    return _check_id("reference", reference, "a value of token.payment_credentials_references")


def _check_id(name: str, value: str, expected: str) -> str:
    # Other types are refused where the path is made.
    if isinstance(value, str) and (what := not_an_id(value)) is not None:
        raise InvalidArgumentError(
            f"{name} is {what}; expected {expected}. Nothing was sent: the path of the request would have held it, and "
            "access logs keep paths",
            argument=name,
        )
    return value
