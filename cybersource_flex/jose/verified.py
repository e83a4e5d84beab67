"""What capture contexts and transient tokens have in common: they exist only once verified, and their times."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from math import isfinite
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NoReturn

from ..errors import ConfigurationError, ExpiredTokenError, InvalidClaimError, TokenNotYetValidError
from .compact import Jws

if TYPE_CHECKING:
    from typing import Self

    from ..transport import HostTime

__all__ = ["DEFAULT_LEEWAY", "Verified", "check_not_expired", "check_times", "read_only", "text_claim"]

# Seconds by which two clocks may differ before a token is refused.
DEFAULT_LEEWAY: Final = 30.0

# Seconds. All published tokens live for 900; one that lives for days was not made by this service.
MAX_LIFETIME: Final = 24 * 3600

# Seconds: clocks that differ by less are said to agree.
_SAME: Final = 5.0

# Seconds since the epoch that `datetime` can still express, with a margin: 2200-01-01.
_LATEST: Final = 7_258_118_400


class Verified:
    """A token that was verified. Unchangeable; comes out of verification and nowhere else.

    Attributes:
        jwt: the token in compact form. Whoever has it can use it: treat it like a password.
        claims: everything that the token says, read-only.
    """

    __slots__ = ("claims", "jwt")

    jwt: str
    claims: Mapping[str, Any]

    def __init__(self) -> None:
        raise TypeError(f"a {type(self).__name__} can only come out of verification")

    @classmethod
    def _from(cls, jws: Jws, claims: Mapping[str, Any] | None = None, **values: Any) -> Self:
        self = object.__new__(cls)
        values |= {"jwt": jws.compact, "claims": read_only(jws.claims) if claims is None else claims}
        for name, value in values.items():
            object.__setattr__(self, name, value)
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
        raise TypeError(f"a {type(self).__name__} cannot be pickled: keep its jwt and verify that again")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self) or not isinstance(other, Verified):
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
        """Time left by this machine's clock; negative once it has passed."""
        return timedelta(seconds=self.claims["exp"] - time.time())

    @property
    def jti(self) -> str:
        """Claim ``jti``, the token's id."""
        return str(self.claims["jti"])


def read_only(value: Any) -> Any:
    """JSON types that cannot be changed: objects as mapping proxies, arrays as tuples."""
    kind = type(value)
    if kind is dict:
        # Leaves are most of it, and need no call.
        return MappingProxyType(
            {key: entry if type(entry) is str else read_only(entry) for key, entry in value.items()}
        )
    return tuple(map(read_only, value)) if kind is list else value


def check_times(
    claims: Mapping[str, Any],
    what: str,
    *,
    now: float | None,
    leeway: float,
    grace: float = 0.0,
    host_time: HostTime | None = None,
    from_host: bool = False,
    begun: bool = False,
) -> None:
    """Check ``iat`` and ``exp`` (RFC 7519 sections 4.1.4 and 4.1.6).

    A token has expired once this machine's clock or the host's says so. It is not yet valid while this machine's clock
    says so; for a token that came straight from the host, while both clocks say so.

    Args:
        claims: the claims of a token whose signature was verified.
        what: what the token is, for messages.
        now: seconds since the epoch; None for this machine's clock.
        leeway: seconds by which the clocks may differ.
        grace: seconds after ``exp`` for which the token is still accepted.
        host_time: the host's clock compared with this machine's, where it is known.
        from_host: whether the token came straight from the host.
        begun: whether the token was verified before, so that it cannot be "not yet valid" any more.

    Raises:
        ConfigurationError: ``leeway`` or ``now`` would let everything pass.
        InvalidClaimError: one is missing, not a number, or the two contradict each other.
        ExpiredTokenError: ``exp`` has passed.
        TokenNotYetValidError: ``iat`` is in the future.
    """
    issued_at, expires_at = _seconds(claims, "iat", what), _seconds(claims, "exp", what)
    if not 0 < expires_at - issued_at <= MAX_LIFETIME:
        raise InvalidClaimError(f"the {what} has a lifetime (exp - iat) that such a token cannot have", claim="exp")
    current = time.time() if now is None else now
    if not (isfinite(current) and 0 <= leeway <= MAX_LIFETIME):
        raise ConfigurationError(f"leeway must be from 0 to {MAX_LIFETIME} seconds, and now a time")
    _check_host_time(host_time)
    check_not_expired(expires_at, what, now=current, allowed=leeway + grace, host_time=host_time)
    latest = current
    if from_host and host_time is not None and not host_time.ignored:
        latest = max(current, current + host_time.ahead + host_time.error)
    if issued_at > latest + leeway and not begun:
        raise TokenNotYetValidError(
            f"the {what} was issued {_ago(issued_at - latest)} in the future{_about_clock(host_time)}"
        )


