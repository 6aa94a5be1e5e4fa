"""Pictures of the suite's topology that are committed in docs/pictures: two views of one model."""

from collections.abc import Mapping

from prebook.contracts.plan import Coupling, Plan
from prebook.flows import FLOWS
from prebook.topology.diagrams import svg_diagram
from prebook.topology.model import plan_topology
from prebook.topology.resource_view import resource_svg
from prebook.topology.ride_subscriptions import NO_SUBSCRIPTIONS, RideSubscriptions
from prebook.topology.values import Topology

FLOW_SUBTITLE = "Who sends what to whom, and who decides when it moves."
RESOURCE_SUBTITLE = "What the broker contains, and who owns it: the same for every plan."


def coupling_picture(coupling: Coupling) -> str:
    """Return the picture of data flow and control flow with one coupling for every flow."""
    return flow_picture(plan_topology(dict.fromkeys(FLOWS, coupling)), f"Every flow as {coupling}")


def flow_picture(topology: Topology, title: str) -> str:
    """Return a picture of data flow and control flow."""
    return svg_diagram(topology, title=title, subtitle=FLOW_SUBTITLE)


def resource_picture(topology: Topology) -> str:
    """Return the picture of the resources of a topology."""
    return resource_svg(topology, title="Prebook's resources", subtitle=RESOURCE_SUBTITLE)


def committed_pictures(
    plan: Plan, suite: Topology, subscriptions: RideSubscriptions = NO_SUBSCRIPTIONS
) -> Mapping[str, str]:
    """Return every picture of docs/pictures by its file name. ``suite``: topology of the running suite."""
    return {
        **{f"{coupling}.svg": coupling_picture(coupling) for coupling in Coupling},
        "default.svg": flow_picture(plan_topology(plan, subscriptions=subscriptions), "Prebook's plan"),
        "resources.svg": resource_picture(suite),
    }
