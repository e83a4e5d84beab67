"""The exception classes of this package, and the records that they carry, such as ``Attempt``.

::

    FlexError
    ├── ConfigurationError             a setting is wrong (also a ValueError); nothing was sent
    ├── MissingDependencyError         an extra is not installed (also an ImportError)
    ├── InvalidArgumentError           an argument cannot be sent as given (also a ValueError); nothing was sent
    │   └── InvalidArgumentTypeError   an argument has the wrong type (also a TypeError)
    ├── InvalidDataError               data to capture breaks a rule (also a ValueError); nothing was encrypted
    ├── TokenError                     a JWT or JWE is invalid
    │   ├── MalformedTokenError        the token is not in compact form, or a part breaks RFC 7515/7516
    │   │   ├── CompactFormError       the number of parts is wrong, or a part is empty
    │   │   ├── Base64UrlError         a part is not base64url: wrong characters, length or unused bits
    │   │   ├── TokenJsonError         a part is not JSON, not an object, or lacks a required member
    │   │   ├── DuplicateMemberError   an object has two members of the same name
    │   │   ├── NestingError           objects and arrays are nested too deep
    │   │   └── TokenTooLargeError     the token is longer than the limit
    │   ├── UnsupportedAlgorithmError  the header names an algorithm or extension that is not allowed
    │   ├── UnknownKeyError            no acceptable key has the token's ``kid``
    │   ├── InvalidSignatureError      the signature does not match the key and the content
    │   ├── DecryptionError            a JWE cannot be decrypted with the given key
    │   ├── ExpiredTokenError          ``exp`` has passed
    │   ├── TokenNotYetValidError      ``iat`` or ``nbf`` is in the future
    │   └── InvalidClaimError          another claim is missing or breaks its rule
    ├── EmulatorError                  an emulator method failed (also a RuntimeError), for example before the start
    │   └── AddressError               the emulator cannot listen on its host and port
    └── CallError                      a call failed; says what happened and whether a retry is safe
        ├── TransportError             no complete response arrived
        │   ├── ConnectionFailedError  no connection: nothing was sent
        │   ├── ConnectionTimeoutError no connection in time: nothing was sent
        │   ├── ResponseTimeoutError   no complete response in time: the host may have processed the call
        │   ├── ConnectionBrokenError  the connection broke: the host may have processed the call
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

No message, ``repr`` or pickle of an exception contains a secret, a token or card data. The body of a response is
available as ``ApiException.body`` and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple, TypeAlias

__all__ = [
    "AddressError",
    "ApiException",
    "Attempt",
    "AuthFailureCause",
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
    "EmulatorError",
    "ErrorDetail",
    "ExpiredTokenError",
    "FlexError",
    "InvalidArgumentError",
    "InvalidArgumentTypeError",
    "InvalidClaimError",
    "InvalidDataError",
    "InvalidSignatureError",
    "MalformedTokenError",
    "MissingDependencyError",
    "NestingError",
    "NotFoundError",
    "Outcome",
    "PermissionDeniedError",
    "RateLimitError",
    "RedirectError",
    "ResponseDecodingError",
    "ResponseInfo",
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
    """Base class of all exceptions that this package raises on purpose.

    Attributes:
        response: facts about the response that caused the error. Set for an ``ApiException``, and for a ``TokenError``
            about a token in a response of the host. Otherwise None.
    """

    response: ResponseInfo | None = None


class ConfigurationError(FlexError, ValueError):
    """A setting is missing or wrong. The message names the setting and the rule. Nothing was sent."""


class MissingDependencyError(FlexError, ImportError):
    """An optional package is not installed. The message contains the command that installs the package.

    Attributes:
        name: name of the missing package.
    """


class InvalidArgumentError(FlexError, ValueError):
    """An argument cannot be sent as given: for example a token instead of an id, or data that is not encrypted.

    Nothing was sent. The exception does not contain the value.

    Attributes:
        argument: name of the argument, parameter or field.
    """

    def __init__(self, message: str, *, argument: str) -> None:
        super().__init__(message)
        self.argument = argument

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


class InvalidArgumentTypeError(InvalidArgumentError, TypeError):
    """An argument or a field of a model has the wrong type, or there is no argument of that name."""


class InvalidDataError(FlexError, ValueError):
    """Data to capture breaks a rule. Nothing was encrypted. The exception does not contain the value.

    Attributes:
        field: dotted path of the field, for example ``paymentInformation.card.number``. None if the error is not about
            a single field.
    """

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


class EmulatorError(FlexError, RuntimeError):
    """A method of the emulator failed: the emulator is not running, cannot listen, or lacks a required option."""


class AddressError(EmulatorError):
    """The emulator cannot listen on its host and port: the port is in use, or the host is not of this machine."""


class TokenError(FlexError):
    """A JWT or JWE is invalid. The message names the cause, and quotes only the ``kid`` of a long-term key."""


class MalformedTokenError(TokenError):
    """The string is not a compact JWS or JWE (RFC 7515 section 7.1, RFC 7516 section 7.1).

    Attributes:
        position: index of the invalid character in its part of the token. If the part is not UTF-8, the index of the
            invalid byte. None if the error is not about a single character.
    """

    def __init__(self, message: str, position: int | None = None) -> None:
        super().__init__(message)
        self.position = position

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


class CompactFormError(MalformedTokenError):
    """The token has the wrong number of parts, or one of its parts is empty."""


class Base64UrlError(MalformedTokenError):
    """A part is not base64url without padding (RFC 7515 section 2)."""


class TokenJsonError(MalformedTokenError):
    """A part is not a JSON object in UTF-8 (RFC 8259), or lacks a required member."""


class DuplicateMemberError(MalformedTokenError):
    """A JSON object contains two members of the same name (RFC 7515 section 4, RFC 7519 section 4)."""


class NestingError(MalformedTokenError):
    """Objects and arrays are nested deeper than the limit."""


class TokenTooLargeError(MalformedTokenError):
    """The token is longer than the limit."""


class UnsupportedAlgorithmError(TokenError):
    """The header of the token names an algorithm, or an extension (``crit``), that is not allowed."""


class UnknownKeyError(TokenError):
    """No acceptable key has the token's ``kid``. The message may contain the ``kid`` of a long-term key."""


