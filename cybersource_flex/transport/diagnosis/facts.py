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

from ..address import is_loopback
from ..clock import MOST

if TYPE_CHECKING:
    from ..clock import Clock
    from ..message import Request, Response
    from ..settings import Settings

__all__ = ["OURS", "Accepted", "Facts", "InvalidFactError", "circumstances", "of_answer"]

_log: Final = logging.getLogger("cybersource_flex.transport")


class InvalidFactError(ValueError):
    """A saved report contains a fact with an invalid value."""


#: Accepted signed calls, by operation name and whether there was a body: their number, and the time of the last one on
#: the monotonic clock.
Accepted = dict[tuple[str, bool], tuple[int, float]]
_REST_HOST: Final = re.compile(r"api(test)?(\.[a-z]{2})?\.cybersource\.com")
OURS: Final = ("jwt_shared_secret", "http_signature", "jwt_p12", "external_key")
_HOSTS: Final = (
    *("test", "production", "test_regional", "production_regional"),
    *("cybersource_other", "loopback", "other"),
)
# Causes that the messages in a response can name. The messages are not kept: they may quote the request.
_TOPICS: Final = {
    "digest": re.compile(r"\bdigest\b"),
    "clock": re.compile(r"\bdate\b|\bclock\b|timestamp|\biat\b|\bskew"),
    "path": re.compile(r"resource-path|request-target|\bpath\b"),
    "host": re.compile(r"\b(request-)?host\b|(missing|required) .*header|header.* (is )?(missing|required)"),
    "credentials": re.compile(r"merchant|portfolio|\biss\b"),
    "key_id": re.compile(r"key[ _-]?id\b|\bkid\b"),
    "lifetime": re.compile(r"\bexp\b|lifetime|expir(y|ation) (time )?(is )?too"),
    "signed_lines": re.compile(r"parenthes|\border\b|\bheaders parameter"),
    "key_ended": re.compile(r"expired|inactive|deactivated|disabled|revoked"),
    "scheme_retired": re.compile(r"retired|deprecated|no longer|http[ _]signature"),
}
_SHAPES: Final = ("gateway", "service", "other_json", "html", "text", "empty", "encrypted")
# Ten digits: enough for seconds since the epoch, too few for a card number.
_MOST_DIGITS: Final = 9_999_999_999
# The valid values of each fact: a tuple of words, a pattern, or a type.
_RULES: Final[Mapping[str, Any]] = {
    "signed": bool,
    "method": ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"),
    "has_body": bool,
    "body_encrypted": bool,
    "path_parameters": bool,
    "path_encoded": bool,
    "path_query": bool,
    "host": _HOSTS,
    "host_port": bool,
    "intermediate_host": bool,
    "proxy": ("tunnel", "forward"),
    "own_trust": bool,
    "clock_measured": float,
    "clock_correction": float,
    "clock_correctable": bool,
    "refusals": int,
    "accepted": int,
    "accepted_same": int,
    "accepted_with_body": int,
    "accepted_seconds_ago": float,
    "scheme": (*OURS, "bearer", "custom"),
    "key_id_shape": ("uuid", "22 digits", "other"),
    "secret_bytes": int,
    "portfolio": bool,
    "portfolio_is_merchant": bool,
    "algorithm": tuple(f"{kind}{bits}" for kind in ("HS", "RS", "PS") for bits in (256, 384, 512)),
    "spelling_method": ("upper", "lower"),
    "spelling_digest": ("digestAlgorithm", "digest-algorithm"),
    "certificate_days_left": int,
    "renewable": bool,
    "date": re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}"),
    "answer_shape": _SHAPES,
    "answer_correlated": bool,
    "answer_names": (*_TOPICS,),
}
_OF_SIGNER: Final = (
    *("scheme", "key_id_shape", "secret_bytes", "portfolio", "portfolio_is_merchant", "algorithm"),
    *("spelling_method", "spelling_digest", "certificate_days_left", "renewable"),
)


