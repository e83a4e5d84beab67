"""The known causes of a 401, and their ranking."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from . import rules
from .facts import Facts
from .rules import Scale

__all__ = ["LIKELY", "Cause", "diagnose"]

#: The minimum score of a likely cause.
LIKELY: Final = 70


class Cause(NamedTuple):
    """One of the causes that a 401 can have.

    Attributes:
        name: stable identifier; does not change between versions.
        title: the cause in a few words.
        score: 0 to 99, for the order; 0 if the cause is impossible. It is not a probability.
        speaks_for: facts that speak for it.
        speaks_against: facts that speak against it.
        advice: what to do.
    """

    name: str
    title: str
    score: int
    speaks_for: tuple[str, ...]
    speaks_against: tuple[str, ...]
    advice: str


def diagnose(facts: Mapping[str, Any]) -> tuple[Cause, ...]:
    """All known causes of a 401, the likeliest first.

    Args:
        facts: in the format of ``AuthenticationError.report()["facts"]``.

    Raises:
        InvalidFactError: a fact has an invalid value.
    """
    parsed = Facts.read(facts)
    causes = []
    for name, title, advice, base, rule in _CAUSES:
        scale = Scale(base)
        if name in parsed.answer_names:
            scale.pro(60, "the response names it")
        if parsed.signed is False and name != "host":
            scale.never("the operation is sent without credentials")
        else:
            rule(parsed, scale)
        causes.append(Cause(name, title, scale.score, tuple(scale.speaks_for), tuple(scale.speaks_against), advice))
    # Sorting is stable: causes of equal score keep the order of `_CAUSES`, in which they should be checked.
    return tuple(sorted(causes, key=lambda cause: -cause.score))


_CAUSES: Final[tuple[tuple[str, str, str, int, Callable[[Facts, Scale], None]], ...]] = (
    (
        "environment",
        "the keys belong to the other environment",
        "Test and production have separate keys: compare the host with the Business Center in which the key was made.",
        40,
        rules.environment,
    ),
    (
        "secret",
        "the secret is not decoded, or not the whole secret",
        "Copy the secret anew and whole. It is base64: what signs is the 32 bytes that it decodes to.",
        25,
        rules.secret,
    ),
    (
        "digest",
        "the digest is that of other bytes than arrive",
        "Take the digest of the final bytes, after any encryption, and let nothing on the way change the body.",
        20,
        rules.digest,
    ),
    (
        "clock",
        "this machine's clock is off",
        "Set the clock by NTP, and leave correct_clock on.",
        15,
        rules.clock,
    ),
    (
        "path",
        "the path that is signed is not the one that arrives",
        "Look for what changes paths on the way: a slash at the end, a query that is lost, percent-encoding.",
        15,
        rules.path,
    ),
    (
        "host",
        "the host that is signed is not the one that is asked",
        "Use a host of the REST API, and let proxies and gateways pass on the Host header as it is.",
        10,
        rules.host,
    ),
    (
        "credentials",
        "merchant id, key and secret do not belong together",
        "Copy all of them from one place in the Business Center. With a meta key, portfolio_id is who made the key and "
        "merchant_id for whom it signs.",
        40,
        rules.credentials,
    ),
    (
        "key_id",
        "the key id is not that of the key",
        "The id of a shared secret is the UUID beside it; that of a certificate is the serialNumber in its subject, "
        "not its X.509 serial number.",
        10,
        rules.key_id,
    ),
    (
        "lifetime",
        "the token lives for more than 120 s",
        "Let exp be 120 s after iat at most.",
        12,
        rules.lifetime,
    ),
    (
        "signed_lines",
        "the signed lines are not those that the service expects",
        "Sign request-target without parentheses, and list the lines in the order of the guide.",
        10,
        rules.signed_lines,
    ),
    (
        "key_ended",
        "the key or token has expired or was deactivated",
        "Look at the key in the Business Center; make a new one where it has ended, or fetch a new access token.",
        15,
        rules.ended,
    ),
    (
        "scheme_retired",
        "the scheme is no longer accepted",
        "Use JwtSharedSecret: it takes the same key id and secret.",
        5,
        rules.retired,
    ),
)
