"""``Card``, which never shows its data, and helpers for card types, check digits, expiry dates and test cards.

::

    from cybersource_flex.cards import Card

    with Card("4111 1111 1111 1111", expiration="12/31", security_code="123") as card:
        token = client.tokenize(context, {"card": card.to_data()})
"""

from .card import Card, CardData
from .expiry import normalize_expiry
from .networks import CARD_TYPES, CardType, card_types, is_luhn_valid
from .test_cards import TEST_CARDS, TEST_SECURITY_CODES

__all__ = [
    "CARD_TYPES",
    "TEST_CARDS",
    "TEST_SECURITY_CODES",
    "Card",
    "CardData",
    "CardType",
    "card_types",
    "is_luhn_valid",
    "normalize_expiry",
]
