"""Select the fields to capture by short names, and convert data with short names to the names of the API."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from typing import Any, Final, NamedTuple

from .._runtime.tracebacks import clear_locals_on_error
from ..cards import Card
from ..errors import ConfigurationError, InvalidDataError
from ..jose import CaptureContext
from ..jose.field_data import HIDDEN_NAME, displayable_name, flatten
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
    """A group of fields with a short name: where the group is in the request, and the model class of its fields."""

    parent: str
    json_name: str
    model: Any

    @property
    def path(self) -> str:
        return f"{self.parent}.{self.json_name}"


_FIELD_GROUPS: Final = {
    "card": _Group("paymentInformation", "card", CardFields),
    "amount_details": _Group("orderInformation", "amountDetails", AmountDetailsFields),
    "bill_to": _Group("orderInformation", "billTo", BillToFields),
    "ship_to": _Group("orderInformation", "shipTo", ShipToFields),
}


# Prefixes of bank account data, in both published forms.
_BANK_PREFIXES: Final = ("CHECK.", "paymentInformation.bank.")


@clear_locals_on_error
def fields(
    *,
    card: Iterable[str] = (),
    amount_details: Iterable[str] = (),
    bill_to: Iterable[str] = (),
    ship_to: Iterable[str] = (),
) -> CaptureFields:
    """Select the fields to capture by name: ``fields(card=["number", "expirationMonth", "securityCode?"])``.

    A name is the JSON name (``expirationMonth``) or the Python name (``expiration_month``). A field is required, unless
    its name ends with a question mark. For other options, build ``CaptureFields`` from the models.

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
    parts: dict[str, Any] = {}
    if groups["card"] is not None:
        parts["payment_information"] = PaymentInformationFields._create({"card": groups["card"]})
    order = {name: group for name, group in groups.items() if name != "card" and group is not None}
    if order:
        parts["order_information"] = OrderInformationFields._create(order)
    if not parts:
        raise ConfigurationError(
            "fields() was called without a field; expected at least one, for example fields(card=['number'])"
        )
    return CaptureFields._create(parts)


def _group(name: str, entries: Iterable[str]) -> Any:
    """Build the model of one group. Return None if the caller selected no field of the group."""
    if isinstance(entries, str):
        raise ConfigurationError(f"{name} must be a list of names, not one string")
    if not isinstance(entries, Iterable):
        raise ConfigurationError(f"{name} must be a list of names, not {type(entries).__name__}")
    entries = tuple(entries)
    if not entries:
        return None
    for entry in entries:
        if not isinstance(entry, str):
            raise ConfigurationError(f"{name} must be a list of names; one entry is of type {type(entry).__name__}")
    required = _required_by_name(name, entries)
    # The models are new for each call, because the caller may change them.
    capture_fields = {field: CaptureField._create({"required": value}) for field, value in required.items()}
    return _FIELD_GROUPS[name].model._create(capture_fields)


# Most programs capture the same fields in every call.
@lru_cache(maxsize=64)
def _required_by_name(name: str, entries: tuple[str, ...]) -> dict[str, bool]:
    """Whether each selected field of a group is required, by Python name."""
    model = _FIELD_GROUPS[name].model
    python_names = _names(name)
    required: dict[str, bool] = {}
    for entry in entries:
        field_name = entry.removesuffix("?")
        python_name = python_names.get(field_name, field_name)
        if python_name not in model._fields:
            close = difflib.get_close_matches(field_name, python_names, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(python_names)}"
            # The caller may have passed a captured value instead of a name, so only plausible names are shown.
            label = repr(field_name) if displayable_name(field_name) else "of the name that was given"
            raise ConfigurationError(f"{name} has no field {label}; {hint}")
        if python_name in required:
            raise ConfigurationError(f"{name} names the field {field_name!r} twice")
        required[python_name] = not entry.endswith("?")
    return required


@cache
def _names(name: str) -> dict[str, str]:
    """Python names of the fields of a group, by JSON name."""
    return {field.json_name: python_name for python_name, field in _FIELD_GROUPS[name].model._fields.items()}


def fields_for_data(data: Mapping[str, Any] | Card) -> CaptureFields:
    """Return the fields that the data contains, to request a capture context for this data. All fields are required.

    Raises:
        InvalidDataError: the data is empty or malformed, or contains a field that the Flex API does not capture.
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
        if name is None or leaf not in {field.json_name for field in _FIELD_GROUPS[name].model._fields.values()}:
            raise InvalidDataError(
                f"{displayable_name(path) or HIDDEN_NAME} is not a known field of the API; request a context for other "
                "fields with create_capture_context"
            )
        names_by_group[name].append(leaf)
    if not any(names_by_group.values()):
        raise InvalidDataError("the data has no field")
    return fields(**names_by_group)


def to_wire_data(data: Mapping[str, Any] | Card, context: CaptureContext | None = None) -> dict[str, Any]:
    """Convert data with short group names (``card``, ``billTo`` or ``bill_to``) to the dotted field names of the API.

    Data without short group names is not changed. If the data contains a ``Card``, only the card's fields that
    ``context`` requests are used. If ``context`` is None, all fields are used.

    Raises:
        InvalidDataError: the data, or the value of a group, is not a mapping, or a field occurs twice.
    """
    if isinstance(data, Card):
        data = {"card": data}
    if not isinstance(data, Mapping):
        raise InvalidDataError(f"the data must be a mapping or a Card, not {type(data).__name__}")
    by_name = {**_FIELD_GROUPS, **{group.json_name: group for group in _FIELD_GROUPS.values()}}
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
            if not isinstance(leaf, str):
                raise InvalidDataError(
                    f"{name} has a field name of type {type(leaf).__name__}; expected a string", field=group.path
                )
            field = group.model._fields.get(leaf)
            path = f"{group.path}.{leaf if field is None else field.json_name}"
            if path in out:
                raise InvalidDataError(f"{path} is given twice", field=path)
            out[path] = content
    return out
