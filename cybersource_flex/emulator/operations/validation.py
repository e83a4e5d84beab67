"""Validate captured card and bank data. Defines and converts the names of fields.

Error messages never contain a submitted value. Inside the emulator, a field is named by its dotted path below `fields`.
"""

from __future__ import annotations

import re
import time
from typing import Any

from ..server.error_responses import ApiError, ErrorDetail, Reason
from . import cards
from .store import IssuedContext

CARD_PREFIX = "paymentInformation.card."
BANK_PREFIX = "paymentInformation.bank."

CARD: frozenset[str] = frozenset(
    CARD_PREFIX + leaf for leaf in ("number", "securityCode", "expirationMonth", "expirationYear", "type")
)
# Only for Microform with eCheck; the names are those of the token's content.
CHECK: frozenset[str] = frozenset(
    BANK_PREFIX + leaf for leaf in ("routingNumber", "account.number", "account.numberConfirm", "account.type")
)

_ADDRESS = (
    "address1",
    "address2",
    "administrativeArea",
    "buildingNumber",
    "country",
    "district",
    "locality",
    "postalCode",
    "email",
    "firstName",
    "lastName",
    "phoneNumber",
    "company",
)

# shipTo.email and shipTo.phoneNumber are only in the specification's full example; they are accepted.
_API_FIELDS: frozenset[str] = (
    CARD
    | {"orderInformation.amountDetails.totalAmount", "orderInformation.amountDetails.currency"}
    | {f"orderInformation.{party}.{leaf}" for party in ("billTo", "shipTo") for leaf in _ADDRESS}
)

# Fields whose value is visible in the transient token. The token has the number masked and hides all other values.
VISIBLE: frozenset[str] = frozenset(CARD_PREFIX + leaf for leaf in ("expirationMonth", "expirationYear", "type"))


class DuplicateFieldError(ValueError):
    """A field has two values."""


def allowed_fields(extra: frozenset[str]) -> frozenset[str]:
    """All fields that a session may request, including `extra` fields."""
    return _API_FIELDS | extra if extra else _API_FIELDS


