"""Admission control against a provider of a given speed, on a clock of its own."""

import heapq
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import msgspec
import pytest

from prebook.booking.load_shedding.shedder import (
    MAX_CONCURRENT_INSERTS,
    TARGET_QUEUEING_DELAY_S,
    LoadShedder,
    ShedDecision,
)
from prebook.booking.store import LoadSignals
from prebook.contracts.plan import Coupling
from prebook.flows import FLOWS
from prebook.messaging.policy import FlowPolicy
from tests.booking.rides import PLAN, SETTINGS, inline, queued

POLICIES = {flow: FlowPolicy(coupling=Coupling.REQUEST_REPLY) for flow in FLOWS}
LEG = ("quote_fare", Coupling.REQUEST_REPLY)
STEP_S = 0.01


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def control(
    clock: Clock, broker_blocked_s: Callable[[], float | None] = lambda: None, **settings: object
) -> LoadShedder:
    lines = {**dict.fromkeys(Coupling, queued()), Coupling.SYNC_API: inline()}
    changed = msgspec.structs.replace(SETTINGS, **settings)
    return LoadShedder(changed, POLICIES, lines, broker_blocked_s, clock=clock, draw=random.Random(7).uniform)


@dataclass
class Provider:
    """Answers ``per_s`` questions a second, first come, first served; riders come and come back."""

    control: LoadShedder
    clock: Clock
    per_s: float
    queue: list[float] = field(default_factory=list)
    coming_back: list[tuple[float, str, int]] = field(default_factory=list)
    oldest_s: float = 0.0
    longest: int = 0
    served: int = 0
    tries: Counter[str] = field(default_factory=Counter)
    let_in: Counter[int] = field(default_factory=Counter)
    """By how often they had been turned away before."""
    turned_away: Counter[int] = field(default_factory=Counter)

    def run(self, seconds: float, arrivals_per_s: float) -> None:
        due, credit = 0.0, 0.0
        for step in range(round(seconds / STEP_S)):
            self.clock.now += STEP_S
            due, credit = due + arrivals_per_s * STEP_S, credit + self.per_s * STEP_S
            if step % round(1 / STEP_S) == 0:
                self._sampled()
            for key in [*self._new(int(due)), *self._back()]:
                self._comes(*key)
            due -= int(due)
            credit = self._serves(credit)

    def _new(self, count: int) -> Iterator[tuple[str, int]]:
        yield from ((f"k{len(self.tries)}-{n}", 0) for n in range(count))

    def _back(self) -> Iterator[tuple[str, int]]:
        while self.coming_back and self.coming_back[0][0] <= self.clock.now:
            _, key, before = heapq.heappop(self.coming_back)
            yield key, before

    def _comes(self, key: str, before: int) -> None:
        self.tries[key] += 1
        shed = self.control.decide(key, PLAN)
        if shed is None:
            self.let_in[before] += 1
            self.queue.append(self.clock.now)
            self.longest = max(self.longest, len(self.queue))
            return
        self.turned_away[before] += 1
        at = self.clock.now + math.ceil(shed.retry_after_s)  # what the header says
        heapq.heappush(self.coming_back, (at, key, before + 1))

    def _serves(self, credit: float) -> float:
        now = min(int(credit), len(self.queue))
        if now:
            self.oldest_s = max(self.oldest_s, self.clock.now - self.queue[0])
            del self.queue[:now]
            self.served += now
        return min(credit - now, 1.0)

    def _sampled(self) -> None:
        left = 30.0 - (self.clock.now - self.queue[0] if self.queue else 0.0)
        unanswered = {LEG: len(self.queue)} if self.queue else {}
        due = {LEG: left} if self.queue else {}
        rate = self.per_s if self.queue else 0.0
        self.control.update(LoadSignals(pending_requests=unanswered, time_to_deadline_s=due, replies_per_s={LEG: rate}))


