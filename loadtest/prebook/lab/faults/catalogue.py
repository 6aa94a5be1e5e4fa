"""All faults, each with what to expect of it."""

from collections.abc import Iterator, Mapping

from prebook.flows import OPERATIONS, PROCESSES, SERVICES
from prebook.lab.faults.model import Fault, FaultKind, Need

PROCESS_NEEDS = frozenset({Need.CONTROL})
SERVER_NEEDS = frozenset({Need.CONTROL, Need.SERVERS})
PROXY_NEEDS = frozenset({Need.CONTROL, Need.PROXIES})
BROKER_NEEDS = frozenset({Need.MANAGEMENT, Need.AMQP})

PROCESS_CONSEQUENCES: Mapping[str, str] = {
    "booking": "no ride is accepted while it lasts, and those accepted before are settled afterwards",
    "pricing": "plans that call it refuse or fail rides at once, plans that can wait price them afterwards",
    "matching": "plans that call it refuse or fail rides at once, plans that can wait find drivers afterwards",
    "notification": "rides are settled all the same, and their riders are told afterwards, once",
    "fleets": "auctions close with the offers they have, or wait where the plan can",
    OPERATIONS: "no ride is touched, and parked messages stay with the broker until it is back",
}
"""What becomes of the rides while this process does not work."""
PROCESS_EFFECTS: Mapping[FaultKind, str] = {
    FaultKind.KILL: "is killed (SIGKILL) and comes back",
    FaultKind.PAUSE: "stands still (SIGSTOP) with its connections open, so callers wait for their time-outs",
    FaultKind.BROWNOUT: "gets little of the processor, and who waits for it inherits its pace",
}
LINK_EFFECTS: Mapping[FaultKind, str] = {
    FaultKind.LINK_SLOW: "takes 200 ms longer each way: whoever waits on it waits longer, and nothing else changes",
    FaultKind.LINK_CUT: "is cut: connections are reset and refused, which is noticed at once and tried again",
    FaultKind.LINK_BLACK_HOLE: "swallows every byte and closes nothing: it is noticed by time-outs and heartbeats only",
    FaultKind.LINK_RESPONSE_LOSS: "swallows one direction: what was sent may have arrived, so it is sent again",
}
LINK_CONSEQUENCE = "who needs it at once is told so, who can wait is served afterwards, nothing accepted is lost."
SERVER_FAULTS: tuple[Fault, ...] = (
    Fault(
        "broker_restart",
        FaultKind.RESTART,
        "broker",
        "The broker stops in order and starts again: rides are accepted meanwhile and their messages wait in the "
        "outboxes; synchronous plans hardly notice; nothing confirmed is lost.",
        SERVER_NEEDS,
        default_duration_s=3.0,
    ),
    Fault(
        "broker_kill",
        FaultKind.SERVER_KILL,
        "broker",
        "The broker is killed and starts again on its data: as with a restart, and what was under way comes again, so "
        "there are duplicates on the wire and none in effect.",
        SERVER_NEEDS,
        default_duration_s=3.0,
    ),
    Fault(
        "database_restart",
        FaultKind.RESTART,
        "database",
        "The database stops in order and starts again: no ride is accepted meanwhile, messages wait in hand without "
        "using up attempts, and nothing committed is lost.",
        SERVER_NEEDS,
        default_duration_s=3.0,
    ),
    Fault(
        "database_kill",
        FaultKind.SERVER_KILL,
        "database",
        "The database is killed and recovers from its log: no ride is accepted meanwhile, and every commit that "
        "somebody was told of is there afterwards.",
        SERVER_NEEDS,
        default_duration_s=3.0,
    ),
)
BROKER_FAULTS: tuple[Fault, ...] = (
    Fault(
        "connections_cut",
        FaultKind.CONNECTIONS_CUT,
        "broker",
        "Every connection to the broker is closed: services connect again by themselves, what was not confirmed is "
        "sent again and what was not acknowledged comes again: duplicates on the wire and none in effect.",
        BROKER_NEEDS - {Need.AMQP},
        default_duration_s=2.0,
    ),
    Fault(
        "memory_alarm",
        FaultKind.MEMORY_ALARM,
        "broker",
        "The broker is short of memory and blocks whoever publishes: outboxes grow, consumers go on, and what timed "
        "out may have arrived all the same; nothing is lost when the alarm is lifted.",
        SERVER_NEEDS | BROKER_NEEDS,
    ),
    Fault(
        "queue_full",
        FaultKind.QUEUE_FULL,
        "pricing",
        "Pricing stands still and its queues may hold one message: the broker refuses every further one, which stays "
        "in the sender's outbox and is sent again afterwards; calls by HTTP time out.",
        PROCESS_NEEDS | BROKER_NEEDS,
    ),
    Fault(
        "duplicate_everything",
        FaultKind.DUPLICATE_EVERYTHING,
        "broker",
        "Every message is delivered twice: each takes effect once, the second is counted as a duplicate.",
        BROKER_NEEDS,
    ),
    Fault(
        "poison",
        FaultKind.POISON,
        "notification",
        "Four messages that cannot be handled come in: three are parked at once and one after all its attempts, each "
        "with its cause; no other rider waits for them.",
        BROKER_NEEDS | {Need.OPERATIONS},
        default_duration_s=1.0,
    ),
    Fault(
        "leader_lost",
        FaultKind.LEADER_LOST,
        "broker",
        "The node that leads the queues is killed: another leads within seconds, publishers and consumers go on there, "
        "and nothing confirmed is lost.",
        SERVER_NEEDS | {Need.MANAGEMENT, Need.CLUSTER},
    ),
)


def _process_faults() -> Iterator[Fault]:
    for kind, what in PROCESS_EFFECTS.items():
        for service in PROCESSES:
            expect = f"{service.capitalize()} {what}: {PROCESS_CONSEQUENCES[service]}; nothing accepted is lost."
            yield Fault(f"{kind.value}_{service}", kind, service, expect, PROCESS_NEEDS)


def _clock_faults() -> Iterator[Fault]:
    for service in SERVICES:
        expect = (
            f"{service.capitalize()}'s clock is 90 s ahead: it takes what has a deadline for late, so rides may expire "
            "early, with a state and a notice; nothing is confirmed twice and nothing lost."
        )
        yield Fault(
            f"clock_skew_{service}",
            FaultKind.CLOCK_SKEW,
            service,
            expect,
            PROCESS_NEEDS | BROKER_NEEDS | {Need.OPERATIONS},
        )


def _link_faults() -> Iterator[Fault]:
    for kind, what in LINK_EFFECTS.items():
        for target, between in LINK_ENDPOINTS.items():
            name = f"{kind.value}_{target.replace('-', '_')}"
            yield Fault(name, kind, target, f"The link {between} {what}; {LINK_CONSEQUENCE}", PROXY_NEEDS)


LINK_ENDPOINTS: Mapping[str, str] = {
    **{
        f"{service}-{server}": f"from {service} to the {server}"
        for service in PROCESSES
        for server in ("broker", "database")
    },
    **{f"http-{service}": f"to {service} over HTTP" for service in PROCESSES},
}
"""Name of the fault proxy -> the two processes that it stands between."""
FAULT_CATALOGUE: Mapping[str, Fault] = {
    fault.name: fault
    for fault in (*_process_faults(), *_clock_faults(), *SERVER_FAULTS, *BROKER_FAULTS, *_link_faults())
}
"""Name -> fault. The names are stable."""
