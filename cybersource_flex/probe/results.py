"""``Result`` and ``Results``: what a run of the probe found out about each assumption."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, Literal, NamedTuple

from .._credential_detection import find_credential

__all__ = ["Result", "Results", "Verdict", "describe_value"]

Verdict = Literal["confirmed", "contradicted", "not testable"]

# A later finding replaces an earlier one with a lower rank.
_RANK: Final = {"not testable": 0, "confirmed": 1, "contradicted": 2}
_MAX_LENGTH: Final = 40
_MIN_PART: Final = 8
_PLAIN: Final = re.compile(r"[A-Za-z0-9 ,./:_+-]*")
# Numbers with more digits may be ids or card numbers.
_LONG_NUMBER: Final = re.compile(r"[0-9]{7}")


class Result(NamedTuple):
    """What was found out about one assumption.

    Attributes:
        assumption: id of the assumption.
        verdict: whether the host behaved as assumed.
        observed: what the host did, or why the assumption could not be tested.
    """

    assumption: str
    verdict: Verdict
    observed: str


class Results:
    """Collects the results. A contradiction replaces a confirmation, and both replace "not testable"."""

    def __init__(self, assumptions: Iterable[str]) -> None:
        self._results: dict[str, Result | None] = dict.fromkeys(assumptions)

    def __iter__(self) -> Iterator[Result]:
        for name, result in self._results.items():
            yield result or Result(name, "not testable", "not reached")

    def add(self, assumption: str, verdict: Verdict, observed: str) -> None:
        """Add a finding. ``observed`` must not contain a value of the host that ``describe_value`` did not check."""
        if assumption not in self._results:
            raise KeyError(f"there is no assumption {assumption!r}")
        before = self._results[assumption]
        if before is None or _RANK[verdict] > _RANK[before.verdict]:
            self._results[assumption] = Result(assumption, verdict, observed)

    def expect(self, assumption: str, condition: bool, observed: str) -> bool:
        """Add a confirmation or a contradiction. Returns the condition."""
        self.add(assumption, "confirmed" if condition else "contradicted", observed)
        return condition


def describe_value(value: Any, private: Iterable[str] = ()) -> str:
    """Describe a value of a response for the report. A value that may be an id or a secret is not shown.

    Args:
        value: any JSON value.
        private: strings that must not be shown, such as ids of the merchant.
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (int, float)):
        # At most six digits, because the digits after the point may be those of a card number too.
        return f"{value:g}" if abs(value) < 1_000_000 else "a large number"
    if isinstance(value, (list, tuple)):
        return f"an array of {len(value)}"
    if isinstance(value, dict):
        return f"an object of {len(value)}"
    if not isinstance(value, str):
        return "nothing"
    folded = value.casefold()
    entries = [entry.casefold() for entry in private if entry]
    # A short value is part of a long random string by chance.
    is_private = any(entry in folded or (len(folded) >= _MIN_PART and folded in entry) for entry in entries)
    too_long = len(value) > _MAX_LENGTH or _LONG_NUMBER.search(value) is not None
    if is_private or too_long or not _PLAIN.fullmatch(value) or find_credential(value) is not None:
        return f"a string of {len(value)} characters"
    return value or "an empty string"
