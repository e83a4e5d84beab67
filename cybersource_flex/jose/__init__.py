"""Capture contexts, transient tokens, their keys, and encryption. No HTTP in here.

Whoever holds a ``CaptureContext`` or a ``TransientToken`` may believe it: only verification makes them.
"""

from .capture_context import CaptureContext, verify_capture_context
from .encryption import encrypt
from .keys import KeySource, PublicKey
from .transient_token import TransientToken, verify_transient_token

__all__ = [
    "CaptureContext",
    "KeySource",
    "PublicKey",
    "TransientToken",
    "encrypt",
    "verify_capture_context",
    "verify_transient_token",
]
