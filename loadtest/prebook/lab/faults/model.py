"""Values of fault injection: a fault, its needs, its place in a scenario, and the window of its effect."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

import msgspec


class FaultKind(StrEnum):
    """Kinds of faults: the method of injection, applied to a fault's target."""

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
    DATABASE_READ_ONLY = "database_read_only"
    DATABASE_LOCKED = "database_locked"
    DUPLICATE_EVERYTHING = "duplicate_everything"
    POISON = "poison"
    CRASHING_POISON = "crashing_poison"
    LINK_SLOW = "link_slow"
    LINK_CUT = "link_cut"
    LINK_BLACK_HOLE = "link_black_hole"
    LINK_RESPONSE_LOSS = "link_response_loss"
    PARTNER_SLOW = "partner_slow"
    PARTNER_DEAD = "partner_dead"
    PARTNER_GARBLED = "partner_garbled"


class Need(StrEnum):
    """Means that an injection needs; a suite may lack some of them."""

    CONTROL = "control"
    """A supervisor that owns the target's process."""
    MANAGEMENT = "management"
    """The broker's management API with an administrator's credentials."""
    AMQP = "amqp"
    """An AMQP connection with an administrator's credentials."""
    OPERATIONS = "operations"
    """The service that keeps dead letters."""
    SERVERS = "servers"
    """A supervisor that runs the target, broker or database, itself."""
    PROXIES = "proxies"
    """A supervisor that runs the target, a fault proxy."""
    CLUSTER = "cluster"
    """A broker with several nodes."""
    PARTNERS = "partners"
    """Calls to fleets, which simulates the partners, in the name of the console."""


@dataclass(frozen=True)
class Fault:
    """One entry of the catalogue; ``target`` names a service, a server (broker, database), a fault proxy or a
    partner fleet.
    """

    name: str
    kind: FaultKind
    target: str
    expectation: str
    """Expected effect on rides: one sentence for readers of reports; nothing is computed from it."""
    needs: frozenset[Need]
    default_duration_s: float = 5.0


@dataclass(frozen=True)
class TimedFault:
    """A fault with its start and duration in a scenario, as fractions of the duration of arrivals."""

    fault: Fault
    start_fraction: float
    duration_fraction: float

    @property
    def kind(self) -> FaultKind:
        """Kind of the fault."""
        return self.fault.kind

    @property
    def target(self) -> str:
        """Target of the fault."""
        return self.fault.target


class FaultWindow(msgspec.Struct, frozen=True, kw_only=True):
    """Start and end of a fault in UTC, whether it took effect, and the evidence for that."""

    started_at: datetime
    ended_at: datetime
    took_effect: bool
    evidence: str


class NoEffect(Exception):
    """An injection was carried out, or could not be, without the intended effect; the text says what was observed."""


def close_window(started_at: datetime, *, took_effect: bool, evidence: str) -> FaultWindow:
    """Return the window of a fault that ends now."""
    ended_at = datetime.now(UTC)
    return FaultWindow(started_at=started_at, ended_at=ended_at, took_effect=took_effect, evidence=evidence)
