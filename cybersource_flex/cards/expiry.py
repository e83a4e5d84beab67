"""Parse and normalise card expiry dates: ``12/31``, ``2031-12``, or month and year separately."""

from __future__ import annotations

import time
from typing import Final

from .digits import EXPIRATION_MONTH, EXPIRATION_YEAR, FieldError, raise_field_error

__all__ = ["normalize_expiry"]

_SPACES: Final = str.maketrans("/-.", "   ")
_MALFORMED: Final = FieldError(
    None, "expiration must be a date like MM/YY, MM/YYYY or YYYY-MM, or without a separator MMYYYY or YYYYMM"
)
_BOTH: Final = FieldError(None, "expiration must not be given together with expiration_month or expiration_year")
_MONTH: Final = FieldError(EXPIRATION_MONTH, "must be a month from 01 to 12")
_YEAR: Final = FieldError(EXPIRATION_YEAR, "must be a year of four digits, or its last two")
# A card is valid until the last day of its month. That day ends last in the time zone twelve hours behind UTC.
_LAST_TIME_ZONE: Final = 12 * 3600


def normalize_expiry(expiration: str | int, year: str | int | None = None) -> tuple[str, str]:
    """Normalise an expiry date to the form of the API: ``"1/31"`` becomes ``("01", "2031")``.

    Args:
        expiration: month and year in one string: ``MM/YY``, ``MM/YYYY`` or ``YYYY-MM``. The separator can be ``/``,
            ``-``, ``.`` or spaces, and can be left out if the year has four digits. Ambiguous strings are rejected.
            If ``year`` is given, this is only the month.
        year: the year, as four digits or the last two (``31`` is 2031). None if ``expiration`` contains the year.

    Returns:
        Month (``MM``) and year (``YYYY``), the form of ``paymentInformation.card`` in the Flex API guide.

    Raises:
        InvalidDataError: the date is malformed. The message names the field and the rule, never the value.
    """
    result = parse_expiry(expiration, None, None) if year is None else parse_expiry(None, expiration, year)
    # The traceback of the error contains this frame, and some tools show local variables.
    del expiration, year
    if isinstance(result, FieldError):
        raise_field_error(result)
    return result


def parse_expiry(expiration: object, month: object, year: object) -> tuple[str, str] | FieldError:
    """Convert month and year to the form of the API. A missing value becomes an empty string. Never raises."""
    if _is_given(expiration):
        if _is_given(month) or _is_given(year):
            return _BOTH
        parts = _split(expiration)
        if parts is None:
            return _MALFORMED
        month, year = parts
    month = _digits(month, (1, 2))
    if month is None or (month and not 1 <= int(month) <= 12):
        return _MONTH
    year = _digits(year, (2, 4))
    if year is None:
        return _YEAR
    return month and month.zfill(2), f"20{year}" if len(year) == 2 else year


def expired_error(month: str, year: str) -> FieldError | None:
    """Return an error for the year or the month if the date has passed. None if it has not, or if there is no year."""
    if not year:
        return None
    now = time.gmtime(time.time() - _LAST_TIME_ZONE)
    if int(year) < now.tm_year:
        return FieldError(EXPIRATION_YEAR, "has passed: the card has expired")
    if month and int(year) == now.tm_year and int(month) < now.tm_mon:
        return FieldError(EXPIRATION_MONTH, "has passed: the card has expired")
    return None


def _is_given(value: object) -> bool:
    return value is not None and not (isinstance(value, str) and not value)


def _digits(value: object, lengths: tuple[int, ...]) -> str | None:
    """Return the digits of a month or year: an empty string for a missing value, None for an invalid value."""
    if not _is_given(value):
        return ""
    if isinstance(value, str):
        digits = value.strip()
    elif isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 9999:  # str() of a huge one raises
        digits = str(value)
    else:
        return None
    return digits if digits.isascii() and digits.isdigit() and len(digits) in lengths else None


def _split(expiration: object) -> tuple[str, str] | None:
    """Split a string into month and year, without validating them. None if the string is malformed or ambiguous."""
    if not isinstance(expiration, str):
        return None
    parts = expiration.translate(_SPACES).split()
    if len(parts) == 1 and len(parts[0]) == 6:
        # There is no month 20, so a string that starts with 20 starts with the year.
        digits = parts[0]
        parts = [digits[:4], digits[4:]] if digits.startswith("20") else [digits[:2], digits[2:]]
        if not parts[0 if len(parts[0]) == 4 else 1].startswith("20"):
            return None
    if len(parts) != 2:
        return None
    first, second = parts
    if len(first) == 4:
        return None if len(second) == 4 else (second, first)
    return first, second
