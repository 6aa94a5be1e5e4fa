"""What the supervisor keeps running, what may be done to it, and what it says about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec

DownTimeS = Annotated[float, msgspec.Meta(ge=0, le=300)]
DurationS = Annotated[float, msgspec.Meta(gt=0, le=300)]
PhaseS = Annotated[float, msgspec.Meta(ge=0.01, le=5)]


class ProcessState(StrEnum):
    """``down``: not running now, and started again by itself. ``failed``: given up, since it can never work."""

    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    BROWNOUT = "brownout"
    DOWN = "down"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True)
class ProcessSpec:
    """``ready_url`` answers 200 once the process can work. Without a ``log`` its output goes where ours goes."""

    name: str
    args: Sequence[str]
    env: Mapping[str, str]
    ready_url: str
    log_file: Path | None = None


class ProcessInfo(msgspec.Struct, frozen=True, kw_only=True):
    """``restarts`` counts every start after the first. ``started_at`` is in Unix seconds."""

    name: str
    state: ProcessState
    pid: int | None
    restarts: int
    started_at: float | None
    rss_bytes: int | None
    last_status: int | None
    clock_skew_s: float = 0.0
    """As last wanted by the control API."""


class Kill(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """SIGKILL, and not started again before ``hold_s`` seconds have passed."""

    down_s: DownTimeS = 0.0


class Brownout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For ``for_s`` seconds the process is stopped and woken in turn, like one that gets too little processor time."""

    duration_s: DurationS
    stopped_s: PhaseS = 0.4
    running_s: PhaseS = 0.1


class ClockSkew(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Started again in order, with a clock that is ``by_s`` seconds ahead (behind, below zero); 0 undoes it."""

    skew_s: Annotated[float, msgspec.Meta(ge=-86_400, le=86_400)]


class ShutdownMode(StrEnum):
    """SIGKILL, or asked to stop in order."""

    KILL = "kill"
    STOP = "stop"


class Restart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part is ended, kept down for ``hold_s`` seconds, and started again on the same data and ports."""

    shutdown: ShutdownMode
    down_s: DownTimeS = 0.0


class MemoryAlarm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The broker has too little memory for ``for_s`` seconds: whoever publishes is blocked."""

    duration_s: DurationS


class ServerState(StrEnum):
    """``down``: sent away and not ready again yet, or ended by itself."""

    RUNNING = "running"
    DOWN = "down"


class ServerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """``restarts`` counts those that are done. ``alarm``: a memory alarm of ours is on, or being lifted."""

    name: str
    version: str
    pid: int | None
    state: ServerState
    restarts: int
    alarm: bool


class ProxyState(StrEnum):
    """What becomes of the bytes on a link, and of who connects.

    ``slow``: late, each way. ``cut``: connections are reset, and refused. ``black_hole``: swallowed both ways, and
    nobody hears that a connection ended. ``half_open``: what the far end says is swallowed, so that requests have
    their effect and answers are lost. A connection that lost bytes is reset when the link is whole again.
    """

    HEALTHY = "healthy"
    SLOW = "slow"
    CUT = "cut"
    BLACK_HOLE = "black_hole"
    RESPONSE_LOSS = "response_loss"


class ProxyFault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For ``for_s`` seconds. ``delay_ms``, each way, is for a slow link."""

    duration_s: DurationS
    delay_ms: Annotated[float, msgspec.Meta(ge=0, le=10_000)] = 200.0


class ProxyInfo(msgspec.Struct, frozen=True, kw_only=True):
    """``address``: host and port of the first of its places to connect to. ``for_s``: how long the fault lasts that was
    just asked for."""

    name: str
    state: ProxyState
    connections: int
    address: str
    duration_s: float | None = None


class EmptyBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An empty body."""


class NotRunning(Exception):
    """There is no process now that this could be done to."""


class FaultEffect(msgspec.Struct, frozen=True, kw_only=True):
    """What took effect, on which process, and for how long (None: until it is undone)."""

    name: str
    fault: str
    pid: int
    duration_s: float | None = None
