"""Internal HTTP endpoints of a service's claim store: receivers read bodies, operations keeps them for dead letters."""

from collections.abc import Collection, Mapping
from datetime import timedelta
from functools import partial
from typing import Annotated, Any

from litestar import Request, Response, get, post
from litestar.handlers import BaseRouteHandler
from litestar.params import Body, FromPath

from prebook.contracts.claim_store import ExtendBodies, ExtendedBodies
from prebook.coupling.inbound import InboundGateway
from prebook.flows import OPERATIONS, receivers_from
from prebook.http.bodies import StrictBody
from prebook.http.call_guard import allow_callers
from prebook.http.problems import Problem
from prebook.messaging.claim_checks import receivers_of
from prebook.messaging.codec import CHECKED_BODIES_PATH
from prebook.patterns.call_signature import CALLER_HEADER
from prebook.patterns.claim_check import REFERENCE_PATTERN

NO_CHECKED_BODY = "no_checked_body"
"""Code of the problem by which the store says that it does not hold a body."""


def claim_store_routes(service: str, gateway: InboundGateway, lifetime: timedelta) -> list[BaseRouteHandler]:
    """Route handlers of the claim store of a service; they declare who may call them. ``lifetime``: of each body."""

    @get(
        f"{CHECKED_BODIES_PATH}/{{reference:str}}",
        include_in_schema=False,
        opt=allow_callers(partial(_receivers, service)),
    )
    async def read(request: Request[Any, Any, Any], reference: FromPath[str]) -> Response[bytes]:
        stored = await gateway.read_body(reference) if REFERENCE_PATTERN.match(reference) else None
        if stored is None:
            raise Problem(404, NO_CHECKED_BODY, "the body has expired, or never was; its message cannot be handled")
        if request.headers.get(CALLER_HEADER) not in receivers_of(stored.kind, stored.flow):
            raise Problem(403, "caller_not_allowed", f"the caller receives no {stored.kind} of {stored.flow}")
        return Response(stored.body, media_type="application/octet-stream")  # its message names its content type

    @post(
        f"{CHECKED_BODIES_PATH}/extensions",
        status_code=200,
        include_in_schema=False,
        dto=StrictBody[ExtendBodies],
        return_dto=None,
        opt=allow_callers(lambda _: (OPERATIONS,)),
    )
    async def extend(data: Annotated[ExtendBodies, Body()]) -> ExtendedBodies:
        return ExtendedBodies(kept=await gateway.extend_bodies(data.references, lifetime))

    return [read, extend]


def _receivers(service: str, _: Mapping[str, Any]) -> Collection[str]:
    return receivers_from(service)
