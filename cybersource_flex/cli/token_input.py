"""What ``verify`` and ``inspect`` have in common: tokens read and taken apart, and times in words."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

import click

from ..errors import MalformedTokenError
from ..jose import compact
from .console import decode_json_part, mask_for_display

__all__ = ["FormatError", "ParsedToken", "TokenInput", "as_timestamp", "parse_leniently", "read_token"]

# Of what is read. A token may be far shorter; what is too long is said by whoever judges it.
_MOST_BYTES: Final = 1 << 20
_LONGEST_PATH: Final = 1024
# What `datetime` can still express: 2200-01-01.
_LATEST: Final = 7_258_118_400

_QUOTES: Final = {'"': '"', "'": "'", "`": "`", "“": "”", "<": ">"}
_JWS: Final = ("header", "payload", "signature")
_JWE: Final = ("header", "encrypted key", "initialization vector", "ciphertext", "tag")
_TOKEN: Final = re.compile(r"ey[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]*){2,4}")


class TokenInput(NamedTuple):
    """A token as somebody gave it.

    Attributes:
        text: the token, or what stands in its place.
        source: where it came from: ``argument``, ``standard input`` or the path of a file.
        removed: what stood around it and was taken away.
    """

    text: str
    source: str
    removed: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<TokenInput from {self.source}>"


def read_token(argument: str | None, file: Path | None) -> TokenInput:
    """The token from the argument, the file or standard input.

    Raises:
        click.UsageError: there is none, or there are two.
    """
    if argument is not None and file is not None:
        raise click.UsageError("give the token either as argument or with --file")
    if file is not None:
        return _cleaned(_decoded(_read(file)), str(file))
    if argument is not None and argument != "-":
        return _argument(argument)
    # None where it was closed.
    if sys.stdin is None or sys.stdin.isatty():
        raise click.UsageError("no token: give it as argument, with --file, or on standard input")
    return _cleaned(_decoded(sys.stdin.buffer.read(_MOST_BYTES)), "standard input")


def _argument(text: str) -> TokenInput:
    """A token, or the path of a file with one."""
    if len(text) <= _LONGEST_PATH:
        try:
            is_file = Path(text).is_file()
        except (OSError, ValueError):
            # It cannot be a path.
            is_file = False
        if is_file:
            return _cleaned(_decoded(_read(Path(text))), text)
    if re.fullmatch(r"(?!ey)\S{1,250}\.(?:jwt|jws|jwe|json|txt)", text) and "://" not in text:
        raise click.UsageError(f"there is no file {text}")
    return _cleaned(text, "argument")


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES)
    except OSError as cause:
        raise click.UsageError(f"{path}: {cause.strerror or type(cause).__name__}") from None


def _decoded(data: bytes) -> str:
    # Windows PowerShell writes UTF-16 where it is told to write a file.
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    return data.decode("utf-8-sig", "replace")


def _cleaned(text: str, source: str) -> TokenInput:
    """The token without what it is often copied with. What is no such thing stays, for the verdict to name it."""
    removed: list[str] = []
    text = text.strip()
    for _ in range(8):
        before = text
        for what, pattern in _IN_FRONT:
            found = re.match(pattern, text, re.I)
            if found:
                text = text[found.end() :]
                removed.append(what)
        if len(text) > 1 and _QUOTES.get(text[0]) == text[-1]:
            text = text[1:-1]
            removed.append("the quotation marks around it")
        elif text[-1:] in (",", ";"):
            text = text[:-1]
            removed.append(f"{before[-1]!r} after it")
        elif text.startswith("{"):
            name, text = _out_of_json(text)
            if name is not None:
                removed.append(f"the JSON around its member {mask_for_display(name)}")
        elif re.match(r"[a-z][a-z0-9+.-]*://|[/?#]|(?!ey)[\w.-]{1,64}=", text, re.I):
            inside = [piece for piece in re.split(r"[/?&#=\s]", unquote(text)) if _TOKEN.fullmatch(piece)]
            if len(inside) == 1:
                text = inside[0]
                removed.append("the address around it")
        text = text.strip()
        if text == before:
            break
    if re.search(r"\s", text) and _TOKEN.fullmatch(bare := re.sub(r"\s+", "", text)):
        text = bare
        removed.append("white space inside it")
    return TokenInput(text, source, tuple(dict.fromkeys(removed)))


_IN_FRONT: Final = (
    ("the header's name in front", r"(?:proxy-)?authorization\s*:\s*"),
    ("'Bearer' in front", r"bearer\s+"),
)


def _out_of_json(text: str) -> tuple[str | None, str]:
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError):
        return None, text
    found = [(name, value.strip()) for name, value in _members(tree) if _TOKEN.fullmatch(value.strip())]
    return found[0] if len(found) == 1 else (None, text)


def _members(tree: Any) -> Iterator[tuple[str, str]]:
    # Not recursive: the parser may accept more levels than Python allows calls.
    left = [tree]
    while left:
        each = left.pop()
        for name, value in each.items() if isinstance(each, dict) else ():
            if isinstance(value, str):
                yield name, value
            else:
                left.append(value)


class FormatError(NamedTuple):
    """A rule of the compact form that a token breaks.

    Attributes:
        error: name of the class of exception that the package raises for it.
        message: which rule, and where.
        position: index of the character at fault within its part, or None.
    """

    error: str
    message: str
    position: int | None


class ParsedToken(NamedTuple):
    """A token taken apart as far as it goes. Nothing in it is verified.

    Attributes:
        form: ``jws``, ``jwe``, or empty.
        header: the header, or an empty mapping.
        claims: the payload of a JWS, or an empty mapping.
        sizes: bytes of each part that could be decoded.
        faults: what is wrong with its form.
    """

    form: str
    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    sizes: Mapping[str, int]
    faults: tuple[FormatError, ...]


def parse_leniently(text: str) -> ParsedToken:
    """Take a token apart by the same strict rules that verification has, but go on after a fault."""
    if len(text) > compact.DEFAULT_LIMITS.characters:
        limit = f"the token has {len(text)} characters; {compact.DEFAULT_LIMITS.characters} are allowed"
        return ParsedToken("", {}, {}, {}, (FormatError("TokenTooLargeError", limit, None),))
    if text.startswith("fc1."):
        message = "a stored capture context, which restore_capture_context reads, is no token"
        return ParsedToken("", {}, {}, {}, (FormatError("CompactFormError", message, None),))
    parts = text.split(".")
    names = _JWE if len(parts) > 3 else _JWS
    faults: list[FormatError] = []
    if len(parts) != len(names):
        count = f"{len(parts)} part{'' if len(parts) == 1 else 's'}"
        message = f"the token has {count} separated by dots; a signed one has three, an encrypted one five"
        faults.append(FormatError("CompactFormError", message, None))
    if len(parts) == 1:
        parts = []
    trees: dict[str, Mapping[str, Any]] = {}
    sizes: dict[str, int] = {}
    for name, part in zip(names, parts, strict=False):
        where = f"{name} of the token"
        try:
            data = compact.decode_part(part, where)
            sizes[name] = len(data)
            if name in ("header", "payload"):
                trees[name] = compact.read_object(data, where, compact.DEFAULT_LIMITS)
        except MalformedTokenError as cause:
            faults.append(FormatError(type(cause).__name__, str(cause), cause.position))
            if name in ("header", "payload"):
                trees[name] = _leniently(part)
    known = "header" in sizes and bool(trees["header"])
    form = "" if not known else "jwe" if len(parts) > 3 else "jws"
    return ParsedToken(form, trees.get("header", {}), trees.get("payload", {}), sizes, tuple(faults))


def _leniently(part: str) -> Mapping[str, Any]:
    """What a part that breaks a rule seems to say. Another reader may read it in another way."""
    try:
        found = decode_json_part(part.rstrip("="))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def as_timestamp(value: Any) -> float | None:
    """A claim that should be a time; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < _LATEST:
        return None
    return value
