"""``Digits``, a buffer for card digits that are never shown and can be wiped, and errors about card fields."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any, Final, NamedTuple, NoReturn, TypeAlias

from ..errors import InvalidDataError

CARD: Final = "paymentInformation.card"
EXPIRATION_MONTH: Final = f"{CARD}.expirationMonth"
EXPIRATION_YEAR: Final = f"{CARD}.expirationYear"
NUMBER: Final = f"{CARD}.number"
SECURITY_CODE: Final = f"{CARD}.securityCode"
TYPE: Final = f"{CARD}.type"

# The caller can overwrite a bytearray. A str or bytes stays in memory until Python reuses the memory.
DigitString: TypeAlias = str | bytes | bytearray

# The Luhn value of a doubled digit, by its character code.
_DOUBLED: Final = {48 + digit: digit * 2 % 10 + digit // 5 for digit in range(10)}


class FieldError(NamedTuple):
    """A field and the rule that its value breaks.

    Functions whose frames hold card data return a ``FieldError`` instead of raising an exception.
    """

    field: str | None
    rule: str


def raise_field_error(error: FieldError) -> NoReturn:
    """Raise ``InvalidDataError`` from a frame that holds no card data."""
    message = error.rule if error.field is None else f"{error.field} {error.rule}"
    raise InvalidDataError(message, field=error.field) from None


class Digits(bytearray):
    """A buffer of digits. ``repr`` and formatting hide them, pickling raises an error, deletion overwrites them."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object, separators: bytes = b" ") -> Digits | None:
        """Read digits from a string, without separators. None if the value is no string or has other characters."""
        if isinstance(value, str):
            if not value.isascii():  # the exception of a failed encoding would contain the string
                return None
            raw = cls(value, "ascii")
        elif isinstance(value, (bytes, bytearray)):
            raw = cls(value)
        else:
            return None
        if raw.isdigit() or not raw:
            return raw
        stripped = raw.translate(None, separators)
        digits = cls(stripped)
        stripped[:] = bytes(len(stripped))  # a plain bytearray, which does not overwrite itself
        return digits if digits.isdigit() or not digits else None

    def wipe(self) -> None:
        """Overwrite the digits with zeros, in place."""
        self[:] = bytes(len(self))

    def to_str(self) -> str:
        """The digits as a ``str``, which cannot be overwritten."""
        return self.decode("ascii")

    def is_luhn_valid(self) -> bool:
        """Whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B)."""
        # Iterates in pairs, from the end, instead of using slices. A slice would be a copy that is never overwritten.
        digits = reversed(self)
        total = sum([plain - 48 + _DOUBLED[doubled] for plain, doubled in zip_longest(digits, digits, fillvalue=48)])
        return total % 10 == 0 and len(self) > 1

    def __repr__(self) -> str:
        return "<digits>"

    __str__ = __repr__

    def __reduce_ex__(self, protocol: object) -> Any:
        raise TypeError("card data cannot be copied or pickled")

    def __del__(self) -> None:
        self[:] = bytes(len(self))
