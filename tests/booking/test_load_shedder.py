"""Admission control against a simulated provider of a given rate, on a simulated clock."""

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
from prebook.booking.sql.load_signals import RATE_WINDOW_S
from prebook.booking.store import LoadSignals
from prebook.contracts.plan import Coupling
from prebook.flows import FLOWS
from prebook.messaging.policy import FlowPolicy, Policies
from prebook.patterns.admission_control import HEADROOM
from tests.booking.booking_suite import PLAN, SETTINGS, BookingSuite

DEADLINE_S = 30.0
POLICIES = {flow: FlowPolicy(coupling=Coupling.REQUEST_REPLY, deadline_s=DEADLINE_S) for flow in FLOWS}
PATIENT_POLICIES = {flow: FlowPolicy(coupling=Coupling.REQUEST_REPLY, deadline_s=300.0) for flow in FLOWS}
QUOTE_BY_REQUEST_REPLY = ("quote_fare", Coupling.REQUEST_REPLY)
CHANNELS = BookingSuite().assembled.channels
STEP_S = 0.01


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def make_shedder(
    clock: Clock,
    broker_blocked_s: Callable[[], float | None] = lambda: None,
    policies: Policies = POLICIES,
    *,
    is_enabled: Callable[[], bool] = lambda: True,
    **settings: object,
) -> LoadShedder:
    changed = msgspec.structs.replace(SETTINGS, **settings)
    draw = random.Random(7).uniform
    return LoadShedder(changed, policies, CHANNELS, broker_blocked_s, is_enabled=is_enabled, clock=clock, draw=draw)


@dataclass
class Provider:
    """Provider that replies to ``per_s`` requests a second, first in, first out; refused riders return in time."""

    shedder: LoadShedder
    clock: Clock
    per_s: float
    deadline_s: float = DEADLINE_S
    last_reply_at: float = -math.inf
    queue: list[float] = field(default_factory=list)
    returning: list[tuple[float, str, int]] = field(default_factory=list)
    oldest_s: float = 0.0
    longest: int = 0
    served: int = 0
    attempts: Counter[str] = field(default_factory=Counter)
    admitted: Counter[int] = field(default_factory=Counter)
    """Admissions by the number of earlier refusals."""
    refused: Counter[int] = field(default_factory=Counter)

    def run(self, seconds: float, arrivals_per_s: float) -> None:
        due = 0.0
        credit = 0.0
        for step in range(round(seconds / STEP_S)):
            self.clock.now += STEP_S
            due += arrivals_per_s * STEP_S
            credit += self.per_s * STEP_S
            if step % round(1 / STEP_S) == 0:
                self._sample()
            for key in [*self._new_keys(int(due)), *self._due_returns()]:
                self._request(*key)
            due -= int(due)
            credit = self._serve(credit)

    def _new_keys(self, count: int) -> Iterator[tuple[str, int]]:
        yield from ((f"k{len(self.attempts)}-{n}", 0) for n in range(count))

    def _due_returns(self) -> Iterator[tuple[str, int]]:
        while self.returning and self.returning[0][0] <= self.clock.now:
            _, key, before = heapq.heappop(self.returning)
            yield key, before

    def _request(self, key: str, before: int) -> None:
        self.attempts[key] += 1
        shed = self.shedder.decide(key, PLAN)
        if shed is None:
            self.admitted[before] += 1
            self.queue.append(self.clock.now)
            self.longest = max(self.longest, len(self.queue))
            return
        self.refused[before] += 1
        returns_at = self.clock.now + math.ceil(shed.retry_after_s)  # Retry-After has whole seconds
        heapq.heappush(self.returning, (returns_at, key, before + 1))

    def _serve(self, credit: float) -> float:
        now = min(int(credit), len(self.queue))
        if now:
            self.oldest_s = max(self.oldest_s, self.clock.now - self.queue[0])
            del self.queue[:now]
            self.last_reply_at = self.clock.now
            self.served += now
        return min(credit - now, 1.0)

    def _sample(self) -> None:
        left = self.deadline_s - (self.clock.now - self.queue[0] if self.queue else 0.0)
        pending = {QUOTE_BY_REQUEST_REPLY: len(self.queue)} if self.queue else {}
        due = {QUOTE_BY_REQUEST_REPLY: left} if self.queue else {}
        rate = self.per_s if self.queue else 0.0
        reply_age_s = self.clock.now - self.last_reply_at
        self.shedder.update(
            LoadSignals(
                pending_requests=pending,
                time_to_deadline_s=due,
                replies_per_s={QUOTE_BY_REQUEST_REPLY: rate},
                reply_age_s={QUOTE_BY_REQUEST_REPLY: reply_age_s} if reply_age_s <= RATE_WINDOW_S else {},
            )
        )


