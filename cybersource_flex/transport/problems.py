"""Map an error response to a typed exception. Never raises for malformed bodies.

The body formats of the platform's services and gateways are parsed. The exception for any other body keeps its status,
headers and bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from .. import errors

if TYPE_CHECKING:
    from .message import Response
    from .operation import Operation

__all__ = ["problem"]

# Messages of the service end up in exceptions and logs: long enough to help, too short to flood them.
_TEXT_LIMIT = 300
_READ_LIMIT: Final = 2000
_MAX_DETAILS: Final = 50
_CUT_END: Final = re.compile(r"[0-9A-Za-z+/_=.-]*[0-9 -]*\Z")

# Secrets of the request that a service could repeat: digits of a card number, tokens, and ids of tokens. Request ids
# and key ids are shorter.
# A UUID is kept, and matched first: support asks for it, and it can have as many consecutive digits as a card number.
_SECRET: Final = re.compile(
    r"(?P<uuid>(?<![A-Za-z0-9-])[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(?![A-Za-z0-9-]))"
    r"|[0-9](?:[ -]?[0-9]){11,18}(?![0-9])"
    r"|(?<![A-Za-z0-9+/_=-])[A-Za-z0-9+/_=-]{20,}(?:\.[A-Za-z0-9+/_=-]+){2,4}"
    r"|[A-Za-z0-9_=-]{40,}"
)


def problem(
    operation: Operation, response: Response, *, message: str | None = None, data: Any = None
) -> errors.ApiException:
    """Create the exception for a response: its class from the status, its details from the body if the format is known.

    Args:
        operation: the operation that was called.
        response: the response.
        message: set if the response is a success that cannot be parsed; the body is then not examined.
        data: the body, parsed as the model that the specification defines for the status.
    """
    status = response.status
    correlation_id = response.headers.get("v-c-correlation-id")
    reason = ""
    details: list[errors.ErrorDetail] = []
    if message is None:
        reason, message, details, from_body = _read(response.body)
        correlation_id = correlation_id or from_body
    accepted = 200 <= status < 300
    kind = errors.ResponseDecodingError if accepted else errors.error_class(status)
    error = kind(
        method=operation.method,
        path=operation.path,
        status=status,
        reason=reason or _clean(response.reason),
        message=message or None,
        details=tuple(details),
        correlation_id=_clean(correlation_id) or None,
        headers=response.headers,
        body=response.body,
        data=data,
        repeatable=operation.repeatable,
        attempts=response.attempts,
    )
    if isinstance(error, errors.AuthenticationError) and response.facts is not None:
        from .diagnosis import LIKELY, diagnose, of_answer

        wording = " ".join((reason, message or "", *map(repr, details)))[:_READ_LIMIT]
        facts = {**response.facts, **of_answer(response.body, wording)}
        causes = diagnose(facts)
        error._explain(facts, causes, likely=causes[0].score >= LIKELY)
    return error


def _read(body: bytes) -> tuple[str, str, list[errors.ErrorDetail], str | None]:
    """Parse reason, message, details and correlation id from a body of a known format; empty values otherwise."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return "", "", [], None
    if not isinstance(parsed, Mapping):
        return "", "", [], None
    return _from_object(parsed, depth=0)


def _from_object(found: Mapping[str, Any], depth: int) -> tuple[str, str, list[errors.ErrorDetail], str | None]:
    gateway = found.get("response")
    if isinstance(gateway, Mapping):
        gateway_message = gateway.get("rmsg")
        inner = _nested(gateway_message) if depth == 0 else None
        if inner is not None:
            return _from_object(inner, depth=1)
        return "", _clean(gateway_message), [], None
    inner = found.get("responseStatus")
    if isinstance(inner, Mapping):
        found = inner
    listed = found.get("errors")
    if isinstance(listed, list):
        entries = [entry for entry in listed[:_MAX_DETAILS] if isinstance(entry, Mapping)]
        if entries:
            details = [errors.ErrorDetail(_clean(e.get("type")), _clean(e.get("message"))) for e in entries]
            return _clean(entries[0].get("type")), _clean(entries[0].get("message")), details, None
    return (
        _clean(found.get("reason")) or _clean(found.get("error")),
        _clean(found.get("message")) or _clean(found.get("error_description")),
        _details(found.get("details")),
        _clean(found.get("correlationId")) or None,
    )


def _nested(text: Any) -> Mapping[str, Any] | None:
    """Parse JSON inside the gateway's message: it sometimes sends an object there, encoded as a string."""
    if not isinstance(text, str) or not text.lstrip().startswith("{"):
        return None
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, Mapping) else None


def _details(given: Any) -> list[errors.ErrorDetail]:
    # The specification's schema says array, its examples show one object.
    entries = given if isinstance(given, list) else [given]
    details = []
    for entry in entries[:_MAX_DETAILS]:
        if not isinstance(entry, Mapping):
            continue
        location = _clean(entry.get("location")) or _clean(entry.get("field"))
        message = _clean(entry.get("message")) or _clean(entry.get("reason"))
        if location or message:
            details.append(errors.ErrorDetail(location, message))
    return details


def _clean(text: Any) -> str:
    """Reduce a value to one short printable line, so that a host cannot forge log lines."""
    if isinstance(text, bool) or not isinstance(text, (str, int, float)):
        return ""
    value = str(text)
    if len(value) > _READ_LIMIT:
        # Searching takes time. What is cut off may be the rest of a token or a card number, so its beginning goes too.
        value = _CUT_END.sub("", value[:_READ_LIMIT])
    line = " ".join("".join(char if char.isprintable() else " " for char in value).split())
    line = _SECRET.sub(lambda match: match["uuid"] or "<removed>", line)
    return line if len(line) <= _TEXT_LIMIT else line[: _TEXT_LIMIT - 1] + "…"
