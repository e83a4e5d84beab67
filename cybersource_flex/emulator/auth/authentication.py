"""Authenticate a request: select the scheme (HTTP Signature, JWT or access token) and run its check.

Every failure has the same response. The reason is a short message for the developer, kept in the recorded request.
"""

from __future__ import annotations

from ..server.messages import ReceivedRequest
from .auth_context import AuthContext, AuthenticationError, Caller
from .http_signature import authenticate_http_signature
from .jwt import authenticate_jwt

# If one of these was sent twice, two parsers could each use a different value.
_SINGLE_HEADERS = ("authorization", "signature", "v-c-merchant-id", "digest", "date", "host")


def authenticate(auth_context: AuthContext, request: ReceivedRequest) -> Caller:
    """Return the caller, or raise `AuthenticationError`. A TLS client certificate alone authenticates no caller."""
    for name in _SINGLE_HEADERS:
        if request.count(name) > 1:
            raise AuthenticationError(f"header {name} was sent twice")
    bearer, signature = "authorization" in request.headers, "signature" in request.headers
    if bearer and signature:
        raise AuthenticationError("both Authorization and Signature were sent")
    if bearer:
        scheme, _, token = request.headers["authorization"].partition(" ")
        if scheme.lower() != "bearer":
            raise AuthenticationError("Authorization must be 'Bearer' and a token")
        if auth_context.credentials.has_token(token):
            return _authenticate_access_token(auth_context, request, token)
        return authenticate_jwt(auth_context, request, token)
    if signature:
        return authenticate_http_signature(auth_context, request)
    raise AuthenticationError("no credential was sent: neither Authorization nor Signature")


def _authenticate_access_token(auth_context: AuthContext, request: ReceivedRequest, token: str) -> Caller:
    """Check an OAuth access token. It identifies the merchant and signs nothing of the request."""
    merchant = auth_context.credentials.token_merchant(token)
    if merchant is None:
        raise AuthenticationError("the access token was revoked")
    if request.headers.get("v-c-merchant-id", merchant.merchant_id) != merchant.merchant_id:
        raise AuthenticationError("header v-c-merchant-id names a different merchant than the access token")
    return Caller(merchant, "access-token")