def test_five_times_the_capacity_is_served_at_full_speed_and_refusals_state_a_time() -> None:
    clock = Clock()
    provider = Provider(make_shedder(clock), clock, per_s=50.0)
    provider.run(60.0, arrivals_per_s=250.0)

    assert provider.served >= 0.98 * 60 * 50
    # Requests before the first sample, one second after the start, are all admitted.
    assert provider.longest <= (1.3 * TARGET_QUEUEING_DELAY_S + 1.0) * 50 < SETTINGS.max_pending_requests
    assert provider.oldest_s <= 1.3 * TARGET_QUEUEING_DELAY_S + 1.0
    returned = sum(provider.admitted[n] + provider.refused[n] for n in (1, 2, 3))
    assert returned > 500
    assert sum(provider.admitted[n] for n in (1, 2, 3)) >= 0.9 * returned, "most returning riders are admitted"

    provider.run(400.0, arrivals_per_s=0.0)
    assert (provider.returning, provider.queue) == ([], [])
    assert provider.served == sum(provider.admitted.values()) == len(provider.attempts)


def test_a_provider_that_stops_and_resumes_is_not_overloaded() -> None:
    clock = Clock()
    provider = Provider(make_shedder(clock), clock, per_s=50.0)
    provider.run(10.0, arrivals_per_s=40.0)
    provider.per_s = 0.0
    provider.run(25.0, arrivals_per_s=40.0)
    waiting = len(provider.queue)
    provider.per_s = 50.0
    provider.run(200.0, arrivals_per_s=0.0)

    assert waiting <= SETTINGS.max_pending_requests
    assert provider.refused[0] > 0
    assert (provider.returning, provider.queue) == ([], [])
    assert provider.served == len(provider.attempts)


@pytest.mark.parametrize("outage_s", [3.0, 30.0, 150.0])
def test_rides_that_wait_for_a_provider_that_is_away_do_not_count(outage_s: float) -> None:
    clock = Clock()
    shedder = make_shedder(clock, policies=PATIENT_POLICIES)
    provider = Provider(shedder, clock, per_s=50.0, deadline_s=300.0)
    provider.run(10.0, arrivals_per_s=25.0)
    provider.per_s = 0.0
    provider.run(outage_s, arrivals_per_s=25.0)
    assert len(provider.queue) >= 25 * outage_s - 2
    provider.per_s = 50.0
    provider.run(2 * outage_s + 10.0, arrivals_per_s=25.0)

    assert provider.refused.total() == 0
    assert len(provider.queue) <= 1
    assert provider.oldest_s <= outage_s + 1.0


def test_the_next_provider_has_time_for_the_backlog_of_an_outage() -> None:
    clock, find_driver = Clock(), ("find_driver", Coupling.REQUEST_REPLY)
    shedder = make_shedder(clock, policies=PATIENT_POLICIES)
    for _ in range(30):
        clock.now += 1.0
        shedder.update(
            LoadSignals(
                pending_requests={QUOTE_BY_REQUEST_REPLY: 400}, time_to_deadline_s={QUOTE_BY_REQUEST_REPLY: 270.0}
            )
        )
    backlog = LoadSignals(
        pending_requests={find_driver: 400},
        time_to_deadline_s={find_driver: 299.0},
        replies_per_s={QUOTE_BY_REQUEST_REPLY: 130.0, find_driver: 10.0},
        reply_age_s={QUOTE_BY_REQUEST_REPLY: 0.1, find_driver: 0.1},
    )
    shedder.update(backlog)
    assert shedder.decide("soon after the outage", PLAN) is None

    clock.now += 3 * 30.0
    shedder.update(backlog)
    assert shedder.decide("long after the outage", PLAN) is not None


def test_rides_are_refused_when_an_outage_leaves_the_waiting_ones_too_little_time() -> None:
    clock = Clock()
    provider = Provider(make_shedder(clock, policies=PATIENT_POLICIES), clock, per_s=0.0, deadline_s=300.0)
    provider.run(0.9 * 200.0, arrivals_per_s=5.0)
    assert provider.refused.total() == 0
    provider.run(0.3 * 200.0, arrivals_per_s=5.0)
    assert provider.refused[0] > 0
    assert len(provider.queue) == pytest.approx(5.0 * 200.0, rel=0.02)


