"""Select the scenario of a request: from its header, else from a queue, else a random fault, else the default."""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from types import NoneType

from ...errors import ConfigurationError
from ..argument_types import check_list, check_number, check_str
from ..server.messages import ReceivedRequest
from .scenarios import HEADER, Scenario, to_scenario

# An entry of a queue: a scenario, its string, or None for a normal response.
ScenarioEntry = Scenario | str | None

# The default random faults: typical of an overloaded network or host, and quick. close-after is left out: a client may
# send its next request before it notices the close, and that request would not be recorded.
DEFAULT_RANDOM_FAULTS = (
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
    """Queues of scenarios, random faults and the default scenario. Thread-safe.

    Args:
        default: the scenario of requests that get no other one.
    """

    def __init__(self, default: ScenarioEntry) -> None:
        self._lock = threading.Lock()
        self._default = to_scenario(default)
        # By path pattern; None is the queue for all paths.
        self._queues: dict[str | None, deque[Scenario | None]] = {}
        self._random = random.Random()  # noqa: S311
        self._rate, self._path = 0.0, ""
        self._faults: tuple[Scenario | None, ...] = ()

    @property
    def default(self) -> Scenario | None:
        return self._default

    def set_default(self, scenario: ScenarioEntry) -> None:
        self._default = to_scenario(scenario)

    def queue(self, entries: Iterable[ScenarioEntry], path: str | None) -> None:
        """Set the scenarios of the next requests. All entries are parsed first, so an error changes nothing."""
        parsed = deque(map(to_scenario, check_list("entries", entries, str, Scenario, NoneType)))
        _check_pattern(path)
        with self._lock:
            self._queues.pop(path, None)
            if parsed:
                self._queues[path] = parsed

    def set_random_faults(
        self, rate: float, seed: int | None, scenarios: Iterable[ScenarioEntry] | None, path: str | None
    ) -> None:
        """Inject random faults from now on."""
        check_number("rate", rate)
        if seed is not None:
            check_number("seed", seed, whole=True)
        if not 0 <= rate <= 1:
            raise ConfigurationError("rate must be a share of the requests, from 0 to 1")
        entries = DEFAULT_RANDOM_FAULTS if scenarios is None else scenarios
        parsed = tuple(map(to_scenario, check_list("scenarios", entries, str, Scenario, NoneType)))
        if not parsed:
            raise ConfigurationError("random faults need at least one scenario")
        _check_pattern(path)
        with self._lock:
            self._random = random.Random(seed)  # noqa: S311
            self._rate, self._faults, self._path = rate, parsed, "*" if path is None else path

    def reset(self) -> None:
        """Remove queues, random faults and the default scenario."""
        with self._lock:
            self._queues.clear()
            self._rate, self._default = 0.0, None

    def select(self, request: ReceivedRequest, *, only_by_path: bool = False) -> Scenario | None:
        """The scenario of a received request. ScenarioError if its header names an invalid one.

        Args:
            request: the received request.
            only_by_path: use only the request's header and the queues for its path. This is for files that browsers
                load. A page loads several files in any order, and these requests would use up the queue for all paths.
        """
        header = request.headers.get(HEADER)
        if header is not None:
            return to_scenario(header)
        path = request.path
        with self._lock:
            for pattern in self._patterns(path):
                if pattern is None and only_by_path:
                    continue
                queue = self._queues[pattern]
                scenario = queue.popleft()
                if not queue:
                    del self._queues[pattern]
                return scenario
            if only_by_path:
                return None
            # One random number is drawn per request, so that the faults depend only on the number of requests.
            if self._rate and _matches(self._path, path) and self._random.random() < self._rate:
                return self._random.choice(self._faults)
        return self._default

    def _patterns(self, path: str) -> Sequence[str | None]:
        """The queues that match a path, the most specific first."""
        matching = [pattern for pattern in self._queues if pattern is None or _matches(pattern, path)]
        return sorted(matching, key=_specificity, reverse=True)


def _specificity(pattern: str | None) -> tuple[bool, bool, int]:
    """Sort key: an exact path is more specific than a prefix, and a longer prefix than a shorter one."""
    return (pattern is not None, pattern is not None and not pattern.endswith("*"), len(pattern or ""))


def _matches(pattern: str, path: str) -> bool:
    return path.startswith(pattern[:-1]) if pattern.endswith("*") else path == pattern


def _check_pattern(path: str | None) -> None:
    if path is not None:
        check_str("path", path)
    if path is not None and (not path.startswith("/") or "*" in path[:-1] or "?" in path):
        raise ConfigurationError("path must begin with '/' and have no query; a '*' is allowed only at the end")
