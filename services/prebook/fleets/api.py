"""Fleets' HTTP API: conditions of the simulated partners, and probes of them, for the console."""

import random
import time
from collections.abc import Sequence
from typing import Annotated

from litestar import post
from litestar.handlers import BaseRouteHandler
from litestar.params import Body, PathParameter

from prebook.contracts.fleets import AskFleet
from prebook.contracts.partners import ConditionRequest, PartnerProbe
from prebook.contracts.ride import Place, VehicleClass
from prebook.fleets.domain.message_translators import TRANSLATORS
from prebook.fleets.partner_exchange import call_partner
from prebook.fleets.partner_wire import PartnerWire
from prebook.fleets.partners.conditions import CONDITIONS
from prebook.fleets.store import FleetsWork
from prebook.http.bodies import StrictBody
from prebook.http.call_guard import ALLOW_CONSOLE
from prebook.http.problems import Problem, problem_responses
from prebook.runtime.service import ServiceContext

PartnerName = Annotated[str, PathParameter(description="name of a partner fleet")]


def internal_routes(context: ServiceContext[FleetsWork], wire: PartnerWire) -> Sequence[BaseRouteHandler]:
    """Litestar route handlers that impose conditions on partners and probe them, for the console."""

    @post(
        "/v1/partners/{partner:str}/condition",
        status_code=204,
        summary="Make a simulated partner slow, dead, garbled or upgraded for a time",
        dto=StrictBody[ConditionRequest],
        return_dto=None,
        responses=problem_responses(400, 401, 403, 404, 413, 415, 422),
        opt=ALLOW_CONSOLE,
    )
    async def impose_condition(partner: PartnerName, data: Annotated[ConditionRequest, Body()]) -> None:
        CONDITIONS.impose(_check_name(partner), data.condition, data.duration_s)

    @post(
        "/v1/partners/{partner:str}/probe",
        status_code=200,
        summary="Call a partner as for a ride, without any effect",
        responses=problem_responses(400, 401, 403, 404, 413, 415),
        opt=ALLOW_CONSOLE,
    )
    async def probe(partner: PartnerName) -> PartnerProbe:
        request = _sample_request(_check_name(partner), context)
        began = time.perf_counter()
        exchange = await call_partner(wire.calls[partner], request, context.settings.partner_timeout_s)
        return PartnerProbe(fleet=partner, outcome=exchange.outcome, seconds=time.perf_counter() - began)

    return [impose_condition, probe]


def _check_name(partner: str) -> str:
    if partner not in TRANSLATORS:
        raise Problem(404, "no_such_partner", f"the partners are {', '.join(TRANSLATORS)}")
    return partner


def _sample_request(partner: str, context: ServiceContext[FleetsWork]) -> AskFleet:
    """Return a request for a ride that nobody has asked for, because a partner always replies to one ride the same."""
    return AskFleet(
        fleet=partner,
        pickup=Place(lat=random.uniform(52.4, 52.6), lon=random.uniform(13.3, 13.5)),
        pickup_at=context.clock(),
        ride_minutes=20,
        vehicle_class=VehicleClass.STANDARD,
        passengers=1,
    )
