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

from .certificates import Certificate, load_public_key

# A certificate (PEM or DER), or a key id and a public key.
CertificateOrKey = bytes | str | tuple[str, bytes | str]


@dataclass(frozen=True)
class Merchant:
    """A merchant of the emulator, with any of the credentials that merchants have.

    List a merchant more than once to give it several shared secrets, or its own key and a meta key.

    Args:
        merchant_id: the transacting merchant's id.
        key_id: id of the shared secret, a UUID at the real host.
        secret_key: the shared secret in base64, as the Business Center shows it. Not part of the repr.
        portfolio_id: with a meta key, the id of the portfolio that created the key. The signed merchant line and the
            claim `iss` then contain it, while the transacting merchant stays in the header or in
            `v-c-merchant-id`. Several merchants may share one meta key: list each with the same key id,
            secret and portfolio, or the same certificate and portfolio.
        certificates: for JWTs signed with a P12, each PEM or DER. The CN of the subject must be the merchant's id, or
            the portfolio's (any letter case): then it is a meta key. The key id is the subject's `serialNumber`.
        access_tokens: OAuth bearer tokens, opaque strings. Not part of the repr.
        response_mle_certificates: keys to which responses may be encrypted. Certificates as above, or pairs of a key
            id and a public key.
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
                raise ValueError(f"{name} of a merchant must be a string without surrounding spaces, and not empty")
        if self.portfolio_id is not None and not self.portfolio_id:
            raise ValueError("portfolio_id of a merchant must be None or not empty")
        for name in ("certificates", "access_tokens", "response_mle_certificates"):
            value = getattr(self, name)
            if isinstance(value, (str, bytes)):
                raise ValueError(f"{name} of a merchant must be a list, not one {type(value).__name__}")
            object.__setattr__(self, name, tuple(value))
        if any(not isinstance(token, str) or token.split() != [token] for token in self.access_tokens):
            raise ValueError("access_tokens of a merchant must be strings without spaces, and not empty")
        if self.secret_key is not None:
            _ = self.secret
        _ = self.signing_certificates(), self.response_keys()

    @property
    def secret(self) -> bytes:
        """The HMAC key: the decoded secret."""
        if self.secret_key is None:
            raise ValueError(f"merchant {self.merchant_id!r} has no shared secret")
        try:
            decoded = base64.b64decode(self.secret_key, validate=True)
        except (binascii.Error, ValueError):
            # "from None": the cause's message may contain the secret.
            raise ValueError(f"secret_key of merchant {self.merchant_id!r} is not base64") from None
        if not decoded:
            raise ValueError(f"secret_key of merchant {self.merchant_id!r} decodes to nothing")
        return decoded

    @property
    def key_owner(self) -> str:
        """The owner of the shared secret: the portfolio with a meta key, otherwise the merchant itself."""
        return self.portfolio_id or self.merchant_id

    def owner_of(self, certificate: Certificate) -> str:
        """The merchant or the portfolio, as registered; ValueError when the certificate belongs to neither."""
        for owner in (self.merchant_id, self.portfolio_id):
            if owner is not None and owner.lower() == certificate.common_name.lower():
                return owner
        expected = " or ".join(repr(name) for name in (self.merchant_id, self.portfolio_id) if name is not None)
        raise ValueError(f"the CN of the certificate is {certificate.common_name!r}: expected {expected}")

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
        """The key of a certificate, as a key to which responses may be encrypted."""
        return ResponseMleKey(certificate.key_id, certificate.public_key, self.owner_of(certificate))

    @classmethod
    def generate(cls, merchant_id: str = "emulated_merchant", portfolio_id: str | None = None) -> Merchant:
        """A merchant with a random shared secret; with `portfolio_id`, a meta key of that portfolio."""
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
        encoded_secret: a shared secret before base64 decoding, to recognise requests signed with it by mistake.
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
        # By hash, because a dictionary lookup compares tokens character by character.
        self._tokens: dict[bytes, Merchant | None] = {}
        self._response_keys: dict[str, dict[str, ResponseMleKey]] = {}
        if not self.merchants:
            raise ValueError("the emulator needs at least one merchant")
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
        """Whether it is an access token, including revoked ones."""
        return _hash(token) in self._tokens

    def token_merchant(self, token: str) -> Merchant | None:
        """The merchant of an access token; None when the token is unknown or revoked."""
        return self._tokens.get(_hash(token))

    def add_token(self, token: str, merchant: Merchant) -> None:
        """Add a valid access token."""
        with self._lock:
            holder = self._tokens.get(_hash(token))
            if holder is not None and holder.merchant_id != merchant.merchant_id:
                raise ValueError("two merchants have the same access token")
            self._tokens = {**self._tokens, _hash(token): merchant}

    def revoke_token(self, token: str) -> None:
        """Revoke an access token. It is still stored, so that the rejection reason can say so."""
        with self._lock:
            if self._tokens.get(_hash(token)) is None:
                raise ValueError("there is no such access token")
            self._tokens = {**self._tokens, _hash(token): None}

    def add_certificate(self, certificate: Certificate, *, response_mle: bool) -> None:
        """Register a certificate for all merchants whose id, or whose portfolio's id, is its CN."""
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
                    raise ValueError(f"merchant {merchant.merchant_id!r} is listed twice with key {key_id!r}")
                if existing.secret_or_certificate != secret_or_certificate or existing.owner != owner:
                    raise ValueError(
                        f"key {key_id!r} is shared: all its merchants need the same portfolio_id and secret"
                    )
            merchants = {**merchants, merchant.merchant_id: merchant}
            key = SigningKey(key_id, owner, secret_or_certificate, encoded_secret, merchants)
            self._keys = {**self._keys, key_id: key}

    def _add_response_key(self, merchant: Merchant, key: ResponseMleKey) -> None:
        with self._lock:
            keys = {**self._response_keys.get(merchant.merchant_id, {}), key.key_id: key}
            self._response_keys = {**self._response_keys, merchant.merchant_id: keys}


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
