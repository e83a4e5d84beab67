"""Facts about a request that got a 401, for its diagnosis: numbers, booleans and words of a fixed vocabulary.

A fact is never an id, a secret, a host name, a value in a path, or a string from the response.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..._runtime.monotonic import monotonic
from ..clock import MAX_OFFSET
from ..hosts import is_loopback

if TYPE_CHECKING:
    from ..clock import Clock
    from ..configuration import Configuration
    from ..messages import Request, Response

__all__ = ["BUILTIN_SCHEMES", "Facts", "InvalidFactError", "SuccessCounts", "collect_facts", "facts_from_response"]

_log: Final = logging.getLogger("cybersource_flex.transport")


class InvalidFactError(ValueError):
    """A saved report contains an invalid fact."""


#: Accepted signed calls. A key is the operation's name and whether the call had a body. A value is the number of calls
#: and the time of the last call, on the monotonic clock.
SuccessCounts = dict[tuple[str, bool], tuple[int, float]]
_REST_HOST: Final = re.compile(r"api(test)?(\.[a-z]{2})?\.cybersource\.com")
BUILTIN_SCHEMES: Final = ("jwt_shared_secret", "http_signature", "jwt_p12", "external_key")
_HOST_KINDS: Final = (
    *("test", "production", "test_regional", "production_regional"),
    *("cybersource_other", "loopback", "other"),
)
# Causes that the messages in a response can mention. The messages are not kept, because they may quote the request.
_CAUSE_PATTERNS: Final = {
    "digest": re.compile(r"\bdigest\b"),
    "clock": re.compile(r"\bdate\b|\bclock\b|timestamp|\biat\b|\bskew"),
    "path": re.compile(r"resource-path|request-target|\bpath\b"),
    "host": re.compile(r"\b(request-)?host\b|(missing|required) .*header|header.* (is )?(missing|required)"),
    "credentials": re.compile(r"merchant|portfolio|\biss\b"),
    "key_id": re.compile(r"key[ _-]?id\b|\bkid\b"),
    "lifetime": re.compile(r"\bexp\b|lifetime|expir(y|ation) (time )?(is )?too"),
    "signed_headers": re.compile(r"parenthes|\border\b|\bheaders parameter"),
    "key_expired": re.compile(r"expired|inactive|deactivated|disabled|revoked"),
    "scheme_retired": re.compile(r"retired|deprecated|no longer|http[ _]signature"),
}
_BODY_FORMATS: Final = ("gateway", "service", "other_json", "html", "text", "empty", "encrypted")
# Ten digits are enough for seconds since the epoch, and too few for a card number.
_MAX_NUMBER: Final = 9_999_999_999
# The valid values of each fact: words, a pattern, or a type.
_VALID_VALUES: Final[Mapping[str, Any]] = {
    "signed": bool,
    "method": ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"),
    "has_body": bool,
    "body_encrypted": bool,
    "path_parameters": bool,
    "path_encoded": bool,
    "path_query": bool,
    "host": _HOST_KINDS,
    "host_port": bool,
    "intermediate_host": bool,
    "proxy": ("tunnel", "forward"),
    "custom_ca": bool,
    "clock_offset": float,
    "clock_correction": float,
    "clock_correction_enabled": bool,
    "rejections": int,
    "accepted": int,
    "accepted_same_operation": int,
    "accepted_with_body": int,
    "accepted_seconds_ago": float,
    "scheme": (*BUILTIN_SCHEMES, "bearer", "custom"),
    "key_id_format": ("uuid", "22 digits", "other"),
    "secret_bytes": int,
    "portfolio": bool,
    "portfolio_is_merchant": bool,
    "algorithm": tuple(f"{kind}{bits}" for kind in ("HS", "RS", "PS") for bits in (256, 384, 512)),
    "claim_format_method": ("upper", "lower"),
    "claim_format_digest": ("digestAlgorithm", "digest-algorithm"),
    "claim_format_digest_value": ("SHA-256", "sha-256"),
    "claim_format_response_mle": ("v-c-response-mle-kid", "v-c-api-response-mle-kid"),
    "claim_format_path": ("path-and-query", "path"),
    "certificate_days_left": int,
    "refreshable": bool,
    "date": re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}"),
    "body_format": _BODY_FORMATS,
    "has_correlation_id": bool,
    "named_causes": (*_CAUSE_PATTERNS,),
}
# Facts that a signer can report with `diagnostic_facts()`.
_SIGNER_FACTS: Final = (
    *("scheme", "key_id_format", "secret_bytes", "portfolio", "portfolio_is_merchant", "algorithm"),
    *("claim_format_method", "claim_format_digest", "claim_format_digest_value", "claim_format_response_mle"),
    *("claim_format_path", "certificate_days_left", "refreshable"),
)


class Facts(NamedTuple):
    """Facts about a call that got a 401. None or an empty tuple means that a fact is unknown.

    Attributes:
        signed: whether the operation is sent with credentials.
        body_encrypted: whether the body was encrypted with message-level encryption.
        host: category of the signed host.
        host_port: whether the ``Host`` header contains a port.
        proxy: ``tunnel`` if the proxy cannot read the request, ``forward`` if it can.
        custom_ca: whether a custom CA file replaces the system's trust store, or verification is off.
        clock_offset: seconds by which the host's clock is ahead of this machine's.
        clock_correction: seconds added to this machine's time when the last attempt was signed.
        clock_correction_enabled: whether requests may be signed with the host's time.
        rejections: number of attempts of this call that got a 401.
        accepted: number of signed calls of this client that were accepted before.
        accepted_same_operation: number of those calls that called the same operation.
        accepted_with_body: number of those calls that had a body.
        refreshable: whether the signer can get new credentials after a 401.
        date: current date by the host's clock.
        has_correlation_id: whether the response has the header ``v-c-correlation-id``.
        named_causes: causes that the messages in the response mention.
    """

    signed: bool | None = None
    method: str | None = None
    has_body: bool | None = None
    body_encrypted: bool | None = None
    path_parameters: bool | None = None
    path_encoded: bool | None = None
    path_query: bool | None = None
    host: str | None = None
    host_port: bool | None = None
    intermediate_host: bool | None = None
    proxy: str | None = None
    custom_ca: bool | None = None
    clock_offset: float | None = None
    clock_correction: float | None = None
    clock_correction_enabled: bool | None = None
    rejections: int | None = None
    accepted: int | None = None
    accepted_same_operation: int | None = None
    accepted_with_body: int | None = None
    accepted_seconds_ago: float | None = None
    scheme: str | None = None
    key_id_format: str | None = None
    secret_bytes: int | None = None
    portfolio: bool | None = None
    portfolio_is_merchant: bool | None = None
    algorithm: str | None = None
    claim_format_method: str | None = None
    claim_format_digest: str | None = None
    claim_format_digest_value: str | None = None
    claim_format_response_mle: str | None = None
    claim_format_path: str | None = None
    certificate_days_left: int | None = None
    refreshable: bool | None = None
    date: str | None = None
    body_format: str | None = None
    has_correlation_id: bool | None = None
    named_causes: tuple[str, ...] = ()

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Facts:
        """Parse facts from JSON types. Unknown names are ignored, because the report may be from a newer version.

        Raises:
            InvalidFactError: a fact has an invalid value. The message names the fact and does not quote the value.
        """
        facts: dict[str, Any] = {}
        for name in cls._fields:
            value = values.get(name)
            if value is None:
                continue
            if not _is_valid(name, value):
                raise InvalidFactError(f"the fact {name!r} has an invalid value")
            facts[name] = tuple(value) if name == "named_causes" else value
        return cls(**facts)

    def to_dict(self) -> dict[str, Any]:
        """Return the known facts as JSON types."""
        facts = {name: value for name, value in self._asdict().items() if value is not None and value != ()}
        if self.named_causes:
            facts["named_causes"] = list(self.named_causes)
        return facts


def collect_facts(
    request: Request, configuration: Configuration, clock: Clock, accepted: SuccessCounts, response: Response
) -> dict[str, Any]:
    """Collect the facts that the transport knows about a call with a 401 response.

    Args:
        request: the request as it was sent.
        configuration: the settings with which the request was sent.
        clock: the clock with which the request was signed.
        accepted: calls that were accepted before.
        response: the response.
    """
    operation, host = request.operation, request.host
    # An offset above MAX_OFFSET is not plausible, so it is not used for the date.
    offset = clock.measured_offset
    plausible_offset = offset if offset is not None and abs(offset) <= MAX_OFFSET else 0.0
    last_accepted = max((when for _, when in accepted.values()), default=None)
    facts: dict[str, Any] = {
        "signed": operation.requires_auth,
        "method": request.method,
        "has_body": request.body is not None,
        "body_encrypted": configuration.mle is not None and (request.body or b"").startswith(b'{"encryptedRequest"'),
        "path_parameters": "{" in operation.path,
        "path_encoded": "%" in request.target,
        "path_query": "?" in request.target,
        "host": _host_kind(host),
        "host_port": re.search(r":[0-9]+\Z", host) is not None,
        "intermediate_host": configuration.intermediate_host is not None,
        "custom_ca": configuration.tls is not None
        and (configuration.tls.ca_file is not None or configuration.tls.insecure_skip_verification),
        "clock_correction": round(clock.offset, 1),
        "clock_correction_enabled": configuration.correct_clock,
        "rejections": sum(attempt.status == 401 for attempt in response.attempts),
        "accepted": sum(count for count, _ in accepted.values()),
        "accepted_same_operation": sum(count for (name, _), (count, _) in accepted.items() if name == operation.name),
        "accepted_with_body": sum(count for (_, had_body), (count, _) in accepted.items() if had_body),
        "date": datetime.fromtimestamp(time.time() + plausible_offset, UTC).strftime("%Y-%m-%d"),
        "has_correlation_id": "v-c-correlation-id" in response.headers,
    }
    if configuration.proxy is not None:
        facts["proxy"] = "forward" if configuration.base_url.startswith("http:") else "tunnel"
    if offset is not None:
        facts["clock_offset"] = round(offset, 1)
    if last_accepted is not None:
        facts["accepted_seconds_ago"] = round(monotonic() - last_accepted, 1)
    if operation.requires_auth:
        facts.update(_facts_from_signer(configuration.auth))
    return {name: value for name, value in facts.items() if _is_valid(name, value)}


def facts_from_response(body: bytes, message: str) -> dict[str, Any]:
    """Collect the facts that the body of a 401 response contains.

    Args:
        body: the response body.
        message: the reason, message and details from the body, in one string. It is searched for causes, and not kept.
    """
    message = message.lower().strip()
    return {
        "body_format": _body_format(body, message),
        "named_causes": [name for name, pattern in _CAUSE_PATTERNS.items() if pattern.search(message)],
    }


def _host_kind(host: str) -> str:
    name = re.sub(r":[0-9]+\Z", "", host).strip("[]").rstrip(".")
    match = _REST_HOST.fullmatch(name)
    if match is not None:
        return ("test" if match[1] else "production") + ("_regional" if match[2] else "")
    if name.endswith(".cybersource.com"):
        return "cybersource_other"
    return "loopback" if is_loopback(name) else "other"


def _body_format(body: bytes, message: str) -> str:
    if not body.strip():
        return "empty"
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return "html" if body.lstrip()[:1] == b"<" else "text"
    if isinstance(parsed, dict) and "encryptedResponse" in parsed:
        return "encrypted"
    if isinstance(parsed, dict) and isinstance(parsed.get("response"), dict):
        return "gateway"
    return "service" if message else "other_json"


def _facts_from_signer(auth: Any) -> dict[str, Any]:
    """Return the facts that a signer reports about itself. Unknown names and invalid values are dropped."""
    reported: Any = None
    facts = getattr(auth, "diagnostic_facts", None)
    if callable(facts):
        try:
            reported = facts()
        except Exception as cause:
            # The signer may be user code, and its error must not hide the AuthenticationError. The message is not
            # logged, because it may quote a secret.
            _log.warning("diagnostic_facts() of %s failed with %s", type(auth).__name__, type(cause).__name__)
    if not isinstance(reported, Mapping):
        reported = {}
    valid = {name: reported[name] for name in _SIGNER_FACTS if name in reported and _is_valid(name, reported[name])}
    return {"scheme": "custom", **valid}


def _is_valid(name: str, value: Any) -> bool:
    valid = _VALID_VALUES[name]
    if name == "named_causes":
        return isinstance(value, (list, tuple)) and all(isinstance(cause, str) and cause in valid for cause in value)
    if isinstance(valid, tuple):
        return isinstance(value, str) and value in valid
    if isinstance(valid, re.Pattern):
        return isinstance(value, str) and valid.fullmatch(value) is not None
    if valid is bool:
        return isinstance(value, bool)
    if isinstance(value, bool) or not isinstance(value, (int, float) if valid is float else int):
        return False
    return bool(abs(value) <= _MAX_NUMBER)
