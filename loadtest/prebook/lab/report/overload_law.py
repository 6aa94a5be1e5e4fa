"""Law of an overload with back pressure on: riders beyond the capacity are refused, and told when to return.

A law about counts: a campaign that violates it has failed.
"""

from collections.abc import Iterator

from prebook.lab.quantiles import format_ms
from prebook.lab.report.model import ScenarioReport

MIN_RETRY_SUCCESS_SHARE = 0.5
"""Minimum share of refused riders who are accepted on their first retry, at the time in Retry-After."""


def overload_problems(scenario: ScenarioReport) -> Iterator[str]:
    """Yield every violation of the law in a scenario that it applies to."""
    overload = scenario.overload
    if overload is None or not overload.back_pressure:
        return
    if not overload.refusals:
        yield (
            f"{scenario.name}: no rider was refused at {overload.factor:g} times the capacity of "
            f"{overload.capacity_per_s:.0f} rides/s; was the suite started with PREBOOK_BACK_PRESSURE=off?"
        )
    if overload.refusals_without_retry_after:
        yield f"{scenario.name}: {overload.refusals_without_retry_after} refusal(s) without a Retry-After"
    retries = scenario.retries
    if retries and retries.accepted_on_first_retry < MIN_RETRY_SUCCESS_SHARE * retries.riders:
        yield (
            f"{scenario.name}: Retry-After is not true: {retries.accepted_on_first_retry} of {retries.riders} riders "
            "who returned at that time were accepted"
        )


def overload_findings(scenario: ScenarioReport) -> Iterator[str]:
    """Yield what an overload led to, in the same words with and without back pressure."""
    overload = scenario.overload
    if overload is None:
        return
    totals = scenario.totals
    answered = totals["confirmed"] + totals["rejected"]
    yield (
        f"{overload.factor:g} times the capacity of {overload.capacity_per_s:.0f} rides/s, back pressure "
        f"{'on' if overload.back_pressure else 'off'}: {answered} of {totals['offered']} rides answered, "
        f"{overload.refusals} refusals, p99 until the outcome {format_ms(slowest_outcome_ms(scenario))} (slowest "
        f"plan), at rest {scenario.settle_s:.1f} s after the last response"
    )


def slowest_outcome_ms(scenario: ScenarioReport) -> float:
    """Return the highest p99 of the time until the outcome among the plans, in milliseconds."""
    return max((result.latency_ms.settled.p99 for result in scenario.results), default=0.0)
