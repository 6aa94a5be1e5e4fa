"""Which faults this suite can be given, and for the others why not."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from loadtest.faults.abilities import Abilities, ask
from loadtest.faults.catalogue import CATALOGUE
from loadtest.faults.levers import Levers
from loadtest.faults.values import Fault, FaultKind, Need
from prebook.flows import OPERATIONS

NO_LINKS = "the suite runs without links; start it with `prebook up --links`"
ONE_NODE = "the broker has one node"
OF_PROCESSES = frozenset({FaultKind.KILL, FaultKind.PAUSE, FaultKind.BROWNOUT, FaultKind.SKEW, FaultKind.QUEUE_FULL})
"""Kinds whose target is a process; the others name a part, or a link."""


@dataclass(frozen=True)
class Availability:
    fault: Fault
    why_not: str
    """Empty where it can be injected here."""


async def survey(levers: Levers) -> Sequence[Availability]:
    """The whole catalogue, in its order."""
    abilities = await ask(levers)
    return [Availability(fault, lacking(fault, abilities)) for fault in CATALOGUE.values()]


async def available(levers: Levers) -> Sequence[Fault]:
    """Those that can be injected here."""
    return [each.fault for each in await survey(levers) if not each.why_not]


def lacking(fault: Fault, has: Abilities) -> str:
    """Why it cannot be injected; empty where it can. Pure."""
    return "; ".join(reason for need in Need if need in fault.needs and (reason := REASONS[need](fault, has)))


def _no_process(fault: Fault, has: Abilities) -> str:
    wanted = fault.kind in OF_PROCESSES and fault.target not in has.processes
    return has.no_control or (f"the supervisor knows no process {fault.target}" if wanted else "")


def _no_part(fault: Fault, has: Abilities) -> str:
    here = has.no_control or fault.target in has.parts
    return "" if here else f"the supervisor did not start the {fault.target} itself"


def _no_link(fault: Fault, has: Abilities) -> str:
    if has.no_control or fault.target in has.links:
        return ""
    return f"the supervisor knows no link {fault.target}" if has.links else NO_LINKS


REASONS: Mapping[Need, Callable[[Fault, Abilities], str]] = {
    Need.CONTROL: _no_process,
    Need.MANAGEMENT: lambda _, has: has.no_management,
    Need.AMQP: lambda _, has: has.no_amqp,
    Need.OPERATIONS: lambda _, has: "" if OPERATIONS in has.processes else f"no {OPERATIONS} is running",
    Need.PARTS: _no_part,
    Need.LINKS: _no_link,
    Need.CLUSTER: lambda _, has: "" if has.no_management or has.nodes > 1 else ONE_NODE,
}
"""For each need: why this suite does not have it for this fault, or nothing."""
