"""``Card`` and the helpers of ``cards``: accepted and rejected values, types, and that card data is never shown."""

from __future__ import annotations

import copy
import io
import json
import logging
import pickle
import pprint
import random
import re
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from cybersource_flex import cards
from cybersource_flex.cards import (
    CARD_TYPES,
    TEST_CARDS,
    TEST_SECURITY_CODES,
    Card,
    CardData,
    card_types,
    is_luhn_valid,
    normalize_expiry,
)
from cybersource_flex.errors import InvalidDataError

# Values that must not be shown. None shares digits with another one, or with what may be shown.
NUMBER = "4716638859927752"
MONTH, YEAR, CODE = "11", "2093", "806"
SECRETS = (NUMBER, NUMBER[:6], NUMBER[-8:], YEAR, CODE)
ARGUMENTS: dict[str, Any] = {
    "number": NUMBER,
    "expiration_month": MONTH,
    "expiration_year": YEAR,
    "security_code": CODE,
}

PATH = "paymentInformation.card"


def make(**changes: Any) -> Card:
    return Card(**{**ARGUMENTS, **changes})


def assert_hidden(output: str) -> None:
    # A memory address is not card data, even if its digits match.
    output = re.sub(r"0x[0-9a-fA-F]+", "", output)
    for secret in SECRETS:
        assert secret not in output


def set_time(monkeypatch: pytest.MonkeyPatch, *when: int) -> None:
    now = datetime(*when, tzinfo=UTC).timestamp()  # type: ignore[arg-type, misc]
    monkeypatch.setattr(time, "time", lambda: now)


