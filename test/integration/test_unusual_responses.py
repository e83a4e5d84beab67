"""Responses of a host that differ harmlessly from those of the service today: payments go on, with both clients."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import pytest

from cybersource_flex import errors, fields
from cybersource_flex.auth import JwtSharedSecret
from support.keys import LONG_TERM, ONE_TIME, jwk
from support.servers import RawServer
from support.tokens import TOKEN_HEADER, capture_context_claims, sign_jwt, transient_token_claims

# The tests replace `time.time`.
correct_time = time.time
SIGNER = JwtSharedSecret("merchant", "08c94330-f618-42a3-b09d-e1e43be5efda", base64.b64encode(bytes(32)).decode())


def sha256(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode("ascii")


class Host(RawServer):
    """A host with one long-term key, whose id is ``kid``. ``headers`` returns further headers for a token."""

    def __init__(self, kid: str = "zz", headers: Callable[[bytes], str] = lambda token: "") -> None:
        super().__init__(default=self._respond)
        self.kid, self.headers = kid, headers

    def _respond(self, connection: socket.socket) -> None:
        path = self.received[-1].split(b" ", 2)[1].decode("ascii")
        now = int(correct_time())
        if path.startswith("/flex/v2/public-keys/"):
            assert path == f"/flex/v2/public-keys/{self.kid}"
            body, media_type = json.dumps(jwk(LONG_TERM, self.kid)).encode("ascii"), "application/json"
        else:
            is_context = path == "/flex/v2/sessions"
            header = {"kid": self.kid, "alg": "RS256"}
            token = (
                sign_jwt(LONG_TERM, header, capture_context_claims(now))
                if is_context
                else sign_jwt(ONE_TIME, TOKEN_HEADER, transient_token_claims(now))
            )
            body, media_type = token.encode("ascii"), "application/jwt"
        head = (
            f"HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\nContent-Length: {len(body)}\r\n{self.headers(body)}\r\n"
        )
        connection.sendall(head.encode("ascii") + body)


def tokenize(client: Any) -> Any:
    return client.tokenize(client.create_capture_context(fields(card=["number"])), {"a.b": "x"})


# The SHA-256 of a key in base64url (RFC 7638), which looks like a secret; the same in hexadecimal; other common ids.
@pytest.mark.parametrize(
    "kid",
    [
        "LXEWQrcmsEQBYnyp-6wy9chTD7GQPMTbAiWHF5IaSIE",
        "0123456789abcdef" * 4,
        "08c94330-f618-42a3-b09d-e1e43be5efda",
        "lcsL_Sl3x2EpjZYk5LTUxyo5l0o",
        "flex_key.2026-11",
    ],
)
def test_other_ids_of_long_term_keys(kid: str, client_class: Any) -> None:
    with Host(kid) as host, client_class(SIGNER, environment=host.url) as client:
        assert tokenize(client).type == "api-0.1.0"
        token = sign_jwt(LONG_TERM, {"kid": kid, "alg": "RS256"}, capture_context_claims(int(time.time())))
    with Host(kid) as host, client_class(SIGNER, environment=host.url) as client:
        assert client.verify_capture_context(token).jwt == token


@pytest.mark.parametrize(
    "headers",
    [
        lambda token: f"Digest: SHA-256={sha256(token)}\r\n",
        lambda token: f"digest: sha-256={sha256(token)}\r\n",
        lambda token: f"Digest: SHA-256={sha256(token)},SHA-512=AAAA\r\n",
        lambda token: f"Digest: SHA-512=AAAA, sha-256={sha256(token)}\r\n",
        lambda token: f"Digest: SHA-256={sha256(token)}\r\nDigest: MD5=AAAA\r\n",
        lambda token: f"Digest: SHA-256={sha256(token)}\r\nDigest: SHA-256={sha256(token)}\r\n",
        lambda token: "Digest: MD5=AAAA\r\n",
        lambda token: "Digest: \r\n",
    ],
)
def test_digests_of_a_token(headers: Callable[[bytes], str], client_class: Any) -> None:
    with Host(headers=headers) as host, client_class(SIGNER, environment=host.url) as client:
        assert tokenize(client).type == "api-0.1.0"


@pytest.mark.parametrize(
    "value",
    [
        f"SHA-256={sha256(b'another')}",
        f"MD5=AAAA, sha-256={sha256(b'another')}",
        "SHA-256=",
        "SHA-256=A",
    ],
)
def test_a_wrong_digest_is_rejected(value: str, client_class: Any) -> None:
    host = Host(headers=lambda token: f"Digest: {value}\r\n")
    with host, client_class(SIGNER, environment=host.url) as client:
        with pytest.raises(errors.ResponseDecodingError, match="header Digest and body differ") as caught:
            tokenize(client)
        assert caught.value.outcome == "accepted"


@pytest.mark.parametrize("difference", [-3600, 3600])
def test_the_clock_is_set_during_a_call(difference: float, client_class: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """NTP corrects this machine's clock before the response arrives. The ``Date`` says nothing about the new clock."""

    def correct_the_clock(token: bytes) -> str:
        monkeypatch.setattr(time, "time", correct_time)
        return f"Date: {formatdate(correct_time(), usegmt=True)}\r\n"

    monkeypatch.setattr(time, "time", lambda: correct_time() + difference)
    with Host(headers=correct_the_clock) as host, client_class(SIGNER, environment=host.url) as client:
        context = client.create_capture_context(fields(card=["number"]))
        token = client.tokenize(context, {"a.b": "x"})
        assert client.verify_transient_token(token.jwt, context) == token
        assert client.clock.host_time() is not None, "the later responses are measured"
