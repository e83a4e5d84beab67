"""The report of a run as JSON. It contains no secret, token, id or card data, so it can be sent to other people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from .._version import __version__
from .ledger import Ledger
from .plan import Outcome
from .results import Result

__all__ = ["make_report"]


def make_report(
    ledger: Ledger, results: Iterable[Result], *, host: str, scheme: str, outcome: Outcome, requests: int
) -> dict[str, Any]:
    """Build the report.

    Args:
        ledger: the assumptions that were checked.
        results: one result for each assumption.
        host: URL of the host.
        scheme: name of the authentication scheme.
        outcome: whether all checks were run.
        requests: number of requests that were sent.
    """
    statements = {entry.id: entry.statement for entry in ledger.assumptions}
    entries = [{**result._asdict(), "statement": statements[result.assumption]} for result in results]
    counts = Counter(entry["verdict"] for entry in entries)
    return {
        "ok": counts["contradicted"] == 0 and outcome == "complete",
        "outcome": outcome,
        "version": __version__,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "host": host,
        "scheme": scheme,
        "requests": requests,
        "confirmed": counts["confirmed"],
        "contradicted": counts["contradicted"],
        "not_testable": counts["not testable"],
        "results": entries,
    }
