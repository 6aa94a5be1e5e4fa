"""Costs and deployments for the tests of the capacity model."""

from prebook.contracts.plan import Coupling
from prebook.flows import PROCESSES
from prebook.lab.capacity.assumptions import Assumptions
from prebook.lab.capacity.costs import ProcessCost, RideCosts
from prebook.lab.capacity.sizing import CapacityModel, Deployment

COSTS = RideCosts(
    plan="request_reply",
    source="test",
    processes={
        **dict.fromkeys(PROCESSES, ProcessCost(0.1, 5.0)),
        "operations": ProcessCost(0.0, 0.1),
        "broker": ProcessCost(0.2, 8.0),
        "database": ProcessCost(0.0, 10.0),
    },
    counts={"transactions": 30.0, "WAL bytes": 60_000.0},
    knee_per_s=50.0,
)
DEPLOYMENT = Deployment(quorum_queues=35, partitions={"notification": 4}, archive_bytes=10**9)
MODEL = CapacityModel(Coupling.REQUEST_REPLY, COSTS, DEPLOYMENT, Assumptions())
