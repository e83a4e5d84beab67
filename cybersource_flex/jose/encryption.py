"""Encrypt captured data with the one-time key of a capture context.

Sources: RFC 7516; CyberSource Digital Accept guide, Flex API, "Tokens API".

The data is checked before it is encrypted: each field must be in the context, and no required field may be missing. The
module ``microform`` checks the data for Microform contexts.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .._runtime.tracebacks import clear_locals_on_error
from ..errors import InvalidArgumentTypeError, InvalidDataError
from .capture_context import CaptureContext
from .field_data import HIDDEN_NAME, displayable_name, flatten, join_names, unflatten
from .microform import microform_data
from .verified import check_not_expired, check_options

if TYPE_CHECKING:
    from ..transport import HostTime

__all__ = ["encrypt", "flatten"]

_TO_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@clear_locals_on_error
def encrypt(context: CaptureContext, data: Mapping[str, Any], *, host_time: HostTime | None = None) -> str:
    """Encrypt data to the JWE that is posted to ``/flex/v2/tokens``, with ``RSA-OAEP`` and ``A256GCM``.

    Args:
        context: the verified capture context.
        data: strings by field name. The names can be nested, ``{"paymentInformation": {"card": {"number": ...}}}``, or
            dotted, ``{"paymentInformation.card.number": ...}``. Empty strings and None are ignored.
        host_time: the difference between the host's clock and this machine's: ``client.clock.host_time()``. None if
            unknown. A context that has expired by either clock is rejected.

    Returns:
        The compact JWE.

    Raises:
        ExpiredTokenError: the context has expired since it was verified.
        InvalidDataError: a required field is missing, a field is not in the context, a Microform context does not allow
            the payment type, or a value is not a string. The message names the field, never the value.
        ConfigurationError, InvalidArgumentTypeError: ``context`` or ``host_time`` is wrong.
    """
    check_options(now=None, leeway=0.0, host_time=host_time)
    if not isinstance(context, CaptureContext):
        raise InvalidArgumentTypeError(
            f"context must be a verified CaptureContext, not {type(context).__name__}", argument="context"
        )
    check_not_expired(
        context.claims["exp"],
        "capture context",
        now=time.time(),
        allowed=0.0,
        host_time=host_time,
        advice="; request a new one",
    )
    values = flatten(data)
    if context.is_microform:
        payload = microform_data(context, values)
    else:
        _check_fields(context, values)
        payload = unflatten(values)
    plaintext = {"data": payload, "context": context.jwt, "index": 0}
    return context.key.encrypt(_TO_JSON(plaintext).encode("utf-8"))


def _check_fields(context: CaptureContext, values: Mapping[str, str]) -> None:
    required, optional = context.required_fields, context.optional_fields
    allowed = {*required, *optional}
    if unexpected := values.keys() - allowed:
        path = displayable_name(min(unexpected))
        raise InvalidDataError(
            f"{path or HIDDEN_NAME} is not a field of the capture context, which lists {join_names(allowed)}",
            field=path,
        )
    if missing := set(required) - values.keys():
        path = min(missing)
        raise InvalidDataError(f"{path} is required by the capture context, but missing", field=path)
