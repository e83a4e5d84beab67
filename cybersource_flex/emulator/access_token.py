"""OAuth: an opaque access token in `Authorization: Bearer`. It names the merchant and covers nothing else."""

from __future__ import annotations

from .authority import Authority, Caller, Refused
from .exchange import Received


def check(authority: Authority, request: Received, token: str) -> Caller:
    """The caller, or `Refused`; `token` is one that the directory knows."""
    merchant = authority.directory.token_holder(token)
    if merchant is None:
        raise Refused("the access token was revoked")
    if request.headers.get("v-c-merchant-id", merchant.merchant_id) != merchant.merchant_id:
        raise Refused("header v-c-merchant-id names another merchant than the access token")
    return Caller(merchant, "access-token")
