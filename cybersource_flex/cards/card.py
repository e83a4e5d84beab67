"""``Card``: validated, normalised card data that is never shown and can be wiped."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Any, Final, final

from ..errors import InvalidArgumentTypeError
from .digits import (
    CARD,
    EXPIRATION_MONTH,
    EXPIRATION_YEAR,
    NUMBER,
    SECURITY_CODE,
    TYPE,
    Digits,
    DigitString,
    FieldError,
    raise_field_error,
)
from .expiry import expired_error, parse_expiry
from .networks import CARD_TYPES, LENGTHS, CardType, is_possible, matching_types

__all__ = ["Card", "CardData"]

_WIPED: Final = FieldError(CARD, "has been wiped and cannot be used any more")
_NO_COPY: Final = "card data cannot be copied or pickled"


class CardData(dict[str, str]):
    """Values of ``paymentInformation.card`` by JSON name. A dictionary whose ``repr`` shows only the names."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<CardData {', '.join(self)}>"

    def copy(self) -> CardData:
        """A copy that is a ``CardData``; ``dict.copy`` would return a plain dictionary."""
        return CardData(self)

    def __reduce_ex__(self, protocol: object) -> Any:
        raise TypeError(_NO_COPY)


@final
class Card:
    """A payment card, validated and normalised, for ``FlexClient.tokenize``.

    The data does not appear in any ``repr``, log, exception, copy or pickle. At most the last four digits of the number
    are shown. The buffers are overwritten when the card is wiped (at the end of a ``with`` block, or by ``wipe``) and
    when it is deleted.

    The formats are those of the Flex API guide: a number of at most 20 characters, ``MM``, ``YYYY``, a security code
    of 3 digits (4 for American Express), a type of three digits. CyberSource does not document whether the service
    checks the Luhn digit; the Microform library does.

    Args:
        number: 12 to 19 digits; spaces and dashes between them are ignored. The caller can overwrite a ``bytearray``
            afterwards. A ``str`` cannot be overwritten.
        expiration: month and year in one string, in a format that `normalize_expiry` accepts.
        expiration_month: the month, 1 to 12. Pass month and year separately instead of `expiration`.
        expiration_year: the year, as four digits or the last two.
        security_code: 3 or 4 digits.
        type: code of the card type (``001``), or the ``CardType``. Pass it if the number matches more than one type.
            ``033`` becomes ``001``, as CyberSource's table requires.
        check_luhn: whether to reject a number whose last digit is not its Luhn check digit.
        allow_expired: whether to accept an expired card. A card has expired if its month has ended in every time zone.

    An empty string or None means that the value is not given. Only the number is required.

    Raises:
        InvalidDataError: a value is invalid. Names the field and the rule, never the value.
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
        number: DigitString,
        *,
        expiration: str | None = None,
        expiration_month: str | int | None = None,
        expiration_year: str | int | None = None,
        security_code: DigitString | None = None,
        type: str | CardType | None = None,
        check_luhn: bool = True,
        allow_expired: bool = False,
    ) -> None:
        self._number = self._month = self._year = self._code = self._type = None
        self._types = ()
        error = (
            self._set_number(number, check_luhn, type)
            or self._set_expiry(expiration, expiration_month, expiration_year, allow_expired)
            or self._set_code(security_code)
        )
        # The traceback of the error contains this frame, and some tools show local variables.
        del number, expiration, expiration_month, expiration_year, security_code, type
        if error is not None:
            self.wipe()
            raise_field_error(error)

    @property
    def masked(self) -> str:
        """The number with all but the last four digits replaced by ``X``, as in a transient token."""
        number = self._require_number()
        return "X" * (len(number) - 4) + number[-4:].decode("ascii")

    @property
    def types(self) -> tuple[CardType, ...]:
        """The types that the number matches (see `card_types`)."""
        self._require_number()
        return self._types

    @property
    def type(self) -> str | None:
        """Code of the card type: the `type` argument, or the only type that the number matches. Otherwise None."""
        self._require_number()
        return None if self._type is None else self._type.code

    @property
    def wiped(self) -> bool:
        """Whether the card has been wiped. A wiped card cannot be used."""
        return self._number is None

    def to_data(self, only: Iterable[str] | None = None) -> CardData:
        """Return the values by JSON name, for example for ``client.tokenize(context, {"card": card.to_data()})``.

        The values are ``str``, as JSON requires; `wipe` does not overwrite them.

        Args:
            only: names of the fields to return, with or without their path. None returns all fields. A context accepts
                only the fields that it lists: ``card.to_data(context.required_fields + context.optional_fields)``.

        Returns:
            ``number``, ``expirationMonth``, ``expirationYear``, ``securityCode`` and ``type``, if they have a value.

        Raises:
            InvalidDataError: the card has been wiped.
            InvalidArgumentTypeError: ``only`` is not a list of strings.
        """
        self._require_number()
        buffers = {
            NUMBER: self._number,
            EXPIRATION_MONTH: self._month,
            EXPIRATION_YEAR: self._year,
            SECURITY_CODE: self._code,
        }
        if only is not None:
            only = _check_names(only)
        names = None if only is None else {name.removeprefix(f"{CARD}.") for name in only}
        data = CardData()
        for path, digits in buffers.items():
            name = path.removeprefix(f"{CARD}.")
            if digits is not None and (names is None or name in names):
                data[name] = digits.to_str()
        if self._type is not None and (names is None or "type" in names):
            data["type"] = self._type.code
        return data

    def wipe(self) -> None:
        """Overwrite the card data. Can be called twice; any other use afterwards raises `InvalidDataError`."""
        for digits in (self._number, self._month, self._year, self._code):
            if digits is not None:
                digits.wipe()
        self._number = self._month = self._year = self._code = self._type = None
        self._types = ()

    def __enter__(self) -> Card:
        self._require_number()
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.wipe()

    def __repr__(self) -> str:
        # A debugger may call this before __init__ has set the attributes.
        return "<Card wiped>" if getattr(self, "_number", None) is None else f"<Card {self.masked}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Card):
            return NotImplemented
        if self is other:
            return True
        if self._number is None or other._number is None:
            return False
        from hmac import compare_digest

        # All four pairs are compared, so that the duration does not reveal which one differs.
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

    # A hash would identify the number: there are few enough card numbers to try them all.
    __hash__ = None  # type: ignore[assignment]

    def __copy__(self) -> Card:
        raise TypeError(_NO_COPY)

    def __deepcopy__(self, memo: object) -> Card:
        raise TypeError(_NO_COPY)

    def __reduce_ex__(self, protocol: object) -> Any:
        raise TypeError(_NO_COPY)

    def __getstate__(self) -> Any:
        raise TypeError(_NO_COPY)

    def _require_number(self) -> Digits:
        if self._number is None:
            raise_field_error(_WIPED)
        return self._number

    # The three methods below return errors instead of raising them, because their frames hold card data.

    def _set_number(self, value: object, check_luhn: bool, type_or_code: object) -> FieldError | None:
        number = Digits.parse(value, b" -")
        if number is None:
            return FieldError(NUMBER, "must be a string of digits; only spaces and dashes may separate them")
        if len(number) not in LENGTHS:
            return FieldError(NUMBER, f"must have {LENGTHS[0]} to {LENGTHS[-1]} digits" if number else "is missing")
        self._number = number
        self._types = types = matching_types(number)
        chosen: CardType | None = None
        if type_or_code is not None and type_or_code != "":
            code = type_or_code.code if isinstance(type_or_code, CardType) else type_or_code
            chosen = CARD_TYPES.get("001" if code == "033" else code) if isinstance(code, str) else None
            if chosen is None:
                return FieldError(TYPE, "must be a code of CARD_TYPES, for example 001")
            if not is_possible(chosen, types):
                return FieldError(TYPE, "does not match the number")
        self._type = chosen or (types[0] if len(types) == 1 else None)
        candidates = types if chosen is None else (chosen,)
        if check_luhn and not number.is_luhn_valid() and all(card_type.luhn for card_type in candidates):
            return FieldError(NUMBER, "must end in its Luhn check digit (check_luhn=False skips this check)")
        return None

    def _set_expiry(self, expiration: object, month: object, year: object, allow_expired: bool) -> FieldError | None:
        expiry = parse_expiry(expiration, month, year)
        if isinstance(expiry, FieldError):
            return expiry
        if expiry[0]:
            self._month = Digits(expiry[0], "ascii")
        if expiry[1]:
            self._year = Digits(expiry[1], "ascii")
        return None if allow_expired else expired_error(*expiry)

    def _set_code(self, value: object) -> FieldError | None:
        if value is None:
            return None
        code = Digits.parse(value)
        candidates = self._types if self._type is None else (self._type,)
        lengths = {length for card_type in candidates for length in card_type.security_code_lengths} or {3, 4}
        if code is None or (code and len(code) not in lengths):
            return FieldError(SECURITY_CODE, f"must be a string of {' or '.join(map(str, sorted(lengths)))} digits")
        self._code = code or None
        return None


def _check_names(names: Iterable[str]) -> tuple[str, ...]:
    checked = None if isinstance(names, str) or not isinstance(names, Iterable) else tuple(names)
    if checked is None or not all(isinstance(name, str) for name in checked):
        raise InvalidArgumentTypeError("only must be a list of names of fields", argument="only")
    return checked
