"""The error bodies of the real host, and the exception that becomes one of them.

Sources: the published specification for the two session operations, observation for the gateway's 401. The
values of `reason` for `/flex/v2/tokens` and for wrong session requests are **unpublished**: those below are
names which the browser library shows for the same situations. Nobody should branch on them because the
emulator sent them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from .exchange import Answer, json_answer


class Shape(Enum):
    """Which of the documented error bodies an operation uses."""

    SESSIONS = "sessions"
    RESPONSE_STATUS = "responseStatus"


class Reason:
    """Reasons used here, one place to change them."""

    # /flex/v2/sessions: from the specification's list, which it leaves open.
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
    # An encrypted request that cannot be opened: nothing is published, this is our own.
    MLE = "INVALID_ENCRYPTED_REQUEST"
    # everywhere
    NOT_FOUND = "NOT_FOUND"
    METHOD = "METHOD_NOT_ALLOWED"
    NOT_ACCEPTABLE = "NOT_ACCEPTABLE"
    MEDIA_TYPE = "UNSUPPORTED_MEDIA_TYPE"
    TOO_LARGE = "REQUEST_TOO_LARGE"
    INTERNAL = "API_INTERNAL_ERROR"
    # Scenarios; the first is what payments say of a used token.
    INVALID_DATA = "INVALID_DATA"
    FORBIDDEN = "FORBIDDEN"
    TOO_MANY = "TOO_MANY_REQUESTS"
    UNAVAILABLE = "SERVICE_UNAVAILABLE"
    SCENARIO = "EMULATOR_SCENARIO"


@dataclass(frozen=True)
class Detail:
    """One entry of `details`: which field, and what is wrong with it. Never a value that was sent."""

    location: str
    message: str


class Problem(Exception):
    """A request that is answered with an error."""

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        details: Sequence[Detail] = (),
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.details = tuple(details)
        self.headers = headers

    @property
    def refusal(self) -> str:
        """All of it in a line, for the record."""
        listed = "; ".join(f"{detail.location}: {detail.message}" for detail in self.details)
        return f"{self.message} ({listed})" if listed else self.message

    def answer(self, shape: Shape, *, correlation_id: str, method: str, href: str, flex: bool = True) -> Answer:
        """The answer in one of the documented shapes; `href` is the address that was asked for."""
        details = [{"location": detail.location, "message": detail.message} for detail in self.details]
        body: dict[str, object]
        if shape is Shape.SESSIONS:
            # The schema says array of details, its examples show one object: this is the schema's form.
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
        answer = json_answer(self.status, body, refusal=self.refusal, flex=flex)
        return Answer(answer.status, answer.media_type, answer.body, self.headers, answer.refusal, flex)


def authentication_failed(refusal: str) -> Answer:
    """The gateway's 401: the same body whatever the cause. The cause goes into the record."""
    return json_answer(401, {"response": {"rmsg": "Authentication Failed"}}, refusal=refusal, flex=False)
