"""The wheel's size, and that of all that is installed with it: files as they lie in site-packages, compiled ones too.

pip and setuptools are not counted, though the official SDK needs the latter at run time.
"""

from __future__ import annotations

import sys

import peers
from measure import Reading, Spread


def exactly(value: float) -> Spread:
    return Spread(value, value, value)


def measure() -> dict[str, Reading]:
    ours, official = (
        sum(size for _, size in peers.distributions(python).values()) / 1e6
        for python in (peers.ours(), peers.official())
    )
    wheel = exactly(peers.wheel().stat().st_size / 1000)
    return {
        "size.wheel": Reading(wheel, wheel, exactly(0.0), "KB"),
        "size.installed": Reading(exactly(ours / official), exactly(ours), exactly(official), "MB"),
    }


if __name__ == "__main__":
    import run

    sys.exit(run.main(["size"]))
