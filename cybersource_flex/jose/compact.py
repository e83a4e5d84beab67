"""Strict parser for the compact form of JWS and JWE.

Standards: RFC 7515 section 7.1, RFC 7516 section 7.1, RFC 8725 section 3.

Many libraries accept padding, line breaks and duplicate members. Two parsers can then read the same token differently,
and an attacker can abuse this. Therefore this parser rejects all three. It also rejects white space around a token,
so that the string that the caller passed is exactly the token that was verified.

Error messages name the part, the rule and the position. They never contain the content of the token. They name a wrong
character only if it is in ``_WRONG_CHARACTERS``.
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
    ConfigurationError,
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
    "JwsParts",
    "SignedJwt",
    "TokenLimits",
    "check_limits",
    "decode_part",
    "encode_part",
    "parse_json_object",
    "parse_jwe",
    "parse_jws",
    "split_jws",
]

_BASE64URL_CHARACTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_ALPHABET: Final = re.compile(r"[A-Za-z0-9_-]*")
# Characters that may end a base64url string, by its length modulo 4: the bits after the last whole byte must be zero.
_LAST_CHARACTERS: Final = {0: _BASE64URL_CHARACTERS, 2: _BASE64URL_CHARACTERS[::16], 3: _BASE64URL_CHARACTERS[::4]}
# Matches brackets and whole strings in JSON, so that brackets inside strings are skipped. The closing quotation mark is
# optional: otherwise a token with many quotation marks would take quadratic time.
_BRACKETS: Final = re.compile(r'"(?:[^"\\]+|\\.)*"?|[\[\]{}]', re.S)
# An escaped surrogate. JSON can express a lone surrogate, but UTF-8 cannot encode one.
_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")

# Members that name or contain a key (RFC 7515 section 4.1). The sender of a token must not choose the key that
# verifies it.
_KEY_MEMBERS: Final = ("jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256")


class TokenLimits(NamedTuple):
    """Limits for the size of a token.

    Attributes:
        max_length: characters in the compact form. The largest published capture context has 12,000.
        max_depth: levels of nested objects and arrays. Published tokens have at most 9.
        max_digits: characters in a number.
    """

    max_length: int = 64 * 1024
    max_depth: int = 32
    max_digits: int = 32


DEFAULT_LIMITS: Final = TokenLimits()


def check_limits(limits: TokenLimits) -> None:
    """Check the argument ``limits``. Raises ``ConfigurationError``."""
    if limits is DEFAULT_LIMITS:
        return
    if not isinstance(limits, TokenLimits):
        raise ConfigurationError(f"limits must be a TokenLimits, not {type(limits).__name__}")
    for name, value in limits._asdict().items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigurationError(f"{name} of limits must be an integer, at least 1")


class JwsParts(NamedTuple):
    """The decoded parts of an unverified JWS. The payload can be any bytes."""

    compact: str
    header: dict[str, Any]
    payload: bytes
    signature: bytes

    @property
    def signing_input(self) -> bytes:
        """The data that is signed: the encoded header and payload, separated by a dot."""
        return self.compact.rpartition(".")[0].encode("ascii")


class SignedJwt(NamedTuple):
    """An unverified JWS whose payload is a claims set."""

    parts: JwsParts
    claims: dict[str, Any]
    kid: str

    @property
    def compact(self) -> str:
        """The token in compact form."""
        return self.parts.compact

    @property
    def header(self) -> dict[str, Any]:
        """The decoded header. Its ``alg`` is ``RS256``."""
        return self.parts.header


class Jwe(NamedTuple):
    """The decoded parts of a JWE that was not decrypted yet."""

    compact: str
    header: dict[str, Any]
    encrypted_key: bytes
    iv: bytes
    ciphertext: bytes
    tag: bytes

    @property
    def associated_data(self) -> bytes:
        """The additional authenticated data: the encoded header."""
        return self.compact.partition(".")[0].encode("ascii")


def parse_jws(token: str, token_name: str, limits: TokenLimits = DEFAULT_LIMITS) -> SignedJwt:
    """Parse a JWS whose payload is a claims set. Only RS256 is accepted.

    Args:
        token: the compact form.
        token_name: the name of the token in error messages, such as ``capture context``.
        limits: maximum size of the token.

    Raises:
        MalformedTokenError: a part violates a rule of the compact form; the subclass names the rule.
        UnsupportedAlgorithmError: ``alg`` is not RS256, or the header names an extension or a key.
    """
    parts = split_jws(token, token_name, limits)
    if not parts.payload:
        raise CompactFormError(f"the payload of the {token_name} is empty")
    claims = parse_json_object(parts.payload, f"payload of the {token_name}", limits)
    kid = parts.header.get("kid")
    if not isinstance(kid, str) or not kid:
        raise TokenJsonError(f"the header of the {token_name} has no kid; expected a string")
    return SignedJwt(parts, claims, kid)


def split_jws(token: str, token_name: str, limits: TokenLimits = DEFAULT_LIMITS) -> JwsParts:
    """Parse a JWS whose payload can be any bytes. Only RS256 is accepted.

    Arguments and errors are those of ``parse_jws``.
    """
    parts = _split_parts(token, 3, token_name, limits)
    part_name = f"header of the {token_name}"
    header = parse_json_object(decode_part(parts[0], part_name), part_name, limits)
    payload = decode_part(parts[1], f"payload of the {token_name}") if parts[1] else b""
    signature = decode_part(parts[2], f"signature of the {token_name}")
    if header.get("alg") != "RS256":
        raise UnsupportedAlgorithmError(f"the {token_name} is not signed with RS256, the only allowed algorithm")
    _check_header(header, token_name)
    return JwsParts(token, header, payload, signature)


def parse_jwe(token: str, token_name: str, limits: TokenLimits = DEFAULT_LIMITS) -> Jwe:
    """Parse a JWE. Only the ciphertext may be empty (RFC 7516 section 7.1).

    Args:
        token: the compact form.
        token_name: the name of the token in error messages, such as ``payment credentials``.
        limits: maximum size of the token.

    Raises:
        MalformedTokenError: a part violates a rule of the compact form; the subclass names the rule.
        UnsupportedAlgorithmError: the header names an extension, compression or a key.
    """
    parts = _split_parts(token, 5, token_name, limits)
    header = parse_json_object(
        decode_part(parts[0], f"header of the {token_name}"), f"header of the {token_name}", limits
    )
    encrypted_key = decode_part(parts[1], f"encrypted key of the {token_name}")
    iv = decode_part(parts[2], f"initialization vector of the {token_name}")
    ciphertext = decode_part(parts[3], f"ciphertext of the {token_name}") if parts[3] else b""
    tag = decode_part(parts[4], f"tag of the {token_name}")
    _check_header(header, token_name)
    if "zip" in header:
        raise UnsupportedAlgorithmError(f"the {token_name} is compressed (zip), which is not allowed")
    return Jwe(token, header, encrypted_key, iv, ciphertext, tag)


def _split_parts(token: str, count: int, token_name: str, limits: TokenLimits) -> list[str]:
    check_limits(limits)
    if not isinstance(token, str):
        raise MalformedTokenError(f"the {token_name} must be a string, not {type(token).__name__}")
    if len(token) > limits.max_length:
        raise TokenTooLargeError(f"the {token_name} is longer than {limits.max_length} characters")
    parts = token.split(".", count)
    if parts[0] == "fc1":
        raise CompactFormError(f"the {token_name} is a stored capture context; pass it to restore_capture_context")
    if len(parts) != count:
        raise CompactFormError(
            f"the {token_name} does not have exactly {_NUMBER_NAMES[count]} parts separated by dots"
            f"{_explain_number_of_parts(token)}"
        )
    return parts


_NUMBER_NAMES: Final = {3: "three", 5: "five"}


def _explain_number_of_parts(token: str) -> str:
    """Return what a string that is not a token probably is, to append to an error message. Does not quote it."""
    stripped = token.strip()
    if not stripped:
        return ": it is empty"
    if stripped in ("undefined", "null", "None", "[object Object]"):
        return f": it is the word {stripped!r}, so the variable that was passed contains no token"
    if stripped.startswith("{"):
        return ": it is a JSON object; pass the string member that contains the token"
    if "%2e" in stripped[:_MAX_SEARCHED].lower():
        return ": it is percent-encoded; decode it first (urllib.parse.unquote)"
    if re.fullmatch(r"[\w-]+(?:\.[\w-]*){4}", stripped, re.ASCII):
        return ": it has five parts, so it is an encrypted token (JWE)"
    return ""


# Number of characters at the start of a malformed token that are searched for the cause.
_MAX_SEARCHED: Final = 16 * 1024


def _check_header(header: dict[str, Any], token_name: str) -> None:
    if "crit" in header or "b64" in header:
        raise UnsupportedAlgorithmError(
            f"the header of the {token_name} requires an extension (crit, b64), which is not supported"
        )
    for name in _KEY_MEMBERS:
        if name in header:
            raise UnsupportedAlgorithmError(
                f"the header of the {token_name} contains or refers to a key ({name}), which is not allowed"
            )


def decode_part(part: str, part_name: str) -> bytes:
    """Decode one part from base64url. Raises ``CompactFormError`` or ``Base64UrlError``."""
    if not part:
        raise CompactFormError(f"the {part_name} is empty")
    match = _ALPHABET.match(part)
    end = match.end() if match else 0
    if end != len(part):
        name, advice = _describe_character(part, end)
        raise Base64UrlError(f"the {part_name} has {name} at position {end} that is not base64url{advice}", end)
    try:
        data = binascii.a2b_base64(part.replace("-", "+").replace("_", "/") + "=" * (-len(part) % 4))
    except binascii.Error:
        raise Base64UrlError(f"the {part_name} has a length that is impossible in base64url", len(part)) from None
    if part[-1] not in _LAST_CHARACTERS[len(part) % 4]:
        # Decoding ignores the last bits, so without this check a signature would have several valid encodings.
        raise Base64UrlError(f"the {part_name} ends with bits that must be zero in base64url", len(part) - 1)
    return data


_QUOTATION_MARK: Final = (
    "a quotation mark",
    "; pass the token without quotation marks (json.loads decodes a JSON string)",
)
_WHITE_SPACE: Final = ("white space", "; pass the token without white space (str.strip removes it at both ends)")
_INVISIBLE: Final = ("an invisible character", "; remove it")
# Characters that get into a token when it is copied, or when it is encoded once too often. For each one: its name in
# messages, and what to do. Messages name no other character, because it could be part of the content.
_WRONG_CHARACTERS: Final = {
    **dict.fromkeys("\"'`\u201c\u201d\u2018\u2019\xab\xbb", _QUOTATION_MARK),
    **dict.fromkeys(" \t\r\n\v\f\xa0\u2028\u2029\u3000", _WHITE_SPACE),
    **dict.fromkeys("\0\ufeff\u200b\u200c\u200d\u2060\xad\u202e", _INVISIBLE),
    "&": ("an ampersand (&)", "; decode HTML escapes first (html.unescape)"),
    "%": ("a percent sign (%)", "; decode the percent-encoding first (urllib.parse.unquote)"),
    "\\": ("a backslash", "; decode the JSON string first (json.loads)"),
    "=": ("an equals sign (=)", "; remove the padding, or the name before the token"),
    "+": ("a plus sign (+)", "; base64url uses - instead"),
    "/": ("a slash (/)", "; base64url uses _ instead"),
    "{": ("a brace ({)", "; pass the string member of the JSON object that contains the token"),
    "}": ("a brace (})", "; pass only the string that contains the token"),
    "[": ("a bracket ([)", "; pass only the string that contains the token"),
    "]": ("a bracket (])", "; pass only the string that contains the token"),
    "<": ("an angle bracket (<)", "; pass the token without markup around it"),
    ">": ("an angle bracket (>)", "; pass the token without markup around it"),
    ",": ("a comma", "; pass the token alone"),
    ";": ("a semicolon", "; pass the token alone"),
    ":": ("a colon", "; pass the token without a name before it"),
}


def _describe_character(part: str, position: int) -> tuple[str, str]:
    """Return the name of the wrong character for an error message, and advice to append. Quotes no other character."""
    before = part[: min(position, 16)].lower()
    if part[position] == " " and before in ("bearer", "jwt", "token"):
        return "a space", f"; pass the token without the word {before!r} before it"
    return _WRONG_CHARACTERS.get(part[position], ("a character", ""))


def encode_part(data: bytes) -> str:
    """Encode as base64url without padding (RFC 7515 section 2)."""
    encoded = binascii.b2a_base64(data, newline=False).decode("ascii")
    return encoded.rstrip("=").replace("+", "-").replace("/", "_")


def parse_json_object(data: bytes, part_name: str, limits: TokenLimits) -> dict[str, Any]:
    """Parse the JSON object in a decoded part. Stricter than ``json.loads``. Raises a ``MalformedTokenError``."""
    # Errors are raised outside the `except` blocks. Otherwise their `__context__` would be the exception of the JSON
    # parser, which contains the whole part.
    error: MalformedTokenError
    try:
        source = data.decode("utf-8")
    except UnicodeDecodeError as cause:
        error = TokenJsonError(f"the {part_name} is not UTF-8 at byte {cause.start}", cause.start)
    else:
        _check_depth(source, part_name, limits.max_depth)
        try:
            value = _decoder(limits.max_digits).decode(source)
            if "\\" in source and _SURROGATE.search(source):
                # Rejects a lone surrogate, which would fail later, when the value is encoded.
                json.dumps(value, ensure_ascii=False).encode("utf-8")
        except _RuleViolation as cause:
            error = cause.error_type(f"the {part_name} {cause.rule}")
        except json.JSONDecodeError as cause:
            error = TokenJsonError(f"the {part_name} is not JSON at character {cause.pos}", cause.pos)
        except UnicodeEncodeError:
            error = TokenJsonError(f"the {part_name} has a string with a lone surrogate, which is not valid UTF-8")
        except (ValueError, RecursionError):
            error = TokenJsonError(f"the {part_name} is not JSON that can be parsed")
        else:
            if isinstance(value, dict):
                return value
            error = TokenJsonError(f"the {part_name} is not a JSON object")
    raise error


class _RuleViolation(Exception):
    """Raised inside the JSON parser, with the message and the type of the error that ``parse_json_object`` raises."""

    def __init__(self, error_type: type[MalformedTokenError], rule: str) -> None:
        super().__init__()
        self.error_type = error_type
        self.rule = rule


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _RuleViolation(DuplicateMemberError, "has the same member twice in one object")
    return members


def _reject_constant(name: str) -> Any:
    raise _RuleViolation(TokenJsonError, "has a number that is not valid JSON (NaN or Infinity)")


@cache
def _decoder(digits: int) -> json.JSONDecoder:
    """Return a JSON parser that limits the number of digits."""

    def check(literal: str) -> None:
        if len(literal) > digits:
            raise _RuleViolation(TokenJsonError, f"has a number of more than {digits} digits")

    def parse_int(literal: str) -> int:
        check(literal)
        return int(literal)

    def parse_float(literal: str) -> float:
        check(literal)
        number = float(literal)
        if isinf(number):
            raise _RuleViolation(TokenJsonError, "has a number that is too large")
        return number

    return json.JSONDecoder(
        object_pairs_hook=_unique_members, parse_int=parse_int, parse_float=parse_float, parse_constant=_reject_constant
    )


def _check_depth(source: str, part_name: str, limit: int) -> None:
    # Checked before parsing, because the parser recurses for each level. Most tokens have fewer brackets than the
    # limit, so the first comparison is enough.
    if source.count("[") + source.count("{") <= limit:
        return
    depth = 0
    for match in _BRACKETS.finditer(source):
        bracket = match.group()
        if bracket in ("[", "{"):
            depth += 1
            if depth > limit:
                position = match.start()
                raise NestingError(
                    f"the {part_name} is nested deeper than {limit} levels at character {position}", position
                )
        elif bracket in ("]", "}"):
            depth -= 1
