"""Whether a request is signed by whom it says. Each scheme has its own module.

A refusal always has the same body on the wire. Its cause is a short text for the developer, kept in the
record.
"""

from __future__ import annotations

from . import access_token, http_signature, jwt_bearer
from .authority import Authority, Caller, Refused
from .exchange import Received

# Sent twice, two readers could each believe another one of them.
_ONCE = ("authorization", "signature", "v-c-merchant-id", "digest", "date", "host")


def authenticate(authority: Authority, request: Received) -> Caller:
    """The caller, or `Refused`. A client certificate on the connection alone authenticates nobody."""
    for name in _ONCE:
        if request.count(name) > 1:
            raise Refused(f"header {name} was sent twice")
    bearer, signature = "authorization" in request.headers, "signature" in request.headers
    if bearer and signature:
        raise Refused("both Authorization and Signature were sent")
    if bearer:
        scheme, _, token = request.headers["authorization"].partition(" ")
        if scheme.lower() != "bearer":
            raise Refused("Authorization must be 'Bearer' and a token")
        if authority.directory.knows_token(token):
            return access_token.check(authority, request, token)
        return jwt_bearer.check(authority, request, token)
    if signature:
        return http_signature.check(authority, request)
    raise Refused("no credential was sent: neither Authorization nor Signature")
