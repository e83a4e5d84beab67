"""``VerifiedToken``, ``Deviation`` (accepted differences), and the checks of claims that all tokens share.

A check raises an exception if an RFC demands it, or if an attacker without the key could otherwise benefit. Any other
difference from the tokens in CyberSource's documentation is a ``Deviation``. A signed token with a deviation is
accepted, because the service may change such details at any time. ``docs/trust.md`` lists all rules.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from .._immutable import read_only_copy
from ..errors import ConfigurationError, ExpiredTokenError, InvalidClaimError, TokenNotYetValidError
from .compact import SignedJwt

if TYPE_CHECKING:
    from typing import Self

    from ..errors import ResponseInfo
    from ..transport import HostTime

__all__ = [
    "DEFAULT_LEEWAY",
    "Deviation",
    "VerifiedToken",
    "audience_deviations",
    "check_not_expired",
    "check_options",
    "check_strict",
    "check_times",
    "reject_deviations",
    "require_str_claim",
]

# Seconds by which two clocks may differ before a token is rejected.
DEFAULT_LEEWAY: Final = 30.0

# Seconds for which all published capture contexts and transient tokens are valid.
USUAL_LIFETIME: Final = 900

# Maximum lifetime of a token in seconds. It limits for how long a leaked token can be used.
MAX_LIFETIME: Final = 24 * 3600

# If the two clocks differ by at most this many seconds, messages say that they agree.
_CLOCKS_AGREE: Final = 5.0

# 2200-01-01, in seconds since the epoch: early enough for `datetime` on every system.
_MAX_TIMESTAMP: Final = 7_258_118_400

# Largest number of seconds that an argument may have. Arithmetic with larger numbers could overflow.
_MAX_NUMBER: Final = 10**12


class Deviation(NamedTuple):
    """A difference between a signed token and all published ones. Rejecting the token would not stop an attacker.

    Attributes:
        claim: name of the claim, dotted if it is nested.
        description: the difference, without the value of the claim.
    """

    claim: str
    description: str


def reject_deviations(deviations: Sequence[Deviation], token_name: str) -> None:
    """Raise ``InvalidClaimError`` for the first deviation, if there is one. Implements the argument ``strict``."""
    if deviations:
        claim, description = deviations[0]
        raise InvalidClaimError(
            f"the {token_name} differs from the published tokens, which strict=True rejects: {description}", claim=claim
        )


class VerifiedToken:
    """Base class of verified tokens. Immutable. Only the verification functions create instances.

    Attributes:
        jwt: the token in compact form. Anyone who has it can use it, so treat it like a password.
        claims: the claims of the token. Read-only. ``json.dumps`` and other serialisers accept them.
        warnings: differences between the token and the published ones: ``("iss is not Flex/ and two digits",)``.
            Usually empty. Log the warnings; they contain no values of the token. ``==`` ignores this attribute.
        response: status, correlation id, attempts and duration of the call that returned the token. None if the token
            comes from ``verify_...`` or ``restore_...`` instead. ``==`` ignores this attribute.
    """

    __slots__ = ("claims", "jwt", "response", "warnings")

    jwt: str
    claims: Mapping[str, Any]
    warnings: tuple[str, ...]
    response: ResponseInfo | None

    def __init__(self) -> None:
        raise TypeError(
            f"a {type(self).__name__} cannot be created directly; call the function that verifies the token"
        )

    @classmethod
    def _create(
        cls,
        token: SignedJwt,
        claims: Mapping[str, Any] | None = None,
        deviations: Sequence[Deviation] = (),
        **values: Any,
    ) -> Self:
        self = object.__new__(cls)
        values |= {"jwt": token.compact, "claims": read_only_copy(token.claims) if claims is None else claims}
        values["warnings"] = tuple(deviation.description for deviation in deviations)
        values.setdefault("response", None)
        for name, value in values.items():
            object.__setattr__(self, name, value)
        return self

    def _with_response(self, response: ResponseInfo) -> Self:
        """Set the attribute ``response``, and return this object. Only the client calls this method."""
        object.__setattr__(self, "response", response)
        return self

    def __init_subclass__(cls) -> None:
        if cls.__module__.partition(".")[0] != __name__.partition(".")[0]:
            raise TypeError("verified tokens cannot be subclassed")

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a {type(self).__name__} cannot be changed")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a {type(self).__name__} cannot be changed")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} cannot be pickled; store its jwt, and verify the jwt again")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self) or not isinstance(other, VerifiedToken):
            return NotImplemented
        return self.jwt == other.jwt

    def __hash__(self) -> int:
        return hash(self.jwt)

    @property
    def issued_at(self) -> datetime:
        """Claim ``iat``, in UTC."""
        return datetime.fromtimestamp(self.claims["iat"], UTC)

    @property
    def expires_at(self) -> datetime:
        """Claim ``exp``, in UTC."""
        return datetime.fromtimestamp(self.claims["exp"], UTC)

    def expires_in(self) -> timedelta:
        """Time until the token expires (``exp``), by this machine's clock. Negative if it has expired."""
        return timedelta(seconds=self.claims["exp"] - time.time())

    @property
    def jti(self) -> str:
        """Claim ``jti``, the token's id."""
        return str(self.claims["jti"])


