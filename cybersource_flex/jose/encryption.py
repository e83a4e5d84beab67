"""Encrypts captured data to the one-time key of a capture context.

(RFC 7516; CyberSource Digital Accept guide, Flex API, "Tokens API".)

Before that it is held against the context: a field that the context did not ask for, or a required one that is missing,
is refused here, where the message can name it, and never leaves the process.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .._sealed import sealed
from ..errors import InvalidDataError
from .capture_context import CaptureContext
from .verified import check_not_expired

if TYPE_CHECKING:
    from ..transport import HostTime

__all__ = ["encrypt", "flatten"]

_TO_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

# Levels of a field's name. The deepest has three.
_MAX_DEPTH = 16

# What a Microform context lets a server send: the service knows these by bare names there.
_CARD = "paymentInformation.card."
_MICROFORM_FIELDS = {
    f"{_CARD}{name}" for name in ("number", "securityCode", "expirationMonth", "expirationYear", "type")
}


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
        InvalidDataError: a required field is missing, a field is not in the context, or a value is not a text. Names
            the field, never the value.
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
    _check(context, values)
    plaintext = {"data": _shaped(context, values), "context": context.jwt, "index": 0}
    return context.key.encrypt(_TO_JSON(plaintext).encode("utf-8"))


def flatten(data: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """The texts in a tree by their dotted paths, empty ones left out.

    Raises:
        InvalidDataError: a leaf is not a text, a name is not one, or a field is given twice.
    """
    if not isinstance(data, (dict, Mapping)):
        raise InvalidDataError(f"the data must be a mapping, not {type(data).__name__}")
    if prefix.count(".") > _MAX_DEPTH:
        raise InvalidDataError("the data is nested deeper than any field")
    out: dict[str, str] = {}
    for name, value in data.items():
        if not isinstance(name, str) or not name:
            raise InvalidDataError("a field's name must be a text", field=prefix.rstrip(".") or None)
        path = f"{prefix}{name}"
        if isinstance(value, str):
            if not (value.isascii() or _is_unicode(value)):
                raise InvalidDataError(f"{path} has half of a surrogate pair in it", field=path)
            found = {path: value} if value else {}
        elif isinstance(value, (dict, Mapping)):
            found = flatten(value, f"{path}.")
        elif value is None:
            found = {}
        else:
            raise InvalidDataError(
                f"{path} must be a text, not {type(value).__name__} (leading zeros count)", field=path
            )
        if twice := found.keys() & out.keys():
            path = min(twice)
            raise InvalidDataError(f"{path} is given twice", field=path)
        out.update(found)
    return out


def _is_unicode(text: str) -> bool:
    # Before the text is part of anything: the error of encoding holds all that was to be encoded.
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _check(context: CaptureContext, values: Mapping[str, str]) -> None:
    required: set[str] = set(context.required_fields)
    allowed = required.union(context.optional_fields)
    if context.is_microform:
        required, allowed = {f"{_CARD}number"}, _MICROFORM_FIELDS
    if unasked := values.keys() - allowed:
        path = min(unasked)
        raise InvalidDataError(f"{path} is not a field that the capture context asks for", field=path)
    if missing := required - values.keys():
        path = min(missing)
        raise InvalidDataError(f"{path} is required by the capture context and missing", field=path)


def _shaped(context: CaptureContext, values: Mapping[str, str]) -> dict[str, Any]:
    if context.is_microform:
        return {path.removeprefix(_CARD): value for path, value in values.items()}
    tree: dict[str, Any] = {}
    for path, value in values.items():
        *groups, leaf = path.split(".")
        node = tree
        for group in groups:
            node = node.setdefault(group, {})
        node[leaf] = value
    return tree
