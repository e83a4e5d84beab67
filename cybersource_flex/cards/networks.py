"""Card types: codes, number ranges and lengths, detection of the type, and the Luhn check of a number.

The codes are from CyberSource's table of card types. The prefixes and lengths of the large brands are those of the
Microform library, with two differences: UATP is added, and all numbers that begin with 6011 are Discover numbers,
because CyberSource's published test number is one of them. The other ranges come from lists that acquirers and
processors publish. These lists change and are incomplete: a number in a range *can* be of the type, and a number
outside the ranges can be of the type too.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Final, Literal, NamedTuple

from .._immutable import ReadOnlyDict
from ..errors import InvalidArgumentTypeError
from .digits import Digits, DigitString

__all__ = ["CARD_TYPES", "CardType", "card_types", "is_luhn_valid"]

LENGTHS: Final = tuple(range(12, 20))


class CardType(NamedTuple):
    """A card type of CyberSource's table.

    Attributes:
        code: value of ``paymentInformation.card.type``, for example ``001``.
        name: display name.
        network: name of the type in Microform's ``allowedCardNetworks``. None if Microform has no name for the type.
        lengths: allowed numbers of digits of the card number.
        security_code_lengths: allowed numbers of digits of the security code.
        detectable: whether the type can be detected from a number. ``always`` means that the known ranges are complete,
            ``sometimes`` that some ranges are known, and ``never`` that none is known.
        luhn: whether the last digit of a number must be its Luhn check digit.
    """

    code: str
    name: str
    network: str | None = None
    lengths: tuple[int, ...] = LENGTHS
    security_code_lengths: tuple[int, ...] = (3,)
    detectable: Literal["always", "sometimes", "never"] = "never"
    luhn: bool = True


_NAMES: Final = """
001 Visa;002 Mastercard;003 American Express;004 Discover;005 Diners Club;006 Carte Blanche;007 JCB;008 Optima;
009 GE Private Label;010 Beneficial Private Label;011 Twinpay credit;012 Twinpay debit;013 WalMart;014 EnRoute;
015 Lowe's consumer;016 Home Depot consumer;017 MBNA;018 Dick's Sportswear;019 Casual Corner;020 Sears;021 JAL;
023 Disney;024 Maestro (UK Domestic);025 Sam's Club consumer;026 Sam's Club business;027 Nico's;028 Bill Me Later;
029 Bebe;030 Restoration Hardware;031 Delta;032 Solo;033 Visa Electron;034 Dankort;035 Laser;036 Cartes Bancaires;
037 Carta Si;038 PIN-less debit;039 encoded account number;040 UATP;041 Household;042 Maestro (International);
043 GE Money UK;044 Korean cards;045 Style;046 J.Crew;047 PayEase China eWallet;048 PayEase China bank transfer;
049 Meijer;050 Hipercard;051 Aura;052 Redecard;053 Orico;054 Elo;055 Capital One Private Label;056 Carnet;
057 Costco Private Label;058 Carnet;059 ValueLink;060 mada;061 RuPay;062 China UnionPay;063 Falabella;064 Prompt;
065 Korean Domestic;066 Banricompras;067 Meeza;068 PayPak;070 EFTPOS;071 Codensa;072 Olimpica;073 Colsubsidio;074 Tuya;
075 Sodexo;076 Naranja;077 Cabal;078 Dinelco;079 Panal;080 EPM;081 Jaywan
"""

# Leading digits; both ends of a range are inclusive and of the same length. These ranges are complete.
_COMPLETE: Final = {
    "001": "4",
    "002": "51-55 2221-2720",
    "003": "34 37",
    "004": "6011 622126-622925 644-659 810000-817199",
    "005": "300-305 3095 36 38-39",
    "007": "3528-3589",
    "040": "1",
    "042": "50 5600-6010 601200-622125 622926-623999 6270-6281 6289-6439 66-69",
    "062": "620000-629999 810000-817199",
}
# These ranges are incomplete. Sources besides the published test numbers: ranges of the former Switch (024),
# ActiveMerchant (036, 050, 054, 058), credit-card-type (050, 054), Checkout.com's page on mada (060).
_PARTIAL: Final = {
    "024": "564182 6333 633110 6759 676770 676774",
    "036": "436000 501767 507589-507590 507593-507595 507597 560408 581752 585402-585405 585501-585505 585577-585582",
    "046": "515997",
    "050": "384100 384140 384160 606282 637095 637568 637599 637609 637612",
    "054": "401178-401179 431274 438935 451416 457393 457631-457632 504175 506699-506778 509000-509999 627780"
    " 636297-636298 636368 650031-650033 650035-650051 650057-650081 650405-650439 650485-650538 650541-650598"
    " 650700-650718 650720-650727 650901-650978 651652-651704 655000-655019 655021-655058",
    "058": "286900 502275 506199-506499 588772 606333 627535 636318 636379 639388 639484 639559",
    "060": "400861 401757 407197 407395 409201 410685 417633 419593 422817-422819 428331 428671-428673 431361 432328"
    " 434107 439954 440533 440647 440795 445564 446393 446404 446672 455036 455708 457865 458456 462220"
    " 468540-468543 483010-483012 484783 486094-486096 489317-489319 493428 504300 506968 508160 513213 520058"
    " 521076 524130 524514 529415 529741 530060 530906 531095 531196 532013 535825 535989 536023 537767 539931"
    " 543085 543357 549760 554180 557606 558848 585265 588845-588851 588982-588983 589005 589206 604906 605141"
    " 636120 968201-968211",
    "067": "507808",
    "070": "401795",
}
_NETWORKS: Final = {
    "001": "VISA",
    "002": "MASTERCARD",
    "003": "AMEX",
    "004": "DISCOVER",
    "005": "DINERSCLUB",
    "007": "JCB",
    "036": "CARTESBANCAIRES",
    "040": "UATP",
    "042": "MAESTRO",
    "046": "JCREW",
    "054": "ELO",
    "058": "CARNET",
    "060": "MADA",
    "062": "CUP",
    "065": "KCP",
    "067": "MEEZA",
    "068": "PAYPAK",
    "070": "EFTPOS",
    "081": "JAYWAN",
}
# From the Microform guide. Those of UATP and the national networks are from the sources of the ranges.
_LENGTHS: Final = {
    "001": tuple(range(13, 20)),
    "002": (16,),
    "003": (15,),
    "004": (16, 19),
    "005": (14, 16),
    "007": (16,),
    "036": tuple(range(13, 20)),
    "040": (15,),
    "046": (16,),
    "050": (16,),
    "054": (16,),
    "058": (16,),
    "060": (16,),
    "062": (16, 19),
}
# According to ActiveMerchant; Naranja uses a different check digit. In the Microform library all brands, including
# UnionPay, use Luhn.
_NO_LUHN: Final = frozenset({"050", "076"})


def _table() -> dict[str, CardType]:
    table = {}
    for entry in _NAMES.replace("\n", "").split(";"):
        code, _, name = entry.partition(" ")
        table[code] = CardType(
            code,
            name,
            _NETWORKS.get(code),
            _LENGTHS.get(code, LENGTHS),
            (4,) if code == "003" else (3,),
            "always" if code in _COMPLETE else "sometimes" if code in _PARTIAL else "never",
            code not in _NO_LUHN,
        )
    return table


CARD_TYPES: Final[Mapping[str, CardType]] = ReadOnlyDict(_table())
"""All card types of CyberSource's table, by code."""


