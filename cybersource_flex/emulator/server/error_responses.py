"""Error responses of the real host, and the exception that becomes one of them.

Sources: the published specification for the two session operations, observation for the gateway's 401. The values of
`reason` for `/flex/v2/tokens` and for invalid session requests are **unpublished**: those below are the names that the
browser library shows for the same errors. Code under test should not depend on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

from .messages import Response, json_response


class ErrorFormat(Enum):
    """The documented error bodies; each operation uses one of them."""

    SESSIONS = "sessions"
    RESPONSE_STATUS = "responseStatus"


class Reason:
    """The values of `reason` in error bodies."""

    # /flex/v2/sessions: from the specification's list, which is open.
    FIELDS = "UNIFIEDPAYMENTS_VALIDATION_FIELDS"
    PARAMETERS = "UNIFIEDPAYMENTS_VALIDATION_PARAMS"
    # /microform/v2/sessions
    INVALID_REQUEST = "VALIDATION_ERROR"
    # /flex/v2/tokens
    JSON = "API_JSON_PARSER_ERROR"
    JWE = "API_JWE_PARSING_ERROR"
    DECRYPTION = "CREATE_TOKEN_DECRYPTION"
    CONTEXT_NOT_FOUND = "CREATE_TOKEN_CAPTURE_CONTEXT_NOT_FOUND"
    CONTEXT_INVALID = "CAPTURE_CONTEXT_INVALID"
    CONTEXT_EXPIRED = "CAPTURE_CONTEXT_EXPIRED"
    CONTEXT_USED = "CREATE_TOKEN_CAPTURE_CONTEXT_USED_TOO_MANY_TIMES"
    NO_DATA = "CREATE_TOKEN_NO_DATA_SUBMITTED"
    VALIDATION = "CREATE_TOKEN_VALIDATION_SERVERSIDE"
    CARD_NOT_ALLOWED = "CREATE_TOKEN_CARD_TYPE_NOT_ALLOWED"
    # An encrypted request that cannot be decrypted: unpublished, this value is the emulator's.
    MLE = "INVALID_ENCRYPTED_REQUEST"
    # All operations
    NOT_FOUND = "NOT_FOUND"
    METHOD = "METHOD_NOT_ALLOWED"
    NOT_ACCEPTABLE = "NOT_ACCEPTABLE"
    MEDIA_TYPE = "UNSUPPORTED_MEDIA_TYPE"
    TOO_LARGE = "REQUEST_TOO_LARGE"
    INTERNAL = "API_INTERNAL_ERROR"
    # Scenarios; payments report a used token with the first one.
    INVALID_DATA = "INVALID_DATA"
    FORBIDDEN = "FORBIDDEN"
    TOO_MANY = "TOO_MANY_REQUESTS"
    UNAVAILABLE = "SERVICE_UNAVAILABLE"
    SCENARIO = "EMULATOR_SCENARIO"


@dataclass(frozen=True)
class ErrorDetail:
    """One entry of `details`: a field and what is wrong with it. Never contains a value from the request."""

    location: str
    message: str


class ApiError(Exception):
    """The request gets an error response with this status, reason and message."""

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        details: Sequence[ErrorDetail] = (),
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.details = tuple(details)
        self.headers = headers

    @property
    def rejection_reason(self) -> str:
        """Message and details on one line, for the recorded request."""
        listed = "; ".join(f"{detail.location}: {detail.message}" for detail in self.details)
        return f"{self.message} ({listed})" if listed else self.message

    def response(
        self, error_format: ErrorFormat, *, correlation_id: str, method: str, href: str, from_flex: bool = True
    ) -> Response:
        """The error response in one of the documented formats; `href` is the URL of the request."""
        details = [{"location": detail.location, "message": detail.message} for detail in self.details]
        body: dict[str, object]
        if error_format is ErrorFormat.SESSIONS:
            # The schema says array of details, its examples show one object; this follows the schema.
            body = {
                "correlationId": correlation_id,
                "details": details,
                "informationLink": None,
                "message": self.message,
                "reason": self.reason,
            }
        else:
            body = {
                "responseStatus": {
                    "status": self.status,
                    "reason": self.reason,
                    "message": self.message,
                    "correlationId": correlation_id,
                    "details": details,
                },
                "_links": {"next": [], "documentation": [], "self": {"href": href, "method": method}},
            }
        response = json_response(self.status, body, rejection_reason=self.rejection_reason, from_flex=from_flex)
        return replace(response, headers=self.headers)


def authentication_failed(rejection_reason: str) -> Response:
    """The gateway's 401. The body is always the same; the reason is only recorded."""
    body = {"response": {"rmsg": "Authentication Failed"}}
    return json_response(401, body, rejection_reason=rejection_reason, from_flex=False)
