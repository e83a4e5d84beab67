"""From options and environment to a signer."""

from __future__ import annotations

import os
import warnings

from ..auth import HttpSignature, JwtSharedSecret
from ..errors import ConfigurationError
from ..transport import Signer

__all__ = ["signer"]


def signer(auth: str, merchant_id: str | None, key_id: str | None) -> Signer:
    """The signer for these options; the secret is read from ``CYBERSOURCE_SECRET_KEY``.

    Raises:
        ConfigurationError: a value is missing or malformed.
    """
    secret = os.environ.get("CYBERSOURCE_SECRET_KEY")
    for value, where in (
        (merchant_id, "--merchant-id or CYBERSOURCE_MERCHANT_ID"),
        (key_id, "--key-id or CYBERSOURCE_KEY_ID"),
        (secret, "CYBERSOURCE_SECRET_KEY"),
    ):
        if not value:
            raise ConfigurationError(f"no credentials for this host: set {where}")
    if auth == "http_signature":
        with warnings.catch_warnings():
            # Said on the terminal by whoever chose it; a Python warning would only blur the output.
            warnings.simplefilter("ignore", DeprecationWarning)
            return HttpSignature(str(merchant_id), str(key_id), str(secret))
    return JwtSharedSecret(str(merchant_id), str(key_id), str(secret))
