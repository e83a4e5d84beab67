"""The exception classes of this package.

::

    FlexError
    ├── ConfigurationError             a setting is wrong (also a ValueError); nothing was sent
    ├── InvalidArgumentError           an argument cannot be sent as given (also a ValueError); nothing was sent
    ├── InvalidDataError               data to capture breaks a rule (also a ValueError); nothing was encrypted
    ├── TokenError                     a JWT or JWE is invalid
    │   ├── MalformedTokenError        it is not in the compact form, or a part breaks RFC 7515/7516
    │   │   ├── CompactFormError       the number of parts is wrong, or one is empty
    │   │   ├── Base64UrlError         a part is not base64url: a character, the length, bits left over
    │   │   ├── TokenJsonError         a part is not JSON, not an object, or lacks a required member
    │   │   ├── DuplicateMemberError   an object names a member twice
    │   │   ├── NestingError           objects and arrays are nested too deep
    │   │   └── TokenTooLargeError     it is longer than the limit
    │   ├── UnsupportedAlgorithmError  its header asks for an algorithm or extension that is not allowed here
    │   ├── UnknownKeyError            no acceptable key has the token's ``kid``
    │   ├── InvalidSignatureError      the signature does not match the key and the content
    │   ├── DecryptionError            a JWE cannot be decrypted with the given key
    │   ├── ExpiredTokenError          ``exp`` has passed
    │   ├── TokenNotYetValidError      ``iat`` is in the future
    │   └── InvalidClaimError          another claim is missing or breaks its rule
    └── CallError                      a call failed; has its outcome and whether it is safe to retry
        ├── TransportError             no complete response arrived
        │   ├── ConnectionFailedError  no connection: nothing was sent
        │   ├── ConnectionTimeoutError no connection in time: nothing was sent
        │   ├── ResponseTimeoutError   no complete response in time: what the host did is unknown
        │   ├── ConnectionBrokenError  the connection broke: what the host did is unknown
        │   └── ResponseTooLargeError  the response is larger than the limit
        └── ApiException               the host returned an error response
            ├── BadRequestError        400
            ├── AuthenticationError    401
            ├── PermissionDeniedError  403
            ├── NotFoundError          404
            ├── RateLimitError         429
            ├── ServerError            500 to 599
            ├── RedirectError          300 to 399: redirects are never followed
            └── ResponseDecodingError  200 to 299, but the body cannot be parsed: the call was accepted

No message, ``repr`` or pickle of any of them holds a secret, a token or card data. The body of a response is available
as ``ApiException.body`` and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from .transport.diagnosis import Cause

__all__ = [
    "ApiException",
    "Attempt",
    "AuthenticationError",
    "BadRequestError",
    "Base64UrlError",
    "CallError",
    "CompactFormError",
    "ConfigurationError",
    "ConnectionBrokenError",
    "ConnectionFailedError",
    "ConnectionTimeoutError",
    "DecryptionError",
    "DuplicateMemberError",
    "ErrorDetail",
    "ExpiredTokenError",
    "FlexError",
    "InvalidArgumentError",
    "InvalidClaimError",
    "InvalidDataError",
    "InvalidSignatureError",
    "MalformedTokenError",
    "NestingError",
    "NotFoundError",
    "Outcome",
    "PermissionDeniedError",
    "RateLimitError",
    "RedirectError",
    "ResponseDecodingError",
    "ResponseTimeoutError",
    "ResponseTooLargeError",
    "ServerError",
    "TokenError",
    "TokenJsonError",
    "TokenNotYetValidError",
    "TokenTooLargeError",
    "TransportError",
    "UnknownKeyError",
    "UnsupportedAlgorithmError",
]


class FlexError(Exception):
    """Base class of all exceptions that this package raises on purpose."""


class ConfigurationError(FlexError, ValueError):
    """A setting is missing or wrong. Raised before anything is sent; names the setting and the rule."""


class InvalidArgumentError(FlexError, ValueError):
    """An argument cannot be sent as given: for example a token where an id belongs, or data that is not encrypted.
    Raised before anything is sent; never holds the value.

    Attributes:
        argument: name of the argument or parameter.
    """

    def __init__(self, message: str, *, argument: str) -> None:
        super().__init__(message)
        self.argument = argument

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


class InvalidDataError(FlexError, ValueError):
    """Data to capture breaks a rule. Raised before anything is encrypted; never holds the value.

    Attributes:
        field: dotted path of the field, for example ``paymentInformation.card.number``; None if no single field is
            at fault.
    """

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


class TokenError(FlexError):
    """A JWT or JWE is invalid. The message names the cause and never quotes the token."""


class MalformedTokenError(TokenError):
    """The string is not a compact JWS or JWE (RFC 7515 section 7.1, RFC 7516 section 7.1).

    Attributes:
        position: index of the invalid character within its part (of the byte, if the part is not UTF-8); None if it is
            not a single one.
    """

    def __init__(self, message: str, position: int | None = None) -> None:
        super().__init__(message)
        self.position = position

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


class CompactFormError(MalformedTokenError):
    """The number of parts is wrong, or one of them is empty."""


class Base64UrlError(MalformedTokenError):
    """A part is not base64url without padding (RFC 7515 section 2)."""


class TokenJsonError(MalformedTokenError):
    """A part is not a JSON object in UTF-8 (RFC 8259), or lacks a required member."""


class DuplicateMemberError(MalformedTokenError):
    """An object names a member twice (RFC 7515 section 4, RFC 7519 section 4)."""


class NestingError(MalformedTokenError):
    """Objects and arrays are nested deeper than the limit."""


class TokenTooLargeError(MalformedTokenError):
    """The token is longer than the limit."""


class UnsupportedAlgorithmError(TokenError):
    """The header asks for an algorithm, or an extension (``crit``), that is not allowed here."""


class UnknownKeyError(TokenError):
    """No acceptable key has the token's ``kid``."""


