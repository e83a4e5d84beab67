"""Create capture contexts and transient tokens like the service's, signed with throwaway keys."""

from __future__ import annotations

import base64
import json
import time
import uuid
from typing import Any

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256

__all__ = ["CARD", "DATA", "NAMES", "LongTermKey", "jwk_of", "signed"]

CARD = {"number": "4111111111111111", "securityCode": "123", "expirationMonth": "12", "expirationYear": "2031"}
DATA = {"paymentInformation": {"card": CARD}}
NAMES = list(CARD)
LIFETIME = 900


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def jwk_of(key: RSAPrivateKey, kid: str) -> dict[str, str]:
    numbers = key.public_key().public_numbers()
    n, e = (encode(each.to_bytes((each.bit_length() + 7) // 8, "big")) for each in (numbers.n, numbers.e))
    return {"kty": "RSA", "use": "enc", "kid": kid, "n": n, "e": e}


def signed(key: RSAPrivateKey, kid: str, claims: dict[str, Any]) -> str:
    parts = ({"kid": kid, "alg": "RS256"}, claims)
    signing_input = ".".join(encode(json.dumps(part, separators=(",", ":")).encode("utf-8")) for part in parts)
    return f"{signing_input}.{encode(key.sign(signing_input.encode('ascii'), PKCS1v15(), SHA256()))}"


class LongTermKey:
    """The long-term signing key of the service.

    Attributes:
        jwk: the public key, as ``/flex/v2/public-keys`` returns it.
    """

    def __init__(self) -> None:
        self._key = generate_private_key(65537, 2048)
        self.jwk = jwk_of(self._key, "3g")

    def context(self, one_time_jwk: dict[str, str], kind: str, data: dict[str, Any]) -> str:
        """A capture context of a type, with the given capture settings."""
        now = int(time.time())
        flx = {"path": "/flex/v2/tokens", "data": "A" * 132, "origin": "https://testflex.cybersource.com"}
        claims = {
            "flx": {**flx, "jwk": one_time_jwk},
            "ctx": [{"data": data, "type": kind}],
            "iss": "Flex API",
            "exp": now + LIFETIME,
            "iat": now,
            "jti": uuid.uuid4().hex[:16],
        }
        return signed(self._key, self.jwk["kid"], claims)

    def context_and_token(self) -> tuple[str, str, str]:
        """The id of a new one-time key, a capture context with that key for a card, and a transient token for it."""
        key, kid = generate_private_key(65537, 2048), uuid.uuid4().hex
        paths = [f"paymentInformation.card.{name}" for name in NAMES]
        context = self.context(jwk_of(key, kid), "api-0.1.0", {"requiredFields": paths, "optionalFields": []})
        now = int(time.time())
        card: dict[str, Any] = {name: {"value": CARD[name]} for name in NAMES if name.startswith("exp")}
        card |= {"number": {"maskedValue": "XXXXXXXXXXXX1111", "bin": "411111"}, "securityCode": {}}
        claims = {
            "iss": "Flex/08",
            "exp": now + LIFETIME,
            "type": "api-0.1.0",
            "iat": now,
            "jti": (uuid.uuid4().hex * 2).upper(),
            "content": {"paymentInformation": {"card": card}},
        }
        return kid, context, signed(key, kid, claims)
