"""Encode parameters and bodies (OpenAPI 3.0.3, Style Values); decompress response bodies."""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote

from .._converters import format_datetime
from .._credential_detection import PublicId, contains_card_number, describe_non_path_id, find_credential
from .._model import Model
from ..errors import InvalidArgumentError, InvalidArgumentTypeError

__all__ = [
    "SEPARATORS",
    "BodyTooLargeError",
    "ContentCodingError",
    "compact_token",
    "decode_body",
    "encode_json",
    "encode_text",
    "expand_path",
    "header_value",
    "is_json",
    "query_string",
]

# The unreserved characters of RFC 3986 section 2.3. All others are percent-encoded in path segments and query values.
_UNRESERVED: Final = "-._~"

# The separators of joined lists in a query, by style. They are percent-encoded if RFC 3986 section 2 requires it.
SEPARATORS: Final = MappingProxyType({"form": ",", "spaceDelimited": "%20", "pipeDelimited": "%7C"})

# Bits of the longest integer that is sent. Python refuses to convert much longer ones to strings.
_MAX_BITS: Final = 512
_SURROGATE: Final = "a lone surrogate, which UTF-8 cannot encode"

# Requests say `Accept-Encoding: identity`, so a server that follows HTTP uses no content coding at all.
_MAX_CODINGS: Final = 2
# Limits the number of gzip members, because decoding a member copies the rest of the body.
_MAX_MEMBERS: Final = 32


def is_json(media_type: str) -> bool:
    """Whether a media type is JSON: ``application/json`` or a ``+json`` type (RFC 6839 section 3.1)."""
    essence = media_type.partition(";")[0].strip().lower()
    return essence == "application/json" or essence.endswith("+json")


def encode_json(body: Any) -> bytes:
    """Encode a request body as JSON, without read-only properties.

    Raises:
        InvalidArgumentError: the body contains a value that JSON cannot express, such as NaN.
    """
    if isinstance(body, Model):
        body = body._encode(True)
    try:
        encoded = _ENCODER.encode(body)
    except InvalidArgumentError:
        raise
    except (TypeError, ValueError, RecursionError) as cause:
        raise InvalidArgumentError(
            "the request body contains a value that JSON cannot express", argument="body"
        ) from cause
    return encode_text(encoded)


def encode_text(body: str) -> bytes:
    """Encode a request body in UTF-8.

    Raises:
        InvalidArgumentError: the body contains a lone surrogate.
    """
    try:
        return body.encode("utf-8")
    except UnicodeEncodeError:
        pass
    # Raised outside of the handler, because the exception contains the body.
    raise InvalidArgumentError(f"the request body contains {_SURROGATE}", argument="body")


def _json_default(value: Any) -> Any:
    """Convert a value that is not a JSON type: a model or a date."""
    if isinstance(value, Model):
        return value._encode(True)
    if hasattr(value, "isoformat"):
        return _to_string(value, "")
    raise InvalidArgumentTypeError(
        f"a request body cannot contain an object of type {type(value).__name__}", argument="body"
    )


_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_json_default)


#: Values of headers that can be sent: Latin-1 without control characters (RFC 9110 section 5.5).
HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


def expand_path(template: str, values: Mapping[str, Any]) -> str:
    """Insert the values of the parameters into a path template. Entries of a list are separated by commas.

    Raises:
        InvalidArgumentTypeError: a value has a type that cannot be sent.
        InvalidArgumentError: a value cannot be part of the path. This applies to values that

            - are empty, a dot segment, NaN or infinite;
            - are a token, key, secret or card number, because access logs keep paths;
            - are too long for an id (more than 128 characters);
            - contain characters other than letters, digits, ``-``, ``.``, ``_`` and ``~``.
    """

    def expand(match: re.Match[str]) -> str:
        name = match.group(1)
        value = values[name]
        entries = value if isinstance(value, (list, tuple)) else (value,)
        strings = [_to_string(entry, name) for entry in entries]
        problems = [
            # Dates are not checked. They contain characters that ids do not have, but no credentials.
            None
            if hasattr(entry, "isoformat")
            else describe_non_path_id(entry if isinstance(entry, PublicId) else string)
            for entry, string in zip(entries, strings, strict=True)
        ]
        if len(strings) > 1:
            # Together, the entries may be the groups of a card number.
            problems.append(find_credential(",".join(strings)))
        for problem in problems:
            if problem is not None:
                raise InvalidArgumentError(
                    f"path parameter {name!r} was given {problem}; expected an id, because access logs keep the paths "
                    "of requests",
                    argument=name,
                )
        segment = ",".join(quote(string, safe=_UNRESERVED) for string in strings)
        if not segment:
            raise InvalidArgumentError(f"path parameter {name!r} must not be empty", argument=name)
        if segment in (".", ".."):
            # Percent-encoding would not help, because servers remove dot segments (RFC 3986 section 5.2.4).
            raise InvalidArgumentError(f"path parameter {name!r} must not be a dot segment", argument=name)
        return segment

    return re.sub(r"\{([^{}]+)\}", expand, template)


