"""What goes out and what comes in, as plain values, and the protocol of those who sign."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .operation import Operation

__all__ = ["Request", "Response", "Signer"]


class Request:
    """One request, ready to be signed and sent.

    Attributes:
        operation: what is called.
        method: HTTP method, upper case.
        url: where to connect to, complete.
        host: the ``Host`` that is signed and sent: name, and port where it is not the scheme's own.
        target: path with query exactly as it is sent (RFC 9112 section 3.2.1, origin-form).
        headers: headers to send besides the signer's.
        body: the exact bytes of the content, or None.
        response_mle_kid: id of the key that the answer is to be encrypted to, or None.
    """

    __slots__ = ("body", "headers", "host", "method", "operation", "response_mle_kid", "target", "url")

    def __init__(
        self,
        operation: Operation,
        *,
        method: str,
        url: str,
        host: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None,
        response_mle_kid: str | None = None,
    ) -> None:
        self.operation = operation
        self.method = method
        self.url = url
        self.host = host
        self.target = target
        self.headers = headers
        self.body = body
        self.response_mle_kid = response_mle_kid

    def __repr__(self) -> str:
        size = "no" if self.body is None else f"{len(self.body)}-byte"
        return f"<Request {self.method} {self.operation.path} with {size} body>"


class Response:
    """One complete answer.

    Attributes:
        status: HTTP status code.
        reason: HTTP reason phrase, may be empty.
        headers: the headers; look-up ignores case.
        body: the content, decompressed.
    """

    __slots__ = ("body", "headers", "reason", "status")

    def __init__(self, status: int, reason: str, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.reason = reason
        self.headers = headers
        self.body = body

    def __repr__(self) -> str:
        return f"<Response {self.status} with {len(self.body)}-byte body>"


class Signer(Protocol):
    """Makes the credential headers of a request. Asked anew for every attempt, from any thread, and without any I/O."""

    def sign(self, request: Request, now: float) -> Mapping[str, str]:
        """The headers that authenticate ``request``.

        Args:
            request: what will be sent; ``method``, ``host``, ``target`` and ``body`` are final.
            now: the time to sign with, in seconds since the epoch.

        Returns:
            Headers to add. They win over headers of the same name in the request.
        """
        ...
