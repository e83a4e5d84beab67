"""When a card expires: one spelling out of the many that people and forms use."""

from __future__ import annotations

import time
from typing import Final

from .digits import EXPIRATION_MONTH, EXPIRATION_YEAR, Problem, refuse

__all__ = ["normalize_expiry"]

_SPACES: Final = str.maketrans("/-.", "   ")
_UNREADABLE: Final = Problem(
    None, "expiration must be like MM/YY, MM/YYYY or YYYY-MM; without a separator only MMYYYY or YYYYMM is unambiguous"
)
_BOTH: Final = Problem(None, "expiration must not be given together with expiration_month or expiration_year")
_MONTH: Final = Problem(EXPIRATION_MONTH, "must be a month from 01 to 12")
_YEAR: Final = Problem(EXPIRATION_YEAR, "must be a year of four digits, or its last two")
# A card is good to the last day of its month, and that day ends last where clocks are twelve hours behind UTC.
_LAST_TIME_ZONE: Final = 12 * 3600


def normalize_expiry(expiration: str | int, year: str | int | None = None) -> tuple[str, str]:
    """Month and year as the wire has them: ``"1/31"`` is ``("01", "2031")``.

    Args:
        expiration: both in one text (``MM/YY``, ``MM/YYYY``, ``YYYY-MM``, also with ``.``, spaces, or none of them
            around a year of four digits), or the month alone if the year is given too. Two short numbers are month and
            year in this order, as they are printed on cards; what could be read in two ways is refused.
        year: of four digits, or the last two: ``31`` is 2031.

    Returns:
        Month (``MM``) and year (``YYYY``), the form of ``paymentInformation.card`` in the Flex API guide.

    Raises:
        InvalidDataError: it cannot be read, or is no month or year. Names the field and the rule, never the value.
    """
    found = read(expiration, None, None) if year is None else read(None, expiration, year)
    # From here on this frame may appear in a traceback.
    del expiration, year
    if isinstance(found, Problem):
        refuse(found)
    return found


def read(expiration: object, month: object, year: object) -> tuple[str, str] | Problem:
    """Month and year as the wire has them, an empty text for each that is not given. Raises nothing."""
    if _given(expiration):
        if _given(month) or _given(year):
            return _BOTH
        parts = _parts(expiration)
        if parts is None:
            return _UNREADABLE
        month, year = parts
    month = _number(month, (1, 2))
    if month is None or (month and not 1 <= int(month) <= 12):
        return _MONTH
    year = _number(year, (2, 4))
    if year is None:
        return _YEAR
    return month and month.zfill(2), f"20{year}" if len(year) == 2 else year


def passed(month: str, year: str) -> Problem | None:
    """What is in the past, the year or the month; a card without a year has not expired."""
    if not year:
        return None
    now = time.gmtime(time.time() - _LAST_TIME_ZONE)
    if int(year) < now.tm_year:
        return Problem(EXPIRATION_YEAR, "has passed: the card has expired")
    if month and int(year) == now.tm_year and int(month) < now.tm_mon:
        return Problem(EXPIRATION_MONTH, "has passed: the card has expired")
    return None


def _given(value: object) -> bool:
    return value is not None and not (isinstance(value, str) and not value)


def _number(value: object, lengths: tuple[int, ...]) -> str | None:
    """The digits of a month or year; empty where it is not given, None where it is not one."""
    if not _given(value):
        return ""
    if isinstance(value, str):
        text = value.strip()
    elif isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 9999:  # str() of a huge one raises
        text = str(value)
    else:
        return None
    return text if text.isascii() and text.isdigit() and len(text) in lengths else None


def _parts(expiration: object) -> tuple[str, str] | None:
    """Month and year out of one text, unchecked; None where it is not clear which is which."""
    if not isinstance(expiration, str):
        return None
    parts = expiration.translate(_SPACES).split()
    if len(parts) == 1 and len(parts[0]) == 6:
        # No month is 20: a text that begins with the century begins with the year.
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
