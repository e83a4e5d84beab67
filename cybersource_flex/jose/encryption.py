"""Encrypts captured data to the one-time key of a capture context.

(RFC 7516; CyberSource Digital Accept guide, Flex API, "Tokens API".)

First the data is compared with the context. A field that the context does not ask for, or a required one that is
missing, is refused before anything is encrypted. What a Microform context takes is decided in ``microform``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .._sealed import sealed
from ..errors import InvalidDataError
from .capture_context import CaptureContext
from .field_data import UNNAMED, flatten, listed, nested, shown
from .microform import microform_data
from .verified import check_not_expired

if TYPE_CHECKING:
    from ..transport import HostTime

__all__ = ["encrypt", "flatten"]

_TO_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@sealed
def encrypt(context: CaptureContext, data: Mapping[str, Any], *, host_time: HostTime | None = None) -> str:
    """The JWE to post to ``/flex/v2/tokens``: ``RSA-OAEP``, ``A256GCM``, to the key in the context.

    Args:
        context: the verified capture context.
        data: texts by field, nested as in ``{"paymentInformation": {"card": {"number": ...}}}`` or by dotted names. An
            empty text is a field not given.
        host_time: the host's clock compared with this machine's: ``client.clock.host_time()``. A context that has
            expired by either clock is refused.

    Returns:
        The compact JWE.

    Raises:
        ExpiredTokenError: the context has expired since it was verified.
        InvalidDataError: a required field is missing, a field is not in the context, its payment type is not one that
            a Microform context allows, or a value is not a text. Names the field, never the value.
    """
    if not isinstance(context, CaptureContext):
        raise TypeError(f"context must be a CaptureContext, which verification makes, not {type(context).__name__}")
    check_not_expired(
        context.claims["exp"],
        "capture context",
        now=time.time(),
        allowed=0.0,
        host_time=host_time,
        advice="; ask for a new one",
    )
    values = flatten(data)
    if context.is_microform:
        shaped = microform_data(context, values)
    else:
        _check(context, values)
        shaped = nested(values)
    plaintext = {"data": shaped, "context": context.jwt, "index": 0}
    return context.key.encrypt(_TO_JSON(plaintext).encode("utf-8"))


def _check(context: CaptureContext, values: Mapping[str, str]) -> None:
    required, optional = context.required_fields, context.optional_fields
    allowed = {*required, *optional}
    if unasked := values.keys() - allowed:
        path = shown(min(unasked))
        raise InvalidDataError(
            f"{path or UNNAMED} is not a field that the capture context asks for; it asks for {listed(allowed)}",
            field=path,
        )
    if missing := set(required) - values.keys():
        path = min(missing)
        raise InvalidDataError(f"{path} is required by the capture context and missing", field=path)
