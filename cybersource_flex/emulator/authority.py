"""What the checks of all schemes share: who is known, which hosts are ours, the clock, the used ids."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from email.utils import formatdate

from .certificates import Certificate
from .directory import Directory, Key
from .merchants import Merchant, ResponseMleKey

# Hosts of the REST API that a client may sign while its connection comes here.
REAL_HOSTS: frozenset[str] = frozenset(
    {
        "apitest.cybersource.com",
        "api.cybersource.com",
        "api.in.cybersource.com",
        "apitest.sa.cybersource.com",
        "api.sa.cybersource.com",
    }
)

# Verbs whose body is covered by a digest.
WITH_DIGEST: frozenset[str] = frozenset({"POST", "PUT", "PATCH"})


class Refused(Exception):
    """The request is not authentic; the text says why and shows no secret and no signature."""


@dataclass(frozen=True)
class Caller:
    """Who sent a request, as found out by one of the schemes.

    Attributes:
        merchant: the transacting merchant.
        scheme: "http-signature", "jwt" or "access-token".
        response_key: what the caller asks answers to be encrypted to.
    """

    merchant: Merchant
    scheme: str
    response_key: ResponseMleKey | None = None


def quoted(value: object) -> str:
    """A value for a refusal: short and on one line."""
    text = ascii(value)
    return text if len(text) <= 80 else text[:77] + "..."


def sha256_base64(body: bytes) -> str:
    """base64 of the SHA-256 of the bytes, the form of both digests."""
    return base64.b64encode(hashlib.sha256(body).digest()).decode("ascii")


def same(left: str | bytes, right: str | bytes) -> bool:
    """Equality in constant time."""
    return hmac.compare_digest(_bytes(left), _bytes(right))


def _bytes(value: str | bytes) -> bytes:
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value


class UsedIds:
    """The `jti` values seen, forgotten as soon as a token with them would be refused for its age anyway."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, str], float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, owner: str, jti: str, *, now: float, forget_after: float) -> bool:
        """Note one; False when it was there already."""
        while self._seen and next(iter(self._seen.values())) < now:
            self._seen.popitem(last=False)
        if (owner, jti) in self._seen:
            return False
        self._seen[owner, jti] = now + forget_after
        return True


class Authority:
    """Knows what credentials are judged by.

    Args:
        directory: who is known.
        hosts: what may stand as signed host beside the real service's hosts; compared in lower case.
        clock: seconds since the epoch.
        clock_tolerance: seconds that `Date` may be away from the clock, either way (HTTP Signature).
        jwt_leeway: seconds that `iat` may lie ahead and `exp` behind.
    """

    def __init__(
        self,
        directory: Directory,
        *,
        hosts: Iterable[str],
        clock: Callable[[], float],
        clock_tolerance: float,
        jwt_leeway: float,
    ) -> None:
        self.directory = directory
        self.hosts = REAL_HOSTS | {host.lower() for host in hosts}
        self.clock = clock
        self.clock_tolerance = clock_tolerance
        self.jwt_leeway = jwt_leeway
        self.used_ids = UsedIds()

    def key(self, key_id: str) -> Key:
        """The key with this id, or `Refused`."""
        key = self.directory.key(key_id)
        if key is not None:
            return key
        if self.directory.is_x509_serial(key_id):
            raise Refused(
                "kid is the serial number of the certificate: it must be the serialNumber attribute of its subject"
            )
        raise Refused(f"key id {quoted(key_id)} is unknown here")

    def user(self, key: Key, merchant_id: str) -> Merchant:
        """The merchant with this id that may use the key, or `Refused`."""
        if merchant_id not in key.users:
            raise Refused(f"merchant {quoted(merchant_id)} does not belong to that key id")
        return key.users[merchant_id]

    def check_validity(self, certificate: Certificate) -> None:
        """Refuse a certificate that is not valid now."""
        now = self.clock()
        if now < certificate.not_before:
            raise Refused(f"the certificate is not valid before {formatdate(certificate.not_before, usegmt=True)}")
        if now > certificate.not_after:
            raise Refused(f"the certificate expired on {formatdate(certificate.not_after, usegmt=True)}")

    def check_host(self, host: str, what: str) -> None:
        """Refuse a signed host that is neither the emulator's nor the real service's."""
        if host.lower() not in self.hosts:
            raise Refused(f"{what} {quoted(host)} is neither this host nor one of the real service")
