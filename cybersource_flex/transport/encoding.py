"""How values are written into paths, queries, headers and bodies (OpenAPI 3.0.3, Style Values), and text is read."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote

from .._model import Model

__all__ = ["SEPARATORS", "fill", "header_value", "is_json", "json_body", "query_string", "text_of"]

# RFC 3986 section 2.3; everything else in a path segment or a query value is percent-encoded.
_UNRESERVED: Final = "-._~"

# What stands between the entries of a list that is joined, by style. Encoded where RFC 3986 section 2 asks for it.
SEPARATORS: Final = MappingProxyType({"form": ",", "spaceDelimited": "%20", "pipeDelimited": "%7C"})


def is_json(media_type: str) -> bool:
    """Whether a media type is JSON: ``application/json`` or a ``+json`` type (RFC 6839 section 3.1)."""
    essence = media_type.partition(";")[0].strip().lower()
    return essence == "application/json" or essence.endswith("+json")


def json_body(body: Any) -> bytes:
    """A body of JSON, without what is read-only.

    Raises:
        TypeError: there is something in it that JSON cannot express.
        ValueError: a number is NaN or infinite.
    """
    if isinstance(body, Model):
        body = body._encode(True)
    return _BODY.encode(body).encode("utf-8")


def _inside(value: Any) -> Any:
    """What stands in a list or dictionary and is no JSON type: models, dates."""
    if isinstance(value, Model):
        return value._encode(True)
    if hasattr(value, "isoformat"):
        return _plain(value, "")
    raise TypeError(f"an object of type {type(value).__name__} cannot stand in a body")


_BODY: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_inside)


def text_of(body: bytes) -> str:
    """A body that is text."""
    # Some gateways quote the JWT as a JSON string; wire formats in use have no quotation marks of their own.
    text = body.decode("utf-8").strip()
    if len(text) >= 2 and text[0] == text[-1] == '"':
        text = text[1:-1]
    return text


def fill(template: str, values: Mapping[str, Any]) -> str:
    """The path of a template, with the values of its parameters; entries of a list are separated by commas.

    Raises:
        TypeError: a value has a type that cannot be sent.
        ValueError: a value is empty, a dot segment, NaN or infinite.
    """

    def value_of(match: re.Match[str]) -> str:
        name = match.group(1)
        value = values[name]
        entries = value if isinstance(value, (list, tuple)) else (value,)
        text = ",".join(quote(_plain(entry, name), safe=_UNRESERVED) for entry in entries)
        if not text:
            raise ValueError(f"path parameter {name!r} must not be empty")
        if text in (".", ".."):
            # Percent-encoding cannot protect these: RFC 3986 section 5.2.4 removes them on the way.
            raise ValueError(f"path parameter {name!r} must not be a dot segment")
        return text

    return re.sub(r"\{([^{}]+)\}", value_of, template) if "{" in template else template


def query_string(parameters: Iterable[tuple[str, Any]], styles: Mapping[str, str]) -> str:
    """The query with its question mark, or nothing.

    Args:
        parameters: names and values in their order; None leaves one out, an entry of a list repeats it.
        styles: styles of those whose lists are joined and not repeated.

    Raises:
        TypeError: a value has a type that cannot be sent.
        ValueError: a value is NaN or infinite.
    """
    pairs = []
    for name, value in parameters:
        if value is None:
            continue
        entries = [
            quote(_plain(entry, name), safe=_UNRESERVED)
            for entry in (value if isinstance(value, (list, tuple)) else (value,))
        ]
        if entries and name in styles:
            entries = [SEPARATORS[styles[name]].join(entries)]
        pairs += [f"{quote(name, safe=_UNRESERVED)}={entry}" for entry in entries]
    return "?" + "&".join(pairs) if pairs else ""


def header_value(name: str, value: Any) -> str:
    """The value of a header; entries of a list are separated by commas.

    Raises:
        TypeError: a value has a type that cannot be sent.
        ValueError: it has a line break or a null character in it, or is NaN or infinite.
    """
    text = ",".join(_plain(entry, name) for entry in value) if isinstance(value, (list, tuple)) else _plain(value, name)
    if any(char in text for char in "\r\n\0"):
        raise ValueError(f"header {name!r} must not have a line break or a null character in its value")
    return text


def _plain(value: Any, name: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"parameter {name!r} must not be infinite or NaN")
    if isinstance(value, (str, int, float)):
        return str(value)
    if hasattr(value, "isoformat"):
        return str(value.isoformat()).replace("+00:00", "Z")
    raise TypeError(f"parameter {name!r} cannot be of type {type(value).__name__}")
