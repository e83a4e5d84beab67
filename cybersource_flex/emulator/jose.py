"""JWS and JWE in compact form, implemented from the RFCs with `cryptography` and strict about the encoding.

Independent of the SDK's own implementation, so that a mistake there is detected.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_BASE64URL = re.compile(r"[A-Za-z0-9_-]*")

# RSA-OAEP in JOSE uses SHA-1 for the hash and for MGF1 (RFC 7518, 4.3). Flex requires RSA-OAEP, and SHA-1 is not a
# weakness there.
OAEP_SHA1 = padding.OAEP(mgf=padding.MGF1(hashes.SHA1()), algorithm=hashes.SHA1(), label=None)  # noqa: S303
OAEP_SHA256 = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)
_OAEP = {"RSA-OAEP": OAEP_SHA1, "RSA-OAEP-256": OAEP_SHA256}


def encode(data: bytes) -> str:
    """Encode as base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decode(encoded: str) -> bytes:
    """Decode base64url. ValueError for padding, other characters, or trailing bits that are not zero."""
    if not _BASE64URL.fullmatch(encoded) or len(encoded) % 4 == 1:
        raise ValueError("not base64url without padding")
    data = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
    if encode(data) != encoded:
        raise ValueError("not canonical base64url")
    return data


class DuplicateMemberError(ValueError):
    """A JSON object has a member twice. Parsers disagree about which of the two values counts.

    Attributes:
        name: name of the member.
    """

    def __init__(self, name: str) -> None:
        super().__init__(f"the member {name[:60]!a} occurs twice")
        self.name = name


def parse_json(data: bytes | str) -> Any:
    """Parse strict JSON: UTF-8, no NaN, no member twice. ValueError for anything else, including too deep nesting."""
    try:
        string = data.decode("utf-8") if isinstance(data, bytes) else data
        return json.loads(string, parse_constant=_reject_constant, object_pairs_hook=_unique_members)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _unique_members(members: list[tuple[str, Any]]) -> dict[str, Any]:
    parsed: dict[str, Any] = {}
    for name, value in members:
        if name in parsed:
            raise DuplicateMemberError(name)
        parsed[name] = value
    return parsed


def _reject_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def parse_object(data: bytes | str) -> dict[str, Any]:
    """Parse a JSON object. ValueError for anything else."""
    value = parse_json(data)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def compact_json(value: object) -> bytes:
    """JSON as the real host serialises it in its tokens: no spaces, and "=" as an escape sequence."""
    # "=" occurs only in strings, so a plain replacement is safe.
    return json.dumps(value, separators=(",", ":")).replace("=", "\\u003d").encode("ascii")


def sign_rs256(key: rsa.RSAPrivateKey, header: dict[str, object], payload: dict[str, object]) -> str:
    """A compact JWS with RS256. The members keep their order."""
    return sign_input(key, f"{encode(compact_json(header))}.{encode(compact_json(payload))}")


def sign_input(key: rsa.RSAPrivateKey, signed: str) -> str:
    """Sign the first two parts of a JWS with RS256, without checking them."""
    signature = key.sign(signed.encode("ascii"), padding.PKCS1v15(), hashes.SHA256())
    return f"{signed}.{encode(signature)}"


