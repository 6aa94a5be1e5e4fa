"""Fault schedule of a chaos run, drawn from the seed before the load starts, so that a run can be repeated. Pure."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MIN_DURATION_SHARE = 0.6
"""Minimum duration of a fault, as a share of its default duration. The default duration is the maximum."""
MAX_PHASE_SHARE = 0.6
"""Maximum duration of a fault, as a share of its phase. Short against the deadlines of the flows, so that rides survive
a fault instead of expiring."""
MIN_DELAY_SHARE = 0.2
"""Minimum delay before a fault, as a share of its phase: time to recover from the previous fault."""
OVERLAP_SHARE = 0.5
"""Probability that a fault overlaps the previous one, if both may overlap."""


@dataclass(frozen=True)
class FaultChoice:
    """A fault that can be drawn. ``target``: the process or server it breaks; faults of one target never overlap."""

    name: str
    kind: str
    target: str
    default_duration_s: float = 5.0
    may_overlap: bool = False
    """Whether another fault may be active at the same time. True for faults that touch one service only."""


@dataclass(frozen=True)
class ScheduledFault:
    """A drawn fault.

    ``at_s``: seconds from the start of the arrivals. ``overlaps``: whether the previous fault is active at its start.
    """

    name: str
    at_s: float
    duration_s: float
    overlaps: bool = False


def draw_schedule(
    choices: Sequence[FaultChoice], count: int, seed: int, duration_s: float, always: str = ""
) -> tuple[ScheduledFault, ...]:
    """Draw ``count`` faults over ``duration_s`` seconds.

    Every kind is drawn once before any kind is drawn twice; the same holds for the targets of a kind. The kind
    ``always`` is drawn however small ``count`` is.

    Raises:
        ValueError: ``choices`` is empty.
    """
    if not choices:
        raise ValueError("there is no fault to draw from")
    rng = random.Random(f"chaos:{seed}")
    phase_s = duration_s / max(count, 1)
    schedule: list[ScheduledFault] = []
    drawn = list(draw_choices(choices, count, always, rng))
    for position, choice in enumerate(drawn):
        previous = drawn[position - 1] if position else None
        overlapped = schedule[-1] if is_overlapping(choice, previous, schedule, rng) else None
        schedule.append(scheduled_fault(choice, position, phase_s, overlapped, rng))
    return tuple(schedule)


def draw_choices(choices: Sequence[FaultChoice], count: int, always: str, rng: random.Random) -> Iterator[FaultChoice]:
    """Draw ``count`` faults in rounds of all kinds, each in random order; a partial round includes ``always``."""
    decks = {
        kind: cycle_shuffled([choice for choice in choices if choice.kind == kind], rng) for kind in kinds(choices)
    }
    for drawn_before in range(0, count, len(decks)):
        remaining = count - drawn_before
        round_kinds = sorted(rng.sample(list(decks), len(decks)), key=lambda kind: kind != always)[:remaining]
        for kind in rng.sample(round_kinds, len(round_kinds)):
            yield next(decks[kind])


def kinds(choices: Sequence[FaultChoice]) -> tuple[str, ...]:
    """Return the distinct kinds of ``choices`` in their order."""
    return tuple(dict.fromkeys(choice.kind for choice in choices))


def cycle_shuffled(deck: Sequence[FaultChoice], rng: random.Random) -> Iterator[FaultChoice]:
    """Yield all of ``deck`` in random order, repeatedly without end."""
    while True:
        yield from rng.sample(deck, len(deck))


def is_overlapping(
    choice: FaultChoice, previous: FaultChoice | None, schedule: Sequence[ScheduledFault], rng: random.Random
) -> bool:
    """Draw whether ``choice`` overlaps ``previous``, the last fault of ``schedule``; at most two faults overlap."""
    if previous is None or schedule[-1].overlaps or not (choice.may_overlap and previous.may_overlap):
        return False
    return choice.target != previous.target and rng.random() < OVERLAP_SHARE


def scheduled_fault(
    choice: FaultChoice, position: int, phase_s: float, overlapped: ScheduledFault | None, rng: random.Random
) -> ScheduledFault:
    """Draw start and duration of ``choice``, in seconds.

    ``position``: index of its phase. ``overlapped``: the fault in whose middle it starts; None: it starts in its phase.
    """
    longest_s = rng.uniform(MIN_DURATION_SHARE, 1.0) * choice.default_duration_s
    duration_s = round(min(longest_s, MAX_PHASE_SHARE * phase_s), 1)
    if overlapped:
        at_s = round(overlapped.at_s + overlapped.duration_s / 2, 1)
        return ScheduledFault(choice.name, at_s, duration_s, overlaps=True)
    at_s = round(phase_s * (position + MIN_DELAY_SHARE + rng.uniform(0.0, 0.2)), 1)
    return ScheduledFault(choice.name, at_s, duration_s)


def overlap_groups(schedule: Sequence[ScheduledFault]) -> tuple[tuple[ScheduledFault, ...], ...]:
    """Return the faults in order, overlapping ones in one group and every other one in its own group."""
    groups: list[list[ScheduledFault]] = []
    for scheduled in schedule:
        if scheduled.overlaps and groups:
            groups[-1].append(scheduled)
        else:
            groups.append([scheduled])
    return tuple(map(tuple, groups))
