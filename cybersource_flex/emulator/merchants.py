"""Who may call the emulator: one merchant id with one shared secret."""

from __future__ import annotations

import base64
import binascii
import secrets
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Merchant:
    """A merchant that the emulator knows.

    Args:
        merchant_id: the transacting merchant's id.
        key_id: id of the shared secret, a UUID at the real host.
        secret_key: the shared secret in base64, as the Business Center shows it. Not part of the repr.
        portfolio_id: with a meta key, the id of the portfolio that created the key. The signed merchant line
            and the claim `iss` then carry it, while the transacting merchant stays in the header or in
            `v-c-merchant-id`. Several merchants may share one meta key: list each with the same key id,
            secret and portfolio.
    """

    merchant_id: str
    key_id: str
    secret_key: str = field(repr=False)
    portfolio_id: str | None = None

    def __post_init__(self) -> None:
        for name in ("merchant_id", "key_id", "secret_key"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value or value != value.strip():
                raise ValueError(f"{name} of a merchant must be text without spaces around it, and not empty")
        if self.portfolio_id is not None and not self.portfolio_id:
            raise ValueError("portfolio_id of a merchant must be None or not empty")
        _ = self.secret

    @property
    def secret(self) -> bytes:
        """The HMAC key: the decoded secret."""
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
        """Who created the key: the portfolio with a meta key, otherwise the merchant itself."""
        return self.portfolio_id or self.merchant_id

    @classmethod
    def generate(cls, merchant_id: str = "emulated_merchant") -> Merchant:
        """A merchant with a new random key."""
        secret_key = base64.b64encode(secrets.token_bytes(32)).decode("ascii")
        return cls(merchant_id=merchant_id, key_id=str(uuid.uuid4()), secret_key=secret_key)


class Directory:
    """The merchants, found by key id and merchant id."""

    def __init__(self, merchants: Iterable[Merchant]) -> None:
        self._by_key: dict[str, dict[str, Merchant]] = {}
        for merchant in merchants:
            same_key = self._by_key.setdefault(merchant.key_id, {})
            if merchant.merchant_id in same_key:
                raise ValueError(f"merchant {merchant.merchant_id!r} is listed twice with key {merchant.key_id!r}")
            for other in same_key.values():
                if other.secret != merchant.secret or other.portfolio_id is None:
                    raise ValueError(f"key {merchant.key_id!r} is shared, so it needs one secret and a portfolio_id")
                if other.portfolio_id != merchant.portfolio_id:
                    raise ValueError(f"key {merchant.key_id!r} is listed with two portfolios")
            same_key[merchant.merchant_id] = merchant
        if not self._by_key:
            raise ValueError("the emulator needs at least one merchant")

    def with_key(self, key_id: str) -> dict[str, Merchant]:
        """The merchants that may use a key, by merchant id; empty when the key is unknown."""
        return self._by_key.get(key_id, {})
