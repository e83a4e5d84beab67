"""From an answer that is not a success to one typed exception. Never fails, whatever the body is.

The shapes that the platform's services and gateways use are known; everything else keeps its status, headers and bytes.
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

# Texts of the service end up in messages and logs: long enough to help, too short to flood.
_TEXT_LIMIT = 300
_READ_LIMIT: Final = 2000
_MAX_DETAILS: Final = 50
_CUT_END: Final = re.compile(r"[0-9A-Za-z+/_=.-]*[0-9 -]*\Z")

# What a service could repeat of what it was sent: digits of a card number, tokens, and ids of tokens. Ids of requests
# and of keys are shorter.
# A UUID is kept, and read first: it is what support asks for, and can have as many digits in a row as a card.
_SECRET: Final = re.compile(
    r"(?P<uuid>(?<![A-Za-z0-9-])[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(?![A-Za-z0-9-]))"
    r"|[0-9](?:[ -]?[0-9]){11,18}(?![0-9])"
    r"|(?<![A-Za-z0-9+/_=-])[A-Za-z0-9+/_=-]{20,}(?:\.[A-Za-z0-9+/_=-]+){2,4}"
    r"|[A-Za-z0-9_=-]{40,}"
)


def problem(
    operation: Operation, response: Response, *, message: str | None = None, data: Any = None
) -> errors.ApiException:
    """The exception for an answer: by its status, filled from whichever of the known shapes its body has.

    Args:
        operation: what was called.
        response: the answer.
        message: given where the answer is a success that cannot be read; then the body is not looked into.
        data: the body as the model that the specification names for the status.
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

        text = " ".join((reason, message or "", *map(repr, details)))[:_READ_LIMIT]
        facts = {**response.facts, **of_answer(response.body, text)}
        causes = diagnose(facts)
        error._explain(facts, causes, likely=causes[0].score >= LIKELY)
    return error


def _read(body: bytes) -> tuple[str, str, list[errors.ErrorDetail], str | None]:
    """Reason, message, details and correlation id from a body of any known shape, else empty ones."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return "", "", [], None
    if not isinstance(found, Mapping):
        return "", "", [], None
    return _from_object(found, depth=0)


def _from_object(found: Mapping[str, Any], depth: int) -> tuple[str, str, list[errors.ErrorDetail], str | None]:
    gateway = found.get("response")
    if isinstance(gateway, Mapping):
        text = gateway.get("rmsg")
        inner = _nested(text) if depth == 0 else None
        if inner is not None:
            return _from_object(inner, depth=1)
        return "", _clean(text), [], None
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
    """The gateway sometimes puts JSON text where its message should be."""
    if not isinstance(text, str) or not text.lstrip().startswith("{"):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, Mapping) else None


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
    """One short line of printable text: what a host sends must not be able to forge log lines."""
    if isinstance(text, bool) or not isinstance(text, (str, int, float)):
        return ""
    value = str(text)
    if len(value) > _READ_LIMIT:
        # Searching takes time. What is cut off may be the rest of a token or a card number, so its beginning goes too.
        value = _CUT_END.sub("", value[:_READ_LIMIT])
    line = " ".join("".join(char if char.isprintable() else " " for char in value).split())
    line = _SECRET.sub(lambda found: found["uuid"] or "<removed>", line)
    return line if len(line) <= _TEXT_LIMIT else line[: _TEXT_LIMIT - 1] + "…"
