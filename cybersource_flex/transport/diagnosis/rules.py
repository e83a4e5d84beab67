"""Rules that score each cause of a 401. The rules use the facts of one call."""

from __future__ import annotations

from typing import Final

from .facts import BUILTIN_SCHEMES, Facts

__all__ = [
    "Score",
    "check_clock",
    "check_credentials",
    "check_digest",
    "check_environment",
    "check_expiry",
    "check_host",
    "check_key_id",
    "check_lifetime",
    "check_path",
    "check_scheme_retired",
    "check_secret",
    "check_signed_headers",
]

# Seconds by which two clocks differ. The service's tolerance is not published, but a difference of more than a minute
# is a known cause of a 401.
_SMALL_OFFSET: Final = 5
_NOTABLE_OFFSET: Final = 30
_LARGE_OFFSET: Final = 60
_TOKEN_LIFETIME: Final = 120
_MINUTE: Final = 60
_HOUR: Final = 3600
_SECRET_BYTES: Final = 32
# When HTTP Signature is retired: the date that was announced first, and the date in the release notes of 2026-10-23.
_FIRST_RETIREMENT_DATE: Final = "2026-09-01"
_RETIREMENT_DATE: Final = "2027-03-01"
_SHARED_SECRET_SCHEMES: Final = ("jwt_shared_secret", "http_signature")


class Score:
    """Score of a cause, with the evidence for and against it."""

    def __init__(self, base: int) -> None:
        self._points = base
        self._ruled_out = False
        self.evidence_for: list[str] = []
        self.evidence_against: list[str] = []

    @property
    def value(self) -> int:
        return 0 if self._ruled_out else max(0, min(99, self._points))

    def supports(self, points: int, evidence: str) -> None:
        """Raise the score. With 0 points, only add the evidence."""
        self._points += points
        self.evidence_for.append(evidence)

    def contradicts(self, points: int, evidence: str) -> None:
        """Lower the score. With 0 points, only add the evidence."""
        self._points -= points
        self.evidence_against.append(evidence)

    def rule_out(self, evidence: str) -> None:
        """Set the score to 0, regardless of other evidence."""
        self._ruled_out = True
        self.evidence_against.append(evidence)


def check_environment(facts: Facts, score: Score) -> None:
    if facts.accepted and facts.scheme in BUILTIN_SCHEMES:
        score.rule_out(f"{_calls(facts.accepted)} accepted by this host with the same credentials")
        return
    if facts.accepted:
        score.contradicts(25, f"{_calls(facts.accepted)} accepted by this host")
    elif facts.accepted == 0:
        score.supports(10, "no signed call of this client has been accepted so far")
    if facts.host == "loopback":
        score.contradicts(20, "the host is on this machine, so it is neither test nor production")
    elif facts.host in ("test", "test_regional", "production", "production_regional"):
        actual, other = ("test", "production") if facts.host.startswith("test") else ("production", "test")
        score.supports(5, f"the host is a {actual} host, which rejects {other} keys with 401")


def check_secret(facts: Facts, score: Score) -> None:
    if facts.scheme in ("jwt_p12", "bearer") or (facts.algorithm is not None and not facts.algorithm.startswith("HS")):
        score.rule_out("this authentication scheme has no shared secret")
    elif facts.accepted and facts.scheme in BUILTIN_SCHEMES:
        score.rule_out(f"{_calls(facts.accepted)} accepted with the same secret")
    elif facts.scheme in _SHARED_SECRET_SCHEMES:
        if facts.secret_bytes is None or facts.secret_bytes == _SECRET_BYTES:
            score.rule_out("this package decodes the secret" + (", here to 32 bytes" if facts.secret_bytes else ""))
        else:
            score.supports(
                55,
                f"the decoded secret has {facts.secret_bytes} bytes, not the 32 of a secret of the Business Center: it "
                "is incomplete, encoded twice, or something else",
            )
    else:
        score.supports(15, "the signer is not part of this package, so it is unknown whether it decodes the secret")


def check_digest(facts: Facts, score: Score) -> None:
    if facts.has_body is False:
        score.rule_out("the request has no body, so it has no digest")
        return
    if facts.scheme == "bearer":
        score.rule_out("an access token contains no digest of the body")
        return
    if facts.scheme in BUILTIN_SCHEMES:
        body = "the encrypted body" if facts.body_encrypted else "the body"
        score.contradicts(20, f"this package computes the digest of {body} as it is sent")
    if facts.accepted_with_body:
        score.contradicts(15, f"{_calls(facts.accepted_with_body, ' with a body')} accepted before")
    elif facts.accepted:
        score.supports(45, f"{_calls(facts.accepted, ' without a body')} accepted, but none with a body")
    if _intermediaries(facts):
        score.supports(10, f"{_intermediaries(facts)} may change the body")


