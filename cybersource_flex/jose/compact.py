"""The compact form of a JWS, read strictly before any library sees it (RFC 7515 section 7.1, RFC 8725 section 3).

Libraries forgive: padding, line breaks, duplicate members. What is forgiven is read by two readers in two ways, so
nothing is forgiven here. Messages name the part and the rule, and hold nothing of the content.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any, Final, NamedTuple

from ..errors import MalformedTokenError, UnsupportedAlgorithmError

__all__ = ["Jws", "parse_jws"]

MAX_BYTES: Final = 64 * 1024
MAX_DEPTH: Final = 32

_ALPHABET: Final = re.compile(r"[A-Za-z0-9_-]+")

# Members that name or carry a key (RFC 7515 section 4.1): whoever writes the token would choose what verifies it.
_KEY_MEMBERS: Final = ("jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256")


class Jws(NamedTuple):
    """A JWS in its parts. Nothing in it is verified."""

    compact: str
    header: dict[str, Any]
    claims: dict[str, Any]
    kid: str


def parse_jws(token: str, what: str) -> Jws:
    """Split and decode a JWS whose payload is a claims set.

    Args:
        token: the compact form; white space around it is removed.
        what: what the token is, for messages: ``capture context``.

    Raises:
        MalformedTokenError: a part breaks a rule of the compact form.
        UnsupportedAlgorithmError: ``alg`` is not RS256, or the header names extensions or a key of its own.
    """
    if not isinstance(token, str):
        raise MalformedTokenError(f"the {what} must be a text, not {type(token).__name__}")
    token = token.strip()
    if len(token) > MAX_BYTES:
        raise MalformedTokenError(f"the {what} is longer than {MAX_BYTES} characters")
    parts = token.split(".", 3)
    if len(parts) != 3:
        raise MalformedTokenError(f"the {what} does not have exactly three parts separated by dots")
    header = _object(_decode(parts[0], f"header of the {what}"), f"header of the {what}")
    claims = _object(_decode(parts[1], f"payload of the {what}"), f"payload of the {what}")
    _decode(parts[2], f"signature of the {what}")
    if header.get("alg") != "RS256":
        raise UnsupportedAlgorithmError(f"the {what} is not signed with RS256, the only algorithm allowed for it")
    if "crit" in header or "b64" in header:
        raise UnsupportedAlgorithmError(f"the header of the {what} asks for an extension (crit, b64); none is known")
    for name in _KEY_MEMBERS:
        if name in header:
            raise UnsupportedAlgorithmError(f"the header of the {what} names a key of its own ({name})")
    kid = header.get("kid")
    if not isinstance(kid, str) or not kid:
        raise MalformedTokenError(f"the header of the {what} has no kid")
    return Jws(token, header, claims, kid)


def _decode(part: str, where: str) -> bytes:
    if not part:
        raise MalformedTokenError(f"the {where} is empty")
    match = _ALPHABET.match(part)
    end = match.end() if match else 0
    if end != len(part):
        raise MalformedTokenError(f"the {where} has a character at position {end} that base64url does not have")
    try:
        data = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except (binascii.Error, ValueError):
        raise MalformedTokenError(f"the {where} has a length that base64url cannot have") from None
    if base64.urlsafe_b64encode(data).rstrip(b"=") != part.encode("ascii"):
        # The last character may carry bits that decoding drops: several texts for one signature.
        raise MalformedTokenError(f"the {where} ends in bits that base64url must leave zero")
    return data


def _object(data: bytes, where: str) -> dict[str, Any]:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as cause:
        raise MalformedTokenError(f"the {where} is not UTF-8 at byte {cause.start}") from None
    _check_depth(text, where)
    try:
        found = json.loads(text, object_pairs_hook=_members, parse_constant=_constant)
    except _Refused as cause:
        raise MalformedTokenError(f"the {where} {cause}") from None
    except json.JSONDecodeError as cause:
        raise MalformedTokenError(f"the {where} is not JSON at character {cause.pos}") from None
    except (ValueError, RecursionError):
        # An integer of more digits than Python is willing to read.
        raise MalformedTokenError(f"the {where} is not JSON that can be read") from None
    if not isinstance(found, dict):
        raise MalformedTokenError(f"the {where} is not a JSON object")
    return found


class _Refused(Exception):
    pass


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Refused("has the same member twice")
    return found


def _constant(name: str) -> Any:
    raise _Refused("has a number that JSON does not have (NaN or Infinity)")


def _check_depth(text: str, where: str) -> None:
    # Before the parser: it would recurse once for every bracket.
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    in_string = escaped = False
    for char in text:
        if in_string:
            if escaped:
                escaped = False
            elif char == "\\":
                escaped = True
            elif char == '"':
                in_string = False
        elif char == '"':
            in_string = True
        elif char in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise MalformedTokenError(f"the {where} is nested deeper than {MAX_DEPTH} levels")
        elif char in "]}":
            depth -= 1
