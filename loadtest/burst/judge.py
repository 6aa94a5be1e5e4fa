"""Whether back pressure did what it is for, check by check. Pure."""

from collections.abc import Iterator, Mapping

import msgspec

from loadtest.burst.figures import Figures, figures
from loadtest.burst.seconds import Side
from loadtest.measure import REFUSED_MS
from prebook.flows import PROCESSES

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


class Check(msgspec.Struct, frozen=True, kw_only=True):
    side: str
    name: str
    seen: str
    bound: str
    ok: bool | None
    """None: it could not be measured."""


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    ok: bool
    headline: str
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
        verdict=Judgement(ok=all(check.ok is not False for check in checks), headline=headline(checks), checks=checks),
        sides=sides,
    )


def headline(checks: tuple[Check, ...]) -> str:
    failed = [f"back pressure {check.side}: {check.name} is {check.seen}" for check in checks if check.ok is False]
    if failed:
        return f"{len(failed)} of {len(checks)} checks failed: {'; '.join(failed)}."
    return f"All {len(checks)} checks passed."


def held(seen: Figures) -> Iterator[Check]:
    """With back pressure on: what must stay within its bounds."""
    yield in_time(seen)
    yield at_most(seen, "age of the oldest message", seen.oldest_s, OLDEST_S, " s")
    for process, used in seen.memory_mb.items():
        yield at_most(seen, f"memory of {process}", used, MEMORY_MB.get(process, MEMORY_MB["booking"]), " MB")
    yield at_most(seen, "memory of the whole suite", seen.memory_whole_mb, WHOLE_MB, " MB")
    yield at_least(seen, "goodput, of capacity", seen.goodput_share, GOODPUT_SHARE)
    yield none_of(seen, "rides turned away without a word", seen.unexplained)
    yield none_of(seen, "riders refused without Retry-After", seen.silent_refusals)
    yield none_of(seen, "rides lost", seen.lost)
    yield none_of(seen, "rides doubled", seen.doubled)
    yield none_of(seen, "rides still in flight", seen.in_flight)
    if seen.came_back:
        yield at_least(seen, "got in when told to come back", seen.came_in / seen.came_back, GOT_IN)


def grown(seen: Figures) -> Iterator[Check]:
    """With it off: that the same burst is more than the suite can hold, else nothing has been shown."""
    yield in_time(seen)
    per_s, wanted = seen.backlog_slope, GROWS * seen.offered_per_s
    grows = None if per_s is None else per_s >= wanted
    text = "not measured" if per_s is None else f"{per_s:.1f}/s"
    yield Check(side="off", name="growth of the backlog", seen=text, bound=f"at least {wanted:.1f}/s", ok=grows)
    yield at_least(seen, "growth of the oldest message's age, s each second", seen.oldest_slope, GROWS)
    if seen.at_rest:
        yield none_of(seen, "rides lost", seen.lost)
    else:
        yield Check(side="off", name="rides lost", seen="not measured: it did not come to rest", bound="0", ok=None)
    yield none_of(seen, "rides doubled", seen.doubled)


def in_time(of: Figures) -> Check:
    """A generator that is late offers something else than was said, and the result is refused."""
    return at_most(of, "lateness of the generator itself, p99", of.lag_p99_ms, REFUSED_MS, " ms")


CHECKS = {"on": held, "off": grown}


def at_most(of: Figures, name: str, seen: float | None, bound: float, unit: str) -> Check:
    ok = None if seen is None else seen <= bound
    return Check(side=of.back_pressure, name=name, seen=told(seen, unit), bound=f"at most {bound:g}{unit}", ok=ok)


def at_least(of: Figures, name: str, seen: float | None, bound: float) -> Check:
    ok = None if seen is None else seen >= bound
    return Check(side=of.back_pressure, name=name, seen=told(seen, ""), bound=f"at least {bound:g}", ok=ok)


def none_of(of: Figures, name: str, seen: int) -> Check:
    return Check(side=of.back_pressure, name=name, seen=str(seen), bound="0", ok=seen == 0)


def told(seen: float | None, unit: str) -> str:
    return "not measured" if seen is None else f"{seen:.2f}{unit}" if seen < 10 else f"{seen:.0f}{unit}"  # noqa: PLR2004
