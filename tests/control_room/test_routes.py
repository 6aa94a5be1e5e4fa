"""The API behind the page: the stream, the topology, and rides booked by hand."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import msgspec
import pytest

from prebook.contracts.plan import Coupling
from prebook.control_room.app import PageAddress, create_control_room
from prebook.control_room.drawing import draw_plan
from prebook.control_room.feed import MAX_WATCHERS, Feed
from prebook.control_room.routes import api_routes
from prebook.control_room.server import serve_page
from prebook.control_room.sessions import Sessions
from prebook.devstack.ports import LOOPBACK, allocate_ports
from prebook.devstack.supervisor.control_api import token_digest
from tests.conditions import wait_until
from tests.control_room.test_feed import decode

BOOKING_URL = "http://booking.test"
RIDE = {
    "rider_id": "rosa",
    "pickup": {"lat": 52.5, "lon": 13.4},
    "dropoff": {"lat": 52.55, "lon": 13.4},
    "pickup_at": "2027-01-01T12:00:00Z",
    "vehicle_class": "standard",
    "passengers": 1,
}
PLAN = {"quote_fare": "sync_api", "find_driver": "one_way", "ask_fleet": "async_api", "notify_rider": "one_way"}


class BookingStub:
    """Booking as an HTTP transport: keeps requests, and gives the response that it is told to give."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.response = httpx.Response(202, json={"id": "bk_1", "state": "requested"})
        self.is_away = False

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self.is_away:
            raise httpx.ConnectError("refused")
        return self.response


@asynccontextmanager
async def open_browser(feed: Feed, booking: BookingStub | None = None) -> AsyncIterator[httpx.AsyncClient]:
    """Serve the control room and yield a client with a session, which sends the page's own origin."""
    (port,) = allocate_ports(1)
    address = PageAddress(f"http://{LOOPBACK}:{port}", port)
    sessions = Sessions()
    to_booking = httpx.AsyncClient(transport=httpx.MockTransport(booking or BookingStub()))
    app = create_control_room(address, sessions, token_digest("token"), api_routes(feed, to_booking, BOOKING_URL))
    async with (
        serve_page(app, LOOPBACK, port),
        httpx.AsyncClient(base_url=address.base_url, headers={"origin": address.base_url}, trust_env=False) as browser,
    ):
        await browser.get(address.with_token(sessions.issue_token()))
        try:
            yield browser
        finally:
            feed.close()


async def read_events(response: httpx.Response) -> AsyncIterator[bytes]:
    """Yield the events of a stream."""
    pending = b""
    async for chunk in response.aiter_bytes():
        pending += chunk
        while b"\n\n" in pending:
            event, _, pending = pending.partition(b"\n\n")
            yield event + b"\n\n"


async def test_a_browser_follows_the_feed_and_resumes() -> None:
    feed = Feed()
    feed.publish({"n": 0})
    async with open_browser(feed) as browser:
        async with browser.stream("GET", "/v1/live") as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            events = read_events(response)
            seq, kind, data = decode(await anext(events))
            assert (kind, data["n"]) == ("snapshot", 0)
            feed.publish({"n": 1})
            assert decode(await anext(events))[1:] == (
                "delta",
                {"seq": seq + 1, "at": pytest.approx(0, abs=60_000), "n": 1},
            )
            async with browser.stream("GET", "/v1/live", headers={"last-event-id": str(seq)}) as second:
                assert decode(await anext(read_events(second)))[2]["n"] == 1
        await wait_until(feed.unwatched.is_set, 10)


async def test_too_many_streams_are_refused_until_one_ends() -> None:
    feed = Feed()
    feed.publish({"n": 0})
    async with open_browser(feed) as browser:
        streams = [browser.stream("GET", "/v1/live") for _ in range(MAX_WATCHERS)]
        followed = [read_events(await stream.__aenter__()) for stream in streams]
        for events in followed:
            await anext(events)
        refused = await browser.get("/v1/live")
        assert (refused.status_code, refused.json()["code"]) == (503, "too_many_streams")
        assert refused.headers["retry-after"] == "5"
        await streams[0].__aexit__(None, None, None)
        await wait_until(lambda: len(feed._readers) < MAX_WATCHERS, 10)
        async with browser.stream("GET", "/v1/live") as response:
            assert response.status_code == 200
        for stream in streams[1:]:
            await stream.__aexit__(None, None, None)


