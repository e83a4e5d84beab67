"""What ``doctor`` finds out by asking the host: one request without credentials, and one that is signed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from ..api.flex_api_api import FlexAPIApi
from ..client import fields
from ..errors import (
    ApiException,
    ExpiredTokenError,
    FlexError,
    PermissionDeniedError,
    ServerError,
    TokenError,
    TokenNotYetValidError,
    TransportError,
)
from .finding import Finding

if TYPE_CHECKING:
    from ..client import FlexClient
__all__ = ["examine"]

# Seconds. The service's tolerance is unpublished; a request's JWT lives for 120, and more than a minute is a known
# cause of refusals.
_CLOSE: Final = 5
_FAR: Final = 60

# What a clock that is off means for tokens. Those in a response of the host are accepted by a clock that is behind.
_BEHIND: Final = "tokens from browsers are refused as not yet valid where it is behind by more than the leeway"
_AHEAD: Final = "capture contexts and tokens expire so much earlier here"

# An id that no key has: the answer does not matter, only that there is one.
_NO_KEY: Final = "00"

_WHY_REFUSED: Final = {
    "jwt_shared_secret": (
        "a key of the other environment, test or production; a secret that belongs to another key id or merchant; "
        "a key that has expired or was deactivated in the Business Center; with a meta key a missing portfolio id"
    ),
    "jwt_p12": (
        "a file of the other environment, test or production; a certificate that was deactivated in the Business "
        "Center; a merchant id that is not the certificate's; with a meta key a missing portfolio id"
    ),
    "http_signature": (
        "a key of the other environment, test or production; a secret that belongs to another key id or merchant; "
        "a key that has expired or was deactivated in the Business Center; with a meta key a missing portfolio id; "
        "or the end of HTTP Signature: try jwt_shared_secret"
    ),
    "bearer": "a token that has expired or was revoked, or one of the other environment, test or production",
}


def examine(unsigned: FlexClient, client: FlexClient | None, scheme: str, *, send_token: bool) -> Iterator[Finding]:
    """Whether the host answers, what its clock says, and whether it accepts a signed request.

    Args:
        unsigned: a client without credentials.
        client: the client with them, or None where it could not be made.
        scheme: name of the scheme.
        send_token: whether an access token may be sent.
    """
    before = time.time()
    try:
        headers: Mapping[str, str] = FlexAPIApi(unsigned.api_client).get_public_key_with_http_info(_NO_KEY).headers
        status = 200
    except ApiException as answer:
        headers, status = answer.headers, answer.status
    except TransportError as cause:
        yield Finding(
            "reachable",
            "problem",
            str(cause),
            "is the host right? Does a firewall want a proxy (CYBERSOURCE_PROXY), or something that replaces "
            "certificates an authority of its own (CYBERSOURCE_CA_FILE)?",
            {"error": type(cause).__name__},
        )
        return
    after = time.time()
    facts = {"status": status, "milliseconds": round((after - before) * 1000)}
    text = f"the host answers, {facts['milliseconds']} ms"
    if status in (404, 200):
        yield Finding("reachable", "ok", text, facts=facts)
    else:
        hint = "it was asked for a public key that does not exist, which gives 404; is it the right host?"
        yield Finding("reachable", "warning", f"{text}, but with {status}", hint, facts)
    yield _clock(headers.get("Date"), (before + after) / 2)
    if client is None:
        return
    if scheme == "bearer" and not send_token:
        yield Finding(
            "signed_request",
            "ok",
            "not tried: an access token is a secret as it stands, and nothing secret is sent",
            "--send-token sends it to the host above",
            {"tried": False},
        )
        return
    yield _signed(client, scheme)


def _clock(text: str | None, now: float) -> Finding:
    try:
        # The header is cut to the second.
        offset = round(now - parsedate_to_datetime(text or "").timestamp() - 0.5)
    except (ValueError, OverflowError):
        return Finding("clock", "warning", "the host does not say what time it is", facts={"offset_seconds": None})
    facts = {"offset_seconds": offset}
    if abs(offset) <= _CLOSE:
        return Finding("clock", "ok", "this machine's clock agrees with the host's", facts=facts)
    where = f"{abs(offset)} s {'ahead of' if offset > 0 else 'behind'}"
    return Finding(
        "clock",
        "problem" if abs(offset) > _FAR else "warning",
        f"this machine's clock is {where} the host's",
        f"set it by NTP: {_AHEAD if offset > 0 else _BEHIND}; and requests carry its time, with which they can be "
        "rejected",
        facts,
    )


def _signed(client: FlexClient, scheme: str) -> Finding:
    """A capture context for one field.

    It holds no data, ends by itself after 15 minutes, costs nothing and can be asked for as often as one likes; and
    only 201 with a JWT that verifies means success. Asking for details of a payment that does not exist would be
    smaller, but the 404 that it gives could come from anything on the way as well.
    """
    try:
        context = client.create_capture_context(fields(card=["number"]))
    except ApiException as cause:
        facts = {
            "tried": True,
            "accepted": False,
            "status": cause.status,
            "reason": cause.reason,
            "correlation_id": cause.correlation_id,
        }
        return Finding("signed_request", "problem", str(cause), _hint(cause, scheme), facts)
    except TokenError as cause:
        text = f"accepted, but the capture context that came back is not to be trusted: {cause}"
        clock = isinstance(cause, (ExpiredTokenError, TokenNotYetValidError))
        hint = "is the clock right?" if clock else "does something on the way answer in the host's name?"
        return Finding("signed_request", "problem", text, hint, {"tried": True, "accepted": True})
    except FlexError as cause:
        return Finding("signed_request", "problem", str(cause), facts={"tried": True, "accepted": None})
    # A clock that is behind sees more time left than there is.
    left = min(context.expires_in(), context.expires_at - context.issued_at)
    text = f"accepted; the capture context verifies and is valid for {max(0, int(left.total_seconds()))} s"
    return Finding("signed_request", "ok", text, facts={"tried": True, "accepted": True, "status": 201})


def _hint(cause: ApiException, scheme: str) -> str:
    told = cause.headers.get("v-c-emulator-refusal")
    if told:
        return f"the emulator says why: {told}"
    if cause.status == 401:
        return f"usual causes: {_WHY_REFUSED.get(scheme, 'the credentials')}; or the clock"
    if isinstance(cause, PermissionDeniedError):
        return "the signature is good, but this merchant or key may not use Flex; ask CyberSource to enable it"
    if isinstance(cause, ServerError):
        return "the service, or a gateway before it, failed; try again, and give CyberSource the correlation id"
    return "is it the right host?"
