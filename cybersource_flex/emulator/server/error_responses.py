"""Error responses of the real host, and `ApiError`, the exception that becomes an error response.

The bodies of the two session operations and of payments follow the published specification. The gateway's 401 was
observed. The values of `reason` for `/flex/v2/tokens` and for invalid session requests are **unpublished**. The
emulator uses the names that the browser library shows for the same errors. Code under test should not depend on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum

from .messages import Response, json_response


class ErrorFormat(Enum):
    """The formats of error bodies. Each operation uses one of them. `ERRORS` was reported, but is not documented."""

    SESSIONS = "sessions"
    RESPONSE_STATUS = "responseStatus"
    PAYMENTS = "payments"
    ERRORS = "errors"


class Reason:
    """The values of `reason` in error bodies."""

    # Sessions. For Flex, from the specification, whose list of values is open. For Microform, as reported.
    FIELDS = "UNIFIEDPAYMENTS_VALIDATION_FIELDS"
    PARAMETERS = "UNIFIEDPAYMENTS_VALIDATION_PARAMS"
    # The `code` of each entry in a list of errors
    CODE = "VALIDATION_ERROR"
    # /flex/v2/tokens
    JSON = "API_JSON_PARSER_ERROR"
    JWE = "API_JWE_PARSING_ERROR"
    DECRYPTION = "CREATE_TOKEN_DECRYPTION"
    CONTEXT_NOT_FOUND = "CREATE_TOKEN_CAPTURE_CONTEXT_NOT_FOUND"
    CONTEXT_INVALID = "CAPTURE_CONTEXT_INVALID"
    CONTEXT_EXPIRED = "CAPTURE_CONTEXT_EXPIRED"
    QUOTA = "RESOURCE_QUOTA_EXCEEDED"
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
    # HTTP that cannot be parsed: unpublished, this value is the emulator's.
    MALFORMED = "MALFORMED_REQUEST"
    # Payments
    MISSING_FIELD = "MISSING_FIELD"
    INVALID_DATA = "INVALID_DATA"
    SYSTEM_ERROR = "SYSTEM_ERROR"
    # Scenarios
    FORBIDDEN = "FORBIDDEN"
    TOO_MANY = "TOO_MANY_REQUESTS"
    UNAVAILABLE = "SERVICE_UNAVAILABLE"
    SCENARIO = "EMULATOR_SCENARIO"


@dataclass(frozen=True)
class ErrorDetail:
    """One entry of `details`: a field and what is wrong with it. Never contains card data from the request."""

    location: str
    message: str
    reason: str | None = None

    def to_json(self) -> dict[str, str]:
        reason = {} if self.reason is None else {"reason": self.reason}
        return {"location": self.location, "message": self.message, **reason}


class ApiError(Exception):
    """Raised to return an error response with this status, reason and message."""

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
        self,
        error_format: ErrorFormat,
        *,
        correlation_id: str,
        method: str = "",
        href: str = "",
        now: float = 0.0,
        from_flex: bool = True,
    ) -> Response:
        """The error response in one of the documented formats.

        Args:
            method, href: method and URL of the request; empty if they are unknown.
            now: seconds since the epoch.
        """
        details = [detail.to_json() for detail in self.details]
        body: dict[str, object]
        if error_format is ErrorFormat.SESSIONS:
            # In the schema, details is an array; in its examples, it is one object. This follows the schema.
            body = {
                "correlationId": correlation_id,
                "details": details,
                "informationLink": None,
                "message": self.message,
                "reason": self.reason,
            }
        elif error_format is ErrorFormat.PAYMENTS:
            failed = self.status >= 500
            body = {
                "submitTimeUtc": submit_time(now),
                "status": "SERVER_ERROR" if failed else "INVALID_REQUEST",
                "reason": Reason.SYSTEM_ERROR if failed else self.reason,
                "message": self.message,
                "details": [
                    {"field": detail.location, "reason": detail.reason or self.reason} for detail in self.details
                ],
            }
        elif error_format is ErrorFormat.ERRORS:
            listed = self.details or (ErrorDetail("", self.message),)
            body = {
                "errors": [
                    {
                        "code": Reason.CODE,
                        "location": f"$.{detail.location}".rstrip("."),
                        "message": detail.message,
                        "reason": detail.reason or self.reason,
                    }
                    for detail in listed
                ]
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


def submit_time(now: float) -> str:
    """The member `submitTimeUtc` of payments and their errors."""
    return datetime.fromtimestamp(max(0.0, now), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def authentication_failed(rejection_reason: str) -> Response:
    """The gateway's 401. The body is always the same; the reason is only recorded."""
    body = {"response": {"rmsg": "Authentication Failed"}}
    return json_response(401, body, rejection_reason=rejection_reason, from_flex=False)
