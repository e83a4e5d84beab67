"""A small Flex host that was written from the description of the protocol alone, without the emulator's code.

It differs from the assumptions of the package in the points of ``DIFFERENCES``. It accepts one merchant with a shared
secret and JWT authentication.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from support.servers import HttpHandler, HttpServer

MERCHANT, KEY_ID, SECRET = "reference_merchant", "0b0f5a0e-6c3f-4b57-9c51-6e1d8f4c2a77", secrets.token_bytes(32)
# What this host does differently, and how the probe describes that.
DIFFERENCES = {
    "jwt-single-use": "the second request: status 201",
    "jwt-method-lower": "status 401",
    "jwt-digest-algorithm-lower": "status 401",
    "trailing-slash": "status 200",
    "key-unknown": "status 400",
    "key-use": "sig",
    "microform-version-long": "status 400",
    "microform-loopback-origin": "status 201",
    "tokens-json-body": "status 415",
    "tokens-data-dotted": "status 400",
    "tokens-digest": "no Digest",
    "tokens-luhn": "status 201",
    "tokens-expiry": "status 201",
    "tokens-cors": "status 405, no allowed origin",
    "token-lifetime": "600 s",
    "payment-details": "status 404",
}
_KID = "q7"
_CARD = ("number", "securityCode", "expirationMonth", "expirationYear", "type")
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_OAEP = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)  # noqa: S303


def _decode(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode("ascii").rstrip("=")


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _jwk(key: rsa.RSAPrivateKey, kid: str, use: str) -> dict[str, str]:
    numbers = key.public_key().public_numbers()
    return {"kty": "RSA", "e": "AQAB", "use": use, "n": _encode(numbers.n.to_bytes(256, "big")), "kid": kid}


def _sign(key: rsa.RSAPrivateKey, kid: str, claims: dict[str, Any]) -> bytes:
    parts = ({"kid": kid, "alg": "RS256"}, claims)
    signed = ".".join(_encode(json.dumps(part).encode("utf-8")) for part in parts)
    signature = key.sign(signed.encode("ascii"), padding.PKCS1v15(), hashes.SHA256())
    return f"{signed}.{_encode(signature)}".encode("ascii")


class Rejected(Exception):
    """A request is rejected with this status and JSON body."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(status)
        self.status, self.body = status, body


def _response_status(message: str, location: str) -> dict[str, Any]:
    details = [{"location": location, "message": message}]
    return {"responseStatus": {"status": 400, "reason": "VALIDATION", "message": message, "details": details}}


class ReferenceHost(HttpServer):
    """The host. ``environ`` are the variables of a client."""

    def __init__(self) -> None:
        self.long_term = rsa.generate_private_key(65537, 2048)
        self.one_time = rsa.generate_private_key(65537, 2048)
        # The claims of each capture context by the kid of its key.
        self.contexts: dict[str, dict[str, Any]] = {}
        super().__init__(handler=_Handler)
        self.environ = {
            "CYBERSOURCE_ENVIRONMENT": self.url,
            "CYBERSOURCE_AUTH": "jwt_shared_secret",
            "CYBERSOURCE_MERCHANT_ID": MERCHANT,
            "CYBERSOURCE_KEY_ID": KEY_ID,
            "CYBERSOURCE_SECRET_KEY": base64.b64encode(SECRET).decode("ascii"),
        }

    def issue_context(self, context_type: str, data: dict[str, Any]) -> bytes:
        now, kid = int(time.time()), secrets.token_hex(16)
        jwk = _jwk(self.one_time, kid, "enc")
        claims = {
            "flx": {"path": "/flex/v2/tokens", "data": "AAAA", "origin": self.url, "jwk": jwk},
            "ctx": [{"data": data, "type": context_type}],
            "iss": "Flex API",
            "exp": now + 900,
            "iat": now,
            "jti": _random(16),
        }
        self.contexts[kid] = claims
        return _sign(self.long_term, _KID, claims)

    def open_jwe(self, jwe: str) -> tuple[str, dict[str, Any]]:
        """Return the kid and the data of a request for a token."""
        try:
            protected, *others = jwe.split(".")
            encrypted_key, iv, ciphertext, tag = map(_decode, others)
            header = json.loads(_decode(protected))
            if (header["alg"], header["enc"]) != ("RSA-OAEP", "A256GCM") or header["kid"] not in self.contexts:
                raise ValueError
            key = self.one_time.decrypt(encrypted_key, _OAEP)
            plaintext = json.loads(AESGCM(key).decrypt(iv, ciphertext + tag, protected.encode("ascii")))
            if plaintext["index"] != 0 or plaintext["context"].count(".") != 2:
                raise ValueError
        except (ValueError, KeyError, InvalidTag):
            raise Rejected(400, _response_status("invalid JWE", "keyId")) from None
        return header["kid"], plaintext["data"]


