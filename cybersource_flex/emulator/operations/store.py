"""In-memory store of keys, capture contexts and tokens; their ids; the emulator's clock and settings."""

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

from ...errors import EmulatorError
from .. import jose
from ..auth.credentials import Merchant
from ..rsa_keys import RsaKeys

# Seconds by which the clock is ahead for the current request; set for every request.
_SKEW: ContextVar[float] = ContextVar("skew", default=0.0)


class EmulatorClock:
    """The emulator's clock: returns seconds since the epoch, with an offset that faults can set.

    Args:
        base: returns the true time.

    Attributes:
        shift: seconds by which the clock is ahead, for all requests.
    """

    def __init__(self, base: Callable[[], float]) -> None:
        self._base = base
        self.shift = 0.0

    def __call__(self) -> float:
        return self._base() + self.shift + _SKEW.get()

    def true_time(self) -> float:
        """The time without any offset."""
        return self._base()


def set_request_skew(seconds: float) -> None:
    """Set the clock ahead for the request that the current task handles."""
    _SKEW.set(seconds)


# Seconds. In every published sample, capture contexts and transient tokens are valid for 15 minutes.
LIFETIME = 900
# Number of long-term keys that can be fetched, including the current one.
_MAXIMUM_PUBLISHED_KEYS = 8
_ALPHANUMERIC = string.ascii_letters + string.digits
_UPPER = string.digits + string.ascii_uppercase
_Record = TypeVar("_Record", "IssuedContext", "IssuedToken", "StoredCredentials")


@dataclass(frozen=True)
class Settings:
    """Options of the operations; `Emulator` documents each."""

    clock: EmulatorClock
    context_uses: int | None
    quota_details: bool
    payment_credentials: bool
    check_luhn: bool
    check_expiry: bool
    extra_fields: frozenset[str]
    loopback_origins: bool
    key_pool: int


