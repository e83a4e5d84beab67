"""Who may call the emulator, and with what."""

from __future__ import annotations

import base64
import binascii
import secrets
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import rsa

from . import certificates
from .certificates import Certificate

# A certificate, PEM or DER; or a key id and a public key.
CertificateOrKey = bytes | str | tuple[str, bytes | str]


@dataclass(frozen=True)
class Merchant:
    """A merchant that the emulator knows, with any of the credentials that merchants have.

    List a merchant more than once to give it several shared secrets, or a key of its own and a meta key.

    Args:
        merchant_id: the transacting merchant's id.
        key_id: id of the shared secret, a UUID at the real host.
        secret_key: the shared secret in base64, as the Business Center shows it. Not part of the repr.
        portfolio_id: with a meta key, the id of the portfolio that created the key. The signed merchant line
            and the claim `iss` then carry it, while the transacting merchant stays in the header or in
            `v-c-merchant-id`. Several merchants may share one meta key: list each with the same key id,
            secret and portfolio, or the same certificate and portfolio.
        certificates: for JWTs signed with a P12, each PEM or DER. The CN of the subject must be the merchant's
            id, or the portfolio's (any letter case): then it is a meta key. The key id is the subject's
            `serialNumber`.
        access_tokens: OAuth bearer tokens. Opaque here; not part of the repr.
        response_mle_certificates: what answers may be encrypted to. Certificates as above, or pairs of a key
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
                raise ValueError(f"{name} of a merchant must be text without spaces around it, and not empty")
        if self.portfolio_id is not None and not self.portfolio_id:
            raise ValueError("portfolio_id of a merchant must be None or not empty")
        for name in ("certificates", "access_tokens", "response_mle_certificates"):
            value = getattr(self, name)
            if isinstance(value, (str, bytes)):
                raise ValueError(f"{name} of a merchant is a list, not one {type(value).__name__}")
            object.__setattr__(self, name, tuple(value))
        if any(not isinstance(token, str) or token.split() != [token] for token in self.access_tokens):
            raise ValueError("access_tokens of a merchant must be texts without spaces, and not empty")
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
            # "from None": the cause's text must not carry the secret along.
            raise ValueError(f"secret_key of merchant {self.merchant_id!r} is not base64") from None
        if not decoded:
            raise ValueError(f"secret_key of merchant {self.merchant_id!r} decodes to nothing")
        return decoded

    @property
    def key_owner(self) -> str:
        """Who created the shared secret: the portfolio with a meta key, otherwise the merchant itself."""
        return self.portfolio_id or self.merchant_id

    def owner_of(self, certificate: Certificate) -> str:
        """The merchant or the portfolio, as registered; ValueError when the certificate is neither's."""
        for owner in (self.merchant_id, self.portfolio_id):
            if owner is not None and owner.lower() == certificate.common_name.lower():
                return owner
        known = " or ".join(repr(name) for name in (self.merchant_id, self.portfolio_id) if name is not None)
        raise ValueError(f"the CN of the certificate is {certificate.common_name!r}: expected {known}")

    def signing_certificates(self) -> list[tuple[str, Certificate]]:
        """The owner and the certificate of each key that may sign JWTs."""
        found = [Certificate.read(data) for data in self.certificates]
        return [(self.owner_of(certificate), certificate) for certificate in found]

    def response_keys(self) -> list[ResponseMleKey]:
        """What answers may be encrypted to."""
        found: list[ResponseMleKey] = []
        for item in self.response_mle_certificates:
            if isinstance(item, tuple):
                found.append(ResponseMleKey(item[0], certificates.load_public_key(item[1]), None))
            else:
                found.append(self.response_key(Certificate.read(item)))
        return found

    def response_key(self, certificate: Certificate) -> ResponseMleKey:
        """A certificate as a key that answers may be encrypted to."""
        return ResponseMleKey(certificate.key_id, certificate.public_key, self.owner_of(certificate))

    @classmethod
    def generate(cls, merchant_id: str = "emulated_merchant", portfolio_id: str | None = None) -> Merchant:
        """A merchant with a new random shared secret; with a portfolio, one that the portfolio created."""
        secret_key = base64.b64encode(secrets.token_bytes(32)).decode("ascii")
        return cls(merchant_id, str(uuid.uuid4()), secret_key, portfolio_id)


@dataclass(frozen=True)
class ResponseMleKey:
    """A key that answers may be encrypted to.

    Attributes:
        owner: merchant or portfolio in whose name the certificate is; None for a bare public key.
    """

    key_id: str
    public_key: rsa.RSAPublicKey = field(repr=False)
    owner: str | None
