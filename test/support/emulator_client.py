"""HTTP requests to the emulator that are signed and encrypted without the SDK."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import os
import socket
import ssl
import uuid
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cybersource_flex.emulator import Emulator, Merchant
from support.encoding import base64url, base64url_decode
from support.tokens import decode_jwt, encode_part, oaep, signing_input

SESSIONS, MICROFORM, TOKENS = "/flex/v2/sessions", "/microform/v2/sessions", "/flex/v2/tokens"
KEYS, DETAILS = "/flex/v2/public-keys/", "/flex/v2/payment-details/"
# The time of the emulators in these tests.
NOW = 1795348800.0
JSON_TYPE = "application/json;charset=utf-8"
CARD = {"number": "4111111111111111", "expirationMonth": "12", "expirationYear": "2031", "securityCode": "123"}
CARD_FIELDS = ("number", "expirationMonth?", "expirationYear?", "securityCode?", "type?")
# A request body that every emulator accepts.
VALID_BODY = b'{"fields": {"paymentInformation": {"card": {"number": {}}}}}'
OAEP = oaep(hashes.SHA1())  # noqa: S303
# A second merchant of the emulators in these tests.
OTHER_MERCHANT = Merchant.generate("another_merchant")
# Seconds, after which a test that hangs fails.
TIMEOUT = 20


@dataclass
class Clock:
    now: float = NOW

    def __call__(self) -> float:
        return self.now


class Response:
    """
    Attributes:
        headers: names in lower case.
    """

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self._headers = response.getheaders()
        self.headers = {name.lower(): value for name, value in self._headers}
        self.body = response.read()

    def header(self, name: str) -> str | None:
        """The value of a header, which must not be repeated."""
        values = [value for key, value in self._headers if key.lower() == name]
        assert len(values) <= 1, f"{name} occurs {len(values)} times in the response"
        return values[0] if values else None

    @property
    def content(self) -> str:
        return self.body.decode("utf-8")

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def __repr__(self) -> str:
        return f"{self.status} {self._headers} {self.body!r}"


def host_of(emulator: Emulator) -> str:
    return emulator.url.partition("://")[2]


def tls_context(emulator: Emulator) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=emulator.ca_pem.decode("ascii"))


def http_connection(emulator: Emulator) -> http.client.HTTPConnection:
    if emulator.url.startswith("https:"):
        return http.client.HTTPSConnection(host_of(emulator), timeout=TIMEOUT, context=tls_context(emulator))
    return http.client.HTTPConnection(host_of(emulator), timeout=TIMEOUT)


def open_socket(emulator: Emulator) -> socket.socket:
    host, port = host_of(emulator).split(":")
    connection = socket.create_connection((host, int(port)), timeout=TIMEOUT)
    if emulator.url.startswith("https:"):
        return tls_context(emulator).wrap_socket(connection, server_hostname=host)
    return connection


def send(emulator: Emulator, method: str, target: str, headers: dict[str, str], body: bytes | None = None) -> Response:
    connection = http_connection(emulator)
    try:
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        for name, value in {"Host": host_of(emulator), **headers}.items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        return Response(connection.getresponse())
    finally:
        connection.close()


def post(emulator: Emulator, path: str, content: Any, **changes: Any) -> Response:
    """Send JSON with a JWT. ``changes`` are arguments of `jwt_headers`."""
    body = json.dumps(content).encode()
    headers = {**jwt_headers(emulator, "POST", path, body, **changes), "Accept": "application/jwt"}
    return send(emulator, "POST", path, headers, body)


def get(emulator: Emulator, path: str, merchant: Merchant | None = None) -> Response:
    return send(emulator, "GET", path, jwt_headers(emulator, "GET", path, None, merchant=merchant))


def sha256_base64(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode("ascii")


def merchant_of(emulator: Emulator) -> Merchant:
    return Merchant(**emulator.auth)


def jwt_headers(
    emulator: Emulator,
    method: str,
    target: str,
    body: bytes | None,
    *,
    now: float = NOW,
    merchant: Merchant | None = None,
    secret: bytes | None = None,
    algorithm: str = "sha256",
    header: dict[str, Any] | None = None,
    **claims: Any,
) -> dict[str, str]:
    """Authorization header with a JWT. Claims that are None are omitted; "_" in their names becomes "-"."""
    merchant = merchant or merchant_of(emulator)
    all_claims: dict[str, Any] = {
        "iat": int(now),
        "exp": int(now) + 120,
        "request-method": method,
        "request-host": host_of(emulator),
        "request-resource-path": target,
        "iss": merchant.merchant_id,
        "jti": str(uuid.uuid4()),
        "v-c-jwt-version": "2",
        "v-c-merchant-id": merchant.merchant_id,
    }
    if body is not None:
        all_claims |= {"digest": sha256_base64(body), "digestAlgorithm": "SHA-256"}
    all_claims |= {name.replace("_", "-"): value for name, value in claims.items()}
    jwt_header = {"alg": "HS256", "kid": merchant.key_id, "typ": "JWT", **(header or {})}
    signed = signing_input(without_none(jwt_header), without_none(all_claims))
    mac = hmac.new(secret or base64.b64decode(merchant.secret_key), signed.encode(), algorithm).digest()
    return {"Authorization": f"Bearer {signed}.{base64url(mac)}", "Content-Type": JSON_TYPE}


def signature_headers(
    emulator: Emulator,
    method: str,
    target: str,
    body: bytes | None,
    *,
    merchant: Merchant | None = None,
    secret: bytes | None = None,
    names: str | None = None,
    algorithm: str = "HmacSHA256",
    signed: dict[str, str] | None = None,
    sent: dict[str, str | None] | None = None,
) -> dict[str, str]:
    """HTTP Signature headers. ``signed`` replaces lines that are signed, and ``sent`` headers that are sent."""
    merchant = merchant or merchant_of(emulator)
    headers = {
        "Host": host_of(emulator),
        "Date": formatdate(NOW, usegmt=True),
        "v-c-merchant-id": merchant.merchant_id,
        "Content-Type": JSON_TYPE,
    }
    names = names or "host date request-target v-c-merchant-id"
    if body is not None:
        headers["Digest"] = f"SHA-256={sha256_base64(body)}"
        names = names.replace("request-target v-c", "request-target digest v-c")
    lines = {name.lower(): value for name, value in headers.items()}
    lines |= {
        "request-target": f"{method.lower()} {target}",
        "(request-target)": f"{method.lower()} {target}",
    }
    lines |= signed or {}
    signed_string = "\n".join(f"{name}: {lines[name]}" for name in names.split())
    key = secret or base64.b64decode(merchant.secret_key)
    mac = base64.b64encode(hmac.new(key, signed_string.encode(), hashlib.sha256).digest()).decode()
    headers["Signature"] = f'keyid="{merchant.key_id}", algorithm="{algorithm}", headers="{names}", signature="{mac}"'
    return without_none({**headers, **(sent or {})})


def without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def requested_fields(*card: str, **order: tuple[str, ...]) -> dict[str, Any]:
    """The body of a request for a capture context. Names that end with "?" are optional fields."""

    def by_name(names: tuple[str, ...]) -> dict[str, Any]:
        return {name.rstrip("?"): {"required": False} if name.endswith("?") else {} for name in names}

    requested: dict[str, Any] = {"paymentInformation": {"card": by_name(card)}}
    if order:
        requested["orderInformation"] = {party: by_name(names) for party, names in order.items()}
    return {"fields": requested}


def microform_request(**changes: Any) -> dict[str, Any]:
    """The body of a request for a Microform context. Members that are None are omitted."""
    body: dict[str, Any] = {
        "clientVersion": "v2",
        "targetOrigins": ["https://shop.example.com"],
        "allowedCardNetworks": ["VISA", "MASTERCARD", "AMEX"],
        **changes,
    }
    return without_none(body)


def card_data(card: dict[str, Any], **order: Any) -> dict[str, Any]:
    data: dict[str, Any] = {"paymentInformation": {"card": card}}
    return {**data, "orderInformation": order} if order else data


def create_context(emulator: Emulator, request: dict[str, Any] | None = None, path: str = SESSIONS) -> str:
    response = post(emulator, path, request or requested_fields(*CARD_FIELDS))
    assert response.status == 201, response.content
    return response.content


def encrypt_data(
    context: str,
    data: Any,
    /,
    *,
    header: dict[str, Any] | None = None,
    iv: bytes = b"\x07" * 12,
    oaep: padding.OAEP = OAEP,
    key_size: int = 32,
    aad: bytes | None = None,
    plaintext: bytes | None = None,
    **members: Any,
) -> str:
    """A JWE with captured data for a context. Members of header and plaintext that are None are omitted."""
    jwk = one_time_key(context)
    protected = encode_part(without_none({"alg": "RSA-OAEP", "enc": "A256GCM", "kid": jwk["kid"], **(header or {})}))
    if plaintext is None:
        plaintext = json.dumps(without_none({"data": data, "context": context, "index": 0, **members})).encode()
    content_key = os.urandom(key_size)
    output = AESGCM(content_key).encrypt(iv, plaintext, protected.encode() if aad is None else aad)
    encrypted_key = public_key(jwk).encrypt(content_key, oaep)
    return ".".join((protected, *map(base64url, (encrypted_key, iv, output[:-16], output[-16:]))))


def tokenize(emulator: Emulator, jwe: str, content_type: str = "application/jwt") -> Response:
    return send(emulator, "POST", TOKENS, {"Content-Type": content_type}, jwe.encode())


def public_key(jwk: dict[str, str]) -> rsa.RSAPublicKey:
    n, e = (int.from_bytes(base64url_decode(jwk[name]), "big") for name in ("n", "e"))
    return rsa.RSAPublicNumbers(e, n).public_key()


def verify_jwt(jwt: str, jwk: dict[str, str]) -> dict[str, Any]:
    """Verify the RS256 signature and return the claims."""
    signed, _, signature = jwt.rpartition(".")
    public_key(jwk).verify(base64url_decode(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    return decode_jwt(jwt)[1]


def one_time_key(context: str) -> dict[str, str]:
    jwk: dict[str, str] = decode_jwt(context)[1]["flx"]["jwk"]
    return jwk


def error_status(response: Response) -> dict[str, Any]:
    """The ``responseStatus`` of an error."""
    assert set(response.json) == {"responseStatus", "_links"}
    status: dict[str, Any] = response.json["responseStatus"]
    assert status["status"] == response.status
    # A message is a sentence. What it says is not checked here.
    for part in (status, *status.get("details", ())):
        assert isinstance(part["message"], str)
        assert len(part["message"]) > 5
    return status
