"""Merchants and their credentials, and the store in which authentication looks them up."""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
import threading
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import rsa

from ...errors import ConfigurationError
from ..argument_types import check_list, check_str
from .certificates import Certificate, load_public_key

# A certificate (PEM or DER), or a key id and a public key.
CertificateOrKey = bytes | str | tuple[str, bytes | str]
_ENTRY_TYPES = (bytes, str, tuple)


@dataclass(frozen=True)
class Merchant:
    """A merchant of the emulator, with any of the credentials that merchants have.

    To give a merchant several shared secrets, or both its own key and a meta key, list it more than once.

    Args:
        merchant_id: the transacting merchant's id.
        key_id: id of the shared secret, a UUID at the real host.
        secret_key: the shared secret in base64, as the Business Center shows it. Not part of the repr.
        portfolio_id: if the key is a meta key, the id of the portfolio that created it. Requests then contain the
            portfolio's id in the signed merchant line or the claim `iss`, and the transacting merchant's id in the
            header or claim `v-c-merchant-id`. If several merchants share a meta key, list each of them with the same
            portfolio, and with the same key id and secret or the same certificate.
        certificates: certificates (PEM or DER) of the keys that sign JWTs. The CN of the subject must be the
            id of the merchant, or for a meta key the id of the portfolio, in any letter case. The key id is the
            subject's `serialNumber`.
        access_tokens: OAuth bearer tokens, opaque strings. Not part of the repr.
        response_mle_certificates: keys to which responses may be encrypted. Each is a certificate as in
            `certificates`, or a pair of a key id and a public key.
    """

    merchant_id: str
    key_id: str | None = None
    secret_key: str | None = field(default=None, repr=False)
    portfolio_id: str | None = None
    certificates: Iterable[bytes | str] = field(default=(), repr=False)
    access_tokens: Iterable[str] = field(default=(), repr=False)
    response_mle_certificates: Iterable[CertificateOrKey] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        names = ["merchant_id"]
        if self.key_id is not None or self.secret_key is not None:
            names += ["key_id", "secret_key"]
        for name in names:
            value = getattr(self, name)
            if not isinstance(value, str) or not value or value != value.strip():
                raise ConfigurationError(f"{name} of a merchant must be a non-empty string without surrounding spaces")
        if self.portfolio_id is not None:
            check_str("portfolio_id of a merchant", self.portfolio_id)
        if self.portfolio_id is not None and not self.portfolio_id:
            raise ConfigurationError("portfolio_id of a merchant must be None or a non-empty string")
        for name in ("certificates", "access_tokens", "response_mle_certificates"):
            value = getattr(self, name)
            object.__setattr__(self, name, check_list(f"{name} of a merchant", value, *_ENTRY_TYPES))
        if any(not isinstance(token, str) or token.split() != [token] for token in self.access_tokens):
            raise ConfigurationError("each of a merchant's access_tokens must be a non-empty string without spaces")
        if self.secret_key is not None:
            _ = self.secret
        _ = self.signing_certificates(), self.response_keys()

    @property
    def secret(self) -> bytes:
        """The HMAC key: the decoded secret."""
        if self.secret_key is None:
            raise ConfigurationError(f"merchant {self.merchant_id!r} has no shared secret")
        try:
            decoded = base64.b64decode(self.secret_key, validate=True)
        except (binascii.Error, ValueError):
            # "from None": the cause's message may contain the secret.
            raise ConfigurationError(f"secret_key of merchant {self.merchant_id!r} is not base64") from None
        if not decoded:
            raise ConfigurationError(f"secret_key of merchant {self.merchant_id!r} decodes to nothing")
        return decoded

    @property
    def key_owner(self) -> str:
        """The owner of the shared secret: if it is a meta key, the portfolio; otherwise the merchant itself."""
        return self.portfolio_id or self.merchant_id

    def owner_of(self, certificate: Certificate) -> str:
        """The id of the certificate's owner, merchant or portfolio. ConfigurationError if it belongs to neither."""
        for owner in (self.merchant_id, self.portfolio_id):
            if owner is not None and owner.lower() == certificate.common_name.lower():
                return owner
        expected = " or ".join(repr(name) for name in (self.merchant_id, self.portfolio_id) if name is not None)
        raise ConfigurationError(f"the CN of the certificate is {certificate.common_name!r}: expected {expected}")

    def signing_certificates(self) -> list[tuple[str, Certificate]]:
        """Owner and certificate of each key that may sign JWTs."""
        certificates = [Certificate.parse(data) for data in self.certificates]
        return [(self.owner_of(certificate), certificate) for certificate in certificates]

    def response_keys(self) -> list[ResponseMleKey]:
        """The keys to which responses may be encrypted."""
        keys: list[ResponseMleKey] = []
        for item in self.response_mle_certificates:
            if isinstance(item, tuple):
                keys.append(ResponseMleKey(item[0], load_public_key(item[1]), None))
            else:
                keys.append(self.response_key(Certificate.parse(item)))
        return keys

    def response_key(self, certificate: Certificate) -> ResponseMleKey:
        """Convert a certificate to a key to which responses may be encrypted."""
        return ResponseMleKey(certificate.key_id, certificate.public_key, self.owner_of(certificate))

    @classmethod
    def generate(cls, merchant_id: str = "emulated_merchant", portfolio_id: str | None = None) -> Merchant:
        """Create a merchant with a random shared secret. With `portfolio_id`, the secret is a meta key."""
        secret_key = base64.b64encode(secrets.token_bytes(32)).decode("ascii")
        return cls(merchant_id, str(uuid.uuid4()), secret_key, portfolio_id)


