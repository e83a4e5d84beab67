"""Response bodies that cannot be decoded with their ``Content-Encoding``.

The status decides which exception is raised. The exception contains the body as received.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cybersource_flex import RetryPolicy, errors
from cybersource_flex.transport import Configuration
from support.servers import RawServer
from support.transports import StubSigner, make_operation

BODY = b'{"reason": "SOME_REASON", "message": "some message", "name": "' + bytes(range(97, 123)) * 40 + b'"}'
GZIPPED = gzip.compress(BODY)
EXCEPTIONS = {
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

# By test case: the value of Content-Encoding, and a body that cannot be decoded with it.
UNDECODABLE: dict[str, tuple[str, bytes]] = {
    "plain as gzip": ("gzip", BODY),
    "plain as x-gzip": ("x-gzip", BODY),
    "plain as deflate": ("deflate", BODY),
    "plain as br": ("br", BODY),
    "plain as zstd": ("zstd", BODY),
    "plain as compress": ("compress", BODY),
    "unknown encoding": ("x-unknown", BODY),
    "upper case": ("GZIP", BODY),
    "truncated gzip": ("gzip", GZIPPED[: len(GZIPPED) // 2]),
    "only the gzip header": ("gzip", GZIPPED[:10]),
    "gzip with a wrong checksum": ("gzip", GZIPPED[:-8] + b"\0" * 8),
    "corrupt gzip": ("gzip", GZIPPED[:30] + b"\xff" * 20 + GZIPPED[50:]),
    "gzip twice, encoded once": ("gzip, gzip", GZIPPED),
    "gzip and br, encoded with gzip only": ("gzip, br", GZIPPED),
    "gzip as deflate": ("deflate", GZIPPED),
    "deflate as gzip": ("gzip", zlib.compress(BODY)),
    "two headers": ("gzip\r\nContent-Encoding: br", BODY),
}


@pytest.fixture
def server() -> Iterator[RawServer]:
    with RawServer() as server:
        yield server


Call = Callable[[int, str, bytes], Any]


@pytest.fixture
def call(server: RawServer, make_transport: Any) -> Iterator[Call]:
    """Makes a call whose response has a status, content encoding and body."""
    configuration = Configuration(
        host=server.url, auth=StubSigner({"Authorization": "Bearer x"}), retry=RetryPolicy(attempts=1), read_timeout=5
    )
    operation = make_operation(method="GET", content_type=None, responses={"200": "object", "201": "object"})
    with make_transport(configuration) as transport:

        def call(status: int, encoding: str, body: bytes) -> Any:
            lines = f"HTTP/1.1 {status} Some\r\nContent-Type: application/json\r\nContent-Encoding: {encoding}\r\n"
            server.default = lines.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body
            return operation.parse_response(transport.send(operation.build_request(configuration)))

        yield call


@pytest.mark.parametrize("status", EXCEPTIONS)
@pytest.mark.parametrize("name", UNDECODABLE)
def test_the_status_decides_the_exception_and_the_body_is_kept(
    name: str, status: int, call: Call, server: RawServer
) -> None:
    encoding, body = UNDECODABLE[name]
    with pytest.raises(errors.ApiException) as caught:
        call(status, encoding, body)
    error = caught.value
    assert type(error) is EXCEPTIONS[status]
    assert (error.status, error.outcome) == (status, errors.outcome_of(status))
    assert error.body == body
    assert error.headers["Content-Encoding"].startswith(encoding.partition("\r\n")[0])
    # The response was read to its end, so the connection is reused.
    with pytest.raises(EXCEPTIONS[status]):
        call(status, encoding, body)
    assert set(server.connections) == {0}


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "identity"])
def test_bodies_are_decoded(encoding: str, call: Call) -> None:
    # The client does not ask for compression, but some gateways compress anyway.
    body = {"gzip": gzip.compress, "deflate": zlib.compress, "identity": bytes}[encoding](BODY)
    response = call(200, encoding, body)
    assert response.data["reason"] == "SOME_REASON"
    assert response.raw_data == BODY
    with pytest.raises(errors.BadRequestError) as caught:
        call(400, encoding, body)
    assert (caught.value.reason, caught.value.body) == ("SOME_REASON", BODY)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
@pytest.mark.parametrize("status", [204, 304, 500])
def test_empty_bodies_are_not_decoded(encoding: str, status: int, server: RawServer, call: Call) -> None:
    if status == 500:
        with pytest.raises(errors.ServerError) as caught:
            call(status, encoding, b"")
        assert caught.value.body == b""
        return
    expected = errors.RedirectError if status == 304 else errors.ResponseDecodingError
    with pytest.raises(expected):
        call(status, encoding, b"")
    assert set(server.connections) == {0}


def test_a_decompressed_body_above_the_limit_is_rejected(call: Call) -> None:
    with pytest.raises(errors.ResponseTooLargeError) as caught:
        call(200, "gzip", gzip.compress(b" " * 64_000_000))
    assert caught.value.outcome == "accepted"
