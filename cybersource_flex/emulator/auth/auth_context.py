"""``AuthContext``, ``Caller``, ``AuthenticationError`` and the `jti` replay check: shared by all schemes."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from email.utils import formatdate

from .certificates import Certificate
from .credentials import CredentialStore, Merchant, ResponseMleKey, SigningKey

# Hosts of the real REST API. A client may sign one of them although it connects to the emulator.
REAL_HOSTS: frozenset[str] = frozenset(
    {
        "apitest.cybersource.com",
        "api.cybersource.com",
        "api.in.cybersource.com",
        "apitest.sa.cybersource.com",
        "api.sa.cybersource.com",
    }
)

# Methods whose requests have a body digest.
METHODS_WITH_DIGEST: frozenset[str] = frozenset({"POST", "PUT", "PATCH"})


class AuthenticationError(Exception):
    """The request is not authentic. The message says why and contains no secret and no signature."""


@dataclass(frozen=True)
class Caller:
    """The authenticated sender of a request.

    Attributes:
        merchant: the transacting merchant.
        scheme: "http-signature", "jwt" or "access-token".
        response_key: the key to which the response must be encrypted; None for a plain response.
    """

    merchant: Merchant
    scheme: str
    response_key: ResponseMleKey | None = None


def quoted(value: object) -> str:
    """A value for an error message: on one line, at most 80 characters."""
    literal = ascii(value)
    return literal if len(literal) <= 80 else literal[:77] + "..."


def sha256_base64(body: bytes) -> str:
    """base64 of the SHA-256 of the bytes, as in the `Digest` header and in the claim `digest`."""
    return base64.b64encode(hashlib.sha256(body).digest()).decode("ascii")


def equal(first: str | bytes, second: str | bytes) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(_bytes(first), _bytes(second))


def _bytes(value: str | bytes) -> bytes:
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value


class UsedTokenIds:
    """The `jti` values used before (replay check). A value is removed when its token is too old to be accepted."""

    def __init__(self) -> None:
        self._expiries: OrderedDict[tuple[str, str], float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._expiries)

    def add(self, owner: str, jti: str, *, now: float, ttl: float) -> bool:
        """Add a value for `ttl` seconds. Returns False if it was used before."""
        while self._expiries and next(iter(self._expiries.values())) < now:
            self._expiries.popitem(last=False)
        if (owner, jti) in self._expiries:
            return False
        self._expiries[owner, jti] = now + ttl
        return True


class AuthContext:
    """The credentials, hosts and time limits that requests are checked against.

    Args:
        credentials: merchants and their keys.
        hosts: hosts that a signature may cover in addition to the real service's, in any letter case.
        clock: returns seconds since the epoch.
        clock_tolerance: maximum difference in seconds between `Date` and the clock (HTTP Signature).
        jwt_leeway: seconds that `iat` may be in the future and `exp` in the past.
        claim_format: the only accepted variant of a disputed claim, by claim (see `jwt.CLAIM_VARIANTS`). For claims
            that are not in this dictionary, all variants are accepted.
    """

    def __init__(
        self,
        credentials: CredentialStore,
        *,
        hosts: Iterable[str],
        clock: Callable[[], float],
        clock_tolerance: float,
        jwt_leeway: float,
        claim_format: Mapping[str, str] | None = None,
    ) -> None:
        self.credentials = credentials
        self.hosts = REAL_HOSTS | {host.lower() for host in hosts}
        self.clock = clock
        self.clock_tolerance = clock_tolerance
        self.jwt_leeway = jwt_leeway
        self.claim_format = claim_format or {}
        self.used_token_ids = UsedTokenIds()

    def key(self, key_id: str) -> SigningKey:
        """Return the key with this id, or raise `AuthenticationError`."""
        key = self.credentials.key(key_id)
        if key is not None:
            return key
        if self.credentials.is_x509_serial(key_id):
            raise AuthenticationError(
                "kid is the X.509 serial number of the certificate: expected the serialNumber attribute of its subject"
            )
        raise AuthenticationError(f"key id {quoted(key_id)} is unknown here")

    def merchant_for(self, key: SigningKey, merchant_id: str) -> Merchant:
        """Return the merchant with this id if it may use the key, or raise `AuthenticationError`."""
        if merchant_id not in key.merchants:
            raise AuthenticationError(f"merchant {quoted(merchant_id)} may not use the key with this key id")
        return key.merchants[merchant_id]

    def check_validity(self, certificate: Certificate) -> None:
        """Raise `AuthenticationError` if the certificate is not valid now."""
        now = self.clock()
        if now < certificate.not_before:
            date = formatdate(certificate.not_before, usegmt=True)
            raise AuthenticationError(f"the certificate is not valid before {date}")
        if now > certificate.not_after:
            date = formatdate(certificate.not_after, usegmt=True)
            raise AuthenticationError(f"the certificate expired on {date}")

    def check_host(self, host: str, name: str) -> None:
        """Raise `AuthenticationError` if a signed host is neither the emulator's nor the real service's."""
        if host.lower() not in self.hosts:
            raise AuthenticationError(f"{name} {quoted(host)} is neither this host nor a host of the real service")
