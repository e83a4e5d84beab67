"""A buffer for digits that shows nothing and can be overwritten, and the one way in which card data is refused."""

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

# A caller who holds the digits in a bytearray can overwrite them; a str or bytes lives until Python reuses its memory.
Text: TypeAlias = str | bytes | bytearray

# What the character of a digit counts for where it is doubled.
_DOUBLED: Final = {48 + digit: digit * 2 % 10 + digit // 5 for digit in range(10)}


class Problem(NamedTuple):
    """Which field breaks which rule. Handed up instead of raised where a frame still holds what the caller gave."""

    field: str | None
    rule: str


def refuse(problem: Problem) -> NoReturn:
    """Raise the error for a problem, from a frame that holds nothing else."""
    text = problem.rule if problem.field is None else f"{problem.field} {problem.rule}"
    raise InvalidDataError(text, field=problem.field) from None


class Digits(bytearray):
    """Digits that no ``repr``, format, copy or pickle shows, and that are overwritten when they go."""

    __slots__ = ()

    @classmethod
    def of(cls, text: object, separators: bytes = b" ") -> Digits | None:
        """The digits in a text, without the separators; None where it is no text or holds anything else."""
        if isinstance(text, str):
            if not text.isascii():  # the error of a failed encoding would carry the text
                return None
            given = cls(text, "ascii")
        elif isinstance(text, (bytes, bytearray)):
            given = cls(text)
        else:
            return None
        if given.isdigit() or not given:
            return given
        kept = given.translate(None, separators)
        digits = cls(kept)
        kept[:] = bytes(len(kept))  # a plain bytearray, which does not overwrite itself
        return digits if digits.isdigit() or not digits else None

    def wipe(self) -> None:
        """Overwrite with zeros, in place."""
        self[:] = bytes(len(self))

    def text(self) -> str:
        """The digits as a str, which nobody can overwrite."""
        return self.decode("ascii")

    def is_luhn_valid(self) -> bool:
        """Whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B)."""
        # In pairs from the end, with no slices: those would be copies that nobody overwrites.
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