def test_public_names() -> None:
    assert cards.__all__ == sorted(cards.__all__, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    assert all(hasattr(cards, name) for name in cards.__all__)


def test_nothing_heavy_is_imported() -> None:
    code = "import sys; before = set(sys.modules); import cybersource_flex.cards; print(*set(sys.modules) - before)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in ran.stdout.split()}
    assert "cybersource_flex" in loaded
    assert not loaded & {"cryptography", "datetime", "hashlib", "hmac", "json", "re", "ssl", "urllib3"}


# Accepted values.


@pytest.mark.parametrize(
    "number",
    [NUMBER, "4716 6388 5992 7752", "4716-6388-5992-7752", f" {NUMBER} ", NUMBER.encode(), bytearray(NUMBER, "ascii")],
)
def test_numbers_are_normalised(number: Any) -> None:
    assert make(number=number).to_data()["number"] == NUMBER


@pytest.mark.parametrize(
    ("expiration", "expected"),
    [
        ("12/31", ("12", "2031")),
        ("1/31", ("01", "2031")),
        ("01/31", ("01", "2031")),
        ("12 / 31", ("12", "2031")),
        ("12/2031", ("12", "2031")),
        ("12-31", ("12", "2031")),
        ("12-2031", ("12", "2031")),
        ("12.2031", ("12", "2031")),
        ("12 31", ("12", "2031")),
        ("2031-12", ("12", "2031")),
        ("2031/1", ("01", "2031")),
        ("122031", ("12", "2031")),
        ("203112", ("12", "2031")),
        ("01/02", ("01", "2002")),
        (" 12/99 ", ("12", "2099")),
    ],
)
def test_expiry_in_one_string(expiration: str, expected: tuple[str, str]) -> None:
    assert normalize_expiry(expiration) == expected
    data = make(expiration=expiration, expiration_month=None, expiration_year="", allow_expired=True).to_data()
    assert (data["expirationMonth"], data["expirationYear"]) == expected


@pytest.mark.parametrize(
    ("month", "year", "expected"),
    [
        ("1", "31", ("01", "2031")),
        (1, 31, ("01", "2031")),
        ("12", 2031, ("12", "2031")),
        (" 7 ", "2031 ", ("07", "2031")),
    ],
)
def test_expiry_in_two_values(month: Any, year: Any, expected: tuple[str, str]) -> None:
    assert normalize_expiry(month, year) == expected
    data = make(expiration_month=month, expiration_year=year).to_data()
    assert (data["expirationMonth"], data["expirationYear"]) == expected


def test_omitted_values_are_not_sent() -> None:
    assert Card(NUMBER).to_data() == {"number": NUMBER, "type": "001"}
    empty = Card(NUMBER, expiration="", expiration_month="", expiration_year=None, security_code="", type="")
    assert empty.to_data() == {"number": NUMBER, "type": "001"}
    assert Card(NUMBER, expiration_month=5).to_data() == {"number": NUMBER, "expirationMonth": "05", "type": "001"}


def test_to_data_uses_json_names() -> None:
    data = make().to_data()
    whole = {"number": NUMBER, "expirationMonth": MONTH, "expirationYear": YEAR, "securityCode": CODE, "type": "001"}
    assert data == whole
    assert isinstance(data, dict)
    assert json.loads(json.dumps(data)) == whole
    assert all(type(value) is str for value in data.values())


def test_to_data_only_returns_requested_fields() -> None:
    card = make()
    assert card.to_data([f"{PATH}.number", "orderInformation.billTo.email"]) == {"number": NUMBER}
    assert list(card.to_data(["type", "expirationYear"])) == ["expirationYear", "type"]
    assert card.to_data([]) == {}


# Rejected values and their errors.

INVALID: list[tuple[dict[str, Any], str | None, str]] = [
    ({"number": ""}, "number", "is missing"),
    ({"number": " - "}, "number", "is missing"),
    ({"number": None}, "number", "must be a string of digits"),
    ({"number": int(NUMBER)}, "number", "must be a string of digits"),
    ({"number": f"{NUMBER}x"}, "number", "must be a string of digits"),
    ({"number": f"+{NUMBER}"}, "number", "must be a string of digits"),
    ({"number": f"{NUMBER}\n"}, "number", "must be a string of digits"),
    ({"number": "".join(chr(0xFF10 + int(digit)) for digit in NUMBER)}, "number", "must be a string of digits"),
    ({"number": f"{NUMBER}\u0661"}, "number", "must be a string of digits"),
    ({"number": f"{NUMBER}\ud800"}, "number", "must be a string of digits"),
    ({"number": NUMBER[:11]}, "number", "must have 12 to 19 digits"),
    ({"number": NUMBER + "0000"}, "number", "must have 12 to 19 digits"),
    ({"number": NUMBER[:-1] + "5"}, "number", "must end in its Luhn check digit"),
    ({"expiration": "11/2093"}, None, "must not be given together"),
    ({"expiration_month": "0"}, "expirationMonth", "must be a month from 01 to 12"),
    ({"expiration_month": "13"}, "expirationMonth", "must be a month from 01 to 12"),
    ({"expiration_month": -1}, "expirationMonth", "must be a month from 01 to 12"),
    ({"expiration_month": True}, "expirationMonth", "must be a month from 01 to 12"),
    ({"expiration_month": "1.5"}, "expirationMonth", "must be a month from 01 to 12"),
    ({"expiration_month": int(NUMBER)}, "expirationMonth", "must be a month from 01 to 12"),
    ({"expiration_month": 10**5000}, "expirationMonth", "must be a month from 01 to 12"),
    ({"expiration_month": NUMBER}, "expirationMonth", "must be a month from 01 to 12"),
    ({"expiration_month": b"11"}, "expirationMonth", "must be a month from 01 to 12"),
    ({"expiration_year": "093"}, "expirationYear", "must be a year of four digits"),
    ({"expiration_year": "20930"}, "expirationYear", "must be a year of four digits"),
    ({"expiration_year": "9"}, "expirationYear", "must be a year of four digits"),
    ({"expiration_year": "\u0662\u0660\u0669\u0663"}, "expirationYear", "must be a year of four digits"),
    ({"expiration_year": "2001"}, "expirationYear", "has passed"),
    ({"security_code": "80"}, "securityCode", "must be a string of 3 digits"),
    ({"security_code": "8068"}, "securityCode", "must be a string of 3 digits"),
    ({"security_code": "80x"}, "securityCode", "must be a string of 3 digits"),
    ({"security_code": 806}, "securityCode", "must be a string of 3 digits"),
    ({"number": TEST_CARDS["amex"]}, "securityCode", "must be a string of 4 digits"),
    ({"number": "9" * 17 + "6", "check_luhn": False, "security_code": "80"}, "securityCode", "3 or 4 digits"),
    ({"type": "1"}, "type", "must be a code of CARD_TYPES"),
    ({"type": "022"}, "type", "must be a code of CARD_TYPES"),
    ({"type": "VISA"}, "type", "must be a code of CARD_TYPES"),
    ({"type": 1}, "type", "must be a code of CARD_TYPES"),
    ({"type": NUMBER}, "type", "must be a code of CARD_TYPES"),
    ({"type": ["001"]}, "type", "must be a code of CARD_TYPES"),
    ({"type": "002"}, "type", "does not match the number"),
    ({"type": "024"}, "type", "does not match the number"),
    ({"type": CARD_TYPES["003"]}, "type", "does not match the number"),
]


@pytest.mark.parametrize(("changes", "field", "rule"), INVALID)
def test_invalid_values_are_rejected(changes: dict[str, Any], field: str | None, rule: str) -> None:
    with pytest.raises(InvalidDataError, match=re.escape(rule)) as caught:
        make(**changes)
    path = None if field is None else f"{PATH}.{field}"
    assert caught.value.field == path
    assert str(caught.value).startswith("expiration" if path is None else path)
    assert caught.value.__cause__ is caught.value.__context__ is None


@pytest.mark.parametrize(
    "expiration",
    ["1231", "131", "12", "2031", "20312", "201220", "2031-12-31", "12/31/01", "2031/2031", "Dec 2031", "/", "abcdef"],
)
def test_an_ambiguous_expiry_is_rejected(expiration: str) -> None:
    for attempt in (lambda: normalize_expiry(expiration), lambda: Card(NUMBER, expiration=expiration)):
        with pytest.raises(InvalidDataError) as caught:
            attempt()
        assert expiration not in str(caught.value) or expiration == "/"


@pytest.mark.parametrize(
    ("expiration", "field"),
    [
        ("13/31", "expirationMonth"),
        ("31/12", "expirationMonth"),
        ("0/31", "expirationMonth"),
        ("12/1", "expirationYear"),
    ],
)
def test_the_error_names_the_invalid_part_of_an_expiry(expiration: str, field: str) -> None:
    with pytest.raises(InvalidDataError) as caught:
        normalize_expiry(expiration)
    assert caught.value.field == f"{PATH}.{field}"


def test_a_card_is_valid_until_its_month_has_ended_in_every_time_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    set_time(monkeypatch, 2031, 12, 31, 23, 59, 59)
    Card(NUMBER, expiration="12/31")
    set_time(monkeypatch, 2032, 1, 1, 11, 59, 59)  # still December twelve hours behind UTC
    Card(NUMBER, expiration="12/31")
    set_time(monkeypatch, 2032, 1, 1, 12, 0, 0)
    with pytest.raises(InvalidDataError) as caught:
        Card(NUMBER, expiration="12/31")
    assert caught.value.field == f"{PATH}.expirationYear"
    assert Card(NUMBER, expiration="12/31", allow_expired=True).to_data()["expirationYear"] == "2031"
    Card(NUMBER, expiration_year="2032")
    Card(NUMBER, expiration_month="12")
    set_time(monkeypatch, 2032, 2, 1, 12, 0, 0)
    with pytest.raises(InvalidDataError) as caught:
        Card(NUMBER, expiration="01/32")
    assert caught.value.field == f"{PATH}.expirationMonth"
    with pytest.raises(InvalidDataError):
        Card(NUMBER, expiration_year=2031)


# Types.


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("visa", "001"),
        ("visa_2", "001"),
        ("visa_3", "001"),
        ("visa_4", "001"),
        ("visa_5", "001"),
        ("visa_6", "001"),
        ("visa_7", "001"),
        ("mastercard", "002"),
        ("mastercard_2", "002"),
        ("mastercard_3", "002"),
        ("amex", "003"),
        ("discover", "004"),
        ("discover_2", "004"),
        ("diners_club", "005"),
        ("jcb", "007"),
        ("uatp", "040"),
        ("maestro", "042"),
        ("maestro_2", "042"),
        ("maestro_3", "024 042"),
        ("maestro_uk", "024 042"),
        ("maestro_uk_2", "024 042"),
        ("maestro_uk_3", "024 042"),
        ("cup", "042 062"),
        ("cartes_bancaires", "001 036"),
        ("carnet", "042 058"),
        ("eftpos", "001 070"),
        ("elo", "001 054"),
        ("jcrew", "002 046"),
        ("mada", "001 060"),
        ("meeza", "042 067"),
    ],
)
def test_types_of_every_test_card(name: str, codes: str) -> None:
    number = TEST_CARDS[name]
    assert is_luhn_valid(number)
    assert [card_type.code for card_type in card_types(number)] == codes.split()
    card = Card(number, expiration="12/99", security_code=TEST_SECURITY_CODES.get(name, "1234"[: 3 + (codes == "003")]))
    assert card.types == card_types(number)
    assert card.type == (codes if len(codes) == 3 else None)
    for code in codes.split():
        assert Card(number, type=code).to_data()["type"] == code


