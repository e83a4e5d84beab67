"""Settings of Hypothesis state machines, in a normal run and in a long one."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# How many times as many examples a long run tries.
FACTOR = int(os.environ.get("CYBERSOURCE_FLEX_STATEFUL_FACTOR", "1"))


def machine_settings(examples: int, steps: int) -> settings:
    """The settings of a state machine.

    A normal run tries the same examples each time, so that a failure in CI can be repeated and a change cannot fail by
    chance. A long run tries others each time. Hypothesis prints the steps of a failure as a program, and in a long run
    also the line ``@reproduce_failure(...)``.

    Args:
        examples: number of sequences in a normal run.
        steps: maximum number of steps in each sequence.
    """
    return settings(
        max_examples=examples * FACTOR,
        stateful_step_count=steps,
        derandomize=FACTOR == 1,
        print_blob=FACTOR > 1,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
