"""RSA public keys: from a JWK to something that verifies and encrypts, and where long-term keys come from."""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from .._callables import check_methods, check_result
from .._credentials import not_an_id
from ..errors import ConfigurationError, InvalidSignatureError, UnknownKeyError, UnsupportedAlgorithmError
from .compact import Jws, Signed, encode_part

if TYPE_CHECKING:
    from types import ModuleType

    from .primitives import RSAPublicKey

__all__ = ["KeySource", "PublicKey", "check_key", "check_kid", "check_source", "with_key"]

_T = TypeVar("_T")

MIN_BITS: Final = 2048
# More would make each verification a gift to whoever chose the key.
MAX_BITS: Final = 8192

_PRIVATE_MEMBERS: Final = frozenset(("d", "p", "q", "dp", "dq", "qi"))
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]+")

# What a key may say that it is for. One-time keys are for both; published ones do not say.
_ALGORITHMS: Final = ("RS256", "RSA-OAEP")

# The official SDK's rule for a `kid` before it goes into a URL; a length is ours.
_SAFE_KID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


def check_kid(kid: str) -> str:
    """A ``kid`` that may become part of a URL's path. It comes from a token that is not verified yet.

    Raises:
        UnknownKeyError: too long, or with other characters than letters, digits, ``.``, ``_`` and ``-``, or with
            ``..``; or a token or card number, which must not be part of a URL.
    """
    unsafe = not _SAFE_KID.fullmatch(kid) or ".." in kid or kid == "."
    if unsafe or not_an_id(kid) is not None:
        raise UnknownKeyError("the kid of the token is not a name that a key of this service can have")
    return kid


class PublicKey:
    """An RSA public key out of a JWK (RFC 7517, RFC 7518 section 6.3.1).

    Args:
        jwk: the key as JSON types. ``use`` and ``key_ops`` are not looked at: the service publishes the keys it signs
            with as ``"use": "enc"``.
        what: whose key it is, for messages.

    Raises:
        UnsupportedAlgorithmError: for another algorithm, or not an RSA public key of 2048 to 8192 bits.
    """

    __slots__ = ("_made", "exponent", "kid", "modulus")

    def __init__(self, jwk: Mapping[str, Any], what: str = "public key") -> None:
        if not isinstance(jwk, Mapping) or jwk.get("kty") != "RSA":
            raise UnsupportedAlgorithmError(f"the {what} is not an RSA key")
        if jwk.get("alg", "RS256") not in _ALGORITHMS:
            raise UnsupportedAlgorithmError(f"the {what} is for another algorithm than RS256 and RSA-OAEP")
        if not _PRIVATE_MEMBERS.isdisjoint(jwk):
            raise UnsupportedAlgorithmError(f"the {what} has private parts in it")
        modulus = _number(jwk.get("n"), "n", what)
        exponent = 65537 if jwk.get("e") == "AQAB" else _number(jwk.get("e"), "e", what)
        if not MIN_BITS <= modulus.bit_length() <= MAX_BITS:
            raise UnsupportedAlgorithmError(
                f"the {what} has {modulus.bit_length()} bits; from {MIN_BITS} to {MAX_BITS} are accepted"
            )
        if modulus % 2 == 0 or _is_roca(modulus):
            raise UnsupportedAlgorithmError(f"the {what} has a modulus that can be factored")
        if exponent < 3 or exponent % 2 == 0 or exponent.bit_length() > 32:
            raise UnsupportedAlgorithmError(f"the {what} has an exponent that RSA keys do not have")
        self.modulus, self.exponent = modulus, exponent
        kid = jwk.get("kid")
        self.kid = kid if isinstance(kid, str) else None
        # Made when it is used first: nothing that has passed the checks above can be refused then.
        self._made: RSAPublicKey | None = None

    def __repr__(self) -> str:
        return f"PublicKey(kid={self.kid!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PublicKey):
            return NotImplemented
        return (self.kid, self.modulus, self.exponent) == (other.kid, other.modulus, other.exponent)

    def __hash__(self) -> int:
        return hash((self.kid, self.modulus))

    def to_jwk(self) -> dict[str, str]:
        """The key as a JWK: what to pin, or to keep in a shared store."""
        out = {"kty": "RSA", "n": _number_text(self.modulus), "e": _number_text(self.exponent)}
        return out if self.kid is None else {**out, "kid": self.kid}

    @property
    def _key(self) -> RSAPublicKey:
        made = self._made
        if made is None:
            made = self._made = _primitives().public_key(self.modulus, self.exponent)
        return made

    def verify(self, jws: Jws | Signed, what: str) -> None:
        """Check an RS256 signature (RFC 7518 section 3.3).

        Raises:
            InvalidSignatureError: the signature does not fit.
        """
        signed = jws.signed if isinstance(jws, Jws) else jws
        if not _primitives().verify(self._key, signed.signature, signed.signing_input):
            raise InvalidSignatureError(f"the signature of the {what} does not fit its key and content")

    def encrypt(self, plaintext: bytes) -> str:
        """A compact JWE (RFC 7516 section 5.1) to this key: ``RSA-OAEP``, ``A256GCM``, and this key's ``kid``."""
        from .jwe import encrypt_jwe

        return encrypt_jwe(self._key, "RSA-OAEP", {"kid": str(self.kid)}, plaintext)


