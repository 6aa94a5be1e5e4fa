"""Commands of the console's load: settings that are given, and the text of its state."""

import click
import pytest

from prebook.control_room.load_contract import LoadPhase, LoadPlan, LoadProgress, LoadSettings, LoadShape, LoadState
from prebook.lab.load.console_commands import _changed, load_text


def test_options_that_are_not_given_leave_the_settings() -> None:
    given = {"rate_per_s": 40.0, "shape": None, "factor": None, "period_s": None, "plans": (), "seed": 7}
    running = LoadSettings(shape=LoadShape.SPIKE, plans=(LoadPlan.ONE_WAY,))
    assert _changed(running, given) == LoadSettings(
        rate_per_s=40, shape=LoadShape.SPIKE, plans=(LoadPlan.ONE_WAY,), seed=7
    )


def test_a_setting_out_of_its_bounds_is_wrong_usage() -> None:
    with pytest.raises(click.UsageError, match="rate_per_s"):
        _changed(LoadSettings(), {"rate_per_s": 5000.0})


def test_the_state_is_an_equation_with_the_reason_of_a_failure() -> None:
    progress = LoadProgress(offered=9, accepted=4, refused=2, failed=1, waiting=2, returned=1, response_p50_ms=12.3)
    text = load_text(LoadState(phase=LoadPhase.FAILED, settings=LoadSettings(), progress=progress, error="no suite"))
    assert text.splitlines() == [
        "failed: 5 rides/s, poisson, plans default, seed 1; no suite",
        "9 offered: 4 accepted (1 after a refusal), 2 refused, 1 failed, 2 waiting; response 12 ms (p50), - (p99)",
    ]
    assert load_text(LoadState()) == "no load: `prebook load start` starts one"
