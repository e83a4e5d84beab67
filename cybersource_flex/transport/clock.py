"""The difference between this machine's clock and the host's, learned from the ``Date`` of the host's responses.

It is used for two things. After a 401, requests are signed with the host's time, because a signature with a wrong time
is rejected. And tokens that come from the host are not called "not yet valid" only because this machine's clock is
behind. It never extends the life of a token: expiry is judged by whichever of the two clocks is later.
"""

from __future__ import annotations

import time
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

from .._lock import Lock

__all__ = ["Clock", "HostTime"]

# Seconds. HTTP dates have whole seconds and responses take time: less than this is no difference worth signing with.
THRESHOLD: Final = 30.0
# One day. A difference that is larger comes from a wrong Date and not from a wrong clock.
MOST: Final = 86_400.0
# Seconds. When the wall clock and the monotonic clock have moved apart by more, this machine's clock was set meanwhile.
_SET: Final = 5.0


class HostTime(NamedTuple):
    """The host's clock, compared with this machine's.

    Attributes:
        ahead: seconds by which the host's clock is ahead of this machine's; negative where it is behind.
        error: seconds by which ``ahead`` may be wrong, because of the time that the response took.
        ignored: why the difference is reported but not used; empty where it is used.
    """

    ahead: float
    error: float = 0.0
    ignored: str = ""


class _Measurement(NamedTuple):
    ahead: float
    error: float
    # This machine's two clocks at that moment.
    wall: float
    monotonic: float


class Clock:
    """The time to sign with, and the host's time. Safe in threads.

    Args:
        correct: whether the host's time may be used at all.
    """

    def __init__(self, *, correct: bool = True) -> None:
        self._correct = correct
        self._lock = Lock()
        self._last: _Measurement | None = None
        # The last date with its value: many responses have the same, and parsing it is slow.
        self._read: tuple[str | None, float] = (None, 0.0)
        self._offset = 0.0

    def __repr__(self) -> str:
        return f"<Clock measured={self.measured!r} offset={self._offset!r}>"

    @property
    def measured(self) -> float | None:
        """Seconds by which the host's clock was ahead of ours in its last response, to about a second; None before."""
        last = self._last
        return None if last is None else last.ahead

    @property
    def offset(self) -> float:
        """Seconds that are added to our time when signing. Zero until a host has rejected our time."""
        return self._offset

    def now(self) -> float:
        """The time to sign with, in seconds since the epoch."""
        return time.time() + self._offset

    def learn(self, date: str | None, *, sent: float, received: float) -> None:
        """Measure the difference with the ``Date`` of a response (RFC 9110 section 6.6.1).

        Args:
            date: the header, or None.
            sent: our time when the request was sent, in seconds since the epoch.
            received: our time when the response arrived.
        """
        measured = self._measure(date, sent, received)
        if measured is not None:
            self._last = measured

    def host_time(self) -> HostTime | None:
        """The host's clock according to its last response.

        None before the first response, and after this machine's clock was set: the difference is unknown then.
        """
        last = self._last
        if last is None:
            return None
        if abs((time.time() - last.wall) - (time.monotonic() - last.monotonic)) > _SET:
            return None
        return self._host_time(last)

    def host_time_of(self, date: str | None, *, sent: float, received: float) -> HostTime | None:
        """The host's clock according to one response; for a token in that response.

        Arguments are those of ``learn``. Without a date that can be read, the same as ``host_time``.
        """
        measured = self._measure(date, sent, received)
        return self.host_time() if measured is None else self._host_time(measured)

    def adopt(self) -> bool:
        """Sign with the measured difference from now on, after a rejection. Returns whether that is a new time."""
        with self._lock:
            # Other threads go on measuring.
            measured = self.measured
            if not self._correct or measured is None or abs(measured) > MOST:
                return False
            if abs(measured - self._offset) < THRESHOLD:
                return False
            self._offset = measured
            return True

    def _measure(self, date: str | None, sent: float, received: float) -> _Measurement | None:
        if date is None:
            return None
        known, host = self._read
        if date != known:
            try:
                found = parsedate_to_datetime(date)
                # Without a zone (-0000), Python would take the local one.
                host = (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
            except (ValueError, OverflowError):
                return None
            self._read = date, host
        # The host wrote it at some moment in between, and left out the fraction of the second.
        ahead, error = host + 0.5 - (sent + received) / 2, 0.5 + abs(received - sent) / 2
        return _Measurement(ahead, error, time.time(), time.monotonic())

    def _host_time(self, measured: _Measurement) -> HostTime:
        ignored = ""
        if abs(measured.ahead) > MOST:
            ignored = "more than a day, which is taken for a wrong Date"
        elif not self._correct:
            ignored = "not used, because correct_clock is off"
        return HostTime(measured.ahead, measured.error, ignored)
