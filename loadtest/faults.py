"""What is broken on purpose: described as values, carried out by the supervisor, and proven to have taken effect."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

import msgspec

from loadtest.control import Control, ControlRefused
from loadtest.probe import Probe, Sightings

LOOK_EVERY_S = 0.1
RETURN_DEADLINE_S = 30.0
"""How long after its hold a killed process may take to be seen again."""


class FaultKind(StrEnum):
    KILL = "kill"
    BROWNOUT = "brownout"


@dataclass(frozen=True)
class Fault:
    """Times are fractions of the arrivals' duration, so that the fault lies within them at any length."""

    kind: FaultKind
    target: str
    starts: float
    lasts: float
    stopped_s: float = 0.0
    running_s: float = 0.0
    """A brownout stops the process and lets it run in turns of these lengths."""


class FaultWindow(msgspec.Struct, frozen=True, kw_only=True):
    """When the fault was there, and how we know."""

    started_at: datetime
    ended_at: datetime
    took_effect: bool
    evidence: str


async def inject(fault: Fault, for_s: float, control: Control, probe: Probe) -> FaultWindow:
    """Breaks the target for ``for_s`` seconds and returns when it is over. Never raises for a fault that failed."""
    started_at = datetime.now(UTC)
    try:
        async with probe.watching() as seen:
            evidence = await INJECTIONS[fault.kind](fault, for_s, control, seen)
    except (ControlRefused, NoEffect) as failed:
        return window(started_at, took_effect=False, evidence=str(failed))
    return window(started_at, took_effect=True, evidence=evidence)


def window(started_at: datetime, *, took_effect: bool, evidence: str) -> FaultWindow:
    ended_at = datetime.now(UTC)
    return FaultWindow(started_at=started_at, ended_at=ended_at, took_effect=took_effect, evidence=evidence)


class NoEffect(Exception):
    """The supervisor obeyed, but the target was seen alive and well."""


async def kill(fault: Fault, for_s: float, control: Control, seen: Sightings) -> str:
    """Over when the supervisor shows the process under a new id."""
    before = await control.pid(fault.target)
    await control.order(fault.target, "kill", {"hold_s": for_s})
    after = await new_pid(control, fault.target, before, for_s + RETURN_DEADLINE_S)
    if not seen.failures:
        raise NoEffect(f"{fault.target} answered all {seen.count} probes while it should have been down")
    return f"pid {before} killed, pid {after} in its place; {seen.failures} of {seen.count} probes failed meanwhile"


async def new_pid(control: Control, target: str, before: int | None, deadline_s: float) -> int:
    try:
        async with asyncio.timeout(deadline_s):
            while True:
                now = await control.pid(target)
                if now not in {None, before}:
                    return int(now or 0)
                await asyncio.sleep(LOOK_EVERY_S)
    except TimeoutError:
        raise NoEffect(f"{target} still has pid {before}, or none, {deadline_s:.0f} s after the kill") from None


async def brownout(fault: Fault, for_s: float, control: Control, seen: Sightings) -> str:
    """Over when its time is. The supervisor undoes it by itself."""
    turns = {"for_s": for_s, "stopped_s": fault.stopped_s, "running_s": fault.running_s}
    await control.order(fault.target, "brownout", turns)
    await asyncio.sleep(for_s)
    if not seen.failures and seen.slowest_s < fault.stopped_s / 2:
        raise NoEffect(f"{fault.target} answered every probe within {seen.slowest_s * 1e3:.0f} ms")
    return f"slowest of {seen.count} probes {seen.slowest_s * 1e3:.0f} ms, {seen.failures} failed"


INJECTIONS: Mapping[FaultKind, Callable[[Fault, float, Control, Sightings], Awaitable[str]]] = {
    FaultKind.KILL: kill,
    FaultKind.BROWNOUT: brownout,
}
