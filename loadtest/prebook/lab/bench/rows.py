"""One line of the table: a figure of ours, the same of a yardstick, and the goal for their ratio."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import median

import msgspec


class Better(Enum):
    HIGHER = "higher"
    LOWER = "lower"


@dataclass(frozen=True)
class Measure:
    """What is measured, and how our figure should stand to the peer's. ``goal`` is a ratio ours / peer; ``note``, what
    both sides do not have alike, for a row that misses its goal has to say why.
    """

    name: str
    unit: str
    better: Better
    peer_name: str
    goal: float
    note: str


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """Of the rounds: median, least, most."""

    median: float
    low: float
    high: float


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """``ratio`` is the median of the rounds' own ratios: both sides of a round met the same machine."""

    name: str
    ours: float | None
    peer: float | None
    peer_name: str
    unit: str
    ratio: float | None
    goal: str
    met: bool | None
    """None where it could not be measured; ``note`` says why."""
    note: str
    spread: dict[str, Spread] = {}
    rounds: int = 1
    """That the figures are the medians of."""


def row(measure: Measure, ours: Sequence[float], peer: Sequence[float]) -> Row:
    """One value for each round and side, in the order of the rounds."""
    ratios = [mine / theirs for mine, theirs in zip(ours, peer, strict=True)]
    ratio = median(ratios)
    met = ratio >= measure.goal if measure.better is Better.HIGHER else ratio <= measure.goal
    return Row(
        name=measure.name,
        ours=tidy(median(ours)),
        peer=tidy(median(peer)),
        peer_name=measure.peer_name,
        unit=measure.unit,
        ratio=round(ratio, 3),
        goal=spelled(measure),
        met=met,
        note=measure.note if met else f"misses its goal; {measure.note}",
        spread={"ours": spread(ours), "peer": spread(peer), "ratio": spread(ratios)},
        rounds=len(ratios),
    )


def unmeasured(measure: Measure, why: str) -> Row:
    return Row(
        name=measure.name,
        ours=None,
        peer=None,
        peer_name=measure.peer_name,
        unit=measure.unit,
        ratio=None,
        goal=spelled(measure),
        met=None,
        note=f"not measured: {why}",
    )


def failed(subject: str, why: str) -> Row:
    """In place of all rows of a subject that came to no end."""
    return Row(
        name=subject,
        ours=None,
        peer=None,
        peer_name="-",
        unit="-",
        ratio=None,
        goal="-",
        met=None,
        note=f"not measured: {why}",
    )


def spelled(measure: Measure) -> str:
    return f"{'>=' if measure.better is Better.HIGHER else '<='} {measure.goal:g} x"


def spread(values: Sequence[float]) -> Spread:
    return Spread(median=tidy(median(values)), low=tidy(min(values)), high=tidy(max(values)))


def tidy(value: float) -> float:
    """Three or four digits that mean something."""
    return round(value) if value >= 1000 else float(f"{value:.4g}")  # noqa: PLR2004 - where whole numbers are enough