def is_luhn_valid(number: DigitString) -> bool:
    """Whether the last digit of a number is the check digit of the others (ISO/IEC 7812-1, annex B).

    Spaces and dashes between the digits are ignored. A value that is not a string of at least two digits is not valid.
    """
    digits = Digits.parse(number, b" -")
    return digits is not None and digits.is_luhn_valid()


def card_types(number: DigitString, *, networks: Iterable[str] | None = None) -> tuple[CardType, ...]:
    """Detect the types of a complete card number from its first digits and length. Ranges of brands can overlap.

    Args:
        number: the card number; spaces and dashes between the digits are ignored.
        networks: the networks to consider, by Microform name (``VISA``), in the order in which to return them. None
            considers all types and returns them in the order of their codes.

    Returns:
        The matching types. Empty if no type matches, or if ``number`` does not consist of 12 to 19 digits.
    """
    digits = Digits.parse(number, b" -")
    types = () if digits is None else matching_types(digits)
    if networks is None:
        return types
    if isinstance(networks, str) or not isinstance(networks, Iterable):
        raise InvalidArgumentTypeError(
            f"networks must be a list of names, not {type(networks).__name__}", argument="networks"
        )
    by_network = {card_type.network: card_type for card_type in types}
    return tuple(by_network[name] for name in dict.fromkeys(networks) if name in by_network)


def matching_types(digits: Digits) -> tuple[CardType, ...]:
    """Return the types whose ranges and lengths match a number, in the order of their codes."""
    length = len(digits)
    if length not in LENGTHS:
        return ()
    starts, types_by_segment = _segments()
    types = types_by_segment[bisect_right(starts, int(digits[:6])) - 1]
    return tuple([card_type for card_type in types if length in card_type.lengths])


def is_possible(card_type: CardType, types: tuple[CardType, ...]) -> bool:
    """Whether a card whose number matches `types` can be of the type that the caller chose.

    A type whose ranges are not completely known is possible for any number.
    """
    if card_type in types:
        return True
    if card_type.code == "024":  # the ranges of this type are not completely known, but all are within Maestro's
        return CARD_TYPES["042"] in types
    return card_type.detectable != "always"


@cache
def _segments() -> tuple[tuple[int, ...], tuple[tuple[CardType, ...], ...]]:
    """Return the first six-digit prefix of each range of prefixes that match the same types, and these types."""
    ranges = []
    for code, code_ranges in {**_COMPLETE, **_PARTIAL}.items():
        for item in code_ranges.split():
            first, _, last = item.partition("-")
            low, high = int(first.ljust(6, "0")), int((last or first).ljust(6, "9"))
            ranges.append((low, high + 1, CARD_TYPES[code]))
    starts = sorted({0, *(low for low, _, _ in ranges), *(end for _, end, _ in ranges)})
    types: list[list[CardType]] = [[] for _ in starts]
    for low, end, card_type in sorted(ranges):
        for index in range(starts.index(low), starts.index(end)):
            types[index].append(card_type)
    return tuple(starts), tuple(tuple(sorted(set(segment))) for segment in types)