class Facts(NamedTuple):
    """Facts about a call that got a 401. None, or an empty tuple, means unknown.

    Attributes:
        signed: whether the operation sends credentials.
        body_encrypted: whether the body was encrypted with message-level encryption.
        host: category of the signed host.
        host_port: whether the ``Host`` header contains a port.
        proxy: ``tunnel`` (the proxy cannot read the request) or ``forward`` (it can).
        own_trust: whether a custom CA file is trusted instead of the system's, or verification is off.
        clock_measured: seconds by which the host is ahead of this machine.
        clock_correction: correction applied when the last attempt was signed, in seconds.
        refusals: attempts of this call that got a 401.
        accepted: signed calls of this client that were accepted before.
        accepted_same: those of the same operation.
        accepted_with_body: those with a body.
        date: current date by the host's clock.
        answer_names: causes that the messages in the response name.
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
    own_trust: bool | None = None
    clock_measured: float | None = None
    clock_correction: float | None = None
    clock_correctable: bool | None = None
    refusals: int | None = None
    accepted: int | None = None
    accepted_same: int | None = None
    accepted_with_body: int | None = None
    accepted_seconds_ago: float | None = None
    scheme: str | None = None
    key_id_shape: str | None = None
    secret_bytes: int | None = None
    portfolio: bool | None = None
    portfolio_is_merchant: bool | None = None
    algorithm: str | None = None
    spelling_method: str | None = None
    spelling_digest: str | None = None
    certificate_days_left: int | None = None
    renewable: bool | None = None
    date: str | None = None
    answer_shape: str | None = None
    answer_correlated: bool | None = None
    answer_names: tuple[str, ...] = ()

    @classmethod
    def read(cls, found: Mapping[str, Any]) -> Facts:
        """Parse facts from JSON types. Unknown names are ignored: a newer version may have written them.

        Raises:
            InvalidFactError: a fact has an invalid value. The message names the fact, never the value.
        """
        facts: dict[str, Any] = {}
        for name in cls._fields:
            value = found.get(name)
            if value is None:
                continue
            if not _fits(name, value):
                raise InvalidFactError(f"the fact {name!r} has a value that it cannot have")
            facts[name] = tuple(value) if name == "answer_names" else value
        return cls(**facts)

    def to_dict(self) -> dict[str, Any]:
        """The facts as JSON types, without unknown ones."""
        facts = {name: value for name, value in self._asdict().items() if value is not None and value != ()}
        if self.answer_names:
            facts["answer_names"] = list(self.answer_names)
        return facts


def circumstances(
    request: Request, settings: Settings, clock: Clock, accepted: Accepted, response: Response
) -> dict[str, Any]:
    """Collect the facts about a 401 that the transport knows.

    Args:
        request: the request as it was sent.
        settings: where and how it was sent.
        clock: the clock that it was signed with.
        accepted: calls that were accepted before.
        response: the response.
    """
    operation, name = request.operation, request.host
    # A larger measured offset is not plausible, and is not used for the date.
    ahead = clock.measured if clock.measured is not None and abs(clock.measured) <= MOST else 0.0
    same = sum(count for (each, _), (count, _) in accepted.items() if each == operation.name)
    latest = max((when for _, when in accepted.values()), default=None)
    facts: dict[str, Any] = {
        "signed": operation.signed,
        "method": request.method,
        "has_body": request.body is not None,
        "body_encrypted": settings.mle is not None and (request.body or b"").startswith(b'{"encryptedRequest"'),
        "path_parameters": "{" in operation.path,
        "path_encoded": "%" in request.target,
        "path_query": "?" in request.target,
        "host": _kind(name),
        "host_port": re.search(r":[0-9]+\Z", name) is not None,
        "intermediate_host": settings.intermediate_host is not None,
        "own_trust": settings.tls is not None
        and (settings.tls.ca_file is not None or settings.tls.insecure_skip_verification),
        "clock_correction": round(clock.offset, 1),
        "clock_correctable": settings.correct_clock,
        "refusals": sum(attempt.status == 401 for attempt in response.attempts),
        "accepted": sum(count for count, _ in accepted.values()),
        "accepted_same": same,
        "accepted_with_body": sum(count for (_, body), (count, _) in accepted.items() if body),
        "date": datetime.fromtimestamp(time.time() + ahead, UTC).strftime("%Y-%m-%d"),
        "answer_correlated": "v-c-correlation-id" in response.headers,
    }
    if settings.proxy is not None:
        facts["proxy"] = "forward" if settings.base_url.startswith("http:") else "tunnel"
    if clock.measured is not None:
        facts["clock_measured"] = round(clock.measured, 1)
    if latest is not None:
        facts["accepted_seconds_ago"] = round(time.monotonic() - latest, 1)
    if operation.signed:
        facts.update(_of_signer(settings.auth))
    return {key: value for key, value in facts.items() if _fits(key, value)}


def of_answer(body: bytes, text: str) -> dict[str, Any]:
    """Collect the facts that the response provides.

    Args:
        body: the response body.
        text: reason and message parsed from it; not kept.
    """
    text = text.lower().strip()
    return {
        "answer_shape": _shape(body, text),
        "answer_names": [name for name, pattern in _TOPICS.items() if pattern.search(text)],
    }


def _kind(host: str) -> str:
    name = re.sub(r":[0-9]+\Z", "", host).strip("[]").rstrip(".")
    match = _REST_HOST.fullmatch(name)
    if match is not None:
        return ("test" if match[1] else "production") + ("_regional" if match[2] else "")
    if name.endswith(".cybersource.com"):
        return "cybersource_other"
    return "loopback" if is_loopback(name) else "other"


def _shape(body: bytes, text: str) -> str:
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
    return "service" if text else "other_json"


def _of_signer(auth: Any) -> dict[str, Any]:
    """The facts that a signer reports about itself; unknown names and invalid values are dropped."""
    reported: Any = None
    facts = getattr(auth, "facts", None)
    if callable(facts):
        try:
            reported = facts()
        except Exception as cause:
            # It may be the caller's code, and the AuthenticationError that is being explained matters more. The message
            # may quote a secret.
            _log.warning("facts() of %s failed with %s", type(auth).__name__, type(cause).__name__)
    if not isinstance(reported, Mapping):
        reported = {}
    valid = {name: reported[name] for name in _OF_SIGNER if name in reported and _fits(name, reported[name])}
    return {"scheme": "custom", **valid}


def _fits(name: str, value: Any) -> bool:
    rule = _RULES[name]
    if name == "answer_names":
        return isinstance(value, (list, tuple)) and all(isinstance(each, str) and each in rule for each in value)
    if isinstance(rule, tuple):
        return isinstance(value, str) and value in rule
    if isinstance(rule, re.Pattern):
        return isinstance(value, str) and rule.fullmatch(value) is not None
    if rule is bool:
        return isinstance(value, bool)
    if isinstance(value, bool) or not isinstance(value, (int, float) if rule is float else int):
        return False
    return bool(abs(value) <= _MOST_DIGITS)