class InvalidSignatureError(TokenError):
    """The signature does not match the key and the content."""


class DecryptionError(TokenError):
    """A JWE cannot be decrypted, because it was encrypted with a different key or was modified."""


class ExpiredTokenError(TokenError):
    """The token's ``exp`` has passed, even with the leeway."""


class TokenNotYetValidError(TokenError):
    """The token's ``iat`` or ``nbf`` is further in the future than the leeway allows."""


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


Outcome: TypeAlias = Literal["not_sent", "unknown", "rejected", "accepted"]
"""Outcome of a call: nothing was sent, it is unknown, the host rejected the call, or the host accepted it."""


class Attempt(NamedTuple):
    """One attempt of a call.

    Attributes:
        number: number of the attempt, from 1.
        started_at: start time, in seconds since the epoch.
        duration: duration in seconds.
        status: HTTP status of the response. None if there was no complete response.
        error: class name of the exception if there was no complete response. Otherwise None.
    """

    number: int
    started_at: float
    duration: float
    status: int | None
    error: str | None


class ResponseInfo(NamedTuple):
    """Facts about the final response of a call, to log them or to report them to CyberSource's support.

    Attributes:
        status: HTTP status code.
        correlation_id: value of ``v-c-correlation-id``, which CyberSource's support asks for. None if the host sent no
            value, or a value that cannot be an id.
        attempts: the attempts of the call, in order.
        elapsed: seconds from the start of the call to the complete response, including retries and waits.
    """

    status: int
    correlation_id: str | None
    attempts: tuple[Attempt, ...]
    elapsed: float


class AuthFailureCause(NamedTuple):
    """A possible cause of a 401, with the evidence for and against it.

    Attributes:
        name: identifier of the cause, which does not change between versions.
        title: the cause in a few words.
        score: 0 to 99, used to rank the causes. The score is not a probability. 0 means that the cause is impossible.
        evidence_for: facts that support the cause.
        evidence_against: facts that contradict the cause.
        advice: what to do.
    """

    name: str
    title: str
    score: int
    evidence_for: tuple[str, ...]
    evidence_against: tuple[str, ...]
    advice: str


