"""Bytes out and bytes in: what the generated classes stand on.

``Operation`` turns a call into a ``Request`` and an answer into data or an exception, without any I/O. ``Transport``
sends a request, asking the ``Signer`` for fresh headers over the very bytes it is about to send; an ``Encryption`` has
made these before, where there is one. ``Tls`` says which hosts are believed.
"""

from typing import TYPE_CHECKING

from .clock import Clock, HostTime
from .message import Encryption, Request, Response, Signer
from .operation import ApiResponse, Operation
from .retry import RetryPolicy
from .settings import Settings
from .telemetry import AttemptEvent, Events, ResponseEvent
from .tls import Tls

if TYPE_CHECKING:
    from .sync import Transport

__all__ = [
    "ApiResponse",
    "AttemptEvent",
    "Clock",
    "Encryption",
    "Events",
    "HostTime",
    "Operation",
    "Request",
    "Response",
    "ResponseEvent",
    "RetryPolicy",
    "Settings",
    "Signer",
    "Tls",
    "Transport",
]


def __getattr__(name: str) -> object:
    # urllib3 is most of what importing this package would cost; who never sends never pays.
    if name == "Transport":
        from .sync import Transport

        return Transport
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
