"""The encodings in which a secret can appear in output: plain, escaped, base64, hex and others, complete or in part."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

__all__ = ["encodings"]

# Shorter values occur by chance, so only quoted occurrences count.
_MIN_LENGTH = 6

# Longer values are searched in pieces of this size, so that a truncated value is detected too.
_PIECE = 32


def encodings(value: str | bytes) -> dict[str, str]:
    """The strings to search for, each with the name of its encoding."""
    data = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    if len(data) < _MIN_LENGTH:
        plain = data.decode("latin-1")
        return {f"{mark}{plain}{mark}": "plain, as a whole value" for mark in ("'", '"')}
    names: dict[str, str] = {}
    for piece, is_whole in _pieces(data):
        for encoded, name in _encode(piece):
            names.setdefault(encoded, name if is_whole else f"{name}, in part")
    return names


def _pieces(data: bytes) -> Iterator[tuple[bytes, bool]]:
    if len(data) < 2 * _PIECE:
        yield data, True
        return
    # A piece is too long to occur by chance. Any part of the value that is twice as long contains a whole piece.
    for start in range(0, len(data) - _PIECE + 1, _PIECE):
        yield data[start : start + _PIECE], False


def _encode(data: bytes) -> Iterator[tuple[str, str]]:
    string = data.decode("utf-8", "replace")
    yield string, "plain"
    yield data.decode("latin-1"), "plain"
    yield repr(data)[2:-1], "escaped"
    yield repr(string)[1:-1], "escaped"
    yield json.dumps(string)[1:-1], "escaped"
    percent = quote(data, safe="")
    # Only the hexadecimal digits can be in lower case; the rest of the string keeps its case.
    for encoded in (percent, quote(data), quote_plus(data), _lower_percent(percent)):
        yield encoded, "percent-encoded"
    yield data.hex(), "hex"
    yield data.hex().upper(), "hex"
    yield data.hex(":"), "hex"
    for encoded in _base64(data):
        yield encoded, "base64"
        yield encoded.replace("+", "-").replace("/", "_"), "base64url"
    if string.isdecimal() and 12 <= len(string) <= 19:
        for separator in " -":
            yield separator.join(string[start : start + 4] for start in range(0, len(string), 4)), "grouped"


def _base64(data: bytes) -> Iterator[str]:
    """The base64 that a value has inside a longer encoded string, at each of the three possible alignments."""
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + data).decode("ascii")
        # Skip the characters that also encode bits of the data before and after the value.
        first = (0, 2, 3)[before]
        last = (before + len(data)) % 3
        yield encoded[first : len(encoded) - (0, 3, 2)[last]]


def _lower_percent(encoded: str) -> str:
    head, *rest = encoded.split("%")
    return head + "".join("%" + part[:2].lower() + part[2:] for part in rest)
