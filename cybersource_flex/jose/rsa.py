"""Load RSA public keys and verify RS256 signatures.

This module is separate from ``keys``, because it imports ``cryptography``, which is slow.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.hashes import SHA256

__all__ = ["RSAPublicKey", "public_key", "verify"]

_RS256 = (PKCS1v15(), SHA256())


def public_key(modulus: int, exponent: int) -> RSAPublicKey:
    """Return the RSA key with this modulus and exponent. Raises ``ValueError`` if they are invalid."""
    return RSAPublicNumbers(exponent, modulus).public_key()


def verify(key: RSAPublicKey, signature: bytes, data: bytes) -> bool:
    """Whether an RS256 signature is valid (RFC 7518 section 3.3)."""
    try:
        key.verify(signature, data, *_RS256)
    except InvalidSignature:
        return False
    return True
