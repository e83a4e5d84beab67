"""The compact form of JWS and JWE, read strictly before any library sees it.

(RFC 7515 section 7.1, RFC 7516 section 7.1, RFC 8725 section 3.)

Libraries forgive: padding, line breaks, duplicate members. What is forgiven is read by two readers in two ways, so
nothing is forgiven here. Messages name the part, the rule and the position, and hold nothing of the content.
"""

from __future__ import annotations

import binascii
import json
import re
from functools import cache
from math import isinf
from typing import Any, Final, NamedTuple

from ..errors import (
    Base64UrlError,
    CompactFormError,
    DuplicateMemberError,
    MalformedTokenError,
    NestingError,
    TokenJsonError,
    TokenTooLargeError,
    UnsupportedAlgorithmError,
)

__all__ = [
    "DEFAULT_LIMITS",
    "Jwe",
    "Jws",
    "Signed",
    "TokenLimits",
    "decode_part",
    "encode_part",
    "parse_jwe",
    "parse_jws",
    "read_object",
    "split_jws",
]

_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_ALPHABET: Final = re.compile(r"[A-Za-z0-9_-]*")
# What the last letter may be, by the length modulo 4: its bits beyond the last whole byte are zero.
_LAST: Final = {0: _LETTERS, 2: _LETTERS[::16], 3: _LETTERS[::4]}
# What ends or begins a level in JSON, and texts, in which brackets mean nothing. A text need not end: if it had to,
# each quotation mark of a token made for it would be tried to the token's end.
_BRACKETS: Final = re.compile(r'"(?:[^"\\]+|\\.)*"?|[\[\]{}]', re.S)
# Half of a surrogate pair, perhaps: what JSON can write and UTF-8 cannot.
_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")

# Members that name or carry a key (RFC 7515 section 4.1): whoever writes the token would choose what verifies it.
_KEY_MEMBERS: Final = ("jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256")


class TokenLimits(NamedTuple):
    """Upper limits for the size of a token.

    Attributes:
        max_length: length of the compact form. The largest published capture context has 12,000.
        max_depth: levels of objects and arrays. Published ones have 9.
        number_digits: digits of a number.
    """

    max_length: int = 64 * 1024
    max_depth: int = 32
    number_digits: int = 32


DEFAULT_LIMITS: Final = TokenLimits()


class Signed(NamedTuple):
    """A JWS in its parts, whatever it holds. Nothing in it is verified."""

    compact: str
    header: dict[str, Any]
    payload: bytes
    signature: bytes

    @property
    def signing_input(self) -> bytes:
        """What the signature is over: header and payload as they stand in the compact form."""
        return self.compact.rpartition(".")[0].encode("ascii")


class Jws(NamedTuple):
    """A JWS that holds claims. Nothing in it is verified."""

    signed: Signed
    claims: dict[str, Any]
    kid: str

    @property
    def compact(self) -> str:
        """The token as it came, without the white space around it."""
        return self.signed.compact

    @property
    def header(self) -> dict[str, Any]:
        """The header as it came: ``alg`` is ``RS256``."""
        return self.signed.header


class Jwe(NamedTuple):
    """A JWE in its decoded parts. Nothing in it is decrypted."""

    compact: str
    header: dict[str, Any]
    encrypted_key: bytes
    iv: bytes
    ciphertext: bytes
    tag: bytes

    @property
    def associated_data(self) -> bytes:
        """What the tag covers besides the ciphertext: the encoded header."""
        return self.compact.partition(".")[0].encode("ascii")


def parse_jws(token: str, what: str, limits: TokenLimits = DEFAULT_LIMITS) -> Jws:
    """Split and decode a JWS whose payload is a claims set, and which may be verified with RS256 alone.

    Args:
        token: the compact form; white space around it is removed.
        what: what the token is, for messages: ``capture context``.
        limits: how large it may be.

    Raises:
        MalformedTokenError: a part breaks a rule of the compact form; the subclass says which.
        UnsupportedAlgorithmError: ``alg`` is not RS256, or the header names extensions or a key of its own.
    """
    signed = split_jws(token, what, limits)
    if not signed.payload:
        raise CompactFormError(f"the payload of the {what} is empty")
    claims = read_object(signed.payload, f"payload of the {what}", limits)
    kid = signed.header.get("kid")
    if not isinstance(kid, str) or not kid:
        raise TokenJsonError(f"the header of the {what} has no kid, or one that is not a text")
    return Jws(signed, claims, kid)


def split_jws(token: str, what: str, limits: TokenLimits = DEFAULT_LIMITS) -> Signed:
    """Split and decode a JWS that may be verified with RS256 alone, whatever its payload is.

    Args and errors are those of ``parse_jws``.
    """
    token, parts = _split(token, 3, what, limits)
    where = f"header of the {what}"
    header = read_object(decode_part(parts[0], where), where, limits)
    payload = decode_part(parts[1], f"payload of the {what}") if parts[1] else b""
    signature = decode_part(parts[2], f"signature of the {what}")
    if header.get("alg") != "RS256":
        raise UnsupportedAlgorithmError(f"the {what} is not signed with RS256, the only algorithm allowed for it")
    _check_header(header, what)
    return Signed(token, header, payload, signature)