class InvalidSignatureError(TokenError):
    """The signature does not match the key and the content."""


class DecryptionError(TokenError):
    """A JWE cannot be decrypted: it was encrypted to another key, or modified."""


class ExpiredTokenError(TokenError):
    """The token's ``exp`` has passed, even with the leeway."""


class TokenNotYetValidError(TokenError):
    """The token's ``iat`` is further in the future than the leeway allows."""


class InvalidClaimError(TokenError):
    """A claim is missing or breaks its rule.

    Attributes:
        claim: name of the claim, dotted if it is nested (``flx.jwk.kid``).
    """

    def __init__(self, message: str, *, claim: str) -> None:
        super().__init__(message)
        self.claim = claim

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


#: The outcome of a call: nothing was sent; unknown; the host rejected it; the host accepted it.
Outcome: TypeAlias = Literal["not_sent", "unknown", "rejected", "accepted"]


class Attempt(NamedTuple):
    """One attempt of a call.

    Attributes:
        number: from 1.
        started: start time, in seconds since the epoch.
        seconds: duration.
        status: HTTP status of the response, or None.
        error: class name of the exception if there was no complete response, else None.
    """

    number: int
    started: float
    seconds: float
    status: int | None
    error: str | None


class CallError(FlexError):
    """A call failed. Raised as one of the subclasses.

    Attributes:
        method: HTTP method of the call.
        path: path template of the operation in the specification, without its values.
        outcome: the outcome of the call: ``not_sent``, ``unknown``, ``rejected`` or ``accepted``.
        safe_to_retry: whether the same call can be repeated without taking effect twice. It does not say whether a
            retry would succeed.
        attempts: the attempts, in order.
    """

    def __init__(
        self,
        message: str,
        *,
        method: str,
        path: str,
        outcome: Outcome,
        repeatable: bool = False,
        attempts: tuple[Attempt, ...] = (),
    ) -> None:
        super().__init__(message)
        self.method = method
        self.path = path
        self.outcome: Outcome = outcome
        self.safe_to_retry = repeatable or outcome in ("not_sent", "rejected")
        self.attempts = attempts

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


class TransportError(CallError):
    """No complete response arrived.

    Attributes, besides those of ``CallError``:
        transient: whether a retry may succeed. It is False for a certificate that is not accepted, or a proxy that
            requires other credentials.
    """

    transient: bool = True


class ConnectionFailedError(TransportError):
    """No connection could be established (name lookup, refused, TLS). Nothing of the request was sent."""


class ConnectionTimeoutError(TransportError):
    """No connection within the connect timeout. Nothing of the request was sent."""


class ResponseTimeoutError(TransportError):
    """No complete response arrived within the read timeout or the deadline. What the host did is unknown."""


class ConnectionBrokenError(TransportError):
    """The connection broke while sending or reading. Whether the host acted on the request is unknown."""


class ResponseTooLargeError(TransportError):
    """The response is larger than the limit and was not read completely."""


class ErrorDetail:
    """One entry of an error's ``details``: where it is (a field's path) and what is wrong there.

    The hosts name the members ``location`` and ``message``, or ``field`` and ``reason``; both are mapped to these two.
    """

    __slots__ = ("location", "message")

    def __init__(self, location: str, message: str) -> None:
        self.location = location
        self.message = message

    def __repr__(self) -> str:
        return f"ErrorDetail(location={self.location!r}, message={self.message!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ErrorDetail):
            return NotImplemented
        return (self.location, self.message) == (other.location, other.message)

    def __hash__(self) -> int:
        return hash((self.location, self.message))


