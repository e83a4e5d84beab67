"""The side of the `Emulator` that makes things go wrong."""

from __future__ import annotations

from collections.abc import Iterable

from .clock import HostClock
from .director import Director, Entry
from .scenarios import Scenario


class Adversary:
    """Scenarios, by script and at random. All of it may be called while the emulator is running.

    A request gets the scenario that its own header `v-c-emulator-scenario` names; else the next entry of a script;
    else, by chance, one of the faults; else that of the whole host.
    """

    def __init__(self, director: Director, clock: HostClock) -> None:
        self._director = director
        self._clock = clock

    @property
    def scenario(self) -> Scenario | None:
        """That of the whole host; may be set, also from text."""
        return self._director.host

    @scenario.setter
    def scenario(self, scenario: Entry) -> None:
        self._director.host = scenario

    def script(self, entries: Iterable[Entry], path: str | None = None) -> None:
        """Say what the next requests get, one entry each, in the order in which they arrive.

        Replaces the script that was there for the same path. An entry is used up by the request that gets it, also
        when it cannot show there. When all are used up, the host is what it was before.

        Args:
            entries: texts like "status-503;retry-after=1", `Scenario`, or None or "ok" for a normal answer.
            path: only for requests with this path, without the query; with "*" at its end, for all paths that begin
                so. Such a script comes before that for all paths.
        """
        self._director.script(entries, path)

    def faults(
        self,
        rate: float,
        seed: int | None = None,
        scenarios: Iterable[Entry] | None = None,
        path: str | None = None,
    ) -> None:
        """Let requests fail at random.

        Args:
            rate: share of the requests, from 0 (none) to 1 (all).
            seed: with the same one, so many requests have the same faults in the same order of arrival.
            scenarios: what to choose from, all alike; by default resets, broken answers, 429, 500, 502 and 503.
            path: as for `script`.
        """
        self._director.faults(rate, seed, scenarios, path)

    def shift_clock(self, seconds: float) -> None:
        """Let the host's clock be off by so much from now on; 0 sets it right."""
        self._clock.shift = float(seconds)

    def behave(self) -> None:
        """End scripts, faults and the scenario of the host, and set its clock right."""
        self._director.behave()
        self._clock.shift = 0.0
