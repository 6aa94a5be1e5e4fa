"""The faults of the control API: for each kind of target, the existing targets and the faults that they take."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from prebook.devstack.proxies.proxy import FaultProxy
from prebook.devstack.supervisor.contract import (
    Brownout,
    ClockSkew,
    CrashMessage,
    EmptyBody,
    Kill,
    MemoryAlarm,
    ProxyFault,
    ProxyState,
    Restart,
    WriteFault,
    WritePrevention,
)
from prebook.devstack.supervisor.process import SupervisedProcess
from prebook.devstack.supervisor.server import SupervisedServer


class FaultTarget(Protocol):
    """Target of a fault: a process, a server or a fault proxy."""

    def info(self) -> msgspec.Struct:
        """Return the state of the target, which the control API sends as JSON."""
        ...


@dataclass(frozen=True)
class FaultSpec:
    """A kind of fault. ``body`` is the type of the request.

    ``inject`` applies a request to one target and returns what took effect. Raises NotRunning, UserError.
    """

    body: type[msgspec.Struct]
    inject: Callable[[Any, Any], Awaitable[msgspec.Struct]]


@dataclass(frozen=True)
class FaultTargets:
    """All targets of a kind. ``name`` is the first segment of their path, in the plural."""

    name: str
    targets: Mapping[str, FaultTarget]
    faults: Mapping[str, FaultSpec]


def process_targets(supervised: Mapping[str, SupervisedProcess]) -> FaultTargets:
    """Return the fault targets of the supervised processes."""
    return FaultTargets("processes", supervised, PROCESS_FAULTS)


def server_targets(servers: Mapping[str, SupervisedServer]) -> FaultTargets:
    """Return the fault targets of the supervised servers."""
    return FaultTargets("servers", servers, SERVER_FAULTS)


def proxy_targets(proxies: Mapping[str, FaultProxy]) -> FaultTargets:
    """Return the fault targets of the proxies."""
    return FaultTargets("proxies", proxies, PROXY_FAULTS)


def _kill(process: SupervisedProcess, kill: Kill) -> Awaitable[msgspec.Struct]:
    return process.kill(kill.down_s)


def _skew(process: SupervisedProcess, skew: ClockSkew) -> Awaitable[msgspec.Struct]:
    return process.skew(skew.skew_s)


def _crash_at(process: SupervisedProcess, request: CrashMessage) -> Awaitable[msgspec.Struct]:
    return process.crash_at(request.message_id)


def _raise_alarm(server: SupervisedServer, alarm: MemoryAlarm) -> Awaitable[msgspec.Struct]:
    return server.raise_alarm(alarm.duration_s)


def _prevent_writes(fault: WriteFault) -> Callable[[SupervisedServer, WritePrevention], Awaitable[msgspec.Struct]]:
    return lambda server, prevention: server.prevent_writes(fault, prevention.duration_s)


def _inject(state: ProxyState) -> Callable[[FaultProxy, ProxyFault], Awaitable[msgspec.Struct]]:
    return lambda proxy, fault: proxy.inject(state, fault)


PROCESS_FAULTS: Mapping[str, FaultSpec] = {
    "kill": FaultSpec(Kill, _kill),
    "brownout": FaultSpec(Brownout, SupervisedProcess.brown_out),
    "skew": FaultSpec(ClockSkew, _skew),
    "crash_message": FaultSpec(CrashMessage, _crash_at),
    "pause": FaultSpec(EmptyBody, lambda process, _: process.pause()),
    "resume": FaultSpec(EmptyBody, lambda process, _: process.resume()),
}
SERVER_FAULTS: Mapping[str, FaultSpec] = {
    "restart": FaultSpec(Restart, SupervisedServer.restart),
    "alarm": FaultSpec(MemoryAlarm, _raise_alarm),
    **{fault.value: FaultSpec(WritePrevention, _prevent_writes(fault)) for fault in WriteFault},
}
PROXY_FAULTS: Mapping[str, FaultSpec] = {
    state.value: FaultSpec(ProxyFault, _inject(state)) for state in ProxyState if state is not ProxyState.HEALTHY
}
