"""CPU of a whole call: a typed request built, signed, sent, and its answer read.

Beside it raw urllib3 with a signature made by hand, in this process, and the official SDK and stock
generator output, each in its own.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack

import by_hand
import ours
import peers
from measure import Local, Reading, Remote, compare, ratio, stub

NAMES = {"HTTP Signature": "http_signature", "JWT HS256": "hs256", "JWT RS256": "rs256"}
ROUNDS, ROUNDS_OF_THE_SLOW = 150, 40


def measure() -> dict[str, Reading]:
    readings = {}
    for scheme, name in NAMES.items():
        with ExitStack() as stack:
            url = stack.enter_context(stub())
            floor, mine = Local(by_hand.call(scheme, url)), Local(ours.call(scheme, url))
            turns = compare({"urllib3": floor, "ours": mine}, ROUNDS)
            readings[f"call.{name}"] = ratio(turns, "ours", "urllib3")
            # With a process in memory for each, which the closer comparison above does without.
            others = {"official": stack.enter_context(Remote(peers.official(), "official.call", scheme, url))}
            # Its environment has no cryptography.
            if scheme != "JWT RS256":
                others["stock"] = stack.enter_context(Remote(peers.stock(), "stock.call", scheme, url))
            turns = compare({"urllib3": floor, "ours": mine, **others}, ROUNDS_OF_THE_SLOW)
            for peer in others:
                readings[f"call.{name}_{peer}"] = ratio(turns, "ours", peer)
    # What is left for anything that signs with this key on this machine.
    readings["call.rs256_floor"] = ratio(turns, "urllib3", "official")
    return readings


if __name__ == "__main__":
    import run

    sys.exit(run.main(["call"]))
