"""Card networks: number ranges, type codes, Luhn check, security code lengths, masking.

Prefixes and lengths of the first nine brands are those of the browser library 0.11.3, with two differences. All numbers
that begin with 6011 are Discover, as Discover's published test number shows. UATP is added, with the prefix of its test
number. The other networks publish no ranges; here they have only the prefix of their published test number.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Brand:
    """A card network.

    Attributes:
        network: name in `allowedCardNetworks`.
        codes: three-digit type codes, the most common one first.
        prefixes: inclusive ranges of leading digits, both ends of the same length.
        lengths: possible numbers of digits.
        complete: whether the prefixes are the network's whole range, so that other numbers do not belong to it.
    """

    network: str
    codes: tuple[str, ...]
    prefixes: tuple[tuple[str, str], ...]
    lengths: range | tuple[int, ...]
    complete: bool = True

    def matches(self, number: str) -> bool:
        """Whether a card number, a string of digits, may belong to this brand."""
        return len(number) in self.lengths and any(lo <= number[: len(lo)] <= hi for lo, hi in self.prefixes)


def _ranges(prefixes: str) -> tuple[tuple[str, str], ...]:
    pairs = (item.split("-") for item in prefixes.split())
    return tuple((pair[0], pair[-1]) for pair in pairs)


_MAESTRO = "50 5600-6010 601200-622125 622926-623999 6270-6281 6289-6439 66-69"
_LONG = range(12, 20)

BRANDS: tuple[Brand, ...] = (
    Brand("VISA", ("001",), _ranges("4"), range(13, 20)),
    Brand("MASTERCARD", ("002",), _ranges("51-55 2221-2720"), (16,)),
    Brand("AMEX", ("003",), _ranges("34 37"), (15,)),
    Brand("DISCOVER", ("004",), _ranges("6011 622126-622925 644-659 810000-817199"), (16, 19)),
    Brand("DINERSCLUB", ("005",), _ranges("300-305 3095 36 38-39"), (14, 16)),
    Brand("JCB", ("007",), _ranges("3528-3589"), (16,)),
    Brand("MAESTRO", ("042", "024"), _ranges(_MAESTRO), _LONG),
    Brand("CUP", ("062",), _ranges("620000-629999 810000-817199"), (16, 19)),
    Brand("UATP", ("040",), _ranges("1"), (15,)),
    Brand("CARTESBANCAIRES", ("036",), _ranges("436000 501767"), range(13, 20), complete=False),
    Brand("CARNET", ("058", "056"), _ranges("506221"), _LONG, complete=False),
    Brand("EFTPOS", ("070",), _ranges("401795"), _LONG, complete=False),
    Brand("ELO", ("054",), _ranges("451416"), _LONG, complete=False),
    Brand("JAYWAN", ("081",), (), _LONG, complete=False),
    Brand("JCREW", ("046",), _ranges("515997"), _LONG, complete=False),
    Brand("KCP", ("065",), (), _LONG, complete=False),
    Brand("MADA", ("060",), _ranges("446404"), _LONG, complete=False),
    Brand("MEEZA", ("067",), _ranges("507808"), _LONG, complete=False),
    Brand("PAYPAK", ("068",), (), _LONG, complete=False),
)

NETWORKS: dict[str, Brand] = {brand.network: brand for brand in BRANDS}

# The published list of type codes lacks these two.
TYPE_CODES: frozenset[str] = frozenset(f"{code:03}" for code in range(1, 82)) - {"022", "069"}

# Networks whose 16-digit numbers have a `bin` of eight digits when `includeCardPrefix` is true.
_EIGHT_DIGIT_PREFIX = frozenset({"DISCOVER", "JCB", "MASTERCARD", "CUP", "VISA"})


def luhn(number: str) -> bool:
    """Whether the check digit of a card number, a string of digits, is correct."""
    total = 0
    for position, digit in enumerate(reversed(number)):
        value = int(digit) * (1 + position % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def is_number(value: str) -> bool:
    """Whether a string has 12 to 19 ASCII digits."""
    return re.fullmatch(r"[0-9]{12,19}", value) is not None


def detect(number: str) -> tuple[Brand, ...]:
    """The possible brands of a number."""
    return tuple(brand for brand in BRANDS if brand.matches(number))


def type_agrees(code: str, brands: tuple[Brand, ...]) -> bool:
    """Whether a type code is possible for a number of these brands.

    The codes of private labels and of brands without published ranges are possible for any number.
    """
    owners = [brand for brand in BRANDS if code in brand.codes and brand.complete]
    return not owners or any(owner in brands for owner in owners)


def allowed(networks: tuple[str, ...], code: str | None, brands: tuple[Brand, ...]) -> bool:
    """Whether a card belongs to a network that the Microform context allows.

    A card of a network without published ranges is recognised by its type code.
    """
    if any(brand.network in networks for brand in brands):
        return True
    listed = (NETWORKS[name] for name in networks if name in NETWORKS)
    return any(code in brand.codes and not brand.complete for brand in listed)


def security_code_lengths(code: str | None, brands: tuple[Brand, ...]) -> frozenset[int]:
    """Possible lengths of the security code: four for American Express, three otherwise."""
    if code == "003" or any("003" in brand.codes for brand in brands):
        return frozenset({4})
    return frozenset({3}) if code or brands else frozenset({3, 4})


def mask(number: str) -> str:
    """The number with all digits except the last four replaced by X, as in the transient token."""
    return "X" * (len(number) - 4) + number[-4:]


def prefix(number: str, include: bool | None, brands: tuple[Brand, ...]) -> str | None:
    """The value of `bin`: six digits by default, eight or none depending on `includeCardPrefix`."""
    if include is False:
        return None
    eight = include and len(number) >= 16 and any(brand.network in _EIGHT_DIGIT_PREFIX for brand in brands)
    return number[: 8 if eight else 6]
