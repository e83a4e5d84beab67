"""The few operations of ``cryptography`` that public keys need. Apart, because importing it is dear."""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA1, SHA256

__all__ = ["RSAPublicKey", "public_key", "seal", "verify"]

_RS256 = (PKCS1v15(), SHA256())
# RFC 7518 section 4.3: RSA-OAEP means SHA-1, which is no weakness in this place.
_OAEP = OAEP(MGF1(SHA1()), SHA1(), None)  # noqa: S303


def public_key(modulus: int, exponent: int) -> RSAPublicKey:
    """A key of these numbers. Raises ``ValueError`` where they make none."""
    return RSAPublicNumbers(exponent, modulus).public_key()


def verify(key: RSAPublicKey, signature: bytes, data: bytes) -> bool:
    """Whether an RS256 signature fits (RFC 7518 section 3.3)."""
    try:
        key.verify(signature, data, *_RS256)
    except (InvalidSignature, ValueError):
        return False
    return True


def seal(key: RSAPublicKey, protected: bytes, plaintext: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """Encrypted key, initialization vector, ciphertext and tag of ``RSA-OAEP`` and ``A256GCM``."""
    content_key, iv = os.urandom(32), os.urandom(12)
    sealed = AESGCM(content_key).encrypt(iv, plaintext, protected)
    return key.encrypt(content_key, _OAEP), iv, sealed[:-16], sealed[-16:]
