"""Encrypt and decrypt compact JWEs with RSA-OAEP and A256GCM, the only algorithms that the service uses.

Standards: RFC 7516; RFC 7518 sections 4.3 and 5.3. This module is separate from ``compact``, because it imports
``cryptography``, which is slow.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA1, SHA256

from ..errors import DecryptionError, UnsupportedAlgorithmError
from .compact import Jwe, encode_part

__all__ = ["decrypt_jwe", "encrypt_jwe"]

_ENC: Final = "A256GCM"
_KEY_BYTES, _IV_BYTES, _TAG_BYTES = 32, 12, 16
# RFC 7518 section 4.3 defines RSA-OAEP with SHA-1. OAEP does not need a collision-resistant hash, so SHA-1 is safe
# here.
_OAEP: Final = {
    "RSA-OAEP": OAEP(MGF1(SHA1()), SHA1(), None),  # noqa: S303
    "RSA-OAEP-256": OAEP(MGF1(SHA256()), SHA256(), None),
}
_TO_JSON: Final = json.JSONEncoder(separators=(",", ":")).encode


def encrypt_jwe(key: RSAPublicKey, alg: str, header: Mapping[str, object], plaintext: bytes) -> str:
    """Encrypt to an RSA public key (RFC 7516 section 5.1).

    Args:
        key: the recipient's key.
        alg: ``RSA-OAEP`` or ``RSA-OAEP-256``.
        header: members of the protected header besides ``alg`` and ``enc``.
        plaintext: the data to encrypt.

    Returns:
        The compact JWE.
    """
    protected = encode_part(_TO_JSON({"alg": alg, "enc": _ENC, **header}).encode("ascii"))
    content_key, iv = os.urandom(_KEY_BYTES), os.urandom(_IV_BYTES)
    encrypted_key = key.encrypt(content_key, _OAEP[alg])
    encrypted = AESGCM(content_key).encrypt(iv, plaintext, protected.encode("ascii"))
    parts = (encrypted_key, iv, encrypted[:-_TAG_BYTES], encrypted[-_TAG_BYTES:])
    return ".".join((protected, *map(encode_part, parts)))


def decrypt_jwe(jwe: Jwe, key: RSAPrivateKey, alg: str, token_name: str) -> bytes:
    """Decrypt with an RSA private key (RFC 7516 section 5.2).

    Once the algorithms are checked, every failure raises the same error with the same message, so that the sender of
    the token learns nothing about the key.

    Args:
        jwe: the parsed token.
        key: the recipient's key.
        alg: the only ``alg`` to accept: ``RSA-OAEP`` or ``RSA-OAEP-256``.
        token_name: the name of the token in error messages, such as ``payment credentials``.

    Raises:
        UnsupportedAlgorithmError: the header of the token has a different ``alg``, or an ``enc`` other than
            ``A256GCM``.
        DecryptionError: the token was encrypted to a different key, or was modified.
    """
    if (jwe.header.get("alg"), jwe.header.get("enc")) != (alg, _ENC):
        raise UnsupportedAlgorithmError(
            f"wrong alg or enc in the header of the {token_name}; expected {alg} and {_ENC}"
        )
    # Checked here, because cryptography accepts IVs of other lengths and treats the start of a longer tag as
    # ciphertext.
    lengths = len(jwe.encrypted_key), len(jwe.iv), len(jwe.tag)
    if lengths == ((key.key_size + 7) // 8, _IV_BYTES, _TAG_BYTES):
        content_key = _decrypt_content_key(jwe.encrypted_key, key, _OAEP[alg])
        try:
            return AESGCM(content_key).decrypt(jwe.iv, jwe.ciphertext + jwe.tag, jwe.associated_data)
        except InvalidTag:
            pass
    raise DecryptionError(f"the {token_name} cannot be decrypted: it was encrypted to a different key, or modified")


def _decrypt_content_key(encrypted_key: bytes, key: RSAPrivateKey, padding: OAEP) -> bytes:
    # If the content key cannot be decrypted, a random one replaces it (RFC 7516 section 11.5). Otherwise an attacker
    # could distinguish this failure from a wrong tag by its duration.
    substitute = os.urandom(_KEY_BYTES)
    try:
        content_key = key.decrypt(encrypted_key, padding)
    except ValueError:
        return substitute
    return content_key if len(content_key) == _KEY_BYTES else substitute
