"""Experiment: the check of the coupling against the level of control, on a loose and on a synchronous plan."""

import msgspec

from prebook.contracts.plan import Coupling
from prebook.devstack.errors import UserError
from prebook.lab.experiments.experiment import Experiment, ExperimentRun, Measurement, ResultTable, Section
from prebook.lab.experiments.law import LawVerdict, Relation, check_law
from prebook.lab.experiments.model.commands import ModelSize, run_prebook

RIGHT = "the default plan"
WRONG = "every flow is a synchronous call"
LOOSE = "tight edges to parties of low control = 0"


class ExternalEdgeFigures(msgspec.Struct, frozen=True, kw_only=True):
    """An edge to a party outside, in the scorecard."""

    edge: str
    party: str
    control: str
    contact: str
    decoupled_by: str
    translators: tuple[str, ...]
    shared_types: tuple[str, ...]


class TightEdgeFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A finding of the check."""

    edge: str
    tightness: str
    problem: str
    remedy: str


class _Findings(msgspec.Struct, frozen=True):
    findings: tuple[TightEdgeFigures, ...]


class _Scorecard(msgspec.Struct, frozen=True):
    external_edges: tuple[ExternalEdgeFigures, ...]


async def measure(run: ExperimentRun, _: ModelSize) -> Measurement:
    """Check the default plan and the synchronous one. Raises UserError if the commands disagree with themselves."""
    run.log("prebook coupling check")
    loose = await _check()
    tight = await _check("--coupling", Coupling.SYNC_API)
    card = await run_prebook("coupling", "scorecard", "--json")
    edges = msgspec.json.decode(card.stdout, type=_Scorecard).external_edges
    wrong = check_law(LOOSE, WRONG, ("edges", len(tight)), Relation.EQUAL, ("", 0), expected=LawVerdict.VIOLATED)
    right = check_law(LOOSE, RIGHT, ("edges", len(loose)), Relation.EQUAL, ("", 0))
    return Measurement(checks=[right, wrong], tables=[_edges_table(edges), _findings_table(tight)])


async def _check(*options: str) -> tuple[TightEdgeFigures, ...]:
    done = await run_prebook("coupling", "check", "--json", *options)
    found = msgspec.json.decode(done.stdout, type=_Findings).findings
    if done.status != bool(found):
        raise UserError(f"exit status {done.status} with {len(found)} findings", "run `prebook coupling check`")
    return found


def _edges_table(edges: tuple[ExternalEdgeFigures, ...]) -> ResultTable:
    return ResultTable(
        title="Edges to parties outside the suite, in the default plan",
        columns=("edge", "party", "control", "contact", "decoupled by", "translators", "messages seen"),
        rows=tuple(
            (
                edge.edge,
                edge.party,
                edge.control,
                edge.contact,
                edge.decoupled_by or "-",
                str(len(edge.translators)),
                ", ".join(edge.shared_types) or "-",
            )
            for edge in edges
        ),
    )


def _findings_table(found: tuple[TightEdgeFigures, ...]) -> ResultTable:
    return ResultTable(
        title=f"Findings if {WRONG}",
        columns=("edge", "reason", "problem", "remedy"),
        rows=tuple((each.edge, each.tightness, each.problem, each.remedy) for each in found),
    )


LEVEL_OF_CONTROL = Experiment(
    name="level-of-control",
    section=Section.COUPLING,
    claims=("A4", "B11"),
    code="shared/prebook/topology/coupling_check.py",
    claim="The less control over a party, the looser the coupling: a check of the model enforces it.",
    varies="the coupling of all flows",
    law=LOOSE,
    wrong_way="every flow is a synchronous call, so that riders wait for partner fleets",
    expected="The default plan has no tight edge; the synchronous plan has one by each flow that leads to a partner.",
    full=ModelSize(),
    quick=ModelSize(),
    measure=measure,
)
