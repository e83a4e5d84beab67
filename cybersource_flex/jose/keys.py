"""``PublicKey`` (RSA keys from JWKs), ``KeySource``, and ``verify_with_key_source``, which verifies a token."""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from .._callables import check_methods, check_result
from .._credential_detection import PublicId, describe_non_id, find_credential
from ..errors import ConfigurationError, InvalidSignatureError, UnknownKeyError, UnsupportedAlgorithmError
from .compact import JwsParts, SignedJwt, encode_part

if TYPE_CHECKING:
    from types import ModuleType

    from .rsa import RSAPublicKey

__all__ = ["KeySource", "PublicKey", "check_key", "check_key_source", "check_kid", "verify_with_key_source"]

_T = TypeVar("_T")

MIN_BITS: Final = 2048
# Larger keys would make verification slow, and an attacker may choose the key.
MAX_BITS: Final = 8192

_PRIVATE_MEMBERS: Final = frozenset(("d", "p", "q", "dp", "dq", "qi"))
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]+")

# Accepted values of `alg` in a JWK. A one-time key is used for both algorithms. Long-term keys have no `alg`.
_ALGORITHMS: Final = ("RS256", "RSA-OAEP")

# The characters that the official SDK allows in a `kid` in a URL. The maximum length is our addition.
_SAFE_KID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
# Numbers of characters of a SHA-256 and of a SHA-384 in base64url.
_HASH_LENGTHS: Final = (43, 64)


def check_kid(kid: str) -> PublicId:
    """Check that the ``kid`` of an unverified token is safe in the path of a URL and in messages, and return it.

    The hash of a key in base64url (RFC 7638) is a common ``kid``, although it cannot be distinguished from a secret of
    the same length.

    Raises:
        UnknownKeyError: the ``kid`` is not safe. It must have at most 64 characters: letters, digits, ``.``, ``_`` and
            ``-``, without ``..``. It must not look like a token or card number.
    """
    unsafe = not isinstance(kid, str) or not _SAFE_KID.fullmatch(kid) or ".." in kid or kid == "."
    if unsafe or (find_credential(kid) if len(kid) in _HASH_LENGTHS else describe_non_id(kid)) is not None:
        raise UnknownKeyError(
            "the kid of the token is not a valid key id; expected up to 64 letters, digits, '.', '_' and '-'"
        )
    return PublicId(kid)


class PublicKey:
    """An RSA public key from a JWK (RFC 7517, RFC 7518 section 6.3.1).

    Args:
        jwk: the JWK, parsed from JSON. ``use`` and ``key_ops`` are ignored, because the service publishes its signature
            keys with ``"use": "enc"``.
        name: the name of the key in error messages.

    Raises:
        UnsupportedAlgorithmError: ``jwk`` is not an RSA public key of 2048 to 8192 bits, has a known weakness, or is
            for an algorithm other than ``RS256`` and ``RSA-OAEP``.
    """

    __slots__ = ("_cached_key", "exponent", "kid", "modulus")

    def __init__(self, jwk: Mapping[str, Any], name: str = "public key") -> None:
        if not isinstance(jwk, Mapping) or jwk.get("kty") != "RSA":
            raise UnsupportedAlgorithmError(f"the {name} is not an RSA key; expected a JWK with kty RSA")
        if jwk.get("alg", "RS256") not in _ALGORITHMS:
            raise UnsupportedAlgorithmError(f"the {name} is for an unsupported algorithm; expected RS256 or RSA-OAEP")
        if not _PRIVATE_MEMBERS.isdisjoint(jwk):
            raise UnsupportedAlgorithmError(f"the {name} contains members of a private key; expected a public key")
        modulus = _decode_uint(jwk.get("n"), "n", name)
        exponent = 65537 if jwk.get("e") == "AQAB" else _decode_uint(jwk.get("e"), "e", name)
        if not MIN_BITS <= modulus.bit_length() <= MAX_BITS:
            raise UnsupportedAlgorithmError(
                f"the {name} has {modulus.bit_length()} bits; expected {MIN_BITS} to {MAX_BITS}"
            )
        if modulus % 2 == 0 or _is_roca(modulus):
            raise UnsupportedAlgorithmError(f"the {name} has a weak modulus, which can be factored")
        if exponent < 3 or exponent % 2 == 0 or exponent.bit_length() > 32:
            raise UnsupportedAlgorithmError(
                f"the {name} has an invalid RSA exponent; expected an odd number from 3 to 2**32"
            )
        self.modulus, self.exponent = modulus, exponent
        kid = jwk.get("kid")
        self.kid = kid if isinstance(kid, str) else None
        # Created on first use. Creation cannot fail for a key that passed the checks above.
        self._cached_key: RSAPublicKey | None = None

    def __repr__(self) -> str:
        return f"PublicKey(kid={self.kid!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PublicKey):
            return NotImplemented
        return (self.kid, self.modulus, self.exponent) == (other.kid, other.modulus, other.exponent)

    def __hash__(self) -> int:
        return hash((self.kid, self.modulus))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.to_jwk(),)

    def to_jwk(self) -> dict[str, str]:
        """Convert the key to a JWK, to pin it or to store it."""
        jwk = {"kty": "RSA", "n": _encode_uint(self.modulus), "e": _encode_uint(self.exponent)}
        return jwk if self.kid is None else {**jwk, "kid": self.kid}

    @property
    def _key(self) -> RSAPublicKey:
        key = self._cached_key
        if key is None:
            key = self._cached_key = _rsa_module().public_key(self.modulus, self.exponent)
        return key

    def verify(self, jws: SignedJwt | JwsParts, token_name: str) -> None:
        """Verify the RS256 signature of a token (RFC 7518 section 3.3). The verification functions call this method.

        Args:
            jws: the parsed token.
            token_name: the name of the token in error messages, such as ``capture context``.

        Raises:
            InvalidSignatureError: the signature is invalid.
        """
        parts = jws.parts if isinstance(jws, SignedJwt) else jws
        if not isinstance(parts, JwsParts):
            raise ConfigurationError(f"jws must be a parsed token, not {type(jws).__name__}")
        if not _rsa_module().verify(self._key, parts.signature, parts.signing_input):
            raise InvalidSignatureError(f"the signature of the {token_name} does not match its content and key")

    def encrypt(self, plaintext: bytes) -> str:
        """Encrypt to a compact JWE (RFC 7516 section 5.1) with ``RSA-OAEP``, ``A256GCM`` and this key's ``kid``."""
        if not isinstance(plaintext, bytes):
            raise ConfigurationError(f"plaintext must be bytes, not {type(plaintext).__name__}")
        from .jwe import encrypt_jwe

        return encrypt_jwe(self._key, "RSA-OAEP", {"kid": str(self.kid)}, plaintext)


