"""Topology of one plan for the page: the model's own drawing, and the same graph as a list of arrows."""

from collections.abc import Sequence
from functools import lru_cache

import msgspec

from prebook.contracts.plan import Coupling, Plan
from prebook.control_room.backlog import QueueLeg
from prebook.flows import EVENT_TYPES, FLOWS, SERVICES
from prebook.topology.diagrams import arrow_name, svg_diagram
from prebook.topology.model import plan_topology
from prebook.topology.values import Arrow, Leg

DEFAULT = "default"
VIEWS = (*(coupling.value for coupling in Coupling), DEFAULT)
"""Plans that can be drawn: one coupling for every flow, and the suite's default plan."""
MAX_DRAWINGS = 16
"""Drawings that are kept: about 50 kB each."""
EVENT_NAMES = tuple(event_type.name for event_type in EVENT_TYPES)


class ArrowView(msgspec.Struct, frozen=True, kw_only=True):
    """One arrow of the drawing, and where its figures are."""

    name: str
    """Value of ``data-arrow`` in the drawing."""
    flow: str
    """Flow or event type."""
    coupling: str
    """Empty for an event."""
    leg: str
    source: str
    target: str
    label: str
    pulled: bool
    """Whether the target decides when data moves; else the source does."""
    messages: str | None
    """Key of the section ``messages``; None where nothing is counted."""
    count: str
    """Counter of that key: ``sent`` or ``handled``."""


class PlanTopology(msgspec.Struct, frozen=True, kw_only=True):
    """Drawings and graph of one plan: the flows with their couplings, and the events, which no plan changes."""

    plan: str
    couplings: dict[str, Coupling]
    flows_svg: str
    events_svg: str
    arrows: tuple[ArrowView, ...]
    queues: dict[str, str]
    """Queue -> the service that consumes it."""


def draw_plan(name: str, plan: Plan | None = None) -> PlanTopology:
    """Return the topology of a plan: by default, the one that uses the coupling ``name`` for every flow."""
    return _draw(name, tuple((plan or dict.fromkeys(FLOWS, Coupling(name))).items()))


@lru_cache(maxsize=MAX_DRAWINGS)
def _draw(name: str, couplings: tuple[tuple[str, Coupling], ...]) -> PlanTopology:
    plan = dict(couplings)
    topology = plan_topology(plan)
    subtitle = "Arrows point where data goes; solid is pushed, dashed is pulled."

    def draw(what: str, order: Sequence[str]) -> str:
        return svg_diagram(topology, title=f"{what}, {name}", subtitle=subtitle, order=order, embedded=True)

    return PlanTopology(
        plan=name,
        couplings=plan,
        flows_svg=draw("Flows", tuple(FLOWS)),
        events_svg=draw("Events", EVENT_NAMES),
        arrows=tuple(_arrow_view(arrow, plan) for arrow in sorted(topology.arrows)),
        queues={queue.address: queue.consumer for queue in topology.queues},
    )


def queue_legs() -> dict[str, QueueLeg]:
    """Return the legs of all couplings and events that pass a queue, by the key of their receiver's totals."""
    legs = {}
    for coupling in Coupling:
        topology = draw_plan(coupling.value)
        for arrow in topology.arrows:
            if arrow.messages and arrow.source in topology.queues:
                sender_key = "/".join(arrow.messages.split("/")[:3])  # an event's receiver is the fourth part
                legs[arrow.messages] = QueueLeg(sender_key, arrow.messages, arrow.source)
    return legs


def _arrow_view(arrow: Arrow, plan: Plan) -> ArrowView:
    coupling = "" if arrow.swimlane in EVENT_NAMES else plan[arrow.swimlane].value
    is_consumed = arrow.target in SERVICES and (arrow.hop > 0 or arrow.leg is Leg.REPLY)
    return ArrowView(
        name=arrow_name(arrow),
        flow=arrow.swimlane,
        coupling=coupling,
        leg=arrow.leg.value,
        source=arrow.source,
        target=arrow.target,
        label=arrow.label,
        pulled=arrow.pulled,
        messages=_messages_key(arrow, coupling, is_consumed=is_consumed),
        count="handled" if is_consumed else "sent",
    )


def _messages_key(arrow: Arrow, coupling: str, *, is_consumed: bool) -> str | None:
    if arrow.leg is Leg.POLL:
        return None
    if arrow.leg is Leg.EVENT:
        receiver = f"/{arrow.target}" if is_consumed else ""
        return f"{arrow.swimlane}/{Coupling.ONE_WAY.value}/{arrow.leg.value}{receiver}"
    return f"{arrow.swimlane}/{coupling}/{arrow.leg.value}"
