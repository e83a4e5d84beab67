"""Load RSA public keys and verify RS256 signatures.

Separate from ``keys``, because importing ``cryptography`` is slow.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.hashes import SHA256

__all__ = ["RSAPublicKey", "public_key", "verify"]

_RS256 = (PKCS1v15(), SHA256())


def public_key(modulus: int, exponent: int) -> RSAPublicKey:
    """A key of these numbers. Raises ``ValueError`` where they make none."""
    return RSAPublicNumbers(exponent, modulus).public_key()


def verify(key: RSAPublicKey, signature: bytes, data: bytes) -> bool:
    """Whether an RS256 signature fits (RFC 7518 section 3.3)."""
    try:
        key.verify(signature, data, *_RS256)
    except InvalidSignature:
        return False
    return True
