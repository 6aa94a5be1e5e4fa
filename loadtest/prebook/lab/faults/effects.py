"""Effect of each fault on the flows between services: whose work it delays, and over which transports. Pure data."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from prebook.contracts.plan import Coupling
from prebook.flows import ASK_FLEET, PROCESSES
from prebook.lab.faults.catalogue import LINK_ENDPOINTS, PARTNERS
from prebook.lab.faults.clock_skew import SKEW_S
from prebook.lab.faults.model import Fault, FaultKind


class Transport(StrEnum):
    """Way in which the messages of a coupling travel."""

    BROKER = "broker"
    HTTP = "http"
    EDGE = "edge"
    """Requests of riders, which no fault proxy carries."""


TRANSPORT_OF_COUPLING: Mapping[Coupling, Transport] = {
    Coupling.SYNC_API: Transport.HTTP,
    Coupling.ASYNC_API: Transport.HTTP,
    Coupling.ONE_WAY: Transport.BROKER,
    Coupling.REQUEST_REPLY: Transport.BROKER,
}
WAITING_COUPLINGS = frozenset(Coupling) - {Coupling.SYNC_API}
"""Couplings whose request waits for its provider until the flow's deadline."""
ANY_TRANSPORT = frozenset(Transport)


@dataclass(frozen=True)
class FaultEffect:
    """Work that a fault delays: that of ``services``, as far as it needs one of ``transports``.

    ``clock_skew_s``: seconds by which the services consider deadlines passed too early. ``ends_processes``: whether the
    services end, and with them their connections and what they had in hand. ``loses_commits``: whether asynchronous
    commits of just before are lost.
    """

    services: frozenset[str] = frozenset()
    transports: frozenset[Transport] = ANY_TRANSPORT
    clock_skew_s: float = 0.0
    ends_processes: bool = False
    loses_commits: bool = False

    def delays(self, services: Collection[str], transport: Transport) -> bool:
        """Return whether the fault delays work of any of ``services`` that needs ``transport``."""
        return transport in self.transports and not self.services.isdisjoint(services)


NO_EFFECT = FaultEffect()
DATABASE = "database"
TRANSPORTS_OF_SERVER: Mapping[str, frozenset[Transport]] = {
    "broker": frozenset({Transport.BROKER}),
    DATABASE: ANY_TRANSPORT,  # a service can neither accept a request nor store its effect
}
"""Server -> transports that fail without it."""
HARMLESS_KINDS = frozenset({FaultKind.DUPLICATE_EVERYTHING, FaultKind.POISON, FaultKind.PARTNER_GARBLED})
"""Kinds that add messages, or replies without an offer, and take nothing away: they explain no delay."""
ENDING_KINDS = frozenset({FaultKind.KILL, FaultKind.CLOCK_SKEW, FaultKind.CRASHING_POISON})
"""Kinds that end the process of their target. A clock is changed by restarts; a crashing poison ends the process again
and again."""


def link_effect(link: str) -> FaultEffect:
    """Return the effect of a broken link, such as ``pricing-broker`` or ``http-pricing``."""
    first, _, second = link.partition("-")
    if first == Transport.HTTP:
        return FaultEffect(frozenset({second}), frozenset({Transport.HTTP}))
    return FaultEffect(frozenset({first}), TRANSPORTS_OF_SERVER[second])


EFFECT_OF_TARGET: Mapping[str, FaultEffect] = {
    **{process: FaultEffect(frozenset({process})) for process in PROCESSES},
    **{server: FaultEffect(frozenset(PROCESSES), transports) for server, transports in TRANSPORTS_OF_SERVER.items()},
    **{link: link_effect(link) for link in LINK_ENDPOINTS},
    **{partner: FaultEffect(frozenset({ASK_FLEET.provider})) for partner in PARTNERS},
}
"""Target of a fault -> effect while it does not work."""


def effect_of(fault: Fault) -> FaultEffect:
    """Return the work that ``fault`` delays."""
    if fault.kind in HARMLESS_KINDS:
        return NO_EFFECT
    return replace(
        EFFECT_OF_TARGET[fault.target],
        clock_skew_s=SKEW_S if fault.kind is FaultKind.CLOCK_SKEW else 0.0,
        ends_processes=fault.kind in ENDING_KINDS,
        loses_commits=fault.kind is FaultKind.SERVER_KILL and fault.target == DATABASE,
    )
