"""The heat map has one level per bin, and stays small."""

import msgspec
import pytest

from prebook.lab.report.heat_map import LEVELS_MS, UNANSWERED, heat_map, level_of, levels
from prebook.lab.report.model import Timeline
from tests.lab.ledger.accounts_builder import START
from tests.lab.report.results import result, scenario


@pytest.mark.parametrize(("latency_ms", "level"), [(1.0, 0), (100.0, 0), (101.0, 1), (5e3, 4), (1e6, len(LEVELS_MS))])
def test_a_latency_has_the_level_of_its_bound(latency_ms: float, level: int) -> None:
    assert level_of(latency_ms) == level


def test_a_bin_without_an_answer_is_unanswered_only_if_rides_were_offered() -> None:
    assert levels([50.0, None, None], [2, 3, 0]) == [0, UNANSWERED, None]


def test_a_row_of_many_bins_has_one_path_per_level() -> None:
    bins = 60
    timeline = Timeline(
        started_at=START,
        bin_s=1,
        offered={"one_way": (1,) * bins},
        answered={"one_way": (1,) * bins},
        outcome_ms={"one_way": tuple(50.0 if position % 2 else None for position in range(bins))},
    )
    item = msgspec.structs.replace(scenario(result("one_way"), fault=True), timeline=timeline)
    page = heat_map(item)
    assert page.count("<path") == 2
    assert page.count("M") == bins
    assert len(page) < 4000
