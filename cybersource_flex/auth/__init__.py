"""Who signs the requests, and how, and message-level encryption.

``JwtSharedSecret`` and ``JwtP12`` are the ones to use. ``HttpSignature`` is for merchants that cannot move yet:
CyberSource retires it in March 2027. Anything with a method ``sign(request, now)`` that returns headers can sign as
well (``cybersource_flex.transport.Signer``); ``JwtExternalKey`` is for keys that only sign bytes.
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


def __getattr__(name: str) -> object:
    # Certificates need cryptography; who signs with a shared secret is spared it.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