def check_clock(facts: Facts, score: Score) -> None:
    if facts.scheme == "bearer":
        score.rule_out("an access token is not signed with this machine's time")
        return
    if facts.clock_offset is None:
        score.contradicts(0, "the response has no valid Date header, so the host's time is unknown")
        return
    correction = facts.clock_correction or 0.0
    remaining = facts.clock_offset - correction
    direction = "ahead of" if facts.clock_offset > 0 else "behind"
    evidence = f"the host's clock is {abs(facts.clock_offset):.0f} s {direction} this machine's"
    if correction:
        evidence += (
            ", and the last attempt was signed with a corrected time, which differs from the host's time by "
            f"{abs(remaining):.0f} s"
        )
    if abs(remaining) >= _NOTABLE_OFFSET:
        points = 80 if abs(remaining) >= _TOKEN_LIFETIME else 75 if abs(remaining) >= _LARGE_OFFSET else 25
        score.supports(points, evidence)
        if remaining >= _TOKEN_LIFETIME and facts.scheme != "http_signature":
            score.supports(0, "a token of this package is valid for 120 s, so it had expired when it arrived")
        if facts.clock_correction_enabled is False:
            score.supports(0, "correct_clock is off, so requests are not signed with the host's time")
    elif abs(remaining) >= _SMALL_OFFSET:
        score.contradicts(8, evidence + ", which is a small difference")
    elif correction:
        score.contradicts(15, evidence + ", but that attempt was rejected too")
    else:
        score.contradicts(15, "this machine's clock and the host's differ by a few seconds at most")


def check_path(facts: Facts, score: Score) -> None:
    if facts.scheme == "bearer":
        score.rule_out("an access token does not contain the path")
        return
    if facts.scheme in BUILTIN_SCHEMES:
        score.contradicts(12, "this package signs the path as it is sent, with query and percent-encoding")
    if facts.accepted_same_operation and not facts.path_parameters:
        score.contradicts(15, f"{_calls(facts.accepted_same_operation, ' of this operation')} accepted before")
    elif facts.accepted and not facts.accepted_same_operation:
        # The cause may also be the body, if no call with a body was accepted.
        points = 10 if facts.has_body and not facts.accepted_with_body else 35
        score.supports(points, "calls of other operations were accepted, but none of this operation")
    if _intermediaries(facts):
        score.supports(12, f"{_intermediaries(facts)} may change the path")
        if facts.path_query or facts.path_encoded:
            score.supports(
                10, "the path contains a query or percent-encoding, which proxies and gateways change most often"
            )


def check_host(facts: Facts, score: Score) -> None:
    if facts.signed is False:
        score.supports(70, "the operation requires no credentials, so the 401 does not come from the host of this API")
    if facts.host == "cybersource_other":
        score.supports(
            60, "the host belongs to CyberSource, but not to the REST API, whose hosts begin with api or apitest"
        )
    elif facts.host == "other":
        score.supports(10, "the host does not belong to CyberSource")
    if facts.intermediate_host:
        score.supports(50, "requests are sent to an intermediate host, which must pass on the Host header unchanged")
    if facts.proxy == "forward" or facts.custom_ca:
        score.supports(20, f"{_intermediaries(facts._replace(intermediate_host=None))} may change the Host header")
    elif facts.proxy == "tunnel":
        score.contradicts(0, "the proxy only passes on the encrypted connection and cannot change the request")
    if facts.host_port and facts.host != "loopback":
        score.supports(15, "the Host header contains a port, which gateways often remove")
    if facts.body_format in ("html", "text", "empty") and facts.has_correlation_id is False:
        score.supports(
            60,
            "the response has neither the service's format nor a correlation id: it may come from a proxy or gateway",
        )
    if facts.accepted:
        score.contradicts(40, f"{_calls(facts.accepted)} accepted over the same route")
    if facts.scheme in BUILTIN_SCHEMES and not _intermediaries(facts) and facts.intermediate_host is False:
        score.contradicts(8, "this package signs the Host header as it is sent, and connects to that host directly")


def check_credentials(facts: Facts, score: Score) -> None:
    if facts.scheme == "bearer":
        score.rule_out("an access token is used without merchant id and key")
        return
    if facts.accepted and facts.scheme in BUILTIN_SCHEMES:
        score.rule_out(f"{_calls(facts.accepted)} accepted with the same merchant id and key")
        return
    if facts.portfolio_is_merchant:
        score.supports(45, "portfolio_id and merchant_id are the same, but a meta key needs two different ids")
    elif facts.portfolio:
        score.supports(15, "portfolio_id and merchant_id may be swapped: the key was created by the portfolio")
    elif facts.portfolio is False:
        score.supports(0, "portfolio_id is not set, but a meta key requires it")
    if facts.scheme == "jwt_p12":
        score.contradicts(25, "the certificate in the file belongs to the key and names the id that is used")
    elif facts.scheme in _SHARED_SECRET_SCHEMES:
        score.supports(0, "a shared secret does not show to which key id and merchant it belongs")


