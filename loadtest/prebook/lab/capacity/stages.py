"""Stages of a ride and the processors that they share: on one machine, or in a cell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prebook.flows import ASK_FLEET, FIND_DRIVER, NOTIFY_RIDER, QUOTE_FARE
from prebook.lab.capacity.costs import BROKER, DATABASE, MS_PER_S, RideCosts
from prebook.lab.capacity.sizing import CapacityModel
from prebook.messaging.addresses import reply_queue, request_queue
from prebook.runtime.offer_settings import DEFAULT_FLEETS

MACHINE = "machine"
"""Pool of all cores of a machine that runs everything."""
REFUSAL_SHARE = 0.15
"""Cost of a refusal, as a share of booking's cost of a ride: the request is read, and nothing is written."""
Demand = Mapping[str, float]
"""Core-seconds that a ride uses in one stage, by pool."""


@dataclass(frozen=True)
class Stage:
    """One step of a ride: the service that does it, its share of the service's cost, and the flow it belongs to.

    ``queue``: queue of the coupling `request_reply` from which its ``messages`` come; empty for a rider's request.
    """

    service: str
    share: float
    flow: str
    queue: str = ""
    messages: int = 1


STAGES = (
    Stage("booking", 0.25, QUOTE_FARE.name),
    Stage("pricing", 1.0, QUOTE_FARE.name, request_queue("pricing", QUOTE_FARE.name)),
    Stage("booking", 0.25, QUOTE_FARE.name, reply_queue("booking")),
    Stage("matching", 0.4, FIND_DRIVER.name, request_queue("matching", FIND_DRIVER.name)),
    Stage("fleets", 1.0, FIND_DRIVER.name, request_queue("fleets", ASK_FLEET.name), len(DEFAULT_FLEETS)),
    Stage("matching", 0.6, FIND_DRIVER.name, reply_queue("matching"), len(DEFAULT_FLEETS)),
    Stage("booking", 0.25, FIND_DRIVER.name, reply_queue("booking")),
    Stage("notification", 1.0, NOTIFY_RIDER.name, request_queue("notification", NOTIFY_RIDER.name)),
    Stage("booking", 0.25, NOTIFY_RIDER.name, reply_queue("booking")),
)
"""Messages of a ride in their order; each is taken to cost its service the same."""
SETTLED_AFTER = max(number for number, stage in enumerate(STAGES) if stage.flow == FIND_DRIVER.name)
"""Stage after which a ride is settled; the notice comes later."""
ADMITTED_FLOWS = (QUOTE_FARE.name, FIND_DRIVER.name)
"""Flows whose pending requests bound the admission of further rides."""


@dataclass(frozen=True)
class Processors:
    """Cores by pool, without those that processes use without rides; and the demand of each stage and of a refusal."""

    cores: Mapping[str, float]
    demands: Sequence[Demand]
    refusal: Demand


def machine_processors(costs: RideCosts, cores: float, client_ms: float = 0.0) -> Processors:
    """Return the processors of one machine that runs one process of everything, broker and database included.

    ``client_ms``: CPU time of the load generator for each request, which uses the same cores.
    """
    standing = sum(cost.standing_cores for cost in costs.processes.values())
    services = {stage.service: 1.0 - costs.processes[stage.service].standing_cores for stage in STAGES}
    others_ms = sum(cost.ms_per_ride for name, cost in costs.processes.items() if name not in services)
    demands = []
    for number, stage in enumerate(STAGES):
        own_s = costs.processes[stage.service].ms_per_ride * stage.share / MS_PER_S
        beside_s = (others_ms / len(STAGES) + (0.0 if number else client_ms)) / MS_PER_S
        demands.append({stage.service: own_s, MACHINE: own_s + beside_s})
    refusal_s = _refusal_s(costs)
    return Processors(
        cores={**services, MACHINE: cores - standing},
        demands=demands,
        refusal={"booking": refusal_s, MACHINE: refusal_s + client_ms / MS_PER_S},
    )


def cell_processors(model: CapacityModel, rides_per_s: float) -> Processors:
    """Return the processors of a cell that is sized for a rate: of the services, the broker and the primary."""
    cell = model.size_cell(rides_per_s)
    cores = {size.service: service_cores(model.costs, size.service, size.replicas) for size in cell.services}
    return Processors(
        cores={**cores, **server_cores(model)},
        demands=[stage_demand(model.costs, stage) for stage in STAGES],
        refusal={"booking": _refusal_s(model.costs)},
    )


def service_cores(costs: RideCosts, service: str, replicas: float) -> float:
    """Return the cores that replicas of a service have for rides."""
    return replicas * (1.0 - costs.processes[service].standing_cores)


def server_cores(model: CapacityModel) -> dict[str, float]:
    """Return the cores of broker and primary for rides; all broker nodes together do one leader's work of a ride."""
    node = model.broker_node_cost(model.assumptions.broker_nodes)
    leaders = model.costs.processes[BROKER].ms_per_ride / node.ms_per_ride
    return {
        BROKER: leaders * (model.assumptions.node_cores - node.standing_cores),
        DATABASE: model.assumptions.database_cores - model.costs.processes[DATABASE].standing_cores,
    }


def stage_demand(costs: RideCosts, stage: Stage) -> dict[str, float]:
    """Return the core-seconds of a ride in a stage: of its service, and an equal part of broker and database."""
    servers = {name: costs.processes[name].ms_per_ride / len(STAGES) for name in (BROKER, DATABASE)}
    own = {stage.service: costs.processes[stage.service].ms_per_ride * stage.share}
    return {pool: milliseconds / MS_PER_S for pool, milliseconds in {**own, **servers}.items()}


def _refusal_s(costs: RideCosts) -> float:
    return REFUSAL_SHARE * costs.processes["booking"].ms_per_ride / MS_PER_S