def test_the_number_of_rides_that_wait_for_a_provider_is_bounded() -> None:
    clock = Clock()
    shedder = make_shedder(clock, policies=PATIENT_POLICIES, max_pending_requests=300)
    provider = Provider(shedder, clock, per_s=0.0, deadline_s=300.0)
    provider.run(60.0, arrivals_per_s=25.0)
    assert provider.longest <= 300 * HEADROOM
    provider.per_s = 50.0
    provider.run(300.0, arrivals_per_s=0.0)
    assert (provider.returning, provider.queue) == ([], [])


def test_an_overload_after_an_outage_is_refused_as_any_other() -> None:
    clock = Clock()
    provider = Provider(make_shedder(clock, policies=PATIENT_POLICIES), clock, per_s=50.0, deadline_s=300.0)
    provider.run(10.0, arrivals_per_s=25.0)
    provider.per_s = 0.0
    provider.run(10.0, arrivals_per_s=25.0)
    provider.per_s = 50.0
    provider.run(90.0, arrivals_per_s=250.0)

    assert provider.refused[0] > 0
    assert provider.longest <= 10 * 25 + (1.3 * TARGET_QUEUEING_DELAY_S + 1.0) * 50
    assert len(provider.queue) <= (1.3 * TARGET_QUEUEING_DELAY_S + 1.0) * 50


def test_one_request_without_a_reply_refuses_nothing_while_others_are_replied_to() -> None:
    """A parked request waits until its deadline, which says nothing about its provider."""
    shedder = make_shedder(Clock(), policies=PATIENT_POLICIES)
    shedder.update(
        LoadSignals(
            pending_requests={QUOTE_BY_REQUEST_REPLY: 1},
            time_to_deadline_s={QUOTE_BY_REQUEST_REPLY: 1.0},
            replies_per_s={QUOTE_BY_REQUEST_REPLY: 10.0},
            reply_age_s={QUOTE_BY_REQUEST_REPLY: 0.1},
        )
    )
    assert shedder.decide("k1", PLAN) is None


def test_a_limit_follows_the_reply_rate_and_a_stalled_queue_has_the_fixed_limit() -> None:
    clock, plan = Clock(), dict.fromkeys(FLOWS, Coupling.ONE_WAY)
    leg, shedder = ("quote_fare", Coupling.ONE_WAY), make_shedder(clock)
    for _ in range(40):
        clock.now += 1.0
        shedder.update(LoadSignals(pending_requests={leg: 100}, replies_per_s={leg: 10.0}))
    assert isinstance(shedder.decide("k1", plan), ShedDecision)

    clock.now += 1.0
    shedder.update(LoadSignals(pending_requests={leg: 100}))
    assert shedder.decide("k2", plan) is None
    shedder.update(LoadSignals(pending_requests={leg: SETTINGS.max_pending_requests}))
    assert isinstance(shedder.decide("k3", plan), ShedDecision)


def test_plans_with_the_same_bottleneck_get_different_times() -> None:
    clock, shared = Clock(), ("find_driver", Coupling.REQUEST_REPLY)
    shedder = make_shedder(clock)
    plans = [{**PLAN, "quote_fare": coupling} for coupling in (Coupling.ONE_WAY, Coupling.REQUEST_REPLY)]
    shedder.update(LoadSignals(pending_requests={shared: 500}, replies_per_s={shared: 8.0}))
    sheds = [shedder.decide(f"k{n}", plans[n % 2]) for n in range(40)]

    waits = [shed.retry_after_s for shed in sheds if shed]
    assert len(waits) == 40
    assert max(waits) - min(waits) >= 39 / 8.0


def test_nothing_is_refused_below_capacity() -> None:
    clock = Clock()
    provider = Provider(make_shedder(clock), clock, per_s=50.0)
    provider.run(60.0, arrivals_per_s=48.0)

    assert provider.refused.total() == 0


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (LoadSignals(outbox_rows=SETTINGS.max_outbox_rows), "outbox_rows"),
        (LoadSignals(outbox_age_s=SETTINGS.max_outbox_age_s), "outbox_age"),
        (
            LoadSignals(
                pending_requests={QUOTE_BY_REQUEST_REPLY: SETTINGS.max_pending_requests},
                time_to_deadline_s={QUOTE_BY_REQUEST_REPLY: 25.0},
            ),
            "quote_fare_by_request_reply",
        ),
        (
            LoadSignals(pending_requests={QUOTE_BY_REQUEST_REPLY: 1}, time_to_deadline_s={QUOTE_BY_REQUEST_REPLY: 9.9}),
            "quote_fare_by_request_reply",
        ),
        (
            LoadSignals(pending_requests={("find_driver", Coupling.REQUEST_REPLY): SETTINGS.max_pending_requests}),
            "find_driver_by_request_reply",
        ),
    ],
)
def test_each_load_has_a_limit(seen: LoadSignals, reason: str) -> None:
    clock = Clock()
    full = make_shedder(clock)
    off = make_shedder(clock, is_enabled=lambda: False)
    for shedder in (full, off):
        shedder.update(seen)
    shed = full.decide("k1", PLAN)

    assert isinstance(shed, ShedDecision)
    assert shed.reason == reason
    assert off.decide("k1", PLAN) is None


