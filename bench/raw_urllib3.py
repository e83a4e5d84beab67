"""Calls written by hand with urllib3, hmac and cryptography only: the cost of the work itself.

Each call builds the JSON, signs it with a fresh time and id, sends it and reads the response. It checks no more than a
minimal program would.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any

__all__ = ["KEYS", "KEY_ID", "MERCHANT", "PASSWORD", "PATH", "SCHEMES", "SECRET", "Sign", "body", "call", "decode"]

KEYS = Path(__file__).resolve().parents[1] / "test" / "vectors" / "keys"
MERCHANT, KEY_ID = "acme_flex_test_001", "5f1c2d3e-4a5b-4c7d-8e9f-0a1b2c3d4e5f"
SECRET = "19PAsNkIkN3B3XqCZmUh8nl0VVxPJLNFi1AORapEuWs="
PASSWORD = "Fake-P12-passw0rd"
PATH = "/flex/v2/sessions"
TYPES = {"Accept": "application/jwt", "Content-Type": "application/json;charset=utf-8"}

# Returns the headers that authenticate a body for `POST /flex/v2/sessions`.
Sign = Callable[[bytes], dict[str, str]]


def b64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def decode(encoded: str) -> bytes:
    return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))


def body() -> bytes:
    card = {name: {"required": True} for name in ("number", "expirationMonth", "expirationYear", "securityCode")}
    return json.dumps({"fields": {"paymentInformation": {"card": card}}}).encode("utf-8")


def http_signature(host: str) -> Sign:
    key = base64.b64decode(SECRET)

    def sign(content: bytes) -> dict[str, str]:
        date = formatdate(usegmt=True)
        digest = "SHA-256=" + base64.b64encode(hashlib.sha256(content).digest()).decode()
        signed = (
            f"host: {host}\ndate: {date}\nrequest-target: post {PATH}\ndigest: {digest}\nv-c-merchant-id: {MERCHANT}"
        )
        signature = base64.b64encode(hmac.digest(key, signed.encode(), "sha256")).decode()
        return {
            "Host": host,
            "Date": date,
            "Digest": digest,
            "v-c-merchant-id": MERCHANT,
            "Signature": f'keyid="{KEY_ID}", algorithm="HmacSHA256", '
            f'headers="host date request-target digest v-c-merchant-id", signature="{signature}"',
        }

    return sign


def jwt(host: str, header: dict[str, str], mac: Callable[[bytes], bytes]) -> Sign:
    first = b64url(json.dumps(header).encode())

    def sign(content: bytes) -> dict[str, str]:
        now = int(time.time())
        claims = {
            "digest": base64.b64encode(hashlib.sha256(content).digest()).decode(),
            "digestAlgorithm": "SHA-256",
            "iat": now,
            "exp": now + 120,
            "iss": MERCHANT,
            "jti": str(uuid.uuid4()),
            "request-host": host,
            "request-method": "POST",
            "request-resource-path": PATH,
            "v-c-jwt-version": "2",
            "v-c-merchant-id": MERCHANT,
        }
        signed = first + b"." + b64url(json.dumps(claims).encode())
        return {"Authorization": f"Bearer {(signed + b'.' + b64url(mac(signed))).decode()}"}

    return sign


def jwt_hs256(host: str) -> Sign:
    key = base64.b64decode(SECRET)
    return jwt(host, {"alg": "HS256", "kid": KEY_ID, "typ": "JWT"}, lambda signed: hmac.digest(key, signed, "sha256"))


def jwt_rs256(host: str) -> Sign:
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key((KEYS / "merchant.key.pem").read_bytes(), None)
    assert isinstance(key, RSAPrivateKey)
    padding, algorithm = PKCS1v15(), SHA256()
    header = {"alg": "RS256", "kid": "1234567890123456789012", "typ": "JWT"}
    return jwt(host, header, lambda signed: key.sign(signed, padding, algorithm))


SCHEMES: dict[str, Callable[[str], Sign]] = {
    "HTTP Signature": http_signature,
    "JWT HS256": jwt_hs256,
    "JWT RS256": jwt_rs256,
}


def pool(size: int = 10) -> Any:
    import urllib3

    return urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(connect=5, read=30), maxsize=size)


def call(scheme: str, url: str, size: int = 10) -> Callable[[], str]:
    """A call with raw urllib3. Safe in threads, up to `size` of them."""
    connections, sign = pool(size), SCHEMES[scheme](url.partition("://")[2])

    def once() -> str:
        content = body()
        response = connections.request(
            "POST", url + PATH, body=content, headers={**sign(content), **TYPES}, redirect=False
        )
        if response.status != 201:
            raise RuntimeError(f"status {response.status}")
        return str(response.data.decode("ascii"))

    return once
