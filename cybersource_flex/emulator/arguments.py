"""Checks and defaults of the arguments of `Emulator`."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import ConfigurationError
from .argument_types import check_list, check_number, check_seconds, check_str
from .auth.jwt import CLAIM_VARIANTS
from .server.addresses import check_public_url, is_loopback, is_wildcard


def serves_https(tls: bool | None, *, allow_remote: bool, has_server_certificate: bool) -> bool:
    """Whether the emulator serves https. `tls` decides, unless it is None."""
    return (allow_remote or has_server_certificate) if tls is None else tls


def check_numbers(
    *,
    port: int,
    key_pool: int,
    record_limit: int,
    record_bytes: int,
    context_uses: int | None,
    clock_tolerance: float,
    jwt_leeway: float,
) -> None:
    """Raise unless each number is in its range."""
    counts = {"port": port, "key_pool": key_pool, "record_limit": record_limit, "record_bytes": record_bytes}
    for name, count in (counts if context_uses is None else {**counts, "context_uses": context_uses}).items():
        check_number(name, count, whole=True)
    check_seconds("clock_tolerance", clock_tolerance)
    check_seconds("jwt_leeway", jwt_leeway)
    if not 0 <= port <= 65535:
        raise ConfigurationError(f"port {port} is not between 0 and 65535")
    if key_pool < 1 or min(record_limit, record_bytes) < 0 or (context_uses is not None and context_uses < 1):
        raise ConfigurationError(
            "key_pool and context_uses must be at least 1, record_limit and record_bytes at least 0"
        )
    if clock_tolerance < 0 or jwt_leeway < 0:
        raise ConfigurationError("clock_tolerance and jwt_leeway must be at least 0 seconds")


def check_addresses(host: str, public_url: str | None, *, allow_remote: bool, tls: bool) -> str | None:
    """Check where the emulator listens and the URL of its clients. Returns `public_url` without a trailing slash."""
    check_str("host", host)
    if not allow_remote and not is_loopback(host):
        raise ConfigurationError(
            f"host {host!r} is not loopback: the emulator is a test tool, so this needs allow_remote=True"
        )
    if public_url is not None:
        check_str("public_url", public_url)
        if not allow_remote:
            raise ConfigurationError("public_url needs allow_remote=True")
        return check_public_url(public_url, tls=tls)
    if is_wildcard(host):
        raise ConfigurationError(
            f"host {host!r} stands for all addresses of this machine, so this needs public_url: the URL that "
            "clients use, such as 'https://flex.example:8443'"
        )
    return None


def check_claim_format(claim_format: Mapping[str, str] | None) -> Mapping[str, str]:
    """Return the accepted variants by claim, or an empty dictionary for None. Raise if a variant is unknown."""
    if claim_format is None:
        return {}
    if not isinstance(claim_format, Mapping) or any(
        variant not in CLAIM_VARIANTS.get(name, ()) for name, variant in claim_format.items()
    ):
        allowed = "; ".join(f"{name}: {' or '.join(variants)}" for name, variants in CLAIM_VARIANTS.items())
        raise ConfigurationError(
            f"claim_format must be a dictionary that contains only these keys and values: {allowed}"
        )
    return claim_format


def check_certificates(
    server_certificate: tuple[bytes, bytes] | None, client_certificates: str | None, *, tls: bool
) -> None:
    """Raise unless `server_certificate` and `client_certificates` are valid, and `tls` is on if one is passed."""
    if server_certificate is not None and not tls:
        raise ConfigurationError("server_certificate cannot be used with tls=False")
    if server_certificate is not None and len(check_list("server_certificate", server_certificate, bytes)) != 2:
        raise ConfigurationError("server_certificate must be a private key and a certificate")
    if client_certificates not in (None, "optional", "required"):
        raise ConfigurationError('client_certificates must be None, "optional" or "required"')
    if client_certificates is not None and not tls:
        raise ConfigurationError("client_certificates needs tls=True")
