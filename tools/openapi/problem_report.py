"""Show the problems of a specification: those of one rule together, with the first places and their number."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from openapi.document import Problem

PLACES: Final = 3

# What a message quotes from the specification. Problems that differ in nothing else belong to one rule.
_QUOTED: Final = re.compile(r"(?<=the name )('[^']*'|\S+?)(?=[ :]|$)|\[[^]]*\]|'[^']*'|#/\w+/\w+/\S+")


def grouped(problems: Iterable[Problem]) -> Iterator[str]:
    """The lines of a report: each rule, the most frequent one first, with the first three places.

    Args:
        problems: the problems, as ``place: what``.
    """
    rules: dict[str, list[Problem]] = {}
    for problem in problems:
        rules.setdefault(_QUOTED.sub("...", what(problem)), []).append(problem)
    for rule, members in sorted(rules.items(), key=lambda entry: -len(entry[1])):
        if len(members) == 1:
            yield members[0]
            continue
        yield f"{len(members)} places: {rule}"
        yield from (f"  {_shown(problem, rule)}" for problem in members[:PLACES])
        if len(members) > PLACES:
            yield f"  and {len(members) - PLACES} more; `make spec-lint` lists all"


def what(problem: Problem) -> str:
    """A problem without its place."""
    place, separator, message = problem.partition(": ")
    return message if separator and place.startswith("#") else problem


def _shown(problem: Problem, rule: str) -> str:
    """The place alone, or the whole problem where the rule leaves something out."""
    return problem if "..." in rule else problem.removesuffix(f": {rule}")
