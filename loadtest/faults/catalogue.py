"""All faults, each with what to expect of it."""

from collections.abc import Iterator, Mapping

from loadtest.faults.values import Fault, FaultKind, Need
from prebook.flows import OPERATIONS, PROCESSES

OURS = frozenset({Need.CONTROL})
BROKER = frozenset({Need.MANAGEMENT})

WAITS: Mapping[str, str] = {
    "booking": "no ride is accepted while it lasts, and those accepted before are settled afterwards",
    "pricing": "plans that call it refuse or fail rides at once, plans that can wait price them afterwards",
    "matching": "plans that call it refuse or fail rides at once, plans that can wait find drivers afterwards",
    "notification": "rides are settled all the same, and their riders are told afterwards, once",
    "fleets": "auctions close with the offers they have, or wait where the plan can",
    OPERATIONS: "no ride is touched, and parked messages stay with the broker until it is back",
}
"""What becomes of the rides while this process does not work."""
PROCESS_FAULTS: Mapping[FaultKind, str] = {
    FaultKind.KILL: "is killed (SIGKILL) and comes back",
    FaultKind.PAUSE: "stands still (SIGSTOP) with its connections open, so callers wait for their time-outs",
    FaultKind.BROWNOUT: "gets little of the processor, and who waits for it inherits its pace",
}


def _of_processes() -> Iterator[Fault]:
    for kind, what in PROCESS_FAULTS.items():
        for service in PROCESSES:
            yield Fault(f"{kind.value}_{service}", kind, service, _sentence(service, what), OURS)


def _sentence(service: str, what: str) -> str:
    return f"{service.capitalize()} {what}: {WAITS[service]}; nothing accepted is lost."


def _of_the_broker() -> Iterator[Fault]:
    yield Fault(
        "connections_cut",
        FaultKind.CONNECTIONS_CUT,
        "broker",
        "Every connection to the broker is closed: services connect again by themselves, what was not confirmed is "
        "sent again and what was not acknowledged comes again, so there are duplicates on the wire and none in effect.",
        BROKER,
        usual_for_s=2.0,
    )


CATALOGUE: Mapping[str, Fault] = {fault.name: fault for fault in (*_of_processes(), *_of_the_broker())}
"""Name -> fault. The names are stable."""