def test_five_times_too_much_is_served_at_full_speed_and_the_others_know_when() -> None:
    clock = Clock()
    provider = Provider(control(clock), clock, per_s=50.0)
    provider.run(60.0, arrivals_per_s=250.0)

    assert provider.served >= 0.98 * 60 * 50
    # Whoever comes before the first look, which is a second after the start, is let in.
    assert provider.longest <= (1.3 * TARGET_QUEUEING_DELAY_S + 1.0) * 50 < SETTINGS.max_pending_requests
    assert provider.oldest_s <= 1.3 * TARGET_QUEUEING_DELAY_S + 1.0
    came_back = sum(provider.let_in[n] + provider.turned_away[n] for n in (1, 2, 3))
    assert came_back > 500
    assert sum(provider.let_in[n] for n in (1, 2, 3)) >= 0.9 * came_back, "most who come back then get in"

    provider.run(400.0, arrivals_per_s=0.0)
    assert (provider.coming_back, provider.queue) == ([], [])
    assert provider.served == sum(provider.let_in.values()) == len(provider.tries)


def test_a_provider_that_stops_and_goes_on_is_not_drowned() -> None:
    clock = Clock()
    provider = Provider(control(clock), clock, per_s=50.0)
    provider.run(10.0, arrivals_per_s=40.0)
    provider.per_s = 0.0
    provider.run(25.0, arrivals_per_s=40.0)
    waiting = len(provider.queue)
    provider.per_s = 50.0
    provider.run(200.0, arrivals_per_s=0.0)

    assert waiting <= SETTINGS.max_pending_requests
    assert provider.turned_away[0] > 0
    assert (provider.coming_back, provider.queue) == ([], [])
    assert provider.served == len(provider.tries)


def test_a_limit_follows_what_is_answered_and_what_stands_still_has_the_fixed_one() -> None:
    clock, plan = Clock(), dict.fromkeys(FLOWS, Coupling.ONE_WAY)
    leg, one = ("quote_fare", Coupling.ONE_WAY), control(clock)
    for _ in range(40):
        clock.now += 1.0
        one.update(LoadSignals(pending_requests={leg: 100}, replies_per_s={leg: 10.0}))
    assert isinstance(one.decide("k1", plan), ShedDecision)

    clock.now += 1.0
    one.update(LoadSignals(pending_requests={leg: 100}))
    assert one.decide("k2", plan) is None
    one.update(LoadSignals(pending_requests={leg: SETTINGS.max_pending_requests}))
    assert isinstance(one.decide("k3", plan), ShedDecision)


def test_plans_that_wait_for_the_same_are_told_different_times() -> None:
    clock, shared = Clock(), ("find_driver", Coupling.REQUEST_REPLY)
    one = control(clock)
    plans = [{**PLAN, "quote_fare": coupling} for coupling in (Coupling.ONE_WAY, Coupling.REQUEST_REPLY)]
    one.update(LoadSignals(pending_requests={shared: 500}, replies_per_s={shared: 8.0}))
    sheds = [one.decide(f"k{n}", plans[n % 2]) for n in range(40)]

    waits = [shed.retry_after_s for shed in sheds if shed]
    assert len(waits) == 40
    assert max(waits) - min(waits) >= 39 / 8.0


def test_nothing_is_refused_while_there_is_room() -> None:
    clock = Clock()
    provider = Provider(control(clock), clock, per_s=50.0)
    provider.run(60.0, arrivals_per_s=48.0)

    assert provider.turned_away.total() == 0


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (LoadSignals(outbox_rows=5000), "outbox_rows"),
        (LoadSignals(outbox_age_s=15.0), "outbox_age"),
        (LoadSignals(pending_requests={LEG: 500}, time_to_deadline_s={LEG: 25.0}), "quote_fare_by_request_reply"),
        (LoadSignals(pending_requests={LEG: 1}, time_to_deadline_s={LEG: 9.9}), "quote_fare_by_request_reply"),
        (LoadSignals(pending_requests={("find_driver", Coupling.REQUEST_REPLY): 500}), "find_driver_by_request_reply"),
    ],
)
def test_each_load_has_a_limit(seen: LoadSignals, reason: str) -> None:
    clock = Clock()
    full, off = control(clock), control(clock, back_pressure="off")
    for one in (full, off):
        one.update(seen)
    shed = full.decide("k1", PLAN)

    assert isinstance(shed, ShedDecision)
    assert shed.reason == reason
    assert off.decide("k1", PLAN) is None


