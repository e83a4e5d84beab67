"""Parse error bodies into typed exceptions without secrets, and describe bodies of the wrong format.

The error formats of CyberSource's services and gateways are parsed. For any other body, the exception has only the
status, the headers and the bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .. import errors

if TYPE_CHECKING:
    from .messages import OperationInfo, Response

__all__ = ["api_exception", "describe_body", "is_error_body"]

# Messages of the service become part of exceptions and logs, so their length is limited.
_MAX_LENGTH: Final = 300
# Longer messages are cut before they are searched for secrets.
_MAX_SEARCHED: Final = 2000
_MAX_DETAILS: Final = 50
# The beginning of a token or card number at the end of a message that was cut.
_CUT_END: Final = re.compile(r"[0-9A-Za-z+/_=.-]*[0-9 -]*\Z")

# Secrets of the request that a service may quote: card numbers, tokens and token ids. Request ids and key ids are
# shorter. UUIDs are kept, because support asks for them. The pattern matches UUIDs first, because a UUID can contain as
# many consecutive digits as a card number.
_SECRET: Final = re.compile(
    r"(?P<uuid>(?<![A-Za-z0-9-])[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(?![A-Za-z0-9-]))"
    r"|[0-9](?:[ -]?[0-9]){11,18}(?![0-9])"
    r"|(?<![A-Za-z0-9+/_=-])[A-Za-z0-9+/_=-]{20,}(?:\.[A-Za-z0-9+/_=-]+){2,4}"
    r"|[A-Za-z0-9_=-]{40,}"
)
# Names that are as long as a token but are kept: reasons (CREATE_TOKEN_CAPTURE_CONTEXT_NOT_FOUND), and paths of JSON
# members. They cannot be confused with a signature or an encrypted key. Those contain digits, and more than 40
# characters without a dot.
_NAME: Final = re.compile(
    r"[A-Z]{1,16}[0-9]{0,2}(?:_[A-Z]{1,16}[0-9]{0,2}){2,}"
    r"|(?=[^.]{1,40}(?:\.[^.]{1,40})+\Z)[a-z]+(?:[A-Z]+[a-z]+)*[A-Z]*[0-9]{0,2}"
    r"(?:\.[a-z]+(?:[A-Z]+[a-z]+)*[A-Z]*[0-9]{0,2})+"
)

# Members that contain the error in responses of Microform and Flex, of payments, and of gateways.
_WRAPPERS: Final = ("responseStatus", "errorInformation", "error")
# Members that locate the error: a path of names, a JSONPath or the name of a field.
_LOCATIONS: Final = ("location", "field", "name")
# Members that occur only in the entries of a list of errors. If a response has one of them, it is a single entry
# without the list.
_DETAIL_MARKS: Final = ("location", "field", "code")


def api_exception(
    operation: OperationInfo, response: Response, *, message: str | None = None, data: Any = None
) -> errors.ApiException:
    """Create the exception for a response. The status selects the class, and the body gives the details.

    Args:
        operation: the operation that was called.
        response: the response.
        message: why a successful response cannot be parsed; None for an error response. If the body is in one of the
            error formats, the exception's message also contains the message of the body.
        data: the body, parsed into the model that the specification defines for the status. None if that failed.
    """
    status = response.status
    correlation_id = response.headers.get("v-c-correlation-id")
    reason, from_service, details, from_body = _parse_error_body(response.body)
    message = ": ".join(part for part in (message, from_service) if part)
    correlation_id = correlation_id or from_body
    accepted = 200 <= status < 300
    error_class = errors.ResponseDecodingError if accepted else errors.error_class(status)
    error = error_class(
        method=operation.method,
        path=operation.path,
        status=status,
        reason=reason or _sanitize(response.reason),
        message=message or None,
        details=details,
        correlation_id=_sanitize(correlation_id) or None,
        headers=response.headers,
        body=response.body,
        data=data,
        retry_safe=operation.retry_safe,
        attempts=response.attempts,
    )
    error.response = response.info(from_body)
    if isinstance(error, errors.AuthenticationError) and response.facts is not None:
        from .diagnosis import LIKELY, diagnose, facts_from_response

        searched = " ".join((reason, message or "", *map(repr, details)))[:_MAX_SEARCHED]
        facts = {**response.facts, **facts_from_response(response.body, searched)}
        causes = diagnose(facts)
        error._explain(facts, causes, likely=causes[0].score >= LIKELY)
    return error


def describe_body(response: Response) -> str:
    """Describe the body of a successful response in the wrong format, for a message, such as ``HTML (text/html)``."""
    start = response.body[:_MAX_SEARCHED].lstrip(b"\xef\xbb\xbf \t\r\n")
    is_json = False
    with suppress(ValueError, RecursionError):
        is_json = isinstance(json.loads(response.body), (dict, list))
    if is_json:
        described = "JSON"
    elif not start:
        described = "empty"
    elif start[:1] == b"<":
        described = "XML" if start[:5].lower() == b"<?xml" and b"html" not in start.lower() else "HTML"
    else:
        described = "plain text or binary data"
    media_type = _sanitize(response.headers.get("Content-Type")).partition(";")[0].strip()
    described += f" ({media_type})" if media_type else " (without a Content-Type)"
    if not is_json:
        described += "; a proxy, firewall or login page between this machine and the host may have sent it"
    return described


def is_error_body(body: Any) -> bool:
    """Whether JSON is in one of the error formats of CyberSource's services and gateways, for any status."""
    if not isinstance(body, Mapping):
        return False
    gateway = body.get("response")
    if isinstance(gateway, Mapping):
        return body.keys() == {"response"} and "rmsg" in gateway
    if any(isinstance(body.get(name), Mapping) for name in _WRAPPERS):
        return True
    listed = body.get("errors")
    if isinstance(listed, list) and listed and body.keys() <= {"errors", "correlationId", "status"}:
        return True
    return all(isinstance(body.get(name), str) for name in ("reason", "message"))


