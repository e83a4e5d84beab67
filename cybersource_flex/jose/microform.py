"""Check card or bank account data against a capture context of Microform, and convert the data to JSON.

Source: CyberSource Digital Accept guide, Microform Integration v2, "Server-Side Setup" and "eCheck".

A Microform context lists payment types instead of fields: ``allowedPaymentTypes`` contains ``CARD``, ``CHECK`` or both.
A token contains the data of one payment type.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from ..errors import InvalidDataError
from .capture_context import CaptureContext
from .field_data import HIDDEN_NAME, displayable_name, unflatten

__all__ = ["microform_data"]


class _PaymentType(NamedTuple):
    """The fields of one payment type.

    Attributes:
        description: the name of this type's data in error messages.
        prefix: dotted path before the names of the fields.
        fields: names of the fields.
        required: the required fields.
    """

    description: str
    prefix: str
    fields: tuple[str, ...]
    required: tuple[str, ...]


_PAYMENT_TYPES: Final = {
    "CARD": _PaymentType(
        "card data",
        "paymentInformation.card.",
        ("number", "securityCode", "expirationMonth", "expirationYear", "type"),
        ("number",),
    ),
    "CHECK": _PaymentType(
        "bank account data",
        "paymentInformation.bank.",
        ("routingNumber", "account.number", "account.numberConfirm", "account.type"),
        ("routingNumber", "account.number"),
    ),
}

# A context of a Microform version before 2.1 has no `allowedPaymentTypes`, and is for cards.
_DEFAULT: Final = ("CARD",)
# A message shows a payment type only if it matches this pattern, because the context may contain any string.
_TYPE_NAME: Final = re.compile(r"[A-Z][A-Z_]{0,31}")


def microform_data(context: CaptureContext, values: Mapping[str, str]) -> dict[str, Any]:
    """Check the captured data, and return it as the member ``data`` of the plaintext to encrypt.

    Args:
        context: the verified capture context.
        values: the captured strings by field name. All published forms of a field name are accepted:
            ``paymentInformation.card.number``, ``CARD.number`` and ``number``.

    Raises:
        InvalidDataError: the context does not allow the payment type, there are two payment types, a required field is
            missing, or a field does not exist.
    """
    types = _payment_types(context)
    allowed = f"the capture context allows {_join_types(types)} (allowedPaymentTypes)"
    values_by_type: dict[str, dict[str, str]] = {}
    for path, value in values.items():
        name, leaf = _split_path(path)
        if name is None:
            field = displayable_name(path)
            raise InvalidDataError(f"{field or HIDDEN_NAME} is not a field of Microform; {allowed}", field=field)
        payment_type = _PAYMENT_TYPES[name]
        field = f"{payment_type.prefix}{leaf}" if leaf in payment_type.fields else payment_type.prefix.rstrip(".")
        if name not in types:
            raise InvalidDataError(f"{field} is {payment_type.description}, and {allowed}", field=field)
        if leaf not in payment_type.fields:
            raise InvalidDataError(f"{field} has only the fields {', '.join(payment_type.fields)}", field=field)
        if leaf in values_by_type.setdefault(name, {}):
            raise InvalidDataError(f"{field} occurs twice", field=field)
        values_by_type[name][leaf] = value
    if len(values_by_type) > 1:
        raise InvalidDataError("the data contains a card and a bank account; expected only one of the two")
    for name in values_by_type or [type_name for type_name in types if type_name in _PAYMENT_TYPES][:1]:
        payment_type = _PAYMENT_TYPES[name]
        for leaf in payment_type.required:
            if leaf not in values_by_type.get(name, {}):
                field = payment_type.prefix + leaf
                raise InvalidDataError(f"{field} is required, but missing; {allowed}", field=field)
    if not values_by_type:
        raise InvalidDataError(f"the data has no fields; {allowed}")
    # Every Microform version accepts card fields without a prefix. Bank account fields must be nested in "CHECK".
    return dict(values_by_type["CARD"]) if "CARD" in values_by_type else {"CHECK": unflatten(values_by_type["CHECK"])}


def _payment_types(context: CaptureContext) -> tuple[str, ...]:
    # If `allowedPaymentTypes` is present but invalid, no payment type is allowed, so that no data is sent.
    return _DEFAULT if context.data.get("allowedPaymentTypes") is None else context.allowed_payment_types


def _split_path(path: str) -> tuple[str | None, str]:
    """Split a dotted path into payment type and field name. The payment type is None if no type has the field."""
    for name, payment_type in _PAYMENT_TYPES.items():
        for prefix in (payment_type.prefix, f"{name}."):
            if path.startswith(prefix):
                return name, path.removeprefix(prefix)
        if path in payment_type.fields:
            return name, path
    return None, path


def _join_types(types: tuple[str, ...]) -> str:
    return " or ".join(filter(_TYPE_NAME.fullmatch, types)) or "no known payment type"
