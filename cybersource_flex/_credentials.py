"""Recognise tokens, keys, secrets and card numbers that are given where an id belongs.

Published ids are the ``jti`` of a transient token (64
characters), payment credentials references (21 characters of base64url) and the ``kid`` of a key (2 to 32 characters).
"""

from __future__ import annotations

import base64
import re
from itertools import pairwise
from typing import Final
from unicodedata import decimal, normalize

__all__ = ["credential_in", "holds_card_number", "is_card_number", "is_encoded_secret", "not_a_path_id", "not_an_id"]

# A run of base64url that begins like an encoded JSON object, and the parts after it.
_ENCODED_OBJECT: Final = re.compile(r"(?<![A-Za-z0-9_-])(e[w-z0-3][A-Za-z0-9_-]{6,})((?:\.[A-Za-z0-9_-]*)*)")
_OBJECT_START: Final = re.compile(rb'\{\s*"')
_PRINTABLE: Final = re.compile(rb"[\s\x20-\x7e]+")
# Characters. A shorter run without a dot could be an id that begins so by chance.
_LONE_PART: Final = 24
_PEM: Final = re.compile(r"-----BEGIN [A-Z0-9 ]+-----")
# A shared secret as the Business Center shows it: 32 bytes in base64.
_SHARED_SECRET: Final = re.compile(r"[A-Za-z0-9+/]{43}=")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")
# In random base64 64 % of the characters are of another kind than the one before; in names fewer than 30 %.
_CHANGES: Final = 0.33
# What ids in paths consist of: the unreserved characters of RFC 3986 section 2.3.
_PATH_ID: Final = re.compile(r"[A-Za-z0-9._~-]+")
_LONGEST_PATH_ID: Final = 128
# The longest id with letters of both cases has 32 characters: the kid of a one-time key.
_SHORTEST_SECRET: Final = 37
_DIGITS: Final = re.compile(r"[0-9](?:[^0-9A-Za-z]{0,2}[0-9]){11,18}")
_SEPARATORS: Final = re.compile(r"[^0-9]+")
# A number with other text around it: in one piece, with letters directly beside it perhaps, and not the fraction of a
# decimal number; or in the groups that are printed on cards.
_WHOLE: Final = re.compile(r"(?<![0-9A-Za-z])(?<![0-9]\.)[A-Za-z]*([0-9]{13,19})[A-Za-z]*(?![0-9A-Za-z])")
_GROUPS: Final = re.compile(
    r"(?<![0-9])(?:[0-9]{4}(?:[^0-9A-Za-z]{1,4}[0-9]{4}){3}|[0-9]{4}[^0-9A-Za-z]{1,4}[0-9]{6}[^0-9A-Za-z]{1,4}[0-9]{4,5})"
    r"(?![0-9])"
)


def credential_in(text: str, *, card_numbers: bool = True) -> str | None:
    """The credential that a string holds, in words for a message: ``a JWT``. None if it holds none.

    Finds PEM, tokens in compact form (RFC 7515 section 7.1, RFC 7516 section 7.1) and card numbers: whole, in part for
    tokens, and with other text around.

    Args:
        text: the string.
        card_numbers: whether to find card numbers. Merchant ids may consist of as many digits.
    """
    if card_numbers and holds_card_number(text):
        return "a card number"
    if _PEM.search(text):
        return "a key or certificate in PEM"
    for found in _ENCODED_OBJECT.finditer(text):
        first, others = found.groups()
        if _is_object(first, lone=not others):
            count = others.count(".")
            return "a JWT" if count == 2 else "a JWE" if count == 4 else "a part of a JWT or JWE"
    return None


def not_an_id(text: str, *, card_numbers: bool = True) -> str | None:
    """What a string is that cannot be an id, in words for a message. None for anything that may be one.

    Finds what ``credential_in`` finds, JSON objects, and strings of the form of a shared secret, also without a part of
    it.
    """
    stripped = text.strip()
    if stripped[:1] == "{" and stripped[-1:] == "}" and '"' in stripped:
        return "a JSON object"
    if _SHARED_SECRET.fullmatch(stripped):
        return "a shared secret (base64 of 32 bytes)"
    found = credential_in(text, card_numbers=card_numbers)
    if found is None and is_encoded_secret(stripped, at_least=_SHORTEST_SECRET):
        return "a secret or signature in base64"
    return found


def not_a_path_id(text: str) -> str | None:
    """What a string is that cannot be an id in the path of a URL, in words for a message. None for what may be one.

    Finds what ``not_an_id`` finds, and strings that are too long or have characters that ids do not have, because these
    may be card data or credentials in any other form.
    """
    found = not_an_id(text)
    if found is not None or not text:
        return found
    if not _PATH_ID.fullmatch(text):
        return "a string with characters that ids do not have"
    return "a string that is too long for an id" if len(text) > _LONGEST_PATH_ID else None


def is_card_number(text: str) -> bool:
    """Whether a string is a card number: 12 to 19 digits, perhaps with separators between them, with the right check
    digit and in a range of a known network. Digits of other scripts count.
    """
    plain = _with_ascii_digits(text.strip())
    # With one separator it is a decimal number.
    return bool(_DIGITS.fullmatch(plain)) and len(_SEPARATORS.findall(plain)) != 1 and _is_in_a_range(plain)


def holds_card_number(text: str) -> bool:
    """Whether a string is a card number, or has one in it."""
    if len(text) < 12:
        return False
    if is_card_number(text):
        return True
    plain = _with_ascii_digits(text)
    return any(_is_in_a_range(found[1]) for found in _WHOLE.finditer(plain)) or any(
        _is_in_a_range(found[0]) for found in _GROUPS.finditer(plain)
    )


def _with_ascii_digits(text: str) -> str:
    if text.isascii():
        return text
    return "".join(str(decimal(char)) if char.isdecimal() else char for char in normalize("NFKC", text))


def _is_in_a_range(number: str) -> bool:
    digits = _SEPARATORS.sub("", number)
    # Imported here: few strings get this far, and the ranges of the networks take time to load.
    from .cards import card_types, is_luhn_valid

    return is_luhn_valid(digits) and bool(card_types(digits))


def is_encoded_secret(text: str, *, at_least: int) -> bool:
    """Whether a string has the form of random bytes in base64 or base64url, perhaps with a part missing.

    That is: upper-case and lower-case letters, digits, and many changes between them. Names of words change rarely, and
    UUIDs, hexadecimal numbers and the ids of tokens have letters of one case.

    Args:
        text: the string.
        at_least: how many characters it must have.
    """
    # Most ids have letters of one case, and need no closer look.
    if len(text) < at_least or text in (text.upper(), text.lower()) or not _BASE64.fullmatch(text):
        return False
    kinds = ["A" if char.isupper() else "a" if char.islower() else "0" for char in text.rstrip("=")]
    changes = sum(one != other for one, other in pairwise(kinds))
    return changes >= _CHANGES * (len(kinds) - 1)


def _is_object(part: str, *, lone: bool) -> bool:
    if lone and len(part) < _LONE_PART:
        return False
    start = part[: min(len(part), 32) // 4 * 4]
    data = base64.urlsafe_b64decode(start)
    # Without further parts the beginning alone could be chance: one id in 65,536.
    return _OBJECT_START.match(data) is not None and not (lone and _PRINTABLE.fullmatch(data) is None)
