"""Long-term keys from files, for verifying without the host."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from ..errors import ConfigurationError, UnknownKeyError, UnsupportedAlgorithmError
from ..jose import PublicKey
from .tokens import presentable

__all__ = ["FileKeys", "Misconfigured"]


class Misconfigured(click.ClickException):
    """One line, for a configuration that is wrong."""

    exit_code = 2


class FileKeys:
    """Keys out of files: JWK, JWKS or PEM. One without a name, as in PEM, goes for any name."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._keys: dict[str | None, PublicKey] = {}
        for path in paths:
            for jwk in _jwks(path):
                try:
                    key = PublicKey(jwk, "key")
                except UnsupportedAlgorithmError as cause:
                    raise ConfigurationError(f"{path}: {cause}") from None
                if self._keys.setdefault(key.kid, key) != key:
                    name = "without a kid" if key.kid is None else f"with the kid {key.kid!r}"
                    raise ConfigurationError(f"{path}: there is another key {name}")

    def get(self, kid: str) -> PublicKey:
        found = self._keys.get(kid) or self._keys.get(None)
        if found is None:
            names = ", ".join(repr(name) for name in self._keys)
            raise UnknownKeyError(f"the token names the key {kid!r}, the files have {presentable(names)}")
        return found

    def refresh(self, kid: str) -> PublicKey | None:
        return None


def _jwks(path: Path) -> Sequence[Mapping[str, Any]]:
    try:
        data = path.read_bytes()
    except OSError as cause:
        raise ConfigurationError(f"{path}: {cause.strerror or type(cause).__name__}") from None
    if b"-----BEGIN" in data:
        return [_from_pem(path, data)]
    try:
        found = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        # Outside of the handler: the exception holds the content.
        found = None
    if isinstance(found, dict):
        found = found.get("keys", found.get("key", found))
    entries: list[Any] = found if isinstance(found, list) else [found]
    if not entries or not all(isinstance(entry, dict) and "kty" in entry for entry in entries):
        raise ConfigurationError(f"{path}: neither a JWK, nor a set of them, nor PEM")
    return entries


def _from_pem(path: Path, data: bytes) -> Mapping[str, Any]:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    if b"PRIVATE KEY-----" in data:
        raise ConfigurationError(f"{path}: a private key; verifying takes the public one")
    try:
        certificate = b"-----BEGIN CERTIFICATE" in data
        key = x509.load_pem_x509_certificate(data).public_key() if certificate else load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPublicKey):
        raise ConfigurationError(f"{path}: no RSA public key in PEM")
    numbers = key.public_numbers()
    parts = {"n": numbers.n, "e": numbers.e}
    return {"kty": "RSA", **{name: _base64url(number) for name, number in parts.items()}}


def _base64url(number: int) -> str:
    data = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
