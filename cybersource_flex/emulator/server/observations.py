"""Name the observation of the real host that a response imitates.

The names are those in `probe/assumptions.json` and `docs/assumptions.md`. Most responses imitate no observation: they
follow the documentation, or are inferred.
"""

from __future__ import annotations

from .error_responses import ApiError, ErrorFormat, Reason
from .request_context import RequestContext

AUTHENTICATION_FAILED = ("rmsg-json",)

_SECURITY_CODE = "captureData.securityCode"
_PAYMENT_TYPES = "Possible allowed payment types"
_LOOPBACK_ORIGIN = 'Invalid origin: "http://127.0.0.1'


def observations_of_success(context: RequestContext) -> tuple[str, ...]:
    """The observations that the response to a successful request imitates."""
    if context.request.path == "/flex/v2/tokens":
        return ("tokens-keyid",) if context.request.media_type == "application/json" else ("tokens-201",)
    # The only remark of this operation is about the version of the client.
    if context.request.path == "/microform/v2/sessions" and context.remarks:
        return ("version-2.0",)
    return ()


def observations_of_error(context: RequestContext, error: ApiError, error_format: ErrorFormat) -> tuple[str, ...]:
    """The observations that an error response imitates."""
    names: list[str] = []
    if context.request.path == "/flex/v2/tokens":
        if any(detail.location == _SECURITY_CODE for detail in error.details):
            names.append("security-code-location")
        if any(detail.reason == Reason.QUOTA for detail in error.details):
            names.append("quota-exceeded")
    elif context.request.path == "/microform/v2/sessions":
        if error.message.startswith(_PAYMENT_TYPES):
            names.append("payment-types-message")
        if any(detail.message.startswith(_LOOPBACK_ORIGIN) for detail in error.details):
            names.append("localhost-only")
        if error_format is ErrorFormat.ERRORS:
            names.append("errors-list")
    return tuple(names)
