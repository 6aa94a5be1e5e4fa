"""The default plan on the page: booking's own endpoint, called in the console's name."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated

import msgspec
from litestar import Response, get, patch
from litestar.params import Body, PathParameter
from litestar.types import ControllerRouterHandler

from prebook.contracts.default_plan import DefaultPlan, DefaultPlanChange
from prebook.contracts.plan import Coupling
from prebook.control_room.drawing import DEFAULT, VIEWS, PlanTopology, draw_plan
from prebook.control_room.upstream import Upstream
from prebook.http.bodies import StrictBody
from prebook.http.problems import Problem, found_or_404

PATH = "/v1/default-plan"
PlanName = Annotated[str, PathParameter(description=f"one of {', '.join(VIEWS)}")]


def plan_routes(booking: Upstream) -> Sequence[ControllerRouterHandler]:
    """Return the route handlers. ``booking``: its internal listener."""

    @get(PATH, summary="Get the couplings of rides that choose none")
    async def get_default_plan() -> Response[bytes]:
        return await booking.call("GET", PATH)

    @patch(
        PATH,
        summary="Change couplings of the default plan, for rides that begin from now on",
        dto=StrictBody[DefaultPlanChange],
        return_dto=None,
    )
    async def change_default_plan(data: Annotated[DefaultPlanChange, Body()]) -> Response[bytes]:
        return await booking.call("PATCH", PATH, body=data)

    @get("/v1/topology/{plan:str}", summary="Draw the topology of a plan")
    async def get_topology(plan: PlanName) -> PlanTopology:
        found_or_404(plan if plan in VIEWS else None, "no_such_plan", f"choose {', '.join(VIEWS)}")
        return draw_plan(plan, await _default_couplings(booking) if plan == DEFAULT else None)

    return [get_default_plan, change_default_plan, get_topology]


async def _default_couplings(booking: Upstream) -> dict[str, Coupling]:
    """Return the couplings of the default plan. Raises Problem (502) if booking does not say them."""
    response = await booking.call("GET", PATH)
    if response.status_code != HTTPStatus.OK:
        raise Problem(502, "default_plan_unknown", f"booking answered {response.status_code}; choose another plan")
    plan = msgspec.json.decode(response.content, type=DefaultPlan)
    return {flow: each.coupling for flow, each in plan.flows.items()}
