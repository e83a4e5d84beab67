"""Whether certificates are valid now."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from datetime import datetime

    from cryptography import x509

__all__ = ["check_current", "common_name", "newest"]


def check_current(certificate: x509.Certificate, name: str) -> datetime:
    """Check that a certificate is valid now, and return when it ends.

    Args:
        certificate: the certificate.
        name: name of the setting that it comes from, for messages.

    Raises:
        ConfigurationError: it has ended, or has not begun.
    """
    now = time.time()
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now >= ends.timestamp():
        raise ConfigurationError(f"{name}: the certificate {common_name(certificate)!r} expired on {ends:%Y-%m-%d}")
    if now < begins.timestamp():
        raise ConfigurationError(
            f"{name}: the certificate {common_name(certificate)!r} is not valid before {begins:%Y-%m-%d}"
        )
    return ends


def newest(certificates: Iterable[x509.Certificate]) -> x509.Certificate:
    """Of several certificates for the same use, a renewed one beside its predecessor: one that is valid now rather than
    one that is not, and of these the one that ends last.
    """
    now = time.time()

    def rank(certificate: x509.Certificate) -> tuple[bool, float]:
        begins, ends = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
        return begins <= now < ends, ends

    return max(certificates, key=rank)


def common_name(certificate: x509.Certificate) -> str:
    """The CN of a certificate's subject; empty where it has none."""
    from cryptography.x509.oid import NameOID

    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""
