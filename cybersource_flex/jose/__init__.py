"""Verify capture contexts and transient tokens, manage their keys, and encrypt captured data. No HTTP.

A ``CaptureContext``, ``TransientToken`` or ``PaymentCredentials`` is always verified: only the verification functions
create these objects.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .async_key_cache import AsyncKeyCache, AsyncKeySource
    from .capture_context import CaptureContext, ContextExpectations, verify_capture_context
    from .compact import TokenLimits
    from .encryption import encrypt
    from .key_cache import KeyCache, PinnedKeys
    from .keys import KeySource, PublicKey
    from .payment_credentials import PaymentCredentials, open_payment_credentials
    from .storage import restore_capture_context, store_capture_context
    from .transient_token import TransientToken, verify_transient_token

_MODULES = {
    "AsyncKeyCache": "async_key_cache",
    "AsyncKeySource": "async_key_cache",
    "KeyCache": "key_cache",
    "CaptureContext": "capture_context",
    "ContextExpectations": "capture_context",
    "KeySource": "keys",
    "TokenLimits": "compact",
    "PaymentCredentials": "payment_credentials",
    "PinnedKeys": "key_cache",
    "PublicKey": "keys",
    "TransientToken": "transient_token",
    "encrypt": "encryption",
    "open_payment_credentials": "payment_credentials",
    "restore_capture_context": "storage",
    "store_capture_context": "storage",
    "verify_capture_context": "capture_context",
    "verify_transient_token": "transient_token",
}

__all__ = [
    "AsyncKeyCache",
    "AsyncKeySource",
    "CaptureContext",
    "ContextExpectations",
    "KeyCache",
    "KeySource",
    "PaymentCredentials",
    "PinnedKeys",
    "PublicKey",
    "TokenLimits",
    "TransientToken",
    "encrypt",
    "open_payment_credentials",
    "restore_capture_context",
    "store_capture_context",
    "verify_capture_context",
    "verify_transient_token",
]


if not TYPE_CHECKING:
    # Hidden from type checkers: if a module has __getattr__, they accept every name.
    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