def flatten(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Convert nested objects, dotted names or both to dotted names. DuplicateFieldError for a repeated name."""
    flat: dict[str, Any] = {}
    for name, value in data.items():
        path = prefix + name
        items = flatten(value, path + ".") if isinstance(value, dict) else {path: value}
        if flat.keys() & items.keys():
            raise DuplicateFieldError("a field occurs twice")
        flat.update(items)
    return flat


def dotted_path(path: str, *, microform: bool) -> str:
    """Convert the name that a client sends for a field to the field's dotted path.

    Clients of the Flex API send dotted paths. Microform's script sends bare names (version 0.11) or names that begin
    with CARD or CHECK (2.x). From Microform, dotted paths are accepted too.
    """
    if not microform:
        return path
    if path.startswith("CARD."):
        return CARD_PREFIX + path.removeprefix("CARD.")
    if path.startswith("CHECK."):
        return BANK_PREFIX + path.removeprefix("CHECK.")
    return path if "." in path else CARD_PREFIX + path


def location(path: str) -> str:
    """The `location` of an error. The form for card fields was observed; for other fields it is the emulator's own."""
    return "captureData." + path.removeprefix(CARD_PREFIX)


def nest(flat: dict[str, object]) -> dict[str, object]:
    """Convert dotted names to nested objects."""
    tree: dict[str, Any] = {}
    for path, value in flat.items():
        *parents, leaf = path.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = value
    return tree


_NUMBER, _CODE = CARD_PREFIX + "number", CARD_PREFIX + "securityCode"
_MONTH, _YEAR, _TYPE = CARD_PREFIX + "expirationMonth", CARD_PREFIX + "expirationYear", CARD_PREFIX + "type"
_ACCOUNT = BANK_PREFIX + "account."


def validate_captured_data(
    capture_context: IssuedContext, data: dict[str, Any], *, check_luhn: bool, now: float | None
) -> dict[str, str]:
    """Validate and return the values by dotted path. An empty string counts as missing. `ApiError` with all errors.

    Args:
        capture_context: the context for which the data was captured.
        data: the captured data, nested or with dotted names.
        check_luhn: reject card numbers with a wrong check digit.
        now: seconds since the epoch; None accepts expired cards.
    """
    flat: dict[str, Any] = {}
    try:
        for name, value in flatten(data).items():
            path = dotted_path(name, microform=capture_context.microform)
            if path in flat:
                raise DuplicateFieldError("a field occurs twice")
            flat[path] = value
    except (DuplicateFieldError, RecursionError):
        raise _invalid([ErrorDetail("captureData", "A field occurs twice or is nested too deeply")]) from None
    details: list[ErrorDetail] = []
    values: dict[str, str] = {}
    for path, value in flat.items():
        if path not in capture_context.required and path not in capture_context.optional:
            details.append(ErrorDetail(location(path)[:200], _unlisted(capture_context, path)))
        elif not isinstance(value, str):
            details.append(ErrorDetail(location(path), "Must be a string"))
        elif value:
            values[path] = value
    if not values and not details:
        raise ApiError(400, Reason.NO_DATA, "At least one non-empty field must be supplied for tokenization")
    submitted = set(values) | {path for path, value in flat.items() if not isinstance(value, str)}
    details += [
        ErrorDetail(location(path), "Required field is missing")
        for path in sorted(capture_context.required - submitted)
    ]
    # How the host treats a card together with a bank account is unpublished. Its script captures one of them per token.
    if capture_context.microform and submitted & CARD and submitted & CHECK:
        details.append(ErrorDetail("captureData", "Data of two payment types: expected CARD or CHECK"))
    details += _card(values, check_luhn=check_luhn, now=now)
    details += _bank(values)
    if details:
        raise _invalid(details)
    if capture_context.networks is not None and _NUMBER in values:
        brands = cards.detect(values[_NUMBER])
        if not cards.allowed(capture_context.networks, values.get(_TYPE), brands):
            detail = ErrorDetail(location(_TYPE), f"Allowed are {', '.join(capture_context.networks)}")
            raise ApiError(400, Reason.CARD_NOT_ALLOWED, "The card type is not allowed", [detail])
    return values


def _unlisted(capture_context: IssuedContext, path: str) -> str:
    if capture_context.microform and path in CARD | CHECK:
        return f"The capture context does not allow the payment type {'CARD' if path in CARD else 'CHECK'}"
    return "The capture context does not list this field"


def _invalid(details: list[ErrorDetail]) -> ApiError:
    return ApiError(400, Reason.VALIDATION, "One or more validation errors occurred", details)


def _card(values: dict[str, str], *, check_luhn: bool, now: float | None) -> list[ErrorDetail]:
    details: list[ErrorDetail] = []

    def expect(condition: bool, path: str, message: str) -> bool:
        if not condition:
            details.append(ErrorDetail(location(path), message))
        return condition

    number, code = values.get(_NUMBER), values.get(_CODE)
    type_code: str | None = values.get(_TYPE)
    brands: tuple[cards.Brand, ...] = ()
    if type_code is not None and not expect(type_code in cards.TYPE_CODES, _TYPE, "Unknown card type"):
        type_code = None
    if number is not None and expect(cards.is_number(number), _NUMBER, "Invalid card number format"):
        brands = cards.detect(number)
        expect(not check_luhn or cards.luhn(number), _NUMBER, "Invalid card number")
        if type_code is not None:
            expect(cards.type_agrees(type_code, brands), _TYPE, "The card type does not match the card number")
    if code is not None:
        lengths = cards.security_code_lengths(type_code, brands)
        digits = re.fullmatch(r"[0-9]+", code) is not None and len(code) in lengths
        expect(digits, _CODE, "Invalid security code format")
    details += _expiry(values, now)
    return details


def _expiry(values: dict[str, str], now: float | None) -> list[ErrorDetail]:
    month, year = values.get(_MONTH), values.get(_YEAR)
    details: list[ErrorDetail] = []
    if month is not None and not re.fullmatch(r"0[1-9]|1[0-2]", month):
        details.append(ErrorDetail(location(_MONTH), "Invalid expiration month format"))
        month = None
    if year is not None and not re.fullmatch(r"[0-9]{4}", year):
        details.append(ErrorDetail(location(_YEAR), "Invalid expiration year format"))
        year = None
    if year is None or now is None:
        return details
    # A card is valid until the end of its month, here in UTC.
    today = time.gmtime(now)
    if int(year) < today.tm_year:
        details.append(ErrorDetail(location(_YEAR), "The card has expired"))
    elif month is not None and (int(year), int(month)) < (today.tm_year, today.tm_mon):
        details.append(ErrorDetail(location(_MONTH), "The card has expired"))
    return details


def _bank(values: dict[str, str]) -> list[ErrorDetail]:
    """Check eCheck data. The real checks are unpublished; these are the forms of US bank accounts."""
    rules = {
        BANK_PREFIX + "routingNumber": (r"[0-9]{9}", "Invalid routing number format"),
        _ACCOUNT + "number": (r"[0-9]{4,17}", "Invalid account number format"),
        _ACCOUNT + "type": (r"[CSX]", "Unknown account type"),
    }
    details = [
        ErrorDetail(location(path), message)
        for path, (pattern, message) in rules.items()
        if path in values and not re.fullmatch(pattern, values[path])
    ]
    confirmed = values.get(_ACCOUNT + "numberConfirm")
    if confirmed is not None and confirmed != values.get(_ACCOUNT + "number"):
        details.append(ErrorDetail(location(_ACCOUNT + "numberConfirm"), "The account numbers differ"))
    return details
