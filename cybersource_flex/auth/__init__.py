"""Signers, which authenticate requests, and message-level encryption.

Use ``JwtSharedSecret`` or ``JwtP12``. ``HttpSignature`` is for merchants that cannot change yet: CyberSource retires it
in March 2027. ``JwtExternalKey`` is for keys in an HSM or a key management service. Any object with a method
``sign(request, now)`` that returns headers is a signer too (``cybersource_flex.transport.Signer``).
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .bearer import BearerToken
    from .claim_format import JwtClaimFormat
    from .http_signature import HttpSignature
    from .jwt import JwtExternalKey, JwtSharedSecret
    from .jwt_p12 import JwtP12
    from .mle import MessageLevelEncryption

__all__ = [
    "BearerToken",
    "HttpSignature",
    "JwtClaimFormat",
    "JwtExternalKey",
    "JwtP12",
    "JwtSharedSecret",
    "MessageLevelEncryption",
]

_MODULES = {
    "BearerToken": "bearer",
    "HttpSignature": "http_signature",
    "JwtExternalKey": "jwt",
    "JwtP12": "jwt_p12",
    "JwtSharedSecret": "jwt",
    "MessageLevelEncryption": "mle",
    "JwtClaimFormat": "claim_format",
}


if not TYPE_CHECKING:
    # Hidden from type checkers, which would accept every name.
    def __getattr__(name: str) -> object:
        # Imported on first use: certificates need cryptography, which is slow to import, and shared secrets do not.
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
