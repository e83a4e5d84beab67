"""A request as it comes in: its head first, then its body, to a limit."""

from __future__ import annotations

from starlette.types import Receive, Scope

from .exchange import Received

# Bytes of a request body. The real limit is unpublished; no documented request comes near.
BODY_LIMIT = 1 << 20
# A body over the limit is still read up to here, so that the client sees the 413 and not a broken connection.
_READ_LIMIT = 16 * BODY_LIMIT


def read_head(scope: Scope) -> Received:
    """The request without its body."""
    raw_path: bytes = scope["raw_path"]
    query: bytes = scope["query_string"]
    target = (raw_path + b"?" + query if query else raw_path).decode("latin-1")
    raw_headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
    return Received.of(scope["method"], target, raw_headers, b"")


async def read_body(receive: Receive) -> tuple[bytes, bool, bool]:
    """The body, whether it is complete, and whether it was over the limit (and then dropped)."""
    chunks: list[bytes] = []
    size, more, complete = 0, True, True
    while more and size <= _READ_LIMIT:
        message = await receive()
        if message["type"] == "http.disconnect":
            complete = False
            break
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size <= BODY_LIMIT:
            chunks.append(chunk)
        else:
            chunks.clear()
        more = message.get("more_body", False)
    return b"".join(chunks), complete, size > BODY_LIMIT
