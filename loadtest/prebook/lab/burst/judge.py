"""Whether back pressure did what it is for, check by check. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

import msgspec

from prebook.flows import PROCESSES
from prebook.lab.burst.figures import Figures, figures
from prebook.lab.burst.memory_report import watched
from prebook.lab.burst.model import Side
from prebook.lab.campaign.scenario_report import REFUSED_MS

OLDEST_S = 25.0
"""With back pressure on no message grows older: two thirds of a question's deadline of 30 s, at which booking shuts its
door, and a quarter more for what is let in until it is noticed."""
MEMORY_MB: Mapping[str, float] = {"broker": 384, "database": 512, **dict.fromkeys(PROCESSES, 192)}
"""As much as docker-compose.yml gives each of them."""
WHOLE_MB = 1024
"""All of them together."""
GOODPUT_SHARE = 0.9
GOT_IN = 0.5
"""Of those who come back at the time that they were told, more than half get in at once."""
GROWS = 0.1
"""Seconds older each second, or questions more each second as a share of what is offered: that is growth."""
SEEN = 0.9
"""Less than this share of the burst's seconds, and a bound is not measured: age rises by no more than a second each
second, so what six of sixty hide is six seconds at most; and a process that ended is not seen again."""
SLOPE_SEEN = 0.3
"""The same for what grows: a line needs no more points than that, and a flooded database may need 2 s for each look,
and be waited for in vain now and then.
"""
NOT_MEASURED = "not measured"


class Check(msgspec.Struct, frozen=True, kw_only=True):
    side: str
    name: str
    seen: str
    bound: str
    ok: bool | None
    """None: it was not measured."""
    due: bool = True
    """False: it cannot be known yet, and that is no fault."""


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    ok: bool
    """Every check that is due was measured, and passed."""
    headline: str
    failed: int = 0
    not_measured: int = 0
    checks: tuple[Check, ...]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Both sides, or one of them."""

    schema: str = "prebook.burst-report/1"
    seed: int
    capacity_per_s: float
    factor: float
    duration_s: float
    figures: tuple[Figures, ...]
    verdict: Judgement
    sides: tuple[Side, ...]


def report(sides: tuple[Side, ...]) -> Report:
    """``sides`` is not empty."""
    found = tuple(map(figures, sides))
    checks = tuple(check for side, seen in zip(sides, found, strict=True) for check in CHECKS[side.back_pressure](seen))
    return Report(
        seed=sides[0].seed,
        capacity_per_s=sides[0].capacity_per_s,
        factor=sides[0].factor,
        duration_s=sides[0].duration_s,
        figures=found,
        verdict=judgement(checks),
        sides=sides,
    )


def judgement(checks: tuple[Check, ...]) -> Judgement:
    failed = [check for check in checks if check.ok is False]
    unseen = [check for check in checks if check.ok is None and check.due]
    return Judgement(
        ok=not failed and not unseen,
        headline=headline(checks, failed, unseen),
        failed=len(failed),
        not_measured=len(unseen),
        checks=checks,
    )


def headline(checks: Sequence[Check], failed: Sequence[Check], unseen: Sequence[Check]) -> str:
    early = [check for check in checks if not check.due]
    of = len(checks) - len(early)
    wrong = [f"back pressure {check.side}: {check.name} is {check.seen}" for check in failed]
    said = [f"{len(wrong)} of {of} checks failed: {'; '.join(wrong)}."] if wrong else []
    said += [f"{len(unseen)} of {of} checks not measured: {by_side(unseen)}."] if unseen else []
    said = said or [f"All {of} checks passed."]
    return " ".join([*said, f"Not due yet: {by_side(early)}."] if early else said)


def by_side(checks: Iterable[Check]) -> str:
    sides = groupby(checks, key=lambda check: check.side)
    return "; ".join(f"back pressure {side}: {', '.join(check.name for check in of)}" for side, of in sides)