def test_load_in_one_coupling_refuses_no_booking_of_another() -> None:
    shedder = make_shedder(Clock())
    shedder.update(
        LoadSignals(
            outbox_age_s=4 * SETTINGS.max_outbox_age_s,
            pending_requests={QUOTE_BY_REQUEST_REPLY: SETTINGS.max_pending_requests},
            time_to_deadline_s={QUOTE_BY_REQUEST_REPLY: 5.0},
        )
    )

    assert shedder.decide("k1", PLAN) is not None
    assert shedder.decide("k2", dict.fromkeys(FLOWS, Coupling.SYNC_API)) is None


def test_concurrent_inserts_are_limited_and_repeated_requests_count_once() -> None:
    shedder = make_shedder(Clock())
    with ExitStack() as stack:
        for _ in range(50):
            stack.callback(shedder.begin_insert("same", rider_waits=False))
        assert shedder.decide("k1", PLAN) is None
        for n in range(MAX_CONCURRENT_INSERTS):
            stack.callback(shedder.begin_insert(f"k{n}", rider_waits=False))
        shed = shedder.decide("new", PLAN)
        assert shed is not None
        assert shed.reason == "concurrent_inserts"
        assert shedder.decide("by call", dict.fromkeys(FLOWS, Coupling.SYNC_API)) is not None, (
            "the limit covers all couplings"
        )
    assert shedder.decide("later", PLAN) is None


def test_a_reservation_is_admitted_when_new_requests_find_the_limit_reached() -> None:
    clock = Clock()
    shedder = make_shedder(clock)
    with ExitStack() as stack:
        for n in range(MAX_CONCURRENT_INSERTS):
            stack.callback(shedder.begin_insert(f"k{n}", rider_waits=False))
        shed = shedder.decide("reserved", PLAN)
        assert shed is not None
        clock.now += math.ceil(shed.retry_after_s)
        assert shedder.decide("new", PLAN) is not None
        assert shedder.decide("reserved", PLAN) is None


def test_the_number_of_waiting_riders_is_limited() -> None:
    shedder, plan = make_shedder(Clock(), max_waiting_riders=2), dict.fromkeys(FLOWS, Coupling.SYNC_API)
    end_insert = shedder.begin_insert("h1", rider_waits=True)
    assert shedder.decide("k1", plan) is None
    shedder.begin_insert("h2", rider_waits=True)
    shed = shedder.decide("k2", plan)
    assert shed is not None
    assert shed.reason == "waiting_riders"
    assert shedder.decide("k3", PLAN) is None
    end_insert()
    assert shedder.decide("k4", plan) is None


@pytest.mark.parametrize("max_blocked_s", [0.0, 5.0])
def test_a_blocked_broker_refuses_only_plans_that_need_the_broker(max_blocked_s: float) -> None:
    blocked_s: list[float | None] = [None]
    shedder = make_shedder(Clock(), lambda: blocked_s[0], max_broker_blocked_s=max_blocked_s)
    assert shedder.decide("before", PLAN) is None
    if max_blocked_s:
        blocked_s[0] = max_blocked_s - 0.1
        assert shedder.decide("soon over", PLAN) is None, "the outbox bridges a short alarm"
    blocked_s[0] = max_blocked_s
    shed = shedder.decide("meanwhile", PLAN)
    assert shed is not None
    assert shed.reason == "broker_blocked"
    assert shedder.decide("by call", dict.fromkeys(FLOWS, Coupling.SYNC_API)) is None
    blocked_s[0] = None
    assert shedder.decide("after", PLAN) is None


def test_waiting_riders_count_as_concurrent_inserts() -> None:
    shedder = make_shedder(Clock())
    end_inserts = [shedder.begin_insert(f"h{n}", rider_waits=True) for n in range(MAX_CONCURRENT_INSERTS)]
    shed = shedder.decide("k1", PLAN)
    assert shed is not None
    assert shed.reason == "concurrent_inserts"
    for each in end_inserts:
        each()
    assert shedder.decide("k2", PLAN) is None