def query_string(parameters: Iterable[tuple[str, Any]], styles: Mapping[str, str]) -> str:
    """Encode query parameters, with the question mark. Returns an empty string if there are none.

    Args:
        parameters: names and values, in their order. None leaves out the parameter. A list repeats the parameter,
            unless ``styles`` names it.
        styles: the style of a parameter, a key of ``SEPARATORS``, by the parameter's name. The entries of its list are
            joined with that separator.

    Raises:
        InvalidArgumentTypeError: a value has a type that cannot be sent.
        InvalidArgumentError: a value is NaN or infinite or cannot be encoded. Tokens, keys and card numbers are
            rejected too, because access logs keep URLs.
    """
    pairs = []
    for name, value in parameters:
        if value is None:
            continue
        strings = [_to_string(entry, name) for entry in (value if isinstance(value, (list, tuple)) else (value,))]
        joined = [",".join(strings)] if len(strings) > 1 else []
        for string in (*strings, *joined):
            problem = find_credential(string)
            if any("\ud800" <= char <= "\udfff" for char in string):
                raise InvalidArgumentError(f"query parameter {name!r} contains {_SURROGATE}", argument=name)
            if problem is not None:
                raise InvalidArgumentError(
                    f"query parameter {name!r} was given {problem}, which must not be part of a URL, because access "
                    "logs keep URLs",
                    argument=name,
                )
        entries = [quote(string, safe=_UNRESERVED) for string in strings]
        if entries and name in styles:
            entries = [SEPARATORS[styles[name]].join(entries)]
        pairs += [f"{quote(name, safe=_UNRESERVED)}={entry}" for entry in entries]
    return "?" + "&".join(pairs) if pairs else ""


def header_value(name: str, value: Any) -> str:
    """Encode the value of a header. Entries of a list are separated by commas.

    Raises:
        InvalidArgumentTypeError: the value has a type that cannot be sent.
        InvalidArgumentError: the value contains a line break, a null character or a character outside Latin-1, is NaN
            or infinite, or is a card number. A token in a header is allowed.
    """
    strings = [_to_string(entry, name) for entry in (value if isinstance(value, (list, tuple)) else (value,))]
    joined = ",".join(strings)
    if contains_card_number(joined):
        raise InvalidArgumentError(
            f"header {name!r} was given a card number, which must not be part of a header", argument=name
        )
    if any(char in joined for char in "\r\n\0"):
        raise InvalidArgumentError(
            f"header {name!r} must not have a line break or a null character in its value", argument=name
        )
    if any(ord(char) > 255 for char in joined):
        raise InvalidArgumentError(
            f"header {name!r} must not have characters outside Latin-1 in its value", argument=name
        )
    return joined


def compact_token(body: str | bytes, name: str, *, encrypted: bool) -> bytes:
    """Check that a request body is a token in compact form, and return it as bytes.

    Args:
        body: the token.
        name: name of the operation, for the message.
        encrypted: whether the token must be a JWE. If False, a JWS is accepted too.

    Raises:
        InvalidArgumentError: the body is not such a token, for example because it was not encrypted.
    """
    data = (body.encode("utf-8", "replace") if isinstance(body, str) else body).strip()
    match = _COMPACT.fullmatch(data)
    if match is not None and (match[1] is not None or not encrypted):
        return data
    kinds, parts = ("JWE", "five") if encrypted else ("JWS or JWE", "three or five")
    message = f"the body of {name} must be a {kinds} in compact form ({parts} parts of base64url separated by dots)"
    actual = _describe(data)
    raise InvalidArgumentError(message if actual is None else f"{message}, not {actual}", argument="body")


