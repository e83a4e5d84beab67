"""All credentials that the emulator knows, each found by what a request says of it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

from .certificates import Certificate
from .merchants import Merchant, ResponseMleKey


@dataclass(frozen=True)
class Key:
    """One key that signs requests: a shared secret or a certificate.

    Attributes:
        owner: who created it: a portfolio if it is a meta key, otherwise the merchant.
        material: for a shared secret the bytes, for a certificate what is known of it.
        text: a shared secret as it was given, to name the slip of not decoding it.
        users: the merchants that may use it, by id; more than one only for a meta key.
    """

    key_id: str
    owner: str
    material: bytes | Certificate = field(repr=False)
    text: str = field(repr=False)
    users: dict[str, Merchant]


class Directory:
    """The merchants and their credentials. May be added to from any thread while requests are judged.

    What is looked up is never changed in place: a change makes a new dictionary and puts it there.
    """

    def __init__(self, merchants: Iterable[Merchant]) -> None:
        self._lock = threading.Lock()
        self.merchants = tuple(merchants)
        self._keys: dict[str, Key] = {}
        # By hash: a dictionary of the tokens would be compared with them character by character.
        self._tokens: dict[bytes, Merchant | None] = {}
        self._response_keys: dict[str, dict[str, ResponseMleKey]] = {}
        if not self.merchants:
            raise ValueError("the emulator needs at least one merchant")
        for merchant in self.merchants:
            if merchant.key_id is not None and merchant.secret_key is not None:
                self._add(merchant, merchant.key_id, merchant.key_owner, merchant.secret, merchant.secret_key)
            for owner, certificate in merchant.signing_certificates():
                self._add(merchant, certificate.key_id, owner, certificate, "")
            for token in merchant.access_tokens:
                self.add_token(token, merchant)
            for key in merchant.response_keys():
                self._add_response_key(merchant, key)

    def key(self, key_id: str) -> Key | None:
        return self._keys.get(key_id)

    def is_x509_serial(self, text: str) -> bool:
        """Whether someone took the certificate's own serial number for the key id."""
        materials = [key.material for key in self._keys.values()]
        return any(isinstance(known, Certificate) and text in known.x509_serials for known in materials)

    def response_key(self, merchant_id: str, key_id: str) -> ResponseMleKey | None:
        return self._response_keys.get(merchant_id, {}).get(key_id)

    def knows_token(self, token: str) -> bool:
        """Whether it is an access token, be it revoked."""
        return _hash(token) in self._tokens

    def token_holder(self, token: str) -> Merchant | None:
        """Whose access token it is; None when it is unknown or revoked."""
        return self._tokens.get(_hash(token))

    def add_token(self, token: str, merchant: Merchant) -> None:
        """Make an access token valid."""
        with self._lock:
            known = self._tokens.get(_hash(token))
            if known is not None and known.merchant_id != merchant.merchant_id:
                raise ValueError("two merchants have the same access token")
            self._tokens = {**self._tokens, _hash(token): merchant}

    def revoke_token(self, token: str) -> None:
        """Make an access token invalid, with another cause than one that was never heard of."""
        with self._lock:
            if self._tokens.get(_hash(token)) is None:
                raise ValueError("there is no such access token")
            self._tokens = {**self._tokens, _hash(token): None}

    def add_certificate(self, certificate: Certificate, *, response_mle: bool) -> None:
        """Register a new certificate for all merchants whose own or whose portfolio's id its CN is."""
        for merchant in self.merchants:
            if certificate.common_name not in (merchant.merchant_id, merchant.portfolio_id):
                continue
            if response_mle:
                self._add_response_key(merchant, merchant.response_key(certificate))
                continue
            known = self.key(certificate.key_id)
            if known is None or merchant.merchant_id not in known.users:
                self._add(merchant, certificate.key_id, merchant.owner_of(certificate), certificate, "")

    def _add(self, merchant: Merchant, key_id: str, owner: str, material: bytes | Certificate, text: str) -> None:
        with self._lock:
            known = self._keys.get(key_id)
            users: dict[str, Merchant] = {}
            if known is not None:
                users = known.users
                if merchant.merchant_id in users:
                    raise ValueError(f"merchant {merchant.merchant_id!r} is listed twice with key {key_id!r}")
                if known.material != material or known.owner != owner:
                    raise ValueError(f"key {key_id!r} is shared, so all who use it need one portfolio_id and secret")
            users = {**users, merchant.merchant_id: merchant}
            self._keys = {**self._keys, key_id: Key(key_id, owner, material, text, users)}

    def _add_response_key(self, merchant: Merchant, key: ResponseMleKey) -> None:
        with self._lock:
            known = {**self._response_keys.get(merchant.merchant_id, {}), key.key_id: key}
            self._response_keys = {**self._response_keys, merchant.merchant_id: known}


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
