"""Experiment: who waits for whom in each plan, by the scorecard of the model."""

from collections.abc import Mapping

import msgspec

from prebook.contracts.plan import Coupling
from prebook.devstack.errors import UserError
from prebook.lab.experiments.experiment import Experiment, ExperimentRun, Measurement, ResultTable, Section
from prebook.lab.experiments.law import LawCheck, LawVerdict, Relation, check_law
from prebook.lab.experiments.model.commands import ModelSize, run_prebook

WAITING = "temporal edges = 0"
UP_AT_ONCE = "services that must be up at once = 1"
UNIFORM_PLANS = tuple(map(str, Coupling))


class PlanFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Sums of a plan in the scorecard."""

    plan: str
    temporal_edges: int
    up_at_once: int
    known_addresses: int
    hops: int
    needs_broker: bool


class _Scorecard(msgspec.Struct, frozen=True):
    plans: tuple[PlanFigures, ...]


async def measure(run: ExperimentRun, _: ModelSize) -> Measurement:
    """Read the scorecard of the plans in which every flow has the same coupling. Raises UserError."""
    run.log("prebook coupling scorecard")
    done = await run_prebook("coupling", "scorecard", "--json")
    if done.status:
        raise UserError(done.stderr, "run `prebook coupling scorecard`")
    card = msgspec.json.decode(done.stdout, type=_Scorecard)
    plans = {each.plan: each for each in card.plans if each.plan in UNIFORM_PLANS}
    return Measurement(checks=plan_checks(plans), tables=[_table(plans)])


def plan_checks(plans: Mapping[str, PlanFigures]) -> list[LawCheck]:
    """Return the checks that nobody waits, which only the synchronous plan is expected to violate."""
    checks = []
    for name, plan in plans.items():
        expected = LawVerdict.VIOLATED if name == Coupling.SYNC_API else LawVerdict.HELD
        waits = ("edges", plan.temporal_edges)
        checks.append(check_law(WAITING, name, waits, Relation.EQUAL, ("", 0), expected=expected))
        at_once = ("services", plan.up_at_once)
        checks.append(check_law(UP_AT_ONCE, name, at_once, Relation.EQUAL, ("", 1), expected=expected))
    return checks


def _table(plans: Mapping[str, PlanFigures]) -> ResultTable:
    return ResultTable.by_arrangement(
        "Coupling of whole plans",
        ("plan", "temporal edges", "services up at once", "known addresses", "hops", "needs the broker"),
        plans,
        lambda p: (p.temporal_edges, p.up_at_once, p.known_addresses, p.hops, "yes" if p.needs_broker else "no"),
        "A hop is a step from one process or part of the broker to the next; events are not in it.",
    )


TEMPORAL_EDGES = Experiment(
    name="temporal-edges",
    section=Section.COUPLING,
    claims=("A1", "B2"),
    code="shared/prebook/topology/scorecard.py",
    claim="Synchronous calls couple services in time; messages do not, and cost more hops.",
    varies="the coupling of all flows",
    law=f"{WAITING}; {UP_AT_ONCE}",
    wrong_way="every flow is a synchronous call: callers wait, and all services must be up at once",
    expected="Only the synchronous plan has temporal edges; the plans over the broker have three times the hops.",
    full=ModelSize(),
    quick=ModelSize(),
    measure=measure,
)
