"""Detect and mask tokens, keys, secrets and card numbers in ids, paths and messages.

CyberSource publishes the formats of three ids: the ``jti`` of a transient token (64 characters), the payment
credentials reference (21 characters of base64url) and the ``kid`` of a key (2 to 32 characters).
"""

from __future__ import annotations

import base64
import re
from itertools import pairwise
from typing import Final
from unicodedata import decimal, normalize
from urllib.parse import unquote

__all__ = [
    "PublicId",
    "contains_card_number",
    "describe_non_id",
    "describe_non_path_id",
    "find_credential",
    "is_card_number",
    "is_encoded_secret",
    "mask_credentials",
]

# Base64url that begins like an encoded JSON object, and the parts after it.
_ENCODED_OBJECT: Final = re.compile(r"(?<![A-Za-z0-9_-])(e[w-z0-3][A-Za-z0-9_-]{6,})((?:\.[A-Za-z0-9_-]*)*)")
_OBJECT_START: Final = re.compile(rb'\{\s*"')
_PRINTABLE: Final = re.compile(rb"[\s\x20-\x7e]+")
# Number of characters. A shorter string without a dot could be an id that begins like a JSON object by chance.
_MIN_LENGTH_OF_ONLY_PART: Final = 24
_PEM: Final = re.compile(r"-----BEGIN [A-Z0-9 ]+-----")
# A shared secret of the Business Center: 32 bytes in base64.
_SHARED_SECRET: Final = re.compile(r"[A-Za-z0-9+/]{43}=")
_MASKED: Final = "[masked]"
_ALL_AFTER_PEM: Final = re.compile(rf"{_PEM.pattern}.*", re.DOTALL)
_SHARED_SECRET_IN_TEXT: Final = re.compile(rf"(?<![A-Za-z0-9+/]){_SHARED_SECRET.pattern}(?!=)")
# A part of a path counts as a word, so that the rest of the path can be read.
_WORD: Final = re.compile(r"[^\s'\"(),/]+")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")
# Minimum share of characters whose class (upper case, lower case, digit) differs from that of the previous character.
# The share is 64 % in random base64, and less than 30 % in names.
_MIN_CHANGE_RATE: Final = 0.33
# Ids in paths: the unreserved characters of RFC 3986 section 2.3.
_PATH_ID: Final = re.compile(r"[A-Za-z0-9._~-]+")
_MAX_PATH_ID: Final = 128
# Number of characters. The longest id with letters of both cases, the kid of a one-time key, has 32.
_MIN_SECRET: Final = 37
_DIGITS: Final = re.compile(r"[0-9](?:[^0-9A-Za-z]{0,2}[0-9]){11,18}")
_SEPARATORS: Final = re.compile(r"[^0-9]+")
# Patterns for a card number inside a longer string. `_WHOLE` matches a number in one piece. Letters may be directly
# beside the number, but it must not be the fraction of a decimal number. `_GROUPS` matches a number in the groups that
# are printed on cards.
_WHOLE: Final = re.compile(r"(?<![0-9A-Za-z])(?<![0-9]\.)[A-Za-z]*([0-9]{13,19})[A-Za-z]*(?![0-9A-Za-z])")
_GROUPS: Final = re.compile(
    r"(?<![0-9])(?:[0-9]{4}(?:[^0-9A-Za-z]{1,4}[0-9]{4}){3}|[0-9]{4}[^0-9A-Za-z]{1,4}[0-9]{6}[^0-9A-Za-z]{1,4}[0-9]{4,5})"
    r"(?![0-9])"
)


class PublicId(str):
    """An id that is not secret, although it may look like one. A ``kid`` can be a hash in base64url (RFC 7638)."""

    __slots__ = ()


def find_credential(value: str, *, card_numbers: bool = True) -> str | None:
    """Describe the credential in a string, for a message, such as ``a JWT``. None if the string contains no credential.

    Credentials are keys and certificates in PEM, tokens in compact form (RFC 7515 section 7.1, RFC 7516 section 7.1),
    parts of tokens, and card numbers. They are found inside longer strings too.

    Args:
        value: the string.
        card_numbers: whether to look for card numbers. Pass False for merchant ids, which can look like card numbers.
    """
    if card_numbers and contains_card_number(value):
        return "a card number"
    if _PEM.search(value):
        return "a key or certificate in PEM"
    for match in _ENCODED_OBJECT.finditer(value):
        first, others = match.groups()
        if _is_object(first, is_only_part=not others):
            count = others.count(".")
            return "a JWT" if count == 2 else "a JWE" if count == 4 else "a part of a JWT or JWE"
    return None


