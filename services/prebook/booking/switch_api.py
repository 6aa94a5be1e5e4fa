"""Booking's internal HTTP API of switches, by which the console changes settings while booking runs."""

from collections.abc import Sequence
from typing import Annotated

from litestar import get, patch, put
from litestar.handlers import BaseRouteHandler
from litestar.params import Body

from prebook.booking.use_cases.switches import Switches
from prebook.contracts.back_pressure import BackPressure, BackPressureChange
from prebook.contracts.default_plan import DefaultPlan, DefaultPlanChange
from prebook.flows import FLOWS
from prebook.http.bodies import StrictBody
from prebook.http.call_guard import ALLOW_CONSOLE
from prebook.http.problems import FieldError, Problem, problem_responses

DEFAULT_PLAN_PATH = "/v1/default-plan"
BACK_PRESSURE_PATH = "/v1/back-pressure"
PlanChangeBody = Annotated[DefaultPlanChange, Body()]
BackPressureBody = Annotated[BackPressureChange, Body()]


def switch_routes(switches: Switches) -> Sequence[BaseRouteHandler]:
    """Litestar route handlers of the switches, for the console."""

    @get(
        DEFAULT_PLAN_PATH,
        summary="Get the couplings of bookings that choose none",
        responses=problem_responses(401, 403),
        opt=ALLOW_CONSOLE,
    )
    async def get_default_plan() -> DefaultPlan:
        return await switches.describe_default_plan()

    @patch(
        DEFAULT_PLAN_PATH,
        summary="Change couplings of the default plan, for bookings that begin from now on",
        description="Bookings that have begun keep their plan, which travels with their messages.",
        dto=StrictBody[DefaultPlanChange],
        return_dto=None,
        responses=problem_responses(400, 401, 403, 413, 415, 422),
        opt=ALLOW_CONSOLE,
    )
    async def change_default_plan(data: PlanChangeBody) -> DefaultPlan:
        _require_known(data)
        await switches.change_default_plan(data.couplings)
        return await switches.describe_default_plan()

    @get(
        BACK_PRESSURE_PATH,
        summary="Get whether rides are refused under overload",
        responses=problem_responses(401, 403),
        opt=ALLOW_CONSOLE,
    )
    async def get_back_pressure() -> BackPressure:
        return await switches.describe_back_pressure()

    @put(
        BACK_PRESSURE_PATH,
        summary="Switch back pressure on, off, or to what is configured",
        dto=StrictBody[BackPressureChange],
        return_dto=None,
        responses=problem_responses(400, 401, 403, 413, 415, 422),
        opt=ALLOW_CONSOLE,
    )
    async def switch_back_pressure(data: BackPressureBody) -> BackPressure:
        await switches.switch_back_pressure(enabled=data.enabled)
        return await switches.describe_back_pressure()

    return [get_default_plan, change_default_plan, get_back_pressure, switch_back_pressure]


def _require_known(change: DefaultPlanChange) -> None:
    """Raise Problem (422) if the change names a flow that does not exist."""
    if unknown := sorted(change.couplings.keys() - FLOWS.keys()):
        fault = FieldError(
            pointer="/couplings", detail=f"names the unknown flow {unknown[0]!r}; flows: {', '.join(FLOWS)}"
        )
        raise Problem(422, "unknown_flow", f"{fault.pointer}: {fault.detail}", errors=[fault])
