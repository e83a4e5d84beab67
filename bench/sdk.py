"""This SDK as a contender: build a typed request, sign it, send it and read the response."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from raw_urllib3 import KEY_ID, KEYS, MERCHANT, PASSWORD, SECRET

__all__ = ["auth", "call"]


def auth(scheme: str) -> Any:
    from cybersource_flex.auth import HttpSignature, JwtP12, JwtSharedSecret

    if scheme == "JWT RS256":
        return JwtP12(MERCHANT, KEYS / "merchant.p12", PASSWORD)
    if scheme == "JWT HS256":
        return JwtSharedSecret(MERCHANT, KEY_ID, SECRET)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return HttpSignature(MERCHANT, KEY_ID, SECRET)


def call(scheme: str, url: str, size: int = 10) -> Callable[[], str]:
    from cybersource_flex import ApiClient, Configuration, FlexAPIApi, fields
    from cybersource_flex.models import GenerateFlexAPICaptureContextRequest

    api = FlexAPIApi(ApiClient(Configuration(host=url, auth=auth(scheme), pool_size=size)))

    def once() -> str:
        capture_fields = fields(card=["number", "expirationMonth", "expirationYear", "securityCode"])
        return api.generate_flex_api_capture_context(GenerateFlexAPICaptureContextRequest(fields=capture_fields))

    return once