# A JWS has three parts and a JWE five. The payload of a JWS and the encrypted key of a JWE may be empty.
_COMPACT: Final = re.compile(rb"[\w-]+\.[\w-]*\.[\w-]+(\.[\w-]+\.[\w-]+)?")


def _describe(data: bytes) -> str | None:
    """Describe a body that is not a token, without quoting its content. None if the content is not recognised."""
    if data[:1] in (b"{", b"["):
        return "JSON that is not encrypted"
    credential = find_credential(data.decode("utf-8", "replace"))
    return "a JWE with other text around it" if credential == "a JWE" else credential


def _to_string(value: Any, name: str) -> str:
    """Convert the value of a parameter to the string that is sent."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidArgumentError(f"parameter {name!r} must not be infinite or NaN", argument=name)
    if isinstance(value, int) and value.bit_length() > _MAX_BITS:
        raise InvalidArgumentError(
            f"parameter {name!r} must not be an integer of more than {_MAX_BITS} bits", argument=name
        )
    if isinstance(value, (str, int, float)):
        return str(value)
    if isinstance(value, datetime):
        return format_datetime(value, f"parameter {name!r}" if name else "a date-time in the request body")
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    raise InvalidArgumentTypeError(f"parameter {name!r} cannot be of type {type(value).__name__}", argument=name)


class ContentCodingError(Exception):
    """A response body cannot be decoded.

    Attributes:
        codings: the ``Content-Encoding`` header, shortened.
    """

    def __init__(self, codings: str) -> None:
        super().__init__(codings)
        self.codings = codings


class BodyTooLargeError(Exception):
    """The decoded body is larger than the limit."""


def decode_body(body: bytes, codings: str, limit: int) -> bytes:
    """Undo the content codings of a response body (RFC 9110 section 8.4): ``gzip``, ``deflate`` and ``identity``.

    Args:
        body: the body as received.
        codings: value of the ``Content-Encoding`` header.
        limit: maximum size of the decoded body in bytes.

    Raises:
        BodyTooLargeError: the decoded body is larger than ``limit``.
        ContentCodingError: the coding is not supported, or the body is not valid in this coding.
    """
    names = [name.strip().lower() for name in codings.split(",")]
    names = [name for name in names if name not in ("", "identity")]
    shortened = "".join(char for char in codings[:40] if char.isalnum() or char in " ,-_.")
    if len(names) > _MAX_CODINGS or not body:
        # An empty body is empty in every coding.
        names = [] if not body else ["unsupported"]
    for name in reversed(names):
        try:
            if name in ("gzip", "x-gzip"):
                body = _gunzip(body, limit)
            elif name == "deflate":
                body = _inflate(body, limit)
            else:
                raise ContentCodingError(shortened)
        except zlib.error:
            raise ContentCodingError(shortened) from None
    return body


def _gunzip(body: bytes, limit: int) -> bytes:
    out = bytearray()
    members = 0
    while body:
        members += 1
        if members > _MAX_MEMBERS:
            raise zlib.error("too many members")
        part, body = _decompress(zlib.decompressobj(16 + zlib.MAX_WBITS), body, limit - len(out))
        out += part
        if not body.startswith(b"\x1f\x8b"):
            # RFC 1952 section 2.2: a file has one or more members. Anything after the last one is padding.
            break
    return bytes(out)


def _inflate(body: bytes, limit: int) -> bytes:
    # RFC 9110 section 8.4.1.2: the zlib format. Some servers send raw deflate data instead.
    try:
        return _decompress(zlib.decompressobj(), body, limit)[0]
    except zlib.error:
        return _decompress(zlib.decompressobj(-zlib.MAX_WBITS), body, limit)[0]


def _decompress(decompressor: zlib._Decompress, body: bytes, limit: int) -> tuple[bytes, bytes]:
    """Return the decompressed data, and the bytes of ``body`` that follow the compressed data."""
    data = decompressor.decompress(body, limit + 1)
    if len(data) > limit:
        raise BodyTooLargeError
    if not decompressor.eof:
        raise zlib.error("incomplete")
    return data, decompressor.unused_data
