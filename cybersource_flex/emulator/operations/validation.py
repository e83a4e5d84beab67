"""Checks of the values that arrive for a capture context. No message repeats a value."""

from __future__ import annotations

import re
import time
from typing import Any

from ..server.error_responses import ApiError, ErrorDetail, Reason
from . import cards
from .store import IssuedContext, Settings

CARD_PREFIX = "paymentInformation.card."
BANK_PREFIX = "paymentInformation.bank."

CARD: frozenset[str] = frozenset(
    CARD_PREFIX + leaf for leaf in ("number", "securityCode", "expirationMonth", "expirationYear", "type")
)
# Microform eCheck only; named as in the token's content.
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

# shipTo.email and shipTo.phoneNumber stand in the specification's full example only; they are accepted.
_API: frozenset[str] = (
    CARD
    | {"orderInformation.amountDetails.totalAmount", "orderInformation.amountDetails.currency"}
    | {f"orderInformation.{party}.{leaf}" for party in ("billTo", "shipTo") for leaf in _ADDRESS}
)

# Values that the transient token shows; everything else is captured and withheld, but for the number's masked
# form.
SHOWN: frozenset[str] = frozenset(CARD_PREFIX + leaf for leaf in ("expirationMonth", "expirationYear", "type"))


class DuplicateFieldError(ValueError):
    """A field has two values."""


def leaf_paths(extra: frozenset[str]) -> frozenset[str]:
    """All fields that a session may name; `extra` comes from the emulator's user."""
    return _API | extra if extra else _API


def flatten(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested objects and dotted names, also mixed, as dotted names. DuplicateFieldError when a name occurs twice."""
    flat: dict[str, Any] = {}
    for name, value in data.items():
        path = prefix + name
        items = flatten(value, path + ".") if isinstance(value, dict) else {path: value}
        if flat.keys() & items.keys():
            raise DuplicateFieldError("a field is given twice")
        flat.update(items)
    return flat


def canonical(path: str, *, microform: bool) -> str:
    """The dotted path of a field as a client names it.

    Contexts of the Flex API use the paths themselves. Microform's own script sends bare names (0.11) or puts
    them below CARD or CHECK (2.x); the paths are accepted there too.
    """
    if not microform:
        return path
    if path.startswith("CARD."):
        return CARD_PREFIX + path.removeprefix("CARD.")
    if path.startswith("CHECK."):
        return BANK_PREFIX + path.removeprefix("CHECK.")
    return path if "." in path else CARD_PREFIX + path


def location(path: str) -> str:
    """Where an error is: observed for card fields; `captureData.<dotted path>` for others is ours."""
    return "captureData." + path.removeprefix(CARD_PREFIX)


def nest(flat: dict[str, object]) -> dict[str, object]:
    """Dotted names as nested objects."""
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


def validate_captured_data(capture_context: IssuedContext, data: dict[str, Any], settings: Settings) -> dict[str, str]:
    """The values by dotted path, or a `Problem` that lists all that is wrong. Empty texts are not given."""
    flat: dict[str, Any] = {}
    try:
        for name, value in flatten(data).items():
            path = canonical(name, microform=capture_context.microform)
            if path in flat:
                raise DuplicateFieldError("a field is given twice")
            flat[path] = value
    except (DuplicateFieldError, RecursionError):
        raise _invalid([ErrorDetail("captureData", "A field is given twice or nested too deeply")]) from None
    wrong: list[ErrorDetail] = []
    values: dict[str, str] = {}
    for path, value in flat.items():
        if path not in capture_context.required and path not in capture_context.optional:
            wrong.append(ErrorDetail(location(path)[:200], _unlisted(capture_context, path)))
        elif not isinstance(value, str):
            wrong.append(ErrorDetail(location(path), "Must be a string"))
        elif value:
            values[path] = value
    if not values and not wrong:
        raise ApiError(400, Reason.NO_DATA, "At least one non-empty field must be supplied for tokenization")
    given = set(values) | {path for path, value in flat.items() if not isinstance(value, str)}
    wrong += [
        ErrorDetail(location(path), "Required field is missing") for path in sorted(capture_context.required - given)
    ]
    # What the host does with both is unpublished. Its own script captures one payment type for each token.
    if capture_context.microform and given & CARD and given & CHECK:
        wrong.append(ErrorDetail("captureData", "Give the data of one payment type, CARD or CHECK"))
    wrong += _card(values, settings)
    wrong += _bank(values)
    if wrong:
        raise _invalid(wrong)
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


def _card(values: dict[str, str], settings: Settings) -> list[ErrorDetail]:
    wrong: list[ErrorDetail] = []

    def expect(condition: bool, path: str, message: str) -> bool:
        if not condition:
            wrong.append(ErrorDetail(location(path), message))
        return condition

    number, code = values.get(_NUMBER), values.get(_CODE)
    kind: str | None = values.get(_TYPE)
    brands: tuple[cards.Brand, ...] = ()
    if kind is not None and not expect(kind in cards.TYPE_CODES, _TYPE, "Unknown card type"):
        kind = None
    if number is not None and expect(cards.is_number(number), _NUMBER, "Invalid card number format"):
        brands = cards.detect(number)
        expect(not settings.check_luhn or cards.luhn(number), _NUMBER, "Invalid card number")
        if kind is not None:
            expect(cards.type_agrees(kind, brands), _TYPE, "The card type does not fit the card number")
    if code is not None:
        lengths = cards.security_code_lengths(kind, brands)
        digits = re.fullmatch(r"[0-9]+", code) is not None and len(code) in lengths
        expect(digits, _CODE, "Invalid security code format")
    wrong += _expiry(values, settings)
    return wrong


def _expiry(values: dict[str, str], settings: Settings) -> list[ErrorDetail]:
    month, year = values.get(_MONTH), values.get(_YEAR)
    wrong: list[ErrorDetail] = []
    if month is not None and not re.fullmatch(r"0[1-9]|1[0-2]", month):
        wrong.append(ErrorDetail(location(_MONTH), "Invalid expiration month format"))
        month = None
    if year is not None and not re.fullmatch(r"[0-9]{4}", year):
        wrong.append(ErrorDetail(location(_YEAR), "Invalid expiration year format"))
        year = None
    if year is None or not settings.check_expiry:
        return wrong
    # A card is good to the end of its month; the emulator lives in UTC.
    today = time.gmtime(settings.clock())
    if int(year) < today.tm_year:
        wrong.append(ErrorDetail(location(_YEAR), "The card has expired"))
    elif month is not None and (int(year), int(month)) < (today.tm_year, today.tm_mon):
        wrong.append(ErrorDetail(location(_MONTH), "The card has expired"))
    return wrong


def _bank(values: dict[str, str]) -> list[ErrorDetail]:
    """eCheck: nothing about these checks is published; they are what a bank account in the US looks like."""
    rules = {
        BANK_PREFIX + "routingNumber": (r"[0-9]{9}", "Invalid routing number format"),
        _ACCOUNT + "number": (r"[0-9]{4,17}", "Invalid account number format"),
        _ACCOUNT + "type": (r"[CSX]", "Unknown account type"),
    }
    wrong = [
        ErrorDetail(location(path), message)
        for path, (pattern, message) in rules.items()
        if path in values and not re.fullmatch(pattern, values[path])
    ]
    confirmed = values.get(_ACCOUNT + "numberConfirm")
    if confirmed is not None and confirmed != values.get(_ACCOUNT + "number"):
        wrong.append(ErrorDetail(location(_ACCOUNT + "numberConfirm"), "The account numbers differ"))
    return wrong