def describe_non_id(value: str, *, card_numbers: bool = True) -> str | None:
    """Describe a string that cannot be an id, for a message, such as ``a shared secret``. None if it may be an id.

    A string cannot be an id if ``find_credential`` finds a credential in it, or if it is a JSON object, a shared secret
    or a part of a shared secret.
    """
    stripped = value.strip()
    if stripped[:1] == "{" and stripped[-1:] == "}" and '"' in stripped:
        return "a JSON object"
    if _SHARED_SECRET.fullmatch(stripped):
        return "a shared secret (base64 of 32 bytes)"
    credential = find_credential(value, card_numbers=card_numbers)
    if credential is None and is_encoded_secret(stripped, min_length=_MIN_SECRET):
        return "a secret or signature in base64"
    return credential


def describe_non_path_id(value: str) -> str | None:
    """Describe a string that cannot be an id in the path of a URL, for a message. None if the string may be an id.

    Strings that ``describe_non_id`` describes are rejected. Strings that are too long, or that have characters that ids
    do not have, are rejected too: they may be card data or credentials in an encoding that is not recognised. A
    ``PublicId`` may look like a secret in base64.
    """
    description = find_credential(value) if isinstance(value, PublicId) else describe_non_id(value)
    if description is not None or not value:
        return description
    if not _PATH_ID.fullmatch(value):
        return "a string with characters that ids do not have"
    return "a string that is too long for an id" if len(value) > _MAX_PATH_ID else None


def mask_credentials(string: str) -> str:
    """Replace credentials in a string by ``[masked]``. For messages that quote what a user or a client sent.

    A word is replaced if it cannot be an id, see ``describe_non_id``. The characters may be percent-encoded.
    """

    def mask(match: re.Match[str]) -> str:
        # An option begins with hyphens.
        word = unquote(match[0]).lstrip("-")
        return match[0] if describe_non_id(word) is None else _MASKED

    string = _ALL_AFTER_PEM.sub(_MASKED, string)
    string = _SHARED_SECRET_IN_TEXT.sub(_MASKED, string)
    string = _WORD.sub(mask, string)
    return _GROUPS.sub(lambda match: _MASKED if _is_in_a_range(match[0]) else match[0], string)


def is_card_number(value: str) -> bool:
    """Whether a string is a card number: 12 to 19 digits with a valid check digit, in a range of a known network.

    There may be separators between the digits. Digits of other scripts are recognised too.
    """
    plain = _with_ascii_digits(value.strip())
    # A string with exactly one separator is taken for a decimal number.
    return bool(_DIGITS.fullmatch(plain)) and len(_SEPARATORS.findall(plain)) != 1 and _is_in_a_range(plain)


def contains_card_number(value: str) -> bool:
    """Whether a string is or contains a card number."""
    if len(value) < 12:
        return False
    if is_card_number(value):
        return True
    plain = _with_ascii_digits(value)
    return any(_is_in_a_range(match[1]) for match in _WHOLE.finditer(plain)) or any(
        _is_in_a_range(match[0]) for match in _GROUPS.finditer(plain)
    )


def _with_ascii_digits(value: str) -> str:
    if value.isascii():
        return value
    return "".join(str(decimal(char)) if char.isdecimal() else char for char in normalize("NFKC", value))


def _is_in_a_range(number: str) -> bool:
    digits = _SEPARATORS.sub("", number)
    # Imported here, because few strings get this far, and loading the ranges of the networks takes time.
    from .cards import card_types, is_luhn_valid

    return is_luhn_valid(digits) and bool(card_types(digits))


def is_encoded_secret(value: str, *, min_length: int) -> bool:
    """Whether a string looks like random bytes in base64 or base64url, or like a part of them.

    In random base64, the next character is often of another kind: upper-case letter, lower-case letter or digit. In
    names that consist of words, this is rare. UUIDs, hexadecimal numbers and token ids have letters of one case.

    Args:
        value: the string.
        min_length: the minimum number of characters.
    """
    # Most ids have letters of one case and need no further check.
    if len(value) < min_length or value in (value.upper(), value.lower()) or not _BASE64.fullmatch(value):
        return False
    classes = ["A" if char.isupper() else "a" if char.islower() else "0" for char in value.rstrip("=")]
    changes = sum(one != other for one, other in pairwise(classes))
    return changes >= _MIN_CHANGE_RATE * (len(classes) - 1)


def _is_object(part: str, *, is_only_part: bool) -> bool:
    if is_only_part and len(part) < _MIN_LENGTH_OF_ONLY_PART:
        return False
    start = part[: min(len(part), 32) // 4 * 4]
    data = base64.urlsafe_b64decode(start)
    # One id in 65,536 begins like a JSON object by chance. Therefore the decoded bytes must be printable, unless other
    # parts of a token follow.
    return _OBJECT_START.match(data) is not None and not (is_only_part and _PRINTABLE.fullmatch(data) is None)
