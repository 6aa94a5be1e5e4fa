"""The catalogue of faults, each with its expected effect on rides."""

from collections.abc import Iterator, Mapping

from prebook.flows import OPERATIONS, PROCESSES, SERVICES
from prebook.lab.faults.model import Fault, FaultKind, Need

PARTNERS = ("ada", "borealis", "cargo")
"""Partner fleets that are asked by default."""
PROCESS_NEEDS = frozenset({Need.CONTROL})
SERVER_NEEDS = frozenset({Need.CONTROL, Need.SERVERS})
PROXY_NEEDS = frozenset({Need.CONTROL, Need.PROXIES})
BROKER_NEEDS = frozenset({Need.MANAGEMENT, Need.AMQP})

PROCESS_CONSEQUENCES: Mapping[str, str] = {
    "booking": "no ride is accepted during the fault; rides accepted before are settled afterwards",
    "pricing": "synchronous plans refuse or fail rides at once; asynchronous plans price them afterwards",
    "matching": "synchronous plans refuse or fail rides at once; asynchronous plans find drivers afterwards",
    "notification": "rides are settled, and each rider is notified once afterwards",
    "fleets": "auctions close with the offers received so far, or wait if the plan is asynchronous",
    OPERATIONS: "rides are not affected; dead letters stay in the broker until operations is back",
}
"""Process -> effect on rides while it does not work."""
PROCESS_EFFECTS: Mapping[FaultKind, str] = {
    FaultKind.KILL: "is killed (SIGKILL) and restarted",
    FaultKind.PAUSE: "is stopped (SIGSTOP) with its connections open, so callers wait until they time out",
    FaultKind.BROWNOUT: "gets a fifth of its CPU time, and its callers slow down with it",
}
LINK_EFFECTS: Mapping[FaultKind, str] = {
    FaultKind.LINK_SLOW: "is delayed by 200 ms each way: callers wait longer, and nothing else changes",
    FaultKind.LINK_CUT: "is cut: connections are reset and refused, which both ends detect at once and retry",
    FaultKind.LINK_BLACK_HOLE: "drops every byte and closes no connection: only timeouts and heartbeats reveal it",
    FaultKind.LINK_RESPONSE_LOSS: "drops all responses: a request that times out may have arrived, and is sent again",
}
LINK_CONSEQUENCE = "synchronous calls may fail, asynchronous work resumes afterwards, nothing accepted is lost."
SERVER_FAULTS: tuple[Fault, ...] = (
    Fault(
        "broker_restart",
        FaultKind.RESTART,
        "broker",
        "The broker shuts down cleanly and restarts: rides are still accepted and their messages wait in the "
        "outboxes; synchronous plans are hardly affected; nothing confirmed is lost.",
        SERVER_NEEDS,
        default_duration_s=3.0,
    ),
    Fault(
        "broker_kill",
        FaultKind.SERVER_KILL,
        "broker",
        "The broker is killed and restarts on its data: as with broker_restart, and unacknowledged messages are "
        "redelivered; duplicates appear on the wire and have no effect.",
        SERVER_NEEDS,
        default_duration_s=3.0,
    ),
    Fault(
        "database_restart",
        FaultKind.RESTART,
        "database",
        "The database shuts down cleanly and restarts: no ride is accepted during this time, consumers pause without "
        "using up attempts, and nothing committed is lost.",
        SERVER_NEEDS,
        default_duration_s=3.0,
    ),
    Fault(
        "database_kill",
        FaultKind.SERVER_KILL,
        "database",
        "The database is killed and recovers from its write-ahead log: no ride is accepted during this time, and every "
        "acknowledged commit is preserved.",
        SERVER_NEEDS,
        default_duration_s=3.0,
    ),
    Fault(
        "database_read_only",
        FaultKind.DATABASE_READ_ONLY,
        "database",
        "The database answers and accepts no writes, as after a failover: riders get 503, every process is not ready "
        "and says why, consumers pause without using up attempts, and what was accepted before is settled afterwards.",
        SERVER_NEEDS,
    ),
    Fault(
        "database_locked",
        FaultKind.DATABASE_LOCKED,
        "database",
        "Every outbox is locked, as by a migration that waits: requests and messages wait for the lock; those that "
        "time out get 503 or are handled afterwards, without using up attempts.",
        SERVER_NEEDS,
    ),
)
BROKER_FAULTS: tuple[Fault, ...] = (
    Fault(
        "connections_cut",
        FaultKind.CONNECTIONS_CUT,
        "broker",
        "Every connection to the broker is closed: services reconnect, unconfirmed messages are published again and "
        "unacknowledged ones redelivered; duplicates appear on the wire and have no effect.",
        BROKER_NEEDS - {Need.AMQP},
        default_duration_s=2.0,
    ),
    Fault(
        "memory_alarm",
        FaultKind.MEMORY_ALARM,
        "broker",
        "The broker raises a memory alarm and blocks publishers: outboxes grow, consumers continue, and a publish that "
        "timed out may still have arrived; nothing is lost once the alarm is cleared.",
        SERVER_NEEDS | BROKER_NEEDS,
    ),
    Fault(
        "queue_full",
        FaultKind.QUEUE_FULL,
        "pricing",
        "Pricing is stopped and its queues are limited to one message: the broker rejects every further message, which "
        "stays in the sender's outbox and is sent again afterwards; HTTP calls time out.",
        PROCESS_NEEDS | BROKER_NEEDS,
    ),
    Fault(
        "duplicate_everything",
        FaultKind.DUPLICATE_EVERYTHING,
        "broker",
        "Every message is delivered twice: the first takes effect, the second is counted as a duplicate.",
        BROKER_NEEDS,
    ),
    Fault(
        "poison",
        FaultKind.POISON,
        "notification",
        "Four poison messages are published: three are dead-lettered at once and one after all its attempts, each with "
        "its cause; no other ride is delayed.",
        BROKER_NEEDS | {Need.OPERATIONS},
        default_duration_s=1.0,
    ),
    Fault(
        "crashing_poison",
        FaultKind.CRASHING_POISON,
        "notification",
        "A message ends notification's process whenever it is received, in every replica: after 21 crashes, up to two "
        "minutes, it is parked with its cause; rides are settled meanwhile, and each rider is notified once.",
        PROCESS_NEEDS | BROKER_NEEDS | {Need.OPERATIONS},
        default_duration_s=1.0,
    ),
    Fault(
        "leader_lost",
        FaultKind.LEADER_LOST,
        "broker",
        "The node that leads the quorum queues is killed: another node takes over within seconds, publishers and "
        "consumers continue there, and nothing confirmed is lost.",
        SERVER_NEEDS | {Need.MANAGEMENT, Need.CLUSTER},
    ),
)