def test_every_test_card_is_tested() -> None:
    (mark,) = (mark for mark in test_types_of_every_test_card.pytestmark)  # type: ignore[attr-defined]
    assert sorted(name for name, _ in mark.args[1]) == sorted(TEST_CARDS)
    assert set(TEST_SECURITY_CODES) < set(TEST_CARDS)


@pytest.mark.parametrize(
    ("prefix", "length", "codes"),
    [
        ("4", 12, ""),
        ("4", 13, "001"),
        ("4", 19, "001"),
        ("2220", 16, ""),
        ("2221", 16, "002"),
        ("2720", 16, "002"),
        ("2721", 16, ""),
        ("51", 16, "002"),
        ("559", 16, "002"),
        ("51", 15, ""),
        ("34", 15, "003"),
        ("37", 15, "003"),
        ("37", 16, ""),
        ("622125", 16, "042 062"),
        ("622126", 16, "004 062"),
        ("622925", 16, "004 062"),
        ("622926", 16, "042 062"),
        ("643", 16, "042"),
        ("644", 16, "004"),
        ("659", 16, "004"),
        ("66", 16, "042"),
        ("300", 14, "005"),
        ("306", 14, ""),
        ("3095", 14, "005"),
        ("3096", 14, ""),
        ("36", 14, "005"),
        ("3527", 16, ""),
        ("3528", 16, "007"),
        ("3589", 16, "007"),
        ("3590", 16, ""),
        ("809999", 16, ""),
        ("810000", 16, "004 062"),
        ("817199", 16, "004 062"),
        ("817200", 16, ""),
        ("1", 15, "040"),
        ("1", 16, ""),
        ("606282", 16, "042 050"),
        ("627780", 16, "042 054 062"),
        ("0", 16, ""),
        ("999999", 16, ""),
    ],
)
def test_boundaries_of_ranges(prefix: str, length: int, codes: str) -> None:
    number = prefix.ljust(length, "0")
    assert [card_type.code for card_type in card_types(number)] == codes.split()


