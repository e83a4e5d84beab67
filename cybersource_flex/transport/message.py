"""What goes out and what comes in, as plain values, and the protocols of those who sign and who encrypt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from ..errors import Attempt
    from .operation import Operation

__all__ = ["Encryption", "Request", "Response", "Signer"]


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

    def replace(self, **changes: Any) -> Request:
        """A request like this one, but for the attributes that are given."""
        return Request(**{**{name: getattr(self, name) for name in Request.__slots__}, **changes})


class Response:
    """One complete answer.

    Attributes:
        status: HTTP status code.
        reason: HTTP reason phrase, may be empty.
        headers: the headers; look-up ignores case.
        body: the content, decompressed.
        attempts: the attempts that it took, the last one last.
        facts: with a 401, what is known about the call (``transport.diagnosis``); else None.
        undecoded: the ``Content-Encoding`` of a body that cannot be decoded, which ``body`` then has as received;
            None for every other body.
    """

    __slots__ = ("attempts", "body", "facts", "headers", "reason", "status", "undecoded")

    def __init__(
        self,
        status: int,
        reason: str,
        headers: Mapping[str, str],
        body: bytes,
        attempts: tuple[Attempt, ...] = (),
    ) -> None:
        self.status = status
        self.reason = reason
        self.headers = headers
        self.body = body
        self.attempts = attempts
        self.facts: Mapping[str, Any] | None = None
        self.undecoded: str | None = None

    def __repr__(self) -> str:
        return f"<Response {self.status} with {len(self.body)}-byte body>"


class Signer(Protocol):
    """Makes the credential headers of a request. Asked anew for every attempt, from any thread.

    Four more members are looked for and may be absent:

    - ``blocks``, an attribute, says with True that ``sign`` may wait for somebody else: an HSM, a token endpoint. On an
      event loop it is then asked in a thread.
    - ``renew() -> bool`` is called after a 401, in the calling thread or event loop, so it must not wait. True says
      that new credentials are available: the request is then signed and sent once more, and never a third time.
    - ``supports_mle``, an attribute, says with True that its tokens can carry what message-level encryption needs:
      ``Request.response_mle_kid``, and the digest of the body that is sent.
    - ``facts() -> Mapping[str, str | int | bool | None]`` says what is safe to tell of the credentials, to explain a
      401: never an id or a secret. The names and values that count are those of ``transport.diagnosis.Facts``, from
      ``scheme`` to ``renewable``; others are left out.
    """

    def sign(self, request: Request, now: float) -> Mapping[str, str]:
        """The headers that authenticate ``request``.

        Args:
            request: what will be sent; ``method``, ``host``, ``target`` and ``body`` are final.
            now: the time to sign with, in seconds since the epoch.

        Returns:
            Headers to add. They win over headers of the same name in the request.
        """
        ...


class Encryption(Protocol):
    """Message-level encryption: encrypts what goes out and decrypts what comes in, for operations that are signed.

    Asked from any thread, and without any I/O.
    """

    def outgoing(self, request: Request, now: float) -> Request:
        """What to send for ``request``; for each attempt anew, and before it is signed.

        Args:
            request: the request in the clear.
            now: the time of the attempt, in seconds since the epoch.

        Returns:
            ``request.replace(...)`` with another ``body``, or a ``response_mle_kid``, or both; or ``request`` itself.

        Raises:
            FlexError: it cannot be encrypted. Nothing is sent.
        """
        ...

    def incoming(self, request: Request, response: Response) -> Response:
        """The answer in the clear, whatever its status; one that is not encrypted is returned as it is.

        Args:
            request: what ``outgoing`` returned for the attempt that was answered.
            response: the answer as it came.

        Raises:
            FlexError: it is encrypted and cannot be decrypted.
        """
        ...
