"""How both transports read responses: content encodings, interim responses and framing."""

from __future__ import annotations

import gzip
import json
import socket
import time
import zlib

import pytest

from cybersource_flex import errors
from cybersource_flex.transport import Transport
from support.servers import OK, LastResponse, RawServer
from support.transports import OPERATION, MakeTransport, build_request, make_configuration, make_operation

# Content encodings.


PLAIN = b'{"reason":"X","message":"no"}'
DEFLATED = zlib.compress(PLAIN)
RAW = zlib.compressobj(wbits=-zlib.MAX_WBITS)
RAW_DEFLATED = RAW.compress(PLAIN) + RAW.flush()
GZIPPED = gzip.compress(PLAIN, mtime=0)


def encoded_response(status: int, body: bytes, coding: str) -> bytes:
    head = f"HTTP/1.1 {status} X\r\nContent-Encoding: {coding}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", GZIPPED),
        ("X-GZIP", GZIPPED),
        ("gzip", gzip.compress(PLAIN[:9], mtime=0) + gzip.compress(PLAIN[9:], mtime=0)),
        ("deflate", DEFLATED),
        ("deflate", RAW_DEFLATED),
        ("deflate, gzip", gzip.compress(DEFLATED, mtime=0)),
        ("identity", PLAIN),
        ("", PLAIN),
    ],
)
def test_known_content_encodings_are_decoded(coding: str, body: bytes, make_transport: MakeTransport) -> None:
    with (
        RawServer(default=encoded_response(200, body, coding)) as server,
        make_transport(configuration := make_configuration(server.url)) as transport,
    ):
        response = transport.send(build_request(configuration))
        assert make_operation(responses={"200": "object"}).parse_response(response).data == json.loads(PLAIN)


UNDECODABLE = [
    ("gzip", PLAIN),
    ("gzip", GZIPPED[:-6]),
    ("gzip", GZIPPED[:10] + b"\xff" * 20),
    ("deflate", PLAIN),
    ("br", PLAIN),
    ("zstd", PLAIN),
    ("gzip, gzip, gzip", GZIPPED),
    ("gzip\u00e9\u2028"[:5], GZIPPED),
]


@pytest.mark.parametrize(
    ("status", "kind", "outcome"),
    [
        (201, errors.ResponseDecodingError, "accepted"),
        (302, errors.RedirectError, "rejected"),
        (400, errors.BadRequestError, "rejected"),
        (401, errors.AuthenticationError, "rejected"),
        (404, errors.NotFoundError, "rejected"),
        (500, errors.ServerError, "unknown"),
        (503, errors.ServerError, "rejected"),
    ],
)
@pytest.mark.parametrize(("coding", "body"), UNDECODABLE)
def test_a_body_that_cannot_be_decoded_does_not_hide_the_status(
    coding: str,
    body: bytes,
    status: int,
    kind: type[errors.ApiException],
    outcome: str,
    make_transport: MakeTransport,
) -> None:
    response = encoded_response(status, body, "X").replace(b"Encoding: X", b"Encoding: " + coding.encode("latin-1"))
    with (
        RawServer(default=response) as server,
        make_transport(configuration := make_configuration(server.url)) as transport,
    ):
        for _ in range(2):
            with pytest.raises(kind) as caught:
                OPERATION.parse_response(transport.send(build_request(configuration)))
            assert (caught.value.status, caught.value.outcome, caught.value.body) == (status, outcome, body)
        assert server.connections == [0, 0], "the response was read to its end"


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_body_that_exceeds_the_limit_is_not_decompressed(coding: str, make_transport: MakeTransport) -> None:
    large = b"[" + b" " * 5_000_000 + b"]"
    body = gzip.compress(large) if coding == "gzip" else zlib.compress(large)
    with (
        RawServer(default=encoded_response(200, body, coding)) as server,
        make_transport(configuration := make_configuration(server.url)) as transport,
    ):
        with pytest.raises(errors.ResponseTooLargeError) as caught:
            transport.send(build_request(configuration))
        assert caught.value.outcome == "accepted"


def test_many_empty_gzip_members_are_not_decompressed(make_transport: MakeTransport) -> None:
    body = gzip.compress(b"") * 20_000
    with (
        RawServer(default=encoded_response(400, body, "gzip")) as server,
        make_transport(configuration := make_configuration(server.url)) as transport,
    ):
        with pytest.raises(errors.BadRequestError) as caught:
            OPERATION.parse_response(transport.send(build_request(configuration)))
        assert caught.value.body == body


# Interim responses.