def check_key_id(facts: Facts, score: Score) -> None:
    if facts.scheme == "bearer":
        score.rule_out("an access token has no key id")
        return
    if facts.accepted and facts.scheme in BUILTIN_SCHEMES:
        score.rule_out(f"{_calls(facts.accepted)} accepted with the same key id")
        return
    if facts.scheme is None or facts.scheme == "custom" or facts.key_id_format is None:
        score.contradicts(0, "the signer is not part of this package, so the key id is unknown")
        return
    is_certificate = facts.scheme == "jwt_p12" or (
        facts.scheme == "external_key" and not (facts.algorithm or "RS").startswith("HS")
    )
    expected, key_type = ("22 digits", "certificate") if is_certificate else ("uuid", "shared secret")
    descriptions = {"uuid": "a UUID", "22 digits": "22 digits"}
    if facts.key_id_format == expected:
        evidence = f"the key id is {descriptions[expected]}, as for every {key_type}"
        if facts.scheme == "jwt_p12":
            score.rule_out(f"{evidence}; this package reads the id from the serialNumber in the certificate's subject")
        else:
            score.contradicts(8, evidence)
    else:
        actual = descriptions.get(facts.key_id_format, "neither a UUID nor 22 digits")
        score.supports(65, f"the key id is {actual}, but the key id of a {key_type} is {descriptions[expected]}")


def check_lifetime(facts: Facts, score: Score) -> None:
    if facts.scheme in ("http_signature", "bearer"):
        score.rule_out("no token is created with this authentication scheme")
    elif facts.scheme in BUILTIN_SCHEMES:
        score.rule_out("this package creates tokens that are valid for 120 s")
    else:
        score.contradicts(0, "the signer is not part of this package, so the lifetime of its tokens is unknown")


def check_signed_headers(facts: Facts, score: Score) -> None:
    if facts.scheme == "http_signature":
        score.rule_out("this package signs request-target without parentheses, and the headers in the expected order")
    elif facts.scheme in (*BUILTIN_SCHEMES, "bearer"):
        score.rule_out("only HTTP Signature signs headers")
    else:
        score.contradicts(0, "the signer is not part of this package, so it is unknown what it signs")


def check_expiry(facts: Facts, score: Score) -> None:
    if facts.scheme == "bearer":
        score.supports(45, "access tokens expire after a short time")
        if facts.refreshable and (facts.rejections or 0) > 1:
            score.contradicts(30, "a new access token, fetched after the first 401, was rejected too")
    if facts.accepted_same_operation:
        calls = _calls(facts.accepted_same_operation, " of this operation")
        score.supports(50, f"{calls} accepted before{_last_accepted(facts)}")
    elif facts.accepted:
        score.supports(15, f"{_calls(facts.accepted)} accepted before{_last_accepted(facts)}")
    elif facts.accepted == 0 and facts.scheme != "bearer":
        score.contradicts(0, "no signed call of this client has been accepted, so the key may never have been valid")
    days = facts.certificate_days_left
    if days is not None and days < 0:
        score.supports(80, f"the certificate expired {_days(-days)} ago")
    elif days is not None:
        score.contradicts(5, f"the certificate is valid for {_days(days)} more, but may have been deactivated")


def check_scheme_retired(facts: Facts, score: Score) -> None:
    if facts.scheme in ("jwt_shared_secret", "jwt_p12", "external_key"):
        score.rule_out("this package creates tokens of version 2, which are not retired")
    elif facts.scheme == "bearer":
        score.rule_out("OAuth is not retired")
    elif facts.scheme != "http_signature" or facts.date is None:
        score.contradicts(0, "the authentication scheme or the date is unknown")
    elif facts.date >= _RETIREMENT_DATE:
        score.supports(85, "CyberSource retires HTTP Signature in March 2027, and that date has passed")
    elif facts.date >= _FIRST_RETIREMENT_DATE:
        score.supports(
            20, "CyberSource retires HTTP Signature in March 2027; the first announcement said September 2026"
        )
    else:
        score.contradicts(0, "CyberSource retires HTTP Signature in March 2027, which is in the future")
    if facts.scheme == "http_signature" and facts.accepted and (facts.accepted_seconds_ago or 0) < _HOUR:
        score.contradicts(60, f"{_calls(facts.accepted)} accepted with HTTP Signature{_last_accepted(facts)}")


def _intermediaries(facts: Facts) -> str:
    """Name the systems between client and host that can change a request. Empty if there are none."""
    names = []
    if facts.intermediate_host:
        names.append("the intermediate host")
    if facts.proxy == "forward":
        names.append("the proxy")
    if facts.custom_ca:
        names.append("a TLS proxy that the TLS settings trust")
    return " or ".join(names)


def _calls(number: int, which: str = "") -> str:
    return f"{number} signed call{which} was" if number == 1 else f"{number} signed calls{which} were"


def _days(number: int) -> str:
    return f"{number} day{'' if number == 1 else 's'}"


def _last_accepted(facts: Facts) -> str:
    seconds = facts.accepted_seconds_ago
    if seconds is None:
        return ""
    if seconds < 2 * _MINUTE:
        return f", the last one {seconds:.0f} s ago"
    return f", the last one {seconds / _MINUTE:.0f} minutes ago"