def held(seen: Figures) -> Iterator[Check]:
    """With back pressure on: what must stay within its bounds."""
    yield in_time(seen)
    yield at_most(seen, "age of the oldest message", seen.oldest_s, OLDEST_S, " s", looks=seen.waiting_seen)
    for process in watched(seen.memory_mb):
        used, looks = seen.memory_mb.get(process), seen.memory_seen.get(process, 0.0)
        yield at_most(seen, f"memory of {process}", used, bound_mb(process), " MB", looks=looks)
    whole, looks = seen.memory_whole_mb, seen.memory_whole_seen
    yield at_most(seen, "memory of the whole suite", whole, WHOLE_MB, " MB", looks=looks)
    yield at_least(seen, "goodput, of capacity", seen.goodput_share, GOODPUT_SHARE)
    yield none_of(seen, "rides turned away without a word", seen.unexplained)
    yield none_of(seen, "riders refused without Retry-After", seen.silent_refusals)
    yield none_of(seen, "rides lost", seen.lost)
    yield none_of(seen, "rides doubled", seen.doubled)
    yield none_of(seen, "rides still in flight", seen.in_flight)
    if seen.came_back:
        yield at_least(seen, "got in when told to come back", seen.came_in / seen.came_back, GOT_IN)


def bound_mb(process: str) -> float:
    """That of ``broker`` for ``broker-2``."""
    return MEMORY_MB.get(process.partition("-")[0], MEMORY_MB["booking"])


def grown(seen: Figures) -> Iterator[Check]:
    """With it off: that the same burst is more than the suite can hold, else nothing has been shown."""
    yield in_time(seen)
    per_s, age, looks = seen.backlog_slope, seen.oldest_slope, seen.waiting_seen
    yield at_least(seen, "growth of the backlog", per_s, GROWS * seen.offered_per_s, "/s", looks=looks)
    yield at_least(seen, "growth of the oldest message's age, s each second", age, GROWS, looks=looks)
    yield lost_in_a_flood(seen)
    yield none_of(seen, "rides doubled", seen.doubled)


def lost_in_a_flood(seen: Figures) -> Check:
    """What a flood has not told yet is no loss, if it was seen to be busy still."""
    if seen.at_rest:
        return none_of(seen, "rides lost", seen.lost)
    why = "it did not come to rest" if seen.still_waits else "not measured: whether it came to rest was not seen"
    return Check(side=seen.back_pressure, name="rides lost", seen=why, bound="0", ok=None, due=not seen.still_waits)


def in_time(of: Figures) -> Check:
    """A generator that is late offers something else than was said, and the result is refused."""
    lag_ms = of.lag_p99_ms if of.offered_per_s else None
    return at_most(of, "lateness of the generator itself, p99", lag_ms, REFUSED_MS, " ms")


CHECKS = {"on": held, "off": grown}


def at_most(of: Figures, name: str, seen: float | None, bound: float, unit: str, *, looks: float = 1.0) -> Check:
    """``looks``: the share of the burst's seconds that it was seen in. One second above the bound is enough to fail."""
    ok = None if seen is None or (seen <= bound and looks < SEEN) else seen <= bound
    return bounded(of, name, ok, told(seen, unit), f"at most {bound:g}{unit}", looks=looks)


def at_least(of: Figures, name: str, seen: float | None, bound: float, unit: str = "", *, looks: float = 1.0) -> Check:
    ok = None if seen is None or looks < SLOPE_SEEN else seen >= bound
    return bounded(of, name, ok, told(seen, unit), f"at least {round(bound, 2):g}{unit}", looks=looks)


def bounded(of: Figures, name: str, ok: bool | None, seen: str, bound: str, *, looks: float) -> Check:
    partly = ok is None and seen != NOT_MEASURED
    text = f"{NOT_MEASURED}: {seen}, but seen in {looks:.0%} of the seconds only" if partly else seen
    return Check(side=of.back_pressure, name=name, seen=text, bound=bound, ok=ok)


def none_of(of: Figures, name: str, seen: int) -> Check:
    return Check(side=of.back_pressure, name=name, seen=str(seen), bound="0", ok=seen == 0)


def told(seen: float | None, unit: str) -> str:
    return NOT_MEASURED if seen is None else f"{seen:.2f}{unit}" if seen < 10 else f"{seen:.0f}{unit}"  # noqa: PLR2004
