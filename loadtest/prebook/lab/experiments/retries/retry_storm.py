"""Experiment: retries in every layer, and in one layer with a budget. Source: SRE, "Handling Overload"."""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass

import rich_click as click

from prebook.lab.experiments.experiment import (
    Experiment,
    ExperimentRun,
    Measurement,
    ResultTable,
    Section,
    Size,
    SizeOption,
)
from prebook.lab.experiments.law import LawCheck, LawVerdict, Relation, check_law
from prebook.lab.experiments.retries.layers import Client, Layer, Provider, serve_layers
from prebook.patterns.budget import RetryBudget

RIGHT = "one layer retries, with a budget"
WRONG = "every layer retries"
AMPLIFIED = "calls of a failing provider <= 1.1 x requests"
SURVIVED = "requests that succeed while 1 of 20 calls fails >= 99 %"
LAYERS = 3
MAX_ATTEMPTS = 3
MAX_AMPLIFICATION = 1.1
MIN_SUCCEEDED = 0.99
BROKEN = 1.0
"""Share of failing calls of a provider that is down."""
UNRELIABLE = 0.05
CONCURRENCY = 20


class StormSize(Size, frozen=True, kw_only=True):
    """Size of the experiment: number of requests to each provider."""

    requests: int = 1_000


@dataclass(frozen=True)
class StormRun:
    """Requests of one arrangement, those that succeeded, and the calls that reached the provider."""

    requests: int
    succeeded: int
    calls: int

    @property
    def amplification(self) -> float:
        """Calls of the provider per request."""
        return self.calls / self.requests

    @property
    def succeeded_share(self) -> float:
        """Share of requests that succeeded."""
        return self.succeeded / self.requests


async def measure(run: ExperimentRun, size: StormSize) -> Measurement:
    """Send requests through three layers to a provider that fails at all calls, and to one that fails at some."""
    runs = {}
    for arrangement in (RIGHT, WRONG):
        for failing_share in (BROKEN, UNRELIABLE):
            run.log(f"{arrangement}; {failing_share:.0%} of the calls fail")
            runs[arrangement, failing_share] = await _send(arrangement, failing_share, size.requests, run.seed)
    return Measurement(
        checks=[
            amplification_check(RIGHT, runs[RIGHT, BROKEN]),
            success_check(RIGHT, runs[RIGHT, UNRELIABLE]),
            amplification_check(WRONG, runs[WRONG, BROKEN], expected=LawVerdict.VIOLATED),
            success_check(WRONG, runs[WRONG, UNRELIABLE]),
        ],
        tables=[_table(runs)],
    )


def amplification_check(arrangement: str, run: StormRun, *, expected: LawVerdict = LawVerdict.HELD) -> LawCheck:
    """Return the check that retries add a tenth to the load of the provider, at most."""
    left = ("calls per request", round(run.amplification, 3))
    return check_law(AMPLIFIED, arrangement, left, Relation.AT_MOST, ("", MAX_AMPLIFICATION), expected=expected)


def success_check(arrangement: str, run: StormRun) -> LawCheck:
    """Return the check that retries hide rare failures."""
    left = ("succeeded", round(run.succeeded_share, 4))
    return check_law(SURVIVED, arrangement, left, Relation.AT_LEAST, ("", MIN_SUCCEEDED))


def make_layers(arrangement: str) -> list[Layer]:
    """Return the layers from the client to the caller of the provider. The budget starts without saved retries."""
    if arrangement == WRONG:
        return [Layer(MAX_ATTEMPTS, None) for _ in range(LAYERS)]
    return [*(Layer(1, None) for _ in range(LAYERS - 1)), Layer(MAX_ATTEMPTS, RetryBudget(saved=0.0))]


async def _send(arrangement: str, failing_share: float, requests: int, seed: int) -> StormRun:
    provider = Provider(failing_share, random.Random(seed))
    async with serve_layers(provider, make_layers(arrangement)) as client:
        share, rest = divmod(requests, CONCURRENCY)
        await asyncio.gather(*(_send_in_turn(client, share + (number < rest)) for number in range(CONCURRENCY)))
        return StormRun(requests, client.succeeded, provider.calls)


async def _send_in_turn(client: Client, requests: int) -> None:
    for _ in range(requests):
        await client.send()


def _table(runs: Mapping[tuple[str, float], StormRun]) -> ResultTable:
    return ResultTable(
        title=f"Calls of a provider behind {LAYERS} layers",
        columns=("arrangement", "calls that fail", "requests", "calls", "calls per request", "succeeded"),
        rows=tuple(
            (
                arrangement,
                f"{failing_share:.0%}",
                f"{own.requests:,}",
                f"{own.calls:,}",
                f"{own.amplification:.2f}",
                f"{own.succeeded_share:.1%}",
            )
            for (arrangement, failing_share), own in runs.items()
        ),
        caption=f"a layer that retries makes up to {MAX_ATTEMPTS} attempts; a request earns a tenth of a retry",
    )


RETRY_STORM = Experiment(
    name="retry-storm",
    section=Section.ERRORS,
    claims=("G6",),
    pattern="Retry budget (SRE, Handling Overload)",
    code="shared/prebook/patterns/budget.py",
    claim="Retries in every layer multiply the load of a failing provider; a retry budget in one layer bounds it.",
    varies="which of three layers retry, and whether retries have a budget; how many calls of the provider fail",
    law=f"{AMPLIFIED}; {SURVIVED}",
    wrong_way="each of three layers makes three attempts, so a request becomes up to 27 calls",
    expected="With a budget in one layer, 1.1 calls per request at most; with retries in all layers, 27.",
    full=StormSize(),
    quick=StormSize(requests=200),
    options=(SizeOption("requests", click.IntRange(40, 20_000), "Number of requests to each provider."),),
    measure=measure,
)
