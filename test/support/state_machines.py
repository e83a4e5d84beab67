"""Hypothesis state machines: their settings in a normal run and in a long one, and tests for both clients."""

from __future__ import annotations

import os
from unittest import TestCase

from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine

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


def sync_and_async_tests(
    machine: type[RuleBasedStateMachine], machine_settings: settings
) -> tuple[type[TestCase], type[TestCase]]:
    """The tests of a state machine with its attribute ``is_async`` False, and with True."""

    def make_test(name: str, is_async: bool) -> type[TestCase]:
        test = type(name, (machine,), {"is_async": is_async}).TestCase
        test.settings = machine_settings
        return test

    return make_test(f"Sync{machine.__name__}", False), make_test(f"Async{machine.__name__}", True)