class CallError(FlexError):
    """A call failed. Raised as one of the subclasses.

    Attributes:
        method: HTTP method of the call.
        path: path template of the operation, without the values of the parameters.
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
        retry_safe: bool = False,
        attempts: tuple[Attempt, ...] = (),
    ) -> None:
        super().__init__(message)
        self.method = method
        self.path = path
        self.outcome: Outcome = outcome
        self.safe_to_retry = retry_safe or outcome in ("not_sent", "rejected")
        self.attempts = attempts

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


class TransportError(CallError):
    """No complete response arrived.

    Attributes, besides those of ``CallError``:
        transient: whether a retry may succeed. False if, for example, a certificate is not accepted, or the proxy
            rejects the credentials.
    """

    transient: bool = True


class ConnectionFailedError(TransportError):
    """The name lookup, the connection or TLS failed. Nothing of the request was sent."""


class ConnectionTimeoutError(TransportError):
    """No connection was established within the connect timeout or the deadline. Nothing of the request was sent."""


class ResponseTimeoutError(TransportError):
    """No complete response arrived within the read timeout or the deadline. The host may have processed the call."""


class ConnectionBrokenError(TransportError):
    """The connection broke while sending or reading. The host may have processed the call."""


class ResponseTooLargeError(TransportError):
    """The response is larger than the limit and was not read completely."""


class ErrorDetail:
    """One entry of an error's ``details``: the field, and what is wrong with it. Values that the host omits are empty.

    Attributes:
        location: path of the field (``paymentInformation.card.number``) or a JSONPath (``$.targetOrigins``). In the
            response, this member is named ``location``, ``field`` or ``name``.
        message: what is wrong. If the host sent no message, this is the reason.
        code: the service's code.
        reason: the service's reason (``INVALID_DATA``). In some responses, this member is named ``type``.
    """

    __slots__ = ("code", "location", "message", "reason")

    def __init__(self, location: str, message: str, *, code: str = "", reason: str = "") -> None:
        self.location = location
        self.message = message
        self.code = code
        self.reason = reason

    def __repr__(self) -> str:
        more = "".join(f", {name}={value!r}" for name, value in (("code", self.code), ("reason", self.reason)) if value)
        return f"ErrorDetail(location={self.location!r}, message={self.message!r}{more})"

    def __eq__(self, other: object) -> bool:
        return self._values() == other._values() if isinstance(other, ErrorDetail) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._values())

    def _values(self) -> tuple[str, ...]:
        return self.location, self.message, self.code, self.reason


class ApiException(CallError):
    """The host returned an error response. Raised as the subclass for the status, if there is one.

    Attributes, besides those of ``CallError``:
        status: HTTP status code.
        reason: the service's reason (``INVALID_APIKEY``) or code. If the service sent neither, the HTTP reason phrase.
        message: the service's message. None if the service sent no message.
        details: the service's list of details. Empty if the service sent no details.
        correlation_id: the id that CyberSource's support asks for, from the header ``v-c-correlation-id``, or from
            ``correlationId`` in the body. None if the host sent neither.
        headers: headers of the response.
        body: the response body, as bytes. Never part of ``str()`` or ``repr()``.
        data: the body, parsed into the error model that the specification defines for the status. None if the body has
            a different format.
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
        retry_safe: bool = False,
        attempts: tuple[Attempt, ...] = (),
    ) -> None:
        super().__init__(
            _summary(method, path, status, reason, message, details, correlation_id),
            method=method,
            path=path,
            outcome=outcome_of(status),
            retry_safe=retry_safe,
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
        diagnosis: possible causes of the 401, the likeliest first, with the evidence for and against each. Empty if
            nothing is known about the call.
    """

    diagnosis: tuple[AuthFailureCause, ...] = ()
    _facts: Mapping[str, Any] = {}

    def _explain(self, facts: Mapping[str, Any], diagnosis: tuple[AuthFailureCause, ...], *, likely: bool) -> None:
        """Set the diagnosis before the exception is raised. If ``likely``, the message names the first cause."""
        self._facts = facts
        self.diagnosis = diagnosis
        if likely:
            self.args = (f"{self.args[0]}; likely cause: {diagnosis[0].title}",)

    def report(self) -> dict[str, Any]:
        """Export the facts for a later diagnosis with ``cybersource-flex explain``, as JSON types.

        The report can be saved and shared. It contains the correlation id, which CyberSource's support asks for. It
        contains no other id, no secret, token or host name, and neither the service's message nor the body.
        """
        return {
            "report": "cybersource-flex 401",
            "version": 1,
            "method": self.method,
            "path": self.path,
            "status": self.status,
            "correlation_id": safe_correlation_id(self.correlation_id),
            "attempts": [attempt._asdict() for attempt in self.attempts],
            "facts": dict(self._facts),
        }


class PermissionDeniedError(ApiException):
    """403: the merchant or the key has no permission for the operation."""


class NotFoundError(ApiException):
    """404: there is no such resource or token."""


class RateLimitError(ApiException):
    """429: too many requests."""


class ServerError(ApiException):
    """500 to 599: the service, or a gateway in front of it, failed."""


class RedirectError(ApiException):
    """300 to 399: a redirect. Redirects are never followed, because a signed request is valid for one URL only."""


class ResponseDecodingError(ApiException):
    """200 to 299, but the body cannot be parsed as the specification defines. The host accepted the call."""


def outcome_of(status: int) -> Outcome:
    """Map an HTTP status to the outcome of the call (RFC 9110 section 15).

    After a 500, or a 502 or 504 of a gateway, the host may have processed the call. A 503 means that the host did not
    process the call. A status below 200 is not final and says nothing about the outcome.
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


# A UUID, or another string of letters, digits and dashes that has too few consecutive digits for a card number.
_CORRELATION_ID: Final = re.compile(
    r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}|(?!.*(?:[0-9]-?){12})[0-9A-Za-z-]{1,40}"
)


def safe_correlation_id(correlation_id: str | None) -> str | None:
    """Return a correlation id if it has a valid form, otherwise None. A host can send any value, even a token."""
    return correlation_id if _CORRELATION_ID.fullmatch(correlation_id or "") else None


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
        entry = _summarize(detail, {str(status), reason, message})
        summary += f"; {entry}" if entry else ""
    if correlation_id:
        summary += f" (v-c-correlation-id {correlation_id})"
    return summary


def _summarize(detail: ErrorDetail, redundant: set[str | None]) -> str:
    """Describe a detail on one line, without the values in ``redundant``, which the summary already contains."""
    message = "" if detail.message in redundant else detail.message
    redundant = {*redundant, "", detail.message}
    labels = [f"code {detail.code}"] if detail.code not in redundant else []
    if detail.reason not in {*redundant, detail.code}:
        labels.append(detail.reason)
    described = ": ".join(part for part in (detail.location, message) if part)
    return f"{described} ({', '.join(labels)})".strip() if labels else described


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
