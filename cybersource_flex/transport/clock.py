"""The difference between this machine's clock and the host's, learned from the ``Date`` of its answers.

A signature with a time that is off is refused, and a machine whose clock is off cannot know. The correction is used for
signing alone: it never makes a token that has expired valid again.
"""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import Final

from .._lock import Lock

__all__ = ["Clock"]

# Seconds. HTTP dates have whole seconds and answers take their time: less than this is no difference.
THRESHOLD: Final = 30.0
# A day: whatever says more is not a clock that is off but a host that is wrong.
MOST: Final = 86_400.0


class Clock:
    """The time to sign with. Safe in threads.

    Args:
        correct: whether an offset may be used at all.
    """

    def __init__(self, *, correct: bool = True) -> None:
        self._correct = correct
        self._lock = Lock()
        self._measured: float | None = None
        # The last date with what it says: many answers have the same, and reading it is dear.
        self._read: tuple[str | None, float] = (None, 0.0)
        self._offset = 0.0

    def __repr__(self) -> str:
        return f"<Clock measured={self._measured!r} offset={self._offset!r}>"

    @property
    def measured(self) -> float | None:
        """Seconds by which the host's clock was ahead of ours in its last answer, to about a second; None before."""
        return self._measured

    @property
    def offset(self) -> float:
        """Seconds that are added to our time when signing. Zero until a host has refused our time."""
        return self._offset

    def now(self) -> float:
        """The time to sign with, in seconds since the epoch."""
        return time.time() + self._offset

    def learn(self, date: str | None, *, sent: float, received: float) -> None:
        """Take note of an answer's ``Date`` (RFC 9110 section 6.6.1).

        Args:
            date: the header, or None.
            sent: our time when the request went out, in seconds since the epoch.
            received: our time when the answer came.
        """
        if date is None:
            return
        known, host = self._read
        if date != known:
            try:
                host = parsedate_to_datetime(date).timestamp()
            except (ValueError, TypeError, OverflowError):
                return
            self._read = date, host
        # The host wrote it at some moment in between, and left out the fraction of the second.
        self._measured = host + 0.5 - (sent + received) / 2

    def adopt(self) -> bool:
        """Use the measured offset from now on, after a refusal. Returns whether that changed the time enough."""
        with self._lock:
            # Other threads go on measuring.
            measured = self._measured
            if not self._correct or measured is None or abs(measured) > MOST:
                return False
            if abs(measured - self._offset) < THRESHOLD:
                return False
            self._offset = measured
            return True
