"""Requests and responses, and the protocols for signing and encrypting them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import ResponseInfo, safe_correlation_id

if TYPE_CHECKING:
    from ..errors import Attempt
    from .clock import HostTime

__all__ = ["MessageEncryptor", "OperationInfo", "Request", "Response", "Signer"]


class OperationInfo(Protocol):
    """The facts about an ``Operation`` that do not depend on the arguments of a call.

    Attributes:
        name: name of the Python method.
        method: HTTP method, upper case.
        path: path template, without its values.
        requires_auth: whether requests must be signed.
        retry_safe: whether the call can be repeated without taking effect twice.
    """

    name: str
    method: str
    path: str
    requires_auth: bool
    retry_safe: bool


class Request:
    """A request, ready to be signed and sent.

    Attributes:
        operation: the operation that is called.
        method: HTTP method, upper case.
        url: complete URL to connect to.
        host: the ``Host`` header that is signed and sent, without the scheme's default port.
        target: path and query as they are sent (origin-form, RFC 9112 section 3.2.1).
        headers: all headers except those that the signer adds.
        body: the body as it is sent. None if there is no body.
        response_mle_kid: id of the key with which the host should encrypt the response. None for no encryption.
    """

    __slots__ = ("body", "headers", "host", "method", "operation", "response_mle_kid", "target", "url")

    def __init__(
        self,
        operation: OperationInfo,
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
        """Return a copy of the request with the given attributes changed."""
        return Request(**{**{name: getattr(self, name) for name in Request.__slots__}, **changes})


class Response:
    """A complete response.

    Attributes:
        status: HTTP status code.
        reason: HTTP reason phrase; may be empty.
        headers: the headers; names are case-insensitive.
        body: the body, decompressed.
        attempts: the attempts of the call, in order.
        elapsed: seconds since the start of the call.
        host_time: the host's time when it sent the response. None if unknown.
        facts: facts about the call for the diagnosis of a 401 (``transport.diagnosis``); None for other statuses.
        undecoded: the ``Content-Encoding`` of a body that cannot be decoded. ``body`` then contains the bytes as
            received. None if the body was decoded.
    """

    __slots__ = ("attempts", "body", "elapsed", "facts", "headers", "host_time", "reason", "status", "undecoded")

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
        self.elapsed = 0.0
        self.host_time: HostTime | None = None
        self.facts: Mapping[str, Any] | None = None
        self.undecoded: str | None = None

    def __repr__(self) -> str:
        return f"<Response {self.status} with {len(self.body)}-byte body>"

    def info(self, correlation_id: str | None = None) -> ResponseInfo:
        """Facts about the response. ``correlation_id`` is used if the response has no ``v-c-correlation-id``."""
        correlation_id = self.headers.get("v-c-correlation-id") or correlation_id
        return ResponseInfo(self.status, safe_correlation_id(correlation_id), self.attempts, self.elapsed)


class Signer(Protocol):
    """Creates the authentication headers of a request. Called for every attempt, from any thread.

    Four more members are optional:

    - ``may_block``, an attribute: True if ``sign`` may wait for another system, for example an HSM or a token endpoint.
      ``sign`` is then called in a thread, so that the call ends at its deadline.
    - ``refresh(rejected: Mapping[str, str]) -> bool`` is called after a 401, in the calling thread or event loop, so it
      must not wait. ``rejected`` are the headers that ``sign`` returned for the rejected request. If ``refresh``
      returns True, other credentials are available, and the request is signed and sent once more.
    - ``supports_mle``, an attribute: True if the signer's tokens can contain what message-level encryption needs:
      ``Request.response_mle_kid``, and the digest of the body that is sent.
    - ``diagnostic_facts() -> Mapping[str, str | int | bool | None]`` returns facts about the credentials for the
      diagnosis of a 401. The facts must not contain an id or a secret. Their names and values are
      those of the fields ``scheme`` to ``refreshable`` of ``transport.diagnosis.Facts``. Other names are ignored.
    """

    def sign(self, request: Request, now: float) -> Mapping[str, str]:
        """Return the headers that authenticate a request.

        Args:
            request: the request; ``method``, ``host``, ``target`` and ``body`` are final.
            now: the time to sign with, in seconds since the epoch.

        Returns:
            Headers to add. They replace headers of the same name.
        """
        ...


class MessageEncryptor(Protocol):
    """Message-level encryption of the requests and responses of signed operations.

    Called from any thread. The methods must not do I/O.
    """

    def encrypt_request(self, request: Request, now: float) -> Request:
        """Encrypt a request. Called for each attempt, before the request is signed.

        Args:
            request: the unencrypted request.
            now: the time of the attempt, in seconds since the epoch.

        Returns:
            ``request.replace(...)`` with a new ``body``, a ``response_mle_kid`` or both; or ``request`` itself.

        Raises:
            FlexError: the request cannot be encrypted. Nothing is sent.
        """
        ...

    def decrypt_response(self, request: Request, response: Response) -> Response:
        """Decrypt a response of any status. A response that is not encrypted is returned unchanged.

        Args:
            request: the request that ``encrypt_request`` returned for the same attempt.
            response: the response as received.

        Raises:
            FlexError: the response cannot be decrypted.
        """
        ...