def public_jwk(key: rsa.RSAPublicKey, kid: str) -> dict[str, str]:
    """An RSA public key as JWK members. Callers add `use`, because its position is not always the same."""
    numbers = key.public_numbers()
    return {
        "kty": "RSA",
        "kid": kid,
        "n": encode(numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")),
        "e": encode(numbers.e.to_bytes((numbers.e.bit_length() + 7) // 8, "big")),
    }


# RSA signatures, by `alg`. With PS algorithms the salt is as long as the hash (RFC 7518, 3.5).
_HASHES: dict[str, hashes.HashAlgorithm] = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
_SIGNATURES: dict[str, tuple[padding.AsymmetricPadding, hashes.HashAlgorithm]] = {
    **{f"RS{bits}": (padding.PKCS1v15(), algorithm) for bits, algorithm in _HASHES.items()},
    **{
        f"PS{bits}": (padding.PSS(padding.MGF1(algorithm), algorithm.digest_size), algorithm)
        for bits, algorithm in _HASHES.items()
    },
}
RSA_ALGORITHMS = frozenset(_SIGNATURES)


def verifies(key: rsa.RSAPublicKey, algorithm: str, signed: bytes, signature: bytes) -> bool:
    """Whether an RSA signature is valid; `algorithm` is one of `RSA_ALGORITHMS`."""
    scheme, hash_algorithm = _SIGNATURES[algorithm]
    try:
        key.verify(signature, signed, scheme, hash_algorithm)
    except InvalidSignature:
        return False
    return True


class JweError(ValueError):
    """The string is not a compact JWE with the expected algorithms."""


class DecryptionError(ValueError):
    """The JWE is well-formed but cannot be decrypted with the key."""


@dataclass(frozen=True)
class CompactJwe:
    """A parsed JWE, before decryption."""

    header: dict[str, Any]
    associated_data: bytes
    encrypted_key: bytes
    iv: bytes
    ciphertext: bytes
    tag: bytes

    @classmethod
    def parse(cls, jwe: str, algorithms: Sequence[str] = ("RSA-OAEP",)) -> CompactJwe:
        """Parse a JWE. It must have one of the algorithms, A256GCM, a 96-bit IV, a 128-bit tag, no `zip`, no `crit`."""
        parts = jwe.split(".")
        if len(parts) != 5 or not all(parts):
            raise JweError("a compact JWE has five parts, none empty")
        try:
            header = parse_object(decode(parts[0]))
            encrypted_key, iv, ciphertext, tag = (decode(part) for part in parts[1:])
        except ValueError as error:
            raise JweError(f"a part of the JWE cannot be decoded: {error}") from None
        if header.get("alg") not in algorithms:
            raise JweError(f"alg of the JWE must be {' or '.join(algorithms)}")
        if header.get("enc") != "A256GCM":
            raise JweError("enc of the JWE must be A256GCM")
        if "zip" in header or "crit" in header:
            raise JweError("zip and crit are not allowed in this JWE")
        if not isinstance(header.get("kid"), str):
            raise JweError("kid of the JWE is missing or not a string")
        if len(iv) != 12 or len(tag) != 16:
            raise JweError("the IV must have 12 bytes and the tag 16")
        return cls(header, parts[0].encode("ascii"), encrypted_key, iv, ciphertext, tag)

    def decrypt(self, key: rsa.RSAPrivateKey) -> bytes:
        """Return the plaintext. DecryptionError when the key, the tag or the associated data do not match."""
        padding = _OAEP[self.header["alg"]]
        try:
            content_key = key.decrypt(self.encrypted_key, padding)
        except ValueError:
            raise DecryptionError("the content key cannot be decrypted") from None
        if len(content_key) != 32:
            raise DecryptionError("the content key must have 256 bits")
        try:
            return AESGCM(content_key).decrypt(self.iv, self.ciphertext + self.tag, self.associated_data)
        except InvalidTag:
            raise DecryptionError("the authentication tag does not match") from None


def encrypt(key: rsa.RSAPublicKey, header: dict[str, object], plaintext: bytes) -> str:
    """A compact JWE with RSA-OAEP-256 and A256GCM; `header` must name both."""
    associated_data = encode(compact_json(header))
    content_key, iv = os.urandom(32), os.urandom(12)
    encrypted = AESGCM(content_key).encrypt(iv, plaintext, associated_data.encode("ascii"))
    parts = (key.encrypt(content_key, OAEP_SHA256), iv, encrypted[:-16], encrypted[-16:])
    return ".".join((associated_data, *(encode(part) for part in parts)))
