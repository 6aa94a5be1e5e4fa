"""Messages in any order: one reply per booking, one verdict per offer, no slot assigned twice."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from prebook.contracts.events import OfferSettled, OfferVerdict
from prebook.contracts.fleets import FleetDeclined, FleetOffered
from prebook.contracts.matching import DriverMatched, DriverReply
from prebook.contracts.message import Message, Unavailable
from prebook.matching.handlers import handle_booking_ended
from prebook.messaging.handlers import HandlerResult
from tests.matching.memory import MemoryMatching
from tests.matching.messages import (
    FLEETS,
    RIDE,
    booking_ended,
    find_driver,
    handle_fleet_reply,
    handler_context,
    offer,
)

BOOKINGS = ("b1", "b2", "b3", "b4")
END = "booking ended"

Arrival = tuple[str, str, Message | None]
"""(booking, fleet, reply); fleet END with None ends the booking."""


@st.composite
def replies_of(draw: st.DrawFn, fleet: str) -> Message:
    """Replies with few drivers and few distances, so that bookings collide and offers tie."""
    driver = f"{fleet}-{draw(st.integers(0, 1))}"
    offered = offer(fleet, draw(st.integers(1, 3)), driver)
    return draw(
        st.sampled_from([offered, offered, FleetDeclined(fleet=fleet, reason="busy"), Unavailable(reason="deadline")])
    )


@st.composite
def histories(draw: st.DrawFn) -> list[Arrival]:
    replies: list[Arrival] = [(booking, fleet, draw(replies_of(fleet))) for booking in BOOKINGS for fleet in FLEETS]
    ends: list[Arrival] = [(booking, END, None) for booking in draw(st.sets(st.sampled_from(BOOKINGS)))]
    return draw(st.permutations(replies + ends))


@dataclass
class Recording:
    """Replies, verdicts and assigned drivers of a history."""

    replies: list[tuple[str, DriverReply]] = field(default_factory=list)
    verdicts: list[tuple[str, str, str, OfferVerdict]] = field(default_factory=list)
    assigned_drivers: set[str] = field(default_factory=set)

    def record(self, booking: str, result: HandlerResult) -> None:
        if result.reply is not None:
            self.replies.append((booking, result.reply))  # type: ignore[arg-type]
        for body in (event.body for event in result.events):
            assert isinstance(body, OfferSettled)
            self.verdicts.append((booking, body.fleet, body.driver, body.verdict))
            self._assign(body)

    def _assign(self, body: OfferSettled) -> None:
        if body.verdict is OfferVerdict.ACCEPTED:
            assert body.driver not in self.assigned_drivers, "a slot assigned twice"
            self.assigned_drivers.add(body.driver)
        if body.verdict is OfferVerdict.RELEASED:
            self.assigned_drivers.remove(body.driver)


async def run_history(history: list[Arrival], work: Any) -> Recording:
    recording = Recording()
    for booking in BOOKINGS:
        recording.record(booking, await find_driver(handler_context(booking), RIDE, work))
    for booking, fleet, body in history:
        if body is None:
            result = await handle_booking_ended(handler_context(booking), booking_ended(booking), work)
        else:
            result = await handle_fleet_reply(handler_context(booking, fleet), body, work)  # type: ignore[arg-type]
        recording.record(booking, result)
    return recording


@given(histories())
def test_one_reply_per_booking_one_verdict_per_offer_one_booking_per_slot(history: list[Arrival]) -> None:
    work = MemoryMatching()
    recording = asyncio.run(run_history(history, work))
    assert sorted(booking for booking, _ in recording.replies) == sorted(BOOKINGS)
    final = Counter(v[:3] for v in recording.verdicts if v[3] is not OfferVerdict.RELEASED)
    offered = [(b, f, m.driver) for b, f, m in history if isinstance(m, FleetOffered)]
    withdrawn = [(b, f, "") for b, f, m in history if isinstance(m, Unavailable)]
    assert final == Counter(offered + withdrawn)
    assert len(recording.verdicts) == len(set(recording.verdicts)), "a verdict was sent twice"
    assert {driver for driver, _ in work.assignments} == recording.assigned_drivers
    late = Counter(booking for booking, _, _, verdict in recording.verdicts if verdict is OfferVerdict.LATE)
    assert {b: a.late_offers for b, a in work.auctions.items()} == {b: late[b] for b in BOOKINGS}
    for booking, auction in work.auctions.items():
        received = [m for b, _, m in history if b == booking and isinstance(m, FleetOffered | FleetDeclined)]
        assert auction.replies.received == len(received), "each reply has one verdict"
        assert auction.replies.settled == len(FLEETS), "each fleet has replied, or was given up"


@given(histories())
def test_a_matched_booking_keeps_its_driver_until_it_ends(history: list[Arrival]) -> None:
    work = MemoryMatching()
    recording = asyncio.run(run_history(history, work))
    ended_bookings = {booking for booking, fleet, _ in history if fleet == END}
    matched = {b: a.driver for b, a in recording.replies if isinstance(a, DriverMatched) and b not in ended_bookings}
    assert {booking: driver for (driver, _), booking in work.assignments.items()} == matched


@given(st.permutations(FLEETS), st.tuples(*[st.integers(1, 30)] * 3))
def test_the_best_of_the_first_two_offers_wins(order: list[str], minutes: tuple[int, int, int]) -> None:
    distance = dict(zip(FLEETS, minutes, strict=True))
    history: list[Arrival] = [("b1", fleet, offer(fleet, distance[fleet])) for fleet in order]
    (reply,) = (a for b, a in asyncio.run(run_history(history, MemoryMatching())).replies if b == "b1")
    best = min(order[:2], key=lambda fleet: (distance[fleet], fleet))
    assert isinstance(reply, DriverMatched)
    assert (reply.fleet, reply.minutes_away, reply.fleets_replied) == (best, distance[best], 2)