@pytest.mark.parametrize(
    "interim",
    [
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\n\r\n" * 3,
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 \r\nX: y\r\n\r\n",
        b"HTTP/1.1 199 ?\r\n\r\n" * 30,
    ],
)
def test_interim_responses_are_skipped(interim: bytes, make_transport: MakeTransport) -> None:
    with (
        RawServer(default=interim + OK) as server,
        make_transport(configuration := make_configuration(server.url)) as transport,
    ):
        for _ in range(3):
            assert transport.send(build_request(configuration)).status == 200
        assert server.connections == [0, 0, 0]


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 103 Early Hints\r\n\r\n" * 50 + OK,
        b"HTTP/1.1 103 Early Hints\r\nX: " + b"x" * 7000 + b"\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n" + OK,
        b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\nhello" + OK,
    ],
)
def test_a_status_below_200_is_never_the_result(response: bytes, make_transport: MakeTransport) -> None:
    repeated = response * 20 if b"x" * 7000 in response else response
    with (
        RawServer(default=repeated) as server,
        make_transport(configuration := make_configuration(server.url)) as transport,
    ):
        with pytest.raises(errors.ConnectionBrokenError) as caught:
            transport.send(build_request(configuration))
        assert (caught.value.outcome, caught.value.safe_to_retry) == ("unknown", False)
        assert server.connections == [0]


# Framing.


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 2\r\nContent-Length: 3\r\n",
        b"Content-Length: 2, 3\r\n",
        b"Content-Length: +2\r\n",
        b"Content-Length: 0x2\r\n",
        b"Content-Length: -2\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"no colon\r\nContent-Length: 2\r\n",
    ],
)
def test_a_response_of_ambiguous_length_is_rejected(head: bytes, make_transport: MakeTransport) -> None:
    def respond(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n{}")
        connection.shutdown(socket.SHUT_WR)

    with (
        RawServer(default=respond) as server,
        make_transport(configuration := make_configuration(server.url)) as transport,
    ):
        with pytest.raises(errors.ConnectionBrokenError) as caught:
            transport.send(build_request(configuration))
        assert caught.value.outcome == "unknown"


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"Transfer-Encoding: chunked \r\n", b"2\r\n{}\r\n0\r\n\r\n"),
        (b"Transfer-Encoding:\r\n chunked\r\n", b"2\r\n{}\r\n0\r\n\r\n"),
        (b"Transfer-Encoding: Chunked\r\n", b"2\r\n{}\r\n0\r\n\r\n"),
        (b"Content-Length: 2, 2\r\n", b"{}"),
        (b"Content-Length: 2\r\nContent-Length: 2\r\n", b"{}"),
    ],
)
def test_unusual_framing_is_read_or_rejected_at_once(head: bytes, body: bytes, make_transport: MakeTransport) -> None:
    response = b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + body
    with (
        RawServer(default=response) as server,
        make_transport(configuration := make_configuration(server.url)) as transport,
    ):
        for _ in range(2):
            started = time.monotonic()
            try:
                assert transport.send(build_request(configuration)).body == b"{}"
            except errors.ConnectionBrokenError:
                # aiohttp rejects some of them.
                assert not isinstance(transport, Transport)
            assert time.monotonic() - started < 5


@pytest.mark.parametrize(("length", "accepted"), [(65_536, True), (65_537, False)])
def test_the_line_of_a_chunk_has_at_most_65536_bytes(length: int, accepted: bool) -> None:
    line = b"2;".ljust(length - 2, b"x") + b"\r\n"
    response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + line + b"{}\r\n0\r\n\r\n"
    with RawServer(default=response) as server, Transport(make_configuration(server.url)) as transport:
        if accepted:
            assert transport.send(build_request(make_configuration(server.url))).body == b"{}"
        else:
            with pytest.raises(errors.ConnectionBrokenError):
                transport.send(build_request(make_configuration(server.url)))


def test_the_end_of_a_long_line_of_a_chunk_is_not_read_as_content(make_transport: MakeTransport) -> None:
    line = b"2;".ljust(65_536, b"x") + b"[]\r\n0\r\n\r\n"
    response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + line
    with (
        RawServer(LastResponse(response)) as server,
        make_transport(configuration := make_configuration(server.url)) as transport,
        pytest.raises(errors.ConnectionBrokenError),
    ):
        transport.send(build_request(configuration))


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
@pytest.mark.parametrize("head", [b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n", b""])
def test_a_response_that_has_no_body_is_complete_after_its_head(
    status: bytes, head: bytes, make_transport: MakeTransport
) -> None:
    response = b"HTTP/1.1 " + status + b"\r\n" + head + b"\r\n"
    with (
        RawServer(default=response) as server,
        make_transport(configuration := make_configuration(server.url)) as transport,
    ):
        started = time.monotonic()
        for _ in range(2):
            received = transport.send(build_request(configuration))
            assert (received.status, received.body) == (int(status[:3]), b"")
        assert time.monotonic() - started < 5