def parse_jwe(token: str, what: str, limits: TokenLimits = DEFAULT_LIMITS) -> Jwe:
    """Split and decode a JWE. The ciphertext may be empty (RFC 7516 section 7.1), no other part.

    Args:
        token: the compact form; white space around it is removed.
        what: what the token is, for messages.
        limits: how large it may be.

    Raises:
        MalformedTokenError: a part breaks a rule of the compact form; the subclass says which.
        UnsupportedAlgorithmError: the header names extensions, compression or a key of its own.
    """
    token, parts = _split(token, 5, what, limits)
    header = read_object(decode_part(parts[0], f"header of the {what}"), f"header of the {what}", limits)
    encrypted_key = decode_part(parts[1], f"encrypted key of the {what}")
    iv = decode_part(parts[2], f"initialization vector of the {what}")
    ciphertext = decode_part(parts[3], f"ciphertext of the {what}") if parts[3] else b""
    tag = decode_part(parts[4], f"tag of the {what}")
    _check_header(header, what)
    if "zip" in header:
        raise UnsupportedAlgorithmError(f"the {what} is compressed (zip), which is not allowed for it")
    return Jwe(token, header, encrypted_key, iv, ciphertext, tag)


def _split(token: str, count: int, what: str, limits: TokenLimits) -> tuple[str, list[str]]:
    if not isinstance(token, str):
        raise MalformedTokenError(f"the {what} must be a text, not {type(token).__name__}")
    if len(token) > limits.max_length:
        raise TokenTooLargeError(f"the {what} is longer than {limits.max_length} characters")
    token = token.strip(" \t\r\n")
    parts = token.split(".", count)
    if len(parts) != count:
        raise CompactFormError(f"the {what} does not have exactly {_IN_WORDS[count]} parts separated by dots")
    return token, parts


_IN_WORDS: Final = {3: "three", 5: "five"}


def _check_header(header: dict[str, Any], what: str) -> None:
    if "crit" in header or "b64" in header:
        raise UnsupportedAlgorithmError(f"the header of the {what} asks for an extension (crit, b64); none is known")
    for name in _KEY_MEMBERS:
        if name in header:
            raise UnsupportedAlgorithmError(f"the header of the {what} names a key of its own ({name})")


def decode_part(part: str, where: str) -> bytes:
    """The bytes of one part. Raises ``CompactFormError`` or ``Base64UrlError``."""
    if not part:
        raise CompactFormError(f"the {where} is empty")
    match = _ALPHABET.match(part)
    end = match.end() if match else 0
    if end != len(part):
        raise Base64UrlError(f"the {where} has a character at position {end} that base64url does not have", end)
    try:
        data = binascii.a2b_base64(part.replace("-", "+").replace("_", "/") + "=" * (-len(part) % 4))
    except binascii.Error:
        raise Base64UrlError(f"the {where} has a length that base64url cannot have", len(part)) from None
    if part[-1] not in _LAST[len(part) % 4]:
        # The last character may carry bits that decoding drops: several texts for one signature.
        raise Base64UrlError(f"the {where} ends in bits that base64url must leave zero", len(part) - 1)
    return data


def encode_part(data: bytes) -> str:
    """base64url without padding (RFC 7515 section 2)."""
    text = binascii.b2a_base64(data, newline=False).decode("ascii")
    return text.rstrip("=").replace("+", "-").replace("/", "_")


def read_object(data: bytes, where: str, limits: TokenLimits) -> dict[str, Any]:
    """The JSON object in a part, read strictly. Raises a ``MalformedTokenError``."""
    # Errors are raised outside of `except`: what the parser raises holds the whole text, and would go along as context.
    error: MalformedTokenError
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as cause:
        error = TokenJsonError(f"the {where} is not UTF-8 at byte {cause.start}", cause.start)
    else:
        _check_depth(text, where, limits.max_depth)
        try:
            found = _decoder(limits.number_digits).decode(text)
            if "\\" in text and _SURROGATE.search(text):
                # Would fail later, wherever it is written out.
                json.dumps(found, ensure_ascii=False).encode("utf-8")
        except _Refused as cause:
            error = cause.kind(f"the {where} {cause.rule}")
        except json.JSONDecodeError as cause:
            error = TokenJsonError(f"the {where} is not JSON at character {cause.pos}", cause.pos)
        except UnicodeEncodeError:
            error = TokenJsonError(f"the {where} has half of a surrogate pair in a text")
        except (ValueError, RecursionError):
            error = TokenJsonError(f"the {where} is not JSON that can be read")
        else:
            if isinstance(found, dict):
                return found
            error = TokenJsonError(f"the {where} is not a JSON object")
    raise error


class _Refused(Exception):
    """Carries a rule of ours, and what breaking it is called, through the parser."""

    def __init__(self, kind: type[MalformedTokenError], rule: str) -> None:
        super().__init__()
        self.kind = kind
        self.rule = rule


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Refused(DuplicateMemberError, "has the same member twice in one object")
    return found


def _constant(name: str) -> Any:
    raise _Refused(TokenJsonError, "has a number that JSON does not have (NaN or Infinity)")


@cache
def _decoder(digits: int) -> json.JSONDecoder:
    """A parser for numbers of so many digits at most."""

    def check(text: str) -> None:
        if len(text) > digits:
            raise _Refused(TokenJsonError, f"has a number of more than {digits} digits")

    def integer(text: str) -> int:
        check(text)
        return int(text)

    def fraction(text: str) -> float:
        check(text)
        number = float(text)
        if isinf(number):
            raise _Refused(TokenJsonError, "has a number that is too large")
        return number

    return json.JSONDecoder(
        object_pairs_hook=_members, parse_int=integer, parse_float=fraction, parse_constant=_constant
    )


def _check_depth(text: str, where: str, limit: int) -> None:
    # Before the parser: it would recurse once for every bracket. Most tokens have too few brackets to be counted one by
    # one.
    if text.count("[") + text.count("{") <= limit:
        return
    depth = 0
    for match in _BRACKETS.finditer(text):
        found = match.group()
        if found in ("[", "{"):
            depth += 1
            if depth > limit:
                position = match.start()
                raise NestingError(
                    f"the {where} is nested deeper than {limit} levels at character {position}", position
                )
        elif found in ("]", "}"):
            depth -= 1
