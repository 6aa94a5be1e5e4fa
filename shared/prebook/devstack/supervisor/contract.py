"""Request and response bodies of the control API, and the description of a process for the supervisor."""

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
    """State of a process. ``down``: ended, and about to be started again. ``failed``: not started again."""

    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    BROWNOUT = "brownout"
    DOWN = "down"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True)
class ProcessSpec:
    """A process to supervise. ``ready_url`` responds with 200 once the process is ready.

    ``log_file``: receives stdout and stderr; if None, the process inherits the supervisor's.
    """

    name: str
    args: Sequence[str]
    env: Mapping[str, str]
    ready_url: str
    log_file: Path | None = None


class ProcessInfo(msgspec.Struct, frozen=True, kw_only=True):
    """State of a process in a response.

    ``restarts`` counts every start after the first. ``started_at`` is in Unix seconds.
    """

    name: str
    state: ProcessState
    pid: int | None
    restarts: int
    started_at: float | None
    rss_bytes: int | None
    last_status: int | None
    clock_skew_s: float = 0.0
    """The clock skew last requested through the control API."""


class Kill(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Request to kill a process, which is not started again before ``down_s`` seconds have passed."""

    down_s: DownTimeS = 0.0


class Brownout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Request for a brownout: a process stops and continues in turn for ``duration_s`` seconds, as if short of CPU."""

    duration_s: DurationS
    stopped_s: PhaseS = 0.4
    running_s: PhaseS = 0.1


class ClockSkew(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Request to restart with a clock that is ``skew_s`` seconds ahead (behind if negative); 0 undoes it."""

    skew_s: Annotated[float, msgspec.Meta(ge=-86_400, le=86_400)]


class CrashMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Request to restart, to crash whenever the message ``message_id`` is received; null: to crash at none."""

    message_id: Annotated[str, msgspec.Meta(pattern=r"^[!-~]{1,255}\Z")] | None


class ShutdownMode(StrEnum):
    """Way to end a server: SIGKILL or an orderly stop."""

    KILL = "kill"
    STOP = "stop"


class Restart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Request to end a server, keep it down for ``down_s`` seconds, and start it again on the same data and ports."""

    shutdown: ShutdownMode
    down_s: DownTimeS = 0.0


class MemoryAlarm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Request for a memory alarm of ``duration_s`` seconds, during which the broker blocks publishing connections."""

    duration_s: DurationS


class WriteFault(StrEnum):
    """Way to keep a running database from writing.

    ``read_only``: all transactions are read-only, as after a failover. ``locked``: every outbox is locked, as by a
    migration that waits.
    """

    READ_ONLY = "read_only"
    LOCKED = "locked"


class WritePrevention(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Request to keep a database from writing for ``duration_s`` seconds; it answers all the time."""

    duration_s: DurationS


class ServerState(StrEnum):
    """State of a server. ``down``: ended by a restart and not ready again yet, or ended by itself."""

    RUNNING = "running"
    DOWN = "down"


class ServerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """State of a server in a response.

    ``restarts``: completed ones. ``alarm``: a memory alarm, or a prevention of writes, is in effect or being undone.
    """

    name: str
    version: str
    pid: int | None
    state: ServerState
    restarts: int
    alarm: bool


class ProxyState(StrEnum):
    """Effect of a proxy on passing bytes and on new connections.

    ``slow``: bytes are delayed in both directions. ``cut``: connections are reset, new ones refused. ``black_hole``:
    bytes, and ends of connections, are dropped in both directions. ``response_loss``: what the upstream sends is
    dropped, so that requests take effect and responses are lost. A connection that lost bytes is reset when the proxy
    is healthy again.
    """

    HEALTHY = "healthy"
    SLOW = "slow"
    CUT = "cut"
    BLACK_HOLE = "black_hole"
    RESPONSE_LOSS = "response_loss"


class ProxyFault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A fault of ``duration_s`` seconds. ``delay_ms``, in each direction, applies to state ``slow`` only."""

    duration_s: DurationS
    delay_ms: Annotated[float, msgspec.Meta(ge=0, le=10_000)] = 200.0


class ProxyInfo(msgspec.Struct, frozen=True, kw_only=True):
    """State of a proxy in a response. ``address``: host and port that the proxy listens on for its first upstream.

    ``duration_s``: duration of the fault that this response confirms; None in a list.
    """

    name: str
    state: ProxyState
    connections: int
    address: str
    duration_s: float | None = None


class EmptyBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The empty body of a request without parameters."""


class NotRunning(Exception):
    """The target of a fault has no process now."""


class FaultEffect(msgspec.Struct, frozen=True, kw_only=True):
    """A fault that took effect: on which process, and for how long (None: until it is undone)."""

    name: str
    fault: str
    pid: int
    duration_s: float | None = None