@dataclass(frozen=True)
class ResponseMleKey:
    """A key to which responses may be encrypted.

    Attributes:
        owner: merchant or portfolio of the certificate; None for a bare public key.
    """

    key_id: str
    public_key: rsa.RSAPublicKey = field(repr=False)
    owner: str | None


@dataclass(frozen=True)
class SigningKey:
    """A key that signs requests: a shared secret or a certificate.

    Attributes:
        owner: the portfolio if it is a meta key, otherwise the merchant.
        encoded_secret: the shared secret before base64 decoding. Used to detect requests that were signed with the
            encoded secret by mistake.
        merchants: the merchants that may use the key, by id; more than one only for a meta key.
    """

    key_id: str
    owner: str
    secret_or_certificate: bytes | Certificate = field(repr=False)
    encoded_secret: str = field(repr=False)
    merchants: dict[str, Merchant]


class CredentialStore:
    """All merchants and their keys, tokens and certificates. Thread-safe.

    The dictionaries are never changed in place: an update replaces them, so lookups need no lock.
    """

    def __init__(self, merchants: Iterable[Merchant]) -> None:
        self._lock = threading.Lock()
        self.merchants = tuple(merchants)
        self._keys: dict[str, SigningKey] = {}
        # By the hash of the token, because a lookup by the token itself would not take constant time.
        self._tokens: dict[bytes, Merchant | None] = {}
        self._response_keys: dict[str, dict[str, ResponseMleKey]] = {}
        if not self.merchants:
            raise ConfigurationError("the emulator needs at least one merchant")
        for merchant in self.merchants:
            if merchant.key_id is not None and merchant.secret_key is not None:
                self._add_key(merchant, merchant.key_id, merchant.key_owner, merchant.secret, merchant.secret_key)
            for owner, certificate in merchant.signing_certificates():
                self._add_key(merchant, certificate.key_id, owner, certificate, "")
            for token in merchant.access_tokens:
                self.add_token(token, merchant)
            for key in merchant.response_keys():
                self._add_response_key(merchant, key)

    def key(self, key_id: str) -> SigningKey | None:
        return self._keys.get(key_id)

    def is_x509_serial(self, key_id: str) -> bool:
        """Whether a key id is the serial number of a registered certificate, a common mistake."""
        certificates = [key.secret_or_certificate for key in self._keys.values()]
        return any(isinstance(item, Certificate) and key_id in item.x509_serials for item in certificates)

    def response_key(self, merchant_id: str, key_id: str) -> ResponseMleKey | None:
        return self._response_keys.get(merchant_id, {}).get(key_id)

    def has_token(self, token: str) -> bool:
        """Whether this is a known access token. A revoked one is still known."""
        return _hash(token) in self._tokens

    def token_merchant(self, token: str) -> Merchant | None:
        """The merchant of an access token; None when the token is unknown or revoked."""
        return self._tokens.get(_hash(token))

    def add_token(self, token: str, merchant: Merchant) -> None:
        """Add a valid access token."""
        with self._lock:
            holder = self._tokens.get(_hash(token))
            if holder is not None and holder.merchant_id != merchant.merchant_id:
                raise ConfigurationError("two merchants have the same access token")
            self._tokens = {**self._tokens, _hash(token): merchant}

    def revoke_token(self, token: str) -> None:
        """Revoke an access token. It is still stored, so that requests with it are rejected as revoked."""
        with self._lock:
            if self._tokens.get(_hash(token)) is None:
                raise ConfigurationError("there is no such access token")
            self._tokens = {**self._tokens, _hash(token): None}

    def add_certificate(self, certificate: Certificate, *, response_mle: bool) -> None:
        """Register a certificate for every merchant whose merchant id or portfolio id is the CN of the certificate."""
        for merchant in self.merchants:
            if certificate.common_name not in (merchant.merchant_id, merchant.portfolio_id):
                continue
            if response_mle:
                self._add_response_key(merchant, merchant.response_key(certificate))
                continue
            key = self.key(certificate.key_id)
            if key is None or merchant.merchant_id not in key.merchants:
                self._add_key(merchant, certificate.key_id, merchant.owner_of(certificate), certificate, "")

    def _add_key(
        self,
        merchant: Merchant,
        key_id: str,
        owner: str,
        secret_or_certificate: bytes | Certificate,
        encoded_secret: str,
    ) -> None:
        with self._lock:
            existing = self._keys.get(key_id)
            merchants: dict[str, Merchant] = {}
            if existing is not None:
                merchants = existing.merchants
                if merchant.merchant_id in merchants:
                    raise ConfigurationError(f"merchant {merchant.merchant_id!r} is listed twice with key {key_id!r}")
                if existing.secret_or_certificate != secret_or_certificate or existing.owner != owner:
                    raise ConfigurationError(
                        f"key {key_id!r} is shared by several merchants: all need the same portfolio_id and secret"
                    )
            merchants = {**merchants, merchant.merchant_id: merchant}
            key = SigningKey(key_id, owner, secret_or_certificate, encoded_secret, merchants)
            self._keys = {**self._keys, key_id: key}

    def _add_response_key(self, merchant: Merchant, key: ResponseMleKey) -> None:
        with self._lock:
            keys = {**self._response_keys.get(merchant.merchant_id, {}), key.key_id: key}
            self._response_keys = {**self._response_keys, merchant.merchant_id: keys}


def _hash(token: str) -> bytes:
    if not isinstance(token, str):
        raise ConfigurationError(f"token must be a string, not {type(token).__name__}")
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
