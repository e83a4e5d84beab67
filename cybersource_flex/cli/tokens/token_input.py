"""Read a token from an argument, a file or standard input, and parse it even if it is malformed."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

import click

from ..._paths import decode_text
from ...errors import MalformedTokenError
from ...jose import compact
from ..shared.console import decode_json_part, mask_for_display

__all__ = ["FormatError", "ParsedToken", "TokenInput", "as_timestamp", "parse_leniently", "read_token"]

# Maximum size of the input. The limit for tokens is much smaller, and is checked later.
_MAX_BYTES: Final = 1 << 20
_MAX_PATH_LENGTH: Final = 1024
# 2200-01-01.
_MAX_TIMESTAMP: Final = 7_258_118_400

_QUOTES: Final = {'"': '"', "'": "'", "`": "`", "“": "”", "<": ">"}
_JWS_PARTS: Final = ("header", "payload", "signature")
_JWE_PARTS: Final = ("header", "encrypted key", "initialization vector", "ciphertext", "tag")
_TOKEN: Final = re.compile(r"ey[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]*){2,4}")


class TokenInput(NamedTuple):
    """A token as given on the command line.

    Attributes:
        token: the token, or the input if it contains none.
        source: ``argument``, ``standard input`` or the path of a file.
        removed: descriptions of what was removed around the token.
    """

    token: str
    source: str
    removed: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<TokenInput from {self.source}>"


def read_token(argument: str | None, file: Path | None) -> TokenInput:
    """Read the token from the argument, the file or standard input.

    Raises:
        click.UsageError: no token is given, two tokens are given, or the file cannot be read.
    """
    if argument is not None and file is not None:
        raise click.UsageError("give the token either as argument or with --file, not both")
    if file is not None:
        return _extract_token(_decode_text(_read(file)), str(file))
    if argument is not None and argument != "-":
        return _read_argument(argument)
    # sys.stdin is None if it was closed.
    if sys.stdin is None or sys.stdin.isatty():
        raise click.UsageError("no token given; pass it as argument, with --file, or on standard input")
    return _extract_token(_decode_text(sys.stdin.buffer.read(_MAX_BYTES)), "standard input")


def _read_argument(argument: str) -> TokenInput:
    """Return the token from an argument, which is the token or the path of a file."""
    if len(argument) <= _MAX_PATH_LENGTH:
        try:
            is_file = Path(argument).is_file()
        except (OSError, ValueError):
            # The argument is not a valid path.
            is_file = False
        if is_file:
            return _extract_token(_decode_text(_read(Path(argument))), argument)
    if re.fullmatch(r"(?!ey)\S{1,250}\.(?:jwt|jws|jwe|json|txt)", argument) and "://" not in argument:
        raise click.UsageError(f"there is no file {argument}")
    return _extract_token(argument, "argument")


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_BYTES)
    except OSError as cause:
        raise click.UsageError(f"{path}: {cause.strerror or type(cause).__name__}") from None


def _decode_text(data: bytes) -> str:
    decoded = decode_text(data)
    # Invalid characters are reported with their position in the token.
    return data.decode("utf-8-sig", "replace") if decoded is None else decoded


def _extract_token(string: str, source: str) -> TokenInput:
    """Remove what is often copied together with a token, such as quotation marks. The parser reports anything else."""
    removed: list[str] = []
    string = string.strip()
    for _ in range(8):
        before = string
        for description, pattern in _PREFIXES:
            match = re.match(pattern, string, re.I)
            if match:
                string = string[match.end() :]
                removed.append(description)
        if len(string) > 1 and _QUOTES.get(string[0]) == string[-1]:
            string = string[1:-1]
            removed.append("the quotation marks around it")
        elif string[-1:] in (",", ";"):
            string = string[:-1]
            removed.append(f"{before[-1]!r} after it")
        elif string.startswith("{"):
            name, string = _extract_from_json(string)
            if name is not None:
                removed.append(f"the JSON around its member {mask_for_display(name)}")
        elif re.match(r"[a-z][a-z0-9+.-]*://|[/?#]|(?!ey)[\w.-]{1,64}=", string, re.I):
            tokens = [piece for piece in re.split(r"[/?&#=\s]", unquote(string)) if _TOKEN.fullmatch(piece)]
            if len(tokens) == 1:
                string = tokens[0]
                removed.append("the URL around it")
        string = string.strip()
        if string == before:
            break
    if re.search(r"\s", string) and _TOKEN.fullmatch(joined := re.sub(r"\s+", "", string)):
        string = joined
        removed.append("white space inside it")
    return TokenInput(string, source, tuple(dict.fromkeys(removed)))


_PREFIXES: Final = (
    ("the header name before it", r"(?:proxy-)?authorization\s*:\s*"),
    ("'Bearer' before it", r"bearer\s+"),
)


def _extract_from_json(string: str) -> tuple[str | None, str]:
    try:
        value = json.loads(string)
    except (ValueError, RecursionError):
        return None, string
    tokens = [(name, member.strip()) for name, member in _string_members(value) if _TOKEN.fullmatch(member.strip())]
    return tokens[0] if len(tokens) == 1 else (None, string)


def _string_members(value: Any) -> Iterator[tuple[str, str]]:
    # A loop instead of recursion: the JSON can have more levels than Python's recursion limit allows.
    pending = [value]
    while pending:
        current = pending.pop()
        for name, member in current.items() if isinstance(current, dict) else ():
            if isinstance(member, str):
                yield name, member
            else:
                pending.append(member)


class FormatError(NamedTuple):
    """A violation of the compact serialization.

    Attributes:
        error: name of the exception class that the package raises for the violation.
        message: the rule that is broken, and where.
        position: index of the invalid character in its part of the token, or None if no single character is invalid.
    """

    error: str
    message: str
    position: int | None


class ParsedToken(NamedTuple):
    """The parts of a token that could be parsed. Nothing is verified.

    Attributes:
        format: ``jws``, ``jwe``, or empty.
        header: the header, or an empty mapping.
        claims: the payload of a JWS, or an empty mapping.
        sizes: size in bytes of each part that could be decoded.
        errors: violations of the compact serialization.
    """

    format: str
    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    sizes: Mapping[str, int]
    errors: tuple[FormatError, ...]


def parse_leniently(token: str) -> ParsedToken:
    """Parse a token by the strict rules of verification, but continue after an error and collect all errors."""
    if len(token) > compact.DEFAULT_LIMITS.max_length:
        limit = f"the token has {len(token)} characters; {compact.DEFAULT_LIMITS.max_length} are allowed"
        return ParsedToken("", {}, {}, {}, (FormatError("TokenTooLargeError", limit, None),))
    if token.startswith("fc1."):
        message = "this is a stored capture context, not a token; restore_capture_context reads it"
        return ParsedToken("", {}, {}, {}, (FormatError("CompactFormError", message, None),))
    parts = token.split(".")
    names = _JWE_PARTS if len(parts) > 3 else _JWS_PARTS
    errors: list[FormatError] = []
    if len(parts) != len(names):
        count = f"{len(parts)} part{'' if len(parts) == 1 else 's'}"
        message = (
            f"the token has {count} separated by dots; expected three (signed) or five (encrypted)"
            if token
            else "the token is empty"
        )
        errors.append(FormatError("CompactFormError", message, None))
    if len(parts) == 1:
        parts = []
    objects: dict[str, Mapping[str, Any]] = {}
    sizes: dict[str, int] = {}
    for name, part in zip(names, parts, strict=False):
        description = f"{name} of the token"
        try:
            data = compact.decode_part(part, description)
            sizes[name] = len(data)
            if name in ("header", "payload"):
                objects[name] = compact.parse_json_object(data, description, compact.DEFAULT_LIMITS)
        except MalformedTokenError as cause:
            errors.append(FormatError(type(cause).__name__, str(cause), cause.position))
            if name in ("header", "payload"):
                objects[name] = _decode_leniently(part)
    has_header = "header" in sizes and bool(objects["header"])
    token_format = "" if not has_header else "jwe" if len(parts) > 3 else "jws"
    return ParsedToken(token_format, objects.get("header", {}), objects.get("payload", {}), sizes, tuple(errors))


def _decode_leniently(part: str) -> Mapping[str, Any]:
    """Return the JSON object in a malformed part, or an empty dictionary. Other parsers may read it differently."""
    try:
        value = decode_json_part(part.rstrip("="))
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def as_timestamp(value: Any) -> float | None:
    """Return a claim as a timestamp in seconds. None if the claim is not a valid timestamp."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < _MAX_TIMESTAMP:
        return None
    return value
