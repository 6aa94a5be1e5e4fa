"""Plans under comparison: one coupling for all flows, four times, and a mixed plan with a coupling per flow."""

from collections.abc import Mapping

from prebook.contracts.plan import Coupling
from prebook.flows import FLOWS

MIXED: Mapping[str, Coupling] = {
    "quote_fare": Coupling.SYNC_API,
    "find_driver": Coupling.REQUEST_REPLY,
    "ask_fleet": Coupling.ASYNC_API,
    "notify_rider": Coupling.ONE_WAY,
}


def uniform_plan(coupling: Coupling) -> dict[str, Coupling]:
    """Return the plan that uses one coupling for every flow."""
    return dict.fromkeys(FLOWS, coupling)


PLANS: Mapping[str, Mapping[str, Coupling]] = {
    **{coupling.value: uniform_plan(coupling) for coupling in Coupling},
    "mixed": MIXED,
}
"""Label -> plan, in the order in which reports list them."""
