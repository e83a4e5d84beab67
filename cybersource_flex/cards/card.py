"""A card whose data can be used and overwritten, but not seen."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Any, Final, final

from .digits import CARD, EXPIRATION_MONTH, EXPIRATION_YEAR, NUMBER, SECURITY_CODE, TYPE, Digits, Problem, Text, refuse
from .expiry import passed, read
from .networks import CARD_TYPES, LENGTHS, CardType, fitting, may_be

__all__ = ["Card", "CardData"]

_WIPED: Final = Problem(CARD, "has been wiped and cannot be used any more")
_NO_COPY: Final = "card data cannot be copied or pickled"


class CardData(dict[str, str]):
    """Values of ``paymentInformation.card`` by their names on the wire: a dictionary that shows only the names."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<CardData {', '.join(self)}>"

    def copy(self) -> CardData:
        """Another one of the same content, which ``dict`` itself would return as a plain dictionary."""
        return CardData(self)

    def __reduce_ex__(self, protocol: object) -> Any:
        raise TypeError(_NO_COPY)


@final
class Card:
    """A payment card, checked and normalised, for ``FlexClient.tokenize``.

    What it holds is in no ``repr``, log, exception, copy or pickle; the last four digits of the number are the most
    that is shown. It overwrites what it holds when it is wiped, which a ``with`` block does at its end, and when it
    goes.

    The formats are those of the Flex API guide: a number of at most 20 characters, ``MM``, ``YYYY``, a security code
    of 3 digits (4 for American Express), a type of three digits. The service does not say that it checks the Luhn
    digit; the Microform library does.

    Args:
        number: 12 to 19 digits, spaces and dashes between them do not count. A ``bytearray`` can be overwritten by
            the caller afterwards, a ``str`` by nobody.
        expiration: month and year in one text, as `normalize_expiry` reads it.
        expiration_month: 1 to 12, in place of `expiration`.
        expiration_year: of four digits, or the last two.
        security_code: 3 or 4 digits.
        type: code of the card's type (``001``), or the type itself; needed only where the number fits more than one.
            ``033`` becomes ``001``, as CyberSource's table asks.
        check_luhn: whether to refuse a number whose last digit is not its Luhn check digit.
        allow_expired: whether to take a card that has expired: whose month has ended in every time zone.

    An empty text, or None, is a value not given; only the number must be.

    Raises:
        InvalidDataError: a value breaks its rule. Names the field and the rule, never the value.
    """

    __slots__ = ("_code", "_month", "_number", "_type", "_types", "_year")

    _number: Digits | None
    _month: Digits | None
    _year: Digits | None
    _code: Digits | None
    _type: CardType | None
    _types: tuple[CardType, ...]

    def __init__(
        self,
        number: Text,
        *,
        expiration: str | None = None,
        expiration_month: str | int | None = None,
        expiration_year: str | int | None = None,
        security_code: Text | None = None,
        type: str | CardType | None = None,
        check_luhn: bool = True,
        allow_expired: bool = False,
    ) -> None:
        self._number = self._month = self._year = self._code = self._type = None
        self._types = ()
        problem = (
            self._take_number(number, check_luhn, type)
            or self._take_expiry(expiration, expiration_month, expiration_year, allow_expired)
            or self._take_code(security_code)
        )
        # This frame is part of the traceback of a refusal, and some tools show the values in one.
        del number, expiration, expiration_month, expiration_year, security_code, type
        if problem is not None:
            self.wipe()
            refuse(problem)

    @property
    def masked(self) -> str:
        """The number with all but its last four digits as ``X``, the form that a transient token shows."""
        number = self._held()
        return "X" * (len(number) - 4) + number[-4:].decode("ascii")

    @property
    def types(self) -> tuple[CardType, ...]:
        """The types that the number can be of (`card_types`)."""
        self._held()
        return self._types

    @property
    def type(self) -> str | None:
        """Code of the type: the one that was given, else the only one that the number fits, else None."""
        self._held()
        return None if self._type is None else self._type.code

    @property
    def wiped(self) -> bool:
        """Whether it has been wiped; then it cannot be used any more."""
        return self._number is None

    def to_data(self, only: Iterable[str] | None = None) -> CardData:
        """The values by their names on the wire: ``client.tokenize(context, {"card": card.to_data()})``.

        They are texts, as JSON needs them; `wipe` does not reach those.

        Args:
            only: names of the fields to give, bare or with their path; others are left out. A context takes only the
                fields that it asked for: ``card.to_data(context.required_fields + context.optional_fields)``.

        Returns:
            ``number``, ``expirationMonth``, ``expirationYear``, ``securityCode`` and ``type``, those that there are.

        Raises:
            InvalidDataError: the card has been wiped.
        """
        self._held()
        held = {
            NUMBER: self._number,
            EXPIRATION_MONTH: self._month,
            EXPIRATION_YEAR: self._year,
            SECURITY_CODE: self._code,
        }
        wanted = None if only is None else {name.removeprefix(f"{CARD}.") for name in only}
        data = CardData()
        for path, digits in held.items():
            name = path.removeprefix(f"{CARD}.")
            if digits is not None and (wanted is None or name in wanted):
                data[name] = digits.text()
        if self._type is not None and (wanted is None or "type" in wanted):
            data["type"] = self._type.code
        return data

    def wipe(self) -> None:
        """Overwrite what it holds. Wiping twice does no harm; any other use afterwards raises `InvalidDataError`."""
        for digits in (self._number, self._month, self._year, self._code):
            if digits is not None:
                digits.wipe()
        self._number = self._month = self._year = self._code = self._type = None
        self._types = ()

    def __enter__(self) -> Card:
        self._held()
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.wipe()

    def __repr__(self) -> str:
        # A debugger may ask before __init__ has set anything.
        return "<Card wiped>" if getattr(self, "_number", None) is None else f"<Card {self.masked}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Card):
            return NotImplemented
        if self is other:
            return True
        if self._number is None or other._number is None:
            return False
        from hmac import compare_digest

        # All four are compared, so that the time it takes does not tell which one differs.
        pairs = (
            (self._number, other._number),
            (self._month, other._month),
            (self._year, other._year),
            (self._code, other._code),
        )
        same = self._type == other._type
        for one, another in pairs:
            same &= compare_digest(one or b"", another or b"")
        return same

    # A hash would be a fingerprint of the number, and there are few enough numbers to try them all.
    __hash__ = None  # type: ignore[assignment]

    def __copy__(self) -> Card:
        raise TypeError(_NO_COPY)

    def __deepcopy__(self, memo: object) -> Card:
        raise TypeError(_NO_COPY)

    def __reduce_ex__(self, protocol: object) -> Any:
        raise TypeError(_NO_COPY)

    def __getstate__(self) -> Any:
        raise TypeError(_NO_COPY)

    def _held(self) -> Digits:
        if self._number is None:
            refuse(_WIPED)
        return self._number

    # The three below raise nothing, since their frames hold what the caller gave.

    def _take_number(self, given: object, check_luhn: bool, type_given: object) -> Problem | None:
        number = Digits.of(given, b" -")
        if number is None:
            return Problem(NUMBER, "must be a text of digits, with at most spaces and dashes between them")
        if len(number) not in LENGTHS:
            return Problem(NUMBER, f"must have {LENGTHS[0]} to {LENGTHS[-1]} digits" if number else "is missing")
        self._number = number
        self._types = types = fitting(number)
        named: CardType | None = None
        if type_given is not None and type_given != "":
            code = type_given.code if isinstance(type_given, CardType) else type_given
            named = CARD_TYPES.get("001" if code == "033" else code) if isinstance(code, str) else None
            if named is None:
                return Problem(TYPE, "must be a code of CARD_TYPES, for example 001")
            if not may_be(named, types):
                return Problem(TYPE, "does not fit the number")
        self._type = named or (types[0] if len(types) == 1 else None)
        candidates = types if named is None else (named,)
        if check_luhn and not number.is_luhn_valid() and all(card_type.luhn for card_type in candidates):
            return Problem(NUMBER, "must end in its Luhn check digit (check_luhn=False takes it as it is)")
        return None

    def _take_expiry(self, expiration: object, month: object, year: object, allow_expired: bool) -> Problem | None:
        found = read(expiration, month, year)
        if isinstance(found, Problem):
            return found
        if found[0]:
            self._month = Digits(found[0], "ascii")
        if found[1]:
            self._year = Digits(found[1], "ascii")
        return None if allow_expired else passed(*found)

    def _take_code(self, given: object) -> Problem | None:
        if given is None:
            return None
        code = Digits.of(given)
        candidates = self._types if self._type is None else (self._type,)
        lengths = {length for card_type in candidates for length in card_type.security_code_lengths} or {3, 4}
        if code is None or (code and len(code) not in lengths):
            return Problem(SECURITY_CODE, f"must be a text of {' or '.join(map(str, sorted(lengths)))} digits")
        self._code = code or None
        return None
