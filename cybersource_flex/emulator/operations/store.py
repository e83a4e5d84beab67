"""What the emulator holds in memory: keys, capture contexts, transient tokens. All is forgotten in time."""

from __future__ import annotations

import os
import secrets
import string
import uuid
from base64 import b64encode
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from .. import jose
from ..auth.credentials import Merchant

# Seconds by which the clock is off for the request being answered; every request sets it anew.
_SKEW: ContextVar[float] = ContextVar("skew", default=0.0)


class EmulatorClock:
    """Seconds since the epoch, as the host believes.

    Args:
        base: the right time.

    Attributes:
        shift: seconds by which the host is off, for all requests.
    """

    def __init__(self, base: Callable[[], float]) -> None:
        self._base = base
        self.shift = 0.0

    def __call__(self) -> float:
        return self._base() + self.shift + _SKEW.get()

    def true_time(self) -> float:
        """The right time, for what must not depend on how far off the host is."""
        return self._base()


def set_request_skew(seconds: float) -> None:
    """Let the clock be off for the rest of the request that is being answered in this task."""
    _SKEW.set(seconds)


# Seconds: capture contexts and transient tokens live 15 minutes in every published sample.
LIFETIME = 900
# Long-term keys that can be fetched, the new one among them.
_PUBLISHED = 8
_ALPHANUMERIC = string.ascii_letters + string.digits
_UPPER = string.digits + string.ascii_uppercase
_Kept = TypeVar("_Kept", "IssuedContext", "IssuedToken", "StoredCredentials")


@dataclass(frozen=True)
class Settings:
    """How the emulator judges; see `Emulator` for the meaning of each."""

    clock: EmulatorClock
    context_uses: int | None
    payment_credentials: bool
    check_luhn: bool
    check_expiry: bool
    extra_fields: frozenset[str]
    key_pool: int


@dataclass
class IssuedContext:
    """A capture context that was issued. Of the JWT only a hash is kept: it has 2 kB, and there may be many.

    Attributes:
        required, optional: dotted paths of the fields.
        networks: for Microform cards, `allowedCardNetworks`; None where networks are not judged.
        include_prefix: `includeCardPrefix` as it was sent, None when absent.
        uses: transient tokens made with it so far.
    """

    sha256: bytes = field(repr=False)
    merchant: Merchant
    key: rsa.RSAPrivateKey = field(repr=False)
    type: str
    required: frozenset[str]
    optional: frozenset[str]
    expires_at: int
    networks: tuple[str, ...] | None = None
    include_prefix: bool | None = None
    uses: int = 0

    @property
    def microform(self) -> bool:
        return self.type.startswith("mf-")


@dataclass(frozen=True)
class IssuedToken:
    """A transient token that was issued: who owns it, and its masked content for payment-details."""

    merchant: Merchant
    expires_at: int
    details: dict[str, object] = field(repr=False)


@dataclass(frozen=True)
class StoredCredentials:
    """Unmasked card data behind a reference; only kept when that operation is switched on."""

    merchant: Merchant
    expires_at: int
    content: dict[str, object] = field(repr=False)


@dataclass(frozen=True)
class LongTermKey:
    """The key that signs capture contexts."""

    kid: str
    key: rsa.RSAPrivateKey = field(repr=False)


class Store:
    """Keys, contexts and tokens. Only the server's own thread touches it, so there is no lock.

    But for the rotation of the long-term key, which may come from any thread: nothing is changed in place there.
    """

    def __init__(self, settings: Settings, origin: str) -> None:
        self.settings = settings
        self.origin = origin
        # Two characters in every published sample.
        self.long_term = LongTermKey(_random(_ALPHANUMERIC.lower(), 2), _new_key())
        # All that are published: contexts signed with the last one are still about.
        self._published = {self.long_term.kid: self.long_term}
        # A real one-time key serves one context. Making one costs 50 to 100 ms, which would be the price of
        # every session; so a few are made at start and used in turn, each time under a new kid. Two are
        # enough for tests to notice a token that is checked with the key of another context.
        self._pool = [_new_key() for _ in range(settings.key_pool)]
        self._turn = 0
        self.credentials_key = _new_key() if settings.payment_credentials else None
        self.credentials_kid = str(uuid.uuid4())
        self.contexts: dict[str, IssuedContext] = {}
        self.tokens: dict[str, IssuedToken] = {}
        self.credentials: dict[str, StoredCredentials] = {}
        # When to forget what, oldest first, by the right time.
        self._kept: deque[tuple[float, dict[str, Any], str]] = deque()

    def now(self) -> int:
        """Whole seconds since the epoch on the emulator's clock."""
        return int(self.settings.clock())

    def rotate_key(self, same_kid: bool) -> str:
        """Make a new long-term key, under a new kid or in place of the last one. The kid is returned."""
        kid = self.long_term.kid
        while not same_kid and kid in self._published:
            kid = _random(_ALPHANUMERIC.lower(), 2)
        new = LongTermKey(kid, _new_key())
        # The last few only: there are not that many names of two characters.
        self._published = dict([*self._published.items(), (kid, new)][-_PUBLISHED:])
        self.long_term = new
        return kid

    @cached_property
    def unrelated_key(self) -> rsa.RSAPrivateKey:
        """A key of nobody, for scenarios. Made when first used."""
        return _new_key()

    def long_term_jwk(self, kid: str) -> dict[str, str] | None:
        """A key that signs capture contexts, as published: `use` says enc although it verifies."""
        known = self._published.get(kid)
        if known is None:
            return None
        jwk = jose.public_jwk(known.key.public_key(), kid)
        return {"kty": jwk["kty"], "use": "enc", "kid": jwk["kid"], "n": jwk["n"], "e": jwk["e"]}

    def next_one_time_key(self) -> tuple[str, rsa.RSAPrivateKey]:
        """A fresh kid of 32 characters (published ones begin with the digits of `Flex/00`) and a key."""
        self._turn = (self._turn + 1) % len(self._pool)
        return "00" + _random(_ALPHANUMERIC, 30), self._pool[self._turn]

    def put(self, kept: dict[str, _Kept], name: str, item: _Kept) -> None:
        """Keep something under a name, and forget what expired a lifetime ago.

        Expired contexts stay that long so that "expired" and "never heard of" can be told apart.
        """
        kept[name] = item
        now = self.settings.clock.true_time()
        self._kept.append((now + 2 * LIFETIME, kept, name))
        while self._kept[0][0] < now:
            _, old, forgotten = self._kept.popleft()
            old.pop(forgotten, None)

    def credentials_key_pem(self) -> bytes:
        """Private key, PKCS #8 PEM, that opens what payment-credentials returns."""
        if self.credentials_key is None:
            raise RuntimeError("payment credentials are off: make the emulator with payment_credentials=True")
        return self.credentials_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


def _new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _random(alphabet: str, length: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))


def context_jti() -> str:
    """`jti` of a capture context: 16 characters."""
    return _random(_ALPHANUMERIC, 16)


def context_data() -> str:
    """`flx.data`: opaque; 83 bytes in most samples."""
    return b64encode(os.urandom(83)).decode("ascii")


def token_jti(expires_at: int) -> str:
    """`jti` of a transient token: 64 of 0-9A-Z, at 53 to 60 the expiry in hexadecimal as in all samples."""
    return f"{_random(_UPPER, 52)}{expires_at:08X}{_random('0123456789ABCDEF', 4)}"


def credentials_reference() -> str:
    """A payment-credentials reference: 21 characters, base64url alphabet."""
    return _random(_ALPHANUMERIC + "-_", 21)
