"""Resident memory of a process that has imported a client and made its first call."""

from __future__ import annotations

import sys
from pathlib import Path

import peers
import psutil
from measure import Reading, Remote, ratio, stub, take_turns

SCHEME, ROUNDS = "JWT HS256", 5


def resident(python: Path, factory: str, url: str) -> float:
    """Megabytes, asked of the system from outside."""
    with Remote(python, factory, SCHEME, url) as contender:
        return float(psutil.Process(contender.process.pid).memory_info().rss / 1e6)


def measure() -> dict[str, Reading]:
    with stub() as url:
        contenders = {
            "ours": lambda: resident(peers.ours(), "ours.call", url),
            "urllib3": lambda: resident(peers.ours(), "by_hand.call", url),
            "official": lambda: resident(peers.official(), "official.call", url),
            "stock": lambda: resident(peers.stock(), "stock.call", url),
        }
        turns = take_turns(contenders, ROUNDS)
    return {f"memory.{peer}": ratio(turns, "ours", peer, "MB") for peer in ("official", "urllib3", "stock")}


if __name__ == "__main__":
    import run

    sys.exit(run.main(["memory"]))
