"""Checks of authentication: claims in other forms, a different clock, and requests that the host must reject."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from ..auth.jwt import JwtSigner
from ..errors import ApiException, TokenError
from ..jose.compact import parse_jwe
from ..transport.messages import Request, Response
from .claim_forms import CLAIM_FORMS, with_claim_form
from .run import Run, is_accepted, is_success, is_unavailable, parse_object
from .session_checks import requested

__all__ = [
    "check_401_body",
    "check_all_responses",
    "check_claim_forms",
    "check_clock",
    "check_encrypted_response",
    "check_query",
    "check_rejected_claims",
    "check_signed_get",
    "check_single_use",
    "check_wrong_signature",
]

Claims = dict[str, Any]

# Seconds.
_CLOCK_DIFFERENCE: Final = 30
_LONG_LIFETIME: Final = 180
_UNKNOWN_JTI: Final = "0" * 64
_UNKNOWN_DETAILS: Final = f"/flex/v2/payment-details/{_UNKNOWN_JTI}"
_HASH_OF_NOTHING: Final = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


def _signed(run: Run, request: Request, change: Callable[[Claims], Claims]) -> Request:
    """Sign a request with a JWT whose claims are changed before they are signed."""
    signer = run.signer
    if not isinstance(signer, JwtSigner):
        raise TypeError("only JWT signers have claims")
    return run.add_credentials(request, signer._sign_claims(change(signer._claims(request, time.time()))))


def _send(run: Run, change: Callable[[Claims], Claims], target: str = "/flex/v2/sessions") -> Response:
    return run.send(_signed(run, run.session_request(requested(), target), change))


def _with(name: str, value: Any) -> Callable[[Claims], Claims]:
    return lambda claims: {**claims, name: value}


def check_claim_forms(run: Run) -> None:
    """Send each form in a request that otherwise has the configured forms."""
    signer = run.signer
    if not isinstance(signer, JwtSigner):
        return
    for assumption in CLAIM_FORMS:
        request = run.session_request(requested())
        response = run.send(run.sign(request, signer=with_claim_form(signer, assumption)))
        run.conclude(assumption, [(is_accepted(response), f"status {response.status}")])


def check_query(run: Run) -> None:
    target = "/flex/v2/sessions?probe=1"
    response = _send(run, _with("request-resource-path", target), target)
    run.conclude("jwt-path-query", [(is_accepted(response), f"status {response.status}")])


def check_signed_get(run: Run) -> None:
    request = run.request("GET", _UNKNOWN_DETAILS, path="/flex/v2/payment-details/{jti}")
    response = run.send(run.sign(request))
    if is_unavailable(response):
        run.results.add("jwt-get-without-digest", "not testable", f"status {response.status}")
    else:
        observed = f"status {response.status}"
        run.results.expect("jwt-get-without-digest", response.status != 401, observed)


def check_clock(run: Run) -> None:
    """Sign as if the local clock were ahead, and then behind."""
    is_jwt = isinstance(run.signer, JwtSigner)
    assumption = "jwt-clock-tolerance" if is_jwt else "signature-clock-tolerance"
    findings = []
    for offset, what in ((_CLOCK_DIFFERENCE, "ahead"), (-_CLOCK_DIFFERENCE, "behind")):
        response = run.send(run.sign(run.session_request(requested()), offset))
        findings.append((is_accepted(response), f"{_CLOCK_DIFFERENCE} s {what}: status {response.status}"))
    run.conclude(assumption, findings)


def check_encrypted_response(run: Run) -> None:
    """Ask for an encrypted response, and decrypt it."""
    if run.mle is None or run.mle.response_kid is None:
        return
    run.private.add(run.mle.response_kid)
    request = run.session_request(requested()).replace(response_mle_kid=run.mle.response_kid)
    response = run.send(run.sign(request))
    body = parse_object(response)
    if not is_success(response) or "encryptedResponse" not in body:
        decides = is_success(response) or response.status in (400, 401)
        observed = f"status {response.status}"
        if is_success(response):
            observed += ", an unencrypted response"
        run.results.add("mle-response-claim", "contradicted" if decides else "not testable", observed)
        return
    run.results.add("mle-response-claim", "confirmed", "an encrypted response")
    try:
        header = parse_jwe(str(body["encryptedResponse"]), "response").header
        run.mle.decrypt_response(request, response)
        decrypted = "decrypted"
    except (TokenError, ApiException):
        header, decrypted = {}, "not decrypted"
    algorithms = (header.get("alg"), header.get("enc"))
    is_alone = set(body) == {"encryptedResponse"}
    is_known = is_alone and algorithms == ("RSA-OAEP-256", "A256GCM")
    members = f"{len(body)} member{'' if is_alone else 's'}"
    observed = ", ".join((decrypted, members, *map(run.describe, algorithms)))
    run.results.expect("mle-response-body", is_known, observed)


def _expect_rejected(run: Run, assumption: str, response: Response, what: str, status: int | None = None) -> None:
    """Expect that a request is rejected, with this status or with any."""
    observed = f"{what}: status {response.status}"
    if is_unavailable(response):
        run.results.add(assumption, "not testable", observed)
    else:
        is_rejected = not is_success(response) if status is None else response.status == status
        run.results.expect(assumption, is_rejected, observed)


def check_single_use(run: Run) -> None:
    """Send one signed request twice."""
    request = run.sign(run.session_request(requested()))
    first = run.send(request)
    if is_success(first):
        _expect_rejected(run, "jwt-single-use", run.send(request), "the second request")
    else:
        run.results.add("jwt-single-use", "not testable", f"the first request: status {first.status}")


def check_rejected_claims(run: Run) -> None:
    """Send claims that do not belong to the request, and a lifetime that is too long."""
    wrong: dict[str, tuple[str, Callable[[Claims], Claims]]] = {
        "jwt-lifetime": (
            f"{_LONG_LIFETIME} s",
            lambda claims: {**claims, "exp": claims["iat"] + _LONG_LIFETIME},
        ),
        "jwt-digest-value": ("a wrong digest", _with("digest", _HASH_OF_NOTHING)),
        "jwt-host": ("another host", _with("request-host", "www.example.com")),
        "jwt-path": ("another path", _with("request-resource-path", "/flex/v2/tokens")),
    }
    for assumption, (what, change) in wrong.items():
        _expect_rejected(run, assumption, _send(run, change), what)


def check_wrong_signature(run: Run) -> None:
    """Change one character of a signature."""
    request = run.sign(run.session_request(requested()))
    headers = dict(request.headers)
    if "Signature" in headers:
        before, name, signature = headers["Signature"].partition('signature="')
        headers["Signature"] = f"{before}{name}{_changed(signature)}"
    else:
        signed, dot, signature = headers["Authorization"].rpartition(".")
        headers["Authorization"] = f"{signed}{dot}{_changed(signature)}"
    response = run.send(request.replace(headers=headers))
    _expect_rejected(run, "signature-checked", response, "a changed signature", status=401)


def _changed(signature: str) -> str:
    return ("B" if signature.startswith("A") else "A") + signature[1:]


def check_401_body(run: Run) -> None:
    """Look at the bodies of the requests that were rejected. Sends nothing."""
    rejected = [response for response in run.responses if response.status == 401]
    if not rejected:
        run.results.add("error-401-body", "not testable", "no response has the status 401")
    for response in rejected:
        gateway = parse_object(response).get("response")
        is_known = isinstance(gateway, dict) and isinstance(gateway.get("rmsg"), str)
        run.results.expect("error-401-body", is_known, "with rmsg" if is_known else "another body")


def check_all_responses(run: Run) -> None:
    """Compare the headers and statuses of all responses with the assumptions. Sends nothing."""
    count = len(run.responses)
    for assumption, header in (("date-header", "Date"), ("correlation-id", "v-c-correlation-id")):
        missing = sum(header not in response.headers for response in run.responses)
        run.results.expect(assumption, not missing, f"missing in {missing} of {count} responses")
    redirects = sum(300 <= response.status < 400 for response in run.responses)
    run.results.expect("no-redirects", not redirects, f"{redirects} redirects in {count} responses")
