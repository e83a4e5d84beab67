"""Short names for the fields to capture, and the conversion of data with the same names to the wire format."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Final, NamedTuple

from .._sealed import sealed
from ..cards import Card
from ..errors import ConfigurationError, InvalidDataError
from ..jose import CaptureContext
from ..jose.field_data import UNNAMED, flatten, shown
from ..models import (
    AmountDetailsFields,
    BillToFields,
    CaptureField,
    CaptureFields,
    CardFields,
    OrderInformationFields,
    PaymentInformationFields,
    ShipToFields,
)

__all__ = ["fields", "fields_for_data", "to_wire_data"]


class _Group(NamedTuple):
    """A group of fields with a short name: its position in the request, and the model of its fields."""

    parent: str
    wire: str
    model: Any

    @property
    def path(self) -> str:
        return f"{self.parent}.{self.wire}"


_FIELD_GROUPS: Final = {
    "card": _Group("paymentInformation", "card", CardFields),
    "amount_details": _Group("orderInformation", "amountDetails", AmountDetailsFields),
    "bill_to": _Group("orderInformation", "billTo", BillToFields),
    "ship_to": _Group("orderInformation", "shipTo", ShipToFields),
}


# Prefixes of bank account data, in both published forms.
_BANK_PREFIXES: Final = ("CHECK.", "paymentInformation.bank.")


@sealed
def fields(
    *,
    card: Iterable[str] = (),
    amount_details: Iterable[str] = (),
    bill_to: Iterable[str] = (),
    ship_to: Iterable[str] = (),
) -> CaptureFields:
    """Select the fields to capture by name: ``fields(card=["number", "expirationMonth", "securityCode?"])``.

    A name is the JSON name (``expirationMonth``) or the Python name (``expiration_month``). A question mark at the end
    makes the field optional; without it, the field is required. The models allow the same and more.

    Args:
        card: fields of ``paymentInformation.card``.
        amount_details: fields of ``orderInformation.amountDetails``.
        bill_to: fields of ``orderInformation.billTo``.
        ship_to: fields of ``orderInformation.shipTo``.

    Raises:
        ConfigurationError: no field is named, or a field does not exist or is named twice.
    """
    names_by_group = {"card": card, "amount_details": amount_details, "bill_to": bill_to, "ship_to": ship_to}
    groups = {name: _group(name, names) for name, names in names_by_group.items()}
    if not any(groups.values()):
        raise ConfigurationError("fields() names no field; expected something like fields(card=['number'])")
    order = {name: groups[name] for name in ("amount_details", "bill_to", "ship_to") if groups[name]}
    return CaptureFields(
        payment_information=PaymentInformationFields(card=groups["card"]) if groups["card"] else None,
        order_information=OrderInformationFields(**order) if order else None,
    )


def _group(name: str, entries: Iterable[str]) -> Any:
    """Build the model of one group, None if no field is named."""
    if isinstance(entries, str):
        raise ConfigurationError(f"{name} must be a list of names, not one string")
    entries = tuple(entries)
    if not entries:
        return None
    model = _FIELD_GROUPS[name].model
    python_names = _names(name)
    out: dict[str, CaptureField] = {}
    for entry in entries:
        if not isinstance(entry, str):
            raise ConfigurationError(f"{name} must be a list of names; one entry is of type {type(entry).__name__}")
        field_name = entry.removesuffix("?")
        python_name = python_names.get(field_name, field_name)
        if python_name not in model._fields:
            close = difflib.get_close_matches(field_name, python_names, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(python_names)}"
            # The caller may have passed a value instead of a name. It is not shown.
            label = repr(field_name) if shown(field_name) else "of the name that was given"
            raise ConfigurationError(f"{name} has no field {label}; {hint}")
        if python_name in out:
            raise ConfigurationError(f"{name} names the field {field_name!r} twice")
        out[python_name] = CaptureField(required=not entry.endswith("?"))
    return model(**out)


@cache
def _names(name: str) -> dict[str, str]:
    """Python names of the fields of a group, by JSON name."""
    return {field.wire: python_name for python_name, field in _FIELD_GROUPS[name].model._fields.items()}


def fields_for_data(data: Mapping[str, Any] | Card) -> CaptureFields:
    """Return the fields that the data contains, all of them required, to request a context for this data.

    Raises:
        InvalidDataError: the data has no field, or one that the API does not have, or is malformed.
    """
    names_by_group: dict[str, list[str]] = {name: [] for name in _FIELD_GROUPS}
    paths = {group.path: name for name, group in _FIELD_GROUPS.items()}
    for path in flatten(to_wire_data(data)):
        if path.startswith(_BANK_PREFIXES):
            raise InvalidDataError(
                "the Flex API captures no bank account data; use a context of Microform, from "
                "create_microform_context(..., allowed_payment_types=['CHECK'])"
            )
        parent, _, leaf = path.rpartition(".")
        name = paths.get(parent)
        if name is None or leaf not in {field.wire for field in _FIELD_GROUPS[name].model._fields.values()}:
            raise InvalidDataError(
                f"the API has no field for {shown(path) or UNNAMED}; if it has one, request it with fields"
            )
        names_by_group[name].append(leaf)
    if not any(names_by_group.values()):
        raise InvalidDataError("the data has no field")
    return fields(**names_by_group)


def to_wire_data(data: Mapping[str, Any] | Card, context: CaptureContext | None = None) -> dict[str, Any]:
    """Convert data with short groups (``card``, ``billTo`` or ``bill_to``) to the paths of the wire format.

    Other data is not changed. Of a ``Card``, only the fields that the context requests are used; without a
    context, all of them.

    Raises:
        InvalidDataError: the data, or a short group, is not a mapping, or a field is given twice.
    """
    if isinstance(data, Card):
        data = {"card": data}
    if not isinstance(data, Mapping):
        raise InvalidDataError(f"the data must be a mapping or a Card, not {type(data).__name__}")
    by_name = {**_FIELD_GROUPS, **{group.wire: group for group in _FIELD_GROUPS.values()}}
    out: dict[str, Any] = {}
    for name, value in data.items():
        group = by_name.get(name)
        if group is None:
            out[name] = value
            continue
        if isinstance(value, Card):
            requested = None
            if context is not None and not context.is_microform:
                requested = context.required_fields + context.optional_fields
            value = value.to_data(requested)
        if not isinstance(value, Mapping):
            raise InvalidDataError(f"{name} must be a mapping of its fields", field=group.path)
        for leaf, content in value.items():
            field = group.model._fields.get(leaf)
            path = f"{group.path}.{leaf if field is None else field.wire}"
            if path in out:
                raise InvalidDataError(f"{path} is given twice", field=path)
            out[path] = content
    return out
