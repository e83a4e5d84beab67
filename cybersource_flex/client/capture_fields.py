"""A short way to name the fields to capture, and to give the data for them by the same names."""

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
    """A group of fields with a short name: where it lies in the request, and the model that knows its fields."""

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


# Bank account data, as it begins in both published shapes.
_BANK: Final = ("CHECK.", "paymentInformation.bank.")


@sealed
def fields(
    *,
    card: Iterable[str] = (),
    amount_details: Iterable[str] = (),
    bill_to: Iterable[str] = (),
    ship_to: Iterable[str] = (),
) -> CaptureFields:
    """The fields to capture, by name: ``fields(card=["number", "expirationMonth", "securityCode?"])``.

    A name is the wire's (``expirationMonth``) or its Python form (``expiration_month``). A question mark at its end
    makes the field optional; without one it is required. The full models say the same at more length, and more.

    Args:
        card: fields of ``paymentInformation.card``.
        amount_details: fields of ``orderInformation.amountDetails``.
        bill_to: fields of ``orderInformation.billTo``.
        ship_to: fields of ``orderInformation.shipTo``.

    Raises:
        ConfigurationError: no field at all, or one that does not exist or is named twice.
    """
    given = {"card": card, "amount_details": amount_details, "bill_to": bill_to, "ship_to": ship_to}
    groups = {name: _group(name, names) for name, names in given.items()}
    if not any(groups.values()):
        raise ConfigurationError("fields() names no field; expected something like fields(card=['number'])")
    order = {name: groups[name] for name in ("amount_details", "bill_to", "ship_to") if groups[name]}
    return CaptureFields(
        payment_information=PaymentInformationFields(card=groups["card"]) if groups["card"] else None,
        order_information=OrderInformationFields(**order) if order else None,
    )


def _group(name: str, entries: Iterable[str]) -> Any:
    """The model of one group, None where no field is named."""
    if isinstance(entries, str):
        raise ConfigurationError(f"{name} must be a list of names, not one text")
    entries = tuple(entries)
    if not entries:
        return None
    model = _FIELD_GROUPS[name].model
    known = _names(name)
    out: dict[str, CaptureField] = {}
    for entry in entries:
        if not isinstance(entry, str):
            raise ConfigurationError(f"{name} must be a list of names; one entry is of type {type(entry).__name__}")
        given = entry.removesuffix("?")
        python_name = known.get(given, given)
        if python_name not in model._fields:
            close = difflib.get_close_matches(given, known, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(known)}"
            # A value may have been given instead of a name.
            known_form = repr(given) if shown(given) else "of the name that was given"
            raise ConfigurationError(f"{name} has no field {known_form}; {hint}")
        if python_name in out:
            raise ConfigurationError(f"{name} names the field {given!r} twice")
        out[python_name] = CaptureField(required=not entry.endswith("?"))
    return model(**out)


@cache
def _names(name: str) -> dict[str, str]:
    """Python names of the fields of a group, by the wire's."""
    return {field.wire: python_name for python_name, field in _FIELD_GROUPS[name].model._fields.items()}


def fields_for_data(data: Mapping[str, Any] | Card) -> CaptureFields:
    """The fields that data has, each of them required: what a context for just this data asks for.

    Raises:
        InvalidDataError: there is none, or one that the API does not have, or ``to_wire_data`` would refuse the data.
    """
    given: dict[str, list[str]] = {name: [] for name in _FIELD_GROUPS}
    paths = {group.path: name for name, group in _FIELD_GROUPS.items()}
    for path in flatten(to_wire_data(data)):
        if path.startswith(_BANK):
            raise InvalidDataError(
                "the Flex API captures no bank account data; give a context of Microform, from "
                "create_microform_context(..., allowed_payment_types=['CHECK'])"
            )
        parent, _, leaf = path.rpartition(".")
        name = paths.get(parent)
        if name is None or leaf not in {field.wire for field in _FIELD_GROUPS[name].model._fields.values()}:
            raise InvalidDataError(
                f"the API has no field for {shown(path) or UNNAMED}; if it has, ask for it with fields"
            )
        given[name].append(leaf)
    if not any(given.values()):
        raise InvalidDataError("the data has no field")
    return fields(**given)


def to_wire_data(data: Mapping[str, Any] | Card, context: CaptureContext | None = None) -> dict[str, Any]:
    """Data with its short groups (``card``, ``billTo`` or ``bill_to``) put where the wire has them; the rest unchanged.
    A ``Card`` becomes those of its fields that the context asks for, all without one.

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
            asked = None if context is None or context.is_microform else context
            value = value.to_data(None if asked is None else asked.required_fields + asked.optional_fields)
        if not isinstance(value, Mapping):
            raise InvalidDataError(f"{name} must be a mapping of its fields", field=group.path)
        for leaf, text in value.items():
            field = group.model._fields.get(leaf)
            path = f"{group.path}.{leaf if field is None else field.wire}"
            if path in out:
                raise InvalidDataError(f"{path} is given twice", field=path)
            out[path] = text
    return out
