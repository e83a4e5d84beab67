"""The side of the `Emulator` that hands out credentials, as the Business Center and an authority do."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TypedDict

from cryptography.hazmat.primitives import serialization

from .business_center import BusinessCenter
from .directory import Directory
from .merchants import Merchant
from .tls import ServerTls


class SharedSecretCredentials(TypedDict):
    """The arguments that signers with a shared secret take."""

    merchant_id: str
    key_id: str
    secret_key: str


class Issuer:
    """Credentials for clients. What is made here is known at once, also while the emulator is running."""

    def __init__(self, directory: Directory, center: BusinessCenter, tls: ServerTls | None) -> None:
        self._directory = directory
        self._center = center
        self._tls = tls

    @property
    def auth(self) -> SharedSecretCredentials:
        """Credentials of the first merchant, as keyword arguments of a signer."""
        first = self._directory.merchants[0]
        if first.key_id is None or first.secret_key is None:
            raise RuntimeError(f"merchant {first.merchant_id!r} has no shared secret: see make_p12")
        return {"merchant_id": first.merchant_id, "key_id": first.key_id, "secret_key": first.secret_key}

    def make_p12(
        self, password: str, merchant: str | None = None, *, portfolio: bool = False, days: float = 365
    ) -> bytes:
        """A P12 file as merchants download it, for JWTs with a certificate. Each call makes another key.

        It holds the private key and certificate (CN the merchant's id, `serialNumber` 22 digits), and the
        certificates CyberSource_SJC_US and CyberSourceCertAuth.

        Args:
            password: of the file.
            merchant: whose; by default that of the first merchant.
            portfolio: make a meta key: CN is the merchant's portfolio, and all its merchants may use it.
            days: how long the certificate is valid, from the emulator's now; below zero, it expired that long ago.
        """
        return self._p12(password, merchant, portfolio, days, response_mle=False)

    def make_response_mle_p12(
        self, password: str, merchant: str | None = None, *, portfolio: bool = False, days: float = 365
    ) -> bytes:
        """A P12 file whose key opens encrypted answers. Arguments and content as for `make_p12`."""
        return self._p12(password, merchant, portfolio, days, response_mle=True)

    def _p12(self, password: str, merchant: str | None, portfolio: bool, days: float, *, response_mle: bool) -> bytes:
        known = self._merchant(merchant, portfolio)
        name = known.portfolio_id if portfolio else known.merchant_id
        if name is None:
            raise ValueError(f"merchant {known.merchant_id!r} has no portfolio_id")
        certificate, content = self._center.p12(name, password, days)
        self._directory.add_certificate(certificate, response_mle=response_mle)
        return content

    @property
    def request_mle_certificate_pem(self) -> bytes:
        """The certificate CyberSource_SJC_US, to which clients encrypt requests."""
        return self._center.request_mle()[1].public_bytes(serialization.Encoding.PEM)

    def issue_access_token(self, merchant: str | None = None) -> str:
        """A new OAuth access token, valid until it is revoked."""
        token = secrets.token_urlsafe(32)
        self._directory.add_token(token, self._merchant(merchant))
        return token

    def revoke_access_token(self, token: str) -> None:
        """Answer 401 to an access token from now on."""
        self._directory.revoke_token(token)

    @property
    def ca_pem(self) -> bytes:
        """Certificate (PEM) of the authority behind this host's https, for clients to trust."""
        return self._needed_tls().ca_pem

    def write_ca(self, path: str | os.PathLike[str]) -> None:
        """Write `ca_pem` to a file."""
        Path(path).write_bytes(self.ca_pem)

    def issue_client_certificate(self, name: str) -> tuple[bytes, bytes]:
        """A client's certificate with this CN, and its private key, both PEM."""
        return self._needed_tls().client_certificate(name)

    def _needed_tls(self) -> ServerTls:
        if self._tls is None:
            raise RuntimeError("the emulator has no certificates for https: make it with tls=True")
        return self._tls

    def _merchant(self, merchant_id: str | None, portfolio: bool = False) -> Merchant:
        """The merchant with this id; where it is listed more than once, rather with a portfolio if wanted."""
        merchants = self._directory.merchants
        wanted = merchants[0].merchant_id if merchant_id is None else merchant_id
        found = [merchant for merchant in merchants if merchant.merchant_id == wanted]
        if not found:
            raise ValueError(f"merchant {wanted!r} is not one of the emulator's")
        return next((merchant for merchant in found if portfolio and merchant.portfolio_id), found[0])
