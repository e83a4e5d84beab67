"""Checks of the values that arrive for a capture context. No message repeats a value."""

from __future__ import annotations

import re
import time
from typing import Any

from . import cards
from .fields import BANK_PREFIX, CARD, CARD_PREFIX, CHECK, DuplicateFieldError, canonical, flatten, location
from .problems import Detail, Problem, Reason
from .state import Context, Settings

_NUMBER, _CODE = CARD_PREFIX + "number", CARD_PREFIX + "securityCode"
_MONTH, _YEAR, _TYPE = CARD_PREFIX + "expirationMonth", CARD_PREFIX + "expirationYear", CARD_PREFIX + "type"
_ACCOUNT = BANK_PREFIX + "account."


def check(context: Context, data: dict[str, Any], settings: Settings) -> dict[str, str]:
    """The values by dotted path, or a `Problem` that lists all that is wrong. Empty texts are not given."""
    flat: dict[str, Any] = {}
    try:
        for name, value in flatten(data).items():
            path = canonical(name, microform=context.microform)
            if path in flat:
                raise DuplicateFieldError("a field is given twice")
            flat[path] = value
    except (DuplicateFieldError, RecursionError):
        raise _invalid([Detail("captureData", "A field is given twice or nested too deeply")]) from None
    wrong: list[Detail] = []
    values: dict[str, str] = {}
    for path, value in flat.items():
        if path not in context.required and path not in context.optional:
            wrong.append(Detail(location(path)[:200], _unlisted(context, path)))
        elif not isinstance(value, str):
            wrong.append(Detail(location(path), "Must be a string"))
        elif value:
            values[path] = value
    if not values and not wrong:
        raise Problem(400, Reason.NO_DATA, "At least one non-empty field must be supplied for tokenization")
    given = set(values) | {path for path, value in flat.items() if not isinstance(value, str)}
    wrong += [Detail(location(path), "Required field is missing") for path in sorted(context.required - given)]
    # What the host does with both is unpublished. Its own script captures one payment type for each token.
    if context.microform and given & CARD and given & CHECK:
        wrong.append(Detail("captureData", "Give the data of one payment type, CARD or CHECK"))
    wrong += _card(values, settings)
    wrong += _bank(values)
    if wrong:
        raise _invalid(wrong)
    if context.networks is not None and _NUMBER in values:
        brands = cards.detect(values[_NUMBER])
        if not cards.allowed(context.networks, values.get(_TYPE), brands):
            detail = Detail(location(_TYPE), f"Allowed are {', '.join(context.networks)}")
            raise Problem(400, Reason.CARD_NOT_ALLOWED, "The card type is not allowed", [detail])
    return values


def _unlisted(context: Context, path: str) -> str:
    if context.microform and path in CARD | CHECK:
        return f"The capture context does not allow the payment type {'CARD' if path in CARD else 'CHECK'}"
    return "The capture context does not list this field"


def _invalid(details: list[Detail]) -> Problem:
    return Problem(400, Reason.VALIDATION, "One or more validation errors occurred", details)


def _card(values: dict[str, str], settings: Settings) -> list[Detail]:
    wrong: list[Detail] = []

    def expect(condition: bool, path: str, message: str) -> bool:
        if not condition:
            wrong.append(Detail(location(path), message))
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


def _expiry(values: dict[str, str], settings: Settings) -> list[Detail]:
    month, year = values.get(_MONTH), values.get(_YEAR)
    wrong: list[Detail] = []
    if month is not None and not re.fullmatch(r"0[1-9]|1[0-2]", month):
        wrong.append(Detail(location(_MONTH), "Invalid expiration month format"))
        month = None
    if year is not None and not re.fullmatch(r"[0-9]{4}", year):
        wrong.append(Detail(location(_YEAR), "Invalid expiration year format"))
        year = None
    if year is None or not settings.check_expiry:
        return wrong
    # A card is good to the end of its month; the emulator lives in UTC.
    today = time.gmtime(settings.clock())
    if int(year) < today.tm_year:
        wrong.append(Detail(location(_YEAR), "The card has expired"))
    elif month is not None and (int(year), int(month)) < (today.tm_year, today.tm_mon):
        wrong.append(Detail(location(_MONTH), "The card has expired"))
    return wrong


def _bank(values: dict[str, str]) -> list[Detail]:
    """eCheck: nothing about these checks is published; they are what a bank account in the US looks like."""
    rules = {
        BANK_PREFIX + "routingNumber": (r"[0-9]{9}", "Invalid routing number format"),
        _ACCOUNT + "number": (r"[0-9]{4,17}", "Invalid account number format"),
        _ACCOUNT + "type": (r"[CSX]", "Unknown account type"),
    }
    wrong = [
        Detail(location(path), message)
        for path, (pattern, message) in rules.items()
        if path in values and not re.fullmatch(pattern, values[path])
    ]
    confirmed = values.get(_ACCOUNT + "numberConfirm")
    if confirmed is not None and confirmed != values.get(_ACCOUNT + "number"):
        wrong.append(Detail(location(_ACCOUNT + "numberConfirm"), "The account numbers differ"))
    return wrong
