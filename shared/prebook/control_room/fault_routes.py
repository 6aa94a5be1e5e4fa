"""Route handlers of faults: catalogue, arm, inject."""

from collections.abc import Sequence
from typing import Annotated

from litestar import get, post
from litestar.params import Body, PathParameter
from litestar.types import ControllerRouterHandler

from prebook.control_room.faults import ARMED_S, CatalogueEntry, FaultDesk, FaultRun, Injection
from prebook.http.bodies import StrictBody

FaultName = Annotated[str, PathParameter(pattern="^[a-z_]{1,64}$", description="name of the fault")]


def fault_routes(desk: FaultDesk) -> Sequence[ControllerRouterHandler]:
    """Return the route handlers."""

    @get("/v1/faults", summary="List all faults, with the reasons why some cannot be injected here")
    async def list_faults() -> list[CatalogueEntry]:
        return list(await desk.read_catalogue())

    @post("/v1/faults/{name:str}/arm", status_code=200, summary="Allow a fault to be injected for some seconds")
    async def arm(name: FaultName) -> dict[str, float]:
        await desk.arm(name)
        return {"armed_s": ARMED_S}

    @post(
        "/v1/faults/{name:str}/injections",
        status_code=202,
        summary="Inject an armed fault",
        dto=StrictBody[Injection],
        return_dto=None,
    )
    async def inject(name: FaultName, data: Annotated[Injection, Body()]) -> FaultRun:
        return desk.inject(name, data.duration_s)

    return [list_faults, arm, inject]
