"""Comparison of two runs by scenario and plan. Pure."""

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
    "time to notice": lambda sample: sample.notified_ms,
}
PERCENTS = (50, 95, 99)
GOODPUT = "goodput"
ALL_PLANS = "all plans"
MIN_VALUES = {50: 5, 95: 40, 99: 200}
"""Minimum number of values for each percentile. With fewer, it is one of the two highest values."""


DIRECTION_WORDS: Mapping[tuple[bool, bool], str] = {
    (True, True): "more",
    (True, False): "less",
    (False, True): "slower",
    (False, False): "faster",
}
"""Word for a difference, by whether the metric is goodput and whether the difference is positive."""


class ComparisonLine(msgspec.Struct, frozen=True, kw_only=True):
    """One statistic of both runs, in milliseconds, or in rides per second for goodput."""

    scenario: str
    label: str
    """Plan, or ALL_PLANS."""
    metric: str
    statistic: str
    a: float
    b: float
    difference: float
    """b - a."""
    low: float
    """Lower end of the 95 % interval of ``difference``."""
    high: float
    """Upper end of the 95 % interval of ``difference``."""
    count_a: int
    """Number of values of run a: rides, or seconds for goodput."""
    count_b: int
    """Number of values of run b: rides, or seconds for goodput."""

    @property
    def is_significant(self) -> bool:
        """Whether the interval of the difference excludes 0."""
        return self.low > 0 or self.high < 0

    @property
    def summary(self) -> str:
        """The difference in words, absolute and relative."""
        if not self.is_significant:
            return "no significant difference"
        goodput = self.metric == GOODPUT
        word = DIRECTION_WORDS[goodput, self.difference > 0]
        share = f", {abs(self.difference) / self.a:.0%}" if self.a else ""
        return f"b is {word} by {value_text(abs(self.difference), goodput=goodput)}{share}"


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Comparison of two runs, as ``--json`` prints it. The format is a contract."""

    schema: str = "prebook.compare/1"
    a: str
    """Path of the first run."""
    b: str
    """Path of the second run."""
    seed: int
    resamples: int = RESAMPLES
    lines: tuple[ComparisonLine, ...]
    only_in_a: tuple[str, ...]
    """Scenarios missing in run b."""
    only_in_b: tuple[str, ...]
    """Scenarios missing in run a."""


SampleGroups = Mapping[tuple[str, str], Sequence[Sample]]
"""Samples by scenario and plan."""


def compare_runs(a: Sequence[Sample], b: Sequence[Sample], *, names: tuple[str, str], seed: int) -> Comparison:
    """Return the differences between the samples of two runs. ``names``: paths of the runs, for the report."""
    groups_a = group_samples(a)
    groups_b = group_samples(b)
    scenarios = [dict.fromkeys(scenario for scenario, _ in groups) for groups in (groups_a, groups_b)]
    common = [key for key in groups_a if key in groups_b]
    return Comparison(
        a=names[0],
        b=names[1],
        seed=seed,
        lines=tuple(line for key in common for line in comparison_lines(key, groups_a[key], groups_b[key], seed)),
        only_in_a=tuple(name for name in scenarios[0] if name not in scenarios[1]),
        only_in_b=tuple(name for name in scenarios[1] if name not in scenarios[0]),
    )


def group_samples(samples: Sequence[Sample]) -> SampleGroups:
    """Group ``samples`` by scenario and plan, with an additional first group ALL_PLANS per scenario."""
    groups: dict[tuple[str, str], list[Sample]] = {}
    for sample in samples:
        for label in (ALL_PLANS, sample.label):
            groups.setdefault((sample.scenario, label), []).append(sample)
    return groups


def comparison_lines(
    key: tuple[str, str], a: Sequence[Sample], b: Sequence[Sample], seed: int
) -> Iterator[ComparisonLine]:
    """Yield the comparison of all statistics of one group; percentiles only with enough values in both runs."""
    for metric, value_of in METRICS.items():
        known = [sorted(value for sample in run if (value := value_of(sample)) is not None) for run in (a, b)]
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
    metric: tuple[str, str],
    values: Sequence[float],
    draws: Sequence[Draw],
    *,
    counts: Sequence[int],
    seed: int,
) -> ComparisonLine:
    """Return the comparison of one statistic.

    ``key``: scenario and plan. ``metric``: metric and statistic. ``values``, ``draws``, ``counts``: of run a and run b.
    """
    low, high = interval(draws[0], draws[1], seed=f"{seed}:{key}:{metric}")
    return ComparisonLine(
        scenario=key[0],
        label=key[1],
        metric=metric[0],
        statistic=metric[1],
        a=round(values[0], 3),
        b=round(values[1], 3),
        difference=round(values[1] - values[0], 3),
        low=round(low, 3),
        high=round(high, 3),
        count_a=counts[0],
        count_b=counts[1],
    )


def answered_by_second(samples: Sequence[Sample]) -> list[float]:
    """Return the rides with a business outcome in each second of the load, from the first ride offered to the last."""
    start = min(sample.intended_at for sample in samples)
    offered_s = [(sample.intended_at - start).total_seconds() for sample in samples]
    answered = Counter(
        int(offset_s + sample.settled_ms / 1e3)
        for offset_s, sample in zip(offered_s, samples, strict=True)
        if sample.outcome in ANSWERED_OUTCOMES and sample.settled_ms is not None
    )
    return [float(answered[second]) for second in range(int(max(offered_s)) + 1)]


def value_text(value: float, *, goodput: bool) -> str:
    """Return ``value`` with its unit: rides per second for goodput, otherwise milliseconds or seconds."""
    return f"{value:.2f}/s" if goodput else format_ms(value)
