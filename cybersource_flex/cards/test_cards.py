"""CyberSource's public test cards, for the sandbox and the emulator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .._immutable import ReadOnlyDict

__all__ = ["TEST_CARDS", "TEST_SECURITY_CODES"]

# The cards up to "uatp" are from the testing guide. The others are from the Microform guide.
TEST_CARDS: Final[Mapping[str, str]] = ReadOnlyDict(
    {
        "visa": "4111111111111111",
        "visa_2": "4622943127013705",
        "visa_3": "4622943127013713",
        "visa_4": "4622943127013721",
        "visa_5": "4622943127013739",
        "visa_6": "4622943127013747",
        "mastercard": "5555555555554444",
        "mastercard_2": "2222420000001113",
        "mastercard_3": "2222630000001125",
        "amex": "378282246310005",
        "discover": "6011111111111117",
        "jcb": "3566111111111113",
        "maestro": "50339619890917",
        "maestro_2": "586824160825533338",
        "maestro_uk": "6759411100000008",
        "maestro_uk_2": "6759560045005727054",
        "maestro_uk_3": "5641821111166669",
        "uatp": "135412345678911",
        "visa_7": "4242424242424242",
        "cartes_bancaires": "4360000001000005",
        "carnet": "5062210000000009",
        "cup": "6279886248094966",
        "diners_club": "30569309025904",
        "discover_2": "6445644564456445",
        "maestro_3": "6759649826438453",
        "mada": "4464040000000007",
        "elo": "4514160000000003",
        "jcrew": "5159971500000005",
        "eftpos": "401795000000000009",
        "meeza": "5078083000000002",
    }
)
"""Card numbers by name. Use any expiry in the future, and any security code unless ``TEST_SECURITY_CODES`` has one."""

TEST_SECURITY_CODES: Final[Mapping[str, str]] = ReadOnlyDict(
    {"visa_2": "838", "visa_3": "043", "visa_4": "258", "visa_5": "942", "visa_6": "370"}
)
"""The security codes of some ``TEST_CARDS`` (testing guide)."""
