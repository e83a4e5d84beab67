"""RSA keys of the test vectors, JWKs, and a source of keys that records lookups."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from cybersource_flex import errors
from cybersource_flex.jose import PublicKey
from support.encoding import base64url
from support.paths import KEYS

# The key that signs capture contexts, the one-time key of a context, and keys of other parties.
LONG_TERM, ONE_TIME = "flex_longterm", "flex_onetime"
MERCHANT, PORTFOLIO, RESPONSE_MLE = "merchant", "portfolio", "response_mle"
# The contents of the certificates in the vectors' folder, and the passwords of its files.
MERCHANT_ID, PORTFOLIO_ID = "acme_flex_test_001", "acme_flex_portfolio"
MERCHANT_KEY_ID, PORTFOLIO_KEY_ID = "1795262400123456789012", "1795262400555555555555"
RESPONSE_MLE_KEY_ID = "1795262400777777777777"
P12_PASSWORD, PEM_PASSWORD = "Fake-P12-passw0rd", "Fake-key-passw0rd"


@cache
def private_key(name: str) -> RSAPrivateKey:
    """The key in ``test/vectors/keys/<name>.key.pem``."""
    key = load_pem_private_key((KEYS / f"{name}.key.pem").read_bytes(), None)
    assert isinstance(key, RSAPrivateKey)
    return key


def jwk(key: str | RSAPrivateKey, kid: str) -> dict[str, str]:
    """The public JWK of a key, or of the vectors' key with this name."""
    numbers = (private_key(key) if isinstance(key, str) else key).public_key().public_numbers()
    modulus = numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")
    return {"kty": "RSA", "use": "enc", "kid": kid, "n": base64url(modulus), "e": "AQAB"}


class RecordingKeySource:
    """A key source with one key. ``requested`` contains the key ids it was asked for."""

    def __init__(self, key: Mapping[str, Any]) -> None:
        self.key = key
        self.requested: list[str] = []

    def get(self, kid: str) -> PublicKey:
        self.requested.append(kid)
        if kid != self.key["kid"]:
            raise errors.UnknownKeyError("no such key")
        return PublicKey(self.key)

    def refresh(self, kid: str) -> PublicKey | None:
        return None
