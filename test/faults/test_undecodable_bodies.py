"""Bodies that cannot be decoded as their ``Content-Encoding`` says.

The status decides what a call comes to, and the exception has the bytes as they were received.
"""

from __future__ import annotations

import gzip
import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cybersource_flex import RetryPolicy, errors
from cybersource_flex.transport import Operation, Settings

BODY = b'{"reason": "SOME_REASON", "message": "some text", "name": "' + bytes(range(97, 123)) * 40 + b'"}'
PACKED = gzip.compress(BODY)
CLASSES = {
    200: errors.ResponseDecodingError,
    201: errors.ResponseDecodingError,
    307: errors.RedirectError,
    400: errors.BadRequestError,
    401: errors.AuthenticationError,
    404: errors.NotFoundError,
    429: errors.RateLimitError,
    500: errors.ServerError,
    503: errors.ServerError,
}

# By name: the header, and a body that cannot be decoded by it.
BROKEN: dict[str, tuple[str, bytes]] = {
    "plain as gzip": ("gzip", BODY),
    "plain as x-gzip": ("x-gzip", BODY),
    "plain as deflate": ("deflate", BODY),
    "plain as br": ("br", BODY),
    "plain as zstd": ("zstd", BODY),
    "plain as compress": ("compress", BODY),
    "an encoding that nobody knows": ("x-unknown", BODY),
    "upper case": ("GZIP", BODY),
    "gzip cut off": ("gzip", PACKED[: len(PACKED) // 2]),
    "gzip with its head alone": ("gzip", PACKED[:10]),
    "gzip with a wrong checksum": ("gzip", PACKED[:-8] + b"\0" * 8),
    "gzip changed in the middle": ("gzip", PACKED[:30] + b"\xff" * 20 + PACKED[50:]),
    "gzip twice, packed once": ("gzip, gzip", PACKED),
    "gzip and another, packed once": ("gzip, br", PACKED),
    "gzip as deflate": ("deflate", PACKED),
    "deflate as gzip": ("gzip", zlib.compress(BODY)),
    "two headers": ("gzip\r\nContent-Encoding: br", BODY),
}


class Host:
    """Answers every request alike, on as many connections as come."""

    def __init__(self) -> None:
        self.response = b""
        self.connections = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        # Wakes a thread that waits for a connection, where closing alone does not.
        with socket.create_connection(self._socket.getsockname()):
            self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            received = b""
            while data := connection.recv(65536):
                received += data
                if received.endswith(b"\r\n\r\n"):
                    received = b""
                    connection.sendall(self.response)


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    yield made
    made.close()


Call = Callable[[int, str, bytes], Any]


class _Signer:
    def sign(self, request: Any, now: float) -> dict[str, str]:
        return {"Authorization": "Bearer x"}


@pytest.fixture
def call(host: Host, carry: Any) -> Iterator[Call]:
    """Makes a call that gets a response with this status, content encoding and body."""
    settings = Settings(host=host.url, auth=_Signer(), retry=RetryPolicy(attempts=1), read_timeout=5)
    operation = Operation(
        name="call",
        method="GET",
        path="/x",
        signed=True,
        responses={"200": "Dict[str, object]", "201": "Dict[str, object]"},
        models="cybersource_flex.models",
    )
    with carry(settings) as transport:

        def made(status: int, encoding: str, body: bytes) -> Any:
            lines = f"HTTP/1.1 {status} Some\r\nContent-Type: application/json\r\nContent-Encoding: {encoding}\r\n"
            host.response = lines.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body
            return operation.result(transport.send(operation.request(settings)))

        yield made


@pytest.mark.parametrize("status", CLASSES)
@pytest.mark.parametrize("name", BROKEN)
def test_the_status_decides_and_the_bytes_are_kept(name: str, status: int, call: Call, host: Host) -> None:
    encoding, body = BROKEN[name]
    with pytest.raises(errors.ApiException) as caught:
        call(status, encoding, body)
    error = caught.value
    assert type(error) is CLASSES[status]
    assert (error.status, error.outcome) == (status, errors.outcome_of(status))
    assert error.body == body
    assert error.headers["Content-Encoding"].startswith(encoding.partition("\r\n")[0])
    # The response was read to its end: the connection is as good as before.
    with pytest.raises(CLASSES[status]):
        call(status, encoding, body)
    assert host.connections == 1


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "identity"])
def test_what_can_be_decoded_is(encoding: str, call: Call) -> None:
    # The client did not ask for it, and some gateways send it nevertheless.
    body = {"gzip": gzip.compress, "deflate": zlib.compress, "identity": bytes}[encoding](BODY)
    answer = call(200, encoding, body)
    assert answer.data["reason"] == "SOME_REASON"
    assert answer.raw_data == BODY
    with pytest.raises(errors.BadRequestError) as caught:
        call(400, encoding, body)
    assert (caught.value.reason, caught.value.body) == ("SOME_REASON", BODY)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
@pytest.mark.parametrize("status", [204, 304, 500])
def test_nothing_at_all_needs_no_decoding(encoding: str, status: int, host: Host, call: Call) -> None:
    if status == 500:
        with pytest.raises(errors.ServerError) as caught:
            call(status, encoding, b"")
        assert caught.value.body == b""
        return
    expected = errors.RedirectError if status == 304 else errors.ResponseDecodingError
    with pytest.raises(expected):
        call(status, encoding, b"")
    assert host.connections == 1


def test_a_bomb_stays_too_large(call: Call) -> None:
    with pytest.raises(errors.ResponseTooLargeError) as caught:
        call(200, "gzip", gzip.compress(b" " * 64_000_000))
    assert caught.value.outcome == "accepted"
