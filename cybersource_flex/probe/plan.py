"""The checks of the probe, and ``run_checks``, which carries them out.

They are ordered from harmless requests to those that the host must reject.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from ..errors import TransportError
from . import authentication_checks as authentication
from . import session_checks as sessions
from . import token_checks as tokens
from .run import CredentialsRejected, RateLimited, Run

__all__ = ["CHECKS", "Check", "Conditions", "Outcome", "missing_condition", "run_checks"]

Outcome = Literal["complete", "incomplete", "no response", "credentials rejected", "rate limited"]

# After this many requests in a row without a response, no more are sent.
_MAX_FAILURES: Final = 3
_REASONS: Final = {
    "credentials rejected": "the host rejected the credentials",
    "rate limited": "the host limits the rate of requests",
}
_KEYS: Final = "GET /flex/v2/public-keys"
_FLEX: Final = "POST /flex/v2/sessions"
_MICROFORM: Final = "POST /microform/v2/sessions"
_TOKENS: Final = "POST /flex/v2/tokens"
_DETAILS: Final = "GET /flex/v2/payment-details"

_CREDENTIALS: Final = "--send-token, because an access token is a secret"
_JWT: Final = "JWT authentication"
_HTTP_SIGNATURE: Final = "HTTP Signature"
_RESPONSE_KEY: Final = "a response key"
_TEST_HOST: Final = "a test host, because it sends a test card"
_SIGNATURE: Final = "JWT authentication or HTTP Signature"


@dataclass(frozen=True)
class Check:
    """One check: the requests that it sends at most, and the assumptions that it tests.

    Attributes:
        step: name of the group of checks. The groups are ordered from harmless requests to those that the host
            must reject.
        requests: the requests in order, for people.
        run: carries out the check.
        assumptions: ids of the assumptions that the check can decide.
        needs: conditions without which the check is not run.
    """

    step: str
    requests: tuple[str, ...]
    run: Callable[[Run], None]
    assumptions: tuple[str, ...]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Conditions:
    """What decides which checks are run.

    Attributes:
        scheme: name of the authentication scheme.
        may_sign: whether the credentials may be sent to the host.
        has_response_key: whether encrypted responses are configured.
        is_test_host: whether test cards may be sent.
    """

    scheme: str
    may_sign: bool
    has_response_key: bool
    is_test_host: bool


def missing_condition(check: Check, conditions: Conditions) -> str | None:
    """The first condition of a check that is not met, or None."""
    is_jwt = conditions.scheme.startswith("jwt_")
    is_signature = conditions.scheme == "http_signature"
    met = {
        _CREDENTIALS: conditions.may_sign,
        _JWT: conditions.may_sign and is_jwt,
        _HTTP_SIGNATURE: conditions.may_sign and is_signature,
        _SIGNATURE: conditions.may_sign and (is_jwt or is_signature),
        _RESPONSE_KEY: conditions.may_sign and is_jwt and conditions.has_response_key,
        _TEST_HOST: conditions.is_test_host,
    }
    return next((need for need in check.needs if not met[need]), None)


def _new_context(request: str, count: int = 1) -> tuple[str, ...]:
    return (f"{_FLEX}: a context for one token", request) * count


def _checks() -> Iterator[Check]:
    step = "read public data"
    yield Check(
        step, (f"{_KEYS}/00: a key that does not exist",), sessions.check_unknown_key, ("hosts", "tls", "key-unknown")
    )
    step = "create capture contexts"
    yield Check(
        step,
        (
            f"{_FLEX}: fields of a card",
            *(
                f"{_FLEX}: {what}, only with JWT and after status 401"
                for what in ("the other case of request-method", "the other digest claim", "the other digest algorithm")
            ),
        ),
        sessions.check_flex_session,
        (
            *("session-media-types", "session-fields-wrapper", "session-leaf-required", "jwt-response"),
            *("context-header", "context-issuer", "context-lifetime", "context-claims", "context-one-time-key"),
            *("context-tokens-path", "context-type", "context-requested-fields", "shared-secret-encoding"),
            *("jwt-version", "jwt-issuer", "jwt-p12-key-id", "mle-request", "oauth-token"),
            *("signature-headers", "signature-request-target", "signature-supported", "signature-meta-key"),
        ),
        (_CREDENTIALS,),
    )
    yield Check(
        step,
        (f"{_KEYS}/{{kid}}: the key of the context",),
        sessions.check_public_key,
        ("key-id", "key-endpoint", "key-use", "context-signature"),
        (_CREDENTIALS,),
    )
    yield Check(
        step,
        (f"{_KEYS}/{{kid}}/: a path with a slash at the end",),
        sessions.check_trailing_slash,
        ("trailing-slash",),
        (_CREDENTIALS,),
    )
    yield Check(
        step,
        (f"{_FLEX}: email and phone number of shipTo",),
        sessions.check_ship_to,
        ("session-shipto-contact",),
        (_CREDENTIALS,),
    )
    yield Check(
        step,
        (f"{_MICROFORM}: clientVersion v2",),
        sessions.check_microform_session,
        ("microform-version", "microform-library"),
        (_CREDENTIALS,),
    )
    yield Check(
        step,
        (f"{_MICROFORM}: clientVersion v2.0",),
        sessions.check_microform_version,
        ("microform-version-long",),
        (_CREDENTIALS,),
    )
    yield Check(
        step,
        (
            *(f"{_FLEX}: request-method in {case} case" for case in ("upper", "lower")),
            *(f"{_FLEX}: the claim {name}" for name in ("digestAlgorithm", "digest-algorithm")),
            *(f"{_FLEX}: the digest algorithm {name}" for name in ("SHA-256", "sha-256")),
        ),
        authentication.check_claim_forms,
        (
            *("jwt-method-upper", "jwt-method-lower", "jwt-digest-name", "jwt-digest-name-hyphen"),
            *("jwt-digest-algorithm-upper", "jwt-digest-algorithm-lower"),
        ),
        (_JWT,),
    )
    yield Check(step, (f"{_FLEX}?probe=1: a query",), authentication.check_query, ("jwt-path-query",), (_JWT,))
    clock = tuple(f"{_FLEX}: signed with a clock that is 30 s {where}" for where in ("ahead", "behind"))
    yield Check(step, clock, authentication.check_clock, ("jwt-clock-tolerance",), (_JWT,))
    yield Check(step, clock, authentication.check_clock, ("signature-clock-tolerance",), (_HTTP_SIGNATURE,))
    yield Check(
        step,
        (f"{_DETAILS}/000...: details of a token that does not exist",),
        authentication.check_signed_get,
        ("jwt-get-without-digest",),
        (_JWT,),
    )
    yield Check(
        step,
        (f"{_FLEX}: an encrypted response",),
        authentication.check_encrypted_response,
        ("mle-response-claim", "mle-response-body"),
        (_RESPONSE_KEY,),
    )
    step = "send invalid sessions"
    yield Check(
        step,
        (f"{_FLEX}: an unknown field", f"{_MICROFORM}: an unknown payment type"),
        sessions.check_rejected_sessions,
        ("session-unknown-field", "session-error-body", "microform-payment-types", "microform-error-body"),
        (_CREDENTIALS,),
    )
    yield Check(
        step,
        (
            f"{_MICROFORM}: an origin with http",
            f"{_MICROFORM}: an origin with a wildcard",
            f"{_MICROFORM}: the origin http://127.0.0.1:3000",
            f"{_MICROFORM}: nine origins",
            f"{_MICROFORM}: ten origins",
        ),
        sessions.check_rejected_origins,
        ("microform-origins", "microform-loopback-origin", "microform-origin-count"),
        (_CREDENTIALS,),
    )
    yield from _token_checks("create tokens for a test card")
    step = "send requests that must be rejected"
    yield Check(
        step,
        (f"{_FLEX}: a new request", f"{_FLEX}: the same request again"),
        authentication.check_single_use,
        ("jwt-single-use",),
        (_JWT,),
    )
    yield Check(
        step,
        tuple(
            f"{_FLEX}: a token with {what}"
            for what in ("a lifetime of 180 s", "a wrong digest", "another host", "another path")
        ),
        authentication.check_rejected_claims,
        ("jwt-lifetime", "jwt-digest-value", "jwt-host", "jwt-path"),
        (_JWT,),
    )
    yield Check(
        step,
        (f"{_FLEX}: a changed signature",),
        authentication.check_wrong_signature,
        ("signature-checked",),
        (_SIGNATURE,),
    )
    step = "compare all responses"
    yield Check(step, (), authentication.check_401_body, ("error-401-body",))
    yield Check(step, (), authentication.check_all_responses, ("date-header", "correlation-id", "no-redirects"))


def _token_checks(step: str) -> Iterator[Check]:
    needs = (_CREDENTIALS, _TEST_HOST)
    yield Check(
        step,
        (f"{_TOKENS}: a test card",),
        tokens.check_token,
        (
            *("tokens-unauthenticated", "tokens-jwe-body", "tokens-encryption", "tokens-data-nested", "tokens-status"),
            *("tokens-digest", "token-key", "token-issuer", "token-type", "token-lifetime", "token-id"),
            *("token-content", "token-hides-code"),
        ),
        needs,
    )
    yield Check(
        step,
        (f"{_DETAILS}/{{jti}}: the details of the token",),
        tokens.check_payment_details,
        ("payment-details",),
        needs,
    )
    yield Check(
        step, (f"OPTIONS {_TOKENS.split()[1]}: the preflight of a browser",), tokens.check_cors, ("tokens-cors",), needs
    )
    yield Check(
        step,
        (f"{_TOKENS}: a second token for the first context",),
        tokens.check_reuse,
        ("tokens-context-reuse",),
        needs,
    )
    request = f"{_TOKENS}: dotted field names"
    yield Check(step, _new_context(request), tokens.check_dotted_data, ("tokens-data-dotted",), needs)
    request = f"{_TOKENS}: a JSON object with keyId"
    yield Check(step, _new_context(request), tokens.check_json_body, ("tokens-json-body",), needs)
    yield Check(
        step,
        (f"{_MICROFORM}: a context for one token", f"{_TOKENS}: field names without a path"),
        tokens.check_microform_token,
        ("tokens-data-microform",),
        needs,
    )
    request = f"{_TOKENS}: a security code of two digits"
    yield Check(step, _new_context(request), tokens.check_error_body, ("tokens-error-body",), needs)
    requests = (
        *_new_context(f"{_TOKENS}: a field that the context does not list"),
        *_new_context(f"{_TOKENS}: data without a required field"),
    )
    yield Check(step, requests, tokens.check_field_rules, ("tokens-unlisted-field", "tokens-missing-field"), needs)
    requests = (
        *_new_context(f"{_TOKENS}: a number with a wrong check digit"),
        *_new_context(f"{_TOKENS}: an expired card"),
    )
    yield Check(step, requests, tokens.check_card_rules, ("tokens-luhn", "tokens-expiry"), needs)


#: All checks, in order.
CHECKS: Final = tuple(_checks())


def run_checks(run: Run, conditions: Conditions, on_check: Callable[[str], object] = lambda step: None) -> Outcome:
    """Run all checks whose conditions are met, and add the findings to ``run.results``.

    Args:
        run: sends the requests.
        conditions: what the run can check.
        on_check: called before each check with the step that it belongs to.

    Returns:
        ``complete`` if the host returned a capture context and a response to each request. A run without credentials
        needs no capture context.
    """
    outcome: Outcome = "complete"
    for check in CHECKS:
        missing = missing_condition(check, conditions)
        if missing is not None:
            _skip(run, check, f"needs {missing}")
            continue
        if (check.needs and outcome == "credentials rejected") or (check.requests and outcome == "rate limited"):
            _skip(run, check, _REASONS[outcome])
            continue
        if check.requests and run.failures_in_a_row >= _MAX_FAILURES:
            _skip(run, check, "the host stopped responding")
            continue
        on_check(check.step)
        run.allow(len(check.requests))
        try:
            check.run(run)
        except CredentialsRejected:
            outcome = "credentials rejected"
            _skip(run, check, _REASONS[outcome])
        except RateLimited:
            outcome = "rate limited"
            _skip(run, check, _REASONS[outcome])
        except TransportError as cause:
            _skip(run, check, f"no response: {type(cause).__name__}")
            if not run.responses:
                return "no response"
            outcome = "incomplete" if outcome == "complete" else outcome
    if outcome == "complete" and conditions.may_sign and run.context is None:
        return "incomplete"
    return outcome


def _skip(run: Run, check: Check, reason: str) -> None:
    for assumption in check.assumptions:
        run.results.add(assumption, "not testable", reason)