@cache
def _primitives() -> ModuleType:
    from . import primitives

    return primitives


@cache
def _roca_residues() -> tuple[tuple[int, frozenset[int]], ...]:
    primes = [p for p in range(3, 168, 2) if all(p % d for d in range(3, p, 2))]
    found = [(p, frozenset(pow(65537, power, p) for power in range(p - 1))) for p in primes]
    # Those first that tell the most keys apart.
    return tuple(sorted(found, key=lambda entry: len(entry[1]) / entry[0]))


def _is_roca(modulus: int) -> bool:
    """Whether the key comes from the chips that made primes out of powers of 65537 (CVE-2017-15361)."""
    return all(modulus % prime in residues for prime, residues in _roca_residues())


def _number(text: Any, member: str, what: str) -> int:
    if not isinstance(text, str) or len(text) > 2048 or not _BASE64URL.fullmatch(text):
        raise UnsupportedAlgorithmError(f"the {what} has no readable member {member}")
    try:
        data = binascii.a2b_base64(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4))
    except binascii.Error:
        raise UnsupportedAlgorithmError(f"the {what} has no readable member {member}") from None
    return int.from_bytes(data, "big")


def _number_text(number: int) -> str:
    return encode_part(number.to_bytes((number.bit_length() + 7) // 8, "big"))


class KeySource(Protocol):
    """Where long-term keys come from: this package's cache over the host, or something that a fleet shares. Called from
    any thread. Bound to one host: a key of another is no key here.
    """

    def get(self, kid: str) -> PublicKey:
        """The key that goes by ``kid``, a name that ``check_kid`` has passed.

        Raises:
            UnknownKeyError: there is none.
        """
        ...

    def refresh(self, kid: str) -> PublicKey | None:
        """The key anew from where it comes from, after a signature did not fit the one ``get`` gave. None, or the
        same key again, where there is no newer one; errors of fetching are the source's to keep to itself.
        """
        ...


def check_source(name: str, keys: object) -> None:
    """Check that an argument is a source of keys. Raises ``ConfigurationError`` for one whose methods are awaited."""
    check_methods(name, keys, ("get", "refresh"), "a KeySource such as PinnedKeys([...])")


def check_key(name: str, key: Any) -> PublicKey:
    """Check what the method of a source returned. Raises ``ConfigurationError`` if it cannot verify."""
    if callable(getattr(key, "verify", None)):
        return key  # type: ignore[no-any-return]
    check_result(name, key)
    raise ConfigurationError(f"{name} must return a PublicKey, not an object of type {type(key).__name__}")


def with_key(keys: KeySource, kid: str, verify: Callable[[PublicKey], _T]) -> _T:
    """Verify with a key from a source, which is asked for it anew where the signature does not fit.

    Args:
        keys: the source.
        kid: name of the key.
        verify: verifies with a key, or raises ``InvalidSignatureError``.
    """
    key = check_key("get of the KeySource", keys.get(kid))
    try:
        return verify(key)
    except InvalidSignatureError:
        # The host may have another key under the old name by now.
        fresh = keys.refresh(kid)
        if fresh is None or fresh == key:
            raise
        fresh = check_key("refresh of the KeySource", fresh)
    return verify(fresh)
