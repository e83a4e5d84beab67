"""Whether a request is signed by whom it says. Each scheme has its own module.

A refusal always has the same body on the wire. Its cause is a short text for the developer, kept in the
record.
"""

from __future__ import annotations

from . import http_signature, jwt_bearer
from .authority import Authority, Refused
from .exchange import Received
from .merchants import Merchant

# Sent twice, two readers could each believe another one of them.
_ONCE = ("authorization", "signature", "v-c-merchant-id", "digest", "date", "host")


def authenticate(authority: Authority, request: Received) -> Merchant:
    """The transacting merchant, or `Refused`."""
    for name in _ONCE:
        if request.count(name) > 1:
            raise Refused(f"header {name} was sent twice")
    bearer, signature = "authorization" in request.headers, "signature" in request.headers
    if bearer and signature:
        raise Refused("both Authorization and Signature were sent")
    if bearer:
        return jwt_bearer.check(authority, request)
    if signature:
        return http_signature.check(authority, request)
    raise Refused("no credential was sent: neither Authorization nor Signature")
