"""The forms in which a value can turn up in a text: as it is, escaped, encoded, whole or in part."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

__all__ = ["SHORT", "forms"]

#: Shorter values turn up by chance: they are looked for in quotation marks alone.
SHORT = 6

# A long value is looked for in pieces, so that one that was cut off is found as well.
_PIECE = 32


def forms(value: str | bytes) -> dict[str, str]:
    """Texts to look for, each with the name of its form."""
    data = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    if len(data) < SHORT:
        text = data.decode("latin-1")
        return {f"{mark}{text}{mark}": "plain, as a whole value" for mark in ("'", '"')}
    found: dict[str, str] = {}
    for piece, whole in _pieces(data):
        for text, name in _encoded(piece):
            found.setdefault(text, name if whole else f"{name}, in part")
    return found


def _pieces(data: bytes) -> Iterator[tuple[bytes, bool]]:
    if len(data) < 2 * _PIECE:
        yield data, True
        return
    # Not one of these fits into another value by chance, and one of them is in every part of twice the length.
    for start in range(0, len(data) - _PIECE + 1, _PIECE):
        yield data[start : start + _PIECE], False


def _encoded(data: bytes) -> Iterator[tuple[str, str]]:
    text = data.decode("utf-8", "replace")
    yield text, "plain"
    yield data.decode("latin-1"), "plain"
    yield repr(data)[2:-1], "escaped"
    yield repr(text)[1:-1], "escaped"
    yield json.dumps(text)[1:-1], "escaped"
    percent = quote(data, safe="")
    # Bytes mean nothing in lower case but their digits; the rest of the text keeps its case.
    for encoded in (percent, quote(data), quote_plus(data), _lower_percent(percent)):
        yield encoded, "percent-encoded"
    yield data.hex(), "hex"
    yield data.hex().upper(), "hex"
    yield data.hex(":"), "hex"
    for encoded in _base64(data):
        yield encoded, "base64"
        yield encoded.replace("+", "-").replace("/", "_"), "base64url"
    if text.isdecimal() and 12 <= len(text) <= 19:
        for separator in " -":
            yield separator.join(text[at : at + 4] for at in range(0, len(text), 4)), "grouped"


def _base64(data: bytes) -> Iterator[str]:
    """The base64 of the value anywhere in a longer text: three ways to fall, less the ends that others share."""
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + data).decode("ascii")
        # Characters that carry bits of what is before and after the value.
        first = (0, 2, 3)[before]
        last = (before + len(data)) % 3
        yield encoded[first : len(encoded) - (0, 3, 2)[last]]


def _lower_percent(text: str) -> str:
    head, *rest = text.split("%")
    return head + "".join("%" + part[:2].lower() + part[2:] for part in rest)
