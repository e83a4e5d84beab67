"""Creates and reads JWTs and JWEs with ``cryptography`` alone, without the code under test."""

from __future__ import annotations

import json
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from support.encoding import base64url, base64url_decode
from support.keys import ONE_TIME, jwk, private_key

CONTEXT_HEADER = {"kid": "zz", "alg": "RS256"}
TOKEN_HEADER = {"kid": "one", "alg": "RS256"}


def encode_part(content: Any) -> str:
    """A part of a compact token: bytes and strings as they are, any other value as JSON."""
    if not isinstance(content, bytes | str):
        content = json.dumps(content)
    return base64url(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))


def decode_part(part: str) -> Any:
    return json.loads(base64url_decode(part))


def decode_jwt(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims. The signature is not verified."""
    header, claims, _ = token.split(".")
    return decode_part(header), decode_part(claims)


def signing_input(header: Any, claims: Any) -> str:
    return f"{encode_part(header)}.{encode_part(claims)}"


def sign_jwt(key: str | RSAPrivateKey, header: Any, claims: Any) -> str:
    """A JWT with an RS256 signature, even if the header names another algorithm.

    ``key`` is a key, or the name of one of the vectors' keys.
    """
    message = signing_input(header, claims)
    signer = private_key(key) if isinstance(key, str) else key
    return f"{message}.{base64url(signer.sign(message.encode('ascii'), padding.PKCS1v15(), hashes.SHA256()))}"


def capture_context_claims(now: int, **changes: Any) -> dict[str, Any]:
    """The claims of a small capture context that was issued at ``now`` and is valid for 15 minutes."""
    return {
        "flx": {"path": "/flex/v2/tokens", "jwk": jwk(ONE_TIME, "one")},
        "ctx": [{"data": {"requiredFields": ["a.b"], "optionalFields": ["c"]}, "type": "api-0.1.0"}],
        "iss": "Flex API",
        "exp": now + 900,
        "iat": now,
        "jti": "abcdefghijklmnop",
        **changes,
    }


def transient_token_claims(now: int, **changes: Any) -> dict[str, Any]:
    """The claims of a small transient token that was issued at ``now`` and is valid for 15 minutes."""
    return {
        "iss": "Flex/08",
        "exp": now + 900,
        "type": "api-0.1.0",
        "iat": now,
        "jti": "A" * 64,
        "content": {"a": {"b": {"value": "x"}}},
        **changes,
    }


def oaep(digest: hashes.HashAlgorithm | None = None) -> padding.OAEP:
    digest = digest or hashes.SHA256()
    return padding.OAEP(padding.MGF1(digest), digest, None)


def encrypt_jwe(
    key: RSAPrivateKey,
    plaintext: bytes,
    header: Any,
    *,
    wrap: padding.AsymmetricPadding | None = None,
    content_key: bytes = bytes(range(32)),
    iv: bytes = bytes(12),
    encrypted_key: bytes | None = None,
    tag_length: int = 16,
) -> str:
    """A JWE with AES-GCM. Every part can be chosen; the key is encrypted with RSA-OAEP-256 unless ``wrap`` is given."""
    protected = encode_part(header)
    if encrypted_key is None:
        encrypted_key = key.public_key().encrypt(content_key, wrap or oaep())
    output = AESGCM(content_key).encrypt(iv, plaintext, protected.encode())
    parts = (encrypted_key, iv, output[:-16], output[-16:][:tag_length])
    return ".".join((protected, *map(base64url, parts)))


def decrypt_jwe(
    token: str, key: RSAPrivateKey, wrap: padding.AsymmetricPadding | None = None
) -> tuple[dict[str, Any], bytes]:
    """Header and plaintext of a JWE whose key is encrypted with RSA-OAEP-256, or as ``wrap`` says."""
    protected, *parts = token.split(".")
    encrypted_key, iv, ciphertext, tag = map(base64url_decode, parts)
    content_key = key.decrypt(encrypted_key, wrap or oaep())
    return decode_part(protected), AESGCM(content_key).decrypt(iv, ciphertext + tag, protected.encode())
