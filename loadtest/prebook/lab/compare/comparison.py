"""What differs between two runs, scenario by scenario and plan by plan. Pure."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from prebook.lab.compare.bootstrap import RESAMPLES, Draw, interval, mean_draw, quantile_draw
from prebook.lab.ledger.accounts import ANSWERED_OUTCOMES
from prebook.lab.load.samples import Sample
from prebook.lab.quantiles import format_ms, nearest_rank

METRICS: Mapping[str, Callable[[Sample], float | None]] = {
    "time to accept": lambda sample: sample.response_ms if sample.accepted else None,
    "time to outcome": lambda sample: sample.settled_ms,
    "time until the rider knows": lambda sample: sample.notified_ms,
}
PERCENTS = (50, 95, 99)
GOODPUT = "goodput"
ALL_PLANS = "all plans"
MIN_VALUES = {50: 5, 95: 40, 99: 200}
"""Values that a quantile wants at least: of fewer it is one of the last two values, and says nothing."""


DIRECTION_WORDS: Mapping[tuple[bool, bool], str] = {
    (True, True): "more",
    (True, False): "less",
    (False, True): "slower",
    (False, False): "faster",
}
"""(Goodput, a positive difference) -> what it means."""


class ComparisonLine(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds, or rides a second for goodput. ``low`` to ``high``: an interval of 95 % of ``difference``."""

    scenario: str
    label: str
    metric: str
    statistic: str
    a: float
    b: float
    difference: float
    """b - a."""
    low: float
    high: float
    count_a: int
    count_b: int

    @property
    def is_significant(self) -> bool:
        return self.low > 0 or self.high < 0

    @property
    def summary(self) -> str:
        if not self.is_significant:
            return "no difference that chance would not make"
        goodput = self.metric == GOODPUT
        word = DIRECTION_WORDS[goodput, self.difference > 0]
        share = f", {abs(self.difference) / self.a:.0%}" if self.a else ""
        return f"b is {word} by {value_text(abs(self.difference), goodput=goodput)}{share}"


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    schema: str = "prebook.compare/1"
    a: str
    b: str
    seed: int
    resamples: int = RESAMPLES
    lines: tuple[ComparisonLine, ...]
    only_in_a: tuple[str, ...]
    only_in_b: tuple[str, ...]
    """Scenarios that the other run did not play."""


SampleGroups = Mapping[tuple[str, str], Sequence[Sample]]


def compare_runs(a: Sequence[Sample], b: Sequence[Sample], *, names: tuple[str, str], seed: int) -> Comparison:
    first = group_samples(a)
    second = group_samples(b)
    scenarios = [dict.fromkeys(scenario for scenario, _ in found) for found in (first, second)]
    both = [key for key in first if key in second]
    return Comparison(
        a=names[0],
        b=names[1],
        seed=seed,
        lines=tuple(line for key in both for line in comparison_lines(key, first[key], second[key], seed)),
        only_in_a=tuple(name for name in scenarios[0] if name not in scenarios[1]),
        only_in_b=tuple(name for name in scenarios[1] if name not in scenarios[0]),
    )


def group_samples(samples: Sequence[Sample]) -> SampleGroups:
    """(scenario, plan) -> its samples, and (scenario, ALL) -> those of all plans, which come first."""
    found: dict[tuple[str, str], list[Sample]] = {}
    for sample in samples:
        for label in (ALL_PLANS, sample.label):
            found.setdefault((sample.scenario, label), []).append(sample)
    return found


def comparison_lines(
    key: tuple[str, str], a: Sequence[Sample], b: Sequence[Sample], seed: int
) -> Iterator[ComparisonLine]:
    for metric, of in METRICS.items():
        known = [sorted(value for sample in run if (value := of(sample)) is not None) for run in (a, b)]
        for percent in PERCENTS:
            if min(map(len, known)) >= MIN_VALUES[percent]:
                values = [nearest_rank(ordered, percent) for ordered in known]
                draws = [quantile_draw(ordered, percent) for ordered in known]
                yield comparison_line(key, (metric, f"p{percent}"), values, draws, counts=[*map(len, known)], seed=seed)
    rates = [answered_by_second(run) for run in (a, b)]
    if all(rates):
        means = [sum(rate) / len(rate) for rate in rates]
        draws = [mean_draw(rate) for rate in rates]
        yield comparison_line(key, (GOODPUT, "rides/s"), means, draws, counts=[*map(len, rates)], seed=seed)


def comparison_line(
    key: tuple[str, str],
    what: tuple[str, str],
    values: Sequence[float],
    draws: Sequence[Draw],
    *,
    counts: Sequence[int],
    seed: int,
) -> ComparisonLine:
    low, high = interval(draws[0], draws[1], seed=f"{seed}:{key}:{what}")
    return ComparisonLine(
        scenario=key[0],
        label=key[1],
        metric=what[0],
        statistic=what[1],
        a=round(values[0], 3),
        b=round(values[1], 3),
        difference=round(values[1] - values[0], 3),
        low=round(low, 3),
        high=round(high, 3),
        count_a=counts[0],
        count_b=counts[1],
    )


def answered_by_second(samples: Sequence[Sample]) -> list[float]:
    """How many rides were answered in each of the seconds in which rides were offered: its spread is theirs."""
    start = min(sample.intended_at for sample in samples)
    offered = [(sample.intended_at - start).total_seconds() for sample in samples]
    answered = Counter(
        int(at + sample.settled_ms / 1e3)
        for at, sample in zip(offered, samples, strict=True)
        if sample.outcome in ANSWERED_OUTCOMES and sample.settled_ms is not None
    )
    return [float(answered[second]) for second in range(int(max(offered)) + 1)]


def value_text(value: float, *, goodput: bool) -> str:
    return f"{value:.2f}/s" if goodput else format_ms(value)