def check_not_expired(
    expires_at: int, what: str, *, now: float, allowed: float, host_time: HostTime | None, advice: str = ""
) -> None:
    """Check that neither this machine's clock nor the host's is past the end of a token.

    Args:
        expires_at: the claim ``exp``.
        what: what the token is, for messages.
        now: this machine's time in seconds since the epoch.
        allowed: seconds after the end for which the token is still accepted.
        host_time: the host's clock compared with this machine's, where it is known.
        advice: what to do about it, for the message.

    Raises:
        ExpiredTokenError: it has passed. The message says where only one of the clocks thinks so.
    """
    past = now - expires_at
    past_at_host = past if host_time is None else past + host_time.ahead
    if past >= allowed:
        text = f"the {what} expired {_ago(past)} ago"
        if host_time is not None and past_at_host < allowed:
            text += f" by this machine's clock, which is {_difference(host_time)} the host's; set it by NTP"
        raise ExpiredTokenError(text + advice)
    if host_time is not None and not host_time.ignored and past_at_host >= allowed:
        raise ExpiredTokenError(
            f"the {what} expired {_ago(past_at_host)} ago by the host's clock; this machine's clock is "
            f"{_difference(host_time)} it; set it by NTP, or, if it is right, use correct_clock=False, which ignores "
            f"the host's Date{advice}"
        )


def _check_host_time(host_time: HostTime | None) -> None:
    if host_time is None or host_time.ignored:
        return
    if not (abs(host_time.ahead) <= MAX_LIFETIME and 0 <= host_time.error <= MAX_LIFETIME):
        raise ConfigurationError(f"host_time must be at most {MAX_LIFETIME} seconds from this machine's clock")


def _about_clock(host_time: HostTime | None) -> str:
    if host_time is None:
        return "; is the clock right?"
    if abs(host_time.ahead) <= max(_SAME, host_time.error):
        return "; this machine's clock agrees with the host's"
    return f"; this machine's clock is {_difference(host_time)} the host's; set it by NTP"


def _difference(host_time: HostTime) -> str:
    ignored = f" ({host_time.ignored})" if host_time.ignored else ""
    return f"{abs(host_time.ahead):.0f} s{ignored} {'behind' if host_time.ahead > 0 else 'ahead of'}"


def _seconds(claims: Mapping[str, Any], name: str, what: str) -> int:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < _LATEST:
        raise InvalidClaimError(f"the claim {name} of the {what} is not a time in whole seconds", claim=name)
    return value


def text_claim(claims: Mapping[str, Any], name: str, what: str) -> str:
    """A claim that must be a text. Raises ``InvalidClaimError`` if it is missing, empty or something else."""
    value = claims.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidClaimError(f"the claim {name} of the {what} is missing or not a text", claim=name)
    return value


def _ago(seconds: float) -> str:
    whole = int(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min"
    if whole < 172_800:
        return f"{whole // 3600} h"
    return f"{whole // 86_400} days"
