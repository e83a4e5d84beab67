"""``Run``: sends the requests of the probe, one at a time and at a bounded rate, and keeps what they returned."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import sleep
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..errors import TokenError, TransportError
from ..jose.compact import DEFAULT_LIMITS, JwsParts, decode_part, parse_json_object
from ..transport.backends.urllib3_transport import Transport
from ..transport.messages import Request, Response
from .results import Results, Verdict, describe_value

if TYPE_CHECKING:
    from ..auth import MessageLevelEncryption
    from ..transport import Configuration, Signer

__all__ = [
    "MAX_REQUESTS",
    "Context",
    "CredentialsRejected",
    "DecodedToken",
    "RateLimited",
    "Run",
    "has_status",
    "is_accepted",
    "is_success",
    "is_unavailable",
    "parse_object",
    "with_headers",
]

#: A run sends at most this many requests.
MAX_REQUESTS: Final = 60
_JSON_TYPE: Final = "application/json;charset=utf-8"


class CredentialsRejected(Exception):
    """The host rejected the credentials, so nothing else that needs them can be tested."""


class RateLimited(Exception):
    """The host limits the rate of requests, so nothing else is sent."""


@dataclass
class _Operation:
    """Describes a request to the transport. The transport neither signs nor repeats it."""

    name: str
    method: str
    path: str
    requires_auth: bool = False
    retry_safe: bool = False


class DecodedToken(NamedTuple):
    """A JWT whose signature was not verified, and whose members were not checked."""

    header: dict[str, Any]
    claims: dict[str, Any]
    parts: JwsParts


class Context(NamedTuple):
    """A capture context that the host returned."""

    jwt: str
    token: DecodedToken


class Run:
    """One run of the probe against one host.

    Args:
        configuration: the host and the settings of its connections. Its signer is not used.
        signer: signs requests. None if the credentials may not be sent.
        scheme: name of the authentication scheme.
        mle: message-level encryption, if a response key is configured.
        results: receives the findings.
        interval: seconds between the starts of two requests.

    Attributes:
        signer: signs requests. A check replaces it if the host accepts the credentials only with another claim format.
        context: the first capture context for the Flex API, once it exists.
        token: the first transient token, once it exists.
        responses: all responses, in order.
        failures_in_a_row: number of requests without a response since the last response.
        private: ids and secrets that must not be in the report.
    """

    def __init__(
        self,
        configuration: Configuration,
        signer: Signer | None,
        scheme: str,
        mle: MessageLevelEncryption | None,
        results: Results,
        *,
        interval: float,
    ) -> None:
        self.configuration = configuration
        self.signer = signer
        self.scheme = scheme
        self.mle = mle
        self.results = results
        self.context: Context | None = None
        self.microform_context: Context | None = None
        self.token: DecodedToken | None = None
        self.responses: list[Response] = []
        self.failures_in_a_row = 0
        ids = (getattr(signer, name, None) for name in ("merchant_id", "key_id", "portfolio_id"))
        self.private = {value for value in ids if isinstance(value, str)}
        self._interval = interval
        self._last_start: float | None = None
        self._allowed = 0
        self._transport = Transport(configuration)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def allow(self, count: int) -> None:
        """Set how many requests the next check may send."""
        self._allowed = count

    def describe(self, value: Any) -> str:
        """Describe a value of a response for the report."""
        return describe_value(value, self.private)

    def request(
        self, method: str, target: str, body: bytes | None = None, *, path: str = "", accept: str = "application/json"
    ) -> Request:
        """Build a request without credentials.

        Args:
            method: HTTP method.
            target: path and query.
            body: a JSON body.
            path: path template for logs, if the target contains an id.
            accept: media type of the response.
        """
        configuration = self.configuration
        return Request(
            _Operation("probe", method, path or target),
            method=method,
            url=configuration.base_url + target,
            host=configuration.signed_host,
            target=target,
            headers={"Accept": accept} if body is None else {"Accept": accept, "Content-Type": _JSON_TYPE},
            body=body,
        )

    def session_request(self, body: Mapping[str, Any], target: str = "/flex/v2/sessions") -> Request:
        """Build a request for a capture context, without credentials."""
        return self.request("POST", target, json.dumps(body).encode("ascii"), accept="application/jwt")

    def sign(self, request: Request, offset: float = 0.0, signer: Signer | None = None) -> Request:
        """Sign a request with the local time plus an offset in seconds, with the signer of the run or another one."""
        signer = signer or self.signer
        assert signer is not None  # noqa: S101 - checks that need credentials are not run without a signer
        return self.add_credentials(request, signer.sign(request, time.time() + offset))

    def add_credentials(self, request: Request, headers: Mapping[str, str]) -> Request:
        """Copy a request and add headers with credentials, which are kept out of the report."""
        for value in headers.values():
            # A host may return a token without the scheme in front of it.
            self.private.update((value, value.partition(" ")[2]))
        return with_headers(request, headers)

    def send(self, request: Request) -> Response:
        """Send one request. Raises ``TransportError`` if there is no response, and ``RateLimited`` for a 429."""
        if self._allowed < 1 or len(self.responses) >= MAX_REQUESTS:
            raise RuntimeError("the check sends more requests than it lists")
        self._allowed -= 1
        if self._last_start is not None:
            wait = self._last_start + self._interval - time.monotonic()
            if wait > 0:
                sleep(wait)
        self._last_start = time.monotonic()
        try:
            response = self._transport.send(request)
        except TransportError:
            self.failures_in_a_row += 1
            raise
        self.failures_in_a_row = 0
        self.responses.append(response)
        if response.status == 429:
            raise RateLimited
        return response

    def send_session(self, body: Mapping[str, Any], target: str = "/flex/v2/sessions") -> Response:
        """Sign and send a request for a capture context."""
        return self.send(self.sign(self.session_request(body, target)))

    def read_token(self, response: Response) -> tuple[str, DecodedToken] | None:
        """Decode the JWT in a response, and compare its form with the assumption. None if there is no JWT."""
        compact = response.body.decode("latin-1").strip()
        is_quoted = len(compact) > 1 and compact[0] == compact[-1] == '"'
        if is_quoted:
            compact = compact[1:-1]
        decoded = decode_token(compact)
        observed = "a JWT in quotation marks" if is_quoted else "a JWT" if decoded else "no JWT"
        self.results.expect("jwt-response", decoded is not None and not is_quoted, observed)
        if decoded is None:
            return None
        jti = decoded.claims.get("jti")
        self.private.update({compact, jti} if isinstance(jti, str) else {compact})
        return compact, decoded

    def new_context(self, body: Mapping[str, Any], target: str = "/flex/v2/sessions") -> Context | None:
        """Create a capture context for one attempt to create a token. None if the host returns none."""
        response = self.send_session(body, target)
        read = self.read_token(response) if is_success(response) else None
        return None if read is None else Context(*read)

    # Verdicts about one response

    def expect_status(self, assumption: str, response: Response, status: int) -> bool:
        """Expect this status. Statuses that say nothing about the content of the request decide nothing."""
        condition = has_status(response, status)
        self.conclude(assumption, [(condition, f"status {response.status}")])
        return condition is True

    def conclude(self, assumption: str, findings: Sequence[tuple[bool | None, str]]) -> None:
        """Decide an assumption by several responses.

        Args:
            assumption: id of the assumption.
            findings: for each response, whether it is as assumed, and what was observed. None decides nothing.
        """
        conditions = [condition for condition, _ in findings]
        if False in conditions:
            verdict: Verdict = "contradicted"
        else:
            verdict = "not testable" if None in conditions else "confirmed"
        self.results.add(assumption, verdict, "; ".join(observed for _, observed in findings))


def with_headers(request: Request, headers: Mapping[str, str]) -> Request:
    """Copy a request and add headers."""
    return request.replace(headers={**request.headers, **headers})


def is_success(response: Response) -> bool:
    """Whether the status is one of success."""
    return 200 <= response.status < 300


def has_status(response: Response, status: int) -> bool | None:
    """Whether a response has a status. None if its status says nothing about the content of the request."""
    if response.status == status:
        return True
    return None if response.status in (401, 403) or is_unavailable(response) else False


def is_accepted(response: Response) -> bool | None:
    """Whether the authentication of a request was accepted. None if the status does not show it."""
    if is_success(response):
        return True
    return False if response.status == 401 else None


def is_unavailable(response: Response) -> bool:
    """Whether the status says nothing about the request: a redirect, a limit, or a failure of the host."""
    return 300 <= response.status < 400 or response.status == 429 or response.status >= 500


def parse_object(response: Response) -> dict[str, Any]:
    """The JSON object in a response. Empty if there is none."""
    try:
        value = json.loads(response.body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def decode_token(compact: str) -> DecodedToken | None:
    """Decode a JWT with any algorithm. None if it is malformed."""
    parts = compact.split(".")
    if len(parts) != 3:
        return None
    try:
        header, payload, signature = (decode_part(part, "token") for part in parts)
        members = parse_json_object(header, "header", DEFAULT_LIMITS)
        claims = parse_json_object(payload, "payload", DEFAULT_LIMITS)
    except TokenError:
        return None
    return DecodedToken(members, claims, JwsParts(compact, members, payload, signature))
