"""Which fault comes when: drawn from the seed before anything is offered, so that a run can be had again. Pure."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MIN_DURATION_SHARE = 0.6
MAX_PHASE_SHARE = 0.6
"""A fault lasts from this part of its usual time up to all of it, and no longer than this part of its turn. That is
short against the flows' deadlines, so that rides survive it and are not merely failed."""
MIN_DELAY_SHARE = 0.2
"""Of its turn: what a fault waits at least, so that the one before it can be got over."""
OVERLAP_SHARE = 0.5
"""Of the faults that may come beside another one, how many do."""


@dataclass(frozen=True)
class FaultChoice:
    """A fault that can be drawn. ``target``: what it breaks; two faults of one target never overlap."""

    name: str
    kind: str
    target: str
    default_duration_s: float = 5.0
    may_overlap: bool = False
    """It may come while another one is on: what it breaks is one service's alone."""


@dataclass(frozen=True)
class ScheduledFault:
    """``at_s``: seconds from the start of the arrivals. ``overlaps``: comes while the one before it is on."""

    name: str
    at_s: float
    duration_s: float
    overlaps: bool = False


def draw_schedule(
    choices: Sequence[FaultChoice], count: int, seed: int, duration_s: float, always: str = ""
) -> tuple[ScheduledFault, ...]:
    """``count`` faults over ``duration_s``. Every kind comes once before any comes twice, and so do a kind's targets;
    the kind ``always`` is among them however few there are. Raises ValueError where there is nothing to draw from."""
    if not choices:
        raise ValueError("there is no fault to draw from")
    rng = random.Random(f"chaos:{seed}")
    turn_s = duration_s / max(count, 1)
    plan: list[ScheduledFault] = []
    picked = list(draw_choices(choices, count, always, rng))
    for position, choice in enumerate(picked):
        before = picked[position - 1] if position else None
        beside = is_overlapping(choice, before, plan, rng)
        plan.append(scheduled_fault(choice, position, turn_s, plan[-1] if beside else None, rng))
    return tuple(plan)


def draw_choices(choices: Sequence[FaultChoice], count: int, always: str, rng: random.Random) -> Iterator[FaultChoice]:
    """Whole rounds of all kinds, each in a drawn order; a round that is not whole has ``always`` in it."""
    decks = {
        kind: cycle_shuffled([choice for choice in choices if choice.kind == kind], rng) for kind in kinds(choices)
    }
    for drawn_before in range(0, count, len(decks)):
        left = count - drawn_before
        a_round = sorted(rng.sample(list(decks), len(decks)), key=lambda kind: kind != always)[:left]
        for kind in rng.sample(a_round, len(a_round)):
            yield next(decks[kind])


def kinds(choices: Sequence[FaultChoice]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(choice.kind for choice in choices))


def cycle_shuffled(deck: Sequence[FaultChoice], rng: random.Random) -> Iterator[FaultChoice]:
    """All of them in a drawn order, and again without end."""
    while True:
        yield from rng.sample(deck, len(deck))


def is_overlapping(
    choice: FaultChoice, before: FaultChoice | None, schedule: Sequence[ScheduledFault], rng: random.Random
) -> bool:
    if before is None or schedule[-1].overlaps:
        return False
    return choice.may_overlap and before.may_overlap and choice.target != before.target and rng.random() < OVERLAP_SHARE


def scheduled_fault(
    choice: FaultChoice, position: int, phase_s: float, overlapped: ScheduledFault | None, rng: random.Random
) -> ScheduledFault:
    for_s = round(min(rng.uniform(MIN_DURATION_SHARE, 1.0) * choice.default_duration_s, MAX_PHASE_SHARE * phase_s), 1)
    if overlapped:
        return ScheduledFault(choice.name, round(overlapped.at_s + overlapped.duration_s / 2, 1), for_s, overlaps=True)
    return ScheduledFault(choice.name, round(phase_s * (position + MIN_DELAY_SHARE + rng.uniform(0.0, 0.2)), 1), for_s)


def overlap_groups(schedule: Sequence[ScheduledFault]) -> tuple[tuple[ScheduledFault, ...], ...]:
    """What overlaps together, and everything else alone, in order."""
    found: list[list[ScheduledFault]] = []
    for planned in schedule:
        if planned.overlaps and found:
            found[-1].append(planned)
        else:
            found.append([planned])
    return tuple(map(tuple, found))