class ApiException(CallError):
    """The host returned an error response. Raised as the subclass for the status, if there is one.

    Attributes, besides those of ``CallError``:
        status: HTTP status code.
        reason: the service's own reason (``INVALID_APIKEY``), else the HTTP reason phrase.
        message: the service's message, or None.
        details: the service's list of details, empty if it sent none.
        correlation_id: value of ``v-c-correlation-id``, or the body's ``correlationId``; CyberSource's support asks
            for it. None if the host sent none.
        headers: headers of the response.
        body: the response body, as bytes. Never part of ``str()`` or ``repr()``.
        data: the body parsed into the error model that the specification defines for the status, or None.
    """

    def __init__(
        self,
        *,
        method: str,
        path: str,
        status: int,
        reason: str = "",
        message: str | None = None,
        details: tuple[ErrorDetail, ...] = (),
        correlation_id: str | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        data: Any = None,
        repeatable: bool = False,
        attempts: tuple[Attempt, ...] = (),
    ) -> None:
        super().__init__(
            _summary(method, path, status, reason, message, details, correlation_id),
            method=method,
            path=path,
            outcome=outcome_of(status),
            repeatable=repeatable,
            attempts=attempts,
        )
        self.status = status
        self.reason = reason
        self.message = message
        self.details = details
        self.correlation_id = correlation_id
        self.headers: Mapping[str, str] = headers if headers is not None else {}
        self.body = body
        self.data = data

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self})"

    def __reduce__(self) -> tuple[Any, ...]:
        # A pickle may be stored on disk or in a queue, so it leaves out the body and the headers.
        state = {**self.__dict__, "headers": {}, "body": b"", "data": None}
        return _rebuild, (type(self), self.args, state)


class BadRequestError(ApiException):
    """400: the service rejects the content of the request."""


class AuthenticationError(ApiException):
    """401: the service rejects the credentials, or the signed request differs from the received one.

    Attributes, besides those of ``ApiException``:
        diagnosis: possible causes of the 401, the likeliest first, each with the facts for and against it; empty if
            nothing is known about the call.
    """

    diagnosis: tuple[Cause, ...] = ()
    _facts: Mapping[str, Any] = {}

    def _explain(self, facts: Mapping[str, Any], diagnosis: tuple[Cause, ...], *, likely: bool) -> None:
        """Set the diagnosis before the exception is raised; ``likely`` adds the first cause to ``str()``."""
        self._facts = facts
        self.diagnosis = diagnosis
        if likely:
            self.args = (f"{self.args[0]}; likely cause: {diagnosis[0].title}",)

    def report(self) -> dict[str, Any]:
        """Export the facts for a later diagnosis, as JSON types: ``cybersource-flex explain`` reads them.

        The report holds no secret, id, token, host name or message of the service, and nothing of the body: it can be
        saved and shared. The correlation id is what CyberSource's support asks for.
        """
        return {
            "report": "cybersource-flex 401",
            "version": 1,
            "method": self.method,
            "path": self.path,
            "status": self.status,
            # A host can send any value in this header, even a token from the request.
            "correlation_id": self.correlation_id if _CORRELATION_ID.fullmatch(self.correlation_id or "") else None,
            "attempts": [attempt._asdict() for attempt in self.attempts],
            "facts": dict(self._facts),
        }


class PermissionDeniedError(ApiException):
    """403: the merchant or the key may not do this."""


class NotFoundError(ApiException):
    """404: no such resource or token."""


class RateLimitError(ApiException):
    """429: too many requests."""


class ServerError(ApiException):
    """500 to 599: the service, or a gateway in front of it, failed."""


class RedirectError(ApiException):
    """300 to 399: a redirect. Redirects are never followed: a signed request is not sent to another URL."""


class ResponseDecodingError(ApiException):
    """200 to 299, but the body cannot be parsed as the specification defines it. The call itself was accepted."""


def outcome_of(status: int) -> Outcome:
    """Map an HTTP status to the outcome of the call (RFC 9110 section 15).

    A 500, or a 502 or 504 of a gateway, may follow completed work; a 503 means that no work was started. A status below
    200 is not final and says nothing about the result.
    """
    if 200 <= status < 300:
        return "accepted"
    if status < 200 or (500 <= status < 600 and status != 503):
        return "unknown"
    return "rejected"


def error_class(status: int) -> type[ApiException]:
    """Return the exception class for an HTTP status outside 200 to 299."""
    if 300 <= status < 400:
        return RedirectError
    if 500 <= status < 600:
        return ServerError
    return _BY_STATUS.get(status, ApiException)


_CORRELATION_ID: Final = re.compile(r"[0-9A-Za-z-]{1,40}")

_BY_STATUS: dict[int, type[ApiException]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    429: RateLimitError,
}


def _summary(
    method: str,
    path: str,
    status: int,
    reason: str,
    message: str | None,
    details: tuple[ErrorDetail, ...],
    correlation_id: str | None,
) -> str:
    summary = f"{method} {path}: {status}"
    if reason:
        summary += f" {reason}"
    if message:
        summary += f": {message}"
    for detail in details[:5]:
        summary += f"; {detail.location}: {detail.message}" if detail.location else f"; {detail.message}"
    if correlation_id:
        summary += f" (v-c-correlation-id {correlation_id})"
    return summary


def clone(error: FlexError) -> FlexError:
    """Copy an exception with a separate traceback, so that several threads can raise the same failure."""
    other = _rebuild(type(error), error.args, error.__dict__)
    other.__cause__ = error.__cause__
    return other


def _rebuild(cls: type[FlexError], args: tuple[Any, ...], state: dict[str, Any]) -> FlexError:
    """Recreate an exception when it is unpickled, without calling ``__init__``, which requires keyword arguments."""
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error
