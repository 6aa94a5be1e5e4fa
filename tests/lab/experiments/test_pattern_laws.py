"""Laws of the pattern experiments on counts made by hand. No server."""

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from prebook.booking.domain.booking import Booking
from prebook.contracts.ride import BookingState
from prebook.lab.experiments.experiment import Experiment, Section
from prebook.lab.experiments.law import LawVerdict
from prebook.lab.experiments.patterns import message_filter
from prebook.lab.experiments.patterns.booking_receiver import BookingStep, apply_step
from prebook.lab.experiments.patterns.confirmed_rides import confirmed_rides, ride_message
from prebook.lab.experiments.patterns.content_based_router import (
    CONSERVED,
    LARGE,
    ONE_ROUTE,
    SOUTH_WEST,
    decision_check,
    expected_messages,
    route_checks,
)
from prebook.lab.experiments.patterns.filtering_receiver import is_extraordinary
from prebook.lab.experiments.patterns.message_filter import Filtered, filter_checks
from prebook.lab.experiments.patterns.message_history import RECORDED, Publication, history_check, made_hops
from prebook.lab.experiments.patterns.process_manager import Arrangement, outcome_check
from prebook.lab.experiments.patterns.publish_subscribe import NO_MISS, NO_REPEAT, miss_check, repeat_check
from prebook.lab.experiments.patterns.return_address import ANSWERED, MATCHED, OWN, answer_check, reply_checks
from prebook.lab.experiments.patterns.site import RECEIVER_SERVICES, id_of, message, message_names
from prebook.lab.experiments.patterns.size import NO_DUPLICATE, NO_LOSS, effect_checks
from prebook.lab.experiments.registry import EXPERIMENTS, find_experiments
from prebook.messaging import addresses
from prebook.messaging.codec import WireMessage, decode
from prebook.messaging.headers import ATTEMPT_HEADER, CONVERSATION_ID_HEADER, MESSAGE_ID_HEADER, REPLAY_ID_HEADER

ROOT = Path(__file__).parents[3]
NAMES = message_names(3)
A, B, C = NAMES


@pytest.mark.parametrize(
    ("counts", "violated"),
    [
        ({A: 1, B: 1, C: 1}, []),
        ({A: 1, B: 1, C: 1, "another": 2}, []),
        ({A: 1, B: 1}, [NO_LOSS]),
        ({A: 1, B: 2, C: 1}, [NO_DUPLICATE]),
        ({A: 3, B: 1}, [NO_LOSS, NO_DUPLICATE]),
    ],
)
def test_lost_and_doubled_messages_violate_a_law_each(counts: Mapping[str, int], violated: list[str]) -> None:
    assert [check.law for check in effect_checks("right", NAMES, counts) if check.problem] == violated


def received(**changes: Counter[str]) -> dict[str, Counter[str]]:
    return {service: Counter(NAMES) for service in RECEIVER_SERVICES} | changes


@pytest.mark.parametrize(
    ("changes", "violated"),
    [
        ({}, []),
        ({"pricing": Counter([A, B])}, [NO_MISS]),
        ({"pricing": Counter([A, B, C, C])}, [NO_REPEAT]),
        ({"pricing": Counter([A, B, B])}, [NO_MISS, NO_REPEAT]),
    ],
)
def test_missed_and_repeated_events_violate_a_law_each(changes: dict[str, Counter[str]], violated: list[str]) -> None:
    got = received(**changes)
    checks = [miss_check("right", NAMES, got, LawVerdict.HELD), repeat_check("right", got)]
    assert [check.law for check in checks if check.problem] == violated


def test_events_that_are_shared_out_are_missed_by_every_subscriber() -> None:
    shared = {service: Counter([name]) for service, name in zip(RECEIVER_SERVICES, NAMES, strict=True)}
    check = miss_check("wrong", NAMES, shared, LawVerdict.VIOLATED)
    assert (check.left.value, check.problem) == (6, "")


def test_messages_can_be_decoded_and_have_ids_of_their_run() -> None:
    wire = message(A, "a run, of its own", "f00d")
    assert decode(wire).conversation_id == A
    assert wire.headers[MESSAGE_ID_HEADER] == id_of(A, "a run, of its own", "f00d") != id_of(A, "another", "f00d")


@pytest.mark.parametrize("experiment", [each for each in EXPERIMENTS if each.code], ids=lambda each: each.name)
def test_a_pattern_names_its_source_and_its_building_block(experiment: Experiment[Any]) -> None:
    is_pattern = experiment.section is Section.PATTERNS or experiment.pattern
    assert not is_pattern or re.search(r" \(\w.*\)", experiment.pattern), "the source stands in parentheses"
    assert (ROOT / experiment.code).is_file()
    assert experiment.wrong_way
    assert experiment.topology.arrows or not experiment.topology.queues, "queues of its own are drawn"


def test_every_pattern_has_a_building_block() -> None:
    assert all(each.code for each in find_experiments(Section.PATTERNS))


def apply_steps(booking_id: str, *steps: BookingStep) -> Booking | None:
    booking: Booking | None = None
    for step in steps:
        booking = apply_step(booking_id, step, booking)
        booking = msgspec.json.decode(msgspec.json.encode(booking), type=Booking) if booking else None
    return booking


def test_a_booking_whose_steps_all_arrive_is_confirmed_also_if_one_is_repeated() -> None:
    confirmed = apply_steps("booking-0007", *BookingStep)
    assert confirmed
    assert confirmed.state is BookingState.CONFIRMED
    repeated = apply_steps("booking-0007", BookingStep.START, BookingStep.FARE, BookingStep.FARE, BookingStep.DRIVER)
    assert repeated == confirmed


