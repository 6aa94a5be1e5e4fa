"""Which fault comes when: drawn from the seed before anything is offered, so that a run can be had again. Pure."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

SHORTEST, MOST_OF_TURN = 0.6, 0.6
"""A fault lasts from this part of its usual time up to all of it, and no longer than this part of its turn. That is
short against the flows' deadlines, so that rides survive it and are not merely failed."""
EARLIEST = 0.2
"""Of its turn: what a fault waits at least, so that the one before it can be got over."""
PAIRED = 0.5
"""Of the faults that may come beside another one, how many do."""


@dataclass(frozen=True)
class Choice:
    """A fault that can be drawn. ``target``: what it breaks; two faults of one target never overlap."""

    name: str
    kind: str
    target: str
    usual_for_s: float = 5.0
    pairs: bool = False
    """It may come while another one is on: what it breaks is one service's alone."""


@dataclass(frozen=True)
class Planned:
    """``at_s``: seconds from the start of the arrivals. ``beside``: comes while the one before it is on."""

    name: str
    at_s: float
    for_s: float
    beside: bool = False


def drawn(choices: Sequence[Choice], count: int, seed: int, duration_s: float, always: str = "") -> tuple[Planned, ...]:
    """``count`` faults over ``duration_s``. Every kind comes once before any comes twice, and so do a kind's targets;
    the kind ``always`` is among them however few there are. Raises ValueError where there is nothing to draw from."""
    if not choices:
        raise ValueError("there is no fault to draw from")
    rng = random.Random(f"chaos:{seed}")
    turn_s = duration_s / max(count, 1)
    plan: list[Planned] = []
    picked = list(picks(choices, count, always, rng))
    for position, choice in enumerate(picked):
        before = picked[position - 1] if position else None
        beside = paired(choice, before, plan, rng)
        plan.append(placed(choice, position, turn_s, plan[-1] if beside else None, rng))
    return tuple(plan)


def picks(choices: Sequence[Choice], count: int, always: str, rng: random.Random) -> Iterator[Choice]:
    """Whole rounds of all kinds, each in a drawn order; a round that is not whole has ``always`` in it."""
    decks = {kind: shuffled([choice for choice in choices if choice.kind == kind], rng) for kind in kinds(choices)}
    for drawn_before in range(0, count, len(decks)):
        left = count - drawn_before
        a_round = sorted(rng.sample(list(decks), len(decks)), key=lambda kind: kind != always)[:left]
        for kind in rng.sample(a_round, len(a_round)):
            yield next(decks[kind])


def kinds(choices: Sequence[Choice]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(choice.kind for choice in choices))


def shuffled(deck: Sequence[Choice], rng: random.Random) -> Iterator[Choice]:
    """All of them in a drawn order, and again without end."""
    while True:
        yield from rng.sample(deck, len(deck))


def paired(choice: Choice, before: Choice | None, plan: Sequence[Planned], rng: random.Random) -> bool:
    if before is None or plan[-1].beside:
        return False
    return choice.pairs and before.pairs and choice.target != before.target and rng.random() < PAIRED


def placed(choice: Choice, position: int, turn_s: float, beside: Planned | None, rng: random.Random) -> Planned:
    for_s = round(min(rng.uniform(SHORTEST, 1.0) * choice.usual_for_s, MOST_OF_TURN * turn_s), 1)
    if beside:
        return Planned(choice.name, round(beside.at_s + beside.for_s / 2, 1), for_s, beside=True)
    return Planned(choice.name, round(turn_s * (position + EARLIEST + rng.uniform(0.0, 0.2)), 1), for_s)


def groups(plan: Sequence[Planned]) -> tuple[tuple[Planned, ...], ...]:
    """What overlaps together, and everything else alone, in order."""
    found: list[list[Planned]] = []
    for planned in plan:
        if planned.beside and found:
            found[-1].append(planned)
        else:
            found.append([planned])
    return tuple(map(tuple, found))
