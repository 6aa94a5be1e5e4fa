"""Which faults this suite can be given, and for the others why not."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loadtest.control import ControlRefused
from loadtest.faults.catalogue import CATALOGUE
from loadtest.faults.levers import Levers
from loadtest.faults.management import BrokerRefused
from loadtest.faults.values import Fault, Need


@dataclass(frozen=True)
class Abilities:
    """What the suite says that it has. Empty texts: it is there; else why it is not."""

    processes: frozenset[str] = frozenset()
    no_control: str = ""
    no_management: str = ""


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
    reasons: Mapping[Need, str] = {
        Need.CONTROL: has.no_control or _absent(fault.target, has.processes, "the supervisor knows no process"),
        Need.MANAGEMENT: has.no_management,
    }
    return "; ".join(reason for need in sorted(fault.needs) if (reason := reasons[need]))


def _absent(name: str, known: frozenset[str], words: str) -> str:
    return "" if name in known else f"{words} {name}"


async def ask(levers: Levers) -> Abilities:
    (processes, no_control), no_management = await asyncio.gather(_processes(levers), _no_management(levers))
    return Abilities(processes=processes, no_control=no_control, no_management=no_management)


async def _processes(levers: Levers) -> tuple[frozenset[str], str]:
    """Of all supervisors. One that does not answer takes its own process along, not the others'."""
    if not levers.controls:
        return frozenset(), "no supervisor is known: no suite is up, or PREBOOK_CONTROL_<SERVICE> is not set"
    told = await asyncio.gather(*(_known(levers, service) for service in levers.controls))
    return frozenset(service for service, known in zip(levers.controls, told, strict=True) if known), ""


async def _known(levers: Levers, service: str) -> bool:
    try:
        return service in await levers.control(service).names()
    except ControlRefused:
        return False


async def _no_management(levers: Levers) -> str:
    try:
        await levers.broker.get("overview")
    except BrokerRefused as refused:
        return str(refused)
    return ""
