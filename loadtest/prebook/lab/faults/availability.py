"""Which faults this suite can be given, and for the others why not."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from prebook.flows import OPERATIONS
from prebook.lab.faults.broker_channel import opened
from prebook.lab.faults.catalogue import CATALOGUE
from prebook.lab.faults.fault_access import Levers
from prebook.lab.faults.model import Fault, FaultKind, Need
from prebook.lab.suite_client.broker_management import BrokerRefused
from prebook.lab.suite_client.supervisor import Control, ControlRefused, Link, Part, Process

NO_CONTROL = "no supervisor is known: no suite is up, or PREBOOK_CONTROL_<SERVICE> is not set"
Listed = Sequence[Process] | Sequence[Part] | Sequence[Link]


@dataclass(frozen=True)
class Abilities:
    """Names of what there is. Empty texts: it is there; else why it is not. ``nodes``: of the broker."""

    processes: frozenset[str] = frozenset()
    parts: frozenset[str] = frozenset()
    links: frozenset[str] = frozenset()
    nodes: int = 0
    no_control: str = ""
    no_management: str = ""
    no_amqp: str = ""


async def ask(levers: Levers) -> Abilities:
    """One round of questions, all at once. Who does not answer has nothing."""
    processes, parts, links, (nodes, no_management), no_amqp = await asyncio.gather(
        _processes(levers),
        _names(levers, "", Control.parts),
        _names(levers, "", Control.links),
        _nodes(levers),
        _no_amqp(levers),
    )
    return Abilities(
        processes=processes,
        parts=parts,
        links=links,
        nodes=nodes,
        no_control="" if levers.controls else NO_CONTROL,
        no_management=no_management,
        no_amqp=no_amqp,
    )


async def _processes(levers: Levers) -> frozenset[str]:
    """Each is asked for at its own supervisor: one that does not answer takes its own process along, no other."""
    told = await asyncio.gather(*(_names(levers, service, Control.processes) for service in levers.controls))
    return frozenset(service for service, known in zip(levers.controls, told, strict=True) if service in known)


async def _names(levers: Levers, of: str, listed: Callable[[Control], Awaitable[Listed]]) -> frozenset[str]:
    try:
        return frozenset(each.name for each in await listed(levers.control(of)))
    except ControlRefused:
        return frozenset()


async def _nodes(levers: Levers) -> tuple[int, str]:
    try:
        return len(await levers.broker.get("nodes")), ""
    except BrokerRefused as refused:
        return 0, str(refused)


async def _no_amqp(levers: Levers) -> str:
    if not levers.amqp_url:
        return "the broker's address is not known: PREBOOK_AMQP_URL is not set"
    try:
        async with opened(levers):
            return ""
    except Exception as error:  # noqa: BLE001 - whatever keeps us from the broker is the reason
        return f"the broker does not take us as an administrator: {str(error) or type(error).__name__}"


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
