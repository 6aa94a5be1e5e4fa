"""Experiments on the two views of one model: committed pictures of the flows, and the resources of each plan."""

import re
from collections import Counter
from collections.abc import Mapping

import msgspec

from prebook.contracts.plan import Coupling
from prebook.flows import FLOWS
from prebook.lab.experiments.experiment import Experiment, ExperimentRun, Measurement, ResultTable, Section
from prebook.lab.experiments.law import LawCheck, LawVerdict, Relation, check_law
from prebook.lab.experiments.model.commands import CHECKOUT, COMMITTED_FILES, ModelSize, run_prebook

DRAWN = re.compile(r'<g data-arrow="([^"]*)"><path class="line( pulled)?"')
PICTURE = "arrows that differ between picture and model = 0"
COMMITTED = "the committed picture"
OUTDATED = "a picture from before the last flow"
DISTINCT = "different pictures = different plans"
FLOW_VIEW = "view of the flows"
RESOURCE_VIEW = "view of the resources"
LAST_FLOW = [*FLOWS][-1]


class _Drawing(msgspec.Struct, frozen=True):
    drawing: str


async def measure_pictures(run: ExperimentRun, _: ModelSize) -> Measurement:
    """Compare the arrows of the committed pictures with those that the model draws now."""
    checks: list[LawCheck] = []
    counts: dict[str, Counter[str]] = {}
    for coupling in Coupling:
        run.log(f"{coupling}.svg")
        committed = arrows_of((CHECKOUT / "docs" / "pictures" / f"{coupling}.svg").read_text())
        model = arrows_of(await _draw("flow", coupling))
        outdated = {name: driver for name, driver in committed.items() if not name.startswith(LAST_FLOW)}
        checks.append(_picture_check(f"{COMMITTED} {coupling}.svg", committed, model, LawVerdict.HELD))
        checks.append(_picture_check(f"{OUTDATED}, {coupling}.svg", outdated, model, LawVerdict.VIOLATED))
        counts[coupling] = Counter(committed.values())
    table = ResultTable.by_arrangement(
        "Arrows by the side that decides when",
        ("coupling", "pushed by the source", "pulled by the target"),
        counts,
        lambda found: (found["source"], found["target"]),
        "Events included.",
    )
    return Measurement(checks=checks, tables=[table])


def arrows_of(svg: str) -> dict[str, str]:
    """Return the arrows of a picture: by the name of each, the side that decides when: source or target."""
    return {name: "target" if pulled else "source" for name, pulled in DRAWN.findall(svg)}


def _picture_check(
    arrangement: str, drawn: Mapping[str, str], model: Mapping[str, str], expected: LawVerdict
) -> LawCheck:
    differing = len(set(drawn.items()) ^ set(model.items()))
    sides = ("differing", differing), Relation.EQUAL, ("", 0)
    return check_law(PICTURE, arrangement, *sides, expected=expected)


async def measure_views(run: ExperimentRun, _: ModelSize) -> Measurement:
    """Draw both views of each plan, and count how many of them differ."""
    drawn: dict[str, set[str]] = {FLOW_VIEW: set(), RESOURCE_VIEW: set()}
    for coupling in Coupling:
        run.log(f"both views of {coupling}")
        drawn[FLOW_VIEW].add(str(sorted(arrows_of(await _draw("flow", coupling)).items())))
        drawn[RESOURCE_VIEW].add(await _draw("resources", coupling))
    plans = ("plans", len(Coupling))
    return Measurement(
        checks=[
            check_law(DISTINCT, FLOW_VIEW, ("pictures", len(drawn[FLOW_VIEW])), Relation.EQUAL, plans),
            check_law(
                DISTINCT,
                RESOURCE_VIEW,
                ("pictures", len(drawn[RESOURCE_VIEW])),
                Relation.EQUAL,
                plans,
                expected=LawVerdict.VIOLATED,
            ),
        ],
        tables=[
            ResultTable.by_arrangement(
                "Two views of one model",
                ("view", "plans", "pictures"),
                drawn,
                lambda found: (len(Coupling), len(found)),
                "The flow view is compared without its title, which names the coupling.",
            )
        ],
    )


async def _draw(view: str, coupling: Coupling) -> str:
    done = await run_prebook("topology", "draw", "--view", view, "--coupling", coupling, "--json")
    return msgspec.json.decode(done.stdout, type=_Drawing).drawing


CONTROL_FLOW_PICTURES = Experiment(
    name="control-flow-pictures",
    section=Section.CONTROL_FLOW,
    claims=("E1",),
    code="shared/prebook/topology/diagrams.py",
    claim="Data flow and control flow differ: every arrow has a side that decides when it moves.",
    varies="the coupling, and the age of the picture",
    law=PICTURE,
    wrong_way="a picture that is older than the last flow",
    expected="The committed pictures are those that the model draws, arrow by arrow and side by side.",
    full=ModelSize(),
    quick=ModelSize(),
    measure=measure_pictures,
    prerequisites=(COMMITTED_FILES,),
)
TWO_VIEWS = Experiment(
    name="two-views",
    section=Section.AUTOMATION,
    claims=("H3",),
    code="shared/prebook/topology/resource_view.py",
    claim="A list of resources does not show the architecture: who sends what to whom, and when.",
    varies="the plan and the view",
    law=DISTINCT,
    wrong_way="the view of the resources, which is the same for every plan",
    expected="Four plans have four pictures of their flows, and one picture of their resources.",
    full=ModelSize(),
    quick=ModelSize(),
    measure=measure_views,
)
