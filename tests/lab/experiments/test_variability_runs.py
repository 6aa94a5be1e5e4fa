"""A trial of the variability matrix on a real suite, and one that must fail because nothing is changed."""

import asyncio
from dataclasses import replace

import pytest

from prebook.contracts.plan import Coupling
from prebook.devstack.command_line import log_to_stderr
from prebook.lab.experiments.variability.catalogue import VARIATIONS
from prebook.lab.experiments.variability.cell import Verdict
from prebook.lab.experiments.variability.run import MatrixPlan, run_matrix
from prebook.lab.experiments.variability.site import TrialSite
from prebook.lab.experiments.variability.trial import QUICK

pytestmark = [pytest.mark.real, pytest.mark.long, pytest.mark.timeout(400)]
PROVIDER_AWAY = next(each for each in VARIATIONS if each.name == "temporal-provider")


async def do_nothing(_: TrialSite) -> None:
    await asyncio.sleep(1.0)


async def test_an_outage_is_seen_in_every_coupling_and_none_is_a_problem() -> None:
    variations = [PROVIDER_AWAY, replace(PROVIDER_AWAY, apply=do_nothing, detail="seeded")]
    matrix = await run_matrix(MatrixPlan(variations, QUICK, 3, "a test"), log_to_stderr, lambda _: None)
    away, not_away = matrix.rows
    assert away.problems == []
    for cell in away.cells:
        assert cell.counts is not None
        assert cell.counts.failed if cell.verdict is Verdict.BREAKS else cell.counts.late
    assert not_away.cells[list(Coupling).index(Coupling.SYNC_API)].verdict is not Verdict.BREAKS
    assert not_away.problems, "an expected verdict that nothing has caused is a problem"
