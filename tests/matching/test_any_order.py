"""Whatever the order of what is heard: one answer, one verdict for each offer, no slot given twice."""

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
from prebook.matching.handlers import FLEETS, find_driver, handle_booking_ended, handle_fleet_reply
from prebook.messaging.handlers import HandlerResult
from tests.matching.memory import MemoryMatching
from tests.matching.rides import RIDE, about, ended, offer

BOOKINGS = ("b1", "b2", "b3", "b4")
END = "the end"

News = tuple[str, str, Message | None]
"""(booking, fleet, what it says); a None of the fleet END ends the booking."""


@st.composite
def said(draw: st.DrawFn, fleet: str) -> Message:
    """Few drivers and few distances, so that bookings collide and offers tie."""
    driver = f"{fleet}-{draw(st.integers(0, 1))}"
    offered = offer(fleet, draw(st.integers(1, 3)), driver)
    return draw(
        st.sampled_from([offered, offered, FleetDeclined(fleet=fleet, reason="busy"), Unavailable(reason="deadline")])
    )


@st.composite
def histories(draw: st.DrawFn) -> list[News]:
    answers: list[News] = [(booking, fleet, draw(said(fleet))) for booking in BOOKINGS for fleet in FLEETS]
    ends: list[News] = [(booking, END, None) for booking in draw(st.sets(st.sampled_from(BOOKINGS)))]
    return draw(st.permutations(answers + ends))


@dataclass
class Played:
    """What everybody was told, and who had which driver when."""

    answers: list[tuple[str, DriverReply]] = field(default_factory=list)
    verdicts: list[tuple[str, str, str, OfferVerdict]] = field(default_factory=list)
    driving: set[str] = field(default_factory=set)

    def note(self, booking: str, outcome: HandlerResult) -> None:
        if outcome.reply is not None:
            self.answers.append((booking, outcome.reply))  # type: ignore[arg-type]
        for body in (fact.body for fact in outcome.events):
            assert isinstance(body, OfferSettled)
            self.verdicts.append((booking, body.fleet, body.driver, body.verdict))
            self._drive(body)

    def _drive(self, told: OfferSettled) -> None:
        if told.verdict is OfferVerdict.ACCEPTED:
            assert told.driver not in self.driving, "a slot given twice"
            self.driving.add(told.driver)
        if told.verdict is OfferVerdict.RELEASED:
            self.driving.remove(told.driver)


async def play(history: list[News], work: Any) -> Played:
    played = Played()
    for booking in BOOKINGS:
        played.note(booking, await find_driver(about(booking), RIDE, work))
    for booking, fleet, body in history:
        if body is None:
            outcome = await handle_booking_ended(about(booking), ended(booking), work)
        else:
            outcome = await handle_fleet_reply(about(booking, fleet), body, work)  # type: ignore[arg-type]
        played.note(booking, outcome)
    return played


@given(histories())
def test_one_answer_per_booking_one_verdict_per_offer_one_booking_per_slot(history: list[News]) -> None:
    work = MemoryMatching()
    played = asyncio.run(play(history, work))
    assert sorted(booking for booking, _ in played.answers) == sorted(BOOKINGS)
    final = Counter(v[:3] for v in played.verdicts if v[3] is not OfferVerdict.RELEASED)
    assert final == Counter((b, f, m.driver) for b, f, m in history if isinstance(m, FleetOffered))
    assert len(played.verdicts) == len(set(played.verdicts)), "somebody was told the same twice"
    assert {driver for driver, _ in work.assignments} == played.driving
    late = Counter(booking for booking, _, _, verdict in played.verdicts if verdict is OfferVerdict.LATE)
    assert {b: a.late_offers for b, a in work.auctions.items()} == {b: late[b] for b in BOOKINGS}


@given(histories())
def test_who_is_matched_has_the_driver_until_the_booking_ends(history: list[News]) -> None:
    work = MemoryMatching()
    played = asyncio.run(play(history, work))
    ended_bookings = {booking for booking, fleet, _ in history if fleet == END}
    matched = {b: a.driver for b, a in played.answers if isinstance(a, DriverMatched) and b not in ended_bookings}
    assert {booking: driver for (driver, _), booking in work.assignments.items()} == matched


@given(st.permutations(FLEETS), st.tuples(*[st.integers(1, 30)] * 3))
def test_the_best_of_the_first_two_offers_wins(order: list[str], minutes: tuple[int, int, int]) -> None:
    distance = dict(zip(FLEETS, minutes, strict=True))
    history: list[News] = [("b1", fleet, offer(fleet, distance[fleet])) for fleet in order]
    (answer,) = (a for b, a in asyncio.run(play(history, MemoryMatching())).answers if b == "b1")
    best = min(order[:2], key=lambda fleet: (distance[fleet], fleet))
    assert isinstance(answer, DriverMatched)
    assert (answer.fleet, answer.minutes_away) == (best, distance[best])
