"""What can be broken, as values: a fault, what it needs, and the window in which it was there."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

import msgspec


class FaultKind(StrEnum):
    """How a fault is carried out; the target says on what."""

    KILL = "kill"
    PAUSE = "pause"
    BROWNOUT = "brownout"
    CLOCK_SKEW = "clock_skew"
    CONNECTIONS_CUT = "connections_cut"
    RESTART = "restart"
    SERVER_KILL = "server_kill"
    LEADER_LOST = "leader_lost"
    MEMORY_ALARM = "memory_alarm"
    QUEUE_FULL = "queue_full"
    DUPLICATE_EVERYTHING = "duplicate_everything"
    POISON = "poison"
    LINK_SLOW = "link_slow"
    LINK_CUT = "link_cut"
    LINK_BLACK_HOLE = "link_black_hole"
    LINK_RESPONSE_LOSS = "link_response_loss"


class Need(StrEnum):
    """What a fault is carried out with. Not every suite has all of it."""

    CONTROL = "control"
    """A supervisor that owns the process of the target."""
    MANAGEMENT = "management"
    """The broker's management API, as an administrator."""
    AMQP = "amqp"
    """The broker itself, as an administrator."""
    OPERATIONS = "operations"
    """The service that takes in parked messages."""
    SERVERS = "servers"
    """A supervisor that runs the target itself: broker or database."""
    PROXIES = "proxies"
    """A supervisor whose proxy the target goes through."""
    CLUSTER = "cluster"
    """A broker of several nodes."""


@dataclass(frozen=True)
class Fault:
    """One entry of the catalogue. ``target``: the name of a service, a server (broker, database) or a fault proxy."""

    name: str
    kind: FaultKind
    target: str
    expectation: str
    """Who waits, what is refused, and what is not lost: one sentence for a person; nothing is computed from it."""
    needs: frozenset[Need]
    default_duration_s: float = 5.0


@dataclass(frozen=True)
class TimedFault:
    """A fault with its place in a scenario, in fractions of the arrivals' duration: it lies within any length."""

    fault: Fault
    start_fraction: float
    duration_fraction: float

    @property
    def kind(self) -> FaultKind:
        return self.fault.kind

    @property
    def target(self) -> str:
        return self.fault.target


class FaultWindow(msgspec.Struct, frozen=True, kw_only=True):
    """When the fault was there, and how we know."""

    started_at: datetime
    ended_at: datetime
    took_effect: bool
    evidence: str


class NoEffect(Exception):
    """Everybody obeyed, but what should have been broken was seen alive and well."""


def close_window(started_at: datetime, *, took_effect: bool, evidence: str) -> FaultWindow:
    ended_at = datetime.now(UTC)
    return FaultWindow(started_at=started_at, ended_at=ended_at, took_effect=took_effect, evidence=evidence)
