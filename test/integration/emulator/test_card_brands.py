"""Card brands in the emulator: the numbers and type codes of each network, and what follows from them."""

from __future__ import annotations

import pytest

from cybersource_flex.emulator.operations import cards

# Network, type codes, lengths, and first digits that belong to it.
BRANDS: list[tuple[str, tuple[str, ...], range | tuple[int, ...], tuple[str, ...]]] = [
    ("VISA", ("001",), range(13, 20), ("4", "40", "49")),
    ("MASTERCARD", ("002",), (16,), ("51", "55", "2221", "2720")),
    ("AMEX", ("003",), (15,), ("34", "37")),
    ("DISCOVER", ("004",), (16, 19), ("6011", "622126", "622925", "644", "659", "810000", "817199")),
    ("DINERSCLUB", ("005",), (14, 16), ("300", "305", "3095", "36", "38", "39")),
    ("JCB", ("007",), (16,), ("3528", "3589")),
    (
        "MAESTRO",
        ("042", "024"),
        range(12, 20),
        ("50", "5600", "6010", "601200", "622125", "622926", "623999", "6270", "6281", "6289", "6439", "66", "69"),
    ),
    ("CUP", ("062",), (16, 19), ("620000", "629999", "810000", "817199")),
    ("UATP", ("040",), (15,), ("1",)),
]
# Networks whose ranges are not published, or only in part.
PARTLY_KNOWN: list[tuple[str, tuple[str, ...], range, str | None]] = [
    ("CARTESBANCAIRES", ("036",), range(13, 20), "436000"),
    ("CARTESBANCAIRES", ("036",), range(13, 20), "501767"),
    ("CARNET", ("058", "056"), range(12, 20), "506221"),
    ("EFTPOS", ("070",), range(12, 20), "401795"),
    ("ELO", ("054",), range(12, 20), "451416"),
    ("JAYWAN", ("081",), range(12, 20), None),
    ("JCREW", ("046",), range(12, 20), "515997"),
    ("KCP", ("065",), range(12, 20), None),
    ("MADA", ("060",), range(12, 20), "446404"),
    ("MEEZA", ("067",), range(12, 20), "507808"),
    ("PAYPAK", ("068",), range(12, 20), None),
]


def networks(number: str) -> set[str]:
    return {brand.network for brand in cards.detect(number)}


@pytest.mark.parametrize(("network", "codes", "lengths", "prefixes"), BRANDS)
def test_a_number_belongs_to_a_network_by_its_first_digits_and_length(
    network: str, codes: tuple[str, ...], lengths: range | tuple[int, ...], prefixes: tuple[str, ...]
) -> None:
    for prefix in prefixes:
        detected = [length for length in range(11, 21) if network in networks(prefix.ljust(length, "0"))]
        assert detected == list(lengths)


@pytest.mark.parametrize(
    ("network", "outside"),
    [
        ("VISA", ("3", "5")),
        ("MASTERCARD", ("50", "56", "2220", "2721")),
        ("AMEX", ("33", "35", "36", "38")),
        ("DISCOVER", ("6010", "6012", "622125", "622926", "643", "660", "809999", "817200")),
        ("DINERSCLUB", ("299", "306", "3094", "3096", "35", "37", "40")),
        ("JCB", ("3527", "3590")),
        (
            "MAESTRO",
            ("49", "51", "5599", "6011", "622126", "622925", "624000", "6269", "6282", "6288", "6440", "65", "70"),
        ),
        ("CUP", ("619999", "630000", "809999", "817200")),
        ("UATP", ("0", "2")),
        ("CARTESBANCAIRES", ("435999", "436001", "501766", "501768")),
    ],
)
def test_neighbouring_numbers_do_not_belong_to_it(network: str, outside: tuple[str, ...]) -> None:
    for prefix in outside:
        for length in range(12, 20):
            assert network not in networks(prefix.ljust(length, "0"))


@pytest.mark.parametrize(("network", "codes", "lengths", "prefix"), PARTLY_KNOWN)
def test_a_network_without_published_ranges_is_known_by_its_type_code(
    network: str, codes: tuple[str, ...], lengths: range, prefix: str | None
) -> None:
    for code in codes:
        assert cards.allowed((network,), code, ())
        # Its numbers are not known, so its code is possible for any number.
        assert cards.type_agrees(code, cards.detect("4111111111111111"))
    assert not cards.allowed((network,), "001", ())
    assert not cards.allowed((network,), None, ())
    detected = [length for length in range(11, 21) if prefix and network in networks(prefix.ljust(length, "0"))]
    assert detected == (list(lengths) if prefix else [])


@pytest.mark.parametrize(("network", "codes", "lengths", "prefixes"), BRANDS)
def test_a_type_code_agrees_with_numbers_of_its_network_only(
    network: str, codes: tuple[str, ...], lengths: range | tuple[int, ...], prefixes: tuple[str, ...]
) -> None:
    brand = cards.NETWORKS[network]
    for code in codes:
        assert cards.type_agrees(code, (brand,))
        assert not cards.type_agrees(code, ())
        # A network whose ranges are known is not allowed because of its code alone.
        assert not cards.allowed((network,), code, ())
    assert cards.allowed((network,), None, (brand,))
    assert not cards.allowed(("OTHER",), None, (brand,))


def test_the_security_code_has_four_digits_for_american_express_only() -> None:
    amex, visa = cards.NETWORKS["AMEX"], cards.NETWORKS["VISA"]
    assert cards.security_code_lengths("003", ()) == cards.security_code_lengths(None, (amex,)) == {4}
    assert cards.security_code_lengths("001", ()) == cards.security_code_lengths(None, (visa,)) == {3}
    assert cards.security_code_lengths(None, ()) == {3, 4}


@pytest.mark.parametrize(
    ("number", "include", "expected"),
    [
        ("4111111111111111", None, "411111"),
        ("4111111111111111", True, "41111111"),
        ("4111111111111111", False, None),
        ("411111111111111", True, "411111"),
        ("4111111111111111111", True, "41111111"),
        ("378282246310005", True, "378282"),
        ("5555555555554444", True, "55555555"),
    ],
)
def test_the_bin_has_eight_digits_for_long_numbers_of_some_networks(
    number: str, include: bool | None, expected: str | None
) -> None:
    assert cards.prefix(number, include, cards.detect(number)) == expected


def test_a_mask_shows_the_last_four_digits() -> None:
    assert cards.mask("4111111111111234") == "XXXXXXXXXXXX1234"
    assert cards.mask("411111111234") == "XXXXXXXX1234"


def test_type_codes_are_those_of_the_published_list() -> None:
    assert len(cards.TYPE_CODES) == 79
    assert {"001", "021", "023", "068", "070", "081"} <= cards.TYPE_CODES
    assert not {"000", "022", "069", "082"} & cards.TYPE_CODES


@pytest.mark.parametrize(("digits", "expected"), [(11, False), (12, True), (19, True), (20, False)])
def test_a_number_has_twelve_to_nineteen_digits(digits: int, expected: bool) -> None:
    assert cards.is_number("4" * digits) is expected
    assert not cards.is_number("\u0664" * digits)
