"""Read the ledger: the assumptions about the service, and observations of what the real host did.

``assumptions.json`` contains both. ``docs/assumptions.md`` is generated from it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["CERTAINTIES", "Assumption", "Ledger", "Observation", "load_ledger"]

_FILE: Final = Path(__file__).with_name("assumptions.json")

#: How sure an entry is, the most certain first, and what that means.
CERTAINTIES: Final = {
    "demonstrated": "shown by published tokens, keys or requests, or by the code of an official SDK",
    "documented": "stated by CyberSource's guides, specification or release notes, or by an RFC",
    "reported": "found in public code or reports of other users of the service",
    "inferred": "a conclusion; no source states it",
}


@dataclass(frozen=True)
class Assumption:
    """A statement about the service on which the package relies.

    Attributes:
        id: name of the assumption. It does not change between versions.
        area: subject of the statement.
        statement: what is assumed.
        source: where the statement comes from.
        certainty: how sure it is, one of ``CERTAINTIES``.
        code: what depends on it, as ``file:name``. The file is relative to the package.
        if_wrong: the effect on users if the statement is wrong.
        not_checked: why the probe cannot check it. None if ``probe.plan`` has a check for it.
    """

    id: str
    area: str
    statement: str
    source: str
    certainty: str
    code: tuple[str, ...]
    if_wrong: str
    not_checked: str | None = None


@dataclass(frozen=True)
class Observation:
    """What a host was seen to do, according to published data or public reports.

    Attributes:
        id: name of the observation.
        date: day of the response, or None if it is not stated.
        host: name of the host, or None if it is not stated.
        request: what was sent.
        response: what was returned.
        published_in: where it was published.
        certainty: how sure it is, one of ``CERTAINTIES``.
        assumptions: ids of the assumptions that it concerns.
    """

    id: str
    date: str | None
    host: str | None
    request: str
    response: str
    published_in: str
    certainty: str
    assumptions: tuple[str, ...]


@dataclass(frozen=True)
class Ledger:
    """All assumptions and observations, in the order of the file."""

    assumptions: tuple[Assumption, ...]
    observations: tuple[Observation, ...]


def load_ledger() -> Ledger:
    """Read the ledger of this version of the package."""
    entries = json.loads(_FILE.read_text(encoding="utf-8"))
    return Ledger(
        tuple(Assumption(**{**entry, "code": tuple(entry["code"])}) for entry in entries["assumptions"]),
        tuple(
            Observation(**{**entry, "assumptions": tuple(entry["assumptions"])}) for entry in entries["observations"]
        ),
    )
