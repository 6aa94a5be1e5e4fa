"""Riders of a chaos run: draws are reproducible, keys are repeated, and a request without a response stops nothing."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

import pytest
from aiohttp import web

from prebook.lab.chaos.arrivals import draw_requests
from prebook.lab.chaos.repeated_keys import (
    MAX_CONCURRENT,
    NO_REPETITIONS,
    REPEAT_SHARE,
    RepetitionPlan,
    draw_repetitions,
)
from prebook.lab.chaos.riders import (
    CANCEL_SHARE,
    MAX_CANCEL_DELAY_S,
    MIN_CANCEL_DELAY_S,
    ChaosRiders,
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
    monkeypatch.setattr("prebook.lab.chaos.riders.CANCEL_SHARE", 1.0)
    monkeypatch.setattr("prebook.lab.chaos.riders.MAX_CANCEL_DELAY_S", 0.2)
    requests = draw_requests(20, 0.2, 7, run="x", week=campaign_week(datetime.now(UTC)))
    monkeypatch.setattr("prebook.lab.chaos.repeated_keys.REPEAT_SHARE", 0.0)
    async with serve_stub(CancellableSuite()) as suite, open_session() as session:
        riders = ChaosRiders(session, suite.url, "chaos", 7)
        await riders.offer(requests, ClockOrigin.now())
    assert len(riders.samples) == 20
    assert Counter(cancellation.status for cancellation in riders.cancellations) == {200: 18, None: 2}
    assert {cancellation.booking_id for cancellation in riders.cancellations} == {
        sample.booking_id for sample in riders.samples
    }


def test_some_requests_are_repeated_at_once_later_and_with_another_body() -> None:
    plans = [draw_repetitions(7, ride, label) for ride in range(400) for label in PLANS]
    assert plans == [draw_repetitions(7, ride, label) for ride in range(400) for label in PLANS]
    repeating = [plan for plan in plans if plan != NO_REPETITIONS]
    assert len(repeating) == pytest.approx(REPEAT_SHARE * len(plans), rel=0.3)
    assert {plan.concurrent for plan in repeating} == {0, *range(1, MAX_CONCURRENT + 1)}
    assert any(plan.same_after_s is not None for plan in repeating)
    assert any(plan.other_after_s is not None for plan in repeating)


async def test_every_repetition_is_kept_with_its_response_and_only_used_keys_get_another_body(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = RepetitionPlan(concurrent=2, same_after_s=0.01, other_after_s=0.01)
    monkeypatch.setattr("prebook.lab.chaos.riders.draw_repetitions", lambda *_: plan)
    monkeypatch.setattr("prebook.lab.chaos.riders.CANCEL_SHARE", 0.0)
    requests = draw_requests(2, 0.1, 7, run="x", week=campaign_week(datetime.now(UTC)))
    refused_key = requests[1].key
    suite = KeyRecordingSuite(refused_key)
    async with serve_stub(suite), open_session() as session:
        riders = ChaosRiders(session, suite.url, "chaos", 7)
        await riders.offer(requests, ClockOrigin.now())
    bodies = suite.bodies
    assert len(bodies[requests[0].key]) == 5
    assert len(set(bodies[requests[0].key])) == 2
    assert len(bodies[refused_key]) == 4
    assert len(set(bodies[refused_key])) == 1
    assert Counter(attempt.status for attempt in riders.repetitions) == {202: 3, 503: 3, 422: 1}
    assert {attempt.code for attempt in riders.repetitions if not attempt.is_same_body} == {"idempotency_key_reused"}
    assert all(attempt.sent_at <= attempt.answered_at for attempt in riders.repetitions)


class KeyRecordingSuite(StubSuite):
    """Stub that records the bodies of each key, refuses one key, and refuses another body under a used key."""

    def __init__(self, refused_key: str) -> None:
        super().__init__()
        self.refused_key = refused_key
        self.bodies: dict[str, list[bytes]] = {}

    async def book(self, request: web.Request) -> web.Response:
        key = request.headers["Idempotency-Key"]
        body = await request.read()
        bodies = self.bodies.setdefault(key, [])
        bodies.append(body)
        if key == self.refused_key:
            return web.json_response({"code": "overloaded"}, status=503)
        if body != bodies[0]:
            return web.json_response({"code": "idempotency_key_reused"}, status=422)
        return web.json_response({"id": f"bk_{key}"}, status=202)