def check_strict(strict: bool) -> None:
    """Check the argument ``strict``. Raises ``ConfigurationError``."""
    if not isinstance(strict, bool):
        raise ConfigurationError(f"strict must be True or False, not {_describe(strict)}")


def check_options(*, now: float | None, leeway: float, host_time: HostTime | None, strict: bool = False) -> None:
    """Check the arguments that all verification functions share. Raises ``ConfigurationError``."""
    if now is not None and not _is_number(now, -_MAX_NUMBER, _MAX_NUMBER):
        raise ConfigurationError(f"now must be a finite number of seconds since the epoch, not {_describe(now)}")
    if not _is_number(leeway, 0, MAX_LIFETIME):
        raise ConfigurationError(f"leeway must be from 0 to {MAX_LIFETIME} seconds, not {_describe(leeway)}")
    check_strict(strict)
    if host_time is None:
        return
    try:
        offset, max_error, ignored_reason = host_time.offset, host_time.max_error, host_time.ignored_reason
    except AttributeError:
        raise ConfigurationError(
            f"host_time must be the result of client.clock.host_time(), not {_describe(host_time)}"
        ) from None
    limit = _MAX_NUMBER if ignored_reason else MAX_LIFETIME
    if not (_is_number(offset, -limit, limit) and _is_number(max_error, 0, limit)):
        raise ConfigurationError(f"host_time must be at most {limit} seconds from this machine's clock")