def test_what_one_coupling_waits_for_is_no_reason_to_refuse_another() -> None:
    one = control(Clock())
    one.update(LoadSignals(outbox_age_s=60.0, pending_requests={LEG: 500}, time_to_deadline_s={LEG: 5.0}))

    assert one.decide("k1", PLAN) is not None
    assert one.decide("k2", dict.fromkeys(FLOWS, Coupling.SYNC_API)) is None


def test_only_so_many_bookings_are_stored_at_a_time_and_a_repeated_request_is_the_same_one() -> None:
    one = control(Clock())
    with ExitStack() as stack:
        for _ in range(50):
            stack.callback(one.begin_insert("same", rider_waits=False))
        assert one.decide("k1", PLAN) is None
        for n in range(MAX_CONCURRENT_INSERTS):
            stack.callback(one.begin_insert(f"k{n}", rider_waits=False))
        shed = one.decide("new", PLAN)
        assert shed is not None
        assert shed.reason == "concurrent_inserts"
        assert one.decide("held", dict.fromkeys(FLOWS, Coupling.SYNC_API)) is not None, "all come by the same door"
    assert one.decide("later", PLAN) is None


def test_who_was_told_to_come_finds_a_place_at_a_door_that_newcomers_find_full() -> None:
    clock = Clock()
    one = control(clock)
    with ExitStack() as stack:
        for n in range(MAX_CONCURRENT_INSERTS):
            stack.callback(one.begin_insert(f"k{n}", rider_waits=False))
        shed = one.decide("told", PLAN)
        assert shed is not None
        clock.now += math.ceil(shed.retry_after_s)
        assert one.decide("new", PLAN) is not None
        assert one.decide("told", PLAN) is None


def test_only_so_many_riders_are_held_at_a_time() -> None:
    one, plan = control(Clock(), max_waiting_riders=2), dict.fromkeys(FLOWS, Coupling.SYNC_API)
    answered = one.begin_insert("h1", rider_waits=True)
    assert one.decide("k1", plan) is None
    one.begin_insert("h2", rider_waits=True)
    shed = one.decide("k2", plan)
    assert shed is not None
    assert shed.reason == "waiting_riders"
    assert one.decide("k3", PLAN) is None
    answered()
    assert one.decide("k4", plan) is None


@pytest.mark.parametrize("most_s", [0.0, 5.0])
def test_once_the_broker_has_taken_nothing_for_too_long_who_needs_it_is_refused_and_nobody_else(most_s: float) -> None:
    blocked_s: list[float | None] = [None]
    one = control(Clock(), lambda: blocked_s[0], max_broker_blocked_s=most_s)
    assert one.decide("before", PLAN) is None
    if most_s:
        blocked_s[0] = most_s - 0.1
        assert one.decide("soon over", PLAN) is None, "a short alarm is what an outbox is for"
    blocked_s[0] = most_s
    shed = one.decide("meanwhile", PLAN)
    assert shed is not None
    assert shed.reason == "broker_blocked"
    assert one.decide("by call", dict.fromkeys(FLOWS, Coupling.SYNC_API)) is None
    blocked_s[0] = None
    assert one.decide("after", PLAN) is None


def test_who_is_held_stands_in_the_door_as_well() -> None:
    one = control(Clock())
    answered = [one.begin_insert(f"h{n}", rider_waits=True) for n in range(MAX_CONCURRENT_INSERTS)]
    shed = one.decide("k1", PLAN)
    assert shed is not None
    assert shed.reason == "concurrent_inserts"
    for each in answered:
        each()
    assert one.decide("k2", PLAN) is None
