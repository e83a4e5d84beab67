"""Decode response bodies that have a ``Content-Encoding`` (RFC 9110 section 8.4)."""

from __future__ import annotations

import zlib
from typing import Final

__all__ = ["BodyTooLargeError", "ContentCodingError", "decode_body"]

# A server that follows the specification uses none at all: every request says `Accept-Encoding: identity`.
_MAX_CODINGS: Final = 2
# What follows a member is copied for each of them.
_MAX_MEMBERS: Final = 32


class ContentCodingError(Exception):
    """The body cannot be decoded.

    Attributes:
        codings: the ``Content-Encoding`` header, shortened.
    """

    def __init__(self, codings: str) -> None:
        super().__init__(codings)
        self.codings = codings


class BodyTooLargeError(Exception):
    """The decoded body is larger than the limit."""


def decode_body(body: bytes, codings: str, limit: int) -> bytes:
    """Decode a body: ``gzip``, ``deflate`` and ``identity``.

    Args:
        body: the body as received.
        codings: value of the ``Content-Encoding`` header.
        limit: largest size of the decoded body in bytes.

    Raises:
        BodyTooLargeError: the decoded body is larger than ``limit``.
        ContentCodingError: the coding is not supported, or the body is not encoded with it.
    """
    names = [name.strip().lower() for name in codings.split(",")]
    names = [name for name in names if name not in ("", "identity")]
    shown = "".join(char for char in codings[:40] if char.isalnum() or char in " ,-_.")
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
                raise ContentCodingError(shown)
        except zlib.error:
            raise ContentCodingError(shown) from None
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
            # RFC 1952 section 2.2: members follow each other. What else follows is padding.
            break
    return bytes(out)


def _inflate(body: bytes, limit: int) -> bytes:
    # RFC 9110 section 8.4.1.2: the zlib format. Some servers send the bare data.
    try:
        return _decompress(zlib.decompressobj(), body, limit)[0]
    except zlib.error:
        return _decompress(zlib.decompressobj(-zlib.MAX_WBITS), body, limit)[0]


def _decompress(decompressor: zlib._Decompress, body: bytes, limit: int) -> tuple[bytes, bytes]:
    """The decompressed data, and what follows it in ``body``."""
    data = decompressor.decompress(body, limit + 1)
    if len(data) > limit:
        raise BodyTooLargeError
    if not decompressor.eof:
        raise zlib.error("incomplete")
    return data, decompressor.unused_data