def _is_number(value: object, lowest: float, highest: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and lowest <= value <= highest


def _describe(value: object) -> str:
    return "a number outside this range" if isinstance(value, (int, float)) else type(value).__name__


def check_times(
    claims: Mapping[str, Any],
    token_name: str,
    *,
    now: float | None,
    leeway: float,
    grace: float = 0.0,
    usual_lifetime: int | None = USUAL_LIFETIME,
    host_time: HostTime | None = None,
    received_from_host: bool = False,
    verified_before: bool = False,
) -> list[Deviation]:
    """Check ``iat``, ``exp`` and ``nbf`` (RFC 7519 sections 4.1.4 to 4.1.6), and return their deviations.

    A token has expired if this machine's clock or the host's clock says so. Whether a token is "not yet valid" is
    decided by this machine's clock alone. Exception: a token that was received from the host is "not yet valid" only if
    both clocks say so.

    Args:
        claims: the claims of a token whose signature was verified.
        token_name: the name of the token in error messages, such as ``capture context``.
        now: seconds since the epoch; None for this machine's clock.
        leeway: seconds by which the clocks may differ.
        grace: seconds after ``exp`` for which the token is still accepted.
        usual_lifetime: seconds for which tokens of this kind are usually valid. A longer lifetime is a deviation. None
            if the usual lifetime is unknown.
        host_time: the difference between the host's clock and this machine's. None if unknown.
        received_from_host: whether the token was in a response of the host.
        verified_before: whether the token was verified before. If so, it is never "not yet valid".

    Raises:
        ConfigurationError: ``leeway``, ``now`` or ``host_time`` is out of range.
        InvalidClaimError: a claim is missing or not a number, or ``exp - iat`` is out of range.
        ExpiredTokenError: ``exp`` has passed.
        TokenNotYetValidError: ``iat`` or ``nbf`` is in the future.
    """
    check_options(now=now, leeway=leeway, host_time=host_time)
    issued_at, expires_at = _require_timestamp(claims, "iat", token_name), _require_timestamp(claims, "exp", token_name)
    if not 0 < expires_at - issued_at <= MAX_LIFETIME:
        raise InvalidClaimError(
            f"the {token_name} has an invalid lifetime (exp - iat); expected at most {MAX_LIFETIME} seconds",
            claim="exp",
        )
    current = time.time() if now is None else now
    check_not_expired(expires_at, token_name, now=current, allowed=leeway + grace, host_time=host_time)
    latest_now = current
    if received_from_host and host_time is not None and not host_time.ignored_reason:
        latest_now = max(current, current + host_time.offset + host_time.max_error)
    starts_at = issued_at
    if "nbf" in claims:
        starts_at = max(issued_at, _require_timestamp(claims, "nbf", token_name))
    if starts_at > latest_now + leeway and not verified_before:
        event = "was issued" if starts_at == issued_at else "becomes valid (nbf)"
        raise TokenNotYetValidError(
            f"the {token_name} {event} {_format_age(starts_at - latest_now)} in the future{_describe_clock(host_time)}"
        )
    deviations = [
        Deviation(name, f"{name} is not written as a whole number")
        for name in ("iat", "exp")
        if isinstance(claims[name], float)
    ]
    if usual_lifetime is not None and expires_at - issued_at > usual_lifetime:
        deviations.append(
            Deviation("exp", f"the token is valid for more than {usual_lifetime // 60} minutes (exp - iat)")
        )
    return deviations


def check_not_expired(
    expires_at: float, token_name: str, *, now: float, allowed: float, host_time: HostTime | None, advice: str = ""
) -> None:
    """Check that a token has not expired, by this machine's clock and by the host's.

    Args:
        expires_at: the claim ``exp``.
        token_name: the name of the token in error messages, such as ``capture context``.
        now: this machine's time in seconds since the epoch.
        allowed: seconds after ``exp`` for which the token is still accepted.
        host_time: the difference between the host's clock and this machine's. None if unknown.
        advice: what the caller should do, as part of the message, with a leading ``"; "``.

    Raises:
        ExpiredTokenError: the token has expired. If it has expired by one of the clocks only, the message says so.
    """
    age = now - expires_at
    age_at_host = age if host_time is None else age + host_time.offset
    if age >= allowed:
        message = f"the {token_name} expired {_format_age(age)} ago"
        if host_time is not None and age_at_host < allowed:
            message += f" by this machine's clock, which is {_describe_offset(host_time)} the host's; set it by NTP"
        raise ExpiredTokenError(message + advice)
    if host_time is not None and not host_time.ignored_reason and age_at_host >= allowed:
        raise ExpiredTokenError(
            f"the {token_name} expired {_format_age(age_at_host)} ago by the host's clock; this machine's clock is "
            f"{_describe_offset(host_time)} the host's; set it by NTP, or use correct_clock=False if it is right"
            f"{advice}"
        )


def _describe_clock(host_time: HostTime | None) -> str:
    if host_time is None:
        return "; check that this machine's clock is right"
    if abs(host_time.offset) <= max(_CLOCKS_AGREE, host_time.max_error):
        return "; this machine's clock agrees with the host's"
    return f"; this machine's clock is {_describe_offset(host_time)} the host's; set it by NTP"


def _describe_offset(host_time: HostTime) -> str:
    ignored = f" ({host_time.ignored_reason})" if host_time.ignored_reason else ""
    return f"{abs(host_time.offset):.0f} s{ignored} {'behind' if host_time.offset > 0 else 'ahead of'}"


def _require_timestamp(claims: Mapping[str, Any], name: str, token_name: str) -> float:
    # Floats are accepted, because RFC 7519 section 2 allows fractions of seconds.
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < _MAX_TIMESTAMP:
        raise InvalidClaimError(
            f"the claim {name} of the {token_name} is not a number of seconds since the epoch", claim=name
        )
    return value


def audience_deviations(claims: Mapping[str, Any]) -> list[Deviation]:
    """Return a deviation if there is an ``aud``. It cannot be checked, because its values are not published."""
    return [Deviation("aud", "aud is present, but cannot be checked")] if "aud" in claims else []


def require_str_claim(claims: Mapping[str, Any], name: str, token_name: str) -> str:
    """Return a claim that must be a string. Raises ``InvalidClaimError`` if it is missing, empty or not a string."""
    value = claims.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidClaimError(f"the claim {name} of the {token_name} is missing or not a string", claim=name)
    return value


def _format_age(seconds: float) -> str:
    whole = int(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min"
    if whole < 172_800:
        return f"{whole // 3600} h"
    return f"{whole // 86_400} days"
