"""Small checks of what goes into a call and of what comes out."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import TYPE_CHECKING

from .._callables import check_methods
from .._credentials import not_a_path_id
from ..configuration import Configuration
from ..errors import ConfigurationError, InvalidArgumentError, ResponseDecodingError
from ..jose import TransientToken
from ..transport.retry import RetryPolicy
from ..transport.settings import check_seconds, check_type

if TYPE_CHECKING:
    from ..transport import ApiResponse, Clock, HostTime

__all__ = [
    "base_url",
    "check_call_options",
    "check_digest",
    "check_encryption",
    "check_items",
    "check_signer",
    "host_time_of",
    "reference_of",
    "token_id",
]


def base_url(environment: str) -> str:
    """The host for the name of an environment, or for a host. Raises ``ConfigurationError`` for anything else."""
    if isinstance(environment, str) and environment in Configuration.ENVIRONMENTS:
        return Configuration.ENVIRONMENTS[environment]
    if isinstance(environment, str) and ("." in environment or "://" in environment):
        return environment
    names = ", ".join(repr(name) for name in Configuration.ENVIRONMENTS)
    raise ConfigurationError(f"environment must be one of {names}, or a host such as 'https://apitest.cybersource.com'")


def check_signer(auth: object) -> None:
    """Check that a signer's methods are not async. Raises ``ConfigurationError`` otherwise.

    A signer that waits for another system says so with its attribute ``blocks``, and is called in a thread then.
    """
    if auth is None:
        return
    given = [name for name in ("sign", "renew", "facts") if name == "sign" or hasattr(auth, name)]
    check_methods("auth", auth, given, "a signer such as JwtSharedSecret(...)")


def check_encryption(mle: object) -> None:
    """Check that the methods of an ``Encryption`` are not async. Raises ``ConfigurationError`` otherwise."""
    if mle is not None:
        check_methods("mle", mle, ("outgoing", "incoming"), "MessageLevelEncryption(...)")


def check_call_options(timeout: float | None, retry: RetryPolicy | None) -> None:
    """Check the options of a call before it is made. Raises ``ConfigurationError`` for a wrong one."""
    if timeout is not None:
        check_seconds("timeout", timeout)
    check_type("retry", retry, RetryPolicy)


def check_items(items: object, *, awaited: bool) -> None:
    """Check that the items of a batch can be iterated. Raises ``ConfigurationError`` otherwise.

    Args:
        items: the argument.
        awaited: whether they may come from an asynchronous iterator.
    """
    names = ("__iter__", "__getitem__", "__aiter__") if awaited else ("__iter__", "__getitem__")
    if any(hasattr(items, name) for name in names):
        return
    if hasattr(items, "__aiter__"):
        raise ConfigurationError("items must be an iterable; an asynchronous one is for AsyncFlexClient.tokenize_many")
    kind = "an iterable, asynchronous or not" if awaited else "an iterable"
    raise ConfigurationError(f"items must be {kind}, not an object of type {type(items).__name__}")


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
    if isinstance(value, str) and (what := not_a_path_id(value)) is not None:
        raise InvalidArgumentError(
            f"{name} is {what}; expected {expected}. Nothing was sent: the path of the request would have held it, and "
            "access logs keep paths",
            argument=name,
        )
    return value


def host_time_of(clock: Clock, answer: ApiResponse[str]) -> HostTime | None:
    """The host's clock according to this response, not to one that another thread got at the same time."""
    date = answer.headers.get("Date")
    if date is None or not answer.attempts:
        return clock.host_time()
    last = answer.attempts[-1]
    return clock.host_time_of(date, sent=last.started, received=last.started + last.seconds)