def test_a_reply_to_an_unknown_booking_has_no_effect() -> None:
    assert apply_steps("booking-0007", BookingStep.FARE, BookingStep.DRIVER) is None


def test_processes_with_another_state_or_none_violate_the_law() -> None:
    expected = {"a": ("confirmed", 1000, "d"), "b": ("confirmed", 1001, "e"), "c": ("confirmed", 1002, "f")}
    found = {"a": ("confirmed", 1000, "d"), "b": ("requested", None, None)}
    assert outcome_check(Arrangement.DATABASE, expected, expected, LawVerdict.HELD).problem == ""
    assert outcome_check(Arrangement.DATABASE, expected, found, LawVerdict.HELD).left.value == 2


@pytest.mark.parametrize(
    ("pairs", "violated"),
    [
        ([("booking-0000", "booking-0000"), ("booking-0001", "booking-0001")], []),
        ([("booking-0000", "booking-0001"), ("booking-0001", "booking-0000")], [MATCHED]),
        ([("booking-0000", "matching-0000"), ("booking-0001", "booking-0001")], [OWN, MATCHED]),
        ([("booking-0000", "booking-0000")], [ANSWERED]),
    ],
)
def test_strayed_mismatched_and_missing_replies_violate_a_law_each(
    pairs: list[tuple[str, str]], violated: list[str]
) -> None:
    replies = {"booking": pairs}
    checks = [*reply_checks("right", replies, LawVerdict.HELD), answer_check("right", replies, 2)]
    assert [check.law for check in checks if check.problem] == violated


def tapped(exchange: str, attempt: int, replay: str = "") -> Publication:
    headers = {CONVERSATION_ID_HEADER: A, ATTEMPT_HEADER: str(attempt)} | ({REPLAY_ID_HEADER: replay} if replay else {})
    return exchange, WireMessage(headers, b"")


PUBLICATIONS = (
    tapped(addresses.REDELIVER, 1),
    tapped("prebook.delay.200", 2),
    tapped("prebook.delay.240", 2),
    tapped(addresses.PARKING, 2),
    tapped(addresses.REDELIVER, 1, "replay-1"),
)
HOPS = (
    "lab>redeliver",
    "matching>delay.240",
    "matching>parking",
    "operations>redeliver",
)


@pytest.mark.parametrize(
    ("recorded", "violated"),
    [
        (HOPS, []),
        ((HOPS[0], "matching>delay.200", *HOPS[2:]), []),
        (HOPS[1:], [RECORDED]),
        (HOPS[:-1], [RECORDED]),
        ((*HOPS, HOPS[-1]), [RECORDED]),
        ((HOPS[1], HOPS[0], *HOPS[2:]), [RECORDED]),
        ((), [RECORDED]),
    ],
)
def test_a_history_with_other_hops_than_the_tap_has_seen_violates_the_law(
    recorded: tuple[str, ...], violated: list[str]
) -> None:
    made = made_hops(reversed(PUBLICATIONS))
    assert [check.law for check in [history_check({A: recorded}, made)] if check.problem] == violated


def routed(**changes: frozenset[str]) -> dict[str, frozenset[str]]:
    return {"south_west": frozenset({A}), "large": frozenset({B}), "unroutable": frozenset({C})} | changes


@pytest.mark.parametrize(
    ("changes", "violated"),
    [
        ({}, []),
        ({"large": frozenset()}, [CONSERVED]),
        ({"large": frozenset({A, B})}, [CONSERVED, ONE_ROUTE]),
        ({"south_west": frozenset({B})}, [ONE_ROUTE]),
    ],
)
def test_lost_messages_and_those_on_two_routes_violate_a_law_each(
    changes: dict[str, frozenset[str]], violated: list[str]
) -> None:
    checks = route_checks("right", 3, routed(**changes), LawVerdict.HELD)
    assert [check.law for check in checks if check.problem] == violated


def test_a_message_on_another_route_than_the_pure_router_chooses_violates_the_law() -> None:
    rides = confirmed_rides(NAMES, seed=1)
    messages = [ride_message(ride, "right", "token") for ride in rides.values()]
    right = expected_messages((SOUTH_WEST, LARGE), messages)
    assert set().union(*right.values()) == set(NAMES)
    assert decision_check(messages, right).problem == ""
    swapped = dict(zip(right, [*list(right.values())[1:], next(iter(right.values()))], strict=True))
    assert decision_check(messages, swapped).left.value == len(NAMES)


def test_messages_on_the_wrong_side_of_the_filter_and_lost_ones_violate_a_law_each() -> None:
    rides = confirmed_rides(message_names(30), seed=1)
    matching = frozenset(name for name, ride in rides.items() if is_extraordinary(ride))
    others = frozenset(rides) - matching
    assert matching
    assert others

    def violated(passed: frozenset[str], dropped: frozenset[str]) -> list[str]:
        return [check.law for check in filter_checks("right", rides, Filtered(passed, dropped, 0)) if check.problem]

    assert violated(matching, others) == []
    assert violated(matching, frozenset([*others][1:])) == [message_filter.CONSERVED]
    assert violated(frozenset(rides), frozenset()) == [message_filter.MATCHING]
    assert violated(frozenset(), frozenset(rides)) == [message_filter.MATCHING]
