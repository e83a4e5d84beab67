"""Which scenario a request gets: its own header's, else the script's, else a random fault, else the host's."""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Iterable, Sequence

from ..server.messages import ReceivedRequest
from .scenarios import HEADER, Scenario, to_scenario

# What may stand in a script.
ScenarioEntry = Scenario | str | None

# Random faults that end quickly: what a busy network and a busy host do. Not close-after: a client may send its next
# request before it sees the end of the connection, and that request would be in nobody's record.
FAULTS = (
    "reset-before",
    "reset-during",
    "reset-after-request",
    "truncated",
    "status-429",
    "status-503",
    "html-502",
    "empty-500",
)


class ScenarioSelector:
    """Safe in threads: requests are answered in one, and others change what comes next.

    Args:
        scenario: for all requests that nothing else is said about.
    """

    def __init__(self, scenario: ScenarioEntry) -> None:
        self._lock = threading.Lock()
        self._default = to_scenario(scenario)
        # By path, None for all; read from the left.
        self._scripts: dict[str | None, deque[Scenario | None]] = {}
        self._random = random.Random()  # noqa: S311
        self._rate, self._path = 0.0, ""
        self._faults: tuple[Scenario | None, ...] = ()

    @property
    def default(self) -> Scenario | None:
        return self._default

    def set_default(self, scenario: ScenarioEntry) -> None:
        self._default = to_scenario(scenario)

    def queue(self, entries: Iterable[ScenarioEntry], path: str | None) -> None:
        """What the next requests get. All entries are read first: a wrong one changes nothing."""
        if isinstance(entries, str):
            raise ValueError("a script is a list of scenarios, not one text")
        read = deque(to_scenario(entry) for entry in entries)
        _check(path)
        with self._lock:
            self._scripts.pop(path, None)
            if read:
                self._scripts[path] = read

    def set_random_faults(
        self, rate: float, seed: int | None, scenarios: Iterable[ScenarioEntry] | None, path: str | None
    ) -> None:
        """Random faults from now on."""
        if not 0 <= rate <= 1:
            raise ValueError("rate is a share of the requests, from 0 to 1")
        if isinstance(scenarios, str):
            raise ValueError("scenarios is a list, not one text")
        read = tuple(to_scenario(entry) for entry in (FAULTS if scenarios is None else scenarios))
        if not read:
            raise ValueError("random faults need at least one scenario")
        _check(path)
        with self._lock:
            self._random = random.Random(seed)  # noqa: S311
            self._rate, self._faults, self._path = rate, read, "*" if path is None else path

    def reset(self) -> None:
        """Forget all that was said."""
        with self._lock:
            self._scripts.clear()
            self._rate, self._default = 0.0, None

    def select(self, request: ReceivedRequest) -> Scenario | None:
        """The scenario for a request that has arrived; ScenarioError when its own header names none."""
        named = request.headers.get(HEADER)
        if named is not None:
            return to_scenario(named)
        path = request.target.partition("?")[0]
        with self._lock:
            for pattern in self._patterns(path):
                entries = self._scripts[pattern]
                chosen = entries.popleft()
                if not entries:
                    del self._scripts[pattern]
                return chosen
            # One draw a request, so that the number of faults depends on the number of requests alone.
            if self._rate and _matches(self._path, path) and self._random.random() < self._rate:
                return self._random.choice(self._faults)
        return self._default

    def _patterns(self, path: str) -> Sequence[str | None]:
        """Scripts for a path: the most particular first, that for all paths last."""
        found = [pattern for pattern in self._scripts if pattern is None or _matches(pattern, path)]
        return sorted(found, key=_particular, reverse=True)


def _particular(pattern: str | None) -> tuple[bool, bool, int]:
    """A path comes before a beginning of paths, and a longer beginning before a shorter one."""
    return (pattern is not None, pattern is not None and not pattern.endswith("*"), len(pattern or ""))


def _matches(pattern: str, path: str) -> bool:
    return path.startswith(pattern[:-1]) if pattern.endswith("*") else path == pattern


def _check(path: str | None) -> None:
    if path is not None and (not path.startswith("/") or "*" in path[:-1] or "?" in path):
        raise ValueError("path begins with '/' and has no query; only at its end may stand a '*', for any rest")