@cache
def _rsa_module() -> ModuleType:
    from . import rsa

    return rsa


@cache
def _roca_residues() -> tuple[tuple[int, frozenset[int]], ...]:
    primes = [p for p in range(3, 168, 2) if all(p % d for d in range(3, p, 2))]
    residues = [(p, frozenset(pow(65537, power, p) for power in range(p - 1))) for p in primes]
    # The primes that exclude the most keys come first, so that most keys need only a few divisions.
    return tuple(sorted(residues, key=lambda entry: len(entry[1]) / entry[0]))


def _is_roca(modulus: int) -> bool:
    """Whether a modulus has the ROCA weakness (CVE-2017-15361): its primes were generated from powers of 65537."""
    return all(modulus % prime in residues for prime, residues in _roca_residues())


def _decode_uint(value: Any, member: str, name: str) -> int:
    if not isinstance(value, str) or len(value) > 2048 or not _BASE64URL.fullmatch(value):
        raise UnsupportedAlgorithmError(f"the {name} has a missing or invalid member {member}; expected base64url")
    try:
        data = binascii.a2b_base64(value.replace("-", "+").replace("_", "/") + "=" * (-len(value) % 4))
    except binascii.Error:
        raise UnsupportedAlgorithmError(
            f"the {name} has a missing or invalid member {member}; expected base64url"
        ) from None
    return int.from_bytes(data, "big")


def _encode_uint(number: int) -> str:
    return encode_part(number.to_bytes((number.bit_length() + 7) // 8, "big"))


class KeySource(Protocol):
    """Interface for objects that provide long-term keys, such as ``KeyCache`` or a store that several servers share.

    The methods may be called from any thread. An implementation must return the keys of one host only.
    """

    def get(self, kid: str) -> PublicKey:
        """Return the key with the id ``kid``.

        The caller has already checked that ``kid`` is safe in a URL and in messages.

        Raises:
            UnknownKeyError: the host has no key with this id.
        """
        ...

    def refresh(self, kid: str) -> PublicKey | None:
        """Fetch the key again. Called if a signature is invalid for the key that ``get`` returned.

        Returns None or the same key if the host has no newer key. Must not raise if the host cannot be reached.
        """
        ...


def check_key_source(name: str, keys: object) -> None:
    """Check that an argument is a ``KeySource`` with synchronous methods. Raises ``ConfigurationError``."""
    check_methods(name, keys, ("get", "refresh"), "a KeySource such as PinnedKeys([...])")


def check_key(name: str, key: Any) -> PublicKey:
    """Check that a method of a key source returned a key. Raises ``ConfigurationError``."""
    if callable(getattr(key, "verify", None)):
        return key  # type: ignore[no-any-return]
    check_result(name, key)
    raise ConfigurationError(f"{name} must return a PublicKey, not an object of type {type(key).__name__}")


def verify_with_key_source(keys: KeySource, kid: str, verify: Callable[[PublicKey], _T]) -> _T:
    """Verify a token with a key from a key source. If the signature is invalid, refresh the key and verify once more.

    Args:
        keys: the key source.
        kid: id of the key.
        verify: function that verifies the token with a key. Raises ``InvalidSignatureError`` if the signature is
            invalid.
    """
    key = check_key("get of the KeySource", keys.get(kid))
    try:
        return verify(key)
    except InvalidSignatureError:
        # The host may have published a new key under the same id.
        refreshed = keys.refresh(kid)
        if refreshed is None or refreshed == key:
            raise
        refreshed = check_key("refresh of the KeySource", refreshed)
    return verify(refreshed)
