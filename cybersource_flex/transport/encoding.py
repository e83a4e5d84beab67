"""How values are written into paths, queries, headers and bodies (OpenAPI 3.0.3, Style Values), and text is read."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote

from .._credentials import credential_in, holds_card_number, not_a_path_id
from .._model import Model
from ..errors import InvalidArgumentError

__all__ = ["SEPARATORS", "compact_token", "fill", "header_value", "is_json", "json_body", "query_string", "text_of"]

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
        InvalidArgumentError: a value is empty, a dot segment, NaN or infinite; or it is a token, key, secret or card
            number, which access logs would keep; or it is longer than 128 characters, or has other characters than the
            unreserved ones (letters, digits, ``-``, ``.``, ``_``, ``~``), which no id has.
    """

    def value_of(match: re.Match[str]) -> str:
        name = match.group(1)
        value = values[name]
        entries = value if isinstance(value, (list, tuple)) else (value,)
        plain = [_plain(entry, name) for entry in entries]
        found = [
            # What a date is written with is not data of the caller.
            None if hasattr(entry, "isoformat") else not_a_path_id(text)
            for entry, text in zip(entries, plain, strict=True)
        ]
        if len(plain) > 1:
            # Together they may be the groups of a card number.
            found.append(credential_in(",".join(plain)))
        for what in found:
            if what is not None:
                raise InvalidArgumentError(
                    f"path parameter {name!r} was given {what}; expected an id, because access logs keep the paths of "
                    "requests",
                    argument=name,
                )
        text = ",".join(quote(each, safe=_UNRESERVED) for each in plain)
        if not text:
            raise InvalidArgumentError(f"path parameter {name!r} must not be empty", argument=name)
        if text in (".", ".."):
            # Percent-encoding cannot protect these: RFC 3986 section 5.2.4 removes them on the way.
            raise InvalidArgumentError(f"path parameter {name!r} must not be a dot segment", argument=name)
        return text

    return re.sub(r"\{([^{}]+)\}", value_of, template) if "{" in template else template


def query_string(parameters: Iterable[tuple[str, Any]], styles: Mapping[str, str]) -> str:
    """The query with its question mark, or nothing.

    Args:
        parameters: names and values in their order; None leaves one out, an entry of a list repeats it.
        styles: styles of those whose lists are joined and not repeated.

    Raises:
        TypeError: a value has a type that cannot be sent.
        InvalidArgumentError: a value is NaN or infinite; or it is a token, key or card number, which access logs would
            keep.
    """
    pairs = []
    for name, value in parameters:
        if value is None:
            continue
        plain = [_plain(entry, name) for entry in (value if isinstance(value, (list, tuple)) else (value,))]
        together = [",".join(plain)] if len(plain) > 1 else []
        for each in (*plain, *together):
            what = credential_in(each)
            if what is not None:
                raise InvalidArgumentError(
                    f"query parameter {name!r} was given {what}, which must not be part of a URL: access logs keep it",
                    argument=name,
                )
        entries = [quote(each, safe=_UNRESERVED) for each in plain]
        if entries and name in styles:
            entries = [SEPARATORS[styles[name]].join(entries)]
        pairs += [f"{quote(name, safe=_UNRESERVED)}={entry}" for entry in entries]
    return "?" + "&".join(pairs) if pairs else ""


def header_value(name: str, value: Any) -> str:
    """The value of a header; entries of a list are separated by commas.

    Raises:
        TypeError: a value has a type that cannot be sent.
        InvalidArgumentError: it has a line break or a null character in it, is NaN or infinite, or is a card number.
            Tokens are allowed, because headers are where they belong.
    """
    plain = [_plain(entry, name) for entry in (value if isinstance(value, (list, tuple)) else (value,))]
    text = ",".join(plain)
    if holds_card_number(text):
        raise InvalidArgumentError(
            f"header {name!r} was given a card number, which must not be part of a header", argument=name
        )
    if any(char in text for char in "\r\n\0"):
        raise InvalidArgumentError(
            f"header {name!r} must not have a line break or a null character in its value", argument=name
        )
    return text


def compact_token(body: str | bytes, name: str, *, encrypted: bool) -> bytes:
    """The body of a request that is a token in compact form, as bytes.

    Args:
        body: the token.
        name: name of the operation, for the message.
        encrypted: whether the token must be a JWE. If not, it may be a JWS too.

    Raises:
        InvalidArgumentError: the body is something else, such as data that is not encrypted.
    """
    data = (body.encode("utf-8", "replace") if isinstance(body, str) else body).strip()
    match = _COMPACT.fullmatch(data)
    if match is not None and (match[1] is not None or not encrypted):
        return data
    kinds, parts = ("JWE", "five") if encrypted else ("JWS or JWE", "three or five")
    message = f"the body of {name} must be a {kinds} in compact form ({parts} parts of base64url separated by dots)"
    what = _described(data)
    raise InvalidArgumentError(message if what is None else f"{message}, not {what}", argument="body")


# A JWS, or with two further parts a JWE. A detached payload and an encrypted key may be empty.
_COMPACT: Final = re.compile(rb"[\w-]+\.[\w-]*\.[\w-]+(\.[\w-]+\.[\w-]+)?")


def _described(data: bytes) -> str | None:
    if data[:1] in (b"{", b"["):
        return "JSON that is not encrypted"
    found = credential_in(data.decode("utf-8", "replace"))
    return "a JWE with other text around it" if found == "a JWE" else found


def _plain(value: Any, name: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidArgumentError(f"parameter {name!r} must not be infinite or NaN", argument=name)
    if isinstance(value, (str, int, float)):
        return str(value)
    if hasattr(value, "isoformat"):
        return str(value.isoformat()).replace("+00:00", "Z")
    raise TypeError(f"parameter {name!r} cannot be of type {type(value).__name__}")