class _Parsed(NamedTuple):
    """The values in an error body. They are empty if the format of the body is unknown."""

    reason: str = ""
    message: str = ""
    details: tuple[errors.ErrorDetail, ...] = ()
    correlation_id: str = ""


def _parse_error_body(body: bytes) -> _Parsed:
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return _Parsed()
    if isinstance(parsed, list):
        # A list without an object around it.
        parsed = {"errors": parsed}
    return _parse_object(parsed, depth=0) if isinstance(parsed, Mapping) else _Parsed()


def _parse_object(body: Mapping[str, Any], depth: int) -> _Parsed:
    gateway = body.get("response")
    if isinstance(gateway, Mapping):
        gateway_message = gateway.get("rmsg")
        inner = _parse_nested(gateway_message) if depth == 0 else None
        if inner is not None:
            return _parse_object(inner, depth=1)
        return _Parsed(message=_sanitize(gateway_message))
    outer = body
    for name in _WRAPPERS:
        inner = body.get(name)
        if isinstance(inner, Mapping):
            body = inner
            break
    details = _parse_details(body.get("details")) or _parse_details(body.get("errors"))
    if not details and any(_sanitize(body.get(name)) for name in _DETAIL_MARKS):
        # A single error without a list around it.
        details = _parse_details({**body, "details": None})
    first = details[0] if details else errors.ErrorDetail("", "")
    # A number is not used as the reason, because the reason phrase of HTTP says more.
    code = "" if first.code.isdigit() else first.code
    return _Parsed(
        reason=_first(body, "reason", "error") or first.reason or code,
        message=_first(body, "message", "error_description") or first.message,
        details=tuple(details),
        correlation_id=_first(body, "correlationId") or _first(outer, "correlationId"),
    )


def _parse_nested(message: Any) -> Mapping[str, Any] | None:
    """Parse a gateway's message that is JSON in a string. None if it is an ordinary message."""
    if not isinstance(message, str) or not message.lstrip().startswith("{"):
        return None
    try:
        parsed = json.loads(message)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, Mapping) else None


def _parse_details(value: Any) -> list[errors.ErrorDetail]:
    # The value is an array in the specification's schema, but a single object in the specification's examples.
    entries = value if isinstance(value, list) else [value]
    details = []
    for entry in entries[:_MAX_DETAILS]:
        if not isinstance(entry, Mapping):
            continue
        location, message = _first(entry, *_LOCATIONS), _first(entry, "message")
        code, reason = _first(entry, "code"), _first(entry, "reason", "type")
        # The token management service lists the invalid fields inside the error.
        nested = entry.get("details")
        fields = (
            [field for field in nested[:_MAX_DETAILS] if isinstance(field, Mapping)] if isinstance(nested, list) else []
        )
        for field in fields or [{}]:
            detail = errors.ErrorDetail(
                _first(field, *_LOCATIONS) or location,
                _first(field, "message") or message or _first(field, "reason") or reason,
                code=_first(field, "code") or code,
                reason=_first(field, "reason", "type") or reason,
            )
            if detail.location or detail.message or detail.code:
                details.append(detail)
    return details[:_MAX_DETAILS]


def _first(body: Mapping[str, Any], *names: str) -> str:
    """Return the sanitized value of the first member in ``names`` that has a string or number. Empty if none has."""
    return next((value for name in names if (value := _sanitize(body.get(name)))), "")


def _sanitize(value: Any) -> str:
    """Reduce a value to one short printable line without secrets, so that a host cannot forge log lines."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return ""
    string = str(value)
    if len(string) > _MAX_SEARCHED:
        # Long strings are cut, because searching them is slow. If the cut splits a token or card number, the beginning
        # of the token or number is removed too.
        string = _CUT_END.sub("", string[:_MAX_SEARCHED])
    line = " ".join("".join(char if char.isprintable() else " " for char in string).split())
    line = _SECRET.sub(_remove_secret, line)
    return line if len(line) <= _MAX_LENGTH else line[: _MAX_LENGTH - 1] + "…"


def _remove_secret(match: re.Match[str]) -> str:
    return match[0] if match["uuid"] or _NAME.fullmatch(match[0]) else "<removed>"