class _Handler(HttpHandler):
    server: ReferenceHost  # type: ignore[assignment]

    def do_GET(self) -> None:  # noqa: N802
        self._respond(self._get)

    def do_POST(self) -> None:  # noqa: N802
        self._respond(self._post)

    def do_OPTIONS(self) -> None:  # noqa: N802
        self._send(405, b"", "text/plain")

    def _respond(self, operation: Any) -> None:
        self._body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            status, body, media_type = operation()
        except Rejected as rejected:
            status, body, media_type = rejected.status, json.dumps(rejected.body).encode("utf-8"), "application/json"
        self._send(status, body, media_type)

    def _send(self, status: int, body: bytes, media_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("v-c-correlation-id", _random(20))
        self.end_headers()
        self.wfile.write(body)

    def _get(self) -> tuple[int, bytes, str]:
        if self.path.startswith("/flex/v2/public-keys/"):
            if self.path.rstrip("/").rpartition("/")[2] != _KID:
                raise Rejected(400, {"message": "unknown key"})
            jwk = _jwk(self.server.long_term, _KID, "sig")
            return 200, json.dumps(jwk).encode("ascii"), "application/json"
        self._authenticate()
        raise Rejected(404, {"message": "not found"})

    def _post(self) -> tuple[int, bytes, str]:
        path = self.path.partition("?")[0]
        if path == "/flex/v2/tokens":
            return 201, self._token(), "application/jwt"
        self._authenticate()
        body = json.loads(self._body)
        if path == "/flex/v2/sessions":
            return 201, self._flex_session(body), "application/jwt"
        if path == "/microform/v2/sessions":
            return 201, self._microform_session(body), "application/jwt"
        raise Rejected(404, {"message": "not found"})

    def _authenticate(self) -> None:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        try:
            signed, _, signature = token.rpartition(".")
            header, claims = (json.loads(_decode(part)) for part in signed.split("."))
            digest = base64.b64encode(hashlib.sha256(self._body).digest()).decode("ascii")
            names = {"digestAlgorithm", "digest-algorithm"} & set(claims)
            with_body = self.command == "POST"
            now = time.time()
            accepted = (
                header == {"alg": "HS256", "kid": KEY_ID, "typ": "JWT"}
                and hmac.compare_digest(hmac.digest(SECRET, signed.encode("ascii"), "sha256"), _decode(signature))
                and (claims["iss"], claims["v-c-merchant-id"], claims["v-c-jwt-version"]) == (MERCHANT, MERCHANT, "2")
                and (claims["request-method"], claims["request-resource-path"]) == (self.command, self.path)
                and claims["request-host"] == self.server.address
                and 0 < claims["exp"] - claims["iat"] <= 120
                and claims["iat"] - 60 <= now <= claims["exp"]
                and (not with_body or (claims["digest"] == digest and [claims[name] for name in names] == ["SHA-256"]))
            )
        except (ValueError, KeyError):
            accepted = False
        if not accepted:
            raise Rejected(401, {"response": {"rmsg": "Authentication Failed"}})

    def _flex_session(self, body: dict[str, Any]) -> bytes:
        fields: dict[bool, list[str]] = {True: [], False: []}
        for name, leaf in body["fields"]["paymentInformation"]["card"].items():
            if name not in _CARD:
                # The published examples have an object in `details`.
                details = {"location": name, "message": "unknown"}
                raise Rejected(400, {"reason": "VALIDATION", "message": "unknown field", "details": details})
            fields[leaf.get("required", True)].append(f"paymentInformation.card.{name}")
        data = {"requiredFields": fields[True], "optionalFields": fields[False]}
        return self.server.issue_context("api-0.1.0", data)

    def _microform_session(self, body: dict[str, Any]) -> bytes:
        origins = body["targetOrigins"]
        local = ("http://localhost", "http://127.0.0.1")
        valid = (
            body["clientVersion"] == "v2"
            and 0 < len(origins) <= 9
            and all(origin.startswith(("https://", *local)) and "*" not in origin for origin in origins)
            and set(body["allowedPaymentTypes"]) <= {"CARD", "CHECK"}
        )
        if not valid:
            raise Rejected(400, _response_status("invalid parameter", "body"))
        script = {
            "clientLibrary": f"{self.server.url}/microform/bundle/v2/flex-microform.min.js",
            "clientLibraryIntegrity": f"sha256-{base64.b64encode(bytes(32)).decode('ascii')}",
        }
        return self.server.issue_context("mf-2.1.0", {**script, "targetOrigins": origins})

    def _token(self) -> bytes:
        if self.headers.get("Content-Type") != "application/jwt":
            raise Rejected(415, _response_status("unsupported type", "body"))
        kid, data = self.server.open_jwe(self._body.decode("ascii"))
        context = self.server.contexts[kid]["ctx"][0]
        is_microform = context["type"].startswith("mf-")
        card = data if is_microform else data.get("paymentInformation", {}).get("card", {})
        if not is_microform:
            sent = {f"paymentInformation.card.{name}" for name in card}
            required = set(context["data"]["requiredFields"])
            if set(data) != {"paymentInformation"} or not required <= sent:
                raise Rejected(400, _response_status("wrong fields", "captureData"))
        if len(card.get("securityCode", "000")) != 3:
            raise Rejected(400, _response_status("invalid format", "captureData.securityCode"))
        number = {"maskedValue": f"{'X' * 12}{card['number'][-4:]}", "bin": card["number"][:6]}
        visible = {name: {"value": card[name]} for name in ("expirationMonth", "expirationYear")}
        content = {"paymentInformation": {"card": {"number": number, "securityCode": {}, **visible}}}
        now = int(time.time())
        times = {"exp": now + 600, "iat": now}
        claims = {"iss": "Flex/08", **times, "type": context["type"], "jti": _random(64), "content": content}
        return _sign(self.server.one_time, kid, claims)
