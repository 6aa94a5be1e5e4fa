"""The default plan on the page, and the drawing that follows it."""

import httpx
import pytest
from litestar import Litestar
from litestar.testing import AsyncTestClient

from prebook.contracts.plan import Coupling
from prebook.control_room.default_plan import plan_routes
from prebook.control_room.upstream import Upstream
from prebook.flows import FLOWS
from prebook.http.problems import EXCEPTION_HANDLERS

MIXED = {**dict.fromkeys(FLOWS, "request_reply"), "notify_rider": "one_way"}


class BookingStub:
    """Booking's internal listener as an HTTP transport: keeps requests, and has one default plan."""

    def __init__(self, status: int = 200) -> None:
        self.requests: list[httpx.Request] = []
        self.status = status

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        flows = {flow: {"coupling": coupling, "configured": "sync_api"} for flow, coupling in MIXED.items()}
        return httpx.Response(self.status, json={"flows": flows})


def page_of(booking: BookingStub) -> AsyncTestClient[Litestar]:
    client = httpx.AsyncClient(transport=httpx.MockTransport(booking))
    routes = plan_routes(Upstream(client, "booking", "http://booking.test", 1.0, lambda: httpx.BasicAuth("a", "b")))
    return AsyncTestClient(Litestar(routes, exception_handlers=EXCEPTION_HANDLERS, openapi_config=None))


async def test_a_change_is_passed_on_to_booking_with_a_signature() -> None:
    booking = BookingStub()
    async with page_of(booking) as page:
        response = await page.patch("/v1/default-plan", json={"couplings": {"quote_fare": "one_way"}})
    assert response.json()["flows"]["quote_fare"]["configured"] == "sync_api"
    (request,) = booking.requests
    assert (request.method, request.url.path) == ("PATCH", "/v1/default-plan")
    assert request.content == b'{"couplings":{"quote_fare":"one_way"}}'
    assert "authorization" in request.headers


@pytest.mark.parametrize("body", [{"couplings": {}}, {"couplings": {"quote_fare": "carrier_pigeon"}}, {}])
async def test_a_change_without_a_known_coupling_never_reaches_booking(body: dict[str, object]) -> None:
    booking = BookingStub()
    async with page_of(booking) as page:
        assert (await page.patch("/v1/default-plan", json=body)).status_code == 422
    assert booking.requests == []


async def test_the_drawing_of_the_default_plan_has_the_couplings_of_the_moment() -> None:
    async with page_of(BookingStub()) as page:
        drawn = (await page.get("/v1/topology/default")).json()
    assert (drawn["plan"], drawn["couplings"]) == ("default", MIXED)


async def test_a_uniform_plan_is_drawn_without_booking() -> None:
    booking = BookingStub()
    async with page_of(booking) as page:
        for coupling in Coupling:
            drawn = (await page.get(f"/v1/topology/{coupling}")).json()
            assert set(drawn["couplings"].values()) == {coupling.value}
        unknown = await page.get("/v1/topology/carrier_pigeon")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "no_such_plan")
    assert booking.requests == []


async def test_a_default_plan_that_booking_does_not_say_is_not_made_up() -> None:
    async with page_of(BookingStub(status=503)) as page:
        response = await page.get("/v1/topology/default")
    assert (response.status_code, response.json()["code"]) == (502, "default_plan_unknown")
