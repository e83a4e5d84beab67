"""A server for benchmarks that responds at once, or after a delay: `python stub_server.py [SECONDS]`.

`python stub_server.py flex` responds with capture contexts and transient tokens that are signed and valid for 15
minutes. All are created before it prints its port. Their one-time keys rotate, so that a client does not see the same
key again soon.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import json
import sys
from collections.abc import Callable

JWT = b"a" * 300 + b"." + b"b" * 1200 + b"." + b"c" * 342
ONE_TIME_KEYS = 16

# Arguments: the request line, the head in lower case, and the body. Returns the response to write.
Respond = Callable[[bytes, bytes, bytes], bytes]


def response(body: bytes, media_type: bytes = b"application/jwt", status: bytes = b"201 Created") -> bytes:
    lines = [
        b"HTTP/1.1 " + status,
        b"Content-Type: " + media_type,
        b"v-c-correlation-id: 5f1c2d3e-4a5b-4c7d-8e9f-0a1b2c3d4e5f",
        b"Date: Sun, 22 Nov 2026 12:00:00 GMT",
        b"Digest: SHA-256=" + base64.b64encode(hashlib.sha256(body).digest()),
        b"Content-Length: %d" % len(body),
    ]
    return b"\r\n".join([*lines, b"", body])


def constant() -> Respond:
    jwt = response(JWT)
    # The same string as JSON, for a client that cannot read anything else.
    json_jwt = response(b'"' + JWT + b'"', b"application/json")
    return lambda _line, head, _body: json_jwt if b"\r\naccept: application/json\r\n" in head else jwt


def flex() -> Respond:
    from token_factory import LongTermKey

    key = LongTermKey()
    pairs = [key.context_and_token() for _ in range(ONE_TIME_KEYS)]
    contexts = itertools.cycle([response(context.encode("ascii")) for _, context, _ in pairs])
    tokens = {kid: response(token.encode("ascii")) for kid, _, token in pairs}
    public = response(json.dumps(key.jwk).encode("ascii"), b"application/json", b"200 OK")

    def respond(line: bytes, _head: bytes, body: bytes) -> bytes:
        if line.startswith(b"GET /flex/v2/public-keys/"):
            return public
        if line.startswith(b"POST /flex/v2/sessions"):
            return next(contexts)
        first = body.partition(b".")[0]
        return tokens[json.loads(base64.urlsafe_b64decode(first + b"=="))["kid"]]

    return respond


class Connection(asyncio.Protocol):
    def __init__(self, respond: Respond, delay: float) -> None:
        self._respond, self._delay = respond, delay
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, separator, body = self._data.partition(b"\r\n\r\n")
        if not separator:
            return
        line, head = head.partition(b"\r\n")[0], head.lower() + b"\r\n"
        _, _, length = head.partition(b"\r\ncontent-length:")
        size = int(length.partition(b"\r\n")[0]) if length else 0
        if len(body) < size:
            return
        self._data = body[size:]
        reply = self._respond(line, head, body[:size])
        if self._delay:
            asyncio.get_running_loop().call_later(self._delay, self._transport.write, reply)
        else:
            self._transport.write(reply)


async def serve(respond: Respond, delay: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(respond, delay), "127.0.0.1", 0, backlog=256)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    what = sys.argv[1] if len(sys.argv) > 1 else "0"
    asyncio.run(serve(flex(), 0.0) if what == "flex" else serve(constant(), float(what)))
