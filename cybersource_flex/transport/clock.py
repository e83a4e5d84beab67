"""Measure the difference between the host's clock and this machine's, from the ``Date`` header of responses.

The difference has two uses. After a 401, the request is signed with the host's time, because the host rejects
signatures with a wrong time. A token from the host is not rejected as "not yet valid" if only this machine's clock says
so. The difference never extends the validity of a token: a token has expired if either of the two clocks says so.
"""

from __future__ import annotations

import time
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

from .._runtime.lock import ForkSafeLock
from .._runtime.monotonic import monotonic

__all__ = ["CLOCK_SET", "Clock", "HostTime", "parse_http_date"]

# Seconds. Smaller differences are not corrected: HTTP dates have whole seconds, and responses take time.
MIN_OFFSET: Final = 30.0
# One day. A larger difference is more likely a wrong Date header than a wrong clock.
MAX_OFFSET: Final = 86_400.0
# Seconds. If the wall clock and the monotonic clock have diverged by more, this machine's clock was set.
CLOCK_SET: Final = 5.0


class HostTime(NamedTuple):
    """The host's clock, compared with this machine's.

    Attributes:
        offset: seconds by which the host's clock is ahead of this machine's; negative if it is behind.
        max_error: maximum error of ``offset`` in seconds, caused by the duration of the response.
        ignored_reason: why the difference is reported but not used. Empty if the difference is used.
    """

    offset: float
    max_error: float = 0.0
    ignored_reason: str = ""


def parse_http_date(value: str) -> float | None:
    """Convert a date in a header to seconds since the epoch. None if it is invalid.

    All three forms of RFC 9110 section 5.6.7 are accepted.
    """
    try:
        parsed = parsedate_to_datetime(value)
        # Without a time zone, as in the form of asctime() and with -0000, Python would assume the local one.
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


class _Measurement(NamedTuple):
    host_time: HostTime
    # This machine's clocks when the response was received.
    wall: float
    monotonic: float


class Clock:
    """Clock that gives the time to sign with, and measures the host's time. Thread-safe.

    Args:
        correct: whether to use the host's time, for signing and for checking tokens.
    """

    def __init__(self, *, correct: bool = True) -> None:
        self._correct = correct
        self._lock = ForkSafeLock()
        self._last_measurement: _Measurement | None = None
        # Many consecutive responses have the same date, and parsing it is slow.
        self._last_date: tuple[str | None, float] = (None, 0.0)
        self._offset = 0.0

    def __repr__(self) -> str:
        return f"<Clock measured_offset={self.measured_offset!r} offset={self._offset!r}>"

    @property
    def measured_offset(self) -> float | None:
        """Seconds by which the host's clock is ahead of this machine's, within about 1 s. None before any response."""
        last = self._last_measurement
        return None if last is None else last.host_time.offset

    @property
    def offset(self) -> float:
        """Seconds added to this machine's time when signing. Zero until ``apply_offset`` changes it after a 401."""
        return self._offset

    def now(self) -> float:
        """Return the time to sign with, in seconds since the epoch."""
        return time.time() + self._offset

    def observe_date(self, date: str | None, *, sent: float, received: float) -> HostTime | None:
        """Measure the difference of the clocks from the ``Date`` header of a response (RFC 9110 section 6.6.1).

        Returns the host's time. If the date is missing or invalid, it is the result of ``host_time``.

        Args:
            date: value of the header. None if the response has no such header.
            sent: when the request was sent, by this machine's clock, in seconds since the epoch.
            received: when the response was received, by the same clock.
        """
        if date is None:
            return self.host_time()
        last_date, host = self._last_date
        if date != last_date:
            parsed = parse_http_date(date)
            if parsed is None:
                return self.host_time()
            host = parsed
            self._last_date = date, host
        # The host wrote the date between ``sent`` and ``received``, without the fraction of the second.
        offset, max_error = host + 0.5 - (sent + received) / 2, 0.5 + abs(received - sent) / 2
        ignored_reason = ""
        if abs(offset) > MAX_OFFSET:
            ignored_reason = "more than a day, so the Date header is assumed to be wrong"
        elif not self._correct:
            ignored_reason = "not used, because correct_clock is off"
        host_time = HostTime(offset, max_error, ignored_reason)
        self._last_measurement = _Measurement(host_time, time.time(), monotonic())
        return host_time

    def host_time(self) -> HostTime | None:
        """Return the host's time, as measured from its last response.

        None before the first response, or if this machine's clock was changed after the last response.
        """
        last = self._last_measurement
        if last is None:
            return None
        if abs((time.time() - last.wall) - (monotonic() - last.monotonic)) > CLOCK_SET:
            return None
        return last.host_time

    def apply_offset(self) -> bool:
        """Sign with the host's time from now on. Returns False if this is not allowed or would change little."""
        with self._lock:
            # Read once: other threads may measure at the same time. If this machine's clock was set since the
            # measurement, the difference would make a correct signature wrong.
            host_time = self.host_time()
            if host_time is None or host_time.ignored_reason:
                return False
            if abs(host_time.offset - self._offset) < MIN_OFFSET:
                return False
            self._offset = host_time.offset
            return True
