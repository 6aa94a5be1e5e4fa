"""Cancelling riders: the draw is reproducible, and a cancellation without a response does not stop the run."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

import pytest
from aiohttp import web

from prebook.lab.chaos.arrivals import draw_requests
from prebook.lab.chaos.cancelling_riders import (
    CANCEL_SHARE,
    MAX_CANCEL_DELAY_S,
    MIN_CANCEL_DELAY_S,
    CancellingRiders,
    cancel_delay_s,
)
from prebook.lab.load.generator import ClockOrigin, open_session
from prebook.lab.load.plans import PLANS
from prebook.lab.load.rides import campaign_week
from tests.lab.stub_suite import StubSuite, serve_stub


def test_the_configured_share_of_riders_cancels_and_the_draw_is_reproducible() -> None:
    draws = [cancel_delay_s(7, ride, label) for ride in range(400) for label in PLANS]
    assert draws == [cancel_delay_s(7, ride, label) for ride in range(400) for label in PLANS]
    delays_s = [delay_s for delay_s in draws if delay_s is not None]
    assert len(delays_s) == pytest.approx(CANCEL_SHARE * len(draws), rel=0.3)
    assert MIN_CANCEL_DELAY_S <= min(delays_s) <= max(delays_s) <= MAX_CANCEL_DELAY_S


class CancellableSuite(StubSuite):
    async def cancel(self, request: web.Request) -> web.Response:
        if request.match_info["booking_id"].endswith("1"):
            assert request.transport is not None
            request.transport.abort()
        return web.json_response({})

    @property
    def routes(self) -> Mapping[tuple[str, str], Callable[[web.Request], Awaitable[web.StreamResponse]]]:
        return {**super().routes, ("DELETE", "/v1/bookings/{booking_id}"): self.cancel}


async def test_every_cancellation_is_kept_with_its_status_and_an_aborted_one_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("prebook.lab.chaos.cancelling_riders.CANCEL_SHARE", 1.0)
    monkeypatch.setattr("prebook.lab.chaos.cancelling_riders.MAX_CANCEL_DELAY_S", 0.2)
    requests = draw_requests(20, 0.2, 7, run="x", week=campaign_week(datetime.now(UTC)))
    async with serve_stub(CancellableSuite()) as suite, open_session() as session:
        riders = CancellingRiders(session, suite.url, "chaos", 7)
        await riders.offer(requests, ClockOrigin.now())
    assert len(riders.samples) == 20
    assert Counter(cancellation.status for cancellation in riders.cancellations) == {200: 18, None: 2}
    assert {cancellation.booking_id for cancellation in riders.cancellations} == {
        sample.booking_id for sample in riders.samples
    }
