"""Run of a state machine as a test."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test


def run_machine(
    make_machine: Callable[[], RuleBasedStateMachine], config: pytest.Config, *, examples: int, steps: int
) -> None:
    """Run ``examples`` sequences of up to ``steps`` rules.

    The sequences are the same in every run, unless ``--hypothesis-seed`` asks for others.
    """
    run_state_machine_as_test(
        make_machine,  # type: ignore[arg-type]  # any factory will do
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=config.getoption("--hypothesis-seed") is None,
            database=None,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
