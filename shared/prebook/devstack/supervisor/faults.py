"""What can be broken, and how: for each kind of thing, the members that there are and the faults that they take."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from prebook.devstack.proxies.proxy import Link
from prebook.devstack.supervisor.contract import Alarm, Brownout, Kill, LinkState, Nothing, Restart, Skew, Spoil
from prebook.devstack.supervisor.process import KeptProcess
from prebook.devstack.supervisor.server import KeptPart


class Breakable(Protocol):
    """Something that tells how it is."""

    def info(self) -> msgspec.Struct: ...


@dataclass(frozen=True)
class Fault:
    """The body it takes, and what it does to one member. Says what took effect; raises NotRunning, Trouble."""

    body: type[msgspec.Struct]
    inject: Callable[[Any, Any], Awaitable[msgspec.Struct]]


@dataclass(frozen=True)
class Kind:
    """``name`` is its place in the API, in the plural."""

    name: str
    members: Mapping[str, Breakable]
    faults: Mapping[str, Fault]


def processes(members: Mapping[str, KeptProcess]) -> Kind:
    return Kind("processes", members, OF_A_PROCESS)


def parts(members: Mapping[str, KeptPart]) -> Kind:
    return Kind("parts", members, OF_A_PART)


def links(members: Mapping[str, Link]) -> Kind:
    return Kind("links", members, OF_A_LINK)


def _kill(process: KeptProcess, wanted: Kill) -> Awaitable[msgspec.Struct]:
    return process.kill(wanted.hold_s)


def _skew(process: KeptProcess, wanted: Skew) -> Awaitable[msgspec.Struct]:
    return process.skew(wanted.by_s)


def _alarm(part: KeptPart, wanted: Alarm) -> Awaitable[msgspec.Struct]:
    return part.raise_alarm(wanted.for_s)


def _spoil(state: LinkState) -> Callable[[Link, Spoil], Awaitable[msgspec.Struct]]:
    return lambda link, wanted: link.spoil(state, wanted)


OF_A_PROCESS: Mapping[str, Fault] = {
    "kill": Fault(Kill, _kill),
    "brownout": Fault(Brownout, KeptProcess.brown_out),
    "skew": Fault(Skew, _skew),
    "pause": Fault(Nothing, lambda process, _: process.pause()),
    "resume": Fault(Nothing, lambda process, _: process.resume()),
}
OF_A_PART: Mapping[str, Fault] = {
    "restart": Fault(Restart, KeptPart.restart),
    "alarm": Fault(Alarm, _alarm),
}
OF_A_LINK: Mapping[str, Fault] = {
    state.value: Fault(Spoil, _spoil(state)) for state in LinkState if state is not LinkState.OPEN
}
