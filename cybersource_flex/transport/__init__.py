"""Build, sign and send requests, and parse responses. Used by the generated API classes.

``Operation`` turns the arguments of a call into a ``Request``, and later a ``Response`` into data or an exception. It
does no I/O. ``Transport`` sends a request, in one or more attempts. For each attempt, the ``Signer`` creates new
headers for the exact bytes that are sent. If a ``MessageEncryptor`` is configured, it encrypts the body first. ``Tls``
holds the TLS settings.
"""

from typing import TYPE_CHECKING

from .clock import Clock, HostTime
from .configuration import Configuration
from .messages import MessageEncryptor, Request, Response, Signer
from .operation import ApiResponse, Operation
from .retry import RetryPolicy
from .telemetry import AttemptEvent, CallEvent, EventHooks
from .tls import Tls

if TYPE_CHECKING:
    from .backends.async_transport import AsyncTransport
    from .backends.urllib3_transport import Transport

__all__ = [
    "ApiResponse",
    "AsyncTransport",
    "AttemptEvent",
    "CallEvent",
    "Clock",
    "Configuration",
    "EventHooks",
    "HostTime",
    "MessageEncryptor",
    "Operation",
    "Request",
    "Response",
    "RetryPolicy",
    "Signer",
    "Tls",
    "Transport",
]


if not TYPE_CHECKING:
    # Hidden from type checkers, which would accept every name.
    def __getattr__(name: str) -> object:
        # urllib3 and asyncio are slow to import, so the transports are imported on first use.
        if name == "Transport":
            from .backends.urllib3_transport import Transport

            return Transport
        if name == "AsyncTransport":
            from .backends.async_transport import AsyncTransport

            return AsyncTransport
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