PARTNER_EFFECTS: Mapping[FaultKind, str] = {
    FaultKind.PARTNER_SLOW: "replies a second later: rides with two other offers are not delayed, and its own offers "
    "come late",
    FaultKind.PARTNER_DEAD: "accepts requests and never replies: rides with two other offers are not delayed, and "
    "the others wait until its call times out",
    FaultKind.PARTNER_GARBLED: "sends replies that no translator reads: each counts as declined, and is parked with "
    "its bytes",
}


def _partner_faults() -> Iterator[Fault]:
    for kind, effect in PARTNER_EFFECTS.items():
        for partner in PARTNERS:
            expectation = f"The partner fleet {partner} {effect}; nothing accepted is lost."
            yield Fault(f"{kind.value}_{partner}", kind, partner, expectation, frozenset({Need.PARTNERS}))


def _process_faults() -> Iterator[Fault]:
    for kind, effect in PROCESS_EFFECTS.items():
        for service in PROCESSES:
            expectation = f"{service.capitalize()} {effect}: {PROCESS_CONSEQUENCES[service]}; nothing accepted is lost."
            yield Fault(f"{kind.value}_{service}", kind, service, expectation, PROCESS_NEEDS)


def _clock_faults() -> Iterator[Fault]:
    for service in SERVICES:
        expectation = (
            f"{service.capitalize()}'s clock is 90 s ahead: it considers deadlines passed too early, so rides with "
            "deadlines below that may expire, and their riders are notified; nothing is confirmed twice and nothing is "
            "lost."
        )
        yield Fault(
            f"clock_skew_{service}",
            FaultKind.CLOCK_SKEW,
            service,
            expectation,
            PROCESS_NEEDS | BROKER_NEEDS | {Need.OPERATIONS},
        )


def _link_faults() -> Iterator[Fault]:
    for kind, effect in LINK_EFFECTS.items():
        for target, endpoints in LINK_ENDPOINTS.items():
            name = f"{kind.value}_{target.replace('-', '_')}"
            yield Fault(name, kind, target, f"The link {endpoints} {effect}; {LINK_CONSEQUENCE}", PROXY_NEEDS)


LINK_ENDPOINTS: Mapping[str, str] = {
    **{
        f"{service}-{server}": f"from {service} to the {server}"
        for service in PROCESSES
        for server in ("broker", "database")
    },
    **{f"http-{service}": f"to {service} over HTTP" for service in PROCESSES},
}
"""Name of a fault proxy -> the two ends of its link, as the expectation names them."""
FAULT_CATALOGUE: Mapping[str, Fault] = {
    fault.name: fault
    for fault in (
        *_process_faults(),
        *_clock_faults(),
        *SERVER_FAULTS,
        *BROKER_FAULTS,
        *_link_faults(),
        *_partner_faults(),
    )
}
"""Name -> fault. Names are part of the command line and of reports, and do not change."""
