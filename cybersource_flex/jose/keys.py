"""RSA public keys: from a JWK to something that verifies and encrypts, and where long-term keys come from."""

from __future__ import annotations

import base64
import binascii
import re
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from ..errors import InvalidSignatureError, UnknownKeyError, UnsupportedAlgorithmError
from .compact import Jws

if TYPE_CHECKING:
    from joserfc.jwk import RSAKey

__all__ = ["CachedKeys", "KeySource", "PublicKey", "check_kid"]

MIN_BITS: Final = 2048
# More would make each verification a gift to whoever chose the key.
MAX_BITS: Final = 8192

# The official SDK's rule for a `kid` before it goes into a URL; a length is ours.
_SAFE_KID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


def check_kid(kid: str) -> str:
    """A ``kid`` that may become part of a URL's path. It comes from a token that is not verified yet.

    Raises:
        UnknownKeyError: too long, or with other characters than letters, digits, ``.``, ``_`` and ``-``, or with
        ``..``.
    """
    if not _SAFE_KID.fullmatch(kid) or ".." in kid or kid == ".":
        raise UnknownKeyError("the kid of the token is not a name that a key of this service can have")
    return kid


class PublicKey:
    """An RSA public key out of a JWK (RFC 7517, RFC 7518 section 6.3.1).

    Args:
        jwk: the key as JSON types. ``use``, ``alg`` and ``key_ops`` are not looked at: the service publishes the keys
            it signs with as ``"use": "enc"``.
        what: whose key it is, for messages.

    Raises:
        UnsupportedAlgorithmError: not an RSA public key of 2048 to 8192 bits.
    """

    __slots__ = ("_key", "kid")

    def __init__(self, jwk: Mapping[str, Any], what: str = "public key") -> None:
        from joserfc.jwk import RSAKey

        if not isinstance(jwk, Mapping) or jwk.get("kty") != "RSA":
            raise UnsupportedAlgorithmError(f"the {what} is not an RSA key")
        if any(member in jwk for member in ("d", "p", "q", "dp", "dq", "qi")):
            raise UnsupportedAlgorithmError(f"the {what} has private parts in it")
        modulus, exponent = _number(jwk.get("n"), "n", what), _number(jwk.get("e"), "e", what)
        if not MIN_BITS <= modulus.bit_length() <= MAX_BITS:
            raise UnsupportedAlgorithmError(
                f"the {what} has {modulus.bit_length()} bits; from {MIN_BITS} to {MAX_BITS} are accepted"
            )
        if exponent < 3 or exponent % 2 == 0 or exponent.bit_length() > 32:
            raise UnsupportedAlgorithmError(f"the {what} has an exponent that RSA keys do not have")
        kid = jwk.get("kid")
        self.kid = kid if isinstance(kid, str) else None
        try:
            self._key: RSAKey = RSAKey.import_key({"kty": "RSA", "n": str(jwk["n"]), "e": str(jwk["e"])})
        except ValueError:
            raise UnsupportedAlgorithmError(f"the {what} is not an RSA key that can be used") from None

    def __repr__(self) -> str:
        return f"PublicKey(kid={self.kid!r})"

    def verify(self, jws: Jws, what: str) -> None:
        """Check an RS256 signature (RFC 7518 section 3.3).

        Raises:
            InvalidSignatureError: the signature does not fit.
        """
        from joserfc import errors
        from joserfc import jws as library

        try:
            library.deserialize_compact(jws.compact, self._key, algorithms=["RS256"])
        except (errors.JoseError, ValueError):
            raise InvalidSignatureError(f"the signature of the {what} does not fit its key and content") from None

    def encrypt(self, header: Mapping[str, str], plaintext: bytes) -> str:
        """A compact JWE (RFC 7516) to this key, ``alg`` and ``enc`` as the header says."""
        from joserfc import jwe

        return jwe.encrypt_compact(dict(header), plaintext, self._key, algorithms=[header["alg"], header["enc"]])


def _number(text: Any, member: str, what: str) -> int:
    if not isinstance(text, str) or len(text) > 2048 or not re.fullmatch(r"[A-Za-z0-9_-]+", text):
        raise UnsupportedAlgorithmError(f"the {what} has no readable member {member}")
    try:
        return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")
    except (binascii.Error, ValueError):
        raise UnsupportedAlgorithmError(f"the {what} has no readable member {member}") from None


class KeySource(Protocol):
    """Where long-term keys come from. Called from any thread."""

    def get(self, kid: str) -> PublicKey:
        """The key that goes by ``kid``, a name that ``check_kid`` has passed.

        Raises:
            UnknownKeyError: there is none.
        """
        ...


class CachedKeys:
    """Keys that were fetched once, kept in memory for the life of a client. Safe in threads.

    Args:
        fetch: brings the JWK for a ``kid``, or raises.
    """

    def __init__(self, fetch: Callable[[str], Mapping[str, Any]]) -> None:
        self._fetch = fetch
        self._keys: dict[str, PublicKey] = {}
        self._lock = threading.Lock()

    def get(self, kid: str) -> PublicKey:
        """See ``KeySource``. Errors of fetching pass through."""
        found = self._keys.get(kid)
        if found is None:
            found = PublicKey(self._fetch(kid), f"public key {kid!r}")
            if found.kid is not None and found.kid != kid:
                raise UnknownKeyError(f"the host answered with another key than {kid!r}")
            with self._lock:
                self._keys[kid] = found
        return found
