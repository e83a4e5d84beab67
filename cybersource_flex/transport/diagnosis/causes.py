"""``diagnose``: rank the known causes of a 401 response, with the evidence for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from ...errors import AuthFailureCause
from . import rules
from .facts import Facts
from .rules import Score

__all__ = ["LIKELY", "diagnose"]

#: The minimum score of a likely cause.
LIKELY: Final = 70


def diagnose(facts: Mapping[str, Any]) -> tuple[AuthFailureCause, ...]:
    """Rank all known causes of a 401, the most likely first.

    Args:
        facts: in the format of ``AuthenticationError.report()["facts"]``.

    Raises:
        InvalidFactError: a fact has an invalid value.
    """
    parsed = Facts.parse(facts)
    causes = []
    for name, title, advice, base, check in _CAUSES:
        score = Score(base)
        if name in parsed.named_causes:
            score.supports(60, "the response names this cause")
        if parsed.signed is False and name != "host":
            score.rule_out("the operation is sent without credentials")
        else:
            check(parsed, score)
        causes.append(
            AuthFailureCause(name, title, score.value, tuple(score.evidence_for), tuple(score.evidence_against), advice)
        )
    # Sorting is stable. Causes of equal score keep the order of `_CAUSES`, in which a user should check them.
    return tuple(sorted(causes, key=lambda cause: -cause.score))


# For each cause: name, title, advice, score before any fact is known, and rule.
_CAUSES: Final[tuple[tuple[str, str, str, int, Callable[[Facts, Score], None]], ...]] = (
    (
        "environment",
        "the keys belong to the other environment",
        "Test and production have separate keys. Use the host of the environment in which the key was created.",
        40,
        rules.check_environment,
    ),
    (
        "secret",
        "the shared secret is not decoded, or incomplete",
        "Copy the complete secret again. The secret is base64, and requests are signed with the 32 decoded bytes.",
        25,
        rules.check_secret,
    ),
    (
        "digest",
        "the digest does not match the body that arrives",
        "Compute the digest of the body as it is sent, after any encryption. No proxy may change the body.",
        20,
        rules.check_digest,
    ),
    (
        "clock",
        "this machine's clock is wrong",
        "Synchronise the clock with NTP, and leave correct_clock on.",
        15,
        rules.check_clock,
    ),
    (
        "path",
        "the signed path is not the path that arrives",
        "Check whether a proxy or gateway changes the path: a slash at the end, the query, or percent-encoding.",
        15,
        rules.check_path,
    ),
    (
        "host",
        "the signed host is not the host that receives the request",
        "Use a host of the REST API. Configure proxies and gateways to pass on the Host header unchanged.",
        10,
        rules.check_host,
    ),
    (
        "credentials",
        "merchant id, key id and secret do not belong together",
        "Copy all of them from the same place in the Business Center. With a meta key, portfolio_id is the account "
        "that created the key, and merchant_id is the merchant for which it signs.",
        40,
        rules.check_credentials,
    ),
    (
        "key_id",
        "the key id does not belong to this type of key",
        "The id of a shared secret is the UUID that is shown with it. The id of a certificate is the serialNumber in "
        "its subject, not its X.509 serial number.",
        10,
        rules.check_key_id,
    ),
    (
        "lifetime",
        "the token is valid for more than 120 s",
        "Set exp to at most 120 s after iat.",
        12,
        rules.check_lifetime,
    ),
    (
        "signed_headers",
        "the signed headers are not those that the service expects",
        "Sign request-target without parentheses, and list the headers in the order of CyberSource's guide.",
        10,
        rules.check_signed_headers,
    ),
    (
        "key_expired",
        "the key, certificate or access token has expired or was deactivated",
        "Look up the key in the Business Center. If it has expired, create a new key. If an access token is used, "
        "get a new one.",
        15,
        rules.check_expiry,
    ),
    (
        "scheme_retired",
        "the authentication scheme is no longer accepted",
        "Use JwtSharedSecret with the same key id and secret.",
        5,
        rules.check_scheme_retired,
    ),
)
