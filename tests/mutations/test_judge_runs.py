"""Mutation controls of the judge: it fails the run of a suite with seeded defects, and passes one without."""

from pathlib import Path

import pytest

from tests.mutations.judge_runs import CONTROLS, JUDGE_RUNS, JudgeRun, run_judge

MIN_DEFECTS = 25
SHORT = ("messaging.dropped_after_acknowledgement", "responses", "effects")
"""Runs in CI; the page in docs/results has all of them."""
REAL = (pytest.mark.real, pytest.mark.long, pytest.mark.timeout(300))
SHORT_RUNS = [pytest.param(run, marks=REAL, id=run.name) for run in JUDGE_RUNS if run.name in SHORT]


@pytest.mark.parametrize("run", SHORT_RUNS)
def test_the_judge_finds_every_defect_of_a_suite(run: JudgeRun, tmp_path: Path) -> None:
    verdict = run_judge(run, tmp_path)
    missed = [defect.name for defect in run.defects if not verdict.find(defect)]
    assert not missed, verdict.output[-6000:]


@pytest.mark.parametrize("run", [pytest.param(CONTROLS[-1], marks=REAL)])
def test_the_judge_passes_a_suite_whose_handlers_only_fail_at_first(run: JudgeRun, tmp_path: Path) -> None:
    verdict = run_judge(run, tmp_path)
    assert verdict.status == 0, verdict.output[-6000:]


def test_the_defects_are_distinct_numerous_and_listed_with_their_verdict() -> None:
    defects = [defect.name for run in JUDGE_RUNS for defect in run.defects]
    assert len(set(defects)) == len(defects) >= MIN_DEFECTS
    assert len(SHORT_RUNS) == len(SHORT)
    page = (Path(__file__).parents[2] / "docs/results/mutations.md").read_text(encoding="utf-8")
    assert [defect for defect in defects if f"`{defect}`" not in page] == []
