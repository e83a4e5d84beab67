"""Card or bank account data for a capture context of Microform: which of them it allows, and their shape on the wire.

(CyberSource Digital Accept guide, Microform Integration v2, "Server-Side Setup" and "eCheck".)

A Microform context lists no fields. Its ``allowedPaymentTypes`` says what it is for: ``CARD``, ``CHECK`` or both. The
service's own browser library captures one of them for each token.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from ..errors import InvalidDataError
from .capture_context import CaptureContext
from .field_data import UNNAMED, nested, shown

__all__ = ["microform_data"]


class _Kind(NamedTuple):
    """Data of one payment type.

    Attributes:
        what: words for messages.
        prefix: where its fields are in the nested shape.
        fields: the fields below.
        required: those without which there is no token.
    """

    what: str
    prefix: str
    fields: tuple[str, ...]
    required: tuple[str, ...]


_KINDS: Final = {
    "CARD": _Kind(
        "card data",
        "paymentInformation.card.",
        ("number", "securityCode", "expirationMonth", "expirationYear", "type"),
        ("number",),
    ),
    "CHECK": _Kind(
        "bank account data",
        "paymentInformation.bank.",
        ("routingNumber", "account.number", "account.numberConfirm", "account.type"),
        ("routingNumber", "account.number"),
    ),
}

# Contexts before Microform 2.1 do not name payment types, and are for cards.
_DEFAULT: Final = ("CARD",)
# Payment types are shown in messages if they look like names.
_TYPE_NAME: Final = re.compile(r"[A-Z][A-Z_]{0,31}")


def microform_data(context: CaptureContext, values: Mapping[str, str]) -> dict[str, Any]:
    """The member ``data`` of the plaintext.

    Args:
        context: the verified capture context.
        values: strings by dotted path. All published shapes are accepted: below ``paymentInformation.card`` and
            ``paymentInformation.bank``, below ``CARD`` and ``CHECK``, and bare names.

    Raises:
        InvalidDataError: the context does not allow this payment type, there are two of them, a required field is
            missing, or a field does not exist.
    """
    types = _payment_types(context)
    takes = f"the capture context takes {_described(types)} (allowedPaymentTypes)"
    found: dict[str, dict[str, str]] = {}
    for path, value in values.items():
        name, leaf = _kind_of(path)
        if name is None:
            field = shown(path)
            raise InvalidDataError(f"{field or UNNAMED} is not a field that Microform captures; {takes}", field=field)
        kind = _KINDS[name]
        field = f"{kind.prefix}{leaf}" if leaf in kind.fields else kind.prefix.rstrip(".")
        if name not in types:
            raise InvalidDataError(f"{field} is {kind.what}, and {takes}", field=field)
        if leaf not in kind.fields:
            raise InvalidDataError(f"{field} has only the fields {', '.join(kind.fields)}", field=field)
        if leaf in found.setdefault(name, {}):
            raise InvalidDataError(f"{field} is given twice", field=field)
        found[name][leaf] = value
    if len(found) > 1:
        raise InvalidDataError("card data and bank account data are given together; a token is for one of them")
    for name in found or [known for known in types if known in _KINDS][:1]:
        kind = _KINDS[name]
        for leaf in kind.required:
            if leaf not in found.get(name, {}):
                field = kind.prefix + leaf
                raise InvalidDataError(f"{field} is required and missing; {takes}", field=field)
    if not found:
        raise InvalidDataError(f"the data has no field; {takes}")
    # Cards by bare names, which every version knows. Bank accounts have one shape, and it names the payment type.
    return dict(found["CARD"]) if "CARD" in found else {"CHECK": nested(found["CHECK"])}


def _payment_types(context: CaptureContext) -> tuple[str, ...]:
    # A list of something else than strings is read as empty: then nothing is sent.
    return _DEFAULT if context.data.get("allowedPaymentTypes") is None else context.allowed_payment_types


def _kind_of(path: str) -> tuple[str | None, str]:
    """The payment type of a field, and its name below; None for one that belongs to no payment type."""
    for name, kind in _KINDS.items():
        for prefix in (kind.prefix, f"{name}."):
            if path.startswith(prefix):
                return name, path.removeprefix(prefix)
        if path in kind.fields:
            return name, path
    return None, path


def _described(types: tuple[str, ...]) -> str:
    return " or ".join(filter(_TYPE_NAME.fullmatch, types)) or "no payment type that is known here"