def test_networks_select_and_order_the_types() -> None:
    number = TEST_CARDS["cartes_bancaires"]
    for networks in (["CARTESBANCAIRES", "VISA"], ["VISA", "CARTESBANCAIRES"], ["MASTERCARD", "VISA"], ["AMEX"], []):
        result = [card_type.network for card_type in card_types(number, networks=networks)]
        assert result == [name for name in networks if name != "MASTERCARD" and name != "AMEX"]
    assert [card_type.code for card_type in card_types(TEST_CARDS["maestro_uk"], networks=["MAESTRO"])] == ["042"]


def test_undetectable_types_are_accepted_for_any_number() -> None:
    for code in ("036", "060", "065", "068", "081"):
        assert make(type=code).type == code
    assert make(type="033").type == "001"
    assert make(type=CARD_TYPES["036"]).type == "036"
    assert Card(TEST_CARDS["maestro"], type="024").type == "024"


def test_card_types_is_complete() -> None:
    assert sorted(CARD_TYPES) == [f"{code:03}" for code in range(1, 82) if code not in (22, 69)]
    assert all(code == card_type.code and card_type.name for code, card_type in CARD_TYPES.items())
    networks = sorted(card_type.network for card_type in CARD_TYPES.values() if card_type.network)
    documented = (
        "AMEX CARNET CARTESBANCAIRES CUP DINERSCLUB DISCOVER EFTPOS ELO JAYWAN JCB JCREW KCP MADA MAESTRO MASTERCARD"
        " MEEZA PAYPAK UATP VISA"
    )
    assert " ".join(networks) == documented
    undetectable = {card_type.network for card_type in CARD_TYPES.values() if card_type.detectable == "never"} - {None}
    assert undetectable == {"JAYWAN", "KCP", "PAYPAK"}
    assert [code for code, card_type in CARD_TYPES.items() if card_type.security_code_lengths != (3,)] == ["003"]
    with pytest.raises(TypeError):
        CARD_TYPES["001"] = CARD_TYPES["002"]  # type: ignore[index]


