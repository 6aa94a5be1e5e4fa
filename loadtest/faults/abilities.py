"""What the running suite says that it has, as far as faults need it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from loadtest.control import Control, ControlRefused, Link, Part, Process
from loadtest.faults.levers import Levers
from loadtest.faults.management import BrokerRefused
from loadtest.faults.wire import opened

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
