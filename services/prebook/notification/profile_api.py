"""Notification's HTTP API of riders' profiles: pricing reads them, the console sets them."""

from collections.abc import Sequence
from typing import Annotated

from litestar import get, put
from litestar.handlers import BaseRouteHandler
from litestar.params import Body, PathParameter

from prebook.contracts.riders import RiderProfile
from prebook.flows import CONSOLE, RIDER_PROFILE
from prebook.http.bodies import StrictBody
from prebook.http.call_guard import ALLOW_CONSOLE, allow_callers
from prebook.http.problems import Problem, problem_responses
from prebook.notification.store import NotificationWork
from prebook.runtime.service import ServiceContext

ProfileOwner = Annotated[str, PathParameter(pattern="^[A-Za-z0-9_.:-]{1,64}$", description="id of the rider")]
ProfileBody = Annotated[RiderProfile, Body()]
PATH = "/v1/riders/{rider_id:str}/profile"


def profile_routes(context: ServiceContext[NotificationWork]) -> Sequence[BaseRouteHandler]:
    """Litestar route handlers of the profiles."""

    @get(
        PATH,
        summary="Get the profile of a rider",
        responses=problem_responses(400, 401, 403, 404),
        opt=allow_callers(lambda _: (RIDER_PROFILE.reader, CONSOLE)),
    )
    async def get_profile(rider_id: ProfileOwner) -> RiderProfile:
        async with context.units.commands() as work:
            profile = await work.find_profile(rider_id)
        if profile is None:
            raise Problem(404, "no_such_profile", "the rider has no profile; PUT one, or use the standard tier")
        return profile

    @put(
        PATH,
        summary="Set the profile of a rider",
        dto=StrictBody[RiderProfile],
        return_dto=None,
        responses=problem_responses(400, 401, 403, 413, 415, 422),
        opt=ALLOW_CONSOLE,
    )
    async def put_profile(rider_id: ProfileOwner, data: ProfileBody) -> RiderProfile:
        async with context.units.commands() as work:
            await work.save_profile(rider_id, data)
        return data

    return [get_profile, put_profile]