@dataclass
class IssuedContext:
    """An issued capture context. Only a hash of the JWT is stored, because a JWT has 2 kB and there may be many.

    Attributes:
        required, optional: dotted paths of the fields.
        networks: `allowedCardNetworks` of a Microform context for cards; None if the networks are not checked.
        target_origins: for Microform, the origins of the pages that may show its fields.
        include_prefix: `includeCardPrefix` as sent; None when absent.
        uses: number of transient tokens issued for the context.
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
    target_origins: tuple[str, ...] = ()
    uses: int = 0

    @property
    def microform(self) -> bool:
        return self.type.startswith("mf-")


@dataclass(frozen=True)
class IssuedToken:
    """An issued transient token: its merchant, and its masked content for payment-details."""

    merchant: Merchant
    expires_at: int
    details: dict[str, object] = field(repr=False)


@dataclass(frozen=True)
class StoredCredentials:
    """Unmasked card data for payment-credentials; stored only when that operation is enabled."""

    merchant: Merchant
    expires_at: int
    content: dict[str, object] = field(repr=False)


@dataclass(frozen=True)
class LongTermKey:
    """The key that signs capture contexts."""

    kid: str
    key: rsa.RSAPrivateKey = field(repr=False)


class Store:
    """Keys, capture contexts and tokens. Used only by the server's thread, so there is no lock.

    The exception is `rotate_key`, which any thread may call: it replaces objects instead of changing them.
    """

    def __init__(self, settings: Settings, origin: str) -> None:
        self.settings = settings
        self.origin = origin
        self._rsa_keys = RsaKeys()
        # In every published sample the kid has two characters.
        self.long_term = LongTermKey(_random(_ALPHANUMERIC.lower(), 2), self._rsa_keys.new())
        # All keys that can be fetched: contexts signed with an earlier key are still valid.
        self._published = {self.long_term.kid: self.long_term}
        # The real host generates a one-time key per context. That takes 50 to 100 ms, too long for every session. So a
        # few are generated at start and used in turn, each time with a new kid. Two are enough for tests to detect a
        # token that is verified with the key of another context.
        self._pool = [self._rsa_keys.new() for _ in range(settings.key_pool)]
        self._next_key = 0
        self.credentials_key = self._rsa_keys.new() if settings.payment_credentials else None
        self.credentials_kid = str(uuid.uuid4())
        self.contexts: dict[str, IssuedContext] = {}
        self.tokens: dict[str, IssuedToken] = {}
        self.credentials: dict[str, StoredCredentials] = {}
        # For each record: when it is removed (true time), its dictionary and its key in it. Oldest first.
        self._removals: deque[tuple[float, dict[str, Any], str]] = deque()

    def now(self) -> int:
        """Whole seconds since the epoch on the emulator's clock."""
        return int(self.settings.clock())

    def rotate_key(self, same_kid: bool) -> str:
        """Generate a new long-term key with a new kid, or with the kid of the current key. Returns the kid."""
        kid = self.long_term.kid
        while not same_kid and kid in self._published:
            kid = _random(_ALPHANUMERIC.lower(), 2)
        new = LongTermKey(kid, self._rsa_keys.new())
        others = [(name, key) for name, key in self._published.items() if name != kid]
        # Only a limited number of keys is kept, because there are few kids of two characters.
        self._published = dict([*others, (kid, new)][-_MAXIMUM_PUBLISHED_KEYS:])
        self.long_term = new
        return kid

    @cached_property
    def unrelated_key(self) -> rsa.RSAPrivateKey:
        """A key that belongs to no merchant and no context, for scenarios. Generated when first used."""
        return self._rsa_keys.new()

    def long_term_jwk(self, kid: str) -> dict[str, str] | None:
        """A published key that verifies capture contexts. As at the real host, its `use` is "enc"."""
        long_term = self._published.get(kid)
        if long_term is None:
            return None
        jwk = jose.public_jwk(long_term.key.public_key(), kid)
        return {"kty": jwk["kty"], "use": "enc", "kid": jwk["kid"], "n": jwk["n"], "e": jwk["e"]}

    def long_term_jwks(self) -> list[dict[str, str]]:
        """All published keys that verify capture contexts."""
        return [jwk for kid in self._published if (jwk := self.long_term_jwk(kid)) is not None]

    def next_one_time_key(self) -> tuple[str, rsa.RSAPrivateKey]:
        """The next key for a capture context, with a new kid."""
        self._next_key = (self._next_key + 1) % len(self._pool)
        return one_time_kid(), self._pool[self._next_key]

    def put(self, records: dict[str, _Record], key: str, record: _Record) -> None:
        """Store a record, and remove records that expired more than one lifetime ago.

        Records that expired later are kept, so that errors can distinguish "expired" from "unknown".
        """
        records[key] = record
        now = self.settings.clock.true_time()
        self._removals.append((now + 2 * LIFETIME, records, key))
        while self._removals[0][0] < now:
            _, expired_records, expired_key = self._removals.popleft()
            expired_records.pop(expired_key, None)

    def credentials_key_pem(self) -> bytes:
        """Private key (PKCS #8, PEM) that decrypts the responses of payment-credentials."""
        if self.credentials_key is None:
            raise EmulatorError("payment credentials are disabled: create the emulator with payment_credentials=True")
        return self.credentials_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


def _random(alphabet: str, length: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))


def one_time_kid() -> str:
    """`kid` of a one-time key: 32 characters. Published ones begin with 00, like the digits of `Flex/00`."""
    return "00" + _random(_ALPHANUMERIC, 30)


def context_jti() -> str:
    """`jti` of a capture context: 16 characters."""
    return _random(_ALPHANUMERIC, 16)


def context_data() -> str:
    """A random value of the opaque claim `flx.data`. Most published samples have 83 bytes."""
    return b64encode(os.urandom(83)).decode("ascii")


def token_jti(expires_at: int) -> str:
    """`jti` of a transient token: 64 of 0-9A-Z. As in all samples, characters 53 to 60 are the expiry in hex."""
    return f"{_random(_UPPER, 52)}{expires_at:08X}{_random('0123456789ABCDEF', 4)}"


def credentials_reference() -> str:
    """A payment-credentials reference: 21 characters, base64url alphabet."""
    return _random(_ALPHANUMERIC + "-_", 21)