async def test_a_stream_ends_when_the_console_stops() -> None:
    feed = Feed()
    feed.publish({"n": 0})
    async with open_browser(feed) as browser, browser.stream("GET", "/v1/live") as response:
        events = read_events(response)
        await anext(events)
        feed.close()
        async with asyncio.timeout(10):
            assert [event async for event in events] == []


async def test_a_ride_is_booked_with_its_plan_and_a_new_key_each_time() -> None:
    booking = BookingStub()
    async with open_browser(Feed(), booking) as browser:
        for _ in range(2):
            response = await browser.post("/v1/rides", json={**RIDE, "couplings": PLAN})
            assert (response.status_code, response.json()["id"]) == (202, "bk_1")
        assert {str(request.url) for request in booking.requests} == {f"{BOOKING_URL}/v1/bookings"}
        assert msgspec.json.decode(booking.requests[0].content)["couplings"] == PLAN
        keys = {request.headers["idempotency-key"] for request in booking.requests}
        assert (len(keys), all(key.startswith("control-room-") for key in keys)) == (2, True)
        assert "cookie" not in booking.requests[0].headers

        booking.response = httpx.Response(200, json={"id": "bk_1", "state": "confirmed"})
        assert (await browser.get("/v1/rides/bk_1")).json()["state"] == "confirmed"
        assert str(booking.requests[-1].url) == f"{BOOKING_URL}/v1/bookings/bk_1"


async def test_a_refusal_of_booking_and_its_absence_are_passed_on() -> None:
    booking = BookingStub()
    problem = {"status": 503, "detail": "too many rides wait"}
    booking.response = httpx.Response(503, json=problem, headers={"content-type": "application/problem+json"})
    async with open_browser(Feed(), booking) as browser:
        refused = await browser.post("/v1/rides", json=RIDE)
        assert (refused.status_code, refused.json()) == (503, problem)
        booking.is_away = True
        away = await browser.post("/v1/rides", json=RIDE)
        assert (away.status_code, away.json()["code"]) == (502, "booking_unreachable")


@pytest.mark.parametrize("change", [{"passengers": "1"}, {"couplings": {"quote_fare": "carrier_pigeon"}}, {"extra": 1}])
async def test_a_malformed_ride_never_reaches_booking(change: dict[str, object]) -> None:
    booking = BookingStub()
    async with open_browser(Feed(), booking) as browser:
        response = await browser.post("/v1/rides", json={**RIDE, **change})
    assert response.status_code == 422
    assert booking.requests == []


@pytest.mark.parametrize("coupling", Coupling)
def test_every_arrow_of_the_list_is_in_the_drawing_once(coupling: Coupling) -> None:
    topology = draw_plan(coupling.value)
    svg = topology.flows_svg + topology.events_svg
    names = [arrow.name for arrow in topology.arrows]
    assert len(names) == len(set(names))
    assert [svg.count(f'data-arrow="{name}"') for name in names] == [1] * len(names)
    assert {queue for queue in topology.queues if f'data-stop="{queue}"' not in svg} == set()


def test_the_drawing_has_no_inline_style() -> None:
    topology = draw_plan("one_way")
    for svg in (topology.flows_svg, topology.events_svg):
        assert "<style" not in svg
        assert "style=" not in svg
        assert " id=" not in svg


def test_arrows_know_their_figures() -> None:
    found = {arrow.name: (arrow.messages, arrow.count) for arrow in draw_plan(Coupling.ONE_WAY.value).arrows}
    queue = "pricing.one_way_requests.quote_fare"
    assert found["quote_fare/request/booking/prebook.events"] == ("quote_fare/one_way/request", "sent")
    assert found[f"quote_fare/request/prebook.events/{queue}"] == ("quote_fare/one_way/request", "sent")
    assert found[f"quote_fare/request/{queue}/pricing"] == ("quote_fare/one_way/request", "handled")
    events = {key: value for key, value in found.items() if key.startswith("booking_ended/")}
    assert ("booking_ended/one_way/event/matching", "handled") in events.values()
    polls = [arrow.messages for arrow in draw_plan(Coupling.ASYNC_API.value).arrows if arrow.leg == "poll"]
    assert polls
    assert set(polls) == {None}