@pytest.mark.parametrize(
    "not_a_number", ["", "4", "abc", "4111x", None, 4111111111111111, "41111111111111111111", "\u0661" * 16]
)
def test_helpers_accept_any_value(not_a_number: Any) -> None:
    assert card_types(not_a_number) == ()
    assert not is_luhn_valid(not_a_number)


def test_the_luhn_check_can_be_skipped() -> None:
    wrong = NUMBER[:-1] + "5"
    assert Card(wrong, check_luhn=False).masked == "XXXXXXXXXXXX7755"
    # Hipercard and Naranja do not use it.
    assert Card("6062820000000009").masked == "XXXXXXXXXXXX0009"
    assert Card("5895620000000001", type="076").type == "076"
    with pytest.raises(InvalidDataError, match="Luhn"):
        Card("5895620000000001", type="042")


def test_luhn_over_random_numbers() -> None:
    chosen = random.Random(4)
    for _ in range(300):
        body = "".join(chosen.choices("0123456789", k=chosen.randrange(11, 19)))
        (good,) = [body + digit for digit in "0123456789" if is_luhn_valid(body + digit)]
        assert is_luhn_valid(" ".join(good))
        card = Card(good.encode())
        assert card.to_data(["number"]) == {"number": good}
        assert card.masked == "X" * (len(good) - 4) + good[-4:]
        assert all(len(good) in card_type.lengths for card_type in card.types)
        at_digit = chosen.randrange(len(good))
        wrong = good[:at_digit] + str((int(good[at_digit]) + chosen.randrange(1, 10)) % 10) + good[at_digit + 1 :]
        assert not is_luhn_valid(wrong)  # Luhn finds every single wrong digit
        # Besides Naranja, every type of a random number requires it.
        if "050" not in [card_type.code for card_type in card_types(wrong)]:
            with pytest.raises(InvalidDataError, match="Luhn"):
                Card(wrong)


# Card data is never shown.


def test_repr_shows_the_last_four_digits_at_most() -> None:
    card = make()
    assert repr(card) == str(card) == f"{card}" == "%s" % card == "<Card XXXXXXXXXXXX7752>"  # noqa: UP031
    assert repr([card]) == "[<Card XXXXXXXXXXXX7752>]"
    assert repr(Card.__new__(Card)) == "<Card wiped>"
    assert (
        repr(card.to_data())
        == str(card.to_data())
        == ("<CardData number, expirationMonth, expirationYear, securityCode, type>")
    )


@pytest.mark.parametrize("spec", ["s", ">40", "d", ".3", "x"])
def test_format_specs_are_rejected(spec: str) -> None:
    with pytest.raises(TypeError) as caught:
        format(make(), spec)
    assert_hidden(str(caught.value))


def test_no_attribute_shows_card_data() -> None:
    card = make()
    with pytest.raises(TypeError):
        vars(card)
    for name in dir(card):
        assert_hidden(repr(getattr(card, name, None)) + str(getattr(card, name, None)))
    for name in Card.__slots__:
        value = getattr(card, name)
        assert_hidden(f"{value} {value!r} {pprint.pformat([value])}")
    assert_hidden(pprint.pformat({"card": card, "data": card.to_data()}))
    for wrong in (lambda: json.dumps({"card": card}), lambda: list(card), lambda: {**card}):  # type: ignore[call-overload, misc]
        with pytest.raises(TypeError) as caught:
            wrong()
        assert_hidden(str(caught.value))
    with pytest.raises(AttributeError):
        card.note = NUMBER  # type: ignore[attr-defined]


@pytest.mark.parametrize("template", ["%r", "%s", "card %r", "%(card)s"])
def test_logs_show_nothing(template: str) -> None:
    stream = io.StringIO()
    logger = logging.Logger("cards")
    logger.addHandler(logging.StreamHandler(stream))
    card = make()
    for argument in (card, card.to_data(), card._number):
        logger.error(template, {"card": argument} if "(card)" in template else argument)
    assert stream.getvalue().count("\n") == 3
    assert_hidden(stream.getvalue())


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickling_is_rejected(protocol: int) -> None:
    card = make()
    for value in (card, card.to_data(), card._number):
        with pytest.raises(TypeError, match="cannot be copied or pickled"):
            pickle.dumps(value, protocol)


def test_copying_is_rejected() -> None:
    card = make()
    for copier in (copy.copy, copy.deepcopy):
        for value in (card, card.to_data(), card._number):
            with pytest.raises(TypeError, match="cannot be copied or pickled"):
                copier(value)
    with pytest.raises(TypeError, match="cannot be copied or pickled"):
        card.__getstate__()
    again = card.to_data().copy()
    assert type(again) is CardData
    assert again == card.to_data()


def format_error_with_locals(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except (InvalidDataError, TypeError) as error:
        trace = error.__traceback__
        assert trace is not None
        # Without this frame and the test's, which contain the arguments.
        inner = trace.tb_next.tb_next if trace.tb_next is not None else None
        formatted = traceback.TracebackException(type(error), error, inner, capture_locals=True)
        pickled = pickle.loads(pickle.dumps(error)) if isinstance(error, InvalidDataError) else error  # noqa: S301
        return "".join(formatted.format()) + repr(error) + repr(pickled) + repr(vars(pickled))
    raise AssertionError("no error was raised")


@pytest.mark.parametrize(("changes", "field", "rule"), INVALID)
def test_tracebacks_with_locals_show_nothing(changes: dict[str, Any], field: str | None, rule: str) -> None:
    arguments = {**ARGUMENTS, **changes}
    output = format_error_with_locals(lambda: Card(**arguments))
    assert rule in output
    assert "self = <Card wiped>" in output
    assert_hidden(output)
    for value in changes.values():
        if isinstance(value, str) and len(value) > 3:
            assert value not in output


@pytest.mark.parametrize("arguments", [(NUMBER,), (NUMBER, "31"), ("11", NUMBER), (int(NUMBER), 31)])
def test_tracebacks_of_the_helpers_show_nothing(arguments: tuple[Any, ...]) -> None:
    output = format_error_with_locals(lambda: normalize_expiry(*arguments))
    assert "must be" in output
    assert_hidden(output)


def test_cards_compare_by_value_and_are_not_hashable() -> None:
    assert make() == make(number="4716 6388 5992 7752")
    for changes in (
        {"number": TEST_CARDS["visa"]},
        {"expiration_month": 12},
        {"security_code": "807"},
        {"type": "036"},
    ):
        assert make() != make(**changes)
    assert make() != make(security_code=None)
    assert make() != NUMBER
    with pytest.raises(TypeError, match="unhashable"):
        hash(make())


# Wiping.


def test_wiping_overwrites_the_buffers() -> None:
    card = make()
    buffers = [card._number, card._month, card._year, card._code]
    card.wipe()
    assert [bytes(buffer or b"") for buffer in buffers] == [bytes(16), bytes(2), bytes(4), bytes(3)]
    assert card.wiped
    assert repr(card) == "<Card wiped>"
    card.wipe()


@pytest.mark.parametrize(
    "use",
    [
        lambda card: card.to_data(),
        lambda card: card.masked,
        lambda card: card.type,
        lambda card: card.types,
        lambda card: card.__enter__(),
    ],
)
def test_a_wiped_card_cannot_be_used(use: Callable[[Card], object]) -> None:
    card = make()
    use(card)
    card.wipe()
    with pytest.raises(InvalidDataError, match="has been wiped") as caught:
        use(card)
    assert caught.value.field == PATH
    assert card == card
    assert card != make()


def test_a_with_block_wipes_the_card_even_after_an_exception() -> None:
    with make() as card:
        number = card._number
        assert not card.wiped
    assert card.wiped
    assert number == bytes(16)
    card = make()
    number = card._number
    with pytest.raises(ZeroDivisionError), card:
        raise ZeroDivisionError
    assert card.wiped
    assert number == bytes(16)


def test_a_rejected_card_is_wiped() -> None:
    card = Card.__new__(Card)
    with pytest.raises(InvalidDataError):
        card.__init__(**{**ARGUMENTS, "security_code": "x"})  # type: ignore[misc]
    assert card.wiped


def test_buffers_are_overwritten_on_deletion() -> None:
    digits = make()._number
    assert digits is not None
    view = memoryview(digits)
    digits.__del__()
    assert bytes(view) == bytes(16)


def test_wiping_does_not_change_the_callers_buffer() -> None:
    number = bytearray(NUMBER, "ascii")
    card = Card(number)
    card.wipe()
    assert number == NUMBER.encode()
